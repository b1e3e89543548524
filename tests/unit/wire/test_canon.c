/* canon: one form for every way of writing the same request, and none for what has no exact form. SPEC
 * section 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "refrain/wire/canon.h"

/* Like the OpenAI rows of the dialect table. */
static const struct slice ignored[] = {SLICE("user"), SLICE("metadata"), SLICE("options.trace_id"),
                                       SLICE("options.deep.er")};
static const struct slice ordered[] = {SLICE("tools"), SLICE("response_format"), SLICE("text.format")};
static const struct canon_rules chat = {
    .ignored = ignored,
    .ignored_n = ARRAY_LEN(ignored),
    .ordered = ordered,
    .ordered_n = ARRAY_LEN(ordered),
    .drop_nulls = true,
    .stream_default_dropped = true,
};
static const struct canon_rules ollama = {
    .drop_nulls = true, .stream_default_dropped = true, .stream_is_default = true};
static const struct canon_rules plain = {0}; /* a user's own operation */

static enum canon_verdict run(struct slice json, const struct canon_rules *rules, struct buf *out,
                              struct canon_facts *facts, const char **why)
{
    *why = "none";
    return canon_json(json, rules, out, facts, why);
}

/* Also that the form is its own form. */
static void assert_canonical(const char *why, struct slice json, const struct canon_rules *rules,
                             const char *want)
{
    AUTO(buf_done) struct buf out = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
    struct canon_facts facts;
    const char *exact;

    if (run(json, rules, &out, &facts, &exact) != CANON_OK)
        fail_msg("%s: refused: %s", why, exact);
    if (!slice_eq(buf_slice(&out), slice_str(want)))
        fail_msg("%s: got %.*s", why, (int)out.len, out.data);
    if (run(buf_slice(&out), rules, &again, &facts, &exact) != CANON_OK ||
        !slice_eq(buf_slice(&out), buf_slice(&again)))
        fail_msg("%s: not canonical again: %.*s", why, (int)again.len, again.data);
}

struct form {
    const char *why;
    struct slice in;
    const char *want;
};

static void assert_forms(const struct form *forms, size_t n, const struct canon_rules *rules)
{
    for (size_t i = 0; i < n; i++)
        assert_canonical(forms[i].why, forms[i].in, rules, forms[i].want);
}

static void structure_has_one_form(void **state)
{
    static const struct form forms[] = {
        {"white space goes", SLICE(" \t\r\n{ \"a\" : [ 1 , 2 ] }\n "), "{\"a\":[1,2]}"},
        {"members are sorted", SLICE("{\"b\":1,\"a\":2}"), "{\"a\":2,\"b\":1}"},
        {"at every level", SLICE("{\"z\":{\"b\":1,\"a\":[{\"d\":1,\"c\":2}]},\"y\":0}"),
         "{\"y\":0,\"z\":{\"a\":[{\"c\":2,\"d\":1}],\"b\":1}}"},
        {"inside what is in order itself", SLICE("{\"a\":{\"d\":1,\"c\":2},\"b\":{\"f\":1,\"e\":2}}"),
         "{\"a\":{\"c\":2,\"d\":1},\"b\":{\"e\":2,\"f\":1}}"},
        {"array order stays", SLICE("[3,1,2]"), "[3,1,2]"},
        {"a name before what it begins", SLICE("{\"ab\":1,\"a\":2,\"\":3}"), "{\"\":3,\"a\":2,\"ab\":1}"},
        {"long names differ late", SLICE("{\"abcdefghij2\":1,\"abcdefghij1\":2,\"abcdefgh\":3}"),
         "{\"abcdefgh\":3,\"abcdefghij1\":2,\"abcdefghij2\":1}"},
        {"bytes, not letters, give the order", SLICE("{\"\xC3\xA9\":1,\"z\":2,\"Z\":3}"),
         "{\"Z\":3,\"z\":2,\"\xC3\xA9\":1}"},
        {"names are sorted in their canonical form", SLICE("{\"b\":1,\"\\u0061\":2}"), "{\"a\":2,\"b\":1}"},
        {"empty object", SLICE("{ }"), "{}"},
        {"empty array", SLICE("[ ]"), "[]"},
        {"empty ones inside", SLICE("{\"b\":{},\"a\":[[],{}]}"), "{\"a\":[[],{}],\"b\":{}}"},
        {"a text may be a string", SLICE(" \"x\" "), "\"x\""},
        {"or a literal", SLICE("null"), "null"},
        {"literals", SLICE("[true,false,null]"), "[true,false,null]"},
        {"null members stay where no rule drops them", SLICE("{\"b\":null,\"a\":null}"),
         "{\"a\":null,\"b\":null}"},
        {"stream stays where no rule drops it", SLICE("{\"stream\":false}"), "{\"stream\":false}"},
    };

    (void)state;
    assert_forms(forms, ARRAY_LEN(forms), &plain);
}

static void strings_have_one_form(void **state)
{
    static const struct form forms[] = {
        {"needless escapes", SLICE("\"\\u0041\\/\\u007f\\u00e9\\u20AC\""), "\"A/\x7f\xC3\xA9\xE2\x82\xAC\""},
        {"a pair is one character", SLICE("\"\\ud83d\\ude00\""), "\"\xF0\x9F\x98\x80\""},
        {"the last of all characters", SLICE("\"\\uDBFF\\uDFFF\""), "\"\xF4\x8F\xBF\xBF\""},
        {"needed escapes", SLICE("\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001F\""),
         "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\""},
        {"the long way of the short ones", SLICE("\"\\u0022\\u005C\\u0008\\u000c\\u000A\\u000d\\u0009\""),
         "\"\\\"\\\\\\b\\f\\n\\r\\t\""},
        {"slash", SLICE("\"\\u002f/\""), "\"//\""},
        {"UTF-8 of 2, 3 and 4 bytes", SLICE("\"\xC2\x80\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\""),
         "\"\xC2\x80\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\""},
        {"no normalisation: combining accents are other characters", SLICE("[\"e\xCC\x81\",\"\xC3\xA9\"]"),
         "[\"e\xCC\x81\",\"\xC3\xA9\"]"},
        {"special bytes at each place of a word",
         SLICE("[\"\\n\",\"1\\n\",\"12\\n\",\"123\\n\",\"1234\\n\",\"12345\\n\",\"123456\\n\",\"1234567\\n\","
               "\"12345678\\n9\"]"),
         "[\"\\n\",\"1\\n\",\"12\\n\",\"123\\n\",\"1234\\n\",\"12345\\n\",\"123456\\n\",\"1234567\\n\","
         "\"12345678\\n9\"]"},
        {"a space after a special byte", SLICE("\"\\\" !#[]^_ \\\\ !\""), "\"\\\" !#[]^_ \\\\ !\""},
    };

    (void)state;
    assert_forms(forms, ARRAY_LEN(forms), &plain);
}

static void numbers_have_one_form(void **state)
{
    static const struct form forms[] = {
        {"integers", SLICE("[0,1,-1,10,123456789012345678]"), "[0,1,-1,10,123456789012345678]"},
        {"minus zero is zero, as in RFC 8785",
         SLICE("[-0,-0.0,0.0,0e5,0E-9999999999,-0e99999999999999999999]"), "[0,0,0,0,0,0]"},
        {"one", SLICE("[1.0,1e0,10e-1,0.1e1,1.000,1E+0,1e-0,0.01E2]"), "[1,1,1,1,1,1,1,1]"},
        {"a hundred", SLICE("[100,1e2,1E2,1.0e+2,1000e-1]"), "[100,100,100,100,100]"},
        {"minus a half", SLICE("[-0.5,-5e-1,-0.50]"), "[-0.5,-0.5,-0.5]"},
        {"fractions", SLICE("[0.7,7e-1,1.5,15e-1,123.456,0.1e-2]"), "[0.7,0.7,1.5,1.5,123.456,0.001]"},
        {"small: six zeros, then an exponent", SLICE("[0.000001,1e-6,1e-7,0.00000012]"),
         "[0.000001,0.000001,1e-7,1.2e-7]"},
        {"leading zeros of an exponent", SLICE("[1e0002,1e-0002]"), "[100,0.01]"},
        {"2^53 and its neighbour", SLICE("[9007199254740992,9007199254740993,9007199254740993.0]"),
         "[9007199254740992,9007199254740993,9007199254740993]"},
        {"digits beyond a double", SLICE("[1.0000000000000000001,0.1000000000000000055511151231257827]"),
         "[1.0000000000000000001,0.1000000000000000055511151231257827]"},
        {"the ends of 64 bits", SLICE("[-9223372036854775808,9223372036854775807,18446744073709551615]"),
         "[-9223372036854775808,9223372036854775807,18446744073709551615]"},
        {"1e19 fits, 2e19 does not", SLICE("[1e19,2e19,-1e18,-1e19]"),
         "[10000000000000000000,2e+19,-1000000000000000000,-1e+19]"},
        {"an integer over 64 bits, but written as a number", SLICE("[18446744073709551616.0,1e20,100e20]"),
         "[1.8446744073709551616e+19,1e+20,1e+22]"},
        {"21 digits before the point, then an exponent",
         SLICE("[123456789012345678901.5,1234567890123456789012.5]"),
         "[123456789012345678901.5,1.2345678901234567890125e+21]"},
        {"the largest", SLICE("[1.7976931348623157e308,17976931348623157e292,-1.7976931348623157e+308]"),
         "[1.7976931348623157e+308,1.7976931348623157e+308,-1.7976931348623157e+308]"},
        {"the smallest", SLICE("[5e-324,1e-324]"), "[5e-324,1e-324]"},
        {"long ways round",
         SLICE("[0.00000000000000000000000000000000000000001e41,"
               "1000000000000000000000000000000000000000e-39]"),
         "[1,1]"},
        {"an integer of 19 digits with a fraction of zeros", SLICE("[1234567890123456789.000]"),
         "[1234567890123456789]"},
    };

    (void)state;
    assert_forms(forms, ARRAY_LEN(forms), &plain);
}

static void rules_leave_out_what_does_not_count(void **state)
{
    static const struct form forms[] = {
        {"ignored members", SLICE("{\"user\":\"u\",\"model\":\"m\",\"metadata\":{\"b\":1,\"a\":2}}"),
         "{\"model\":\"m\"}"},
        {"nothing is left", SLICE("{\"user\":\"u\"}"), "{}"},
        {"first, last and between", SLICE("{\"user\":1,\"x\":1,\"metadata\":1,\"y\":2}"),
         "{\"x\":1,\"y\":2}"},
        {"by their canonical names", SLICE("{\"\\u0075ser\":1,\"x\":1}"), "{\"x\":1}"},
        {"only at the top", SLICE("{\"a\":{\"user\":1}}"), "{\"a\":{\"user\":1}}"},
        {"names that merely begin so", SLICE("{\"users\":1,\"use\":2}"), "{\"use\":2,\"users\":1}"},
        {"dotted path", SLICE("{\"options\":{\"trace_id\":1,\"seed\":2},\"trace_id\":3}"),
         "{\"options\":{\"seed\":2},\"trace_id\":3}"},
        {"two dots", SLICE("{\"options\":{\"deep\":{\"er\":1,\"a\":2}}}"),
         "{\"options\":{\"deep\":{\"a\":2}}}"},
        {"a dotted path does not enter arrays", SLICE("{\"options\":[{\"trace_id\":1}]}"),
         "{\"options\":[{\"trace_id\":1}]}"},
        {"a name with a dot is not a path", SLICE("{\"options.trace_id\":1}"), "{\"options.trace_id\":1}"},
        {"nor a path in an array at the top", SLICE("[{\"user\":1}]"), "[{\"user\":1}]"},
        {"the path ends at a value", SLICE("{\"options\":5}"), "{\"options\":5}"},
        {"top-level nulls", SLICE("{\"a\":null,\"b\":{\"c\":null},\"d\":[null]}"),
         "{\"b\":{\"c\":null},\"d\":[null]}"},
        {"stream at its default", SLICE("{\"stream\":false,\"n\":1}"), "{\"n\":1}"},
        {"stream away from its default", SLICE("{\"stream\":true,\"n\":1}"), "{\"n\":1,\"stream\":true}"},
        {"a stream that is no boolean counts", SLICE("{\"stream\":0}"), "{\"stream\":0}"},
        {"stream somewhere below", SLICE("{\"a\":{\"stream\":false}}"), "{\"a\":{\"stream\":false}}"},
        {"unknown members count", SLICE("{\"new_in_2031\":1}"), "{\"new_in_2031\":1}"},
    };
    static const struct form forms_ollama[] = {
        {"Ollama streams unless told otherwise", SLICE("{\"stream\":true}"), "{}"},
        {"and false counts", SLICE("{\"stream\":false}"), "{\"stream\":false}"},
    };

    (void)state;
    assert_forms(forms, ARRAY_LEN(forms), &chat);
    assert_forms(forms_ollama, ARRAY_LEN(forms_ollama), &ollama);
}

/* Wherever it stands in the word that is looked at as a whole. */
static void controls_are_seen_at_every_place(void **state)
{
    static const char controls[] = {0, 1, '\n', 0x1E, 0x1F};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(controls); i++)
        for (size_t at = 1; at < 20; at++) {
            AUTO(buf_done) struct buf out = BUF_INIT(100);
            char text[] = "\"                              \"";
            struct canon_facts facts;
            const char *why;

            text[at] = controls[i];
            assert_int_equal(run(slice_make(text, sizeof(text) - 1), &plain, &out, &facts, &why),
                             CANON_EXACT);
            assert_string_equal(why, "control character in a string");
        }
}

static void schemas_keep_their_order(void **state)
{
    static const struct form forms[] = {
        {"below a schema nothing is sorted",
         SLICE("{\"tools\":[{\"type\":\"f\",\"a\":{\"z\":1,\"b\":2}}],\"m\":{\"b\":1,\"a\":2}}"),
         "{\"m\":{\"a\":2,\"b\":1},\"tools\":[{\"type\":\"f\",\"a\":{\"z\":1,\"b\":2}}]}"},
        {"an ordered path of two steps", SLICE("{\"text\":{\"verbosity\":1,\"format\":{\"z\":1,\"a\":2}}}"),
         "{\"text\":{\"format\":{\"z\":1,\"a\":2},\"verbosity\":1}}"},
        {"numbers and strings there have their one form all the same",
         SLICE("{\"tools\":[{\"b\":1.0,\"a\":\"\\u0061\"}]}"), "{\"tools\":[{\"b\":1,\"a\":\"a\"}]}"},
        {"the same name elsewhere is sorted", SLICE("{\"x\":{\"tools\":{\"b\":1,\"a\":2}}}"),
         "{\"x\":{\"tools\":{\"a\":2,\"b\":1}}}"},
        {"nulls inside a schema stay", SLICE("{\"tools\":{\"b\":null,\"a\":null}}"),
         "{\"tools\":{\"b\":null,\"a\":null}}"},
    };

    (void)state;
    assert_forms(forms, ARRAY_LEN(forms), &chat);
}

static void what_has_no_exact_form_says_so(void **state)
{
    static const struct {
        struct slice in;
        const char *why;
        bool whole;
    } cases[] = {
        {SLICE("{\"a\":1,\"a\":1}"), "duplicate member", true},
        {SLICE("{\"a\":1,\"b\":2,\"a\":3}"), "duplicate member", true},
        {SLICE("{\"b\":1,\"a\":2,\"b\":3}"), "duplicate member", true},
        {SLICE("{\"a\":1,\"\\u0061\":2}"), "duplicate member", true},
        {SLICE("[{\"x\":{\"abcdefghi\":1,\"abcdefgh\":2,\"abcdefghi\":3}}]"), "duplicate member", true},
        {SLICE("{\"tools\":[{\"b\":1,\"a\":2,\"b\":3}]}"), "duplicate member", true}, /* ordered ones too */
        {SLICE("{\"tools\":[{\"a\":1,\"a\":2}]}"), "duplicate member", true},
        {SLICE("{\"user\":1,\"user\":2}"), "duplicate member", true}, /* ignored ones too */
        {SLICE("{\"user\":{\"a\":1,\"a\":1}}"), "duplicate member", true},
        {SLICE("{\"a\":null,\"x\":1,\"a\":2}"), "duplicate member", true}, /* dropped ones too */
        {SLICE("{\"stream\":false,\"stream\":true}"), "duplicate member", true},
        {SLICE("18446744073709551616"), "integer over 64 bits", true},
        {SLICE("-9223372036854775809"), "integer over 64 bits", true},
        {SLICE("100000000000000000000000000000"), "integer over 64 bits", true},
        {SLICE("{\"user\":18446744073709551616}"), "integer over 64 bits", true},
        {SLICE("1e309"), "number out of range", true},
        {SLICE("1.8e308"), "number out of range", true},
        {SLICE("1.79769313486231571e308"), "number out of range", true},
        {SLICE("-1e400"), "number out of range", true},
        {SLICE("1e-325"), "number out of range", true},
        {SLICE("1e99999999999999999999"), "number out of range", true},
        {SLICE("1e-99999999999999999999"), "number out of range", true},
        {SLICE("\"\\u0000\""), "NUL in a string", true},
        {SLICE("{\"a\\u0000\":1}"), "NUL in a string", true},
        {SLICE("\"\\ud800\""), "lone surrogate", true},
        {SLICE("\"\\udc00\""), "lone surrogate", true},
        {SLICE("\"\\ud800\\ud800\""), "lone surrogate", true},
        {SLICE("\"\\ud800\\n\""), "lone surrogate", true},
        {SLICE("\"\\ud800x\""), "lone surrogate", true},
        {SLICE("\"\\udc00\\udc00\""), "lone surrogate", true},
        {SLICE("\"\\udc00\\ud800\""), "lone surrogate", true},
        {SLICE("\"\xFF\""), "not UTF-8", true},
        {SLICE("\"\xC0\x80\""), "not UTF-8", true},
        {SLICE("\"\xED\xA0\x80\""), "not UTF-8", true},
        {SLICE("\"\xF4\x90\x80\x80\""), "not UTF-8", true},
        {SLICE("\"\xE2\x82\""), "not UTF-8", true},
        {SLICE("{\"user\":\"\x80\"}"), "not UTF-8", true},
        {SLICE("\xEF\xBB\xBF{}"), "byte order mark", true},
        {SLICE("{} {}"), "trailing bytes", true},
        {SLICE("1 2"), "trailing bytes", true},
        {SLICE("{}\0"), "trailing bytes", true},
        {SLICE("01"), "bad number", false},
        {SLICE("-"), "bad number", false},
        {SLICE("-a"), "bad number", false},
        {SLICE("1."), "bad number", false},
        {SLICE("1.e5"), "bad number", false},
        {SLICE("1e"), "bad number", false},
        {SLICE("1e+"), "bad number", false},
        {SLICE("[00]"), "bad number", false},
        {SLICE(""), "cut short", false},
        {SLICE(" "), "cut short", false},
        {SLICE("\xEF\xBB\xBF"), "byte order mark", false},
        {SLICE("{"), "cut short", false},
        {SLICE("["), "cut short", false},
        {SLICE("[1"), "cut short", false},
        {SLICE("[1,"), "cut short", false},
        {SLICE("{\"a\":"), "cut short", false},
        {SLICE("{\"a\""), "not JSON", false},
        {SLICE("{\"a\" 1}"), "not JSON", false},
        {SLICE("{a:1}"), "not JSON", false},
        {SLICE("{1:1}"), "not JSON", false},
        {SLICE("{\"a\":1,}"), "not JSON", false},
        {SLICE("[1,]"), "not JSON", false},
        {SLICE("[1 2]"), "not JSON", false},
        {SLICE("[,]"), "not JSON", false},
        {SLICE("{,}"), "not JSON", false},
        {SLICE("{\"a\":1]"), "not JSON", false},
        {SLICE("[1}"), "not JSON", false},
        {SLICE("+1"), "not JSON", false},
        {SLICE(".5"), "not JSON", false},
        {SLICE("NaN"), "not JSON", false},
        {SLICE("nul"), "not JSON", false},
        {SLICE("tru"), "not JSON", false},
        {SLICE("'a'"), "not JSON", false},
        {SLICE("[1]//x"), "trailing bytes", true},
        {SLICE("\v1"), "not JSON", false},
        {SLICE("\"abc"), "string without end", false},
        {SLICE("\""), "string without end", false},
        {SLICE("\"\\"), "bad escape", false},
        {SLICE("\"\\x\""), "bad escape", false},
        {SLICE("\"\\u12\""), "bad escape", false},
        {SLICE("\"\\u12g4\""), "bad escape", false},
        {SLICE("\"a\nb\""), "control character in a string", false},
        {SLICE("\"a\0b\""), "control character in a string", false},
        {SLICE("\"12345678\x1f\""), "control character in a string", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(1000);
        struct canon_facts facts;
        const char *why;

        assert_int_equal(buf_add(&out, "before", 6), 0);
        if (run(cases[i].in, &chat, &out, &facts, &why) != CANON_EXACT)
            fail_msg("%s: %.*s was not refused", cases[i].why, (int)cases[i].in.len, cases[i].in.data);
        if (strcmp(why, cases[i].why) != 0 || facts.whole != cases[i].whole)
            fail_msg("%.*s: got %s, whole %d", (int)cases[i].in.len, cases[i].in.data, why, facts.whole);
        if (!slice_eq(buf_slice(&out), SLICE_OF("before")))
            fail_msg("%s: something was added", cases[i].why);
    }
}

/* Only pairs that a careless canonical form would merge. */
static void what_differs_stays_different(void **state)
{
    static const struct {
        const char *a, *b;
    } cases[] = {
        {"9007199254740992", "9007199254740993"},
        {"1", "1.0000000000000000001"},
        {"0.1", "0.10000000000000000555"},
        {"18446744073709551615", "18446744073709551614"},
        {"18446744073709551616.0", "18446744073709551617.0"},
        {"0", "1e-324"},
        {"1", "\"1\""},
        {"1", "-1"},
        {"1", "[1]"},
        {"null", "\"null\""},
        {"[]", "{}"},
        {"[[]]", "[]"},
        {"[1,2]", "[2,1]"},
        {"[12]", "[1,2]"},
        {"{\"a\":\"b\"}", "{\"b\":\"a\"}"},
        {"{\"a\":{\"b\":1},\"c\":2}", "{\"a\":{\"b\":1,\"c\":2}}"},
        {"\"\\\\n\"", "\"\\n\""},
        {"\"a\"", "\"A\""},
        {"\" a\"", "\"a\""},
        {"{\"a\":1}", "{\"a\":null}"},
        {"{\"messages\":[{\"a\":null}]}", "{\"messages\":[{}]}"},
        {"{\"tools\":{\"a\":1,\"b\":2}}", "{\"tools\":{\"b\":2,\"a\":1}}"},
        {"{\"stream\":true}", "{}"},
        {"{\"stream_options\":{\"include_usage\":true}}", "{}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf a = BUF_INIT(1000), b = BUF_INIT(1000);
        struct canon_facts facts;
        const char *why;

        assert_int_equal(run(slice_str(cases[i].a), &chat, &a, &facts, &why), CANON_OK);
        assert_int_equal(run(slice_str(cases[i].b), &chat, &b, &facts, &why), CANON_OK);
        if (slice_eq(buf_slice(&a), buf_slice(&b)))
            fail_msg("%s and %s became one", cases[i].a, cases[i].b);
    }
}

/* @n of @open, then @inside, then @n of @close. */
static void nest(struct buf *b, int n, const char *open, const char *inside, const char *close)
{
    buf_clear(b);
    for (int i = 0; i < n; i++)
        assert_int_equal(buf_add_slice(b, slice_str(open)), 0);
    assert_int_equal(buf_add_slice(b, slice_str(inside)), 0);
    for (int i = 0; i < n; i++)
        assert_int_equal(buf_add_slice(b, slice_str(close)), 0);
}

static void depth_has_a_limit(void **state)
{
    static const struct {
        const char *why, *open, *inside, *close, *sorted_open, *sorted_close;
    } cases[] = {
        {"arrays", "[", "1", "]", "[", "]"},
        {"objects", "{\"a\":", "1", "}", "{\"a\":", "}"},
        {"objects to be sorted", "{\"b\":1,\"a\":", "1", "}", "{\"a\":", ",\"b\":1}"},
        {"objects sorted behind the inner one", "{\"b\":", "1", ",\"a\":1}", "{\"a\":1,\"b\":", "}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf in = BUF_INIT(100000), want = BUF_INIT(100000), out = BUF_INIT(100000);
        struct canon_facts facts;
        const char *why;

        nest(&in, CANON_DEPTH_MAX, cases[i].open, cases[i].inside, cases[i].close);
        nest(&want, CANON_DEPTH_MAX, cases[i].sorted_open, cases[i].inside, cases[i].sorted_close);
        if (run(buf_slice(&in), &plain, &out, &facts, &why) != CANON_OK ||
            !slice_eq(buf_slice(&out), buf_slice(&want)))
            fail_msg("%s: the deepest allowed", cases[i].why);
        nest(&in, CANON_DEPTH_MAX + 1, cases[i].open, cases[i].inside, cases[i].close);
        if (run(buf_slice(&in), &plain, &out, &facts, &why) != CANON_EXACT || strcmp(why, "depth") != 0)
            fail_msg("%s: one deeper", cases[i].why);
        assert_false(facts.whole);
    }
}

static void *canon_deep(void *arg)
{
    depth_has_a_limit(arg);
    return NULL;
}

static void the_deepest_text_fits_a_small_stack(void **state)
{
    pthread_attr_t attr;
    pthread_t thread;

    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, 128 * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attr, canon_deep, state), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_attr_destroy(&attr), 0);
}

/* Members m0 … in an order that insertion in place would hate. */
static void add_members(struct buf *b, int n, int step)
{
    assert_int_equal(buf_add_byte(b, '{'), 0);
    for (int i = 0; i < n; i++)
        assert_int_equal(buf_addf(b, "%s\"m%08d\":%d", i ? "," : "", (int)((long)i * step % n), i), 0);
    assert_int_equal(buf_add_byte(b, '}'), 0);
}

static void many_members_are_sorted_and_compared(void **state)
{
    static const int counts[] = {2, 23, 24, 25, 26, 1000, 20000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        AUTO(buf_done) struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
        struct canon_facts facts;
        const char *why, *last = NULL;

        add_members(&in, counts[i], 7919); /* a prime: every index once */
        assert_int_equal(run(buf_slice(&in), &plain, &out, &facts, &why), CANON_OK);
        assert_int_equal(out.len, in.len);
        for (size_t at = 0; at + 10 < out.len; at++) {
            if (out.data[at] != 'm')
                continue;
            if (last && memcmp(last, out.data + at, 9) >= 0)
                fail_msg("%d members: not sorted at %zu", counts[i], at);
            last = out.data + at;
        }
        in.len--;
        assert_int_equal(buf_addf(&in, ",\"m00000001\":0}"), 0);
        assert_int_equal(run(buf_slice(&in), &plain, &out, &facts, &why), CANON_EXACT);
        assert_string_equal(why, "duplicate member");
    }
}

static void ceilings_hold_and_leave_nothing_behind(void **state)
{
    static const struct {
        const char *why, *in;
        size_t ceiling;
        enum canon_verdict want;
    } cases[] = {
        {"just fits", "{\"b\":1, \"a\":2}", 6 + 13, CANON_OK},
        {"one too many", "{\"b\":1, \"a\":2}", 6 + 12, CANON_FULL},
        {"just fits, in order", "{\"a\":1, \"b\":2}", 6 + 13, CANON_OK},
        {"one too many, in order", "{\"a\":1, \"b\":2}", 6 + 12, CANON_FULL},
        {"what is left out takes no room", "{\"b\":1,\"user\":\"xxxxxxxxxxxxxxxxx\"}", 6 + 7, CANON_OK},
        {"a number that grows", "1e18", 6 + 18, CANON_FULL},
        {"white space takes no room", "         1", 6 + 1, CANON_OK},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(cases[i].ceiling);
        struct canon_facts facts;
        const char *why;

        assert_int_equal(buf_add(&out, "before", 6), 0);
        if (run(slice_str(cases[i].in), &chat, &out, &facts, &why) != cases[i].want)
            fail_msg("%s", cases[i].why);
        if (cases[i].want == CANON_OK ? out.len != cases[i].ceiling : out.len != 6)
            fail_msg("%s: %zu bytes", cases[i].why, out.len);
    }
}

static void members_have_a_ceiling(void **state)
{
    AUTO(buf_done) struct buf in = BUF_INIT(64 << 20), out = BUF_INIT(64 << 20);
    struct canon_facts facts;
    const char *why;

    (void)state;
    assert_int_equal(buf_add_byte(&in, '{'), 0);
    for (int i = 0; i <= CANON_MEMBERS_MAX; i++)
        assert_int_equal(buf_addf(&in, "%s\"%x\":0", i ? "," : "", (unsigned)i), 0);
    assert_int_equal(buf_add_byte(&in, '}'), 0);
    assert_int_equal(run(buf_slice(&in), &plain, &out, &facts, &why), CANON_FULL);
    assert_int_equal(out.len, 0);
    assert_false(facts.whole);
}

static void numbers_that_all_grow_are_written_or_refused_as_full(void **state)
{
    AUTO(buf_done) struct buf in = BUF_INIT(64 << 20), out = BUF_INIT(64 << 20);
    struct canon_facts facts;
    const char *why;

    (void)state;
    for (int n = 100; n <= 100000; n *= 1000) {
        buf_clear(&in);
        for (int i = 0; i < n; i++)
            assert_int_equal(buf_addf(&in, "%s1e18", i ? "," : "["), 0);
        for (int i = 0; n == 100 && i < n; i++) /* needs the room that the numbers must not have taken */
            assert_int_equal(buf_addf(&in, ",\"long enough\""), 0);
        assert_int_equal(buf_add_byte(&in, ']'), 0);
        assert_int_equal(run(buf_slice(&in), &plain, &out, &facts, &why), n == 100 ? CANON_OK : CANON_FULL);
        buf_clear(&out);
    }
}

static void facts_are_found_on_the_way(void **state)
{
    static const struct {
        const char *why, *in;
        const char *model;
        bool stream;
        double temperature; /* -1: not given */
        size_t messages;
        bool wants_json;
    } cases[] = {
        {"a chat",
         "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\"},{}],\"temperature\":0.2,\"stream\":true}",
         "gpt-4o", true, 0.2, 2, false},
        {"nothing", "{}", "", false, -1, 0, false},
        {"a model that is no string", "{\"model\":[\"a\"]}", "", false, -1, 0, false},
        {"a model with an escape", "{\"model\":\"a\\u0062\"}", "ab", false, -1, 0, false},
        {"an escape that need not be", "{\"model\":\"openai\\/gpt\"}", "openai/gpt", false, -1, 0, false},
        {"one that must be", "{\"model\":\"a\\\"b\"}", "", false, -1, 0, false},
        {"of two the last, escaped", "{\"model\":\"b\",\"model\":\"\\u0061\"}", "a", false, -1, 0, false},
        {"a type with an escape", "{\"generationConfig\":{\"responseMimeType\":\"application\\/json\"}}", "",
         false, -1, 0, true},
        {"below the top nothing counts", "{\"x\":{\"model\":\"m\",\"stream\":true,\"temperature\":1}}", "",
         false, -1, 0, false},
        {"stream false", "{\"stream\":false}", "", false, -1, 0, false},
        {"stream null is its default", "{\"stream\":null}", "", false, -1, 0, false},
        {"temperature 0 is there", "{\"temperature\":0}", "", false, 0, 0, false},
        {"temperature null is not", "{\"temperature\":null}", "", false, -1, 0, false},
        {"an exponent", "{\"temperature\":12e-1}", "", false, 1.2, 0, false},
        {"Gemini",
         "{\"contents\":[{}],\"generationConfig\":{\"temperature\":1.5,\"responseMimeType\":\"application/"
         "json\"}}",
         "", false, 1.5, 1, true},
        {"Ollama", "{\"model\":\"llama3:8b\",\"options\":{\"temperature\":0.5},\"format\":\"json\"}",
         "llama3:8b", false, 0.5, 0, true},
        {"Ollama's schema", "{\"format\":{\"type\":\"object\"}}", "", false, -1, 0, true},
        {"responses", "{\"input\":[1,2,3],\"text\":{\"format\":{\"type\":\"json_schema\"}}}", "", false, -1,
         3, true},
        {"responses, as text", "{\"input\":\"hi\",\"text\":{\"format\":{\"type\":\"text\"}}}", "", false, -1,
         0, false},
        {"JSON object", "{\"response_format\":{\"type\":\"json_object\"}}", "", false, -1, 0, true},
        {"JSON schema, its type last",
         "{\"response_format\":{\"json_schema\":{\"type\":\"x\"},\"type\":\"json_schema\"}}", "", false, -1,
         0, true},
        {"text", "{\"response_format\":{\"type\":\"text\"}}", "", false, -1, 0, false},
        {"a response_format of another API", "{\"response_format\":\"json\"}", "", false, -1, 0, false},
        {"the last of two counts", "{\"stream\":false,\"model\":\"a\",\"stream\":true,\"model\":\"b\"}", "b",
         true, -1, 0, false},
        {"found behind a blemish", "{\"a\":\"\\u0000\",\"b\":1e999,\"stream\":true}", "", true, -1, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(1000);
        struct canon_facts f;
        const char *why;

        (void)run(slice_str(cases[i].in), &chat, &out, &f, &why);
        if (!f.whole || !slice_eq(f.model, slice_str(cases[i].model)) || f.stream != cases[i].stream ||
            f.messages != cases[i].messages || f.wants_json != cases[i].wants_json)
            fail_msg("%s: model %.*s stream %d messages %zu json %d", cases[i].why, (int)f.model.len,
                     f.model.data, f.stream, f.messages, f.wants_json);
        if (f.has_temperature != (cases[i].temperature >= 0) ||
            (f.has_temperature &&
             (f.temperature < cases[i].temperature || f.temperature > cases[i].temperature)))
            fail_msg("%s: temperature %g", cases[i].why, f.temperature);
    }
}

static void characters_of_the_prompt_are_counted(void **state)
{
    static const struct {
        const char *why, *in;
        size_t want;
    } cases[] = {
        {"nothing", "{}", 0},
        {"a message", "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}", 5},
        {"all of them",
         "{\"messages\":[{\"content\":\"ab\"},{\"content\":[{\"type\":\"text\",\"text\":\"cde\"}]}]}", 5},
        {"characters, not bytes", "{\"messages\":[{\"content\":\"h\xC3\xA9\xF0\x9F\x98\x80\"}]}", 3},
        {"two bytes each, across the ends of words",
         "{\"prompt\":\"a\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\"}", 9},
        {"nothing but four bytes each",
         "{\"prompt\":\"\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\"}", 4},
        {"ASCII, longer than a word", "{\"prompt\":\"abcdefghijklmnopqrs\"}", 19},
        {"an escape is one", "{\"prompt\":\"a\\nb\\\"\\\\\"}", 5},
        {"so is a pair of them", "{\"prompt\":\"\\uD83D\\uDE00\\u00e9\"}", 2},
        {"images are none",
         "{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:xxxx\"}},"
         "{\"text\":\"a\"}]}]}",
         1},
        {"Anthropic's system", "{\"system\":\"abc\",\"messages\":[{\"content\":\"d\"}]}", 4},
        {"its blocks", "{\"system\":[{\"type\":\"text\",\"text\":\"abc\"}]}", 3},
        {"Gemini's parts", "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"abc\"}]}]}", 3},
        {"its instruction", "{\"systemInstruction\":{\"parts\":[{\"text\":\"abc\"}]}}", 3},
        {"responses", "{\"instructions\":\"ab\",\"input\":\"cd\"}", 4},
        {"their items", "{\"input\":[{\"role\":\"user\",\"content\":[{\"text\":\"abc\"}]}]}", 3},
        {"embeddings", "{\"input\":[\"ab\",\"c\"]}", 3},
        {"completions", "{\"prompt\":[\"ab\",\"c\"]}", 3},
        {"what a tool was told",
         "{\"messages\":[{\"tool_calls\":[{\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}"
         "]}",
         2},
        {"tools are no prompt", "{\"tools\":[{\"function\":{\"description\":\"abc\"}}]}", 0},
        {"other members are none", "{\"user\":\"abc\",\"metadata\":{\"content\":\"abc\"}}", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(1000);
        struct canon_facts facts;
        const char *why;

        assert_int_equal(run(slice_str(cases[i].in), &chat, &out, &facts, &why), CANON_OK);
        if (facts.characters != cases[i].want)
            fail_msg("%s: %zu", cases[i].why, facts.characters);
    }
}

static void ollama_streams_by_default(void **state)
{
    static const struct {
        const char *in;
        bool stream;
    } cases[] = {{"{}", true},
                 {"{\"stream\":null}", true},
                 {"{\"stream\":false}", false},
                 {"{\"stream\":true}", true}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(1000);
        struct canon_facts facts;
        const char *why;

        assert_int_equal(run(slice_str(cases[i].in), &ollama, &out, &facts, &why), CANON_OK);
        assert_int_equal(facts.stream, cases[i].stream);
    }
}

enum state_kind { STATELESS, SERVER_TOOLS, STATEFUL };

static void state_upstream_is_noticed(void **state)
{
    static const struct {
        const char *why, *in;
        enum state_kind want;
    } cases[] = {
        {"a plain chat", "{\"model\":\"m\",\"messages\":[]}", STATELESS},
        {"store", "{\"store\":true}", STATEFUL},
        {"store said to be off", "{\"store\":false}", STATELESS},
        {"store null", "{\"store\":null}", STATELESS},
        {"store somewhere else", "{\"metadata\":{\"store\":true}}", STATELESS},
        {"background", "{\"background\":true}", STATEFUL},
        {"no background", "{\"background\":false}", STATELESS},
        {"conversation by id", "{\"conversation\":\"conv_1\"}", STATEFUL},
        {"conversation as object", "{\"conversation\":{\"id\":\"conv_1\"}}", STATEFUL},
        {"no conversation", "{\"conversation\":null}", STATELESS},
        {"thread", "{\"thread\":{\"messages\":[]}}", STATEFUL},
        {"thread by id", "{\"thread_id\":\"t\"}", STATEFUL},
        {"container", "{\"container\":\"cntr_1\"}", STATEFUL},
        {"previous response is merely in the key", "{\"previous_response_id\":\"resp_1\"}", STATELESS},
        {"stored prompt without version", "{\"prompt\":{\"id\":\"pmpt_1\"}}", STATEFUL},
        {"stored prompt, version null", "{\"prompt\":{\"id\":\"pmpt_1\",\"version\":null}}", STATEFUL},
        {"stored prompt with version", "{\"prompt\":{\"id\":\"pmpt_1\",\"version\":\"2\"}}", STATELESS},
        {"version elsewhere in it", "{\"prompt\":{\"id\":\"p\",\"variables\":{\"version\":1}}}", STATEFUL},
        {"prompt of a completion", "{\"prompt\":\"Once\"}", STATELESS},
        {"prompts of a completion", "{\"prompt\":[\"Once\",\"Twice\"]}", STATELESS},
        {"function tool", "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"web_search\"}}]}",
         STATELESS},
        {"Anthropic's client tools",
         "{\"tools\":[{\"type\":\"custom\",\"name\":\"x\"},{\"type\":\"bash_20250124\"}]}", STATELESS},
        {"web search", "{\"tools\":[{\"type\":\"function\"},{\"type\":\"web_search_preview\"}]}",
         SERVER_TOOLS},
        {"Anthropic's web search", "{\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]}",
         SERVER_TOOLS},
        {"code execution", "{\"tools\":[{\"type\":\"code_execution_20250825\"}]}", SERVER_TOOLS},
        {"code interpreter in a new container",
         "{\"tools\":[{\"type\":\"code_interpreter\",\"container\":{\"type\":\"auto\"}}]}", SERVER_TOOLS},
        {"code interpreter in a container that is there",
         "{\"tools\":[{\"type\":\"code_interpreter\",\"container\":\"cntr_1\"}]}", STATEFUL},
        {"a shell in a container that is there",
         "{\"tools\":[{\"type\":\"shell\",\"environment\":{\"type\":\"container_reference\",\"container_id\":"
         "\"c\"}}]}",
         STATEFUL},
        {"file search", "{\"tools\":[{\"type\":\"file_search\"}]}", SERVER_TOOLS},
        {"a shell at the client", "{\"tools\":[{\"type\":\"shell\",\"environment\":{\"type\":\"local\"}}]}",
         STATELESS},
        {"a shell in a new container",
         "{\"tools\":[{\"type\":\"shell\",\"environment\":{\"type\":\"container_auto\"}}]}", SERVER_TOOLS},
        {"a computer", "{\"tools\":[{\"type\":\"computer_use_preview\"},{\"type\":\"computer_20250124\"}]}",
         STATELESS},
        {"a tool not heard of", "{\"tools\":[{\"type\":\"function\"},{\"type\":\"openrouter:datetime\"}]}",
         SERVER_TOOLS},
        {"no more than begins like a function", "{\"tools\":[{\"type\":\"function_search\"}]}", SERVER_TOOLS},
        {"a tool without a type", "{\"tools\":[{\"name\":\"f\",\"input_schema\":{}}]}", STATELESS},
        {"Azure's own data", "{\"data_sources\":[{\"type\":\"azure_search\"}]}", SERVER_TOOLS},
        {"search by a switch", "{\"enable_search\":true}", SERVER_TOOLS},
        {"search switched off", "{\"enable_search\":false}", STATELESS},
        {"remote tools", "{\"tools\":[{\"type\":\"mcp\"}]}", SERVER_TOOLS},
        {"a type that hides itself", "{\"tools\":[{\"type\":\"web_\\u0073earch\"}]}", SERVER_TOOLS},
        {"Gemini's search", "{\"tools\":[{\"google_search\":{}}]}", SERVER_TOOLS},
        {"Gemini's functions", "{\"tools\":[{\"functionDeclarations\":[{\"name\":\"google_search\"}]}]}",
         STATELESS},
        {"chat's web search", "{\"web_search_options\":{}}", SERVER_TOOLS},
        {"remote servers", "{\"mcp_servers\":[{}]}", SERVER_TOOLS},
        {"both", "{\"tools\":[{\"type\":\"web_search\"}],\"store\":true}", STATEFUL},
        {"behind a blemish", "{\"a\":1,\"a\":2,\"store\":true}", STATEFUL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(1000);
        struct canon_facts facts;
        const char *why;

        (void)run(slice_str(cases[i].in), &chat, &out, &facts, &why);
        if (facts.stateful != (cases[i].want != STATELESS) ||
            facts.only_server_tools != (cases[i].want == SERVER_TOOLS))
            fail_msg("%s: stateful %d, only server tools %d", cases[i].why, facts.stateful,
                     facts.only_server_tools);
    }
}

static void a_dialect_may_list_the_tools_of_its_clients(void **state)
{
    static const struct slice mine[] = {SLICE("functionDeclarations"), SLICE("computerUse")};
    static const struct canon_rules rules = {.client_tools = mine, .client_tools_n = ARRAY_LEN(mine)};
    static const struct {
        const char *why, *in;
        bool server;
    } cases[] = {
        {"functions", "{\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"type\":\"web_search\"}]}]}",
         false},
        {"functions and a screen", "{\"tools\":[{\"functionDeclarations\":[],\"computerUse\":{}}]}", false},
        {"search", "{\"tools\":[{\"googleSearch\":{}}]}", true},
        {"search beside functions", "{\"tools\":[{\"functionDeclarations\":[]},{\"googleSearch\":{}}]}",
         true},
        {"what is not known", "{\"tools\":[{\"x\":1}]}", true},
        {"what is not there", "{\"tools\":[{\"x\":null}]}", false},
        {"a tool that stands in no list", "{\"tools\":{\"googleSearch\":{}}}", true},
        {"no tools", "{\"tools\":[]}", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(1000);
        struct canon_facts facts;
        const char *why;

        assert_int_equal(run(slice_str(cases[i].in), &rules, &out, &facts, &why), CANON_OK);
        if (facts.stateful != cases[i].server || facts.only_server_tools != cases[i].server)
            fail_msg("%s", cases[i].why);
    }
}

/* A text behind which the next byte is not ours: what reads on is seen by the sanitizer. */
static void every_beginning_of_a_text_is_handled(void **state)
{
    static const char text[] =
        "{\"model\":\"m\\u00e9\\ud83d\\ude00\",\"a\":[1.5e-3,-0,true,null,{\"z\":\"\xE2\x82\xAC\","
        "\"y\":{}}],\"stream\":false,\"user\":{\"b\":1,\"a\":[]}}";

    (void)state;
    for (size_t n = 0; n < sizeof(text); n++) {
        AUTO(buf_done) struct buf out = BUF_INIT(1000);
        struct canon_facts facts;
        const char *why;
        char *copy = malloc(n ? n : 1);

        assert_non_null(copy);
        memcpy(copy, text, n);
        assert_int_equal(run(slice_make(copy, n), &chat, &out, &facts, &why),
                         n == sizeof(text) - 1 ? CANON_OK : CANON_EXACT);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structure_has_one_form),
        cmocka_unit_test(strings_have_one_form),
        cmocka_unit_test(numbers_have_one_form),
        cmocka_unit_test(rules_leave_out_what_does_not_count),
        cmocka_unit_test(controls_are_seen_at_every_place),
        cmocka_unit_test(schemas_keep_their_order),
        cmocka_unit_test(what_has_no_exact_form_says_so),
        cmocka_unit_test(what_differs_stays_different),
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test(the_deepest_text_fits_a_small_stack),
        cmocka_unit_test(many_members_are_sorted_and_compared),
        cmocka_unit_test(ceilings_hold_and_leave_nothing_behind),
        cmocka_unit_test(members_have_a_ceiling),
        cmocka_unit_test(numbers_that_all_grow_are_written_or_refused_as_full),
        cmocka_unit_test(facts_are_found_on_the_way),
        cmocka_unit_test(characters_of_the_prompt_are_counted),
        cmocka_unit_test(ollama_streams_by_default),
        cmocka_unit_test(state_upstream_is_noticed),
        cmocka_unit_test(every_beginning_of_a_text_is_handled),
        cmocka_unit_test(a_dialect_may_list_the_tools_of_its_clients),
    };

    return cmocka_run_group_tests_name("canon", tests, NULL, NULL);
}
