#include "refrain/ops/history.h"

#include <stdlib.h>

struct history {
    size_t n, next;
    struct reading at[HISTORY_MAX];
};

struct history *history_new(void)
{
    struct history *h = calloc(1, sizeof(*h));

    if (!h)
        abort();
    return h;
}

void history_free(struct history *h)
{
    free(h);
}

void history_add(struct history *h, const struct reading *r)
{
    h->at[h->next] = *r;
    h->next = (h->next + 1) % HISTORY_MAX;
    if (h->n < HISTORY_MAX)
        h->n++;
}

size_t history_n(const struct history *h)
{
    return h->n;
}

const struct reading *history_at(const struct history *h, size_t i)
{
    return i < h->n ? &h->at[(h->next + HISTORY_MAX - 1 - i) % HISTORY_MAX] : NULL;
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
