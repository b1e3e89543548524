/*
 * In a cluster every node hears what is published at any of them. So a listener asks the node it has come to
 * for the others, before it listens, and goes on to one of those when its own is gone: the one that is
 * configured may be the one that has died.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "redis_priv.h"
#include "refrain/base/attr.h"
#include "refrain/store/redis_slots.h"

enum {
    WAYS_MAX = 16,      /* other nodes that are remembered */
    TRIES = 2,          /* that come to nothing, before another node is tried */
    MOVE_MS = 20,       /* before that; twice as long each time all have been tried, … */
    MOVE_MS_MAX = 5000, /* … up to this */
    HANG_UPS_MAX =
        3, /* times that the connection ended instead of an answer about others: it knows of none */
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
    struct redis_endpoint ways[WAYS_MAX]; /* other nodes of the cluster */
    unsigned ways_n, way;       /* the one that was taken last: 0 as configured, else ways[way - 1] */
    struct redis_endpoint here; /* where that leads */
    unsigned failures, rounds, hung_up_n; /* in a row */
    bool awaits_ways;
    struct loop_timer *move;
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

/* -- ways to a cluster -- */

static void ask_ways(struct redis_sub *s)
{
    static const struct slice argv[] = {SLICE("CLUSTER"), SLICE("SLOTS")};

    s->awaits_ways = s->settings->conf.cluster != REDIS_CLUSTER_OFF && s->hung_up_n < HANG_UPS_MAX &&
                     redis_conn_tell(s->conn, argv, ARRAY_LEN(argv));
}

/* What a server alone answers leaves the ways as they are: there are none, or it was a cluster a moment ago.
 */
static void take_ways(struct redis_sub *s, const struct redis_reply *r)
{
    struct redis_map *m = malloc(sizeof(*m)); /* 165 KB, for a moment */

    s->awaits_ways = false;
    s->hung_up_n = 0;
    if (m && redis_map_read(m, r, &s->here) == 0) {
        s->ways_n = 0;
        for (unsigned i = 0; i < m->masters_n && s->ways_n < WAYS_MAX; i++)
            s->ways[s->ways_n++] = m->masters[i];
    }
    free(m);
}

static void lost_way(struct redis_sub *s)
{
    int64_t delay_ms = MOVE_MS;

    s->hung_up_n += s->awaits_ways ? 1 : 0;
    s->awaits_ways = false;
    if (++s->failures < TRIES || s->ways_n == 0 || loop_timer_active(s->move))
        return;
    for (unsigned i = 0; i < s->rounds && delay_ms < MOVE_MS_MAX; i++)
        delay_ms *= 2;
    loop_timer_start(s->move, delay_ms < MOVE_MS_MAX ? delay_ms : MOVE_MS_MAX, 0);
}

static void on_state(void *arg, const struct redis_state *state);
static void on_push(void *arg, const struct redis_reply *r);

static struct redis_conn *connect_way(struct redis_sub *s, unsigned way)
{
    const struct redis_conn_events events = {.on_state = on_state, .on_push = on_push, .arg = s};
    const struct redis_endpoint *e = way > 0 ? &s->ways[way - 1] : NULL;
    struct redis_conn *conn =
        redis_conn_new(s->loop, s->settings, e ? e->host : NULL, e ? e->port : 0, &events);

    if (conn) {
        s->way = way;
        if (e)
            s->here = *e;
        else
            redis_endpoint_of(&s->settings->conf, &s->here);
    }
    return conn;
}

/* To the next one, unless the connection has come back meanwhile. */
static void on_move(void *arg)
{
    struct redis_sub *s = arg;
    const unsigned way = (s->way + 1) % (s->ways_n + 1);
    struct redis_conn *conn;

    if (redis_conn_is_up(s->conn))
        return;
    conn = connect_way(s, way);
    if (!conn) {
        loop_timer_start(s->move, MOVE_MS_MAX, 0);
        return;
    }
    redis_conn_free(s->conn);
    s->conn = conn;
    s->rounds += way == 0 ? 1 : 0;
    s->failures = TRIES - 1;
}

static void on_state(void *arg, const struct redis_state *state)
{
    struct redis_sub *s = arg;

    if (!state->up) {
        loop_timer_stop(s->ping);
        lost_way(s);
        tell_state(s, state);
        return;
    }
    s->failures = s->rounds = 0;
    loop_timer_stop(s->move);
    loop_timer_start(s->ping, PING_MS, PING_MS);
    ask_ways(s);
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

    if (s->awaits_ways) {
        take_ways(s, r);
        return;
    }
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
    s->conn = s->settings ? connect_way(s, 0) : NULL;
    if (!s->conn) {
        redis_sub_free(s);
        return NULL;
    }
    s->ping = loop_timer_new(l, on_ping, s);
    s->move = loop_timer_new(l, on_move, s);
    return s;
}

void redis_sub_free(struct redis_sub *s)
{
    if (!s)
        return;
    redis_conn_free(s->conn);
    loop_timer_free(s->ping);
    loop_timer_free(s->move);
    LIST_FOR_SAFE(it, &s->channels)
    drop(s, CONTAINER_OF(it, struct channel, link));
    redis_settings_unref(s->settings);
    free(s);
}
