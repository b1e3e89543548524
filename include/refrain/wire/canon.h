/*
 * canon - one canonical form for every way of writing the same JSON request. In the manner of RFC 8785, but
 * exact: numbers keep their value digit for digit, and what has no exact form says so instead of being
 * approximated.
 *
 * One pass over the text; see SPEC section 4 for the rules. Pure: no locks, no clock. The choices it leaves
 * open:
 * - members are sorted by the bytes of their canonical names; strings escape only what RFC 8259 makes them
 * to;
 * - a number is laid out as ECMAScript would (RFC 8785 section 3.2.2.3), from all its digits; `-0` is `0` as
 * there;
 * - an integer is "over 64 bits" outside -2^63 .. 2^64 - 1; written with a fraction or an exponent (`1e20`)
 * it is a number like any other, and keeps the exponent form, so that a canonical form is canonical again;
 * - a number is out of range above 1.7976931348623157e308, and when not 0, below 1e-324.
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
    const struct slice *client_tools; /* members that a tool of the client's own has: any other makes it one
                                       * that runs upstream. None: a tool says by its type where it runs */
    size_t client_tools_n;
    bool drop_nulls;             /* top-level members that are null count as absent */
    bool stream_is_default;      /* the API streams unless told otherwise (Ollama) */
    bool stream_default_dropped; /* a `stream` equal to the API's default counts as absent */
};

enum { CANON_MODEL_UNESCAPED_MAX = 128 };

/* What the cache needs to know of a request; found in the same pass. Slices borrow from the input. */
struct canon_facts {
    struct slice
        model;     /* the top-level string "model"; empty when absent, no string, or one that needs escapes */
    bool stream;   /* what the request asks for, the API's default applied */
    bool stateful; /* makes or reads state upstream: `store: true`, server-side tools … (SPEC section 3) */
    bool only_server_tools; /* stateful for no other reason than server-side tools, which a rule may allow */
    bool whole; /* read to its end. False only with CANON_EXACT and CANON_FULL: what the rest asks for is not
                 * known then, so the answer must not come from the cache */
    bool has_temperature;
    double temperature; /* 0 when absent */
    size_t messages;    /* elements of `messages`, `contents` or `input` when it is an array */
    size_t characters;  /* of the prompt: what messages, prompt, system or input say, in Unicode characters;
                         * roles,  ids, tools and images are not counted. Of a member given twice, both are */
    bool wants_json;    /* response_format or text.format asks for JSON */
    char model_unescaped[CANON_MODEL_UNESCAPED_MAX]; /* where model lies if it was written with escapes: facts
                                                      * are not copied */
};

enum canon_verdict {
    CANON_OK,    /* @out holds the canonical form */
    CANON_EXACT, /* valid enough to forward, but without an exact form: key it by its exact bytes */
    CANON_FULL,  /* @out reached its ceiling or memory ran out: do not cache this request */
};

enum {
    CANON_DEPTH_MAX = 512,
    CANON_MEMBERS_MAX = 1 << 20, /* of all open objects, and of all that need sorting; more is CANON_FULL */
};

/**
 * Appends the canonical form of @json to @out, or leaves @out as it was when the verdict is not CANON_OK.
 * @facts is written on every verdict, see `whole`; of a member given twice, the last one counts.
 * @out_why, when not NULL, gets a short static text on CANON_EXACT ("duplicate member", "depth", …).
 * Memory: at most about twice the text, and 48 bytes a member, given back before the return.
 * Threads: any. Cost: linear whatever the nesting, but for the sorting of each object's members.
 */
enum canon_verdict canon_json(struct slice json, const struct canon_rules *rules, struct buf *out,
                              struct canon_facts *facts, const char **out_why);

/** True for a top-level member in which an API that is known is told what is asked: a model, words, tools, a
 * format. Not for settings such as temperature, nor for the stream flag. */
bool canon_is_asked(struct slice member);
