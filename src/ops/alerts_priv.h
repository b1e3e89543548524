/*
 * alerts_priv - what the rows of alerts (alerts_rows.c: what each looks at, and what it says) and their
 * judging (alerts.c: what is over a threshold, and since when) say to each other.
 */
#pragma once
#include "refrain/ops/alerts.h"
#include "window.h"

struct alerts_view {
    const struct history *history;
    const struct reading *now;
    const struct facts *facts;
    const struct alerts_conf *conf;
    struct window window;
};

/* Where what a row sees goes. */
struct alerts_sight {
    struct alerts *alerts;
    const struct alerts_view *view;
    const struct alerts_told *told;
    enum alert_code code;
};

/*
 * {subject}, {value}, {threshold}, {window}, {detail} in a message stand for themselves; {; } for a semicolon
 * and the detail, where there is one. A row whose unit is ALERT_TIME and that lasts has for its value how
 * long it has been seen.
 */
struct alert_row {
    const char *code, *options, *looks_at;
    enum alert_level level[ALERT_STEPS];
    enum alert_unit unit;
    bool below;                /* raised at or under the threshold, instead of at or over it */
    bool lasts;                /* what is seen is there or not: the threshold is for how long */
    unsigned margin_permille;  /* of the threshold: so far must it go back */
    unsigned raise_n, clear_n; /* readings running */
    void (*look)(struct alerts_sight *s);
    const char *message, *what_to_do;
};
extern const struct alert_row alert_rows[ALERT_CODES];

/** A row's word for what it sees of @subject ("": there is but one), at each reading. @detail may be NULL. */
void alerts_see(struct alerts_sight *s, const char *subject, int64_t value, const char *detail);
