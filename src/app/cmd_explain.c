/* explain: what would become of a request, asked of a running instance, or worked out from the configuration.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "config.h"
#include "config_tree.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/clients.h"
#include "refrain/http/explain.h"
#include "refrain/ops/explain_json.h"
#include "refrain/wire/reqtext.h"
#include "remote.h"
#include "site_build.h"
#include "state.h"
#include "term.h"
#include "text.h"

enum { REQUEST_BYTES_MAX = 16 << 20, ANSWER_BYTES_MAX = 64 << 20, OFFLINE_MEMORY_BYTES = 4 << 20 };

/* -- for people -- */

static void print_line(const char *label, const char *text)
{
    if (!text)
        return;
    (void)printf("%-13s", label);
    remote_print_safe(text);
    (void)putchar('\n');
}

static void print_words(const char *label, const char *first, const char *between, const char *second)
{
    if (!first)
        return;
    (void)printf("%-13s", label);
    remote_print_safe(first);
    if (second && second[0]) {
        (void)fputs(between, stdout);
        remote_print_safe(second);
    }
    (void)putchar('\n');
}

static void print_verdict(const struct node *t)
{
    const char *because = remote_text(t, "because", NULL);

    (void)printf("%s", remote_text(t, "result", "?"));
    if (because) {
        (void)fputs(": ", stdout);
        remote_print_safe(because);
    }
    (void)fputs("\n\n", stdout);
}

static void print_entry(const struct node *t)
{
    const char *ttl_s = remote_text(t, "entry.ttl_s", NULL);

    if (!remote_text(t, "entry.id", NULL))
        return;
    print_words("stored", remote_text(t, "entry.id", NULL), " in ", remote_text(t, "entry.tier", "?"));
    (void)printf("%-13sage %s s, %s%s%s\n", "", remote_text(t, "entry.age_s", "?"),
                 ttl_s ? "fresh for " : "fresh for ever", ttl_s ? ttl_s : "", ttl_s ? " s" : "");
}

static void print_list(const char *label, const char *kind, const struct node *list)
{
    for (size_t i = 0; list && i < list->n; i++) {
        const struct node *item = list->members[i].node;

        (void)printf("%-13s%s ", label, kind);
        remote_print_safe(remote_text(item, "name", "?"));
        (void)printf(" (%s)\n", remote_text(item, "because", "?"));
        label = "";
    }
}

static void print_difference(const struct node *d)
{
    static const struct {
        const char *how, *text;
    } hows[] = {
        {"differs", "has another value there"},
        {"only_here", "is not in that one"},
        {"only_there", "is only in that one"},
    };
    const char *how = remote_text(d, "how", "");
    const char *name = remote_text(d, "name", strcmp(how, "only_there") == 0 ? "something" : "");

    (void)printf("  %s%s", remote_text(d, "part", "?"), name[0] ? " " : "");
    remote_print_safe(name);
    for (size_t i = 0; i < ARRAY_LEN(hows); i++)
        if (strcmp(hows[i].how, how) == 0)
            (void)printf(": %s", hows[i].text);
    (void)putchar('\n');
}

static void print_nearest(const struct node *t)
{
    const struct node *list = node_find(t, "nearest.differences");

    if (!list)
        return;
    if (list->n == 0)
        (void)printf("%-13sthis very request was asked %s s ago; its answer was not stored: %s\n", "nearest",
                     remote_text(t, "nearest.seconds_ago", "?"),
                     remote_text(t, "nearest.not_stored", "or is not any longer"));
    else
        (void)printf("%-13sa request of %s s ago differs in %s of %s parts:\n", "nearest",
                     remote_text(t, "nearest.seconds_ago", "?"), remote_text(t, "nearest.different", "?"),
                     remote_text(t, "nearest.parts", "?"));
    for (size_t i = 0; i < list->n; i++)
        print_difference(list->members[i].node);
}

/* "1 h, by the configuration" */
static void print_lifetime(const struct node *t)
{
    const char *by = remote_text(t, "would_store.by", NULL);
    double ttl_s;

    if (!by)
        print_line("keeps",
                   node_find(t, "would_store") ? "nothing: the request, or a rule, says not to" : NULL);
    else if (strcmp(by, "upstream") == 0)
        print_line("keeps", "for as long as upstream says, or the route");
    else if (remote_number(t, "would_store.ttl_s", &ttl_s))
        print_words("keeps", text_of_seconds(ttl_s).text, ", by the ", by);
    else
        print_words("keeps", "for ever", ", by the ", by);
}

/* Only where it tells something. */
static void print_breakers(const struct node *t)
{
    const char *validation = remote_text(t, "breakers.validation", "closed");
    const char *availability = remote_text(t, "breakers.availability", "closed");

    if (strcmp(validation, "closed") != 0)
        print_words("breaker", "validation ", validation, ": upstream's answers are broken, none is stored");
    if (strcmp(availability, "closed") != 0)
        print_words("breaker", "availability ", availability,
                    ": upstream fails; stale answers stand in where they may");
}

static void print_rules(const struct node *t)
{
    const struct node *list = node_find(t, "rules");

    if (!list || list->n == 0)
        return;
    (void)printf("%-13s", "rules");
    for (size_t i = 0; i < list->n; i++)
        (void)printf("%srules[%s]", i > 0 ? ", " : "", list->members[i].node->text);
    (void)puts(list->n > 1 ? " match" : " matches");
}

static void print_text(const struct node *t)
{
    print_verdict(t);
    print_words("request", remote_text(t, "request.method", "?"), " ", remote_text(t, "request.target", "?"));
    print_words("operation", remote_text(t, "operation", NULL), " ", remote_text(t, "own_operation", ""));
    print_words("upstream", remote_text(t, "upstream", NULL), ", by the route ", remote_text(t, "route", ""));
    print_line("model", remote_text(t, "model", NULL));
    print_rules(t);
    print_words("scope", remote_text(t, "scope", NULL), ", namespace ", remote_text(t, "namespace", ""));
    print_line("key", remote_text(t, "key_text", remote_text(t, "key_because", NULL)));
    print_entry(t);
    print_lifetime(t);
    print_breakers(t);
    print_nearest(t);
    print_list("left out", "body", node_find(t, "excluded.body"));
    print_list("left out", "header", node_find(t, "excluded.headers"));
    print_line("keyed by", strcmp(remote_text(t, "canonical.form", ""), "exact") == 0
                               ? remote_text(t, "canonical.because", "its bytes")
                               : NULL);
    print_line("canonical", remote_text(t, "canonical.text", NULL));
}

/* Prints an answer and tells the exit status from it. */
static int show(struct slice json, bool raw)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *tree = remote_tree(&pool, json);
    const char *hit;

    if (!tree)
        return EXIT_COULD_NOT;
    if (raw)
        (void)fwrite(json.data, 1, json.len, stdout);
    else
        print_text(tree);
    if (fflush(stdout) != 0)
        return EXIT_COULD_NOT;
    hit = remote_text(tree, "would_hit", "unknown");
    return strcmp(hit, "true") == 0 ? EXIT_DONE : strcmp(hit, "false") == 0 ? EXIT_FINDING : EXIT_COULD_NOT;
}

/* -- without an instance -- */

/* What a site wants that no request will use. */
struct offline {
    struct site_parts parts;
    struct buf secret;
    bool secret_is_unknown;
    struct site *site;
};

static bool offline_init(struct offline *o, const struct config *conf)
{
    struct store_mem_conf memory = {OFFLINE_MEMORY_BYTES, 0, EVICT_LRU};
    int r = 0;

    *o = (struct offline){.secret = BUF_INIT(8192)};
    if (conf->cache.secret.text)
        r = buf_add_slice(&o->secret, slice_str(conf->cache.secret.text));
    else
        o->secret_is_unknown = state_secret_find(conf->cache.state_dir, STATE_SECRET, &o->secret) < 0;
    o->parts.secret = buf_slice(&o->secret);
    o->parts.breakers = breakers_new();
    o->parts.clients = clients_new();
    if (conf->tiers.memory.enabled)
        o->parts.memory = store_mem_new(&memory);
    o->parts.store = store_new(&(struct store_conf){.memory = o->parts.memory});
    if (r == 0 && o->parts.breakers && o->parts.clients && o->parts.store)
        o->site = site_build(conf, &o->parts);
    return o->site != NULL;
}

static void offline_done(struct offline *o)
{
    site_unref(o->site);
    breakers_free(o->parts.breakers);
    clients_free(o->parts.clients);
    store_free(o->parts.store, 0);
    store_mem_free(o->parts.memory);
    buf_done(&o->secret);
}

static int explain_with(const struct cli *cli, const struct config *conf, const struct offline *o,
                        struct reqtext *text)
{
    AUTO(buf_done) struct buf json = BUF_INIT(ANSWER_BYTES_MAX);
    struct explain_request request = {text->method, text->target, text->body, text->has_body, &text->fields};
    struct explain_show view = {o->site, slice_str(conf->cache.prefix), true, o->secret_is_unknown, NULL};
    AUTO(explanation_done) struct explanation e = {.trace = NULL};

    if (explain(o->site, &request, clock_wall_ms(), clock_mono_ms(), &e) < 0 ||
        explain_json(&e, &request, &view, &json) < 0) {
        (void)fputs("refrain: out of memory\n", stderr);
        return EXIT_COULD_NOT;
    }
    return show(buf_slice(&json), cli_has(cli, "json"));
}

/* What errors call the file that is named so. */
static const char *name_of(const char *file)
{
    return strcmp(file, "-") == 0 ? "standard input" : file;
}

static int explain_offline(const struct cli *cli, const struct config *conf, struct slice request)
{
    AUTO(offline_done) struct offline o = {.site = NULL};
    AUTO(reqtext_done) struct reqtext text;
    struct reqtext_fault fault;

    if (!reqtext_read(request, &text, &fault)) {
        (void)fprintf(stderr, "refrain: %s: %s: expected %s\n", name_of(cli->words[0]), fault.where,
                      fault.expected);
        return EXIT_COULD_NOT;
    }
    if (conf->upstreams_n == 0) {
        (void)fputs("refrain: without an instance the configuration is needed: give --config FILE, or "
                    "--admin URL where "
                    "one runs\n",
                    stderr);
        return EXIT_COULD_NOT;
    }
    if (!offline_init(&o, conf)) {
        (void)fputs("refrain: out of memory\n", stderr);
        return EXIT_COULD_NOT;
    }
    return explain_with(cli, conf, &o, &text);
}

/* -- with one -- */

static int explain_online(const struct cli *cli, const struct config *conf, struct slice request)
{
    AUTO(buf_done) struct buf answer = BUF_INIT(0);
    AUTO(remote_done) struct remote remote = {.pool = POOL_INIT};

    if (!remote_init(&remote, cli, conf))
        return EXIT_COULD_NOT;
    switch (remote_call(&remote, "POST", "/explain", request, &answer)) {
    case REMOTE_DONE:
        return show(buf_slice(&answer), cli_has(cli, "json"));
    case REMOTE_UNREACHABLE:
        remote_tell_unreachable(&remote);
        if (remote.chosen)
            return EXIT_COULD_NOT;
        (void)fputs("refrain: so this is what the configuration alone tells\n", stderr);
        return explain_offline(cli, conf, request);
    case REMOTE_REFUSED:
    case REMOTE_FAILED:
        break;
    }
    return EXIT_COULD_NOT;
}

/* -- the request -- */

static bool read_request(const struct cli *cli, struct buf *out)
{
    const char *name = cli->words_n == 1 ? cli->words[0] : NULL;
    char block[16384];
    size_t n;
    FILE *f;
    int r = 0;

    if (!name) {
        (void)fputs("refrain: explain: expected one FILE that holds a request, or - for standard input; "
                    "`refrain explain --help` shows one\n",
                    stderr);
        return false;
    }
    f = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    if (!f) {
        (void)fprintf(stderr, "refrain: %s: %s\n", name, strerror(errno));
        return false;
    }
    while (r == 0 && (n = fread(block, 1, sizeof(block), f)) > 0)
        r = buf_add(out, block, n);
    if (r < 0 || ferror(f))
        (void)fprintf(stderr, "refrain: %s: %s\n", name_of(name),
                      r < 0 ? "more than 16 MiB" : "could not be read");
    r = r < 0 || ferror(f) ? -1 : 0;
    if (f != stdin)
        (void)fclose(f);
    return r == 0;
}

static int cmd_explain(const struct cli *cli)
{
    AUTO(buf_done) struct buf request = BUF_INIT(REQUEST_BYTES_MAX);
    struct config *conf;
    int status;

    if (!read_request(cli, &request))
        return EXIT_COULD_NOT;
    conf = config_for_remote(cli);
    if (!conf)
        return EXIT_COULD_NOT;
    status = cli_has(cli, "offline") ? explain_offline(cli, conf, buf_slice(&request))
                                     : explain_online(cli, conf, buf_slice(&request));
    config_free(conf);
    return status;
}

static const struct cli_flag flags[] = {
    {"offline", NULL, "Ask no instance; say what the configuration tells.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag *const lists[] = {flags, output_flags, remote_flags, config_file_flags, NULL};
static const struct cli_example examples[] = {
    {"refrain explain request.json", NULL},
    {"refrain explain --json - < request.txt", NULL},
    {"refrain explain --admin http://10.0.0.7:9180 --token-file admin.token request.json", NULL},
    {"refrain explain --offline --config refrain.yaml request.json", NULL},
    {NULL, NULL},
};
const struct command command_explain = {
    .name = "explain",
    .args = "FILE [FLAGS]",
    .help = "Say what would become of a request, and why.",
    .group = GROUP_ENTRIES,
    .flags = lists,
    .run = cmd_explain,
    .about =
        "FILE holds a request, as JSON or as the text of an HTTP request; - reads standard input:\n\n"
        "  {\"path\": \"/v1/chat/completions\", \"headers\": {\"Authorization\": \"Bearer sk-...\"},\n"
        "   \"body\": {\"model\": \"gpt-4o-mini\", \"messages\": [{\"role\": \"user\", \"content\": "
        "\"hello\"}]}}\n\n"
        "Give the headers that the client sends: they are part of the key.\n\n"
        "Nothing is asked of upstream and nothing changes. Without an instance (or with --offline) it says "
        "what "
        "the configuration tells: operation, canonical form, what is left out, key; not what is stored.\n",
    .finding = "it would not hit",
    .examples = examples,
    .words = CLI_WORDS_FILE,
};
