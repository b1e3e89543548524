#include "scripted_tier.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "refrain/base/clock.h"
#include "refrain/base/list.h"

enum { RECORDS_MAX = 4096, WAIT_S = 10 };

struct held {
    struct list link;
    struct tier_port *port;
    struct tier_op *op;
    enum { HELD_GET, HELD_PUT, HELD_REMOVE } kind;
};

struct kept {
    struct digest key;
    struct blob *blob; /* NULL: free */
    int64_t started_seq;
};

struct scripted {
    struct tier tier; /* first */
    struct tier_ops ops;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum tier_result answer;
    bool holds;
    struct list held;
    unsigned held_n;
    struct tier_state state;
    struct kept kept[RECORDS_MAX];
    struct scripted_counts counts;
};

static struct kept *find(struct scripted *s, const struct digest *key, bool make)
{
    struct kept *empty = NULL;

    for (size_t i = 0; i < RECORDS_MAX; i++) {
        if (s->kept[i].blob && digest_eq(&s->kept[i].key, key))
            return &s->kept[i];
        if (!s->kept[i].blob && !empty)
            empty = &s->kept[i];
    }
    if (make) {
        assert_non_null(empty);
        empty->key = *key;
        empty->started_seq = 0;
    }
    return make ? empty : NULL;
}

static void keep(struct kept *k, struct blob *b)
{
    blob_unref(k->blob);
    k->blob = b;
}

static enum tier_result carry_out_get(struct scripted *s, struct tier_get *g)
{
    const struct kept *k = find(s, &g->label.key, false);

    g->blob = k ? blob_ref(k->blob) : NULL;
    return k ? TIER_OK : TIER_ABSENT;
}

static enum tier_result carry_out_put(struct scripted *s, const struct tier_put *put)
{
    struct kept *k = find(s, &put->item.label.key, true);

    if (put->only_newer && k->blob && k->started_seq > put->item.label.started_seq)
        return TIER_OK;
    k->started_seq = put->item.label.started_seq;
    keep(k, blob_ref(put->blob));
    s->counts.stored++;
    return TIER_OK;
}

static enum tier_result carry_out_removal(struct scripted *s, const struct tier_delete *d)
{
    struct kept *k = find(s, &d->label.key, false);

    if (!k || (d->only && !slice_eq(blob_slice(d->only), blob_slice(k->blob))))
        return TIER_ABSENT;
    keep(k, NULL);
    return TIER_OK;
}

/* Under the lock. */
static enum tier_result carry_out(struct scripted *s, const struct held *h)
{
    if (s->answer != TIER_OK)
        return s->answer;
    switch (h->kind) {
    case HELD_GET:
        return carry_out_get(s, (struct tier_get *)h->op);
    case HELD_PUT:
        return carry_out_put(s, (const struct tier_put *)h->op);
    default:
        return carry_out_removal(s, (const struct tier_delete *)h->op);
    }
}

static void take(struct tier_port *p, struct tier_op *op, int kind)
{
    struct scripted *s = (struct scripted *)p->tier;
    struct held now = {.port = p, .op = op, .kind = kind}, *later;
    enum tier_result r = TIER_OK;
    bool holds;

    (void)pthread_mutex_lock(&s->lock);
    s->counts.gets += kind == HELD_GET;
    s->counts.puts += kind == HELD_PUT;
    s->counts.removals += kind == HELD_REMOVE;
    holds = s->holds;
    if (holds) {
        later = malloc(sizeof(*later));
        assert_non_null(later);
        *later = now;
        list_push_back(&s->held, &later->link);
        s->held_n++;
        (void)pthread_cond_broadcast(&s->changed);
    } else {
        r = carry_out(s, &now);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (!holds)
        tier_answer(p, op, r);
}

static void on_get(struct tier_port *p, struct tier_get *g)
{
    take(p, &g->op, HELD_GET);
}

static void on_put(struct tier_port *p, struct tier_put *put)
{
    take(p, &put->op, HELD_PUT);
}

static void on_remove(struct tier_port *p, struct tier_delete *d)
{
    take(p, &d->op, HELD_REMOVE);
}

static void on_scan(struct tier_port *p, struct tier_scan *scan)
{
    tier_answer(p, &scan->op, TIER_REFUSED);
}

static void on_delete_if(struct tier_port *p, struct tier_delete_if *d)
{
    tier_answer(p, &d->op, TIER_REFUSED);
}

static struct tier_port *on_open(struct tier *t, struct loop *l)
{
    struct tier_port *p = calloc(1, sizeof(*p));

    *p = (struct tier_port){t, l};
    return p;
}

/* What is held of this port comes back. */
static void on_close(struct tier_port *p)
{
    struct scripted *s = (struct scripted *)p->tier;
    struct list back, *it;

    list_init(&back);
    (void)pthread_mutex_lock(&s->lock); /* another thread's port may be asking meanwhile */
    LIST_FOR_SAFE(at, &s->held)
    {
        if (CONTAINER_OF(at, struct held, link)->port != p)
            continue;
        list_remove(at);
        list_push_back(&back, at);
        s->held_n--;
    }
    (void)pthread_mutex_unlock(&s->lock);
    while ((it = list_pop_front(&back)) != NULL) {
        struct held *h = CONTAINER_OF(it, struct held, link);

        h->op->result = TIER_DOWN;
        h->op->on_done(h->op);
        free(h);
    }
    free(p);
}

static void on_stats(struct tier *t, struct tier_stats *out)
{
    (void)t;
    *out = (struct tier_stats){.bytes = UINT64_MAX, .bytes_max = UINT64_MAX};
}

static void on_state(struct tier *t, struct tier_state *out)
{
    struct scripted *s = (struct scripted *)t;

    (void)pthread_mutex_lock(&s->lock);
    *out = s->state;
    (void)pthread_mutex_unlock(&s->lock);
}

static void on_free(struct tier *t)
{
    struct scripted *s = (struct scripted *)t;

    for (size_t i = 0; i < RECORDS_MAX; i++)
        blob_unref(s->kept[i].blob);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

struct tier *scripted_new(const char *name, enum metric_tier kind, struct scripted **out)
{
    struct scripted *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    s->ops = (struct tier_ops){name,      kind,    on_open,      on_close, on_get,   on_put,
                               on_remove, on_scan, on_delete_if, on_stats, on_state, on_free};
    s->tier.ops = &s->ops;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    list_init(&s->held);
    *out = s;
    return &s->tier;
}

void scripted_answers(struct scripted *s, enum tier_result r)
{
    (void)pthread_mutex_lock(&s->lock);
    s->answer = r;
    (void)pthread_mutex_unlock(&s->lock);
}

void scripted_hold(struct scripted *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->holds = true;
    (void)pthread_mutex_unlock(&s->lock);
}

void scripted_let_go(struct scripted *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->holds = false;
    while (s->held_n > 0) {
        struct held *h = CONTAINER_OF(list_pop_front(&s->held), struct held, link);

        s->held_n--;
        tier_answer(h->port, h->op, carry_out(s, h));
        free(h);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void scripted_wait_held(struct scripted *s, unsigned n)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    (void)pthread_mutex_lock(&s->lock);
    while (s->held_n < n)
        assert_int_equal(pthread_cond_timedwait(&s->changed, &s->lock, &until), 0);
    (void)pthread_mutex_unlock(&s->lock);
}

void scripted_is(struct scripted *s, enum tier_health health)
{
    (void)pthread_mutex_lock(&s->lock);
    s->state = (struct tier_state){health, "as the script has it", clock_mono_ms() + 1, false};
    (void)pthread_mutex_unlock(&s->lock);
}

void scripted_is_partly_up(struct scripted *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->state = (struct tier_state){TIER_DEGRADED, "as the script has it", clock_mono_ms() + 1, true};
    (void)pthread_mutex_unlock(&s->lock);
}

struct blob *scripted_peek(struct scripted *s, const struct digest *key)
{
    const struct kept *k;
    struct blob *b;

    (void)pthread_mutex_lock(&s->lock);
    k = find(s, key, false);
    b = k ? blob_ref(k->blob) : NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return b;
}

void scripted_plant(struct scripted *s, const struct digest *key, struct blob *b)
{
    (void)pthread_mutex_lock(&s->lock);
    keep(find(s, key, true), blob_ref(b));
    (void)pthread_mutex_unlock(&s->lock);
}

void scripted_counts(struct scripted *s, struct scripted_counts *out)
{
    (void)pthread_mutex_lock(&s->lock);
    *out = s->counts;
    (void)pthread_mutex_unlock(&s->lock);
}
