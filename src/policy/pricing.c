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

/* One kind of tokens, at the price of one. */
struct item {
    uint64_t pico, tokens;
};
enum { ITEMS = 4 };

/* Products of 64 bits each add up to more than 128, so each is rounded down first, and what is left of all
 * together afterwards. */
static uint64_t nano_of_much(const struct item *items)
{
    __extension__ typedef unsigned __int128 wide;
    wide nano = 0, left = PICO_A_NANO / 2;

    for (size_t i = 0; i < ITEMS; i++) {
        wide pico = (wide)items[i].pico * items[i].tokens;

        nano += pico / PICO_A_NANO;
        left += pico % PICO_A_NANO;
    }
    nano += left / PICO_A_NANO;
    return nano > UINT64_MAX ? UINT64_MAX : (uint64_t)nano;
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
    return n < most ? n : most;
}

uint64_t price_nano_dollars(const struct price *price, const struct price_tokens *tokens)
{
    uint64_t cached = at_most(tokens->cached, tokens->in);
    uint64_t written = at_most(tokens->written, tokens->in - cached);
    const struct item items[ITEMS] = {
        {price->in_pico, tokens->in - cached - written},
        {price->cached_pico, cached},
        {price->write_pico, written},
        {price->out_pico, tokens->out},
    };
    uint64_t sum = PICO_A_NANO / 2, pico;

    for (size_t i = 0; i < ITEMS; i++)
        if (__builtin_mul_overflow(items[i].pico, items[i].tokens, &pico) ||
            __builtin_add_overflow(sum, pico, &sum))
            return nano_of_much(items);
    return sum / PICO_A_NANO; /* nearly always */
}
