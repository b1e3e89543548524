/* stats: what a running instance has done, in sections; --watch looks again and again. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "config_tree.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "remote.h"
#include "text.h"
#include "view.h"

enum { LABEL_WIDTH = 12, INTERVAL_S = 2, INTERVAL_MAX_S = 3600, SCREEN_BYTES = 64 * 1024 };

/* -- sections -- */

#define REQUESTS                                                                                             \
    {"requests", "requests.total", FORM_COUNT}, {"hit", "requests.hit", FORM_COUNT},                         \
        {"miss", "requests.miss", FORM_COUNT}, {"coalesced", "requests.coalesced", FORM_COUNT},              \
        {"stale", "requests.stale", FORM_COUNT, .drop = 2},                                                  \
        {"revalidated", "requests.revalidated", FORM_COUNT, .drop = 3},                                      \
        {"bypass", "requests.bypass", FORM_COUNT, .drop = 1}, {"error", "requests.error", FORM_COUNT},       \
    {                                                                                                        \
        "hit rate", "hit_rate", FORM_RATIO                                                                   \
    }

static const struct view_column operation_columns[] = {{"operation", "operation", FORM_TEXT, .shrinks = true},
                                                       REQUESTS};
static const struct view_column namespace_columns[] = {{"namespace", "namespace", FORM_TEXT, .shrinks = true},
                                                       REQUESTS};

static enum tone tone_of_tier(const struct node *tier)
{
    const char *state = remote_text(tier, "state", "");

    return strcmp(state, "up") == 0         ? TONE_GOOD
           : strcmp(state, "off") == 0      ? TONE_FAINT
           : strcmp(state, "degraded") == 0 ? TONE_WARN
                                            : TONE_BAD;
}

static const struct view_column tier_columns[] = {
    {"tier", "tier", FORM_TEXT},
    {"state", "state", FORM_TITLE},
    {"fill", "fill", FORM_BAR, .drop = 1},
    {"size", "bytes", FORM_BYTES},
    {"of", "limit_bytes", FORM_BYTES, .drop = 2},
    {"entries", "entries", FORM_COUNT},
    {"hits", "hits", FORM_COUNT},
    {"evictions", "evictions", FORM_COUNT, .drop = 3},
    {"errors", "errors", FORM_COUNT},
};

static const struct view_column model_columns[] = {
    {"model", "model", FORM_TEXT, .shrinks = true},
    {"hits", "hits", FORM_COUNT},
    {"tokens in", "tokens_in", FORM_COUNT},
    {"tokens out", "tokens_out", FORM_COUNT},
    {"saved", "dollars", FORM_DOLLARS, .otherwise = "no price"},
};

static const struct view operations = {operation_columns, ARRAY_LEN(operation_columns), NULL};
static const struct view namespaces = {namespace_columns, ARRAY_LEN(namespace_columns), NULL};
static const struct view tiers = {tier_columns, ARRAY_LEN(tier_columns), tone_of_tier};
static const struct view models = {model_columns, ARRAY_LEN(model_columns), NULL};

static void print_title(const struct term *term, const char *title)
{
    (void)printf("\n%s%s%s\n", term_tone(term, TONE_STRONG), title, term_tone(term, TONE_PLAIN));
}

/* A list as a table; @all is a row of the whole before it, or NULL. */
static void print_section(const struct term *term, const char *title, const struct view *view,
                          const struct node *list, const struct node *all)
{
    struct table *table;

    if (!all && (!list || list->n == 0))
        return;
    print_title(term, title);
    table = view_table(view, term);
    if (all)
        view_add(view, table, term, all, "all");
    for (size_t i = 0; list && i < list->n; i++)
        view_add(view, table, term, list->members[i].node, NULL);
    table_flush(table);
    table_free(table);
}

static void print_line(const struct term *term, const char *label, const char *text)
{
    char clean[2048], clean_label[64];

    text_clean(text, term->ascii, clean, sizeof(clean));
    text_clean(label, term->ascii, clean_label, sizeof(clean_label));
    if (term->live)
        (void)printf("%-*s%s\n", LABEL_WIDTH, clean_label, clean);
    else
        (void)printf("%s\t%s\n", clean_label, clean);
}

/* What is longer than a line can be is cut. */
static void ATTR_PRINTF(3, 4) print_linef(const struct term *term, const char *label, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    print_line(term, label, text);
}

/* -- a number as text, "-" where it is not known -- */

static struct short_text number(const struct node *t, const char *path, struct short_text (*as)(double))
{
    double value;

    return remote_number(t, path, &value) ? as(value) : (struct short_text){"-"};
}

static double value_of(const struct node *t, const char *path)
{
    double value;

    return remote_number(t, path, &value) ? value : 0;
}

static void print_head(const struct term *term, const struct node *t)
{
    char text[512], clean[512];

    (void)snprintf(text, sizeof(text), "Refrain %s%s%s, up %s", remote_text(t, "version", "?"),
                   remote_text(t, "instance", NULL) ? ", " : "", remote_text(t, "instance", ""),
                   number(t, "uptime_s", text_of_seconds).text);
    text_clean(text, term->ascii, clean, sizeof(clean));
    term_print(term, TONE_STRONG, clean);
    (void)putchar('\n');
}

static void print_saved(const struct term *term, const struct node *t)
{
    print_title(term, "Saved");
    print_linef(term, "tokens", "%s in, %s out", number(t, "saved.tokens_in", text_of_count).text,
                number(t, "saved.tokens_out", text_of_count).text);
    print_line(term, "waiting", number(t, "saved.seconds", text_of_seconds).text);
    if (strcmp(remote_text(t, "saved.priced", "false"), "true") == 0)
        print_line(term, "money", number(t, "saved.dollars", text_of_dollars).text);
    else
        print_line(term, "money", "not known: `pricing` in the configuration tells what tokens cost");
}

/* "no-store 12, too large 3" */
static void print_not_stored(const struct term *term, const struct node *list)
{
    char text[1024];
    size_t len = 0;

    for (size_t i = 0; list && i < list->n && len < sizeof(text); i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s %s", len > 0 ? ", " : "",
                                remote_text(list->members[i].node, "reason", "?"),
                                number(list->members[i].node, "count", text_of_count).text);
    if (len > 0)
        print_line(term, "not stored", text);
}

static void print_now(const struct term *term, const struct node *t)
{
    print_title(term, "Upstream and process");
    print_linef(term, "upstream", "%s calls, %s failed", number(t, "upstream.calls", text_of_count).text,
                number(t, "upstream.failures", text_of_count).text);
    print_linef(term, "flights", "%s open, %s readers", number(t, "flights.open", text_of_count).text,
                number(t, "flights.readers", text_of_count).text);
    print_not_stored(term, node_find(t, "not_stored"));
    print_linef(term, "breakers", "%s open", number(t, "breakers_open", text_of_count).text);
    print_linef(term, "memory", "%s, of that %s in buffers; %s connections",
                number(t, "process.rss_bytes", text_of_bytes).text,
                number(t, "process.buffered_bytes", text_of_bytes).text,
                number(t, "process.connections", text_of_count).text);
}

static void print_alerts(const struct term *term, const struct node *list)
{
    if (!list)
        return;
    print_title(term, "Alerts");
    if (list->n == 0)
        (void)puts("none");
    for (size_t i = 0; i < list->n; i++) {
        const struct node *a = list->members[i].node;

        print_line(term, remote_text(a, "level", "?"),
                   remote_text(a, "message", remote_text(a, "code", "?")));
    }
}

static void print_stats(const struct term *term, const struct node *t, const struct node *alerts)
{
    const struct node *spaces = node_find(t, "namespaces");

    print_head(term, t);
    print_section(term, "Requests", &operations, node_find(t, "operations"), t);
    if (spaces && spaces->n > 1)
        print_section(term, "Namespaces", &namespaces, spaces, NULL);
    print_section(term, "Tiers", &tiers, node_find(t, "tiers"), NULL);
    print_saved(term, t);
    print_section(term, "Saved by model", &models, node_find(t, "saved.models"), NULL);
    print_now(term, t);
    print_alerts(term, alerts);
}

/* -- once -- */

/* What a look at an instance found. */
struct look {
    struct pool pool;
    struct buf stats, alerts;
    const struct node *stats_tree, *alerts_tree; /* the latter NULL where the instance has none */
};

static void look_done(struct look *l)
{
    buf_done(&l->stats);
    buf_done(&l->alerts);
    pool_done(&l->pool);
}

static void take_alerts(struct remote *r, struct look *l)
{
    const struct node *tree;

    if (remote_ask(r, "GET", "/alerts", (struct slice){NULL, 0}, &l->alerts, NULL) != REMOTE_DONE)
        return;
    tree = remote_tree_quiet(&l->pool, buf_slice(&l->alerts));
    l->alerts_tree = tree ? node_find(tree, "alerts") : NULL;
}

/* What has come as a tree, and the alerts beside it. False after telling that it is none. */
static bool take_look(struct remote *r, struct look *l)
{
    l->stats_tree = remote_tree(&l->pool, buf_slice(&l->stats));
    if (l->stats_tree)
        take_alerts(r, l);
    return l->stats_tree != NULL;
}

static int stats_once(const struct cli *cli, struct remote *r)
{
    AUTO(look_done) struct look l = {.pool = POOL_INIT};
    int status = remote_get_known(r, "/stats", &l.stats);
    struct term term;

    if (status != EXIT_DONE)
        return status;
    if (cli_has(cli, "json"))
        return cli_print(&l.stats, 0);
    if (!take_look(r, &l))
        return EXIT_COULD_NOT;
    term_init(&term, cli);
    print_stats(&term, l.stats_tree, l.alerts_tree);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_COULD_NOT;
}

/* -- again and again -- */

struct watch {
    struct term term;
    double total; /* requests at the last look; below 0: there was none */
    int64_t at_ms;
};

static void print_time(void)
{
    time_t now = clock_wall_ms() / 1000;
    struct tm utc;
    char text[32];

    (void)gmtime_r(&now, &utc);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
    (void)fputs(text, stdout);
}

/* Requests a second since the last look; below 0: not known. */
static double take_rate(struct watch *w, const struct node *t)
{
    double total = value_of(t, "requests.total"), before = w->total;
    int64_t now_ms = clock_mono_ms(), took_ms = now_ms - w->at_ms;

    w->total = total;
    w->at_ms = now_ms;
    return before < 0 || total < before || took_ms <= 0 ? -1 : (total - before) * 1000 / (double)took_ms;
}

/* Where it is no terminal: one line a look. */
static void print_watch_line(struct watch *w, const struct look *l)
{
    const struct node *t = l->stats_tree;
    double rate = take_rate(w, t);

    print_time();
    (void)printf(" requests=%s", remote_text(t, "requests.total", ""));
    if (rate >= 0)
        (void)printf(" per_second=%.1f", rate);
    (void)printf(
        " hit_rate=%s hits=%s misses=%s errors=%s tokens_saved_in=%s tokens_saved_out=%s dollars_saved=%s "
        "flights=%s readers=%s rss_bytes=%s breakers_open=%s alerts=%zu\n",
        remote_text(t, "hit_rate", ""), remote_text(t, "requests.hit", ""),
        remote_text(t, "requests.miss", ""), remote_text(t, "requests.error", ""),
        remote_text(t, "saved.tokens_in", ""), remote_text(t, "saved.tokens_out", ""),
        remote_text(t, "saved.dollars", ""), remote_text(t, "flights.open", ""),
        remote_text(t, "flights.readers", ""), remote_text(t, "process.rss_bytes", ""),
        remote_text(t, "breakers_open", ""), l->alerts_tree ? l->alerts_tree->n : 0);
}

static void print_trouble_line(const struct watch *w, const struct buf *trouble)
{
    if (w->term.live) {
        (void)printf("\033[H\033[J%.*s\n", (int)trouble->len, trouble->data);
        return;
    }
    print_time();
    (void)fputs(" unreachable\n", stdout);
    (void)fprintf(stderr, "refrain: %.*s\n", (int)trouble->len, trouble->data);
}

/* One look. EXIT_DONE to go on: an instance that is away may come back, one that refuses will not be
 * persuaded. */
static int watch_once(const struct cli *cli, struct remote *r, struct watch *w)
{
    AUTO(look_done) struct look l = {.pool = POOL_INIT};
    AUTO(buf_done) struct buf trouble = BUF_INIT(4096);
    enum remote_verdict verdict = remote_ask(r, "GET", "/stats", (struct slice){NULL, 0}, &l.stats, &trouble);

    if (verdict == REMOTE_REFUSED) {
        (void)fprintf(stderr, "refrain: %.*s\n", (int)trouble.len, trouble.data);
        return EXIT_COULD_NOT;
    }
    if (verdict != REMOTE_DONE) {
        w->total = -1;
        print_trouble_line(w, &trouble);
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_COULD_NOT;
    }
    if (cli_has(cli, "json"))
        return cli_print(&l.stats, 0);
    if (!take_look(r, &l))
        return EXIT_COULD_NOT;
    term_init(&w->term, cli); /* it may have another size by now */
    if (w->term.live) {
        (void)fputs("\033[H\033[J", stdout);
        print_stats(&w->term, l.stats_tree, l.alerts_tree);
    } else {
        print_watch_line(w, &l);
    }
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_COULD_NOT;
}

static int stats_watch(const struct cli *cli, struct remote *r, unsigned long interval_s)
{
    struct watch w = {.total = -1};
    int status;

    term_init(&w.term, cli);
    /* A screen is written in one go, so that it does not flicker. */
    (void)setvbuf(stdout, pool_alloc(&r->pool, SCREEN_BYTES), _IOFBF, SCREEN_BYTES);
    while ((status = watch_once(cli, r, &w)) == EXIT_DONE) {
        struct timespec pause = {(time_t)interval_s, 0};

        (void)nanosleep(&pause, NULL);
    }
    (void)setvbuf(stdout, NULL, _IONBF, 0);
    return status;
}

static int stats(const struct cli *cli, struct remote *r)
{
    unsigned long interval_s;

    if (!cli_number(cli, "interval", 1, INTERVAL_MAX_S, INTERVAL_S, &interval_s))
        return EXIT_COULD_NOT;
    return cli_has(cli, "watch") ? stats_watch(cli, r, interval_s) : stats_once(cli, r);
}

static int cmd_stats(const struct cli *cli)
{
    return cli->words_n > 0 ? cli_no_words(cli) : remote_run(cli, stats);
}

static const struct cli_flag flags[] = {
    {"watch", NULL, "Look again and again, until interrupted.", NULL},
    {"interval", "SECONDS", "With --watch: how often; by default every 2.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag *const lists[] = {flags, output_flags, remote_flags, config_file_flags, NULL};
static const struct cli_example examples[] = {
    {"refrain stats", NULL},
    {"refrain stats --watch", "anew every two seconds"},
    {"refrain stats --watch --interval 60 >> stats.log", "a line a minute"},
    {"refrain stats --json | jq .hit_rate", NULL},
    {NULL, NULL},
};
const struct command command_stats = {
    .name = "stats",
    .args = "[FLAGS]",
    .help = "Tell what was answered from where, and what it saved.",
    .group = GROUP_WATCH,
    .flags = lists,
    .run = cmd_stats,
    .about = "The hit rate is what was answered from the cache (hit, stale, revalidated, coalesced) of all "
             "but bypassed "
             "and failed requests.\n\n"
             "With --watch a terminal is drawn anew; elsewhere each look is one line of name=value, or with "
             "--json one "
             "JSON value a line. An instance that is away is waited for.\n",
    .examples = examples,
};
