/*
 * front - the HTTP server side of one worker: libmicrohttpd on the worker's loop. Hides libmicrohttpd.
 *
 * Refrain owns and accepts on the listening sockets and hands each connection over, so that limits are
 * counted in one place; libmicrohttpd parses and sends. What it does not do is done here: absolute deadlines
 * (its timeout is inactivity only), noticing that a client left while its connection is parked, one reply for
 * what is refused (SPEC section 2).
 *
 * Threads: everything belongs to the thread of the loop.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "refrain/base/list.h"
#include "refrain/base/loop.h"
#include "refrain/base/slice.h"
#include "refrain/http/limits.h"
#include "refrain/wire/guard.h"
#include "refrain/wire/header.h"

struct front;
struct tls; /* base/tls.h */
struct front_conn;
struct MHD_Connection;
struct MHD_Response;

/* One request; lies at the front of whatever the handler keeps for it. */
struct front_req {
    struct front *front;
    struct front_conn *conn;
    struct MHD_Connection *mhd;
    struct MHD_Response *response; /* being built */
    enum guard_version version;
    struct slice method, target; /* raw; valid until on_end */
    bool head_too_large;         /* over header_bytes_max, or more than FIELDS_MAX fields */
    const char *malformed;       /* NULL, or what is wrong with a head that the fields do not show */
    bool parked, waking, replied, head_done;
    bool lost;               /* the connection is to be closed without another byte */
    bool close_after;        /* set before replying: this connection takes no further request */
    unsigned library_status; /* in on_end: what libmicrohttpd has answered by itself; 0: it has not */
    struct list wake_link;
    char *target_long;      /* one that does not fit below */
    const char *target_raw; /* where the library had it */
    /* front_req_reset leaves these as they are */
    struct fields fields; /* as received, not classified; valid until on_end */
    char target_bytes[1024];
};

enum { FRONT_WAIT = 0, FRONT_END = -1, FRONT_ABORT = -2 };

/* Called on the loop's thread. @arg is the handler's. */
struct front_handler {
    void *arg;
    /* A zeroed request to use, or NULL: no memory, the connection is closed. */
    struct front_req *(*on_new)(void *arg);
    /* The head is in. May reply (an early reply closes the connection if a body follows). */
    void (*on_head)(struct front_req *r);
    /* Next bytes of the body. Returns how many were taken; fewer than all must be followed by front_park. Not
     * called once a reply was sent. */
    size_t (*on_body)(struct front_req *r, struct slice bytes);
    /* The request is whole, or front_wake was called: reply, or park (again). */
    void (*on_run)(struct front_req *r);
    /* The client went away while the request was parked; on_end follows. */
    void (*on_gone)(struct front_req *r);
    /* The reply was sent, or the connection is lost. The request is the handler's to free now. */
    void (*on_end)(struct front_req *r, bool sent);
    /* What has not become a request is answered with this status, without the handler. Returns the id that it
     * goes by, until the next call. NULL: it is not told. */
    const char *(*on_refusal)(void *arg, unsigned status, enum error_code code);
};

struct front_conf {
    size_t header_bytes_max;
    int64_t header_timeout_ms; /* a whole head, from its first byte */
    int64_t idle_timeout_ms;   /* between requests */
    int64_t slow_reader_ms;    /* a reply without any progress */
    int64_t body_grace_ms;     /* after which a body must have come at … */
    int64_t body_bytes_per_s;  /* … this rate on average */
    struct tls *tls;           /* NULL: plain; a front stays what it begins as. Borrowed for the call */
};

/** NULL when out of memory or descriptors. @limits may be shared by several fronts. */
struct front *front_new(struct loop *l, const struct front_conf *conf, struct limits *limits,
                        const struct front_handler *handler);
/** Closes every connection (each request gets its on_end). NULL is fine. */
void front_free(struct front *f);
/** Applies new deadlines, and for new connections what TLS shows and asks for, from now on. */
void front_set_conf(struct front *f, const struct front_conf *conf);

/** Accepts on @fd, a listening non-blocking socket that becomes the front's. 0 or a negative errno. */
int front_listen(struct front *f, int fd);
/** Takes what is queued on the listeners, then closes them; idle connections are closed, others after their
 * reply. */
void front_drain(struct front *f);
/** Connections open now. */
unsigned front_connections(const struct front *f);

/** Who sent the request; AF_UNIX for a unix socket. Valid until on_end. */
const struct sockaddr *front_req_peer(const struct front_req *r);

/** Zeroes what a new request must find zeroed; for a handler that reuses its requests. */
void front_req_reset(struct front_req *r);

/* -- from within on_head and on_run -- */

/** Calls @add for each trailer field of the request's body, once it is whole. */
void front_each_trailer(struct front_req *r, void (*add)(void *arg, struct slice name, struct slice value),
                        void *arg);

/** Begins a reply of bytes that stay where they are until @release is called with @arg (maybe at once, on
 * failure). */
void front_reply_bytes(struct front_req *r, struct slice body, void (*release)(void *arg), void *arg);
/** Begins a reply whose body is asked for as it can be sent. @len is -1 when not known. @read fills at most
 * @cap bytes and returns how many, FRONT_WAIT (parked until front_wake), FRONT_END, or FRONT_ABORT (the
 * client sees it cut). */
void front_reply_stream(struct front_req *r, int64_t len,
                        int64_t (*read)(struct front_req *r, char *buf, size_t cap));
/** Adds a field to the reply begun; NUL-terminated. What HTTP does not allow in a field is left out. */
void front_reply_field(struct front_req *r, const char *name, const char *value);
/** Adds a trailer field; from within a stream's read, before it returns FRONT_END. */
void front_reply_trailer(struct front_req *r, const char *name, const char *value);
void front_reply_send(struct front_req *r, unsigned status);

/** Leaves the request waiting; on_run (or read, or on_body) comes again after front_wake. */
void front_park(struct front_req *r);

/* -- from anywhere on the loop -- */

/** Lets a parked request run again, from the loop, together with others woken meanwhile. Harmless on one not
 * parked. */
void front_wake(struct front_req *r);
/** Closes the connection without another byte; on_end follows. */
void front_abort(struct front_req *r);

/** Resumes what was woken; to be called once an iteration, before the loop waits. */
void front_settle(struct front *f);
