#include "refrain/wire/relay.h"

#include <string.h>

#include "refrain/wire/header.h"

enum {
    MAGIC = 0xF1,
    VERSION = 1,
    FLAG_SEALED = 1,
    AT_KEY = 4,
    AT_FENCE = 36,
    AT_SEQ = 44,
    TAG_BYTES = 5, /* the tag, and a length of 32 bits */
};

/* Never given another meaning; new ones go to the end. */
enum tag {
    TAG_STATUS = 1,
    TAG_FLAGS,
    TAG_BODY_LEN,
    TAG_ID,
    TAG_REASON,
    TAG_VARY_NAMES,
    TAG_VARY_ID,
    TAG_VARY_KEY,
    TAG_NAME, /* its value is what comes next */
    TAG_VALUE,
    TAG_HOW,
    TAG_BYTES_SUM,
    TAG_ERROR,
    TAG_ERROR_TEXT,
    TAG_RETRY_AFTER,
    TAG_CAME,
    TAG_TOKENS_IN,
    TAG_TOKENS_OUT,
    TAG_TOKENS_CACHED,
    TAG_TOKENS_CACHE_WRITE,
};
enum { HEAD_STREAM = 1, HEAD_CONFIRMED = 2, END_STORED = 4 };

/* -- numbers -- */

static void put_number(char *out, uint64_t n, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (char)(n >> (8 * i) & 0xFF);
}

static uint64_t get_number(const char *at, size_t bytes)
{
    uint64_t n = 0;

    for (size_t i = 0; i < bytes; i++)
        n |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return n;
}

/* -- the stamp -- */

void relay_stamp_write(const struct relay_stamp *stamp, char *out)
{
    out[0] = (char)MAGIC;
    out[1] = VERSION;
    out[2] = (char)stamp->kind;
    out[3] = stamp->sealed ? FLAG_SEALED : 0;
    memcpy(out + AT_KEY, stamp->key.bytes, sizeof(stamp->key.bytes));
    put_number(out + AT_FENCE, stamp->fence, 8);
    put_number(out + AT_SEQ, stamp->seq, 8);
}

bool relay_stamp_read(struct slice message, struct relay_stamp *out)
{
    const char *at = message.data;

    if (message.len < RELAY_STAMP_BYTES || (unsigned char)at[0] != MAGIC || at[1] != VERSION)
        return false;
    if (at[2] < RELAY_HEAD || at[2] > RELAY_END || (at[3] & ~FLAG_SEALED) != 0)
        return false;
    out->kind = (enum relay_kind)at[2];
    out->sealed = (at[3] & FLAG_SEALED) != 0;
    memcpy(out->key.bytes, at + AT_KEY, sizeof(out->key.bytes));
    out->fence = get_number(at + AT_FENCE, 8);
    out->seq = get_number(at + AT_SEQ, 8);
    return true;
}

/* -- tag, length, bytes -- */

static int put_text(struct buf *out, enum tag tag, struct slice text)
{
    char head[TAG_BYTES];
    int r = text.len > UINT32_MAX ? -1 : buf_reserve(out, TAG_BYTES + text.len);

    if (r < 0)
        return r;
    head[0] = (char)tag;
    put_number(head + 1, text.len, 4);
    r = buf_add(out, head, TAG_BYTES);
    return r < 0 ? r : buf_add_slice(out, text);
}

static int put_value(struct buf *out, enum tag tag, uint64_t n)
{
    char bytes[8];

    put_number(bytes, n, sizeof(bytes));
    return put_text(out, tag, slice_make(bytes, sizeof(bytes)));
}

static int put_fields(struct buf *out, const struct fields *fields)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < fields->n; i++) {
        r = put_text(out, TAG_NAME, fields->at[i].name);
        if (r == 0)
            r = put_text(out, TAG_VALUE, fields->at[i].value);
    }
    return r;
}

/* What a walk over the tags remembers. */
struct walk {
    struct slice rest;
    struct slice text; /* of the tag just read */
    struct slice name; /* a field's that waits for its value */
    bool bad;
};

/* The next tag; 0 at the end, or where it goes wrong. */
static int next_tag(struct walk *w)
{
    int tag;
    uint64_t len;

    if (w->bad || w->rest.len == 0)
        return 0;
    if (w->rest.len < TAG_BYTES) {
        w->bad = true;
        return 0;
    }
    tag = (unsigned char)w->rest.data[0];
    len = get_number(w->rest.data + 1, 4);
    w->rest = slice_skip(w->rest, TAG_BYTES);
    if (tag == 0 || len > w->rest.len) {
        w->bad = true;
        return 0;
    }
    w->text = slice_make(w->rest.data, len);
    w->rest = slice_skip(w->rest, len);
    return tag;
}

static uint64_t number_of(struct walk *w)
{
    if (w->text.len != 8) {
        w->bad = true;
        return 0;
    }
    return get_number(w->text.data, 8);
}

/* A name waits for its value, and both must be what a head may hold. */
static void take_field(struct walk *w, int tag, struct fields *fields)
{
    if (tag == TAG_NAME) {
        w->bad |= w->name.len > 0 || !header_name_ok(w->text);
        w->name = w->text;
        return;
    }
    w->bad |= w->name.len == 0 || !header_value_ok(w->text) || fields_add(fields, w->name, w->text) < 0;
    w->name = (struct slice){NULL, 0};
}

static bool is_hex(struct slice text, size_t len)
{
    for (size_t i = 0; i < text.len; i++)
        if (!((text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f')))
            return false;
    return text.len == len;
}

/* -- heads -- */

static int put_variant(struct buf *out, const struct relay_head *head)
{
    int r = put_text(out, TAG_VARY_NAMES, head->vary_names);

    if (r == 0)
        r = put_text(out, TAG_VARY_ID, head->vary_id);
    return r < 0
               ? r
               : put_text(out, TAG_VARY_KEY, slice_make(head->vary_key.bytes, sizeof(head->vary_key.bytes)));
}

int relay_head_write(struct buf *out, const struct relay_head *head)
{
    int r = put_value(out, TAG_STATUS, head->status);

    if (r == 0)
        r = put_value(out, TAG_FLAGS,
                      (head->stream ? HEAD_STREAM : 0) | (head->confirmed ? HEAD_CONFIRMED : 0));
    if (r == 0 && head->body_len >= 0)
        r = put_value(out, TAG_BODY_LEN, (uint64_t)head->body_len);
    if (r == 0)
        r = put_value(out, TAG_CAME, (uint64_t)head->came_ms);
    if (r == 0)
        r = put_text(out, TAG_ID, head->id);
    if (r == 0 && head->reason.len > 0)
        r = put_text(out, TAG_REASON, head->reason);
    if (r == 0 && head->vary_names.len > 0)
        r = put_variant(out, head);
    return r < 0 ? r : put_fields(out, &head->fields);
}

static void take_vary_key(struct walk *w, struct relay_head *head)
{
    if (w->text.len == sizeof(head->vary_key.bytes))
        memcpy(head->vary_key.bytes, w->text.data, w->text.len);
    else
        w->bad = true;
}

static void take_flags(struct walk *w, struct relay_head *head)
{
    uint64_t flags = number_of(w);

    head->stream = (flags & HEAD_STREAM) != 0;
    head->confirmed = (flags & HEAD_CONFIRMED) != 0;
}

static void take_of_head(struct walk *w, int tag, struct relay_head *head)
{
    uint64_t n;

    switch (tag) {
    case TAG_STATUS:
        n = number_of(w);
        w->bad |= n < 200 || n > 999;
        head->status = (unsigned)(n & 0x3FF);
        break;
    case TAG_FLAGS:
        take_flags(w, head);
        break;
    case TAG_BODY_LEN:
        n = number_of(w);
        w->bad |= n > INT64_MAX;
        head->body_len = (int64_t)n;
        break;
    case TAG_CAME:
        n = number_of(w);
        w->bad |= n > INT64_MAX;
        head->came_ms = (int64_t)n;
        break;
    case TAG_ID:
        w->bad |= !is_hex(w->text, RELAY_ID_LEN);
        head->id = w->text;
        break;
    case TAG_REASON:
        head->reason = w->text;
        break;
    case TAG_VARY_NAMES:
        head->vary_names = w->text;
        break;
    case TAG_VARY_ID:
        head->vary_id = w->text;
        break;
    case TAG_VARY_KEY:
        take_vary_key(w, head);
        break;
    case TAG_NAME:
    case TAG_VALUE:
        take_field(w, tag, &head->fields);
        break;
    default:
        break;
    }
}

bool relay_head_read(struct slice bytes, struct relay_head *out)
{
    struct walk w = {.rest = bytes};
    int tag;

    *out = (struct relay_head){.body_len = -1};
    while ((tag = next_tag(&w)) != 0)
        take_of_head(&w, tag, out);
    if (out->vary_names.len > 0)
        w.bad |= !header_value_ok(out->vary_names) || !is_hex(out->vary_id, RELAY_ID_LEN);
    return !w.bad && w.name.len == 0 && out->status > 0 && out->id.len > 0;
}

/* -- ends -- */

static int put_error(struct buf *out, const struct relay_end *end)
{
    int r = put_text(out, TAG_ERROR, slice_str(error_name(end->error)));

    if (r == 0)
        r = put_text(out, TAG_ERROR_TEXT, end->error_text);
    return r < 0 ? r : put_value(out, TAG_RETRY_AFTER, (uint64_t)end->retry_after_s);
}

static int put_sum(struct buf *out, const struct relay_end *end)
{
    char bytes[8 + sizeof(end->sum.bytes)];

    put_number(bytes, end->bytes, 8);
    memcpy(bytes + 8, end->sum.bytes, sizeof(end->sum.bytes));
    return put_text(out, TAG_BYTES_SUM, slice_make(bytes, sizeof(bytes)));
}

static int put_tokens(struct buf *out, enum tag tag, uint64_t n)
{
    return n > 0 ? put_value(out, tag, n) : 0;
}

int relay_end_write(struct buf *out, const struct relay_end *end)
{
    int r = put_value(out, TAG_HOW, (uint64_t)end->how);

    if (r == 0)
        r = put_value(out, TAG_FLAGS, end->stored ? END_STORED : 0);
    if (r == 0 && end->reason.len > 0)
        r = put_text(out, TAG_REASON, end->reason);
    if (r == 0 && end->how == RELAY_FAILED)
        r = put_error(out, end);
    if (r == 0)
        r = put_tokens(out, TAG_TOKENS_IN, end->tokens_in);
    if (r == 0)
        r = put_tokens(out, TAG_TOKENS_OUT, end->tokens_out);
    if (r == 0)
        r = put_tokens(out, TAG_TOKENS_CACHED, end->tokens_cached);
    if (r == 0)
        r = put_tokens(out, TAG_TOKENS_CACHE_WRITE, end->tokens_cache_write);
    if (r == 0)
        r = put_sum(out, end);
    return r < 0 ? r : put_fields(out, &end->trailers);
}

/* By its name: numbers may differ between versions. One that is not known is an answer that makes no sense.
 */
static enum error_code error_of(struct slice name)
{
    for (int e = 0; e < ERR_COUNT; e++)
        if (slice_eq(name, slice_str(error_name((enum error_code)e))))
            return (enum error_code)e;
    return ERR_UPSTREAM_PROTOCOL;
}

static void take_sum(struct walk *w, struct relay_end *end)
{
    if (w->text.len != 8 + sizeof(end->sum.bytes)) {
        w->bad = true;
        return;
    }
    end->bytes = get_number(w->text.data, 8);
    memcpy(end->sum.bytes, w->text.data + 8, sizeof(end->sum.bytes));
}

/* As many as an entry holds: a sum of savings is not to be spoilt by one message. */
static uint64_t tokens_of(struct walk *w)
{
    uint64_t n = number_of(w);

    w->bad |= n > UINT32_MAX;
    return n;
}

static void take_of_end(struct walk *w, int tag, struct relay_end *end)
{
    uint64_t n;

    switch (tag) {
    case TAG_HOW:
        n = number_of(w);
        w->bad |= n < RELAY_WHOLE || n > RELAY_AGAIN;
        end->how = (enum relay_how)(n & 0xF);
        break;
    case TAG_FLAGS:
        end->stored = (number_of(w) & END_STORED) != 0;
        break;
    case TAG_REASON:
        end->reason = w->text;
        break;
    case TAG_ERROR:
        end->error = error_of(w->text);
        break;
    case TAG_ERROR_TEXT:
        w->bad |= !header_value_ok(w->text);
        end->error_text = w->text;
        break;
    case TAG_RETRY_AFTER:
        n = number_of(w);
        w->bad |= n > INT32_MAX;
        end->retry_after_s = (int64_t)n;
        break;
    case TAG_BYTES_SUM:
        take_sum(w, end);
        break;
    case TAG_TOKENS_IN:
        end->tokens_in = tokens_of(w);
        break;
    case TAG_TOKENS_OUT:
        end->tokens_out = tokens_of(w);
        break;
    case TAG_TOKENS_CACHED:
        end->tokens_cached = tokens_of(w);
        break;
    case TAG_TOKENS_CACHE_WRITE:
        end->tokens_cache_write = tokens_of(w);
        break;
    case TAG_NAME:
    case TAG_VALUE:
        take_field(w, tag, &end->trailers);
        break;
    default:
        break;
    }
}

bool relay_end_read(struct slice bytes, struct relay_end *out)
{
    struct walk w = {.rest = bytes};
    int tag;

    *out = (struct relay_end){.error = ERR_UPSTREAM_PROTOCOL};
    while ((tag = next_tag(&w)) != 0)
        take_of_end(&w, tag, out);
    return !w.bad && w.name.len == 0 && out->how != 0;
}
