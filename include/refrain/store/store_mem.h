/*
 * store_mem - the memory tier: a sharded table of entries whose bytes are served where they lie.
 *
 * Bytes live in log-structured segments (as in Segcache, Yang et al., NSDI 2021): entries are appended, the
 * sparsest segments are compacted, and a whole segment is given back to the system, so resident memory stays
 * near the limit whatever the mix of sizes. A reader pins the segment its entry lies in; a pinned segment is
 * never reused or unmapped.
 *
 * Threads: every function, from any thread. Locks: one a shard, held for the table work alone, never across
 * I/O, a callback or a copy of a body.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/store/entry.h"
#include "refrain/store/entry_ref.h"

enum eviction { EVICT_LRU, EVICT_LFU, EVICT_FIFO, EVICT_SIEVE };

struct store_mem_conf {
    size_t bytes_max;     /* of everything the tier holds: segments, table, bookkeeping */
    uint64_t entries_max; /* 0: no bound but bytes */
    enum eviction eviction;
};

struct events; /* events.h */
struct store_mem;
/** NULL when out of memory. */
struct store_mem *store_mem_new(const struct store_mem_conf *conf);
/** What has to go is an event from here on (EVICTED). Before anything is put. */
void store_mem_tell(struct store_mem *m, struct events *events);
/** No reference may be held any more. NULL is fine. */
void store_mem_free(struct store_mem *m);

/**
 * Finds an entry that is not gone at @now_ms (wall clock) and holds it in @out. Counts a hit and, when the
 * entry is fresh and sliding, moves its expiry. Allocates nothing, copies nothing, takes one lock.
 *
 * false: absent or gone; @out untouched. What is gone is dropped here, so expiry is never late.
 */
bool store_mem_get(struct store_mem *m, const struct digest *key, int64_t now_ms, struct entry_ref *out);
/** As get, without counting a hit or moving anything. */
bool store_mem_peek(struct store_mem *m, const struct digest *key, int64_t now_ms, struct entry_ref *out);
/** Lets go of what get or peek has held; entry_ref_release does, too, wherever it lies. */
void store_mem_release(struct entry_ref *ref);

/**
 * Packs @parts straight into the tier under parts->head.key, replacing what was there, unless that was
 * started later (started_seq), and evicting what must go. When @out is not NULL it is held for reading.
 * Errors: -EMSGSIZE larger than half of the limit; -EEXIST a later-started one is there; -ENOMEM, also when
 * readers hold so much that no room can be made.
 *
 * The bytes are copied outside every lock, but copying megabytes, and evicting as many, takes its time: large
 * answers are best put from the thread pool.
 */
int store_mem_put(struct store_mem *m, const struct entry_parts *parts, int64_t now_ms,
                  struct entry_ref *out);

/**
 * Puts a copy of @e, a whole entry from a lower tier, as store_mem_put does; -EEXIST also when what is there
 * is as new.
 */
int store_mem_promote(struct store_mem *m, const struct entry *e, int64_t now_ms);
/**
 * Puts @e in the place of itself otherwise coded (shrink.h); hits and what sliding has moved stay. Errors: as
 * store_mem_put; -EEXIST also when it is not there any more.
 */
int store_mem_recode(struct store_mem *m, const struct entry *e, int64_t now_ms);

/** Drops one entry; false when there is none. Readers keep what they hold. */
bool store_mem_delete(struct store_mem *m, const struct digest *key);
/** Drops every entry for which @match says so; returns how many. @match is called under the shard's lock and
 * must not call back into the tier. NULL matches all. */
uint64_t store_mem_delete_if(struct store_mem *m, bool (*match)(void *arg, const struct entry *e), void *arg);

/* Where a walk over all entries is. Begin with all zero. */
struct store_mem_walk {
    uint32_t shard;
    uint32_t left; /* nodes of it still to be seen, and one more; 0: all of them */
};
/** What a walk sees. Valid for the call. */
struct store_mem_seen {
    const struct entry *entry;
    int64_t expires_ms, gone_ms; /* the entry's, moved on by sliding */
    uint64_t hits;
};
/**
 * One step of a walk, over a few dozen entries: @see is called for each under its shard's lock, and must not
 * call back into the tier. What is there from the first step to the last is seen once; what comes or goes
 * meanwhile perhaps. false: that was the last step.
 */
bool store_mem_walk(struct store_mem *m, struct store_mem_walk *w,
                    void (*see)(void *arg, const struct store_mem_seen *seen), void *arg);

/** One small step of background work: sweeps expired entries and compacts, for about @budget_us. True: more
 * is due. */
bool store_mem_sweep(struct store_mem *m, int64_t now_ms, int64_t budget_us);

struct store_mem_stats {
    uint64_t entries;
    /* What the limit is held against: live entries, their bookkeeping and the table; and segments that only
     * readers keep, which alone can take it past the limit, when readers hold nearly everything. */
    uint64_t bytes;
    /* Of segments, live or not; with the table at most 1.075 * bytes_max, or 256 KiB more than bytes_max. */
    uint64_t bytes_mapped;
    uint64_t bytes_max;
    uint64_t hits, misses, puts;
    uint64_t evicted_space, evicted_count, expired, replaced, compactions;
};
void store_mem_stats(struct store_mem *m, struct store_mem_stats *out);
