/*
 * header against plain loops. The input is a head, a line a field. For every head:
 * - a name means the same in any case, and wherever its bytes lie;
 * - names and values are judged as a byte-by-byte reading judges them;
 * - Connection makes no field hop-by-hop that tells requests apart, and none that it does not list;
 * - lists are read alike in any case.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/wire/header.h"

static char flip(char c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

    return letter ? (char)(c ^ 0x20) : c;
}

/* A copy of exactly its size, so that a byte read beyond it is seen. */
static struct slice flipped(struct slice s)
{
    char *copy = malloc(s.len + 1);

    HOLDS(copy);
    for (size_t i = 0; i < s.len; i++)
        copy[i + 1] = flip(s.data[i]);
    memmove(copy, copy + 1, s.len);
    copy = realloc(copy, s.len ? s.len : 1);
    HOLDS(copy);
    return slice_make(copy, s.len);
}

static void slice_drop(struct slice *s)
{
    free((void *)(uintptr_t)s->data);
}

static bool plain_name_ok(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];

        if (c <= ' ' || c >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return s.len > 0;
}

static bool plain_value_ok(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];

        if ((c < ' ' && c != '\t') || c == 0x7F)
            return false;
    }
    return true;
}

static void check_field(const struct header_table *t, const struct field *f)
{
    AUTO(slice_drop) struct slice name = flipped(f->name);
    AUTO(slice_drop) struct slice value = flipped(f->value);

    HOLDS(header_flags(t, name) == header_flags(t, f->name));
    HOLDS(header_name_ok(name) == plain_name_ok(f->name));
    HOLDS(header_value_ok(value) == plain_value_ok(f->value));
    HOLDS(accepts_gzip(value) == accepts_gzip(f->value));
    HOLDS(value_has_token(value, f->name) == value_has_token(f->value, name));
}

static bool is_listed(const struct fields *f, struct slice name)
{
    for (unsigned i = 0; i < f->n; i++)
        if (slice_ieq(f->at[i].name, SLICE_OF("connection")) && value_has_token(f->at[i].value, name))
            return true;
    return false;
}

static void check_connection(struct fields *f, const struct header_table *t)
{
    fields_classify(f, t);
    for (unsigned i = 0; i < f->n; i++) {
        struct field before = {f->at[i].name, f->at[i].value, header_flags(t, f->at[i].name)};
        uint32_t added = f->at[i].flags ^ before.flags;

        HOLDS(added == 0 || added == HEADER_HOP);
        HOLDS(added == 0 || is_listed(f, before.name));
        HOLDS(added == 0 ||
              (!field_is_keyed(&before) && !(before.flags & (HEADER_CREDENTIAL | HEADER_CONTROL))));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct header_table *t;
    static struct fields f;
    struct slice rest = slice_make(data, len);

    if (!t)
        t = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    f.n = 0;
    while (rest.data) {
        struct slice value = slice_cut(&rest, '\n');
        struct slice name = slice_cut(&value, ':');

        if (fields_add(&f, name, value) < 0)
            break;
    }
    for (unsigned i = 0; i < f.n; i++)
        check_field(t, &f.at[i]);
    check_connection(&f, t);
    fields_classify_response(&f, t);
    return 0;
}
