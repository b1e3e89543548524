/*
 * What must go so that something may come: eviction across shards, the budget that live entries keep to, and
 * the room in segments that the log keeps to.
 */
#include <errno.h>

#include "store_mem_priv.h"

enum {
    ROOM_PART = 40,          /* room under this part of what may be mapped is short */
    COMPACT_MAX = 384 << 10, /* bytes looked at in compaction by one put, at most */
    EVICT_LOOKS = 4,         /* shards looked into for the lowest rank, before the one at hand will do */
    DEAD_PART = 8,           /* a segment is worth compacting when an eighth of it is dead */
    ROOM_TRIES = 4096,       /* steps taken to make room for one put before it gives up */
    ROOM_TRIES_KIND = 8,     /* of these, compact by moving; then by dropping, which is faster */
    COMPACT_FACTOR = 12,     /* bytes looked at in compaction for each byte put, while room is short */
};

/* -- ranks and eviction -- */

static _Atomic int64_t *rank_of(struct store_mem *m, const struct shard *s)
{
    return &m->ranks[s - m->shards];
}

void store_mem_rank_lower(struct store_mem *m, const struct shard *s, int64_t rank)
{
    if (rank < atomic_load_explicit(rank_of(m, s), memory_order_relaxed))
        atomic_store_explicit(rank_of(m, s), rank, memory_order_relaxed);
}

/* The shard said to rank lowest, and in @out_second what the next one ranks; NULL when all are empty. */
static struct shard *lowest_shard(struct store_mem *m, int64_t *out_second)
{
    uint32_t turn = atomic_fetch_add_explicit(&m->turn, 1, memory_order_relaxed);
    struct shard *lowest = NULL;
    int64_t first = INT64_MAX, second = INT64_MAX;

    for (uint32_t i = 0; i < m->shards_n; i++) {
        uint32_t at = (turn + i) & (m->shards_n - 1);
        int64_t rank = atomic_load_explicit(&m->ranks[at], memory_order_relaxed);

        if (rank < first) {
            second = first;
            first = rank;
            lowest = &m->shards[at];
        } else if (rank < second) {
            second = rank;
        }
    }
    *out_second = second;
    return lowest;
}

/* Takes the shard's victim when it ranks no higher than @rank_max; its rank is known exactly after that. */
static bool shard_evict(struct store_mem *m, struct shard *s, int64_t rank_max, enum metric_eviction why)
{
    uint32_t i;
    int64_t rank;
    bool taken = false;

    shard_lock(s);
    i = s->policy->victim(s);
    rank = i == NODE_NONE ? INT64_MAX : shard_node(s, i)->rank;
    if (i != NODE_NONE && rank <= rank_max) {
        store_mem_tell_evicted(m, shard_node(s, i), why);
        store_mem_drop(m, s, i);
        taken = true; /* its successor's rank is found when it is next looked at */
    }
    if (s->nodes_n == s->ends_n)
        rank = INT64_MAX;
    atomic_store_explicit(rank_of(m, s), rank, memory_order_relaxed);
    shard_unlock(s);
    return taken;
}

bool store_mem_evict(struct store_mem *m, _Atomic uint64_t *counter)
{
    enum metric_eviction why = counter == &m->evicted_count ? EVICTED_COUNT : EVICTED_SPACE;

    for (uint32_t look = 0; look < m->shards_n + EVICT_LOOKS; look++) {
        int64_t second;
        struct shard *s = lowest_shard(m, &second);

        if (!s)
            return false;
        if (shard_evict(m, s, look < EVICT_LOOKS ? second : INT64_MAX, why)) {
            count(counter);
            return true;
        }
    }
    return false;
}

/* -- taking budget and room -- */

static bool take_below(_Atomic uint64_t *n, uint64_t add, uint64_t max)
{
    uint64_t now = atomic_load_explicit(n, memory_order_relaxed);

    do
        if (now + add > max)
            return false;
    while (!atomic_compare_exchange_weak_explicit(n, &now, now + add, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
}

static int take_bytes(struct store_mem *m, uint64_t bytes, uint64_t lent)
{
    for (;;) {
        uint64_t zombies = atomic_load_explicit(&m->log.zombie_bytes, memory_order_relaxed);
        uint64_t max = m->conf.bytes_max + lent;

        if (zombies < max && take_below(&m->used, bytes, max - zombies))
            return 0;
        if (!store_mem_evict(m, &m->evicted_space) && !(zombies > 0 && log_reap(&m->log)))
            return -ENOMEM;
    }
}

static int take_entry(struct store_mem *m, uint64_t lent)
{
    while (!take_below(&m->entries, 1, m->conf.entries_max + lent))
        if (!store_mem_evict(m, &m->evicted_count))
            return -ENOMEM;
    return 0;
}

int store_mem_take(struct store_mem *m, uint64_t bytes, uint64_t lent)
{
    int r = take_entry(m, lent > 0);

    if (r < 0)
        return r;
    r = take_bytes(m, bytes, lent);
    if (r < 0)
        atomic_fetch_sub_explicit(&m->entries, 1, memory_order_relaxed);
    return r;
}

void store_mem_give_back(struct store_mem *m, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&m->used, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&m->entries, 1, memory_order_relaxed);
}

/* Evicts until @bytes have gone, or one entry at least; false when there is none. */
static bool evict_bytes(struct store_mem *m, uint64_t bytes)
{
    uint64_t before = atomic_load_explicit(&m->used, memory_order_relaxed), now = before;
    bool any = false;

    while (now + bytes > before && store_mem_evict(m, &m->evicted_space)) {
        any = true;
        now = atomic_load_explicit(&m->used, memory_order_relaxed);
    }
    return any;
}

/*
 * Room comes from what is dead, then from moving what lies sparsely, then from evicting more than the limit
 * alone asks for: that is so when sizes fit segments badly, or readers hold many.
 */
static bool make_room(struct store_mem *m, bool keep)
{
    size_t segment = m->log.segment_bytes;

    return log_reap(&m->log) || store_mem_compact(m, segment / DEAD_PART, SIZE_MAX, keep) ||
           evict_bytes(m, segment / DEAD_PART);
}

int store_mem_take_room(struct store_mem *m, size_t bytes, struct place *out)
{
    int r = log_reserve(&m->log, bytes, LOG_NEW, out);

    for (int i = 0; r == -EAGAIN && i < ROOM_TRIES; i++) {
        if (!make_room(m, i < ROOM_TRIES_KIND))
            break;
        r = log_reserve(&m->log, bytes, LOG_NEW, out);
    }
    return r == -EAGAIN ? -ENOMEM : r;
}

/* While room is short each put pays for a little compaction, so that none has to pay for much. */
void store_mem_keep_room(struct store_mem *m, size_t bytes)
{
    size_t segment = m->log.segment_bytes, budget = bytes * COMPACT_FACTOR;

    if (log_room(&m->log) < m->log.mapped_max / ROOM_PART)
        (void)store_mem_compact(m, segment / DEAD_PART, budget < COMPACT_MAX ? budget : COMPACT_MAX, true);
}

static bool bytes_are_over(const struct store_mem *m)
{
    return atomic_load_explicit(&m->used, memory_order_relaxed) +
               atomic_load_explicit(&m->log.zombie_bytes, memory_order_relaxed) >
           m->conf.bytes_max;
}

static bool entries_are_over(const struct store_mem *m)
{
    return atomic_load_explicit(&m->entries, memory_order_relaxed) > m->conf.entries_max;
}

void store_mem_settle(struct store_mem *m)
{
    while (bytes_are_over(m) && store_mem_evict(m, &m->evicted_space))
        ;
    while (entries_are_over(m) && store_mem_evict(m, &m->evicted_count))
        ;
}
