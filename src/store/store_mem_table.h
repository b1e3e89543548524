/*
 * store_mem_table - one shard of the memory tier's table: a node of 64 bytes for each entry, found by hash.
 *
 * Nodes lie densely in chunks: a removed node's place is taken by the last one, so that the table shrinks
 * with what it holds and a sweep reads memory in order. The first few nodes are no entries but the ends of
 * the eviction policy's lists, so a node that moves has only its two neighbours to tell. Buckets grow and
 * shrink one at a time (linear hashing, Litwin 1980), so no insert ever pays for a whole table.
 *
 * A hit touches a bucket, a node, and the entry's head: each cache line names the next.
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
    uint32_t chain, tag; /* next of its bucket; low half of the hash */
    struct place place;
    uint32_t prev, next; /* the policy's list */
    uint32_t bytes;      /* of the record */
    uint32_t state;
    uint64_t hits;
    int64_t expires_ms, gone_ms; /* the entry's, moved on by sliding */
    int64_t rank;                /* the policy's: what goes first has the lowest, comparable across shards */
} __attribute__((aligned(64)));

enum {
    CHUNK_BYTES = 16 * 1024,
    CHUNK_NODES = CHUNK_BYTES / sizeof(struct node),
    CHUNK_BUCKETS = CHUNK_BYTES / sizeof(uint32_t),
    BUCKETS_MIN = 256,
    BUCKETS_A_NODE = 2, /* so that a chain rarely has a second node */
    NODE_BYTES =
        sizeof(struct node) + BUCKETS_A_NODE * sizeof(uint32_t), /* what an entry costs beside its record */
};

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

static inline uint32_t *shard_bucket(const struct shard *s, uint32_t tag)
{
    uint32_t b = tag & s->mask;

    if (b >= s->buckets_n)
        b &= s->mask >> 1; /* not split yet */
    return (uint32_t *)s->buckets.at[b / CHUNK_BUCKETS] + b % CHUNK_BUCKETS;
}

/** The node of @key, compared whole; NODE_NONE when there is none. */
uint32_t shard_find(const struct shard *s, const struct log *l, uint32_t tag, const struct digest *key);
/** The node whose record lies at @place, or NODE_NONE. */
uint32_t shard_find_place(const struct shard *s, uint32_t tag, struct place place);
/**
 * A copy of @like (tag, place, bytes, state, times) becomes an entry of the table and of the policy's list.
 * The key must not be there. NODE_NONE when out of memory.
 */
uint32_t shard_insert(struct shard *s, const struct node *like, int64_t now_ms);
/** The node goes, and the last one takes its place: indices behind it are no longer what they were. */
void shard_remove(struct shard *s, uint32_t i);
