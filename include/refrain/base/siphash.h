/*
 * siphash - 64-bit sums of short texts under a secret key: SipHash (Aumasson and Bernstein, 2012) of
 * one round a word and three at the end, as hash tables use it. Without the key nobody can make two texts
 * collide, or tell from a sum what was summed. For what lives in one process; keys of entries are SHA-256.
 * Allocates nothing. Threads: a sum one at a time.
 */
#pragma once
#include <stdint.h>

#include "refrain/base/slice.h"

struct siphash_key {
    uint64_t half[2];
};

struct siphash {
    uint64_t v[4];
    uint64_t tail; /* bytes that do not fill a word yet, the first lowest */
    uint64_t len;
};

void siphash_begin(struct siphash *s, const struct siphash_key *key);
void siphash_add(struct siphash *s, struct slice bytes);
uint64_t siphash_end(struct siphash *s);
