/* shrink: what is worth it is kept gzip-coded, everything else as it came; and an identity copy is the
 * answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/store/shrink.h"
#include "refrain/wire/coding.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"

static const struct field json_field = {SLICE("content-type"), SLICE("application/json"), 0};
static const struct shrink_conf usual = {.threshold = 1000, .level = 6};

/* Long and dull, as answers are. */
static struct slice text_of(size_t len)
{
    static char text[1 << 16];
    static const char words[] = "{\"choices\":[{\"message\":{\"content\":\"well, it depends, well\"}}]}";

    assert_true(len <= sizeof(text));
    for (size_t i = 0; i < len; i++)
        text[i] = words[i % (sizeof(words) - 1)];
    return slice_make(text, len);
}

static struct entry *packed(const struct entry_parts *p)
{
    struct entry *e = malloc(entry_packed_size(p));

    assert_non_null(e);
    entry_pack(p, e);
    return e;
}

static struct entry *entry_of(struct slice body, const struct field *fields, size_t fields_n, unsigned flags,
                              enum operation op)
{
    struct entry_parts p = {
        .head = {.key = {{1}}, .status = 200, .flags = (uint16_t)flags, .operation = (uint8_t)op},
        .model = SLICE("gpt"),
        .tags = SLICE("a"),
        .op_name = SLICE("chat"),
        .fields = fields,
        .fields_n = fields_n,
        .body = &body,
        .body_n = 1,
    };

    return packed(&p);
}

static void what_shrinks_is_the_same_but_for_its_coding(void **state)
{
    struct slice text = text_of(5000);
    struct entry *e = entry_of(text, &json_field, 1, ENTRY_STREAM, OP_CHAT);
    struct entry_box *box = shrink_entry(e, &usual);
    AUTO(buf_done) struct buf plain = BUF_INIT(1 << 20);
    struct entry_field f = {0};
    const struct entry *small;

    (void)state;
    assert_non_null(box);
    small = entry_box_entry(box);
    assert_true(entry_check(small, box->len));
    assert_true(small->bytes < e->bytes);
    assert_int_equal(small->flags, ENTRY_STREAM | ENTRY_GZIP | ENTRY_SHRUNK);
    assert_int_equal(gzip_unpack(entry_slice(small, small->body), &plain), 0);
    assert_true(slice_eq(buf_slice(&plain), text));
    assert_true(slice_eq(entry_slice(small, small->model), SLICE_OF("gpt")));
    assert_true(digest_eq(&small->key, &e->key));
    assert_true(entry_next_field(small, &f));
    assert_string_equal(f.name, "content-type");
    assert_true(entry_next_field(small, &f));
    assert_string_equal(f.name, "content-encoding");
    assert_string_equal(f.value, "gzip");
    assert_false(entry_next_field(small, &f));
    entry_box_unref(box);
    free(e);
}

static void what_is_not_worth_it_stays_as_it_is(void **state)
{
    static const struct field fields[] = {
        {SLICE("Content-Encoding"), SLICE("br"), 0},
        {SLICE("content-type"), SLICE("audio/mpeg"), 0},
        {SLICE("cache-control"), SLICE("private, No-Transform"), 0},
        {SLICE("Content-Digest"), SLICE("sha-256=:AAAA:"), 0},
        {SLICE("content-type"), SLICE("image/png; a=b"), 0},
    };
    static const struct {
        const char *why;
        const struct field *field;
        size_t len;
        unsigned flags;
        enum operation op;
        struct shrink_conf conf;
        bool want;
    } cases[] = {
        {"as large as the threshold", &json_field, 1000, 0, OP_CHAT, {1000, 6}, true},
        {"a byte smaller", &json_field, 999, 0, OP_CHAT, {1000, 6}, false},
        {"switched off", &json_field, 5000, 0, OP_CHAT, {1000, 0}, false},
        {"fast", &json_field, 5000, 0, OP_CHAT, {1000, 1}, true},
        {"coded already", &json_field, 5000, ENTRY_GZIP, OP_CHAT, {1000, 6}, false},
        {"a marker of variants", &json_field, 5000, ENTRY_VARY, OP_CHAT, {1000, 6}, false},
        {"a GET's, whose validators are upstream's", &json_field, 5000, 0, OP_READ, {1000, 6}, false},
        {"coded otherwise", &fields[0], 5000, 0, OP_CHAT, {1000, 6}, false},
        {"sound", &fields[1], 5000, 0, OP_SPEECH, {1000, 6}, false},
        {"not to be transformed", &fields[2], 5000, 0, OP_CHAT, {1000, 6}, false},
        {"with a digest of its bytes", &fields[3], 5000, 0, OP_CHAT, {1000, 6}, false},
        {"a picture", &fields[4], 5000, 0, OP_PLAIN, {1000, 6}, false},
        {"no threshold, nothing to gain", &json_field, 0, 0, OP_CHAT, {0, 6}, false},
        {"no threshold, little to gain", &json_field, 40, 0, OP_CHAT, {0, 6}, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct entry *e = entry_of(text_of(cases[i].len), cases[i].field, 1, cases[i].flags, cases[i].op);
        struct entry_box *box = shrink_entry(e, &cases[i].conf);

        if ((box != NULL) != cases[i].want)
            fail_msg("%s", cases[i].why);
        entry_box_unref(box);
        free(e);
    }
}

static void noise_stays_as_it_is(void **state)
{
    char noise[4096];
    struct entry *e;

    (void)state;
    random_bytes(noise, sizeof(noise));
    e = entry_of(slice_make(noise, sizeof(noise)), &json_field, 1, 0, OP_CHAT);
    assert_null(shrink_entry(e, &usual));
    free(e);
}

static void an_entry_with_every_field_there_may_be_gets_no_more(void **state)
{
    struct field many[FIELDS_MAX];
    struct entry *e;

    (void)state;
    for (size_t i = 0; i < FIELDS_MAX; i++)
        many[i] = (struct field){SLICE("x"), SLICE("y"), 0};
    e = entry_of(text_of(5000), many, FIELDS_MAX, 0, OP_CHAT);
    assert_null(shrink_entry(e, &usual));
    free(e);
}

static void an_identity_copy_is_the_answer(void **state)
{
    struct slice text = text_of(5000);
    struct entry *e = entry_of(text, &json_field, 1, 0, OP_CHAT);
    struct entry_box *small = shrink_entry(e, &usual), *both;
    const struct entry *with;

    (void)state;
    assert_non_null(small);
    assert_null(shrink_undo(e, 1 << 20));                   /* it is one itself */
    assert_null(shrink_undo(entry_box_entry(small), 4999)); /* more than there is room for */
    both = shrink_undo(entry_box_entry(small), 5000);
    assert_non_null(both);
    with = entry_box_entry(both);
    assert_true(entry_check(with, both->len));
    assert_true(slice_eq(entry_slice(with, with->plain), text));
    assert_true(slice_eq(entry_slice(with, with->body),
                         entry_slice(entry_box_entry(small), entry_box_entry(small)->body)));
    assert_null(shrink_undo(with, 1 << 20)); /* it has one */
    entry_box_unref(both);
    entry_box_unref(small);
    free(e);
}

static void what_is_damaged_has_no_identity(void **state)
{
    struct entry *e = entry_of(SLICE_OF("no gzip"), &json_field, 1, ENTRY_GZIP, OP_CHAT);

    (void)state;
    assert_null(shrink_undo(e, 1 << 20));
    free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_shrinks_is_the_same_but_for_its_coding),
        cmocka_unit_test(what_is_not_worth_it_stays_as_it_is),
        cmocka_unit_test(noise_stays_as_it_is),
        cmocka_unit_test(an_entry_with_every_field_there_may_be_gets_no_more),
        cmocka_unit_test(an_identity_copy_is_the_answer),
        cmocka_unit_test(what_is_damaged_has_no_identity),
    };

    return cmocka_run_group_tests_name("shrink", tests, NULL, NULL);
}
