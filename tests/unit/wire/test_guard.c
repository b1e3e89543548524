/* guard: what could be read in two ways is refused, and nothing else. SPEC section 2; RFC 9112 sections 3,
 * 5, 6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/guard.h"

enum { FIELDS_GIVEN_MAX = 4 };

struct given {
    struct slice name, value;
};

#define HOST                                                                                                 \
    {                                                                                                        \
        SLICE("Host"), SLICE("a")                                                                            \
    }
#define F(n, v)                                                                                              \
    {                                                                                                        \
        SLICE(n), SLICE(v)                                                                                   \
    }

static struct header_table *table;

static struct guard_verdict judge(enum guard_version version, struct slice method, struct slice target,
                                  const struct given *given)
{
    struct fields f = {.n = 0};

    for (int i = 0; i < FIELDS_GIVEN_MAX && given[i].name.data; i++)
        assert_int_equal(fields_add(&f, given[i].name, given[i].value), 0);
    fields_classify(&f, table);
    return guard_request(version, method, target, &f);
}

static void targets_are_origin_form(void **state)
{
    static const struct given host[FIELDS_GIVEN_MAX] = {HOST};
    static const struct {
        const char *why;
        struct slice method, target;
        unsigned want; /* status, 0: passed */
    } cases[] = {
        {"origin-form", SLICE("GET"), SLICE("/"), 0},
        {"query", SLICE("POST"), SLICE("/v1/chat/completions?a=b&c"), 0},
        {"escapes stay", SLICE("GET"), SLICE("/a%00b%2F"), 0},
        {"bytes beyond ASCII pass as they do elsewhere", SLICE("GET"), SLICE("/\xC3\xA9"), 0},
        {"two slashes further on", SLICE("GET"), SLICE("/a//b"), 0},
        {"asterisk-form", SLICE("OPTIONS"), SLICE("*"), 0},
        {"asterisk-form of another method", SLICE("GET"), SLICE("*"), 400},
        {"asterisk and more", SLICE("OPTIONS"), SLICE("*/"), 400},
        {"absolute-form", SLICE("GET"), SLICE("http://a/"), 400},
        {"authority-form", SLICE("GET"), SLICE("a:80"), 400},
        {"an authority in disguise", SLICE("GET"), SLICE("//a/b"), 400},
        {"empty", SLICE("GET"), SLICE(""), 400},
        {"fragment", SLICE("GET"), SLICE("/a#b"), 400},
        {"NUL", SLICE("GET"), SLICE("/a\0b"), 400},
        {"CR", SLICE("GET"), SLICE("/a\rb"), 400},
        {"LF", SLICE("GET"), SLICE("/a\nb"), 400},
        {"tab", SLICE("GET"), SLICE("/a\tb"), 400},
        {"DEL", SLICE("GET"), SLICE("/a\x7F"), 400},
        {"space", SLICE("GET"), SLICE("/a b"), 400},
        {"CONNECT", SLICE("CONNECT"), SLICE("a:80"), 405},
        {"TRACE", SLICE("TRACE"), SLICE("/"), 405},
        {"methods have a case", SLICE("connect"), SLICE("/"), 0},
        {"any other method", SLICE("PROPFIND"), SLICE("/"), 0},
        {"a method is a token", SLICE("GE\"T"), SLICE("/"), 400},
        {"no method", SLICE(""), SLICE("/"), 400},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct guard_verdict v = judge(GUARD_HTTP_11, cases[i].method, cases[i].target, host);

        if (v.ok != (cases[i].want == 0) || (!v.ok && error_status(v.code) != cases[i].want))
            fail_msg("%s: %s", cases[i].why, v.ok ? "passed" : v.why);
        if (!v.ok && (!v.why || !*v.why))
            fail_msg("%s: no reason", cases[i].why);
    }
}

static void heads_are_read_in_one_way_only(void **state)
{
    static const struct {
        const char *why;
        enum guard_version version;
        unsigned want; /* status, 0: passed */
        struct given fields[FIELDS_GIVEN_MAX];
    } cases[] = {
        {"plain", GUARD_HTTP_11, 0, {HOST}},
        {"length", GUARD_HTTP_11, 0, {HOST, F("Content-Length", "5")}},
        {"length zero", GUARD_HTTP_11, 0, {HOST, F("content-length", "0")}},
        {"chunked", GUARD_HTTP_11, 0, {HOST, F("Transfer-Encoding", "Chunked")}},
        {"other fields may repeat", GUARD_HTTP_11, 0, {HOST, F("Accept", "a"), F("Accept", "b")}},
        {"tab and obs-text in a value", GUARD_HTTP_11, 0, {HOST, F("X", "a\t\xE9")}},

        {"two lengths that differ",
         GUARD_HTTP_11,
         400,
         {HOST, F("Content-Length", "5"), F("Content-Length", "6")}},
        {"two that agree", GUARD_HTTP_11, 400, {HOST, F("Content-Length", "5"), F("Content-Length", "5")}},
        {"a list of lengths", GUARD_HTTP_11, 400, {HOST, F("Content-Length", "5, 5")}},
        {"signed", GUARD_HTTP_11, 400, {HOST, F("Content-Length", "+5")}},
        {"negative", GUARD_HTTP_11, 400, {HOST, F("Content-Length", "-1")}},
        {"hexadecimal", GUARD_HTTP_11, 400, {HOST, F("Content-Length", "0x5")}},
        {"empty length", GUARD_HTTP_11, 400, {HOST, F("Content-Length", "")}},
        {"past 64 bits", GUARD_HTTP_11, 400, {HOST, F("Content-Length", "18446744073709551617")}},
        {"length and coding",
         GUARD_HTTP_11,
         400,
         {HOST, F("Content-Length", "5"), F("Transfer-Encoding", "chunked")}},
        {"two codings",
         GUARD_HTTP_11,
         400,
         {HOST, F("Transfer-Encoding", "chunked"), F("Transfer-Encoding", "chunked")}},
        {"chunked twice", GUARD_HTTP_11, 400, {HOST, F("Transfer-Encoding", "chunked, chunked")}},
        {"gzip too", GUARD_HTTP_11, 400, {HOST, F("Transfer-Encoding", "gzip, chunked")}},
        {"identity", GUARD_HTTP_11, 400, {HOST, F("Transfer-Encoding", "identity")}},
        {"chunked in disguise",
         GUARD_HTTP_11,
         400,
         {HOST, F("Transfer-Encoding", "\x0B"
                                       "chunked")}},
        {"with a parameter", GUARD_HTTP_11, 400, {HOST, F("Transfer-Encoding", "chunked;a")}},
        {"coding in HTTP/1.0", GUARD_HTTP_10, 400, {HOST, F("Transfer-Encoding", "chunked")}},

        {"space before the colon", GUARD_HTTP_11, 400, {HOST, F("Content-Length ", "5")}},
        {"folded line, glued to the name", GUARD_HTTP_11, 400, {HOST, F("X\r\n y", "5")}},
        {"no name", GUARD_HTTP_11, 400, {HOST, F("", "5")}},
        {"bare CR", GUARD_HTTP_11, 400, {HOST, F("X", "a\rb")}},
        {"bare LF", GUARD_HTTP_11, 400, {HOST, F("X", "a\nb")}},
        {"NUL", GUARD_HTTP_11, 400, {HOST, F("X", "a\0b")}},
        {"DEL", GUARD_HTTP_11, 400, {HOST, F("X", "a\x7F")}},

        {"no Host", GUARD_HTTP_11, 400, {F("Accept", "a")}},
        {"no Host in HTTP/1.0", GUARD_HTTP_10, 0, {F("Accept", "a")}},
        {"two Hosts", GUARD_HTTP_11, 400, {HOST, HOST}},
        {"two Hosts in HTTP/1.0", GUARD_HTTP_10, 400, {HOST, HOST}},
        {"bad Host", GUARD_HTTP_11, 400, {F("Host", "a/b")}},
        {"empty Host, RFC 9112 section 3.2", GUARD_HTTP_11, 0, {F("Host", "")}},

        {"expectation", GUARD_HTTP_11, 0, {HOST, F("Expect", "100-Continue")}},
        {"unknown expectation", GUARD_HTTP_11, 417, {HOST, F("Expect", "magic")}},
        {"one of two unknown", GUARD_HTTP_11, 417, {HOST, F("Expect", "magic"), F("Expect", "100-continue")}},
        {"WebSocket",
         GUARD_HTTP_11,
         501,
         {HOST, F("Upgrade", "WebSocket"), F("Connection", "keep-alive, Upgrade")}},
        {"WebSocket among others",
         GUARD_HTTP_11,
         501,
         {HOST, F("Upgrade", "a, websocket/13"), F("Connection", "upgrade")}},
        {"not asked of this hop",
         GUARD_HTTP_11,
         0,
         {HOST, F("Upgrade", "websocket"), F("Connection", "close")}},
        {"HTTP/1.0 has no Upgrade",
         GUARD_HTTP_10,
         0,
         {HOST, F("Upgrade", "websocket"), F("Connection", "upgrade")}},
        {"an offer of HTTP/2 is left",
         GUARD_HTTP_11,
         0,
         {HOST, F("Upgrade", "h2c"), F("Connection", "Upgrade")}},

        {"framing before Host",
         GUARD_HTTP_11,
         400,
         {F("Transfer-Encoding", "identity"), F("Expect", "magic")}},
        {"Expect before Upgrade",
         GUARD_HTTP_11,
         417,
         {HOST, F("Expect", "x"), F("Upgrade", "websocket"), F("Connection", "upgrade")}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct guard_verdict v = judge(cases[i].version, SLICE_OF("POST"), SLICE_OF("/x"), cases[i].fields);

        if (v.ok != (cases[i].want == 0) || (!v.ok && error_status(v.code) != cases[i].want))
            fail_msg("%s: %s", cases[i].why, v.ok ? "passed" : v.why);
    }
}

/* RFC 3986 section 3.2.2 and 3.2.3. */
static void host_is_a_name_or_an_address(void **state)
{
    static const struct {
        struct slice host;
        bool want;
    } cases[] = {
        {SLICE(""), true},
        {SLICE("localhost"), true},
        {SLICE("api.example.com:8080"), true},
        {SLICE("a:"), true},
        {SLICE("127.0.0.1:65535"), true},
        {SLICE("127.0.0.1:65536"), false},
        {SLICE("a:99999999999999999999"), false},
        {SLICE("a:00080"), true},
        {SLICE("[::1]"), true},
        {SLICE("[::1]:80"), true},
        {SLICE("[2001:db8::ffff:192.0.2.1]"), true},
        {SLICE("[v1.a:b]"), true},
        {SLICE("[v.a]"), false},
        {SLICE("[v1.]"), false},
        {SLICE("[::1%25eth0]"), false},
        {SLICE("[::1"), false},
        {SLICE("[]"), false},
        {SLICE("[::1]x"), false},
        {SLICE("[1:2]"), false},
        {SLICE("[\0]"), false},
        {SLICE("::1"), false},
        {SLICE("a b"), false},
        {SLICE("a/b"), false},
        {SLICE("a?b"), false},
        {SLICE("user@a"), false},
        {SLICE("a\\b"), false},
        {SLICE("a%41"), true},
        {SLICE("a%4"), false},
        {SLICE("a%4g"), false},
        {SLICE("a:b"), false},
        {SLICE("a:80:80"), false},
        {SLICE("a:+80"), false},
        {SLICE("a, b"), false},
        {SLICE("\xC3\xA9"), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (guard_host_ok(cases[i].host) != cases[i].want)
            fail_msg("%s", cases[i].host.data);
}

static int make_table(void **state)
{
    (void)state;
    table = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    return table ? 0 : -1;
}

static int free_table(void **state)
{
    (void)state;
    header_table_free(table);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_origin_form),
        cmocka_unit_test(heads_are_read_in_one_way_only),
        cmocka_unit_test(host_is_a_name_or_an_address),
    };

    return cmocka_run_group_tests_name("guard", tests, make_table, free_table);
}
