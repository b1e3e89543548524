/* store_mem: what is put is what is got; limits hold; time, order and pins are respected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/store/store_mem.h"
#include "refrain/wire/header.h"

enum { MIB = 1 << 20 };

static char zeros[4 * MIB];

/* -- small helpers -- */

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

/* What a test says of an entry; 0 for a time means for ever. */
struct say {
    int64_t expires_ms, gone_ms, sliding_ms, max_expires_ms, started_seq;
    size_t body_len;
    const char *model;
};

static int put(struct store_mem *m, int n, int64_t now_ms, struct say say, struct entry_ref *out)
{
    struct slice body = {zeros, say.body_len};
    struct entry_parts p = {
        .head = {.key = key_of(n),
                 .expires_ms = say.expires_ms ? say.expires_ms : INT64_MAX,
                 .gone_ms = say.gone_ms      ? say.gone_ms
                            : say.expires_ms ? say.expires_ms
                                             : INT64_MAX,
                 .sliding_ms = say.sliding_ms,
                 .max_expires_ms = say.max_expires_ms ? say.max_expires_ms : INT64_MAX,
                 .started_seq = say.started_seq},
        .model = slice_str(say.model),
        .body = &body,
        .body_n = 1,
    };

    return store_mem_put(m, &p, now_ms, out);
}

static bool has(struct store_mem *m, int n, int64_t now_ms)
{
    struct digest key = key_of(n);
    struct entry_ref ref;
    bool found = store_mem_peek(m, &key, now_ms, &ref);

    if (found)
        store_mem_release(&ref);
    return found;
}

static bool hit(struct store_mem *m, int n, int64_t now_ms)
{
    struct digest key = key_of(n);
    struct entry_ref ref;
    bool found = store_mem_get(m, &key, now_ms, &ref);

    if (found)
        store_mem_release(&ref);
    return found;
}

static bool drop(struct store_mem *m, int n)
{
    struct digest key = key_of(n);

    return store_mem_delete(m, &key);
}

static struct store_mem_stats stats_of(struct store_mem *m)
{
    struct store_mem_stats s;

    store_mem_stats(m, &s);
    return s;
}

static void sweep_all(struct store_mem *m, int64_t now_ms)
{
    while (store_mem_sweep(m, now_ms, 1000))
        ;
}

/* -- tests -- */

static void what_is_put_is_got(void **state)
{
    struct store_mem *m = tier_of(8 * MIB, 0, EVICT_LRU);
    struct digest key = key_of(1), other = key_of(2);
    struct entry_ref ref = {0}, none = {0};

    (void)state;
    assert_int_equal(put(m, 1, 0, (struct say){.model = "gpt", .body_len = 3000, .expires_ms = 50}, NULL), 0);
    assert_true(store_mem_get(m, &key, 10, &ref));
    assert_true(digest_eq(&ref.entry->key, &key));
    assert_true(entry_check(ref.entry, ref.entry->bytes));
    assert_true(slice_eq(entry_slice(ref.entry, ref.entry->model), SLICE_OF("gpt")));
    assert_int_equal(ref.entry->body.len, 3000);
    assert_int_equal(ref.expires_ms, 50);
    assert_int_equal(ref.hits, 1);
    store_mem_release(&ref);
    assert_true(store_mem_get(m, &key, 10, &ref));
    assert_int_equal(ref.hits, 2);
    store_mem_release(&ref);
    assert_true(store_mem_peek(m, &key, 10, &ref));
    assert_int_equal(ref.hits, 2); /* a look is no hit */
    store_mem_release(&ref);
    assert_false(store_mem_get(m, &other, 10, &none));
    assert_null(none.entry);
    assert_int_equal(stats_of(m).hits, 2);
    assert_int_equal(stats_of(m).misses, 1);
    store_mem_free(m);
}

static void a_put_may_hold_what_it_put(void **state)
{
    struct store_mem *m = tier_of(8 * MIB, 0, EVICT_LRU);
    struct entry_ref ref;

    (void)state;
    assert_int_equal(put(m, 1, 0, (struct say){.body_len = 10}, &ref), 0);
    assert_true(drop(m, 1));
    assert_int_equal(ref.entry->body.len, 10);
    assert_int_equal(ref.hits, 0);
    store_mem_release(&ref);
    store_mem_free(m);
}

static void each_deletion_returns_its_bytes(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 1500, 20000, 70000, 700000, 3 * MIB};
    struct store_mem *m = tier_of(64 * MIB, 0, EVICT_LRU);
    struct store_mem_stats empty = stats_of(m), before;

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            before = stats_of(m);
            assert_int_equal(put(m, (int)i, 0, (struct say){.body_len = sizes[i]}, NULL), 0);
            assert_true(stats_of(m).bytes >= before.bytes + sizes[i] + sizeof(struct entry));
            assert_true(stats_of(m).bytes <= before.bytes + sizes[i] + sizeof(struct entry) + 110);
        }
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
            assert_true(drop(m, (int)i));
        assert_false(drop(m, 0));
        assert_int_equal(stats_of(m).bytes, empty.bytes);
        assert_int_equal(stats_of(m).entries, 0);
    }
    sweep_all(m, 0);
    assert_int_equal(stats_of(m).bytes_mapped, 0);
    store_mem_free(m);
}

/* Far more entries than one chunk of nodes or buckets, so the table grows, and shrinks again. */
static void a_table_that_grew_shrinks_to_the_same_figure(void **state)
{
    enum { N = 40000 };
    static const enum eviction all[] = {EVICT_LRU, EVICT_LFU, EVICT_FIFO, EVICT_SIEVE};

    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(all); e++) {
        struct store_mem *m = tier_of(32 * MIB, 0, all[e]);
        uint64_t empty = stats_of(m).bytes;

        for (int i = 0; i < N; i++)
            assert_int_equal(put(m, i, i, (struct say){.body_len = 8}, NULL), 0);
        assert_int_equal(stats_of(m).entries, N);
        for (int i = 0; i < N; i++)
            assert_true(hit(m, i, N));
        for (int i = 0; i < N; i += 2)
            assert_true(drop(m, i));
        for (int i = 0; i < N; i++)
            assert_int_equal(has(m, i, N), i % 2);
        assert_int_equal(store_mem_delete_if(m, NULL, NULL), N / 2);
        assert_int_equal(stats_of(m).bytes, empty);
        store_mem_free(m);
    }
}

static void a_reader_keeps_what_the_tier_lost(void **state)
{
    enum { N = 200 };
    struct store_mem *m = tier_of(4 * MIB, 0, EVICT_LRU);
    uint64_t empty = stats_of(m).bytes;
    struct entry_ref ref, large;

    (void)state;
    assert_int_equal(put(m, 1, 0, (struct say){.body_len = 1000, .model = "held"}, &ref), 0);
    assert_int_equal(put(m, 2, 0, (struct say){.body_len = 500000, .model = "large"}, &large), 0);
    for (int round = 0; round < 20; round++) /* evicts and compacts all there is, many times */
        for (int i = 0; i < N; i++)
            assert_int_equal(put(m, 10 + round * N + i, 1, (struct say){.body_len = 12000}, NULL), 0);
    assert_false(has(m, 1, 1));
    assert_true(entry_check(ref.entry, ref.entry->bytes));
    assert_true(slice_eq(entry_slice(ref.entry, ref.entry->model), SLICE_OF("held")));
    assert_true(entry_check(large.entry, large.entry->bytes));
    assert_true(slice_eq(entry_slice(large.entry, large.entry->model), SLICE_OF("large")));
    store_mem_delete_if(m, NULL, NULL);
    assert_true(stats_of(m).bytes >= empty + 500000); /* what is held counts */
    store_mem_release(&ref);
    store_mem_release(&large);
    assert_null(ref.entry);
    assert_int_equal(stats_of(m).bytes, empty);
    store_mem_free(m);
}

static void readers_of_everything_stop_puts_not_the_process(void **state)
{
    enum { N = 400 };
    struct store_mem *m = tier_of(4 * MIB, 0, EVICT_LRU);
    struct entry_ref refs[N];
    int held = 0, r = 0;

    (void)state;
    while (held < N && r == 0) {
        r = put(m, held, 0, (struct say){.body_len = 20000}, &refs[held]);
        held += r == 0;
        assert_true(stats_of(m).bytes_mapped <= 4 * MIB + MIB / 2);
    }
    assert_int_equal(r, -ENOMEM);
    for (int i = 0; i < held; i++) {
        assert_true(entry_check(refs[i].entry, refs[i].entry->bytes));
        store_mem_release(&refs[i]);
    }
    assert_int_equal(put(m, 1, 0, (struct say){.body_len = 20000}, NULL), 0);
    store_mem_free(m);
}

static void the_later_started_wins(void **state)
{
    static const struct {
        const char *why;
        int64_t there, comes;
        int want;
        bool gone;
    } cases[] = {
        {"later replaces earlier", 1, 2, 0, false},
        {"the same replaces itself", 2, 2, 0, false},
        {"earlier never replaces later", 3, 2, -EEXIST, false},
        {"what is gone is not there", 3, 2, 0, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store_mem *m = tier_of(MIB, 0, EVICT_LRU);
        struct say there = {.started_seq = cases[i].there, .expires_ms = 10, .model = "there"};
        struct say comes = {.started_seq = cases[i].comes, .expires_ms = 100, .model = "comes"};
        int64_t now_ms = cases[i].gone ? 10 : 9;
        struct digest key = key_of(1);
        struct entry_ref ref;

        assert_int_equal(put(m, 1, 0, there, NULL), 0);
        if (put(m, 1, now_ms, comes, NULL) != cases[i].want)
            fail_msg("%s", cases[i].why);
        assert_true(store_mem_get(m, &key, now_ms, &ref));
        assert_true(slice_eq(entry_slice(ref.entry, ref.entry->model),
                             slice_str(cases[i].want == 0 ? "comes" : "there")));
        store_mem_release(&ref);
        assert_int_equal(stats_of(m).entries, 1);
        assert_int_equal(stats_of(m).replaced, cases[i].want == 0 && !cases[i].gone);
        store_mem_free(m);
    }
}

static void an_entry_is_gone_at_its_millisecond(void **state)
{
    static const struct {
        const char *why;
        int64_t expires_ms, gone_ms, now_ms;
        bool want;
    } cases[] = {
        {"a millisecond before", 100, 100, 99, true},
        {"at it", 100, 100, 100, false},
        {"expired, but of use yet", 100, 200, 150, true},
        {"of no use any more", 100, 200, 200, false},
        {"for ever", INT64_MAX, INT64_MAX, INT64_MAX - 1, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store_mem *m = tier_of(MIB, 0, EVICT_LRU);
        struct say say = {.expires_ms = cases[i].expires_ms, .gone_ms = cases[i].gone_ms};

        assert_int_equal(put(m, 1, 0, say, NULL), 0);
        assert_int_equal(put(m, 2, 0, say, NULL), 0);
        if (hit(m, 1, cases[i].now_ms) != cases[i].want || has(m, 2, cases[i].now_ms) != cases[i].want)
            fail_msg("%s", cases[i].why);
        assert_int_equal(stats_of(m).entries, cases[i].want ? 2 : 0); /* dropped when seen */
        assert_int_equal(stats_of(m).expired, cases[i].want ? 0 : 2);
        store_mem_free(m);
    }
}

static void a_sweep_drops_exactly_what_is_gone(void **state)
{
    enum { N = 3000 };
    struct store_mem *m = tier_of(16 * MIB, 0, EVICT_LRU);
    uint64_t empty = stats_of(m).bytes;

    (void)state;
    for (int i = 0; i < N; i++)
        assert_int_equal(put(m, i, 0, (struct say){.expires_ms = 1 + i, .body_len = 500}, NULL), 0);
    for (int now = 0; now <= N; now += 500) {
        sweep_all(m, now);
        assert_int_equal(stats_of(m).entries, N - now);
        assert_int_equal(stats_of(m).expired, now);
    }
    assert_int_equal(stats_of(m).bytes, empty);
    assert_int_equal(stats_of(m).bytes_mapped, 0);
    store_mem_free(m);
}

static void a_hit_slides_what_is_fresh(void **state)
{
    static const struct {
        const char *why;
        struct say say;
        int64_t hit_ms;
        int64_t want_expires_ms, want_gone_ms;
    } cases[] = {
        {"no sliding", {.expires_ms = 100, .gone_ms = 150}, 90, 100, 150},
        {"moved on, stale window kept", {100, 150, 100, 1000, 0, 0, NULL}, 90, 190, 240},
        {"never back", {100, 150, 10, 1000, 0, 0, NULL}, 50, 100, 150},
        {"up to its maximum", {100, 150, 100, 120, 0, 0, NULL}, 90, 120, 170},
        {"stale: not any more", {100, 150, 100, 1000, 0, 0, NULL}, 100, 100, 150},
        {"no overflow", {100, 150, INT64_MAX, INT64_MAX, 0, 0, NULL}, 90, INT64_MAX, INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store_mem *m = tier_of(MIB, 0, EVICT_LRU);
        struct digest key = key_of(1);
        struct entry_ref ref;
        bool sound;

        assert_int_equal(put(m, 1, 0, cases[i].say, NULL), 0);
        assert_true(store_mem_peek(m, &key, cases[i].hit_ms, &ref));
        assert_int_equal(ref.expires_ms, 100); /* a look moves nothing */
        store_mem_release(&ref);
        assert_true(store_mem_get(m, &key, cases[i].hit_ms, &ref));
        sound = ref.expires_ms == cases[i].want_expires_ms;
        store_mem_release(&ref);
        sweep_all(m, cases[i].want_gone_ms - 1);
        sound = sound && has(m, 1, cases[i].want_gone_ms - 1);
        sweep_all(m, cases[i].want_gone_ms);
        sound = sound && stats_of(m).entries == 0;
        if (!sound)
            fail_msg("%s", cases[i].why);
        store_mem_free(m);
    }
}

static bool model_is(void *arg, const struct entry *e)
{
    return slice_eq(entry_slice(e, e->model), slice_str(arg));
}

static void delete_if_drops_all_that_match_and_no_other(void **state)
{
    enum { N = 5000 };
    struct store_mem *m = tier_of(16 * MIB, 0, EVICT_LRU);
    char red[] = "red";

    (void)state;
    for (int i = 0; i < N; i++)
        assert_int_equal(put(m, i, 0, (struct say){.model = i % 3 ? "blue" : "red"}, NULL), 0);
    assert_int_equal(store_mem_delete_if(m, model_is, red), (N + 2) / 3);
    for (int i = 0; i < N; i++)
        assert_int_equal(has(m, i, 0), i % 3 != 0);
    assert_int_equal(store_mem_delete_if(m, model_is, red), 0);
    assert_int_equal(store_mem_delete_if(m, NULL, NULL), N - (N + 2) / 3);
    store_mem_free(m);
}

static void what_is_larger_than_the_tier_takes_is_refused(void **state)
{
    struct store_mem *m = tier_of(4 * MIB, 0, EVICT_LRU), *tiny = tier_of(1000, 0, EVICT_LRU);

    (void)state;
    assert_int_equal(put(m, 1, 0, (struct say){.body_len = 3 * MIB}, NULL), -EMSGSIZE);
    assert_int_equal(put(m, 1, 0, (struct say){.body_len = 3 * MIB / 2}, NULL), 0);
    assert_int_equal(put(tiny, 1, 0, (struct say){.body_len = 1}, NULL), -EMSGSIZE);
    assert_false(has(tiny, 1, 0));
    store_mem_free(m);
    store_mem_free(tiny);
}

/* A copy of what lies there under @n, with an identity copy of @plain bytes. */
static struct entry *recoded(struct store_mem *m, int n, size_t plain)
{
    struct digest key = key_of(n);
    struct entry_ref ref;
    struct entry_parts p;
    struct field none[1];
    struct slice body;
    struct entry *e;

    assert_true(store_mem_peek(m, &key, 0, &ref));
    p = entry_parts_of(ref.entry, none, &body);
    p.plain = slice_make(zeros, plain);
    e = malloc(entry_packed_size(&p));
    assert_non_null(e);
    entry_pack(&p, e);
    store_mem_release(&ref);
    return e;
}

static void an_entry_otherwise_coded_goes_on_where_it_was(void **state)
{
    struct store_mem *m = tier_of(8 * MIB, 0, EVICT_LRU);
    struct digest key = key_of(1);
    struct entry_ref ref;
    struct entry *e;

    (void)state;
    assert_int_equal(put(m, 1, 0,
                         (struct say){.expires_ms = 100, .gone_ms = 150, .sliding_ms = 100, .body_len = 10},
                         NULL),
                     0);
    assert_true(hit(m, 1, 50));
    assert_true(hit(m, 1, 60));
    e = recoded(m, 1, 1000);
    assert_int_equal(store_mem_recode(m, e, 60), 0);
    assert_true(store_mem_peek(m, &key, 60, &ref));
    assert_int_equal(ref.entry->plain.len, 1000);
    assert_int_equal(ref.hits, 2);
    assert_int_equal(ref.expires_ms, 160);
    store_mem_release(&ref);
    assert_true(has(m, 1, 209)); /* and gone as far behind that as before */
    assert_int_equal(stats_of(m).entries, 1);
    assert_int_equal(stats_of(m).replaced, 0);
    free(e);
    store_mem_free(m);
}

static void what_is_there_no_more_is_not_coded_otherwise(void **state)
{
    struct store_mem *m = tier_of(8 * MIB, 0, EVICT_LRU);
    struct entry *e;

    (void)state;
    assert_int_equal(put(m, 1, 0, (struct say){.started_seq = 5, .body_len = 10}, NULL), 0);
    e = recoded(m, 1, 1000);
    assert_true(drop(m, 1));
    assert_int_equal(store_mem_recode(m, e, 0), -EEXIST);
    assert_false(has(m, 1, 0));
    assert_int_equal(put(m, 1, 0, (struct say){.started_seq = 6, .body_len = 20}, NULL), 0);
    assert_int_equal(store_mem_recode(m, e, 0), -EEXIST); /* another one has come */
    assert_int_equal(put(m, 1, 0, (struct say){.started_seq = 5, .expires_ms = 7, .body_len = 10}, NULL),
                     -EEXIST);
    assert_true(drop(m, 1));
    assert_int_equal(put(m, 1, 0, (struct say){.started_seq = 5, .expires_ms = 7, .body_len = 10}, NULL), 0);
    assert_int_equal(store_mem_recode(m, e, 0), -EEXIST); /* the same one, with another lifetime */
    free(e);
    store_mem_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_otherwise_coded_goes_on_where_it_was),
        cmocka_unit_test(what_is_there_no_more_is_not_coded_otherwise),
        cmocka_unit_test(what_is_put_is_got),
        cmocka_unit_test(a_put_may_hold_what_it_put),
        cmocka_unit_test(each_deletion_returns_its_bytes),
        cmocka_unit_test(a_table_that_grew_shrinks_to_the_same_figure),
        cmocka_unit_test(a_reader_keeps_what_the_tier_lost),
        cmocka_unit_test(readers_of_everything_stop_puts_not_the_process),
        cmocka_unit_test(the_later_started_wins),
        cmocka_unit_test(an_entry_is_gone_at_its_millisecond),
        cmocka_unit_test(a_sweep_drops_exactly_what_is_gone),
        cmocka_unit_test(a_hit_slides_what_is_fresh),
        cmocka_unit_test(delete_if_drops_all_that_match_and_no_other),
        cmocka_unit_test(what_is_larger_than_the_tier_takes_is_refused),
    };

    return cmocka_run_group_tests_name("store_mem", tests, NULL, NULL);
}
