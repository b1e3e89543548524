/*
 * The rows of every dialect, for the one table in dialect.c.
 * A new API is a file of its own with rows like these, their declaration here, and a line each in that table.
 */
#pragma once
#include "refrain/wire/dialect.h"

extern const struct dialect dialect_pass, dialect_chat, dialect_completion, dialect_responses,
    dialect_embedding, dialect_read, dialect_plain; /* dialect_openai.c */
extern const struct dialect dialect_messages;       /* dialect_anthropic.c */
