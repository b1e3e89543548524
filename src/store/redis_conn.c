/*
 * One connection, and the next one when that ends.
 *
 *   RESTING ─► PREPARING ─► CONNECTING ─► SHAKING ─► GREETING ─► UP
 *      ▲            name, files   socket     TLS       AUTH …       │
 *      └───────────────────────── lose() ◄──────────────────────────┘
 *
 * What was asked waits in `orders`, whose ways out are a reply, redis_order_forget and lose().
 *
 * What is asked is written when the loop is about to wait (a message to itself), so that what comes at once
 * goes out at once. Nothing is called back from within redis_conn_ask and the like.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "redis_greeting.h"
#include "redis_orders.h"
#include "redis_priv.h"
#include "refrain/base/digest.h"
#include "refrain/store/resp.h"

enum {
    REST_MS = 50,           /* after the first failure in a row, … */
    REST_MS_MAX = 3 * 1000, /* … twice as long after each, up to this; and by chance up to half of it less */
    STEADY_MS = 1000,       /* who was up for less than this counts as failed */
    TLS_MS_MAX = 5 * 60 * 1000, /* files of TLS are read anew for an attempt so much later */
    RENEW_MS_MIN = 5000,        /* not more often is a good connection cut because of what it answers */
    PATIENCES_MAX = 10, /* a reply that takes so many times longer than silence may last is not waited for */
    IOV_MAX_N = 16,
    READ_BYTES = 64 * 1024,
    READS_MAX = 4, /* at a time: others on the loop have their turn */
};

enum conn_at { CONN_RESTING, CONN_PREPARING, CONN_CONNECTING, CONN_SHAKING, CONN_GREETING, CONN_UP };

struct redis_conn {
    struct loop *loop;
    struct redis_settings *settings;
    char *host; /* NULL: the unix socket */
    uint16_t port;
    struct redis_conn_events events;

    enum conn_at at;
    bool away;         /* the last attempt failed: nothing waits for the next */
    unsigned failures; /* in a row */
    int64_t up_ms, heard_ms;
    struct loop_timer *timer; /* end of a rest, the deadline of an attempt, or the watch for silence */
    enum redis_cause cut;     /* why it is to be cut; REDIS_FINE: it is not */

    struct redis_prepare *prepare;
    struct redis_prepared found;
    struct redis_tls_ctx *tls; /* kept from attempt to attempt; NULL: to be made, or not wanted */
    int64_t tls_ms;            /* when it was made */
    size_t address_at;         /* the one being tried; goes on with each attempt */
    size_t addresses_left;

    int fd; /* while CONNECTING; later the wire's */
    struct redis_wire *wire;
    struct loop_fd *watch;
    struct resp_reader *reader;
    struct redis_greeting greeting;

    struct redis_orders orders;

    struct loop_msg flush;
    bool flush_posted, is_freed;
    bool more; /* there is perhaps more to read, whatever the socket says: TLS keeps some */
};

static bool read_some(struct redis_conn *c);
static void lose(struct redis_conn *c, enum redis_cause cause, struct slice detail);

/* -- orders -- */

static void post_flush(struct redis_conn *c)
{
    if (c->flush_posted)
        return;
    c->flush_posted = true;
    loop_post(c->loop, &c->flush);
}

/* REDIS_REPLIED: it may. */
static enum redis_why may_ask(const struct redis_conn *c, const struct slice *argv, size_t argc)
{
    return c->away ? REDIS_DOWN : redis_orders_room(&c->orders, &c->settings->conf, argv, argc);
}

struct redis_order *redis_conn_ask(struct redis_conn *c, const struct slice *argv, size_t argc,
                                   int64_t patience_ms, redis_on_order *on_reply, void *arg,
                                   enum redis_why *out_why)
{
    struct redis_order *o;

    *out_why = may_ask(c, argv, argc);
    if (*out_why != REDIS_REPLIED)
        return NULL;
    o = redis_orders_add(&c->orders, argv, argc);
    if (!o) {
        *out_why = REDIS_BUSY;
        return NULL;
    }
    o->patience_ms = patience_ms;
    o->on_reply = on_reply;
    o->arg = arg;
    post_flush(c);
    return o;
}

bool redis_conn_tell(struct redis_conn *c, const struct slice *argv, size_t argc)
{
    struct redis_order *o;

    if (c->at != CONN_UP || may_ask(c, argv, argc) != REDIS_REPLIED)
        return false;
    o = redis_orders_add(&c->orders, argv, argc);
    if (!o)
        return false;
    o->mute = true;
    post_flush(c);
    return true;
}

/* -- going up and down -- */

static void tell_state(struct redis_conn *c, bool up, enum redis_cause cause, struct slice detail)
{
    struct redis_detail shown;
    struct redis_state state = {.up = up, .cause = cause, .detail = shown.text};

    redis_detail_set(&shown, detail);
    if (c->events.on_state)
        c->events.on_state(c->events.arg, &state);
}

static void drop_socket(struct redis_conn *c)
{
    loop_fd_free(c->watch);
    c->watch = NULL;
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

static void close_wire(struct redis_conn *c)
{
    drop_socket(c);
    redis_wire_free(c->wire);
    c->wire = NULL;
    resp_reader_free(c->reader);
    c->reader = NULL;
}

static void drop_prepared(struct redis_conn *c)
{
    redis_prepare_abandon(c->prepare);
    c->prepare = NULL;
    redis_tls_ctx_free(c->found.tls);
    c->found.tls = NULL;
}

/* To read the authorities of a system takes tens of milliseconds of CPU: not again for each attempt while a
 * server is away, but whenever they may have become others. */
static void drop_tls(struct redis_conn *c, enum redis_cause cause)
{
    if (cause != REDIS_TLS_REFUSED && loop_now_ms(c->loop) - c->tls_ms < TLS_MS_MAX)
        return;
    redis_tls_ctx_free(c->tls);
    c->tls = NULL;
}

/* Many instances lose the same server at once; they shall not come back at once, too. */
static int64_t rest_ms(const struct redis_conn *c)
{
    unsigned doublings = c->failures > 1 ? c->failures - 1 : 0;
    int64_t rest = doublings < 16 ? (int64_t)REST_MS << doublings : REST_MS_MAX;
    uint32_t chance;

    if (c->failures == 0)
        rest = REST_MS / 2;
    if (rest > REST_MS_MAX)
        rest = REST_MS_MAX;
    random_bytes(&chance, sizeof(chance));
    return rest / 2 + (int64_t)(chance % (uint32_t)(rest / 2 + 1));
}

/*
 * Whatever ends an attempt or a connection. A good connection that merely ended is made anew at once, and
 * what was not sent waits for that; all else is known to be away until an attempt succeeds.
 */
static void lose(struct redis_conn *c, enum redis_cause cause, struct slice detail)
{
    bool was_steady = c->at == CONN_UP && loop_now_ms(c->loop) - c->up_ms >= STEADY_MS;
    bool just_ended = was_steady && cause == REDIS_CLOSED;

    c->failures = was_steady ? 0 : c->failures + 1;
    c->away = !just_ended;
    c->at = CONN_RESTING;
    c->cut = REDIS_FINE;
    close_wire(c);
    drop_prepared(c);
    drop_tls(c, cause);
    loop_timer_start(c->timer, rest_ms(c), 0);
    tell_state(c, false, cause, detail);
    redis_orders_fail_sent(&c->orders);
    if (c->away)
        redis_orders_fail_unsent(&c->orders);
}

static void lose_by(struct redis_conn *c, enum redis_cause cause, int error)
{
    lose(c, cause, slice_str(error ? strerrordesc_np(-error) : ""));
}

/* With TLS 1.3 a server tells only after the handshake that it does not like our certificate; what it says
 * then may be lost when it closes, too. */
static void lose_closed(struct redis_conn *c, int error)
{
    bool is_refusal = c->tls && c->at == CONN_GREETING && c->greeting.answered_n == 0;

    lose_by(c, is_refusal ? REDIS_TLS_REFUSED : REDIS_CLOSED, error);
}

static void lose_by_read(struct redis_conn *c, int error, const struct redis_detail *detail)
{
    if (error == -EPROTO)
        lose(c, REDIS_TLS_REFUSED, slice_str(detail->text));
    else
        lose_closed(c, error);
}

static void go_up(struct redis_conn *c)
{
    c->at = CONN_UP;
    c->away = false;
    c->up_ms = loop_now_ms(c->loop);
    loop_timer_stop(c->timer);
    tell_state(c, true, REDIS_FINE, (struct slice){NULL, 0});
    post_flush(c);
}

/* -- writing -- */

/* 0 when all is written, -EAGAIN, another negative errno. */
static int write_greeting(struct redis_conn *c)
{
    struct iovec left;

    while ((left = redis_greeting_unsent(&c->greeting)).iov_len > 0) {
        ssize_t n = redis_wire_write(c->wire, &left, 1);

        if (n < 0)
            return (int)n;
        c->greeting.written += (size_t)n;
    }
    return redis_wire_flush(c->wire);
}

static int write_unsent(struct redis_conn *c)
{
    struct iovec iov[IOV_MAX_N];
    int pieces;

    while ((pieces = redis_orders_unsent(&c->orders, iov, IOV_MAX_N)) > 0) {
        ssize_t n = redis_wire_write(c->wire, iov, pieces);

        if (n < 0)
            return (int)n;
        redis_orders_written(&c->orders, (size_t)n, loop_now_ms(c->loop));
    }
    return redis_wire_flush(c->wire);
}

static int64_t silence_max_ms(const struct redis_conn *c)
{
    return c->settings->conf.connect_timeout_ms;
}

static void watch_silence(struct redis_conn *c)
{
    if (!loop_timer_active(c->timer) && redis_orders_next(&c->orders))
        loop_timer_start(c->timer, silence_max_ms(c), 0);
}

static void flush(struct redis_conn *c)
{
    int r = c->at == CONN_UP ? write_unsent(c) : write_greeting(c);

    if (r < 0 && r != -EAGAIN) {
        lose_closed(c, r);
        return;
    }
    loop_fd_watch(c->watch, r == -EAGAIN ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    if (c->at == CONN_UP)
        watch_silence(c);
}

static void on_flush(struct loop_msg *m)
{
    struct redis_conn *c = CONTAINER_OF(m, struct redis_conn, flush);

    c->flush_posted = false;
    if (c->is_freed)
        free(c);
    else if (c->at == CONN_UP && c->cut != REDIS_FINE)
        lose(c, c->cut, (struct slice){NULL, 0});
    else if (c->at == CONN_UP && (!c->more || read_some(c)))
        flush(c);
}

/* -- replies -- */

/* False: the connection is gone. */
static bool on_greeting(struct redis_conn *c, const struct redis_reply *r)
{
    enum redis_cause cause = redis_greeting_judge(&c->greeting, r);

    if (cause != REDIS_FINE) {
        lose(c, cause,
             cause == REDIS_CONFUSED ? SLICE_OF("an answer that does not fit what was asked") : r->text);
        return false;
    }
    if (redis_greeting_is_over(&c->greeting))
        go_up(c);
    return true;
}

/* Errors that say the server is not the one we want any more: a replica now, or its users have changed. */
static void look_at_error(struct redis_conn *c, const struct redis_reply *r)
{
    enum redis_cause cause = redis_reply_is_error(r, "READONLY") ? REDIS_REFUSING
                             : redis_reply_is_error(r, "NOAUTH") ? REDIS_NOAUTH
                                                                 : REDIS_FINE;

    if (cause != REDIS_FINE && loop_now_ms(c->loop) - c->up_ms >= RENEW_MS_MIN)
        redis_conn_cut(c, cause);
}

static bool on_answer(struct redis_conn *c, const struct redis_reply *r, enum redis_why why)
{
    if (!redis_orders_next(&c->orders)) {
        lose(c, REDIS_CONFUSED, SLICE_OF("a reply that nobody asked for"));
        return false;
    }
    if (r)
        look_at_error(c, r);
    redis_orders_answer(&c->orders, r, why);
    return true;
}

static bool on_reply(struct redis_conn *c, const struct redis_reply *r, enum redis_why why)
{
    if (c->at == CONN_GREETING)
        return on_greeting(c, r);
    if (!c->events.on_push)
        return on_answer(c, r, why);
    if (r)
        c->events.on_push(c->events.arg, r);
    return true;
}

/* False: the connection is gone. */
static bool read_replies(struct redis_conn *c, struct slice bytes)
{
    while (bytes.len > 0) {
        struct redis_reply *reply = NULL;
        bool good;

        switch (resp_reader_next(c->reader, &bytes, &reply)) {
        case RESP_READ_MORE:
            return true;
        case RESP_READ_REPLY:
            good = on_reply(c, reply, REDIS_REPLIED);
            resp_reply_free(reply);
            if (!good)
                return false;
            break;
        case RESP_READ_OVER:
            if (!on_reply(c, NULL, REDIS_TOO_LARGE))
                return false;
            break;
        case RESP_READ_NO_MEMORY:
            lose(c, REDIS_NO_MEMORY, (struct slice){NULL, 0});
            return false;
        default:
            lose(c, REDIS_CONFUSED, SLICE_OF("no reply of Redis, or larger than allowed"));
            return false;
        }
    }
    return true;
}

static bool read_some(struct redis_conn *c)
{
    char bytes[READ_BYTES];
    struct redis_detail detail = {""};

    c->more = false;
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = redis_wire_read(c->wire, bytes, sizeof(bytes), &detail);

        if (n == -EAGAIN)
            return true;
        if (n <= 0) {
            lose_by_read(c, (int)n, &detail);
            return false;
        }
        c->heard_ms = loop_now_ms(c->loop);
        if (!read_replies(c, slice_make(bytes, (size_t)n)))
            return false;
    }
    c->more = true;
    post_flush(c);
    return true;
}

/* -- connecting -- */

static void shake(struct redis_conn *c)
{
    struct redis_detail detail = {""};
    int r = redis_wire_shake(c->wire, &detail);

    if (r == -EAGAIN) {
        loop_fd_watch(c->watch, redis_wire_flush(c->wire) == -EAGAIN ? LOOP_READ | LOOP_WRITE : LOOP_READ);
        return;
    }
    if (r == -EPROTO) {
        lose(c, REDIS_TLS_REFUSED, slice_str(detail.text));
        return;
    }
    if (r < 0) {
        lose_by(c, c->tls ? REDIS_TLS_REFUSED : REDIS_CLOSED, r);
        return;
    }
    if (redis_greeting_make(&c->greeting, &c->settings->conf) < 0) {
        lose(c, REDIS_NO_MEMORY, (struct slice){NULL, 0});
        return;
    }
    c->at = CONN_GREETING;
    flush(c);
}

static void connected(struct redis_conn *c)
{
    const struct redis_conf *conf = &c->settings->conf;
    struct resp_reader_conf limits = {conf->bulk_bytes_max, conf->reply_bytes_max, conf->elements_max,
                                      (unsigned)conf->depth_max};
    struct redis_tls *tls = NULL;

    if (c->tls) {
        tls = redis_tls_new(c->tls, &conf->tls, c->host);
        if (!tls) {
            lose(c, REDIS_NO_MEMORY, (struct slice){NULL, 0});
            return;
        }
    }
    c->wire = redis_wire_new(c->fd, tls);
    c->fd = -1;
    c->reader = resp_reader_new(&limits);
    if (!c->wire || !c->reader) {
        lose(c, REDIS_NO_MEMORY, (struct slice){NULL, 0});
        return;
    }
    c->at = CONN_SHAKING;
    shake(c);
}

static void try_next(struct redis_conn *c, int error);

static void on_connecting(struct redis_conn *c)
{
    int r = redis_socket_error(c->fd);

    if (r < 0)
        try_next(c, r);
    else
        connected(c);
}

static void on_fd(void *arg, int events)
{
    struct redis_conn *c = arg;

    switch (c->at) {
    case CONN_CONNECTING:
        on_connecting(c);
        return;
    case CONN_SHAKING:
        shake(c);
        return;
    default:
        if ((events & LOOP_READ) && !read_some(c))
            return;
        flush(c);
    }
}

/* 0: connected; -EINPROGRESS; another negative errno. */
static int open_socket(struct redis_conn *c, const struct redis_address *a)
{
    int r = redis_socket_connect(a, &c->fd);

    if (r < 0 && r != -EINPROGRESS)
        return r;
    c->watch = loop_fd_new(c->loop, c->fd, on_fd, c);
    return c->watch ? r : -ENOMEM;
}

/* A name may have several addresses: each is tried within the one deadline. Another attempt begins with the
 * one that this one ended at, so that one which swallows all is passed over in the end. */
static void try_next(struct redis_conn *c, int error)
{
    drop_socket(c);
    while (c->addresses_left > 0) {
        const struct redis_address *a = &c->found.addresses[c->address_at++ % c->found.addresses_n];

        c->addresses_left--;
        error = open_socket(c, a);
        if (error == 0 || error == -EINPROGRESS) {
            c->at = CONN_CONNECTING;
            loop_fd_watch(c->watch, LOOP_WRITE); /* a connected socket is writable at once */
            return;
        }
        drop_socket(c);
    }
    lose_by(c, REDIS_UNREACHABLE, error);
}

static void on_found(struct redis_conn *c)
{
    if (c->found.cause != REDIS_FINE) {
        struct redis_detail detail = c->found.detail;

        lose(c, c->found.cause, slice_str(detail.text)); /* which drops what was found */
        return;
    }
    if (!c->host && redis_socket_address_unix(c->settings->conf.path, &c->found.addresses[0]) == 0)
        c->found.addresses_n = 1;
    c->addresses_left = c->found.addresses_n;
    try_next(c, -EADDRNOTAVAIL);
}

static void on_prepared(void *arg, struct redis_prepared *found)
{
    struct redis_conn *c = arg;

    c->prepare = NULL;
    c->found = *found;
    if (found->tls) {
        c->tls = found->tls;
        c->tls_ms = loop_now_ms(c->loop);
        c->found.tls = NULL;
    }
    on_found(c);
}

static void begin(struct redis_conn *c)
{
    bool wants_tls = c->settings->conf.tls.on && !c->tls;

    loop_timer_start(c->timer, c->settings->conf.connect_timeout_ms, 0);
    c->at = CONN_PREPARING;
    if (redis_prepare_now(c->host, c->port, &c->found) && !wants_tls) {
        on_found(c);
        return;
    }
    c->prepare = redis_prepare_start(c->loop, c->settings, c->host, c->port, wants_tls, on_prepared, c);
    if (!c->prepare)
        lose(c, REDIS_NO_MEMORY, (struct slice){NULL, 0});
}

/* The oldest order tells: replies come in order. */
static void judge_silence(struct redis_conn *c)
{
    int64_t now = loop_now_ms(c->loop), bound = silence_max_ms(c), waited;
    const struct redis_order *o = redis_orders_next(&c->orders);

    if (!o)
        return;
    waited = now - o->sent_ms;
    if (o->patience_ms > bound)
        bound = o->patience_ms;
    if (waited >= bound && (now - c->heard_ms >= bound || waited >= PATIENCES_MAX * bound)) {
        lose(c, REDIS_SILENT, (struct slice){NULL, 0});
        return;
    }
    loop_timer_start(c->timer, waited < bound ? bound - waited : bound, 0);
}

static void on_timer(void *arg)
{
    struct redis_conn *c = arg;

    if (c->at == CONN_RESTING)
        begin(c);
    else if (c->at == CONN_UP)
        judge_silence(c);
    else
        lose(c,
             c->at == CONN_PREPARING && c->found.cause != REDIS_FINE ? REDIS_UNRESOLVED : REDIS_CONNECT_LATE,
             SLICE_OF("not within connect_timeout"));
}

/* -- the outside -- */

bool redis_conn_is_up(const struct redis_conn *c)
{
    return c->at == CONN_UP;
}

int64_t redis_conn_heard_ms(const struct redis_conn *c)
{
    return c->heard_ms;
}

void redis_conn_cut(struct redis_conn *c, enum redis_cause cause)
{
    c->cut = cause;
    post_flush(c);
}

struct redis_conn *redis_conn_new(struct loop *l, struct redis_settings *s, const char *host, uint16_t port,
                                  const struct redis_conn_events *events)
{
    struct redis_conn *c = calloc(1, sizeof(*c));
    bool is_unix = !host && s->conf.path;

    if (!c)
        return NULL;
    c->loop = l;
    c->events = *events;
    c->port = host ? port : s->conf.port;
    c->fd = -1;
    redis_greeting_init(&c->greeting);
    c->flush.on_msg = on_flush;
    redis_orders_init(&c->orders);
    if (!is_unix) {
        c->host = strdup(host ? host : s->conf.host ? s->conf.host : "127.0.0.1");
        if (!c->host) {
            free(c);
            return NULL;
        }
    }
    c->settings = redis_settings_ref(s);
    c->timer = loop_timer_new(l, on_timer, c);
    loop_timer_start(c->timer, 0, 0);
    return c;
}

void redis_conn_free(struct redis_conn *c)
{
    if (!c)
        return;
    c->away = true; /* takes no more orders */
    c->at = CONN_RESTING;
    close_wire(c);
    drop_prepared(c);
    redis_orders_fail_sent(&c->orders);
    redis_orders_fail_unsent(&c->orders);
    redis_tls_ctx_free(c->tls);
    loop_timer_free(c->timer);
    redis_greeting_done(&c->greeting);
    redis_settings_unref(c->settings);
    free(c->host);
    c->is_freed = true;
    if (!c->flush_posted)
        free(c);
}
