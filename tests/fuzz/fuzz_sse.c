/*
 * sse against itself: whole, byte by byte, or cut anywhere, a stream gives the same events, ends at a
 * boundary or not alike, and is judged alike. The first byte picks the format and the dialect, the second
 * seeds the cuts.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/wire/sse.h"

enum { LOG_MAX = 1 << 24 };

static void write_event(void *arg, struct slice event, struct slice data)
{
    struct buf *log = arg;

    HOLDS(buf_addf(log, "%zu %zu ", event.len, data.len) == 0);
    HOLDS(buf_add_slice(log, event) == 0);
    HOLDS(buf_add_slice(log, data) == 0);
}

/* Cuts of a pseudo-random length up to @step; all of it when @step is 0. */
static size_t next_cut(unsigned *seed, size_t step, size_t left)
{
    size_t n;

    if (step == 0)
        return left;
    *seed = *seed * 1103515245 + 12345;
    n = 1 + (*seed >> 16) % step;
    return n < left ? n : left;
}

struct seen {
    struct buf log;
    bool boundary, whole, error;
    size_t events;
};

static void seen_done(struct seen *s)
{
    buf_done(&s->log);
}

static struct seen look(struct slice bytes, enum stream_format format, enum operation op, unsigned seed,
                        size_t step)
{
    struct seen s = {.log = BUF_INIT(LOG_MAX)};
    AUTO(sse_reader_done) struct sse_reader r;
    AUTO(stream_judge_done) struct stream_judge j;

    sse_reader_init(&r, format, write_event, &s.log);
    stream_judge_init(&j, dialect_of(op), format, true);
    while (bytes.len > 0) {
        struct slice part = slice_make(bytes.data, next_cut(&seed, step, bytes.len));

        HOLDS(sse_reader_feed(&r, part) == 0);
        stream_judge_feed(&j, part);
        bytes = slice_skip(bytes, part.len);
    }
    s.boundary = r.at_boundary;
    s.whole = stream_judge_whole(&j);
    s.error = j.seen_error;
    s.events = j.events;
    return s;
}

static void compare(const struct seen *a, const struct seen *b)
{
    HOLDS(slice_eq(buf_slice(&a->log), buf_slice(&b->log)));
    HOLDS(a->boundary == b->boundary);
    HOLDS(a->whole == b->whole && a->error == b->error && a->events == b->events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const enum operation ops[] = {OP_CHAT, OP_RESPONSES, OP_MESSAGES, OP_GENERATE, OP_OLLAMA};
    static const enum stream_format formats[] = {STREAM_SSE, STREAM_NDJSON, STREAM_JSON_ARRAY};
    enum stream_format format;
    enum operation op;
    struct slice bytes;

    if (len < 2)
        return 0;
    format = formats[data[0] % ARRAY_LEN(formats)];
    op = ops[(data[0] / ARRAY_LEN(formats)) % ARRAY_LEN(ops)];
    bytes = slice_make(data + 2, len - 2);
    {
        AUTO(seen_done) struct seen whole = look(bytes, format, op, 0, 0);
        AUTO(seen_done) struct seen single = look(bytes, format, op, 0, 1);
        AUTO(seen_done) struct seen cut = look(bytes, format, op, data[1], 1 + data[1] % 64);

        compare(&whole, &single);
        compare(&whole, &cut);
        HOLDS(!whole.whole || (!whole.error && whole.events > 0));
    }
    return 0;
}
