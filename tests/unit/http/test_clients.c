/* clients: who is found by which token, limits to the unit, what outlives a roster. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/http/clients.h"

enum { THREADS = 4, EACH = 20000 };

static const int64_t second_ns = 1000000000;

static int begin(void **state)
{
    *state = clients_new();
    return *state ? 0 : -1;
}

static int end(void **state)
{
    clients_free(*state);
    return 0;
}

static struct roster *roster_of_one(struct clients *c, struct client_conf conf)
{
    struct roster *r = roster_new(c, &conf, 1);

    assert_non_null(r);
    return r;
}

static void a_token_is_its_clients_alone(void **state)
{
    struct digest tokens[CLIENTS_MAX], wrong;
    struct client_conf confs[CLIENTS_MAX];
    char names[CLIENTS_MAX][16];
    struct roster *r;

    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "client-%zu", i);
        tokens[i] = sha256_of(slice_str(names[i]));
        confs[i] = (struct client_conf){.name = slice_str(names[i]), .tokens = &tokens[i], .tokens_n = 1};
    }
    r = roster_new(*state, confs, CLIENTS_MAX);
    assert_int_equal(roster_n(r), CLIENTS_MAX);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        assert_ptr_equal(roster_find(r, &tokens[i]), roster_at(r, i));
        assert_int_equal(roster_at(r, i)->number, i + 1);
        wrong = tokens[i];
        wrong.bytes[31] ^= 1;
        assert_null(roster_find(r, &wrong));
        wrong = tokens[i];
        wrong.bytes[0] ^= 1;
        assert_null(roster_find(r, &wrong));
    }
    assert_ptr_equal(roster_named(r, SLICE_OF("client-7")), roster_at(r, 7));
    assert_null(roster_named(r, SLICE_OF("client-")));
    roster_free(r);
}

static void many_tokens_in_one_place_are_all_found(void **state)
{
    struct digest tokens[CLIENT_TOKENS_MAX] = {{{0}}}, absent = {{0}};
    struct client_conf conf = {.name = SLICE("a"), .tokens = tokens, .tokens_n = CLIENT_TOKENS_MAX};
    struct roster *r;

    for (size_t i = 0; i < CLIENT_TOKENS_MAX; i++)
        tokens[i].bytes[20] = (uint8_t)(i + 1); /* all begin alike */
    r = roster_of_one(*state, conf);
    for (size_t i = 0; i < CLIENT_TOKENS_MAX; i++)
        assert_ptr_equal(roster_find(r, &tokens[i]), roster_at(r, 0));
    assert_null(roster_find(r, &absent));
    roster_free(r);
}

static void groups_and_namespaces_are_known(void **state)
{
    const struct client_conf confs[] = {
        {.name = SLICE("a"), .scope = SLICE("team"), .namespace_ = SLICE("n")},
        {.name = SLICE("b"), .scope = SLICE("team")},
        {.name = SLICE("c"), .scope = SLICE("c"), .namespace_ = SLICE("m")},
    };
    struct roster *r = roster_new(*state, confs, ARRAY_LEN(confs));

    assert_true(roster_at(r, 0)->in_group && roster_at(r, 1)->in_group);
    assert_false(roster_at(r, 2)->in_group);
    assert_true(roster_keeps_namespace(r, SLICE_OF("n"), roster_at(r, 1)));
    assert_false(roster_keeps_namespace(r, SLICE_OF("n"), roster_at(r, 0)));
    assert_false(roster_keeps_namespace(r, SLICE_OF("default"), roster_at(r, 1)));
    roster_free(r);
}

/* So many at once, and then one each time that it takes for one to come back. */
static void a_minutes_requests_are_exact(void **state)
{
    static const unsigned rates[] = {1, 2, 3, 7, 59, 60, 61, 1000, 4999, 123457, CLIENT_RATE_MAX};

    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        char name[16];
        struct client_conf conf = {.requests_per_minute = rates[i]};
        int64_t now_ns = 5 * second_ns, wait_ns = -1;
        const struct client *c;
        struct roster *r;
        unsigned n = 0;

        (void)snprintf(name, sizeof(name), "rate-%zu", i);
        conf.name = slice_str(name);
        r = roster_of_one(*state, conf);
        c = roster_at(r, 0);
        while (client_take(c, now_ns, &wait_ns))
            n++;
        assert_int_equal(n, rates[i]);
        assert_true(wait_ns > 0 && wait_ns <= 60 * second_ns / rates[i] + 1);
        assert_false(client_take(c, now_ns + wait_ns - 1, &(int64_t){0}));
        assert_true(client_take(c, now_ns + wait_ns, &(int64_t){0}));
        assert_false(client_take(c, now_ns + wait_ns, &(int64_t){0}));
        for (n = 0, now_ns += 500 * second_ns; client_take(c, now_ns, &wait_ns);)
            n++; /* no more are saved up than a minute's */
        assert_int_equal(n, rates[i]);
        roster_free(r);
    }
}

struct crowd {
    const struct client *client;
    atomic_uint taken, most, inside;
};

static void *push(void *arg)
{
    struct crowd *crowd = arg;
    int64_t wait_ns;

    for (int i = 0; i < EACH; i++) {
        if (client_take(crowd->client, second_ns, &wait_ns))
            atomic_fetch_add(&crowd->taken, 1);
        if (client_begin(crowd->client)) {
            unsigned inside = atomic_fetch_add(&crowd->inside, 1) + 1, most = atomic_load(&crowd->most);

            while (inside > most && !atomic_compare_exchange_weak(&crowd->most, &most, inside))
                ;
            atomic_fetch_sub(&crowd->inside, 1);
            client_end(crowd->client);
        }
        client_count(crowd->client, (unsigned)i % 16, RESULT_HIT);
    }
    return NULL;
}

static void limits_hold_over_all_threads(void **state)
{
    struct client_conf conf = {.name = SLICE("crowd"), .requests_per_minute = 5000, .max_concurrent = 3};
    struct roster *r = roster_of_one(*state, conf);
    struct crowd crowd = {.client = roster_at(r, 0)};
    struct client_counts counts;
    pthread_t threads[THREADS];
    unsigned running;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, push, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(crowd.taken, 5000);
    assert_true(crowd.most >= 1 && crowd.most <= 3);
    client_counts(crowd.client, &counts, &running);
    assert_int_equal(running, 0);
    assert_int_equal(counts.requests[RESULT_HIT], THREADS * EACH);
    roster_free(r);
}

static void requests_at_the_same_time_are_exact(void **state)
{
    struct client_conf conf = {.name = SLICE("a"), .max_concurrent = 2};
    struct roster *r = roster_of_one(*state, conf);
    const struct client *c = roster_at(r, 0);

    assert_true(client_begin(c));
    assert_true(client_begin(c));
    assert_false(client_begin(c));
    assert_false(client_begin(c));
    client_end(c);
    assert_true(client_begin(c));
    assert_false(client_begin(c));
    client_end(c);
    client_end(c);
    roster_free(r);
}

static void a_reload_loses_nothing(void **state)
{
    struct client_conf conf = {.name = SLICE("a"), .requests_per_minute = 2, .max_concurrent = 1};
    struct roster *before = roster_of_one(*state, conf), *after, *later;
    struct client_counts counts;
    unsigned running;
    int64_t wait_ns;

    assert_true(client_take(roster_at(before, 0), second_ns, &wait_ns));
    assert_true(client_begin(roster_at(before, 0)));
    client_count(roster_at(before, 0), 0, RESULT_MISS);
    client_saved(roster_at(before, 0), 3, 10, 20, 30);
    after = roster_of_one(*state, conf);
    assert_true(client_take(roster_at(after, 0), second_ns, &wait_ns));
    assert_false(client_take(roster_at(after, 0), second_ns, &wait_ns));
    assert_false(client_begin(roster_at(after, 0)));
    client_end(roster_at(before, 0));
    assert_true(client_begin(roster_at(after, 0)));
    client_end(roster_at(after, 0));
    roster_free(before);
    roster_free(after);
    conf.requests_per_minute = 3; /* taken out, and put in again with another bound */
    later = roster_of_one(*state, conf);
    client_counts(roster_at(later, 0), &counts, &running);
    assert_int_equal(counts.requests[RESULT_MISS], 1);
    assert_int_equal(counts.tokens_in, 10);
    assert_int_equal(counts.tokens_out, 20);
    assert_int_equal(counts.nanodollars, 30);
    assert_false(client_take(roster_at(later, 0), second_ns, &wait_ns));
    assert_true(client_take(roster_at(later, 0), 21 * second_ns, &wait_ns));
    roster_free(later);
}

static void count_one(void *arg, const char *name, const struct client_counts *counts, unsigned running)
{
    size_t *n = arg;

    (void)name;
    (void)counts;
    (void)running;
    ++*n;
}

static void names_that_nobody_has_any_more_are_bounded(void **state)
{
    struct client_conf kept = {.name = SLICE("kept")};
    struct roster *r = roster_of_one(*state, kept);
    size_t n = 0;

    for (int i = 0; i < CLIENTS_KEPT_MAX + 100; i++) {
        char name[16];
        struct client_conf conf = {.tokens_n = 0};

        (void)snprintf(name, sizeof(name), "%d", i);
        conf.name = slice_str(name);
        roster_free(roster_of_one(*state, conf));
    }
    clients_each(*state, count_one, &n);
    assert_int_equal(n, CLIENTS_KEPT_MAX);
    assert_ptr_equal(roster_named(r, SLICE_OF("kept")), roster_at(r, 0));
    client_count(roster_at(r, 0), 0, RESULT_HIT); /* still there */
    roster_free(r);
}

static void what_is_refused_is_told_now_and_then(void **state)
{
    struct client_conf conf = {.name = SLICE("a")};
    struct roster *r = roster_of_one(*state, conf);

    assert_int_equal(clients_refused(*state, second_ns), 1);
    for (int i = 0; i < 9; i++)
        assert_int_equal(clients_refused(*state, 2 * second_ns), 0);
    assert_int_equal(clients_refused(*state, 11 * second_ns), 10);
    assert_true(client_limited(roster_at(r, 0), 0, true, second_ns));
    assert_false(client_limited(roster_at(r, 0), 1, false, 60 * second_ns));
    assert_true(client_limited(roster_at(r, 0), 0, true, 61 * second_ns));
    roster_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_token_is_its_clients_alone, begin, end),
        cmocka_unit_test_setup_teardown(many_tokens_in_one_place_are_all_found, begin, end),
        cmocka_unit_test_setup_teardown(groups_and_namespaces_are_known, begin, end),
        cmocka_unit_test_setup_teardown(a_minutes_requests_are_exact, begin, end),
        cmocka_unit_test_setup_teardown(requests_at_the_same_time_are_exact, begin, end),
        cmocka_unit_test_setup_teardown(limits_hold_over_all_threads, begin, end),
        cmocka_unit_test_setup_teardown(a_reload_loses_nothing, begin, end),
        cmocka_unit_test_setup_teardown(names_that_nobody_has_any_more_are_bounded, begin, end),
        cmocka_unit_test_setup_teardown(what_is_refused_is_told_now_and_then, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
