/* inventory: everything that is there is seen, page by page, whatever a cursor says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/inventory.h"

enum { HELD_MAX = 512, SEEN_MAX = 2048 };

/* A lower tier that holds labels; its cursor is where it is, in four bytes. */
struct fake {
    struct tier tier;
    struct tier_port port;
    struct tier_ops ops;
    struct label held[HELD_MAX];
    size_t n, pages;
    enum tier_result answer;
};

static struct loop *loop;
static struct fake disk, redis;
static struct inventory_place place;

static void fake_scan(struct tier_port *p, struct tier_scan *s)
{
    struct fake *f = CONTAINER_OF(p, struct fake, port);
    uint32_t at = 0;

    f->pages++;
    if (s->cursor->len == sizeof(at))
        memcpy(&at, s->cursor->data, sizeof(at));
    buf_clear(s->cursor);
    for (size_t n = 0; f->answer == TIER_OK && n < s->page_max && at < f->n; n++, at++) {
        struct tier_item item = {.label = f->held[at], .gone_ms = INT64_MAX};

        s->on_item(s, &item, NULL);
    }
    if (f->answer == TIER_OK && at < f->n)
        assert_int_equal(buf_add(s->cursor, &at, sizeof(at)), 0);
    tier_answer(p, &s->op, f->answer);
}

static void fake_init(struct fake *f, enum metric_tier kind)
{
    memset(f, 0, sizeof(*f));
    f->ops = (struct tier_ops){.name = "fake", .kind = kind, .scan = fake_scan};
    f->tier.ops = &f->ops;
    f->port = (struct tier_port){&f->tier, loop};
}

static int setup(void **state)
{
    struct store_mem_conf memory = {64 << 20, 0, EVICT_LRU};

    (void)state;
    loop = loop_new();
    fake_init(&disk, TIER_DISK);
    fake_init(&redis, TIER_REDIS);
    place = (struct inventory_place){
        .memory = store_mem_new(&memory), .loop = loop, .lower = {&disk.port, &redis.port}, .lower_n = 2};
    return place.memory ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    store_mem_free(place.memory);
    return 0;
}

static struct digest key_of(unsigned n)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%u", n);
    return sha256_of(slice_str(text));
}

static void put(unsigned n, uint16_t flags, int64_t gone_ms)
{
    struct slice body = SLICE_OF("x");
    struct entry_parts p = {
        .head = {.key = key_of(n), .expires_ms = gone_ms, .gone_ms = gone_ms, .flags = flags},
        .namespace_ = n % 2 ? SLICE_OF("odd") : SLICE_OF("even"),
        .op_name = SLICE("chat"),
        .body = &body,
        .body_n = 1,
    };

    assert_int_equal(store_mem_put(place.memory, &p, 1, NULL), 0);
}

static void hold(struct fake *f, unsigned n)
{
    f->held[f->n++] =
        (struct label){.key = key_of(n), .namespace_ = n % 2 ? SLICE_OF("odd") : SLICE_OF("even")};
}

struct looking {
    struct inventory v;
    struct digest seen[SEEN_MAX];
    size_t seen_n, in[INVENTORY_TIERS];
};

static void on_item(struct inventory *v, const struct inventory_item *item)
{
    struct looking *l = CONTAINER_OF(v, struct looking, v);

    for (size_t i = 0; i < l->seen_n; i++)
        if (digest_eq(&l->seen[i], &item->label.key) && !v->twice)
            fail_msg("seen twice");
    l->seen[l->seen_n++] = item->label.key;
    l->in[item->tier]++;
}

static void on_done(struct inventory *v)
{
    (void)v;
    loop_stop(loop);
}

static void run(struct looking *l)
{
    l->v.place = &place;
    l->v.loop = loop;
    l->v.on_item = on_item;
    l->v.on_done = on_done;
    inventory_start(&l->v);
    loop_run(loop);
}

static struct looking everywhere(void)
{
    return (struct looking){.v = {.in = {true, true, true}}};
}

static void fill(void)
{
    for (unsigned i = 0; i < 300; i++)
        put(i, 0, INT64_MAX);
    for (unsigned i = 290; i < 450; i++)
        hold(&disk, i);
    for (unsigned i = 450; i < 600; i++)
        hold(&redis, i);
}

static void everything_is_seen(void **state)
{
    struct looking l = everywhere();

    (void)state;
    fill();
    run(&l);
    assert_int_equal(l.v.items, 600);
    assert_int_equal(l.in[TIER_MEMORY], 300);
    assert_int_equal(l.in[TIER_DISK], 150); /* ten lie in memory */
    assert_int_equal(l.v.cursor.len, 0);
    inventory_done(&l.v);
}

static void in_each_tier_where_that_is_asked(void **state)
{
    struct looking l = everywhere();

    (void)state;
    fill();
    l.v.twice = true;
    run(&l);
    assert_int_equal(l.in[TIER_DISK], 160);
    inventory_done(&l.v);
}

static void page_by_page_everything_is_seen_once(void **state)
{
    static struct looking all;
    char cursor[INVENTORY_CURSOR_MAX] = "";
    unsigned pages = 0;

    (void)state;
    fill();
    memset(&all, 0, sizeof(all));
    do {
        bool begun = cursor[0] != '\0';

        all.v = (struct inventory){.in = {true, true, true}, .items_max = 7};
        if (begun)
            assert_true(inventory_resume(&all.v, slice_str(cursor)));
        run(&all);
        assert_true(all.v.items <= 7 + 64); /* about so many */
        (void)snprintf(cursor, sizeof(cursor), "%.*s", (int)all.v.cursor.len,
                       all.v.cursor.data ? all.v.cursor.data : "");
        inventory_done(&all.v);
        assert_true(++pages < 200);
    } while (cursor[0]);
    assert_int_equal(all.seen_n, 600);
}

static void only_what_is_meant(void **state)
{
    struct looking l = everywhere();

    (void)state;
    fill();
    l.v.which.namespace_ = SLICE_OF("odd");
    run(&l);
    assert_int_equal(l.v.items, 300);
    inventory_done(&l.v);
}

static void only_where_it_is_looked_for(void **state)
{
    struct looking l = {.v = {.in = {[TIER_REDIS] = true}}};

    (void)state;
    fill();
    run(&l);
    assert_int_equal(l.v.items, 150);
    assert_int_equal(disk.pages, 0);
    inventory_done(&l.v);
}

static void neither_markers_nor_what_is_gone(void **state)
{
    struct looking l = everywhere();

    (void)state;
    put(1, ENTRY_VARY, INT64_MAX);
    put(2, 0, 5); /* long ago */
    put(3, 0, INT64_MAX);
    run(&l);
    assert_int_equal(l.v.items, 1);
    inventory_done(&l.v);
}

static void a_tier_that_fails_is_told_of_and_passed_over(void **state)
{
    struct looking l = everywhere();

    (void)state;
    fill();
    disk.answer = TIER_DOWN;
    run(&l);
    assert_int_equal(l.v.result[TIER_DISK], TIER_DOWN);
    assert_int_equal(l.v.result[TIER_REDIS], TIER_OK);
    assert_int_equal(l.in[TIER_REDIS], 150);
    inventory_done(&l.v);
}

static void no_store_thread_no_lower_tiers(void **state)
{
    struct looking l = everywhere();

    (void)state;
    fill();
    place.lower_n = 0;
    place.loop = NULL;
    run(&l);
    assert_int_equal(l.v.items, 300);
    inventory_done(&l.v);
}

static void at_the_end_nothing_more_is_asked(void **state)
{
    struct looking l = everywhere();

    (void)state;
    fill();
    atomic_store(&place.stopped, true);
    run(&l);
    assert_int_equal(disk.pages, 0);
    inventory_done(&l.v);
}

static void cursors_that_are_none(void **state)
{
    static const char *const bad[] = {"",
                                      "0",
                                      "0.",
                                      "0.1",
                                      "0.1.x",
                                      "0.-1.2",
                                      "3.",
                                      "x.00",
                                      "1.0",
                                      "1.0g",
                                      "1.0G",
                                      "0..",
                                      "0.1.2.3",
                                      ".",
                                      "1",
                                      "99999999999.1.1",
                                      "0.4294967296.1"};
    static const char *const good[] = {"0.1.2", "0.0.0", "1.", "1.00ff", "2.ab"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct inventory v = {.stage = 0};

        if (inventory_resume(&v, slice_str(bad[i])))
            fail_msg("%s", bad[i]);
        inventory_done(&v);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct inventory v = {.stage = 0};

        if (!inventory_resume(&v, slice_str(good[i])))
            fail_msg("%s", good[i]);
        inventory_done(&v);
    }
}

/* Whatever a cursor says, nothing is read that is not there. */
static void a_cursor_of_nowhere_ends(void **state)
{
    static const char *const far[] = {"0.4294967295.1", "0.3.4294967295", "2.ffffffff"};

    (void)state;
    fill();
    for (size_t i = 0; i < ARRAY_LEN(far); i++) {
        struct looking l = everywhere();

        assert_true(inventory_resume(&l.v, slice_str(far[i])));
        run(&l);
        assert_int_equal(l.v.cursor.len, 0);
        inventory_done(&l.v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(in_each_tier_where_that_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(page_by_page_everything_is_seen_once, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_is_meant, setup, teardown),
        cmocka_unit_test_setup_teardown(only_where_it_is_looked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(neither_markers_nor_what_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tier_that_fails_is_told_of_and_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(no_store_thread_no_lower_tiers, setup, teardown),
        cmocka_unit_test_setup_teardown(at_the_end_nothing_more_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(cursors_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cursor_of_nowhere_ends, setup, teardown),
    };

    return cmocka_run_group_tests_name("inventory", tests, NULL, NULL);
}
