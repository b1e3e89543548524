#include "refrain/policy/breaker.h"

#include <stddef.h>
#include <string.h>

enum { PROBE_PATIENCE_MS = 60000 };

/* -- what both have in common -- */

enum breaker_state breaker_state_at(const struct breaker_latch *l, int64_t now_ms, int64_t *out_since_ms)
{
    bool is_over = l->open && !l->held && now_ms >= l->until_ms;

    if (out_since_ms)
        *out_since_ms = is_over ? l->until_ms : l->since_ms;
    if (!l->open)
        return BREAKER_CLOSED;
    return is_over ? BREAKER_HALF_OPEN : BREAKER_OPEN;
}

static struct breaker_latch latch_closed(int64_t now_ms)
{
    return (struct breaker_latch){.since_ms = now_ms};
}

static struct breaker_latch latch_open(int64_t now_ms, int64_t for_ms)
{
    return (struct breaker_latch){.open = true, .since_ms = now_ms, .until_ms = now_ms + for_ms};
}

static struct breaker_latch latch_commanded(enum breaker_command command, int64_t now_ms)
{
    bool open = command == BREAKER_FORCE_OPEN;

    return (struct breaker_latch){.open = open, .held = open, .since_ms = now_ms};
}

/* -- validation -- */

static void validation_open(struct breaker_validation *v, const struct breaker_validation_conf *conf,
                            int64_t now_ms)
{
    v->level += v->level < BREAKER_LEVEL_MAX;
    v->net = 0;
    v->latch = latch_open(now_ms, conf->open_for_ms * v->level);
}

/* Closed anew it counts from nothing: what it counted before it opened must not open it again. */
static void validation_close(struct breaker_validation *v, int64_t now_ms)
{
    *v = (struct breaker_validation){.latch = latch_closed(now_ms)};
}

enum breaker_change breaker_validation_judge(struct breaker_validation *v,
                                             const struct breaker_validation_conf *conf, bool broken,
                                             int64_t now_ms)
{
    switch (breaker_state_at(&v->latch, now_ms, NULL)) {
    case BREAKER_OPEN:
        return BREAKER_SAME;
    case BREAKER_HALF_OPEN:
        if (broken)
            validation_open(v, conf, now_ms);
        else
            validation_close(v, now_ms);
        return broken ? BREAKER_REOPENED : BREAKER_RECOVERED;
    case BREAKER_CLOSED:
        break;
    }
    if (!broken) {
        v->net -= v->net > 0;
        return BREAKER_SAME;
    }
    if (++v->net < conf->failures)
        return BREAKER_SAME;
    validation_open(v, conf, now_ms);
    return BREAKER_OPENED;
}

void breaker_validation_command(struct breaker_validation *v, enum breaker_command command, int64_t now_ms)
{
    v->latch = latch_commanded(command, now_ms);
    v->net = 0;
    if (command == BREAKER_RESET)
        v->level = 0;
}

/* -- availability: the window -- */

static int64_t slice_number(const struct breaker_availability_conf *conf, int64_t now_ms)
{
    int64_t len_ms = conf->window_ms / BREAKER_SLICES;

    return now_ms / (len_ms > 0 ? len_ms : 1);
}

static void window_clear(struct breaker_availability *a)
{
    memset(a->slices, 0, sizeof(a->slices));
}

/* Forgets the slices that have left the window. Callers' clocks may lag by a slice; a number that is further
 * off comes of a window whose length was changed. */
static void window_slide(struct breaker_availability *a, int64_t number)
{
    int64_t ahead = number - a->newest;

    if (ahead >= BREAKER_SLICES || ahead <= -BREAKER_SLICES) {
        window_clear(a);
        a->newest = number;
        return;
    }
    while (a->newest < number)
        a->slices[++a->newest % BREAKER_SLICES] = (struct breaker_slice){0, 0};
}

struct breaker_slice breaker_availability_window(const struct breaker_availability *a,
                                                 const struct breaker_availability_conf *conf, int64_t now_ms)
{
    int64_t number = slice_number(conf, now_ms);
    struct breaker_slice sum = {0, 0};

    for (int64_t i = a->newest; i > a->newest - BREAKER_SLICES && i >= 0; i--) {
        if (number - i >= BREAKER_SLICES)
            break;
        sum.calls += a->slices[i % BREAKER_SLICES].calls;
        sum.failed += a->slices[i % BREAKER_SLICES].failed;
    }
    return sum;
}

/* -- availability: the machine -- */

static void availability_open(struct breaker_availability *a, const struct breaker_availability_conf *conf,
                              int64_t now_ms)
{
    a->latch = latch_open(now_ms, conf->open_for_ms);
    a->epoch++;
    a->probing = false;
    window_clear(a);
}

static void availability_close(struct breaker_availability *a, int64_t now_ms)
{
    a->latch = latch_closed(now_ms);
    a->epoch++;
    a->probing = false;
    window_clear(a);
}

static int64_t probe_until_ms(const struct breaker_availability *a,
                              const struct breaker_availability_conf *conf)
{
    return a->probe_at_ms +
           (conf->open_for_ms > PROBE_PATIENCE_MS ? conf->open_for_ms : (int64_t)PROBE_PATIENCE_MS);
}

enum breaker_way breaker_availability_look(const struct breaker_availability *a,
                                           const struct breaker_availability_conf *conf, int64_t now_ms)
{
    switch (breaker_state_at(&a->latch, now_ms, NULL)) {
    case BREAKER_CLOSED:
        return BREAKER_FREE;
    case BREAKER_OPEN:
        return BREAKER_SHUT;
    case BREAKER_HALF_OPEN:
        break;
    }
    return a->probing && now_ms < probe_until_ms(a, conf) ? BREAKER_SHUT : BREAKER_PROBE;
}

enum breaker_way breaker_availability_admit(struct breaker_availability *a,
                                            const struct breaker_availability_conf *conf, int64_t now_ms,
                                            unsigned *out_epoch)
{
    enum breaker_way way = breaker_availability_look(a, conf, now_ms);

    *out_epoch = a->epoch;
    if (way == BREAKER_PROBE) {
        a->probing = true;
        a->probe_at_ms = now_ms;
    }
    return way;
}

enum breaker_change breaker_availability_probed(struct breaker_availability *a,
                                                const struct breaker_availability_conf *conf, unsigned epoch,
                                                bool failed, int64_t now_ms)
{
    if (epoch != a->epoch || a->latch.held)
        return BREAKER_SAME;
    if (failed)
        availability_open(a, conf, now_ms);
    else
        availability_close(a, now_ms);
    return failed ? BREAKER_REOPENED : BREAKER_RECOVERED;
}

void breaker_availability_give_back(struct breaker_availability *a, unsigned epoch)
{
    if (epoch == a->epoch)
        a->probing = false;
}

enum breaker_change breaker_availability_sample(struct breaker_availability *a,
                                                const struct breaker_availability_conf *conf, bool failed,
                                                int64_t now_ms)
{
    int64_t number = slice_number(conf, now_ms);
    struct breaker_slice *now, sum;

    if (a->latch.open)
        return BREAKER_SAME;
    window_slide(a, number);
    now = &a->slices[a->newest % BREAKER_SLICES];
    now->calls++;
    now->failed += failed;
    sum = breaker_availability_window(a, conf, now_ms);
    if (sum.calls < conf->samples || (uint64_t)sum.failed * 1000 < (uint64_t)sum.calls * conf->ratio_permille)
        return BREAKER_SAME;
    availability_open(a, conf, now_ms);
    return BREAKER_OPENED;
}

int64_t breaker_availability_wait_ms(const struct breaker_availability *a,
                                     const struct breaker_availability_conf *conf, int64_t now_ms)
{
    if (breaker_availability_look(a, conf, now_ms) != BREAKER_SHUT)
        return 0;
    if (!a->latch.held && now_ms < a->latch.until_ms)
        return a->latch.until_ms - now_ms;
    return 1; /* a probe is under way, or an operator holds it open: nobody knows */
}

bool breaker_availability_is_idle(const struct breaker_availability *a,
                                  const struct breaker_availability_conf *conf, int64_t now_ms)
{
    return !a->latch.open && breaker_availability_window(a, conf, now_ms).calls == 0;
}

void breaker_availability_command(struct breaker_availability *a, enum breaker_command command,
                                  int64_t now_ms)
{
    a->latch = latch_commanded(command, now_ms);
    a->epoch++;
    a->probing = false;
    window_clear(a);
}
