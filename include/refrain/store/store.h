/*
 * store - the tiers in their order, as one: memory, asked within the caller's callback (store_mem.h), and
 * below it disk and Redis, asked by questions that come back. It keeps what a tier need not know: the order,
 * promotion with the remaining lifetime, the check of what is read, the write queue, fences of invalidations,
 * counts. SPEC section 8.
 *
 *   store_get ──► memory                          (any thread; nothing waits)
 *   store_search ──► disk ──► Redis ──► box       (a worker's port; promotes)
 *   store_put ──► memory, and a copy onto the write queue ──► store thread ──► gzip, record, seal ──► disk,
 * Redis
 *
 * Threads: what takes a `struct store` from any; what takes a port on its loop's thread. The store thread has
 * a loop of its own, on which everything is written, promoted, invalidated and listened to.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/store/entry_box.h"
#include "refrain/store/selector.h"
#include "refrain/store/store_mem.h"
#include "refrain/store/tier.h"

struct store;
struct store_port;

enum { STORE_LOWER_MAX = 2 };

struct store_conf {
    struct store_mem *memory;            /* NULL: the tier is off; outlives the store */
    struct tier *lower[STORE_LOWER_MAX]; /* in order; taken, freed by store_free */
    size_t lower_n;
    bool write_behind;       /* lower tiers are written some time later, in batches, the last of a key only */
    int64_t write_behind_ms; /* how much later */
    size_t write_queue_bytes_max; /* past it, what is to be written to lower tiers is dropped, and counted */
    struct metrics *metrics;
};
/** Starts the store thread where there are lower tiers. NULL when out of memory or threads. */
struct store *store_new(const struct store_conf *conf);
/** Ends the store thread; what waits to be written is written first, for at most @flush_ms. Every port is
 * closed. NULL is fine. */
void store_free(struct store *s, int64_t flush_ms);

/** One for each worker. NULL when out of memory. */
struct store_port *store_port_new(struct store *s, struct loop *l);
/** Searches under way come back within the call, empty-handed. NULL is fine. */
void store_port_free(struct store_port *p);

/** True when there is anything below memory to be asked. */
bool store_has_lower(const struct store *s);

/** As store_mem_put, and a copy on its way to the lower tiers. -ECANCELED: an invalidation has come since
 * parts->head.started_seq. Works with memory off, too; then @out must be NULL. Threads: any. */
int store_put(struct store *s, const struct entry_parts *parts, int64_t now_ms, struct entry_ref *out);
/** Drops one entry in all tiers; lower ones soon. Threads: any. */
void store_delete(struct store *s, const struct label *l);
/** A hit has moved the expiry of @ref, which slides, by as much as lower tiers should hear of: has them
 * written anew, behind. Threads: any. */
void store_extend(struct store *s, const struct entry_ref *ref);

/* A search below memory; lies with who asks. */
struct store_search {
    void (*on_done)(struct store_search *s); /* on the port's loop, once, never within the call */
    struct label label;                      /* borrowed until on_done */
    int64_t seq; /* flights_seq when it began: what was invalidated since is not found */
    /* the answer */
    struct entry_box *box; /* the caller's now; NULL: absent. Checked; perhaps stale, never gone */
    enum metric_tier tier; /* which one had it */
    /* the store's own */
    void *own;
};
/** Asks the lower tiers in order. What is found is put into the tiers above, with what is left of its
 * lifetime, unless what lies there is as new. */
void store_search(struct store_port *p, struct store_search *s);
