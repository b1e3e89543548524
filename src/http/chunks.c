#include "refrain/http/chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE_BYTES_MIN = 2048, /* pieces grow with the run: */
    PIECE_BYTES_MAX = 64 * 1024,
};

struct chunk {
    struct chunk *next;
    size_t len, cap;
    char bytes[];
};

static void chunk_free(struct chunks *c, struct chunk *one)
{
    limits_give_back(c->limits, sizeof(*one) + one->cap);
    free(one);
}

void chunks_clear(struct chunks *c)
{
    while (c->first)
        chunks_drop_first(c);
    c->appended = 0;
}

/* A piece that has room for at least one byte; NULL with *@why set. */
static struct chunk *chunk_for(struct chunks *c, size_t want, int *why)
{
    size_t cap = PIECE_BYTES_MIN;
    struct chunk *one = c->last;

    if (one && one->len < one->cap)
        return one;
    while (cap < want || cap < c->appended)
        cap *= 2;
    if (cap > c->piece_bytes_max)
        cap = c->piece_bytes_max;
    if (cap > PIECE_BYTES_MAX)
        cap = PIECE_BYTES_MAX;
    if (!limits_take_bytes(c->limits, sizeof(*one) + cap)) {
        *why = -ENOBUFS;
        return NULL;
    }
    one = malloc(sizeof(*one) + cap);
    if (!one) {
        limits_give_back(c->limits, sizeof(*one) + cap);
        *why = -ENOMEM;
        return NULL;
    }
    one->next = NULL;
    one->len = 0;
    one->cap = cap;
    return one;
}

static void chunk_link(struct chunks *c, struct chunk *one)
{
    if (c->last == one)
        return;
    if (c->last)
        c->last->next = one;
    else
        c->first = one;
    c->last = one;
}

int chunks_append(struct chunks *c, struct slice bytes)
{
    int why = 0;

    while (bytes.len > 0) {
        struct chunk *one = chunk_for(c, bytes.len, &why);
        size_t n;

        if (!one)
            return why;
        n = one->cap - one->len < bytes.len ? one->cap - one->len : bytes.len;
        memcpy(one->bytes + one->len, bytes.data, n);
        one->len += n;
        chunk_link(c, one);
        c->appended += n;
        c->buffered += n;
        bytes = slice_skip(bytes, n);
    }
    return 0;
}

struct slice chunks_at(const struct chunks *c, struct chunks_cursor *at)
{
    if (!at->chunk)
        *at = (struct chunks_cursor){c->first, 0};
    while (at->chunk && at->at == at->chunk->len && at->chunk->next)
        *at = (struct chunks_cursor){at->chunk->next, 0};
    return at->chunk ? slice_make(at->chunk->bytes + at->at, at->chunk->len - at->at)
                     : (struct slice){NULL, 0};
}

bool chunks_has_left_first(const struct chunks *c, struct chunks_cursor *at)
{
    if (!at->chunk)
        return false; /* it has not begun */
    (void)chunks_at(c, at);
    return at->chunk != c->first;
}

bool chunks_may_drop_first(const struct chunks *c)
{
    return c->first && c->first->next;
}

void chunks_drop_first(struct chunks *c)
{
    struct chunk *gone = c->first;

    c->first = gone->next;
    if (!c->first)
        c->last = NULL;
    c->buffered -= gone->len;
    chunk_free(c, gone);
}

bool chunks_in_one(const struct chunks *c, const struct chunks_cursor *at, struct slice *out)
{
    if (at->chunk || !c->first || c->first != c->last)
        return false;
    *out = slice_make(c->first->bytes, c->first->len);
    return true;
}

size_t chunks_pieces(const struct chunks *c, struct slice *out, size_t n)
{
    size_t i = 0;

    for (const struct chunk *one = c->first; one; one = one->next, i++)
        if (i < n)
            out[i] = slice_make(one->bytes, one->len);
    return i;
}
