/* reading, monitor: what blocks of counts add up to, what came since the reading before, and what follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/ops/monitor.h"
#include "refrain/store/inventory.h"

struct world {
    struct metrics *metrics;
    struct metric_block *one, *two;
    struct inventory_place tiers; /* there are none */
    struct monitor *monitor;
};

static struct world world;

static int begin(void **state)
{
    struct monitor_conf conf = {.every_ms = 1000};

    world = (struct world){.metrics = metrics_new()};
    world.one = metrics_block(world.metrics);
    world.two = metrics_block(world.metrics);
    conf.from = (struct reading_sources){world.metrics, NULL, &world.tiers};
    world.monitor = monitor_new(&conf, 5000000, 0);
    *state = &world;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;

    monitor_free(w->monitor);
    metrics_free(w->metrics);
    return 0;
}

static void ends(struct metric_block *b, unsigned op, enum metric_result result, int64_t ns)
{
    metric_add2(b, REQUESTS, op, result, 1);
    metric_time2(b, REQUEST, op, result, ns);
}

static void test_counts_are_since_the_start_and_times_since_the_reading_before(void **state)
{
    struct world *w = *state;
    const struct history *h = monitor_history(w->monitor);
    const struct reading *r;

    ends(w->one, 1, RESULT_HIT, 1000);
    ends(w->two, 2, RESULT_HIT, 3000);
    ends(w->two, 2, RESULT_MISS, 1000000);
    ends(w->one, 2, RESULT_ERROR, 500);
    metric_time2(w->one, STREAM, 1, RESULT_MISS, 3000000); /* streams are in it, too */
    metric_time(w->one, KEY, 700);
    metric_time1(w->one, TIER_GET, TIER_DISK, 900);
    monitor_sample(w->monitor, 5001000, 1000);
    ends(w->one, 1, RESULT_HIT, 5000);
    monitor_sample(w->monitor, 5002000, 2000);

    assert_int_equal(history_n(h), 3); /* the first is of the start */
    r = history_at(h, 1);
    assert_int_equal(r->requests[RESULT_HIT], 2);
    assert_int_equal(r->requests[RESULT_MISS], 1);
    assert_int_equal(r->hit.n, 2);
    assert_int_equal(r->hit.mean_ns, 2000);
    assert_int_equal(r->hit.max_ns, 3000);
    assert_int_equal(r->miss.n, 2);
    assert_int_equal(r->request.n, 5);
    assert_int_equal(r->request.min_ns, 500);
    assert_int_equal(r->key.mean_ns, 700);
    assert_int_equal(r->tiers[TIER_DISK].get.n, 1);
    assert_true(r->rss_bytes > 0);

    r = history_at(h, 0);
    assert_int_equal(r->at_ms, 5002000);
    assert_int_equal(r->requests[RESULT_HIT], 3);
    assert_int_equal(r->hit.n, 1);
    assert_int_equal(r->hit.max_ns, 5000);
    assert_int_equal(r->miss.n, 0);
    assert_int_equal(r->request.n, 1);
    assert_int_equal(r->key.n, 0);
}

static void test_what_is_counted_elsewhere_is_in_it(void **state)
{
    struct world *w = *state;
    struct reading r;

    metric_add2(w->one, UPSTREAM_REQUESTS, 0, metric_code(200), 5);
    metric_add2(w->one, UPSTREAM_REQUESTS, 1, metric_code(503), 2);
    metric_add2(w->two, UPSTREAM_REQUESTS, 1, CODE_TIMEOUT, 1);
    metric_add2(w->two, UPSTREAM_REQUESTS, 1, CODE_CANCELLED, 7); /* nobody's fault */
    metric_add2(w->two, UPSTREAM_REQUESTS, 1, metric_code(404), 1);
    metric_add2(w->one, TOKENS_SAVED, 0, TOKENS_INPUT, 10);
    metric_add2(w->two, TOKENS_SAVED, 3, TOKENS_OUTPUT, 20);
    metric_add1(w->one, CACHED_TOKENS_SAVED, 0, 4);
    metric_add1(w->two, CACHED_TOKENS_SAVED, 3, 2);
    metric_add(w->one, SECONDS_SAVED, 1500000000);
    metric_add1(w->one, COST_SAVED, 2, 250000);
    metrics_set2(w->metrics, EVICTIONS, TIER_MEMORY, EVICTED_SPACE, 4);
    metrics_set2(w->metrics, EVICTIONS, TIER_DISK, EVICTED_COUNT, 3);
    metrics_set2(w->metrics, EVICTIONS, TIER_DISK, EVICTED_EXPIRED, 100);
    metrics_set1(w->metrics, INVALIDATIONS, 2, 6);
    metrics_set(w->metrics, FLIGHTS, 9);
    reading_counts(monitor_sources(w->monitor), &r);
    assert_int_equal(r.upstream_calls, 16);
    assert_int_equal(r.upstream_failures, 3);
    assert_int_equal(r.tokens_saved_in, 10);
    assert_int_equal(r.tokens_saved_out, 20);
    assert_int_equal(r.tokens_saved_cached, 6);
    assert_int_equal(r.saved_ns, 1500000000);
    assert_int_equal(r.saved_nano_dollars, 250000);
    assert_int_equal(r.evicted, 7);
    assert_int_equal(r.tiers[TIER_DISK].expired, 100);
    assert_int_equal(r.invalidations, 6);
    assert_int_equal(r.flights, 9);
    assert_false(r.tiers[TIER_MEMORY].on);
}

static void test_hit_rate_is_of_what_the_cache_could_do_something_about(void **state)
{
    static const struct {
        const char *why;
        uint64_t requests[LABEL_MAX_RESULT]; /* hit, miss, coalesced, stale, revalidated, bypass, error */
        int64_t want;
    } cases[] = {
        {"nothing was asked", {0}, -1},
        {"bypassed and failed ones alone", {0, 0, 0, 0, 0, 5, 5}, -1},
        {"misses", {0, 3, 0, 0, 0, 0, 0}, 0},
        {"half", {1, 1, 0, 0, 0, 9, 9}, 500000000},
        {"whatever spared upstream an answer", {1, 1, 1, 1, 1, 0, 0}, 800000000},
        {"a third", {1, 2, 0, 0, 0, 0, 0}, 333333333},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (reading_hit_rate_nano(cases[i].requests) != cases[i].want)
            fail_msg("%s: %lld", cases[i].why, (long long)reading_hit_rate_nano(cases[i].requests));
    assert_int_equal(reading_total(cases[4].requests), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counts_are_since_the_start_and_times_since_the_reading_before,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_counted_elsewhere_is_in_it, begin, end),
        cmocka_unit_test(test_hit_rate_is_of_what_the_cache_could_do_something_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
