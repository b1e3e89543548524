/* limits: what is entered is counted and left again, at the bounds and by address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/address.h"
#include "refrain/http/limits.h"

static struct address at(const char *text)
{
    struct address a;

    assert_int_equal(address_parse(slice_str(text), &a), 0);
    return a;
}

static void connections_are_bounded_and_counted(void **state)
{
    const struct limits_conf conf = {.connections_max = 2};
    struct limits *l = limits_new(&conf);
    struct address a = at("192.0.2.1:1");

    (void)state;
    assert_int_equal(limits_enter(l, &a.any), LIMITS_OK);
    assert_int_equal(limits_enter(l, &a.any), LIMITS_OK);
    assert_int_equal(limits_enter(l, &a.any), LIMITS_FULL);
    assert_int_equal(limits_connections(l), 2);
    limits_leave(l, &a.any);
    assert_int_equal(limits_enter(l, &a.any), LIMITS_OK);
    assert_int_equal(limits_accepted(l), 3);
    assert_int_equal(limits_refused(l), 1);
    limits_free(l);
}

static void each_address_has_its_share(void **state)
{
    const struct limits_conf conf = {.connections_max = 10, .connections_per_address_max = 1};
    struct limits *l = limits_new(&conf);
    struct address one = at("192.0.2.1:1"), other_port = at("192.0.2.1:2"),
                   mapped = at("[::ffff:192.0.2.1]:3"), other = at("[2001:db8::1]:1"), local = at("unix:/x");

    (void)state;
    assert_int_equal(limits_enter(l, &one.any), LIMITS_OK);
    assert_int_equal(limits_enter(l, &other_port.any), LIMITS_ADDRESS_FULL);
    assert_int_equal(limits_enter(l, &mapped.any), LIMITS_ADDRESS_FULL); /* the same machine */
    assert_int_equal(limits_enter(l, &other.any), LIMITS_OK);
    assert_int_equal(limits_enter(l, &local.any), LIMITS_OK);
    assert_int_equal(limits_enter(l, &local.any), LIMITS_OK); /* not counted by address */
    assert_int_equal(limits_connections(l), 4);
    limits_leave(l, &one.any);
    assert_int_equal(limits_enter(l, &mapped.any), LIMITS_OK);
    limits_free(l);
}

static void buffered_bytes_are_bounded(void **state)
{
    const struct limits_conf conf = {.buffered_bytes_max = 100};
    struct limits *l = limits_new(&conf);

    (void)state;
    assert_true(limits_take_bytes(l, 60));
    assert_false(limits_take_bytes(l, 41));
    assert_true(limits_take_bytes(l, 40));
    assert_false(limits_take_bytes(l, SIZE_MAX));
    assert_int_equal(limits_buffered_bytes(l), 100);
    limits_give_back(l, 100);
    assert_int_equal(limits_buffered_bytes(l), 0);
    assert_false(limits_take_spare_bytes(l, 51));
    assert_true(limits_take_spare_bytes(l, 50));
    assert_false(limits_take_spare_bytes(l, 1));
    assert_true(limits_take_bytes(l, 50));
    limits_give_back(l, 100);
    assert_int_equal(limits_buffered_bytes(l), 0);
    limits_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_bounded_and_counted),
        cmocka_unit_test(each_address_has_its_share),
        cmocka_unit_test(buffered_bytes_are_bounded),
    };

    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
