#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "redis_priv.h"

enum {
    IN_MAX = 32 * 1024,     /* of TLS read at once */
    PIECE_MAX = 16 * 1024,  /* that becomes one record */
    OUT_MAX = 2 * PIECE_MAX /* a record and what TLS adds, or its beginning */
};

struct redis_wire {
    int fd;
    struct redis_tls *tls;
    size_t out_at, out_len;
    char out[]; /* with TLS: OUT_MAX bytes, those from out_at to out_len still to be sent */
};

struct redis_wire *redis_wire_new(int fd, struct redis_tls *tls)
{
    struct redis_wire *w = calloc(1, sizeof(*w) + (tls ? OUT_MAX : 0));

    if (!w) {
        redis_tls_free(tls);
        (void)close(fd);
        return NULL;
    }
    w->fd = fd;
    w->tls = tls;
    return w;
}

void redis_wire_free(struct redis_wire *w)
{
    if (!w)
        return;
    redis_tls_free(w->tls);
    (void)close(w->fd);
    free(w);
}

int redis_wire_fd(const struct redis_wire *w)
{
    return w->fd;
}

static ssize_t sock_read(int fd, char *to, size_t len)
{
    ssize_t n;

    do
        n = recv(fd, to, len, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t sock_write(int fd, const struct iovec *iov, int iov_n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)iov_n};
    ssize_t n;

    do
        n = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int redis_wire_flush(struct redis_wire *w)
{
    while (w->tls) {
        struct iovec rest;
        ssize_t n;

        if (w->out_at == w->out_len) {
            w->out_at = 0;
            w->out_len = redis_tls_out(w->tls, w->out, OUT_MAX);
        }
        if (w->out_len == 0)
            break;
        rest = (struct iovec){w->out + w->out_at, w->out_len - w->out_at};
        n = sock_write(w->fd, &rest, 1);
        if (n < 0)
            return (int)n;
        w->out_at += (size_t)n;
    }
    return 0;
}

/* 0 when something came. */
static int tls_fill(struct redis_wire *w)
{
    char in[IN_MAX];
    ssize_t n = sock_read(w->fd, in, sizeof(in));

    if (n == 0)
        return -ECONNRESET; /* without TLS's own end */
    return n < 0 ? (int)n : redis_tls_feed(w->tls, slice_make(in, (size_t)n));
}

int redis_wire_shake(struct redis_wire *w, struct redis_detail *detail)
{
    int r;

    if (!w->tls)
        return 0;
    for (;;) {
        int sent;

        r = redis_tls_shake(w->tls, detail);
        sent = redis_wire_flush(w); /* what it has to say of a failure, too */
        if (r != -EAGAIN)
            return r;
        if (sent < 0 && sent != -EAGAIN)
            return sent;
        r = tls_fill(w);
        if (r < 0)
            return r;
    }
}

ssize_t redis_wire_read(struct redis_wire *w, char *to, size_t len, struct redis_detail *detail)
{
    ssize_t n;
    int r;

    if (!w->tls)
        return sock_read(w->fd, to, len);
    for (;;) {
        n = redis_tls_read(w->tls, to, len, detail);
        if (n != -EAGAIN)
            return n;
        r = tls_fill(w);
        if (r < 0)
            return r;
    }
}

/* Small pieces become one record. */
static ssize_t tls_write(struct redis_wire *w, const struct iovec *iov, int iov_n)
{
    char piece[PIECE_MAX];
    size_t len = 0;

    for (int i = 0; i < iov_n && len < sizeof(piece); i++) {
        size_t room = sizeof(piece) - len, n = iov[i].iov_len < room ? iov[i].iov_len : room;

        memcpy(piece + len, iov[i].iov_base, n);
        len += n;
    }
    return redis_tls_write(w->tls, piece, len);
}

ssize_t redis_wire_write(struct redis_wire *w, const struct iovec *iov, int iov_n)
{
    int r;

    if (!w->tls)
        return sock_write(w->fd, iov, iov_n);
    r = redis_wire_flush(w); /* bounds what waits in memory to one record */
    return r < 0 ? r : tls_write(w, iov, iov_n);
}
