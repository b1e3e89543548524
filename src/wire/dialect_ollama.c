/*
 * Ollama's own API: chat, generate, embeddings. https://github.com/ollama/ollama/blob/main/docs/api.md
 *
 * Streams unless told otherwise, as lines of JSON of which the last says `"done":true`. A request without a
 * prompt loads or unloads a model: `done_reason` says so, and that is no answer to keep. `context` is a
 * conversation as numbers, sent back and forth: nothing is kept at the server.
 */
#include "dialect_priv.h"
#include "refrain/base/attr.h"
#include "tally_priv.h"

static const struct slice ignored[] = {SLICE("keep_alive")}; /* how long the model stays loaded */

/* JSON schemas: the model answers in their order. */
static const struct slice ordered[] = {SLICE("tools"), SLICE("format")};

static const struct finish_name finishes[] = {
    {SLICE("length"), FINISH_LENGTH},     {SLICE("load"), FINISH_INCOMPLETE},
    {SLICE("unload"), FINISH_INCOMPLETE}, {SLICE("connection_closed"), FINISH_INCOMPLETE},
    {SLICE("error"), FINISH_ERROR},
};

static void take_calls(struct tally *t, struct jscan_value calls)
{
    struct jscan_walk w = jscan_walk(calls);
    struct jscan_item call;

    while (jscan_next(&w, &call))
        tally_arguments(t, tally_choice(t, 0),
                        jscan_get(jscan_get(call.value, SLICE_OF("function")), SLICE_OF("arguments")));
}

/* A message of chat, or the answer of generate, which has the same members beside its text. */
static void take_answer(struct tally *t, struct jscan_value answer, struct slice text)
{
    struct tally_part *part = tally_choice(t, 0);

    tally_payload(t);
    tally_add(part, jscan_get(answer, text));
    take_calls(t, jscan_get(answer, SLICE_OF("tool_calls")));
    if (!jscan_is_empty(jscan_get(answer, SLICE_OF("images"))) ||
        !jscan_is_empty(jscan_get(answer, SLICE_OF("image"))))
        tally_say(part);
}

static bool is_done(struct jscan_value root)
{
    struct jscan_value done = jscan_get(root, SLICE_OF("done"));

    return done.kind == JSCAN_BOOL && done.text.data[0] == 't';
}

static void take_line(struct tally *t, struct jscan_value root)
{
    struct jscan_value message = jscan_get(root, SLICE_OF("message"));

    if (message.kind == JSCAN_OBJECT)
        take_answer(t, message, SLICE_OF("content"));
    else if (jscan_get(root, SLICE_OF("response")).kind == JSCAN_STRING)
        take_answer(t, root, SLICE_OF("response"));
    tally_finish(t, jscan_get(root, SLICE_OF("done_reason")));
    tally_tokens(t, jscan_count(jscan_get(root, SLICE_OF("prompt_eval_count")), -1),
                 jscan_count(jscan_get(root, SLICE_OF("eval_count")), -1));
}

static void ollama_whole(struct tally *t, struct slice body)
{
    struct jscan_value root = jscan_root(body);

    take_line(t, root);
    if (t->has_payload && !is_done(root))
        tally_finish_as(t, FINISH_INCOMPLETE, SLICE_OF("not done"));
}

static enum event_meaning ollama_event(struct tally *t, struct slice event, struct slice data)
{
    struct jscan_value root = jscan_root(data);

    (void)event;
    take_line(t, root);
    return is_done(root) ? EVENT_LAST : EVENT_MORE;
}

/* `embeddings` of /api/embed, `embedding` of what it replaced. */
static void embedding_whole(struct tally *t, struct slice body)
{
    struct jscan_value root = jscan_root(body);
    struct jscan_walk w = jscan_walk(jscan_get(root, SLICE_OF("embeddings")));
    struct jscan_item vector;

    if (!jscan_is_empty(jscan_get(root, SLICE_OF("embedding"))))
        tally_payload(t);
    while (jscan_next(&w, &vector)) {
        tally_payload(t);
        if (jscan_is_empty(vector.value))
            tally_fault(t, TALLY_NO_PAYLOAD);
    }
    tally_tokens(t, jscan_count(jscan_get(root, SLICE_OF("prompt_eval_count")), -1), -1);
}

/* {"error":"text"}, with our code beside it. */
static int ollama_error(struct buf *out, unsigned status, const char *code, struct slice message)
{
    size_t before = out->len;
    int r = buf_addf(out, "{\"error\":");

    (void)status;
    if (r == 0)
        r = buf_add_json(out, message);
    if (r == 0)
        r = buf_addf(out, ",\"code\":\"%s\"}", code);
    if (r < 0)
        out->len = before;
    return r;
}

const struct dialect dialect_ollama = {
    .name = "ollama",
    .paths = {{SLICE("/api/chat")}, {SLICE("/api/generate")}},
    .canon = {.ignored = ignored,
              .ignored_n = ARRAY_LEN(ignored),
              .ordered = ordered,
              .ordered_n = ARRAY_LEN(ordered),
              .drop_nulls = true,
              .stream_is_default = true,
              .stream_default_dropped = true},
    .streams = STREAMS(STREAM_NDJSON),
    .json = true,
    .finishes = finishes,
    .finishes_n = ARRAY_LEN(finishes),
    .usages = {OWN_USAGE("prompt_eval_count"), OWN_USAGE("eval_count")},
    .whole = ollama_whole,
    .event = ollama_event,
    .error = ollama_error,
};

const struct dialect dialect_embedding_ollama = {
    .name = "embedding",
    .paths = {{SLICE("/api/embed"), STREAM_NEVER}, {SLICE("/api/embeddings"), STREAM_NEVER}},
    .canon = {.ignored = ignored, .ignored_n = ARRAY_LEN(ignored), .drop_nulls = true},
    .json = true,
    .usages = {OWN_USAGE("prompt_eval_count")},
    .whole = embedding_whole,
    .error = ollama_error,
};
