/* usage: which numbers become nothing, that all else stays where it is, and that cuts make no difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"
#include "refrain/wire/usage.h"

struct row {
    const char *why;
    enum operation op;
    enum stream_format format;
    const char *text, *want; /* NULL: stays as it is */
};

static void zero_in_steps(const struct row *row, size_t step, char *out)
{
    size_t n = strlen(row->text);
    struct usage_zero z;

    memcpy(out, row->text, n + 1);
    usage_zero_init(&z, dialect_of(row->op), row->format);
    for (size_t at = 0; at < n; at += step)
        usage_zero(&z, out + at, n - at < step ? n - at : step);
}

static void check(const struct row *row)
{
    const char *want = row->want ? row->want : row->text;
    char got[2048];

    assert_true(strlen(row->text) < sizeof(got));
    for (size_t step = strlen(row->text) + 1; step > 0; step--) {
        zero_in_steps(row, step, got);
        if (strcmp(got, want) != 0)
            fail_msg("%s, in steps of %zu:\n%s", row->why, step, got);
    }
    if (row->format == STREAM_NONE && dialect_of(row->op)->json)
        assert_true(jscan_valid(slice_str(row->text)) == jscan_valid(slice_str(got)));
}

#define W STREAM_NONE
#define S STREAM_SSE

static void what_apis_tell_of_usage_is_nothing(void **state)
{
    static const struct row rows[] = {
        {"chat", OP_CHAT, W,
         "{\"id\":\"c1\",\"created\":1700000000,\"choices\":[{\"index\":1,\"message\":{\"content\":\"7 "
         "\\\"usage\\\"\"}}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":345,\"total_tokens\":357,"
         "\"prompt_tokens_details\":{\"cached_tokens\":8},\"cost\":-1.5e-3,\"is_byok\":false}}",
         "{\"id\":\"c1\",\"created\":1700000000,\"choices\":[{\"index\":1,\"message\":{\"content\":\"7 "
         "\\\"usage\\\"\"}}],\"usage\":{\"prompt_tokens\":0 ,\"completion_tokens\":0  ,\"total_tokens\":0  ,"
         "\"prompt_tokens_details\":{\"cached_tokens\":0},\"cost\":0      ,\"is_byok\":false}}"},
        {"white space, and a member behind it", OP_CHAT, W,
         "{ \"usage\" : {\n  \"prompt_tokens\" : 12\n } , \"created\" : 99 }",
         "{ \"usage\" : {\n  \"prompt_tokens\" : 0 \n } , \"created\" : 99 }"},
        {"usage of something else stays", OP_CHAT, W,
         "{\"choices\":[{\"usage\":{\"n\":5},\"message\":{\"usage\":{\"n\":5}}}],\"x\":{\"usage\":7}}", NULL},
        {"null stays", OP_CHAT, W, "{\"usage\":null,\"n\":1}", NULL},
        {"told twice", OP_CHAT, W, "{\"usage\":{\"a\":1},\"usage\":{\"a\":22}}",
         "{\"usage\":{\"a\":0},\"usage\":{\"a\":0 }}"},
        {"no longer name counts", OP_CHAT, W,
         "{\"usages\":{\"a\":1},\"usag\":{\"a\":1},\"usage_of_a_name_that_is_long\":1}", NULL},
        {"numbers in texts stay", OP_CHAT, W, "{\"usage\":{\"tier\":\"5\",\"a\\\"1\":2}}",
         "{\"usage\":{\"tier\":\"5\",\"a\\\"1\":0}}"},
        {"lists in it", OP_CHAT, W, "{\"usage\":{\"a\":[1,{\"b\":23}],\"c\":4},\"d\":5}",
         "{\"usage\":{\"a\":[0,{\"b\":0 }],\"c\":0},\"d\":5}"},
        {"chat, streamed", OP_CHAT, S,
         "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"5\"}}],\"usage\":null}\n\n"
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3}}\n\ndata: "
         "[DONE]\n\n",
         "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"5\"}}],\"usage\":null}\n\n"
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":0 ,\"completion_tokens\":0}}\n\ndata: "
         "[DONE]\n\n"},
        {"CRLF, comments, other fields, no blank behind the colon", OP_CHAT, S,
         ": usage 12\r\nid: 12\r\nevent: usage\r\ndata:{\"usage\":{\"a\":12}}\r\n\r\ndata:{\"usage\":34}\r\n",
         ": usage 12\r\nid: 12\r\nevent: usage\r\ndata:{\"usage\":{\"a\":0 }}\r\n\r\ndata:{\"usage\":0 "
         "}\r\n"},
        {"CR alone, a byte order mark", OP_CHAT, S,
         "\xEF\xBB\xBF"
         "data: {\"usage\":12}\r\rdata: {\"usage\":3}\r\r",
         "\xEF\xBB\xBF"
         "data: {\"usage\":0 }\r\rdata: {\"usage\":0}\r\r"},
        {"data in several lines", OP_CHAT, S, "data: {\"usage\":\ndata: {\"a\":\ndata: 12}}\n\n",
         "data: {\"usage\":\ndata: {\"a\":\ndata: 0 }}\n\n"},
        {"an event that breaks off leaves the next one alone", OP_CHAT, S,
         "data: {\"usage\":{\"a\":\n\ndata: {\"b\":12}\n\ndata: {\"usage\":\"x\n\ndata: {\"usage\":5}\n\n",
         "data: {\"usage\":{\"a\":\n\ndata: {\"b\":12}\n\ndata: {\"usage\":\"x\n\ndata: {\"usage\":0}\n\n"},
        {"fields that only begin like data", OP_CHAT, S, "data\ndatas: {\"usage\":1}\ndat: {\"usage\":1}\n\n",
         NULL},
        {"Groq tells it in a member of its own", OP_CHAT, S,
         "data: {\"x_groq\":{\"id\":\"r1\",\"n\":1,\"usage\":{\"queue_time\":0.25,\"prompt_tokens\":9}}}\n\n",
         "data: "
         "{\"x_groq\":{\"id\":\"r1\",\"n\":1,\"usage\":{\"queue_time\":0   ,\"prompt_tokens\":0}}}\n\n"},
        {"completion", OP_COMPLETION, W, "{\"choices\":[{\"text\":\"1\"}],\"usage\":{\"prompt_tokens\":10}}",
         "{\"choices\":[{\"text\":\"1\"}],\"usage\":{\"prompt_tokens\":0 }}"},
        {"responses", OP_RESPONSES, W,
         "{\"temperature\":1.0,\"usage\":{\"input_tokens\":36,\"output_tokens_details\":{\"reasoning_"
         "tokens\":"
         "4}}}",
         "{\"temperature\":1.0,\"usage\":{\"input_tokens\":0 "
         ",\"output_tokens_details\":{\"reasoning_tokens\":"
         "0}}}"},
        {"responses, streamed", OP_RESPONSES, S,
         "event: response.completed\ndata: "
         "{\"sequence_number\":12,\"response\":{\"created_at\":17,\"usage\":{\"input_tokens\":36}}}\n\n",
         "event: response.completed\ndata: "
         "{\"sequence_number\":12,\"response\":{\"created_at\":17,\"usage\":{\"input_tokens\":0 }}}\n\n"},
        {"messages", OP_MESSAGES, W,
         "{\"content\":[],\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":2000,\"cache_creation\":{"
         "\"ephemeral_5m_input_tokens\":30},\"service_tier\":\"standard\",\"output_tokens\":4}}",
         "{\"content\":[],\"usage\":{\"input_tokens\":0,\"cache_read_input_tokens\":0   ,\"cache_creation\":{"
         "\"ephemeral_5m_input_tokens\":0 },\"service_tier\":\"standard\",\"output_tokens\":0}}"},
        {"messages, streamed", OP_MESSAGES, S,
         "event: message_start\ndata: "
         "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":25,\"output_"
         "tokens\":1}}}\n\nevent: message_delta\ndata: "
         "{\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n",
         "event: message_start\ndata: "
         "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":0 ,\"output_"
         "tokens\":0}}}\n\nevent: message_delta\ndata: "
         "{\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":0 }}\n\n"},
        {"generate", OP_GENERATE, W,
         "{\"candidates\":[{\"index\":1}],\"usageMetadata\":{\"promptTokenCount\":8,\"promptTokensDetails\":["
         "{"
         "\"modality\":\"TEXT\",\"tokenCount\":8}],\"thoughtsTokenCount\":120}}",
         "{\"candidates\":[{\"index\":1}],\"usageMetadata\":{\"promptTokenCount\":0,\"promptTokensDetails\":["
         "{"
         "\"modality\":\"TEXT\",\"tokenCount\":0}],\"thoughtsTokenCount\":0  }}"},
        {"generate, a growing list", OP_GENERATE, STREAM_JSON_ARRAY,
         "[{\"n\":12,\"usageMetadata\":{\"promptTokenCount\":88}},\n{\"candidates\":[{\"usageMetadata\":3}],"
         "\"usageMetadata\":{\"totalTokenCount\":9}}]",
         "[{\"n\":12,\"usageMetadata\":{\"promptTokenCount\":0 }},\n{\"candidates\":[{\"usageMetadata\":3}],"
         "\"usageMetadata\":{\"totalTokenCount\":0}}]"},
        {"ollama", OP_OLLAMA, W,
         "{\"done\":true,\"total_duration\":55,\"prompt_eval_count\":26,\"eval_count\":298}",
         "{\"done\":true,\"total_duration\":55,\"prompt_eval_count\":0 ,\"eval_count\":0  }"},
        {"ollama, streamed", OP_OLLAMA, STREAM_NDJSON,
         "{\"message\":{\"content\":\"eval_count\",\"eval_count\":3}}\n{\"eval_count\":298,\"n\":4}\r\n{"
         "\"eval_count\":5",
         "{\"message\":{\"content\":\"eval_count\",\"eval_count\":3}}\n{\"eval_count\":0  ,\"n\":4}\r\n{"
         "\"eval_count\":0"},
        {"embeddings", OP_EMBEDDING, W,
         "{\"data\":[{\"embedding\":[0.5,-1e3]}],\"usage\":{\"prompt_tokens\":8}}",
         "{\"data\":[{\"embedding\":[0.5,-1e3]}],\"usage\":{\"prompt_tokens\":0}}"},
        {"Gemini's embeddings", OP_EMBEDDING_GEMINI, W,
         "{\"embedding\":{\"values\":[5]},\"usageMetadata\":{\"promptTokenCount\":8}}",
         "{\"embedding\":{\"values\":[5]},\"usageMetadata\":{\"promptTokenCount\":0}}"},
        {"Ollama's embeddings", OP_EMBEDDING_OLLAMA, W, "{\"embeddings\":[[5]],\"prompt_eval_count\":8}",
         "{\"embeddings\":[[5]],\"prompt_eval_count\":0}"},
        {"rerank, as Jina", OP_RERANK, W, "{\"results\":[{\"index\":1}],\"usage\":{\"total_tokens\":70}}",
         "{\"results\":[{\"index\":1}],\"usage\":{\"total_tokens\":0 }}"},
        {"rerank, as Cohere", OP_RERANK, W,
         "{\"results\":[{\"index\":1}],\"meta\":{\"api_version\":{\"version\":\"2\",\"n\":2},\"billed_"
         "units\":"
         "{\"search_units\":1},\"tokens\":{\"input_tokens\":70}}}",
         "{\"results\":[{\"index\":1}],\"meta\":{\"api_version\":{\"version\":\"2\",\"n\":2},\"billed_"
         "units\":"
         "{\"search_units\":0},\"tokens\":{\"input_tokens\":0 }}}"},
        {"speech, streamed", OP_SPEECH, S,
         "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14}}\n\n",
         "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":0 }}\n\n"},
        {"sound is not looked into", OP_SPEECH, W, "{\"usage\":{\"input_tokens\":14}}", NULL},
        {"sound that streams", OP_SPEECH, STREAM_BYTES, "{\"usage\":{\"input_tokens\":14}}", NULL},
        {"an API that tells of none", OP_PLAIN, W, "{\"usage\":{\"input_tokens\":14}}", NULL},
        {"a GET", OP_READ, W, "{\"usage\":{\"input_tokens\":14}}", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(&rows[i]);
}

/* Whatever it is, nothing is read or written past it, and depth has no end. */
static void what_is_no_json_does_no_harm(void **state)
{
    static const struct row rows[] = {
        {"too many ends", OP_CHAT, W, "}}]]{\"usage\":1}", "}}]]{\"usage\":0}"},
        {"no end", OP_CHAT, W, "{\"usage\":{\"a\":[[[[[[[[[[[1,2", "{\"usage\":{\"a\":[[[[[[[[[[[0,0"},
        {"a text without an end", OP_CHAT, W, "{\"usage", NULL},
        {"an escape without an end", OP_CHAT, W, "{\"usage\\", NULL},
        {"a number alone", OP_CHAT, W, "12", NULL},
        {"nothing", OP_CHAT, S, "", NULL},
    };
    size_t n = 1 << 20;
    char *deep = malloc(n);
    struct usage_zero z;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(&rows[i]);
    assert_non_null(deep);
    memset(deep, '[', n);
    usage_zero_init(&z, dialect_of(OP_CHAT), STREAM_NONE);
    usage_zero(&z, deep, n);
    memset(deep, ']', n);
    usage_zero(&z, deep, n);
    assert_int_equal(z.depth, 0);
    free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_apis_tell_of_usage_is_nothing),
        cmocka_unit_test(what_is_no_json_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
