/*
 * pricing - what an answer's tokens cost, by model: the operator's own table (`pricing:` in the
 * configuration). SPEC section 12.
 *
 * Threads: immutable once made; from any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"

/* Prices of one model, in 1e-12 dollars a token, which is 1e-6 dollars a million of them. */
struct price {
    const char *model; /* a glob */
    uint64_t in_pico, out_pico;
};

/* The first row that matches is taken. Borrowed. */
struct pricing {
    const struct price *at;
    size_t n;
};

/** The row of @model; NULL where none matches: only tokens are counted then. */
const struct price *pricing_find(const struct pricing *p, struct slice model);
/** What so many tokens cost, in 1e-9 dollars, rounded to nearest; saturates. */
uint64_t price_nano_dollars(const struct price *price, uint64_t tokens_in, uint64_t tokens_out);
