/*
 * retry - is upstream asked once more, and when? SPEC section 11. A repeated POST may be billed twice, and
 * SDKs ask again by themselves: so by default only a request of which no byte was sent is sent once more.
 * Bounded three times: by count, by a budget for each upstream so that retries never multiply a storm, and by
 * the longest wait, which Retry-After may not pass.
 * Pure: no clock, no chance; callers pass both in.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

/* What may be tried again, as configuration names it. */
enum retry_cause {
    RETRY_CONNECT, /* no byte of the request was sent */
    RETRY_RESET,   /* it was, and the connection ended without an answer */
    RETRY_TIMEOUT, /* it was, and no answer came in time */
    RETRY_429,
    RETRY_502,
    RETRY_503,
    RETRY_504,
    RETRY_CAUSES,
    RETRY_NONE = RETRY_CAUSES /* nothing that is ever tried again */
};
/** As in configuration and metrics: "connect", "429". */
const char *retry_cause_name(enum retry_cause cause);
/** RETRY_NONE when it is no name. */
enum retry_cause retry_cause_by_name(struct slice name);
/** The cause that a status is; RETRY_NONE for all others. */
enum retry_cause retry_cause_of_status(unsigned status);

struct retry_conf {
    unsigned max;             /* further tries of one request */
    unsigned on;              /* bits 1 << cause */
    unsigned budget_permille; /* of an upstream's requests, beside RETRY_FLOOR_PER_S */
    int64_t backoff_ms;       /* before the first; doubles with each */
    int64_t backoff_ms_max;   /* the longest wait, Retry-After included */
};

/**
 * How long to wait before try number @tries + 1, @tries being done; -1: it is not made, for @cause or the
 * count forbid it, or upstream asks for a longer wait than there may be. @retry_after_ms is upstream's word
 * (-1: none), obeyed to the full. @chance is any number drawn at random: the wait lies between half and the
 * whole of the back-off, so that those who failed together do not come back together.
 */
int64_t retry_wait_ms(const struct retry_conf *conf, enum retry_cause cause, unsigned tries,
                      int64_t retry_after_ms, uint32_t chance);

/**
 * How long an answer asks us to wait: retry-after-ms, or else Retry-After, as seconds or as a date (RFC 9110
 * section 10.2.3); a date that has passed is 0. -1: it does not say, or nothing that can be read.
 * @fields need not be classified.
 */
int64_t retry_after_ms(const struct fields *fields, int64_t now_wall_ms);

/* -- the budget: a bucket of tries -- */

enum { RETRY_FLOOR_PER_S = 1, RETRY_BUCKET = 10 }; /* an idle upstream's requests may always be tried again */

struct retry_budget {
    int64_t milli; /* tries in the bucket, in thousandths */
    int64_t at_ms; /* when it was last filled; 0: never, and the bucket is full */
};
/** A request goes out for the first time. @now_ms is monotonic. */
void retry_budget_earn(struct retry_budget *b, const struct retry_conf *conf, int64_t now_ms);
/** Takes one try out. false: there is none. */
bool retry_budget_spend(struct retry_budget *b, int64_t now_ms);
