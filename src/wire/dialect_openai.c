/*
 * OpenAI's API and the many that speak it: chat completions, completions, responses, embeddings.
 * https://platform.openai.com/docs/api-reference
 */
#include <string.h>

#include "dialect_priv.h"
#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"

/* Who asks, not what is asked. */
static const struct slice ignored[] = {
    SLICE("user"),
    SLICE("metadata"),
    SLICE("safety_identifier"),
    SLICE("prompt_cache_key"),
};

/* JSON schemas: the model answers in their order. */
static const struct slice ordered[] = {
    SLICE("tools"),
    SLICE("functions"),
    SLICE("response_format"),
    SLICE("text.format"),
};

static const struct slice done = SLICE("[DONE]");

static bool contains(struct slice text, struct slice part)
{
    return text.len > 0 && memmem(text.data, text.len, part.data, part.len) != NULL;
}

/* Only text that holds the word is looked into; inside a string it would stand as \"error\". */
static bool has_error_member(struct slice data)
{
    return contains(data, SLICE_OF("\"error\"")) && jscan_member(data, SLICE_OF("error"), NULL) > JSCAN_NULL;
}

static enum event_meaning chat_event(struct slice event, struct slice data)
{
    if (slice_eq(data, done))
        return EVENT_LAST;
    if (slice_eq(event, SLICE_OF("error")) || has_error_member(data))
        return EVENT_ERROR;
    return EVENT_MORE;
}

/* Every event carries its type twice, as the event's name and in its data; some servers leave the name out.
 */
static struct slice responses_type(struct slice event, struct slice data)
{
    struct slice type = event;

    if (type.len == 0 && jscan_member(data, SLICE_OF("type"), &type) != JSCAN_STRING)
        type.len = 0;
    return type;
}

static enum event_meaning responses_event(struct slice event, struct slice data)
{
    struct slice type;

    if (slice_eq(data, done))
        return EVENT_IGNORE; /* compatible servers end this stream as they end the others */
    type = responses_type(event, data);
    if (slice_eq(type, SLICE_OF("response.completed")))
        return EVENT_LAST;
    if (slice_eq(type, SLICE_OF("response.incomplete")))
        return EVENT_UNFIT;
    if (slice_eq(type, SLICE_OF("response.failed")) || slice_eq(type, SLICE_OF("error")) ||
        has_error_member(data))
        return EVENT_ERROR;
    return EVENT_MORE;
}

static const char *error_type(unsigned status)
{
    if (status == 401)
        return "authentication_error";
    return status < 500 ? "invalid_request_error" : "server_error";
}

/* {"error":{"message","type","param","code"}} */
static int openai_error(struct buf *out, unsigned status, const char *code, struct slice message)
{
    size_t before = out->len;
    int r = buf_addf(out, "{\"error\":{\"message\":");

    if (r == 0)
        r = buf_add_json(out, message);
    if (r == 0)
        r = buf_addf(out, ",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}", error_type(status), code);
    if (r < 0)
        out->len = before;
    return r;
}

#define CANON                                                                                                \
    {                                                                                                        \
        .ignored = ignored, .ignored_n = ARRAY_LEN(ignored), .ordered = ordered,                             \
        .ordered_n = ARRAY_LEN(ordered), .drop_nulls = true, .stream_default_dropped = true                  \
    }

#define COMMON .request_id_header = "x-request-id", .error = openai_error

const struct dialect dialect_chat = {
    .name = "chat",
    .paths = {SLICE("/chat/completions")},
    .canon = CANON,
    .stream = STREAM_SSE,
    .json = true,
    .event = chat_event,
    COMMON,
};

const struct dialect dialect_completion = {
    .name = "completion",
    .paths = {SLICE("/completions")},
    .canon = CANON,
    .stream = STREAM_SSE,
    .json = true,
    .event = chat_event,
    COMMON,
};

const struct dialect dialect_responses = {
    .name = "responses",
    .paths = {SLICE("/responses")},
    .canon = CANON,
    .stream = STREAM_SSE,
    .json = true,
    .event = responses_event,
    COMMON,
};

const struct dialect dialect_embedding = {
    .name = "embedding",
    .paths = {SLICE("/embeddings")},
    .canon = CANON,
    .json = true,
    COMMON,
};

/* Nothing is known of these but how to say that something went wrong. */
const struct dialect dialect_pass = {.name = "pass", COMMON};
const struct dialect dialect_read = {.name = "read", COMMON};

/* Operations of the operator's own: JSON in, JSON out; nothing is dropped, defaulted or ignored. */
const struct dialect dialect_plain = {.name = "plain", .json = true, COMMON};
