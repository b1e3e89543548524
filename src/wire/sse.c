#include "refrain/wire/sse.h"

#include <assert.h>

void sse_reader_init(struct sse_reader *r, enum stream_format format,
                     void (*on_event)(void *arg, struct slice event, struct slice data), void *arg)
{
    *r = (struct sse_reader){
        .format = format,
        .line = BUF_INIT(SSE_EVENT_BYTES_MAX),
        .data = BUF_INIT(SSE_EVENT_BYTES_MAX),
        .event = BUF_INIT(SSE_EVENT_BYTES_MAX),
        .at_boundary = true,
        .on_event = on_event,
        .arg = arg,
    };
}

void sse_reader_done(struct sse_reader *r)
{
    buf_done(&r->line);
    buf_done(&r->data);
    buf_done(&r->event);
}

/* Appends what fits under the ceiling: the head of an event is what is looked at. */
static int add_head(struct buf *b, struct slice s)
{
    size_t room = b->max - b->len;

    return buf_add(b, s.data, s.len < room ? s.len : room);
}

static struct slice head_of(struct slice s)
{
    return slice_make(s.data, s.len < SSE_EVENT_BYTES_MAX ? s.len : SSE_EVENT_BYTES_MAX);
}

/* WHATWG HTML section 9.2.6: an event without a data line is no event. */
static void end_event(struct sse_reader *r)
{
    if (r->has_data)
        r->on_event(r->arg, buf_slice(&r->event), buf_slice(&r->data));
    buf_clear(&r->data);
    buf_clear(&r->event);
    r->has_data = r->open = false;
}

static int take_data(struct sse_reader *r, struct slice value)
{
    int n = 0;

    if (r->has_data)
        n = add_head(&r->data, SLICE_OF("\n"));
    r->has_data = true;
    return n < 0 ? n : add_head(&r->data, value);
}

static int take_sse_line(struct sse_reader *r, struct slice line)
{
    struct slice value, name;

    if (!r->bom_checked) {
        r->bom_checked = true;
        if (slice_starts(line, SLICE_OF("\xEF\xBB\xBF")))
            line = slice_skip(line, 3);
    }
    if (line.len == 0) {
        end_event(r);
        return 0;
    }
    if (line.data[0] == ':')
        return 0;
    r->open = true;
    value = line;
    name = slice_cut(&value, ':');
    if (value.len > 0 && value.data[0] == ' ')
        value = slice_skip(value, 1);
    if (slice_eq(name, SLICE_OF("data")))
        return take_data(r, value);
    if (slice_eq(name, SLICE_OF("event"))) {
        buf_clear(&r->event);
        return add_head(&r->event, value);
    }
    return 0; /* id and retry are between the client and upstream; anything else is ignored */
}

static int take_json_line(struct sse_reader *r, struct slice line)
{
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len > 0)
        r->on_event(r->arg, (struct slice){"", 0}, line);
    return 0;
}

static int take_line(struct sse_reader *r, struct slice line)
{
    return r->format == STREAM_SSE ? take_sse_line(r, line) : take_json_line(r, line);
}

/* The bytes being fed. */
struct feed {
    const char *at, *end;
    const char *lf; /* the first LF from `at` on, or end; looked up again once passed, so that no byte is read
                       twice */
};

/* Where the current line ends, or NULL. In NDJSON a lone CR is white space within a line. */
static const char *find_line_end(struct feed *f, enum stream_format format)
{
    const char *cr = NULL;

    if (!f->lf || f->lf < f->at) {
        f->lf = memchr(f->at, '\n', (size_t)(f->end - f->at));
        if (!f->lf)
            f->lf = f->end;
    }
    if (format == STREAM_SSE)
        cr = memchr(f->at, '\r', (size_t)(f->lf - f->at));
    if (cr)
        return cr;
    return f->lf < f->end ? f->lf : NULL;
}

/* One line, ended at @to, of which the beginning may be in r->line from an earlier feed. */
static int end_line(struct sse_reader *r, const char *from, const char *to)
{
    struct slice part = slice_make(from, (size_t)(to - from));
    int n = 0;

    if (r->line.len == 0) { /* nearly always: the line is read where it lies */
        n = take_line(r, head_of(part));
    } else {
        n = add_head(&r->line, part);
        if (n == 0)
            n = take_line(r, buf_slice(&r->line));
        buf_clear(&r->line);
    }
    r->cr = *to == '\r';
    return n;
}

int sse_reader_feed(struct sse_reader *r, struct slice bytes)
{
    struct feed f = {bytes.data, bytes.data + bytes.len, NULL};
    int n = 0;

    if (r->format == STREAM_NONE)
        return 0;
    while (n == 0 && f.at < f.end) {
        const char *to;

        if (r->cr) {
            r->cr = false;
            if (*f.at == '\n') {
                f.at++;
                continue;
            }
        }
        to = find_line_end(&f, r->format);
        if (to) {
            n = end_line(r, f.at, to);
            f.at = to + 1;
        } else {
            n = add_head(&r->line, slice_make(f.at, (size_t)(f.end - f.at)));
            f.at = f.end;
        }
    }
    r->at_boundary = r->line.len == 0 && !r->open;
    return n;
}

/* --- the judge --- */

static void judge_event(void *arg, struct slice event, struct slice data)
{
    struct stream_judge *j = arg;
    enum event_meaning meaning = tally_event(&j->tally, event, data);

    j->events++;
    if (meaning == EVENT_IGNORE)
        return;
    if (j->seen_last)
        j->seen_more = true;
    switch (meaning) {
    case EVENT_LAST:
        j->seen_last = true;
        break;
    case EVENT_ERROR:
        j->seen_error = true;
        break;
    case EVENT_MORE:
    case EVENT_IGNORE:
        break;
    }
}

void stream_judge_init(struct stream_judge *j, const struct dialect *dialect, bool wants_json)
{
    assert(dialect->stream == STREAM_NONE || dialect->event);
    *j = (struct stream_judge){.events = 0};
    tally_init(&j->tally, dialect, wants_json);
    sse_reader_init(&j->reader, dialect->stream, judge_event, j);
}

void stream_judge_done(struct stream_judge *j)
{
    sse_reader_done(&j->reader);
    tally_done(&j->tally);
}

void stream_judge_feed(struct stream_judge *j, struct slice bytes)
{
    if (!j->failed && sse_reader_feed(&j->reader, bytes) < 0)
        j->failed = true;
}

bool stream_judge_whole(const struct stream_judge *j)
{
    return j->seen_last && !j->seen_more && !j->seen_error && !j->failed && j->reader.at_boundary;
}
