/*
 * template - text of configuration in which `{field}` stands for what something else says: event rules. There
 * is no way to write a brace. Pure. Threads: any.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/slice.h"

/** The next piece of @rest: plain text, or with *@out_field the name of a field, of [A-Za-z0-9._-]. false:
 * the end, or with *@out_bad a brace that has no meaning. */
bool template_next(struct slice *rest, struct slice *out, bool *out_field, bool *out_bad);
/** NULL where @text is a good template of an entry's pattern (@pattern), else of a name; or what is wrong. */
const char *template_fault(struct slice text, bool pattern);
