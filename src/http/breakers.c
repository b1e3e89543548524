#include "refrain/http/breakers.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/digest.h"
#include "refrain/base/list.h"
#include "refrain/base/log.h"
#include "refrain/store/events.h"

/*
 * An upstream's objects are made once and stay until the end, so that a reload, or an upstream that is taken
 * out and put in again, finds what was counted. A cell is a model's; cell OTHER is everybody's who has none.
 * A cell with a call under way keeps its model, so a ticket always finds what it was given for.
 *
 * Locks: the list's and an upstream's, never both. What changed is noted under the lock, and logged when it
 * is let go.
 */
enum { OTHER = 0, CELLS = 1 + BREAKERS_MODELS_MAX };

/* Causes that are not upstream's doing: an operator's command, another URL under the same name. */
static const char by_hand[BREAKERS_CAUSE_BYTES] = "by hand";
static const char by_reload[BREAKERS_CAUSE_BYTES] = "it has another URL";

struct cell {
    char model[BREAKERS_MODEL_BYTES + 1];
    size_t model_len;
    bool used;
    bool half_open_told; /* the log knows that its time is over */
    bool reopened;       /* a probe has failed since it opened: what follows is as before, until it closes */
    unsigned calls;      /* tickets out */
    struct breaker_availability machine;
    char cause[BREAKERS_CAUSE_BYTES];
};

struct breakers_upstream {
    struct list link;
    char *name;
    struct events *events; /* NULL: nobody can listen */
    struct digest url;     /* what the name stands for */
    atomic_uint users;     /* sites that have it */
    pthread_mutex_t lock;
    struct breakers_conf conf;
    struct breaker_validation validation;
    char cause[BREAKERS_CAUSE_BYTES];
    bool half_open_told; /* the log knows that its time is over */
    bool reopened;       /* a probe has failed since it opened: what follows is as before, until it closes */
    bool held;           /* availability, of every model to come as well */
    struct cell cells[CELLS];
    struct retry_budget retries;
    uint64_t opened[2], closed[2], refused; /* counts, by kind */
};

struct breakers {
    pthread_mutex_t lock; /* of the list */
    struct list upstreams;
    struct events *events;
};

struct breakers *breakers_new(void)
{
    struct breakers *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    list_init(&b->upstreams);
    (void)pthread_mutex_init(&b->lock, NULL);
    return b;
}

void breakers_tell(struct breakers *b, struct events *events)
{
    b->events = events;
}

static void upstream_free(struct breakers_upstream *u)
{
    (void)pthread_mutex_destroy(&u->lock);
    free(u->name);
    free(u);
}

void breakers_free(struct breakers *b)
{
    struct list *link;

    if (!b)
        return;
    while ((link = list_pop_front(&b->upstreams)) != NULL)
        upstream_free(CONTAINER_OF(link, struct breakers_upstream, link));
    (void)pthread_mutex_destroy(&b->lock);
    free(b);
}

/* -- names -- */

const char *breakers_kind_name(enum breakers_kind kind)
{
    return kind == BREAKERS_VALIDATION ? "validation" : "availability";
}

const char *breakers_state_name(enum breaker_state state)
{
    static const char *const names[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_HALF_OPEN] = "half_open", [BREAKER_OPEN] = "open"};

    return names[state];
}

/* -- the registry -- */

static struct breakers_upstream *upstream_new(const char *name, int64_t now_ms)
{
    struct breakers_upstream *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    u->name = strdup(name);
    if (!u->name) {
        free(u);
        return NULL;
    }
    (void)pthread_mutex_init(&u->lock, NULL);
    u->validation.latch.since_ms = u->cells[OTHER].machine.latch.since_ms = now_ms;
    memcpy(u->cells[OTHER].model, "other", sizeof("other"));
    u->cells[OTHER].model_len = sizeof("other") - 1;
    u->cells[OTHER].used = true;
    return u;
}

/* Under the registry's lock. */
static struct breakers_upstream *upstream_find(struct breakers *b, struct slice name)
{
    LIST_FOR(link, &b->upstreams)
    {
        struct breakers_upstream *u = CONTAINER_OF(link, struct breakers_upstream, link);

        if (slice_eq(name, slice_str(u->name)))
            return u;
    }
    return NULL;
}

/* -- what the log is told, once the lock is let go -- */

struct note {
    bool any;
    enum breakers_kind kind;
    enum breaker_state state;
    char model[BREAKERS_MODEL_BYTES + 1];
    char cause[BREAKERS_CAUSE_BYTES];
    int64_t next_probe_ms; /* -1: none is planned */
    bool again;            /* as it has been told: no change for who reads the log */
};

static void note_take(struct note *n, enum breakers_kind kind, enum breaker_state state,
                      const struct cell *cell, const char *cause, int64_t next_probe_ms)
{
    *n = (struct note){.any = true, .kind = kind, .state = state, .next_probe_ms = next_probe_ms};
    if (cell)
        memcpy(n->model, cell->model, sizeof(n->model));
    memcpy(n->cause, cause, sizeof(n->cause));
}

static void note_publish(const struct breakers_upstream *u, const struct note *n)
{
    struct event_draft d;
    struct jout *j;

    if (!events_wanted(u->events, EVENT_BREAKER))
        return;
    j = event_begin(&d, EVENT_BREAKER);
    jout_str(j, "upstream", u->name);
    jout_str(j, "kind", breakers_kind_name(n->kind));
    if (n->model[0])
        jout_str(j, "model", n->model);
    jout_str(j, "state", breakers_state_name(n->state));
    jout_str(j, "cause", n->cause);
    if (n->next_probe_ms >= 0)
        jout_milli(j, "next_probe_s", n->next_probe_ms);
    events_publish(u->events, &d, (struct slice){NULL, 0});
}

static enum log_level note_level(const struct note *n)
{
    if (n->again)
        return LOG_DEBUG;
    return n->state == BREAKER_OPEN ? LOG_WARN : LOG_INFO;
}

static void note_log(const struct breakers_upstream *u, const struct note *n)
{
    enum log_level level = note_level(n);
    const char *model = n->model[0] ? n->model : NULL;

    if (!n->any)
        return;
    note_publish(u, n);
    if (n->next_probe_ms >= 0)
        log_event(level, "breaker", LOG_STR("upstream", u->name),
                  LOG_STR("kind", breakers_kind_name(n->kind)), LOG_STR("model", model),
                  LOG_STR("state", breakers_state_name(n->state)), LOG_STR("cause", n->cause),
                  LOG_DUR("next_probe_ms", n->next_probe_ms * 1000000));
    else
        log_event(level, "breaker", LOG_STR("upstream", u->name),
                  LOG_STR("kind", breakers_kind_name(n->kind)), LOG_STR("model", model),
                  LOG_STR("state", breakers_state_name(n->state)), LOG_STR("cause", n->cause));
}

/* Lets the lock go. */
static void unlock_and_log(struct breakers_upstream *u, const struct note *n)
{
    (void)pthread_mutex_unlock(&u->lock);
    note_log(u, n);
}

/* -- validation -- */

static void validation_changed(struct breakers_upstream *u, enum breaker_change change, const char *why,
                               int64_t now_ms, struct note *n)
{
    bool open = change != BREAKER_RECOVERED;
    char *cause = u->cause;

    if (change == BREAKER_SAME)
        return;
    if (change == BREAKER_OPENED)
        (void)snprintf(cause, BREAKERS_CAUSE_BYTES, "%u broken answers, the last: %s",
                       u->conf.validation.failures, why);
    else if (change == BREAKER_REOPENED)
        (void)snprintf(cause, BREAKERS_CAUSE_BYTES, "the probe was broken: %s", why);
    else
        (void)snprintf(cause, BREAKERS_CAUSE_BYTES, "the probe was good");
    u->half_open_told = false;
    u->opened[BREAKERS_VALIDATION] += open;
    u->closed[BREAKERS_VALIDATION] += !open;
    note_take(n, BREAKERS_VALIDATION, open ? BREAKER_OPEN : BREAKER_CLOSED, NULL, cause,
              open ? u->validation.latch.until_ms - now_ms : -1);
    n->again = u->reopened = change == BREAKER_REOPENED;
}

/* The time that it is open for passes without anyone's doing; the first who asks then tells the log. */
static void tell_half_open(struct breakers_upstream *u, struct note *n)
{
    if (!u->half_open_told) {
        note_take(n, BREAKERS_VALIDATION, BREAKER_HALF_OPEN, NULL, u->cause, 0);
        n->again = u->reopened;
    }
    u->half_open_told = true;
}

bool breakers_may_store(struct breakers_upstream *u, int64_t now_ms)
{
    struct note n = {.any = false};
    enum breaker_state state;

    (void)pthread_mutex_lock(&u->lock);
    state = breaker_state_at(&u->validation.latch, now_ms, NULL);
    if (state == BREAKER_HALF_OPEN)
        tell_half_open(u, &n);
    unlock_and_log(u, &n);
    return state != BREAKER_OPEN;
}

bool breakers_judged(struct breakers_upstream *u, bool broken, const char *why, int64_t now_ms)
{
    struct note n = {.any = false};
    enum breaker_change change;
    bool may_store;

    (void)pthread_mutex_lock(&u->lock);
    change = breaker_validation_judge(&u->validation, &u->conf.validation, broken, now_ms);
    validation_changed(u, change, why, now_ms, &n);
    may_store = breaker_state_at(&u->validation.latch, now_ms, NULL) == BREAKER_CLOSED;
    unlock_and_log(u, &n);
    return may_store && !broken;
}

/* -- availability: cells -- */

static bool cell_is_idle(const struct breakers_upstream *u, const struct cell *c, int64_t now_ms)
{
    return c->calls == 0 && breaker_availability_is_idle(&c->machine, &u->conf.availability, now_ms);
}

static bool cell_has(const struct cell *c, struct slice model)
{
    return c->used && slice_eq(model, slice_make(c->model, c->model_len));
}

/* The cell of @model; or, when it has none, one that it may have: unused, or idle. */
static struct cell *cell_of(struct breakers_upstream *u, struct slice model, int64_t now_ms)
{
    for (size_t i = OTHER + 1; i < CELLS; i++)
        if (cell_has(&u->cells[i], model))
            return &u->cells[i];
    for (size_t i = OTHER + 1; i < CELLS; i++)
        if (!u->cells[i].used || cell_is_idle(u, &u->cells[i], now_ms))
            return &u->cells[i];
    return &u->cells[OTHER];
}

static struct slice model_cut(struct slice model)
{
    return slice_make(model.data, model.len < BREAKERS_MODEL_BYTES ? model.len : BREAKERS_MODEL_BYTES);
}

static void cell_begin(struct breakers_upstream *u, struct cell *c, struct slice model, int64_t now_ms)
{
    *c = (struct cell){.used = true, .model_len = model.len};
    if (model.len > 0)
        memcpy(c->model, model.data, model.len);
    c->machine.latch.since_ms = now_ms;
    if (!u->held)
        return;
    breaker_availability_command(&c->machine, BREAKER_FORCE_OPEN, now_ms);
    (void)snprintf(c->cause, sizeof(c->cause), "%s", by_hand);
}

/* -- availability: calls -- */

static void availability_changed(struct breakers_upstream *u, struct cell *c, enum breaker_change change,
                                 struct breaker_slice window, const char *why, int64_t now_ms, struct note *n)
{
    bool open = change != BREAKER_RECOVERED;

    if (change == BREAKER_SAME)
        return;
    if (change == BREAKER_OPENED)
        (void)snprintf(c->cause, sizeof(c->cause), "%u of %u calls failed, the last: %s", window.failed,
                       window.calls, why);
    else if (change == BREAKER_REOPENED)
        (void)snprintf(c->cause, sizeof(c->cause), "the probe failed: %s", why);
    else
        (void)snprintf(c->cause, sizeof(c->cause), "the probe was answered");
    c->half_open_told = false;
    u->opened[BREAKERS_AVAILABILITY] += open;
    u->closed[BREAKERS_AVAILABILITY] += !open;
    note_take(n, BREAKERS_AVAILABILITY, open ? BREAKER_OPEN : BREAKER_CLOSED, c, c->cause,
              open ? c->machine.latch.until_ms - now_ms : -1);
    n->again = c->reopened = change == BREAKER_REOPENED;
}

enum breaker_way breakers_look(struct breakers_upstream *u, struct slice model, int64_t now_ms)
{
    enum breaker_way way = BREAKER_FREE;
    const struct cell *c;

    model = model_cut(model);
    (void)pthread_mutex_lock(&u->lock);
    c = cell_of(u, model, now_ms);
    if (cell_has(c, model) || c == &u->cells[OTHER])
        way = breaker_availability_look(&c->machine, &u->conf.availability, now_ms);
    else if (u->held)
        way = BREAKER_SHUT;
    (void)pthread_mutex_unlock(&u->lock);
    return way;
}

enum breaker_way breakers_admit(struct breakers_upstream *u, struct slice model, int64_t now_ms,
                                struct breakers_ticket *out, bool *out_refused, int64_t *out_wait_ms)
{
    const struct breaker_availability_conf *conf = &u->conf.availability;
    struct note n = {.any = false};
    enum breaker_way way;
    struct cell *c;

    model = model_cut(model);
    (void)pthread_mutex_lock(&u->lock);
    c = cell_of(u, model, now_ms);
    if (c != &u->cells[OTHER] && !cell_has(c, model))
        cell_begin(u, c, model, now_ms);
    way = breaker_availability_admit(&c->machine, conf, now_ms, &out->epoch);
    if (way == BREAKER_PROBE && !c->half_open_told) {
        note_take(&n, BREAKERS_AVAILABILITY, BREAKER_HALF_OPEN, c, c->cause, 0);
        n.again = c->reopened;
    }
    c->half_open_told |= way == BREAKER_PROBE;
    *out_refused = way == BREAKER_SHUT && conf->fail_fast;
    *out_wait_ms = breaker_availability_wait_ms(&c->machine, conf, now_ms);
    u->refused += *out_refused;
    out->of = *out_refused ? NULL : u;
    out->cell = (unsigned)(c - u->cells);
    out->is_probe = way == BREAKER_PROBE;
    c->calls += !*out_refused;
    unlock_and_log(u, &n);
    return way;
}

/* A probe tells once; what was no probe, or has told, counts as one more call. */
static void tell(struct breakers_ticket *t, enum breakers_outcome how, const char *why, int64_t now_ms,
                 struct note *n)
{
    struct breakers_upstream *u = t->of;
    const struct breaker_availability_conf *conf = &u->conf.availability;
    struct cell *c = &u->cells[t->cell];
    bool failed = how == BREAKERS_FAILED, is_probe = t->is_probe;
    struct breaker_slice window = breaker_availability_window(&c->machine, conf, now_ms);
    enum breaker_change change = BREAKER_SAME;

    window.calls++;
    window.failed += failed;
    t->is_probe = false;
    if (how == BREAKERS_UNKNOWN && is_probe)
        breaker_availability_give_back(&c->machine, t->epoch);
    else if (how != BREAKERS_UNKNOWN)
        change = is_probe ? breaker_availability_probed(&c->machine, conf, t->epoch, failed, now_ms)
                          : breaker_availability_sample(&c->machine, conf, failed, now_ms);
    availability_changed(u, c, change, window, why, now_ms, n);
}

void breakers_answered(struct breakers_ticket *t, enum breakers_outcome how, const char *why, int64_t now_ms)
{
    struct breakers_upstream *u = t->of;
    struct note n = {.any = false};

    if (!u || !t->is_probe)
        return;
    (void)pthread_mutex_lock(&u->lock);
    tell(t, how, why, now_ms, &n);
    unlock_and_log(u, &n);
}

void breakers_ended(struct breakers_ticket *t, enum breakers_outcome how, const char *why, int64_t now_ms)
{
    struct breakers_upstream *u = t->of;
    struct note n = {.any = false};

    if (!u)
        return;
    (void)pthread_mutex_lock(&u->lock);
    tell(t, how, why, now_ms, &n);
    assert(u->cells[t->cell].calls > 0);
    u->cells[t->cell].calls--;
    t->of = NULL;
    unlock_and_log(u, &n);
}

/* -- retries -- */

void breakers_earn_retry(struct breakers_upstream *u, const struct retry_conf *conf, int64_t now_ms)
{
    (void)pthread_mutex_lock(&u->lock);
    retry_budget_earn(&u->retries, conf, now_ms);
    (void)pthread_mutex_unlock(&u->lock);
}

bool breakers_spend_retry(struct breakers_upstream *u, int64_t now_ms)
{
    bool ok;

    (void)pthread_mutex_lock(&u->lock);
    ok = retry_budget_spend(&u->retries, now_ms);
    (void)pthread_mutex_unlock(&u->lock);
    return ok;
}

/* -- operators -- */

static int64_t next_probe_ms(const struct breaker_latch *l, int64_t now_ms)
{
    if (!l->open || l->held)
        return -1;
    return l->until_ms > now_ms ? l->until_ms - now_ms : 0;
}

static void state_take(struct breakers_state *s, const struct breaker_latch *l, int64_t now_ms)
{
    int64_t since_ms;

    s->state = breaker_state_at(l, now_ms, &since_ms);
    s->for_ms = now_ms > since_ms ? now_ms - since_ms : 0;
    s->next_probe_ms = next_probe_ms(l, now_ms);
    s->held = l->held;
}

/* What a listing shows lies here, while the callback looks at it without a lock. */
struct shown {
    struct breakers_state state;
    char model[BREAKERS_MODEL_BYTES + 1];
    char cause[BREAKERS_CAUSE_BYTES];
};

static void show_validation(struct breakers_upstream *u, int64_t now_ms, struct shown *out)
{
    (void)pthread_mutex_lock(&u->lock);
    out->state = (struct breakers_state){.upstream = u->name,
                                         .kind = BREAKERS_VALIDATION,
                                         .cause = out->cause,
                                         .level = u->validation.level,
                                         .failed = u->validation.net};
    state_take(&out->state, &u->validation.latch, now_ms);
    memcpy(out->cause, u->cause, sizeof(out->cause));
    (void)pthread_mutex_unlock(&u->lock);
}

/* false: no model has this cell. */
static bool show_cell(struct breakers_upstream *u, size_t i, int64_t now_ms, struct shown *out)
{
    const struct cell *c = &u->cells[i];
    struct breaker_slice window;
    bool used;

    (void)pthread_mutex_lock(&u->lock);
    used = c->used;
    window = breaker_availability_window(&c->machine, &u->conf.availability, now_ms);
    out->state = (struct breakers_state){.upstream = u->name,
                                         .kind = BREAKERS_AVAILABILITY,
                                         .model = slice_make(out->model, c->model_len),
                                         .cause = out->cause,
                                         .failed = window.failed,
                                         .calls = window.calls};
    state_take(&out->state, &c->machine.latch, now_ms);
    memcpy(out->model, c->model, sizeof(out->model));
    memcpy(out->cause, c->cause, sizeof(out->cause));
    (void)pthread_mutex_unlock(&u->lock);
    return used;
}

/* The list only grows, and its objects stay: the lock is needed for the step alone. */
static struct breakers_upstream *upstream_after(struct breakers *b, struct breakers_upstream *u)
{
    struct list *next;

    (void)pthread_mutex_lock(&b->lock);
    next = u ? u->link.next : b->upstreams.next;
    (void)pthread_mutex_unlock(&b->lock);
    return next == &b->upstreams ? NULL : CONTAINER_OF(next, struct breakers_upstream, link);
}

void breakers_each(struct breakers *b, int64_t now_ms,
                   void (*each)(void *arg, const struct breakers_state *state), void *arg)
{
    struct shown shown;

    for (struct breakers_upstream *u = upstream_after(b, NULL); u; u = upstream_after(b, u)) {
        if (atomic_load(&u->users) == 0)
            continue;
        show_validation(u, now_ms, &shown);
        each(arg, &shown.state);
        for (size_t i = 0; i < CELLS; i++)
            if (show_cell(u, i, now_ms, &shown))
                each(arg, &shown.state);
    }
}

static bool command_validation(struct breakers_upstream *u, enum breaker_command command,
                               const char cause[BREAKERS_CAUSE_BYTES], int64_t now_ms)
{
    bool was_open = u->validation.latch.open;

    breaker_validation_command(&u->validation, command, now_ms);
    memcpy(u->cause, cause, BREAKERS_CAUSE_BYTES);
    u->half_open_told = u->reopened = false;
    return was_open != u->validation.latch.open;
}

static bool command_availability(struct breakers_upstream *u, enum breaker_command command,
                                 const char cause[BREAKERS_CAUSE_BYTES], int64_t now_ms)
{
    bool changes = false;

    u->held = command == BREAKER_FORCE_OPEN;
    for (size_t i = 0; i < CELLS; i++) {
        changes |= u->cells[i].used && u->cells[i].machine.latch.open != u->held;
        breaker_availability_command(&u->cells[i].machine, command, now_ms);
        memcpy(u->cells[i].cause, cause, BREAKERS_CAUSE_BYTES);
        u->cells[i].half_open_told = u->cells[i].reopened = false;
    }
    return changes;
}

static void command_one(struct breakers_upstream *u, enum breakers_kind kind, enum breaker_command command,
                        const char cause[BREAKERS_CAUSE_BYTES], int64_t now_ms, struct note *n)
{
    bool open = command == BREAKER_FORCE_OPEN;
    bool changes = kind == BREAKERS_VALIDATION ? command_validation(u, command, cause, now_ms)
                                               : command_availability(u, command, cause, now_ms);

    u->opened[kind] += changes && open;
    u->closed[kind] += changes && !open;
    note_take(n, kind, open ? BREAKER_OPEN : BREAKER_CLOSED, NULL, cause, -1);
    n->any = changes || cause == by_hand;
}

bool breakers_command(struct breakers *b, struct slice upstream, enum breakers_kind kind,
                      enum breaker_command command, int64_t now_ms)
{
    struct note n = {.any = false};
    struct breakers_upstream *u;

    (void)pthread_mutex_lock(&b->lock);
    u = upstream_find(b, upstream);
    (void)pthread_mutex_unlock(&b->lock);
    if (!u || atomic_load(&u->users) == 0)
        return false;
    (void)pthread_mutex_lock(&u->lock);
    command_one(u, kind, command, by_hand, now_ms, &n);
    unlock_and_log(u, &n);
    return true;
}

/* -- coming and going -- */

struct moved {
    struct note validation, availability;
};

/* What counted against the old place does not count against the new one; what an operator holds stays. */
static void settle_in(struct breakers_upstream *u, const struct digest *url, int64_t now_ms,
                      struct moved *out)
{
    if (digest_eq(&u->url, url))
        return;
    u->url = *url;
    if (!u->validation.latch.held)
        command_one(u, BREAKERS_VALIDATION, BREAKER_RESET, by_reload, now_ms, &out->validation);
    if (!u->held)
        command_one(u, BREAKERS_AVAILABILITY, BREAKER_RESET, by_reload, now_ms, &out->availability);
}

/* Under the registry's lock. */
static struct breakers_upstream *find_or_make(struct breakers *b, const char *name, const struct digest *url,
                                              int64_t now_ms)
{
    struct breakers_upstream *u = upstream_find(b, slice_str(name));

    if (!u) {
        u = upstream_new(name, now_ms);
        if (!u)
            return NULL;
        u->url = *url;
        u->events = b->events;
        list_push_back(&b->upstreams, &u->link);
    }
    atomic_fetch_add(&u->users, 1);
    return u;
}

struct breakers_upstream *breakers_take(struct breakers *b, const char *name, const char *url,
                                        const struct breakers_conf *conf, int64_t now_ms)
{
    struct digest where = sha256_of(slice_str(url));
    struct moved moved = {.validation.any = false};
    struct breakers_upstream *u;

    (void)pthread_mutex_lock(&b->lock);
    u = find_or_make(b, name, &where, now_ms);
    (void)pthread_mutex_unlock(&b->lock);
    if (!u)
        return NULL;
    (void)pthread_mutex_lock(&u->lock);
    u->conf = *conf;
    settle_in(u, &where, now_ms, &moved);
    unlock_and_log(u, &moved.validation);
    note_log(u, &moved.availability);
    return u;
}

void breakers_leave(struct breakers_upstream *u)
{
    if (u)
        atomic_fetch_sub(&u->users, 1);
}

/* -- for a scrape -- */

_Static_assert((int)BREAKERS_VALIDATION == KIND_VALIDATION && (int)BREAKERS_AVAILABILITY == KIND_AVAILABILITY,
               "kinds are labels");

static enum breaker_state worst_of(struct breakers_upstream *u, int64_t now_ms)
{
    enum breaker_state worst = BREAKER_CLOSED;

    for (size_t i = 0; i < CELLS; i++) {
        enum breaker_state state = breaker_state_at(&u->cells[i].machine.latch, now_ms, NULL);

        if (u->cells[i].used && state > worst)
            worst = state;
    }
    return worst;
}

static void show_upstream(struct breakers_upstream *u, struct metrics *m, int64_t now_ms)
{
    unsigned label = metrics_label(m, LABEL_UPSTREAM, slice_str(u->name));

    (void)pthread_mutex_lock(&u->lock);
    metrics_set2(m, BREAKER_STATE, label, BREAKERS_VALIDATION,
                 breaker_state_at(&u->validation.latch, now_ms, NULL));
    metrics_set2(m, BREAKER_STATE, label, BREAKERS_AVAILABILITY, worst_of(u, now_ms));
    for (enum breakers_kind kind = BREAKERS_VALIDATION; kind <= BREAKERS_AVAILABILITY; kind++) {
        metrics_set2(m, BREAKER_OPENED, label, kind, u->opened[kind]);
        metrics_set2(m, BREAKER_CLOSED, label, kind, u->closed[kind]);
    }
    metrics_set1(m, BREAKER_REFUSED, label, u->refused);
    (void)pthread_mutex_unlock(&u->lock);
}

void breakers_show(struct breakers *b, struct metrics *m, int64_t now_ms)
{
    for (struct breakers_upstream *u = upstream_after(b, NULL); u; u = upstream_after(b, u))
        if (atomic_load(&u->users) > 0)
            show_upstream(u, m, now_ms);
}
