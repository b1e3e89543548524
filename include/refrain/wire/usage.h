/*
 * usage - has an answer say that it has used nothing: every number of what its API tells of usage becomes
 * `0`, filled up with blanks to the length it had. So the text keeps its length and stays JSON, and events
 * stay where they are. docs/decisions/0024-usage-on-hit.md tells what it is for.
 *
 * Works in place on bytes as they come, however they were cut; of whole answers as of streams. It looks for
 * the members that the dialect names and for nothing else, and keeps no byte. What is no JSON may come out
 * changed, but never longer or shorter; names are compared undecoded.
 *
 * Pure: allocates nothing. Owned by one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/wire/dialect.h"

enum { USAGE_DEPTH_MAX = 3 }; /* of objects whose members are looked at: an array, an answer, a part of it */

struct usage_zero {
    const struct dialect *dialect;
    enum stream_format format;
    bool off; /* there is nothing to look for */
    /* of the line, in an event stream */
    uint8_t line, matched, bom;
    bool cr; /* the last byte was CR: an LF now belongs to it */
    /* of the JSON under way */
    bool in_string, escaped, in_name, in_number;
    bool wants_name;                     /* a string here is a member's name */
    bool wanted;                         /* the value of this member is usage */
    bool is_object[USAGE_DEPTH_MAX + 1]; /* by depth */
    uint8_t open[USAGE_DEPTH_MAX + 1];   /* paths that have led here, a bit each, by depth */
    uint8_t led;                         /* those that the name just read goes on with */
    uint32_t depth, base;                /* 1: the answer is a list of answers */
    uint32_t zeroing;                    /* depth at which usage began; 0: not inside of it */
    size_t name_len;
    char name[24];
};
/** @format is how the answer comes, STREAM_NONE where it comes whole. */
void usage_zero_init(struct usage_zero *z, const struct dialect *dialect, enum stream_format format);
/** The next @n bytes, in place. */
void usage_zero(struct usage_zero *z, char *bytes, size_t n);
