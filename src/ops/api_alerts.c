/* /alerts and /recommendations: what to look at now, and what to change. */
#include <stdlib.h>

#include "api.h"
#include "api_stats.h"
#include "refrain/base/clock.h"
#include "refrain/ops/alerts.h"
#include "refrain/ops/monitor.h"
#include "refrain/ops/recommend.h"

static void write_number(struct jout *j, const char *name, enum alert_unit unit, int64_t value)
{
    if (unit == ALERT_COUNT)
        jout_int(j, name, value);
    else
        jout_milli(j, name, value);
}

static void write_alert(struct jout *j, const struct alert *a, int64_t now_mono_ms)
{
    jout_object(j, NULL);
    jout_str(j, "code", alert_code_name(a->code));
    jout_str(j, "level", alert_level_name(a->level));
    jout_str(j, "subject", a->subject[0] ? a->subject : NULL);
    jout_time(j, "since", a->since_ms);
    jout_milli(j, "for_s", now_mono_ms - a->since_mono_ms);
    jout_str(j, "message", a->message);
    write_number(j, "value", a->unit, a->value);
    write_number(j, "threshold", a->unit, a->threshold);
    jout_str(j, "unit", alert_unit_name(a->unit));
    jout_str(j, "what_to_do", a->what_to_do);
    jout_end(j);
}

static void write_counts(struct jout *j, const struct alert *const *active, size_t n)
{
    unsigned counts[ALERT_LEVELS] = {0};

    for (size_t i = 0; i < n; i++)
        counts[active[i]->level]++;
    jout_object(j, "counts");
    for (unsigned i = 0; i < ALERT_LEVELS; i++)
        jout_int(j, alert_level_name((enum alert_level)i), counts[i]);
    jout_end(j);
}

void api_alerts_write(const struct admin_parts *parts, struct jout *j)
{
    const struct alert *active[ALERTS_MAX];
    size_t n = alerts_active(parts->alerts, active);

    jout_array(j, "alerts");
    for (size_t i = 0; i < n; i++)
        write_alert(j, active[i], clock_mono_ms());
    jout_end(j);
}

void api_alerts(struct api_call *c)
{
    const struct alert *active[ALERTS_MAX];
    struct jout j = jout_begin(c->out);

    jout_object(&j, NULL);
    api_alerts_write(&c->parts, &j);
    write_counts(&j, active, alerts_active(c->parts.alerts, active));
    jout_end(&j);
    api_done(c, &j);
}

static void write_recommendation(struct jout *j, const struct recommendation *r)
{
    jout_object(j, NULL);
    jout_str(j, "code", r->code);
    jout_str(j, "title", r->title);
    jout_str(j, "change", r->change);
    jout_str(j, "evidence", r->evidence);
    jout_str(j, "impact", r->impact);
    jout_str(j, "option", r->option);
    jout_end(j);
}

void api_recommendations_write(const struct admin_parts *parts, struct jout *j)
{
    struct recommendation found[RECOMMENDATIONS_MAX];
    struct facts facts;
    size_t n;

    parts->facts(parts->arg, &facts);
    n = recommend(monitor_history(parts->monitor), &facts, found);
    jout_array(j, "recommendations");
    for (size_t i = 0; i < n; i++)
        write_recommendation(j, &found[i]);
    jout_end(j);
}

void api_recommendations(struct api_call *c)
{
    struct jout j = jout_begin(c->out);

    jout_object(&j, NULL);
    api_recommendations_write(&c->parts, &j);
    jout_end(&j);
    api_done(c, &j);
}
