/*
 * redact - takes out of texts, for logs, what operators' patterns match: regular expressions of PCRE2, over
 * UTF-8. SPEC section 12. What cannot be judged in time, or at all, is taken out as a whole, so that no
 * pattern can hold a loop, and none fails open.
 *
 * Threads: redact_text from any; patterns are added before others use it.
 */
#pragma once
#include <stddef.h>

#include "refrain/base/attr.h"
#include "refrain/base/slice.h"

enum {
    REDACT_PATTERNS_MAX = 64,
    REDACT_PATTERN_BYTES_MAX = 1024,
    REDACT_TEXT_BYTES_MAX = 4096, /* what lies further behind is left out */
    REDACT_WHY_BYTES = 160,
};
#define REDACT_MARK "[redacted]"

struct redact;
/** Without patterns. NULL when out of memory. */
struct redact *redact_new(void);
/**
 * Adds a pattern. Errors: -EINVAL, with @out_why saying what is wrong, NUL-terminated, and *@out_at where;
 * -ENOSPC past REDACT_PATTERNS_MAX; -ENOMEM.
 */
ATTR_MUST_USE int redact_add(struct redact *r, struct slice pattern, char out_why[REDACT_WHY_BYTES],
                             size_t *out_at);
/** NULL is fine. */
void redact_free(struct redact *r);

/** Writes @text to @out with REDACT_MARK in the place of all that matches, as much of it as fits; returns how
 * many bytes. */
size_t redact_text(const struct redact *r, struct slice text, char *out, size_t cap);
