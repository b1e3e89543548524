/*
 * watch - has alerts judged as readings come, and tells what changes: to the log, to events, to metrics. And
 * gathers what alerts and recommendations look at beside counts.
 *
 * Threads: the main one.
 */
#pragma once
#include "refrain/ops/alerts.h"
#include "refrain/ops/facts.h"
#include "refrain/ops/history.h"

struct breakers;  /* refrain/http/breakers.h */
struct config;    /* config.h */
struct events;    /* refrain/store/events.h */
struct instances; /* refrain/store/instances.h */
struct metrics;
struct recent; /* refrain/http/recent.h */
struct store;  /* refrain/store/store.h */

struct watch;
struct watch_parts {
    struct metrics *metrics;
    struct events *events;
    struct breakers *breakers;
    struct store *store;
    struct instances *instances; /* NULL: there are no others */
    struct recent *recent;       /* NULL: nothing is remembered of requests */
};

/** Aborts when out of memory. */
struct watch *watch_new(const struct watch_parts *parts);
/** NULL is fine. */
void watch_free(struct watch *w);

/** A reading has come. @conf is the configuration in force. */
void watch_judge(struct watch *w, const struct history *h, const struct config *conf);
const struct alerts *watch_alerts(const struct watch *w);
/** As things are now, with what tells recent requests apart: some milliseconds. */
void watch_facts(const struct watch *w, const struct config *conf, struct facts *out);
