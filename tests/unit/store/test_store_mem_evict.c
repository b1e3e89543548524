/* store_mem, eviction: each policy's victims in their exact order, and one limit for all shards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "refrain/store/store_mem.h"

enum { MIB = 1 << 20 };

static char zeros[MIB];

static struct digest key_of(int n)
{
    return sha256_of(slice_make(&n, sizeof(n)));
}

static struct store_mem *tier_of(size_t bytes_max, uint64_t entries_max, enum eviction eviction)
{
    struct store_mem_conf conf = {bytes_max, entries_max, eviction};
    struct store_mem *m = store_mem_new(&conf);

    assert_non_null(m);
    return m;
}

static void put(struct store_mem *m, int n, int64_t now_ms, size_t body_len)
{
    struct slice body = {zeros, body_len};
    struct entry_parts p = {
        .head = {.key = key_of(n), .expires_ms = INT64_MAX, .gone_ms = INT64_MAX},
        .body = &body,
        .body_n = 1,
    };

    assert_int_equal(store_mem_put(m, &p, now_ms, NULL), 0);
}

static bool has(struct store_mem *m, int n)
{
    struct digest key = key_of(n);
    struct entry_ref ref;
    bool found = store_mem_peek(m, &key, 0, &ref);

    if (found)
        store_mem_release(&ref);
    return found;
}

static void hit(struct store_mem *m, int n, int64_t now_ms)
{
    struct digest key = key_of(n);
    struct entry_ref ref;

    assert_true(store_mem_get(m, &key, now_ms, &ref));
    store_mem_release(&ref);
}

static struct store_mem_stats stats_of(struct store_mem *m)
{
    struct store_mem_stats s;

    store_mem_stats(m, &s);
    return s;
}

/* Upper case puts, lower case hits, '-' and a letter deletes; what a put drove out is appended to @out. */
static void play(struct store_mem *m, const char *script, char *out)
{
    bool there[128] = {false};

    for (int64_t now = 1; *script; script++, now++) {
        int c = *script;

        if (c == '-') {
            struct digest key = key_of(*++script);

            assert_true(store_mem_delete(m, &key));
            there[(int)*script] = false;
        } else if (c >= 'a') {
            hit(m, c - 'a' + 'A', now);
        } else {
            put(m, c, now, 100);
            there[c] = true;
        }
        for (int n = 'A'; n <= 'Z'; n++) {
            if (!there[n] || has(m, n))
                continue;
            *out++ = (char)n;
            there[n] = false;
        }
    }
    *out = '\0';
}

static void each_policy_has_its_order(void **state)
{
    static const struct {
        const char *why;
        enum eviction eviction;
        const char *script, *want;
    } cases[] = {
        {"lru: untouched, as they came", EVICT_LRU, "ABCDEF", "ABC"},
        {"lru: a hit makes it the latest", EVICT_LRU, "ABCabDEF", "CAB"},
        {"lru: a hit on the latest changes nothing", EVICT_LRU, "ABCcDEF", "ABC"},
        {"lru: replaced is the latest", EVICT_LRU, "ABCADEF", "BCA"},
        {"lru: replacing drives nothing out", EVICT_LRU, "ABCCBA", ""},
        {"lru: order survives a deletion", EVICT_LRU, "ABCa-BDEF", "CA"},
        {"fifo: hits change nothing", EVICT_FIFO, "ABCabDEF", "ABC"},
        {"fifo: replaced comes anew", EVICT_FIFO, "ABCADEF", "BCA"},
        {"lfu: fewest hits first", EVICT_LFU, "ABCabaD", "C"},
        {"lfu: a newcomer ranks one above the last victim", EVICT_LFU, "ABCabaDEFG", "CBDA"},
        {"lfu: equals in the order of their last hit", EVICT_LFU, "ABCcabDEF", "CAB"},
        {"lfu: what is asked for most stays", EVICT_LFU, "ABCaaaaDEFG", "BCDE"},
        {"lfu: but sinks when it is asked for no more", EVICT_LFU, "ABCaaDEFGHIJK", "BCDEAFGH"},
        {"lfu: order survives a deletion", EVICT_LFU, "ABCaabb-ADEF", "CD"},
        {"sieve: untouched, as they came", EVICT_SIEVE, "ABCDEF", "ABC"},
        {"sieve: the hand spares what was hit and moves on", EVICT_SIEVE, "ABCaDEFG", "BCDE"},
        {"sieve: spared once, not for ever", EVICT_SIEVE, "ABCabcDEFG", "ABCD"},
        {"sieve: what the hand points at is deleted", EVICT_SIEVE, "ABCaD-CEFG", "BDE"},
        {"sieve: past the newest the hand starts over", EVICT_SIEVE, "ABCabDE", "CA"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store_mem *m = tier_of(MIB, 3, cases[i].eviction);
        char got[64];

        play(m, cases[i].script, got);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: %s drove out %s, not %s", cases[i].why, cases[i].script, got, cases[i].want);
        assert_int_equal(stats_of(m).evicted_count, strlen(got));
        store_mem_free(m);
    }
}

/* 64 MiB are 16 shards, yet the oldest of all goes, not the oldest of one. */
static void shards_share_one_order(void **state)
{
    enum { N = 1000, ALL = 5 * N };
    static const enum eviction all[] = {EVICT_LRU, EVICT_FIFO, EVICT_SIEVE};

    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(all); e++) {
        struct store_mem *m = tier_of(64 * MIB, N, all[e]);

        for (int i = 0; i < ALL; i++) {
            put(m, i, i, 100);
            assert_true(stats_of(m).entries <= N);
        }
        for (int i = 0; i < ALL; i++)
            assert_int_equal(has(m, i), i >= ALL - N);
        store_mem_free(m);
    }
}

static void a_large_entry_drives_out_the_oldest_wherever_they_lie(void **state)
{
    enum { N = 600, SMALL = 100000, LARGE = 20 * SMALL };
    struct store_mem *m = tier_of(64 * MIB, 0, EVICT_LRU);
    int left = 0;

    (void)state;
    for (int i = 0; i < N; i++)
        put(m, i, i, SMALL);
    for (int i = 0; i < LARGE / SMALL * 4; i += LARGE / SMALL)
        put(m, N + i, N + i, MIB);
    for (int i = 0; i < N; i++)
        left += has(m, i);
    assert_true(left > N - 80);
    for (int i = N / 2; i < N; i++)
        assert_true(has(m, i));
    assert_true(stats_of(m).bytes <= 64 * MIB);
    store_mem_free(m);
}

/* Whatever the policy, the limit holds after each put, memory stays bounded, and the tier is used well. */
static void no_put_leaves_the_tier_over_its_limit(void **state)
{
    enum { N = 20000, LIMIT = 16 * MIB };
    static const enum eviction all[] = {EVICT_LRU, EVICT_LFU, EVICT_FIFO, EVICT_SIEVE};

    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(all); e++) {
        struct store_mem *m = tier_of(LIMIT, 0, all[e]);
        unsigned seed = 7;

        for (int i = 0; i < N; i++) {
            size_t len = (size_t)rand_r(&seed) % (i % 10 ? 3000 : i % 100 ? 60000 : 600000);
            int old = rand_r(&seed) % (i + 1);
            struct store_mem_stats s;

            put(m, i, i, len);
            if (has(m, old))
                hit(m, old, i);
            s = stats_of(m);
            assert_true(s.bytes <= LIMIT);
            assert_true(s.bytes_mapped <= LIMIT + LIMIT / 40 * 3);
        }
        assert_true(stats_of(m).bytes > LIMIT / 10 * 8);
        store_mem_delete_if(m, NULL, NULL);
        while (store_mem_sweep(m, N, 1000))
            ;
        assert_int_equal(stats_of(m).bytes_mapped, 0);
        store_mem_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_policy_has_its_order),
        cmocka_unit_test(shards_share_one_order),
        cmocka_unit_test(a_large_entry_drives_out_the_oldest_wherever_they_lie),
        cmocka_unit_test(no_put_leaves_the_tier_over_its_limit),
    };

    return cmocka_run_group_tests_name("store_mem_evict", tests, NULL, NULL);
}
