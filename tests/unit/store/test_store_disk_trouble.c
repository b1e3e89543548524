/* store_disk: what it does about trouble. Each kind has one row in docs/disk.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_fixture.h"
#include "faulty_vfs.h"
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
    faulty_vfs_let_go();
    faulty_vfs_writes(WRITES_WORK);
    faulty_vfs_fail_reads(0);
    disk_fixture_done(f);
    return 0;
}

static void assert_there(struct disk_fixture *fixture_, unsigned n)
{
    struct blob *b = NULL;

    assert_int_equal(disk_fixture_get(fixture_, n, &b), TIER_OK);
    assert_true(disk_record_is_whole(b, n));
    blob_unref(b);
}

static size_t set_aside(void)
{
    char pattern[256];
    glob_t g;
    size_t n;

    (void)snprintf(pattern, sizeof(pattern), "%s.corrupt-*Z*", f->path);
    n = glob(pattern, 0, NULL, &g) == 0 ? g.gl_pathc : 0;
    for (size_t i = 0; i < g.gl_pathc && n > 0; i++)
        if (strstr(g.gl_pathv[i], "-wal"))
            n--;
    globfree(&g);
    return n;
}

/* -- a disk that hangs -- */

struct asked {
    struct tier_get get;
    bool done;
};

static void on_asked(struct tier_op *op)
{
    CONTAINER_OF(op, struct asked, get.op)->done = true;
}

static void ask(struct asked *a, unsigned n, int64_t deadline_ms)
{
    *a = (struct asked){
        .get = {.op = {.on_done = on_asked, .deadline_ms = deadline_ms}, .label = {.key = disk_key(n)}}};
    f->tier->ops->get(f->port, &a->get);
}

static bool both_are_held(struct disk_fixture *fixture_)
{
    (void)fixture_;
    return faulty_vfs_held() >= 2; /* the writer, too, when its second has come */
}

static void test_a_hanging_disk_is_late_not_waited_for(void **state)
{
    struct asked first, second, third;

    (void)state;
    for (unsigned n = 0; n < 300; n++) /* more than a reader's cache holds */
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 20000}), TIER_OK);
    faulty_vfs_hold_reads();
    ask(&first, 1, 60000);
    ask(&second, 2, 60000);
    disk_fixture_until(f, both_are_held);
    ask(&third, 3, 20);
    disk_fixture_run(f, &third.done);
    assert_int_equal(third.get.op.result, TIER_LATE);
    assert_null(third.get.blob);
    assert_false(first.done);
    faulty_vfs_let_go();
    disk_fixture_run(f, &first.done);
    disk_fixture_run(f, &second.done);
    assert_int_equal(first.get.op.result, TIER_OK);
    assert_true(disk_record_is_whole(first.get.blob, 1));
    blob_unref(first.get.blob);
    blob_unref(second.get.blob);
    assert_there(f, 3);
}

static void test_what_comes_late_is_dropped(void **state)
{
    struct asked a, b, c;

    (void)state;
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    faulty_vfs_hold_reads();
    ask(&a, 1, 10);
    ask(&b, 1, 10);
    disk_fixture_run(f, &a.done);
    disk_fixture_run(f, &b.done);
    assert_int_equal(a.get.op.result, TIER_LATE);
    ask(&c, 1, 60000);
    f->tier->ops->close(f->port); /* with threads that hang, and one question still open */
    assert_true(c.done);
    assert_int_equal(c.get.op.result, TIER_DOWN);
    f->port = f->tier->ops->open(f->tier, f->loop);
    faulty_vfs_let_go();
    assert_there(f, 1);
}

static void test_the_queue_has_a_ceiling(void **state)
{
    enum { MANY = 1100 };
    struct asked *a = calloc(MANY, sizeof(*a));
    unsigned busy = 0, ok = 0;

    (void)state;
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    faulty_vfs_hold_reads();
    for (unsigned i = 0; i < MANY; i++)
        ask(&a[i], 1, 60000);
    faulty_vfs_let_go();
    for (unsigned i = 0; i < MANY; i++) {
        disk_fixture_run(f, &a[i].done);
        busy += a[i].get.op.result == TIER_BUSY;
        ok += a[i].get.op.result == TIER_OK;
        blob_unref(a[i].get.blob);
    }
    assert_int_equal(busy + ok, MANY);
    assert_in_range(ok, 1024, 1026); /* and those in the hands of the readers */
    free(a);
}

/* -- no room -- */

static void test_a_full_disk_is_told_and_left(void **state)
{
    (void)state;
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    faulty_vfs_writes(WRITES_FIND_NO_ROOM);
    assert_int_equal(disk_fixture_put_n(f, 2), TIER_FULL);
    disk_fixture_wait(f, TIER_DEGRADED, "disk full");
    assert_there(f, 1);
    assert_int_equal(disk_fixture_put_n(f, 3), TIER_FULL);
    faulty_vfs_writes(WRITES_WORK);
    disk_fixture_wait(f, TIER_UP, "");
    assert_int_equal(disk_fixture_put_n(f, 4), TIER_OK);
    assert_there(f, 1);
    assert_there(f, 4);
    assert_int_equal(disk_fixture_get(f, 2, NULL), TIER_ABSENT);
}

/* Even the file that is removed for it cannot be made anew for now: nothing is read meanwhile. */
static void test_a_removal_without_room_takes_the_file(void **state)
{
    (void)state;
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    faulty_vfs_writes(WRITES_FIND_NO_ROOM);
    (void)disk_fixture_remove(f, 1, NULL);
    assert_int_not_equal(disk_fixture_get(f, 1, NULL), TIER_OK);
    faulty_vfs_writes(WRITES_WORK);
    disk_fixture_wait(f, TIER_UP, "");
    assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_ABSENT);
    assert_int_equal(disk_fixture_put_n(f, 2), TIER_OK);
    assert_there(f, 2);
}

/* -- errors of the medium -- */

static void test_errors_of_writing(void **state)
{
    (void)state;
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    faulty_vfs_writes(WRITES_FAIL);
    assert_int_equal(disk_fixture_put_n(f, 2), TIER_FAILED);
    disk_fixture_wait(f, TIER_IS_DOWN, "input/output error");
    faulty_vfs_writes(WRITES_WORK);
    disk_fixture_wait(f, TIER_UP, "");
    assert_there(f, 1);
    assert_int_equal(disk_fixture_put_n(f, 2), TIER_OK);
}

static void test_a_removal_is_not_forgotten(void **state)
{
    struct selector all = {.target = 0};
    uint64_t matched;

    (void)state;
    for (unsigned n = 0; n < 10; n++)
        assert_int_equal(disk_fixture_put_n(f, n), TIER_OK);
    faulty_vfs_writes(WRITES_FAIL);
    assert_int_equal(disk_fixture_put_n(f, 20), TIER_FAILED);
    assert_int_not_equal(disk_fixture_remove(f, 1, NULL), TIER_OK);
    assert_int_not_equal(disk_fixture_get(f, 1, NULL), TIER_OK);
    faulty_vfs_writes(WRITES_WORK);
    disk_fixture_wait(f, TIER_UP, "");
    assert_int_equal(disk_fixture_delete_if(f, &all, false, &matched), TIER_OK);
    assert_int_equal(matched, 9); /* the one has gone before */
}

static bool can_be_read(struct disk_fixture *fixture_)
{
    return disk_fixture_get(fixture_, 1, NULL) == TIER_OK;
}

static void test_errors_of_reading(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 300; n++)
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 20000}), TIER_OK);
    faulty_vfs_fail_reads(1);
    assert_int_not_equal(disk_fixture_get(f, 1, NULL), TIER_OK);
    faulty_vfs_fail_reads(0);
    while (!can_be_read(f))
        ;
    assert_int_equal(disk_fixture_stats(f).set_aside, 0);
}

/* -- what may lie where the file should -- */

static void sql(const char *path, const char *text)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void write_at(const char *suffix, off_t at, const void *bytes, size_t len)
{
    char name[256];
    int fd;

    (void)snprintf(name, sizeof(name), "%s%s", f->path, suffix);
    fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    (void)close(fd);
}

static void garbage(void)
{
    write_at("", 0, "this is no database at all, whoever wrote it", 44);
}

static void truncated(void)
{
    assert_int_equal(truncate(f->path, 8192 * 3 + 100), 0);
}

static void empty(void)
{
    assert_int_equal(truncate(f->path, 0), 0);
}

static void all_pages_flipped(void)
{
    struct stat st;

    assert_int_equal(stat(f->path, &st), 0);
    for (off_t at = 8192; at < st.st_size; at += 4096)
        write_at("", at, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16);
}

static void of_a_later_version(void)
{
    sql(f->path, "PRAGMA user_version = 99");
}

static void without_a_table(void)
{
    sql(f->path, "DROP TABLE records");
}

/* A log of another file of the same kind, as a restored backup may find it beside itself. */
static void log_of_another(void)
{
    static struct disk_fixture other;
    char command[512];

    disk_fixture_init(&other);
    disk_fixture_start(&other);
    for (unsigned n = 0; n < 10; n++)
        assert_int_equal(disk_fixture_put_n(&other, n), TIER_OK);
    (void)snprintf(command, sizeof(command), "cp %s-wal %s-wal", other.path, f->path);
    assert_int_equal(system(command), 0); /* NOLINT: of names made here */
    disk_fixture_done(&other);
}

static const struct {
    const char *why;
    void (*spoil)(void);
    bool aside;
} spoilt[] = {
    {"garbage", garbage, true},
    {"truncated", truncated, true},
    {"empty: as if there were none", empty, false},
    {"all pages flipped", all_pages_flipped, true},
    {"of a later version", of_a_later_version, true},
    {"without a table", without_a_table, true},
    {"a log of another file", log_of_another, true},
};

static void fill(void)
{
    for (unsigned n = 0; n < 40; n++)
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 5000}), TIER_OK);
}

static bool is_new(struct disk_fixture *fixture_)
{
    struct tier_stats st = disk_fixture_stats(fixture_);

    (void)disk_fixture_put_n(fixture_, 100); /* whatever finds it out first */
    (void)disk_fixture_get(fixture_, 1, NULL);
    return st.set_aside > 0;
}

static void test_spoilt_files_are_set_aside(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(spoilt); i++) {
        print_message("%s\n", spoilt[i].why);
        fill();
        disk_fixture_stop(f);
        spoilt[i].spoil();
        disk_fixture_start(f);
        if (spoilt[i].aside)
            disk_fixture_until(f, is_new);
        disk_fixture_wait(f, TIER_UP, "");
        assert_int_equal(disk_fixture_put_n(f, 100), TIER_OK);
        assert_there(f, 100);
        assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_ABSENT);
        assert_int_equal(disk_fixture_stats(f).set_aside, spoilt[i].aside);
        assert_in_range(set_aside(), i > 0, 2); /* some are kept, not all */
    }
}

static void test_what_is_spoilt_while_it_is_open(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 600; n++)
        assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 20000}), TIER_OK);
    all_pages_flipped();
    for (unsigned n = 0; n < 600 && disk_fixture_stats(f).set_aside == 0; n++) {
        struct blob *b = NULL;

        if (disk_fixture_get(f, n, &b) == TIER_OK && !disk_record_is_whole(b, n))
            assert_int_not_equal(disk_fixture_remove(f, n, b), TIER_FULL); /* as the store does */
        blob_unref(b);
    }
    disk_fixture_until(f, is_new);
    disk_fixture_wait(f, TIER_UP, "");
    assert_int_equal(disk_fixture_put_n(f, 1000), TIER_OK);
    assert_there(f, 1000);
}

static bool new_file_is_there(struct disk_fixture *fixture_)
{
    struct stat st;

    (void)fixture_;
    return stat(f->path, &st) == 0 && disk_fixture_stats(f).set_aside == 1;
}

static void test_a_file_that_is_taken_away(void **state)
{
    (void)state;
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    assert_int_equal(unlink(f->path), 0);
    disk_fixture_until(f, new_file_is_there);
    disk_fixture_wait(f, TIER_UP, "");
    assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_ABSENT);
    assert_int_equal(disk_fixture_put_n(f, 2), TIER_OK);
    assert_there(f, 2);
}

/* -- what is not ours is left where it is -- */

static void a_directory(void)
{
    assert_int_equal(mkdir(f->path, 0700), 0);
}

static void a_link(void)
{
    assert_int_equal(symlink("/etc/passwd", f->path), 0);
}

static void of_another_program(void)
{
    sql(f->path, "CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)");
}

static const struct {
    const char *what, *why;
    void (*put)(void);
} strangers[] = {
    {"a directory", "not a regular file", a_directory},
    {"a link", "not a regular file", a_link},
    {"another program's database", "not a database of Refrain's", of_another_program},
};

static void test_what_is_not_ours_is_left(void **state)
{
    struct stat before, after;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        print_message("%s\n", strangers[i].what);
        disk_fixture_stop(f);
        (void)unlink(f->path);
        strangers[i].put();
        assert_int_equal(lstat(f->path, &before), 0);
        disk_fixture_start(f);
        disk_fixture_wait(f, TIER_IS_DOWN, strangers[i].why);
        assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_DOWN);
        assert_int_equal(disk_fixture_put_n(f, 1), TIER_DOWN);
        assert_int_equal(lstat(f->path, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        assert_int_equal(remove(f->path), 0);
        disk_fixture_wait(f, TIER_UP, ""); /* by itself */
        assert_int_equal(disk_fixture_put_n(f, 1), TIER_OK);
    }
    disk_fixture_stop(f);
    (void)unlink(f->path);
}

/* -- two on one file -- */

static void test_a_second_one_takes_over(void **state)
{
    static struct disk_fixture second;

    (void)state;
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(disk_fixture_put_n(f, n), TIER_OK);
    second = (struct disk_fixture){.conf = f->conf};
    disk_fixture_start(&second);
    disk_fixture_wait(&second, TIER_IS_DOWN, "in use by another process");
    assert_int_equal(disk_fixture_get(&second, 0, NULL), TIER_DOWN);
    assert_int_equal(disk_fixture_put_n(&second, 7), TIER_DOWN);
    assert_int_equal(disk_fixture_remove(&second, 1, NULL), TIER_DOWN); /* and is made as soon as it can be */
    assert_there(f, 1);
    f->tier->ops->close(f->port);
    tier_free(f->tier);
    loop_free(f->loop);
    f->tier = NULL;
    disk_fixture_wait(&second, TIER_UP, "");
    assert_int_equal(disk_fixture_put_n(&second, 7), TIER_OK);
    assert_there(&second, 0);
    assert_int_equal(disk_fixture_get(&second, 1, NULL), TIER_ABSENT);
    disk_fixture_stop(&second);
}

/* -- a place that cannot be written -- */

static bool mount_at(const char *dir, unsigned long flags)
{
    return mount("none", dir, "tmpfs", flags, flags & MS_REMOUNT ? NULL : "size=20m") == 0;
}

static void test_a_read_only_place(void **state)
{
    (void)state;
    disk_fixture_stop(f);
    if (!mount_at(f->dir, 0)) {
        print_message("may not mount\n");
        skip();
    }
    f->conf.bytes_max = DISK_BYTES_MIN;
    disk_fixture_start(f);
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(disk_fixture_put_n(f, n), TIER_OK);
    disk_fixture_stop(f);
    assert_true(mount_at(f->dir, MS_REMOUNT | MS_RDONLY));
    disk_fixture_start(f);
    disk_fixture_wait(f, TIER_DEGRADED, "read-only");
    assert_there(f, 1);
    assert_int_equal(disk_fixture_put_n(f, 9), TIER_REFUSED);
    assert_there(f, 1);
    assert_int_equal(disk_fixture_remove(f, 1, NULL), TIER_REFUSED);
    assert_int_equal(disk_fixture_get(f, 2, NULL), TIER_DOWN); /* nothing is read until that is made */
    assert_true(mount_at(f->dir, MS_REMOUNT));
    disk_fixture_wait(f, TIER_UP, "");
    assert_int_equal(disk_fixture_put_n(f, 9), TIER_OK);
    assert_int_equal(disk_fixture_get(f, 1, NULL), TIER_ABSENT);
    assert_there(f, 2);
    disk_fixture_stop(f);
    assert_int_equal(umount(f->dir), 0);
}

static void test_a_place_becomes_read_only(void **state)
{
    (void)state;
    disk_fixture_stop(f);
    if (!mount_at(f->dir, 0)) {
        print_message("may not mount\n");
        skip();
    }
    f->conf.bytes_max = DISK_BYTES_MIN;
    disk_fixture_start(f);
    disk_fixture_stop(f);
    assert_true(mount_at(f->dir, MS_REMOUNT | MS_RDONLY));
    assert_int_equal(umount(f->dir), 0);
    assert_true(mount_at(f->dir, MS_RDONLY));
    disk_fixture_start(f);
    disk_fixture_wait(f, TIER_IS_DOWN, "read-only, and nothing");
    assert_int_equal(disk_fixture_put_n(f, 1), TIER_DOWN);
    disk_fixture_stop(f);
    assert_int_equal(umount(f->dir), 0);
}

/* The real thing: a small file system, filled, by us and by somebody else. */
static void test_a_small_file_system(void **state)
{
    char other[256];
    unsigned ok = 0;
    int fd;

    (void)state;
    disk_fixture_stop(f);
    if (!mount_at(f->dir, 0)) {
        print_message("may not mount\n");
        skip();
    }
    disk_fixture_start(f);
    for (unsigned n = 0; n < 1000; n++) /* 30 MB: what is new takes the place of what is old */
        ok += disk_fixture_put(f, &(struct disk_case){.n = n, .bytes = 30000}) == TIER_OK;
    assert_in_range(ok, 900, 1000);
    disk_fixture_wait(f, TIER_DEGRADED, "disk full");
    assert_in_range(disk_fixture_stats(f).errors[TIER_FULL], 1, 1000);
    assert_there(f, 999);
    assert_int_equal(disk_fixture_get(f, 0, NULL), TIER_ABSENT);
    (void)snprintf(other, sizeof(other), "%s/other", f->dir);
    fd = open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    while (write(fd, other, 1) == 1)
        ;
    (void)close(fd);
    assert_int_equal(disk_fixture_remove(f, 999, NULL), TIER_OK); /* with not one byte free */
    assert_there(f, 998);
    assert_true(mount("none", f->dir, "tmpfs", MS_REMOUNT, "size=60m") == 0);
    disk_fixture_wait(f, TIER_UP, "");
    assert_int_equal(disk_fixture_put(f, &(struct disk_case){.n = 2000, .bytes = 30000}), TIER_OK);
    assert_there(f, 998);
    disk_fixture_stop(f);
    assert_int_equal(umount(f->dir), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_hanging_disk_is_late_not_waited_for),
        TEST(test_what_comes_late_is_dropped),
        TEST(test_the_queue_has_a_ceiling),
        TEST(test_a_full_disk_is_told_and_left),
        TEST(test_a_removal_without_room_takes_the_file),
        TEST(test_errors_of_writing),
        TEST(test_a_removal_is_not_forgotten),
        TEST(test_errors_of_reading),
        TEST(test_spoilt_files_are_set_aside),
        TEST(test_what_is_spoilt_while_it_is_open),
        TEST(test_a_file_that_is_taken_away),
        TEST(test_what_is_not_ours_is_left),
        TEST(test_a_second_one_takes_over),
        TEST(test_a_read_only_place),
        TEST(test_a_place_becomes_read_only),
        TEST(test_a_small_file_system),
    };

    faulty_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
