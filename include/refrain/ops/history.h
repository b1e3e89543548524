/*
 * history - the readings of the last hour: a ring of HISTORY_MAX, one every HISTORY_EVERY_MS. SPEC
 * section 12.
 *
 * Threads: one at a time.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/sketch.h"
#include "refrain/ops/reading.h"

enum { HISTORY_MAX = 1000, HISTORY_EVERY_MS = 3600 };

struct history;

/** Aborts when out of memory. */
struct history *history_new(void);
void history_free(struct history *h);
/** Copies @r in as the newest; the oldest goes when it is full. */
void history_add(struct history *h, const struct reading *r);
size_t history_n(const struct history *h);
/** How many were ever added. */
uint64_t history_added(const struct history *h);

/* Durations between a reading and the one before it; so that those of longer times are made of all of them,
 * and no percentile is ever averaged. */
enum history_times {
    HISTORY_HIT,
    HISTORY_MISS,
    HISTORY_REST,
    HISTORY_REQUESTS, /* those before are of requests, of each one once */
    HISTORY_KEY = HISTORY_REQUESTS,
    HISTORY_DISK, /* looking for an answer there */
    HISTORY_REDIS,
    HISTORY_TIMES
};
/** Keeps a copy of @s with the newest reading, a few bytes for each bucket that is not empty. Without memory
 * they are not known. */
void history_keep_times(struct history *h, enum history_times which, const struct sketch *s);
/** Adds those that lie with the @i-th reading to @into. */
void history_add_times(const struct history *h, size_t i, enum history_times which, struct sketch *into);

/** The @i-th, 0 being the newest; borrowed until the next history_add. NULL past the oldest. */
const struct reading *history_at(const struct history *h, size_t i);
/** The newest that is at least @ms older (by monotonic time) than the newest of all; the oldest where none is
 * so old; NULL of an empty history. */
const struct reading *history_before(const struct history *h, int64_t ms);
