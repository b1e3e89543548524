/*
 * fetch, inside - one flight's producer and how its files share the work:
 *
 *   fetch.c        the tiers below memory, upstream, and the end
 *   fetch_fleet.c  the other instances: who leads tells them what comes, who follows has it from them
 *
 * Owned by one worker's thread.
 */
#pragma once
#include "keep.h"
#include "refrain/base/buf.h"
#include "refrain/http/fetch.h"
#include "refrain/http/fleet.h"
#include "refrain/store/entry_ref.h"
#include "tries.h"

struct fetch {
    struct flight *flight; /* NULL once ended */
    struct flight_producer producer;
    struct upstream_call *call; /* NULL once ended */
    struct loop_timer *late;    /* until the head comes; NULL when nobody waits with it */
    struct loop *loop;
    struct metric_block *counts;
    struct site *site;
    struct tries tries;
    bool has_key, unread;
    struct entry_ref about; /* what upstream is asked about, if anything */
    bool lost;              /* it has said 304 about something else */
    bool by_head;           /* it is asked by HEAD; … */
    bool described;         /* … and what it says is of what is stored */
    bool paused, overloaded, reading;
    bool shows_ours; /* upstream is shown our own credential; … */
    bool refused_us; /* … and does not take it */
    struct keep keep;
    struct buf body;
    size_t body_charged;
    struct upload *upload;
    uint64_t caller;
    struct slice changes; /* the target of an unsafe request; empty: it changes nothing */
    int64_t started_ns, first_byte_ns;
    struct below *below;      /* until upstream is asked; NULL: it was at once */
    struct fleet_port *fleet; /* NULL: other instances have no part in it */
    struct fleet_member *member;
    bool followed; /* another instance, for a while */
    bool led;      /* the member follows, or may yet */
    bool head_told;
};

/* The tiers below memory are asked first, then the other instances whether one of them does; meanwhile the
 * request to upstream waits, in a copy. */
struct below {
    struct fetch *fetch;
    struct upstream_pool *pool;
    struct store_search search;
    int64_t known_seq, known_expires_ms; /* what memory has; 0: nothing */
    struct upstream_request request;
    struct field *fields; /* behind it, with the bytes of all texts */
};

/* -- fetch.c -- */

/** Ends the flight; frees the fetch, now or when the flight's last word has come. */
void fetch_finish(struct fetch *x, enum flight_end how);
/** The same with an error of ours as the answer. */
void fetch_fail(struct fetch *x, enum error_code code, const char *why, enum gate_reason reason);
/** Lets readers have what there is. */
void fetch_publish(struct fetch *x);
/** Asks upstream by the request that has been waiting. */
void fetch_ask_waiting(struct fetch *x);
/** It need not wait any more. */
void fetch_drop_request(struct fetch *x);
/** Those who wait for a head begin to count how long. */
void fetch_watch_lateness(struct fetch *x);
/** True when nobody reads it here, nor is there another reason to go on. */
bool fetch_is_deserted(const struct fetch *x);

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
