/* sfield: dictionaries of structured fields, RFC 9651. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/sfield.h"

static const char letters[] = {
    [SF_INTEGER] = 'i', [SF_DECIMAL] = 'd', [SF_STRING] = 's',  [SF_TOKEN] = 't',      [SF_BYTES] = 'b',
    [SF_BOOLEAN] = '?', [SF_DATE] = '@',    [SF_DISPLAY] = '%', [SF_INNER_LIST] = '(',
};

/* "key:type[number or text] …", or "malformed". */
static void describe(struct slice value, char *out, size_t cap)
{
    struct sf_dict d;
    struct sf_member m;
    size_t n = 0;

    out[0] = '\0';
    sf_dict_init(&d, value);
    while (sf_dict_next(&d, &m)) {
        n += (size_t)snprintf(out + n, cap - n, "%s%.*s:%c", n > 0 ? " " : "", (int)m.key.len, m.key.data,
                              letters[m.type]);
        if (m.type == SF_INTEGER || m.type == SF_DATE || m.type == SF_BOOLEAN)
            n += (size_t)snprintf(out + n, cap - n, "%lld", (long long)m.number);
        else if (m.type == SF_STRING || m.type == SF_TOKEN)
            n += (size_t)snprintf(out + n, cap - n, "%.*s", (int)m.text.len, m.text.data);
    }
    if (d.malformed)
        (void)snprintf(out, cap, "malformed");
}

static const struct {
    const char *why, *value, *want;
} cases[] = {
    {"nothing", "", ""},
    {"spaces alone", "   ", ""},
    {"a key alone is true", "a", "a:?1"},
    {"each type", "a=1, b=2.5, c=\"x\", d=y, e=:eA==:, f=?0, g=@7, h=%\"c%c3%a9\", i=(1 2)",
     "a:i1 b:d c:sx d:ty e:b f:?0 g:@7 h:% i:("},
    {"blanks around commas, spaces at the ends", "  a=1\t , \tb ", "a:i1 b:?1"},
    {"no blanks at all", "a,b,c", "a:?1 b:?1 c:?1"},
    {"a key twice comes twice", "a=1, a=2", "a:i1 a:i2"},
    {"a negative integer", "a=-7", "a:i-7"},
    {"leading zeros", "a=007", "a:i7"},
    {"fifteen digits", "a=999999999999999", "a:i999999999999999"},
    {"sixteen are too many", "a=1000000000000000", "malformed"},
    {"a decimal at its limits", "a=123456789012.123", "a:d"},
    {"too many digits before the point", "a=1234567890123.1", "malformed"},
    {"too many behind it", "a=1.1234", "malformed"},
    {"none behind it", "a=1.", "malformed"},
    {"none before it", "a=.5", "malformed"},
    {"a sign alone", "a=-", "malformed"},
    {"a plus", "a=+1", "malformed"},
    {"an escape in a string", "a=\"x\\\"y\\\\\"", "a:sx\\\"y\\\\"},
    {"an escape of anything else", "a=\"\\x\"", "malformed"},
    {"an escape at the end", "a=\"\\", "malformed"},
    {"a string that is not closed", "a=\"x", "malformed"},
    {"a string with a byte that none may have", "a=\"\x7f\"", "malformed"},
    {"a comma in a string", "a=\"x, no-store\", b", "a:sx, no-store b:?1"},
    {"an empty string", "a=\"\"", "a:s"},
    {"single quotes", "a='x'", "malformed"},
    {"a token may hold colons and slashes", "a=x:/y*", "a:tx:/y*"},
    {"a token may begin with a star", "a=*x", "a:t*x"},
    {"bytes that are not closed", "a=:eA", "malformed"},
    {"a boolean of another kind", "a=?2", "malformed"},
    {"a boolean cut short", "a=?", "malformed"},
    {"a date with a fraction", "a=@1.5", "malformed"},
    {"a display string with a bad escape", "a=%\"%C3\"", "malformed"},
    {"a display string cut in its escape", "a=%\"%c", "malformed"},
    {"a display string without quotes", "a=%x", "malformed"},
    {"parameters are dropped", "a=1;x=2;y, b;z=\"q\"", "a:i1 b:?1"},
    {"spaces before a parameter's key", "a=1;  x", "a:i1"},
    {"a space before the semicolon", "a=1 ;x", "malformed"},
    {"a parameter without a key", "a=1;", "malformed"},
    {"a parameter without a value", "a=1;x=", "malformed"},
    {"an inner list with parameters inside and behind", "a=(\"x\";p y);q=1, b", "a:( b:?1"},
    {"an empty inner list", "a=()", "a:("},
    {"spaces in an inner list", "a=(  1   2  )", "a:("},
    {"an inner list that is not closed", "a=(1 2", "malformed"},
    {"an inner list with commas", "a=(1,2)", "malformed"},
    {"lists do not nest", "a=((1))", "malformed"},
    {"keys are lower case", "Max-Age=60", "malformed"},
    {"a key may not begin with a digit", "1a=1", "malformed"},
    {"a key may begin with a star and hold these", "*a_-.*9=1", "*a_-.*9:i1"},
    {"no value behind the equals sign", "a=", "malformed"},
    {"a space behind the equals sign", "a= 1", "malformed"},
    {"a space before it", "a =1", "malformed"},
    {"a comma at the end", "a,", "malformed"},
    {"a comma at the start", ",a", "malformed"},
    {"two commas", "a,,b", "malformed"},
    {"no comma between", "a b", "malformed"},
    {"a tab at the start", "\ta", "malformed"},
    {"a byte beyond ASCII", "a=\xc3\xa9", "malformed"},
    {"a fault behind what is good spoils all", "a=1, b=2, c=%", "malformed"},
};

static void values_are_read_as_the_standard_says(void **state)
{
    char got[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        describe(slice_str(cases[i].value), got, sizeof(got));
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: %s: got [%s], want [%s]", cases[i].why, cases[i].value, got, cases[i].want);
    }
}

static void a_nul_ends_nothing(void **state)
{
    char got[256];

    (void)state;
    describe(SLICE_OF("a=\"x\0y\""), got, sizeof(got));
    assert_string_equal(got, "malformed");
    describe(SLICE_OF("a\0, b"), got, sizeof(got));
    assert_string_equal(got, "malformed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_as_the_standard_says),
        cmocka_unit_test(a_nul_ends_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
