/*
 * serve_priv - the server, and what the files that build, run, reload and take it down say to each other.
 *
 *   serve_build ──► serve ──► serve_build      built from the bottom up, run, taken down in reverse
 *                  │  │  │
 *   serve_reload ◄─┘  │  └─► serve_collect     SIGHUP; a scrape, readiness
 *                serve_ledger, serve_secrets, serve_redact    parts with a story of their own
 *
 * The main thread runs a loop of its own: signals, the admin listener, the memory tier's sweep. All of this
 * is that thread's. What is not yet built is NULL, and every part takes that.
 */
#pragma once
#include <stdatomic.h>

#include "config.h"
#include "peers.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/loop.h"
#include "refrain/http/fleet.h"
#include "refrain/http/front.h"
#include "refrain/ops/admin.h"
#include "refrain/store/inventory.h"
#include "refrain/store/redis.h"
#include "tiers.h"

enum { WORKERS_MAX = 256 };

struct redacting; /* serve_redact.c */

struct server {
    const struct config *conf;       /* in force; the first one is the caller's, others are their sites' */
    const struct config *begun_with; /* what listens, listens where this says */
    struct metrics *metrics;
    struct events *events;
    struct store_mem *memory;
    struct store *store;
    struct secret_check *secret_check; /* NULL: there is no Redis */
    struct seal_keys *keys;            /* NULL: what lies below memory is not sealed */
    struct tiers_alerts alerts;
    struct redacting *redacting;
    struct limits *limits;
    struct proofs *proofs;
    struct clients *clients;
    struct fences *fences;
    struct ledger *ledger; /* NULL: nothing lies below memory, or it cannot be kept */
    int ledger_trouble;    /* as told */
    struct invalidator *invalidator;
    struct peers_parts peers;
    struct instances *instances; /* NULL: there are no others */
    struct inventory_place tiers_at;
    struct store_port *store_port; /* of the main thread */
    struct flights *flights;
    struct breakers *breakers;
    struct recent *recent;
    struct redis_conf redis; /* of fleet */
    struct fleet_conf fleet;
    struct buf secret, admin_token;
    struct tls *listen_tls, *admin_tls; /* NULL: plain */
    struct site *site;
    struct loop *loop;
    struct admin *admin;
    struct worker *workers[WORKERS_MAX];
    size_t workers_n;
    struct slow *slow;
    struct monitor *monitor;
    struct watch *watch;
    struct loop_timer *sweep, *deadline, *sample;
    struct loop_msg drained_msg;
    struct loop_work first_work;
    atomic_size_t drained;
    bool draining, asked_twice;
};

/* -- serve_build.c -- */

/** Tells that @what cannot be, of @detail, for the errno @r (0: none). */
void serve_complain(const char *what, const char *detail, int r);
/** All parts but timers and signals; no thread runs yet. @out_proxy, @out_admin: where they listen. Errors:
 * negative errno, told; serve_take_down() takes what there is. */
ATTR_MUST_USE int serve_build(struct server *s, struct buf *out_proxy, struct buf *out_admin);
/** In the reverse order, from whatever has been built. What the tiers below memory have still to be told
 * takes no longer than the drain might have. */
void serve_take_down(struct server *s);
/** What workers' listeners, and requests, are to do by @conf. */
struct front_conf serve_front_of(const struct server *s, const struct config *conf);
/** The site of @conf, with one reference; NULL when out of memory. */
struct site *serve_site_of(const struct server *s, const struct config *conf);

/* -- serve_reload.c -- */

/** The configuration is read once more, and taken over where it is good. Tells how that went. */
void serve_reload(struct server *s);
/** Tells when log.file could not be opened: @r is what log_open() or log_reopen() said. */
void serve_log_opened(int r);

/* -- serve_collect.c -- */

/** Counts that others keep, into @m; @arg is the server. */
void serve_collect(void *arg, struct metrics *m);
/** Appends what /readyz says. False: not ready. @arg is the server. */
bool serve_is_ready(void *arg, struct buf *out);

/* -- serve_secrets.c -- */

/** The server's secret, made at the first start: so that keys on disk and in Redis outlive a restart. Errors:
 * negative errno, told. */
ATTR_MUST_USE int serve_secret_load(struct server *s);
/** The keys that seal what leaves the process. Errors: negative errno. */
ATTR_MUST_USE int serve_keys_load(struct server *s);
/** Rotation: keys that are new are added, and the first one seals from now on. */
void serve_keys_renew(struct server *s, const struct config *conf);
/** The API's token, made at the first start where none is configured. One that the configuration no longer
 * gives stays until the restart. Errors: negative errno, told. */
ATTR_MUST_USE int serve_token_load(struct server *s, const struct config *conf);
/** Who may use the admin listener; borrows the token and @conf. */
struct admin_access serve_access_of(const struct server *s, const struct config *conf);
/** What the listeners show from now on. */
void serve_tls_renew(struct server *s, const struct config *conf);

/* -- serve_ledger.c: what is owed to tiers and to the fleet -- */

/** Before anything is served: what it holds is fenced as its owners are made. */
void serve_ledger_begin(struct server *s);
/** Its owners have read it. */
void serve_ledger_told(const struct server *s);
/** Tells of trouble with it, once for each change. */
void serve_ledger_watch(struct server *s);

/* -- serve_redact.c: what is kept out of the log -- */

/** The patterns of @conf are in force from now on. */
void serve_redact_begin(struct server *s, const struct config *conf);
/** The same, where they are not those in force. */
void serve_redact_renew(struct server *s, const struct config *conf);
/** Nothing is kept out any more; no other thread writes to the log. */
void serve_redact_end(struct server *s);
