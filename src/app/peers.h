/*
 * peers - the other instances that share a Redis (store/instances.h), as configuration has it, and what is
 * told of them: the log, counts for a scrape, a word for readiness.
 */
#pragma once
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/metrics.h"

struct config;
struct events;
struct fences;
struct flights;
struct instances;
struct invalidator;
struct proofs;
struct ledger;
struct store;

/* What they act on; outlives them. */
struct peers_parts {
    struct store *store;
    struct events *events;
    struct fences *fences;
    struct invalidator *invalidator;
    struct flights *flights;
    struct proofs *proofs;
    struct ledger *ledger; /* NULL: what cannot be told does not outlive the process */
};

/** Connects, and waits a moment until what was missed while this instance was down has been caught up. 0,
 * with NULL where there is no tiers.redis.url; -ENOMEM, and why has been logged. @parts must stay where it
 * is. */
int peers_make(const struct config *conf, const struct peers_parts *parts, struct instances **out);

/** NULL is fine. */
void peers_collect(struct instances *in, struct metrics *m);
/** As /readyz tells it, in the words of the tiers: "up", "connecting", "degraded" (cut off) or "off". */
const char *peers_link(struct instances *in);
