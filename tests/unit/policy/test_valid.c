/* valid: conditions of requests and of our own. RFC 9110 section 13, RFC 9111 section 4.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "given.h"
#include "refrain/base/attr.h"
#include "refrain/policy/valid.h"

#define EARLY  "Tue, 01 Jul 2025 10:00:00 GMT"
#define MIDDLE "Tue, 01 Jul 2025 10:00:01 GMT"
#define LATE   "Tue, 01 Jul 2025 12:00:00 GMT"

enum { NOW_S = 1751374800 };

static struct fields fields;

static void fill(const struct given *given)
{
    given_fill(&fields, given);
    fields_classify(&fields, table);
}

static struct valid_tags tags_of(const char *etag, const char *last_modified, const char *date)
{
    return (struct valid_tags){slice_str(etag), slice_str(last_modified), slice_str(date)};
}

static void tags_are_read_from_fields(void **state)
{
    static const struct given given[GIVEN_MAX] = {
        {"Last-Modified", EARLY}, {"ETag", "W/\"a\""}, {"Date", LATE}};
    struct valid_tags tags;

    (void)state;
    fill(given);
    valid_tags_read(&fields, &tags);
    assert_true(slice_eq(tags.etag, SLICE_OF("W/\"a\"")));
    assert_true(slice_eq(tags.last_modified, SLICE_OF(EARLY)));
    assert_true(slice_eq(tags.date, SLICE_OF(LATE)));
}

static void a_client_that_has_it_is_told_so(void **state)
{
    static const struct {
        const char *why;
        struct given asked[GIVEN_MAX];
        const char *etag, *last_modified, *date;
        bool want;
    } cases[] = {
        {"no condition", {{"Accept", "*/*"}}, "\"a\"", EARLY, LATE, false},
        {"the tag", {{"If-None-Match", "\"a\""}}, "\"a\"", "", LATE, true},
        {"another", {{"If-None-Match", "\"b\""}}, "\"a\"", "", LATE, false},
        {"weakly", {{"If-None-Match", "W/\"a\""}}, "\"a\"", "", LATE, true},
        {"a second line", {{"If-None-Match", "\"b\""}, {"If-None-Match", "\"a\""}}, "\"a\"", "", LATE, true},
        {"any", {{"If-None-Match", "*"}}, "", "", LATE, true},
        {"without a tag there is none to match", {{"If-None-Match", "\"a\""}}, "", "", LATE, false},
        {"an empty one is none", {{"If-None-Match", ""}}, "", "", LATE, false},
        {"since then", {{"If-Modified-Since", EARLY}}, "", EARLY, LATE, true},
        {"since before", {{"If-Modified-Since", EARLY}}, "", MIDDLE, LATE, false},
        {"since after", {{"If-Modified-Since", LATE}}, "", EARLY, LATE, true},
        {"since no date", {{"If-Modified-Since", "then"}}, "", EARLY, LATE, false},
        {"by Date", {{"If-Modified-Since", LATE}}, "", "", LATE, true},
        {"by Date, before", {{"If-Modified-Since", EARLY}}, "", "", LATE, false},
        {"by nothing", {{"If-Modified-Since", EARLY}}, "", "", "", false},
        {"the tag goes first, and differs",
         {{"If-None-Match", "\"b\""}, {"If-Modified-Since", LATE}},
         "\"a\"",
         EARLY,
         LATE,
         false},
        {"the tag goes first, and is the same",
         {{"If-None-Match", "\"a\""}, {"If-Modified-Since", EARLY}},
         "\"a\"",
         LATE,
         LATE,
         true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct valid_tags tags = tags_of(cases[i].etag, cases[i].last_modified, cases[i].date);

        fill(cases[i].asked);
        if (valid_not_modified(&fields, &tags, NOW_S) != cases[i].want)
            fail_msg("%s", cases[i].why);
    }
}

static void a_part_is_only_of_the_same_whole(void **state)
{
    static const struct {
        const char *why, *if_range, *etag, *last_modified, *date;
        bool want;
    } cases[] = {
        {"the tag", "\"a\"", "\"a\"", "", LATE, true},
        {"another", "\"b\"", "\"a\"", "", LATE, false},
        {"weak", "W/\"a\"", "W/\"a\"", "", LATE, false},
        {"weak where strong is stored", "W/\"a\"", "\"a\"", "", LATE, false},
        {"strong where weak is stored", "\"a\"", "W/\"a\"", "", LATE, false},
        {"none stored", "\"a\"", "", EARLY, LATE, false},
        {"the date", EARLY, "\"a\"", EARLY, LATE, true},
        {"in another form", "Tuesday, 01-Jul-25 10:00:00 GMT", "", EARLY, LATE, true},
        {"a later one", MIDDLE, "", EARLY, LATE, false},
        {"an earlier one", EARLY, "", MIDDLE, LATE, false},
        {"a second before Date is strong", EARLY, "", EARLY, MIDDLE, true},
        {"it may have changed twice in that second", EARLY, "", EARLY, EARLY, false},
        {"no Date to tell", EARLY, "", EARLY, "", false},
        {"neither tag nor date", "soon", "\"a\"", EARLY, LATE, false},
        {"nothing", "", "", "", LATE, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct valid_tags tags = tags_of(cases[i].etag, cases[i].last_modified, cases[i].date);

        if (valid_range_holds(slice_str(cases[i].if_range), &tags, NOW_S) != cases[i].want)
            fail_msg("%s", cases[i].why);
    }
}

static void a_304_is_about_what_was_asked_about(void **state)
{
    static const struct {
        const char *why, *etag, *last_modified, *stored_etag, *stored_last_modified;
        bool want;
    } cases[] = {
        {"it names nothing", "", "", "\"a\"", EARLY, true},
        {"the same tag", "\"a\"", "", "\"a\"", "", true},
        {"another", "\"b\"", "", "\"a\"", "", false},
        {"another, whatever the date", "\"b\"", EARLY, "\"a\"", EARLY, false},
        {"the same tag, whatever the date", "\"a\"", LATE, "\"a\"", EARLY, true},
        {"weak for strong", "W/\"a\"", "", "\"a\"", "", true},
        {"weak for weak", "W/\"a\"", "", "W/\"a\"", "", true},
        {"strong for weak", "\"a\"", "", "W/\"a\"", "", false},
        {"a tag where none is stored", "\"a\"", "", "", EARLY, true},
        {"the same date", "", EARLY, "", EARLY, true},
        {"another date", "", LATE, "", EARLY, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct valid_tags answer = tags_of(cases[i].etag, cases[i].last_modified, ""),
                          stored = tags_of(cases[i].stored_etag, cases[i].stored_last_modified, "");

        if (valid_confirms(&answer, &stored) != cases[i].want)
            fail_msg("%s", cases[i].why);
    }
}

static void a_head_describes_the_stored_get_or_not(void **state)
{
    static const struct {
        const char *why, *etag, *last_modified, *stored_etag, *stored_last_modified;
        int64_t length, stored_length;
        enum valid_description want;
    } cases[] = {
        {"all the same", "\"a\"", EARLY, "\"a\"", EARLY, 5, 5, VALID_DESCRIBES},
        {"nothing to go by", "", "", "", "", -1, 5, VALID_UNTOLD},
        {"a length is no proof", "", "", "", "", 5, 5, VALID_UNTOLD},
        {"but another one is", "", "", "", "", 6, 5, VALID_DIFFERS},
        {"the same date", "", EARLY, "", EARLY, -1, 5, VALID_DESCRIBES},
        {"another tag", "\"b\"", "", "\"a\"", "", 5, 5, VALID_DIFFERS},
        {"a tag less", "", "", "\"a\"", "", 5, 5, VALID_DIFFERS},
        {"a tag more", "\"a\"", "", "", "", 5, 5, VALID_DIFFERS},
        {"another date", "", LATE, "", EARLY, 5, 5, VALID_DIFFERS},
        {"another length", "\"a\"", "", "\"a\"", "", 6, 5, VALID_DIFFERS},
        {"no length", "\"a\"", "", "\"a\"", "", -1, 5, VALID_DESCRIBES},
        {"a length that is not known here", "\"a\"", "", "\"a\"", "", 6, -1, VALID_DESCRIBES},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct valid_tags answer = tags_of(cases[i].etag, cases[i].last_modified, ""),
                          stored = tags_of(cases[i].stored_etag, cases[i].stored_last_modified, "");

        if (valid_describes(&answer, cases[i].length, &stored, cases[i].stored_length) != cases[i].want)
            fail_msg("%s", cases[i].why);
    }
}

static void what_describes_the_bytes_stays(void **state)
{
    static const struct {
        const char *name;
        bool want;
    } cases[] = {
        {"X-New", true},          {"Cache-Control", true},     {"Date", true},
        {"Vary", true},           {"Content-Length", false},   {"Connection", false},
        {"Content-Range", false}, {"Content-Encoding", false}, {"Content-Type", false},
        {"ETag", false},          {"Refrain-Entry", false},    {"Transfer-Encoding", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct given given[GIVEN_MAX] = {{cases[i].name, "x"}};

        fill(given);
        if (valid_field_updates(&fields.at[0]) != cases[i].want)
            fail_msg("%s", cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_read_from_fields),
        cmocka_unit_test(a_client_that_has_it_is_told_so),
        cmocka_unit_test(a_part_is_only_of_the_same_whole),
        cmocka_unit_test(a_304_is_about_what_was_asked_about),
        cmocka_unit_test(a_head_describes_the_stored_get_or_not),
        cmocka_unit_test(what_describes_the_bytes_stays),
    };

    return cmocka_run_group_tests_name("valid", tests, make_table, free_table);
}
