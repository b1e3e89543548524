#include "refrain/ops/monitor.h"

#include <stdlib.h>

#include "typical.h"

struct monitor {
    struct monitor_conf conf;
    int64_t began_ms, began_mono_ms;
    struct history *history;
    struct typical *typical;             /* NULL: nobody asks */
    struct reading_sketches sketches[2]; /* of the last reading, and the one before or to come */
    unsigned last;
};

struct monitor *monitor_new(const struct monitor_conf *conf, int64_t at_ms, int64_t mono_ms)
{
    struct monitor *m = calloc(1, sizeof(*m));

    if (!m)
        abort();
    m->conf = *conf;
    m->began_ms = at_ms;
    m->began_mono_ms = mono_ms;
    m->history = history_new();
    if (conf->slow)
        m->typical = typical_new(conf->from.metrics, conf->slow, mono_ms);
    monitor_sample(m, at_ms, mono_ms);
    return m;
}

void monitor_free(struct monitor *m)
{
    if (!m)
        return;
    typical_free(m->typical);
    history_free(m->history);
    free(m);
}

static void keep_times(struct monitor *m, enum history_times which, const struct sketch *now,
                       const struct sketch *before)
{
    struct sketch interval;

    sketch_since(&interval, now, before);
    history_keep_times(m->history, which, &interval);
}

void monitor_sample(struct monitor *m, int64_t at_ms, int64_t mono_ms)
{
    const struct reading_sketches *before = &m->sketches[m->last];
    struct reading_sketches *now = &m->sketches[1 - m->last];
    struct reading r;

    reading_take(&m->conf.from, before, now, &r);
    r.at_ms = at_ms;
    r.mono_ms = mono_ms;
    history_add(m->history, &r);
    keep_times(m, HISTORY_HIT, &now->hit, &before->hit);
    keep_times(m, HISTORY_MISS, &now->miss, &before->miss);
    keep_times(m, HISTORY_REST, &now->rest, &before->rest);
    keep_times(m, HISTORY_KEY, &now->key, &before->key);
    keep_times(m, HISTORY_DISK, &now->tier[TIER_DISK], &before->tier[TIER_DISK]);
    keep_times(m, HISTORY_REDIS, &now->tier[TIER_REDIS], &before->tier[TIER_REDIS]);
    m->last = 1 - m->last;
    if (m->typical)
        typical_tell(m->typical, mono_ms);
}

const struct history *monitor_history(const struct monitor *m)
{
    return m->history;
}

const struct reading_sources *monitor_sources(const struct monitor *m)
{
    return &m->conf.from;
}

int64_t monitor_every_ms(const struct monitor *m)
{
    return m->conf.every_ms;
}

int64_t monitor_began_ms(const struct monitor *m)
{
    return m->began_ms;
}

int64_t monitor_began_mono_ms(const struct monitor *m)
{
    return m->began_mono_ms;
}
