/*
 * history_points - the history in fewer pieces than there are readings, for a curve. Nothing is lost or
 * averaged: each interval between two readings is in one point, counts of a point are the sum of those of
 * its intervals, and its quantiles are those of all their samples together (base/sketch.h).
 *
 * Pure. Threads: the history's.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/ops/history.h"

struct history_point {
    const struct reading *end;           /* the newest of it: gauges are as they were then */
    int64_t ms;                          /* how long it is */
    uint64_t requests[LABEL_MAX_RESULT]; /* and all other counts: of the point alone */
    uint64_t tokens_saved_in, tokens_saved_out, saved_ns, saved_nano_dollars;
    uint64_t invalidations, evicted;
    const struct sketch *all, *hit, *miss; /* durations; for the call */
};

/**
 * Calls @each for at most @points (1 or more) points of equal numbers of readings, oldest first, that cover
 * the last @span_ms. Where a point begins depends on how many readings there have ever been, so that two
 * looks show the same points, and only the oldest and the newest have fewer.
 */
void history_points(const struct history *h, int64_t span_ms, unsigned points,
                    void (*each)(void *arg, const struct history_point *p), void *arg);

/* Growth, in units an hour, of what @of tells of a reading: the slope of the line that is nearest to all
 * readings (least squares). false: they cover less than a minute. */
bool history_growth(const struct history *h, uint64_t (*of)(const struct reading *r), int64_t *out_per_hour);
