/*
 * store_mem_log - the memory tier's segments: mapped runs of memory to which records are appended.
 *
 * A record is one packed entry; it is never changed in place. A segment counts the bytes in it that somebody
 * still wants (`live`) and the readers and writers that have their finger in it (`pins`). Once nothing in it
 * is live no new pin can come, and once it is unpinned too it is given back. A record too large to share gets
 * a segment of its own.
 *
 *  open -> closed -> dead -+-> spare -> open      open: appended to; closed: full
 *                          +-> unmapped           dead: nothing live, waits for its pins
 *
 * Threads: any. One lock, held for bookkeeping alone; pins and live counts are atomic.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/store/entry.h"

enum { LOG_UNIT = 8 }; /* records are aligned to this, and offsets count it */

struct place {        /* where a record lies */
    uint32_t seg, at; /* at: in units of LOG_UNIT */
};

enum segment_state { SEGMENT_NONE, SEGMENT_SPARE, SEGMENT_OPEN, SEGMENT_CLOSED, SEGMENT_DEAD };

/* One cache line each: a hit touches it. */
struct segment {
    uint8_t *base;
    size_t size;
    size_t used;              /* log lock, until closed */
    _Atomic uint64_t live;    /* bytes of records wanted, and LOG_HOLD for whoever keeps it from dying */
    _Atomic uint32_t pins;    /* readers, and writers that have not finished */
    uint32_t next;            /* in the one list it is in */
    enum segment_state state; /* log lock */
    bool alone;               /* holds one record, and is as large as that */
} __attribute__((aligned(64)));

enum { LOG_HOLD = 1 }; /* records are multiples of LOG_UNIT, so a hold never looks like one */
enum { LOG_NONE = UINT32_MAX };
enum { LOG_SEG_BITS = 22, LOG_AT_BITS = 18 }; /* what the two halves of a place never exceed */
enum log_use {
    LOG_NEW,
    LOG_MOVED
}; /* what comes in, and what compaction moves: they die at different times */
enum { LOG_OPEN_NEW = 2, LOG_OPEN = LOG_OPEN_NEW + 1 };

struct log {
    pthread_mutex_t lock;
    size_t segment_bytes, mapped_max;
    size_t alone_bytes;          /* larger records do not share */
    _Atomic size_t mapped;       /* bytes of all segments */
    _Atomic size_t table_bytes;  /* the tables' memory, which shares the bound */
    _Atomic size_t zombie_bytes; /* of dead segments that are still pinned */
    _Atomic uint32_t dead;       /* stack of segments found dead, not yet looked at */
    struct segment *segs;
    uint32_t segs_cap, segs_n;
    uint32_t slots;          /* list: places in segs without memory */
    uint32_t spare, spare_n; /* list: segments with memory, empty */
    uint32_t zombies;        /* list: dead and pinned */
    uint32_t pick_at;        /* where the next look for a sparse segment starts */
    uint32_t open[LOG_OPEN]; /* the last one is compaction's */
};

/** 0 or -ENOMEM. @mapped_max bounds segments and table together; a terabyte is too much. */
int log_init(struct log *l, size_t segment_bytes, size_t mapped_max);
void log_done(struct log *l);

/**
 * Takes room for a record of @bytes, a multiple of LOG_UNIT: pinned for the writer, and counted as live.
 * Errors: -EAGAIN when the bound leaves no room now; -ENOMEM.
 */
int log_reserve(struct log *l, size_t bytes, enum log_use use, struct place *out);

static inline struct entry *log_entry(const struct log *l, struct place p)
{
    return (struct entry *)(void *)(l->segs[p.seg].base + (size_t)p.at * LOG_UNIT);
}

/* Allowed while something in the segment is live and cannot be dropped meanwhile: under its shard's lock. */
static inline void segment_pin(struct segment *s)
{
    atomic_fetch_add_explicit(&s->pins, 1, memory_order_relaxed);
}

static inline void segment_unpin(struct segment *s)
{
    atomic_fetch_sub_explicit(&s->pins, 1, memory_order_release);
}

/** @bytes in segment @seg are wanted no more. Takes no lock. */
void log_drop(struct log *l, uint32_t seg, uint64_t bytes);

/** Gives back dead segments that are not pinned. True when that made room. */
bool log_reap(struct log *l);

/** Bytes that may still be reserved before something must go, the compaction's own segment not counted. */
size_t log_room(struct log *l);

/**
 * Holds the closed, unpinned segment with the fewest live bytes (of a few thousand looked at in one call)
 * among those with at least @dead_min dead ones; log_drop(seg, LOG_HOLD) lets go. LOG_NONE when there is
 * none.
 */
uint32_t log_pick_sparse(struct log *l, size_t dead_min);

/** Gives spare segments, and open ones with nothing in them, back to the system. */
void log_trim(struct log *l);
