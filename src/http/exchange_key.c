/*
 * exchange_key - which request is it? KEY asks the memo, which knows what its bytes came to the last time;
 * else MAKE makes the canonical form of its body, large ones on the pool, and MADE its key. With the key come
 * the rules that match, and so the plan.
 */
#include <stdlib.h>

#include "exchange_priv.h"
#include "refrain/base/clock.h"

enum { MAKE_INLINE_MAX = 64 * 1024 /* larger bodies are canonicalised on the thread pool */ };

/* The bytes that the key depends on, as they came: equal bytes, equal key. */
static void tag_make(struct exchange *x)
{
    struct memo_hasher *h = x->worker->hasher;

    memo_hash_begin(h);
    memo_hash_add(h, x->req.method);
    memo_hash_add(h, x->req.target);
    if (x->client) /* in place of its credential */
        memo_hash_add(h, slice_make(&x->client->number, sizeof(x->client->number)));
    memo_hash_add_fields(h, &x->req.fields, &site_of(x)->reads);
    memo_hash_add(h, buf_slice(&x->body));
    x->tag = memo_hash_end(h);
}

static void plan_take(struct exchange *x, uint64_t rules)
{
    keying_plan(site_of(x), x->client, rules, x->own, &x->plan);
    plan_bound(&x->plan, &x->ask);
}

/* What is to become of the request is known: whether the cache may have to do with it at all, and how. */
static enum step step_planned(struct exchange *x)
{
    struct keying k = exchange_keying(x);
    const char *why = "";

    if (!keying_check_leave(&k, &x->ask, &why)) {
        exchange_refuse(x, ERR_REQUEST_INVALID, why);
        return exchange_reply_refusal(x);
    }
    if (x->plan.cache == RULE_CACHE_OFF) {
        exchange_bypass(x, "rule");
        return STEP_PASS;
    }
    return STEP_LOOKUP;
}

/* A memo knows what keys and rules come to under the site that its worker now has. What began under one
 * before, and was read or canonicalised while it was replaced, neither asks it nor teaches it. */
static bool memo_is_of_site(const struct exchange *x)
{
    return x->view == x->worker->view;
}

enum step step_key(struct exchange *x)
{
    const struct memo_value *known;

    if (x->refused)
        return exchange_reply_refusal(x);
    x->body_whole = true;
    tag_make(x);
    known = memo_is_of_site(x) ? memo_get(x->worker->memo, &x->tag) : NULL;
    metric_add(x->worker->counts, MEMO_HITS, known ? 1 : 0);
    metric_add(x->worker->counts, MEMO_MISSES, known ? 0 : 1);
    if (!known)
        return STEP_MAKE;
    x->key = x->common_key = x->base_key = known->key;
    x->caller = known->caller;
    if (known->own_operation > 0)
        x->own = &site_of(x)->rules.own[known->own_operation - 1];
    plan_take(x, known->rules);
    return step_planned(x);
}

void exchange_keep_model(struct exchange *x, struct slice model)
{
    size_t n = model.len < MODEL_SHOWN_MAX ? model.len : MODEL_SHOWN_MAX;

    if (n > 0)
        memcpy(x->model, model.data, n);
    x->model[n] = '\0';
}

static void canonicalise(struct exchange *x)
{
    struct keying k = exchange_keying(x);
    int64_t before = clock_mono_ns();

    x->canon = keying_canonicalise(&k, &x->canonical, &x->facts, NULL);
    k = exchange_keying(x);
    keying_trace_body(&k);
    x->key_ns = clock_mono_ns() - before;
}

static void count_key(struct exchange *x)
{
    metric_observe1(x->worker->counts, KEY, (unsigned)prompt_tier_of(x->facts.characters), x->key_ns);
    metric_time(x->worker->counts, KEY, x->key_ns);
}

static void on_make_work(struct loop_work *work)
{
    canonicalise(CONTAINER_OF(work, struct exchange, work));
}

static void on_make_done(struct loop_work *work)
{
    struct exchange *x = CONTAINER_OF(work, struct exchange, work);

    x->waiting_for_work = false;
    exchange_resume(x);
}

/* What is asked again because upstream has to hear of it has been remembered the first time. */
static void trace_new(struct exchange *x)
{
    const struct recent *recent = site_of(x)->recent;

    x->trace = recent && !x->looked ? malloc(sizeof(*x->trace)) : NULL;
    if (x->trace)
        trace_begin(x->trace, recent_secret(recent));
}

static void remember(struct exchange *x)
{
    if (x->trace)
        recent_add(site_of(x)->recent, x->trace, &x->common_key, x->op, clock_mono_ms());
    free(x->trace);
    x->trace = NULL;
}

enum step step_make(struct exchange *x)
{
    trace_new(x);
    if (x->body.len <= MAKE_INLINE_MAX) {
        canonicalise(x);
        return STEP_MADE;
    }
    x->waiting_for_work = true;
    x->work = (struct loop_work){.on_work = on_make_work, .on_done = on_make_done};
    loop_work_start(x->worker->loop, &x->work);
    x->next = STEP_MADE;
    front_park(&x->req);
    return STEP_PARKED;
}

enum step step_made(struct exchange *x)
{
    struct memo_value value = {0};
    enum step planned;
    struct keying k;
    const char *why;

    if (x->waiting_for_work) { /* woken for another reason */
        front_park(&x->req);
        return STEP_PARKED;
    }
    count_key(x);
    exchange_keep_model(x, x->facts.model);
    x->streamed = x->facts.stream;
    k = exchange_keying(x);
    value.rules = keying_rules(&k);
    x->own = k.own;
    plan_take(x, value.rules);
    why = keying_body_bypass(&k);
    if (why && x->entry.entry)
        return exchange_reply_entry(x); /* there is nothing to refresh it by */
    if (why) {
        exchange_bypass(x, why);
        return STEP_PASS;
    }
    planned = step_planned(x); /* before the key: it may take out of the request what wants leave */
    if (x->refused)
        return planned;
    x->keyed = true;
    if (x->looked)
        return x->entry.entry ? STEP_REFRESH : STEP_JOIN;
    k.out_caller = &x->caller;
    x->key = x->common_key = x->base_key = value.key = keying_make(x->worker->keys, &k);
    remember(x);
    value.own_operation = x->own ? (uint16_t)(x->own - site_of(x)->rules.own + 1) : 0;
    value.caller = x->caller & KEY_CALLER_MAX;
    if (memo_is_of_site(x) && planned != STEP_PASS) /* which wants the model, for breakers and the log */
        memo_put(x->worker->memo, &x->tag, &value);
    return planned;
}
