/* redis_url: what operators write, and what is told of what they should not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "refrain/base/attr.h"
#include "refrain/store/redis_url.h"

static const struct {
    const char *text, *want; /* tls host port path user password db; - where not said */
} good[] = {
    {"redis://localhost", "plain localhost 0 - - - -"},
    {"redis://localhost/", "plain localhost 0 - - - -"},
    {"redis://10.0.0.1:7000", "plain 10.0.0.1 7000 - - - -"},
    {"redis://[::1]:7000/2", "plain ::1 7000 - - - 2"},
    {"redis://[::1]", "plain ::1 0 - - - -"},
    {"rediss://cache.internal:6380/0", "tls cache.internal 6380 - - - 0"},
    {"valkey://h", "plain h 0 - - - -"},
    {"valkeys://h", "tls h 0 - - - -"},
    {"redis://:secret@h", "plain h 0 - - secret -"},
    {"redis://user:secret@h:1/1", "plain h 1 - user secret 1"},
    {"redis://user@h", "plain h 0 - user - -"},
    {"redis://us%3aer:p%40s%2Fs%25@h", "plain h 0 - us:er p@s/s% -"},
    {"redis://user:a@b:c@h", "plain h 0 - user a@b:c -"},
    {"redis://user:@h", "plain h 0 - user  -"},
    {"unix:///run/redis.sock", "plain  0 /run/redis.sock - - -"},
    {"unix:/run/redis.sock", "plain  0 /run/redis.sock - - -"},
    {"unix:///run/redis.sock?db=3", "plain  0 /run/redis.sock - - 3"},
    {"unix://u:p@/run/redis.sock", "plain  0 /run/redis.sock u p -"},
    {"unix:///run/a%20b", "plain  0 /run/a b - - -"},
};

static const struct {
    const char *text, *part; /* of what is told */
} bad[] = {
    {"", "redis://"},
    {"localhost:6379", "redis://"},
    {"http://localhost", "redis://"},
    {"redis:/localhost", "redis://"},
    {"redis://", "no host"},
    {"redis://:6379", "no host"},
    {"redis://user:pass@", "no host"},
    {"redis://h:0", "port"},
    {"redis://h:65536", "port"},
    {"redis://h:", "port"},
    {"redis://h:12x", "port"},
    {"redis://h:1234567890123", "port"},
    {"redis://h/x", "database"},
    {"redis://h/1/2", "database"},
    {"redis://h/-1", "database"},
    {"redis://h?db=1", "sign that no host has"},
    {"redis://h h", "sign that no host has"},
    {"redis://[::1", "no ]"},
    {"redis://[::1]6379", "no ]"},
    {"redis://[::g]", "sign that no host has"},
    {"redis://[abc]", "no IPv6"},
    {"redis://u%4:p@h", "user"},
    {"redis://u:p%zz@h", "password"},
    {"redis://u:p%00@h", "password"},
    {"unix://", "no path"},
    {"unix:///", "missing"},
    {"unix://run/redis.sock", "begin with a /"},
    {"unix:///run/redis.sock?x=1", "db=N"},
    {"unix:///run/redis.sock?db=", "database"},
    {"unix:///"
     "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
     "01234567",
     "too long"},
};

static const char *said(bool has, const char *text)
{
    return has ? text : "-";
}

static void test_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct redis_url u;
        const char *what;
        char got[2048], db[16];

        if (redis_url_parse(slice_str(good[i].text), &u, &what) < 0)
            fail_msg("%s: %s", good[i].text, what);
        (void)snprintf(db, sizeof(db), "%u", u.db);
        (void)snprintf(got, sizeof(got), "%s %s %u %s %s %s %s", u.tls ? "tls" : "plain", u.host, u.port,
                       said(u.path[0], u.path), said(u.has_username, u.username),
                       said(u.has_password, u.password), said(u.has_db, db));
        assert_string_equal(got, good[i].want);
    }
}

static void test_what_is_wrong_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct redis_url u = {.port = 77};
        const char *what = NULL;

        assert_int_equal(redis_url_parse(slice_str(bad[i].text), &u, &what), -EINVAL);
        assert_int_equal(u.port, 77);
        if (!what || !strstr(what, bad[i].part))
            fail_msg("%s: %s", bad[i].text, what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_what_is_wrong_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
