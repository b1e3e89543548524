#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_priv.h"
#include "refrain/base/address.h"
#include "refrain/base/attr.h"
#include "refrain/base/digest.h"
#include "refrain/http/clients.h"
#include "refrain/policy/ask.h"
#include "refrain/policy/pricing.h"
#include "refrain/policy/rule.h"
#include "refrain/store/seal.h"
#include "refrain/wire/canon.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"
#include "refrain/wire/redact.h"
#include "refrain/wire/tally.h"
#include "refrain/wire/template.h"

/* Values against each other: what cannot be served is an error, what is merely unwise a warning. */

static const struct origin *origin_of(const struct loading *l, const char *name)
{
    return &entry_of(l->conf, name)->origin;
}

static void warn(struct loading *l, const char *name, const char *what)
{
    report_warning(l->report, origin_of(l, name), name, "%s", what);
}

static void fail(struct loading *l, const char *name, const char *what)
{
    report_error(l->report, origin_of(l, name), name, "%s", what);
}

static void judge_listeners(struct loading *l)
{
    static const char exposed[] =
        "whoever reaches the listener is given stored answers, whatever credential they bring";
    const struct config *c = l->conf;
    struct address listen, admin;

    if (address_parse(slice_str(c->listen.address), &listen) < 0 ||
        address_parse(slice_str(c->admin.address), &admin) < 0)
        return; /* defaults parse, and what was given was checked */
    if (strcmp(c->listen.address, c->admin.address) == 0 &&
        !slice_ends(slice_str(c->admin.address), SLICE_OF(":0")))
        fail(l, "admin.address", "the same as listen.address; they need one each");
    if (!address_is_local(&admin) && !c->admin.token.text)
        fail(l, "admin.address",
             "reachable from other machines, so admin.token or admin.token_file must be given");
    if (c->admin.token.text && strlen(c->admin.token.text) < 16)
        warn(l, "admin.token", "shorter than 16 characters: easily guessed");
    if (address_is_local(&listen) || c->clients_n > 0)
        return;
    if (c->cache.scope == SCOPE_SHARED)
        warn(l, "cache.scope", exposed);
    for (size_t i = 0; i < c->rules_n; i++)
        if (c->rules[i].scope_given && c->rules[i].scope == SCOPE_SHARED)
            warn(l, pool_printf(l->pool, "rules[%zu].scope", i), exposed);
}

/* A header by such a name hardly exists, and where it does not, everybody would share everything. */
static bool is_slip_of(struct slice wrote, struct slice word)
{
    unsigned distance;

    return slice_ieq(wrote, word) || text_is_near(wrote, word, &distance);
}

static void judge_scope_header(struct loading *l, const char *name, struct slice header)
{
    static const char *const words[] = {"credential", "shared"};

    if (!header_name_ok(header))
        report_error(l->report, origin_of(l, name), name,
                     "expected credential, shared or a list of header names, got %s", header.data);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (is_slip_of(header, slice_str(words[i])))
            report_error(l->report, origin_of(l, name), name,
                         "%s would be the header that tells callers apart; did you mean %s?", header.data,
                         words[i]);
}

/* The words of @list, the option @name, taken for what they mean. */
static enum cache_scope judge_scope(struct loading *l, const char *name, struct text_list *list)
{
    enum cache_scope scope = SCOPE_HEADERS;

    for (size_t i = 0; i < list->n; i++) {
        bool is_word =
            slice_eq(list->at[i], SLICE_OF("credential")) || slice_eq(list->at[i], SLICE_OF("shared"));

        if (is_word && list->n == 1)
            scope = slice_eq(list->at[i], SLICE_OF("shared")) ? SCOPE_SHARED : SCOPE_CREDENTIAL;
        else if (is_word)
            report_error(l->report, origin_of(l, name), name,
                         "expected credential, shared or a list of header names, got %s", list->at[i].data);
        else
            judge_scope_header(l, name, list->at[i]);
    }
    if (scope != SCOPE_HEADERS)
        list->n = 0;
    return scope;
}

static void judge_cache_scope(struct loading *l)
{
    struct cache_conf *c = &l->conf->cache;

    if (c->scope_headers.n == 0)
        fail(l, "cache.scope", "expected credential, shared or a list of header names, got an empty list");
    c->scope = judge_scope(l, "cache.scope", &c->scope_headers);
}

/* An operator may know better, of an operation of his own: no error. */
static void judge_ignored_fields(struct loading *l)
{
    const struct text_list *fields = &l->conf->key.ignore_fields;

    for (size_t i = 0; i < fields->n; i++)
        if (canon_is_asked(fields->at[i]))
            report_warning(l->report, origin_of(l, "key.ignore_fields"), "key.ignore_fields",
                           "%s is what is asked: requests that differ in it alone would be given each "
                           "other's answers",
                           fields->at[i].data);
}

static void judge_lifetimes(struct loading *l)
{
    const struct cache_conf *c = &l->conf->cache;

    if (c->default_ttl_s > c->max_ttl_s)
        warn(l, "cache.default_ttl",
             "longer than cache.max_ttl, which bounds what requests ask for, not this");
    if (c->ttl_mode == TTL_SLIDING && c->default_ttl_s >= c->max_lifetime_s)
        warn(l, "cache.max_lifetime", "not longer than cache.default_ttl, so nothing slides");
    for (size_t i = 0; i < c->ttl_n; i++) {
        enum operation op = operation_by_name(slice_str(c->ttl[i].name));

        if ((op == OP_COUNT || op == OP_PASS) && !config_operation(l->conf, c->ttl[i].name))
            report_warning(l->report, origin_of(l, "cache.ttl"), "cache.ttl",
                           "%s is no operation that is known, so nothing has this lifetime", c->ttl[i].name);
    }
}

/* One of the names by which answers end, as far as any API that is known is concerned. */
static struct slice finish_name(size_t i)
{
    if (i < FINISH_KIND_COUNT)
        return slice_str(finish_kind_name((enum finish_kind)i));
    i -= FINISH_KIND_COUNT;
    for (enum operation op = 0; op < OP_COUNT; i -= dialect_of(op)->finishes_n, op++)
        if (i < dialect_of(op)->finishes_n)
            return dialect_of(op)->finishes[i].text;
    return (struct slice){NULL, 0};
}

/* APIs bring new words at any time, so one that is not known is no fault; but it may be a slip. */
static void judge_finish_name(struct loading *l, const char *wrote)
{
    struct slice best = {NULL, 0}, name;
    unsigned least = UINT_MAX, distance;

    for (size_t i = FINISH_NONE + 1; (name = finish_name(i)).data; i++) {
        if (slice_ieq(name, slice_str(wrote)))
            return;
        if (text_is_near(slice_str(wrote), name, &distance) && distance < least) {
            least = distance;
            best = name;
        }
    }
    if (best.data)
        report_warning(l->report, origin_of(l, "validation.finish_reasons"), "validation.finish_reasons",
                       "no answer is known to end by %s; did you mean %.*s?", wrote, (int)best.len,
                       best.data);
}

static void judge_validation(struct loading *l)
{
    const struct validation_conf *v = &l->conf->validation;
    const struct text_list *statuses = &v->statuses;

    for (size_t i = 0; i < v->finish_reasons_n; i++)
        judge_finish_name(l, v->finish_reasons[i].name);

    for (size_t i = 0; i < statuses->n; i++)
        if (slice_eq(statuses->at[i], SLICE_OF("206")))
            fail(l, "validation.statuses", "206 is a part of an answer, which is never stored");
    if (statuses->n == 0)
        warn(l, "validation.statuses", "an empty list: no answer to POST is ever stored");
}

static bool has_lower_tier(const struct config *c)
{
    return (c->tiers.disk.path && c->tiers.disk.path[0]) || c->tiers.redis.url;
}

/* It may yet be made before Refrain starts, or be another machine's: no error. */
static void judge_disk(struct loading *l)
{
    const char *path = l->conf->tiers.disk.path, *slash = path ? strrchr(path, '/') : NULL;
    char directory[PATH_MAX];
    struct stat st;

    if (!path || !path[0])
        return;
    (void)snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path + 1) : 1,
                   slash ? path : ".");
    if (path[0] != '/')
        warn(l, "tiers.disk.path", "not from the root on: it lies where Refrain happens to be started");
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        warn(l, "tiers.disk.path", "a directory; expected the name of a file, such as cache.db in it");
    else if (stat(directory, &st) < 0)
        report_warning(l->report, origin_of(l, "tiers.disk.path"), "tiers.disk.path", "%s: %s", directory,
                       strerror(errno));
    else if (access(directory, W_OK) < 0)
        report_warning(l->report, origin_of(l, "tiers.disk.path"), "tiers.disk.path",
                       "%s cannot be written by who checks this", directory);
}

static void judge_sizes(struct loading *l)
{
    const struct config *c = l->conf;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    if (c->tiers.memory.enabled && c->cache.object_bytes_max > c->tiers.memory.bytes_max / 4)
        warn(l, "cache.max_object_bytes",
             "more than a quarter of tiers.memory.max_bytes: single answers push out all others");
    if (c->coalescing.flight_bytes_max < c->cache.object_bytes_max)
        warn(l, "coalescing.flight_max_bytes",
             "less than cache.max_object_bytes: larger answers are never stored");
    if (pages > 0 && page > 0 && c->tiers.memory.bytes_max / 4 * 5 > (uint64_t)pages * (uint64_t)page)
        warn(l, "tiers.memory.max_bytes", "more than four fifths of this machine's memory");
    if (c->coalescing.cluster && !c->tiers.redis.url)
        report_error(l->report, &entry_of(l->conf, "coalescing.cluster")->origin, "coalescing.cluster",
                     "instances find each other by Redis: tiers.redis.url");
    if (c->coalescing.cluster && !c->coalescing.enabled)
        warn(l, "coalescing.cluster", "of no effect while coalescing.enabled is false");
    if (has_lower_tier(c) && c->tiers.write_queue_bytes_max < c->cache.object_bytes_max)
        warn(l, "tiers.write_queue_max_bytes",
             "less than cache.max_object_bytes: larger answers never reach the tiers below memory");
    if (!c->tiers.memory.enabled && !has_lower_tier(c))
        warn(l, "tiers.memory.enabled",
             c->coalescing.enabled ? "no tier is left: nothing is stored"
                                   : "no tier and no coalescing: nothing is left for Refrain to do");
}

/* -- rules and operations -- */

static bool is_own_operation(const struct config *c, const char *name)
{
    return config_operation(c, name) != NULL;
}

static bool is_shipped_operation(const char *name)
{
    enum operation op = operation_by_name(slice_str(name));

    return op != OP_COUNT && op != OP_PASS;
}

static void nearest(const char *wrote, const char *candidate, unsigned *best, const char **out)
{
    unsigned distance;

    if (text_is_near(slice_str(wrote), slice_str(candidate), &distance) && distance < *best) {
        *out = candidate;
        *best = distance;
    }
}

/* The operation that may have been meant; NULL: none. */
static const char *nearest_operation(const struct config *c, const char *wrote, bool own, bool shipped)
{
    const char *meant = NULL;
    unsigned best = 1000;

    for (enum operation op = 0; shipped && op < OP_COUNT; op++)
        if (op != OP_PASS)
            nearest(wrote, dialect_of(op)->name, &best, &meant);
    for (size_t i = 0; own && i < c->operations_n; i++)
        nearest(wrote, c->operations[i].name, &best, &meant);
    return meant;
}

static void no_such_operation(struct loading *l, const char *name, const char *wrote, bool own)
{
    const char *meant = nearest_operation(l->conf, wrote, own, true);

    report_error(l->report, origin_of(l, name), name, "no operation is named %s%s%s%s", wrote,
                 meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

static void judge_tags(struct loading *l, const char *name, const struct text_list *tags)
{
    if (tags->n > ASK_TAGS_MAX)
        report_error(l->report, origin_of(l, name), name, "at most %d tags, got %zu", ASK_TAGS_MAX, tags->n);
    for (size_t i = 0; i < tags->n; i++)
        if (!ask_tag_ok(tags->at[i]))
            report_error(l->report, origin_of(l, name), name,
                         "a tag is 1 to 64 of: A-Z a-z 0-9 . _ - : / @ + =, got %s", tags->at[i].data);
}

static void judge_range(struct loading *l, const char *name, int64_t above, int64_t below)
{
    if (above != RANGE_ANY && below != RANGE_ANY && above >= below)
        warn(l, name, "nothing is above the one and below the other: the rule never matches");
}

/* Globs are held against a path, which begins with a slash. */
static void judge_paths(struct loading *l, const char *name, const struct text_list *globs)
{
    for (size_t i = 0; i < globs->n; i++)
        if (globs->at[i].len == 0 || !strchr("/*?", globs->at[i].data[0]))
            report_warning(l->report, origin_of(l, name), name,
                           "%s matches nothing, since a path begins with /", globs->at[i].data);
}

static bool says_something(const struct rule_conf *r)
{
    return r->cache != CACHE_UNSAID || r->ttl_s != 0 || r->tags.n > 0 || r->namespace_ || r->scope_given ||
           r->variants > 0 || r->stale_while_revalidate_s != RANGE_ANY || r->stale_if_error_s != RANGE_ANY ||
           r->server_tools != MAYBE_UNSAID || r->usage_on_hit != RULE_USAGE_UNSAID;
}

/* Where an item of a section begins. */
static const struct origin *origin_of_item(const struct loading *l, const char *prefix)
{
    const struct item_origin *item = l->items;

    while (item && strcmp(item->prefix, prefix) != 0)
        item = item->next;
    assert(item);
    return &item->origin;
}

static void judge_rule(struct loading *l, size_t i)
{
    struct rule_conf *r = &l->conf->rules[i];
    const char *base = pool_printf(l->pool, "rules[%zu]", i);
    const char *operation = pool_printf(l->pool, "%s.match.operation", base);

    for (size_t k = 0; k < r->match.operations.n; k++)
        if (!is_shipped_operation(r->match.operations.at[k].data) &&
            !is_own_operation(l->conf, r->match.operations.at[k].data))
            no_such_operation(l, operation, r->match.operations.at[k].data, true);
    r->scope_given = r->scope_headers.n > 0;
    if (r->scope_given)
        r->scope = judge_scope(l, pool_printf(l->pool, "%s.scope", base), &r->scope_headers);
    judge_tags(l, pool_printf(l->pool, "%s.tags", base), &r->tags);
    judge_paths(l, pool_printf(l->pool, "%s.match.path", base), &r->match.paths);
    judge_range(l, pool_printf(l->pool, "%s.match.temperature_below", base), r->match.temperature_above,
                r->match.temperature_below);
    judge_range(l, pool_printf(l->pool, "%s.match.prompt_below", base), r->match.prompt_above,
                r->match.prompt_below);
    judge_range(l, pool_printf(l->pool, "%s.match.messages_below", base), r->match.messages_above,
                r->match.messages_below);
    if (!says_something(r) && l->report->errors_n == 0) /* else it may be what was refused */
        report_warning(l->report, origin_of_item(l, pool_printf(l->pool, "%s.", base)), base,
                       "the rule says nothing of the requests that it matches");
}

static void judge_operation(struct loading *l, size_t i)
{
    const struct operation_conf *o = &l->conf->operations[i];
    const char *base = pool_printf(l->pool, "operations.%s", o->name);
    const char *dialect = pool_printf(l->pool, "%s.dialect", base);

    if (is_shipped_operation(o->name))
        fail(l, pool_printf(l->pool, "%s.ttl", base),
             "this operation is a shipped one; its lifetime is set by cache.ttl, anything else by rules");
    if (o->dialect && (!is_shipped_operation(o->dialect) || strcmp(o->dialect, "read") == 0))
        no_such_operation(l, dialect, o->dialect, false);
    judge_paths(l, pool_printf(l->pool, "%s.path", base), &o->paths);
    judge_tags(l, pool_printf(l->pool, "%s.tags", base), &o->tags);
}

static void judge_templates(struct loading *l, const char *name, const struct text_list *list, bool pattern)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *fault = template_fault(list->at[i], pattern);

        if (fault)
            report_error(l->report, origin_of(l, name), name, "%s: %s", list->at[i].data, fault);
    }
}

/* A pattern without its last part, HEX, matches nothing. */
static void judge_event_patterns(struct loading *l, const char *name, const struct text_list *list)
{
    judge_templates(l, name, list, true);
    for (size_t i = 0; i < list->n; i++)
        if (list->at[i].len > 0 && !memchr(list->at[i].data, '*', list->at[i].len))
            report_warning(l->report, origin_of(l, name), name,
                           "%s matches one entry at most: names end in 64 hex digits", list->at[i].data);
}

static void judge_event_rule(struct loading *l, size_t i)
{
    const struct event_rule_conf *r = &l->conf->event_rules[i];
    const char *base = pool_printf(l->pool, "event_rules[%zu]", i);
    const char *event = pool_printf(l->pool, "%s.event", base), *all = pool_printf(l->pool, "%s.all", base);
    const struct slice namespace_ = slice_str(r->namespace_);
    const struct text_list alone = {&namespace_, r->namespace_ != NULL};
    size_t listed = r->tags.n + r->patterns.n + r->models.n + r->operations.n;

    for (size_t k = 0; k < r->events.n; k++)
        if (r->events.at[k].len == 0 || strpbrk(r->events.at[k].data, " \t{},\""))
            report_error(l->report, origin_of(l, event), event, "%s: no event has such a type",
                         r->events.at[k].data);
    judge_templates(l, pool_printf(l->pool, "%s.tags", base), &r->tags, false);
    judge_event_patterns(l, pool_printf(l->pool, "%s.patterns", base), &r->patterns);
    judge_templates(l, pool_printf(l->pool, "%s.models", base), &r->models, false);
    judge_templates(l, pool_printf(l->pool, "%s.operations", base), &r->operations, false);
    judge_templates(l, pool_printf(l->pool, "%s.namespace", base), &alone, false);
    if (r->all && (listed > 0 || r->namespace_))
        warn(l, all, "what is listed beside it narrows it down: it has no effect");
    if (!r->all && listed == 0 && !r->namespace_ && l->report->errors_n == 0)
        warn(l, event, "the rule has nothing go");
}

static void judge_invalidation(struct loading *l)
{
    if (l->conf->invalidation_strict && !l->conf->tiers.redis.url)
        warn(l, "invalidation.strict",
             "without tiers.redis.url there are no other instances: it has no effect");
}

static void judge_rules(struct loading *l)
{
    const struct config *c = l->conf;

    if (c->rules_n > RULES_MAX)
        report_error(l->report, origin_of(l, pool_printf(l->pool, "rules[%d].cache", RULES_MAX)), "rules",
                     "at most %d, got %zu", RULES_MAX, c->rules_n);
    for (size_t i = 0; i < c->rules_n; i++)
        judge_rule(l, i);
    for (size_t i = 0; i < c->operations_n; i++)
        judge_operation(l, i);
    for (size_t i = 0; i < c->event_rules_n; i++)
        judge_event_rule(l, i);
    judge_invalidation(l);
}

/* -- prices -- */

static void judge_pricing(struct loading *l)
{
    const struct config *c = l->conf;
    size_t globs = 0;

    for (size_t i = 0; i < c->pricing_n; i++)
        globs += c->pricing[i].models.n;
    if (globs > PRICES_MAX)
        report_error(l->report, origin_of(l, "pricing[0].model"), "pricing", "at most %d models, got %zu",
                     PRICES_MAX, globs);
}

/* -- upstreams and routes -- */

bool config_url_is_exposed(const char *url)
{
    static const char *const near[] = {"localhost", "127.", "10.", "192.168.", "[::1]"};
    struct slice rest = slice_str(url), host;

    if (!slice_starts(rest, SLICE_OF("http://")))
        return false;
    rest = slice_skip(rest, 7);
    host = slice_cut(&rest, '/');
    for (size_t i = 0; i < ARRAY_LEN(near); i++)
        if (slice_starts(host, slice_str(near[i])))
            return false;
    return memchr(host.data, '.', host.len) != NULL; /* a single name is a neighbour's */
}

static bool is_routed(const struct config *c, size_t upstream)
{
    for (size_t i = 0; i < c->routes_n; i++)
        if (c->routes[i].upstream && strcmp(c->routes[i].upstream, c->upstreams[upstream].conf.name) == 0)
            return true;
    return false;
}

/* A warning, since a configuration may be judged where it is not used. */
static void judge_file(struct loading *l, const char *name, const char *path)
{
    if (path && access(path, R_OK) < 0)
        report_warning(l->report, origin_of(l, name), name, "%s cannot be read here", path);
}

static void judge_upstream(struct loading *l, size_t i)
{
    const struct upstream_conf *u = &l->conf->upstreams[i].conf;
    const char *base = pool_printf(l->pool, "upstreams.%s", u->name);
    const char *first_byte = pool_printf(l->pool, "%s.first_byte_timeout", base);
    const char *url = pool_printf(l->pool, "%s.url", base), *cert = pool_printf(l->pool, "%s.cert", base);

    if (!u->url)
        return;
    if (config_url_is_exposed(u->url))
        warn(l, url, "without TLS, prompts and credentials can be read on the way");
    judge_file(l, pool_printf(l->pool, "%s.ca_file", base), u->ca_file);
    judge_file(l, cert, u->cert_file);
    judge_file(l, pool_printf(l->pool, "%s.key", base), u->key_file);
    if (!u->cert_file != !u->key_file)
        fail(l, cert, "a certificate and its key are given together, or neither");
    if (u->first_byte_timeout_ms > u->total_timeout_ms && origin_of(l, first_byte)->source != SOURCE_BUILT_IN)
        warn(l, first_byte, "longer than total_timeout, so never reached");
    if (!is_routed(l->conf, i))
        warn(l, url, "no route leads to this upstream");
}

static void judge_backoff(struct loading *l, const struct upstream_section *u)
{
    const char *name = pool_printf(l->pool, "upstreams.%s.retries.backoff", u->conf.name);

    if (u->retry.backoff_ms > u->retry.backoff_ms_max)
        warn(l, name, "longer than max_backoff, which is how long the wait is then");
}

static void judge_retries(struct loading *l, struct upstream_section *u)
{
    const char *name = pool_printf(l->pool, "upstreams.%s.retries.retry_on", u->conf.name);

    judge_backoff(l, u);
    for (size_t i = 0; i < u->retry_on.n; i++) {
        enum retry_cause cause = retry_cause_by_name(u->retry_on.at[i]);

        if (cause == RETRY_NONE)
            report_error(l->report, origin_of(l, name), name,
                         "expected connect, reset, timeout, 429, 502, 503 or 504, got %s",
                         u->retry_on.at[i].data);
        else
            u->retry.on |= 1U << cause;
    }
}

static void judge_route_order(struct loading *l, size_t i)
{
    const struct route_conf *r = &l->conf->routes[i];
    const char *name = pool_printf(l->pool, "routes[%zu].path", i);

    for (size_t before = 0; before < i; before++) {
        const struct route_conf *b = &l->conf->routes[before];

        if (b->path && slice_starts(slice_str(r->path), slice_str(b->path))) {
            report_warning(l->report, origin_of(l, name), name, "never reached: the route %s comes first",
                           b->path);
            return;
        }
    }
}

static void nearest_upstream(struct loading *l, const char *wrote, const char **out)
{
    unsigned distance, best = 1000;

    for (size_t i = 0; i < l->conf->upstreams_n; i++)
        if (text_is_near(slice_str(wrote), slice_str(l->conf->upstreams[i].conf.name), &distance) &&
            distance < best) {
            *out = l->conf->upstreams[i].conf.name;
            best = distance;
        }
}

static void judge_route(struct loading *l, size_t i)
{
    const char *name = pool_printf(l->pool, "routes[%zu].upstream", i), *meant = NULL;
    struct route_conf *r = &l->conf->routes[i];

    if (r->path)
        judge_route_order(l, i);
    if (!r->upstream) {
        report_error(l->report, origin_of(l, pool_printf(l->pool, "routes[%zu].path", i)), name,
                     "must be given where there is not exactly one upstream");
        return;
    }
    for (r->upstream_at = 0; r->upstream_at < l->conf->upstreams_n; r->upstream_at++)
        if (strcmp(l->conf->upstreams[r->upstream_at].conf.name, r->upstream) == 0)
            return;
    nearest_upstream(l, r->upstream, &meant);
    report_error(l->report, origin_of(l, name), name, "no upstream is named %s%s%s%s", r->upstream,
                 meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

/* The URL as struct upstream_conf wants it. */
static void trim_url(struct loading *l, struct upstream_conf *u)
{
    struct slice url = slice_str(u->url);

    while (url.len > 0 && url.data[url.len - 1] == '/')
        url.len--;
    if (u->url)
        u->url = pool_text(l->pool, url);
}

static void judge_patterns(struct loading *l)
{
    const struct text_list *patterns = &l->conf->redact.patterns;
    struct redact *redact = redact_new();
    char why[REDACT_WHY_BYTES];
    size_t at;

    for (size_t i = 0; redact && i < patterns->n; i++) {
        int r = redact_add(redact, patterns->at[i], why, &at);

        if (r == -EINVAL)
            report_error(l->report, origin_of(l, "redact.patterns"), "redact.patterns",
                         "%s: no regular expression: behind %zu bytes, %s", patterns->at[i].data, at, why);
        else if (r == -ENOSPC)
            report_error(l->report, origin_of(l, "redact.patterns"), "redact.patterns", "more than %d",
                         REDACT_PATTERNS_MAX);
        if (r == -ENOSPC)
            break;
    }
    redact_free(redact);
}

/* Nothing of the text is shown: a slip may have put a key where none belongs. */
static void judge_encryption(struct loading *l)
{
    const struct secret_conf *key = &l->conf->encryption.key;
    struct seal_keys *keys = key->text ? seal_keys_new() : NULL;
    const char *name = key->file ? "encryption.key_file" : "encryption.key";
    unsigned line = 0;
    int r = keys ? seal_keys_read(keys, slice_str(key->text), &line) : 0;

    seal_keys_free(keys);
    if (r == -EINVAL)
        report_error(l->report, origin_of(l, name), name,
                     "in line %u: expected keys of 32 bytes, as 64 hexadecimal digits or as base64; "
                     "`openssl rand -hex 32` makes one",
                     line);
    else if (r == -ENOSPC)
        report_error(l->report, origin_of(l, name), name, "more than %d keys", SEAL_KEYS_MAX);
    else if (r < 0)
        report_error(l->report, origin_of(l, name), name, "there is no key in it");
}

/* -- clients, and what upstreams are shown in their place -- */

static const char *client_option(struct loading *l, const struct client_section *c, const char *option)
{
    return pool_printf(l->pool, "clients.%s.%s", c->name, option);
}

/* The text is not shown: it may be a token, put where its sum belongs. */
static void judge_tokens(struct loading *l, const struct client_section *c)
{
    const char *name = client_option(l, c, "token_sha256");

    for (size_t i = 0; i < c->token_sha256.n; i++) {
        struct slice hex = c->token_sha256.at[i];

        if (hex.len != DIGEST_HEX_LEN || strspn(hex.data, "0123456789abcdefABCDEF") != hex.len)
            report_error(
                l->report, origin_of(l, name), name,
                "expected the SHA-256 of a token, 64 hexadecimal digits; `refrain clients new %s` makes "
                "both",
                c->name);
    }
    if (c->token_sha256.n > CLIENT_TOKENS_MAX)
        report_error(l->report, origin_of(l, name), name, "at most %d, got %zu", CLIENT_TOKENS_MAX,
                     c->token_sha256.n);
    if (c->token_sha256.n == 0)
        warn(l, name, "an empty list: nobody can be this client");
}

static bool have_a_token_in_common(const struct client_section *a, const struct client_section *b)
{
    for (size_t i = 0; i < a->token_sha256.n; i++)
        for (size_t k = 0; k < b->token_sha256.n; k++)
            if (slice_ieq(a->token_sha256.at[i], b->token_sha256.at[k]))
                return true;
    return false;
}

static void judge_client(struct loading *l, size_t at)
{
    const struct config *conf = l->conf;
    const struct client_section *c = &conf->clients[at];
    const char *scope = client_option(l, c, "scope");

    judge_tokens(l, c);
    if (strcmp(c->name, "shared") == 0)
        fail(l, scope, "no client can be named so: it is what `scope` says of those who share with all");
    for (size_t i = 0; i < at; i++)
        if (have_a_token_in_common(c, &conf->clients[i]))
            report_error(l->report, origin_of(l, client_option(l, c, "token_sha256")),
                         client_option(l, c, "token_sha256"),
                         "the same token as that of %s: who would it be?", conf->clients[i].name);
    for (size_t i = 0; c->scope && i < conf->clients_n; i++)
        if (i != at && strcmp(c->scope, conf->clients[i].name) == 0)
            report_warning(l->report, origin_of(l, scope), scope,
                           "%s is a client: what one of the two is answered the other is answered, too",
                           c->scope);
}

static void judge_clients(struct loading *l)
{
    const struct config *c = l->conf;

    if (c->clients_n > CLIENTS_MAX)
        report_error(l->report, origin_of(l, client_option(l, &c->clients[CLIENTS_MAX], "scope")), "clients",
                     "at most %d, got %zu", CLIENTS_MAX, c->clients_n);
    for (size_t i = 0; i < c->clients_n && i < CLIENTS_MAX; i++)
        judge_client(l, i);
}

static const char *const credential_prefixes[] = {
    [SENT_AS_BEARER] = "Authorization: Bearer ",
    [SENT_AS_X_API_KEY] = "x-api-key: ",
    [SENT_AS_API_KEY] = "api-key: ",
    [SENT_AS_X_GOOG_API_KEY] = "x-goog-api-key: ",
};

/* Providers that are known to look in one place alone. */
static void judge_credential_header(struct loading *l, const struct upstream_section *u, const char *name)
{
    static const struct {
        const char *host, *what;
        unsigned header;
    } known[] = {
        {"://api.anthropic.com", "Anthropic looks for an API key in x-api-key", SENT_AS_X_API_KEY},
        {".openai.azure.com", "Azure OpenAI looks for an API key in api-key", SENT_AS_API_KEY},
        {"://generativelanguage.googleapis.com", "Google looks for an API key in x-goog-api-key",
         SENT_AS_X_GOOG_API_KEY},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strstr(u->conf.url, known[i].host) && u->credential_header != known[i].header)
            warn(l, name, known[i].what);
}

/* headers.add of the same name would send two. */
static bool adds_the_same(const struct upstream_conf *u)
{
    size_t len = strcspn(u->credential, ":") + 1;

    for (const char *const *at = u->headers_add; at && *at; at++)
        if (strncasecmp(*at, u->credential, len) == 0)
            return true;
    return false;
}

static void judge_credential_text(struct loading *l, const struct upstream_section *u, const char *name)
{
    const char *text = u->credential.text;

    if (!header_value_ok(slice_str(text)) || strpbrk(text, " \t"))
        fail(l, name, "expected a key alone: no spaces, no `Bearer`, no control characters");
}

static void judge_credential(struct loading *l, struct upstream_section *u)
{
    const char *name = pool_printf(l->pool, "upstreams.%s.credential", u->conf.name);
    struct address listen;

    if (!u->credential.text || !u->conf.url)
        return;
    judge_credential_text(l, u, name);
    judge_credential_header(l, u, pool_printf(l->pool, "%s_header", name));
    u->conf.credential =
        pool_printf(l->pool, "%s%s", credential_prefixes[u->credential_header], u->credential.text);
    if (adds_the_same(&u->conf))
        fail(l, name, "headers.add of this upstream has the same header; one of them");
    if (l->conf->clients_n > 0 || address_parse(slice_str(l->conf->listen.address), &listen) < 0)
        return;
    if (!address_is_local(&listen))
        fail(l, name, "whoever reaches the listener would ask at its cost; say in `clients` who may");
    else
        warn(l, name, "whoever reaches the listener asks at its cost; say in `clients` who may");
}

/* Behind clients nobody else's credential is left to show. A model on the same machine wants none. */
static void judge_uncredited(struct loading *l, const struct upstream_section *u)
{
    const struct config *c = l->conf;

    if (c->clients_n == 0 || u->credential.text || u->conf.headers_add || !u->conf.url ||
        (slice_starts(slice_str(u->conf.url), SLICE_OF("http://")) && !config_url_is_exposed(u->conf.url)))
        return;
    warn(l, pool_printf(l->pool, "upstreams.%s.url", u->conf.name),
         "there are clients, whose tokens do not go on, and no credential for this upstream: it is shown "
         "none");
}

void config_judge(struct loading *l)
{
    struct config *c = l->conf;
    struct origin here = {.source = SOURCE_BUILT_IN};

    judge_cache_scope(l);
    judge_rules(l); /* before the listeners: a rule may share entries, too */
    judge_listeners(l);
    judge_clients(l);
    config_judge_tls(l);
    judge_ignored_fields(l);
    judge_lifetimes(l);
    judge_validation(l);
    judge_encryption(l);
    judge_patterns(l);
    config_judge_redis(l);
    judge_sizes(l);
    judge_disk(l);
    judge_pricing(l);
    for (size_t i = 0; i < c->upstreams_n; i++) {
        trim_url(l, &c->upstreams[i].conf);
        judge_upstream(l, i);
        judge_retries(l, &c->upstreams[i]);
        judge_credential(l, &c->upstreams[i]);
        judge_uncredited(l, &c->upstreams[i]);
    }
    for (size_t i = 0; i < c->routes_n; i++)
        judge_route(l, i);
    if (c->upstreams_n == 0 && !l->sources->upstream_optional)
        report_error(l->report, &here, "upstreams",
                     "there is none; give --upstream URL, or upstreams in a file");
    else if (c->routes_n == 0 && c->upstreams_n > 0)
        report_error(l->report, &here, "routes",
                     "there is none; with more than one upstream, say which path goes where");
}
