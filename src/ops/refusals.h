/*
 * refusals - when a refused call is worth a line of the log: the first of its kind from an address, then how
 * many more there were, and never so often as its sender likes.
 *
 * A kind and an address that was told is silent for REFUSALS_FIRST_MS, then its count is told, if there is
 * one, and it is silent for REFUSALS_NEXT_MS, and so on until nothing more comes. Past REFUSALS_MAX of them,
 * the address is "others".
 *
 * Threads: one at a time. Time is an argument.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REFUSALS_MAX = 64, REFUSALS_FIRST_MS = 3000, REFUSALS_NEXT_MS = 60000, REFUSALS_FROM_BYTES = 64 };

struct refusals;

/** Aborts when out of memory. */
struct refusals *refusals_new(void);
void refusals_free(struct refusals *r);

/** One of @kind (static text) came from @from, at @now_ms (monotonic). true: it is to be told now. */
bool refusals_note(struct refusals *r, const char *kind, const char *from, int64_t now_ms);

/** Calls @tell for each that has more to tell by @now_ms: @times of them since the last line, in @seconds.
 * @all: whether it is time or not, since nothing will be told later. */
void refusals_tell(struct refusals *r, int64_t now_ms, bool all,
                   void (*tell)(const char *kind, const char *from, uint64_t times, int64_t seconds));
