/*
 * api - what lies below /api/v1 on the admin listener: a table of routes, each a row; and what their handlers
 * have in common. admin.c takes the request in, sees who asks (access), and sends the answer.
 *
 * Adding a route: a row in api.c, a handler in the file of its subject.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "refrain/base/jout.h"
#include "refrain/base/slice.h"
#include "refrain/ops/admin.h"
#include "refrain/store/events.h"

#define API_ROOT "/api/v1"

enum { API_ARGS_MAX = 2, API_ARG_BYTES_MAX = 256, API_ALLOW_BYTES_MAX = 64 };

struct api_call;

struct api_route {
    const char *method;
    const char *path; /* below API_ROOT; `{}` stands for one segment, which is an argument */
    bool mutates;     /* is logged */
    bool pooled; /* runs on the thread pool: may take more than a millisecond, must not touch what is the main
                  * thread's */
    size_t body_bytes_max;
    void (*run)(struct api_call *c);
};

/* One call of the API. */
struct api_call {
    const struct api_route *route;
    struct admin_parts parts;    /* a copy: work on the pool may outlive the listener */
    struct site *site;           /* the one in force; held for the call */
    struct loop *loop;           /* the listener's */
    const struct fields *fields; /* of the request; not for what runs on the pool */
    struct slice args[API_ARGS_MAX];
    char arg_bytes[API_ARGS_MAX][API_ARG_BYTES_MAX];
    struct slice query, body;
    unsigned status;             /* 200 to begin with */
    struct buf *out;             /* the answer: one JSON value and a newline */
    const char *type;            /* of the answer, where it is no JSON; static, as is … */
    const char *coding;          /* … its Content-Encoding; NULL: none */
    const char *file;            /* of the same: what to save it as; static. NULL: nothing in particular */
    struct event_stream *stream; /* in its place, on status 200; the listener's from then on */
    bool later;                  /* api_later was called, and api_finish not yet */
    bool gone;                   /* nobody waits for the answer any more */
    char allow[API_ALLOW_BYTES_MAX]; /* of a 405: what is allowed */
    char correlation[EVENT_CORRELATION_BYTES];
};

/** Finds the route of a request and its arguments. false: none; the answer then says so. */
bool api_find(struct api_call *c, struct slice method, struct slice path);

/* A parameter of the query. */
struct api_query {
    struct slice value; /* percent-decoded; lies below */
    char bytes[API_ARG_BYTES_MAX];
};
/** The first parameter of this name. false: there is none; @out->value is then empty, as it is for one that
 * is too long or badly coded. */
bool api_query(const struct api_call *c, const char *name, struct api_query *out);

/** The parameter @name as a number from 1 to @max; @out keeps what it is where there is none. false: it is no
 * such number, and the answer says so. */
bool api_number(struct api_call *c, const char *name, unsigned max, unsigned *out);

/**
 * Makes an error the answer. @where: what it is about ("body.action"), @expected: what would have been right;
 * either may be NULL. All but the code may come from the request.
 */
void api_fail(struct api_call *c, unsigned status, const char *code, const char *message, const char *where,
              const char *expected);
/** Ends the answer that @j has written. */
void api_done(struct api_call *c, const struct jout *j);

/** What the client calls this call (X-Request-Id), copied into it; empty where it gives no name that will do.
 */
struct slice api_correlation(struct api_call *c);

/** The answer comes later: the call lives until api_finish, even where its client has gone. From within run
 * of a route that is not pooled. */
void api_later(struct api_call *c);
/** The answer is made. On the listener's loop, after run has returned; once for each api_later. */
void api_finish(struct api_call *c);

/* Handlers; SPEC section 12. */
void api_index(struct api_call *c);
void api_alerts(struct api_call *c);
void api_recommendations(struct api_call *c);
void api_breakers_list(struct api_call *c);
void api_breakers_command(struct api_call *c); /* of args: upstream, kind */
void api_clients_list(struct api_call *c);
void api_explain(struct api_call *c);
void api_events_stream(struct api_call *c);
void api_events_take(struct api_call *c);
void api_instances_list(struct api_call *c);
void api_invalidate(struct api_call *c);
void api_entries_list(struct api_call *c);
void api_entries_get(struct api_call *c); /* of args: id; so of the next two */
void api_entries_delete(struct api_call *c);
void api_entries_put(struct api_call *c);
void api_namespaces(struct api_call *c);
void api_stats(struct api_call *c);
void api_stats_history(struct api_call *c);
void api_performance(struct api_call *c);
void api_slow(struct api_call *c);
void api_popular(struct api_call *c);
void api_export(struct api_call *c);
void api_config(struct api_call *c);
