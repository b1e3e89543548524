/*
 * record: what is packed is read back as it was; nothing that is not a record, whole and unchanged, is read
 * as one; and what earlier versions wrote goes on being read (records/, docs/stored-form.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/store/record.h"
#include "refrain/store/selector.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"
#include "refrain/wire/prompt.h"

enum { RECORD_BYTES_MAX = 64 * 1024 };

static const struct record_codec open_codec = {NULL};

static const struct field fields[] = {
    {SLICE("content-type"), SLICE("application/json"), 0},
    {SLICE("x-empty"), SLICE(""), 0},
    {SLICE("x-odd"), SLICE("caf\xE9 \"quoted\"\t\\"), 0}, /* no UTF-8, and all that JSON escapes */
    {SLICE("x-text"), SLICE("caf\xC3\xA9"), 0},
};
static const struct slice body[] = {SLICE("{\"choices\":["), SLICE("]}")};

static struct entry_parts sample(void)
{
    return (struct entry_parts){
        .head = {.id = {"0123456789abcdef0123456789abcdef"},
                 .key = {{1, 2, 3}},
                 .created_ms = 1700000000123,
                 .expires_ms = 1700003600123,
                 .gone_ms = 1700007200123,
                 .started_seq = 1700000000000123,
                 .sliding_ms = 3600000,
                 .max_expires_ms = 1700086400000,
                 .target = UINT64_C(0xFEDCBA9876543210),
                 .initial_age_s = 7,
                 .upstream_ms = 812,
                 .tokens_in = 20,
                 .tokens_out = UINT32_MAX,
                 .while_revalidate_s = 30,
                 .if_error_s = 60,
                 .status = 200,
                 .flags = ENTRY_STREAM | ENTRY_MUST_REVALIDATE,
                 .operation = OP_CHAT,
                 .prompt = PROMPT_MEDIUM + 1},
        .namespace_ = SLICE("team-a"),
        .model = SLICE("gpt-4o"),
        .etag = SLICE("\"v1\""),
        .tags = SLICE("faq,en"),
        .op_name = SLICE("summarize"),
        .fields = fields,
        .fields_n = ARRAY_LEN(fields),
        .body = body,
        .body_n = ARRAY_LEN(body),
    };
}

static struct entry *packed(const struct entry_parts *p)
{
    struct entry *e = malloc(entry_packed_size(p));

    assert_non_null(e);
    entry_pack(p, e);
    return e;
}

static struct blob *record_of(const struct entry_parts *p, const struct record_codec *codec)
{
    struct entry *e = packed(p);
    struct blob *b = NULL;

    assert_int_equal(record_pack(e, e->expires_ms, 5, codec, &b), RECORD_OK);
    free(e);
    return b;
}

static struct seal_keys *keys_of(uint8_t first, uint8_t second)
{
    struct seal_keys *k = seal_keys_new();
    uint8_t key[SEAL_KEY_BYTES] = {first};

    assert_int_equal(seal_keys_add(k, key), 0);
    key[0] = second;
    assert_int_equal(seal_keys_add(k, key), 0);
    return k;
}

static void assert_same(const struct entry *a, const struct entry *b)
{
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a, b, a->bytes);
}

static enum record_result read_edited(const char *was, const char *is);

/* -- there and back -- */

static void reads_back(const struct entry_parts *p, const struct record_codec *codec)
{
    struct blob *b = record_of(p, codec);
    struct entry *e = packed(p);
    struct record_seen seen;

    assert_int_equal(record_read(blob_slice(b), &e->key, codec, &seen), RECORD_OK);
    assert_same(entry_box_entry(seen.box), e);
    assert_int_equal(seen.hits, 5);
    assert_int_equal(seen.body_bytes, e->body.len);
    entry_box_unref(seen.box);
    blob_unref(b);
    free(e);
}

static void what_is_packed_is_read_back(void **state)
{
    struct record_codec sealed = {keys_of(1, 1)};
    struct entry_parts p = sample(), least = {.head = {.id = {"ffffffffffffffffffffffffffffffff"}}};

    (void)state;
    reads_back(&p, &open_codec);
    reads_back(&p, &sealed);
    p.head.expires_ms = p.head.gone_ms = p.head.max_expires_ms = INT64_MAX;
    p.model = SLICE_OF("\xFF\x00model"); /* whatever a client calls it */
    p.model.len = 7;
    reads_back(&p, &open_codec);
    p.head.tokens_cached = 12;
    p.head.tokens_cache_write = UINT32_MAX;
    reads_back(&p, &open_codec);
    reads_back(&p, &sealed);
    least.head.flags = ENTRY_VARY; /* a marker of variants: no status, no text */
    reads_back(&least, &open_codec);
    reads_back(&least, &sealed);
    least.head.flags = 0;
    least.head.status = 204;
    reads_back(&least, &open_codec);
    seal_keys_free((struct seal_keys *)sealed.keys);
}

static void sliding_moves_both_ends(void **state)
{
    static const struct {
        const char *why;
        int64_t gone_ms, expires_ms, want_expires_ms, want_gone_ms;
    } cases[] = {
        {"by a second", 3000, 2000, 2000, 4000},
        {"never back", 3000, 500, 1000, 3000},
        {"for ever", 3000, INT64_MAX, INT64_MAX, INT64_MAX},
        {"gone never", INT64_MAX, 2000, 2000, INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct entry_parts p = sample();
        struct record_seen seen;
        struct entry *e;
        struct blob *b;

        p.head.expires_ms = 1000;
        p.head.gone_ms = cases[i].gone_ms;
        e = packed(&p);
        assert_int_equal(record_pack(e, cases[i].expires_ms, 0, &open_codec, &b), RECORD_OK);
        assert_int_equal(record_read(blob_slice(b), &e->key, &open_codec, &seen), RECORD_OK);
        if (entry_box_entry(seen.box)->expires_ms != cases[i].want_expires_ms ||
            entry_box_entry(seen.box)->gone_ms != cases[i].want_gone_ms)
            fail_msg("%s", cases[i].why);
        entry_box_unref(seen.box);
        blob_unref(b);
        free(e);
    }
}

static void a_list_of_variants_has_whole_rows_and_a_ceiling(void **state)
{
    static const struct {
        const char *why;
        size_t len;
        enum record_result want;
    } cases[] = {
        {"none", 0, RECORD_OK},
        {"one", 40, RECORD_OK},
        {"as many as there may be", 40 * 1024, RECORD_OK},
        {"one more", 40 * 1025, RECORD_CORRUPT},
        {"half of one", 60, RECORD_CORRUPT},
    };
    static const char zeros[40 * 1025];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice list = {zeros, cases[i].len};
        struct entry_parts p = sample();
        struct entry *e;
        struct blob *b = NULL;

        p.head.flags = ENTRY_VARY;
        p.head.status = 0;
        p.body = &list;
        p.body_n = 1;
        e = packed(&p);
        if (record_pack(e, e->expires_ms, 0, &open_codec, &b) != cases[i].want)
            fail_msg("%s", cases[i].why);
        blob_unref(b);
        free(e);
    }
    assert_int_equal(read_edited("\"status\":200,\"flags\":[]", "\"status\":0,\"flags\":[\"vary\"]"),
                     RECORD_CORRUPT);
}

static void the_identity_copy_stays_behind(void **state)
{
    struct entry_parts p = sample();
    struct record_seen seen;
    struct blob *b;

    (void)state;
    p.plain = SLICE_OF("decoded");
    b = record_of(&p, &open_codec);
    assert_int_equal(record_read(blob_slice(b), &p.head.key, &open_codec, &seen), RECORD_OK);
    assert_int_equal(entry_box_entry(seen.box)->plain.len, 0);
    entry_box_unref(seen.box);
    blob_unref(b);
}

static void what_could_not_be_read_back_is_not_packed(void **state)
{
    static const struct field line_end = {SLICE("x"), SLICE("a\r\nset-cookie: b"), 0};
    static const struct field no_name = {SLICE("x y"), SLICE(""), 0};
    static const struct field many[FIELDS_MAX + 1];
    static const struct {
        const char *why;
        const char *id;
        const struct field *fields;
        size_t fields_n;
        int status;
        enum record_result want;
    } cases[] = {
        {"an id that is none", "0123456789ABCDEF0123456789abcdef", NULL, 0, 200, RECORD_CORRUPT},
        {"a line end in a value", NULL, &line_end, 1, 200, RECORD_CORRUPT},
        {"a name that is none", NULL, &no_name, 1, 200, RECORD_CORRUPT},
        {"no status", NULL, NULL, 0, 0, RECORD_CORRUPT},
        {"a status that is no answer's", NULL, NULL, 0, 103, RECORD_CORRUPT},
        {"too many fields", NULL, many, FIELDS_MAX + 1, 200, RECORD_TOO_LARGE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct entry_parts p = sample();
        struct entry *e;
        struct blob *b = NULL;

        if (cases[i].id)
            memcpy(p.head.id, cases[i].id, ENTRY_ID_LEN);
        p.fields = cases[i].fields;
        p.fields_n = cases[i].fields_n;
        p.head.status = (uint16_t)cases[i].status;
        e = packed(&p);
        if (record_pack(e, e->expires_ms, 0, &open_codec, &b) != cases[i].want || b)
            fail_msg("%s", cases[i].why);
        free(e);
    }
}

static void metadata_has_a_ceiling(void **state)
{
    struct entry_parts p = sample();
    char *value = malloc(RECORD_META_BYTES_MAX);
    struct field one = {SLICE("x"), {value, RECORD_META_BYTES_MAX}, 0};
    struct blob *b = NULL;
    struct entry *e;

    (void)state;
    assert_non_null(value);
    memset(value, 'v', RECORD_META_BYTES_MAX);
    p.fields = &one;
    p.fields_n = 1;
    e = packed(&p);
    assert_int_equal(record_pack(e, e->expires_ms, 0, &open_codec, &b), RECORD_TOO_LARGE);
    assert_null(b);
    free(e);
    free(value);
}

/* -- the start alone -- */

static void a_start_tells_all_but_the_body(void **state)
{
    struct record_codec codecs[] = {{NULL}, {keys_of(1, 2)}};
    struct entry_parts p = sample();

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
        struct blob *b = record_of(&p, &codecs[c]);
        size_t wanted = 0, needed = b->len - body[0].len - body[1].len;
        struct record_seen seen;
        struct label l;

        assert_int_equal(record_look(slice_make(b->bytes, 0), NULL, &codecs[c], &seen, &wanted),
                         RECORD_SHORT);
        assert_int_equal(wanted, RECORD_HEAD_BYTES);
        for (size_t n = RECORD_HEAD_BYTES; n < needed; n++) {
            assert_int_equal(record_look(slice_make(b->bytes, n), NULL, &codecs[c], &seen, &wanted),
                             RECORD_SHORT);
            assert_int_equal(wanted, needed);
        }
        for (size_t n = needed; n <= b->len; n++) {
            assert_int_equal(record_look(slice_make(b->bytes, n), &p.head.key, &codecs[c], &seen, &wanted),
                             RECORD_OK);
            l = label_of(entry_box_entry(seen.box));
            assert_true(slice_eq(l.operation, p.op_name) && slice_eq(l.tags, p.tags) &&
                        slice_eq(l.model, p.model) && slice_eq(l.namespace_, p.namespace_));
            assert_true(l.target == p.head.target && l.started_seq == p.head.started_seq);
            assert_true(digest_eq(&l.key, &p.head.key));
            assert_int_equal(seen.body_bytes, body[0].len + body[1].len);
            assert_int_equal(seen.hits, 5);
            assert_int_equal(entry_box_entry(seen.box)->body.len, 0);
            entry_box_unref(seen.box);
        }
        blob_unref(b);
    }
    seal_keys_free((struct seal_keys *)codecs[1].keys);
}

/* -- what is odd -- */

/* Exactly as long as what is read, so that the address sanitizer sees a step past its end. */
static enum record_result read_copy(const char *bytes, size_t len, const struct digest *key,
                                    const struct record_codec *codec)
{
    struct record_seen seen;
    char *copy = malloc(len ? len : 1);
    enum record_result r;

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    r = record_read(slice_make(copy, len), key, codec, &seen);
    if (r == RECORD_OK)
        entry_box_unref(seen.box);
    free(copy);
    return r;
}

static void no_shorter_or_longer_run_is_a_record(void **state)
{
    struct record_codec codecs[] = {{NULL}, {keys_of(1, 2)}};
    struct entry_parts p = sample();

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
        struct blob *b = record_of(&p, &codecs[c]);
        char *longer = calloc(1, b->len + 1);

        for (size_t cut = 0; cut < b->len; cut++)
            assert_int_equal(read_copy(b->bytes, cut, &p.head.key, &codecs[c]), RECORD_CORRUPT);
        assert_int_equal(read_copy(b->bytes, b->len, &p.head.key, &codecs[c]), RECORD_OK);
        assert_non_null(longer);
        memcpy(longer, b->bytes, b->len);
        assert_int_equal(read_copy(longer, b->len + 1, &p.head.key, &codecs[c]), RECORD_CORRUPT);
        free(longer);
        blob_unref(b);
    }
    seal_keys_free((struct seal_keys *)codecs[1].keys);
}

static void every_flipped_bit_is_found(void **state)
{
    struct record_codec codecs[] = {{NULL}, {keys_of(1, 2)}};
    struct entry_parts p = sample();

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
        struct blob *b = record_of(&p, &codecs[c]);

        for (size_t bit = 0; bit < b->len * 8; bit++) {
            b->bytes[bit / 8] ^= (char)(1 << bit % 8);
            if (read_copy(b->bytes, b->len, &p.head.key, &codecs[c]) == RECORD_OK)
                fail_msg("bit %zu of %s", bit, c ? "a sealed one" : "one that is not sealed");
            b->bytes[bit / 8] ^= (char)(1 << bit % 8);
        }
        blob_unref(b);
    }
    seal_keys_free((struct seal_keys *)codecs[1].keys);
}

static void a_start_that_was_changed_tells_nothing(void **state)
{
    struct entry_parts p = sample();
    struct blob *b = record_of(&p, &open_codec);
    size_t wanted, needed = b->len - body[0].len - body[1].len;
    struct record_seen seen;

    (void)state;
    for (size_t bit = 0; bit < needed * 8; bit++) {
        if (bit / 8 >= 112 && bit / 8 < RECORD_HEAD_BYTES)
            continue; /* the mark of the body */
        b->bytes[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_not_equal(record_look(blob_slice(b), &p.head.key, &open_codec, &seen, &wanted), RECORD_OK);
        b->bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    blob_unref(b);
}

static void the_body_of_another_record_does_not_fit(void **state)
{
    static const struct slice other = SLICE("{\"choices\":{}}");
    struct record_codec codec = {keys_of(1, 2)};
    struct entry_parts p = sample(), q = sample();
    struct blob *a, *b;

    (void)state;
    q.body = &other;
    q.body_n = 1;
    a = record_of(&p, &codec);
    b = record_of(&q, &codec);
    assert_int_equal(a->len, b->len);
    memcpy(a->bytes + 112, b->bytes + 112, 48);
    memcpy(a->bytes + a->len - other.len, b->bytes + b->len - other.len, other.len);
    assert_int_equal(record_read(blob_slice(a), &p.head.key, &codec, &(struct record_seen){0}),
                     RECORD_CORRUPT);
    blob_unref(a);
    blob_unref(b);
    seal_keys_free((struct seal_keys *)codec.keys);
}

static void who_may_read_what(void **state)
{
    struct record_codec first = {keys_of(1, 1)}, rotated = {keys_of(2, 1)}, lost = {keys_of(2, 2)};
    struct entry_parts p = sample();
    struct digest other = {{9}};
    const struct {
        const char *why;
        const struct record_codec *by, *reader;
        const struct digest *key;
        enum record_result want;
    } cases[] = {
        {"a key that seals no longer opens still", &first, &rotated, &p.head.key, RECORD_OK},
        {"a lost key", &first, &lost, &p.head.key, RECORD_LOCKED},
        {"no keys at all", &first, &open_codec, &p.head.key, RECORD_LOCKED},
        {"anybody could have written it", &open_codec, &first, &p.head.key, RECORD_UNSEALED},
        {"another's", &open_codec, &open_codec, &other, RECORD_OTHER_KEY},
        {"another's, sealed", &first, &first, &other, RECORD_OTHER_KEY},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct blob *b = record_of(&p, cases[i].by);
        enum record_result r = read_copy(b->bytes, b->len, cases[i].key, cases[i].reader);

        if (r != cases[i].want)
            fail_msg("%s: %s", cases[i].why, record_result_name(r));
        blob_unref(b);
    }
    seal_keys_free((struct seal_keys *)first.keys);
    seal_keys_free((struct seal_keys *)rotated.keys);
    seal_keys_free((struct seal_keys *)lost.keys);
}

/* Written by the page of documentation alone, with sums that hold. */
static size_t write_record(char *out, const char *json, const char *text)
{
    size_t json_len = strlen(json), text_len = strlen(text);
    struct sha256 *s = sha256_new();
    struct digest d;

    memset(out, 0, RECORD_HEAD_BYTES);
    memcpy(out, "RFRN\1", 5);
    out[8] = 1;
    out[9] = 2;
    out[10] = 3;
    out[40] = (char)(json_len & 0xFF);
    out[41] = (char)(json_len >> 8);
    out[48] = (char)(text_len & 0xFF);
    memcpy(out + RECORD_HEAD_BYTES, json, json_len);
    memcpy(out + RECORD_HEAD_BYTES + json_len, text, text_len);
    for (size_t at = 64; at < RECORD_HEAD_BYTES; at += 48) {
        sha256_begin(s);
        sha256_add(s, slice_make(out, at));
        sha256_add(s, at == 64 ? slice_str(json) : slice_str(text));
        d = sha256_end(s);
        memcpy(out + at, d.bytes, sizeof(d.bytes));
    }
    sha256_free(s);
    return RECORD_HEAD_BYTES + json_len + text_len;
}

static const char good_json[] =
    "{\"id\":\"0123456789abcdef0123456789abcdef\",\"namespace\":\"team-a\",\"operation\":\"chat\","
    "\"dialect\":\"chat\",\"model\":\"m\",\"tags\":\"a,b\",\"prompt\":\"small\",\"status\":200,\"flags\":[],"
    "\"created\":1,\"expires\":5,\"gone\":null,\"sliding\":0,\"max_expires\":0,"
    "\"stale_while_revalidate_s\":0,\"stale_if_error_s\":0,\"initial_age_s\":0,\"seq\":1,\"hits\":0,"
    "\"tokens_in\":0,\"tokens_out\":0,\"upstream_ms\":0,\"target\":null,\"etag\":\"\","
    "\"fields\":[[\"content-type\",\"text/plain\"]]}";

/* @json with the first @was of it replaced. */
static enum record_result read_edited(const char *was, const char *is)
{
    char *json = malloc(sizeof(good_json) + strlen(is)), *record = malloc(RECORD_BYTES_MAX);
    const char *at = strstr(good_json, was);
    struct digest key = {{1, 2, 3}};
    enum record_result r;
    size_t before, len;

    assert_non_null(at);
    assert_true(json && record);
    before = (size_t)(at - good_json);
    memcpy(json, good_json, before);
    memcpy(json + before, is, strlen(is));
    memcpy(json + before + strlen(is), at + strlen(was), sizeof(good_json) - before - strlen(was));
    len = write_record(record, json, "body");
    r = read_copy(record, len, &key, &open_codec);
    free(json);
    free(record);
    return r;
}

static void odd_metadata_is_an_error(void **state)
{
    static const struct {
        const char *why, *was, *is;
        enum record_result want;
    } cases[] = {
        {"as it should be", "\"hits\":0", "\"hits\":0", RECORD_OK},
        {"an unknown member", "\"hits\":0", "\"hits\":0,\"new\":{\"a\":[1]}", RECORD_OK},
        {"spaces", "\"hits\":0", " \"hits\" : 0 ", RECORD_OK},
        {"escapes", "\"team-a\"", "\"team\\u002da\"", RECORD_OK},
        {"bytes as hex", "\"model\":\"m\"", "\"model\":{\"hex\":\"ff00\"}", RECORD_OK},
        {"the largest time", "\"created\":1,", "\"created\":9223372036854775807,", RECORD_OK},
        {"no JSON", "{\"id\"", "[\"id\"", RECORD_CORRUPT},
        {"cut short", "]]}", "]]", RECORD_CORRUPT},
        {"two values", "]]}", "]]}{}", RECORD_CORRUPT},
        {"another type of value", good_json, "[]", RECORD_CORRUPT},
        {"nothing", good_json, "", RECORD_CORRUPT},
        {"an empty object", good_json, "{}", RECORD_CORRUPT},
        {"a member is missing", "\"hits\":0,", "", RECORD_CORRUPT},
        {"a member twice", "\"hits\":0", "\"hits\":0,\"hits\":0", RECORD_CORRUPT},
        {"negative", "\"hits\":0", "\"hits\":-1", RECORD_CORRUPT},
        {"no whole number", "\"hits\":0", "\"hits\":0.5", RECORD_CORRUPT},
        {"an exponent", "\"hits\":0", "\"hits\":1e3", RECORD_CORRUPT},
        {"a text for a number", "\"hits\":0", "\"hits\":\"0\"", RECORD_CORRUPT},
        {"null for a number", "\"hits\":0", "\"hits\":null", RECORD_CORRUPT},
        {"over 63 bits", "\"created\":1,", "\"created\":9223372036854775808,", RECORD_CORRUPT},
        {"far over 64 bits", "\"created\":1,", "\"created\":99999999999999999999999999,", RECORD_CORRUPT},
        {"over 32 bits", "\"tokens_in\":0", "\"tokens_in\":4294967296", RECORD_CORRUPT},
        {"cached tokens", "\"hits\":0", "\"hits\":0,\"tokens_cached\":4294967295,\"tokens_cache_write\":1",
         RECORD_OK},
        {"cached tokens twice", "\"hits\":0", "\"hits\":0,\"tokens_cached\":1,\"tokens_cached\":1",
         RECORD_CORRUPT},
        {"cached tokens over 32 bits", "\"hits\":0", "\"hits\":0,\"tokens_cached\":4294967296",
         RECORD_CORRUPT},
        {"cached tokens in place of one that is required", "\"hits\":0", "\"tokens_cached\":0",
         RECORD_CORRUPT},
        {"a status over 599", "\"status\":200", "\"status\":600", RECORD_CORRUPT},
        {"an informational status", "\"status\":200", "\"status\":100", RECORD_CORRUPT},
        {"gone before it expires", "\"gone\":null", "\"gone\":4", RECORD_CORRUPT},
        {"expires never, gone sometime", "\"expires\":5,\"gone\":null", "\"expires\":null,\"gone\":5",
         RECORD_CORRUPT},
        {"an id too short", "0123456789abcdef0123456789abcdef", "0123456789abcdef", RECORD_CORRUPT},
        {"an id that is no hex", "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdeg",
         RECORD_CORRUPT},
        {"an id with a line end", "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcd\\n",
         RECORD_CORRUPT},
        {"a number for a text", "\"model\":\"m\"", "\"model\":1", RECORD_CORRUPT},
        {"half a surrogate pair", "\"model\":\"m\"", "\"model\":\"\\ud800\"", RECORD_CORRUPT},
        {"half a byte", "\"model\":\"m\"", "\"model\":{\"hex\":\"f\"}", RECORD_CORRUPT},
        {"no hex", "\"model\":\"m\"", "\"model\":{\"hex\":\"zz\"}", RECORD_CORRUPT},
        {"an object of something else", "\"model\":\"m\"", "\"model\":{\"base64\":\"zz==\"}", RECORD_CORRUPT},
        {"a line end in the tags", "\"a,b\"", "\"a\\nb\"", RECORD_CORRUPT},
        {"a line end in the namespace", "team-a", "team\\r", RECORD_CORRUPT},
        {"a NUL in the tag", "\"etag\":\"\"", "\"etag\":\"\\u0000\"", RECORD_CORRUPT},
        {"flags that are no list", "\"flags\":[]", "\"flags\":\"gzip\"", RECORD_CORRUPT},
        {"a flag that is no text", "\"flags\":[]", "\"flags\":[1]", RECORD_CORRUPT},
        {"a flag of a later version", "\"flags\":[]", "\"flags\":[\"zstd\"]", RECORD_FUTURE},
        {"a dialect of a later version", "\"dialect\":\"chat\"", "\"dialect\":\"telepathy\"", RECORD_FUTURE},
        {"a size of a later version", "\"small\"", "\"tiny\"", RECORD_FUTURE},
        {"a dialect that is no text", "\"dialect\":\"chat\"", "\"dialect\":2", RECORD_CORRUPT},
        {"a size that is no text", "\"small\"", "2", RECORD_CORRUPT},
        {"a marker with a status", "\"flags\":[]", "\"flags\":[\"vary\"]", RECORD_CORRUPT},
        {"a target too short", "\"target\":null", "\"target\":\"12\"", RECORD_CORRUPT},
        {"a target that is no hex", "\"target\":null", "\"target\":\"123456789012345x\"", RECORD_CORRUPT},
        {"fields that are no list", "[[\"content-type\",\"text/plain\"]]", "{}", RECORD_CORRUPT},
        {"a field that is no pair", "[\"content-type\",\"text/plain\"]", "[\"content-type\"]",
         RECORD_CORRUPT},
        {"a field of three", "\"text/plain\"]", "\"text/plain\",\"x\"]", RECORD_CORRUPT},
        {"a field that is an object", "[\"content-type\",\"text/plain\"]", "{\"a\":\"b\",\"c\":\"d\"}",
         RECORD_CORRUPT},
        {"a field without a name", "\"content-type\"", "\"\"", RECORD_CORRUPT},
        {"a name with a colon", "content-type", "a: b", RECORD_CORRUPT},
        {"a line end in a value", "text/plain", "text\\r\\nset-cookie: a", RECORD_CORRUPT},
        {"a NUL in a value", "text/plain", "text\\u0000", RECORD_CORRUPT},
        {"a field that frames", "content-type", "Transfer-Encoding", RECORD_CORRUPT},
        {"a length of its own", "content-type", "content-length", RECORD_CORRUPT},
        {"a number for a value", "\"text/plain\"", "1", RECORD_CORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum record_result r = read_edited(cases[i].was, cases[i].is);

        if (r != cases[i].want)
            fail_msg("%s: %s", cases[i].why, record_result_name(r));
    }
}

static void more_fields_than_there_may_be_are_refused(void **state)
{
    for (size_t n = FIELDS_MAX - 1; n <= FIELDS_MAX; n++) {
        char more[16 * FIELDS_MAX] = "[[\"content-type\",\"text/plain\"]";

        for (size_t i = 0; i < n; i++)
            strcat(more, ",[\"a\",\"b\"]");
        (void)state;
        assert_int_equal(read_edited("[[\"content-type\",\"text/plain\"]", more),
                         n < FIELDS_MAX ? RECORD_OK : RECORD_CORRUPT);
    }
}

/* -- heads with sums that hold, and yet -- */

static void odd_heads_are_errors(void **state)
{
    static const struct {
        const char *why;
        size_t at;
        uint8_t byte;
        enum record_result want;
    } cases[] = {
        {"as it should be", 4, 1, RECORD_OK},
        {"another beginning", 0, 'r', RECORD_CORRUPT},
        {"a version that never was", 4, 0, RECORD_CORRUPT},
        {"the next version", 4, 2, RECORD_FUTURE},
        {"a version far off", 5, 0xFF, RECORD_FUTURE},
        {"said to be sealed", 6, 1, RECORD_LOCKED},
        {"unknown flags", 6, 2, RECORD_CORRUPT},
        {"another key", 8, 7, RECORD_OTHER_KEY},
        {"more metadata than there may be", 42, 0xFF, RECORD_CORRUPT},
        {"metadata of gigabytes", 43, 0xFF, RECORD_CORRUPT},
        {"a zero that is none", 44, 1, RECORD_CORRUPT},
        {"a longer body", 48, 5, RECORD_CORRUPT},
        {"a body of exabytes", 55, 0x7F, RECORD_CORRUPT},
        {"lengths that wrap around", 55, 0xFF, RECORD_CORRUPT},
        {"another zero that is none", 63, 1, RECORD_CORRUPT},
        {"a sum of the metadata with something behind it", 96, 1, RECORD_CORRUPT},
        {"a sum of the body with something behind it", 159, 1, RECORD_CORRUPT},
    };
    struct digest key = {{1, 2, 3}};
    char *record = malloc(RECORD_BYTES_MAX);

    (void)state;
    assert_non_null(record);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = write_record(record, good_json, "body");
        enum record_result r;

        record[cases[i].at] = (char)cases[i].byte;
        r = read_copy(record, len, &key, &open_codec);
        if (r != cases[i].want)
            fail_msg("%s: %s", cases[i].why, record_result_name(r));
    }
    free(record);
}

static void rubbish_is_told_from_what_others_may_read(void **state)
{
    static const bool rubbish[RECORD_RESULTS] = {
        [RECORD_CORRUPT] = true, [RECORD_OTHER_KEY] = true, [RECORD_UNSEALED] = true};

    (void)state;
    for (int r = 0; r < RECORD_RESULTS; r++) {
        assert_int_equal(record_is_rubbish((enum record_result)r), rubbish[r]);
        assert_non_null(record_result_name((enum record_result)r));
    }
}

/* -- for ever -- */

static FILE *open_sample(const char *name, const char *mode)
{
    char path[512];

    assert_true(snprintf(path, sizeof(path), "%s/records/%s", TEST_DIR, name) < (int)sizeof(path));
    return fopen(path, mode);
}

static size_t load(const char *name, char *out)
{
    FILE *f = open_sample(name, "rb");
    size_t n;

    if (!f)
        fail_msg("%s", name);
    n = fread(out, 1, RECORD_BYTES_MAX, f);
    assert_int_equal(fclose(f), 0);
    return n;
}

static struct entry_parts sample_of(const char *name)
{
    static const struct slice marker_body = SLICE("0123456789abcdef0123456789abcdef\1\2\3\4\5\6\7\10");
    static const struct field vary = {SLICE("vary"), SLICE("accept-language"), 0};
    struct entry_parts p = sample();

    if (strstr(name, "forever"))
        p.head.expires_ms = p.head.gone_ms = INT64_MAX;
    if (strstr(name, "marker")) {
        p.head.flags = ENTRY_VARY;
        p.head.status = 0;
        p.fields = &vary;
        p.fields_n = 1;
        p.body = &marker_body;
        p.body_n = 1;
    }
    return p;
}

/* A sample is made once, when its version is new, and kept: `RECORD_SAMPLES=new test_record`. */
static void make_sample(const char *name, const struct record_codec *codec)
{
    struct entry_parts p = sample_of(name);
    struct blob *b = record_of(&p, codec);
    FILE *f = open_sample(name, "wbx");

    assert_non_null(f);
    assert_int_equal(fwrite(b->bytes, 1, b->len, f), b->len);
    assert_int_equal(fclose(f), 0);
    blob_unref(b);
}

static void what_was_written_once_is_read_for_ever(void **state)
{
    static const char *const names[] = {"v1-open", "v1-sealed", "v1-forever", "v1-marker"};
    struct record_codec sealed = {keys_of(42, 43)};
    char *bytes = malloc(RECORD_BYTES_MAX);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct record_codec *codec = strstr(names[i], "sealed") ? &sealed : &open_codec;
        struct entry_parts p = sample_of(names[i]);
        struct entry *e = packed(&p);
        struct record_seen seen;
        size_t len;

        if (getenv("RECORD_SAMPLES"))
            make_sample(names[i], codec);
        len = load(names[i], bytes);
        if (record_read(slice_make(bytes, len), &e->key, codec, &seen) != RECORD_OK)
            fail_msg("%s", names[i]);
        assert_same(entry_box_entry(seen.box), e);
        assert_int_equal(seen.hits, 5);
        entry_box_unref(seen.box);
        free(e);
    }
    free(bytes);
    seal_keys_free((struct seal_keys *)sealed.keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_is_read_back),
        cmocka_unit_test(sliding_moves_both_ends),
        cmocka_unit_test(a_list_of_variants_has_whole_rows_and_a_ceiling),
        cmocka_unit_test(the_identity_copy_stays_behind),
        cmocka_unit_test(what_could_not_be_read_back_is_not_packed),
        cmocka_unit_test(metadata_has_a_ceiling),
        cmocka_unit_test(a_start_tells_all_but_the_body),
        cmocka_unit_test(no_shorter_or_longer_run_is_a_record),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(a_start_that_was_changed_tells_nothing),
        cmocka_unit_test(the_body_of_another_record_does_not_fit),
        cmocka_unit_test(who_may_read_what),
        cmocka_unit_test(odd_metadata_is_an_error),
        cmocka_unit_test(more_fields_than_there_may_be_are_refused),
        cmocka_unit_test(odd_heads_are_errors),
        cmocka_unit_test(rubbish_is_told_from_what_others_may_read),
        cmocka_unit_test(what_was_written_once_is_read_for_ever),
    };

    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
