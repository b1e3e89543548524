#include "refrain/http/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "exchange_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/log.h"
#include "refrain/base/tls.h"
#include "refrain/http/fleet.h"

/* A new site on its way to the worker. */
struct site_change {
    struct loop_msg msg;
    struct worker *worker;
    struct site_view *view;
    struct front_conf front;
};

static struct site_view *site_view_new(struct worker *w, struct site *site)
{
    struct site_view *view = calloc(1, sizeof(*view));
    unsigned *labels = calloc(site->upstreams_n + 1, sizeof(*labels));
    unsigned *own = calloc(site->rules.own_n + 1, sizeof(*own));

    if (!view || !labels || !own)
        abort(); /* small and fixed */
    view->site = site_ref(site);
    view->upstream_labels = labels;
    for (size_t i = 0; i < site->upstreams_n; i++)
        labels[i] = metrics_label(w->metrics, LABEL_UPSTREAM, slice_str(site->upstreams[i].conf.name));
    view->prices.pricing = &site->pricing;
    view->own_labels = own;
    for (size_t i = 0; i < site->rules.own_n; i++)
        own[i] = metrics_label(w->metrics, LABEL_OPERATION, site->rules.own[i].name);
    return view;
}

void site_view_free(struct site_view *view)
{
    if (!view)
        return;
    site_unref(view->site);
    free(view->upstream_labels);
    free(view->own_labels);
    free(view);
}

/* Once an iteration, before the loop waits. */
static void on_idle(void *arg)
{
    struct worker *w = arg;

    front_settle(w->front);
    log_flush();
    if (w->draining && front_connections(w->front) == 0) {
        w->draining = false;
        w->on_drained(w->drained_arg);
    }
}

struct worker *worker_new(const struct worker_conf *conf, struct site *site)
{
    struct worker *w = calloc(1, sizeof(*w));
    uint8_t gmac_key[16];

    if (!w)
        return NULL;
    list_init(&w->spare);
    random_bytes(gmac_key, sizeof(gmac_key));
    random_bytes(&w->id_prefix, sizeof(w->id_prefix));
    random_bytes(&w->dice, sizeof(w->dice));
    w->dice |= 1;
    random_bytes(&w->id_next, sizeof(w->id_next));
    w->metrics = conf->metrics;
    w->slow = conf->slow;
    w->counts = metrics_block(conf->metrics);
    w->limits = site->limits;
    w->handler = exchange_handler;
    w->handler.arg = w;
    w->loop = loop_new();
    w->memo = memo_new(conf->memo_bytes_max);
    w->hasher = memo_hasher_new(gmac_key);
    w->keys = key_maker_new();
    w->variant_keys = sha256_new();
    w->admitter = admitter_new();
    w->counter = clients_counter(site->clients);
    if (w->loop)
        w->pool = upstream_pool_new(w->loop);
    if (w->pool)
        w->front = front_new(w->loop, &conf->front, site->limits, &w->handler);
    if (w->loop && site->store && store_has_lower(site->store))
        w->below = store_port_new(site->store, w->loop, w->counts);
    if (w->loop && conf->fleet)
        w->fleet = fleet_port_new(w->loop, conf->fleet, w->counts);
    if (!w->front || (conf->fleet && !w->fleet) || !w->memo || !w->hasher || !w->keys ||
        (site->store && store_has_lower(site->store) && !w->below)) {
        workers_free(&w, 1);
        return NULL;
    }
    w->view = site_view_new(w, site);
    loop_on_idle(w->loop, on_idle, w);
    return w;
}

int worker_listen(struct worker *w, int fd)
{
    return front_listen(w->front, fd);
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;

    loop_run(w->loop);
    log_flush();
    return NULL;
}

int worker_start(struct worker *w)
{
    int r = pthread_create(&w->thread, NULL, thread_main, w);

    w->started = r == 0;
    return -r;
}

static void on_site_change(struct loop_msg *m)
{
    struct site_change *change = CONTAINER_OF(m, struct site_change, msg);
    struct worker *w = change->worker;
    struct site_view *old = w->view;

    w->view = change->view;
    if (old->uses == 0)
        site_view_free(old);
    admitter_forget(w->admitter);
    memo_clear(w->memo); /* what a key depends on may have changed */
    front_set_conf(w->front, &change->front);
    tls_unref(change->front.tls);
    free(change);
}

void worker_set_site(struct worker *w, struct site *site, const struct front_conf *front)
{
    struct site_change *change = calloc(1, sizeof(*change));

    if (!change)
        abort(); /* small and fixed */
    *change = (struct site_change){{NULL, on_site_change}, w, site_view_new(w, site), *front};
    (void)tls_ref(front->tls);
    loop_post(w->loop, &change->msg);
}

static void on_drain(struct loop_msg *m)
{
    struct worker *w = CONTAINER_OF(m, struct worker, drain_msg);

    w->draining = true;
    front_drain(w->front);
}

void worker_drain(struct worker *w, void (*on_drained)(void *arg), void *arg)
{
    w->on_drained = on_drained;
    w->drained_arg = arg;
    w->drain_msg.on_msg = on_drain;
    loop_post(w->loop, &w->drain_msg);
}

static void worker_stop(struct worker *w)
{
    if (!w->started)
        return;
    loop_stop(w->loop);
    (void)pthread_join(w->thread, NULL);
    w->started = w->draining = false;
}

static void worker_free(struct worker *w)
{
    exchange_free_spare(w);
    site_view_free(w->view);
    memo_free(w->memo);
    memo_hasher_free(w->hasher);
    key_maker_free(w->keys);
    sha256_free(w->variant_keys);
    admitter_free(w->admitter);
    free(w);
}

/* Workers post to each other's loops while fetches end and readers leave, so each step is done to all before
 * the next. */
void workers_free(struct worker *const *workers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        worker_stop(workers[i]);
    for (size_t i = 0; i < n; i++)
        store_port_free(workers[i]->below); /* ends the searches, … */
    for (size_t i = 0; i < n; i++)
        fleet_port_free(workers[i]->fleet); /* … and waiting for other instances; what they were for goes
                                               upstream, if only to … */
    for (size_t i = 0; i < n; i++)
        upstream_pool_free(workers[i]->pool); /* … end here: this ends the fetches, so the flights end, and
                                                 nobody waits for them */
    for (size_t i = 0; i < n; i++)
        front_free(workers[i]->front);
    for (size_t i = 0; i < n; i++)
        loop_free(workers[i]->loop); /* and with them what messages still hold */
    for (size_t i = 0; i < n; i++)
        worker_free(workers[i]);
}
