/*
 * explain - what would become of a request, and why: without asking upstream, counting a hit, or moving
 * anything. It goes the way of an exchange, by the same code (keying). SPEC section 4, last point.
 *
 * Threads: any; takes its time with large bodies, so not on a worker's loop.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/digest.h"
#include "refrain/http/recent.h"
#include "refrain/http/site.h"
#include "refrain/policy/ask.h"
#include "refrain/policy/fresh.h"
#include "refrain/policy/rule.h"
#include "refrain/policy/trace.h"
#include "refrain/store/entry.h"
#include "refrain/wire/canon.h"
#include "refrain/wire/header.h"

/* The request that is asked about; borrowed. */
struct explain_request {
    struct slice method, target;
    struct slice body;
    bool has_body;
    struct fields *fields; /* get classified */
};

enum explain_fate {
    EXPLAIN_REFUSED, /* Refrain itself would answer with an error */
    EXPLAIN_PASSED,  /* goes past the cache */
    EXPLAIN_MISS,    /* upstream would be asked */
    EXPLAIN_STALE,   /* answered from the cache, and asked for again meanwhile */
    EXPLAIN_HIT,
};

/* What the cache holds for the request; fresh or not. */
struct explain_entry {
    bool held;
    enum metric_tier tier; /* which has it */
    bool varies;           /* the answer has variants, and this one is the request's */
    char id[ENTRY_ID_LEN + 1];
    int64_t age_s, left_ms; /* left_ms: INT64_MAX for ever; negative: past its lifetime for so long */
    unsigned status;
    uint64_t bytes;
    enum fresh_verdict verdict;
};

/* For how long an answer would be stored that ends as answers should. */
struct explain_lifetime {
    enum { LIFETIME_BY_UPSTREAM, LIFETIME_BY_REQUEST, LIFETIME_BY_RULES, LIFETIME_BY_CONFIG } by;
    int64_t fresh_ms; /* INT64_MAX: for ever; of BY_UPSTREAM not known. Without jitter */
};

struct explanation {
    enum explain_fate fate;
    const char *why; /* of EXPLAIN_REFUSED a sentence, of EXPLAIN_PASSED and EXPLAIN_MISS a code; or NULL */
    const struct client *client;    /* who asks; NULL: there are none, or it is a preflight */
    struct slice raw_target;        /* without a client's token */
    char *target_bytes;             /* where it lies then */
    const struct site_route *route; /* NULL: none matches */
    enum operation op;
    const struct own_operation *own;
    struct slice target, path; /* as upstream is to see them */
    struct ask ask;
    struct plan plan;
    const struct key_scope *scope;
    struct slice namespace_;
    bool canonicalised; /* these are known: */
    enum canon_verdict canon;
    const char *canon_why;
    struct canon_facts facts;
    struct buf canonical;
    bool keyed; /* and these: */
    struct digest key;
    struct trace *trace;              /* with the names of the headers that are in the key */
    struct explain_entry entry;       /* where several answers are kept, one of them */
    unsigned answers_stored;          /* so many of ask.variants, where several are kept */
    struct explain_lifetime lifetime; /* where ask.may_write */
    bool in_flight;                   /* upstream is being asked for it */
    bool has_nearest;
    struct recent_nearest nearest;
    struct header_table *shipped; /* what is left out without configuration */
};

/** Explains @r at @wall_ms and @mono_ms. @out borrows from @site and @r. -ENOMEM; @out then needs no ending.
 */
int explain(const struct site *site, const struct explain_request *r, int64_t wall_ms, int64_t mono_ms,
            struct explanation *out);
void explanation_done(struct explanation *e);
