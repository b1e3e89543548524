/* history_points: fewer points than readings, and nothing lost; growth as a line through all readings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "history_points.h"
#include "refrain/base/attr.h"

/* @n readings, of which each has counted its number and measured it in microseconds, after one of nothing. */
static struct history *of(size_t n)
{
    struct history *h = history_new();
    struct reading r = {0};

    history_add(h, &r);
    for (size_t i = 1; i <= n; i++) {
        static struct sketch s;

        r.at_ms = r.mono_ms = (int64_t)i * HISTORY_EVERY_MS;
        r.requests[RESULT_HIT] += i;
        r.saved_ns += 2 * i;
        r.flights = i;
        history_add(h, &r);
        memset(&s, 0, sizeof(s));
        sketch_add(&s, (int64_t)i * 1000);
        history_keep_times(h, i % 2 ? HISTORY_HIT : HISTORY_MISS, &s);
    }
    return h;
}

struct seen {
    size_t n;
    uint64_t hits, saved_ns, samples, hit_samples, flights;
    int64_t ms, ends_ms[HISTORY_MAX];
    struct sketch all;
};

static void see(void *arg, const struct history_point *p)
{
    struct seen *s = arg;

    s->ends_ms[s->n++] = p->end->mono_ms;
    s->hits += p->requests[RESULT_HIT];
    s->saved_ns += p->saved_ns;
    s->samples += sketch_count(p->all);
    s->hit_samples += sketch_count(p->hit);
    s->ms += p->ms;
    s->flights = p->end->flights;
    sketch_merge(&s->all, p->all);
}

static void test_points_add_up_to_the_history(void **state)
{
    static const struct {
        const char *why;
        size_t readings;
        unsigned points;
        size_t at_least;
    } cases[] = {
        {"nothing yet", 0, 10, 0},
        {"one interval", 1, 10, 1},
        {"as many points as intervals", 10, 10, 10},
        {"fewer intervals than points", 7, 100, 7},
        {"one more than points", 11, 10, 6},
        {"many", 997, 120, 90},
        {"all in one", 997, 1, 1},
        {"all in two", 100, 2, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct history *h = of(cases[i].readings);
        struct seen *s = calloc(1, sizeof(*s));
        uint64_t n = cases[i].readings, sum = n * (n + 1) / 2;

        assert_non_null(s);
        history_points(h, INT64_MAX, cases[i].points, see, s);
        if (s->n > cases[i].points || s->n < cases[i].at_least)
            fail_msg("%s: %zu points", cases[i].why, s->n);
        if (s->hits != sum || s->saved_ns != 2 * sum || s->samples != n || s->hit_samples != (n + 1) / 2)
            fail_msg("%s: they do not add up", cases[i].why);
        assert_int_equal(s->ms, (int64_t)n * HISTORY_EVERY_MS);
        assert_int_equal(s->flights, n); /* as it was at the end */
        assert_int_equal(sketch_sum_ns(&s->all), sum * 1000);
        free(s);
        history_free(h);
    }
}

static void test_the_span_is_kept_to(void **state)
{
    struct history *h = of(500);
    struct seen *s = calloc(1, sizeof(*s));

    (void)state;
    assert_non_null(s);
    history_points(h, 10 * HISTORY_EVERY_MS, 100, see, s);
    assert_int_equal(s->n, 10);
    assert_int_equal(s->hits, 500 * 501 / 2 - 490 * 491 / 2);
    free(s);
    history_free(h);
}

/* A point is what all of its samples say: neither of two intervals of 1 and of 99 samples has their p95. */
static void test_percentiles_are_of_all_samples_together(void **state)
{
    struct history *h = history_new();
    struct reading r = {0};
    static struct sketch many, one;
    struct seen *s = calloc(1, sizeof(*s));

    (void)state;
    assert_non_null(s);
    for (int i = 0; i < 99; i++)
        sketch_add(&many, 1000000);
    sketch_add(&one, 900000000);
    history_add(h, &r);
    history_add(h, &r);
    history_keep_times(h, HISTORY_HIT, &many);
    history_add(h, &r);
    history_keep_times(h, HISTORY_MISS, &one);
    history_points(h, 1, 1, see, s);
    assert_int_equal(s->n, 1);
    assert_int_equal(s->samples, 100);
    assert_in_range(sketch_quantile_ns(&s->all, 0.95), 1000000, 1000000 + 1000000 / SKETCH_ERROR);
    assert_in_range(sketch_quantile_ns(&s->all, 0.999), 900000000 - 900000000 / SKETCH_ERROR, 900000000);
    free(s);
    history_free(h);
}

/* Who looks again after some readings sees the same points, but for the first and the last. */
static void test_points_stay_where_they_are(void **state)
{
    struct history *h = of(200);
    struct seen *before = calloc(1, sizeof(*before)), *after = calloc(1, sizeof(*after));
    struct reading r = *history_at(h, 0);
    size_t same = 0;

    (void)state;
    assert_non_null(before);
    assert_non_null(after);
    history_points(h, 150 * HISTORY_EVERY_MS, 20, see, before);
    r.mono_ms += HISTORY_EVERY_MS;
    history_add(h, &r);
    history_points(h, 150 * HISTORY_EVERY_MS, 20, see, after);
    for (size_t i = 0; i < before->n; i++)
        for (size_t k = 0; k < after->n; k++)
            same += before->ends_ms[i] == after->ends_ms[k];
    assert_true(same + 2 >= before->n);
    free(before);
    free(after);
    history_free(h);
}

static uint64_t resident(const struct reading *r)
{
    return r->rss_bytes;
}

static void test_growth_is_the_slope_of_all_readings(void **state)
{
    static const struct {
        const char *why;
        size_t readings;
        int64_t every_ms, by;
        bool known;
        int64_t want;
    } cases[] = {
        {"nothing to tell by", 1, 60000, 100, false, 0},
        {"too few", 5, 60000, 100, false, 0},
        {"too short", 100, 500, 100, false, 0},
        {"a kilobyte a minute", 60, 60000, 1000, true, 60000},
        {"less and less", 60, 60000, -1000, true, -60000},
        {"level", 60, 60000, 0, true, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct history *h = history_new();
        int64_t per_hour = 0;

        for (size_t k = 0; k < cases[i].readings; k++) {
            struct reading r = {.mono_ms = (int64_t)k * cases[i].every_ms,
                                .rss_bytes = (uint64_t)(1000000 + (int64_t)k * cases[i].by)};

            history_add(h, &r);
        }
        if (history_growth(h, resident, &per_hour) != cases[i].known ||
            llabs(per_hour - cases[i].want) > llabs(cases[i].want) / 1000)
            fail_msg("%s: %lld", cases[i].why, (long long)per_hour);
        history_free(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points_add_up_to_the_history),
        cmocka_unit_test(test_the_span_is_kept_to),
        cmocka_unit_test(test_percentiles_are_of_all_samples_together),
        cmocka_unit_test(test_points_stay_where_they_are),
        cmocka_unit_test(test_growth_is_the_slope_of_all_readings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
