#include "watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/base/metrics.h"
#include "refrain/http/breakers.h"
#include "refrain/http/recent.h"
#include "refrain/store/events.h"
#include "refrain/store/instances.h"
#include "refrain/store/store.h"

struct watch {
    struct watch_parts parts;
    struct alerts *alerts;
    struct facts facts; /* as of the last judgement */
};

/* Names that look like ids: of what only names a request or who sends it. */
static const struct {
    enum fact_part part;
    const char *name;
} ids[] = {
    {FACT_FIELD, "request_id"},    {FACT_FIELD, "requestId"},    {FACT_FIELD, "session_id"},
    {FACT_FIELD, "sessionId"},     {FACT_FIELD, "user_id"},      {FACT_FIELD, "userId"},
    {FACT_FIELD, "user"},          {FACT_FIELD, "trace_id"},     {FACT_FIELD, "client_id"},
    {FACT_FIELD, "timestamp"},     {FACT_FIELD, "nonce"},        {FACT_HEADER, "x-user-id"},
    {FACT_HEADER, "x-session-id"}, {FACT_HEADER, "x-client-id"}, {FACT_HEADER, "x-device-id"},
    {FACT_HEADER, "x-timestamp"},  {FACT_HEADER, "x-nonce"},     {FACT_CREDENTIAL, NULL},
};

struct watch *watch_new(const struct watch_parts *parts)
{
    struct watch *w = calloc(1, sizeof(*w));

    if (!w)
        abort();
    w->parts = *parts;
    w->alerts = alerts_new();
    return w;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    alerts_free(w->alerts);
    free(w);
}

const struct alerts *watch_alerts(const struct watch *w)
{
    return w->alerts;
}

/* -- facts -- */

static struct fact_breaker *same_breaker(struct facts *f, const struct breakers_state *state)
{
    for (size_t i = 0; i < f->breakers_n; i++)
        if (f->breakers[i].kind == state->kind && strcmp(f->breakers[i].upstream, state->upstream) == 0)
            return &f->breakers[i];
    return NULL;
}

static void add_breaker(void *arg, const struct breakers_state *state)
{
    struct facts *f = arg;
    struct fact_breaker *b;

    if (state->state == BREAKER_CLOSED)
        return;
    b = same_breaker(f, state);
    if (b) {
        b->models++;
        return;
    }
    if (f->breakers_n == FACTS_BREAKERS_MAX)
        return;
    b = &f->breakers[f->breakers_n++];
    *b = (struct fact_breaker){.kind = state->kind, .models = 1};
    (void)snprintf(b->upstream, sizeof(b->upstream), "%s", state->upstream);
    (void)snprintf(b->model, sizeof(b->model), "%.*s", (int)state->model.len,
                   state->model.data ? state->model.data : "");
    (void)snprintf(b->cause, sizeof(b->cause), "%s", state->cause);
}

static void add_tiers(struct store *s, struct facts *out)
{
    for (size_t i = 0; i < store_lower_n(s); i++) {
        struct tier *t = store_lower(s, i);
        struct tier_state state = {0};

        t->ops->state(t, &state);
        out->tiers[t->ops->kind] = (struct fact_tier){state.health, state.why};
    }
}

static const char *instances_cut(struct instances *in)
{
    struct instances_stats st;

    if (!in)
        return NULL;
    instances_stats(in, &st);
    if (st.link != INSTANCES_CUT)
        return NULL;
    return st.why ? st.why : "Redis is away";
}

static uint64_t name_of(const struct siphash_key *secret, size_t i)
{
    if (ids[i].part == FACT_CREDENTIAL)
        return trace_kind_sum(secret, TRACE_CREDENTIAL);
    return ids[i].part == FACT_FIELD ? trace_member_name(secret, slice_str(ids[i].name))
                                     : trace_header_name(secret, slice_str(ids[i].name));
}

/* Keeps the most frequent ones, in order. */
static void add_difference(struct facts *out, struct fact_difference d)
{
    size_t at = out->differences_n;

    while (at > 0 && out->differences[at - 1].n < d.n)
        at--;
    if (at == FACTS_DIFFERENCES_MAX)
        return;
    if (out->differences_n < FACTS_DIFFERENCES_MAX)
        out->differences_n++;
    memmove(&out->differences[at + 1], &out->differences[at],
            (out->differences_n - 1 - at) * sizeof(out->differences[0]));
    out->differences[at] = d;
}

static void add_differences(struct recent *recent, struct facts *out)
{
    uint64_t names[ARRAY_LEN(ids)];
    unsigned n[ARRAY_LEN(ids)];

    if (!recent)
        return;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        names[i] = name_of(recent_secret(recent), i);
    out->compared = recent_count_lone(recent, names, n, ARRAY_LEN(ids));
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        if (n[i] > 0)
            add_difference(out, (struct fact_difference){ids[i].part, ids[i].name, n[i]});
}

static void add_config(const struct config *conf, struct facts *out)
{
    out->memory_bytes_max = conf->tiers.memory.bytes_max;
    out->disk_bytes_max = conf->tiers.disk.bytes_max;
    out->queue_bytes_max = conf->tiers.write_queue_bytes_max;
    out->object_bytes_max = conf->cache.object_bytes_max;
    out->buffered_bytes_max = conf->listen.buffered_bytes_max;
    out->connections_max = conf->listen.connections_max;
    out->connections_per_address_max = conf->listen.connections_per_address_max;
    out->compression_level = conf->compression.level;
    out->compression_memory = conf->compression.memory;
    out->default_ttl_s = conf->cache.default_ttl_s;
    out->stale_if_error_s = conf->cache.stale_if_error_s;
    out->coalescing = conf->coalescing.enabled;
    out->respect_cache_control = conf->cache.respect_upstream_cache_control;
    out->client_control = conf->cache.client_control;
    out->scope_shared = conf->cache.scope == SCOPE_SHARED;
    out->priced = conf->pricing_n > 0;
}

static void gather(const struct watch *w, const struct config *conf, struct facts *out)
{
    *out = (struct facts){0};
    breakers_each(w->parts.breakers, clock_mono_ms(), add_breaker, out);
    add_tiers(w->parts.store, out);
    out->instances_cut = instances_cut(w->parts.instances);
    add_config(conf, out);
}

void watch_facts(const struct watch *w, const struct config *conf, struct facts *out)
{
    gather(w, conf, out);
    add_differences(w->parts.recent, out);
}

/* -- telling -- */

static const char *state_name(enum alert_change change)
{
    static const char *const names[] = {
        [ALERT_RAISED] = "raised", [ALERT_EASED] = "eased", [ALERT_CLEARED] = "cleared"};

    return names[change];
}

static void publish(struct events *events, enum alert_change change, const struct alert *a)
{
    struct event_draft d;
    struct jout *j;

    if (!events_wanted(events, EVENT_ALERT))
        return;
    j = event_begin(&d, EVENT_ALERT);
    jout_str(j, "code", alert_code_name(a->code));
    jout_str(j, "subject", a->subject[0] ? a->subject : NULL);
    jout_str(j, "state", state_name(change));
    jout_str(j, "level", alert_level_name(a->level));
    jout_str(j, "message", a->message);
    events_publish(events, &d, (struct slice){NULL, 0});
}

static enum log_level log_level_of(enum alert_level level)
{
    static const enum log_level levels[] = {[ALERT_INFO] = LOG_INFO,
                                            [ALERT_WARNING] = LOG_WARN,
                                            [ALERT_ERROR] = LOG_ERROR,
                                            [ALERT_CRITICAL] = LOG_ERROR};

    return levels[level];
}

/* What is over is no trouble any more. */
static void log_change(enum alert_change change, const struct alert *a)
{
    static const char *const events[] = {
        [ALERT_RAISED] = "alert_raised", [ALERT_EASED] = "alert_eased", [ALERT_CLEARED] = "alert_cleared"};
    enum log_level level = change == ALERT_CLEARED ? LOG_INFO : log_level_of(a->level);

    log_event(level, events[change], LOG_STR("code", alert_code_name(a->code)),
              LOG_STR("subject", a->subject[0] ? a->subject : NULL),
              LOG_STR("alert_level", alert_level_name(a->level)), LOG_STR("message", a->message),
              LOG_STR("what_to_do", change == ALERT_RAISED ? a->what_to_do : NULL));
}

static void on_change(void *arg, enum alert_change change, const struct alert *a)
{
    struct watch *w = arg;

    log_change(change, a);
    publish(w->parts.events, change, a);
}

static void show(const struct watch *w)
{
    for (unsigned code = 0; code < ALERT_CODES; code++)
        for (unsigned level = 0; level < ALERT_LEVELS; level++)
            if (alert_has_level((enum alert_code)code, (enum alert_level)level))
                metrics_set2(w->parts.metrics, ALERTS, code, level,
                             alerts_count(w->alerts, (enum alert_code)code, (enum alert_level)level));
}

void watch_judge(struct watch *w, const struct history *h, const struct config *conf)
{
    const struct alerts_told told = {on_change, w};

    gather(w, conf, &w->facts);
    alerts_judge(w->alerts, h, &w->facts, &conf->alerts, &told);
    show(w);
}
