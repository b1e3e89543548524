/*
 * relay against itself. Whatever is taken for a head, an end or a stamp is written anew and read again as the
 * same; no field of it could end a line; and what follows a tag that nobody knows is still understood.
 */
#include "holds.h"
#include "refrain/wire/relay.h"

enum { BYTES_MAX = 1 << 20 };

static void check_fields(const struct fields *a, const struct fields *b)
{
    HOLDS(a->n == b->n && fields_names_ok(a) && fields_values_ok(a));
    for (size_t i = 0; i < a->n; i++)
        HOLDS(slice_eq(a->at[i].name, b->at[i].name) && slice_eq(a->at[i].value, b->at[i].value));
}

static void check_head(struct slice bytes)
{
    struct buf out = BUF_INIT(BYTES_MAX);
    struct relay_head head, again;

    if (!relay_head_read(bytes, &head))
        return;
    HOLDS(head.status >= 200 && head.id.len == RELAY_ID_LEN && head.body_len >= -1);
    HOLDS(relay_head_write(&out, &head) == 0 && relay_head_read(buf_slice(&out), &again));
    HOLDS(again.status == head.status && again.body_len == head.body_len && again.stream == head.stream);
    HOLDS(slice_eq(again.id, head.id) && slice_eq(again.reason, head.reason));
    if (head.vary_names.len > 0)
        HOLDS(slice_eq(again.vary_names, head.vary_names) && digest_eq(&again.vary_key, &head.vary_key));
    check_fields(&head.fields, &again.fields);
    buf_done(&out);
}

static void check_end(struct slice bytes)
{
    struct buf out = BUF_INIT(BYTES_MAX);
    struct relay_end end, again;

    if (!relay_end_read(bytes, &end))
        return;
    HOLDS(relay_end_write(&out, &end) == 0 && relay_end_read(buf_slice(&out), &again));
    HOLDS(again.how == end.how && again.stored == end.stored && again.bytes == end.bytes);
    HOLDS(digest_eq(&again.sum, &end.sum) && slice_eq(again.reason, end.reason));
    check_fields(&end.trailers, &again.trailers);
    HOLDS(buf_add(&out, "\xfe\x01\0\0\0x", 6) == 0 && relay_end_read(buf_slice(&out), &again));
    buf_done(&out);
}

static void check_stamp(struct slice bytes)
{
    char written[RELAY_STAMP_BYTES];
    struct relay_stamp stamp;

    if (!relay_stamp_read(bytes, &stamp))
        return;
    relay_stamp_write(&stamp, written);
    HOLDS(memcmp(written, bytes.data, sizeof(written)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice bytes = slice_make(data, len);

    check_stamp(bytes);
    check_head(bytes);
    check_end(bytes);
    return 0;
}
