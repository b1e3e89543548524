#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/ops/history.h"

static struct history *of(size_t n)
{
    struct history *h = history_new();

    for (size_t i = 0; i < n; i++) {
        struct reading r = {.mono_ms = (int64_t)i * HISTORY_EVERY_MS};

        history_add(h, &r);
    }
    return h;
}

static void test_an_empty_one_has_nothing(void **state)
{
    struct history *h = of(0);

    (void)state;
    assert_int_equal(history_n(h), 0);
    assert_null(history_at(h, 0));
    assert_null(history_before(h, 0));
    history_free(h);
}

static void test_the_newest_come_first_and_the_oldest_go(void **state)
{
    struct history *h = of(HISTORY_MAX + 3);

    (void)state;
    assert_int_equal(history_n(h), HISTORY_MAX);
    assert_int_equal(history_at(h, 0)->mono_ms, (HISTORY_MAX + 2) * HISTORY_EVERY_MS);
    assert_int_equal(history_at(h, HISTORY_MAX - 1)->mono_ms, 3 * HISTORY_EVERY_MS);
    assert_null(history_at(h, HISTORY_MAX));
    history_free(h);
}

static void test_how_it_was_some_time_before(void **state)
{
    static const struct {
        const char *why;
        int64_t before_ms, want_ms;
    } cases[] = {
        {"now", 0, 9 * HISTORY_EVERY_MS},
        {"between two, the older", HISTORY_EVERY_MS + 1, 7 * HISTORY_EVERY_MS},
        {"exactly", 4 * HISTORY_EVERY_MS, 5 * HISTORY_EVERY_MS},
        {"longer ago than there are readings", 3600000, 0},
    };
    struct history *h = of(10);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (history_before(h, cases[i].before_ms)->mono_ms != cases[i].want_ms)
            fail_msg("%s", cases[i].why);
    }
    history_free(h);
}

static void test_durations_lie_with_their_reading(void **state)
{
    static struct sketch one, two, empty, back;
    struct history *h = of(HISTORY_MAX);
    struct reading r = {0};

    (void)state;
    memset(&one, 0, sizeof(one));
    sketch_add(&one, 1000);
    sketch_add(&two, 2000);
    history_keep_times(h, HISTORY_HIT, &one);
    history_keep_times(h, HISTORY_HIT, &two); /* it has its own already */
    history_keep_times(h, HISTORY_MISS, &empty);
    history_add(h, &r);
    history_keep_times(h, HISTORY_HIT, &two);
    assert_int_equal(history_added(h), HISTORY_MAX + 1);

    history_add_times(h, 0, HISTORY_HIT, &back);
    assert_int_equal(sketch_sum_ns(&back), 2000);
    history_add_times(h, 1, HISTORY_HIT, &back);
    assert_int_equal(sketch_sum_ns(&back), 3000);
    assert_int_equal(sketch_count(&back), 2);
    history_add_times(h, 0, HISTORY_MISS, &back);
    history_add_times(h, HISTORY_MAX, HISTORY_HIT, &back); /* past the oldest */
    assert_int_equal(sketch_count(&back), 2);
    for (size_t i = 0; i < HISTORY_MAX; i++)
        history_add(h, &r); /* they go with it */
    for (size_t i = 0; i < HISTORY_MAX; i++)
        history_add_times(h, i, HISTORY_HIT, &back);
    assert_int_equal(sketch_count(&back), 2);
    history_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_one_has_nothing),
        cmocka_unit_test(test_the_newest_come_first_and_the_oldest_go),
        cmocka_unit_test(test_durations_lie_with_their_reading),
        cmocka_unit_test(test_how_it_was_some_time_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
