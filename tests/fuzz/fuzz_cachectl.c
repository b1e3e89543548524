/*
 * cachectl against itself. For every value, read by either side:
 * - two fields say what their one list says, when no quote runs from the first into the second;
 * - the case of letters changes nothing;
 * - deltas stay within their range, and a no-store that stands by itself is never missed.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/wire/cachectl.h"

typedef void parse_fn(struct cachectl *c, struct slice value);

static bool same(const struct cachectl *a, const struct cachectl *b)
{
    return a->no_cache == b->no_cache && a->no_store == b->no_store && a->no_transform == b->no_transform &&
           a->only_if_cached == b->only_if_cached && a->is_private == b->is_private &&
           a->is_public == b->is_public && a->must_revalidate == b->must_revalidate &&
           a->proxy_revalidate == b->proxy_revalidate && a->must_understand == b->must_understand &&
           a->immutable == b->immutable && a->no_cache_fields == b->no_cache_fields &&
           a->private_fields == b->private_fields && a->max_stale_any == b->max_stale_any &&
           a->max_age_s == b->max_age_s && a->s_maxage_s == b->s_maxage_s &&
           a->min_fresh_s == b->min_fresh_s && a->max_stale_s == b->max_stale_s &&
           a->stale_while_revalidate_s == b->stale_while_revalidate_s &&
           a->stale_if_error_s == b->stale_if_error_s;
}

static void check_delta(int64_t s)
{
    HOLDS(s >= CC_ABSENT && s <= INT64_C(1) << 31);
}

static void check(struct slice value, size_t cut, parse_fn *parse)
{
    AUTO(buf_done) struct buf upper = BUF_INIT(1 << 20);
    struct slice first = slice_make(value.data, cut), second = slice_skip(value, cut + 1), rest = value;
    struct cachectl whole, again;

    cachectl_init(&whole);
    parse(&whole, value);
    check_delta(whole.max_age_s);
    check_delta(whole.s_maxage_s);
    check_delta(whole.min_fresh_s);
    check_delta(whole.max_stale_s);
    check_delta(whole.stale_while_revalidate_s);
    check_delta(whole.stale_if_error_s);

    if (cut < value.len && value.data[cut] == ',' && !memchr(first.data, '"', first.len)) {
        cachectl_init(&again);
        parse(&again, first);
        parse(&again, second);
        HOLDS(same(&whole, &again));
    }
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];

        HOLDS(buf_add_byte(&upper, c >= 'a' && c <= 'z' ? (char)(c - 0x20) : c) == 0);
    }
    cachectl_init(&again);
    parse(&again, buf_slice(&upper));
    HOLDS(same(&whole, &again));

    while (rest.data && !memchr(value.data, '"', value.len))
        if (slice_ieq(slice_trim(slice_cut(&rest, ',')), SLICE_OF("no-store")))
            HOLDS(whole.no_store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice value;

    if (len < 2)
        return 0;
    value = slice_make(data + 1, len - 1);
    check(value, data[0] % value.len, cachectl_parse_request);
    check(value, data[0] % value.len, cachectl_parse_response);
    return 0;
}
