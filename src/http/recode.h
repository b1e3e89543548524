/*
 * recode - has the memory tier keep an entry in another coding, by the thread pool, off the way of requests:
 * with its identity copy, once somebody wanted that of a gzip-coded one; gzip-coded, where memory is to hold
 * more (compression.memory). SPEC sections 6 and 8. Whatever comes between, nothing happens.
 *
 * Threads: any worker's, on its own loop.
 */
#pragma once
#include "refrain/base/digest.h"
#include "refrain/http/site.h"

/** Has the entry of @key keep its identity copy. One at a time of a key: who asks meanwhile asks in vain. */
void recode_with_identity(struct site *s, struct loop *l, const struct digest *key);
/** Has the entry of @key, just stored, gzip-coded, if configuration asks for that. */
void recode_shrunk(struct site *s, struct loop *l, const struct digest *key);
