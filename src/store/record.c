#include "refrain/store/record.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "record_priv.h"
#include "refrain/base/attr.h"

/*
 * The head, RECORD_HEAD_BYTES, numbers little-endian:
 *
 *    0  "RFRN"                          64  mark of the metadata, 48 bytes
 *    4  version, 16 bits               112  mark of the body, 48 bytes
 *    6  flags, 16 bits                 160  metadata, then the body, then nothing
 *    8  the record's own key
 *   40  bytes of metadata, 32 bits
 *   44  zero, 32 bits
 *   48  bytes of body, 64 bits
 *   56  zero, 64 bits
 *
 * A mark vouches for what it is of and for all of the head before it. Sealed, it is a struct seal_mark;
 * otherwise a SHA-256 and zeros. So a start of a record is worth what the whole is, as far as it goes.
 */
enum {
    AT_VERSION = 4,
    AT_FLAGS = 6,
    AT_KEY = 8,
    AT_META_BYTES = 40,
    AT_BODY_BYTES = 48,
    AT_META_MARK = 64,
    AT_BODY_MARK = 112,
    MARK_BYTES = 48,
    VERSION = 1,
    FLAG_SEALED = 1,
    VARIANT_BYTES = sizeof(struct entry_variant),
    VARIANTS_MAX = 1024, /* as many as cache.max_variants may ask for */
};
static const char magic[] = {'R', 'F', 'R', 'N'};

_Static_assert(VARIANT_BYTES == 40, "as docs/stored-form.md has it");
_Static_assert(sizeof(struct seal_mark) == MARK_BYTES, "a mark of a seal fits");
_Static_assert(AT_BODY_MARK + MARK_BYTES == RECORD_HEAD_BYTES, "a head ends with the second mark");

struct head {
    bool sealed;
    uint32_t meta_bytes, body_bytes;
};

static const char *const names[RECORD_RESULTS] = {
    [RECORD_OK] = "ok",
    [RECORD_SHORT] = "short",
    [RECORD_CORRUPT] = "corrupt",
    [RECORD_OTHER_KEY] = "other-key",
    [RECORD_FUTURE] = "future",
    [RECORD_LOCKED] = "locked",
    [RECORD_UNSEALED] = "unsealed",
    [RECORD_TOO_LARGE] = "too-large",
    [RECORD_NO_MEMORY] = "memory",
};

const char *record_result_name(enum record_result r)
{
    return names[r];
}

bool record_is_rubbish(enum record_result r)
{
    return r == RECORD_CORRUPT || r == RECORD_OTHER_KEY || r == RECORD_UNSEALED;
}

static uint64_t load(const char *at, size_t bytes)
{
    uint64_t n = 0;

    memcpy(&n, at, bytes);
    return le64toh(n);
}

static void save(char *at, uint64_t n, size_t bytes)
{
    n = htole64(n);
    memcpy(at, &n, bytes);
}

/* -- marks -- */

static struct digest sum_of(struct slice before, struct slice bytes)
{
    struct sha256 *s = sha256_new();
    struct digest d;

    sha256_begin(s);
    sha256_add(s, before);
    sha256_add(s, bytes);
    d = sha256_end(s);
    sha256_free(s);
    return d;
}

/* Writes @plain to @out, and its mark at @mark_at of @head. */
static void mark_write(char *head, size_t mark_at, struct slice plain, const struct record_codec *codec,
                       char *out)
{
    struct slice before = slice_make(head, mark_at);
    struct seal_mark seal;
    struct digest sum;

    if (codec->keys) {
        seal_bytes(codec->keys, before, plain, out, &seal);
        memcpy(head + mark_at, &seal, sizeof(seal));
        return;
    }
    if (plain.len > 0)
        memcpy(out, plain.data, plain.len);
    sum = sum_of(before, plain);
    memcpy(head + mark_at, sum.bytes, sizeof(sum.bytes));
}

static bool sum_holds(const char *head, size_t mark_at, struct slice bytes)
{
    struct digest sum = sum_of(slice_make(head, mark_at), bytes);
    static const char zeros[MARK_BYTES - sizeof(sum.bytes)];

    return memcmp(head + mark_at, sum.bytes, sizeof(sum.bytes)) == 0 &&
           memcmp(head + mark_at + sizeof(sum.bytes), zeros, sizeof(zeros)) == 0;
}

static enum record_result seal_holds(const char *head, size_t mark_at, struct slice sealed,
                                     const struct record_codec *codec, char *out)
{
    struct seal_mark mark;
    int r;

    memcpy(&mark, head + mark_at, sizeof(mark));
    r = seal_open(codec->keys, slice_make(head, mark_at), sealed, &mark, out);
    if (r == -ENOKEY)
        return RECORD_LOCKED;
    return r < 0 ? RECORD_CORRUPT : RECORD_OK;
}

/* A marker's body is a list; whoever reads it goes by its length. */
static bool is_body(const struct entry *head, uint64_t bytes)
{
    return (head->flags & ENTRY_VARY) == 0 ||
           (bytes % VARIANT_BYTES == 0 && bytes <= (uint64_t)VARIANT_BYTES * VARIANTS_MAX);
}

/* -- packing -- */

/* Sliding only ever moves on. */
static int64_t moved_ms(int64_t gone_ms, int64_t by_ms)
{
    if (by_ms <= 0)
        return gone_ms;
    return gone_ms > INT64_MAX - by_ms ? INT64_MAX : gone_ms + by_ms;
}

static enum record_result lay_out(const struct entry *e, struct slice meta, const struct record_codec *codec,
                                  struct blob **out)
{
    struct slice body = entry_slice(e, e->body);
    struct blob *b = blob_new(RECORD_HEAD_BYTES + meta.len + body.len);
    char *head;

    if (!b)
        return RECORD_NO_MEMORY;
    head = b->bytes;
    memset(head, 0, RECORD_HEAD_BYTES);
    memcpy(head, magic, sizeof(magic));
    save(head + AT_VERSION, VERSION, 2);
    save(head + AT_FLAGS, codec->keys ? FLAG_SEALED : 0, 2);
    memcpy(head + AT_KEY, e->key.bytes, sizeof(e->key.bytes));
    save(head + AT_META_BYTES, meta.len, 4);
    save(head + AT_BODY_BYTES, body.len, 8);
    mark_write(head, AT_META_MARK, meta, codec, head + RECORD_HEAD_BYTES);
    mark_write(head, AT_BODY_MARK, body, codec, head + RECORD_HEAD_BYTES + meta.len);
    *out = b;
    return RECORD_OK;
}

enum record_result record_pack(const struct entry *e, int64_t expires_ms, uint64_t hits,
                               const struct record_codec *codec, struct blob **out)
{
    AUTO(buf_done) struct buf json = BUF_INIT(RECORD_META_BYTES_MAX);
    struct record_meta *m = malloc(sizeof(*m));
    enum record_result r = RECORD_NO_MEMORY;

    if (!is_body(e, e->body.len))
        r = RECORD_CORRUPT;
    else if (m)
        r = record_meta_take(m, e, hits);
    if (r == RECORD_OK) {
        m->parts.head.gone_ms = moved_ms(e->gone_ms, expires_ms - e->expires_ms);
        m->parts.head.expires_ms = moved_ms(e->expires_ms, expires_ms - e->expires_ms);
        r = record_meta_write(m, &json);
    }
    free(m);
    return r == RECORD_OK ? lay_out(e, buf_slice(&json), codec, out) : r;
}

/* -- reading -- */

static bool is_zero(const char *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (at[i] != 0)
            return false;
    return true;
}

static enum record_result head_read(struct slice start, const struct digest *key,
                                    const struct record_codec *codec, struct head *h)
{
    uint64_t body_bytes;

    if (start.len == 0)
        return RECORD_SHORT;
    if (memcmp(start.data, magic, start.len < sizeof(magic) ? start.len : sizeof(magic)) != 0)
        return RECORD_CORRUPT;
    if (start.len >= AT_FLAGS && load(start.data + AT_VERSION, 2) > VERSION)
        return RECORD_FUTURE;
    if (start.len < RECORD_HEAD_BYTES)
        return RECORD_SHORT;
    h->sealed = load(start.data + AT_FLAGS, 2) & FLAG_SEALED;
    h->meta_bytes = (uint32_t)load(start.data + AT_META_BYTES, 4);
    body_bytes = load(start.data + AT_BODY_BYTES, 8);
    h->body_bytes = (uint32_t)body_bytes;
    if (load(start.data + AT_VERSION, 2) == 0 || load(start.data + AT_FLAGS, 2) > FLAG_SEALED ||
        !is_zero(start.data + AT_META_BYTES + 4, 4) || !is_zero(start.data + AT_BODY_BYTES + 8, 8) ||
        h->meta_bytes > RECORD_META_BYTES_MAX || body_bytes > UINT32_MAX)
        return RECORD_CORRUPT;
    if (key && memcmp(start.data + AT_KEY, key->bytes, sizeof(key->bytes)) != 0)
        return RECORD_OTHER_KEY;
    if (!h->sealed)
        return codec->keys ? RECORD_UNSEALED : RECORD_OK;
    return codec->keys ? RECORD_OK : RECORD_LOCKED;
}

/* @plain keeps what is unsealed. */
static enum record_result meta_read(struct slice start, const struct head *h,
                                    const struct record_codec *codec, struct buf *plain,
                                    struct record_meta *m)
{
    struct slice json = slice_make(start.data + RECORD_HEAD_BYTES, h->meta_bytes);
    enum record_result r;

    if (!h->sealed)
        return sum_holds(start.data, AT_META_MARK, json) ? record_meta_read(json, m) : RECORD_CORRUPT;
    if (buf_reserve_exact(plain, json.len) < 0)
        return RECORD_NO_MEMORY;
    r = seal_holds(start.data, AT_META_MARK, json, codec, plain->data);
    return r == RECORD_OK ? record_meta_read(slice_make(plain->data, json.len), m) : r;
}

/* The entry around @m's body, which is still as it lies in the record. */
static enum record_result box_make(struct slice start, struct record_meta *m, struct entry_box **out)
{
    size_t size;

    memcpy(m->parts.head.key.bytes, start.data + AT_KEY, sizeof(m->parts.head.key.bytes));
    size = entry_packed_size(&m->parts);
    if (size == 0)
        return RECORD_CORRUPT;
    *out = entry_box_new(size);
    if (!*out)
        return RECORD_NO_MEMORY;
    entry_pack(&m->parts, (*out)->bytes);
    return RECORD_OK;
}

/* In place: the body that the entry was packed with may be a sealed one. */
static enum record_result body_check(struct slice record, const struct head *h,
                                     const struct record_codec *codec, struct entry_box *box)
{
    const struct entry *e = entry_box_entry(box);
    enum record_result r = RECORD_OK;

    if (h->sealed)
        r = seal_holds(record.data, AT_BODY_MARK, entry_slice(e, e->body), codec, box->bytes + e->body.at);
    else if (!sum_holds(record.data, AT_BODY_MARK, entry_slice(e, e->body)))
        r = RECORD_CORRUPT;
    return r;
}

/* With @whole the body, too. Nothing is left behind on errors. */
static enum record_result read_all(struct slice start, const struct head *h, const struct record_codec *codec,
                                   bool whole, struct record_seen *out)
{
    AUTO(buf_done) struct buf plain = BUF_INIT(RECORD_META_BYTES_MAX);
    struct record_meta *m = malloc(sizeof(*m));
    struct entry_box *box = NULL;
    enum record_result r;

    if (!m)
        return RECORD_NO_MEMORY;
    m->texts = (struct buf)BUF_INIT(0);
    r = meta_read(start, h, codec, &plain, m);
    if (r == RECORD_OK && !is_body(&m->parts.head, h->body_bytes))
        r = RECORD_CORRUPT;
    if (r == RECORD_OK) {
        m->body = whole ? slice_skip(start, RECORD_HEAD_BYTES + h->meta_bytes) : (struct slice){NULL, 0};
        r = box_make(start, m, &box);
    }
    if (r == RECORD_OK && whole)
        r = body_check(start, h, codec, box);
    if (r == RECORD_OK && !entry_check(entry_box_entry(box), box->len))
        r = RECORD_CORRUPT;
    if (r == RECORD_OK) {
        *out = (struct record_seen){box, m->hits, h->body_bytes};
        box = NULL;
    }
    entry_box_unref(box);
    record_meta_done(m);
    free(m);
    return r;
}

enum record_result record_read(struct slice record, const struct digest *key,
                               const struct record_codec *codec, struct record_seen *out)
{
    struct head h;
    enum record_result r = head_read(record, key, codec, &h);

    if (r != RECORD_OK)
        return r == RECORD_SHORT ? RECORD_CORRUPT : r;
    if (record.len != RECORD_HEAD_BYTES + (uint64_t)h.meta_bytes + h.body_bytes)
        return RECORD_CORRUPT;
    return read_all(record, &h, codec, true, out);
}

enum record_result record_look(struct slice start, const struct digest *key, const struct record_codec *codec,
                               struct record_seen *out, size_t *out_wanted)
{
    struct head h;
    enum record_result r = head_read(start, key, codec, &h);

    if (r == RECORD_SHORT)
        *out_wanted = RECORD_HEAD_BYTES;
    if (r != RECORD_OK)
        return r;
    if (start.len < RECORD_HEAD_BYTES + (size_t)h.meta_bytes) {
        *out_wanted = RECORD_HEAD_BYTES + (size_t)h.meta_bytes;
        return RECORD_SHORT;
    }
    return read_all(start, &h, codec, false, out);
}
