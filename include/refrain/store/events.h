/*
 * events - what happens in this instance, and what other instances tell, for whoever listens now: operators
 * by GET /api/v1/events, the dashboard. SPEC section 8.
 *
 *   if (events_wanted(bus, EVENT_HIT)) {                 one relaxed load where nobody listens
 *       struct event_draft d;
 *       jout_text(event_begin(&d, EVENT_HIT), "model", model);
 *       events_publish(bus, &d, request_id);             a short lock; never waits, never fails
 *   }
 *
 * Each type has a ring of the last events, so that a flood of hits pushes no invalidation out. A listener has
 * a place in each ring, and is posted a message on its own loop; one that is overtaken is told how many it
 * lost. Types that are rare are remembered always; the others while somebody listens and for a while after,
 * so that a listener that comes back misses nothing.
 *
 * No prompt, answer, credential or key goes into an event.
 *
 * Threads: publishing from any; a listener's functions on its loop's thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/jout.h"
#include "refrain/base/list.h"
#include "refrain/base/loop.h"
#include "refrain/base/slice.h"

enum event_type {
    EVENT_CACHE_INVALIDATED,
    EVENT_HIT,
    EVENT_MISS,
    EVENT_STORED,
    EVENT_EVICTED,
    EVENT_BREAKER,
    EVENT_ALERT,
    EVENT_TYPES
};
/** "CACHE_INVALIDATED" */
const char *event_type_name(enum event_type type);
/** By name; -1 when it is none. */
int event_type_by_name(struct slice name);

enum {
    EVENT_SOURCE_BYTES = 16,      /* hex digits of an instance's random id */
    EVENT_CORRELATION_BYTES = 64, /* a longer one is cut */
    EVENT_PAYLOAD_BYTES = 896,    /* JSON; what would be longer is told of without its members */
    EVENTS_LISTENERS_MAX = 64,
    EVENTS_LINGER_MS = 60000,
};

struct event {
    uint64_t seq; /* of this bus: grows with each event, from 1 */
    enum event_type type;
    int64_t at_ms; /* wall clock */
    char source[EVENT_SOURCE_BYTES + 1];
    char correlation[EVENT_CORRELATION_BYTES + 1]; /* "": none */
    uint16_t payload_len;
    char payload[EVENT_PAYLOAD_BYTES]; /* one JSON object */
};

struct events;
/** @source names this instance, EVENT_SOURCE_BYTES of hex. NULL when out of memory. */
struct events *events_new(struct slice source);
/** Every listener must have left. NULL is fine. */
void events_free(struct events *e);
/** The name this instance goes by in events; lives as long as the bus. */
const char *events_source(const struct events *e);
/** A new random source. Threads: any. */
void events_source_make(char out[EVENT_SOURCE_BYTES + 1]);

/* The first member of every bus; only events_wanted looks at it. */
struct events_gate {
    atomic_uint wanted; /* bits by event_type */
};
/** Is there any use in publishing this now? false of a NULL bus. Threads: any; one relaxed load. */
static inline bool events_wanted(const struct events *e, enum event_type type)
{
    const struct events_gate *gate = (const struct events_gate *)(const void *)e;

    return gate && (atomic_load_explicit(&gate->wanted, memory_order_relaxed) & 1U << type) != 0;
}

/* -- publishing -- */

/* An event being written; on the stack. */
struct event_draft {
    enum event_type type;
    struct jout out;
    struct buf buf; /* over the bytes below: never grows, never freed */
    char bytes[EVENT_PAYLOAD_BYTES];
};
/** Begins the payload, a JSON object, whose members the caller adds to what is returned. */
struct jout *event_begin(struct event_draft *d, enum event_type type);
/** Publishes @d, as happening here and now. @correlation: what others call the same (a request's id); may be
 * empty. A NULL bus is fine. Threads: any. */
void events_publish(struct events *e, struct event_draft *d, struct slice correlation);
/** The same, of something that happened at @source at @at_ms. */
void events_publish_from(struct events *e, struct event_draft *d, struct slice source, int64_t at_ms,
                         struct slice correlation);

/* -- listening -- */

/* Lies with who listens. */
struct events_listener {
    struct loop *loop;                            /* set before listening */
    void (*on_events)(struct events_listener *l); /* on that loop; then call events_next until it has none */
    /* the bus's own from here on */
    struct events *events;
    struct list link;
    struct loop_msg msg;
    unsigned types;
    uint64_t at[EVENT_TYPES]; /* how many of each were seen or passed over */
    bool posted;
};
/**
 * Listens for @types (bits by event_type) from what follows event @after; 0: from now on. on_events comes
 * when there is something, at once if there is. false: too many listen.
 */
bool events_listen(struct events *e, struct events_listener *l, unsigned types, uint64_t after);
/**
 * The oldest event not seen yet. @out_lost: so many were overwritten before they were seen, since the last
 * call. false: none now; on_events will come.
 */
bool events_next(struct events_listener *l, struct event *out, uint64_t *out_lost);
/** Leaves. false: a message is on its way, after which on_events comes once more, the last time; until then
 * @l must live. Harmless on one that never listened. */
bool events_leave(struct events_listener *l);
/** False once it has left. */
static inline bool events_listens(const struct events_listener *l)
{
    return l->events != NULL;
}

struct events_stats {
    uint64_t published[EVENT_TYPES]; /* since somebody listened */
    uint64_t lost;                   /* overwritten before some listener saw them */
    unsigned listeners;
};
void events_stats(struct events *e, struct events_stats *out);
/** Seq of the last event. Threads: any. */
uint64_t events_last(struct events *e);
