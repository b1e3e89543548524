/*
 * slice - borrowed bytes: a pointer and a length, never owned, not NUL-terminated.
 * Whoever hands out a slice says how long it stays valid.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *data;
    size_t len;
};

/* A slice of a string literal; usable in static initialisers. */
#define SLICE(lit)                                                                                           \
    {                                                                                                        \
        ("" lit), sizeof(lit) - 1                                                                            \
    }
#define SLICE_OF(lit) ((struct slice)SLICE(lit))

static inline struct slice slice_make(const void *data, size_t len)
{
    return (struct slice){(const char *)data, len};
}

static inline struct slice slice_str(const char *text)
{
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Equal when ASCII letters' case is ignored; for header names and tokens, never for user text. */
static inline bool slice_ieq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_starts(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

static inline bool slice_ends(struct slice s, struct slice suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.data + (s.len - suffix.len), suffix.data, suffix.len) == 0);
}

/* What is left of @s after its first @n bytes; empty when it is shorter. */
static inline struct slice slice_skip(struct slice s, size_t n)
{
    if (s.len == 0)
        return s; /* its data may be NULL, to which nothing may be added */
    return n >= s.len ? (struct slice){s.data + s.len, 0} : (struct slice){s.data + n, s.len - n};
}

/* Without the spaces and tabs at both ends (RFC 9110 section 5.6.3, OWS). */
static inline struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/*
 * Cuts the part before the first @sep off the front of *@rest and returns it; *@rest then starts behind the
 * separator. Without a separator all of *@rest is returned and *@rest becomes {NULL, 0}, which ends a loop:
 * `while (rest.data) { part = slice_cut(&rest, ','); … }`.
 */
static inline struct slice slice_cut(struct slice *rest, char sep)
{
    const char *at = rest->len ? (const char *)memchr(rest->data, sep, rest->len) : NULL;
    struct slice part = *rest;

    if (at) {
        part.len = (size_t)(at - rest->data);
        *rest = slice_skip(*rest, part.len + 1);
    } else {
        *rest = (struct slice){NULL, 0};
    }
    return part;
}
