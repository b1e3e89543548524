/*
 * sketch - durations, counted so that their quantiles can be told: a log-linear histogram, laid out as an HDR
 * histogram is. Each power of two of nanoseconds is divided into SKETCH_PARTS equal buckets, from 1 ns to
 * SKETCH_NS_MAX (73 minutes).
 *
 * What it tells: count, sum, mean, smallest and largest are exact. A quantile is within 1 / SKETCH_ERROR of
 * the sample of that rank (the middle of its bucket is told), whatever the distribution; for samples of
 * SKETCH_NS_MAX or more, which share the last bucket, only that they are so long. Adding up the sketches of
 * several threads or times loses nothing: it is the sketch of all their samples.
 *
 * All zeros is an empty sketch. Threads: one adds, any number read meanwhile; a reader may see a sample in
 * the sum and not yet in its bucket, or the other way round.
 */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "refrain/base/buf.h"

enum {
    SKETCH_PART_BITS = 5,
    SKETCH_PARTS = 1 << SKETCH_PART_BITS,
    SKETCH_ERROR = 2 * SKETCH_PARTS, /* relative error of quantiles: 1/64 */
    SKETCH_NS_BITS = 42,
    SKETCH_BUCKETS = SKETCH_PARTS * (SKETCH_NS_BITS - SKETCH_PART_BITS + 1),
};
#define SKETCH_NS_MAX (INT64_C(1) << SKETCH_NS_BITS)

struct sketch {
    _Atomic(uint64_t) sum_ns;
    _Atomic(uint64_t) max_ns;
    _Atomic(uint64_t) not_min_ns; /* the complement of the smallest, so that it grows as max_ns does */
    _Atomic(uint64_t) bucket[SKETCH_BUCKETS];
};

/* The bucket of a sample. Below SKETCH_PARTS ns each has its own. */
static inline unsigned sketch_bucket(uint64_t ns)
{
    unsigned power;

    if (ns < SKETCH_PARTS)
        return (unsigned)ns;
    if (ns >= (uint64_t)SKETCH_NS_MAX)
        return SKETCH_BUCKETS - 1;
    power = 63 - (unsigned)__builtin_clzll(ns);
    return (power - SKETCH_PART_BITS) * SKETCH_PARTS + (unsigned)(ns >> (power - SKETCH_PART_BITS));
}

static inline void sketch_raise(_Atomic(uint64_t) *at, uint64_t value)
{
    if (value > atomic_load_explicit(at, memory_order_relaxed))
        atomic_store_explicit(at, value, memory_order_relaxed);
}

static inline void sketch_grow(_Atomic(uint64_t) *at, uint64_t by)
{
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + by, memory_order_relaxed);
}

/** Adds a sample; a negative one (a clock that went back) counts as 0. About 2 ns. Thread: its writer's. */
static inline void sketch_add(struct sketch *s, int64_t ns)
{
    uint64_t sample = ns > 0 ? (uint64_t)ns : 0;

    sketch_grow(&s->bucket[sketch_bucket(sample)], 1);
    sketch_grow(&s->sum_ns, sample);
    sketch_raise(&s->max_ns, sample);
    sketch_raise(&s->not_min_ns, ~sample);
}

/** Adds all samples of @from. Threads: @into's writer; @from may be written meanwhile. */
void sketch_merge(struct sketch *into, const struct sketch *from);
/**
 * Makes @out what was added to @now since it was @before, a copy of it: an interval. Its smallest and largest
 * are exact where they are new for @now, too; otherwise they are the bounds of their buckets.
 */
void sketch_since(struct sketch *out, const struct sketch *now, const struct sketch *before);

uint64_t sketch_count(const struct sketch *s);
/** Of an empty sketch these are 0. */
uint64_t sketch_sum_ns(const struct sketch *s);
int64_t sketch_min_ns(const struct sketch *s);
int64_t sketch_max_ns(const struct sketch *s);
int64_t sketch_mean_ns(const struct sketch *s);
/** The sample of rank ceil(@q * count), 0 <= @q <= 1, the smallest being of rank 1; within the error above.
 * 0 of an empty one. */
int64_t sketch_quantile_ns(const struct sketch *s, double q);
/** The mean of the lowest part of all samples, ceil(@q * count) of them; within the same error. 0 of an empty
 * one. */
int64_t sketch_mean_of_lowest_ns(const struct sketch *s, double q);

/* -- kept small: a few bytes for each bucket that is not empty -- */

/** Appends @s in a form for this process alone. Errors: as buf_reserve; what was appended is gone then. */
ATTR_MUST_USE int sketch_pack(const struct sketch *s, struct buf *out);
/** Adds what was packed; nothing for no bytes. */
void sketch_merge_packed(struct sketch *into, struct slice packed);
