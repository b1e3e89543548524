/*
 * api_stats - the parts of statistics that several routes tell: each appends members to an open object.
 */
#pragma once
#include "refrain/base/jout.h"
#include "refrain/base/metrics.h"

struct admin_parts; /* ops/admin.h */

/** All of /stats. Thread: the listener's. */
void api_stats_write(const struct admin_parts *parts, struct jout *j);

/** All of /stats/history; of /performance; of /slow. */
void api_history_write(const struct admin_parts *parts, struct jout *j, unsigned minutes, unsigned points);
void api_performance_write(const struct admin_parts *parts, struct jout *j);
void api_slow_write(const struct admin_parts *parts, struct jout *j, unsigned limit);

/** The list of /alerts; of /recommendations; of /clients. */
void api_alerts_write(const struct admin_parts *parts, struct jout *j);
void api_recommendations_write(const struct admin_parts *parts, struct jout *j);
void api_clients_write(const struct admin_parts *parts, struct jout *j);

/** "requests": by result, and their total. */
void api_write_requests(struct jout *j, const uint64_t requests[LABEL_MAX_RESULT], struct metrics *m);
/** "hit_rate"; null where nothing was asked. */
void api_write_hit_rate(struct jout *j, const uint64_t requests[LABEL_MAX_RESULT]);
/** "n", "mean_s", "median_s" and so on. */
void api_write_times(struct jout *j, const struct sketch *s);
