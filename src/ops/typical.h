/*
 * typical - what requests of an operation and a result typically take, streams apart: the mean of the lowest
 * four fifths, of at least TYPICAL_OF (SPEC section 12), so that the slow ones are known (http/slow.h).
 *
 * It remembers TYPICAL_TURN_MS to twice that: what was added to each sketch since the older of two copies.
 * After the start that is all there is. Of what has become rare since, the last word holds.
 *
 * Threads: the main one.
 */
#pragma once
#include <stdint.h>

#include "refrain/base/metrics.h"

struct slow; /* http/slow.h */
struct typical;

enum { TYPICAL_OF = 20, TYPICAL_TURN_MS = 30 * 60 * 1000 };

/** Both outlive it. @mono_ms: monotonic, here and below. Aborts when out of memory. */
struct typical *typical_new(struct metrics *metrics, struct slow *slow, int64_t mono_ms);
/** NULL is fine. */
void typical_free(struct typical *t);
/** Tells slow what is typical now; to be called often, a turn being told from @mono_ms. Out of memory, what
 * is remembered of a sketch goes back to the start. */
void typical_tell(struct typical *t, int64_t mono_ms);
