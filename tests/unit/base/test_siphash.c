/* siphash: vectors of an implementation that gives the published ones of SipHash-2-4, whole and in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/base/siphash.h"

/* The paper's key, and as input the first n of the bytes 0, 1, 2 … */
static const struct siphash_key key = {{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};

static void the_vectors(void **state)
{
    static const struct {
        size_t len;
        uint64_t want;
    } cases[] = {
        {0, UINT64_C(0xabac0158050fc4dc)},  {1, UINT64_C(0xc9f49bf37d57ca93)},
        {7, UINT64_C(0xd3927d989bb11140)},  {8, UINT64_C(0x369095118d299a8e)},
        {15, UINT64_C(0xd320d86d2a519956)}, {63, UINT64_C(0x9d199062b7bbb3a8)},
    };
    char in[64];
    struct siphash s;

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (char)i;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        siphash_begin(&s, &key);
        siphash_add(&s, slice_make(in, cases[i].len));
        assert_int_equal(siphash_end(&s), cases[i].want);
    }
}

static void pieces_do_not_count(void **state)
{
    char in[40];

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (char)(i * 7);
    for (size_t a = 0; a <= sizeof(in); a++)
        for (size_t b = a; b <= sizeof(in); b++) {
            struct siphash whole, pieces;

            siphash_begin(&whole, &key);
            siphash_add(&whole, slice_make(in, sizeof(in)));
            siphash_begin(&pieces, &key);
            siphash_add(&pieces, slice_make(in, a));
            siphash_add(&pieces, (struct slice){NULL, 0});
            siphash_add(&pieces, slice_make(in + a, b - a));
            siphash_add(&pieces, slice_make(in + b, sizeof(in) - b));
            assert_int_equal(siphash_end(&pieces), siphash_end(&whole));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors),
        cmocka_unit_test(pieces_do_not_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
