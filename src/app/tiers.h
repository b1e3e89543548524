/*
 * tiers - the tiers that configuration asks for, built in their order into one store, and what is told of
 * them: counts for a scrape, a word for readiness.
 */
#pragma once
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/metrics.h"
#include "refrain/store/store.h"

struct config;
struct events; /* refrain/store/events.h */

/** The store over @memory (NULL: off) and all that lies below, whose records @keys seal (NULL: nothing does).
 * What happens to them is told to @events; what they owe outlives the process in @ledger, which may be NULL.
 * NULL: it cannot be, and why has been logged. Free it by
 * store_free. */
struct store *tiers_build(const struct config *conf, struct store_mem *memory, struct fences *fences,
                          const struct seal_keys *keys, struct events *events, struct ledger *ledger,
                          struct metrics *metrics);

/** Sets what tiers count themselves; for a scrape. */
void tiers_collect(struct store *s, struct store_mem *memory, struct metrics *m);

/* What has been told of records that could not be read. */
struct tiers_alerts {
    uint64_t told[RECORD_RESULTS];
    int64_t told_ms[RECORD_RESULTS];
};
/** Logs what has come since it last did. @now_ms is monotonic. Called every now and then, by one thread. */
void tiers_watch(struct store *s, struct tiers_alerts *a, int64_t now_ms);

/** Appends `{"memory":"up","disk":"down","redis":"off"}`: each tier's name and "up", "degraded", "down" or
 * "off". Errors: as buf_add. */
ATTR_MUST_USE int tiers_tell(struct store *s, const struct store_mem *memory, struct buf *out);
