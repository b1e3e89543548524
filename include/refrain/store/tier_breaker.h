/*
 * tier_breaker - a tier that is given a rest while it does not answer: wraps any other and is one itself, so
 * that who asks need not know. Shared by all ports. SPEC section 9.
 *
 *   closed ──failures in a row──► open ──after a while, or when the tier says it is up──► half-open
 *      ▲                           ▲                                                        │ one probe
 *      └──────────── it answered ──┼───────────────── it did not: twice as long ────────────┘
 *
 * While it is open every question comes back at once (TIER_DOWN), without reaching the tier. When its time is
 * over, a question that nobody waits for (tier_op.spare) is the probe, so that no request pays for it; a tier
 * that says it is up again may be tried by any. Time-outs,
 * failures and being down count against a tier; that it has nothing, or no room, or may not write does not:
 * it has answered. What walks over a whole tier (scan, delete_if) counts for nothing either way.
 *
 * Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/store/tier.h"

struct tier_breaker_conf {
    unsigned failures;       /* in a row, until it opens */
    int64_t open_ms;         /* for how long, the first time, … */
    int64_t open_ms_max;     /* … and at most */
    int64_t (*now_ms)(void); /* monotonic; NULL: clock_mono_ms */
    /* It has opened (again), or closed. On whatever thread found out; no lock is held. NULL: nobody cares. */
    void (*on_change)(void *arg, struct tier *t);
    void *arg;
};

/** Takes @inner, which goes with it. NULL when out of memory; @inner is freed then. */
struct tier *tier_breaker_new(struct tier *inner, const struct tier_breaker_conf *conf);

/** The tier that @t wraps; @t is one that tier_breaker_new made. */
struct tier *tier_breaker_inner(struct tier *t);

enum tier_breaker_is { TIER_BREAKER_CLOSED, TIER_BREAKER_HALF_OPEN, TIER_BREAKER_OPEN };
struct tier_breaker_state {
    enum tier_breaker_is is;
    bool forced;                      /* by an operator: stays until it is taken back */
    unsigned failures;                /* in a row */
    unsigned rests;                   /* since it was last closed */
    enum tier_result cause;           /* the last of them */
    int64_t since_ms;                 /* monotonic: of this state */
    int64_t probe_in_ms;              /* open: until a probe is let through; 0: the next question is one */
    uint64_t opened, closed, refused; /* how often; and how many questions were kept from the tier */
};
/** The inner tier's port behind @p: for what is no question of every tier's (store_disk_meta_get). */
struct tier_port *tier_breaker_inside(struct tier_port *p);

/** @t is one that tier_breaker_new made. */
void tier_breaker_look(struct tier *t, struct tier_breaker_state *out);

enum tier_breaker_order { TIER_BREAKER_DO_OPEN, TIER_BREAKER_DO_CLOSE, TIER_BREAKER_DO_RESET };
/** An operator's word: keep it open, keep it closed, or let it judge again, from closed. */
void tier_breaker_order(struct tier *t, enum tier_breaker_order order);
