/* buf: ceilings hold, and what cannot be added leaves the buf as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "refrain/base/buf.h"

static void grows_up_to_its_ceiling_and_no_further(void **state)
{
    AUTO(buf_done) struct buf b = BUF_INIT(300);
    char block[100] = {0};

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(buf_add(&b, block, sizeof(block)), 0);
    assert_int_equal(buf_add(&b, block, 1), -EMSGSIZE);
    assert_int_equal(b.len, 300);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
}

static void formats_short_and_long_text(void **state)
{
    AUTO(buf_done) struct buf b = BUF_INIT(2000);

    (void)state;
    assert_int_equal(buf_addf(&b, "%d-", 7), 0);
    assert_int_equal(buf_addf(&b, "%600s", "x"), 0);
    assert_int_equal(b.len, 602);
    assert_int_equal(b.data[601], 'x');
    assert_int_equal(buf_addf(&b, "%2000s", "x"), -EMSGSIZE);
    assert_int_equal(b.len, 602);
}

static void json_strings_are_always_valid_json(void **state)
{
    static const struct {
        const char *why;
        struct slice in;
        const char *want;
    } cases[] = {
        {"plain", SLICE("abc"), "\"abc\""},
        {"quote and backslash", SLICE("a\"\\"), "\"a\\\"\\\\\""},
        {"controls", SLICE("\n\x01\x7f"), "\"\\n\\u0001\\u007f\""},
        {"a NUL inside", SLICE("a\0b"), "\"a\\u0000b\""},
        {"UTF-8 stays", SLICE("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
         "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
        {"a lone byte", SLICE("\xFF"), "\"\xEF\xBF\xBD\""},
        {"overlong", SLICE("\xC0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"a surrogate", SLICE("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"cut short", SLICE("\xE2\x82"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf b = BUF_INIT(200);

        assert_int_equal(buf_add_json(&b, cases[i].in), 0);
        if (!slice_eq(buf_slice(&b), slice_str(cases[i].want)))
            fail_msg("%s: got %.*s", cases[i].why, (int)b.len, b.data);
    }
}

static void a_json_string_that_does_not_fit_adds_nothing(void **state)
{
    AUTO(buf_done) struct buf b = BUF_INIT(6);

    (void)state;
    assert_int_equal(buf_add(&b, "ab", 2), 0);
    assert_int_equal(buf_add_json(&b, SLICE_OF("abcd")), -EMSGSIZE);
    assert_int_equal(b.len, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_up_to_its_ceiling_and_no_further),
        cmocka_unit_test(formats_short_and_long_text),
        cmocka_unit_test(json_strings_are_always_valid_json),
        cmocka_unit_test(a_json_string_that_does_not_fit_adds_nothing),
    };

    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
