/*
 * store_mem_table - one shard of the memory tier's table: a node of 64 bytes for each entry, found by hash.
 *
 * Nodes lie densely in chunks: a removed node's place is taken by the last one, so that the table shrinks
 * with what it holds and a sweep reads memory in order. The first few nodes are no entries but the ends of
 * the eviction policy's lists, so a node that moves has only its two neighbours to tell.
 *
 * A bucket is one cache line of slots, each naming a node and, beside some bits of the hash, the place of its
 * record: so a hit waits for memory twice, for the bucket, and then for node and record at once. What does
 * not fit in a bucket hangs from it in a chain of nodes. Buckets come and go one at a time (linear hashing,
 * Litwin 1980), so no insert ever pays for a whole table.
 *
 * Threads: one at a time; whoever calls holds the shard's lock.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "store_mem_log.h"

struct eviction_ops;

enum { NODE_NONE = 0 }; /* always the end of a list, never an entry */

enum { NODE_SLIDING = 1U << 31 }; /* in node.state; the rest of it is the policy's */

struct node {
    uint32_t chain, tag; /* next in its bucket's chain; low half of the hash */
    struct place place;
    uint32_t prev, next; /* the policy's list */
    uint32_t bytes;      /* of the record */
    uint32_t state;
    uint64_t hits;
    int64_t expires_ms, gone_ms; /* the entry's, moved on by sliding */
    int64_t rank;                /* the policy's: what goes first has the lowest, comparable across shards */
} __attribute__((aligned(64)));

enum { BUCKET_SLOTS = 5 };

struct bucket {
    uint64_t where[BUCKET_SLOTS]; /* top bits of the tag, and the place: WHERE_* */
    uint32_t node[BUCKET_SLOTS];  /* used from the front; NODE_NONE behind that */
    uint32_t more;                /* first node of the chain */
} __attribute__((aligned(64)));

enum { WHERE_AT_BITS = LOG_AT_BITS, WHERE_SEG_BITS = LOG_SEG_BITS, WHERE_TAG_BITS = 24 };

enum {
    CHUNK_BYTES = 16 * 1024,
    CHUNK_NODES = CHUNK_BYTES / sizeof(struct node),
    CHUNK_BUCKETS = CHUNK_BYTES / sizeof(struct bucket),
    BUCKETS_MIN = 1 << (32 - WHERE_TAG_BITS), /* the number of a bucket supplies the rest of the tag */
    BUCKET_LOAD = 3, /* nodes a bucket, on average: about one in twenty hangs from a chain then */
    /* What an entry costs beside its record. */
    NODE_BYTES = sizeof(struct node) + sizeof(struct bucket) / BUCKET_LOAD + 1,
};

_Static_assert(sizeof(struct bucket) == 64, "one cache line");
_Static_assert(sizeof(struct node) == 64, "one cache line");

/* An array that grows and shrinks by chunks and never moves what it holds. */
struct chunks {
    void **at;
    uint32_t n, cap;
};

struct shard {
    pthread_mutex_t lock;
    struct chunks nodes, buckets;
    uint32_t nodes_n; /* ends of lists included */
    uint32_t ends_n;  /* of the policy's lists */
    uint32_t buckets_n;
    uint32_t mask; /* lowest 2^k - 1 >= buckets_n - 1 */
    const struct eviction_ops *policy;
    uint32_t hand;        /* sieve */
    int64_t floor;        /* lfu: rank of the last one chosen */
    uint64_t used[4];     /* lfu: which lists hold something */
    int64_t next_gone_ms; /* nothing here is gone before this */
    uint64_t hits, misses, expired;
    _Atomic size_t *table_bytes; /* the tier's; counts chunks */
} __attribute__((aligned(64)));

/** 0 or -ENOMEM; shard_done is right either way. */
int shard_init(struct shard *s, const struct eviction_ops *policy, _Atomic size_t *table_bytes);
void shard_done(struct shard *s);

static inline struct node *shard_node(const struct shard *s, uint32_t i)
{
    return (struct node *)s->nodes.at[i / CHUNK_NODES] + i % CHUNK_NODES;
}

/** The node of @key, compared whole; NODE_NONE when there is none. */
uint32_t shard_find(const struct shard *s, const struct log *l, uint32_t tag, const struct digest *key);
/** The node whose record lies at @place, or NODE_NONE. */
uint32_t shard_find_place(const struct shard *s, uint32_t tag, struct place place);
/** The node's record lies there now. */
void shard_place_set(struct shard *s, uint32_t i, struct place place);
/**
 * A copy of @like (tag, place, bytes, state, times) becomes an entry of the table and of the policy's list.
 * The key must not be there. NODE_NONE when out of memory.
 */
uint32_t shard_insert(struct shard *s, const struct node *like, int64_t now_ms);
/** The node goes, and the last one takes its place: indices behind it are no longer what they were. */
void shard_remove(struct shard *s, uint32_t i);
