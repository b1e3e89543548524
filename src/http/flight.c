#include "refrain/http/flight.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

enum {
    SHARDS = 64,
    BUCKETS = 256,          /* a shard */
    MARKERS = 64,           /* a shard; a newer one takes the slot of an older */
    CHUNK_BYTES_MIN = 2048, /* chunks grow with the answer: */
    CHUNK_BYTES_MAX = 64 * 1024,
    ID_BYTES = 16,
};

struct flight_chunk {
    struct flight_chunk *next;
    size_t len, cap;
    char bytes[];
};

/* Texts of the head; freed with the flight. */
struct kept {
    struct kept *next;
    char bytes[];
};

struct marker {
    struct digest key;
    int64_t until_ms; /* monotonic */
};

struct shard {
    pthread_mutex_t lock;
    struct list buckets[BUCKETS];
    struct marker markers[MARKERS];
};

struct flights {
    struct flight_conf conf;
    atomic_int_fast64_t seq;
    atomic_uint_fast64_t flights_n, readers_n;
    struct shard shards[SHARDS];
};

struct flight {
    struct flights *table;
    struct digest key;
    struct list bucket; /* under the shard's lock; linked while others may join */
    atomic_uint refs;   /* each reader one, the producer one */
    int64_t seq;
    char id[2 * ID_BYTES + 1];
    bool alone;
    struct flight_head head;   /* the producer's until published */
    struct kept *kept;         /* the producer's */
    struct flight_split split; /* set before varies, immutable then */
    struct entry_ref found;    /* the producer's until it has ended with FLIGHT_FOUND, immutable then */
    struct buf body;           /* the same; then the opener's to take */
    size_t body_charged;

    pthread_mutex_t lock; /* of all below */
    struct list readers;
    unsigned readers_n;
    bool end_marked;
    bool published, ended, windowed, let_go, varies;
    bool paused; /* the producer was told to wait */
    enum flight_end how;
    enum gate_reason verdict;
    struct flight_tokens tokens;
    struct flight_times times;
    struct fields *trailers;
    bool terms_given, terms_of_opener;
    struct flight_terms terms;
    char *terms_tags;
    struct flight_chunk *first, *last;
    uint64_t appended; /* bytes, all in all */
    uint64_t buffered; /* of them still here */
    struct flight_producer *producer;
};

/* -- the table -- */

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

static void draw_id(char out[2 * ID_BYTES + 1])
{
    uint8_t bytes[ID_BYTES];

    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < ID_BYTES; i++) {
        out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    out[2 * ID_BYTES] = '\0';
}

static struct flight *flight_new(struct flights *t, const struct digest *key, bool alone)
{
    struct flight *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->table = t;
    if (key)
        f->key = *key;
    f->alone = alone;
    f->seq = flights_seq(t);
    draw_id(f->id);
    f->head.body_len = -1;
    list_init(&f->bucket);
    list_init(&f->readers);
    (void)pthread_mutex_init(&f->lock, NULL);
    atomic_fetch_add(&t->flights_n, 1);
    return f;
}

static void chunk_free(struct flight *f, struct flight_chunk *c)
{
    limits_give_back(f->table->conf.limits, sizeof(*c) + c->cap);
    free(c);
}

static void flight_unref(struct flight *f)
{
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    while (f->first) {
        struct flight_chunk *c = f->first;

        f->first = c->next;
        chunk_free(f, c);
    }
    while (f->kept) {
        struct kept *k = f->kept;

        f->kept = k->next;
        free(k);
    }
    atomic_fetch_sub(&f->table->flights_n, 1);
    (void)pthread_mutex_destroy(&f->lock);
    entry_ref_release(&f->found);
    buf_done(&f->body);
    if (f->body_charged > 0)
        limits_give_back(f->table->conf.limits, f->body_charged);
    free(f->trailers);
    free(f->terms_tags);
    free(f);
}

/* Nobody finds it from here on. Takes and leaves the shard's lock; the flight's must not be held. */
static void flight_unlist(struct flight *f)
{
    struct shard *s = shard_of(f->table, &f->key);

    if (f->alone)
        return;
    (void)pthread_mutex_lock(&s->lock);
    list_remove(&f->bucket);
    (void)pthread_mutex_unlock(&s->lock);
}

/* -- waking; the flight's lock is held -- */

static void on_reader_msg(struct loop_msg *m)
{
    struct flight_reader *r = CONTAINER_OF(m, struct flight_reader, msg);
    struct flight *f = r->flight; /* changes on this thread only */

    if (f)
        (void)pthread_mutex_lock(&f->lock);
    r->posted = false;
    if (f)
        (void)pthread_mutex_unlock(&f->lock);
    r->on_progress(r);
}

static void reader_notify(struct flight_reader *r)
{
    r->waiting = false;
    if (r->posted)
        return;
    r->posted = true;
    r->msg.on_msg = on_reader_msg;
    loop_post(r->loop, &r->msg);
}

static void notify_waiting(struct flight *f)
{
    LIST_FOR(it, &f->readers)
    {
        struct flight_reader *r = CONTAINER_OF(it, struct flight_reader, link);

        if (r->waiting)
            reader_notify(r);
    }
}

static void on_producer_msg(struct loop_msg *m)
{
    struct flight_producer *p = CONTAINER_OF(m, struct flight_producer, msg);
    struct flight *f = p->flight; /* changes on this thread only */

    if (f)
        (void)pthread_mutex_lock(&f->lock);
    p->posted = false;
    if (f)
        (void)pthread_mutex_unlock(&f->lock);
    p->on_event(p);
}

static void producer_notify(struct flight *f)
{
    struct flight_producer *p = f->producer;

    if (!p || p->posted)
        return;
    p->posted = true;
    p->msg.on_msg = on_producer_msg;
    loop_post(p->loop, &p->msg);
}

/* -- readers -- */

static void attach(struct flight *f, struct flight_reader *r, bool opener)
{
    atomic_fetch_add(&f->refs, 1);
    atomic_fetch_add(&f->table->readers_n, 1);
    r->flight = f;
    r->chunk = NULL;
    r->at = 0;
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
    struct marker *m = marker_of(s, key);
    enum flight_joined result;
    struct flight *f;

    assert(!r->flight);
    (void)pthread_mutex_lock(&s->lock);
    f = find(bucket_of(s, key), key);
    if (m->until_ms > now_ms && digest_eq(&m->key, key))
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

struct flight *flight_open_unread(struct flights *t, const struct digest *key, int64_t now_ms)
{
    struct shard *s = shard_of(t, key);
    struct marker *m = marker_of(s, key);
    struct flight *f = NULL;

    (void)pthread_mutex_lock(&s->lock);
    if (!find(bucket_of(s, key), key) && !(m->until_ms > now_ms && digest_eq(&m->key, key)))
        f = flight_new(t, key, false);
    if (f) {
        atomic_fetch_add(&f->refs, 1);
        list_push_back(bucket_of(s, key), &f->bucket);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return f;
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

/* False while it is not known whether @r asks for the variant that is coming. Under the lock. */
static bool may_be_for(const struct flight *f, const struct flight_reader *r)
{
    return !f->varies || r->opener || r->stays;
}

enum flight_state flight_look(struct flight_reader *r, const struct flight_head **out_head)
{
    struct flight *f = r->flight;
    enum flight_state state;

    assert(f);
    (void)pthread_mutex_lock(&f->lock);
    if (r->sent_away || (f->ended && f->how == FLIGHT_IN_STORE))
        state = FLIGHT_RETRY;
    else if (f->ended && f->how == FLIGHT_FOUND)
        state = FLIGHT_BELOW;
    else if (!may_be_for(f, r))
        state = FLIGHT_VARIES;
    else if (f->published)
        state = FLIGHT_READY;
    else
        state = FLIGHT_WAIT;
    r->waiting = state == FLIGHT_WAIT;
    (void)pthread_mutex_unlock(&f->lock);

    if (state == FLIGHT_READY)
        *out_head = &f->head;
    if (state == FLIGHT_RETRY)
        (void)flight_leave(r); /* a call still on its way finds it detached, or joined elsewhere: harmless */
    return state;
}

void flight_take_found(struct flight_reader *r, struct entry_ref *out, struct buf *body, size_t *charged)
{
    struct flight *f = r->flight;

    *out = entry_ref_again(&f->found);
    if (r->opener) { /* there is one: nobody else looks at it */
        *body = f->body;
        *charged = f->body_charged;
        f->body = (struct buf){NULL, 0, 0, f->body.max};
        f->body_charged = 0;
    }
    (void)flight_leave(r);
}

const struct flight_split *flight_split_of(const struct flight_reader *r)
{
    return &r->flight->split;
}

void flight_stay(struct flight_reader *r)
{
    r->stays = true; /* only its own thread asks */
}

/* The bytes at the cursor, moved to the next chunk where one is used up. Under the lock. */
static struct slice bytes_at(struct flight *f, struct flight_reader *r)
{
    if (!r->chunk) {
        r->chunk = f->first;
        r->at = 0;
    }
    while (r->chunk && r->at == r->chunk->len && r->chunk->next) {
        r->chunk = r->chunk->next;
        r->at = 0;
    }
    return r->chunk ? slice_make(r->chunk->bytes + r->at, r->chunk->len - r->at) : (struct slice){NULL, 0};
}

/* Frees what every reader has behind it; only where nothing will be stored. Under the lock. */
static void trim(struct flight *f)
{
    while (f->first && f->first->next) {
        LIST_FOR(it, &f->readers)
        {
            struct flight_reader *r = CONTAINER_OF(it, struct flight_reader, link);

            if (!r->chunk || (r->chunk == f->first && r->at < f->first->len))
                return;
        }
        LIST_FOR(it, &f->readers)
        {
            struct flight_reader *r = CONTAINER_OF(it, struct flight_reader, link);

            if (r->chunk == f->first) {
                r->chunk = f->first->next;
                r->at = 0;
            }
        }
        struct flight_chunk *gone = f->first;

        f->first = gone->next;
        f->buffered -= gone->len;
        chunk_free(f, gone);
    }
}

static bool has_room(const struct flight *f)
{
    return !f->windowed || f->buffered < f->table->conf.window;
}

static void advance(struct flight *f, struct flight_reader *r, size_t n)
{
    r->at += n;
    if (!f->windowed)
        return;
    trim(f);
    if (f->paused && has_room(f)) {
        f->paused = false;
        producer_notify(f);
    }
}

int64_t flight_read(struct flight_reader *r, char *buf, size_t cap)
{
    struct flight *f = r->flight;
    struct slice bytes;
    int64_t result;

    (void)pthread_mutex_lock(&f->lock);
    bytes = bytes_at(f, r);
    if (bytes.len > 0)
        result = (int64_t)(bytes.len < cap ? bytes.len : cap);
    else if (!f->ended)
        result = FLIGHT_READ_WAIT;
    else
        result = f->how == FLIGHT_WHOLE ? FLIGHT_READ_END : FLIGHT_READ_CUT;
    r->waiting = result == FLIGHT_READ_WAIT;
    (void)pthread_mutex_unlock(&f->lock);
    if (result <= 0)
        return result;

    memcpy(buf, bytes.data,
           (size_t)result); /* the cursor keeps the chunk, and bytes once there do not change */
    (void)pthread_mutex_lock(&f->lock);
    advance(f, r, (size_t)result);
    (void)pthread_mutex_unlock(&f->lock);
    return result;
}

bool flight_leave(struct flight_reader *r)
{
    struct flight *f = r->flight;
    bool last;

    if (!f)
        return !r->posted;
    (void)pthread_mutex_lock(&f->lock);
    list_remove(&r->link);
    f->readers_n--;
    r->waiting = false;
    last = list_empty(&f->readers);
    if (f->windowed && !last) {
        trim(f);
        if (f->paused && has_room(f)) {
            f->paused = false;
            producer_notify(f);
        }
    }
    if (last && !f->ended)
        producer_notify(f);
    (void)pthread_mutex_unlock(&f->lock);
    atomic_fetch_sub(&f->table->readers_n, 1);
    r->flight = NULL;
    flight_unref(f);
    return !r->posted;
}

/* Whoever has joined is sent to the store. */
static void give_up(struct flight *f)
{
    assert(!f->producer);
    flight_unlist(f);
    (void)pthread_mutex_lock(&f->lock);
    f->how = FLIGHT_IN_STORE;
    f->ended = true;
    notify_waiting(f);
    (void)pthread_mutex_unlock(&f->lock);
}

void flight_give_up(struct flight_reader *r)
{
    give_up(r->flight);
    (void)flight_leave(r);
}

void flight_release(struct flight *f, bool in_store)
{
    if (in_store)
        give_up(f);
    flight_unref(f);
}

bool flight_in_one_piece(struct flight_reader *r, struct slice *out)
{
    struct flight *f = r->flight;
    bool one;

    (void)pthread_mutex_lock(&f->lock);
    one = f->ended && f->how == FLIGHT_WHOLE && !f->windowed && !r->chunk && f->first && f->first == f->last;
    if (one)
        *out = slice_make(f->first->bytes, f->first->len);
    (void)pthread_mutex_unlock(&f->lock);
    return one;
}

bool flight_has_all(struct flight_reader *r)
{
    struct flight *f = r->flight;
    bool all;

    (void)pthread_mutex_lock(&f->lock);
    all = f->end_marked && bytes_at(f, r).len == 0;
    (void)pthread_mutex_unlock(&f->lock);
    return all;
}

void flight_mark_end(struct flight *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->end_marked = true;
    (void)pthread_mutex_unlock(&f->lock);
}

/* Under the lock. */
static void offer(struct flight *f, const struct flight_terms *terms, bool of_opener)
{
    f->terms_given = true;
    f->terms_of_opener = of_opener;
    f->terms = *terms;
    f->terms_tags = terms->tags.len ? strndup(terms->tags.data, terms->tags.len) : NULL;
    f->terms.tags = slice_str(f->terms_tags);
}

void flight_offer(struct flight_reader *r, const struct flight_terms *terms)
{
    struct flight *f = r->flight;

    (void)pthread_mutex_lock(&f->lock);
    if (!f->terms_given && may_be_for(f, r))
        offer(f, terms, r->opener);
    (void)pthread_mutex_unlock(&f->lock);
}

void flight_offer_unread(struct flight *f, const struct flight_terms *terms)
{
    (void)pthread_mutex_lock(&f->lock);
    if (!f->terms_given)
        offer(f, terms, true);
    (void)pthread_mutex_unlock(&f->lock);
}

enum gate_reason flight_verdict(struct flight_reader *r)
{
    enum gate_reason verdict;

    (void)pthread_mutex_lock(&r->flight->lock);
    verdict = r->flight->verdict;
    (void)pthread_mutex_unlock(&r->flight->lock);
    return verdict;
}

struct flight_tokens flight_tokens(struct flight_reader *r)
{
    struct flight_tokens tokens;

    (void)pthread_mutex_lock(&r->flight->lock);
    tokens = r->flight->tokens;
    (void)pthread_mutex_unlock(&r->flight->lock);
    return tokens;
}

void flight_set_tokens(struct flight *f, struct flight_tokens tokens)
{
    (void)pthread_mutex_lock(&f->lock);
    f->tokens = tokens;
    (void)pthread_mutex_unlock(&f->lock);
}

struct flight_times flight_times(struct flight_reader *r)
{
    struct flight_times times;

    (void)pthread_mutex_lock(&r->flight->lock);
    times = r->flight->times;
    (void)pthread_mutex_unlock(&r->flight->lock);
    return times;
}

void flight_set_times(struct flight *f, const struct flight_times *times)
{
    (void)pthread_mutex_lock(&f->lock);
    f->times = *times;
    (void)pthread_mutex_unlock(&f->lock);
}

const char *flight_stored_id(struct flight_reader *r)
{
    struct flight *f = r->flight;
    bool stored;

    (void)pthread_mutex_lock(&f->lock);
    stored = f->ended && f->how == FLIGHT_WHOLE && f->verdict == GATE_STORE;
    (void)pthread_mutex_unlock(&f->lock);
    return stored ? f->id : NULL;
}

const struct fields *flight_trailers(struct flight_reader *r)
{
    const struct fields *trailers;

    (void)pthread_mutex_lock(&r->flight->lock);
    trailers = r->flight->ended ? r->flight->trailers : NULL;
    (void)pthread_mutex_unlock(&r->flight->lock);
    return trailers;
}

/* -- the producer -- */

void flight_produce(struct flight *f, struct flight_producer *p)
{
    atomic_fetch_add(&f->refs, 1);
    p->posted = false;
    p->flight = f;
    (void)pthread_mutex_lock(&f->lock);
    assert(!f->producer);
    f->producer = p;
    (void)pthread_mutex_unlock(&f->lock);
}

int64_t flight_seq(const struct flight *f)
{
    return f->seq;
}

const char *flight_id(const struct flight *f)
{
    return f->id;
}

const struct digest *flight_key(const struct flight *f)
{
    return &f->key;
}

static void raise_seq(struct flights *t, int64_t seq)
{
    int_fast64_t last = atomic_load(&t->seq);

    while (last < seq && !atomic_compare_exchange_weak(&t->seq, &last, seq))
        ;
}

void flight_raise_seq(struct flight *f, int64_t seq)
{
    struct shard *s = shard_of(f->table, &f->key);

    raise_seq(f->table, seq);
    (void)pthread_mutex_lock(&s->lock); /* under which others look at it */
    if (f->seq < seq)
        f->seq = seq;
    (void)pthread_mutex_unlock(&s->lock);
}

void flight_adopt_id(struct flight *f, struct slice id)
{
    assert(!f->published && id.len == sizeof(f->id) - 1);
    memcpy(f->id, id.data, id.len);
}

void flight_rewind(struct flight *f)
{
    (void)pthread_mutex_lock(&f->lock);
    assert(!f->published);
    while (f->first) {
        struct flight_chunk *c = f->first;

        f->first = c->next;
        chunk_free(f, c);
    }
    f->last = NULL;
    f->appended = f->buffered = 0;
    f->paused = f->end_marked = false;
    f->head = (struct flight_head){.body_len = -1}; /* texts stay until the flight goes */
    (void)pthread_mutex_unlock(&f->lock);
}

bool flight_is_alone(const struct flight *f)
{
    return f->alone;
}

struct flight_head *flight_head_edit(struct flight *f)
{
    assert(!f->published); /* only the producer sets it, so it may look without the lock */
    return &f->head;
}

const struct flight_head *flight_head(const struct flight *f)
{
    return &f->head;
}

struct slice flight_keep(struct flight *f, struct slice s)
{
    struct kept *k = malloc(sizeof(*k) + s.len + 1);

    if (!k)
        return (struct slice){NULL, 0};
    if (s.len > 0)
        memcpy(k->bytes, s.data, s.len);
    k->bytes[s.len] = '\0';
    k->next = f->kept;
    f->kept = k;
    return slice_make(k->bytes, s.len);
}

struct fields *flight_trailers_edit(struct flight *f)
{
    if (!f->trailers)
        f->trailers = calloc(1, sizeof(*f->trailers)); /* seen by readers only once ended */
    return f->trailers;
}

const struct fields *flight_trailers_so_far(const struct flight *f)
{
    return f->trailers;
}

bool flight_get_terms(struct flight *f, struct flight_terms *out)
{
    bool given;

    (void)pthread_mutex_lock(&f->lock);
    given = f->terms_given;
    *out = f->terms; /* set once, so what it points at stays */
    (void)pthread_mutex_unlock(&f->lock);
    return given;
}

bool flight_vary(struct flight *f, const struct flight_split *split)
{
    f->split = (struct flight_split){flight_keep(f, split->names), flight_keep(f, split->id), split->key};
    if (!f->split.names.data || !f->split.id.data)
        return false;
    (void)pthread_mutex_lock(&f->lock);
    assert(!f->published && !f->varies);
    f->varies = true;
    if (!f->terms_of_opener) { /* who stays offers his again */
        f->terms_given = false;
        free(f->terms_tags);
        f->terms_tags = NULL;
    }
    notify_waiting(f);
    (void)pthread_mutex_unlock(&f->lock);
    return true;
}

void flight_set_found(struct flight *f, struct entry_ref *found, struct buf *body, size_t charged)
{
    f->found = *found;
    *found = (struct entry_ref){0};
    f->body = *body;
    f->body_charged = charged;
    *body = (struct buf){NULL, 0, 0, body->max};
}

const struct flight_split *flight_varies_by(const struct flight *f)
{
    return f->varies ? &f->split : NULL; /* only the producer sets it, so it may look without the lock */
}

void flight_publish(struct flight *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->published = true;
    notify_waiting(f);
    (void)pthread_mutex_unlock(&f->lock);
}

/* A chunk that has room for at least one byte; NULL with *@why set. Only the producer appends, so only it
 * calls. */
static struct flight_chunk *chunk_for(struct flight *f, size_t want, int *why)
{
    size_t cap = CHUNK_BYTES_MIN;
    struct flight_chunk *c = f->last;

    if (c && c->len < c->cap)
        return c;
    while (cap < want || cap < f->appended)
        cap *= 2;
    if (cap > f->table->conf.window / 4) /* a chunk is freed whole: one that is used up must leave room */
        cap = f->table->conf.window / 4;
    if (cap > CHUNK_BYTES_MAX)
        cap = CHUNK_BYTES_MAX;
    if (!limits_take_bytes(f->table->conf.limits, sizeof(*c) + cap)) {
        *why = -ENOBUFS;
        return NULL;
    }
    c = malloc(sizeof(*c) + cap);
    if (!c) {
        limits_give_back(f->table->conf.limits, sizeof(*c) + cap);
        *why = -ENOMEM;
        return NULL;
    }
    c->next = NULL;
    c->len = 0;
    c->cap = cap;
    return c;
}

static void chunk_link(struct flight *f, struct flight_chunk *c)
{
    if (f->last == c)
        return;
    if (f->last)
        f->last->next = c;
    else
        f->first = c;
    f->last = c;
}

/* Past its bound a flight stops being something to store or to join, and becomes a pipe. Under the lock. */
static void keep_bound(struct flight *f)
{
    if (f->appended > f->table->conf.bytes_max)
        f->windowed = true;
    if (f->windowed)
        trim(f);
    f->paused = !has_room(f);
}

int flight_append(struct flight *f, struct slice bytes)
{
    int why = 0;

    (void)pthread_mutex_lock(&f->lock);
    while (bytes.len > 0) {
        struct flight_chunk *c = chunk_for(f, bytes.len, &why);
        size_t n;

        if (!c)
            break;
        n = c->cap - c->len < bytes.len ? c->cap - c->len : bytes.len;
        memcpy(c->bytes + c->len, bytes.data, n);
        c->len += n;
        chunk_link(f, c);
        f->appended += n;
        f->buffered += n;
        bytes = slice_skip(bytes, n);
    }
    keep_bound(f);
    if (f->published)
        notify_waiting(f);
    if (why == 0 && f->paused)
        why = -EAGAIN;
    (void)pthread_mutex_unlock(&f->lock);
    return why;
}

bool flight_has_room(struct flight *f)
{
    bool room;

    (void)pthread_mutex_lock(&f->lock);
    if (f->windowed && list_empty(&f->readers))
        trim(f); /* nobody here holds it to any pace */
    room = has_room(f);
    f->paused = !room;
    (void)pthread_mutex_unlock(&f->lock);
    return room;
}

bool flight_is_complete(struct flight *f)
{
    bool complete;

    (void)pthread_mutex_lock(&f->lock);
    complete = !f->windowed;
    (void)pthread_mutex_unlock(&f->lock);
    return complete;
}

size_t flight_pieces(struct flight *f, struct slice *out, size_t n)
{
    size_t i = 0;

    (void)pthread_mutex_lock(&f->lock);
    assert(!f->windowed);
    for (const struct flight_chunk *c = f->first; c; c = c->next, i++)
        if (i < n)
            out[i] = slice_make(c->bytes, c->len);
    (void)pthread_mutex_unlock(&f->lock);
    return i;
}

uint64_t flight_bytes(struct flight *f)
{
    uint64_t n;

    (void)pthread_mutex_lock(&f->lock);
    n = f->appended;
    (void)pthread_mutex_unlock(&f->lock);
    return n;
}

void flight_be_pipe(struct flight *f)
{
    assert(f->alone);
    (void)pthread_mutex_lock(&f->lock);
    f->windowed = true;
    (void)pthread_mutex_unlock(&f->lock);
}

static void marker_set(struct flight *f, int64_t now_ms)
{
    struct shard *s = shard_of(f->table, &f->key);

    (void)pthread_mutex_lock(&s->lock);
    *marker_of(s, &f->key) = (struct marker){f->key, now_ms + f->table->conf.marker_ms};
    (void)pthread_mutex_unlock(&s->lock);
}

bool flight_let_go(struct flight *f, enum flight_let why, int64_t now_ms)
{
    bool opener_left = true;

    if (f->alone)
        return true;
    if (why == FLIGHT_LET_UNSHAREABLE || why == FLIGHT_LET_KEPT)
        marker_set(f, now_ms); /* before the others are sent away, so that they do not queue again */
    flight_unlist(f);
    (void)pthread_mutex_lock(&f->lock);
    f->let_go = true;
    if (why == FLIGHT_LET_UNSHAREABLE || why == FLIGHT_LET_ONCE)
        f->windowed = true; /* one reader, nothing to store */
    LIST_FOR(it, &f->readers)
    {
        struct flight_reader *r = CONTAINER_OF(it, struct flight_reader, link);

        if (r->opener) {
            opener_left = false;
        } else {
            r->sent_away = true;
            reader_notify(r);
        }
    }
    (void)pthread_mutex_unlock(&f->lock);
    return !opener_left;
}

bool flight_is_read(struct flight *f)
{
    bool any;

    (void)pthread_mutex_lock(&f->lock);
    any = !list_empty(&f->readers);
    (void)pthread_mutex_unlock(&f->lock);
    return any;
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

bool flight_end(struct flight *f, enum flight_end how, enum gate_reason verdict)
{
    struct flight_producer *p = f->producer; /* set once, by this thread */
    bool quiet;

    flight_unlist(f);
    (void)pthread_mutex_lock(&f->lock);
    f->how = how;
    f->verdict = verdict;
    f->ended = f->published = true;
    quiet = !p->posted;
    p->flight = NULL;
    f->producer = NULL;
    notify_waiting(f);
    (void)pthread_mutex_unlock(&f->lock);
    flight_unref(f);
    return quiet;
}
