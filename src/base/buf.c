#include "refrain/base/buf.h"
#include "refrain/base/jescape.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/utf8.h"

void buf_done(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

static int grow(struct buf *b, size_t cap)
{
    char *data = realloc(b->data, cap);

    if (!data)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_reserve_exact(struct buf *b, size_t extra)
{
    if (extra > b->max || b->len > b->max - extra)
        return -EMSGSIZE;
    return b->len + extra <= b->cap ? 0 : grow(b, b->len + extra);
}

int buf_reserve(struct buf *b, size_t extra)
{
    size_t want, cap;

    if (extra > b->max || b->len > b->max - extra)
        return -EMSGSIZE;
    want = b->len + extra;
    if (want <= b->cap)
        return 0;
    cap = b->cap < 128 ? 256 : b->cap * 2;
    if (cap < want)
        cap = want;
    return grow(b, cap > b->max ? b->max : cap);
}

int buf_add(struct buf *b, const void *data, size_t len)
{
    int r = buf_reserve(b, len);

    if (r < 0)
        return r;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

int buf_add_slice(struct buf *b, struct slice s)
{
    return buf_add(b, s.data, s.len);
}

int buf_add_byte(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list args;
    int n, r;

    va_start(args, fmt);
    n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    if (n < 0)
        return -EINVAL;
    if ((size_t)n < sizeof(small))
        return buf_add(b, small, (size_t)n);

    r = buf_reserve(b, (size_t)n + 1); /* vsnprintf wants room for its NUL */
    if (r < 0)
        return r;
    va_start(args, fmt);
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, args);
    va_end(args);
    b->len += (size_t)n;
    return 0;
}

static int add_json_char(struct buf *b, const uint8_t *p, size_t left, size_t *used)
{
    char esc = jescape_letter(*p);
    size_t n;

    *used = 1;
    if (esc) {
        char two[2] = {'\\', esc};
        return buf_add(b, two, 2);
    }
    if (*p < 0x20 || *p == 0x7F)
        return buf_addf(b, "\\u%04x", *p);
    if (*p < 0x80)
        return buf_add(b, p, 1);
    n = utf8_len(p, left);
    if (n == 0)
        return buf_add(b, "\xEF\xBF\xBD", 3);
    *used = n;
    return buf_add(b, p, n);
}

int buf_add_json(struct buf *b, struct slice s)
{
    size_t before = b->len, used;
    int r = buf_add_byte(b, '"');

    for (size_t i = 0; r == 0 && i < s.len; i += used)
        r = add_json_char(b, (const uint8_t *)s.data + i, s.len - i, &used);
    if (r == 0)
        r = buf_add_byte(b, '"');
    if (r < 0)
        b->len = before;
    return r;
}
