/*
 * exchange_client - who asks, and may he, now? Where configuration names clients, each request is one's, and
 * counts against its limits; where it names none, nothing here is done.
 */
#include "exchange_priv.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"

static void refuse_by_limit(struct exchange *x, bool by_rate, int64_t now_ns, int64_t wait_ns)
{
    exchange_refuse(x, ERR_RATE_LIMITED,
                    by_rate ? "this client's requests_per_minute are used up"
                            : "this client has as many requests under way as max_concurrent allows");
    x->retry_after_s = (wait_ns + 999999999) / 1000000000;
    if (client_limited(x->limited, x->worker->counter, by_rate, now_ns))
        log_event(LOG_WARN, "client_limited", LOG_SLICE("client", x->limited->conf.name),
                  LOG_STR("option", by_rate ? "requests_per_minute" : "max_concurrent"));
}

void exchange_charge_client(struct exchange *x)
{
    int64_t now_ns = clock_mono_ns(), wait_ns;

    if (!x->limited || x->charged)
        return;
    x->charged = client_take(x->limited, now_ns, &wait_ns);
    if (!x->charged)
        refuse_by_limit(x, true, now_ns, wait_ns);
}

/* No more than the API whose shape an error has; of whom nothing is known, nothing else is looked at. */
static void take_shape(struct exchange *x)
{
    struct keying k;

    if (!exchange_take_route(x))
        return;
    k = exchange_keying(x);
    (void)keying_operation(&k);
    x->op = k.op;
    x->own = k.own;
}

static void refuse_stranger(struct exchange *x, enum admission why)
{
    static const enum metric_unproven reasons[] = {[ADMISSION_MISSING] = UNPROVEN_MISSING,
                                                   [ADMISSION_UNKNOWN] = UNPROVEN_UNKNOWN,
                                                   [ADMISSION_SEVERAL] = UNPROVEN_SEVERAL};
    uint64_t told = clients_refused(site_of(x)->clients, x->started_ns);

    metric_add1(x->worker->counts, UNAUTHORIZED, reasons[why], 1);
    exchange_refuse(x, ERR_UNAUTHORIZED, admission_refusal(why));
    if (told > 0)
        log_event(LOG_WARN, "unauthorized", LOG_STR("id", x->request_id),
                  LOG_STR("why", admission_refusal(why)), LOG_INT("requests", told));
}

static void begin_as(struct exchange *x, const struct client *client)
{
    x->limited = client;
    x->running = client_begin(client);
    if (!x->running)
        refuse_by_limit(x, false, x->started_ns, 0);
    else if (client->conf.limit_hits)
        exchange_charge_client(x);
}

void exchange_take_client(struct exchange *x)
{
    struct front_req *r = &x->req;
    bool has_query = memchr(r->target.data, '?', r->target.len) != NULL;
    struct admission_request request = {
        .method = r->method,
        .target = r->target,
        .target_bytes = r->target_long ? r->target_long : r->target_bytes,
        .fields = &r->fields,
        .has_body =
            fields_content_length(&r->fields) > 0 || fields_find_id(&r->fields, HEADER_TRANSFER_ENCODING),
    };
    enum admission admission;

    if (has_query)
        take_shape(x);
    request.key_in_query = has_query && dialect_of(x->op)->key_in_query;
    admission =
        admit(x->worker->admitter, site_of(x)->roster, x->view == x->worker->view, &request, &x->client);
    r->target = request.target;
    x->stranger = !x->client;
    if (x->client)
        begin_as(x, x->client);
    else if (admission == ADMISSION_PREFLIGHT)
        begin_as(x, roster_preflights(site_of(x)->roster));
    else
        refuse_stranger(x, admission);
    if (x->refused)
        take_shape(x);
}
