/*
 * A reader's side of a flight: on its own loop, at a place of its own.
 */
#include <assert.h>
#include <stdlib.h>

#include "flight_priv.h"

bool flight_may_be_for(const struct flight *f, const struct flight_reader *r)
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
    else if (!flight_may_be_for(f, r))
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

/* -- bytes -- */

int64_t flight_read(struct flight_reader *r, char *buf, size_t cap)
{
    struct flight *f = r->flight;
    struct slice bytes;
    int64_t result;

    (void)pthread_mutex_lock(&f->lock);
    bytes = chunks_at(&f->bytes, &r->cursor);
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
    r->cursor.at += (size_t)result;
    flight_keep_pace(f);
    (void)pthread_mutex_unlock(&f->lock);
    return result;
}

bool flight_in_one_piece(struct flight_reader *r, struct slice *out)
{
    struct flight *f = r->flight;
    bool one;

    (void)pthread_mutex_lock(&f->lock);
    one = f->ended && f->how == FLIGHT_WHOLE && !f->windowed && chunks_in_one(&f->bytes, &r->cursor, out);
    (void)pthread_mutex_unlock(&f->lock);
    return one;
}

bool flight_has_all(struct flight_reader *r)
{
    struct flight *f = r->flight;
    bool all;

    (void)pthread_mutex_lock(&f->lock);
    all = f->end_marked && chunks_at(&f->bytes, &r->cursor).len == 0;
    (void)pthread_mutex_unlock(&f->lock);
    return all;
}

/* -- leaving -- */

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
    if (!last)
        flight_keep_pace(f);
    if (last && !f->ended)
        flight_wake_producer(f);
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
    flight_wake_readers(f);
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

/* -- terms -- */

/* Under the lock. Who came between the opening and the opener's own offer may turn out to ask for another
 * variant, and its terms with it: so the opener's take their place, while there is no producer to have seen
 * them.
 */
static void offer(struct flight *f, const struct flight_terms *terms, bool of_opener)
{
    if (f->terms_given && (!of_opener || f->terms_of_opener || f->producer))
        return;
    free(f->terms_tags);
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
    if (flight_may_be_for(f, r))
        offer(f, terms, r->opener);
    (void)pthread_mutex_unlock(&f->lock);
}

void flight_offer_unread(struct flight *f, const struct flight_terms *terms)
{
    (void)pthread_mutex_lock(&f->lock);
    offer(f, terms, true);
    (void)pthread_mutex_unlock(&f->lock);
}

/* -- what came of it -- */

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

struct flight_times flight_times(struct flight_reader *r)
{
    struct flight_times times;

    (void)pthread_mutex_lock(&r->flight->lock);
    times = r->flight->times;
    (void)pthread_mutex_unlock(&r->flight->lock);
    return times;
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
