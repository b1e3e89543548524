/*
 * invalidate - has entries go: from this instance's memory and disk and, where this is the instance that was
 * told, from what all instances share (Redis). SPEC section 8, decisions/0020.
 *
 *   invalidate_start ─► fence ─► memory (thread pool) ─► disk, Redis (store thread) ─► on_done
 *
 * The fence stands before the call returns: nothing that began before is stored, promoted or joined from then
 * on. The rest takes its time and holds nobody up: memory is walked in batches, lower tiers in steps of their
 * own, one invalidation after another. A lower tier that cannot be reached keeps its entries for the moment
 * but gives out none of those meant: the fence sees to that, and they are deleted once the tier is back.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/list.h"
#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/store/fences.h"
#include "refrain/store/selector.h"
#include "refrain/store/tier.h"

struct store_mem; /* store_mem.h */
struct invalidator;
struct ledger; /* ledger.h */

enum { INVALIDATE_LOWER_MAX = 2, INVALIDATE_TIERS = 3 /* by enum metric_tier */ };

struct invalidator_conf {
    struct fences *fences;    /* all of these outlive the invalidator */
    struct store_mem *memory; /* NULL: it is off */
    struct loop *loop;        /* the store thread's; NULL: there is none, nor any lower tier */
    struct tier_port *lower[INVALIDATE_LOWER_MAX]; /* that thread's own, in order */
    size_t lower_n;
    /* What lower tiers have still to do outlives the process there; NULL: it does not. What it holds is
     * fenced and done again. */
    struct ledger *ledger;
    int64_t deadline_ms; /* for one lower tier to carry out one invalidation; 0: 50 s */
    int64_t retry_ms;    /* how long until it is asked once more; 0: 2 s */
};
/** NULL when out of memory. */
struct invalidator *invalidator_new(const struct invalidator_conf *conf);
/** Waits until changed targets are deleted from disk, for at most @ms: they are known nowhere else after the
 * end. Not on the store thread. false: some are left. */
bool invalidator_flush(struct invalidator *v, int64_t ms);
/** Nothing is asked of lower tiers from here on; to be called before their ports are closed. Threads: any. */
void invalidator_stop(struct invalidator *v);
/** Every invalidation has come back, and the store thread has ended. NULL is fine. */
void invalidator_free(struct invalidator *v);

/* What an invalidation is counted and told as: the first of these that it gives. */
enum invalidation_kind {
    INVALIDATE_ID,
    INVALIDATE_PATTERN,
    INVALIDATE_TAG,
    INVALIDATE_OPERATION,
    INVALIDATE_MODEL,
    INVALIDATE_NAMESPACE,
    INVALIDATE_AGE,
    INVALIDATE_TARGET,
    INVALIDATE_ALL,
    INVALIDATION_KINDS
};
enum invalidation_kind invalidation_kind_of(const struct selector *s);
const char *invalidation_kind_name(enum invalidation_kind k); /* "tag" */

struct invalidation_tier {
    bool asked;
    enum tier_result result; /* TIER_OK: done; else it is still to be done there */
    uint64_t matched;        /* entries deleted or, in a dry run, that would be */
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
    /* Right before on_done, with 64 bits of each distinct key that is known to have matched; NULL: nobody
     * asks. So that keys can be told apart over several instances. */
    void (*on_key)(void *inv, uint64_t sum);
    /* the answer */
    uint64_t matched; /* distinct keys */
    bool at_least;    /* there are so many that some could not be told apart: no fewer than @matched */
    struct invalidation_tier tiers[INVALIDATE_TIERS];
    int64_t took_ns;
    /* the invalidator's own */
    struct invalidator *by;
    struct loop_work work;
    struct loop_msg msg;
    struct list link;
    struct tier_delete_if ask;
    struct invalidate_seen *seen;
    size_t next;
};

/** Begins it. Thread: @inv->loop's. */
void invalidate_start(struct invalidator *v, struct invalidation *inv);

/**
 * The target of a GET has changed (http/changes.h): what is stored of it is of no use to any caller. From the
 * return of this call on nothing of it is given out; it is deleted from disk soon, in memory and Redis when
 * it is met or has had its time. Threads: any; never blocks.
 */
void invalidate_target(struct invalidator *v, uint64_t target, int64_t seq);

/** How many lower tiers have still to carry out how many invalidations, changed targets included. Threads:
 * any. */
unsigned invalidate_pending(struct invalidator *v);
/** Invalidations told here so far, by kind. Threads: any. */
void invalidate_counts(struct invalidator *v, uint64_t out[INVALIDATION_KINDS]);
