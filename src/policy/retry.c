#include "refrain/policy/retry.h"

#include <stddef.h>

#include "refrain/wire/httpdate.h"

enum { MILLI = 1000 };

static const struct {
    const char *name;
    unsigned status; /* 0: no answer */
} causes[RETRY_CAUSES] = {
    [RETRY_CONNECT] = {"connect", 0}, [RETRY_RESET] = {"reset", 0}, [RETRY_TIMEOUT] = {"timeout", 0},
    [RETRY_429] = {"429", 429},       [RETRY_502] = {"502", 502},   [RETRY_503] = {"503", 503},
    [RETRY_504] = {"504", 504},
};

const char *retry_cause_name(enum retry_cause cause)
{
    return causes[cause].name;
}

enum retry_cause retry_cause_by_name(struct slice name)
{
    enum retry_cause cause = 0;

    while (cause < RETRY_CAUSES && !slice_eq(name, slice_str(causes[cause].name)))
        cause++;
    return cause;
}

enum retry_cause retry_cause_of_status(unsigned status)
{
    enum retry_cause cause = 0;

    while (cause < RETRY_CAUSES && (causes[cause].status == 0 || causes[cause].status != status))
        cause++;
    return cause;
}

/* -- when -- */

static int64_t backoff_ms(const struct retry_conf *conf, unsigned tries)
{
    int64_t ms = conf->backoff_ms;

    for (unsigned i = 1; i < tries && ms < conf->backoff_ms_max; i++)
        ms *= 2;
    return ms < conf->backoff_ms_max ? ms : conf->backoff_ms_max;
}

int64_t retry_wait_ms(const struct retry_conf *conf, enum retry_cause cause, unsigned tries, int64_t asked_ms,
                      uint32_t chance)
{
    int64_t whole_ms = backoff_ms(conf, tries), wait_ms;

    if (cause == RETRY_NONE || !(conf->on & 1U << cause) || tries > conf->max ||
        asked_ms > conf->backoff_ms_max)
        return -1;
    wait_ms = whole_ms / 2 + (int64_t)(chance % (uint64_t)(whole_ms - whole_ms / 2 + 1));
    return wait_ms > asked_ms ? wait_ms : asked_ms;
}

/* -- what upstream asks for -- */

/* Digits, and what follows a point left out, as some write "1.5"; -1: anything else. */
static int64_t whole_number(struct slice s)
{
    int64_t n = 0;
    size_t i = 0;

    for (; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++)
        if (n < INT32_MAX)
            n = n * 10 + (s.data[i] - '0');
    return i > 0 && (i == s.len || s.data[i] == '.') ? n : -1;
}

int64_t retry_after_ms(const struct fields *fields, int64_t now_wall_ms)
{
    const struct field *in_ms = fields_find(fields, SLICE_OF("retry-after-ms"));
    const struct field *after = fields_find(fields, SLICE_OF("retry-after"));
    int64_t n = in_ms ? whole_number(slice_trim(in_ms->value)) : -1, at_s;

    if (n >= 0)
        return n;
    if (!after)
        return -1;
    n = whole_number(slice_trim(after->value));
    if (n >= 0)
        return n * 1000;
    if (!httpdate_parse(after->value, now_wall_ms / 1000, &at_s))
        return -1;
    return at_s * 1000 > now_wall_ms ? at_s * 1000 - now_wall_ms : 0;
}

/* -- the budget -- */

static void fill(struct retry_budget *b, int64_t more_milli)
{
    b->milli += more_milli;
    if (b->milli > RETRY_BUCKET * MILLI)
        b->milli = RETRY_BUCKET * MILLI;
}

static void fill_by_time(struct retry_budget *b, int64_t now_ms)
{
    int64_t passed_ms = now_ms - b->at_ms;

    if (b->at_ms == 0 || passed_ms > RETRY_BUCKET * MILLI)
        passed_ms = RETRY_BUCKET * MILLI;
    if (passed_ms < 0)
        return; /* another thread's clock is a little ahead */
    fill(b, passed_ms * RETRY_FLOOR_PER_S);
    b->at_ms = now_ms;
}

void retry_budget_earn(struct retry_budget *b, const struct retry_conf *conf, int64_t now_ms)
{
    fill_by_time(b, now_ms);
    fill(b, conf->budget_permille);
}

bool retry_budget_spend(struct retry_budget *b, int64_t now_ms)
{
    fill_by_time(b, now_ms);
    if (b->milli < MILLI)
        return false;
    b->milli -= MILLI;
    return true;
}
