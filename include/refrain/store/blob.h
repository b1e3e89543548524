/*
 * blob - a run of bytes on the heap that several hold: a record on its way to the lower tiers, or from one.
 * Immutable once others hold it. Threads: any.
 */
#pragma once
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"

struct blob {
    atomic_uint refs;
    size_t len;
    _Alignas(16) char bytes[];
};

/** @len bytes, not filled in, held once. NULL when out of memory. */
struct blob *blob_new(size_t len);
/** NULL is fine, here and in unref. */
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b);

static inline struct slice blob_slice(const struct blob *b)
{
    return slice_make(b->bytes, b->len);
}
