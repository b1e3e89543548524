#include "refrain/ops/monitor.h"

#include <stdlib.h>

#include "refrain/http/slow.h"

/* Typical is the mean of the lowest four fifths, of at least so many (SPEC section 12). */
static const double typical_part = 0.8;
enum { TYPICAL_OF = 20 };

struct monitor {
    struct monitor_conf conf;
    int64_t began_ms, began_mono_ms;
    struct history *history;
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
    monitor_sample(m, at_ms, mono_ms);
    return m;
}

void monitor_free(struct monitor *m)
{
    if (!m)
        return;
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

static void tell_typical(struct monitor *m, bool streamed, unsigned op, unsigned result, unsigned slot)
{
    struct sketch s = {0};

    (void)metrics_slot_times(m->conf.from.metrics, slot, &s);
    if (sketch_count(&s) >= TYPICAL_OF)
        slow_set_typical(m->conf.slow, streamed, op, result, sketch_mean_of_lowest_ns(&s, typical_part));
}

static void tell_all_typical(struct monitor *m)
{
    for (unsigned op = 0; op < LABEL_MAX_OPERATION; op++)
        for (unsigned result = 0; result < LABEL_MAX_RESULT; result++) {
            unsigned whole = TIME_SLOT(REQUEST, op, result), streams = TIME_SLOT(STREAM, op, result);

            if (metrics_slot_is_timed(m->conf.from.metrics, whole))
                tell_typical(m, false, op, result, whole);
            if (metrics_slot_is_timed(m->conf.from.metrics, streams))
                tell_typical(m, true, op, result, streams);
        }
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
    if (m->conf.slow)
        tell_all_typical(m);
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
