/*
 * The producer's side of a flight: one fetch, on one loop.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "flight_priv.h"
#include "refrain/base/attr.h"

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

/* -- which it is -- */

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

bool flight_is_alone(const struct flight *f)
{
    return f->alone;
}

void flight_adopt_id(struct flight *f, struct slice id)
{
    assert(!f->published && id.len == sizeof(f->id) - 1);
    memcpy(f->id, id.data, id.len);
}

/* -- its head -- */

struct flight_head *flight_head_edit(struct flight *f)
{
    assert(!f->published); /* only the producer sets it, so it may look without the lock */
    return &f->head;
}

const struct flight_head *flight_head(const struct flight *f)
{
    return &f->head;
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
    flight_wake_readers(f);
    (void)pthread_mutex_unlock(&f->lock);
    return true;
}

const struct flight_split *flight_varies_by(const struct flight *f)
{
    return f->varies ? &f->split : NULL; /* only the producer sets it, so it may look without the lock */
}

void flight_set_found(struct flight *f, struct entry_ref *found, struct buf *body, size_t charged)
{
    f->found = *found;
    *found = (struct entry_ref){0};
    f->body = *body;
    f->body_charged = charged;
    *body = (struct buf){NULL, 0, 0, body->max};
}

void flight_publish(struct flight *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->published = true;
    flight_wake_readers(f);
    (void)pthread_mutex_unlock(&f->lock);
}

/* -- its bytes -- */

/* Past its bound a flight stops being something to store or to join, and becomes a pipe. Under the lock. */
static void keep_bound(struct flight *f)
{
    if (f->bytes.appended > f->table->conf.bytes_max)
        f->windowed = true;
    if (f->windowed)
        flight_trim(f);
    f->paused = !flight_is_in_bounds(f);
}

int flight_append(struct flight *f, struct slice bytes)
{
    int r;

    (void)pthread_mutex_lock(&f->lock);
    r = chunks_append(&f->bytes, bytes);
    keep_bound(f);
    if (f->published)
        flight_wake_readers(f);
    if (r == 0 && f->paused)
        r = -EAGAIN;
    (void)pthread_mutex_unlock(&f->lock);
    return r;
}

bool flight_has_room(struct flight *f)
{
    bool room;

    (void)pthread_mutex_lock(&f->lock);
    if (f->windowed && list_empty(&f->readers))
        flight_trim(f); /* nobody here holds it to any pace */
    room = flight_is_in_bounds(f);
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
    size_t pieces;

    (void)pthread_mutex_lock(&f->lock);
    assert(!f->windowed);
    pieces = chunks_pieces(&f->bytes, out, n);
    (void)pthread_mutex_unlock(&f->lock);
    return pieces;
}

uint64_t flight_bytes(struct flight *f)
{
    uint64_t n;

    (void)pthread_mutex_lock(&f->lock);
    n = f->bytes.appended;
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

void flight_rewind(struct flight *f)
{
    (void)pthread_mutex_lock(&f->lock);
    assert(!f->published);
    chunks_clear(&f->bytes);
    f->paused = f->end_marked = false;
    f->head = (struct flight_head){.body_len = -1}; /* texts stay until the flight goes */
    (void)pthread_mutex_unlock(&f->lock);
}

void flight_mark_end(struct flight *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->end_marked = true;
    (void)pthread_mutex_unlock(&f->lock);
}

void flight_set_tokens(struct flight *f, struct flight_tokens tokens)
{
    (void)pthread_mutex_lock(&f->lock);
    f->tokens = tokens;
    (void)pthread_mutex_unlock(&f->lock);
}

void flight_set_times(struct flight *f, const struct flight_times *times)
{
    (void)pthread_mutex_lock(&f->lock);
    f->times = *times;
    (void)pthread_mutex_unlock(&f->lock);
}

/* -- its end -- */

bool flight_let_go(struct flight *f, enum flight_let why, int64_t now_ms)
{
    bool opener_left = true;

    if (f->alone)
        return true;
    if (why == FLIGHT_LET_UNSHAREABLE || why == FLIGHT_LET_KEPT)
        flight_set_marker(f, now_ms); /* before the others are sent away, so that they do not queue again */
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
            flight_wake_reader(r);
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
    flight_wake_readers(f);
    (void)pthread_mutex_unlock(&f->lock);
    flight_unref(f);
    return quiet;
}
