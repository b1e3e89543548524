/* changes: which targets an unsafe request has changed. RFC 9111 section 4.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/http/changes.h"

static const struct changes_place place = {SLICE("main"), SLICE("http://api.example"), SLICE("/v1/files")};

static void note(struct changes *c, int64_t seq, const char *location, const char *content_location)
{
    struct fields answer = {0};

    if (location) {
        assert_int_equal(fields_add(&answer, SLICE_OF("Location"), slice_str(location)), 0);
        answer.at[0].flags = HEADER_LOCATION;
    }
    if (content_location)
        assert_int_equal(fields_add(&answer, SLICE_OF("Content-Location"), slice_str(content_location)), 0);
    changes_note(c, &place, &answer, seq);
}

static bool outdated(const struct changes *c, const char *target, int64_t seq)
{
    return changes_outdate(c, place.upstream, slice_str(target), seq);
}

static void what_is_older_than_a_change_is_of_no_use(void **state)
{
    struct changes *c = changes_new();

    (void)state;
    assert_false(outdated(c, "/v1/files", 1));
    note(c, 10, NULL, NULL);
    assert_true(outdated(c, "/v1/files", 9));
    assert_false(outdated(c, "/v1/files", 10));
    assert_false(outdated(c, "/v1/files", 11));
    note(c, 5, NULL, NULL); /* one that is told late changes nothing */
    assert_true(outdated(c, "/v1/files", 9));
    changes_free(c);
}

static void other_targets_stay(void **state)
{
    struct changes *c = changes_new();

    (void)state;
    note(c, 10, NULL, NULL);
    assert_false(outdated(c, "/v1/files/1", 9));
    assert_false(outdated(c, "/v1/files?x", 9));
    assert_false(changes_outdate(c, SLICE_OF("other"), place.target, 9));
    assert_false(changes_outdate(c, SLICE_OF("main/v1"), SLICE_OF("/files"), 9));
    changes_free(c);
}

static void what_the_answer_names_has_changed_too(void **state)
{
    struct changes *c = changes_new();

    (void)state;
    note(c, 10, "/v1/files/7", "files/8");
    assert_true(outdated(c, "/v1/files", 9));
    assert_true(outdated(c, "/v1/files/7", 9));
    assert_true(outdated(c, "/v1/files/8", 9));
    note(c, 20, "http://other.example/v1/else", NULL);
    assert_false(outdated(c, "/v1/else", 19));
    changes_free(c);
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
        cmocka_unit_test(what_is_older_than_a_change_is_of_no_use),
        cmocka_unit_test(other_targets_stay),
        cmocka_unit_test(what_the_answer_names_has_changed_too),
        cmocka_unit_test(methods_that_nobody_knows_may_change_something),
    };

    return cmocka_run_group_tests_name("changes", tests, NULL, NULL);
}
