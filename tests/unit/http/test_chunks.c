/* chunks: every byte comes out as it went in, at each cursor's own pace; what is dropped is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/http/chunks.h"

enum { ALLOWANCE = 1 << 20, BYTES = 300 * 1000 };

struct stage {
    struct limits *limits;
    struct chunks chunks;
    char *bytes; /* BYTES that differ */
};

static int set_up(void **state)
{
    static const struct limits_conf conf = {.connections_max = 1, .buffered_bytes_max = ALLOWANCE};
    struct stage *s = calloc(1, sizeof(*s));

    s->limits = limits_new(&conf);
    s->chunks = (struct chunks){.limits = s->limits, .piece_bytes_max = 16 * 1024};
    s->bytes = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        s->bytes[i] = (char)(i * 31 + i / 251);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *s = *state;

    chunks_clear(&s->chunks);
    assert_int_equal(limits_buffered_bytes(s->limits), 0);
    limits_free(s->limits);
    free(s->bytes);
    free(s);
    return 0;
}

/* All from @at on, in pieces of at most @step; returns how many bytes, which are those from @from on. */
static size_t read_all(struct stage *s, struct chunks_cursor *at, size_t from, size_t step)
{
    size_t n = 0;

    for (;;) {
        struct slice bytes = chunks_at(&s->chunks, at);

        if (bytes.len == 0)
            return n;
        if (bytes.len > step)
            bytes.len = step;
        assert_memory_equal(bytes.data, s->bytes + from + n, bytes.len);
        at->at += bytes.len;
        n += bytes.len;
    }
}

static void as_it_went_in(void **state)
{
    static const struct {
        const char *why;
        size_t in, out;
    } cases[] = {
        {"at once, at once", BYTES, BYTES},
        {"at once, byte by byte", BYTES, 1},
        {"byte by byte, at once", 1, BYTES},
        {"in steps that fit no piece", 1021, 4093},
    };
    struct stage *s = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct chunks_cursor at = {NULL, 0};

        print_message("%s\n", cases[i].why);
        assert_int_equal(chunks_at(&s->chunks, &at).len, 0);
        for (size_t n = 0; n < BYTES; n += cases[i].in) {
            size_t step = BYTES - n < cases[i].in ? BYTES - n : cases[i].in;

            assert_int_equal(chunks_append(&s->chunks, slice_make(s->bytes + n, step)), 0);
        }
        assert_int_equal(s->chunks.appended, BYTES);
        assert_int_equal(s->chunks.buffered, BYTES);
        assert_int_equal(read_all(s, &at, 0, cases[i].out), BYTES);
        chunks_clear(&s->chunks);
        assert_int_equal(s->chunks.appended, 0);
    }
}

static void a_cursor_waits_at_the_end(void **state)
{
    struct stage *s = *state;
    struct chunks_cursor at = {NULL, 0};

    for (size_t n = 0; n < 9000; n += 300) {
        assert_int_equal(chunks_append(&s->chunks, slice_make(s->bytes + n, 300)), 0);
        assert_int_equal(read_all(s, &at, n, 300), 300);
    }
}

static void the_front_goes_when_all_have_left_it(void **state)
{
    struct stage *s = *state;
    struct chunks_cursor ahead = {NULL, 0}, behind = {NULL, 0};
    size_t dropped = 0, before;

    assert_false(chunks_may_drop_first(&s->chunks)); /* there is none */
    assert_int_equal(chunks_append(&s->chunks, slice_make(s->bytes, 100)), 0);
    assert_false(chunks_may_drop_first(&s->chunks)); /* it is the only one */
    assert_int_equal(chunks_append(&s->chunks, slice_make(s->bytes + 100, 100000 - 100)), 0);
    before = limits_buffered_bytes(s->limits);
    assert_int_equal(read_all(s, &ahead, 0, 1000), 100000);
    assert_true(chunks_may_drop_first(&s->chunks));
    assert_true(chunks_has_left_first(&s->chunks, &ahead));
    assert_false(chunks_has_left_first(&s->chunks, &behind)); /* it has not begun */
    behind.at += chunks_at(&s->chunks, &behind).len - 1;
    assert_false(chunks_has_left_first(&s->chunks, &behind)); /* a byte is missing */
    behind.at++;
    while (chunks_may_drop_first(&s->chunks) && chunks_has_left_first(&s->chunks, &behind)) {
        chunks_drop_first(&s->chunks);
        dropped++;
    }
    assert_int_equal(dropped, 1);
    assert_true(limits_buffered_bytes(s->limits) < before);
    assert_int_equal(read_all(s, &behind, 100000 - s->chunks.buffered, 1000), s->chunks.buffered);
    while (chunks_may_drop_first(&s->chunks) && chunks_has_left_first(&s->chunks, &behind))
        chunks_drop_first(&s->chunks);
    assert_int_equal(s->chunks.appended, 100000); /* all in all, still */
    assert_int_equal(chunks_append(&s->chunks, slice_make(s->bytes + 100000, 5000)), 0);
    assert_int_equal(read_all(s, &behind, 100000, 5000), 5000);
    assert_int_equal(read_all(s, &ahead, 100000, 5000), 5000);
}

static void pieces_grow_up_to_their_bound(void **state)
{
    struct stage *s = *state;
    struct slice pieces[64];
    size_t n, sum = 0;

    for (size_t i = 0; i < 200000; i += 1000)
        assert_int_equal(chunks_append(&s->chunks, slice_make(s->bytes + i, 1000)), 0);
    n = chunks_pieces(&s->chunks, pieces, 64);
    assert_in_range(n, 13, 32); /* not one for each append */
    assert_int_equal(pieces[0].len, 2048);
    for (size_t i = 0; i < n; i++) {
        assert_true(pieces[i].len <= s->chunks.piece_bytes_max);
        assert_memory_equal(pieces[i].data, s->bytes + sum, pieces[i].len);
        sum += pieces[i].len;
    }
    assert_int_equal(sum, 200000);
    assert_int_equal(chunks_pieces(&s->chunks, pieces, 1), n); /* counted, though there is no room */
}

static void in_one_piece_until_it_is_read_or_grows(void **state)
{
    struct stage *s = *state;
    struct chunks_cursor at = {NULL, 0}, other = {NULL, 0};
    struct slice whole;

    assert_false(chunks_in_one(&s->chunks, &at, &whole));
    assert_int_equal(chunks_append(&s->chunks, slice_make(s->bytes, 2000)), 0);
    assert_true(chunks_in_one(&s->chunks, &at, &whole));
    assert_int_equal(whole.len, 2000);
    assert_memory_equal(whole.data, s->bytes, 2000);
    (void)chunks_at(&s->chunks, &at);
    assert_false(chunks_in_one(&s->chunks, &at, &whole));
    assert_int_equal(chunks_append(&s->chunks, slice_make(s->bytes + 2000, 49)), 0);
    assert_false(chunks_in_one(&s->chunks, &other, &whole));
}

static void a_spent_allowance_leaves_what_fitted(void **state)
{
    struct stage *s = *state;
    struct chunks_cursor at = {NULL, 0};
    int r = 0;

    while (r == 0 && s->chunks.appended < 2 * ALLOWANCE)
        r = chunks_append(&s->chunks, slice_make(s->bytes, 1000));
    assert_int_equal(r, -ENOBUFS);
    assert_true(limits_buffered_bytes(s->limits) <= ALLOWANCE);
    assert_in_range(s->chunks.appended, ALLOWANCE * 9 / 10, ALLOWANCE);
    while (chunks_at(&s->chunks, &at).len > 0)
        at.at += chunks_at(&s->chunks, &at).len;
    while (chunks_may_drop_first(&s->chunks) && chunks_has_left_first(&s->chunks, &at))
        chunks_drop_first(&s->chunks);
    assert_int_equal(chunks_append(&s->chunks, slice_make(s->bytes, 1000)), 0); /* there is room again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(as_it_went_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cursor_waits_at_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_front_goes_when_all_have_left_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pieces_grow_up_to_their_bound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_one_piece_until_it_is_read_or_grows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_spent_allowance_leaves_what_fitted, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
