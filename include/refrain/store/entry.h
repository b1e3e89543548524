/*
 * entry - one stored answer as one run of bytes: a fixed head, then texts, fields and body at offsets. It
 * holds no pointer, so a tier may move or copy it, and it is read where it lies. Immutable once packed.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/digest.h"
#include "refrain/base/slice.h"

struct field; /* wire/header.h */

enum { ENTRY_ID_LEN = 32 }; /* hex digits of 128 random bits */

enum entry_flag {
    ENTRY_STREAM = 1 << 0,          /* body is a whole stream, terminal event included */
    ENTRY_GZIP = 1 << 1,            /* body is gzip-coded */
    ENTRY_MUST_REVALIDATE = 1 << 2, /* never served stale */
    ENTRY_SHRUNK = 1 << 3,          /* and it is so coded by us: decoded, it is what upstream sent */
    ENTRY_VARY = 1 << 5,            /* no answer, but what leads to the variants of one (http/varying.h) */
};

/* Where bytes lie in an entry. Texts, which come first, are counted in 16 bits: 300 bytes an entry are all
 * there is for everything that is not the answer itself. */
struct entry_span {
    uint32_t at, len;
};
struct entry_text {
    uint16_t at, len;
};

struct entry {
    struct digest key;
    char id[ENTRY_ID_LEN];  /* names the entry to operators and is its ETag; drawn when the flight opens */
    int64_t created_ms;     /* wall clock: when upstream's head came */
    int64_t expires_ms;     /* wall clock: fresh before this; INT64_MAX for ever */
    int64_t gone_ms;        /* wall clock: of no use at all from this on; >= expires_ms */
    int64_t started_seq;    /* order in which fetches began: of two results the later-started wins */
    int64_t sliding_ms;     /* > 0: a hit moves expires_ms to now + this, … */
    int64_t max_expires_ms; /* … but never past this */
    uint64_t target;        /* sum of a GET's upstream and target; 0: not a GET's */
    uint32_t bytes;         /* of the whole run */
    uint32_t initial_age_s; /* Age it came with (RFC 9111 section 4.2.3) */
    uint32_t upstream_ms;   /* time upstream took: what a hit saves */
    uint32_t tokens_in, tokens_out;
    uint32_t tokens_cached, tokens_cache_write; /* of tokens_in: from upstream's prompt cache, and into it */
    uint32_t
        while_revalidate_s; /* how long behind expires_ms it may be served while it is asked for again, … */
    uint32_t if_error_s;    /* … and in place of an error (RFC 5861) */
    struct entry_span fields, body;
    struct entry_span plain; /* identity copy of a gzip body */
    uint16_t format;         /* ENTRY_FORMAT */
    uint16_t status;
    uint16_t flags; /* ENTRY_* */
    uint16_t fields_n;
    uint8_t operation; /* enum operation */
    uint8_t prompt;    /* the prompt's size: enum prompt_tier + 1; 0: not told */
    struct entry_text namespace_, model, etag, tags;
    struct entry_text op_name; /* the operation's: the operator's own, or its dialect's */
    uint8_t zero[6];           /* where padding would hold whatever lay there */
};

enum { ENTRY_FORMAT = 3 };

/* The body of an ENTRY_VARY is a list of these. */
struct entry_variant {
    struct digest key;
    int64_t gone_ms;
};

/* What an entry is packed from; all borrowed for the call. */
struct entry_parts {
    struct entry head; /* format, bytes and spans are filled in by entry_pack */
    struct slice namespace_, model, etag, tags, op_name;
    const struct field *fields; /* only those that may be stored */
    size_t fields_n;
    const struct slice *body; /* pieces, in order */
    size_t body_n;
    struct slice plain;
};

/** Bytes that entry_pack will write, a multiple of 8. 0 when over 4 GiB, or when the texts do not fit in
 * 64 KiB. */
size_t entry_packed_size(const struct entry_parts *p);
/** Writes entry_packed_size() bytes at @out, which is aligned to 8. */
void entry_pack(const struct entry_parts *p, void *out);
/** True when @len bytes at @e, which is aligned to 8, are one well-formed entry: format, sizes, every span
 * where entry_pack lays it, fields NUL-terminated and free of NUL, CR and LF. For bytes from outside; what a
 * memory tier holds was packed by us. */
bool entry_check(const struct entry *e, size_t len);

static inline struct slice entry_span_slice(const struct entry *e, struct entry_span s)
{
    return (struct slice){(const char *)e + s.at, s.len};
}
static inline struct slice entry_text_slice(const struct entry *e, struct entry_text t)
{
    return (struct slice){(const char *)e + t.at, t.len};
}
/* entry_slice(e, e->model), entry_slice(e, e->body): the bytes, borrowed from the entry. */
#define entry_slice(e, where)                                                                                \
    _Generic((where), struct entry_text                                                                      \
             : entry_text_slice, struct entry_span                                                           \
             : entry_span_slice)((e), (where))

/** What the entry is made from again, borrowed from it; @body gets its body, and lies with the caller; so do
 * @fields, which has room for e->fields_n. */
struct entry_parts entry_parts_of(const struct entry *e, struct field *fields, struct slice *body);

/* Walks the stored fields; name and value are NUL-terminated strings inside the entry. Start from zero. */
struct entry_field {
    const char *name, *value;
    uint32_t name_len, value_len;
    uint32_t next;
};
bool entry_next_field(const struct entry *e, struct entry_field *f);
