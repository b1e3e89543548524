/*
 * keyset - counts distinct keys in bounded memory: of each, 64 bits are remembered. Two of a hundred thousand
 * keys are taken for one once in four billion sets.
 * Threads: one at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"

enum { KEYSET_MAX = 128 * 1024 }; /* 2 MiB */

struct keyset {
    uint64_t *slots; /* 0: empty */
    size_t slots_n;  /* a power of two */
    size_t n;
    bool full; /* some key was not taken up: there are no fewer than n */
};

/** True when @key is new; what cannot be remembered any more is not. Start from zero. */
bool keyset_add(struct keyset *k, const struct digest *key);
/** The same of what is remembered of a key: from keyset_each, or from another instance. */
bool keyset_add_sum(struct keyset *k, uint64_t sum);
/** Calls @each with what is remembered of each key. */
void keyset_each(const struct keyset *k, void (*each)(void *arg, uint64_t sum), void *arg);
void keyset_done(struct keyset *k);
