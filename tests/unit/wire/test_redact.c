/* redact: what matches is taken out, whatever else the text holds; a pattern that takes too long takes out
 * all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/wire/redact.h"

static struct redact *patterns_of(const char *const *patterns)
{
    struct redact *r = redact_new();
    char why[REDACT_WHY_BYTES];
    size_t at;

    assert_non_null(r);
    for (; *patterns; patterns++)
        assert_int_equal(redact_add(r, slice_str(*patterns), why, &at), 0);
    return r;
}

#define PATTERNS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void what_matches_is_taken_out(void **state)
{
    const struct {
        const char *why;
        const char *const *patterns;
        const char *text, *want;
    } cases[] = {
        {"nothing", PATTERNS("secret"), "", ""},
        {"no match", PATTERNS("secret"), "all is well", "all is well"},
        {"in the middle", PATTERNS("cust-[0-9]+"), "model cust-123 is gone", "model [redacted] is gone"},
        {"all of it", PATTERNS(".+"), "anything", "[redacted]"},
        {"more than once", PATTERNS("s[0-9]"), "s1 s2s3", "[redacted] [redacted][redacted]"},
        {"several patterns", PATTERNS("alice", "bob"), "bob, alice", "[redacted], [redacted]"},
        {"one behind the other", PATTERNS("a+b", "c"), "aabc", "[reda[redacted]ted][redacted]"},
        {"letters that are no ASCII", PATTERNS("[äö]+"), "sch\xC3\xB6n", "sch[redacted]n"},
        {"case when asked", PATTERNS("(?i)SECRET"), "a Secret", "a [redacted]"},
        {"behind what is no UTF-8", PATTERNS("key"), "\xFF\xFE key \xC3", "\xFF\xFE [redacted] \xC3"},
        {"a look ahead at nothing", PATTERNS("(?=x)|y"), "xyx", "x[redacted]x"},
        {"a word at the very end", PATTERNS("end$"), "the end", "the [redacted]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct redact *r = patterns_of(cases[i].patterns);
        char out[256];
        size_t n = redact_text(r, slice_str(cases[i].text), out, sizeof(out));

        if (!slice_eq(slice_make(out, n), slice_str(cases[i].want)))
            fail_msg("%s: %.*s", cases[i].why, (int)n, out);
        redact_free(r);
    }
}

static void what_stands_far_behind_is_found(void **state)
{
    struct redact *r = patterns_of(PATTERNS("secret"));
    char text[3000], out[3100];
    size_t n;

    (void)state;
    for (size_t at = 0; at + 6 <= sizeof(text); at += 7) {
        memset(text, 'x', sizeof(text));
        memcpy(text + at, "secret", 6);
        n = redact_text(r, slice_make(text, sizeof(text)), out, sizeof(out));
        assert_int_equal(n, sizeof(text) - 6 + strlen(REDACT_MARK));
        assert_memory_equal(out + at, REDACT_MARK, strlen(REDACT_MARK));
    }
    redact_free(r);
}

static void what_does_not_fit_is_cut(void **state)
{
    struct redact *r = patterns_of(PATTERNS("b"));
    static const char long_text[REDACT_TEXT_BYTES_MAX + 10] = "a";
    char out[5];

    (void)state;
    assert_int_equal(redact_text(r, SLICE_OF("ab"), out, sizeof(out)), 5);
    assert_memory_equal(out, "a[red", 5);
    assert_int_equal(redact_text(r, SLICE_OF("ab"), out, 0), 0);
    assert_int_equal(redact_text(r, slice_make(long_text, sizeof(long_text)), out, sizeof(out)), 5);
    redact_free(r);
}

/* Each of these takes exponential time, or nearly, in an engine without bounds. */
static void no_pattern_holds_anybody_up(void **state)
{
    static const char *const patterns[] = {"(a+)+$",           "(a|aa)+$",   "(a*)*b",
                                           "(?:a{0,500}){5}b", "(.*a){20}b", "(a?){40}a{40}b"};
    char text[REDACT_TEXT_BYTES_MAX], out[REDACT_TEXT_BYTES_MAX];

    (void)state;
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '!';
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct redact *r = patterns_of(PATTERNS(patterns[i]));
        int64_t before = clock_mono_ns();
        size_t n = redact_text(r, slice_make(text, sizeof(text)), out, sizeof(out));

        if (clock_mono_ns() - before >
            INT64_C(3000000000)) /* ten milliseconds; a busy machine is given more */
            fail_msg("%s", patterns[i]);
        if (!slice_eq(slice_make(out, n), SLICE_OF(REDACT_MARK)) && n != sizeof(text))
            fail_msg("%s: neither told nor taken out", patterns[i]);
        redact_free(r);
    }
}

/* Of PCRE2's own words only those that all its versions have. */
static void faults_say_what_and_where(void **state)
{
    static const struct {
        const char *why, *pattern, *want;
    } cases[] = {
        {"an open parenthesis", "cust(", "missing closing parenthesis"},
        {"nothing to repeat", "a|*", "quantifier"},
        {"matches always", "x*", "it matches the empty text"},
        {"empty", "", "it matches the empty text"},
        {"no UTF-8", "\xFF", "UTF-8"},
    };
    struct redact *r = redact_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char why[REDACT_WHY_BYTES] = "";
        size_t at = SIZE_MAX;

        if (redact_add(r, slice_str(cases[i].pattern), why, &at) != -EINVAL || !strstr(why, cases[i].want) ||
            at > strlen(cases[i].pattern))
            fail_msg("%s: at %zu, %s", cases[i].why, at, why);
    }
    redact_free(r);
}

static void patterns_have_ceilings(void **state)
{
    struct redact *r = redact_new();
    char why[REDACT_WHY_BYTES], pattern[REDACT_PATTERN_BYTES_MAX + 1];
    size_t at;

    (void)state;
    memset(pattern, 'a', sizeof(pattern));
    assert_int_equal(redact_add(r, slice_make(pattern, sizeof(pattern)), why, &at), -EINVAL);
    assert_int_equal(redact_add(r, slice_make(pattern, sizeof(pattern) - 1), why, &at), 0);
    for (size_t i = 1; i < REDACT_PATTERNS_MAX; i++)
        assert_int_equal(redact_add(r, SLICE_OF("x"), why, &at), 0);
    assert_int_equal(redact_add(r, SLICE_OF("x"), why, &at), -ENOSPC);
    redact_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches_is_taken_out), cmocka_unit_test(what_stands_far_behind_is_found),
        cmocka_unit_test(what_does_not_fit_is_cut),  cmocka_unit_test(no_pattern_holds_anybody_up),
        cmocka_unit_test(faults_say_what_and_where), cmocka_unit_test(patterns_have_ceilings),
    };

    return cmocka_run_group_tests_name("redact", tests, NULL, NULL);
}
