/*
 * sfield against itself. For every value:
 * - its members, written out in the plainest form, are the same dictionary;
 * - a well-formed dictionary with another behind it is the two in a row; a malformed one spoils both;
 * - spaces at the ends change nothing.
 */
#include <stdio.h>

#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/wire/sfield.h"

static bool same_member(const struct sf_member *a, const struct sf_member *b)
{
    return slice_eq(a->key, b->key) && a->type == b->type && a->number == b->number &&
           slice_eq(a->text, b->text);
}

static void add(struct buf *b, struct slice s)
{
    HOLDS(buf_add_slice(b, s) == 0);
}

static void add_number(struct buf *b, int64_t n)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%lld", (long long)n);

    add(b, slice_make(text, (size_t)len));
}

/* Types of which only the type is told get a value that stands for them. */
static void write_member(struct buf *b, const struct sf_member *m)
{
    add(b, m->key);
    add(b, SLICE_OF("="));
    switch (m->type) {
    case SF_INTEGER:
        add_number(b, m->number);
        break;
    case SF_DATE:
        add(b, SLICE_OF("@"));
        add_number(b, m->number);
        break;
    case SF_BOOLEAN:
        add(b, m->number ? SLICE_OF("?1") : SLICE_OF("?0"));
        break;
    case SF_STRING:
        add(b, SLICE_OF("\""));
        add(b, m->text);
        add(b, SLICE_OF("\""));
        break;
    case SF_TOKEN:
        add(b, m->text);
        break;
    case SF_DECIMAL:
        add(b, SLICE_OF("1.5"));
        break;
    case SF_BYTES:
        add(b, SLICE_OF(":eA==:"));
        break;
    case SF_DISPLAY:
        add(b, SLICE_OF("%\"x\""));
        break;
    case SF_INNER_LIST:
        add(b, SLICE_OF("(1 2)"));
        break;
    }
}

/* Reads both in step; true when they are equal to the end, faults included. */
static bool same_dict(struct slice a, struct slice b)
{
    struct sf_dict da, db;
    struct sf_member ma, mb;

    sf_dict_init(&da, a);
    sf_dict_init(&db, b);
    for (;;) {
        bool more_a = sf_dict_next(&da, &ma), more_b = sf_dict_next(&db, &mb);

        if (more_a != more_b)
            return false;
        if (!more_a)
            return da.malformed == db.malformed;
        if (!same_member(&ma, &mb))
            return false;
    }
}

static bool is_well_formed(struct slice value, size_t *out_members)
{
    struct sf_dict d;
    struct sf_member m;

    *out_members = 0;
    sf_dict_init(&d, value);
    while (sf_dict_next(&d, &m))
        (*out_members)++;
    return !d.malformed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    AUTO(buf_done) struct buf plain = BUF_INIT(1 << 22);
    AUTO(buf_done) struct buf padded = BUF_INIT(1 << 22);
    AUTO(buf_done) struct buf longer = BUF_INIT(1 << 22);
    struct slice value = slice_make(data, len);
    struct sf_dict d;
    struct sf_member m;
    size_t members, more;
    bool good = is_well_formed(value, &members);

    add(&padded, SLICE_OF("  "));
    add(&padded, value);
    add(&padded, SLICE_OF("  "));
    HOLDS(same_dict(value, buf_slice(&padded)));

    add(&longer, value);
    add(&longer, SLICE_OF(", zz=9"));
    HOLDS(is_well_formed(buf_slice(&longer), &more) == (good && members > 0));
    HOLDS(!good || members == 0 || more == members + 1);

    sf_dict_init(&d, value);
    while (good && sf_dict_next(&d, &m)) {
        if (plain.len > 0)
            add(&plain, SLICE_OF(", "));
        write_member(&plain, &m);
    }
    HOLDS(!good || same_dict(value, buf_slice(&plain)));
    return 0;
}
