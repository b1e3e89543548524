#include "refrain/ops/explain_json.h"

#include <string.h>

#include "explain_json_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/breakers.h"
#include "refrain/http/clients.h"
#include "refrain/http/site.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/jscan.h"
#include "refrain/wire/keytext.h"

enum { CANONICAL_SHOWN_MAX = 256 * 1024 };

/* -- the verdict -- */

static const char *const fates[] = {
    [EXPLAIN_REFUSED] = "refused", [EXPLAIN_PASSED] = "bypass", [EXPLAIN_MISS] = "miss",
    [EXPLAIN_STALE] = "stale",     [EXPLAIN_HIT] = "hit",
};

/* Codes are those of Cache-Status and the log. */
static const struct {
    const char *code, *text;
} reasons[] = {
    {"absent", "nothing is stored under this key"},
    {"body", "a GET with a body: no one agrees on what it means"},
    {"body-size", "the body is larger than key.max_body_bytes"},
    {"condition", "it asks on a condition that only upstream can judge"},
    {"expired", "what is stored is past its lifetime"},
    {"key", "the body cannot be read to its end, so what it asks for is not known"},
    {"no-store", "it asks for nothing to be stored"},
    {"no-transform", "it takes no coding to be undone, and what is stored has one"},
    {"no-tier", "there is neither a tier nor coalescing"},
    {"off", "its own Refrain-Cache, or another gateway's header, asks for that"},
    {"offline", "no instance was asked, so what is stored is not known"},
    {"operation", "no operation of the cache has this method and path"},
    {"range", "it asks for a part that is not cut here"},
    {"cut-off", "this instance cannot hear of invalidations at the moment, and invalidation.strict is on"},
    {"reauth", "upstream has refused the credential, or has not been shown it for cache.reauth"},
    {"request", "its own Cache-Control or Refrain-Cache asks for upstream's answer"},
    {"rule", "a rule says `cache: off`"},
    {"shape", "the body is not the JSON object that the operation takes"},
    {"stateful", "it makes or reads state upstream, or has tools that run there, which a rule may allow"},
    {"variants", "more answers are to be kept than are stored"},
    {"vary", "the answer varies, and none is stored for this request's fields"},
};

static const char *reason_text(const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (strcmp(reasons[i].code, code) == 0)
            return reasons[i].text;
    return code; /* a sentence already */
}

static const char *reason_of(const struct showing *s)
{
    if (s->show->offline && s->e->fate >= EXPLAIN_MISS)
        return "offline";
    return s->e->fate == EXPLAIN_REFUSED ? "refused" : s->e->why;
}

static void put_verdict(struct showing *s)
{
    const struct explanation *e = s->e;
    bool unknown = s->show->offline && e->fate >= EXPLAIN_MISS;
    const char *reason = reason_of(s);

    jout_str(&s->j, "result", unknown ? "unknown" : fates[e->fate]);
    jout_bool(&s->j, "cacheable", e->fate >= EXPLAIN_MISS);
    if (unknown)
        jout_null(&s->j, "would_hit");
    else
        jout_bool(&s->j, "would_hit", e->fate >= EXPLAIN_STALE);
    jout_str(&s->j, "reason", reason);
    if (reason)
        jout_str(&s->j, "because", e->fate == EXPLAIN_REFUSED ? e->why : reason_text(reason));
}

/* -- where it goes -- */

/* Its value is a credential for some APIs. */
static void put_target(struct showing *s, const char *name, struct slice target)
{
    AUTO(buf_done) struct buf out = BUF_INIT(target.len * 2 + 16);
    struct slice rest = target, path = slice_cut(&rest, '?');
    int r = buf_add_slice(&out, path);

    for (char before = '?'; r == 0 && rest.data; before = '&') {
        struct slice parameter = slice_cut(&rest, '&');

        r = buf_add_byte(&out, before);
        if (r == 0)
            r = buf_add_slice(&out,
                              slice_starts(parameter, SLICE_OF("key=")) ? SLICE_OF("key=***") : parameter);
    }
    if (r == 0)
        jout_text(&s->j, name, buf_slice(&out));
    else
        jout_null(&s->j, name);
}

static void put_place(struct showing *s)
{
    const struct explanation *e = s->e;

    jout_object(&s->j, "request");
    jout_text(&s->j, "method", s->r->method);
    put_target(s, "target", s->r->target);
    jout_end(&s->j);
    if (!e->route)
        return;
    jout_text(&s->j, "route", e->route->prefix);
    jout_str(&s->j, "upstream", s->show->site->upstreams[e->route->upstream].conf.name);
    put_target(s, "upstream_target", e->target);
    jout_str(&s->j, "operation", dialect_of(e->op)->name);
    if (e->own)
        jout_text(&s->j, "own_operation", e->own->name);
}

static const char *scope_name(const struct explanation *e)
{
    static const char *const names[] = {
        [KEY_SCOPE_CREDENTIAL] = "credential",
        [KEY_SCOPE_SHARED] = "shared",
        [KEY_SCOPE_HEADERS] = "headers",
    };

    if (e->client && e->scope->mode == KEY_SCOPE_CREDENTIAL)
        return "client";
    return names[e->scope->mode];
}

static void put_scope(struct showing *s)
{
    const struct fields *fields = s->r->fields;

    jout_str(&s->j, "scope", scope_name(s->e));
    if (s->e->client)
        jout_text(&s->j, "client", s->e->client->conf.name);
    jout_array(&s->j, "credentials"); /* by name alone */
    for (size_t i = 0; i < fields->n; i++)
        if ((fields->at[i].flags & (HEADER_CREDENTIAL | HEADER_HOP)) == HEADER_CREDENTIAL)
            jout_text(&s->j, NULL, fields->at[i].name);
    jout_end(&s->j);
    jout_text(&s->j, "namespace", s->e->namespace_);
}

static void put_rules(struct showing *s)
{
    jout_array(&s->j, "rules"); /* from 0, in the order of the configuration */
    for (int64_t i = 0; i < RULES_MAX; i++)
        if (s->e->plan.matched >> i & 1)
            jout_int(&s->j, NULL, i);
    jout_end(&s->j);
}

/* -- the body -- */

static void put_canonical(struct showing *s)
{
    const struct explanation *e = s->e;
    struct slice text = buf_slice(&e->canonical);
    bool has_form = e->canon == CANON_OK && e->op != OP_READ;

    if (e->facts.model.len > 0)
        jout_text(&s->j, "model", e->facts.model);
    if (e->op != OP_READ)
        jout_bool(&s->j, "stream", e->facts.stream);
    jout_object(&s->j, "canonical");
    jout_str(&s->j, "form", has_form ? "canonical" : e->op == OP_READ ? "none" : "exact");
    if (has_form) {
        jout_int(&s->j, "bytes", (int64_t)text.len);
        jout_bool(&s->j, "cut", text.len > CANONICAL_SHOWN_MAX);
        jout_text(&s->j, "text",
                  slice_make(text.data, text.len < CANONICAL_SHOWN_MAX ? text.len : CANONICAL_SHOWN_MAX));
    } else {
        jout_str(&s->j, "because", e->canon_why);
    }
    jout_end(&s->j);
}

static void put_excluded(struct showing *s, struct slice name, const char *why)
{
    jout_object(&s->j, NULL);
    jout_text(&s->j, "name", name);
    jout_str(&s->j, "because", why);
    jout_end(&s->j);
}

static bool has_path(struct slice body, struct slice path)
{
    struct jscan_value at = jscan_root(body);

    while (path.data && at.kind != JSCAN_ABSENT)
        at = jscan_get(at, slice_cut(&path, '.'));
    return at.kind != JSCAN_ABSENT;
}

/* What canon leaves out at the top, whatever its name. */
static void put_defaults(struct showing *s, const struct canon_rules *rules)
{
    struct jscan_walk w = jscan_walk(jscan_root(s->r->body));
    struct jscan_item item;

    while (jscan_next(&w, &item)) {
        if (rules->drop_nulls && item.value.kind == JSCAN_NULL)
            put_excluded(s, item.name, "null: as if it were not there");
        else if (rules->stream_default_dropped && slice_eq(item.name, SLICE_OF("stream")) &&
                 item.value.kind == JSCAN_BOOL &&
                 slice_eq(item.value.text, rules->stream_is_default ? SLICE_OF("true") : SLICE_OF("false")))
            put_excluded(s, item.name, "the API's default");
    }
}

static void put_excluded_members(struct showing *s)
{
    const struct canon_rules *rules = &s->show->site->canon[s->e->op];
    const struct canon_rules *shipped = &dialect_of(s->e->op)->canon;

    jout_array(&s->j, "body");
    if (s->e->canon == CANON_OK && s->e->op != OP_READ) {
        for (size_t i = 0; i < rules->ignored_n; i++)
            if (has_path(s->r->body, rules->ignored[i]))
                put_excluded(s, rules->ignored[i],
                             i < shipped->ignored_n ? "the API's list" : "key.ignore_fields");
        put_defaults(s, rules);
    }
    jout_end(&s->j);
}

/* -- headers -- */

static bool is_in_key(const struct explanation *e, const struct field *f)
{
    for (unsigned i = 0; i < e->trace->head_n; i++)
        if (e->trace->head_name[i].data == f->name.data)
            return true;
    return false;
}

static const char *why_not_in_key(const struct explanation *e, const struct field *f)
{
    if (f->flags & HEADER_HOP)
        return "of this connection alone";
    if (f->flags & HEADER_FRAMING)
        return "framing: made anew";
    if (f->flags & (HEADER_OURS | HEADER_PEER | HEADER_CONTROL))
        return "tells the cache what to do";
    if (f->flags & HEADER_CREDENTIAL)
        return "a credential: counts by the scope, as a sum";
    if (f->flags & HEADER_UNKEYED)
        return header_flags(e->shipped, f->name) & HEADER_UNKEYED ? "the shipped list" : "key.ignore_headers";
    return "selects nothing here";
}

static void put_headers(struct showing *s)
{
    const struct fields *fields = s->r->fields;

    jout_array(&s->j, "headers");
    for (size_t i = 0; i < fields->n; i++)
        if (!is_in_key(s->e, &fields->at[i]))
            put_excluded(s, fields->at[i].name, why_not_in_key(s->e, &fields->at[i]));
    jout_end(&s->j);
}

static void put_keyed_headers(struct showing *s)
{
    const struct trace *t = s->e->trace;

    jout_array(&s->j, "keyed_headers");
    for (unsigned i = 0; i < t->head_n; i++)
        if (t->head_kind[i] == TRACE_HEADER)
            jout_text(&s->j, NULL, t->head_name[i]);
    jout_end(&s->j);
}

/* -- key and entry -- */

static void put_key(struct showing *s)
{
    const struct explanation *e = s->e;
    AUTO(buf_done) struct buf text = BUF_INIT(1024);
    char hex[DIGEST_HEX_LEN + 1];
    bool known = !s->show->secret_is_unknown || e->scope->mode == KEY_SCOPE_SHARED;

    digest_hex(&e->key, hex);
    jout_str(&s->j, "key", known ? hex : NULL);
    if (!known)
        jout_str(&s->j, "key_because", "the server's secret, which is part of it, could not be read");
    if (known &&
        keytext_add(&text, s->show->prefix, e->namespace_,
                    e->own ? e->own->name : slice_str(dialect_of(e->op)->name), e->facts.model, &e->key) == 0)
        jout_text(&s->j, "key_text", buf_slice(&text));
}

static void put_entry(struct showing *s)
{
    static const char *const tiers[] = {
        [TIER_MEMORY] = "memory", [TIER_DISK] = "disk", [TIER_REDIS] = "redis"};
    const struct explain_entry *en = &s->e->entry;

    if (!en->held) {
        jout_null(&s->j, "entry");
        return;
    }
    jout_object(&s->j, "entry");
    jout_str(&s->j, "id", en->id);
    jout_str(&s->j, "tier", tiers[en->tier]);
    jout_int(&s->j, "age_s", en->age_s);
    if (en->left_ms == INT64_MAX)
        jout_null(&s->j, "ttl_s");
    else
        jout_milli(&s->j, "ttl_s", en->left_ms);
    jout_int(&s->j, "status", en->status);
    jout_int(&s->j, "bytes", (int64_t)en->bytes);
    jout_bool(&s->j, "varies", en->varies);
    jout_end(&s->j);
}

/* For how long a good answer to it would be kept. */
static void put_lifetime(struct showing *s)
{
    static const char *const by[] = {[LIFETIME_BY_UPSTREAM] = "upstream",
                                     [LIFETIME_BY_REQUEST] = "request",
                                     [LIFETIME_BY_RULES] = "rules",
                                     [LIFETIME_BY_CONFIG] = "configuration"};
    const struct explain_lifetime *l = &s->e->lifetime;

    if (!s->e->ask.may_write) {
        jout_null(&s->j, "would_store");
        return;
    }
    jout_object(&s->j, "would_store");
    jout_str(&s->j, "by", by[l->by]);
    if (l->by == LIFETIME_BY_UPSTREAM || l->fresh_ms == INT64_MAX)
        jout_null(&s->j, "ttl_s");
    else
        jout_milli(&s->j, "ttl_s", l->fresh_ms);
    jout_end(&s->j);
}

struct breaker_states {
    struct slice upstream, model;
    enum breaker_state validation, availability;
};

static void on_breaker(void *arg, const struct breakers_state *state)
{
    struct breaker_states *s = arg;

    if (!slice_eq(s->upstream, slice_str(state->upstream)))
        return;
    if (state->kind == BREAKERS_VALIDATION)
        s->validation = state->state;
    else if (slice_eq(s->model, state->model))
        s->availability = state->state;
}

/* Of a model that has no breaker of its own: closed. */
static void put_breakers(struct showing *s)
{
    const struct explanation *e = s->e;
    struct breaker_states states = {slice_str(s->show->site->upstreams[e->route->upstream].conf.name),
                                    e->facts.model, BREAKER_CLOSED, BREAKER_CLOSED};

    breakers_each(s->show->breakers, clock_mono_ms(), on_breaker, &states);
    jout_object(&s->j, "breakers");
    jout_str(&s->j, "validation", breakers_state_name(states.validation));
    jout_str(&s->j, "availability", breakers_state_name(states.availability));
    jout_end(&s->j);
}

/* Of several answers to one request. */
static void put_several(struct showing *s)
{
    if (!ask_keeps_several(&s->e->ask))
        return;
    jout_object(&s->j, "answers");
    jout_int(&s->j, "kept", s->e->ask.variants);
    jout_int(&s->j, "stored", s->e->answers_stored);
    jout_end(&s->j);
}

int explain_json(const struct explanation *e, const struct explain_request *r,
                 const struct explain_show *show, struct buf *out)
{
    struct showing s = {jout_begin(out), e, r, show};
    int failed;

    jout_object(&s.j, NULL);
    put_verdict(&s);
    put_place(&s);
    if (e->canonicalised) {
        put_scope(&s);
        put_rules(&s);
        put_canonical(&s);
    }
    if (e->keyed) {
        jout_object(&s.j, "excluded");
        put_excluded_members(&s);
        put_headers(&s);
        jout_end(&s.j);
        put_keyed_headers(&s);
        put_key(&s);
        put_lifetime(&s);
    }
    if (e->keyed && show->breakers)
        put_breakers(&s);
    if (e->keyed && !show->offline) {
        put_entry(&s);
        put_several(&s);
        jout_bool(&s.j, "in_flight", e->in_flight);
        explain_json_nearest(&s);
    }
    jout_end(&s.j);
    failed = jout_done(&s.j);
    return failed < 0 ? failed : buf_add_byte(out, '\n');
}
