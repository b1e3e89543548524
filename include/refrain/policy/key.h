/*
 * key - a request's name in every tier. SPEC section 4.
 *
 * SHA-256 over tagged, length-prefixed fields, a format version first. Whatever may change the answer is in
 * it; what is left out is left out by a list (wire/header.h for header fields, the dialect's canon_rules for
 * the body), so that an unknown part costs a miss and never a wrong answer. Credentials go in as a sum under
 * the server's secret alone: a key tells nothing about them, and a wrong credential can never name another's
 * entry.
 *
 * Pure: no clock, no locks, no allocation but a maker's own.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/digest.h"
#include "refrain/base/slice.h"
#include "refrain/policy/trace.h"
#include "refrain/wire/header.h"
#include "refrain/wire/prompt.h"

/* Stands first in every key. Raise it when the same request would get another key. */
#define KEY_FORMAT "1"

/* Who shares answers with whom. */
enum key_scope_mode {
    KEY_SCOPE_CREDENTIAL, /* those with the same credential: all that the request brings, `?key=` included */
    KEY_SCOPE_SHARED,     /* everyone */
    KEY_SCOPE_HEADERS,    /* those who send the same in the fields listed, and nothing else counts */
};

/* Plain values of the configuration; the bytes outlive every use. */
struct key_scope {
    enum key_scope_mode mode;
    const struct slice *headers; /* KEY_SCOPE_HEADERS: names in any case; "?key" is the one in the query */
    size_t headers_n;
    struct slice secret; /* the server's; may be empty where recordings are to travel */
};

enum key_body {
    KEY_BODY_EXACT,     /* as it came; also for "none" */
    KEY_BODY_CANONICAL, /* what canon_json made of it */
};

/* What a key is made of. All borrowed for the call. */
struct key_request {
    const struct key_scope *scope;
    struct slice
        client;              /* whom the client that proved itself to Refrain shares with: its own name, or a
                              * group's. It is the scope then, in place of credentials, together with the fields
                              * that     KEY_SCOPE_HEADERS lists, and nothing under KEY_SCOPE_SHARED. Empty: none */
    bool credential_is_ours; /* upstream is shown Refrain's own: its word is not about the caller's */
    struct slice namespace_; /* the default one's name too */
    struct slice upstream;   /* its name */
    struct slice config; /* a digest of what configuration changes in the forwarded request; may be empty */
    struct slice operation;      /* or dialect; its name */
    struct slice method;         /* of a HEAD that a stored GET may answer: "GET" */
    struct slice target;         /* raw path and query, as upstream gets it */
    const struct fields *fields; /* classified */
    struct slice
        custom_key; /* empty: none. Else it stands for the prompt: of a canonical body only model, stream and
                     * stream_options count beside it; a body without such a form counts whole */
    enum key_body body_kind;
    struct slice body;
    bool controls_go_on; /* upstream is a gateway, too, and is sent other gateways' control headers */
    bool accept_counts;  /* Accept selects a format: on `read`, and where nothing is known of the operation */
    bool key_in_query;   /* the API takes its credential as `?key=` (Google's). Else a `key` in the query is
                          * content, and  counts whatever the scope */
    unsigned variant;    /* 0: the one that key_of_variant goes out from */
    struct trace
        *trace; /* gets the parts of the key, but for the leaves of a canonical body; NULL: nobody asks */
    uint64_t *out_caller; /* what key_caller says; NULL: nobody asks */
};

/**
 * True when a key may depend on this field of a classified request: as content, as a credential, as a control
 * that names another namespace or key, or because the scope lists it. What maps raw requests to keys must
 * cover these, and no more than these. Threads: any.
 */
static inline bool key_reads_field(const struct key_scope *scope, const struct field *f)
{
    if ((f->flags & (HEADER_HOP | HEADER_FRAMING | HEADER_UNKEYED)) == 0 || (f->flags & HEADER_CONTROL) != 0)
        return true;
    if ((f->flags & (HEADER_CREDENTIAL | HEADER_HOP)) == HEADER_CREDENTIAL)
        return true; /* one that is listed as unkeyed, too: it is no content then, but parts callers still */
    if (scope->mode == KEY_SCOPE_HEADERS)
        for (size_t i = 0; i < scope->headers_n; i++)
            if (slice_ieq(scope->headers[i], f->name))
                return true;
    return false;
}

/* Owned by one thread at a time. */
struct key_maker;
struct key_maker *key_maker_new(void); /* aborts when out of memory */
void key_maker_free(struct key_maker *m);

struct digest key_make(struct key_maker *m, const struct key_request *request);

/** The key of one of several answers kept for the same request, @number counting from 1; @base is key_make's.
 */
struct digest key_of_variant(struct key_maker *m, const struct digest *base, unsigned number);

/* A caller has 48 bits, to lie in the memo beside the rest: two of many thousands may meet, and then share
 * the word of upstream on either, never an answer. */
#define KEY_CALLER_MAX ((UINT64_C(1) << 48) - 1)

/** Names the credential that @request brings to its upstream, by a sum under the scope's secret: 0 where it
 * brings none, or where answers do not belong to credentials. Only scope, client, upstream, target and fields
 * count. */
uint64_t key_caller(struct key_maker *m, const struct key_request *request);
