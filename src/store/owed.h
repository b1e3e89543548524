/*
 * owed - single deletions that a tier could not make: it was away, or late. Until one has been made, or what
 * lay there has been written over, nothing of that key is believed from that tier; ledger.h has it outlive
 * the process. Past OWED_MAX of a tier it is coarser: all that the tier has from before is not believed, and
 * is deleted as a whole.
 *
 * Threads: any, but for what says otherwise. A lock of its own, a leaf but for the ledger's.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/store/ledger.h"
#include "refrain/store/tier.h"

enum { OWED_MAX = 4096, OWED_TEXT_BYTES = 1024 };

struct owed;
/** @l may be NULL. Begins with what it holds. NULL when out of memory. */
struct owed *owed_new(struct ledger *l, struct tier *const *lower, size_t lower_n);
/** The ledger is told what is left. The ports are closed, and the store thread has ended. NULL is fine. */
void owed_free(struct owed *o);

/** The tiers of @tiers (bits) have still to drop the entry of @l: key, namespace, operation, model. */
void owed_add(struct owed *o, const struct label *l, unsigned tiers);
/** Each of @tiers has nothing under @key any more but what was put later than @seq: INT64_MAX: nothing. */
void owed_done(struct owed *o, const struct digest *key, unsigned tiers, int64_t seq);

/** Whatever lies under @key in tier @at was deleted. Nothing owed at all: one atomic load. */
bool owed_has(struct owed *o, const struct digest *key, size_t at);
/** The same of whatever began before @seq, of any key. One atomic load. */
bool owed_means(const struct owed *o, size_t at, int64_t seq);

struct owed_one {
    struct label label; /* borrows below */
    char texts[OWED_TEXT_BYTES];
};
/** The next that tier @at should be asked for; not the same again within a second. false: none. */
bool owed_next(struct owed *o, size_t at, struct owed_one *out);
/** Asks tier @at, by @p, to drop all from before where so much is owed. Thread: @p's. */
void owed_clear_old(struct owed *o, size_t at, struct tier_port *p);
/** Does tier @at owe anything? */
bool owed_any(struct owed *o, size_t at);

/** Writes to the ledger what has changed. Blocks for as long as a small file takes to be synced. */
void owed_keep(struct owed *o);
