#include "store_mem_evict.h"

#include "refrain/base/attr.h"
#include "store_mem_table.h"

/* -- lists of nodes: the end's next is what came first, its prev what came last -- */

static void list_append(struct shard *s, uint32_t end, uint32_t i)
{
    struct node *n = shard_node(s, i), *e = shard_node(s, end);

    n->prev = e->prev;
    n->next = end;
    shard_node(s, e->prev)->next = i;
    e->prev = i;
}

static void list_take_out(struct shard *s, uint32_t i)
{
    struct node *n = shard_node(s, i);

    shard_node(s, n->prev)->next = n->next;
    shard_node(s, n->next)->prev = n->prev;
}

/* -- fifo: in the order they came -- */

static void fifo_on_insert(struct shard *s, uint32_t i, int64_t now_ms)
{
    shard_node(s, i)->rank = now_ms;
    list_append(s, 0, i);
}

static void fifo_on_hit(struct shard *s, uint32_t i, int64_t now_ms)
{
    (void)s, (void)i, (void)now_ms;
}

static uint32_t fifo_victim(struct shard *s)
{
    return shard_node(s, 0)->next;
}

static const struct eviction_ops fifo = {1, fifo_on_insert, fifo_on_hit, list_take_out, fifo_victim};

/* -- lru: the one not asked for the longest -- */

static void lru_on_hit(struct shard *s, uint32_t i, int64_t now_ms)
{
    struct node *n = shard_node(s, i);

    n->rank = now_ms;
    if (n->next == 0) /* the latest already */
        return;
    list_take_out(s, i);
    list_append(s, 0, i);
}

static const struct eviction_ops lru = {1, fifo_on_insert, lru_on_hit, list_take_out, fifo_victim};

/*
 * -- sieve: Zhang et al., NSDI 2024 --
 * First in, first out, but the hand that walks from the oldest towards the newest spares, once, whatever was
 * asked for since it last came by. A hit only sets a bit.
 */

enum {
    SIEVE_VISITED = 1,
    SIEVE_STEPS =
        512 /* the paper has no bound; past it the hand takes what it points at, for a put must not stall */
};

static void sieve_on_insert(struct shard *s, uint32_t i, int64_t now_ms)
{
    shard_node(s, i)->state &= ~(uint32_t)SIEVE_VISITED;
    fifo_on_insert(s, i, now_ms);
}

static void sieve_on_hit(struct shard *s, uint32_t i, int64_t now_ms)
{
    (void)now_ms;
    shard_node(s, i)->state |= SIEVE_VISITED;
}

static void sieve_on_remove(struct shard *s, uint32_t i)
{
    if (s->hand == i)
        s->hand = shard_node(s, i)->next; /* the end, when it was the newest: then it starts over */
    list_take_out(s, i);
}

static uint32_t sieve_victim(struct shard *s)
{
    for (int step = 0;; step++) {
        struct node *n;

        if (s->hand == 0)
            s->hand = shard_node(s, 0)->next;
        n = shard_node(s, s->hand);
        if (s->hand == 0 || !(n->state & SIEVE_VISITED) || step == SIEVE_STEPS)
            return s->hand;
        n->state &= ~(uint32_t)SIEVE_VISITED;
        s->hand = n->next;
    }
}

static const struct eviction_ops sieve = {1, sieve_on_insert, sieve_on_hit, sieve_on_remove, sieve_victim};

/*
 * -- lfu: least frequently used, with dynamic ageing (LFU-DA: Arlitt et al., 1999) --
 * An entry ranks at its hits plus the rank of the shard's last victim when it was last asked for. So what was
 * popular once sinks below what is asked for now, without anything being halved. Hits count up to 255; then
 * every rank lies within 255 of the last victim's, so 256 lists used as a ring hold all of them, each in
 * order of the last hit.
 */

enum { LFU_LISTS = 256, LFU_HITS_MAX = 255 };

static void lfu_append(struct shard *s, uint32_t i)
{
    struct node *n = shard_node(s, i);
    uint32_t end;

    n->rank = s->floor + (n->state & LFU_HITS_MAX);
    end = (uint32_t)n->rank % LFU_LISTS;
    list_append(s, end, i);
    s->used[end / 64] |= UINT64_C(1) << end % 64;
}

static void lfu_on_remove(struct shard *s, uint32_t i)
{
    uint32_t end = (uint32_t)shard_node(s, i)->rank % LFU_LISTS;

    list_take_out(s, i);
    if (shard_node(s, end)->next == end)
        s->used[end / 64] &= ~(UINT64_C(1) << end % 64);
}

static void lfu_on_insert(struct shard *s, uint32_t i, int64_t now_ms)
{
    struct node *n = shard_node(s, i);

    (void)now_ms;
    n->state = (n->state & ~(uint32_t)LFU_HITS_MAX) | 1;
    lfu_append(s, i);
}

static void lfu_on_hit(struct shard *s, uint32_t i, int64_t now_ms)
{
    struct node *n = shard_node(s, i);

    (void)now_ms;
    lfu_on_remove(s, i);
    if ((n->state & LFU_HITS_MAX) < LFU_HITS_MAX)
        n->state++;
    lfu_append(s, i);
}

/* The list at or after @from in the ring that holds something; LFU_LISTS when none does. */
static uint32_t lfu_first_used(const struct shard *s, uint32_t from)
{
    uint64_t word = s->used[from / 64] >> from % 64 << from % 64;

    for (uint32_t i = from / 64, seen = 0; seen <= 4; seen++) {
        if (word)
            return i * 64 + (uint32_t)__builtin_ctzll(word);
        i = (i + 1) % 4;
        word = s->used[i];
    }
    return LFU_LISTS;
}

static uint32_t lfu_victim(struct shard *s)
{
    uint32_t end = lfu_first_used(s, (uint32_t)s->floor % LFU_LISTS), i;

    if (end == LFU_LISTS)
        return NODE_NONE;
    i = shard_node(s, end)->next;
    s->floor = shard_node(s, i)->rank;
    return i;
}

static const struct eviction_ops lfu = {LFU_LISTS, lfu_on_insert, lfu_on_hit, lfu_on_remove, lfu_victim};

const struct eviction_ops *eviction_ops_of(enum eviction policy)
{
    static const struct eviction_ops *const all[] = {
        [EVICT_LRU] = &lru, [EVICT_LFU] = &lfu, [EVICT_FIFO] = &fifo, [EVICT_SIEVE] = &sieve};

    return all[policy];
}
