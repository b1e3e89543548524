/*
 * clock - the two clocks. Wall time dates things, monotonic time measures them. Pure modules take the time as
 * an argument; only http, ops and app read a clock.
 */
#pragma once
#include <stdint.h>

/** Milliseconds since the epoch; may jump. Threads: any. */
int64_t clock_wall_ms(void);

/** Nanoseconds since some fixed point; never goes back. Threads: any. */
int64_t clock_mono_ns(void);

static inline int64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}
