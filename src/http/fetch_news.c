/*
 * fetch_news - what upstream's status tells besides: which targets an unsafe request has changed, whether a
 * caller's credential is good, and whether our own is.
 */
#include "fetch_priv.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/store/instances.h"

void fetch_note_change(const struct fetch *x, unsigned status, const struct fields *fields)
{
    const struct upstream_conf *upstream = &x->tries.upstream->conf;
    struct changes_place place = {slice_str(upstream->name), slice_str(upstream->url), x->changes};
    uint64_t changed[CHANGES_MAX];
    size_t n;

    if (x->changes.len == 0 || status < 200 || status >= 400)
        return;
    n = changes_of(&x->site->targets, &place, fields, changed);
    for (size_t i = 0; i < n; i++) {
        invalidate_target(x->site->invalidator, changed[i], flights_seq(x->site->flights));
        instances_note_target(x->site->instances, changed[i]);
    }
}

/* A redirect may lead to a login. */
static bool is_success(unsigned status)
{
    return status / 100 == 2 || status == 304;
}

void fetch_note_proof(const struct fetch *x, unsigned status)
{
    struct proofs *proofs = x->site->proofs;
    const char *news = NULL;

    if (x->caller == 0)
        return;
    if (status == 401 && proofs_refused(proofs, x->caller, clock_mono_ns())) {
        news = "credential_suspended";
        instances_note_refused(x->site->instances, x->caller); /* it has hits at others, too */
    } else if (is_success(status) &&
               proofs_accepted(proofs, x->caller, x->started_ns, x->site->reauth_ns > 0))
        news = "credential_restored";
    if (news)
        log_event(LOG_INFO, news, LOG_STR("upstream", x->tries.upstream->conf.name),
                  LOG_STR("flight", flight_id(x->flight)));
}

bool fetch_takes_ours(struct fetch *x, unsigned status)
{
    const struct site_upstream *u = x->tries.upstream;
    bool before;

    if (!x->shows_ours || (status != 401 && !is_success(status)))
        return true;
    before = atomic_load_explicit(u->refused_us, memory_order_relaxed);
    if (before != (status == 401) && atomic_exchange(u->refused_us, status == 401) == before)
        log_event(status == 401 ? LOG_ERROR : LOG_INFO,
                  status == 401 ? "upstream_credential_refused" : "upstream_credential_accepted",
                  LOG_STR("upstream", u->conf.name),
                  LOG_STR("what_to_do", status == 401 ? "mend upstreams.NAME.credential and reload" : NULL));
    x->refused_us = status == 401;
    return !x->refused_us;
}
