#include "answer_head.h"

#include <ctype.h>

void answer_head_init(struct answer_head *h)
{
    h->bytes = (struct buf)BUF_INIT(ANSWER_HEAD_BYTES_MAX);
    answer_head_begin(h, false);
}

void answer_head_done(struct answer_head *h)
{
    buf_done(&h->bytes);
}

void answer_head_begin(struct answer_head *h, bool may_be_http2)
{
    h->may_be_http2 = may_be_http2;
    buf_clear(&h->bytes);
    h->n = 0;
    h->status = 0;
    h->version = 0;
    h->in_block = h->complete = h->in_trailers = h->chunked = false;
    h->codings_n = 0;
    h->length = -1;
    h->seen = 0;
    h->why = "";
}

static enum answer_verdict bad(struct answer_head *h, const char *why)
{
    h->why = why;
    return ANSWER_BAD;
}

static void drop_fields(struct answer_head *h)
{
    h->n = 0;
    buf_clear(&h->bytes);
}

static bool is_digits(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!isdigit((unsigned char)s.data[i]))
            return false;
    return s.len > 0;
}

/* "HTTP/1.1 200 OK", "HTTP/2 200" (RFC 9112 section 4; HTTP/2 has no such line, the library writes one). */
static enum answer_verdict take_status_line(struct answer_head *h, struct slice line)
{
    struct slice version = slice_cut(&line, ' '), code = slice_make(line.data, line.len < 3 ? line.len : 3);

    if (slice_eq(version, SLICE_OF("HTTP/1.1")))
        h->version = 11;
    else if (slice_eq(version, SLICE_OF("HTTP/1.0")))
        h->version = 10;
    else if (h->may_be_http2 && slice_eq(version, SLICE_OF("HTTP/2")))
        h->version = 20;
    else
        return bad(h, "the answer's status line is not HTTP");
    if (code.len != 3 || !is_digits(code) || code.data[0] == '0' || (line.len > 3 && line.data[3] != ' '))
        return bad(h, "the answer's status is not three digits");
    h->status = (uint16_t)((code.data[0] - '0') * 100 + (code.data[1] - '0') * 10 + (code.data[2] - '0'));
    h->in_block = true;
    drop_fields(h);
    h->length = -1;
    h->chunked = false;
    h->codings_n = 0;
    return ANSWER_MORE;
}

static enum answer_verdict note_length(struct answer_head *h, struct slice value)
{
    int64_t length = 0;

    if (h->length >= 0)
        return bad(h, "the answer has two Content-Lengths");
    if (!is_digits(value))
        return bad(h, "the answer's Content-Length is not a number");
    for (size_t i = 0; i < value.len; i++)
        if (__builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, value.data[i] - '0', &length))
            return bad(h, "the answer's Content-Length is out of range");
    h->length = length;
    return ANSWER_MORE;
}

static enum answer_verdict note_coding(struct answer_head *h, struct slice value)
{
    h->chunked = slice_ieq(value, SLICE_OF("chunked"));
    if (++h->codings_n > 1 || !h->chunked)
        return bad(h, "the answer's Transfer-Encoding is not chunked");
    if (h->version != 11)
        return bad(h, "the answer has a Transfer-Encoding, and is not HTTP/1.1");
    return ANSWER_MORE;
}

static enum answer_verdict note_framing(struct answer_head *h, struct slice name, struct slice value)
{
    if (slice_ieq(name, SLICE_OF("content-length")))
        return note_length(h, value);
    if (slice_ieq(name, SLICE_OF("transfer-encoding")))
        return note_coding(h, value);
    return ANSWER_MORE;
}

static enum answer_verdict take_field(struct answer_head *h, struct slice line)
{
    struct slice name = slice_cut(&line, ':'), value = slice_trim(line);
    struct answer_field *f = &h->at[h->n];

    if (!line.data || !header_name_ok(name) || !header_value_ok(value))
        return bad(h, "a header line of the answer is malformed"); /* a folded line is one of these */
    if (h->n == FIELDS_MAX)
        return bad(h, "the answer has too many header fields");
    f->name_at = (uint32_t)h->bytes.len;
    f->name_len = (uint32_t)name.len;
    f->value_at = f->name_at + f->name_len;
    f->value_len = (uint32_t)value.len;
    if (buf_add_slice(&h->bytes, name) < 0 || buf_add_slice(&h->bytes, value) < 0)
        return bad(h, "no memory for the answer's header");
    h->n++;
    return h->complete ? ANSWER_MORE : note_framing(h, name, value);
}

static enum answer_verdict end_block(struct answer_head *h)
{
    h->in_block = false;
    if (h->status == 101)
        return bad(h, "the answer switches protocols unasked");
    if (h->status < 200)
        return ANSWER_MORE; /* an interim answer: its fields are dropped by the next status line */
    if (h->chunked && h->length >= 0)
        return bad(h, "the answer has both Content-Length and Transfer-Encoding");
    h->complete = true;
    return ANSWER_HEAD;
}

static struct slice without_line_end(struct slice line)
{
    if (line.len > 0 && line.data[line.len - 1] == '\n')
        line.len--;
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

enum answer_verdict answer_head_line(struct answer_head *h, struct slice line)
{
    h->seen += line.len;
    if (h->seen > ANSWER_HEAD_BYTES_MAX)
        return bad(h, "the answer's header is too large");
    line = without_line_end(line);
    if (h->complete && !h->in_trailers) {
        h->in_trailers = true;
        drop_fields(h);
    }
    if (h->complete)
        return line.len ? take_field(h, line) : ANSWER_MORE;
    if (!h->in_block)
        return take_status_line(h, line);
    return line.len ? take_field(h, line) : end_block(h);
}

void answer_head_fields(const struct answer_head *h, struct fields *out)
{
    out->n = h->n;
    for (uint16_t i = 0; i < h->n; i++) {
        const struct answer_field *f = &h->at[i];

        out->at[i] = (struct field){slice_make(h->bytes.data + f->name_at, f->name_len),
                                    slice_make(h->bytes.data + f->value_at, f->value_len), 0};
    }
}

bool answer_head_is_bodyless(const struct answer_head *h, bool head_method)
{
    return head_method || h->status == 204 || h->status == 304;
}

bool answer_head_ends_by_close(const struct answer_head *h, bool head_method)
{
    return h->version < 20 && !h->chunked && h->length < 0 && !answer_head_is_bodyless(h, head_method);
}
