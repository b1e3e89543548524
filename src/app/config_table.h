/*
 * config_table - every option there is, a row each. Adding one is a row and a field in config.h: in
 * config_table.c, or in config_table_items.c where it is of an upstream, a route, a rule or the like.
 */
#pragma once
#include <stddef.h>

#include "config.h"
#include "option.h"

enum section_kind {
    SECTION_ROOT,  /* struct config itself */
    SECTION_NAMED, /* a map of names to items */
    SECTION_LIST,  /* a list of items */
};

struct option_section {
    enum section_kind kind;
    const char *name; /* "upstreams"; "" of the root */
    const struct option_row *rows;
    size_t rows_n;
    size_t item_size, items_offset, count_offset; /* of a counted array in struct config */
    size_t name_offset;                           /* SECTION_NAMED: a const char * in the item */
    const char *key;  /* SECTION_LIST: it may be written as a map, whose names are this option of its items */
    bool never_empty; /* given without an item it is a fault: that would mean the opposite of what it looks
                         like */
};

enum { OPTION_SECTIONS = 8 };
extern const struct option_section *const option_sections[OPTION_SECTIONS]; /* the root comes first */

/* What a group is for; groups in the order of the reference. */
struct option_group {
    const char *name, *help;
};
extern const struct option_group option_groups[];
extern const size_t option_groups_n;

/* Operations that are there as if the operator had named them. */
struct shipped_operation {
    const char *name, *ttl;
};
extern const struct shipped_operation shipped_operations[];
extern const size_t shipped_operations_n;

/* What a preset sets. */
struct preset_row {
    const char *preset, *name, *text;
};
extern const struct preset_row preset_rows[];
extern const size_t preset_rows_n;
