/*
 * invalidate - has entries go: from this instance's memory and disk and, where this is the instance that was
 * told, from what all instances share (Redis). SPEC section 8.
 *
 *   store_invalidate ─► fence ─► memory (thread pool) ─► disk, Redis (store thread) ─► on_done
 *
 * The fence stands before the call returns: nothing that began before is stored, promoted or joined from then
 * on. The rest takes its time and holds nobody up: memory is walked in batches, lower tiers in steps of their
 * own. A lower tier that cannot be reached keeps its entries for the moment, but gives out none of those
 * meant: the fence sees to that, and they are deleted as soon as the tier can (store_invalidate_pending).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/store/selector.h"
#include "refrain/store/tier.h"

struct store;

/* What an invalidation is counted and told as: the first of these that it gives. */
enum invalidation_kind {
    INVALIDATE_ID,
    INVALIDATE_PATTERN,
    INVALIDATE_TAG,
    INVALIDATE_TARGET,
    INVALIDATE_OPERATION,
    INVALIDATE_MODEL,
    INVALIDATE_NAMESPACE,
    INVALIDATE_AGE,
    INVALIDATE_ALL,
    INVALIDATION_KINDS
};
enum invalidation_kind invalidation_kind_of(const struct selector *s);
const char *invalidation_kind_name(enum invalidation_kind k); /* "tag" */

enum { INVALIDATE_TIERS = 3 }; /* by enum metric_tier */

struct invalidation_tier {
    bool asked;
    enum tier_result result; /* TIER_OK: done; else it is pending there */
    uint64_t matched;        /* entries deleted, or, in a dry run, that would be */
};

/* One invalidation; lies with who asks. */
struct invalidation {
    /* filled in by who asks; borrowed until on_done */
    struct selector which;
    int64_t seq;  /* flights_seq: what began before it is meant */
    bool dry_run; /* counts, and changes nothing: there is no fence either */
    bool told;    /* by an operator or a client of ours, not by another instance: Redis is cleared as well */
    struct loop *loop;
    void (*on_done)(struct invalidation *inv); /* on that loop, once, never within the call */
    /* the answer */
    uint64_t matched; /* distinct keys */
    bool at_least;    /* there are so many that some could not be told apart: no fewer than @matched */
    struct invalidation_tier tiers[INVALIDATE_TIERS];
    int64_t took_ns;
    /* its own */
    struct store *store;
    struct invalidation_run *run;
};

/** Begins it. Thread: @inv->loop's. Where memory runs out the fence stands and on_done tells of failed tiers.
 */
void store_invalidate(struct store *s, struct invalidation *inv);

/**
 * The target of a GET has changed (http/changes.h): its entries are of no use to any caller. At once here, by
 * a fence; on disk soon, in batches; in Redis as they are met. Threads: any; never blocks.
 */
void store_target_changed(struct store *s, uint64_t target, int64_t seq);

/** Invalidations that a lower tier has still to carry out. Threads: any. */
unsigned store_invalidate_pending(struct store *s);
