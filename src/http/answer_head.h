/*
 * answer_head - the lines of an answer's head, one at a time, into fields, and what they say of the body's
 * framing. Stricter than the library that reads them: two lengths, a length beside chunks, a coding other
 * than chunked, a folded line or a byte that may not stand in a field make the answer no HTTP (RFC 9112
 * sections 5 and 6.3), for what one reader takes for the end of a message another may take for its middle.
 * Pure: no I/O. One thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/wire/header.h"

/* Of one call: interim answers, final head and trailers together. */
enum { ANSWER_HEAD_BYTES_MAX = 64 * 1024 };

enum answer_verdict {
    ANSWER_MORE, /* go on */
    ANSWER_HEAD, /* that was the final head's last line */
    ANSWER_BAD,  /* not HTTP, or past a ceiling: @why says which */
};

struct answer_field {
    uint32_t name_at, name_len, value_at, value_len; /* in bytes */
};

struct answer_head {
    struct buf bytes; /* names and values of the block being read */
    struct answer_field at[FIELDS_MAX];
    uint16_t n;
    uint16_t status;
    uint8_t version; /* 10, 11 or 20 */
    bool may_be_http2;
    bool in_block; /* a status line came, its empty line did not */
    bool complete; /* the final head came; what follows are trailers */
    bool in_trailers;
    bool chunked;
    uint8_t codings_n;
    int64_t length; /* -1: no Content-Length */
    size_t seen;    /* bytes of lines since answer_head_begin */
    const char *why;
};

void answer_head_init(struct answer_head *h);
void answer_head_done(struct answer_head *h);

/** Makes ready for another answer; keeps the memory. @may_be_http2: it was offered on this connection. */
void answer_head_begin(struct answer_head *h, bool may_be_http2);

/** Takes one line, with or without its line end. After ANSWER_HEAD every further line is a trailer field. */
enum answer_verdict answer_head_line(struct answer_head *h, struct slice line);

/** The fields of the block read last, as slices of @h: valid until the next line. */
void answer_head_fields(const struct answer_head *h, struct fields *out);

/** True when status or method leave no body: what the length fields say then describes no bytes to come. */
bool answer_head_is_bodyless(const struct answer_head *h, bool head_method);

/** True when only the connection's close ends the body (RFC 9112 section 6.3, rule 8). */
bool answer_head_ends_by_close(const struct answer_head *h, bool head_method);
