/*
 * The thread, its connections, and who is there. How logs are read and written: instances_log.c; what is done
 * with what they say: instances_apply.c; an invalidation and its answers: instances_ask.c.
 *
 * Linked: both connections are up, a beat was answered lately, and both logs have been read to their end
 * since. Anything less is cut off: memory serves on, unless `strict` says otherwise, and what comes back is
 * caught up on.
 */
#include "refrain/store/instances.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "instances_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/wire/jscan.h"

enum { FLUSH_LOOK_MS = 10, KEEP_AGAIN_BEATS = 32 };

#define WAKE_HERE "here" /* what a new instance wakes the others with */

/* KEYS: instances, and the logs, which live as long as somebody does. ARGV: id, text, after how long one is
 * forgotten, time to live, the channel that wakes. Who is new says so there, so that the others know of it
 * before their next beat; where that may not be, they hear of it then. Returns Redis' clock and the whole
 * hash. */
static const char beat_script[] =
    "local t=redis.call('TIME')\n"
    "local now=t[1]*1000+math.floor(t[2]/1000)\n"
    "if redis.call('HLEN',KEYS[1])>1000 then redis.call('DEL',KEYS[1]) end\n"
    "if redis.call('HSET',KEYS[1],ARGV[1],string.format('%.0f',now)..' '..ARGV[2])==1 then\n"
    "redis.pcall('PUBLISH',ARGV[5],'" WAKE_HERE "') end\n"
    "local all=redis.call('HGETALL',KEYS[1])\n"
    "for i=1,#all,2 do local at=tonumber(string.match(all[i+1],'^%d+') or '0')\n"
    "if now-at>tonumber(ARGV[3]) then redis.call('HDEL',KEYS[1],all[i]) end end\n"
    "for i=1,#KEYS do redis.call('PEXPIRE',KEYS[i],ARGV[4]) end\n"
    "return {string.format('%.0f',now),all}";

int instances_key(char out[KEY_BYTES], const char *prefix, const char *name)
{
    int n = snprintf(out, KEY_BYTES, "%s:%s", prefix, name);

    return n < 0 || n >= KEY_BYTES ? -EMSGSIZE : 0;
}

/* -- telling operators -- */

void instances_notice(struct instances *in, const struct instances_notice *n)
{
    if (in->conf.on_notice)
        in->conf.on_notice(in->conf.arg, n);
}

void instances_foreign(struct instances *in)
{
    struct instances_notice n = {.kind = INSTANCES_NOTICE_FOREIGN};

    in->foreign++;
    if (!in->foreign_told)
        instances_notice(in, &n);
    in->foreign_told = true;
}

void instances_refused(struct instances *in, const struct redis_reply *reply)
{
    struct instances_notice n = {.kind = INSTANCES_NOTICE_REFUSED, .name = reply->text.data};

    if (!in->refused_told)
        instances_notice(in, &n);
    in->refused_told = true;
}

static void publish_stats(struct instances *in)
{
    struct instances_stats s = {
        .link = in->link,
        .link_ms = in->link_since_ms, /* made a length of time by who asks */
        .why = in->why,
        .told = in->told,
        .heard = in->heard,
        .foreign = in->foreign,
        .cuts = in->cuts,
        .gaps = in->gaps,
        .waiting = in->logs[LOG_MAIN].waiting_n + in->logs[LOG_NOTES].waiting_n,
        .seen_n = in->seen_n,
        .seen_at_ms = in->seen_at_mono_ms,
    };

    memcpy(s.seen, in->seen, in->seen_n * sizeof(*in->seen));
    (void)pthread_mutex_lock(&in->lock);
    in->stats = s;
    (void)pthread_mutex_unlock(&in->lock);
}

void instances_stats(struct instances *in, struct instances_stats *out)
{
    *out = (struct instances_stats){.link = INSTANCES_CONNECTING};
    if (!in)
        return;
    (void)pthread_mutex_lock(&in->lock);
    *out = in->stats;
    (void)pthread_mutex_unlock(&in->lock);
    out->link_ms = clock_mono_ms() - out->link_ms;
    for (size_t i = 0; i < out->seen_n; i++) /* nothing new is heard while cut off; time goes on */
        out->seen[i].seen_ms += clock_mono_ms() - out->seen_at_ms;
}

/* -- linked or not -- */

static void beat_send(struct instances *in);

bool instances_is_ready(const struct instances *in)
{
    return !in->stopping && redis_is_up(in->redis) && redis_sub_is_up(in->sub);
}

static const char *why_cut(const struct instances *in)
{
    if (!redis_is_up(in->redis))
        return "no connection to Redis";
    if (!redis_sub_is_up(in->sub))
        return "Redis does not let us listen";
    if (in->beat_ms == 0 || loop_now_ms(in->loop) - in->beat_ms > BEAT_LATE_MS)
        return "Redis does not answer";
    for (size_t i = 0; i < LOGS; i++)
        if (!in->logs[i].caught_up)
            return "what was missed is being read";
    return NULL;
}

/* It is known by now how things are: who waits for the start need not wait any longer. */
static void settle(struct instances *in)
{
    (void)pthread_mutex_lock(&in->lock);
    in->settled = true;
    (void)pthread_cond_broadcast(&in->changed);
    (void)pthread_mutex_unlock(&in->lock);
}

static void link_set(struct instances *in, enum instances_link link)
{
    struct instances_notice n = {.kind = INSTANCES_NOTICE_LINKED, .why = in->why};

    if (in->link == link)
        return;
    if (link == INSTANCES_CUT) {
        n.kind = INSTANCES_NOTICE_CUT;
        in->cuts++;
        for (size_t i = 0; i < LOGS; i++)
            in->logs[i].caught_up = false;
    }
    in->link = link;
    in->refused_told = in->refused_told && link != INSTANCES_LINKED;
    in->link_since_ms = clock_mono_ms();
    atomic_store(&in->gate.withheld, in->conf.strict && link != INSTANCES_LINKED);
    instances_notice(in, &n);
    publish_stats(in);
    settle(in);
}

void instances_look(struct instances *in)
{
    if (in->stopping)
        return;
    in->why = why_cut(in);
    if (!in->why)
        link_set(in, INSTANCES_LINKED);
    else if (in->link == INSTANCES_LINKED)
        link_set(in, INSTANCES_CUT);
}

/* Who waits for the start is not kept waiting for the next beat. */
static void on_redis_state(void *arg, const struct redis_state *state)
{
    struct instances *in = arg;

    instances_look(in);
    if (state->up && !in->beating && !in->stopping)
        beat_send(in);
    if (!state->up && state->cause != REDIS_NOT_YET && in->link == INSTANCES_CONNECTING)
        link_set(in, INSTANCES_CUT);
    for (size_t i = 0; state->up && i < LOGS; i++) {
        instances_log_read(&in->logs[i]);
        instances_log_tell(&in->logs[i]);
    }
}

static void on_sub_state(void *arg, const struct redis_state *state)
{
    struct instances *in = arg;

    instances_look(in);
    for (size_t i = 0; state->up && i < LOGS; i++) {
        in->logs[i].caught_up = false; /* what came before it listened was not heard */
        instances_log_read(&in->logs[i]);
    }
}

static void on_message(void *arg, struct slice channel, struct slice payload)
{
    struct instances *in = arg;

    if (slice_eq(channel, slice_str(in->answer_channel))) {
        instances_ask_heard(in, payload);
        return;
    }
    if (slice_eq(payload, SLICE_OF(WAKE_HERE)) && !in->beating && !in->stopping && redis_is_up(in->redis))
        beat_send(in);
    for (size_t i = 0; i < LOGS; i++) /* whatever the payload says */
        instances_log_read(&in->logs[i]);
}

/* -- who is there -- */

static void read_text(struct slice json, const char *name, char *out, size_t size)
{
    struct slice text = {NULL, 0};
    size_t n = 0;

    if (jscan_member(json, slice_str(name), &text) != JSCAN_STRING)
        text.len = 0;
    for (size_t i = 0; i < text.len && n + 1 < size; i++)
        if (text.data[i] >= ' ' && text.data[i] <= '~' && text.data[i] != '\\')
            out[n++] = text.data[i];
    out[n] = '\0';
}

/* "LAST-HEARD {"name":…,"since":…,"at":…}" */
static bool read_instance(const struct instances *in, struct slice id, struct slice text, int64_t now_ms,
                          struct instance_seen *out)
{
    struct slice at = slice_cut(&text, ' ');
    struct jscan_value heard = {JSCAN_NUMBER, at}, json = jscan_root(text);
    int64_t heard_ms = jscan_count(heard, -1), at_ms = jscan_count(jscan_get(json, SLICE_OF("at")), -1);
    uint64_t ignored;

    if (!instances_read_sum(id, &ignored) || heard_ms < 0 || at_ms < 0 || !jscan_valid(text))
        return false;
    memcpy(out->id, id.data, id.len);
    out->id[id.len] = '\0';
    read_text(text, "name", out->name, sizeof(out->name));
    out->since_ms = jscan_count(jscan_get(json, SLICE_OF("since")), 0);
    out->seen_ms = now_ms > heard_ms ? now_ms - heard_ms : 0;
    out->ahead_ms = at_ms - heard_ms;
    out->self = slice_eq(id, slice_str(in->id));
    return out->seen_ms < OTHER_FORGET_MS;
}

static const struct instance_seen *find_seen(const struct instance_seen *seen, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(seen[i].id, id) == 0)
            return &seen[i];
    return NULL;
}

/* Told once for each instance that is there. */
static void watch_clock(struct instances *in, struct instance_seen *now, const struct instance_seen *was)
{
    struct instances_notice n = {
        .kind = INSTANCES_NOTICE_SKEW, .name = now->name[0] ? now->name : now->id, .ms = now->ahead_ms};

    now->off = 0;
    if (now->ahead_ms >= -SKEW_MS && now->ahead_ms <= SKEW_MS)
        return;
    now->off = was ? was->off + 1 : 1;
    if (now->off == SKEW_LOOKS && now->seen_ms < OTHER_LATELY_MS)
        instances_notice(in, &n);
}

static void take_seen(struct instances *in, const struct redis_reply *hash, int64_t now_ms)
{
    struct instance_seen seen[INSTANCES_OTHERS_MAX + 1];
    size_t n = 0;

    for (size_t i = 0; i + 1 < hash->items_n && n < INSTANCES_OTHERS_MAX + 1; i += 2) {
        const struct redis_reply *id = redis_reply_item(hash, i, REDIS_TEXT);
        const struct redis_reply *text = redis_reply_item(hash, i + 1, REDIS_TEXT);

        if (!id || !text || !read_instance(in, id->text, text->text, now_ms, &seen[n])) {
            in->foreign += !id || !text;
            continue;
        }
        watch_clock(in, &seen[n], find_seen(in->seen, in->seen_n, seen[n].id));
        n++;
    }
    memcpy(in->seen, seen, n * sizeof(*seen));
    in->seen_n = n;
    in->seen_at_ms = loop_now_ms(in->loop);
    in->seen_at_mono_ms = clock_mono_ms();
}

static void on_beat(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct instances *in = CONTAINER_OF(call, struct instances, beat);
    const struct redis_reply *now = why == REDIS_REPLIED ? redis_reply_item(reply, 0, REDIS_TEXT) : NULL;
    const struct redis_reply *hash = now ? redis_reply_item(reply, 1, REDIS_ARRAY) : NULL;
    struct jscan_value number = {JSCAN_NUMBER, now ? now->text : (struct slice){NULL, 0}};

    in->beating = false;
    if (in->stopping)
        return;
    if (hash && jscan_count(number, -1) >= 0) {
        in->beat_ms = loop_now_ms(in->loop);
        take_seen(in, hash, jscan_count(number, -1));
    } else if (why == REDIS_REPLIED && reply->type == REDIS_ERROR) {
        instances_refused(in, reply);
    }
    instances_look(in);
    publish_stats(in);
}

static void beat_send(struct instances *in)
{
    struct slice *argv = in->beat_argv;

    in->beating = true;
    (void)snprintf(in->beat_text, sizeof(in->beat_text),
                   "{\"v\":1,\"name\":\"%s\",\"since\":%" PRId64 ",\"at\":%" PRId64 "}", in->name,
                   in->since_ms, clock_wall_ms());
    argv[0] = SLICE_OF("EVAL");
    argv[1] = slice_make(beat_script, sizeof(beat_script) - 1);
    argv[2] = SLICE_OF("3");
    argv[3] = slice_str(in->beat_key);
    argv[4] = slice_str(in->logs[LOG_MAIN].key);
    argv[5] = slice_str(in->logs[LOG_NOTES].key);
    argv[6] = slice_str(in->id);
    argv[7] = slice_str(in->beat_text);
    argv[8] = slice_str(in->beat_forget);
    argv[9] = slice_str(in->beat_ttl);
    argv[10] = slice_str(in->wake_channel);
    in->beat.argv = argv;
    in->beat.argc = 11;
    in->beat.key = slice_str(in->beat_key);
    in->beat.deadline_ms = CALL_MS;
    in->beat.on_reply = on_beat;
    redis_ask(in->redis, &in->beat);
}

/* Once a second: are we there, is Redis, is there anything that a lost message should have told? */
static void on_beat_timer(void *arg)
{
    struct instances *in = arg;

    if (in->stopping)
        return;
    if (!in->beating && redis_is_up(in->redis))
        beat_send(in);
    for (size_t i = 0; i < LOGS; i++) {
        struct instances_log *log = &in->logs[i];

        instances_log_tell(log);
        instances_log_read(log);
        log->moved = log->moved || ++log->beats % KEEP_AGAIN_BEATS == 0; /* the file may be a new one */
        instances_log_keep(log);
    }
    if (in->unkept)
        instances_keep(in);
    instances_look(in);
    publish_stats(in);
}

static void on_due(void *arg)
{
    instances_ask_overdue(arg, false);
}

/* -- notes, from any thread -- */

static void on_notes(struct loop_msg *m)
{
    struct instances *in = CONTAINER_OF(m, struct instances, notes_msg);
    struct list notes, *link;
    bool lost;

    list_init(&notes);
    (void)pthread_mutex_lock(&in->lock);
    list_splice_back(&notes, &in->notes);
    lost = in->notes_lost;
    in->notes_n = 0;
    in->notes_posted = in->notes_lost = false;
    (void)pthread_mutex_unlock(&in->lock);
    if (lost)
        instances_log_add(&in->logs[LOG_NOTES], NULL);
    while ((link = list_pop_front(&notes)) != NULL)
        instances_log_add(&in->logs[LOG_NOTES], CONTAINER_OF(link, struct outgoing, link));
}

static void note(struct instances *in, enum msg_kind kind, uint64_t sum)
{
    struct instances_msg m = {.kind = kind, .at_ms = clock_wall_ms(), .sum = sum};
    struct outgoing *o;

    memcpy(m.source, in->id, sizeof(m.source));
    o = instances_outgoing(&m);
    (void)pthread_mutex_lock(&in->lock);
    if (o && in->notes_n < in->logs[LOG_NOTES].waiting_max) {
        list_push_back(&in->notes, &o->link);
        in->notes_n++;
        o = NULL;
    } else {
        in->notes_lost = true;
    }
    if (!in->notes_posted)
        loop_post(in->loop, &in->notes_msg);
    in->notes_posted = true;
    (void)pthread_mutex_unlock(&in->lock);
    free(o);
}

void instances_note_target(struct instances *in, uint64_t target)
{
    if (in && target != 0)
        note(in, MSG_TARGET, target);
}

void instances_note_refused(struct instances *in, uint64_t caller)
{
    if (in)
        note(in, MSG_REFUSED, caller);
}

/* -- beginning and ending -- */

static void *thread_main(void *arg)
{
    struct instances *in = arg;

    loop_run(in->loop);
    return NULL;
}

/* Signals are the main thread's alone. */
static int thread_start(struct instances *in)
{
    sigset_t all, was;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &was);
    r = pthread_create(&in->thread, NULL, thread_main, in);
    (void)pthread_sigmask(SIG_SETMASK, &was, NULL);
    in->started = r == 0;
    return -r;
}

static void name_it(struct instances *in, const char *name)
{
    size_t n = 0;

    for (; *name && n + 1 < sizeof(in->name); name++) /* it becomes JSON, and stands in logs */
        if (*name > ' ' && *name <= '~' && *name != '"' && *name != '\\')
            in->name[n++] = *name;
}

static int name_keys(struct instances *in, const struct instances_conf *conf)
{
    char slot[KEY_BYTES];
    int n =
        snprintf(in->prefix, sizeof(in->prefix), "%.*s:{events}", (int)conf->prefix.len, conf->prefix.data);
    int r = n < 0 || n >= (int)sizeof(in->prefix) ? -EMSGSIZE : 0;

    (void)snprintf(slot, sizeof(slot), "%.*s", (int)conf->prefix.len, conf->prefix.data);
    if (r == 0)
        r = instances_key(in->wake_channel, slot, "events");
    if (r == 0)
        r = instances_key(in->answer_channel, in->wake_channel, in->id);
    if (r == 0)
        r = instances_key(in->beat_key, in->prefix, "instances");
    (void)snprintf(in->beat_forget, sizeof(in->beat_forget), "%d", OTHER_FORGET_MS);
    (void)snprintf(in->beat_ttl, sizeof(in->beat_ttl), "%d", KEYS_TTL_MS);
    return r;
}

/* On its thread, before anything else there: nothing calls back before the loop runs. */
static void on_begin(struct loop_msg *m)
{
    struct instances *in = CONTAINER_OF(m, struct instances, begin_msg);

    loop_timer_start(in->beat_timer, 0, BEAT_MS);
}

static bool connect_all(struct instances *in)
{
    const struct slice channels[] = {slice_str(in->wake_channel), slice_str(in->answer_channel)};
    struct redis_sub_conf sub = {.channels = channels,
                                 .channels_n = ARRAY_LEN(channels),
                                 .on_message = on_message,
                                 .on_state = on_sub_state,
                                 .arg = in};
    struct redis_conf redis = in->conf.redis;

    redis.on_state = on_redis_state;
    redis.on_state_arg = in;
    if (in->conf.disk)
        in->disk = in->conf.disk->ops->open(in->conf.disk, in->loop);
    instances_log_init(&in->logs[LOG_MAIN], in, "log");
    instances_log_init(&in->logs[LOG_NOTES], in, "notes");
    in->redis = redis_new(in->loop, &redis);
    if (in->redis)
        instances_keep_begin(in);
    in->sub = redis_sub_new(in->loop, &in->conf.redis, &sub);
    return in->redis && in->sub && (in->disk || !in->conf.disk);
}

/* Waited for by a clock that nobody sets. */
static void init_changed(struct instances *in)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&in->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
}

struct instances *instances_new(const struct instances_conf *conf)
{
    struct instances *in = calloc(1, sizeof(*in));

    if (!in)
        return NULL;
    in->conf = *conf;
    (void)pthread_mutex_init(&in->lock, NULL);
    init_changed(in);
    list_init(&in->notes);
    list_init(&in->asked);
    for (size_t i = 0; i < LOGS; i++)
        list_init(&in->logs[i].waiting);
    memcpy(in->id, events_source(conf->events), sizeof(in->id));
    name_it(in, conf->name);
    in->since_ms = clock_wall_ms();
    in->link_since_ms = clock_mono_ms();
    in->stats.link_ms = in->link_since_ms;
    in->notes_msg.on_msg = on_notes;
    in->begin_msg.on_msg = on_begin;
    atomic_store(&in->gate.withheld, conf->strict);
    in->loop = loop_new();
    if (in->loop && name_keys(in, conf) == 0 && connect_all(in)) {
        in->beat_timer = loop_timer_new(in->loop, on_beat_timer, in);
        in->due_timer = loop_timer_new(in->loop, on_due, in);
        loop_post(in->loop, &in->begin_msg);
        if (thread_start(in) == 0)
            return in;
    }
    instances_free(in, 0);
    return NULL;
}

void instances_wait(struct instances *in, int64_t ms)
{
    struct timespec until;

    if (!in)
        return;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&in->lock);
    while (!in->settled && pthread_cond_timedwait(&in->changed, &in->lock, &until) != ETIMEDOUT)
        ;
    (void)pthread_mutex_unlock(&in->lock);
}

/* -- ending -- */

static void on_farewell(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct instances *in = CONTAINER_OF(call, struct instances, beat);

    (void)reply;
    (void)why;
    loop_stop(in->loop);
}

/* Nobody is to wait for our answers any more. */
static void say_farewell(struct instances *in)
{
    loop_timer_stop(in->flush_timer);
    if (in->beating || !redis_is_up(in->redis)) {
        loop_stop(in->loop);
        return;
    }
    in->beat_argv[0] = SLICE_OF("HDEL");
    in->beat_argv[1] = slice_str(in->beat_key);
    in->beat_argv[2] = slice_str(in->id);
    in->beat.argv = in->beat_argv;
    in->beat.argc = 3;
    in->beat.deadline_ms = CALL_MS;
    in->beat.on_reply = on_farewell;
    redis_ask(in->redis, &in->beat);
}

static bool is_flushed(const struct instances *in)
{
    for (size_t i = 0; i < LOGS; i++)
        if (in->logs[i].waiting_n > 0)
            return false;
    return true;
}

/* What is being done with what others told comes back to this loop. */
static bool is_quiet(const struct instances *in)
{
    for (size_t i = 0; i < LOGS; i++)
        if (in->logs[i].unfinished > 0)
            return false;
    return true;
}

static void on_flush(void *arg)
{
    struct instances *in = arg;

    if (!is_quiet(in))
        return;
    if (is_flushed(in) || !redis_is_up(in->redis) || loop_now_ms(in->loop) >= in->flush_until_ms)
        say_farewell(in);
}

static void on_stop(struct loop_msg *m)
{
    struct instances *in = CONTAINER_OF(m, struct instances, stop_msg);

    in->stopping = true;
    in->flush_until_ms += loop_now_ms(in->loop);
    instances_ask_overdue(in, true);
    in->flush_timer = loop_timer_new(in->loop, on_flush, in);
    loop_timer_start(in->flush_timer, 0, FLUSH_LOOK_MS);
}

static void notes_free(struct instances *in)
{
    struct list *link;

    while ((link = list_pop_front(&in->notes)) != NULL)
        free(CONTAINER_OF(link, struct outgoing, link));
}

void instances_free(struct instances *in, int64_t flush_ms)
{
    if (!in)
        return;
    if (in->started) {
        in->flush_until_ms = flush_ms;
        in->stop_msg.on_msg = on_stop;
        loop_post(in->loop, &in->stop_msg);
        (void)pthread_join(in->thread, NULL);
    }
    in->stopping = true;
    if (in->redis)
        on_notes(&in->notes_msg); /* what came last is not lost either */
    redis_sub_free(in->sub);
    redis_free(in->redis); /* what is under way comes back within it */
    if (in->disk)
        in->disk->tier->ops->close(in->disk);
    loop_free(in->loop); /* what others have posted comes back, too */
    instances_keep(in);
    notes_free(in);
    for (size_t i = 0; i < LOGS; i++)
        instances_log_done(&in->logs[i]);
    (void)pthread_cond_destroy(&in->changed);
    (void)pthread_mutex_destroy(&in->lock);
    free(in);
}
