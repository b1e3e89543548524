/* tally: what answers add up to, whole and streamed (SPEC section 5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/wire/sse.h"
#include "refrain/wire/tally.h"

enum { PLAIN, JSON }; /* what the request wanted */

struct want {
    enum tally_fault fault;
    const char *finish; /* "length|stop": texts, the worst first */
    bool empty;
    int64_t in, out;
};

static void check(const char *op, const char *why, const struct tally *t, const struct want *want)
{
    AUTO(buf_done) struct buf finish = BUF_INIT(1000);
    struct tally_result got;

    tally_result(t, &got);
    for (size_t i = 0; i < got.finishes_n; i++)
        assert_int_equal(buf_addf(&finish, "%s%.*s", i ? "|" : "", (int)got.finishes[i].text.len,
                                  got.finishes[i].text.data),
                         0);
    if (got.fault != want->fault || got.empty != want->empty ||
        !slice_eq(buf_slice(&finish), slice_str(want->finish)) || got.tokens_in != want->in ||
        got.tokens_out != want->out)
        fail_msg("%s, %s: fault %d, empty %d, finish %.*s, tokens %d and %d", op, why, (int)got.fault,
                 got.empty, (int)finish.len, finish.data, (int)got.tokens_in, (int)got.tokens_out);
}

struct row {
    const char *why;
    enum operation op;
    enum stream_format format; /* STREAM_NONE: whole */
    int wants;
    struct slice bytes;
    struct want want;
};

#define NOTHING                                                                                              \
    {                                                                                                        \
        TALLY_GOOD, "", false, -1, -1                                                                        \
    }
#define FAULT(f)                                                                                             \
    {                                                                                                        \
        f, "", false, -1, -1                                                                                 \
    }
#define ENDS(f, reason)                                                                                      \
    {                                                                                                        \
        f, reason, false, -1, -1                                                                             \
    }

static void check_whole(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        AUTO(tally_done) struct tally t;

        tally_init(&t, dialect_of(rows[i].op), rows[i].wants == JSON);
        tally_whole(&t, rows[i].bytes);
        check(dialect_of(rows[i].op)->name, rows[i].why, &t, &rows[i].want);
    }
}

static void check_streamed(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t step = 1; step < 4096; step *= 4) {
            AUTO(stream_judge_done) struct stream_judge j;

            stream_judge_init(&j, dialect_of(rows[i].op), rows[i].format, rows[i].wants == JSON);
            for (size_t at = 0; at < rows[i].bytes.len; at += step)
                stream_judge_feed(&j,
                                  slice_make(rows[i].bytes.data + at,
                                             step < rows[i].bytes.len - at ? step : rows[i].bytes.len - at));
            check(dialect_of(rows[i].op)->name, rows[i].why, &j.tally, &rows[i].want);
        }
    }
}

/* -- what it cost -- */

struct cost {
    const char *why;
    enum operation op;
    enum stream_format format; /* STREAM_NONE: whole */
    const char *text;
    int64_t in, out;         /* -1: not told */
    int64_t cached, written; /* 0: none, or not told */
};

static int64_t told(int64_t tokens)
{
    return tokens < 0 ? 0 : tokens;
}

static void check_cost(const struct cost *c)
{
    AUTO(stream_judge_done) struct stream_judge j;
    AUTO(tally_done) struct tally whole;
    const struct tally *t = c->format == STREAM_NONE ? &whole : &j.tally;
    struct tally_result got;

    stream_judge_init(&j, dialect_of(c->op), c->format, false);
    tally_init(&whole, dialect_of(c->op), false);
    if (c->format == STREAM_NONE)
        tally_whole(&whole, slice_str(c->text));
    else
        stream_judge_feed(&j, slice_str(c->text));
    tally_result(t, &got);
    if (got.tokens_in != c->in || got.tokens_out != c->out)
        fail_msg("%s: %lld and %lld", c->why, (long long)got.tokens_in, (long long)got.tokens_out);
    if (told(got.tokens_cached) != c->cached || told(got.tokens_cache_write) != c->written)
        fail_msg("%s: cached %lld, written %lld", c->why, (long long)got.tokens_cached,
                 (long long)got.tokens_cache_write);
}

static void every_api_tells_its_tokens_in_its_own_way(void **state)
{
    static const struct cost costs[] = {
        {"chat", OP_CHAT, STREAM_NONE,
         "{\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9,"
         "\"prompt_tokens_details\":{\"cached_tokens\":5}}}",
         7, 2, 5, 0},
        {"chat, usage null", OP_CHAT, STREAM_NONE, "{\"choices\":[],\"usage\":null}", -1, -1},
        {"chat, streamed without include_usage", OP_CHAT, STREAM_SSE,
         "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: "
         "[DONE]\n\n",
         -1, -1},
        {"chat, streamed with it", OP_CHAT, STREAM_SSE,
         "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n"
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
         7, 2},
        {"chat, told with every piece: the last word holds", OP_CHAT, STREAM_SSE,
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}\n\n"
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n",
         7, 2},
        {"chat, streamed, some of it cached", OP_CHAT, STREAM_SSE,
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,"
         "\"prompt_tokens_details\":{\"cached_tokens\":5,\"audio_tokens\":0}}}\n\ndata: [DONE]\n\n",
         7, 2, 5, 0},
        {"chat, cached tokens that are no number", OP_CHAT, STREAM_NONE,
         "{\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":\"5\"}}"
         "}",
         7, -1},
        {"chat, details that are null", OP_CHAT, STREAM_NONE,
         "{\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"prompt_tokens_details\":null}}", 7, -1},
        {"completion", OP_COMPLETION, STREAM_NONE,
         "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}", 3, 4},
        {"responses", OP_RESPONSES, STREAM_NONE,
         "{\"output\":[],\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":30},"
         "\"output_tokens\":87,\"output_tokens_details\":{\"reasoning_tokens\":80}}}",
         36, 87, 30, 0},
        {"responses, streamed", OP_RESPONSES, STREAM_SSE,
         "event: response.created\ndata: {\"response\":{\"usage\":null}}\n\n"
         "event: response.completed\ndata: "
         "{\"response\":{\"status\":\"completed\",\"usage\":{\"input_tokens\":36,\"output_tokens\":87}}}"
         "\n\n",
         36, 87},
        {"messages, of the cache and for it", OP_MESSAGES, STREAM_NONE,
         "{\"content\":[],\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":20,"
         "\"cache_creation_input_tokens\":300,\"output_tokens\":4}}",
         321, 4, 20, 300},
        {"messages, no cache", OP_MESSAGES, STREAM_NONE,
         "{\"content\":[],\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":null,\"output_tokens\":4}"
         "}",
         1, 4},
        {"messages, streamed: input first, output last", OP_MESSAGES, STREAM_SSE,
         "event: message_start\ndata: "
         "{\"message\":{\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":"
         "20,\"output_tokens\":1}}}\n\n"
         "event: message_delta\ndata: {\"delta\":{},\"usage\":{\"output_tokens\":15}}\n\n",
         21, 15, 20, 0},
        {"messages, streamed: all of it again at the end", OP_MESSAGES, STREAM_SSE,
         "event: message_start\ndata: "
         "{\"message\":{\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":"
         "20,\"output_tokens\":1}}}\n\n"
         "event: message_delta\ndata: "
         "{\"delta\":{},\"usage\":{\"input_tokens\":9,\"cache_read_input_tokens\":"
         "20,\"output_tokens\":15}}\n\n",
         29, 15, 20, 0},
        {"messages, streamed: as if nothing had been cached at the end", OP_MESSAGES, STREAM_SSE,
         "event: message_start\ndata: "
         "{\"message\":{\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":20,"
         "\"cache_creation_input_tokens\":300,\"output_tokens\":1}}}\n\n"
         "event: message_delta\ndata: "
         "{\"delta\":{},\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":0,"
         "\"cache_creation_input_tokens\":0,\"output_tokens\":15}}\n\n",
         321, 15, 20, 300},
        {"messages, streamed: less of it at the end", OP_MESSAGES, STREAM_SSE,
         "event: message_start\ndata: "
         "{\"message\":{\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":"
         "20,\"output_tokens\":1}}}\n\n"
         "event: message_delta\ndata: {\"delta\":{},\"usage\":{\"input_tokens\":0,\"output_tokens\":15}}\n\n",
         21, 15, 20, 0},
        {"generate", OP_GENERATE, STREAM_NONE,
         "{\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":30,"
         "\"toolUsePromptTokenCount\":100,\"totalTokenCount\":137}}",
         105, 32},
        {"generate, some of it cached", OP_GENERATE, STREAM_NONE,
         "{\"usageMetadata\":{\"promptTokenCount\":50,\"cachedContentTokenCount\":40,"
         "\"candidatesTokenCount\":2}}",
         50, 2, 40, 0},
        {"generate, streamed: the last word on the cached ones holds", OP_GENERATE, STREAM_SSE,
         "data: {\"usageMetadata\":{\"promptTokenCount\":50,\"cachedContentTokenCount\":40}}\n\n"
         "data: {\"usageMetadata\":{\"promptTokenCount\":50,\"cachedContentTokenCount\":39}}\n\n",
         50, -1, 39, 0},
        {"generate, thoughts alone", OP_GENERATE, STREAM_NONE,
         "{\"usageMetadata\":{\"promptTokenCount\":5,\"thoughtsTokenCount\":30}}", 5, 30},
        {"generate, streamed: each event tells all so far", OP_GENERATE, STREAM_SSE,
         "data: {\"usageMetadata\":{\"promptTokenCount\":5,\"thoughtsTokenCount\":7}}\n\n"
         "data: "
         "{\"usageMetadata\":{\"promptTokenCount\":5,\"thoughtsTokenCount\":7,\"candidatesTokenCount\":2}}"
         "\n\n",
         5, 9},
        {"generate, a growing list", OP_GENERATE, STREAM_JSON_ARRAY,
         "[{\"usageMetadata\":{\"promptTokenCount\":5}},{\"usageMetadata\":{\"promptTokenCount\":5,"
         "\"candidatesTokenCount\":2}}]",
         5, 2},
        {"ollama", OP_OLLAMA, STREAM_NONE, "{\"done\":true,\"prompt_eval_count\":26,\"eval_count\":298}", 26,
         298},
        {"ollama, streamed", OP_OLLAMA, STREAM_NDJSON,
         "{\"message\":{},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":26,\"eval_count\":298}\n", 26,
         298},
        {"embeddings", OP_EMBEDDING, STREAM_NONE,
         "{\"data\":[],\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}", 8, -1},
        {"Gemini's embeddings", OP_EMBEDDING_GEMINI, STREAM_NONE,
         "{\"embedding\":{},\"usageMetadata\":{\"promptTokenCount\":8}}", 8, -1},
        {"Ollama's embeddings", OP_EMBEDDING_OLLAMA, STREAM_NONE,
         "{\"embeddings\":[],\"prompt_eval_count\":8}", 8, -1},
        {"rerank, as Jina and Voyage", OP_RERANK, STREAM_NONE,
         "{\"results\":[],\"usage\":{\"total_tokens\":7}}", 7, -1},
        {"rerank, as Cohere bills tokens", OP_RERANK, STREAM_NONE,
         "{\"results\":[],\"meta\":{\"billed_units\":{\"input_tokens\":70,\"output_tokens\":1},\"tokens\":{"
         "\"input_tokens\":90}}}",
         70, 1},
        {"rerank, as Cohere bills searches", OP_RERANK, STREAM_NONE,
         "{\"results\":[],\"meta\":{\"billed_units\":{\"search_units\":1}}}", -1, -1},
        {"speech as events", OP_SPEECH, STREAM_SSE,
         "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101}}\n\n",
         14, 101},
        {"moderation tells none", OP_MODERATION, STREAM_NONE, "{\"results\":[{}]}", -1, -1},
        {"less than none is not told", OP_CHAT, STREAM_NONE,
         "{\"choices\":[],\"usage\":{\"prompt_tokens\":-7,\"completion_tokens\":1.5}}", -1, -1},
        {"more than can be is not told", OP_CHAT, STREAM_NONE,
         "{\"choices\":[],\"usage\":{\"prompt_tokens\":99999999999999999999,\"completion_tokens\":\"2\"}}",
         -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(costs); i++)
        check_cost(&costs[i]);
}

static void whole_chats_add_up(void **state)
{
    static const struct row rows[] = {
        {"text",
         OP_CHAT,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":"
               "\"stop\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}"),
         {TALLY_GOOD, "stop", false, 7, 2}},
        {"every choice is judged", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"},{\"message\":{"
               "\"content\":\"b\"},\"finish_reason\":\"length\"},{\"message\":{\"content\":\"c\"},\"finish_"
               "reason\":\"stop\"}]}"),
         ENDS(TALLY_GOOD, "length|stop")},
        {"one choice of two is empty",
         OP_CHAT,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"content\":\"a\"}},{\"message\":{\"content\":\"\"}}]}"),
         {TALLY_GOOD, "", true, -1, -1}},
        {"thinking alone says nothing",
         OP_CHAT,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"content\":null,\"reasoning_content\":\"hm\"}}]}"),
         {TALLY_GOOD, "", true, -1, -1}},
        {"a member that is not known may be the answer", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"content\":null,\"audio\":{\"id\":\"a\"}}}]}"), NOTHING},
        {"content in parts", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}}]}"), NOTHING},
        {"no choices", OP_CHAT, STREAM_NONE, PLAIN, SLICE("{\"choices\":[]}"), FAULT(TALLY_NO_PAYLOAD)},
        {"nothing", OP_CHAT, STREAM_NONE, PLAIN, SLICE("{}"), FAULT(TALLY_NO_PAYLOAD)},
        {"no object", OP_CHAT, STREAM_NONE, PLAIN, SLICE("[]"), FAULT(TALLY_NO_PAYLOAD)},
        {"choices is null", OP_CHAT, STREAM_NONE, PLAIN, SLICE("{\"choices\":null}"),
         FAULT(TALLY_NO_PAYLOAD)},
        {"a choice without a message",
         OP_CHAT,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"choices\":[{\"finish_reason\":null}]}"),
         {TALLY_NO_PAYLOAD, "", true, -1, -1}},
        {"no JSON", OP_CHAT, STREAM_NONE, PLAIN, SLICE("{\"choices\":["), FAULT(TALLY_NOT_JSON)},
        {"a page", OP_CHAT, STREAM_NONE, PLAIN, SLICE("<html>"), FAULT(TALLY_NOT_JSON)},
        {"an error", OP_CHAT, STREAM_NONE, PLAIN, SLICE("{\"error\":{\"message\":\"x\"}}"),
         FAULT(TALLY_ERROR_INSIDE)},
        {"an error beside choices", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"error\":\"x\"}"),
         FAULT(TALLY_ERROR_INSIDE)},
        {"an error that is none", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"error\":\"\"}"), NOTHING},
        {"an error of one choice", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"content\":\"a\"},\"error\":{\"code\":502}}]}"),
         FAULT(TALLY_ERROR_INSIDE)},
        {"what other readers of JSON refuse", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"id\":18446744073709551616,\"x\":1e400,\"a\":1,\"a\":2,\"choices\":[{\"message\":{"
               "\"content\":\"\\u0000\\ud800\"}}]}"),
         NOTHING},

        {"arguments", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE(
             "{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":"
             "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"\\\\u00e9\\\"}\"}}]},"
             "\"finish_reason\":\"tool_calls\"}]}"),
         ENDS(TALLY_GOOD, "tool_calls")},
        {"empty arguments", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"\"}"
               "}]}}]}"),
         NOTHING},
        {"arguments as an object", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]"
               "}}]}"),
         NOTHING},
        {"bad arguments", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{"
               "\\\"a\\\":\"}}]}}]}"),
         FAULT(TALLY_ARGUMENTS)},
        {"bad arguments of the second call", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}"
               "\"}},{\"function\":{\"name\":\"f\",\"arguments\":\"x\"}}]}}]}"),
         FAULT(TALLY_ARGUMENTS)},
        {"text of a custom tool", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"tool_calls\":[{\"type\":\"custom\",\"custom\":{\"name\":\"f\","
               "\"input\":\"not JSON {\"}}]}}]}"),
         NOTHING},
        {"what calls grew out of", OP_CHAT, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"message\":{\"function_call\":{\"name\":\"f\",\"arguments\":\"{\"}}}]}"),
         FAULT(TALLY_ARGUMENTS)},

        {"wanted JSON", OP_CHAT, STREAM_NONE, JSON,
         SLICE("{\"choices\":[{\"message\":{\"content\":\" {\\\"a\\\":1}\\n\"}}]}"), NOTHING},
        {"wanted JSON, got text", OP_CHAT, STREAM_NONE, JSON,
         SLICE("{\"choices\":[{\"message\":{\"content\":\"{\"}}]}"), FAULT(TALLY_WANTED_JSON)},
        {"wanted JSON, one of two is none", OP_CHAT, STREAM_NONE, JSON,
         SLICE("{\"choices\":[{\"message\":{\"content\":\"{}\"}},{\"message\":{\"content\":\"no\"}}]}"),
         FAULT(TALLY_WANTED_JSON)},
        {"a refusal need not be JSON", OP_CHAT, STREAM_NONE, JSON,
         SLICE("{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"},\"finish_reason\":\"stop\"}]"
               "}"),
         ENDS(TALLY_GOOD, "refusal|stop")},
        {"nor does what is said beside a call", OP_CHAT, STREAM_NONE, JSON,
         SLICE("{\"choices\":[{\"message\":{\"content\":\"I look\",\"tool_calls\":[{\"function\":{\"name\":"
               "\"f\",\"arguments\":\"{}\"}}]}}]}"),
         NOTHING},

        {"a completion", OP_COMPLETION, STREAM_NONE, PLAIN,
         SLICE("{\"choices\":[{\"text\":\"a\",\"finish_reason\":\"length\"}]}"), ENDS(TALLY_GOOD, "length")},
        {"a completion that says nothing",
         OP_COMPLETION,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"choices\":[{\"text\":\"\"}]}"),
         {TALLY_GOOD, "", true, -1, -1}},
    };

    (void)state;
    check_whole(rows, ARRAY_LEN(rows));
}

#define CHUNK(choice) "data: {\"choices\":[" choice "]}\n\n"
#define DONE          "data: [DONE]\n\n"

static void streamed_chats_add_up(void **state)
{
    static const struct row rows[] = {
        {"text",
         OP_CHAT,
         STREAM_SSE,
         PLAIN,
         SLICE(CHUNK("{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}")
                   CHUNK("{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}") CHUNK(
                       "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}") "data: "
                                                                                "{\"choices\":[],\"usage\":{"
                                                                                "\"prompt_tokens\":5,"
                                                                                "\"completion_tokens\":1}}"
                                                                                "\n\n" DONE),
         {TALLY_GOOD, "stop", false, 5, 1}},
        {"nothing but the end", OP_CHAT, STREAM_SSE, PLAIN, SLICE(DONE), FAULT(TALLY_NO_PAYLOAD)},
        {"no word",
         OP_CHAT,
         STREAM_SSE,
         PLAIN,
         SLICE(CHUNK("{\"delta\":{\"role\":\"assistant\"}}") DONE),
         {TALLY_GOOD, "", true, -1, -1}},
        {"no word of the second choice",
         OP_CHAT,
         STREAM_SSE,
         PLAIN,
         SLICE(CHUNK("{\"index\":0,\"delta\":{\"content\":\"a\"}}") CHUNK("{\"index\":1,\"delta\":{}}") DONE),
         {TALLY_GOOD, "", true, -1, -1}},
        {"an event that is no JSON", OP_CHAT, STREAM_SSE, PLAIN,
         SLICE(CHUNK("{\"delta\":{\"content\":\"a\"}}") "data: {\"choices\"\n\n" DONE),
         FAULT(TALLY_NOT_JSON)},
        {"a blank event", OP_CHAT, STREAM_SSE, PLAIN,
         SLICE(CHUNK("{\"delta\":{\"content\":\"a\"}}") "data: \n\n" DONE), NOTHING},
        {"an error", OP_CHAT, STREAM_SSE, PLAIN,
         SLICE(CHUNK("{\"delta\":{\"content\":\"a\"}}") "data: {\"error\":{}}\n\n"),
         FAULT(TALLY_ERROR_INSIDE)},
        {"arguments in pieces", OP_CHAT, STREAM_SSE, PLAIN,
         SLICE(
             CHUNK("{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                   "\"arguments\":\"\"}}]}}")
                 CHUNK("{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\"}}]}}")
                     CHUNK(
                         "{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\":1}\"}}"
                         "]},\"finish_reason\":\"tool_calls\"}") DONE),
         ENDS(TALLY_GOOD, "tool_calls")},
        {"two calls in turns", OP_CHAT, STREAM_SSE, PLAIN,
         SLICE(CHUNK(
             "{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
             "\"arguments\":\"[\"}},{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":"
             "\"{\"}}]}}")
                   CHUNK("{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"]\"}},{"
                         "\"index\":1,\"function\":{\"arguments\":\"}\"}}]}}") DONE),
         NOTHING},
        {"bad arguments", OP_CHAT, STREAM_SSE, PLAIN,
         SLICE(CHUNK("{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                     "\"arguments\":\"{\\\"a\"}}]}}") DONE),
         FAULT(TALLY_ARGUMENTS)},
        {"parallel calls under one index", OP_CHAT, STREAM_SSE, PLAIN,
         SLICE(CHUNK("{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                     "\"arguments\":\"{}\"}}]}}")
                   CHUNK("{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"f\","
                         "\"arguments\":\"{}\"}}]}}") DONE),
         NOTHING},
        {"an id for each piece", OP_CHAT, STREAM_SSE, PLAIN,
         SLICE(CHUNK("{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                     "\"arguments\":\"{\"}}]}}")
                   CHUNK("{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"arguments\":"
                         "\"}\"}}]}}") DONE),
         NOTHING},
        {"wanted JSON, in pieces", OP_CHAT, STREAM_SSE, JSON,
         SLICE(CHUNK("{\"delta\":{\"content\":\"{\\\"a\\\":\\\"\\ud83d\"}}") CHUNK(
             "{\"delta\":{\"content\":\"\\ude00\\\"\"}}") CHUNK("{\"delta\":{\"content\":\"}\"}}") DONE),
         NOTHING},
        {"the message so far beside each piece", OP_CHAT, STREAM_SSE, JSON,
         SLICE(CHUNK("{\"message\":{\"content\":\"[\"},\"delta\":{\"content\":\"[\"}}")
                   CHUNK("{\"message\":{\"content\":\"[]\"},\"delta\":{\"content\":\"]\"}}") DONE),
         NOTHING},
        {"wanted JSON, cut", OP_CHAT, STREAM_SSE, JSON,
         SLICE(CHUNK("{\"delta\":{\"content\":\"{\\\"a\\\":\"}}")
                   CHUNK("{\"delta\":{},\"finish_reason\":\"length\"}") DONE),
         ENDS(TALLY_WANTED_JSON, "length")},
        {"wanted JSON of two choices in turns", OP_CHAT, STREAM_SSE, JSON,
         SLICE(CHUNK("{\"index\":0,\"delta\":{\"content\":\"[\"}},{\"index\":1,\"delta\":{\"content\":\"{\"}"
                     "}") CHUNK("{\"index\":1,\"delta\":{\"content\":\"}\"}},{\"index\":0,\"delta\":{"
                                "\"content\":\"]\"}}") DONE),
         NOTHING},
        {"a completion", OP_COMPLETION, STREAM_SSE, PLAIN,
         SLICE(CHUNK("{\"index\":0,\"text\":\"a\"}")
                   CHUNK("{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}") DONE),
         ENDS(TALLY_GOOD, "stop")},
    };

    (void)state;
    check_streamed(rows, ARRAY_LEN(rows));
}

static void whole_answers_of_the_others_add_up(void **state)
{
    static const struct row rows[] = {
        {"a response",
         OP_RESPONSES,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"status\":\"completed\",\"error\":null,\"output\":[{\"type\":\"reasoning\"},{\"type\":"
               "\"message\","
               "\"content\":[{\"type\":\"output_text\",\"text\":\"hi\"}]}],\"usage\":{\"input_tokens\":3,"
               "\"output_"
               "tokens\":4}}"),
         {TALLY_GOOD, "completed", false, 3, 4}},
        {"incomplete", OP_RESPONSES, STREAM_NONE, PLAIN,
         SLICE("{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},"
               "\"output\":[{"
               "\"type\":\"message\",\"content\":[{\"text\":\"h\"}]}]}"),
         ENDS(TALLY_GOOD, "max_output_tokens")},
        {"incomplete for no reason", OP_RESPONSES, STREAM_NONE, PLAIN,
         SLICE("{\"status\":\"incomplete\",\"output\":[{\"type\":\"x\"}]}"), ENDS(TALLY_GOOD, "incomplete")},
        {"still queued", OP_RESPONSES, STREAM_NONE, PLAIN,
         SLICE("{\"status\":\"queued\",\"output\":[{\"type\":\"x\"}]}"), ENDS(TALLY_GOOD, "queued")},
        {"failed",
         OP_RESPONSES,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"status\":\"failed\",\"error\":{\"code\":\"server_error\"},\"output\":[]}"),
         {TALLY_ERROR_INSIDE, "failed", true, -1, -1}},
        {"a call", OP_RESPONSES, STREAM_NONE, PLAIN,
         SLICE("{\"output\":[{\"type\":\"function_call\",\"arguments\":\"{\\\"a\\\":\"}]}"),
         FAULT(TALLY_ARGUMENTS)},
        {"text of a custom tool", OP_RESPONSES, STREAM_NONE, PLAIN,
         SLICE("{\"output\":[{\"type\":\"custom_tool_call\",\"input\":\"{\"}]}"), NOTHING},
        {"thinking alone",
         OP_RESPONSES,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"output\":[{\"type\":\"reasoning\"}]}"),
         {TALLY_GOOD, "", true, -1, -1}},
        {"no output", OP_RESPONSES, STREAM_NONE, PLAIN, SLICE("{\"status\":\"completed\"}"),
         ENDS(TALLY_NO_PAYLOAD, "completed")},
        {"a remark before the answer", OP_RESPONSES, STREAM_NONE, JSON,
         SLICE("{\"output\":[{\"type\":\"message\",\"content\":[{\"text\":\"Let me "
               "see\"}]},{\"type\":\"message\","
               "\"content\":[{\"text\":\"{}\"}]}]}"),
         NOTHING},

        {"a message",
         OP_MESSAGES,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":"
               "\"end_turn\","
               "\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":20,\"cache_creation_input_tokens\":"
               "300,"
               "\"output_tokens\":4}}"),
         {TALLY_GOOD, "end_turn", false, 321, 4}},
        {"a tool is called", OP_MESSAGES, STREAM_NONE, PLAIN,
         SLICE("{\"content\":[{\"type\":\"tool_use\",\"input\":{}}],\"stop_reason\":\"tool_use\"}"),
         ENDS(TALLY_GOOD, "tool_use")},
        {"too long", OP_MESSAGES, STREAM_NONE, PLAIN,
         SLICE("{\"content\":[{\"type\":\"text\",\"text\":\"h\"}],\"stop_reason\":\"max_tokens\"}"),
         ENDS(TALLY_GOOD, "max_tokens")},
        {"an error", OP_MESSAGES, STREAM_NONE, PLAIN,
         SLICE("{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}"), FAULT(TALLY_ERROR_INSIDE)},
        {"blocks that are not known", OP_MESSAGES, STREAM_NONE, PLAIN,
         SLICE("{\"content\":[{\"type\":\"thinking\",\"thinking\":\"h\"},{\"type\":\"new\"}]}"), NOTHING},

        {"Gemini",
         OP_GENERATE,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"candidates\":[{\"content\":{\"parts\":[{\"thought\":true,\"text\":\"hm\"},{\"text\":"
               "\"hi\"}]},"
               "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":5,"
               "\"candidatesTokenCount\":6,"
               "\"thoughtsTokenCount\":70}}"),
         {TALLY_GOOD, "STOP", false, 5, 76}},
        {"Gemini thinks alone",
         OP_GENERATE,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"candidates\":[{\"content\":{\"parts\":[{\"thought\":true,\"text\":\"hm\"},{\"text\":\"\","
               "\"thoughtSignature\":\"x\"}]},\"finishReason\":\"STOP\"}]}"),
         {TALLY_GOOD, "STOP", true, -1, -1}},
        {"Gemini calls", OP_GENERATE, STREAM_NONE, JSON,
         SLICE(
             "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"so\"},{\"functionCall\":{\"name\":\"f\","
             "\"args\":{}}}]},\"finishReason\":\"STOP\"}]}"),
         ENDS(TALLY_GOOD, "STOP")},
        {"Gemini draws", OP_GENERATE, STREAM_NONE, PLAIN,
         SLICE("{\"candidates\":[{\"content\":{\"parts\":[{\"inlineData\":{\"data\":\"AA\"}}]},"
               "\"finishReason\":"
               "\"STOP\"}]}"),
         ENDS(TALLY_GOOD, "STOP")},
        {"one of two candidates",
         OP_GENERATE,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"},{"
               "\"finishReason\":\"SAFETY\"}]}"),
         {TALLY_GOOD, "SAFETY|STOP", true, -1, -1}},
        {"a reason not heard of", OP_GENERATE, STREAM_NONE, PLAIN,
         SLICE("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"NEW\"}]}"),
         ENDS(TALLY_GOOD, "NEW")},
        {"no reason", OP_GENERATE, STREAM_NONE, PLAIN,
         SLICE("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}"),
         ENDS(TALLY_GOOD, "no finishReason")},
        {"a blocked prompt", OP_GENERATE, STREAM_NONE, PLAIN,
         SLICE("{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},\"usageMetadata\":{}}"),
         ENDS(TALLY_GOOD, "PROHIBITED_CONTENT")},
        {"nothing of Gemini's", OP_GENERATE, STREAM_NONE, PLAIN, SLICE("{\"usageMetadata\":{}}"),
         FAULT(TALLY_NO_PAYLOAD)},

        {"Ollama",
         OP_OLLAMA,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"done\":true,\"done_reason\":"
               "\"stop\","
               "\"prompt_eval_count\":8,\"eval_count\":9}"),
         {TALLY_GOOD, "stop", false, 8, 9}},
        {"Ollama, generate", OP_OLLAMA, STREAM_NONE, JSON, SLICE("{\"response\":\"[]\",\"done\":true}"),
         NOTHING},
        {"Ollama, prose for JSON", OP_OLLAMA, STREAM_NONE, JSON, SLICE("{\"response\":\"no\",\"done\":true}"),
         FAULT(TALLY_WANTED_JSON)},
        {"a model was loaded",
         OP_OLLAMA,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}"),
         {TALLY_GOOD, "load", true, -1, -1}},
        {"Ollama, not done", OP_OLLAMA, STREAM_NONE, PLAIN, SLICE("{\"response\":\"a\",\"done\":false}"),
         ENDS(TALLY_GOOD, "not done")},
        {"Ollama calls", OP_OLLAMA, STREAM_NONE, PLAIN,
         SLICE("{\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}"
               "}}]},"
               "\"done\":true}"),
         NOTHING},
        {"Ollama, an error", OP_OLLAMA, STREAM_NONE, PLAIN, SLICE("{\"error\":\"x\"}"),
         FAULT(TALLY_ERROR_INSIDE)},

        {"vectors",
         OP_EMBEDDING,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"data\":[{\"embedding\":[1]},{\"embedding\":\"AAAA\"}],\"usage\":{\"prompt_tokens\":2}}"),
         {TALLY_GOOD, "", false, 2, -1}},
        {"one vector is empty", OP_EMBEDDING, STREAM_NONE, PLAIN,
         SLICE("{\"data\":[{\"embedding\":[1]},{\"embedding\":\"\"}]}"), FAULT(TALLY_NO_PAYLOAD)},
        {"no vectors", OP_EMBEDDING, STREAM_NONE, PLAIN, SLICE("{\"data\":[]}"), FAULT(TALLY_NO_PAYLOAD)},
        {"a vector of Gemini's", OP_EMBEDDING_GEMINI, STREAM_NONE, PLAIN,
         SLICE("{\"embedding\":{\"values\":[1]}}"), NOTHING},
        {"vectors of Gemini's", OP_EMBEDDING_GEMINI, STREAM_NONE, PLAIN,
         SLICE("{\"embeddings\":[{\"values\":[1]},{\"values\":[]}]}"), FAULT(TALLY_NO_PAYLOAD)},
        {"vectors of Ollama's", OP_EMBEDDING_OLLAMA, STREAM_NONE, PLAIN, SLICE("{\"embeddings\":[[1],[2]]}"),
         NOTHING},
        {"no vectors of Ollama's", OP_EMBEDDING_OLLAMA, STREAM_NONE, PLAIN, SLICE("{\"embeddings\":[]}"),
         FAULT(TALLY_NO_PAYLOAD)},
        {"a vector of the older kind", OP_EMBEDDING_OLLAMA, STREAM_NONE, PLAIN,
         SLICE("{\"embedding\":[0.5]}"), NOTHING},
        {"a moderation", OP_MODERATION, STREAM_NONE, PLAIN, SLICE("{\"results\":[{\"flagged\":false}]}"),
         NOTHING},
        {"no moderation", OP_MODERATION, STREAM_NONE, PLAIN, SLICE("{\"results\":[]}"),
         FAULT(TALLY_NO_PAYLOAD)},
        {"ranks", OP_RERANK, STREAM_NONE, PLAIN, SLICE("{\"results\":[{\"index\":0}]}"), NOTHING},
        {"ranks as data",
         OP_RERANK,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"data\":[{\"index\":0}],\"usage\":{\"total_tokens\":7}}"),
         {TALLY_GOOD, "", false, 7, -1}},
        {"ranks as a list", OP_RERANK, STREAM_NONE, PLAIN, SLICE("[{\"index\":0,\"score\":1}]"), NOTHING},
        {"nothing above the threshold",
         OP_RERANK,
         STREAM_NONE,
         PLAIN,
         SLICE("{\"results\":[]}"),
         {TALLY_GOOD, "", true, -1, -1}},
        {"no ranks", OP_RERANK, STREAM_NONE, PLAIN, SLICE("{}"), {TALLY_NO_PAYLOAD, "", true, -1, -1}},
        {"sound", OP_SPEECH, STREAM_NONE, PLAIN, SLICE("\xFF\xFB"), NOTHING},
        {"no sound", OP_SPEECH, STREAM_NONE, PLAIN, SLICE(""), FAULT(TALLY_NO_PAYLOAD)},
        {"of what is the operator's own nothing is promised", OP_PLAIN, STREAM_NONE, PLAIN, SLICE("{}"),
         NOTHING},
        {"but an error is one", OP_PLAIN, STREAM_NONE, PLAIN, SLICE("{\"error\":{}}"),
         FAULT(TALLY_ERROR_INSIDE)},
    };

    (void)state;
    check_whole(rows, ARRAY_LEN(rows));
}

#define NAMED(name, data) "event: " name "\ndata: " data "\n\n"

static void streams_of_the_others_add_up(void **state)
{
    static const struct row rows[] = {
        {"a response",
         OP_RESPONSES,
         STREAM_SSE,
         JSON,
         SLICE(
             NAMED("response.output_item.added", "{\"output_index\":0}") NAMED("response.output_text.delta",
                                                                               "{\"delta\":\"[\"}")
                 NAMED("response.output_text.delta", "{\"delta\":\"1]\"}") NAMED(
                     "response.output_item.done",
                     "{\"item\":{\"type\":\"message\",\"content\":[{\"text\":\"[1]\"}]}}")
                     NAMED(
                         "response.completed",
                         "{\"response\":{\"status\":\"completed\",\"output\":[{\"type\":\"message\","
                         "\"content\":[{\"text\":\"[1]\"}]}],\"usage\":{\"input_tokens\":1,\"output_tokens\":"
                         "2}}}")),
         {TALLY_GOOD, "completed", false, 1, 2}},
        {"pieces alone, nothing repeated", OP_RESPONSES, STREAM_SSE, JSON,
         SLICE(NAMED("response.output_text.delta", "{\"delta\":\"[\"}")
                   NAMED("response.completed", "{\"response\":{\"output\":[]}}")),
         FAULT(TALLY_WANTED_JSON)},
        {"arguments in pieces", OP_RESPONSES, STREAM_SSE, PLAIN,
         SLICE(NAMED("response.function_call_arguments.delta", "{\"output_index\":1,\"delta\":\"{\"}")
                   NAMED("response.function_call_arguments.delta", "{\"output_index\":1,\"delta\":\"}\"}")
                       NAMED("response.completed", "{\"response\":{\"output\":[]}}")),
         NOTHING},
        {"bad arguments in pieces", OP_RESPONSES, STREAM_SSE, PLAIN,
         SLICE(NAMED("response.function_call_arguments.delta", "{\"output_index\":1,\"delta\":\"{\"}")
                   NAMED("response.completed", "{\"response\":{\"output\":[]}}")),
         FAULT(TALLY_ARGUMENTS)},
        {"a response that failed",
         OP_RESPONSES,
         STREAM_SSE,
         PLAIN,
         SLICE(NAMED("response.failed", "{\"response\":{}}")),
         {TALLY_ERROR_INSIDE, "", false, -1, -1}},

        {"a message",
         OP_MESSAGES,
         STREAM_SSE,
         PLAIN,
         SLICE(NAMED("message_start",
                     "{\"message\":{\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}")
                   NAMED("content_block_start",
                         "{\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}") NAMED("ping",
                                                                                                    "{}")
                       NAMED("content_block_delta", "{\"index\":0,\"delta\":{\"text\":\"a\"}}") NAMED(
                           "message_delta", "{\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_"
                                            "tokens\":5}}") NAMED("message_stop", "{}")),
         {TALLY_GOOD, "end_turn", false, 9, 5}},
        {"a tool of a message", OP_MESSAGES, STREAM_SSE, PLAIN,
         SLICE(NAMED("message_start", "{\"message\":{\"content\":[]}}") NAMED(
             "content_block_start", "{\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"input\":{}}}")
                   NAMED("content_block_delta", "{\"index\":1,\"delta\":{\"partial_json\":\"\"}}")
                       NAMED("content_block_delta", "{\"index\":1,\"delta\":{\"partial_json\":\"{\\\"a\"}}")
                           NAMED("message_stop", "{}")),
         FAULT(TALLY_ARGUMENTS)},
        {"a message without a word", OP_MESSAGES, STREAM_SSE, PLAIN,
         SLICE(NAMED("message_start", "{\"message\":{\"content\":[]}}") NAMED(
             "message_delta", "{\"delta\":{\"stop_reason\":\"end_turn\"}}") NAMED("message_stop", "{}")),
         ENDS(TALLY_NO_PAYLOAD, "end_turn")},

        {"Gemini",
         OP_GENERATE,
         STREAM_SSE,
         JSON,
         SLICE("data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"{\"}]}}],\"usageMetadata\":{"
               "\"promptTokenCount\":4}}\r\n\r\ndata: "
               "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"}\"}]},"
               "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":4,"
               "\"candidatesTokenCount\":2}}"
               "\r\n\r\n"),
         {TALLY_GOOD, "STOP", false, 4, 2}},
        {"an array of Gemini's", OP_GENERATE, STREAM_JSON_ARRAY, PLAIN,
         SLICE("[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n,\r\n{\"candidates\":[{"
               "\"finishReason\":\"MAX_TOKENS\"}]}\n]\n"),
         ENDS(TALLY_GOOD, "MAX_TOKENS")},
        {"lines of Ollama's",
         OP_OLLAMA,
         STREAM_NDJSON,
         JSON,
         SLICE("{\"response\":\"[\",\"done\":false}\n{\"response\":\"]\",\"done\":false}\n{\"response\":\"\","
               "\"done\":"
               "true,\"done_reason\":\"stop\",\"prompt_eval_count\":1,\"eval_count\":2}\n"),
         {TALLY_GOOD, "stop", false, 1, 2}},
        {"an error of Ollama's", OP_OLLAMA, STREAM_NDJSON, PLAIN,
         SLICE("{\"response\":\"a\",\"done\":false}\n{\"error\":\"an error was encountered\"}\n"),
         FAULT(TALLY_ERROR_INSIDE)},
        {"sound", OP_SPEECH, STREAM_BYTES, PLAIN, SLICE("\xFF\xFB"), NOTHING},
        {"sound in events",
         OP_SPEECH,
         STREAM_SSE,
         PLAIN,
         SLICE("data: {\"type\":\"speech.audio.delta\",\"audio\":\"AA\"}\n\ndata: "
               "{\"type\":\"speech.audio.done\","
               "\"usage\":{\"input_tokens\":6,\"output_tokens\":7}}\n\n"),
         {TALLY_GOOD, "", false, 6, 7}},
    };

    (void)state;
    check_streamed(rows, ARRAY_LEN(rows));
}

/* So many choices that no list of them is kept. */
static void a_stream_of_too_many_choices_is_not_followed(void **state)
{
    AUTO(tally_done) struct tally t;
    struct tally_result got;
    char event[100];

    (void)state;
    tally_init(&t, dialect_of(OP_CHAT), false);
    for (int i = 0; i < TALLY_PARTS_MAX + 1; i++) {
        int n =
            snprintf(event, sizeof(event), "{\"choices\":[{\"index\":%d,\"delta\":{\"content\":\"a\"}}]}", i);

        tally_result(&t, &got);
        assert_int_equal(got.fault == TALLY_MEMORY, false);
        assert_int_equal(tally_event(&t, SLICE_OF(""), slice_make(event, (size_t)n)), EVENT_MORE);
    }
    tally_result(&t, &got);
    assert_int_equal(got.fault, TALLY_MEMORY);
    assert_true(t.parts_n <= TALLY_PARTS_MAX);
}

static void an_event_too_long_to_look_at_is_lost_not_broken(void **state)
{
    AUTO(stream_judge_done) struct stream_judge j;
    static const size_t step = 1 << 16;
    struct tally_result got;
    char *part = malloc(step);

    (void)state;
    assert_non_null(part);
    memset(part, 'a', step);
    stream_judge_init(&j, dialect_of(OP_CHAT), STREAM_SSE, false);
    stream_judge_feed(&j, SLICE_OF("data: {\"choices\":[{\"delta\":{\"content\":\""));
    for (size_t at = 0; at <= SSE_EVENT_BYTES_MAX; at += step)
        stream_judge_feed(&j, slice_make(part, step));
    stream_judge_feed(&j, SLICE_OF("\"}}]}\n\n" DONE));
    free(part);
    tally_result(&j.tally, &got);
    assert_int_equal(got.fault, TALLY_MEMORY);
    assert_true(stream_judge_whole(&j));
}

static void a_stream_is_finished_when_each_choice_has_said_how_it_ended(void **state)
{
#define ENDED(i) CHUNK("{\"index\":" #i ",\"delta\":{},\"finish_reason\":\"stop\"}")
#define SAYS(i)  CHUNK("{\"index\":" #i ",\"delta\":{\"content\":\"a\"},\"finish_reason\":null}")
#define MESSAGE                                                                                              \
    "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n"
    static const struct {
        const char *why;
        enum operation op;
        struct slice bytes;
        bool want;
    } cases[] = {
        {"one that did", OP_CHAT, SLICE(SAYS(0) ENDED(0) DONE), true},
        {"what follows changes nothing", OP_CHAT, SLICE(ENDED(0) SAYS(0) DONE), true},
        {"one that did not", OP_CHAT, SLICE(SAYS(0) DONE), false},
        {"one of two", OP_CHAT, SLICE(SAYS(0) SAYS(1) ENDED(1) DONE), false},
        {"both", OP_CHAT, SLICE(SAYS(0) SAYS(1) ENDED(1) ENDED(0) DONE), true},
        {"a message", OP_MESSAGES,
         SLICE(MESSAGE "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n"),
         true},
        {"a message without a reason", OP_MESSAGES,
         SLICE(MESSAGE "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null}}\n\n"), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(stream_judge_done) struct stream_judge j;
        struct tally_result got;

        stream_judge_init(&j, dialect_of(cases[i].op), STREAM_SSE, false);
        stream_judge_feed(&j, cases[i].bytes);
        tally_result(&j.tally, &got);
        if (got.finished != cases[i].want)
            fail_msg("%s: finished %d", cases[i].why, got.finished);
    }
}

static void an_answer_of_many_choices_is_judged_to_the_last(void **state)
{
    AUTO(buf_done) struct buf body = BUF_INIT(1 << 20);
    AUTO(tally_done) struct tally t;
    struct tally_result got;

    (void)state;
    assert_int_equal(buf_addf(&body, "{\"choices\":["), 0);
    for (int i = 0; i < 3 * TALLY_PARTS_MAX; i++)
        assert_int_equal(buf_addf(&body, "{\"message\":{\"content\":\"{}\"}},"), 0);
    assert_int_equal(buf_addf(&body, "{\"message\":{\"content\":\"no\"}}]}"), 0);
    tally_init(&t, dialect_of(OP_CHAT), true);
    tally_whole(&t, buf_slice(&body));
    tally_result(&t, &got);
    assert_int_equal(got.fault, TALLY_WANTED_JSON);
}

static void tally_whole_with(struct tally *t, char reason)
{
    char body[100];
    int n = snprintf(body, sizeof(body), "{\"choices\":[{\"text\":\"a\",\"finish_reason\":\"%c\"}]}", reason);

    tally_whole(t, slice_make(body, (size_t)n));
}

static void many_different_endings_are_not_followed(void **state)
{
    AUTO(buf_done) struct buf body = BUF_INIT(1 << 20);
    AUTO(tally_done) struct tally t;
    struct tally_result got;

    (void)state;
    assert_int_equal(buf_addf(&body, "{\"choices\":["), 0);
    for (int i = 0; i <= TALLY_FINISHES_MAX; i++)
        assert_int_equal(buf_addf(&body, "%s{\"text\":\"a\",\"finish_reason\":\"%0100d\"}", i ? "," : "", i),
                         0);
    assert_int_equal(buf_addf(&body, "]}"), 0);
    tally_init(&t, dialect_of(OP_COMPLETION), false);
    tally_whole(&t, buf_slice(&body));
    tally_result(&t, &got);
    assert_int_equal(got.fault, TALLY_GOOD); /* their heads are the same */
    assert_int_equal(got.finishes_n, 1);
    assert_int_equal(got.finishes[0].text.len, TALLY_FINISH_TEXT_MAX);
    for (char c = 'a'; c <= 'a' + TALLY_FINISHES_MAX; c++)
        tally_whole_with(&t, c);
    tally_result(&t, &got);
    assert_int_equal(got.fault, TALLY_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_api_tells_its_tokens_in_its_own_way),
        cmocka_unit_test(whole_chats_add_up),
        cmocka_unit_test(streamed_chats_add_up),
        cmocka_unit_test(whole_answers_of_the_others_add_up),
        cmocka_unit_test(streams_of_the_others_add_up),
        cmocka_unit_test(a_stream_of_too_many_choices_is_not_followed),
        cmocka_unit_test(an_event_too_long_to_look_at_is_lost_not_broken),
        cmocka_unit_test(a_stream_is_finished_when_each_choice_has_said_how_it_ended),
        cmocka_unit_test(an_answer_of_many_choices_is_judged_to_the_last),
        cmocka_unit_test(many_different_endings_are_not_followed),
    };

    return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
