/* What a leader tells: gathered into batches, each tried until Redis has it or the lease has run out. */
#include <inttypes.h>
#include <stdio.h>

#include "fleet_priv.h"
#include "refrain/base/clock.h"
#include "refrain/store/seal.h"

enum {
    HEAD_BYTES_MAX = 256 * 1024,  /* of what a head or an end comes to */
    DATA_BYTES_KEPT = 256 * 1024, /* of a buffer that is empty */
    STREAM_LEASES = 2,            /* the stream outlives the lease, for who still reads */
    NO_LINGER = -1,
    DENIED = -1, /* of tell_script */
    GONE = -2,
};

/*
 * ARGV: the lease as it shall read, its lifetime, the stream's, the channel, how many messages to keep (0:
 * all), how long newcomers are taken behind the end (-1: it is not the end; 0: not at all), whether it is off
 * where somebody follows, seq of the first message, messages.
 * A message that is there already was told before, and its answer lost. Returns whether anybody follows, or
 * why nothing was done: DENIED, another has led since; GONE, the lease has run out.
 */
static const char tell_script[] =
    "local held = redis.call('GET', KEYS[1]) "
    "local token, fence = string.match(ARGV[1], '^(%x+) (%d+)') "
    "if not held and tonumber(redis.call('GET', KEYS[4]) or '0') > tonumber(fence) then return -1 end "
    "if not held then return -2 end "
    "if string.sub(held, 1, 32) ~= token then return -1 end "
    "local followed = redis.call('EXISTS', KEYS[3]) "
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) "
    "redis.call('PEXPIRE', KEYS[2], ARGV[3]) "
    "if ARGV[7] == '1' and followed == 1 then return 1 end "
    "for i = 9, #ARGV do "
    "  local id = '0-' .. string.format('%.0f', tonumber(ARGV[8]) + i - 9) "
    "  local r = redis.pcall('XADD', KEYS[2], id, 'm', ARGV[i]) "
    "  if type(r) == 'table' and r.err and not string.find(r.err, 'equal or smaller', 1, true) then "
    "    return redis.error_reply(r.err) end "
    "end "
    "redis.call('PEXPIRE', KEYS[2], ARGV[3]) "
    "if ARGV[5] ~= '0' then redis.call('XTRIM', KEYS[2], 'MAXLEN', ARGV[5]) end "
    "if ARGV[6] == '0' then redis.call('DEL', KEYS[1]) "
    "elseif ARGV[6] ~= '-1' then "
    "  redis.call('PEXPIRE', KEYS[1], ARGV[6]) "
    "  redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[6]) + tonumber(ARGV[3])) "
    "end "
    "if #ARGV > 8 then redis.call('PUBLISH', ARGV[4], '') end "
    "return followed";

static void go_on(struct fleet_member *m);

/* -- what is told -- */

static bool take_allowance(struct fleet_member *m, size_t bytes)
{
    if (!limits_take_spare_bytes(m->port->conf->limits, bytes))
        return false;
    m->out.charged += bytes;
    return true;
}

void fleet_lead_begin(struct fleet_member *m)
{
    struct lease_conf conf = fleet_lease(m);

    lease_lead_begin(&m->lead, &conf, m->asked_ms);
    m->out = (struct fleet_outbox){.head = BUF_INIT(HEAD_BYTES_MAX),
                                   .data = BUF_INIT(SIZE_MAX / 2), /* the allowance bounds it */
                                   .end = BUF_INIT(HEAD_BYTES_MAX),
                                   .linger_ms = NO_LINGER,
                                   .batch = {.bytes = BUF_INIT(SIZE_MAX / 2)}};
    sha256_free(m->sum);
    m->sum = sha256_new();
    sha256_begin(m->sum);
    m->bytes = 0;
    loop_timer_start(m->timer, lease_lead_renew_in_ms(&m->lead, clock_mono_ms()), 0);
}

void fleet_lead_done(struct fleet_member *m)
{
    if (m->out.charged > 0)
        limits_give_back(m->port->conf->limits, m->out.charged);
    buf_done(&m->out.head);
    buf_done(&m->out.data);
    buf_done(&m->out.end);
    buf_done(&m->out.batch.bytes);
    m->out.charged = 0;
}

static void mute(struct fleet_member *m)
{
    if (m->asking)
        redis_forget(&m->call);
    m->asking = false;
    m->mute = true;
    fleet_lead_done(m);
}

void fleet_lead_close(struct fleet_member *m)
{
    mute(m);
    loop_timer_free(m->timer);
    m->timer = NULL;
    list_remove(&m->link);
}

/* Redis does not take it any more; whoever follows finds the lease run out. */
static void fall_silent(struct fleet_member *m)
{
    if (m->stage == STAGE_ENDING) {
        fleet_free(m);
        return;
    }
    fleet_count(m, m->lead.lost ? FLEET_LOST : FLEET_MET_TROUBLE);
    mute(m);
    loop_timer_start(m->timer, 0, 0); /* it may be deserted */
}

void fleet_tell_head(struct fleet_member *m, const struct relay_head *head)
{
    if (m->mute)
        return;
    if (relay_head_write(&m->out.head, head) < 0)
        fall_silent(m);
    else
        go_on(m);
}

void fleet_tell(struct fleet_member *m, struct slice bytes)
{
    if (m->mute || bytes.len == 0)
        return;
    sha256_add(m->sum, bytes);
    m->bytes += bytes.len;
    if (!take_allowance(m, bytes.len) || buf_add_slice(&m->out.data, bytes) < 0)
        fall_silent(m);
    else
        go_on(m);
}

void fleet_tell_end(struct fleet_member *m, const struct relay_end *end, int64_t linger_ms)
{
    struct relay_end last;

    if (!m)
        return;
    if (m->mute) {
        fleet_free(m);
        return;
    }
    last = *end;
    last.bytes = m->bytes;
    last.sum = sha256_end(m->sum);
    m->stage = STAGE_ENDING;
    m->out.linger_ms = linger_ms > 0 && !m->lead.closed ? linger_ms : 0;
    if (relay_end_write(&m->out.end, &last) < 0)
        fall_silent(m);
    else
        go_on(m);
}

void fleet_desert(struct fleet_member *m)
{
    m->out.deserted = true;
    if (m->timer)
        loop_timer_start(m->timer, 0, 0);
}

bool fleet_is_lost(const struct fleet_member *m)
{
    return m->lead.lost;
}

/* -- batches -- */

/* Stamps and, where there are keys, seals what stands in the batch from @at on. */
static void finish_message(struct fleet_member *m, enum relay_kind kind, size_t at)
{
    const struct seal_keys *keys = m->port->conf->keys;
    struct fleet_batch *b = &m->out.batch;
    char *message = b->bytes.data + at, *payload = message + RELAY_STAMP_BYTES;
    size_t len = b->bytes.len - at - RELAY_STAMP_BYTES;
    struct relay_stamp stamp = {kind, keys != NULL, m->key, m->fence, lease_lead_say(&m->lead, len)};
    struct seal_mark mark;

    relay_stamp_write(&stamp, message);
    if (keys) {
        payload += sizeof(mark);
        len -= sizeof(mark);
        seal_bytes(keys, slice_make(message, RELAY_STAMP_BYTES), slice_make(payload, len), payload, &mark);
        memcpy(message + RELAY_STAMP_BYTES, &mark, sizeof(mark));
    }
    if (b->n == 0)
        b->first = stamp.seq;
    b->messages[b->n].at = at;
    b->messages[b->n].len = b->bytes.len - at;
    b->n++;
}

static bool add_message(struct fleet_member *m, enum relay_kind kind, struct slice payload)
{
    static const char room[RELAY_STAMP_BYTES + sizeof(struct seal_mark)];
    struct buf *bytes = &m->out.batch.bytes;
    size_t at = bytes->len, before = m->port->conf->keys ? sizeof(room) : RELAY_STAMP_BYTES;
    uint64_t keeps;

    if (buf_add(bytes, room, before) < 0 || buf_add_slice(bytes, payload) < 0)
        return false;
    finish_message(m, kind, at);
    keeps = lease_lead_keeps(&m->lead);
    if (keeps > 0)
        m->out.batch.keeps = keeps;
    return true;
}

static struct slice data_left(const struct fleet_outbox *out)
{
    return slice_skip(buf_slice(&out->data), out->told);
}

static void drop_told(struct fleet_member *m)
{
    struct fleet_outbox *out = &m->out;

    if (out->told < out->data.len)
        return;
    limits_give_back(m->port->conf->limits, out->charged);
    out->charged = 0;
    out->told = 0;
    if (out->data.cap > DATA_BYTES_KEPT)
        buf_done(&out->data);
    else
        buf_clear(&out->data);
}

/* What is to be told, as much of it as one command takes. false: there is no memory. */
static bool make_batch(struct fleet_member *m)
{
    struct fleet_outbox *out = &m->out;
    struct fleet_batch *b = &out->batch;
    bool ok = true;

    buf_clear(&b->bytes);
    b->n = 0;
    b->keeps = 0;
    b->last = false;
    if (out->head.len > 0) {
        ok = add_message(m, RELAY_HEAD, buf_slice(&out->head));
        buf_done(&out->head);
    }
    while (ok && data_left(out).len > 0 && b->n < BATCH_MESSAGES_MAX - 1) {
        struct slice part = data_left(out);

        if (part.len > MESSAGE_BYTES_MAX)
            part.len = MESSAGE_BYTES_MAX;
        ok = add_message(m, RELAY_DATA, part);
        out->told += part.len;
    }
    drop_told(m);
    if (ok && out->end.len > 0 && data_left(out).len == 0) {
        ok = add_message(m, RELAY_END, buf_slice(&out->end));
        buf_done(&out->end);
        b->last = true;
    }
    return ok;
}

/* -- to Redis -- */

static void on_told(struct redis_call *call, const struct redis_reply *reply, enum redis_why why);
static void on_resigned(struct redis_call *call, const struct redis_reply *reply, enum redis_why why);

static void add_lease(struct fleet_member *m)
{
    int n = snprintf(m->lease_text, sizeof(m->lease_text), "%s %" PRIu64 "%s", m->me, m->fence,
                     m->lead.closed ? " closed" : "");

    fleet_ask_text(m, slice_make(m->lease_text, (size_t)n));
}

/* The batch, or none: then it renews the lease. @off_if_followed: unless somebody follows. */
static void ask(struct fleet_member *m, int64_t linger_ms, bool off_if_followed,
                void (*on_reply)(struct redis_call *call, const struct redis_reply *reply,
                                 enum redis_why why))
{
    const struct fleet_batch *b = &m->out.batch;
    int64_t lease_ms = m->port->conf->lease_ms;

    fleet_ask_begin(m, slice_make(tell_script, sizeof(tell_script) - 1), 4);
    fleet_ask_key(m, "lease", NULL);
    fleet_ask_key(m, "chunks", m->me);
    fleet_ask_key(m, "readers", NULL);
    fleet_ask_key(m, "fence", NULL);
    add_lease(m);
    fleet_ask_number(m, lease_ms);
    fleet_ask_number(m, lease_ms * STREAM_LEASES);
    fleet_ask_text(m, fleet_channel(m, m->me));
    fleet_ask_number(m, (int64_t)b->keeps);
    fleet_ask_number(m, linger_ms);
    fleet_ask_number(m, off_if_followed);
    fleet_ask_number(m, (int64_t)b->first);
    for (unsigned i = 0; i < b->n; i++)
        fleet_ask_text(m, slice_make(b->bytes.data + b->messages[i].at, b->messages[i].len));
    fleet_ask_send(m, fleet_patience_ms(m), on_reply);
}

static void tell(struct fleet_member *m)
{
    ask(m, m->out.batch.last ? m->out.linger_ms : NO_LINGER, false, on_told);
}

static bool wants_to_resign(const struct fleet_member *m)
{
    return m->out.deserted && m->stage == STAGE_LEADING && m->events->is_deserted(m->arg);
}

/* What stands out is told; otherwise the timer sees to it that the lease does not run out. */
static void go_on(struct fleet_member *m)
{
    struct fleet_batch *b = &m->out.batch;

    if (m->asking || m->mute)
        return;
    if (b->n == 0 && !make_batch(m))
        fall_silent(m);
    else if (b->n > 0)
        tell(m);
}

void fleet_on_lead_timer(struct fleet_member *m)
{
    if (m->mute) {
        if (wants_to_resign(m))
            fleet_part(m, FLEET_RESIGNED, FLEET_MET_TROUBLE);
        return;
    }
    if (m->asking)
        return; /* its answer starts the timer again */
    if (m->out.batch.n > 0)
        tell(m);
    else if (wants_to_resign(m))
        ask(m, 0, true, on_resigned);
    else
        tell(m);
}

/* What came of a question. false: the member has fallen silent. */
static bool heard(struct fleet_member *m, const struct redis_reply *reply)
{
    int64_t now_ms = clock_mono_ms();
    bool known = reply && reply->type == REDIS_INTEGER;
    enum lease_word word = !known || reply->integer == GONE ? LEASE_NO_WORD
                           : reply->integer == DENIED       ? LEASE_DENIED
                                                            : LEASE_CONFIRMED;

    m->asking = false;
    lease_lead_heard(&m->lead, word, known && reply->integer > 0, m->asked_ms, now_ms);
    if ((known && reply->integer < 0) || lease_lead_standing(&m->lead, now_ms) != LEASE_HELD) {
        fall_silent(m);
        return false;
    }
    loop_timer_start(m->timer, m->out.deserted ? 1 : lease_lead_renew_in_ms(&m->lead, now_ms), 0);
    return true;
}

static void on_told(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct fleet_member *m = fleet_member_of(call);
    bool told = why == REDIS_REPLIED && reply->type == REDIS_INTEGER && reply->integer >= 0;

    if (!heard(m, reply) || !told)
        return; /* the timer tries it again */
    m->out.batch.n = 0;
    if (m->out.batch.last)
        fleet_free(m);
    else
        go_on(m);
}

static void on_resigned(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct fleet_member *m = fleet_member_of(call);
    bool alone = why == REDIS_REPLIED && reply->type == REDIS_INTEGER && reply->integer == 0;

    if (!heard(m, reply))
        return;
    if (alone)
        fleet_part(m, FLEET_RESIGNED, FLEET_DESERTED);
    else
        go_on(m);
}

static void on_released(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct fleet_member *m = fleet_member_of(call);

    (void)reply;
    (void)why;
    m->asking = false;
    fleet_free(m);
}

void fleet_lead_release(struct fleet_member *m)
{
    if (m->asking)
        redis_forget(&m->call);
    m->asking = false;
    if (m->port->closing) {
        fleet_free(m);
        return;
    }
    m->stage = STAGE_ENDING;
    m->fence = 0;
    ask(m, 0, false, on_released);
}
