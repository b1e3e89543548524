/* coding: what is packed comes back, and nothing but one intact gzip body is unpacked. RFC 1952. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "refrain/wire/coding.h"

enum { SIZE_MAX_TESTED = 200000 };

static char *make_text(size_t n, bool dull)
{
    char *text = malloc(n + 1);

    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = dull ? 'a' : (char)((i * 2654435761U) >> 13);
    return text;
}

static void what_is_packed_comes_back(void **state)
{
    static const size_t sizes[] = {0, 1, 1000, 32768, 32769, SIZE_MAX_TESTED};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (int level = 1; level <= 9; level += 4) {
            AUTO(buf_done) struct buf packed = BUF_INIT(2 * SIZE_MAX_TESTED), plain = BUF_INIT(sizes[i] + 3);
            char *text = make_text(sizes[i], i % 2);

            assert_int_equal(gzip_pack(slice_make(text, sizes[i]), level, &packed), 0);
            assert_int_equal(buf_add(&plain, "abc", 3), 0);
            assert_int_equal(gzip_unpack(buf_slice(&packed), &plain), 0); /* the ceiling is met exactly */
            assert_int_equal(plain.len, sizes[i] + 3);
            assert_memory_equal(plain.data, "abc", 3);
            assert_memory_equal(plain.data + 3, text, sizes[i]);
            free(text);
        }
    }
}

static void packing_is_repeatable(void **state)
{
    AUTO(buf_done) struct buf a = BUF_INIT(1000), b = BUF_INIT(1000);

    (void)state;
    assert_int_equal(gzip_pack(SLICE_OF("{\"a\":1}"), 6, &a), 0);
    assert_int_equal(gzip_pack(SLICE_OF("{\"a\":1}"), 6, &b), 0);
    assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
}

static void ceilings_hold_both_ways(void **state)
{
    AUTO(buf_done) struct buf packed = BUF_INIT(10000);
    AUTO(buf_done) struct buf plain = BUF_INIT(SIZE_MAX_TESTED - 1);
    AUTO(buf_done) struct buf small = BUF_INIT(30);
    char *text = make_text(SIZE_MAX_TESTED, true);

    (void)state;
    assert_int_equal(gzip_pack(slice_make(text, SIZE_MAX_TESTED), 6, &packed), 0); /* 1 : 900 */
    assert_int_equal(gzip_unpack(buf_slice(&packed), &plain), -EMSGSIZE);
    assert_int_equal(plain.len, 0);
    assert_int_equal(buf_add(&small, "abc", 3), 0);
    assert_int_equal(gzip_pack(slice_make(text, SIZE_MAX_TESTED), 6, &small), -EMSGSIZE);
    assert_int_equal(small.len, 3);
    free(text);
}

static void only_an_intact_body_is_unpacked(void **state)
{
    AUTO(buf_done) struct buf packed = BUF_INIT(10000), plain = BUF_INIT(10000);
    struct slice whole;

    (void)state;
    assert_int_equal(gzip_pack(SLICE_OF("an answer, an answer, an answer"), 6, &packed), 0);
    whole = buf_slice(&packed);
    for (size_t len = 0; len < whole.len; len++)
        assert_int_equal(gzip_unpack(slice_make(whole.data, len), &plain), -EBADMSG);
    for (size_t at = 0; at < whole.len; at++) {
        if (at >= 4 && at <= 9)
            continue; /* time and system: nobody's sum covers them */
        packed.data[at] = (char)(packed.data[at] ^ 0x20);
        if (gzip_unpack(whole, &plain) == 0)
            fail_msg("a flip at %zu of %zu is not seen", at, whole.len);
        packed.data[at] = (char)(packed.data[at] ^ 0x20);
    }
    assert_int_equal(plain.len, 0);
    assert_int_equal(buf_add(&packed, "\0", 1), 0);
    assert_int_equal(gzip_unpack(buf_slice(&packed), &plain), -EBADMSG);
    assert_int_equal(gzip_unpack(SLICE_OF("{\"not\":\"gzip\"}"), &plain), -EBADMSG);
    assert_int_equal(plain.len, 0);
}

/* RFC 1952 section 2.2. */
static void members_are_joined(void **state)
{
    AUTO(buf_done) struct buf packed = BUF_INIT(10000), plain = BUF_INIT(100);

    (void)state;
    assert_int_equal(gzip_pack(SLICE_OF("one "), 6, &packed), 0);
    assert_int_equal(gzip_pack(SLICE_OF(""), 6, &packed), 0);
    assert_int_equal(gzip_pack(SLICE_OF("two"), 6, &packed), 0);
    assert_int_equal(gzip_unpack(buf_slice(&packed), &plain), 0);
    assert_true(slice_eq(buf_slice(&plain), SLICE_OF("one two")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_back), cmocka_unit_test(packing_is_repeatable),
        cmocka_unit_test(ceilings_hold_both_ways),   cmocka_unit_test(only_an_intact_body_is_unpacked),
        cmocka_unit_test(members_are_joined),
    };

    return cmocka_run_group_tests_name("coding", tests, NULL, NULL);
}
