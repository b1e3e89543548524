/*
 * recommend - what an operator might change, from what evidence. SPEC section 12; docs/alerts.md.
 *
 * Each recommendation is one row of a table in recommend.c: a condition on the last hour's readings and on
 * what configuration says, and the sentences that follow from the figures. Pure: it is made when it is asked
 * for, and is gone when its condition is.
 *
 * Threads: any; whoever has @h.
 */
#pragma once
#include <stddef.h>

#include "refrain/ops/facts.h"
#include "refrain/ops/history.h"

enum { RECOMMENDATIONS_MAX = 24, RECOMMENDATION_TEXT_BYTES = 384 };

struct recommendation {
    const char *code, *title, *option;        /* static texts; option: what to change */
    char change[RECOMMENDATION_TEXT_BYTES];   /* to what */
    char evidence[RECOMMENDATION_TEXT_BYTES]; /* the figures */
    char impact[RECOMMENDATION_TEXT_BYTES];   /* what that would do */
};

/** Writes those whose condition holds to @out, in the order of the table; returns how many. */
size_t recommend(const struct history *h, const struct facts *now,
                 struct recommendation out[RECOMMENDATIONS_MAX]);

/* What a row is, for documentation and its test. */
struct recommendation_about {
    const char *code, *title, *option, *when;
};
size_t recommendations_n(void);
struct recommendation_about recommendation_about(size_t i);
