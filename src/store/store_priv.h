/*
 * store_priv - what the files of the store share.
 *
 * Lock: the write queue's, a leaf.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "owed.h"
#include "refrain/store/store.h"

enum {
    CPU_INLINE_MAX = 64 * 1024, /* larger records are packed and read on the thread pool */
    DELETION_SLOTS = 1024,
};

struct writes; /* store_write.c */

struct store {
    struct store_conf conf;
    struct tier_port *ports[STORE_LOWER_MAX]; /* the store thread's */
    struct loop *loop;                        /* NULL: nothing lies below memory */
    pthread_t thread;
    bool started;
    bool ended;
    struct store_port *own; /* the store thread's, over @ports */
    struct writes *writes;
    struct owed *owed; /* deletions that a tier could not make */
    struct loop_timer *ping_timer;
    struct ping *pings[STORE_LOWER_MAX]; /* under way; NULL: none */
    /* How often a key of this slot was deleted: what a search found that began before is not believed. */
    atomic_uint_fast64_t deletions[DELETION_SLOTS];
    atomic_uint_fast64_t dropped, promoted, held_back;
    atomic_uint_fast64_t shrunk_from, shrunk_to; /* bytes */
    atomic_uint_fast64_t unreadable[RECORD_RESULTS];
};

/* Waiting by the monotonic clock. */
static inline void cond_init_monotonic(pthread_cond_t *c)
{
    pthread_condattr_t monotonic;

    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(c, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

static inline struct timespec monotonic_in_ms(int64_t ms)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

static inline void count_one(atomic_uint_fast64_t *n)
{
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

static inline atomic_uint_fast64_t *deletions_of(struct store *s, const struct digest *key)
{
    return &s->deletions[(size_t)(key->bytes[4] | key->bytes[5] << 8) % DELETION_SLOTS];
}

/** A port over tier ports that somebody else closes. NULL when out of memory. */
struct store_port *store_port_over(struct store *s, struct loop *l, struct tier_port *const *lower);

/** True when an invalidation means what @l tells of, and came after it began. Counts. */
bool store_holds_back(struct store *s, const struct label *l);

/* -- the write queue (store_write.c) -- */

struct writes *writes_new(struct store *s);
/** Nothing runs any more; what is left is dropped. NULL is fine. */
void writes_free(struct writes *w);
/** Nothing new is begun from here on. */
void writes_stop(struct writes *w);
bool writes_flush(struct writes *w, int64_t ms);
void writes_stats(struct writes *w, struct store_stats *out);

/** The lower tiers shall have what @ref holds, which must be in a box. */
void writes_entry(struct writes *w, const struct entry_ref *ref);
/** The lower tiers shall have nothing under this key. */
void writes_nothing(struct writes *w, const struct label *l);
/** The lower tiers before number @below shall have a copy of @blob, which is the record of @box. */
void writes_copy(struct writes *w, struct entry_box *box, struct blob *blob, size_t below);
/** Lower tier @at shall have nothing under this key, if that is @blob. */
void writes_scrub(struct writes *w, const struct label *l, struct blob *blob, size_t at);

enum writes_know { WRITES_KNOW_NOTHING, WRITES_KNOW_ENTRY, WRITES_KNOW_GONE };
/** What the lower tiers will have under @key. On WRITES_KNOW_ENTRY @out holds it. */
enum writes_know writes_look(struct writes *w, const struct digest *key, struct entry_ref *out);
