#include "account.h"

#include "exchange_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/http/slow.h"
#include "refrain/wire/traceparent.h"
#include "telling.h"

static const char *const result_words[] = {
    [RESULT_HIT] = "hit",
    [RESULT_MISS] = "miss",
    [RESULT_COALESCED] = "coalesced",
    [RESULT_STALE] = "stale",
    [RESULT_REVALIDATED] = "revalidated",
    [RESULT_BYPASS] = "bypass",
    [RESULT_ERROR] = "error",
};
_Static_assert(ARRAY_LEN(result_words) == LABEL_MAX_RESULT, "a word a result");

static const char *const tier_words[] = {
    [TIER_MEMORY] = "memory",
    [TIER_DISK] = "disk",
    [TIER_REDIS] = "redis",
};
_Static_assert(ARRAY_LEN(tier_words) == LABEL_MAX_TIER, "a word a tier");

/* -- the counts -- */

static void count(const struct account_to *to, const struct account *a)
{
    struct metric_block *c = to->counts;

    metric_add2(c, REQUESTS, a->operation_label, a->result, 1);
    metric_add2(c, NAMESPACE_REQUESTS, metrics_label(to->metrics, LABEL_NAMESPACE, a->namespace_), a->result,
                1);
    metric_observe1(c, REQUEST_DURATION, a->result, a->took_ns);
    if (a->streamed)
        metric_time2(c, STREAM, a->operation_label, a->result, a->took_ns);
    else
        metric_time2(c, REQUEST, a->operation_label, a->result, a->took_ns);
    if (a->result == RESULT_HIT || a->result == RESULT_STALE)
        metric_add1(c, HITS, a->tier, 1);
    if (a->collapsed)
        metric_add(c, COALESCED, 1);
}

static uint64_t counted(int64_t tokens)
{
    return tokens > 0 ? (uint64_t)tokens : 0; /* not known: none */
}

/* Which prices a model has is asked of the configuration once. Those that share a label are asked for each
 * time: they need not share a price. */
static const struct price *price_of(struct account_prices *prices, struct slice model, unsigned label)
{
    if (label == LABEL_MAX_MODEL - 1)
        return pricing_find(prices->pricing, model);
    if (!prices->of[label].known) {
        prices->of[label].price = pricing_find(prices->pricing, model);
        prices->of[label].known = true;
    }
    return prices->of[label].price;
}

/* In 1e-9 dollars; of a model without a price, none. */
static uint64_t count_cost(const struct account_to *to, const struct account *a, unsigned model)
{
    const struct price *price = to->prices->pricing->n > 0 ? price_of(to->prices, a->model, model) : NULL;
    const struct price_tokens tokens = {.in = counted(a->tokens_in),
                                        .out = counted(a->tokens_out),
                                        .cached = counted(a->tokens_cached),
                                        .written = counted(a->tokens_cache_write)};
    uint64_t cost = price ? price_nano_dollars(price, &tokens) : 0;

    if (price)
        metric_add1(to->counts, COST_SAVED, model, cost);
    return cost;
}

/* What of upstream's work was not done again. */
static void count_saved(const struct account_to *to, const struct account *a)
{
    unsigned model = metrics_label(to->metrics, LABEL_MODEL, a->model);
    uint64_t cost;

    metric_add1(to->counts, ANSWERS_SAVED, model, 1);
    if (a->tokens_in > 0)
        metric_add2(to->counts, TOKENS_SAVED, model, TOKENS_INPUT, a->tokens_in);
    if (a->tokens_out > 0)
        metric_add2(to->counts, TOKENS_SAVED, model, TOKENS_OUTPUT, a->tokens_out);
    if (a->tokens_cached > 0)
        metric_add1(to->counts, CACHED_TOKENS_SAVED, model, a->tokens_cached);
    metric_add(to->counts, SECONDS_SAVED, a->saved_ns);
    cost = count_cost(to, a, model);
    if (a->client)
        client_saved(a->client, to->counter, counted(a->tokens_in), counted(a->tokens_out), cost);
}

/* -- the log -- */

static void log_request(const struct account *a)
{
    log_buffered(LOG_INFO, "request", LOG_SLICE("id", a->request_id), LOG_SLICE("trace", a->trace_id),
                 LOG_SLICE("operation", a->operation), LOG_SLICE("model", a->model),
                 LOG_SLICE("namespace", a->namespace_),
                 LOG_STR("client", a->client ? a->client->conf.name.data : NULL),
                 LOG_SLICE("upstream", a->upstream), LOG_STR("result", result_words[a->result]),
                 LOG_STR("tier", a->entry ? tier_words[a->tier] : NULL), LOG_STR("reason", a->reason),
                 LOG_SLICE("entry", a->entry_id), LOG_INT("status", a->status), LOG_INT("bytes", a->bytes),
                 LOG_BOOL("complete", a->complete), LOG_INT_KNOWN("tokens_in", a->tokens_in),
                 LOG_INT_KNOWN("tokens_out", a->tokens_out), LOG_INT_KNOWN("tokens_cached", a->tokens_cached),
                 LOG_INT_KNOWN("tokens_cache_write", a->tokens_cache_write),
                 LOG_DUR_KNOWN("saved_ms", a->saved_ns > 0 ? a->saved_ns : -1),
                 LOG_DUR_KNOWN("upstream_ms", a->upstream_ns),
                 LOG_DUR_KNOWN("first_byte_ms", a->first_byte_ns), LOG_DUR("took_ms", a->took_ns));
}

static void keep_slow(struct slow *slow, const struct account *a)
{
    struct slow_request r = {
        .at_ms = clock_wall_ms(),
        .reason = a->reason,
        .result = a->result,
        .streamed = a->streamed,
        .has_tier = a->entry != NULL,
        .tier = a->tier,
        .status = a->status,
        .took_ns = a->took_ns,
        .upstream_ns = a->upstream_ns,
    };

    slow_keep(slow, &r, a->operation_label, a->request_id, a->operation, a->model, a->namespace_);
}

/* What the client had to wait, as far as that is not the length of the answer or its own pace. */
static int64_t waited_ns(const struct account *a)
{
    if (a->first_byte_ns >= 0)
        return a->first_byte_ns;
    return a->streamed && a->entry ? 0 : a->took_ns;
}

static void log_slow(const struct account *a, int64_t ns, int64_t bound_ns)
{
    log_buffered(LOG_WARN, "slow_request", LOG_SLICE("id", a->request_id), LOG_SLICE("trace", a->trace_id),
                 LOG_SLICE("operation", a->operation), LOG_SLICE("model", a->model),
                 LOG_SLICE("namespace", a->namespace_), LOG_SLICE("upstream", a->upstream),
                 LOG_STR("outcome", result_words[a->result]), LOG_STR("reason", a->reason),
                 LOG_DUR_KNOWN("upstream_ms", a->upstream_ns), LOG_DUR("waited_ms", ns),
                 LOG_DUR("bound_ms", bound_ns));
}

void account_settle(const struct account_to *to, const struct account *a)
{
    count(to, a);
    if (a->client)
        client_count(a->client, to->counter, a->result);
    if (account_saves(a))
        count_saved(to, a);
    if (to->slow && slow_is(to->slow, a->streamed, a->operation_label, a->result, a->took_ns))
        keep_slow(to->slow, a);
    telling_request(to->events, a);
    if (to->logs)
        log_request(a);
    if (to->slow_ns > 0 && waited_ns(a) > to->slow_ns)
        log_slow(a, waited_ns(a), to->slow_ns);
}

/* -- what an exchange has to say -- */

static const enum metric_result results[] = {
    [OUT_HIT] = RESULT_HIT,     [OUT_STALE] = RESULT_STALE,         [OUT_REVALIDATED] = RESULT_REVALIDATED,
    [OUT_MISS] = RESULT_MISS,   [OUT_COALESCED] = RESULT_COALESCED, [OUT_BYPASS] = RESULT_BYPASS,
    [OUT_ERROR] = RESULT_ERROR,
};

static unsigned operation_label(const struct exchange *x)
{
    return x->own ? x->view->own_labels[x->own - site_of(x)->rules.own] : operation_kind(x->op);
}

static int64_t known(uint64_t tokens)
{
    return tokens > 0 ? (int64_t)tokens : -1;
}

/* Who joins a call has waited for the rest of it; what it had taken until then is saved. A confirmation saves
 * what the whole would have taken longer. */
static int64_t flight_saved_ns(const struct exchange *x)
{
    const struct flight_times *t = &x->times;
    int64_t before_ns;

    if (x->outcome == OUT_REVALIDATED)
        return t->spared_ns;
    if (x->outcome != OUT_COALESCED || t->asked_ns == 0 || t->answered_ns == 0)
        return 0;
    before_ns = (x->started_ns < t->answered_ns ? x->started_ns : t->answered_ns) - t->asked_ns;
    return before_ns > 0 ? before_ns : 0;
}

/* A flight has brought it, or nothing has. */
static void take_flight(const struct exchange *x, struct account *out)
{
    const struct flight_times *t = &x->times;

    out->model = slice_str(x->model);
    if (x->stored_id[0])
        out->entry_id = slice_make(x->stored_id, ENTRY_ID_LEN);
    out->tokens_in = known(x->tokens.in);
    out->tokens_out = known(x->tokens.out);
    out->tokens_cached = known(x->tokens.cached);
    out->tokens_cache_write = known(x->tokens.written);
    out->upstream_ns = t->answered_ns > 0 ? t->answered_ns - t->asked_ns : -1;
    out->first_byte_ns = x->first_byte_ns > 0 ? x->first_byte_ns - x->started_ns : -1;
    out->saved_ns = flight_saved_ns(x);
}

/* It was answered from the store: who made the entry says what it is of. */
static void take_entry(const struct exchange *x, struct account *out)
{
    const struct entry *e = x->entry.entry;

    out->entry = e;
    out->tier = x->entry.tier;
    out->entry_id = slice_make(e->id, ENTRY_ID_LEN);
    out->model = entry_slice(e, e->model);
    out->namespace_ = entry_slice(e, e->namespace_);
    out->tokens_in = known(e->tokens_in);
    out->tokens_out = known(e->tokens_out);
    out->tokens_cached = known(e->tokens_cached);
    out->tokens_cache_write = known(e->tokens_cache_write);
    out->upstream_ns = out->first_byte_ns = -1;
    out->saved_ns = (int64_t)e->upstream_ms * 1000000;
}

/* Which trace it is part of, where it says so once, and well. */
static void take_trace(const struct exchange *x, struct account *out)
{
    const struct field *f = fields_find(&x->req.fields, SLICE_OF("traceparent"));

    if (f)
        (void)traceparent_read(f->value, &out->trace_id);
}

void account_of(const struct exchange *x, bool sent, struct account *out)
{
    const struct site *s = site_of(x);

    *out = (struct account){
        .request_id = slice_str(x->request_id),
        .client = x->client,
        .namespace_ = plan_namespace(&x->plan, &x->ask, s->namespace_),
        .operation_label = operation_label(x),
        .operation = operation_name(x),
        .result = results[x->outcome],
        .reason = x->detail,
        .status = x->status,
        .bytes = x->bytes_sent,
        .streamed = x->streamed || (x->entry.entry && x->entry.entry->flags & ENTRY_STREAM),
        .complete = sent,
        .collapsed = x->collapsed,
        .took_ns = clock_mono_ns() - x->started_ns,
    };
    take_trace(x, out);
    if (x->route)
        out->upstream = slice_str(s->upstreams[x->route->upstream].conf.name);
    if (x->entry.entry)
        take_entry(x, out);
    else
        take_flight(x, out);
}

void account_of_refusal(const struct worker *w, unsigned status, enum error_code code, struct account *out)
{
    *out = (struct account){
        .request_id = slice_str(w->refusal_id),
        .namespace_ = w->view->site->namespace_,
        .operation_label = operation_kind(OP_PASS),
        .operation = slice_str(dialect_of(OP_PASS)->name),
        .model = SLICE_OF(""),
        .result = RESULT_ERROR,
        .reason = error_name(code),
        .status = status,
        .complete = true,
        .tokens_in = -1,
        .tokens_out = -1,
        .tokens_cached = -1,
        .tokens_cache_write = -1,
        .first_byte_ns = -1,
        .upstream_ns = -1,
    };
}

struct account_to account_to_of(const struct worker *w, struct site_view *view)
{
    return (struct account_to){
        .metrics = w->metrics,
        .counts = w->counts,
        .prices = &view->prices,
        .events = view->site->events,
        .logs = view->site->log_requests,
        .slow_ns = view->site->log_slow_ns,
        .counter = w->counter,
        .slow = w->slow,
    };
}
