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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_chats_add_up),
        cmocka_unit_test(streamed_chats_add_up),
    };

    return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
