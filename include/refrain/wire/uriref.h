/*
 * uriref - what a Location or Content-Location names, as a request target at the upstream that sent it.
 * RFC 3986 section 5 (resolving), section 6.2.3 (default ports). Pure.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

/**
 * Resolves @ref, as it stands in an answer to a request for @target (origin-form) at @url
 * (scheme://authority[/prefix], no trailing slash; the prefix stands before every target), and appends to
 * @out the target that names the same resource there.
 * false, and @out of no use: it is of another origin, outside the prefix, no http URI, or @out is full.
 */
bool uriref_target(struct slice url, struct slice target, struct slice ref, struct buf *out);
