/*
 * header - header fields as borrowed name and value pairs, and what each name means to Refrain.
 * RFC 9110 section 5 (syntax), section 7.6.1 (hop-by-hop).
 *
 * Every name is looked up once, in one hash table made at start-up from the shipped rows and what the
 * operator adds in `key.ignore_headers` and `redact.headers`; the flags found there answer every later
 * question.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"

struct field {
    struct slice name, value;
    uint32_t flags; /* of the name: HEADER_* and an enum header_id; set by fields_classify */
};

enum { FIELDS_MAX = 128 };

/* Fields in the order received, duplicates included; the bytes belong to someone else. */
struct fields {
    uint16_t n;
    struct field at[FIELDS_MAX];
};

/* Names that some code asks for by themselves. */
enum header_id {
    HEADER_OTHER,
    HEADER_ACCEPT,
    HEADER_ACCEPT_ENCODING,
    HEADER_AGE,
    HEADER_AUTHORIZATION,
    HEADER_CACHE_CONTROL,
    HEADER_CDN_CACHE_CONTROL,
    HEADER_CONNECTION,
    HEADER_CONTENT_ENCODING,
    HEADER_CONTENT_LENGTH,
    HEADER_CONTENT_RANGE,
    HEADER_CONTENT_TYPE,
    HEADER_DATE,
    HEADER_ETAG,
    HEADER_EXPECT,
    HEADER_EXPIRES,
    HEADER_HOST,
    HEADER_IF_MATCH,
    HEADER_IF_MODIFIED_SINCE,
    HEADER_IF_NONE_MATCH,
    HEADER_IF_RANGE,
    HEADER_IF_UNMODIFIED_SINCE,
    HEADER_LAST_MODIFIED,
    HEADER_LOCATION,
    HEADER_PRAGMA,
    HEADER_RANGE,
    HEADER_REFRAIN_CACHE,
    HEADER_REFRAIN_KEY,
    HEADER_REFRAIN_NAMESPACE,
    HEADER_REFRAIN_OPERATION,
    HEADER_REFRAIN_TAGS,
    HEADER_REFRAIN_TTL,
    HEADER_REFRAIN_VARIANTS,
    HEADER_RETRY_AFTER,
    HEADER_SET_COOKIE,
    HEADER_TE,
    HEADER_TRAILER,
    HEADER_TRANSFER_ENCODING,
    HEADER_UPGRADE,
    HEADER_VARY,
    HEADER_VIA,
    HEADER_X_API_KEY,
    HEADER_API_KEY,
    HEADER_X_GOOG_API_KEY,
    HEADER_X_REQUEST_ID,
    /* Other gateways' controls that mean the same as one of ours (SPEC section 6). */
    HEADER_BT_CACHE_TTL,
    HEADER_BT_USE_CACHE,
    HEADER_CF_AIG_CACHE_KEY,
    HEADER_CF_AIG_CACHE_TTL,
    HEADER_CF_AIG_SKIP_CACHE,
    HEADER_HELICONE_CACHE_BUCKET_MAX_SIZE,
    HEADER_HELICONE_CACHE_ENABLED,
    HEADER_HELICONE_CACHE_SEED,
    HEADER_OPENROUTER_CACHE,
    HEADER_OPENROUTER_CACHE_CLEAR,
    HEADER_OPENROUTER_CACHE_TTL,
    HEADER_PORTKEY_CACHE_FORCE_REFRESH,
    HEADER_PORTKEY_CACHE_NAMESPACE,
    HEADER_ID_COUNT
};

enum {
    HEADER_ID_MASK = 0xFF,
    HEADER_HOP = 1 << 8,     /* hop-by-hop: never forwarded, never stored */
    HEADER_UNKEYED = 1 << 9, /* forwarded, but not in the key (shipped list and key.ignore_headers) */
    HEADER_CREDENTIAL =
        1 << 10,               /* a caller's credential: scoped, never stored, never dropped by Connection */
    HEADER_CONTROL = 1 << 11,  /* tells the cache what to do: Cache-Control, conditionals, ours, peers' */
    HEADER_OURS = 1 << 12,     /* Refrain-*: never forwarded either way */
    HEADER_PEER = 1 << 13,     /* another gateway's control header: forwarded only to that gateway */
    HEADER_UNSTORED = 1 << 14, /* of a response: per-response or per-caller, left out of what is stored */
    HEADER_FRAMING = 1 << 15,  /* describes the message on this connection; made anew on the next */
};

static inline enum header_id field_id(const struct field *f)
{
    return (enum header_id)(f->flags & HEADER_ID_MASK);
}

/* True when this request field is part of the key: the deny-list of SPEC section 4, in one place. */
static inline bool field_is_keyed(const struct field *f)
{
    return (f->flags & (HEADER_HOP | HEADER_UNKEYED | HEADER_CREDENTIAL | HEADER_OURS | HEADER_PEER |
                        HEADER_FRAMING)) == 0;
}

struct header_table;
struct header_names { /* a list of names, as the operator wrote them */
    const struct slice *at;
    size_t n;
};
/** @unkeyed and @unstored add to the shipped lists; either may be empty. A name ending in `*` stands for all
 * that begin so. A credential listed as unkeyed stays a credential. The names are copied. NULL when out of
 * memory. */
struct header_table *header_table_new(struct header_names unkeyed, struct header_names unstored);
void header_table_free(struct header_table *t);
/** Flags of one name, 0 for a name without a row. Threads: any. */
uint32_t header_flags(const struct header_table *t, struct slice name);

/** Sets the flags of every field of a request; fields that Connection lists become HEADER_HOP, unless
 * credential, control or keyed content would be lost that way (SPEC section 2): then they stay what they are.
 * Of all Connection fields together the first 64 options count. */
void fields_classify(struct fields *f, const struct header_table *t);
/** The same for a response: there Connection strips all that it lists, save fields that Refrain itself goes
 * by. */
void fields_classify_response(struct fields *f, const struct header_table *t);

/** Appends a field, unclassified. -EMSGSIZE at FIELDS_MAX. */
int fields_add(struct fields *f, struct slice name, struct slice value);

/** The first field of that name, or NULL. By id wants classified fields. */
const struct field *fields_find(const struct fields *f, struct slice name);
const struct field *fields_find_id(const struct fields *f, enum header_id id);
/** The same where it is the only one; NULL where there are several. */
const struct field *fields_only_id(const struct fields *f, enum header_id id);

/** Content-Length as a number (RFC 9110 section 8.6); -1 when it is not plain digits, or over 18 of them. */
int64_t value_content_length(struct slice value);
/** That of the first Content-Length among classified fields; -1 also when there is none. */
int64_t fields_content_length(const struct fields *f);

/** True when a comma-separated list value (RFC 9110 section 5.6.1) holds @token, ignoring case. */
bool value_has_token(struct slice value, struct slice token);

/** True when every byte may stand in a field name (RFC 9110 section 5.6.2, token), and there is one. */
bool header_name_ok(struct slice name);
/** True without control bytes: HTAB is allowed, other bytes under 0x20 and 0x7F are not (RFC 9110, 5.5). */
bool header_value_ok(struct slice value);
/** True when each name, or each value, of a whole head is so. */
bool fields_names_ok(const struct fields *f);
bool fields_values_ok(const struct fields *f);
/** True when Accept-Encoding admits gzip: listed or `*`, with a weight above 0 (RFC 9110 section 12.5.3). */
bool accepts_gzip(struct slice accept_encoding);
