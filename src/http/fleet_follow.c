/* What a follower reads: each time it is woken, or has waited long enough, all that has come since. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fleet_priv.h"
#include "refrain/base/clock.h"
#include "refrain/store/seal.h"

enum {
    MESSAGES_MAX = 32,              /* at one look */
    OPENED_BYTES_MAX = 1024 * 1024, /* of one message, unsealed: a leader's are smaller */
};

/* ARGV: the leader, how long it is to believe that it is followed, from which message on, and how many.
 * Whether the lease is still the leader's is looked at first: whatever it said before it let go is there. */
static const char follow_script[] = "redis.call('SET', KEYS[3], '1', 'PX', ARGV[2]) "
                                    "local held = redis.call('GET', KEYS[1]) "
                                    "return {held and string.sub(held, 1, 32) == ARGV[1] and 1 or 0, "
                                    "redis.call('XRANGE', KEYS[2], ARGV[3], '+', 'COUNT', ARGV[4])}";

static void look(struct fleet_member *m);

void fleet_follow_begin(struct fleet_member *m)
{
    struct lease_conf conf = fleet_lease(m);

    lease_follow_begin(&m->follow, &conf, m->fence, clock_mono_ms());
    m->opened = (struct buf)BUF_INIT(OPENED_BYTES_MAX);
    m->head_seen = m->woken = m->again = m->paused = false;
    sha256_free(m->sum);
    m->sum = sha256_new();
    sha256_begin(m->sum);
    m->bytes = 0;
    m->names_n = 0;
    if (redis_sub_add(m->port->sub, fleet_channel(m, m->leader)) == 0)
        list_push_back(fleet_wake_bucket(m->port, m->leader), &m->wake);
    look(m);
}

/* It is nobody's follower from here on. */
void fleet_follow_done(struct fleet_member *m)
{
    if (!list_empty(&m->wake) && !m->port->closing) {
        m->names_n = 0;
        redis_sub_remove(m->port->sub, fleet_channel(m, m->leader));
    }
    list_remove(&m->wake);
    buf_done(&m->opened);
}

/* -- what became of it -- */

static void take_step(struct fleet_member *m, enum lease_step step)
{
    switch (step) {
    case LEASE_ON:
        loop_timer_start(m->timer, lease_follow_pause_ms(&m->follow), 0);
        break;
    case LEASE_ELECT:
        fleet_follow_done(m);
        fleet_elect(m);
        break;
    case LEASE_ALONE:
        fleet_part(m, FLEET_ALONE, FLEET_MET_TROUBLE);
        break;
    case LEASE_CUT:
        fleet_part(m, FLEET_CUT, FLEET_WAS_CUT);
        break;
    }
}

/* The leader's last word; the member is gone after it, or stands for election. */
static void take_end(struct fleet_member *m, const struct relay_end *end)
{
    struct digest sum = sha256_end(m->sum);

    if (end->how == RELAY_AGAIN) {
        take_step(m, m->follow.begun ? LEASE_CUT : LEASE_ELECT);
        return;
    }
    if (end->how == RELAY_WHOLE && (!m->head_seen || end->bytes != m->bytes || !digest_eq(&sum, &end->sum))) {
        take_step(m, lease_follow_broken(&m->follow));
        return;
    }
    fleet_count(m, end->how == RELAY_UNSHAREABLE || end->how == RELAY_ALONE ? FLEET_LET_GO : FLEET_FOLLOWED);
    m->busy = true;
    m->events->on_end(m->arg, end);
    fleet_free(m);
}

/* -- messages -- */

/* What follows the stamp, opened where it is sealed. false: it cannot be. */
static bool open_payload(struct fleet_member *m, const struct relay_stamp *stamp, struct slice message,
                         struct slice *out)
{
    const struct seal_keys *keys = m->port->conf->keys;
    struct slice aad = slice_make(message.data, RELAY_STAMP_BYTES);
    struct seal_mark mark;

    *out = slice_skip(message, RELAY_STAMP_BYTES);
    if (stamp->sealed != (keys != NULL))
        return false;
    if (!keys)
        return true;
    if (out->len < sizeof(mark))
        return false;
    memcpy(&mark, out->data, sizeof(mark));
    *out = slice_skip(*out, sizeof(mark));
    buf_clear(&m->opened);
    if (buf_reserve(&m->opened, out->len + 1) < 0 || seal_open(keys, aad, *out, &mark, m->opened.data) < 0)
        return false;
    *out = slice_make(m->opened.data, out->len);
    return true;
}

static bool take_head(struct fleet_member *m, struct slice payload)
{
    struct relay_head head;

    if (m->head_seen || !relay_head_read(payload, &head))
        return false;
    m->head_seen = true;
    m->events->on_head(m->arg, &head);
    return true;
}

static bool take_data(struct fleet_member *m, struct slice payload)
{
    if (!m->head_seen)
        return false;
    sha256_add(m->sum, payload);
    m->bytes += payload.len;
    m->events->on_data(m->arg, payload);
    return true;
}

enum taken { TAKEN, TAKEN_LAST, NOT_TAKEN };

/* One message; after TAKEN_LAST the member is not this function's caller's any more. */
static enum taken take_message(struct fleet_member *m, struct slice message)
{
    struct relay_stamp stamp;
    struct relay_end end;
    struct slice payload;

    if (!relay_stamp_read(message, &stamp) || !digest_eq(&stamp.key, &m->key) ||
        !lease_follow_take(&m->follow, stamp.fence, stamp.seq) || !open_payload(m, &stamp, message, &payload))
        return NOT_TAKEN;
    switch (stamp.kind) {
    case RELAY_HEAD:
        return take_head(m, payload) ? TAKEN : NOT_TAKEN;
    case RELAY_DATA:
        return take_data(m, payload) ? TAKEN : NOT_TAKEN;
    case RELAY_END:
        break;
    }
    if (!relay_end_read(payload, &end))
        return NOT_TAKEN;
    m->busy = false;
    take_end(m, &end);
    return TAKEN_LAST;
}

/* [id, [field, message]] */
static struct slice message_of(const struct redis_reply *entry)
{
    const struct redis_reply *pair = redis_reply_item(entry, 1, REDIS_ARRAY);
    const struct redis_reply *text = redis_reply_item(pair, 1, REDIS_TEXT);

    return text ? text->text : (struct slice){NULL, 0};
}

/* All that came, in order. false: the member has taken another course, or is gone. */
static bool take_all(struct fleet_member *m, const struct redis_reply *entries)
{
    enum taken taken = TAKEN;

    m->busy = true;
    for (size_t i = 0; i < entries->items_n && taken == TAKEN && !m->left && !m->paused; i++)
        taken = take_message(m, message_of(entries->items[i]));
    if (taken == TAKEN_LAST)
        return false;
    m->busy = false;
    if (m->left)
        fleet_free(m);
    else if (taken == NOT_TAKEN)
        take_step(m, lease_follow_broken(&m->follow));
    else
        return true;
    return false;
}

/* -- looking -- */

static void on_looked(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct fleet_member *m = fleet_member_of(call);
    const struct redis_reply *held = redis_reply_item(reply, 0, REDIS_INTEGER);
    const struct redis_reply *entries = redis_reply_item(reply, 1, REDIS_ARRAY);
    enum lease_step step;
    uint64_t before = m->follow.seq;

    m->asking = false;
    if (!held || !entries) {
        take_step(
            m, lease_follow_failed(&m->follow, why == REDIS_DOWN || why == REDIS_REPLIED, clock_mono_ms()));
        return;
    }
    if (!m->paused && !take_all(m, entries))
        return;
    step = lease_follow_looked(&m->follow, held->integer == 1, entries->items_n, m->woken, clock_mono_ms());
    if (step == LEASE_ON && !m->paused && (m->again || m->follow.seq - before == MESSAGES_MAX))
        look(m);
    else
        take_step(m, step);
}

static void look(struct fleet_member *m)
{
    int64_t lease_ms = m->port->conf->lease_ms;
    int n;

    m->woken = m->again;
    m->again = false;
    loop_timer_stop(m->timer);
    fleet_ask_begin(m, slice_make(follow_script, sizeof(follow_script) - 1), 3);
    fleet_ask_key(m, "lease", NULL);
    fleet_ask_key(m, "chunks", m->leader);
    fleet_ask_key(m, "readers", NULL);
    fleet_ask_text(m, slice_make(m->leader, TOKEN_LEN));
    fleet_ask_number(m, lease_ms);
    n = snprintf(m->from, sizeof(m->from), "0-%" PRIu64, m->follow.seq + 1);
    fleet_ask_text(m, slice_make(m->from, (size_t)n));
    fleet_ask_number(m, m->paused ? 1 : MESSAGES_MAX);
    fleet_ask_send(m, fleet_patience_ms(m), on_looked);
}

void fleet_on_follow_timer(struct fleet_member *m)
{
    if (!m->asking)
        look(m);
}

void fleet_follow_woken(struct fleet_member *m)
{
    if (m->paused)
        return;
    m->again = true;
    if (!m->asking)
        look(m);
}

void fleet_delivered(struct fleet_member *m)
{
    lease_follow_deliver(&m->follow);
}

void fleet_pause(struct fleet_member *m)
{
    m->paused = true;
}

void fleet_resume(struct fleet_member *m)
{
    m->paused = false;
    m->again = true;
    if (!m->asking && !m->busy)
        look(m);
}
