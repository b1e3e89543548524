/* retry: whether and when once more, what upstream asks for, and the budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/policy/retry.h"

enum { ON_CONNECT = 1 << RETRY_CONNECT, ON_429 = 1 << RETRY_429, ON_503 = 1 << RETRY_503 };

static const struct {
    const char *why;
    unsigned on, max, tries;
    enum retry_cause cause;
    int64_t asked_ms;
    int64_t low_ms, high_ms; /* where the wait must lie, whatever chance says; -1: no further try */
} waits[] = {
    {"nothing was sent", ON_CONNECT, 2, 1, RETRY_CONNECT, -1, 50, 100},
    {"the back-off doubles", ON_CONNECT, 9, 2, RETRY_CONNECT, -1, 100, 200},
    {"and doubles", ON_CONNECT, 9, 3, RETRY_CONNECT, -1, 200, 400},
    {"up to the longest wait", ON_CONNECT, 99, 60, RETRY_CONNECT, -1, 500, 1000},
    {"so often and no more", ON_CONNECT, 2, 3, RETRY_CONNECT, -1, -1, -1},
    {"never, when the count is nothing", ON_CONNECT, 0, 1, RETRY_CONNECT, -1, -1, -1},
    {"a cause that was not named", ON_CONNECT, 2, 1, RETRY_429, -1, -1, -1},
    {"one that was", ON_CONNECT | ON_429, 2, 1, RETRY_429, -1, 50, 100},
    {"no cause at all", ~0U, 2, 1, RETRY_NONE, -1, -1, -1},
    {"upstream asks for longer than the back-off", ON_503, 2, 1, RETRY_503, 700, 700, 700},
    {"upstream asks for less", ON_503, 2, 1, RETRY_503, 10, 50, 100},
    {"upstream asks for nothing", ON_503, 2, 1, RETRY_503, 0, 50, 100},
    {"as long as there may be", ON_503, 2, 1, RETRY_503, 1000, 1000, 1000},
    {"longer than there may be: its answer is passed on", ON_503, 2, 1, RETRY_503, 1001, -1, -1},
};

static void one_more_try_or_not(void **state)
{
    static const uint32_t chances[] = {0, 1, 50, 99, 12345, UINT32_MAX / 2, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        const struct retry_conf conf = {
            .max = waits[i].max, .on = waits[i].on, .backoff_ms = 100, .backoff_ms_max = 1000};

        for (size_t c = 0; c < ARRAY_LEN(chances); c++) {
            int64_t ms = retry_wait_ms(&conf, waits[i].cause, waits[i].tries, waits[i].asked_ms, chances[c]);

            if (ms < waits[i].low_ms || ms > waits[i].high_ms)
                fail_msg("%s: %lld ms", waits[i].why, (long long)ms);
        }
    }
}

static void waits_differ_by_chance(void **state)
{
    const struct retry_conf conf = {.max = 1, .on = ON_CONNECT, .backoff_ms = 100, .backoff_ms_max = 1000};
    int64_t low = INT64_MAX, high = 0;

    (void)state;
    for (uint32_t chance = 0; chance < 1000; chance++) {
        int64_t ms = retry_wait_ms(&conf, RETRY_CONNECT, 1, -1, chance);

        low = ms < low ? ms : low;
        high = ms > high ? ms : high;
    }
    assert_int_equal(low, 50);
    assert_int_equal(high, 100);
}

#define NOW_MS (INT64_C(784111777) * 1000) /* Sun, 06 Nov 1994 08:49:37 GMT */

static const struct {
    const char *why, *name, *value;
    int64_t want;
} words[] = {
    {"seconds", "Retry-After", "7", 7000},
    {"seconds with space", "Retry-After", " 7 ", 7000},
    {"at once", "Retry-After", "0", 0},
    {"milliseconds", "retry-after-ms", "250", 250},
    {"milliseconds with places", "retry-after-ms", "250.75", 250},
    {"a date to come", "Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT", 60000},
    {"a date that has passed", "Retry-After", "Sun, 06 Nov 1994 08:48:37 GMT", 0},
    {"nonsense", "Retry-After", "soon", -1},
    {"less than nothing", "Retry-After", "-7", -1},
    {"empty", "Retry-After", "", -1},
    {"more than a number holds", "Retry-After", "99999999999999999999999", INT64_C(2147483647) * 1000},
    {"another field", "Date", "7", -1},
};

static void what_upstream_asks_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct fields f = {.n = 0};
        int64_t got;

        assert_int_equal(fields_add(&f, slice_str(words[i].name), slice_str(words[i].value)), 0);
        got = retry_after_ms(&f, NOW_MS);
        if (words[i].want >= INT64_C(2147483647) * 1000 ? got < words[i].want : got != words[i].want)
            fail_msg("%s: %lld", words[i].why, (long long)got);
    }
}

static void milliseconds_go_before_seconds(void **state)
{
    struct fields f = {.n = 0};

    (void)state;
    assert_int_equal(fields_add(&f, SLICE_OF("Retry-After"), SLICE_OF("1")), 0);
    assert_int_equal(fields_add(&f, SLICE_OF("Retry-After-Ms"), SLICE_OF("20")), 0);
    assert_int_equal(retry_after_ms(&f, NOW_MS), 20);
}

static void names_and_causes(void **state)
{
    (void)state;
    for (enum retry_cause cause = 0; cause < RETRY_CAUSES; cause++)
        assert_int_equal(retry_cause_by_name(slice_str(retry_cause_name(cause))), cause);
    assert_int_equal(retry_cause_by_name(SLICE_OF("418")), RETRY_NONE);
    assert_int_equal(retry_cause_by_name(SLICE_OF("")), RETRY_NONE);
    assert_int_equal(retry_cause_of_status(503), RETRY_503);
    assert_int_equal(retry_cause_of_status(500), RETRY_NONE);
    assert_int_equal(retry_cause_of_status(0), RETRY_NONE);
}

/* -- the budget -- */

static unsigned spend_all(struct retry_budget *b, int64_t now_ms)
{
    unsigned n = 0;

    while (n < 1000 && retry_budget_spend(b, now_ms))
        n++;
    return n;
}

static void a_storm_is_not_multiplied(void **state)
{
    const struct retry_conf tenth = {.budget_permille = 100};
    struct retry_budget b = {.milli = 0};
    unsigned retried = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) { /* a thousand requests at once, all of which fail */
        retry_budget_earn(&b, &tenth, 5000);
        retried += retry_budget_spend(&b, 5000);
    }
    assert_int_equal(retried, RETRY_BUCKET + 99); /* the first request's share found the bucket full */
}

static void an_idle_upstream_has_a_few(void **state)
{
    struct retry_budget b = {.milli = 0};

    (void)state;
    assert_int_equal(spend_all(&b, 1000), RETRY_BUCKET);
    assert_int_equal(spend_all(&b, 1999), 0);
    assert_int_equal(spend_all(&b, 2000), RETRY_FLOOR_PER_S);
    assert_int_equal(spend_all(&b, 1990), 0); /* a clock that lags */
    assert_int_equal(spend_all(&b, 1000000), RETRY_BUCKET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_more_try_or_not),        cmocka_unit_test(waits_differ_by_chance),
        cmocka_unit_test(what_upstream_asks_for),     cmocka_unit_test(milliseconds_go_before_seconds),
        cmocka_unit_test(names_and_causes),           cmocka_unit_test(a_storm_is_not_multiplied),
        cmocka_unit_test(an_idle_upstream_has_a_few),
    };

    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
