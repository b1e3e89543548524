/*
 * store_disk_write - what the parts of the disk tier's writer share: transactions, and what an error means.
 *
 *   store_disk_write.c   groups of puts and removals; the thread
 *   store_disk_sweep.c   removals in steps
 *   store_disk_house.c   keeping house; a medium that is full
 *
 * Threads: the writer.
 */
#pragma once
#include "store_disk_priv.h"

#define MS INT64_C(1000000)

enum { DISK_STEP_NS = 8000000 }; /* a step takes no longer, so that nobody waits for it */
enum { DISK_PAGES_BESIDE = 24 }; /* that the rows and indexes of one entry may need beside its record */

/* -- store_disk_write.c -- */

enum disk_db_result disk_begin(struct disk_writer *w, bool synced);
/** Ends what disk_begin began, well or not: @r is what it has come to so far. */
enum disk_db_result disk_end(struct disk_writer *w, enum disk_db_result r);
/** One transaction of all of them. */
enum disk_db_result disk_commit_jobs(struct disk_writer *w, struct disk_job *const *jobs, size_t n);
/** The next place in the order of use. */
int64_t disk_next_use(struct disk_writer *w);
/** What an error means for the file as a whole; nothing where there is none. */
void disk_react(struct disk_writer *w, enum disk_db_result r, bool removal);
/** What who asked is told of an error. */
enum tier_result disk_refusal(enum disk_db_result r);
/** Has the removal made later, at the front of @queue, before anything is read again. */
void disk_keep_removal(struct disk *d, const struct disk_job *job, struct list *queue);

/* -- store_disk_sweep.c -- */

/** One step of the first removal that goes in steps, or what stands in order with these. */
void disk_write_step(struct disk_writer *w);
/** Lets reads go on, once all removals that were kept are made. */
void disk_removals_made(struct disk_writer *w);

/* -- store_disk_house.c -- */

void disk_keep_house(struct disk_writer *w);
/** The medium has no more room. */
void disk_meet_full(struct disk_writer *w);
/** Takes no new entries for a moment. */
void disk_refuse_puts(struct disk_writer *w);
