/* breakers: what workers ask and tell of an upstream, what operators see of it, on a clock of the test's own;
 * and threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "refrain/base/attr.h"
#include "refrain/base/log.h"
#include "refrain/http/breakers.h"

static const struct breakers_conf conf = {
    .validation = {.failures = 2, .open_for_ms = 1000},
    .availability = {.ratio_permille = 500, .samples = 4, .window_ms = 1000, .open_for_ms = 500}};

struct pair {
    struct breakers *all;
    struct breakers_upstream *one;
};

static struct pair pair_new(const struct breakers_conf *c)
{
    struct pair p = {.all = breakers_new()};

    p.one = breakers_take(p.all, "one", "http://one", c, 0);
    assert_non_null(p.one);
    return p;
}

static void pair_done(struct pair *p)
{
    breakers_leave(p->one);
    breakers_free(p->all);
}

/* One call from its beginning to its end; true when it was let through. */
static bool call(struct breakers_upstream *u, struct slice model, enum breakers_outcome how, int64_t now_ms)
{
    struct breakers_ticket t;
    int64_t wait_ms;
    bool refused;

    (void)breakers_admit(u, model, now_ms, &t, &refused, &wait_ms);
    breakers_ended(&t, how, "503", now_ms);
    breakers_ended(&t, how, "503", now_ms); /* harmless */
    return !refused;
}

static void fail_calls(struct breakers_upstream *u, struct slice model, int64_t now_ms)
{
    for (int i = 0; i < 4; i++)
        (void)call(u, model, BREAKERS_FAILED, now_ms);
}

/* -- what operators see -- */

struct seen {
    unsigned n, open;
    struct breakers_state state; /* of the last one of that kind and model */
    char cause[BREAKERS_CAUSE_BYTES];
    enum breakers_kind kind;
    struct slice model;
    bool any;
};

static void on_each(void *arg, const struct breakers_state *state)
{
    struct seen *s = arg;

    s->n++;
    s->open += state->state == BREAKER_OPEN;
    if (state->kind != s->kind || !slice_eq(state->model, s->model))
        return;
    s->any = true;
    s->state = *state;
    (void)snprintf(s->cause, sizeof(s->cause), "%s", state->cause);
}

static struct seen look(struct breakers *b, enum breakers_kind kind, struct slice model, int64_t now_ms)
{
    struct seen s = {.kind = kind, .model = model};

    breakers_each(b, now_ms, on_each, &s);
    return s;
}

static void a_listing_tells_state_cause_and_next_probe(void **state)
{
    struct pair p = pair_new(&conf);
    struct seen s;

    (void)state;
    s = look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 10);
    assert_true(s.any);
    assert_string_equal(s.state.upstream, "one");
    assert_string_equal(s.cause, "");
    assert_int_equal(s.state.for_ms, 10);
    assert_int_equal(s.state.next_probe_ms, -1);

    assert_true(breakers_judged(p.one, false, "", 100));
    assert_false(breakers_judged(p.one, true, "json", 100));
    assert_int_equal(look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 100).state.failed, 1);
    assert_false(breakers_judged(p.one, true, "incomplete", 100));
    s = look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 300);
    assert_int_equal(s.state.state, BREAKER_OPEN);
    assert_string_equal(s.cause, "2 broken answers, the last: incomplete");
    assert_int_equal(s.state.for_ms, 200);
    assert_int_equal(s.state.next_probe_ms, 800);
    assert_int_equal(s.state.level, 1);
    assert_false(breakers_may_store(p.one, 300));
    assert_false(breakers_judged(p.one, false, "", 300)); /* good, and yet not trusted */

    s = look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 1100);
    assert_int_equal(s.state.state, BREAKER_HALF_OPEN);
    assert_int_equal(s.state.next_probe_ms, 0);
    assert_true(breakers_may_store(p.one, 1100));
    assert_true(breakers_judged(p.one, false, "", 1100));
    s = look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 1100);
    assert_int_equal(s.state.state, BREAKER_CLOSED);
    assert_string_equal(s.cause, "the probe was good");
    pair_done(&p);
}

static void each_model_has_its_own(void **state)
{
    struct pair p = pair_new(&conf);
    struct seen s;

    (void)state;
    fail_calls(p.one, SLICE_OF("sick"), 100);
    (void)call(p.one, SLICE_OF("well"), BREAKERS_ANSWERED, 100);
    (void)call(p.one, SLICE_OF(""), BREAKERS_ANSWERED, 100);
    assert_int_equal(breakers_look(p.one, SLICE_OF("sick"), 100), BREAKER_SHUT);
    assert_int_equal(breakers_look(p.one, SLICE_OF("well"), 100), BREAKER_FREE);
    assert_int_equal(breakers_look(p.one, SLICE_OF("never heard of"), 100), BREAKER_FREE);
    s = look(p.all, BREAKERS_AVAILABILITY, SLICE_OF("sick"), 200);
    assert_int_equal(s.n, 1 + 1 + 3); /* validation, the models past the bound, and three */
    assert_string_equal(s.cause, "4 of 4 calls failed, the last: 503");
    s = look(p.all, BREAKERS_AVAILABILITY, SLICE_OF("well"), 200);
    assert_int_equal(s.state.calls, 1);
    pair_done(&p);
}

static struct slice model_named(char out[32], int n)
{
    (void)snprintf(out, 32, "model-%d", n);
    return slice_str(out);
}

static void models_are_bounded(void **state)
{
    struct pair p = pair_new(&conf);
    char name[32];

    (void)state;
    for (int i = 0; i < BREAKERS_MODELS_MAX; i++)
        (void)call(p.one, model_named(name, i), BREAKERS_ANSWERED, 100);
    fail_calls(p.one, SLICE_OF("one too many"), 100); /* shares the last cell … */
    assert_int_equal(breakers_look(p.one, SLICE_OF("another one"), 100), BREAKER_SHUT); /* … with all such */
    assert_int_equal(breakers_look(p.one, model_named(name, 5), 100), BREAKER_FREE);
    assert_int_equal(look(p.all, BREAKERS_AVAILABILITY, SLICE_OF("other"), 100).state.state, BREAKER_OPEN);
    /* Models that nobody asks for any more make room. */
    (void)call(p.one, SLICE_OF("newcomer"), BREAKERS_ANSWERED, 5000);
    assert_true(look(p.all, BREAKERS_AVAILABILITY, SLICE_OF("newcomer"), 5000).any);
    pair_done(&p);
}

static void a_model_with_a_call_under_way_keeps_its_place(void **state)
{
    struct pair p = pair_new(&conf);
    struct breakers_ticket t;
    char name[32];
    int64_t wait_ms;
    bool refused;

    (void)state;
    (void)breakers_admit(p.one, SLICE_OF("slow"), 100, &t, &refused, &wait_ms);
    for (int i = 0; i < 2 * BREAKERS_MODELS_MAX; i++)
        (void)call(p.one, model_named(name, i), BREAKERS_ANSWERED, 100000 + i * 2000);
    breakers_ended(&t, BREAKERS_FAILED, "timeout", 400000);
    assert_int_equal(look(p.all, BREAKERS_AVAILABILITY, SLICE_OF("slow"), 400000).state.failed, 1);
    pair_done(&p);
}

static void long_names_are_cut(void **state)
{
    static char name[300];
    struct pair p = pair_new(&conf);

    (void)state;
    memset(name, 'x', sizeof(name));
    fail_calls(p.one, slice_make(name, sizeof(name)), 100);
    assert_int_equal(breakers_look(p.one, slice_make(name, sizeof(name)), 100), BREAKER_SHUT);
    assert_int_equal(breakers_look(p.one, slice_make(name, BREAKERS_MODEL_BYTES), 100), BREAKER_SHUT);
    assert_int_equal(breakers_look(p.one, slice_make(name, BREAKERS_MODEL_BYTES - 1), 100), BREAKER_FREE);
    pair_done(&p);
}

static void refusing_is_a_choice(void **state)
{
    struct breakers_conf fast = conf;
    struct pair p = pair_new(&conf);
    struct breakers_ticket t;
    int64_t wait_ms;
    bool refused;

    (void)state;
    fail_calls(p.one, SLICE_OF("m"), 100);
    assert_int_equal(breakers_admit(p.one, SLICE_OF("m"), 200, &t, &refused, &wait_ms), BREAKER_SHUT);
    assert_false(refused);
    breakers_ended(&t, BREAKERS_ANSWERED, "", 200);

    fast.availability.fail_fast = true;
    assert_ptr_equal(breakers_take(p.all, "one", "http://one", &fast, 200),
                     p.one); /* a reload: counts stay */
    breakers_leave(p.one);
    assert_int_equal(breakers_admit(p.one, SLICE_OF("m"), 200, &t, &refused, &wait_ms), BREAKER_SHUT);
    assert_true(refused);
    assert_int_equal(wait_ms, 400);
    assert_null(t.of);
    pair_done(&p);
}

static void a_probe_tells_at_its_head_or_is_given_back(void **state)
{
    struct pair p = pair_new(&conf);
    struct breakers_ticket probe, other;
    int64_t wait_ms;
    bool refused;

    (void)state;
    fail_calls(p.one, SLICE_OF("m"), 100);
    assert_int_equal(breakers_admit(p.one, SLICE_OF("m"), 600, &probe, &refused, &wait_ms), BREAKER_PROBE);
    assert_int_equal(breakers_look(p.one, SLICE_OF("m"), 600), BREAKER_SHUT);
    breakers_ended(&probe, BREAKERS_UNKNOWN, "", 610);
    assert_int_equal(breakers_admit(p.one, SLICE_OF("m"), 620, &probe, &refused, &wait_ms), BREAKER_PROBE);
    breakers_answered(&probe, BREAKERS_ANSWERED, "", 630);
    assert_int_equal(breakers_admit(p.one, SLICE_OF("m"), 640, &other, &refused, &wait_ms), BREAKER_FREE);
    breakers_ended(&other, BREAKERS_ANSWERED, "", 640);
    breakers_ended(&probe, BREAKERS_FAILED, "cut", 650); /* it had told; now it is one call of many */
    assert_int_equal(look(p.all, BREAKERS_AVAILABILITY, SLICE_OF("m"), 650).state.failed, 1);
    assert_int_equal(look(p.all, BREAKERS_AVAILABILITY, SLICE_OF("m"), 650).state.calls, 2);
    pair_done(&p);
}

static void operators_open_close_and_reset(void **state)
{
    struct pair p = pair_new(&conf);

    (void)state;
    assert_false(breakers_command(p.all, SLICE_OF("two"), BREAKERS_VALIDATION, BREAKER_FORCE_OPEN, 100));
    assert_true(breakers_command(p.all, SLICE_OF("one"), BREAKERS_VALIDATION, BREAKER_FORCE_OPEN, 100));
    assert_false(breakers_may_store(p.one, 1000000));
    assert_true(look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 200).state.held);
    assert_int_equal(look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 200).state.next_probe_ms, -1);
    assert_true(breakers_command(p.all, SLICE_OF("one"), BREAKERS_VALIDATION, BREAKER_FORCE_CLOSE, 300));
    assert_true(breakers_may_store(p.one, 300));

    (void)call(p.one, SLICE_OF("known"), BREAKERS_ANSWERED, 300);
    assert_true(breakers_command(p.all, SLICE_OF("one"), BREAKERS_AVAILABILITY, BREAKER_FORCE_OPEN, 400));
    assert_int_equal(breakers_look(p.one, SLICE_OF("known"), 1000000), BREAKER_SHUT);
    assert_int_equal(breakers_look(p.one, SLICE_OF("new"), 1000000), BREAKER_SHUT);
    (void)call(p.one, SLICE_OF("new"), BREAKERS_ANSWERED, 1000000);
    assert_string_equal(look(p.all, BREAKERS_AVAILABILITY, SLICE_OF("new"), 1000000).cause, "by hand");
    assert_true(breakers_command(p.all, SLICE_OF("one"), BREAKERS_AVAILABILITY, BREAKER_RESET, 1000001));
    assert_int_equal(breakers_look(p.one, SLICE_OF("known"), 1000001), BREAKER_FREE);
    assert_int_equal(breakers_look(p.one, SLICE_OF("new"), 1000001), BREAKER_FREE);
    pair_done(&p);
}

static void what_nobody_has_is_not_listed(void **state)
{
    struct pair p = pair_new(&conf);
    struct breakers_upstream *two = breakers_take(p.all, "two", "http://two", &conf, 0);

    (void)state;
    assert_int_equal(look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 0).n, 4);
    assert_false(breakers_judged(two, true, "json", 10));
    assert_false(breakers_judged(two, true, "json", 10));
    breakers_leave(two);
    assert_int_equal(look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 0).n, 2);
    assert_false(breakers_command(p.all, SLICE_OF("two"), BREAKERS_VALIDATION, BREAKER_RESET, 20));
    assert_ptr_equal(breakers_take(p.all, "two", "http://two", &conf, 30),
                     two); /* put in again: it is as it was */
    assert_false(breakers_may_store(two, 30));
    pair_done(&p);
}

static void another_url_begins_anew(void **state)
{
    struct pair p = pair_new(&conf);
    struct seen s;

    (void)state;
    fail_calls(p.one, SLICE_OF("m"), 100);
    assert_false(breakers_judged(p.one, true, "json", 100));
    assert_false(breakers_judged(p.one, true, "json", 100));
    assert_ptr_equal(breakers_take(p.all, "one", "http://elsewhere", &conf, 200), p.one);
    breakers_leave(p.one);
    assert_true(breakers_may_store(p.one, 200));
    assert_int_equal(breakers_look(p.one, SLICE_OF("m"), 200), BREAKER_FREE);
    s = look(p.all, BREAKERS_VALIDATION, SLICE_OF(""), 200);
    assert_int_equal(s.state.level, 0);
    assert_string_equal(s.cause, "it has another URL");
    pair_done(&p);
}

static void metrics_show_the_worst_of_all_models(void **state)
{
    struct pair p = pair_new(&conf);
    struct metrics *m = metrics_new();
    unsigned label = metrics_label(m, LABEL_UPSTREAM, SLICE_OF("one"));

    (void)state;
    fail_calls(p.one, SLICE_OF("sick"), 100);
    (void)call(p.one, SLICE_OF("well"), BREAKERS_ANSWERED, 100);
    breakers_show(p.all, m, 100);
    assert_int_equal(metrics_sum2(m, BREAKER_STATE, label, KIND_AVAILABILITY), BREAKER_OPEN);
    assert_int_equal(metrics_sum2(m, BREAKER_STATE, label, KIND_VALIDATION), BREAKER_CLOSED);
    assert_int_equal(metrics_sum2(m, BREAKER_OPENED, label, KIND_AVAILABILITY), 1);
    breakers_show(p.all, m, 600);
    assert_int_equal(metrics_sum2(m, BREAKER_STATE, label, KIND_AVAILABILITY), BREAKER_HALF_OPEN);
    metrics_free(m);
    pair_done(&p);
}

/* -- threads -- */

enum { THREADS = 4, STEPS = 20000 };

struct shared {
    struct pair pair;
    atomic_llong now_ms;
    atomic_int probes; /* under way, of the only model that fails */
    atomic_int most_probes, refusals;
};

static void note_probe(struct shared *s)
{
    int n = atomic_fetch_add(&s->probes, 1) + 1, most = atomic_load(&s->most_probes);

    while (n > most && !atomic_compare_exchange_weak(&s->most_probes, &most, n))
        ;
}

static void one_call(struct shared *s, unsigned chance, int64_t now_ms)
{
    struct slice model = chance % 4 ? SLICE_OF("sick") : SLICE_OF("well");
    enum breakers_outcome how = chance % 7 == 0            ? BREAKERS_UNKNOWN
                                : chance % 4 && chance % 3 ? BREAKERS_FAILED
                                                           : BREAKERS_ANSWERED;
    struct breakers_ticket t;
    int64_t wait_ms;
    bool refused;

    if (breakers_admit(s->pair.one, model, now_ms, &t, &refused, &wait_ms) == BREAKER_PROBE && chance % 4)
        note_probe(s);
    if (refused) {
        atomic_fetch_add(&s->refusals, 1);
        return;
    }
    if (t.is_probe && chance % 4)
        atomic_fetch_sub(&s->probes, 1); /* before it tells: from then on there may be the next */
    breakers_ended(&t, how, "503", now_ms);
}

static void *hammer(void *arg)
{
    struct shared *s = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;

    for (int i = 0; i < STEPS; i++) {
        int64_t now_ms = atomic_fetch_add(&s->now_ms, i % 8 == 0);

        seed = seed * 1664525U + 1013904223U;
        one_call(s, seed >> 8, now_ms);
        if (breakers_may_store(s->pair.one, now_ms))
            (void)breakers_judged(s->pair.one, seed >> 16 & 1, "json", now_ms);
        if (i % 512 == 0)
            (void)look(s->pair.all, BREAKERS_VALIDATION, SLICE_OF(""), now_ms);
        if (i % 4096 == 0)
            breakers_leave(breakers_take(s->pair.all, "one", "http://one", &conf, now_ms));
        breakers_earn_retry(s->pair.one, &(struct retry_conf){.budget_permille = 100}, now_ms);
        (void)breakers_spend_retry(s->pair.one, now_ms);
    }
    return NULL;
}

static void threads_agree_on_one_probe(void **state)
{
    const struct log_conf quiet = {.level = LOG_ERROR};
    struct shared s = {.pair = pair_new(&conf)};
    pthread_t threads[THREADS];

    (void)state;
    (void)log_open(&quiet);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &s), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    log_close();
    assert_int_equal(atomic_load(&s.most_probes), 1);
    pair_done(&s.pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listing_tells_state_cause_and_next_probe),
        cmocka_unit_test(each_model_has_its_own),
        cmocka_unit_test(models_are_bounded),
        cmocka_unit_test(a_model_with_a_call_under_way_keeps_its_place),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(refusing_is_a_choice),
        cmocka_unit_test(a_probe_tells_at_its_head_or_is_given_back),
        cmocka_unit_test(operators_open_close_and_reset),
        cmocka_unit_test(what_nobody_has_is_not_listed),
        cmocka_unit_test(another_url_begins_anew),
        cmocka_unit_test(metrics_show_the_worst_of_all_models),
        cmocka_unit_test(threads_agree_on_one_probe),
    };

    return cmocka_run_group_tests_name("breakers", tests, NULL, NULL);
}
