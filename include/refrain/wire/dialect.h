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

/*
 * Every row: its id, and its variable, dialect_NAME. Rows of one `name` are one operation in several
 * dialects; the first of them stands for all in metrics and configuration.
 */
#define DIALECT_ROWS(ROW)                                                                                    \
    ROW(OP_PASS, pass) /* not cacheable by its shape: forwarded */                                           \
    ROW(OP_CHAT, chat)                                                                                       \
    ROW(OP_COMPLETION, completion)                                                                           \
    ROW(OP_RESPONSES, responses)                                                                             \
    ROW(OP_MESSAGES, messages)                                                                               \
    ROW(OP_GENERATE, generate) /* Gemini */                                                                  \
    ROW(OP_OLLAMA, ollama)                                                                                   \
    ROW(OP_EMBEDDING, embedding)                                                                             \
    ROW(OP_EMBEDDING_GEMINI, embedding_gemini)                                                               \
    ROW(OP_EMBEDDING_OLLAMA, embedding_ollama)                                                               \
    ROW(OP_MODERATION, moderation)                                                                           \
    ROW(OP_RERANK, rerank)                                                                                   \
    ROW(OP_SPEECH, speech)                                                                                   \
    ROW(OP_READ, read)   /* GET and HEAD */                                                                  \
    ROW(OP_PLAIN, plain) /* the operator's own, of which no more is known than that it is JSON */

#define DIALECT_ID(id, row) id,
enum operation { DIALECT_ROWS(DIALECT_ID) OP_COUNT };
#undef DIALECT_ID

/* How an answer may come piece by piece. */
enum stream_format {
    STREAM_NONE,
    STREAM_SSE,
    STREAM_NDJSON,     /* a line is an event */
    STREAM_JSON_ARRAY, /* an element is an event */
    STREAM_BYTES,      /* sound: no events, whole when the message is */
};
#define STREAMS(format) (1U << (format))

/* Where a request says whether it wants a stream. */
enum stream_ask { STREAM_BY_BODY, STREAM_NEVER, STREAM_ALWAYS };

/*
 * A path behind the prefix, for POST. One that begins with `:` is a verb at the end of a whole path, behind a
 * name, whatever stands before that, as Google has them.
 */
struct dialect_path {
    struct slice pattern;
    enum stream_ask stream;
};

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
    ERR_RATE_LIMITED,         /* 429 */
    ERR_UPSTREAM_UNREACHABLE, /* 502 */
    ERR_UPSTREAM_PROTOCOL,    /* 502 */
    ERR_UPSTREAM_REFUSED_US,  /* 502 */
    ERR_UPSTREAM_TIMEOUT,     /* 504 */
    ERR_ONLY_IF_CACHED,       /* 504 */
    ERR_CIRCUIT_OPEN,         /* 503 */
    ERR_OVERLOADED,           /* 503 */
    ERR_COUNT
};
unsigned error_status(enum error_code code);
const char *error_name(enum error_code code); /* "upstream_timeout" */

enum { DIALECT_PATHS_MAX = 4, DIALECT_USAGES_MAX = 4 };

/* Where an answer, or an event of one, tells what was used: a member of it, or of what its member @in is. It
 * is a number, or holds numbers, all of which are about usage. */
struct dialect_usage {
    struct slice in, member; /* @in: empty where it is the answer's own */
};

struct dialect {
    const char *name; /* of the operation: "chat" */
    struct dialect_path paths[DIALECT_PATHS_MAX];
    bool model_in_path; /* what stands before the verb */
    bool accept_counts; /* Accept may select the format of an answer, which the body does not tell */
    bool key_in_query;  /* the API takes its credential as `?key=`, too */
    struct canon_rules canon;
    unsigned streams;       /* formats that its streams may have: STREAMS(…) of each */
    bool ends_with_message; /* no event ends a stream for certain: what has come is whole once the message is
                             */
    bool stream_tells_end;  /* a stream says of each choice how it ended; one that does not was broken off,
                               though its terminal event came */
    bool json;              /* a whole answer is one JSON text */
    const char *request_id_header; /* the API's own, "x-request-id"; NULL when it has none */
    /* How its answers end; what is not among these is @finish_otherwise. */
    const struct finish_name *finishes;
    size_t finishes_n;
    enum finish_kind finish_otherwise;               /* FINISH_NONE counts as FINISH_GOOD */
    struct dialect_usage usages[DIALECT_USAGES_MAX]; /* none where the API tells of none */
    /* What an answer adds up to (wire/tally.h). @body is JSON where the row says so, and has no error inside;
     * NULL: nothing is promised of it. */
    void (*whole)(struct tally *t, struct slice body);
    /* @event is the event's name (of STREAM_SSE; "" when none), @data its data: JSON, or the word below. */
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
/** What the path says of a request, in place of what its body said: model, stream. @facts->model borrows from
 * @path then. */
void operation_path_facts(enum operation op, struct slice path, struct canon_facts *facts);
/** The row that stands for all of the same name. */
enum operation operation_kind(enum operation op);
/** The format that an answer of this media type (without parameters) streams in; STREAM_NONE: in none that
 * the dialect has. */
enum stream_format dialect_stream_format(const struct dialect *d, struct slice media_type);
/** True when a whole answer may be of this media type. */
bool dialect_takes_type(const struct dialect *d, struct slice media_type);
/** By name, for config and flags; OP_COUNT when there is none such. */
enum operation operation_by_name(struct slice name);

/** True for paths of `read` whose answer changes with every look: below /responses, /files, /batches and the
 * like. They never take a lifetime from configuration (SPEC section 3). What is posted there is a write. */
bool operation_read_is_live(struct slice path);
