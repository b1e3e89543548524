#include "refrain/base/clock.h"
#include "refrain/base/metrics.h"
#include "refrain/base/tls.h"
#include "refrain/http/breakers.h"
#include "refrain/http/clients.h"
#include "refrain/http/flight.h"
#include "refrain/http/limits.h"
#include "refrain/http/proofs.h"
#include "refrain/store/invalidate.h"
#include "serve_priv.h"

/* -- counts that others keep -- */

/* Past the label's ceiling several clients are one series: their counts are added up before they are shown.
 */
struct client_sums {
    struct metrics *metrics;
    struct client_counts by_label[LABEL_MAX_CLIENT];
    bool used[LABEL_MAX_CLIENT];
};

static void add_client(void *arg, const char *name, const struct client_counts *counts, unsigned running)
{
    struct client_sums *sums = arg;
    unsigned label = metrics_label(sums->metrics, LABEL_CLIENT, slice_str(name));
    struct client_counts *sum = &sums->by_label[label];

    (void)running;
    for (size_t i = 0; i < LABEL_MAX_RESULT; i++)
        sum->requests[i] += counts->requests[i];
    sum->limited_rate += counts->limited_rate;
    sum->limited_concurrent += counts->limited_concurrent;
    sum->tokens_in += counts->tokens_in;
    sum->tokens_out += counts->tokens_out;
    sums->used[label] = true;
}

static void collect_clients(struct clients *clients, struct metrics *m)
{
    struct client_sums sums = {.metrics = m};

    clients_each(clients, add_client, &sums);
    for (unsigned i = 0; i < LABEL_MAX_CLIENT; i++) {
        const struct client_counts *sum = &sums.by_label[i];

        for (unsigned r = 0; r < LABEL_MAX_RESULT; r++)
            if (sum->requests[r] > 0)
                metrics_set2(m, CLIENT_REQUESTS, i, r, sum->requests[r]);
        if (!sums.used[i])
            continue;
        metrics_set2(m, CLIENT_LIMITED, i, LIMIT_RATE, sum->limited_rate);
        metrics_set2(m, CLIENT_LIMITED, i, LIMIT_CONCURRENT, sum->limited_concurrent);
        metrics_set2(m, CLIENT_TOKENS_SAVED, i, TOKENS_INPUT, sum->tokens_in);
        metrics_set2(m, CLIENT_TOKENS_SAVED, i, TOKENS_OUTPUT, sum->tokens_out);
    }
}

static void collect_certificates(const struct server *s, struct metrics *m)
{
    if (s->listen_tls)
        metrics_set1(m, CERTIFICATE_EXPIRY, LISTENER_PROXY, (uint64_t)tls_expires_s(s->listen_tls));
    if (s->admin_tls)
        metrics_set1(m, CERTIFICATE_EXPIRY, LISTENER_ADMIN, (uint64_t)tls_expires_s(s->admin_tls));
}

void serve_collect(void *arg, struct metrics *m)
{
    struct server *s = arg;
    uint64_t flights, readers, invalidations[INVALIDATION_KINDS];

    flights_count(s->flights, &flights, &readers);
    metrics_set(m, FLIGHTS, flights);
    metrics_set(m, FLIGHT_READERS, readers);
    metrics_set(m, CONNECTIONS, limits_connections(s->limits));
    metrics_set(m, CONNECTIONS_ACCEPTED, limits_accepted(s->limits));
    metrics_set(m, CONNECTIONS_REFUSED, limits_refused(s->limits));
    metrics_set(m, BUFFERED_BYTES, limits_buffered_bytes(s->limits));
    metrics_set(m, CREDENTIALS_SUSPENDED, proofs_refused_n(s->proofs));
    breakers_show(s->breakers, m, clock_mono_ms());
    collect_clients(s->clients, m);
    collect_certificates(s, m);
    peers_collect(s->instances, m);
    tiers_collect(s->store, s->memory, m);
    invalidate_counts(s->invalidator, invalidations);
    for (unsigned i = 0; i < INVALIDATION_KINDS; i++)
        if (invalidations[i] > 0)
            metrics_set1(m, INVALIDATIONS, i, invalidations[i]);
}

/* -- readiness -- */

bool serve_is_ready(void *arg, struct buf *out)
{
    const struct server *s = arg;

    if (buf_addf(out, "{\"status\":\"%s\",\"tiers\":", s->draining ? "draining" : "serving") < 0 ||
        tiers_tell(s->store, s->memory, out) < 0 ||
        buf_addf(out, ",\"instances\":\"%s\"}\n", peers_link(s->instances)) < 0)
        return false;
    return !s->draining;
}
