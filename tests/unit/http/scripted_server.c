#include "scripted_server.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

static void *run(void *arg)
{
    struct server *s = arg;

    s->script(s);
    return NULL;
}

void server_start(struct server *s, void (*script)(struct server *s), void *arg)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    s->script = script;
    s->arg = arg;
    s->gates = 0;
    s->saw_len = 0;
    s->accepted = 0;
    must(pthread_mutex_init(&s->lock, NULL) == 0, "mutex");
    must(pthread_cond_init(&s->opened, NULL) == 0, "cond");
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(s->listener >= 0, "socket");
    must(bind(s->listener, (struct sockaddr *)&at, sizeof(at)) == 0, "bind");
    must(listen(s->listener, 128) == 0, "listen");
    must(getsockname(s->listener, (struct sockaddr *)&at, &len) == 0, "getsockname");
    s->port = ntohs(at.sin_port);
    (void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u", s->port);
    must(pthread_create(&s->thread, NULL, run, s) == 0, "thread");
}

void server_join(struct server *s)
{
    must(pthread_join(s->thread, NULL) == 0, "join");
    close(s->listener);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->opened);
}

void server_open_gate(struct server *s, unsigned gate)
{
    (void)pthread_mutex_lock(&s->lock);
    s->gates |= 1U << gate;
    (void)pthread_cond_broadcast(&s->opened);
    (void)pthread_mutex_unlock(&s->lock);
}

void server_wait_gate(struct server *s, unsigned gate)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    (void)pthread_mutex_lock(&s->lock);
    while (!(s->gates & 1U << gate))
        must(pthread_cond_timedwait(&s->opened, &s->lock, &until) == 0, "a gate that nobody opens");
    (void)pthread_mutex_unlock(&s->lock);
}

int server_accept(struct server *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

    must(fd >= 0, "accept");
    s->accepted++;
    return fd;
}

bool server_read(struct server *s, int fd, size_t n)
{
    size_t want = s->saw_len + n;

    while (s->saw_len < want) {
        ssize_t got = read(fd, s->saw + s->saw_len, want - s->saw_len);

        if (got <= 0)
            return false;
        s->saw_len += (size_t)got;
        must(s->saw_len < sizeof(s->saw), "a request that is too long");
    }
    s->saw[s->saw_len] = '\0';
    return true;
}

static bool ends_with(const struct server *s, size_t from, const char *text)
{
    size_t len = strlen(text);

    return s->saw_len - from >= len && memcmp(s->saw + s->saw_len - len, text, len) == 0;
}

/* A byte at a time: nothing of the next request is taken. */
static bool read_until(struct server *s, int fd, size_t from, const char *end)
{
    while (!ends_with(s, from, end))
        if (!server_read(s, fd, 1))
            return false;
    return true;
}

static const char *header_value(const char *head, const char *name)
{
    const char *at = head;

    while ((at = strstr(at, "\r\n")) != NULL) {
        at += 2;
        if (strncasecmp(at, name, strlen(name)) == 0 && at[strlen(name)] == ':')
            return at + strlen(name) + 1;
    }
    return NULL;
}

bool server_read_request(struct server *s, int fd)
{
    size_t from = s->saw_len, body;
    const char *length, *coding;

    if (!read_until(s, fd, from, "\r\n\r\n"))
        return false;
    length = header_value(s->saw + from, "Content-Length");
    coding = header_value(s->saw + from, "Transfer-Encoding");
    body = s->saw_len;
    if (coding) {
        (void)read_until(s, fd, body, "0\r\n");
        while (!ends_with(s, body, "\r\n\r\n"))
            if (!server_read(s, fd, 1))
                return false;
        return true;
    }
    return length ? server_read(s, fd, strtoul(length, NULL, 10)) : true;
}

void server_send_bytes(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);

        if (sent <= 0)
            return; /* the far end left: what the test is about, or it will show */
        bytes = slice_skip(bytes, (size_t)sent);
    }
}

void server_send(int fd, const char *text)
{
    server_send_bytes(fd, slice_str(text));
}

void server_await_close(int fd)
{
    char dropped[4096];

    while (read(fd, dropped, sizeof(dropped)) > 0)
        continue;
    close(fd);
}

void server_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}
