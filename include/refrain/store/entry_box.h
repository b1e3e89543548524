/*
 * entry_box - an entry on the heap that several hold: on its way to the lower tiers, or found in one.
 * Immutable once others hold it. Threads: any.
 */
#pragma once
#include <stdatomic.h>
#include <stddef.h>

#include "refrain/store/entry.h"

struct entry_box {
    atomic_uint refs;
    size_t len;
    _Alignas(16) char bytes[]; /* a struct entry */
};

/** Room for @len bytes, not filled in, held once. NULL when out of memory. */
struct entry_box *entry_box_new(size_t len);
/** NULL is fine, here and in unref. */
struct entry_box *entry_box_ref(struct entry_box *b);
void entry_box_unref(struct entry_box *b);

/* For whoever fills it in, before others hold it. */
static inline struct entry *entry_box_entry_edit(struct entry_box *b)
{
    return (struct entry *)b->bytes;
}
static inline const struct entry *entry_box_entry(const struct entry_box *b)
{
    return (const struct entry *)b->bytes;
}
