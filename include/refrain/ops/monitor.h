/*
 * monitor - takes a reading every now and then, and keeps the history that they make. SPEC section 12.
 *
 * Threads: the main one.
 */
#pragma once
#include <stdint.h>

#include "refrain/ops/history.h"
#include "refrain/ops/reading.h"

struct monitor;
struct slow;

struct monitor_conf {
    struct reading_sources from; /* outlive it */
    struct slow *slow;           /* is told what is typical (http/slow.h); NULL: nobody is */
    int64_t every_ms;            /* how often it will be told to sample */
};

/** Takes its first reading, by which all of the others are intervals. Aborts when out of memory. @at_ms: wall
 * clock, @mono_ms: monotonic, here and below. */
struct monitor *monitor_new(const struct monitor_conf *conf, int64_t at_ms, int64_t mono_ms);
/** NULL is fine. */
void monitor_free(struct monitor *m);
/** Takes a reading and adds it to the history. */
void monitor_sample(struct monitor *m, int64_t at_ms, int64_t mono_ms);

const struct history *monitor_history(const struct monitor *m);
const struct reading_sources *monitor_sources(const struct monitor *m);
int64_t monitor_every_ms(const struct monitor *m);
/** When the first reading was taken, wall clock and monotonic: the start of all counts. */
int64_t monitor_began_ms(const struct monitor *m);
int64_t monitor_began_mono_ms(const struct monitor *m);
