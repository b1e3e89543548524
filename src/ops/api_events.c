/* /events: what happens, as it happens. SPEC section 8, docs/events.md. */
#include "api.h"
#include "event_stream.h"
#include "refrain/wire/header.h"

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
        api_fail(c, 400, "request_invalid", "there is no such type of event", "query types",
                 "some of CACHE_INVALIDATED,HIT,MISS,STORED,EVICTED,BREAKER");
        return;
    }
    c->stream = event_stream_new(&conf);
    if (!c->stream)
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
}
