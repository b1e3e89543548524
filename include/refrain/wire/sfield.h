/*
 * sfield - dictionaries of structured fields, RFC 9651 section 3.2 (and RFC 8941, which it replaces). Strict,
 * as the RFC asks: what is not well-formed to the last byte is no dictionary at all. Parameters are read and
 * dropped, members of inner lists too. Pure; no allocation.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"

enum sf_type {
    SF_INTEGER,
    SF_DECIMAL,
    SF_STRING,
    SF_TOKEN,
    SF_BYTES,
    SF_BOOLEAN,
    SF_DATE,
    SF_DISPLAY,
    SF_INNER_LIST,
};

struct sf_member {
    struct slice key;
    enum sf_type type;
    int64_t number;    /* of an integer or a date; 1 or 0 of a boolean */
    struct slice text; /* of a string, without its quotes and with its escapes; of a token */
};

struct sf_dict {
    struct slice rest;
    bool malformed; /* true at the end: nothing that was read counts */
    bool begun;
};

/** Begins to read one field value, borrowed until the end. Several lines are read one by one: each is a
 * dictionary of its own, and where a key comes again the last one counts (section 3.2). */
static inline void sf_dict_init(struct sf_dict *d, struct slice value)
{
    *d = (struct sf_dict){.rest = value};
}

/** The next member; false at the end, and where the value is malformed. A key may come more than once. */
bool sf_dict_next(struct sf_dict *d, struct sf_member *out);
