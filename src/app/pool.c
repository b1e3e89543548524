#include "pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"

struct pool_chunk {
    struct pool_chunk *next;
    size_t size;
    _Alignas(max_align_t) char bytes[];
};

void pool_done(struct pool *p)
{
    while (p->chunks) {
        struct pool_chunk *chunk = p->chunks;

        p->chunks = chunk->next;
        explicit_bzero(chunk->bytes, chunk->size); /* secrets are among it */
        free(chunk);
    }
}

void *pool_alloc(struct pool *p, size_t size)
{
    struct pool_chunk *chunk = calloc(1, sizeof(*chunk) + size);

    if (!chunk)
        abort();
    chunk->size = size;
    chunk->next = p->chunks;
    p->chunks = chunk;
    return chunk->bytes;
}

char *pool_text(struct pool *p, struct slice s)
{
    char *text = pool_alloc(p, s.len + 1);

    if (s.len > 0)
        memcpy(text, s.data, s.len);
    return text;
}

char *pool_printf(struct pool *p, const char *fmt, ...)
{
    va_list args;
    char *text;
    int n;

    va_start(args, fmt);
    n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        abort();
    char *copy = pool_text(p, slice_make(text, (size_t)n));

    free(text);
    return copy;
}
