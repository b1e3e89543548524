/*
 * given - header fields as a row of a test's table writes them, and the table of names that tells what they
 * mean: what the tests of policy have in common. Included after cmocka.
 */
#pragma once
#include "refrain/wire/header.h"

enum { GIVEN_MAX = 4 }; /* in a row */

struct given {
    const char *name, *value;
};

static struct header_table *table; /* between make_table and free_table */

static int make_table(void **state)
{
    (void)state;
    table = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    return table ? 0 : -1;
}

static int free_table(void **state)
{
    (void)state;
    header_table_free(table);
    return 0;
}

/* The fields of a row, not classified. */
static void given_fill(struct fields *out, const struct given *given)
{
    out->n = 0;
    for (int i = 0; i < GIVEN_MAX && given[i].name; i++)
        assert_int_equal(fields_add(out, slice_str(given[i].name), slice_str(given[i].value)), 0);
}
