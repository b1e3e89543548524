/* breaker: the life of both machines on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/policy/breaker.h"

static const struct breaker_validation_conf three = {.failures = 3, .open_for_ms = 1000};
static const struct breaker_availability_conf half = {
    .ratio_permille = 500, .samples = 4, .window_ms = 1000, .open_for_ms = 500};

/* -- validation -- */

/* One letter a verdict: b broken, g good; what the machine must be afterwards. */
static const struct {
    const char *why, *verdicts;
    enum breaker_state want;
    unsigned net;
} counts[] = {
    {"nothing yet", "", BREAKER_CLOSED, 0},
    {"below the bound", "bb", BREAKER_CLOSED, 2},
    {"at the bound", "bbb", BREAKER_OPEN, 0},
    {"a good one takes one off", "bbgb", BREAKER_CLOSED, 2},
    {"net of the good ones", "bgbgbgbbb", BREAKER_OPEN, 0},
    {"never below nothing", "ggggggbb", BREAKER_CLOSED, 2},
    {"never below nothing, and then three", "ggggggbbb", BREAKER_OPEN, 0},
    {"while open nothing counts", "bbbgggggbbbb", BREAKER_OPEN, 0},
};

static void judge_all(struct breaker_validation *v, const char *verdicts, int64_t now_ms)
{
    for (; *verdicts; verdicts++)
        (void)breaker_validation_judge(v, &three, *verdicts == 'b', now_ms);
}

static void net_failures_open_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct breaker_validation v = {.net = 0};

        judge_all(&v, counts[i].verdicts, 10);
        if (breaker_state_at(&v.latch, 10, NULL) != counts[i].want || v.net != counts[i].net)
            fail_msg("%s: state %d, net %u", counts[i].why, breaker_state_at(&v.latch, 10, NULL), v.net);
    }
}

static void one_good_answer_closes_it(void **state)
{
    struct breaker_validation v = {.net = 0};
    int64_t since_ms;

    (void)state;
    judge_all(&v, "bbb", 100);
    assert_int_equal(breaker_state_at(&v.latch, 1099, &since_ms), BREAKER_OPEN);
    assert_int_equal(since_ms, 100);
    assert_int_equal(breaker_state_at(&v.latch, 1100, &since_ms), BREAKER_HALF_OPEN);
    assert_int_equal(since_ms, 1100);
    assert_int_equal(breaker_validation_judge(&v, &three, false, 1500), BREAKER_RECOVERED);
    assert_int_equal(breaker_state_at(&v.latch, 1500, &since_ms), BREAKER_CLOSED);
    assert_int_equal(since_ms, 1500);
    judge_all(&v, "bb", 1500); /* counts anew: what opened it is forgotten */
    assert_int_equal(breaker_state_at(&v.latch, 1500, NULL), BREAKER_CLOSED);
    assert_int_equal(breaker_validation_judge(&v, &three, true, 1500), BREAKER_OPENED);
    assert_int_equal(v.level, 1); /* recovered meanwhile: the first level again */
    assert_int_equal(v.latch.until_ms, 2500);
}

static void each_broken_probe_takes_longer(void **state)
{
    struct breaker_validation v = {.net = 0};
    int64_t now_ms = 0;

    (void)state;
    judge_all(&v, "bbb", now_ms);
    for (int64_t level = 1; level <= 12; level++) {
        int64_t open_for_ms = (level < BREAKER_LEVEL_MAX ? level : BREAKER_LEVEL_MAX) * 1000;

        assert_int_equal(breaker_state_at(&v.latch, now_ms + open_for_ms - 1, NULL), BREAKER_OPEN);
        now_ms += open_for_ms;
        assert_int_equal(breaker_state_at(&v.latch, now_ms, NULL), BREAKER_HALF_OPEN);
        assert_int_equal(breaker_validation_judge(&v, &three, true, now_ms), BREAKER_REOPENED);
        assert_int_equal(breaker_validation_judge(&v, &three, true, now_ms), BREAKER_SAME); /* one probe */
    }
    now_ms += 10000;
    assert_int_equal(breaker_validation_judge(&v, &three, false, now_ms), BREAKER_RECOVERED);
    assert_int_equal(v.level, 0);
}

/* -- availability -- */

static enum breaker_change sample(struct breaker_availability *a, bool failed, int64_t now_ms)
{
    return breaker_availability_sample(a, &half, failed, now_ms);
}

/* One letter a call: f failed, a answered; a digit moves the clock by so many tenths of a window. */
static const struct {
    const char *why, *calls;
    enum breaker_state want;
} windows[] = {
    {"too few to tell", "fff", BREAKER_CLOSED},
    {"half of enough", "afaf", BREAKER_OPEN},
    {"half of enough, the last one answered", "ffaa", BREAKER_OPEN},
    {"less than half", "aaaff", BREAKER_CLOSED},
    {"old ones have left the window", "ff9ff", BREAKER_OPEN},
    {"old ones have just left it", "ff91ff", BREAKER_CLOSED},
    {"answers of long ago do not help", "aaaaaaaa91ffff", BREAKER_OPEN},
    {"a window slides in tenths", "fff5f", BREAKER_OPEN},
    {"nothing for many windows", "fff999999f", BREAKER_CLOSED},
};

static void failures_in_the_window_open_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
        struct breaker_availability a = {.newest = 0};
        int64_t now_ms = 1000000;

        for (const char *at = windows[i].calls; *at; at++)
            if (*at >= '0' && *at <= '9')
                now_ms += 100 * (*at - '0');
            else
                (void)sample(&a, *at == 'f', now_ms);
        if (breaker_state_at(&a.latch, now_ms, NULL) != windows[i].want)
            fail_msg("%s", windows[i].why);
    }
}

static void open_it(struct breaker_availability *a, int64_t now_ms)
{
    for (int i = 0; i < 4; i++)
        (void)sample(a, true, now_ms);
    assert_int_equal(breaker_state_at(&a->latch, now_ms, NULL), BREAKER_OPEN);
}

static enum breaker_way admit(struct breaker_availability *a, int64_t now_ms, unsigned *epoch)
{
    enum breaker_way looked = breaker_availability_look(a, &half, now_ms);
    enum breaker_way way = breaker_availability_admit(a, &half, now_ms, epoch);

    assert_int_equal(looked, way);
    return way;
}

static void one_probe_at_a_time(void **state)
{
    struct breaker_availability a = {.newest = 0};
    unsigned epoch, other;

    (void)state;
    open_it(&a, 1000);
    assert_int_equal(admit(&a, 1499, &other), BREAKER_SHUT);
    assert_int_equal(breaker_availability_wait_ms(&a, &half, 1400), 100);
    assert_int_equal(admit(&a, 1500, &epoch), BREAKER_PROBE);
    assert_int_equal(breaker_state_at(&a.latch, 1500, NULL), BREAKER_HALF_OPEN);
    assert_int_equal(admit(&a, 1501, &other), BREAKER_SHUT);
    assert_int_equal(breaker_availability_wait_ms(&a, &half, 1501), 1);
    assert_int_equal(breaker_availability_probed(&a, &half, epoch, true, 1600), BREAKER_REOPENED);
    assert_int_equal(admit(&a, 2099, &other), BREAKER_SHUT);
    assert_int_equal(admit(&a, 2100, &epoch), BREAKER_PROBE);
    assert_int_equal(breaker_availability_probed(&a, &half, epoch, false, 2150), BREAKER_RECOVERED);
    assert_int_equal(admit(&a, 2150, &other), BREAKER_FREE);
    assert_int_equal(breaker_availability_window(&a, &half, 2150).calls, 0); /* begins anew */
}

static void a_lost_probe_is_given_back(void **state)
{
    struct breaker_availability a = {.newest = 0};
    unsigned epoch, other;

    (void)state;
    open_it(&a, 1000);
    assert_int_equal(admit(&a, 1500, &epoch), BREAKER_PROBE);
    breaker_availability_give_back(&a, epoch);
    assert_int_equal(breaker_state_at(&a.latch, 1501, NULL), BREAKER_HALF_OPEN);
    assert_int_equal(admit(&a, 1501, &other), BREAKER_PROBE);
}

static void a_probe_that_takes_for_ever_gets_company(void **state)
{
    struct breaker_availability a = {.newest = 0};
    unsigned slow, next;

    (void)state;
    open_it(&a, 1000);
    assert_int_equal(admit(&a, 1500, &slow), BREAKER_PROBE);
    assert_int_equal(admit(&a, 61499, &next), BREAKER_SHUT);
    assert_int_equal(admit(&a, 61500, &next), BREAKER_PROBE);
    assert_int_equal(breaker_availability_probed(&a, &half, slow, false, 61600), BREAKER_RECOVERED);
    assert_int_equal(breaker_availability_probed(&a, &half, next, true, 61700), BREAKER_SAME); /* of old */
    assert_int_equal(breaker_state_at(&a.latch, 61700, NULL), BREAKER_CLOSED);
}

static void calls_that_pass_while_it_is_open_tell_nothing(void **state)
{
    struct breaker_availability a = {.newest = 0};

    (void)state;
    open_it(&a, 1000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(sample(&a, i % 2, 1000 + i * 10), BREAKER_SAME);
    assert_int_equal(breaker_state_at(&a.latch, 1400, NULL), BREAKER_OPEN);
    assert_int_equal(breaker_availability_window(&a, &half, 1400).calls, 0);
}

static void clocks_of_threads_may_lag(void **state)
{
    struct breaker_availability a = {.newest = 0};

    (void)state;
    (void)sample(&a, true, 5000);
    (void)sample(&a, true, 4890); /* of the slice before */
    (void)sample(&a, true, 5001);
    assert_int_equal(breaker_availability_window(&a, &half, 5001).calls, 3);
    assert_int_equal(breaker_availability_window(&a, &half, 4800).calls, 3);
}

static void a_longer_window_counts_from_anew(void **state)
{
    struct breaker_availability_conf longer = half;
    struct breaker_availability a = {.newest = 0};

    (void)state;
    longer.window_ms = 100000;
    (void)sample(&a, true, 5000000);
    (void)breaker_availability_sample(&a, &longer, true, 5000010);
    assert_int_equal(breaker_availability_window(&a, &longer, 5000010).calls, 1);
    assert_int_equal(breaker_availability_window(&a, &longer, 5000010 + 100000).calls, 0);
}

static void idle_is_closed_and_silent(void **state)
{
    struct breaker_availability a = {.newest = 0};

    (void)state;
    assert_true(breaker_availability_is_idle(&a, &half, 1000));
    (void)sample(&a, false, 1000);
    assert_false(breaker_availability_is_idle(&a, &half, 1899));
    assert_true(breaker_availability_is_idle(&a, &half, 2000));
    open_it(&a, 3000);
    assert_false(breaker_availability_is_idle(&a, &half, 1000000));
}

/* -- by hand -- */

static void an_operator_has_the_last_word(void **state)
{
    struct breaker_availability a = {.newest = 0};
    struct breaker_validation v = {.net = 0};
    unsigned epoch, other;

    (void)state;
    breaker_validation_command(&v, BREAKER_FORCE_OPEN, 100);
    assert_int_equal(breaker_state_at(&v.latch, INT64_MAX, NULL), BREAKER_OPEN); /* does not run out */
    judge_all(&v, "gggg", 1000000);
    assert_int_equal(breaker_state_at(&v.latch, 1000000, NULL), BREAKER_OPEN);
    breaker_validation_command(&v, BREAKER_FORCE_CLOSE, 1000000);
    assert_int_equal(breaker_state_at(&v.latch, 1000000, NULL), BREAKER_CLOSED);

    open_it(&a, 1000);
    assert_int_equal(admit(&a, 1500, &epoch), BREAKER_PROBE);
    breaker_availability_command(&a, BREAKER_FORCE_OPEN, 1600);
    assert_int_equal(breaker_availability_probed(&a, &half, epoch, false, 1700), BREAKER_SAME);
    assert_int_equal(admit(&a, 100000, &other), BREAKER_SHUT);
    assert_int_equal(breaker_availability_wait_ms(&a, &half, 100000), 1);
    breaker_availability_command(&a, BREAKER_RESET, 100000);
    assert_int_equal(admit(&a, 100000, &other), BREAKER_FREE);
}

static void closing_keeps_the_level_and_resetting_does_not(void **state)
{
    struct breaker_validation v = {.net = 0};

    (void)state;
    judge_all(&v, "bbb", 0);
    breaker_validation_command(&v, BREAKER_FORCE_CLOSE, 1);
    judge_all(&v, "bbb", 2);
    assert_int_equal(v.level, 2);
    breaker_validation_command(&v, BREAKER_RESET, 3);
    judge_all(&v, "bbb", 4);
    assert_int_equal(v.level, 1);
}

static void looking_changes_nothing(void **state)
{
    struct breaker_availability a = {.newest = 0}, before;

    (void)state;
    open_it(&a, 1000);
    before = a;
    for (int64_t now_ms = 0; now_ms < 100000; now_ms += 77) {
        (void)breaker_state_at(&a.latch, now_ms, NULL);
        (void)breaker_availability_look(&a, &half, now_ms);
        (void)breaker_availability_window(&a, &half, now_ms);
        (void)breaker_availability_wait_ms(&a, &half, now_ms);
        (void)breaker_availability_is_idle(&a, &half, now_ms);
    }
    assert_memory_equal(&a, &before, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(net_failures_open_it),
        cmocka_unit_test(one_good_answer_closes_it),
        cmocka_unit_test(each_broken_probe_takes_longer),
        cmocka_unit_test(failures_in_the_window_open_it),
        cmocka_unit_test(one_probe_at_a_time),
        cmocka_unit_test(a_lost_probe_is_given_back),
        cmocka_unit_test(a_probe_that_takes_for_ever_gets_company),
        cmocka_unit_test(calls_that_pass_while_it_is_open_tell_nothing),
        cmocka_unit_test(clocks_of_threads_may_lag),
        cmocka_unit_test(a_longer_window_counts_from_anew),
        cmocka_unit_test(idle_is_closed_and_silent),
        cmocka_unit_test(an_operator_has_the_last_word),
        cmocka_unit_test(closing_keeps_the_level_and_resetting_does_not),
        cmocka_unit_test(looking_changes_nothing),
    };

    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
