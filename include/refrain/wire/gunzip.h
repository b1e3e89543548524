/*
 * gunzip - decodes a gzip body piece by piece, for a client that does not take gzip. Over zlib. RFC 1952.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"

struct gunzip;
/** NULL when out of memory. */
struct gunzip *gunzip_new(void);
/** NULL is fine. */
void gunzip_free(struct gunzip *g);
/**
 * Decodes from the front of *@in, which is moved on, into @out. Returns how many bytes were written; 0 when
 * all of *@in is used up and nothing more can be said, or the body is at its end. Errors: -EBADMSG, not gzip
 * or damaged.
 */
int64_t gunzip_next(struct gunzip *g, struct slice *in, char *out, size_t cap);
