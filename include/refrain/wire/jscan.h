/*
 * jscan - looks at answers' JSON without building it: is it JSON, and what is one top-level member? RFC 8259.
 * Answers are judged on every miss and events by the hundred, and all that is asked of them is this much.
 * Pure: allocates nothing, no locks. Canonical forms of requests are canon's.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/slice.h"

enum { JSCAN_DEPTH_MAX = 512 };

/** True when @text is exactly one JSON value in UTF-8, nested at most JSCAN_DEPTH_MAX deep. Numbers of any
 * size are good, and so are duplicate members and any escape. */
bool jscan_valid(struct slice text);

enum jscan_kind {
    JSCAN_ABSENT,
    JSCAN_NULL,
    JSCAN_BOOL,
    JSCAN_NUMBER,
    JSCAN_STRING,
    JSCAN_ARRAY,
    JSCAN_OBJECT
};

/**
 * Kind of the first top-level member called @name, which is compared with the text undecoded. @out_value,
 * when not NULL, gets its text, a string's without the quotes and undecoded; untouched on JSCAN_ABSENT. For
 * text that is not JSON or was cut short it tells what stands before the fault.
 */
enum jscan_kind jscan_member(struct slice text, struct slice name, struct slice *out_value);
