/*
 * bench_store_disk - the disk tier alone: what a hit on disk costs, and what a put does. One loop asks, so
 * many questions at once; CPU is that of the whole process, the tier's threads included.
 *
 *   bench_store_disk DIRECTORY ENTRIES BYTES [AT_ONCE]
 *
 * The page cache is warm after the puts: a disk that must be read costs its own time on top.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_fixture.h"
#include "measure.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

enum { AT_ONCE_MAX = 256, GETS = 40000 };

struct bench;
struct task {
    struct bench *bench;
    int64_t began_ns;
    union {
        struct tier_op op;
        struct tier_get get;
        struct tier_put put;
    } is;
};
struct bench {
    struct disk_fixture f;
    unsigned entries, next, n, done, failed, seed;
    size_t bytes;
    int64_t *took_ns;
    void (*begin)(struct task *t);
    struct blob *blob;
    struct task tasks[AT_ONCE_MAX];
};

static double process_cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void go_on(struct task *t)
{
    struct bench *b = t->bench;

    b->took_ns[b->done++] = clock_mono_ns() - t->began_ns;
    if (b->next < b->n)
        b->begin(t);
    else if (b->done == b->n)
        loop_stop(b->f.loop);
}

static void on_put(struct tier_op *op)
{
    struct task *t = CONTAINER_OF(op, struct task, is.op);

    t->bench->failed += op->result != TIER_OK;
    go_on(t);
}

static void begin_put(struct task *t)
{
    struct bench *b = t->bench;

    t->began_ns = clock_mono_ns();
    t->is.put = (struct tier_put){
        .op = {.on_done = on_put},
        .item = {.label = {.key = disk_key(b->next++),
                           .id = SLICE("0123456789abcdef"),
                           .namespace_ = SLICE("default"),
                           .operation = SLICE("chat"),
                           .model = SLICE("gpt-4o-mini")},
                 .gone_ms = INT64_MAX},
        .blob = b->blob,
    };
    b->f.tier->ops->put(b->f.port, &t->is.put);
}

static void on_got(struct tier_op *op)
{
    struct task *t = CONTAINER_OF(op, struct task, is.op);

    t->bench->failed += op->result != TIER_OK;
    blob_unref(t->is.get.blob);
    go_on(t);
}

static void begin_get(struct task *t)
{
    struct bench *b = t->bench;

    b->next++;
    t->began_ns = clock_mono_ns();
    t->is.get = (struct tier_get){.op = {.on_done = on_got},
                                  .label = {.key = disk_key((unsigned)rand_r(&b->seed) % b->entries)}};
    b->f.tier->ops->get(b->f.port, &t->is.get);
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void pass(struct bench *b, const char *what, unsigned n, unsigned at_once,
                 void (*begin)(struct task *t))
{
    double cpu = process_cpu_ns();
    int64_t began_ns = clock_mono_ns(), took_ns;

    b->begin = begin;
    b->n = n;
    b->next = b->done = b->failed = 0;
    for (unsigned i = 0; i < at_once && b->next < n; i++) {
        b->tasks[i].bench = b;
        begin(&b->tasks[i]);
    }
    loop_run(b->f.loop);
    took_ns = clock_mono_ns() - began_ns;
    qsort(b->took_ns, n, sizeof(*b->took_ns), by_time);
    printf(
        "%s  %zu bytes, %u at once: %.0f a second, p50 %.0f us, p99 %.0f us, CPU %.1f us each, %u failed\n",
        what, b->bytes, at_once, (double)n / (double)took_ns * 1e9, (double)b->took_ns[n / 2] / 1e3,
        (double)b->took_ns[n / 100 * 99] / 1e3, (process_cpu_ns() - cpu) / n / 1e3, b->failed);
}

static void walk(struct bench *b, const char *what, bool dry_run)
{
    const struct selector all = {.target = 0};
    double cpu = process_cpu_ns();
    int64_t began_ns = clock_mono_ns();
    uint64_t matched = 0;

    must(disk_fixture_delete_if(&b->f, &all, dry_run, &matched) == TIER_OK && matched == b->entries);
    printf("%s  %" PRIu64 " entries: %.2f s, CPU %.1f us each\n", what, matched,
           (double)(clock_mono_ns() - began_ns) / 1e9, (process_cpu_ns() - cpu) / (double)matched / 1e3);
}

int main(int argc, char **argv)
{
    static struct bench b;
    unsigned at_once = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 64;
    struct tier_stats st;

    if (argc < 4 || at_once == 0 || at_once > AT_ONCE_MAX) {
        (void)fprintf(stderr, "bench_store_disk DIRECTORY ENTRIES BYTES [AT_ONCE]\n");
        return 2;
    }
    b.entries = (unsigned)strtoul(argv[2], NULL, 10);
    b.bytes = strtoull(argv[3], NULL, 10);
    b.blob = disk_record(1, 1, b.bytes);
    b.took_ns = calloc(b.entries > GETS ? b.entries : GETS, sizeof(*b.took_ns));
    must(b.entries > 0 && b.blob && b.took_ns);
    disk_fixture_init(&b.f);
    (void)snprintf(b.f.path, sizeof(b.f.path), "%s/bench_store_disk.db", argv[1]);
    b.f.conf.bytes_max = UINT64_C(10) << 30;
    b.f.conf.queue_bytes_max = UINT64_C(1) << 30;
    disk_fixture_start(&b.f);
    pass(&b, "put ", b.entries, at_once, begin_put);
    pass(&b, "get ", GETS, at_once, begin_get);
    pass(&b, "get ", GETS / 4, 1, begin_get);
    st = disk_fixture_stats(&b.f);
    printf("file  %" PRIu64 " entries, %.2f of their bytes\n", st.entries,
           (double)st.bytes / ((double)b.bytes * (double)st.entries));
    walk(&b, "count ", true);
    walk(&b, "remove", false);
    disk_fixture_done(&b.f);
    blob_unref(b.blob);
    free(b.took_ns);
    return b.failed > 0;
}
