#include "refrain/http/keying.h"

#include <string.h>

#include "refrain/policy/range.h"

bool keying_route(const struct site *s, struct slice raw_target, const struct site_route **out_route,
                  struct slice *out_target, struct slice *out_path)
{
    const struct site_route *route =
        site_route_of(s, slice_eq(raw_target, SLICE_OF("*")) ? SLICE_OF("/") : raw_target);
    struct slice target = raw_target;

    if (!route)
        return false;
    if (route->strip_prefix && route->prefix.len > 1) {
        size_t cut = route->prefix.len;

        if (route->prefix.data[cut - 1] == '/')
            cut--; /* the path keeps its slash */
        target = slice_skip(target, cut);
    }
    *out_route = route;
    *out_target = target;
    *out_path = slice_cut(&target, '?');
    return true;
}

static struct slice path_of(struct slice target)
{
    return slice_cut(&target, '?');
}

static struct slice behind_route(const struct site_route *route, struct slice path)
{
    size_t cut = route->prefix.len;

    if (cut > 0 && route->prefix.data[cut - 1] == '/')
        cut--;
    return slice_skip(path, cut);
}

/* Behind what a route names of the path, though it is not taken off, may be one of the known ones. */
static enum operation operation_behind(const struct site_route *route, struct slice method, struct slice path)
{
    if (route->strip_prefix || route->prefix.len < 2)
        return OP_PASS;
    return operation_find(method, behind_route(route, path));
}

void keying_path_facts(const struct keying *k, struct canon_facts *facts)
{
    struct slice path = path_of(k->target);

    operation_path_facts(k->op, path, facts);
    if (!k->route->strip_prefix && k->route->prefix.len > 1)
        operation_path_facts(k->op, behind_route(k->route, path), facts);
}

/* A header that a client sends with all it asks makes no question to a model of what writes to upstream's
 * collections; only the operator can say that of a path. */
static bool is_claimed_in_vain(const struct keying *k)
{
    return k->op == OP_PASS && k->ask->operation.len > 0 && operation_read_is_live(path_of(k->target)) &&
           !own_operation_of_path(&k->site->rules, path_of(k->raw_target));
}

bool keying_operation(struct keying *k)
{
    const struct rules *rules = &k->site->rules;
    bool post = slice_eq(k->method, SLICE_OF("POST"));

    k->op = operation_find(k->method, path_of(k->target));
    if (k->op == OP_PASS)
        k->op = operation_behind(k->route, k->method, path_of(k->target));
    if (k->ask->operation.len > 0) {
        k->own = own_operation_named(rules, k->ask->operation);
        if (!k->own)
            return false;
    } else if (post) {
        k->own = own_operation_of_path(rules, path_of(k->raw_target));
    }
    if (k->own && post && !is_claimed_in_vain(k)) {
        if (k->own->op != OP_COUNT)
            k->op = k->own->op;
        else if (k->op == OP_PASS)
            k->op = OP_PLAIN;
    }
    return true;
}

/* Conditions that only upstream can judge. */
static bool has_condition(const struct fields *fields)
{
    return fields_find_id(fields, HEADER_IF_MATCH) || fields_find_id(fields, HEADER_IF_UNMODIFIED_SINCE);
}

/* One part of a GET is cut from the stored whole; several, and parts of anything else, are upstream's. */
static bool has_parts(const struct keying *k)
{
    uint64_t first, last;

    if (k->ask->range.len == 0)
        return false;
    return k->op != OP_READ || range_read(k->ask->range, UINT64_MAX, &first, &last) == RANGE_SEVERAL;
}

static bool is_off_by_head(const struct keying *k)
{
    struct rule_facts facts = {
        .path = path_of(k->raw_target), .op = k->op, .own = k->own, .fields = k->fields};

    return k->site->rules.off_by_head && rules_are_off_by_head(&k->site->rules, &facts);
}

const char *keying_head_bypass(const struct keying *k)
{
    const struct site *s = k->site;

    if (k->op == OP_PASS)
        return "operation";
    if (k->ask->bypass)
        return k->ask->bypass_reason;
    if (is_off_by_head(k))
        return "rule";
    if (!store_keeps(s->store) && !s->coalesce)
        return "no-tier";
    if (k->op == OP_READ && k->has_body && k->content_length != 0)
        return "body"; /* a GET with a body: no one agrees on what it means */
    if (k->op == OP_READ && has_condition(k->fields))
        return "condition";
    if (has_parts(k))
        return "range";
    if (k->content_length > 0 && (uint64_t)k->content_length > s->key_body_bytes_max)
        return "body-size";
    return NULL;
}

enum canon_verdict keying_canonicalise(const struct keying *k, struct buf *out, struct canon_facts *facts,
                                       const char **out_why)
{
    enum canon_verdict verdict;

    out->max = k->body.len * 6 + 1024;
    if (k->op == OP_READ)
        return CANON_OK;
    verdict = canon_json(k->body, &k->site->canon[k->op], out, facts, out_why);
    keying_path_facts(k, facts);
    return verdict;
}

uint64_t keying_rules(struct keying *k)
{
    const struct rules *rules = &k->site->rules;
    bool has_body = k->op != OP_READ;
    struct rule_facts facts = {
        .path = path_of(k->raw_target),
        .op = k->op,
        .model = has_body ? k->facts->model : (struct slice){NULL, 0},
        .stream = has_body && k->facts->stream,
        .has_temperature = has_body && k->facts->has_temperature,
        .temperature = k->facts->temperature,
        .characters = k->facts->characters,
        .messages = k->facts->messages,
        .fields = k->fields,
    };

    if (!k->own && facts.model.len > 0)
        k->own = own_operation_of_model(rules, facts.model);
    facts.own = k->own;
    return rules_match(rules, &facts);
}

/* Where the operator says that a path is of a kind of its own, names of known APIs mean nothing. */
static bool may_be_stateful(const struct keying *k)
{
    bool known_by_path = k->op == OP_PLAIN && k->ask->operation.len == 0;

    return known_by_path || (k->facts->only_server_tools && k->plan->server_tools);
}

const char *keying_body_bypass(const struct keying *k)
{
    if (k->op == OP_READ)
        return NULL;
    if (k->canon == CANON_FULL || !k->facts->whole)
        return "key";
    if (k->facts->stateful && !may_be_stateful(k))
        return "stateful";
    for (size_t i = 0; i < k->body.len; i++)
        if (!strchr(" \t\r\n", k->body.data[i]))
            return k->body.data[i] == '{' ? NULL : "shape";
    return "shape";
}

/* What configuration says of a client goes before what it says of all requests: never wider than it says of
 * the one, and where it says nothing of it, shared where all is. What lists of fields tell apart stays apart.
 */
static const struct key_scope *scope_of_client(const struct site *s, const struct client *client,
                                               const struct key_scope *by_rule)
{
    const struct key_scope *scope = by_rule ? by_rule : &s->scope;

    if (client->conf.shared)
        return !by_rule && scope->mode == KEY_SCOPE_CREDENTIAL ? &s->shared : scope;
    return client->conf.scope_given && scope->mode == KEY_SCOPE_SHARED ? &s->parted : scope;
}

void keying_plan(const struct site *s, const struct client *client, uint64_t matched,
                 const struct own_operation *own, struct plan *out)
{
    plan_make(&s->rules, matched, own, out);
    if (client)
        out->scope = scope_of_client(s, client, out->scope);
}

/* Who shares with all is himself where a rule says that nobody shares, and nobody where fields tell apart. */
static struct slice client_of(const struct keying *k)
{
    if (!k->client || (k->client->conf.shared && keying_scope(k)->mode == KEY_SCOPE_HEADERS))
        return (struct slice){NULL, 0};
    return k->client->conf.shared ? k->client->conf.name : k->client->conf.scope;
}

bool keying_check_leave(const struct keying *k, struct ask *ask, const char **out_why)
{
    bool shared = keying_scope(k)->mode == KEY_SCOPE_SHARED || (k->client && k->client->in_group);

    return ask_check_leave(ask, &k->site->ask, shared, out_why);
}

const struct key_scope *keying_scope(const struct keying *k)
{
    return k->plan->scope ? k->plan->scope : &k->site->scope;
}

struct slice keying_namespace(const struct keying *k)
{
    return plan_namespace(k->plan, k->ask, k->site->namespace_);
}

void keying_trace_body(const struct keying *k)
{
    if (k->trace && k->canon == CANON_OK && k->op != OP_READ)
        trace_body(k->trace, k->canonical);
}

uint64_t keying_caller(struct key_maker *maker, const struct keying *k)
{
    const struct site_upstream *upstream = &k->site->upstreams[k->route->upstream];
    struct key_request r = {
        .scope = keying_scope(k),
        .client = client_of(k),
        .credential_is_ours = upstream->conf.credential != NULL,
        .upstream = slice_str(upstream->conf.name),
        .target = k->target,
        .fields = k->fields,
    };

    return key_caller(maker, &r);
}

bool keying_zeroes_usage(const struct site *s, const struct plan *plan, enum operation op)
{
    bool zero = plan->zero_usage == RULE_UNSAID ? s->zero_usage : plan->zero_usage == RULE_YES;

    return zero && dialect_of(op)->usages[0].member.len > 0;
}

struct digest keying_make(struct key_maker *maker, const struct keying *k)
{
    const struct site_upstream *upstream = &k->site->upstreams[k->route->upstream];
    const struct digest *config =
        keying_zeroes_usage(k->site, k->plan, k->op) ? &upstream->alters_zero : &upstream->alters;
    bool canonical = k->canon == CANON_OK && k->op != OP_READ;
    bool head = slice_eq(k->method, SLICE_OF("HEAD"));
    struct key_request r = {
        .scope = keying_scope(k),
        .client = client_of(k),
        .credential_is_ours = upstream->conf.credential != NULL,
        .namespace_ = keying_namespace(k),
        .upstream = slice_str(upstream->conf.name),
        .config = slice_make(config->bytes, sizeof(config->bytes)),
        .operation = slice_str(dialect_of(k->op)->name),
        .method = head ? SLICE_OF("GET") : k->method, /* HEAD is answered from GET's entry */
        .target = k->target,
        .fields = k->fields,
        .custom_key = k->ask->custom_key,
        .body_kind = canonical ? KEY_BODY_CANONICAL : KEY_BODY_EXACT,
        .body = canonical ? k->canonical : k->body,
        /* A client's token has been taken out of the query: what is left there is content. */
        .key_in_query = !k->client && dialect_of(k->op)->key_in_query,
        .controls_go_on = upstream->takes_controls,
        .accept_counts = dialect_of(k->op)->accept_counts,
        .trace = k->trace,
        .out_caller = k->out_caller,
    };

    if (k->trace &&
        r.custom_key.len > 0) /* it stands for the body; what counts beside it are parts of their own */
        k->trace->leaves_n = 0;
    return key_make(maker, &r);
}

struct fresh_stored keying_stored(const struct entry_ref *ref)
{
    const struct entry *e = ref->entry;

    return (struct fresh_stored){
        .created_ms = e->created_ms,
        .initial_age_s = e->initial_age_s,
        .expires_ms = ref->expires_ms,
        .windows = {e->while_revalidate_s, e->if_error_s, (e->flags & ENTRY_MUST_REVALIDATE) != 0},
    };
}
