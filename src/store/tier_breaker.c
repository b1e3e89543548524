#include "refrain/store/tier_breaker.h"

#include <pthread.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

struct breaker {
    struct tier tier;    /* first */
    struct tier_ops ops; /* the inner tier's name and kind, our functions */
    struct tier *inner;
    struct tier_breaker_conf conf;
    pthread_mutex_t lock; /* a leaf, of all below */
    enum tier_breaker_is is;
    bool forced;
    const struct tier_op *probe; /* half-open: the one that was let through */
    unsigned failures, rests;
    enum tier_result cause;
    int64_t since_ms, until_ms, open_ms;
    uint64_t opened, closed, refused;
};

struct breaker_port {
    struct tier_port port; /* first */
    struct tier_port *inner;
    struct tier_replies *refusals;
};

static struct breaker *breaker_of(struct tier *t)
{
    return (struct breaker *)t;
}

struct tier *tier_breaker_inner(struct tier *t)
{
    return breaker_of(t)->inner;
}

static struct breaker_port *port_of(struct tier_port *p)
{
    return (struct breaker_port *)p;
}

/* -- the machine; under the lock -- */

static void move_to(struct breaker *b, enum tier_breaker_is is, int64_t now_ms)
{
    b->is = is;
    b->since_ms = now_ms;
    b->probe = NULL;
}

static void open_it(struct breaker *b, int64_t now_ms)
{
    move_to(b, TIER_BREAKER_OPEN, now_ms);
    b->until_ms = now_ms + b->open_ms;
    b->open_ms = b->open_ms * 2 < b->conf.open_ms_max ? b->open_ms * 2 : b->conf.open_ms_max;
    b->rests++;
    b->opened++;
}

static void close_it(struct breaker *b, int64_t now_ms)
{
    move_to(b, TIER_BREAKER_CLOSED, now_ms);
    b->failures = b->rests = 0;
    b->open_ms = b->conf.open_ms;
    b->closed++;
}

/* A tier that has found its way back (a connection made anew) need not wait for its time. */
static bool is_back(struct breaker *b)
{
    struct tier_state state;

    b->inner->ops->state(b->inner, &state);
    return state.health == TIER_UP && state.since_ms > b->since_ms;
}

static bool may_probe(struct breaker *b, const struct tier_op *op, int64_t now_ms)
{
    return b->is == TIER_BREAKER_OPEN && !b->forced && ((op->spare && now_ms >= b->until_ms) || is_back(b));
}

static bool is_partly_up(struct breaker *b)
{
    struct tier_state state;

    b->inner->ops->state(b->inner, &state);
    return state.partly;
}

static bool counts_against(struct breaker *b, enum tier_result r)
{
    return r == TIER_LATE || r == TIER_FAILED || (r == TIER_DOWN && !is_partly_up(b));
}

/* true: it has opened or closed. */
static bool note(struct breaker *b, const struct tier_op *op, int64_t now_ms)
{
    bool bad = counts_against(b, op->result), is_probe = b->probe == op;

    if (is_probe && (bad || op->result == TIER_BUSY)) {
        b->cause = op->result;
        b->failures++;
        open_it(b, now_ms);
        return true;
    }
    if (is_probe) {
        close_it(b, now_ms);
        return true;
    }
    if (b->is != TIER_BREAKER_CLOSED || op->result == TIER_BUSY)
        return false; /* asked before it opened */
    b->failures = bad ? b->failures + 1 : 0;
    if (bad)
        b->cause = op->result;
    if (b->forced || b->failures < b->conf.failures)
        return false;
    open_it(b, now_ms);
    return true;
}

/* -- around every question -- */

static bool admit(struct breaker *b, const struct tier_op *op, bool may_be_probe)
{
    int64_t now_ms = b->conf.now_ms();
    bool ok;

    (void)pthread_mutex_lock(&b->lock);
    ok = b->is == TIER_BREAKER_CLOSED;
    if (!ok && may_be_probe && may_probe(b, op, now_ms)) {
        move_to(b, TIER_BREAKER_HALF_OPEN, now_ms);
        b->probe = op;
        ok = true;
    }
    if (!ok)
        b->refused++;
    (void)pthread_mutex_unlock(&b->lock);
    return ok;
}

static void on_answered(struct tier_op *op)
{
    struct breaker *b = breaker_of(op->outer->tier);
    int64_t now_ms = b->conf.now_ms();
    bool changed;

    (void)pthread_mutex_lock(&b->lock);
    changed = note(b, op, now_ms);
    (void)pthread_mutex_unlock(&b->lock);
    if (changed && b->conf.on_change)
        b->conf.on_change(b->conf.arg, &b->tier);
    op->on_done = op->outer_done;
    op->on_done(op);
}

/* The port to ask through; NULL: it has been answered. */
static struct tier_port *pass(struct tier_port *p, struct tier_op *op)
{
    if (!admit(breaker_of(p->tier), op, true)) {
        tier_reply(port_of(p)->refusals, op, TIER_DOWN);
        return NULL;
    }
    op->outer_done = op->on_done;
    op->outer = p;
    op->on_done = on_answered;
    return port_of(p)->inner;
}

static void breaker_get(struct tier_port *p, struct tier_get *g)
{
    struct tier_port *inner = pass(p, &g->op);

    if (inner)
        inner->tier->ops->get(inner, g);
}

static void breaker_put(struct tier_port *p, struct tier_put *put)
{
    struct tier_port *inner = pass(p, &put->op);

    if (inner)
        inner->tier->ops->put(inner, put);
}

static void breaker_remove(struct tier_port *p, struct tier_delete *d)
{
    struct tier_port *inner = pass(p, &d->op);

    if (inner)
        inner->tier->ops->remove(inner, d);
}

static void breaker_scan(struct tier_port *p, struct tier_scan *s)
{
    struct tier_port *inner = port_of(p)->inner;

    if (admit(breaker_of(p->tier), &s->op, false))
        inner->tier->ops->scan(inner, s);
    else
        tier_reply(port_of(p)->refusals, &s->op, TIER_DOWN);
}

static void breaker_delete_if(struct tier_port *p, struct tier_delete_if *d)
{
    struct tier_port *inner = port_of(p)->inner;

    if (admit(breaker_of(p->tier), &d->op, false))
        inner->tier->ops->delete_if(inner, d);
    else
        tier_reply(port_of(p)->refusals, &d->op, TIER_DOWN);
}

/* -- ports, and what is told -- */

static struct tier_port *breaker_open(struct tier *t, struct loop *l)
{
    struct breaker *b = breaker_of(t);
    struct breaker_port *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->port = (struct tier_port){t, l};
    p->refusals = tier_replies_new(l);
    p->inner = p->refusals ? b->inner->ops->open(b->inner, l) : NULL;
    if (p->inner)
        return &p->port;
    tier_replies_end(p->refusals);
    free(p);
    return NULL;
}

static void breaker_close(struct tier_port *p)
{
    struct tier_port *inner = port_of(p)->inner;

    inner->tier->ops->close(inner);
    tier_replies_end(port_of(p)->refusals);
    free(p);
}

struct tier_port *tier_breaker_inside(struct tier_port *p)
{
    return port_of(p)->inner;
}

static void breaker_stats(struct tier *t, struct tier_stats *out)
{
    struct breaker *b = breaker_of(t);

    b->inner->ops->stats(b->inner, out);
    (void)pthread_mutex_lock(&b->lock);
    out->errors[TIER_DOWN] += b->refused;
    (void)pthread_mutex_unlock(&b->lock);
}

static void breaker_state(struct tier *t, struct tier_state *out)
{
    struct breaker *b = breaker_of(t);

    b->inner->ops->state(b->inner, out);
    (void)pthread_mutex_lock(&b->lock);
    if (b->is != TIER_BREAKER_CLOSED && out->health != TIER_IS_DOWN)
        *out = (struct tier_state){
            TIER_IS_DOWN, b->forced ? "breaker opened by hand" : tier_result_name(b->cause), b->since_ms};
    (void)pthread_mutex_unlock(&b->lock);
}

static void breaker_free(struct tier *t)
{
    struct breaker *b = breaker_of(t);

    tier_free(b->inner);
    (void)pthread_mutex_destroy(&b->lock);
    free(b);
}

struct tier *tier_breaker_new(struct tier *inner, const struct tier_breaker_conf *conf)
{
    struct breaker *b = calloc(1, sizeof(*b));

    if (!b) {
        tier_free(inner);
        return NULL;
    }
    b->ops = (struct tier_ops){
        .name = inner->ops->name,
        .kind = inner->ops->kind,
        .open = breaker_open,
        .close = breaker_close,
        .get = breaker_get,
        .put = breaker_put,
        .remove = breaker_remove,
        .scan = breaker_scan,
        .delete_if = breaker_delete_if,
        .stats = breaker_stats,
        .state = breaker_state,
        .free = breaker_free,
    };
    b->tier.ops = &b->ops;
    b->inner = inner;
    b->conf = *conf;
    if (!b->conf.now_ms)
        b->conf.now_ms = clock_mono_ms;
    b->open_ms = conf->open_ms;
    b->since_ms = b->conf.now_ms();
    (void)pthread_mutex_init(&b->lock, NULL);
    return &b->tier;
}

void tier_breaker_look(struct tier *t, struct tier_breaker_state *out)
{
    struct breaker *b = breaker_of(t);
    int64_t now_ms = b->conf.now_ms();

    (void)pthread_mutex_lock(&b->lock);
    *out = (struct tier_breaker_state){
        .is = b->is,
        .forced = b->forced,
        .failures = b->failures,
        .rests = b->rests,
        .cause = b->cause,
        .since_ms = b->since_ms,
        .probe_in_ms =
            b->is == TIER_BREAKER_OPEN && !b->forced && b->until_ms > now_ms ? b->until_ms - now_ms : 0,
        .opened = b->opened,
        .closed = b->closed,
        .refused = b->refused,
    };
    (void)pthread_mutex_unlock(&b->lock);
}

void tier_breaker_order(struct tier *t, enum tier_breaker_order order)
{
    struct breaker *b = breaker_of(t);
    enum tier_breaker_is was;
    int64_t now_ms = b->conf.now_ms();

    (void)pthread_mutex_lock(&b->lock);
    was = b->is;
    b->forced = order != TIER_BREAKER_DO_RESET;
    if (order == TIER_BREAKER_DO_OPEN && was != TIER_BREAKER_OPEN)
        open_it(b, now_ms);
    if (order != TIER_BREAKER_DO_OPEN && was != TIER_BREAKER_CLOSED)
        close_it(b, now_ms);
    b->failures = 0;
    (void)pthread_mutex_unlock(&b->lock);
    if (b->conf.on_change)
        b->conf.on_change(b->conf.arg, t);
}
