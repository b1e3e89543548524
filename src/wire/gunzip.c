#include "refrain/wire/gunzip.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#define ZLIB_CONST /* it reads its input only, and says so when asked */
#include <zlib.h>

struct gunzip {
    z_stream z;
    bool at_end; /* of a member */
    bool junk;   /* something stands behind a member that is no member */
};

static const char magic = '\x1F'; /* the first byte of every member */

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

bool gunzip_is_whole(const struct gunzip *g)
{
    return g->at_end && !g->junk;
}

static uInt bounded(size_t n)
{
    return n > INT_MAX ? INT_MAX : (uInt)n;
}

static int64_t inflate_some(struct gunzip *g, struct slice *in, char *out, size_t cap)
{
    uInt in_len = bounded(in->len), out_len = bounded(cap);
    int r;

    g->z.next_in = (const Bytef *)in->data;
    g->z.avail_in = in_len;
    g->z.next_out = (Bytef *)out;
    g->z.avail_out = out_len;
    r = inflate(&g->z, Z_NO_FLUSH);
    *in = slice_skip(*in, in_len - g->z.avail_in);
    if (r == Z_STREAM_END)
        g->at_end = true;
    else if (r == Z_MEM_ERROR)
        return -ENOMEM;
    else if (r != Z_OK && r != Z_BUF_ERROR)
        return -EBADMSG;
    return (int64_t)(out_len - g->z.avail_out);
}

/* Behind a member: another one, or nothing that belongs to the body. */
static void begin_member(struct gunzip *g, struct slice *in)
{
    if (g->junk || in->data[0] != magic) {
        g->junk = true;
        *in = slice_skip(*in, in->len);
        return;
    }
    (void)inflateReset(&g->z); /* fails on a stream that was never set up only */
    g->at_end = false;
}

int64_t gunzip_next(struct gunzip *g, struct slice *in, char *out, size_t cap)
{
    int64_t n = 0;

    do {
        if (g->at_end && in->len > 0)
            begin_member(g, in);
        if (g->at_end)
            return 0;
        n = inflate_some(g, in, out, cap);
    } while (n == 0 && in->len > 0 && cap > 0);
    return n;
}
