/*
 * changes - which targets an unsafe request has changed, and when: what was fetched before that is of no use.
 * RFC 9111 section 4.4.
 *
 * An entry's key cannot be told from its target: it has the caller and more in it. So it is not the entries
 * that are removed; the target is marked, for all callers and variants at once, and whoever finds an entry
 * asks whether it is older than its target's mark. An answer under way meanwhile is older, too.
 * The marks are a fixed table: targets that fall on the same place share one, which costs an entry now and
 * then, never a wrong answer; nothing is ever forgotten.
 *
 * Threads: every function, from any thread. Locks: none.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

/** May a request by this method change what it is made to? All but those that are registered as safe (RFC
 * 9110 section 9.2.1); what nobody knows may. */
bool method_is_unsafe(struct slice method);

struct changes;
/** NULL when out of memory. */
struct changes *changes_new(void);
void changes_free(struct changes *c);

/* Whose target: origin-form, as upstream sees it. */
struct changes_place {
    struct slice upstream; /* its name */
    struct slice url;      /* scheme://authority[/prefix] */
    struct slice target;
};
/** An unsafe request to @place has succeeded with these fields (classified) in its answer: of no use is what
 * was fetched before @seq (flights_seq) of the target, and of what Location and Content-Location name at the
 * same origin. */
void changes_note(struct changes *c, const struct changes_place *place, const struct fields *answer,
                  int64_t seq);
/** Is what was fetched by a flight of this @seq older than the last change of its target? */
bool changes_outdate(const struct changes *c, struct slice upstream, struct slice target, int64_t seq);
