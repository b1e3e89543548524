/*
 * csv - JSON of the API as a table that spreadsheets read (RFC 4180): a line for each value, by the columns
 * section, subject, measure, value. An element of an array of objects is the subject, called by those of its
 * members that say what it is (operation and result, tier, time …).
 *
 * Text that a spreadsheet would take for a formula (it begins with =, +, -, @ or a control character) gets an
 * apostrophe before it: names of models come from clients.
 *
 * Pure. Threads: any.
 */
#pragma once
#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

/** Appends the table. Errors: as buf_reserve. */
ATTR_MUST_USE int csv_of_json(struct slice json, struct buf *out);
