/*
 * config - everything an operator can set, as plain values; from flags, environment, file, preset and
 * built-in defaults, the earlier of these winning. Only app knows this struct: a module is handed its own
 * struct of plain values.
 *
 * What can be set is one row each in config_table*.c; from there come parser, `config show`, the reference
 * page and the JSON schema. Strings are NUL-terminated, NULL when not set, and live as long as the config.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "option.h"
#include "refrain/base/log.h"
#include "refrain/base/slice.h"
#include "refrain/base/tls.h"
#include "refrain/http/breakers.h"
#include "refrain/http/upstream.h"
#include "refrain/ops/alerts.h"
#include "refrain/store/redis.h"
#include "refrain/store/redis_url.h"
#include "refrain/store/store_mem.h"

struct text_list {
    const struct slice *at; /* each NUL-terminated, too */
    size_t n;
};

/* A secret, given as text or as the file it lies in: text is what the file held, without white space at its
 * ends. */
struct secret_conf {
    const char *text;
    const char *file;
};

struct listen_conf {
    const char *address; /* address_parse() takes it */
    struct tls_conf tls; /* cert_file NULL: plain; so of admin */
    unsigned workers;    /* 0: one a core */
    uint64_t header_bytes_max;
    uint64_t body_bytes_max; /* 0: no bound */
    unsigned connections_max;
    unsigned connections_per_address_max; /* 0: no bound */
    uint64_t buffered_bytes_max;
    int64_t header_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t slow_reader_timeout_ms;
    uint64_t body_bytes_min_rate; /* bytes a second, once body_grace_ms are over; 0: none asked */
    int64_t body_grace_ms;
    int64_t drain_timeout_ms; /* how long a shutdown waits for what runs */
};

struct admin_conf {
    const char *address;
    struct tls_conf tls;
    struct secret_conf token;
    struct text_list hosts;   /* names that requests of the API may come under */
    unsigned recent_requests; /* that explain may compare with; 0: none */
};

struct upstream_section {
    struct upstream_conf conf;     /* as upstream_start() takes it */
    struct secret_conf credential; /* as conf.credential, without the name of its field */
    enum { SENT_AS_BEARER, SENT_AS_X_API_KEY, SENT_AS_API_KEY, SENT_AS_X_GOOG_API_KEY } credential_header;
    struct breakers_conf breaker;
    enum { CONTROLS_STRIP, CONTROLS_PASS } control_headers; /* of other gateways */
    struct text_list retry_on;                              /* names of causes, … */
    struct retry_conf retry;                                /* … as its bits */
};

/* Who may ask, where Refrain holds the credentials of upstreams (http/clients.h). */
struct client_section {
    const char *name;
    struct text_list token_sha256;                /* 64 hexadecimal digits each */
    const char *scope;                            /* a name, or "shared"; NULL: its own name */
    const char *namespace_;                       /* NULL: as its requests and rules say */
    unsigned requests_per_minute, max_concurrent; /* 0: no bound */
    bool limit_hits;
};

struct route_conf {
    const char *path;     /* prefix of the raw path: "/openai/" */
    const char *upstream; /* its name */
    size_t upstream_at;   /* its index in upstreams */
    bool strip_prefix;
    int64_t ttl_s;                                      /* for GET without freshness of its own; 0: none */
    bool heuristic;                                     /* guess it where neither says */
    int64_t stale_while_revalidate_s, stale_if_error_s; /* STALE_INHERIT */
};

enum { STALE_INHERIT = -1 }; /* a route's window: the cache's */

enum cache_scope {
    SCOPE_CREDENTIAL,
    SCOPE_SHARED,
    SCOPE_HEADERS, /* those in scope_headers */
};

enum {
    TTL_NONE = -2,  /* a lifetime without end, as ASK_TTL_NONE */
    TTL_NEVER = -3, /* not stored at all, as GATE_TTL_NEVER */
};

struct named_ttl {
    const char *name;
    int64_t ttl_s;
};

struct cache_conf {
    int64_t default_ttl_s; /* TTL_NONE */
    int64_t max_ttl_s;
    enum { TTL_ABSOLUTE, TTL_SLIDING } ttl_mode;
    int64_t max_lifetime_s; /* of what slides */
    unsigned ttl_jitter_percent;
    int64_t stale_while_revalidate_s, stale_if_error_s; /* 0: not served stale */
    int64_t keep_stale_s;
    struct named_ttl *ttl; /* by operation; see config_ttl_s */
    size_t ttl_n;
    enum cache_scope scope;
    struct text_list scope_headers;
    struct secret_conf secret; /* the server's secret; neither: made once in state_dir */
    const char *state_dir;
    const char *namespace_;
    const char *prefix; /* of keys in Redis and on disk */
    bool respect_upstream_cache_control;
    bool client_control;
    bool custom_keys; /* leave for Refrain-Key under `scope: shared` */
    bool endless_ttl; /* leave for `Refrain-TTL: none` under `scope: shared` */
    uint64_t object_bytes_max;
    int64_t reauth_ms;
    unsigned variants_max; /* of one answer that varies */
    enum { USAGE_UPSTREAM, USAGE_ZERO } usage_on_hit;
};

enum { RANGE_ANY = -1 }; /* a bound that is not given */

struct rule_conf {
    struct {
        struct text_list paths, models; /* globs */
        struct text_list operations;
        const char *const *headers; /* "Name: glob" */
        enum maybe stream;
        int64_t temperature_above, temperature_below; /* thousandths */
        int64_t prompt_above, prompt_below;           /* characters */
        unsigned prompt;                              /* prompt_sizes: 0 any */
        int64_t messages_above, messages_below;
    } match;
    enum { CACHE_UNSAID, CACHE_ON, CACHE_OFF, CACHE_READ_ONLY, CACHE_WRITE_ONLY } cache;
    int64_t ttl_s; /* 0: not said; TTL_NONE */
    struct text_list tags;
    const char *namespace_;
    struct text_list scope_headers; /* as cache.scope; empty: not said */
    bool scope_given;
    enum cache_scope scope;
    unsigned variants;                                  /* 0: not said */
    int64_t stale_while_revalidate_s, stale_if_error_s; /* RANGE_ANY: not said */
    enum maybe server_tools;
    enum { RULE_USAGE_UNSAID, RULE_USAGE_UPSTREAM, RULE_USAGE_ZERO } usage_on_hit;
};

/* What an event from outside has go (http/event_rule.h). */
struct event_rule_conf {
    struct text_list events, tags, patterns, models, operations;
    const char *namespace_;
    bool all;
};

struct operation_conf {
    const char *name;
    struct text_list paths, models; /* globs */
    const char *dialect;            /* name of a shipped operation; NULL: its path's, else plain */
    int64_t ttl_s;                  /* 0: as without; TTL_NONE */
    struct text_list tags;
};

enum { PRICE_OF_INPUT = -1 };
struct price_conf {
    struct text_list models;         /* globs */
    uint64_t in_pico, out_pico;      /* 1e-12 dollars a token: millionths of a dollar a million of them */
    int64_t cached_pico, write_pico; /* the same, or PRICE_OF_INPUT */
};

struct key_conf {
    uint64_t body_bytes_max;
    struct text_list ignore_fields;
    struct text_list ignore_headers;
};

struct tier_memory_conf {
    bool enabled;
    uint64_t bytes_max;
    uint64_t entries_max; /* 0: no bound but bytes */
    enum eviction eviction;
};

struct tier_disk_conf {
    const char *path; /* NULL: off */
    uint64_t bytes_max;
    int64_t timeout_ms;
    uint64_t queue_bytes_max;
};

struct tier_redis_conf {
    const char *url;      /* NULL: the tier is off */
    struct redis_url at;  /* what it says */
    const char *username; /* these two: else the URL's */
    struct secret_conf password;
    const char *ca_file, *cert_file, *key_file, *server_name;
    bool verify;
    enum { TLS_MIN_1_2, TLS_MIN_1_3 } tls_min;
    int64_t connect_timeout_ms;
    int64_t timeout_ms;
    enum redis_cluster_mode cluster;
};

enum tiers_write { TIERS_WRITE_THROUGH, TIERS_WRITE_BEHIND };

struct tiers_conf {
    enum tiers_write write;
    int64_t write_behind_ms;
    uint64_t write_queue_bytes_max;
    struct tier_memory_conf memory;
    struct tier_disk_conf disk;
    struct tier_redis_conf redis;
};

struct compression_conf {
    uint64_t threshold; /* bodies of so many bytes */
    unsigned level;     /* 0: none is made smaller */
    bool memory;        /* in memory, too */
};

struct encryption_conf {
    struct secret_conf key; /* keys, as seal_keys_read takes them */
};

struct validation_conf {
    struct text_list statuses;        /* plain numbers */
    struct named_ttl *finish_reasons; /* TTL_NEVER: not stored */
    size_t finish_reasons_n;
};

enum on_abandon { ABANDON_CANCEL, ABANDON_FINISH };

struct coalescing_conf {
    bool enabled;
    enum on_abandon on_abandon;
    uint64_t flight_bytes_max;
    int64_t hit_for_miss_ms;
    int64_t max_wait_ms; /* 0: until upstream's own deadlines */
    bool cluster;        /* over all instances that share a Redis */
    int64_t cluster_lease_ms;
};

struct redact_conf {
    struct text_list headers;  /* of answers, never stored */
    struct text_list patterns; /* regular expressions: what is kept out of the log */
};

struct log_section {
    struct log_conf conf; /* for log_open() */
    bool requests;        /* a line a request */
    int64_t slow_ms;      /* and another one for those slower than this; 0: none */
};

struct monitoring_conf {
    int64_t sample_every_ms;
    int64_t slow_at_least_ms; /* what took less is never a slow request */
};

enum preset { PRESET_NONE, PRESET_DEVELOPMENT, PRESET_PRODUCTION, PRESET_TESTING };

struct config {
    struct listen_conf listen;
    struct admin_conf admin;
    struct upstream_section *upstreams;
    size_t upstreams_n;
    struct client_section *clients;
    size_t clients_n;
    struct route_conf *routes; /* first match wins */
    size_t routes_n;
    struct cache_conf cache;
    struct rule_conf *rules;
    size_t rules_n;
    struct event_rule_conf *event_rules;
    size_t event_rules_n;
    struct operation_conf *operations; /* the operator's own, and those shipped like them */
    size_t operations_n;
    struct price_conf *pricing; /* first match wins; those of pricing_file come last */
    size_t pricing_n;
    struct key_conf key;
    struct tiers_conf tiers;
    struct compression_conf compression;
    struct encryption_conf encryption;
    struct coalescing_conf coalescing;
    bool invalidation_strict;     /* nothing stored is served while other instances cannot be heard */
    struct breakers_conf breaker; /* what upstreams inherit that do not say otherwise */
    struct validation_conf validation;
    struct redact_conf redact;
    struct alerts_conf alerts;
    struct log_section log;
    struct monitoring_conf monitoring;
    const char *preset;           /* NULL: none */
    const char *pricing_file;     /* NULL: none; pricing has taken it up */
    const char *upstream;         /* the one-upstream form; upstreams and routes have taken it up */
    struct config_origin *origin; /* where it all came from: private to config_*.c */
};

/* What a `--set name=text` or its short forms gave. */
struct config_flag {
    const char *name; /* "tiers.memory.max_bytes" */
    const char *text;
    const char *shown; /* as the operator wrote it, for messages: "--set tiers.memory.max_bytes" */
};

struct config_sources {
    const char *file;       /* NULL: REFRAIN_CONFIG in env, else none */
    const char *const *env; /* NULL-terminated "NAME=text", as environ; NULL: none */
    const struct config_flag *flags;
    size_t flags_n;
    bool upstream_optional; /* for whoever only shows the configuration */
};

/* What is wrong, or merely unwise, with a configuration: all of it at once, in the order found. */
struct config_fault {
    bool warning;
    const char *text; /* "refrain.yaml:12: cache.default_tll: no such option; did you mean default_ttl?" */
};
struct config_report {
    struct config_fault *faults;
    size_t n, errors_n;
};
#define CONFIG_REPORT_INIT                                                                                   \
    {                                                                                                        \
        NULL, 0, 0                                                                                           \
    }
void config_report_done(struct config_report *r);

/**
 * Reads all of @sources into a new config. @report gets what is wrong; warnings also when all went well.
 * Errors: -EINVAL with at least one error in @report; -ENOMEM.
 * Ownership: *@out is the caller's, for config_free; @sources is copied, as config_reload needs it.
 */
int config_load(const struct config_sources *sources, struct config **out, struct config_report *report);
/** The same sources again, the file as it is now; for SIGHUP. Errors: as config_load. */
int config_reload(const struct config *old, struct config **out, struct config_report *report);
/** NULL is fine. */
void config_free(struct config *conf);

/** Calls @report for each option that @now has changed although it cannot change while running; returns how
 * many. Whoever takes @now over goes on with @old's value of these. */
size_t config_diff_fixed(const struct config *old, const struct config *now,
                         void (*report)(void *arg, const char *name, const char *was, const char *is),
                         void *arg);

/** Where Redis is and how it is spoken to, for every client of it in the process; its texts are @conf's.
 * conf->tiers.redis.url is given. */
struct redis_conf config_redis(const struct config *conf);

/** The operator's own operation of that name, or one shipped like it; NULL: there is none. */
const struct operation_conf *config_operation(const struct config *conf, const char *name);

/** Lifetime for an operation's answers: its own row, else the default. */
int64_t config_ttl_s(const struct config *conf, const char *operation);
