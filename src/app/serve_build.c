#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "config_show.h"
#include "listener.h"
#include "refrain/base/address.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/base/metrics.h"
#include "refrain/base/tls.h"
#include "refrain/http/clients.h"
#include "refrain/http/recent.h"
#include "refrain/http/slow.h"
#include "refrain/http/worker.h"
#include "refrain/ops/monitor.h"
#include "refrain/store/events.h"
#include "refrain/store/instances.h"
#include "refrain/store/invalidate.h"
#include "refrain/store/ledger.h"
#include "refrain/store/secret_check.h"
#include "serve_priv.h"
#include "site_build.h"
#include "watch.h"

enum {
    FLUSH_TARGETS_MS = 2000,
    WINDOW_BYTES = 256 * 1024,
    TELL_MS_MAX = 2000, /* at the end, for what other instances have not been told yet */
    MEMO_SHARE = 20,    /* of the memory tier's bytes, one part in so many is the workers' memos */
};

void serve_complain(const char *what, const char *detail, int r)
{
    log_event(LOG_ERROR, "cannot_start", LOG_STR("what", what), LOG_STR("detail", detail),
              LOG_ERRNO("error", r));
}

/* -- parts -- */

static const char *operation_name(unsigned op)
{
    return dialect_of((enum operation)op)->name;
}

static const char *reason_name(unsigned reason)
{
    return gate_reason_name((enum gate_reason)reason);
}

/* Where operators' listings look. */
static bool find_tiers(struct server *s)
{
    s->tiers_at.memory = s->memory;
    s->tiers_at.loop = store_loop(s->store);
    for (size_t i = 0; i < store_lower_n(s->store); i++)
        s->tiers_at.lower[s->tiers_at.lower_n++] = store_lower_port(s->store, i);
    s->store_port = store_port_new(s->store, s->loop, NULL);
    return s->store_port != NULL;
}

static struct invalidator *invalidator_of(const struct server *s)
{
    struct invalidator_conf conf = {
        .fences = s->fences, .memory = s->memory, .loop = store_loop(s->store), .ledger = s->ledger};

    for (size_t i = 0; i < store_lower_n(s->store); i++)
        conf.lower[conf.lower_n++] = store_lower_port(s->store, i);
    return invalidator_new(&conf);
}

/* Keys are made with the secret: who has another finds nothing of what the others store. */
static void on_secret_told(void *arg, bool same)
{
    const struct server *s = arg;

    if (!same)
        log_event(
            LOG_WARN, "secret_differs",
            LOG_STR("what",
                    "Redis was filled by instances with another secret: nothing of theirs is found here"),
            LOG_STR("what_to_do", "give all the same cache.secret_file; if it was changed on purpose, delete "
                                  "the key PREFIX:secret-check in Redis"),
            LOG_STR("prefix", s->conf->cache.prefix));
}

static bool check_secret(struct server *s)
{
    const struct redis_conf redis = config_redis(s->conf);
    const struct secret_check_conf conf = {.redis = &redis,
                                           .prefix = s->conf->cache.prefix,
                                           .secret = buf_slice(&s->secret),
                                           .on_told = on_secret_told,
                                           .arg = s};

    if (!s->conf->tiers.redis.url)
        return true;
    s->secret_check = secret_check_new(s->loop, &conf);
    return s->secret_check != NULL;
}

struct site *serve_site_of(const struct server *s, const struct config *conf)
{
    struct site_parts parts = {s->memory, s->store,       s->flights,  s->limits, s->proofs,
                               s->fences, s->invalidator, s->breakers, s->recent, buf_slice(&s->secret),
                               s->events, s->instances,   s->clients};

    return site_build(conf, &parts);
}

/* Those that need no other part. */
static int build_alone(struct server *s)
{
    const struct config *conf = s->conf;
    uint64_t memo_bytes = conf->tiers.memory.bytes_max / MEMO_SHARE;
    struct store_mem_conf memory = {conf->tiers.memory.bytes_max - memo_bytes, conf->tiers.memory.entries_max,
                                    conf->tiers.memory.eviction};
    struct limits_conf limits = {
        conf->listen.connections_max ? conf->listen.connections_max : UINT32_MAX / 2,
        conf->listen.connections_per_address_max,
        conf->listen.buffered_bytes_max,
    };
    struct flight_conf flights = {conf->coalescing.flight_bytes_max, WINDOW_BYTES,
                                  conf->coalescing.hit_for_miss_ms, NULL};
    char source[EVENT_SOURCE_BYTES + 1];

    s->metrics = metrics_new();
    s->slow = slow_new(conf->monitoring.slow_at_least_ms * 1000000);
    metrics_name_labels(s->metrics, LABEL_OPERATION, OP_COUNT, operation_name);
    metrics_name_labels(s->metrics, LABEL_REASON, GATE_REASON_COUNT, reason_name);
    metrics_name_labels(s->metrics, LABEL_ALERT, ALERT_CODES, alert_code_name);
    metrics_on_scrape(s->metrics, serve_collect, s);
    events_source_make(source);
    s->events = events_new(slice_str(source));
    s->loop = loop_new();
    s->limits = limits_new(&limits);
    s->proofs = proofs_new();
    s->clients = clients_new();
    s->fences = fences_new();
    flights.limits = s->limits;
    s->flights = flights_new(&flights);
    s->breakers = breakers_new();
    if (s->breakers)
        breakers_tell(s->breakers, s->events);
    if (conf->admin.recent_requests > 0)
        s->recent = recent_new(conf->admin.recent_requests);
    if (conf->tiers.memory.enabled)
        s->memory = store_mem_new(&memory);
    if (s->memory)
        store_mem_tell(s->memory, s->events);
    if (!s->events || !s->loop || !s->limits || !s->proofs || !s->clients || !s->fences || !s->flights ||
        !s->breakers || (conf->tiers.memory.enabled && !s->memory))
        return -ENOMEM;
    return 0;
}

static int build_parts(struct server *s)
{
    const struct config *conf = s->conf;
    int r = serve_secret_load(s);

    if (r == 0)
        r = serve_keys_load(s);
    if (r == 0)
        r = build_alone(s);
    if (r < 0)
        return r;
    serve_ledger_begin(s);
    s->store = tiers_build(conf, s->memory, s->fences, s->keys, s->events, s->ledger, s->metrics);
    if (s->store)
        s->invalidator = invalidator_of(s);
    if (!s->invalidator || !find_tiers(s) || !check_secret(s))
        return -ENOMEM;
    s->peers = (struct peers_parts){s->store,   s->events, s->fences, s->invalidator,
                                    s->flights, s->proofs, s->ledger};
    r = peers_make(conf, &s->peers, &s->instances);
    if (r < 0)
        return r;
    serve_ledger_told(s);
    s->site = serve_site_of(s, conf);
    return s->site ? 0 : -ENOMEM;
}

/* -- workers -- */

struct front_conf serve_front_of(const struct server *s, const struct config *conf)
{
    return (struct front_conf){
        .header_bytes_max = conf->listen.header_bytes_max,
        .header_timeout_ms = conf->listen.header_timeout_ms,
        .idle_timeout_ms = conf->listen.idle_timeout_ms,
        .slow_reader_ms = conf->listen.slow_reader_timeout_ms,
        .body_grace_ms = conf->listen.body_grace_ms,
        .body_bytes_per_s = (int64_t)conf->listen.body_bytes_min_rate,
        .tls = s->listen_tls,
    };
}

static size_t workers_wanted(const struct config *conf)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t n = conf->listen.workers ? conf->listen.workers : (size_t)(cores > 0 ? cores : 1);

    return n > WORKERS_MAX ? WORKERS_MAX : n;
}

/* With what workers take part in calls of all instances; NULL: they do not. */
static const struct fleet_conf *fleet_of(struct server *s)
{
    const struct config *conf = s->conf;

    if (!conf->coalescing.cluster || !conf->coalescing.enabled)
        return NULL;
    s->redis = config_redis(conf);
    s->fleet = (struct fleet_conf){.redis = &s->redis,
                                   .prefix = slice_str(conf->cache.prefix),
                                   .lease_ms = conf->coalescing.cluster_lease_ms,
                                   .bytes_max = conf->coalescing.flight_bytes_max,
                                   .keys = s->keys,
                                   .limits = s->limits};
    return &s->fleet;
}

static int build_workers(struct server *s, struct buf *out_where)
{
    size_t n = workers_wanted(s->conf);
    struct worker_conf conf = {
        .front = serve_front_of(s, s->conf),
        .memo_bytes_max = s->conf->tiers.memory.bytes_max / MEMO_SHARE / n,
        .metrics = s->metrics,
        .slow = s->slow,
        .fleet = fleet_of(s),
    };
    const char *why = "";
    int fds[WORKERS_MAX];
    int r = listener_open(s->conf->listen.address, fds, n, out_where, &why);

    if (r < 0) {
        log_event(LOG_ERROR, "cannot_listen", LOG_STR("option", "listen.address"),
                  LOG_STR("address", s->conf->listen.address), LOG_STR("what", why), LOG_ERRNO("error", r));
        return r;
    }
    for (size_t i = 0; i < n; i++) {
        struct worker *w = r == 0 ? worker_new(&conf, s->site) : NULL;

        if (w)
            s->workers[s->workers_n++] = w;
        if (!w || worker_listen(w, fds[i]) < 0) {
            (void)close(fds[i]);
            r = r < 0 ? r : -ENOMEM;
        }
    }
    return r;
}

/* -- what operators see -- */

static void build_monitor(struct server *s)
{
    struct monitor_conf conf = {.from = {s->metrics, s->breakers, &s->tiers_at},
                                .slow = s->slow,
                                .every_ms = s->conf->monitoring.sample_every_ms};

    s->monitor = monitor_new(&conf, clock_wall_ms(), clock_mono_ms());
}

static void build_watch(struct server *s)
{
    const struct watch_parts parts = {s->metrics, s->events, s->breakers, s->store, s->instances, s->recent};

    s->watch = watch_new(&parts);
}

static struct site *site_in_force(void *arg)
{
    const struct server *s = arg;

    return s->site;
}

static int show_config(void *arg, bool changed_only, struct buf *out)
{
    const struct server *s = arg;

    return config_show(s->conf, true, changed_only, out);
}

static void facts_now(void *arg, struct facts *out)
{
    const struct server *s = arg;

    watch_facts(s->watch, s->conf, out);
}

static int build_admin(struct server *s, struct buf *out_where)
{
    struct admin_parts parts = {.metrics = s->metrics,
                                .counts = metrics_block(s->metrics),
                                .ready = serve_is_ready,
                                .site = site_in_force,
                                .arg = s,
                                .breakers = s->breakers,
                                .events = s->events,
                                .tiers = &s->tiers_at,
                                .store = s->store_port,
                                .monitor = s->monitor,
                                .alerts = watch_alerts(s->watch),
                                .facts = facts_now,
                                .slow = s->slow,
                                .config = show_config,
                                .key_prefix = slice_str(s->conf->cache.prefix)};
    struct admin_access access;
    const char *why = "";
    struct address a;
    int fd, r = address_parse(slice_str(s->conf->admin.address), &a);

    if (r == 0 && !address_is_local(&a) && !s->conf->admin.token.text) {
        serve_complain("admin.address is reachable from outside: that needs admin.token or admin.token_file",
                       s->conf->admin.address, 0);
        return -EINVAL;
    }
    if (serve_token_load(s, s->conf) < 0)
        return -EINVAL; /* told */
    access = serve_access_of(s, s->conf);
    if (access.token.len == 0) {
        serve_complain("the API's token is empty", s->conf->admin.address, 0);
        return -EINVAL;
    }
    if (r == 0)
        r = listener_open(s->conf->admin.address, &fd, 1, out_where, &why);
    if (r < 0) {
        log_event(LOG_ERROR, "cannot_listen", LOG_STR("option", "admin.address"),
                  LOG_STR("address", s->conf->admin.address), LOG_STR("what", why), LOG_ERRNO("error", r));
        return r;
    }
    s->admin = admin_new(s->loop, fd, &parts, &access);
    return s->admin ? 0 : -ENOMEM;
}

/* -- all of it, and back -- */

int serve_build(struct server *s, struct buf *out_proxy, struct buf *out_admin)
{
    int r = build_parts(s);

    if (r == 0) {
        build_monitor(s);
        build_watch(s);
    }
    if (r == 0)
        r = listener_secure(&s->conf->listen.tls, "listen.tls", &s->listen_tls);
    if (r == 0)
        r = listener_secure(&s->conf->admin.tls, "admin.tls", &s->admin_tls);
    if (r == 0)
        r = build_admin(s, out_admin);
    if (r == 0)
        r = build_workers(s, out_proxy);
    return r;
}

void serve_take_down(struct server *s)
{
    int64_t flush_ms = s->asked_twice ? 0 : s->conf->listen.drain_timeout_ms;

    workers_free(s->workers, s->workers_n);
    if (s->draining) /* it has begun, so the socket is ours */
        listener_remove(s->begun_with->admin.address);
    admin_free(s->admin);
    loop_timer_free(s->sample);
    monitor_free(s->monitor);
    watch_free(s->watch);
    loop_timer_free(s->sweep);
    loop_timer_free(s->deadline);
    if (s->invalidator) {
        (void)invalidator_flush(s->invalidator, s->asked_twice ? 0 : FLUSH_TARGETS_MS);
        invalidator_stop(s->invalidator);
    }
    instances_free(s->instances, flush_ms < TELL_MS_MAX ? flush_ms : TELL_MS_MAX);
    atomic_store(&s->tiers_at.stopped, true);
    store_port_free(s->store_port);
    store_stop(s->store, flush_ms);
    secret_check_free(s->secret_check);
    loop_free(
        s->loop); /* after the store, which answers on it; work on the pool still looks at it until now */
    store_free(s->store, 0);
    site_unref(s->site);
    flights_free(s->flights);
    breakers_free(s->breakers);
    recent_free(s->recent);
    seal_keys_free(s->keys);
    invalidator_free(s->invalidator);
    ledger_free(s->ledger);
    store_mem_free(s->memory);
    fences_free(s->fences);
    limits_free(s->limits);
    proofs_free(s->proofs);
    clients_free(s->clients);
    events_free(s->events);
    slow_free(s->slow);
    metrics_free(s->metrics);
    buf_done(&s->secret);
    buf_done(&s->admin_token);
    tls_unref(s->listen_tls);
    tls_unref(s->admin_tls);
}
