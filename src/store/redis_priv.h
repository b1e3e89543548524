/*
 * redis_priv - what the files of the Redis client share.
 *
 *   redis (facade, deadlines) ─► redis_conn (one connection: coming up, reconnecting, silence)
 *                                   ├─► redis_orders (what was asked, and in which order replies come)
 *                                   ├─► redis_greeting (what is said first, and whether we are let in)
 *                                   ├─► redis_socket (options, connecting)
 *                                   ├─► redis_prepare (names and certificates, on a thread of their own)
 *                                   ├─► redis_wire (bytes over a socket) ─► redis_tls
 *                                   └─► resp (commands to bytes, bytes to replies) ─► resp_guard, hiredis
 */
#pragma once
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "refrain/base/slice.h"
#include "refrain/store/redis.h"

enum {
    REDIS_DETAIL_MAX = 200,
    REDIS_ADDRESSES_MAX = 8,
};

/* What went wrong, in the server's or the system's words: printable, and short. */
struct redis_detail {
    char text[REDIS_DETAIL_MAX];
};
void redis_detail_set(struct redis_detail *d, struct slice text);

/* -- settings: a redis_conf of its own, defaults filled in; shared with threads that prepare -- */

struct redis_settings {
    struct redis_conf conf;
    atomic_uint refs;
};
/** NULL when out of memory. Threads: any, from here on. */
struct redis_settings *redis_settings_new(const struct redis_conf *conf);
struct redis_settings *redis_settings_ref(struct redis_settings *s);
void redis_settings_unref(struct redis_settings *s); /* NULL is fine */

/* -- TLS: bytes to bytes, over OpenSSL -- */

struct redis_tls_ctx;
struct redis_tls;

/** Reads the files of @conf. Errors: -EINVAL with @detail; -ENOMEM. Threads: any. */
int redis_tls_ctx_new(const struct redis_tls_conf *conf, struct redis_tls_ctx **out,
                      struct redis_detail *detail);
void redis_tls_ctx_free(struct redis_tls_ctx *ctx); /* NULL is fine; ends when its last redis_tls does */
/** @host: as configured, whose certificate is expected unless conf names another. NULL when out of memory. */
struct redis_tls *redis_tls_new(struct redis_tls_ctx *ctx, const struct redis_tls_conf *conf,
                                const char *host);
void redis_tls_free(struct redis_tls *t);
/** Takes what came from the network. Errors: -ENOMEM. */
int redis_tls_feed(struct redis_tls *t, struct slice bytes);
/** 0: done; -EAGAIN: more must come; -EPROTO with @detail. What it says is in redis_tls_out, in any case. */
int redis_tls_shake(struct redis_tls *t, struct redis_detail *detail);
/** How many bytes were read; 0: it is closed; -EAGAIN: more must come; -EPROTO with @detail. */
ssize_t redis_tls_read(struct redis_tls *t, char *to, size_t len, struct redis_detail *detail);
/** How many were taken, of at most 16 KiB. Errors: -EPROTO. */
ssize_t redis_tls_write(struct redis_tls *t, const char *from, size_t len);
/** Moves up to @len bytes that are to be sent to @to; how many. */
size_t redis_tls_out(struct redis_tls *t, char *to, size_t len);

/* -- a connected socket, plain or TLS -- */

struct redis_wire;

/** Takes @fd and @tls (NULL: plain). NULL when out of memory: both are closed then. */
struct redis_wire *redis_wire_new(int fd, struct redis_tls *tls);
void redis_wire_free(struct redis_wire *w); /* NULL is fine */
int redis_wire_fd(const struct redis_wire *w);
/** TLS's own beginning. 0, at once where it is plain; -EAGAIN; another negative errno with @detail. */
int redis_wire_shake(struct redis_wire *w, struct redis_detail *detail);
/** Bytes read; 0 at the end; -EAGAIN; -EPROTO with @detail: TLS failed; another negative errno. */
ssize_t redis_wire_read(struct redis_wire *w, char *to, size_t len, struct redis_detail *detail);
/** Bytes taken, perhaps not yet sent; -EAGAIN; another negative errno. */
ssize_t redis_wire_write(struct redis_wire *w, const struct iovec *iov, int n);
/** Sends what was taken: 0 when nothing is left, -EAGAIN, another negative errno. */
int redis_wire_flush(struct redis_wire *w);

/* -- what a connection needs before there is a socket -- */

struct redis_address {
    struct sockaddr_storage storage;
    socklen_t len;
};
struct redis_prepared {
    struct redis_address addresses[REDIS_ADDRESSES_MAX];
    size_t addresses_n;
    struct redis_tls_ctx *tls; /* NULL: without; the callee's now */
    enum redis_cause cause;    /* REDIS_FINE, or why it failed */
    struct redis_detail detail;
};
struct redis_prepare;

/** Resolves a name and, with @wants_tls, reads TLS's files on a thread of its own, since both may wait for
 * others, and the pool is not to wait with them. @on_done comes on @l. NULL when out of memory or threads. */
struct redis_prepare *redis_prepare_start(struct loop *l, struct redis_settings *s, const char *host,
                                          uint16_t port, bool wants_tls,
                                          void (*on_done)(void *arg, struct redis_prepared *p), void *arg);
/** True where there is nothing to wait for: an address, or no @host at all. */
bool redis_prepare_now(const char *host, uint16_t port, struct redis_prepared *out);
/** on_done does not come any more. NULL is fine; not after on_done. */
void redis_prepare_abandon(struct redis_prepare *p);

/* -- a socket that is to be connected -- */

/** Errors: -ENAMETOOLONG. */
int redis_socket_address_unix(const char *path, struct redis_address *out);
/** 0: connected; -EINPROGRESS; another negative errno. *@out_fd is the caller's in any case, if it was
 * opened. */
int redis_socket_connect(const struct redis_address *a, int *out_fd);
/** What became of it once it is writable: 0: connected; a negative errno. */
int redis_socket_error(int fd);

/* -- one connection -- */

struct redis_conn;

struct redis_conn_events {
    void (*on_state)(void *arg, const struct redis_state *state); /* at each change */
    /* Not NULL: a connection that listens; every reply goes here, and orders expect none. */
    void (*on_push)(void *arg, const struct redis_reply *reply);
    void *arg;
};

/** Begins to connect, and goes on trying. @host NULL: as configured. NULL when out of memory. */
struct redis_conn *redis_conn_new(struct loop *l, struct redis_settings *s, const char *host, uint16_t port,
                                  const struct redis_conn_events *events);
/** Every order comes back within it. Not within a callback of its own. NULL is fine. */
void redis_conn_free(struct redis_conn *c);

typedef void redis_on_order(void *arg, const struct redis_reply *reply, enum redis_why why);
/**
 * Sends a command: @on_reply comes exactly once, never within it. @patience_ms: how long its reply may take
 * without the connection being held for dead. NULL: it cannot be taken, and *@out_why says why.
 * Ownership: @argv is borrowed for the call; the order is the connection's, and gone once it came back.
 */
struct redis_order *redis_conn_ask(struct redis_conn *c, const struct slice *argv, size_t argc,
                                   int64_t patience_ms, redis_on_order *on_reply, void *arg,
                                   enum redis_why *out_why);
/** Nobody wants the reply any more; it is read and thrown away where it comes. */
void redis_order_forget(struct redis_order *o);
/** Sends a command whose reply goes to on_push. False: not up, or the queue is full. */
bool redis_conn_tell(struct redis_conn *c, const struct slice *argv, size_t argc);
bool redis_conn_is_up(const struct redis_conn *c);
/** When it last heard anything: loop_now_ms. */
int64_t redis_conn_heard_ms(const struct redis_conn *c);
/** Has an up connection cut, soon, and made anew. */
void redis_conn_cut(struct redis_conn *c, enum redis_cause cause);
