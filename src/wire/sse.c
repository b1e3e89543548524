#include "refrain/wire/sse.h"

#include <assert.h>

#include "sse_priv.h"

void sse_reader_init(struct sse_reader *r, enum stream_format format,
                     void (*on_event)(void *arg, struct slice event, struct slice data), void *arg)
{
    *r = (struct sse_reader){
        .format = format,
        .line = BUF_INIT(SSE_EVENT_BYTES_MAX),
        .data = BUF_INIT(SSE_EVENT_BYTES_MAX),
        .event = BUF_INIT(SSE_EVENT_BYTES_MAX),
        .at_boundary = format != STREAM_JSON_ARRAY,
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

/* Appends what fits under the ceiling. */
static int add_head(struct sse_reader *r, struct buf *b, struct slice s)
{
    size_t room = b->max - b->len;

    r->cut |= s.len > room;
    return buf_add(b, s.data, s.len < room ? s.len : room);
}

int sse_reader_hold(struct sse_reader *r, struct slice part)
{
    return add_head(r, &r->line, part);
}

static struct slice head_of(struct sse_reader *r, struct slice s)
{
    r->cut |= s.len > SSE_EVENT_BYTES_MAX;
    return slice_make(s.data, s.len < SSE_EVENT_BYTES_MAX ? s.len : SSE_EVENT_BYTES_MAX);
}

int sse_reader_tell(struct sse_reader *r, struct slice last_part)
{
    int n = 0;

    if (r->line.len == 0) { /* nearly always: it is read where it lies */
        r->on_event(r->arg, SLICE_OF(""), head_of(r, last_part));
    } else {
        n = add_head(r, &r->line, last_part);
        if (n == 0)
            r->on_event(r->arg, SLICE_OF(""), buf_slice(&r->line));
        buf_clear(&r->line);
    }
    r->cut = false;
    return n;
}

/* WHATWG HTML section 9.2.6: an event without a data line is no event. */
static void end_event(struct sse_reader *r)
{
    if (r->has_data)
        r->on_event(r->arg, buf_slice(&r->event), buf_slice(&r->data));
    buf_clear(&r->data);
    buf_clear(&r->event);
    r->has_data = r->open = r->cut = false;
}

static int take_data(struct sse_reader *r, struct slice value)
{
    int n = 0;

    if (r->has_data)
        n = add_head(r, &r->data, SLICE_OF("\n"));
    r->has_data = true;
    return n < 0 ? n : add_head(r, &r->data, value);
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
        return add_head(r, &r->event, value);
    }
    return 0; /* id and retry are between the client and upstream; anything else is ignored */
}

static int take_json_line(struct sse_reader *r, struct slice line)
{
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len > 0)
        r->on_event(r->arg, (struct slice){"", 0}, line);
    r->cut = false;
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
        n = take_line(r, head_of(r, part));
    } else {
        n = add_head(r, &r->line, part);
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

    if (r->format == STREAM_NONE || r->format == STREAM_BYTES)
        return 0;
    if (r->format == STREAM_JSON_ARRAY)
        return sse_array_feed(r, bytes);
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
            n = add_head(r, &r->line, slice_make(f.at, (size_t)(f.end - f.at)));
            f.at = f.end;
        }
    }
    r->at_boundary = r->line.len == 0 && !r->open;
    return n;
}

/* --- the judge --- */

/* With ends_with_message it is the latest event that tells whether anything is missing yet. */
static void note_last(struct stream_judge *j, enum event_meaning meaning)
{
    if (j->tally.dialect->ends_with_message) {
        j->seen_last = meaning == EVENT_LAST;
        return;
    }
    j->seen_more |= j->seen_last;
    j->seen_last |= meaning == EVENT_LAST;
}

static void judge_event(void *arg, struct slice event, struct slice data)
{
    struct stream_judge *j = arg;
    enum event_meaning meaning;

    if (j->reader.cut)
        tally_lost(&j->tally);
    meaning = tally_event(&j->tally, event, data);
    j->events++;
    if (meaning == EVENT_IGNORE)
        return;
    note_last(j, meaning);
    j->seen_error |= meaning == EVENT_ERROR;
}

void stream_judge_init(struct stream_judge *j, const struct dialect *dialect, enum stream_format format,
                       bool wants_json)
{
    assert(format == STREAM_NONE || format == STREAM_BYTES || dialect->event);
    *j = (struct stream_judge){.events = 0};
    tally_init(&j->tally, dialect, wants_json);
    sse_reader_init(&j->reader, format, judge_event, j);
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
    if (j->reader.format == STREAM_BYTES && bytes.len > 0) {
        tally_bytes(&j->tally);
        j->seen_last = true;
    }
}

size_t stream_judge_held(const struct stream_judge *j)
{
    return j->reader.line.cap + j->reader.data.cap + j->reader.event.cap;
}

void stream_judge_give_up(struct stream_judge *j)
{
    sse_reader_done(&j->reader);
    j->failed = true;
}

bool stream_judge_ended(const struct stream_judge *j)
{
    return j->seen_last && !j->tally.dialect->ends_with_message;
}

bool stream_judge_whole(const struct stream_judge *j)
{
    return j->seen_last && !j->seen_more && !j->seen_error && !j->failed && j->reader.at_boundary;
}
