/*
 * select - how much of a good answer a request gets: all of it, none because it has it already, a part, or
 * word that there is no such part. RFC 9110 sections 13.2 and 14.2. What conditions and ranges mean is
 * policy/valid's and policy/range's. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/policy/ask.h"
#include "refrain/policy/valid.h"
#include "refrain/wire/header.h"

enum select_what { SELECT_ALL, SELECT_UNCHANGED, SELECT_PART, SELECT_NO_PART };

struct selection {
    enum select_what what;
    uint64_t first, last; /* of SELECT_PART, inclusive */
};

/* What a request asks of a 200. */
struct select_from {
    const struct ask *ask;
    const struct fields *asked; /* the request's, classified */
    struct valid_tags tags;     /* of the answer */
    bool has_parts;             /* all its bytes are there, under the coding they are sent in, … */
    uint64_t length;            /* … so many */
    bool decoded;               /* it is sent decoded, so the tag is not that of these bytes */
    int64_t now_s;
};
struct selection select_of(const struct select_from *from);

/** True when this field of the 200 goes with a selection of nothing (RFC 9110 sections 15.4.5 and 15.5.17):
 * not what describes the body that is not there. @has_etag: the answer has a tag. */
bool select_keeps_field(struct slice name, bool has_etag);
