/* csv: a line for each value, that spreadsheets read and do not act on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "csv.h"
#include "refrain/base/attr.h"

#define HEAD "section,subject,measure,value\r\n"

static void each_value_has_a_line(void **state)
{
    static const struct {
        const char *why, *json, *want;
    } cases[] = {
        {"nothing", "{}", HEAD},
        {"no JSON", "rubbish", HEAD},
        {"a member", "{\"s\":{\"n\":1}}", HEAD "s,,n,1\r\n"},
        {"kinds", "{\"s\":{\"t\":\"x\",\"b\":true,\"f\":-1.5,\"z\":null}}",
         HEAD "s,,t,x\r\ns,,b,true\r\ns,,f,-1.5\r\ns,,z,\r\n"},
        {"an object within", "{\"s\":{\"requests\":{\"hit\":3}}}", HEAD "s,,requests.hit,3\r\n"},
        {"elements are subjects, by what names them",
         "{\"p\":{\"operations\":[{\"operation\":\"chat\",\"result\":\"hit\",\"n\":3,\"q\":{\"n\":1}}]}}",
         HEAD "p.operations,chat hit,n,3\r\np.operations,chat hit,q.n,1\r\n"},
        {"an array at the top", "{\"slow\":[{\"id\":\"a\",\"took_s\":2},{\"id\":\"b\",\"took_s\":3}]}",
         HEAD "slow,a,took_s,2\r\nslow,b,took_s,3\r\n"},
        {"no elements", "{\"p\":{\"a\":[],\"n\":1}}", HEAD "p,,n,1\r\n"},
        {"a list of texts", "{\"p\":{\"tags\":[\"a\",\"b\"]}}", HEAD "p,,tags,a b\r\n"},
        {"what must be quoted", "{\"s\":{\"t\":\"a,b \\\"c\\\"\\r\\n\"}}",
         HEAD "s,,t,\"a,b \"\"c\"\"\r\n\"\r\n"},
        {"no formula", "{\"s\":{\"a\":\"=1+1\",\"b\":\"@x\",\"c\":\"-x\",\"d\":\"+1\",\"e\":\"\\tx\"}}",
         HEAD "s,,a,'=1+1\r\ns,,b,'@x\r\ns,,c,'-x\r\ns,,d,'+1\r\ns,,e,'\tx\r\n"},
        {"nor as a subject", "{\"s\":{\"models\":[{\"model\":\"=cmd|'x'\",\"n\":1}]}}",
         HEAD "s.models,'=cmd|'x',n,1\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(10000);

        assert_int_equal(csv_of_json(slice_str(cases[i].json), &out), 0);
        if (out.len != strlen(cases[i].want) || memcmp(out.data, cases[i].want, out.len) != 0)
            fail_msg("%s: %.*s", cases[i].why, (int)out.len, out.data);
    }
}

static void a_full_buf_is_told_of(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(40);

    (void)state;
    assert_true(csv_of_json(SLICE_OF("{\"s\":{\"a\":1,\"b\":2,\"c\":3}}"), &out) < 0);
}

static void what_is_deep_ends(void **state)
{
    AUTO(buf_done) struct buf json = BUF_INIT(100000), out = BUF_INIT(100000);

    (void)state;
    for (int i = 0; i < 2000; i++)
        assert_int_equal(buf_add_slice(&json, SLICE_OF("{\"a\":")), 0);
    assert_int_equal(buf_add_byte(&json, '1'), 0);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(buf_add_byte(&json, '}'), 0);
    assert_int_equal(csv_of_json(buf_slice(&json), &out), 0);
    assert_int_equal(out.len, strlen(HEAD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_value_has_a_line),
        cmocka_unit_test(a_full_buf_is_told_of),
        cmocka_unit_test(what_is_deep_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
