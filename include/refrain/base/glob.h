/*
 * glob - patterns that operators write: `*` stands for any run of bytes, `/` included, and none; `?` for any
 * one byte; every other byte for itself. There is nothing to escape with: a pattern is for names, paths and
 * values, in which neither sign stands.
 *
 * Pure. Cost: length of the text times length of the longest run between two `*`, whatever the pattern: a
 * match is never looked for twice.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/slice.h"

/** True when all of @text is what @pattern describes. Case counts. Threads: any. */
bool glob_matches(struct slice pattern, struct slice text);
