#include "refrain/store/store_mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/clock.h"
#include "store_mem_priv.h"

enum {
    SHARD_BYTES = 4 << 20, /* of limit, a shard */
    SEGMENT_MIN = 64 << 10,
    SEGMENT_MAX = 2 << 20,
    SEGMENTS = 128,         /* of the limit, between those bounds */
    SLACK_SEGMENTS = 4,     /* mapped beyond the limit, at least: the open ones and one to compact into */
    RECORD_PART = 2,        /* a record may take half of the limit */
    SWEEP_BATCH = 64,       /* nodes looked at before the shard is let go */
    SWEEP_BYTES = 64 << 10, /* compacted before the clock is looked at */
    EVICT_LOOKS = 4,        /* shards looked into for the lowest rank, before the one at hand will do */
    DEAD_PART = 8,          /* a segment is worth compacting when an eighth of it is dead */
    ROOM_TRIES = 4096,      /* steps taken to make room for one put before it gives up */
    ROOM_TRIES_KIND = 8,    /* of these, compact by moving; then by dropping, which is faster */
    COMPACT_FACTOR = 12,    /* bytes looked at in compaction for each byte put, while room is short */
};

/* -- start and end -- */

static uint32_t shards_for(size_t bytes_max)
{
    uint32_t n = 1;

    while (n < SHARDS_MAX && (size_t)n * 2 * SHARD_BYTES <= bytes_max)
        n *= 2;
    return n;
}

static size_t segment_bytes_for(size_t bytes_max)
{
    size_t n = SEGMENT_MIN;

    while (n < SEGMENT_MAX && n * 2 * SEGMENTS <= bytes_max)
        n *= 2;
    return n;
}

/* Mapped beyond what may be live, so that compaction finds segments worth emptying: 7.5 %. */
static size_t mapped_max_for(size_t bytes_max, size_t segment_bytes)
{
    size_t slack = bytes_max / 40 * 3, least = SLACK_SEGMENTS * segment_bytes;

    return bytes_max + (slack > least ? slack : least);
}

static int shards_init(struct store_mem *m)
{
    m->shards_n = shards_for(m->conf.bytes_max);
    m->shards = aligned_alloc(_Alignof(struct shard), m->shards_n * sizeof(*m->shards));
    if (!m->shards)
        return -ENOMEM;
    memset(m->shards, 0, m->shards_n * sizeof(*m->shards));
    for (uint32_t i = 0; i < m->shards_n; i++) {
        int r = shard_init(&m->shards[i], m->policy, &m->log.table_bytes);

        if (r < 0)
            return r;
        atomic_store_explicit(&m->ranks[i], INT64_MAX, memory_order_relaxed);
    }
    return 0;
}

static int init(struct store_mem *m)
{
    size_t segment_bytes = segment_bytes_for(m->conf.bytes_max);
    int r = log_init(&m->log, segment_bytes, mapped_max_for(m->conf.bytes_max, segment_bytes));

    if (r == 0)
        r = shards_init(m);
    if (r < 0)
        return r;
    m->base_bytes = sizeof(*m) + m->shards_n * sizeof(*m->shards) + atomic_load(&m->log.table_bytes);
    m->record_max = m->base_bytes < m->conf.bytes_max ? (m->conf.bytes_max - m->base_bytes) / RECORD_PART : 0;
    atomic_store(&m->used, m->base_bytes);
    return 0;
}

struct store_mem *store_mem_new(const struct store_mem_conf *conf)
{
    struct store_mem *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->conf = *conf;
    m->policy = eviction_ops_of(conf->eviction);
    m->compact_seg = LOG_NONE;
    random_bytes(m->seeds, sizeof(m->seeds));
    (void)pthread_mutex_init(&m->compact_lock, NULL);
    (void)pthread_mutex_init(&m->sweep_lock, NULL);
    if (init(m) < 0) {
        store_mem_free(m);
        return NULL;
    }
    return m;
}

void store_mem_free(struct store_mem *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; m->shards && i < m->shards_n; i++)
        shard_done(&m->shards[i]);
    free(m->shards);
    log_done(&m->log);
    (void)pthread_mutex_destroy(&m->compact_lock);
    (void)pthread_mutex_destroy(&m->sweep_lock);
    free(m);
}

/* -- keys to shards -- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 p = (unsigned __int128)a * b;

    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

struct hashed store_mem_hash(const struct store_mem *m, const struct digest *key)
{
    uint64_t k[4], h;

    memcpy(k, key->bytes, sizeof(k));
    h = mix(k[0] ^ m->seeds[0], k[1] ^ m->seeds[1]) ^ mix(k[2] ^ m->seeds[2], k[3] ^ m->seeds[3]);
    return (struct hashed){&m->shards[(h >> 32) & (m->shards_n - 1)], (uint32_t)h};
}

/* -- ranks and eviction -- */

static _Atomic int64_t *rank_of(struct store_mem *m, const struct shard *s)
{
    return &m->ranks[s - m->shards];
}

static void rank_lower(struct store_mem *m, const struct shard *s, int64_t rank)
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

void store_mem_drop(struct store_mem *m, struct shard *s, uint32_t i)
{
    const struct node *n = shard_node(s, i);

    atomic_fetch_sub_explicit(&m->used, n->bytes + NODE_BYTES, memory_order_relaxed);
    atomic_fetch_sub_explicit(&m->entries, 1, memory_order_relaxed);
    log_drop(&m->log, n->place.seg, n->bytes);
    shard_remove(s, i);
}

/* Takes the shard's victim when it ranks no higher than @rank_max; its rank is known exactly after that. */
static bool shard_evict(struct store_mem *m, struct shard *s, int64_t rank_max)
{
    uint32_t i;
    int64_t rank;
    bool taken = false;

    shard_lock(s);
    i = s->policy->victim(s);
    rank = i == NODE_NONE ? INT64_MAX : shard_node(s, i)->rank;
    if (i != NODE_NONE && rank <= rank_max) {
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
    for (uint32_t look = 0; look < m->shards_n + EVICT_LOOKS; look++) {
        int64_t second;
        struct shard *s = lowest_shard(m, &second);

        if (!s)
            return false;
        if (shard_evict(m, s, look < EVICT_LOOKS ? second : INT64_MAX)) {
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

static int take_bytes(struct store_mem *m, uint64_t bytes)
{
    for (;;) {
        uint64_t zombies = atomic_load_explicit(&m->log.zombie_bytes, memory_order_relaxed);

        if (zombies < m->conf.bytes_max && take_below(&m->used, bytes, m->conf.bytes_max - zombies))
            return 0;
        if (!store_mem_evict(m, &m->evicted_space) && !(zombies > 0 && log_reap(&m->log)))
            return -ENOMEM;
    }
}

static int take_entry(struct store_mem *m)
{
    uint64_t max = m->conf.entries_max ? m->conf.entries_max : UINT64_MAX;

    while (!take_below(&m->entries, 1, max))
        if (!store_mem_evict(m, &m->evicted_count))
            return -ENOMEM;
    return 0;
}

static void give_back(struct store_mem *m, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&m->used, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&m->entries, 1, memory_order_relaxed);
}

static int take_budget(struct store_mem *m, uint64_t bytes)
{
    int r = take_entry(m);

    if (r < 0)
        return r;
    r = take_bytes(m, bytes);
    if (r < 0)
        atomic_fetch_sub_explicit(&m->entries, 1, memory_order_relaxed);
    return r;
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

static int take_room(struct store_mem *m, size_t bytes, struct place *out)
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
static void keep_room(struct store_mem *m, size_t bytes)
{
    size_t segment = m->log.segment_bytes;

    if (log_room(&m->log) < 2 * segment)
        (void)store_mem_compact(m, segment / DEAD_PART, bytes * COMPACT_FACTOR, true);
}

/* Segments that died pinned count whole, so others must go until their readers let go. */
static void settle(struct store_mem *m)
{
    while (atomic_load_explicit(&m->used, memory_order_relaxed) +
               atomic_load_explicit(&m->log.zombie_bytes, memory_order_relaxed) >
           m->conf.bytes_max)
        if (!store_mem_evict(m, &m->evicted_space))
            return;
}

/* -- get -- */

static void ref_fill(struct store_mem *m, const struct node *n, struct entry_ref *out)
{
    struct segment *seg = &m->log.segs[n->place.seg];

    segment_pin(seg);
    out->entry = log_entry(&m->log, n->place);
    out->pin = seg;
    out->expires_ms = n->expires_ms;
    out->hits = n->hits;
}

static int64_t add_ms(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* How long the entry may be of use after it stopped being fresh does not change by sliding. */
static void node_slide(struct node *n, const struct entry *e, int64_t now_ms)
{
    int64_t expires = add_ms(now_ms, e->sliding_ms);

    if (now_ms >= n->expires_ms)
        return;
    if (expires > e->max_expires_ms)
        expires = e->max_expires_ms;
    if (expires <= n->expires_ms)
        return;
    n->gone_ms = add_ms(expires, e->gone_ms - e->expires_ms);
    n->expires_ms = expires;
}

static void node_hit(struct store_mem *m, struct shard *s, uint32_t i, int64_t now_ms)
{
    struct node *n = shard_node(s, i);

    s->hits++;
    n->hits++;
    if (n->state & NODE_SLIDING)
        node_slide(n, log_entry(&m->log, n->place), now_ms);
    m->policy->on_hit(s, i, now_ms);
}

/* The node of @key, after dropping it if it is gone. */
static uint32_t find_present(struct store_mem *m, struct hashed h, const struct digest *key, int64_t now_ms)
{
    uint32_t i = shard_find(h.shard, &m->log, h.tag, key);

    if (i == NODE_NONE || now_ms < shard_node(h.shard, i)->gone_ms)
        return i;
    store_mem_drop(m, h.shard, i);
    h.shard->expired++;
    return NODE_NONE;
}

bool store_mem_get(struct store_mem *m, const struct digest *key, int64_t now_ms, struct entry_ref *out)
{
    struct hashed h = store_mem_hash(m, key);
    uint32_t i;

    shard_lock(h.shard);
    i = find_present(m, h, key, now_ms);
    if (i == NODE_NONE) {
        h.shard->misses++;
    } else {
        node_hit(m, h.shard, i, now_ms);
        ref_fill(m, shard_node(h.shard, i), out);
    }
    shard_unlock(h.shard);
    return i != NODE_NONE;
}

bool store_mem_peek(struct store_mem *m, const struct digest *key, int64_t now_ms, struct entry_ref *out)
{
    struct hashed h = store_mem_hash(m, key);
    uint32_t i;

    shard_lock(h.shard);
    i = find_present(m, h, key, now_ms);
    if (i != NODE_NONE)
        ref_fill(m, shard_node(h.shard, i), out);
    shard_unlock(h.shard);
    return i != NODE_NONE;
}

void store_mem_release(struct entry_ref *ref)
{
    segment_unpin(ref->pin);
    *ref = (struct entry_ref){0};
}

/* -- put -- */

static bool later_is_there(struct store_mem *m, struct shard *s, uint32_t i, int64_t started_seq)
{
    return i != NODE_NONE && log_entry(&m->log, shard_node(s, i)->place)->started_seq > started_seq;
}

/* Asked before the work, and again when linking, as it may have come meanwhile. */
static bool is_late(struct store_mem *m, struct hashed h, const struct entry *head, int64_t now_ms)
{
    bool late;

    shard_lock(h.shard);
    late = later_is_there(m, h.shard, find_present(m, h, &head->key, now_ms), head->started_seq);
    shard_unlock(h.shard);
    return late;
}

static struct node node_for(const struct entry *e, struct hashed h, struct place place)
{
    return (struct node){
        .tag = h.tag,
        .place = place,
        .bytes = e->bytes,
        .state = e->sliding_ms > 0 ? NODE_SLIDING : 0,
        .expires_ms = e->expires_ms,
        .gone_ms = e->gone_ms,
    };
}

/* Under the shard's lock. */
static int link_entry(struct store_mem *m, struct hashed h, struct place place, int64_t now_ms,
                      struct entry_ref *out)
{
    const struct entry *e = log_entry(&m->log, place);
    struct node node = node_for(e, h, place);
    uint32_t i = find_present(m, h, &e->key, now_ms);

    if (later_is_there(m, h.shard, i, e->started_seq))
        return -EEXIST;
    if (i != NODE_NONE) {
        store_mem_drop(m, h.shard, i);
        count(&m->replaced);
    }
    i = shard_insert(h.shard, &node, now_ms);
    if (i == NODE_NONE)
        return -ENOMEM;
    rank_lower(m, h.shard, shard_node(h.shard, i)->rank);
    if (out)
        ref_fill(m, shard_node(h.shard, i), out);
    return 0;
}

static int put_at(struct store_mem *m, struct hashed h, struct place place, const struct entry_parts *parts,
                  int64_t now_ms, struct entry_ref *out)
{
    int r;

    entry_pack(parts, log_entry(&m->log, place)); /* up to megabytes: no lock is held */
    shard_lock(h.shard);
    r = link_entry(m, h, place, now_ms, out);
    shard_unlock(h.shard);
    segment_unpin(&m->log.segs[place.seg]);
    return r;
}

int store_mem_put(struct store_mem *m, const struct entry_parts *parts, int64_t now_ms, struct entry_ref *out)
{
    struct hashed h = store_mem_hash(m, &parts->head.key);
    size_t size = entry_packed_size(parts);
    struct place place;
    int r;

    if (size == 0 || size > m->record_max)
        return -EMSGSIZE;
    if (is_late(m, h, &parts->head, now_ms))
        return -EEXIST;
    r = take_budget(m, size + NODE_BYTES);
    if (r < 0)
        return r;
    r = take_room(m, size, &place);
    if (r == 0) {
        r = put_at(m, h, place, parts, now_ms, out);
        if (r < 0)
            log_drop(&m->log, place.seg, size);
    }
    if (r < 0)
        give_back(m, size + NODE_BYTES);
    else
        count(&m->puts);
    keep_room(m, size);
    settle(m);
    return r;
}

/* -- delete -- */

bool store_mem_delete(struct store_mem *m, const struct digest *key)
{
    struct hashed h = store_mem_hash(m, key);
    uint32_t i;

    shard_lock(h.shard);
    i = shard_find(h.shard, &m->log, h.tag, key);
    if (i != NODE_NONE)
        store_mem_drop(m, h.shard, i);
    shard_unlock(h.shard);
    return i != NODE_NONE;
}

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
    uint64_t dropped = 0;

    for (uint32_t i = 0; i < m->shards_n; i++) {
        struct shard *s = &m->shards[i];
        uint32_t at = UINT32_MAX;

        do
            dropped += walk_batch(m, s, &at, drop_matching, &by);
        while (at > s->ends_n);
    }
    return dropped;
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

    (void)m;
    if (w->now_ms >= n->gone_ms) {
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
    if (log_room(&m->log) > SLACK_SEGMENTS * segment)
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
    settle(m);
    return more;
}

/* -- stats -- */

static void stats_add_shard(struct shard *s, struct store_mem_stats *out)
{
    shard_lock(s);
    out->hits += s->hits;
    out->misses += s->misses;
    out->expired += s->expired;
    shard_unlock(s);
}

void store_mem_stats(struct store_mem *m, struct store_mem_stats *out)
{
    (void)log_reap(&m->log); /* what readers have let go counts no more */
    settle(m);
    *out = (struct store_mem_stats){
        .entries = atomic_load(&m->entries),
        .bytes = atomic_load(&m->used) + atomic_load(&m->log.zombie_bytes),
        .bytes_mapped = atomic_load(&m->log.mapped),
        .bytes_max = m->conf.bytes_max,
        .puts = atomic_load(&m->puts),
        .evicted_space = atomic_load(&m->evicted_space),
        .evicted_count = atomic_load(&m->evicted_count),
        .replaced = atomic_load(&m->replaced),
        .compactions = atomic_load(&m->compactions),
    };
    for (uint32_t i = 0; i < m->shards_n; i++)
        stats_add_shard(&m->shards[i], out);
}
