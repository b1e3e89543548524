/*
 * store_mem_priv - what the files of the memory tier share.
 *
 * Lock order: compaction's, then one shard's or the log's, never two of these at once. `used` and `entries`
 * are taken before anything is put, so neither exceeds its limit; only an entry about to be replaced is
 * counted beside the one that replaces it.
 */
#pragma once
#include "refrain/base/metrics.h"
#include "refrain/store/store_mem.h"

#include "store_mem_evict.h"
#include "store_mem_log.h"
#include "store_mem_table.h"

enum { SHARDS_MAX = 64 };

struct store_mem {
    struct store_mem_conf conf;
    struct events *events; /* NULL: nobody can listen */
    const struct eviction_ops *policy;
    struct log log;
    struct shard *shards;
    uint32_t shards_n; /* a power of two */
    uint64_t seeds[4]; /* secret, so that nobody can aim at one bucket */
    uint64_t base_bytes, record_max;

    /* A shard's rank is that of its next victim, or lower; INT64_MAX when it holds nothing. Written under its
     * lock. */
    _Atomic int64_t ranks[SHARDS_MAX];
    _Atomic uint32_t turn; /* which shard goes first among equals */

    _Atomic uint64_t used, entries;
    _Atomic uint64_t puts, evicted_space, evicted_count, replaced, compactions;

    pthread_mutex_t compact_lock;
    uint32_t compact_seg; /* being emptied, or LOG_NONE */
    size_t compact_at;

    pthread_mutex_t sweep_lock;
    uint32_t sweep_shard, sweep_node; /* where the sweep has got to */
};

struct hashed { /* a key, as the table sees it */
    struct shard *shard;
    uint32_t tag;
};
struct hashed store_mem_hash(const struct store_mem *m, const struct digest *key);

static inline void shard_lock(struct shard *s)
{
    (void)pthread_mutex_lock(&s->lock);
}

static inline void shard_unlock(struct shard *s)
{
    (void)pthread_mutex_unlock(&s->lock);
}

static inline void count(_Atomic uint64_t *n)
{
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/** The entry of node @i is no more. Under the shard's lock. */
void store_mem_drop(struct store_mem *m, struct shard *s, uint32_t i);
/** Says so of one that nobody asked to be dropped; before it is. Under the shard's lock. */
void store_mem_tell_evicted(const struct store_mem *m, const struct node *n, enum metric_eviction why);

/* -- room -- */

/** Evicts one entry, wherever the policy finds the least worth keeping. false when there is none. */
bool store_mem_evict(struct store_mem *m, _Atomic uint64_t *counter);

/** An entry was put into @s that ranks so. Under the shard's lock. */
void store_mem_rank_lower(struct store_mem *m, const struct shard *s, int64_t rank);

/**
 * Counts one entry and its bytes in, evicting what must go. @lent: bytes of the entry that this one will
 * replace. Errors: -ENOMEM when readers hold too much.
 */
int store_mem_take(struct store_mem *m, uint64_t bytes, uint64_t lent);
/** Undoes store_mem_take. */
void store_mem_give_back(struct store_mem *m, uint64_t bytes);

/** A place in the log for new bytes, after making room for it. Errors: as store_mem_take. */
int store_mem_take_room(struct store_mem *m, size_t bytes, struct place *out);
/** After a put of @bytes: a little compaction, when room is short. */
void store_mem_keep_room(struct store_mem *m, size_t bytes);
/** Brings back under the limits what may have gone past them: segments that died pinned count whole. */
void store_mem_settle(struct store_mem *m);

/* -- compaction -- */

/**
 * Moves on with emptying sparse segments, those with @dead_min dead bytes or more, for about @budget bytes
 * looked at. What is live is moved, or dropped unless @keep. false when there was nothing to do.
 */
bool store_mem_compact(struct store_mem *m, size_t dead_min, size_t budget, bool keep);
