/*
 * ask - what one request asks of the cache: standard Cache-Control, Refrain-* controls, and the peers'
 * headers that mean the same. SPEC section 6. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/wire/cachectl.h"
#include "refrain/wire/header.h"

enum {
    ASK_TAGS_MAX = 16,
    ASK_VARIANTS_MAX = 64,
    ASK_NAME_MAX = 64, /* bytes of a namespace, a tag, an operation */
    ASK_KEY_MAX = 1024 /* bytes of a custom key */
};

struct ask {
    bool may_read;  /* an answer from the store is welcome */
    bool may_write; /* what comes may be stored */
    bool may_share; /* may join a flight, and others may join its own */
    bool joins;     /* may join a flight already open (refresh and no-cache do not, they open one) */
    bool bypass;    /* touch nothing: Refrain-Cache: off, no-store */
    const char *bypass_reason; /* detail for Cache-Status, "no-store"; NULL */
    bool only_if_cached;
    bool gzip; /* takes a gzip body */
    bool no_transform;
    struct cachectl cc;
    int64_t ttl_s;          /* Refrain-TTL, capped; -1 when not given; ASK_TTL_NONE: for ever */
    unsigned variants;      /* Refrain-Variants; 0 when not given */
    bool ttl_none, own_key; /* Refrain-TTL was `none`; custom_key is Refrain-Key's, not a peer's */
    bool own_namespace;     /* namespace_ is Refrain-Namespace's, not a peer's */
    /* Empty when not given. */
    struct slice namespace_, custom_key, operation, if_none_match, if_modified_since, range, if_range;
    struct slice tags[ASK_TAGS_MAX];
    unsigned tags_n;
};
enum { ASK_TTL_NONE = -2 };

/* True when several different answers to the one request are wanted. */
static inline bool ask_keeps_several(const struct ask *ask)
{
    return ask->variants > 1;
}

/** True when nothing may be decoded for this client, and it takes no gzip (RFC 9110 section 7.7). */
static inline bool ask_wants_identity(const struct ask *a)
{
    return a->no_transform && !a->gzip;
}

struct ask_conf {
    bool client_control; /* false: every control header is ignored, save no-transform and conditions */
    bool allow_custom_key, allow_ttl_none; /* under a shared scope, too */
    int64_t ttl_max_s;                     /* caps what is asked, `none` too; 0: no cap */
};

/**
 * Reads the controls of @fields (classified) into @out; slices borrow from them. Of several controls that
 * differ the strictest counts, but what a Refrain-* header says goes before what its peers say. false: a
 * Refrain-* header has a bad value; *@out_why then says which and what was expected (static text). A peer's
 * bad value is as if not given.
 */
bool ask_read(const struct fields *fields, const struct ask_conf *conf, struct ask *out,
              const char **out_why);

/**
 * Judges what wants leave where everybody shares entries: another's key, and what never ends. To be called
 * once the request's scope is known. false, with *@out_why as ask_read: a Refrain-* header asks for it
 * without leave. A peer's key without leave is as if not given.
 */
bool ask_check_leave(struct ask *ask, const struct ask_conf *conf, bool shared_scope, const char **out_why);

/** True for a tag: 1 to ASK_NAME_MAX of `A-Z a-z 0-9 . _ - : / @ + =`. */
bool ask_tag_ok(struct slice tag);

/** "90", "10m", "2h", "7d" or "none" (ASK_TTL_NONE) in seconds, 1 s to 1 year; -1 when none of these. */
int64_t ask_parse_ttl(struct slice text);

/** True when an If-None-Match value matches @etag, quotes included, weakly (RFC 9110 section 13.1.2). */
bool etag_list_matches(struct slice if_none_match, struct slice etag);
