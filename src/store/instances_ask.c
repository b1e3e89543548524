/*
 * An invalidation, here and everywhere: on its way on the loop of who asks, on the instances' thread while
 * others are told and answer, and back.
 *
 *   who asks: instances_invalidate ─► invalidate_start ──────────────► on_own ─┐
 *                     └─message─► the thread: told, heard, or overdue ─message─┴─► finish
 */
#include <stdio.h>
#include <stdlib.h>

#include "instances_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

struct instances_sums {
    struct keyset own;    /* of the loop that asks */
    struct keyset others; /* of the instances' thread, until it posts back */
};

/* -- on the loop of who asks -- */

static void add_sum(void *keys, uint64_t sum)
{
    (void)keyset_add_sum(keys, sum);
}

/* Distinct keys over all who were heard. */
static void sum_up(struct instances_invalidation *x)
{
    uint64_t most = x->own.matched, sum = x->own.matched;
    unsigned with_any = x->own.matched > 0;

    x->at_least = x->own.at_least;
    for (size_t i = 0; i < x->others_n; i++) {
        const struct instance_answer *a = &x->others[i];

        x->at_least = x->at_least || a->at_least;
        with_any += a->matched > 0;
        sum += a->matched;
        most = a->matched > most ? a->matched : most;
    }
    x->matched = most;
    if (with_any < 2)
        return; /* what one alone has is distinct */
    if (x->sums)
        keyset_each(&x->sums->others, add_sum, &x->sums->own);
    x->at_least = x->at_least || !x->sums || x->sums->own.full || x->sums->others.full;
    if (x->sums && x->sums->own.n > most)
        x->matched = x->sums->own.n < sum ? x->sums->own.n : sum;
}

static void finish(struct instances_invalidation *x)
{
    if (--x->running > 0)
        return;
    sum_up(x);
    x->own.took_ns = clock_mono_ns() - x->begun_ns; /* who asked has waited for the others, too */
    if (x->sums) {
        keyset_done(&x->sums->own);
        keyset_done(&x->sums->others);
    }
    free(x->sums);
    x->sums = NULL;
    if (x->events)
        instances_event(x->events, &x->own, x, slice_str(events_source(x->events)), clock_wall_ms(),
                        x->correlation, NULL);
    x->on_done(x);
}

static void on_own_key(void *own, uint64_t sum)
{
    struct instances_invalidation *x = CONTAINER_OF(own, struct instances_invalidation, own);

    if (x->sums)
        (void)keyset_add_sum(&x->sums->own, sum);
}

static void on_own(struct invalidation *own)
{
    finish(CONTAINER_OF(own, struct instances_invalidation, own));
}

static void on_back(struct loop_msg *m)
{
    finish(CONTAINER_OF(m, struct instances_invalidation, msg));
}

static void on_tell(struct loop_msg *m)
{
    struct instances_invalidation *x = CONTAINER_OF(m, struct instances_invalidation, msg);

    instances_ask_begin(x->in, x);
}

void instances_invalidate(struct instances *in, struct invalidator *v, struct events *events,
                          struct instances_invalidation *x)
{
    x->in = in;
    x->begun_ns = clock_mono_ns();
    x->events = events;
    x->telling = INSTANCES_ALONE;
    x->matched = 0;
    x->at_least = x->appended = x->listening = false;
    x->others_n = 0;
    x->running = in ? 2 : 1;
    x->sums = in ? calloc(1, sizeof(*x->sums)) : NULL; /* NULL: distinct keys are not told apart */
    list_init(&x->link);
    x->own.told = true;
    x->own.on_done = on_own;
    x->own.on_key = in ? on_own_key : NULL;
    invalidate_start(v, &x->own);
    if (!in)
        return;
    x->msg.on_msg = on_tell;
    loop_post(in->loop, &x->msg);
}

/* -- on the instances' thread -- */

static bool is_expected(const struct instances *in, const struct instance_answer *a)
{
    return in->link == INSTANCES_LINKED && a->seen_ms < OTHER_LATELY_MS;
}

/* Those that were there when it was last looked. */
static void list_others(struct instances *in, struct instances_invalidation *x)
{
    int64_t ago_ms = loop_now_ms(in->loop) - in->seen_at_ms;

    for (size_t i = 0; i < in->seen_n && x->others_n < INSTANCES_OTHERS_MAX; i++) {
        struct instance_answer *a = &x->others[x->others_n];

        if (in->seen[i].self)
            continue;
        *a = (struct instance_answer){.seen_ms = in->seen[i].seen_ms + ago_ms};
        memcpy(a->id, in->seen[i].id, sizeof(a->id));
        memcpy(a->name, in->seen[i].name, sizeof(a->name));
        x->others_n++;
    }
}

static void send_back(struct instances_invalidation *x)
{
    list_remove(&x->link);
    x->telling = x->appended ? INSTANCES_TOLD : INSTANCES_LATER;
    if (x->own.dry_run && !x->appended)
        x->telling = INSTANCES_ALONE; /* and never will be */
    x->msg.on_msg = on_back;
    loop_post(x->own.loop, &x->msg);
}

/* What is still in the list to be told has nobody behind it any more. A dry run is of no use to anybody. */
static void disown(struct instances *in, struct instances_invalidation *x)
{
    LIST_FOR(it, &in->logs[LOG_MAIN].waiting)
    {
        struct outgoing *o = CONTAINER_OF(it, struct outgoing, link);

        if (o->asker == x)
            o->asker = NULL;
    }
    send_back(x);
}

static bool is_complete(const struct instances *in, const struct instances_invalidation *x)
{
    for (size_t i = 0; i < x->others_n; i++)
        if (is_expected(in, &x->others[i]) && !x->others[i].heard)
            return false;
    return x->appended;
}

static void set_due(struct instances *in)
{
    const struct instances_invalidation *first;
    int64_t delay_ms;

    if (list_empty(&in->asked)) {
        loop_timer_stop(in->due_timer);
        return;
    }
    first = CONTAINER_OF(in->asked.next, struct instances_invalidation, link);
    delay_ms = first->due_ms - loop_now_ms(in->loop);
    loop_timer_start(in->due_timer, delay_ms > 0 ? delay_ms : 0, 0);
}

void instances_ask_begin(struct instances *in, struct instances_invalidation *x)
{
    struct instances_msg m = {.kind = MSG_INVALIDATED,
                              .at_ms = clock_wall_ms(),
                              .which = x->own.which,
                              .dry_run = x->own.dry_run,
                              .correlation = x->correlation,
                              .ask = ++in->asks};
    struct outgoing *o;

    memcpy(m.source, in->id, sizeof(m.source));
    x->ask = m.ask;
    x->due_ms = loop_now_ms(in->loop) + INSTANCES_ANSWER_MS;
    list_others(in, x);
    list_push_back(&in->asked, &x->link);
    o = instances_outgoing(&m);
    if (o)
        o->asker = x;
    if (in->stopping || (x->own.dry_run && in->link != INSTANCES_LINKED)) {
        free(o);
        send_back(x);
    } else {
        instances_log_add(&in->logs[LOG_MAIN], o);
    }
    if (!in->stopping && in->link != INSTANCES_LINKED)
        instances_ask_overdue(in, true); /* it is not going to be told soon */
    set_due(in);
}

void instances_ask_told(struct instances_invalidation *x)
{
    x->appended = true;
    if (is_complete(x->in, x))
        send_back(x);
    set_due(x->in);
}

static struct instances_invalidation *find_ask(struct instances *in, uint64_t ask)
{
    LIST_FOR(it, &in->asked)
    {
        struct instances_invalidation *x = CONTAINER_OF(it, struct instances_invalidation, link);

        if (x->ask == ask)
            return x;
    }
    return NULL;
}

/* One who was not in the list yet has come since. */
static struct instance_answer *answer_of(struct instances_invalidation *x, const char *source)
{
    struct instance_answer *a;

    for (size_t i = 0; i < x->others_n; i++)
        if (strcmp(x->others[i].id, source) == 0)
            return &x->others[i];
    if (x->others_n == INSTANCES_OTHERS_MAX)
        return NULL;
    a = &x->others[x->others_n++];
    *a = (struct instance_answer){.heard = false};
    memcpy(a->id, source, sizeof(a->id));
    return a;
}

/* What began over there before it heard of the invalidation may bear a later number than ours, its clock
 * being ahead. What begins here from now on must be later still, not to be held back. */
static void fence_there(struct instances *in, const struct instances_invalidation *x, int64_t seq)
{
    if (!x->own.dry_run && seq > x->own.seq && instances_pass(in, seq))
        fences_add(in->conf.fences, &x->own.which, seq);
}

static void take_answer(struct instances *in, struct instances_invalidation *x, const struct instances_msg *m)
{
    struct instance_answer *a = answer_of(x, m->source);

    if (!a || a->heard)
        return;
    a->heard = true;
    a->seen_ms = 0;
    a->at_least = m->at_least;
    a->matched = m->matched;
    a->memory = m->memory;
    a->disk = m->disk;
    for (size_t i = 0; x->sums && i < instances_msg_sums_n(m); i++)
        (void)keyset_add_sum(&x->sums->others, instances_msg_sum(m, i));
    fence_there(in, x, m->seq);
    if (is_complete(in, x))
        send_back(x);
    set_due(in);
}

void instances_ask_heard(struct instances *in, struct slice text)
{
    struct instances_msg *m = calloc(1, sizeof(*m));
    struct instances_invalidation *x = NULL;

    if (!m)
        return;
    if (!instances_msg_read(text, m) || m->kind != MSG_ANSWER)
        instances_foreign(in);
    else
        x = find_ask(in, m->ask); /* NULL: too late */
    if (x)
        take_answer(in, x, m);
    free(m);
}

void instances_ask_overdue(struct instances *in, bool all)
{
    bool kept = false;

    LIST_FOR_SAFE(it, &in->asked)
    {
        struct instances_invalidation *x = CONTAINER_OF(it, struct instances_invalidation, link);

        if ((all || x->due_ms <= loop_now_ms(in->loop)) && !x->appended && !kept) {
            instances_keep(in); /* who is told that it will be told later may rely on it */
            kept = true;
        }
        if (all || x->due_ms <= loop_now_ms(in->loop))
            disown(in, x);
    }
    set_due(in);
}
