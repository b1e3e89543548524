/* /stats: what was counted since the start, as it is now. docs/admin-api.md says what each number means. SPEC
 * section 12. */
#include "api_stats.h"

#include "api.h"
#include "api_entry.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/site.h"
#include "refrain/ops/monitor.h"
#include "refrain/store/instances.h"
#include "refrain/store/tier_breaker.h"

void api_write_requests(struct jout *j, const uint64_t requests[LABEL_MAX_RESULT], struct metrics *m)
{
    jout_object(j, "requests");
    jout_int(j, "total", (int64_t)reading_total(requests));
    for (unsigned i = 0; i < LABEL_MAX_RESULT; i++)
        jout_int(j, metrics_label_text(m, LABEL_RESULT, i), (int64_t)requests[i]);
    jout_end(j);
}

void api_write_hit_rate(struct jout *j, const uint64_t requests[LABEL_MAX_RESULT])
{
    int64_t nano = reading_hit_rate_nano(requests);

    if (nano < 0)
        jout_null(j, "hit_rate");
    else
        jout_nano(j, "hit_rate", nano);
}

static uint64_t of_operation(struct metrics *m, unsigned operation, unsigned result)
{
    return metrics_sum2(m, REQUESTS, operation, result);
}

static uint64_t of_namespace(struct metrics *m, unsigned space, unsigned result)
{
    return metrics_sum2(m, NAMESPACE_REQUESTS, space, result);
}

/* Requests in parts, by a label; the parts of which there were any. */
struct parting {
    const char *list, *name;
    enum metric_label label;
    unsigned n;
    uint64_t (*count)(struct metrics *m, unsigned part, unsigned result);
};
static const struct parting partings[] = {
    {"operations", "operation", LABEL_OPERATION, LABEL_MAX_OPERATION, of_operation},
    {"namespaces", "namespace", LABEL_NAMESPACE, LABEL_MAX_NAMESPACE, of_namespace},
};

static void write_parted(struct jout *j, struct metrics *m, const struct parting *by)
{
    jout_array(j, by->list);
    for (unsigned part = 0; part < by->n; part++) {
        uint64_t requests[LABEL_MAX_RESULT];

        for (unsigned i = 0; i < LABEL_MAX_RESULT; i++)
            requests[i] = by->count(m, part, i);
        if (reading_total(requests) == 0)
            continue;
        jout_object(j, NULL);
        jout_str(j, by->name, metrics_label_text(m, by->label, part));
        api_write_requests(j, requests, m);
        api_write_hit_rate(j, requests);
        jout_end(j);
    }
    jout_end(j);
}

/* -- what was saved -- */

static void write_saved_model(struct jout *j, struct metrics *m, unsigned model)
{
    uint64_t answers = metrics_sum1(m, ANSWERS_SAVED, model);
    uint64_t in = metrics_sum2(m, TOKENS_SAVED, model, TOKENS_INPUT);
    uint64_t out = metrics_sum2(m, TOKENS_SAVED, model, TOKENS_OUTPUT);
    uint64_t nano_dollars = metrics_sum1(m, COST_SAVED, model);

    if (answers == 0)
        return;
    jout_object(j, NULL);
    jout_str(j, "model", metrics_label_text(m, LABEL_MODEL, model));
    jout_int(j, "hits", (int64_t)answers);
    jout_int(j, "tokens_in", (int64_t)in);
    jout_int(j, "tokens_out", (int64_t)out);
    jout_int(j, "tokens_cached", (int64_t)metrics_sum1(m, CACHED_TOKENS_SAVED, model));
    if (nano_dollars > 0)
        jout_nano(j, "dollars", (int64_t)nano_dollars);
    else
        jout_null(j, "dollars"); /* no price is known of it */
    jout_end(j);
}

static void write_saved(struct jout *j, const struct reading *r, struct metrics *m, bool priced)
{
    jout_object(j, "saved");
    jout_int(j, "tokens_in", (int64_t)r->tokens_saved_in);
    jout_int(j, "tokens_out", (int64_t)r->tokens_saved_out);
    jout_int(j, "tokens_cached", (int64_t)r->tokens_saved_cached);
    jout_nano(j, "seconds", (int64_t)r->saved_ns);
    jout_nano(j, "dollars", (int64_t)r->saved_nano_dollars);
    jout_bool(j, "priced", priced);
    jout_array(j, "models");
    for (unsigned model = 0; model < LABEL_MAX_MODEL; model++)
        write_saved_model(j, m, model);
    jout_end(j);
    jout_end(j);
}

/* -- tiers -- */

/* A number that a tier cannot tell is null. */
static void write_known(struct jout *j, const char *name, uint64_t n)
{
    if (n == UINT64_MAX)
        jout_null(j, name);
    else
        jout_int(j, name, (int64_t)n);
}

static const char *state_of(const struct reading_tier *t)
{
    if (!t->on)
        return "off";
    if (!t->up || t->breaker == TIER_BREAKER_OPEN)
        return "down";
    return t->degraded || t->breaker == TIER_BREAKER_HALF_OPEN ? "degraded" : "up";
}

/* What a lower tier can tell of itself at all. */
static struct tier_stats told_by(const struct inventory_place *tiers, unsigned kind)
{
    struct tier_stats told = {.entries = UINT64_MAX, .bytes = UINT64_MAX};

    for (size_t i = 0; i < tiers->lower_n; i++) {
        struct tier *t = tiers->lower[i]->tier;

        if (t->ops->kind == kind)
            t->ops->stats(t, &told);
    }
    if (kind == TIER_MEMORY && tiers->memory)
        told.entries = told.bytes = 0;
    return told;
}

static void write_tier(struct jout *j, unsigned kind, const struct reading_tier *t,
                       const struct inventory_place *tiers)
{
    struct tier_stats told = told_by(tiers, kind);

    jout_object(j, NULL);
    jout_str(j, "tier", api_tier_names[kind]);
    jout_str(j, "state", state_of(t));
    write_known(j, "entries", told.entries == UINT64_MAX ? UINT64_MAX : t->entries);
    write_known(j, "bytes", told.bytes == UINT64_MAX ? UINT64_MAX : t->bytes);
    write_known(j, "limit_bytes", t->limit_bytes > 0 ? t->limit_bytes : UINT64_MAX);
    if (t->limit_bytes > 0)
        jout_nano(j, "fill", (int64_t)((double)t->bytes / (double)t->limit_bytes * 1e9));
    else
        jout_null(j, "fill");
    jout_int(j, "hits", (int64_t)t->hits);
    jout_int(j, "evictions", (int64_t)t->evicted);
    jout_int(j, "errors", (int64_t)t->errors);
    jout_end(j);
}

/* -- the rest -- */

static void write_not_stored(struct jout *j, const struct reading *r, struct metrics *m)
{
    jout_array(j, "not_stored");
    for (unsigned i = 0; i < LABEL_MAX_REASON; i++) {
        if (r->not_stored[i] == 0)
            continue;
        jout_object(j, NULL);
        jout_str(j, "reason", metrics_label_text(m, LABEL_REASON, i));
        jout_int(j, "count", (int64_t)r->not_stored[i]);
        jout_end(j);
    }
    jout_end(j);
}

static void write_now(struct jout *j, const struct reading *r)
{
    jout_object(j, "upstream");
    jout_int(j, "calls", (int64_t)r->upstream_calls);
    jout_int(j, "failures", (int64_t)r->upstream_failures);
    jout_end(j);
    jout_object(j, "flights");
    jout_int(j, "open", (int64_t)r->flights);
    jout_int(j, "readers", (int64_t)r->readers);
    jout_end(j);
    jout_int(j, "coalesced", (int64_t)r->coalesced);
    jout_int(j, "invalidations", (int64_t)r->invalidations);
    jout_int(j, "breakers_open", r->breakers_open);
    jout_object(j, "process");
    jout_int(j, "rss_bytes", (int64_t)r->rss_bytes);
    jout_int(j, "connections", (int64_t)r->connections);
    jout_int(j, "buffered_bytes", (int64_t)r->buffered_bytes);
    jout_end(j);
}

void api_stats_write(const struct admin_parts *parts, struct jout *j)
{
    const struct monitor *monitor = parts->monitor;
    const struct reading_sources *from = monitor_sources(monitor);
    struct metrics *m = from->metrics;
    struct reading r;

    reading_counts(from, &r);
    jout_str(j, "version", REFRAIN_VERSION);
    jout_str(j, "instance", events_source(parts->events));
    jout_time(j, "started", monitor_began_ms(monitor));
    jout_milli(j, "uptime_s", clock_mono_ms() - monitor_began_mono_ms(monitor));
    jout_time(j, "now", clock_wall_ms());
    api_write_requests(j, r.requests, m);
    api_write_hit_rate(j, r.requests);
    for (size_t i = 0; i < ARRAY_LEN(partings); i++)
        write_parted(j, m, &partings[i]);
    write_saved(j, &r, m, parts->site(parts->arg)->pricing.n > 0);
    jout_array(j, "tiers");
    for (unsigned i = 0; i < LABEL_MAX_TIER; i++)
        write_tier(j, i, &r.tiers[i], from->tiers);
    jout_end(j);
    write_not_stored(j, &r, m);
    write_now(j, &r);
}

void api_stats(struct api_call *c)
{
    struct jout j = jout_begin(c->out);

    jout_object(&j, NULL);
    api_stats_write(&c->parts, &j);
    jout_end(&j);
    api_done(c, &j);
}
