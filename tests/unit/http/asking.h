/*
 * asking - a loop with an upstream pool on it, for tests: ask things of a scripted server, keep what came of
 * each.
 */
#pragma once
#include "refrain/base/buf.h"
#include "refrain/base/loop.h"
#include "refrain/http/upstream.h"

struct asked;

struct asker {
    struct loop *loop;
    struct upstream_pool *pool;
    struct upstream_conf conf;
    struct loop_timer *watchdog;
    unsigned pending;
};

/* One call: what to do in its callbacks, and what they brought. Zero it, set the upper part, hand it to
 * ask(). */
struct asked {
    struct upstream_request req;
    void (*at_head)(struct asked *a);
    bool (*at_body)(struct asked *a,
                    struct slice bytes); /* false pauses; NULL: true. Bytes are kept when true */
    void (*at_end)(struct asked *a);     /* before the run may end: ask another */
    int64_t (*at_try)(struct asked *a, const struct upstream_try *t); /* as on_tried; NULL: one try */
    void *arg;

    struct asker *by;
    struct upstream_call *call;
    unsigned heads, ends, trailer_blocks;
    unsigned status;
    struct buf fields, body, trailers; /* "name: value\n" */
    bool by_close;
    enum upstream_result result;
    char why[300];
    int64_t started_ms, ended_ms;
};

void asker_init(struct asker *k, const char *url);
void asker_done(struct asker *k);
/** Starts the call. */
void ask(struct asker *k, struct asked *a);
/** Runs until every call has ended; aborts the program after 30 s. Once for an asker. */
void asker_run(struct asker *k);
/** Calls @fn from the loop after @ms; the run goes on at least until then. */
void asker_later(struct asker *k, int64_t ms, void (*fn)(void *arg), void *arg);
/** Starts, one after the end of the other, and runs. */
void ask_in_turn(struct asker *k, struct asked *a, size_t n);
void asked_done(struct asked *a);
/** NUL-terminated. */
const char *text_of(struct buf *b);

#define GET(path)                                                                                            \
    {                                                                                                        \
        .req = {.method = "GET", .target = SLICE(path) }                                                     \
    }
#define POST(path, text)                                                                                     \
    {                                                                                                        \
        .req = {.method = "POST", .target = SLICE(path), .has_body = true, .body = SLICE(text) }             \
    }
