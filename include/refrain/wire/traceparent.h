/*
 * traceparent - which trace a request is part of: the header of W3C Trace Context, section 3.2. It is read
 * for the log alone; it goes on to upstream as it came. Pure.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/slice.h"

enum { TRACE_ID_LEN = 32 }; /* lower-case hex digits */

/**
 * @out_trace_id: the trace id, borrowed from @value. false, and nothing written: it is none that the standard
 * allows, of its first version or a later one (section 3.2.4). Threads: any.
 */
bool traceparent_read(struct slice value, struct slice *out_trace_id);
