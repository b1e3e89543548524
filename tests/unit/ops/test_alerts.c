#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "refrain/base/attr.h"
#include "refrain/ops/alerts.h"
#include "refrain/store/record.h"

/* A window is as long as the time between two readings: each reading is judged by what it brings itself. */
enum { EVERY_MS = 3600, CALLS = 20, REQUESTS = 1000, MIB = 1 << 20 };

struct scene {
    struct history *history;
    struct alerts *alerts;
    struct alerts_conf conf;
    struct facts facts;
    struct reading now;
    struct sketch times[HISTORY_TIMES]; /* that come with the reading */
    unsigned changes[ALERT_CLEARED + 1];
    enum alert_level last;
};

static void on_change(void *arg, enum alert_change change, const struct alert *alert)
{
    struct scene *s = arg;

    s->changes[change]++;
    s->last = alert->level;
}

static void scene_begin(struct scene *s)
{
    *s = (struct scene){.history = history_new(), .alerts = alerts_new()};
    s->conf = (struct alerts_conf){
        .window_ms = EVERY_MS, .invalidations_window_ms = EVERY_MS, .requests_min = REQUESTS};
    for (size_t i = 0; i < ALERT_CODES; i++)
        s->conf.at[i][0] = s->conf.at[i][1] = ALERT_OFF;
    history_add(s->history, &s->now);
}

static void scene_done(struct scene *s)
{
    alerts_free(s->alerts);
    history_free(s->history);
}

typedef void set_fn(struct scene *s, int64_t value);

static void step(struct scene *s, set_fn *set, int64_t value)
{
    const struct alerts_told told = {on_change, s};

    s->now.at_ms = s->now.mono_ms += EVERY_MS;
    set(s, value);
    history_add(s->history, &s->now);
    for (enum history_times i = 0; i < HISTORY_TIMES; i++)
        history_keep_times(s->history, i, &s->times[i]);
    alerts_judge(s->alerts, s->history, &s->facts, &s->conf, &told);
}

static const struct alert *find(const struct scene *s, enum alert_code code)
{
    const struct alert *active[ALERTS_MAX];
    size_t n = alerts_active(s->alerts, active);

    for (size_t i = 0; i < n; i++)
        if (active[i]->code == code)
            return active[i];
    return NULL;
}

/* -- what each looks at -- */

static void set_memory(struct scene *s, int64_t permille)
{
    s->now.tiers[TIER_MEMORY] =
        (struct reading_tier){.on = true, .bytes = (uint64_t)permille * MIB, .limit_bytes = 1000 * MIB};
}

static void add_times(struct scene *s, enum history_times which, int n, int64_t ms)
{
    for (int i = 0; i < n; i++)
        sketch_add(&s->times[which], ms * 1000000);
}

static void set_times(struct scene *s, enum history_times which, int n, int64_t ms)
{
    memset(&s->times[which], 0, sizeof(s->times[which]));
    add_times(s, which, n, ms);
}

static void set_key(struct scene *s, int64_t ms)
{
    set_times(s, HISTORY_KEY, CALLS, ms);
}

static void set_tier_time(struct scene *s, int64_t ms)
{
    set_times(s, HISTORY_REDIS, CALLS, ms);
}

static void set_invalidations(struct scene *s, int64_t n)
{
    s->now.invalidations += (uint64_t)n;
}

static void set_hit_rate(struct scene *s, int64_t permille)
{
    s->now.requests[RESULT_HIT] += (uint64_t)permille;
    s->now.requests[RESULT_MISS] += (uint64_t)(REQUESTS - permille);
    s->now.requests[RESULT_BYPASS] += REQUESTS; /* count for nothing */
}

static void set_breaker(struct scene *s, int64_t open)
{
    s->facts.breakers_n = (size_t)open;
    s->facts.breakers[0] = (struct fact_breaker){
        .upstream = "openai", .kind = BREAKERS_VALIDATION, .cause = "25 broken answers, the last: json"};
}

static void set_failures(struct scene *s, int64_t failed)
{
    s->now.upstream_calls += REQUESTS;
    s->now.upstream_failures += (uint64_t)failed;
}

static void set_health(struct scene *s, enum tier_health health)
{
    s->facts.tiers[TIER_DISK] = (struct fact_tier){health, health == TIER_UP ? NULL : "disk full"};
}

static void set_down(struct scene *s, int64_t down)
{
    set_health(s, down ? TIER_IS_DOWN : TIER_UP);
}

static void set_degraded(struct scene *s, int64_t degraded)
{
    set_health(s, degraded ? TIER_DEGRADED : TIER_UP);
}

static void set_dropped(struct scene *s, int64_t n)
{
    s->now.writes_dropped += (uint64_t)n;
}

static void set_unreadable(struct scene *s, int64_t n)
{
    s->now.unreadable[RECORD_LOCKED] += (uint64_t)n;
}

static void set_cut(struct scene *s, int64_t cut)
{
    s->facts.instances_cut = cut ? "no answer" : NULL;
}

static void set_refused(struct scene *s, int64_t n)
{
    s->now.connections_refused += (uint64_t)n;
}

static void set_buffers(struct scene *s, int64_t permille)
{
    s->facts.buffered_bytes_max = 1000 * MIB;
    s->now.buffered_bytes = (uint64_t)permille * MIB;
}

static void set_log(struct scene *s, int64_t n)
{
    s->now.log_lines_dropped += (uint64_t)n;
}

static void set_suspended(struct scene *s, int64_t n)
{
    s->now.credentials_suspended = (unsigned)n;
}

static void set_certificate(struct scene *s, int64_t left_ms)
{
    s->now.certificate_expires_s[LISTENER_ADMIN] = (uint64_t)((s->now.at_ms + left_ms) / 1000);
}

static const struct {
    enum alert_code code;
    enum alert_level level;
    set_fn *set;
    const char *subject, *says;
    int64_t threshold, over, just_short, kept, calm; /* kept: short of it by no more than the margin */
    unsigned raise_n, clear_n;
} cases[] = {
    {ALERT_MEMORY, ALERT_WARNING, set_memory, "", "80 % full", 800, 800, 799, 760, 759, 2, 2},
    {ALERT_KEY_TIME, ALERT_WARNING, set_key, "", "102 ms (p95 of 3600 ms)", 100, 102, 98, 82, 78, 1, 2},
    {ALERT_TIER_TIME, ALERT_WARNING, set_tier_time, "redis", "redis takes 51 ms", 50, 51, 48, 41, 39, 1, 2},
    {ALERT_INVALIDATIONS, ALERT_WARNING, set_invalidations, "", "50 invalidations in 3600 ms", 50, 50, 49, 45,
     44, 1, 2},
    {ALERT_HIT_RATE, ALERT_WARNING, set_hit_rate, "", "49 % of requests", 500, 499, 500, 524, 525, 2, 2},
    {ALERT_BREAKER_OPEN, ALERT_ERROR, set_breaker, "openai validation",
     "The breaker openai validation is open: 25 broken answers, the last: json", 0, 1, 0, 1, 0, 1, 1},
    {ALERT_UPSTREAM_FAILURES, ALERT_ERROR, set_failures, "", "25 % of the calls", 250, 250, 249, 200, 199, 1,
     2},
    {ALERT_TIER_DOWN, ALERT_CRITICAL, set_down, "disk", "disk is down: disk full", 0, 1, 0, 1, 0, 1, 1},
    {ALERT_TIER_DEGRADED, ALERT_WARNING, set_degraded, "disk", "disk is degraded: disk full", 0, 1, 0, 1, 0,
     1, 1},
    {ALERT_WRITES_DROPPED, ALERT_WARNING, set_dropped, "", "3 writes", 3, 3, 2, 3, 2, 1, 2},
    {ALERT_RECORDS_UNREADABLE, ALERT_WARNING, set_unreadable, "locked", "3600 ms: locked", 2, 2, 1, 2, 1, 1,
     2},
    {ALERT_INSTANCES_CUT, ALERT_ERROR, set_cut, "", "not heard: no answer", 0, 1, 0, 1, 0, 1, 1},
    {ALERT_CONNECTIONS_REFUSED, ALERT_ERROR, set_refused, "", "1 client connections", 1, 1, 0, 1, 0, 1, 2},
    {ALERT_BUFFERS, ALERT_WARNING, set_buffers, "", "80 % full", 800, 800, 799, 720, 719, 2, 2},
    {ALERT_LOG_LINES_DROPPED, ALERT_WARNING, set_log, "", "1 log lines", 1, 1, 0, 1, 0, 1, 2},
    {ALERT_CREDENTIALS_SUSPENDED, ALERT_INFO, set_suspended, "", "1 credentials", 1, 1, 0, 1, 0, 1, 1},
    {ALERT_CERTIFICATE, ALERT_WARNING, set_certificate, "admin", "the admin listener expires in 47 hours",
     172800000, 172700000, 172802000, 172700000, 172802000, 1, 1},
};

static void test_every_code_is_tried(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(cases), ALERT_CODES);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(cases[i].code, i);
}

#define EXPECT(truth)                                                                                        \
    do {                                                                                                     \
        if (!(truth))                                                                                        \
            fail_msg("%s: expected %s", alert_code_name(cases[i].code), #truth);                             \
    } while (0)

static void test_each_comes_for_its_cause_and_goes_with_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum alert_code code = cases[i].code;
        const struct alert *found;
        struct scene s;

        scene_begin(&s);
        s.conf.at[code][0] = cases[i].threshold;
        for (unsigned n = 0; n < 5; n++)
            step(&s, cases[i].set, cases[i].just_short);
        EXPECT(!find(&s, code));
        for (unsigned n = 1; n < cases[i].raise_n; n++)
            step(&s, cases[i].set, cases[i].over);
        EXPECT(!find(&s, code));
        step(&s, cases[i].set, cases[i].over);
        found = find(&s, code);
        EXPECT(found != NULL);
        EXPECT(found->level == cases[i].level && found->since_ms == s.now.at_ms);
        EXPECT(found->threshold == cases[i].threshold);
        EXPECT(strcmp(found->subject, cases[i].subject) == 0);
        if (!strstr(found->message, cases[i].says))
            fail_msg("%s says `%s`, expected `%s`", alert_code_name(code), found->message, cases[i].says);
        EXPECT(alerts_count(s.alerts, code, cases[i].level) == 1);
        for (unsigned n = 0; n < 5; n++)
            step(&s, cases[i].set, cases[i].kept);
        EXPECT(find(&s, code) != NULL);
        for (unsigned n = 1; n < cases[i].clear_n; n++)
            step(&s, cases[i].set, cases[i].calm);
        EXPECT(find(&s, code) != NULL);
        step(&s, cases[i].set, cases[i].calm);
        EXPECT(!find(&s, code));
        EXPECT(s.changes[ALERT_RAISED] == 1 && s.changes[ALERT_CLEARED] == 1 && s.changes[ALERT_EASED] == 0);
        EXPECT(alerts_count(s.alerts, code, cases[i].level) == 0);
        scene_done(&s);
    }
}

static void test_each_can_be_switched_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scene s;

        scene_begin(&s);
        s.conf.at[cases[i].code][0] = cases[i].threshold;
        for (unsigned n = 0; n < cases[i].raise_n; n++)
            step(&s, cases[i].set, cases[i].over);
        EXPECT(find(&s, cases[i].code) != NULL);
        s.conf.at[cases[i].code][0] = ALERT_OFF;
        for (unsigned n = 0; n < 5; n++)
            step(&s, cases[i].set, cases[i].over);
        EXPECT(!find(&s, cases[i].code));
        scene_done(&s);
    }
}

static void test_one_that_flaps_is_told_of_once(void **state)
{
    struct scene s;

    (void)state;
    scene_begin(&s);
    s.conf.at[ALERT_MEMORY][0] = 800;
    for (unsigned n = 0; n < 2; n++)
        step(&s, set_memory, 900);
    for (unsigned n = 0; n < 20; n++)
        step(&s, set_memory, n % 2 ? 900 : 100);
    assert_int_equal(s.changes[ALERT_RAISED], 1);
    assert_int_equal(s.changes[ALERT_CLEARED], 0);
    scene_done(&s);
}

static void test_one_that_gets_worse_is_the_same_one_at_a_graver_level(void **state)
{
    const struct alert *found;
    int64_t since;
    struct scene s;

    (void)state;
    scene_begin(&s);
    s.conf.at[ALERT_MEMORY][0] = 800;
    s.conf.at[ALERT_MEMORY][1] = 950;
    for (unsigned n = 0; n < 2; n++)
        step(&s, set_memory, 850);
    since = find(&s, ALERT_MEMORY)->since_ms;
    for (unsigned n = 0; n < 2; n++)
        step(&s, set_memory, 960);
    found = find(&s, ALERT_MEMORY);
    assert_int_equal(found->level, ALERT_CRITICAL);
    assert_int_equal(found->threshold, 950);
    assert_int_equal(found->since_ms, since);
    assert_int_equal(s.changes[ALERT_RAISED], 2);
    for (unsigned n = 0; n < 2; n++)
        step(&s, set_memory, 850);
    assert_int_equal(find(&s, ALERT_MEMORY)->level, ALERT_WARNING);
    assert_int_equal(s.changes[ALERT_EASED], 1);
    assert_int_equal(alerts_count(s.alerts, ALERT_MEMORY, ALERT_WARNING), 1);
    scene_done(&s);
}

static void test_a_certificate_past_its_time_is_an_error(void **state)
{
    enum { DAY_MS = 86400000 };
    struct scene s;

    (void)state;
    scene_begin(&s);
    s.conf.at[ALERT_CERTIFICATE][0] = 14 * DAY_MS;
    s.conf.at[ALERT_CERTIFICATE][1] = 3 * DAY_MS;
    step(&s, set_certificate, 5 * DAY_MS + 1000);
    assert_int_equal(find(&s, ALERT_CERTIFICATE)->level, ALERT_WARNING);
    assert_non_null(strstr(find(&s, ALERT_CERTIFICATE)->message, "expires in 5 days"));
    step(&s, set_certificate, -1000);
    assert_int_equal(find(&s, ALERT_CERTIFICATE)->level, ALERT_ERROR);
    assert_non_null(strstr(find(&s, ALERT_CERTIFICATE)->message, "has expired"));
    step(&s, set_certificate, 90 * (int64_t)DAY_MS);
    assert_null(find(&s, ALERT_CERTIFICATE));
    scene_done(&s);
}

static void test_what_lasts_is_told_once_it_has_lasted(void **state)
{
    struct scene s;

    (void)state;
    scene_begin(&s);
    s.conf.at[ALERT_TIER_DOWN][0] = 2 * EVERY_MS;
    for (unsigned n = 0; n < 2; n++)
        step(&s, set_down, 1);
    assert_null(find(&s, ALERT_TIER_DOWN));
    step(&s, set_down, 0); /* back: it begins anew */
    for (unsigned n = 0; n < 2; n++)
        step(&s, set_down, 1);
    assert_null(find(&s, ALERT_TIER_DOWN));
    step(&s, set_down, 1);
    assert_non_null(find(&s, ALERT_TIER_DOWN));
    assert_int_equal(find(&s, ALERT_TIER_DOWN)->value, 2 * EVERY_MS);
    scene_done(&s);
}

/* A mean of the readings' own p95, 1 ms and 200 ms, by how many durations each has would be 19 ms. */
static void test_a_p95_is_of_all_durations_in_the_window(void **state)
{
    struct scene s;

    (void)state;
    scene_begin(&s);
    s.conf.window_ms = 2 * EVERY_MS;
    s.conf.at[ALERT_KEY_TIME][0] = 100;
    set_times(&s, HISTORY_KEY, 1000, 1);
    step(&s, set_cut, 0);
    assert_null(find(&s, ALERT_KEY_TIME));
    set_times(&s, HISTORY_KEY, 100, 200);
    step(&s, set_cut, 0);
    assert_in_range(find(&s, ALERT_KEY_TIME)->value, 197, 203);
    scene_done(&s);
}

static void few_requests(struct scene *s, int64_t n)
{
    s->now.requests[RESULT_MISS] += (uint64_t)n;
}

static void few_times(struct scene *s, int64_t n)
{
    set_times(s, HISTORY_KEY, (int)n, 1000);
}

static void test_too_little_tells_nothing(void **state)
{
    struct scene s;

    (void)state;
    scene_begin(&s);
    s.conf.at[ALERT_HIT_RATE][0] = 500;
    s.conf.at[ALERT_KEY_TIME][0] = 100;
    for (unsigned n = 0; n < 5; n++) {
        step(&s, few_requests, REQUESTS - 1);
        step(&s, few_times, CALLS - 1);
    }
    assert_null(find(&s, ALERT_HIT_RATE));
    assert_null(find(&s, ALERT_KEY_TIME));
    scene_done(&s);
}

static void test_a_window_adds_up_several_readings(void **state)
{
    struct scene s;

    (void)state;
    scene_begin(&s);
    s.conf.invalidations_window_ms = 10 * EVERY_MS;
    s.conf.at[ALERT_INVALIDATIONS][0] = 50;
    for (unsigned n = 0; n < 10; n++) {
        assert_null(find(&s, ALERT_INVALIDATIONS));
        step(&s, set_invalidations, 5);
    }
    assert_int_equal(find(&s, ALERT_INVALIDATIONS)->value, 50);
    for (unsigned n = 0; n < 4; n++)
        step(&s, set_invalidations, 0);
    assert_null(find(&s, ALERT_INVALIDATIONS));
    scene_done(&s);
}

static void many_breakers(struct scene *s, int64_t n)
{
    s->facts.breakers_n = (size_t)n;
    for (size_t i = 0; i < s->facts.breakers_n; i++) {
        s->facts.breakers[i] = (struct fact_breaker){.kind = BREAKERS_AVAILABILITY, .cause = "half failed"};
        (void)snprintf(s->facts.breakers[i].upstream, sizeof(s->facts.breakers[i].upstream), "%u-%048d",
                       (unsigned)i, 0);
    }
}

static void test_each_subject_has_one_and_there_is_room_for_so_many(void **state)
{
    const struct alert *active[ALERTS_MAX];
    struct scene s;

    (void)state;
    scene_begin(&s);
    s.conf.at[ALERT_BREAKER_OPEN][0] = 0;
    s.conf.at[ALERT_TIER_DOWN][0] = 0;
    step(&s, many_breakers, FACTS_BREAKERS_MAX);
    assert_int_equal(alerts_active(s.alerts, active), FACTS_BREAKERS_MAX);
    step(&s, set_down, 1);
    assert_int_equal(alerts_active(s.alerts, active), FACTS_BREAKERS_MAX + 1);
    assert_int_equal(active[0]->code, ALERT_TIER_DOWN); /* the gravest first */
    step(&s, many_breakers, 0);
    assert_int_equal(alerts_active(s.alerts, active), 1);
    scene_done(&s);
}

static void test_without_a_reading_nothing_is_judged(void **state)
{
    const struct alerts_told told = {NULL, NULL};
    const struct alert *active[ALERTS_MAX];
    struct history *h = history_new();
    struct alerts *a = alerts_new();
    const struct alerts_conf conf = {0};
    const struct facts facts = {0};

    (void)state;
    alerts_judge(a, h, &facts, &conf, &told);
    assert_int_equal(alerts_active(a, active), 0);
    alerts_free(a);
    history_free(h);
}

/* docs/alerts.md has a line for each row, in the row's own words. */
static char *page;

static void test_the_page_says_what_the_rows_say(void **state)
{
    (void)state;
    for (unsigned code = 0; code < ALERT_CODES; code++) {
        struct alert_about a = alert_about((enum alert_code)code);
        char line[1024];

        (void)snprintf(line, sizeof(line), "| `%s` | %s | %s | `%s` | %s |\n", a.code, a.levels, a.looks_at,
                       a.options, a.what_to_do);
        test_page_has(page, line);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_is_tried),
        cmocka_unit_test(test_each_comes_for_its_cause_and_goes_with_it),
        cmocka_unit_test(test_each_can_be_switched_off),
        cmocka_unit_test(test_one_that_flaps_is_told_of_once),
        cmocka_unit_test(test_one_that_gets_worse_is_the_same_one_at_a_graver_level),
        cmocka_unit_test(test_a_certificate_past_its_time_is_an_error),
        cmocka_unit_test(test_what_lasts_is_told_once_it_has_lasted),
        cmocka_unit_test(test_a_p95_is_of_all_durations_in_the_window),
        cmocka_unit_test(test_too_little_tells_nothing),
        cmocka_unit_test(test_a_window_adds_up_several_readings),
        cmocka_unit_test(test_each_subject_has_one_and_there_is_room_for_so_many),
        cmocka_unit_test(test_without_a_reading_nothing_is_judged),
        cmocka_unit_test(test_the_page_says_what_the_rows_say),
    };
    int failed;

    page = test_page_read(argc, argv);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(page);
    return failed;
}
