/*
 * fetch, inside - one flight's producer and what its files share (fetch.c says which they are). Owned by one
 * worker's thread.
 */
#pragma once
#include "keep.h"
#include "refrain/base/buf.h"
#include "refrain/http/fetch.h"
#include "refrain/http/fleet.h"
#include "refrain/store/entry_ref.h"
#include "tries.h"

/* Each idea's members are set by the files named beside it, and read by all. */
struct fetch {
    /* whose it is, and how far it has come (fetch.c) */
    struct flight *flight; /* NULL once ended */
    struct flight_producer producer;
    struct loop *loop;
    struct metric_block *counts;
    struct site *site;
    bool has_key;            /* the answer may be stored, and others than the opener may wait for it */
    bool unread;             /* asked for the store's sake */
    bool reading;            /* readers have what there is */
    struct loop_timer *late; /* until the head comes; NULL when nobody waits with it */
    struct keep keep;        /* judges and stores; its reason is what speaks against storing */

    /* the request's body (fetch.c): in one piece, or on its way */
    struct buf body;
    size_t body_charged;
    struct upload *upload;

    /* the call to upstream (fetch.c) */
    struct upstream_call *call; /* NULL once ended */
    struct tries tries;
    int64_t started_ns, first_byte_ns;
    bool paused;     /* until the flight has room */
    bool overloaded; /* memory ran out on the way */

    /* what upstream's head is about (fetch_head.c) */
    struct entry_ref about; /* what it is asked about, if anything */
    bool lost;              /* it has said 304 about something else */
    bool by_head;           /* it is asked by HEAD; … */
    bool described;         /* … and what it says is of what is stored */

    /* whom its status tells of (fetch_news.c) */
    uint64_t caller;      /* key_caller's; 0: nobody */
    struct slice changes; /* the target of an unsafe request; empty: it changes nothing */
    bool shows_ours;      /* upstream is shown our own credential; … */
    bool refused_us;      /* … and does not take it */

    /* before upstream is asked (fetch_below.c) */
    struct waiting *waiting; /* until then; NULL: it was at once */

    /* the other instances (fetch_fleet.c) */
    struct fleet_port *fleet; /* NULL: they have no part in it */
    struct fleet_member *member;
    bool followed; /* another instance, for a while */
    bool led;      /* the member follows, or may yet */
    bool head_told;
};

/* The tiers below memory are asked first, then the other instances whether one of them does; meanwhile the
 * request to upstream waits, in a copy. */
struct waiting {
    struct fetch *fetch;
    struct upstream_pool *pool;
    struct store_search search;
    int64_t known_seq, known_expires_ms; /* what memory has; 0: nothing */
    struct upstream_request request;     /* its fields and the bytes of all texts lie behind this */
};

/* -- fetch.c -- */

/** Ends the flight; frees the fetch, now or when the flight's last word has come. */
void fetch_finish(struct fetch *x, enum flight_end how);
/** The same with an error of ours as the answer. */
void fetch_fail(struct fetch *x, enum error_code code, const char *why, enum gate_reason reason);
/** Lets readers have what there is. */
void fetch_publish(struct fetch *x);
/** The answer will not be stored, for @reason: there is no reason to hold it back. */
void fetch_pass_on(struct fetch *x, enum gate_reason reason);
/** Asks upstream now, if it may be asked; else the flight ends. @req is borrowed for the call. */
void fetch_ask_upstream(struct fetch *x, struct upstream_pool *pool, const struct upstream_request *req);
/** Those who wait for a head begin to count how long. */
void fetch_watch_lateness(struct fetch *x);
/** It has a key, and nothing has spoken against storing yet. */
bool fetch_is_storable(const struct fetch *x);
/** True when nobody reads it here, nor is there another reason to go on. */
bool fetch_is_deserted(const struct fetch *x);
/** Lets go what upstream was asked about; and has it go from every tier. */
void fetch_drop_about(struct fetch *x);
void fetch_unstore_about(struct fetch *x);

/* -- fetch_below.c -- */

/** The request waits: in a copy, but for its body, which is the fetch's. */
void fetch_wait(struct fetch *x, struct upstream_pool *pool, const struct upstream_request *req);
/** Asks the tiers below memory; what they have ends the flight, else the way goes on. */
void fetch_ask_below(struct fetch *x, const struct fetch_spec *spec);
/** Asks upstream by the request that has been waiting. */
void fetch_ask_waiting(struct fetch *x);
/** It need not wait any more. */
void fetch_drop_request(struct fetch *x);

/* -- fetch_head.c -- */

/** For upstream's on_head; @arg is the fetch. */
void fetch_on_head(void *arg, unsigned status, const struct fields *fields);
/** Copies fields of an answer to the flight's head, classified. false: there are too many, or no room. */
bool fetch_take_fields(struct fetch *x, const struct fields *fields);
/** The same with trailers, as far as they say nothing of the connection, and as there is room. */
void fetch_take_trailers(struct fetch *x, const struct fields *fields);
/** Nothing goes on that is about a connection, or is ours to say. */
void fetch_drop_hop_fields(struct fields *f);

/* -- fetch_news.c: what upstream's status tells besides -- */

/** RFC 9111 section 4.4: an unsafe request has changed its target, and what its answer names. */
void fetch_note_change(const struct fetch *x, unsigned status, const struct fields *fields);
/** Whether the caller's credential is good; 403 is about what was asked for, not about who asked. */
void fetch_note_proof(const struct fetch *x, unsigned status);
/** False when upstream does not take our own credential. Nobody here but the operator can do anything about
 * it, and what upstream says of a key may quote it: such an answer is not passed on. */
bool fetch_takes_ours(struct fetch *x, unsigned status);

/* -- fetch_fleet.c; harmless where the other instances have no part in it -- */

/** Has the instances agree on who asks. */
void fetch_elect(struct fetch *x);
/** True while another instance's answer is awaited, or who asks is not decided. */
bool fetch_is_led(const struct fetch *x);
/** The readers have news for a follower: some have left, or made room. */
void fetch_follow_on(struct fetch *x);
/** A follower has waited for as long as coalescing.max_wait. */
void fetch_follow_late(struct fetch *x);

/** What the leader's readers have, its followers are told. */
void fetch_tell_head(struct fetch *x);
void fetch_tell_bytes(struct fetch *x, struct slice bytes);
/** Nobody else may have it: @how is RELAY_UNSHAREABLE or RELAY_ALONE; or another instance is to take over:
 * RELAY_AGAIN. */
void fetch_tell_off(struct fetch *x, enum relay_how how);
/** The flight ends like this. */
void fetch_tell_end(struct fetch *x, enum flight_end how);
/** The last reader here has left. false: the other instances have no say in what becomes of it. */
bool fetch_ask_readers(struct fetch *x);
/** True when another instance has taken this one's place, so that nothing of it is to be stored. */
bool fetch_is_superseded(const struct fetch *x);
