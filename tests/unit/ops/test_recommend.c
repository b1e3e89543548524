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
#include "refrain/ops/recommend.h"
#include "refrain/policy/gate.h"

enum { EVERY_MS = 3600, MIB = 1 << 20 };

struct scene {
    struct history *history;
    struct facts facts;
    struct reading now;
};

/* Nothing is to be said of it. */
static void scene_begin(struct scene *s)
{
    *s = (struct scene){.history = history_new()};
    s->facts = (struct facts){.memory_bytes_max = 64 * MIB,
                              .disk_bytes_max = 64 * MIB,
                              .queue_bytes_max = 64 * MIB,
                              .object_bytes_max = 16 * MIB,
                              .connections_max = 100,
                              .compression_level = 6,
                              .default_ttl_s = 3600,
                              .stale_if_error_s = 60,
                              .compression_memory = true,
                              .coalescing = true,
                              .client_control = true,
                              .priced = true};
    s->now.tiers[TIER_MEMORY] = (struct reading_tier){.on = true, .up = true, .limit_bytes = 64 * MIB};
    s->now.tiers[TIER_DISK] = (struct reading_tier){.on = true, .up = true, .limit_bytes = 64 * MIB};
    s->now.tiers[TIER_REDIS] = (struct reading_tier){.on = true, .up = true};
    s->now.compression_nano = 3000000000;
    history_add(s->history, &s->now);
    s->now.requests[RESULT_MISS] = 100;
    s->now.requests[RESULT_HIT] = 900;
    s->now.memo_misses = 100;
    s->now.memo_hits = 900;
}

static void step(struct scene *s)
{
    s->now.mono_ms += EVERY_MS;
    history_add(s->history, &s->now);
}

typedef void set_fn(struct scene *s, uint64_t n);

static void set_memory_evicted(struct scene *s, uint64_t n)
{
    s->now.tiers[TIER_MEMORY].evicted_for_space = n;
}

static void set_disk_evicted(struct scene *s, uint64_t n)
{
    s->now.tiers[TIER_DISK].evicted_for_space = n;
}

static void set_memory_plain(struct scene *s, uint64_t n)
{
    s->facts.compression_memory = false;
    s->now.compression_nano = 2700000000;
    set_memory_evicted(s, n);
}

static void set_level_off(struct scene *s, uint64_t n)
{
    s->facts.compression_level = 0;
    set_disk_evicted(s, n);
}

static void set_ratio(struct scene *s, uint64_t percent_smaller)
{
    s->now.compression_nano = 1000000000 + (100 - percent_smaller) * 10000000;
}

#define NOT_STORED(name, reason)                                                                             \
    static void name(struct scene *s, uint64_t n)                                                            \
    {                                                                                                        \
        s->now.not_stored[reason] = n;                                                                       \
    }
NOT_STORED(set_too_large, GATE_TOO_LARGE)
NOT_STORED(set_finish, GATE_FINISH_REASON)
NOT_STORED(set_rule, GATE_RULE)
NOT_STORED(set_client, GATE_CLIENT)
NOT_STORED(set_no_lifetime, GATE_NO_LIFETIME)

static void set_cache_control(struct scene *s, uint64_t n)
{
    s->facts.respect_cache_control = true;
    s->now.not_stored[GATE_CACHE_CONTROL] = n;
}

static void set_broken(struct scene *s, uint64_t open)
{
    s->facts.breakers[0] = (struct fact_breaker){
        .upstream = "openai", .kind = open ? BREAKERS_VALIDATION : BREAKERS_AVAILABILITY, .cause = "json"};
    s->facts.breakers_n = 1;
}

static void set_expired(struct scene *s, uint64_t n)
{
    s->now.tiers[TIER_MEMORY].expired = n;
}

static void set_memo(struct scene *s, uint64_t made)
{
    s->now.memo_misses = made;
}

static void set_difference(struct scene *s, enum fact_part part, const char *name, uint64_t n)
{
    s->facts.differences[0] = (struct fact_difference){part, name, (unsigned)n};
    s->facts.differences_n = 1;
    s->facts.compared = 512;
}

static void set_field(struct scene *s, uint64_t n)
{
    set_difference(s, FACT_FIELD, "request_id", n);
}

static void set_header(struct scene *s, uint64_t n)
{
    set_difference(s, FACT_HEADER, "x-user-id", n);
}

static void set_credential(struct scene *s, uint64_t n)
{
    set_difference(s, FACT_CREDENTIAL, NULL, n);
}

static void set_twice(struct scene *s, uint64_t n)
{
    s->facts.coalescing = false;
    s->now.tiers[TIER_MEMORY].replaced = n;
}

static void set_memory_alone(struct scene *s, uint64_t entries)
{
    s->now.tiers[TIER_DISK].on = s->now.tiers[TIER_REDIS].on = false;
    s->now.tiers[TIER_MEMORY].entries = entries;
}

static void set_redis_down(struct scene *s, uint64_t readings)
{
    s->now.tiers[TIER_REDIS].up = true;
    step(s);
    s->now.tiers[TIER_REDIS].up = false;
    for (uint64_t i = 1; i < readings; i++)
        step(s); /* the last one follows */
}

static void set_dropped(struct scene *s, uint64_t n)
{
    s->now.writes_dropped = n;
}

static void set_refused(struct scene *s, uint64_t n)
{
    s->now.connections_refused = n;
}

static void set_failing(struct scene *s, uint64_t n)
{
    s->facts.stale_if_error_s = 0;
    s->now.upstream_calls = 100;
    s->now.upstream_failures = n;
}

static void set_unpriced(struct scene *s, uint64_t tokens)
{
    s->facts.priced = false;
    s->now.tokens_saved_in = tokens / 2;
    s->now.tokens_saved_out = tokens - tokens / 2;
}

static const struct {
    const char *code, *says; /* in its evidence */
    set_fn *set;
    uint64_t enough, too_little;
    const char *changes;
} cases[] = {
    {"memory_small", "10 answers had to go from memory", set_memory_evicted, 10, 9, "128 MiB"},
    {"disk_small", "10 answers had to go from disk", set_disk_evicted, 10, 9, "128 MiB"},
    {"compress_memory", "2.7 times less", set_memory_plain, 10, 9, "to true"},
    {"compression_off", "10 answers", set_level_off, 10, 9, "to 6"},
    {"compression_poor", "1.39 times", set_ratio, 61, 60, "off"},
    {"too_large", "10 answers were larger than 16384 KiB", set_too_large, 10, 9, "64 MiB"},
    {"finish_reason", "10 answers", set_finish, 10, 9, "length: 1h"},
    {"rule", "10 answers", set_rule, 10, 9, "off"},
    {"client_forbids", "10 answers", set_client, 10, 9, "false"},
    {"no_lifetime", "10 answers to GET", set_no_lifetime, 10, 9, "5m"},
    {"cache_control", "10 answers", set_cache_control, 10, 9, "false"},
    {"broken_answers", "openai: json", set_broken, 1, 0, "breakers reset openai"},
    {"ttl_short", "100 answers", set_expired, 100, 99, "14400 s"},
    {"bytes_differ", "550 of 1450 keys", set_memo, 550, 549, "same way"},
    {"field_differs", "10 of the last 512 requests", set_field, 10, 9, "[request_id]"},
    {"header_differs", "in the header x-user-id alone", set_header, 10, 9, "[x-user-id]"},
    {"scope", "10 of the last 512 requests", set_credential, 10, 9, "shared"},
    {"coalescing_off", "10 answers", set_twice, 10, 9, "true"},
    {"no_disk", "100 answers", set_memory_alone, 100, 99, "/var/lib/refrain/cache.db"},
    {"redis_down", "in 100 readings running", set_redis_down, 100, 99, "take it out"},
    {"queue_full", "10 writes", set_dropped, 10, 9, "128 MiB"},
    {"connections", "10 client connections were refused; 0 are open, 100 may be", set_refused, 10, 9, "200"},
    {"stale_if_error", "10 of 100 calls", set_failing, 10, 9, "1d"},
    {"pricing", "100 tokens", set_unpriced, 100, 99, "pricing"},
};

static const struct recommendation *find(const struct scene *s, const char *code,
                                         struct recommendation out[RECOMMENDATIONS_MAX])
{
    size_t n = recommend(s->history, &s->facts, out);

    for (size_t i = 0; i < n; i++)
        if (strcmp(out[i].code, code) == 0)
            return &out[i];
    return NULL;
}

static void test_every_row_is_tried(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(cases), recommendations_n());
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(cases[i].code, recommendation_about(i).code);
}

static void test_each_comes_with_its_evidence_and_not_with_less(void **state)
{
    struct recommendation out[RECOMMENDATIONS_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct recommendation *found;
        struct scene s;

        scene_begin(&s);
        cases[i].set(&s, cases[i].too_little);
        step(&s);
        if (find(&s, cases[i].code, out))
            fail_msg("%s: %llu is too little for it", cases[i].code, (unsigned long long)cases[i].too_little);
        history_free(s.history);

        scene_begin(&s);
        cases[i].set(&s, cases[i].enough);
        step(&s);
        found = find(&s, cases[i].code, out);
        if (!found)
            fail_msg("%s: expected at %llu", cases[i].code, (unsigned long long)cases[i].enough);
        if (!strstr(found->evidence, cases[i].says) || !strstr(found->change, cases[i].changes))
            fail_msg("%s says `%s`, `%s`; expected `%s`, `%s`", cases[i].code, found->evidence, found->change,
                     cases[i].says, cases[i].changes);
        assert_true(found->option[0] && found->title[0] && found->impact[0]);
        history_free(s.history);
    }
}

static void test_what_is_well_is_left_alone(void **state)
{
    struct recommendation out[RECOMMENDATIONS_MAX];
    struct scene s;

    (void)state;
    scene_begin(&s);
    step(&s);
    assert_int_equal(recommend(s.history, &s.facts, out), 0);
    history_free(s.history);
    s.history = history_new();
    assert_int_equal(recommend(s.history, &s.facts, out), 0);
    history_free(s.history);
}

static void test_what_is_long_past_is_forgotten(void **state)
{
    struct recommendation out[RECOMMENDATIONS_MAX];
    struct scene s;

    (void)state;
    scene_begin(&s);
    set_dropped(&s, 10);
    step(&s);
    assert_non_null(find(&s, "queue_full", out));
    for (unsigned i = 0; i < HISTORY_MAX; i++)
        step(&s);
    assert_null(find(&s, "queue_full", out));
    history_free(s.history);
}

static void test_configuration_that_is_so_already_is_not_asked_for(void **state)
{
    static const struct {
        const char *code;
        set_fn *set;
        size_t at; /* the truth that ends it */
    } rows[] = {
        {"client_forbids", set_client, offsetof(struct facts, client_control)},
        {"coalescing_off", set_twice, offsetof(struct facts, coalescing)},
        {"cache_control", set_cache_control, offsetof(struct facts, respect_cache_control)},
        {"compress_memory", set_memory_plain, offsetof(struct facts, compression_memory)},
        {"scope", set_credential, offsetof(struct facts, scope_shared)},
        {"pricing", set_unpriced, offsetof(struct facts, priced)},
    };
    struct recommendation out[RECOMMENDATIONS_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool *fact;
        struct scene s;

        scene_begin(&s);
        rows[i].set(&s, 100);
        step(&s);
        assert_non_null(find(&s, rows[i].code, out));
        fact = (bool *)((char *)&s.facts + rows[i].at);
        *fact = !*fact;
        assert_null(find(&s, rows[i].code, out));
        history_free(s.history);
    }
}

/* docs/alerts.md has a line for each row, in the row's own words. */
static char *page;

static void test_the_page_says_what_the_rows_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < recommendations_n(); i++) {
        struct recommendation_about a = recommendation_about(i);
        char line[512];

        (void)snprintf(line, sizeof(line), "| `%s` | %s | `%s` | %s |\n", a.code, a.title, a.option, a.when);
        test_page_has(page, line);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_tried),
        cmocka_unit_test(test_each_comes_with_its_evidence_and_not_with_less),
        cmocka_unit_test(test_what_is_well_is_left_alone),
        cmocka_unit_test(test_what_is_long_past_is_forgotten),
        cmocka_unit_test(test_configuration_that_is_so_already_is_not_asked_for),
        cmocka_unit_test(test_the_page_says_what_the_rows_say),
    };
    int failed;

    page = test_page_read(argc, argv);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(page);
    return failed;
}
