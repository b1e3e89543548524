/*
 * retry, what upstream asks for. For every value of Retry-After, and of retry-after-ms:
 * - white space around it changes nothing;
 * - a second later the wait is the same, or a second shorter, or over;
 * - a further try is never made before it is over.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/policy/retry.h"

enum { MONTH_MS = INT32_MAX };

static const int64_t now_ms = INT64_C(1785542400123);

static int64_t asked(struct slice name, struct slice value, int64_t at_ms)
{
    struct fields f = {.n = 0};

    HOLDS(fields_add(&f, name, value) == 0);
    return retry_after_ms(&f, at_ms);
}

static void check(struct slice name, struct slice value)
{
    static const struct retry_conf conf = {
        .max = 3, .on = 1 << RETRY_503, .backoff_ms = 100, .backoff_ms_max = MONTH_MS};
    AUTO(buf_done) struct buf spaced = BUF_INIT(1 << 20);
    int64_t ms = asked(name, value, now_ms), later_ms = asked(name, value, now_ms + 1000), wait_ms;

    HOLDS(ms >= -1 && later_ms >= -1);
    if (value.len == 0 || !memchr(value.data, '-', value.len)) /* two digits of a year are read by today's */
        HOLDS(later_ms == ms || later_ms == (ms > 1000 ? ms - 1000 : 0));
    HOLDS(buf_add_byte(&spaced, ' ') == 0 && buf_add_slice(&spaced, value) == 0 &&
          buf_add_byte(&spaced, '\t') == 0);
    HOLDS(asked(name, slice_trim(buf_slice(&spaced)), now_ms) == asked(name, slice_trim(value), now_ms));
    wait_ms = retry_wait_ms(&conf, RETRY_503, 1, ms, (uint32_t)value.len * 2654435761U);
    HOLDS(ms > conf.backoff_ms_max ? wait_ms == -1 : wait_ms >= ms && wait_ms <= conf.backoff_ms_max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice value = slice_make(data, len);

    check(SLICE_OF("Retry-After"), value);
    check(SLICE_OF("Retry-After-Ms"), value);
    return 0;
}
