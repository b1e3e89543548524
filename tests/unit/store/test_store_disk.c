/* store_disk: what is put is got, until it is gone; bounds, order, steps. Trouble: test_store_disk_trouble.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk_fixture.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

static struct disk_fixture fixture, *const f = &fixture;

static int set_up(void **state)
{
    (void)state;
    disk_fixture_init(f);
    disk_fixture_start(f);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    disk_fixture_done(f);
    return 0;
}

static void restart(void)
{
    disk_fixture_stop(f);
    disk_fixture_start(f);
}

static void assert_there(unsigned n, size_t bytes)
{
    struct blob *b = NULL;

    assert_int_equal(disk_fixture_get(f, n, &b), TIER_OK);
    assert_true(disk_record_is_whole(b, n));
    assert_int_equal(b->len, bytes);
    blob_unref(b);
}

static void test_put_is_got(void **state)
{
    static const size_t sizes[] = {24, 1500, 8100, 8192, 60000, 3000000};

    (void)state;
    assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_ABSENT);
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = i, .bytes = sizes[i]}), TIER_OK);
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
        assert_there(i, sizes[i]);
    restart();
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
        assert_there(i, sizes[i]);
    assert_int_equal(disk_fixture_stats(f).entries, ARRAY_LEN(sizes));
}

static void test_put_replaces(void **state)
{
    struct tier_stats st;

    (void)state;
    assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = 1, .bytes = 100, .tags = "a,b"}), TIER_OK);
    assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = 1, .bytes = 70000, .tags = "b,c"}),
                     TIER_OK);
    assert_there(1, 70000);
    st = disk_fixture_stats(f);
    assert_int_equal(st.entries, 1);
    assert_int_equal(st.replaced, 1);
}

static const struct {
    const char *why;
    bool only_newer;
    int64_t there, comes;
    bool replaces;
} orders[] = {
    {"later", true, 5, 6, true},
    {"the same", true, 5, 5, true},
    {"earlier", true, 5, 4, false},
    {"earlier, and nobody asks", false, 5, 4, true},
};

static void test_only_newer(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        struct disk_case there = {.n = i, .seq = orders[i].there, .bytes = 100};
        struct disk_case comes = {
            .n = i, .seq = orders[i].comes, .bytes = 200, .only_newer = orders[i].only_newer};

        print_message("%s\n", orders[i].why);
        assert_int_equal(disk_fixture_put(f, &there), TIER_OK);
        assert_int_equal(disk_fixture_put(f, &comes), TIER_OK);
        assert_there(i, orders[i].replaces ? 200 : 100);
    }
}

static bool one_expired(struct disk_fixture *fixture_)
{
    return disk_fixture_stats(fixture_).expired == 1;
}

static void test_gone_is_absent_and_swept(void **state)
{
    int64_t now_ms = clock_wall_ms();

    (void)state;
    assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = 1, .gone_ms = now_ms - 1}), TIER_OK);
    assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = 2, .gone_ms = now_ms + 3600000}), TIER_OK);
    assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_ABSENT);
    assert_there(2, 1500);
    disk_fixture_until(f, one_expired);
    assert_int_equal(disk_fixture_stats(f).entries, 1);
}

static void test_remove(void **state)
{
    struct blob *other = disk_record(1, 9, 1500), *same = disk_record(1, 0, 1500);

    (void)state;
    assert_int_equal(disk_fixture_remove(f, 1, NULL), TIER_ABSENT);
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    assert_int_equal(disk_fixture_remove(f, 1, other), TIER_ABSENT);
    assert_there(1, 1500);
    assert_int_equal(disk_fixture_remove(f, 1, same), TIER_OK);
    assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_ABSENT);
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    assert_int_equal(disk_fixture_remove(f, 1, NULL), TIER_OK);
    assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_ABSENT);
    assert_int_equal(disk_fixture_stats(f).entries, 0);
    blob_unref(other);
    blob_unref(same);
}

/* -- selectors: each way into the file, and what is left to be judged by the selector itself -- */

static const struct disk_case labelled[] = {
    {.n = 0, .namespace_ = "a", .operation = "chat", .model = "gpt-4o", .tags = "red", .created_ms = 100},
    {.n = 1,
     .namespace_ = "a",
     .operation = "chat",
     .model = "gpt-4o-mini",
     .tags = "red,blue",
     .created_ms = 200},
    {.n = 2, .namespace_ = "b", .operation = "read", .model = "", .target = UINT64_MAX, .created_ms = 300},
    {.n = 3,
     .namespace_ = "b",
     .operation = "read",
     .model = "",
     .target = 7,
     .tags = "blue",
     .created_ms = 400},
    {.n = 4,
     .namespace_ = "c",
     .operation = "embedding",
     .model = "a,b\xff",
     .tags = "red,red",
     .created_ms = 500},
};

static const struct {
    const char *why;
    struct selector which;
    unsigned matches; /* a bit each */
} selections[] = {
    {"all", {.id = {NULL, 0}}, 0x1f},
    {"id", {.id = SLICE("0000000000000003")}, 0x08},
    {"no such id", {.id = SLICE("0000000000000009")}, 0},
    {"tag", {.tag = SLICE("red")}, 0x13},
    {"tag is whole", {.tag = SLICE("re")}, 0},
    {"namespace", {.namespace_ = SLICE("b")}, 0x0c},
    {"operation", {.operation = SLICE("chat")}, 0x03},
    {"target", {.target = 7}, 0x08},
    {"the largest target", {.target = UINT64_MAX}, 0x04},
    {"model is a glob", {.model = SLICE("gpt-4o*")}, 0x03},
    {"pattern", {.pattern = SLICE("b:*")}, 0x0c},
    {"age", {.created_before_ms = 300}, 0x03},
    {"tag and namespace", {.tag = SLICE("blue"), .namespace_ = SLICE("a")}, 0x02},
    {"namespace and age", {.namespace_ = SLICE("b"), .created_before_ms = 400}, 0x04},
};

static void put_labelled(void)
{
    for (size_t i = 0; i < ARRAY_LEN(labelled); i++)
        assert_int_equal(disk_fixture_put(f, &labelled[i]), TIER_OK);
}

static unsigned bits(unsigned set)
{
    return (unsigned)__builtin_popcount(set);
}

static void test_selectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(selections); i++) {
        uint64_t matched = 99;

        print_message("%s\n", selections[i].why);
        put_labelled();
        assert_int_equal(disk_fixture_scan(f, &selections[i].which, true, 2), TIER_OK);
        assert_int_equal(f->items, bits(selections[i].matches));
        assert_int_equal(disk_fixture_delete_if(f, &selections[i].which, true, &matched), TIER_OK);
        assert_int_equal(matched, bits(selections[i].matches));
        assert_int_equal(disk_fixture_stats(f).entries, ARRAY_LEN(labelled));
        assert_int_equal(disk_fixture_delete_if(f, &selections[i].which, false, &matched), TIER_OK);
        assert_int_equal(matched, bits(selections[i].matches));
        assert_int_equal(f->matched, matched);
        for (unsigned n = 0; n < ARRAY_LEN(labelled); n++)
            assert_int_equal(disk_fixture_get(f, n, NULL),
                             selections[i].matches >> n & 1 ? TIER_ABSENT : TIER_OK);
    }
}

static void test_many_are_removed_in_steps(void **state)
{
    struct selector which = {.namespace_ = SLICE("many")};
    uint64_t matched = 0;

    (void)state;
    for (unsigned n = 0; n < 500; n++)
        assert_int_equal(
            disk_fixture_put(
                f, &(struct disk_case){.n = n, .namespace_ = n % 5 ? "many" : "few", .tags = "x,y"}),
            TIER_OK);
    assert_int_equal(disk_fixture_scan(f, NULL, false, 0), TIER_OK);
    assert_int_equal(f->items, 500);
    assert_int_equal(disk_fixture_delete_if(f, &which, false, &matched), TIER_OK);
    assert_int_equal(matched, 400);
    assert_int_equal(f->matched, 400);
    assert_int_equal(disk_fixture_stats(f).entries, 100);
}

static void test_families_are_matched_but_not_counted(void **state)
{
    struct selector all = {.target = 0};
    uint64_t matched = 0;

    (void)state;
    assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = 1, .family = true}), TIER_OK);
    assert_int_equal(disk_fixture_put_n(f, 2), TIER_OK);
    assert_int_equal(disk_fixture_delete_if(f, &all, false, &matched), TIER_OK);
    assert_int_equal(matched, 1);
    assert_int_equal(f->matched, 2);
}

/* -- the bound -- */

static uint64_t file_bytes(const char *suffix)
{
    char name[256];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%s%s", f->path, suffix);
    return stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void test_the_file_keeps_its_bound(void **state)
{
    struct tier_stats st;

    (void)state;
    disk_fixture_stop(f);
    f->conf.bytes_max = DISK_BYTES_MIN;
    disk_fixture_start(f);
    for (unsigned n = 0; n < 1200; n++) {
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 1000 + n % 50 * 1000}),
                         TIER_OK);
        if (n >= 20)
            assert_int_not_equal(disk_fixture_get(f, 0, NULL), TIER_FAILED);
        assert_in_range(file_bytes("") + file_bytes("-wal"), 1, DISK_BYTES_MIN);
    }
    st = disk_fixture_stats(f);
    assert_in_range(st.evicted_space, 100, 1200);
    assert_in_range(st.entries, 300, 1100);
    assert_int_equal(disk_fixture_get(f, 1199, NULL), TIER_OK);
    assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_ABSENT);
}

static void test_too_large_is_refused(void **state)
{
    (void)state;
    disk_fixture_stop(f);
    f->conf.bytes_max = DISK_BYTES_MIN;
    disk_fixture_start(f);
    assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = 1, .bytes = (1 << 20) + 1}), TIER_REFUSED);
    assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = 1, .bytes = 1 << 20}), TIER_OK);
    assert_there(1, 1 << 20);
}

static void test_nobody_else_may_read_it(void **state)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    char name[256];
    struct stat st;

    (void)state;
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", f->path, suffixes[i]);
        assert_int_equal(stat(name, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static bool shrank(struct disk_fixture *fixture_)
{
    return disk_fixture_stats(fixture_).bytes < 12 << 20;
}

static void test_what_is_freed_is_given_back(void **state)
{
    struct selector all = {.target = 0};
    uint64_t matched;

    (void)state;
    for (unsigned n = 0; n < 40; n++)
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 500000}), TIER_OK);
    assert_int_equal(disk_fixture_delete_if(f, &all, false, &matched), TIER_OK);
    disk_fixture_until(f, shrank);
}

static bool is_within_the_least(struct disk_fixture *fixture_)
{
    (void)fixture_;
    return file_bytes("") + file_bytes("-wal") <= DISK_BYTES_MIN;
}

static void test_a_smaller_bound_is_kept_after_a_restart(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 80; n++)
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 400000}), TIER_OK);
    disk_fixture_stop(f);
    f->conf.bytes_max = DISK_BYTES_MIN;
    disk_fixture_start(f);
    assert_int_equal(disk_fixture_put_n(f, 100), TIER_OK);
    assert_there(100, 1500);
    disk_fixture_until(f, is_within_the_least);
    assert_there(79, 400000);
}

/* The third is the last in the order of use. */
static bool moved_up(struct disk_fixture *fixture_)
{
    static const char question[] =
        "SELECT n = 4 FROM entries ORDER BY used DESC LIMIT 1"; /* rows begin at 1 */
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    bool is = sqlite3_open_v2(fixture_->path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(db, question, -1, &st, NULL) == SQLITE_OK &&
              sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 0) == 1;

    (void)sqlite3_finalize(st);
    (void)sqlite3_close(db);
    return is;
}

static void test_what_is_read_stays(void **state)
{
    (void)state;
    disk_fixture_stop(f);
    f->conf.bytes_max = DISK_BYTES_MIN;
    disk_fixture_start(f);
    for (unsigned n = 0; n < 20; n++)
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 400000}), TIER_OK);
    assert_there(3, 400000);
    disk_fixture_until(f, moved_up);
    for (unsigned n = 20; n < 45; n++)
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 400000}), TIER_OK);
    assert_there(3, 400000);
    assert_int_equal(disk_fixture_get(f, 2, NULL), TIER_ABSENT);
    assert_int_equal(disk_fixture_get(f, 4, NULL), TIER_ABSENT);
}

/* -- values by name -- */

static void test_meta(void **state)
{
    static const char long_name[DISK_META_NAME_MAX + 2] =
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
    struct blob *b = NULL;
    char name[16];

    (void)state;
    assert_int_equal(disk_fixture_meta_get(f, "seen", &b), TIER_ABSENT);
    assert_int_equal(disk_fixture_meta_put(f, "seen", "17-0"), TIER_OK);
    assert_int_equal(disk_fixture_meta_put(f, "seen", "18-0"), TIER_OK);
    assert_int_equal(disk_fixture_meta_put(f, long_name, "x"), TIER_REFUSED);
    restart();
    assert_int_equal(disk_fixture_meta_get(f, "seen", &b), TIER_OK);
    assert_true(slice_eq(blob_slice(b), slice_str("18-0")));
    blob_unref(b);
    for (int i = 1; i < DISK_META_VALUES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "v%d", i);
        assert_int_equal(disk_fixture_meta_put(f, name, ""), TIER_OK);
    }
    assert_int_equal(disk_fixture_meta_put(f, "one more", ""), TIER_REFUSED);
    assert_int_equal(disk_fixture_meta_put(f, "v1", "an old one"), TIER_OK);
}

/* -- questions that are let down -- */

struct ask {
    struct tier_get get;
    bool done;
};

static void on_asked(struct tier_op *op)
{
    struct ask *a = CONTAINER_OF(op, struct ask, get.op);

    a->done = true;
    blob_unref(a->get.blob);
    a->get.blob = NULL;
}

static void test_closing_answers_all(void **state)
{
    static struct ask asks[50];
    struct loop *loop = loop_new();
    struct tier_port *p = f->tier->ops->open(f->tier, loop);

    (void)state;
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        asks[i] = (struct ask){.get = {.op = {.on_done = on_asked}, .label = {.key = disk_key(1)}}};
        f->tier->ops->get(p, &asks[i].get);
        assert_false(asks[i].done); /* never within the call */
    }
    f->tier->ops->close(p);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        assert_true(asks[i].done);
    loop_free(loop);
}

struct queued {
    struct tier_put put;
    bool done;
};

static void on_queued(struct tier_op *op)
{
    CONTAINER_OF(op, struct queued, put.op)->done = true;
}

static void test_what_is_queued_at_the_end_is_written(void **state)
{
    static struct queued puts[40];

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(puts); i++) {
        puts[i].put = (struct tier_put){
            .op = {.on_done = on_queued},
            .item = {.label = {.key = disk_key(i)}, .gone_ms = INT64_MAX},
            .blob = disk_record(i, 0, 5000),
        };
        f->tier->ops->put(f->port, &puts[i].put);
    }
    restart();
    for (unsigned i = 0; i < ARRAY_LEN(puts); i++) {
        assert_true(puts[i].done);
        blob_unref(puts[i].put.blob);
        assert_there(i, 5000);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_put_is_got),
        TEST(test_put_replaces),
        TEST(test_only_newer),
        TEST(test_gone_is_absent_and_swept),
        TEST(test_remove),
        TEST(test_selectors),
        TEST(test_many_are_removed_in_steps),
        TEST(test_families_are_matched_but_not_counted),
        TEST(test_the_file_keeps_its_bound),
        TEST(test_nobody_else_may_read_it),
        TEST(test_too_large_is_refused),
        TEST(test_what_is_freed_is_given_back),
        TEST(test_a_smaller_bound_is_kept_after_a_restart),
        TEST(test_what_is_read_stays),
        TEST(test_meta),
        TEST(test_closing_answers_all),
        TEST(test_what_is_queued_at_the_end_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
