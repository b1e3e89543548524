/*
 * stress_disk - kill -9 at random moments. A child process puts and removes as fast as it can, and tells its
 * parent of each acknowledgement; the parent kills it, opens the file itself and holds it to what was
 * acknowledged: no put lost, no removal undone, nothing torn, the file sound.
 *
 *   stress_disk ROUNDS [MIB]    with a bound of so many MiB, in which not all fits: then a put may have been
 * evicted
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk_fixture.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

enum { KEYS = 3000, KEPT = 2500 /* those beyond are removed again */, AT_ONCE = 64, BYTES_MAX = 60000 };

/* What the child tells: the last it was acknowledged for a key. */
struct told {
    unsigned n;
    bool removed;
    int64_t seq;
};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "stress_disk: %s\n", what);
    exit(1);
}

/* -- the child -- */

struct child;
struct task {
    struct child *child;
    struct told what;
    struct tier_put put;
    struct tier_delete remove;
};
struct child {
    struct disk_fixture *f;
    int pipe;
    unsigned seed;
    int64_t seq;
    struct task tasks[AT_ONCE];
};

static void begin(struct task *t);

static void tell(struct task *t, enum tier_result r)
{
    if (r == TIER_OK)
        must(write(t->child->pipe, &t->what, sizeof(t->what)) == sizeof(t->what), "the parent is gone");
}

static void on_removed(struct tier_op *op)
{
    struct task *t = CONTAINER_OF(op, struct task, remove.op);

    tell(t, op->result);
    begin(t);
}

static void on_put(struct tier_op *op)
{
    struct task *t = CONTAINER_OF(op, struct task, put.op);

    blob_unref(t->put.blob);
    tell(t, op->result);
    if (t->what.n < KEPT || op->result != TIER_OK) {
        begin(t);
        return;
    }
    t->what.removed = true;
    t->remove = (struct tier_delete){.op = {.on_done = on_removed}, .label = {.key = disk_key(t->what.n)}};
    t->child->f->tier->ops->remove(t->child->f->port, &t->remove);
}

/* Each task has keys of its own, so that what is told of one key is told in order. */
static void begin(struct task *t)
{
    struct child *c = t->child;
    unsigned slot = (unsigned)(t - c->tasks), draw = (unsigned)rand_r(&c->seed);

    t->what = (struct told){draw % (KEYS / AT_ONCE) * AT_ONCE + slot, false, ++c->seq};
    t->put = (struct tier_put){
        .op = {.on_done = on_put},
        .item = {.label = {.key = disk_key(t->what.n), .tags = SLICE("a,b"), .started_seq = t->what.seq},
                 .gone_ms = INT64_MAX},
        .blob = disk_record(t->what.n, t->what.seq, draw % 8 ? draw % 3000 : draw % BYTES_MAX),
        .only_newer = true,
    };
    c->f->tier->ops->put(c->f->port, &t->put);
}

static void be_child(struct disk_fixture *f, int fd, int64_t seq, unsigned seed)
{
    struct child *c = calloc(1, sizeof(*c));

    must(c != NULL, "out of memory");
    *c = (struct child){.f = f, .pipe = fd, .seed = seed, .seq = seq};
    disk_fixture_start(f);
    for (size_t i = 0; i < AT_ONCE; i++) {
        c->tasks[i].child = c;
        begin(&c->tasks[i]);
    }
    loop_run(f->loop); /* until it is killed */
    _exit(1);
}

/* -- the parent -- */

struct journal {
    struct told last[KEYS];
    int64_t seq_max;
    uint64_t told;
};

static bool hear(struct journal *j, int fd)
{
    struct told t;
    ssize_t n = read(fd, &t, sizeof(t));

    if (n != sizeof(t))
        return false;
    must(t.n < KEYS, "nonsense from the child");
    j->last[t.n] = t;
    j->seq_max = t.seq > j->seq_max ? t.seq : j->seq_max;
    j->told++;
    return true;
}

static void run_and_kill(struct disk_fixture *f, struct journal *j, unsigned *seed)
{
    int64_t until_ms = clock_mono_ms() + 30 + rand_r(seed) % 700;
    int fds[2];
    pid_t pid;

    must(pipe(fds) == 0, "no pipe");
    pid = fork();
    must(pid >= 0, "no process");
    if (pid == 0)
        be_child(f, fds[1], j->seq_max + 100000, *seed);
    (void)close(fds[1]);
    for (int64_t left; (left = until_ms - clock_mono_ms()) > 0;) {
        struct pollfd p = {.fd = fds[0], .events = POLLIN};

        if (poll(&p, 1, (int)left) == 1 && !hear(j, fds[0]))
            break;
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    while (hear(j, fds[0])) /* what was told before */
        ;
    (void)close(fds[0]);
}

static void check_key(struct disk_fixture *f, const struct told *t, unsigned n, bool evicts)
{
    struct blob *b = NULL;
    enum tier_result r = disk_fixture_get(f, n, &b);
    int64_t seq;

    must(r == TIER_OK || r == TIER_ABSENT, "it cannot be read");
    must(r == TIER_ABSENT || disk_record_is_whole(b, n), "a torn record");
    seq = b ? disk_record_seq(b) : 0;
    blob_unref(b);
    if (t->seq == 0)
        return; /* nothing was acknowledged */
    if (t->removed)
        must(r == TIER_ABSENT || seq > t->seq, "a removal was undone");
    else if (n < KEPT)
        must(r == TIER_OK ? seq >= t->seq : evicts, "a put was lost");
}

static void check_file(const char *path)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;

    must(sqlite3_open(path, &db) == SQLITE_OK, "the file cannot be opened");
    must(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL) == SQLITE_OK &&
             sqlite3_step(st) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(st, 0), "ok") == 0,
         "the file is not sound");
    (void)sqlite3_finalize(st);
    must(sqlite3_prepare_v2(db,
                            "SELECT (SELECT count(*) FROM entries) - (SELECT count(*) FROM records),"
                            " (SELECT count(*) FROM entries) * 2 - (SELECT count(*) FROM tags),"
                            " (SELECT count(*) FROM entries) - (SELECT entries FROM file)",
                            -1, &st, NULL) == SQLITE_OK &&
             sqlite3_step(st) == SQLITE_ROW,
         "it has not its tables");
    for (int i = 0; i < 3; i++)
        must(sqlite3_column_int64(st, i) == 0, "its tables do not agree");
    (void)sqlite3_finalize(st);
    (void)sqlite3_close(db);
}

int main(int argc, char **argv)
{
    static struct disk_fixture f;
    static struct journal j;
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5, seed = (unsigned)getpid();

    disk_fixture_init(&f);
    f.conf.bytes_max = (argc > 2 ? strtoull(argv[2], NULL, 10) : 256) << 20;
    printf("seed %u\n", seed);
    for (unsigned round = 0; round < rounds; round++) {
        run_and_kill(&f, &j, &seed);
        disk_fixture_start(&f);
        for (unsigned n = 0; n < KEYS; n++)
            check_key(&f, &j.last[n], n, argc > 2);
        must(disk_fixture_stats(&f).set_aside == 0, "the file was set aside");
        disk_fixture_stop(&f);
        check_file(f.path);
    }
    printf("%u kills, %" PRIu64 " acknowledged, none lost, none torn\n", rounds, j.told);
    disk_fixture_done(&f);
    return 0;
}
