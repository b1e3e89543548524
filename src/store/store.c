#include "refrain/store/store.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/store/fences.h"
#include "store_priv.h"

/* -- tiers that are down -- */

enum { PING_MS = 1000 };

/* A question whose answer nobody needs. */
struct ping {
    struct tier_get get;
    struct store *store;
    size_t at;
};

static void on_pinged(struct tier_op *op)
{
    struct ping *p = CONTAINER_OF(CONTAINER_OF(op, struct tier_get, op), struct ping, get);

    p->store->pings[p->at] = NULL;
    blob_unref(p->get.blob);
    free(p);
}

static void ping(struct store *s, size_t i)
{
    struct ping *p = calloc(1, sizeof(*p));

    if (!p)
        return;
    *p = (struct ping){.store = s, .at = i};
    p->get = (struct tier_get){.op = {.on_done = on_pinged, .spare = true},
                               .label = {.namespace_ = SLICE_OF("default"), .operation = SLICE_OF("ping")}};
    s->pings[i] = p;
    s->ports[i]->tier->ops->get(s->ports[i], &p->get);
}

/* Whether a tier is back is found out by asking it; where no request does, this does, so that what is told of
 * it stays true. */
static void on_ping_due(void *arg)
{
    struct store *s = arg;

    for (size_t i = 0; i < s->conf.lower_n; i++) {
        struct tier_state state = {0};

        s->conf.lower[i]->ops->state(s->conf.lower[i], &state);
        if (state.health == TIER_IS_DOWN && !s->pings[i])
            ping(s, i);
    }
}

/* -- the store thread -- */

static void *thread_main(void *arg)
{
    struct store *s = arg;

    loop_run(s->loop);
    return NULL;
}

/* Signals are the main thread's alone. */
static int thread_start(struct store *s)
{
    sigset_t all, was;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &was);
    r = pthread_create(&s->thread, NULL, thread_main, s);
    (void)pthread_sigmask(SIG_SETMASK, &was, NULL);
    s->started = r == 0;
    return -r;
}

static bool begin(struct store *s)
{
    s->loop = loop_new();
    if (!s->loop)
        return false;
    s->owed = owed_new(s->conf.ledger, s->conf.lower, s->conf.lower_n);
    s->writes = s->owed ? writes_new(s) : NULL;
    for (size_t i = 0; i < s->conf.lower_n; i++) {
        s->ports[i] = s->conf.lower[i]->ops->open(s->conf.lower[i], s->loop);
        if (!s->ports[i])
            return false;
    }
    s->own = store_port_over(s, s->loop, s->ports);
    s->ping_timer = loop_timer_new(s->loop, on_ping_due, s);
    loop_timer_start(s->ping_timer, PING_MS, PING_MS);
    return s->writes && s->own && thread_start(s) == 0;
}

struct store *store_new(const struct store_conf *conf)
{
    struct store *s = calloc(1, sizeof(*s));

    if (!s) {
        for (size_t i = 0; i < conf->lower_n; i++)
            tier_free(conf->lower[i]);
        return NULL;
    }
    s->conf = *conf;
    if (conf->lower_n > 0 && !begin(s)) {
        store_free(s, 0);
        return NULL;
    }
    return s;
}

void store_stop(struct store *s, int64_t flush_ms)
{
    if (!s || s->ended)
        return;
    s->ended = true;
    if (s->started) {
        (void)store_flush(s, flush_ms);
        writes_stop(s->writes);
        loop_stop(s->loop);
        (void)pthread_join(s->thread, NULL);
    }
    store_port_free(s->own);
    for (size_t i = 0; i < s->conf.lower_n; i++)
        if (s->ports[i])
            s->ports[i]->tier->ops->close(s->ports[i]);
    loop_free(s->loop);
    writes_free(s->writes);
    owed_free(s->owed);
    for (size_t i = 0; i < s->conf.lower_n; i++)
        tier_free(s->conf.lower[i]);
}

void store_free(struct store *s, int64_t flush_ms)
{
    store_stop(s, flush_ms);
    free(s);
}

bool store_has_lower(const struct store *s)
{
    return s->conf.lower_n > 0;
}

bool store_keeps(const struct store *s)
{
    return s->conf.memory || s->conf.lower_n > 0;
}

struct loop *store_loop(const struct store *s)
{
    return s->loop;
}

size_t store_lower_n(const struct store *s)
{
    return s->conf.lower_n;
}

struct tier *store_lower(const struct store *s, size_t i)
{
    return s->conf.lower[i];
}

struct tier_port *store_lower_port(const struct store *s, size_t i)
{
    return s->ports[i];
}

/* -- writing -- */

bool store_holds_back(struct store *s, const struct label *l)
{
    bool held = s->conf.fences && fences_hold_back(s->conf.fences, l, l->started_seq);

    if (held)
        count_one(&s->held_back);
    return held;
}

static struct label label_of_parts(const struct entry_parts *p)
{
    return (struct label){
        .key = p->head.key,
        .id = slice_make(p->head.id, ENTRY_ID_LEN),
        .namespace_ = p->namespace_,
        .operation = p->op_name,
        .model = p->model,
        .tags = p->tags,
        .target = p->head.target,
        .created_ms = p->head.created_ms,
        .started_seq = p->head.started_seq,
        .family = (p->head.flags & ENTRY_VARY) != 0,
    };
}

/* For the lower tiers, which need no copy of what is decoded already. */
static struct entry_box *box_of(const struct entry_parts *parts)
{
    struct entry_parts bare = *parts;
    struct entry_box *box;
    size_t size;

    bare.plain = (struct slice){NULL, 0};
    size = entry_packed_size(&bare);
    box = size > 0 ? entry_box_new(size) : NULL;
    if (box)
        entry_pack(&bare, entry_box_entry_edit(box));
    return box;
}

static int put_below(struct store *s, const struct entry_parts *parts)
{
    struct entry_box *box = box_of(parts);
    struct entry_ref ref;

    if (!box) {
        count_one(&s->dropped);
        return -ENOMEM;
    }
    ref = entry_ref_of_box(box, s->conf.lower[0]->ops->kind);
    ref.hits = 0;
    writes_entry(s->writes, &ref);
    entry_ref_release(&ref);
    entry_box_unref(box);
    return 0;
}

int store_put(struct store *s, const struct entry_parts *parts, int64_t now_ms, struct entry_ref *out)
{
    struct label label = label_of_parts(parts);
    int below, r;

    if (out)
        *out = (struct entry_ref){0};
    if (store_holds_back(s, &label))
        return -ECANCELED; /* what lies there may be younger, and stays */
    below = r = s->conf.memory ? store_mem_put(s->conf.memory, parts, now_ms, out) : -EMSGSIZE;
    if (s->conf.lower_n > 0 && r != -EEXIST)
        below = put_below(s, parts);
    if (store_holds_back(s, &label)) { /* once more, as it is there: whichever came first, it is not found */
        if (out)
            entry_ref_release(out);
        store_delete(s, &label);
        return -ECANCELED;
    }
    return r < 0 ? below : r; /* what memory has no room for is kept all the same, if anything below does */
}

void store_delete(struct store *s, const struct label *l)
{
    count_one(deletions_of(s, &l->key));
    if (s->conf.memory)
        (void)store_mem_delete(s->conf.memory, &l->key);
    if (s->conf.lower_n > 0)
        writes_nothing(s->writes, l);
}

void store_extend(struct store *s, const struct entry_ref *ref)
{
    struct entry_ref boxed = *ref;

    if (s->conf.lower_n == 0)
        return;
    if (!ref->box) {
        boxed.box = entry_box_new(ref->entry->bytes);
        if (!boxed.box)
            return;
        memcpy(boxed.box->bytes, ref->entry, ref->entry->bytes);
        boxed.entry = entry_box_entry(boxed.box);
    }
    writes_entry(s->writes, &boxed);
    if (!ref->box)
        entry_box_unref(boxed.box);
}

bool store_flush(struct store *s, int64_t ms)
{
    return !s->writes || writes_flush(s->writes, ms);
}

/* -- what is told -- */

void store_stats(struct store *s, struct store_stats *out)
{
    *out = (struct store_stats){
        .dropped = atomic_load(&s->dropped),
        .promoted = atomic_load(&s->promoted),
        .shrunk_from = atomic_load(&s->shrunk_from),
        .shrunk_to = atomic_load(&s->shrunk_to),
        .held_back = atomic_load(&s->held_back),
    };
    for (unsigned i = 0; i < RECORD_RESULTS; i++) {
        out->unreadable[i] = atomic_load(&s->unreadable[i]);
        if (i != RECORD_OK && record_is_rubbish((enum record_result)i))
            out->corrupt += out->unreadable[i];
    }
    if (s->writes)
        writes_stats(s->writes, out);
}

void store_note_shrunk(struct store *s, size_t from, size_t to)
{
    (void)atomic_fetch_add_explicit(&s->shrunk_from, from, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&s->shrunk_to, to, memory_order_relaxed);
}
