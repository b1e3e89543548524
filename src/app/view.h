/*
 * view - a list of an answer as a table: which members of its items are columns, and how their values read.
 * On a terminal people's units ("1.5 MiB", "2 h 5 min"); elsewhere what the API says (1572864, 7500), under
 * its names.
 */
#pragma once
#include "table.h"

struct node;

enum form {
    FORM_TEXT,
    FORM_TITLE, /* in the tone of its row */
    FORM_COUNT,
    FORM_BYTES,
    FORM_SECONDS,
    FORM_RATIO,
    FORM_DOLLARS,
    FORM_BAR,   /* a ratio, with a bar */
    FORM_WORDS, /* a list */
};

struct view_column {
    const char *title, *path; /* of the member, dotted */
    enum form form;
    bool shrinks, below;
    unsigned drop;
    const char *empty;     /* what "" means; NULL: itself */
    const char *otherwise; /* of a member that is null or not there, on a terminal; NULL: "-" */
};

struct view {
    const struct view_column *columns;
    size_t n;
    enum tone (*tone)(const struct node *item); /* of FORM_TITLE's cells; NULL: plain */
};

/** A value of @item as the column has it. */
void view_format(const struct node *item, const struct view_column *c, const struct term *term, char *out,
                 size_t cap);
/** A table for it, as table_new. */
struct table *view_table(const struct view *v, const struct term *term);
/** One row. @name, which may be NULL, stands in the first column whatever @item has there. */
void view_add(const struct view *v, struct table *t, const struct term *term, const struct node *item,
              const char *name);
