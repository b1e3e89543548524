/*
 * JSON arrays, each element an event: `[{…},\r\n{…}]`. Only brackets and strings are followed; whether an
 * element is JSON is seen when it is told, as soon as its last bracket is there. A lone object is an array of
 * one, as some servers have it; what is neither never ends.
 */
#include "sse_priv.h"

enum state {
    BEFORE, /* the array */
    ALONE,  /* inside of an object that stands in no array */
    FIRST,  /* element, or the end */
    NEXT,   /* element */
    INSIDE, /* one */
    AFTER,  /* one */
    BEHIND, /* the array */
    WRONG,
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_within(enum state now)
{
    return now == INSIDE || now == ALONE;
}

/* Outside of elements; INSIDE or ALONE when @c begins one. */
static enum state step_outside(enum state now, char c)
{
    if (is_space(c))
        return now;
    switch (now) {
    case BEFORE:
        return c == '[' ? FIRST : c == '{' ? ALONE : WRONG;
    case FIRST:
        return c == ']' ? BEHIND : c == ',' ? WRONG : INSIDE;
    case NEXT:
        return c == ']' || c == ',' ? WRONG : INSIDE;
    case AFTER:
        return c == ',' ? NEXT : c == ']' ? BEHIND : WRONG;
    default:
        return WRONG;
    }
}

static void step_string(struct sse_reader *r, char c)
{
    if (r->array.escaped)
        r->array.escaped = false;
    else if (c == '\\')
        r->array.escaped = true;
    else if (c == '"')
        r->array.in_string = false;
}

/* Inside of an element: AFTER when @c is its last bracket; what stands behind a bare word (NEXT, BEHIND) when
 * @c ends that, being none of it. */
static enum state step_inside(struct sse_reader *r, enum state now, char c)
{
    if (r->array.in_string) {
        step_string(r, c);
        return now;
    }
    if (r->array.depth == 0 && (c == ',' || c == ']'))
        return c == ',' ? NEXT : BEHIND;
    if (c == '"')
        r->array.in_string = true;
    else if (c == '{' || c == '[')
        r->array.depth++;
    else if ((c == '}' || c == ']') && r->array.depth > 0)
        return --r->array.depth > 0 ? now : now == ALONE ? BEHIND : AFTER;
    return now;
}

int sse_array_feed(struct sse_reader *r, struct slice bytes)
{
    enum state now = (enum state)r->array.state;
    size_t begin = 0;
    int n = 0;

    for (size_t i = 0; i < bytes.len && n == 0; i++) {
        bool alone;

        if (!is_within(now)) {
            now = step_outside(now, bytes.data[i]);
            begin = i;
            if (!is_within(now))
                continue;
            r->array.depth = 0;
        }
        alone = now == ALONE;
        now = step_inside(r, now, bytes.data[i]);
        if (!is_within(now)) /* its last bracket belongs to it, what ends a bare word does not */
            n = sse_reader_tell(r, slice_make(bytes.data + begin, i - begin + (alone || now == AFTER)));
    }
    if (is_within(now) && n == 0)
        n = sse_reader_hold(r, slice_skip(bytes, begin));
    r->array.state = (uint8_t)now;
    r->at_boundary = now == BEHIND;
    return n;
}
