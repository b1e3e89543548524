#include "refrain/policy/pricing.h"

#include "refrain/base/glob.h"

enum { PICO_A_NANO = 1000 };

const struct price *pricing_find(const struct pricing *p, struct slice model)
{
    for (size_t i = 0; i < p->n; i++)
        if (glob_matches(p->at[i].models, model))
            return &p->at[i];
    return NULL;
}

/* Two products of 64 bits each add up to 129, so each is rounded down first, and what is left of both
 * together afterwards. */
static uint64_t nano_of_much(const struct price *price, uint64_t tokens_in, uint64_t tokens_out)
{
    __extension__ typedef unsigned __int128 wide;
    wide in = (wide)price->in_pico * tokens_in, out = (wide)price->out_pico * tokens_out;
    wide left = in % PICO_A_NANO + out % PICO_A_NANO;
    wide nano = in / PICO_A_NANO + out / PICO_A_NANO + (left + PICO_A_NANO / 2) / PICO_A_NANO;

    return nano > UINT64_MAX ? UINT64_MAX : (uint64_t)nano;
}

uint64_t price_nano_dollars(const struct price *price, uint64_t tokens_in, uint64_t tokens_out)
{
    uint64_t in, out, sum;

    if (__builtin_mul_overflow(price->in_pico, tokens_in, &in) ||
        __builtin_mul_overflow(price->out_pico, tokens_out, &out) || __builtin_add_overflow(in, out, &sum) ||
        __builtin_add_overflow(sum, PICO_A_NANO / 2, &sum))
        return nano_of_much(price, tokens_in, tokens_out);
    return sum / PICO_A_NANO; /* nearly always */
}
