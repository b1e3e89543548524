#include "refrain/store/events.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/digest.h"

/*
 * One lock for rings and listeners: it is taken only where somebody listens, or for what is rare, and held
 * for the copy of one event. Places in a ring are counts that never wrap; slot = count modulo the ring's
 * size.
 *
 * A listener's message is posted under the lock, so that it cannot leave in between; posting is a push onto a
 * lock-free list and at most one wake-up.
 */
enum { RARE = 256, FREQUENT = 1024 };

static const struct type_row {
    const char *name;
    unsigned ring;
    bool always; /* remembered although nobody listens */
} types[EVENT_TYPES] = {
    [EVENT_CACHE_INVALIDATED] = {"CACHE_INVALIDATED", RARE, true},
    [EVENT_HIT] = {"HIT", FREQUENT, false},
    [EVENT_MISS] = {"MISS", FREQUENT, false},
    [EVENT_STORED] = {"STORED", FREQUENT, false},
    [EVENT_EVICTED] = {"EVICTED", FREQUENT, false},
    [EVENT_BREAKER] = {"BREAKER", RARE, true},
    [EVENT_ALERT] = {"ALERT", RARE, true},
};

struct ring {
    struct event *slots;
    uint64_t written;
};

struct events {
    struct events_gate gate; /* first */
    pthread_mutex_t lock;
    struct list listeners;
    unsigned listeners_n;
    uint64_t seq, lost;
    int64_t linger_until_ms; /* monotonic: what nobody wants any more is remembered until then */
    struct ring rings[EVENT_TYPES];
    char source[EVENT_SOURCE_BYTES + 1];
};

const char *event_type_name(enum event_type type)
{
    return types[type].name;
}

int event_type_by_name(struct slice name)
{
    for (int i = 0; i < EVENT_TYPES; i++)
        if (slice_eq(name, slice_str(types[i].name)))
            return i;
    return -1;
}

void events_source_make(char out[EVENT_SOURCE_BYTES + 1])
{
    uint64_t random;

    random_bytes(&random, sizeof(random));
    (void)snprintf(out, EVENT_SOURCE_BYTES + 1, "%016llx", (unsigned long long)random);
}

static unsigned always_wanted(void)
{
    unsigned bits = 0;

    for (unsigned i = 0; i < EVENT_TYPES; i++)
        bits |= types[i].always ? 1U << i : 0;
    return bits;
}

/* -- making -- */

struct events *events_new(struct slice source)
{
    struct events *e = calloc(1, sizeof(*e));
    bool whole = true;

    if (!e)
        return NULL;
    (void)pthread_mutex_init(&e->lock, NULL);
    list_init(&e->listeners);
    (void)snprintf(e->source, sizeof(e->source), "%.*s", (int)source.len, source.data);
    for (size_t i = 0; i < EVENT_TYPES; i++) { /* pages that nothing is written to cost nothing */
        e->rings[i].slots = calloc(types[i].ring, sizeof(struct event));
        whole = whole && e->rings[i].slots;
    }
    atomic_store(&e->gate.wanted, always_wanted());
    if (whole)
        return e;
    events_free(e);
    return NULL;
}

void events_free(struct events *e)
{
    if (!e)
        return;
    assert(list_empty(&e->listeners));
    for (size_t i = 0; i < EVENT_TYPES; i++)
        free(e->rings[i].slots);
    (void)pthread_mutex_destroy(&e->lock);
    free(e);
}

const char *events_source(const struct events *e)
{
    return e->source;
}

/* -- publishing -- */

struct jout *event_begin(struct event_draft *d, enum event_type type)
{
    d->type = type;
    d->buf = (struct buf){d->bytes, 0, sizeof(d->bytes), sizeof(d->bytes)};
    d->out = jout_begin(&d->buf);
    jout_object(&d->out, NULL);
    return &d->out;
}

/* The lock is held. What nobody wants any more is no longer asked for. */
static void want_again(struct events *e)
{
    unsigned bits = always_wanted();

    LIST_FOR(it, &e->listeners)
    bits |= CONTAINER_OF(it, struct events_listener, link)->types;
    atomic_store_explicit(&e->gate.wanted, bits, memory_order_relaxed);
}

static void copy_text(char *out, size_t size, struct slice text)
{
    size_t n = text.len < size - 1 ? text.len : size - 1;

    if (n > 0)
        memcpy(out, text.data, n);
    out[n] = '\0';
}

static void fill(struct event *slot, const struct event_draft *d, struct slice correlation)
{
    static const char cut[] = "{\"truncated\":true}";
    bool whole = jout_done(&d->out) == 0;

    copy_text(slot->correlation, sizeof(slot->correlation), correlation);
    slot->payload_len = (uint16_t)(whole ? d->buf.len : sizeof(cut) - 1);
    memcpy(slot->payload, whole ? d->bytes : cut, slot->payload_len);
}

/* The lock is held. */
static void wake(struct events *e, enum event_type type)
{
    LIST_FOR(it, &e->listeners)
    {
        struct events_listener *l = CONTAINER_OF(it, struct events_listener, link);

        if ((l->types & 1U << type) == 0 || l->posted)
            continue;
        l->posted = true;
        loop_post(l->loop, &l->msg);
    }
}

void events_publish_from(struct events *e, struct event_draft *d, struct slice source, int64_t at_ms,
                         struct slice correlation)
{
    struct ring *ring;
    struct event *slot;

    jout_end(&d->out);
    if (!e)
        return;
    (void)pthread_mutex_lock(&e->lock);
    if (e->linger_until_ms > 0 && clock_mono_ms() >= e->linger_until_ms) {
        e->linger_until_ms = 0;
        want_again(e);
    }
    ring = &e->rings[d->type];
    slot = &ring->slots[ring->written++ % types[d->type].ring];
    slot->seq = ++e->seq;
    slot->type = d->type;
    slot->at_ms = at_ms;
    copy_text(slot->source, sizeof(slot->source), source);
    fill(slot, d, correlation);
    wake(e, d->type);
    (void)pthread_mutex_unlock(&e->lock);
}

void events_publish(struct events *e, struct event_draft *d, struct slice correlation)
{
    events_publish_from(e, d, e ? slice_str(e->source) : (struct slice){NULL, 0}, clock_wall_ms(),
                        correlation);
}

/* -- listening -- */

static void on_msg(struct loop_msg *m)
{
    struct events_listener *l = CONTAINER_OF(m, struct events_listener, msg);

    /* Only its own thread takes it off the list, and who leaves with a message under way is still there. */
    if (l->events) {
        (void)pthread_mutex_lock(&l->events->lock);
        l->posted = false;
        (void)pthread_mutex_unlock(&l->events->lock);
    }
    l->on_events(l);
}

static uint64_t oldest(const struct ring *ring, enum event_type type)
{
    return ring->written > types[type].ring ? ring->written - types[type].ring : 0;
}

/* How many of @type came up to @after; of those overwritten it is not known, so the rest of the ring is new.
 */
static uint64_t place_after(const struct ring *ring, enum event_type type, uint64_t after)
{
    uint64_t at = oldest(ring, type);

    while (at < ring->written && ring->slots[at % types[type].ring].seq <= after)
        at++;
    return at;
}

bool events_listen(struct events *e, struct events_listener *l, unsigned wanted, uint64_t after)
{
    bool room, waiting = false;

    (void)pthread_mutex_lock(&e->lock);
    room = e->listeners_n < EVENTS_LISTENERS_MAX;
    if (room) {
        l->events = e;
        l->types = wanted;
        l->msg.on_msg = on_msg;
        l->posted = false;
        for (unsigned i = 0; i < EVENT_TYPES; i++) {
            const struct ring *ring = &e->rings[i];

            l->at[i] = after == 0 || after > e->seq ? ring->written : place_after(ring, i, after);
            waiting = waiting || ((wanted & 1U << i) != 0 && l->at[i] < ring->written);
        }
        list_push_back(&e->listeners, &l->link);
        e->listeners_n++;
        atomic_fetch_or_explicit(&e->gate.wanted, wanted, memory_order_relaxed);
        if (waiting) {
            l->posted = true;
            loop_post(l->loop, &l->msg);
        }
    }
    (void)pthread_mutex_unlock(&e->lock);
    return room;
}

/* The lock is held: the oldest that @l has not seen; NULL: none. */
static const struct event *find_next(struct events_listener *l, uint64_t *lost)
{
    const struct event *next = NULL;

    for (unsigned i = 0; i < EVENT_TYPES; i++) {
        const struct ring *ring = &l->events->rings[i];
        uint64_t first = oldest(ring, i);
        const struct event *event;

        if ((l->types & 1U << i) == 0)
            continue;
        if (l->at[i] < first) {
            *lost += first - l->at[i];
            l->at[i] = first;
        }
        event = &ring->slots[l->at[i] % types[i].ring];
        if (l->at[i] < ring->written && (!next || event->seq < next->seq))
            next = event;
    }
    return next;
}

bool events_next(struct events_listener *l, struct event *out, uint64_t *out_lost)
{
    struct events *e = l->events;
    const struct event *next;
    uint64_t lost = 0;

    (void)pthread_mutex_lock(&e->lock);
    next = find_next(l, &lost);
    e->lost += lost;
    if (next) {
        *out = *next;
        l->at[next->type]++;
    }
    (void)pthread_mutex_unlock(&e->lock);
    *out_lost = lost;
    return next != NULL;
}

bool events_leave(struct events_listener *l)
{
    struct events *e = l->events;
    bool quiet;

    if (!e)
        return true;
    (void)pthread_mutex_lock(&e->lock);
    list_remove(&l->link);
    e->listeners_n--;
    /* what it wanted is remembered for a while, in case it comes back */
    e->linger_until_ms = clock_mono_ms() + EVENTS_LINGER_MS;
    quiet = !l->posted;
    (void)pthread_mutex_unlock(&e->lock);
    l->events = NULL;
    return quiet;
}

void events_stats(struct events *e, struct events_stats *out)
{
    (void)pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < EVENT_TYPES; i++)
        out->published[i] = e->rings[i].written;
    out->lost = e->lost;
    out->listeners = e->listeners_n;
    (void)pthread_mutex_unlock(&e->lock);
}

uint64_t events_last(struct events *e)
{
    uint64_t seq;

    (void)pthread_mutex_lock(&e->lock);
    seq = e->seq;
    (void)pthread_mutex_unlock(&e->lock);
    return seq;
}
