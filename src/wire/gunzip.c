#include "refrain/wire/gunzip.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

struct gunzip {
    z_stream z;
    bool at_end;
};

struct gunzip *gunzip_new(void)
{
    struct gunzip *g = calloc(1, sizeof(*g));

    if (!g)
        return NULL;
    if (inflateInit2(&g->z, 15 + 16) != Z_OK) { /* a gzip wrapper, nothing else */
        free(g);
        return NULL;
    }
    return g;
}

void gunzip_free(struct gunzip *g)
{
    if (!g)
        return;
    (void)inflateEnd(&g->z);
    free(g);
}

static uInt bounded(size_t n)
{
    return n > INT_MAX ? INT_MAX : (uInt)n;
}

int64_t gunzip_next(struct gunzip *g, struct slice *in, char *out, size_t cap)
{
    uInt in_len = bounded(in->len), out_len = bounded(cap);
    int r;

    if (g->at_end)
        return 0;                                /* what follows the trailer is not part of the body */
    g->z.next_in = (Bytef *)(uintptr_t)in->data; /* zlib reads it only */
    g->z.avail_in = in_len;
    g->z.next_out = (Bytef *)out;
    g->z.avail_out = out_len;
    r = inflate(&g->z, Z_NO_FLUSH);
    *in = slice_skip(*in, in_len - g->z.avail_in);
    if (r == Z_STREAM_END)
        g->at_end = true;
    else if (r != Z_OK && r != Z_BUF_ERROR)
        return -EBADMSG;
    return (int64_t)(out_len - g->z.avail_out);
}
