/*
 * upstream, inside - the objects of the libcurl adapter and how its files share the work:
 *
 *   upstream.c          the pool and the life of a call: waits its turn, runs, is timed, ends once
 *   upstream_request.c  a request into an easy handle, its body on the way out
 *   upstream_answer.c   the answer on the way in: head, body, trailers, verdict
 *   upstream_sock.c     the sockets: watched on the loop, kept watched while pooled, told apart from dead
 * ones
 *
 * A pool holds origins (one a configuration in use) and calls. A call is on its origin's `waiting` list, then
 * on the pool's `running` list, then back among the pool's spares, with its easy handle, timer and memory.
 *
 * libcurl forbids most of its own functions inside its callbacks, and our callbacks run inside them. So what
 * callers ask for (start, cancel, resume) only marks the call and puts it on a list: on `starting`, seen to
 * before the loop waits, while it is its turn that it wants; else on `todo`, for the pool's tick, a timer of
 * no delay, so that whoever is resumed again and again leaves others theirs. That also keeps the promise that
 * no callback fires from inside the call that asked for it.
 */
#pragma once
#include <curl/curl.h>

#include "refrain/base/list.h"
#include "refrain/http/upstream.h"

#include "answer_head.h"

/* One configuration in use: what is derived from it, and whose turn it is. */
struct origin {
    struct list link; /* in the pool */
    const struct upstream_conf *conf;
    struct slice prefix; /* path part of the URL, may be empty; lies in conf->url */
    bool is_tls;
    bool is_clear;        /* no TLS on the connection at all, neither to the origin nor to a proxy */
    bool absolute_target; /* an HTTP proxy without a tunnel wants the whole URL (RFC 9112 section 3.2.2) */
    unsigned running, calls;
    struct list waiting; /* calls, over max_concurrent, in order */
};

enum call_stage {
    CALL_WAITING_TURN,
    CALL_CONNECTING,
    CALL_SENDING,
    CALL_WAITING_ANSWER, /* the request's last byte is out */
    CALL_ANSWERING,      /* at least one line came */
    CALL_BACKING_OFF,    /* between two tries */
    CALL_ENDED,
};

struct upstream_call {
    struct list link; /* in origin->waiting, pool->running or pool->spare */
    struct list todo; /* in pool->starting or pool->todo, while something is asked */
    struct upstream_pool *pool;
    struct origin *origin;
    struct upstream_events events;
    void *arg;

    CURL *easy;
    bool in_multi;
    enum call_stage stage;

    /* what is asked for */
    bool want_resume, want_send, want_end;

    /* the request; text, nodes and body stay until the end */
    char *text; /* method, target and header lines, each NUL-terminated */
    size_t text_cap;
    struct curl_slist *nodes;
    size_t nodes_cap;
    const char *method, *target;
    const char *body;
    bool has_nodes, is_head, is_safe, has_body, streamed;
    bool ends_at_head;           /* a HEAD request with a body: the library would wait for a body in return */
    int64_t body_len, body_read; /* -1: not known */
    bool body_at_end;
    int64_t sent; /* body bytes that left, as last seen */
    int64_t (*read_body)(void *arg, char *buf, size_t cap);
    void (*read_trailers)(void *arg, void (*add)(void *add_arg, struct slice name, struct slice value),
                          void *add_arg);
    bool send_paused;

    /* tries */
    unsigned tries;   /* done */
    int64_t again_at; /* when the next one begins */
    bool wants_again, cancelled;

    /* the connection */
    unsigned attempts; /* times a request was about to be written */
    unsigned restarts; /* times we started over because the pooled connection was found dead, with nothing
                          written */
    bool opened_socket, is_stale;

    /* the answer */
    struct answer_head head;
    bool recv_paused, head_told;
    int64_t body_got;
    uint64_t turn;     /* of the pool, in which … */
    size_t turn_bytes; /* … so much of the body came */

    /* time, in the loop's ms */
    struct loop_timer *timer;
    int64_t armed_until;   /* when the timer fires; 0: not armed */
    int64_t started, mark; /* mark: last progress in this stage */

    bool is_judged; /* @verdict was decided by us, whatever the library says */
    enum upstream_result verdict;
    const char *why;
    char error[CURL_ERROR_SIZE];
};

struct sock;

struct upstream_pool {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer *curl_timer, *tick;
    struct loop_soon start;
    struct list origins, running, starting, todo, spare;
    unsigned spare_n;
    size_t active;
    uint64_t turns; /* that the library had */
    bool is_closing;
    bool multiplexes; /* several calls on one HTTP/2 connection */
    struct list connections;
    struct sock **socks; /* by descriptor */
    size_t socks_cap;
    struct fields fields; /* lent to on_head and on_trailers */
};

/* -- upstream.c -- */

/** This try has come to @result: true when there is to be another, which must then begin. */
bool call_wants_again(struct upstream_call *c, enum upstream_result result, const char *why,
                      const struct fields *fields);
/** Sets the verdict, once; the first reason counts. */
void call_judge(struct upstream_call *c, enum upstream_result verdict, const char *why);
/** Moves to @stage and starts its clock. */
void call_enter(struct upstream_call *c, enum call_stage stage);
/** Holds back what comes next until others have had their turn. */
void call_take_a_breath(struct upstream_call *c);
/** Notes progress: the deadline of this stage moves on. */
void call_touch(struct upstream_call *c);
/** The loop found @fd ready: lets the library go on. */
void pool_on_ready(struct upstream_pool *p, int fd, int events);

/* -- upstream_request.c -- */

/** Copies what must outlive upstream_start. -ENOMEM, or -EINVAL for bytes that may not stand in a request. */
int call_take_request(struct upstream_call *c, const struct upstream_request *req);
/** Sets every option of the easy handle. -ENOMEM. */
int call_set_up(struct upstream_call *c);

/* -- upstream_answer.c -- */

size_t call_on_header_line(char *bytes, size_t one, size_t n, void *arg);
size_t call_on_body(char *bytes, size_t one, size_t n, void *arg);
/** What became of a call that the library has finished with @code. */
enum upstream_result call_result(struct upstream_call *c, CURLcode code, const char **why);

/* -- upstream_sock.c -- */

int pool_on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused);
curl_socket_t call_on_socket_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address);
int pool_on_socket_close(void *arg, curl_socket_t fd);
/** True when the connection with these ends, about to carry a request, must not: its far end is closed, or
 * has sent what nobody asked for. */
bool pool_connection_is_stale(struct upstream_pool *p, bool is_clear, const char *far_ip, int far_port,
                              const char *near_ip, int near_port);
void pool_socks_done(struct upstream_pool *p);
