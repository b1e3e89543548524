#include <errno.h>

#include "record_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/hex.h"
#include "refrain/base/jout.h"
#include "refrain/base/utf8.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/jscan.h"
#include "refrain/wire/prompt.h"

/*
 * A member is a row: how it is written, how it is read, and where in struct record_meta it lies. Bytes that
 * are no text in UTF-8 (a header's, a model's) are written as {"hex": "…"}, since nothing of an answer may
 * change by being stored. "For ever" is null.
 */
struct member {
    const char *name;
    void (*write)(const struct member *m, const struct record_meta *from, struct jout *j);
    enum record_result (*read)(const struct member *m, struct jscan_value v, struct record_meta *to);
    size_t at;
    uint64_t max; /* of numbers */
    uint8_t bytes;
    bool optional; /* a number that is not written where it is zero: earlier versions have not written it */
};

/* -- numbers -- */

static uint64_t number_get(const struct member *m, const struct record_meta *from)
{
    const char *at = (const char *)from + m->at;
    uint16_t two;
    uint32_t four;
    int64_t eight;

    switch (m->bytes) {
    case sizeof(two):
        memcpy(&two, at, sizeof(two));
        return two;
    case sizeof(four):
        memcpy(&four, at, sizeof(four));
        return four;
    default:
        memcpy(&eight, at, sizeof(eight));
        return eight > 0 ? (uint64_t)eight : 0; /* a clock before 1970 */
    }
}

static void number_set(const struct member *m, uint64_t number, struct record_meta *to)
{
    char *at = (char *)to + m->at;
    uint16_t two = (uint16_t)number;
    uint32_t four = (uint32_t)number;

    switch (m->bytes) {
    case sizeof(two):
        memcpy(at, &two, sizeof(two));
        break;
    case sizeof(four):
        memcpy(at, &four, sizeof(four));
        break;
    default:
        memcpy(at, &number, sizeof(number));
    }
}

static void write_number(const struct member *m, const struct record_meta *from, struct jout *j)
{
    uint64_t number = number_get(m, from);

    jout_int(j, m->name, (int64_t)(number < m->max ? number : m->max));
}

static void write_over_zero(const struct member *m, const struct record_meta *from, struct jout *j)
{
    if (number_get(m, from) > 0)
        write_number(m, from, j);
}

/* Plain digits up to @max; no sign, point or exponent. */
static bool parse_number(struct jscan_value v, uint64_t max, uint64_t *out)
{
    uint64_t number = 0;

    if (v.kind != JSCAN_NUMBER)
        return false;
    for (size_t i = 0; i < v.text.len; i++) {
        uint64_t digit = (uint64_t)(unsigned char)v.text.data[i] - '0';

        if (digit > 9 || number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *out = number;
    return true;
}

static enum record_result read_number(const struct member *m, struct jscan_value v, struct record_meta *to)
{
    uint64_t number;

    if (!parse_number(v, m->max, &number))
        return RECORD_CORRUPT;
    number_set(m, number, to);
    return RECORD_OK;
}

static void write_time(const struct member *m, const struct record_meta *from, struct jout *j)
{
    if (number_get(m, from) == INT64_MAX)
        jout_null(j, m->name);
    else
        write_number(m, from, j);
}

static enum record_result read_time(const struct member *m, struct jscan_value v, struct record_meta *to)
{
    if (v.kind != JSCAN_NULL)
        return read_number(m, v, to);
    number_set(m, INT64_MAX, to);
    return RECORD_OK;
}

/* -- texts -- */

static const char hex_digits[] = "0123456789abcdef";

static bool is_utf8(struct slice s)
{
    const uint8_t *p = (const uint8_t *)s.data;
    size_t n = 0;

    for (size_t i = 0; i < s.len; i += n) {
        n = p[i] < 0x80 ? 1 : utf8_len(p + i, s.len - i);
        if (n == 0)
            return false;
    }
    return true;
}

static void put_hex(struct jout *j, const char *name, struct slice bytes)
{
    AUTO(buf_done) struct buf hex = BUF_INIT(2 * (size_t)RECORD_META_BYTES_MAX);
    int r = 0;

    for (size_t i = 0; r == 0 && i < bytes.len; i++) {
        const char two[2] = {hex_digits[(uint8_t)bytes.data[i] >> 4], hex_digits[bytes.data[i] & 15]};

        r = buf_add(&hex, two, sizeof(two));
    }
    if (r < 0 && j->failed == 0)
        j->failed = r;
    jout_object(j, name);
    jout_text(j, "hex", buf_slice(&hex));
    jout_end(j);
}

static void put_bytes(struct jout *j, const char *name, struct slice bytes)
{
    if (is_utf8(bytes))
        jout_text(j, name, bytes);
    else
        put_hex(j, name, bytes);
}

static bool take_hex(struct slice hex, struct buf *out)
{
    if (hex.len % 2 != 0)
        return false;
    for (size_t i = 0; i < hex.len; i += 2) {
        int byte = hex_byte_lower(hex.data + i);

        if (byte < 0 || buf_add_byte(out, (char)byte) < 0)
            return false;
    }
    return true;
}

/* Into m->texts, which has room for all: nothing decodes to more than it was. */
static bool take_bytes(struct jscan_value v, struct record_meta *to, struct slice *out)
{
    size_t before = to->texts.len;
    struct jscan_value hex = v.kind == JSCAN_OBJECT ? jscan_get(v, SLICE_OF("hex")) : v;

    if (hex.kind != JSCAN_STRING)
        return false;
    if (v.kind == JSCAN_OBJECT ? !take_hex(hex.text, &to->texts) : jscan_decode(hex.text, &to->texts) < 0)
        return false;
    *out = to->texts.len > before ? slice_make(to->texts.data + before, to->texts.len - before)
                                  : (struct slice){NULL, 0};
    return true;
}

static void write_text(const struct member *m, const struct record_meta *from, struct jout *j)
{
    struct slice text;

    memcpy(&text, (const char *)from + m->at, sizeof(text));
    put_bytes(j, m->name, text);
}

static enum record_result read_text(const struct member *m, struct jscan_value v, struct record_meta *to)
{
    struct slice text;

    if (!take_bytes(v, to, &text))
        return RECORD_CORRUPT;
    memcpy((char *)to + m->at, &text, sizeof(text));
    return RECORD_OK;
}

/* -- the rest -- */

static void write_id(const struct member *m, const struct record_meta *from, struct jout *j)
{
    jout_text(j, m->name, slice_make(from->parts.head.id, ENTRY_ID_LEN));
}

static enum record_result read_id(const struct member *m, struct jscan_value v, struct record_meta *to)
{
    (void)m;
    if (v.kind != JSCAN_STRING || v.text.len != ENTRY_ID_LEN)
        return RECORD_CORRUPT;
    memcpy(to->parts.head.id, v.text.data, ENTRY_ID_LEN);
    return RECORD_OK;
}

static void write_dialect(const struct member *m, const struct record_meta *from, struct jout *j)
{
    unsigned op = from->parts.head.operation;

    jout_str(j, m->name, dialect_of(op < OP_COUNT ? (enum operation)op : OP_PASS)->name);
}

static enum record_result read_dialect(const struct member *m, struct jscan_value v, struct record_meta *to)
{
    enum operation op = operation_by_name(v.text);

    (void)m;
    if (v.kind != JSCAN_STRING)
        return RECORD_CORRUPT;
    if (op == OP_COUNT)
        return RECORD_FUTURE;
    to->parts.head.operation = (uint8_t)op;
    return RECORD_OK;
}

static void write_prompt(const struct member *m, const struct record_meta *from, struct jout *j)
{
    unsigned prompt = from->parts.head.prompt;

    jout_str(j, m->name,
             prompt > 0 && prompt <= PROMPT_TIER_COUNT ? prompt_tier_name((enum prompt_tier)(prompt - 1))
                                                       : NULL);
}

static enum record_result read_prompt(const struct member *m, struct jscan_value v, struct record_meta *to)
{
    enum prompt_tier tier = prompt_tier_by_name(v.text);

    (void)m;
    if (v.kind == JSCAN_NULL)
        return RECORD_OK;
    if (v.kind != JSCAN_STRING)
        return RECORD_CORRUPT;
    if (tier == PROMPT_TIER_COUNT)
        return RECORD_FUTURE;
    to->parts.head.prompt = (uint8_t)(tier + 1);
    return RECORD_OK;
}

static const struct flag {
    const char *name;
    enum entry_flag bit;
} flags[] = {
    {"stream", ENTRY_STREAM}, {"gzip", ENTRY_GZIP},
    {"shrunk", ENTRY_SHRUNK}, {"must-revalidate", ENTRY_MUST_REVALIDATE},
    {"vary", ENTRY_VARY},
};

static void write_flags(const struct member *m, const struct record_meta *from, struct jout *j)
{
    jout_array(j, m->name);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (from->parts.head.flags & flags[i].bit)
            jout_str(j, NULL, flags[i].name);
    jout_end(j);
}

/* A flag that is not known here would be disobeyed. */
static enum record_result read_flags(const struct member *m, struct jscan_value v, struct record_meta *to)
{
    struct jscan_walk w = jscan_walk(v);
    struct jscan_item item;

    (void)m;
    if (v.kind != JSCAN_ARRAY)
        return RECORD_CORRUPT;
    while (jscan_next(&w, &item)) {
        size_t i = 0;

        while (i < ARRAY_LEN(flags) && !jscan_is(item.value, slice_str(flags[i].name)))
            i++;
        if (i == ARRAY_LEN(flags))
            return item.value.kind == JSCAN_STRING ? RECORD_FUTURE : RECORD_CORRUPT;
        to->parts.head.flags |= (uint16_t)flags[i].bit;
    }
    return RECORD_OK;
}

/* As hexadecimal text: many who read JSON have no whole numbers over 2^53. */
static void write_target(const struct member *m, const struct record_meta *from, struct jout *j)
{
    char hex[2 * sizeof(uint64_t)];

    if (from->parts.head.target == 0) {
        jout_null(j, m->name);
        return;
    }
    for (size_t i = 0; i < sizeof(hex); i++)
        hex[i] = hex_digits[from->parts.head.target >> (60 - 4 * i) & 15];
    jout_text(j, m->name, slice_make(hex, sizeof(hex)));
}

static enum record_result read_target(const struct member *m, struct jscan_value v, struct record_meta *to)
{
    uint64_t target = 0;

    (void)m;
    if (v.kind == JSCAN_NULL)
        return RECORD_OK;
    if (v.kind != JSCAN_STRING || v.text.len != 2 * sizeof(target))
        return RECORD_CORRUPT;
    for (size_t i = 0; i < v.text.len; i++) {
        int digit = hex_digit_lower(v.text.data[i]);

        if (digit < 0)
            return RECORD_CORRUPT;
        target = target << 4 | (uint64_t)digit;
    }
    to->parts.head.target = target;
    return RECORD_OK;
}

static void write_fields(const struct member *m, const struct record_meta *from, struct jout *j)
{
    jout_array(j, m->name);
    for (size_t i = 0; i < from->parts.fields_n; i++) {
        jout_array(j, NULL);
        put_bytes(j, NULL, from->fields[i].name);
        put_bytes(j, NULL, from->fields[i].value);
        jout_end(j);
    }
    jout_end(j);
}

static bool take_field(struct jscan_value pair, struct record_meta *to, struct field *out)
{
    struct jscan_walk w = jscan_walk(pair);
    struct jscan_item name, value, more;

    return pair.kind == JSCAN_ARRAY && jscan_next(&w, &name) && jscan_next(&w, &value) &&
           !jscan_next(&w, &more) && take_bytes(name.value, to, &out->name) &&
           take_bytes(value.value, to, &out->value);
}

static enum record_result read_fields(const struct member *m, struct jscan_value v, struct record_meta *to)
{
    struct jscan_walk w = jscan_walk(v);
    struct jscan_item pair;
    size_t n = 0;

    (void)m;
    if (v.kind != JSCAN_ARRAY)
        return RECORD_CORRUPT;
    for (; jscan_next(&w, &pair); n++)
        if (n == FIELDS_MAX || !take_field(pair.value, to, &to->fields[n]))
            return RECORD_CORRUPT;
    to->parts.fields_n = n;
    return RECORD_OK;
}

/* -- the table -- */

/* clang-format off */
#define NUMBER(name, member, most) {name, write_number, read_number, \
                                    offsetof(struct record_meta, member), most, \
                                    sizeof(((struct record_meta *)NULL)->member), false}
#define OPTIONAL(name, member, most) {name, write_over_zero, read_number, \
                                      offsetof(struct record_meta, member), most, \
                                      sizeof(((struct record_meta *)NULL)->member), true}
#define TIME(name, member) {name, write_time, read_time, offsetof(struct record_meta, member), INT64_MAX, \
                            sizeof(((struct record_meta *)NULL)->member), false}
#define TEXT(name, member) {name, write_text, read_text, offsetof(struct record_meta, member), 0, 0, false}
#define OTHER(name, what) {name, write_##what, read_##what, 0, 0, 0, false}
static const struct member members[] = {
    OTHER("id", id),
    TEXT("namespace", parts.namespace_),
    TEXT("operation", parts.op_name),
    OTHER("dialect", dialect),
    TEXT("model", parts.model),
    TEXT("tags", parts.tags),
    OTHER("prompt", prompt),
    NUMBER("status", parts.head.status, 599),
    OTHER("flags", flags),
    NUMBER("created", parts.head.created_ms, INT64_MAX),
    TIME("expires", parts.head.expires_ms),
    TIME("gone", parts.head.gone_ms),
    NUMBER("sliding", parts.head.sliding_ms, INT64_MAX),
    TIME("max_expires", parts.head.max_expires_ms),
    NUMBER("stale_while_revalidate_s", parts.head.while_revalidate_s, UINT32_MAX),
    NUMBER("stale_if_error_s", parts.head.if_error_s, UINT32_MAX),
    NUMBER("initial_age_s", parts.head.initial_age_s, UINT32_MAX),
    NUMBER("seq", parts.head.started_seq, INT64_MAX),
    NUMBER("hits", hits, INT64_MAX),
    NUMBER("tokens_in", parts.head.tokens_in, UINT32_MAX),
    NUMBER("tokens_out", parts.head.tokens_out, UINT32_MAX),
    OPTIONAL("tokens_cached", parts.head.tokens_cached, UINT32_MAX),
    OPTIONAL("tokens_cache_write", parts.head.tokens_cache_write, UINT32_MAX),
    NUMBER("upstream_ms", parts.head.upstream_ms, UINT32_MAX),
    OTHER("target", target),
    TEXT("etag", parts.etag),
    OTHER("fields", fields),
};
/* clang-format on */

_Static_assert(ARRAY_LEN(members) <= 32, "a bit each in a uint32_t");

/* -- what must hold, written or read -- */

static bool is_one_line(struct slice s)
{
    return s.len == 0 ||
           (!memchr(s.data, '\0', s.len) && !memchr(s.data, '\r', s.len) && !memchr(s.data, '\n', s.len));
}

static bool is_id(const char *id)
{
    for (size_t i = 0; i < ENTRY_ID_LEN; i++)
        if (hex_digit_lower(id[i]) < 0)
            return false;
    return true;
}

/* What frames a message is made anew for each, and never stored: from outside it could cut an answer in two.
 */
static bool is_of_connection(struct slice name)
{
    static const struct slice names[] = {
        SLICE("connection"), SLICE("content-length"), SLICE("keep-alive"),        SLICE("proxy-connection"),
        SLICE("te"),         SLICE("trailer"),        SLICE("transfer-encoding"), SLICE("upgrade"),
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_ieq(name, names[i]))
            return true;
    return false;
}

static bool are_fields(const struct record_meta *m)
{
    for (size_t i = 0; i < m->parts.fields_n; i++)
        if (!header_name_ok(m->fields[i].name) || !header_value_ok(m->fields[i].value) ||
            is_of_connection(m->fields[i].name))
            return false;
    return true;
}

/* 1xx is no answer; a marker of variants has no status. */
static bool is_status(const struct entry *e)
{
    return e->flags & ENTRY_VARY ? e->status == 0 : e->status >= 200 && e->status <= 599;
}

static bool is_sound(const struct record_meta *m)
{
    const struct entry *e = &m->parts.head;

    return is_id(e->id) && is_status(e) && e->gone_ms >= e->expires_ms && is_one_line(m->parts.namespace_) &&
           is_one_line(m->parts.op_name) && is_one_line(m->parts.tags) && is_one_line(m->parts.etag) &&
           are_fields(m);
}

/* -- all of it -- */

enum record_result record_meta_take(struct record_meta *m, const struct entry *e, uint64_t hits)
{
    if (e->fields_n > FIELDS_MAX)
        return RECORD_TOO_LARGE;
    m->parts = entry_parts_of(e, m->fields, &m->body);
    m->hits = hits;
    return RECORD_OK;
}

enum record_result record_meta_write(const struct record_meta *m, struct buf *out)
{
    struct jout j = jout_begin(out);

    if (!is_sound(m))
        return RECORD_CORRUPT;
    jout_object(&j, NULL);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        members[i].write(&members[i], m, &j);
    jout_end(&j);
    if (jout_done(&j) == 0)
        return RECORD_OK;
    return jout_done(&j) == -EMSGSIZE ? RECORD_TOO_LARGE : RECORD_NO_MEMORY;
}

static enum record_result read_member(const struct jscan_item *item, struct record_meta *m, uint32_t *seen)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (!slice_eq(item->name, slice_str(members[i].name)))
            continue;
        if (*seen & UINT32_C(1) << i)
            return RECORD_CORRUPT;
        *seen |= UINT32_C(1) << i;
        return members[i].read(&members[i], item->value, m);
    }
    return RECORD_OK; /* a later version's */
}

/* Those that every version has written. */
static uint32_t required(void)
{
    uint32_t all = 0;

    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        all |= members[i].optional ? 0 : UINT32_C(1) << i;
    return all;
}

enum record_result record_meta_read(struct slice json, struct record_meta *m)
{
    const uint32_t all = required();
    struct jscan_value root = jscan_root(json);
    struct jscan_walk w = jscan_walk(root);
    struct jscan_item item;
    enum record_result r = RECORD_OK;
    uint32_t seen = 0;

    m->parts = (struct entry_parts){.fields = m->fields, .body = &m->body, .body_n = 1};
    m->hits = 0;
    m->texts = (struct buf)BUF_INIT(json.len);
    if (!jscan_valid(json) || root.kind != JSCAN_OBJECT)
        return RECORD_CORRUPT;
    if (buf_reserve_exact(&m->texts, json.len) < 0) /* slices of it stay where they are */
        return RECORD_NO_MEMORY;
    while (r == RECORD_OK && jscan_next(&w, &item))
        r = read_member(&item, m, &seen);
    if (r == RECORD_OK && ((seen & all) != all || !is_sound(m)))
        return RECORD_CORRUPT;
    return r;
}

void record_meta_done(struct record_meta *m)
{
    buf_done(&m->texts);
}
