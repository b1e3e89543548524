/*
 * redis_nodes - to which node a call goes, and where next: the nodes that are known, the connections to
 * them, the map of slots, redirections. A server that is no cluster is one of a single node: the same way for
 * all.
 *
 *   redis (deadlines) ─► redis_nodes ─► by slot to a node ─► redis_conn
 *                            ▲    └─ MOVED, ASK, TRYAGAIN: once more, REDIS_HOPS_MAX times at most
 *                            └─ CLUSTER SLOTS, from any node that is up: at first, after redirections and
 * losses, now and then
 */
#pragma once
#include "redis_priv.h"

struct redis_nodes;

enum { REDIS_HOPS_MAX = 5 }; /* times that one call is sent anew */

struct redis_nodes_events {
    void (*on_state)(void *arg, const struct redis_state *state); /* at each change; may be NULL */
    void *arg;
    /* Once for every call taken, never within redis_nodes_ask; the call's order is gone by then. */
    void (*on_answer)(struct redis_call *call, const struct redis_reply *reply, enum redis_why why);
};

/** Begins to connect to the node that @s names. NULL when out of memory. */
struct redis_nodes *redis_nodes_new(struct loop *l, struct redis_settings *s,
                                    const struct redis_nodes_events *events);
/** Every call comes back within it. Not within a callback of its own. NULL is fine. */
void redis_nodes_free(struct redis_nodes *c);

/** Sends @call, whose due_ms is set: REDIS_REPLIED when it is taken, else why it is not. */
enum redis_why redis_nodes_ask(struct redis_nodes *c, struct redis_call *call);
/** Takes back a call that was taken and has not come back: on_answer is not called for it. */
void redis_nodes_forget(struct redis_call *call);

/** Some node is up, so that some calls can go. */
bool redis_nodes_is_up(const struct redis_nodes *c);
/** When some node was last heard: loop_now_ms. */
int64_t redis_nodes_heard_ms(const struct redis_nodes *c);
/** There is something to walk: one node, or those of a map. */
bool redis_nodes_knows_nodes(const struct redis_nodes *c);
/** As redis_each_node. */
void redis_nodes_each_node(struct redis_nodes *c,
                           void (*on_node)(void *arg, uint32_t node, struct slice address), void *arg);
