/*
 * ledger - what is still owed to a tier, or to the fleet, in one small file, so that it outlives the process:
 * invalidations and deletions that a tier could not carry out, and what could not be told to other instances.
 * Its owners (invalidate_later.c, store_write.c, instances_log.c) keep their lists in memory, and give their
 * part of the file as lines whenever that has changed; at the start they read it. SPEC section 8,
 * decisions/0020.
 *
 *   refrain ledger 1
 *   invalidation redis 1795282714123456 {"v":1,"type":"CACHE_INVALIDATED",…}
 *   …
 *   end 1                                    how many lines there are between
 *
 * The file appears whole or not at all (written aside, synced, renamed), mode 0600, and is gone while nothing
 * is owed. What is no such file is put aside as PATH.odd. Up to LEDGERS_MAX processes may have the same
 * directory: each has a file of its own (PATH.1, PATH.2, …), and takes over those of processes that have
 * ended. Nothing in it is of a prompt or an answer.
 *
 * Threads: any; a lock of its own, held while it writes.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/slice.h"

enum { LEDGERS_MAX = 16 };

enum ledger_part {
    LEDGER_INVALIDATIONS, /* TIER SEQ MESSAGE */
    LEDGER_DELETIONS,     /* the same, of one entry each */
    LEDGER_UNTOLD,        /* LOG MESSAGE */
    LEDGER_PARTS
};

struct ledger;

struct ledger_found {
    unsigned lines;     /* owed from before */
    unsigned set_aside; /* files that were none of ours, or not whole */
};
/**
 * Takes the first file that no other process has, and over what those left that have ended. The directory
 * must exist. NULL: nothing can be kept, *@out_errno (negative) says why: -EUSERS, too many processes; else
 * as open.
 */
struct ledger *ledger_open(const char *path, struct ledger_found *out, int *out_errno);
/** Writes what has not been, and lets go of the file. NULL is fine. */
void ledger_free(struct ledger *l);

/** Calls @on_line with each line of @part as it was found, without its name. Of NULL: none. */
void ledger_read(struct ledger *l, enum ledger_part part, void (*on_line)(void *arg, struct slice line),
                 void *arg);
/** A line that was read cannot be understood. Of NULL: nothing. */
void ledger_odd(struct ledger *l);
/** How many those were. */
unsigned ledger_odd_n(struct ledger *l);

/** @lines, each with its newline and without its name, are from now on what @part holds; copied. Soon, with
 * ledger_write, that stands in the file. Of NULL: nothing. */
void ledger_set(struct ledger *l, enum ledger_part part, struct slice lines);
/** Returns when what was set is in the file, and synced; 0 also where nothing has changed. Errors: negative
 * errno; what was set is kept, and written by the next call. Of NULL: 0. */
int ledger_write(struct ledger *l);
/** The error of the last ledger_write, 0 where it went well. Of NULL: 0. */
int ledger_trouble(struct ledger *l);
