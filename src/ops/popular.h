/*
 * popular - the entries of the memory tier with most hits.
 *
 * Threads: any; it walks over all entries, so it is for the thread pool.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"

enum { POPULAR_MAX = 100 };

struct store_mem; /* store/store_mem.h */

struct popular {
    size_t max; /* how many are wanted, POPULAR_MAX at most; set by who asks */
    size_t n;
    struct popular_entry {
        uint64_t hits;
        struct digest key;
    } at[POPULAR_MAX]; /* the most popular first */
};

/** Finds them; those without a hit are not popular. @memory: NULL is fine. */
void popular_find(struct popular *p, struct store_mem *memory);
