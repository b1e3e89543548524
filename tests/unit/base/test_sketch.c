/* sketch: quantiles as sorted samples have them, within the error that is stated; sums that lose nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/sketch.h"

enum { SAMPLES = 20000 };

/* Numbers that are the same at each run. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = (*state += UINT64_C(0x9E3779B97F4A7C15));

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static int64_t even(uint64_t *state)
{
    return (int64_t)(next_random(state) % 50000000);
}

/* Each power of two is as likely as any other: from 1 ns to an hour. */
static int64_t over_all_powers(uint64_t *state)
{
    unsigned power = (unsigned)(next_random(state) % 42);

    return (int64_t)((UINT64_C(1) << power) + next_random(state) % (UINT64_C(1) << power));
}

/* Hits of some microseconds, and one in twenty that upstream is asked for. */
static int64_t two_humps(uint64_t *state)
{
    uint64_t dice = next_random(state);

    return dice % 20 == 0 ? (int64_t)(800000000 + dice / 20 % 900000000) : (int64_t)(7000 + dice / 20 % 9000);
}

static int64_t heavy_tail(uint64_t *state)
{
    return (int64_t)(UINT64_C(1000000000000) / (1 + next_random(state) % 1000000));
}

static int64_t constant(uint64_t *state)
{
    (void)state;
    return 123456789;
}

static const struct {
    const char *why;
    int64_t (*sample)(uint64_t *state);
} distributions[] = {
    {"even", even},
    {"from 1 ns to more than an hour", over_all_powers},
    {"hits and misses", two_humps},
    {"few are very long", heavy_tail},
    {"all alike", constant},
};

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void is_within_error(const char *why, double q, int64_t told, int64_t exact)
{
    int64_t off = told > exact ? told - exact : exact - told;

    if (off * SKETCH_ERROR > exact)
        fail_msg("%s, %g: %lld is told, %lld it is", why, q, (long long)told, (long long)exact);
}

static void quantiles_are_those_of_sorted_samples(void **state)
{
    static const double quantiles[] = {0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 0.99, 0.999, 1};
    static int64_t samples[SAMPLES];
    static struct sketch s;

    (void)state;
    for (size_t d = 0; d < ARRAY_LEN(distributions); d++) {
        uint64_t random = d, sum = 0;

        memset(&s, 0, sizeof(s));
        for (size_t i = 0; i < SAMPLES; i++) {
            samples[i] = distributions[d].sample(&random);
            sum += (uint64_t)samples[i];
            sketch_add(&s, samples[i]);
        }
        qsort(samples, SAMPLES, sizeof(samples[0]), by_size);
        assert_int_equal(sketch_count(&s), SAMPLES);
        assert_int_equal(sketch_sum_ns(&s), sum);
        assert_int_equal(sketch_mean_ns(&s), sum / SAMPLES);
        assert_int_equal(sketch_min_ns(&s), samples[0]);
        assert_int_equal(sketch_max_ns(&s), samples[SAMPLES - 1]);
        for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
            size_t rank = (size_t)(quantiles[i] * SAMPLES + 0.999999);

            is_within_error(distributions[d].why, quantiles[i], sketch_quantile_ns(&s, quantiles[i]),
                            samples[rank > 0 ? rank - 1 : 0]);
        }
        sum = 0;
        for (size_t i = 0; i < SAMPLES * 8 / 10; i++)
            sum += (uint64_t)samples[i];
        is_within_error(distributions[d].why, 0.8, sketch_mean_of_lowest_ns(&s, 0.8),
                        (int64_t)(sum / (SAMPLES * 8 / 10)));
    }
}

/* No sample falls between buckets, none is in two: each power of two, and its neighbours. */
static void every_duration_has_its_bucket(void **state)
{
    unsigned before = 0;

    (void)state;
    for (unsigned power = 0; power < 50; power++)
        for (int64_t off = -1; off <= 1; off++) {
            int64_t ns = (INT64_C(1) << power) + off;

            assert_true(sketch_bucket((uint64_t)ns) < SKETCH_BUCKETS);
            assert_true(sketch_bucket((uint64_t)ns) >= before || off < 1);
            if (off == 1)
                before = sketch_bucket((uint64_t)ns);
        }
    assert_int_equal(sketch_bucket((uint64_t)SKETCH_NS_MAX - 1), SKETCH_BUCKETS - 1);
    assert_int_equal(sketch_bucket(UINT64_MAX), SKETCH_BUCKETS - 1);
}

static void nothing_is_zero(void **state)
{
    static struct sketch s;

    (void)state;
    assert_int_equal(sketch_count(&s), 0);
    assert_int_equal(sketch_min_ns(&s), 0);
    assert_int_equal(sketch_max_ns(&s), 0);
    assert_int_equal(sketch_mean_ns(&s), 0);
    assert_int_equal(sketch_quantile_ns(&s, 0.5), 0);
    assert_int_equal(sketch_mean_of_lowest_ns(&s, 0.8), 0);
}

static void what_cannot_be_is_counted_all_the_same(void **state)
{
    static struct sketch s;

    (void)state;
    sketch_add(&s, -5); /* a clock that went back */
    assert_int_equal(sketch_min_ns(&s), 0);
    sketch_add(&s, SKETCH_NS_MAX * 4); /* longer than any request may take */
    assert_int_equal(sketch_count(&s), 2);
    assert_int_equal(sketch_max_ns(&s), SKETCH_NS_MAX * 4);
    assert_true(sketch_quantile_ns(&s, 1) >= SKETCH_NS_MAX - SKETCH_NS_MAX / SKETCH_ERROR);
}

static bool are_equal(const struct sketch *a, const struct sketch *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static void parts_add_up_to_the_whole(void **state)
{
    static struct sketch whole, part[3], merged;

    (void)state;
    for (size_t d = 0; d < ARRAY_LEN(distributions); d++) {
        uint64_t random = 7 * d;

        memset(&whole, 0, sizeof(whole));
        memset(part, 0, sizeof(part));
        memset(&merged, 0, sizeof(merged));
        for (size_t i = 0; i < SAMPLES; i++) {
            int64_t ns = distributions[d].sample(&random);

            sketch_add(&whole, ns);
            sketch_add(&part[i % 3], ns);
        }
        for (int i = 0; i < 3; i++)
            sketch_merge(&merged, &part[i]);
        if (!are_equal(&merged, &whole))
            fail_msg("%s: the parts are not the whole", distributions[d].why);
    }
}

static void what_is_packed_comes_back(void **state)
{
    static struct sketch s, back;

    (void)state;
    for (size_t d = 0; d < ARRAY_LEN(distributions); d++) {
        AUTO(buf_done) struct buf packed = BUF_INIT(64 * 1024);
        AUTO(buf_done) struct buf too_small = BUF_INIT(20);
        uint64_t random = 11 * d;

        memset(&s, 0, sizeof(s));
        memset(&back, 0, sizeof(back));
        assert_int_equal(sketch_pack(&s, &packed), 0);
        sketch_merge_packed(&back, buf_slice(&packed)); /* empty */
        assert_true(are_equal(&s, &back));
        buf_clear(&packed);
        for (size_t i = 0; i < SAMPLES; i++)
            sketch_add(&s, distributions[d].sample(&random));
        assert_int_equal(sketch_pack(&s, &packed), 0);
        assert_true(packed.len <= SKETCH_BUCKETS * 4);
        sketch_merge_packed(&back, buf_slice(&packed));
        if (!are_equal(&s, &back))
            fail_msg("%s: it is another one", distributions[d].why);
        if (packed.len > 20) {
            assert_true(sketch_pack(&s, &too_small) < 0);
            assert_int_equal(too_small.len, 0);
        }
    }
    sketch_merge_packed(&back, (struct slice){NULL, 0});
    assert_true(are_equal(&s, &back));
}

static void an_interval_is_what_came_since(void **state)
{
    static struct sketch s, before, interval, alone;
    uint64_t random = 3;

    (void)state;
    for (size_t i = 0; i < SAMPLES; i++)
        sketch_add(&s, even(&random));
    before = s;
    for (size_t i = 0; i < 1000; i++) {
        int64_t ns = 1000000 + even(&random) / 2; /* neither the smallest nor the largest of all */

        sketch_add(&s, ns);
        sketch_add(&alone, ns);
    }
    sketch_since(&interval, &s, &before);
    assert_int_equal(sketch_count(&interval), 1000);
    assert_int_equal(sketch_sum_ns(&interval), sketch_sum_ns(&alone));
    assert_memory_equal(interval.bucket, alone.bucket, sizeof(alone.bucket));
    is_within_error("smallest", 0, sketch_min_ns(&interval), sketch_min_ns(&alone));
    assert_true(sketch_min_ns(&interval) <= sketch_min_ns(&alone));
    assert_true(sketch_max_ns(&interval) >= sketch_max_ns(&alone));
    assert_true(sketch_max_ns(&interval) - sketch_max_ns(&alone) <= sketch_max_ns(&alone) / SKETCH_PARTS);

    before = s;
    sketch_add(&s, 90000000000); /* new for all: exact */
    sketch_since(&interval, &s, &before);
    assert_int_equal(sketch_count(&interval), 1);
    assert_int_equal(sketch_max_ns(&interval), 90000000000);

    before = s;
    sketch_since(&interval, &s, &before);
    assert_int_equal(sketch_count(&interval), 0);
    assert_int_equal(sketch_max_ns(&interval), 0);
}

struct reader {
    const struct sketch *s;
    atomic_bool *done;
};

static void *read_on(void *arg)
{
    struct reader *r = arg;
    static _Thread_local struct sketch copy;
    uint64_t was = 0;

    while (!atomic_load(r->done)) {
        memset(&copy, 0, sizeof(copy));
        sketch_merge(&copy, r->s);
        assert_true(sketch_count(&copy) >= was);
        was = sketch_count(&copy);
        assert_true(sketch_quantile_ns(&copy, 0.5) <= 50000000);
    }
    return NULL;
}

static void it_is_read_while_it_is_written(void **state)
{
    static struct sketch s;
    atomic_bool done = false;
    struct reader r = {&s, &done};
    pthread_t reader[2];
    uint64_t random = 1;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&reader[i], NULL, read_on, &r), 0);
    for (size_t i = 0; i < SAMPLES; i++)
        sketch_add(&s, even(&random));
    atomic_store(&done, true);
    for (int i = 0; i < 2; i++)
        pthread_join(reader[i], NULL);
    assert_int_equal(sketch_count(&s), SAMPLES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_those_of_sorted_samples),
        cmocka_unit_test(every_duration_has_its_bucket),
        cmocka_unit_test(nothing_is_zero),
        cmocka_unit_test(what_cannot_be_is_counted_all_the_same),
        cmocka_unit_test(parts_add_up_to_the_whole),
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(an_interval_is_what_came_since),
        cmocka_unit_test(it_is_read_while_it_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
