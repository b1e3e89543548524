/*
 * text - text from elsewhere made fit to be shown, and numbers as people read them. Pure but for the locale,
 * which says how wide a character is.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/** Copies @text, at most @cap - 1 bytes of it, without what could steer or confuse a terminal: control
 * characters, what turns the direction of writing, and bytes that are no UTF-8 become "?". @ascii: and
 * whatever else is not ASCII. */
void text_clean(const char *text, bool ascii, char *out, size_t cap);
/** How many columns of a terminal a cleaned text takes. */
size_t text_columns(const char *clean);
enum { TEXT_FIT_ROOM = 3 };
/** Shortens a cleaned text to @columns, with a sign that it was longer; there is room for TEXT_FIT_ROOM bytes
 * behind it. */
void text_fit(char *clean, size_t columns, bool ascii);

/* A number as text; each is at most 12 columns wide. */
struct short_text {
    char text[32];
};
struct short_text text_of_bytes(double bytes);     /* "512 B", "1.5 KiB", "500 MiB" */
struct short_text text_of_seconds(double seconds); /* "820 us", "1.25 s", "3 min 20 s", "2 d 3 h" */
struct short_text text_of_count(double count);     /* "1234", "12.3k", "4.56M" */
struct short_text text_of_ratio(double ratio);     /* "87.3 %" */
struct short_text text_of_dollars(double dollars); /* "$0.0042", "$12.34", "$1235" */
