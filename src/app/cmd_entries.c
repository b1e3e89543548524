/* invalidate, keys, get: what a running instance and its tiers hold, and having it go. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "config_tree.h"
#include "progress.h"
#include "refrain/base/attr.h"
#include "refrain/store/entry.h"
#include "remote.h"
#include "text.h"
#include "view.h"

enum { TEXT_BYTES_MAX = 16 * 1024, PAGE_MAX = 1000 };

/* What says which entries are meant: flag, and member or parameter of the API. */
static const struct {
    const char *flag, *name;
} meant[] = {
    {"id", "id"},
    {"pattern", "pattern"},
    {"tag", "tag"},
    {"model", "model"},
    {"operation", "operation"},
    {"namespace", "namespace"},
    {"older-than", "older_than"},
};

/* -- invalidate -- */

static int add_member(struct buf *body, const char *name, const char *value)
{
    int r = buf_addf(body, "%s\"%s\":", body->len > 1 ? "," : "", name);

    return r < 0 || !value ? r : buf_add_json(body, slice_str(value));
}

static int write_request(const struct cli *cli, struct buf *body)
{
    int r = buf_add_byte(body, '{');

    for (size_t i = 0; i < ARRAY_LEN(meant); i++)
        if (r == 0 && cli_value(cli, meant[i].flag))
            r = add_member(body, meant[i].name, cli_value(cli, meant[i].flag));
    if (r == 0 && cli_value(cli, "target"))
        r = add_member(body, "target", cli_value(cli, "target"));
    if (r == 0 && cli_value(cli, "upstream"))
        r = add_member(body, "upstream", cli_value(cli, "upstream"));
    if (r == 0 && cli_has(cli, "all"))
        r = buf_addf(body, "%s\"all\":true", body->len > 1 ? "," : "");
    if (r == 0 && cli_has(cli, "dry-run"))
        r = buf_addf(body, "%s\"dry_run\":true", body->len > 1 ? "," : "");
    return r == 0 ? buf_add_byte(body, '}') : r;
}

static void print_counts(const struct node *tiers)
{
    for (size_t i = 0; tiers && i < tiers->n; i++)
        (void)printf("%s%s %s", i > 0 ? ", " : "", tiers->members[i].name, tiers->members[i].node->text);
}

static bool is_true(const struct node *t, const char *member)
{
    return strcmp(remote_text(t, member, ""), "true") == 0;
}

static void print_instance(const struct node *in)
{
    (void)printf("  at ");
    remote_print_safe(remote_text(in, "name", remote_text(in, "id", "?")));
    if (is_true(in, "heard")) {
        (void)printf(": ");
        print_counts(node_find(in, "tiers"));
        (void)putchar('\n');
    } else {
        (void)printf(": not heard, last seen %s s ago\n", remote_text(in, "seen_s_ago", "?"));
    }
}

static void print_invalidated(const struct node *t)
{
    const struct node *later = node_find(t, "not_yet"), *others = node_find(t, "instances");
    const char *matched = remote_text(t, "matched", "?");

    (void)printf("%s%s %s %s (", is_true(t, "at_least") ? "at least " : "", matched,
                 strcmp(matched, "1") == 0 ? "entry" : "entries",
                 is_true(t, "dry_run") ? "would go" : "invalidated");
    print_counts(node_find(t, "tiers"));
    (void)puts(")");
    for (size_t i = 0; others && i < others->n; i++)
        print_instance(others->members[i].node);
    for (size_t i = 0; later && i < later->n; i++)
        (void)printf("  %s has still to do its part: %s\n", later->members[i].name,
                     later->members[i].node->text);
    if (strcmp(remote_text(t, "others", ""), "later") == 0)
        (void)puts(
            "  the other instances are told later: Redis cannot be reached, or refuses (the log tells)");
}

/* Somebody has still to do his part, or was not heard. */
static bool is_left_undone(const struct node *t)
{
    const struct node *later = node_find(t, "not_yet");

    return (later && later->n > 0) || strcmp(remote_text(t, "not_heard", "0"), "0") != 0 ||
           strcmp(remote_text(t, "others", ""), "later") == 0;
}

static int show_invalidated(struct slice json, bool raw)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *t = remote_tree(&pool, json);

    if (!t)
        return EXIT_COULD_NOT;
    if (raw)
        (void)fwrite(json.data, 1, json.len, stdout);
    else
        print_invalidated(t);
    if (fflush(stdout) != 0)
        return EXIT_COULD_NOT;
    return is_left_undone(t) ? EXIT_FINDING : EXIT_DONE;
}

static int invalidate(const struct cli *cli, struct remote *r)
{
    AUTO(buf_done) struct buf body = BUF_INIT(TEXT_BYTES_MAX), answer = BUF_INIT(0);
    struct progress waiting;
    int status;

    if (write_request(cli, &body) < 0) {
        (void)fputs("refrain: invalidate: too much text\n", stderr);
        return EXIT_COULD_NOT;
    }
    progress_begin_uncounted(&waiting, cli_has(cli, "dry-run") ? "counting in every tier"
                                                               : "invalidating in every tier");
    r->waiting = &waiting;
    status = remote_do(r, "POST", "/invalidate", buf_slice(&body), &answer);
    r->waiting = NULL;
    progress_end(&waiting);
    return status == EXIT_DONE ? show_invalidated(buf_slice(&answer), cli_has(cli, "json")) : EXIT_COULD_NOT;
}

static bool says_what(const struct cli *cli)
{
    bool any = cli_has(cli, "all") || cli_value(cli, "target");

    for (size_t i = 0; i < ARRAY_LEN(meant); i++)
        any = any || cli_value(cli, meant[i].flag);
    return any;
}

static int cmd_invalidate(const struct cli *cli)
{
    if (cli->words_n > 0)
        return cli_no_words(cli);
    if (!says_what(cli)) {
        (void)fputs("refrain: invalidate: expected what is meant, such as --tag TAG; for everything, --all\n",
                    stderr);
        return EXIT_COULD_NOT;
    }
    return remote_run(cli, invalidate);
}

/* -- keys -- */

static int add_parameter(struct buf *path, const char *name, const char *value)
{
    int r = buf_addf(path, "&%s=", name);

    return r == 0 ? remote_add_segment(path, value) : r;
}

static int write_query(const struct cli *cli, const char *cursor, unsigned long page, struct buf *path)
{
    int r;

    buf_clear(path);
    r = buf_addf(path, "/entries?limit=%lu", page);
    for (size_t i = 0; i < ARRAY_LEN(meant); i++)
        if (r == 0 && cli_value(cli, meant[i].flag))
            r = add_parameter(path, meant[i].name, cli_value(cli, meant[i].flag));
    if (r == 0 && cli_value(cli, "tier"))
        r = add_parameter(path, "tier", cli_value(cli, "tier"));
    if (r == 0 && cursor[0])
        r = add_parameter(path, "cursor", cursor);
    return r == 0 ? buf_add_byte(path, '\0') : r;
}

static const struct view_column key_columns[] = {
    {"id", "id", FORM_TEXT},
    {"tier", "tier", FORM_TEXT, .drop = 5},
    {"age", "age_s", FORM_SECONDS, .drop = 1},
    {"gone in", "gone_s", FORM_SECONDS, .drop = 4, .otherwise = "never"},
    {"size", "bytes", FORM_BYTES, .drop = 2},
    {"hits", "hits", FORM_COUNT},
    {"operation", "operation", FORM_TEXT, .drop = 3},
    {"model", "model", FORM_TEXT, .shrinks = true},
    {"namespace", "namespace", FORM_TEXT, .shrinks = true, .drop = 6},
    {"tags", "tags", FORM_WORDS, .shrinks = true, .drop = 7},
    {"name", "name", FORM_TEXT, .shrinks = true, .drop = 8},
};
static const struct view key_view = {key_columns, ARRAY_LEN(key_columns), NULL};

/* One listing, page by page. */
struct listing {
    const struct cli *cli;
    struct term term;
    struct progress progress;
    struct table *table; /* NULL: JSON */
    char cursor[4096];
    unsigned long left, shown;
    bool missed; /* a tier could not be read to the end */
};

/* Pages become one list; what could not be read comes behind it. */
static int print_json_items(struct listing *l, const struct node *list)
{
    AUTO(buf_done) struct buf out = BUF_INIT(64 << 20);
    int r = 0;

    for (size_t i = 0; r == 0 && i < list->n; i++) {
        if (l->shown + i > 0)
            r = buf_add_byte(&out, ',');
        if (r == 0)
            r = node_write_json(list->members[i].node, &out);
    }
    return cli_print(&out, r);
}

static int print_json_end(const struct listing *l, const struct node *failed)
{
    AUTO(buf_done) struct buf out = BUF_INIT(1 << 20);
    int r = buf_add_slice(&out, SLICE_OF("],\"cursor\":"));

    if (r == 0)
        r = l->cursor[0] ? buf_add_json(&out, slice_str(l->cursor)) : buf_add_slice(&out, SLICE_OF("null"));
    if (r == 0)
        r = buf_add_slice(&out, SLICE_OF(",\"not_read\":"));
    if (r == 0)
        r = failed ? node_write_json(failed, &out) : buf_add_slice(&out, SLICE_OF("{}"));
    if (r == 0)
        r = buf_add_slice(&out, SLICE_OF("}\n"));
    return cli_print(&out, r);
}

/* Prints one page, and takes its cursor. */
static int show_page(struct listing *l, struct slice json)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *t = remote_tree(&pool, json), *list = t ? node_find(t, "entries") : NULL;
    const struct node *failed = t ? node_find(t, "not_read") : NULL;
    int status = EXIT_DONE;

    if (!list)
        return EXIT_COULD_NOT;
    (void)snprintf(l->cursor, sizeof(l->cursor), "%s", remote_text(t, "cursor", ""));
    l->missed = l->missed || (failed && failed->n > 0);
    for (size_t i = 0; failed && i < failed->n; i++)
        (void)fprintf(stderr, "refrain: keys: %s could not be read to the end: %s\n", failed->members[i].name,
                      failed->members[i].node->text);
    for (size_t i = 0; l->table && i < list->n; i++)
        view_add(&key_view, l->table, &l->term, list->members[i].node, NULL);
    progress_pause(&l->progress);
    if (l->table)
        table_flush(l->table);
    else
        status = print_json_items(l, list);
    l->shown += list->n;
    l->left = l->left > list->n ? l->left - list->n : 0;
    progress_at(&l->progress, l->shown);
    if (status == EXIT_DONE && !l->table && (!l->cursor[0] || l->left == 0))
        status = print_json_end(l, failed);
    return status;
}

static int keys(const struct cli *cli, struct remote *r)
{
    AUTO(buf_done) struct buf path = BUF_INIT(TEXT_BYTES_MAX);
    struct listing l = {.cli = cli};
    int status = EXIT_DONE;

    if (!cli_number(cli, "limit", 0, ULONG_MAX, PAGE_MAX, &l.left))
        return EXIT_COULD_NOT;
    if (l.left == 0 || cli_has(cli, "all"))
        l.left = ULONG_MAX;
    term_init(&l.term, cli);
    progress_begin(&l.progress, "entries listed", 0);
    if (cli_has(cli, "json"))
        (void)fputs("{\"entries\":[", stdout);
    else
        l.table = view_table(&key_view, &l.term);
    do {
        AUTO(buf_done) struct buf answer = BUF_INIT(0);

        if (write_query(cli, l.cursor, l.left < PAGE_MAX ? l.left : PAGE_MAX, &path) < 0)
            status = EXIT_COULD_NOT;
        else if (remote_get(r, path.data, &answer) != EXIT_DONE)
            status = EXIT_COULD_NOT;
        else
            status = show_page(&l, buf_slice(&answer));
    } while (status == EXIT_DONE && l.cursor[0] && l.left > 0);
    progress_end(&l.progress);
    table_free(l.table);
    if (status != EXIT_DONE || fflush(stdout) != 0)
        return EXIT_COULD_NOT;
    return l.missed ? EXIT_FINDING : EXIT_DONE;
}

static int cmd_keys(const struct cli *cli)
{
    return cli->words_n > 0 ? cli_no_words(cli) : remote_run(cli, keys);
}

/* -- get -- */

static const struct view_column entry_lines[] = {
    {"id", "id", FORM_TEXT},
    {"name", "name", FORM_TEXT},
    {"namespace", "namespace", FORM_TEXT},
    {"operation", "operation", FORM_TEXT},
    {"model", "model", FORM_TEXT},
    {"status", "status", FORM_TEXT},
    {"size", "body_bytes", FORM_BYTES},
    {"stream", "stream", FORM_TEXT},
    {"gzip", "gzip", FORM_TEXT},
    {"age", "age_s", FORM_SECONDS},
    {"fresh for", "ttl_s", FORM_SECONDS, .otherwise = "ever"},
    {"hits", "hits", FORM_COUNT},
    {"tokens in", "tokens_in", FORM_COUNT},
    {"tokens out", "tokens_out", FORM_COUNT},
    {"upstream", "upstream_s", FORM_SECONDS},
    {"prompt", "prompt", FORM_TEXT},
    {"tags", "tags", FORM_WORDS},
};

/* "memory (gone in 59 min 58 s), disk (never gone)" */
static void print_places(const struct term *term, const struct node *tiers)
{
    (void)printf(term->live ? "%-12s" : "tiers\t", "tiers");
    for (size_t i = 0; tiers && i < tiers->n; i++) {
        const struct node *place = tiers->members[i].node;
        double gone;

        (void)printf("%s%s (", i > 0 ? ", " : "", remote_text(place, "tier", "?"));
        if (!remote_number(place, "gone_s", &gone))
            (void)printf("never gone)");
        else if (term->live)
            (void)printf("gone in %s)", text_of_seconds(gone).text);
        else
            (void)printf("gone in %s s)", remote_text(place, "gone_s", "?"));
    }
    (void)putchar('\n');
}

static int show_entry(const struct cli *cli, struct slice json)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *t = remote_tree(&pool, json);
    struct term term;

    if (!t)
        return EXIT_COULD_NOT;
    term_init(&term, cli);
    for (size_t i = 0; i < ARRAY_LEN(entry_lines); i++) {
        const struct view_column *line = &entry_lines[i];
        char text[4096], clean[4096];

        view_format(t, line, &term, text, sizeof(text));
        text_clean(text, term.ascii, clean, sizeof(clean));
        if (term.live)
            (void)printf("%s%-12s%s%s\n", term_tone(&term, TONE_FAINT), line->title,
                         term_tone(&term, TONE_PLAIN), clean);
        else
            (void)printf("%s\t%s\n", line->path, clean);
    }
    print_places(&term, node_find(t, "tiers"));
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_COULD_NOT;
}

static int get(const struct cli *cli, struct remote *r)
{
    AUTO(buf_done) struct buf path = BUF_INIT(TEXT_BYTES_MAX), answer = BUF_INIT(0);
    bool raw = cli_has(cli, "body") || cli_has(cli, "json");
    int status, failed = buf_addf(&path, "/entries/");

    if (failed == 0)
        failed = remote_add_segment(&path, cli->words[0]);
    if (failed == 0)
        failed = buf_addf(&path, "%s", cli_has(cli, "body") ? "?body=1" : "");
    if (failed < 0 || buf_add_byte(&path, '\0') < 0)
        return EXIT_COULD_NOT;
    status = remote_get(r, path.data, &answer);
    if (status != EXIT_DONE)
        return status;
    return raw ? cli_print(&answer, 0) : show_entry(cli, buf_slice(&answer));
}

static bool is_id(const char *word)
{
    return strlen(word) == ENTRY_ID_LEN && strspn(word, "0123456789abcdef") == ENTRY_ID_LEN;
}

static int cmd_get(const struct cli *cli)
{
    if (cli->words_n != 1)
        (void)fputs("refrain: get: expected one ID, as `refrain keys` lists them\n", stderr);
    else if (!is_id(cli->words[0]))
        (void)fprintf(stderr,
                      "refrain: get: %s: expected an ID of %d hex digits, as `refrain keys` lists them\n",
                      cli->words[0], ENTRY_ID_LEN);
    else
        return remote_run(cli, get);
    return EXIT_COULD_NOT;
}

/* -- rows -- */

#define MEANT_FLAGS                                                                                          \
    {"id", "ID", "The entry of this id, as Refrain-Entry tells it.", NULL},                                  \
        {"pattern", "GLOB", "Those whose NAMESPACE:OPERATION:MODEL:HEX is like this.", NULL},                \
        {"tag", "TAG", "Those with this tag.", NULL},                                                        \
        {"operation", "NAME", "Those of this operation.", NULL},                                             \
        {"model", "GLOB", "Those of models like this.", NULL},                                               \
        {"namespace", "NAME", "Those of this namespace.", NULL},                                             \
    {                                                                                                        \
        "older-than", "AGE", "Those stored longer ago: seconds, or 10m, 2h, 7d.", NULL                       \
    }

static const char *const tier_choices[] = {"memory", "disk", "redis", NULL};

static const struct cli_flag invalidate_flags[] = {
    MEANT_FLAGS,
    {"target", "PATH", "A GET's answers to everyone, by path and query.", NULL},
    {"upstream", "NAME", "The upstream of --target, where there are several.", NULL},
    {"all", NULL, "Everything.", NULL},
    {"dry-run", NULL, "Count, and change nothing.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag keys_flags[] = {
    MEANT_FLAGS,
    {"tier", "TIER", "Look into memory, disk or redis alone.", tier_choices},
    {"limit", "N", "At most about so many; by default 1000.", NULL},
    {"all", NULL, "All of them, as --limit 0.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag get_flags[] = {
    {"body", NULL, "Print the stored answer's body, nothing else.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag *const invalidate_lists[] = {invalidate_flags, output_flags, remote_flags,
                                                          config_file_flags, NULL};
static const struct cli_flag *const keys_lists[] = {keys_flags, output_flags, remote_flags, config_file_flags,
                                                    NULL};
static const struct cli_flag *const get_lists[] = {get_flags, output_flags, remote_flags, config_file_flags,
                                                   NULL};

static const struct cli_example invalidate_examples[] = {
    {"refrain invalidate --tag news --dry-run", "how many would go?"},
    {"refrain invalidate --model 'gpt-4o*' --older-than 2h", NULL},
    {"refrain invalidate --pattern 'team-a:chat:*'", NULL},
    {"refrain invalidate --target /v1/models", "for all credentials"},
    {"refrain invalidate --all", NULL},
    {NULL, NULL},
};
const struct command command_invalidate = {
    .name = "invalidate",
    .args = "[FLAGS]",
    .help = "Have entries go, from every tier of every instance.",
    .group = GROUP_ENTRIES,
    .flags = invalidate_lists,
    .run = cmd_invalidate,
    .about =
        "What is given must match all together. In a pattern * is any text and ? one sign. What a tier or an "
        "instance has still to do it does by itself once it can.\n",
    .finding = "a tier or an instance has still to do its part",
    .examples = invalidate_examples,
};

static const struct cli_example keys_examples[] = {
    {"refrain keys", NULL},
    {"refrain keys --namespace team-a --model 'claude*' --limit 50", NULL},
    {"refrain keys --tier disk --all --json", NULL},
    {"refrain keys --all | cut -f 1", "ids alone: in a pipe cells are separated by tabs"},
    {NULL, NULL},
};
const struct command command_keys = {
    .name = "keys",
    .args = "[FLAGS]",
    .help = "List entries.",
    .group = GROUP_ENTRIES,
    .flags = keys_lists,
    .run = cmd_keys,
    .about = "Tiers come in their order, each unsorted: memory, then what disk has beside it, then Redis.\n",
    .finding = "a tier could not be read to the end",
    .examples = keys_examples,
};

static const struct cli_example get_examples[] = {
    {"refrain get 5e57b2f61304228c2e95c157cbbf9d36", NULL},
    {"refrain get 5e57b2f61304228c2e95c157cbbf9d36 --body | jq .usage", NULL},
    {NULL, NULL},
};
const struct command command_get = {
    .name = "get",
    .args = "ID [FLAGS]",
    .help = "Tell of one entry, or print its body.",
    .group = GROUP_ENTRIES,
    .flags = get_lists,
    .run = cmd_get,
    .finding = "there is no such entry",
    .examples = get_examples,
};
