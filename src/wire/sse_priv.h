/* What the ways of splitting a stream share: sse.c holds lines and events, sse_array.c knows JSON arrays. */
#pragma once
#include "refrain/wire/sse.h"

/** Keeps the beginning of an event of which more is to come. Errors: as buf_add. */
int sse_reader_hold(struct sse_reader *r, struct slice part);
/** Tells an event: what was held, and its last part behind it. Errors: as buf_add. */
int sse_reader_tell(struct sse_reader *r, struct slice last_part);

/** Feeds a STREAM_JSON_ARRAY. Errors: as sse_reader_feed. */
int sse_array_feed(struct sse_reader *r, struct slice bytes);
