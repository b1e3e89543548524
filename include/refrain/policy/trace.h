/*
 * trace - what a key was made of, as sums under a secret of the process's: a pair of 64-bit sums a part, of
 * its name and of its value. Two traces tell where two requests part, and nothing of what they say. SPEC
 * section 4, last point.
 *
 * The parts are reported by the key itself as it is made (key.c), so that they are those of the key; a
 * canonical body is taken apart into its leaves (trace_body). Pure. Threads: a trace one at a time.
 */
#pragma once
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/siphash.h"
#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

enum {
    TRACE_HEAD_MAX = FIELDS_MAX + 16,
    TRACE_LEAVES_MAX = 256, /* of a body; all behind them is one part */
    TRACE_PARTS_MAX = TRACE_HEAD_MAX + TRACE_LEAVES_MAX + 1,
};

/* Parts of a key, in the order in which they stand in it. */
enum trace_kind {
    TRACE_NAMESPACE,
    TRACE_SCOPE,      /* which kind of scope */
    TRACE_CREDENTIAL, /* the sum of the credentials, or the client's name */
    TRACE_UPSTREAM,
    TRACE_CONFIG, /* what configuration changes in the forwarded request */
    TRACE_METHOD,
    TRACE_TARGET,
    TRACE_HEADER, /* has a name */
    TRACE_OPERATION,
    TRACE_CUSTOM_KEY,
    TRACE_CUSTOM_MEMBER, /* of the body, beside a custom key; has a name */
    TRACE_BODY,          /* as it came */
    TRACE_VARIANT,
    TRACE_LEAF, /* of a canonical body; has a name: its path */
    TRACE_REST, /* of a canonical body, behind TRACE_LEAVES_MAX leaves */
    TRACE_KIND_COUNT
};
const char *trace_kind_name(enum trace_kind kind); /* "credential" */

struct trace_part {
    uint64_t name, value;
};

struct trace {
    struct siphash_key secret;
    /* The head's parts and the body's, each in their order. */
    unsigned head_n, leaves_n;
    struct trace_part head[TRACE_HEAD_MAX];
    struct trace_part leaves[TRACE_LEAVES_MAX + 1];
    uint8_t head_kind[TRACE_HEAD_MAX]; /* enum trace_kind */
    bool rest;                         /* the last leaf is TRACE_REST */
    /* Of the request at hand alone, never kept. */
    struct slice head_name[TRACE_HEAD_MAX];
    /* the part being summed */
    struct siphash sum;
    bool open;
};

/** An empty trace. The arrays are not cleared. */
void trace_begin(struct trace *t, const struct siphash_key *secret);

/** Begins a part of the head, ending the one before. @name: a header's, in any case, or a member's; borrowed.
 */
void trace_part(struct trace *t, enum trace_kind kind, struct slice name);
/** More of its value. */
void trace_add(struct trace *t, struct slice bytes);
/** Ends the last part of the head. */
void trace_end(struct trace *t);

/** The leaves of a canonical body. Cost: about 0.2 ns a byte and 100 ns a leaf; a large body belongs on the
 * pool. */
void trace_body(struct trace *t, struct slice canonical);

/** The sum that a leaf of this path would be named by: to look for names that are known in a trace that is
 * not. One level only: `temperature`. */
uint64_t trace_member_name(const struct siphash_key *secret, struct slice name);
/** The same of a part of the head that has no name. */
uint64_t trace_kind_sum(const struct siphash_key *secret, enum trace_kind kind);
uint64_t trace_header_name(const struct siphash_key *secret, struct slice name);
