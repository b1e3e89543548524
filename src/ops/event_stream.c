#include "event_stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

enum {
    FRAME_BYTES_MAX = 8192, /* of one event: its payload, and what JSON makes of correlation ids */
    STAMP_BYTES = 32,
};

struct event_stream {
    struct events_listener listener; /* first in life, last in death: a message may be on its way to it */
    struct event_stream_conf conf;
    struct loop_timer *heartbeat;
    void (*on_ready)(void *arg);
    void *arg;
    struct buf frame; /* being sent */
    size_t sent;
    int64_t read_ms; /* loop time of the last read, or of when it was told to come */
    bool waiting, beat_due, ended, orphan;
};

unsigned event_stream_types(struct slice list)
{
    unsigned types = 0;

    while (list.data) {
        int type = event_type_by_name(slice_cut(&list, ','));

        if (type < 0)
            return 0;
        types |= 1U << type;
    }
    return types;
}

/* -- frames -- */

static void stamp_make(int64_t at_ms, char out[STAMP_BYTES])
{
    time_t seconds = (time_t)(at_ms / 1000);
    struct tm tm;
    size_t n;

    (void)gmtime_r(&seconds, &tm);
    n = strftime(out, STAMP_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + n, STAMP_BYTES - n, ".%03dZ", (int)(at_ms % 1000));
}

/* A frame that does not fit is left out whole. */
static void keep_whole(struct event_stream *s, size_t before, int r)
{
    if (r < 0)
        s->frame.len = before;
}

static void frame_comment(struct event_stream *s, const char *text)
{
    keep_whole(s, s->frame.len, buf_addf(&s->frame, ": %s\n\n", text));
}

/* What the stream has to say of itself: no id, so that who comes back names the last event. */
static void frame_own(struct event_stream *s, const char *name, uint64_t lost)
{
    keep_whole(s, s->frame.len,
               buf_addf(&s->frame,
                        "event: %s\ndata: {\"type\":\"%s\",\"payload\":{\"events\":%" PRIu64 "}}\n\n", name,
                        name, lost));
}

static void frame_event(struct event_stream *s, const struct event *event)
{
    size_t before = s->frame.len;
    char stamp[STAMP_BYTES];
    int r = buf_addf(&s->frame, "id: %s-%" PRIu64 "\nevent: %s\ndata: ", events_source(s->conf.events),
                     event->seq, event_type_name(event->type));

    stamp_make(event->at_ms, stamp);
    if (r == 0)
        r = buf_addf(&s->frame, "{\"type\":\"%s\",\"time\":\"%s\",\"source\":", event_type_name(event->type),
                     stamp);
    if (r == 0)
        r = buf_add_json(&s->frame, slice_str(event->source));
    if (r == 0 && event->correlation[0])
        r = buf_addf(&s->frame, ",\"correlation_id\":");
    if (r == 0 && event->correlation[0])
        r = buf_add_json(&s->frame, slice_str(event->correlation));
    if (r == 0)
        r = buf_addf(&s->frame, ",\"payload\":%.*s}\n\n", (int)event->payload_len, event->payload);
    keep_whole(s, before, r);
}

/* -- reading -- */

/* The next event there is, and before it what was lost. false: there is none. */
static bool frame_next(struct event_stream *s)
{
    bool slow = loop_now_ms(s->conf.loop) - s->read_ms >= s->conf.slow_ms;
    struct event event;
    uint64_t lost;

    if (!events_next(&s->listener, &event, &lost))
        return false;
    if (lost > 0)
        frame_own(s, slow ? "SLOW" : "LOST", lost);
    s->ended = lost > 0 && slow;
    if (!s->ended)
        frame_event(s, &event);
    return true;
}

int64_t event_stream_read(struct event_stream *s, char *buf, size_t cap)
{
    size_t n;

    if (s->sent == s->frame.len) {
        buf_clear(&s->frame);
        s->sent = 0;
        if (s->ended)
            return EVENT_STREAM_END;
        if (!frame_next(s) && s->beat_due)
            frame_comment(s, "still here");
        s->beat_due = false;
    }
    s->read_ms = loop_now_ms(s->conf.loop);
    n = s->frame.len - s->sent < cap ? s->frame.len - s->sent : cap;
    s->waiting = n == 0;
    if (n == 0)
        return EVENT_STREAM_WAIT;
    memcpy(buf, s->frame.data + s->sent, n);
    s->sent += n;
    loop_timer_start(s->heartbeat, s->conf.heartbeat_ms, 0);
    return (int64_t)n;
}

static void really_free(struct event_stream *s)
{
    buf_done(&s->frame);
    free(s);
}

static void on_events(struct events_listener *l)
{
    struct event_stream *s = CONTAINER_OF(l, struct event_stream, listener);

    if (s->orphan) {
        really_free(s);
        return;
    }
    if (s->waiting)
        s->read_ms = loop_now_ms(s->conf.loop); /* it was not the client that was slow until now */
    s->waiting = false;
    s->on_ready(s->arg);
}

static void on_heartbeat(void *arg)
{
    struct event_stream *s = arg;

    s->beat_due = true;
    s->on_ready(s->arg);
}

/* -- beginning and ending -- */

/* "SOURCE-SEQ"; 0 when it is not of this run. */
static uint64_t seq_of_id(const struct event_stream *s, struct slice id)
{
    struct slice source = slice_cut(&id, '-');
    uint64_t seq = 0;

    if (!slice_eq(source, slice_str(events_source(s->conf.events))) || id.len == 0 || id.len > 18)
        return 0;
    for (size_t i = 0; i < id.len; i++) {
        if (id.data[i] < '0' || id.data[i] > '9')
            return 0;
        seq = seq * 10 + (uint64_t)(id.data[i] - '0');
    }
    return seq;
}

struct event_stream *event_stream_new(const struct event_stream_conf *conf)
{
    struct event_stream *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->conf = *conf;
    s->frame.max = FRAME_BYTES_MAX;
    s->listener.loop = conf->loop;
    s->listener.on_events = on_events;
    s->heartbeat = loop_timer_new(conf->loop, on_heartbeat, s);
    s->read_ms = loop_now_ms(conf->loop);
    return s;
}

bool event_stream_start(struct event_stream *s, void (*on_ready)(void *arg), void *arg)
{
    uint64_t after = seq_of_id(s, s->conf.last_id);

    s->on_ready = on_ready;
    s->arg = arg;
    frame_comment(s, "events of this instance follow");
    if (s->conf.last_id.len > 0 && after == 0)
        frame_own(s, "RESTARTED", 0);
    s->conf.last_id = (struct slice){NULL, 0};
    return events_listen(s->conf.events, &s->listener, s->conf.types, after);
}

void event_stream_free(struct event_stream *s)
{
    if (!s)
        return;
    loop_timer_free(s->heartbeat);
    s->orphan = true;
    if (events_leave(&s->listener))
        really_free(s);
}
