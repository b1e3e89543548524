#include "serve.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config.h"
#include "config_show.h"
#include "listener.h"
#include "peers.h"
#include "refrain/base/address.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"
#include "refrain/base/process.h"
#include "refrain/base/tls.h"
#include "refrain/http/clients.h"
#include "refrain/http/fleet.h"
#include "refrain/http/recent.h"
#include "refrain/http/slow.h"
#include "refrain/http/worker.h"
#include "refrain/ops/admin.h"
#include "refrain/ops/monitor.h"
#include "refrain/store/events.h"
#include "refrain/store/instances.h"
#include "refrain/store/invalidate.h"
#include "refrain/store/inventory.h"
#include "refrain/store/redis.h"
#include "refrain/store/secret_check.h"
#include "refrain/wire/redact.h"
#include "site_build.h"
#include "state.h"
#include "tiers.h"
#include "watch.h"

/*
 * The main thread runs a loop of its own: signals, the admin listener, the memory tier's sweep. Built from
 * the bottom up, taken down in reverse; what is not yet built is NULL, and every part takes that.
 */
enum {
    WORKERS_MAX = 256,
    SECRET_FILE_MAX = 8192,
    SWEEP_EVERY_MS = 100,
    SWEEP_BUDGET_US = 2000,
    FLUSH_TARGETS_MS = 2000,
    WINDOW_BYTES = 256 * 1024,
    TELL_MS_MAX = 2000, /* at the end, for what other instances have not been told yet */
    YIELD_BY = 10,      /* what the main thread is nicer than the others by: a tenth of a worker's weight */
    MEMO_SHARE = 20,    /* of the memory tier's bytes, one part in so many is the workers' memos */
};

/* Patterns in force, and those that were: another thread may be in them yet. */
struct redacting {
    struct redacting *before;
    struct log_redact hook;
    struct redact *patterns;
};

struct server {
    const struct config *conf;       /* in force; the first one is the caller's, others are their sites' */
    const struct config *begun_with; /* what listens, listens where this says */
    struct metrics *metrics;
    struct events *events;
    struct store_mem *memory;
    struct store *store;
    struct secret_check *secret_check; /* NULL: there is no Redis */
    struct seal_keys *keys;            /* NULL: what lies below memory is not sealed */
    struct tiers_alerts alerts;
    struct redacting *redacting;
    struct limits *limits;
    struct proofs *proofs;
    struct clients *clients;
    struct fences *fences;
    struct ledger *ledger; /* NULL: nothing lies below memory, or it cannot be kept */
    int ledger_trouble;    /* as told */
    struct invalidator *invalidator;
    struct peers_parts peers;
    struct instances *instances; /* NULL: there are no others */
    struct inventory_place tiers_at;
    struct store_port *store_port; /* of the main thread */
    struct flights *flights;
    struct breakers *breakers;
    struct recent *recent;
    struct redis_conf redis; /* of fleet */
    struct fleet_conf fleet;
    struct buf secret, admin_token;
    struct tls *listen_tls, *admin_tls; /* NULL: plain */
    struct site *site;
    struct loop *loop;
    struct admin *admin;
    struct worker *workers[WORKERS_MAX];
    size_t workers_n;
    struct slow *slow;
    struct monitor *monitor;
    struct watch *watch;
    struct loop_timer *sweep, *deadline, *sample;
    struct loop_msg drained_msg;
    struct loop_work first_work;
    atomic_size_t drained;
    bool draining, asked_twice;
};

static void complain(const char *what, const char *detail, int r)
{
    log_event(LOG_ERROR, "cannot_start", LOG_STR("what", what), LOG_STR("detail", detail),
              LOG_ERRNO("error", r));
}

/* -- the server's secret: so that keys on disk and in Redis outlive a restart -- */

static int secret_load(struct server *s)
{
    const struct cache_conf *conf = &s->conf->cache;
    const char *what = "";
    int r;

    s->secret.max = SECRET_FILE_MAX;
    if (conf->secret.text)
        return buf_add_slice(&s->secret, slice_str(conf->secret.text));
    r = state_secret_load(conf->state_dir, STATE_SECRET, &s->secret, &what);
    if (r < 0)
        complain(what, conf->state_dir, r);
    return r;
}

/* -- what is owed to tiers and to the fleet -- */

/* Before anything is served: what it holds is fenced as its owners are made. */
static void ledger_begin(struct server *s)
{
    const struct config *conf = s->conf;
    struct ledger_found found;
    int r;

    if (!conf->tiers.redis.url && !conf->tiers.disk.path)
        return;
    s->ledger = state_ledger_open(conf->cache.state_dir, &found, &r);
    if (!s->ledger)
        log_event(LOG_WARN, "owed_not_kept", LOG_STR("directory", conf->cache.state_dir),
                  LOG_STR("what", "an invalidation that a tier cannot carry out yet is lost by a restart"),
                  LOG_ERRNO("error", r));
    if (found.set_aside > 0)
        log_event(LOG_ERROR, "owed_set_aside", LOG_STR("directory", conf->cache.state_dir),
                  LOG_INT("files", found.set_aside),
                  LOG_STR("what", "what tiers had still to drop could not be read; invalidate it again"));
    if (found.lines > 0)
        log_event(LOG_INFO, "owed_found", LOG_INT("lines", found.lines),
                  LOG_STR("what", "what was invalidated before the restart is made up for"));
}

/* Its owners have read it. */
static void ledger_told(const struct server *s)
{
    unsigned odd = ledger_odd_n(s->ledger);

    if (odd > 0)
        log_event(LOG_ERROR, "owed_unreadable", LOG_STR("directory", s->conf->cache.state_dir),
                  LOG_INT("lines", odd),
                  LOG_STR("what", "what tiers had still to drop could not be read; invalidate it again"));
}

/* Once for each change. */
static void ledger_watch(struct server *s)
{
    int r = ledger_trouble(s->ledger);

    if (r != 0 && s->ledger_trouble == 0)
        log_event(LOG_WARN, "owed_not_kept", LOG_STR("directory", s->begun_with->cache.state_dir),
                  LOG_STR("what", "an invalidation that a tier cannot carry out yet is lost by a restart"),
                  LOG_ERRNO("error", r));
    s->ledger_trouble = r;
}

/* -- the keys that seal what leaves the process -- */

static int keys_load(struct server *s)
{
    const char *text = s->conf->encryption.key.text;
    unsigned line;

    if (!text)
        return 0;
    s->keys = seal_keys_new();
    return s->keys ? seal_keys_read(s->keys, slice_str(text), &line) : -ENOMEM; /* checked when it was read */
}

/* Rotation: keys that are new are added, and the first one seals from now on. */
static void keys_reload(struct server *s, const struct config *conf)
{
    const char *text = conf->encryption.key.text;
    unsigned line;
    int r;

    if (!text != !s->keys) {
        log_event(LOG_WARN, "reload_needs_restart", LOG_STR("option", "encryption.key"));
        return;
    }
    r = text ? seal_keys_read(s->keys, slice_str(text), &line) : 0;
    if (r < 0)
        log_event(LOG_ERROR, "encryption_key", LOG_STR("what", "too many keys since the start; restart"),
                  LOG_ERRNO("error", r));
}

/* -- what is kept out of the log -- */

static size_t redact(const void *arg, struct slice text, char *out, size_t cap)
{
    return redact_text(arg, text, out, cap);
}

static void redact_begin(struct server *s, const struct config *conf)
{
    struct redacting *new = calloc(1, sizeof(*new));
    char why[REDACT_WHY_BYTES];
    size_t at;
    int r = new && (new->patterns = redact_new()) ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < conf->redact.patterns.n; i++)
        r = redact_add(new->patterns, conf->redact.patterns.at[i], why, &at); /* checked when it was read */
    if (r < 0)
        abort(); /* small allocations; going on would mean to log what must not be */
    new->hook = (struct log_redact){redact, new->patterns};
    new->before = s->redacting;
    s->redacting = new;
    log_set_redact(conf->redact.patterns.n > 0 ? &new->hook : NULL);
}

static bool texts_eq(const struct text_list *a, const struct text_list *b)
{
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (!slice_eq(a->at[i], b->at[i]))
            return false;
    return a->n == b->n;
}

static void redact_end(struct server *s)
{
    log_set_redact(NULL);
    while (s->redacting) {
        struct redacting *r = s->redacting;

        s->redacting = r->before;
        redact_free(r->patterns);
        free(r);
    }
}

/* -- counts that others keep -- */

/* Past the label's ceiling several clients are one series: their counts are added up before they are shown.
 */
struct client_sums {
    struct metrics *metrics;
    struct client_counts by_label[LABEL_MAX_CLIENT];
    bool used[LABEL_MAX_CLIENT];
};

static void add_client(void *arg, const char *name, const struct client_counts *counts, unsigned running)
{
    struct client_sums *sums = arg;
    unsigned label = metrics_label(sums->metrics, LABEL_CLIENT, slice_str(name));
    struct client_counts *sum = &sums->by_label[label];

    (void)running;
    for (size_t i = 0; i < LABEL_MAX_RESULT; i++)
        sum->requests[i] += counts->requests[i];
    sum->limited_rate += counts->limited_rate;
    sum->limited_concurrent += counts->limited_concurrent;
    sum->tokens_in += counts->tokens_in;
    sum->tokens_out += counts->tokens_out;
    sums->used[label] = true;
}

static void collect_clients(struct clients *clients, struct metrics *m)
{
    struct client_sums sums = {.metrics = m};

    clients_each(clients, add_client, &sums);
    for (unsigned i = 0; i < LABEL_MAX_CLIENT; i++) {
        const struct client_counts *sum = &sums.by_label[i];

        for (unsigned r = 0; r < LABEL_MAX_RESULT; r++)
            if (sum->requests[r] > 0)
                metrics_set2(m, CLIENT_REQUESTS, i, r, sum->requests[r]);
        if (!sums.used[i])
            continue;
        metrics_set2(m, CLIENT_LIMITED, i, LIMIT_RATE, sum->limited_rate);
        metrics_set2(m, CLIENT_LIMITED, i, LIMIT_CONCURRENT, sum->limited_concurrent);
        metrics_set2(m, CLIENT_TOKENS_SAVED, i, TOKENS_INPUT, sum->tokens_in);
        metrics_set2(m, CLIENT_TOKENS_SAVED, i, TOKENS_OUTPUT, sum->tokens_out);
    }
}

static void collect(void *arg, struct metrics *m)
{
    struct server *s = arg;
    uint64_t flights, readers, invalidations[INVALIDATION_KINDS];

    flights_count(s->flights, &flights, &readers);
    metrics_set(m, FLIGHTS, flights);
    metrics_set(m, FLIGHT_READERS, readers);
    metrics_set(m, CONNECTIONS, limits_connections(s->limits));
    metrics_set(m, CONNECTIONS_ACCEPTED, limits_accepted(s->limits));
    metrics_set(m, CONNECTIONS_REFUSED, limits_refused(s->limits));
    metrics_set(m, BUFFERED_BYTES, limits_buffered_bytes(s->limits));
    metrics_set(m, CREDENTIALS_SUSPENDED, proofs_refused_n(s->proofs));
    breakers_show(s->breakers, m, clock_mono_ms());
    collect_clients(s->clients, m);
    peers_collect(s->instances, m);
    tiers_collect(s->store, s->memory, m);
    invalidate_counts(s->invalidator, invalidations);
    for (unsigned i = 0; i < INVALIDATION_KINDS; i++)
        if (invalidations[i] > 0)
            metrics_set1(m, INVALIDATIONS, i, invalidations[i]);
}

static const char *operation_name(unsigned op)
{
    return dialect_of((enum operation)op)->name;
}

static const char *reason_name(unsigned reason)
{
    return gate_reason_name((enum gate_reason)reason);
}

static bool is_ready(void *arg, struct buf *out)
{
    const struct server *s = arg;

    if (buf_addf(out, "{\"status\":\"%s\",\"tiers\":", s->draining ? "draining" : "serving") < 0 ||
        tiers_tell(s->store, s->memory, out) < 0 ||
        buf_addf(out, ",\"instances\":\"%s\"}\n", peers_link(s->instances)) < 0)
        return false;
    return !s->draining;
}

/* -- building -- */

static struct front_conf front_conf_of(const struct server *s, const struct config *conf)
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

static struct site *site_of_conf(const struct server *s, const struct config *conf)
{
    struct site_parts parts = {s->memory, s->store,       s->flights,  s->limits, s->proofs,
                               s->fences, s->invalidator, s->breakers, s->recent, buf_slice(&s->secret),
                               s->events, s->instances,   s->clients};

    return site_build(conf, &parts);
}

static size_t workers_wanted(const struct config *conf)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t n = conf->listen.workers ? conf->listen.workers : (size_t)(cores > 0 ? cores : 1);

    return n > WORKERS_MAX ? WORKERS_MAX : n;
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

static int build_parts(struct server *s)
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
    int r = secret_load(s);

    if (r == 0)
        r = keys_load(s);
    if (r < 0)
        return r;
    s->metrics = metrics_new();
    s->slow = slow_new(conf->monitoring.slow_at_least_ms * 1000000);
    metrics_name_labels(s->metrics, LABEL_OPERATION, OP_COUNT, operation_name);
    metrics_name_labels(s->metrics, LABEL_REASON, GATE_REASON_COUNT, reason_name);
    metrics_name_labels(s->metrics, LABEL_ALERT, ALERT_CODES, alert_code_name);
    metrics_on_scrape(s->metrics, collect, s);
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
    ledger_begin(s);
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
    ledger_told(s);
    s->site = site_of_conf(s, conf);
    return s->site ? 0 : -ENOMEM;
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
        .front = front_conf_of(s, s->conf),
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

/* Made once, where none is configured. A token that the configuration no longer gives stays until the
 * restart. */
static int token_load(struct server *s, const struct config *conf)
{
    const char *what = "";
    int r = 0;

    if (conf->admin.token.text) {
        buf_clear(&s->admin_token);
        return buf_add_slice(&s->admin_token, slice_str(conf->admin.token.text));
    }
    if (s->admin_token.len == 0)
        r = state_secret_load(conf->cache.state_dir, STATE_ADMIN_TOKEN, &s->admin_token, &what);
    if (r < 0)
        complain(what, conf->cache.state_dir, r);
    return r;
}

static struct admin_access access_of(const struct server *s, const struct config *conf)
{
    struct slice token = buf_slice(&s->admin_token);

    while (token.len > 0 && strchr(" \t\r\n", token.data[token.len - 1]))
        token.len--; /* a newline, where an editor has been at it */
    return (struct admin_access){token, conf->admin.hosts.at, conf->admin.hosts.n, s->admin_tls};
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

static void facts_now(void *arg, struct facts *out)
{
    const struct server *s = arg;

    watch_facts(s->watch, s->conf, out);
}

static int build_admin(struct server *s, struct buf *out_where)
{
    struct admin_parts parts = {.metrics = s->metrics,
                                .counts = metrics_block(s->metrics),
                                .ready = is_ready,
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
        complain("admin.address is reachable from outside: that needs admin.token or admin.token_file",
                 s->conf->admin.address, 0);
        return -EINVAL;
    }
    s->admin_token.max = SECRET_FILE_MAX;
    if (token_load(s, s->conf) < 0)
        return -EINVAL; /* told */
    access = access_of(s, s->conf);
    if (access.token.len == 0) {
        complain("the API's token is empty", s->conf->admin.address, 0);
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

/* -- running -- */

static void on_all_drained(struct loop_msg *m)
{
    struct server *s = CONTAINER_OF(m, struct server, drained_msg);

    loop_stop(s->loop);
}

static void on_worker_drained(void *arg)
{
    struct server *s = arg;

    if (atomic_fetch_add(&s->drained, 1) + 1 == s->workers_n)
        loop_post(s->loop, &s->drained_msg);
}

static void on_deadline(void *arg)
{
    struct server *s = arg;

    log_event(LOG_WARN, "drain_cut_short", LOG_INT("connections", limits_connections(s->limits)));
    loop_stop(s->loop);
}

static void on_end_signal(void *arg, int signum)
{
    struct server *s = arg;

    if (s->draining) { /* asked twice: now */
        s->asked_twice = true;
        loop_stop(s->loop);
        return;
    }
    s->draining = true;
    log_event(LOG_INFO, "draining", LOG_STR("signal", signum == SIGTERM ? "SIGTERM" : "SIGINT"),
              LOG_INT("connections", limits_connections(s->limits)));
    listener_remove(s->begun_with->listen.address);
    s->drained_msg.on_msg = on_all_drained;
    for (size_t i = 0; i < s->workers_n; i++)
        worker_drain(s->workers[i], on_worker_drained, s);
    loop_timer_start(s->deadline, s->conf->listen.drain_timeout_ms, 0);
}

static void on_fixed_option(void *arg, const char *name, const char *was, const char *is)
{
    (void)arg;
    (void)was;
    (void)is;
    log_event(LOG_WARN, "reload_needs_restart", LOG_STR("option", name));
}

static void report_faults(const struct config_report *report)
{
    for (size_t i = 0; i < report->n; i++)
        log_event(report->faults[i].warning ? LOG_WARN : LOG_ERROR, "config",
                  LOG_STR("fault", report->faults[i].text));
}

static void take_over_access(struct server *s)
{
    struct admin_access access;

    if (token_load(s, s->conf) < 0)
        return; /* told; the old one goes on */
    access = access_of(s, s->conf);
    if (access.token.len > 0)
        admin_set_access(s->admin, &access);
}

/* What a listener shows from now on. One that is plain stays so until the restart, and the other way round;
 * what cannot be read leaves the old. */
static void tls_renew(struct tls **in_force, const struct tls_conf *conf, const char *name)
{
    struct tls *new;

    if (!conf->cert_file != !*in_force) {
        log_event(LOG_WARN, "reload_needs_restart", LOG_STR("option", name));
        return;
    }
    if (listener_secure(conf, name, &new) < 0)
        return; /* told */
    tls_unref(*in_force);
    *in_force = new;
}

static void tls_take_over(struct server *s, const struct config *conf)
{
    tls_renew(&s->listen_tls, &conf->listen.tls, "listen.tls");
    tls_renew(&s->admin_tls, &conf->admin.tls, "admin.tls");
}

static void log_opened(int r)
{
    if (r < 0)
        log_event(LOG_ERROR, "log_not_opened",
                  LOG_STR("what", "log.file cannot be opened; the old one goes on"), LOG_ERRNO("error", r));
}

static void take_over(struct server *s, struct config *conf)
{
    struct site *site = site_of_conf(s, conf);
    struct front_conf front;

    if (!site) {
        config_free(conf);
        log_event(LOG_ERROR, "reload_failed", LOG_STR("what", "out of memory"));
        return;
    }
    if (!texts_eq(&s->conf->redact.patterns, &conf->redact.patterns))
        redact_begin(s, conf);
    site_own_config(site, conf); /* requests under way point into the one they began with */
    (void)config_diff_fixed(s->conf, conf, on_fixed_option, NULL);
    tls_take_over(s, conf);
    front = front_conf_of(s, conf);
    for (size_t i = 0; i < s->workers_n; i++)
        worker_set_site(s->workers[i], site, &front);
    site_unref(s->site);
    s->site = site;
    s->conf = conf;
    take_over_access(s);
    keys_reload(s, conf);
    log_opened(log_open(&conf->log.conf));
    log_event(LOG_INFO, "reloaded");
}

static void on_reload_signal(void *arg, int signum)
{
    struct server *s = arg;
    struct config_report report = CONFIG_REPORT_INIT;
    struct config *conf = NULL;
    int r = config_reload(s->conf, &conf, &report);

    (void)signum;
    report_faults(&report);
    config_report_done(&report);
    if (r < 0)
        log_event(LOG_ERROR, "reload_failed", LOG_STR("what", "the running configuration stays in force"));
    else
        take_over(s, conf);
}

static void on_log_signal(void *arg, int signum)
{
    (void)arg;
    (void)signum;
    log_opened(log_reopen());
}

static void on_sweep(void *arg)
{
    struct server *s = arg;

    if (s->memory)
        (void)store_mem_sweep(s->memory, clock_wall_ms(), SWEEP_BUDGET_US);
    tiers_watch(s->store, &s->alerts, clock_mono_ms());
    ledger_watch(s);
}

static void on_sample(void *arg)
{
    struct server *s = arg;

    monitor_sample(s->monitor, clock_wall_ms(), clock_mono_ms());
    watch_judge(s->watch, monitor_history(s->monitor), s->conf);
}

static void on_idle(void *arg)
{
    struct server *s = arg;

    admin_settle(s->admin);
    log_flush();
}

static int watch_signals(struct server *s)
{
    int r = loop_on_signal(s->loop, SIGTERM, on_end_signal, s);

    if (r == 0)
        r = loop_on_signal(s->loop, SIGINT, on_end_signal, s);
    if (r == 0)
        r = loop_on_signal(s->loop, SIGHUP, on_reload_signal, s);
    if (r == 0)
        r = loop_on_signal(s->loop, SIGUSR1, on_log_signal, s);
    return r;
}

/* Signals are the main thread's alone: @how is SIG_BLOCK or SIG_UNBLOCK, and threads inherit it. While parts
 * are taken down nobody listens for them any more; one that comes then, as from an impatient supervisor, must
 * not turn a clean end into a death by signal. */
static void set_signals(int how)
{
    sigset_t watched;

    (void)sigemptyset(&watched);
    (void)sigaddset(&watched, SIGTERM);
    (void)sigaddset(&watched, SIGINT);
    (void)sigaddset(&watched, SIGHUP);
    (void)sigaddset(&watched, SIGUSR1);
    (void)pthread_sigmask(how, &watched, NULL);
}

static void on_no_work(struct loop_work *w)
{
    (void)w;
}

/* Every other thread there will be: the workers, and the pool, which begins with its first work. Where they
 * want all the cores, who asks the admin listener waits, not who asks for answers; a core that is free is the
 * main thread's as ever. */
static int start_threads(struct server *s)
{
    int r = 0;

    set_signals(SIG_BLOCK);
    s->first_work = (struct loop_work){.on_work = on_no_work, .on_done = on_no_work};
    loop_work_start(s->loop, &s->first_work);
    for (size_t i = 0; r == 0 && i < s->workers_n; i++)
        r = worker_start(s->workers[i]);
    set_signals(SIG_UNBLOCK);
    process_thread_yield(YIELD_BY);
    return r;
}

static int start(struct server *s)
{
    AUTO(buf_done) struct buf proxy = BUF_INIT(256), admin = BUF_INIT(256);
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
        r = build_admin(s, &admin);
    if (r == 0)
        r = build_workers(s, &proxy);
    if (r == 0)
        r = watch_signals(s);
    if (r < 0)
        return r;
    s->deadline = loop_timer_new(s->loop, on_deadline, s);
    s->sweep = loop_timer_new(s->loop, on_sweep, s);
    loop_timer_start(s->sweep, SWEEP_EVERY_MS, SWEEP_EVERY_MS);
    s->sample = loop_timer_new(s->loop, on_sample, s);
    loop_timer_start(s->sample, s->conf->monitoring.sample_every_ms, s->conf->monitoring.sample_every_ms);
    loop_on_idle(s->loop, on_idle, s);
    r = start_threads(s);
    if (r == 0)
        log_event(LOG_INFO, "listening", LOG_SLICE("proxy", buf_slice(&proxy)),
                  LOG_SLICE("admin", buf_slice(&admin)), LOG_INT("workers", s->workers_n),
                  LOG_STR("version", REFRAIN_VERSION));
    return r;
}

/* What the tiers below memory have still to be told takes no longer than the drain might have. */
static void stop(struct server *s)
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

static void raise_descriptor_limit(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim); /* fewer connections then */
    }
}

int serve_run(const struct config *conf)
{
    struct server *s = calloc(1, sizeof(*s));
    int r = s ? log_open(&conf->log.conf) : -ENOMEM;

    if (!s)
        return 2;
    if (conf->redact.patterns.n > 0)
        redact_begin(s, conf);
    s->conf = s->begun_with = conf;
    (void)signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    if (r < 0)
        complain("log.file cannot be opened", conf->log.conf.file, r);
    else
        r = start(s);
    if (r == 0) {
        loop_run(s->loop);
        log_event(LOG_INFO, "stopped");
    }
    set_signals(SIG_BLOCK);
    stop(s);
    log_flush();
    redact_end(s);
    log_close();
    free(s);
    return r < 0 ? 2 : 0;
}
