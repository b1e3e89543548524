/*
 * One table of nodes. A node is there because it was configured (the seed), because the map names it, or
 * because a redirection led to it; it gets a connection when something is to be sent to it, and goes again
 * when the map has not named it for a while and nothing led to it.
 *
 * `owner` says which node has a slot. Of a slot that nobody is known to have any node may be asked: it
 * answers with a redirection, or that nobody serves the slot. So a map that is old, has holes, or is not
 * known at all costs a hop, and a server that is no cluster needs no map.
 *
 * A node that is away is not waited for: its calls come back at once, and the map is read anew, ever more
 * rarely until something changes. Nothing but the timer's own callback frees a connection, so that none ends
 * within a callback of its own.
 */
#include "redis_nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/digest.h"
#include "refrain/store/redis_slots.h"

enum {
    NODES_MAX = REDIS_MASTERS_MAX + 32, /* besides masters: the seed, and where redirections lead */
    IDS = 16,
    HANG_UPS_MAX = 3,
    SEED = 0,         /* its place in the table */
    NONE = NODES_MAX, /* no place */

    REFRESH_MS_MIN = 20,  /* from one reading of the map to the next, … */
    REFRESH_MS_MAX = 500, /* … twice as long each time while there is reason to read it, up to this; … */
    REFRESH_MS_IDLE = 60000,   /* … and without any reason */
    REFRESH_MS_PATIENCE = 500, /* an answer that takes longer does not come; another node is asked */
    AGAIN_MS = 4,              /* before a call that was told to try again is; twice as long each time */
    IDLE_MS = 60000,           /* a node that nobody wants any more is kept for this */
};

enum kind {
    KIND_UNKNOWN, /* so far: a walk over all nodes begins with the seed, and meets the others behind it */
    KIND_ALONE,   /* a server that is no cluster */
    KIND_CLUSTER, /* as CLUSTER SLOTS, or a redirection, has told */
};

struct node {
    struct redis_nodes *all;
    uint32_t ids[IDS]; /* the last ones that it was known by; 0: none */
    bool gained;       /* a slot that was another's, in the change of the map that is under way */
    struct redis_endpoint at;
    struct redis_conn *conn; /* NULL: nothing was sent to it yet */
    unsigned slots_n;        /* that it has, as far as is known */
    int64_t wanted_ms;       /* when something was last to be sent to it */
    enum redis_cause cause;  /* why its last attempt to connect came to nothing; REDIS_FINE: it did not */
    struct redis_detail detail;
};

struct redis_nodes {
    struct loop *loop;
    struct redis_settings *settings;
    struct redis_nodes_events events;
    enum kind kind;
    struct node *nodes[NODES_MAX]; /* with holes; the seed is always there */
    uint16_t nodes_n;              /* no node lies at or behind this place */
    uint32_t last_id;
    uint16_t owner[REDIS_SLOTS]; /* places of nodes, or REDIS_NOBODY */
    unsigned served_n;

    struct list again; /* calls that wait a little before they are sent anew, by due time of that */
    bool closing;      /* calls that come back stay back */
    struct redis_state told;

    struct loop_timer *again_timer, *refresh_timer;
    struct redis_order *refresh; /* CLUSTER SLOTS on its way, … */
    uint16_t refresh_place;      /* … to this node */
    int64_t refreshed_ms, refresh_gap_ms;
    unsigned hung_up_n;  /* times that the connection ended instead of an answer */
    bool refresh_wanted; /* there is a reason beyond the time that has passed */
};

static void want_refresh(struct redis_nodes *c);

/* -- nodes -- */

static bool is_up(const struct node *n)
{
    return n->conn && redis_conn_is_up(n->conn);
}

static bool is_away(const struct node *n)
{
    return n->cause != REDIS_FINE;
}

static void on_conn_state(void *arg, const struct redis_state *state);

/* Makes its connection, unless it has one. Errors: -ENOMEM. */
static bool node_connect(struct redis_nodes *c, uint16_t place)
{
    struct node *n = c->nodes[place];
    const struct redis_conn_events events = {.on_state = on_conn_state, .arg = n};

    if (!n->conn)
        n->conn =
            redis_conn_new(c->loop, c->settings, place == SEED ? NULL : n->at.host, n->at.port, &events);
    return n->conn != NULL;
}

static uint16_t node_find(const struct redis_nodes *c, const struct redis_endpoint *e)
{
    for (uint16_t i = 0; i < c->nodes_n; i++)
        if (c->nodes[i] && redis_endpoint_eq(&c->nodes[i]->at, e))
            return i;
    return NONE;
}

static uint16_t free_place(struct redis_nodes *c)
{
    for (uint16_t i = 0; i < c->nodes_n; i++)
        if (!c->nodes[i])
            return i;
    return c->nodes_n < NODES_MAX ? c->nodes_n++ : NONE;
}

/* NONE when there are too many already, or there is no memory. */
static uint16_t node_find_or_add(struct redis_nodes *c, const struct redis_endpoint *e)
{
    uint16_t place = node_find(c, e);
    struct node *n;

    if (place != NONE)
        return place;
    place = free_place(c);
    n = place != NONE ? calloc(1, sizeof(*n)) : NULL;
    if (!n)
        return NONE;
    n->all = c;
    n->ids[0] = ++c->last_id;
    n->at = *e;
    n->wanted_ms = loop_now_ms(c->loop);
    c->nodes[place] = n;
    return place;
}

/* Not within a callback of its connection. */
static void node_free(struct redis_nodes *c, uint16_t place)
{
    struct node *n = c->nodes[place];

    if (!n)
        return;
    c->nodes[place] = NULL;
    redis_conn_free(n->conn); /* what it was asked comes back within, and may be sent to others */
    free(n);
}

/* Who walks over all nodes in the order of their numbers, and has been there, comes by once more; who is
 * there now is not disturbed, since the numbers before still hold. */
static void node_gains(struct redis_nodes *c, struct node *n)
{
    if (n->gained)
        return;
    n->gained = true;
    memmove(n->ids + 1, n->ids, sizeof(n->ids) - sizeof(n->ids[0]));
    n->ids[0] = ++c->last_id;
}

static void set_owner(struct redis_nodes *c, uint16_t slot, uint16_t place)
{
    const uint16_t before = c->owner[slot];

    if (before != REDIS_NOBODY && place != REDIS_NOBODY && before != place)
        node_gains(c, c->nodes[place]);
    if (before != REDIS_NOBODY) {
        c->nodes[before]->slots_n--;
        c->served_n--;
    }
    c->owner[slot] = place;
    if (place != REDIS_NOBODY) {
        c->nodes[place]->slots_n++;
        c->served_n++;
    }
}

/* One that is up, beginning behind @after: NONE where there is none. */
static uint16_t next_up(const struct redis_nodes *c, uint16_t after)
{
    for (uint16_t i = 1; i <= c->nodes_n; i++) {
        const uint16_t place = (uint16_t)((after + i) % c->nodes_n);

        if (c->nodes[place] && is_up(c->nodes[place]))
            return place;
    }
    return NONE;
}

/* Nobody wants it: not the map, not a call for some time. */
static bool is_idle(const struct redis_nodes *c, const struct node *n)
{
    return n->slots_n == 0 && loop_now_ms(c->loop) - n->wanted_ms >= IDLE_MS;
}

/* The seed, which may be a name for some of the others, loses its connection only. */
static void rest_seed(struct redis_nodes *c)
{
    struct node *seed = c->nodes[SEED];
    struct redis_conn *conn = seed->conn;

    if (c->kind != KIND_CLUSTER || !conn || !is_idle(c, seed) || next_up(c, SEED) == SEED)
        return;
    seed->conn = NULL;
    seed->cause = REDIS_FINE;
    redis_conn_free(conn);
}

static void drop_idle(struct redis_nodes *c)
{
    rest_seed(c);
    for (uint16_t i = SEED + 1; i < c->nodes_n; i++)
        if (c->nodes[i] && is_idle(c, c->nodes[i]))
            node_free(c, i);
}

/* -- what is told of it all -- */

/* A node that holds keys and is away; NULL where there is none. */
static const struct node *trouble(const struct redis_nodes *c)
{
    for (uint16_t i = 0; i < c->nodes_n; i++)
        if (c->nodes[i] && c->nodes[i]->slots_n > 0 && is_away(c->nodes[i]))
            return c->nodes[i];
    return NULL;
}

static void tell(struct redis_nodes *c, const struct redis_state *state)
{
    c->told = (struct redis_state){state->up, state->cause, ""};
    if (c->events.on_state)
        c->events.on_state(c->events.arg, state);
}

/* Up while any node is; all is fine while every slot has somebody who is not known to be away. */
static void tell_cluster(struct redis_nodes *c)
{
    const struct node *seed = c->nodes[SEED], *bad = trouble(c);
    struct redis_detail detail = {""};
    struct redis_state now = {.up = next_up(c, SEED) != NONE, .cause = REDIS_FINE, .detail = detail.text};

    if (!bad && !now.up && is_away(seed))
        bad = seed;
    if (bad) {
        now.cause = bad->cause;
        (void)snprintf(detail.text, sizeof(detail.text), "%.80s port %u: %.80s", bad->at.host, bad->at.port,
                       bad->detail.text);
    } else if (c->served_n < REDIS_SLOTS) {
        now.cause = REDIS_REFUSING;
        now.detail = "some slots are served by nobody";
    } else if (!now.up) {
        now.cause = REDIS_NOT_YET;
    }
    if (now.up != c->told.up || now.cause != c->told.cause)
        tell(c, &now);
}

/* -- sending -- */

static void on_order(void *arg, const struct redis_reply *reply, enum redis_why why);

/* Whoever has it; any that is up where nobody is known to; the seed where none is. */
static uint16_t place_of_slot(const struct redis_nodes *c, uint16_t slot)
{
    uint16_t place = c->kind == KIND_CLUSTER ? c->owner[slot] : SEED;

    if (place == REDIS_NOBODY)
        place = next_up(c, slot % c->nodes_n);
    return place == NONE ? SEED : place;
}

static uint16_t place_of_id(const struct redis_nodes *c, uint32_t id)
{
    for (uint16_t i = 0; i < c->nodes_n; i++)
        for (size_t j = 0; c->nodes[i] && j < IDS; j++)
            if (c->nodes[i]->ids[j] == id)
                return i;
    return NONE;
}

/* NONE: the node is gone. */
static uint16_t place_of_call(const struct redis_nodes *c, const struct redis_call *call)
{
    uint16_t place;

    if (call->node)
        return place_of_id(c, call->node);
    if (call->key.len > 0)
        return place_of_slot(c, redis_slot_of(call->key));
    place = next_up(c, SEED);
    return place == NONE ? SEED : place;
}

static void on_asking(void *arg, const struct redis_reply *reply, enum redis_why why)
{
    /* What it was to bring about shows in the answer to the call behind it. */
    (void)arg;
    (void)reply;
    (void)why;
}

/* Has the next command on this connection accepted for a slot that is on its way there. */
static enum redis_why send_asking(struct redis_conn *conn, int64_t patience_ms)
{
    static const struct slice asking = SLICE("ASKING");
    enum redis_why why;

    (void)redis_conn_ask(conn, &asking, 1, patience_ms, on_asking, NULL, &why);
    return why;
}

static enum redis_why send_to(struct redis_nodes *c, struct redis_call *call, uint16_t place, bool asking)
{
    const int64_t patience_ms = call->due_ms - loop_now_ms(c->loop);
    enum redis_why why = REDIS_REPLIED;
    struct node *n;

    if (place == NONE)
        return REDIS_DOWN;
    n = c->nodes[place];
    n->wanted_ms = loop_now_ms(c->loop);
    call->place = place;
    if (!node_connect(c, place))
        return REDIS_DOWN;
    if (asking)
        why = send_asking(n->conn, patience_ms);
    if (why == REDIS_REPLIED)
        call->order = redis_conn_ask(n->conn, call->argv, call->argc, patience_ms, on_order, call, &why);
    if (why == REDIS_DOWN)
        want_refresh(c);
    return why;
}

enum redis_why redis_nodes_ask(struct redis_nodes *c, struct redis_call *call)
{
    call->nodes = c;
    call->tries = 0;
    call->order = NULL;
    list_init(&call->wait);
    return send_to(c, call, place_of_call(c, call), false);
}

void redis_nodes_forget(struct redis_call *call)
{
    if (call->order)
        redis_order_forget(call->order);
    call->order = NULL;
    list_remove(&call->wait);
}

/* -- sending anew -- */

/* False: it may not be sent once more. */
static bool may_go_on(const struct redis_nodes *c, const struct redis_call *call)
{
    return !c->closing && call->tries < REDIS_HOPS_MAX && loop_now_ms(c->loop) < call->due_ms;
}

static void send_anew(struct redis_nodes *c, struct redis_call *call, uint16_t place, bool asking)
{
    enum redis_why why;

    call->tries++;
    why = send_to(c, call, place, asking);
    if (why != REDIS_REPLIED)
        c->events.on_answer(call, NULL, why);
}

static void on_again(void *arg)
{
    struct redis_nodes *c = arg;
    struct list due;

    list_init(&due);
    list_splice_back(&due, &c->again);
    while (!list_empty(&due)) {
        struct redis_call *call = CONTAINER_OF(list_pop_front(&due), struct redis_call, wait);

        send_anew(c, call, place_of_call(c, call), false);
    }
}

/* All that wait are sent when the first of them is due: a try too early costs a try. */
static void send_later(struct redis_nodes *c, struct redis_call *call)
{
    list_push_back(&c->again, &call->wait);
    if (!loop_timer_active(c->again_timer))
        loop_timer_start(c->again_timer, AGAIN_MS << call->tries, 0);
}

/* What only looks may be asked twice. */
static bool only_reads(const struct redis_call *call)
{
    static const struct slice readers[] = {SLICE("GET"),    SLICE("MGET"),   SLICE("EXISTS"), SLICE("PTTL"),
                                           SLICE("STRLEN"), SLICE("XRANGE"), SLICE("XLEN"),   SLICE("TYPE")};

    for (size_t i = 0; i < ARRAY_LEN(readers); i++)
        if (slice_ieq(call->argv[0], readers[i]))
            return true;
    return false;
}

/* What the node that answered has to say about where the call belongs. True: it is on its way again. */
static bool follow(struct redis_nodes *c, struct redis_call *call, struct slice error)
{
    const struct redis_endpoint *asked = &c->nodes[call->place]->at;
    struct redis_redirect redirect;
    enum redis_redirect_kind kind = redis_redirect_read(&redirect, error, asked);
    uint16_t place;

    if (kind == REDIS_STAYS || redirect.slot != redis_slot_of(call->key))
        return false;
    place = node_find_or_add(c, &redirect.to);
    if (kind == REDIS_MOVED && place != NONE) {
        c->kind = KIND_CLUSTER;
        set_owner(c, redirect.slot, place);
        c->nodes[place]->gained = false;
        want_refresh(c);
    }
    if (place == NONE || !may_go_on(c, call))
        return false;
    send_anew(c, call, place, kind == REDIS_ASK);
    return true;
}

/* The node is there, but does not do anything for now. */
static bool is_no_help(const struct redis_reply *reply)
{
    static const char *const words[] = {"CLUSTERDOWN", "MASTERDOWN", "LOADING", "READONLY"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (redis_reply_is_error(reply, words[i]))
            return true;
    return false;
}

static void on_error(struct redis_nodes *c, struct redis_call *call, const struct redis_reply *reply)
{
    const bool is_by_key = !call->node && call->key.len > 0;

    if (is_by_key && follow(c, call, reply->text))
        return;
    if (is_by_key && redis_reply_is_error(reply, "TRYAGAIN") && may_go_on(c, call)) {
        send_later(c, call);
        return;
    }
    if (c->kind == KIND_CLUSTER && is_no_help(reply)) {
        want_refresh(c);
        c->events.on_answer(call, NULL, REDIS_DOWN);
        return;
    }
    c->events.on_answer(call, reply, REDIS_REPLIED);
}

static void on_order(void *arg, const struct redis_reply *reply, enum redis_why why)
{
    struct redis_call *call = arg;
    struct redis_nodes *c = call->nodes;
    const bool was_not_done = why == REDIS_DOWN || (why == REDIS_LOST && only_reads(call));

    call->order = NULL;
    if (why == REDIS_REPLIED && reply->type == REDIS_ERROR && c->settings->conf.cluster != REDIS_CLUSTER_OFF)
        on_error(c, call, reply);
    else if (was_not_done && !call->node && may_go_on(c, call))
        send_anew(c, call, place_of_call(c, call), false);
    else
        c->events.on_answer(call, reply, why);
}

/* -- the map -- */

static void start_refresh_timer(struct redis_nodes *c)
{
    int64_t delay_ms = REFRESH_MS_IDLE;
    uint32_t chance;

    if (c->refresh_wanted) {
        delay_ms = c->refreshed_ms + c->refresh_gap_ms - loop_now_ms(c->loop);
    } else { /* not all instances at the same moment */
        random_bytes(&chance, sizeof(chance));
        delay_ms -= (int64_t)(chance % (REFRESH_MS_IDLE / 4));
    }
    loop_timer_start(c->refresh_timer, delay_ms > 0 ? delay_ms : 0, 0);
}

static void want_refresh(struct redis_nodes *c)
{
    if (c->kind == KIND_ALONE || c->closing)
        return;
    c->refresh_wanted = true;
    if (!c->refresh)
        start_refresh_timer(c);
}

/* Each master of @m gets a place among the nodes. */
static void take_map(struct redis_nodes *c, const struct redis_map *m)
{
    uint16_t places[REDIS_MASTERS_MAX];

    for (uint16_t i = 0; i < m->masters_n; i++)
        places[i] = node_find_or_add(c, &m->masters[i]);
    for (unsigned slot = 0; slot < REDIS_SLOTS; slot++) {
        const uint16_t place = m->owner[slot] == REDIS_NOBODY ? NONE : places[m->owner[slot]];

        set_owner(c, (uint16_t)slot, place == NONE ? REDIS_NOBODY : place);
    }
    for (uint16_t i = 0; i < c->nodes_n; i++)
        if (c->nodes[i])
            c->nodes[i]->gained = false;
    c->kind = KIND_CLUSTER;
}

/* True: it told something. */
static bool read_map(struct redis_nodes *c, const struct redis_reply *reply)
{
    struct redis_map *m = malloc(sizeof(*m)); /* 165 KB, for a moment */
    const bool good = m && redis_map_read(m, reply, &c->nodes[c->refresh_place]->at) == 0;

    if (good)
        take_map(c, m);
    free(m);
    return good;
}

/* It is told to be up once it is known what it is: who walks over all nodes then has them. */
static void tell_lone(struct redis_nodes *c)
{
    static const struct redis_state up = {.up = true, .cause = REDIS_FINE, .detail = ""};

    if (!c->told.up && is_up(c->nodes[SEED]))
        tell(c, &up);
}

/* A server alone answers with an error, as does one that does not tell: redirections will, if there are any.
 * There are proxies that hang up on what they do not know. */
static bool looks_alone(struct redis_nodes *c, const struct redis_reply *reply, enum redis_why why)
{
    if (why == REDIS_LOST)
        return ++c->hung_up_n >= HANG_UPS_MAX;
    return why == REDIS_REPLIED && reply->type == REDIS_ERROR;
}

static void on_map(void *arg, const struct redis_reply *reply, enum redis_why why)
{
    struct redis_nodes *c = arg;

    c->refresh = NULL;
    if (c->closing)
        return;
    if (why == REDIS_REPLIED && read_map(c, reply))
        c->refresh_wanted = trouble(c) || c->served_n < REDIS_SLOTS;
    else if (c->kind == KIND_UNKNOWN && looks_alone(c, reply, why))
        c->kind = KIND_ALONE;
    else
        c->refresh_wanted = true;
    if (c->kind == KIND_CLUSTER)
        tell_cluster(c);
    else
        tell_lone(c);
    if (c->kind == KIND_ALONE)
        loop_timer_stop(c->refresh_timer);
    else
        start_refresh_timer(c);
}

static void ask_map(struct redis_nodes *c, uint16_t place)
{
    static const struct slice argv[] = {SLICE("CLUSTER"), SLICE("SLOTS")};
    const int64_t now_ms = loop_now_ms(c->loop);
    const bool was_quiet = now_ms - c->refreshed_ms >= 2 * (int64_t)REFRESH_MS_MAX;
    enum redis_why why;

    c->refresh_gap_ms = was_quiet ? REFRESH_MS_MIN : 2 * c->refresh_gap_ms;
    if (c->refresh_gap_ms > REFRESH_MS_MAX)
        c->refresh_gap_ms = REFRESH_MS_MAX;
    c->refreshed_ms = now_ms;
    c->refresh_place = place;
    c->refresh =
        redis_conn_ask(c->nodes[place]->conn, argv, ARRAY_LEN(argv), REFRESH_MS_PATIENCE, on_map, c, &why);
    if (c->refresh && is_up(c->nodes[place]))
        loop_timer_start(c->refresh_timer, REFRESH_MS_PATIENCE, 0);
    else if (!c->refresh)
        start_refresh_timer(c);
}

static void on_refresh(void *arg)
{
    struct redis_nodes *c = arg;
    uint16_t place;

    if (c->refresh) { /* not within its time: the next one is asked */
        redis_order_forget(c->refresh);
        c->refresh = NULL;
        if (c->kind != KIND_CLUSTER)
            tell_lone(c);
    }
    drop_idle(c);
    place = next_up(c, c->refresh_place);
    if (place == NONE) { /* whoever comes up is asked */
        (void)node_connect(c, SEED);
        return;
    }
    ask_map(c, place);
}

/* Behind the same address, than the server alone that was there before. */
static bool may_be_another(const struct redis_nodes *c)
{
    return c->kind == KIND_ALONE && c->settings->conf.cluster != REDIS_CLUSTER_OFF &&
           c->hung_up_n < HANG_UPS_MAX;
}

static void on_conn_state(void *arg, const struct redis_state *state)
{
    struct node *n = arg;
    struct redis_nodes *c = n->all;
    const bool is_seed = c->nodes[SEED] == n;

    n->cause = state->up ? REDIS_FINE : state->cause;
    redis_detail_set(&n->detail, slice_str(state->detail));
    if (state->up && is_seed && may_be_another(c))
        c->kind = KIND_UNKNOWN;
    if (state->up && is_seed && c->kind == KIND_UNKNOWN && !c->refresh)
        ask_map(c, SEED); /* before anything else is asked there, so that its answer comes first */
    else if (!state->up || c->refresh_wanted)
        want_refresh(c);
    if (c->kind == KIND_CLUSTER)
        tell_cluster(c);
    else if (is_seed && (!state->up || c->kind == KIND_ALONE))
        tell(c, state);
}

/* -- the outside -- */

bool redis_nodes_is_up(const struct redis_nodes *c)
{
    return next_up(c, SEED) != NONE;
}

int64_t redis_nodes_heard_ms(const struct redis_nodes *c)
{
    int64_t heard_ms = 0;

    for (uint16_t i = 0; i < c->nodes_n; i++)
        if (c->nodes[i] && c->nodes[i]->conn && redis_conn_heard_ms(c->nodes[i]->conn) > heard_ms)
            heard_ms = redis_conn_heard_ms(c->nodes[i]->conn);
    return heard_ms;
}

bool redis_nodes_knows_nodes(const struct redis_nodes *c)
{
    return c->kind != KIND_CLUSTER || c->served_n > 0;
}

static void name_node(const struct node *n, void (*on_node)(void *arg, uint32_t node, struct slice address),
                      void *arg)
{
    char text[REDIS_HOST_MAX + 8];

    (void)snprintf(text, sizeof(text), "%s:%u", n->at.host, n->at.port);
    on_node(arg, n->ids[0], slice_str(text));
}

void redis_nodes_each_node(struct redis_nodes *c,
                           void (*on_node)(void *arg, uint32_t node, struct slice address), void *arg)
{
    if (!redis_nodes_knows_nodes(c))
        return;
    for (uint16_t i = 0; i < c->nodes_n; i++)
        if (c->nodes[i] && (c->kind == KIND_CLUSTER ? c->nodes[i]->slots_n > 0 : i == SEED))
            name_node(c->nodes[i], on_node, arg);
}

struct redis_nodes *redis_nodes_new(struct loop *l, struct redis_settings *s,
                                    const struct redis_nodes_events *events)
{
    struct redis_nodes *c = calloc(1, sizeof(*c));
    struct redis_endpoint seed;

    if (!c)
        return NULL;
    c->loop = l;
    c->settings = redis_settings_ref(s);
    c->events = *events;
    c->told.cause = REDIS_NOT_YET;
    c->kind = s->conf.cluster == REDIS_CLUSTER_ON    ? KIND_CLUSTER
              : s->conf.cluster == REDIS_CLUSTER_OFF ? KIND_ALONE
                                                     : KIND_UNKNOWN;
    memset(c->owner, 0xff, sizeof(c->owner));
    list_init(&c->again);
    c->again_timer = loop_timer_new(l, on_again, c);
    c->refresh_timer = loop_timer_new(l, on_refresh, c);
    redis_endpoint_of(&s->conf, &seed);
    if (node_find_or_add(c, &seed) != SEED || !node_connect(c, SEED)) {
        redis_nodes_free(c);
        return NULL;
    }
    c->refresh_wanted = c->kind != KIND_ALONE;
    if (c->refresh_wanted)
        ask_map(c, SEED);
    return c;
}

void redis_nodes_free(struct redis_nodes *c)
{
    if (!c)
        return;
    c->closing = true;
    while (!list_empty(&c->again))
        c->events.on_answer(CONTAINER_OF(list_pop_front(&c->again), struct redis_call, wait), NULL,
                            REDIS_DOWN);
    for (uint16_t i = 0; i < c->nodes_n; i++)
        node_free(c, i);
    loop_timer_free(c->again_timer);
    loop_timer_free(c->refresh_timer);
    redis_settings_unref(c->settings);
    free(c);
}
