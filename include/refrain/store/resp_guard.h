/*
 * resp_guard - looks at what a Redis server sends before any parser does: a scanner that holds no bytes, so
 * that a length or a count which nobody should believe is refused when its line ends, whatever would follow.
 * RESP2: https://redis.io/docs/latest/develop/reference/protocol-spec/
 *
 * It is given bytes as they come and stops at the end of each reply. How they are cut changes nothing. What
 * it passes is well-formed: hiredis parses it, within the limits.
 *
 * Pure: no allocation, no clock. Threads: one at a time for each guard.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"

enum {
    RESP_DEPTH_MAX = 7,              /* of arrays in arrays: what hiredis 0.14 can do */
    RESP_LINE_BYTES_MAX = 16 * 1024, /* of a status or an error */
};

struct resp_limits {
    size_t bulk_bytes_max;  /* of one text within arrays; beyond it a reply is bad */
    size_t lone_bytes_min;  /* a reply that is one text of more bytes than these is told of: RESP_LONE */
    size_t lone_bytes_max;  /* beyond it such a reply is bad, too */
    size_t reply_bytes_max; /* of one reply on the wire, unless it is one text */
    size_t elements_max;    /* in one reply, over all its arrays */
    unsigned depth_max;     /* at most RESP_DEPTH_MAX */
};

enum resp_verdict {
    RESP_MORE,  /* all bytes are good; the reply goes on */
    RESP_REPLY, /* a reply ends at *out_used */
    RESP_LONE,  /* up to *out_used: the head of a reply that is one text, of lone_bytes; its bytes, CR and LF
                   follow */
    RESP_BAD,   /* no reply, or past a limit; every further call says the same */
};

struct resp_guard {
    struct resp_limits limits;
    enum {
        RESP_AT_TYPE,
        RESP_IN_LINE,
        RESP_IN_NUMBER,
        RESP_AT_LF, /* of a line */
        RESP_IN_BULK,
        RESP_AT_BULK_CR,
        RESP_AT_BULK_LF,
        RESP_SPOILT,
    } at;
    char type; /* of the line */
    bool negative;
    bool lone; /* the text being passed is the whole reply */
    unsigned digits;
    uint64_t number;
    size_t line_bytes;
    size_t bulk_left;
    size_t lone_bytes;
    size_t reply_bytes;
    size_t elements;
    unsigned depth;
    size_t left[RESP_DEPTH_MAX]; /* elements still to come of each array that is open */
};

void resp_guard_init(struct resp_guard *g, const struct resp_limits *limits);
/** Looks at @bytes. @out_used: how many of them were looked at: all, or those up to what the verdict tells.
 */
enum resp_verdict resp_guard_scan(struct resp_guard *g, struct slice bytes, size_t *out_used);
/** Between two replies. */
static inline bool resp_guard_is_idle(const struct resp_guard *g)
{
    return g->at == RESP_AT_TYPE && g->depth == 0;
}
/** In the first line of a reply that begins with '$': what has come of it is at most 24 bytes. */
static inline bool resp_guard_in_lone_head(const struct resp_guard *g)
{
    return g->depth == 0 && g->type == '$' && (g->at == RESP_IN_NUMBER || g->at == RESP_AT_LF);
}
