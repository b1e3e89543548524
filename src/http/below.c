/*
 * below - what the tiers below memory had for one request. Mostly its flight asks them, once for all who ask
 * the same, and tells (FLIGHT_BELOW). A request that is not to open a flight, because without an answer it
 * goes another way (only-if-cached, ranges) or has one from upstream that is an error, asks by itself.
 *
 * What was found is judged like what lies in memory, where it mostly lies, too, by then (lookup.c). No key is
 * asked for twice.
 */
#include <stdlib.h>

#include "exchange_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/fences.h"
#include "refrain/store/instances.h"

enum { SEARCHES_MAX = 4 }; /* a request's: its key, its variant's, and the same once more after a retry */

struct below {
    struct exchange *exchange;
    struct entry_ref found;
    struct digest searched;
    unsigned searches;
    bool searching;
    struct store_search search;
};

static struct below *below_of(struct exchange *x)
{
    if (x->below)
        return x->below;
    x->below = calloc(1, sizeof(*x->below));
    if (!x->below)
        abort(); /* small and fixed */
    x->below->exchange = x;
    return x->below;
}

bool below_may_ask(const struct exchange *x)
{
    const struct below *b = x->below;

    if (!x->worker->below || !x->ask.may_read || !instances_may_serve(site_of(x)->instances))
        return false;
    return !b || (b->searches < SEARCHES_MAX && !digest_eq(&b->searched, &x->key));
}

bool below_asks_alone(const struct exchange *x)
{
    return (x->ask.only_if_cached || (x->ask.range.len > 0 && !x->head_request)) && below_may_ask(x);
}

static void note(struct exchange *x)
{
    struct below *b = below_of(x);

    b->searched = x->key;
    b->searches++;
}

static void keep(struct exchange *x, struct entry_ref *found)
{
    entry_ref_release(&x->below->found);
    x->below->found = *found;
    *found = (struct entry_ref){0};
}

void below_take(struct exchange *x)
{
    struct entry_ref found;

    note(x);
    flight_take_found(&x->reader, &found, &x->body, &x->body_charged);
    keep(x, &found);
}

static void on_searched(struct store_search *s)
{
    struct below *b = CONTAINER_OF(s, struct below, search);

    b->searching = false;
    keep(b->exchange, &s->found);
    front_wake(&b->exchange->req);
}

void below_start(struct exchange *x)
{
    struct below *b = below_of(x);

    note(x);
    b->searching = true;
    b->search = (struct store_search){.on_done = on_searched};
    b->search.label = (struct label){
        .key = x->key,
        .namespace_ = plan_namespace(&x->plan, &x->ask, site_of(x)->namespace_),
        .operation = operation_name(x),
        .model = slice_str(x->model),
    };
    store_search(x->worker->below, &b->search);
}

bool below_is_asked(const struct exchange *x)
{
    return x->below && x->below->searching;
}

/* It is held for as long as the request lasts: while upstream is asked, that can be minutes. */
static bool is_invalidated(const struct exchange *x, const struct entry *e)
{
    struct label label = label_of(e);

    return fences_hold_back(site_of(x)->fences, &label, e->started_seq);
}

bool below_peek(const struct exchange *x, const struct digest *key, struct entry_ref *out)
{
    const struct below *b = x->below;

    if (!b || !b->found.entry || !digest_eq(&b->found.entry->key, key) ||
        b->found.entry->gone_ms <= clock_wall_ms() || is_invalidated(x, b->found.entry))
        return false;
    *out = entry_ref_again(&b->found);
    return true;
}

void below_free(struct exchange *x)
{
    if (!x->below)
        return;
    if (x->below->searching)
        store_search_cancel(&x->below->search);
    entry_ref_release(&x->below->found);
    free(x->below);
    x->below = NULL;
}
