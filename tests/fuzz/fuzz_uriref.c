/*
 * uriref against itself. The input is a URL's prefix, a target and a reference, parted by line feeds. What
 * comes out is a target of the origin-form without dots in its path, and naming it again by its whole URI
 * gives the same.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/wire/uriref.h"

static bool has_dots(struct slice target)
{
    struct slice path = slice_cut(&target, '?');

    while (path.data) {
        struct slice segment = slice_cut(&path, '/');

        if (slice_eq(segment, SLICE_OF(".")) || slice_eq(segment, SLICE_OF("..")))
            return true;
    }
    return false;
}

/* As configuration has them: a plain path without a slash at its end, or nothing. */
static bool prefix_ok(struct slice prefix)
{
    for (size_t i = 0; i < prefix.len; i++)
        if (memchr("#?: \t", prefix.data[i], 5) || prefix.data[i] == '\0')
            return false;
    return prefix.len == 0 || (prefix.data[0] == '/' && prefix.data[prefix.len - 1] != '/' &&
                               !has_dots(prefix) && !slice_starts(prefix, SLICE_OF("//")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    AUTO(buf_done) struct buf url = BUF_INIT(1 << 20);
    AUTO(buf_done) struct buf out = BUF_INIT(1 << 20);
    AUTO(buf_done) struct buf whole = BUF_INIT(1 << 20);
    AUTO(buf_done) struct buf again = BUF_INIT(1 << 20);
    struct slice rest = slice_make(data, len), prefix = slice_cut(&rest, '\n'),
                 target = slice_cut(&rest, '\n');

    if (len == 0 || !rest.data || !prefix_ok(prefix) || !slice_starts(target, SLICE_OF("/")) ||
        memchr(target.data, '#', target.len))
        return 0;
    HOLDS(buf_addf(&url, "http://h.example%.*s", (int)prefix.len, prefix.data) == 0);
    if (!uriref_target(buf_slice(&url), target, rest, &out))
        return 0;
    HOLDS(out.len > 0 && out.data[0] == '/');
    HOLDS(!memchr(out.data, '#', out.len));
    if (slice_trim(buf_slice(&out)).len != out.len)
        return 0; /* blanks at the end do not survive in a field value */
    HOLDS(buf_add_slice(&whole, buf_slice(&url)) == 0 && buf_add_slice(&whole, buf_slice(&out)) == 0);
    HOLDS(uriref_target(buf_slice(&url), SLICE_OF("/"), buf_slice(&whole), &again));
    HOLDS(slice_eq(buf_slice(&again), buf_slice(&out)) && !has_dots(buf_slice(&out)));
    return 0;
}
