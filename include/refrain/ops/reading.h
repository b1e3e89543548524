/*
 * reading - what the counts of this instance say at one time, as plain numbers. Statistics, alerts,
 * recommendations and their history are made of readings alone, so each can be tested without an instance.
 * SPEC section 12.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/metrics.h"
#include "refrain/base/sketch.h"

struct breakers;
struct inventory_place;

/* Durations that were measured since the reading before. All are 0 where there were none. */
struct reading_times {
    uint64_t n;
    int64_t mean_ns, min_ns, p50_ns, p95_ns, p99_ns, max_ns;
};

struct reading_tier {
    bool on; /* configured */
    bool up; /* perhaps with trouble: */
    bool degraded;
    unsigned breaker; /* 0 closed, 1 half-open, 2 open */
    uint64_t entries, bytes, limit_bytes;
    uint64_t hits, evicted, evicted_for_space, expired, replaced, errors; /* since the start */
    struct reading_times get; /* looking for an answer; not kept of memory */
};

struct reading {
    int64_t at_ms;   /* wall clock, ms since the epoch */
    int64_t mono_ms; /* monotonic */

    /* counts since the start */
    uint64_t requests[LABEL_MAX_RESULT]; /* by enum metric_result, over all operations */
    uint64_t coalesced, invalidations, corrupt, writes_dropped, evicted;
    uint64_t not_stored[LABEL_MAX_REASON];
    uint64_t unreadable[LABEL_MAX_RECORD]; /* records, by enum record_result */
    uint64_t memo_hits, memo_misses;
    uint64_t upstream_calls, upstream_failures; /* failures: without a status, or 5xx */
    uint64_t connections_refused, log_lines_dropped;
    uint64_t tokens_saved_in, tokens_saved_out, tokens_saved_cached, saved_ns, saved_nano_dollars;

    /* as it is now */
    uint64_t flights, readers, connections, buffered_bytes, write_queue_bytes, rss_bytes;
    uint64_t compression_nano; /* bytes before for each byte after it, of all so far, in 1e-9; 0: none was */
    unsigned breakers_open;    /* of upstreams, half-open ones included */
    unsigned credentials_suspended;
    uint64_t certificate_expires_s[LABEL_MAX_LISTENER]; /* wall clock; 0: that listener has none */
    unsigned instances;                                 /* heard of lately; 0: there is no Redis */
    bool linked;                                        /* to them */
    struct reading_tier tiers[LABEL_MAX_TIER];          /* by enum metric_tier */

    /* since the reading before */
    struct reading_times request, hit, miss, key, upstream;
};

/* Whose counts they are. */
struct reading_sources {
    struct metrics *metrics;
    struct breakers *breakers;           /* NULL: there are none */
    const struct inventory_place *tiers; /* store/inventory.h; those that are configured */
};

/* Every duration since the start, to tell those of an interval by. All zeros: before the first. */
struct reading_sketches {
    struct sketch hit, miss, rest; /* of requests; rest: of any other result */
    struct sketch key, upstream;
    struct sketch tier[LABEL_MAX_TIER];
};

/** The counts as they are now; the times, and @at_ms and @mono_ms, are left at 0. Thread: the main one. */
void reading_counts(const struct reading_sources *from, struct reading *out);
/**
 * Counts and times. @before is what the reading before has left in its @now. Some 200 us. Thread: the main
 * one.
 */
void reading_take(const struct reading_sources *from, const struct reading_sketches *before,
                  struct reading_sketches *now, struct reading *out);
/** Of samples all together. Pure, as are the following. */
struct reading_times reading_times_of(const struct sketch *s);
/** How many there are. */
uint64_t reading_total(const uint64_t requests[LABEL_MAX_RESULT]);
/**
 * The part of requests that upstream was spared or confirmed, in billionths: hits, stale, revalidated and
 * coalesced ones, of all but those that bypassed the cache or ended in an error. -1: there are none.
 */
int64_t reading_hit_rate_nano(const uint64_t requests[LABEL_MAX_RESULT]);
