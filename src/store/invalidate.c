/*
 * Who waits for whom:
 *
 *   invalidate_start ─► walk of memory (pool) ─► waiting ─► one lower tier after the other ─► on_done
 *                                                 (store thread: one invalidation at a time)
 *   a lower tier fails ─► pending ─┐
 *   invalidate_target ─► targets ──┴─► one by one, beside the above, until it is done (store thread)
 *
 * Lock: of targets, a leaf.
 */
#include "refrain/store/invalidate.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keyset.h"
#include "ledger_line.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/clock.h"
#include "refrain/store/store_mem.h"

enum {
    TARGETS_MAX = 4096,
    PENDING_MAX = 64,
    VARIANTS_MAX = 1024, /* of families that one invalidation meets; those of more are left to their time */
    TARGETS_MS = 100,    /* a target that changes all the time is deleted so often, not each time */
    DEADLINE_MS = 50 * 1000,
    RETRY_MS = 2000,
    LEDGER_BYTES_MAX = 4 * 1024 * 1024,
};

/* What one invalidation has met. */
struct invalidate_seen {
    struct keyset keys;
    struct digest variants[VARIANTS_MAX];
    size_t variants_n;
};

/* What a lower tier has still to do. */
struct pending {
    struct selector which; /* its texts lie in own */
    char *own;
    size_t at; /* lower tier */
    int64_t seq;
};

struct invalidator {
    struct invalidator_conf conf;
    struct { /* as the tiers say, who may be gone before the end */
        const char *name;
        enum metric_tier kind;
    } lower[INVALIDATE_LOWER_MAX];
    atomic_bool stopped, flushing;
    atomic_uint_fast64_t counts[INVALIDATION_KINDS];
    atomic_uint pending_all; /* for whoever asks */
    pthread_mutex_t lock;
    uint64_t targets[TARGETS_MAX];
    unsigned targets_n;
    bool targets_too_many; /* every stored GET is to go instead */
    bool target_busy;      /* one is being deleted */
    bool posted;
    struct loop_msg msg, flush_msg, begin_msg;
    /* the store thread's */
    struct list waiting;
    struct invalidation *running;
    struct pending pending[PENDING_MAX]; /* the oldest first */
    unsigned pending_n;
    bool unkept;         /* the ledger does not say what is pending */
    bool targets_failed; /* those that wait are in the ledger, too */
    struct buf unknown;  /* lines of the ledger about tiers that are not there now */
    struct loop_timer *retry;
    struct tier_delete_if chore;
    struct pending chore_of; /* what it is about; not among the others meanwhile */
    enum { CHORE_NONE, CHORE_TARGET, CHORE_READS, CHORE_PENDING } chore_is;
};

static void run_next(struct invalidator *v);
static void chore_next(struct invalidator *v);
static void ledger_begin(struct invalidator *v);
static void keep(struct invalidator *v);

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
    v->unknown.max = LEDGER_BYTES_MAX;
    ledger_begin(v);
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
    keep(v);
    for (unsigned i = 0; i < v->pending_n; i++)
        free(v->pending[i].own);
    free(v->chore_of.own);
    buf_done(&v->unknown);
    (void)pthread_mutex_destroy(&v->lock);
    free(v);
}

static bool has_stopped(struct invalidator *v)
{
    return atomic_load(&v->stopped);
}

/* Posts to the store thread, unless that is about to end. */
static bool post(struct invalidator *v, struct loop_msg *m)
{
    bool ok;

    (void)pthread_mutex_lock(&v->lock);
    ok = v->conf.lower_n > 0 && !has_stopped(v);
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

static enum metric_tier kind_of(const struct invalidator *v, size_t at)
{
    return v->lower[at].kind;
}

/* The tier of our own that lies below memory: disk. lower_n: there is none. */
static size_t own_tier(const struct invalidator *v)
{
    size_t at = 0;

    while (at < v->conf.lower_n && kind_of(v, at) == TIER_REDIS)
        at++;
    return at;
}

/* -- what a tier could not do; on the store thread -- */

static void count_pending(struct invalidator *v)
{
    unsigned targets;

    (void)pthread_mutex_lock(&v->lock);
    targets = v->targets_n + v->targets_too_many;
    (void)pthread_mutex_unlock(&v->lock);
    atomic_store(&v->pending_all, v->pending_n + targets + (v->chore_is != CHORE_NONE));
}

/* Too many to be kept apart: all that this tier has from before now goes instead. */
static void pending_give_up(struct invalidator *v, size_t at, int64_t seq)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < v->pending_n; i++)
        if (v->pending[i].at == at) {
            seq = v->pending[i].seq > seq ? v->pending[i].seq : seq;
            free(v->pending[i].own);
        } else {
            v->pending[kept++] = v->pending[i];
        }
    v->pending_n = kept;
    if (kept == PENDING_MAX)
        pending_give_up(v, v->pending[0].at, 0); /* all of them are another tier's */
    v->pending[v->pending_n++] =
        (struct pending){.which = {.created_before_ms = clock_wall_ms()}, .at = at, .seq = seq};
    v->unkept = true;
}

static struct pending *pending_find(struct invalidator *v, const struct selector *which, size_t at)
{
    for (unsigned i = 0; i < v->pending_n; i++)
        if (v->pending[i].at == at && selector_eq(&v->pending[i].which, which))
            return &v->pending[i];
    return NULL;
}

static void pending_add(struct invalidator *v, const struct selector *which, size_t at, int64_t seq)
{
    struct pending p = {.at = at, .seq = seq}, *same = pending_find(v, which, at);

    if (same)
        same->seq = same->seq > seq ? same->seq : seq;
    else if (v->pending_n == PENDING_MAX || selector_copy(which, &p.which, &p.own) < 0)
        pending_give_up(v, at, seq);
    else
        v->pending[v->pending_n++] = p;
    count_pending(v);
}

/* Who is told that it will be done later may rely on it: it stands in the file by then. */
static void pending_add_new(struct invalidator *v, const struct selector *which, size_t at, int64_t seq)
{
    pending_add(v, which, at, seq);
    keep(v);
}

/* -- what outlives the process -- */

static const char *name_of(const struct invalidator *v, size_t at)
{
    return v->lower[at].name;
}

static int add_pending(const struct invalidator *v, const struct pending *p, struct buf *out)
{
    const struct selector coarse = {.created_before_ms = p->seq / 1000 + 1};
    int r = ledger_line_add(out, name_of(v, p->at), p->seq, &p->which);

    return r == -EMSGSIZE ? ledger_line_add(out, name_of(v, p->at), p->seq, &coarse) : r;
}

/* Under the lock. Their fences go with the process, and are of any time before its end. */
static int add_targets(struct invalidator *v, struct buf *out)
{
    struct pending p = {.at = own_tier(v), .seq = clock_wall_ms() * 1000};
    int r = 0;

    if (!v->targets_failed || p.at == v->conf.lower_n)
        return 0;
    if (v->targets_too_many) {
        p.which.operation = SLICE_OF("read");
        r = add_pending(v, &p, out);
    }
    for (unsigned i = 0; r == 0 && i < v->targets_n; i++) {
        p.which = (struct selector){.target = v->targets[i]};
        r = add_pending(v, &p, out);
    }
    return r;
}

static int compose(struct invalidator *v, struct buf *out)
{
    int r = buf_add_slice(out, buf_slice(&v->unknown));

    for (unsigned i = 0; r == 0 && i < v->pending_n; i++)
        r = add_pending(v, &v->pending[i], out);
    if (r == 0 && (v->chore_is == CHORE_PENDING || (v->chore_is != CHORE_NONE && v->targets_failed)))
        r = add_pending(v, &v->chore_of, out);
    (void)pthread_mutex_lock(&v->lock);
    if (r == 0)
        r = add_targets(v, out);
    (void)pthread_mutex_unlock(&v->lock);
    return r;
}

/* On the store thread, or where it is not running. */
static void keep(struct invalidator *v)
{
    AUTO(buf_done) struct buf lines = BUF_INIT(LEDGER_BYTES_MAX);

    if (!v->conf.ledger)
        return;
    v->unkept = compose(v, &lines) < 0;
    if (v->unkept)
        return;
    ledger_set(v->conf.ledger, LEDGER_INVALIDATIONS, buf_slice(&lines));
    v->unkept = ledger_write(v->conf.ledger) < 0; /* tried again with the tier */
}

static size_t tier_named(const struct invalidator *v, struct slice name)
{
    size_t at = 0;

    while (at < v->conf.lower_n && !slice_eq(name, slice_str(name_of(v, at))))
        at++;
    return at;
}

/* At the start. */
static void on_ledger_line(void *arg, struct slice line)
{
    struct invalidator *v = arg;
    struct instances_msg m;
    struct slice tier;
    int64_t seq;
    size_t at;

    if (!ledger_line_read(line, &tier, &seq, &m)) {
        ledger_odd(v->conf.ledger);
        return;
    }
    at = tier_named(v, tier);
    if (at == v->conf.lower_n) { /* it may come back one day */
        if (buf_add_slice(&v->unknown, line) < 0 || buf_add_byte(&v->unknown, '\n') < 0)
            ledger_odd(v->conf.ledger);
        return;
    }
    fences_add(v->conf.fences, &m.which, seq);
    pending_add(v, &m.which, at, seq);
}

static void on_begin(struct loop_msg *m)
{
    chore_next(CONTAINER_OF(m, struct invalidator, begin_msg));
}

/* What was given up for being too many is coarser from now on; nothing else has changed. */
static void ledger_begin(struct invalidator *v)
{
    ledger_read(v->conf.ledger, LEDGER_INVALIDATIONS, on_ledger_line, v);
    if (v->pending_n == 0)
        return;
    v->begin_msg.on_msg = on_begin;
    (void)post(v, &v->begin_msg);
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
    struct invalidation_tier *t = &inv->tiers[kind_of(inv->by, at)];

    t->result = op->result;
    t->matched = inv->ask.matched;
    if (op->result != TIER_OK && !inv->dry_run)
        pending_add_new(inv->by, &inv->which, at, inv->seq);
    ask_next(inv);
}

static void ask(struct invalidation *inv, size_t at)
{
    struct invalidator *v = inv->by;

    inv->tiers[kind_of(v, at)].asked = true;
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
    return inv->told || kind_of(inv->by, at) != TIER_REDIS;
}

static void ask_next(struct invalidation *inv)
{
    struct invalidator *v = inv->by;

    while (inv->next < v->conf.lower_n && !has_stopped(v))
        if (is_asked(inv, inv->next++)) {
            ask(inv, inv->next - 1);
            return;
        }
    while (inv->next < v->conf.lower_n && !inv->dry_run) /* the end has come in between */
        if (is_asked(inv, inv->next++))
            pending_add_new(v, &inv->which, inv->next - 1, inv->seq);
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
        chore_next(v);
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
    if (!post(inv->by, &inv->msg))
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

/* -- chores: changed targets, and what a tier could not do; on the store thread -- */

static void on_retry(void *arg)
{
    chore_next(arg);
}

/* A tier that has just failed is given a rest: what is due earlier waits for that, too. */
static void chores_later(struct invalidator *v, int64_t ms)
{
    if (has_stopped(v))
        return;
    if (!v->retry)
        v->retry = loop_timer_new(v->conf.loop, on_retry, v); /* the loop frees it */
    if (!loop_timer_active(v->retry))
        loop_timer_start(v->retry, ms < v->conf.retry_ms ? ms : v->conf.retry_ms, 0);
}

/* Under the lock. */
static void target_remove(struct invalidator *v, uint64_t target)
{
    for (unsigned i = 0; i < v->targets_n; i++)
        if (v->targets[i] == target) {
            v->targets[i] = v->targets[--v->targets_n];
            return;
        }
}

/* Under the lock. */
static void target_add(struct invalidator *v, uint64_t target)
{
    target_remove(v, target);
    if (v->targets_n < TARGETS_MAX) {
        v->targets[v->targets_n++] = target;
    } else {
        v->targets_too_many = true;
        v->targets_n = 0;
    }
}

/* What was taken out is put back, to be done later. */
static void chore_put_back(struct invalidator *v)
{
    struct pending *p = &v->chore_of;

    if (v->chore_is == CHORE_PENDING) {
        pending_add(v, &p->which, p->at, p->seq); /* behind the others */
        return;
    }
    (void)pthread_mutex_lock(&v->lock);
    if (v->chore_is == CHORE_TARGET)
        target_add(v, p->which.target);
    else
        v->targets_too_many = true;
    (void)pthread_mutex_unlock(&v->lock);
    v->unkept = v->targets_failed = true;
}

static void on_chore_done(struct tier_op *op)
{
    struct invalidator *v = CONTAINER_OF(op, struct invalidator, chore.op);

    if (op->result != TIER_OK)
        chore_put_back(v);
    else
        v->unkept = v->unkept || v->chore_is == CHORE_PENDING || v->targets_failed;
    free(v->chore_of.own);
    v->chore_of.own = NULL;
    v->chore_is = CHORE_NONE;
    (void)pthread_mutex_lock(&v->lock);
    v->target_busy = false;
    v->targets_failed = v->targets_failed && (v->targets_n > 0 || v->targets_too_many);
    (void)pthread_mutex_unlock(&v->lock);
    count_pending(v);
    if (v->unkept)
        keep(v);
    if (op->result == TIER_OK)
        chore_next(v);
    else
        chores_later(v, v->conf.retry_ms);
}

static void chore_ask(struct invalidator *v)
{
    struct tier_port *port = v->conf.lower[v->chore_of.at];

    v->chore = (struct tier_delete_if){
        .op = {.on_done = on_chore_done, .deadline_ms = v->conf.deadline_ms},
        .which = &v->chore_of.which,
    };
    port->tier->ops->delete_if(port, &v->chore);
}

/* Takes the next one out. false: there is none. */
static bool target_take(struct invalidator *v)
{
    v->chore_of = (struct pending){.at = own_tier(v), .seq = clock_wall_ms() * 1000};
    (void)pthread_mutex_lock(&v->lock);
    if (v->targets_too_many) {
        v->targets_too_many = false;
        v->chore_is = CHORE_READS;
        v->chore_of.which.operation = SLICE_OF("read");
    } else if (v->targets_n > 0) {
        v->chore_is = CHORE_TARGET;
        v->chore_of.which.target = v->targets[--v->targets_n];
    }
    v->target_busy = v->chore_is != CHORE_NONE;
    (void)pthread_mutex_unlock(&v->lock);
    return v->chore_is != CHORE_NONE;
}

static bool pending_take(struct invalidator *v)
{
    if (v->pending_n == 0)
        return false;
    v->chore_is = CHORE_PENDING;
    v->chore_of = v->pending[0];
    memmove(&v->pending[0], &v->pending[1], --v->pending_n * sizeof(v->pending[0]));
    return true;
}

/* One at a time, and after what somebody waits for. */
static void chore_next(struct invalidator *v)
{
    if (v->chore_is == CHORE_NONE && !v->running && !has_stopped(v) && (target_take(v) || pending_take(v)))
        chore_ask(v);
}

static void on_targets(struct loop_msg *m)
{
    struct invalidator *v = CONTAINER_OF(m, struct invalidator, msg);

    (void)pthread_mutex_lock(&v->lock);
    v->posted = false;
    (void)pthread_mutex_unlock(&v->lock);
    count_pending(v);
    chores_later(v, TARGETS_MS);
}

void invalidate_target(struct invalidator *v, uint64_t target, int64_t seq)
{
    struct selector which = {.target = target};
    bool post_it;

    fences_add(v->conf.fences, &which, seq);
    atomic_fetch_add(&v->counts[INVALIDATE_TARGET], 1);
    if (own_tier(v) == v->conf.lower_n)
        return;
    (void)pthread_mutex_lock(&v->lock);
    target_add(v, target);
    post_it = !v->posted && !has_stopped(v);
    if (post_it) {
        v->posted = true;
        v->msg.on_msg = on_targets;
        loop_post(v->conf.loop, &v->msg);
    }
    (void)pthread_mutex_unlock(&v->lock);
}

/* -- the end -- */

static void on_flush(struct loop_msg *m)
{
    struct invalidator *v = CONTAINER_OF(m, struct invalidator, flush_msg);

    if (v->retry)
        loop_timer_stop(v->retry);
    chore_next(v);
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
        if (!post(v, &v->flush_msg))
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
