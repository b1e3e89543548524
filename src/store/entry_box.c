#include "refrain/store/entry_box.h"

#include <stdint.h>
#include <stdlib.h>

struct entry_box *entry_box_new(size_t len)
{
    struct entry_box *b = len < SIZE_MAX - sizeof(*b) ? malloc(sizeof(*b) + len) : NULL;

    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    b->len = len;
    return b;
}

struct entry_box *entry_box_ref(struct entry_box *b)
{
    if (b)
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void entry_box_unref(struct entry_box *b)
{
    if (b && atomic_fetch_sub(&b->refs, 1) == 1)
        free(b);
}
