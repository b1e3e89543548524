/* gunzip: the same text whatever the cuts and the room, and whole only when it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "refrain/wire/coding.h"
#include "refrain/wire/gunzip.h"

/* Feeds @step bytes at a time and takes at most @room. Returns the last result. */
static int64_t decode(struct gunzip *g, struct slice in, size_t step, size_t room, struct buf *plain)
{
    char out[64];
    int64_t n = 0;

    while (in.len > 0 && n >= 0) {
        struct slice part = slice_make(in.data, in.len < step ? in.len : step);

        in = slice_skip(in, step);
        while ((n = gunzip_next(g, &part, out, room)) > 0)
            assert_int_equal(buf_add(plain, out, (size_t)n), 0);
        if (n == 0)
            assert_int_equal(part.len, 0);
    }
    return n;
}

static void cuts_and_room_change_nothing(void **state)
{
    AUTO(buf_done) struct buf packed = BUF_INIT(1000);
    static const struct slice text =
        SLICE("the same text the same text the same text, whatever the cuts and the room");

    (void)state;
    assert_int_equal(gzip_pack(text, 6, &packed), 0);
    assert_int_equal(gzip_pack(text, 6, &packed), 0);
    for (size_t step = 1; step <= packed.len; step++) {
        for (size_t room = 1; room <= 64; room += 21) {
            AUTO(gunzip_done) struct gunzip *g = gunzip_new();
            AUTO(buf_done) struct buf plain = BUF_INIT(2 * 73);

            assert_non_null(g);
            assert_false(gunzip_is_whole(g));
            assert_int_equal(decode(g, buf_slice(&packed), step, room, &plain), 0);
            assert_int_equal(plain.len, 2 * text.len);
            assert_true(gunzip_is_whole(g));
        }
    }
}

static void what_stands_behind_is_passed_over_but_not_whole(void **state)
{
    AUTO(buf_done) struct buf packed = BUF_INIT(1000), plain = BUF_INIT(100);
    AUTO(gunzip_done) struct gunzip *g = gunzip_new();

    (void)state;
    assert_int_equal(gzip_pack(SLICE_OF("text"), 6, &packed), 0);
    assert_int_equal(buf_add(&packed, "junk\x1F\x8B", 6), 0);
    assert_int_equal(decode(g, buf_slice(&packed), 3, 64, &plain), 0);
    assert_true(slice_eq(buf_slice(&plain), SLICE_OF("text")));
    assert_false(gunzip_is_whole(g));
}

static void damage_is_an_error_and_stays_one(void **state)
{
    AUTO(buf_done) struct buf packed = BUF_INIT(1000), plain = BUF_INIT(100);
    AUTO(gunzip_done) struct gunzip *g = gunzip_new();
    struct slice more = SLICE("x");
    char out[8];

    (void)state;
    assert_int_equal(gzip_pack(SLICE_OF("text"), 6, &packed), 0);
    packed.data[packed.len - 6] ^= 1; /* the sum */
    assert_int_equal(decode(g, buf_slice(&packed), 1, 64, &plain), -EBADMSG);
    assert_int_equal(gunzip_next(g, &more, out, sizeof(out)), -EBADMSG);
    assert_false(gunzip_is_whole(g));
    gunzip_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_and_room_change_nothing),
        cmocka_unit_test(what_stands_behind_is_passed_over_but_not_whole),
        cmocka_unit_test(damage_is_an_error_and_stays_one),
    };

    return cmocka_run_group_tests_name("gunzip", tests, NULL, NULL);
}
