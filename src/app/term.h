/*
 * term - what standard output is: a terminal of some width, which may have colours, or something that other
 * programs read, which gets neither colours nor alignment.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "cli.h"

enum { TERM_WIDTH_DEFAULT = 80 };

enum tone { TONE_PLAIN, TONE_STRONG, TONE_FAINT, TONE_GOOD, TONE_WARN, TONE_BAD };

struct term {
    bool live;    /* a terminal */
    bool colours; /* --color, NO_COLOR and TERM allow them */
    bool ascii;   /* the locale has no UTF-8 */
    size_t width; /* columns; SIZE_MAX where it is no terminal */
};

/* --json and --color, of every command that prints something. */
extern const struct cli_flag output_flags[];

/** Looks at standard output, the flags and the environment; takes up the locale of the environment for
 * characters. */
void term_init(struct term *t, const struct cli *cli);
/** What switches to @tone, and back with TONE_PLAIN; "" without colours. */
const char *term_tone(const struct term *t, enum tone tone);
/** Prints cleaned text in a tone. */
void term_print(const struct term *t, enum tone tone, const char *text);
/** Writes a bar of @columns cells, filled by @ratio (0 to 1), to @out. */
void term_bar(const struct term *t, double ratio, size_t columns, char *out, size_t cap);
