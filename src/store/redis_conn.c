/*
 * One connection, and the next one when that ends.
 *
 *   RESTING ─► PREPARING ─► CONNECTING ─► SHAKING ─► GREETING ─► UP
 *      ▲            name, files   socket     TLS       AUTH …       │
 *      └───────────────────────── lose() ◄──────────────────────────┘
 *
 * Orders wait in `unsent` until their bytes are written, then in `sent`, in the order in which their replies
 * will come. The only ways out of both are a reply, redis_order_forget and lose().
 *
 * What is asked is written when the loop is about to wait (a message to itself), so that what comes at once
 * goes out at once. Nothing is called back from within redis_conn_ask and the like.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "redis_priv.h"
#include "refrain/base/buf.h"
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
    GREETING_BYTES_MAX = 4096,
};

enum conn_at { CONN_RESTING, CONN_PREPARING, CONN_CONNECTING, CONN_SHAKING, CONN_GREETING, CONN_UP };

enum greeting { GREET_AUTH, GREET_NAME, GREET_SELECT, GREET_PING, GREETINGS };

struct redis_order {
    struct list link;
    struct redis_conn *conn;
    char *bytes;
    size_t len;
    int64_t patience_ms, sent_ms;
    redis_on_order *on_reply; /* NULL: forgotten */
    void *arg;
    bool mute; /* no reply comes in its turn */
};

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
    struct buf greeting;
    size_t greeting_at;
    enum greeting greetings[GREETINGS];
    size_t greetings_n, greeted_n;

    struct list unsent, sent;
    size_t unsent_at; /* bytes of the first that are written */
    size_t unsent_bytes, calls_n;

    struct loop_msg flush;
    bool flush_posted, is_freed;
    bool more; /* there is perhaps more to read, whatever the socket says: TLS keeps some */
};

static bool read_some(struct redis_conn *c);
static void lose(struct redis_conn *c, enum redis_cause cause, struct slice detail);

/* -- orders -- */

static void order_free(struct redis_order *o)
{
    list_remove(&o->link);
    o->conn->calls_n--;
    resp_format_free(o->bytes);
    free(o);
}

static void order_end(struct redis_order *o, const struct redis_reply *reply, enum redis_why why)
{
    redis_on_order *on_reply = o->on_reply;
    void *arg = o->arg;

    order_free(o);
    if (on_reply)
        on_reply(arg, reply, why);
}

/* A callback may forget others of the list, and ask anew, which does not end up in it. */
static void fail_all(struct list *orders, enum redis_why why)
{
    LIST_FOR(it, orders)
    { /* none of them is unsent any more, as redis_order_forget sees it */
        struct redis_order *o = CONTAINER_OF(it, struct redis_order, link);

        resp_format_free(o->bytes);
        o->bytes = NULL;
    }
    while (!list_empty(orders))
        order_end(CONTAINER_OF(orders->next, struct redis_order, link), NULL, why);
}

static void fail_sent(struct redis_conn *c)
{
    struct list lost;

    list_init(&lost);
    list_splice_back(&lost, &c->sent);
    if (c->unsent_at > 0) {
        struct redis_order *o = CONTAINER_OF(c->unsent.next, struct redis_order, link);

        c->unsent_at = 0;
        c->unsent_bytes -= o->len;
        list_remove(&o->link);
        list_push_back(&lost, &o->link);
    }
    fail_all(&lost, REDIS_LOST);
}

static void fail_unsent(struct redis_conn *c)
{
    struct list down;

    list_init(&down);
    list_splice_back(&down, &c->unsent);
    c->unsent_bytes = 0;
    fail_all(&down, REDIS_DOWN);
}

static void post_flush(struct redis_conn *c)
{
    if (c->flush_posted)
        return;
    c->flush_posted = true;
    loop_post(c->loop, &c->flush);
}

static struct redis_order *order_new(struct redis_conn *c, const struct slice *argv, size_t argc)
{
    struct redis_order *o = calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    o->bytes = resp_format(argv, argc, &o->len);
    if (!o->bytes) {
        free(o);
        return NULL;
    }
    o->conn = c;
    list_init(&o->link);
    list_push_back(&c->unsent, &o->link);
    c->unsent_bytes += o->len;
    c->calls_n++;
    post_flush(c);
    return o;
}

/* REDIS_REPLIED: it may. */
static enum redis_why may_ask(const struct redis_conn *c, const struct slice *argv, size_t argc)
{
    const struct redis_conf *conf = &c->settings->conf;
    size_t size = resp_format_size(argv, argc);

    if (c->away)
        return REDIS_DOWN;
    if (size > conf->queue_bytes_max)
        return REDIS_TOO_LARGE;
    if (c->calls_n >= conf->queue_calls_max || size > conf->queue_bytes_max - c->unsent_bytes)
        return REDIS_BUSY;
    return REDIS_REPLIED;
}

struct redis_order *redis_conn_ask(struct redis_conn *c, const struct slice *argv, size_t argc,
                                   int64_t patience_ms, redis_on_order *on_reply, void *arg,
                                   enum redis_why *out_why)
{
    struct redis_order *o;

    *out_why = may_ask(c, argv, argc);
    if (*out_why != REDIS_REPLIED)
        return NULL;
    o = order_new(c, argv, argc);
    if (!o) {
        *out_why = REDIS_BUSY;
        return NULL;
    }
    o->patience_ms = patience_ms;
    o->on_reply = on_reply;
    o->arg = arg;
    return o;
}

bool redis_conn_tell(struct redis_conn *c, const struct slice *argv, size_t argc)
{
    struct redis_order *o;

    if (c->at != CONN_UP || may_ask(c, argv, argc) != REDIS_REPLIED)
        return false;
    o = order_new(c, argv, argc);
    if (o)
        o->mute = true;
    return o != NULL;
}

void redis_order_forget(struct redis_order *o)
{
    struct redis_conn *c = o->conn;
    bool is_first = c->unsent.next == &o->link;

    o->on_reply = NULL;
    if (!o->bytes || (is_first && c->unsent_at > 0))
        return; /* on its way: what comes for it is thrown away */
    c->unsent_bytes -= o->len;
    order_free(o);
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
    fail_sent(c);
    if (c->away)
        fail_unsent(c);
}

static void lose_by(struct redis_conn *c, enum redis_cause cause, int error)
{
    lose(c, cause, slice_str(error ? strerrordesc_np(-error) : ""));
}

/* With TLS 1.3 a server tells only after the handshake that it does not like our certificate; what it says
 * then may be lost when it closes, too. */
static void lose_closed(struct redis_conn *c, int error)
{
    bool is_refusal = c->tls && c->at == CONN_GREETING && c->greeted_n == 0;

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

static int gather_unsent(struct redis_conn *c, struct iovec *iov)
{
    size_t at = c->unsent_at;
    int n = 0;

    LIST_FOR(it, &c->unsent)
    {
        struct redis_order *o = CONTAINER_OF(it, struct redis_order, link);

        iov[n++] = (struct iovec){o->bytes + at, o->len - at};
        at = 0;
        if (n == IOV_MAX_N)
            break;
    }
    return n;
}

static void order_is_sent(struct redis_conn *c, struct redis_order *o)
{
    c->unsent_bytes -= o->len;
    resp_format_free(o->bytes);
    o->bytes = NULL;
    o->sent_ms = loop_now_ms(c->loop);
    list_remove(&o->link);
    if (o->mute)
        order_free(o);
    else
        list_push_back(&c->sent, &o->link);
}

static void unsent_written(struct redis_conn *c, size_t n)
{
    while (n > 0) {
        struct redis_order *o = CONTAINER_OF(c->unsent.next, struct redis_order, link);
        size_t rest = o->len - c->unsent_at;

        if (n < rest) {
            c->unsent_at += n;
            return;
        }
        n -= rest;
        c->unsent_at = 0;
        order_is_sent(c, o);
    }
}

/* 0 when all is written, -EAGAIN, another negative errno. */
static int write_greeting(struct redis_conn *c)
{
    while (c->greeting_at < c->greeting.len) {
        struct iovec iov = {c->greeting.data + c->greeting_at, c->greeting.len - c->greeting_at};
        ssize_t n = redis_wire_write(c->wire, &iov, 1);

        if (n < 0)
            return (int)n;
        c->greeting_at += (size_t)n;
    }
    return redis_wire_flush(c->wire);
}

static int write_unsent(struct redis_conn *c)
{
    while (!list_empty(&c->unsent)) {
        struct iovec iov[IOV_MAX_N];
        ssize_t n = redis_wire_write(c->wire, iov, gather_unsent(c, iov));

        if (n < 0)
            return (int)n;
        unsent_written(c, (size_t)n);
    }
    return redis_wire_flush(c->wire);
}

static int64_t silence_max_ms(const struct redis_conn *c)
{
    return c->settings->conf.connect_timeout_ms;
}

static void watch_silence(struct redis_conn *c)
{
    if (!loop_timer_active(c->timer) && !list_empty(&c->sent))
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

static enum redis_cause refusal_of(enum greeting step, const struct redis_reply *r)
{
    if (redis_reply_is_error(r, "NOAUTH"))
        return REDIS_NOAUTH;
    if (redis_reply_is_error(r, "LOADING"))
        return REDIS_LOADING;
    if (redis_reply_is_error(r, "DENIED") || slice_starts(r->text, SLICE_OF("ERR max number of clients")))
        return REDIS_REFUSING;
    switch (step) {
    case GREET_AUTH:
        return REDIS_WRONGPASS;
    case GREET_NAME: /* for whoever lists the clients; may be forbidden */
        return REDIS_FINE;
    case GREET_SELECT:
        return REDIS_NO_DB;
    default: /* one that may not PING is let in all the same */
        return redis_reply_is_error(r, "NOPERM") ? REDIS_FINE : REDIS_REFUSING;
    }
}

static bool is_greeting_reply(enum greeting step, const struct redis_reply *r)
{
    return r && (r->type == REDIS_ERROR || redis_reply_is(r, step == GREET_PING ? "PONG" : "OK"));
}

/* False: the connection is gone. */
static bool on_greeting(struct redis_conn *c, const struct redis_reply *r)
{
    enum greeting step = c->greetings[c->greeted_n];
    enum redis_cause cause;

    if (!is_greeting_reply(step, r)) {
        lose(c, REDIS_CONFUSED, SLICE_OF("an answer that does not fit what was asked"));
        return false;
    }
    cause = r->type == REDIS_ERROR ? refusal_of(step, r) : REDIS_FINE;
    if (cause != REDIS_FINE) {
        lose(c, cause, r->text);
        return false;
    }
    if (++c->greeted_n == c->greetings_n)
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
    if (list_empty(&c->sent)) {
        lose(c, REDIS_CONFUSED, SLICE_OF("a reply that nobody asked for"));
        return false;
    }
    if (r)
        look_at_error(c, r);
    order_end(CONTAINER_OF(c->sent.next, struct redis_order, link), r, why);
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

static int add_command(struct buf *out, const struct slice *argv, size_t argc)
{
    size_t len;
    char *bytes = resp_format(argv, argc, &len);
    int r = bytes ? buf_add(out, bytes, len) : -ENOMEM;

    resp_format_free(bytes);
    return r;
}

static int greet(struct redis_conn *c, enum greeting step, const char *a, const char *b, const char *d)
{
    struct slice argv[3] = {slice_str(a), slice_str(b), slice_str(d)};

    c->greetings[c->greetings_n++] = step;
    return add_command(&c->greeting, argv, d ? 3 : b ? 2 : 1);
}

/* All in one go: it costs one round trip. */
static int make_greeting(struct redis_conn *c)
{
    const struct redis_conf *conf = &c->settings->conf;
    char db[16];
    int r = 0;

    buf_clear(&c->greeting);
    c->greeting_at = 0;
    c->greetings_n = c->greeted_n = 0;
    (void)snprintf(db, sizeof(db), "%u", conf->db);
    if (conf->password)
        r = conf->username ? greet(c, GREET_AUTH, "AUTH", conf->username, conf->password)
                           : greet(c, GREET_AUTH, "AUTH", conf->password, NULL);
    if (r == 0)
        r = greet(c, GREET_NAME, "CLIENT", "SETNAME", "refrain");
    if (r == 0 && conf->db != 0)
        r = greet(c, GREET_SELECT, "SELECT", db, NULL);
    return r == 0 ? greet(c, GREET_PING, "PING", NULL, NULL) : r;
}

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
    if (make_greeting(c) < 0) {
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
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error != 0)
        try_next(c, -error);
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

static int unix_address(const char *path, struct redis_address *out)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(un.sun_path))
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, strlen(path));
    *out = (struct redis_address){.len = sizeof(un)};
    memcpy(&out->storage, &un, sizeof(un));
    return 0;
}

/* What cannot be set makes it slower to notice a dead peer, no more. */
static void set_options(int fd, int family)
{
    const int on = 1, idle_s = 15, interval_s = 5, probes = 3;

    if (family == AF_UNIX)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

/* 0: connected; -EINPROGRESS; another negative errno. */
static int open_socket(struct redis_conn *c, const struct redis_address *a)
{
    int family = a->storage.ss_family, r;

    c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -errno;
    set_options(c->fd, family);
    r = connect(c->fd, (const struct sockaddr *)&a->storage, a->len) < 0 ? -errno : 0;
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
    if (!c->host && unix_address(c->settings->conf.path, &c->found.addresses[0]) == 0)
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
    const struct redis_order *o;

    if (list_empty(&c->sent))
        return;
    o = CONTAINER_OF(c->sent.next, struct redis_order, link);
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
    c->greeting = (struct buf)BUF_INIT(GREETING_BYTES_MAX);
    c->flush.on_msg = on_flush;
    list_init(&c->unsent);
    list_init(&c->sent);
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

static void wipe_greeting(struct redis_conn *c)
{
    if (c->greeting.data)
        explicit_bzero(c->greeting.data, c->greeting.cap);
    buf_done(&c->greeting);
}

void redis_conn_free(struct redis_conn *c)
{
    if (!c)
        return;
    c->away = true; /* takes no more orders */
    c->at = CONN_RESTING;
    close_wire(c);
    drop_prepared(c);
    fail_sent(c);
    fail_unsent(c);
    redis_tls_ctx_free(c->tls);
    loop_timer_free(c->timer);
    wipe_greeting(c);
    redis_settings_unref(c->settings);
    free(c->host);
    c->is_freed = true;
    if (!c->flush_posted)
        free(c);
}
