/*
 * range - which part of a stored whole a request asks for. RFC 9110 section 14. Pure.
 */
#pragma once
#include <stdint.h>

#include "refrain/base/slice.h"

enum range_verdict {
    RANGE_WHOLE,   /* none that is understood: Range is ignored (section 14.2) */
    RANGE_PART,    /* one */
    RANGE_NONE,    /* one that lies outside: 416 */
    RANGE_SEVERAL, /* more than one: for upstream to answer */
};
/** Reads the value of Range for a representation of @length bytes. On RANGE_PART @out_first and @out_last are
 * set, both inclusive. */
enum range_verdict range_read(struct slice value, uint64_t length, uint64_t *out_first, uint64_t *out_last);
