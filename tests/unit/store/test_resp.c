/*
 * resp_guard and resp: what a server may send, what it may not, and that neither depends on how the bytes are
 * cut. Each row is read whole, byte by byte, and in two at every place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/store/resp.h"
#include "refrain/store/resp_guard.h"

enum { TOLD_MAX = 1 << 16 };

static const struct resp_reader_conf small = {
    .bulk_bytes_max = 8, .reply_bytes_max = 64, .elements_max = 5, .depth_max = 3};

static void tell(struct buf *out, const struct redis_reply *r)
{
    static const char *const names[] = {[REDIS_NIL] = "nil", [REDIS_TEXT] = "text",   [REDIS_STATUS] = "+",
                                        [REDIS_ERROR] = "-", [REDIS_INTEGER] = "int", [REDIS_ARRAY] = "["};

    assert_int_equal(buf_addf(out, "%s", names[r->type]), 0);
    if (r->type == REDIS_INTEGER)
        assert_int_equal(buf_addf(out, "%lld", (long long)r->integer), 0);
    if (r->type == REDIS_TEXT || r->type == REDIS_STATUS || r->type == REDIS_ERROR) {
        assert_int_equal(buf_addf(out, "(%.*s)", (int)r->text.len, r->text.data), 0);
        assert_true(r->text.data[r->text.len] == '\0');
    }
    if (r->type != REDIS_ARRAY)
        return;
    for (size_t i = 0; i < r->items_n; i++) {
        assert_int_equal(i > 0 ? buf_add_byte(out, ' ') : 0, 0);
        tell(out, r->items[i]);
    }
    assert_int_equal(buf_add_byte(out, ']'), 0);
}

/* What it comes to, as text: replies one behind the other, OVER and BAD. */
static bool read_piece(struct resp_reader *reader, struct slice piece, struct buf *out)
{
    while (piece.len > 0) {
        struct redis_reply *reply = NULL;

        switch (resp_reader_next(reader, &piece, &reply)) {
        case RESP_READ_MORE:
            return true;
        case RESP_READ_REPLY:
            tell(out, reply);
            resp_reply_free(reply);
            assert_int_equal(buf_add_byte(out, ';'), 0);
            break;
        case RESP_READ_OVER:
            assert_int_equal(buf_addf(out, "OVER;"), 0);
            break;
        default:
            assert_int_equal(buf_addf(out, "BAD"), 0);
            return false;
        }
    }
    return true;
}

/* In pieces of @step bytes behind a first one of @first. */
static char *read_in(const struct resp_reader_conf *conf, struct slice bytes, size_t first, size_t step)
{
    struct resp_reader *reader = resp_reader_new(conf);
    struct buf out = BUF_INIT(TOLD_MAX);
    size_t take = first;

    assert_non_null(reader);
    while (bytes.len > 0 &&
           read_piece(reader, slice_make(bytes.data, take < bytes.len ? take : bytes.len), &out)) {
        bytes = slice_skip(bytes, take);
        take = step;
    }
    resp_reader_free(reader);
    assert_int_equal(buf_add_byte(&out, '\0'), 0);
    return out.data;
}

static const struct {
    const char *why;
    struct slice bytes;
    const char *want;
} rows[] = {
    {"status", SLICE("+OK\r\n"), "+(OK);"},
    {"empty status", SLICE("+\r\n"), "+();"},
    {"error", SLICE("-ERR no\r\n"), "-(ERR no);"},
    {"integer", SLICE(":42\r\n"), "int42;"},
    {"zero", SLICE(":0\r\n"), "int0;"},
    {"negative", SLICE(":-7\r\n"), "int-7;"},
    {"largest", SLICE(":9223372036854775807\r\n"), "int9223372036854775807;"},
    {"smallest", SLICE(":-9223372036854775808\r\n"), "int-9223372036854775808;"},
    {"too large by one", SLICE(":9223372036854775808\r\n"), "BAD"},
    {"too small by one", SLICE(":-9223372036854775809\r\n"), "BAD"},
    {"far too large", SLICE(":99999999999999999999999999\r\n"), "BAD"},
    {"text", SLICE("$3\r\nabc\r\n"), "text(abc);"},
    {"empty text", SLICE("$0\r\n\r\n"), "text();"},
    {"text with ends of line", SLICE("$4\r\n\r\n\r\n\r\n"), "text(\r\n\r\n);"},
    {"text as long as may be", SLICE("$8\r\n12345678\r\n"), "text(12345678);"},
    {"longer: passed over, and the next one is read", SLICE("$9\r\n123456789\r\n+OK\r\n"), "OVER;+(OK);"},
    {"longer than Redis holds", SLICE("$536870913\r\n"), "BAD"},
    {"absent text", SLICE("$-1\r\n"), "nil;"},
    {"another negative length", SLICE("$-2\r\n"), "BAD"},
    {"a length that overflows 32 bits", SLICE("$4294967297\r\nx\r\n"), "BAD"},
    {"a length that overflows 64 bits", SLICE("$18446744073709551617\r\nx\r\n"), "BAD"},
    {"text without its end", SLICE("$1\r\nab\r\n"), "BAD"},
    {"text with half its end", SLICE("$1\r\na\rb"), "BAD"},
    {"array", SLICE("*2\r\n$1\r\na\r\n:1\r\n"), "[text(a) int1];"},
    {"empty array", SLICE("*0\r\n"), "[];"},
    {"absent array", SLICE("*-1\r\n"), "nil;"},
    {"another negative count", SLICE("*-2\r\n"), "BAD"},
    {"nil within", SLICE("*2\r\n$-1\r\n*-1\r\n"), "[nil nil];"},
    {"error within", SLICE("*1\r\n-E\r\n"), "[-(E)];"},
    {"nested", SLICE("*2\r\n*1\r\n:1\r\n*0\r\n"), "[[int1] []];"},
    {"as deep as may be", SLICE("*1\r\n*1\r\n*1\r\n:1\r\n"), "[[[int1]]];"},
    {"deeper", SLICE("*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), "BAD"},
    {"deeper and empty", SLICE("*1\r\n*1\r\n*1\r\n*0\r\n"), "BAD"},
    {"as many as may be", SLICE("*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"), "[int1 int2 int3 int4 int5];"},
    {"more", SLICE("*6\r\n"), "BAD"},
    {"more, over all arrays", SLICE("*3\r\n*1\r\n:1\r\n*2\r\n"), "BAD"},
    {"what cost 16 GiB", SLICE("*2147483647\r\n"), "BAD"},
    {"a text within an array as long as may be", SLICE("*1\r\n$8\r\n12345678\r\n"), "[text(12345678)];"},
    {"longer, within an array", SLICE("*1\r\n$9\r\n"), "BAD"},
    {"the whole as long as may be",
     SLICE("*4\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n"),
     "[text(12345678) text(12345678) text(12345678) text(12345678)];"},
    {"longer in the whole",
     SLICE(
         "*5\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n"),
     "BAD"},
    {"counted anew for each reply",
     SLICE("*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"),
     "[int1 int2 int3 int4 int5];[int1 int2 int3 int4 int5];"},
    {"two at once", SLICE("+A\r\n+B\r\n"), "+(A);+(B);"},
    {"good, then bad", SLICE("+A\r\n?"), "+(A);BAD"},
    {"cut short", SLICE("+A\r\n*2\r\n:1\r\n$8\r\n123"), "+(A);"},
    {"cut in its head", SLICE("$1"), ""},
    {"no type", SLICE("HTTP/1.1 400 Bad Request\r\n"), "BAD"},
    {"RESP3", SLICE("%1\r\n+a\r\n+b\r\n"), "BAD"},
    {"RESP3's nil", SLICE("_\r\n"), "BAD"},
    {"RESP3's push", SLICE(">1\r\n+a\r\n"), "BAD"},
    {"NUL", SLICE("\0"), "BAD"},
    {"line ended by LF alone", SLICE("+OK\n"), "BAD"},
    {"CR within a line", SLICE("+O\rK\r\n"), "BAD"},
    {"no digits", SLICE(":\r\n"), "BAD"},
    {"a sign alone", SLICE(":-\r\n"), "BAD"},
    {"plus", SLICE(":+1\r\n"), "BAD"},
    {"leading zero", SLICE(":01\r\n"), "BAD"},
    {"minus zero", SLICE(":-0\r\n"), "BAD"},
    {"a blank", SLICE(": 1\r\n"), "BAD"},
    {"two signs", SLICE(":--1\r\n"), "BAD"},
    {"length with a letter", SLICE("$1x\r\n"), "BAD"},
    {"count of nothing", SLICE("*\r\n"), "BAD"},
};

static void check(size_t i, size_t first, size_t step)
{
    char *got = read_in(&small, rows[i].bytes, first, step);

    if (strcmp(got, rows[i].want) != 0)
        fail_msg("%s, in pieces of %zu and %zu: %s", rows[i].why, first, step, got);
    free(got);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check(i, SIZE_MAX, 1);
        check(i, 1, 1);
        for (size_t cut = 1; cut < rows[i].bytes.len; cut++)
            check(i, cut, SIZE_MAX);
    }
}

/* Nothing is made of what is announced until it has come. */
static void test_a_line_has_an_end(void **state)
{
    struct resp_reader *reader = resp_reader_new(&small);
    struct redis_reply *reply = NULL;
    static char line[RESP_LINE_BYTES_MAX + 2];
    struct slice bytes = slice_make(line, sizeof(line) - 1);

    (void)state;
    memset(line, 'x', sizeof(line));
    line[0] = '-';
    assert_int_equal(resp_reader_next(reader, &bytes, &reply), RESP_READ_MORE);
    bytes = SLICE_OF("x");
    assert_int_equal(resp_reader_next(reader, &bytes, &reply), RESP_READ_BAD);
    bytes = SLICE_OF("\r\n");
    assert_int_equal(resp_reader_next(reader, &bytes, &reply), RESP_READ_BAD); /* for ever */
    resp_reader_free(reader);
}

/* All depths that may be configured; hiredis has to follow. */
static void test_as_deep_as_the_parser_goes(void **state)
{
    for (unsigned depth = 1; depth <= RESP_DEPTH_MAX; depth++) {
        struct resp_reader_conf conf = {1 << 20, 1 << 20, 1000, depth};
        struct buf bytes = BUF_INIT(1024);
        char *got;

        for (unsigned i = 0; i < depth; i++)
            assert_int_equal(buf_addf(&bytes, "*2\r\n:1\r\n"), 0);
        assert_int_equal(buf_addf(&bytes, "$1\r\nx\r\n"), 0);
        got = read_in(&conf, buf_slice(&bytes), SIZE_MAX, 1);
        if (!strstr(got, "text(x)]"))
            fail_msg("%u: %s", depth, got);
        free(got);
        buf_done(&bytes);
    }
    (void)state;
}

static void test_commands(void **state)
{
    const struct slice argv[] = {SLICE("SET"), SLICE("k\r\n"), {NULL, 0}, SLICE("a\0b")};
    static const char want[] = "*4\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n$3\r\na\0b\r\n";
    size_t len = 0;
    char *bytes = resp_format(argv, ARRAY_LEN(argv), &len);

    (void)state;
    assert_non_null(bytes);
    assert_int_equal(len, sizeof(want) - 1);
    assert_memory_equal(bytes, want, len);
    assert_true(resp_format_size(argv, ARRAY_LEN(argv)) >= len);
    resp_format_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_a_line_has_an_end),
        cmocka_unit_test(test_as_deep_as_the_parser_goes),
        cmocka_unit_test(test_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
