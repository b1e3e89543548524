#include "refrain/ops/admin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "api.h"
#include "dashboard.h"
#include "event_stream.h"
#include "refrain/base/attr.h"
#include "refrain/base/log.h"
#include "refrain/http/front.h"
#include "refrain/http/site.h"
#include "refrain/ops/access.h"
#include "refrain/wire/header.h"
#include "refusals.h"

enum {
    CONNECTIONS_MAX = 256,
    ANSWER_BYTES_MAX = 64 << 20,
    /* Of a refused body, read for the sake of a clean answer: a stranger's, and that of who has the token. */
    DRAIN_BYTES_MAX = 1 << 20,
    DRAIN_GRANTED_BYTES_MAX = 64 << 20,
    REFUSALS_TICK_MS = 1000,
};

struct admin {
    struct admin_parts parts;
    struct loop *loop;
    struct access *access;
    struct refusals *refusals;
    struct loop_timer *tick;     /* of the refusals */
    struct metric_block *counts; /* of the refusals */
    struct front *front;
    struct limits *limits;
    struct header_table *headers;
    struct front_handler handler;
};

struct admin_request {
    struct front_req req; /* first */
    struct admin *admin;
    struct buf answer, body;
    size_t drained;
    struct api_call call;
    bool api;     /* below API_ROOT */
    bool granted; /* to who has the token */
    bool refused; /* the answer is made */
    unsigned retry_s;
    /* Of a route that runs on the pool. The request stays until the work is done, whoever has left. */
    struct loop_work work;
    bool working, worked, ended;
};

static struct admin_request *request_of(struct front_req *r)
{
    return (struct admin_request *)r; /* its first member */
}

/* -- pages -- */

static unsigned page_metrics(struct admin *a, struct buf *out)
{
    metrics_set1(a->parts.metrics, ADMIN_REFUSED, REFUSED_CONNECTION, limits_refused(a->limits));
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

static void answer_begin(struct front_req *r, const char *type)
{
    front_reply_bytes(r, buf_slice(&request_of(r)->answer), NULL, NULL); /* kept until on_end */
    front_reply_field(r, "Content-Type", type);
    front_reply_field(r, "Cache-Control", "no-store");
    front_reply_field(r, "X-Content-Type-Options", "nosniff");
}

static void answer(struct front_req *r, unsigned status, const char *type)
{
    answer_begin(r, type);
    front_reply_send(r, status);
}

static void answer_error(struct front_req *r, unsigned status, const char *code, const char *text)
{
    struct admin_request *x = request_of(r);

    api_fail(&x->call, status, code, text, NULL, NULL);
    answer(r, status, "application/json");
}

/* -- the API -- */

/* What upstream has sent is for those who asked for it, not for a browser to act on. */
static void answer_raw_fields(struct admin_request *x)
{
    char disposition[80] = "attachment";

    if (x->call.file)
        (void)snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s\"", x->call.file);
    front_reply_field(&x->req, "Content-Disposition", disposition);
    front_reply_field(&x->req, "Content-Security-Policy", "sandbox; default-src 'none'");
    if (x->call.coding)
        front_reply_field(&x->req, "Content-Encoding", x->call.coding);
}

static void answer_api(struct admin_request *x)
{
    struct api_call *c = &x->call;
    struct slice target = x->req.target;
    char retry[16];

    answer_begin(&x->req, c->type ? c->type : "application/json");
    if (c->type)
        answer_raw_fields(x);
    if (c->status == 401)
        front_reply_field(&x->req, "WWW-Authenticate", "Bearer realm=\"refrain\"");
    if (c->status == 405)
        front_reply_field(&x->req, "Allow", c->allow);
    if (x->retry_s > 0) {
        (void)snprintf(retry, sizeof(retry), "%u", x->retry_s);
        front_reply_field(&x->req, "Retry-After", retry);
    }
    if (c->route && c->route->mutates)
        log_event(LOG_INFO, "admin_action", LOG_SLICE("method", x->req.method),
                  LOG_SLICE("path", slice_cut(&target, '?')), LOG_INT("status", c->status));
    front_reply_send(&x->req, c->status);
}

/* -- answers that have no end -- */

static int64_t on_stream_read(struct front_req *r, char *buf, size_t cap)
{
    int64_t n = event_stream_read(request_of(r)->call.stream, buf, cap);

    _Static_assert((int)EVENT_STREAM_WAIT == (int)FRONT_WAIT && (int)EVENT_STREAM_END == (int)FRONT_END,
                   "the same words");
    return n;
}

static void on_stream_ready(void *arg)
{
    struct admin_request *x = arg;

    front_wake(&x->req);
}

static void answer_stream(struct admin_request *x)
{
    if (!event_stream_start(x->call.stream, on_stream_ready, x)) {
        api_fail(&x->call, 503, "overloaded", "too many clients listen to events", NULL, NULL);
        answer_api(x);
        return;
    }
    front_reply_stream(&x->req, -1, on_stream_read);
    front_reply_field(&x->req, "Content-Type", "text/event-stream");
    front_reply_field(&x->req, "Cache-Control", "no-store");
    front_reply_field(&x->req, "X-Accel-Buffering", "no"); /* what stands between is not to gather it */
    front_reply_send(&x->req, x->call.status);
}

static const char *peer_text(const struct sockaddr *peer, char out[INET6_ADDRSTRLEN])
{
    const void *at = peer->sa_family == AF_INET6
                         ? (const void *)&((const struct sockaddr_in6 *)peer)->sin6_addr
                         : (const void *)&((const struct sockaddr_in *)peer)->sin_addr;

    if (peer->sa_family != AF_INET && peer->sa_family != AF_INET6)
        return "unix";
    return inet_ntop(peer->sa_family, at, out, INET6_ADDRSTRLEN);
}

/* As a line of the log names it: of an IPv6 caller the /64 that is its to call from. */
static void source_text(const struct sockaddr *peer, char out[REFUSALS_FROM_BYTES])
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_in6 v6;
    struct in_addr v4;

    if (peer->sa_family == AF_INET6) {
        memcpy(&v6, peer, sizeof(v6));
        if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            memset(v6.sin6_addr.s6_addr + 8, 0, 8);
            (void)snprintf(out, REFUSALS_FROM_BYTES, "%s/64", peer_text((struct sockaddr *)&v6, text));
            return;
        }
        memcpy(&v4, v6.sin6_addr.s6_addr + 12, sizeof(v4));
        (void)snprintf(out, REFUSALS_FROM_BYTES, "%s", inet_ntop(AF_INET, &v4, text, sizeof(text)));
        return;
    }
    (void)snprintf(out, REFUSALS_FROM_BYTES, "%s", peer_text(peer, text));
}

static void tell_more(const char *kind, const char *from, uint64_t times, int64_t seconds)
{
    log_event(LOG_WARN, "admin_refused_more", LOG_STR("reason", kind), LOG_STR("from", from),
              LOG_INT("times", times), LOG_INT("seconds", seconds));
}

static void on_tick(void *arg)
{
    struct admin *a = arg;

    refusals_tell(a->refusals, loop_now_ms(a->loop), false, tell_more);
}

static const struct refusal {
    unsigned status;
    const char *kind; /* in the log; a sender that is barred is the one whose tokens were wrong */
    enum metric_admin_refusal counted;
    const char *code, *message, *where, *expected;
} refusals[] = {
    [ACCESS_HOST] = {403, "host", REFUSED_HOST, "host_not_allowed",
                     "this listener does not answer to that name", "header Host",
                     "an address, localhost, or a name that admin.hosts lists"},
    [ACCESS_ORIGIN] = {403, "origin", REFUSED_ORIGIN, "origin_not_allowed",
                       "pages of other sites may not use the API", "header Origin",
                       "none, or the one that Host names"},
    [ACCESS_NO_TOKEN] =
        {401, "no_token", REFUSED_NO_TOKEN, "unauthorized", "the API wants its token", "header Authorization",
         "Bearer TOKEN, with what admin.token_file or the state directory's admin.token holds"},
    [ACCESS_WRONG_TOKEN] = {401, "wrong_token", REFUSED_WRONG_TOKEN, "unauthorized",
                            "this is not the API's token", "header Authorization",
                            "Bearer TOKEN, with what admin.token_file or the state directory's admin.token "
                            "holds"},
    [ACCESS_TOO_MANY] = {429, "wrong_token", REFUSED_TOO_MANY, "too_many_failures",
                         "too many wrong tokens came from this address", NULL, NULL},
};

static bool is_granted(struct admin_request *x)
{
    struct admin *a = x->admin;
    char from[REFUSALS_FROM_BYTES];
    const struct refusal *why;
    enum access_verdict verdict =
        access_judge(a->access, &x->req.fields, front_req_peer(&x->req), loop_now_ms(a->loop), &x->retry_s);

    if (verdict == ACCESS_GRANTED)
        return true;
    why = &refusals[verdict];
    metric_add1(a->counts, ADMIN_REFUSED, why->counted, 1);
    source_text(front_req_peer(&x->req), from);
    if (refusals_note(a->refusals, why->kind, from, loop_now_ms(a->loop)))
        log_event(LOG_WARN, "admin_refused", LOG_STR("reason", why->kind), LOG_STR("from", from));
    api_fail(&x->call, why->status, why->code, why->message, why->where, why->expected);
    return false;
}

static bool is_api(struct slice path)
{
    struct slice root = SLICE_OF(API_ROOT);

    return slice_eq(path, root) || (slice_starts(path, root) && path.data[root.len] == '/');
}

static void api_begin(struct admin_request *x, struct slice path, struct slice query)
{
    struct api_call *c = &x->call;

    x->api = true;
    c->parts = x->admin->parts;
    c->loop = x->admin->loop;
    c->fields = &x->req.fields;
    c->query = query;
    x->granted = is_granted(x);
    x->refused = !x->granted || !api_find(c, x->req.method, path);
    if (x->refused)
        return;
    x->body.max = c->route->body_bytes_max;
    c->site = site_ref(c->parts.site(c->parts.arg));
}

static void on_work(struct loop_work *work)
{
    struct admin_request *x = CONTAINER_OF(work, struct admin_request, work);

    x->call.route->run(&x->call);
}

static void request_free(struct admin_request *x)
{
    event_stream_free(x->call.stream);
    site_unref(x->call.site);
    buf_done(&x->answer);
    buf_done(&x->body);
    free(x);
}

static void on_work_done(struct loop_work *work)
{
    struct admin_request *x = CONTAINER_OF(work, struct admin_request, work);

    x->working = false;
    x->worked = true;
    if (x->ended)
        request_free(x);
    else
        front_wake(&x->req);
}

static void api_work_start(struct admin_request *x)
{
    x->work = (struct loop_work){.on_work = on_work, .on_done = on_work_done};
    x->working = true;
    loop_work_start(x->admin->loop, &x->work);
}

void api_later(struct api_call *c)
{
    struct admin_request *x = CONTAINER_OF(c, struct admin_request, call);

    c->later = true;
    x->working = true;
}

void api_finish(struct api_call *c)
{
    struct admin_request *x = CONTAINER_OF(c, struct admin_request, call);

    c->later = false;
    on_work_done(&x->work);
}

static void api_run(struct admin_request *x)
{
    if (x->refused || x->worked) {
        answer_api(x);
        return;
    }
    if (x->working) { /* woken for another reason */
        front_park(&x->req);
        return;
    }
    x->call.body = buf_slice(&x->body);
    if (!x->call.route->pooled) {
        x->call.route->run(&x->call);
        if (x->call.later)
            front_park(&x->req);
        else if (x->call.stream)
            answer_stream(x);
        else
            answer_api(x);
        return;
    }
    api_work_start(x);
    front_park(&x->req);
}

/* -- the front's callbacks -- */

static struct front_req *on_new(void *arg)
{
    struct admin_request *x = calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    x->admin = arg;
    x->answer.max = ANSWER_BYTES_MAX;
    x->call.status = 200;
    x->call.out = &x->answer;
    return &x->req;
}

static void on_head(struct front_req *r)
{
    struct slice query = r->target, path;
    struct guard_verdict verdict;

    fields_classify(&r->fields, request_of(r)->admin->headers);
    verdict = guard_request(r->version, r->method, r->target, &r->fields);
    if (r->head_too_large)
        verdict = (struct guard_verdict){false, ERR_HEADERS_TOO_LARGE, "the request's head is too large"};
    if (r->malformed)
        verdict = (struct guard_verdict){false, ERR_REQUEST_INVALID, r->malformed};
    if (!verdict.ok) {
        r->close_after = true;
        answer_error(r, error_status(verdict.code), error_name(verdict.code), verdict.why);
        return;
    }
    path = slice_cut(&query, '?');
    if (is_api(path))
        api_begin(request_of(r), path, query);
}

/* What will not be read is taken all the same, so that the client, who is still sending, sees its answer. */
static void drain(struct admin_request *x, size_t bytes)
{
    x->drained += bytes;
    if (x->drained > (size_t)(x->granted ? DRAIN_GRANTED_BYTES_MAX : DRAIN_BYTES_MAX))
        front_abort(&x->req);
}

static size_t on_body(struct front_req *r, struct slice bytes)
{
    struct admin_request *x = request_of(r);

    if (!x->api || x->refused) {
        drain(x, bytes.len);
        return bytes.len;
    }
    if (buf_add_slice(&x->body, bytes) < 0) {
        char expected[64];

        (void)snprintf(expected, sizeof(expected), "at most %zu bytes", x->body.max);
        api_fail(&x->call, 413, "too_large", "the body is larger than this path takes", "body", expected);
        metric_add1(x->admin->counts, ADMIN_REFUSED, REFUSED_TOO_LARGE, 1);
        buf_done(&x->body); /* what follows is only taken */
        x->refused = true;
    }
    return bytes.len;
}

static void on_run(struct front_req *r)
{
    struct admin_request *x = request_of(r);
    struct slice rest = r->target, path = slice_cut(&rest, '?');

    if (x->api) {
        api_run(x);
        return;
    }
    if (!slice_eq(r->method, SLICE_OF("GET")) && !slice_eq(r->method, SLICE_OF("HEAD"))) {
        answer_error(r, 405, "method_not_allowed", "outside the API, this listener takes GET and HEAD");
        return;
    }
    if (dashboard_answer(r, path))
        return;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (!slice_eq(path, slice_str(pages[i].path)))
            continue;
        unsigned status = pages[i].write(x->admin, &x->answer);

        answer(r, status, pages[i].type);
        return;
    }
    answer_error(r, 404, "not_found", "there is /dashboard, /metrics, /healthz, /readyz and " API_ROOT);
}

static void on_gone(struct front_req *r)
{
    request_of(r)->call.gone = true; /* what is under way cannot be stopped; on_end sees to it */
}

static void on_end(struct front_req *r, bool sent)
{
    struct admin_request *x = request_of(r);

    (void)sent;
    x->ended = x->call.gone = true;
    if (!x->working)
        request_free(x);
}

/* -- making and ending -- */

static struct front_conf front_conf_of(const struct admin_access *access)
{
    return (struct front_conf){
        .header_bytes_max = 16 * 1024,
        .header_timeout_ms = 10000,
        .idle_timeout_ms = 75000,
        .slow_reader_ms = 60000,
        .body_grace_ms = 10000,
        .body_bytes_per_s = 1024,
        .tls = access->tls,
    };
}

void admin_set_access(struct admin *a, const struct admin_access *access)
{
    struct front_conf conf = front_conf_of(access);

    access_set(a->access, access->token, access->hosts, access->hosts_n);
    front_set_conf(a->front, &conf);
}

struct admin *admin_new(struct loop *l, int fd, const struct admin_parts *parts,
                        const struct admin_access *access)
{
    const struct front_conf front_conf = front_conf_of(access);
    static const struct limits_conf limits_conf = {
        .connections_max = CONNECTIONS_MAX,
        .connections_per_address_max = CONNECTIONS_MAX / 2, /* whose probe goes unanswered is restarted */
    };
    struct admin *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->parts = *parts;
    a->loop = l;
    a->access = access_new();
    a->refusals = refusals_new();
    a->counts = metrics_block(parts->metrics);
    a->tick = loop_timer_new(l, on_tick, a);
    loop_timer_start(a->tick, REFUSALS_TICK_MS, REFUSALS_TICK_MS);
    access_set(a->access, access->token, access->hosts, access->hosts_n);
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
    access_free(a->access);
    loop_timer_free(a->tick);
    refusals_tell(a->refusals, loop_now_ms(a->loop), true, tell_more);
    refusals_free(a->refusals);
    free(a);
}

void admin_settle(struct admin *a)
{
    front_settle(a->front);
}
