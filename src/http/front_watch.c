/* The watchdog: ends connections that overstay a phase. */
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <linux/sockios.h>
#include <linux/tcp.h> /* the C library's tcp_info stops before the byte counts */

#include "front_priv.h"
#include "refrain/base/attr.h"

enum {
    SWEEP_TICKS = 10,          /* in which every connection is visited once */
    BODY_STILL_MS = 60 * 1000, /* a body may stand longer than an idle connection by so much */
};

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

/* The handshake is over, or it takes too long. What has come behind it is the next request's. */
static bool handshake_overdue(struct front_conn *c, int64_t now_ms)
{
    if (!c->tls.up)
        return now_ms - c->since_ms >
               (c->front->draining && !c->tls.spoke ? FRONT_SWEEP_TICK_MS : c->front->conf.header_timeout_ms);
    c->phase = PHASE_AWAIT;
    c->since_ms = now_ms;
    c->received = c->tls.handshake_bytes;
    return false;
}

/* Between requests: a head that has begun must come whole in time, a connection that says nothing may idle.
 */
static bool await_overdue(struct front_conn *c, int64_t now_ms)
{
    const struct front_conf *conf = &c->front->conf;
    uint64_t received, acked;

    if (c->front->draining && !c->head_begun_ms && now_ms - c->since_ms > FRONT_SWEEP_TICK_MS)
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

/* What it had sent of its body has been taken, and there is no more. */
static bool body_breaks_off(const struct front_conn *c)
{
    int unread = 0;

    return peer_has_closed(c) && ioctl(c->fd, SIOCINQ, &unread) == 0 && unread == 0;
}

/* The rate is an average, which a body that came fast stays above for long: so one that has come to a stand
 * is looked at as well. */
static bool body_stands(struct front_conn *c, int64_t now_ms)
{
    int64_t still_ms;

    if (c->body_bytes != c->body_swept)
        c->progress_ms = now_ms;
    c->body_swept = c->body_bytes;
    still_ms = now_ms - c->progress_ms;
    return still_ms > c->front->conf.idle_timeout_ms + BODY_STILL_MS ||
           (still_ms >= FRONT_SWEEP_TICK_MS && body_breaks_off(c));
}

static bool body_overdue(struct front_conn *c, int64_t now_ms)
{
    const struct front_conf *conf = &c->front->conf;
    int64_t late_ms = now_ms - c->since_ms - conf->body_grace_ms;

    if (c->req && c->req->parked) {
        c->progress_ms = now_ms;
        return false; /* we make it wait */
    }
    if (body_stands(c, now_ms))
        return true;
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
    case PHASE_HANDSHAKE:
        return handshake_overdue(c, now_ms);
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

void front_sweep(struct front *f)
{
    unsigned due = f->conns_n / SWEEP_TICKS + 1;
    int64_t now_ms = loop_now_ms(f->loop);

    if (f->draining || due > f->conns_n)
        due = f->conns_n;
    for (unsigned i = 0; i < due; i++) {
        struct front_conn *c = CONTAINER_OF(f->conns.next, struct front_conn, link);

        list_remove(&c->link);
        list_push_back(&f->conns, &c->link);
        if (!c->ended && conn_overdue(c, now_ms))
            front_conn_lost(c);
    }
    for (size_t i = 0; i < f->listeners_n; i++)
        loop_fd_watch(f->listeners[i].watch, LOOP_READ);
    if (++f->tick % SWEEP_TICKS == 0)
        front_daemon_run(f); /* its own timeouts, of those that were ended: the backstop */
}
