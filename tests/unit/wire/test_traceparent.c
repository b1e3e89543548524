/* traceparent: the trace id of what the standard allows, and nothing of anything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/traceparent.h"

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static const struct {
    const char *why, *value;
    bool good;
} cases[] = {
    {"the standard's own example", "00-" TRACE "-" PARENT "-01", true},
    {"not sampled", "00-" TRACE "-" PARENT "-00", true},
    {"flags of tomorrow", "00-" TRACE "-" PARENT "-ff", true},
    {"a later version", "01-" TRACE "-" PARENT "-01", true},
    {"a later version that says more", "cc-" TRACE "-" PARENT "-01-what-the-future-will-be-like", true},
    {"a later version that runs on", "cc-" TRACE "-" PARENT "-01.what-the-future", false},
    {"this version has no more to say", "00-" TRACE "-" PARENT "-01-more", false},
    {"version ff is none", "ff-" TRACE "-" PARENT "-01", false},
    {"a version in upper case", "0A-" TRACE "-" PARENT "-01", false},
    {"a trace id of zeros", "00-00000000000000000000000000000000-" PARENT "-01", false},
    {"a parent id of zeros", "00-" TRACE "-0000000000000000-01", false},
    {"upper case", "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false},
    {"no hex digit", "00-4bf92f3577b34da6a3ce929d0e0e473g-" PARENT "-01", false},
    {"no hex digit in the parent", "00-" TRACE "-00f067aa0ba902bz-01", false},
    {"no hex digit in the flags", "00-" TRACE "-" PARENT "-0x", false},
    {"other separators", "00_" TRACE "-" PARENT "-01", false},
    {"other separators", "00-" TRACE "_" PARENT "-01", false},
    {"other separators", "00-" TRACE "-" PARENT "_01", false},
    {"too short by one", "00-" TRACE "-" PARENT "-0", false},
    {"a quote to break out of a log line", "00-\"bf92f3577b34da6a3ce929d0e0e4736-" PARENT "-01", false},
    {"nothing", "", false},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice trace = {NULL, 0};

        if (traceparent_read(slice_str(cases[i].value), &trace) != cases[i].good)
            fail_msg("%s: expected %s", cases[i].why, cases[i].good ? "a trace id" : "none");
        if (cases[i].good ? !slice_eq(trace, SLICE_OF(TRACE)) : trace.data != NULL)
            fail_msg("%s: got '%.*s'", cases[i].why, (int)trace.len, trace.data ? trace.data : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
