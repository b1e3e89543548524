/*
 * table - rows of cells onto standard output. On a terminal: aligned, under a header, cut to its width with a
 * sign, in colours where it has them. Elsewhere: a header and a line a row, cells separated by one tab,
 * nothing cut, for cut(1) and awk(1).
 */
#pragma once
#include "term.h"

struct table_column {
    const char *title; /* on a terminal */
    const char *name;  /* elsewhere; NULL: the same */
    bool right;        /* numbers */
    bool shrinks;      /* may be cut where the terminal is too narrow */
    bool below;        /* a sentence: on a terminal it stands below its row, filled */
    unsigned drop;     /* left out where it is narrower still, the highest first; 0: never */
};

struct table;
/** Aborts without memory, as all that is made of a pool. @columns are copied, what they point to is borrowed.
 */
struct table *table_new(const struct term *term, const struct table_column *columns, size_t n);
void table_free(struct table *t);
/** The next cell, row by row; @text is cleaned (text.h). */
void table_add(struct table *t, const char *text, enum tone tone);
/** Prints the rows that are complete, the first time below the header. Columns never become narrower than
 * before. */
void table_flush(struct table *t);
