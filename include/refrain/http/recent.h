/*
 * recent - what the last requests were keyed by, as traces: never text, and not who sent them. A bounded
 * ring, so that a request that was not found can be held against its neighbours: where do they part? SPEC
 * section 4, last point; docs/decisions/0010-what-explain-remembers.md.
 *
 * Threads: any. One short lock, a leaf, held for the copy of one request.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/policy/trace.h"
#include "refrain/wire/dialect.h"

struct recent;

/** Room for @requests_max of usual size, fewer where they are large: about 1 KiB each, all of it taken now.
 * NULL when out of memory. */
struct recent *recent_new(size_t requests_max);
/** NULL is fine. */
void recent_free(struct recent *r);

/** What traces must be made under to be kept here. */
const struct siphash_key *recent_secret(const struct recent *r);
/** Keeps a request, in place of the oldest. @now_ms: monotonic. Cost: a copy of at most 6.4 KiB. */
void recent_add(struct recent *r, const struct trace *t, const struct digest *key, enum operation op,
                int64_t now_ms);

/** What became of the answer to a request that may be kept here: @not_stored says why it was not stored
 * (static text), NULL: it was. */
void recent_settled(struct recent *r, const struct digest *key, const char *not_stored);

enum recent_how {
    RECENT_DIFFERS,
    RECENT_ONLY_ASKED, /* the other has no such part */
    RECENT_ONLY_OTHER, /* the request that was asked about has none */
};
struct recent_difference {
    enum recent_how how;
    bool leaf;     /* of the body */
    unsigned at;   /* which part of the trace asked about; of RECENT_ONLY_OTHER: before which */
    uint64_t name; /* the part's */
};

enum { RECENT_DIFFERENCES_MAX = 8 };
struct recent_nearest {
    struct digest key;
    int64_t age_ms;
    const char *not_stored; /* why its answer was not; NULL: it was, or is not known */
    unsigned parts, differ; /* of both together; how many of them are not the same */
    struct recent_difference at[RECENT_DIFFERENCES_MAX]; /* the first ones, in the key's order */
    unsigned n;
};
/**
 * The request of the same operation that has most in common with @t; of equals the latest. false: there is
 * none. Cost: a millisecond or so.
 */
bool recent_find(struct recent *r, const struct trace *t, enum operation op, int64_t now_ms,
                 struct recent_nearest *out);

enum { RECENT_COMPARED_MAX = 128 };
/**
 * Of the last RECENT_COMPARED_MAX requests, how many differ from an earlier one of them in a single part of
 * each of @n names alone (trace.h): what perhaps should not tell requests apart. @out_n has @n places.
 * Returns how many were compared. Cost: some milliseconds.
 */
unsigned recent_count_lone(struct recent *r, const uint64_t *names, unsigned *out_n, size_t n);
