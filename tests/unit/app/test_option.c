/* option: texts to values and back, and what is no value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config_table.h"
#include "option.h"
#include "refrain/base/attr.h"

enum { NOT = -99 };

static const char *const fruits[] = {"apple", "pear", NULL};

static void numbers_are_read(void **state)
{
    static const struct option_row any = {.size = 8};
    static const struct {
        const char *why;
        enum option_type type;
        const char *text;
        int64_t want;
    } cases[] = {
        {"true", OPTION_BOOL, "true", 1},
        {"off", OPTION_BOOL, "off", 0},
        {"letters' case", OPTION_BOOL, "Yes", 1},
        {"a number is no truth", OPTION_BOOL, "1", NOT},
        {"count", OPTION_COUNT, "42", 42},
        {"largest", OPTION_COUNT, "9223372036854775807", INT64_MAX},
        {"over", OPTION_COUNT, "9223372036854775808", NOT},
        {"negative", OPTION_COUNT, "-1", NOT},
        {"fraction", OPTION_COUNT, "1.5", NOT},
        {"empty", OPTION_COUNT, "", NOT},
        {"bytes alone", OPTION_BYTES, "512", 512},
        {"binary", OPTION_BYTES, "500MiB", 500 << 20},
        {"decimal", OPTION_BYTES, "2KB", 2000},
        {"nginx's way", OPTION_BYTES, "24K", 24 << 10},
        {"largest unit", OPTION_BYTES, "2TiB", INT64_C(2) << 40},
        {"too many", OPTION_BYTES, "9999999999TiB", NOT},
        {"unit alone", OPTION_BYTES, "MiB", NOT},
        {"space", OPTION_BYTES, "5 MiB", NOT},
        {"small letters", OPTION_BYTES, "5mib", NOT},
        {"seconds by default", OPTION_MS, "3", 3000},
        {"milliseconds", OPTION_MS, "250ms", 250},
        {"compound", OPTION_MS, "1h30m", 5400000},
        {"days", OPTION_MS, "365d", INT64_C(31536000000)},
        {"unknown unit", OPTION_MS, "5w", NOT},
        {"too long", OPTION_MS, "99999999999999999d", NOT},
        {"a sum too long", OPTION_MS, "106751991167d106751991167d", NOT},
        {"thousandths", OPTION_DECIMAL, "0.125", 125},
        {"a tenth", OPTION_DECIMAL, "0.1", 100},
        {"whole", OPTION_DECIMAL, "2", 2000},
        {"finer than a thousandth", OPTION_DECIMAL, "0.0625", NOT},
        {"nothing behind the point", OPTION_DECIMAL, "1.", NOT},
        {"nothing before it", OPTION_DECIMAL, ".5", NOT},
        {"two points", OPTION_DECIMAL, "1.2.3", NOT},
        {"too large", OPTION_DECIMAL, "9223372036854775807", NOT},
        {"a price", OPTION_DOLLARS, "0.15", 150000},
        {"whole dollars", OPTION_DOLLARS, "15", 15000000},
        {"the finest price", OPTION_DOLLARS, "0.000001", 1},
        {"finer than that", OPTION_DOLLARS, "0.0000001", NOT},
        {"a price with its sign", OPTION_DOLLARS, "$2", NOT},
        {"less than nothing", OPTION_DOLLARS, "-1", NOT},
        {"a price too large", OPTION_DOLLARS, "9300000000000", NOT},
        {"lifetime", OPTION_SECONDS, "2h", 7200},
        {"a whole second from parts", OPTION_SECONDS, "1000ms", 1},
        {"part of a second", OPTION_SECONDS, "1500ms", NOT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct option_row row = any;
        int64_t got = NOT;

        row.type = cases[i].type;
        if (option_parse(&row, slice_str(cases[i].text), &got) != (cases[i].want != NOT) ||
            got != cases[i].want)
            fail_msg("%s: %s gave %lld", cases[i].why, cases[i].text, (long long)got);
    }
}

static void ranges_words_and_choices_hold(void **state)
{
    const struct option_row ranged = {.type = OPTION_COUNT, .min = 1, .max = 256, .word = "auto", .size = 4};
    const struct option_row small = {.type = OPTION_COUNT, .size = 4};
    const struct option_row maybe = {.type = OPTION_MAYBE, .word = "any", .size = 4};
    const struct option_row chosen = {.type = OPTION_ENUM, .choices = fruits, .size = 4};
    int64_t n;

    (void)state;
    assert_false(option_parse(&ranged, SLICE_OF("0"), &n));
    assert_false(option_parse(&ranged, SLICE_OF("257"), &n));
    assert_true(option_parse(&ranged, SLICE_OF("256"), &n) && n == 256);
    assert_true(option_parse(&ranged, SLICE_OF("auto"), &n) && n == 0);
    assert_false(option_parse(&small, SLICE_OF("4294967296"), &n)); /* would not fit its field */
    assert_true(option_parse(&maybe, SLICE_OF("any"), &n) && n == MAYBE_UNSAID);
    assert_true(option_parse(&maybe, SLICE_OF("yes"), &n) && n == MAYBE_YES);
    assert_true(option_parse(&maybe, SLICE_OF("off"), &n) && n == MAYBE_NO);
    assert_false(option_parse(&maybe, SLICE_OF("1"), &n));
    assert_true(option_parse(&chosen, SLICE_OF("pear"), &n) && n == 1);
    assert_false(option_parse(&chosen, SLICE_OF("Pear"), &n));
}

static void numbers_are_shown_as_short_as_they_go(void **state)
{
    static const struct {
        enum option_type type;
        int64_t number;
        const char *want;
    } cases[] = {
        {OPTION_BYTES, 500 << 20, "500MiB"},
        {OPTION_BYTES, 1500, "1500B"},
        {OPTION_BYTES, 2000, "2KB"},
        {OPTION_BYTES, 0, "0"},
        {OPTION_MS, 90000, "90s"},
        {OPTION_MS, 3600000, "1h"},
        {OPTION_MS, 1, "1ms"},
        {OPTION_SECONDS, 86400, "1d"},
        {OPTION_DECIMAL, 500, "0.5"},
        {OPTION_DECIMAL, 1025, "1.025"},
        {OPTION_DECIMAL, 2000, "2"},
        {OPTION_DECIMAL, 0, "0"},
        {OPTION_DOLLARS, 150000, "0.15"},
        {OPTION_DOLLARS, 75000, "0.075"},
        {OPTION_DOLLARS, 1, "0.000001"},
        {OPTION_DOLLARS, 15000000, "15"},
        {OPTION_COUNT, 7, "7"},
        {OPTION_BOOL, 1, "true"},
        {OPTION_ENUM, 1, "pear"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(100);
        struct option_row row = {.type = cases[i].type, .choices = fruits, .size = 8};
        int64_t again;

        option_format(&row, cases[i].number, &out);
        assert_int_equal(buf_add_byte(&out, '\0'), 0);
        assert_string_equal(out.data, cases[i].want);
        assert_true(option_parse(&row, slice_str(out.data), &again));
        assert_int_equal(again, cases[i].number);
    }
}

static void texts_are_judged(void **state)
{
    static const char *const schemes[] = {"https", "http", NULL};
    static const struct {
        const char *why;
        enum option_type type;
        unsigned flags;
        const char *text;
        bool ok;
    } cases[] = {
        {"origin", OPTION_URL, 0, "https://api.openai.com", true},
        {"with a path", OPTION_URL, 0, "http://127.0.0.1:8000/v1/", true},
        {"another scheme", OPTION_URL, 0, "ftp://x", false},
        {"no scheme", OPTION_URL, 0, "api.openai.com", false},
        {"no host", OPTION_URL, 0, "https://", false},
        {"no host but a port", OPTION_URL, 0, "https://:80", false},
        {"a query", OPTION_URL, 0, "https://x/?a", false},
        {"a space", OPTION_URL, 0, "https://x /", false},
        {"credentials where they would show", OPTION_URL, 0, "https://a:b@x", false},
        {"credentials where they do not", OPTION_URL, OPTION_MASKED, "https://a:b@x", true},
        {"name", OPTION_NAME, 0, "team-a_1.x", true},
        {"name with a blank", OPTION_NAME, 0, "team a", false},
        {"no name", OPTION_NAME, 0, "", false},
        {"prefix", OPTION_PREFIX, 0, "/openai/", true},
        {"relative prefix", OPTION_PREFIX, 0, "openai/", false},
        {"a query behind a prefix", OPTION_PREFIX, 0, "/a?b", false},
        {"header name", OPTION_LIST, OPTION_FIELDS, "X-A", true},
        {"no header name", OPTION_LIST, OPTION_FIELDS, "X A", false},
        {"any text", OPTION_LIST, 0, "a b", true},
        {"header value", OPTION_HEADERS, 0, "Bearer x", true},
        {"a line in a header value", OPTION_HEADERS, 0, "a\r\nb: c", false},
        {"address", OPTION_ADDRESS, 0, "[::1]:8080", true},
        {"no address", OPTION_ADDRESS, 0, "8080", false},
        {"an empty path", OPTION_PATH, 0, "", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct option_row row = {.type = cases[i].type, .flags = cases[i].flags, .choices = schemes};

        if (option_text_ok(&row, slice_str(cases[i].text)) != cases[i].ok)
            fail_msg("%s: %s", cases[i].why, cases[i].text);
    }
}

static void slips_are_near_and_other_words_are_not(void **state)
{
    unsigned d;

    (void)state;
    assert_int_equal(text_distance(SLICE_OF("max_bytes"), SLICE_OF("max_bytes")), 0);
    assert_int_equal(text_distance(SLICE_OF("max_byts"), SLICE_OF("max_bytes")), 1);
    assert_int_equal(text_distance(SLICE_OF("max_byets"), SLICE_OF("max_bytes")), 1); /* a swap is one slip */
    assert_int_equal(text_distance(SLICE_OF(""), SLICE_OF("abc")), 3);
    assert_true(text_is_near(SLICE_OF("lsiten"), SLICE_OF("listen"), &d));
    assert_false(text_is_near(SLICE_OF("log"), SLICE_OF("key"), &d));
    assert_false(
        text_is_near(SLICE_OF("a_name_of_more_than_forty_bytes_is_near_to_nothing"), SLICE_OF("x"), &d));
}

static void check_row(const struct option_section *s, const struct option_row *row)
{
    int64_t number;

    if (!row->help || strlen(row->help) < 10 || row->help[strlen(row->help) - 1] != '.')
        fail_msg("%s %s: needs a sentence of help", s->name, row->name);
    if (row->size == 0)
        fail_msg("%s %s: has no field", s->name, row->name);
    if ((row->type == OPTION_ENUM || row->type == OPTION_URL) && !row->choices)
        fail_msg("%s %s: has no choices", s->name, row->name);
    if (option_is_number(row) && row->flags & (OPTION_UNSAID | OPTION_REQUIRED)) {
        assert_null(row->fallback);
        return;
    }
    if (option_is_number(row) && !row->fallback)
        fail_msg("%s %s: a number needs a default", s->name, row->name);
    if (option_is_number(row) && !option_parse(row, slice_str(row->fallback), &number))
        fail_msg("%s %s: its default is no value of it", s->name, row->name);
    if (!option_is_number(row) && row->fallback && !option_text_ok(row, slice_str(row->fallback)))
        fail_msg("%s %s: its default is no value of it", s->name, row->name);
}

static void every_row_is_whole_and_its_default_is_a_value(void **state)
{
    (void)state;
    for (size_t s = 0; s < OPTION_SECTIONS; s++)
        for (size_t i = 0; i < option_sections[s]->rows_n; i++) {
            check_row(option_sections[s], &option_sections[s]->rows[i]);
            for (size_t k = 0; k < i; k++)
                assert_string_not_equal(option_sections[s]->rows[i].name, option_sections[s]->rows[k].name);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read),
        cmocka_unit_test(ranges_words_and_choices_hold),
        cmocka_unit_test(numbers_are_shown_as_short_as_they_go),
        cmocka_unit_test(texts_are_judged),
        cmocka_unit_test(slips_are_near_and_other_words_are_not),
        cmocka_unit_test(every_row_is_whole_and_its_default_is_a_value),
    };

    return cmocka_run_group_tests_name("option", tests, NULL, NULL);
}
