/* jscan: what is JSON by RFC 8259 and what is not, and one member out of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"

static void json_is_told_from_what_is_not(void **state)
{
    static const struct {
        struct slice text;
        bool want;
    } cases[] = {
        {SLICE("{}"), true},
        {SLICE(" [ ] "), true},
        {SLICE("\r\n\t{\"a\" : [1, 2.5e-3, -0, true, false, null, \"x\"] , \"b\":{}}\n"), true},
        {SLICE("\"text\""), true},
        {SLICE("0"), true},
        {SLICE("123456789012345678901234567890"), true},
        {SLICE("1e999"), true},
        {SLICE("[{},[],{\"a\":[]}]"), true},
        {SLICE("{\"a\":1,\"a\":2}"), true},
        {SLICE("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD834\""), true},
        {SLICE("\"0123456789\\n0123456789\\n\""), true},
        {SLICE("\"\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xEE\x80\x80\""), true},
        {SLICE("\"\x7F\""), true},
        {SLICE(""), false},
        {SLICE(" "), false},
        {SLICE("{"), false},
        {SLICE("}"), false},
        {SLICE("[1"), false},
        {SLICE("[1}"), false},
        {SLICE("{\"a\":1]"), false},
        {SLICE("[1,]"), false},
        {SLICE("[,1]"), false},
        {SLICE("{\"a\"}"), false},
        {SLICE("{\"a\":}"), false},
        {SLICE("{\"a\":1,}"), false},
        {SLICE("{a:1}"), false},
        {SLICE("{} {}"), false},
        {SLICE("[] x"), false},
        {SLICE("tru"), false},
        {SLICE("True"), false},
        {SLICE("nul"), false},
        {SLICE("NaN"), false},
        {SLICE("01"), false},
        {SLICE("-"), false},
        {SLICE("+1"), false},
        {SLICE("1."), false},
        {SLICE(".5"), false},
        {SLICE("1e"), false},
        {SLICE("1e+"), false},
        {SLICE("\"abc"), false},
        {SLICE("\"a\nb\""), false},
        {SLICE("\"01234567\t\""), false},
        {SLICE("\"a\0b\""), false},
        {SLICE("\"\\x\""), false},
        {SLICE("\"\\\0\""), false},
        {SLICE("\"\\u12\""), false},
        {SLICE("\"\\u12g4\""), false},
        {SLICE("\"\\"), false},
        {SLICE("\"\xFF\""), false},
        {SLICE("\"\xC0\x80\""), false},
        {SLICE("\"\xE0\x80\x80\""), false},
        {SLICE("\"\xED\xA0\x80\""), false},
        {SLICE("\"\xF4\x90\x80\x80\""), false},
        {SLICE("\"\xF0\x80\x80\x80\""), false},
        {SLICE("\"\xE2\x82\""), false},
        {SLICE("\"\xE2"), false},
        {SLICE("\xEF\xBB\xBF{}"), false},
        {SLICE("{}\0"), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (jscan_valid(cases[i].text) != cases[i].want)
            fail_msg("row %zu: %s", i, cases[i].text.data);
}

static void every_cut_of_a_text_is_no_text(void **state)
{
    static const char text[] = "{\"a\":[1,{\"b\":\"x\\u00e9\xC3\xA9\"},true,null],\"c\":-1.5e3}";

    (void)state;
    assert_true(jscan_valid(slice_str(text)));
    for (size_t len = 0; len < sizeof(text) - 1; len++)
        assert_false(jscan_valid(slice_make(text, len)));
}

static void depth_has_a_ceiling(void **state)
{
    char text[2 * (JSCAN_DEPTH_MAX + 1)];

    (void)state;
    for (size_t depth = JSCAN_DEPTH_MAX - 1; depth <= JSCAN_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(jscan_valid(slice_make(text, 2 * depth)), depth <= JSCAN_DEPTH_MAX);
    }
}

static void a_member_is_found_at_the_top_alone(void **state)
{
    static const struct {
        const char *why;
        struct slice text, name;
        enum jscan_kind want;
        const char *value;
    } cases[] = {
        {"string", SLICE("{\"type\":\"ping\"}"), SLICE("type"), JSCAN_STRING, "ping"},
        {"spaces", SLICE(" {\n\"a\" : 1 , \"type\" :\t\"x\" }"), SLICE("type"), JSCAN_STRING, "x"},
        {"undecoded", SLICE("{\"a\":\"\\\"\\u0041\"}"), SLICE("a"), JSCAN_STRING, "\\\"\\u0041"},
        {"empty string", SLICE("{\"a\":\"\"}"), SLICE("a"), JSCAN_STRING, ""},
        {"null", SLICE("{\"a\":null}"), SLICE("a"), JSCAN_NULL, "null"},
        {"number", SLICE("{\"a\":-1.5,\"b\":2}"), SLICE("a"), JSCAN_NUMBER, "-1.5"},
        {"bool", SLICE("{\"a\":true}"), SLICE("a"), JSCAN_BOOL, "true"},
        {"object", SLICE("{\"a\":{\"b\":[\"}\"]},\"c\":1}"), SLICE("a"), JSCAN_OBJECT, "{\"b\":[\"}\"]}"},
        {"array", SLICE("{\"a\":[1,[2]]}"), SLICE("a"), JSCAN_ARRAY, "[1,[2]]"},
        {"behind nested ones", SLICE("{\"x\":{\"a\":1,\"s\":\"\\\\\"},\"a\":2}"), SLICE("a"), JSCAN_NUMBER,
         "2"},
        {"only inside", SLICE("{\"x\":{\"a\":1}}"), SLICE("a"), JSCAN_ABSENT, NULL},
        {"as a value", SLICE("{\"x\":\"a\"}"), SLICE("a"), JSCAN_ABSENT, NULL},
        {"not an object", SLICE("[\"a\",1]"), SLICE("a"), JSCAN_ABSENT, NULL},
        {"empty object", SLICE("{}"), SLICE("a"), JSCAN_ABSENT, NULL},
        {"nothing", SLICE(""), SLICE("a"), JSCAN_ABSENT, NULL},
        {"cut behind it", SLICE("{\"a\":\"x\",\"b\":[{"), SLICE("a"), JSCAN_STRING, "x"},
        {"cut inside it", SLICE("{\"a\":\"xyz"), SLICE("a"), JSCAN_STRING, "xyz"},
        {"cut before it", SLICE("{\"a\":"), SLICE("a"), JSCAN_ABSENT, NULL},
        {"no JSON", SLICE("{\"x\" 1,\"a\":1}"), SLICE("a"), JSCAN_ABSENT, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice value = SLICE("untouched");

        if (jscan_member(cases[i].text, cases[i].name, &value) != cases[i].want)
            fail_msg("%s: kind", cases[i].why);
        if (!slice_eq(value, slice_str(cases[i].value ? cases[i].value : "untouched")))
            fail_msg("%s: got %.*s", cases[i].why, (int)value.len, value.data);
        assert_int_equal(jscan_member(cases[i].text, cases[i].name, NULL), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_told_from_what_is_not),
        cmocka_unit_test(every_cut_of_a_text_is_no_text),
        cmocka_unit_test(depth_has_a_ceiling),
        cmocka_unit_test(a_member_is_found_at_the_top_alone),
    };

    return cmocka_run_group_tests_name("jscan", tests, NULL, NULL);
}
