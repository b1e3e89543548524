#include "store_mem_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "store_mem_evict.h"

/* -- chunks -- */

static int chunks_add(struct chunks *c, _Atomic size_t *bytes)
{
    void *chunk, **at;

    if (c->n == c->cap) {
        uint32_t cap = c->cap ? c->cap * 2 : 4;

        at = realloc(c->at, cap * sizeof(*at));
        if (!at)
            return -ENOMEM;
        c->at = at;
        c->cap = cap;
    }
    /* Mapped, not malloc'ed: it is zero, and comes back to the system whatever lies beside it. */
    chunk = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return -ENOMEM;
    c->at[c->n++] = chunk;
    atomic_fetch_add_explicit(bytes, CHUNK_BYTES, memory_order_relaxed);
    return 0;
}

static void chunks_drop_last(struct chunks *c, _Atomic size_t *bytes)
{
    (void)munmap(c->at[--c->n], CHUNK_BYTES);
    atomic_fetch_sub_explicit(bytes, CHUNK_BYTES, memory_order_relaxed);
}

/* Half a chunk of slack keeps an entry that comes and goes from mapping and unmapping each time. */
static void chunks_trim(struct chunks *c, uint32_t used, uint32_t chunk_items, _Atomic size_t *bytes)
{
    while (c->n > 1 && used + chunk_items / 2 <= (c->n - 1) * chunk_items)
        chunks_drop_last(c, bytes);
}

static void chunks_done(struct chunks *c, _Atomic size_t *bytes)
{
    while (c->n > 0)
        chunks_drop_last(c, bytes);
    free(c->at);
    c->at = NULL;
    c->cap = 0;
}

/* -- start and end -- */

int shard_init(struct shard *s, const struct eviction_ops *policy, _Atomic size_t *table_bytes)
{
    memset(s, 0, sizeof(*s));
    (void)pthread_mutex_init(&s->lock, NULL);
    s->table_bytes = table_bytes;
    s->policy = policy;
    s->next_gone_ms = INT64_MAX;
    if (chunks_add(&s->nodes, table_bytes) < 0 || chunks_add(&s->buckets, table_bytes) < 0)
        return -ENOMEM;
    s->buckets_n = BUCKETS_MIN;
    s->mask = BUCKETS_MIN - 1;
    s->ends_n = s->nodes_n = policy->lists_n;
    while (s->nodes.n * CHUNK_NODES < s->ends_n)
        if (chunks_add(&s->nodes, table_bytes) < 0)
            return -ENOMEM;
    for (uint32_t i = 0; i < s->ends_n; i++)
        shard_node(s, i)->prev = shard_node(s, i)->next = i;
    return 0;
}

void shard_done(struct shard *s)
{
    if (!s->table_bytes)
        return;
    chunks_done(&s->nodes, s->table_bytes);
    chunks_done(&s->buckets, s->table_bytes);
    (void)pthread_mutex_destroy(&s->lock);
}

/* -- buckets -- */

static uint32_t *bucket_at(const struct shard *s, uint32_t b)
{
    return (uint32_t *)s->buckets.at[b / CHUNK_BUCKETS] + b % CHUNK_BUCKETS;
}

/* The bucket that the last one was, or will be, split from: the same number without its top bit. */
static uint32_t split_source(uint32_t b)
{
    return b & ~(1U << (31 - __builtin_clz(b)));
}

static void buckets_set(struct shard *s, uint32_t n)
{
    s->buckets_n = n;
    s->mask = (2U << (31 - __builtin_clz(n - 1))) - 1;
}

/* Without memory for another bucket chains grow longer, and that is all. */
static void bucket_split(struct shard *s)
{
    uint32_t b = s->buckets_n, i, next;
    uint32_t *from, *to;

    if (b == s->buckets.n * CHUNK_BUCKETS && chunks_add(&s->buckets, s->table_bytes) < 0)
        return;
    from = bucket_at(s, split_source(b));
    to = bucket_at(s, b);
    buckets_set(s, b + 1);
    i = *from;
    *from = *to = NODE_NONE;
    for (; i != NODE_NONE; i = next) {
        struct node *n = shard_node(s, i);
        uint32_t *head = (n->tag & s->mask) == b ? to : from;

        next = n->chain;
        n->chain = *head;
        *head = i;
    }
}

static void bucket_merge(struct shard *s)
{
    uint32_t b = s->buckets_n - 1;
    uint32_t *from = bucket_at(s, b), *to = bucket_at(s, split_source(b));

    while (*to != NODE_NONE)
        to = &shard_node(s, *to)->chain;
    *to = *from;
    *from = NODE_NONE;
    buckets_set(s, b);
    chunks_trim(&s->buckets, s->buckets_n, CHUNK_BUCKETS, s->table_bytes);
}

static void buckets_grow(struct shard *s)
{
    uint32_t entries = s->nodes_n - s->ends_n;

    for (int i = 0; i < BUCKETS_A_NODE + 1 && s->buckets_n < entries * BUCKETS_A_NODE; i++)
        bucket_split(s);
}

/* Lags behind growth by half, for the same reason as chunks_trim. */
static void buckets_shrink(struct shard *s)
{
    uint32_t entries = s->nodes_n - s->ends_n;

    for (int i = 0; i < 2 * BUCKETS_A_NODE; i++)
        if (s->buckets_n > BUCKETS_MIN && s->buckets_n > entries * 2 * BUCKETS_A_NODE)
            bucket_merge(s);
}

/* The link, in the bucket or in a node of its chain, that leads to node @i. */
static uint32_t *link_to(const struct shard *s, uint32_t i)
{
    uint32_t *link = shard_bucket(s, shard_node(s, i)->tag);

    while (*link != i) {
        assert(*link != NODE_NONE);
        link = &shard_node(s, *link)->chain;
    }
    return link;
}

/* -- finding -- */

uint32_t shard_find(const struct shard *s, const struct log *l, uint32_t tag, const struct digest *key)
{
    uint32_t i = *shard_bucket(s, tag);

    while (i != NODE_NONE) {
        const struct node *n = shard_node(s, i);

        if (n->tag == tag && digest_eq(&log_entry(l, n->place)->key, key))
            return i;
        i = n->chain;
    }
    return NODE_NONE;
}

uint32_t shard_find_place(const struct shard *s, uint32_t tag, struct place place)
{
    uint32_t i = *shard_bucket(s, tag);

    while (i != NODE_NONE) {
        const struct node *n = shard_node(s, i);

        if (n->place.seg == place.seg && n->place.at == place.at)
            return i;
        i = n->chain;
    }
    return NODE_NONE;
}

/* -- coming and going -- */

uint32_t shard_insert(struct shard *s, const struct node *like, int64_t now_ms)
{
    uint32_t i = s->nodes_n, *bucket;
    struct node *n;

    if (i == UINT32_MAX / (2 * BUCKETS_A_NODE)) /* indices and bucket numbers are 32 bits */
        return NODE_NONE;
    if (i == s->nodes.n * CHUNK_NODES && chunks_add(&s->nodes, s->table_bytes) < 0)
        return NODE_NONE;
    s->nodes_n++;
    buckets_grow(s);
    n = shard_node(s, i);
    *n = *like;
    bucket = shard_bucket(s, n->tag);
    n->chain = *bucket;
    *bucket = i;
    s->policy->on_insert(s, i, now_ms);
    if (n->gone_ms < s->next_gone_ms)
        s->next_gone_ms = n->gone_ms;
    return i;
}

static void node_move(struct shard *s, uint32_t from, uint32_t to)
{
    struct node *n = shard_node(s, to);

    *link_to(s, from) = to;
    *n = *shard_node(s, from);
    shard_node(s, n->prev)->next = to;
    shard_node(s, n->next)->prev = to;
    if (s->hand == from)
        s->hand = to;
}

void shard_remove(struct shard *s, uint32_t i)
{
    struct node *n = shard_node(s, i);
    uint32_t last = s->nodes_n - 1;

    assert(i >= s->ends_n && i <= last);
    *link_to(s, i) = n->chain;
    s->policy->on_remove(s, i);
    if (i != last)
        node_move(s, last, i);
    s->nodes_n--;
    chunks_trim(&s->nodes, s->nodes_n, CHUNK_NODES, s->table_bytes);
    buckets_shrink(s);
}
