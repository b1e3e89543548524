#include "instances_msg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "refrain/base/attr.h"
#include "refrain/base/hex.h"
#include "refrain/wire/jscan.h"

enum { VERSION = 1, SUM_DIGITS = 16 };

static const char *const kinds[MSG_KINDS] = {
    [MSG_INVALIDATED] = "CACHE_INVALIDATED",
    [MSG_TARGET] = "TARGET",
    [MSG_REFUSED] = "REFUSED",
    [MSG_ANSWER] = "ANSWER",
};

/* The texts of a selector, by name. */
static const struct text_row {
    const char *name;
    size_t at;
} texts[] = {
    {"id", offsetof(struct selector, id)},       {"pattern", offsetof(struct selector, pattern)},
    {"tag", offsetof(struct selector, tag)},     {"operation", offsetof(struct selector, operation)},
    {"model", offsetof(struct selector, model)}, {"namespace", offsetof(struct selector, namespace_)},
};

static struct slice *text_of(struct selector *s, const struct text_row *row)
{
    return (struct slice *)(void *)((char *)s + row->at);
}

/* -- writing -- */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("._:*?/@+,=- ", c));
}

static int add_text(struct buf *out, const char *name, struct slice text)
{
    int r = buf_addf(out, ",\"%s\":\"", name);

    for (size_t i = 0; r == 0 && i < text.len; i++)
        r = is_plain(text.data[i]) ? buf_add_byte(out, text.data[i])
                                   : buf_addf(out, "%%%02X", (unsigned)(unsigned char)text.data[i]);
    return r < 0 ? r : buf_add_byte(out, '"');
}

static int add_which(struct buf *out, const struct selector *which)
{
    struct selector s = *which;
    int r = buf_addf(out, ",\"which\":{\"before\":%" PRId64, s.created_before_ms);

    if (r == 0 && s.target != 0)
        r = buf_addf(out, ",\"target\":\"%016" PRIx64 "\"", s.target);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(texts); i++)
        if (text_of(&s, &texts[i])->len > 0)
            r = add_text(out, texts[i].name, *text_of(&s, &texts[i]));
    return r < 0 ? r : buf_add_byte(out, '}');
}

static size_t texts_len(const struct instances_msg *m)
{
    struct selector s = m->which;
    size_t n = m->correlation.len;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        n += text_of(&s, &texts[i])->len;
    return n;
}

static int add_invalidated(const struct instances_msg *m, struct buf *out)
{
    int r = texts_len(m) > MSG_TEXTS_BYTES ? -EMSGSIZE : buf_addf(out, ",\"ask\":%" PRIu64, m->ask);

    if (r == 0 && m->dry_run)
        r = buf_addf(out, ",\"dry_run\":true");
    if (r == 0)
        r = add_which(out, &m->which);
    if (r == 0 && m->correlation.len > 0)
        r = add_text(out, "correlation", m->correlation);
    return r;
}

static int add_answer(const struct instances_msg *m, struct buf *out)
{
    int r = buf_addf(out,
                     ",\"ask\":%" PRIu64 ",\"matched\":%" PRIu64 ",\"memory\":%" PRIu64 ",\"disk\":%" PRIu64
                     ",\"seq\":%" PRId64 ",\"at_least\":%s,\"sums\":\"",
                     m->ask, m->matched, m->memory, m->disk, m->seq, m->at_least ? "true" : "false");

    if (r == 0)
        r = buf_add_slice(out, m->sums);
    return r < 0 ? r : buf_add_byte(out, '"');
}

int instances_msg_write(const struct instances_msg *m, struct buf *out)
{
    int r = buf_addf(out, "{\"v\":%d,\"type\":\"%s\",\"source\":\"%s\",\"at\":%" PRId64, VERSION,
                     kinds[m->kind], m->source, m->at_ms);

    if (r == 0 && m->kind == MSG_INVALIDATED)
        r = add_invalidated(m, out);
    else if (r == 0 && m->kind == MSG_ANSWER)
        r = add_answer(m, out);
    else if (r == 0)
        r = buf_addf(out, ",\"sum\":\"%016" PRIx64 "\"", m->sum);
    return r < 0 ? r : buf_add_byte(out, '}');
}

int instances_msg_add_sum(struct buf *sums, uint64_t sum)
{
    return buf_addf(sums, "%016" PRIx64, sum);
}

/* -- reading -- */

bool instances_read_sum(struct slice hex, uint64_t *out)
{
    uint64_t sum = 0;

    if (hex.len != SUM_DIGITS)
        return false;
    for (size_t i = 0; i < hex.len; i++) {
        int digit = hex_digit_lower(hex.data[i]);

        if (digit < 0)
            return false;
        sum = sum << 4 | (uint64_t)digit;
    }
    *out = sum;
    return true;
}

struct reader {
    struct jscan_value object;
    struct instances_msg *m;
    size_t used; /* of its texts */
    bool bad;
};

static struct jscan_value value_of(const struct reader *r, const char *name)
{
    return jscan_get(r->object, slice_str(name));
}

/* Decodes a text that may be absent. */
static struct slice read_text(struct reader *r, const char *name)
{
    struct jscan_value v = value_of(r, name);
    char *out = r->m->texts + r->used;
    size_t n = 0;

    if (v.kind == JSCAN_ABSENT)
        return (struct slice){NULL, 0};
    r->bad = r->bad || v.kind != JSCAN_STRING;
    for (size_t i = 0; !r->bad && i < v.text.len; i++) {
        char c = v.text.data[i];

        if (c == '%') {
            int byte = i + 2 < v.text.len ? hex_byte(v.text.data + i + 1) : -1;

            r->bad = byte < 0;
            c = (char)byte;
            i += 2;
        } else {
            r->bad = !is_plain(c);
        }
        if (r->used + n == sizeof(r->m->texts))
            r->bad = true;
        if (!r->bad)
            out[n++] = c;
    }
    r->used += n;
    return slice_make(out, n);
}

static int64_t read_count(struct reader *r, const char *name)
{
    int64_t n = jscan_count(value_of(r, name), -1);

    r->bad = r->bad || n < 0;
    return n;
}

static uint64_t read_sum(struct reader *r, const char *name, bool needed)
{
    struct jscan_value v = value_of(r, name);
    uint64_t sum = 0;

    if (v.kind == JSCAN_ABSENT && !needed)
        return 0;
    r->bad = r->bad || v.kind != JSCAN_STRING || !instances_read_sum(v.text, &sum);
    return sum;
}

static bool read_truth(struct reader *r, const char *name)
{
    struct jscan_value v = value_of(r, name);

    r->bad = r->bad || (v.kind != JSCAN_ABSENT && v.kind != JSCAN_BOOL);
    return v.kind == JSCAN_BOOL && slice_eq(v.text, SLICE_OF("true"));
}

static void read_invalidated(struct reader *r)
{
    struct jscan_value whole = r->object;

    r->m->ask = (uint64_t)read_count(r, "ask");
    r->m->dry_run = read_truth(r, "dry_run");
    r->m->correlation = read_text(r, "correlation");
    r->object = value_of(r, "which");
    r->bad = r->bad || r->object.kind != JSCAN_OBJECT;
    if (r->bad)
        return;
    r->m->which.created_before_ms = read_count(r, "before");
    r->m->which.target = read_sum(r, "target", false);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *text_of(&r->m->which, &texts[i]) = read_text(r, texts[i].name);
    r->object = whole;
}

static void read_answer(struct reader *r)
{
    struct jscan_value sums = value_of(r, "sums");
    uint64_t sum;

    r->m->ask = (uint64_t)read_count(r, "ask");
    r->m->matched = (uint64_t)read_count(r, "matched");
    r->m->memory = (uint64_t)read_count(r, "memory");
    r->m->disk = (uint64_t)read_count(r, "disk");
    r->m->seq = read_count(r, "seq");
    r->m->at_least = read_truth(r, "at_least");
    r->bad = r->bad || sums.kind != JSCAN_STRING || sums.text.len % SUM_DIGITS != 0 ||
             sums.text.len / SUM_DIGITS > MSG_SUMS_MAX;
    for (size_t i = 0; !r->bad && i < sums.text.len; i += SUM_DIGITS)
        r->bad = !instances_read_sum(slice_make(sums.text.data + i, SUM_DIGITS), &sum);
    r->m->sums = sums.text;
}

static bool read_kind(const struct reader *r, enum msg_kind *out)
{
    for (size_t i = 0; i < MSG_KINDS; i++)
        if (jscan_is(value_of(r, "type"), slice_str(kinds[i]))) {
            *out = (enum msg_kind)i;
            return true;
        }
    return false;
}

bool instances_msg_read(struct slice text, struct instances_msg *out)
{
    struct reader r = {.m = out};
    uint64_t source;

    memset(out, 0, offsetof(struct instances_msg, texts));
    if (text.len > MSG_ANSWER_BYTES_MAX || !jscan_valid(text))
        return false;
    r.object = jscan_root(text);
    if (r.object.kind != JSCAN_OBJECT || jscan_count(value_of(&r, "v"), -1) != VERSION ||
        !read_kind(&r, &out->kind))
        return false;
    source = read_sum(&r, "source", true);
    (void)snprintf(out->source, sizeof(out->source), "%016" PRIx64, source);
    out->at_ms = read_count(&r, "at");
    if (out->kind == MSG_INVALIDATED)
        read_invalidated(&r);
    else if (out->kind == MSG_ANSWER)
        read_answer(&r);
    else
        out->sum = read_sum(&r, "sum", true);
    return !r.bad;
}

uint64_t instances_msg_sum(const struct instances_msg *m, size_t i)
{
    uint64_t sum = 0;

    (void)instances_read_sum(slice_make(m->sums.data + i * SUM_DIGITS, SUM_DIGITS), &sum);
    return sum;
}
