/*
 * front_priv - what the parts of the front have in common: accepting and libmicrohttpd's callbacks (front.c),
 * replies (front_reply.c), the watchdog (front_watch.c), refusals sent past the library (front_refuse.c).
 */
#pragma once
#include <microhttpd.h>
#include <sys/socket.h>

#include "mhd_compat.h"
#include "refrain/base/tls.h"
#include "refrain/http/front.h"

/*
 * A connection's life, as the watchdog sees it:
 *
 *   HANDSHAKE, where there is TLS ──done──►
 *   AWAIT ──request line──► HEAD ──head whole──► BODY ──body whole──► WORK ──reply begun──► REPLY ──sent──►
 * AWAIT
 *
 * The hot path only stores the phase and the loop's time. A sweep visits every connection once a second and
 * ends those that overstay; it asks the kernel for byte counts, so nothing is counted per request.
 *
 * Who holds whom: a front_conn belongs to libmicrohttpd's connection (made at its start notice, freed at its
 * end notice, which comes before the socket is closed). A front_req belongs to the handler; the conn points
 * at the one under way.
 */
enum {
    FRONT_LISTENERS_MAX = 8,
    FRONT_SWEEP_TICK_MS = 100,
    /* libmicrohttpd clears its pool for every request, and maps one that is larger (both measured). */
    FRONT_POOL_BYTES = 32 * 1024,
};

enum phase { PHASE_HANDSHAKE, PHASE_AWAIT, PHASE_HEAD, PHASE_BODY, PHASE_WORK, PHASE_REPLY };

struct front_conn {
    struct list link;
    struct front *front;
    struct MHD_Connection *mhd;
    struct front_req *req; /* under way, or NULL */
    int fd;
    enum phase phase;
    int64_t since_ms;      /* when the phase began */
    int64_t head_begun_ms; /* 0: no byte of the next request seen yet */
    int64_t progress_ms;   /* of a reply, or a body */
    int64_t parked_ms;     /* when the request was parked while its body came */
    uint64_t received;     /* kernel's count when last looked at, … */
    bool received_known;   /* … if it was since the phase began */
    uint64_t acked;
    uint64_t body_bytes;
    uint64_t body_swept; /* of them, when last looked at */
    bool hung_up;
    bool ended; /* shut down by us */
    struct loop_fd *hangup;
    struct tls_conn tls; /* all zero: plain */
    struct sockaddr_storage addr;
};

struct listener {
    struct front *front;
    int fd;
    struct loop_fd *watch;
};

struct front {
    struct loop *loop;
    struct front_conf conf;
    struct limits *limits;
    const struct front_handler *handler;
    struct MHD_Daemon *daemon;
    struct loop_fd *daemon_watch;
    struct loop_timer *sweep;
    struct loop_timer *again; /* more is ready than one event should take */
    struct listener listeners[FRONT_LISTENERS_MAX];
    size_t listeners_n;
    struct list conns; /* least lately swept first */
    unsigned conns_n;
    struct list woken;    /* front_req.wake_link */
    struct list entering; /* handed over and not begun: 0.9.75 begins them at once, 1.0 when it next runs */
    unsigned tick;
    bool draining;
    unsigned library_answers, library_status; /* libmicrohttpd's own in this run, and the last one's status */
    bool length_refused;                      /* its next one is about what has been answered */
};

/* Ends a connection from our side; a parked request is told first. */
void front_conn_lost(struct front_conn *c);
/* Lets libmicrohttpd do what is ready. */
void front_daemon_run(struct front *f);

/* front_watch.c: one tick of the sweep. */
void front_sweep(struct front *f);

/* front_refuse.c */
/* Answers one that is too many, where that can be done without a handshake, and closes it. */
void front_refuse_connection(const struct front *f, int fd);
/* Answers HTTP where TLS is spoken. */
void front_refuse_plain(int fd);
void front_on_library_log(void *front, const char *format, va_list args);
/* A request has ended: with an answer of libmicrohttpd's own? */
void front_library_ended(struct front_req *r);
/* libmicrohttpd has run: what it has answered on behalf of no request is refused, as far as the counts go. */
void front_library_settle(struct front *f);
