/*
 * httpdate - dates as HTTP writes them, RFC 9110 section 5.6.7. Pure: no locale, no time zone, no libc
 * calendar.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"

enum { HTTPDATE_LEN = 29 };

/** Writes "Sun, 06 Nov 1994 08:49:37 GMT" and a NUL. @s: seconds since the epoch; held within the years 1 to
 * 9999. */
void httpdate_write(int64_t s, char out[HTTPDATE_LEN + 1]);

/**
 * Reads any of the three forms, in any case (RFC 9111 section 4.2), into seconds since the epoch. The name of
 * the day is not held against the date. A leap second counts as the second before it.
 * @now_s: wall clock, for a two-digit year: one that seems over 50 years ahead lies in the past.
 * false, and @out_s untouched, when it is none of them or no date; zones other than GMT are none.
 */
bool httpdate_parse(struct slice text, int64_t now_s, int64_t *out_s);
