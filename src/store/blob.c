#include "refrain/store/blob.h"

#include <stdlib.h>

struct blob *blob_new(size_t len)
{
    struct blob *b = len < SIZE_MAX - sizeof(*b) ? malloc(sizeof(*b) + len) : NULL;

    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    b->len = len;
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    if (b)
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void blob_unref(struct blob *b)
{
    if (b && atomic_fetch_sub(&b->refs, 1) == 1)
        free(b);
}
