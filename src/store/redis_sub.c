#include <errno.h>
#include <stdlib.h>

#include "redis_priv.h"

enum {
    CHANNELS_MAX = 4096,
    BATCH_MAX = 64,         /* channels in one SUBSCRIBE */
    PING_MS = 5 * 1000,     /* so often is a server asked whether it is still there, … */
    SILENCE_MS = 12 * 1000, /* … and cut when it says nothing for so long */
};

struct channel {
    struct list link;
    unsigned times;
    size_t len;
    char name[];
};

struct redis_sub {
    struct redis_sub_conf conf;
    struct redis_settings *settings;
    struct redis_conn *conn;
    struct loop *loop;
    struct list channels;
    size_t channels_n;
    size_t unconfirmed; /* of those that stood in the list when the connection came up */
    bool up;
    struct loop_timer *ping;
};

static struct slice name_of(const struct channel *ch)
{
    return slice_make(ch->name, ch->len);
}

static struct channel *find(struct redis_sub *s, struct slice name)
{
    LIST_FOR(it, &s->channels)
    {
        struct channel *ch = CONTAINER_OF(it, struct channel, link);

        if (slice_eq(name_of(ch), name))
            return ch;
    }
    return NULL;
}

static int add(struct redis_sub *s, struct slice name, struct channel **out_new)
{
    struct channel *ch = find(s, name);

    *out_new = NULL;
    if (ch) {
        ch->times++;
        return 0;
    }
    if (s->channels_n >= CHANNELS_MAX)
        return -E2BIG;
    ch = calloc(1, sizeof(*ch) + name.len);
    if (!ch)
        return -ENOMEM;
    ch->times = 1;
    ch->len = name.len;
    memcpy(ch->name, name.data, name.len);
    list_push_back(&s->channels, &ch->link);
    s->channels_n++;
    *out_new = ch;
    return 0;
}

static void drop(struct redis_sub *s, struct channel *ch)
{
    list_remove(&ch->link);
    s->channels_n--;
    free(ch);
}

static void tell_state(struct redis_sub *s, const struct redis_state *state)
{
    s->up = state->up;
    if (s->conf.on_state)
        s->conf.on_state(s->conf.arg, state);
}

static void tell_up(struct redis_sub *s)
{
    const struct redis_state up = {.up = true, .cause = REDIS_FINE, .detail = ""};

    if (!s->up)
        tell_state(s, &up);
}

static void subscribe(struct redis_sub *s, const struct slice *argv, size_t argc)
{
    if (!redis_conn_tell(s->conn, argv, argc))
        redis_conn_cut(s->conn, REDIS_NO_MEMORY); /* the next connection begins with all of them */
}

static void subscribe_all(struct redis_sub *s)
{
    struct slice argv[1 + BATCH_MAX] = {SLICE("SUBSCRIBE")};
    size_t argc = 1;

    s->unconfirmed = s->channels_n;
    LIST_FOR(it, &s->channels)
    {
        argv[argc++] = name_of(CONTAINER_OF(it, struct channel, link));
        if (argc <= BATCH_MAX)
            continue;
        subscribe(s, argv, argc);
        argc = 1;
    }
    if (argc > 1)
        subscribe(s, argv, argc);
}

static void on_state(void *arg, const struct redis_state *state)
{
    struct redis_sub *s = arg;

    if (!state->up) {
        loop_timer_stop(s->ping);
        tell_state(s, state);
        return;
    }
    loop_timer_start(s->ping, PING_MS, PING_MS);
    subscribe_all(s);
    if (s->unconfirmed == 0)
        tell_up(s);
}

static void on_ping(void *arg)
{
    const struct slice argv[] = {SLICE("PING")};
    struct redis_sub *s = arg;

    if (loop_now_ms(s->loop) - redis_conn_heard_ms(s->conn) >= SILENCE_MS)
        redis_conn_cut(s->conn, REDIS_SILENT);
    else
        (void)redis_conn_tell(s->conn, argv, 1); /* a full queue is found out by the silence that follows */
}

static void on_push(void *arg, const struct redis_reply *r)
{
    struct redis_sub *s = arg;
    const struct redis_reply *kind = redis_reply_item(r, 0, REDIS_TEXT);
    const struct redis_reply *channel = redis_reply_item(r, 1, REDIS_TEXT);
    const struct redis_reply *payload = redis_reply_item(r, 2, REDIS_TEXT);

    if (r->type == REDIS_ERROR) {
        redis_conn_cut(s->conn, REDIS_REFUSING);
        return;
    }
    if (redis_reply_is(kind, "message") && channel && payload) {
        s->conf.on_message(s->conf.arg, channel->text, payload->text);
        return;
    }
    if (redis_reply_is(kind, "subscribe") && s->unconfirmed > 0 && --s->unconfirmed == 0)
        tell_up(s);
}

int redis_sub_add(struct redis_sub *s, struct slice channel)
{
    struct slice argv[] = {SLICE("SUBSCRIBE"), channel};
    struct channel *ch;
    int r = add(s, channel, &ch);

    if (r == 0 && ch && redis_conn_is_up(s->conn))
        subscribe(s, argv, ARRAY_LEN(argv));
    return r;
}

void redis_sub_remove(struct redis_sub *s, struct slice channel)
{
    struct slice argv[] = {SLICE("UNSUBSCRIBE"), channel};
    struct channel *ch = find(s, channel);

    if (!ch || --ch->times > 0)
        return;
    if (redis_conn_is_up(s->conn))
        subscribe(s, argv, ARRAY_LEN(argv));
    drop(s, ch);
}

bool redis_sub_is_up(const struct redis_sub *s)
{
    return s->up;
}

struct redis_sub *redis_sub_new(struct loop *l, const struct redis_conf *conf,
                                const struct redis_sub_conf *sub)
{
    struct redis_sub *s = calloc(1, sizeof(*s));
    struct redis_conn_events events = {.on_state = on_state, .on_push = on_push, .arg = s};
    struct channel *ch;
    int r = 0;

    if (!s)
        return NULL;
    s->conf = *sub;
    s->loop = l;
    list_init(&s->channels);
    for (size_t i = 0; r == 0 && i < sub->channels_n; i++)
        r = add(s, sub->channels[i], &ch);
    s->settings = r == 0 ? redis_settings_new(conf) : NULL;
    s->conn = s->settings ? redis_conn_new(l, s->settings, NULL, 0, &events) : NULL;
    if (!s->conn) {
        redis_sub_free(s);
        return NULL;
    }
    s->ping = loop_timer_new(l, on_ping, s);
    return s;
}

void redis_sub_free(struct redis_sub *s)
{
    if (!s)
        return;
    redis_conn_free(s->conn);
    loop_timer_free(s->ping);
    LIST_FOR_SAFE(it, &s->channels)
    drop(s, CONTAINER_OF(it, struct channel, link));
    redis_settings_unref(s->settings);
    free(s);
}
