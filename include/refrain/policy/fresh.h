/*
 * fresh - may a stored response answer this request, and how? What a response says of its own lifetime, how
 * old it was when it came, and for how long after its lifetime it is still good for something.
 * Pure: no clock, no allocation, no locks; callers pass the time in.
 * Follows RFC 9111 section 4.2 (lifetime, age, stale responses), RFC 5861 (stale-while-revalidate,
 * stale-if-error), RFC 9213 (CDN-Cache-Control). RFC 8246's `immutable` is a promise to those who would
 * revalidate what is fresh, which no shared cache does by itself: nothing follows from it here.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/wire/cachectl.h"
#include "refrain/wire/header.h"

/* -- when a response has come -- */

/* What a response says of caching. RFC 9213 section 2.2: a target field of our kind that says anything at all
 * is obeyed in place of Cache-Control and Expires. */
struct fresh_word {
    struct cachectl cc;
    bool targeted;
};
/** Reads the fields of a response (classified). */
void fresh_word_read(const struct fields *fields, struct fresh_word *out);

/**
 * Seconds of freshness that the response gives itself: s-maxage, max-age, Expires (RFC 9111 section 4.2.1).
 * 0: stale at once. -1 when it gives none. @now_s is wall time, of use where Date is missing.
 */
int64_t fresh_lifetime_s(const struct fields *fields, const struct fresh_word *word, int64_t now_s);

/** RFC 9110 section 15.1: statuses that others than upstream may give a lifetime. The errors among them, and
 * 206, never are. */
bool fresh_status_has_default(unsigned status);

/** Seconds by the heuristic of RFC 9111 section 4.2.2: a tenth of the time since Last-Modified, a day at
 * most. -1 when there is nothing to go by. */
int64_t fresh_heuristic_s(const struct fields *fields, unsigned status, int64_t now_s);

/**
 * The age it had when it came (RFC 9111 section 4.2.3): the larger of what Date and what Age say. Of several
 * Age values the first counts, and one that is no number is as if not given.
 * @asked_ms, @came_ms: wall clock, when upstream was asked and when its head came.
 */
int64_t fresh_initial_age_s(const struct fields *fields, int64_t asked_ms, int64_t came_ms);

/** Marks as HEADER_UNSTORED the fields that Cache-Control names in `private` or `no-cache`: who asked gets
 * them, the store and others do not. */
void fresh_withhold(struct fields *fields);

/** True when upstream can be asked whether a stored copy is still good: it has an ETag or a Last-Modified. */
bool fresh_has_validator(const struct fields *fields);

/* A response on `read` as it came, and what configuration adds. Borrowed. */
struct fresh_arrival {
    const struct fields *fields; /* classified */
    unsigned status;
    int64_t asked_ms, came_ms; /* wall clock: when upstream was asked, and when its head came */
    int64_t given_ttl_s;       /* a lifetime for what has none of its own; 0: none */
    bool heuristic;            /* or the heuristic's */
};
struct fresh_life {
    struct fresh_word word;
    bool known;     /* something says how long it is fresh */
    int64_t left_s; /* of freshness when it came; 0 or less: it was stale then */
    int64_t age_s;  /* when it came */
    bool given;     /* it is given_ttl_s that says so */
    bool must_ask;  /* no-cache: never fresh, whatever its lifetime */
    bool validator;
};
/** All of the above together. A lifetime that is given counts from when the response came: it is the
 * operator's word, whatever upstream's clock says. */
void fresh_life_read(const struct fresh_arrival *a, struct fresh_life *out);

/* For how long behind its lifetime a response is good for something; seconds. */
struct fresh_windows {
    int64_t while_revalidate_s, if_error_s;
    bool must_revalidate; /* never served stale, whatever the request says */
};
/**
 * Windows of a response that obeys upstream's word. What @out holds, from configuration, stays where upstream
 * says nothing. must-revalidate, proxy-revalidate and no-cache close them; s-maxage does too (RFC 9111
 * section 5.2.2.10), unless the same response opens one by name: it would have no meaning for a shared cache
 * otherwise.
 */
void fresh_windows_obey(const struct fresh_word *word, struct fresh_windows *out);

/* -- when it is asked for again -- */

/* What a stored response goes by; times are wall clock. */
struct fresh_stored {
    int64_t created_ms;    /* when upstream's head came, … */
    int64_t initial_age_s; /* … and its age then */
    int64_t expires_ms;    /* INT64_MAX: never */
    struct fresh_windows windows;
};

enum fresh_verdict {
    FRESH_SERVE,         /* within its lifetime */
    FRESH_SERVE_STALE,   /* past it, but the request takes stale ones (max-stale) */
    FRESH_SERVE_REFRESH, /* past it, inside its stale-while-revalidate window: have it asked for again */
    FRESH_ASK,           /* upstream must be asked before answering */
};
/** Judges @s at @now_ms for a request with @asked. */
enum fresh_verdict fresh_judge(const struct fresh_stored *s, const struct cachectl *asked, int64_t now_ms);

/** True when it may stand in for an error: upstream's failure, 5xx, 429 (RFC 5861 section 4). */
bool fresh_serves_on_error(const struct fresh_stored *s, const struct cachectl *asked, int64_t now_ms);

/** Current age in whole seconds (RFC 9111 section 4.2.3); never negative, whatever the clock does. */
int64_t fresh_age_s(const struct fresh_stored *s, int64_t now_ms);
