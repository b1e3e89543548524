/*
 * window - the readings of so long until now: what was counted in them, and how long things took. Of a
 * process that is younger than the window, all of its life.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "refrain/ops/history.h"

struct window {
    const struct reading *now, *then; /* then: as it was at the beginning; all 0 where that was the start */
    size_t n;                         /* readings in it, the newest being history_at(h, 0) */
    int64_t ms;                       /* as long as it is */
};
/** @h has a reading. */
struct window window_of(const struct history *h, int64_t ms);

/* What a count of struct reading has grown by. Counts never shrink; one that does anyway has not grown. */
#define WINDOW_COUNT(w, member)                                                                              \
    ((w)->now->member > (w)->then->member ? (w)->now->member - (w)->then->member : UINT64_C(0))

struct window_requests {
    uint64_t asked;    /* all but what passed by and what failed */
    uint64_t answered; /* of these, without a call to upstream of their own */
    uint64_t misses, stale, passed;
};
struct window_requests window_requests(const struct window *w);

/** The p95 of all durations in the window, within a sketch's error; how many they are is put at @out_n. 0 of
 * none. */
int64_t window_p95_ns(const struct history *h, const struct window *w, enum history_times which,
                      uint64_t *out_n);
