/*
 * shrink - gzip at rest: an entry with its body gzip-coded, as lower tiers keep it; and the other way round,
 * an entry with the identity copy that has been asked for. SPEC section 8, Compression.
 *
 * CPU work (a millisecond for 32 KiB at level 6): on the store thread for small ones, on the pool for large
 * ones, never on the way of a request. Threads: any.
 */
#pragma once
#include <stddef.h>

#include "refrain/store/entry_box.h"

struct shrink_conf {
    size_t threshold; /* bodies of at least so many bytes */
    int level;        /* 1 (fast) to 9 (small); 0: nothing is shrunk */
};

/**
 * @e with its body gzip-coded and marked ENTRY_SHRUNK, the caller's; NULL where it is best left as it is:
 * small, coded already, of a kind that does not shrink (sound, pictures), not to be transformed, a marker,
 * one of `read`, whose validators stand for the bytes upstream sent, or no smaller after all. NULL, too, when
 * out of memory.
 */
struct entry_box *shrink_entry(const struct entry *e, const struct shrink_conf *conf);

/** @e, which is gzip-coded, with its identity copy, of @plain_max bytes at most; the caller's. NULL when it
 * has one, is damaged, decodes to more, or when out of memory. */
struct entry_box *shrink_undo(const struct entry *e, size_t plain_max);
