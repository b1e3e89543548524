/* What others have told is done here: in memory and on the own disk, the fence first. */
#include <inttypes.h>
#include <stdlib.h>

#include "instances_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/fences.h"

/* One invalidation being applied. */
struct incoming {
    struct invalidation inv;
    struct instances_log *log;
    struct instances_msg msg; /* the invalidation borrows of it */
    struct buf sums;
    bool sums_cut, late, lost;
};

/* -- events -- */

static void add_which(struct jout *j, const struct selector *s)
{
    const struct {
        const char *name;
        struct slice text;
    } given[] = {
        {"id", s->id},       {"pattern", s->pattern},      {"tag", s->tag}, {"operation", s->operation},
        {"model", s->model}, {"namespace", s->namespace_},
    };

    jout_str(j, "kind", invalidation_kind_name(invalidation_kind_of(s)));
    for (size_t i = 0; i < ARRAY_LEN(given); i++)
        if (given[i].text.len > 0)
            jout_text(j, given[i].name, given[i].text);
    if (s->created_before_ms > 0)
        jout_int(j, "created_before_ms", s->created_before_ms);
}

static void add_counts(struct jout *j, const struct invalidation *inv)
{
    static const struct {
        const char *name;
        enum metric_tier kind;
    } tiers[] = {{"memory", TIER_MEMORY}, {"disk", TIER_DISK}, {"redis", TIER_REDIS}};

    jout_object(j, "tiers");
    for (size_t i = 0; i < ARRAY_LEN(tiers); i++)
        if (inv->tiers[tiers[i].kind].asked)
            jout_int(j, tiers[i].name, (int64_t)inv->tiers[tiers[i].kind].matched);
    jout_end(j);
}

void instances_event(struct events *e, const struct invalidation *inv, const struct instances_invalidation *x,
                     struct slice source, int64_t at_ms, struct slice correlation, const char *reason)
{
    struct event_draft d;
    struct jout *j;

    if (inv->dry_run || !events_wanted(e, EVENT_CACHE_INVALIDATED))
        return;
    j = event_begin(&d, EVENT_CACHE_INVALIDATED);
    add_which(j, &inv->which);
    if (reason)
        jout_str(j, "reason", reason);
    jout_int(j, "matched", (int64_t)(x ? x->matched : inv->matched));
    if (x ? x->at_least : inv->at_least)
        jout_bool(j, "at_least", true);
    add_counts(j, inv);
    events_publish_from(e, &d, source, at_ms, correlation);
}

/* -- answering -- */

static void on_key(void *inv, uint64_t sum)
{
    struct incoming *x = CONTAINER_OF(inv, struct incoming, inv);

    if (instances_msg_add_sum(&x->sums, sum) < 0)
        x->sums_cut = true;
}

struct answering {
    struct redis_call call;
    struct slice argv[3];
    struct buf text;
    char channel[KEY_BYTES];
};

static void on_answered(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct answering *a = CONTAINER_OF(call, struct answering, call);

    (void)reply;
    (void)why; /* who asked names those it has not heard */
    buf_done(&a->text);
    free(a);
}

static void answer(const struct incoming *x)
{
    struct instances *in = x->log->in;
    struct answering *a = calloc(1, sizeof(*a));
    struct instances_msg m = {
        .kind = MSG_ANSWER,
        .at_ms = clock_wall_ms(),
        .ask = x->msg.ask,
        .matched = x->inv.matched,
        .memory = x->inv.tiers[TIER_MEMORY].matched,
        .disk = x->inv.tiers[TIER_DISK].matched,
        .seq = x->inv.seq,
        .at_least = x->inv.at_least || x->sums_cut,
        .sums = buf_slice(&x->sums),
    };

    if (!a)
        return;
    memcpy(m.source, in->id, sizeof(m.source));
    a->text.max = MSG_ANSWER_BYTES_MAX;
    if (instances_key(a->channel, in->wake_channel, x->msg.source) < 0 ||
        instances_msg_write(&m, &a->text) < 0) {
        buf_done(&a->text);
        free(a);
        return;
    }
    a->argv[0] = SLICE_OF("PUBLISH");
    a->argv[1] = slice_str(a->channel);
    a->argv[2] = buf_slice(&a->text);
    a->call = (struct redis_call){
        .argv = a->argv, .argc = 3, .deadline_ms = INSTANCES_ANSWER_MS, .on_reply = on_answered};
    redis_ask(in->redis, &a->call);
}

/* -- applying -- */

static void incoming_free(struct incoming *x)
{
    buf_done(&x->sums);
    free(x);
}

static void tell_lost(const struct incoming *x)
{
    struct instances *in = x->log->in;
    struct instances_notice n = {.kind = INSTANCES_NOTICE_GAP, .name = x->log->name};

    if (x->inv.matched == 0)
        return; /* nobody has lost anything by it */
    in->gaps++;
    instances_notice(in, &n);
    instances_event(in->conf.events, &x->inv, NULL, slice_str(in->id), clock_wall_ms(),
                    (struct slice){NULL, 0}, "missed");
}

static void on_applied(struct invalidation *inv)
{
    struct incoming *x = CONTAINER_OF(inv, struct incoming, inv);
    struct instances *in = x->log->in;

    x->log->unfinished--;
    if (x->lost) {
        tell_lost(x);
    } else {
        instances_event(in->conf.events, inv, NULL, slice_str(x->msg.source), x->msg.at_ms,
                        x->msg.correlation, NULL);
        if (x->msg.ask > 0 && !x->late && !in->stopping)
            answer(x);
    }
    if (!in->stopping)
        instances_log_keep(x->log);
    incoming_free(x);
}

static void start(struct incoming *x)
{
    struct instances *in = x->log->in;

    x->inv.seq = instances_seq(in);
    x->inv.loop = in->loop;
    x->inv.on_done = on_applied;
    x->log->unfinished++;
    invalidate_start(in->conf.invalidator, &x->inv);
}

static bool apply_invalidated(struct incoming *x)
{
    struct instances *in = x->log->in;

    if (x->msg.dry_run && x->late) {
        incoming_free(x); /* nobody waits for that any more */
        return true;
    }
    x->inv.which = x->msg.which;
    x->inv.dry_run = x->msg.dry_run;
    if (x->msg.ask > 0)
        x->inv.on_key = on_key;
    in->heard++;
    start(x);
    return true;
}

/* What is not an invalidation is soon done. */
static void apply_note(struct incoming *x)
{
    struct instances *in = x->log->in;

    in->heard++;
    if (x->msg.kind == MSG_TARGET)
        invalidate_target(in->conf.invalidator, x->msg.sum, instances_seq(in));
    else
        in->conf.on_refused(in->conf.arg, x->msg.sum);
    incoming_free(x);
}

bool instances_apply(struct instances_log *log, struct slice text, bool late)
{
    struct incoming *x = calloc(1, sizeof(*x));

    if (!x)
        return false; /* as if it were missing */
    x->log = log;
    x->late = late;
    x->sums.max = 16 * MSG_SUMS_MAX;
    if (text.len > MSG_BYTES_MAX || !instances_msg_read(text, &x->msg) || x->msg.kind == MSG_ANSWER) {
        incoming_free(x);
        return false;
    }
    if (strcmp(x->msg.source, log->in->id) == 0) {
        incoming_free(x); /* our own */
        return true;
    }
    (void)instances_pass(log->in, x->msg.at_ms * 1000 + 999); /* who told it has a fence of about then */
    if (x->msg.kind == MSG_INVALIDATED)
        return apply_invalidated(x);
    apply_note(x);
    return true;
}

/* As far back as it was said; clocks may be apart by as much as nobody is told of. */
static int64_t seq_of_past(const struct instances *in, const struct instances_msg *m)
{
    int64_t now = instances_seq(in);

    return m->at_ms > now / 1000 - SKEW_MS ? now : (m->at_ms + SKEW_MS) * 1000;
}

static void apply_past(const struct instances_log *log, const struct instances_msg *m)
{
    const struct instances *in = log->in;
    const struct selector target = {.target = m->sum};

    if (strcmp(m->source, in->id) == 0)
        return; /* it stands here already */
    if (m->kind == MSG_INVALIDATED && !m->dry_run)
        fences_add(in->conf.fences, &m->which, seq_of_past(in, m));
    else if (m->kind == MSG_TARGET)
        fences_add(in->conf.fences, &target, seq_of_past(in, m));
    else if (m->kind == MSG_REFUSED)
        in->conf.on_refused(in->conf.arg, m->sum);
}

/* Whoever was told of an invalidation has deleted it in Redis; of targets nobody has. */
static void apply_forgotten(const struct instances_log *log, const struct instances_msg *m)
{
    struct selector older = log->lost;

    if (selector_is_all(&older))
        return;
    older.created_before_ms = m->at_ms + SKEW_MS;
    fences_add(log->in->conf.fences, &older, seq_of_past(log->in, m));
}

void instances_apply_past(const struct instances_log *log, struct slice text, bool begins_late)
{
    struct instances_msg *m = calloc(1, sizeof(*m));

    if (!m)
        abort(); /* there is no going on with what may be out of date */
    if (text.len <= MSG_BYTES_MAX && instances_msg_read(text, m)) {
        apply_past(log, m);
        if (begins_late)
            apply_forgotten(log, m);
    }
    free(m);
}

void instances_apply_lost(struct instances_log *log)
{
    struct incoming *x = calloc(1, sizeof(*x));

    if (!x)
        abort(); /* there is no going on with what may be out of date */
    x->log = log;
    x->lost = true;
    x->inv.which = log->lost;
    start(x);
}
