#include "refrain/ops/alerts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alerts_priv.h"
#include "refrain/base/attr.h"

/*
 * What is over a threshold, and since when, is judged for all rows alike, in a track: one for each code and
 * subject that was seen over its threshold, or is raised.
 */
enum { TRACKS_MAX = ALERTS_MAX, NO_LEVEL = -1 };

_Static_assert((int)ALERT_CODES <= (int)LABEL_MAX_ALERT && (int)ALERT_LEVELS == (int)LABEL_MAX_LEVEL,
               "metrics have room");

struct track {
    bool used, seen; /* seen: in the judgement at hand */
    int level;       /* as raised; NO_LEVEL: not */
    unsigned over_n, under_n;
    int64_t first_mono_ms; /* since when it has been seen, reading by reading */
    struct alert alert;
};

struct alerts {
    struct track tracks[TRACKS_MAX];
};

/* A row with a single level has a single threshold. */
static int steps_of(const struct alert_row *row)
{
    return row->level[0] == row->level[1] ? 1 : ALERT_STEPS;
}

/* -- names -- */

const char *alert_level_name(enum alert_level level)
{
    static const char *const names[ALERT_LEVELS] = {"info", "warning", "error", "critical"};

    return names[level];
}

const char *alert_code_name(unsigned code)
{
    return alert_rows[code].code;
}

const char *alert_unit_name(enum alert_unit unit)
{
    static const char *const names[] = {[ALERT_RATIO] = "ratio", [ALERT_TIME] = "s", [ALERT_COUNT] = "count"};

    return names[unit];
}

static const char *levels_of(const struct alert_row *row)
{
    if (steps_of(row) == 1)
        return alert_level_name(row->level[0]);
    return row->level[1] == ALERT_ERROR ? "warning, error" : "warning, critical";
}

struct alert_about alert_about(enum alert_code code)
{
    const struct alert_row *r = &alert_rows[code];

    return (struct alert_about){r->code, levels_of(r), r->options, r->looks_at, r->what_to_do};
}

bool alert_has_level(enum alert_code code, enum alert_level level)
{
    return alert_rows[code].level[0] == level || alert_rows[code].level[1] == level;
}

/* -- messages -- */

static void write_value(struct buf *out, enum alert_unit unit, int64_t value)
{
    if (unit == ALERT_RATIO)
        (void)!buf_addf(out, "%" PRId64 " %%", value / 10);
    else if (unit == ALERT_COUNT)
        (void)!buf_addf(out, "%" PRId64, value);
    else if (value < 10000)
        (void)!buf_addf(out, "%" PRId64 " ms", value);
    else
        (void)!buf_addf(out, "%" PRId64 " s", value / 1000);
}

static int64_t window_ms(const struct alerts_view *v, enum alert_code code)
{
    return code == ALERT_INVALIDATIONS ? v->conf->invalidations_window_ms : v->conf->window_ms;
}

static void write_window(struct buf *out, int64_t ms)
{
    if (ms % 60000 == 0)
        (void)!buf_addf(out, "%" PRId64 " min", ms / 60000);
    else
        write_value(out, ALERT_TIME, ms);
}

static void write_field(struct buf *out, const struct alerts_view *v, const struct alert *a,
                        struct slice field, const char *detail)
{
    if (slice_eq(field, SLICE_OF("value")))
        write_value(out, a->unit, a->value);
    else if (slice_eq(field, SLICE_OF("subject")))
        (void)!buf_add_slice(out, slice_str(a->subject));
    else if (slice_eq(field, SLICE_OF("window")))
        write_window(out, window_ms(v, a->code));
    else if (slice_eq(field, SLICE_OF("detail")))
        (void)!buf_add_slice(out, slice_str(detail));
    else if (detail[0])
        (void)!buf_addf(out, ": %s", detail);
}

/* What is too long is cut: a message is for eyes. */
static void write_message(struct alert *a, const struct alerts_view *v, const char *detail)
{
    AUTO(buf_done) struct buf out = BUF_INIT(ALERT_MESSAGE_BYTES);
    struct slice rest = slice_str(alert_rows[a->code].message);

    while (rest.data) {
        struct slice plain = slice_cut(&rest, '{'), field;

        (void)!buf_add_slice(&out, plain);
        if (!rest.data)
            break;
        field = slice_cut(&rest, '}');
        write_field(&out, v, a, field, detail);
    }
    (void)snprintf(a->message, sizeof(a->message), "%.*s", (int)out.len, out.data);
}

/* -- judging -- */

static bool is_past(const struct alert_row *row, int64_t value, int64_t threshold, bool with_margin)
{
    int64_t margin = with_margin ? threshold * row->margin_permille / 1000 : 0;

    if (threshold == ALERT_OFF)
        return false;
    return row->below ? value < threshold + margin : value >= threshold - margin;
}

/* The gravest level whose threshold the value is past. */
static int level_of(const struct alerts_view *v, enum alert_code code, int64_t value, bool with_margin)
{
    for (int i = steps_of(&alert_rows[code]) - 1; i >= 0; i--)
        if (is_past(&alert_rows[code], value, v->conf->at[code][i], with_margin))
            return (int)alert_rows[code].level[i];
    return NO_LEVEL;
}

static int64_t threshold_of(const struct alerts_view *v, enum alert_code code, int level)
{
    int last = steps_of(&alert_rows[code]) - 1;

    return v->conf->at[code][(int)alert_rows[code].level[last] == level ? last : 0];
}

static void change(struct track *t, int level, const struct alerts_view *v, const struct alerts_told *told)
{
    enum alert_change how = level == NO_LEVEL ? ALERT_CLEARED : level > t->level ? ALERT_RAISED : ALERT_EASED;

    if (t->level == NO_LEVEL) {
        t->alert.since_ms = v->now->at_ms;
        t->alert.since_mono_ms = v->now->mono_ms;
    }
    t->level = level;
    t->over_n = t->under_n = 0;
    if (level != NO_LEVEL) {
        t->alert.level = (enum alert_level)level;
        t->alert.threshold = threshold_of(v, t->alert.code, level);
    }
    if (told->on_change)
        told->on_change(told->arg, how, &t->alert);
}

/* A track whose alert is not raised is kept as long as it is on its way there. */
static void judge(struct track *t, int now, int kept, const struct alerts_view *v,
                  const struct alerts_told *told)
{
    const struct alert_row *row = &alert_rows[t->alert.code];

    t->over_n = now > t->level ? t->over_n + 1 : 0;
    t->under_n = kept < t->level ? t->under_n + 1 : 0;
    if (t->over_n >= row->raise_n)
        change(t, now, v, told);
    else if (t->under_n > 0 && t->under_n >= row->clear_n)
        change(t, kept, v, told);
    if (t->level == NO_LEVEL && t->over_n == 0 && !(row->lasts && t->seen))
        t->used = false;
}

static struct track *track_find(struct alerts *a, enum alert_code code, const char *subject)
{
    for (size_t i = 0; i < TRACKS_MAX; i++)
        if (a->tracks[i].used && a->tracks[i].alert.code == code &&
            strcmp(a->tracks[i].alert.subject, subject) == 0)
            return &a->tracks[i];
    return NULL;
}

/* NULL: so many are raised that one more would tell nothing. */
static struct track *track_new(struct alerts *a, enum alert_code code, const char *subject, int64_t mono_ms)
{
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct track *t = &a->tracks[i];

        if (t->used)
            continue;
        *t = (struct track){.used = true, .level = NO_LEVEL, .first_mono_ms = mono_ms};
        t->alert.code = code;
        t->alert.unit = alert_rows[code].unit;
        t->alert.what_to_do = alert_rows[code].what_to_do;
        (void)snprintf(t->alert.subject, sizeof(t->alert.subject), "%s", subject);
        return t;
    }
    return NULL;
}

void alerts_see(struct alerts_sight *s, const char *subject, int64_t value, const char *detail)
{
    const struct alert_row *row = &alert_rows[s->code];
    struct track *t = track_find(s->alerts, s->code, subject);

    if (!t && (row->lasts || level_of(s->view, s->code, value, false) != NO_LEVEL))
        t = track_new(s->alerts, s->code, subject, s->view->now->mono_ms);
    if (!t)
        return;
    t->seen = true;
    t->alert.value = row->lasts ? s->view->now->mono_ms - t->first_mono_ms : value;
    write_message(&t->alert, s->view, detail ? detail : "");
    judge(t, level_of(s->view, s->code, t->alert.value, false),
          level_of(s->view, s->code, t->alert.value, true), s->view, s->told);
}

void alerts_judge(struct alerts *a, const struct history *h, const struct facts *now,
                  const struct alerts_conf *conf, const struct alerts_told *told)
{
    struct alerts_view v = {h, history_at(h, 0), now, conf, {0}};

    if (!v.now)
        return;
    v.window = window_of(h, conf->window_ms);
    for (size_t i = 0; i < TRACKS_MAX; i++)
        a->tracks[i].seen = false;
    for (unsigned code = 0; code < ALERT_CODES; code++) {
        struct alerts_sight s = {a, &v, told, (enum alert_code)code};

        alert_rows[code].look(&s);
    }
    for (size_t i = 0; i < TRACKS_MAX; i++)
        if (a->tracks[i].used && !a->tracks[i].seen)
            judge(&a->tracks[i], NO_LEVEL, NO_LEVEL, &v, told);
}

/* -- what is raised -- */

struct alerts *alerts_new(void)
{
    struct alerts *a = calloc(1, sizeof(*a));

    if (!a)
        abort();
    return a;
}

void alerts_free(struct alerts *a)
{
    free(a);
}

static int by_gravity(const void *left, const void *right)
{
    const struct alert *a = *(const struct alert *const *)left, *b = *(const struct alert *const *)right;

    if (a->level != b->level)
        return a->level > b->level ? -1 : 1;
    if (a->since_mono_ms != b->since_mono_ms)
        return a->since_mono_ms < b->since_mono_ms ? -1 : 1;
    return (int)a->code - (int)b->code;
}

size_t alerts_active(const struct alerts *a, const struct alert *out[ALERTS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < TRACKS_MAX; i++)
        if (a->tracks[i].used && a->tracks[i].level != NO_LEVEL)
            out[n++] = &a->tracks[i].alert;
    qsort(out, n, sizeof(*out), by_gravity);
    return n;
}

unsigned alerts_count(const struct alerts *a, enum alert_code code, enum alert_level level)
{
    unsigned n = 0;

    for (size_t i = 0; i < TRACKS_MAX; i++)
        n += a->tracks[i].used && a->tracks[i].level == (int)level && a->tracks[i].alert.code == code;
    return n;
}
