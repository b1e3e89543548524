/* access: the token alone opens, no browser is talked into asking, and guessing costs its sender alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>

#include "refrain/base/attr.h"
#include "refrain/ops/access.h"

#define TOKEN "0123456789abcdef"

static struct header_table *table;

static struct access *made(void)
{
    static const struct slice hosts[] = {SLICE("cache.internal"), SLICE("Refrain")};
    struct access *a = access_new();

    access_set(a, SLICE_OF(TOKEN), hosts, ARRAY_LEN(hosts));
    return a;
}

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out;

    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
        out.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
        out.ss_family = AF_INET6;
    else
        out.ss_family = AF_UNIX;
    return out;
}

static enum access_verdict judge(struct access *a, const char *host, const char *origin,
                                 const char *authorization, const char *from, int64_t now_ms)
{
    struct sockaddr_storage peer = address(from);
    struct fields fields = {.n = 0};
    unsigned retry_s = 0;
    enum access_verdict v;

    if (host)
        assert_int_equal(fields_add(&fields, SLICE_OF("Host"), slice_str(host)), 0);
    if (origin)
        assert_int_equal(fields_add(&fields, SLICE_OF("Origin"), slice_str(origin)), 0);
    if (authorization)
        assert_int_equal(fields_add(&fields, SLICE_OF("Authorization"), slice_str(authorization)), 0);
    fields_classify(&fields, table);
    v = access_judge(a, &fields, (struct sockaddr *)&peer, now_ms, &retry_s);
    assert_true((v == ACCESS_TOO_MANY) == (retry_s > 0));
    return v;
}

static void who_may(void **state)
{
    static const char right[] = "Bearer " TOKEN;
    static const struct {
        const char *why, *host, *origin, *authorization;
        enum access_verdict want;
    } cases[] = {
        {"an IPv4 address", "127.0.0.1:9180", NULL, right, ACCESS_GRANTED},
        {"an IPv6 address", "[::1]:9180", NULL, right, ACCESS_GRANTED},
        {"localhost", "localhost:9180", NULL, right, ACCESS_GRANTED},
        {"localhost in any case, with the root's dot", "LocalHost.:9180", NULL, right, ACCESS_GRANTED},
        {"a name it was told", "cache.internal", NULL, right, ACCESS_GRANTED},
        {"names have no case", "CACHE.internal:9180", NULL, right, ACCESS_GRANTED},
        {"any other name: rebinding", "evil.example:9180", NULL, right, ACCESS_HOST},
        {"a name that only begins so", "localhost.evil.example", NULL, right, ACCESS_HOST},
        {"a name that looks like an address", "127.0.0.1.evil.example", NULL, right, ACCESS_HOST},
        {"no address: octal", "0177.0.0.1.", NULL, right, ACCESS_HOST},
        {"no name", "", NULL, right, ACCESS_HOST},
        {"no Host", NULL, NULL, right, ACCESS_HOST},
        {"brackets without an end", "[::1", NULL, right, ACCESS_HOST},
        {"its own page", "localhost:9180", "http://localhost:9180", right, ACCESS_GRANTED},
        {"its own page behind TLS", "localhost:9180", "https://localhost:9180", right, ACCESS_GRANTED},
        {"another port is another site", "localhost:9180", "http://localhost:3000", right, ACCESS_ORIGIN},
        {"another site", "127.0.0.1:9180", "https://evil.example", right, ACCESS_ORIGIN},
        {"a sandboxed page", "127.0.0.1:9180", "null", right, ACCESS_ORIGIN},
        {"a file", "127.0.0.1:9180", "file://", right, ACCESS_ORIGIN},
        {"an extension", "127.0.0.1:9180", "chrome-extension://127.0.0.1:9180", right, ACCESS_ORIGIN},
        {"no token", "localhost", NULL, NULL, ACCESS_NO_TOKEN},
        {"an empty token", "localhost", NULL, "Bearer ", ACCESS_NO_TOKEN},
        {"another scheme", "localhost", NULL, "Basic " TOKEN, ACCESS_NO_TOKEN},
        {"the scheme in any case, spaces", "localhost", NULL, "bEARER   " TOKEN " ", ACCESS_GRANTED},
        {"another token", "localhost", NULL, "Bearer 1123456789abcdef", ACCESS_WRONG_TOKEN},
        {"the token's beginning", "localhost", NULL, "Bearer 0123456789abcde", ACCESS_WRONG_TOKEN},
        {"the token and more", "localhost", NULL, "Bearer " TOKEN "0", ACCESS_WRONG_TOKEN},
        {"another case", "localhost", NULL, "Bearer 0123456789ABCDEF", ACCESS_WRONG_TOKEN},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct access *a = made();
        enum access_verdict got =
            judge(a, cases[i].host, cases[i].origin, cases[i].authorization, "127.0.0.1", 0);

        if (got != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].why, got, cases[i].want);
        access_free(a);
    }
}

static enum access_verdict try(struct access *a, const char *token, const char *from, int64_t now_ms)
{
    return judge(a, "localhost", NULL, token, from, now_ms);
}

static void fail_times(struct access *a, int n, const char *from, int64_t now_ms)
{
    for (int i = 0; i < n; i++)
        assert_int_equal(try(a, "Bearer wrong", from, now_ms), ACCESS_WRONG_TOKEN);
}

static void guessing_bars_an_address_and_no_other(void **state)
{
    struct access *a = made();

    (void)state;
    fail_times(a, ACCESS_FAILURES_MAX, "192.0.2.1", 1000);
    assert_int_equal(try(a, "Bearer wrong", "192.0.2.1", 1000), ACCESS_TOO_MANY);
    assert_int_equal(try(a, "Bearer " TOKEN, "192.0.2.1", 1000),
                     ACCESS_TOO_MANY); /* else guessing would go on */
    assert_int_equal(try(a, "Bearer " TOKEN, "192.0.2.2", 1000), ACCESS_GRANTED);
    assert_int_equal(try(a, "Bearer " TOKEN, "a unix socket", 1000), ACCESS_GRANTED);
    access_free(a);
}

static void time_heals(void **state)
{
    struct access *a = made();

    (void)state;
    fail_times(a, ACCESS_FAILURES_MAX, "192.0.2.1", 1000);
    assert_int_equal(try(a, "Bearer " TOKEN, "192.0.2.1", 1999), ACCESS_TOO_MANY);
    assert_int_equal(try(a, "Bearer " TOKEN, "192.0.2.1", 2000), ACCESS_GRANTED);
    fail_times(a, 1, "192.0.2.1", 2000);
    assert_int_equal(try(a, "Bearer wrong", "192.0.2.1", 2000), ACCESS_TOO_MANY);
    fail_times(a, ACCESS_FAILURES_MAX, "192.0.2.1", 1000000); /* all, but no more than all, is forgiven */
    assert_int_equal(try(a, "Bearer wrong", "192.0.2.1", 1000000), ACCESS_TOO_MANY);
    access_free(a);
}

static void one_ipv6_network_is_one_caller(void **state)
{
    struct access *a = made();

    (void)state;
    fail_times(a, 5, "2001:db8::1", 0);
    fail_times(a, 5, "2001:db8::2", 0);
    assert_int_equal(try(a, "Bearer " TOKEN, "2001:db8::3", 0), ACCESS_TOO_MANY);
    assert_int_equal(try(a, "Bearer " TOKEN, "2001:db8:0:1::3", 0), ACCESS_GRANTED);
    fail_times(a, ACCESS_FAILURES_MAX, "::ffff:192.0.2.1", 0);
    assert_int_equal(try(a, "Bearer " TOKEN, "192.0.2.1", 0), ACCESS_TOO_MANY);
    assert_int_equal(try(a, "Bearer " TOKEN, "::ffff:192.0.2.2", 0), ACCESS_GRANTED);
    access_free(a);
}

static void more_addresses_than_are_remembered(void **state)
{
    struct access *a = made();
    char from[32];

    (void)state;
    fail_times(a, ACCESS_FAILURES_MAX, "192.0.2.1", 0);
    for (int i = 0; i < ACCESS_ADDRESSES_MAX - 1; i++) {
        (void)snprintf(from, sizeof(from), "10.0.%d.%d", i / 256, i % 256);
        fail_times(a, 1, from, 1);
    }
    assert_int_equal(try(a, "Bearer wrong", "192.0.2.1", 1), ACCESS_TOO_MANY);
    fail_times(a, 1, "10.1.1.1", 2); /* takes the place of the oldest */
    assert_int_equal(try(a, "Bearer " TOKEN, "192.0.2.1", 2), ACCESS_GRANTED);
    access_free(a);
}

static void a_new_token_replaces_the_old_one(void **state)
{
    struct access *a = made();

    (void)state;
    access_set(a, SLICE_OF("another"), NULL, 0);
    assert_int_equal(try(a, "Bearer another", "192.0.2.1", 0), ACCESS_GRANTED);
    assert_int_equal(try(a, "Bearer " TOKEN, "192.0.2.1", 0), ACCESS_WRONG_TOKEN);
    assert_int_equal(judge(a, "cache.internal", NULL, "Bearer another", "192.0.2.1", 0), ACCESS_HOST);
    access_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may),
        cmocka_unit_test(guessing_bars_an_address_and_no_other),
        cmocka_unit_test(time_heals),
        cmocka_unit_test(one_ipv6_network_is_one_caller),
        cmocka_unit_test(more_addresses_than_are_remembered),
        cmocka_unit_test(a_new_token_replaces_the_old_one),
    };
    int failed;

    table = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    header_table_free(table);
    return failed;
}
