/* entry: what is packed is read back as it was, and entry_check lets nothing through that is not an entry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "refrain/store/entry.h"
#include "refrain/wire/header.h"

static const struct field fields[] = {
    {SLICE("content-type"), SLICE("application/json"), 0},
    {SLICE("x-empty"), SLICE(""), 0},
    {SLICE("x-last"), SLICE("z"), 0},
};

static const struct slice body[] = {SLICE("{\"a\":"), SLICE(""), SLICE("1}")};

static struct entry_parts sample(void)
{
    return (struct entry_parts){
        .head = {.id = "0123456789abcdef0123456789abcde",
                 .key = {{1, 2, 3}},
                 .created_ms = 5,
                 .expires_ms = 10,
                 .gone_ms = 20,
                 .started_seq = 7,
                 .status = 200,
                 .flags = ENTRY_STREAM,
                 .operation = 3},
        .namespace_ = SLICE("team"),
        .model = SLICE("gpt"),
        .etag = SLICE("\"e\""),
        .tags = SLICE(""),
        .op_name = SLICE("summarize"),
        .fields = fields,
        .fields_n = ARRAY_LEN(fields),
        .body = body,
        .body_n = ARRAY_LEN(body),
        .plain = SLICE("plain"),
    };
}

/* Exactly as long as the entry, so that the address sanitizer sees a read past its end. */
static struct entry *packed(const struct entry_parts *p, size_t *len)
{
    struct entry *e;

    *len = entry_packed_size(p);
    e = malloc(*len);
    assert_non_null(e);
    entry_pack(p, e);
    return e;
}

static void assert_bytes(struct slice got, const char *want)
{
    assert_true(slice_eq(got, slice_str(want)));
}

static void what_is_packed_is_read_back(void **state)
{
    struct entry_parts p = sample();
    struct entry_field f = {0};
    size_t len, n = 0;
    struct entry *e = packed(&p, &len);

    (void)state;
    assert_int_equal(len % 8, 0);
    assert_int_equal(e->bytes, len);
    assert_true(entry_check(e, len));
    assert_bytes(entry_slice(e, e->namespace_), "team");
    assert_bytes(entry_slice(e, e->model), "gpt");
    assert_bytes(entry_slice(e, e->etag), "\"e\"");
    assert_bytes(entry_slice(e, e->tags), "");
    assert_bytes(entry_slice(e, e->op_name), "summarize");
    assert_bytes(entry_slice(e, e->body), "{\"a\":1}");
    assert_bytes(entry_slice(e, e->plain), "plain");
    assert_int_equal(e->key.bytes[2], 3);
    assert_int_equal(e->started_seq, 7);
    for (; entry_next_field(e, &f); n++) {
        assert_string_equal(f.name, fields[n].name.data);
        assert_string_equal(f.value, fields[n].value.data);
        assert_int_equal(f.value_len, fields[n].value.len);
    }
    assert_int_equal(n, ARRAY_LEN(fields));
    assert_false(entry_next_field(e, &f)); /* the end stays the end */
    free(e);
}

static void an_entry_of_nothing_is_one(void **state)
{
    struct entry_parts p = {0};
    struct entry_field f = {0};
    size_t len;
    struct entry *e = packed(&p, &len);

    (void)state;
    assert_true(entry_check(e, len));
    assert_false(entry_next_field(e, &f));
    free(e);
}

static void what_cannot_be_counted_in_32_bits_has_no_size(void **state)
{
    static const struct {
        const char *why;
        size_t body_len, name_len, value_len;
    } cases[] = {
        {"body over 4 GiB", (size_t)UINT32_MAX + 1, 1, 1},  {"body that fills 4 GiB alone", UINT32_MAX, 1, 1},
        {"sum over 64 bits", SIZE_MAX, 1, SIZE_MAX},        {"name over 64 KiB", 1, UINT16_MAX + 1, 1},
        {"value over 4 GiB", 1, 1, (size_t)UINT32_MAX + 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice piece = {"", cases[i].body_len};
        struct field field = {{"", cases[i].name_len}, {"", cases[i].value_len}, 0};
        struct entry_parts p = {.body = &piece, .body_n = 1, .fields = &field, .fields_n = 1};

        if (entry_packed_size(&p) != 0)
            fail_msg("%s", cases[i].why);
    }
}

static void texts_are_counted_in_16_bits(void **state)
{
    static const char long_model[UINT16_MAX];
    struct entry_parts p = {.model = {long_model, UINT16_MAX - sizeof(struct entry)}};
    size_t len;
    struct entry *e = packed(&p, &len);

    (void)state;
    assert_true(entry_check(e, len));
    assert_int_equal(e->model.len, p.model.len);
    free(e);
    p.op_name = SLICE_OF("x");
    assert_int_equal(entry_packed_size(&p), 0);
}

static void parts_of_an_entry_pack_to_the_same(void **state)
{
    struct entry_parts p = sample(), again;
    struct field room[ARRAY_LEN(fields)];
    struct slice one;
    size_t len, again_len;
    struct entry *e = packed(&p, &len), *twin;

    (void)state;
    again = entry_parts_of(e, room, &one);
    twin = packed(&again, &again_len);
    assert_int_equal(again_len, len);
    assert_memory_equal(twin, e, len);
    free(twin);
    free(e);
}

static void no_shorter_or_longer_run_is_an_entry(void **state)
{
    struct entry_parts p = sample();
    size_t len;
    struct entry *e = packed(&p, &len);

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        struct entry *part = malloc(cut ? cut : 1);

        assert_non_null(part);
        memcpy(part, e, cut);
        assert_false(entry_check(part, cut));
        if (cut >= sizeof(*part)) {
            part->bytes = (uint32_t)cut; /* and lying about it does not help */
            assert_false(entry_check(part, cut));
        }
        free(part);
    }
    assert_false(entry_check(e, len + 8));
    free(e);
}

enum hostile {
    FORMAT,
    BYTES,
    SPAN_INTO_HEAD,
    SPAN_OVERLAP,
    SPAN_GAP,
    SPAN_PAST_END,
    SPAN_WRAPS,
    PLAIN_TOO_LONG,
    FIELDS_TOO_FEW,
    FIELDS_TOO_MANY,
    NAME_EMPTY,
    NAME_TOO_LONG,
    VALUE_TOO_LONG,
    NAME_NOT_ENDED,
    VALUE_NOT_ENDED,
    NUL_INSIDE,
    LINE_END_INSIDE,
    GONE_BEFORE_EXPIRED,
    ZERO_SET,
    PADDING_SET,
};

static void spoil(struct entry *e, enum hostile what)
{
    char *field =
        (char *)e + e->fields.at; /* 2 + 4 bytes of lengths, "content-type", NUL, "application/json", NUL */

    switch (what) {
    case FORMAT:
        e->format++;
        break;
    case BYTES:
        e->bytes += 8;
        break;
    case SPAN_INTO_HEAD:
        e->namespace_.at -= 4;
        break;
    case SPAN_OVERLAP:
        e->fields.at = e->model.at;
        break;
    case SPAN_GAP:
        e->model.len--;
        break;
    case SPAN_PAST_END:
        e->body.at = e->bytes + 1;
        break;
    case SPAN_WRAPS:
        e->body.len = UINT32_MAX - e->body.at + 2;
        break;
    case PLAIN_TOO_LONG:
        e->plain.len += 8;
        break;
    case FIELDS_TOO_FEW:
        e->fields_n--;
        break;
    case FIELDS_TOO_MANY:
        e->fields_n++;
        break;
    case NAME_EMPTY:
        memset(field, 0, 2);
        break;
    case NAME_TOO_LONG:
        memset(field, 0xFF, 2);
        break;
    case VALUE_TOO_LONG:
        memset(field + 2, 0xFF, 4);
        break;
    case NAME_NOT_ENDED:
        field[6 + 12] = 'x';
        break;
    case VALUE_NOT_ENDED:
        field[6 + 12 + 1 + 16] = 'x';
        break;
    case NUL_INSIDE:
        field[6 + 2] = '\0';
        break;
    case LINE_END_INSIDE:
        field[6 + 12 + 3] = '\n';
        break;
    case GONE_BEFORE_EXPIRED:
        e->gone_ms = e->expires_ms - 1;
        break;
    case ZERO_SET:
        e->zero[1] = 1;
        break;
    case PADDING_SET:
        ((char *)e)[e->bytes - 1] = 1;
        break;
    }
}

static void hostile_bytes_are_no_entry(void **state)
{
    static const struct {
        const char *why;
        enum hostile what;
    } cases[] = {
        {"another format", FORMAT},
        {"says it is longer", BYTES},
        {"a span begins in the head", SPAN_INTO_HEAD},
        {"two spans overlap", SPAN_OVERLAP},
        {"a gap between spans", SPAN_GAP},
        {"a span begins past the end", SPAN_PAST_END},
        {"a span's end wraps around", SPAN_WRAPS},
        {"the last span is too long", PLAIN_TOO_LONG},
        {"more fields than it says", FIELDS_TOO_FEW},
        {"fewer fields than it says", FIELDS_TOO_MANY},
        {"a field without a name", NAME_EMPTY},
        {"a name longer than the fields", NAME_TOO_LONG},
        {"a value longer than the fields", VALUE_TOO_LONG},
        {"a name without its NUL", NAME_NOT_ENDED},
        {"a value without its NUL", VALUE_NOT_ENDED},
        {"a NUL inside a name", NUL_INSIDE},
        {"a line end inside a value", LINE_END_INSIDE},
        {"gone before it has expired", GONE_BEFORE_EXPIRED},
        {"the end of the head in use", ZERO_SET},
        {"padding in use", PADDING_SET},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct entry_parts p = sample();
        size_t len;
        struct entry *e;

        p.plain.len = 3; /* leaves padding */
        e = packed(&p, &len);
        assert_true(entry_check(e, len));
        spoil(e, cases[i].what);
        if (entry_check(e, len))
            fail_msg("%s", cases[i].why);
        free(e);
    }
}

static void no_flipped_byte_leads_outside(void **state)
{
    struct entry_parts p = sample();
    size_t len;
    struct entry *e = packed(&p, &len);

    (void)state;
    for (size_t i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit++) {
            struct entry_field f = {0};

            ((uint8_t *)e)[i] ^= (uint8_t)(1 << bit);
            if (entry_check(e, len))
                while (entry_next_field(e, &f))
                    assert_true(f.name >= (char *)e && f.value + f.value_len < (char *)e + len);
            ((uint8_t *)e)[i] ^= (uint8_t)(1 << bit);
        }
    free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_is_read_back),
        cmocka_unit_test(an_entry_of_nothing_is_one),
        cmocka_unit_test(what_cannot_be_counted_in_32_bits_has_no_size),
        cmocka_unit_test(texts_are_counted_in_16_bits),
        cmocka_unit_test(parts_of_an_entry_pack_to_the_same),
        cmocka_unit_test(no_shorter_or_longer_run_is_an_entry),
        cmocka_unit_test(hostile_bytes_are_no_entry),
        cmocka_unit_test(no_flipped_byte_leads_outside),
    };

    return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
