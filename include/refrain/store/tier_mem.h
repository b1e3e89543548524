/*
 * tier_mem - memory as a tier of records: store_mem behind the contract of those below it. Not in the way of
 * requests, which ask store_mem itself; for what treats all tiers alike, and for whoever wants a tier that
 * cannot fail.
 */
#pragma once
#include "refrain/store/store_mem.h"
#include "refrain/store/tier.h"

/** NULL when out of memory. Free it by tier_free. */
struct tier *tier_mem_new(const struct store_mem_conf *conf, const char *name, enum metric_tier kind);
