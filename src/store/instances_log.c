/*
 * The two logs: reading on from where one is, and appending. One call of each kind is on its way at a time.
 *
 *   wake, beat ──► read ──► entries in their numbering: apply ──► at the end: caught up
 *                    │           └── a number is missing ─┐
 *                    └── nothing there ───────────────────┴──► find the end, drop what may be meant, go on
 *
 * The end is found before anything is dropped: what comes in between is applied after it. Once, at the start,
 * the log is read from its beginning, too: Redis may still hold what was invalidated before this instance's
 * time, and is not scanned for changed targets at all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "instances_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/digest.h"

enum {
    READ_MAX = 128,    /* entries at once */
    APPEND_MAX = 32,   /* messages at once */
    BEHIND_MAX = 1000, /* more than this to catch up on, and all is dropped: that is less work */
    UNFINISHED_MAX = 1000,
    MAIN_WAITING_MAX = 1000,
    NOTES_WAITING_MAX = 4096,
};

static const char nowhere[] = "0-0"; /* the id before every other */

/* KEYS: the log. ARGV: how many entries at most, their time to live, a numbering, the channel, messages.
 * Returns the numbering and number of the last, and its id. */
static const char append_script[] =
    "local last=redis.call('XREVRANGE',KEYS[1],'+','-','COUNT',1)\n"
    "local g,n,id=ARGV[3],0,''\n"
    "if last[1] then local f=last[1][2]\n"
    "if #f==6 and f[1]=='g' and #f[2]==16 and string.match(f[2],'^[0-9a-f]+$') and f[3]=='n' and #f[4]<15\n"
    "and string.match(f[4],'^%d+$') and f[5]=='m' then g,n=f[2],tonumber(f[4]) end end\n"
    "for i=5,#ARGV do n=n+1\n"
    "id=redis.call('XADD',KEYS[1],'MAXLEN','~',ARGV[1],'*','g',g,'n',string.format('%.0f',n),'m',ARGV[i]) "
    "end\n"
    "redis.call('PEXPIRE',KEYS[1],ARGV[2])\n"
    "redis.call('PUBLISH',ARGV[4],id)\n"
    "return {g,string.format('%.0f',n),id}";

void instances_log_init(struct instances_log *log, struct instances *in, const char *name)
{
    log->in = in;
    log->name = name;
    (void)instances_key(log->key, in->prefix, name);
    (void)snprintf(log->meta_name, sizeof(log->meta_name), "events.%s", name);
    list_init(&log->waiting);
    memcpy(log->past, nowhere, sizeof(nowhere));
    log->waiting_max = MAIN_WAITING_MAX;
    log->meta_known = log->meta_tried = !in->disk;
    if (log != &in->logs[LOG_MAIN]) {
        log->waiting_max = NOTES_WAITING_MAX;
        log->lost.operation = SLICE_OF("read"); /* targets are those of GETs */
    }
}

void instances_log_done(struct instances_log *log)
{
    struct list *link;

    while ((link = list_pop_front(&log->waiting)) != NULL)
        free(CONTAINER_OF(link, struct outgoing, link));
}

/* -- reading -- */

static bool is_stream_id(struct slice id)
{
    struct slice rest = id, ms = slice_cut(&rest, '-');

    if (id.len == 0 || id.len > STREAM_ID_BYTES || ms.len == 0 || rest.len == 0)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i] != '-' && (id.data[i] < '0' || id.data[i] > '9'))
            return false;
    return true;
}

static bool read_number(struct slice text, uint64_t *out)
{
    uint64_t n = 0;

    if (text.len == 0 || text.len > 15)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = n;
    return true;
}

static bool is_numbering(struct slice text)
{
    uint64_t ignored;

    return text.len == NUMBERING_BYTES && instances_read_sum(text, &ignored);
}

static void copy(char *out, struct slice text)
{
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
}

static bool read_id(const struct redis_reply *entry, struct position *out)
{
    const struct redis_reply *id = redis_reply_item(entry, 0, REDIS_TEXT);

    if (!id || !is_stream_id(id->text))
        return false;
    copy(out->id, id->text);
    return true;
}

/* Fills @out with what an entry says of itself. false: it is none of ours, and of @out only the id is set, if
 * anything. */
static bool read_entry(const struct redis_reply *entry, struct position *out, struct slice *out_text)
{
    static const char names[] = "gnm";
    const struct redis_reply *fields = redis_reply_item(entry, 1, REDIS_ARRAY);
    const struct redis_reply *values[3];

    if (!read_id(entry, out) || !fields || fields->items_n != 6)
        return false;
    for (size_t i = 0; i < 3; i++) {
        const struct redis_reply *name = redis_reply_item(fields, 2 * i, REDIS_TEXT);

        values[i] = redis_reply_item(fields, 2 * i + 1, REDIS_TEXT);
        if (!name || !values[i] || name->text.len != 1 || name->text.data[0] != names[i])
            return false;
    }
    if (!is_numbering(values[0]->text) || !read_number(values[1]->text, &out->n))
        return false;
    copy(out->numbering, values[0]->text);
    *out_text = values[2]->text;
    return true;
}

/* Does @next follow right behind @at? */
static bool follows(const struct position *at, const struct position *next)
{
    if (at->n == 0)
        return next->n == 1;
    return next->n == at->n + 1 && memcmp(at->numbering, next->numbering, sizeof(at->numbering)) == 0;
}

static void missed(struct instances_log *log)
{
    log->known = false;
    log->lost_some = true;
}

/* One entry behind where we are. false: something is missing. */
static bool take(struct instances_log *log, const struct redis_reply *entry)
{
    struct position next;
    struct slice text;

    if (!read_entry(entry, &next, &text)) {
        instances_foreign(log->in);
        return false;
    }
    if (!follows(&log->at, &next) || ++log->behind > BEHIND_MAX || log->unfinished > UNFINISHED_MAX)
        return false;
    if (!instances_apply(log, text, !log->caught_up)) {
        instances_foreign(log->in);
        if (log == &log->in->logs[LOG_MAIN])
            return false; /* somebody invalidates something, and we do not understand what */
    }
    log->at = next;
    log->moved = true;
    return true;
}

/* The entries from where we are, which is the first of them. Where it is not there any more, the log may be
 * another one, whose numbers look alike: after a failover to who had not heard of the last ones. */
static bool take_all(struct instances_log *log, const struct redis_reply *page)
{
    bool begun = strcmp(log->at.id, nowhere) != 0;
    size_t i = 0;

    if (begun) {
        struct position first;

        if (page->items_n == 0 || !read_id(page->items[0], &first) || strcmp(first.id, log->at.id) != 0)
            return false;
        i++;
    }
    for (; i < page->items_n; i++)
        if (!take(log, page->items[i]))
            return false;
    return true;
}

static void at_end(struct instances_log *log)
{
    log->behind = 0;
    log->caught_up = true;
    instances_look(log->in);
}

static void on_page(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct instances_log *log = CONTAINER_OF(call, struct instances_log, read);

    log->reading = false;
    if (why != REDIS_REPLIED || reply->type != REDIS_ARRAY)
        return; /* the next beat tries again */
    if (!take_all(log, reply)) {
        missed(log);
        instances_log_read(log);
    } else if (log->again || reply->items_n >= READ_MAX) {
        instances_log_read(log);
    } else {
        at_end(log);
    }
    instances_log_keep(log);
}

static void on_end(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct instances_log *log = CONTAINER_OF(call, struct instances_log, read);
    struct position end = {.n = 0};
    struct slice text;

    log->reading = false;
    if (why != REDIS_REPLIED || reply->type != REDIS_ARRAY)
        return;
    memcpy(end.id, nowhere, sizeof(nowhere));
    if (reply->items_n > 0 && !read_entry(reply->items[0], &end, &text)) {
        instances_foreign(log->in);
        end.n = 0; /* what is appended next to it begins a numbering of its own */
    }
    log->at = end;
    log->known = true;
    log->moved = true;
    if (log->lost_some || (log->joins && reply->items_n > 0))
        instances_apply_lost(log);
    log->lost_some = log->joins = false;
    instances_log_read(log);
}

/* What was told before this instance's time. The last one of a page is the first of the next. */
static void take_past(struct instances_log *log, const struct redis_reply *page)
{
    bool begins = strcmp(log->past, nowhere) == 0;

    for (size_t i = 0; i < page->items_n; i++) {
        struct position at;
        struct slice text;

        if (read_entry(page->items[i], &at, &text))
            instances_apply_past(log, text, begins && i == 0 && at.n > 1);
        if (read_id(page->items[i], &at))
            memcpy(log->past, at.id, sizeof(log->past));
    }
}

static void on_past(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct instances_log *log = CONTAINER_OF(call, struct instances_log, read);

    log->reading = false;
    if (why != REDIS_REPLIED || reply->type != REDIS_ARRAY)
        return; /* the next beat tries again */
    take_past(log, reply);
    log->past_read = reply->items_n < READ_MAX;
    instances_log_read(log);
}

static void ask_from(struct instances_log *log, const char *id)
{
    static const char count[] = "128";

    _Static_assert(READ_MAX == 128, "the same number");
    memcpy(log->from, id, sizeof(log->from));
    log->read_argv[0] = SLICE_OF("XRANGE");
    log->read_argv[1] = slice_str(log->key);
    log->read_argv[2] = slice_str(log->from);
    log->read_argv[3] = SLICE_OF("+");
    log->read_argv[4] = SLICE_OF("COUNT");
    log->read_argv[5] = slice_str(count);
}

static void ask_end(struct instances_log *log)
{
    log->read_argv[0] = SLICE_OF("XREVRANGE");
    log->read_argv[1] = slice_str(log->key);
    log->read_argv[2] = SLICE_OF("+");
    log->read_argv[3] = SLICE_OF("-");
    log->read_argv[4] = SLICE_OF("COUNT");
    log->read_argv[5] = SLICE_OF("1");
    log->read.on_reply = on_end;
}

void instances_log_read(struct instances_log *log)
{
    log->again = log->reading;
    if (log->reading || !log->meta_tried || !instances_is_ready(log->in))
        return;
    log->reading = true;
    if (!log->known) {
        ask_end(log);
    } else if (!log->past_read) {
        ask_from(log, log->past);
        log->read.on_reply = on_past;
    } else {
        ask_from(log, log->at.id);
        log->read.on_reply = on_page;
    }
    log->read.argv = log->read_argv;
    log->read.argc = 6;
    log->read.key = slice_str(log->key);
    log->read.deadline_ms = CALL_MS;
    redis_ask(log->in->redis, &log->read);
}

/* -- telling -- */

struct outgoing *instances_outgoing(const struct instances_msg *m)
{
    AUTO(buf_done) struct buf text = BUF_INIT(MSG_BYTES_MAX);
    struct outgoing *o;

    if (instances_msg_write(m, &text) < 0)
        return NULL;
    o = calloc(1, sizeof(*o) + text.len);
    if (!o)
        return NULL;
    list_init(&o->link);
    o->target = m->kind == MSG_TARGET ? m->sum : 0;
    o->len = text.len;
    memcpy(o->text, text.data, text.len);
    return o;
}

static void outgoing_drop(struct instances_log *log, struct outgoing *o)
{
    list_remove(&o->link);
    log->waiting_n--;
    free(o);
}

/* What waits, but is not on its way, is said in one word: everything that may have been meant. */
static void give_up_details(struct instances_log *log)
{
    struct instances_msg all = {.kind = MSG_INVALIDATED, .which = log->lost};
    struct outgoing *o;
    unsigned at = 0;

    LIST_FOR_SAFE(it, &log->waiting)
    {
        if (at++ >= log->sent_n)
            outgoing_drop(log, CONTAINER_OF(it, struct outgoing, link));
    }
    memcpy(all.source, log->in->id, sizeof(all.source));
    o = instances_outgoing(&all);
    if (!o)
        return; /* a hundred bytes: the process is about to end */
    list_push_back(&log->waiting, &o->link);
    log->waiting_n++;
}

static bool waits_already(struct instances_log *log, uint64_t target)
{
    unsigned at = 0;

    LIST_FOR(it, &log->waiting)
    {
        if (at++ >= log->sent_n && CONTAINER_OF(it, struct outgoing, link)->target == target)
            return true;
    }
    return false;
}

void instances_log_add(struct instances_log *log, struct outgoing *o)
{
    if (o && o->target != 0 && waits_already(log, o->target)) {
        free(o);
        return;
    }
    if (!o || log->waiting_n >= log->waiting_max) {
        give_up_details(log);
        free(o);
    } else {
        list_push_back(&log->waiting, &o->link);
        log->waiting_n++;
    }
    log->in->unkept = log->in->unkept || !redis_is_up(log->in->redis);
    instances_log_tell(log);
}

static void on_appended(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct instances_log *log = CONTAINER_OF(call, struct instances_log, append);
    bool done = why == REDIS_REPLIED && reply->type == REDIS_ARRAY;

    log->appending = false;
    for (; done && log->sent_n > 0; log->sent_n--) {
        struct outgoing *o = CONTAINER_OF(log->waiting.next, struct outgoing, link);

        if (o->asker)
            instances_ask_told(o->asker);
        outgoing_drop(log, o);
        log->in->told++;
    }
    log->sent_n = 0;
    if (log->in->keeping || !done)
        log->in->unkept = true; /* put down at the next beat */
    if (why == REDIS_REPLIED && reply->type == REDIS_ERROR)
        instances_refused(log->in, reply);
    if (!done)
        return;
    log->in->refused_told = false;
    instances_log_tell(log); /* what was not, is tried again at the next beat */
}

/* As EVAL wants them: script, one key, the rest. */
static size_t append_words(struct instances_log *log)
{
    static const char max[] = "10000", ttl[] = "604800000";
    struct slice *argv = log->append_argv;
    size_t n = 0;

    _Static_assert(LOG_ENTRIES_MAX == 10000 && KEYS_TTL_MS == 604800000, "the same numbers");
    argv[n++] = SLICE_OF("EVAL");
    argv[n++] = slice_make(append_script, sizeof(append_script) - 1);
    argv[n++] = SLICE_OF("1");
    argv[n++] = slice_str(log->key);
    argv[n++] = slice_str(max);
    argv[n++] = slice_str(ttl);
    argv[n++] = slice_str(log->numbering);
    argv[n++] = slice_str(log->in->wake_channel);
    LIST_FOR(it, &log->waiting)
    {
        struct outgoing *o = CONTAINER_OF(it, struct outgoing, link);

        if (log->sent_n == APPEND_MAX)
            break;
        argv[n++] = slice_make(o->text, o->len);
        log->sent_n++;
    }
    return n;
}

void instances_log_tell(struct instances_log *log)
{
    if (log->appending || log->waiting_n == 0 || !redis_is_up(log->in->redis))
        return;
    log->appending = true;
    events_source_make(log->numbering);
    log->append = (struct redis_call){
        .argv = log->append_argv,
        .argc = append_words(log),
        .key = slice_str(log->key),
        .deadline_ms = CALL_MS,
        .on_reply = on_appended,
    };
    redis_ask(log->in->redis, &log->append);
}

/* -- beside the disk -- */

static bool read_position(struct slice text, struct position *out)
{
    struct slice version = slice_cut(&text, ' '), numbering = slice_cut(&text, ' '),
                 n = slice_cut(&text, ' ');

    if (!slice_eq(version, SLICE_OF("1")) || !read_number(n, &out->n) || !is_stream_id(text))
        return false;
    if (out->n > 0 && !is_numbering(numbering))
        return false;
    memset(out->numbering, 0, sizeof(out->numbering));
    if (out->n > 0)
        copy(out->numbering, numbering);
    copy(out->id, text);
    return true;
}

/* The disk holds what it held when the log was read up to @at; NULL: nobody knows, or it is @fresh. */
static void begin_at(struct instances_log *log, const struct position *at, bool fresh)
{
    log->caught_up = false;
    log->known = at != NULL;
    if (at)
        log->at = *at;
    else if (fresh)
        log->joins = true; /* what is in the log was said without us */
    else
        log->lost_some = true;
}

static void on_meta_got(struct tier_op *op)
{
    struct store_disk_meta *m = CONTAINER_OF(op, struct store_disk_meta, op);
    struct instances_log *log = CONTAINER_OF(m, struct instances_log, meta);
    struct position at;
    bool readable = false, first = !log->meta_tried;

    log->meta_busy = false;
    if (op->result == TIER_OK) {
        readable = read_position(blob_slice(m->blob), &at);
        blob_unref(m->blob);
    }
    log->meta_tried = true;
    log->meta_known = (op->result == TIER_OK || op->result == TIER_ABSENT) && !log->reading;
    if (log->meta_known)
        begin_at(log, readable ? &at : NULL, op->result == TIER_ABSENT);
    /* A disk that is away is asked again by the beat: a read now would ask it once more at its end, for ever.
     */
    if (first || log->meta_known)
        instances_log_read(log);
}

static void meta_ask(struct instances_log *log)
{
    log->meta_busy = true;
    log->meta = (struct store_disk_meta){.op = {.on_done = on_meta_got, .deadline_ms = CALL_MS},
                                         .name = slice_str(log->meta_name)};
    log->in->conf.meta_get(log->in->disk, &log->meta);
}

static void on_meta_put(struct tier_op *op)
{
    struct store_disk_meta *m = CONTAINER_OF(op, struct store_disk_meta, op);
    struct instances_log *log = CONTAINER_OF(m, struct instances_log, meta);

    log->meta_busy = false;
    log->moved = log->moved || op->result != TIER_OK;
}

static void meta_put(struct instances_log *log)
{
    const struct position *at = &log->at;

    (void)snprintf(log->meta_value, sizeof(log->meta_value), "1 %s %" PRIu64 " %s",
                   at->n > 0 ? at->numbering : "-", at->n, at->id);
    log->meta_busy = true;
    log->moved = false;
    log->meta = (struct store_disk_meta){.op = {.on_done = on_meta_put, .deadline_ms = CALL_MS},
                                         .name = slice_str(log->meta_name),
                                         .value = slice_str(log->meta_value)};
    log->in->conf.meta_put(log->in->disk, &log->meta);
}

/* What is kept never runs ahead of what has been done on disk. */
void instances_log_keep(struct instances_log *log)
{
    struct instances *in = log->in;

    if (!in->disk || log->meta_busy)
        return;
    if (!log->meta_known)
        meta_ask(log);
    else if (log->known && log->moved && log->unfinished == 0 &&
             invalidate_pending(in->conf.invalidator) == 0)
        meta_put(log);
}
