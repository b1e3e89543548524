#include "csv.h"

#include <stdbool.h>
#include <string.h>

#include "refrain/wire/jscan.h"

enum { NAME_BYTES_MAX = 256, TEXT_BYTES_MAX = 4096, DEPTH_MAX = 8 };

/* Where a value stands. Texts that do not fit are cut. */
struct place {
    char section[NAME_BYTES_MAX], subject[NAME_BYTES_MAX], measure[NAME_BYTES_MAX];
};

struct table {
    struct buf *out;
    int r;
};

/* Members that say which element of an array it is. */
static const char *const names[] = {"operation", "result", "namespace", "model", "client", "tier",
                                    "code",      "reason", "part",      "at",    "status", "id"};

static bool is_name(struct slice member)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_eq(member, slice_str(names[i])))
            return true;
    return false;
}

/* Appends @text to what stands in @to, after @between unless that is empty yet. */
static void append(char to[NAME_BYTES_MAX], char between, struct slice text)
{
    size_t n = strlen(to);

    if (n > 0 && n < NAME_BYTES_MAX - 1)
        to[n++] = between;
    for (size_t i = 0; i < text.len && n < NAME_BYTES_MAX - 1; i++)
        to[n++] = text.data[i];
    to[n] = '\0';
}

/* -- cells -- */

static void put(struct table *t, const char *bytes, size_t n)
{
    if (t->r == 0)
        t->r = buf_add(t->out, bytes, n);
}

static bool is_formula(struct slice text)
{
    unsigned char first = text.len > 0 ? (unsigned char)text.data[0] : 'a';

    return first < ' ' || strchr("=+-@", first) != NULL;
}

static bool needs_quotes(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr(",\"\r\n", text.data[i]) && text.data[i])
            return true;
    return false;
}

static void put_cell(struct table *t, struct slice text, bool is_text)
{
    bool quotes = needs_quotes(text);

    if (quotes)
        put(t, "\"", 1);
    if (is_text && is_formula(text))
        put(t, "'", 1);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '"')
            put(t, "\"", 1);
        put(t, &text.data[i], 1);
    }
    if (quotes)
        put(t, "\"", 1);
}

static void put_line(struct table *t, const struct place *p, struct slice value, bool is_text)
{
    put_cell(t, slice_str(p->section), true);
    put(t, ",", 1);
    put_cell(t, slice_str(p->subject), true);
    put(t, ",", 1);
    put_cell(t, slice_str(p->measure), true);
    put(t, ",", 1);
    put_cell(t, value, is_text);
    put(t, "\r\n", 2);
}

/* -- values -- */

/* What a plain value says; cut where it is very long. */
static struct slice say(struct jscan_value v, struct buf *text)
{
    buf_clear(text);
    if (v.kind == JSCAN_NULL)
        return (struct slice){"", 0};
    if (v.kind != JSCAN_STRING)
        return v.text;
    return jscan_decode(slice_make(v.text.data, v.text.len < TEXT_BYTES_MAX ? v.text.len : TEXT_BYTES_MAX),
                        text) == 0
               ? buf_slice(text)
               : v.text;
}

static void write_value(struct table *t, const struct place *p, struct jscan_value v, unsigned depth);

static void write_members(struct table *t, const struct place *p, struct jscan_value object, bool is_element,
                          unsigned depth)
{
    struct jscan_walk w = jscan_walk(object);
    struct jscan_item member;

    while (jscan_next(&w, &member)) {
        struct place at = *p;

        if (is_element && is_name(member.name))
            continue;
        append(at.measure, '.', member.name);
        write_value(t, &at, member.value, depth + 1);
    }
}

static void write_element(struct table *t, const struct place *p, struct jscan_value element, unsigned depth)
{
    AUTO(buf_done) struct buf text = BUF_INIT(TEXT_BYTES_MAX);
    struct place at = *p;

    if (at.measure[0])
        append(at.section, '.', slice_str(at.measure));
    at.measure[0] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct jscan_value v = jscan_get(element, slice_str(names[i]));

        if (v.kind == JSCAN_STRING || v.kind == JSCAN_NUMBER)
            append(at.subject, ' ', say(v, &text));
    }
    write_members(t, &at, element, true, depth);
}

/* Texts and numbers of an array, in one cell. */
static void write_list(struct table *t, const struct place *p, struct jscan_value array)
{
    AUTO(buf_done) struct buf text = BUF_INIT(TEXT_BYTES_MAX), all = BUF_INIT(TEXT_BYTES_MAX);
    struct jscan_walk w = jscan_walk(array);
    struct jscan_item item;

    while (jscan_next(&w, &item))
        if (buf_add_slice(&all, all.len > 0 ? SLICE_OF(" ") : (struct slice){"", 0}) < 0 ||
            buf_add_slice(&all, say(item.value, &text)) < 0)
            break; /* cut */
    put_line(t, p, buf_slice(&all), true);
}

static void write_array(struct table *t, const struct place *p, struct jscan_value array, unsigned depth)
{
    struct jscan_walk w = jscan_walk(array);
    struct jscan_item item;

    if (!jscan_next(&w, &item))
        return;
    if (item.value.kind != JSCAN_OBJECT) {
        write_list(t, p, array);
        return;
    }
    do
        write_element(t, p, item.value, depth);
    while (jscan_next(&w, &item));
}

static void write_value(struct table *t, const struct place *p, struct jscan_value v, unsigned depth)
{
    AUTO(buf_done) struct buf text = BUF_INIT(TEXT_BYTES_MAX);

    if (depth > DEPTH_MAX)
        return;
    if (v.kind == JSCAN_OBJECT)
        write_members(t, p, v, false, depth);
    else if (v.kind == JSCAN_ARRAY)
        write_array(t, p, v, depth);
    else
        put_line(t, p, say(v, &text), v.kind == JSCAN_STRING);
}

int csv_of_json(struct slice json, struct buf *out)
{
    struct table t = {out, 0};
    struct jscan_walk w = jscan_walk(jscan_root(json));
    struct jscan_item section;

    put(&t, "section,subject,measure,value\r\n", 31);
    while (jscan_next(&w, &section)) {
        struct place p = {"", "", ""};

        append(p.section, '.', section.name);
        write_value(&t, &p, section.value, 0);
    }
    return t.r;
}
