/*
 * redis_orders - what a connection was asked and has not answered yet. Orders wait in `unsent` until their
 * bytes are written, then in `sent`, in the order in which their replies will come. The only ways out of both
 * are a reply, redis_order_forget, and that all of them fail. Knows no socket and no clock.
 *
 * Threads: the connection's. A callback may forget orders, and ask anew.
 */
#pragma once
#include "redis_priv.h"
#include "refrain/base/list.h"

struct redis_orders {
    struct list unsent, sent;
    size_t unsent_at; /* bytes of the first that are written */
    size_t unsent_bytes, calls_n;
};

struct redis_order {
    struct list link;
    struct redis_orders *all;
    char *bytes; /* NULL: written */
    size_t len;
    int64_t patience_ms, sent_ms;
    redis_on_order *on_reply; /* NULL: forgotten */
    void *arg;
    bool mute; /* no reply comes in its turn */
};

void redis_orders_init(struct redis_orders *q);

/** REDIS_REPLIED: there is room for this one. */
enum redis_why redis_orders_room(const struct redis_orders *q, const struct redis_conf *conf,
                                 const struct slice *argv, size_t argc);
/** Appends one, without callback; it is the queue's. NULL when out of memory. */
struct redis_order *redis_orders_add(struct redis_orders *q, const struct slice *argv, size_t argc);

/** The next bytes to be written, in @max pieces at most; how many. */
int redis_orders_unsent(const struct redis_orders *q, struct iovec *iov, int max);
/** @n of these bytes are written. */
void redis_orders_written(struct redis_orders *q, size_t n, int64_t now_ms);

/** The one whose reply is next. NULL: none is expected. */
const struct redis_order *redis_orders_next(const struct redis_orders *q);
/** Ends that one. */
void redis_orders_answer(struct redis_orders *q, const struct redis_reply *reply, enum redis_why why);

/** All that were written, be it in part, are lost. */
void redis_orders_fail_sent(struct redis_orders *q);
/** All others come back undone. */
void redis_orders_fail_unsent(struct redis_orders *q);
