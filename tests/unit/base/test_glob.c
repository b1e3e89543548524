/* glob: what patterns stand for, and the same verdict as the definition on all short patterns and texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/glob.h"

static const struct {
    const char *why, *pattern, *text;
    bool want;
} cases[] = {
    {"itself", "gpt-4o", "gpt-4o", true},
    {"no more than itself", "gpt-4o", "gpt-4o-mini", false},
    {"no less", "gpt-4o", "gpt-4", false},
    {"case counts", "gpt-4o", "GPT-4o", false},
    {"a beginning", "gpt-4o*", "gpt-4o-mini", true},
    {"a star may stand for nothing", "gpt-4o*", "gpt-4o", true},
    {"an end", "*-mini", "gpt-4o-mini", true},
    {"a middle", "gpt-*-mini", "gpt-4o-mini", true},
    {"the last of several places", "*mini", "mini-and-mini", true},
    {"a star crosses slashes", "/v1/*/x", "/v1/a/b/x", true},
    {"any one byte", "gpt-?o", "gpt-4o", true},
    {"one byte is not none", "gpt-4o?", "gpt-4o", false},
    {"everything", "*", "", true},
    {"several stars are as one", "**a**", "a", true},
    {"an empty pattern is an empty text", "", "", true},
    {"and no other", "", "a", false},
};

static void patterns_stand_for_what_they_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (glob_matches(slice_str(cases[i].pattern), slice_str(cases[i].text)) != cases[i].want)
            fail_msg("%s: %s, %s", cases[i].why, cases[i].pattern, cases[i].text);
}

/* The definition, word for word; exponential, so for short ones. */
static bool defined(const char *p, const char *t)
{
    if (*p == '\0')
        return *t == '\0';
    if (*p == '*')
        return defined(p + 1, t) || (*t && defined(p, t + 1));
    return *t && (*p == '?' || *p == *t) && defined(p + 1, t + 1);
}

static void spell(unsigned number, const char *letters, char out[8])
{
    size_t base = strlen(letters), n = 0;

    for (; number > 0; number /= (unsigned)base + 1)
        if (number % (base + 1) > 0)
            out[n++] = letters[number % (base + 1) - 1];
    out[n] = '\0';
}

static void every_short_pattern_is_as_defined(void **state)
{
    char pattern[8], text[8];

    (void)state;
    for (unsigned p = 0; p < 5 * 5 * 5 * 5 * 5; p++) {
        spell(p, "ab*?", pattern);
        for (unsigned t = 0; t < 3 * 3 * 3 * 3 * 3 * 3; t++) {
            spell(t, "ab", text);
            if (glob_matches(slice_str(pattern), slice_str(text)) != defined(pattern, text))
                fail_msg("%s, %s", pattern, text);
        }
    }
}

/* With backtracking into every star this would not end. */
static void many_stars_cost_no_more_than_one(void **state)
{
    char pattern[401], text[8001];

    (void)state;
    for (size_t i = 0; i < 400; i += 2)
        memcpy(pattern + i, "*a", 2);
    pattern[399] = 'b';
    pattern[400] = '\0';
    memset(text, 'a', 8000);
    text[8000] = '\0';
    assert_false(glob_matches(slice_str(pattern), slice_str(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_stand_for_what_they_say),
        cmocka_unit_test(every_short_pattern_is_as_defined),
        cmocka_unit_test(many_stars_cost_no_more_than_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
