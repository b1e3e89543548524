#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "front_priv.h"
#include "refrain/base/attr.h"

enum {
    ACCEPTS_PER_EVENT = 64,
    RUNS_PER_EVENT = 16,
    ENDED_TIMEOUT_S = 10,
};

/* libmicrohttpd sees the end and cleans up. Should it ever miss that, a timeout of its own does; one that was
 * set for all connections it would begin anew with every read, every write and every look. */
static void conn_shut(struct front_conn *c)
{
    c->ended = true;
    (void)shutdown(c->fd, SHUT_RDWR);
    (void)MHD_set_connection_option(c->mhd, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)ENDED_TIMEOUT_S);
}

/* -- parking -- */

void front_conn_lost(struct front_conn *c)
{
    struct front_req *r = c->req;

    if (r && !r->lost) {
        r->lost = true;
        if (r->parked)
            r->front->handler->on_gone(r);
    }
    if (!c->ended)
        conn_shut(c);
    if (r)
        front_wake(r);
}

static void on_hangup(void *arg, int events)
{
    struct front_conn *c = arg;

    (void)events;
    loop_fd_watch(c->hangup, 0); /* level triggered: once is enough */
    c->hung_up = true;
    if (c->req && c->req->parked)
        front_conn_lost(c);
}

void front_park(struct front_req *r)
{
    struct front_conn *c = r->conn;

    assert(!r->parked);
    r->parked = true;
    if (c->phase == PHASE_BODY)
        c->parked_ms = loop_now_ms(r->front->loop);
    MHD_suspend_connection(r->mhd);
    if (r->lost || c->hung_up) {
        r->lost = true;
        front_wake(r);
        return;
    }
    /* libmicrohttpd does not look at a suspended connection's socket. */
    if (!c->hangup)
        c->hangup = loop_fd_new(r->front->loop, c->fd, on_hangup, c);
    if (c->hangup)
        loop_fd_watch(c->hangup, LOOP_HANGUP);
}

void front_wake(struct front_req *r)
{
    if (!r->parked || r->waking)
        return;
    r->waking = true;
    list_push_back(&r->front->woken, &r->wake_link);
}

static void unpark(struct front_req *r)
{
    struct front_conn *c = r->conn;

    r->waking = r->parked = false;
    if (c->phase == PHASE_BODY)
        c->since_ms += loop_now_ms(r->front->loop) - c->parked_ms; /* the time was ours, not the client's */
    MHD_resume_connection(r->mhd);
}

void front_abort(struct front_req *r)
{
    front_conn_lost(r->conn);
}

/* A resume looks at every suspended connection, so they are resumed together, once an iteration. */
void front_settle(struct front *f)
{
    for (int i = 0; i < RUNS_PER_EVENT && !list_empty(&f->woken); i++) {
        struct list *link;

        while ((link = list_pop_front(&f->woken)) != NULL)
            unpark(CONTAINER_OF(link, struct front_req, wake_link));
        front_daemon_run(f);
    }
    if (!list_empty(&f->woken))
        loop_timer_start(f->again, 0, 0);
}

/* -- what libmicrohttpd calls -- */

/* The library makes a value in its pool of each parameter behind the '?', which nobody asks it for, and drops
 * a connection without a word when there is no room for some hundreds. Its copy, which it is about to change
 * itself, is left with one. */
static void parameters_hide(const char *library_target)
{
    for (char *p = (char *)(uintptr_t)library_target; (p = strchr(p, '&')) != NULL; p++)
        *p = '.';
}

static bool target_keep(struct front_req *r, const char *target)
{
    size_t len = target ? strlen(target) : 0;
    char *to = r->target_bytes;

    if (len >= sizeof(r->target_bytes)) {
        to = r->target_long = malloc(len + 1);
        if (!to)
            return false;
    }
    if (len > 0)
        memcpy(to, target, len); /* libmicrohttpd decodes it in place afterwards */
    to[len] = '\0';
    r->target = slice_make(to, len);
    return true;
}

static void *on_target(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct front *f = cls;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct front_conn *c = info->socket_context;
    struct front_req *r = f->handler->on_new(f->handler->arg);

    if (!r)
        return NULL;
    r->front = f;
    r->conn = c;
    r->mhd = mhd;
    r->target_raw = uri;
    list_init(&r->wake_link);
    c->req = r;
    c->phase = PHASE_HEAD;
    c->since_ms = c->head_begun_ms ? c->head_begun_ms : loop_now_ms(f->loop);
    c->head_begun_ms = 0;
    if (!target_keep(r, uri))
        r->lost = true;
    if (uri)
        parameters_hide(uri);
    return r;
}

struct head_walk {
    struct front_req *req;
    size_t bytes;
    bool too_many;
};

/*
 * libmicrohttpd 0.9.75 glues a folded line to the *name* of the field before it, so that "Transfer-Encoding:"
 * with its value on the next line becomes a field of another name. What gives it away: a name and its value
 * lie in one line of the read buffer, a colon and white space apart; a glued name lies elsewhere or runs into
 * the value.
 */
static bool is_folded(const char *name, size_t name_len, const char *value)
{
    if (!value || value <= name + name_len || value - name > FRONT_POOL_BYTES)
        return true;
    for (const char *p = name + name_len + 1; p < value; p++)
        if (*p != ' ' && *p != '\t')
            return true;
    return false;
}

/* The target is handed over as a C string, so a NUL in it ends it early; the version shows where it ended in
 * truth. */
static bool hides_nul(const struct front_req *r, const char *version)
{
    const char *raw = r->target_raw;

    return raw && version > raw && version - raw < FRONT_POOL_BYTES &&
           (size_t)(version - raw) != r->target.len + 1;
}

static enum MHD_Result on_field(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                const char *value, size_t value_len)
{
    struct head_walk *w = cls;
    struct fields *fields = &w->req->fields;

    (void)kind;
    w->bytes += name_len + value_len + 4;
    if (name_len == 0)
        w->req->malformed = "a field has no name";
    else if (is_folded(name, name_len, value))
        w->req->malformed = "a field value is folded over lines (RFC 9112 section 5.2)";
    if (fields->n >= FIELDS_MAX) {
        w->too_many = true;
        return MHD_NO;
    }
    fields->at[fields->n++] =
        (struct field){slice_make(name, name_len), slice_make(value ? value : "", value_len), 0};
    return MHD_YES;
}

static void head_begin(struct front_req *r, const char *method, const char *version)
{
    struct front_conn *c = r->conn;
    struct head_walk walk = {.req = r, .bytes = r->target.len + strlen(method) + 12};

    r->head_done = true;
    r->method = slice_str(method);
    r->version = strcmp(version, MHD_HTTP_VERSION_1_0) == 0 ? GUARD_HTTP_10 : GUARD_HTTP_11;
    c->phase = PHASE_BODY;
    c->since_ms = c->progress_ms = loop_now_ms(r->front->loop);
    c->body_bytes = c->body_swept = 0;
    if (hides_nul(r, version))
        r->malformed = "the request target holds a NUL, or spaces stand before the version";
    (void)MHD_get_connection_values_n(r->mhd, MHD_HEADER_KIND, on_field, &walk);
    r->head_too_large = walk.too_many || walk.bytes > r->front->conf.header_bytes_max;
    r->front->handler->on_head(r);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                 const char *version, const char *upload, size_t *upload_len, void **req)
{
    struct front *f = cls;
    struct front_req *r = *req;

    (void)mhd;
    (void)url; /* decoded and cut at the query: of no use as a key or towards upstream */
    if (!r || r->lost)
        return MHD_NO;
    if (!r->head_done) {
        head_begin(r, method, version);
        return r->lost ? MHD_NO : MHD_YES;
    }
    if (*upload_len > 0) {
        size_t taken = *upload_len;

        r->conn->body_bytes += *upload_len;
        if (!r->replied)
            taken = f->handler->on_body(r, slice_make(upload, *upload_len));
        assert(taken == *upload_len || r->parked || r->lost);
        *upload_len -= taken;
        r->conn->body_bytes -= *upload_len; /* they come again */
        return r->lost && !r->parked ? MHD_NO : MHD_YES;
    }
    if (r->replied)
        return MHD_YES;
    r->conn->phase = PHASE_WORK;
    f->handler->on_run(r);
    assert(r->replied || r->parked || r->lost);
    return r->lost && !r->parked ? MHD_NO : MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **req,
                         enum MHD_RequestTerminationCode why)
{
    struct front *f = cls;
    struct front_req *r = *req;

    (void)mhd;
    *req = NULL;
    if (!r)
        return;
    r->conn->req = NULL;
    r->conn->phase = PHASE_AWAIT;
    r->conn->since_ms = loop_now_ms(f->loop);
    r->conn->received_known = false;
    if (r->waking)
        list_remove(&r->wake_link);
    if (r->response && !r->replied)
        MHD_destroy_response(r->response);
    free(r->target_long);
    r->target_long = NULL;
    front_library_ended(r);
    f->handler->on_end(r, why == MHD_REQUEST_TERMINATED_COMPLETED_OK && r->replied && !r->lost);
}

static struct front_conn *entering_find(struct front *f, int fd)
{
    LIST_FOR(it, &f->entering)
    if (CONTAINER_OF(it, struct front_conn, link)->fd == fd)
        return CONTAINER_OF(it, struct front_conn, link);
    return NULL;
}

/* It will not begin; libmicrohttpd has closed its descriptor. */
static void entering_drop(struct front_conn *c)
{
    list_remove(&c->link);
    limits_leave(c->front->limits, (struct sockaddr *)&c->addr);
    free(c);
}

static void entering_drop_all(struct front *f)
{
    struct list *link;

    while ((link = list_pop_front(&f->entering)) != NULL)
        entering_drop(CONTAINER_OF(link, struct front_conn, link));
}

/* A session that is of no use is ended: libmicrohttpd has no way to be told so here. */
static void tls_start(struct front *f, struct front_conn *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    c->phase = PHASE_HANDSHAKE;
    if (info && tls_conn_begin(&c->tls, f->conf.tls, info->tls_session, c->fd, front_refuse_plain) == 0)
        return;
    c->ended = true;
    (void)shutdown(c->fd, SHUT_RDWR);
}

static void conn_start(struct front *f, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct front_conn *c = entering_find(f, info->connect_fd);

    assert(c);
    list_remove(&c->link);
    c->mhd = mhd;
    c->phase = PHASE_AWAIT;
    c->since_ms = loop_now_ms(f->loop);
    c->received_known = true; /* nothing was received before it began */
    if (f->conf.tls)
        tls_start(f, c);
    list_push_back(&f->conns, &c->link);
    f->conns_n++;
    *context = c;
}

static void conn_end(struct front *f, struct front_conn *c)
{
    loop_fd_free(c->hangup); /* before the descriptor is closed, and maybe taken by another */
    list_remove(&c->link);
    f->conns_n--;
    limits_leave(f->limits, (struct sockaddr *)&c->addr);
    tls_conn_end(&c->tls); /* libmicrohttpd has ended the session */
    free(c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct front *f = cls;

    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        conn_start(f, mhd, context);
    else if (*context)
        conn_end(f, *context);
}

/* -- the loop's side -- */

void front_daemon_run(struct front *f)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    int runs = 0;

    do {
        (void)MHD_run(f->daemon);
        entering_drop_all(f); /* a run begins all that it can */
        front_library_settle(f);
    } while (MHD_get_timeout(f->daemon, &wait_ms) == MHD_YES && wait_ms == 0 && ++runs < RUNS_PER_EVENT);
    if (runs == RUNS_PER_EVENT)
        loop_timer_start(f->again, 0, 0); /* others on this loop get their turn first */
}

static void on_daemon_ready(void *arg, int events)
{
    (void)events;
    front_daemon_run(arg);
}

static void on_again(void *arg)
{
    front_settle(arg);
    front_daemon_run(arg);
}

static void take_connection(struct front *f, int fd, const struct sockaddr_storage *addr, socklen_t addr_len)
{
    struct front_conn *c;

    if (limits_enter(f->limits, (const struct sockaddr *)addr) != LIMITS_OK) {
        front_refuse_connection(f, fd);
        return;
    }
    c = calloc(1, sizeof(*c));
    if (!c) {
        limits_leave(f->limits, (const struct sockaddr *)addr);
        front_refuse_connection(f, fd);
        return;
    }
    c->front = f;
    c->fd = fd;
    c->addr = *addr;
    list_init(&c->link);
    list_push_back(&f->entering, &c->link);
    if (MHD_add_connection(f->daemon, fd, (const struct sockaddr *)addr, addr_len) == MHD_YES)
        return;
    c = entering_find(f, fd); /* gone, when it began and ended */
    if (c)
        entering_drop(c);
}

/* false when nothing more is queued. */
static bool accept_one(struct front *f, struct listener *l)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    int fd;

    memset(&addr, 0, sizeof(addr));
    fd = accept4(l->fd, (struct sockaddr *)&addr, &addr_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        take_connection(f, fd, &addr, addr_len);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        loop_fd_watch(l->watch, 0); /* it would call again at once; the next tick tries once more */
    return errno == ECONNABORTED || errno == EINTR;
}

static void on_listener(void *arg, int events)
{
    struct listener *l = arg;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_EVENT && accept_one(l->front, l); i++)
        ;
    front_daemon_run(l->front);
}

static void on_sweep(void *arg)
{
    front_sweep(arg);
}

/* -- making and ending -- */

/* libmicrohttpd wants a certificate at its start, or this, which is asked for one. Nobody asks: every session
 * is given its own before it begins (tls_start). */
static int no_certificate(void)
{
    return -1;
}

static bool daemon_start(struct front *f)
{
    const unsigned flags = MHD_USE_ERROR_LOG | MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
                           MHD_ALLOW_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)no_certificate},
                                   {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem *more = f->conf.tls ? tls : tls + 1;
    const union MHD_DaemonInfo *info;

    f->daemon = MHD_start_daemon(
        f->conf.tls ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, on_access, f, MHD_OPTION_EXTERNAL_LOGGER,
        front_on_library_log, f, MHD_OPTION_URI_LOG_CALLBACK, on_target, f, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, f, MHD_OPTION_NOTIFY_CONNECTION, on_connection, f, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)FRONT_POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT, 1u << 20, /* limits are ours */
        MHD_OPTION_STRICT_FOR_CLIENT, (int)MHD_COMPAT_STRICT, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    if (!f->daemon)
        return false;
    info = MHD_get_daemon_info(f->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    f->daemon_watch = info ? loop_fd_new(f->loop, info->epoll_fd, on_daemon_ready, f) : NULL;
    if (!f->daemon_watch)
        return false;
    loop_fd_watch(f->daemon_watch, LOOP_READ);
    return true;
}

struct front *front_new(struct loop *l, const struct front_conf *conf, struct limits *limits,
                        const struct front_handler *handler)
{
    struct front *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->loop = l;
    f->conf = *conf;
    (void)tls_ref(f->conf.tls);
    f->limits = limits;
    f->handler = handler;
    list_init(&f->conns);
    list_init(&f->entering);
    list_init(&f->woken);
    f->again = loop_timer_new(l, on_again, f);
    f->sweep = loop_timer_new(l, on_sweep, f);
    if (!daemon_start(f)) {
        front_free(f);
        return NULL;
    }
    loop_timer_start(f->sweep, FRONT_SWEEP_TICK_MS, FRONT_SWEEP_TICK_MS);
    return f;
}

static void listeners_close(struct front *f)
{
    for (size_t i = 0; i < f->listeners_n; i++) {
        loop_fd_free(f->listeners[i].watch);
        (void)close(f->listeners[i].fd);
    }
    f->listeners_n = 0;
}

/* libmicrohttpd must not be stopped while connections are suspended. */
static void resume_all(struct front *f)
{
    LIST_FOR(it, &f->conns)
    front_conn_lost(CONTAINER_OF(it, struct front_conn, link));
    front_settle(f);
}

void front_free(struct front *f)
{
    if (!f)
        return;
    listeners_close(f);
    if (f->daemon) {
        resume_all(f);
        loop_fd_free(f->daemon_watch);
        MHD_stop_daemon(f->daemon);
        entering_drop_all(f);
    }
    loop_timer_free(f->again);
    loop_timer_free(f->sweep);
    assert(list_empty(&f->conns));
    tls_unref(f->conf.tls);
    free(f);
}

void front_set_conf(struct front *f, const struct front_conf *conf)
{
    struct tls *old = f->conf.tls;

    f->conf = *conf;
    if (!old != !conf->tls)
        f->conf.tls = old; /* the daemon speaks TLS or does not, for as long as it runs */
    (void)tls_ref(f->conf.tls);
    tls_unref(old);
}

int front_listen(struct front *f, int fd)
{
    struct listener *l = &f->listeners[f->listeners_n];

    if (f->listeners_n == FRONT_LISTENERS_MAX)
        return -ENFILE;
    *l = (struct listener){.front = f, .fd = fd};
    l->watch = loop_fd_new(f->loop, fd, on_listener, l);
    if (!l->watch)
        return -EINVAL;
    loop_fd_watch(l->watch, LOOP_READ);
    f->listeners_n++;
    return 0;
}

void front_drain(struct front *f)
{
    f->draining = true;
    for (size_t i = 0; i < f->listeners_n; i++)
        while (accept_one(f, &f->listeners[i]))
            ; /* what the kernel has queued would be reset by the close */
    listeners_close(f);
    front_daemon_run(f);
}

const struct sockaddr *front_req_peer(const struct front_req *r)
{
    return (const struct sockaddr *)&r->conn->addr;
}

unsigned front_connections(const struct front *f)
{
    return f->conns_n;
}
