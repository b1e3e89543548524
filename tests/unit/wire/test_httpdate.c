/* httpdate: all three forms of RFC 9110 section 5.6.7, and the calendar against the C library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "refrain/base/attr.h"
#include "refrain/wire/httpdate.h"

static const int64_t now_s = 1795000000; /* November 2026 */

static void three_forms_are_read(void **state)
{
    static const struct {
        const char *why;
        struct slice text;
        int64_t want; /* INT64_MIN: no date */
    } cases[] = {
        {"IMF-fixdate", SLICE("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777},
        {"RFC 850", SLICE("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777},
        {"asctime", SLICE("Sun Nov  6 08:49:37 1994"), 784111777},
        {"asctime, two digits", SLICE("Wed Nov 16 08:49:37 1994"), 784975777},
        {"the epoch", SLICE("Thu, 01 Jan 1970 00:00:00 GMT"), 0},
        {"before it", SLICE("Wed, 31 Dec 1969 23:59:59 GMT"), -1},
        {"leap day", SLICE("Thu, 29 Feb 2024 12:00:00 GMT"), 1709208000},
        {"leap day of 2000", SLICE("Tue, 29 Feb 2000 00:00:00 GMT"), 951782400},
        {"leap second", SLICE("Sat, 31 Dec 2016 23:59:60 GMT"), 1483228799},
        {"any case, RFC 9111 section 4.2", SLICE("sUN, 06 nOV 1994 08:49:37 gmt"), 784111777},
        {"spaces around", SLICE(" Sun, 06 Nov 1994 08:49:37 GMT\t"), 784111777},
        {"another day's name", SLICE("Mon, 06 Nov 1994 08:49:37 GMT"), 784111777},
        {"far away", SLICE("Fri, 31 Dec 9999 23:59:59 GMT"), 253402300799},
        {"two digits, this century", SLICE("Sunday, 06-Nov-26 08:49:37 GMT"), 1793954977},
        {"50 years ahead", SLICE("Friday, 06-Nov-76 00:00:00 GMT"), 3371846400},
        {"over 50 years ahead is past", SLICE("Sunday, 06-Nov-77 00:00:00 GMT"), 247622400},

        {"zero", SLICE("0"), INT64_MIN},
        {"minus one", SLICE("-1"), INT64_MIN},
        {"empty", SLICE(""), INT64_MIN},
        {"cut", SLICE("Sun, 06 Nov 1994 08:49:37"), INT64_MIN},
        {"another zone", SLICE("Sun, 06 Nov 1994 08:49:37 UTC"), INT64_MIN},
        {"an offset", SLICE("Sun, 06 Nov 1994 08:49:37 +0000"), INT64_MIN},
        {"more behind it", SLICE("Sun, 06 Nov 1994 08:49:37 GMT x"), INT64_MIN},
        {"no such day", SLICE("Xyz, 06 Nov 1994 08:49:37 GMT"), INT64_MIN},
        {"no such month", SLICE("Sun, 06 Nob 1994 08:49:37 GMT"), INT64_MIN},
        {"one digit", SLICE("Sun, 6 Nov 1994 08:49:37 GMT"), INT64_MIN},
        {"day 0", SLICE("Sun, 00 Nov 1994 08:49:37 GMT"), INT64_MIN},
        {"day 31 of 30", SLICE("Sun, 31 Nov 1994 08:49:37 GMT"), INT64_MIN},
        {"no leap year", SLICE("Sun, 29 Feb 2023 08:49:37 GMT"), INT64_MIN},
        {"no leap century", SLICE("Sun, 29 Feb 1900 08:49:37 GMT"), INT64_MIN},
        {"hour 24", SLICE("Sun, 06 Nov 1994 24:00:00 GMT"), INT64_MIN},
        {"minute 60", SLICE("Sun, 06 Nov 1994 08:60:00 GMT"), INT64_MIN},
        {"second 61", SLICE("Sun, 06 Nov 1994 08:49:61 GMT"), INT64_MIN},
        {"year 0", SLICE("Sun, 06 Nov 0000 08:49:37 GMT"), INT64_MIN},
        {"mixed forms", SLICE("Sunday, 06 Nov 1994 08:49:37 GMT"), INT64_MIN},
        {"mixed forms", SLICE("Sun, 06-Nov-94 08:49:37 GMT"), INT64_MIN},
        {"asctime, one space", SLICE("Sun Nov 6 08:49:37 1994"), INT64_MIN},
        {"a sign for a digit", SLICE("Sun, +6 Nov 1994 08:49:37 GMT"), INT64_MIN},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got = INT64_MIN;

        if (httpdate_parse(cases[i].text, now_s, &got) != (cases[i].want != INT64_MIN) ||
            got != cases[i].want)
            fail_msg("%s: %s gives %lld", cases[i].why, cases[i].text.data, (long long)got);
    }
}

static void what_is_written_is_what_the_calendar_says(void **state)
{
    char got[HTTPDATE_LEN + 1], want[64];

    (void)state;
    for (int64_t s = INT64_C(-62135596800); s < INT64_C(253402300800); s += INT64_C(12345678901) / 7) {
        time_t t = (time_t)s;
        struct tm tm;
        int64_t back = 0;

        assert_non_null(gmtime_r(&t, &tm));
        assert_true(strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
        httpdate_write(s, got);
        if (tm.tm_year + 1900 >= 1000) /* glibc's %Y has no leading zeros */
            assert_string_equal(got, want);
        assert_true(httpdate_parse(slice_str(got), now_s, &back));
        assert_int_equal(back, s);
    }
}

static void every_day_of_four_centuries_comes_back(void **state)
{
    char text[HTTPDATE_LEN + 1];

    (void)state;
    for (int64_t day = 0; day < 146097; day++) {
        int64_t back = -1;

        httpdate_write(day * 86400, text);
        assert_true(httpdate_parse(slice_str(text), now_s, &back));
        assert_int_equal(back, day * 86400);
    }
}

static void years_are_held_within_four_digits(void **state)
{
    char text[HTTPDATE_LEN + 1];

    (void)state;
    httpdate_write(INT64_MAX, text);
    assert_string_equal(text, "Fri, 31 Dec 9999 23:59:59 GMT");
    httpdate_write(INT64_MIN, text);
    assert_string_equal(text, "Mon, 01 Jan 0001 00:00:00 GMT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_forms_are_read),
        cmocka_unit_test(what_is_written_is_what_the_calendar_says),
        cmocka_unit_test(every_day_of_four_centuries_comes_back),
        cmocka_unit_test(years_are_held_within_four_digits),
    };

    return cmocka_run_group_tests_name("httpdate", tests, NULL, NULL);
}
