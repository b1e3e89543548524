/* /invalidate, and DELETE of one entry: what is meant goes, everywhere, and what went is told. SPEC
 * section 8.
 */
#include <stdlib.h>

#include "api.h"
#include "api_entry.h"
#include "api_invalidate.h"
#include "api_selector.h"
#include "refrain/base/attr.h"
#include "refrain/base/log.h"
#include "refrain/http/site.h"
#include "refrain/store/instances.h"

struct invalidating {
    struct api_call *call;
    struct api_selector said;
    struct instances_invalidation inv;
    bool must_match; /* 404 where nothing does */
};

static uint64_t matched_in(const struct invalidation *inv, enum metric_tier tier)
{
    return inv->tiers[tier].asked ? inv->tiers[tier].matched : 0;
}

static unsigned not_heard(const struct instances_invalidation *x)
{
    unsigned n = 0;

    for (size_t i = 0; i < x->others_n; i++)
        n += !x->others[i].heard;
    return n;
}

void api_invalidation_log(const struct admin_parts *parts, const struct instances_invalidation *x)
{
    const struct invalidation *inv = &x->own;

    if (!inv->dry_run)
        metric_time(parts->counts, INVALIDATION, inv->took_ns);
    log_event(LOG_INFO, "invalidated",
              LOG_STR("kind", invalidation_kind_name(invalidation_kind_of(&inv->which))),
              LOG_BOOL("dry_run", inv->dry_run), LOG_INT("matched", x->matched),
              LOG_INT("memory", matched_in(inv, TIER_MEMORY)), LOG_INT("disk", matched_in(inv, TIER_DISK)),
              LOG_INT("redis", matched_in(inv, TIER_REDIS)), LOG_INT("instances", x->others_n + 1),
              LOG_INT("not_heard", not_heard(x)), LOG_DUR("took_ms", inv->took_ns));
}

static void write_tiers(struct jout *j, const struct invalidation *inv)
{
    jout_object(j, "tiers");
    for (size_t i = 0; i < INVALIDATE_TIERS; i++)
        if (inv->tiers[i].asked)
            jout_int(j, api_tier_names[i], (int64_t)inv->tiers[i].matched);
    jout_end(j);
    jout_object(j, "not_yet"); /* and why */
    for (size_t i = 0; i < INVALIDATE_TIERS; i++)
        if (inv->tiers[i].asked && inv->tiers[i].result != TIER_OK)
            jout_str(j, api_tier_names[i], tier_result_name(inv->tiers[i].result));
    jout_end(j);
}

static void write_other(struct jout *j, const struct instance_answer *a)
{
    jout_object(j, NULL);
    jout_str(j, "id", a->id);
    jout_str(j, "name", a->name[0] ? a->name : NULL);
    jout_bool(j, "heard", a->heard);
    if (a->heard) {
        jout_int(j, "matched", (int64_t)a->matched);
        jout_object(j, "tiers");
        jout_int(j, "memory", (int64_t)a->memory);
        jout_int(j, "disk", (int64_t)a->disk);
        jout_end(j);
    } else {
        jout_milli(j, "seen_s_ago", a->seen_ms);
    }
    jout_end(j);
}

static void write_others(struct jout *j, const struct instances_invalidation *x)
{
    static const char *const tellings[] = {
        [INSTANCES_ALONE] = "nobody", [INSTANCES_TOLD] = "told", [INSTANCES_LATER] = "later"};

    jout_str(j, "others", tellings[x->telling]);
    jout_array(j, "instances");
    for (size_t i = 0; i < x->others_n; i++)
        write_other(j, &x->others[i]);
    jout_end(j);
    jout_int(j, "not_heard", not_heard(x));
}

void api_invalidation_write(struct jout *j, const struct instances_invalidation *x)
{
    const struct invalidation *inv = &x->own;

    jout_str(j, "kind", invalidation_kind_name(invalidation_kind_of(&inv->which)));
    jout_bool(j, "dry_run", inv->dry_run);
    jout_int(j, "matched", (int64_t)x->matched);
    jout_bool(j, "at_least", x->at_least);
    write_tiers(j, inv);
    write_others(j, x);
    jout_milli(j, "took_s", inv->took_ns / 1000000);
}

static void write_answer(struct invalidating *x)
{
    struct jout j = jout_begin(x->call->out);

    jout_object(&j, NULL);
    api_invalidation_write(&j, &x->inv);
    jout_end(&j);
    api_done(x->call, &j);
}

static void on_done(struct instances_invalidation *inv)
{
    struct invalidating *x = CONTAINER_OF(inv, struct invalidating, inv);

    api_invalidation_log(&x->call->parts, inv);
    if (x->must_match && inv->matched == 0)
        api_fail(x->call, 404, "not_found", "there is no entry of this id", "path", NULL);
    else
        write_answer(x);
    api_finish(x->call);
    api_selector_done(&x->said);
    free(x);
}

static struct invalidating *invalidating_new(struct api_call *c)
{
    struct invalidating *x = calloc(1, sizeof(*x));

    if (x)
        x->call = c;
    else
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
    return x;
}

static void start(struct invalidating *x)
{
    struct api_call *c = x->call;

    x->inv.own = (struct invalidation){
        .which = x->said.which,
        .seq = flights_seq(c->site->flights),
        .dry_run = x->said.dry_run,
        .loop = c->loop,
    };
    x->inv.correlation = api_correlation(c);
    x->inv.on_done = on_done;
    api_later(c);
    instances_invalidate(c->site->instances, c->site->invalidator, c->parts.events, &x->inv);
}

void api_invalidate(struct api_call *c)
{
    struct invalidating *x = invalidating_new(c);

    if (!x)
        return;
    if (api_selector_from_body(c, &x->said)) {
        start(x);
        return;
    }
    api_selector_done(&x->said);
    free(x);
}

void api_entries_delete(struct api_call *c)
{
    struct invalidating *x = api_entry_id_is_good(c) ? invalidating_new(c) : NULL;

    if (!x)
        return;
    x->said.which.id = c->args[0];
    x->must_match = true;
    start(x);
}
