/*
 * coding and gunzip against each other. The first byte says whether the rest is a gzip body or is to be
 * packed into one and, when its low bits say so, damaged; the second seeds the cuts. For every body:
 * - whole or in pieces, with any room, the same text comes out, and both say alike whether it is intact;
 * - what is unpacked, packed again, unpacks to the same;
 * - nothing passes the ceiling.
 */
#include <errno.h>

#include "holds.h"
#include "refrain/wire/coding.h"
#include "refrain/wire/gunzip.h"

enum { PLAIN_MAX = 1 << 16 };

/* What gunzip makes of it, in pieces; *@out_whole as it says. Stops past the ceiling. */
static int decode(struct slice in, unsigned seed, struct buf *plain, bool *out_whole)
{
    AUTO(gunzip_done) struct gunzip *g = gunzip_new();
    char out[300];
    int64_t n = 0;

    HOLDS(g);
    while (in.len > 0 && n >= 0) {
        size_t step = 1 + (seed = seed * 1103515245 + 12345) % 97, room = 1 + (seed >> 8) % sizeof(out);
        struct slice part = slice_make(in.data, in.len < step ? in.len : step);

        in = slice_skip(in, part.len);
        while ((n = gunzip_next(g, &part, out, room)) > 0)
            if (buf_add(plain, out, (size_t)n) < 0)
                return -EMSGSIZE;
        HOLDS(n < 0 || part.len == 0);
    }
    *out_whole = gunzip_is_whole(g);
    return (int)n;
}

static void check(struct slice gzip, unsigned seed)
{
    AUTO(buf_done) struct buf plain = BUF_INIT(PLAIN_MAX);
    AUTO(buf_done) struct buf pieces = BUF_INIT(PLAIN_MAX);
    AUTO(buf_done) struct buf packed = BUF_INIT(2 * PLAIN_MAX);
    AUTO(buf_done) struct buf again = BUF_INIT(PLAIN_MAX);
    bool whole = false;
    int r = gzip_unpack(gzip, &plain), d = decode(gzip, seed, &pieces, &whole);

    HOLDS(plain.len <= PLAIN_MAX && (r == 0 || plain.len == 0));
    HOLDS((r == 0) == (d == 0 && whole));
    if (r < 0)
        return;
    HOLDS(slice_eq(buf_slice(&plain), buf_slice(&pieces)));
    HOLDS(gzip_pack(buf_slice(&plain), 1 + (int)(seed % 9), &packed) == 0);
    HOLDS(gzip_unpack(buf_slice(&packed), &again) == 0);
    HOLDS(slice_eq(buf_slice(&plain), buf_slice(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    AUTO(buf_done) struct buf packed = BUF_INIT(1 << 22);
    struct slice rest;

    if (len < 2)
        return 0;
    rest = slice_make(data + 2, len - 2);
    if (data[0] & 1) {
        check(rest, data[1]);
        return 0;
    }
    if (rest.len > PLAIN_MAX)
        return 0;
    HOLDS(gzip_pack(rest, 1, &packed) == 0);
    if (data[0] & 2)
        packed.data[data[0] * 31U % packed.len] ^= (char)(data[1] | 1);
    if (data[0] & 4)
        HOLDS(gzip_pack(slice_make(rest.data, rest.len / 2), 1, &packed) == 0);
    check(buf_slice(&packed), data[1]);
    return 0;
}
