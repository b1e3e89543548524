/*
 * upstream - asks the origin, over libcurl's multi interface on a worker's loop. Hides libcurl.
 *
 * One `upstream_pool` a worker, owned by its loop's thread; calls and callbacks happen there only, and a
 * callback never fires from inside the function that asked for it. Connections are kept and reused inside the
 * pool; HTTP/2 where the origin speaks it. No redirect is followed, the path goes out as given, no proxy is
 * taken from the environment.
 *
 * A request is written twice in one case alone: GET, HEAD or OPTIONS on a pooled connection that ends without
 * a byte of an answer. Any other method is written at most once, since upstream may have acted on it; a
 * pooled connection that is seen to be closed before the first byte is written is passed over, for every
 * method. (docs/decisions/0003-upstream-over-libcurl.md)
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/loop.h"
#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

/* One configured origin. Plain values; strings are NUL-terminated and outlive every pool. NULL: not set. */
struct upstream_conf {
    const char *name;
    const char *url; /* scheme://authority[/prefix], no trailing slash */
    /* Exact to a few ms; 0 is no limit. Back-pressure, ours or the request body's reader's, is not idleness.
     */
    int64_t connect_timeout_ms;    /* 5 s, TLS included */
    int64_t first_byte_timeout_ms; /* 600 s, from the request's last byte */
    int64_t idle_timeout_ms;       /* 300 s between bytes of the answer */
    int64_t total_timeout_ms;      /* 1 h */
    const char *ca_file;           /* in place of the system's authorities */
    const char *cert_file, *key_file, *proxy;
    bool http2;              /* offered over TLS */
    unsigned max_concurrent; /* of one pool; 0: no bound. Further calls wait their turn, in order */
    const char *const
        *headers_add; /* "Name: value", in place of the request's; NULL-terminated list, or NULL */
    const char *const *headers_remove; /* names */
    const char *credential; /* "Name: value": what proves us to it, in place of all that requests bring */
};

enum upstream_result {
    UPSTREAM_OK,          /* the answer came whole */
    UPSTREAM_UNREACHABLE, /* no connection: resolve, connect, TLS */
    UPSTREAM_TIMEOUT,     /* connect, first byte, idle or total */
    UPSTREAM_PROTOCOL,    /* not HTTP, of ambiguous length, or closed before a whole head */
    UPSTREAM_CUT,         /* the head came, the body did not come whole */
    UPSTREAM_CANCELLED,
};

struct upstream_call;

struct upstream_request {
    const char *method;         /* NUL-terminated */
    struct slice target;        /* raw path and query, as to be sent, beginning with '/' (or "*") */
    const struct field *fields; /* as to be sent, hop-by-hop and framing already gone; Host is added here.
                                 * Classified, where the upstream's conf has a credential */
    size_t fields_n;
    bool anonymous;    /* the conf's credential is not for it, nor what else it adds */
    bool key_in_query; /* `?key=` proves who asks: it gives way to the conf's credential, too. It does so in
                        * any case where that is shown as Google's */
    bool has_body;
    struct slice body; /* whole body, borrowed until on_end; or, when read_body is set: */
    int64_t body_len;  /* of a streamed body, -1 when not known (sent chunked) */
    /* Streamed body: fill at most @cap bytes. Returns bytes written; 0 at the end; -EAGAIN to pause until
     * upstream_body_ready(); any other negative errno aborts the call. */
    int64_t (*read_body)(void *arg, char *buf, size_t cap);
    /* Trailer fields of a body of unknown length, asked for at its end; may be NULL. Calls add() for each.
     * Not sent over HTTP/2, for which the library has no means. */
    void (*read_trailers)(void *arg, void (*add)(void *add_arg, struct slice name, struct slice value),
                          void *add_arg);
};

/* What one try of a call has come to. */
struct upstream_try {
    unsigned n;                  /* the first is 1 */
    bool sent;                   /* a byte of the request may have left */
    enum upstream_result result; /* UPSTREAM_OK: a head came, and says: */
    unsigned status;
    const struct fields *fields; /* as on_head has them */
    const char *why;             /* as on_end has it */
};

struct upstream_events {
    /* The final head (1xx are not reported), at most 64 KiB and FIELDS_MAX fields. Slices are valid during
     * the call. */
    void (*on_head)(void *arg, unsigned status, const struct fields *fields);
    /* Body bytes in order. Return false to have the call paused: the same bytes come again after
     * upstream_resume(). */
    bool (*on_body)(void *arg, struct slice bytes);
    /* Trailer fields, after the last body byte; may be NULL. */
    void (*on_trailers)(void *arg, const struct fields *fields);
    /* Exactly once for every call started, cancelled ones included (then from the loop, not from inside
     * cancel).
     * @why is a short text for the log, "" on UPSTREAM_OK. The call is gone when this returns. */
    void (*on_end)(void *arg, enum upstream_result result, const char *why);
    /* A try has come to a head, or to nothing; before on_head or on_end says so, and only while the request
     * can be sent again: not for streamed bodies, cancelled calls, or past total_timeout. Returns how many
     * milliseconds to wait before it is sent once more, and nothing is said of this try; or -1: this was the
     * last. NULL: there is one try. */
    int64_t (*on_tried)(void *arg, const struct upstream_try *t);
};

struct upstream_pool;
struct upstream_pool *upstream_pool_new(struct loop *l);
/** Cancels what runs (their on_end is called before this returns). NULL is fine. */
void upstream_pool_free(struct upstream_pool *p);

/** Starts a call; @events fire later, from the loop. @req's slices are borrowed during the call to start
 * only, but body until on_end. NULL when out of memory. @conf must outlive the call. */
struct upstream_call *upstream_start(struct upstream_pool *p, const struct upstream_conf *conf,
                                     const struct upstream_request *req, const struct upstream_events *events,
                                     void *arg);
void upstream_cancel(struct upstream_call *c);
void upstream_resume(struct upstream_call *c);
void upstream_body_ready(struct upstream_call *c);

/** From on_head to on_end: true when nothing but the connection's close tells the end of this answer's body
 * (neither Content-Length nor chunks nor HTTP/2). UPSTREAM_OK then does not prove that it came whole: do not
 * store it. */
bool upstream_ends_by_close(const struct upstream_call *c);

/** Calls under way in this pool, those that wait their turn included. */
size_t upstream_pool_active(const struct upstream_pool *p);
