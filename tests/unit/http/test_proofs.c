/* proofs: a refused credential has no hits until it succeeds, and a proof grows old. SPEC section 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "refrain/base/attr.h"
#include "refrain/http/proofs.h"

enum { ALICE = 7, BOB = 8 };

static int set_up(void **state)
{
    *state = proofs_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    proofs_free(*state);
    return 0;
}

static void who_is_refused_has_no_hits_until_a_success(void **state)
{
    struct proofs *p = *state;

    assert_true(proofs_hold(p, ALICE, 0, 100));
    assert_true(proofs_refused(p, ALICE, 100));
    assert_false(proofs_refused(p, ALICE, 110)); /* no news */
    assert_int_equal(proofs_refused_n(p), 1);
    assert_false(proofs_hold(p, ALICE, 0, 120));
    assert_true(proofs_hold(p, BOB, 0, 120));
    assert_true(proofs_accepted(p, ALICE, 120, false));
    assert_true(proofs_hold(p, ALICE, 0, 130));
    assert_int_equal(proofs_refused_n(p), 0);
    assert_false(proofs_accepted(p, ALICE, 140, false)); /* nothing was taken away any more */
}

static void a_success_from_before_the_refusal_lifts_nothing(void **state)
{
    struct proofs *p = *state;

    (void)proofs_refused(p, ALICE, 100);
    assert_false(proofs_accepted(p, ALICE, 99, false));
    assert_false(proofs_accepted(p, ALICE, 99, true));
    assert_false(proofs_hold(p, ALICE, 0, 200));
    assert_false(proofs_hold(p, ALICE, 1000, 200));
    assert_true(proofs_accepted(p, ALICE, 100, false));
}

static void a_proof_grows_old(void **state)
{
    struct proofs *p = *state;

    assert_false(proofs_hold(p, ALICE, 50, 100)); /* never proven */
    assert_false(proofs_accepted(p, ALICE, 100, true));
    assert_true(proofs_hold(p, ALICE, 50, 150));
    assert_false(proofs_hold(p, ALICE, 50, 151));
    (void)proofs_accepted(p, ALICE, 151, true);
    (void)proofs_accepted(p, ALICE, 120, true); /* begun earlier, ended later: proves nothing younger */
    assert_true(proofs_hold(p, ALICE, 50, 201));
    assert_false(proofs_hold(p, ALICE, 50, 202));
    assert_true(proofs_hold(p, ALICE, 0, 10000)); /* no bound */
}

static void what_is_not_to_be_remembered_takes_no_room(void **state)
{
    struct proofs *p = *state;

    (void)proofs_refused(p, BOB, 1);
    (void)proofs_accepted(p, ALICE, 100, false);
    assert_false(proofs_hold(p, ALICE, 1000, 100));
}

/* The table is bounded; successes make room first, and what is counted stays true. */
static void the_table_is_bounded_and_keeps_refusals_longest(void **state)
{
    struct proofs *p = *state;
    uint64_t held = 0;

    (void)proofs_refused(p, ALICE, 1);
    for (uint64_t i = 1; i < 100000; i++)
        (void)proofs_accepted(p, ALICE + i, (int64_t)i, true);
    assert_false(proofs_hold(p, ALICE, 0, 100000));
    assert_int_equal(proofs_refused_n(p), 1);
    for (uint64_t i = 1; i < 100000; i++)
        (void)proofs_refused(p, ALICE + i, (int64_t)i);
    for (uint64_t i = 0; i < 100000; i++)
        held += proofs_hold(p, ALICE + i, 0, 100000) ? 0 : 1;
    assert_int_equal(held, 16384);
    assert_int_equal(proofs_refused_n(p), 16384);
    assert_false(proofs_hold(p, ALICE + 99999, 0, 100000)); /* the youngest stay */
}

static void *hammer(void *arg)
{
    struct proofs *p = arg;

    for (int64_t i = 1; i < 20000; i++) {
        uint64_t caller = (uint64_t)(i % 300);

        (void)proofs_refused(p, caller, i);
        (void)proofs_hold(p, caller, i % 2 ? 0 : 100, i);
        (void)proofs_accepted(p, caller, i + 1, i % 3 == 0);
    }
    return NULL;
}

static void many_threads_agree_on_how_many_are_refused(void **state)
{
    struct proofs *p = *state;
    pthread_t threads[4];
    uint64_t refused = 0;

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, p), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (uint64_t caller = 0; caller < 300; caller++)
        refused += proofs_hold(p, caller, 0, 0) ? 0 : 1;
    assert_int_equal(proofs_refused_n(p), refused);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_is_refused_has_no_hits_until_a_success),
        TEST(a_success_from_before_the_refusal_lifts_nothing),
        TEST(a_proof_grows_old),
        TEST(what_is_not_to_be_remembered_takes_no_room),
        TEST(the_table_is_bounded_and_keeps_refusals_longest),
        TEST(many_threads_agree_on_how_many_are_refused),
    };

    return cmocka_run_group_tests_name("proofs", tests, NULL, NULL);
}
