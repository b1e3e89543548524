/*
 * store_redis_priv - what the files of the Redis tier share: a question under way, and how it ends.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "redis_priv.h"
#include "refrain/base/list.h"
#include "refrain/store/store_redis.h"

enum {
    RT_ARGV_MAX = 8,
    RT_NAME_MAX = 4096,
    RT_LOOK_BYTES = 2048, /* of a record's start: nearly always holds its metadata */
};

struct rt_tier {
    struct tier tier; /* first */
    struct redis_settings *settings;
    char *prefix;
    struct record_codec codec;
    int64_t write_timeout_ms;
    void (*on_notice)(void *arg, const struct store_redis_notice *n);
    void *arg;
    atomic_uint_least64_t errors[TIER_RESULTS];

    pthread_mutex_t lock;             /* a leaf; of all below */
    unsigned ports_n, up_n, partly_n; /* partly: up, but for some nodes of a cluster */
    enum redis_cause cause;           /* of the last that went down, or partly so */
    bool refused;                     /* told; until a connection is made anew */
    int64_t since_ms;                 /* of its health */
    enum tier_health health;
};

struct rt_port {
    struct tier_port port; /* first */
    struct redis *redis;
    struct list asks;
    bool up, partly, closing;
};

/* One question of ours, until it is answered: one command after another. Begins what each kind needs. */
struct rt_ask {
    struct list link; /* in port->asks */
    struct rt_port *port;
    struct tier_op *op; /* NULL: answered already, and only the message is still to come */
    int64_t due_ms;     /* loop_now_ms */
    int64_t step_ms;    /* each command at most so long; 0: until then */
    struct redis_call call;
    void (*on_reply)(struct rt_ask *a, const struct redis_reply *reply, enum redis_why why);
    void (*on_free)(struct rt_ask *a); /* what the kind holds; NULL: nothing */
    struct slice argv[RT_ARGV_MAX];
    size_t argc;
    struct buf name;
    char number[24];
    struct loop_msg msg;
    enum tier_result result;
};

static inline struct rt_tier *rt_tier_of(const struct rt_port *p)
{
    return (struct rt_tier *)p->port.tier;
}

/** A new question of @size bytes, which begin with an rt_ask; @fallback_ms where @op names no deadline. NULL:
 * out of memory, and @op has been answered. */
void *rt_ask_new(struct tier_port *p, struct tier_op *op, size_t size, int64_t fallback_ms);
/** Answers it, and frees it. Not from within a call of the tier's. */
void rt_ask_end(struct rt_ask *a, enum tier_result r);
/** The same by a message; for what is known at once. */
void rt_ask_end_later(struct rt_ask *a, enum tier_result r);
/** Sends what is in argv, which outlives the reply; @key names the slot. */
void rt_ask_send(struct rt_ask *a, struct slice key);

/** What is left for the next command until it, or the question, is late; at least 1. */
int64_t rt_left_ms(const struct rt_ask *a);
/** Of a reply that is an error, or of none; tells who operates of refusals. */
enum tier_result rt_result_of(struct rt_port *p, const struct redis_reply *reply, enum redis_why why);
/** Somebody else's key, of another type: nothing of ours. */
bool rt_is_wrong_type(const struct redis_reply *reply);

void rt_scan(struct tier_port *p, struct tier_scan *s);
void rt_delete_if(struct tier_port *p, struct tier_delete_if *d);
