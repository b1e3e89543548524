/*
 * The rows of every dialect, for the one table in dialect.c. A new API is a file of its own with rows like
 * these, and a line each in DIALECT_ROWS.
 */
#pragma once
#include "refrain/wire/dialect.h"

#define DIALECT_DECLARE(id, row) extern const struct dialect dialect_##row;
DIALECT_ROWS(DIALECT_DECLARE)
#undef DIALECT_DECLARE

/* Rows of struct dialect's @usages. */
#define OWN_USAGE(name)                                                                                      \
    {                                                                                                        \
        .member = SLICE(name)                                                                                \
    }
#define USAGE_IN(name, of)                                                                                   \
    {                                                                                                        \
        SLICE(name), SLICE(of)                                                                               \
    }

/** {"error":{"message","type","param","code"}}: the shape of OpenAI's errors, and of most others. */
int dialect_openai_error(struct buf *out, unsigned status, const char *code, struct slice message);
