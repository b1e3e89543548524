#include "refrain/ops/admin.h"

#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/http/front.h"
#include "refrain/wire/header.h"

enum { CONNECTIONS_MAX = 256, ANSWER_BYTES_MAX = 16 << 20, BODY_BYTES_MAX = 64 * 1024 };

struct admin {
    struct admin_parts parts;
    struct front *front;
    struct limits *limits;
    struct header_table *headers;
    struct front_handler handler;
};

struct admin_request {
    struct front_req req; /* first */
    struct admin *admin;
    struct buf answer;
    size_t body_bytes;
};

static struct admin_request *request_of(struct front_req *r)
{
    return (struct admin_request *)r; /* its first member */
}

/* -- pages -- */

static unsigned page_metrics(struct admin *a, struct buf *out)
{
    return metrics_write(a->parts.metrics, out) == 0 ? 200 : 500;
}

static unsigned page_healthz(struct admin *a, struct buf *out)
{
    (void)a;
    return buf_add_slice(out, SLICE_OF("{\"status\":\"alive\"}\n")) == 0 ? 200 : 500;
}

static unsigned page_readyz(struct admin *a, struct buf *out)
{
    return a->parts.ready(a->parts.arg, out) ? 200 : 503;
}

static const struct page {
    const char *path;
    const char *type;
    unsigned (*write)(struct admin *a, struct buf *out);
} pages[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", page_metrics},
    {"/healthz", "application/json", page_healthz},
    {"/readyz", "application/json", page_readyz},
};

static void answer(struct front_req *r, unsigned status, const char *type)
{
    front_reply_bytes(r, buf_slice(&request_of(r)->answer), NULL, NULL); /* kept until on_end */
    front_reply_field(r, "Content-Type", type);
    front_reply_field(r, "Cache-Control", "no-store");
    front_reply_field(r, "X-Content-Type-Options", "nosniff");
    front_reply_send(r, status);
}

static void answer_error(struct front_req *r, unsigned status, const char *code, const char *text)
{
    struct buf *out = &request_of(r)->answer;

    if (buf_add_slice(out, SLICE_OF("{\"error\":{\"message\":")) < 0 ||
        buf_add_json(out, slice_str(text)) < 0 ||
        buf_addf(out, ",\"type\":\"refrain_error\",\"code\":\"%s\"}}\n", code) < 0)
        buf_clear(out);
    answer(r, status, "application/json");
}

/* -- the front's callbacks -- */

static struct front_req *on_new(void *arg)
{
    struct admin_request *x = calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    x->admin = arg;
    x->answer.max = ANSWER_BYTES_MAX;
    return &x->req;
}

static void on_head(struct front_req *r)
{
    struct guard_verdict verdict;

    fields_classify(&r->fields, request_of(r)->admin->headers);
    verdict = guard_request(r->version, r->method, r->target, &r->fields);
    if (r->head_too_large)
        verdict = (struct guard_verdict){false, ERR_HEADERS_TOO_LARGE, "the request's head is too large"};
    if (r->malformed)
        verdict = (struct guard_verdict){false, ERR_REQUEST_INVALID, r->malformed};
    if (verdict.ok)
        return;
    r->close_after = true;
    answer_error(r, error_status(verdict.code), error_name(verdict.code), verdict.why);
}

static size_t on_body(struct front_req *r, struct slice bytes)
{
    struct admin_request *x = request_of(r);

    x->body_bytes += bytes.len;
    if (x->body_bytes > BODY_BYTES_MAX)
        front_abort(r);
    return bytes.len;
}

static void on_run(struct front_req *r)
{
    struct admin_request *x = request_of(r);
    struct slice rest = r->target, path = slice_cut(&rest, '?');

    if (!slice_eq(r->method, SLICE_OF("GET")) && !slice_eq(r->method, SLICE_OF("HEAD"))) {
        answer_error(r, 405, "method_not_allowed", "this listener takes GET and HEAD");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (!slice_eq(path, slice_str(pages[i].path)))
            continue;
        unsigned status = pages[i].write(x->admin, &x->answer);

        answer(r, status, pages[i].type);
        return;
    }
    answer_error(r, 404, "not_found", "there is /metrics, /healthz and /readyz");
}

static void on_gone(struct front_req *r)
{
    (void)r; /* nothing is ever parked */
}

static void on_end(struct front_req *r, bool sent)
{
    struct admin_request *x = request_of(r);

    (void)sent;
    buf_done(&x->answer);
    free(x);
}

struct admin *admin_new(struct loop *l, int fd, const struct admin_parts *parts)
{
    static const struct front_conf front_conf = {
        .header_bytes_max = 16 * 1024,
        .header_timeout_ms = 10000,
        .idle_timeout_ms = 75000,
        .slow_reader_ms = 60000,
        .body_grace_ms = 10000,
        .body_bytes_per_s = 1024,
    };
    static const struct limits_conf limits_conf = {.connections_max = CONNECTIONS_MAX};
    struct admin *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->parts = *parts;
    a->handler = (struct front_handler){
        .arg = a,
        .on_new = on_new,
        .on_head = on_head,
        .on_body = on_body,
        .on_run = on_run,
        .on_gone = on_gone,
        .on_end = on_end,
    };
    a->limits = limits_new(&limits_conf);
    a->headers = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    if (a->limits && a->headers)
        a->front = front_new(l, &front_conf, a->limits, &a->handler);
    if (!a->front || front_listen(a->front, fd) < 0) {
        admin_free(a);
        return NULL;
    }
    return a;
}

void admin_free(struct admin *a)
{
    if (!a)
        return;
    front_free(a->front);
    header_table_free(a->headers);
    limits_free(a->limits);
    free(a);
}

void admin_settle(struct admin *a)
{
    front_settle(a->front);
}
