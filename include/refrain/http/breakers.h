/*
 * breakers - the breakers of every upstream, shared by all workers; they outlive sites, so that a reload
 * forgets nothing. The machines are policy/breaker; here they get their locks, their place in the log
 * (changes only) and in /metrics. SPEC section 9.
 *
 * Two kinds for each upstream: one `validation` breaker, and an `availability` breaker for each model, up to
 * BREAKERS_MODELS_MAX of them; what comes past that shares one. A model that is closed and idle makes room.
 *
 * Threads: any. Each upstream has one short lock, held neither while logging nor over a callback. @now_ms is
 * monotonic (clock_mono_ms).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/metrics.h"
#include "refrain/base/slice.h"
#include "refrain/policy/breaker.h"
#include "refrain/policy/retry.h"

struct breakers;          /* all of them */
struct breakers_upstream; /* those of one upstream */
struct events;            /* store/events.h */

enum { BREAKERS_MODELS_MAX = 64, BREAKERS_MODEL_BYTES = 64, BREAKERS_CAUSE_BYTES = 96 };

struct breakers_conf {
    struct breaker_validation_conf validation;
    struct breaker_availability_conf availability;
};

/** NULL when out of memory. */
struct breakers *breakers_new(void);
/** Changes of state are events from here on (BREAKER). Before the first upstream is taken. */
void breakers_tell(struct breakers *b, struct events *events);
/** Every site must be gone. NULL is fine. */
void breakers_free(struct breakers *b);

/**
 * Those of the upstream named @name, made when there are none; @conf is theirs from here on. What they have
 * counted stays, unless the name now stands for another @url. Ends with breakers_leave; the upstream is
 * listed as long as someone has it. NULL when out of memory.
 */
struct breakers_upstream *breakers_take(struct breakers *b, const char *name, const char *url,
                                        const struct breakers_conf *conf, int64_t now_ms);
/** NULL is fine. */
void breakers_leave(struct breakers_upstream *u);

/* -- validation -- */

/** May an answer that now begins be stored, should it be good? False while open. */
bool breakers_may_store(struct breakers_upstream *u, int64_t now_ms);
/**
 * An answer was judged: @broken, for the reason @why (static text), or good. Once for each answer; what is
 * neither (a status, a policy, a client that left) is not told. While half-open this answer is the probe.
 * Returns whether a good answer may be stored.
 */
bool breakers_judged(struct breakers_upstream *u, bool broken, const char *why, int64_t now_ms);

/* -- availability -- */

/* A call that was let through. The caller's; plain values. */
struct breakers_ticket {
    struct breakers_upstream *of; /* NULL: none, or told already */
    unsigned cell, epoch;
    bool is_probe;
};

/** How a call for @model (empty: none) would go on if it began now: BREAKER_SHUT means that a stale answer is
 * better than to ask. Changes nothing, takes nothing. */
enum breaker_way breakers_look(struct breakers_upstream *u, struct slice model, int64_t now_ms);
/**
 * A call for @model is about to begin. On BREAKER_FREE and BREAKER_PROBE, and on BREAKER_SHUT without
 * fail_fast, it goes out, and @out ends in breakers_ended. On BREAKER_SHUT with fail_fast (*@out_refused) it
 * does not: *@out_wait_ms tells when to come again, and @out is empty.
 */
enum breaker_way breakers_admit(struct breakers_upstream *u, struct slice model, int64_t now_ms,
                                struct breakers_ticket *out, bool *out_refused, int64_t *out_wait_ms);

enum breakers_outcome {
    BREAKERS_ANSWERED, /* by whatever status but those below */
    BREAKERS_FAILED,   /* no connection, no answer in time, not HTTP, cut; 502, 503, 504 */
    BREAKERS_UNKNOWN,  /* given up before it told anything: a probe is given back */
};
/** The call's head is in: a probe has done its work, however long the rest takes. @why is static text. */
void breakers_answered(struct breakers_ticket *t, enum breakers_outcome how, const char *why, int64_t now_ms);
/** The call has ended. Clears @t; harmless on an empty one. */
void breakers_ended(struct breakers_ticket *t, enum breakers_outcome how, const char *why, int64_t now_ms);

/* -- retries: their budget belongs to the upstream, too (policy/retry) -- */

/** A request goes out for the first time. */
void breakers_earn_retry(struct breakers_upstream *u, const struct retry_conf *conf, int64_t now_ms);
/** Takes a further try out of the budget; false: there is none. */
bool breakers_spend_retry(struct breakers_upstream *u, int64_t now_ms);

/* -- operators -- */

enum breakers_kind { BREAKERS_VALIDATION, BREAKERS_AVAILABILITY };
/** "validation", "availability" */
const char *breakers_kind_name(enum breakers_kind kind);
/** "closed", "half_open", "open" */
const char *breakers_state_name(enum breaker_state state);

struct breakers_state {
    const char *upstream;
    enum breakers_kind kind;
    struct slice
        model; /* availability's: may be empty (calls without one), or "other" for all past the bound */
    enum breaker_state state;
    const char *cause;     /* of the last change; "" when there was none */
    int64_t for_ms;        /* in this state for so long */
    int64_t next_probe_ms; /* until a probe may go; 0: it may, or is under way; -1: closed, or held by hand */
    unsigned level;        /* validation's: how many times in a row it has opened */
    unsigned failed;       /* validation: net broken answers; availability: failed calls in the window */
    unsigned calls;        /* availability: calls in the window */
    bool held;             /* by an operator, until another command */
};
/** Calls @each for every breaker, those of one upstream together; changes nothing. What @state points to is
 * valid during the call. */
void breakers_each(struct breakers *b, int64_t now_ms,
                   void (*each)(void *arg, const struct breakers_state *state), void *arg);
/** false: no upstream of that name. On availability it concerns every model. */
bool breakers_command(struct breakers *b, struct slice upstream, enum breakers_kind kind,
                      enum breaker_command command, int64_t now_ms);

/** Sets breaker_state (of availability the worst of all models) and the counts of changes; for a scrape. */
void breakers_show(struct breakers *b, struct metrics *m, int64_t now_ms);
