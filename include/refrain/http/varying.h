/*
 * varying - answers that vary on what is not in their key (policy/vary.h): variants of one common key.
 *
 *   common key ──► marker: an entry flagged ENTRY_VARY, whose `vary` field holds the names, whose id is the
 *                          family's, and whose body lists the variants there are
 *   variant key ─► the answer
 *
 * The family's id is part of every variant's key, so with its marker a family is gone as a whole: what an
 * invalidation took away cannot come back when the next answer makes a new marker.
 *
 * Threads: one at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/http/flight.h"
#include "refrain/http/site.h"
#include "refrain/policy/vary.h"
#include "refrain/store/entry.h"
#include "refrain/wire/header.h"

/* What is remembered of a request until its answer tells whether it matters. */
struct varying {
    const struct key_scope *scope;
    struct digest common; /* its key without Vary */
    struct field *said;   /* the fields that Vary may turn out to name; one allocation with their bytes */
    size_t said_n;
    char id[VARY_ID_LEN]; /* of the family */
    bool has_id, split;
    struct vary_list names;
    struct digest key; /* of the variant, when split */
};

/** Notes what a request of @op with these classified fields says; @scope is the site's. @id is empty, or of
 * the family that the flight named from which the request was sent away. Copies. */
void varying_begin(struct varying *v, const struct site *site, const struct key_scope *scope,
                   enum operation op, const struct digest *common, struct slice id, const struct field *at,
                   size_t n);
void varying_done(struct varying *v);

/** The head of the answer is in, and the gate lets others have it; @answer is what would be stored, so after
 * a 304 the stored fields as it updates them (RFC 9111 section 4.3.4). True when it varies: then @out is what
 * the readers of its flight are told apart by, and borrows from @v. */
bool varying_head(struct varying *v, const struct site *site, enum operation op, const struct fields *answer,
                  int64_t now_ms, struct flight_split *out);

/** Another instance has told whom an answer is for, as varying_head does: is it for this request? Then @out
 * is as there, and borrows from @v. */
bool varying_told(struct varying *v, struct slice names, struct slice id, const struct digest *key,
                  struct flight_split *out);

/**
 * Puts an answer where it belongs: a variant under a key of its own, with the marker that leads there; any
 * other under the common key, in place of a marker. Fills in the key of @parts.
 * Errors: as store_put; -ENOSPC when there are cache.max_variants already, or no memory tier to tell by how
 * many there are.
 */
int varying_put(struct varying *v, const struct site *site, struct entry_parts *parts, int64_t now_ms);

/** The key that a request with these fields gets by a marker. Allocates nothing but where a credential is
 * among the names. */
struct digest varying_key(struct sha256 *hash, const struct entry *marker, const struct field *at, size_t n,
                          const struct key_scope *scope);
