/*
 * What is left for later, one chore at a time beside whatever somebody waits for: targets that have changed,
 * for whom nothing is walked at once, and what a lower tier could not do. What a tier could not do outlives
 * the process, in the ledger.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "invalidate_priv.h"
#include "ledger_line.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

enum { TARGETS_MS = 100 }; /* a target that changes all the time is deleted so often, not each time */

/* The tier of our own that lies below memory: disk. lower_n: there is none. */
static size_t own_tier(const struct invalidator *v)
{
    size_t at = 0;

    while (at < v->conf.lower_n && lower_kind(v, at) == TIER_REDIS)
        at++;
    return at;
}

/* -- what a tier could not do -- */

static void count_pending(struct invalidator *v)
{
    unsigned targets;

    (void)pthread_mutex_lock(&v->lock);
    targets = v->targets_n + v->targets_too_many;
    (void)pthread_mutex_unlock(&v->lock);
    atomic_store(&v->pending_all, v->pending_n + targets + (v->chore_is != CHORE_NONE));
}

/* Too many to be kept apart: all that this tier has from before now goes instead. */
static void pending_give_up(struct invalidator *v, size_t at, int64_t seq)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < v->pending_n; i++)
        if (v->pending[i].at == at) {
            seq = v->pending[i].seq > seq ? v->pending[i].seq : seq;
            free(v->pending[i].own);
        } else {
            v->pending[kept++] = v->pending[i];
        }
    v->pending_n = kept;
    if (kept == INVALIDATE_PENDING_MAX)
        pending_give_up(v, v->pending[0].at, 0); /* all of them are another tier's */
    v->pending[v->pending_n++] =
        (struct pending){.which = {.created_before_ms = clock_wall_ms()}, .at = at, .seq = seq};
    v->unkept = true;
}

static struct pending *pending_find(struct invalidator *v, const struct selector *which, size_t at)
{
    for (unsigned i = 0; i < v->pending_n; i++)
        if (v->pending[i].at == at && selector_eq(&v->pending[i].which, which))
            return &v->pending[i];
    return NULL;
}

static void pending_add(struct invalidator *v, const struct selector *which, size_t at, int64_t seq)
{
    struct pending p = {.at = at, .seq = seq}, *same = pending_find(v, which, at);

    if (same)
        same->seq = same->seq > seq ? same->seq : seq;
    else if (v->pending_n == INVALIDATE_PENDING_MAX || selector_copy(which, &p.which, &p.own) < 0)
        pending_give_up(v, at, seq);
    else
        v->pending[v->pending_n++] = p;
    count_pending(v);
}

void later_add(struct invalidator *v, const struct selector *which, size_t at, int64_t seq)
{
    pending_add(v, which, at, seq);
    later_keep(v);
}

/* -- what outlives the process -- */

static const char *name_of(const struct invalidator *v, size_t at)
{
    return v->lower[at].name;
}

static int add_pending(const struct invalidator *v, const struct pending *p, struct buf *out)
{
    const struct selector coarse = {.created_before_ms = p->seq / 1000 + 1};
    int r = ledger_line_add(out, name_of(v, p->at), p->seq, &p->which);

    return r == -EMSGSIZE ? ledger_line_add(out, name_of(v, p->at), p->seq, &coarse) : r;
}

/* Under the lock. Their fences go with the process, and are of any time before its end. */
static int add_targets(struct invalidator *v, struct buf *out)
{
    struct pending p = {.at = own_tier(v), .seq = clock_wall_ms() * 1000};
    int r = 0;

    if (!v->targets_failed || p.at == v->conf.lower_n)
        return 0;
    if (v->targets_too_many) {
        p.which.operation = SLICE_OF("read");
        r = add_pending(v, &p, out);
    }
    for (unsigned i = 0; r == 0 && i < v->targets_n; i++) {
        p.which = (struct selector){.target = v->targets[i]};
        r = add_pending(v, &p, out);
    }
    return r;
}

static int compose(struct invalidator *v, struct buf *out)
{
    int r = buf_add_slice(out, buf_slice(&v->unknown));

    for (unsigned i = 0; r == 0 && i < v->pending_n; i++)
        r = add_pending(v, &v->pending[i], out);
    if (r == 0 && (v->chore_is == CHORE_PENDING || (v->chore_is != CHORE_NONE && v->targets_failed)))
        r = add_pending(v, &v->chore_of, out);
    (void)pthread_mutex_lock(&v->lock);
    if (r == 0)
        r = add_targets(v, out);
    (void)pthread_mutex_unlock(&v->lock);
    return r;
}

void later_keep(struct invalidator *v)
{
    AUTO(buf_done) struct buf lines = BUF_INIT(INVALIDATE_LEDGER_BYTES_MAX);

    if (!v->conf.ledger)
        return;
    v->unkept = compose(v, &lines) < 0;
    if (v->unkept)
        return;
    ledger_set(v->conf.ledger, LEDGER_INVALIDATIONS, buf_slice(&lines));
    v->unkept = ledger_write(v->conf.ledger) < 0; /* tried again with the tier */
}

static size_t tier_named(const struct invalidator *v, struct slice name)
{
    size_t at = 0;

    while (at < v->conf.lower_n && !slice_eq(name, slice_str(name_of(v, at))))
        at++;
    return at;
}

/* At the start. */
static void on_ledger_line(void *arg, struct slice line)
{
    struct invalidator *v = arg;
    struct instances_msg m;
    struct slice tier;
    int64_t seq;
    size_t at;

    if (!ledger_line_read(line, &tier, &seq, &m)) {
        ledger_odd(v->conf.ledger);
        return;
    }
    at = tier_named(v, tier);
    if (at == v->conf.lower_n) { /* it may come back one day */
        if (buf_add_slice(&v->unknown, line) < 0 || buf_add_byte(&v->unknown, '\n') < 0)
            ledger_odd(v->conf.ledger);
        return;
    }
    fences_add(v->conf.fences, &m.which, seq);
    pending_add(v, &m.which, at, seq);
}

static void on_begin(struct loop_msg *m)
{
    later_next(CONTAINER_OF(m, struct invalidator, begin_msg));
}

/* What was given up for being too many is coarser from now on; nothing else has changed. */
void later_begin(struct invalidator *v)
{
    ledger_read(v->conf.ledger, LEDGER_INVALIDATIONS, on_ledger_line, v);
    if (v->pending_n == 0)
        return;
    v->begin_msg.on_msg = on_begin;
    (void)invalidator_post(v, &v->begin_msg);
}

/* -- one at a time -- */

static void on_retry(void *arg)
{
    later_next(arg);
}

/* A tier that has just failed is given a rest: what is due earlier waits for that, too. */
static void chores_later(struct invalidator *v, int64_t ms)
{
    if (invalidator_has_stopped(v))
        return;
    if (!v->retry)
        v->retry = loop_timer_new(v->conf.loop, on_retry, v); /* the loop frees it */
    if (!loop_timer_active(v->retry))
        loop_timer_start(v->retry, ms < v->conf.retry_ms ? ms : v->conf.retry_ms, 0);
}

/* Under the lock. */
static void target_remove(struct invalidator *v, uint64_t target)
{
    for (unsigned i = 0; i < v->targets_n; i++)
        if (v->targets[i] == target) {
            v->targets[i] = v->targets[--v->targets_n];
            return;
        }
}

/* Under the lock. */
static void target_add(struct invalidator *v, uint64_t target)
{
    target_remove(v, target);
    if (v->targets_n < INVALIDATE_TARGETS_MAX) {
        v->targets[v->targets_n++] = target;
    } else {
        v->targets_too_many = true;
        v->targets_n = 0;
    }
}

/* What was taken out is put back, to be done later. */
static void chore_put_back(struct invalidator *v)
{
    struct pending *p = &v->chore_of;

    if (v->chore_is == CHORE_PENDING) {
        pending_add(v, &p->which, p->at, p->seq); /* behind the others */
        return;
    }
    (void)pthread_mutex_lock(&v->lock);
    if (v->chore_is == CHORE_TARGET)
        target_add(v, p->which.target);
    else
        v->targets_too_many = true;
    (void)pthread_mutex_unlock(&v->lock);
    v->unkept = v->targets_failed = true;
}

static void on_chore_done(struct tier_op *op)
{
    struct invalidator *v = CONTAINER_OF(op, struct invalidator, chore.op);

    if (op->result != TIER_OK)
        chore_put_back(v);
    else
        v->unkept = v->unkept || v->chore_is == CHORE_PENDING || v->targets_failed;
    free(v->chore_of.own);
    v->chore_of.own = NULL;
    v->chore_is = CHORE_NONE;
    (void)pthread_mutex_lock(&v->lock);
    v->target_busy = false;
    v->targets_failed = v->targets_failed && (v->targets_n > 0 || v->targets_too_many);
    (void)pthread_mutex_unlock(&v->lock);
    count_pending(v);
    if (v->unkept)
        later_keep(v);
    if (op->result == TIER_OK)
        later_next(v);
    else
        chores_later(v, v->conf.retry_ms);
}

static void chore_ask(struct invalidator *v)
{
    struct tier_port *port = v->conf.lower[v->chore_of.at];

    v->chore = (struct tier_delete_if){
        .op = {.on_done = on_chore_done, .deadline_ms = v->conf.deadline_ms},
        .which = &v->chore_of.which,
    };
    port->tier->ops->delete_if(port, &v->chore);
}

/* Takes the next one out. false: there is none. */
static bool target_take(struct invalidator *v)
{
    v->chore_of = (struct pending){.at = own_tier(v), .seq = clock_wall_ms() * 1000};
    (void)pthread_mutex_lock(&v->lock);
    if (v->targets_too_many) {
        v->targets_too_many = false;
        v->chore_is = CHORE_READS;
        v->chore_of.which.operation = SLICE_OF("read");
    } else if (v->targets_n > 0) {
        v->chore_is = CHORE_TARGET;
        v->chore_of.which.target = v->targets[--v->targets_n];
    }
    v->target_busy = v->chore_is != CHORE_NONE;
    (void)pthread_mutex_unlock(&v->lock);
    return v->chore_is != CHORE_NONE;
}

static bool pending_take(struct invalidator *v)
{
    if (v->pending_n == 0)
        return false;
    v->chore_is = CHORE_PENDING;
    v->chore_of = v->pending[0];
    memmove(&v->pending[0], &v->pending[1], --v->pending_n * sizeof(v->pending[0]));
    return true;
}

/* One at a time, and after what somebody waits for. */
void later_next(struct invalidator *v)
{
    if (v->chore_is == CHORE_NONE && !v->running && !invalidator_has_stopped(v) &&
        (target_take(v) || pending_take(v)))
        chore_ask(v);
}

static void on_targets(struct loop_msg *m)
{
    struct invalidator *v = CONTAINER_OF(m, struct invalidator, msg);

    (void)pthread_mutex_lock(&v->lock);
    v->posted = false;
    (void)pthread_mutex_unlock(&v->lock);
    count_pending(v);
    chores_later(v, TARGETS_MS);
}

void invalidate_target(struct invalidator *v, uint64_t target, int64_t seq)
{
    struct selector which = {.target = target};
    bool post_it;

    fences_add(v->conf.fences, &which, seq);
    atomic_fetch_add(&v->counts[INVALIDATE_TARGET], 1);
    if (own_tier(v) == v->conf.lower_n)
        return;
    (void)pthread_mutex_lock(&v->lock);
    target_add(v, target);
    post_it = !v->posted && !invalidator_has_stopped(v);
    if (post_it) {
        v->posted = true;
        v->msg.on_msg = on_targets;
        loop_post(v->conf.loop, &v->msg);
    }
    (void)pthread_mutex_unlock(&v->lock);
}

void later_done(struct invalidator *v)
{
    for (unsigned i = 0; i < v->pending_n; i++)
        free(v->pending[i].own);
    free(v->chore_of.own);
    buf_done(&v->unknown);
}
