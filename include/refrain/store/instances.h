/*
 * instances - what the instances that share a Redis tell each other: what has been invalidated, which targets
 * have changed, which credentials upstream refuses; and who is there. SPEC section 8, decisions/0021.
 *
 *   instances_invalidate ──► this instance's tiers (invalidate.h)
 *                        └─► log PREFIX:{events}:log ──PUBLISH PREFIX:events, to wake──► every other instance
 *            answers on PREFIX:events:ID ◄── counts ◄── its memory and its own disk, fence first ◄──┘
 *
 * The log is a bounded Stream whose entries are numbered without a gap, so that who reads it knows whether it
 * has missed something: then memory and the own disk are dropped whole. Where an instance has got to in the
 * log lies beside the disk tier, and what was invalidated while it was down is caught up at its start. What
 * cannot be told, Redis being away, is kept in a bounded list and told later.
 *
 * It has a thread of its own: what another instance invalidates must not wait behind what is being stored.
 *
 * Threads: any, but for making and freeing.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/list.h"
#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/base/slice.h"
#include "refrain/store/events.h"
#include "refrain/store/invalidate.h"
#include "refrain/store/redis.h"

struct instances;
struct ledger;          /* ledger.h */
struct store_disk_meta; /* store_disk.h */

enum { INSTANCES_OTHERS_MAX = 64, INSTANCE_NAME_BYTES = 64, INSTANCES_ANSWER_MS = 1000 };

/* What an operator should hear of: once for each change. */
enum instances_notice_kind {
    INSTANCES_NOTICE_LINKED,  /* nothing is missed any more */
    INSTANCES_NOTICE_CUT,     /* @why */
    INSTANCES_NOTICE_GAP,     /* something was missed for good: memory and disk were dropped */
    INSTANCES_NOTICE_SKEW,    /* the clock of @name is @ms ahead of Redis' (negative: behind) */
    INSTANCES_NOTICE_FOREIGN, /* somebody writes to our keys or channels what cannot be read */
    INSTANCES_NOTICE_REFUSED, /* Redis is there and says no, in its words: @name */
};
struct instances_notice {
    enum instances_notice_kind kind;
    const char *why;  /* static text */
    const char *name; /* during the call */
    int64_t ms;
};

struct instances_conf {
    struct redis_conf redis;         /* on_state is not used */
    struct slice prefix;             /* of every key and channel; copied */
    const char *name;                /* of this one, for people: its host's; copied */
    struct events *events;           /* all of these outlive it; the bus knows this instance's id */
    struct invalidator *invalidator; /* … */
    struct fences *fences;
    /* The own disk tier, not wrapped; NULL: none. Not freed here. Beside it lies where this instance has got
     * to in the logs: store_disk_meta_get and _put. */
    struct tier *disk;
    void (*meta_get)(struct tier_port *p, struct store_disk_meta *m);
    void (*meta_put)(struct tier_port *p, struct store_disk_meta *m);
    struct ledger *ledger;     /* what could not be told outlives the process there; NULL: it does not */
    bool strict;               /* instances_may_serve is false while cut off */
    int64_t (*seq)(void *arg); /* flights_seq */
    /* What begins here from now on is to count as later than @seq (flights_pass); NULL: clocks agree.
     * Threads: any. */
    void (*pass)(void *arg, int64_t seq);
    void (*on_notice)(void *arg, const struct instances_notice *n); /* on the instances' thread */
    /* Upstream refuses this caller (policy/key.h), as another instance has found. On the instances' thread.
     */
    void (*on_refused)(void *arg, uint64_t caller);
    void *arg;
};
/** Starts its thread, which connects by itself. NULL when out of memory or threads. */
struct instances *instances_new(const struct instances_conf *conf);
/** What waits to be told is told, if that can be done within @flush_ms; every invalidation asked for comes
 * back within it, by its loop. NULL is fine. */
void instances_free(struct instances *in, int64_t flush_ms);
/** Waits until what was missed has been caught up, or Redis has turned out to be away, for at most @ms. */
void instances_wait(struct instances *in, int64_t ms);

/* The first member; only instances_may_serve looks at it. */
struct instances_gate {
    atomic_bool withheld;
};
/** False while cut off under `invalidation.strict`: nothing may be answered from memory or disk. True of
 * NULL. Threads: any; one relaxed load. */
static inline bool instances_may_serve(const struct instances *in)
{
    const struct instances_gate *gate = (const struct instances_gate *)(const void *)in;

    return !gate || !atomic_load_explicit(&gate->withheld, memory_order_relaxed);
}

/* -- an invalidation, here and everywhere -- */

enum instances_telling {
    INSTANCES_ALONE, /* there is no Redis to tell anybody by */
    INSTANCES_TOLD,  /* it stands in the log */
    INSTANCES_LATER, /* Redis is away: it is told when it is back */
};

struct instance_answer {
    char id[EVENT_SOURCE_BYTES + 1];
    char name[INSTANCE_NAME_BYTES + 1];
    bool heard;      /* else nothing is known of the rest */
    int64_t seen_ms; /* so long ago it was last heard of */
    bool at_least;
    uint64_t matched;      /* distinct keys there */
    uint64_t memory, disk; /* deleted there, by tier */
};

/* Lies with who asks. */
struct instances_invalidation {
    /* filled in by who asks: of @own which (borrowed until on_done), seq, dry_run and loop */
    struct invalidation own;
    struct slice correlation;                          /* borrowed */
    void (*on_done)(struct instances_invalidation *x); /* on own.loop, once, never within the call */
    /* the answer, beside what @own has of this instance */
    enum instances_telling telling;
    uint64_t matched; /* distinct keys over all instances heard */
    bool at_least;    /* no fewer than that */
    struct instance_answer others[INSTANCES_OTHERS_MAX];
    size_t others_n;
    /* the module's own */
    struct instances *in;
    struct events *events;
    struct list link;
    struct loop_msg msg;
    uint64_t ask;
    int64_t due_ms, begun_ns;
    unsigned running; /* here, and elsewhere */
    bool appended, listening;
    struct instances_sums *sums;
};

/**
 * Invalidates here, and has every other instance told. Comes back when this one is done and each of those
 * heard of lately has answered, or INSTANCES_ANSWER_MS is over. The event is published (@events) in any case,
 * but of a dry run. @in may be NULL: there are no others. Thread: own.loop's.
 */
void instances_invalidate(struct instances *in, struct invalidator *v, struct events *events,
                          struct instances_invalidation *x);

/* -- notes: told in passing, nobody waits for an answer. Threads: any. NULL is fine -- */

/** The target with this sum (selector.h) has changed. */
void instances_note_target(struct instances *in, uint64_t target);
/** Upstream has refused this caller. */
void instances_note_refused(struct instances *in, uint64_t caller);

/* -- what is told to operators -- */

enum instances_link { INSTANCES_CONNECTING, INSTANCES_LINKED, INSTANCES_CUT };

struct instance_seen {
    char id[EVENT_SOURCE_BYTES + 1];
    char name[INSTANCE_NAME_BYTES + 1];
    int64_t since_ms; /* wall clock: its start */
    int64_t seen_ms;  /* so long ago */
    int64_t ahead_ms; /* its clock, of Redis' */
    bool self;
    unsigned off; /* looks in a row by which its clock is not Redis' */
};
struct instances_stats {
    enum instances_link link;
    int64_t link_ms;                           /* in this state for so long */
    const char *why;                           /* it is cut; static */
    uint64_t told, heard, foreign, cuts, gaps; /* messages out, in, in that could not be read; … */
    unsigned waiting;                          /* messages to be told later */
    struct instance_seen seen[INSTANCES_OTHERS_MAX + 1];
    size_t seen_n;
    int64_t seen_at_ms; /* clock_mono_ms() of when they were read */
};
/** Of NULL: nothing at all. @out->seen tells how long ago each was heard of by now. */
void instances_stats(struct instances *in, struct instances_stats *out);
