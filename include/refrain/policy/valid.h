/*
 * valid - conditions of requests, judged on what is stored, and what upstream's answer to our own tells.
 * RFC 9110 section 13, RFC 9111 sections 3.2 and 4.3. Pure: no clock, no allocation; callers pass the time
 * in.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

/* What a representation is known by; empty where it has none. Borrowed. */
struct valid_tags {
    struct slice etag;          /* quotes, and W/ of a weak one, included */
    struct slice last_modified; /* as it came */
    struct slice date;          /* of the message */
};
/** Of a message's classified fields. */
void valid_tags_read(const struct fields *fields, struct valid_tags *out);

/** True when a request with these classified fields, whose answer would be a 200 with these tags, is to get a
 * 304: If-None-Match, else If-Modified-Since (RFC 9110 section 13.2.2), the latter by Date where there is no
 * Last-Modified. */
bool valid_not_modified(const struct fields *asked, const struct valid_tags *tags, int64_t now_s);

/** True when @if_range names just this representation: by a strong tag, or by a Last-Modified that is strong,
 * a second or more before Date (RFC 9110 sections 8.8.2.2 and 13.1.5). */
bool valid_range_holds(struct slice if_range, const struct valid_tags *tags, int64_t now_s);

/** True when an answer that says "unchanged" is about the representation that was asked about: none of the
 * validators it names is another's (RFC 9111 section 4.3.4). */
bool valid_confirms(const struct valid_tags *answer, const struct valid_tags *stored);

/** True when this field of such an answer takes the place of a stored one; those that describe the stored
 * bytes never do (RFC 9111 section 3.2). */
bool valid_field_updates(const struct field *f);

/* What an answer to HEAD tells of the stored GET. */
enum valid_description {
    VALID_DESCRIBES, /* a validator is the same, and nothing is another */
    VALID_DIFFERS,   /* a validator, or the length where both are known, is another */
    VALID_UNTOLD,    /* there is no validator on either side: it may be another, or not */
};

/** RFC 9111 section 4.3.5. Lengths: -1 when not known. */
enum valid_description valid_describes(const struct valid_tags *answer, int64_t answer_length,
                                       const struct valid_tags *stored, int64_t stored_length);
