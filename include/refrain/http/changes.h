/*
 * changes - which targets an unsafe request changes: what was fetched of them before is of no use. RFC 9111
 * section 4.4.
 *
 * An entry's key cannot be told from its target: it has the caller and more in it. So each entry of a GET
 * carries a sum of its target, and a change is an invalidation by that sum, for all callers and variants at
 * once (store/invalidate.h).
 *
 * Pure. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/siphash.h"
#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

/** May a request by this method change what it is made to? All but those that are registered as safe (RFC
 * 9110 section 9.2.1); what nobody knows may. */
bool method_is_unsafe(struct slice method);

/** The key of these sums: of instances that share the server's secret it is the same. */
struct siphash_key changes_key(struct slice secret);
/** The sum of a target (origin-form, as upstream sees it) at an upstream of this name; never 0. Two that
 * share one cost an entry, never a wrong answer. */
uint64_t changes_sum(const struct siphash_key *key, struct slice upstream, struct slice target);

/* Whose target: origin-form, as upstream sees it. */
struct changes_place {
    struct slice upstream; /* its name */
    struct slice url;      /* scheme://authority[/prefix] */
    struct slice target;
};
enum { CHANGES_MAX = 8 };
/** An unsafe request to @place has succeeded with these fields (classified) in its answer: writes the sums of
 * what it has changed, the target and what Location and Content-Location name at the same origin. Returns how
 * many. */
size_t changes_of(const struct siphash_key *key, const struct changes_place *place,
                  const struct fields *answer, uint64_t out[CHANGES_MAX]);
