/* popular: the most hit, in order, of any number of entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "popular.h"
#include "refrain/base/attr.h"
#include "refrain/store/store_mem.h"

static struct digest key_of(unsigned n)
{
    struct digest key = {{0}};

    memcpy(key.bytes, &n, sizeof(n));
    key.bytes[8] = (uint8_t)(n * 37); /* over the shards */
    return key;
}

/* Entry @n, with @hits hits. */
static void put(struct store_mem *m, unsigned n, unsigned hits, unsigned flags)
{
    struct slice body = SLICE("{}");
    struct entry_parts p = {
        .head = {.key = key_of(n), .expires_ms = INT64_MAX, .gone_ms = INT64_MAX, .flags = (uint16_t)flags},
        .namespace_ = SLICE("default"),
        .op_name = SLICE("chat"),
        .body = &body,
        .body_n = 1,
    };

    assert_int_equal(store_mem_put(m, &p, 1, NULL), 0);
    for (unsigned i = 0; i < hits; i++) {
        struct entry_ref ref;

        assert_true(store_mem_get(m, &p.head.key, 1, &ref));
        entry_ref_release(&ref);
    }
}

static void the_most_hit_are_found(void **state)
{
    static const struct {
        const char *why;
        unsigned entries;
        size_t max, want;
    } cases[] = {
        {"nothing is there", 0, 10, 0},
        {"fewer than are wanted, and one that nobody asked for again", 5, 10, 4},
        {"more", 300, 10, 10},
        {"as many as there can be", 300, POPULAR_MAX, POPULAR_MAX},
        {"none is wanted", 5, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store_mem_conf conf = {.bytes_max = 8 << 20};
        struct store_mem *m = store_mem_new(&conf);
        struct popular p = {.max = cases[i].max, .n = 77};

        assert_non_null(m);
        for (unsigned n = 0; n < cases[i].entries; n++)
            put(m, n, n * 7 % cases[i].entries, 0); /* each number of hits once, in no order */
        put(m, 100000, 1000, ENTRY_VARY);           /* no answer */
        popular_find(&p, m);
        if (p.n != cases[i].want)
            fail_msg("%s: %zu", cases[i].why, p.n);
        for (size_t k = 0; k < p.n; k++) {
            assert_int_equal(p.at[k].hits, cases[i].entries - 1 - k);
            for (unsigned n = 0; n < cases[i].entries; n++)
                if (n * 7 % cases[i].entries == p.at[k].hits)
                    assert_memory_equal(p.at[k].key.bytes, key_of(n).bytes, sizeof(p.at[k].key.bytes));
        }
        store_mem_free(m);
    }
}

static void without_the_memory_tier_there_is_none(void **state)
{
    struct popular p = {.max = 10, .n = 77};

    (void)state;
    popular_find(&p, NULL);
    assert_int_equal(p.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_hit_are_found),
        cmocka_unit_test(without_the_memory_tier_there_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
