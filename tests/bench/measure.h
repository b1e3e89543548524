/*
 * measure - CPU time of small pieces of work, for the benches that run alone: time of this thread, the best
 * of some rounds, each long enough for the clock.
 */
#pragma once
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct work; /* the bench's own: what its work needs, and a sink that keeps it from being optimised away */

static inline void must(bool ok)
{
    if (!ok)
        abort();
}

static inline double cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/** Nanoseconds of one call. */
static inline double measure(struct work *w, void (*once)(struct work *w))
{
    static const double round_ns = 15e6;
    double best = 1e18, began, took;
    unsigned long calls = 1;

    for (int i = 0; i < 5; i++) {
        do {
            began = cpu_ns();
            for (unsigned long n = 0; n < calls; n++)
                once(w);
            took = cpu_ns() - began;
            if (took < round_ns)
                calls *= 2;
        } while (took < round_ns);
        if (took / (double)calls < best)
            best = took / (double)calls;
    }
    return best;
}
