/*
 * lifetime - for how long an answer is stored, out of all that have a say: the one place for who goes before
 * whom. SPEC section 8; docs/rules.md tells operators.
 *
 *   what the request asks ► its rules ► its own operation        (one value: the flight's terms)
 *   ► on `read` what upstream says, else its route; on the rest cache.ttl, else cache.default_ttl
 *   on `read` the request may shorten what upstream says, not lengthen it: others get the answer, too
 *   the way the answer ended may only shorten that; jitter and sliding come last, and never on `read`, whose
 *   lifetime is upstream's promise
 *
 * Pure: no clock, no randomness of its own. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { LIFETIME_UNSAID = -1, LIFETIME_NONE = -2 }; /* NONE: no end; as ASK_TTL_NONE */

struct lifetime_conf {
    int64_t max_s;           /* bounds what upstream says; a request's asking was bounded when it was read */
    bool sliding;            /* a hit begins the lifetime anew, … */
    int64_t max_lifetime_s;  /* … but not past this, counted from the answer's coming */
    unsigned jitter_percent; /* up to so much more or less: what came together does not end together */
};

struct lifetime_says {
    int64_t terms_s;     /* the flight's terms: of request, rules or own operation; or LIFETIME_UNSAID */
    int64_t finish_s;    /* of the way it ended; or LIFETIME_UNSAID */
    int64_t otherwise_s; /* `read`: what is left by upstream or route, never NONE; else the operation's */
    bool read;
    bool promised; /* otherwise_s is upstream's own word: nobody makes it longer */
    uint64_t dice; /* evenly spread, for the jitter */
};

struct lifetime {
    int64_t fresh_ms;   /* INT64_MAX: for ever */
    int64_t sliding_ms; /* 0: absolute; else a hit makes it last so long again, … */
    int64_t max_ms;     /* … and at most this from its coming */
};
void lifetime_choose(const struct lifetime_conf *conf, const struct lifetime_says *says,
                     struct lifetime *out);
