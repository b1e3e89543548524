/*
 * record: whatever is read as a record is an entry that packs to one that reads the same; no record with a
 * flipped bit is read; a start tells what the whole tells. The first byte of an input says how it is meant:
 * as a record, or as metadata for which the sums are made, since chance never finds a sum.
 */
#include <stdint.h>
#include <stdlib.h>

#include "holds.h"
#include "refrain/store/record.h"
#include "refrain/store/selector.h"

enum { LEN_MAX = 1 << 14, META_MARK = 64, BODY_MARK = 112 };

static const struct record_codec codec = {NULL};

static void sum(char *record, size_t mark, struct slice bytes)
{
    struct sha256 *s = sha256_new();
    struct digest d;

    sha256_begin(s);
    sha256_add(s, slice_make(record, mark));
    sha256_add(s, bytes);
    d = sha256_end(s);
    sha256_free(s);
    memcpy(record + mark, d.bytes, sizeof(d.bytes));
}

/* Of docs/stored-form.md: @meta, and @flip as a short body. */
static struct blob *record_around(struct slice meta, uint8_t flip)
{
    struct blob *b = blob_new(RECORD_HEAD_BYTES + meta.len + 1);

    HOLDS(b);
    memset(b->bytes, 0, RECORD_HEAD_BYTES);
    memcpy(b->bytes, "RFRN\1", 5);
    b->bytes[40] = (char)(meta.len & 0xFF);
    b->bytes[41] = (char)(meta.len >> 8);
    b->bytes[48] = 1;
    if (meta.len > 0)
        memcpy(b->bytes + RECORD_HEAD_BYTES, meta.data, meta.len);
    b->bytes[RECORD_HEAD_BYTES + meta.len] = (char)flip;
    sum(b->bytes, META_MARK, meta);
    sum(b->bytes, BODY_MARK, slice_make(b->bytes + RECORD_HEAD_BYTES + meta.len, 1));
    return b;
}

static void start_tells_the_same(struct slice record, const struct entry *e)
{
    struct record_seen seen;
    struct label whole = label_of(e), start;
    size_t wanted = 0;
    enum record_result r =
        record_look(slice_make(record.data, record.len - e->body.len), &e->key, &codec, &seen, &wanted);

    HOLDS(r == RECORD_OK);
    start = label_of(entry_box_entry(seen.box));
    HOLDS(slice_eq(whole.model, start.model) && slice_eq(whole.tags, start.tags));
    HOLDS(whole.created_ms == start.created_ms && whole.target == start.target);
    HOLDS(seen.body_bytes == e->body.len);
    entry_box_unref(seen.box);
}

/* Once packed by us, it is the same for ever. */
static void packs_to_the_same(const struct entry *e, uint64_t hits)
{
    struct record_seen again;
    struct blob *b = NULL;

    HOLDS(record_pack(e, e->expires_ms, hits, &codec, &b) == RECORD_OK);
    HOLDS(record_read(blob_slice(b), &e->key, &codec, &again) == RECORD_OK);
    HOLDS(again.box->len == e->bytes);
    HOLDS(memcmp(again.box->bytes, e, e->bytes) == 0);
    HOLDS(again.hits == hits);
    entry_box_unref(again.box);
    blob_unref(b);
}

static void flipped_is_refused(struct slice record, const struct digest *key, unsigned bit)
{
    char *copy = malloc(record.len);
    struct record_seen seen;

    HOLDS(copy);
    memcpy(copy, record.data, record.len);
    copy[bit / 8 % record.len] ^= (char)(1 << bit % 8);
    HOLDS(record_read(slice_make(copy, record.len), key, &codec, &seen) != RECORD_OK);
    free(copy);
}

static void judge(struct slice record, unsigned bit)
{
    struct record_seen seen;
    struct digest key = {{0}};
    const struct entry *e;

    if (record.len >= 40)
        memcpy(key.bytes, record.data + 8, sizeof(key.bytes));
    if (record_read(record, &key, &codec, &seen) != RECORD_OK)
        return;
    e = entry_box_entry(seen.box);
    HOLDS(entry_check(e, seen.box->len));
    start_tells_the_same(record, e);
    packs_to_the_same(e, seen.hits);
    flipped_is_refused(record, &key, bit);
    entry_box_unref(seen.box);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice rest;
    struct blob *b;

    if (len == 0 || len > LEN_MAX)
        return 0;
    rest = slice_make(data + 1, len - 1);
    if (data[0] % 2) {
        b = blob_new(rest.len); /* no longer than the input, so that a step past its end is seen */
        HOLDS(b);
        if (rest.len > 0)
            memcpy(b->bytes, rest.data, rest.len);
    } else {
        b = record_around(rest, data[0]);
    }
    judge(blob_slice(b), (unsigned)data[0] * 31 + (unsigned)len * 7);
    blob_unref(b);
    return 0;
}
