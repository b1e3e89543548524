/* sse: events by WHATWG HTML section 9.2, however the bytes were cut, and which streams are whole (SPEC
 * section 5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/wire/sse.h"

/* Writes each event as `event|data;` so that a whole reading compares as one text. */
static void write_event(void *arg, struct slice event, struct slice data)
{
    struct buf *out = arg;

    assert_int_equal(buf_add_slice(out, event), 0);
    assert_int_equal(buf_add_byte(out, '|'), 0);
    assert_int_equal(buf_add_slice(out, data), 0);
    assert_int_equal(buf_add_byte(out, ';'), 0);
}

/* Reads @bytes cut at @a and @b; true when at a boundary at the end. */
static bool read_in_three(enum stream_format format, struct slice bytes, size_t a, size_t b, struct buf *out)
{
    AUTO(sse_reader_done) struct sse_reader r;

    buf_clear(out);
    sse_reader_init(&r, format, write_event, out);
    assert_int_equal(sse_reader_feed(&r, slice_make(bytes.data, a)), 0);
    assert_int_equal(sse_reader_feed(&r, slice_make(bytes.data + a, b - a)), 0);
    assert_int_equal(sse_reader_feed(&r, slice_make(bytes.data + b, bytes.len - b)), 0);
    return r.at_boundary;
}

static void events_are_the_same_however_the_bytes_are_cut(void **state)
{
    static const struct {
        const char *why;
        enum stream_format format;
        struct slice bytes;
        const char *want;
        bool boundary;
    } cases[] = {
        {"one event", STREAM_SSE, SLICE("data: a\n\n"), "|a;", true},
        {"named", STREAM_SSE, SLICE("event: e\ndata: a\n\n"), "e|a;", true},
        {"name behind the data", STREAM_SSE, SLICE("data: a\nevent: e\n\n"), "e|a;", true},
        {"the last name counts", STREAM_SSE, SLICE("event: e\nevent:f\ndata:a\n\n"), "f|a;", true},
        {"names do not outlive their event", STREAM_SSE, SLICE("event: e\ndata:\n\ndata: b\n\n"), "e|;|b;",
         true},
        {"CR LF", STREAM_SSE, SLICE("data: a\r\n\r\ndata: b\r\n\r\n"), "|a;|b;", true},
        {"CR", STREAM_SSE, SLICE("data: a\r\rdata: b\r\r"), "|a;|b;", true},
        {"all three", STREAM_SSE, SLICE("data: a\r\n\ndata: b\r\rdata: c\n\r\n"), "|a;|b;|c;", true},
        {"two data lines", STREAM_SSE, SLICE("data: a\ndata: b\n\n"), "|a\nb;", true},
        {"one space is dropped", STREAM_SSE, SLICE("data:  a \n\n"), "| a ;", true},
        {"colons in the value", STREAM_SSE, SLICE("data:a:b\n\n"), "|a:b;", true},
        {"empty data", STREAM_SSE, SLICE("data\n\n"), "|;", true},
        {"two empty data lines", STREAM_SSE, SLICE("data\ndata\n\n"), "|\n;", true},
        {"no data, no event", STREAM_SSE, SLICE("event: e\nid: 1\n\n"), "", true},
        {"comments", STREAM_SSE, SLICE(": hi\n\n:\ndata: a\n: x\n\n: bye\n"), "|a;", true},
        {"other fields", STREAM_SSE, SLICE("id: 1\nretry: 5\nDATA: no\ndata : no\ndata: a\n\n"), "|a;", true},
        {"byte order mark", STREAM_SSE,
         SLICE("\xEF\xBB\xBF"
               "data: a\n\n"),
         "|a;", true},
        {"only at the start", STREAM_SSE,
         SLICE("\n\xEF\xBB\xBF"
               "data: a\n\n"),
         "", true},
        {"a NUL is a byte", STREAM_SSE, SLICE("data: a\0b\n\n"), NULL, true},
        {"nothing", STREAM_SSE, SLICE(""), "", true},
        {"no blank line yet", STREAM_SSE, SLICE("data: a\n"), "", false},
        {"in a line", STREAM_SSE, SLICE("data: a\n\ndata"), "|a;", false},
        {"in a comment", STREAM_SSE, SLICE("data: a\n\n: hi"), "|a;", false},
        {"a field and no blank line", STREAM_SSE, SLICE("data: a\n\nid: 1\n"), "|a;", false},

        {"lines", STREAM_NDJSON, SLICE("{\"a\":1}\n{\"b\":2}\n"), "|{\"a\":1};|{\"b\":2};", true},
        {"CR LF", STREAM_NDJSON, SLICE("{}\r\n[]\r\n"), "|{};|[];", true},
        {"CR is white space within", STREAM_NDJSON, SLICE("{\r}\n"), "|{\r};", true},
        {"blank lines", STREAM_NDJSON, SLICE("\n\r\n{}\n\n"), "|{};", true},
        {"no end", STREAM_NDJSON, SLICE("{}\n{}"), "|{};", false},

        {"an array", STREAM_JSON_ARRAY, SLICE("[{\"a\":1}\n,\r\n{\"b\":[2,3]}]\n"),
         "|{\"a\":1};|{\"b\":[2,3]};", true},
        {"brackets in strings", STREAM_JSON_ARRAY, SLICE("[{\"a\":\"]},\\\"[\"},{}]"),
         "|{\"a\":\"]},\\\"[\"};|{};", true},
        {"an empty array", STREAM_JSON_ARRAY, SLICE(" [ ] "), "", true},
        {"bare words", STREAM_JSON_ARRAY, SLICE("[1,\"a,\",null]"), "|1;|\"a,\";|null;", true},
        {"an array without end", STREAM_JSON_ARRAY, SLICE("[{},{}"), "|{};|{};", false},
        {"no comma between", STREAM_JSON_ARRAY, SLICE("[{}{}]"), "|{};", false},
        {"a comma before", STREAM_JSON_ARRAY, SLICE("[,{}]"), "", false},
        {"something behind it", STREAM_JSON_ARRAY, SLICE("[{}]["), "|{};", false},
        {"a comma too many", STREAM_JSON_ARRAY, SLICE("[{},]"), "|{};", false},
        {"a lone object", STREAM_JSON_ARRAY, SLICE(" {\"a\":[{}]}\n"), "|{\"a\":[{}]};", true},
        {"two of them", STREAM_JSON_ARRAY, SLICE("{}{}"), "|{};", false},
        {"half of one", STREAM_JSON_ARRAY, SLICE("{\"a\":["), "", false},
        {"no array", STREAM_JSON_ARRAY, SLICE("\"a\""), "", false},
        {"no array at all", STREAM_JSON_ARRAY, SLICE(""), "", false},

        {"not a stream", STREAM_NONE, SLICE("data: a\n\n"), "", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf got = BUF_INIT(1000);
        struct slice want = cases[i].want ? slice_str(cases[i].want) : SLICE_OF("|a\0b;");

        for (size_t a = 0; a <= cases[i].bytes.len; a++) {
            for (size_t b = a; b <= cases[i].bytes.len; b++) {
                bool boundary = read_in_three(cases[i].format, cases[i].bytes, a, b, &got);

                if (!slice_eq(buf_slice(&got), want) || boundary != cases[i].boundary)
                    fail_msg("%s, cut at %zu and %zu: %.*s", cases[i].why, a, b, (int)got.len, got.data);
            }
        }
    }
}

struct sizes {
    size_t events, data, event;
};

static void note_sizes(void *arg, struct slice event, struct slice data)
{
    struct sizes *s = arg;

    s->events++;
    s->data = data.len;
    s->event = event.len;
}

static void feed_many(struct sse_reader *r, char byte, size_t n, size_t step)
{
    char *bytes = malloc(step);

    assert_non_null(bytes);
    memset(bytes, byte, step);
    for (size_t at = 0; at < n; at += step)
        assert_int_equal(sse_reader_feed(r, slice_make(bytes, n - at < step ? n - at : step)), 0);
    free(bytes);
}

static void a_long_event_is_known_by_its_head(void **state)
{
    static const size_t over = SSE_EVENT_BYTES_MAX + 5000;
    struct sizes got = {0};
    AUTO(sse_reader_done) struct sse_reader r;

    (void)state;
    sse_reader_init(&r, STREAM_SSE, note_sizes, &got);
    assert_int_equal(sse_reader_feed(&r, SLICE_OF("event: e\ndata: ")), 0);
    feed_many(&r, 'a', over, 4096);
    assert_int_equal(sse_reader_feed(&r, SLICE_OF("\ndata: b\n\ndata: c\n\n")), 0);
    assert_int_equal(got.events, 2);
    assert_int_equal(got.data, 1); /* and the next one is whole again */
    assert_true(r.line.cap <= SSE_EVENT_BYTES_MAX && r.data.cap <= SSE_EVENT_BYTES_MAX);

    got.events = 0;
    for (int i = 0; i < 50000; i++)
        assert_int_equal(
            sse_reader_feed(&r, SLICE_OF("data: 0123456789 0123456789 0123456789 0123456789 "
                                         "0123456789 0123456789 0123456789 0123456789 0123456789 "
                                         "0123456789 0123456789 0123456789 0123456789 0123456789 "
                                         "0123456789 0123456789 0123456789 0123456789 0123456789 "
                                         "0123456789 0123456789 0123456789 0123456789 0123456789 "
                                         "0123456789 0123456789 0123456789 0123456789 0123456789 "
                                         "0123456789 0123456789 0123456789 0123456789 0123456789\n")),
            0);
    assert_int_equal(sse_reader_feed(&r, SLICE_OF("\n")), 0);
    assert_int_equal(got.events, 1);
    assert_int_equal(got.data, SSE_EVENT_BYTES_MAX);
}

static void a_stream_is_whole_or_not(void **state)
{
    static const struct {
        const char *why;
        enum operation op;
        enum stream_format format;
        struct slice bytes;
        bool whole, error;
    } cases[] = {
        {"chat", OP_CHAT, STREAM_SSE, SLICE("data: {\"a\":1}\n\ndata: [DONE]\n\n"), true, false},
        {"nothing but the end", OP_CHAT, STREAM_SSE, SLICE("data: [DONE]\n\n"), true, false},
        {"a comment behind it", OP_CHAT, STREAM_SSE, SLICE("data: {}\n\ndata: [DONE]\n\n: ok\n\n"), true,
         false},
        {"no end", OP_CHAT, STREAM_SSE, SLICE("data: {\"a\":1}\n\n"), false, false},
        {"no blank line", OP_CHAT, STREAM_SSE, SLICE("data: {}\n\ndata: [DONE]\n"), false, false},
        {"something behind the end", OP_CHAT, STREAM_SSE, SLICE("data: [DONE]\n\ndata: {}\n\n"), false,
         false},
        {"two streams", OP_CHAT, STREAM_SSE, SLICE("data: [DONE]\n\ndata: {}\n\ndata: [DONE]\n\n"), false,
         false},
        {"half an event behind it", OP_CHAT, STREAM_SSE, SLICE("data: [DONE]\n\ndata: {"), false, false},
        {"an error", OP_CHAT, STREAM_SSE, SLICE("data: {\"error\":{}}\n\ndata: [DONE]\n\n"), false, true},
        {"an error behind the end", OP_CHAT, STREAM_SSE, SLICE("data: [DONE]\n\ndata: {\"error\":1}\n\n"),
         false, true},
        {"empty", OP_CHAT, STREAM_SSE, SLICE(""), false, false},
        {"not a stream at all", OP_CHAT, STREAM_SSE, SLICE("{\"error\":{}}"), false, false},

        {"responses", OP_RESPONSES, STREAM_SSE, SLICE("event: response.completed\ndata: {}\n\n"), true,
         false},
        {"and [DONE]", OP_RESPONSES, STREAM_SSE,
         SLICE("event: response.completed\ndata: {}\n\ndata: [DONE]\n\n"), true, false},
        {"[DONE] alone", OP_RESPONSES, STREAM_SSE,
         SLICE("event: response.created\ndata: {}\n\ndata: [DONE]\n\n"), false, false},
        {"incomplete", OP_RESPONSES, STREAM_SSE, SLICE("event: response.incomplete\ndata: {}\n\n"), true,
         false},

        {"messages", OP_MESSAGES, STREAM_SSE,
         SLICE("event: ping\ndata: {}\n\nevent: message_stop\ndata: {}\n\n"), true, false},
        {"a late ping", OP_MESSAGES, STREAM_SSE,
         SLICE("event: message_stop\ndata: {}\n\nevent: ping\ndata: {}\n\n"), true, false},
        {"overloaded", OP_MESSAGES, STREAM_SSE, SLICE("event: error\ndata: {}\n\n"), false, true},

        {"Gemini", OP_GENERATE, STREAM_SSE,
         SLICE("data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\r\n\r\ndata: {"
               "\"candidates\":[{\"finishReason\":\"STOP\"}]}\r\n\r\n"),
         true, false},
        {"a reason in every piece", OP_GENERATE, STREAM_SSE,
         SLICE("data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\ndata: "
               "{\"candidates\":[{\"finishReason\":"
               "\"STOP\"}]}\n\n"),
         true, false},
        {"usage behind it", OP_GENERATE, STREAM_SSE,
         SLICE("data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\ndata: {\"usageMetadata\":{}}\n\n"),
         true, false},
        {"more text behind it", OP_GENERATE, STREAM_SSE,
         SLICE("data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\ndata: "
               "{\"candidates\":[{\"content\":{}}]}"
               "\n\n"),
         false, false},
        {"one of two candidates", OP_GENERATE, STREAM_SSE,
         SLICE("data: {\"candidates\":[{\"index\":0},{\"index\":1}]}\n\ndata: {\"candidates\":[{\"index\":0,"
               "\"finishReason\":\"STOP\"}]}\n\n"),
         false, false},
        {"a blocked prompt", OP_GENERATE, STREAM_SSE,
         SLICE("data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n"), true, false},
        {"an error on the way", OP_GENERATE, STREAM_SSE,
         SLICE("data: {\"candidates\":[{\"content\":{}}]}\n\ndata: {\"error\":{\"code\":503}}\n\n"), false,
         true},
        {"an array", OP_GENERATE, STREAM_JSON_ARRAY,
         SLICE("[{\"candidates\":[{\"content\":{}}]}\n,\r\n{\"candidates\":[{\"finishReason\":\"STOP\"}]}\n]"
               "\n"),
         true, false},
        {"an array without a reason", OP_GENERATE, STREAM_JSON_ARRAY,
         SLICE("[{\"candidates\":[{\"content\":{}}]}]"), false, false},
        {"a reason without the array's end", OP_GENERATE, STREAM_JSON_ARRAY,
         SLICE("[{\"candidates\":[{\"finishReason\":\"STOP\"}]}"), false, false},
        {"an error in an array", OP_GENERATE, STREAM_JSON_ARRAY, SLICE("[{\"error\":{\"code\":400}}]"), false,
         true},

        {"Ollama", OP_OLLAMA, STREAM_NDJSON,
         SLICE("{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true}\n"), true, false},
        {"Ollama, cut", OP_OLLAMA, STREAM_NDJSON, SLICE("{\"response\":\"a\",\"done\":false}\n"), false,
         false},
        {"Ollama, cut in the last line", OP_OLLAMA, STREAM_NDJSON,
         SLICE("{\"response\":\"a\",\"done\":true}"), false, false},
        {"Ollama, more behind the end", OP_OLLAMA, STREAM_NDJSON,
         SLICE("{\"done\":true}\n{\"done\":false}\n"), false, false},
        {"Ollama, an error", OP_OLLAMA, STREAM_NDJSON,
         SLICE("{\"done\":false}\n{\"error\":\"out of memory\"}\n"), false, true},

        {"sound", OP_SPEECH, STREAM_BYTES, SLICE("\xFF\xFB\x90"), true, false},
        {"no sound", OP_SPEECH, STREAM_BYTES, SLICE(""), false, false},
        {"sound in events", OP_SPEECH, STREAM_SSE,
         SLICE("data: {\"type\":\"speech.audio.delta\",\"audio\":\"AA\"}\n\ndata: "
               "{\"type\":\"speech.audio.done\"}"
               "\n\n"),
         true, false},
        {"sound in events, cut", OP_SPEECH, STREAM_SSE,
         SLICE("data: {\"type\":\"speech.audio.delta\",\"audio\":\"AA\"}\n\n"), false, false},

        {"an operation without streams", OP_EMBEDDING, STREAM_NONE, SLICE("data: [DONE]\n\n"), false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t cut = 0; cut <= cases[i].bytes.len; cut++) {
            AUTO(stream_judge_done) struct stream_judge j;

            stream_judge_init(&j, dialect_of(cases[i].op), cases[i].format, false);
            stream_judge_feed(&j, slice_make(cases[i].bytes.data, cut));
            stream_judge_feed(&j, slice_skip(cases[i].bytes, cut));
            if (stream_judge_whole(&j) != cases[i].whole || j.seen_error != cases[i].error)
                fail_msg("%s, cut at %zu", cases[i].why, cut);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_the_same_however_the_bytes_are_cut),
        cmocka_unit_test(a_long_event_is_known_by_its_head),
        cmocka_unit_test(a_stream_is_whole_or_not),
    };

    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
