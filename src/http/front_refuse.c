/* Refusals that libmicrohttpd has no part in. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "front_priv.h"
#include "refrain/base/attr.h"

/* Best effort: one segment into an empty socket buffer. @tls: NULL: plain. */
static void send_refusal(int fd, const struct tls_conn *tls, const char *status, const char *code,
                         const char *text)
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

    if (tls)
        tls_conn_send(tls, reply, (size_t)len);
    else
        (void)send(fd, reply, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void front_refuse_connection(const struct front *f, int fd)
{
    if (!f->conf.tls) /* else it would take a handshake, which is what there is too much of */
        send_refusal(fd, NULL, "503 Service Unavailable", "overloaded", "too many connections");
    (void)close(fd);
}

void front_refuse_plain(int fd)
{
    send_refusal(fd, NULL, "400 Bad Request", "request_invalid",
                 "this listener speaks TLS: its URL begins with https://");
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
    const struct tls_conn *tls = c->tls.tls ? &c->tls : NULL;
    const char *length = NULL;
    size_t len = 0;

    if (MHD_lookup_connection_value_n(c->mhd, MHD_HEADER_KIND, "Content-Length", 14, &length, &len) !=
            MHD_YES ||
        !length)
        return;
    if (!is_digits(length, len))
        send_refusal(c->fd, tls, "400 Bad Request", "request_invalid",
                     "Content-Length must be decimal digits");
    else if (len > 18)
        send_refusal(c->fd, tls, "413 Content Too Large", "too_large",
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
void front_on_library_log(void *cls, const char *format, va_list args)
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
