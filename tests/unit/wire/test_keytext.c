/* keytext: the name of an entry in Redis and on disk. SPEC section 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/keytext.h"

static void text_shows_no_more_than_it_may(void **state)
{
    static const struct {
        const char *why;
        struct slice model;
        const char *want;
    } cases[] = {
        {"as it is", SLICE("gpt-4o-mini"), "gpt-4o-mini"},
        {"a path of a model", SLICE("meta/llama_3.1-8b"), "meta/llama_3.1-8b"},
        {"a tag", SLICE("llama3:8b"), "llama3_8b"},
        {"anything else", SLICE("a b*c?\n\xC3\xA9\0]"), "a_b_c______"},
        {"none", SLICE(""), "-"},
        {"cut", SLICE("0123456789012345678901234567890123456789012345678901234567890123456789"),
         "0123456789012345678901234567890123456789012345678901234567890123"},
    };
    struct digest key = {{0xAB, 1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(1000), want = BUF_INIT(1000);

        assert_int_equal(keytext_add(&out, SLICE_OF("refrain"), SLICE_OF("default"), SLICE_OF("chat"),
                                     cases[i].model, &key),
                         0);
        assert_int_equal(buf_addf(&want, "refrain:default:chat:%s:ab01%060d", cases[i].want, 0), 0);
        if (!slice_eq(buf_slice(&out), buf_slice(&want)))
            fail_msg("%s: %.*s", cases[i].why, (int)out.len, out.data);
    }
}

static void without_a_prefix_the_namespace_stands_first(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(1000);
    struct digest key = {{0}};

    (void)state;
    assert_int_equal(keytext_add(&out, SLICE_OF(""), SLICE_OF("n:s"), SLICE_OF("o"), SLICE_OF("m"), &key), 0);
    assert_memory_equal(out.data, "n_s:o:m:0", 9);
}

static void text_that_does_not_fit_leaves_nothing(void **state)
{
    struct digest key = {{0}};
    size_t whole = strlen("refrain:n:o:m:") + DIGEST_HEX_LEN;

    (void)state;
    for (size_t max = 0; max <= whole; max++) {
        AUTO(buf_done) struct buf out = BUF_INIT(max);
        int r = keytext_add(&out, SLICE_OF("refrain"), SLICE_OF("n"), SLICE_OF("o"), SLICE_OF("m"), &key);

        assert_int_equal(r == 0, max == whole);
        assert_int_equal(out.len, r == 0 ? whole : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_shows_no_more_than_it_may),
        cmocka_unit_test(without_a_prefix_the_namespace_stands_first),
        cmocka_unit_test(text_that_does_not_fit_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
