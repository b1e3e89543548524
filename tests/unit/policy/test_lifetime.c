/* lifetime: who goes before whom, and what jitter and sliding make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/policy/lifetime.h"

enum { UNSAID = LIFETIME_UNSAID, NONE = LIFETIME_NONE };

static const struct lifetime_conf plain = {.max_s = 1000, .max_lifetime_s = 5000};

static int64_t seconds(const struct lifetime *l)
{
    return l->fresh_ms == INT64_MAX ? NONE : l->fresh_ms / 1000;
}

static void who_goes_before_whom(void **state)
{
    static const struct {
        const char *why;
        struct lifetime_says says;
        int64_t want_s;
    } cases[] = {
        {"the operation's", {.terms_s = UNSAID, .finish_s = UNSAID, .otherwise_s = 60}, 60},
        {"for ever", {.terms_s = UNSAID, .finish_s = UNSAID, .otherwise_s = NONE}, NONE},
        {"configured past the longest", {.terms_s = UNSAID, .finish_s = UNSAID, .otherwise_s = 2000}, 2000},
        {"the terms first", {.terms_s = 5, .finish_s = UNSAID, .otherwise_s = 60}, 5},
        {"the terms first, longer", {.terms_s = 500, .finish_s = UNSAID, .otherwise_s = 60}, 500},
        {"terms for ever", {.terms_s = NONE, .finish_s = UNSAID, .otherwise_s = 60}, NONE},
        {"its end", {.terms_s = UNSAID, .finish_s = 10, .otherwise_s = 60}, 10},
        {"its end, longer than all others", {.terms_s = UNSAID, .finish_s = 100, .otherwise_s = 60}, 100},
        {"shorter terms than its end", {.terms_s = 5, .finish_s = 10, .otherwise_s = 60}, 5},
        {"longer terms than its end", {.terms_s = 50, .finish_s = 10, .otherwise_s = 60}, 10},
        {"endless terms, but an end", {.terms_s = NONE, .finish_s = 10, .otherwise_s = 60}, 10},
        {"a read", {.terms_s = UNSAID, .finish_s = UNSAID, .otherwise_s = 60, .read = true}, 60},
        {"a read past the longest",
         {.terms_s = UNSAID, .finish_s = UNSAID, .otherwise_s = 2000, .read = true},
         1000},
        {"a read that is asked for shorter",
         {.terms_s = 5, .finish_s = UNSAID, .otherwise_s = 2000, .read = true},
         5},
        {"a read by a route, longer",
         {.terms_s = 90, .finish_s = UNSAID, .otherwise_s = 60, .read = true},
         90},
        {"upstream's word, shorter",
         {.terms_s = 5, .finish_s = UNSAID, .otherwise_s = 60, .read = true, .promised = true},
         5},
        {"upstream's word, longer",
         {.terms_s = 90, .finish_s = UNSAID, .otherwise_s = 60, .read = true, .promised = true},
         60},
        {"upstream's word, for ever",
         {.terms_s = NONE, .finish_s = UNSAID, .otherwise_s = 60, .read = true, .promised = true},
         60},
        {"never fresh, says upstream",
         {.terms_s = 90, .finish_s = UNSAID, .otherwise_s = 0, .read = true, .promised = true},
         0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct lifetime l;

        lifetime_choose(&plain, &cases[i].says, &l);
        if (seconds(&l) != cases[i].want_s || l.sliding_ms != 0)
            fail_msg("%s: %lld", cases[i].why, (long long)seconds(&l));
    }
}

static void jitter_spreads_both_ways_and_no_further(void **state)
{
    struct lifetime_conf conf = {.max_s = 1000, .jitter_percent = 5};
    struct lifetime_says says = {.terms_s = UNSAID, .finish_s = UNSAID, .otherwise_s = 100};
    int64_t least = INT64_MAX, most = 0;
    struct lifetime l;

    (void)state;
    for (says.dice = 0; says.dice < 20000; says.dice++) {
        lifetime_choose(&conf, &says, &l);
        least = l.fresh_ms < least ? l.fresh_ms : least;
        most = l.fresh_ms > most ? l.fresh_ms : most;
    }
    assert_int_equal(least, 95000);
    assert_int_equal(most, 105000);

    says.dice = UINT64_MAX;
    says.otherwise_s = 1000; /* the longest there is */
    for (unsigned i = 0; i < 1000; i++, says.dice -= 97) {
        lifetime_choose(&conf, &says, &l);
        assert_true(l.fresh_ms <= 1000000);
    }
    says.otherwise_s = 1; /* and the shortest */
    lifetime_choose(&conf, &says, &l);
    assert_true(l.fresh_ms >= 1000);
    says.otherwise_s = NONE;
    lifetime_choose(&conf, &says, &l);
    assert_true(l.fresh_ms == INT64_MAX);
    says.read = true; /* upstream's promise is kept to the second */
    says.otherwise_s = 100;
    lifetime_choose(&conf, &says, &l);
    assert_int_equal(l.fresh_ms, 100000);
}

static void sliding_has_an_end(void **state)
{
    struct lifetime_conf conf = {.max_s = 1000, .sliding = true, .max_lifetime_s = 300};
    struct lifetime_says says = {.terms_s = UNSAID, .finish_s = UNSAID, .otherwise_s = 100};
    struct lifetime l;

    (void)state;
    lifetime_choose(&conf, &says, &l);
    assert_int_equal(l.fresh_ms, 100000);
    assert_int_equal(l.sliding_ms, 100000);
    assert_int_equal(l.max_ms, 300000);

    says.otherwise_s = 900; /* longer than it may live at all */
    lifetime_choose(&conf, &says, &l);
    assert_int_equal(l.fresh_ms, 300000);

    says.finish_s = 50; /* a poor answer is not kept alive by being used */
    lifetime_choose(&conf, &says, &l);
    assert_int_equal(l.fresh_ms, 50000);
    assert_int_equal(l.sliding_ms, 0);

    says.finish_s = UNSAID;
    says.otherwise_s = NONE;
    lifetime_choose(&conf, &says, &l);
    assert_true(l.fresh_ms == INT64_MAX && l.sliding_ms == 0);

    says.otherwise_s = 100;
    says.read = true;
    lifetime_choose(&conf, &says, &l);
    assert_int_equal(l.sliding_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_goes_before_whom),
        cmocka_unit_test(jitter_spreads_both_ways_and_no_further),
        cmocka_unit_test(sliding_has_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
