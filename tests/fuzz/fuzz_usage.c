/*
 * usage against itself and against the tally: whole, byte by byte or cut anywhere the same bytes come out;
 * what was JSON still is; and what is added up of them afterwards has used nothing. The first byte picks the
 * dialect and the format, the second the cuts.
 */
#include <stdlib.h>
#include <string.h>

#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"
#include "refrain/wire/sse.h"
#include "refrain/wire/usage.h"

static char *zeroed(const uint8_t *data, size_t n, const struct dialect *d, enum stream_format format,
                    size_t step)
{
    char *out = malloc(n + 1);
    struct usage_zero z;

    HOLDS(out);
    memcpy(out, data, n);
    usage_zero_init(&z, d, format);
    for (size_t at = 0; at < n; at += step)
        usage_zero(&z, out + at, n - at < step ? n - at : step);
    return out;
}

static void used_nothing(const struct tally *t)
{
    HOLDS(t->tokens_in <= 0 && t->tokens_out <= 0 && t->tokens_cached <= 0 && t->tokens_cache_write <= 0);
}

static void used_nothing_at_all(const struct dialect *d, enum stream_format format, struct slice bytes)
{
    struct stream_judge j;
    struct tally t;

    if (format == STREAM_NONE) {
        tally_init(&t, d, false);
        tally_whole(&t, bytes);
        used_nothing(&t);
        tally_done(&t);
        return;
    }
    stream_judge_init(&j, d, format, false);
    stream_judge_feed(&j, bytes);
    used_nothing(&j.tally);
    stream_judge_done(&j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const enum stream_format formats[] = {STREAM_NONE, STREAM_SSE, STREAM_NDJSON, STREAM_JSON_ARRAY};
    enum stream_format format;
    const struct dialect *d;
    char *whole, *cut;
    size_t step;

    if (n < 3)
        return 0;
    format = formats[data[0] % ARRAY_LEN(formats)];
    d = dialect_of((enum operation)(data[0] / ARRAY_LEN(formats) % OP_COUNT));
    step = 1 + data[1] % 16;
    data += 2;
    n -= 2;
    whole = zeroed(data, n, d, format, n);
    cut = zeroed(data, n, d, format, step);
    HOLDS(memcmp(whole, cut, n) == 0);
    if (format == STREAM_NONE && jscan_valid(slice_make((const char *)data, n))) {
        HOLDS(jscan_valid(slice_make(whole, n)));
        used_nothing_at_all(d, format, slice_make(whole, n));
    }
    free(whole);
    free(cut);
    return 0;
}
