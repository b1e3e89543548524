/*
 * bare - the least that a server can do: one epoll loop, one recv and one send a request, one fixed answer,
 * no hash and no look-up. What others cost is measured as a multiple of it. Also the upstream that the
 * measured caches fill from.
 *
 *   bare PORT
 *
 * A POST whose body holds `"stream":true` is answered with a short event stream, anything else with 1.5 KB of
 * JSON. A benchmark's tool: it trusts its client's syntax, and ends when something is not as expected.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ANSWER_BODY_BYTES = 1536,
    REQUEST_BYTES_MAX = 1 << 20,
    EVENTS_MAX = 256,
};

struct conn {
    int fd;
    size_t have, want; /* bytes of the request read; of the whole request, 0 while its head is not there */
    char request[REQUEST_BYTES_MAX];
};

struct answer {
    char bytes[4096];
    size_t len;
};

static const char whole_head[] = "HTTP/1.1 200 OK\r\nServer: bare\r\nContent-Type: application/json\r\n"
                                 "Content-Length: %zu\r\nConnection: keep-alive\r\n\r\n";

static const char stream_head[] = "HTTP/1.1 200 OK\r\nServer: bare\r\nContent-Type: text/event-stream\r\n"
                                  "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n";

/* A chat completion as a provider words it, its text filled up to the size wanted. */
static struct answer answer_make_whole(void)
{
    static const char before[] =
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,"
        "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
        "\"";
    static const char after[] =
        "\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":300,\"total_tokens\":500}}";
    static const char text[] = "A repeated question deserves the answer it had before. ";
    struct answer a = {.len = 0};
    size_t fill = ANSWER_BODY_BYTES - (sizeof(before) - 1) - (sizeof(after) - 1);

    a.len = (size_t)snprintf(a.bytes, sizeof(a.bytes), whole_head, (size_t)ANSWER_BODY_BYTES);
    a.len += (size_t)snprintf(a.bytes + a.len, sizeof(a.bytes) - a.len, "%s", before);
    for (size_t i = 0; i < fill; i++)
        a.bytes[a.len++] = text[i % (sizeof(text) - 1)];
    a.len += (size_t)snprintf(a.bytes + a.len, sizeof(a.bytes) - a.len, "%s", after);
    return a;
}

static void answer_add_event(struct answer *a, const char *data)
{
    size_t chunk = strlen("data: \n\n") + strlen(data);

    a->len += (size_t)snprintf(a->bytes + a->len, sizeof(a->bytes) - a->len, "%zx\r\ndata: %s\n\n\r\n", chunk,
                               data);
}

static struct answer answer_make_stream(void)
{
    static const char event[] =
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
        "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]}";
    struct answer a = {.len = 0};
    char data[512];

    a.len = (size_t)snprintf(a.bytes, sizeof(a.bytes), "%s", stream_head);
    for (int i = 0; i < 8; i++) {
        snprintf(data, sizeof(data), event, "{\"content\":\"token \"}", "null");
        answer_add_event(&a, data);
    }
    snprintf(data, sizeof(data), event, "{}", "\"stop\"");
    answer_add_event(&a, data);
    answer_add_event(&a, "[DONE]");
    a.len += (size_t)snprintf(a.bytes + a.len, sizeof(a.bytes) - a.len, "0\r\n\r\n");
    return a;
}

/* Length of the request at the front of @c->request once its head is there; 0 before. */
static size_t request_length(const struct conn *c)
{
    static const char name[] = "\r\nContent-Length: ";
    const char *end = memmem(c->request, c->have, "\r\n\r\n", 4);
    const char *length;

    if (!end)
        return 0;
    length = memmem(c->request, (size_t)(end - c->request), name, sizeof(name) - 1);
    return (size_t)(end + 4 - c->request) + (length ? strtoul(length + sizeof(name) - 1, NULL, 10) : 0);
}

static void conn_accept(int epoll_fd, int listener)
{
    struct conn *c = malloc(sizeof(*c));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    if (!c)
        err(1, "malloc");
    c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    c->have = c->want = 0;
    if (c->fd < 0) {
        free(c);
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
        err(1, "epoll_ctl");
}

static void conn_close(struct conn *c)
{
    close(c->fd);
    free(c);
}

static void conn_answer(struct conn *c, const struct answer *answer)
{
    /* The answers are smaller than any socket buffer, and the client reads one before it asks again. */
    if (send(c->fd, answer->bytes, answer->len, MSG_NOSIGNAL) != (ssize_t)answer->len)
        warnx("an answer did not fit the socket");
    c->have = c->want = 0;
}

static void conn_read(struct conn *c, const struct answer *whole, const struct answer *stream)
{
    static const char streamed[] = "\"stream\":true";
    ssize_t n = recv(c->fd, c->request + c->have, sizeof(c->request) - c->have, 0);

    if (n <= 0) {
        conn_close(c);
        return;
    }
    c->have += (size_t)n;
    if (c->want == 0)
        c->want = request_length(c);
    if (c->want == 0 || c->have < c->want)
        return;
    /* A streamed request says so at the end of its body, where the load generator writes it. */
    if (c->have >= 64 && memmem(c->request + c->have - 64, 64, streamed, sizeof(streamed) - 1))
        conn_answer(c, stream);
    else
        conn_answer(c, whole);
}

static int listen_on(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        err(1, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1024) < 0)
        err(1, "127.0.0.1:%s", port);
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX], event = {.events = EPOLLIN, .data.ptr = NULL};
    struct answer whole = answer_make_whole(), stream = answer_make_stream();
    int listener, epoll_fd, n;

    if (argc != 2)
        errx(2, "usage: bare PORT");
    listener = listen_on(argv[1]);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        err(1, "epoll");
    for (;;) {
        n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                conn_read(events[i].data.ptr, &whole, &stream);
            else
                conn_accept(epoll_fd, listener);
        }
    }
}
