/*
 * jleaf - the leaves of a canonical JSON text (canon), one after another with their paths, in one pass. A
 * leaf is a scalar, an empty object or array, or what lies deeper than JLEAF_DEPTH_MAX as a whole. In text
 * that is not canonical the walk ends before what it does not understand. Pure; allocates nothing.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

enum { JLEAF_DEPTH_MAX = 12 };

struct jleaf_step {
    struct slice name; /* of a member, undecoded; data is NULL for an element of an array */
    uint32_t index;
};

struct jleaf {
    const char *at, *end; /* what has not been read */
    bool value_next;
    unsigned depth;
    unsigned changed; /* the first step that is another one than the leaf before had */
    struct jleaf_step path[JLEAF_DEPTH_MAX];
    struct slice value; /* the leaf's text, quotes included */
};

void jleaf_begin(struct jleaf *w, struct slice text);
/** The next leaf; false at the end. */
bool jleaf_next(struct jleaf *w);
/** Appends the leaf's path as people write it: `messages[0].content`. Errors: as buf_reserve. */
int jleaf_path(const struct jleaf *w, struct buf *out);
