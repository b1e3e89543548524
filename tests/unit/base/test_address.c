/* address: what operators write, there and back, and what is no address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "refrain/base/address.h"
#include "refrain/base/attr.h"

static void good_ones_come_back_as_written(void **state)
{
    static const struct {
        const char *why, *text, *again;
        int family;
        bool local;
    } cases[] = {
        {"loopback", "127.0.0.1:8080", "127.0.0.1:8080", AF_INET, true},
        {"all of 127/8", "127.9.9.9:1", "127.9.9.9:1", AF_INET, true},
        {"every IPv4 address", "0.0.0.0:80", "0.0.0.0:80", AF_INET, false},
        {"a port to be chosen", "127.0.0.1:0", "127.0.0.1:0", AF_INET, true},
        {"IPv6 loopback", "[::1]:65535", "[::1]:65535", AF_INET6, true},
        {"IPv6", "[2001:db8::1]:443", "[2001:db8::1]:443", AF_INET6, false},
        {"every address", ":8080", "[::]:8080", AF_INET6, false},
        {"this machine", "localhost:8080", "127.0.0.1:8080", AF_INET, true},
        {"unix socket", "unix:/run/refrain.sock", "unix:/run/refrain.sock", AF_UNIX, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf again = BUF_INIT(200);
        struct address a;

        if (address_parse(slice_str(cases[i].text), &a) != 0)
            fail_msg("%s: not taken", cases[i].why);
        assert_int_equal(a.any.sa_family, cases[i].family);
        assert_int_equal(address_is_local(&a), cases[i].local);
        assert_int_equal(address_format(&a, &again), 0);
        if (!slice_eq(buf_slice(&again), slice_str(cases[i].again)))
            fail_msg("%s: got %.*s", cases[i].why, (int)again.len, again.data);
    }
}

static void bad_ones_are_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:80a",
        "::1:8080",
        "[::1]",
        "[::1:8080",
        "example.com:80",
        "unix:",
        "unix:relative",
        "1.2.3:80",
        "[]:80",
        "127.0.0.1 :80",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80",
    };
    struct address a;
    char path[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (address_parse(slice_str(cases[i]), &a) != -EINVAL)
            fail_msg("taken: %s", cases[i]);
    memset(path, 'x', sizeof(path));
    memcpy(path, "unix:/", 6);
    assert_int_equal(address_parse(slice_make(path, 5 + 108), &a), -EINVAL);
    assert_int_equal(address_parse(slice_make(path, 5 + 107), &a), 0);
    assert_int_equal(address_parse(slice_make("unix:/a\0b", 9), &a), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_come_back_as_written),
        cmocka_unit_test(bad_ones_are_refused),
    };

    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
