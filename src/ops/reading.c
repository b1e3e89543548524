#include "refrain/ops/reading.h"

#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/process.h"
#include "refrain/http/breakers.h"
#include "refrain/store/inventory.h"
#include "refrain/store/tier_breaker.h"

/* -- counts -- */

static void count_requests(struct metrics *m, struct reading *out)
{
    for (unsigned op = 0; op < LABEL_MAX_OPERATION; op++)
        for (unsigned result = 0; result < LABEL_MAX_RESULT; result++)
            out->requests[result] += metrics_sum2(m, REQUESTS, op, result);
}

static bool is_failure(unsigned code, const char *name)
{
    return code < CODE_STATUS ? code != CODE_CANCELLED && code != CODE_OTHER : name && name[0] == '5';
}

static void count_upstream(struct metrics *m, struct reading *out)
{
    for (unsigned code = 0; code < LABEL_MAX_CODE; code++) {
        const char *name = metrics_label_text(m, LABEL_CODE, code);
        uint64_t n = 0;

        for (unsigned upstream = 0; name && upstream < LABEL_MAX_UPSTREAM; upstream++)
            n += metrics_sum2(m, UPSTREAM_REQUESTS, upstream, code);
        out->upstream_calls += n;
        out->upstream_failures += is_failure(code, name) ? n : 0;
    }
}

static void count_one_breaker(void *arg, const struct breakers_state *state)
{
    struct reading *out = arg;

    out->breakers_open += state->state != BREAKER_CLOSED;
}

static void count_tier(struct metrics *m, unsigned tier, struct reading *all)
{
    struct reading_tier *out = &all->tiers[tier];

    out->entries = metrics_sum1(m, ENTRIES, tier);
    out->bytes = metrics_sum1(m, BYTES, tier);
    out->limit_bytes = metrics_sum1(m, LIMIT_BYTES, tier);
    out->hits = metrics_sum1(m, HITS, tier);
    out->evicted_for_space = metrics_sum2(m, EVICTIONS, tier, EVICTED_SPACE);
    out->expired = metrics_sum2(m, EVICTIONS, tier, EVICTED_EXPIRED);
    out->replaced = metrics_sum2(m, EVICTIONS, tier, EVICTED_REPLACED);
    for (unsigned i = 0; i < LABEL_MAX_TIER_RESULT; i++)
        out->errors += metrics_sum2(m, TIER_ERRORS, tier, i);
    out->evicted = out->evicted_for_space + metrics_sum2(m, EVICTIONS, tier, EVICTED_COUNT);
    all->evicted += out->evicted;
}

static void count_tiers(const struct reading_sources *from, struct reading *out)
{
    struct reading_tier *memory = &out->tiers[TIER_MEMORY];

    for (unsigned tier = 0; tier < LABEL_MAX_TIER; tier++)
        count_tier(from->metrics, tier, out);
    memory->on = memory->up = from->tiers->memory != NULL;
    for (size_t i = 0; i < from->tiers->lower_n; i++) {
        struct tier *t = from->tiers->lower[i]->tier;
        struct reading_tier *lower = &out->tiers[t->ops->kind];
        struct tier_breaker_state breaker;
        struct tier_state state = {0};

        t->ops->state(t, &state);
        tier_breaker_look(t, &breaker);
        lower->on = true;
        lower->up = state.health != TIER_IS_DOWN;
        lower->degraded = state.health == TIER_DEGRADED;
        lower->breaker = breaker.is;
    }
}

static void count_process(struct reading *out)
{
    struct process_stat p;

    if (process_stat_read(&p) == 0)
        out->rss_bytes = p.resident_bytes;
}

void reading_counts(const struct reading_sources *from, struct reading *out)
{
    struct metrics *m = from->metrics;

    *out = (struct reading){0};
    metrics_collect(m);
    count_requests(m, out);
    count_upstream(m, out);
    count_tiers(from, out);
    count_process(out);
    if (from->breakers)
        breakers_each(from->breakers, clock_mono_ms(), count_one_breaker, out);
    for (unsigned i = 0; i < LABEL_MAX_INVALIDATION; i++)
        out->invalidations += metrics_sum1(m, INVALIDATIONS, i);
    for (unsigned i = 0; i < LABEL_MAX_REASON; i++)
        out->not_stored[i] = metrics_sum1(m, NOT_STORED, i);
    for (unsigned i = 0; i < LABEL_MAX_RECORD; i++)
        out->unreadable[i] = metrics_sum1(m, UNREADABLE, i);
    for (unsigned i = 0; i < LABEL_MAX_MODEL; i++) {
        out->tokens_saved_in += metrics_sum2(m, TOKENS_SAVED, i, TOKENS_INPUT);
        out->tokens_saved_out += metrics_sum2(m, TOKENS_SAVED, i, TOKENS_OUTPUT);
        out->tokens_saved_cached += metrics_sum1(m, CACHED_TOKENS_SAVED, i);
        out->saved_nano_dollars += metrics_sum1(m, COST_SAVED, i);
    }
    out->saved_ns = metrics_sum(m, SECONDS_SAVED);
    out->coalesced = metrics_sum(m, COALESCED);
    out->corrupt = metrics_sum(m, CORRUPT);
    out->writes_dropped = metrics_sum(m, WRITES_DROPPED);
    out->memo_hits = metrics_sum(m, MEMO_HITS);
    out->memo_misses = metrics_sum(m, MEMO_MISSES);
    out->connections_refused = metrics_sum(m, CONNECTIONS_REFUSED);
    out->log_lines_dropped = metrics_sum(m, LOG_LINES_DROPPED);
    out->flights = metrics_sum(m, FLIGHTS);
    out->readers = metrics_sum(m, FLIGHT_READERS);
    out->connections = metrics_sum(m, CONNECTIONS);
    out->buffered_bytes = metrics_sum(m, BUFFERED_BYTES);
    out->write_queue_bytes = metrics_sum(m, WRITE_QUEUE_BYTES);
    out->compression_nano = metrics_sum(m, COMPRESSION_RATIO);
    for (unsigned i = 0; i < LABEL_MAX_LISTENER; i++)
        out->certificate_expires_s[i] = metrics_sum1(m, CERTIFICATE_EXPIRY, i);
    out->credentials_suspended = (unsigned)metrics_sum(m, CREDENTIALS_SUSPENDED);
    out->instances = (unsigned)metrics_sum(m, INSTANCES);
    out->linked = metrics_sum(m, INSTANCES_LINKED) > 0;
}

/* -- times -- */

struct reading_times reading_times_of(const struct sketch *s)
{
    return (struct reading_times){
        .n = sketch_count(s),
        .mean_ns = sketch_mean_ns(s),
        .min_ns = sketch_min_ns(s),
        .p50_ns = sketch_quantile_ns(s, 0.5),
        .p95_ns = sketch_quantile_ns(s, 0.95),
        .p99_ns = sketch_quantile_ns(s, 0.99),
        .max_ns = sketch_max_ns(s),
    };
}

static struct sketch *of_result(struct reading_sketches *s, enum metric_result result)
{
    if (result == RESULT_HIT)
        return &s->hit;
    return result == RESULT_MISS ? &s->miss : &s->rest;
}

static void gather(struct metrics *m, struct reading_sketches *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned op = 0; op < LABEL_MAX_OPERATION; op++)
        for (unsigned result = 0; result < LABEL_MAX_RESULT; result++) {
            metrics_times(m, REQUEST, op, result, of_result(out, result));
            metrics_times(m, STREAM, op, result, of_result(out, result));
        }
    metrics_times(m, KEY, 0, 0, &out->key);
    metrics_times(m, UPSTREAM, 0, 0, &out->upstream);
    for (unsigned tier = 0; tier < LABEL_MAX_TIER; tier++)
        metrics_times(m, TIER_GET, tier, 0, &out->tier[tier]);
}

/* Adds what came to @all, where that is wanted. */
static struct reading_times times_since(const struct sketch *now, const struct sketch *before,
                                        struct sketch *all)
{
    struct sketch interval;

    sketch_since(&interval, now, before);
    if (all)
        sketch_merge(all, &interval);
    return reading_times_of(&interval);
}

void reading_take(const struct reading_sources *from, const struct reading_sketches *before,
                  struct reading_sketches *now, struct reading *out)
{
    struct sketch all = {0};

    reading_counts(from, out);
    gather(from->metrics, now);
    out->hit = times_since(&now->hit, &before->hit, &all);
    out->miss = times_since(&now->miss, &before->miss, &all);
    (void)times_since(&now->rest, &before->rest, &all);
    out->request = reading_times_of(&all);
    out->key = times_since(&now->key, &before->key, NULL);
    out->upstream = times_since(&now->upstream, &before->upstream, NULL);
    for (unsigned tier = 0; tier < LABEL_MAX_TIER; tier++)
        out->tiers[tier].get = times_since(&now->tier[tier], &before->tier[tier], NULL);
}

/* -- what follows from them -- */

uint64_t reading_total(const uint64_t requests[LABEL_MAX_RESULT])
{
    uint64_t n = 0;

    for (unsigned i = 0; i < LABEL_MAX_RESULT; i++)
        n += requests[i];
    return n;
}

int64_t reading_hit_rate_nano(const uint64_t requests[LABEL_MAX_RESULT])
{
    uint64_t hits = requests[RESULT_HIT] + requests[RESULT_STALE] + requests[RESULT_REVALIDATED] +
                    requests[RESULT_COALESCED];
    uint64_t all = hits + requests[RESULT_MISS];

    return all == 0 ? -1 : (int64_t)((double)hits / (double)all * 1e9 + 0.5);
}
