/*
 * fences - what has been invalidated, and when: an invalidation stands here before anything is deleted, so
 * that whatever began before it (a flight, a read of a lower tier, a queued write) is not stored, promoted or
 * joined after it. SPEC sections 5 and 8.
 *
 *   invalidate ──► fence (selector, seq) ──► delete in the tiers, in their own time
 *   put: stored, then looked up here: held back? deleted again       (so that neither order lets it through)
 *   read below memory: looked up here with the record's started_seq: held back? deleted, and a miss
 *   join: is what is under way from before an invalidation that may mean it? then a flight of its own
 *
 * An invalidation is never lost. The newest are kept word for word; older ones as sums of what they name, as
 * changed targets are from the start; what has nothing to be summed (patterns that begin with a wildcard)
 * comes to an end as "everything before". So growing old costs misses, never a wrong answer, and memory is
 * fixed: about half a MiB.
 *
 * seq is flights_seq: the wall clock in microseconds that never stands still. What another instance has
 * stored carries the seq of its clock. Where that clock is ahead, what it began before the invalidation can
 * look younger than the fence. Three things see to that: whoever is told deletes by selector alone, whatever
 * the seq; each instance fences at its own time of hearing; and its answer tells that time, which whoever
 * asked adds as a second fence. What remains is clocks over FENCES_AHEAD_MAX_US apart, where only the first
 * two hold.
 *
 * Threads: any. While nothing is newer than what is asked about, a look is one atomic load; past that, a lock
 * that readers share.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/store/selector.h"

enum { FENCES_KEPT_MAX = 256, FENCES_AHEAD_MAX_US = 60 * 1000 * 1000 };

struct fences;
/** NULL when out of memory. */
struct fences *fences_new(void);
void fences_free(struct fences *f);

/**
 * Everything that @which means and that began before @seq is held back from here on. Copies @which; never
 * fails: out of memory, it means more than was asked. The same once more takes the place of the former.
 */
void fences_add(struct fences *f, const struct selector *which, int64_t seq);

/** True when an invalidation not older than @seq means the entry that @l tells of. */
bool fences_hold_back(const struct fences *f, const struct label *l, int64_t seq);
/** The same of a flight opened at @seq, of which only key, namespace, operation, model and target are known:
 * its tags may be any. What is meant by its age is never one to come. */
bool fences_part_flight(const struct fences *f, const struct label *l, int64_t seq);

/** Is there any target that has changed since? One atomic load. */
bool fences_any_target_since(const struct fences *f, int64_t seq);
/** Has this one changed since? For hits in memory: two atomic loads. */
bool fences_target_since(const struct fences *f, uint64_t target, int64_t seq);

/** seq of the newest; 0: there is none. */
int64_t fences_latest(const struct fences *f);
/** How many are kept word for word. */
unsigned fences_kept(const struct fences *f);
