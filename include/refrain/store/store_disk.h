/*
 * store_disk - the disk tier: records in one SQLite file, which any sqlite3 can read (docs/disk.md has its
 * schema). SPEC section 8; what is done about trouble and why: docs/decisions/0018.
 *
 *   any loop ──► port: questions, sorted by deadline ──► queue ──► readers (2) ─┐
 *                   ▲                               └──► queue ──► writer (1) ──┴──► one message back
 *
 * Nothing waits for the disk but the tier's own threads. A question whose deadline passes comes back
 * TIER_LATE from a timer of the loop that asked, even while the thread hangs in the kernel; what the thread
 * brings later is dropped. What is stored goes into the file in groups, a transaction each: an answer TIER_OK
 * means that it outlives this process, whatever ends it.
 *
 * The file belongs to one process: a lock on PATH.lock says to which. Another one goes without, and takes the
 * file over once it is let go. A damaged file is put out of the way as PATH.corrupt-TIME, and a new one
 * begun.
 */
#pragma once
#include <stdint.h>

#include "refrain/store/tier.h"

enum disk_notice_kind {
    DISK_NOTICE_STATE,     /* its health has changed: @health and @why as tier_state has them */
    DISK_NOTICE_SET_ASIDE, /* the file was put out of the way, and @why */
    DISK_NOTICE_NETWORK,   /* it lies on a network file system, on which SQLite's log is not safe */
};

/* What an operator should hear of: once for each change, not for each question. */
struct disk_notice {
    enum disk_notice_kind kind;
    enum tier_health health;
    const char *why;  /* static text */
    const char *path; /* of the tier's file; during the call */
    const char *now;  /* where it was put; NULL: it was removed */
    int error;        /* an errno; 0: none */
};

struct store_disk_conf {
    const char *path;       /* of the file; its directory must be there */
    uint64_t bytes_max;     /* of the file and its log together; at least DISK_BYTES_MIN */
    int64_t timeout_ms;     /* of a get that names no deadline */
    size_t queue_bytes_max; /* records waiting to be written; past it a put is TIER_BUSY */
    /* Called on a thread of the tier's own, which holds nothing meanwhile; may be NULL. */
    void (*on_notice)(void *arg, const struct disk_notice *n);
    void *arg;
};

#define DISK_BYTES_MIN UINT64_C(16777216)

/**
 * The tier, whose threads open the file by and by: what cannot be opened is told by the tier's state and
 * tried again. @conf is copied. NULL when out of memory or threads. Free it by tier_free, which writes what
 * waits.
 */
struct tier *store_disk_new(const struct store_disk_conf *conf);

/* -- a few values by name, for who must remember something beside the entries: as old as they are -- */

enum { DISK_META_NAME_MAX = 64, DISK_META_VALUE_MAX = 4096, DISK_META_VALUES_MAX = 64 };

struct store_disk_meta {
    struct tier_op op;
    struct slice name;
    struct slice value; /* put: borrowed until on_done */
    struct blob *blob;  /* get: TIER_OK: the caller's now */
};

/** TIER_ABSENT when there is none: never put, or the file is a new one. Thread: @p's. */
void store_disk_meta_get(struct tier_port *p, struct store_disk_meta *m);
/**
 * Keeps the value once every removal that was asked for before has been done, and is on the medium with them:
 * after a loss of power the value is never newer than the removals. TIER_REFUSED past the limits above.
 */
void store_disk_meta_put(struct tier_port *p, struct store_disk_meta *m);
