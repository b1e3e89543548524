/*
 * The tier's ports and its questions about one key. Walks over all keys are in store_redis_walk.c.
 *
 * A put that must not go over a later record looks at what there is, and then sets on condition that it is
 * still there:
 *
 *   look ─┬─ nothing ─────────► SET … NX ───────────┬─ done
 *    ▲    ├─ began later ─────► done, nothing to do │
 *    │    └─ any other ───────► compare and SET ────┤
 *    └───────────────────────── it has changed ◄────┘    (a few times at most)
 */
#include "refrain/store/store_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/clock.h"
#include "store_redis_priv.h"

enum {
    WRITE_TIMEOUT_MS = 1000,
    PUT_TRIES_MAX = 4,
    COMPARE_BYTES_MAX = 4096,
};

/* A record's head has sums or nonces over all that follows it: two that agree in it are the same. */
static const struct slice compare_and_set =
    SLICE("if redis.call('GETRANGE',KEYS[1],0,#ARGV[1]-1)~=ARGV[1] then return 0 end "
          "if ARGV[3]=='' then redis.call('SET',KEYS[1],ARGV[2]) "
          "else redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end return 1");
static const struct slice compare_and_unlink =
    SLICE("if redis.call('STRLEN',KEYS[1])==tonumber(ARGV[2]) and "
          "redis.call('GETRANGE',KEYS[1],0,#ARGV[1]-1)==ARGV[1] then return redis.call('UNLINK',KEYS[1]) end "
          "return 0");

static struct rt_port *port_of(struct tier_port *p)
{
    return (struct rt_port *)p;
}

/* -- what operators hear -- */

static void tell(struct rt_tier *t, const struct store_redis_notice *n)
{
    if (t->on_notice)
        t->on_notice(t->arg, n);
}

/* Under the lock. */
static void judge_health(struct rt_tier *t)
{
    const bool whole = t->up_n == t->ports_n && t->partly_n == 0;
    const enum tier_health health = t->up_n == 0 ? TIER_IS_DOWN : whole ? TIER_UP : TIER_DEGRADED;

    if (health == t->health)
        return;
    t->health = health;
    t->since_ms = clock_mono_ms();
}

/* True when it is worth telling. Under the lock. */
static bool note_state(struct rt_port *p, const struct redis_state *state)
{
    struct rt_tier *t = rt_tier_of(p);
    const unsigned was_up_n = t->up_n, was_partly_n = t->partly_n;
    const enum redis_cause was = t->cause;
    const bool partly = state->up && state->cause != REDIS_FINE;

    t->up_n += (unsigned)state->up - (unsigned)p->up;
    t->partly_n += (unsigned)partly - (unsigned)p->partly;
    p->up = state->up;
    p->partly = partly;
    if (state->up && was_up_n == 0) /* not with every thread's connection, or with one that is made anew */
        t->refused = false;
    if (state->cause != REDIS_FINE)
        t->cause = state->cause;
    else if (t->up_n == t->ports_n && t->partly_n == 0)
        t->cause = REDIS_FINE;
    judge_health(t);
    return (was_up_n == 0) != (t->up_n == 0) || (was_partly_n == 0) != (t->partly_n == 0) ||
           (t->up_n == 0 && t->cause != was);
}

static void on_state(void *arg, const struct redis_state *state)
{
    struct rt_port *p = arg;
    struct rt_tier *t = rt_tier_of(p);
    const struct store_redis_notice n = {STORE_REDIS_STATE, state->up, state->cause, state->detail};
    bool is_news;

    pthread_mutex_lock(&t->lock);
    is_news = note_state(p, state);
    pthread_mutex_unlock(&t->lock);
    if (is_news)
        tell(t, &n);
}

static void tell_refusal(struct rt_tier *t, const struct redis_reply *reply)
{
    struct redis_detail detail;
    struct store_redis_notice n = {STORE_REDIS_REFUSAL, true, REDIS_REFUSING, detail.text};
    bool is_news;

    pthread_mutex_lock(&t->lock);
    is_news = !t->refused;
    t->refused = true;
    pthread_mutex_unlock(&t->lock);
    redis_detail_set(&detail, reply->text);
    if (is_news)
        tell(t, &n);
}

/* -- what a reply comes to -- */

static const struct {
    const char *code; /* the error's first word */
    enum tier_result result;
    bool is_refusal;
} errors[] = {
    {"OOM", TIER_FULL, true},        {"NOPERM", TIER_REFUSED, true},     {"READONLY", TIER_REFUSED, true},
    {"MISCONF", TIER_REFUSED, true}, {"NOREPLICAS", TIER_REFUSED, true}, {"NOAUTH", TIER_DOWN, true},
    {"LOADING", TIER_DOWN, false},   {"MASTERDOWN", TIER_DOWN, false},   {"CLUSTERDOWN", TIER_DOWN, false},
    {"TRYAGAIN", TIER_DOWN, false},  {"BUSY", TIER_DOWN, false},
};

static enum tier_result result_of_why(enum redis_why why)
{
    switch (why) {
    case REDIS_LATE:
        return TIER_LATE;
    case REDIS_BUSY:
        return TIER_BUSY;
    case REDIS_TOO_LARGE:
        return TIER_REFUSED;
    default:
        return TIER_DOWN;
    }
}

/* A server may take less than we do: proto-max-bulk-len. */
static bool is_about_size(struct slice text)
{
    return slice_starts(text, SLICE_OF("ERR Protocol error: invalid bulk length")) ||
           slice_starts(text, SLICE_OF("ERR string exceeds"));
}

enum tier_result rt_result_of(struct rt_port *p, const struct redis_reply *reply, enum redis_why why)
{
    if (!reply)
        return result_of_why(why);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        if (!redis_reply_is_error(reply, errors[i].code))
            continue;
        if (errors[i].is_refusal)
            tell_refusal(rt_tier_of(p), reply);
        return errors[i].result;
    }
    return reply->type == REDIS_ERROR && is_about_size(reply->text) ? TIER_REFUSED : TIER_FAILED;
}

/* Older servers wrap what a script ran into. */
bool rt_is_wrong_type(const struct redis_reply *reply)
{
    return reply && reply->type == REDIS_ERROR &&
           memmem(reply->text.data, reply->text.len, "WRONGTYPE", strlen("WRONGTYPE"));
}

/* -- questions -- */

void *rt_ask_new(struct tier_port *p, struct tier_op *op, size_t size, int64_t fallback_ms)
{
    struct rt_ask *a = calloc(1, size);

    if (!a) {
        tier_answer(p, op, TIER_FAILED);
        return NULL;
    }
    a->port = port_of(p);
    a->op = op;
    a->due_ms = loop_now_ms(p->loop) + (op->deadline_ms > 0 ? op->deadline_ms : fallback_ms);
    a->name = (struct buf)BUF_INIT(RT_NAME_MAX);
    list_push_back(&a->port->asks, &a->link);
    return a;
}

int64_t rt_left_ms(const struct rt_ask *a)
{
    int64_t left = a->due_ms - loop_now_ms(a->port->port.loop);

    if (a->step_ms > 0 && left > a->step_ms)
        left = a->step_ms;
    return left > 0 ? left : 1;
}

static void ask_free(struct rt_ask *a)
{
    if (a->on_free)
        a->on_free(a);
    buf_done(&a->name);
    free(a);
}

static void answer(struct rt_ask *a, enum tier_result r)
{
    struct tier_op *op = a->op;

    atomic_fetch_add_explicit(&rt_tier_of(a->port)->errors[r], 1, memory_order_relaxed);
    list_remove(&a->link);
    a->op = NULL;
    op->result = r;
    op->on_done(op);
}

void rt_ask_end(struct rt_ask *a, enum tier_result r)
{
    answer(a, r);
    ask_free(a);
}

static void on_ended(struct loop_msg *m)
{
    struct rt_ask *a = CONTAINER_OF(m, struct rt_ask, msg);

    if (a->op) /* else the port was closed meanwhile */
        answer(a, a->result);
    ask_free(a);
}

void rt_ask_end_later(struct rt_ask *a, enum tier_result r)
{
    a->result = r;
    a->msg.on_msg = on_ended;
    loop_post(a->port->port.loop, &a->msg);
}

static void on_call(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct rt_ask *a = CONTAINER_OF(call, struct rt_ask, call);

    a->on_reply(a, reply, why);
}

void rt_ask_send(struct rt_ask *a, struct slice key)
{
    a->call.argv = a->argv;
    a->call.argc = a->argc;
    a->call.key = key;
    a->call.deadline_ms = rt_left_ms(a);
    a->call.on_reply = on_call;
    redis_ask(a->port->redis, &a->call);
}

static void add_word(struct rt_ask *a, struct slice word)
{
    a->argv[a->argc++] = word;
}

static void begin_command(struct rt_ask *a, const char *command)
{
    a->argc = 0;
    add_word(a, slice_str(command));
}

static void send_by_name(struct rt_ask *a)
{
    rt_ask_send(a, buf_slice(&a->name));
}

/* False: out of memory, and it is answered. */
static bool make_name(struct rt_ask *a, const struct label *l)
{
    if (tier_name(&a->name, slice_str(rt_tier_of(a->port)->prefix), l) == 0)
        return true;
    rt_ask_end_later(a, TIER_FAILED);
    return false;
}

static int64_t write_timeout_ms(struct tier_port *p)
{
    return rt_tier_of(port_of(p))->write_timeout_ms;
}

/* -- get -- */

static void on_get(struct rt_ask *a, const struct redis_reply *reply, enum redis_why why)
{
    struct tier_get *g = CONTAINER_OF(a->op, struct tier_get, op);

    if (rt_is_wrong_type(reply) || (reply && reply->type == REDIS_NIL)) {
        rt_ask_end(a, TIER_ABSENT);
    } else if (reply && reply->type == REDIS_TEXT) {
        g->blob = redis_reply_take(reply);
        g->gone_ms = 0;
        rt_ask_end(a, TIER_OK);
    } else {
        rt_ask_end(a, rt_result_of(a->port, reply, why));
    }
}

static void rt_get(struct tier_port *p, struct tier_get *g)
{
    struct rt_ask *a = rt_ask_new(p, &g->op, sizeof(*a), rt_tier_of(port_of(p))->settings->conf.timeout_ms);

    if (!a || !make_name(a, &g->label))
        return;
    a->on_reply = on_get;
    begin_command(a, "GET");
    add_word(a, buf_slice(&a->name));
    send_by_name(a);
}

/* -- put -- */

struct put_ask {
    struct rt_ask ask; /* first */
    unsigned tries;
    struct blob *seen; /* the start of what is there, as looked at; its head is what must still be */
    char left[24];     /* until it is gone, in ms; "": never */
};

static struct put_ask *put_of(struct rt_ask *a)
{
    return (struct put_ask *)a;
}

static struct tier_put *put_op(const struct rt_ask *a)
{
    return CONTAINER_OF(a->op, struct tier_put, op);
}

static void free_put(struct rt_ask *a)
{
    blob_unref(put_of(a)->seen);
}

static void put_look(struct rt_ask *a);

static void add_expiry(struct rt_ask *a)
{
    if (!put_of(a)->left[0])
        return;
    add_word(a, SLICE_OF("PX"));
    add_word(a, slice_str(put_of(a)->left));
}

static void on_set(struct rt_ask *a, const struct redis_reply *reply, enum redis_why why)
{
    if (redis_reply_is(reply, "OK"))
        rt_ask_end(a, TIER_OK);
    else if (reply && reply->type == REDIS_NIL) /* NX: somebody was quicker */
        put_look(a);
    else
        rt_ask_end(a, rt_result_of(a->port, reply, why));
}

static void put_set(struct rt_ask *a, bool only_absent)
{
    begin_command(a, "SET");
    add_word(a, buf_slice(&a->name));
    add_word(a, blob_slice(put_op(a)->blob));
    add_expiry(a);
    if (only_absent)
        add_word(a, SLICE_OF("NX"));
    a->on_reply = on_set;
    send_by_name(a);
}

static void on_compared_and_set(struct rt_ask *a, const struct redis_reply *reply, enum redis_why why)
{
    if (reply && reply->type == REDIS_INTEGER && reply->integer == 1)
        rt_ask_end(a, TIER_OK);
    else if (reply && reply->type == REDIS_INTEGER)
        put_look(a);
    else if (redis_reply_is_error(reply, "NOPERM") || rt_is_wrong_type(reply))
        put_set(a, false); /* without scripts, or over what is nobody's record */
    else
        rt_ask_end(a, rt_result_of(a->port, reply, why));
}

static void put_compare_and_set(struct rt_ask *a)
{
    struct slice head = blob_slice(put_of(a)->seen);

    if (head.len > RECORD_HEAD_BYTES)
        head.len = RECORD_HEAD_BYTES;
    begin_command(a, "EVAL");
    add_word(a, compare_and_set);
    add_word(a, SLICE_OF("1"));
    add_word(a, buf_slice(&a->name));
    add_word(a, head);
    add_word(a, blob_slice(put_op(a)->blob));
    add_word(a, slice_str(put_of(a)->left));
    a->on_reply = on_compared_and_set;
    send_by_name(a);
}

/* What cannot be read is older than anything. */
static bool is_later(const struct rt_ask *a, struct slice start, size_t *out_wanted)
{
    const struct label *ours = &put_op(a)->item.label;
    const struct record_codec *codec = &rt_tier_of(a->port)->codec;
    struct record_seen seen;
    bool later;

    *out_wanted = 0;
    if (record_look(start, &ours->key, codec, &seen, out_wanted) != RECORD_OK)
        return false;
    later = entry_box_entry(seen.box)->started_seq > ours->started_seq;
    entry_box_unref(seen.box);
    return later;
}

static void send_look(struct rt_ask *a, size_t bytes);

static void on_looked(struct rt_ask *a, const struct redis_reply *reply, enum redis_why why)
{
    size_t wanted;

    if (rt_is_wrong_type(reply)) {
        put_set(a, false);
        return;
    }
    if (!reply || reply->type != REDIS_TEXT) {
        rt_ask_end(a, rt_result_of(a->port, reply, why));
        return;
    }
    if (reply->text.len == 0) {
        put_set(a, true);
        return;
    }
    if (is_later(a, reply->text, &wanted)) {
        rt_ask_end(a, TIER_OK);
        return;
    }
    if (wanted > reply->text.len && reply->text.len == RT_LOOK_BYTES) {
        send_look(a, wanted);
        return;
    }
    blob_unref(put_of(a)->seen);
    put_of(a)->seen = redis_reply_take(reply);
    put_compare_and_set(a);
}

static void send_look(struct rt_ask *a, size_t bytes)
{
    (void)snprintf(a->number, sizeof(a->number), "%zu", bytes - 1);
    begin_command(a, "GETRANGE");
    add_word(a, buf_slice(&a->name));
    add_word(a, SLICE_OF("0"));
    add_word(a, slice_str(a->number));
    a->on_reply = on_looked;
    send_by_name(a);
}

static void put_look(struct rt_ask *a)
{
    if (a->port->closing)
        rt_ask_end(a, TIER_DOWN);
    else if (put_of(a)->tries++ == PUT_TRIES_MAX)
        rt_ask_end(a, TIER_BUSY);
    else
        send_look(a, RT_LOOK_BYTES);
}

static void rt_put(struct tier_port *p, struct tier_put *put)
{
    struct rt_ask *a = rt_ask_new(p, &put->op, sizeof(struct put_ask), write_timeout_ms(p));
    int64_t left_ms = put->item.gone_ms == INT64_MAX ? 0 : put->item.gone_ms - clock_wall_ms();

    if (!a || !make_name(a, &put->item.label))
        return;
    a->on_free = free_put;
    if (put->blob->len > rt_tier_of(a->port)->settings->conf.bulk_bytes_max) {
        rt_ask_end_later(a, TIER_REFUSED); /* it could not be read again */
        return;
    }
    if (left_ms < 0 || put->item.gone_ms == 0) {
        rt_ask_end_later(a, TIER_OK); /* gone before it came */
        return;
    }
    if (put->item.gone_ms != INT64_MAX)
        (void)snprintf(put_of(a)->left, sizeof(put_of(a)->left), "%lld", (long long)(left_ms ? left_ms : 1));
    if (put->only_newer)
        put_look(a);
    else
        put_set(a, false);
}

/* -- remove -- */

static void on_unlinked(struct rt_ask *a, const struct redis_reply *reply, enum redis_why why)
{
    if (reply && reply->type == REDIS_INTEGER)
        rt_ask_end(a, reply->integer > 0 ? TIER_OK : TIER_ABSENT);
    else if (rt_is_wrong_type(reply))
        rt_ask_end(a, TIER_ABSENT);
    else
        rt_ask_end(a, rt_result_of(a->port, reply, why));
}

static void add_comparison(struct rt_ask *a, const struct blob *only)
{
    struct slice start = blob_slice(only);

    if (start.len > COMPARE_BYTES_MAX)
        start.len = COMPARE_BYTES_MAX;
    (void)snprintf(a->number, sizeof(a->number), "%zu", only->len);
    begin_command(a, "EVAL");
    add_word(a, compare_and_unlink);
    add_word(a, SLICE_OF("1"));
    add_word(a, buf_slice(&a->name));
    add_word(a, start);
    add_word(a, slice_str(a->number));
}

static void rt_remove(struct tier_port *p, struct tier_delete *d)
{
    struct rt_ask *a = rt_ask_new(p, &d->op, sizeof(*a), write_timeout_ms(p));

    if (!a || !make_name(a, &d->label))
        return;
    a->on_reply = on_unlinked;
    if (d->only) {
        add_comparison(a, d->only);
    } else {
        begin_command(a, "UNLINK");
        add_word(a, buf_slice(&a->name));
    }
    send_by_name(a);
}

/* -- ports -- */

static void count_port(struct rt_tier *t, int by)
{
    pthread_mutex_lock(&t->lock);
    t->ports_n = (unsigned)((int)t->ports_n + by);
    judge_health(t);
    pthread_mutex_unlock(&t->lock);
}

static struct tier_port *rt_open(struct tier *tier, struct loop *l)
{
    struct rt_tier *t = (struct rt_tier *)tier;
    struct rt_port *p = calloc(1, sizeof(*p));
    struct redis_conf conf = t->settings->conf;

    if (!p)
        return NULL;
    p->port = (struct tier_port){tier, l};
    list_init(&p->asks);
    conf.on_state = on_state;
    conf.on_state_arg = p;
    p->redis = redis_new(l, &conf);
    if (!p->redis) {
        free(p);
        return NULL;
    }
    count_port(t, 1);
    return &p->port;
}

static void rt_close(struct tier_port *port)
{
    struct rt_port *p = port_of(port);
    struct rt_tier *t = rt_tier_of(p);

    p->closing = true;
    redis_free(p->redis);
    while (!list_empty(&p->asks)) { /* those whose answer is on its way by a message, which frees them */
        struct rt_ask *a = CONTAINER_OF(p->asks.next, struct rt_ask, link);

        answer(a, a->result);
    }
    pthread_mutex_lock(&t->lock);
    t->up_n -= p->up ? 1 : 0;
    t->partly_n -= p->partly ? 1 : 0;
    pthread_mutex_unlock(&t->lock);
    count_port(t, -1);
    free(p);
}

/* -- the tier -- */

static void rt_stats(struct tier *tier, struct tier_stats *out)
{
    struct rt_tier *t = (struct rt_tier *)tier;

    *out = (struct tier_stats){.entries = UINT64_MAX, .bytes = UINT64_MAX, .bytes_max = UINT64_MAX};
    for (size_t i = 0; i < TIER_RESULTS; i++)
        out->errors[i] = atomic_load_explicit(&t->errors[i], memory_order_relaxed);
}

static void rt_state(struct tier *tier, struct tier_state *out)
{
    struct rt_tier *t = (struct rt_tier *)tier;

    pthread_mutex_lock(&t->lock);
    *out = (struct tier_state){.health = t->health,
                               .why = t->health == TIER_UP ? NULL : redis_cause_text(t->cause),
                               .since_ms = t->since_ms,
                               .partly = t->partly_n > 0};
    pthread_mutex_unlock(&t->lock);
}

static void rt_free(struct tier *tier)
{
    struct rt_tier *t = (struct rt_tier *)tier;

    redis_settings_unref(t->settings);
    pthread_mutex_destroy(&t->lock);
    free(t->prefix);
    free(t);
}

static const struct tier_ops rt_ops = {
    .name = "redis",
    .kind = TIER_REDIS,
    .open = rt_open,
    .close = rt_close,
    .get = rt_get,
    .put = rt_put,
    .remove = rt_remove,
    .scan = rt_scan,
    .delete_if = rt_delete_if,
    .stats = rt_stats,
    .state = rt_state,
    .free = rt_free,
};

struct tier *store_redis_new(const struct store_redis_conf *conf)
{
    struct rt_tier *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->tier.ops = &rt_ops;
    t->settings = redis_settings_new(&conf->redis);
    t->prefix = strdup(conf->prefix ? conf->prefix : "");
    if (!t->settings || !t->prefix) {
        redis_settings_unref(t->settings);
        free(t->prefix);
        free(t);
        return NULL;
    }
    t->codec = conf->codec;
    t->write_timeout_ms = conf->write_timeout_ms > 0 ? conf->write_timeout_ms : WRITE_TIMEOUT_MS;
    t->on_notice = conf->on_notice;
    t->arg = conf->arg;
    pthread_mutex_init(&t->lock, NULL);
    t->health = TIER_IS_DOWN;
    t->cause = REDIS_NOT_YET;
    t->since_ms = clock_mono_ms();
    return &t->tier;
}
