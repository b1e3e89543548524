/*
 * store - the tiers in their order, as one: memory, asked within the caller's callback (store_mem.h), and
 * below it disk and Redis, asked by questions that come back. It keeps what a tier need not know: the order,
 * promotion with the remaining lifetime, the check of what is read, the write queue, fences of invalidations,
 * counts. SPEC section 8, decisions/0019.
 *
 *   store_mem_get ──► memory                       (any thread; nothing waits)
 *   store_search ──► write queue ──► disk ──► Redis ──► entry_ref     (a worker's port; promotes)
 *   store_put ──► memory, and a copy onto the write queue ──► store thread ──► record ──► disk, Redis
 *
 * What is on its way to lower tiers counts as there: a search finds it in the write queue. So an answer that
 * memory does not keep is found by who asks next, and what was deleted is not found again below.
 *
 * Threads: what takes a `struct store` from any; what takes a port on its loop's thread. The store thread has
 * a loop of its own, on which everything is written, promoted, invalidated and listened to.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/store/entry_ref.h"
#include "refrain/store/record.h"
#include "refrain/store/selector.h"
#include "refrain/store/shrink.h"
#include "refrain/store/store_mem.h"
#include "refrain/store/tier.h"

struct fences; /* fences.h */
struct ledger; /* ledger.h */
struct store;
struct store_port;

enum { STORE_LOWER_MAX = 2 };

struct store_conf {
    struct store_mem *memory; /* NULL: the tier is off; outlives the store */
    struct tier
        *lower[STORE_LOWER_MAX]; /* in order; taken, freed by store_free, also where store_new fails */
    size_t lower_n;
    int64_t write_behind_ms; /* lower tiers are written so much later, the last of a key only; 0: at once */
    size_t write_queue_bytes_max; /* past it, what is to be written to lower tiers is dropped, and counted */
    struct record_codec codec;    /* how records are written and read */
    struct shrink_conf shrink;    /* what is gzip-coded before it is written below */
    struct metric_block *counts;  /* the store thread's; NULL: nothing is measured. Outlives the store */
    struct fences *fences;        /* of invalidations; NULL: there are none. Outlive the store */
    struct ledger *ledger; /* deletions that a tier could not make outlive the process there; NULL: they
                            * do not. Outlives the store */
};
/** Starts the store thread where there are lower tiers. NULL when out of memory or threads. */
struct store *store_new(const struct store_conf *conf);
/** Ends the store thread; what waits to be written is written first, for at most @flush_ms. Every port is
 * closed. NULL is fine. */
void store_free(struct store *s, int64_t flush_ms);
/** The same but for @s itself, which those may still look at who are not done: then store_free. */
void store_stop(struct store *s, int64_t flush_ms);

/** One for each thread that searches; @counts is that thread's, NULL: nothing is measured. NULL when out of
 * memory. Before the loop runs, or on its thread. */
struct store_port *store_port_new(struct store *s, struct loop *l, struct metric_block *counts);
/** Searches under way come back within the call, empty-handed. NULL is fine. */
void store_port_free(struct store_port *p);

/** True when there is anything below memory to be asked. */
bool store_has_lower(const struct store *s);
/** True when there is any tier at all. */
bool store_keeps(const struct store *s);

/* -- for the store's other parts (invalidation, events), which run on its thread -- */

/** The store thread's loop; NULL where there are no lower tiers. */
struct loop *store_loop(const struct store *s);
size_t store_lower_n(const struct store *s);
struct tier *store_lower(const struct store *s, size_t i);
/** The store thread's own port of it. */
struct tier_port *store_lower_port(const struct store *s, size_t i);

/* -- writing -- */

/** As store_mem_put, and a copy on its way to the lower tiers. -ECANCELED: an invalidation has come since
 * parts->head.started_seq, and means it. Works with memory off, too: then @out is filled in with nothing.
 * Threads: any. */
int store_put(struct store *s, const struct entry_parts *parts, int64_t now_ms, struct entry_ref *out);
/** Drops one entry in all tiers; lower ones soon. Key, namespace, operation and model of @l count. Threads:
 * any. */
void store_delete(struct store *s, const struct label *l);
/** A hit has moved the expiry of @ref by as much as lower tiers should hear of (slid_far): has them written
 * anew, behind. Threads: any. */
void store_extend(struct store *s, const struct entry_ref *ref);
/** Waits until nothing is left to be written, for at most @ms. false: something is. Not on the store thread.
 */
bool store_flush(struct store *s, int64_t ms);

/* -- searching -- */

/* A search below memory; lies with who asks. */
struct store_search {
    void (*on_done)(struct store_search *s); /* on the port's loop, once, never within the call */
    struct label label;                      /* key, namespace, operation, model; borrowed for the call */
    bool look_only;                          /* nothing is promoted */
    /* the answer */
    struct entry_ref found; /* the caller's now; .entry is NULL: absent. Checked; perhaps stale, never gone */
    /* the store's own */
    void *own;
};
/** Asks the lower tiers in order. What is found is put into the tiers above, with what is left of its
 * lifetime, unless what lies there is as new. */
void store_search(struct store_port *p, struct store_search *s);
/** on_done will not come. Harmless on one that has come back, or never began with own = NULL. */
void store_search_cancel(struct store_search *s);

/**
 * Looks for what the lower tiers have, promotes nothing, and waits for it, for at most @ms: for who may wait
 * (an operator's question), on no loop. false: absent, or not known in time; @out holds nothing then.
 */
bool store_ask(struct store *s, const struct label *l, int64_t ms, struct entry_ref *out);

/* -- what is told -- */

struct store_stats {
    uint64_t queue_bytes, queue_entries; /* of the write queue, what is under way included */
    uint64_t dropped;                    /* what should have been written below, and was not */
    uint64_t corrupt;                    /* records that were rubbish, and deleted */
    uint64_t unreadable[RECORD_RESULTS]; /* how often reading a record came to each */
    uint64_t promoted;                   /* into memory */
    uint64_t shrunk_from, shrunk_to;     /* bytes of bodies that were gzip-coded, before and after */
    uint64_t held_back;                  /* by a fence */
};
void store_stats(struct store *s, struct store_stats *out);
/** Counts a body that was gzip-coded for memory: @from bytes before, @to after it. Threads: any. */
void store_note_shrunk(struct store *s, size_t from, size_t to);
