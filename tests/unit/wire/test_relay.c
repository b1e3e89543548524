/* relay: what leaders tell and followers take; and what followers do not take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/relay.h"

#define ID "0123456789abcdef0123456789abcdef"

static struct slice head_bytes(struct buf *out, const struct relay_head *head)
{
    buf_clear(out);
    assert_int_equal(relay_head_write(out, head), 0);
    return buf_slice(out);
}

static void stamps_come_back(void **state)
{
    struct relay_stamp stamp = {RELAY_DATA, true, {{1, 2, 3}}, UINT64_C(0xFEDCBA9876543210), 77}, read;
    char bytes[RELAY_STAMP_BYTES + 3] = "";

    (void)state;
    relay_stamp_write(&stamp, bytes);
    assert_true(relay_stamp_read(slice_make(bytes, sizeof(bytes)), &read));
    assert_int_equal(read.kind, RELAY_DATA);
    assert_true(read.sealed);
    assert_true(digest_eq(&read.key, &stamp.key));
    assert_true(read.fence == stamp.fence && read.seq == 77);
}

static void stamps_of_others_are_none(void **state)
{
    struct relay_stamp stamp = {RELAY_END, false, {{1}}, 1, 1}, read;
    char bytes[RELAY_STAMP_BYTES];
    static const struct {
        const char *why;
        size_t at;
        char value;
    } faults[] = {
        {"something else altogether", 0, 'x'},
        {"a version to come", 1, 2},
        {"no kind", 2, 0},
        {"a kind to come", 2, 9},
        {"a flag to come", 3, 2},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        relay_stamp_write(&stamp, bytes);
        bytes[faults[i].at] = faults[i].value;
        if (relay_stamp_read(slice_make(bytes, sizeof(bytes)), &read))
            fail_msg("taken: %s", faults[i].why);
    }
    relay_stamp_write(&stamp, bytes);
    for (size_t len = 0; len < sizeof(bytes); len++)
        assert_false(relay_stamp_read(slice_make(bytes, len), &read));
}

static struct relay_head full_head(void)
{
    struct relay_head head = {.status = 200,
                              .stream = true,
                              .confirmed = true,
                              .body_len = 17,
                              .came_ms = 1700000000123,
                              .id = SLICE(ID),
                              .reason = SLICE("finish_reason"),
                              .vary_names = SLICE("accept-language,origin"),
                              .vary_id = SLICE(ID),
                              .vary_key = {{9, 8, 7}}};

    assert_int_equal(fields_add(&head.fields, SLICE_OF("Content-Type"), SLICE_OF("text/event-stream")), 0);
    assert_int_equal(fields_add(&head.fields, SLICE_OF("X-Latin"), SLICE_OF("caf\xe9 \"1\"")), 0);
    assert_int_equal(fields_add(&head.fields, SLICE_OF("X-Empty"), SLICE_OF("")), 0);
    return head;
}

static void heads_come_back_byte_for_byte(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(4096);
    struct relay_head head = full_head(), read;

    (void)state;
    assert_true(relay_head_read(head_bytes(&out, &head), &read));
    assert_int_equal(read.status, 200);
    assert_true(read.stream && read.confirmed);
    assert_int_equal(read.body_len, 17);
    assert_true(read.came_ms == 1700000000123);
    assert_true(slice_eq(read.id, head.id) && slice_eq(read.reason, head.reason));
    assert_true(slice_eq(read.vary_names, head.vary_names) && slice_eq(read.vary_id, head.vary_id));
    assert_true(digest_eq(&read.vary_key, &head.vary_key));
    assert_int_equal(read.fields.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(slice_eq(read.fields.at[i].name, head.fields.at[i].name) &&
                    slice_eq(read.fields.at[i].value, head.fields.at[i].value));
}

static void what_is_not_said_of_a_head_is_not_so(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(4096);
    struct relay_head head = {.status = 429, .body_len = -1, .id = SLICE(ID)}, read;

    (void)state;
    assert_true(relay_head_read(head_bytes(&out, &head), &read));
    assert_int_equal(read.status, 429);
    assert_true(!read.stream && !read.confirmed && read.body_len == -1);
    assert_true(read.reason.len == 0 && read.vary_names.len == 0 && read.fields.n == 0);
}

static void a_head_that_could_do_harm_is_none(void **state)
{
    static const struct {
        const char *why, *name, *value, *id;
        unsigned status;
    } cases[] = {
        {"a value that would end the line", "X", "a\r\nSet-Cookie: b", ID, 200},
        {"a name that would end the line", "X\n", "a", ID, 200},
        {"a name of nothing", "", "a", ID, 200},
        {"a NUL in a value", "X", "\x01", ID, 200},
        {"an id that is none", "X", "a", "0123456789ABCDEF0123456789ABCDEF", 200},
        {"an id too short", "X", "a", "0123", 200},
        {"no id", "X", "a", "", 200},
        {"a status before the answer", "X", "a", ID, 100},
        {"a status of four digits", "X", "a", ID, 1000},
    };
    AUTO(buf_done) struct buf out = BUF_INIT(4096);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct relay_head head = {.status = cases[i].status, .body_len = -1, .id = slice_str(cases[i].id)},
                          read;

        assert_int_equal(fields_add(&head.fields, slice_str(cases[i].name), slice_str(cases[i].value)), 0);
        if (relay_head_read(head_bytes(&out, &head), &read))
            fail_msg("taken: %s", cases[i].why);
    }
}

static void a_head_of_too_many_fields_is_none(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(1 << 16);
    struct relay_head head = {.status = 200, .body_len = -1, .id = SLICE(ID)}, read;

    (void)state;
    while (fields_add(&head.fields, SLICE_OF("a"), SLICE_OF("b")) == 0)
        ;
    assert_true(relay_head_read(head_bytes(&out, &head), &read));
    assert_int_equal(read.fields.n, FIELDS_MAX);
    assert_int_equal(buf_add(&out, "\x09\x01\0\0\0a\x0a\x01\0\0\0b", 12), 0);
    assert_false(relay_head_read(buf_slice(&out), &read));
}

static void what_is_cut_anywhere_is_none(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(4096);
    struct relay_head head = full_head(), read, whole;
    struct slice bytes = head_bytes(&out, &head);

    (void)state;
    assert_true(relay_head_read(bytes, &whole));
    for (size_t len = 0; len < bytes.len; len++) /* between two fields it is a head of fewer: the stamp's
                                                    transport keeps messages whole */
        if (relay_head_read(slice_make(bytes.data, len), &read))
            assert_true(read.fields.n < whole.fields.n);
}

static void tags_to_come_are_skipped(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(4096);
    struct relay_head head = full_head(), read;

    (void)state;
    (void)head_bytes(&out, &head);
    assert_int_equal(buf_add(&out, "\x7f\x03\0\0\0new", 8), 0);
    assert_true(relay_head_read(buf_slice(&out), &read));
    assert_int_equal(read.fields.n, 3);
}

static void ends_come_back(void **state)
{
    static const struct relay_end ends[] = {
        {.how = RELAY_WHOLE, .stored = true, .bytes = 5000000000, .sum = {{1, 2}}},
        {.how = RELAY_WHOLE, .stored = true, .tokens_in = 7, .tokens_out = UINT32_MAX},
        {.how = RELAY_WHOLE, .tokens_in = 7, .tokens_cached = 4, .tokens_cache_write = UINT32_MAX},
        {.how = RELAY_WHOLE, .reason = SLICE("tool_arguments"), .bytes = 3},
        {.how = RELAY_CUT, .reason = SLICE("incomplete")},
        {.how = RELAY_FAILED,
         .error = ERR_UPSTREAM_TIMEOUT,
         .error_text = SLICE("upstream did not answer in time"),
         .retry_after_s = 7},
        {.how = RELAY_UNSHAREABLE},
        {.how = RELAY_ALONE},
        {.how = RELAY_AGAIN},
    };
    AUTO(buf_done) struct buf out = BUF_INIT(4096);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct relay_end end = ends[i], read;

        if (i == 0)
            assert_int_equal(fields_add(&end.trailers, SLICE_OF("X-Sum"), SLICE_OF("1")), 0);
        buf_clear(&out);
        assert_int_equal(relay_end_write(&out, &end), 0);
        assert_true(relay_end_read(buf_slice(&out), &read));
        assert_int_equal(read.how, end.how);
        assert_true(read.stored == end.stored && read.bytes == end.bytes && digest_eq(&read.sum, &end.sum) &&
                    read.retry_after_s == end.retry_after_s && read.tokens_in == end.tokens_in &&
                    read.tokens_out == end.tokens_out && read.tokens_cached == end.tokens_cached &&
                    read.tokens_cache_write == end.tokens_cache_write);
        assert_true(slice_eq(read.reason, end.reason) && slice_eq(read.error_text, end.error_text));
        assert_int_equal(read.error, end.how == RELAY_FAILED ? end.error : ERR_UPSTREAM_PROTOCOL);
        assert_int_equal(read.trailers.n, end.trailers.n);
    }
}

static void an_end_of_no_kind_is_none(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(4096);
    static const struct relay_end many = {.how = RELAY_WHOLE, .tokens_in = UINT64_C(1) << 32};
    static const struct relay_end many_cached = {.how = RELAY_WHOLE, .tokens_cached = UINT64_C(1) << 32};
    struct relay_end read;

    (void)state;
    assert_false(relay_end_read((struct slice){NULL, 0}, &read));
    assert_false(relay_end_read(SLICE_OF("\x0b\x08\0\0\0\x09\0\0\0\0\0\0"), &read));
    assert_false(relay_end_read(SLICE_OF("\x0b\x01\0\0\0\x01"), &read));
    assert_true(relay_end_read(slice_make("\x0b\x08\0\0\0\x02\0\0\0\0\0\0\0", 13), &read));
    assert_int_equal(read.how, RELAY_CUT);
    assert_int_equal(relay_end_write(&out, &many), 0);
    assert_false(relay_end_read(buf_slice(&out), &read));
    buf_clear(&out);
    assert_int_equal(relay_end_write(&out, &many_cached), 0);
    assert_false(relay_end_read(buf_slice(&out), &read));
}

static void writing_keeps_the_ceiling(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(100);
    struct relay_head head = full_head();

    (void)state;
    assert_true(relay_head_write(&out, &head) < 0);
    assert_true(out.len <= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stamps_come_back),
        cmocka_unit_test(stamps_of_others_are_none),
        cmocka_unit_test(heads_come_back_byte_for_byte),
        cmocka_unit_test(what_is_not_said_of_a_head_is_not_so),
        cmocka_unit_test(a_head_that_could_do_harm_is_none),
        cmocka_unit_test(a_head_of_too_many_fields_is_none),
        cmocka_unit_test(what_is_cut_anywhere_is_none),
        cmocka_unit_test(tags_to_come_are_skipped),
        cmocka_unit_test(ends_come_back),
        cmocka_unit_test(an_end_of_no_kind_is_none),
        cmocka_unit_test(writing_keeps_the_ceiling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
