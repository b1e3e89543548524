/*
 * selector - which entries are meant: by an invalidation, a listing, a search. Everything that is given must
 * match; what is empty or zero matches all. SPEC section 8.
 *
 * Pure: no clock, no locks, no allocation but a copy's. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/base/slice.h"

/* What is known of an entry without looking at its body. Borrowed. */
struct label {
    struct digest key;
    struct slice id; /* ENTRY_ID_LEN hex digits */
    struct slice namespace_, operation, model;
    struct slice tags;   /* comma-separated */
    uint64_t target;     /* sum of a GET's upstream and target (changes); 0: not a GET's */
    int64_t created_ms;  /* wall clock */
    int64_t started_seq; /* flights_seq of its fetch */
    bool family; /* no answer, but what leads to the variants of one (ENTRY_VARY): not counted as an entry */
};

struct entry; /* entry.h */
/** What @e tells of itself, borrowed from it. */
struct label label_of(const struct entry *e);

struct selector {
    struct slice id;           /* whole */
    struct slice pattern;      /* glob over the entry's name without prefix: NAMESPACE:OPERATION:MODEL:HEX */
    struct slice tag;          /* one of its tags, whole */
    struct slice operation;    /* whole */
    struct slice model;        /* glob */
    struct slice namespace_;   /* whole */
    int64_t created_before_ms; /* wall clock; 0: of any age */
    uint64_t target;           /* 0: any */
};

bool selector_matches(const struct selector *s, const struct label *l);
/** True when both mean the same, word for word. */
bool selector_eq(const struct selector *a, const struct selector *b);
/** A copy whose texts lie in *@out_own, on the heap; -ENOMEM. */
int selector_copy(const struct selector *s, struct selector *out, char **out_own);
/** True when nothing is given, so that every entry is meant. */
bool selector_is_all(const struct selector *s);
