/*
 * jscan - looks at answers' JSON without building it: is it JSON, and what is one top-level member? RFC 8259.
 * Answers are judged on every miss and events by the hundred, and all that is asked of them is this much.
 * Pure: allocates nothing but what jscan_decode appends, no locks. Canonical forms of requests are canon's.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

enum { JSCAN_DEPTH_MAX = 2048 };

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

/* --- going through objects and arrays --- */

struct jscan_value {
    enum jscan_kind kind;
    struct slice text; /* as jscan_member gives it */
};

struct jscan_item {
    struct slice name; /* of a member, undecoded; empty in an array */
    struct jscan_value value;
};

/* Where in an object or array one is. */
struct jscan_walk {
    const char *at, *end;
    bool object;
};
/**
 * Begins a walk over the members of an object or the elements of an array, in their order; over nothing when
 * @value is of another kind. In text that is not JSON a walk ends at or before the fault.
 */
struct jscan_walk jscan_walk(struct jscan_value value);
/** The next one; false at the end. */
bool jscan_next(struct jscan_walk *w, struct jscan_item *out);

/** The value that @text is. */
struct jscan_value jscan_root(struct slice text);
/** The first member of @object of that name; of kind JSCAN_ABSENT where it has none, or is none. */
struct jscan_value jscan_get(struct jscan_value object, struct slice name);
/** True for null, "", [], {} and what is absent. */
bool jscan_is_empty(struct jscan_value value);
bool jscan_is(struct jscan_value value, struct slice string); /* a string, compared undecoded */
/** A whole number from 0 to 2^53; @otherwise when it is none. */
int64_t jscan_count(struct jscan_value value, int64_t otherwise);

/**
 * Appends what a JSON string says, as UTF-8; @string is its text without the quotes, undecoded. Errors,
 * nothing being appended then: -EBADMSG, an escape that there is none of, or half a surrogate pair; as
 * buf_reserve. What it appends is never longer than @string.
 */
ATTR_MUST_USE int jscan_decode(struct slice string, struct buf *out);

/* --- JSON that comes in pieces --- */

/* Whether pieces add up to one JSON value, and no piece is kept. Their UTF-8 is not looked at. */
struct jscan_text {
    uint8_t state, rest; /* of a word: which, and how much is still to come; of a \u: its digits */
    uint16_t depth;
    bool some; /* something other than white space came */
    uint64_t objects[JSCAN_DEPTH_MAX / 64];
};
void jscan_text_init(struct jscan_text *t);
void jscan_text_feed(struct jscan_text *t, struct slice bytes);
/** Feeds what a JSON string says: @string is its text without the quotes, undecoded. */
void jscan_text_feed_string(struct jscan_text *t, struct slice string);
/** True when what has come is exactly one JSON value, nested at most JSCAN_DEPTH_MAX deep. */
bool jscan_text_valid(const struct jscan_text *t);
