/*
 * top: a running instance, live. Each look is a round of calls that go out together; keys and signals are met
 * while they are on their way, so that an instance that hangs does not hang the screen.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "config_tree.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "remote.h"
#include "screen.h"
#include "text.h"

enum {
    INTERVAL_S = 2,
    INTERVAL_MAX_S = 3600,
    BAR_WIDTH = 18,
    ALERTS_SHOWN = 3,
    BREAKERS_SHOWN = 3,
    MS = 1000
};

/* What is asked each time. Only the first must be there: others may be missing from another version. */
enum { ASK_STATS, ASK_ALERTS, ASK_BREAKERS, ASK_POPULAR, ASK_HISTORY, ASKS };
static const char *const paths[ASKS] = {
    [ASK_STATS] = "/stats",
    [ASK_ALERTS] = "/alerts",
    [ASK_BREAKERS] = "/breakers",
    [ASK_POPULAR] = "/popular?limit=50",
    [ASK_HISTORY] = "/stats/history?minutes=1&points=1",
};

/* What the hottest are sorted by. */
static const struct {
    const char *name, *path;
} sorts[] = {
    {"hits", "hits"},
    {"tokens out", "tokens_out"},
    {"size", "bytes"},
    {"age", "age_s"},
};

struct top {
    struct remote *remote;
    struct screen *screen;
    struct remote_round round;
    bool asking, paused, help, away;
    size_t sort;
    int64_t interval_ms, next_ms;
    struct pool pool;               /* of the trees */
    const struct node *trees[ASKS]; /* NULL: not known */
    char trouble[1024];
    double total, rate; /* requests at the last look, and a second since; below 0: not known */
    int64_t looked_ms;
};

/* -- values -- */

static struct short_text number(const struct node *t, const char *path, struct short_text (*as)(double))
{
    double value;

    return remote_number(t, path, &value) ? as(value) : (struct short_text){"-"};
}

static double value_of(const struct node *t, const char *path, double otherwise)
{
    double value;

    return remote_number(t, path, &value) ? value : otherwise;
}

static const struct node *list_of(const struct top *t, size_t ask, const char *member)
{
    return t->trees[ask] ? node_find(t->trees[ask], member) : NULL;
}

/* The last minute as one sample; NULL: not known. */
static const struct node *last_sample(const struct top *t)
{
    const struct node *samples = list_of(t, ASK_HISTORY, "samples");

    return samples && samples->n > 0 ? samples->members[samples->n - 1].node : NULL;
}

/* -- drawing -- */

static void put_bar(struct screen *s, double ratio, enum tone tone)
{
    struct term term = {.ascii = s->ascii};
    char bar[BAR_WIDTH * 4];

    term_bar(&term, ratio, BAR_WIDTH, bar, sizeof(bar));
    screen_put(s, tone, "%s", bar);
}

static void put_label(struct screen *s, const char *label)
{
    screen_put(s, TONE_STRONG, "%-10s ", label);
}

static void draw_head(const struct top *t)
{
    const struct node *st = t->trees[ASK_STATS];

    screen_put(t->screen, TONE_STRONG, "refrain %s", remote_text(st, "version", ""));
    screen_put(t->screen, TONE_PLAIN, "  %s  up %s  %s", remote_text(st, "instance", ""),
               number(st, "uptime_s", text_of_seconds).text,
               t->remote->socket ? t->remote->socket : t->remote->url);
    if (t->paused)
        screen_put(t->screen, TONE_WARN, "  paused");
    screen_line_end(t->screen);
    if (t->trouble[0]) {
        screen_put(t->screen, TONE_BAD, "%s", t->trouble);
        screen_line_end(t->screen);
    }
}

static void draw_requests(const struct top *t)
{
    const struct node *st = t->trees[ASK_STATS];
    double hit_rate = value_of(st, "hit_rate", -1);

    put_label(t->screen, "requests");
    screen_put(t->screen, TONE_PLAIN, "%s/s, %s in all; hit rate ",
               t->rate < 0 ? "-" : text_of_count(t->rate).text,
               number(st, "requests.total", text_of_count).text);
    if (hit_rate >= 0)
        put_bar(t->screen, hit_rate, TONE_GOOD);
    screen_put(t->screen, TONE_PLAIN, " %s", hit_rate < 0 ? "-" : text_of_ratio(hit_rate).text);
    screen_line_end(t->screen);
    put_label(t->screen, "saved");
    screen_put(t->screen, TONE_PLAIN, "%s tokens in, %s out, %s, %s of waiting",
               number(st, "saved.tokens_in", text_of_count).text,
               number(st, "saved.tokens_out", text_of_count).text,
               strcmp(remote_text(st, "saved.priced", ""), "true") == 0
                   ? number(st, "saved.dollars", text_of_dollars).text
                   : "no prices given",
               number(st, "saved.seconds", text_of_seconds).text);
    screen_line_end(t->screen);
}

static void draw_latency(const struct top *t)
{
    const struct node *last = last_sample(t), *st = t->trees[ASK_STATS];

    put_label(t->screen, "latency");
    screen_put(t->screen, TONE_PLAIN, "p50 %s, p95 %s, p99 %s; p95 hits %s, misses %s",
               number(last, "p50_s", text_of_seconds).text, number(last, "p95_s", text_of_seconds).text,
               number(last, "p99_s", text_of_seconds).text, number(last, "hit_p95_s", text_of_seconds).text,
               number(last, "miss_p95_s", text_of_seconds).text);
    screen_line_end(t->screen);
    put_label(t->screen, "flights");
    screen_put(
        t->screen, TONE_PLAIN, "%s open, %s readers; upstream %s, %s failed; errors %s; %s",
        number(st, "flights.open", text_of_count).text, number(st, "flights.readers", text_of_count).text,
        number(st, "upstream.calls", text_of_count).text, number(st, "upstream.failures", text_of_count).text,
        number(st, "requests.error", text_of_count).text,
        number(st, "process.rss_bytes", text_of_bytes).text);
    screen_line_end(t->screen);
}

static enum tone tone_of_state(const char *state)
{
    if (strcmp(state, "up") == 0 || strcmp(state, "closed") == 0)
        return TONE_GOOD;
    return strcmp(state, "off") == 0                                  ? TONE_FAINT
           : strcmp(state, "down") == 0 || strcmp(state, "open") == 0 ? TONE_BAD
                                                                      : TONE_WARN;
}

static void draw_tier(struct screen *s, const struct node *tier)
{
    double fill = value_of(tier, "fill", -1);
    const char *state = remote_text(tier, "state", "?");

    screen_put(s, TONE_PLAIN, "%-10s ", remote_text(tier, "tier", "?"));
    screen_put(s, tone_of_state(state), "%-9s", state);
    if (fill >= 0)
        put_bar(s, fill, fill >= 0.95 ? TONE_BAD : fill >= 0.8 ? TONE_WARN : TONE_GOOD);
    else
        screen_put(s, TONE_PLAIN, "%*s", BAR_WIDTH, "");
    screen_put(s, TONE_PLAIN, " %9s %7s %7s %7s %6s", number(tier, "bytes", text_of_bytes).text,
               number(tier, "entries", text_of_count).text, number(tier, "hits", text_of_count).text,
               number(tier, "evictions", text_of_count).text, number(tier, "errors", text_of_count).text);
    screen_line_end(s);
}

static void draw_tiers(const struct top *t)
{
    const struct node *tiers = list_of(t, ASK_STATS, "tiers");

    screen_line_end(t->screen);
    screen_put(t->screen, TONE_STRONG, "%-10s %-9s%-*s %9s %7s %7s %7s %6s", "tier", "state", BAR_WIDTH,
               "fill", "size", "entries", "hits", "evicted", "errors");
    screen_line_end(t->screen);
    for (size_t i = 0; tiers && i < tiers->n; i++)
        draw_tier(t->screen, tiers->members[i].node);
    screen_line_end(t->screen);
}

static void draw_breakers(const struct top *t)
{
    const struct node *list = list_of(t, ASK_BREAKERS, "breakers");
    size_t bad = 0;

    put_label(t->screen, "breakers");
    for (size_t i = 0; list && i < list->n; i++) {
        const struct node *b = list->members[i].node;
        const char *state = remote_text(b, "state", "?");

        if (strcmp(state, "closed") == 0 || ++bad > BREAKERS_SHOWN)
            continue;
        screen_put(t->screen, tone_of_state(state), "%s%s %s %s", bad > 1 ? "; " : "",
                   remote_text(b, "upstream", remote_text(b, "tier", "?")), remote_text(b, "kind", "?"),
                   state);
        screen_put(t->screen, TONE_PLAIN, " for %s", number(b, "for_s", text_of_seconds).text);
    }
    if (bad > BREAKERS_SHOWN)
        screen_put(t->screen, TONE_BAD, "; and %zu more", bad - BREAKERS_SHOWN);
    if (bad == 0)
        screen_put(t->screen, list ? TONE_GOOD : TONE_PLAIN, "%s", list ? "all closed" : "-");
    screen_line_end(t->screen);
}

static void draw_alerts(const struct top *t)
{
    const struct node *list = list_of(t, ASK_ALERTS, "alerts");

    put_label(t->screen, "alerts");
    if (!list || list->n == 0) {
        screen_put(t->screen, list ? TONE_GOOD : TONE_PLAIN, "%s", list ? "none" : "-");
        screen_line_end(t->screen);
        return;
    }
    for (size_t i = 0; i < list->n && i < ALERTS_SHOWN; i++) {
        const struct node *a = list->members[i].node;
        const char *level = remote_text(a, "level", "?");

        if (i > 0)
            put_label(t->screen, "");
        screen_put(t->screen,
                   strcmp(level, "info") == 0      ? TONE_PLAIN
                   : strcmp(level, "warning") == 0 ? TONE_WARN
                                                   : TONE_BAD,
                   "%s: %s", level, remote_text(a, "message", remote_text(a, "code", "?")));
        if (i + 1 == ALERTS_SHOWN && list->n > ALERTS_SHOWN)
            screen_put(t->screen, TONE_PLAIN, " (and %zu more)", list->n - ALERTS_SHOWN);
        screen_line_end(t->screen);
    }
}

static int by_member(const void *a, const void *b, void *path)
{
    double left = value_of(((const struct member *)a)->node, path, 0),
           right = value_of(((const struct member *)b)->node, path, 0);

    return left < right ? 1 : left > right ? -1 : 0;
}

/* As many as there is room for. */
static void draw_hottest(const struct top *t)
{
    const struct node *list = list_of(t, ASK_POPULAR, "entries");

    screen_line_end(t->screen);
    screen_put(t->screen, TONE_STRONG, "%6s %8s %9s %11s  %-10s %-16s %s", "hits", "tok. out", "size", "age",
               "operation", "model", "entry");
    screen_line_end(t->screen);
    if (list && list->n > 0)
        qsort_r(list->members, list->n, sizeof(*list->members), by_member,
                (void *)(uintptr_t)sorts[t->sort].path);
    for (size_t i = 0; list && i < list->n && screen_rows_left(t->screen) > 0; i++) {
        const struct node *e = list->members[i].node;

        screen_put(t->screen, TONE_PLAIN, "%6s %8s %9s %11s  %-10.10s %-16.16s ",
                   number(e, "hits", text_of_count).text, number(e, "tokens_out", text_of_count).text,
                   number(e, "bytes", text_of_bytes).text, number(e, "age_s", text_of_seconds).text,
                   remote_text(e, "operation", "?"), remote_text(e, "model", ""));
        screen_put(t->screen, TONE_FAINT, "%s", remote_text(e, "id", "?"));
        screen_line_end(t->screen);
    }
}

static void draw_help(const struct top *t)
{
    static const char *const lines[] = {
        "",
        "q       leave",
        "p       pause, and go on",
        "s       sort the hottest entries by another column",
        "r       look now",
        "h, ?    this, and back",
        "",
        "Requests a second are of the last interval, latency of the last minute, everything else",
        "since the instance started. The hottest are the 50 in memory with the most hits.",
        "`refrain stats`, `refrain alerts` and `refrain popular` tell the same at length.",
    };

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        screen_put(t->screen, TONE_PLAIN, "%s", lines[i]);
        screen_line_end(t->screen);
    }
}

static void draw(const struct top *t)
{
    char footer[128];

    screen_begin(t->screen);
    draw_head(t);
    if (t->help) {
        draw_help(t);
    } else if (t->trees[ASK_STATS]) {
        draw_requests(t);
        draw_latency(t);
        draw_tiers(t);
        draw_breakers(t);
        draw_alerts(t);
        draw_hottest(t);
    }
    (void)snprintf(footer, sizeof(footer), "q quit  p pause  s sort (by %s)  r refresh  h help",
                   sorts[t->sort].name);
    screen_end(t->screen, footer);
}

/* -- asking -- */

static void forget(struct top *t)
{
    pool_done(&t->pool);
    t->pool = (struct pool)POOL_INIT;
    memset(t->trees, 0, sizeof(t->trees));
}

static void take_rate(struct top *t)
{
    double total = value_of(t->trees[ASK_STATS], "requests.total", -1), before = t->total;
    int64_t now_ms = clock_mono_ms(), took_ms = now_ms - t->looked_ms;

    t->rate = before < 0 || total < before || took_ms <= 0 ? -1 : (total - before) * MS / (double)took_ms;
    t->total = total;
    t->looked_ms = now_ms;
}

/* What was known stays on the screen while the instance is away; its numbers stand still, and that is said.
 */
static void take_answers(struct top *t)
{
    const struct buf *trouble = &t->round.trouble[ASK_STATS];

    t->away = t->round.verdict[ASK_STATS] != REMOTE_DONE;
    if (t->away) {
        (void)snprintf(t->trouble, sizeof(t->trouble), "%.*s; trying again", (int)trouble->len,
                       trouble->len > 0 ? trouble->data : "");
        t->total = t->rate = -1;
        return;
    }
    forget(t);
    t->trouble[0] = '\0';
    for (size_t i = 0; i < ASKS; i++)
        if (t->round.verdict[i] == REMOTE_DONE)
            t->trees[i] = remote_tree_quiet(&t->pool, buf_slice(&t->round.out[i]));
    take_rate(t);
}

static void end_round(struct top *t)
{
    remote_round_done(&t->round);
    t->asking = false;
    t->next_ms = clock_mono_ms() + t->interval_ms;
}

/* Waits until there is something to do, at most until the next look. */
static void wait_for_something(struct top *t)
{
    struct pollfd fds[SCREEN_FDS];
    int64_t left_ms = t->next_ms - clock_mono_ms();

    screen_fds(t->screen, fds);
    if (t->asking) {
        if (remote_round_wait(&t->round, fds, SCREEN_FDS, MS)) {
            take_answers(t);
            end_round(t);
            draw(t);
        }
    } else if (t->paused || left_ms > 0) {
        (void)poll(fds, SCREEN_FDS, t->paused ? -1 : (int)left_ms);
    } else {
        t->asking = true;
        if (!remote_round_begin(&t->round, t->remote, paths, ASKS))
            end_round(t);
    }
}

/* -- keys -- */

/* false: leave. */
static bool on_key(struct top *t, int key)
{
    switch (key) {
    case 'q':
        return false;
    case 'p':
        t->paused = !t->paused;
        t->next_ms = 0;
        break;
    case 's':
        t->sort = (t->sort + 1) % ARRAY_LEN(sorts);
        break;
    case 'r':
        t->next_ms = 0;
        break;
    case 'h':
    case '?':
        t->help = !t->help;
        break;
    default:
        return true;
    }
    draw(t);
    return true;
}

/* Until it is left. Returns the signal that ended it, or 0. */
static int run(struct top *t)
{
    int key;

    draw(t);
    for (;;) {
        enum screen_event event = screen_next(t->screen, &key);

        switch (event) {
        case SCREEN_NOTHING:
            wait_for_something(t);
            break;
        case SCREEN_KEY:
            if (!on_key(t, key))
                return 0;
            break;
        case SCREEN_RESIZED:
            draw(t);
            break;
        case SCREEN_ENDED:
            return key;
        }
    }
}

static int top(const struct cli *cli, struct remote *r)
{
    struct top t = {.remote = r, .total = -1, .rate = -1};
    unsigned long interval_s;
    struct term term;
    int end;

    if (!cli_number(cli, "interval", 1, INTERVAL_MAX_S, INTERVAL_S, &interval_s))
        return EXIT_COULD_NOT;
    term_init(&term, cli);
    t.interval_ms = (int64_t)interval_s * MS;
    (void)snprintf(t.trouble, sizeof(t.trouble), "asking %s ...", r->url);
    t.screen = screen_new(&term);
    if (!t.screen)
        return EXIT_COULD_NOT;
    end = run(&t);
    if (t.asking)
        end_round(&t);
    screen_free(t.screen);
    forget(&t);
    if (end != 0 && end != SIGINT) { /* the terminal is given back: end as who sent it expects */
        (void)signal(end, SIG_DFL);  /* ncurses has a handler of its own */
        (void)raise(end);
    }
    return EXIT_DONE;
}

static int cmd_top(const struct cli *cli)
{
    if (cli->words_n > 0)
        return cli_no_words(cli);
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        (void)fputs("refrain: top: this is no terminal; `refrain stats --watch` prints a line each time\n",
                    stderr);
        return EXIT_COULD_NOT;
    }
    return remote_run(cli, top);
}

static const char *const color_choices[] = {"auto", "always", "never", NULL};
static const struct cli_flag flags[] = {
    {"interval", "SECONDS", "How often it looks; by default every 2.", NULL},
    {"color", "WHEN", "auto (unless NO_COLOR is set), always or never.", color_choices},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag *const lists[] = {flags, remote_flags, config_file_flags, NULL};
static const struct cli_example examples[] = {
    {"refrain top", NULL},
    {"refrain top --admin http://10.0.0.7:9180 --token-file admin.token", NULL},
    {NULL, NULL},
};
const struct command command_top = {
    .name = "top",
    .args = "[FLAGS]",
    .help = "Watch an instance live: rates, latency, tiers, breakers, alerts, hottest entries.",
    .group = GROUP_WATCH,
    .flags = lists,
    .run = cmd_top,
    .about = "Keys: q leaves, p pauses, s sorts the hottest entries by another column, r looks now, h tells "
             "more. An "
             "instance that is away is said to be, and waited for.\n",
    .examples = examples,
};
