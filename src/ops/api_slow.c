/* /slow: the last requests that took much longer than is typical. SPEC section 12. */
#include <stdlib.h>

#include "api.h"
#include "api_entry.h"
#include "api_stats.h"
#include "refrain/base/attr.h"
#include "refrain/http/slow.h"

enum { SHOWN = 50 };

static void write_one(struct jout *j, const struct slow_request *r, struct metrics *m)
{
    jout_object(j, NULL);
    jout_time(j, "at", r->at_ms);
    jout_str(j, "id", r->id);
    jout_str(j, "operation", r->operation);
    jout_str(j, "model", r->model[0] ? r->model : NULL);
    jout_str(j, "namespace", r->namespace_);
    jout_str(j, "result", metrics_label_text(m, LABEL_RESULT, r->result));
    jout_bool(j, "stream", r->streamed);
    jout_str(j, "reason", r->reason);
    jout_str(j, "tier", r->has_tier ? api_tier_names[r->tier] : NULL);
    jout_int(j, "status", r->status);
    jout_nano(j, "took_s", r->took_ns);
    if (r->upstream_ns >= 0)
        jout_nano(j, "upstream_s", r->upstream_ns);
    else
        jout_null(j, "upstream_s");
    jout_nano(j, "typical_s", r->typical_ns);
    if (r->typical_ns > 0)
        jout_milli(j, "times", r->took_ns * 1000 / r->typical_ns);
    else
        jout_null(j, "times");
    jout_end(j);
}

void api_slow_write(const struct admin_parts *parts, struct jout *j, unsigned limit)
{
    struct slow_request *list = calloc(limit, sizeof(*list));
    size_t n = list ? slow_list(parts->slow, list, limit) : 0;

    jout_array(j, "slow");
    for (size_t i = 0; i < n; i++)
        write_one(j, &list[i], parts->metrics);
    jout_end(j);
    free(list);
}

void api_slow(struct api_call *c)
{
    struct jout j = jout_begin(c->out);
    unsigned limit = SHOWN;

    if (!api_number(c, "limit", SLOW_KEPT, &limit))
        return;
    jout_object(&j, NULL);
    api_slow_write(&c->parts, &j, limit);
    jout_end(&j);
    api_done(c, &j);
}
