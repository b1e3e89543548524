/* metrics: what is counted comes out once, summed, under its labels; and counting costs next to nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "refrain/base/attr.h"
#include "refrain/base/metrics.h"
#include "refrain/base/process.h"

static const char *operation_text(unsigned value)
{
    static const char *const names[] = {"pass", "chat"};

    return names[value];
}

static int begin(void **state)
{
    *state = metrics_new();
    metrics_name_labels(*state, LABEL_OPERATION, 2, operation_text);
    return 0;
}

static int end(void **state)
{
    metrics_free(*state);
    return 0;
}

/* The exposition as text; the caller frees it. */
static char *scrape(struct metrics *m)
{
    struct buf out = BUF_INIT(1 << 20);

    assert_int_equal(metrics_write(m, &out), 0);
    assert_int_equal(buf_add_byte(&out, '\0'), 0);
    return out.data;
}

static void free_text(char **text)
{
    free(*text);
}

static void has_line(const char *text, const char *line)
{
    const char *at = strstr(text, line);

    while (at && !((at == text || at[-1] == '\n') && at[strlen(line)] == '\n'))
        at = strstr(at + 1, line);
    if (!at)
        fail_msg("no line: %s", line);
}

static void blocks_are_summed(void **state)
{
    struct metrics *m = *state;
    struct metric_block *one = metrics_block(m), *two = metrics_block(m);

    metric_add2(one, REQUESTS, 1, RESULT_HIT, 3);
    metric_add2(two, REQUESTS, 1, RESULT_HIT, 4);
    metric_add2(two, REQUESTS, 0, RESULT_BYPASS, 1);
    metric_add2(two, REQUESTS, metrics_label(m, LABEL_OPERATION, SLICE_OF("summarize")), RESULT_HIT, 3);
    metric_add(one, CONNECTIONS, 1); /* opened here, closed there */
    metric_add(two, CONNECTIONS, -1);
    metric_add(two, CONNECTIONS, -1);
    AUTO(free_text) char *text = scrape(m);

    has_line(text, "refrain_requests_total{operation=\"chat\",result=\"hit\"} 7");
    has_line(text, "refrain_requests_total{operation=\"pass\",result=\"bypass\"} 1");
    has_line(text, "refrain_requests_total{operation=\"summarize\",result=\"hit\"} 3");
    has_line(text, "refrain_connections -1");
    has_line(text, "# TYPE refrain_requests_total counter");
    assert_null(strstr(text, "result=\"miss\"")); /* never touched */
    assert_int_equal(metrics_sum2(m, REQUESTS, 1, RESULT_HIT), 7);
}

static void histograms_cumulate_and_sum_exactly(void **state)
{
    struct metrics *m = *state;
    struct metric_block *b = metrics_block(m);

    metric_observe1(b, REQUEST_DURATION, RESULT_HIT, 50000); /* a bound belongs to its bucket */
    metric_observe1(b, REQUEST_DURATION, RESULT_HIT, 50001);
    metric_observe1(b, REQUEST_DURATION, RESULT_HIT, INT64_C(3600000000001));
    metric_observe1(b, REQUEST_DURATION, RESULT_HIT, -5); /* a clock's fault counts as nothing */
    metric_observe1(b, KEY, SIZE_LARGE, 1500);
    AUTO(free_text) char *text = scrape(m);

    has_line(text, "# TYPE refrain_request_duration_seconds histogram");
    has_line(text, "refrain_request_duration_seconds_bucket{result=\"hit\",le=\"5e-05\"} 2");
    has_line(text, "refrain_request_duration_seconds_bucket{result=\"hit\",le=\"0.0001\"} 3");
    has_line(text, "refrain_request_duration_seconds_bucket{result=\"hit\",le=\"1800\"} 3");
    has_line(text, "refrain_request_duration_seconds_bucket{result=\"hit\",le=\"+Inf\"} 4");
    has_line(text, "refrain_request_duration_seconds_sum{result=\"hit\"} 3600.000100002");
    has_line(text, "refrain_request_duration_seconds_count{result=\"hit\"} 4");
    has_line(text, "refrain_key_seconds_bucket{tier=\"large\",le=\"1e-06\"} 0");
    has_line(text, "refrain_key_seconds_bucket{tier=\"large\",le=\"2e-06\"} 1");
    has_line(text, "refrain_upstream_duration_seconds_count 0");
}

static void bring(void *arg, struct metrics *m)
{
    const uint64_t *entries = arg;

    metrics_set1(m, ENTRIES, TIER_MEMORY, *entries);
    metrics_set2(m, EVICTIONS, TIER_MEMORY, EVICTED_SPACE, 12);
}

static void counts_kept_elsewhere_are_brought_at_the_scrape(void **state)
{
    uint64_t entries = 5;

    metrics_on_scrape(*state, bring, &entries);
    AUTO(free_text) char *text = scrape(*state);
    entries = 0;
    AUTO(free_text) char *later = scrape(*state);

    has_line(text, "refrain_entries{tier=\"memory\"} 5");
    has_line(text, "refrain_evictions_total{tier=\"memory\",reason=\"space\"} 12");
    has_line(later, "refrain_entries{tier=\"memory\"} 0"); /* a gauge at 0 is still there */
}

static void a_label_set_is_bounded(void **state)
{
    struct metrics *m = *state;
    struct metric_block *b = metrics_block(m);
    char name[80];

    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < 100; i++) {
            (void)snprintf(name, sizeof(name), "upstream-%u", i);
            assert_int_equal(metrics_label(m, LABEL_UPSTREAM, slice_str(name)), i);
        }
    assert_int_equal(metrics_label(m, LABEL_UPSTREAM, SLICE_OF("one-more")), 100);
    assert_int_equal(metrics_label(m, LABEL_MODEL, SLICE_OF("other")), 100); /* one series of that name */
    memset(name, 'x', sizeof(name));
    assert_int_equal(metrics_label(m, LABEL_MODEL, slice_make(name, 65)), 100);
    assert_int_equal(metrics_label(m, LABEL_MODEL, slice_make(name, 64)),
                     0); /* each set has its own values */
    assert_int_equal(metrics_label(m, LABEL_MODEL, SLICE_OF("")), 100);

    metric_add2(b, UPSTREAM_REQUESTS, 100, metric_code(200), 1);
    AUTO(free_text) char *text = scrape(m);

    has_line(text, "refrain_upstream_requests_total{upstream=\"other\",code=\"200\"} 1");
}

/* Each set full, of the longest names there are, each of them twice as long in the exposition, and every
 * series counted: what outsiders can make of a scrape at worst. */
static void a_scrape_of_everything_is_bounded(void **state)
{
    static const enum metric_label sets[] = {LABEL_UPSTREAM, LABEL_MODEL, LABEL_NAMESPACE, LABEL_OPERATION,
                                             LABEL_CLIENT};
    struct metrics *m = *state;
    struct metric_block *b = metrics_block(m);
    AUTO(buf_done) struct buf out = BUF_INIT(4 << 20);
    char name[65];

    for (size_t set = 0; set < ARRAY_LEN(sets); set++)
        for (unsigned i = 0; i < 3000; i++) {
            memset(name, '"', sizeof(name));
            (void)snprintf(name, 5, "%04u", i);
            name[4] = '"';
            (void)metrics_label(m, sets[set], slice_make(name, 64));
        }
    for (unsigned i = 0; i < METRIC_SLOTS; i++)
        metric_slot_add(b, i, UINT64_C(1) << 62);
    assert_int_equal(metrics_write(m, &out), 0);
}

static void label_values_are_escaped(void **state)
{
    struct metrics *m = *state;
    struct metric_block *b = metrics_block(m);
    unsigned value = metrics_label(m, LABEL_UPSTREAM, SLICE_OF("a\"b\\c\nd\xC3\xA9"));

    metric_add2(b, UPSTREAM_REQUESTS, value, CODE_CUT, 1);
    AUTO(free_text) char *text = scrape(m);

    has_line(text, "refrain_upstream_requests_total{upstream=\"a\\\"b\\\\c\\nd\xC3\xA9\",code=\"cut\"} 1");
}

static void statuses_have_values(void **state)
{
    (void)state;
    assert_int_equal(metric_code(0), CODE_OTHER);
    assert_int_equal(metric_code(299), CODE_OTHER);
    assert_int_equal(metric_code(1200), CODE_OTHER);
    assert_int_equal(metric_code(200), CODE_STATUS);
    assert_int_not_equal(metric_code(529), CODE_OTHER);
    assert_int_not_equal(metric_code(503), metric_code(504));
}

static void what_does_not_fit_is_an_error(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(1000);

    assert_int_equal(metrics_write(*state, &out), -EMSGSIZE);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_and_name(void *arg)
{
    struct metrics *m = arg;
    struct metric_block *b = metrics_block(m);
    char name[16];

    for (unsigned i = 0; i < ROUNDS; i++) {
        (void)snprintf(name, sizeof(name), "model-%u", i % 50);
        (void)metrics_label(m, LABEL_MODEL, slice_str(name));
        metric_add(b, COALESCED, 1);
    }
    return NULL;
}

static void threads_agree(void **state)
{
    struct metrics *m = *state;
    pthread_t threads[THREADS];
    char name[16];
    unsigned seen = 0, value;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_and_name, m), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(metrics_sum(m, COALESCED), THREADS * ROUNDS);
    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(name, sizeof(name), "model-%u", i);
        value = metrics_label(m, LABEL_MODEL, slice_str(name));
        assert_true(value < 50);
        seen |= 1u << (value % 32);
    }
    assert_int_equal(seen, UINT32_MAX);
}

static void the_process_knows_itself(void **state)
{
    struct process_stat p;
    struct timespec now;

    (void)state;
    assert_int_equal(process_stat_read(&p), 0);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    assert_true(p.resident_bytes > 100000 && p.virtual_bytes >= p.resident_bytes);
    assert_in_range(p.fds_open, 1, 1000);
    assert_true(p.threads >= 1 && p.cpu_s >= 0);
    assert_true(p.start_s <= (double)now.tv_sec + 1 && p.start_s > (double)now.tv_sec - 3600);
}

static double cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* `test_metrics bench` prints what counting costs. */
static int bench(struct metrics *m)
{
    enum { N = 20000000 };
    struct metric_block *b = metrics_block(m);
    struct buf out = BUF_INIT(1 << 20);
    unsigned sum = 0;
    double t;

    t = cpu_ns();
    for (unsigned i = 0; i < N; i++)
        metric_add2(b, REQUESTS, i & 1, i % 7, 1);
    printf("add      %.2f ns\n", (cpu_ns() - t) / N);
    t = cpu_ns();
    for (unsigned i = 0; i < N; i++)
        metric_observe1(b, REQUEST_DURATION, RESULT_HIT, 8000 + (i & 4095));
    printf("observe  %.2f ns\n", (cpu_ns() - t) / N);
    for (unsigned i = 0; i < 100; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "gpt-4o-%u-2024-08-06", i);
        (void)metrics_label(m, LABEL_MODEL, slice_str(name));
    }
    t = cpu_ns();
    for (unsigned i = 0; i < N; i++)
        sum += metrics_label(m, LABEL_MODEL,
                             i & 1 ? SLICE_OF("gpt-4o-7-2024-08-06") : SLICE_OF("gpt-4o-93-2024-08-06"));
    printf("label    %.2f ns (%u)\n", (cpu_ns() - t) / N, sum);
    t = cpu_ns();
    if (metrics_write(m, &out) < 0)
        return 1;
    printf("scrape   %.0f ns, %zu bytes\n", cpu_ns() - t, out.len);
    buf_done(&out);
    return 0;
}

/* `test_metrics print` writes an exposition with something in every row, for promtool. */
static int print(struct metrics *m)
{
    struct metric_block *b = metrics_block(m);
    struct buf out = BUF_INIT(16 << 20);
    int r;

    (void)metrics_label(m, LABEL_UPSTREAM, SLICE_OF("open\"ai"));
    for (unsigned i = 0; i < METRIC_SLOTS; i++)
        metric_slot_add(b, i, i + 1);
    r = metrics_write(m, &out);
    if (r == 0)
        (void)fwrite(out.data, 1, out.len, stdout);
    buf_done(&out);
    return r < 0;
}

static void times_are_merged_over_blocks(void **state)
{
    static struct sketch hits, misses;
    struct metrics *m = *state;
    struct metric_block *one = metrics_block(m), *two = metrics_block(m);

    assert_false(metrics_times(m, REQUEST, 1, RESULT_HIT, &hits));
    metric_time2(one, REQUEST, 1, RESULT_HIT, 1000);
    metric_time2(two, REQUEST, 1, RESULT_HIT, 3000);
    metric_time2(two, REQUEST, 1, RESULT_MISS, 5000);
    metric_time2(two, REQUEST, LABEL_MAX_OPERATION - 1, LABEL_MAX_RESULT - 1, 1);
    metric_time2(two, STREAM, 0, 0, 1); /* what follows it in the block */
    metric_time(one, INVALIDATION, 1);  /* the last of all */
    assert_true(metrics_times(m, REQUEST, 1, RESULT_HIT, &hits));
    assert_true(metrics_times(m, REQUEST, 1, RESULT_MISS, &misses));
    assert_int_equal(sketch_count(&hits), 2);
    assert_int_equal(sketch_sum_ns(&hits), 4000);
    assert_int_equal(sketch_min_ns(&hits), 1000);
    assert_int_equal(sketch_max_ns(&hits), 3000);
    assert_int_equal(sketch_count(&misses), 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_are_summed, begin, end),
        cmocka_unit_test_setup_teardown(histograms_cumulate_and_sum_exactly, begin, end),
        cmocka_unit_test_setup_teardown(counts_kept_elsewhere_are_brought_at_the_scrape, begin, end),
        cmocka_unit_test_setup_teardown(a_scrape_of_everything_is_bounded, begin, end),
        cmocka_unit_test_setup_teardown(a_label_set_is_bounded, begin, end),
        cmocka_unit_test_setup_teardown(label_values_are_escaped, begin, end),
        cmocka_unit_test_setup_teardown(times_are_merged_over_blocks, begin, end),
        cmocka_unit_test(statuses_have_values),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_an_error, begin, end),
        cmocka_unit_test_setup_teardown(threads_agree, begin, end),
        cmocka_unit_test(the_process_knows_itself),
    };
    struct metrics *m;
    int r;

    if (argc < 2)
        return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
    (void)begin((void **)&m);
    r = strcmp(argv[1], "bench") == 0 ? bench(m) : print(m);
    metrics_free(m);
    return r;
}
