/* jleaf: every leaf of a canonical text, once, with its path; and an end to anything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/jleaf.h"

/* "path=value" of every leaf, a space between. */
static int walk(struct slice text, struct buf *out)
{
    struct jleaf w;
    int r = 0;

    for (jleaf_begin(&w, text); jleaf_next(&w);) {
        if (out->len > 0)
            r |= buf_add_byte(out, ' ');
        r |= jleaf_path(&w, out);
        r |= buf_addf(out, "=%.*s", (int)w.value.len, w.value.data);
        assert_true(w.depth <= JLEAF_DEPTH_MAX && w.changed <= JLEAF_DEPTH_MAX);
    }
    return r;
}

static void every_leaf_has_its_path(void **state)
{
    static const struct {
        const char *why;
        struct slice text;
        const char *want;
    } cases[] = {
        {"a scalar alone", SLICE("1"), "=1"},
        {"members", SLICE("{\"a\":1,\"b\":\"x\",\"c\":null}"), "a=1 b=\"x\" c=null"},
        {"nested", SLICE("{\"m\":[{\"c\":\"hi\",\"r\":\"u\"},{\"c\":\"yo\"}],\"t\":0.5}"),
         "m[0].c=\"hi\" m[0].r=\"u\" m[1].c=\"yo\" t=0.5"},
        {"empty ones are leaves", SLICE("{\"a\":{},\"b\":[],\"c\":[{},[]]}"), "a={} b=[] c[0]={} c[1]=[]"},
        {"arrays of arrays", SLICE("[[1,2],[3]]"), "[0][0]=1 [0][1]=2 [1][0]=3"},
        {"brackets and quotes inside strings", SLICE("{\"a\":\"}],\\\"{\",\"b\":\"\\\\\"}"),
         "a=\"}],\\\"{\" b=\"\\\\\""},
        {"an empty name", SLICE("{\"\":1}"), "=1"},
        {"nothing", SLICE(""), ""},
        {"a string without end", SLICE("{\"a\":1,\"b\":\"x"), "a=1"},
        {"an object without end", SLICE("{\"a\":1"), "a=1"},
        {"no colon", SLICE("{\"a\""), ""},
        {"no name", SLICE("{\"a\":1,2}"), "a=1"},
        {"white space is not canonical", SLICE("{ \"a\":1}"), ""},
        {"what follows the end is not read", SLICE("{\"a\":1}{\"b\":2}"), "a=1"},
        {"a comma and no more", SLICE("[1,"), "[0]=1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf b = BUF_INIT(1000);

        assert_int_equal(walk(cases[i].text, &b), 0);
        if (!slice_eq(buf_slice(&b), slice_str(cases[i].want)))
            fail_msg("%s: got %.*s", cases[i].why, (int)b.len, b.data);
    }
}

static void what_lies_deeper_is_one_leaf(void **state)
{
    AUTO(buf_done) struct buf text = BUF_INIT(1000), out = BUF_INIT(1000);
    int r = 0;

    (void)state;
    for (int i = 0; i < JLEAF_DEPTH_MAX + 3; i++)
        r |= buf_addf(&text, "[");
    r |= buf_addf(&text, "\"]\",2");
    for (int i = 0; i < JLEAF_DEPTH_MAX + 3; i++)
        r |= buf_addf(&text, "]");
    assert_int_equal(r | walk(buf_slice(&text), &out), 0);
    assert_int_equal(out.len, 3 * JLEAF_DEPTH_MAX + strlen("=[[[\"]\",2]]]"));
}

static void changed_says_which_steps_are_new(void **state)
{
    static const unsigned want[] = {0, 1, 2, 0, 2};
    struct jleaf w;
    size_t n = 0;

    (void)state;
    jleaf_begin(&w, SLICE_OF("{\"a\":{\"b\":1,\"c\":[1,2]},\"d\":[[1,2]]}"));
    /* a.b  a.c[0]  a.c[1]  d[0][0]  d[0][1] */
    for (; jleaf_next(&w); n++)
        assert_int_equal(w.changed, want[n]);
    assert_int_equal(n, ARRAY_LEN(want));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_leaf_has_its_path),
        cmocka_unit_test(what_lies_deeper_is_one_leaf),
        cmocka_unit_test(changed_says_which_steps_are_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
