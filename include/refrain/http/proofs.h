/*
 * proofs - what upstream last said of each credential. SPEC section 4: under `scope: credential` a 401 takes
 * a credential's hits away until a request of it succeeds, and `cache.reauth` bounds how old a success may be
 * that hits go by.
 *
 * A bounded table of callers, who are named by a digest of credential and upstream (key_caller). When it is
 * full the record untouched for longest makes room, one of a success before one of a refusal: who is
 * forgotten counts as never refused, and as never proven.
 *
 * Threads: every function, from any thread. Locks: one a shard, a leaf, held for a walk over 8 records; a
 * look takes none while nobody is refused and no bound on age is set.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct proofs;
/** NULL when out of memory. */
struct proofs *proofs_new(void);
void proofs_free(struct proofs *p);

/** Upstream has answered 401 at @now_ns (monotonic, as all times here, in ns). True: it is news. */
bool proofs_refused(struct proofs *p, uint64_t caller, int64_t now_ns);
/** A call begun at @began_ns has succeeded. One that began before a refusal says nothing against it. True:
 * hits were taken away until now. With @remember the time is kept for proofs_hold. */
bool proofs_accepted(struct proofs *p, uint64_t caller, int64_t began_ns, bool remember);

/** May @caller have what is stored? @age_max_ns bounds the age of its last success; 0: no bound. */
bool proofs_hold(struct proofs *p, uint64_t caller, int64_t age_max_ns, int64_t now_ns);

/** How many are refused now. */
uint64_t proofs_refused_n(const struct proofs *p);
