/*
 * exchange_body - a request's body as it comes: collected, for a key to be made of it, or handed on to
 * upstream piece by piece. What is collected counts against an allowance that all workers share.
 */
#include <errno.h>

#include "exchange_priv.h"

enum { DRAIN_BYTES_MAX = 64 << 20 /* of a refused body, read for the sake of a clean answer */ };

void exchange_drop_body(struct exchange *x)
{
    if (x->body_charged == 0)
        return;
    limits_give_back(x->worker->limits, x->body_charged);
    x->body_charged = 0;
}

/* What a request will come to counts against the allowance as soon as it is known. */
static bool charge(struct exchange *x, size_t bytes)
{
    if (bytes <= BODY_BYTES_UNCOUNTED || bytes <= x->body_charged)
        return true;
    if (!limits_take_bytes(x->worker->limits, bytes - x->body_charged))
        return false;
    x->body_charged = bytes;
    return true;
}

static int collect(struct exchange *x, struct slice bytes)
{
    size_t whole = x->content_length > 0 ? (size_t)x->content_length : x->body.len + bytes.len;
    int r;

    if (!charge(x, whole))
        return -ENOBUFS;
    r = x->content_length > 0 && x->body.len == 0 ? buf_reserve_exact(&x->body, whole) : 0;
    return r < 0 ? r : buf_add_slice(&x->body, bytes);
}

/* It has grown past what may be held: let it through after all. */
static void collected_too_much(struct exchange *x)
{
    exchange_bypass(x, "body-size");
    x->next = STEP_PASS;
    exchange_start_alone(x, true);
    buf_clear(&x->body);
}

size_t exchange_on_body(struct front_req *r, struct slice bytes)
{
    struct exchange *x = exchange_of(r);
    const struct site *s = site_of(x);

    x->body_seen += bytes.len;
    if (s->body_bytes_max > 0 && x->body_seen > s->body_bytes_max) {
        exchange_refuse(x, ERR_TOO_LARGE, "the body is larger than listen.max_body_bytes");
        if (x->upload)
            upload_abort(x->upload);
    }
    if (x->refused) {
        if (x->body_seen > s->body_bytes_max + DRAIN_BYTES_MAX)
            front_abort(r);
        return bytes.len;
    }
    if (x->manner == MANNER_CACHED && x->body.len + bytes.len > s->key_body_bytes_max)
        collected_too_much(x);
    if (x->upload) {
        size_t taken = upload_push(x->upload, bytes);

        x->body_seen -= bytes.len - taken; /* they come again */
        if (taken < bytes.len)
            front_park(r);
        return taken;
    }
    if (!x->refused && collect(x, bytes) < 0)
        exchange_refuse(x, ERR_OVERLOADED, "too many bytes are waiting in the cache");
    return bytes.len;
}
