#include <inttypes.h>
#include <stdio.h>

#include "alerts_priv.h"
#include "refrain/base/attr.h"
#include "refrain/store/record.h"

/* What each alert looks at, and what it says: a row looks, and says what it sees of each of its subjects. */

enum { TIMES_MIN = 20, CALLS_MIN = 20, HOUR_MS = 3600000 };

/* -- what rows look at -- */

static int64_t permille(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (int64_t)((double)part * 1000.0 / (double)whole) : 0;
}

static int64_t ms_of(int64_t ns)
{
    return ns / 1000000;
}

static void look_memory(struct alerts_sight *s)
{
    const struct reading_tier *t = &s->view->now->tiers[TIER_MEMORY];
    char detail[96];

    if (!t->on || t->limit_bytes == 0)
        return;
    (void)snprintf(detail, sizeof(detail), "%" PRIu64 " entries in %" PRIu64 " MiB", t->entries,
                   t->bytes >> 20);
    alerts_see(s, "", permille(t->bytes, t->limit_bytes), detail);
}

static void look_time(struct alerts_sight *s, const char *subject, enum history_times which)
{
    uint64_t n;
    int64_t p95_ns = window_p95_ns(s->view->history, &s->view->window, which, &n);

    if (n >= TIMES_MIN)
        alerts_see(s, subject, ms_of(p95_ns), "");
}

static void look_key_time(struct alerts_sight *s)
{
    look_time(s, "", HISTORY_KEY);
}

static const char *const tier_names[LABEL_MAX_TIER] = {"memory", "disk", "redis"};

static void look_tier_time(struct alerts_sight *s)
{
    look_time(s, tier_names[TIER_DISK], HISTORY_DISK);
    look_time(s, tier_names[TIER_REDIS], HISTORY_REDIS);
}

static void look_invalidations(struct alerts_sight *s)
{
    struct window w = window_of(s->view->history, s->view->conf->invalidations_window_ms);

    alerts_see(s, "", (int64_t)WINDOW_COUNT(&w, invalidations), "");
}

static void look_hit_rate(struct alerts_sight *s)
{
    const struct window *w = &s->view->window;
    struct window_requests r = window_requests(w);
    char detail[64];

    if (r.asked < s->view->conf->requests_min || r.asked == 0)
        return;
    (void)snprintf(detail, sizeof(detail), "%" PRIu64 " of %" PRIu64 " requests", r.answered, r.asked);
    alerts_see(s, "", permille(r.answered, r.asked), detail);
}

static void look_breakers(struct alerts_sight *s)
{
    const struct facts *f = s->view->facts;

    for (size_t i = 0; i < f->breakers_n; i++) {
        const struct fact_breaker *b = &f->breakers[i];
        char subject[ALERT_SUBJECT_BYTES + 1], detail[256];
        bool model = b->model[0] != '\0';

        (void)snprintf(subject, sizeof(subject), "%s %s", b->upstream, breakers_kind_name(b->kind));
        (void)snprintf(detail, sizeof(detail), "%s%s%s%s%s", model ? "of " : "", b->model,
                       b->models > 1 ? " and other models" : "", model ? ": " : "", b->cause);
        alerts_see(s, subject, 0, detail);
    }
}

static void look_upstream_failures(struct alerts_sight *s)
{
    const struct window *w = &s->view->window;
    uint64_t calls = WINDOW_COUNT(w, upstream_calls), failed = WINDOW_COUNT(w, upstream_failures);
    char detail[64];

    if (calls < CALLS_MIN)
        return;
    (void)snprintf(detail, sizeof(detail), "%" PRIu64 " of %" PRIu64 " calls", failed, calls);
    alerts_see(s, "", permille(failed, calls), detail);
}

static void look_tiers(struct alerts_sight *s, enum tier_health health)
{
    for (unsigned k = 0; k < LABEL_MAX_TIER; k++)
        if (s->view->facts->tiers[k].health == health)
            alerts_see(s, tier_names[k], 0, s->view->facts->tiers[k].why);
}

static void look_tier_down(struct alerts_sight *s)
{
    look_tiers(s, TIER_IS_DOWN);
}

static void look_tier_degraded(struct alerts_sight *s)
{
    look_tiers(s, TIER_DEGRADED);
}

static void look_writes_dropped(struct alerts_sight *s)
{
    alerts_see(s, "", (int64_t)WINDOW_COUNT(&s->view->window, writes_dropped), "");
}

static void look_records(struct alerts_sight *s)
{
    for (unsigned r = RECORD_CORRUPT; r < LABEL_MAX_RECORD; r++) {
        uint64_t n = WINDOW_COUNT(&s->view->window, unreadable[r]);

        if (n > 0)
            alerts_see(s, record_result_name((enum record_result)r), (int64_t)n, "");
    }
}

static void look_instances(struct alerts_sight *s)
{
    if (s->view->facts->instances_cut)
        alerts_see(s, "", 0, s->view->facts->instances_cut);
}

static void look_refused(struct alerts_sight *s)
{
    alerts_see(s, "", (int64_t)WINDOW_COUNT(&s->view->window, connections_refused), "");
}

static void look_buffers(struct alerts_sight *s)
{
    uint64_t max = s->view->facts->buffered_bytes_max;

    if (max > 0)
        alerts_see(s, "", permille(s->view->now->buffered_bytes, max), "");
}

static void look_log(struct alerts_sight *s)
{
    alerts_see(s, "", (int64_t)WINDOW_COUNT(&s->view->window, log_lines_dropped), "");
}

static void look_credentials(struct alerts_sight *s)
{
    alerts_see(s, "", (int64_t)s->view->now->credentials_suspended, "");
}

static void look_certificates(struct alerts_sight *s)
{
    static const char *const names[LABEL_MAX_LISTENER] = {"proxy", "admin"};

    for (unsigned i = 0; i < LABEL_MAX_LISTENER; i++) {
        int64_t expires_s = (int64_t)s->view->now->certificate_expires_s[i];
        int64_t left_ms = expires_s * 1000 - s->view->now->at_ms, hours = left_ms / HOUR_MS;
        char detail[64] = "has expired";

        if (expires_s == 0)
            continue;
        if (left_ms > 0)
            (void)snprintf(detail, sizeof(detail), "expires in %" PRId64 " %s",
                           hours >= 2 * 24 ? hours / 24 : hours, hours >= 2 * 24 ? "days" : "hours");
        alerts_see(s, names[i], left_ms, detail);
    }
}

/* -- the rows -- */

const struct alert_row alert_rows[ALERT_CODES] = {
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
    [ALERT_CERTIFICATE] = {"certificate",
                           "alerts.certificate_warning, alerts.certificate_error",
                           "how long the certificate that a listener shows is still good",
                           {ALERT_WARNING, ALERT_ERROR},
                           ALERT_TIME,
                           true,
                           false,
                           0,
                           1,
                           1,
                           look_certificates,
                           "The certificate of the {subject} listener {detail}",
                           "Renew it, put it where the old one was, and send SIGHUP: a renewal that was "
                           "not followed by one is not shown yet."},
};
