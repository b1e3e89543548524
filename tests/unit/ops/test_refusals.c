/* refusals: a line for the first, then a count; nobody makes the log longer by insisting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "refusals.h"

static struct {
    unsigned lines;
    uint64_t times;
    char last[128];
} told;

static void tell(const char *kind, const char *from, uint64_t times, int64_t seconds)
{
    told.lines++;
    told.times += times;
    (void)snprintf(told.last, sizeof(told.last), "%s %s %u %u", kind, from, (unsigned)times,
                   (unsigned)seconds);
}

static int begin(void **state)
{
    memset(&told, 0, sizeof(told));
    *state = refusals_new();
    return 0;
}

static int end(void **state)
{
    refusals_free(*state);
    return 0;
}

static void the_first_is_told_and_the_rest_counted(void **state)
{
    struct refusals *r = *state;

    assert_true(refusals_note(r, "host", "a", 0));
    for (int i = 0; i < 9999; i++)
        assert_false(refusals_note(r, "host", "a", i / 10));
    refusals_tell(r, REFUSALS_FIRST_MS - 1, false, tell);
    assert_int_equal(told.lines, 0);
    refusals_tell(r, REFUSALS_FIRST_MS, false, tell);
    assert_string_equal(told.last, "host a 9999 3");
}

static void who_insists_is_told_of_once_a_minute(void **state)
{
    struct refusals *r = *state;
    const int64_t hour_ms = 3600000;

    assert_true(refusals_note(r, "host", "a", 0));
    for (int64_t now_ms = 0; now_ms < hour_ms; now_ms += 100) {
        assert_false(refusals_note(r, "host", "a", now_ms));
        refusals_tell(r, now_ms, false, tell);
    }
    assert_in_range(told.lines, 55, 61);
    refusals_tell(r, hour_ms, true, tell);
    assert_int_equal(told.times, hour_ms / 100);
}

static void who_has_stopped_begins_anew(void **state)
{
    struct refusals *r = *state;

    assert_true(refusals_note(r, "host", "a", 0));
    refusals_tell(r, REFUSALS_FIRST_MS, false, tell);
    assert_int_equal(told.lines, 0);
    assert_true(refusals_note(r, "host", "a", REFUSALS_FIRST_MS + 1));
}

static void kinds_and_addresses_are_apart(void **state)
{
    struct refusals *r = *state;

    assert_true(refusals_note(r, "host", "a", 0));
    assert_true(refusals_note(r, "origin", "a", 0));
    assert_true(refusals_note(r, "host", "b", 0));
    assert_false(refusals_note(r, "host", "b", 0));
}

static void past_the_ceiling_they_are_others(void **state)
{
    struct refusals *r = *state;
    char from[16];
    unsigned lines = 0;

    for (int i = 0; i < 100000; i++) {
        (void)snprintf(from, sizeof(from), "%d", i);
        lines += refusals_note(r, "host", from, i);
    }
    assert_int_equal(lines, REFUSALS_MAX + 1);
    refusals_tell(r, 100000, true, tell);
    assert_string_equal(told.last, "host others 99935 100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_is_told_and_the_rest_counted, begin, end),
        cmocka_unit_test_setup_teardown(who_insists_is_told_of_once_a_minute, begin, end),
        cmocka_unit_test_setup_teardown(who_has_stopped_begins_anew, begin, end),
        cmocka_unit_test_setup_teardown(kinds_and_addresses_are_apart, begin, end),
        cmocka_unit_test_setup_teardown(past_the_ceiling_they_are_others, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
