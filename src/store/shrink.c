#include "refrain/store/shrink.h"

#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/wire/coding.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"

/* -- what is left as it is -- */

static const struct slice incompressible[] = {SLICE("audio/"), SLICE("image/"), SLICE("video/")};

/* Fields that speak of the very bytes. */
static const struct slice of_bytes[] = {
    SLICE("content-encoding"), SLICE("content-md5"), SLICE("digest"),
    SLICE("content-digest"),   SLICE("repr-digest"), SLICE("signature"),
};

static bool is_incompressible(struct slice type)
{
    for (size_t i = 0; i < ARRAY_LEN(incompressible); i++)
        if (type.len > incompressible[i].len &&
            slice_ieq(slice_make(type.data, incompressible[i].len), incompressible[i]))
            return true;
    return false;
}

static bool forbids(struct slice name, struct slice value)
{
    for (size_t i = 0; i < ARRAY_LEN(of_bytes); i++)
        if (slice_ieq(name, of_bytes[i]))
            return true;
    if (slice_ieq(name, SLICE_OF("content-type")))
        return is_incompressible(value);
    return slice_ieq(name, SLICE_OF("cache-control")) && value_has_token(value, SLICE_OF("no-transform"));
}

static bool may_shrink(const struct entry *e)
{
    struct entry_field f = {0};

    if ((e->flags & (ENTRY_GZIP | ENTRY_VARY)) || e->operation == OP_READ || e->fields_n >= FIELDS_MAX)
        return false;
    while (entry_next_field(e, &f))
        if (forbids(slice_make(f.name, f.name_len), slice_make(f.value, f.value_len)))
            return false;
    return true;
}

/* -- another entry of the same -- */

static struct entry_box *pack(const struct entry_parts *p)
{
    size_t size = entry_packed_size(p);
    struct entry_box *box = size > 0 ? entry_box_new(size) : NULL;

    if (box)
        entry_pack(p, box->bytes);
    return box;
}

struct entry_box *shrink_entry(const struct entry *e, const struct shrink_conf *conf)
{
    static const struct field coding = {SLICE("content-encoding"), SLICE("gzip"), 0};
    AUTO(buf_done) struct buf gzip = BUF_INIT(e->body.len);
    struct field fields[FIELDS_MAX];
    struct entry_parts p;
    struct slice body;

    if (conf->level == 0 || e->body.len < conf->threshold || !may_shrink(e) ||
        gzip_pack(entry_slice(e, e->body), conf->level, &gzip) < 0)
        return NULL;
    p = entry_parts_of(e, fields, &body);
    fields[p.fields_n++] = coding;
    p.head.flags |= ENTRY_GZIP | ENTRY_SHRUNK;
    p.plain = (struct slice){NULL, 0};
    body = buf_slice(&gzip);
    return entry_packed_size(&p) < e->bytes ? pack(&p) : NULL;
}

struct entry_box *shrink_undo(const struct entry *e, size_t plain_max)
{
    AUTO(buf_done) struct buf plain = BUF_INIT(plain_max);
    struct field *fields;
    struct entry_box *box = NULL;
    struct entry_parts p;
    struct slice body;

    if ((e->flags & ENTRY_GZIP) == 0 || e->plain.len > 0 || gzip_unpack(entry_slice(e, e->body), &plain) < 0)
        return NULL;
    fields = calloc(e->fields_n + 1U, sizeof(*fields));
    if (fields) {
        p = entry_parts_of(e, fields, &body);
        p.plain = buf_slice(&plain);
        box = pack(&p);
    }
    free(fields);
    return box;
}
