/*
 * revalidate - asking upstream whether a stored answer is still good, and what its 304 makes of it. RFC 9111
 * sections 3.2, 4.3.1 and 4.3.4. What the answers mean is policy/valid's.
 *
 * Threads: one at a time; the entry is held by its reference.
 */
#pragma once
#include <stdbool.h>

#include "refrain/http/flight.h"
#include "refrain/policy/valid.h"
#include "refrain/store/entry.h"
#include "refrain/wire/header.h"

enum { REVALIDATE_FIELDS_MAX = 2 };

/** What the stored answer is known by, to clients. */
void revalidate_tags(const struct entry *e, struct valid_tags *out);

/** Writes the conditions to ask upstream with, which borrow from @e; returns how many: 0 when there is
 * nothing to ask by. */
unsigned revalidate_conditions(const struct entry *e, struct field out[REVALIDATE_FIELDS_MAX]);

/** What upstream's answer to HEAD, whose length is in body_len, tells of the stored answer. Where they are
 * not coded alike it is about another representation, and tells nothing. */
enum valid_description revalidate_describes(const struct entry *e, const struct flight_head *head);

/**
 * Upstream's "unchanged" is in the flight's head: makes of it the stored answer's head, brought up to date.
 * Fields for one caller alone stay marked as such, those of the connection are gone.
 * false: memory ran out, or there are too many fields.
 */
bool revalidate_merge(struct flight *f, const struct entry *e, const struct header_table *headers);
