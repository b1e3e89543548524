/*
 * What the memory tier costs.
 *   bench_store_mem get ENTRIES…            ns of CPU a get and release, by 1 and 2 threads; bytes beside
 * each entry bench_store_mem put                     ns a put into a full tier, and the slowest, by size of
 * body bench_store_mem rss LIMIT PASS          MiB: passes so much through a tier of that limit while sizes
 * shift, with random hits; prints the highest (RSS - RSS at start) / LIMIT, exit status 1 when that is
 * over 1.15
 */
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "refrain/store/store_mem.h"

enum { MIB = 1 << 20, BODY_MAX = 4 * MIB, GETS = 2000000, THREADS_MAX = 2 };

static const double rss_ratio_max = 1.15;

static uint64_t scramble(uint64_t x)
{
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

/* As good as a SHA-256 here, and cheap enough not to be what is measured. */
static struct digest key_of(uint64_t n)
{
    uint64_t words[4];
    struct digest d;

    for (size_t i = 0; i < 4; i++)
        words[i] = scramble(n * 4 + i);
    memcpy(d.bytes, words, sizeof(words));
    return d;
}

static uint64_t draw(uint64_t *seed)
{
    return scramble((*seed)++);
}

/* CPU time throughout, for the machine may have other things to do. */
static double cpu_ns(clockid_t of)
{
    struct timespec ts;

    (void)clock_gettime(of, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static char *body_bytes(void)
{
    char *b = malloc(BODY_MAX);

    if (!b)
        abort();
    memset(b, 'x', BODY_MAX);
    return b;
}

static struct store_mem *tier_of(size_t bytes_max)
{
    struct store_mem_conf conf = {bytes_max, 0, EVICT_LRU};
    struct store_mem *m = store_mem_new(&conf);

    if (!m)
        abort();
    return m;
}

static size_t put(struct store_mem *m, uint64_t n, int64_t now_ms, struct slice body)
{
    struct entry_parts p = {
        .head = {.key = key_of(n), .expires_ms = INT64_MAX, .gone_ms = INT64_MAX},
        .body = &body,
        .body_n = 1,
    };

    if (store_mem_put(m, &p, now_ms, NULL) < 0)
        abort();
    return entry_packed_size(&p);
}

/* -- get -- */

struct getter {
    pthread_t thread;
    struct store_mem *m;
    uint64_t entries, seed, found;
    int64_t now_ms;
};

static void *get_many(void *arg)
{
    struct getter *g = arg;

    for (int i = 0; i < GETS; i++) {
        struct digest key = key_of(draw(&g->seed) % g->entries);
        struct entry_ref ref;

        if (!store_mem_get(g->m, &key, g->now_ms + i / 1000, &ref))
            continue;
        g->found += ref.entry->status == 0;
        store_mem_release(&ref);
    }
    return NULL;
}

static double ns_a_get(struct store_mem *m, uint64_t entries, int threads)
{
    struct getter g[THREADS_MAX];
    double began;

    for (int t = 0; t < threads; t++)
        g[t] = (struct getter){.m = m, .entries = entries, .seed = (uint64_t)t << 40};
    (void)get_many(&g[0]); /* warm */
    began = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (int t = 1; t < threads; t++)
        if (pthread_create(&g[t].thread, NULL, get_many, &g[t]) != 0)
            abort();
    (void)get_many(&g[0]);
    for (int t = 1; t < threads; t++)
        (void)pthread_join(g[t].thread, NULL);
    return (cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - began) / GETS / threads;
}

static double ns_a_key(void)
{
    double began = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    uint64_t seed = 1;
    unsigned sum = 0;

    for (int i = 0; i < GETS; i++)
        sum += key_of(draw(&seed) % 1000).bytes[i % 32];
    return (cpu_ns(CLOCK_THREAD_CPUTIME_ID) - began + (sum == 1)) / GETS;
}

static void bench_get(uint64_t entries, struct slice body)
{
    struct store_mem *m = tier_of((size_t)entries * (body.len + 400) + 64 * MIB);
    struct store_mem_stats s;
    uint64_t bytes = 0;

    for (uint64_t i = 0; i < entries; i++)
        bytes += put(m, i, 0, body);
    store_mem_stats(m, &s);
    printf("get  %8" PRIu64 " entries  1 thread %4.0f ns  2 threads %4.0f ns  beside the entry %.0f B"
           ", with its head %.0f B\n",
           s.entries, ns_a_get(m, entries, 1), ns_a_get(m, entries, 2),
           (double)(s.bytes - bytes) / (double)entries,
           (double)(s.bytes - entries * body.len) / (double)entries);
    store_mem_free(m);
}

/* -- put -- */

static void bench_put(size_t body_len, const char *body)
{
    enum { LIMIT = 256 * MIB };
    struct store_mem *m = tier_of(LIMIT);
    uint64_t n = 0, fill = 2 * (uint64_t)LIMIT / body_len, timed = fill / 2 < 100000 ? fill / 2 : 100000;
    double slowest = 0, began, all, ns;

    for (; n < fill; n++)
        (void)put(m, n, (int64_t)n, (struct slice){body, body_len});
    all = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    for (; n < fill + timed; n++) {
        began = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
        (void)put(m, n, (int64_t)n, (struct slice){body, body_len});
        ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - began;
        if (ns > slowest)
            slowest = ns;
    }
    printf("put  %8zu bytes   mean %.0f ns  slowest %.0f us\n", body_len,
           (cpu_ns(CLOCK_THREAD_CPUTIME_ID) - all) / (double)timed, slowest / 1000);
    store_mem_free(m);
}

/* -- rss -- */

static uint64_t rss_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    uint64_t kib = 0;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1)
            break;
    if (f)
        (void)fclose(f);
    return kib * 1024;
}

static size_t exponential(uint64_t *seed, double mean)
{
    double u = (double)(draw(seed) >> 11) / 9007199254740992.0;
    double len = -log(1 - u) * mean;

    return len > BODY_MAX ? BODY_MAX : (size_t)len + 1;
}

static size_t len_small(uint64_t *seed)
{
    return exponential(seed, 1500);
}

static size_t len_large(uint64_t *seed)
{
    return exponential(seed, 50000);
}

static size_t len_mixed(uint64_t *seed)
{
    return draw(seed) % 10 ? len_small(seed) : len_large(seed);
}

static void hit_at_random(struct store_mem *m, uint64_t n, uint64_t *seed, int64_t now_ms)
{
    struct digest key = key_of(draw(seed) % n);
    struct entry_ref ref;

    if (store_mem_get(m, &key, now_ms, &ref))
        store_mem_release(&ref);
}

struct passage {
    struct store_mem *m;
    const char *body;
    uint64_t base, limit, n, seed;
    double highest;
};

static void sample(struct passage *p)
{
    uint64_t rss = rss_bytes();
    double ratio = rss > p->base ? (double)(rss - p->base) / (double)p->limit : 0;

    if (ratio > p->highest)
        p->highest = ratio;
}

static void pass(struct passage *p, const char *what, size_t (*len)(uint64_t *seed), uint64_t bytes)
{
    uint64_t sampled = 0;
    double slowest = 0, began = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    struct store_mem_stats s;

    for (uint64_t passed = 0; passed < bytes; p->n++) {
        double before = cpu_ns(CLOCK_THREAD_CPUTIME_ID), ns;

        passed += put(p->m, p->n, (int64_t)p->n, (struct slice){p->body, len(&p->seed)});
        ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - before;
        if (ns > slowest)
            slowest = ns;
        for (int i = 0; i < 4; i++)
            hit_at_random(p->m, p->n + 1, &p->seed, (int64_t)p->n);
        if (passed - sampled < p->limit / 100)
            continue;
        sampled = passed;
        sample(p);
    }
    sample(p);
    store_mem_stats(p->m, &s);
    printf("rss  %-6s highest %.3f  bytes %.3f  mapped %.3f  entries %" PRIu64 "  compactions %" PRIu64
           "  slowest put %.0f us  %.1f s\n",
           what, p->highest, (double)s.bytes / (double)p->limit, (double)s.bytes_mapped / (double)p->limit,
           s.entries, s.compactions, slowest / 1000, (cpu_ns(CLOCK_THREAD_CPUTIME_ID) - began) / 1e9);
}

static int bench_rss(uint64_t limit_mib, uint64_t pass_mib, const char *body)
{
    struct passage p = {.body = body, .limit = limit_mib * MIB};
    uint64_t third = pass_mib * MIB / 3;

    p.base = rss_bytes();
    p.m = tier_of(p.limit);
    pass(&p, "1.5 KB", len_small, third);
    pass(&p, "50 KB", len_large, third);
    pass(&p, "90/10", len_mixed, third);
    store_mem_free(p.m);
    if (p.highest > rss_ratio_max)
        printf("rss  over %.2f of the limit\n", rss_ratio_max);
    return p.highest > rss_ratio_max;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    char *body = body_bytes();
    int status = 0;

    if (strcmp(what, "get") == 0) {
        printf("key  %.0f ns of each get are the benchmark's own\n", ns_a_key());
        for (int i = 2; i < argc; i++)
            bench_get(strtoull(argv[i], NULL, 10), (struct slice){body, 1500});
    } else if (strcmp(what, "put") == 0) {
        static const size_t sizes[] = {1500, 16000, 50000, 400000, 4 * MIB};

        for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
            bench_put(sizes[i], body);
    } else if (strcmp(what, "rss") == 0 && argc == 4) {
        status = bench_rss(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), body);
    } else {
        (void)fprintf(stderr, "bench_store_mem get ENTRIES… | put | rss LIMIT PASS\n");
        status = 2;
    }
    free(body);
    return status;
}
