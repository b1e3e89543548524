#include "site_build.h"

#include <stdlib.h>

#include "config.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/digest.h"

/* The site and all that it points at, freed together. */
struct build {
    struct site site;
    struct header_table *headers;
    struct site_route *routes;
    struct site_upstream *upstreams;
    struct slice *ignored[OP_COUNT]; /* of canon rules: the dialect's and the operator's */
};

static void build_free(void *owner)
{
    struct build *b = owner;

    header_table_free(b->headers);
    free(b->routes);
    for (size_t i = 0; b->upstreams && i < b->site.upstreams_n; i++)
        breakers_leave(b->upstreams[i].breakers);
    free(b->upstreams);
    for (size_t i = 0; i < OP_COUNT; i++)
        free(b->ignored[i]);
    free(b);
}

static void add_names(struct sha256 *sum, uint8_t tag, const char *const *names)
{
    for (; names && *names; names++)
        sha256_add_field(sum, tag, slice_str(*names));
}

/* Whatever configuration changes in a forwarded request may change its answer. */
static struct digest alterations(const struct upstream_conf *u)
{
    struct sha256 *sum = sha256_new();
    struct digest d;

    sha256_begin(sum);
    sha256_add_field(sum, 1, slice_str(u->url));
    add_names(sum, 2, u->headers_add);
    add_names(sum, 3, u->headers_remove);
    d = sha256_end(sum);
    sha256_free(sum);
    return d;
}

static int64_t own_or(int64_t own_s, int64_t inherited_s)
{
    return own_s == STALE_INHERIT ? inherited_s : own_s;
}

static bool build_upstream(struct site_upstream *u, const struct upstream_section *conf,
                           const struct site_parts *parts)
{
    u->conf = conf->conf;
    u->alters = alterations(&conf->conf);
    u->breakers = breakers_take(parts->breakers, conf->conf.name, &conf->breaker, clock_mono_ms());
    return u->breakers;
}

static bool build_routes(struct build *b, const struct config *conf, const struct site_parts *parts)
{
    b->routes = calloc(conf->routes_n + 1, sizeof(*b->routes));
    b->upstreams = calloc(conf->upstreams_n + 1, sizeof(*b->upstreams));
    if (!b->routes || !b->upstreams)
        return false;
    b->site.upstreams = b->upstreams;
    b->site.upstreams_n = conf->upstreams_n;
    for (size_t i = 0; i < conf->upstreams_n; i++)
        if (!build_upstream(&b->upstreams[i], &conf->upstreams[i], parts))
            return false;
    for (size_t i = 0; i < conf->routes_n; i++) {
        const struct route_conf *r = &conf->routes[i];

        b->routes[i] = (struct site_route){
            .prefix = slice_str(r->path),
            .upstream = r->upstream_at,
            .strip_prefix = r->strip_prefix,
            .ttl_s = r->ttl_s,
            .heuristic = r->heuristic,
            .stale_while_revalidate_s =
                own_or(r->stale_while_revalidate_s, conf->cache.stale_while_revalidate_s),
            .stale_if_error_s = own_or(r->stale_if_error_s, conf->cache.stale_if_error_s),
        };
    }
    b->site.routes = b->routes;
    b->site.routes_n = conf->routes_n;
    return true;
}

static bool build_operation(struct build *b, const struct config *conf, enum operation op)
{
    const struct dialect *d = dialect_of(op);
    struct canon_rules *rules = &b->site.canon[op];
    const struct text_list *more = &conf->key.ignore_fields;
    struct slice *all = calloc(d->canon.ignored_n + more->n + 1, sizeof(*all));

    if (!all)
        return false;
    b->ignored[op] = all;
    for (size_t i = 0; i < d->canon.ignored_n; i++)
        all[i] = d->canon.ignored[i];
    for (size_t i = 0; i < more->n; i++)
        all[d->canon.ignored_n + i] = more->at[i];
    *rules = d->canon;
    rules->ignored = all;
    rules->ignored_n = d->canon.ignored_n + more->n;
    b->site.ttl_s[op] = config_ttl_s(conf, d->name);
    return true;
}

static struct header_names names_of(const struct text_list *list)
{
    return (struct header_names){list->at, list->n};
}

static void build_values(struct site *s, const struct config *conf, const struct site_parts *parts)
{
    bool shared = conf->cache.scope == SCOPE_SHARED;

    s->ttl_max_s = conf->cache.max_ttl_s;
    s->keep_stale_s = conf->cache.keep_stale_s;
    s->variants_max = conf->cache.variants_max;
    s->ask = (struct ask_conf){
        .client_control = conf->cache.client_control,
        .shared_scope = shared,
        .allow_custom_key = conf->cache.custom_keys,
        .allow_ttl_none = conf->cache.endless_ttl,
        .ttl_max_s = conf->cache.max_ttl_s,
    };
    s->gate = (struct gate_conf){
        .object_bytes_max = conf->cache.object_bytes_max,
        .respect_upstream_cache_control = conf->cache.respect_upstream_cache_control,
    };
    s->scope = (struct key_scope){
        .mode = shared                               ? KEY_SCOPE_SHARED
                : conf->cache.scope == SCOPE_HEADERS ? KEY_SCOPE_HEADERS
                                                     : KEY_SCOPE_CREDENTIAL,
        .headers = conf->cache.scope_headers.at,
        .headers_n = conf->cache.scope_headers.n,
        .secret = parts->secret,
    };
    s->key_body_bytes_max = conf->key.body_bytes_max;
    s->body_bytes_max = conf->listen.body_bytes_max;
    s->namespace_ = slice_str(conf->cache.namespace_);
    s->max_wait_ms = conf->coalescing.max_wait_ms;
    s->coalesce = conf->coalescing.enabled;
    s->finish_abandoned = conf->coalescing.on_abandon == ABANDON_FINISH;
    s->log_requests = conf->log.requests;
    s->memory = parts->memory;
    s->flights = parts->flights;
    s->limits = parts->limits;
}

struct site *site_build(const struct config *conf, const struct site_parts *parts)
{
    struct build *b = calloc(1, sizeof(*b));
    bool ok;

    if (!b)
        return NULL;
    b->site.refs = 1;
    b->site.owner = b;
    b->site.owner_free = build_free;
    b->headers = header_table_new(names_of(&conf->key.ignore_headers), names_of(&conf->redact.headers));
    b->site.headers = b->headers;
    build_values(&b->site, conf, parts);
    ok = b->headers && build_routes(b, conf, parts);
    for (enum operation op = 0; ok && op < OP_COUNT; op++)
        ok = build_operation(b, conf, op);
    if (!ok) {
        build_free(b);
        return NULL;
    }
    return &b->site;
}
