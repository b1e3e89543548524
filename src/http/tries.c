#include "tries.h"

#include "refrain/base/clock.h"
#include "refrain/base/digest.h"
#include "refrain/base/log.h"
#include "refrain/policy/retry.h"

/* What a call that brought no answer is called: by the counts, and as the cause of a breaker. */
static const struct {
    enum metric_code code;
    const char *name;
} results[] = {
    [UPSTREAM_OK] = {CODE_OTHER, ""},
    [UPSTREAM_UNREACHABLE] = {CODE_UNREACHABLE, "unreachable"},
    [UPSTREAM_TIMEOUT] = {CODE_TIMEOUT, "timeout"},
    [UPSTREAM_PROTOCOL] = {CODE_PROTOCOL, "protocol"},
    [UPSTREAM_CUT] = {CODE_CUT, "cut"},
    [UPSTREAM_CANCELLED] = {CODE_CANCELLED, "cancelled"},
};

_Static_assert((int)RETRY_CONNECT == 0 && (int)RETRY_CAUSES == LABEL_MAX_RETRY, "causes are labels");

/* -- what is told -- */

/* Statuses that say "not here, not now"; a client that left says nothing, unless an answer had begun. */
static enum breakers_outcome outcome_of(enum upstream_result result, unsigned status)
{
    if (result == UPSTREAM_CANCELLED && status == 0)
        return BREAKERS_UNKNOWN;
    if (result != UPSTREAM_OK && result != UPSTREAM_CANCELLED)
        return BREAKERS_FAILED;
    return status >= 502 && status <= 504 ? BREAKERS_FAILED : BREAKERS_ANSWERED;
}

static const char *name_of(enum upstream_result result, unsigned status)
{
    enum retry_cause cause = retry_cause_of_status(status);

    if (result != UPSTREAM_OK && result != UPSTREAM_CANCELLED)
        return results[result].name;
    return cause == RETRY_NONE ? "" : retry_cause_name(cause);
}

static void count_try(const struct tries *t, enum upstream_result result, unsigned status)
{
    unsigned code = result == UPSTREAM_OK ? metric_code(status) : results[result].code;
    int64_t took_ns = clock_mono_ns() - t->started_ns;

    metric_add2(t->counts, UPSTREAM_REQUESTS, t->upstream_label, code, 1);
    metric_observe(t->counts, UPSTREAM_DURATION, took_ns);
    metric_time(t->counts, UPSTREAM, took_ns);
}

/* -- may it be asked -- */

bool tries_begin(struct tries *t, int64_t *out_wait_ms)
{
    int64_t now_ms = clock_mono_ms();
    bool refused;

    (void)breakers_admit(t->upstream->breakers, t->model, now_ms, &t->ticket, &refused, out_wait_ms);
    if (refused)
        return false;
    breakers_earn_retry(t->upstream->breakers, &t->upstream->retry, now_ms);
    t->started_ns = clock_mono_ns();
    return true;
}

/* -- once more? -- */

static enum retry_cause cause_of(const struct upstream_try *one)
{
    switch (one->result) {
    case UPSTREAM_OK:
        return retry_cause_of_status(one->status);
    case UPSTREAM_UNREACHABLE:
        return one->sent ? RETRY_RESET : RETRY_CONNECT;
    case UPSTREAM_TIMEOUT:
        return one->sent ? RETRY_TIMEOUT : RETRY_CONNECT;
    case UPSTREAM_PROTOCOL: /* unsent: the request itself may not be sent */
        return one->sent ? RETRY_RESET : RETRY_NONE;
    case UPSTREAM_CUT:
    case UPSTREAM_CANCELLED:
        break;
    }
    return RETRY_NONE;
}

static int64_t wait_before_next(const struct tries *t, const struct upstream_try *one, enum retry_cause cause)
{
    int64_t asked_ms = one->fields ? retry_after_ms(one->fields, clock_wall_ms()) : -1;
    uint32_t chance;

    random_bytes(&chance, sizeof(chance));
    return retry_wait_ms(&t->upstream->retry, cause, one->n, asked_ms, chance);
}

/* The try before is told of, and the next one admitted like any other call; where the breaker is open there
 * is none. */
static bool admit_next(struct tries *t, const struct upstream_try *one, int64_t now_ms)
{
    struct breakers_upstream *b = t->upstream->breakers;
    int64_t wait_ms;
    bool refused;

    breakers_ended(&t->ticket, outcome_of(one->result, one->status), name_of(one->result, one->status),
                   now_ms);
    if (breakers_look(b, t->model, now_ms) == BREAKER_SHUT)
        return false;
    if (!breakers_spend_retry(b, now_ms)) {
        metric_add1(t->counts, UPSTREAM_RETRIES_DENIED, t->upstream_label, 1);
        return false;
    }
    (void)breakers_admit(b, t->model, now_ms, &t->ticket, &refused, &wait_ms);
    return !refused;
}

int64_t tries_again(struct tries *t, const struct upstream_try *one)
{
    enum retry_cause cause = cause_of(one);
    int64_t wait_ms = cause == RETRY_NONE ? -1 : wait_before_next(t, one, cause);

    if (wait_ms < 0 || !admit_next(t, one, clock_mono_ms()))
        return -1;
    count_try(t, one->result, one->status);
    metric_add2(t->counts, UPSTREAM_RETRIES, t->upstream_label, cause, 1);
    log_event(LOG_INFO, "upstream_retry", LOG_STR("upstream", t->upstream->conf.name),
              LOG_STR("cause", retry_cause_name(cause)), LOG_STR("why", one->why[0] ? one->why : NULL),
              LOG_INT("try", one->n + 1), LOG_DUR("wait_ms", wait_ms * 1000000),
              LOG_SLICE("request", t->request_id), LOG_STR("flight", t->id));
    t->started_ns = clock_mono_ns() + wait_ms * 1000000;
    return wait_ms;
}

/* -- what became of it -- */

void tries_head(struct tries *t, unsigned status)
{
    t->status = status;
    breakers_answered(&t->ticket, outcome_of(UPSTREAM_OK, status), name_of(UPSTREAM_OK, status),
                      clock_mono_ms());
}

void tries_end(struct tries *t, enum upstream_result result, const char *why, int64_t first_byte_ns)
{
    if (result != UPSTREAM_CANCELLED ||
        clock_mono_ns() >= t->started_ns) /* between two tries there is none */
        count_try(t, result, t->status);
    if (first_byte_ns) {
        metric_observe(t->counts, UPSTREAM_FIRST_BYTE, first_byte_ns - t->started_ns);
        metric_time(t->counts, UPSTREAM_FIRST_BYTE, first_byte_ns - t->started_ns);
    }
    if (result != UPSTREAM_OK && result != UPSTREAM_CANCELLED)
        log_event(LOG_WARN, "upstream_failed", LOG_STR("upstream", t->upstream->conf.name),
                  LOG_STR("why", why), LOG_SLICE("request", t->request_id), LOG_STR("flight", t->id),
                  LOG_DUR("took_ms", clock_mono_ns() - t->started_ns));
    breakers_ended(&t->ticket, outcome_of(result, t->status), name_of(result, t->status), clock_mono_ms());
}
