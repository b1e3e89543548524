/* changes: which targets an unsafe request changes. RFC 9111 section 4.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/http/changes.h"

static const struct changes_place place = {SLICE("main"), SLICE("http://api.example"), SLICE("/v1/files")};

static const struct siphash_key secret = {{1, 2}};

static uint64_t sum(const char *target)
{
    return changes_sum(&secret, place.upstream, slice_str(target));
}

static bool changed(const char *target, const char *location, const char *content_location)
{
    uint64_t sums[CHANGES_MAX];
    struct fields answer = {0};
    bool found = false;
    size_t n;

    if (location) {
        assert_int_equal(fields_add(&answer, SLICE_OF("Location"), slice_str(location)), 0);
        answer.at[0].flags = HEADER_LOCATION;
    }
    if (content_location)
        assert_int_equal(fields_add(&answer, SLICE_OF("Content-Location"), slice_str(content_location)), 0);
    n = changes_of(&secret, &place, &answer, sums);
    for (size_t i = 0; i < n; i++)
        found |= sums[i] == sum(target);
    return found;
}

static void the_target_has_changed(void **state)
{
    (void)state;
    assert_true(changed("/v1/files", NULL, NULL));
    assert_false(changed("/v1/files/1", NULL, NULL));
    assert_false(changed("/v1/files?x", NULL, NULL));
}

static void a_target_is_one_of_its_upstream(void **state)
{
    (void)state;
    assert_int_not_equal(sum("/v1/files"), changes_sum(&secret, SLICE_OF("other"), place.target));
    assert_int_not_equal(sum("/v1/files"), changes_sum(&secret, SLICE_OF("main/v1"), SLICE_OF("/files")));
}

static void instances_that_share_a_secret_agree(void **state)
{
    struct siphash_key one = changes_key(SLICE_OF("s")), same = changes_key(SLICE_OF("s")),
                       other = changes_key(SLICE_OF("t"));

    (void)state;
    assert_int_equal(changes_sum(&one, place.upstream, place.target),
                     changes_sum(&same, place.upstream, place.target));
    assert_int_not_equal(changes_sum(&one, place.upstream, place.target),
                         changes_sum(&other, place.upstream, place.target));
}

static void what_the_answer_names_has_changed_too(void **state)
{
    (void)state;
    assert_true(changed("/v1/files", "/v1/files/7", "files/8"));
    assert_true(changed("/v1/files/7", "/v1/files/7", "files/8"));
    assert_true(changed("/v1/files/8", "/v1/files/7", "files/8"));
    assert_false(changed("/v1/else", "http://other.example/v1/else", NULL));
}

static void no_more_than_there_is_room_for(void **state)
{
    uint64_t sums[CHANGES_MAX];
    struct fields answer = {0};

    (void)state;
    for (int i = 0; i < 3 * CHANGES_MAX; i++)
        assert_int_equal(fields_add(&answer, SLICE_OF("Content-Location"), SLICE_OF("/x")), 0);
    assert_int_equal(changes_of(&secret, &place, &answer, sums), CHANGES_MAX);
}

static void methods_that_nobody_knows_may_change_something(void **state)
{
    static const struct {
        const char *method;
        bool unsafe;
    } cases[] = {
        {"GET", false}, {"HEAD", false},  {"OPTIONS", false}, {"TRACE", false}, {"PROPFIND", false},
        {"POST", true}, {"PUT", true},    {"DELETE", true},   {"PATCH", true},  {"FROBNICATE", true},
        {"get", true},  {"QUERY", false}, {"", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (method_is_unsafe(slice_str(cases[i].method)) != cases[i].unsafe)
            fail_msg("%s", cases[i].method);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_target_has_changed),
        cmocka_unit_test(a_target_is_one_of_its_upstream),
        cmocka_unit_test(instances_that_share_a_secret_agree),
        cmocka_unit_test(what_the_answer_names_has_changed_too),
        cmocka_unit_test(no_more_than_there_is_room_for),
        cmocka_unit_test(methods_that_nobody_knows_may_change_something),
    };

    return cmocka_run_group_tests_name("changes", tests, NULL, NULL);
}
