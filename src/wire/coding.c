#include "refrain/wire/coding.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#define ZLIB_CONST /* it reads its input only, and says so when asked */
#include <zlib.h>

#include "refrain/wire/gunzip.h"

enum {
    UNPACK_STEP = 32 * 1024,
    GZIP_WRAPPER = 15 + 16, /* the largest window, in a gzip wrapper */
    MEMORY_LEVEL = 8,
};

/* Decodes as much as one step of room takes. 1: go on; 0: nothing more to come; or an error. */
static int unpack_step(struct gunzip *g, struct slice *in, struct buf *out)
{
    size_t room = out->max - out->len;
    char over;
    int64_t n;
    int r;

    if (room == 0) { /* all right if this was all */
        n = gunzip_next(g, in, &over, 1);
        return n > 0 ? -EMSGSIZE : (int)n;
    }
    r = buf_reserve(out, room < UNPACK_STEP ? room : UNPACK_STEP);
    if (r < 0)
        return r;
    n = gunzip_next(g, in, out->data + out->len, out->cap - out->len);
    if (n <= 0)
        return (int)n;
    out->len += (size_t)n;
    return 1;
}

int gzip_unpack(struct slice gzip, struct buf *out)
{
    AUTO(gunzip_done) struct gunzip *g = gunzip_new();
    size_t before = out->len;
    int r = g ? 1 : -ENOMEM;

    while (r == 1)
        r = unpack_step(g, &gzip, out);
    if (r == 0 && !gunzip_is_whole(g))
        r = -EBADMSG;
    if (r < 0)
        out->len = before;
    return r;
}

static uInt bounded(size_t n)
{
    return n > INT_MAX ? INT_MAX : (uInt)n;
}

/* Makes room, and feeds zlib until all of @plain has come out. */
static int deflate_all(z_stream *z, struct slice plain, struct buf *out)
{
    int done = Z_OK;

    while (done != Z_STREAM_END) {
        size_t left = out->max - out->len, want = deflateBound(z, plain.len);
        uInt in_len = bounded(plain.len), out_len;
        int r = left == 0 ? -EMSGSIZE : buf_reserve(out, want < left ? want : left);

        if (r < 0)
            return r;
        out_len = bounded(out->cap - out->len);
        z->next_in = (const Bytef *)plain.data;
        z->avail_in = in_len;
        z->next_out = (Bytef *)(out->data + out->len);
        z->avail_out = out_len;
        done = deflate(z, in_len == plain.len ? Z_FINISH : Z_NO_FLUSH);
        assert(done != Z_STREAM_ERROR);
        plain = slice_skip(plain, in_len - z->avail_in);
        out->len += out_len - z->avail_out;
    }
    return 0;
}

int gzip_pack(struct slice plain, int level, struct buf *out)
{
    size_t before = out->len;
    z_stream z = {0};
    int r;

    assert(level >= 1 && level <= 9);
    if (deflateInit2(&z, level, Z_DEFLATED, GZIP_WRAPPER, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    r = deflate_all(&z, plain, out);
    (void)deflateEnd(&z);
    if (r < 0)
        out->len = before;
    return r;
}
