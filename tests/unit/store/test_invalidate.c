/* invalidate: what is meant goes from every tier, is counted as it is, and what fails is done later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/invalidate.h"
#include "refrain/store/store_mem.h"

enum { NAMES_MAX = 1024 };

/* A lower tier that holds labels, nothing else. */
struct fake {
    struct tier tier;
    struct tier_port port;
    struct tier_ops ops;
    struct label held[NAMES_MAX];
    size_t n;
    enum tier_result answer;
    unsigned asked;
    void (*on_asked)(struct fake *f);
};

static struct loop *loop;

static void fake_delete_if(struct tier_port *p, struct tier_delete_if *d)
{
    struct fake *f = CONTAINER_OF(p, struct fake, port);
    size_t kept = 0;

    f->asked++;
    for (size_t i = 0; f->answer == TIER_OK && i < f->n; i++) {
        if (!selector_matches(d->which, &f->held[i])) {
            f->held[kept++] = f->held[i];
            continue;
        }
        if (d->on_match)
            d->on_match(d, &f->held[i]);
        d->matched += !f->held[i].family;
        if (d->dry_run)
            f->held[kept++] = f->held[i];
    }
    if (f->answer == TIER_OK)
        f->n = kept;
    tier_answer(p, &d->op, f->answer);
    if (f->on_asked)
        f->on_asked(f);
}

static void fake_init(struct fake *f, enum metric_tier kind)
{
    memset(f, 0, sizeof(*f));
    f->ops = (struct tier_ops){.name = "fake", .kind = kind, .delete_if = fake_delete_if};
    f->tier.ops = &f->ops;
    f->port = (struct tier_port){&f->tier, loop};
}

struct fixture {
    struct fences *fences;
    struct store_mem *memory;
    struct fake disk, redis;
    struct invalidator *v;
};

static struct fixture fx;

static int setup(void **state)
{
    struct store_mem_conf memory = {64 << 20, 0, EVICT_LRU};
    struct invalidator_conf conf = {.retry_ms = 1};

    (void)state;
    loop = loop_new();
    fake_init(&fx.disk, TIER_DISK);
    fake_init(&fx.redis, TIER_REDIS);
    fx.fences = conf.fences = fences_new();
    fx.memory = conf.memory = store_mem_new(&memory);
    conf.loop = loop;
    conf.lower[0] = &fx.disk.port;
    conf.lower[1] = &fx.redis.port;
    conf.lower_n = 2;
    fx.v = invalidator_new(&conf);
    return fx.v ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    invalidator_stop(fx.v);
    loop_free(loop);
    invalidator_free(fx.v);
    store_mem_free(fx.memory);
    fences_free(fx.fences);
    return 0;
}

static struct digest key_of(unsigned n)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%u", n);
    return sha256_of(slice_str(text));
}

static void put(unsigned n, struct slice tags, uint16_t flags, struct slice body)
{
    struct entry_parts p = {
        .head = {.key = key_of(n),
                 .created_ms = clock_wall_ms(),
                 .expires_ms = INT64_MAX,
                 .gone_ms = INT64_MAX,
                 .started_seq = 1,
                 .flags = flags},
        .namespace_ = SLICE("default"),
        .op_name = SLICE("chat"),
        .tags = tags,
        .body = &body,
        .body_n = 1,
    };

    memset(p.head.id, 'a', ENTRY_ID_LEN);
    assert_int_equal(store_mem_put(fx.memory, &p, clock_wall_ms(), NULL), 0);
}

static void hold(struct fake *f, unsigned n, struct slice tags)
{
    f->held[f->n++] = (struct label){.key = key_of(n),
                                     .namespace_ = SLICE("default"),
                                     .operation = SLICE("chat"),
                                     .tags = tags,
                                     .created_ms = 1};
}

static void on_done(struct invalidation *inv)
{
    (void)inv;
    loop_stop(loop);
}

static struct invalidation run(struct selector which, bool dry_run, bool told)
{
    static struct invalidation inv;

    inv = (struct invalidation){
        .which = which, .seq = 100, .dry_run = dry_run, .told = told, .loop = loop, .on_done = on_done};
    invalidate_start(fx.v, &inv);
    loop_run(loop);
    return inv;
}

static uint64_t in_memory(void)
{
    struct store_mem_stats st;

    store_mem_stats(fx.memory, &st);
    return st.entries;
}

static void fill(void)
{
    for (unsigned i = 0; i < 10; i++)
        put(i, i < 4 ? SLICE_OF("red") : SLICE_OF("blue"), 0, SLICE_OF("x"));
    for (unsigned i = 2; i < 8; i++) /* 2 and 3 are red */
        hold(&fx.disk, i, i < 4 ? SLICE_OF("red") : SLICE_OF("blue"));
    for (unsigned i = 3; i < 20; i++) /* 3 is red, and 12 to 19 */
        hold(&fx.redis, i, i < 4 || i >= 12 ? SLICE_OF("red") : SLICE_OF("blue"));
}

static void what_is_meant_goes_from_every_tier(void **state)
{
    struct invalidation inv;

    (void)state;
    fill();
    inv = run((struct selector){.tag = SLICE("red")}, false, true);
    assert_int_equal(inv.matched, 12); /* 0 to 3, 12 to 19 */
    assert_false(inv.at_least);
    assert_int_equal(inv.tiers[TIER_MEMORY].matched, 4);
    assert_int_equal(inv.tiers[TIER_DISK].matched, 2);
    assert_int_equal(inv.tiers[TIER_REDIS].matched, 9);
    assert_int_equal(in_memory(), 6);
    assert_int_equal(fx.disk.n, 4);
    assert_int_equal(fx.redis.n, 8);
    assert_true(fences_hold_back(fx.fences, &(struct label){.tags = SLICE("red")}, 99));
}

static void a_dry_run_changes_nothing(void **state)
{
    uint64_t counts[INVALIDATION_KINDS];
    struct invalidation inv;

    (void)state;
    fill();
    inv = run((struct selector){.tag = SLICE("red")}, true, true);
    assert_int_equal(inv.matched, 12);
    assert_int_equal(inv.tiers[TIER_REDIS].matched, 9);
    assert_int_equal(in_memory(), 10);
    assert_int_equal(fx.disk.n + fx.redis.n, 6 + 17);
    assert_int_equal(fences_latest(fx.fences), 0);
    invalidate_counts(fx.v, counts);
    assert_int_equal(counts[INVALIDATE_TAG], 0);
}

static void what_all_share_is_left_to_who_was_told(void **state)
{
    uint64_t counts[INVALIDATION_KINDS];
    struct invalidation inv;

    (void)state;
    fill();
    inv = run((struct selector){.tag = SLICE("red")}, false, false);
    assert_false(inv.tiers[TIER_REDIS].asked);
    assert_int_equal(fx.redis.n, 17);
    assert_int_equal(fx.disk.n, 4);
    invalidate_counts(fx.v, counts);
    assert_int_equal(counts[INVALIDATE_TAG], 0);
}

static void each_is_counted_by_its_kind(void **state)
{
    static const struct {
        struct selector which;
        enum invalidation_kind kind;
        const char *name;
    } rows[] = {
        {{.id = SLICE("i"), .tag = SLICE("t")}, INVALIDATE_ID, "id"},
        {{.pattern = SLICE("p"), .namespace_ = SLICE("n")}, INVALIDATE_PATTERN, "pattern"},
        {{.tag = SLICE("t"), .namespace_ = SLICE("n")}, INVALIDATE_TAG, "tag"},
        {{.operation = SLICE("o"), .model = SLICE("m")}, INVALIDATE_OPERATION, "operation"},
        {{.model = SLICE("m"), .namespace_ = SLICE("n")}, INVALIDATE_MODEL, "model"},
        {{.namespace_ = SLICE("n"), .created_before_ms = 1}, INVALIDATE_NAMESPACE, "namespace"},
        {{.created_before_ms = 1}, INVALIDATE_AGE, "age"},
        {{.target = 1}, INVALIDATE_TARGET, "target"},
        {{.target = 0}, INVALIDATE_ALL, "all"},
    };
    uint64_t counts[INVALIDATION_KINDS];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(invalidation_kind_of(&rows[i].which), rows[i].kind);
        assert_string_equal(invalidation_kind_name(rows[i].kind), rows[i].name);
        (void)run(rows[i].which, false, true);
    }
    invalidate_counts(fx.v, counts);
    for (size_t k = 0; k < INVALIDATION_KINDS; k++)
        assert_int_equal(counts[k], 1);
}

/* Markers of Vary are no entries; their family goes with them. */
static void a_family_goes_with_its_marker(void **state)
{
    struct entry_variant family[] = {
        {key_of(51), INT64_MAX}, {key_of(52), INT64_MAX}, {key_of(53), INT64_MAX}};
    struct digest common = key_of(50);
    char pattern[DIGEST_HEX_LEN + 4] = "*:";
    struct invalidation inv;

    (void)state;
    put(50, SLICE_OF(""), ENTRY_VARY, slice_make(family, sizeof(family)));
    put(51, SLICE_OF(""), 0, SLICE_OF("one"));
    put(52, SLICE_OF(""), 0, SLICE_OF("two")); /* 53 has been evicted */
    digest_hex(&common, pattern + 2);
    inv = run((struct selector){.pattern = slice_str(pattern)}, true, true);
    assert_int_equal(inv.matched, 2);
    assert_int_equal(in_memory(), 3);
    inv = run((struct selector){.pattern = slice_str(pattern)}, false, true);
    assert_int_equal(inv.matched, 2);
    assert_int_equal(inv.tiers[TIER_MEMORY].matched, 2);
    assert_int_equal(in_memory(), 0);
}

static void markers_below_are_not_counted(void **state)
{
    struct invalidation inv;

    (void)state;
    hold(&fx.disk, 1, SLICE_OF(""));
    hold(&fx.disk, 2, SLICE_OF(""));
    fx.disk.held[0].family = true;
    inv = run((struct selector){.namespace_ = SLICE("default")}, false, true);
    assert_int_equal(inv.matched, 1);
    assert_int_equal(inv.tiers[TIER_DISK].matched, 1);
    assert_int_equal(fx.disk.n, 0);
}

static void recover(struct fake *f)
{
    if (f->answer == TIER_OK)
        loop_stop(loop); /* it has been asked once more, and has done it */
    f->answer = TIER_OK;
}

static void what_a_tier_could_not_do_is_done_later(void **state)
{
    struct invalidation inv;

    (void)state;
    fill();
    fx.disk.answer = TIER_DOWN;
    inv = run((struct selector){.tag = SLICE("red")}, false, true);
    assert_int_equal(inv.tiers[TIER_DISK].result, TIER_DOWN);
    assert_int_equal(inv.tiers[TIER_REDIS].result, TIER_OK);
    assert_int_equal(fx.redis.n, 8); /* which does not wait for the other */
    fx.disk.on_asked = recover;
    loop_run(loop);
    assert_int_equal(fx.disk.n, 4);
}

static void a_failed_dry_run_leaves_nothing_behind(void **state)
{
    (void)state;
    fill();
    fx.disk.answer = TIER_DOWN;
    (void)run((struct selector){.tag = SLICE("red")}, true, true);
    assert_int_equal(invalidate_pending(fx.v), 0);
}

static void stop_when_clear(struct fake *f)
{
    if (f->n == 0)
        loop_stop(loop);
}

/* More than can be kept apart: all that is as old goes. */
static void too_many_for_a_tier_that_is_down(void **state)
{
    char tag[32];

    (void)state;
    fill();
    fx.disk.answer = TIER_DOWN;
    for (int i = 0; i < 200; i++) {
        (void)snprintf(tag, sizeof(tag), "tag-%d", i);
        (void)run((struct selector){.tag = slice_str(tag)}, false, true);
        assert_true(invalidate_pending(fx.v) <= 66);
    }
    assert_true(invalidate_pending(fx.v) > 0);
    fx.disk.answer = TIER_OK;
    fx.disk.on_asked = stop_when_clear;
    loop_run(loop);
    assert_int_equal(fx.disk.n, 0);
}

static void a_changed_target_goes_from_disk(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        hold(&fx.disk, i, SLICE_OF(""));
        hold(&fx.redis, i, SLICE_OF(""));
        fx.disk.held[i].target = fx.redis.held[i].target = 7 + i % 2;
    }
    invalidate_target(fx.v, 7, 100);
    invalidate_target(fx.v, 8, 101);
    invalidate_target(fx.v, 7, 102);
    assert_true(fences_hold_back(fx.fences, &(struct label){.target = 7}, 101));
    fx.disk.on_asked = stop_when_clear;
    loop_run(loop);
    assert_int_equal(fx.disk.asked, 2); /* the same target once */
    assert_int_equal(fx.redis.asked, 0);
}

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void at_the_end_no_changed_target_is_left(void **state)
{
    pthread_t thread;

    (void)state;
    hold(&fx.disk, 1, SLICE_OF(""));
    fx.disk.held[0].target = 9;
    assert_true(invalidator_flush(fx.v, 0)); /* nothing is left */
    invalidate_target(fx.v, 9, 100);
    assert_false(invalidator_flush(fx.v, 0));
    assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
    assert_true(invalidator_flush(fx.v, 60000));
    loop_stop(loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(fx.disk.n, 0);
}

static void more_targets_than_are_kept(void **state)
{
    (void)state;
    hold(&fx.disk, 1, SLICE_OF(""));
    fx.disk.held[0].operation = SLICE_OF("read");
    fx.disk.held[0].target = 3;
    fx.disk.on_asked = stop_when_clear;
    for (uint64_t i = 0; i < 10000; i++)
        invalidate_target(fx.v, 3 + i, (int64_t)i);
    assert_true(invalidate_pending(fx.v) <= 4097);
    loop_run(loop);
    assert_int_equal(fx.disk.n, 0);
}

static void without_any_tier_it_comes_back(void **state)
{
    struct invalidator_conf conf = {.fences = fx.fences};
    struct invalidator *v = invalidator_new(&conf);
    struct invalidation inv = {.which = {.tag = SLICE("x")}, .seq = 5, .loop = loop, .on_done = on_done};

    (void)state;
    invalidate_start(v, &inv);
    invalidate_target(v, 1, 5);
    loop_run(loop);
    assert_int_equal(inv.matched, 0);
    assert_false(inv.tiers[TIER_MEMORY].asked);
    invalidator_free(v);
}

static void what_comes_after_the_end_comes_back(void **state)
{
    struct invalidation inv;

    (void)state;
    fill();
    invalidator_stop(fx.v);
    inv = run((struct selector){.tag = SLICE("red")}, false, true);
    assert_int_equal(inv.tiers[TIER_MEMORY].matched, 4);
    assert_int_equal(fx.disk.asked, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_meant_goes_from_every_tier, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dry_run_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_all_share_is_left_to_who_was_told, setup, teardown),
        cmocka_unit_test_setup_teardown(each_is_counted_by_its_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(a_family_goes_with_its_marker, setup, teardown),
        cmocka_unit_test_setup_teardown(markers_below_are_not_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_tier_could_not_do_is_done_later, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_dry_run_leaves_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_for_a_tier_that_is_down, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_target_goes_from_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(at_the_end_no_changed_target_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(more_targets_than_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(without_any_tier_it_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_after_the_end_comes_back, setup, teardown),
    };

    return cmocka_run_group_tests_name("invalidate", tests, NULL, NULL);
}
