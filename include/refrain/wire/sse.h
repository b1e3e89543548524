/*
 * sse - splits a stream into events however its bytes were cut: event streams (WHATWG HTML, section 9.2,
 * server-sent events), NDJSON, of which a line is an event, and JSON arrays, of which an element is one. And
 * it judges whether a stream ended as its API promises.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/tally.h"

/* Bytes of one event that are looked at; a longer one still passes, but is not judged, so not stored. Images
 * come in one event. */
enum { SSE_EVENT_BYTES_MAX = 16 << 20 };

struct sse_reader {
    enum stream_format format;
    struct buf line, data, event; /* of the event under way */
    bool has_data;                /* a data line came, be it empty */
    bool open;                    /* the event under way has a line that is not a comment */
    bool cr;                      /* the last byte was CR: an LF now belongs to it */
    bool bom_checked;
    bool at_boundary; /* no event and no line is under way; of an array: it has ended */
    bool cut;         /* of the event under way, or being told: it is longer than what is looked at */
    struct {
        uint8_t state;
        bool in_string, escaped;
        unsigned depth;
    } array;
    void (*on_event)(void *arg, struct slice event, struct slice data);
    void *arg;
};
void sse_reader_init(struct sse_reader *r, enum stream_format format,
                     void (*on_event)(void *arg, struct slice event, struct slice data), void *arg);
void sse_reader_done(struct sse_reader *r);
/** Feeds the next bytes; calls on_event for each event they complete. -ENOMEM when memory ran out. */
int sse_reader_feed(struct sse_reader *r, struct slice bytes);

/* Follows one stream and knows at its end whether it was whole. */
struct stream_judge {
    struct sse_reader reader;
    struct tally tally; /* what the events add up to */
    bool seen_last;     /* the API's terminal event came */
    bool seen_more;     /* and after it something that it should have ended */
    bool seen_error;
    bool failed; /* memory ran out: not judged, so not stored */
    size_t events;
};
/* The judge holds a pointer into itself: it must not be moved. */
void stream_judge_init(struct stream_judge *j, const struct dialect *dialect, enum stream_format format,
                       bool wants_json);
void stream_judge_done(struct stream_judge *j);
void stream_judge_feed(struct stream_judge *j, struct slice bytes);
/** Bytes of memory that it has taken for events which came in pieces. */
size_t stream_judge_held(const struct stream_judge *j);
/** Gives them back, and looks at nothing more: the stream is not judged. */
void stream_judge_give_up(struct stream_judge *j);
/** True once the API's terminal event has come: a client may leave with all that there is. */
bool stream_judge_ended(const struct stream_judge *j);
/** True when the stream so far is one whole answer: the API's terminal event, at a frame boundary, with
 * nothing behind it but comments, and no error inside. How the answer ended is the tally's to tell. */
bool stream_judge_whole(const struct stream_judge *j);
