/* ledger: what is set outlives its process, is nobody else's, and odd files are put aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger_line.h"
#include "owed.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/clock.h"

static char dir[64], path[96];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/refrain-ledger-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof(path), "%s/owed", dir);
    return 0;
}

static int teardown(void **state)
{
    static const char *const suffixes[] = {"1", "1.lock", "1.odd", "2", "2.lock", "3", "3.lock"};
    char name[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        (void)snprintf(name, sizeof(name), "%s.%s", path, suffixes[i]);
        (void)unlink(name);
    }
    return rmdir(dir);
}

static struct ledger *opened(struct ledger_found *found)
{
    int r;
    struct ledger *l = ledger_open(path, found, &r);

    assert_non_null(l);
    assert_int_equal(r, 0);
    return l;
}

static bool exists(const char *suffix, struct stat *out)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%s.%s", path, suffix);
    return lstat(name, out) == 0;
}

static void add_line(void *arg, struct slice line)
{
    struct buf *out = arg;

    assert_int_equal(buf_add_slice(out, line), 0);
    assert_int_equal(buf_add_byte(out, '\n'), 0);
}

static void reads(struct ledger *l, enum ledger_part part, const char *expected)
{
    AUTO(buf_done) struct buf got = BUF_INIT(1 << 20);

    ledger_read(l, part, add_line, &got);
    assert_int_equal(got.len, strlen(expected));
    if (got.len > 0)
        assert_memory_equal(got.data, expected, got.len);
}

static void what_is_set_is_found_again(void **state)
{
    struct ledger_found found;
    struct ledger *l = opened(&found);
    struct stat st;

    (void)state;
    assert_int_equal(found.lines, 0);
    ledger_set(l, LEDGER_INVALIDATIONS, SLICE_OF("redis 1 {}\nredis 2 {}\n"));
    ledger_set(l, LEDGER_UNTOLD, SLICE_OF("log {}\n"));
    assert_int_equal(ledger_write(l), 0);
    assert_true(exists("1", &st));
    assert_int_equal(st.st_mode & 0777, 0600);
    ledger_free(l);
    l = opened(&found);
    assert_int_equal(found.lines, 3);
    reads(l, LEDGER_INVALIDATIONS, "redis 1 {}\nredis 2 {}\n");
    reads(l, LEDGER_DELETIONS, "");
    reads(l, LEDGER_UNTOLD, "log {}\n");
    ledger_set(l, LEDGER_INVALIDATIONS, SLICE_OF(""));
    ledger_set(l, LEDGER_UNTOLD, SLICE_OF(""));
    assert_int_equal(ledger_write(l), 0);
    assert_false(exists("1", &st)); /* nothing is owed any more */
    ledger_free(l);
}

static void each_process_has_its_own_and_takes_over_what_others_left(void **state)
{
    struct ledger_found found;
    struct ledger *one = opened(&found), *two = opened(&found);
    struct stat st;

    (void)state;
    ledger_set(one, LEDGER_INVALIDATIONS, SLICE_OF("redis 1 {}\n"));
    ledger_set(two, LEDGER_INVALIDATIONS, SLICE_OF("disk 2 {}\n"));
    ledger_free(one);
    ledger_free(two);
    one = opened(&found);
    assert_int_equal(found.lines, 2);
    reads(one, LEDGER_INVALIDATIONS, "redis 1 {}\ndisk 2 {}\n");
    assert_false(exists("2", &st));
    two = opened(&found);
    assert_int_equal(found.lines, 0);
    ledger_free(two);
    ledger_free(one);
    one = opened(&found);
    assert_int_equal(found.lines, 2); /* whoever took it over had it in its own file first */
    ledger_free(one);
}

static void what_is_no_file_of_ours_is_set_aside(void **state)
{
    static const struct {
        const char *why, *text;
    } rows[] = {
        {"empty", ""},
        {"something else", "hello\n"},
        {"a later version", "refrain ledger 2\nend 0\n"},
        {"no end", "refrain ledger 1\ninvalidation redis 1 {}\n"},
        {"torn", "refrain ledger 1\ninvalidation redis 1 {}\nend"},
        {"another count", "refrain ledger 1\ninvalidation redis 1 {}\nend 2\n"},
        {"unknown part", "refrain ledger 1\nrumour redis 1 {}\nend 1\n"},
        {"more behind the end", "refrain ledger 1\nend 0\nend 0\n"},
    };
    char name[128];
    struct ledger_found found;
    struct stat st;

    (void)state;
    (void)snprintf(name, sizeof(name), "%s.1", path);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        FILE *f = fopen(name, "w");

        assert_non_null(f);
        (void)fputs(rows[i].text, f);
        (void)fclose(f);
        ledger_free(opened(&found));
        if (found.set_aside != 1 || found.lines != 0 || exists("1", &st) || !exists("1.odd", &st))
            fail_msg("%s: is taken", rows[i].why);
    }
    assert_int_equal(mkdir(name, 0700), 0);
    ledger_free(opened(&found));
    assert_int_equal(found.set_aside, 0); /* a folder does not take the place of a file */
    (void)rmdir(name);
}

static void lines_are_judged_as_a_whole(void **state)
{
    static const struct {
        const char *why, *line;
    } rows[] = {
        {"nothing", ""},
        {"no time", "redis"},
        {"no number", "redis x {}"},
        {"negative", "redis -1 {}"},
        {"no message", "redis 1 {}"},
        {"another kind", "redis 1 {\"v\":1,\"type\":\"TARGET\",\"source\":\"0000000000000000\",\"at\":1,"
                         "\"sum\":\"00000000000000ff\"}"},
    };
    AUTO(buf_done) struct buf line = BUF_INIT(1 << 16);
    struct selector which = {.tag = SLICE("red\n\"hot\" %"), .created_before_ms = 17, .target = 5};
    struct instances_msg m;
    struct slice tier;
    int64_t seq, future = clock_wall_ms() * 1000 + INT64_C(3600) * 1000 * 1000;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (ledger_line_read(slice_str(rows[i].line), &tier, &seq, &m))
            fail_msg("%s: is read", rows[i].why);
    assert_int_equal(ledger_line_add(&line, "redis", 123, &which), 0);
    assert_null(memchr(line.data, '\n', line.len - 1));
    assert_true(ledger_line_read(slice_make(line.data, line.len - 1), &tier, &seq, &m));
    assert_true(slice_eq(tier, SLICE_OF("redis")));
    assert_int_equal(seq, 123);
    assert_true(selector_eq(&m.which, &which));
    buf_clear(&line);
    assert_int_equal(ledger_line_add(&line, "redis", future, &which), 0);
    assert_true(ledger_line_read(slice_make(line.data, line.len - 1), &tier, &seq, &m));
    assert_true(seq < future); /* it would hold back all that is to come */
}

/* -- owed.h, over it -- */

static struct label label_for(unsigned n)
{
    char text[16];

    return (struct label){.key = sha256_of(slice_make(text, (size_t)snprintf(text, sizeof(text), "%u", n))),
                          .namespace_ = SLICE("default"),
                          .operation = SLICE("chat"),
                          .model = SLICE("gpt-4o")};
}

static const struct tier_ops redis_ops = {.name = "redis", .kind = TIER_REDIS};
static struct tier redis = {&redis_ops};

static struct owed *owed_over(struct ledger *l)
{
    struct tier *lower[] = {&redis};
    struct owed *o = owed_new(l, lower, 1);

    assert_non_null(o);
    return o;
}

static void a_deletion_is_owed_until_it_is_made(void **state)
{
    struct ledger_found found;
    struct ledger *l = opened(&found);
    struct owed *o = owed_over(l);
    struct label one = label_for(1), two = label_for(2);
    struct owed_one next;

    (void)state;
    assert_false(owed_any(o, 0));
    owed_add(o, &one, 1);
    owed_free(o); /* it ends … */
    ledger_free(l);
    l = opened(&found);
    o = owed_over(l); /* … and begins again */
    assert_true(owed_has(o, &one.key, 0) && !owed_has(o, &two.key, 0));
    assert_true(owed_next(o, 0, &next));
    assert_true(digest_eq(&next.label.key, &one.key) && slice_eq(next.label.model, one.model));
    assert_false(owed_next(o, 0, &next)); /* not again at once */
    owed_done(o, &one.key, 1, 5);
    assert_true(owed_has(o, &one.key, 0)); /* what was written had begun before it was deleted */
    owed_done(o, &one.key, 1, INT64_MAX);
    assert_false(owed_has(o, &one.key, 0) || owed_any(o, 0));
    owed_free(o);
    reads(l, LEDGER_DELETIONS, "");
    ledger_free(l);
}

static void past_its_bound_it_is_coarser_and_nothing_is_lost(void **state)
{
    struct ledger_found found;
    struct ledger *l = opened(&found);
    struct owed *o = owed_over(l);
    int64_t before = clock_wall_ms() * 1000 - 1000;

    (void)state;
    for (unsigned i = 0; i < OWED_MAX; i++) {
        struct label one = label_for(i);

        owed_add(o, &one, 1);
    }
    assert_false(owed_means(o, 0, before));
    for (unsigned i = OWED_MAX; i < OWED_MAX + 1; i++) {
        struct label one = label_for(i);

        owed_add(o, &one, 1);
    }
    assert_true(owed_means(o, 0, before)); /* whatever the key */
    assert_false(owed_means(o, 0, clock_wall_ms() * 1000 + INT64_C(1000) * 1000));
    owed_free(o);
    ledger_free(l);
    l = opened(&found);
    assert_int_equal(found.lines, 1);
    o = owed_over(l);
    assert_true(owed_means(o, 0, before) && owed_any(o, 0));
    owed_free(o);
    ledger_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_set_is_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(each_process_has_its_own_and_takes_over_what_others_left, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_no_file_of_ours_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_are_judged_as_a_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deletion_is_owed_until_it_is_made, setup, teardown),
        cmocka_unit_test_setup_teardown(past_its_bound_it_is_coarser_and_nothing_is_lost, setup, teardown),
    };

    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
