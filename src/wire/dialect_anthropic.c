/*
 * Anthropic's Messages API. https://docs.anthropic.com/en/api/messages, .../messages-streaming, .../errors
 */
#include "dialect_priv.h"
#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"

static const struct slice ignored[] = {SLICE("metadata")}; /* user_id: who asks, not what is asked */

/* JSON schemas: the model answers in their order. */
static const struct slice ordered[] = {
    SLICE("tools"),
    SLICE("output_format"),
    SLICE("output_config"),
};

static enum event_meaning messages_event(struct slice event, struct slice data)
{
    struct slice type = event; /* also in the data, for servers that leave the name out */

    if (type.len == 0 && jscan_member(data, SLICE_OF("type"), &type) != JSCAN_STRING)
        return EVENT_MORE;
    if (slice_eq(type, SLICE_OF("message_stop")))
        return EVENT_LAST;
    if (slice_eq(type, SLICE_OF("error")))
        return EVENT_ERROR;
    if (slice_eq(type, SLICE_OF("ping")))
        return EVENT_IGNORE;
    return EVENT_MORE;
}

static const char *error_type(unsigned status)
{
    static const struct {
        unsigned status;
        const char *type;
    } types[] = {
        {401, "authentication_error"},
        {413, "request_too_large"},
        {503, "overloaded_error"},
        {504, "timeout_error"},
    };

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i].status == status)
            return types[i].type;
    return status < 500 ? "invalid_request_error" : "api_error";
}

/* {"type":"error","error":{"type","message"}}, with our code beside the message. */
static int anthropic_error(struct buf *out, unsigned status, const char *code, struct slice message)
{
    size_t before = out->len;
    int r = buf_addf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", error_type(status));

    if (r == 0)
        r = buf_add_json(out, message);
    if (r == 0)
        r = buf_addf(out, ",\"code\":\"%s\"}}", code);
    if (r < 0)
        out->len = before;
    return r;
}

const struct dialect dialect_messages = {
    .name = "messages",
    .paths = {SLICE("/messages")},
    .canon = {.ignored = ignored,
              .ignored_n = ARRAY_LEN(ignored),
              .ordered = ordered,
              .ordered_n = ARRAY_LEN(ordered),
              .drop_nulls = true,
              .stream_default_dropped = true},
    .stream = STREAM_SSE,
    .json = true,
    .request_id_header = "request-id",
    .event = messages_event,
    .error = anthropic_error,
};
