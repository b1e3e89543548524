/*
 * chunks - bytes that one side appends and any number of others read, each at a place of its own: a run of
 * pieces that grows at its end, and whose front can be dropped once everyone has read it. What it holds is
 * taken from an allowance.
 *
 *   append ──►  [ last ] ◄─ … ◄─ [ first ]  ──► drop
 *                    ▲ cursor        ▲ cursor
 *
 * Threads: the owner's lock guards all of it. A byte that is there stays where it is, and what it is, until
 * its piece is dropped: what chunks_at names may be copied without the lock by whoever holds the cursor.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/http/limits.h"

struct chunk;

struct chunks {
    struct limits *limits;  /* whose allowance; set by the owner */
    size_t piece_bytes_max; /* bounds the pieces, which grow with the run; set by the owner */
    struct chunk *first, *last;
    uint64_t appended; /* bytes, all in all */
    uint64_t buffered; /* of them still here */
};

/* All zeros: before the first byte that is there. */
struct chunks_cursor {
    struct chunk *chunk;
    size_t at;
};

/** Gives back all; empty then, as at its beginning. No cursor may be used on, but set to zeros. */
void chunks_clear(struct chunks *c);
/** Copies @bytes to the end. 0; -ENOBUFS: the allowance is spent, -ENOMEM: what did not fit is not there. */
int chunks_append(struct chunks *c, struct slice bytes);
/** The bytes at @at, up to the end of a piece; empty at the end of all. Who takes some adds to @at->at. */
struct slice chunks_at(const struct chunks *c, struct chunks_cursor *at);
/** True when @at has the first piece behind it, and so would miss nothing of it. */
bool chunks_has_left_first(const struct chunks *c, struct chunks_cursor *at);
/** False where the first piece is the only one, or there is none. */
bool chunks_may_drop_first(const struct chunks *c);
/** Gives the first piece back; every cursor has left it. */
void chunks_drop_first(struct chunks *c);
/** True when all of it lies in one piece, of which @at has read nothing; @out has it then. */
bool chunks_in_one(const struct chunks *c, const struct chunks_cursor *at, struct slice *out);
/** The pieces, oldest first. Returns how many there are; at most @n are written. */
size_t chunks_pieces(const struct chunks *c, struct slice *out, size_t n);
