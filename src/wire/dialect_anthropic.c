/*
 * Anthropic's Messages API. https://docs.anthropic.com/en/api/messages, .../messages-streaming, .../errors
 */
#include "dialect_priv.h"
#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"
#include "tally_priv.h"

static const struct slice ignored[] = {SLICE("metadata")}; /* user_id: who asks, not what is asked */

/* JSON schemas: the model answers in their order. */
static const struct slice ordered[] = {
    SLICE("tools"),
    SLICE("output_format"),
    SLICE("output_config"),
};

static const struct slice done = SLICE("[DONE]");

static const struct finish_name finishes[] = {
    {SLICE("max_tokens"), FINISH_LENGTH},
    {SLICE("model_context_window_exceeded"), FINISH_LENGTH},
    {SLICE("refusal"), FINISH_REFUSAL},
    {SLICE("pause_turn"), FINISH_INCOMPLETE},
};

/* Cached and cache-making tokens are counted apart from the rest of the input. A stream tells of them at its
 * beginning, and some servers once more at its end, without the cached ones or as zero: they never grow less.
 */
static void tally_usage(struct tally *t, struct jscan_value usage)
{
    int64_t in = jscan_count(jscan_get(usage, SLICE_OF("input_tokens")), -1);
    int64_t cached = jscan_count(jscan_get(usage, SLICE_OF("cache_read_input_tokens")), -1);
    int64_t written = jscan_count(jscan_get(usage, SLICE_OF("cache_creation_input_tokens")), -1);

    if (in >= 0)
        in += (cached > 0 ? cached : 0) + (written > 0 ? written : 0);
    if (in < t->tokens_in)
        in = -1;
    tally_tokens(t, in, jscan_count(jscan_get(usage, SLICE_OF("output_tokens")), -1));
    tally_tokens_cached(t, cached < t->tokens_cached ? -1 : cached,
                        written < t->tokens_cache_write ? -1 : written);
}

static bool is_thinking(struct jscan_value type)
{
    return jscan_is(type, SLICE_OF("thinking")) || jscan_is(type, SLICE_OF("redacted_thinking"));
}

/* A block of a whole answer, or the beginning of one in a stream. */
static void messages_block(struct tally *t, struct jscan_value block)
{
    struct jscan_value type = jscan_get(block, SLICE_OF("type"));
    struct tally_part *answer = tally_choice(t, 0);

    if (jscan_is(type, SLICE_OF("text")))
        tally_add(answer, jscan_get(block, SLICE_OF("text")));
    else if (jscan_is(type, SLICE_OF("tool_use")))
        tally_arguments(t, answer, jscan_get(block, SLICE_OF("input")));
    else if (!is_thinking(type))
        tally_say(answer);
}

static void messages_whole(struct tally *t, struct slice body)
{
    struct jscan_value root = jscan_root(body);
    struct jscan_value content = jscan_get(root, SLICE_OF("content"));
    struct jscan_walk w = jscan_walk(content);
    struct jscan_item block;

    while (jscan_next(&w, &block)) {
        tally_payload(t);
        messages_block(t, block.value);
    }
    tally_finish(t, jscan_get(root, SLICE_OF("stop_reason")));
    tally_usage(t, jscan_get(root, SLICE_OF("usage")));
}

static void messages_piece(struct tally *t, struct jscan_value event)
{
    struct jscan_value delta = jscan_get(event, SLICE_OF("delta"));
    int64_t index = jscan_count(jscan_get(event, SLICE_OF("index")), 0);
    struct jscan_value json = jscan_get(delta, SLICE_OF("partial_json"));

    if (json.kind == JSCAN_STRING)
        tally_add(tally_call(t, 0, index < TALLY_CHOICE ? (uint32_t)index : 0), json);
    else
        tally_add(tally_choice(t, 0), jscan_get(delta, SLICE_OF("text")));
}

static void messages_start(struct tally *t, struct jscan_value message)
{
    tally_usage(t, jscan_get(message, SLICE_OF("usage")));
}

/* The type is the event's name, and also in the data, for servers that leave the name out. */
static enum event_meaning messages_event(struct tally *t, struct slice event, struct slice data)
{
    struct jscan_value root = jscan_root(data);
    struct jscan_value named = jscan_get(root, SLICE_OF("type"));
    struct slice type = event.len > 0 ? event : named.kind == JSCAN_STRING ? named.text : event;

    if (slice_eq(data, done))
        return EVENT_IGNORE; /* compatible servers end this stream as they end others */
    if (slice_eq(type, SLICE_OF("message_stop")))
        return EVENT_LAST;
    if (slice_eq(type, SLICE_OF("error")))
        return EVENT_ERROR;
    if (slice_eq(type, SLICE_OF("ping")))
        return EVENT_IGNORE;
    if (slice_eq(type, SLICE_OF("message_start"))) {
        messages_start(t, jscan_get(root, SLICE_OF("message")));
    } else if (slice_eq(type, SLICE_OF("content_block_start"))) {
        tally_payload(t);
        messages_block(t, jscan_get(root, SLICE_OF("content_block")));
    } else if (slice_eq(type, SLICE_OF("content_block_delta"))) {
        messages_piece(t, root);
    } else if (slice_eq(type, SLICE_OF("message_delta"))) {
        tally_finish_choice(t, 0, jscan_get(jscan_get(root, SLICE_OF("delta")), SLICE_OF("stop_reason")));
        tally_usage(t, jscan_get(root, SLICE_OF("usage")));
    }
    return EVENT_MORE;
}

static const char *error_type(unsigned status)
{
    static const struct {
        unsigned status;
        const char *type;
    } types[] = {
        {401, "authentication_error"}, {413, "request_too_large"}, {429, "rate_limit_error"},
        {503, "overloaded_error"},     {504, "timeout_error"},
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
    .paths = {{SLICE("/messages")}},
    .canon = {.ignored = ignored,
              .ignored_n = ARRAY_LEN(ignored),
              .ordered = ordered,
              .ordered_n = ARRAY_LEN(ordered),
              .drop_nulls = true,
              .stream_default_dropped = true},
    .streams = STREAMS(STREAM_SSE),
    .stream_tells_end = true,
    .json = true,
    .request_id_header = "request-id",
    .finishes = finishes,
    .finishes_n = ARRAY_LEN(finishes),
    .stream_word = SLICE("[DONE]"),
    .usages = {OWN_USAGE("usage"), USAGE_IN("message", "usage")},
    .whole = messages_whole,
    .event = messages_event,
    .error = anthropic_error,
};
