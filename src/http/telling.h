/*
 * telling - what becomes of requests and answers, as events (store/events.h): HIT and MISS of a request that
 * has ended, STORED of an answer that the gate let through. Names and numbers only: no prompt, answer,
 * credential or key. docs/events.md tells the members.
 *
 * Threads: any. Where nobody listens, one relaxed load.
 */
#pragma once
#include "refrain/base/slice.h"

struct account;
struct events;
struct entry_parts;

/** A request has ended like this. */
void telling_request(struct events *e, const struct account *a);
/** An answer of these @parts has been stored; @request_id is of the request that upstream was asked by. */
void telling_stored(struct events *e, const struct entry_parts *parts, struct slice request_id);
