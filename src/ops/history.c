#include "refrain/ops/history.h"

#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"

enum { TIMES_BYTES_MAX = 16 * 1024 /* well over what a sketch can pack to */ };

struct history {
    size_t n, next;
    uint64_t added;
    struct reading at[HISTORY_MAX];
    struct slice times[HISTORY_MAX][HISTORY_TIMES]; /* packed; their bytes are ours */
};

struct history *history_new(void)
{
    struct history *h = calloc(1, sizeof(*h));

    if (!h)
        abort();
    return h;
}

static void times_forget(struct history *h, size_t at)
{
    for (size_t i = 0; i < HISTORY_TIMES; i++) {
        free((void *)(uintptr_t)h->times[at][i].data);
        h->times[at][i] = (struct slice){NULL, 0};
    }
}

void history_free(struct history *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < HISTORY_MAX; i++)
        times_forget(h, i);
    free(h);
}

void history_add(struct history *h, const struct reading *r)
{
    times_forget(h, h->next);
    h->at[h->next] = *r;
    h->added++;
    h->next = (h->next + 1) % HISTORY_MAX;
    if (h->n < HISTORY_MAX)
        h->n++;
}

size_t history_n(const struct history *h)
{
    return h->n;
}

uint64_t history_added(const struct history *h)
{
    return h->added;
}

/* Where the @i-th lies, 0 being the newest. */
static size_t place(const struct history *h, size_t i)
{
    return (h->next + HISTORY_MAX - 1 - i) % HISTORY_MAX;
}

void history_keep_times(struct history *h, enum history_times which, const struct sketch *s)
{
    AUTO(buf_done) struct buf packed = BUF_INIT(TIMES_BYTES_MAX);
    struct slice *at = &h->times[place(h, 0)][which];
    void *copy;

    if (h->n == 0 || at->data || sketch_count(s) == 0 || sketch_pack(s, &packed) < 0)
        return;
    copy = malloc(packed.len); /* no larger than it must be: there are a thousand */
    if (copy)
        *at = slice_make(memcpy(copy, packed.data, packed.len), packed.len);
}

void history_add_times(const struct history *h, size_t i, enum history_times which, struct sketch *into)
{
    if (i < h->n)
        sketch_merge_packed(into, h->times[place(h, i)][which]);
}

const struct reading *history_at(const struct history *h, size_t i)
{
    return i < h->n ? &h->at[place(h, i)] : NULL;
}

const struct reading *history_before(const struct history *h, int64_t ms)
{
    const struct reading *newest = history_at(h, 0), *r = newest;

    for (size_t i = 0; i < h->n; i++) {
        r = history_at(h, i);
        if (newest->mono_ms - r->mono_ms >= ms)
            break;
    }
    return r;
}
