#include "history_points.h"

#include <stdlib.h>
#include <string.h>

enum { GROWTH_SPAN_MS = 60000, GROWTH_READINGS = 10 };

/* A point in the making. */
struct making {
    struct history_point point;
    struct sketch all, hit, miss;
};

/* Of interval @i, between reading @i and the one before it, 0 being the newest: its number since the start.
 */
static uint64_t number_of(const struct history *h, size_t i)
{
    return history_added(h) - 1 - i;
}

static size_t intervals_within(const struct history *h, int64_t span_ms)
{
    const struct reading *newest = history_at(h, 0);
    size_t n = 0;

    while (n + 1 < history_n(h) && newest->mono_ms - history_at(h, n)->mono_ms < span_ms)
        n++;
    return n;
}

static uint64_t groups(uint64_t first, uint64_t last, uint64_t stride)
{
    return last / stride - first / stride + 1;
}

/* How many intervals make a point. */
static uint64_t stride_for(uint64_t first, uint64_t last, unsigned points)
{
    uint64_t n = last - first + 1, stride = (n + points - 1) / points;

    if (points == 1)
        return last + 1;
    while (groups(first, last, stride) > points)
        stride++;
    return stride;
}

static void add_counts(struct history_point *p, const struct reading *end, const struct reading *before)
{
    for (unsigned i = 0; i < LABEL_MAX_RESULT; i++)
        p->requests[i] += end->requests[i] - before->requests[i];
    p->tokens_saved_in += end->tokens_saved_in - before->tokens_saved_in;
    p->tokens_saved_out += end->tokens_saved_out - before->tokens_saved_out;
    p->saved_ns += end->saved_ns - before->saved_ns;
    p->saved_nano_dollars += end->saved_nano_dollars - before->saved_nano_dollars;
    p->invalidations += end->invalidations - before->invalidations;
    p->evicted += end->evicted - before->evicted;
    p->ms += end->mono_ms - before->mono_ms;
    p->end = end;
}

static void add_interval(struct making *m, const struct history *h, size_t i)
{
    add_counts(&m->point, history_at(h, i), history_at(h, i + 1));
    history_add_times(h, i, HISTORY_HIT, &m->hit);
    history_add_times(h, i, HISTORY_MISS, &m->miss);
    for (enum history_times which = 0; which < HISTORY_REQUESTS; which++)
        history_add_times(h, i, which, &m->all);
}

static void begin(struct making *m)
{
    memset(m, 0, sizeof(*m));
    m->point.all = &m->all;
    m->point.hit = &m->hit;
    m->point.miss = &m->miss;
}

void history_points(const struct history *h, int64_t span_ms, unsigned points,
                    void (*each)(void *arg, const struct history_point *p), void *arg)
{
    size_t n = history_n(h) > 0 ? intervals_within(h, span_ms) : 0;
    struct making *m = n > 0 ? malloc(sizeof(*m)) : NULL;
    uint64_t stride;

    if (!m)
        return;
    stride = stride_for(number_of(h, n - 1), number_of(h, 0), points);
    begin(m);
    for (size_t i = n; i-- > 0;) {
        add_interval(m, h, i);
        if (i > 0 && number_of(h, i) / stride == number_of(h, i - 1) / stride)
            continue;
        each(arg, &m->point);
        begin(m);
    }
    free(m);
}

bool history_growth(const struct history *h, uint64_t (*of)(const struct reading *r), int64_t *out_per_hour)
{
    size_t n = history_n(h);
    double mean_t = 0, mean_v = 0, both = 0, square = 0;

    if (n < GROWTH_READINGS || history_at(h, 0)->mono_ms - history_at(h, n - 1)->mono_ms < GROWTH_SPAN_MS)
        return false;
    for (size_t i = 0; i < n; i++) {
        mean_t += (double)history_at(h, i)->mono_ms / (double)n;
        mean_v += (double)of(history_at(h, i)) / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        double t = (double)history_at(h, i)->mono_ms - mean_t;

        both += t * ((double)of(history_at(h, i)) - mean_v);
        square += t * t;
    }
    *out_per_hour = (int64_t)(both / square * 3600000);
    return true;
}
