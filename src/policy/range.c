#include "refrain/policy/range.h"

#include <stdbool.h>

/* Digits, and at least one; what is too large for the type counts as the largest. */
static bool number_of(struct slice s, uint64_t *out)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(s.data[i] - '0'), &n))
            n = UINT64_MAX;
    }
    *out = n;
    return s.len > 0;
}

/* The last @n bytes. */
static enum range_verdict suffix(uint64_t n, uint64_t length, uint64_t *out_first, uint64_t *out_last)
{
    if (n == 0 || length == 0)
        return RANGE_NONE;
    *out_first = n < length ? length - n : 0;
    *out_last = length - 1;
    return RANGE_PART;
}

static enum range_verdict one(struct slice spec, uint64_t length, uint64_t *out_first, uint64_t *out_last)
{
    struct slice end = spec, start = slice_cut(&end, '-');
    uint64_t first, last = UINT64_MAX;

    if (!end.data)
        return RANGE_WHOLE;
    if (start.len == 0)
        return number_of(end, &last) ? suffix(last, length, out_first, out_last) : RANGE_WHOLE;
    if (!number_of(start, &first) || (end.len > 0 && !number_of(end, &last)) || last < first)
        return RANGE_WHOLE;
    if (first >= length)
        return RANGE_NONE;
    *out_first = first;
    *out_last = last < length ? last : length - 1;
    return RANGE_PART;
}

enum range_verdict range_read(struct slice value, uint64_t length, uint64_t *out_first, uint64_t *out_last)
{
    struct slice set = value, unit = slice_trim(slice_cut(&set, '=')), spec = {NULL, 0};
    unsigned n = 0;

    if (!slice_ieq(unit, SLICE_OF("bytes")))
        return RANGE_WHOLE;
    while (set.data) {
        struct slice part = slice_trim(slice_cut(&set, ','));

        if (part.len == 0)
            continue; /* RFC 9110 section 5.6.1.2 */
        spec = part;
        n++;
    }
    if (n > 1)
        return RANGE_SEVERAL;
    return n == 1 ? one(spec, length, out_first, out_last) : RANGE_WHOLE;
}
