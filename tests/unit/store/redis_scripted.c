#include "redis_scripted.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINES_MAX = 64, CLIENTS_MAX = 16, COMMAND_MAX = 256, ASKED_MAX = 4096, INPUT_MAX = 64 * 1024 };

struct line {
    char command[64];
    char *answer;
    size_t answer_len;
    unsigned left; /* 0: always */
};

struct client {
    struct scripted_node *server;
    int fd;
    struct loop_fd *watch;
    char input[INPUT_MAX];
    size_t len;
};

struct scripted_node {
    int fd;
    uint16_t port;
    struct loop *loop;
    struct loop_fd *watch;
    struct line lines[LINES_MAX];
    size_t lines_n;
    struct client *clients[CLIENTS_MAX];
    char asked[ASKED_MAX][COMMAND_MAX / 4];
    size_t asked_n;
};

static void client_free(struct client *c)
{
    struct scripted_node *s = c->server;

    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (s->clients[i] == c)
            s->clients[i] = NULL;
    loop_fd_free(c->watch);
    (void)close(c->fd);
    free(c);
}

static const char *default_answer(const char *command)
{
    if (strcmp(command, "PING") == 0)
        return "+PONG\r\n";
    if (strcmp(command, "CLUSTER SLOTS") == 0)
        return "-ERR This instance has cluster support disabled\r\n";
    return strncmp(command, "GET", 3) == 0 ? "$-1\r\n" : "+OK\r\n";
}

static struct line *line_for(struct scripted_node *s, const char *command)
{
    for (size_t i = 0; i < s->lines_n; i++)
        if (strncmp(command, s->lines[i].command, strlen(s->lines[i].command)) == 0)
            return &s->lines[i];
    return NULL;
}

static void line_drop(struct scripted_node *s, struct line *l)
{
    free(l->answer);
    s->lines_n--;
    memmove(l, l + 1, (size_t)(s->lines + s->lines_n - l) * sizeof(*l));
}

/* False: the connection is closed. */
static int answer(struct client *c, const char *command)
{
    struct scripted_node *s = c->server;
    struct line *l = line_for(s, command);
    const char *text = l ? l->answer : default_answer(command);
    const size_t len = l ? l->answer_len : strlen(text);

    assert_true(s->asked_n < ASKED_MAX);
    (void)snprintf(s->asked[s->asked_n], sizeof(s->asked[0]), "%s", command);
    s->asked_n++;
    if (len > 0)
        (void)!send(c->fd, text, len, MSG_NOSIGNAL); /* small enough for any socket's buffer */
    if (l && l->left > 0 && --l->left == 0)
        line_drop(s, l);
    if (len == 0)
        client_free(c);
    return len > 0;
}

/* The words of the next command in the input, with spaces between them; how many bytes it took, 0: not whole.
 */
static size_t next_command(const struct client *c, char *out)
{
    const char *at = c->input, *const end = c->input + c->len;
    const char *line = memchr(at, '\n', (size_t)(end - at));
    long words;

    if (!line)
        return 0;
    assert_int_equal(*at, '*');
    words = strtol(at + 1, NULL, 10);
    at = line + 1;
    out[0] = 0;
    for (long i = 0; i < words; i++) {
        size_t n, used = strlen(out);

        line = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (!line)
            return 0;
        n = (size_t)strtol(at + 1, NULL, 10);
        at = line + 1;
        if ((size_t)(end - at) < n + 2)
            return 0;
        (void)snprintf(out + used, COMMAND_MAX - used, "%s%.*s", i ? " " : "", (int)n, at);
        at += n + 2;
    }
    return (size_t)(at - c->input);
}

static void on_client(void *arg, int events)
{
    struct client *c = arg;
    const ssize_t got = recv(c->fd, c->input + c->len, sizeof(c->input) - 1 - c->len, MSG_DONTWAIT);
    char command[COMMAND_MAX];
    size_t used;

    (void)events;
    if (got <= 0) {
        client_free(c);
        return;
    }
    c->len += (size_t)got;
    c->input[c->len] = 0; /* numbers end */
    while ((used = next_command(c, command)) > 0) {
        c->len -= used;
        memmove(c->input, c->input + used, c->len + 1);
        if (!answer(c, command))
            return;
    }
}

static void on_listener(void *arg, int events)
{
    struct scripted_node *s = arg;
    struct client *c = calloc(1, sizeof(*c));
    size_t place = 0;

    (void)events;
    assert_non_null(c);
    c->server = s;
    c->fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (place < CLIENTS_MAX && s->clients[place])
        place++;
    assert_true(c->fd >= 0 && place < CLIENTS_MAX);
    s->clients[place] = c;
    c->watch = loop_fd_new(s->loop, c->fd, on_client, c);
    loop_fd_watch(c->watch, LOOP_READ);
}

struct scripted_node *scripted_node_new(void)
{
    struct scripted_node *s = calloc(1, sizeof(*s));
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);

    assert_non_null(s);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(s->fd, CLIENTS_MAX), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
    s->port = ntohs(a.sin_port);
    return s;
}

void scripted_node_attach(struct scripted_node *s, struct loop *l)
{
    s->loop = l;
    s->watch = loop_fd_new(l, s->fd, on_listener, s);
    loop_fd_watch(s->watch, LOOP_READ);
}

void scripted_node_hang_up(struct scripted_node *s)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (s->clients[i])
            client_free(s->clients[i]);
}

void scripted_node_stop(struct scripted_node *s)
{
    scripted_node_hang_up(s);
    loop_fd_free(s->watch);
    s->watch = NULL;
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
}

void scripted_node_forget(struct scripted_node *s)
{
    while (s->lines_n > 0)
        line_drop(s, &s->lines[s->lines_n - 1]);
}

void scripted_node_free(struct scripted_node *s)
{
    scripted_node_stop(s);
    scripted_node_forget(s);
    free(s);
}

uint16_t scripted_node_port(const struct scripted_node *s)
{
    return s->port;
}

void scripted_node_say(struct scripted_node *s, const char *command, unsigned times, const char *format, ...)
{
    struct line *l = &s->lines[s->lines_n++];
    va_list args;
    int n;

    assert_true(s->lines_n <= LINES_MAX);
    (void)snprintf(l->command, sizeof(l->command), "%s", command);
    l->left = times;
    va_start(args, format);
    n = vasprintf(&l->answer, format, args);
    va_end(args);
    assert_true(n >= 0);
    l->answer_len = (size_t)n;
}

unsigned scripted_node_asked(const struct scripted_node *s, const char *command)
{
    unsigned n = 0;

    for (size_t i = 0; i < s->asked_n; i++)
        n += strncmp(s->asked[i], command, strlen(command)) == 0;
    return n;
}
