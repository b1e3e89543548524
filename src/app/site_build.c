#include "site_build.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "refrain/base/clock.h"
#include "refrain/base/digest.h"
#include "refrain/http/clients.h"
#include "site_build_priv.h"

enum { OWN_NAMES_MAX = 1 << 20 };

static void build_free(void *owner)
{
    struct build *b = owner;

    header_table_free(b->headers);
    free(b->routes);
    free(b->event_rules);
    for (size_t i = 0; b->upstreams && i < b->site.upstreams_n; i++)
        breakers_leave(b->upstreams[i].breakers);
    free(b->upstreams);
    free(b->refused_us);
    roster_free(b->roster);
    free(b->rules);
    free(b->rule_headers);
    free(b->scopes);
    free(b->own);
    free(b->prices);
    free(b->reads);
    buf_done(&b->own_names);
    free(b->finishes);
    for (size_t i = 0; i < OP_COUNT; i++)
        free(b->ignored[i]);
    config_free(b->conf);
    free(b);
}

/* -- upstreams and routes -- */

static void add_names(struct sha256 *sum, uint8_t tag, const char *const *names)
{
    for (; names && *names; names++)
        sha256_add_field(sum, tag, slice_str(*names));
}

static int compare_names(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    int order = strncasecmp(x->data, y->data, x->len < y->len ? x->len : y->len);

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* In whatever order they are written down; header names in whatever case. */
static void add_list(struct sha256 *sum, uint8_t tag, const struct text_list *list, bool any_case)
{
    struct slice *sorted = calloc(list->n + 1, sizeof(*sorted));

    if (!sorted)
        abort(); /* as small as the configuration */
    if (list->n > 0)
        memcpy(sorted, list->at, list->n * sizeof(*sorted));
    qsort(sorted, list->n, sizeof(*sorted), compare_names);
    for (size_t i = 0; i < list->n; i++) {
        AUTO(buf_done) struct buf name = BUF_INIT(SIZE_MAX / 2);

        if (buf_add_slice(&name, sorted[i]) < 0)
            abort();
        for (size_t k = 0; any_case && k < name.len; k++)
            name.data[k] = (char)tolower((unsigned char)name.data[k]);
        sha256_add_field(sum, tag, buf_slice(&name));
    }
    free(sorted);
}

/* Whatever configuration changes in a forwarded request may change its answer. And what it leaves out of keys
 * lets requests share answers that would not without, while what it leaves out of what is stored is not to be
 * given out: what was stored otherwise is not found once it says so.
 */
static struct digest alterations(const struct upstream_conf *u, const struct config *conf, bool zero_usage)
{
    struct sha256 *sum = sha256_new();
    struct digest d;

    sha256_begin(sum);
    sha256_add_field(sum, 1, slice_str(u->url));
    add_names(sum, 2, u->headers_add);
    add_names(sum, 3, u->headers_remove);
    add_list(sum, 4, &conf->key.ignore_fields, false);
    add_list(sum, 5, &conf->key.ignore_headers, true);
    if (u->credential) { /* that it is ours, and where it stands; another one of the same account is as good
                          */
        struct slice name = slice_str(u->credential);

        sha256_add_field(sum, 6, slice_cut(&name, ':'));
    }
    if (zero_usage)
        sha256_add_field(sum, 7, SLICE_OF("usage"));
    add_list(sum, 8, &conf->redact.headers, true);
    d = sha256_end(sum);
    sha256_free(sum);
    return d;
}

static int64_t own_or(int64_t own_s, int64_t inherited_s)
{
    return own_s == STALE_INHERIT ? inherited_s : own_s;
}

static bool build_upstream(struct site_upstream *u, const struct upstream_section *conf,
                           const struct config *whole, const struct site_parts *parts)
{
    u->conf = conf->conf;
    u->alters = alterations(&conf->conf, whole, false);
    u->alters_zero = alterations(&conf->conf, whole, true);
    u->retry = conf->retry;
    u->takes_controls = conf->control_headers == CONTROLS_PASS;
    u->breakers =
        breakers_take(parts->breakers, conf->conf.name, conf->conf.url, &conf->breaker, clock_mono_ms());
    return u->breakers;
}

static bool build_routes(struct build *b, const struct config *conf, const struct site_parts *parts)
{
    b->routes = calloc(conf->routes_n + 1, sizeof(*b->routes));
    b->upstreams = calloc(conf->upstreams_n + 1, sizeof(*b->upstreams));
    b->refused_us = calloc(conf->upstreams_n + 1, sizeof(*b->refused_us));
    if (!b->routes || !b->upstreams || !b->refused_us)
        return false;
    b->site.upstreams = b->upstreams;
    b->site.upstreams_n = conf->upstreams_n;
    for (size_t i = 0; i < conf->upstreams_n; i++) {
        b->upstreams[i].refused_us = &b->refused_us[i];
        if (!build_upstream(&b->upstreams[i], &conf->upstreams[i], conf, parts))
            return false;
    }
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

/* -- shipped operations, and what may be stored -- */

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

_Static_assert((int)TTL_NEVER == (int)GATE_TTL_NEVER, "one word for what is not stored");

static bool build_gate(struct build *b, const struct config *conf)
{
    const struct validation_conf *v = &conf->validation;

    b->finishes = calloc(v->finish_reasons_n + 1, sizeof(*b->finishes));
    if (!b->finishes)
        return false;
    for (size_t i = 0; i < v->finish_reasons_n; i++)
        b->finishes[i] =
            (struct gate_finish){slice_str(v->finish_reasons[i].name), v->finish_reasons[i].ttl_s};
    b->site.gate = (struct gate_conf){
        .object_bytes_max = conf->cache.object_bytes_max,
        .respect_upstream_cache_control = conf->cache.respect_upstream_cache_control,
        .statuses = v->statuses.at,
        .statuses_n = v->statuses.n,
        .finishes = b->finishes,
        .finishes_n = v->finish_reasons_n,
    };
    return true;
}

static struct header_names names_of(const struct text_list *list)
{
    return (struct header_names){list->at, list->n};
}

struct key_scope site_build_scope(enum cache_scope scope, const struct text_list *headers,
                                  const struct site_parts *parts)
{
    static const enum key_scope_mode modes[] = {
        [SCOPE_CREDENTIAL] = KEY_SCOPE_CREDENTIAL,
        [SCOPE_SHARED] = KEY_SCOPE_SHARED,
        [SCOPE_HEADERS] = KEY_SCOPE_HEADERS,
    };

    return (struct key_scope){
        .mode = modes[scope], .headers = headers->at, .headers_n = headers->n, .secret = parts->secret};
}

/* -- clients -- */

/* Checked when it was read. */
static void digest_of_hex(struct slice hex, struct digest *out)
{
    for (size_t i = 0; i < sizeof(out->bytes); i++) {
        char pair[3] = {hex.data[2 * i], hex.data[2 * i + 1], '\0'};

        out->bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static struct client_conf client_of(const struct client_section *c, struct digest *tokens)
{
    struct slice name = slice_str(c->name);
    bool shared = c->scope && strcmp(c->scope, "shared") == 0;

    for (size_t i = 0; i < c->token_sha256.n; i++)
        digest_of_hex(c->token_sha256.at[i], &tokens[i]);
    return (struct client_conf){
        .name = name,
        .tokens = tokens,
        .tokens_n = c->token_sha256.n,
        .scope = shared     ? (struct slice){NULL, 0}
                 : c->scope ? slice_str(c->scope)
                            : name,
        .scope_given = c->scope != NULL,
        .shared = shared,
        .namespace_ = slice_str(c->namespace_),
        .requests_per_minute = c->requests_per_minute,
        .max_concurrent = c->max_concurrent,
        .limit_hits = c->limit_hits,
    };
}

static bool build_clients(struct build *b, const struct config *conf, const struct site_parts *parts)
{
    size_t n = conf->clients_n, tokens_n = 0;
    struct client_conf *confs = calloc(n + 1, sizeof(*confs));
    struct digest *tokens;

    for (size_t i = 0; i < n; i++)
        tokens_n += conf->clients[i].token_sha256.n;
    tokens = calloc(tokens_n + 1, sizeof(*tokens));
    tokens_n = 0;
    for (size_t i = 0; confs && tokens && i < n; i++) {
        confs[i] = client_of(&conf->clients[i], tokens + tokens_n);
        tokens_n += conf->clients[i].token_sha256.n;
    }
    if (confs && tokens && n > 0)
        b->roster = roster_new(parts->clients, confs, n);
    b->site.roster = b->roster;
    free(confs);
    free(tokens);
    return n == 0 || b->roster;
}

/* -- prices -- */

static uint64_t price_or(int64_t pico, uint64_t input_pico)
{
    return pico == PRICE_OF_INPUT ? input_pico : (uint64_t)pico;
}

/* A row for each glob. */
static bool build_prices(struct build *b, const struct config *conf)
{
    size_t n = 0;

    for (size_t i = 0; i < conf->pricing_n; i++)
        n += conf->pricing[i].models.n;
    b->prices = calloc(n + 1, sizeof(*b->prices));
    if (!b->prices)
        return false;
    b->site.pricing = (struct pricing){b->prices, n};
    n = 0;
    for (size_t i = 0; i < conf->pricing_n; i++) {
        const struct price_conf *p = &conf->pricing[i];

        for (size_t k = 0; k < p->models.n; k++)
            b->prices[n++] = (struct price){
                .models = p->models.at[k],
                .in_pico = p->in_pico,
                .out_pico = p->out_pico,
                .cached_pico = price_or(p->cached_pico, p->in_pico),
                .write_pico = price_or(p->write_pico, p->in_pico),
            };
    }
    return true;
}

/* -- all of it -- */

static void build_values(struct site *s, const struct config *conf, const struct site_parts *parts)
{
    s->ttl_max_s = conf->cache.max_ttl_s;
    s->lifetime = (struct lifetime_conf){
        .max_s = conf->cache.max_ttl_s,
        .sliding = conf->cache.ttl_mode == TTL_SLIDING,
        .max_lifetime_s = conf->cache.max_lifetime_s,
        .jitter_percent = conf->cache.ttl_jitter_percent,
    };
    s->keep_stale_s = conf->cache.keep_stale_s;
    s->reauth_ns = conf->cache.reauth_ms * 1000000;
    s->variants_max = conf->cache.variants_max;
    s->ask = (struct ask_conf){
        .client_control = conf->cache.client_control,
        .allow_custom_key = conf->cache.custom_keys,
        .allow_ttl_none = conf->cache.endless_ttl,
        .ttl_max_s = conf->cache.max_ttl_s,
    };
    s->scope = site_build_scope(conf->cache.scope, &conf->cache.scope_headers, parts);
    s->shared = (struct key_scope){.mode = KEY_SCOPE_SHARED, .secret = parts->secret};
    s->parted = (struct key_scope){.mode = KEY_SCOPE_CREDENTIAL, .secret = parts->secret};
    s->key_body_bytes_max = conf->key.body_bytes_max;
    s->body_bytes_max = conf->listen.body_bytes_max;
    s->namespace_ = slice_str(conf->cache.namespace_);
    s->max_wait_ms = conf->coalescing.max_wait_ms;
    s->zero_usage = conf->cache.usage_on_hit == USAGE_ZERO;
    s->coalesce = conf->coalescing.enabled;
    s->finish_abandoned = conf->coalescing.on_abandon == ABANDON_FINISH;
    s->log_requests = conf->log.requests;
    s->log_slow_ns = conf->log.slow_ms * 1000000;
    s->memory = parts->memory;
    s->store = parts->store;
    s->flights = parts->flights;
    s->recent = parts->recent;
    s->limits = parts->limits;
    s->proofs = parts->proofs;
    s->clients = parts->clients;
    s->fences = parts->fences;
    s->invalidator = parts->invalidator;
    s->targets = changes_key(parts->secret);
    s->events = parts->events;
    s->instances = parts->instances;
    if (conf->compression.memory)
        s->shrink_memory = (struct shrink_conf){conf->compression.threshold, (int)conf->compression.level};
}

struct site *site_build(const struct config *conf, const struct site_parts *parts)
{
    struct build *b = calloc(1, sizeof(*b));
    bool ok;

    if (!b)
        return NULL;
    b->own_names.max = OWN_NAMES_MAX;
    b->site.refs = 1;
    b->site.owner = b;
    b->site.owner_free = build_free;
    b->headers = header_table_new(names_of(&conf->key.ignore_headers), names_of(&conf->redact.headers));
    b->site.headers = b->headers;
    build_values(&b->site, conf, parts);
    ok = b->headers && build_routes(b, conf, parts) && build_gate(b, conf) &&
         site_build_rules(b, conf, parts) && build_clients(b, conf, parts) &&
         site_build_event_rules(b, conf) && site_build_own_operations(b, conf) && build_prices(b, conf);
    for (enum operation op = 0; ok && op < OP_COUNT; op++)
        ok = build_operation(b, conf, op);
    if (!ok) {
        build_free(b);
        return NULL;
    }
    return &b->site;
}

void site_own_config(struct site *s, struct config *conf)
{
    struct build *b = s->owner;

    b->conf = conf;
}
