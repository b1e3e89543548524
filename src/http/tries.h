/*
 * tries - how one question to upstream fares, try by try: whether it may be asked at all, whether once more
 * after a try that failed, and what breakers, counts and the log are told of each. `fetch` asks; the bytes
 * are its own.
 *
 *   tries_begin ──► (upstream: on_tried ──► tries_again)* ──► tries_head ──► tries_end
 *
 * Threads: one worker's loop.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/metrics.h"
#include "refrain/http/breakers.h"
#include "refrain/http/site.h"
#include "refrain/http/upstream.h"

struct tries {
    /* filled in by the owner before tries_begin */
    const struct site_upstream *upstream;
    unsigned upstream_label;
    struct metric_block *counts;
    struct slice model;
    struct slice request_id; /* for the log … */
    const char *id;          /* … as the flight's is */
    /* its own */
    struct breakers_ticket ticket;
    int64_t started_ns; /* this try */
    unsigned status;    /* of its answer; 0: none yet */
};

/** False: upstream is not to be asked now (SPEC section 9, fail_fast), and tries_end is not called.
 * @out_wait_ms: when it may be. */
bool tries_begin(struct tries *t, int64_t *out_wait_ms);
/** For upstream's on_tried. */
int64_t tries_again(struct tries *t, const struct upstream_try *one);
/** The answer has begun. */
void tries_head(struct tries *t, unsigned status);
/** The call has ended. @first_byte_ns: monotonic, when its body began; 0: it did not. */
void tries_end(struct tries *t, enum upstream_result result, const char *why, int64_t first_byte_ns);
