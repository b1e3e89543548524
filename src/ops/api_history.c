/* /stats/history: the last hour, as points of a curve. SPEC section 12. */
#include "api.h"
#include "api_stats.h"
#include "history_points.h"
#include "refrain/ops/monitor.h"

enum { MINUTES = 60, MINUTES_MAX = 1440, POINTS = 120, POINTS_MAX = HISTORY_MAX };

struct telling {
    struct jout *j;
    struct metrics *metrics;
};

/* null, where there was nothing to measure. */
static void write_quantile(struct jout *j, const char *name, const struct sketch *s, double q)
{
    if (sketch_count(s) == 0)
        jout_null(j, name);
    else
        jout_nano(j, name, sketch_quantile_ns(s, q));
}

static void write_point(void *arg, const struct history_point *p)
{
    const struct telling *t = arg;
    const struct reading_tier *memory = &p->end->tiers[TIER_MEMORY];
    struct jout *j = t->j;

    jout_object(j, NULL);
    jout_time(j, "at", p->end->at_ms);
    jout_milli(j, "seconds", p->ms);
    api_write_requests(j, p->requests, t->metrics);
    api_write_hit_rate(j, p->requests);
    write_quantile(j, "p50_s", p->all, 0.5);
    write_quantile(j, "p95_s", p->all, 0.95);
    write_quantile(j, "p99_s", p->all, 0.99);
    write_quantile(j, "hit_p95_s", p->hit, 0.95);
    write_quantile(j, "miss_p95_s", p->miss, 0.95);
    jout_int(j, "tokens_saved", (int64_t)(p->tokens_saved_in + p->tokens_saved_out));
    jout_nano(j, "seconds_saved", (int64_t)p->saved_ns);
    jout_nano(j, "dollars_saved", (int64_t)p->saved_nano_dollars);
    jout_int(j, "invalidations", (int64_t)p->invalidations);
    jout_int(j, "evictions", (int64_t)p->evicted);
    jout_int(j, "memory_bytes", (int64_t)memory->bytes);
    jout_int(j, "memory_limit_bytes", (int64_t)memory->limit_bytes);
    jout_int(j, "rss_bytes", (int64_t)p->end->rss_bytes);
    jout_int(j, "flights", (int64_t)p->end->flights);
    jout_int(j, "readers", (int64_t)p->end->readers);
    jout_end(j);
}

void api_history_write(const struct admin_parts *parts, struct jout *j, unsigned minutes, unsigned points)
{
    struct telling t = {j, parts->metrics};

    jout_milli(j, "every_s", monitor_every_ms(parts->monitor));
    jout_array(j, "samples");
    history_points(monitor_history(parts->monitor), (int64_t)minutes * 60000, points, write_point, &t);
    jout_end(j);
}

void api_stats_history(struct api_call *c)
{
    struct jout j = jout_begin(c->out);
    unsigned minutes = MINUTES, points = POINTS;

    if (!api_number(c, "minutes", MINUTES_MAX, &minutes) || !api_number(c, "points", POINTS_MAX, &points))
        return;
    jout_object(&j, NULL);
    api_history_write(&c->parts, &j, minutes, points);
    jout_end(&j);
    api_done(c, &j);
}
