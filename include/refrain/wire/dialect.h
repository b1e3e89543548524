/*
 * dialect - what is particular to each API that Refrain understands: one row an operation, one file a
 * dialect. Adding an API touches its own file and one line of the table. SPEC section 3.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"
#include "refrain/wire/canon.h"

struct tally; /* wire/tally.h */

enum operation {
    OP_PASS, /* not cacheable by its shape: forwarded */
    OP_CHAT,
    OP_COMPLETION,
    OP_RESPONSES,
    OP_MESSAGES,
    OP_EMBEDDING,
    OP_READ,  /* GET and HEAD */
    OP_PLAIN, /* the operator's own, of which no more is known than that it is JSON */
    OP_COUNT
};

enum stream_format { STREAM_NONE, STREAM_SSE, STREAM_NDJSON };

/* What one event of a stream means for the whole. */
enum event_meaning {
    EVENT_MORE,
    EVENT_LAST,   /* the API's own end of an answer, good or not: the tally knows which */
    EVENT_ERROR,  /* an error, in place of an answer or in the middle of one */
    EVENT_IGNORE, /* says nothing, wherever it stands: a ping, or a [DONE] that the API does not ask for */
};

/* How an answer ended, whatever its API calls it; from good to bad. */
enum finish_kind {
    FINISH_NONE, /* not told */
    FINISH_GOOD, /* stop, end_turn, tool_calls …, and what is not known */
    FINISH_LENGTH,
    FINISH_REFUSAL,
    FINISH_FILTER,
    FINISH_INCOMPLETE,
    FINISH_ERROR,
    FINISH_KIND_COUNT
};
struct finish_name {
    struct slice text; /* as the API writes it, in any case */
    enum finish_kind kind;
};

/* Everything of Refrain's own that may go wrong, with its status; SPEC section 6. */
enum error_code {
    ERR_REQUEST_INVALID,      /* 400 */
    ERR_UNAUTHORIZED,         /* 401 */
    ERR_NO_ROUTE,             /* 404 */
    ERR_METHOD_NOT_ALLOWED,   /* 405 */
    ERR_TOO_LARGE,            /* 413 */
    ERR_EXPECT,               /* 417 */
    ERR_HEADERS_TOO_LARGE,    /* 431 */
    ERR_NOT_IMPLEMENTED,      /* 501 */
    ERR_UPSTREAM_UNREACHABLE, /* 502 */
    ERR_UPSTREAM_PROTOCOL,    /* 502 */
    ERR_UPSTREAM_TIMEOUT,     /* 504 */
    ERR_ONLY_IF_CACHED,       /* 504 */
    ERR_CIRCUIT_OPEN,         /* 503 */
    ERR_OVERLOADED,           /* 503 */
    ERR_COUNT
};
unsigned error_status(enum error_code code);
const char *error_name(enum error_code code); /* "upstream_timeout" */

enum { DIALECT_PATHS_MAX = 4 };

struct dialect {
    const char *name; /* of the operation: "chat" */
    /* Patterns of its paths behind the prefix, for POST; a `*` is one or more bytes other than `/`. */
    struct slice paths[DIALECT_PATHS_MAX];
    struct canon_rules canon;
    enum stream_format stream;
    bool json;                     /* a whole answer is one JSON text */
    const char *request_id_header; /* the API's own, "x-request-id"; NULL when it has none */
    /* How its answers end; what is not among these is @finish_otherwise. */
    const struct finish_name *finishes;
    size_t finishes_n;
    enum finish_kind finish_otherwise; /* FINISH_NONE counts as FINISH_GOOD */
    /* What an answer adds up to (wire/tally.h). @body is JSON where the row says so, and has no error inside;
     * NULL: nothing is promised of it. */
    void (*whole)(struct tally *t, struct slice body);
    /* STREAM_SSE: @event is the event's name ("" when none), @data its data lines joined by LF. @data is
     * JSON, or the word below. */
    enum event_meaning (*event)(struct tally *t, struct slice event, struct slice data);
    struct slice stream_word; /* data of an event that is no JSON and no fault: "[DONE]" */
    /* Appends the body of an error of ours, in the shape the API's clients parse. */
    int (*error)(struct buf *out, unsigned status, const char *code, struct slice message);
};

/** Row of an operation; OP_PASS's row has OpenAI's error shape and no body rules. Never NULL. */
const struct dialect *dialect_of(enum operation op);

/** The operation for a method and a raw path, without query, that begins at upstream's root (a route's own
 * prefix is already gone). SPEC section 3: the path must *be* one of the known ones behind an empty, version
 * or Azure prefix. */
enum operation operation_find(struct slice method, struct slice path);
/** By name, for config and flags; OP_COUNT when there is none such. */
enum operation operation_by_name(struct slice name);

/** True for paths of `read` whose answer changes with every look: below /responses, /files, /batches and the
 * like. They never take a lifetime from configuration (SPEC section 3). */
bool operation_read_is_live(struct slice path);
