/* /performance: how long things take, since the start. SPEC section 12. */
#include <string.h>

#include "api.h"
#include "api_stats.h"
#include "history_points.h"
#include "refrain/base/attr.h"
#include "refrain/ops/monitor.h"

void api_write_times(struct jout *j, const struct sketch *s)
{
    struct reading_times t = reading_times_of(s);
    const struct {
        const char *name;
        int64_t ns;
    } members[] = {
        {"mean_s", t.mean_ns}, {"median_s", t.p50_ns}, {"min_s", t.min_ns},
        {"max_s", t.max_ns},   {"p95_s", t.p95_ns},    {"p99_s", t.p99_ns},
    };

    jout_int(j, "n", (int64_t)t.n);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (t.n > 0)
            jout_nano(j, members[i].name, members[i].ns);
        else
            jout_null(j, members[i].name);
    }
}

static void write_streams(struct jout *j, const struct sketch *s)
{
    jout_object(j, "streams");
    api_write_times(j, s);
    jout_end(j);
}

static void write_operation(struct jout *j, struct metrics *m, unsigned op, unsigned result)
{
    struct sketch all = {0}, streams = {0};

    (void)metrics_times(m, REQUEST, op, result, &all);
    (void)metrics_times(m, STREAM, op, result, &streams);
    sketch_merge(&all, &streams);
    jout_object(j, NULL);
    jout_str(j, "operation", metrics_label_text(m, LABEL_OPERATION, op));
    jout_str(j, "result", metrics_label_text(m, LABEL_RESULT, result));
    api_write_times(j, &all);
    write_streams(j, &streams);
    jout_end(j);
}

static void write_part(struct jout *j, const char *name, struct metrics *m, unsigned slot)
{
    struct sketch s = {0};

    (void)metrics_slot_times(m, slot, &s);
    jout_object(j, NULL);
    jout_str(j, "part", name);
    api_write_times(j, &s);
    jout_end(j);
}

static void write_parts(struct jout *j, struct metrics *m)
{
    const struct {
        const char *name;
        unsigned slot;
    } parts[] = {
        {"key", TIME_SLOT(KEY, 0, 0)},
        {"upstream", TIME_SLOT(UPSTREAM, 0, 0)},
        {"upstream_first_byte", TIME_SLOT(UPSTREAM_FIRST_BYTE, 0, 0)},
        {"disk_get", TIME_SLOT(TIER_GET, TIER_DISK, 0)},
        {"disk_put", TIME_SLOT(TIER_PUT, TIER_DISK, 0)},
        {"redis_get", TIME_SLOT(TIER_GET, TIER_REDIS, 0)},
        {"redis_put", TIME_SLOT(TIER_PUT, TIER_REDIS, 0)},
        {"invalidation", TIME_SLOT(INVALIDATION, 0, 0)},
    };

    jout_array(j, "parts");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        write_part(j, parts[i].name, m, parts[i].slot);
    jout_end(j);
}

/* -- memory -- */

static uint64_t resident(const struct reading *r)
{
    return r->rss_bytes;
}

static uint64_t in_memory_tier(const struct reading *r)
{
    return r->tiers[TIER_MEMORY].bytes;
}

static void write_growth(struct jout *j, const char *name, const struct history *h,
                         uint64_t (*of)(const struct reading *r))
{
    int64_t per_hour;

    if (history_growth(h, of, &per_hour))
        jout_int(j, name, per_hour);
    else
        jout_null(j, name);
}

static void write_memory(struct jout *j, const struct history *h)
{
    const struct reading *newest = history_at(h, 0);

    jout_object(j, "memory");
    write_growth(j, "growth_bytes_per_hour", h, resident);
    write_growth(j, "tier_growth_bytes_per_hour", h, in_memory_tier);
    jout_milli(j, "over_s", newest->mono_ms - history_at(h, history_n(h) - 1)->mono_ms);
    jout_int(j, "rss_bytes", (int64_t)newest->rss_bytes);
    jout_int(j, "tier_bytes", (int64_t)newest->tiers[TIER_MEMORY].bytes);
    jout_end(j);
}

void api_performance_write(const struct admin_parts *parts, struct jout *j)
{
    struct metrics *m = parts->metrics;

    jout_nano(j, "relative_error", 1000000000 / SKETCH_ERROR);
    jout_time(j, "since", monitor_began_ms(parts->monitor));
    jout_array(j, "operations");
    for (unsigned op = 0; op < LABEL_MAX_OPERATION; op++)
        for (unsigned result = 0; result < LABEL_MAX_RESULT; result++)
            if (metrics_slot_is_timed(m, TIME_SLOT(REQUEST, op, result)) ||
                metrics_slot_is_timed(m, TIME_SLOT(STREAM, op, result)))
                write_operation(j, m, op, result);
    jout_end(j);
    write_parts(j, m);
    write_memory(j, monitor_history(parts->monitor));
}

void api_performance(struct api_call *c)
{
    struct jout j = jout_begin(c->out);

    jout_object(&j, NULL);
    api_performance_write(&c->parts, &j);
    jout_end(&j);
    api_done(c, &j);
}
