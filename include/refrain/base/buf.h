/*
 * buf - growable bytes with a ceiling. What is sized by input is a buf, and its ceiling is given where it is
 * made.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>

#include "refrain/base/attr.h"
#include "refrain/base/slice.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max; /* no call makes len larger than this */
};

#define BUF_INIT(ceiling)                                                                                    \
    {                                                                                                        \
        NULL, 0, 0, (ceiling)                                                                                \
    }

/** Frees the bytes; the buf is empty and usable again, with the same ceiling. Accepts an untouched buf. */
void buf_done(struct buf *b);

/**
 * Makes room for @extra more bytes behind len.
 * Errors: -EMSGSIZE past the ceiling, -ENOMEM; the buf is unchanged then.
 */
ATTR_MUST_USE int buf_reserve(struct buf *b, size_t extra);

/** As buf_reserve, but takes no more than is asked for: where the final size is known. */
ATTR_MUST_USE int buf_reserve_exact(struct buf *b, size_t extra);

/** Appends @len bytes. Errors: as buf_reserve; nothing is appended then. */
ATTR_MUST_USE int buf_add(struct buf *b, const void *data, size_t len);
ATTR_MUST_USE int buf_add_slice(struct buf *b, struct slice s);
ATTR_MUST_USE int buf_add_byte(struct buf *b, char c);

/** Appends formatted text, without a terminating NUL. Errors: as buf_reserve. */
ATTR_MUST_USE int buf_addf(struct buf *b, const char *fmt, ...) ATTR_PRINTF(2, 3);

/** Appends @s as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. Errors: as
 * buf_reserve. */
ATTR_MUST_USE int buf_add_json(struct buf *b, struct slice s);

static inline void buf_clear(struct buf *b)
{
    b->len = 0;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->data, b->len};
}
