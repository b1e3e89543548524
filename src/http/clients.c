#include "refrain/http/clients.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/list.h"

/*
 * A state is made when a name is first configured and stays, so that a reload, or a client that is taken out
 * and put in again, finds what was counted. Only past CLIENTS_KEPT_MAX those go that no roster has.
 */
enum { COUNTERS = 16, LINE = 64 };

static const int64_t minute_ns = INT64_C(60) * 1000 * 1000 * 1000;
static const int64_t tell_refused_ns = INT64_C(10) * 1000 * 1000 * 1000;

/* Where one thread, or a few of many, count. */
struct counter {
    _Alignas(LINE) atomic_uint_fast64_t requests[LABEL_MAX_RESULT];
    atomic_uint_fast64_t limited_rate, limited_concurrent, tokens_in, tokens_out, nanodollars;
};

struct client_state {
    struct list link;
    char *name;
    unsigned rosters; /* that have it; under the lock */
    _Alignas(LINE)
        atomic_int_fast64_t spent_until_ns; /* what was asked for lasts till then, at one each every_ns */
    atomic_uint running;
    atomic_int_fast64_t told_ns; /* when a limit was last told; 0: never */
    struct counter counters[COUNTERS];
};

struct clients {
    pthread_mutex_t lock; /* of the list */
    struct list states;
    size_t states_n;
    struct client_state *preflights;
    atomic_uint counters;
    atomic_uint_fast64_t refused_n;      /* not told yet */
    atomic_int_fast64_t refused_told_ns; /* 0: never */
};

/* By open addressing over the sums, which are as random as any hash. */
struct slot {
    struct digest token;
    const struct client *client; /* NULL: empty */
};

struct roster {
    struct clients *clients;
    struct client *at; /* and one behind them: preflights */
    size_t n;
    struct slot *slots;
    size_t mask;
};

static struct client_state *state_new(struct slice name)
{
    struct client_state *s = aligned_alloc(LINE, sizeof(*s));

    if (!s)
        return NULL;
    memset(s, 0, sizeof(*s));
    s->name = strndup(name.data, name.len);
    if (!s->name) {
        free(s);
        return NULL;
    }
    return s;
}

static void state_free(struct client_state *s)
{
    free(s->name);
    free(s);
}

struct clients *clients_new(void)
{
    struct clients *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->preflights = state_new(SLICE_OF("preflights"));
    if (!c->preflights) {
        free(c);
        return NULL;
    }
    list_init(&c->states);
    (void)pthread_mutex_init(&c->lock, NULL);
    return c;
}

void clients_free(struct clients *c)
{
    struct list *link;

    if (!c)
        return;
    while ((link = list_pop_front(&c->states)) != NULL)
        state_free(CONTAINER_OF(link, struct client_state, link));
    state_free(c->preflights);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

unsigned clients_counter(struct clients *c)
{
    return atomic_fetch_add(&c->counters, 1) % COUNTERS;
}

/* True for one caller alone, when @every_ns have gone by since the last. */
static bool is_time(atomic_int_fast64_t *told_ns, int64_t now_ns, int64_t every_ns)
{
    int_fast64_t told = atomic_load_explicit(told_ns, memory_order_relaxed);

    return (told == 0 || now_ns - told >= every_ns) && atomic_compare_exchange_strong(told_ns, &told, now_ns);
}

uint64_t clients_refused(struct clients *c, int64_t now_ns)
{
    atomic_fetch_add(&c->refused_n, 1);
    return is_time(&c->refused_told_ns, now_ns, tell_refused_ns) ? atomic_exchange(&c->refused_n, 0) : 0;
}

/* -- states; the list's lock is held -- */

static struct client_state *state_find(struct clients *c, struct slice name)
{
    LIST_FOR(link, &c->states)
    {
        struct client_state *s = CONTAINER_OF(link, struct client_state, link);

        if (slice_eq(slice_str(s->name), name))
            return s;
    }
    return NULL;
}

/* The first, which is the oldest, that nobody has any more makes room. */
static void make_room(struct clients *c)
{
    LIST_FOR(link, &c->states)
    {
        struct client_state *s = CONTAINER_OF(link, struct client_state, link);

        if (s->rosters > 0)
            continue;
        list_remove(&s->link);
        c->states_n--;
        state_free(s);
        return;
    }
}

static struct client_state *state_add(struct clients *c, struct slice name)
{
    struct client_state *s = state_new(name);

    if (!s)
        return NULL;
    if (c->states_n >= CLIENTS_KEPT_MAX)
        make_room(c);
    list_push_back(&c->states, &s->link);
    c->states_n++;
    return s;
}

static struct client_state *state_take(struct clients *c, struct slice name)
{
    struct client_state *s = state_find(c, name);

    if (!s)
        s = state_add(c, name);
    if (s)
        s->rosters++;
    return s;
}

/* -- rosters -- */

static struct slot *slot_of(const struct roster *r, const struct digest *token)
{
    uint64_t first;

    memcpy(&first, token->bytes, sizeof(first));
    return &r->slots[first & r->mask];
}

static struct slot *slot_after(const struct roster *r, struct slot *s)
{
    return s == &r->slots[r->mask] ? r->slots : s + 1;
}

static void slot_add(struct roster *r, const struct digest *token, const struct client *client)
{
    struct slot *s = slot_of(r, token);

    while (s->client)
        s = slot_after(r, s);
    *s = (struct slot){*token, client};
}

static bool make_slots(struct roster *r, const struct client_conf *confs, size_t n)
{
    size_t tokens = 0, slots = 8;

    for (size_t i = 0; i < n; i++)
        tokens += confs[i].tokens_n;
    while (slots < tokens * 2)
        slots *= 2;
    r->mask = slots - 1;
    r->slots = calloc(slots, sizeof(*r->slots));
    return r->slots != NULL;
}

static bool take_client(struct roster *r, const struct client_conf *conf)
{
    struct client *c = &r->at[r->n];

    *c = (struct client){
        .conf = *conf, .number = (uint32_t)r->n + 1, .state = state_take(r->clients, conf->name)};
    if (!c->state)
        return false;
    c->every_ns = conf->requests_per_minute > 0 ? minute_ns / conf->requests_per_minute : 0;
    for (size_t i = 0; i < conf->tokens_n; i++)
        slot_add(r, &conf->tokens[i], c);
    c->conf.tokens = NULL; /* they are in the slots, and need not outlive this */
    r->n++;
    return true;
}

static void preflights_init(struct roster *r)
{
    r->at[r->n] = (struct client){.conf = {.name = SLICE("preflights"),
                                           .requests_per_minute = PREFLIGHTS_PER_MINUTE,
                                           .max_concurrent = PREFLIGHTS_CONCURRENT},
                                  .every_ns = minute_ns / PREFLIGHTS_PER_MINUTE,
                                  .state = r->clients->preflights};
}

/* Of n clients, each with each: at a reload, and of a thousand. */
static void find_groups(struct roster *r)
{
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = i + 1; k < r->n; k++)
            if (slice_eq(r->at[i].conf.scope, r->at[k].conf.scope))
                r->at[i].in_group = r->at[k].in_group = true;
}

struct roster *roster_new(struct clients *c, const struct client_conf *confs, size_t n)
{
    struct roster *r = calloc(1, sizeof(*r));
    bool ok;

    if (!r)
        return NULL;
    r->clients = c;
    r->at = calloc(n + 1, sizeof(*r->at));
    ok = r->at && make_slots(r, confs, n);
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; ok && i < n; i++)
        ok = take_client(r, &confs[i]);
    if (ok)
        preflights_init(r);
    (void)pthread_mutex_unlock(&c->lock);
    if (!ok) {
        roster_free(r);
        return NULL;
    }
    find_groups(r);
    return r;
}

void roster_free(struct roster *r)
{
    if (!r)
        return;
    (void)pthread_mutex_lock(&r->clients->lock);
    for (size_t i = 0; i < r->n; i++)
        r->at[i].state->rosters--;
    (void)pthread_mutex_unlock(&r->clients->lock);
    free(r->at);
    free(r->slots);
    free(r);
}

size_t roster_n(const struct roster *r)
{
    return r->n;
}

const struct client *roster_at(const struct roster *r, size_t i)
{
    return &r->at[i];
}

const struct client *roster_preflights(const struct roster *r)
{
    return &r->at[r->n];
}

const struct client *roster_find(const struct roster *r, const struct digest *token)
{
    for (struct slot *s = slot_of(r, token); s->client; s = slot_after(r, s))
        if (digest_eq(&s->token, token)) /* of a sum: how far it agrees tells nothing of a token */
            return s->client;
    return NULL;
}

const struct client *roster_named(const struct roster *r, struct slice name)
{
    for (size_t i = 0; i < r->n; i++)
        if (slice_eq(r->at[i].conf.name, name))
            return &r->at[i];
    return NULL;
}

bool roster_keeps_namespace(const struct roster *r, struct slice namespace_, const struct client *client)
{
    for (size_t i = 0; i < r->n; i++)
        if (&r->at[i] != client && slice_eq(r->at[i].conf.namespace_, namespace_))
            return true;
    return false;
}

/* -- limits -- */

bool client_begin(const struct client *c)
{
    unsigned running = atomic_load_explicit(&c->state->running, memory_order_relaxed);

    do {
        if (c->conf.max_concurrent > 0 && running >= c->conf.max_concurrent)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&c->state->running, &running, running + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void client_end(const struct client *c)
{
    atomic_fetch_sub_explicit(&c->state->running, 1, memory_order_relaxed);
}

/*
 * A token bucket kept as a single time: each request lasts every_ns, they last one after the other, and what
 * lasts longer than a minute from now is one too many. (The generic cell rate algorithm, ITU-T I.371.)
 */
bool client_take(const struct client *c, int64_t now_ns, int64_t *out_wait_ns)
{
    int_fast64_t until = atomic_load_explicit(&c->state->spent_until_ns, memory_order_relaxed), next;

    if (c->every_ns == 0)
        return true;
    do {
        next = (until > now_ns ? until : now_ns) + c->every_ns;
        if (next - now_ns > minute_ns) {
            *out_wait_ns = next - now_ns - minute_ns;
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&c->state->spent_until_ns, &until, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* -- counts -- */

static void add(atomic_uint_fast64_t *to, uint64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

bool client_limited(const struct client *c, unsigned counter, bool by_rate, int64_t now_ns)
{
    struct counter *k = &c->state->counters[counter];

    add(by_rate ? &k->limited_rate : &k->limited_concurrent, 1);
    return is_time(&c->state->told_ns, now_ns, minute_ns);
}

void client_count(const struct client *c, unsigned counter, enum metric_result result)
{
    add(&c->state->counters[counter].requests[result], 1);
}

void client_saved(const struct client *c, unsigned counter, uint64_t tokens_in, uint64_t tokens_out,
                  uint64_t nanodollars)
{
    struct counter *k = &c->state->counters[counter];

    if (tokens_in > 0)
        add(&k->tokens_in, tokens_in);
    if (tokens_out > 0)
        add(&k->tokens_out, tokens_out);
    if (nanodollars > 0)
        add(&k->nanodollars, nanodollars);
}

static uint64_t read(const atomic_uint_fast64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void sum_up(const struct client_state *s, struct client_counts *out)
{
    *out = (struct client_counts){.tokens_in = 0};
    for (size_t i = 0; i < COUNTERS; i++) {
        const struct counter *k = &s->counters[i];

        for (size_t r = 0; r < LABEL_MAX_RESULT; r++)
            out->requests[r] += read(&k->requests[r]);
        out->limited_rate += read(&k->limited_rate);
        out->limited_concurrent += read(&k->limited_concurrent);
        out->tokens_in += read(&k->tokens_in);
        out->tokens_out += read(&k->tokens_out);
        out->nanodollars += read(&k->nanodollars);
    }
}

void client_counts(const struct client *c, struct client_counts *out, unsigned *out_running)
{
    sum_up(c->state, out);
    *out_running = atomic_load_explicit(&c->state->running, memory_order_relaxed);
}

void clients_each(struct clients *c,
                  void (*each)(void *arg, const char *name, const struct client_counts *counts,
                               unsigned running),
                  void *arg)
{
    struct client_counts counts;

    (void)pthread_mutex_lock(&c->lock);
    LIST_FOR(link, &c->states)
    {
        const struct client_state *s = CONTAINER_OF(link, struct client_state, link);

        sum_up(s, &counts);
        each(arg, s->name, &counts, atomic_load_explicit(&s->running, memory_order_relaxed));
    }
    (void)pthread_mutex_unlock(&c->lock);
}
