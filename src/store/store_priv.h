/*
 * store_priv - what the files of the store share of it.
 */
#pragma once
#include <stddef.h>

#include "refrain/base/loop.h"
#include "refrain/store/store.h"

struct fences;
struct invalidator; /* invalidate.c */

/** The memory tier; NULL: it is off. Threads: any. */
struct store_mem *store_memory(struct store *s);
/** The store thread's loop; NULL: there are no lower tiers, and no such thread. Threads: any. */
struct loop *store_loop(struct store *s);
/** How many lower tiers there are. Threads: any. */
size_t store_lower_n(const struct store *s);
/** The store thread's own port of lower tier @i. Thread: the store's. */
struct tier_port *store_lower_port(struct store *s, size_t i);
/** Threads: any. */
struct invalidator *store_invalidator(struct store *s);

/** What invalidate.c keeps of a store: made and freed with it, before its thread begins and after it has
 * ended. NULL when out of memory. */
struct invalidator *invalidator_new(struct store *s);
void invalidator_free(struct invalidator *inv);
/** On the store thread, before the lower ports are closed: what is under way comes back first. */
void invalidator_close(struct invalidator *inv);
