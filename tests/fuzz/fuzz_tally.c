/*
 * tally against itself and against jscan: a stream adds up to the same whole, byte by byte, or cut anywhere;
 * text that comes in pieces is JSON exactly when it is in one; arguments of a tool call are judged alike as a
 * whole answer's and as a stream's, however many events they come in. The first byte picks what is tried, the
 * dialect and the format, the second seeds the cuts.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"
#include "refrain/wire/sse.h"
#include "refrain/wire/tally.h"

enum { TEXT_MAX = 1 << 24 };

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

static void same(const struct tally *one, const struct tally *other)
{
    struct tally_result a, b;

    tally_result(one, &a);
    tally_result(other, &b);
    HOLDS(a.fault == b.fault && a.empty == b.empty && a.finishes_n == b.finishes_n);
    HOLDS(a.tokens_in == b.tokens_in && a.tokens_out == b.tokens_out);
    HOLDS(a.tokens_cached == b.tokens_cached && a.tokens_cache_write == b.tokens_cache_write);
    for (size_t i = 0; i < a.finishes_n; i++) {
        HOLDS(a.finishes[i].kind == b.finishes[i].kind && slice_eq(a.finishes[i].text, b.finishes[i].text));
        HOLDS(i == 0 || a.finishes[i].kind <= a.finishes[i - 1].kind);
    }
}

static void judge(struct stream_judge *j, enum operation op, enum stream_format format, struct slice bytes,
                  unsigned seed, size_t step)
{
    stream_judge_init(j, dialect_of(op), format, true);
    while (bytes.len > 0) {
        struct slice part = slice_make(bytes.data, next_cut(&seed, step, bytes.len));

        stream_judge_feed(j, part);
        bytes = slice_skip(bytes, part.len);
    }
}

static void try_stream(enum operation op, enum stream_format format, struct slice bytes, unsigned seed)
{
    AUTO(stream_judge_done) struct stream_judge whole, single, cut;

    judge(&whole, op, format, bytes, 0, 0);
    judge(&single, op, format, bytes, 0, 1);
    judge(&cut, op, format, bytes, seed, 1 + seed % 64);
    same(&whole.tally, &single.tally);
    same(&whole.tally, &cut.tally);
}

static void try_whole(enum operation op, struct slice body)
{
    AUTO(tally_done) struct tally t;
    struct tally_result r;

    tally_init(&t, dialect_of(op), true);
    tally_whole(&t, body);
    tally_result(&t, &r);
    HOLDS(r.fault < TALLY_FAULT_COUNT);
    HOLDS(!dialect_of(op)->json || jscan_valid(body) || r.fault == TALLY_NOT_JSON);
}

static bool is_ascii(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] >= 0x80)
            return false;
    return true;
}

static bool is_blank(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!strchr(" \t\r\n", text.data[i]) || text.data[i] == '\0')
            return false;
    return true;
}

static void try_pieces(struct slice text, unsigned seed)
{
    struct slice rest = text;
    struct jscan_text t;

    jscan_text_init(&t);
    while (rest.len > 0) {
        struct slice part = slice_make(rest.data, next_cut(&seed, 1 + seed % 8, rest.len));

        jscan_text_feed(&t, part);
        rest = slice_skip(rest, part.len);
    }
    HOLDS(jscan_text_valid(&t) == jscan_valid(text));
}

static void add_call(struct buf *to, const char *around, struct slice arguments)
{
    HOLDS(
        buf_addf(
            to,
            "{\"choices\":[{\"%s\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":",
            around) == 0);
    HOLDS(buf_add_json(to, arguments) == 0);
    HOLDS(buf_addf(to, "}}]}}]}") == 0);
}

static void try_arguments(struct slice text, unsigned seed)
{
    AUTO(buf_done) struct buf body = BUF_INIT(TEXT_MAX), event = BUF_INIT(TEXT_MAX);
    AUTO(tally_done) struct tally whole, streamed;
    struct tally_result r;
    struct slice rest = text;

    tally_init(&whole, dialect_of(OP_CHAT), false);
    add_call(&body, "message", text);
    tally_whole(&whole, buf_slice(&body));
    tally_result(&whole, &r);
    HOLDS(r.fault == (jscan_valid(text) || is_blank(text) ? TALLY_GOOD : TALLY_ARGUMENTS));

    tally_init(&streamed, dialect_of(OP_CHAT), false);
    do {
        struct slice part = slice_make(rest.data, next_cut(&seed, 1 + seed % 16, rest.len));

        buf_clear(&event);
        add_call(&event, "delta", part);
        HOLDS(tally_event(&streamed, SLICE_OF(""), buf_slice(&event)) == EVENT_MORE);
        rest = slice_skip(rest, part.len);
    } while (rest.len > 0);
    same(&whole, &streamed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const enum stream_format formats[] = {STREAM_SSE, STREAM_NDJSON, STREAM_JSON_ARRAY};
    static const enum operation streaming[] = {OP_CHAT,     OP_COMPLETION, OP_RESPONSES,
                                               OP_MESSAGES, OP_GENERATE,   OP_OLLAMA};
    struct slice text;
    unsigned pick;

    if (len < 2)
        return 0;
    text = slice_make(data + 2, len - 2);
    pick = data[0] >> 2;
    switch (data[0] & 3) {
    case 0:
        try_whole(pick % OP_COUNT, text);
        break;
    case 1:
        if (is_ascii(text))
            try_pieces(text, data[1]);
        if (is_ascii(text))
            try_arguments(text, data[1]);
        break;
    default:
        try_stream(streaming[pick % ARRAY_LEN(streaming)], formats[(pick >> 3) % ARRAY_LEN(formats)], text,
                   data[1]);
        break;
    }
    return 0;
}
