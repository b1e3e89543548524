/* ask: what a request asks of the cache, in the standard's words, ours and our peers'. SPEC section 6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "given.h"
#include "refrain/base/attr.h"
#include "refrain/policy/ask.h"

enum { HOUR = 3600, DAY = 24 * HOUR, YEAR = 365 * DAY };

static const struct ask_conf permissive = {.client_control = true, .ttl_max_s = 7 * DAY};

static bool read_ask(const struct given *given, const struct ask_conf *conf, struct ask *out,
                     const char **why)
{
    static struct fields f;

    given_fill(&f, given);
    fields_classify(&f, table);
    *why = NULL;
    return ask_read(&f, conf, out, why);
}

/* The five permissions as letters: Read, Write, Share, Join, Bypass. */
static const char *permissions(const struct ask *a)
{
    static char text[6];

    (void)snprintf(text, sizeof(text), "%c%c%c%c%c", a->may_read ? 'R' : '-', a->may_write ? 'W' : '-',
                   a->may_share ? 'S' : '-', a->joins ? 'J' : '-', a->bypass ? 'B' : '-');
    return text;
}

static void permissions_follow_from_what_is_asked(void **state)
{
    static const struct {
        const char *why;
        struct given given[GIVEN_MAX];
        const char *want, *reason;
    } cases[] = {
        {"nothing", {{0}}, "RWSJ-", NULL},
        {"no-cache asks upstream, and stores", {{"Cache-Control", "no-cache"}}, "-WS--", NULL},
        {"no-store touches nothing", {{"Cache-Control", "no-store"}}, "----B", "no-store"},
        {"max-age is a matter of freshness", {{"Cache-Control", "max-age=0"}}, "RWSJ-", NULL},
        {"RFC 9111 section 5.4", {{"Pragma", "no-cache"}}, "-WS--", NULL},
        {"Pragma gives way", {{"Pragma", "no-cache"}, {"Cache-Control", "max-age=5"}}, "RWSJ-", NULL},
        {"no-transform wants an answer without a coding", {{"Cache-Control", "no-transform"}}, "RWS--", NULL},
        {"unless the client takes it",
         {{"Cache-Control", "no-transform"}, {"Accept-Encoding", "gzip"}},
         "RWSJ-",
         NULL},
        {"another Pragma", {{"Pragma", "no-store"}}, "RWSJ-", NULL},
        {"two fields", {{"Cache-Control", "max-age=5"}, {"cache-control", "no-store"}}, "----B", "no-store"},

        {"on", {{"Refrain-Cache", "on"}}, "RWSJ-", NULL},
        {"off", {{"Refrain-Cache", "OFF"}}, "----B", "off"},
        {"refresh", {{"Refrain-Cache", " refresh "}}, "-WS--", NULL},
        {"read-only", {{"Refrain-Cache", "read-only"}}, "R-SJ-", NULL},
        {"write-only", {{"Refrain-Cache", "write-only"}}, "-WSJ-", NULL},
        {"the standard's and ours add up",
         {{"Refrain-Cache", "read-only"}, {"Cache-Control", "no-cache"}},
         "--S--",
         NULL},
        {"no-store goes before off",
         {{"Refrain-Cache", "off"}, {"Cache-Control", "no-store"}},
         "----B",
         "no-store"},

        {"Cloudflare", {{"cf-aig-skip-cache", "true"}}, "----B", "off"},
        {"Cloudflare, false", {{"cf-aig-skip-cache", "false"}}, "RWSJ-", NULL},
        {"Helicone", {{"Helicone-Cache-Enabled", "false"}}, "----B", "off"},
        {"Helicone, on", {{"Helicone-Cache-Enabled", "true"}}, "RWSJ-", NULL},
        {"Portkey", {{"x-portkey-cache-force-refresh", "True"}}, "-WS--", NULL},
        {"OpenRouter", {{"X-OpenRouter-Cache", "false"}}, "----B", "off"},
        {"OpenRouter clears",
         {{"X-OpenRouter-Cache", "true"}, {"X-OpenRouter-Cache-Clear", "true"}},
         "-WS--",
         NULL},
        {"Braintrust", {{"x-bt-use-cache", "never"}}, "----B", "off"},
        {"Braintrust, auto", {{"x-bt-use-cache", "auto"}}, "RWSJ-", NULL},
        {"Braintrust, always", {{"x-bt-use-cache", "always"}}, "RWSJ-", NULL},
        {"a bad peer's value", {{"cf-aig-skip-cache", "yes"}, {"x-bt-use-cache", ""}}, "RWSJ-", NULL},
        {"the stricter of two peers",
         {{"cf-aig-skip-cache", "true"}, {"x-portkey-cache-force-refresh", "true"}},
         "----B",
         "off"},
        {"ours before a peer's", {{"Refrain-Cache", "on"}, {"cf-aig-skip-cache", "true"}}, "RWSJ-", NULL},
        {"ours before a peer's, any order",
         {{"cf-aig-skip-cache", "true"}, {"Refrain-Cache", "refresh"}},
         "-WS--",
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ask a;
        const char *why;

        assert_true(read_ask(cases[i].given, &permissive, &a, &why));
        if (strcmp(permissions(&a), cases[i].want) != 0)
            fail_msg("%s: %s, not %s", cases[i].why, permissions(&a), cases[i].want);
        if (cases[i].reason ? !a.bypass_reason || strcmp(a.bypass_reason, cases[i].reason) != 0
                            : a.bypass_reason != NULL)
            fail_msg("%s: reason %s", cases[i].why, a.bypass_reason);
    }
}

static void values_are_read(void **state)
{
    static const struct given given[][GIVEN_MAX] = {
        {{"Refrain-TTL", "10m"},
         {"Refrain-Namespace", "team.a_1-x"},
         {"Refrain-Key", "my key"},
         {"Refrain-Variants", "64"}},
        {{"cf-aig-cache-ttl", "60"},
         {"x-portkey-cache-namespace", "n"},
         {"cf-aig-cache-key", "k"},
         {"Helicone-Cache-Bucket-Max-Size", "20"}},
        {{"Refrain-Tags", "a, b,,a"},
         {"Refrain-Tags", "c:1"},
         {"Refrain-Operation", "qa"},
         {"Helicone-Cache-Seed", "s"}},
        {{"Accept-Encoding", "gzip"},
         {"Cache-Control", "only-if-cached, no-transform, min-fresh=5"},
         {"If-None-Match", "\"a\""},
         {"If-Modified-Since", "x"}},
        {{"X-OpenRouter-Cache-TTL", "1"}, {"If-Modified-Since", "x"}},
        {{"x-bt-cache-ttl", "0"}, {"Helicone-Cache-Bucket-Max-Size", "65"}, {"Helicone-Cache-Seed", "a b"}},
    };
    struct ask a;
    const char *why;

    (void)state;
    assert_true(read_ask(given[0], &permissive, &a, &why));
    assert_int_equal(a.ttl_s, 600);
    assert_true(slice_eq(a.namespace_, SLICE_OF("team.a_1-x")));
    assert_true(slice_eq(a.custom_key, SLICE_OF("my key")));
    assert_int_equal(a.variants, 64);

    assert_true(read_ask(given[1], &permissive, &a, &why));
    assert_int_equal(a.ttl_s, 60);
    assert_true(slice_eq(a.namespace_, SLICE_OF("n")));
    assert_true(slice_eq(a.custom_key, SLICE_OF("k")));
    assert_int_equal(a.variants, 20);

    assert_true(read_ask(given[2], &permissive, &a, &why));
    assert_int_equal(a.tags_n, 3);
    assert_true(slice_eq(a.tags[1], SLICE_OF("b")));
    assert_true(slice_eq(a.tags[2], SLICE_OF("c:1")));
    assert_true(slice_eq(a.operation, SLICE_OF("qa")));
    assert_true(slice_eq(a.namespace_, SLICE_OF("s")));
    assert_int_equal(a.ttl_s, -1);
    assert_int_equal(a.variants, 0);
    assert_false(a.gzip || a.only_if_cached || a.no_transform);

    assert_true(read_ask(given[3], &permissive, &a, &why));
    assert_true(a.gzip && a.only_if_cached && a.no_transform);
    assert_int_equal(a.cc.min_fresh_s, 5);
    assert_true(slice_eq(a.if_none_match, SLICE_OF("\"a\"")));
    assert_int_equal(a.if_modified_since.len, 0); /* RFC 9110 section 13.1.3 */

    assert_true(read_ask(given[4], &permissive, &a, &why));
    assert_int_equal(a.ttl_s, 1);
    assert_int_equal(a.if_modified_since.len, 1);

    assert_true(read_ask(given[5], &permissive, &a, &why));
    assert_int_equal(a.ttl_s, -1);
    assert_int_equal(a.variants, 0);
    assert_int_equal(a.namespace_.len, 0);
}

#define NAME_64 "0123456789012345678901234567890123456789012345678901234567890123"

static void bad_values_of_ours_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *name, *value;
        bool ok;
    } cases[] = {
        {"Refrain-Cache", "yes", false},
        {"Refrain-Cache", "", false},
        {"Refrain-Cache", "on, off", false},
        {"Refrain-TTL", "0", false},
        {"Refrain-TTL", "soon", false},
        {"Refrain-TTL", "2y", false},
        {"Refrain-TTL", "366d", false},
        {"Refrain-Namespace", NAME_64, true},
        {"Refrain-Namespace", NAME_64 "4", false},
        {"Refrain-Namespace", "a b", false},
        {"Refrain-Namespace", "a:b", false},
        {"Refrain-Namespace", "", false},
        {"Refrain-Key", "", false},
        {"Refrain-Variants", "1", true},
        {"Refrain-Variants", "0", false},
        {"Refrain-Variants", "65", false},
        {"Refrain-Variants", "-1", false},
        {"Refrain-Operation", "a/b", false},
        {"Refrain-Tags", "", true},
        {"Refrain-Tags", "a b", false},
        {"Refrain-Tags", "*", false},
        {"Refrain-Tags", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,16", true},
        {"Refrain-Tags", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", false},
        {"Refrain-Something", "else", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct given given[GIVEN_MAX] = {{cases[i].name, cases[i].value}};
        struct ask a;
        const char *why;

        if (read_ask(given, &permissive, &a, &why) != cases[i].ok)
            fail_msg("%s: %s", cases[i].name, cases[i].value);
        if (!cases[i].ok && (!why || !strstr(why, cases[i].name)))
            fail_msg("%s: %s: the reason is %s", cases[i].name, cases[i].value, why);
    }
}

static void a_header_given_twice_is_refused(void **state)
{
    static const struct given given[GIVEN_MAX] = {{"Refrain-TTL", "1"}, {"refrain-ttl", "1"}};
    struct ask a;
    const char *why;

    (void)state;
    assert_false(read_ask(given, &permissive, &a, &why));
    assert_non_null(why);
}

static void some_things_want_leave_under_a_shared_scope(void **state)
{
    static const struct given key[GIVEN_MAX] = {{"Refrain-Key", "k"}},
                              none[GIVEN_MAX] = {{"Refrain-TTL", "none"}},
                              peer[GIVEN_MAX] = {{"cf-aig-cache-key", "k"}};
    struct ask_conf conf = {.client_control = true};
    struct ask a;
    const char *why;

    (void)state;
    assert_true(read_ask(key, &conf, &a, &why) && ask_check_leave(&a, &conf, false, &why));
    assert_false(ask_check_leave(&a, &conf, true, &why));
    assert_string_equal(why, "Refrain-Key is not allowed here");
    assert_true(read_ask(none, &conf, &a, &why) && ask_check_leave(&a, &conf, false, &why));
    assert_false(ask_check_leave(&a, &conf, true, &why));
    assert_string_equal(why, "Refrain-TTL: none is not allowed here");
    assert_true(read_ask(peer, &conf, &a, &why) && ask_check_leave(&a, &conf, false, &why));
    assert_int_equal(a.custom_key.len, 1);
    assert_true(ask_check_leave(&a, &conf, true, &why)); /* as if the peer's had not been given */
    assert_int_equal(a.custom_key.len, 0);
    conf.allow_custom_key = conf.allow_ttl_none = true;
    assert_true(read_ask(key, &conf, &a, &why) && ask_check_leave(&a, &conf, true, &why));
    assert_true(read_ask(peer, &conf, &a, &why) && ask_check_leave(&a, &conf, true, &why));
    assert_int_equal(a.custom_key.len, 1);
    assert_true(read_ask(none, &conf, &a, &why) && ask_check_leave(&a, &conf, true, &why));
    assert_int_equal(a.ttl_s, ASK_TTL_NONE);
}

static void lifetimes_are_capped(void **state)
{
    static const struct given given[][GIVEN_MAX] = {{{"Refrain-TTL", "8d"}},
                                                    {{"Refrain-TTL", "none"}},
                                                    {{"cf-aig-cache-ttl", "9999999"}},
                                                    {{"Refrain-TTL", "6d"}}};
    static const int64_t want[] = {7 * DAY, 7 * DAY, 7 * DAY, 6 * DAY};
    struct ask a;
    const char *why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        assert_true(read_ask(given[i], &permissive, &a, &why));
        assert_int_equal(a.ttl_s, want[i]);
    }
}

static void without_client_control_nothing_is_asked(void **state)
{
    static const struct given given[][GIVEN_MAX] = {
        {{"Cache-Control", "no-store, only-if-cached, no-transform, max-age=0"}, {"If-None-Match", "*"}},
        {{"Refrain-Cache", "off"}, {"Refrain-TTL", "nonsense"}, {"Pragma", "no-cache"}},
        {{"cf-aig-skip-cache", "true"}, {"cf-aig-cache-key", "k"}, {"Refrain-Tags", "a"}},
    };
    static const struct ask_conf conf = {.client_control = false};
    struct ask a;
    const char *why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        assert_true(read_ask(given[i], &conf, &a, &why));
        /* But what must not be transformed must not come as another's answer does, which may be coded. */
        assert_string_equal(permissions(&a), i == 0 ? "RWS--" : "RWSJ-");
        assert_false(a.only_if_cached);
        assert_int_equal(a.no_transform, i == 0);
        assert_int_equal(a.if_none_match.len, i == 0);
        assert_int_equal(a.cc.max_age_s, CC_ABSENT);
        assert_int_equal(a.custom_key.len + a.tags_n, 0);
    }
}

static void a_lifetime_has_several_forms(void **state)
{
    static const struct {
        struct slice text;
        int64_t want;
    } cases[] = {
        {SLICE("90"), 90},
        {SLICE("90s"), 90},
        {SLICE("10m"), 600},
        {SLICE("2h"), 2 * HOUR},
        {SLICE(" 7d "), 7 * DAY},
        {SLICE("none"), ASK_TTL_NONE},
        {SLICE("NONE"), ASK_TTL_NONE},
        {SLICE("1"), 1},
        {SLICE("31536000"), YEAR},
        {SLICE("365d"), YEAR},
        {SLICE("31536001"), -1},
        {SLICE("366d"), -1},
        {SLICE("0"), -1},
        {SLICE("0d"), -1},
        {SLICE("-1"), -1},
        {SLICE(""), -1},
        {SLICE("m"), -1},
        {SLICE("1.5h"), -1},
        {SLICE("1 h"), -1},
        {SLICE("1w"), -1},
        {SLICE("999999999999999999999999d"), -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (ask_parse_ttl(cases[i].text) != cases[i].want)
            fail_msg("%s", cases[i].text.data);
}

/* RFC 9110 sections 13.1.2 and 8.8.3.2. */
static void tags_match_weakly(void **state)
{
    static const struct {
        struct slice list, etag;
        bool want;
    } cases[] = {
        {SLICE("\"a\""), SLICE("\"a\""), true},
        {SLICE("W/\"a\""), SLICE("\"a\""), true},
        {SLICE("\"a\""), SLICE("W/\"a\""), true},
        {SLICE("\"b\", \"a\""), SLICE("\"a\""), true},
        {SLICE("\"b\",W/\"c\" ,\t\"a\""), SLICE("\"a\""), true},
        {SLICE("*"), SLICE("\"a\""), true},
        {SLICE(" * "), SLICE("\"a\""), true},
        {SLICE("\"x,\\\", \"a\""), SLICE("\"a\""), true}, /* a comma inside; a backslash escapes nothing */
        {SLICE("\"\""), SLICE("\"\""), true},
        {SLICE("\"x, \"a\", y\""), SLICE("\"a\""), false},
        {SLICE("\"A\""), SLICE("\"a\""), false},
        {SLICE("w/\"a\""), SLICE("\"a\""), false},
        {SLICE("a"), SLICE("\"a\""), false},
        {SLICE("\"a"), SLICE("\"a\""), false},
        {SLICE("\"b\", *"), SLICE("\"a\""), false},
        {SLICE("bad, \"a\""), SLICE("\"a\""), true},
        {SLICE("\"aa\""), SLICE("\"a\""), false},
        {SLICE(""), SLICE("\"a\""), false},
        {SLICE(",,"), SLICE("\"a\""), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (etag_list_matches(cases[i].list, cases[i].etag) != cases[i].want)
            fail_msg("%s in %s", cases[i].etag.data, cases[i].list.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permissions_follow_from_what_is_asked),
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(bad_values_of_ours_are_refused_with_a_reason),
        cmocka_unit_test(a_header_given_twice_is_refused),
        cmocka_unit_test(some_things_want_leave_under_a_shared_scope),
        cmocka_unit_test(lifetimes_are_capped),
        cmocka_unit_test(without_client_control_nothing_is_asked),
        cmocka_unit_test(a_lifetime_has_several_forms),
        cmocka_unit_test(tags_match_weakly),
    };

    return cmocka_run_group_tests_name("ask", tests, make_table, free_table);
}
