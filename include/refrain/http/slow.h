/*
 * slow - the last requests that took much longer than is typical of their operation and result. SPEC section
 * 12.
 *
 * What is typical is told from outside, now and then (slow_set_typical); a request that has ended compares
 * its time with one number. Streams have numbers of their own. Names alone are kept, never a prompt, an
 * answer or a credential.
 *
 * Threads: any. One short lock, a leaf, taken by slow requests and by who lists them.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/metrics.h"
#include "refrain/base/slice.h"

enum { SLOW_KEPT = 200, SLOW_TIMES = 2, SLOW_NAME_BYTES = 64 };

struct slow_request {
    int64_t at_ms; /* when it ended; wall clock */
    char id[SLOW_NAME_BYTES + 1], operation[SLOW_NAME_BYTES + 1];
    char model[SLOW_NAME_BYTES + 1], namespace_[SLOW_NAME_BYTES + 1]; /* cut where they are longer */
    const char *reason;                                               /* static text, or NULL */
    enum metric_result result;
    bool streamed, has_tier;
    enum metric_tier tier; /* it was answered from, if @has_tier */
    unsigned status;
    int64_t took_ns;
    int64_t upstream_ns; /* -1: not known */
    int64_t typical_ns;  /* when it ended */
};

struct slow {
    /* From how long on a request is slow; 0: not known yet. */
    _Atomic(int64_t) from_ns[2][LABEL_MAX_OPERATION][LABEL_MAX_RESULT]; /* of streams: the second */
    struct slow_ring *ring;
};

/** Aborts when out of memory. @at_least_ns: what took less is never slow. */
struct slow *slow_new(int64_t at_least_ns);
/** NULL is fine. */
void slow_free(struct slow *s);

/** What requests of this kind typically take: those of SLOW_TIMES as much are slow from now on. */
void slow_set_typical(struct slow *s, bool streamed, unsigned operation, unsigned result, int64_t typical_ns);

/** For every request that has ended. */
static inline bool slow_is(const struct slow *s, bool streamed, unsigned operation, unsigned result,
                           int64_t took_ns)
{
    int64_t from_ns = atomic_load_explicit(&s->from_ns[streamed][operation][result], memory_order_relaxed);

    return from_ns > 0 && took_ns >= from_ns;
}

/** Texts are borrowed for the call; so is @r, but for its texts, of which @id and the others take the place,
 * and for typical_ns. @operation: its label. */
void slow_keep(struct slow *s, const struct slow_request *r, unsigned operation, struct slice id,
               struct slice operation_name, struct slice model, struct slice namespace_);

/** Copies the newest first; returns how many, at most @max. */
size_t slow_list(struct slow *s, struct slow_request *out, size_t max);
