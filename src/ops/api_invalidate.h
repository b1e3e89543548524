/*
 * api_invalidate - what an invalidation has come to, for its answer and for the log.
 */
#pragma once
#include "refrain/base/jout.h"

struct admin_parts; /* ops/admin.h */
struct instances_invalidation;

/** Writes the members of the object that is open. */
void api_invalidation_write(struct jout *j, const struct instances_invalidation *x);
/** Logs it, and takes its time. */
void api_invalidation_log(const struct admin_parts *parts, const struct instances_invalidation *x);
