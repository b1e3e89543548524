#include "refrain/ops/alerts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/store/record.h"
#include "window.h"

/*
 * A row looks, and says what it sees of each of its subjects. What is over a threshold, and since when, is
 * judged for all rows alike, in a track: one for each code and subject that was seen over its threshold, or
 * is raised.
 */
enum { TRACKS_MAX = ALERTS_MAX, NO_LEVEL = -1, TIMES_MIN = 20, CALLS_MIN = 20 };

_Static_assert((int)ALERT_CODES <= (int)LABEL_MAX_ALERT && (int)ALERT_LEVELS == (int)LABEL_MAX_LEVEL,
               "metrics have room");

struct track {
    bool used, seen; /* seen: in the judgement at hand */
    int level;       /* as raised; NO_LEVEL: not */
    unsigned over_n, under_n;
    int64_t first_mono_ms; /* since when it has been seen, reading by reading */
    struct alert alert;
};

struct alerts {
    struct track tracks[TRACKS_MAX];
};

struct view {
    const struct history *history;
    const struct reading *now;
    const struct facts *facts;
    const struct alerts_conf *conf;
    struct window window;
};

/* Where what a row sees goes. */
struct sight {
    struct alerts *alerts;
    const struct view *view;
    const struct alerts_told *told;
    enum alert_code code;
};
static void see(struct sight *s, const char *subject, int64_t value, const char *detail);

/* -- what rows look at -- */

static int64_t permille(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (int64_t)((double)part * 1000.0 / (double)whole) : 0;
}

static int64_t ms_of(int64_t ns)
{
    return ns / 1000000;
}

static void look_memory(struct sight *s)
{
    const struct reading_tier *t = &s->view->now->tiers[TIER_MEMORY];
    char detail[96];

    if (!t->on || t->limit_bytes == 0)
        return;
    (void)snprintf(detail, sizeof(detail), "%" PRIu64 " entries in %" PRIu64 " MiB", t->entries,
                   t->bytes >> 20);
    see(s, "", permille(t->bytes, t->limit_bytes), detail);
}

static void look_key_time(struct sight *s)
{
    struct window_times t = {0};

    for (size_t i = 0; i < s->view->window.n; i++)
        window_times_add(&t, &history_at(s->view->history, i)->key);
    if (t.n >= TIMES_MIN)
        see(s, "", ms_of(window_times_p95(&t)), "");
}

static const char *const tier_names[LABEL_MAX_TIER] = {"memory", "disk", "redis"};

static void look_tier_time(struct sight *s)
{
    for (unsigned k = TIER_DISK; k < LABEL_MAX_TIER; k++) {
        struct window_times t = {0};

        for (size_t i = 0; i < s->view->window.n; i++)
            window_times_add(&t, &history_at(s->view->history, i)->tiers[k].get);
        if (t.n >= TIMES_MIN)
            see(s, tier_names[k], ms_of(window_times_p95(&t)), "");
    }
}

static void look_invalidations(struct sight *s)
{
    struct window w = window_of(s->view->history, s->view->conf->invalidations_window_ms);

    see(s, "", (int64_t)WINDOW_COUNT(&w, invalidations), "");
}

static void look_hit_rate(struct sight *s)
{
    const struct window *w = &s->view->window;
    struct window_requests r = window_requests(w);
    char detail[64];

    if (r.asked < s->view->conf->requests_min || r.asked == 0)
        return;
    (void)snprintf(detail, sizeof(detail), "%" PRIu64 " of %" PRIu64 " requests", r.answered, r.asked);
    see(s, "", permille(r.answered, r.asked), detail);
}

static void look_breakers(struct sight *s)
{
    const struct facts *f = s->view->facts;

    for (size_t i = 0; i < f->breakers_n; i++) {
        const struct fact_breaker *b = &f->breakers[i];
        char subject[ALERT_SUBJECT_BYTES + 1], detail[256];
        bool model = b->model[0] != '\0';

        (void)snprintf(subject, sizeof(subject), "%s %s", b->upstream, breakers_kind_name(b->kind));
        (void)snprintf(detail, sizeof(detail), "%s%s%s%s%s", model ? "of " : "", b->model,
                       b->models > 1 ? " and other models" : "", model ? ": " : "", b->cause);
        see(s, subject, 0, detail);
    }
}

static void look_upstream_failures(struct sight *s)
{
    const struct window *w = &s->view->window;
    uint64_t calls = WINDOW_COUNT(w, upstream_calls), failed = WINDOW_COUNT(w, upstream_failures);
    char detail[64];

    if (calls < CALLS_MIN)
        return;
    (void)snprintf(detail, sizeof(detail), "%" PRIu64 " of %" PRIu64 " calls", failed, calls);
    see(s, "", permille(failed, calls), detail);
}

static void look_tiers(struct sight *s, enum tier_health health)
{
    for (unsigned k = 0; k < LABEL_MAX_TIER; k++)
        if (s->view->facts->tiers[k].health == health)
            see(s, tier_names[k], 0, s->view->facts->tiers[k].why);
}

static void look_tier_down(struct sight *s)
{
    look_tiers(s, TIER_IS_DOWN);
}

static void look_tier_degraded(struct sight *s)
{
    look_tiers(s, TIER_DEGRADED);
}

static void look_writes_dropped(struct sight *s)
{
    see(s, "", (int64_t)WINDOW_COUNT(&s->view->window, writes_dropped), "");
}

static void look_records(struct sight *s)
{
    for (unsigned r = RECORD_CORRUPT; r < LABEL_MAX_RECORD; r++) {
        uint64_t n = WINDOW_COUNT(&s->view->window, unreadable[r]);

        if (n > 0)
            see(s, record_result_name((enum record_result)r), (int64_t)n, "");
    }
}

static void look_instances(struct sight *s)
{
    if (s->view->facts->instances_cut)
        see(s, "", 0, s->view->facts->instances_cut);
}

static void look_refused(struct sight *s)
{
    see(s, "", (int64_t)WINDOW_COUNT(&s->view->window, connections_refused), "");
}

static void look_buffers(struct sight *s)
{
    uint64_t max = s->view->facts->buffered_bytes_max;

    if (max > 0)
        see(s, "", permille(s->view->now->buffered_bytes, max), "");
}

static void look_log(struct sight *s)
{
    see(s, "", (int64_t)WINDOW_COUNT(&s->view->window, log_lines_dropped), "");
}

static void look_credentials(struct sight *s)
{
    see(s, "", (int64_t)s->view->now->credentials_suspended, "");
}

/* -- the rows -- */

/*
 * {subject}, {value}, {threshold}, {window}, {detail} in a message stand for themselves; {; } for a semicolon
 * and the detail, where there is one. A row whose unit is ALERT_TIME and that lasts has for its value how
 * long it has been seen.
 */
static const struct row {
    const char *code, *options, *looks_at;
    enum alert_level level[ALERT_STEPS];
    enum alert_unit unit;
    bool below;                /* raised at or under the threshold, instead of at or over it */
    bool lasts;                /* what is seen is there or not: the threshold is for how long */
    unsigned margin_permille;  /* of the threshold: so far must it go back */
    unsigned raise_n, clear_n; /* readings running */
    void (*look)(struct sight *s);
    const char *message, *what_to_do;
} rows[ALERT_CODES] = {
    [ALERT_MEMORY] = {"memory",
                      "alerts.memory_warning, alerts.memory_critical",
                      "bytes in the memory tier, of its limit",
                      {ALERT_WARNING, ALERT_CRITICAL},
                      ALERT_RATIO,
                      false,
                      false,
                      50,
                      2,
                      2,
                      look_memory,
                      "Memory is {value} full ({detail})",
                      "From its limit on, old answers go to make room for new ones. Where they are still "
                      "asked for (evictions, hit rate), raise tiers.memory.max_bytes; a full memory with a "
                      "good hit rate is as it should be: set the threshold off."},
    [ALERT_KEY_TIME] = {"key_time",
                        "alerts.key_time",
                        "the time to make a key, p95",
                        {ALERT_WARNING, ALERT_WARNING},
                        ALERT_TIME,
                        false,
                        false,
                        200,
                        1,
                        2,
                        look_key_time,
                        "Making a key takes {value} (p95 of {window})",
                        "Large bodies, or too few processors. Send images by reference, lower "
                        "key.max_body_bytes so that the largest pass by, or give the machine more cores."},
    [ALERT_TIER_TIME] = {"tier_time",
                         "alerts.tier_time",
                         "the time a tier takes to look for an answer, p95",
                         {ALERT_WARNING, ALERT_WARNING},
                         ALERT_TIME,
                         false,
                         false,
                         200,
                         1,
                         2,
                         look_tier_time,
                         "{subject} takes {value} to look for an answer (p95 of {window})",
                         "Misses wait for it. Look at its machine, network and disk; a shorter "
                         "tiers.disk.timeout or tiers.redis.timeout bounds the wait."},
    [ALERT_INVALIDATIONS] = {"invalidations",
                             "alerts.invalidations_warning, alerts.invalidations_critical",
                             "invalidations asked for, in `alerts.invalidations_window`",
                             {ALERT_WARNING, ALERT_CRITICAL},
                             ALERT_COUNT,
                             false,
                             false,
                             100,
                             1,
                             2,
                             look_invalidations,
                             "{value} invalidations in {window}",
                             "Each costs hits. See who asks (GET /api/v1/events, CACHE_INVALIDATED); tags "
                             "that are narrower, or shorter lifetimes, may do instead."},
    [ALERT_HIT_RATE] = {"hit_rate",
                        "alerts.hit_rate, alerts.hit_rate_requests",
                        "the share of requests that upstream need not answer, where there were enough",
                        {ALERT_WARNING, ALERT_WARNING},
                        ALERT_RATIO,
                        true,
                        false,
                        50,
                        2,
                        2,
                        look_hit_rate,
                        "{value} of requests are answered from the cache in {window} ({detail})",
                        "See the recommendations, and `refrain explain` with two requests that should have "
                        "been the same: it names what tells them apart."},
    [ALERT_BREAKER_OPEN] = {"breaker_open",
                            "alerts.breaker_open",
                            "breakers of upstreams that are not closed, and for how long",
                            {ALERT_ERROR, ALERT_ERROR},
                            ALERT_TIME,
                            false,
                            true,
                            0,
                            1,
                            1,
                            look_breakers,
                            "The breaker {subject} is open{; }",
                            "It closes by itself once upstream is well. Open validation: nothing is stored, "
                            "see which answers are broken (refrain_not_stored_total). Open availability: see "
                            "upstream's own status. `refrain breakers reset` when you know better."},
    [ALERT_UPSTREAM_FAILURES] = {"upstream_failures",
                                 "alerts.upstream_failures",
                                 "the share of calls to upstream without an answer, or answered by 5xx",
                                 {ALERT_ERROR, ALERT_ERROR},
                                 ALERT_RATIO,
                                 false,
                                 false,
                                 200,
                                 1,
                                 2,
                                 look_upstream_failures,
                                 "{value} of the calls to upstream failed in {window} ({detail})",
                                 "See refrain_upstream_requests_total by code, and upstream's own status. "
                                 "cache.stale_if_error bridges such times."},
    [ALERT_TIER_DOWN] = {"tier_down",
                         "alerts.tier_down",
                         "tiers that do not answer, and for how long",
                         {ALERT_CRITICAL, ALERT_CRITICAL},
                         ALERT_TIME,
                         false,
                         true,
                         0,
                         1,
                         1,
                         look_tier_down,
                         "{subject} is down{; }",
                         "Clients do not notice, but what lies there is asked of upstream again. Look at "
                         "the server, the network, the disk; it is tried again by itself."},
    [ALERT_TIER_DEGRADED] = {"tier_degraded",
                             "alerts.tier_degraded",
                             "tiers that answer in part, and for how long",
                             {ALERT_WARNING, ALERT_WARNING},
                             ALERT_TIME,
                             false,
                             true,
                             0,
                             1,
                             1,
                             look_tier_degraded,
                             "{subject} is degraded{; }",
                             "A full or read-only disk: make room, or the place writable. A cluster: see "
                             "which of its nodes are away."},
    [ALERT_WRITES_DROPPED] = {"writes_dropped",
                              "alerts.writes_dropped",
                              "writes to tiers below memory that were given up",
                              {ALERT_WARNING, ALERT_WARNING},
                              ALERT_COUNT,
                              false,
                              false,
                              0,
                              1,
                              2,
                              look_writes_dropped,
                              "{value} writes to the tiers below memory were given up in {window}",
                              "These answers are in memory alone. A tier is down or slower than answers "
                              "come: see tier_down, tier_time, or raise tiers.write_queue_max_bytes."},
    [ALERT_RECORDS_UNREADABLE] = {"records_unreadable",
                                  "alerts.records_unreadable",
                                  "records on disk or in Redis that could not be used, by why",
                                  {ALERT_WARNING, ALERT_WARNING},
                                  ALERT_COUNT,
                                  false,
                                  false,
                                  0,
                                  1,
                                  2,
                                  look_records,
                                  "{value} records could not be used in {window}: {subject}",
                                  "Each was a miss. corrupt: check the disk, and who else writes to Redis. "
                                  "locked, unsealed: instances with other encryption keys. future: instances "
                                  "of a newer version."},
    [ALERT_INSTANCES_CUT] = {"instances_cut",
                             "alerts.instances_cut",
                             "whether invalidations of other instances are heard, and for how long not",
                             {ALERT_ERROR, ALERT_ERROR},
                             ALERT_TIME,
                             false,
                             true,
                             0,
                             1,
                             1,
                             look_instances,
                             "What other instances invalidate is not heard{; }",
                             "Memory may serve what others have invalidated, until Redis is back; "
                             "invalidation.strict forbids that. See GET /api/v1/instances for why."},
    [ALERT_CONNECTIONS_REFUSED] = {"connections_refused",
                                   "alerts.connections_refused",
                                   "client connections closed at once",
                                   {ALERT_ERROR, ALERT_ERROR},
                                   ALERT_COUNT,
                                   false,
                                   false,
                                   0,
                                   1,
                                   2,
                                   look_refused,
                                   "{value} client connections were refused in {window}",
                                   "listen.max_connections or listen.max_connections_per_address is reached: "
                                   "raise it, or find the client that opens so many."},
    [ALERT_BUFFERS] = {"buffers",
                       "alerts.buffers",
                       "bytes of bodies and answers under way, of listen.max_buffered_bytes",
                       {ALERT_WARNING, ALERT_WARNING},
                       ALERT_RATIO,
                       false,
                       false,
                       100,
                       2,
                       2,
                       look_buffers,
                       "Buffers of requests and answers under way are {value} full",
                       "Past the limit requests are answered 503. Raise listen.max_buffered_bytes, or see "
                       "who reads slowly or sends large bodies."},
    [ALERT_LOG_LINES_DROPPED] =
        {"log_lines_dropped",
         "alerts.log_lines_dropped",
         "log lines that were lost",
         {ALERT_WARNING, ALERT_WARNING},
         ALERT_COUNT,
         false,
         false,
         0,
         1,
         2,
         look_log,
         "{value} log lines were lost in {window}",
         "Whoever takes the log is slower than it comes. Log to a file (log.file), or "
         "less (log.level, log.requests)."},
    [ALERT_CREDENTIALS_SUSPENDED] = {"credentials_suspended",
                                     "alerts.credentials_suspended",
                                     "credentials that upstream has refused, and that have no hits since",
                                     {ALERT_INFO, ALERT_INFO},
                                     ALERT_COUNT,
                                     false,
                                     false,
                                     0,
                                     1,
                                     1,
                                     look_credentials,
                                     "{value} credentials have no hits since upstream refused them",
                                     "Revoked keys, as it should be; where one is good after all, the next "
                                     "request that upstream accepts gives it back its hits."},
};

/* A row with a single level has a single threshold. */
static int steps_of(const struct row *row)
{
    return row->level[0] == row->level[1] ? 1 : ALERT_STEPS;
}

/* -- names -- */

const char *alert_level_name(enum alert_level level)
{
    static const char *const names[ALERT_LEVELS] = {"info", "warning", "error", "critical"};

    return names[level];
}

const char *alert_code_name(unsigned code)
{
    return rows[code].code;
}

const char *alert_unit_name(enum alert_unit unit)
{
    static const char *const names[] = {[ALERT_RATIO] = "ratio", [ALERT_TIME] = "s", [ALERT_COUNT] = "count"};

    return names[unit];
}

struct alert_about alert_about(enum alert_code code)
{
    const struct row *r = &rows[code];

    return (struct alert_about){r->code,
                                steps_of(r) == 1 ? alert_level_name(r->level[0]) : "warning, critical",
                                r->options, r->looks_at, r->what_to_do};
}

/* -- messages -- */

static void write_value(struct buf *out, enum alert_unit unit, int64_t value)
{
    if (unit == ALERT_RATIO)
        (void)!buf_addf(out, "%" PRId64 " %%", value / 10);
    else if (unit == ALERT_COUNT)
        (void)!buf_addf(out, "%" PRId64, value);
    else if (value < 10000)
        (void)!buf_addf(out, "%" PRId64 " ms", value);
    else
        (void)!buf_addf(out, "%" PRId64 " s", value / 1000);
}

static int64_t window_ms(const struct view *v, enum alert_code code)
{
    return code == ALERT_INVALIDATIONS ? v->conf->invalidations_window_ms : v->conf->window_ms;
}

static void write_window(struct buf *out, int64_t ms)
{
    if (ms % 60000 == 0)
        (void)!buf_addf(out, "%" PRId64 " min", ms / 60000);
    else
        write_value(out, ALERT_TIME, ms);
}

static void write_field(struct buf *out, const struct view *v, const struct alert *a, struct slice field,
                        const char *detail)
{
    if (slice_eq(field, SLICE_OF("value")))
        write_value(out, a->unit, a->value);
    else if (slice_eq(field, SLICE_OF("subject")))
        (void)!buf_add_slice(out, slice_str(a->subject));
    else if (slice_eq(field, SLICE_OF("window")))
        write_window(out, window_ms(v, a->code));
    else if (slice_eq(field, SLICE_OF("detail")))
        (void)!buf_add_slice(out, slice_str(detail));
    else if (detail[0])
        (void)!buf_addf(out, ": %s", detail);
}

/* What is too long is cut: a message is for eyes. */
static void write_message(struct alert *a, const struct view *v, const char *detail)
{
    AUTO(buf_done) struct buf out = BUF_INIT(ALERT_MESSAGE_BYTES);
    struct slice rest = slice_str(rows[a->code].message);

    while (rest.data) {
        struct slice plain = slice_cut(&rest, '{'), field;

        (void)!buf_add_slice(&out, plain);
        if (!rest.data)
            break;
        field = slice_cut(&rest, '}');
        write_field(&out, v, a, field, detail);
    }
    (void)snprintf(a->message, sizeof(a->message), "%.*s", (int)out.len, out.data);
}

/* -- judging -- */

static bool is_past(const struct row *row, int64_t value, int64_t threshold, bool with_margin)
{
    int64_t margin = with_margin ? threshold * row->margin_permille / 1000 : 0;

    if (threshold == ALERT_OFF)
        return false;
    return row->below ? value < threshold + margin : value >= threshold - margin;
}

/* The gravest level whose threshold the value is past. */
static int level_of(const struct view *v, enum alert_code code, int64_t value, bool with_margin)
{
    for (int i = steps_of(&rows[code]) - 1; i >= 0; i--)
        if (is_past(&rows[code], value, v->conf->at[code][i], with_margin))
            return (int)rows[code].level[i];
    return NO_LEVEL;
}

static int64_t threshold_of(const struct view *v, enum alert_code code, int level)
{
    int last = steps_of(&rows[code]) - 1;

    return v->conf->at[code][(int)rows[code].level[last] == level ? last : 0];
}

static void change(struct track *t, int level, const struct view *v, const struct alerts_told *told)
{
    enum alert_change how = level == NO_LEVEL ? ALERT_CLEARED : level > t->level ? ALERT_RAISED : ALERT_EASED;

    if (t->level == NO_LEVEL) {
        t->alert.since_ms = v->now->at_ms;
        t->alert.since_mono_ms = v->now->mono_ms;
    }
    t->level = level;
    t->over_n = t->under_n = 0;
    if (level != NO_LEVEL) {
        t->alert.level = (enum alert_level)level;
        t->alert.threshold = threshold_of(v, t->alert.code, level);
    }
    if (told->on_change)
        told->on_change(told->arg, how, &t->alert);
}

/* A track whose alert is not raised is kept as long as it is on its way there. */
static void judge(struct track *t, int now, int kept, const struct view *v, const struct alerts_told *told)
{
    const struct row *row = &rows[t->alert.code];

    t->over_n = now > t->level ? t->over_n + 1 : 0;
    t->under_n = kept < t->level ? t->under_n + 1 : 0;
    if (t->over_n >= row->raise_n)
        change(t, now, v, told);
    else if (t->under_n > 0 && t->under_n >= row->clear_n)
        change(t, kept, v, told);
    if (t->level == NO_LEVEL && t->over_n == 0 && !(row->lasts && t->seen))
        t->used = false;
}

static struct track *track_find(struct alerts *a, enum alert_code code, const char *subject)
{
    for (size_t i = 0; i < TRACKS_MAX; i++)
        if (a->tracks[i].used && a->tracks[i].alert.code == code &&
            strcmp(a->tracks[i].alert.subject, subject) == 0)
            return &a->tracks[i];
    return NULL;
}

/* NULL: so many are raised that one more would tell nothing. */
static struct track *track_new(struct alerts *a, enum alert_code code, const char *subject, int64_t mono_ms)
{
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct track *t = &a->tracks[i];

        if (t->used)
            continue;
        *t = (struct track){.used = true, .level = NO_LEVEL, .first_mono_ms = mono_ms};
        t->alert.code = code;
        t->alert.unit = rows[code].unit;
        t->alert.what_to_do = rows[code].what_to_do;
        (void)snprintf(t->alert.subject, sizeof(t->alert.subject), "%s", subject);
        return t;
    }
    return NULL;
}

static void see(struct sight *s, const char *subject, int64_t value, const char *detail)
{
    const struct row *row = &rows[s->code];
    struct track *t = track_find(s->alerts, s->code, subject);

    if (!t && (row->lasts || level_of(s->view, s->code, value, false) != NO_LEVEL))
        t = track_new(s->alerts, s->code, subject, s->view->now->mono_ms);
    if (!t)
        return;
    t->seen = true;
    t->alert.value = row->lasts ? s->view->now->mono_ms - t->first_mono_ms : value;
    write_message(&t->alert, s->view, detail ? detail : "");
    judge(t, level_of(s->view, s->code, t->alert.value, false),
          level_of(s->view, s->code, t->alert.value, true), s->view, s->told);
}

void alerts_judge(struct alerts *a, const struct history *h, const struct facts *now,
                  const struct alerts_conf *conf, const struct alerts_told *told)
{
    struct view v = {h, history_at(h, 0), now, conf, {0}};

    if (!v.now)
        return;
    v.window = window_of(h, conf->window_ms);
    for (size_t i = 0; i < TRACKS_MAX; i++)
        a->tracks[i].seen = false;
    for (unsigned code = 0; code < ALERT_CODES; code++) {
        struct sight s = {a, &v, told, (enum alert_code)code};

        rows[code].look(&s);
    }
    for (size_t i = 0; i < TRACKS_MAX; i++)
        if (a->tracks[i].used && !a->tracks[i].seen)
            judge(&a->tracks[i], NO_LEVEL, NO_LEVEL, &v, told);
}

/* -- what is raised -- */

struct alerts *alerts_new(void)
{
    struct alerts *a = calloc(1, sizeof(*a));

    if (!a)
        abort();
    return a;
}

void alerts_free(struct alerts *a)
{
    free(a);
}

static int by_gravity(const void *left, const void *right)
{
    const struct alert *a = *(const struct alert *const *)left, *b = *(const struct alert *const *)right;

    if (a->level != b->level)
        return a->level > b->level ? -1 : 1;
    if (a->since_mono_ms != b->since_mono_ms)
        return a->since_mono_ms < b->since_mono_ms ? -1 : 1;
    return (int)a->code - (int)b->code;
}

size_t alerts_active(const struct alerts *a, const struct alert *out[ALERTS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < TRACKS_MAX; i++)
        if (a->tracks[i].used && a->tracks[i].level != NO_LEVEL)
            out[n++] = &a->tracks[i].alert;
    qsort(out, n, sizeof(*out), by_gravity);
    return n;
}

bool alert_has_level(enum alert_code code, enum alert_level level)
{
    return rows[code].level[0] == level || rows[code].level[1] == level;
}

unsigned alerts_count(const struct alerts *a, enum alert_code code, enum alert_level level)
{
    unsigned n = 0;

    for (size_t i = 0; i < TRACKS_MAX; i++)
        n += a->tracks[i].used && a->tracks[i].level == (int)level && a->tracks[i].alert.code == code;
    return n;
}
