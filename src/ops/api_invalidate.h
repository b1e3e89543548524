/*
 * api_invalidate - what an invalidation has come to, for its answer and for the log.
 */
#pragma once
#include "refrain/base/jout.h"

struct instances_invalidation;

/** Writes the members of the object that is open. */
void api_invalidation_write(struct jout *j, const struct instances_invalidation *x);
void api_invalidation_log(const struct instances_invalidation *x);
