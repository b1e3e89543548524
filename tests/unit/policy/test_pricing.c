/* pricing: which row is a model's, and what its tokens cost to the last digit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/policy/pricing.h"

static void which_row(void **state)
{
    static const struct price rows[] = {
        {SLICE("gpt-4o-mini*"), 1, 0}, {SLICE("gpt-4o*"), 2, 0},    {SLICE("gpt-4o-2024-05-13"), 3, 0},
        {SLICE("*/claude-*"), 4, 0},   {SLICE("exactly.so"), 5, 0},
    };
    static const struct {
        const char *why, *model;
        uint64_t want; /* of the row's in_pico; 0: none */
    } cases[] = {
        {"the narrow row stands first", "gpt-4o-mini", 1},
        {"a dated name of it", "gpt-4o-mini-2024-07-18", 1},
        {"the wide row", "gpt-4o", 2},
        {"a row behind a wider one is never reached", "gpt-4o-2024-05-13", 2},
        {"with a provider before it", "anthropic/claude-sonnet-4-5", 4},
        {"a dot is a dot", "exactly.so", 5},
        {"and nothing else", "exactlyXso", 0},
        {"case counts", "GPT-4o", 0},
        {"no such model", "mistral-large", 0},
        {"no model at all", "", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct pricing p = {rows, ARRAY_LEN(rows)};
        const struct price *found = pricing_find(&p, slice_str(cases[i].model));

        if ((found ? found->in_pico : 0) != cases[i].want)
            fail_msg("%s", cases[i].why);
    }
    assert_null(pricing_find(&(struct pricing){NULL, 0}, SLICE_OF("gpt-4o")));
}

static void to_the_last_digit(void **state)
{
    static const struct {
        const char *why;
        uint64_t in_pico, out_pico, in, out, want;
    } cases[] = {
        {"nothing", 2500000, 10000000, 0, 0, 0},
        {"one million of input at 2.50 dollars", 2500000, 10000000, 1000000, 0, 2500000000},
        {"both", 2500000, 10000000, 1000, 500, 7500000},
        {"one token at 0.15 dollars a million", 150000, 600000, 1, 0, 150},
        {"a thousandth of a cent a million: under half a nano-dollar", 10, 0, 49, 0, 0},
        {"half of one goes up", 10, 0, 50, 0, 1},
        {"halves of both together", 1, 1, 250, 250, 1},
        {"each alone would be nothing", 1, 1, 499, 1, 1},
        {"together not yet half", 1, 1, 499, 0, 0},
        {"the smallest price of all", 1, 0, 1000000, 0, 1000},
        {"the largest tokens and price that configuration and entries hold", 1000000000000, 1000000000000,
         UINT32_MAX, UINT32_MAX, UINT64_C(8589934590000000000)},
        {"exactly as much as fits", 1000, 0, UINT64_MAX, 0, UINT64_MAX},
        {"a little more", 1000, 1000, UINT64_MAX, 1, UINT64_MAX},
        {"far more", UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct price p = {SLICE("*"), cases[i].in_pico, cases[i].out_pico};
        const struct price_tokens tokens = {.in = cases[i].in, .out = cases[i].out};
        uint64_t got = price_nano_dollars(&p, &tokens);

        if (got != cases[i].want)
            fail_msg("%s: %llu", cases[i].why, (unsigned long long)got);
    }
}

static void what_upstream_had_cached_has_a_price_of_its_own(void **state)
{
    static const struct price p = {SLICE("*"), 1000, 7000, 100, 1250};
    static const struct {
        const char *why;
        struct price_tokens tokens;
        uint64_t want;
    } cases[] = {
        {"nothing of it cached", {.in = 10, .out = 1}, 17},
        {"some", {.in = 10, .out = 1, .cached = 5}, 13}, /* 5 + 0.5 + 7: half of one goes up */
        {"all", {.in = 10, .cached = 10}, 1},
        {"some written", {.in = 10, .written = 4}, 11},
        {"some from there, some into it, some neither", {.in = 30, .out = 1, .cached = 10, .written = 4}, 29},
        {"more cached than there is", {.in = 10, .cached = 11}, 1},
        {"more written than there is", {.in = 10, .written = 11}, 13},
        {"more of both", {.in = 10, .cached = 6, .written = 6}, 6},
        {"cached, and of no input", {.cached = 10, .written = 10}, 0},
        {"far more", {UINT64_MAX, UINT64_MAX, UINT64_MAX / 3, UINT64_MAX / 3}, UINT64_MAX},
    };
    static const struct price free_of_charge = {SLICE("*"), 1000, 0, 0, 0};
    static const struct price_tokens half = {.in = 10, .cached = 5};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t got = price_nano_dollars(&p, &cases[i].tokens);

        if (got != cases[i].want)
            fail_msg("%s: %llu", cases[i].why, (unsigned long long)got);
    }
    assert_int_equal(price_nano_dollars(&free_of_charge, &half), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_row),
        cmocka_unit_test(to_the_last_digit),
        cmocka_unit_test(what_upstream_had_cached_has_a_price_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
