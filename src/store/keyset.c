#include "keyset.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 64 };

/* Keys are sums already. 0 stands for an empty slot. */
static uint64_t sum_of(const struct digest *key)
{
    uint64_t sum;

    memcpy(&sum, key->bytes, sizeof(sum));
    return sum ? sum : 1;
}

static uint64_t *find(uint64_t *slots, size_t slots_n, uint64_t sum)
{
    size_t i = (size_t)(sum >> 8) & (slots_n - 1);

    while (slots[i] && slots[i] != sum)
        i = (i + 1) & (slots_n - 1);
    return &slots[i];
}

/* At most half of the slots are used. false: out of memory. */
static bool grow(struct keyset *k)
{
    size_t slots_n = k->slots_n ? k->slots_n * 2 : SLOTS_MIN;
    uint64_t *slots = calloc(slots_n, sizeof(*slots));

    if (!slots)
        return false;
    for (size_t i = 0; i < k->slots_n; i++)
        if (k->slots[i])
            *find(slots, slots_n, k->slots[i]) = k->slots[i];
    free(k->slots);
    k->slots = slots;
    k->slots_n = slots_n;
    return true;
}

bool keyset_add(struct keyset *k, const struct digest *key)
{
    return keyset_add_sum(k, sum_of(key));
}

bool keyset_add_sum(struct keyset *k, uint64_t sum)
{
    uint64_t *slot;

    sum = sum ? sum : 1;
    slot = k->slots_n ? find(k->slots, k->slots_n, sum) : NULL;
    if (slot && *slot)
        return false;
    if (k->n == KEYSET_MAX || (k->n * 2 >= k->slots_n && !grow(k))) {
        k->full = true;
        return false;
    }
    *find(k->slots, k->slots_n, sum) = sum;
    k->n++;
    return true;
}

void keyset_each(const struct keyset *k, void (*each)(void *arg, uint64_t sum), void *arg)
{
    for (size_t i = 0; i < k->slots_n; i++)
        if (k->slots[i])
            each(arg, k->slots[i]);
}

void keyset_done(struct keyset *k)
{
    free(k->slots);
    *k = (struct keyset){NULL, 0, 0, false};
}
