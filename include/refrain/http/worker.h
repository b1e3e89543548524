/*
 * worker - one thread that serves: a loop with its front, its upstream connections, its memo and its counts.
 * Workers share nothing but what a site points at. SPEC section 1.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/metrics.h"
#include "refrain/http/front.h"
#include "refrain/http/site.h"

struct fleet_conf; /* fleet.h */
struct worker;

struct worker_conf {
    struct front_conf front;
    size_t memo_bytes_max;
    struct metrics *metrics;        /* outlives the worker */
    struct slow *slow;              /* outlives it; NULL: nobody asks which requests were slow */
    const struct fleet_conf *fleet; /* outlives it, too; NULL: other instances have no part in its calls */
};

/** Takes a reference to @site. NULL when out of memory or descriptors. Call from one thread, before
 * worker_start. */
struct worker *worker_new(const struct worker_conf *conf, struct site *site);
/** Accepts on @fd, which becomes the worker's. Before worker_start. 0 or a negative errno. */
int worker_listen(struct worker *w, int fd);
/** Starts its thread. 0 or a negative errno. */
int worker_start(struct worker *w);

/** Has requests that begin from now on served by @site (a reference is taken), under the deadlines of @front.
 * Any thread. */
void worker_set_site(struct worker *w, struct site *site, const struct front_conf *front);
/** No new connections; each open one is closed after what it is doing. Then calls on_drained from its thread.
 * Any thread. */
void worker_drain(struct worker *w, void (*on_drained)(void *arg), void *arg);
/** Ends their threads and frees them; requests under way are cut. All workers that share a site go together.
 */
void workers_free(struct worker *const *workers, size_t n);
