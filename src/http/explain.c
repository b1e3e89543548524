#include "refrain/http/explain.h"
#include "refrain/policy/lifetime.h"

#include <errno.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/http/admission.h"
#include "refrain/http/keying.h"
#include "refrain/http/varying.h"
#include "refrain/store/instances.h"
#include "refrain/store/store_mem.h"

enum { BELOW_MS = 2000 }; /* for the tiers below memory to answer */

struct explaining {
    const struct site *site;
    const struct explain_request *r;
    int64_t wall_ms, mono_ms;
    struct explanation *out;
    struct key_maker *maker;
    uint64_t caller; /* who asks; 0: nobody that proves anything */
};

static bool end(struct explaining *x, enum explain_fate fate, const char *why)
{
    x->out->fate = fate;
    x->out->why = why;
    return false;
}

static struct keying keying_of(const struct explaining *x)
{
    const struct explanation *e = x->out;

    return (struct keying){
        .site = x->site,
        .route = e->route,
        .op = e->op,
        .own = e->own,
        .method = x->r->method,
        .raw_target = e->raw_target,
        .target = e->target,
        .fields = x->r->fields,
        .ask = &e->ask,
        .client = e->client,
        .has_body = x->r->has_body,
        .content_length = x->r->has_body ? (int64_t)x->r->body.len : -1,
        .body = x->r->body,
        .canon = e->canon,
        .canonical = buf_slice(&e->canonical),
        .facts = &e->facts,
        .plan = &e->plan,
        .trace = e->trace,
    };
}

/* -- as an exchange does it: from its head, from its body, in the store -- */

/* Its limits are not asked: they are about who sends a request. */
static bool take_client(struct explaining *x)
{
    struct explanation *e = x->out;
    struct keying k = keying_of(x);
    struct admission_request r = {
        .method = x->r->method,
        .target = e->raw_target,
        .target_bytes = e->target_bytes = malloc(e->raw_target.len + 1),
        .fields = x->r->fields,
        .has_body = x->r->has_body,
    };
    struct admitter *a = admitter_new();
    enum admission admission;

    if (!r.target_bytes)
        abort(); /* as long as the target */
    (void)keying_operation(&k);
    r.key_in_query = dialect_of(k.op)->key_in_query;
    admission = admit(a, x->site->roster, false, &r, &e->client);
    admitter_free(a);
    e->raw_target = r.target;
    if (admission == ADMISSION_PREFLIGHT)
        return true;
    if (admission != ADMISSION_GIVEN) {
        e->op = k.op;
        return end(x, EXPLAIN_REFUSED, admission_refusal(admission));
    }
    return keying_route(x->site, e->raw_target, &e->route, &e->target, &e->path);
}

static bool read_head(struct explaining *x)
{
    struct explanation *e = x->out;
    const char *why = "";
    bool asks_well, names_one;
    struct keying k;

    fields_classify(x->r->fields, x->site->headers);
    e->raw_target = x->r->target;
    if (!keying_route(x->site, e->raw_target, &e->route, &e->target, &e->path))
        return end(x, EXPLAIN_REFUSED, "no route matches this path");
    if (x->site->roster && !take_client(x))
        return false;
    if (x->site->body_bytes_max > 0 && x->r->body.len > x->site->body_bytes_max)
        return end(x, EXPLAIN_REFUSED, "the body is larger than listen.max_body_bytes");
    asks_well = ask_read(x->r->fields, &x->site->ask, &e->ask, &why);
    if (asks_well && e->client)
        asks_well = admission_namespace(x->site->roster, e->client, &e->ask, &why);
    k = keying_of(x);
    names_one = keying_operation(&k);
    e->op = k.op; /* a refusal tells it, too */
    e->own = k.own;
    if (!asks_well)
        return end(x, EXPLAIN_REFUSED, why);
    if (!names_one)
        return end(x, EXPLAIN_REFUSED, x->site->own_operations);
    keying_plan(x->site, e->client, 0, e->own, &e->plan);
    why = keying_head_bypass(&k);
    return why ? end(x, EXPLAIN_PASSED, why) : true;
}

static bool read_body(struct explaining *x)
{
    struct explanation *e = x->out;
    const char *why;
    struct keying k;
    uint64_t matched;

    k = keying_of(x);
    e->canon = keying_canonicalise(&k, &e->canonical, &e->facts, &e->canon_why);
    e->canonicalised = true;
    k = keying_of(x);
    keying_trace_body(&k);
    matched = keying_rules(&k);
    keying_plan(x->site, e->client, matched, k.own, &e->plan);
    e->own = k.own;
    plan_bound(&e->plan, &e->ask);
    e->scope = keying_scope(&k);
    e->namespace_ = keying_namespace(&k);
    why = keying_body_bypass(&k);
    if (why)
        return end(x, EXPLAIN_PASSED, why);
    k = keying_of(x);
    if (!keying_check_leave(&k, &e->ask, &why))
        return end(x, EXPLAIN_REFUSED, why);
    return e->plan.cache == RULE_CACHE_OFF ? end(x, EXPLAIN_PASSED, "rule") : true;
}

static void make_key(struct explaining *x)
{
    struct keying k = keying_of(x);

    k.out_caller = &x->caller;
    x->out->key = keying_make(x->maker, &k);
    x->out->keyed = true;
}

/* As a request would find it: in memory, or where that has nothing fresh below it, if that is younger. */
static bool find(struct explaining *x, const struct digest *key, struct entry_ref *ref)
{
    const struct explanation *e = x->out;
    struct store_mem *memory = x->site->memory;
    struct label label = {.key = *key,
                          .namespace_ = e->namespace_,
                          .operation = e->own ? e->own->name : slice_str(dialect_of(e->op)->name),
                          .model = e->facts.model};
    struct entry_ref below;
    bool held = memory && store_mem_peek(memory, key, x->wall_ms, ref);

    if ((held && ref->expires_ms > x->wall_ms) || !e->ask.may_read ||
        !store_ask(x->site->store, &label, BELOW_MS, &below))
        return held;
    if (held && below.expires_ms <= ref->expires_ms) {
        entry_ref_release(&below);
        return true;
    }
    if (held)
        entry_ref_release(ref);
    *ref = below;
    return true;
}

/* Which of the variants is the request's. */
static bool peek_variant(struct explaining *x, struct entry_ref *ref)
{
    struct sha256 *hash = sha256_new();
    struct digest key = varying_key(hash, ref->entry, x->r->fields->at, x->r->fields->n, x->out->scope);

    sha256_free(hash);
    entry_ref_release(ref);
    x->out->entry.varies = true;
    return find(x, &key, ref);
}

static void note_entry(struct explaining *x, const struct entry_ref *ref)
{
    struct explain_entry *out = &x->out->entry;
    const struct entry *e = ref->entry;
    struct fresh_stored stored = keying_stored(ref);

    out->held = true;
    out->tier = ref->tier;
    memcpy(out->id, e->id, ENTRY_ID_LEN);
    out->age_s = fresh_age_s(&stored, x->wall_ms);
    out->left_ms = ref->expires_ms == INT64_MAX ? INT64_MAX : ref->expires_ms - x->wall_ms;
    out->status = e->status;
    out->bytes = e->bytes;
    out->verdict = fresh_judge(&stored, &x->out->ask.cc, x->wall_ms);
}

static bool peek(struct explaining *x, const struct digest *key)
{
    struct entry_ref ref;

    if (!find(x, key, &ref))
        return false;
    if ((ref.entry->flags & ENTRY_VARY) != 0 && !peek_variant(x, &ref))
        return false;
    note_entry(x, &ref);
    entry_ref_release(&ref);
    return true;
}

/* Upstream has refused the credential, or has not been shown it for long. */
static bool is_unproven(const struct explaining *x)
{
    return x->caller != 0 && x->site->proofs &&
           !proofs_hold(x->site->proofs, x->caller, x->site->reauth_ns, x->mono_ms * 1000000);
}

/* What is held decides, unless something keeps the request from it. */
static void judge(struct explaining *x)
{
    struct explanation *e = x->out;

    if (!e->entry.held)
        (void)end(x, EXPLAIN_MISS, e->entry.varies ? "vary" : "absent");
    else if (!e->ask.may_read)
        (void)end(x, EXPLAIN_MISS, "request");
    else if (!instances_may_serve(x->site->instances))
        (void)end(x, EXPLAIN_MISS, "cut-off");
    else if (is_unproven(x))
        (void)end(x, EXPLAIN_MISS, "reauth");
    else if (e->entry.verdict == FRESH_ASK)
        (void)end(x, EXPLAIN_MISS, e->entry.left_ms > 0 ? "request" : "expired");
    else
        (void)end(x, e->entry.verdict == FRESH_SERVE ? EXPLAIN_HIT : EXPLAIN_STALE, NULL);
}

/* Of several answers that are kept any may be given, once all are there. */
static void look_up_several(struct explaining *x)
{
    struct explanation *e = x->out;

    for (unsigned i = e->ask.variants; i > 0; i--) {
        struct digest key = key_of_variant(x->maker, &e->key, i);

        if (peek(x, &key) && e->entry.left_ms > 0)
            e->answers_stored++;
    }
    judge(x);
    if (e->fate >= EXPLAIN_STALE && e->answers_stored < e->ask.variants && !e->ask.only_if_cached)
        (void)end(x, EXPLAIN_MISS, "variants");
}

static void look_up(struct explaining *x)
{
    if (ask_keeps_several(&x->out->ask)) {
        look_up_several(x);
        return;
    }
    (void)peek(x, &x->out->key);
    judge(x);
}

/* As keep will have it, where upstream has no say. */
static void note_lifetime(struct explaining *x)
{
    struct explanation *e = x->out;
    struct lifetime_conf conf = x->site->lifetime;
    struct lifetime_says says = {.terms_s = e->ask.ttl_s, .finish_s = LIFETIME_UNSAID};
    struct lifetime lifetime;

    e->lifetime = (struct explain_lifetime){.by = LIFETIME_BY_UPSTREAM};
    if (e->op == OP_READ)
        return;
    e->lifetime.by = LIFETIME_BY_REQUEST;
    if (says.terms_s == LIFETIME_UNSAID && e->plan.ttl_s != RULE_TTL_UNSAID) {
        e->lifetime.by = LIFETIME_BY_RULES;
        says.terms_s = e->plan.ttl_s;
    } else if (says.terms_s == LIFETIME_UNSAID) {
        e->lifetime.by = LIFETIME_BY_CONFIG;
    }
    says.otherwise_s = x->site->ttl_s[e->op];
    conf.jitter_percent = 0;
    lifetime_choose(&conf, &says, &lifetime);
    e->lifetime.fresh_ms = lifetime.fresh_ms;
}

static void find_nearest(struct explaining *x)
{
    struct explanation *e = x->out;

    if (x->site->recent)
        e->has_nearest = recent_find(x->site->recent, e->trace, e->op, x->mono_ms, &e->nearest);
}

static bool prepare(struct explaining *x)
{
    static const struct siphash_key nobody = {
        {0, 0}}; /* of names alone: with nothing to compare to, no secret */
    struct explanation *e = x->out;

    *e = (struct explanation){.canonical = BUF_INIT(0)};
    e->trace = malloc(sizeof(*e->trace));
    e->shipped = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    if (e->trace)
        trace_begin(e->trace, x->site->recent ? recent_secret(x->site->recent) : &nobody);
    return e->trace && e->shipped;
}

int explain(const struct site *site, const struct explain_request *r, int64_t wall_ms, int64_t mono_ms,
            struct explanation *out)
{
    struct explaining x = {site, r, wall_ms, mono_ms, out, NULL, 0};

    if (!prepare(&x)) {
        explanation_done(out);
        return -ENOMEM;
    }
    if (!read_head(&x) || !read_body(&x))
        return 0;
    x.maker = key_maker_new();
    make_key(&x);
    look_up(&x);
    note_lifetime(&x);
    key_maker_free(x.maker);
    out->in_flight = site->flights && flight_open_since(site->flights, &out->key) > 0;
    if (out->fate == EXPLAIN_MISS)
        find_nearest(&x);
    return 0;
}

void explanation_done(struct explanation *e)
{
    buf_done(&e->canonical);
    free(e->trace);
    free(e->target_bytes);
    header_table_free(e->shipped);
    e->trace = NULL;
    e->target_bytes = NULL;
    e->shipped = NULL;
}
