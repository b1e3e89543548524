/*
 * site - what the exchanges of all workers share: a snapshot of the configuration in the form the hot path
 * wants, and the shared parts behind it. A reload makes a new site; requests under way end with the one they
 * began with.
 *
 * Threads: immutable but for its reference count; from any thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/http/breakers.h"
#include "refrain/http/changes.h"
#include "refrain/http/event_rule.h"
#include "refrain/http/flight.h"
#include "refrain/http/limits.h"
#include "refrain/http/proofs.h"
#include "refrain/http/upstream.h"
#include "refrain/policy/ask.h"
#include "refrain/policy/gate.h"
#include "refrain/policy/key.h"
#include "refrain/policy/lifetime.h"
#include "refrain/policy/pricing.h"
#include "refrain/policy/rule.h"
#include "refrain/store/shrink.h"
#include "refrain/store/store.h"
#include "refrain/store/store_mem.h"
#include "refrain/wire/canon.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"

struct clients;     /* clients.h */
struct events;      /* store/events.h */
struct fences;      /* store/fences.h */
struct instances;   /* store/instances.h */
struct invalidator; /* store/invalidate.h */
struct recent;      /* recent.h */
struct roster;      /* clients.h */

struct site_route {
    struct slice prefix; /* of the raw path */
    size_t upstream;     /* index */
    bool strip_prefix;
    int64_t ttl_s;                                      /* of GETs without freshness of their own; 0: none */
    bool heuristic;                                     /* or a lifetime guessed from Last-Modified */
    int64_t stale_while_revalidate_s, stale_if_error_s; /* the cache's, unless the route has its own */
};

struct site_upstream {
    struct upstream_conf conf;
    struct digest alters;      /* of what configuration changes in a forwarded request, and leaves out of keys
                                  and of what is stored: part of the key */
    struct digest alters_zero; /* the same where what is stored says that nothing was used */
    struct breakers_upstream *breakers;
    struct retry_conf retry;
    atomic_bool *refused_us; /* it has not taken our credential, when last asked */
    bool takes_controls;     /* it is a gateway, too: other gateways' control headers go on to it */
};

struct site {
    atomic_uint refs;
    /* who is asked, and how */
    const struct site_route *routes;
    size_t routes_n;
    const struct site_upstream *upstreams;
    size_t upstreams_n;
    /* what is cached, and for how long */
    const struct header_table *headers;
    struct canon_rules canon[OP_COUNT]; /* the dialect's, with key.ignore_fields */
    int64_t ttl_s[OP_COUNT];            /* ASK_TTL_NONE: for ever */
    int64_t ttl_max_s;
    struct lifetime_conf lifetime;
    int64_t keep_stale_s; /* what upstream can be asked about is kept so long for that */
    int64_t reauth_ns;    /* how old upstream's word for a credential may be; 0: no bound */
    size_t variants_max;  /* of an answer that varies */
    struct ask_conf ask;
    struct gate_conf gate;
    size_t key_body_bytes_max;
    uint64_t body_bytes_max;     /* 0: no bound */
    struct slice namespace_;     /* default one */
    struct key_scope scope;      /* but where a rule sets another */
    struct key_scope shared;     /* of clients that share with all who are shared */
    struct key_scope parted;     /* of clients that share with nobody, or their group alone */
    const struct roster *roster; /* of clients, who prove themselves to Refrain; NULL: there are none */
    struct siphash_key targets;  /* of the sums of GETs' targets (changes.h) */
    struct key_scope reads;      /* lists every header that some scope or rule reads: for the memo's tags */
    struct rules rules;
    struct pricing pricing; /* what tokens cost */
    struct event_rules event_rules;
    const char *own_operations; /* what to tell who names one that there is none of */
    bool zero_usage;            /* what is stored says that nothing was used, unless a rule says otherwise */
    bool coalesce;
    int64_t max_wait_ms; /* for a flight's head, before others ask for themselves; 0: no bound of its own */
    bool finish_abandoned;
    bool log_requests;
    int64_t log_slow_ns; /* what takes longer is logged as slow; 0: nothing is */
    /* shared parts, which outlive every site */
    struct store_mem *memory; /* NULL: the tier is off */
    struct store *store;      /* all tiers, memory included; without any, flights are all that is shared */
    struct flights *flights;
    struct recent *recent; /* NULL: nothing is remembered of requests */
    struct limits *limits;
    struct proofs *proofs;
    struct clients *clients; /* what rosters remember */
    struct fences *fences;   /* of invalidations */
    struct invalidator *invalidator;
    struct events *events;       /* NULL: nobody can listen */
    struct instances *instances; /* NULL: there are no others */
    /* entries that are coded otherwise (recode.h) */
    struct shrink_conf shrink_memory; /* of level 0: memory keeps what is stored as it came */
    atomic_flag undoing[64];          /* by key */
    atomic_uint shrinking;
    /* what all of the above lies in; freed with the site */
    void *owner;
    void (*owner_free)(void *owner);
};

static inline struct site *site_ref(struct site *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}
void site_unref(struct site *s);

/** The first route that matches @path; NULL when none does. */
const struct site_route *site_route_of(const struct site *s, struct slice path);
