/*
 * fleet - one upstream call for all instances that share a Redis: who asks is agreed on there, and what comes
 * is told through it. SPEC section 7, last item; decisions/0022. What is decided is policy/lease's, what is
 * said wire/relay's; here it is carried to Redis and back.
 *
 *   fleet_join ──► elected ─┬─ leads:   fleet_tell_head, fleet_tell, fleet_tell_end ──► a stream in Redis
 *                           ├─ follows: on_head, on_data, on_end ◄── the same stream
 *                           └─ alone:   Redis does not answer
 *
 * In Redis a flight is, with one hash tag, so that a cluster keeps all of it in one place:
 *   PREFIX:{flight:HEX}:lease            whose it is: TOKEN FENCE [closed]; runs out unless it is renewed
 *   PREFIX:{flight:HEX}:fence            the greatest fence so far
 *   PREFIX:{flight:HEX}:chunks:TOKEN     the stream of one leader; another leader has another
 *   PREFIX:{flight:HEX}:readers          there while it is followed
 * and wakes its followers on the channel PREFIX:flight:TOKEN. Every key has a lifetime from the command on
 * that makes it. No connection blocks; whoever hears no wake-up looks by itself.
 *
 * Threads: a port and its members on the thread of its loop. No callback comes within a call, but those that
 * fleet_port_free brings about.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/base/slice.h"
#include "refrain/http/limits.h"
#include "refrain/wire/relay.h"

struct redis_conf; /* store/redis.h */
struct seal_keys;  /* store/seal.h */

enum { FLEET_PREFIX_MAX = 64 };

struct fleet_conf {
    const struct redis_conf *redis;
    struct slice prefix;          /* at most FLEET_PREFIX_MAX */
    int64_t lease_ms;             /* how long a leader is believed without a word */
    uint64_t bytes_max;           /* of an answer, before newcomers are not taken any more */
    const struct seal_keys *keys; /* what is told is sealed with; NULL: it is not */
    struct limits *limits;        /* what waits to be told is taken from its allowance */
};

struct fleet_port;
/** What one worker has of it; @conf outlives it. NULL when out of memory. */
struct fleet_port *fleet_port_new(struct loop *l, const struct fleet_conf *conf, struct metric_block *counts);
/** Who follows is told FLEET_ALONE or FLEET_CUT within it, and who joins from here on goes alone; who leads
 * falls silent, so that another instance takes over. NULL is fine. */
void fleet_port_free(struct fleet_port *p);

struct fleet_member; /* one flight's part in the fleet */

enum fleet_turn {
    FLEET_LEADS,    /* ask upstream, and tell what comes */
    FLEET_FOLLOWS,  /* another instance asks; whatever came of one before is of no account */
    FLEET_ALONE,    /* ask upstream, and tell nobody. The member is gone */
    FLEET_CUT,      /* the leader is gone in the middle. The member is gone */
    FLEET_RESIGNED, /* nobody here reads, nor does anybody elsewhere. The member is gone */
};
struct fleet_events {
    /* @fence: of who leads, comparable with flights_seq; 0 where nobody does. */
    void (*on_turn)(void *arg, enum fleet_turn turn, int64_t fence);
    /* To a leader: is there nobody left here who reads, nor a reason to go on for the store's sake? */
    bool (*is_deserted)(void *arg);
    /* To a follower, in this order; each may end its part by fleet_leave. */
    void (*on_head)(void *arg, const struct relay_head *head);
    void (*on_data)(void *arg, struct slice bytes);
    void (*on_end)(void *arg, const struct relay_end *end); /* the member is gone */
};

/** Takes part for the flight of @key that was opened as @seq, and has waited for @spent_ms already: what
 * Redis has cost it before is not spent twice. NULL: go alone. @events outlives it. */
struct fleet_member *fleet_join(struct fleet_port *p, const struct digest *key, int64_t seq, int64_t spent_ms,
                                const struct fleet_events *events, void *arg);
/** It is over, for a follower or while it is not decided: nothing comes any more. NULL is fine. */
void fleet_leave(struct fleet_member *m);

/* -- who follows -- */

/** A reader has been given something: from here on it cannot be done over. */
void fleet_delivered(struct fleet_member *m);
/** No more on_data until fleet_resume; on_data may still say so of the bytes it has just been given. */
void fleet_pause(struct fleet_member *m);
void fleet_resume(struct fleet_member *m);

/* -- who leads; all are harmless where Redis has ceased to take it -- */

void fleet_tell_head(struct fleet_member *m, const struct relay_head *head);
void fleet_tell(struct fleet_member *m, struct slice bytes);
/** The last word; how many bytes there were, and their sum, are filled in. Newcomers are taken for @linger_ms
 * more. The member is gone. NULL is fine. */
void fleet_tell_end(struct fleet_member *m, const struct relay_end *end, int64_t linger_ms);
/** The last reader here has left: asks whether anybody follows. FLEET_RESIGNED comes, now or later, unless
 * is_deserted says otherwise by then. */
void fleet_desert(struct fleet_member *m);
/** True when another instance has taken over, so that what this one brings is not to be stored. */
bool fleet_is_lost(const struct fleet_member *m);
