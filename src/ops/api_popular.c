/* /popular, and /export, which has it among all else: the pool walks over memory, then the answer is written.
 * SPEC section 12. */
#include <stdlib.h>

#include "api.h"
#include "api_entry.h"
#include "api_stats.h"
#include "csv.h"
#include "popular.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/loop.h"
#include "refrain/http/slow.h"
#include "refrain/store/store_mem.h"

enum { SHOWN = 20, EXPORT_MINUTES = 60, EXPORT_POINTS = 120, EXPORT_BYTES_MAX = 4 << 20 };

struct finding {
    struct api_call *call;
    struct loop_work work;
    struct store_mem *memory;
    struct popular popular;
    void (*write)(struct finding *f);
};

static void write_entry(struct jout *j, const struct popular_entry *p, const struct admin_parts *parts)
{
    int64_t now_ms = clock_wall_ms();
    struct entry_ref ref;
    struct store_mem_seen seen;
    struct inventory_item item;

    if (!store_mem_peek(parts->tiers->memory, &p->key, now_ms, &ref))
        return; /* gone since */
    seen = (struct store_mem_seen){ref.entry, ref.expires_ms, ref.entry->gone_ms, p->hits};
    item = (struct inventory_item){.label = label_of(ref.entry), .tier = TIER_MEMORY, .seen = &seen};
    item.gone_ms = ref.entry->gone_ms;
    api_entry_write_item(j, &item, parts->key_prefix, now_ms);
    entry_ref_release(&ref);
}

static void write_entries(struct jout *j, const struct popular *p, const struct admin_parts *parts)
{
    jout_array(j, "entries");
    for (size_t i = 0; i < p->n; i++)
        write_entry(j, &p->at[i], parts);
    jout_end(j);
}

/* -- finding them -- */

static void on_work(struct loop_work *w)
{
    struct finding *f = CONTAINER_OF(w, struct finding, work);

    popular_find(&f->popular, f->memory);
}

static void on_done(struct loop_work *w)
{
    struct finding *f = CONTAINER_OF(w, struct finding, work);

    f->write(f);
    api_finish(f->call);
    free(f);
}

static void start(struct api_call *c, size_t n, void (*write)(struct finding *f))
{
    struct finding *f = calloc(1, sizeof(*f));

    if (!f) {
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
        return;
    }
    *f = (struct finding){.call = c,
                          .work = {.on_work = on_work, .on_done = on_done},
                          .memory = c->parts.tiers->memory,
                          .popular = {.max = n},
                          .write = write};
    api_later(c);
    loop_work_start(c->loop, &f->work);
}

/* -- what is made of them -- */

static void write_popular(struct finding *f)
{
    struct jout j = jout_begin(f->call->out);

    jout_object(&j, NULL);
    write_entries(&j, &f->popular, &f->call->parts);
    jout_end(&j);
    api_done(f->call, &j);
}

void api_popular(struct api_call *c)
{
    unsigned limit = SHOWN;

    if (api_number(c, "limit", POPULAR_MAX, &limit))
        start(c, limit, write_popular);
}

static void write_all(struct jout *j, const struct admin_parts *parts, const struct popular *popular)
{
    jout_object(j, NULL);
    jout_object(j, "stats");
    api_stats_write(parts, j);
    jout_end(j);
    jout_object(j, "performance");
    api_performance_write(parts, j);
    jout_end(j);
    jout_object(j, "history");
    api_history_write(parts, j, EXPORT_MINUTES, EXPORT_POINTS);
    jout_end(j);
    api_slow_write(parts, j, SLOW_KEPT);
    api_alerts_write(parts, j);
    api_recommendations_write(parts, j);
    api_clients_write(parts, j);
    jout_object(j, "popular");
    write_entries(j, popular, parts);
    jout_end(j);
    jout_end(j);
}

static void export_json(struct finding *f)
{
    struct jout j = jout_begin(f->call->out);

    write_all(&j, &f->call->parts, &f->popular);
    f->call->type = "application/json";
    f->call->file = "refrain.json";
    api_done(f->call, &j);
}

static void export_csv(struct finding *f)
{
    AUTO(buf_done) struct buf json = BUF_INIT(EXPORT_BYTES_MAX);
    struct jout j = jout_begin(&json);

    write_all(&j, &f->call->parts, &f->popular);
    if (jout_done(&j) < 0 || csv_of_json(buf_slice(&json), f->call->out) < 0) {
        buf_clear(f->call->out);
        api_fail(f->call, 500, "answer_too_large", "the answer is larger than any that is sent", NULL, NULL);
        return;
    }
    f->call->type = "text/csv; charset=utf-8; header=present";
    f->call->file = "refrain.csv";
}

void api_export(struct api_call *c)
{
    struct api_query format;

    if (!api_query(c, "format", &format) || slice_eq(format.value, SLICE_OF("json")))
        start(c, SHOWN, export_json);
    else if (slice_eq(format.value, SLICE_OF("csv")))
        start(c, SHOWN, export_csv);
    else
        api_fail(c, 400, "request_invalid", "there is no such format", "query.format", "json or csv");
}
