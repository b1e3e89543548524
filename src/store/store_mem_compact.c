/*
 * Compaction: what is live in the sparsest segment is copied to another, so that its memory comes free.
 *
 * The segment is closed, so its bytes do not change and may be read without a lock; it is held, so it does
 * not die meanwhile. Whether a record is live only its shard knows: it is when a node points at that very
 * place. It is asked twice, before the copy, and after it when the node is pointed at the copy; in between no
 * lock is held.
 */
#include <string.h>

#include "store_mem_priv.h"

struct move {
    struct hashed to;
    struct place from;
    const struct entry *entry;
};

static bool move_is_wanted(const struct move *v)
{
    uint32_t i;

    shard_lock(v->to.shard);
    i = shard_find_place(v->to.shard, v->to.tag, v->from);
    shard_unlock(v->to.shard);
    return i != NODE_NONE;
}

static void move_drop(struct store_mem *m, const struct move *v)
{
    uint32_t i;

    shard_lock(v->to.shard);
    i = shard_find_place(v->to.shard, v->to.tag, v->from);
    if (i != NODE_NONE) {
        store_mem_tell_evicted(m, shard_node(v->to.shard, i), EVICTED_SPACE);
        store_mem_drop(m, v->to.shard, i);
        count(&m->evicted_space);
    }
    shard_unlock(v->to.shard);
}

static void move_finish(struct store_mem *m, const struct move *v, struct place copy)
{
    uint32_t i, loser = copy.seg;

    shard_lock(v->to.shard);
    i = shard_find_place(v->to.shard, v->to.tag, v->from);
    if (i != NODE_NONE) {
        shard_place_set(v->to.shard, i, copy);
        loser = v->from.seg;
    }
    shard_unlock(v->to.shard);
    segment_unpin(&m->log.segs[copy.seg]);
    log_drop(&m->log, loser, v->entry->bytes);
}

static void move_record(struct store_mem *m, struct place from, const struct entry *e, bool keep)
{
    struct move v = {store_mem_hash(m, &e->key), from, e};
    struct place copy;

    if (!move_is_wanted(&v))
        return;
    if (!keep || log_reserve(&m->log, e->bytes, LOG_MOVED, &copy) < 0) {
        move_drop(m, &v); /* better one entry lost than memory that never comes free */
        return;
    }
    memcpy(log_entry(&m->log, copy), e, e->bytes);
    move_finish(m, &v, copy);
}

/* Carries on in the segment at hand for @budget bytes; true when that emptied it. */
static bool segment_empty(struct store_mem *m, size_t budget, bool keep)
{
    struct segment *s = &m->log.segs[m->compact_seg];
    size_t stop = budget < s->used - m->compact_at ? m->compact_at + budget : s->used;

    while (m->compact_at < stop && atomic_load_explicit(&s->live, memory_order_relaxed) > LOG_HOLD) {
        struct place at = {m->compact_seg, (uint32_t)(m->compact_at / LOG_UNIT)};
        const struct entry *e = log_entry(&m->log, at);

        m->compact_at += e->bytes;
        move_record(m, at, e, keep);
    }
    if (atomic_load_explicit(&s->live, memory_order_relaxed) > LOG_HOLD)
        return false;
    log_drop(&m->log, m->compact_seg, LOG_HOLD);
    m->compact_seg = LOG_NONE;
    count(&m->compactions);
    return true;
}

static bool pick(struct store_mem *m, size_t dead_min)
{
    if (m->compact_seg != LOG_NONE)
        return true;
    m->compact_seg = log_pick_sparse(&m->log, dead_min);
    m->compact_at = 0;
    return m->compact_seg != LOG_NONE;
}

bool store_mem_compact(struct store_mem *m, size_t dead_min, size_t budget, bool keep)
{
    bool any;

    (void)pthread_mutex_lock(&m->compact_lock);
    any = pick(m, dead_min);
    if (any && segment_empty(m, budget, keep))
        (void)log_reap(&m->log);
    (void)pthread_mutex_unlock(&m->compact_lock);
    return any;
}
