#include "refrain/http/front.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <linux/tcp.h> /* the C library's tcp_info stops before the byte counts */

#include "mhd_compat.h"
#include "refrain/base/attr.h"

/*
 * A connection's life, as the watchdog sees it:
 *
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
    SWEEP_TICK_MS = 100,
    SWEEP_TICKS = 10, /* ticks in which every connection is visited once */
    ACCEPTS_PER_EVENT = 64,
    RUNS_PER_EVENT = 16,
    LISTENERS_MAX = 8,
    POOL_BYTES =
        32 * 1024, /* libmicrohttpd clears it for every request; larger ones are mapped (both measured) */
    STREAM_BLOCK_BYTES = 16 * 1024,
};

enum phase { PHASE_AWAIT, PHASE_HEAD, PHASE_BODY, PHASE_WORK, PHASE_REPLY };

struct front_conn {
    struct list link;
    struct front *front;
    struct MHD_Connection *mhd;
    struct front_req *req; /* under way, or NULL */
    int fd;
    enum phase phase;
    int64_t since_ms;      /* when the phase began */
    int64_t head_begun_ms; /* 0: no byte of the next request seen yet */
    int64_t progress_ms;   /* of a reply */
    int64_t parked_ms;     /* when the request was parked while its body came */
    uint64_t received;     /* kernel's count when last looked at, … */
    bool received_known;   /* … if it was since the phase began */
    uint64_t acked;
    uint64_t body_bytes;
    bool hung_up;
    bool ended; /* shut down by us */
    struct loop_fd *hangup;
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
    struct listener listeners[LISTENERS_MAX];
    size_t listeners_n;
    struct list conns; /* least lately swept first */
    unsigned conns_n;
    struct list woken;    /* front_req.wake_link */
    struct list entering; /* handed over and not begun: 0.9.75 begins them at once, 1.0 when it next runs */
    unsigned tick;
    bool draining;
};

static void daemon_run(struct front *f);

/* libmicrohttpd takes bytes that it will not write to as void *. */
#define UNCONST(p) ((void *)(uintptr_t)(p))

/* -- replies -- */

static void reply_failed(struct front_req *r)
{
    r->lost = true;
}

void front_reply_bytes(struct front_req *r, struct slice body, void (*release)(void *arg), void *arg)
{
    assert(!r->response && !r->replied);
    r->response = MHD_create_response_from_buffer_with_free_callback_cls(
        body.len, UNCONST(body.len ? body.data : ""), release, arg);
    if (!r->response) {
        if (release)
            release(arg);
        reply_failed(r);
    }
}

struct stream_reply {
    struct front_req *req;
    int64_t (*read)(struct front_req *r, char *buf, size_t cap);
};

static ssize_t on_stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct stream_reply *s = cls;
    struct front_req *r = s->req;
    int64_t n;

    (void)pos;
    if (r->lost)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    n = s->read(r, buf, max);
    if (n == FRONT_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n < 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0)
        front_park(r); /* whoever wakes it does so from this loop, so not before we return */
    else
        r->conn->progress_ms = loop_now_ms(r->front->loop);
    return (ssize_t)n;
}

void front_reply_stream(struct front_req *r, int64_t len,
                        int64_t (*read)(struct front_req *r, char *buf, size_t cap))
{
    struct stream_reply *s = malloc(sizeof(*s));

    assert(!r->response && !r->replied);
    if (!s) {
        reply_failed(r);
        return;
    }
    *s = (struct stream_reply){r, read};
    r->response =
        MHD_create_response_from_callback(len < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)len,
                                          len < 0 ? 1024 : STREAM_BLOCK_BYTES, on_stream_read, s, free);
    if (!r->response) {
        free(s);
        reply_failed(r);
    }
}

void front_reply_field(struct front_req *r, const char *name, const char *value)
{
    /* libmicrohttpd takes no empty value; a space is one (RFC 9110 section 5.5). */
    if (r->response)
        (void)MHD_add_response_header(r->response, name,
                                      value[0] ? value : " "); /* refuses what HTTP does not allow */
}

void front_reply_trailer(struct front_req *r, const char *name, const char *value)
{
    if (r->response && value[0] != '\0')
        (void)MHD_add_response_footer(r->response, name, value);
}

void front_reply_send(struct front_req *r, unsigned status)
{
    struct front_conn *c = r->conn;

    assert(!r->replied);
    r->replied = true;
    if (r->lost || !r->response) {
        r->lost = true;
        return;
    }
    if (r->close_after || r->front->draining)
        (void)MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONNECTION, "close");
    c->phase = PHASE_REPLY;
    c->since_ms = c->progress_ms = loop_now_ms(r->front->loop);
    if (MHD_queue_response(r->mhd, status, r->response) != MHD_YES)
        reply_failed(r);
    MHD_destroy_response(r->response); /* the connection holds it now, until on_end */
}

void front_req_reset(struct front_req *r)
{
    memset(r, 0, offsetof(struct front_req, fields));
    r->fields.n = 0;
}

struct trailer_walk {
    struct upload *upload;
    void (*add)(struct upload *u, struct slice name, struct slice value);
};

static enum MHD_Result on_trailer(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                  const char *value, size_t value_len)
{
    struct trailer_walk *w = cls;

    (void)kind;
    w->add(w->upload, slice_make(name, name_len), slice_make(value ? value : "", value_len));
    return MHD_YES;
}

void front_each_trailer(struct front_req *r, struct upload *u,
                        void (*add)(struct upload *u, struct slice name, struct slice value))
{
    struct trailer_walk walk = {u, add};

    (void)MHD_get_connection_values_n(r->mhd, MHD_FOOTER_KIND, on_trailer, &walk);
}

/* -- parking -- */

static void conn_lost(struct front_conn *c)
{
    struct front_req *r = c->req;

    if (r && !r->lost) {
        r->lost = true;
        if (r->parked)
            r->front->handler->on_gone(r);
    }
    if (!c->ended)
        (void)shutdown(c->fd, SHUT_RDWR); /* libmicrohttpd sees the end and cleans up */
    c->ended = true;
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
        conn_lost(c);
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
    conn_lost(r->conn);
}

/* A resume looks at every suspended connection, so they are resumed together, once an iteration. */
void front_settle(struct front *f)
{
    for (int i = 0; i < RUNS_PER_EVENT && !list_empty(&f->woken); i++) {
        struct list *link;

        while ((link = list_pop_front(&f->woken)) != NULL)
            unpark(CONTAINER_OF(link, struct front_req, wake_link));
        daemon_run(f);
    }
    if (!list_empty(&f->woken))
        loop_timer_start(f->again, 0, 0);
}

/* -- refusals that libmicrohttpd has no part in -- */

/* Best effort: one segment into an empty socket buffer. */
static void send_refusal(int fd, const char *status, const char *code, const char *text)
{
    char body[256], reply[512];
    int body_len =
        snprintf(body, sizeof(body),
                 "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}\n", text,
                 code, code);
    int len = snprintf(reply, sizeof(reply),
                       "HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\n%s"
                       "Content-Length: %d\r\n\r\n%s",
                       status, status[0] == '5' ? "Retry-After: 1\r\n" : "x-should-retry: false\r\n",
                       body_len, body);

    (void)send(fd, reply, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void refuse_connection(int fd)
{
    send_refusal(fd, "503 Service Unavailable", "overloaded", "too many connections");
    (void)close(fd);
}

static bool is_digits(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return len > 0;
}

static void refuse_bad_length(struct front_conn *c)
{
    const char *length = NULL;
    size_t len = 0;

    if (MHD_lookup_connection_value_n(c->mhd, MHD_HEADER_KIND, "Content-Length", 14, &length, &len) !=
            MHD_YES ||
        !length)
        return;
    if (!is_digits(length, len))
        send_refusal(c->fd, "400 Bad Request", "request_invalid", "Content-Length must be decimal digits");
    else if (len > 18)
        send_refusal(c->fd, "413 Content Too Large", "too_large",
                     "the body is larger than any that is served");
    else
        return;
    c->ended = true;
    (void)shutdown(c->fd, SHUT_RDWR);
}

/*
 * libmicrohttpd 0.9.75 answers a Content-Length that it cannot read by itself, and sends the head of that
 * answer twice. It logs just before: so we answer first, once, and shut the socket, and its own answer goes
 * nowhere. Which connection it means it does not say; any whose head has come this far with such a length is
 * refused alike.
 */
static void on_library_log(void *cls, const char *format, va_list args)
{
    struct front *f = cls;

    (void)args;
    if (!strstr(format, "Content-Length"))
        return;
    LIST_FOR(it, &f->conns)
    {
        struct front_conn *c = CONTAINER_OF(it, struct front_conn, link);

        if (c->phase == PHASE_HEAD && !c->ended)
            refuse_bad_length(c);
    }
}

/* -- what libmicrohttpd calls -- */

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
    if (!value || value <= name + name_len || value - name > POOL_BYTES)
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

    return raw && version > raw && version - raw < POOL_BYTES && (size_t)(version - raw) != r->target.len + 1;
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
    c->since_ms = loop_now_ms(r->front->loop);
    c->body_bytes = 0;
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

static void conn_start(struct front *f, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct front_conn *c = entering_find(f, info->connect_fd);

    assert(c);
    list_remove(&c->link);
    c->mhd = mhd;
    c->since_ms = loop_now_ms(f->loop);
    c->received_known = true; /* nothing was received before it began */
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

static void daemon_run(struct front *f)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    int runs = 0;

    do {
        (void)MHD_run(f->daemon);
        entering_drop_all(f); /* a run begins all that it can */
    } while (MHD_get_timeout(f->daemon, &wait_ms) == MHD_YES && wait_ms == 0 && ++runs < RUNS_PER_EVENT);
    if (runs == RUNS_PER_EVENT)
        loop_timer_start(f->again, 0, 0); /* others on this loop get their turn first */
}

static void on_daemon_ready(void *arg, int events)
{
    (void)events;
    daemon_run(arg);
}

static void on_again(void *arg)
{
    front_settle(arg);
    daemon_run(arg);
}

static void take_connection(struct front *f, int fd, const struct sockaddr_storage *addr, socklen_t addr_len)
{
    struct front_conn *c;

    if (limits_enter(f->limits, (const struct sockaddr *)addr) != LIMITS_OK) {
        refuse_connection(fd);
        return;
    }
    c = calloc(1, sizeof(*c));
    if (!c) {
        limits_leave(f->limits, (const struct sockaddr *)addr);
        refuse_connection(fd);
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
    daemon_run(l->front);
}

/* -- the watchdog -- */

static bool bytes_counted(const struct front_conn *c, uint64_t *received, uint64_t *acked)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    if (c->addr.ss_family == AF_UNIX)
        return false;
    memset(&info, 0, sizeof(info));
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    *received = info.tcpi_bytes_received;
    *acked = info.tcpi_bytes_acked;
    return true;
}

/* A FIN that came in one segment with a request is never told again by libmicrohttpd's edge-triggered epoll.
 */
static bool peer_has_closed(const struct front_conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Between requests: a head that has begun must come whole in time, a connection that says nothing may idle.
 */
static bool await_overdue(struct front_conn *c, int64_t now_ms)
{
    const struct front_conf *conf = &c->front->conf;
    uint64_t received, acked;

    if (c->front->draining && !c->head_begun_ms && now_ms - c->since_ms > SWEEP_TICK_MS)
        return true;
    if (now_ms - c->since_ms > conf->idle_timeout_ms || peer_has_closed(c))
        return true;
    if (!bytes_counted(c, &received, &acked))
        return false;
    if (c->received_known && received > c->received && !c->head_begun_ms)
        c->head_begun_ms = now_ms;
    c->received = received;
    c->received_known = true;
    return c->head_begun_ms && now_ms - c->head_begun_ms > conf->header_timeout_ms;
}

static bool body_overdue(const struct front_conn *c, int64_t now_ms)
{
    const struct front_conf *conf = &c->front->conf;
    int64_t late_ms = now_ms - c->since_ms - conf->body_grace_ms;

    if (c->req && c->req->parked)
        return false; /* we make it wait */
    return late_ms > 0 && (int64_t)c->body_bytes < conf->body_bytes_per_s * late_ms / 1000;
}

static bool reply_stuck(struct front_conn *c, int64_t now_ms)
{
    uint64_t received, acked = 0;
    int queued = 0;

    if (c->req && c->req->parked)
        c->progress_ms = now_ms; /* waiting for upstream, not for the client */
    if (!bytes_counted(c, &received, &acked) && ioctl(c->fd, SIOCOUTQ, &queued) == 0)
        acked = UINT64_MAX - (uint64_t)queued;
    if (acked != c->acked)
        c->progress_ms = now_ms;
    c->acked = acked;
    return now_ms - c->progress_ms > c->front->conf.slow_reader_ms;
}

static bool conn_overdue(struct front_conn *c, int64_t now_ms)
{
    switch (c->phase) {
    case PHASE_AWAIT:
        return await_overdue(c, now_ms);
    case PHASE_HEAD:
        return now_ms - c->since_ms > c->front->conf.header_timeout_ms;
    case PHASE_BODY:
        return body_overdue(c, now_ms);
    case PHASE_WORK:
        return false; /* upstream's deadlines apply */
    case PHASE_REPLY:
        return reply_stuck(c, now_ms);
    }
    return false;
}

static void on_sweep(void *arg)
{
    struct front *f = arg;
    unsigned due = f->conns_n / SWEEP_TICKS + 1;
    int64_t now_ms = loop_now_ms(f->loop);

    if (f->draining || due > f->conns_n)
        due = f->conns_n;
    for (unsigned i = 0; i < due; i++) {
        struct front_conn *c = CONTAINER_OF(f->conns.next, struct front_conn, link);

        list_remove(&c->link);
        list_push_back(&f->conns, &c->link);
        if (!c->ended && conn_overdue(c, now_ms))
            conn_lost(c);
    }
    for (size_t i = 0; i < f->listeners_n; i++)
        loop_fd_watch(f->listeners[i].watch, LOOP_READ);
    if (++f->tick % SWEEP_TICKS == 0)
        daemon_run(f); /* its own inactivity timeouts: the backstop */
}

/* -- making and ending -- */

static bool daemon_start(struct front *f)
{
    const union MHD_DaemonInfo *info;

    f->daemon = MHD_start_daemon(
        MHD_USE_ERROR_LOG | MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
            MHD_USE_SUPPRESS_DATE_NO_CLOCK,
        0, NULL, NULL, on_access, f, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, f,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, f, MHD_OPTION_NOTIFY_COMPLETED, on_completed, f,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, f, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT, 1u << 20, /* limits are ours */
        /* Always set: without it a body and a FIN in one segment leak the connection (measured on 0.9.75). */
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(f->conf.idle_timeout_ms / 1000 + 60),
        MHD_OPTION_STRICT_FOR_CLIENT, (int)MHD_COMPAT_STRICT, MHD_OPTION_END);
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
    loop_timer_start(f->sweep, SWEEP_TICK_MS, SWEEP_TICK_MS);
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
    conn_lost(CONTAINER_OF(it, struct front_conn, link));
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
    free(f);
}

void front_set_conf(struct front *f, const struct front_conf *conf)
{
    f->conf = *conf;
}

int front_listen(struct front *f, int fd)
{
    struct listener *l = &f->listeners[f->listeners_n];

    if (f->listeners_n == LISTENERS_MAX)
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
    daemon_run(f);
}

unsigned front_connections(const struct front *f)
{
    return f->conns_n;
}
