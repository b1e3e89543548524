/*
 * scripted_tier - a tier that does what a test says: answers, is slow, fails, lies, is full. It keeps records
 * in a small table, so that what was written is found.
 *
 * Threads: any; a script is set from the test's thread.
 */
#pragma once
#include <stdbool.h>

#include "refrain/store/tier.h"

struct scripted;

/** Owned by whoever frees the tier. */
struct tier *scripted_new(const char *name, enum metric_tier kind, struct scripted **out);

/** From now on questions of every kind come back as @r, without effect; TIER_OK: they are carried out. */
void scripted_answers(struct scripted *s, enum tier_result r);
/** From now on questions wait, until they are let go. */
void scripted_hold(struct scripted *s);
void scripted_let_go(struct scripted *s);
/** Waits until @n questions are held, for ten seconds at most. */
void scripted_wait_held(struct scripted *s, unsigned n);
/** What it says its health is. */
void scripted_is(struct scripted *s, enum tier_health health);
/** That a part of it is away. */
void scripted_is_partly_up(struct scripted *s);

/** What lies there under @key, held for the caller; NULL: nothing. */
struct blob *scripted_peek(struct scripted *s, const struct digest *key);
/** Puts @b there, whatever it is. */
void scripted_plant(struct scripted *s, const struct digest *key, struct blob *b);

struct scripted_counts {
    unsigned gets, puts, removals; /* asked */
    unsigned stored;               /* puts carried out */
};
void scripted_counts(struct scripted *s, struct scripted_counts *out);
