/*
 * Google's Gemini API, and the same methods on Vertex AI. https://ai.google.dev/api/generate-content,
 * .../api/embeddings; errors: https://cloud.google.com/apis/design/errors
 *
 * Model and streaming stand in the path: `/v1beta/models/MODEL:streamGenerateContent`. A stream is an event
 * stream with `?alt=sse`, else a JSON array; nothing but `finishReason` ends an answer, and on older models
 * every piece has one.
 */
#include "dialect_priv.h"
#include "refrain/base/attr.h"
#include "tally_priv.h"

static const struct slice ignored[] = {SLICE("labels")}; /* Vertex: whom to bill, not what is asked */

/* JSON schemas: the model answers in their order. The API takes both ways of writing a name. */
static const struct slice ordered[] = {
    SLICE("tools"),
    SLICE("generationConfig.responseSchema"),
    SLICE("generationConfig.responseJsonSchema"),
    SLICE("generationConfig._responseJsonSchema"),
    SLICE("generationConfig.response_schema"),
    SLICE("generationConfig.response_json_schema"),
    SLICE("generation_config.response_schema"),
    SLICE("generation_config.response_json_schema"),
    SLICE("generation_config.responseSchema"),
    SLICE("generation_config.responseJsonSchema"),
};

/* The tools that run at the client; all others, those not thought of yet too, run at Google and look at the
 * world: search, maps, fetched pages, code. */
static const struct slice client_tools[] = {
    SLICE("functionDeclarations"),
    SLICE("function_declarations"),
    SLICE("computerUse"),
    SLICE("computer_use"),
};

/* `cachedContent` names content that cannot be changed, under a name that Google draws: it counts as part of
 * the request like any other member. */
#define CANON                                                                                                \
    {                                                                                                        \
        .ignored = ignored, .ignored_n = ARRAY_LEN(ignored), .ordered = ordered,                             \
        .ordered_n = ARRAY_LEN(ordered), .client_tools = client_tools,                                       \
        .client_tools_n = ARRAY_LEN(client_tools), .drop_nulls = true                                        \
    }

/* What is neither a stop nor a limit was broken off, or is no answer. */
static const struct finish_name finishes[] = {
    {SLICE("STOP"), FINISH_GOOD},
    {SLICE("MAX_TOKENS"), FINISH_LENGTH},
    {SLICE("SAFETY"), FINISH_FILTER},
    {SLICE("RECITATION"), FINISH_FILTER},
    {SLICE("LANGUAGE"), FINISH_FILTER},
    {SLICE("BLOCKLIST"), FINISH_FILTER},
    {SLICE("PROHIBITED_CONTENT"), FINISH_FILTER},
    {SLICE("SPII"), FINISH_FILTER},
    {SLICE("IMAGE_SAFETY"), FINISH_FILTER},
    {SLICE("IMAGE_PROHIBITED_CONTENT"), FINISH_FILTER},
    {SLICE("IMAGE_RECITATION"), FINISH_FILTER},
    {SLICE("MODEL_ARMOR"), FINISH_FILTER},
};

/* What tools at the provider put into the prompt, and what was thought, is counted apart. */
static void tally_usage(struct tally *t, struct jscan_value root)
{
    struct jscan_value usage = jscan_get(root, SLICE_OF("usageMetadata"));
    int64_t in = jscan_count(jscan_get(usage, SLICE_OF("promptTokenCount")), -1);
    int64_t by_tools = jscan_count(jscan_get(usage, SLICE_OF("toolUsePromptTokenCount")), -1);
    int64_t out = jscan_count(jscan_get(usage, SLICE_OF("candidatesTokenCount")), -1);
    int64_t thought = jscan_count(jscan_get(usage, SLICE_OF("thoughtsTokenCount")), -1);

    if (thought > 0)
        out = (out > 0 ? out : 0) + thought;
    if (by_tools > 0)
        in = (in > 0 ? in : 0) + by_tools;
    tally_tokens(t, in, out);
    tally_tokens_cached(t, jscan_count(jscan_get(usage, SLICE_OF("cachedContentTokenCount")), -1), -1);
}

static bool is_true(struct jscan_value value)
{
    return value.kind == JSCAN_BOOL && value.text.data[0] == 't';
}

/* Text, a call, or something else that is an answer: an image, the result of code. */
static void generate_part(struct tally *t, uint32_t candidate, struct jscan_value part)
{
    static const struct slice beside[] = {SLICE("thought"), SLICE("thoughtSignature"), SLICE("partMetadata")};
    struct jscan_walk w = jscan_walk(part);
    struct jscan_item item;

    if (is_true(jscan_get(part, SLICE_OF("thought"))))
        return;
    while (jscan_next(&w, &item)) {
        bool silent = jscan_is_empty(item.value);

        for (size_t i = 0; i < ARRAY_LEN(beside); i++)
            silent |= slice_eq(item.name, beside[i]);
        if (slice_eq(item.name, SLICE_OF("text")))
            tally_add(tally_choice(t, candidate), item.value);
        else if (slice_eq(item.name, SLICE_OF("functionCall")))
            tally_arguments(t, tally_choice(t, candidate), jscan_get(item.value, SLICE_OF("args")));
        else if (!silent)
            tally_say(tally_choice(t, candidate));
    }
}

static void generate_candidate(struct tally *t, uint32_t at, struct jscan_value candidate)
{
    struct jscan_value content = jscan_get(candidate, SLICE_OF("content"));
    struct jscan_walk w = jscan_walk(jscan_get(content, SLICE_OF("parts")));
    struct jscan_value reason = jscan_get(candidate, SLICE_OF("finishReason"));
    struct tally_part *part = tally_choice(t, at);
    struct jscan_item item;

    if (part)
        part->finished = !jscan_is_empty(reason) && !jscan_is(reason, SLICE_OF("FINISH_REASON_UNSPECIFIED"));
    if (part && part->finished)
        tally_finish(t, reason);
    while (jscan_next(&w, &item))
        generate_part(t, at, item.value);
}

/* A prompt that was blocked has no candidates, which is an answer all the same. */
static bool is_blocked(struct tally *t, struct jscan_value root)
{
    struct jscan_value feedback = jscan_get(root, SLICE_OF("promptFeedback"));
    struct jscan_value reason = jscan_get(feedback, SLICE_OF("blockReason"));

    if (reason.kind != JSCAN_STRING || reason.text.len == 0)
        return false;
    tally_payload(t);
    tally_finish_as(t, FINISH_FILTER, reason.text);
    return true;
}

static void generate_whole(struct tally *t, struct slice body)
{
    struct jscan_value root = jscan_root(body);
    struct jscan_walk w = jscan_walk(jscan_get(root, SLICE_OF("candidates")));
    struct jscan_item candidate;

    (void)is_blocked(t, root);
    while (jscan_next(&w, &candidate)) {
        tally_payload(t);
        generate_candidate(t, 0, candidate.value);
        if (!tally_is_finished(t))
            tally_finish_as(t, FINISH_INCOMPLETE, SLICE_OF("no finishReason"));
        tally_settle(t);
    }
    tally_usage(t, root);
}

static enum event_meaning generate_event(struct tally *t, struct slice event, struct slice data)
{
    struct jscan_value root = jscan_root(data);
    struct jscan_walk w = jscan_walk(jscan_get(root, SLICE_OF("candidates")));
    struct jscan_item candidate;

    (void)event;
    for (uint32_t i = 0; jscan_next(&w, &candidate); i++) {
        int64_t index = jscan_count(jscan_get(candidate.value, SLICE_OF("index")), i);

        tally_payload(t);
        generate_candidate(t, index < TALLY_CHOICE ? (uint32_t)index : i, candidate.value);
    }
    tally_usage(t, root);
    return is_blocked(t, root) || tally_is_finished(t) ? EVENT_LAST : EVENT_MORE;
}

/* --- embeddings --- */

static void take_vector(struct tally *t, struct jscan_value embedding)
{
    tally_payload(t);
    if (jscan_is_empty(jscan_get(embedding, SLICE_OF("values"))))
        tally_fault(t, TALLY_NO_PAYLOAD);
}

static void embedding_whole(struct tally *t, struct slice body)
{
    struct jscan_value root = jscan_root(body);
    struct jscan_value one = jscan_get(root, SLICE_OF("embedding"));
    struct jscan_walk w = jscan_walk(jscan_get(root, SLICE_OF("embeddings")));
    struct jscan_item item;

    if (one.kind == JSCAN_OBJECT)
        take_vector(t, one);
    while (jscan_next(&w, &item))
        take_vector(t, item.value);
    tally_usage(t, root);
}

/* --- our own errors --- */

static const char *status_name(unsigned status)
{
    static const struct {
        unsigned status;
        const char *name;
    } names[] = {
        {401, "UNAUTHENTICATED"},    {403, "PERMISSION_DENIED"}, {404, "NOT_FOUND"},
        {429, "RESOURCE_EXHAUSTED"}, {501, "UNIMPLEMENTED"},     {502, "UNAVAILABLE"},
        {503, "UNAVAILABLE"},        {504, "DEADLINE_EXCEEDED"},
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].status == status)
            return names[i].name;
    return status < 500 ? "INVALID_ARGUMENT" : "INTERNAL";
}

/* {"error":{"code","message","status"}}, with our code among the details. */
static int gemini_error(struct buf *out, unsigned status, const char *code, struct slice message)
{
    size_t before = out->len;
    int r = buf_addf(out, "{\"error\":{\"code\":%u,\"message\":", status);

    if (r == 0)
        r = buf_add_json(out, message);
    if (r == 0)
        r = buf_addf(
            out,
            ",\"status\":\"%s\",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\","
            "\"reason\":\"%s\",\"domain\":\"refrain\"}]}}",
            status_name(status), code);
    if (r < 0)
        out->len = before;
    return r;
}

const struct dialect dialect_generate = {
    .name = "generate",
    .paths = {{SLICE(":generateContent"), STREAM_NEVER}, {SLICE(":streamGenerateContent"), STREAM_ALWAYS}},
    .model_in_path = true,
    .key_in_query = true,
    .canon = CANON,
    .streams = STREAMS(STREAM_SSE) | STREAMS(STREAM_JSON_ARRAY),
    .ends_with_message = true,
    .json = true,
    .finishes = finishes,
    .finishes_n = ARRAY_LEN(finishes),
    .finish_otherwise = FINISH_INCOMPLETE,
    .usages = {OWN_USAGE("usageMetadata")},
    .whole = generate_whole,
    .event = generate_event,
    .error = gemini_error,
};

const struct dialect dialect_embedding_gemini = {
    .name = "embedding",
    .paths = {{SLICE(":embedContent"), STREAM_NEVER}, {SLICE(":batchEmbedContents"), STREAM_NEVER}},
    .model_in_path = true,
    .key_in_query = true,
    .canon = CANON,
    .json = true,
    .usages = {OWN_USAGE("usageMetadata")},
    .whole = embedding_whole,
    .error = gemini_error,
};
