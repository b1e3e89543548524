#include "refrain/store/store_mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_mem_priv.h"

enum {
    SHARD_BYTES = 4 << 20, /* of limit, a shard */
    SEGMENT_MIN = 64 << 10,
    SEGMENT_MAX = 2 << 20,
    SEGMENTS = 128,     /* of the limit, between those bounds */
    SLACK_SEGMENTS = 4, /* mapped beyond the limit, at least: the open ones and one to compact into */
    RECORD_PART = 2,    /* a record may take half of the limit */
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
    if (m->conf.entries_max == 0)
        m->conf.entries_max = UINT64_MAX / 2; /* no bound but bytes */
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

void store_mem_drop(struct store_mem *m, struct shard *s, uint32_t i)
{
    const struct node *n = shard_node(s, i);

    atomic_fetch_sub_explicit(&m->used, n->bytes + NODE_BYTES, memory_order_relaxed);
    atomic_fetch_sub_explicit(&m->entries, 1, memory_order_relaxed);
    log_drop(&m->log, n->place.seg, n->bytes);
    shard_remove(s, i);
}

/* -- get -- */

static void ref_fill(struct store_mem *m, const struct node *n, struct entry_ref *out)
{
    struct segment *seg = &m->log.segs[n->place.seg];

    segment_pin(seg);
    out->entry = log_entry(&m->log, n->place);
    out->pin = seg;
    out->box = NULL;
    out->expires_ms = n->expires_ms;
    out->hits = n->hits;
    out->tier = TIER_MEMORY;
    out->slid_far = false;
}

static int64_t add_ms(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* How long the entry may be of use after it stopped being fresh does not change by sliding. true: lower tiers
 * should hear of it. */
static bool node_slide(struct node *n, const struct entry *e, int64_t now_ms)
{
    int64_t was = n->expires_ms, expires = entry_slid_expires_ms(e, was, now_ms);

    if (expires == was)
        return false;
    n->gone_ms = add_ms(expires, e->gone_ms - e->expires_ms);
    n->expires_ms = expires;
    return entry_slid_far(e, was, expires);
}

/* true: it has slid far. */
static bool node_hit(struct store_mem *m, struct shard *s, uint32_t i, int64_t now_ms)
{
    struct node *n = shard_node(s, i);
    bool far = false;

    s->hits++;
    n->hits++;
    if (n->state & NODE_SLIDING)
        far = node_slide(n, log_entry(&m->log, n->place), now_ms);
    m->policy->on_hit(s, i, now_ms);
    return far;
}

/* The node of @key, after dropping it if it is gone. */
static uint32_t find_present(struct store_mem *m, struct hashed h, const struct digest *key, int64_t now_ms)
{
    uint32_t i = shard_find(h.shard, &m->log, h.tag, key);

    if (i == NODE_NONE || now_ms < shard_node(h.shard, i)->gone_ms)
        return i;
    store_mem_tell_evicted(m, shard_node(h.shard, i), EVICTED_EXPIRED);
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
        bool far = node_hit(m, h.shard, i, now_ms);

        ref_fill(m, shard_node(h.shard, i), out);
        out->slid_far = far;
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

/* What is to be put: parts to be packed, or a copy of one that is; perhaps only in the place of itself. */
struct source {
    const struct entry_parts *parts;
    const struct entry *whole;
    size_t size;
    bool recoded;
};

static const struct entry *head_of(const struct source *from)
{
    return from->whole ? from->whole : &from->parts->head;
}

/* Of two results the later-started wins; what was read below gives way to its equal, unless that has less
 * left to live. */
static bool later_is_there(struct store_mem *m, struct shard *s, uint32_t i, const struct source *from)
{
    const struct entry *head = head_of(from);
    const struct node *n = i != NODE_NONE ? shard_node(s, i) : NULL;
    int64_t there = n ? log_entry(&m->log, n->place)->started_seq : 0;

    if (!n || there != head->started_seq)
        return n && there > head->started_seq;
    return from->whole && n->expires_ms >= head->expires_ms;
}

/* An operator may have put the same answer with another lifetime or other tags. */
static bool is_itself(struct store_mem *m, struct shard *s, uint32_t i, const struct entry *e)
{
    const struct entry *there = i != NODE_NONE ? log_entry(&m->log, shard_node(s, i)->place) : NULL;

    return there && there->started_seq == e->started_seq && memcmp(there->id, e->id, ENTRY_ID_LEN) == 0 &&
           there->expires_ms == e->expires_ms && there->gone_ms == e->gone_ms &&
           slice_eq(entry_slice(there, there->tags), entry_slice(e, e->tags));
}

static bool is_in_vain(struct store_mem *m, struct shard *s, uint32_t i, const struct source *from)
{
    return from->recoded ? !is_itself(m, s, i, from->whole) : later_is_there(m, s, i, from);
}

/*
 * Asked before the work is done, and again when linking, as a later one may have come meanwhile. What is
 * there will be replaced, so its bytes are lent: nothing else need go for them.
 */
static int ask_first(struct store_mem *m, struct hashed h, const struct source *from, int64_t now_ms,
                     uint64_t *out_lent)
{
    int r = 0;
    uint32_t i;

    shard_lock(h.shard);
    i = find_present(m, h, &head_of(from)->key, now_ms);
    if (is_in_vain(m, h.shard, i, from))
        r = -EEXIST;
    else
        *out_lent = i == NODE_NONE ? 0 : shard_node(h.shard, i)->bytes + NODE_BYTES;
    shard_unlock(h.shard);
    return r;
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

/* Of the same entry otherwise coded: what readers have made of it goes on. */
static void node_take_over(struct node *n, const struct node *was)
{
    n->hits = was->hits;
    n->expires_ms = was->expires_ms;
    n->gone_ms = was->gone_ms;
}

/* Under the shard's lock. */
static int link_entry(struct store_mem *m, struct hashed h, struct place place, const struct source *from,
                      int64_t now_ms, struct entry_ref *out)
{
    const struct entry *e = log_entry(&m->log, place);
    struct node node = node_for(e, h, place);
    uint32_t i = find_present(m, h, &e->key, now_ms);

    if (is_in_vain(m, h.shard, i, from))
        return -EEXIST;
    if (from->recoded)
        node_take_over(&node, shard_node(h.shard, i));
    if (i != NODE_NONE) {
        store_mem_drop(m, h.shard, i);
        if (!from->recoded)
            count(&m->replaced);
    }
    i = shard_insert(h.shard, &node, now_ms);
    if (i == NODE_NONE)
        return -ENOMEM;
    store_mem_rank_lower(m, h.shard, shard_node(h.shard, i)->rank);
    if (out)
        ref_fill(m, shard_node(h.shard, i), out);
    return 0;
}

/* Up to megabytes: no lock is held. */
static void write_entry(const struct source *from, struct entry *to)
{
    if (from->whole)
        memcpy(to, from->whole, from->size);
    else
        entry_pack(from->parts, to);
}

static int put_at(struct store_mem *m, struct hashed h, struct place place, const struct source *from,
                  int64_t now_ms, struct entry_ref *out)
{
    int r;

    write_entry(from, log_entry(&m->log, place));
    shard_lock(h.shard);
    r = link_entry(m, h, place, from, now_ms, out);
    shard_unlock(h.shard);
    segment_unpin(&m->log.segs[place.seg]);
    return r;
}

static int put(struct store_mem *m, const struct source *from, int64_t now_ms, struct entry_ref *out)
{
    struct hashed h = store_mem_hash(m, &head_of(from)->key);
    struct place place;
    uint64_t lent;
    int r;

    if (from->size == 0 || from->size > m->record_max)
        return -EMSGSIZE;
    r = ask_first(m, h, from, now_ms, &lent);
    if (r == 0)
        r = store_mem_take(m, from->size + NODE_BYTES, lent);
    if (r < 0)
        return r;
    r = store_mem_take_room(m, from->size, &place);
    if (r == 0) {
        r = put_at(m, h, place, from, now_ms, out);
        if (r < 0)
            log_drop(&m->log, place.seg, from->size);
    }
    if (r < 0)
        store_mem_give_back(m, from->size + NODE_BYTES);
    else
        count(&m->puts);
    store_mem_keep_room(m, from->size);
    store_mem_settle(m);
    return r;
}

int store_mem_put(struct store_mem *m, const struct entry_parts *parts, int64_t now_ms, struct entry_ref *out)
{
    struct source from = {.parts = parts, .size = entry_packed_size(parts)};

    return put(m, &from, now_ms, out);
}

int store_mem_promote(struct store_mem *m, const struct entry *e, int64_t now_ms)
{
    struct source from = {.whole = e, .size = e->bytes};

    return put(m, &from, now_ms, NULL);
}

int store_mem_recode(struct store_mem *m, const struct entry *e, int64_t now_ms)
{
    struct source from = {.whole = e, .size = e->bytes, .recoded = true};

    return put(m, &from, now_ms, NULL);
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
    store_mem_settle(m);
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
