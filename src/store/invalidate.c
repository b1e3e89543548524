/*
 * Who waits for whom:
 *
 *   invalidate_start ─► walk of memory (pool) ─► waiting ─► one lower tier after the other ─► on_done
 *                                                 (store thread: one invalidation at a time)
 *   a lower tier fails ─► pending ─┐
 *   invalidate_target ─► targets ──┴─► one by one, beside the above, until it is done (store thread)
 *
 * The lower half is invalidate_later.c's.
 */
#include "refrain/store/invalidate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "invalidate_priv.h"
#include "keyset.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/clock.h"
#include "refrain/store/store_mem.h"

enum {
    VARIANTS_MAX = 1024, /* of families that one invalidation meets; those of more are left to their time */
    DEADLINE_MS = 50 * 1000,
    RETRY_MS = 2000,
};

/* What one invalidation has met. */
struct invalidate_seen {
    struct keyset keys;
    struct digest variants[VARIANTS_MAX];
    size_t variants_n;
};

static void run_next(struct invalidator *v);
/* -- kinds -- */

static const char *const kind_names[INVALIDATION_KINDS] = {
    [INVALIDATE_ID] = "id",         [INVALIDATE_PATTERN] = "pattern",     [INVALIDATE_TAG] = "tag",
    [INVALIDATE_TARGET] = "target", [INVALIDATE_OPERATION] = "operation", [INVALIDATE_MODEL] = "model",
    [INVALIDATE_AGE] = "age",       [INVALIDATE_NAMESPACE] = "namespace", [INVALIDATE_ALL] = "all",
};

const char *invalidation_kind_name(enum invalidation_kind k)
{
    return kind_names[k];
}

enum invalidation_kind invalidation_kind_of(const struct selector *s)
{
    const bool given[INVALIDATION_KINDS] = {
        [INVALIDATE_ID] = s->id.len > 0,
        [INVALIDATE_PATTERN] = s->pattern.len > 0,
        [INVALIDATE_TAG] = s->tag.len > 0,
        [INVALIDATE_OPERATION] = s->operation.len > 0,
        [INVALIDATE_MODEL] = s->model.len > 0,
        [INVALIDATE_NAMESPACE] = s->namespace_.len > 0,
        [INVALIDATE_AGE] = s->created_before_ms > 0,
        [INVALIDATE_TARGET] = s->target != 0,
        [INVALIDATE_ALL] = true,
    };
    enum invalidation_kind k = INVALIDATE_ID;

    while (!given[k])
        k++;
    return k;
}

/* -- making and ending -- */

struct invalidator *invalidator_new(const struct invalidator_conf *conf)
{
    struct invalidator *v = calloc(1, sizeof(*v));

    if (!v)
        return NULL;
    v->conf = *conf;
    if (v->conf.deadline_ms == 0)
        v->conf.deadline_ms = DEADLINE_MS;
    if (v->conf.retry_ms == 0)
        v->conf.retry_ms = RETRY_MS;
    if (!conf->loop)
        v->conf.lower_n = 0;
    for (size_t i = 0; i < v->conf.lower_n; i++) {
        v->lower[i].name = conf->lower[i]->tier->ops->name;
        v->lower[i].kind = conf->lower[i]->tier->ops->kind;
    }
    list_init(&v->waiting);
    (void)pthread_mutex_init(&v->lock, NULL);
    v->unknown.max = INVALIDATE_LEDGER_BYTES_MAX;
    later_begin(v);
    return v;
}

void invalidator_stop(struct invalidator *v)
{
    (void)pthread_mutex_lock(&v->lock);
    atomic_store(&v->stopped, true);
    (void)pthread_mutex_unlock(&v->lock);
}

void invalidator_free(struct invalidator *v)
{
    if (!v)
        return;
    v->targets_failed = true;
    later_keep(v);
    later_done(v);
    (void)pthread_mutex_destroy(&v->lock);
    free(v);
}

bool invalidator_has_stopped(struct invalidator *v)
{
    return atomic_load(&v->stopped);
}

bool invalidator_post(struct invalidator *v, struct loop_msg *m)
{
    bool ok;

    (void)pthread_mutex_lock(&v->lock);
    ok = v->conf.lower_n > 0 && !invalidator_has_stopped(v);
    if (ok)
        loop_post(v->conf.loop, m);
    (void)pthread_mutex_unlock(&v->lock);
    return ok;
}

/* -- memory; on the pool -- */

static void note_key(struct invalidation *inv, const struct digest *key)
{
    if (inv->seen)
        (void)keyset_add(&inv->seen->keys, key);
}

static void note_variants(struct invalidate_seen *seen, struct slice body)
{
    struct entry_variant one;

    for (; body.len >= sizeof(one) && seen->variants_n < VARIANTS_MAX; body = slice_skip(body, sizeof(one))) {
        memcpy(&one, body.data, sizeof(one));
        seen->variants[seen->variants_n++] = one.key;
    }
}

/* Under a shard's lock. */
static bool match_in_memory(void *arg, const struct entry *e)
{
    struct invalidation *inv = arg;
    struct label l = label_of(e);

    if (!selector_matches(&inv->which, &l))
        return false;
    if (!l.family) {
        note_key(inv, &l.key);
        inv->tiers[TIER_MEMORY].matched++;
    } else if (inv->seen) {
        note_variants(inv->seen, entry_slice(e, e->body));
    }
    return !inv->dry_run;
}

static bool is_in_memory(struct store_mem *m, const struct digest *key)
{
    struct entry_ref ref;

    if (!store_mem_peek(m, key, clock_wall_ms(), &ref))
        return false;
    store_mem_release(&ref);
    return true;
}

/* What no marker leads to any more is of no use; those that matched by themselves are gone already. */
static void clear_families(struct invalidation *inv, struct store_mem *m)
{
    for (size_t i = 0; i < inv->seen->variants_n; i++) {
        const struct digest *key = &inv->seen->variants[i];

        if (inv->dry_run ? is_in_memory(m, key) && keyset_add(&inv->seen->keys, key)
                         : store_mem_delete(m, key)) {
            note_key(inv, key);
            inv->tiers[TIER_MEMORY].matched++;
        }
    }
}

static void clear_memory(struct invalidation *inv)
{
    struct store_mem *m = inv->by->conf.memory;

    if (!m)
        return;
    inv->tiers[TIER_MEMORY].asked = true;
    (void)store_mem_delete_if(m, match_in_memory, inv);
    if (inv->seen)
        clear_families(inv, m);
}

/* -- the answer -- */

static void sum_up(struct invalidation *inv)
{
    uint64_t most = 0;
    unsigned with_any = 0;

    for (size_t i = 0; i < INVALIDATE_TIERS; i++) {
        with_any += inv->tiers[i].matched > 0;
        if (inv->tiers[i].matched > most)
            most = inv->tiers[i].matched;
    }
    inv->matched = most;
    if (with_any < 2)
        return; /* what one tier alone has is distinct */
    inv->at_least = !inv->seen || inv->seen->keys.full;
    if (inv->seen && inv->seen->keys.n > most)
        inv->matched = inv->seen->keys.n;
}

static void finish(struct invalidation *inv)
{
    sum_up(inv);
    if (inv->seen && inv->on_key)
        keyset_each(&inv->seen->keys, inv->on_key, inv);
    if (inv->seen)
        keyset_done(&inv->seen->keys);
    free(inv->seen);
    inv->seen = NULL;
    inv->took_ns = clock_mono_ns() - inv->took_ns;
    inv->on_done(inv);
}

static void on_finish(struct loop_msg *m)
{
    finish(CONTAINER_OF(m, struct invalidation, msg));
}

/* From the store thread back to who asks. */
static void send_back(struct invalidation *inv)
{
    inv->msg.on_msg = on_finish;
    loop_post(inv->loop, &inv->msg);
}

/* -- lower tiers; on the store thread -- */

static void on_match(struct tier_delete_if *d, const struct label *l)
{
    struct invalidation *inv = CONTAINER_OF(d, struct invalidation, ask);

    if (!l->family)
        note_key(inv, &l->key);
}

static void ask_next(struct invalidation *inv);

static void on_lower_done(struct tier_op *op)
{
    struct invalidation *inv = CONTAINER_OF(op, struct invalidation, ask.op);
    size_t at = inv->next - 1;
    struct invalidation_tier *t = &inv->tiers[lower_kind(inv->by, at)];

    t->result = op->result;
    t->matched = inv->ask.matched;
    if (op->result != TIER_OK && !inv->dry_run)
        later_add(inv->by, &inv->which, at, inv->seq);
    ask_next(inv);
}

static void ask(struct invalidation *inv, size_t at)
{
    struct invalidator *v = inv->by;

    inv->tiers[lower_kind(v, at)].asked = true;
    inv->ask = (struct tier_delete_if){
        .op = {.on_done = on_lower_done, .deadline_ms = v->conf.deadline_ms},
        .which = &inv->which,
        .dry_run = inv->dry_run,
        .on_match = on_match,
    };
    v->conf.lower[at]->tier->ops->delete_if(v->conf.lower[at], &inv->ask);
}

/* What all instances share is the business of the one that was told. */
static bool is_asked(const struct invalidation *inv, size_t at)
{
    return inv->told || lower_kind(inv->by, at) != TIER_REDIS;
}

static void ask_next(struct invalidation *inv)
{
    struct invalidator *v = inv->by;

    while (inv->next < v->conf.lower_n && !invalidator_has_stopped(v))
        if (is_asked(inv, inv->next++)) {
            ask(inv, inv->next - 1);
            return;
        }
    while (inv->next < v->conf.lower_n && !inv->dry_run) /* the end has come in between */
        if (is_asked(inv, inv->next++))
            later_add(v, &inv->which, inv->next - 1, inv->seq);
    v->running = NULL;
    send_back(inv);
    run_next(v);
}

static void run_next(struct invalidator *v)
{
    struct list *link;

    if (v->running)
        return;
    link = list_pop_front(&v->waiting);
    if (link) {
        v->running = CONTAINER_OF(link, struct invalidation, link);
        ask_next(v->running);
    } else {
        later_next(v);
    }
}

static void on_at_store(struct loop_msg *m)
{
    struct invalidation *inv = CONTAINER_OF(m, struct invalidation, msg);

    list_push_back(&inv->by->waiting, &inv->link);
    run_next(inv->by);
}

/* -- the beginning -- */

static void on_memory_work(struct loop_work *w)
{
    clear_memory(CONTAINER_OF(w, struct invalidation, work));
}

static void on_memory_done(struct loop_work *w)
{
    struct invalidation *inv = CONTAINER_OF(w, struct invalidation, work);

    inv->msg.on_msg = on_at_store;
    if (!invalidator_post(inv->by, &inv->msg))
        finish(inv);
}

void invalidate_start(struct invalidator *v, struct invalidation *inv)
{
    if (!inv->dry_run) {
        fences_add(v->conf.fences, &inv->which, inv->seq);
        if (inv->told)
            atomic_fetch_add(&v->counts[invalidation_kind_of(&inv->which)], 1);
    }
    inv->by = v;
    inv->matched = 0;
    inv->at_least = false;
    memset(inv->tiers, 0, sizeof(inv->tiers));
    inv->next = 0;
    inv->took_ns = clock_mono_ns();
    inv->seen = calloc(1, sizeof(*inv->seen)); /* NULL: distinct keys are not told apart */
    list_init(&inv->link);
    inv->work = (struct loop_work){.on_work = on_memory_work, .on_done = on_memory_done};
    loop_work_start(inv->loop, &inv->work);
}

/* -- the end -- */

static void on_flush(struct loop_msg *m)
{
    struct invalidator *v = CONTAINER_OF(m, struct invalidator, flush_msg);

    if (v->retry)
        loop_timer_stop(v->retry);
    later_next(v);
}

static bool has_targets(struct invalidator *v)
{
    bool any;

    (void)pthread_mutex_lock(&v->lock);
    any = v->targets_n > 0 || v->targets_too_many || v->target_busy;
    (void)pthread_mutex_unlock(&v->lock);
    return any;
}

bool invalidator_flush(struct invalidator *v, int64_t ms)
{
    const struct timespec moment = {0, 1000 * 1000};
    int64_t until_ms = clock_mono_ms() + ms;

    if (!has_targets(v))
        return true;
    if (!atomic_exchange(&v->flushing, true)) { /* once is enough: what comes later waits for a moment only */
        v->flush_msg.on_msg = on_flush;
        if (!invalidator_post(v, &v->flush_msg))
            return false;
    }
    while (has_targets(v) && clock_mono_ms() < until_ms)
        (void)nanosleep(&moment, NULL);
    return !has_targets(v);
}

/* -- what is told -- */

unsigned invalidate_pending(struct invalidator *v)
{
    return atomic_load(&v->pending_all);
}

void invalidate_counts(struct invalidator *v, uint64_t out[INVALIDATION_KINDS])
{
    for (size_t k = 0; k < INVALIDATION_KINDS; k++)
        out[k] = atomic_load(&v->counts[k]);
}
