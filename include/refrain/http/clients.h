/*
 * clients - who may ask, where Refrain itself holds the credential that upstream wants: named clients, known
 * by SHA-256 sums of their tokens, each with limits and counts of its own. SPEC section 4, "Scope".
 *
 * A `roster` is what one configuration says of them; it belongs to a site and never changes. What has been
 * used up and counted lies in `clients`, by name, and outlives every roster: a reload loses nothing of it.
 *
 * Limits are this process's. Both are exact over all workers: one atomic each, no lock.
 *
 * Threads: every function, from any thread. Locks: the list of names', a leaf, at reloads and by who tells.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/base/metrics.h"
#include "refrain/base/slice.h"

/* Of all preflights together, which prove nothing: so that nobody can keep an upstream busy with them. */
enum { PREFLIGHTS_PER_MINUTE = 600, PREFLIGHTS_CONCURRENT = 16 };

enum {
    CLIENTS_MAX = 1000,       /* of a roster */
    CLIENT_TOKENS_MAX = 8,    /* of a client: an old and a new one while they are changed */
    CLIENT_RATE_MAX = 200000, /* requests a minute; the bound is exact up to here */
    CLIENTS_KEPT_MAX = 4000,  /* names remembered, those that no roster has any more included */
};

/* -- what outlives rosters -- */

struct clients;
/** NULL when out of memory. */
struct clients *clients_new(void);
void clients_free(struct clients *c);

/** A number for who counts, so that several do not count in the same place; wraps. */
unsigned clients_counter(struct clients *c);

/** Somebody was refused who proved nothing, at @now_ns (monotonic): how many were since this was last told,
 * when it is time to tell; else 0. */
uint64_t clients_refused(struct clients *c, int64_t now_ns);

/* What a client's requests came to. */
struct client_counts {
    uint64_t requests[LABEL_MAX_RESULT];
    uint64_t limited_rate, limited_concurrent; /* of the errors among them */
    uint64_t tokens_in, tokens_out;            /* that hits saved */
    uint64_t nanodollars;                      /* as well */
};

/** Calls @each for every client there has been, in the order they came. The list's lock is held meanwhile. */
void clients_each(struct clients *c,
                  void (*each)(void *arg, const char *name, const struct client_counts *counts,
                               unsigned running),
                  void *arg);

/* -- rosters -- */

/* One client as configuration has it. Borrowed: the bytes outlive the roster. */
struct client_conf {
    struct slice name;
    const struct digest *tokens; /* SHA-256 of each */
    size_t tokens_n;
    struct slice scope;      /* whom it shares answers with: its own name, or a group's */
    bool scope_given;        /* by configuration: nothing wider holds for it */
    bool shared;             /* it shares with all that are shared */
    struct slice namespace_; /* that all its entries lie in; empty: as its requests and rules say */
    unsigned requests_per_minute, max_concurrent; /* 0: no bound */
    bool limit_hits;                              /* what is answered from the store is a request, too */
};

struct client_state;
struct client {
    struct client_conf conf;
    uint32_t number; /* its own in its roster, from 1 */
    bool in_group;   /* another one shares answers with it */
    int64_t every_ns;
    struct client_state *state;
};

struct roster;
/** NULL when out of memory. */
struct roster *roster_new(struct clients *c, const struct client_conf *confs, size_t n);
void roster_free(struct roster *r);
size_t roster_n(const struct roster *r);
const struct client *roster_at(const struct roster *r, size_t i);
/** Whom preflights are counted as. */
const struct client *roster_preflights(const struct roster *r);
/** Whose token has this sum; NULL: nobody's. */
const struct client *roster_find(const struct roster *r, const struct digest *token);
/** The client of that name; NULL: there is none. */
const struct client *roster_named(const struct roster *r, struct slice name);
/** True when another client than @client has its entries in that namespace. */
bool roster_keeps_namespace(const struct roster *r, struct slice namespace_, const struct client *client);

/* -- limits -- */

/** One more request at the same time? Then client_end comes at its end. */
bool client_begin(const struct client *c);
void client_end(const struct client *c);

/**
 * One more request this minute, at @now_ns (monotonic)? A full minute's requests may come at once; they come
 * back one by one. false: no; *@out_wait_ns, how long until the next may.
 */
bool client_take(const struct client *c, int64_t now_ns, int64_t *out_wait_ns);

/** A request of @c was refused by a limit; true when it is time to tell: once a minute. @counter is the
 * counting thread's clients_counter. */
bool client_limited(const struct client *c, unsigned counter, bool by_rate, int64_t now_ns);

/* -- counts -- */

void client_count(const struct client *c, unsigned counter, enum metric_result result);
void client_saved(const struct client *c, unsigned counter, uint64_t tokens_in, uint64_t tokens_out,
                  uint64_t nanodollars);
void client_counts(const struct client *c, struct client_counts *out, unsigned *out_running);
