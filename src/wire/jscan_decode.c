/* What a JSON string says: RFC 8259 section 7. */
#include <errno.h>

#include "refrain/base/hex.h"
#include "refrain/base/jescape.h"
#include "refrain/base/utf8.h"
#include "refrain/wire/jscan.h"

/* The unit of `uXXXX` at the front of @s; -1: there is none. */
static int32_t take_unit(struct slice *s)
{
    int32_t unit = 0;

    if (s->len < 5 || s->data[0] != 'u')
        return -1;
    for (size_t i = 1; i < 5; i++) {
        int digit = hex_digit(s->data[i]);

        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    *s = slice_skip(*s, 5);
    return unit;
}

static int32_t take_code(struct slice *s)
{
    int32_t high = take_unit(s), low;

    if (high < 0xD800 || high > 0xDFFF)
        return high;
    if (high > 0xDBFF || s->len == 0 || s->data[0] != '\\')
        return -1;
    *s = slice_skip(*s, 1);
    low = take_unit(s);
    return low >= 0xDC00 && low <= 0xDFFF ? 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00) : -1;
}

/* What stands behind a backslash. */
static int take_escape(struct slice *s, struct buf *out)
{
    char meant = s->len > 0 ? jescape_meant(s->data[0]) : 0;
    char utf8[UTF8_BYTES_MAX];
    int32_t code;

    if (meant) {
        *s = slice_skip(*s, 1);
        return buf_add_byte(out, meant);
    }
    code = take_code(s);
    return code < 0 ? -EBADMSG : buf_add(out, utf8, utf8_put(utf8, (uint32_t)code));
}

int jscan_decode(struct slice string, struct buf *out)
{
    size_t before = out->len;
    int r = 0;

    while (r == 0 && string.len > 0) {
        const char *slash = memchr(string.data, '\\', string.len);
        size_t n = slash ? (size_t)(slash - string.data) : string.len;

        r = buf_add(out, string.data, n);
        string = slice_skip(string, slash ? n + 1 : n);
        if (r == 0 && slash)
            r = take_escape(&string, out);
    }
    if (r < 0)
        out->len = before;
    return r;
}
