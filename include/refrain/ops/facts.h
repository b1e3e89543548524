/*
 * facts - what alerts and recommendations look at beside counts (reading.h): which breakers and tiers are not
 * well and why, and what configuration says. Plain values, so that each can be tested without an instance;
 * whoever samples gathers them.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/metrics.h"
#include "refrain/http/breakers.h"
#include "refrain/store/tier.h"

enum { FACTS_BREAKERS_MAX = 32, FACTS_DIFFERENCES_MAX = 4, FACTS_NAME_BYTES = 64 };

/* A breaker of an upstream that is not closed; of several models the one that has been open longest. */
struct fact_breaker {
    char upstream[FACTS_NAME_BYTES + 1];
    enum breakers_kind kind;
    char model[BREAKERS_MODEL_BYTES + 1]; /* "": none */
    char cause[BREAKERS_CAUSE_BYTES];
    unsigned models; /* that have it open */
};

/* Configured tiers alone have one that is not TIER_UP. */
struct fact_tier {
    enum tier_health health;
    const char *why; /* static text */
};

/* In what alone so many recent requests differed from another: a thing that perhaps need not count in keys.
 */
struct fact_difference {
    enum fact_part { FACT_FIELD, FACT_HEADER, FACT_CREDENTIAL } part;
    const char *name; /* static text; NULL of a credential */
    unsigned n;
};

struct facts {
    struct fact_breaker breakers[FACTS_BREAKERS_MAX];
    size_t breakers_n;
    struct fact_tier tiers[LABEL_MAX_TIER];
    const char *instances_cut; /* why others are not heard any more, static text; NULL: they are, or there
                                * are none */
    struct fact_difference differences[FACTS_DIFFERENCES_MAX]; /* the most frequent first */
    size_t differences_n;
    unsigned compared; /* recent requests that were held against each other */

    /* configuration in force */
    uint64_t memory_bytes_max, disk_bytes_max, queue_bytes_max, object_bytes_max, buffered_bytes_max;
    unsigned connections_max, connections_per_address_max; /* 0: no bound */
    unsigned compression_level;                            /* 0: off */
    int64_t default_ttl_s;                                 /* negative: no end */
    int64_t stale_if_error_s;                              /* 0: off */
    bool compression_memory, coalescing, respect_cache_control, client_control, scope_shared, priced;
};
