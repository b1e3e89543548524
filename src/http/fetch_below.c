/*
 * fetch_below - the tiers below memory are asked before upstream is. What they have ends the flight, for
 * every reader to judge; meanwhile the request to upstream waits, in a copy, also while the other instances
 * are asked next (fetch_fleet.c).
 */
#include <stdlib.h>

#include "fetch_priv.h"
#include "refrain/base/clock.h"

void fetch_drop_request(struct fetch *x)
{
    if (x->waiting)
        store_search_cancel(&x->waiting->search);
    free(x->waiting);
    x->waiting = NULL;
}

void fetch_ask_waiting(struct fetch *x)
{
    struct waiting *w = x->waiting;

    x->waiting = NULL;
    fetch_ask_upstream(x, w->pool, &w->request);
    free(w);
}

/* Memory may have the same, or a younger one: that has been judged. */
static bool is_news(const struct waiting *w)
{
    const struct entry_ref *found = &w->search.found;

    if (found->entry->started_seq != w->known_seq)
        return found->entry->started_seq > w->known_seq;
    return found->expires_ms > w->known_expires_ms;
}

/* What nobody reads is for the store, which has it by now; stale, it is what was to be asked for again. */
static bool ends_with_found(const struct fetch *x)
{
    const struct entry_ref *found = &x->waiting->search.found;

    return found->entry && is_news(x->waiting) && (!x->unread || clock_wall_ms() < found->expires_ms);
}

static void on_searched(struct store_search *s)
{
    struct waiting *w = CONTAINER_OF(s, struct waiting, search);
    struct fetch *x = w->fetch;

    if (ends_with_found(x)) {
        flight_set_found(x->flight, &s->found, &x->body, x->body_charged);
        x->body_charged = 0;
        fetch_drop_request(x);
        fetch_finish(x, FLIGHT_FOUND);
        return;
    }
    entry_ref_release(&s->found);
    if (x->fleet)
        fetch_elect(x);
    else
        fetch_ask_waiting(x);
}

static char *copy_text(char *to, struct slice *text)
{
    if (text->len > 0)
        memcpy(to, text->data, text->len);
    text->data = to;
    to[text->len] = '\0';
    return to + text->len + 1;
}

void fetch_wait(struct fetch *x, struct upstream_pool *pool, const struct upstream_request *req)
{
    size_t bytes = strlen(req->method) + req->target.len + 2;
    struct slice method = slice_str(req->method);
    struct waiting *w;
    struct field *kept;
    char *at;

    for (size_t i = 0; i < req->fields_n; i++)
        bytes += sizeof(*req->fields) + req->fields[i].name.len + req->fields[i].value.len + 2;
    w = calloc(1, sizeof(*w) + bytes);
    if (!w)
        abort(); /* bounded by listen.max_header_bytes */
    x->waiting = w;
    w->fetch = x;
    w->pool = pool;
    w->request = *req;
    kept = (struct field *)(w + 1);
    w->request.fields = kept;
    at = (char *)(kept + req->fields_n);
    at = copy_text(at, &method);
    w->request.method = method.data;
    at = copy_text(at, &w->request.target);
    for (size_t i = 0; i < req->fields_n; i++) {
        kept[i] = req->fields[i];
        at = copy_text(copy_text(at, &kept[i].name), &kept[i].value);
    }
}

static void note_known(struct fetch *x, const struct digest *key)
{
    struct entry_ref known;

    if (!x->site->memory || !store_mem_peek(x->site->memory, key, clock_wall_ms(), &known))
        return;
    x->waiting->known_seq = known.entry->started_seq;
    x->waiting->known_expires_ms = known.expires_ms;
    entry_ref_release(&known);
}

void fetch_ask_below(struct fetch *x, const struct fetch_spec *spec)
{
    struct store_search *s;

    note_known(x, spec->look_below);
    s = &x->waiting->search;
    s->on_done = on_searched;
    s->label = (struct label){.key = *spec->look_below,
                              .namespace_ = spec->namespace_,
                              .operation = spec->op_name,
                              .model = spec->model};
    store_search(spec->below, s);
}
