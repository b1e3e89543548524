#include "refrain/http/upload.h"

#include <errno.h>
#include <stdlib.h>

#include "refrain/base/buf.h"

enum { TRAILERS_BYTES_MAX = 16 * 1024 };

struct upload {
    unsigned refs;
    size_t bytes_max;
    struct buf bytes;
    size_t taken;        /* of bytes, from their front */
    struct buf trailers; /* name NUL value NUL … */
    bool whole, aborted, closed, starved, full;
    void (*on_room)(void *arg);
    void *room_arg;
    void (*on_more)(void *arg);
    void *more_arg;
};

struct upload *upload_new(size_t bytes_max)
{
    struct upload *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    u->refs = 1;
    u->bytes_max = bytes_max;
    u->bytes.max = bytes_max;
    u->trailers.max = TRAILERS_BYTES_MAX;
    return u;
}

struct upload *upload_ref(struct upload *u)
{
    u->refs++;
    return u;
}

void upload_unref(struct upload *u)
{
    if (!u || --u->refs > 0)
        return;
    buf_done(&u->bytes);
    buf_done(&u->trailers);
    free(u);
}

static void tell_more(struct upload *u)
{
    if (!u->starved || !u->on_more)
        return;
    u->starved = false;
    u->on_more(u->more_arg);
}

size_t upload_push(struct upload *u, struct slice bytes)
{
    size_t room = u->bytes_max - u->bytes.len;
    size_t n = bytes.len < room ? bytes.len : room;

    if (u->closed)
        return bytes.len;
    if (n > 0 && buf_add(&u->bytes, bytes.data, n) < 0) {
        upload_abort(u);
        return bytes.len;
    }
    u->full = n < bytes.len;
    tell_more(u);
    return n;
}

void upload_trailer(struct upload *u, struct slice name, struct slice value)
{
    size_t before = u->trailers.len;

    if (buf_add_slice(&u->trailers, name) < 0 || buf_add_byte(&u->trailers, '\0') < 0 ||
        buf_add_slice(&u->trailers, value) < 0 || buf_add_byte(&u->trailers, '\0') < 0)
        u->trailers.len = before;
}

void upload_finish(struct upload *u)
{
    u->whole = true;
    tell_more(u);
}

void upload_abort(struct upload *u)
{
    u->aborted = true;
    tell_more(u);
}

void upload_on_room(struct upload *u, void (*on_room)(void *arg), void *arg)
{
    u->on_room = on_room;
    u->room_arg = arg;
}

static void tell_room(struct upload *u)
{
    if (!u->full)
        return;
    u->full = false;
    if (u->on_room)
        u->on_room(u->room_arg);
}

int64_t upload_take(struct upload *u, char *buf, size_t cap)
{
    size_t left = u->bytes.len - u->taken;
    size_t n = left < cap ? left : cap;

    if (u->aborted)
        return -ECANCELED;
    if (n == 0 && u->whole)
        return 0;
    if (n == 0) {
        u->starved = true;
        return -EAGAIN;
    }
    memcpy(buf, u->bytes.data + u->taken, n);
    u->taken += n;
    if (u->taken == u->bytes.len) {
        u->taken = u->bytes.len = 0;
        tell_room(u);
    }
    return (int64_t)n;
}

void upload_trailers(struct upload *u, void (*add)(void *arg, struct slice name, struct slice value),
                     void *arg)
{
    size_t at = 0;

    while (at < u->trailers.len) {
        struct slice name = slice_str(u->trailers.data + at);
        struct slice value = slice_str(name.data + name.len + 1);

        add(arg, name, value);
        at += name.len + value.len + 2;
    }
}

void upload_on_more(struct upload *u, void (*on_more)(void *arg), void *arg)
{
    u->on_more = on_more;
    u->more_arg = arg;
}

void upload_close(struct upload *u)
{
    u->closed = true;
    u->on_more = NULL;
    u->taken = u->bytes.len = 0;
    tell_room(u);
}
