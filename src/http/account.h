/*
 * account - the one place where a request that has ended is counted, timed, told and logged.
 *
 *   exchange ends ──► struct account ──► account_settle ─┬─► counts of the worker (base/metrics.h)
 *                     (all that is known)                ├─► events: HIT, MISS (telling.h)
 *                                                        └─► the request's line in the log
 *
 * Every request that had a head is settled once, so the results add up to the requests. What is to be known
 * of every request is a member here, filled in by account_of, and a line in account.c.
 *
 * Nothing here may fail, nor hold the request up: all of it is arithmetic on the worker's own counts, but for
 * the log's buffer. Names and numbers only: no prompt, answer, credential or key.
 *
 * Threads: the worker's whose counts they are.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/metrics.h"
#include "refrain/base/slice.h"
#include "refrain/policy/pricing.h"
#include "refrain/wire/dialect.h"

struct client;   /* clients.h */
struct entry;    /* store/entry.h */
struct events;   /* store/events.h */
struct exchange; /* exchange_priv.h */
struct site_view;
struct worker;
struct slow; /* slow.h */

/* Texts are borrowed for the call. Times are in nanoseconds. -1, and an empty text: not known. */
struct account {
    /* whose */
    struct slice request_id;
    struct slice trace_id; /* of a traceparent that came with it */
    struct slice namespace_;
    const struct client *client; /* who asked; NULL: there are none */
    /* for what */
    unsigned operation_label; /* of LABEL_OPERATION */
    struct slice operation, model, upstream;
    /* what became of it */
    enum metric_result result;
    const struct entry *entry; /* what it was answered from; NULL: not from the store */
    enum metric_tier tier;     /* of @entry */
    struct slice entry_id;     /* the same, or what its answer was stored as */
    const char *reason;        /* static text, or NULL */
    unsigned status;
    uint64_t bytes;
    bool streamed;  /* it takes as long as upstream likes to talk: its time is kept apart */
    bool complete;  /* all of the answer was sent */
    bool collapsed; /* answered by a call that another request had begun */
    int64_t took_ns;
    int64_t first_byte_ns;         /* of these, until the first byte of a body that came piece by piece */
    int64_t upstream_ns;           /* what upstream took, whoever had it asked */
    int64_t tokens_in, tokens_out; /* of the answer, by upstream's own word, whoever asked for it */
    int64_t tokens_cached, tokens_cache_write; /* of tokens_in: from upstream's prompt cache, and into it */
    int64_t saved_ns; /* of upstream's time that nobody had to wait; 0: nothing was saved */
};

/* What models cost, found once for each that has a label of its own. A worker's, of one site. */
struct account_prices {
    const struct pricing *pricing;
    struct {
        bool known;
        const struct price *price; /* NULL: it has none */
    } of[LABEL_MAX_MODEL];
};

/* Where it goes. */
struct account_to {
    struct metrics *metrics;
    struct metric_block *counts;
    struct account_prices *prices;
    struct events *events; /* NULL: nobody can listen */
    bool logs;             /* a line a request */
    int64_t slow_ns;       /* a warning for those that take longer; 0: none */
    unsigned counter;      /* the worker's, of clients (clients.h) */
    struct slow *slow;     /* NULL: nobody asks */
};

/** True of an answer that upstream was not asked for, or not in full. */
static inline bool account_saves(const struct account *a)
{
    return a->result == RESULT_HIT || a->result == RESULT_STALE || a->result == RESULT_REVALIDATED ||
           a->result == RESULT_COALESCED;
}

/** Enters @a everywhere. */
void account_settle(const struct account_to *to, const struct account *a);

/** Where what a worker has to say goes. */
struct account_to account_to_of(const struct worker *w, struct site_view *view);
/** exchange's word for itself: it has ended, and all was sent, or not (@sent). */
void account_of(const struct exchange *x, bool sent, struct account *out);
/** What was refused before it was an exchange; its id is the worker's refusal_id. */
void account_of_refusal(const struct worker *w, unsigned status, enum error_code code, struct account *out);
