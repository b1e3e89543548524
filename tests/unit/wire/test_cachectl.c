/* cachectl: directives of both sides, RFC 9111 section 5.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/cachectl.h"

/* What a row expects, written so that what it leaves out is absent. Deltas are one more than their value: 0
 * is absent. */
struct want {
    bool no_cache, no_store, no_transform, only_if_cached, is_private, is_public, must_revalidate,
        proxy_revalidate;
    bool must_understand, immutable, no_cache_fields, private_fields, max_stale_any;
    int64_t max_age, s_maxage, min_fresh, max_stale, swr, sie;
};

static struct cachectl expand(const struct want *w)
{
    return (struct cachectl){
        .no_cache = w->no_cache,
        .no_store = w->no_store,
        .no_transform = w->no_transform,
        .only_if_cached = w->only_if_cached,
        .is_private = w->is_private,
        .is_public = w->is_public,
        .must_revalidate = w->must_revalidate,
        .proxy_revalidate = w->proxy_revalidate,
        .must_understand = w->must_understand,
        .immutable = w->immutable,
        .no_cache_fields = w->no_cache_fields,
        .private_fields = w->private_fields,
        .max_stale_any = w->max_stale_any,
        .max_age_s = w->max_age - 1,
        .s_maxage_s = w->s_maxage - 1,
        .min_fresh_s = w->min_fresh - 1,
        .max_stale_s = w->max_stale - 1,
        .stale_while_revalidate_s = w->swr - 1,
        .stale_if_error_s = w->sie - 1,
    };
}

static bool same(const struct cachectl *a, const struct cachectl *b)
{
    return a->no_cache == b->no_cache && a->no_store == b->no_store && a->no_transform == b->no_transform &&
           a->only_if_cached == b->only_if_cached && a->is_private == b->is_private &&
           a->is_public == b->is_public && a->must_revalidate == b->must_revalidate &&
           a->proxy_revalidate == b->proxy_revalidate && a->must_understand == b->must_understand &&
           a->immutable == b->immutable && a->no_cache_fields == b->no_cache_fields &&
           a->private_fields == b->private_fields && a->max_stale_any == b->max_stale_any &&
           a->max_age_s == b->max_age_s && a->s_maxage_s == b->s_maxage_s &&
           a->min_fresh_s == b->min_fresh_s && a->max_stale_s == b->max_stale_s &&
           a->stale_while_revalidate_s == b->stale_while_revalidate_s &&
           a->stale_if_error_s == b->stale_if_error_s;
}

static void each_side_has_its_directives(void **state)
{
    enum side { REQUEST, RESPONSE };
    static const struct {
        const char *why;
        enum side side;
        struct slice first, second; /* two fields; the second may be empty */
        struct want want;
    } cases[] = {
        {"nothing", RESPONSE, SLICE(""), SLICE(""), {0}},
        {"one", RESPONSE, SLICE("max-age=60"), SLICE(""), {.max_age = 61}},
        {"any case", RESPONSE, SLICE("Max-Age=60, NO-STORE"), SLICE(""), {.max_age = 61, .no_store = true}},
        {"all flags",
         RESPONSE,
         SLICE(
             "no-cache,no-store,no-transform,private,public,must-revalidate,proxy-revalidate,must-understand,"
             "immutable"),
         SLICE(""),
         {.no_cache = true,
          .no_store = true,
          .no_transform = true,
          .is_private = true,
          .is_public = true,
          .must_revalidate = true,
          .proxy_revalidate = true,
          .must_understand = true,
          .immutable = true}},
        {"all deltas",
         RESPONSE,
         SLICE("s-maxage=1, max-age=2, stale-while-revalidate=3, stale-if-error=4"),
         SLICE(""),
         {.s_maxage = 2, .max_age = 3, .swr = 4, .sie = 5}},
        {"two fields are one list",
         RESPONSE,
         SLICE("max-age=1"),
         SLICE("no-store"),
         {.max_age = 2, .no_store = true}},
        {"white space, empty elements", RESPONSE, SLICE(" ,\t, max-age = 60 ,,"), SLICE(""), {.max_age = 61}},
        {"quoted, section 5.2", RESPONSE, SLICE("max-age=\"60\""), SLICE(""), {.max_age = 61}},
        {"the first counts, section 4.2.1",
         RESPONSE,
         SLICE("max-age=60, max-age=5"),
         SLICE("max-age=7"),
         {.max_age = 61}},
        {"no number is stale", RESPONSE, SLICE("max-age=soon"), SLICE(""), {.max_age = 1}},
        {"and stays so", RESPONSE, SLICE("max-age=soon, max-age=60"), SLICE(""), {.max_age = 1}},
        {"negative", RESPONSE, SLICE("max-age=-1"), SLICE(""), {.max_age = 1}},
        {"fraction", RESPONSE, SLICE("max-age=1.5"), SLICE(""), {.max_age = 1}},
        {"no value", RESPONSE, SLICE("max-age"), SLICE(""), {.max_age = 1}},
        {"empty value", RESPONSE, SLICE("s-maxage="), SLICE(""), {.s_maxage = 1}},
        {"leading zeros", RESPONSE, SLICE("max-age=0060"), SLICE(""), {.max_age = 61}},
        {"section 1.2.2: 2^31 at most",
         RESPONSE,
         SLICE("max-age=2147483648"),
         SLICE(""),
         {.max_age = 2147483649}},
        {"past that",
         RESPONSE,
         SLICE("max-age=99999999999999999999999999"),
         SLICE(""),
         {.max_age = 2147483649}},
        {"unknown ones",
         RESPONSE,
         SLICE("foo, bar=1, baz=\"a, no-store\", max-age=1"),
         SLICE(""),
         {.max_age = 2}},
        {"quoted comma and quote",
         RESPONSE,
         SLICE("x=\"a\\\", private\", public"),
         SLICE(""),
         {.is_public = true}},
        {"quotes pair up from the left", RESPONSE, SLICE("x=\"a, no-store, y=\"b\", z=\""), SLICE(""), {0}},
        {"an open quote hides nothing", RESPONSE, SLICE("x=\"a, no-store"), SLICE(""), {.no_store = true}},
        {"part of a name", RESPONSE, SLICE("xno-store, no-storex"), SLICE(""), {0}},
        {"named fields",
         RESPONSE,
         SLICE("no-cache=\"set-cookie\", private=\"a, b\""),
         SLICE(""),
         {.no_cache = true, .no_cache_fields = true, .is_private = true, .private_fields = true}},
        {"named fields and all",
         RESPONSE,
         SLICE("no-cache=\"a\", no-cache"),
         SLICE("no-cache=\"b\""),
         {.no_cache = true}},
        {"no field named is all", RESPONSE, SLICE("private=\"\""), SLICE(""), {.is_private = true}},
        {"a request's own", RESPONSE, SLICE("min-fresh=1, max-stale=1, only-if-cached"), SLICE(""), {0}},

        {"all of a request's",
         REQUEST,
         SLICE("no-cache, no-store, no-transform, only-if-cached"),
         SLICE(""),
         {.no_cache = true, .no_store = true, .no_transform = true, .only_if_cached = true}},
        {"all deltas",
         REQUEST,
         SLICE("max-age=0, min-fresh=2, max-stale=3, stale-if-error=4"),
         SLICE(""),
         {.max_age = 1, .min_fresh = 3, .max_stale = 4, .sie = 5}},
        {"max-stale, any", REQUEST, SLICE("max-stale"), SLICE(""), {.max_stale_any = true}},
        {"no number is not there", REQUEST, SLICE("max-age=soon, min-fresh, max-stale=x"), SLICE(""), {0}},
        {"the strictest",
         REQUEST,
         SLICE("max-age=9, min-fresh=1, max-stale=9"),
         SLICE("max-age=5, min-fresh=3, max-stale=8"),
         {.max_age = 6, .min_fresh = 4, .max_stale = 9}},
        {"a response's own",
         REQUEST,
         SLICE("private, public, s-maxage=1, must-revalidate, immutable"),
         SLICE(""),
         {0}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        void (*add)(struct cachectl * c, struct slice value) =
            cases[i].side == REQUEST ? cachectl_parse_request : cachectl_parse_response;
        struct cachectl got, want = expand(&cases[i].want);

        cachectl_init(&got);
        add(&got, cases[i].first);
        add(&got, cases[i].second);
        if (!same(&got, &want))
            fail_msg("%s: %s", cases[i].why, cases[i].first.data);
    }
}

/* Fields of a response as the front of @at tells: CDN-Cache-Control, but for those that begin with `!`. */
static void targeted_of(const char *const *lines, size_t n, struct fields *out)
{
    out->n = 0;
    for (size_t i = 0; i < n; i++) {
        bool other = lines[i][0] == '!';

        assert_int_equal(fields_add(out, SLICE_OF("x"), slice_str(lines[i] + other)), 0);
        out->at[i].flags = other ? HEADER_CACHE_CONTROL : HEADER_CDN_CACHE_CONTROL;
    }
}

static void a_target_field_is_a_dictionary(void **state)
{
    static const struct {
        const char *why;
        const char *lines[2];
        bool speaks;
        struct want want;
    } cases[] = {
        {"every directive",
         {"max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4, no-store, no-transform",
          "public, must-revalidate, proxy-revalidate, must-understand, immutable, no-cache, private"},
         true,
         {.max_age = 2,
          .s_maxage = 3,
          .swr = 4,
          .sie = 5,
          .no_store = true,
          .no_transform = true,
          .is_public = true,
          .must_revalidate = true,
          .proxy_revalidate = true,
          .must_understand = true,
          .immutable = true,
          .no_cache = true,
          .is_private = true}},
        {"names of fields",
         {"no-cache=\"set-cookie\", private=x-user"},
         true,
         {.no_cache = true, .no_cache_fields = true, .is_private = true, .private_fields = true}},
        {"no names are the whole", {"no-cache=\"\""}, true, {.no_cache = true}},
        {"no such field", {"!max-age=60"}, false, {0}},
        {"empty", {""}, false, {0}},
        {"beside Cache-Control", {"!no-store", "max-age=60"}, true, {.max_age = 61}},
        {"a directive that nobody knows speaks", {"none"}, true, {0}},
        {"larger than 2^31", {"max-age=99999999999"}, true, {.max_age = (INT64_C(1) << 31) + 1}},
        {"larger than any integer", {"max-age=9999999999999999"}, false, {0}},
        {"letters in upper case", {"Max-Age=60"}, false, {0}},
        {"spaces around the equals sign", {"max-age =60"}, false, {0}},
        {"a fault on another line", {"max-age=60", "&"}, false, {0}},
        {"a string for a number", {"max-age=\"60\", s-maxage=9"}, true, {.s_maxage = 10}},
        {"a fraction for a number", {"max-age=60.5"}, true, {0}},
        {"a number below nothing", {"max-age=-1"}, true, {0}},
        {"a number for a truth", {"no-store=1, private=7"}, true, {0}},
        {"what is false", {"no-store=?0"}, true, {0}},
        {"the last counts", {"max-age=1, max-age=2", "max-age=3"}, true, {.max_age = 4}},
        {"also where it is of another type", {"max-age=1, max-age=x"}, true, {0}},
        {"parameters do not count", {"max-age=1;max-age=2"}, true, {.max_age = 2}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cachectl got, want = expand(&cases[i].want);
        struct fields fields;

        cachectl_init(&got);
        targeted_of(cases[i].lines, cases[i].lines[1] ? 2 : 1, &fields);
        if (cachectl_read_targeted(&fields, HEADER_CDN_CACHE_CONTROL, &got) != cases[i].speaks ||
            !same(&got, &want))
            fail_msg("%s: %s", cases[i].why, cases[i].lines[0]);
    }
}

static void many_open_quotes_cost_no_more_than_their_bytes(void **state)
{
    enum { N = 100000 };
    static char text[N];
    struct cachectl c;

    (void)state;
    for (size_t i = 0; i < N; i += 2)
        memcpy(text + i, i ? "\\\"" : "\"x", 2);
    cachectl_init(&c);
    cachectl_parse_response(&c, slice_make(text, N));
    for (size_t i = 0; i < N; i += 2)
        memcpy(text + i, ",\"", 2);
    cachectl_parse_response(&c, slice_make(text, N - 2));
    assert_false(c.no_store);
}

static void fields_named_are_withheld(void **state)
{
    static const struct {
        const char *why, *value, *name;
        bool want;
    } cases[] = {
        {"named by private", "private=\"X-A\"", "x-a", true},
        {"named by no-cache", "max-age=1, No-Cache=\"x-b, X-A\"", "x-a", true},
        {"named without quotes", "private=x-a", "x-a", true},
        {"another one is named", "private=\"x-b\"", "x-a", false},
        {"the whole is private", "private", "x-a", false},
        {"some other directive", "public=\"x-a\"", "x-a", false},
        {"a longer name", "private=\"x-ab\"", "x-a", false},
        {"nothing is named", "private=\"\"", "x-a", false},
        {"inside another's quotes", "x=\"private=x-a\"", "x-a", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (cachectl_withholds(slice_str(cases[i].value), slice_str(cases[i].name)) != cases[i].want)
            fail_msg("%s", cases[i].why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_side_has_its_directives),
        cmocka_unit_test(fields_named_are_withheld),
        cmocka_unit_test(a_target_field_is_a_dictionary),
        cmocka_unit_test(many_open_quotes_cost_no_more_than_their_bytes),
    };

    return cmocka_run_group_tests_name("cachectl", tests, NULL, NULL);
}
