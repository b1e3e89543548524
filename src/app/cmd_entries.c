/* invalidate, keys, get: what a running instance and its tiers hold, and having it go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "config.h"
#include "config_tree.h"
#include "refrain/base/attr.h"
#include "remote.h"

enum { TEXT_BYTES_MAX = 16 * 1024, PAGE_MAX = 1000 };

#define MEANT_FLAGS                                                                                          \
    {"id", "ID", "The entry of this id, as Refrain-Entry tells it."},                                        \
        {"pattern", "GLOB", "Those whose NAMESPACE:OPERATION:MODEL:HEX is like this."},                      \
        {"tag", "TAG", "Those with this tag."}, {"operation", "NAME", "Those of this operation."},           \
        {"model", "GLOB", "Those of models like this."}, {"namespace", "NAME", "Those of this namespace."},  \
    {                                                                                                        \
        "older-than", "AGE", "Those stored longer ago: seconds, or 10m, 2h, 7d."                             \
    }

const struct cli_flag invalidate_flags[] = {
    MEANT_FLAGS,
    {"target", "PATH", "A GET's answers to everyone, by path and query."},
    {"upstream", "NAME", "Of --target, where there are several."},
    {"all", NULL, "Everything."},
    {"dry-run", NULL, "Count, and change nothing."},
    {"json", NULL, "Print JSON."},
    {NULL, NULL, NULL},
};
const struct cli_flag keys_flags[] = {
    MEANT_FLAGS,
    {"tier", "TIER", "Look into memory, disk or redis alone."},
    {"limit", "N", "At most about so many; 0: all. By default 1000."},
    {"json", NULL, "Print JSON, a page of up to 1000 a line."},
    {NULL, NULL, NULL},
};
const struct cli_flag get_flags[] = {
    {"body", NULL, "Print the stored answer's body, nothing else."},
    {"json", NULL, "Print JSON."},
    {NULL, NULL, NULL},
};

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

int cmd_invalidate_help(void)
{
    (void)puts("\nWhat is given must match all together. In a pattern * is any text and ? one sign. Exits "
               "with 1 when\n"
               "a tier or an instance has still to do its part, which it does by itself once it can.\n\n"
               "  refrain invalidate --tag news --dry-run          how many would go?\n"
               "  refrain invalidate --model 'gpt-4o*' --older-than 2h\n"
               "  refrain invalidate --pattern 'team-a:chat:*'\n"
               "  refrain invalidate --target /v1/models           for all credentials\n"
               "  refrain invalidate --all");
    return EXIT_DONE;
}

int cmd_keys_help(void)
{
    (void)puts("\nTiers come in their order, each unsorted: memory, then what disk has beside it, then "
               "Redis. Exits\n"
               "with 1 when one could not be read to the end.\n\n"
               "  refrain keys\n"
               "  refrain keys --namespace team-a --model 'claude*' --limit 50\n"
               "  refrain keys --tier disk --limit 0 --json");
    return EXIT_DONE;
}

int cmd_get_help(void)
{
    (void)puts("\nExits with 1 when there is no such entry.\n\n"
               "  refrain get 5e57b2f61304228c2e95c157cbbf9d36\n"
               "  refrain get 5e57b2f61304228c2e95c157cbbf9d36 --body | jq .usage");
    return EXIT_DONE;
}

/* -- asking -- */

/* EXIT_DONE, or what the command ends with. */
static int ask(struct remote *r, const char *method, const char *path, struct slice body, struct buf *answer)
{
    switch (remote_call(r, method, path, body, answer)) {
    case REMOTE_DONE:
        return EXIT_DONE;
    case REMOTE_UNREACHABLE:
        remote_tell_unreachable(r);
        break;
    case REMOTE_REFUSED:
        return r->status == 404 ? EXIT_FINDING : EXIT_COULD_NOT;
    case REMOTE_FAILED:
        break;
    }
    return EXIT_COULD_NOT;
}

static int print_raw(struct slice bytes)
{
    (void)fwrite(bytes.data, 1, bytes.len, stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_COULD_NOT;
}

static int with_remote(const struct cli *cli, int (*run)(const struct cli *cli, struct remote *r))
{
    AUTO(remote_done) struct remote remote = {.pool = POOL_INIT};
    struct config *conf = config_for_remote(cli);
    int status = EXIT_COULD_NOT;

    if (conf && remote_init(&remote, cli, conf))
        status = run(cli, &remote);
    config_free(conf);
    return status;
}

static int no_words(const struct cli *cli)
{
    (void)fprintf(stderr, "refrain: %s: %s: expected flags alone; --help tells them\n", cli->command->name,
                  cli->words[0]);
    return EXIT_COULD_NOT;
}

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
    int status;

    if (write_request(cli, &body) < 0) {
        (void)fputs("refrain: invalidate: too much text\n", stderr);
        return EXIT_COULD_NOT;
    }
    status = ask(r, "POST", "/invalidate", buf_slice(&body), &answer);
    return status == EXIT_DONE ? show_invalidated(buf_slice(&answer), cli_has(cli, "json")) : EXIT_COULD_NOT;
}

static bool says_what(const struct cli *cli)
{
    bool any = cli_has(cli, "all") || cli_value(cli, "target");

    for (size_t i = 0; i < ARRAY_LEN(meant); i++)
        any = any || cli_value(cli, meant[i].flag);
    return any;
}

int cmd_invalidate(const struct cli *cli)
{
    if (cli->words_n > 0)
        return no_words(cli);
    if (!says_what(cli)) {
        (void)fputs("refrain: invalidate: expected what is meant, such as --tag TAG; for everything, --all\n",
                    stderr);
        return EXIT_COULD_NOT;
    }
    return with_remote(cli, invalidate);
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

static void print_key(const struct node *e)
{
    (void)printf("%s  %-6s %10s %10s %8s %6s  ", remote_text(e, "id", "?"), remote_text(e, "tier", "?"),
                 remote_text(e, "age_s", "?"), remote_text(e, "gone_s", "never"),
                 remote_text(e, "bytes", "-"), remote_text(e, "hits", "-"));
    remote_print_safe(remote_text(e, "name", "?"));
    (void)putchar('\n');
}

/* Prints one page, and takes its cursor; @out_missed becomes true where a tier could not be read. Returns how
 * many there were, or -1. */
static long show_page(struct slice json, bool raw, char *cursor, size_t cursor_bytes, bool *out_missed)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *t = remote_tree(&pool, json), *list = t ? node_find(t, "entries") : NULL;
    const struct node *failed = t ? node_find(t, "not_read") : NULL;

    if (!list)
        return -1;
    (void)snprintf(cursor, cursor_bytes, "%s", remote_text(t, "cursor", ""));
    if (raw)
        (void)fwrite(json.data, 1, json.len, stdout);
    for (size_t i = 0; !raw && i < list->n; i++)
        print_key(list->members[i].node);
    *out_missed = *out_missed || (failed && failed->n > 0);
    for (size_t i = 0; failed && i < failed->n; i++)
        (void)fprintf(stderr, "refrain: keys: %s could not be read to the end: %s\n", failed->members[i].name,
                      failed->members[i].node->text);
    return (long)list->n;
}

/* ULONG_MAX: all. false: no number. */
static bool read_limit(const struct cli *cli, unsigned long *out)
{
    const char *text = cli_value(cli, "limit");
    char *end = NULL;

    *out = PAGE_MAX;
    if (!text)
        return true;
    *out = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end) {
        (void)fprintf(stderr, "refrain: --limit %s: expected a number\n", text);
        return false;
    }
    if (*out == 0)
        *out = (unsigned long)-1;
    return true;
}

static int keys(const struct cli *cli, struct remote *r)
{
    AUTO(buf_done) struct buf path = BUF_INIT(TEXT_BYTES_MAX);
    char cursor[4096] = "";
    unsigned long left;
    bool raw = cli_has(cli, "json"), missed = false;
    long n;

    if (!read_limit(cli, &left))
        return EXIT_COULD_NOT;
    if (!raw)
        (void)printf("%-32s  %-6s %10s %10s %8s %6s  %s\n", "id", "tier", "age_s", "gone_s", "bytes", "hits",
                     "name");
    do {
        AUTO(buf_done) struct buf answer = BUF_INIT(0);

        if (write_query(cli, cursor, left < PAGE_MAX ? left : PAGE_MAX, &path) < 0 ||
            ask(r, "GET", path.data, (struct slice){NULL, 0}, &answer) != EXIT_DONE)
            return EXIT_COULD_NOT;
        n = show_page(buf_slice(&answer), raw, cursor, sizeof(cursor), &missed);
        if (n < 0)
            return EXIT_COULD_NOT;
        left = left > (unsigned long)n ? left - (unsigned long)n : 0;
    } while (cursor[0] && left > 0);
    if (fflush(stdout) != 0)
        return EXIT_COULD_NOT;
    return missed ? EXIT_FINDING : EXIT_DONE;
}

int cmd_keys(const struct cli *cli)
{
    return cli->words_n > 0 ? no_words(cli) : with_remote(cli, keys);
}

/* -- get -- */

static void print_line(const char *name, const char *text)
{
    (void)printf("%-12s ", name);
    remote_print_safe(text);
    (void)putchar('\n');
}

static void print_tags(const struct node *tags)
{
    (void)printf("%-12s", "tags");
    for (size_t i = 0; tags && i < tags->n; i++) {
        (void)putchar(' ');
        remote_print_safe(tags->members[i].node->text);
    }
    (void)putchar('\n');
}

static void print_places(const struct node *tiers)
{
    (void)printf("%-12s", "tiers");
    for (size_t i = 0; tiers && i < tiers->n; i++) {
        const char *gone = remote_text(tiers->members[i].node, "gone_s", NULL);

        (void)printf("%s %s (%s%s%s)", i > 0 ? "," : "", remote_text(tiers->members[i].node, "tier", "?"),
                     gone ? "gone in " : "never gone", gone ? gone : "", gone ? " s" : "");
    }
    (void)putchar('\n');
}

static int show_entry(struct slice json)
{
    static const char *const lines[] = {"id",         "name",       "status", "body_bytes", "stream",
                                        "gzip",       "age_s",      "ttl_s",  "hits",       "tokens_in",
                                        "tokens_out", "upstream_s", "prompt"};
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *t = remote_tree(&pool, json);

    if (!t)
        return EXIT_COULD_NOT;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        print_line(lines[i], remote_text(t, lines[i], "-"));
    print_tags(node_find(t, "tags"));
    print_places(node_find(t, "tiers"));
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
    status = ask(r, "GET", path.data, (struct slice){NULL, 0}, &answer);
    if (status != EXIT_DONE)
        return status;
    return raw ? print_raw(buf_slice(&answer)) : show_entry(buf_slice(&answer));
}

int cmd_get(const struct cli *cli)
{
    if (cli->words_n == 1)
        return with_remote(cli, get);
    (void)fputs("refrain: get: expected one ID, as `refrain keys` lists them\n", stderr);
    return EXIT_COULD_NOT;
}
