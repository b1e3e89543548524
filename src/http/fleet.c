#include "refrain/http/fleet.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fleet_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"

enum {
    FENCE_LEASES = 10, /* a fence outlives its lease so many times: as far as clocks may be apart */
    PATIENCES = 3,     /* in the time of one lease */
    TIMEOUT_MS = 50,   /* of an election, where nothing else is said */
    TENTHS = 10,
    COMPLAIN_EVERY_MS = 60 * 1000,
};

static const struct breaker_availability_conf rest = {
    .ratio_permille = 500, .samples = 3, .window_ms = 10000, .open_for_ms = 2000};

/* Who has the lease keeps it, and hears at once that it is followed. Who gets it has a greater fence than any
 * before, whatever its clock says. */
static const char elect_script[] =
    "local held = redis.call('GET', KEYS[1]) "
    "if held then redis.call('SET', KEYS[3], '1', 'PX', ARGV[2]) return {0, held} end "
    "local last = tonumber(redis.call('GET', KEYS[2]) or '0') "
    "local fence = tonumber(ARGV[3]) "
    "if fence <= last then fence = last + 1 end "
    "local text = string.format('%.0f', fence) "
    "redis.call('SET', KEYS[2], text, 'PX', ARGV[4]) "
    "redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. text, 'PX', ARGV[2]) "
    "return {1, text}";

/* -- questions -- */

struct fleet_member *fleet_member_of(struct redis_call *call)
{
    return CONTAINER_OF(call, struct fleet_member, call);
}

static void add_arg(struct fleet_member *m, struct slice text)
{
    assert(m->argc < ARGS_MAX);
    m->argv[m->argc++] = text;
}

void fleet_ask_text(struct fleet_member *m, struct slice text)
{
    add_arg(m, text);
}

void fleet_ask_number(struct fleet_member *m, int64_t number)
{
    char *at = m->numbers + m->numbers_len;
    int n = snprintf(at, ARGS_TEXT_MAX - m->numbers_len, "%" PRId64, number);

    assert(n > 0 && (size_t)n < ARGS_TEXT_MAX - m->numbers_len);
    add_arg(m, slice_make(at, (size_t)n));
    m->numbers_len += (size_t)n;
}

static char *new_name(struct fleet_member *m)
{
    assert(m->names_n < ARRAY_LEN(m->names));
    return m->names[m->names_n++];
}

void fleet_ask_begin(struct fleet_member *m, struct slice script, unsigned keys)
{
    assert(!m->asking);
    m->argc = 0;
    m->numbers_len = 0;
    m->names_n = 0;
    add_arg(m, SLICE_OF("EVAL"));
    add_arg(m, script);
    fleet_ask_number(m, keys);
}

void fleet_ask_key(struct fleet_member *m, const char *what, const char *token)
{
    struct slice prefix = m->port->conf->prefix;
    char hex[DIGEST_HEX_LEN + 1], *name = new_name(m);
    int n;

    digest_hex(&m->key, hex);
    n = snprintf(name, FLEET_NAME_MAX, "%.*s:{flight:%s}:%s%s%s", (int)prefix.len, prefix.data, hex, what,
                 token ? ":" : "", token ? token : "");
    add_arg(m, slice_make(name, (size_t)n));
}

struct slice fleet_channel(struct fleet_member *m, const char *token)
{
    struct slice prefix = m->port->conf->prefix;
    char *name = new_name(m);
    int n = snprintf(name, FLEET_NAME_MAX, "%.*s:flight:%s", (int)prefix.len, prefix.data, token);

    return slice_make(name, (size_t)n);
}

void fleet_ask_send(struct fleet_member *m, int64_t deadline_ms,
                    void (*on_reply)(struct redis_call *call, const struct redis_reply *reply,
                                     enum redis_why why))
{
    enum { FIRST_KEY = 3 };

    m->call = (struct redis_call){.argv = m->argv,
                                  .argc = m->argc,
                                  .key = m->argv[FIRST_KEY],
                                  .deadline_ms = deadline_ms,
                                  .on_reply = on_reply};
    m->asking = true;
    m->asked_ms = clock_mono_ms();
    redis_ask(m->port->redis, &m->call);
}

int64_t fleet_patience_ms(const struct fleet_member *m)
{
    return m->port->conf->lease_ms / PATIENCES;
}

struct lease_conf fleet_lease(const struct fleet_member *m)
{
    return (struct lease_conf){m->port->conf->lease_ms, m->port->conf->bytes_max};
}

void fleet_count(const struct fleet_member *m, enum metric_fleet what)
{
    metric_add1(m->port->counts, CLUSTER_FLIGHTS, what, 1);
}

/* -- the life of a member -- */

static void on_timer(void *arg)
{
    struct fleet_member *m = arg;

    if (m->stage == STAGE_FOLLOWING)
        fleet_on_follow_timer(m);
    else
        fleet_on_lead_timer(m);
}

static void draw_token(char out[TOKEN_LEN + 1])
{
    uint8_t bytes[TOKEN_LEN / 2];

    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < TOKEN_LEN; i++)
        out[i] = "0123456789abcdef"[(bytes[i / 2] >> (i % 2 ? 0 : 4)) & 15];
    out[TOKEN_LEN] = '\0';
}

static void give_back_probe(struct fleet_member *m)
{
    if (m->probes)
        breaker_availability_give_back(&m->port->breaker, m->epoch);
    m->probes = false;
}

void fleet_free(struct fleet_member *m)
{
    if (m->asking)
        redis_forget(&m->call);
    give_back_probe(m);
    fleet_follow_done(m);
    fleet_lead_done(m);
    loop_timer_free(m->timer);
    sha256_free(m->sum);
    list_remove(&m->link);
    free(m);
}

void fleet_part(struct fleet_member *m, enum fleet_turn turn, enum metric_fleet why)
{
    const struct fleet_events *events = m->events;
    void *arg = m->arg;

    fleet_count(m, why);
    fleet_free(m);
    events->on_turn(arg, turn, 0);
}

void fleet_leave(struct fleet_member *m)
{
    if (!m)
        return;
    if (m->busy) {
        m->left = true;
        return;
    }
    if (m->stage == STAGE_FOLLOWING)
        fleet_free(m);
    else
        fleet_lead_release(m);
}

struct fleet_member *fleet_join(struct fleet_port *p, const struct digest *key, int64_t seq, int64_t spent_ms,
                                const struct fleet_events *events, void *arg)
{
    struct fleet_member *m;
    enum breaker_way way;
    unsigned epoch = 0;

    if (!p || p->closing)
        return NULL;
    way = breaker_availability_admit(&p->breaker, &rest, clock_mono_ms(), &epoch);
    m = way == BREAKER_SHUT ? NULL : calloc(1, sizeof(*m));
    if (!m) {
        metric_add1(p->counts, CLUSTER_FLIGHTS, FLEET_MET_TROUBLE, 1);
        return NULL;
    }
    m->port = p;
    m->events = events;
    m->arg = arg;
    m->key = *key;
    m->seq = seq;
    m->spent_ms = spent_ms;
    m->probes = way == BREAKER_PROBE;
    m->epoch = epoch;
    m->timer = loop_timer_new(p->loop, on_timer, m);
    list_init(&m->wake);
    list_push_back(&p->members, &m->link);
    fleet_elect(m);
    return m;
}

/* -- the election -- */

static void tell_breaker(struct fleet_member *m, bool failed)
{
    struct breaker_availability *b = &m->port->breaker;
    int64_t now_ms = clock_mono_ms();

    if (m->probes)
        (void)breaker_availability_probed(b, &rest, m->epoch, failed, now_ms);
    else
        (void)breaker_availability_sample(b, &rest, failed, now_ms);
    m->probes = false;
}

static bool read_fence(struct slice text, uint64_t *out)
{
    uint64_t n = 0;

    if (text.len == 0 || text.len > 16) /* what a double holds, exactly */
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = n;
    return n > 0;
}

/* TOKEN FENCE, or TOKEN FENCE closed: then newcomers are not taken. */
static bool read_lease(struct fleet_member *m, struct slice text, bool *out_closed)
{
    struct slice token = slice_cut(&text, ' '), fence = slice_cut(&text, ' ');

    if (token.len != TOKEN_LEN || !read_fence(fence, &m->fence))
        return false;
    memcpy(m->leader, token.data, TOKEN_LEN);
    *out_closed = text.len > 0;
    return true;
}

static void elected(struct fleet_member *m, bool anew)
{
    m->stage = STAGE_LEADING;
    fleet_lead_begin(m);
    fleet_count(m, anew ? FLEET_TOOK_OVER : FLEET_LED);
    m->events->on_turn(m->arg, FLEET_LEADS, (int64_t)m->fence);
}

static void follows(struct fleet_member *m)
{
    m->stage = STAGE_FOLLOWING;
    m->busy = true;
    m->events->on_turn(m->arg, FLEET_FOLLOWS, (int64_t)m->fence);
    m->busy = false;
    if (m->left)
        fleet_free(m);
    else
        fleet_follow_begin(m);
}

static void goes_alone(struct fleet_member *m, enum metric_fleet why)
{
    const struct fleet_events *events = m->events;
    void *arg = m->arg;

    fleet_count(m, why);
    if (why == FLEET_MET_TROUBLE)
        fleet_lead_release(m); /* it may have won, and never hear of it */
    else
        fleet_free(m);
    events->on_turn(arg, FLEET_ALONE, 0);
}

/* Redis is there, and does not do it: an operator must see to that. */
static void complain(struct fleet_port *p, const struct redis_reply *reply)
{
    int64_t now_ms = clock_mono_ms();

    if (!reply || reply->type != REDIS_ERROR || now_ms < p->complain_at_ms)
        return;
    p->complain_at_ms = now_ms + COMPLAIN_EVERY_MS;
    log_event(LOG_WARN, "cluster_flights_refused", LOG_SLICE("what", reply->text));
}

static void on_elected(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct fleet_member *m = fleet_member_of(call);
    const struct redis_reply *won = redis_reply_item(reply, 0, REDIS_INTEGER);
    const struct redis_reply *word = redis_reply_item(reply, 1, REDIS_TEXT);
    bool closed = false;

    m->asking = false;
    complain(m->port, reply);
    tell_breaker(m, why != REDIS_REPLIED || !won);
    if (!won || !word)
        goes_alone(m, FLEET_MET_TROUBLE);
    else if (won->integer == 1 && read_fence(word->text, &m->fence))
        elected(m, m->follow.elections > 0);
    else if (won->integer != 0 || !read_lease(m, word->text, &closed))
        goes_alone(m, FLEET_MET_TROUBLE);
    else if (closed)
        goes_alone(m, FLEET_LET_GO);
    else
        follows(m);
}

/* A Redis that stands still has cost its time by then, in the search below memory. */
static int64_t election_ms(const struct fleet_member *m)
{
    int64_t whole_ms = m->port->conf->redis->timeout_ms > 0 ? m->port->conf->redis->timeout_ms : TIMEOUT_MS;
    int64_t left_ms = whole_ms - m->spent_ms, least_ms = whole_ms / TENTHS + 1;

    return left_ms > least_ms ? left_ms : least_ms;
}

void fleet_elect(struct fleet_member *m)
{
    m->stage = STAGE_ELECTING;
    draw_token(m->me);
    fleet_ask_begin(m, slice_make(elect_script, sizeof(elect_script) - 1), 3);
    fleet_ask_key(m, "lease", NULL);
    fleet_ask_key(m, "fence", NULL);
    fleet_ask_key(m, "readers", NULL);
    fleet_ask_text(m, slice_make(m->me, TOKEN_LEN));
    fleet_ask_number(m, m->port->conf->lease_ms);
    fleet_ask_number(m, m->seq);
    fleet_ask_number(m, m->port->conf->lease_ms * FENCE_LEASES);
    fleet_ask_send(m, election_ms(m), on_elected);
    m->spent_ms = 0;
}

/* -- the port -- */

struct list *fleet_wake_bucket(struct fleet_port *p, const char *token)
{
    return &p->wakes[(unsigned char)token[0] % 8 * 8 + (unsigned char)token[1] % 8];
}

static void on_message(void *arg, struct slice channel, struct slice payload)
{
    struct fleet_port *p = arg;
    const char *token;

    (void)payload;
    if (channel.len < TOKEN_LEN)
        return;
    token = channel.data + channel.len - TOKEN_LEN;
    LIST_FOR(it, fleet_wake_bucket(p, token))
    {
        struct fleet_member *m = CONTAINER_OF(it, struct fleet_member, wake);

        if (memcmp(m->leader, token, TOKEN_LEN) == 0)
            fleet_follow_woken(m); /* which only asks: the list stays as it is */
    }
}

/* While no connection listens, followers look by themselves. */
struct fleet_port *fleet_port_new(struct loop *l, const struct fleet_conf *conf, struct metric_block *counts)
{
    struct redis_sub_conf sub = {.on_message = on_message};
    struct fleet_port *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->loop = l;
    p->conf = conf;
    p->counts = counts;
    list_init(&p->members);
    for (size_t i = 0; i < WAKE_BUCKETS; i++)
        list_init(&p->wakes[i]);
    sub.arg = p;
    p->redis = redis_new(l, conf->redis);
    p->sub = p->redis ? redis_sub_new(l, conf->redis, &sub) : NULL;
    if (p->sub)
        return p;
    fleet_port_free(p);
    return NULL;
}

/* A follower's owner is told, and may ask upstream while it still can; the others have nobody who waits. */
static void member_close(struct fleet_member *m)
{
    bool waits = m->stage == STAGE_FOLLOWING || m->stage == STAGE_ELECTING;

    if (waits)
        fleet_part(m, m->follow.begun ? FLEET_CUT : FLEET_ALONE,
                   m->follow.begun ? FLEET_WAS_CUT : FLEET_MET_TROUBLE);
    else if (m->stage == STAGE_ENDING)
        fleet_free(m);
    else
        fleet_lead_close(m); /* its owner has it until it ends */
}

void fleet_port_free(struct fleet_port *p)
{
    struct list *link;

    if (!p)
        return;
    p->closing = true;
    while ((link = list_pop_front(&p->members)) != NULL)
        member_close(CONTAINER_OF(link, struct fleet_member, link));
    redis_sub_free(p->sub);
    redis_free(p->redis);
    free(p);
}
