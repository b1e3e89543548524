/* dialect: which path is which operation, what events mean, and errors as each API's clients parse them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "refrain/base/attr.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/jscan.h"
#include "refrain/wire/tally.h"

/* SPEC section 3: the path must *be* one of the known ones. */
static void a_path_is_an_operation_or_passes(void **state)
{
    static const struct {
        struct slice method, path;
        enum operation want;
    } cases[] = {
        {SLICE("POST"), SLICE("/chat/completions"), OP_CHAT},
        {SLICE("POST"), SLICE("/v1/chat/completions"), OP_CHAT},
        {SLICE("POST"), SLICE("/v1beta/chat/completions"), OP_CHAT},
        {SLICE("POST"), SLICE("/v2alpha1/chat/completions"), OP_CHAT},
        {SLICE("POST"), SLICE("/openai/deployments/gpt-4o/chat/completions"), OP_CHAT},
        {SLICE("POST"), SLICE("/openai/v1/chat/completions"), OP_CHAT},
        {SLICE("POST"), SLICE("/v1/completions"), OP_COMPLETION},
        {SLICE("POST"), SLICE("/v1/responses"), OP_RESPONSES},
        {SLICE("POST"), SLICE("/v1/messages"), OP_MESSAGES},
        {SLICE("POST"), SLICE("/v1/embeddings"), OP_EMBEDDING},
        {SLICE("POST"), SLICE("/openai/deployments/e/embeddings"), OP_EMBEDDING},
        {SLICE("POST"), SLICE("/v1beta/models/gemini-2.5-pro:generateContent"), OP_GENERATE},
        {SLICE("POST"), SLICE("/v1beta/models/gemini-2.5-pro:streamGenerateContent"), OP_GENERATE},
        {SLICE("POST"), SLICE("/v1beta/tunedModels/mine:generateContent"), OP_GENERATE},
        {SLICE("POST"), SLICE("/v1/projects/p/locations/l/publishers/google/models/m:generateContent"),
         OP_GENERATE},
        {SLICE("POST"), SLICE("/v1beta/models/e:embedContent"), OP_EMBEDDING_GEMINI},
        {SLICE("POST"), SLICE("/v1beta/models/e:batchEmbedContents"), OP_EMBEDDING_GEMINI},
        {SLICE("POST"), SLICE("/api/chat"), OP_OLLAMA},
        {SLICE("POST"), SLICE("/api/generate"), OP_OLLAMA},
        {SLICE("POST"), SLICE("/api/embed"), OP_EMBEDDING_OLLAMA},
        {SLICE("POST"), SLICE("/api/embeddings"), OP_EMBEDDING_OLLAMA},
        {SLICE("POST"), SLICE("/v1/moderations"), OP_MODERATION},
        {SLICE("POST"), SLICE("/rerank"), OP_RERANK},
        {SLICE("POST"), SLICE("/v1/rerank"), OP_RERANK},
        {SLICE("POST"), SLICE("/v2/rerank"), OP_RERANK},
        {SLICE("POST"), SLICE("/v1/audio/speech"), OP_SPEECH},
        {SLICE("POST"), SLICE("/openai/deployments/tts/audio/speech"), OP_SPEECH},
        {SLICE("GET"), SLICE("/v1/models"), OP_READ},
        {SLICE("HEAD"), SLICE("/anything"), OP_READ},
        {SLICE("GET"), SLICE("/v1/chat/completions"), OP_READ},

        {SLICE("POST"), SLICE("/v1beta/models/:generateContent"), OP_PASS},
        {SLICE("POST"), SLICE(":generateContent"), OP_PASS},
        {SLICE("POST"), SLICE("m:generateContent"), OP_PASS},
        {SLICE("POST"), SLICE("/v1beta/models/m:generateContent/x"), OP_PASS},
        {SLICE("POST"), SLICE("/v1beta/models/m:countTokens"), OP_PASS},
        {SLICE("POST"), SLICE("/v1beta/models/m:batchGenerateContent"), OP_PASS},
        {SLICE("POST"), SLICE("/v1beta/models/m:asyncBatchEmbedContent"), OP_PASS},
        {SLICE("POST"), SLICE("/v1beta/cachedContents"), OP_PASS},
        {SLICE("POST"), SLICE("/v1/audio/transcriptions"), OP_PASS},
        {SLICE("POST"), SLICE("/api/pull"), OP_PASS},
        {SLICE("POST"), SLICE("/api/create"), OP_PASS},
        {SLICE("POST"), SLICE("/api/show"), OP_PASS},
        {SLICE("POST"), SLICE("/v1/threads/t/messages"), OP_PASS},
        {SLICE("POST"), SLICE("/v1/messages/batches"), OP_PASS},
        {SLICE("POST"), SLICE("/v1/messages/count_tokens"), OP_PASS},
        {SLICE("POST"), SLICE("/v1/responses/r/cancel"), OP_PASS},
        {SLICE("POST"), SLICE("/v1/chat/completions/"), OP_PASS},
        {SLICE("POST"), SLICE("/v1//chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/v1/v1/chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/v/chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/v1gamma/chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/v1x/chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/x/chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/V1/chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/openai/chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/openai/deployments//chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/openai/deployments/a/b/chat/completions"), OP_PASS},
        {SLICE("POST"), SLICE("/openai/deployments/a"), OP_PASS},
        {SLICE("POST"), SLICE("/v1"), OP_PASS},
        {SLICE("POST"), SLICE("/"), OP_PASS},
        {SLICE("POST"), SLICE(""), OP_PASS},
        {SLICE("POST"), SLICE("*"), OP_PASS},
        {SLICE("PUT"), SLICE("/v1/chat/completions"), OP_PASS},
        {SLICE("post"), SLICE("/v1/chat/completions"), OP_PASS},
        {SLICE("DELETE"), SLICE("/v1/files/f"), OP_PASS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (operation_find(cases[i].method, cases[i].path) != cases[i].want)
            fail_msg("%s %s", cases[i].method.data, cases[i].path.data);
}

static void operations_have_names(void **state)
{
    (void)state;
    for (enum operation op = 0; op < OP_COUNT; op++)
        assert_int_equal(operation_by_name(slice_str(dialect_of(op)->name)), operation_kind(op));
    assert_int_equal(operation_kind(OP_EMBEDDING_GEMINI), OP_EMBEDDING);
    assert_int_equal(operation_kind(OP_EMBEDDING_OLLAMA), OP_EMBEDDING);
    assert_int_equal(operation_kind(OP_CHAT), OP_CHAT);
    assert_int_equal(operation_by_name(SLICE_OF("chat")), OP_CHAT);
    assert_int_equal(operation_by_name(SLICE_OF("Chat")), OP_COUNT);
    assert_int_equal(operation_by_name(SLICE_OF("")), OP_COUNT);
}

static void every_row_is_whole(void **state)
{
    (void)state;
    for (enum operation op = 0; op < OP_COUNT; op++) {
        const struct dialect *d = dialect_of(op);

        assert_non_null(d->error);
        assert_int_equal(d->streams == 0, d->event == NULL);
        assert_int_equal(d->paths[0].pattern.len == 0, op == OP_PASS || op == OP_READ || op == OP_PLAIN);
    }
}

static void paths_say_model_and_stream_where_the_api_has_them_there(void **state)
{
    static const struct {
        const char *why;
        enum operation op;
        const char *path;
        bool stream; /* what the body said */
        const char *want_model;
        bool want_stream;
    } cases[] = {
        {"Gemini", OP_GENERATE, "/v1beta/models/gemini-2.5-pro:generateContent", true, "gemini-2.5-pro",
         false},
        {"Gemini, a stream", OP_GENERATE, "/v1beta/models/g:streamGenerateContent", false, "g", true},
        {"Vertex", OP_GENERATE, "/v1/projects/p/locations/l/publishers/google/models/g-1:generateContent",
         false, "g-1", false},
        {"embedding", OP_EMBEDDING_GEMINI, "/v1beta/models/e:batchEmbedContents", false, "e", false},
        {"chat says so in its body", OP_CHAT, "/v1/chat/completions", true, "body", true},
        {"embeddings never stream", OP_EMBEDDING, "/v1/embeddings", true, "body", false},
        {"speech always does", OP_SPEECH, "/v1/audio/speech", false, "body", true},
        {"a path of the operator's own says nothing", OP_GENERATE, "/mine", true, "body", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct canon_facts facts = {.model = SLICE("body"), .stream = cases[i].stream};

        operation_path_facts(cases[i].op, slice_str(cases[i].path), &facts);
        if (!slice_eq(facts.model, slice_str(cases[i].want_model)) || facts.stream != cases[i].want_stream)
            fail_msg("%s: %.*s, %d", cases[i].why, (int)facts.model.len, facts.model.data, facts.stream);
    }
}

static void media_types_tell_the_format(void **state)
{
    static const struct {
        enum operation op;
        struct slice type;
        enum stream_format want;
        bool whole;
    } cases[] = {
        {OP_CHAT, SLICE("text/event-stream"), STREAM_SSE, false},
        {OP_CHAT, SLICE("Text/Event-Stream"), STREAM_SSE, false},
        {OP_CHAT, SLICE("application/json"), STREAM_NONE, true},
        {OP_CHAT, SLICE("application/problem+json"), STREAM_NONE, true},
        {OP_CHAT, SLICE("text/html"), STREAM_NONE, false},
        {OP_GENERATE, SLICE("text/event-stream"), STREAM_SSE, false},
        {OP_GENERATE, SLICE("application/json"), STREAM_JSON_ARRAY, true},
        {OP_OLLAMA, SLICE("application/x-ndjson"), STREAM_NDJSON, false},
        {OP_OLLAMA, SLICE("application/json"), STREAM_NONE, true},
        {OP_EMBEDDING, SLICE("text/event-stream"), STREAM_NONE, false},
        {OP_SPEECH, SLICE("audio/mpeg"), STREAM_BYTES, true},
        {OP_SPEECH, SLICE("audio/"), STREAM_NONE, true},
        {OP_SPEECH, SLICE("application/json"), STREAM_NONE, true},
        {OP_SPEECH, SLICE("text/event-stream"), STREAM_SSE, true},
        {OP_CHAT, SLICE(""), STREAM_NONE, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct dialect *d = dialect_of(cases[i].op);

        if (dialect_stream_format(d, cases[i].type) != cases[i].want ||
            dialect_takes_type(d, cases[i].type) != cases[i].whole)
            fail_msg("%s: %s", d->name, cases[i].type.data);
    }
}

static void reads_of_changing_things_are_known(void **state)
{
    (void)state;
    assert_true(operation_read_is_live(SLICE_OF("/v1/responses/resp_1")));
    assert_true(operation_read_is_live(SLICE_OF("/v1/files")));
    assert_true(operation_read_is_live(SLICE_OF("/v1/messages/batches/b/results")));
    assert_false(operation_read_is_live(SLICE_OF("/v1/models/files-1")));
    assert_false(operation_read_is_live(SLICE_OF("/")));
    assert_false(operation_read_is_live(SLICE_OF("")));
}

static void events_mean_what_each_api_says(void **state)
{
    static const struct {
        const char *why;
        enum operation op;
        struct slice event, data;
        enum event_meaning want;
    } cases[] = {
        {"delta", OP_CHAT, SLICE(""), SLICE("{\"choices\":[]}"), EVENT_MORE},
        {"end", OP_CHAT, SLICE(""), SLICE("[DONE]"), EVENT_LAST},
        {"end of a completion", OP_COMPLETION, SLICE(""), SLICE("[DONE]"), EVENT_LAST},
        {"end, with white space", OP_CHAT, SLICE(""), SLICE("[DONE] "), EVENT_LAST},
        {"no end", OP_CHAT, SLICE(""), SLICE("\"[DONE]\""), EVENT_MORE},
        {"error", OP_CHAT, SLICE(""), SLICE("{\"error\":{\"message\":\"x\"}}"), EVENT_ERROR},
        {"error as text", OP_CHAT, SLICE(""), SLICE("{ \"id\" : [1,{}] , \"error\" : \"x\" }"), EVENT_ERROR},
        {"error by its name", OP_CHAT, SLICE("error"), SLICE("{}"), EVENT_ERROR},
        {"null is no error", OP_CHAT, SLICE(""), SLICE("{\"error\":null,\"choices\":[]}"), EVENT_MORE},
        {"inside a choice", OP_CHAT, SLICE(""), SLICE("{\"choices\":[{\"error\":{}}]}"), EVENT_MORE},
        {"as a word", OP_CHAT, SLICE(""), SLICE("{\"choices\":[\"error\"],\"a\":\"error\"}"), EVENT_MORE},
        {"quoted in a text", OP_CHAT, SLICE(""), SLICE("{\"c\":\"{\\\"error\\\":1}\"}"), EVENT_MORE},

        {"created", OP_RESPONSES, SLICE("response.created"), SLICE("{\"response\":{\"error\":null}}"),
         EVENT_MORE},
        {"completed", OP_RESPONSES, SLICE("response.completed"), SLICE("{}"), EVENT_LAST},
        {"completed, by its data", OP_RESPONSES, SLICE(""), SLICE("{\"type\":\"response.completed\"}"),
         EVENT_LAST},
        {"incomplete", OP_RESPONSES, SLICE("response.incomplete"), SLICE("{}"), EVENT_LAST},
        {"failed", OP_RESPONSES, SLICE("response.failed"), SLICE("{}"), EVENT_ERROR},
        {"error", OP_RESPONSES, SLICE("error"), SLICE("{}"), EVENT_ERROR},
        {"error, by its data", OP_RESPONSES, SLICE(""), SLICE("{\"type\":\"error\",\"code\":null}"),
         EVENT_ERROR},
        {"error in the other API's shape", OP_RESPONSES, SLICE(""), SLICE("{\"error\":{}}"), EVENT_ERROR},
        {"[DONE] does not end this one", OP_RESPONSES, SLICE(""), SLICE("[DONE]"), EVENT_IGNORE},

        {"start", OP_MESSAGES, SLICE("message_start"), SLICE("{\"type\":\"message_start\"}"), EVENT_MORE},
        {"stop", OP_MESSAGES, SLICE("message_stop"), SLICE("{\"type\":\"message_stop\"}"), EVENT_LAST},
        {"stop, by its data", OP_MESSAGES, SLICE(""), SLICE("{\"type\":\"message_stop\"}"), EVENT_LAST},
        {"error", OP_MESSAGES, SLICE("error"), SLICE("{\"type\":\"error\"}"), EVENT_ERROR},
        {"ping", OP_MESSAGES, SLICE("ping"), SLICE("{\"type\":\"ping\"}"), EVENT_IGNORE},
        {"[DONE] means nothing", OP_MESSAGES, SLICE(""), SLICE("[DONE]"), EVENT_IGNORE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(tally_done) struct tally t;

        tally_init(&t, dialect_of(cases[i].op), false);
        if (tally_event(&t, cases[i].event, cases[i].data) != cases[i].want)
            fail_msg("%s: %s", dialect_of(cases[i].op)->name, cases[i].why);
    }
}

static void errors_have_the_shape_of_the_api(void **state)
{
    static const struct {
        enum operation op;
        enum error_code code;
        const char *want;
    } cases[] = {
        {OP_CHAT, ERR_UPSTREAM_TIMEOUT,
         "{\"error\":{\"message\":\"a "
         "\\\"b\\\"\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_timeout\"}}"},
        {OP_PASS, ERR_REQUEST_INVALID,
         "{\"error\":{\"message\":\"a \\\"b\\\"\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":"
         "\"request_invalid\"}}"},
        {OP_READ, ERR_UNAUTHORIZED,
         "{\"error\":{\"message\":\"a \\\"b\\\"\",\"type\":\"authentication_error\",\"param\":null,\"code\":"
         "\"unauthorized\"}}"},
        {OP_MESSAGES, ERR_OVERLOADED,
         "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"a \\\"b\\\"\",\"code\":"
         "\"overloaded\"}}"},
        {OP_MESSAGES, ERR_UPSTREAM_UNREACHABLE,
         "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"a \\\"b\\\"\",\"code\":"
         "\"upstream_unreachable\"}}"},
        {OP_GENERATE, ERR_UPSTREAM_TIMEOUT,
         "{\"error\":{\"code\":504,\"message\":\"a "
         "\\\"b\\\"\",\"status\":\"DEADLINE_EXCEEDED\",\"details\":[{"
         "\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"upstream_timeout\",\"domain\":"
         "\"refrain\"}]}}"},
        {OP_OLLAMA, ERR_OVERLOADED, "{\"error\":\"a \\\"b\\\"\",\"code\":\"overloaded\"}"},
        {OP_MESSAGES, ERR_EXPECT,
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"a "
         "\\\"b\\\"\",\"code\":"
         "\"expectation_failed\"}}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf b = BUF_INIT(1000);

        assert_int_equal(
            dialect_of(cases[i].op)
                ->error(&b, error_status(cases[i].code), error_name(cases[i].code), SLICE_OF("a \"b\"")),
            0);
        if (!slice_eq(buf_slice(&b), slice_str(cases[i].want)))
            fail_msg("%.*s", (int)b.len, b.data);
        assert_true(jscan_valid(buf_slice(&b)));
    }
}

static void an_error_that_does_not_fit_adds_nothing(void **state)
{
    (void)state;
    for (enum operation op = 0; op < OP_COUNT; op++) {
        for (size_t max = 1; max < 39; max++) {
            AUTO(buf_done) struct buf b = BUF_INIT(max);

            assert_int_equal(buf_add_byte(&b, 'x'), 0);
            assert_int_equal(dialect_of(op)->error(&b, 400, "request_invalid", SLICE_OF("m")), -EMSGSIZE);
            assert_int_equal(b.len, 1);
        }
    }
}

static void every_error_has_a_status_and_a_name(void **state)
{
    (void)state;
    for (enum error_code code = 0; code < ERR_COUNT; code++) {
        assert_in_range(error_status(code), 400, 599);
        assert_true(*error_name(code));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_an_operation_or_passes),
        cmocka_unit_test(operations_have_names),
        cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(paths_say_model_and_stream_where_the_api_has_them_there),
        cmocka_unit_test(media_types_tell_the_format),
        cmocka_unit_test(reads_of_changing_things_are_known),
        cmocka_unit_test(events_mean_what_each_api_says),
        cmocka_unit_test(errors_have_the_shape_of_the_api),
        cmocka_unit_test(an_error_that_does_not_fit_adds_nothing),
        cmocka_unit_test(every_error_has_a_status_and_a_name),
    };

    return cmocka_run_group_tests_name("dialect", tests, NULL, NULL);
}
