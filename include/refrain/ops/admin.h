/*
 * admin - the operator's listener: /metrics, /healthz, /readyz, and behind a token /api/v1 (access, api). It
 * answers from what others count and says nothing of requests, answers or credentials. SPEC section 12.
 *
 * Threads: its loop's.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/base/slice.h"

struct admin;
struct alerts;
struct breakers;
struct events;
struct facts;
struct monitor;
struct slow;            /* http/slow.h */
struct inventory_place; /* store/inventory.h */
struct store_port;      /* store/store.h */
struct site;
struct tls; /* base/tls.h */

struct admin_parts {
    struct metrics *metrics;
    struct metric_block *counts; /* the listener's own */
    /* Appends what /readyz says, a JSON object; false: not ready. */
    bool (*ready)(void *arg, struct buf *out);
    /* The site in force; borrowed. */
    struct site *(*site)(void *arg);
    void *arg;
    struct breakers *breakers;
    struct events *events;
    struct inventory_place *tiers; /* where they are */
    struct store_port *store;      /* of the listener's loop */
    struct monitor *monitor;
    const struct alerts *alerts;
    void (*facts)(void *arg, struct facts *out); /* as they are now */
    struct slow *slow;
    /* Appends the configuration in force as a JSON object, secrets masked. Errors: as buf_reserve. */
    int (*config)(void *arg, bool changed_only, struct buf *out);
    struct slice key_prefix; /* of keys as text; outlives the listener */
};

/* Who may use the API. */
struct admin_access {
    struct slice token;        /* not empty */
    const struct slice *hosts; /* names that Host may give beside addresses and localhost */
    size_t hosts_n;
    struct tls *tls; /* what new connections are shown; NULL: plain. Borrowed for the call */
};

/** Serves on @fd, a listening non-blocking socket that becomes its own. NULL when out of memory or
 * descriptors. */
struct admin *admin_new(struct loop *l, int fd, const struct admin_parts *parts,
                        const struct admin_access *access);
/** For requests, and in respect of TLS for connections, that begin from now on. */
void admin_set_access(struct admin *a, const struct admin_access *access);
/** NULL is fine. */
void admin_free(struct admin *a);
/** To be called once an iteration of the loop, before it waits. */
void admin_settle(struct admin *a);
