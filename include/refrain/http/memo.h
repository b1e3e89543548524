/*
 * memo - from a request's raw bytes to its key, so that a byte-identical repeat never parses JSON. SPEC
 * section 4.
 *
 * A bounded table from the GMAC of everything the key depends on to the key. Tags are compared whole, and
 * nobody outside can aim at one: the GMAC's key is the process's secret. Losing the memo loses nothing but
 * time.
 *
 * Threads: one memo and one hasher a worker; no locks.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/base/slice.h"
#include "refrain/policy/key.h"
#include "refrain/wire/header.h"

struct memo_value {
    struct digest key;
    uint64_t rules;              /* which match; see policy/rule.h */
    uint64_t own_operation : 16; /* the operator's own, counted from 1; 0: none */
    uint64_t caller : 48;        /* key_caller's */
};

struct memo;

/**
 * A table of at most @bytes_max, 576 at the least; memory is taken from the system as it fills.
 * NULL when there is no address space.
 */
struct memo *memo_new(size_t bytes_max);
void memo_free(struct memo *m);

/** What was put under @tag; NULL when nothing was, or it was pushed out. Good until the next call on @m.
 * O(1). */
const struct memo_value *memo_get(struct memo *m, const struct gmac_tag *tag);
/** Keeps @value under @tag, in place of what was there or of the least recently used of its like. O(1). */
void memo_put(struct memo *m, const struct gmac_tag *tag, const struct memo_value *value);
/** Forgets all, and gives the memory back. For reloads: what keys depend on may have changed. */
void memo_clear(struct memo *m);
/** Bytes of memory held: whole pages that were written to. */
size_t memo_bytes(const struct memo *m);

/*
 * Makes the tag of a request: begin, add each part in a fixed order, end. A part's length counts, so that no
 * two lists of parts have one tag. Short parts are gathered, since an update of the GMAC costs more than they
 * do.
 */
struct memo_hasher;
struct memo_hasher *memo_hasher_new(const uint8_t key[16]); /* aborts when out of memory */
void memo_hasher_free(struct memo_hasher *h);
void memo_hash_begin(struct memo_hasher *h);
void memo_hash_add(struct memo_hasher *h, struct slice part);
/** Adds name and value of every field that a key of @scope may depend on (key_reads_field). */
void memo_hash_add_fields(struct memo_hasher *h, const struct fields *fields, const struct key_scope *scope);
struct gmac_tag memo_hash_end(struct memo_hasher *h);
