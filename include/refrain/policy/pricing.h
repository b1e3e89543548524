/*
 * pricing - what an answer's tokens cost, by model: the operator's own table (`pricing:` and `pricing_file:`
 * in the configuration). SPEC section 12; what is counted by it: docs/savings.md.
 *
 * Pure. Threads: immutable once made; from any thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"

/* Rows of one table: who finds no row has looked at all of them. */
enum { PRICES_MAX = 1000 };

/* Prices of the models that a glob matches, in 1e-12 dollars a token, which is 1e-6 dollars a million of
 * them. */
struct price {
    struct slice models; /* a glob */
    uint64_t in_pico, out_pico;
    uint64_t cached_pico, write_pico; /* of input from upstream's prompt cache, and of input written there */
};

/* What upstream has told of an answer. */
struct price_tokens {
    uint64_t in, out;
    uint64_t cached, written; /* of @in; what is more than @in is not counted */
};

/* The first row that matches is taken. Borrowed. */
struct pricing {
    const struct price *at;
    size_t n; /* at most PRICES_MAX */
};

/** The row of @model; NULL where none matches: only tokens are counted then. */
const struct price *pricing_find(const struct pricing *p, struct slice model);
/** What so many tokens cost, in 1e-9 dollars, rounded to nearest, half of one up; UINT64_MAX where it is
 * more. */
uint64_t price_nano_dollars(const struct price *price, const struct price_tokens *tokens);
