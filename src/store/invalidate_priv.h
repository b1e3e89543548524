/*
 * invalidate_priv - what the parts of invalidation share.
 *
 *   invalidate.c         one invalidation: memory, then each lower tier, then the answer
 *   invalidate_later.c   what is done later: changed targets, and what a tier could not do
 *
 * Lock: of targets, a leaf.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "refrain/base/buf.h"
#include "refrain/base/list.h"
#include "refrain/store/invalidate.h"

enum {
    INVALIDATE_TARGETS_MAX = 4096,
    INVALIDATE_PENDING_MAX = 64,
    INVALIDATE_LEDGER_BYTES_MAX = 4 * 1024 * 1024,
};

/* What a lower tier has still to do. */
struct pending {
    struct selector which; /* its texts lie in own */
    char *own;
    size_t at; /* lower tier */
    int64_t seq;
};

struct invalidator {
    struct invalidator_conf conf;
    struct { /* as the tiers say, who may be gone before the end */
        const char *name;
        enum metric_tier kind;
    } lower[INVALIDATE_LOWER_MAX];
    atomic_bool stopped, flushing;
    atomic_uint_fast64_t counts[INVALIDATION_KINDS];
    atomic_uint pending_all; /* for whoever asks */
    pthread_mutex_t lock;
    uint64_t targets[INVALIDATE_TARGETS_MAX];
    unsigned targets_n;
    bool targets_too_many; /* every stored GET is to go instead */
    bool target_busy;      /* one is being deleted */
    bool posted;
    struct loop_msg msg, flush_msg, begin_msg;
    /* the store thread's */
    struct list waiting;
    struct invalidation *running;
    struct pending pending[INVALIDATE_PENDING_MAX]; /* the oldest first */
    unsigned pending_n;
    bool unkept;         /* the ledger does not say what is pending */
    bool targets_failed; /* those that wait are in the ledger, too */
    struct buf unknown;  /* lines of the ledger about tiers that are not there now */
    struct loop_timer *retry;
    struct tier_delete_if chore;
    struct pending chore_of; /* what it is about; not among the others meanwhile */
    enum { CHORE_NONE, CHORE_TARGET, CHORE_READS, CHORE_PENDING } chore_is;
};

/* -- invalidate.c -- */

bool invalidator_has_stopped(struct invalidator *v);
/** Posts to the store thread, unless that is about to end. */
bool invalidator_post(struct invalidator *v, struct loop_msg *m);

static inline enum metric_tier lower_kind(const struct invalidator *v, size_t at)
{
    return v->lower[at].kind;
}

/* -- invalidate_later.c; on the store thread, or where that is not running -- */

/** Reads from the ledger what earlier processes have left, and has it begun. */
void later_begin(struct invalidator *v);
/** Writes what is still to be done into the ledger. */
void later_keep(struct invalidator *v);
/** The tier could not do it. Who is told that it will be done later may rely on it: it stands in the ledger
 * by then. */
void later_add(struct invalidator *v, const struct selector *which, size_t at, int64_t seq);
/** Begins with the next of what is due, if nothing else is under way. */
void later_next(struct invalidator *v);
/** Drops it all. */
void later_done(struct invalidator *v);
