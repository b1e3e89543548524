/* What had to go, as events. */
#include "refrain/store/events.h"
#include "store_mem_priv.h"

enum { MODEL_BYTES_SHOWN = 64 };

void store_mem_tell(struct store_mem *m, struct events *events)
{
    m->events = events;
}

void store_mem_tell_evicted(const struct store_mem *m, const struct node *n, enum metric_eviction why)
{
    static const char *const reasons[] = {
        [EVICTED_SPACE] = "space", [EVICTED_COUNT] = "count", [EVICTED_EXPIRED] = "expired"};
    const struct entry *e;
    struct event_draft d;
    struct slice model;
    struct jout *j;

    if (!events_wanted(m->events, EVENT_EVICTED))
        return;
    e = log_entry(&m->log, n->place);
    if (e->flags & ENTRY_VARY)
        return; /* it is no answer */
    model = entry_slice(e, e->model);
    if (model.len > MODEL_BYTES_SHOWN)
        model.len = MODEL_BYTES_SHOWN;
    j = event_begin(&d, EVENT_EVICTED);
    jout_str(j, "tier", "memory");
    jout_str(j, "reason", reasons[why]);
    jout_text(j, "id", slice_make(e->id, ENTRY_ID_LEN));
    jout_text(j, "operation", entry_slice(e, e->op_name));
    if (model.len > 0)
        jout_text(j, "model", model);
    jout_text(j, "namespace", entry_slice(e, e->namespace_));
    jout_int(j, "hits", (int64_t)n->hits);
    jout_int(j, "bytes", e->bytes);
    events_publish(m->events, &d, (struct slice){NULL, 0});
}
