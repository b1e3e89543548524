/* fresh: lifetime and age of what comes, and what may answer later. RFC 9111 section 4.2, RFC 5861, RFC 9213.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "given.h"
#include "refrain/base/attr.h"
#include "refrain/policy/fresh.h"

enum { CAME_S = 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT */

static struct fields fields;

static void fill(const struct given *given)
{
    given_fill(&fields, given);
    fields_classify_response(&fields, table);
}

#define DATE                                                                                                 \
    {                                                                                                        \
        "Date", "Sun, 06 Nov 1994 08:49:37 GMT"                                                              \
    }
#define AGE(value)                                                                                           \
    {                                                                                                        \
        "Age", value                                                                                         \
    }
#define CONTROL(value)                                                                                       \
    {                                                                                                        \
        "Cache-Control", value                                                                               \
    }

static void a_lifetime_comes_from_the_best_source(void **state)
{
    static const struct {
        const char *why;
        struct given given[GIVEN_MAX];
        int64_t want_s;
    } cases[] = {
        {"nothing said", {DATE}, -1},
        {"max-age", {CONTROL("max-age=60")}, 60},
        {"s-maxage goes before max-age", {CONTROL("max-age=60, s-maxage=30")}, 30},
        {"max-age goes before Expires",
         {CONTROL("max-age=60"), DATE, {"Expires", "Sun, 06 Nov 1994 08:49:47 GMT"}},
         60},
        {"Expires less Date", {DATE, {"Expires", "Sun, 06 Nov 1994 08:49:47 GMT"}}, 10},
        {"Expires less the time it came", {{"Expires", "Sun, 06 Nov 1994 08:49:57 GMT"}}, 20},
        {"Expires before Date", {DATE, {"Expires", "Sun, 06 Nov 1994 08:49:07 GMT"}}, 0},
        {"Expires: 0", {DATE, {"Expires", "0"}}, 0},
        {"the first Expires", {{"Expires", "0"}, {"Expires", "Sun, 06 Nov 1994 08:50:37 GMT"}}, 0},
        {"Date is none", {{"Date", "nonsense"}, {"Expires", "Sun, 06 Nov 1994 08:50:37 GMT"}}, 60},
        {"a date of old", {{"Expires", "Sun Nov  6 08:50:37 1994"}}, 60},
        {"an older one", {DATE, {"Expires", "Sunday, 06-Nov-94 08:50:37 GMT"}}, 60},
        {"nonsense counts as stale", {CONTROL("max-age=soon")}, 0},
        {"the first of two", {CONTROL("max-age=10, max-age=20")}, 10},
        {"a target field goes before all", {CONTROL("max-age=60"), {"CDN-Cache-Control", "max-age=5"}}, 5},
        {"a target field without a lifetime hides Expires",
         {DATE, {"Expires", "Sun, 06 Nov 1994 08:49:47 GMT"}, {"CDN-Cache-Control", "public"}},
         -1},
        {"an empty target field hides nothing", {CONTROL("max-age=60"), {"CDN-Cache-Control", " "}}, 60},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fresh_word word;
        int64_t got;

        fill(cases[i].given);
        fresh_word_read(&fields, &word);
        got = fresh_lifetime_s(&fields, &word, CAME_S);
        if (got != cases[i].want_s)
            fail_msg("%s: %lld", cases[i].why, (long long)got);
    }
}

static void a_heuristic_wants_something_to_go_by(void **state)
{
    static const struct {
        const char *why;
        struct given given[GIVEN_MAX];
        unsigned status;
        int64_t want_s;
    } cases[] = {
        {"a tenth of 1000 s", {DATE, {"Last-Modified", "Sun, 06 Nov 1994 08:32:57 GMT"}}, 200, 100},
        {"without Date, of the time it came", {{"Last-Modified", "Sun, 06 Nov 1994 08:32:57 GMT"}}, 200, 100},
        {"a day at most", {DATE, {"Last-Modified", "Sun, 06 Nov 1984 08:32:57 GMT"}}, 200, 86400},
        {"nothing to go by", {DATE}, 200, -1},
        {"modified after it was sent", {DATE, {"Last-Modified", "Sun, 06 Nov 1994 08:59:57 GMT"}}, 200, -1},
        {"no date", {DATE, {"Last-Modified", "yesterday"}}, 200, -1},
        {"a status that upstream alone may give a lifetime",
         {DATE, {"Last-Modified", "Sun, 06 Nov 1994 08:32:57 GMT"}},
         302,
         -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got;

        fill(cases[i].given);
        got = fresh_heuristic_s(&fields, cases[i].status, CAME_S);
        if (got != cases[i].want_s)
            fail_msg("%s: %lld", cases[i].why, (long long)got);
    }
}

static void an_age_is_the_larger_of_what_is_said(void **state)
{
    static const struct {
        const char *why;
        struct given given[GIVEN_MAX];
        int64_t delay_ms, want_s;
    } cases[] = {
        {"nothing said", {{NULL, NULL}}, 0, 0},
        {"sent when it came", {DATE}, 0, 0},
        {"Age", {DATE, AGE("17")}, 0, 17},
        {"Date lies back", {{"Date", "Sun, 06 Nov 1994 08:49:07 GMT"}}, 0, 30},
        {"Date lies back further than Age says",
         {{"Date", "Sun, 06 Nov 1994 08:49:07 GMT"}, AGE("17")},
         0,
         30},
        {"Age says more than Date", {{"Date", "Sun, 06 Nov 1994 08:49:07 GMT"}, AGE("40")}, 0, 40},
        {"Date in the future", {{"Date", "Sun, 06 Nov 1994 09:49:07 GMT"}, AGE("4")}, 0, 4},
        {"no date", {{"Date", "today"}, AGE("4")}, 0, 4},
        {"the time it took is added to Age", {DATE, AGE("4")}, 2900, 6},
        {"the time it took is an age, too", {DATE}, 2000, 2},
        {"a clock set back meanwhile", {DATE, AGE("4")}, -9000, 4},
        {"the first of a list", {AGE("5, 90")}, 0, 5},
        {"the first of several", {AGE("5"), AGE("90")}, 0, 5},
        {"a word", {AGE("old")}, 0, 0},
        {"negative", {AGE("-7")}, 0, 0},
        {"a fraction", {AGE("7.0")}, 0, 0},
        {"empty", {AGE("")}, 0, 0},
        {"beyond any bound", {AGE("99999999999999999999999")}, 0, INT32_MAX},
        {"a bad one first in the list", {AGE("x, 90")}, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t came_ms = INT64_C(1000) * CAME_S, got;

        fill(cases[i].given);
        got = fresh_initial_age_s(&fields, came_ms - cases[i].delay_ms, came_ms);
        if (got != cases[i].want_s)
            fail_msg("%s: %lld", cases[i].why, (long long)got);
    }
}

static void what_is_left_when_it_comes(void **state)
{
    static const struct {
        const char *why;
        struct given given[GIVEN_MAX];
        int64_t given_ttl_s;
        unsigned status;
        bool heuristic, known, must_ask;
        int64_t left_s;
    } cases[] = {
        {"lifetime less age", {CONTROL("max-age=60"), AGE("10")}, 0, 200, false, true, false, 50},
        {"stale when it came", {CONTROL("max-age=60"), AGE("70")}, 0, 200, false, true, false, -10},
        {"nothing known", {DATE}, 0, 200, true, false, false, 0},
        {"given, whatever its age", {DATE, AGE("70")}, 60, 200, false, true, false, 60},
        {"its own goes before what is given", {CONTROL("max-age=5")}, 60, 200, false, true, false, 5},
        {"not given to a redirect of the moment", {DATE}, 60, 302, false, false, false, 0},
        {"given goes before the heuristic",
         {DATE, {"Last-Modified", "Sun, 06 Nov 1994 08:32:57 GMT"}},
         60,
         200,
         true,
         true,
         false,
         60},
        {"the heuristic's",
         {DATE, {"Last-Modified", "Sun, 06 Nov 1994 08:32:57 GMT"}},
         0,
         200,
         true,
         true,
         false,
         100},
        {"the heuristic's, less its age",
         {DATE, AGE("30"), {"Last-Modified", "Sun, 06 Nov 1994 08:32:57 GMT"}},
         0,
         200,
         true,
         true,
         false,
         70},
        {"no-cache", {CONTROL("max-age=60, no-cache")}, 0, 200, false, true, true, 0},
        {"no-cache alone", {CONTROL("no-cache")}, 60, 200, false, true, true, 0},
        {"no-cache of a field", {CONTROL("max-age=60, no-cache=\"a\"")}, 0, 200, false, true, false, 60},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct fresh_arrival arrival = {.fields = &fields,
                                              .status = cases[i].status,
                                              .asked_ms = INT64_C(1000) * CAME_S,
                                              .came_ms = INT64_C(1000) * CAME_S,
                                              .given_ttl_s = cases[i].given_ttl_s,
                                              .heuristic = cases[i].heuristic};
        struct fresh_life got;

        fill(cases[i].given);
        fresh_life_read(&arrival, &got);
        if (got.known != cases[i].known || got.must_ask != cases[i].must_ask || got.left_s != cases[i].left_s)
            fail_msg("%s: %d %d %lld", cases[i].why, got.known, got.must_ask, (long long)got.left_s);
    }
}

static void windows_are_upstreams_where_it_says_anything(void **state)
{
    static const struct {
        const char *why, *control;
        struct fresh_windows want; /* where configuration says 7 and 9 */
    } cases[] = {
        {"nothing said", "max-age=1", {7, 9, false}},
        {"both said", "max-age=1, stale-while-revalidate=30, stale-if-error=60", {30, 60, false}},
        {"one said", "max-age=1, stale-if-error=60", {7, 60, false}},
        {"none wanted", "max-age=1, stale-while-revalidate=0, stale-if-error=0", {0, 0, false}},
        {"nonsense opens none", "stale-if-error=ever", {7, 0, false}},
        {"must-revalidate", "max-age=1, must-revalidate, stale-if-error=60", {0, 0, true}},
        {"proxy-revalidate", "max-age=1, proxy-revalidate", {0, 0, true}},
        {"no-cache", "no-cache, stale-if-error=60", {0, 0, true}},
        {"no-cache of a field", "max-age=1, no-cache=\"X-A\"", {7, 9, false}},
        {"s-maxage closes configuration's", "s-maxage=1", {0, 0, true}},
        {"s-maxage beside a window by name", "s-maxage=1, stale-while-revalidate=30", {30, 0, false}},
        {"s-maxage beside a window of nothing", "s-maxage=1, stale-while-revalidate=0", {0, 0, true}},
        {"immutable ends with the lifetime", "max-age=1, immutable", {7, 9, false}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct given given[GIVEN_MAX] = {CONTROL(cases[i].control)};
        struct fresh_windows got = {7, 9, false}, want = cases[i].want;
        struct fresh_word word;

        fill(given);
        fresh_word_read(&fields, &word);
        fresh_windows_obey(&word, &got);
        if (got.while_revalidate_s != want.while_revalidate_s || got.if_error_s != want.if_error_s ||
            got.must_revalidate != want.must_revalidate)
            fail_msg("%s: %lld %lld %d", cases[i].why, (long long)got.while_revalidate_s,
                     (long long)got.if_error_s, got.must_revalidate);
    }
}

/* Created at 0 with an age of 10 s, fresh for 60 s; 30 s for refreshing, 120 s for errors. */
static const struct fresh_stored stored = {
    .created_ms = 0, .initial_age_s = 10, .expires_ms = 60000, .windows = {30, 120, false}};
/* The same, but must-revalidate. */
static const struct fresh_stored strict = {
    .created_ms = 0, .initial_age_s = 10, .expires_ms = 60000, .windows = {0, 0, true}};
static const struct fresh_stored endless = {
    .created_ms = 0, .initial_age_s = 0, .expires_ms = INT64_MAX, .windows = {0, 0, false}};

static void what_is_stored_answers_or_not(void **state)
{
    static const struct {
        const char *why, *asked;
        const struct fresh_stored *stored;
        int64_t now_ms;
        enum fresh_verdict want;
        bool on_error;
    } cases[] = {
        {"inside its lifetime", "", &stored, 59999, FRESH_SERVE, true},
        {"lifetime must exceed age", "", &stored, 60000, FRESH_SERVE_REFRESH, true},
        {"end of the refresh window", "", &stored, 89999, FRESH_SERVE_REFRESH, true},
        {"past the refresh window", "", &stored, 90000, FRESH_ASK, true},
        {"end of the error window", "", &stored, 179999, FRESH_ASK, true},
        {"past the error window", "", &stored, 180000, FRESH_ASK, false},
        {"for ever", "", &endless, INT64_C(1) << 50, FRESH_SERVE, true},
        {"for ever, but the request wants a young one", "max-age=5", &endless, 6000, FRESH_ASK, false},
        {"young enough", "max-age=20", &stored, 10999, FRESH_SERVE, true},
        {"too old by its age", "max-age=20", &stored, 11000, FRESH_ASK, false},
        {"max-age wants no stale one", "max-age=500", &stored, 61000, FRESH_ASK, false},
        {"max-age beside max-stale", "max-age=500, max-stale", &stored, 61000, FRESH_SERVE_REFRESH, true},
        {"fresh for long enough", "min-fresh=10", &stored, 50000, FRESH_SERVE, true},
        {"not fresh for long enough", "min-fresh=10", &stored, 50001, FRESH_ASK, false},
        {"min-fresh goes before max-stale", "min-fresh=10, max-stale", &stored, 61000, FRESH_ASK, false},
        {"any stale one", "max-stale", &stored, 1000000, FRESH_SERVE_STALE, true},
        {"stale enough for the request", "max-stale=100", &stored, 160000, FRESH_SERVE_STALE, true},
        {"staler than the request takes", "max-stale=100", &stored, 160001, FRESH_ASK, false},
        {"the request's limit holds in the window, too", "max-stale=5", &stored, 66000, FRESH_ASK, false},
        {"never stale", "max-stale", &strict, 60000, FRESH_ASK, false},
        {"never stale, but fresh", "", &strict, 59999, FRESH_SERVE, true},
        {"never stale on errors", "stale-if-error=500", &strict, 60000, FRESH_ASK, false},
        {"the request's own word for errors", "stale-if-error=500", &stored, 500000, FRESH_ASK, true},
        {"the request wants less on errors", "stale-if-error=10", &stored, 95000, FRESH_ASK, false},
        {"too old, but good on an error", "max-age=5, stale-if-error=10", &stored, 50000, FRESH_ASK, true},
        {"a clock set back", "", &stored, -5000, FRESH_SERVE, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum fresh_verdict got;
        struct cachectl asked;

        cachectl_init(&asked);
        cachectl_parse_request(&asked, slice_str(cases[i].asked));
        got = fresh_judge(cases[i].stored, &asked, cases[i].now_ms);
        if (got != cases[i].want)
            fail_msg("%s: %d", cases[i].why, (int)got);
        if (fresh_serves_on_error(cases[i].stored, &asked, cases[i].now_ms) != cases[i].on_error)
            fail_msg("%s: on an error", cases[i].why);
    }
}

static void an_age_grows_and_is_never_negative(void **state)
{
    (void)state;
    assert_int_equal(fresh_age_s(&stored, 0), 10);
    assert_int_equal(fresh_age_s(&stored, 5999), 15);
    assert_int_equal(fresh_age_s(&stored, -90000), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lifetime_comes_from_the_best_source),
        cmocka_unit_test(a_heuristic_wants_something_to_go_by),
        cmocka_unit_test(an_age_is_the_larger_of_what_is_said),
        cmocka_unit_test(what_is_left_when_it_comes),
        cmocka_unit_test(windows_are_upstreams_where_it_says_anything),
        cmocka_unit_test(what_is_stored_answers_or_not),
        cmocka_unit_test(an_age_grows_and_is_never_negative),
    };

    return cmocka_run_group_tests_name("fresh", tests, make_table, free_table);
}
