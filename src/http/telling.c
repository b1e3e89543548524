#include "telling.h"

#include "account.h"
#include "exchange_priv.h"
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
    [RESULT_HIT] = {EVENT_HIT, "hit"},
    [RESULT_STALE] = {EVENT_HIT, "stale"},
    [RESULT_REVALIDATED] = {EVENT_HIT, "revalidated"},
    [RESULT_MISS] = {EVENT_MISS, "miss"},
    [RESULT_COALESCED] = {EVENT_MISS, "coalesced"},
    [RESULT_BYPASS] = {EVENT_MISS, NULL},
    [RESULT_ERROR] = {EVENT_MISS, NULL},
};

static struct labels labels_of(const struct account *a)
{
    return (struct labels){
        .id = a->entry ? a->entry_id : (struct slice){NULL, 0},
        .operation = a->operation,
        .model = a->model,
        .namespace_ = a->namespace_,
        .tags = a->entry ? entry_slice(a->entry, a->entry->tags) : (struct slice){NULL, 0},
    };
}

void telling_request(struct events *e, const struct account *a)
{
    enum event_type type = tellings[a->result].type;
    struct event_draft d;
    struct labels labels;
    struct jout *j;

    if (!events_wanted(e, type) || !tellings[a->result].result)
        return;
    labels = labels_of(a);
    j = event_begin(&d, type);
    jout_str(j, "result", tellings[a->result].result);
    add_labels(j, &labels);
    if (a->client)
        jout_text(j, "client", a->client->conf.name);
    if (a->reason)
        jout_str(j, "reason", a->reason);
    jout_int(j, "status", a->status);
    jout_int(j, "bytes", (int64_t)a->bytes);
    jout_milli(j, "took_ms", a->took_ns / 1000);
    events_publish(e, &d, a->request_id);
}

/* -- answers -- */

void telling_stored(struct events *e, const struct entry_parts *parts, struct slice request_id)
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
    events_publish(e, &d, request_id);
}
