/*
 * ledger_line - one line of a ledger: what a tier has still to drop. Texts are coded as between instances
 * (instances_msg.h), so that a line is always one, and is judged as a whole when it is read.
 *
 *   redis 1795282714123456 {"v":1,"type":"CACHE_INVALIDATED",…,"which":{"tag":"red"}}
 *
 * Pure, but for the clock that bounds times from the future. Threads: any.
 */
#pragma once
#include "instances_msg.h"
#include "refrain/store/ledger.h"

/** Appends one with its newline. Errors: as instances_msg_write. */
int ledger_line_add(struct buf *out, const char *tier, int64_t seq, const struct selector *which);
/** false: it is none. @out_tier borrows of @line, @out->which of @out. *@out_seq is at most a minute ahead of
 * the clock, whatever the line says: a fence from far in the future would hold back all there is to come. */
bool ledger_line_read(struct slice line, struct slice *out_tier, int64_t *out_seq, struct instances_msg *out);
