#include "peers.h"

#include <errno.h>
#include <unistd.h>

#include "config.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/http/flight.h"
#include "refrain/http/proofs.h"
#include "refrain/store/instances.h"
#include "refrain/store/store.h"
#include "refrain/store/store_disk.h"
#include "refrain/store/tier_breaker.h"

enum {
    CATCH_UP_MS = 2000,
    LATELY_MS = 10000,
};

static int64_t now_seq(void *arg)
{
    const struct peers_parts *parts = arg;

    return flights_seq(parts->flights);
}

static void pass_seq(void *arg, int64_t seq)
{
    const struct peers_parts *parts = arg;

    flights_pass(parts->flights, seq);
}

static void on_refused(void *arg, uint64_t caller)
{
    const struct peers_parts *parts = arg;

    if (proofs_refused(parts->proofs, caller, clock_mono_ns()))
        log_event(LOG_INFO, "credential_suspended", LOG_STR("found_by", "another instance"));
}

/* On the instances' thread. */
static void on_notice(void *arg, const struct instances_notice *n)
{
    (void)arg;
    switch (n->kind) {
    case INSTANCES_NOTICE_LINKED:
        log_event(LOG_INFO, "instances_linked");
        return;
    case INSTANCES_NOTICE_CUT:
        log_event(LOG_WARN, "instances_cut", LOG_STR("why", n->why),
                  LOG_STR("what", "what others invalidate is not heard of until this is mended"));
        return;
    case INSTANCES_NOTICE_GAP:
        log_event(
            LOG_WARN, "instances_gap", LOG_STR("log", n->name),
            LOG_STR("what", "invalidations were missed for good: what they may have meant was dropped"));
        return;
    case INSTANCES_NOTICE_SKEW:
        log_event(LOG_WARN, "clock_skew", LOG_STR("instance", n->name), LOG_INT("ahead_ms", n->ms),
                  LOG_STR("what", "its clock is not that of Redis' machine; set both by NTP"));
        return;
    case INSTANCES_NOTICE_REFUSED:
        log_event(
            LOG_WARN, "instances_refused", LOG_STR("detail", n->name),
            LOG_STR("what", "other instances do not hear of what is invalidated here until this is mended"),
            LOG_STR("what_to_do", "see docs/redis.md for the rights and the memory it needs"));
        return;
    case INSTANCES_NOTICE_FOREIGN:
        log_event(LOG_WARN, "instances_foreign",
                  LOG_STR("what", "somebody writes to keys or channels of this prefix what is no message"));
        return;
    }
}

/* The disk tier itself, behind the breaker that gives it a rest. */
static struct tier *disk_of(const struct store *s)
{
    for (size_t i = 0; i < store_lower_n(s); i++)
        if (store_lower(s, i)->ops->kind == TIER_DISK)
            return tier_breaker_inner(store_lower(s, i));
    return NULL;
}

int peers_make(const struct config *conf, const struct peers_parts *parts, struct instances **out)
{
    char host[INSTANCE_NAME_BYTES + 1] = "";
    struct instances_conf ic = {
        .prefix = slice_str(conf->cache.prefix),
        .name = host,
        .events = parts->events,
        .invalidator = parts->invalidator,
        .fences = parts->fences,
        .meta_get = store_disk_meta_get,
        .meta_put = store_disk_meta_put,
        .ledger = parts->ledger,
        .strict = conf->invalidation_strict,
        .seq = now_seq,
        .pass = pass_seq,
        .on_refused = on_refused,
        .on_notice = on_notice,
        .arg = (void *)(uintptr_t)parts,
    };

    if (!conf->tiers.redis.url)
        return 0;
    ic.redis = config_redis(conf);
    ic.disk = disk_of(parts->store);
    (void)gethostname(host, sizeof(host) - 1);
    *out = instances_new(&ic);
    if (!*out) {
        log_event(LOG_ERROR, "instances_failed", LOG_STR("why", "out of memory or threads"));
        return -ENOMEM;
    }
    instances_wait(*out, CATCH_UP_MS);
    return 0;
}

const char *peers_link(struct instances *in)
{
    static const char *const words[] = {
        [INSTANCES_CONNECTING] = "connecting", [INSTANCES_LINKED] = "up", [INSTANCES_CUT] = "degraded"};
    struct instances_stats st;

    if (!in)
        return "off";
    instances_stats(in, &st);
    return words[st.link];
}

void peers_collect(struct instances *in, struct metrics *m)
{
    struct instances_stats st;
    unsigned lately = 0;

    if (!in)
        return;
    instances_stats(in, &st);
    for (size_t i = 0; i < st.seen_n; i++)
        lately += st.seen[i].seen_ms < LATELY_MS;
    metrics_set(m, INSTANCES, lately);
    metrics_set(m, INSTANCES_LINKED, st.link == INSTANCES_LINKED);
    metrics_set1(m, INSTANCE_MESSAGES, MESSAGE_TOLD, st.told);
    metrics_set1(m, INSTANCE_MESSAGES, MESSAGE_HEARD, st.heard);
    metrics_set1(m, INSTANCE_MESSAGES, MESSAGE_FOREIGN, st.foreign);
    metrics_set(m, INSTANCE_MESSAGES_WAITING, st.waiting);
    metrics_set(m, INSTANCE_CUTS, st.cuts);
    metrics_set(m, INSTANCE_GAPS, st.gaps);
}
