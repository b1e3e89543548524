/* slow: compared with one number, kept in a ring, never more than that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/http/slow.h"

enum { MS = 1000000 };

static void keep(struct slow *s, const char *id, int64_t took_ns)
{
    struct slow_request r = {.result = RESULT_MISS, .took_ns = took_ns, .upstream_ns = -1, .status = 200};

    slow_keep(s, &r, 1, slice_str(id), SLICE_OF("chat"), SLICE_OF("gpt-4o"), SLICE_OF("default"));
}

static void what_is_slow(void **state)
{
    static const struct {
        const char *why;
        bool streamed;
        unsigned operation;
        enum metric_result result;
        int64_t took_ns;
        bool want;
    } cases[] = {
        {"twice what is typical", false, 1, RESULT_MISS, 20 * MS, true},
        {"a little less", false, 1, RESULT_MISS, 20 * MS - 1, false},
        {"streams have a number of their own", true, 1, RESULT_MISS, 20 * MS, false},
        {"so does each result", false, 1, RESULT_HIT, 1 * MS, true},
        {"what is short is not slow, though many times as long", false, 1, RESULT_HIT, 999999, false},
        {"nothing is known of this operation", false, 2, RESULT_MISS, 3600000LL * MS, false},
    };
    struct slow *s = slow_new(1 * MS);

    (void)state;
    slow_set_typical(s, false, 1, RESULT_MISS, 10 * MS);
    slow_set_typical(s, true, 1, RESULT_MISS, 1000 * MS);
    slow_set_typical(s, false, 1, RESULT_HIT, MS / 100);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (slow_is(s, cases[i].streamed, cases[i].operation, cases[i].result, cases[i].took_ns) !=
            cases[i].want)
            fail_msg("%s", cases[i].why);
    slow_set_typical(s, false, 1, RESULT_MISS, 30 * MS); /* upstream is slower now */
    assert_false(slow_is(s, false, 1, RESULT_MISS, 59 * MS));
    slow_free(s);
}

static void the_newest_are_kept(void **state)
{
    static struct slow_request list[SLOW_KEPT + 1];
    struct slow *s = slow_new(0);
    char id[16];

    (void)state;
    slow_set_typical(s, false, 1, RESULT_MISS, 4 * MS);
    assert_int_equal(slow_list(s, list, SLOW_KEPT), 0);
    for (int i = 0; i < SLOW_KEPT + 5; i++) {
        (void)snprintf(id, sizeof(id), "r%d", i);
        keep(s, id, i);
    }
    assert_int_equal(slow_list(s, list, SLOW_KEPT + 1), SLOW_KEPT);
    assert_string_equal(list[0].id, "r204");
    assert_string_equal(list[SLOW_KEPT - 1].id, "r5");
    assert_string_equal(list[0].operation, "chat");
    assert_string_equal(list[0].model, "gpt-4o");
    assert_int_equal(list[0].typical_ns, 4 * MS);
    assert_int_equal(slow_list(s, list, 2), 2);
    assert_string_equal(list[1].id, "r203");
    slow_free(s);
}

static void long_names_are_cut(void **state)
{
    struct slow *s = slow_new(0);
    struct slow_request one, r = {.result = RESULT_HIT};
    char text[300];

    (void)state;
    memset(text, 'x', sizeof(text));
    slow_keep(s, &r, 0, slice_make(text, sizeof(text)), slice_make(text, 64), (struct slice){NULL, 0},
              slice_make(text, 65));
    assert_int_equal(slow_list(s, &one, 1), 1);
    assert_int_equal(strlen(one.id), SLOW_NAME_BYTES);
    assert_int_equal(strlen(one.operation), 64);
    assert_string_equal(one.model, "");
    assert_int_equal(strlen(one.namespace_), SLOW_NAME_BYTES);
    slow_free(s);
}

static void *keep_many(void *arg)
{
    for (int i = 0; i < 1000; i++)
        if (slow_is(arg, false, 1, RESULT_MISS, 10 * MS))
            keep(arg, "many", 10 * MS);
    return NULL;
}

static void threads_keep_while_it_is_listed(void **state)
{
    static struct slow_request list[SLOW_KEPT];
    struct slow *s = slow_new(0);
    pthread_t thread[2];

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, keep_many, s), 0);
    for (int64_t typical = 1; typical < 100; typical++) {
        size_t n;

        slow_set_typical(s, false, 1, RESULT_MISS, typical);
        n = slow_list(s, list, SLOW_KEPT);
        for (size_t i = 0; i < n; i++)
            assert_string_equal(list[i].id, "many");
    }
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    slow_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_slow),
        cmocka_unit_test(the_newest_are_kept),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(threads_keep_while_it_is_listed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
