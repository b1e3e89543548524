/*
 * What others see of the client: calls with their deadlines, over one connection.
 *
 * A call is in `live` while it has an order on a connection, or in `doomed` from redis_ask until the message
 * that brings it back, where it could not be sent at all.
 */
#include "refrain/store/redis.h"

#include <assert.h>
#include <stdlib.h>

#include "redis_nodes.h"

struct redis {
    struct loop *loop;
    struct redis_settings *settings;
    struct redis_nodes *nodes;
    struct list live, doomed;
    struct loop_timer *timer; /* the earliest deadline, or earlier */
    int64_t timer_ms;
    struct loop_msg msg;
    bool posted, is_freed, closing;
};

/* The call is the caller's from here on. */
static void call_end(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    list_remove(&call->link);
    call->order = NULL;
    call->on_reply(call, reply, why);
}

static void doom(struct redis *r, struct redis_call *call, enum redis_why why)
{
    call->why = why;
    list_push_back(&r->doomed, &call->link);
    if (r->posted)
        return;
    r->posted = true;
    loop_post(r->loop, &r->msg);
}

static void end_doomed(struct redis *r)
{
    struct list doomed;

    list_init(&doomed);
    list_splice_back(&doomed, &r->doomed); /* what is asked meanwhile comes back another time */
    while (!list_empty(&doomed)) {
        struct redis_call *call = CONTAINER_OF(doomed.next, struct redis_call, link);

        call_end(call, NULL, call->why);
    }
}

static void on_msg(struct loop_msg *m)
{
    struct redis *r = CONTAINER_OF(m, struct redis, msg);

    r->posted = false;
    if (r->is_freed)
        free(r);
    else
        end_doomed(r);
}

/* -- deadlines -- */

static void await(struct redis *r, int64_t due_ms)
{
    int64_t now = loop_now_ms(r->loop);

    if (loop_timer_active(r->timer) && r->timer_ms <= due_ms)
        return;
    r->timer_ms = due_ms;
    loop_timer_start(r->timer, due_ms > now ? due_ms - now : 0, 0);
}

static void end_late(struct list *late)
{
    while (!list_empty(late)) {
        struct redis_call *call = CONTAINER_OF(late->next, struct redis_call, link);

        redis_nodes_forget(call);
        call_end(call, NULL, REDIS_LATE);
    }
}

static void on_timer(void *arg)
{
    struct redis *r = arg;
    int64_t now = loop_now_ms(r->loop), next = INT64_MAX;
    struct list late;

    list_init(&late);
    LIST_FOR_SAFE(it, &r->live)
    {
        struct redis_call *call = CONTAINER_OF(it, struct redis_call, link);

        if (call->due_ms <= now) {
            list_remove(it);
            list_push_back(&late, it);
        } else if (call->due_ms < next) {
            next = call->due_ms;
        }
    }
    if (next < INT64_MAX)
        await(r, next);
    end_late(&late);
}

/* -- the outside -- */

void redis_ask(struct redis *r, struct redis_call *call)
{
    int64_t in_ms = call->deadline_ms > 0 ? call->deadline_ms : r->settings->conf.timeout_ms;
    enum redis_why why;

    assert(!r->closing);
    call->redis = r;
    call->due_ms = loop_now_ms(r->loop) + in_ms;
    list_init(&call->link);
    why = redis_nodes_ask(r->nodes, call);
    if (why != REDIS_REPLIED) {
        doom(r, call, why);
        return;
    }
    list_push_back(&r->live, &call->link);
    await(r, call->due_ms);
}

void redis_forget(struct redis_call *call)
{
    list_remove(&call->link);
    redis_nodes_forget(call);
}

bool redis_is_up(const struct redis *r)
{
    return redis_nodes_is_up(r->nodes);
}

bool redis_knows_nodes(const struct redis *r)
{
    return redis_nodes_knows_nodes(r->nodes);
}

void redis_each_node(struct redis *r, void (*on_node)(void *arg, uint32_t node, struct slice address),
                     void *arg)
{
    redis_nodes_each_node(r->nodes, on_node, arg);
}

struct redis *redis_new(struct loop *l, const struct redis_conf *conf)
{
    const struct redis_nodes_events events = {conf->on_state, conf->on_state_arg, call_end};
    struct redis *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->loop = l;
    r->msg.on_msg = on_msg;
    list_init(&r->live);
    list_init(&r->doomed);
    r->settings = redis_settings_new(conf);
    r->nodes = r->settings ? redis_nodes_new(l, r->settings, &events) : NULL;
    if (!r->nodes) {
        redis_settings_unref(r->settings);
        free(r);
        return NULL;
    }
    r->timer = loop_timer_new(l, on_timer, r);
    return r;
}

void redis_free(struct redis *r)
{
    if (!r)
        return;
    r->closing = true;
    redis_nodes_free(r->nodes); /* brings back all that are live */
    end_doomed(r);
    loop_timer_free(r->timer);
    redis_settings_unref(r->settings);
    r->is_freed = true;
    if (!r->posted)
        free(r);
}
