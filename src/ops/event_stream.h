/*
 * event_stream - events (store/events.h) as a client of GET /api/v1/events reads them: text/event-stream of
 * the WHATWG HTML standard, section 9.2. One for each client, on the admin listener's loop.
 *
 *   bus ──on_events──► on_ready ──► the client's connection wakes ──► event_stream_read
 *
 * It never waits for its client: what a client has no time for is overwritten in the bus. One that reads on
 * is told by a LOST event how many it missed; one that has read nothing for slow_ms meanwhile gets SLOW as
 * its last event, and can come back with the id of the last one it saw.
 *
 * Threads: its loop's.
 */
#pragma once
#include <stdint.h>

#include "refrain/base/loop.h"
#include "refrain/base/slice.h"
#include "refrain/store/events.h"

struct event_stream;

struct event_stream_conf {
    struct events *events;
    struct loop *loop;
    unsigned types;       /* bits by event_type */
    struct slice last_id; /* Last-Event-ID; empty: from now on. Of another run: from now on, which is told */
    int64_t heartbeat_ms; /* a comment where nothing else was sent for so long */
    int64_t slow_ms;
};

/** NULL when out of memory. */
struct event_stream *event_stream_new(const struct event_stream_conf *conf);
/** Begins. on_ready is called when there is more to read, after a read that had nothing. false: too many
 * listen. */
bool event_stream_start(struct event_stream *s, void (*on_ready)(void *arg), void *arg);
/** on_ready is not called again. NULL is fine. */
void event_stream_free(struct event_stream *s);

enum { EVENT_STREAM_WAIT = 0, EVENT_STREAM_END = -1 };
/** Fills at most @cap bytes of @buf; or says that there is nothing now, or nothing ever again. */
int64_t event_stream_read(struct event_stream *s, char *buf, size_t cap);

/** The types that @list names ("HIT,MISS") as bits; 0 when it names none or one that there is not. */
unsigned event_stream_types(struct slice list);
