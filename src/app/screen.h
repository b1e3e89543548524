/*
 * screen - a terminal taken over for a while, by ncurses: lines of text in tones, keys, signals. It is given
 * back as it was when screen_free is called, which a signal that ends the process leads to as well:
 * screen_next reports it. One thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "refrain/base/attr.h"
#include "term.h"

struct pollfd;

enum { SCREEN_FDS = 2 };
struct screen {
    bool colours, ascii;
    int rows, columns;
    int row, column; /* where the next text goes */
    int signals;     /* a signalfd */
    void *handle;
};

/** Takes the terminal over. NULL after telling why not. */
struct screen *screen_new(const struct term *term);
void screen_free(struct screen *s);

enum screen_event {
    SCREEN_NOTHING,
    SCREEN_KEY,     /* *out_key */
    SCREEN_RESIZED, /* draw anew */
    SCREEN_ENDED,   /* *out_key is the signal that asks to end; 0: the terminal is gone */
};
/** What came, one after another until SCREEN_NOTHING; never waits. */
enum screen_event screen_next(struct screen *s, int *out_key);
/** What to wait for; @fds has SCREEN_FDS places. */
void screen_fds(const struct screen *s, struct pollfd *fds);

/** Begins a picture. */
void screen_begin(struct screen *s);
/** Appends text to the line, cut at the right border; it is cleaned. Nothing below the last row but one,
 * which screen_footer has. */
void screen_put(struct screen *s, enum tone tone, const char *fmt, ...) ATTR_PRINTF(3, 4);
void screen_line_end(struct screen *s);
/** Puts the last row's text and shows the picture. */
void screen_end(struct screen *s, const char *footer);
/** Rows left above the last. */
int screen_rows_left(const struct screen *s);
