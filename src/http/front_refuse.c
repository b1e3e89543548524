/* Refusals that libmicrohttpd has no part in. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "front_priv.h"
#include "refrain/base/attr.h"

/* Best effort: one segment into an empty socket buffer. @tls: NULL: plain. @id: NULL: it has none. */
static void send_refusal(int fd, const struct tls_conn *tls, const char *status, enum error_code code,
                         const char *text, const char *id)
{
    const char *name = error_name(code);
    char body[256], reply[512];
    int body_len =
        snprintf(body, sizeof(body),
                 "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}\n", text,
                 name, name);
    int len = snprintf(reply, sizeof(reply),
                       "HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\n%s%s%s%s"
                       "Content-Length: %d\r\n\r\n%s",
                       status, status[0] == '5' ? "Retry-After: 1\r\n" : "x-should-retry: false\r\n",
                       id ? "Refrain-Request-Id: " : "", id ? id : "", id ? "\r\n" : "", body_len, body);

    if (tls)
        tls_conn_send(tls, reply, (size_t)len);
    else
        (void)send(fd, reply, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Told and counted like a request that was answered, whether the answer gets there or not. */
static const char *id_of_refusal(const struct front *f, unsigned status, enum error_code code)
{
    return f->handler->on_refusal ? f->handler->on_refusal(f->handler->arg, status, code) : NULL;
}

void front_refuse_connection(const struct front *f, int fd)
{
    if (!f->conf.tls) /* else it would take a handshake, which is what there is too much of */
        send_refusal(fd, NULL, "503 Service Unavailable", ERR_OVERLOADED, "too many connections",
                     id_of_refusal(f, 503, ERR_OVERLOADED));
    (void)close(fd);
}

void front_refuse_plain(int fd)
{
    send_refusal(fd, NULL, "400 Bad Request", ERR_REQUEST_INVALID,
                 "this listener speaks TLS: its URL begins with https://", NULL);
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
        send_refusal(c->fd, tls, "400 Bad Request", ERR_REQUEST_INVALID,
                     "Content-Length must be decimal digits",
                     id_of_refusal(c->front, 400, ERR_REQUEST_INVALID));
    else if (len > 18)
        send_refusal(c->fd, tls, "413 Content Too Large", ERR_TOO_LARGE,
                     "the body is larger than any that is served",
                     id_of_refusal(c->front, 413, ERR_TOO_LARGE));
    else
        return;
    c->ended = true;
    (void)shutdown(c->fd, SHUT_RDWR);
}

/* True when there was one. */
static bool refuse_bad_lengths(struct front *f)
{
    bool any = false;

    LIST_FOR(it, &f->conns)
    {
        struct front_conn *c = CONTAINER_OF(it, struct front_conn, link);

        if (c->phase == PHASE_HEAD && !c->ended)
            refuse_bad_length(c);
        any |= c->phase == PHASE_HEAD && c->ended;
    }
    return any;
}

/*
 * libmicrohttpd 0.9.75 answers a Content-Length that it cannot read by itself, and sends the head of that
 * answer twice. It logs just before: so we answer first, once, and shut the socket, and its own answer goes
 * nowhere. Which connection it means it does not say; any whose head has come this far with such a length is
 * refused alike.
 *
 * All else that it answers by itself (a request line or a field that is none, a chunk that is none) it logs,
 * too: a line each, with the status. Such an answer cannot carry anything of ours, but it is counted.
 */
void front_on_library_log(void *cls, const char *format, va_list args)
{
    struct front *f = cls;

    if (strstr(format, "Content-Length")) {
        f->length_refused = refuse_bad_lengths(f);
    } else if (strstr(format, "HTTP response code")) {
        f->library_answers += !f->length_refused;
        f->library_status = va_arg(args, unsigned);
        f->length_refused = false;
    } else if (strstr(format, "Too late to send an error response") && f->library_answers > 0) {
        f->library_answers--; /* ours was under way */
    }
}

/* -- whose answer was that? Of a request that has come as far as the handler, it is told at its end -- */

/* It can only be about its body, and only chunks can be malformed. The fields' texts may be gone by now. */
static bool may_be_answered(const struct front_req *r)
{
    return r->head_done && !r->replied && !r->conn->ended && r->library_status == 0 &&
           fields_find_id(&r->fields, HEADER_TRANSFER_ENCODING);
}

void front_library_ended(struct front_req *r)
{
    struct front *f = r->front;

    if (f->library_answers == 0 || !may_be_answered(r))
        return;
    f->library_answers--;
    r->library_status = f->library_status;
}

/* What is being sent on behalf of nobody, 0: nothing is. */
static unsigned status_queued(const struct front_conn *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_HTTP_STATUS);

    return info ? info->http_status : 0;
}

static enum error_code code_of(unsigned status)
{
    if (status == 431)
        return ERR_HEADERS_TOO_LARGE;
    return status == 413 || status == 414 ? ERR_TOO_LARGE : ERR_REQUEST_INVALID;
}

void front_library_settle(struct front *f)
{
    if (f->library_answers == 0)
        return; /* nearly always */
    LIST_FOR(it, &f->conns)
    {
        struct front_conn *c = CONTAINER_OF(it, struct front_conn, link);

        if (f->library_answers > 0 && c->req && may_be_answered(c->req)) {
            c->req->library_status = status_queued(c);
            f->library_answers -= c->req->library_status > 0;
        }
    }
    for (; f->library_answers > 0; f->library_answers--)
        (void)id_of_refusal(f, f->library_status, code_of(f->library_status));
}
