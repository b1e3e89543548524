#include "tiers.h"

#include <errno.h>

#include "config.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/store/events.h"
#include "refrain/store/tier_breaker.h"
#include "tier_disk.h"
#include "tier_redis.h"

enum {
    BREAKER_FAILURES = 5, /* in a row */
    BREAKER_OPEN_MS = 1000,
    BREAKER_OPEN_MS_MAX = 30000,
    ALERT_EVERY_MS = 60000,
};

/* -- the tiers below memory, in the order in which they are asked -- */

static const struct row {
    const char *name;
    /** 0, with NULL where configuration does not ask for it; or a negative errno, and why has been logged. */
    int (*make)(const struct config *conf, const struct record_codec *codec, struct tier **out);
} rows[STORE_LOWER_MAX] = {
    {"disk", tier_disk_make},
    {"redis", tier_redis_make},
};

static void publish(struct events *events, const struct tier *t, const struct tier_breaker_state *state)
{
    struct event_draft d;
    struct jout *j;

    if (!events_wanted(events, EVENT_BREAKER))
        return;
    j = event_begin(&d, EVENT_BREAKER);
    jout_str(j, "tier", t->ops->name);
    jout_str(j, "kind", "tier");
    jout_str(j, "state", state->is == TIER_BREAKER_CLOSED ? "closed" : "open");
    if (state->is != TIER_BREAKER_CLOSED)
        jout_str(j, "cause", state->forced ? "by hand" : tier_result_name(state->cause));
    events_publish(events, &d, (struct slice){NULL, 0});
}

/* On whatever thread found out. That a rest is followed by the next is no change: it is told to who looks
 * closely. */
static void on_breaker(void *arg, struct tier *t)
{
    struct tier_breaker_state state;

    tier_breaker_look(t, &state);
    publish(arg, t, &state);
    if (state.is == TIER_BREAKER_OPEN)
        log_event(state.rests > 1 && !state.forced ? LOG_DEBUG : LOG_WARN, "tier_rested",
                  LOG_STR("tier", t->ops->name),
                  LOG_STR("cause", state.forced ? "by hand" : tier_result_name(state.cause)),
                  LOG_INT("failures", state.failures), LOG_INT("for_ms", state.probe_in_ms));
    else if (state.is == TIER_BREAKER_CLOSED)
        log_event(LOG_INFO, "tier_back", LOG_STR("tier", t->ops->name));
}

static int add_lower(const struct config *conf, const struct row *row, struct events *events,
                     struct store_conf *out)
{
    const struct tier_breaker_conf breaker = {.failures = BREAKER_FAILURES,
                                              .open_ms = BREAKER_OPEN_MS,
                                              .open_ms_max = BREAKER_OPEN_MS_MAX,
                                              .on_change = on_breaker,
                                              .arg = events};
    struct tier *t = NULL;
    int r = row->make ? row->make(conf, &out->codec, &t) : 0;

    if (r < 0 || !t)
        return r;
    t = tier_breaker_new(t, &breaker);
    if (!t)
        return -ENOMEM;
    out->lower[out->lower_n++] = t;
    return 0;
}

struct store *tiers_build(const struct config *conf, struct store_mem *memory, struct fences *fences,
                          const struct seal_keys *keys, struct events *events, struct ledger *ledger,
                          struct metrics *metrics)
{
    struct store_conf sc = {
        .memory = memory,
        .write_behind_ms = conf->tiers.write == TIERS_WRITE_BEHIND ? conf->tiers.write_behind_ms : 0,
        .write_queue_bytes_max = conf->tiers.write_queue_bytes_max,
        .counts = metrics_block(metrics),
        .fences = fences,
        .ledger = ledger,
        .codec = {keys},
        .shrink = {conf->compression.threshold, (int)conf->compression.level},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(rows); i++)
        r = add_lower(conf, &rows[i], events, &sc);
    if (r == 0)
        return store_new(&sc);
    for (size_t i = 0; i < sc.lower_n; i++)
        tier_free(sc.lower[i]);
    return NULL;
}

/* -- counts -- */

static void collect_memory(struct store_mem *memory, struct metrics *m)
{
    struct store_mem_stats st;

    store_mem_stats(memory, &st);
    metrics_set1(m, ENTRIES, TIER_MEMORY, st.entries);
    metrics_set1(m, BYTES, TIER_MEMORY, st.bytes);
    metrics_set1(m, LIMIT_BYTES, TIER_MEMORY, st.bytes_max);
    metrics_set2(m, EVICTIONS, TIER_MEMORY, EVICTED_SPACE, st.evicted_space);
    metrics_set2(m, EVICTIONS, TIER_MEMORY, EVICTED_COUNT, st.evicted_count);
    metrics_set2(m, EVICTIONS, TIER_MEMORY, EVICTED_EXPIRED, st.expired);
    metrics_set2(m, EVICTIONS, TIER_MEMORY, EVICTED_REPLACED, st.replaced);
    metrics_set1(m, TIER_UP, TIER_MEMORY, 1);
}

static void collect_stats(struct tier *t, struct metrics *m)
{
    enum metric_tier kind = t->ops->kind;
    struct tier_stats st = {0};

    t->ops->stats(t, &st);
    if (st.entries != UINT64_MAX)
        metrics_set1(m, ENTRIES, kind, st.entries);
    if (st.bytes != UINT64_MAX)
        metrics_set1(m, BYTES, kind, st.bytes);
    if (st.bytes_max != UINT64_MAX)
        metrics_set1(m, LIMIT_BYTES, kind, st.bytes_max);
    metrics_set2(m, EVICTIONS, kind, EVICTED_SPACE, st.evicted_space);
    metrics_set2(m, EVICTIONS, kind, EVICTED_COUNT, st.evicted_count);
    metrics_set2(m, EVICTIONS, kind, EVICTED_EXPIRED, st.expired);
    metrics_set2(m, EVICTIONS, kind, EVICTED_REPLACED, st.replaced);
    metrics_set1(m, TIER_SET_ASIDE, kind, st.set_aside);
    for (unsigned r = TIER_LATE; r < TIER_RESULTS; r++)
        metrics_set2(m, TIER_ERRORS, kind, r, st.errors[r]);
}

static void collect_lower(struct tier *t, struct metrics *m)
{
    struct tier_breaker_state breaker;
    struct tier_state state = {0};

    collect_stats(t, m);
    t->ops->state(t, &state);
    tier_breaker_look(t, &breaker);
    metrics_set1(m, TIER_UP, t->ops->kind, state.health == TIER_IS_DOWN ? 0 : 1);
    metrics_set1(m, TIER_BREAKER, t->ops->kind, breaker.is);
    metrics_set1(m, TIER_BREAKER_OPENED, t->ops->kind, breaker.opened);
}

void tiers_collect(struct store *s, struct store_mem *memory, struct metrics *m)
{
    struct store_stats st;

    if (memory)
        collect_memory(memory, m);
    store_stats(s, &st);
    if (st.shrunk_to > 0)
        metrics_set(m, COMPRESSION_RATIO, (uint64_t)((double)st.shrunk_from / (double)st.shrunk_to * 1e9));
    if (!store_has_lower(s))
        return;
    for (size_t i = 0; i < store_lower_n(s); i++)
        collect_lower(store_lower(s, i), m);
    metrics_set(m, WRITE_QUEUE_BYTES, st.queue_bytes);
    metrics_set(m, WRITE_QUEUE_ENTRIES, st.queue_entries);
    metrics_set(m, WRITES_DROPPED, st.dropped);
    metrics_set(m, PROMOTED, st.promoted);
    metrics_set(m, CORRUPT, st.corrupt);
    for (unsigned i = RECORD_CORRUPT; i < RECORD_RESULTS; i++)
        metrics_set1(m, UNREADABLE, i, st.unreadable[i]);
}

/* -- alerts -- */

/* What is merely old, or another instance's, may come by the thousand: told of at once, then by the minute.
 */
static void alert(struct tiers_alerts *a, enum record_result r, uint64_t n, int64_t now_ms)
{
    if (n == a->told[r] || (a->told[r] > 0 && now_ms - a->told_ms[r] < ALERT_EVERY_MS))
        return;
    log_event(LOG_WARN, "records_unreadable", LOG_STR("reason", record_result_name(r)),
              LOG_INT("records", n - a->told[r]));
    a->told[r] = n;
    a->told_ms[r] = now_ms;
}

void tiers_watch(struct store *s, struct tiers_alerts *a, int64_t now_ms)
{
    struct store_stats st;

    if (!store_has_lower(s))
        return;
    store_stats(s, &st);
    for (unsigned r = RECORD_CORRUPT; r < RECORD_RESULTS; r++)
        alert(a, (enum record_result)r, st.unreadable[r], now_ms);
}

/* -- readiness -- */

static const char *health_of(struct store *s, const char *name)
{
    static const char *const words[] = {
        [TIER_UP] = "up", [TIER_DEGRADED] = "degraded", [TIER_IS_DOWN] = "down"};

    for (size_t i = 0; i < store_lower_n(s); i++) {
        struct tier *t = store_lower(s, i);
        struct tier_state state = {0};

        if (strcmp(t->ops->name, name) != 0)
            continue;
        t->ops->state(t, &state);
        return words[state.health];
    }
    return "off";
}

int tiers_tell(struct store *s, const struct store_mem *memory, struct buf *out)
{
    int r = buf_addf(out, "{\"memory\":\"%s\"", memory ? "up" : "off");

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(rows); i++)
        r = buf_addf(out, ",\"%s\":\"%s\"", rows[i].name, health_of(s, rows[i].name));
    return r < 0 ? r : buf_add_byte(out, '}');
}
