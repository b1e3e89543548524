#include "telling.h"

#include "exchange_priv.h"
#include "refrain/base/clock.h"
#include "refrain/store/events.h"

enum { TAGS_BYTES_SHOWN = 256 };

/* What an event says of an entry. */
struct labels {
    struct slice id, operation, model, namespace_, tags;
};

/* Whole tags, as many as there is room for. */
static struct slice tags_shown(struct slice tags)
{
    size_t n = tags.len < TAGS_BYTES_SHOWN ? tags.len : TAGS_BYTES_SHOWN;

    while (n < tags.len && n > 0 && tags.data[n] != ',')
        n--;
    return slice_make(tags.data, n);
}

static void add_tags(struct jout *j, struct slice tags)
{
    if (tags.len == 0)
        return;
    jout_array(j, "tags");
    for (tags = tags_shown(tags); tags.data;)
        jout_text(j, NULL, slice_cut(&tags, ','));
    jout_end(j);
}

static void add_labels(struct jout *j, const struct labels *l)
{
    struct slice model =
        l->model.len < MODEL_SHOWN_MAX ? l->model : slice_make(l->model.data, MODEL_SHOWN_MAX);

    if (l->id.len > 0)
        jout_text(j, "id", l->id);
    jout_text(j, "operation", l->operation);
    if (model.len > 0)
        jout_text(j, "model", model);
    jout_text(j, "namespace", l->namespace_);
    add_tags(j, l->tags);
}

/* -- requests -- */

static const struct {
    enum event_type type;
    const char *result; /* NULL: neither hit nor miss */
} tellings[] = {
    [OUT_HIT] = {EVENT_HIT, "hit"},
    [OUT_STALE] = {EVENT_HIT, "stale"},
    [OUT_REVALIDATED] = {EVENT_HIT, "revalidated"},
    [OUT_MISS] = {EVENT_MISS, "miss"},
    [OUT_COALESCED] = {EVENT_MISS, "coalesced"},
    [OUT_BYPASS] = {EVENT_MISS, NULL},
    [OUT_ERROR] = {EVENT_MISS, NULL},
};

static struct labels labels_of(const struct exchange *x)
{
    const struct entry *e = x->entry.entry;
    struct labels l = {.operation = operation_name(x),
                       .model = slice_str(x->model),
                       .namespace_ = plan_namespace(&x->plan, &x->ask, site_of(x)->namespace_)};

    if (!e)
        return l;
    l.id = slice_make(e->id, ENTRY_ID_LEN);
    l.model = entry_slice(e, e->model);
    l.namespace_ = entry_slice(e, e->namespace_);
    l.tags = entry_slice(e, e->tags);
    return l;
}

void telling_request(const struct exchange *x)
{
    struct events *e = site_of(x)->events;
    enum event_type type = tellings[x->outcome].type;
    struct event_draft d;
    struct labels labels;
    struct jout *j;

    if (!events_wanted(e, type) || !tellings[x->outcome].result)
        return;
    labels = labels_of(x);
    j = event_begin(&d, type);
    jout_str(j, "result", tellings[x->outcome].result);
    add_labels(j, &labels);
    if (x->detail)
        jout_str(j, "reason", x->detail);
    jout_int(j, "status", x->status);
    jout_int(j, "bytes", (int64_t)x->bytes_sent);
    jout_milli(j, "took_ms", (clock_mono_ns() - x->started_ns) / 1000);
    events_publish(e, &d, slice_str(x->request_id));
}

/* -- answers -- */

void telling_stored(struct events *e, const struct entry_parts *parts)
{
    const struct labels labels = {slice_make(parts->head.id, ENTRY_ID_LEN), parts->op_name, parts->model,
                                  parts->namespace_, parts->tags};
    struct event_draft d;
    struct jout *j;

    if (!events_wanted(e, EVENT_STORED))
        return;
    j = event_begin(&d, EVENT_STORED);
    add_labels(j, &labels);
    jout_int(j, "status", parts->head.status);
    jout_int(j, "bytes", (int64_t)entry_packed_size(parts));
    if (parts->head.expires_ms != INT64_MAX)
        jout_int(j, "ttl_s", (parts->head.expires_ms - parts->head.created_ms) / 1000);
    else
        jout_null(j, "ttl_s");
    events_publish(e, &d, (struct slice){NULL, 0});
}
