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

/* -- slots: what a bucket says of a node -- */

static uint64_t where_of(uint32_t tag, struct place p)
{
    return (uint64_t)(tag >> (32 - WHERE_TAG_BITS)) << (WHERE_SEG_BITS + WHERE_AT_BITS) |
           (uint64_t)p.seg << WHERE_AT_BITS | p.at;
}

/* The tag, but for the bits that the number of any bucket holds. */
static uint32_t where_tag(uint64_t where)
{
    return (uint32_t)(where >> (WHERE_SEG_BITS + WHERE_AT_BITS)) << (32 - WHERE_TAG_BITS);
}

static struct place where_place(uint64_t where)
{
    return (struct place){(uint32_t)(where >> WHERE_AT_BITS) & ((1U << WHERE_SEG_BITS) - 1),
                          (uint32_t)where & ((1U << WHERE_AT_BITS) - 1)};
}

/* -- one bucket -- */

static void bucket_put(struct shard *s, struct bucket *b, uint64_t where, uint32_t i)
{
    for (int k = 0; k < BUCKET_SLOTS; k++) {
        if (b->node[k] != NODE_NONE)
            continue;
        b->where[k] = where;
        b->node[k] = i;
        return;
    }
    shard_node(s, i)->chain = b->more;
    b->more = i;
}

/* The slot of node @i, or BUCKET_SLOTS when it is in the chain. */
static int bucket_slot(const struct bucket *b, uint32_t i)
{
    int k = 0;

    while (k < BUCKET_SLOTS && b->node[k] != i)
        k++;
    return k;
}

/* What in the chain leads to node @i, which is in it. */
static uint32_t *chain_link(const struct shard *s, struct bucket *b, uint32_t i)
{
    uint32_t *link = &b->more;

    while (*link != i) {
        assert(*link != NODE_NONE);
        link = &shard_node(s, *link)->chain;
    }
    return link;
}

/* The last slot moves into the one that comes free, and the first of the chain into the last. */
static void slot_free(struct shard *s, struct bucket *b, int k)
{
    int last = BUCKET_SLOTS - 1;
    uint32_t first = b->more;

    while (b->node[last] == NODE_NONE)
        last--;
    b->where[k] = b->where[last];
    b->node[k] = b->node[last];
    b->node[last] = NODE_NONE;
    if (first == NODE_NONE)
        return;
    b->more = shard_node(s, first)->chain;
    b->where[last] = where_of(shard_node(s, first)->tag, shard_node(s, first)->place);
    b->node[last] = first;
}

static void bucket_take(struct shard *s, struct bucket *b, uint32_t i)
{
    int k = bucket_slot(b, i);

    if (k < BUCKET_SLOTS)
        slot_free(s, b, k);
    else
        *chain_link(s, b, i) = shard_node(s, i)->chain;
}

static void bucket_renumber(struct shard *s, struct bucket *b, uint32_t from, uint32_t to)
{
    int k = bucket_slot(b, from);

    *(k < BUCKET_SLOTS ? &b->node[k] : chain_link(s, b, from)) = to;
}

/* -- all buckets -- */

static struct bucket *bucket_at(const struct shard *s, uint32_t b)
{
    return (struct bucket *)s->buckets.at[b / CHUNK_BUCKETS] + b % CHUNK_BUCKETS;
}

static struct bucket *bucket_of(const struct shard *s, uint32_t tag)
{
    uint32_t b = tag & s->mask;

    return bucket_at(s, b < s->buckets_n ? b : b & s->mask >> 1); /* or the one it is yet to be split from */
}

static uint32_t top_bit(uint32_t b)
{
    return 1U << (31 - __builtin_clz(b));
}

static void buckets_set(struct shard *s, uint32_t n)
{
    s->buckets_n = n;
    s->mask = 2 * top_bit(n - 1) - 1;
}

/* What was in @from goes to @high where its tag has @bit, else to @low. */
static void bucket_deal(struct shard *s, const struct bucket *from, uint32_t bit, struct bucket *low,
                        struct bucket *high)
{
    uint32_t next;

    for (int k = 0; k < BUCKET_SLOTS && from->node[k] != NODE_NONE; k++)
        bucket_put(s, where_tag(from->where[k]) & bit ? high : low, from->where[k], from->node[k]);
    for (uint32_t i = from->more; i != NODE_NONE; i = next) {
        const struct node *n = shard_node(s, i);

        next = n->chain;
        bucket_put(s, n->tag & bit ? high : low, where_of(n->tag, n->place), i);
    }
}

/* Without memory for another bucket chains grow longer, and that is all. */
static void bucket_split(struct shard *s)
{
    uint32_t b = s->buckets_n, bit = top_bit(b);
    struct bucket *low, was;

    if (b == s->buckets.n * CHUNK_BUCKETS && chunks_add(&s->buckets, s->table_bytes) < 0)
        return;
    low = bucket_at(s, b & ~bit);
    was = *low;
    *low = (struct bucket){0};
    buckets_set(s, b + 1);
    bucket_deal(s, &was, bit, low, bucket_at(s, b));
}

static void bucket_merge(struct shard *s)
{
    uint32_t b = s->buckets_n - 1;
    struct bucket *low = bucket_at(s, b & ~top_bit(b)), was = *bucket_at(s, b);

    *bucket_at(s, b) = (struct bucket){0}; /* as it is expected when it comes again */
    buckets_set(s, b);
    bucket_deal(s, &was, 0, low, low);
    chunks_trim(&s->buckets, s->buckets_n, CHUNK_BUCKETS, s->table_bytes);
}

static uint32_t buckets_wanted(const struct shard *s)
{
    return (s->nodes_n - s->ends_n) / BUCKET_LOAD;
}

static void buckets_grow(struct shard *s)
{
    if (s->buckets_n < buckets_wanted(s))
        bucket_split(s);
}

/* Lags behind growth by half, for the same reason as chunks_trim. */
static void buckets_shrink(struct shard *s)
{
    for (int i = 0; i < 2; i++)
        if (s->buckets_n > BUCKETS_MIN && s->buckets_n / 2 > buckets_wanted(s))
            bucket_merge(s);
}

/* -- finding -- */

/* What a hit reads next is on its way while the key is compared: the node, the rest of the entry's head, its
 * texts. */
static void prefetch_hit(const struct node *n, const struct entry *e)
{
    __builtin_prefetch(n, 1);
    for (size_t line = 64; line < sizeof(*e) + 128; line += 64)
        __builtin_prefetch((const char *)e + line);
}

static bool lies_at(const struct log *l, struct place place, const struct digest *key)
{
    return digest_eq(&log_entry(l, place)->key, key);
}

static uint32_t chain_find(const struct shard *s, const struct log *l, uint32_t i, uint32_t tag,
                           const struct digest *key)
{
    for (; i != NODE_NONE; i = shard_node(s, i)->chain)
        if (shard_node(s, i)->tag == tag && lies_at(l, shard_node(s, i)->place, key))
            break;
    return i;
}

uint32_t shard_find(const struct shard *s, const struct log *l, uint32_t tag, const struct digest *key)
{
    const struct bucket *b = bucket_of(s, tag);

    for (int k = 0; k < BUCKET_SLOTS && b->node[k] != NODE_NONE; k++) {
        if ((where_tag(b->where[k]) ^ tag) >> (32 - WHERE_TAG_BITS) != 0)
            continue;
        prefetch_hit(shard_node(s, b->node[k]), log_entry(l, where_place(b->where[k])));
        if (lies_at(l, where_place(b->where[k]), key))
            return b->node[k];
    }
    return chain_find(s, l, b->more, tag, key);
}

uint32_t shard_find_place(const struct shard *s, uint32_t tag, struct place place)
{
    const struct bucket *b = bucket_of(s, tag);
    uint64_t where = where_of(tag, place);
    uint32_t i;

    for (int k = 0; k < BUCKET_SLOTS; k++)
        if (b->where[k] == where && b->node[k] != NODE_NONE)
            return b->node[k];
    for (i = b->more; i != NODE_NONE; i = shard_node(s, i)->chain)
        if (where_of(tag, shard_node(s, i)->place) == where)
            break;
    return i;
}

/* -- coming and going -- */

uint32_t shard_insert(struct shard *s, const struct node *like, int64_t now_ms)
{
    uint32_t i = s->nodes_n;
    struct node *n;

    if (i == UINT32_MAX) /* indices are 32 bits */
        return NODE_NONE;
    if (i == s->nodes.n * CHUNK_NODES && chunks_add(&s->nodes, s->table_bytes) < 0)
        return NODE_NONE;
    s->nodes_n++;
    buckets_grow(s);
    n = shard_node(s, i);
    *n = *like;
    bucket_put(s, bucket_of(s, n->tag), where_of(n->tag, n->place), i);
    s->policy->on_insert(s, i, now_ms);
    if (n->gone_ms < s->next_gone_ms)
        s->next_gone_ms = n->gone_ms;
    return i;
}

void shard_place_set(struct shard *s, uint32_t i, struct place place)
{
    struct node *n = shard_node(s, i);
    struct bucket *b = bucket_of(s, n->tag);
    int k = bucket_slot(b, i);

    n->place = place;
    if (k < BUCKET_SLOTS)
        b->where[k] = where_of(n->tag, place);
}

static void node_move(struct shard *s, uint32_t from, uint32_t to)
{
    struct node *n = shard_node(s, to);

    bucket_renumber(s, bucket_of(s, shard_node(s, from)->tag), from, to);
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
    bucket_take(s, bucket_of(s, n->tag), i);
    s->policy->on_remove(s, i);
    if (i != last)
        node_move(s, last, i);
    s->nodes_n--;
    chunks_trim(&s->nodes, s->nodes_n, CHUNK_NODES, s->table_bytes);
    buckets_shrink(s);
}
