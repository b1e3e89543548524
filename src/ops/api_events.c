/* /events: what happens here, as it happens; and what happened elsewhere, for the rules to act on. SPEC
 * section 8, docs/events.md. */
#include <errno.h>
#include <stdlib.h>

#include "api.h"
#include "api_invalidate.h"
#include "api_selector.h"
#include "event_stream.h"
#include "refrain/base/attr.h"
#include "refrain/http/event_rule.h"
#include "refrain/http/site.h"
#include "refrain/store/instances.h"
#include "refrain/wire/header.h"
#include "refrain/wire/jscan.h"

enum { HEARTBEAT_MS = 15000, SLOW_MS = 5000 };

static struct slice last_id_of(const struct api_call *c)
{
    const struct field *f = fields_find(c->fields, SLICE_OF("last-event-id"));

    return f ? f->value : (struct slice){NULL, 0};
}

void api_events_stream(struct api_call *c)
{
    struct event_stream_conf conf = {
        .events = c->parts.events,
        .loop = c->loop,
        .types = (1U << EVENT_TYPES) - 1,
        .last_id = last_id_of(c),
        .heartbeat_ms = HEARTBEAT_MS,
        .slow_ms = SLOW_MS,
    };

    struct api_query types;

    if (api_query(c, "types", &types))
        conf.types = event_stream_types(types.value);
    if (conf.types == 0) {
        api_fail(c, 400, "request_invalid", "there is no such type of event", "query.types",
                 "some of CACHE_INVALIDATED,HIT,MISS,STORED,EVICTED,BREAKER,ALERT");
        return;
    }
    c->stream = event_stream_new(&conf);
    if (!c->stream)
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
}

/* -- events from outside -- */

/* The invalidations of one event, one after another: each asks all instances. */
struct reacting {
    struct api_call *call;
    struct slice correlation;
    bool dry_run;
    struct event_drops drops;
    size_t at;
    struct instances_invalidation inv;
    struct jout out;
};

static void next(struct reacting *x);

static void reacting_free(struct reacting *x)
{
    event_drops_done(&x->drops);
    free(x);
}

static void on_done(struct instances_invalidation *inv)
{
    struct reacting *x = CONTAINER_OF(inv, struct reacting, inv);

    api_invalidation_log(&x->call->parts, inv);
    jout_object(&x->out, NULL);
    api_invalidation_write(&x->out, inv);
    jout_end(&x->out);
    x->at++;
    next(x);
}

static void finish(struct reacting *x)
{
    jout_end(&x->out);
    jout_end(&x->out);
    api_done(x->call, &x->out);
    api_finish(x->call);
    reacting_free(x);
}

static void next(struct reacting *x)
{
    struct api_call *c = x->call;

    if (x->at == x->drops.n) {
        finish(x);
        return;
    }
    x->inv = (struct instances_invalidation){
        .own = {.which = x->drops.at[x->at],
                .seq = flights_seq(c->site->flights),
                .dry_run = x->dry_run,
                .loop = c->loop},
        .correlation = x->correlation,
        .on_done = on_done,
    };
    x->inv.own.which.pattern = api_selector_pattern(c->parts.key_prefix, x->inv.own.which.pattern);
    instances_invalidate(c->site->instances, c->site->invalidator, c->parts.events, &x->inv);
}

static void begin(struct reacting *x, struct slice type)
{
    struct api_call *c = x->call;

    x->out = jout_begin(c->out);
    jout_object(&x->out, NULL);
    jout_text(&x->out, "type", type);
    jout_int(&x->out, "rules", (int64_t)x->drops.rules);
    jout_bool(&x->out, "dry_run", x->dry_run);
    jout_array(&x->out, "invalidations");
    if (x->drops.n > 0) {
        api_later(c);
        next(x);
        return;
    }
    jout_end(&x->out);
    jout_end(&x->out);
    api_done(c, &x->out);
    reacting_free(x);
}

static bool fail(struct api_call *c, const char *where, const char *expected)
{
    api_fail(c, 400, "request_invalid", "this is no event that could be acted on", where, expected);
    return false;
}

/* An event's own word goes before the request's. */
static bool read_correlation(struct reacting *x, struct jscan_value body)
{
    struct jscan_value v = jscan_get(body, SLICE_OF("correlation_id"));

    x->correlation = api_correlation(x->call);
    if (v.kind == JSCAN_ABSENT)
        return true;
    if (v.kind != JSCAN_STRING || v.text.len > EVENT_CORRELATION_BYTES || !header_name_ok(v.text))
        return fail(x->call, "body.correlation_id", "a name of at most 64 letters, digits and such as - _ .");
    x->correlation = v.text; /* the body lives as long as the call */
    return true;
}

static bool read_event(struct reacting *x, struct slice *out_type, struct slice *out_payload)
{
    struct api_call *c = x->call;
    struct jscan_value body = jscan_root(c->body), type = jscan_get(body, SLICE_OF("type"));
    struct jscan_value payload = jscan_get(body, SLICE_OF("payload"));
    struct jscan_value dry_run = jscan_get(body, SLICE_OF("dry_run"));

    if (!jscan_valid(c->body) || body.kind != JSCAN_OBJECT)
        return fail(c, "body",
                    "a JSON object, such as {\"type\": \"document.updated\", \"payload\": {\"id\": 7}}");
    if (type.kind != JSCAN_STRING || !event_type_ok(type.text))
        return fail(c, "body.type", "at most 128 of A-Z a-z 0-9 . _ : / -");
    if (payload.kind != JSCAN_ABSENT && payload.kind != JSCAN_OBJECT)
        return fail(c, "body.payload", "an object");
    if (dry_run.kind != JSCAN_ABSENT && dry_run.kind != JSCAN_BOOL)
        return fail(c, "body.dry_run", "true or false");
    x->dry_run = dry_run.kind == JSCAN_BOOL && dry_run.text.data[0] == 't';
    *out_type = type.text;
    *out_payload = payload.kind == JSCAN_OBJECT ? payload.text : (struct slice){NULL, 0};
    return read_correlation(x, body);
}

void api_events_take(struct api_call *c)
{
    struct reacting *x = calloc(1, sizeof(*x));
    struct event_fault fault = {.where = ""};
    struct slice type, payload;
    int r = x ? 0 : -ENOMEM;

    if (x) {
        x->call = c;
        if (!read_event(x, &type, &payload)) {
            reacting_free(x);
            return;
        }
        r = event_rules_apply(&c->site->event_rules, type, payload, &x->drops, &fault);
    }
    if (r == 0) {
        begin(x, type);
        return;
    }
    if (r == -EINVAL)
        (void)fail(c, fault.where, fault.expected);
    else
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
    if (x)
        reacting_free(x);
}
