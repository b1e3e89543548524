#include "refrain/store/entry.h"

#include <assert.h>
#include <string.h>

#include "refrain/wire/header.h"

/*
 * One entry: struct entry, then namespace, model, etag, tags, the operation's name, fields, body and plain,
 * each starting where the one before it ends, then zeros up to a multiple of 8. As there is one layout only,
 * entry_check compares offsets instead of looking for overlaps.
 *
 * One field: uint16_t length of the name, uint32_t length of the value, name, NUL, value, NUL; not aligned.
 */
enum {
    ENTRY_ALIGN = 8,
    FIELD_HEAD = sizeof(uint16_t) + sizeof(uint32_t),
    FIELD_NULS = 2,
};

_Static_assert(sizeof(struct entry) == offsetof(struct entry, zero) + sizeof(((struct entry *)NULL)->zero),
               "no padding at the end");
_Static_assert(sizeof(struct entry) % ENTRY_ALIGN == 0, "texts start behind the head without a gap");

static uint64_t align_up(uint64_t n)
{
    return (n + ENTRY_ALIGN - 1) & ~(uint64_t)(ENTRY_ALIGN - 1);
}

/* -- sizes -- */

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t body_size(const struct entry_parts *p)
{
    uint64_t n = 0;

    for (size_t i = 0; i < p->body_n; i++)
        n = add_capped(n, p->body[i].len);
    return n;
}

static uint64_t fields_size(const struct entry_parts *p)
{
    uint64_t n = 0;

    for (size_t i = 0; i < p->fields_n; i++) {
        if (p->fields[i].name.len > UINT16_MAX || p->fields[i].value.len > UINT32_MAX)
            return UINT64_MAX;
        n = add_capped(n, FIELD_HEAD + FIELD_NULS + p->fields[i].name.len + p->fields[i].value.len);
    }
    return n;
}

size_t entry_packed_size(const struct entry_parts *p)
{
    const uint64_t texts[] = {p->namespace_.len, p->model.len, p->etag.len, p->tags.len, p->op_name.len};
    const uint64_t rest[] = {fields_size(p), body_size(p), p->plain.len};
    uint64_t n = sizeof(struct entry);

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        n = add_capped(n, texts[i]);
    if (n > UINT16_MAX || p->fields_n > UINT16_MAX)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(rest); i++)
        n = add_capped(n, rest[i]);
    if (n > UINT32_MAX - ENTRY_ALIGN)
        return 0;
    return (size_t)align_up(n);
}

/* -- packing -- */

struct writer {
    char *base;
    uint32_t at;
};

static void write_bytes(struct writer *w, const void *data, size_t len)
{
    if (len > 0)
        memcpy(w->base + w->at, data, len);
    w->at += (uint32_t)len;
}

static struct entry_span write_slice(struct writer *w, struct slice s)
{
    struct entry_span span = {w->at, (uint32_t)s.len};

    write_bytes(w, s.data, s.len);
    return span;
}

static struct entry_text write_text(struct writer *w, struct slice s)
{
    struct entry_text text = {(uint16_t)w->at, (uint16_t)s.len};

    write_bytes(w, s.data, s.len);
    return text;
}

static struct entry_span write_fields(struct writer *w, const struct entry_parts *p)
{
    uint32_t start = w->at;

    for (size_t i = 0; i < p->fields_n; i++) {
        uint16_t name_len = (uint16_t)p->fields[i].name.len;
        uint32_t value_len = (uint32_t)p->fields[i].value.len;

        write_bytes(w, &name_len, sizeof(name_len));
        write_bytes(w, &value_len, sizeof(value_len));
        write_bytes(w, p->fields[i].name.data, name_len);
        write_bytes(w, "", 1);
        write_bytes(w, p->fields[i].value.data, value_len);
        write_bytes(w, "", 1);
    }
    return (struct entry_span){start, w->at - start};
}

static struct entry_span write_body(struct writer *w, const struct entry_parts *p)
{
    uint32_t start = w->at;

    for (size_t i = 0; i < p->body_n; i++)
        write_bytes(w, p->body[i].data, p->body[i].len);
    return (struct entry_span){start, w->at - start};
}

void entry_pack(const struct entry_parts *p, void *out)
{
    struct writer w = {out, sizeof(struct entry)};
    struct entry *e = out;
    size_t size = entry_packed_size(p);

    assert(size > 0);
    *e = p->head;
    e->format = ENTRY_FORMAT;
    e->bytes = (uint32_t)size;
    memset(e->zero, 0, sizeof(e->zero));
    e->fields_n = (uint16_t)p->fields_n;
    e->namespace_ = write_text(&w, p->namespace_);
    e->model = write_text(&w, p->model);
    e->etag = write_text(&w, p->etag);
    e->tags = write_text(&w, p->tags);
    e->op_name = write_text(&w, p->op_name);
    e->fields = write_fields(&w, p);
    e->body = write_body(&w, p);
    e->plain = write_slice(&w, p->plain);
    memset(w.base + w.at, 0, size - w.at);
}

/* -- reading -- */

bool entry_next_field(const struct entry *e, struct entry_field *f)
{
    const char *at = (const char *)e + e->fields.at + f->next;
    uint32_t left = e->fields.len - f->next;
    uint16_t name_len;
    uint32_t value_len;

    if (f->next >= e->fields.len || left < FIELD_HEAD + FIELD_NULS)
        return false;
    memcpy(&name_len, at, sizeof(name_len));
    memcpy(&value_len, at + sizeof(name_len), sizeof(value_len));
    left -= FIELD_HEAD + FIELD_NULS;
    if (name_len > left || value_len > left - name_len)
        return false;
    f->name = at + FIELD_HEAD;
    f->name_len = name_len;
    f->value = f->name + name_len + 1;
    f->value_len = value_len;
    f->next += FIELD_HEAD + FIELD_NULS + name_len + value_len;
    return true;
}

struct entry_parts entry_parts_of(const struct entry *e, struct field *fields, struct slice *body)
{
    struct entry_field f = {0};
    size_t n = 0;

    for (; n < e->fields_n && entry_next_field(e, &f); n++)
        fields[n] = (struct field){{f.name, f.name_len}, {f.value, f.value_len}, 0};
    *body = entry_slice(e, e->body);
    return (struct entry_parts){
        .head = *e,
        .namespace_ = entry_slice(e, e->namespace_),
        .model = entry_slice(e, e->model),
        .etag = entry_slice(e, e->etag),
        .tags = entry_slice(e, e->tags),
        .op_name = entry_slice(e, e->op_name),
        .fields = fields,
        .fields_n = n,
        .body = body,
        .body_n = 1,
        .plain = entry_slice(e, e->plain),
    };
}

/* -- checking -- */

static bool spans_are_in_place(const struct entry *e, uint64_t *out_end)
{
    const struct entry_text *texts[] = {&e->namespace_, &e->model, &e->etag, &e->tags, &e->op_name};
    const struct entry_span *spans[] = {&e->fields, &e->body, &e->plain};
    uint64_t end = sizeof(*e);

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i]->at != end)
            return false;
        end += texts[i]->len;
    }
    for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
        if (spans[i]->at != end)
            return false;
        end += spans[i]->len; /* three 32-bit lengths cannot overflow 64 bits */
        if (end > e->bytes)
            return false;
    }
    *out_end = end;
    return true;
}

/* A line end inside a field would let whoever wrote the bytes add fields, or a whole response. */
static bool text_is_one_line(const char *text, uint32_t len)
{
    return text[len] == '\0' && !memchr(text, '\0', len) && !memchr(text, '\r', len) &&
           !memchr(text, '\n', len);
}

static bool fields_are_sound(const struct entry *e)
{
    struct entry_field f = {0};
    uint32_t n = 0;

    while (entry_next_field(e, &f)) {
        if (f.name_len == 0 || !text_is_one_line(f.name, f.name_len) ||
            !text_is_one_line(f.value, f.value_len))
            return false;
        n++;
    }
    return f.next == e->fields.len && n == e->fields_n;
}

static bool all_zero(const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        if (p[i] != 0)
            return false;
    return true;
}

bool entry_check(const struct entry *e, size_t len)
{
    uint64_t end;

    if (len < sizeof(*e) || e->format != ENTRY_FORMAT || e->bytes != len)
        return false;
    if (!spans_are_in_place(e, &end) || align_up(end) != len)
        return false;
    if (!all_zero((const char *)e + end, len - (size_t)end) || !all_zero(e->zero, sizeof(e->zero)))
        return false;
    return e->gone_ms >= e->expires_ms && fields_are_sound(e);
}
