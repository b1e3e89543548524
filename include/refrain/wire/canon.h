/*
 * canon - one canonical form for every way of writing the same JSON request. In the manner of RFC 8785, but
 * exact: numbers keep their value digit for digit, and what has no exact form says so instead of being
 * approximated.
 *
 * One pass over the text; see SPEC section 4 for the rules. Pure: no locks, no clock.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

/* What a dialect says of its requests. Paths are dotted ("metadata", "options.trace_id"); arrays are not
 * entered. */
struct canon_rules {
    const struct slice *ignored; /* members left out of the canonical form */
    size_t ignored_n;
    const struct slice *ordered; /* members below which member order is kept: schemas (SPEC section 4) */
    size_t ordered_n;
    bool drop_nulls;             /* top-level members that are null count as absent */
    bool stream_is_default;      /* the API streams unless told otherwise (Ollama) */
    bool stream_default_dropped; /* a `stream` equal to the API's default counts as absent */
};

/* What the cache needs to know of a request; found in the same pass. Slices borrow from the input. */
struct canon_facts {
    struct slice model; /* the top-level string "model", undecoded; empty when absent or no string */
    bool stream;        /* what the request asks for, the API's default applied */
    bool stateful;      /* makes or reads state upstream: `store: true` and so on (SPEC section 3) */
    bool has_temperature;
    double temperature; /* 0 when absent */
    size_t messages;    /* elements of `messages`, `contents` or `input` when it is an array */
    bool wants_json;    /* response_format or text.format asks for JSON */
};

enum canon_verdict {
    CANON_OK,    /* @out holds the canonical form */
    CANON_EXACT, /* valid enough to forward, but without an exact form: key it by its exact bytes */
    CANON_FULL,  /* @out reached its ceiling or memory ran out: do not cache this request */
};

enum { CANON_DEPTH_MAX = 512 };

/**
 * Appends the canonical form of @json to @out. @facts is written on CANON_OK, and as far as it was understood
 * otherwise.
 * @out_why, when not NULL, gets a short static text on CANON_EXACT ("duplicate member", "depth", …).
 * Threads: any. Cost: about linear; sorting is per object.
 */
enum canon_verdict canon_json(struct slice json, const struct canon_rules *rules, struct buf *out,
                              struct canon_facts *facts, const char **out_why);
