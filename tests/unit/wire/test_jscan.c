/* jscan: what is JSON by RFC 8259 and what is not, and one member out of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

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

/* Members as `name=kind:text;` in their order. */
static void write_walk(struct slice text, char *out, size_t room)
{
    struct jscan_walk w = jscan_walk(jscan_root(text));
    struct jscan_item item;
    size_t n = 0;

    out[0] = '\0';
    while (jscan_next(&w, &item))
        n += (size_t)snprintf(out + n, room - n, "%.*s=%d:%.*s;", (int)item.name.len, item.name.data,
                              (int)item.value.kind, (int)item.value.text.len, item.value.text.data);
    assert_false(jscan_next(&w, &item)); /* and it stays at its end */
}

static void a_walk_takes_each_in_its_order(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"{\"a\":1,\"b\":\"x\",\"a\":[]}", "a=3:1;b=4:x;a=5:[];"},
        {" { \"a\" : { \"b\" : [ 1 , 2 ] } , \"c\" : null } ", "a=6:{ \"b\" : [ 1 , 2 ] };c=1:null;"},
        {"[1,\"x\",[2,3],{\"a\":4},true,null]", "=3:1;=4:x;=5:[2,3];=6:{\"a\":4};=2:true;=1:null;"},
        {"[ 1 , 2 ]", "=3:1;=3:2;"},
        {"{}", ""},
        {"[]", ""},
        {"[ ]", ""},
        {"\"a\"", ""},
        {"7", ""},
        {"", ""},
        {"{\"a\\\"]}\":\"\\\\\",\"b\":1}", "a\\\"]}=4:\\\\;b=3:1;"},
        {"{\"a\":1", "a=3:1;"},
        {"{\"a\":", ""},
        {"{\"a\"", ""},
        {"[1 2]", "=3:1;"},
        {"[[1,2", "=5:[1,2;"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char got[300];

        write_walk(slice_str(cases[i].text), got, sizeof(got));
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: %s", cases[i].text, got);
    }
}

static void values_are_told_empty_or_counted(void **state)
{
    static const struct {
        const char *text;
        bool empty;
        int64_t count;
    } cases[] = {
        {"null", true, -1},
        {"\"\"", true, -1},
        {"[]", true, -1},
        {"[ ]", true, -1},
        {"{ }", true, -1},
        {"", true, -1},
        {"[null]", false, -1},
        {"{\"a\":null}", false, -1},
        {"\" \"", false, -1},
        {"false", false, -1},
        {"0", false, 0},
        {"12", false, 12},
        {"9007199254740992", false, INT64_C(9007199254740992)},
        {"9007199254740993", false, -1},
        {"99999999999999999999", false, -1},
        {"1.0", false, -1},
        {"-1", false, -1},
        {"\"1\"", false, -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jscan_value v = jscan_root(slice_str(cases[i].text));

        if (jscan_is_empty(v) != cases[i].empty || jscan_count(v, -1) != cases[i].count)
            fail_msg("%s", cases[i].text);
    }
    assert_true(jscan_is(jscan_get(jscan_root(SLICE_OF("{\"a\":\"b\"}")), SLICE_OF("a")), SLICE_OF("b")));
    assert_int_equal(jscan_get(jscan_root(SLICE_OF("[\"a\"]")), SLICE_OF("a")).kind, JSCAN_ABSENT);
    assert_int_equal(jscan_get(jscan_root(SLICE_OF("{\"a\":1}")), SLICE_OF("b")).kind, JSCAN_ABSENT);
}

static const char *const texts[] = {
    "{}",
    "[]",
    " [1, -2.5e+3, 0, 0.1, 1E9, true, false, null, \"x\"] ",
    "{\"a\":{\"b\":[{}]},\"c\":\"\\u00e9\\n\"}",
    "\"a\"",
    "7",
    "-0",
    "0",
    "1e5",
    "",
    " ",
    "{",
    "}",
    "[1",
    "[1}",
    "{\"a\":1]",
    "[1,]",
    "[,1]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{a:1}",
    "{} {}",
    "01",
    "-",
    "+1",
    "1.",
    ".5",
    "1e",
    "1e+",
    "tru",
    "truex",
    "nul",
    "\"abc",
    "\"a\nb\"",
    "\"\\x\"",
    "\"\\u00g0\"",
    "\"\\u00",
    "1 2",
    "1,2",
    "[1]]",
    "00",
    "1.2.3",
    "1e5e5",
    "{\"a\":1 \"b\":2}",
    "{\"a\" \"b\"}",
    "{1:2}",
    "[true false]",
    "\"a\"b",
    "nulll",
};

static void text_in_pieces_is_json_when_the_whole_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct slice text = slice_str(texts[i]);

        for (size_t cut = 0; cut <= text.len; cut++) {
            struct jscan_text t;

            jscan_text_init(&t);
            jscan_text_feed(&t, slice_make(text.data, cut));
            jscan_text_feed(&t, slice_skip(text, cut));
            if (jscan_text_valid(&t) != jscan_valid(text))
                fail_msg("%s, cut at %zu", texts[i], cut);
            assert_int_equal(t.some, slice_trim(text).len > 0);
        }
    }
}

static void what_a_string_says_is_fed_decoded(void **state)
{
    static const struct {
        const char *string;
        bool want;
    } cases[] = {
        {"{\\\"a\\\":1}", true},
        {"{\\\"a\\\":\\\"\\\\n\\\"}", true},
        {"\\n{ \\t}\\r", true},
        {"\\u007b\\u007D", true},
        {"[\\\"\\ud83d\\ude00\\\"]", true},
        {"[\\\"\\ud83d\\\"]", true},
        {"[\\/]", false},
        {"[\\\"\\n\\\"]", false},
        {"[\\\"\\u0000\\\"]", false},
        {"\\u00e9", false},
        {"\\", false},
        {"[]\\u00", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jscan_text t;

        jscan_text_init(&t);
        jscan_text_feed_string(&t, slice_str(cases[i].string));
        if (jscan_text_valid(&t) != cases[i].want)
            fail_msg("%s", cases[i].string);
    }
}

static void pieces_nest_as_deep_as_a_whole(void **state)
{
    struct jscan_text t;

    (void)state;
    for (unsigned depth = JSCAN_DEPTH_MAX - 1; depth <= JSCAN_DEPTH_MAX + 1; depth++) {
        jscan_text_init(&t);
        for (unsigned i = 0; i < depth; i++)
            jscan_text_feed(&t, SLICE_OF("["));
        for (unsigned i = 0; i < depth; i++)
            jscan_text_feed(&t, SLICE_OF("]"));
        assert_int_equal(jscan_text_valid(&t), depth <= JSCAN_DEPTH_MAX);
    }
}

static void what_a_string_says_is_decoded(void **state)
{
    static const struct {
        const char *why, *text, *want; /* NULL: it says nothing */
    } cases[] = {
        {"nothing", "", ""},
        {"plain", "caf\xC3\xA9", "caf\xC3\xA9"},
        {"every short escape", "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
        {"one byte", "\\u0041-", "A-"},
        {"two bytes", "\\u00e9", "\xC3\xA9"},
        {"three bytes", "\\u20AC", "\xE2\x82\xAC"},
        {"a pair", "\\ud83d\\ude00!", "\xF0\x9F\x98\x80!"},
        {"the last there is", "\\udbff\\udfff", "\xF4\x8F\xBF\xBF"},
        {"a high half alone", "\\ud83d", NULL},
        {"a high half, then something else", "\\ud83d\\n", NULL},
        {"two high halves", "\\ud83d\\ud83d", NULL},
        {"a low half alone", "\\ude00", NULL},
        {"no such escape", "\\x41", NULL},
        {"cut behind the backslash", "a\\", NULL},
        {"cut in the digits", "\\u00e", NULL},
        {"digits that are none", "\\u00eg", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char room[32] = "x";
        struct buf out = {room, 1, sizeof(room), sizeof(room)};
        int r = jscan_decode(slice_str(cases[i].text), &out);
        struct slice want = slice_str(cases[i].want);

        if (r != (cases[i].want ? 0 : -EBADMSG) || out.len != 1 + want.len ||
            !slice_eq(slice_skip(buf_slice(&out), 1), want))
            fail_msg("%s", cases[i].why);
    }
}

static void what_does_not_fit_is_not_decoded(void **state)
{
    char room[4] = "ab";
    struct buf out = {room, 2, sizeof(room), sizeof(room)};

    (void)state;
    assert_int_equal(jscan_decode(SLICE_OF("cd\\ne"), &out), -EMSGSIZE);
    assert_int_equal(out.len, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_told_from_what_is_not),
        cmocka_unit_test(every_cut_of_a_text_is_no_text),
        cmocka_unit_test(depth_has_a_ceiling),
        cmocka_unit_test(a_member_is_found_at_the_top_alone),
        cmocka_unit_test(a_walk_takes_each_in_its_order),
        cmocka_unit_test(values_are_told_empty_or_counted),
        cmocka_unit_test(text_in_pieces_is_json_when_the_whole_is),
        cmocka_unit_test(what_a_string_says_is_fed_decoded),
        cmocka_unit_test(what_a_string_says_is_decoded),
        cmocka_unit_test(what_does_not_fit_is_not_decoded),
        cmocka_unit_test(pieces_nest_as_deep_as_a_whole),
    };

    return cmocka_run_group_tests_name("jscan", tests, NULL, NULL);
}
