#include "window.h"

static const struct reading at_the_start; /* when nothing had been counted */

struct window window_of(const struct history *h, int64_t ms)
{
    const struct reading *now = history_at(h, 0), *then = history_before(h, ms);
    bool whole = now->mono_ms - then->mono_ms >= ms || history_n(h) == HISTORY_MAX;
    struct window w = {now, whole ? then : &at_the_start, 0, now->mono_ms - then->mono_ms};

    /* The reading it begins with tells of times before it. */
    while (w.n < history_n(h) && (!whole || history_at(h, w.n) != then))
        w.n++;
    return w;
}

struct window_requests window_requests(const struct window *w)
{
    struct window_requests r = {0};

    r.misses = WINDOW_COUNT(w, requests[RESULT_MISS]);
    r.stale = WINDOW_COUNT(w, requests[RESULT_STALE]);
    r.passed = WINDOW_COUNT(w, requests[RESULT_BYPASS]);
    r.answered = WINDOW_COUNT(w, requests[RESULT_HIT]) + r.stale +
                 WINDOW_COUNT(w, requests[RESULT_REVALIDATED]) + WINDOW_COUNT(w, requests[RESULT_COALESCED]);
    r.asked = r.answered + r.misses;
    return r;
}

int64_t window_p95_ns(const struct history *h, const struct window *w, enum history_times which,
                      uint64_t *out_n)
{
    struct sketch all = {0};

    for (size_t i = 0; i < w->n; i++)
        history_add_times(h, i, which, &all);
    *out_n = sketch_count(&all);
    return sketch_quantile_ns(&all, 0.95);
}
