/*
 * tier - a place below memory where entries are kept, as records (record.h): the small contract that disk and
 * Redis fulfil, and memory behind an adapter. SPEC section 8. A tier is one `struct tier_ops` in a file of
 * its own; whoever asks goes by store.h, which keeps the order, checks what it is given, and counts.
 *
 * A tier asks nothing of its records but their bytes. It never blocks the thread that asks: every question is
 * a `struct tier_op` that lies with who asks, and comes back by on_done on the loop of the port it was asked
 * through, exactly once, never within the call. A question that cannot be answered by its deadline comes back
 * TIER_LATE; one that cannot be taken (queue full, no connection, breaker open) comes back at once.
 *
 * Threads: a tier from any; a port belongs to the thread of its loop.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/base/slice.h"
#include "refrain/store/blob.h"
#include "refrain/store/selector.h"

struct tier;
struct tier_port;

enum tier_result {
    TIER_OK,
    TIER_ABSENT,  /* there is none, or it is gone */
    TIER_LATE,    /* past the deadline; what was asked may still happen */
    TIER_BUSY,    /* its queue is full */
    TIER_DOWN,    /* not connected, or given a rest by its breaker */
    TIER_FULL,    /* no room, and none to be made */
    TIER_REFUSED, /* it cannot do that: read-only, larger than it takes, no permission */
    TIER_FAILED,  /* anything else */
    TIER_RESULTS
};
const char *tier_result_name(enum tier_result r); /* "late": a label of metrics, a word of logs */

/* One question. Filled in by who asks, all of it borrowed until on_done: the bytes behind the slices, too. */
struct tier_op {
    void (*on_done)(struct tier_op *op);
    int64_t deadline_ms; /* how long from now at most; 0: the tier's own */
    bool spare;          /* nobody waits for the answer: it may be what a tier that rests is tried with */
    /* the answer */
    enum tier_result result;
    /* the tier's own */
    struct tier_port *port;
    struct loop_msg msg;
    void *own;
    /* who stands between (tier_breaker.h) */
    void (*outer_done)(struct tier_op *op);
    struct tier_port *outer;
};

/* What a tier is told of a record beside its bytes. */
struct tier_item {
    struct label label;
    int64_t
        gone_ms; /* wall clock: of no use from here on; INT64_MAX: never. At the latest then it is dropped */
};

struct tier_get {
    struct tier_op op;
    struct label label; /* key, namespace, operation and model count: they make its name */
    struct blob *blob;  /* TIER_OK: the caller's now */
    int64_t gone_ms;    /* TIER_OK: when the tier will drop it; 0: it does not tell */
};
struct tier_put {
    struct tier_op op;
    struct tier_item item;
    struct blob *blob; /* borrowed until on_done */
    bool only_newer;   /* not over one of a later started_seq, where the tier can tell */
};
struct tier_delete {
    struct tier_op op;
    struct label label;
    const struct blob *only; /* delete it only if these are its bytes; NULL: whatever is there */
};

/* A walk over what there is, page by page; what is stored or deleted meanwhile may be seen or not, once or
 * twice, but what is there all the time is seen. */
struct tier_scan {
    struct tier_op op;
    const struct selector *which; /* the tier leaves out what it can tell does not match; NULL: nothing */
    bool wants_blobs;             /* the records as well */
    size_t page_max;              /* about so many items a page; 0: the tier's own choice */
    struct buf *cursor; /* empty: from the beginning; filled in, and empty again at the end. The caller's */
    /* Called on the port's loop for each item before on_done, which ends the page. @blob is NULL where it is
     * not wanted. A tier that must read the record's head to know its label does so by tier_conf's codec. */
    void (*on_item)(struct tier_scan *scan, const struct tier_item *item, struct blob *blob);
};

/* Drops all that match, in steps, without holding anybody up. */
struct tier_delete_if {
    struct tier_op op; /* its deadline_ms bounds the whole */
    const struct selector *which;
    bool dry_run; /* counts only */
    /* On the port's loop, for each that matched (label.family ones, too), so that distinct keys can be
     * counted over tiers; may be NULL. Of @l, key and family are told. */
    void (*on_match)(struct tier_delete_if *d, const struct label *l);
    uint64_t matched; /* the answer; label.family ones are no entries, and not in it */
};

enum tier_health { TIER_UP, TIER_DEGRADED, TIER_IS_DOWN };
struct tier_state {
    enum tier_health health;
    const char *why;  /* static text where it is not up: "time-outs", "disk full", … */
    int64_t since_ms; /* monotonic */
    bool partly;      /* a part of it is away, and told so at once, the rest as good as ever: a cluster */
};

struct tier_stats {
    uint64_t entries, bytes, bytes_max; /* UINT64_MAX: it cannot tell cheaply */
    uint64_t evicted_space, evicted_count, expired, replaced;
    uint64_t errors[TIER_RESULTS]; /* how often each was the answer */
    uint64_t set_aside;            /* files, or the like, found corrupt and put out of the way */
};

struct tier_ops {
    const char *name;      /* "disk" */
    enum metric_tier kind; /* TIER_DISK */
    /** What @l needs of its own (connections). NULL when out of memory. Thread: @l's, or before it runs. */
    struct tier_port *(*open)(struct tier *t, struct loop *l);
    /** Every question asked through it has come back, or comes back within the call. Thread: as open. */
    void (*close)(struct tier_port *p);
    void (*get)(struct tier_port *p, struct tier_get *g);
    void (*put)(struct tier_port *p, struct tier_put *put);
    void (*remove)(struct tier_port *p, struct tier_delete *d);
    void (*scan)(struct tier_port *p, struct tier_scan *s);
    void (*delete_if)(struct tier_port *p, struct tier_delete_if *d);
    /** Both from any thread, without waiting: what was last known. */
    void (*stats)(struct tier *t, struct tier_stats *out);
    void (*state)(struct tier *t, struct tier_state *out);
    /** What lies in its queues is written, as far as it can be; every port is closed. */
    void (*free)(struct tier *t);
};

/* First member of each tier's own struct. */
struct tier {
    const struct tier_ops *ops;
};
/* First member of each port's own struct. */
struct tier_port {
    struct tier *tier;
    struct loop *loop;
};

static inline void tier_free(struct tier *t)
{
    if (t)
        t->ops->free(t);
}

/** Answers @op with @r from the thread of its port's loop: on_done comes by a message. */
void tier_answer(struct tier_port *p, struct tier_op *op, enum tier_result r);

/* The same for a port that may be closed before the message has come: answers come back within that then.
 * Uses op.own. Thread: the port's. */
struct tier_replies;
/** NULL when out of memory. */
struct tier_replies *tier_replies_new(struct loop *l);
void tier_reply(struct tier_replies *r, struct tier_op *op, enum tier_result result);
/** What is left comes back within the call. NULL is fine. */
void tier_replies_end(struct tier_replies *r);

/**
 * Appends `PREFIX:NAMESPACE:OPERATION:MODEL:HEX`, by which operators know an entry in Redis and on disk (SPEC
 * section 4); with an empty prefix none, and no colon before the namespace. Errors: as buf_add.
 */
int tier_name(struct buf *out, struct slice prefix, const struct label *l);
