/*
 * header_rows - what each field name means to Refrain, as shipped: one row a name. A name without a row is
 * keyed, forwarded and stored (SPEC section 4: a deny-list, never an allow-list).
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"

struct header_row {
    struct slice name; /* lower case; a trailing `*` makes it a prefix */
    uint32_t flags;    /* HEADER_* and an enum header_id */
};

extern const struct header_row header_rows[];
extern const size_t header_rows_n;
