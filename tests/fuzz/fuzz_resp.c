/*
 * resp with its guard before hiredis, against itself: however the bytes are cut, the same replies come, and
 * the same end. What the guard passes hiredis parses (resp says BAD where they disagree, which would be seen
 * as another end than the guard's own), and no reply has more of anything than the limits allow.
 */
#include <stdlib.h>

#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/store/resp.h"
#include "refrain/store/resp_guard.h"

enum {
    BULK_MAX = 40000,
    REPLY_MAX = 60000,
    ELEMENTS_MAX = 64,
    DEPTH_MAX = RESP_DEPTH_MAX,
    TOLD_MAX = 1 << 24
};

static const struct resp_reader_conf conf = {BULK_MAX, REPLY_MAX, ELEMENTS_MAX, DEPTH_MAX};

/* As an array's own form, so that two replies are equal when their texts are. */
static size_t tell(struct buf *out, const struct redis_reply *r, unsigned depth)
{
    size_t n = 0;

    HOLDS(depth <= DEPTH_MAX);
    HOLDS(buf_addf(out, "%d:%lld:%zu:", (int)r->type, (long long)r->integer, r->text.len) == 0);
    HOLDS(r->text.len <= BULK_MAX && buf_add_slice(out, r->text) == 0);
    if (r->type != REDIS_ARRAY)
        return 0;
    n = r->items_n;
    for (size_t i = 0; i < r->items_n; i++) {
        HOLDS(r->items[i]);
        n += tell(out, r->items[i], depth + 1);
    }
    return n;
}

struct outcome {
    struct buf told; /* the replies, one behind the other */
    size_t replies;
    bool is_bad;
};

/* False once it is bad. */
static bool read_piece(struct resp_reader *reader, struct slice piece, struct outcome *out)
{
    while (piece.len > 0) {
        struct redis_reply *reply = NULL;

        switch (resp_reader_next(reader, &piece, &reply)) {
        case RESP_READ_MORE:
            return true;
        case RESP_READ_REPLY:
            HOLDS(tell(&out->told, reply, 0) <= ELEMENTS_MAX);
            resp_reply_free(reply);
            out->replies++;
            break;
        case RESP_READ_OVER:
            HOLDS(buf_addf(&out->told, "over") == 0);
            out->replies++;
            break;
        default:
            out->is_bad = true;
            return false;
        }
    }
    return true;
}

static struct outcome read_all(struct slice bytes, size_t step)
{
    struct resp_reader *reader = resp_reader_new(&conf);
    struct outcome out = {.told = BUF_INIT(TOLD_MAX)};

    HOLDS(reader);
    while (bytes.len > 0 &&
           read_piece(reader, slice_make(bytes.data, step < bytes.len ? step : bytes.len), &out))
        bytes = slice_skip(bytes, step);
    resp_reader_free(reader);
    return out;
}

/* The guard alone: how many replies it passes, and whether it ends badly. */
static size_t guarded(struct slice bytes, bool *out_bad)
{
    const struct resp_limits limits = {BULK_MAX, 16 * 1024, 512 << 20, REPLY_MAX, ELEMENTS_MAX, DEPTH_MAX};
    struct resp_guard guard;
    size_t replies = 0;

    resp_guard_init(&guard, &limits);
    *out_bad = false;
    while (bytes.len > 0) {
        size_t used = 0;
        enum resp_verdict v = resp_guard_scan(&guard, bytes, &used);

        HOLDS(used <= bytes.len && (v != RESP_MORE || used == bytes.len));
        bytes = slice_skip(bytes, used);
        replies += v == RESP_REPLY;
        if (v == RESP_BAD) {
            *out_bad = true;
            break;
        }
    }
    return replies;
}

static void check(struct slice bytes, size_t step, const struct outcome *want)
{
    struct outcome got = read_all(bytes, step);

    HOLDS(got.is_bad == want->is_bad && got.replies == want->replies);
    HOLDS(slice_eq(buf_slice(&got.told), buf_slice(&want->told)));
    buf_done(&got.told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct outcome whole;
    struct slice bytes;
    bool is_bad;

    if (len < 2)
        return 0;
    bytes = slice_make(data + 1, len - 1);
    whole = read_all(bytes, SIZE_MAX);
    HOLDS(guarded(bytes, &is_bad) == whole.replies && is_bad == whole.is_bad);
    check(bytes, bytes.len < 2048 ? 1 : 61, &whole);
    check(bytes, 1 + data[0], &whole);
    buf_done(&whole.told);
    return 0;
}
