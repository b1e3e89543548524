/*
 * inventory - what lies in the tiers, item by item, page by page: for listings, searches by id and counts of
 * operators. SPEC section 12. It changes nothing and counts no hit.
 *
 *   inventory_start ─► memory (thread pool) ─► disk, Redis (store thread) ─► on_done
 *
 * Tiers come in this order, each in its own; within a tier nothing is sorted. What is there all the time is
 * seen; what comes or goes meanwhile perhaps.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/store/selector.h"
#include "refrain/store/store_mem.h"
#include "refrain/store/tier.h"

enum { INVENTORY_TIERS = 3 /* by enum metric_tier */, INVENTORY_LOWER_MAX = 2, INVENTORY_CURSOR_MAX = 1024 };

/* Where the tiers are. */
struct inventory_place {
    struct store_mem *memory;                     /* NULL: it is off */
    struct loop *loop;                            /* the store thread's; NULL: there is none */
    struct tier_port *lower[INVENTORY_LOWER_MAX]; /* that thread's own, in order */
    size_t lower_n;
    atomic_bool stopped; /* before the store thread ends: nothing more is asked of it */
};

struct inventory_item {
    struct label label; /* valid for the call, as is all of this */
    enum metric_tier tier;
    const struct store_mem_seen *seen; /* of memory alone */
    struct blob *blob;                 /* of lower tiers, where wanted: the record */
    int64_t gone_ms;                   /* wall clock; INT64_MAX: never */
};

/* One look; lies with who asks. */
struct inventory {
    /* filled in by who asks; borrowed until on_done */
    struct inventory_place *place;
    struct selector which;
    bool in[INVENTORY_TIERS]; /* which tiers to look into */
    bool wants_blobs;
    bool twice;          /* what lies in memory is seen in the tiers below as well */
    uint64_t items_max;  /* about so many; 0: all */
    int64_t deadline_ms; /* for all of a lower tier; 0: 10 s */
    /* On whichever thread has the tier, one at a time. In memory a shard's lock is held: no call back into
     * it. */
    void (*on_item)(struct inventory *v, const struct inventory_item *item);
    struct loop *loop;
    void (*on_done)(struct inventory *v); /* on that loop, once, never within the call */
    /* the answer */
    uint64_t items;
    enum tier_result result[INVENTORY_TIERS]; /* TIER_OK where it was not looked into */
    struct buf cursor; /* where it stopped, as text for inventory_resume; empty: at the end */
    /* its own */
    struct loop_work work;
    struct loop_msg msg;
    struct tier_scan scan;
    struct store_mem_walk walk;
    struct buf at;  /* a lower tier's cursor */
    unsigned stage; /* 0: memory, then lower tiers from 1 */
    int64_t stage_ends_ms;
};

/** Takes up a cursor that an earlier look has left, as text. false: it is none. Before inventory_start. */
bool inventory_resume(struct inventory *v, struct slice cursor);
/** Thread: @v->loop's. */
void inventory_start(struct inventory *v);
void inventory_done(struct inventory *v);
