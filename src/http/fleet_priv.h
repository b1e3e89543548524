/*
 * fleet, inside - a member and how its files share the work:
 *
 *   fleet.c         the port, the life of a member, its questions to Redis, the election
 *   fleet_lead.c    what a leader tells: batches on their way out, one at a time
 *   fleet_follow.c  what a follower reads: woken, or by itself
 *
 * A member has at most one question on its way. What happens meanwhile is done when it is back: a leader's
 * bytes gather into the next batch, so that tokens cost few commands and none is held back; a follower that
 * is woken looks once more.
 *
 *   ELECTING ──► LEADING ──► ENDING (its last words are on their way, and nobody waits for them)
 *       │ ▲
 *       ▼ │ the leader is gone
 *   FOLLOWING
 */
#pragma once
#include "refrain/base/buf.h"
#include "refrain/base/list.h"
#include "refrain/base/loop.h"
#include "refrain/http/fleet.h"
#include "refrain/policy/breaker.h"
#include "refrain/policy/lease.h"
#include "refrain/store/redis.h"

enum {
    TOKEN_LEN = 32,
    FLEET_NAME_MAX = 192, /* of a key or a channel: prefix, two sums, and words */
    ARGS_MAX = 32,
    ARGS_TEXT_MAX = 256, /* of the numbers among them */
    WAKE_BUCKETS = 64,
    BATCH_MESSAGES_MAX = 8,
    MESSAGE_BYTES_MAX = 64 * 1024, /* of an answer, in one message */
};

enum fleet_stage { STAGE_ELECTING, STAGE_LEADING, STAGE_FOLLOWING, STAGE_ENDING };

/* Messages on their way to Redis, as they will be tried again. */
struct fleet_batch {
    struct buf bytes;
    struct {
        size_t at, len;
    } messages[BATCH_MESSAGES_MAX];
    unsigned n;
    uint64_t first; /* seq of the first */
    uint64_t keeps; /* lease_lead_keeps */
    bool last;      /* the end is among them */
};

/* What a leader still has to tell. */
struct fleet_outbox {
    struct buf head, data, end; /* payloads; empty: there is none */
    size_t told;                /* of data, by batches made */
    size_t charged;             /* taken from the allowance */
    int64_t linger_ms;
    struct fleet_batch batch;
    bool deserted; /* it would like to leave */
};

struct fleet_member {
    struct list link; /* in the port */
    struct list wake; /* in a bucket of the port, while it follows */
    struct fleet_port *port;
    const struct fleet_events *events;
    void *arg;
    enum fleet_stage stage;
    bool busy, left; /* a callback is under way; during which it has left */
    struct digest key;
    int64_t seq, spent_ms;
    char me[TOKEN_LEN + 1], leader[TOKEN_LEN + 1];
    uint64_t fence;

    /* the question on its way */
    struct redis_call call;
    bool asking;
    int64_t asked_ms;
    struct slice argv[ARGS_MAX];
    size_t argc;
    char numbers[ARGS_TEXT_MAX];
    size_t numbers_len;
    char names[5][FLEET_NAME_MAX];
    char lease_text[TOKEN_LEN + 32];
    unsigned names_n;
    struct loop_timer *timer;
    unsigned epoch; /* of the breaker, where it is the probe */
    bool probes;

    struct sha256 *sum; /* of the bytes told, or taken */
    uint64_t bytes;

    /* a leader's */
    struct lease_lead lead;
    struct fleet_outbox out;
    bool mute; /* Redis has ceased to take it */
    int64_t end_by_ms;

    /* a follower's */
    struct lease_follow follow;
    struct buf opened; /* what was sealed */
    char from[32];
    bool woken, again, paused, head_seen;
};

struct fleet_port {
    struct loop *loop;
    const struct fleet_conf *conf;
    struct metric_block *counts;
    struct redis *redis;
    struct redis_sub *sub;
    struct list members;
    struct list wakes[WAKE_BUCKETS];
    struct breaker_availability breaker;
    int64_t complain_at_ms; /* not before; monotonic */
    bool closing;
};

/* -- fleet.c -- */

/** Begins a question: EVAL of @script over the keys that follow by fleet_key, then arguments. */
void fleet_ask_begin(struct fleet_member *m, struct slice script, unsigned keys);
/** The next key, of @what ("lease"); @token: whose, or NULL. */
void fleet_ask_key(struct fleet_member *m, const char *what, const char *token);
void fleet_ask_text(struct fleet_member *m, struct slice text);
void fleet_ask_number(struct fleet_member *m, int64_t number);
/** The channel by which the followers of @token are woken. */
struct slice fleet_channel(struct fleet_member *m, const char *token);
void fleet_ask_send(struct fleet_member *m, int64_t deadline_ms,
                    void (*on_reply)(struct redis_call *call, const struct redis_reply *reply,
                                     enum redis_why why));
struct fleet_member *fleet_member_of(struct redis_call *call);

/** Ends the member; nothing of it comes back. */
void fleet_free(struct fleet_member *m);
/** The member is gone, and its owner told so. */
void fleet_part(struct fleet_member *m, enum fleet_turn turn, enum metric_fleet why);
/** Stands for election, or finds out whom to follow. */
void fleet_elect(struct fleet_member *m);
/** Deadline of what nobody waits for. */
int64_t fleet_patience_ms(const struct fleet_member *m);
void fleet_count(const struct fleet_member *m, enum metric_fleet what);
struct lease_conf fleet_lease(const struct fleet_member *m);
/** Where those are listed who follow @token. */
struct list *fleet_wake_bucket(struct fleet_port *p, const char *token);

/* -- fleet_lead.c -- */

void fleet_lead_begin(struct fleet_member *m);
void fleet_lead_done(struct fleet_member *m);
/** From here on Redis hears nothing more, and the port is not needed. */
void fleet_lead_close(struct fleet_member *m);
void fleet_on_lead_timer(struct fleet_member *m);
/** Gives back a lease that may have been won, or is held, and says nothing. The member is the port's then. */
void fleet_lead_release(struct fleet_member *m);

/* -- fleet_follow.c -- */

void fleet_follow_begin(struct fleet_member *m);
void fleet_follow_done(struct fleet_member *m);
void fleet_on_follow_timer(struct fleet_member *m);
void fleet_follow_woken(struct fleet_member *m);
