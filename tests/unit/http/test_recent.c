/* recent: the nearest of what it still remembers, and where they part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/http/recent.h"

static struct digest key_of(unsigned n)
{
    return (struct digest){{(uint8_t)n, (uint8_t)(n >> 8)}};
}

/* A head of one part, and this body. */
static void trace_make(struct recent *r, const char *target, const char *body, struct trace *out)
{
    trace_begin(out, recent_secret(r));
    trace_body(out, slice_str(body));
    trace_part(out, TRACE_TARGET, SLICE_OF(""));
    trace_add(out, slice_str(target));
    trace_end(out);
}

static void add(struct recent *r, unsigned n, const char *body, int64_t now_ms)
{
    struct digest key = key_of(n);
    struct trace t;

    trace_make(r, "/a", body, &t);
    recent_add(r, &t, &key, OP_CHAT, now_ms);
}

static bool find(struct recent *r, const char *target, const char *body, struct recent_nearest *out)
{
    struct trace t;

    trace_make(r, target, body, &t);
    return recent_find(r, &t, OP_CHAT, 1000, out);
}

static void says_where_they_part(void **state)
{
    static const struct {
        const char *why, *target, *body;
        unsigned differ;
        enum recent_how how;
        bool leaf;
        unsigned at;
    } cases[] = {
        {"equal", "/a", "{\"b\":1,\"d\":[2,3]}", 0, 0, false, 0},
        {"another value", "/a", "{\"b\":2,\"d\":[2,3]}", 1, RECENT_DIFFERS, true, 0},
        {"another head", "/b", "{\"b\":1,\"d\":[2,3]}", 1, RECENT_DIFFERS, false, 0},
        {"a member more, first", "/a", "{\"a\":1,\"b\":1,\"d\":[2,3]}", 1, RECENT_ONLY_ASKED, true, 0},
        {"a member more, between", "/a", "{\"b\":1,\"c\":1,\"d\":[2,3]}", 1, RECENT_ONLY_ASKED, true, 1},
        {"an element more, last", "/a", "{\"b\":1,\"d\":[2,3,4]}", 1, RECENT_ONLY_ASKED, true, 3},
        {"a member less, first", "/a", "{\"d\":[2,3]}", 1, RECENT_ONLY_OTHER, true, 0},
        {"an element less, last", "/a", "{\"b\":1,\"d\":[2]}", 1, RECENT_ONLY_OTHER, true, 2},
        {"the body less", "/a", "", 3, RECENT_ONLY_OTHER, true, 0},
    };
    struct recent *r = recent_new(4);

    (void)state;
    add(r, 7, "{\"b\":1,\"d\":[2,3]}", 400);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct recent_nearest got;
        struct digest key = key_of(7);

        assert_true(find(r, cases[i].target, cases[i].body, &got));
        assert_true(digest_eq(&got.key, &key) && got.age_ms == 600);
        if (got.differ != cases[i].differ || got.n != cases[i].differ)
            fail_msg("%s: differs in %u", cases[i].why, got.differ);
        if (got.n > 0 &&
            (got.at[0].how != cases[i].how || got.at[0].leaf != cases[i].leaf || got.at[0].at != cases[i].at))
            fail_msg("%s: how %d, leaf %d, at %u", cases[i].why, got.at[0].how, got.at[0].leaf, got.at[0].at);
    }
    recent_free(r);
}

static void takes_the_nearest_and_of_equals_the_latest(void **state)
{
    struct recent *r = recent_new(8);
    struct recent_nearest got;
    struct digest key;

    (void)state;
    assert_false(find(r, "/a", "{\"a\":1}", &got));
    add(r, 1, "{\"a\":1,\"b\":1,\"c\":9}", 1);
    add(r, 2, "{\"a\":1,\"b\":9,\"c\":9}", 2);
    add(r, 3, "{\"a\":1,\"b\":1,\"c\":8}", 3);
    add(r, 4, "{\"a\":9}", 4);
    assert_true(find(r, "/a", "{\"a\":1,\"b\":1,\"c\":7}", &got));
    key = key_of(3);
    assert_true(digest_eq(&got.key, &key) && got.differ == 1);
    recent_free(r);
}

static void another_operation_is_no_neighbour(void **state)
{
    struct recent *r = recent_new(8);
    struct recent_nearest got;
    struct digest key = key_of(1);
    struct trace t;

    (void)state;
    trace_make(r, "/a", "{\"a\":1}", &t);
    recent_add(r, &t, &key, OP_EMBEDDING, 0);
    assert_false(find(r, "/a", "{\"a\":1}", &got));
    recent_free(r);
}

static void the_oldest_are_forgotten(void **state)
{
    struct recent *r = recent_new(16);
    struct recent_nearest got;
    char body[32];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(body, sizeof(body), "{\"a\":%u}", i);
        add(r, i, body, i);
    }
    assert_true(find(r, "/a", "{\"a\":84}", &got) && got.differ == 0);
    assert_true(find(r, "/a", "{\"a\":83}", &got) && got.differ == 1);
    recent_free(r);
}

/* Requests with many members crowd out others before the ring of heads is full; what is left is whole. */
static void large_requests_take_the_place_of_several(void **state)
{
    struct recent *r = recent_new(64);
    struct recent_nearest got;
    struct buf body = BUF_INIT(1 << 16);
    int failed = 0;

    (void)state;
    failed |= buf_addf(&body, "[");
    for (int i = 0; i < 2000; i++)
        failed |= buf_addf(&body, "%d,", i);
    failed |= buf_addf(&body, "0]%c", '\0');
    assert_int_equal(failed, 0);
    add(r, 1, "{\"a\":1}", 0);
    for (unsigned i = 0; i < 20; i++)
        add(r, 2, body.data, 0);
    assert_true(find(r, "/a", "{\"a\":1}", &got) && got.differ > 100); /* the small one is gone */
    assert_true(find(r, "/a", body.data, &got) && got.differ == 0);
    add(r, 3, "{\"a\":1}", 0);
    assert_true(find(r, "/a", "{\"a\":1}", &got) && got.differ == 0);
    buf_done(&body);
    recent_free(r);
}

static void remembers_why_an_answer_was_not_stored(void **state)
{
    struct recent *r = recent_new(4);
    struct recent_nearest got;
    struct digest key = key_of(2), unknown = key_of(9);

    (void)state;
    add(r, 1, "{\"a\":1}", 0);
    add(r, 2, "{\"a\":2}", 0);
    recent_settled(r, &key, "finish_reason");
    recent_settled(r, &unknown, "status");
    assert_true(find(r, "/a", "{\"a\":2}", &got));
    assert_string_equal(got.not_stored, "finish_reason");
    assert_true(find(r, "/a", "{\"a\":1}", &got));
    assert_null(got.not_stored);
    recent_settled(r, &key, NULL);
    assert_true(find(r, "/a", "{\"a\":2}", &got));
    assert_null(got.not_stored);
    recent_free(r);
}

static void no_more_differences_are_listed_than_there_is_room_for(void **state)
{
    struct recent *r = recent_new(4);
    struct recent_nearest got;

    (void)state;
    add(r, 1, "[1,2,3,4,5,6,7,8,9,10,11,12]", 0);
    assert_true(find(r, "/b", "[0,0,0,0,0,0,0,0,0,0,0,0]", &got));
    assert_int_equal(got.n, RECENT_DIFFERENCES_MAX);
    assert_int_equal(got.differ, 13);
    assert_int_equal(got.parts, 13);
    recent_free(r);
}

/* Keys that are told apart by more than where they are looked for, in a ring that has come round. */
static void remembers_it_of_the_right_one(void **state)
{
    struct recent *r = recent_new(4);
    struct recent_nearest got;
    struct digest gone = key_of(1), there = key_of(9);

    (void)state;
    for (unsigned n = 1; n <= 13; n += 4) {
        char body[] = "{\"a\":99}";

        body[6] = (char)('0' + n / 4);
        add(r, n, body, (int64_t)n);
    }
    add(r, 2, "{\"b\":1}", 20);
    recent_settled(r, &gone, "status");
    recent_settled(r, &there, "empty");
    assert_true(find(r, "/a", "{\"a\":92}", &got));
    assert_true(digest_eq(&got.key, &there) && got.differ == 0);
    assert_string_equal(got.not_stored, "empty");
    for (unsigned n = 1; n <= 3; n += 2) {
        char body[] = "{\"a\":99}";

        body[6] = (char)('0' + n);
        assert_true(find(r, "/a", body, &got));
        assert_null(got.not_stored);
    }
    recent_free(r);
}

/* Whoever differs from an earlier one in the named part alone is counted, once. */
static void counts_what_alone_tells_requests_apart(void **state)
{
    struct recent *r = recent_new(64);
    const uint64_t names[] = {trace_member_name(recent_secret(r), SLICE_OF("id")),
                              trace_member_name(recent_secret(r), SLICE_OF("other"))};
    unsigned n[2];

    (void)state;
    assert_int_equal(recent_count_lone(r, names, n, 2), 0);
    add(r, 1, "{\"a\":1,\"id\":1}", 0);
    add(r, 2, "{\"a\":1,\"id\":2}", 0);
    add(r, 3, "{\"a\":1,\"id\":3}", 0);
    add(r, 4, "{\"a\":2,\"id\":4}", 0); /* in two */
    add(r, 5, "{\"a\":1}", 0);          /* has none */
    add(r, 6, "{\"a\":1,\"id\":3}", 0); /* the same as one, and near two */
    assert_int_equal(recent_count_lone(r, names, n, 2), 6);
    assert_int_equal(n[0], 3);
    assert_int_equal(n[1], 0);
    recent_free(r);
}

static void compares_no_more_than_so_many(void **state)
{
    struct recent *r = recent_new(2 * RECENT_COMPARED_MAX);
    const uint64_t name = trace_member_name(recent_secret(r), SLICE_OF("a"));
    unsigned n;

    (void)state;
    for (unsigned i = 0; i < RECENT_COMPARED_MAX + 9; i++)
        add(r, i, "{\"a\":1}", 0);
    assert_int_equal(recent_count_lone(r, &name, &n, 1), RECENT_COMPARED_MAX);
    assert_int_equal(n, 0);
    recent_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_where_they_part),
        cmocka_unit_test(takes_the_nearest_and_of_equals_the_latest),
        cmocka_unit_test(another_operation_is_no_neighbour),
        cmocka_unit_test(the_oldest_are_forgotten),
        cmocka_unit_test(large_requests_take_the_place_of_several),
        cmocka_unit_test(remembers_why_an_answer_was_not_stored),
        cmocka_unit_test(remembers_it_of_the_right_one),
        cmocka_unit_test(no_more_differences_are_listed_than_there_is_room_for),
        cmocka_unit_test(counts_what_alone_tells_requests_apart),
        cmocka_unit_test(compares_no_more_than_so_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
