/* instances_msg: what is written is read again; what is not just so is nothing at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instances_msg.h"
#include "refrain/base/attr.h"

#define SOURCE "00112233aabbccdd"
#define HEAD   "{\"v\":1,\"source\":\"" SOURCE "\",\"at\":5,"

static struct instances_msg said, heard;

static struct instances_msg *say(enum msg_kind kind)
{
    memset(&said, 0, sizeof(said));
    said.kind = kind;
    said.at_ms = 1795282714123;
    memcpy(said.source, SOURCE, sizeof(SOURCE));
    return &said;
}

static void pass(struct buf *text)
{
    assert_int_equal(instances_msg_write(&said, text), 0);
    if (!instances_msg_read(buf_slice(text), &heard))
        fail_msg("not read: %.*s", (int)text->len, text->data);
    assert_int_equal(heard.kind, said.kind);
    assert_int_equal(heard.at_ms, said.at_ms);
    assert_string_equal(heard.source, said.source);
}

static void invalidations_come_as_they_went(void **state)
{
    static const struct selector cases[] = {
        {.created_before_ms = 0},
        {.id = SLICE("0123456789abcdef0123456789abcdef")},
        {.pattern = SLICE("default:chat:gpt-4o*:*"), .model = SLICE("gpt-?")},
        {.tag = SLICE("a \"tag\"\\ with %41 \x01\xC3\xA4"), .namespace_ = SLICE("team.a")},
        {.operation = SLICE("read"), .target = 0x00f1, .created_before_ms = 1795282714123},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf text = BUF_INIT(MSG_BYTES_MAX);

        say(MSG_INVALIDATED)->which = cases[i];
        said.ask = i;
        said.dry_run = i % 2;
        said.correlation = i > 2 ? SLICE_OF("r-1") : (struct slice){NULL, 0};
        pass(&text);
        assert_true(selector_eq(&heard.which, &cases[i]));
        assert_int_equal(heard.ask, i);
        assert_int_equal(heard.dry_run, i % 2);
        assert_true(slice_eq(heard.correlation, said.correlation));
    }
}

static void notes_and_answers_too(void **state)
{
    AUTO(buf_done) struct buf note = BUF_INIT(MSG_BYTES_MAX);
    AUTO(buf_done) struct buf answer = BUF_INIT(MSG_ANSWER_BYTES_MAX);
    AUTO(buf_done) struct buf sums = BUF_INIT(64);

    (void)state;
    say(MSG_REFUSED)->sum = UINT64_C(0xFFEEDDCCBBAA0099);
    pass(&note);
    assert_true(heard.sum == said.sum);
    assert_int_equal(instances_msg_add_sum(&sums, 7), 0);
    assert_int_equal(instances_msg_add_sum(&sums, UINT64_MAX), 0);
    say(MSG_ANSWER)->sums = buf_slice(&sums);
    said.ask = 3;
    said.matched = 2;
    said.memory = 1;
    said.disk = 2;
    said.seq = 1795282714123456;
    said.at_least = true;
    pass(&answer);
    assert_true(heard.ask == 3 && heard.matched == 2 && heard.memory == 1 && heard.disk == 2);
    assert_true(heard.seq == said.seq && heard.at_least && instances_msg_sums_n(&heard) == 2);
    assert_true(instances_msg_sum(&heard, 0) == 7 && instances_msg_sum(&heard, 1) == UINT64_MAX);
}

static void what_is_not_just_so_is_nothing(void **state)
{
    static const struct {
        const char *why, *text;
    } cases[] = {
        {"nothing", ""},
        {"no JSON", "{"},
        {"no object", "[1]"},
        {"another version",
         "{\"v\":2,\"source\":\"" SOURCE "\",\"at\":5,\"type\":\"TARGET\",\"sum\":\"" SOURCE "\"}"},
        {"no version", "{\"source\":\"" SOURCE "\",\"at\":5,\"type\":\"TARGET\",\"sum\":\"" SOURCE "\"}"},
        {"no type", HEAD "\"sum\":\"" SOURCE "\"}"},
        {"another type", HEAD "\"type\":\"FLUSH\",\"sum\":\"" SOURCE "\"}"},
        {"a short source", "{\"v\":1,\"source\":\"00\",\"at\":5,\"type\":\"TARGET\",\"sum\":\"" SOURCE "\"}"},
        {"a negative time",
         "{\"v\":1,\"source\":\"" SOURCE "\",\"at\":-5,\"type\":\"TARGET\",\"sum\":\"" SOURCE "\"}"},
        {"a sum in capitals", HEAD "\"type\":\"TARGET\",\"sum\":\"00112233AABBCCDD\"}"},
        {"no sum", HEAD "\"type\":\"TARGET\"}"},
        {"no selector: it would mean everything", HEAD "\"type\":\"CACHE_INVALIDATED\",\"ask\":0}"},
        {"a selector that is none", HEAD "\"type\":\"CACHE_INVALIDATED\",\"ask\":0,\"which\":[]}"},
        {"a text that is none",
         HEAD "\"type\":\"CACHE_INVALIDATED\",\"ask\":0,\"which\":{\"before\":0,\"tag\":1}}"},
        {"an escape",
         HEAD "\"type\":\"CACHE_INVALIDATED\",\"ask\":0,\"which\":{\"before\":0,\"tag\":\"\\u0041\"}}"},
        {"half an escape",
         HEAD "\"type\":\"CACHE_INVALIDATED\",\"ask\":0,\"which\":{\"before\":0,\"tag\":\"%4\"}}"},
        {"half a sum", HEAD "\"type\":\"ANSWER\",\"ask\":1,\"matched\":0,\"memory\":0,\"disk\":0,\"seq\":0,"
                            "\"sums\":\"00\"}"},
        {"a sum that is none",
         HEAD "\"type\":\"ANSWER\",\"ask\":1,\"matched\":0,\"memory\":0,\"disk\":0,\"seq\":0,"
              "\"sums\":\"00112233aabbccdg\"}"},
        {"a count that is none", HEAD "\"type\":\"ANSWER\",\"ask\":1,\"matched\":1.5,\"memory\":0,\"disk\":0,"
                                      "\"seq\":0,\"sums\":\"\"}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (instances_msg_read(slice_str(cases[i].text), &heard))
            fail_msg("%s: it was read", cases[i].why);
}

static void bounds_hold(void **state)
{
    AUTO(buf_done) struct buf text = BUF_INIT(1 << 20);
    static char longest[MSG_TEXTS_BYTES + 1];

    (void)state;
    memset(longest, '"', sizeof(longest));
    say(MSG_INVALIDATED)->which.tag = slice_make(longest, MSG_TEXTS_BYTES);
    pass(&text);
    assert_true(text.len <= MSG_BYTES_MAX);
    assert_int_equal(heard.which.tag.len, MSG_TEXTS_BYTES);
    said.which.tag.len++;
    buf_clear(&text);
    assert_int_equal(instances_msg_write(&said, &text), -EMSGSIZE);
    for (size_t n = MSG_SUMS_MAX; n <= MSG_SUMS_MAX + 1; n++) {
        AUTO(buf_done) struct buf sums = BUF_INIT(1 << 20);

        for (size_t i = 0; i < n; i++)
            assert_int_equal(instances_msg_add_sum(&sums, i), 0);
        say(MSG_ANSWER)->sums = buf_slice(&sums);
        buf_clear(&text);
        assert_int_equal(instances_msg_write(&said, &text), 0);
        assert_int_equal(instances_msg_read(buf_slice(&text), &heard), n == MSG_SUMS_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(invalidations_come_as_they_went),
        cmocka_unit_test(notes_and_answers_too),
        cmocka_unit_test(what_is_not_just_so_is_nothing),
        cmocka_unit_test(bounds_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
