/*
 * exchange_head - sorts requests: what is to become of one, from its head alone. It is refused, or goes
 * through as it is (passed: STEP_PASS, at once where a body follows), or its body is collected, because the
 * cache may have to do with it (STEP_KEY).
 */
#include "exchange_priv.h"
#include "refrain/base/clock.h"

void exchange_refuse(struct exchange *x, enum error_code code, const char *text)
{
    if (x->refused)
        return;
    x->refused = true;
    x->refusal = code;
    x->refusal_text = text;
}

static void make_request_id(struct exchange *x)
{
    const struct field *given = fields_find_id(&x->req.fields, HEADER_X_REQUEST_ID);

    if (given && given->value.len > 0 && given->value.len <= REQUEST_ID_MAX && header_name_ok(given->value)) {
        memcpy(x->request_id, given->value.data, given->value.len);
        return;
    }
    exchange_draw_id(x->worker, x->request_id);
}

bool exchange_take_route(struct exchange *x)
{
    return keying_route(site_of(x), x->req.target, &x->route, &x->target, &x->path);
}

static void take_length(struct exchange *x)
{
    x->content_length = fields_content_length(&x->req.fields); /* the guard has seen to its syntax */
    x->has_body = x->content_length >= 0 || fields_find_id(&x->req.fields, HEADER_TRANSFER_ENCODING);
    if (x->content_length < 0)
        return;
    if (site_of(x)->body_bytes_max > 0 && (uint64_t)x->content_length > site_of(x)->body_bytes_max)
        exchange_refuse(x, ERR_TOO_LARGE, "the body is larger than listen.max_body_bytes");
}

void exchange_bypass(struct exchange *x, const char *why)
{
    x->manner = MANNER_PASSED;
    x->outcome = OUT_BYPASS;
    x->detail = why;
}

struct keying exchange_keying(const struct exchange *x)
{
    return (struct keying){
        .site = site_of(x),
        .route = x->route,
        .op = x->op,
        .own = x->own,
        .method = x->req.method,
        .raw_target = x->req.target,
        .target = x->target,
        .fields = &x->req.fields,
        .ask = &x->ask,
        .client = x->client,
        .has_body = x->has_body,
        .content_length = x->content_length,
        .body = buf_slice(&x->body),
        .canon = x->canon,
        .canonical = buf_slice(&x->canonical),
        .facts = &x->facts,
        .plan = &x->plan,
        .trace = x->trace,
    };
}

static void read_controls(struct exchange *x)
{
    const char *why = "";

    if (!ask_read(&x->req.fields, &site_of(x)->ask, &x->ask, &why))
        exchange_refuse(x, ERR_REQUEST_INVALID, why);
    if (x->client && !admission_namespace(site_of(x)->roster, x->client, &x->ask, &why))
        exchange_refuse(x, ERR_REQUEST_INVALID, why);
    x->gzip = x->ask.gzip;
}

/* By its head alone, so of its model no more is known than its path tells. */
static void bypass_by_head(struct exchange *x, const struct keying *k, const char *why)
{
    struct canon_facts told = {0};

    keying_path_facts(k, &told);
    exchange_keep_model(x, told.model);
    exchange_bypass(x, why);
}

static void choose_manner(struct exchange *x)
{
    struct keying k;
    const char *why;

    x->manner = MANNER_CACHED;
    k = exchange_keying(x);
    if (!keying_operation(&k))
        exchange_refuse(x, ERR_REQUEST_INVALID,
                        x->stranger ? "Refrain-Operation names none that there is"
                                    : site_of(x)->own_operations);
    x->op = k.op;
    x->own = k.own;
    keying_plan(site_of(x), x->client, 0, x->own, &x->plan); /* until the body tells more */
    why = keying_head_bypass(&k);
    if (why)
        bypass_by_head(x, &k, why);
}

/* Of a head that could be read in two ways, or is too large, nothing else is looked at. */
static void check_head(struct exchange *x)
{
    const struct front_req *r = &x->req;
    struct guard_verdict verdict = guard_request(r->version, r->method, r->target, &r->fields);

    if (r->head_too_large)
        exchange_refuse(x, ERR_HEADERS_TOO_LARGE,
                        "the request's head is larger than listen.max_header_bytes, or has over 128 fields");
    else if (r->malformed)
        exchange_refuse(x, ERR_REQUEST_INVALID, r->malformed);
    else if (!verdict.ok)
        exchange_refuse(x, verdict.code, verdict.why);
}

void exchange_on_head(struct front_req *r)
{
    struct exchange *x = exchange_of(r);

    x->started_ns = clock_mono_ns();
    fields_classify(&r->fields, site_of(x)->headers);
    make_request_id(x);
    check_head(x);
    if (!x->refused && site_of(x)->roster)
        exchange_take_client(x);
    if (!x->refused && !exchange_take_route(x))
        exchange_refuse(x, ERR_NO_ROUTE, "no route matches this path");
    if (!x->refused)
        take_length(x);
    if (!x->refused) {
        read_controls(x);
        choose_manner(x);
    }
    if (x->refused) {
        (void)exchange_reply_refusal(x);
        return;
    }
    if (forward_hops_left(x) == 0) {
        r->close_after = x->has_body;
        answer_options(x);
        return;
    }
    x->head_request = slice_eq(r->method, SLICE_OF("HEAD"));
    x->next = x->manner == MANNER_PASSED ? STEP_PASS : STEP_KEY;
    if (x->manner == MANNER_PASSED && x->has_body)
        exchange_start_alone(x, true); /* upstream hears the first bytes while the client sends the last */
}
