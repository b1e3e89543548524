/* lease: leaders and followers on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/policy/lease.h"

static const struct lease_conf conf = {.lease_ms = 3000, .bytes_max = 1000};

/* -- the leader -- */

/* A word that came of what was asked @asked_ms, heard at @at_ms; how it stands afterwards. */
static const struct {
    const char *why;
    enum lease_word word;
    int64_t asked_ms, at_ms, look_ms;
    enum lease_standing want;
} words[] = {
    {"as it began", LEASE_NO_WORD, 10, 10, 3099, LEASE_HELD},
    {"no word for as long as a lease", LEASE_NO_WORD, 3000, 3050, 3100, LEASE_DOUBTFUL},
    {"a lease counts from when it was asked for", LEASE_CONFIRMED, 1000, 3000, 3999, LEASE_HELD},
    {"and no longer, whenever its word came", LEASE_CONFIRMED, 1000, 3000, 4000, LEASE_DOUBTFUL},
    {"a late word does not take back a later one", LEASE_CONFIRMED, 50, 60, 3099, LEASE_HELD},
    {"doubt ends with a word", LEASE_CONFIRMED, 9000, 9010, 9020, LEASE_HELD},
    {"another has it", LEASE_DENIED, 200, 210, 210, LEASE_LOST},
};

static void a_leader_knows_how_it_stands(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct lease_lead l;

        lease_lead_begin(&l, &conf, 100);
        lease_lead_heard(&l, words[i].word, 2, words[i].asked_ms, words[i].at_ms);
        if (lease_lead_standing(&l, words[i].look_ms) != words[i].want)
            fail_msg("%s: %d", words[i].why, lease_lead_standing(&l, words[i].look_ms));
    }
}

static void what_is_lost_stays_lost(void **state)
{
    struct lease_lead l;

    (void)state;
    lease_lead_begin(&l, &conf, 0);
    lease_lead_heard(&l, LEASE_DENIED, 0, 10, 20);
    lease_lead_heard(&l, LEASE_CONFIRMED, 1, 30, 40);
    assert_int_equal(lease_lead_standing(&l, 50), LEASE_LOST);
}

static void it_renews_thrice_a_lease_and_sooner_without_a_word(void **state)
{
    struct lease_lead l;

    (void)state;
    lease_lead_begin(&l, &conf, 0);
    assert_int_equal(lease_lead_renew_in_ms(&l, 0), 1000);
    assert_int_equal(lease_lead_renew_in_ms(&l, 990), 10);
    assert_int_equal(lease_lead_renew_in_ms(&l, 5000), 1);
    lease_lead_heard(&l, LEASE_CONFIRMED, 3, 900, 901);
    assert_int_equal(lease_lead_renew_in_ms(&l, 901), 999);
    assert_int_equal(l.followers, 3);
    lease_lead_heard(&l, LEASE_NO_WORD, 0, 1900, 2000);
    assert_int_equal(lease_lead_renew_in_ms(&l, 2000), 333);
    assert_int_equal(l.followers, 3); /* no word says nothing of them */
}

static void messages_are_numbered_from_one(void **state)
{
    struct lease_lead l;

    (void)state;
    lease_lead_begin(&l, &conf, 0);
    assert_int_equal(lease_lead_say(&l, 10), 1);
    assert_int_equal(lease_lead_say(&l, 0), 2);
    assert_int_equal(lease_lead_say(&l, 990), 3);
    assert_false(l.closed);
    assert_int_equal(lease_lead_say(&l, 1), 4);
    assert_true(l.closed);
}

static void redis_keeps_no_more_than_twice_the_bound(void **state)
{
    enum { EACH = 100, MESSAGES = 200 };
    struct lease_lead l;
    uint64_t first = 1;

    (void)state;
    lease_lead_begin(&l, &conf, 0);
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        uint64_t seq = lease_lead_say(&l, EACH), keeps = lease_lead_keeps(&l);

        if (keeps > 0)
            first = seq - keeps + 1;
        if (seq <= 10)
            assert_int_equal(first, 1); /* newcomers are taken: all is there */
        assert_true((seq - first + 1) * EACH <= 2 * conf.bytes_max + 2 * EACH);
        assert_true(seq < 11 || (seq - first + 1) * EACH >= conf.bytes_max);
    }
    assert_true(first > MESSAGES - 25);
}

/* -- a follower -- */

static struct lease_follow follower(bool begun)
{
    struct lease_follow f = {.fence = 0};

    lease_follow_begin(&f, &conf, 70, 100);
    if (begun)
        lease_follow_deliver(&f);
    return f;
}

static void messages_are_taken_in_turn_only(void **state)
{
    struct lease_follow f = follower(false);

    (void)state;
    assert_false(lease_follow_take(&f, 70, 0));
    assert_false(lease_follow_take(&f, 70, 2));
    assert_false(lease_follow_take(&f, 69, 1));
    assert_true(lease_follow_take(&f, 70, 1));
    assert_false(lease_follow_take(&f, 70, 1));
    assert_true(lease_follow_take(&f, 70, 2));
    lease_follow_begin(&f, &conf, 71, 200); /* another one leads: from the beginning */
    assert_false(lease_follow_take(&f, 70, 3));
    assert_true(lease_follow_take(&f, 71, 1));
}

static const struct {
    const char *why;
    bool begun, held;
    size_t messages;
    enum lease_step want;
} looks[] = {
    {"it comes along", true, true, 3, LEASE_ON},
    {"the leader thinks", false, true, 0, LEASE_ON},
    {"the leader thinks in the middle", true, true, 0, LEASE_ON},
    {"its last words may be among them", false, false, 1, LEASE_ON},
    {"gone before a byte", false, false, 0, LEASE_ELECT},
    {"gone in the middle", true, false, 0, LEASE_CUT},
};

static void a_leader_that_is_gone_is_followed_no_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
        struct lease_follow f = follower(looks[i].begun);
        enum lease_step got = lease_follow_looked(&f, looks[i].held, looks[i].messages, true, 200);

        if (got != looks[i].want)
            fail_msg("%s: %d", looks[i].why, got);
    }
}

static void elections_come_to_an_end(void **state)
{
    struct lease_follow f = {.fence = 0};
    unsigned n = 0;

    (void)state;
    do {
        assert_true(n++ < LEASE_ELECTIONS_MAX);
        lease_follow_begin(&f, &conf, n, 0);
    } while (lease_follow_looked(&f, false, 0, false, 1) == LEASE_ELECT);
    assert_int_equal(n, LEASE_ELECTIONS_MAX);
    assert_int_equal(lease_follow_looked(&f, false, 0, false, 2), LEASE_ALONE);
}

static const struct {
    const char *why;
    bool begun, gone;
    int64_t at_ms;
    enum lease_step want;
} failures[] = {
    {"a late reply", false, false, 150, LEASE_ON},
    {"no reply for a lease", false, false, 3100, LEASE_ALONE},
    {"no connection, and nothing to lose", false, true, 150, LEASE_ALONE},
    {"no connection in the middle: it may come back", true, true, 150, LEASE_ON},
    {"it does not come back", true, true, 3100, LEASE_CUT},
    {"late in the middle, for a lease", true, false, 3100, LEASE_CUT},
};

static void silence_is_borne_for_one_lease_at_most(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        struct lease_follow f = follower(failures[i].begun);
        enum lease_step got = lease_follow_failed(&f, failures[i].gone, failures[i].at_ms);

        if (got != failures[i].want)
            fail_msg("%s: %d", failures[i].why, got);
    }
}

static void a_look_that_worked_begins_the_wait_anew(void **state)
{
    struct lease_follow f = follower(true);

    (void)state;
    assert_int_equal(lease_follow_failed(&f, false, 3000), LEASE_ON);
    assert_int_equal(lease_follow_looked(&f, true, 0, false, 3050), LEASE_ON);
    assert_int_equal(lease_follow_failed(&f, false, 6049), LEASE_ON);
    assert_int_equal(lease_follow_failed(&f, false, 6050), LEASE_CUT);
}

static void what_cannot_be_is_never_an_answer(void **state)
{
    struct lease_follow waits = follower(false), reads = follower(true);

    (void)state;
    assert_int_equal(lease_follow_broken(&waits), LEASE_ALONE);
    assert_int_equal(lease_follow_broken(&reads), LEASE_CUT);
}

static void it_looks_ever_more_rarely_and_often_again_where_no_wake_up_came(void **state)
{
    struct lease_follow f = follower(false);
    int64_t before_ms = 0;

    (void)state;
    for (int i = 0; i < 12; i++) {
        assert_true(lease_follow_pause_ms(&f) >= before_ms);
        before_ms = lease_follow_pause_ms(&f);
        (void)lease_follow_looked(&f, true, 0, false, 100 + i);
    }
    assert_int_equal(before_ms, 500);
    (void)lease_follow_looked(&f, true, 2, true, 200);
    assert_int_equal(lease_follow_pause_ms(&f), 500); /* wake-ups come */
    (void)lease_follow_looked(&f, true, 1, false, 300);
    assert_int_equal(lease_follow_pause_ms(&f), 2); /* one was lost */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_knows_how_it_stands),
        cmocka_unit_test(what_is_lost_stays_lost),
        cmocka_unit_test(it_renews_thrice_a_lease_and_sooner_without_a_word),
        cmocka_unit_test(messages_are_numbered_from_one),
        cmocka_unit_test(redis_keeps_no_more_than_twice_the_bound),
        cmocka_unit_test(messages_are_taken_in_turn_only),
        cmocka_unit_test(a_leader_that_is_gone_is_followed_no_more),
        cmocka_unit_test(elections_come_to_an_end),
        cmocka_unit_test(silence_is_borne_for_one_lease_at_most),
        cmocka_unit_test(a_look_that_worked_begins_the_wait_anew),
        cmocka_unit_test(what_cannot_be_is_never_an_answer),
        cmocka_unit_test(it_looks_ever_more_rarely_and_often_again_where_no_wake_up_came),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
