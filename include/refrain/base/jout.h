/*
 * jout - writes JSON (RFC 8259) as it goes, into a buf: commas and quotes are its business, values the
 * caller's.
 *
 *     jout_object(&j, NULL);            {
 *     jout_text(&j, "name", name);        "name":"…"
 *     jout_array(&j, "tags");           , "tags":[
 *     jout_text(&j, NULL, tag);            "…"
 *     jout_end(&j); jout_end(&j);       ]}
 *
 * The first argument behind the writer is the member's name; NULL inside an array and for the outermost
 * value. Errors stick: once the buf is full nothing more is written, and jout_done says so. Threads: one at a
 * time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

enum { JOUT_DEPTH_MAX = 16 };

struct jout {
    struct buf *out;
    int failed;
    unsigned depth;
    bool array[JOUT_DEPTH_MAX + 1], filled[JOUT_DEPTH_MAX + 1];
};

/** A writer that appends to @out, which outlives it. */
struct jout jout_begin(struct buf *out);
/** 0, or what went wrong: as buf_reserve. Everything opened must be closed. */
int jout_done(const struct jout *j);

/** At most JOUT_DEPTH_MAX levels. */
void jout_object(struct jout *j, const char *name);
void jout_array(struct jout *j, const char *name);
void jout_end(struct jout *j);

/** Bytes that are not UTF-8 become U+FFFD. */
void jout_text(struct jout *j, const char *name, struct slice text);
void jout_str(struct jout *j, const char *name, const char *text); /* NULL: null */
void jout_int(struct jout *j, const char *name, int64_t number);
/** Thousandths, written with three places: 1234 is 1.234. */
void jout_milli(struct jout *j, const char *name, int64_t number);
/** Billionths, as a decimal number without zeros at its end: 1500000000 is 1.5. For durations in seconds. */
void jout_nano(struct jout *j, const char *name, int64_t number);
/** Milliseconds since the epoch as a time of day: "2026-01-31T23:59:59.999Z" (RFC 3339). */
void jout_time(struct jout *j, const char *name, int64_t at_ms);
void jout_bool(struct jout *j, const char *name, bool truth);
void jout_null(struct jout *j, const char *name);
