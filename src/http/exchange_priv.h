/*
 * exchange - one request and its answer: what the files that deal with it have in common (exchange.c says
 * which they are). Owned by one worker's thread.
 */
#pragma once
#include <pthread.h>

#include "account.h"
#include "refrain/base/metrics.h"
#include "refrain/http/admission.h"
#include "refrain/http/clients.h"
#include "refrain/http/fetch.h"
#include "refrain/http/flight.h"
#include "refrain/http/front.h"
#include "refrain/http/keying.h"
#include "refrain/http/memo.h"
#include "refrain/http/recent.h"
#include "refrain/http/site.h"
#include "refrain/http/upload.h"
#include "refrain/http/upstream.h"
#include "refrain/policy/ask.h"
#include "refrain/policy/fresh.h"
#include "refrain/policy/key.h"
#include "refrain/policy/vary.h"
#include "refrain/store/store_mem.h"
#include "refrain/wire/usage.h"

enum {
    EXCHANGES_KEPT = 256,           /* a worker keeps so many for reuse, … */
    BODY_BYTES_KEPT = 1 << 20,      /* … with body buffers up to this size, … */
    BODIES_BYTES_KEPT = 16 << 20,   /* … all of them together up to this */
    BODY_BYTES_UNCOUNTED = 4 << 10, /* bodies up to this are not held against the allowance */
    REQUEST_ID_MAX = 64,
    MODEL_SHOWN_MAX = 64,
    TAGS_BYTES_MAX = 2048, /* of one entry: a request's own, all 16 of them, and those of its rules */
};

/* A site as one worker sees it: counts that worker's exchanges without an atomic in the hot path. */
struct site_view {
    struct site *site;
    unsigned uses;
    unsigned *upstream_labels; /* of each upstream, for the counts */
    unsigned *own_labels;      /* of each operation of the operator's own */
    struct account_prices prices;
};

struct worker {
    struct loop *loop;
    struct front *front;
    struct upstream_pool *pool;
    struct store_port *below; /* NULL: there are no tiers below memory */
    struct fleet_port *fleet; /* NULL: without coalescing.cluster */
    struct memo *memo;
    struct memo_hasher *hasher;
    struct key_maker *keys;
    struct sha256 *variant_keys;
    struct site_view *view;
    struct metrics *metrics;
    struct slow *slow; /* NULL: there is none */
    struct metric_block *counts;
    unsigned counter; /* clients_counter's */
    struct admitter *admitter;
    struct limits *limits;
    struct list spare; /* exchanges */
    unsigned spare_n;
    size_t spare_bytes;                  /* of their body buffers */
    uint64_t id_prefix, id_next;         /* of request ids */
    char refusal_id[REQUEST_ID_MAX + 1]; /* the last one of what never became an exchange */
    uint64_t dice;                       /* picks among several answers; any state but 0 */
    /* the thread's */
    struct front_handler handler;
    struct loop_msg drain_msg;
    bool draining;
    void (*on_drained)(void *arg);
    void *drained_arg;
    pthread_t thread;
    bool started;
};

/* What became of a request; an error until something better is known. */
enum outcome { OUT_ERROR, OUT_HIT, OUT_STALE, OUT_REVALIDATED, OUT_MISS, OUT_COALESCED, OUT_BYPASS };

/* Why a cached request goes on to upstream all the same, after RFC 9211 section 2.2. */
enum forwarded_for {
    FOR_MISS,
    FOR_VARY_MISS, /* other variants are there */
    FOR_STALE,
    FOR_REQUEST, /* it would have been a hit, had the request not asked for more */
};

enum step {
    STEP_KEY,
    STEP_MAKE,
    STEP_MADE,
    STEP_LOOKUP,
    STEP_REFRESH,
    STEP_JOIN,
    STEP_BELOW,
    STEP_PASS,
    STEP_LOOK,
    STEP_PARKED,
    STEP_DONE
};

enum manner {
    MANNER_CACHED, /* its body is collected, its key made, the store asked */
    MANNER_PASSED, /* it goes through, unbuffered */
};

/* Each idea's members are set by the files named beside it, and read by all. */
struct exchange {
    struct front_req req; /* first */
    struct list link;     /* among the worker's spare ones */
    struct worker *worker;
    struct buf body;           /* keeps its bytes when the exchange is reused */
    size_t body_charged;       /* of it, taken from the allowance */
    char tags[TAGS_BYTES_MAX]; /* comma-separated, what offer_terms made */

    /* All from here on begins at zero for each request. */
    struct site_view *view;

    /* where it is (exchange.c; the steps) */
    enum step next; /* where on_run goes on */
    bool ended, waiting_for_work;
    struct loop_work work; /* making its key on the pool */

    /* its head (exchange_head.c) */
    int64_t started_ns;
    const struct site_route *route;
    struct slice target, path; /* as upstream is to see them */
    enum operation op;
    const struct own_operation *own; /* NULL: none of the operator's own; the memo may know, too */
    enum manner manner;              /* it may yet come to be passed, by its body or a rule */
    struct ask ask;
    int64_t content_length; /* -1: not given */
    bool has_body, head_request, gzip;
    char request_id[REQUEST_ID_MAX + 1];

    /* why it is refused, by whatever step; the first reason stands (exchange_refuse) */
    bool refused;
    enum error_code refusal;
    const char *refusal_text;
    int64_t retry_after_s; /* of an error; 0: no more than a second */

    /* who asks (exchange_client.c) */
    const struct client *client;  /* NULL: there are none, or it is a preflight */
    const struct client *limited; /* as whom it is counted against limits; NULL: as nobody */
    bool running, charged;        /* at the same time, and a minute */
    bool stranger;                /* there are clients, and it is none of them */

    /* its body (exchange_body.c) */
    uint64_t body_seen;
    bool body_whole;
    struct upload *upload; /* NULL: it is collected */

    /* its key and plan (exchange_key.c) */
    bool keyed; /* its canonical form is there; else the memo knew its key */
    struct gmac_tag tag;
    struct digest base_key;   /* the request's */
    struct digest common_key; /* without Vary; of one of several answers, where several are kept */
    struct digest key;        /* what is looked for: of a variant, once it is known that there are some */
    uint64_t caller;          /* key_caller's */
    struct plan plan;         /* what rules say */
    bool streamed;            /* it asks for a stream; or is answered by one */
    enum canon_verdict canon;
    struct buf canonical; /* at its end: the text of an error */
    struct canon_facts facts;
    int64_t key_ns;      /* that making the key has taken, on whatever thread */
    struct trace *trace; /* of the key being made; NULL: nobody asks */
    char model[MODEL_SHOWN_MAX + 1];

    /* what is stored for it (lookup.c, below.c, choosing.c) */
    bool looked, chosen;
    bool cut_off;  /* nothing stored was looked at: invalidation.strict */
    bool unproven; /* it must show upstream its credential before it may have what is stored */
    struct entry_ref entry;
    enum fresh_verdict verdict; /* on the entry that is held, … */
    int64_t judged_ms;          /* … at this time, wall clock */
    struct below *below;        /* what tiers below memory had; NULL: they were not asked */
    bool instead;               /* the entry stands in for an error … */
    unsigned error_status;      /* … of upstream's, with this status; 0: one of ours */

    /* its flight (exchange_flight.c, forward.c) */
    struct flight_reader reader;
    bool asked_upstream;
    bool collapsed;            /* answered by a call that another one had begun */
    char vary_id[VARY_ID_LEN]; /* as the flight named it that sent the request away */
    bool has_vary_id;

    /* its reply (answer.c) */
    struct slice body_part; /* of an entry, or of what a flight brings: still to be decoded */
    struct gunzip *gunzip;
    char *decode_bytes;
    struct usage_zero *usage; /* what a flight brings says that nothing was used; NULL: as it comes */
    bool verdict_in_trailer;

    /* what became of it, for Cache-Status, the counts and the log (every step; account.c) */
    enum outcome outcome;
    enum forwarded_for forwarded_for;
    const char *detail; /* static text */
    unsigned status;
    uint64_t bytes_sent;
    int64_t first_byte_ns; /* when the first byte of the body was given out; 0: not yet, or all at once */
    struct flight_tokens tokens; /* of what a flight brought; 0: not told */
    struct flight_times times;
    char stored_id[ENTRY_ID_LEN + 1]; /* as which entry it was stored; empty: it was not */
};

static inline struct exchange *exchange_of(struct front_req *r)
{
    return (struct exchange *)r; /* the request is its first member */
}

static inline const struct site *site_of(const struct exchange *x)
{
    return x->view->site;
}

/* Whom it shares answers with. */
static inline const struct key_scope *scope_of(const struct exchange *x)
{
    return x->plan.scope ? x->plan.scope : &site_of(x)->scope;
}

/* The operation's: the operator's own, or its dialect's. As long as the site. */
static inline struct slice operation_name(const struct exchange *x)
{
    return x->own ? x->own->name : slice_str(dialect_of(x->op)->name);
}

/* Which tier has the entry that is held. */
static inline const char *exchange_tier(const struct exchange *x)
{
    static const char *const names[] = {
        [TIER_MEMORY] = "memory", [TIER_DISK] = "disk", [TIER_REDIS] = "redis"};

    return names[x->entry.tier];
}

void site_view_free(struct site_view *view);

/* exchange.c: its life */
extern const struct front_handler exchange_handler; /* but for its arg */
void exchange_free_spare(struct worker *w);
/** Something that it waited for has come: it runs again, or, where it has ended meanwhile, is done with. */
void exchange_resume(struct exchange *x);
void exchange_draw_id(struct worker *w, char out[REQUEST_ID_MAX + 1]);
/* Last steps: by what is stored, or what was said by exchange_refuse. STEP_DONE. */
enum step exchange_reply_entry(struct exchange *x);
enum step exchange_reply_refusal(struct exchange *x);

/* exchange_head.c: from its head alone */
void exchange_on_head(struct front_req *r);
/** What the cache may have nothing to do with, and @why (static text). */
void exchange_bypass(struct exchange *x, const char *why);
/** Nothing but an error will come of it; the first that is said stands. @text is static. Whoever calls this
 * sees to the reply: at once, or, while a body comes, at its end. */
void exchange_refuse(struct exchange *x, enum error_code code, const char *text);
bool exchange_take_route(struct exchange *x);
/** As keying wants it: borrows all from @x. */
struct keying exchange_keying(const struct exchange *x);

/* exchange_client.c: who asks; either may refuse it */
void exchange_take_client(struct exchange *x);
/** One more of its client's requests a minute; where hits are not to count, not before it is known to be
 * none. */
void exchange_charge_client(struct exchange *x);

/* exchange_body.c */
size_t exchange_on_body(struct front_req *r, struct slice bytes);
/** Gives back to the allowance what it has taken: once the reply has begun nothing asks for the body again,
 * and the client may send the next one. */
void exchange_drop_body(struct exchange *x);

/* exchange_key.c: which request is it? */
enum step step_key(struct exchange *x);
enum step step_make(struct exchange *x);
enum step step_made(struct exchange *x);
/** As it is told in counts and log. */
void exchange_keep_model(struct exchange *x, struct slice model);

/* exchange_store.c: will what is stored do? */
enum step step_lookup(struct exchange *x);
enum step step_below(struct exchange *x);

/* exchange_flight.c: what comes from upstream */
enum step step_refresh(struct exchange *x);
enum step step_join(struct exchange *x);
enum step step_pass(struct exchange *x);
enum step step_look(struct exchange *x);
/** On a flight that nobody else will join, whose body is there, or (@streamed) on its way. May refuse. */
void exchange_start_alone(struct exchange *x, bool streamed);

/* answer.c: replies; each sends */
void answer_entry(struct exchange *x);                                  /* from the store: x->entry */
void answer_flight(struct exchange *x, const struct flight_head *head); /* what a flight brings */
void answer_error(struct exchange *x, enum error_code code, const char *text);
/** An OPTIONS that may go no further: what passes here (RFC 9110 section 7.6.2). */
void answer_options(struct exchange *x);

/* lookup.c: what the store has for it. What is found lies in x->entry, and is held. */
/** Looks under its key, or its variant's, and sets x->verdict. An entry is held on any verdict but FRESH_ASK.
 */
enum fresh_verdict lookup_entry(struct exchange *x);
/** Finds what is stale, but better than the error (@error_status; 0: one of ours) that there is for it (RFC
 * 5861 section 4); or what is fresh, where another one has been luckier. */
bool lookup_instead(struct exchange *x, unsigned error_status);
/** The same without asking first, while upstream is known to be in trouble (SPEC section 9). Who comes when a
 * probe is due asks as ever: somebody must. */
bool lookup_while_shut(struct exchange *x);
/** Who may have what it brings stored has a stale answer asked for again, unless that is under way, or of no
 * use while upstream is known to be in trouble. */
bool lookup_wants_refresh(const struct exchange *x);
/** RFC 9110 section 7.7: the client wants it untouched, and does not take the coding it is stored in. It is
 * let go then. */
bool lookup_is_coded_otherwise(struct exchange *x);
/** True when a fresh entry has appeared since; nothing is held. */
bool lookup_is_fresh_by_now(struct exchange *x);
/** True when an unsafe request has changed what this one asks for, since @seq. */
bool lookup_is_outdated(const struct exchange *x, int64_t seq);
/** True when an invalidation since @seq may mean what a flight that began then will bring under @key. */
bool lookup_flight_is_outdated(const struct exchange *x, const struct digest *key, int64_t seq);

/* below.c: what the tiers below memory have for it */
/** True when they may be asked for x->key, and were not. */
bool below_may_ask(const struct exchange *x);
/** True when, besides, without an answer from the store it is not to go upstream, or not as one that others
 * may join: so it asks by itself. */
bool below_asks_alone(const struct exchange *x);
/** The flight has asked them and tells (FLIGHT_BELOW): takes what they had, and the body back. */
void below_take(struct exchange *x);
/** Asks them for this exchange alone; it is woken when they have answered. */
void below_start(struct exchange *x);
/** True until then. */
bool below_is_asked(const struct exchange *x);
/** Holds in @out what they had, if it is what lies under @key and of use. */
bool below_peek(const struct exchange *x, const struct digest *key, struct entry_ref *out);
/** Harmless where nothing was asked; a search under way is given up. */
void below_free(struct exchange *x);

/* choosing.c: of several answers to one request (Refrain-Variants), which shall this one be? */
static inline bool keeps_several(const struct exchange *x)
{
    return ask_keeps_several(&x->ask);
}
/* Makes x->common_key and x->key those of one that is stored, where all are, or whose flight has the fewest
 * readers. True when that is another one than before. */
bool choose_answer(struct exchange *x);

/* forward.c: has @f produced by what the request asks of upstream */
enum forward_how {
    FORWARD_WHOLE,    /* its body is there */
    FORWARD_STREAMED, /* its body is on its way */
    FORWARD_UNREAD,   /* for the store's sake: nobody reads */
};
/** How often an OPTIONS may still be forwarded, by its Max-Forwards; -1: no bound. */
int64_t forward_hops_left(const struct exchange *x);
void forward_start(struct exchange *x, struct flight *f, const struct digest *key, enum forward_how how);
