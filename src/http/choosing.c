/*
 * Several answers to one request (Refrain-Variants; SPEC sections 6, 7): each has a key of its own, made from
 * the request's, and from there on is an answer like any other, with its flight and its entry.
 *
 * Until all are stored a request goes to the flight with the fewest readers, so that sixteen at once with
 * four answers to keep make four calls; after that any of them is as good as another. They are filled from
 * the first on, so that who asks for fewer finds them.
 */
#include "exchange_priv.h"
#include "refrain/base/clock.h"

/* xorshift64: which of several equal answers is given needs no better dice. */
static unsigned throw_dice(struct worker *w, unsigned sides)
{
    w->dice ^= w->dice << 13;
    w->dice ^= w->dice >> 7;
    w->dice ^= w->dice << 17;
    return (unsigned)((w->dice >> 32) * sides >> 32);
}

static bool is_stored(const struct exchange *x, const struct digest *key, int64_t now_ms)
{
    struct entry_ref ref;
    bool fresh;

    if (!site_of(x)->memory || !store_mem_peek(site_of(x)->memory, key, now_ms, &ref))
        return false;
    fresh = ref.expires_ms > now_ms;
    entry_ref_release(&ref);
    return fresh;
}

/* One of those in @stored, a bit each; there is one. */
static unsigned pick_stored(struct exchange *x, uint64_t stored)
{
    for (unsigned skip = throw_dice(x->worker, (unsigned)__builtin_popcountll(stored)); skip > 0; skip--)
        stored &= stored - 1;
    return (unsigned)__builtin_ctzll(stored);
}

static unsigned least_joined(const struct exchange *x, const struct digest *keys, unsigned n, uint64_t stored)
{
    unsigned best = 0, fewest = UINT32_MAX;

    for (unsigned i = 0; i < n && fewest > 0; i++) {
        unsigned readers = stored >> i & 1 ? UINT32_MAX : flight_readers(site_of(x)->flights, &keys[i]);

        if (readers < fewest) {
            fewest = readers;
            best = i;
        }
    }
    return best;
}

static unsigned choose(struct exchange *x, const struct digest *keys, unsigned n)
{
    int64_t now_ms = clock_wall_ms();
    uint64_t stored = 0;

    if (!x->ask.joins || !site_of(x)->memory) /* it is to replace one; or nobody knows which are stored */
        return throw_dice(x->worker, n);
    for (unsigned i = 0; i < n; i++)
        if (x->ask.may_read && is_stored(x, &keys[i], now_ms))
            stored |= UINT64_C(1) << i;
    if (stored != 0 && (x->ask.only_if_cached || (unsigned)__builtin_popcountll(stored) == n))
        return pick_stored(x, stored);
    return least_joined(x, keys, n, stored);
}

bool choose_answer(struct exchange *x)
{
    struct digest keys[ASK_VARIANTS_MAX], before = x->common_key;
    unsigned n = x->ask.variants;

    for (unsigned i = 0; i < n; i++)
        keys[i] = key_of_variant(x->worker->keys, &x->base_key, i + 1);
    x->common_key = keys[choose(x, keys, n)];
    if (digest_eq(&x->common_key, &before))
        return false;
    x->key = x->common_key;
    return true;
}
