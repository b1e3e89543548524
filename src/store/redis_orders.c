#include "redis_orders.h"

#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/store/resp.h"

void redis_orders_init(struct redis_orders *q)
{
    *q = (struct redis_orders){.unsent_at = 0};
    list_init(&q->unsent);
    list_init(&q->sent);
}

static void order_free(struct redis_order *o)
{
    list_remove(&o->link);
    o->all->calls_n--;
    resp_format_free(o->bytes);
    free(o);
}

static void order_end(struct redis_order *o, const struct redis_reply *reply, enum redis_why why)
{
    redis_on_order *on_reply = o->on_reply;
    void *arg = o->arg;

    order_free(o);
    if (on_reply)
        on_reply(arg, reply, why);
}

static struct redis_order *first_of(const struct list *orders)
{
    return CONTAINER_OF(orders->next, struct redis_order, link);
}

/* -- in -- */

enum redis_why redis_orders_room(const struct redis_orders *q, const struct redis_conf *conf,
                                 const struct slice *argv, size_t argc)
{
    size_t size = resp_format_size(argv, argc);

    if (size > conf->queue_bytes_max)
        return REDIS_TOO_LARGE;
    if (q->calls_n >= conf->queue_calls_max || size > conf->queue_bytes_max - q->unsent_bytes)
        return REDIS_BUSY;
    return REDIS_REPLIED;
}

struct redis_order *redis_orders_add(struct redis_orders *q, const struct slice *argv, size_t argc)
{
    struct redis_order *o = calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    o->bytes = resp_format(argv, argc, &o->len);
    if (!o->bytes) {
        free(o);
        return NULL;
    }
    o->all = q;
    list_init(&o->link);
    list_push_back(&q->unsent, &o->link);
    q->unsent_bytes += o->len;
    q->calls_n++;
    return o;
}

/* -- written -- */

int redis_orders_unsent(const struct redis_orders *q, struct iovec *iov, int max)
{
    size_t at = q->unsent_at;
    int n = 0;

    LIST_FOR(it, &q->unsent)
    {
        struct redis_order *o = CONTAINER_OF(it, struct redis_order, link);

        iov[n++] = (struct iovec){o->bytes + at, o->len - at};
        at = 0;
        if (n == max)
            break;
    }
    return n;
}

static void order_is_sent(struct redis_orders *q, struct redis_order *o, int64_t now_ms)
{
    q->unsent_bytes -= o->len;
    resp_format_free(o->bytes);
    o->bytes = NULL;
    o->sent_ms = now_ms;
    list_remove(&o->link);
    if (o->mute)
        order_free(o);
    else
        list_push_back(&q->sent, &o->link);
}

void redis_orders_written(struct redis_orders *q, size_t n, int64_t now_ms)
{
    while (n > 0) {
        struct redis_order *o = first_of(&q->unsent);
        size_t rest = o->len - q->unsent_at;

        if (n < rest) {
            q->unsent_at += n;
            return;
        }
        n -= rest;
        q->unsent_at = 0;
        order_is_sent(q, o, now_ms);
    }
}

/* -- out -- */

const struct redis_order *redis_orders_next(const struct redis_orders *q)
{
    return list_empty(&q->sent) ? NULL : first_of(&q->sent);
}

void redis_orders_answer(struct redis_orders *q, const struct redis_reply *reply, enum redis_why why)
{
    order_end(first_of(&q->sent), reply, why);
}

void redis_order_forget(struct redis_order *o)
{
    struct redis_orders *q = o->all;
    bool is_first = q->unsent.next == &o->link;

    o->on_reply = NULL;
    if (!o->bytes || (is_first && q->unsent_at > 0))
        return; /* on its way: what comes for it is thrown away */
    q->unsent_bytes -= o->len;
    order_free(o);
}

/* A callback may forget others of the list, and ask anew, which does not end up in it. */
static void fail_all(struct list *orders, enum redis_why why)
{
    LIST_FOR(it, orders)
    { /* none of them is unsent any more, as redis_order_forget sees it */
        struct redis_order *o = CONTAINER_OF(it, struct redis_order, link);

        resp_format_free(o->bytes);
        o->bytes = NULL;
    }
    while (!list_empty(orders))
        order_end(first_of(orders), NULL, why);
}

void redis_orders_fail_sent(struct redis_orders *q)
{
    struct list lost;

    list_init(&lost);
    list_splice_back(&lost, &q->sent);
    if (q->unsent_at > 0) {
        struct redis_order *o = first_of(&q->unsent);

        q->unsent_at = 0;
        q->unsent_bytes -= o->len;
        list_remove(&o->link);
        list_push_back(&lost, &o->link);
    }
    fail_all(&lost, REDIS_LOST);
}

void redis_orders_fail_unsent(struct redis_orders *q)
{
    struct list down;

    list_init(&down);
    list_splice_back(&down, &q->unsent);
    q->unsent_bytes = 0;
    fail_all(&down, REDIS_DOWN);
}
