/*
 * alerts - what an operator should look at now, by thresholds. SPEC section 12; docs/alerts.md.
 *
 * Each alert is one row of a table in alerts.c: what it looks at, in which unit, when it is raised, what to
 * do about it. A row may speak of several subjects (a tier, an upstream's breaker), each an alert of its own.
 * What is judged is readings and facts alone, and time is theirs, so there is no clock here.
 *
 *   below ──(at or past a threshold, in so many readings running)──► raised, warning ──► raised, critical
 *     ▲                                                                │
 *     └──(short of it by a margin, in so many readings running)────────┘
 *
 * Threads: one at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/ops/facts.h"
#include "refrain/ops/history.h"

enum alert_level { ALERT_INFO, ALERT_WARNING, ALERT_ERROR, ALERT_CRITICAL, ALERT_LEVELS };
/** "warning" */
const char *alert_level_name(enum alert_level level);

enum alert_code {
    ALERT_MEMORY,
    ALERT_KEY_TIME,
    ALERT_TIER_TIME,
    ALERT_INVALIDATIONS,
    ALERT_HIT_RATE,
    ALERT_BREAKER_OPEN,
    ALERT_UPSTREAM_FAILURES,
    ALERT_TIER_DOWN,
    ALERT_TIER_DEGRADED,
    ALERT_WRITES_DROPPED,
    ALERT_RECORDS_UNREADABLE,
    ALERT_INSTANCES_CUT,
    ALERT_CONNECTIONS_REFUSED,
    ALERT_BUFFERS,
    ALERT_LOG_LINES_DROPPED,
    ALERT_CREDENTIALS_SUSPENDED,
    ALERT_CERTIFICATE,
    ALERT_CODES
};
/** "memory" */
const char *alert_code_name(unsigned code);

/** May an alert of @code be raised at @level? */
bool alert_has_level(enum alert_code code, enum alert_level level);

/* In what an alert's value and threshold are. */
enum alert_unit {
    ALERT_RATIO, /* thousandths */
    ALERT_TIME,  /* milliseconds */
    ALERT_COUNT,
};
/** "ratio", "s", "count" */
const char *alert_unit_name(enum alert_unit unit);

enum { ALERT_STEPS = 2, ALERT_OFF = -1 };
struct alerts_conf {
    int64_t at[ALERT_CODES][ALERT_STEPS]; /* thresholds, in the row's unit; the second is that of the graver
                                           * level, where a row has one. ALERT_OFF: none */
    int64_t window_ms;                    /* how far back counts and times are looked at */
    int64_t invalidations_window_ms;      /* the same of invalidations */
    uint64_t requests_min;                /* fewer of them in the window tell no hit rate */
};

enum { ALERT_SUBJECT_BYTES = 96, ALERT_MESSAGE_BYTES = 320, ALERTS_MAX = 64 };

struct alert {
    enum alert_code code;
    enum alert_level level;
    char subject[ALERT_SUBJECT_BYTES + 1]; /* "redis"; "": the instance */
    char message[ALERT_MESSAGE_BYTES + 1]; /* as of the last reading */
    int64_t since_ms, since_mono_ms;       /* of the reading that raised it: wall clock, monotonic */
    int64_t value, threshold;
    enum alert_unit unit;
    const char *what_to_do; /* static text */
};

struct alerts;
/** Aborts when out of memory. */
struct alerts *alerts_new(void);
/** NULL is fine. */
void alerts_free(struct alerts *a);

enum alert_change { ALERT_RAISED, ALERT_EASED, ALERT_CLEARED };
struct alerts_told {
    /* Once for each change: raised, or raised to a graver level; of a lesser level now; gone. NULL: nobody.
     */
    void (*on_change)(void *arg, enum alert_change change, const struct alert *alert);
    void *arg;
};

/** Judges the newest reading of @h. Once for each reading. */
void alerts_judge(struct alerts *a, const struct history *h, const struct facts *now,
                  const struct alerts_conf *conf, const struct alerts_told *told);

/** Those that are raised: the gravest first, of equals the oldest. Borrowed until the next judgement. */
size_t alerts_active(const struct alerts *a, const struct alert *out[ALERTS_MAX]);
/** How many are raised of @code at @level. */
unsigned alerts_count(const struct alerts *a, enum alert_code code, enum alert_level level);

/* What a row is, for documentation and its test. */
struct alert_about {
    const char *code, *levels; /* "warning, critical" */
    const char *options;       /* names of its thresholds */
    const char *looks_at, *what_to_do;
};
struct alert_about alert_about(enum alert_code code);
