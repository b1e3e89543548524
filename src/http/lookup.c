/*
 * lookup - what the store has for an exchange, and whether that will do: the entry under its key or under
 * that of its variant, unless something has changed since, its credential is in doubt, or it is too old.
 */
#include "exchange_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/varying.h"
#include "refrain/store/fences.h"
#include "refrain/store/instances.h"

static void entry_drop(struct exchange *x)
{
    entry_ref_release(&x->entry);
    x->entry.entry = NULL;
}

/* What was found below for this very request goes before its copy in memory, so that the answer tells where
 * it came from; but not before what is younger. */
static bool find_below(struct exchange *x, int64_t now_ms, bool in_memory)
{
    struct entry_ref found;

    if (!below_peek(x, &x->key, &found))
        return in_memory;
    if (in_memory && x->entry.entry->started_seq > found.entry->started_seq) {
        entry_ref_release(&found);
        return true;
    }
    if (in_memory)
        entry_ref_release(&x->entry);
    x->entry = found;
    entry_ref_slide(&x->entry, now_ms);
    return true;
}

/* One that slides far has the tiers below told. */
static bool find(struct exchange *x, int64_t now_ms)
{
    const struct site *s = site_of(x);
    bool found;

    if (UNLIKELY(!instances_may_serve(s->instances))) { /* invalidation.strict */
        x->detail = "cut-off";
        x->cut_off = true;
        return false;
    }
    found = s->memory && store_mem_get(s->memory, &x->key, now_ms, &x->entry);

    if (UNLIKELY(x->below != NULL))
        found = find_below(x, now_ms, found);
    if (found && UNLIKELY(x->entry.slid_far))
        store_extend(s->store, &x->entry);
    return found;
}

/* Where the answer has variants, from the common key to that of this request's own. */
static bool find_variant(struct exchange *x, int64_t now_ms)
{
    if (!x->ask.may_read || !find(x, now_ms))
        return false;
    if ((x->entry.entry->flags & ENTRY_VARY) == 0)
        return true;
    x->key =
        varying_key(x->worker->variant_keys, x->entry.entry, x->req.fields.at, x->req.fields.n, scope_of(x));
    entry_drop(x);
    return find(x, now_ms);
}

/* Nearly always answered without a look at the clock. */
static bool is_unproven(const struct exchange *x)
{
    const struct site *s = site_of(x);

    if (x->caller == 0 || (s->reauth_ns == 0 && proofs_refused_n(s->proofs) == 0))
        return false;
    return !proofs_hold(s->proofs, x->caller, s->reauth_ns, clock_mono_ns());
}

static uint64_t target_sum(const struct exchange *x)
{
    const struct site *s = site_of(x);

    return changes_sum(&s->targets, slice_str(s->upstreams[x->route->upstream].conf.name), x->target);
}

bool lookup_is_outdated(const struct exchange *x, int64_t seq)
{
    const struct fences *fences = site_of(x)->fences;

    return x->op == OP_READ && fences_any_target_since(fences, seq) &&
           fences_target_since(fences, target_sum(x), seq);
}

bool lookup_flight_is_outdated(const struct exchange *x, const struct digest *key, int64_t seq)
{
    const struct site *s = site_of(x);
    struct label label = {.key = *key};

    if (fences_latest(s->fences) < seq)
        return false;
    label.namespace_ = plan_namespace(&x->plan, &x->ask, s->namespace_);
    label.operation = operation_name(x);
    label.model = slice_str(x->model);
    label.target = x->op == OP_READ ? target_sum(x) : 0;
    return fences_part_flight(s->fences, &label, seq);
}

/* A credential that upstream has refused, or not been shown for long, has nothing in the store, fresh or
 * stale. */
static bool entry_find(struct exchange *x, int64_t now_ms)
{
    if (!find_variant(x, now_ms))
        return false;
    if (lookup_is_outdated(x, x->entry.entry->started_seq)) {
        entry_drop(x);
        return false;
    }
    x->unproven = is_unproven(x);
    if (!x->unproven)
        return true;
    x->detail = "reauth";
    entry_drop(x);
    return false;
}

static enum fresh_verdict entry_judge(const struct exchange *x, int64_t now_ms)
{
    const struct cachectl *cc = &x->ask.cc;
    struct fresh_stored stored;

    if (now_ms < x->entry.expires_ms && cc->max_age_s == CC_ABSENT && cc->min_fresh_s == CC_ABSENT)
        return FRESH_SERVE; /* nearly always */
    stored = keying_stored(&x->entry);
    return fresh_judge(&stored, cc, now_ms);
}

static enum forwarded_for absent_for(const struct exchange *x)
{
    if (!x->ask.may_read || x->unproven)
        return FOR_REQUEST;
    return digest_eq(&x->key, &x->common_key) ? FOR_MISS : FOR_VARY_MISS;
}

/* Upstream has been failing with the entry's model, and is given a rest (SPEC section 9). */
static bool is_shut(const struct exchange *x)
{
    const struct entry *e = x->entry.entry;

    return breakers_look(site_of(x)->upstreams[x->route->upstream].breakers, entry_slice(e, e->model),
                         clock_mono_ms()) == BREAKER_SHUT;
}

enum fresh_verdict lookup_entry(struct exchange *x)
{
    int64_t now_ms = clock_wall_ms();

    x->verdict = FRESH_ASK;
    x->judged_ms = now_ms;
    if (!entry_find(x, now_ms)) {
        x->forwarded_for = absent_for(x);
        return x->verdict;
    }
    x->verdict = entry_judge(x, now_ms);
    x->forwarded_for = now_ms < x->entry.expires_ms ? FOR_REQUEST : FOR_STALE;
    if (x->verdict == FRESH_ASK)
        entry_drop(x);
    return x->verdict;
}

bool lookup_instead(struct exchange *x, unsigned error_status)
{
    int64_t now_ms = clock_wall_ms();
    struct fresh_stored stored;

    if (x->manner != MANNER_CACHED || !entry_find(x, now_ms))
        return false;
    stored = keying_stored(&x->entry);
    x->judged_ms = now_ms;
    x->verdict = entry_judge(x, now_ms);
    if (x->verdict == FRESH_SERVE)
        return true; /* another one has been luckier */
    if (!fresh_serves_on_error(&stored, &x->ask.cc, now_ms)) {
        entry_drop(x);
        return false;
    }
    x->verdict = FRESH_SERVE_STALE;
    x->instead = true;
    x->error_status = error_status;
    return true;
}

bool lookup_while_shut(struct exchange *x)
{
    if (x->forwarded_for != FOR_STALE || !lookup_instead(x, 0))
        return false;
    x->instead = false; /* nothing was forwarded */
    if (x->verdict == FRESH_SERVE || is_shut(x))
        return true;
    entry_drop(x);
    x->verdict = FRESH_ASK;
    return false;
}

bool lookup_wants_refresh(const struct exchange *x)
{
    return x->ask.may_write && !x->ask.only_if_cached && !x->head_request && !is_shut(x) &&
           flight_open_since(site_of(x)->flights, &x->key) == 0;
}

bool lookup_is_coded_otherwise(struct exchange *x)
{
    if (!x->entry.entry || !ask_wants_identity(&x->ask) ||
        (x->entry.entry->flags & (ENTRY_GZIP | ENTRY_SHRUNK)) != ENTRY_GZIP)
        return false; /* a coding of ours is undone */
    entry_drop(x);
    return true;
}

bool lookup_is_fresh_by_now(struct exchange *x)
{
    struct entry_ref ref;
    bool fresh;

    if (!site_of(x)->memory || !store_mem_peek(site_of(x)->memory, &x->key, clock_wall_ms(), &ref))
        return false;
    fresh = clock_wall_ms() < ref.expires_ms;
    entry_ref_release(&ref);
    return fresh;
}
