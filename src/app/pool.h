/*
 * pool - memory that is given back all at once: what a configuration is made of. Running out of it aborts; a
 * configuration is small and read by the operator's leave.
 */
#pragma once
#include <stddef.h>

#include "refrain/base/slice.h"

struct pool_chunk;
struct pool {
    struct pool_chunk *chunks;
};
#define POOL_INIT                                                                                            \
    {                                                                                                        \
        NULL                                                                                                 \
    }

void pool_done(struct pool *p);
/** Zeroed, aligned for anything; lives until pool_done. */
void *pool_alloc(struct pool *p, size_t size);
/** A NUL-terminated copy. */
char *pool_text(struct pool *p, struct slice s);
char *pool_printf(struct pool *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
