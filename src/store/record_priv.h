/*
 * record_meta - what a record tells beside its body, as JSON: one row of a table a member, which is written
 * and read by it. docs/stored-form.md says what each means.
 */
#pragma once
#include "refrain/base/buf.h"
#include "refrain/store/entry.h"
#include "refrain/store/record.h"
#include "refrain/wire/header.h"

/* Lies with its user; large. Its parts borrow from the entry it was taken from, or from texts. */
struct record_meta {
    struct entry_parts parts; /* parts.body is the user's */
    struct slice body;
    struct field fields[FIELDS_MAX];
    uint64_t hits;
    struct buf texts; /* of record_meta_read */
};

/** Takes what @e tells. RECORD_TOO_LARGE: it has more than FIELDS_MAX fields. */
enum record_result record_meta_take(struct record_meta *m, const struct entry *e, uint64_t hits);
/** Appends @m's JSON. Errors: RECORD_CORRUPT, something in it could not be read back; RECORD_TOO_LARGE, over
 * @out's ceiling; RECORD_NO_MEMORY. */
enum record_result record_meta_write(const struct record_meta *m, struct buf *out);
/**
 * Reads what record_meta_write, of this version or a later one, has written. Every member that there was from
 * the beginning must be there, once; unknown ones are passed over. Errors: RECORD_CORRUPT, RECORD_FUTURE,
 * RECORD_NO_MEMORY; @m wants record_meta_done in any case.
 */
enum record_result record_meta_read(struct slice json, struct record_meta *m);
void record_meta_done(struct record_meta *m);
