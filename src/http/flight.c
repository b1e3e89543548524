/*
 * One flight: how it is made and freed, whom it wakes, and the pace that it keeps.
 */
#include <stdlib.h>

#include "flight_priv.h"
#include "refrain/base/attr.h"

/* Texts of the head. */
struct flight_kept {
    struct flight_kept *next;
    char bytes[];
};

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

struct flight *flight_new(struct flights *t, const struct digest *key, bool alone)
{
    struct flight *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->table = t;
    f->bytes.limits = t->conf.limits;
    f->bytes.piece_bytes_max = t->conf.window / 4; /* freed whole: one that is used up must leave room */
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

void flight_unref(struct flight *f)
{
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    chunks_clear(&f->bytes);
    while (f->kept) {
        struct flight_kept *k = f->kept;

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

struct slice flight_keep(struct flight *f, struct slice s)
{
    struct flight_kept *k = malloc(sizeof(*k) + s.len + 1);

    if (!k)
        return (struct slice){NULL, 0};
    if (s.len > 0)
        memcpy(k->bytes, s.data, s.len);
    k->bytes[s.len] = '\0';
    k->next = f->kept;
    f->kept = k;
    return slice_make(k->bytes, s.len);
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

void flight_wake_reader(struct flight_reader *r)
{
    r->waiting = false;
    if (r->posted)
        return;
    r->posted = true;
    r->msg.on_msg = on_reader_msg;
    loop_post(r->loop, &r->msg);
}

void flight_wake_readers(struct flight *f)
{
    LIST_FOR(it, &f->readers)
    {
        struct flight_reader *r = CONTAINER_OF(it, struct flight_reader, link);

        if (r->waiting)
            flight_wake_reader(r);
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

void flight_wake_producer(struct flight *f)
{
    struct flight_producer *p = f->producer;

    if (!p || p->posted)
        return;
    p->posted = true;
    p->msg.on_msg = on_producer_msg;
    loop_post(p->loop, &p->msg);
}

/* -- its pace; the flight's lock is held -- */

bool flight_is_in_bounds(const struct flight *f)
{
    return !f->windowed || f->bytes.buffered < f->table->conf.window;
}

static bool all_have_left_first(struct flight *f)
{
    LIST_FOR(it, &f->readers)
    {
        struct flight_reader *r = CONTAINER_OF(it, struct flight_reader, link);

        if (!chunks_has_left_first(&f->bytes, &r->cursor))
            return false;
    }
    return true;
}

void flight_trim(struct flight *f)
{
    while (chunks_may_drop_first(&f->bytes) && all_have_left_first(f))
        chunks_drop_first(&f->bytes);
}

void flight_keep_pace(struct flight *f)
{
    if (!f->windowed)
        return;
    flight_trim(f);
    if (f->paused && flight_is_in_bounds(f)) {
        f->paused = false;
        flight_wake_producer(f);
    }
}
