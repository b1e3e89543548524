/*
 * flight_table - which flights there are: under which key others find and join them, in which order they
 * began, and for which keys nobody is to queue, as answers to them were for one each of late.
 */
#include <assert.h>
#include <stdlib.h>

#include "flight_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

struct flights *flights_new(const struct flight_conf *conf)
{
    struct flights *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->conf = *conf;
    for (size_t i = 0; i < SHARDS; i++) {
        (void)pthread_mutex_init(&t->shards[i].lock, NULL);
        for (size_t b = 0; b < BUCKETS; b++)
            list_init(&t->shards[i].buckets[b]);
    }
    return t;
}

void flights_free(struct flights *t)
{
    if (!t)
        return;
    assert(atomic_load(&t->flights_n) == 0);
    for (size_t i = 0; i < SHARDS; i++)
        (void)pthread_mutex_destroy(&t->shards[i].lock);
    free(t);
}

void flights_count(const struct flights *t, uint64_t *out_flights, uint64_t *out_readers)
{
    *out_flights = atomic_load(&t->flights_n);
    *out_readers = atomic_load(&t->readers_n);
}

static struct shard *shard_of(struct flights *t, const struct digest *key)
{
    return &t->shards[key->bytes[0] % SHARDS];
}

static struct list *bucket_of(struct shard *s, const struct digest *key)
{
    return &s->buckets[key->bytes[1] % BUCKETS];
}

static struct marker *marker_of(struct shard *s, const struct digest *key)
{
    return &s->markers[key->bytes[2] % MARKERS];
}

static bool is_marked(struct shard *s, const struct digest *key, int64_t now_ms)
{
    const struct marker *m = marker_of(s, key);

    return m->until_ms > now_ms && digest_eq(&m->key, key);
}

/* -- the order of beginning -- */

/* Later-started wins over restarts too, so the sequence follows the wall clock, but never stands still. */
int64_t flights_seq(struct flights *t)
{
    int_fast64_t wall = clock_wall_ms() * 1000, last = atomic_load(&t->seq), next;

    do
        next = last >= wall ? last + 1 : wall;
    while (!atomic_compare_exchange_weak(&t->seq, &last, next));
    return next;
}

void flights_pass(struct flights *t, int64_t seq)
{
    int_fast64_t last = atomic_load(&t->seq);

    while (last < seq && !atomic_compare_exchange_weak(&t->seq, &last, seq))
        ;
}

void flight_raise_seq(struct flight *f, int64_t seq)
{
    struct shard *s = shard_of(f->table, &f->key);

    flights_pass(f->table, seq);
    (void)pthread_mutex_lock(&s->lock); /* under which others look at it */
    if (f->seq < seq)
        f->seq = seq;
    (void)pthread_mutex_unlock(&s->lock);
}

/* -- joining and opening -- */

static void attach(struct flight *f, struct flight_reader *r, bool opener)
{
    atomic_fetch_add(&f->refs, 1);
    atomic_fetch_add(&f->table->readers_n, 1);
    r->flight = f;
    r->cursor = (struct chunks_cursor){NULL, 0};
    r->opener = opener;
    r->waiting = r->sent_away = r->stays = false;
    list_push_back(&f->readers, &r->link);
    f->readers_n++;
}

static struct flight *find(struct list *bucket, const struct digest *key)
{
    LIST_FOR(it, bucket)
    {
        struct flight *f = CONTAINER_OF(it, struct flight, bucket);

        if (digest_eq(&f->key, key))
            return f;
    }
    return NULL;
}

/* Under the shard's lock. false: it takes no new reader. */
static bool try_attach(struct flight *f, struct flight_reader *r)
{
    bool ok;

    (void)pthread_mutex_lock(&f->lock);
    ok = !f->ended && !f->windowed && !f->let_go;
    if (ok)
        attach(f, r, false);
    (void)pthread_mutex_unlock(&f->lock);
    return ok;
}

static bool is_of_variant(struct flight *f, const struct digest *variant)
{
    bool is;

    (void)pthread_mutex_lock(&f->lock);
    is = f->varies && digest_eq(&f->split.key, variant);
    (void)pthread_mutex_unlock(&f->lock);
    return is;
}

static enum flight_joined open_listed(struct flights *t, struct shard *s, const struct digest *key,
                                      struct flight *instead_of, struct flight_reader *r)
{
    struct flight *f = flight_new(t, key, false);

    if (!f)
        return FLIGHT_NO_MEMORY;
    if (instead_of)
        list_remove(&instead_of->bucket);
    attach(f, r, true);
    list_push_back(bucket_of(s, key), &f->bucket);
    return FLIGHT_OPENED;
}

enum flight_joined flight_join(struct flights *t, const struct digest *key, bool fresh, int64_t now_ms,
                               struct flight_reader *r)
{
    struct shard *s = shard_of(t, key);
    enum flight_joined result;
    struct flight *f;

    assert(!r->flight);
    (void)pthread_mutex_lock(&s->lock);
    f = find(bucket_of(s, key), key);
    if (is_marked(s, key, now_ms))
        result = FLIGHT_MARKED;
    else if (f && !fresh && try_attach(f, r))
        result = FLIGHT_JOINED;
    else
        result = open_listed(t, s, key, f, r);
    (void)pthread_mutex_unlock(&s->lock);
    return result;
}

bool flight_join_variant(struct flights *t, const struct digest *common, const struct digest *variant,
                         struct flight_reader *r)
{
    struct shard *s = shard_of(t, common);
    struct flight *f;
    bool joined;

    assert(!r->flight);
    (void)pthread_mutex_lock(&s->lock);
    f = find(bucket_of(s, common), common);
    joined = f && is_of_variant(f, variant) && try_attach(f, r);
    if (joined)
        r->stays = true; /* nobody else looks at it */
    (void)pthread_mutex_unlock(&s->lock);
    return joined;
}

int64_t flight_open_since(struct flights *t, const struct digest *key)
{
    struct shard *s = shard_of(t, key);
    const struct flight *f;
    int64_t seq;

    (void)pthread_mutex_lock(&s->lock);
    f = find(bucket_of(s, key), key);
    seq = f ? f->seq : 0;
    (void)pthread_mutex_unlock(&s->lock);
    return seq;
}

unsigned flight_readers(struct flights *t, const struct digest *key)
{
    struct shard *s = shard_of(t, key);
    struct flight *f;
    unsigned n = 0;

    (void)pthread_mutex_lock(&s->lock);
    f = find(bucket_of(s, key), key);
    if (f) {
        (void)pthread_mutex_lock(&f->lock);
        n = f->readers_n;
        (void)pthread_mutex_unlock(&f->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

struct flight *flight_open_unread(struct flights *t, const struct digest *key, int64_t now_ms)
{
    struct shard *s = shard_of(t, key);
    struct flight *f = NULL;

    (void)pthread_mutex_lock(&s->lock);
    if (!find(bucket_of(s, key), key) && !is_marked(s, key, now_ms))
        f = flight_new(t, key, false);
    if (f) {
        atomic_fetch_add(&f->refs, 1);
        list_push_back(bucket_of(s, key), &f->bucket);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return f;
}

bool flight_open_apart(struct flights *t, struct flight_reader *r)
{
    struct flight *f = flight_new(t, NULL, true);

    assert(!r->flight);
    if (!f)
        return false;
    attach(f, r, true);
    return true;
}

bool flight_open_alone(struct flights *t, struct flight_reader *r)
{
    if (!flight_open_apart(t, r))
        return false;
    r->flight->windowed = true;
    return true;
}

/* -- going -- */

void flight_unlist(struct flight *f)
{
    struct shard *s = shard_of(f->table, &f->key);

    if (f->alone)
        return;
    (void)pthread_mutex_lock(&s->lock);
    list_remove(&f->bucket);
    (void)pthread_mutex_unlock(&s->lock);
}

void flight_set_marker(struct flight *f, int64_t now_ms)
{
    struct shard *s = shard_of(f->table, &f->key);

    (void)pthread_mutex_lock(&s->lock);
    *marker_of(s, &f->key) = (struct marker){f->key, now_ms + f->table->conf.marker_ms};
    (void)pthread_mutex_unlock(&s->lock);
}

bool flight_close_abandoned(struct flight *f)
{
    struct shard *s = shard_of(f->table, &f->key);
    bool none;

    (void)pthread_mutex_lock(&s->lock); /* nobody joins between the look and the closing */
    (void)pthread_mutex_lock(&f->lock);
    none = list_empty(&f->readers);
    if (none)
        list_remove(&f->bucket);
    (void)pthread_mutex_unlock(&f->lock);
    (void)pthread_mutex_unlock(&s->lock);
    return none;
}
