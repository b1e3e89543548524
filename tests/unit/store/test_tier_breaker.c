/*
 * tier_breaker: a tier that does not answer is left alone, asked once in a while, and used again when it
 * answers; what it says in its own right (nothing there, no room) is no reason to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/store/tier_breaker.h"
#include "scripted_tier.h"

enum { FAILURES = 3, OPEN_MS = 100, OPEN_MS_MAX = 350, WATCHDOG_MS = 20000 };

static int64_t now_ms;

static int64_t fake_now(void)
{
    return now_ms;
}

struct world {
    struct loop *loop;
    struct loop_timer *watchdog;
    struct scripted *inside;
    struct tier *tier;
    struct tier_port *port;
    unsigned changes;
};

static void on_change(void *arg, struct tier *t)
{
    struct world *w = arg;

    assert_ptr_equal(t, w->tier);
    w->changes++;
}

static void on_watchdog(void *arg)
{
    (void)arg;
    fail_msg("the loop ran for too long");
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));
    struct tier_breaker_conf conf = {FAILURES, OPEN_MS, OPEN_MS_MAX, fake_now, on_change, w};

    now_ms = 1000000;
    w->loop = loop_new();
    w->watchdog = loop_timer_new(w->loop, on_watchdog, w);
    w->tier = tier_breaker_new(scripted_new("redis", TIER_REDIS, &w->inside), &conf);
    assert_non_null(w->tier);
    assert_string_equal(w->tier->ops->name, "redis");
    w->port = w->tier->ops->open(w->tier, w->loop);
    return w;
}

static void world_free(struct world *w)
{
    w->tier->ops->close(w->port);
    tier_free(w->tier);
    loop_timer_free(w->watchdog);
    loop_free(w->loop);
    free(w);
}

struct asked {
    struct tier_get get; /* first */
    struct world *world;
    bool done;
};

static void on_done(struct tier_op *op)
{
    struct asked *a = (struct asked *)op;

    a->done = true;
    loop_stop(a->world->loop);
}

static bool spare = true; /* whether nobody waits for what is asked */

static void ask_begin(struct world *w, struct asked *a)
{
    *a = (struct asked){.get = {.op = {.on_done = on_done, .spare = spare}}, .world = w};
    w->tier->ops->get(w->port, &a->get);
    assert_false(a->done);
}

static enum tier_result ask_end(struct asked *a)
{
    loop_timer_start(a->world->watchdog, WATCHDOG_MS, 0);
    while (!a->done)
        loop_run(a->world->loop);
    loop_timer_stop(a->world->watchdog);
    blob_unref(a->get.blob);
    return a->get.op.result;
}

static enum tier_result ask(struct world *w)
{
    struct asked a;

    ask_begin(w, &a);
    return ask_end(&a);
}

static unsigned reached(struct world *w)
{
    struct scripted_counts counts;

    scripted_counts(w->inside, &counts);
    return counts.gets;
}

static struct tier_breaker_state look(struct world *w)
{
    struct tier_breaker_state state;

    tier_breaker_look(w->tier, &state);
    return state;
}

static void open_it(struct world *w)
{
    scripted_answers(w->inside, TIER_LATE);
    for (unsigned i = 0; i < FAILURES; i++)
        assert_int_equal(ask(w), TIER_LATE);
    assert_int_equal(look(w).is, TIER_BREAKER_OPEN);
}

static void what_counts_against_a_tier(void **state)
{
    static const struct {
        enum tier_result result;
        bool counts;
    } cases[] = {
        {TIER_OK, false},  {TIER_ABSENT, false}, {TIER_LATE, true},     {TIER_BUSY, false},
        {TIER_DOWN, true}, {TIER_FULL, false},   {TIER_REFUSED, false}, {TIER_FAILED, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world *w = world_new();

        scripted_answers(w->inside, cases[i].result);
        for (unsigned k = 0; k < 3 * FAILURES; k++)
            (void)ask(w);
        if ((look(w).is == TIER_BREAKER_OPEN) != cases[i].counts)
            fail_msg("%s", tier_result_name(cases[i].result));
        assert_int_equal(reached(w), cases[i].counts ? FAILURES : 3 * FAILURES);
        assert_int_equal(w->changes, cases[i].counts ? 1 : 0);
        world_free(w);
    }
}

static void an_answer_in_between_starts_the_count_anew(void **state)
{
    struct world *w = world_new();

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        scripted_answers(w->inside, TIER_LATE);
        for (unsigned k = 0; k + 1 < FAILURES; k++)
            (void)ask(w);
        scripted_answers(w->inside, TIER_ABSENT);
        (void)ask(w);
    }
    assert_int_equal(look(w).is, TIER_BREAKER_CLOSED);
    world_free(w);
}

static void open_it_answers_at_once_without_reaching_the_tier(void **state)
{
    struct world *w = world_new();
    unsigned before;
    struct tier_state told;
    struct tier_stats stats;

    (void)state;
    open_it(w);
    before = reached(w);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(ask(w), TIER_DOWN);
    assert_int_equal(reached(w), before);
    assert_int_equal(look(w).refused, 100);
    w->tier->ops->state(w->tier, &told);
    assert_int_equal(told.health, TIER_IS_DOWN);
    assert_string_equal(told.why, "late");
    w->tier->ops->stats(w->tier, &stats);
    assert_int_equal(stats.errors[TIER_DOWN], 100);
    world_free(w);
}

static void one_probe_decides(void **state)
{
    struct world *w = world_new();
    struct asked probe;
    int64_t waits[] = {OPEN_MS, 2 * OPEN_MS, OPEN_MS_MAX, OPEN_MS_MAX};

    (void)state;
    open_it(w);
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        assert_int_equal(look(w).probe_in_ms, waits[i]);
        assert_int_equal(look(w).rests, i + 1);
        now_ms += waits[i] - 1;
        assert_int_equal(ask(w), TIER_DOWN);
        now_ms += 1;
        assert_int_equal(ask(w), TIER_LATE); /* the probe */
        assert_int_equal(ask(w), TIER_DOWN);
    }
    now_ms += OPEN_MS_MAX;
    scripted_answers(w->inside, TIER_ABSENT);
    scripted_hold(w->inside);
    ask_begin(w, &probe);
    assert_int_equal(look(w).is, TIER_BREAKER_HALF_OPEN);
    assert_int_equal(ask(w), TIER_DOWN); /* one at a time */
    scripted_let_go(w->inside);
    assert_int_equal(ask_end(&probe), TIER_ABSENT);
    assert_int_equal(look(w).is, TIER_BREAKER_CLOSED);
    assert_int_equal(ask(w), TIER_ABSENT);
    assert_int_equal(look(w).rests, 0);
    open_it(w);
    assert_int_equal(look(w).rests, 1);
    assert_int_equal(look(w).probe_in_ms, OPEN_MS); /* as at first */
    world_free(w);
}

static void a_tier_that_says_it_is_back_is_asked_at_once(void **state)
{
    struct world *w = world_new();

    (void)state;
    now_ms = 0;
    open_it(w);
    scripted_is(w->inside, TIER_IS_DOWN);
    assert_int_equal(ask(w), TIER_DOWN);
    scripted_is(w->inside, TIER_UP); /* since a moment that lies behind the opening */
    scripted_answers(w->inside, TIER_ABSENT);
    assert_int_equal(ask(w), TIER_ABSENT);
    assert_int_equal(look(w).is, TIER_BREAKER_CLOSED);
    world_free(w);
}

static void who_waits_is_not_what_a_tier_is_tried_with(void **state)
{
    struct world *w = world_new();

    (void)state;
    open_it(w);
    now_ms += 10 * OPEN_MS;
    spare = false;
    assert_int_equal(ask(w), TIER_DOWN);
    spare = true;
    assert_int_equal(ask(w), TIER_LATE);
    world_free(w);
}

static void what_was_asked_before_it_opened_changes_nothing(void **state)
{
    struct world *w = world_new();
    struct asked early;

    (void)state;
    scripted_hold(w->inside);
    ask_begin(w, &early);
    for (unsigned i = 0; i < FAILURES; i++) {
        struct asked late;

        ask_begin(w, &late);
        scripted_answers(w->inside, TIER_FAILED);
        scripted_let_go(w->inside);
        (void)ask_end(&late);
        if (!early.done)
            (void)ask_end(&early);
        scripted_hold(w->inside);
    }
    assert_int_equal(look(w).is, TIER_BREAKER_OPEN);
    assert_int_equal(look(w).opened, 1);
    world_free(w);
}

static void an_operator_has_the_last_word(void **state)
{
    struct world *w = world_new();

    (void)state;
    tier_breaker_order(w->tier, TIER_BREAKER_DO_OPEN);
    now_ms += 100 * OPEN_MS_MAX;
    assert_int_equal(ask(w), TIER_DOWN);
    assert_true(look(w).forced);
    tier_breaker_order(w->tier, TIER_BREAKER_DO_CLOSE);
    scripted_answers(w->inside, TIER_LATE);
    for (unsigned i = 0; i < 3 * FAILURES; i++)
        assert_int_equal(ask(w), TIER_LATE);
    tier_breaker_order(w->tier, TIER_BREAKER_DO_RESET);
    for (unsigned i = 0; i < FAILURES; i++)
        assert_int_equal(ask(w), TIER_LATE);
    assert_int_equal(ask(w), TIER_DOWN);
    world_free(w);
}

/* One that says so is asked for the rest. */
static void test_a_part_that_is_away_is_no_reason(void **state)
{
    struct world *w = world_new();

    (void)state;
    scripted_is_partly_up(w->inside);
    scripted_answers(w->inside, TIER_DOWN);
    for (int i = 0; i < 2 * FAILURES; i++)
        assert_int_equal(ask(w), TIER_DOWN);
    assert_int_equal(w->changes, 0);
    scripted_answers(w->inside, TIER_LATE); /* this costs time, whoever it is */
    for (int i = 0; i < FAILURES; i++)
        assert_int_equal(ask(w), TIER_LATE);
    assert_int_equal(w->changes, 1);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_part_that_is_away_is_no_reason),
        cmocka_unit_test(what_counts_against_a_tier),
        cmocka_unit_test(an_answer_in_between_starts_the_count_anew),
        cmocka_unit_test(open_it_answers_at_once_without_reaching_the_tier),
        cmocka_unit_test(one_probe_decides),
        cmocka_unit_test(a_tier_that_says_it_is_back_is_asked_at_once),
        cmocka_unit_test(who_waits_is_not_what_a_tier_is_tried_with),
        cmocka_unit_test(what_was_asked_before_it_opened_changes_nothing),
        cmocka_unit_test(an_operator_has_the_last_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
