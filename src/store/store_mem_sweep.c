/*
 * Walks over everything in the tier: invalidation at once, and the sweep, which goes on where it stopped.
 */
#include "refrain/base/clock.h"
#include "store_mem_priv.h"

enum {
    SWEEP_BATCH = 64,       /* nodes looked at before the shard is let go */
    SWEEP_BYTES = 64 << 10, /* compacted before the clock is looked at */
    ROOM_FAR = 4,           /* segments: with more room than this the tier is far from full */
};

/*
 * A walk over a shard goes from the last node down, in batches. What is removed meanwhile is replaced by the
 * last node, which the walk has seen, unless it had not come that far: then it is met where it now lies. So
 * none is left out.
 */
typedef bool (*drop_fn)(const struct store_mem *m, const struct node *n, void *arg);

static uint64_t walk_batch(struct store_mem *m, struct shard *s, uint32_t *at, drop_fn drop, void *arg)
{
    uint64_t dropped = 0;

    shard_lock(s);
    if (*at > s->nodes_n)
        *at = s->nodes_n;
    for (int i = 0; i<SWEEP_BATCH && * at> s->ends_n; i++) {
        --*at;
        if (!drop(m, shard_node(s, *at), arg))
            continue;
        store_mem_drop(m, s, *at);
        dropped++;
    }
    shard_unlock(s);
    return dropped;
}

struct matcher {
    bool (*match)(void *arg, const struct entry *e);
    void *arg;
};

static bool drop_matching(const struct store_mem *m, const struct node *n, void *arg)
{
    const struct matcher *by = arg;

    return !by->match || by->match(by->arg, log_entry(&m->log, n->place));
}

uint64_t store_mem_delete_if(struct store_mem *m, bool (*match)(void *arg, const struct entry *e), void *arg)
{
    struct matcher by = {match, arg};
    uint32_t at[SHARDS_MAX];
    uint64_t dropped = 0;
    bool more = true;

    for (uint32_t i = 0; i < m->shards_n; i++)
        at[i] = UINT32_MAX;
    while (more) { /* shard by shard in turn: who waits for one gets it before its next batch */
        more = false;
        for (uint32_t i = 0; i < m->shards_n; i++) {
            if (at[i] <= m->shards[i].ends_n)
                continue;
            dropped += walk_batch(m, &m->shards[i], &at[i], drop_matching, &by);
            more |= at[i] > m->shards[i].ends_n;
        }
    }
    return dropped;
}

/* -- looking at all of it -- */

struct viewer {
    void (*see)(void *arg, const struct store_mem_seen *seen);
    void *arg;
};

static bool show(const struct store_mem *m, const struct node *n, void *arg)
{
    const struct viewer *v = arg;
    struct store_mem_seen seen = {log_entry(&m->log, n->place), n->expires_ms, n->gone_ms, n->hits};

    v->see(v->arg, &seen);
    return false;
}

bool store_mem_walk(struct store_mem *m, struct store_mem_walk *w,
                    void (*see)(void *arg, const struct store_mem_seen *seen), void *arg)
{
    struct viewer v = {see, arg};
    uint32_t at = w->left > 0 ? w->left - 1 : UINT32_MAX;

    if (w->shard >= m->shards_n)
        return false;
    (void)walk_batch(m, &m->shards[w->shard], &at, show, &v);
    if (at > m->shards[w->shard].ends_n) {
        w->left = at + 1;
        return true;
    }
    *w = (struct store_mem_walk){w->shard + 1, 0};
    return w->shard < m->shards_n;
}

/* -- sweep -- */

/* Shards in which nothing can be gone yet are passed over without a look at their nodes. */
static bool sweep_begin(struct shard *s, int64_t now_ms)
{
    bool due;

    shard_lock(s);
    due = now_ms >= s->next_gone_ms;
    if (due)
        s->next_gone_ms = INT64_MAX; /* the walk finds it anew */
    shard_unlock(s);
    return due;
}

struct sweeper {
    struct shard *shard;
    int64_t now_ms;
};

static bool drop_gone(const struct store_mem *m, const struct node *n, void *arg)
{
    struct sweeper *w = arg;

    if (w->now_ms >= n->gone_ms) {
        store_mem_tell_evicted(m, n, EVICTED_EXPIRED);
        w->shard->expired++;
        return true;
    }
    if (n->gone_ms < w->shard->next_gone_ms)
        w->shard->next_gone_ms = n->gone_ms;
    return false;
}

/* One batch of one shard; false when every shard has had its turn. */
static bool sweep_batch(struct store_mem *m, int64_t now_ms)
{
    struct sweeper w = {&m->shards[m->sweep_shard], now_ms};

    if (m->sweep_node == 0 && sweep_begin(w.shard, now_ms))
        m->sweep_node = UINT32_MAX;
    if (m->sweep_node != 0) {
        (void)walk_batch(m, w.shard, &m->sweep_node, drop_gone, &w);
        if (m->sweep_node > w.shard->ends_n)
            return true;
    }
    m->sweep_node = 0;
    m->sweep_shard = (m->sweep_shard + 1) % m->shards_n;
    return m->sweep_shard != 0;
}

/* Far from full, memory goes back to the system as soon as half of a segment is of no use; else puts need it
 * soon. */
static bool sweep_memory(struct store_mem *m)
{
    size_t segment = m->log.segment_bytes;

    (void)log_reap(&m->log);
    if (store_mem_compact(m, segment / 2, SWEEP_BYTES, true))
        return true;
    if (log_room(&m->log) > ROOM_FAR * segment)
        log_trim(&m->log);
    return false;
}

bool store_mem_sweep(struct store_mem *m, int64_t now_ms, int64_t budget_us)
{
    int64_t stop_ns = clock_mono_ns() + budget_us * 1000;
    bool more = true, nodes = true;

    if (pthread_mutex_trylock(&m->sweep_lock) != 0)
        return false; /* someone else is at it */
    do {
        if (nodes)
            nodes = sweep_batch(m, now_ms);
        else
            more = sweep_memory(m);
    } while (more && clock_mono_ns() < stop_ns);
    (void)pthread_mutex_unlock(&m->sweep_lock);
    store_mem_settle(m);
    return more;
}
