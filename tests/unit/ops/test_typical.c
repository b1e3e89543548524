/* typical: what requests typically take is told of the last half hour to hour, and of nothing older. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/http/slow.h"
#include "typical.h"

#define MS INT64_C(1000000)
enum { OP = 3, HALF_HOUR = TYPICAL_TURN_MS };

struct world {
    struct metrics *metrics;
    struct metric_block *counts;
    struct slow *slow;
    struct typical *typical;
};

static struct world world;

static int begin(void **state)
{
    world = (struct world){.metrics = metrics_new(), .slow = slow_new(1)};
    world.counts = metrics_block(world.metrics);
    world.typical = typical_new(world.metrics, world.slow, 1000);
    *state = &world;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;

    typical_free(w->typical);
    slow_free(w->slow);
    metrics_free(w->metrics);
    return 0;
}

static void take(struct world *w, unsigned n, int64_t ns)
{
    for (unsigned i = 0; i < n; i++)
        metric_time2(w->counts, REQUEST, OP, RESULT_MISS, ns);
}

static void at(struct world *w, int64_t since_start_ms)
{
    typical_tell(w->typical, 1000 + since_start_ms);
}

/* Typical is so much, or within a sketch's error of it. */
static void typical_is(const struct world *w, int64_t ns)
{
    assert_true(slow_is(w->slow, false, OP, RESULT_MISS, SLOW_TIMES * (ns + ns / 32)));
    assert_false(slow_is(w->slow, false, OP, RESULT_MISS, SLOW_TIMES * (ns - ns / 32)));
}

static void nothing_is_typical_of_fewer_than_twenty(void **state)
{
    struct world *w = *state;

    take(w, TYPICAL_OF - 1, 10 * MS);
    at(w, 1);
    assert_false(slow_is(w->slow, false, OP, RESULT_MISS, 1000 * MS));
    take(w, 1, 10 * MS);
    at(w, 2);
    typical_is(w, 10 * MS);
    assert_false(slow_is(w->slow, true, OP, RESULT_MISS, 1000 * MS)); /* streams are apart */
    assert_false(slow_is(w->slow, false, OP, RESULT_HIT, 1000 * MS));
}

static void what_was_is_forgotten_after_an_hour(void **state)
{
    struct world *w = *state;

    take(w, 1000, 10 * MS);
    at(w, 1);
    typical_is(w, 10 * MS);
    at(w, HALF_HOUR); /* the first copy */
    take(w, 100, 40 * MS);
    at(w, 2 * HALF_HOUR - 1);
    typical_is(w, 10 * MS); /* of all since the start that is a tenth */
    at(w, 2 * HALF_HOUR);   /* the second: from now on the first is what counts are taken from */
    at(w, 2 * HALF_HOUR + 1);
    typical_is(w, 40 * MS);
    take(w, 100, 2 * MS);
    at(w, 3 * HALF_HOUR);
    at(w, 3 * HALF_HOUR + 1);
    typical_is(w, 2 * MS); /* of the last half hour alone */
}

static void of_what_has_become_rare_the_last_word_holds(void **state)
{
    struct world *w = *state;

    take(w, 1000, 10 * MS);
    for (int turns = 1; turns <= 10; turns++)
        at(w, turns * (int64_t)HALF_HOUR);
    take(w, TYPICAL_OF - 1, 40 * MS);
    at(w, 10 * (int64_t)HALF_HOUR + 1);
    typical_is(w, 10 * MS);
    take(w, 1, 40 * MS);
    at(w, 10 * (int64_t)HALF_HOUR + 2);
    typical_is(w, 40 * MS);
}

static void what_comes_first_after_hours_is_told_of_itself(void **state)
{
    struct world *w = *state;

    for (int turns = 1; turns <= 3; turns++)
        at(w, turns * (int64_t)HALF_HOUR);
    take(w, TYPICAL_OF, 5 * MS);
    at(w, 3 * (int64_t)HALF_HOUR + 1);
    typical_is(w, 5 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_typical_of_fewer_than_twenty, begin, end),
        cmocka_unit_test_setup_teardown(what_was_is_forgotten_after_an_hour, begin, end),
        cmocka_unit_test_setup_teardown(of_what_has_become_rare_the_last_word_holds, begin, end),
        cmocka_unit_test_setup_teardown(what_comes_first_after_hours_is_told_of_itself, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
