/*
 * gunzip - decodes a gzip body piece by piece. Over zlib. RFC 1952.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"

struct gunzip;
/** NULL when out of memory. */
struct gunzip *gunzip_new(void);
/** NULL is fine. */
void gunzip_free(struct gunzip *g);
/** For AUTO(gunzip_done). */
static inline void gunzip_done(struct gunzip **g)
{
    gunzip_free(*g);
}

/**
 * Decodes from the front of *@in, which is moved on, into @out. Returns how many bytes were written; 0 when
 * all of *@in is used up and nothing more can be said. A body may have several members, which decode to one
 * text; whatever else stands behind a member is passed over. Errors: -EBADMSG, not gzip or damaged; -ENOMEM.
 */
int64_t gunzip_next(struct gunzip *g, struct slice *in, char *out, size_t cap);
/** True when what was fed so far is exactly one intact gzip body: sums and lengths agree, nothing stands
 * behind it. */
bool gunzip_is_whole(const struct gunzip *g);
