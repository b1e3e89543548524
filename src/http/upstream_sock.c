#include "upstream_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The library asks for a descriptor to be watched while a call uses it, and no longer when the connection
 * goes back to its pool. Each start and stop of a watch costs system calls, so a connection's watch is kept
 * while it is pooled; the library's own descriptors (those of its resolver) it closes without telling, so
 * their watches end when it says.
 */
struct sock {
    struct list link; /* in pool->connections, used last first; in none unless it is one */
    struct upstream_pool *pool;
    struct loop_fd *watch;
    int fd;
    bool is_connection; /* opened here, so that its closing is told here too */
    bool is_pooled;     /* no call uses it */
    bool has_ends;
    char far_ip[INET6_ADDRSTRLEN], near_ip[INET6_ADDRSTRLEN];
    int far_port, near_port;
};

static struct sock *sock_of(const struct upstream_pool *p, int fd)
{
    return fd >= 0 && (size_t)fd < p->socks_cap ? p->socks[fd] : NULL;
}

static void sock_free(struct sock *s)
{
    s->pool->socks[s->fd] = NULL;
    list_remove(&s->link);
    loop_fd_free(s->watch);
    free(s);
}

static bool make_slot(struct upstream_pool *p, int fd)
{
    size_t cap = p->socks_cap ? p->socks_cap : 64;
    struct sock **bigger;

    if ((size_t)fd < p->socks_cap)
        return true;
    while (cap <= (size_t)fd)
        cap *= 2;
    bigger = realloc(p->socks, cap * sizeof(struct sock *));
    if (!bigger)
        return false;
    memset(bigger + p->socks_cap, 0, (cap - p->socks_cap) * sizeof(struct sock *));
    p->socks = bigger;
    p->socks_cap = cap;
    return true;
}

static struct sock *sock_new(struct upstream_pool *p, int fd)
{
    struct sock *s = make_slot(p, fd) ? calloc(1, sizeof(*s)) : NULL;

    if (!s)
        return NULL;
    list_init(&s->link);
    s->pool = p;
    s->fd = fd;
    p->socks[fd] = s;
    return s;
}

static void on_ready(void *arg, int events)
{
    struct sock *s = arg;

    if (s->is_pooled) /* closed, or something unasked for: looked at when a call wants the connection */
        loop_fd_watch(s->watch, 0);
    else
        pool_on_ready(s->pool, s->fd, events);
}

int pool_on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct upstream_pool *p = arg;
    struct sock *s = sock_of(p, fd);

    (void)easy;
    (void)unused;
    if (what == CURL_POLL_REMOVE) {
        if (s && s->is_connection)
            s->is_pooled = true;
        else if (s)
            sock_free(s);
        return 0;
    }
    if (!s)
        s = sock_new(p, fd);
    if (s && !s->watch)
        s->watch = loop_fd_new(p->loop, fd, on_ready, s);
    if (!s || !s->watch)
        return -1;
    s->is_pooled = false;
    loop_fd_watch(s->watch,
                  ((what & CURL_POLL_IN) ? LOOP_READ : 0) | ((what & CURL_POLL_OUT) ? LOOP_WRITE : 0));
    return 0;
}

curl_socket_t call_on_socket_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct upstream_call *c = arg;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    struct sock *s;

    (void)purpose;
    if (fd < 0)
        return CURL_SOCKET_BAD;
    s = sock_new(c->pool, fd);
    if (!s) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    s->is_connection = true;
    list_push_front(&c->pool->connections, &s->link);
    c->opened_socket = true;
    return fd;
}

int pool_on_socket_close(void *arg, curl_socket_t fd)
{
    struct sock *s = sock_of(arg, fd);

    if (s)
        sock_free(s);
    return close(fd);
}

static int read_end(const struct sockaddr_storage *at, char ip[INET6_ADDRSTRLEN])
{
    if (at->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)at;

        (void)inet_ntop(AF_INET, &v4->sin_addr, ip, INET6_ADDRSTRLEN);
        return ntohs(v4->sin_port);
    }
    if (at->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)at;

        (void)inet_ntop(AF_INET6, &v6->sin6_addr, ip, INET6_ADDRSTRLEN);
        return ntohs(v6->sin6_port);
    }
    return 0;
}

static void learn_ends(struct sock *s)
{
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof(at);

    if (getpeername(s->fd, (struct sockaddr *)&at, &len) < 0)
        return; /* not connected yet */
    s->far_port = read_end(&at, s->far_ip);
    len = sizeof(at);
    if (getsockname(s->fd, (struct sockaddr *)&at, &len) < 0)
        return;
    s->near_port = read_end(&at, s->near_ip);
    s->has_ends = true;
}

static bool has_these_ends(struct sock *s, const char *far_ip, int far_port, const char *near_ip,
                           int near_port)
{
    if (!s->has_ends)
        learn_ends(s);
    return s->has_ends && s->near_port == near_port && s->far_port == far_port &&
           strcmp(s->near_ip, near_ip) == 0 && strcmp(s->far_ip, far_ip) == 0;
}

/* Under TLS some bytes come unasked (session tickets, HTTP/2's own frames), so only a closed end tells; in
 * clear text a byte before the request belongs to no answer of ours, and would be taken for one (response
 * splitting). */
static bool is_stale(const struct sock *s, bool is_clear)
{
    struct pollfd at = {.fd = s->fd, .events = (short)(POLLRDHUP | (is_clear ? POLLIN : 0))};

    return s->is_pooled && poll(&at, 1, 0) > 0;
}

bool pool_connection_is_stale(struct upstream_pool *p, bool is_clear, const char *far_ip, int far_port,
                              const char *near_ip, int near_port)
{
    LIST_FOR(at, &p->connections)
    {
        struct sock *s = CONTAINER_OF(at, struct sock, link);

        if (!has_these_ends(s, far_ip, far_port, near_ip, near_port))
            continue;
        list_remove(&s->link);
        list_push_front(&p->connections, &s->link);
        return is_stale(s, is_clear);
    }
    return false;
}

void pool_socks_done(struct upstream_pool *p)
{
    for (size_t fd = 0; fd < p->socks_cap; fd++)
        if (p->socks[fd])
            sock_free(p->socks[fd]);
    free(p->socks);
    p->socks = NULL;
    p->socks_cap = 0;
}
