/* jout: what it writes is JSON, whatever the values; a full buf is told of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "refrain/base/jout.h"

static void commas_and_brackets_stand_where_they_must(void **state)
{
    static const char want[] = "{\"a\":1,\"b\":[],\"c\":[true,null,{\"d\":\"x\\\"\"},\"y\"],\"e\":{}}";
    AUTO(buf_done) struct buf b = BUF_INIT(1000);
    struct jout j = jout_begin(&b);

    (void)state;
    jout_object(&j, NULL);
    jout_int(&j, "a", 1);
    jout_array(&j, "b");
    jout_end(&j);
    jout_array(&j, "c");
    jout_bool(&j, NULL, true);
    jout_null(&j, NULL);
    jout_object(&j, NULL);
    jout_text(&j, "d", SLICE_OF("x\""));
    jout_end(&j);
    jout_str(&j, NULL, "y");
    jout_end(&j);
    jout_object(&j, "e");
    jout_end(&j);
    jout_end(&j);
    assert_int_equal(jout_done(&j), 0);
    assert_int_equal(b.len, sizeof(want) - 1);
    assert_memory_equal(b.data, want, b.len);
}

static void numbers_are_exact(void **state)
{
    static const char want[] = "[-9223372036854775808,0.005,-1.500,1234.567,null,"
                               "0,0.000000001,1.5,-20,-0.001,9223372036.854775807,"
                               "\"1970-01-01T00:00:00.007Z\",\"2026-01-31T23:59:59.999Z\"]";
    AUTO(buf_done) struct buf b = BUF_INIT(1000);
    struct jout j = jout_begin(&b);

    (void)state;
    jout_array(&j, NULL);
    jout_int(&j, NULL, INT64_MIN);
    jout_milli(&j, NULL, 5);
    jout_milli(&j, NULL, -1500);
    jout_milli(&j, NULL, 1234567);
    jout_str(&j, NULL, NULL);
    jout_nano(&j, NULL, 0);
    jout_nano(&j, NULL, 1);
    jout_nano(&j, NULL, 1500000000);
    jout_nano(&j, NULL, -20000000000);
    jout_nano(&j, NULL, -1000000);
    jout_nano(&j, NULL, INT64_MAX);
    jout_time(&j, NULL, 7);
    jout_time(&j, NULL, 1769903999999);
    jout_end(&j);
    assert_int_equal(jout_done(&j), 0);
    assert_int_equal(b.len, sizeof(want) - 1);
    assert_memory_equal(b.data, want, sizeof(want) - 1);
}

static void a_full_buf_is_told_of(void **state)
{
    AUTO(buf_done) struct buf b = BUF_INIT(10);
    struct jout j = jout_begin(&b);

    (void)state;
    jout_array(&j, NULL);
    for (int i = 0; i < 10; i++)
        jout_int(&j, NULL, 100);
    jout_end(&j);
    assert_int_equal(jout_done(&j), -EMSGSIZE);
    assert_true(b.len <= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_brackets_stand_where_they_must),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(a_full_buf_is_told_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
