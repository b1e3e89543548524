/*
 * OpenAI's API and the many that speak it: chat completions, completions, responses, embeddings.
 * https://platform.openai.com/docs/api-reference
 */
#include "dialect_priv.h"
#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"
#include "tally_priv.h"

/* Who asks, not what is asked. */
static const struct slice ignored[] = {
    SLICE("user"),
    SLICE("metadata"),
    SLICE("safety_identifier"),
    SLICE("prompt_cache_key"),
};

/* JSON schemas: the model answers in their order. Compatible servers take them elsewhere, too. */
static const struct slice ordered[] = {
    SLICE("tools"),
    SLICE("functions"),
    SLICE("response_format"),
    SLICE("text.format"),
    SLICE("guided_json"),        /* vLLM */
    SLICE("structured_outputs"), /* vLLM */
    SLICE("json_schema"),        /* llama.cpp, SGLang */
    SLICE("nvext"),              /* NIM: guided_json in it */
};

/* Compatible servers have words of their own. */
static const struct finish_name finishes[] = {
    {SLICE("length"), FINISH_LENGTH},
    {SLICE("max_tokens"), FINISH_LENGTH},
    {SLICE("max_output_tokens"), FINISH_LENGTH},
    {SLICE("model_length"), FINISH_LENGTH}, /* Mistral: the context is full */
    {SLICE("refusal"), FINISH_REFUSAL},
    {SLICE("content_filter"), FINISH_FILTER},
    {SLICE("sensitive"), FINISH_FILTER},
    {SLICE("safety"), FINISH_FILTER},
    {SLICE("abort"), FINISH_INCOMPLETE}, /* vLLM, SGLang */
    {SLICE("aborted"), FINISH_INCOMPLETE},
    {SLICE("cancelled"), FINISH_INCOMPLETE},
    {SLICE("incomplete"), FINISH_INCOMPLETE},
    {SLICE("insufficient_system_resource"), FINISH_INCOMPLETE}, /* DeepSeek */
    {SLICE("error"), FINISH_ERROR},
    {SLICE("failed"), FINISH_ERROR},
    {SLICE("network_error"), FINISH_ERROR},
};

static const struct slice done = SLICE("[DONE]");

static bool is_one_of(struct slice name, const struct slice *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq(name, names[i]))
            return true;
    return false;
}

/* --- chat completions and completions --- */

/* Of the input, which counts it too. */
static void tally_details(struct tally *t, struct jscan_value details)
{
    tally_tokens_cached(t, jscan_count(jscan_get(details, SLICE_OF("cached_tokens")), -1), -1);
}

static void tally_usage(struct tally *t, struct jscan_value usage)
{
    tally_tokens(t, jscan_count(jscan_get(usage, SLICE_OF("prompt_tokens")), -1),
                 jscan_count(jscan_get(usage, SLICE_OF("completion_tokens")), -1));
    tally_details(t, jscan_get(usage, SLICE_OF("prompt_tokens_details")));
}

/* Text, or with some servers a list of parts of which some are text. */
static void chat_content(struct tally_part *choice, struct jscan_value content)
{
    struct jscan_walk parts = jscan_walk(content);
    struct jscan_item part;

    if (content.kind == JSCAN_STRING)
        tally_add(choice, content);
    else if (content.kind == JSCAN_ARRAY)
        while (jscan_next(&parts, &part))
            if (!jscan_is(jscan_get(part.value, SLICE_OF("type")), SLICE_OF("thinking")))
                tally_add(choice, jscan_get(part.value, SLICE_OF("text")));
}

/*
 * One call, or a piece of it. Pieces go together by `index`; but some servers give parallel calls one and the
 * same, and tell them apart by `id` alone, while others draw a new id for every piece: so a piece begins
 * another call when it has both another id and a name.
 */
static void chat_call(struct tally *t, uint32_t choice, uint32_t place, struct jscan_value call)
{
    struct jscan_value id = jscan_get(call, SLICE_OF("id"));
    struct jscan_value function = jscan_get(call, SLICE_OF("function"));
    int64_t index = jscan_count(jscan_get(call, SLICE_OF("index")), place);
    uint32_t at = index < TALLY_CHOICE ? (uint32_t)index : place;
    bool named = !jscan_is_empty(jscan_get(function, SLICE_OF("name")));
    struct tally_part *p = named && id.kind == JSCAN_STRING && id.text.len > 0
                               ? tally_call_new(t, choice, at, id.text)
                               : tally_call(t, choice, at);

    tally_add(p, jscan_get(function, SLICE_OF("arguments"))); /* a custom tool's `input` is any text */
}

static void chat_calls(struct tally *t, uint32_t choice, struct jscan_value calls)
{
    struct jscan_walk w = jscan_walk(calls);
    struct jscan_item call;

    for (uint32_t i = 0; jscan_next(&w, &call); i++)
        chat_call(t, choice, i, call.value);
}

/* A message, or a piece of one. What stands in a member that is not known may well be the answer: audio,
 * images, what was not thought of yet. */
static void chat_message(struct tally *t, uint32_t choice, struct jscan_value message)
{
    static const struct slice silent[] = {
        SLICE("role"), SLICE("reasoning_content"), SLICE("reasoning"), SLICE("reasoning_details"),
        SLICE("name"), SLICE("annotations"),
    };
    struct jscan_walk w = jscan_walk(message);
    struct jscan_item item;

    while (jscan_next(&w, &item)) {
        if (jscan_is_empty(item.value) || is_one_of(item.name, silent, ARRAY_LEN(silent)))
            continue;
        if (slice_eq(item.name, SLICE_OF("content")))
            chat_content(tally_choice(t, choice), item.value);
        else if (slice_eq(item.name, SLICE_OF("tool_calls")))
            chat_calls(t, choice, item.value);
        else if (slice_eq(item.name, SLICE_OF("function_call"))) /* what tool_calls grew out of */
            tally_add(tally_call(t, choice, TALLY_CHOICE - 1), jscan_get(item.value, SLICE_OF("arguments")));
        else if (slice_eq(item.name, SLICE_OF("refusal")))
            tally_refuse(t, tally_choice(t, choice));
        else
            tally_say(tally_choice(t, choice));
    }
}

/* Its message, or a piece of one, is called @said. Some servers repeat in a stream, beside each `delta`, the
 * message so far. */
static void chat_choice(struct tally *t, uint32_t choice, struct jscan_value value, struct slice said)
{
    struct jscan_walk w = jscan_walk(value);
    struct jscan_item item;

    (void)tally_choice(t, choice);
    while (jscan_next(&w, &item)) {
        if (jscan_is_empty(item.value))
            continue;
        if (slice_eq(item.name, said))
            chat_message(t, choice, item.value);
        else if (slice_eq(item.name, SLICE_OF("text"))) /* completions */
            tally_add(tally_choice(t, choice), item.value);
        else if (slice_eq(item.name, SLICE_OF("finish_reason")))
            tally_finish_choice(t, choice, item.value);
        else if (slice_eq(item.name, SLICE_OF("error"))) /* OpenRouter: of one choice among others */
            tally_fault(t, TALLY_ERROR_INSIDE);
    }
}

static bool chat_choice_is_there(struct jscan_value choice)
{
    return jscan_get(choice, SLICE_OF("message")).kind == JSCAN_OBJECT ||
           jscan_get(choice, SLICE_OF("text")).kind == JSCAN_STRING;
}

static void chat_whole(struct tally *t, struct slice body)
{
    struct jscan_value root = jscan_root(body);
    struct jscan_walk w = jscan_walk(jscan_get(root, SLICE_OF("choices")));
    struct jscan_item choice;

    while (jscan_next(&w, &choice)) {
        if (!chat_choice_is_there(choice.value))
            tally_fault(t, TALLY_NO_PAYLOAD);
        tally_payload(t);
        chat_choice(t, 0, choice.value, SLICE_OF("message"));
        tally_settle(t);
    }
    tally_usage(t, jscan_get(root, SLICE_OF("usage")));
}

static void chat_pieces(struct tally *t, struct jscan_value choices)
{
    struct jscan_walk w = jscan_walk(choices);
    struct jscan_item choice;

    for (uint32_t i = 0; jscan_next(&w, &choice); i++) {
        int64_t index = jscan_count(jscan_get(choice.value, SLICE_OF("index")), i);

        tally_payload(t);
        chat_choice(t, index < TALLY_CHOICE ? (uint32_t)index : i, choice.value, SLICE_OF("delta"));
    }
}

/* There is one for every token, so each byte of it is passed as seldom as can be. */
static enum event_meaning chat_event(struct tally *t, struct slice event, struct slice data)
{
    struct jscan_walk w = jscan_walk(jscan_root(data));
    struct jscan_item item;

    (void)event;
    if (slice_eq(data, done))
        return EVENT_LAST;
    while (w.object && jscan_next(&w, &item)) {
        if (slice_eq(item.name, SLICE_OF("choices")))
            chat_pieces(t, item.value);
        else if (slice_eq(item.name, SLICE_OF("usage")))
            tally_usage(t, item.value);
    }
    return EVENT_MORE;
}

/* --- responses --- */

/* `content` of a message: text and refusals. */
static void responses_message(struct tally *t, struct jscan_value content)
{
    struct tally_part *answer = tally_choice(t, 0);
    struct jscan_walk w = jscan_walk(content);
    struct jscan_item part;

    tally_restart(answer);
    while (jscan_next(&w, &part)) {
        tally_add(answer, jscan_get(part.value, SLICE_OF("text")));
        if (!jscan_is_empty(jscan_get(part.value, SLICE_OF("refusal"))))
            tally_refuse(t, answer);
    }
}

static void responses_item(struct tally *t, struct jscan_value item)
{
    struct jscan_value type = jscan_get(item, SLICE_OF("type"));

    if (item.kind != JSCAN_OBJECT)
        return;
    tally_payload(t);
    if (jscan_is(type, SLICE_OF("message")))
        responses_message(t, jscan_get(item, SLICE_OF("content")));
    else if (jscan_is(type, SLICE_OF("function_call")))
        tally_arguments(t, tally_choice(t, 0), jscan_get(item, SLICE_OF("arguments")));
    else if (!jscan_is(type, SLICE_OF("reasoning")))
        tally_say(tally_choice(t, 0)); /* a custom tool's input is any text; others are not known */
}

/* `completed` says nothing more; of `incomplete` the reason is told apart. */
static void responses_status(struct tally *t, struct jscan_value response)
{
    struct jscan_value status = jscan_get(response, SLICE_OF("status"));
    struct jscan_value details = jscan_get(response, SLICE_OF("incomplete_details"));
    struct jscan_value reason = jscan_get(details, SLICE_OF("reason"));

    if (status.kind != JSCAN_STRING || slice_eq(status.text, SLICE_OF("completed")))
        tally_finish(t, status);
    else if (reason.kind == JSCAN_STRING && reason.text.len > 0)
        tally_finish(t, reason);
    else if (slice_eq(status.text, SLICE_OF("failed")))
        tally_finish(t, status);
    else
        tally_finish_as(t, FINISH_INCOMPLETE, status.text); /* queued, in_progress, cancelled … */
}

static void responses_response(struct tally *t, struct jscan_value response)
{
    struct jscan_value usage = jscan_get(response, SLICE_OF("usage"));
    struct jscan_value output = jscan_get(response, SLICE_OF("output"));
    struct jscan_walk w = jscan_walk(output);
    struct jscan_item item;

    if (output.kind == JSCAN_ARRAY)
        (void)tally_choice(t, 0);
    while (jscan_next(&w, &item))
        responses_item(t, item.value);
    responses_status(t, response);
    if (jscan_get(response, SLICE_OF("error")).kind == JSCAN_OBJECT)
        tally_fault(t, TALLY_ERROR_INSIDE);
    tally_tokens(t, jscan_count(jscan_get(usage, SLICE_OF("input_tokens")), -1),
                 jscan_count(jscan_get(usage, SLICE_OF("output_tokens")), -1));
    tally_details(t, jscan_get(usage, SLICE_OF("input_tokens_details")));
}

static void responses_whole(struct tally *t, struct slice body)
{
    responses_response(t, jscan_root(body));
}

static uint32_t output_index(struct jscan_value event)
{
    int64_t index = jscan_count(jscan_get(event, SLICE_OF("output_index")), 0);

    return index < TALLY_CHOICE - 1 ? (uint32_t)index : 0;
}

/* Pieces are judged, too, for servers that do not repeat them whole. */
static void responses_piece(struct tally *t, struct slice type, struct jscan_value event)
{
    struct jscan_value delta = jscan_get(event, SLICE_OF("delta"));

    tally_payload(t);
    if (slice_eq(type, SLICE_OF("response.function_call_arguments.delta")))
        tally_add(tally_call(t, 0, output_index(event)), delta);
    else if (slice_eq(type, SLICE_OF("response.output_text.delta")))
        tally_add(tally_choice(t, 0), delta);
    else if (slice_eq(type, SLICE_OF("response.refusal.delta")))
        tally_refuse(t, tally_choice(t, 0));
}

static enum event_meaning responses_end(struct tally *t, struct jscan_value event)
{
    responses_response(t, jscan_get(event, SLICE_OF("response")));
    return EVENT_LAST;
}

/* Every event carries its type twice, as the event's name and in its data; some servers leave the name out.
 */
static enum event_meaning responses_event(struct tally *t, struct slice event, struct slice data)
{
    struct jscan_value root = jscan_root(data);
    struct jscan_value named = jscan_get(root, SLICE_OF("type"));
    struct slice type = event.len > 0 ? event : named.kind == JSCAN_STRING ? named.text : event;

    if (slice_eq(data, done))
        return EVENT_IGNORE; /* compatible servers end this stream as they end the others */
    if (slice_eq(type, SLICE_OF("response.completed")))
        return responses_end(t, root);
    if (slice_eq(type, SLICE_OF("response.incomplete"))) {
        if (jscan_get(root, SLICE_OF("response")).kind != JSCAN_OBJECT)
            tally_finish_as(t, FINISH_INCOMPLETE, SLICE_OF("incomplete"));
        return responses_end(t, root);
    }
    if (slice_eq(type, SLICE_OF("response.failed")) || slice_eq(type, SLICE_OF("error")))
        return EVENT_ERROR;
    if (slice_eq(type, SLICE_OF("response.output_item.added"))) {
        tally_payload(t);
        tally_restart(tally_choice(t, 0));
    } else if (slice_eq(type, SLICE_OF("response.output_item.done")))
        responses_item(t, jscan_get(root, SLICE_OF("item")));
    else if (slice_ends(type, SLICE_OF(".delta")))
        responses_piece(t, type, root);
    return EVENT_MORE;
}

/* --- embeddings --- */

static void embedding_whole(struct tally *t, struct slice body)
{
    struct jscan_value root = jscan_root(body);
    struct jscan_walk w = jscan_walk(jscan_get(root, SLICE_OF("data")));
    struct jscan_item item;

    while (jscan_next(&w, &item)) {
        tally_payload(t);
        if (jscan_is_empty(jscan_get(item.value, SLICE_OF("embedding")))) /* numbers, or base64 */
            tally_fault(t, TALLY_NO_PAYLOAD);
    }
    tally_usage(t, jscan_get(root, SLICE_OF("usage")));
}

/* --- moderations --- */

static void moderation_whole(struct tally *t, struct slice body)
{
    if (!jscan_is_empty(jscan_get(jscan_root(body), SLICE_OF("results"))))
        tally_payload(t);
}

/* --- our own errors --- */

static const char *error_type(unsigned status)
{
    if (status == 401)
        return "authentication_error";
    if (status == 429)
        return "rate_limit_error";
    return status < 500 ? "invalid_request_error" : "server_error";
}

int dialect_openai_error(struct buf *out, unsigned status, const char *code, struct slice message)
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

/* Its answers repeat `user`, `metadata` and the like, so what is not in the key would be told to others. */
#define CANON_ECHOED                                                                                         \
    {                                                                                                        \
        .ordered = ordered, .ordered_n = ARRAY_LEN(ordered), .drop_nulls = true,                             \
        .stream_default_dropped = true                                                                       \
    }

#define COMMON .request_id_header = "x-request-id", .error = dialect_openai_error

#define ENDS .finishes = finishes, .finishes_n = ARRAY_LEN(finishes), .stream_word = SLICE("[DONE]")

const struct dialect dialect_chat = {
    .name = "chat",
    .paths = {{SLICE("/chat/completions")}},
    .canon = CANON,
    .streams = STREAMS(STREAM_SSE),
    .stream_tells_end = true,
    .json = true,
    .usages = {OWN_USAGE("usage"), USAGE_IN("x_groq", "usage")}, /* Groq's streams */
    .whole = chat_whole,
    .event = chat_event,
    ENDS,
    COMMON,
};

const struct dialect dialect_completion = {
    .name = "completion",
    .paths = {{SLICE("/completions")}},
    .canon = CANON,
    .streams = STREAMS(STREAM_SSE),
    .stream_tells_end = true,
    .json = true,
    .usages = {OWN_USAGE("usage"), USAGE_IN("x_groq", "usage")}, /* Groq's streams */
    .whole = chat_whole,
    .event = chat_event,
    ENDS,
    COMMON,
};

const struct dialect dialect_responses = {
    .name = "responses",
    .paths = {{SLICE("/responses")}},
    .canon = CANON_ECHOED,
    .streams = STREAMS(STREAM_SSE),
    .json = true,
    .usages = {OWN_USAGE("usage"), USAGE_IN("response", "usage")},
    .whole = responses_whole,
    .event = responses_event,
    ENDS,
    COMMON,
};

const struct dialect dialect_embedding = {
    .name = "embedding",
    .paths = {{SLICE("/embeddings"), STREAM_NEVER}},
    .canon = CANON,
    .json = true,
    .usages = {OWN_USAGE("usage")},
    .whole = embedding_whole,
    COMMON,
};

const struct dialect dialect_moderation = {
    .name = "moderation",
    .paths = {{SLICE("/moderations"), STREAM_NEVER}},
    .canon = CANON,
    .json = true,
    .usages = {OWN_USAGE("usage")},
    .whole = moderation_whole,
    COMMON,
};

/* Nothing is known of these but how to say that something went wrong. */
const struct dialect dialect_pass = {.name = "pass", COMMON};
const struct dialect dialect_read = {.name = "read", .accept_counts = true, COMMON};

/* Operations of the operator's own: JSON in, JSON out; nothing is dropped, defaulted or ignored. */
const struct dialect dialect_plain = {.name = "plain", .json = true, .accept_counts = true, COMMON};
