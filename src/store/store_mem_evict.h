/*
 * store_mem_evict - which entry of a shard goes first: one table of functions a policy.
 *
 * A policy keeps its order in lists of nodes (node.prev, node.next), whose ends are nodes 0 … lists_n - 1 of
 * the shard, and tells by node.rank how its next victim compares with another shard's: the tier evicts from
 * the shard whose victim ranks lowest, so the limit is one for all shards, and none is starved for being
 * small or hot.
 *
 * Threads: whoever calls holds the shard's lock.
 */
#pragma once
#include <stdint.h>

#include "refrain/store/store_mem.h"

struct shard;

struct eviction_ops {
    uint32_t lists_n;
    void (*on_insert)(struct shard *s, uint32_t i, int64_t now_ms);
    void (*on_hit)(struct shard *s, uint32_t i, int64_t now_ms);
    void (*on_remove)(struct shard *s, uint32_t i);
    uint32_t (*victim)(struct shard *s); /* NODE_NONE when the shard is empty; the caller need not take it */
};

/** The policy's functions; never NULL. */
const struct eviction_ops *eviction_ops_of(enum eviction policy);
