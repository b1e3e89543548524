/*
 * A search below memory: the write queue, then one tier after the other, until one has a record that is what
 * was asked for. What is found is promoted. Whatever goes wrong is a miss.
 */
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/list.h"
#include "refrain/store/fences.h"
#include "store_priv.h"

struct store_port {
    struct store *store;
    struct loop *loop;
    struct metric_block *counts;
    struct tier_port *lower[STORE_LOWER_MAX];
    struct list runs;
    bool closing;
    bool borrowed; /* the tiers' ports are somebody else's */
};

/* One search, until every question of its own has come back. */
struct run {
    struct store *store;
    struct store_port *port;     /* while somebody waits */
    enum metric_tier kind;       /* of the tier that is asked */
    struct store_search *search; /* NULL: nobody waits any more */
    struct list link;            /* while somebody waits */
    struct loop_msg msg;
    struct label label; /* its texts below */
    bool look_only;
    uint64_t deletions; /* of its key, when it began */
    int64_t fences;     /* the newest, when it began */
    size_t at;          /* which tier is asked */
    int64_t asked_ns;
    struct tier_get get;
    struct blob *blob; /* what it gave */
    struct loop_work work;
    enum record_result read;
    struct entry_ref found;
    char texts[];
};

/* -- ports -- */

static struct store_port *port_make(struct store *s, struct loop *l)
{
    struct store_port *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->store = s;
    p->loop = l;
    list_init(&p->runs);
    return p;
}

struct store_port *store_port_over(struct store *s, struct loop *l, struct tier_port *const *lower)
{
    struct store_port *p = port_make(s, l);

    if (!p)
        return NULL;
    p->borrowed = true;
    for (size_t i = 0; i < s->conf.lower_n; i++)
        p->lower[i] = lower[i];
    return p;
}

struct store_port *store_port_new(struct store *s, struct loop *l, struct metric_block *counts)
{
    struct store_port *p = port_make(s, l);

    if (!p)
        return NULL;
    p->counts = counts;
    for (size_t i = 0; i < s->conf.lower_n; i++) {
        p->lower[i] = s->conf.lower[i]->ops->open(s->conf.lower[i], l);
        if (!p->lower[i]) {
            store_port_free(p);
            return NULL;
        }
    }
    return p;
}

static void run_free(struct run *r)
{
    entry_ref_release(&r->found);
    blob_unref(r->blob);
    free(r);
}

/* Tells who waits, if anybody does. */
static void tell(struct run *r)
{
    struct store_search *s = r->search;

    if (!s)
        return;
    list_remove(&r->link);
    r->search = NULL;
    s->own = NULL;
    s->found = r->found;
    r->found = (struct entry_ref){0};
    s->on_done(s);
}

void store_port_free(struct store_port *p)
{
    struct list *link;

    if (!p)
        return;
    p->closing = true;
    while ((link = list_pop_front(&p->runs)) != NULL) {
        struct run *r = CONTAINER_OF(link, struct run, link);

        entry_ref_release(&r->found);
        tell(r); /* it goes by itself when its own question comes back */
    }
    for (size_t i = 0; !p->borrowed && i < STORE_LOWER_MAX; i++)
        if (p->lower[i])
            p->lower[i]->tier->ops->close(p->lower[i]);
    free(p);
}

/* -- the end -- */

static void on_told(struct loop_msg *m)
{
    struct run *r = CONTAINER_OF(m, struct run, msg);

    tell(r);
    run_free(r);
}

static void finish(struct run *r)
{
    tell(r);
    run_free(r);
}

static void ask_next(struct run *r);

/* Nobody waits and nothing is worth finding out, or the port is closed. */
static bool is_given_up(const struct run *r)
{
    return !r->search;
}

/* -- what was found -- */

/* It was deleted, or invalidated, while it was looked for: however late its own instance's clock says that it
 * began. */
static bool is_overtaken(const struct run *r)
{
    struct store *s = r->store;
    struct label label = label_of(r->found.entry);

    return atomic_load(deletions_of(s, &r->label.key)) != r->deletions ||
           (s->conf.fences && fences_latest(s->conf.fences) > r->fences &&
            fences_hold_back(s->conf.fences, &label, r->fences + 1));
}

static void promote(struct run *r)
{
    struct store *s = r->store;
    struct label label = label_of(r->found.entry);

    if (r->look_only || !s->conf.memory || store_holds_back(s, &label) ||
        owed_means(s->owed, r->at, label.started_seq) ||
        store_mem_promote(s->conf.memory, r->found.entry, clock_wall_ms()) < 0)
        return;
    count_one(&s->promoted);
    /* Looked at again once it was put: whichever came first, it is not found. */
    if (is_overtaken(r) || store_holds_back(s, &label))
        (void)store_mem_delete(s->conf.memory, &label.key);
}

/* On the pool for large ones. */
static void read_and_promote(struct run *r)
{
    struct record_seen seen;

    r->read = record_read(blob_slice(r->blob), &r->label.key, &r->store->conf.codec, &seen);
    if (r->read != RECORD_OK)
        return;
    r->found = entry_ref_of_box(seen.box, r->kind);
    r->found.hits = seen.hits + 1;
    entry_box_unref(seen.box);
    if (r->found.entry->gone_ms > clock_wall_ms())
        promote(r);
}

static void on_read_work(struct loop_work *w)
{
    read_and_promote(CONTAINER_OF(w, struct run, work));
}

static void drop_found(struct run *r)
{
    entry_ref_release(&r->found);
    blob_unref(r->blob);
    r->blob = NULL;
}

static void scrub(struct run *r)
{
    writes_scrub(r->store->writes, &r->label, r->blob, r->at);
}

/* That, or since it was written. */
static bool is_taken_back(struct run *r)
{
    struct store *s = r->store;
    struct label label = label_of(r->found.entry);

    if (!store_holds_back(s, &label) && !owed_means(s->owed, r->at, label.started_seq))
        return is_overtaken(r);
    if (!r->look_only)
        scrub(r);
    return true;
}

static void after_read(struct run *r)
{
    struct store *s = r->store;

    if (r->read != RECORD_OK) {
        count_one(&s->unreadable[r->read]);
        if (record_is_rubbish(r->read) && !r->look_only)
            scrub(r);
    } else if (r->found.entry->gone_ms > clock_wall_ms() && !is_taken_back(r)) {
        if (r->at > 0 && !r->look_only)
            writes_copy(s->writes, r->found.box, r->blob, r->at);
        finish(r);
        return;
    }
    drop_found(r);
    r->at++;
    ask_next(r);
}

static void on_read_done(struct loop_work *w)
{
    struct run *r = CONTAINER_OF(w, struct run, work);

    if (is_given_up(r))
        run_free(r);
    else
        after_read(r);
}

/* -- asking -- */

static void on_got(struct tier_op *op)
{
    struct tier_get *g = CONTAINER_OF(op, struct tier_get, op);
    struct run *r = CONTAINER_OF(g, struct run, get);

    if (op->result == TIER_OK)
        r->blob = g->blob;
    if (is_given_up(r)) {
        run_free(r);
        return;
    }
    if (r->port->counts) {
        int64_t took_ns = clock_mono_ns() - r->asked_ns;

        metric_observe1(r->port->counts, TIER_OP, r->kind, took_ns);
        metric_time1(r->port->counts, TIER_GET, r->kind, took_ns);
    }
    if (!r->blob) {
        r->at++;
        ask_next(r);
        return;
    }
    if (r->blob->len > CPU_INLINE_MAX) {
        r->work = (struct loop_work){.on_work = on_read_work, .on_done = on_read_done};
        loop_work_start(r->port->loop, &r->work);
        return;
    }
    read_and_promote(r);
    after_read(r);
}

static void ask_next(struct run *r)
{
    struct tier_port *p;

    while (r->at < r->store->conf.lower_n && owed_has(r->store->owed, &r->label.key, r->at))
        r->at++; /* what lies there was deleted */
    if (r->at >= r->store->conf.lower_n) {
        if (r->asked_ns == 0)
            loop_post(r->port->loop, &r->msg); /* never within the call */
        else
            finish(r);
        return;
    }
    p = r->port->lower[r->at];
    r->kind = p->tier->ops->kind;
    r->asked_ns = clock_mono_ns();
    r->get = (struct tier_get){.op = {.on_done = on_got}, .label = r->label};
    p->tier->ops->get(p, &r->get);
}

/* -- the beginning -- */

static char *copy_text(char *to, struct slice *text)
{
    if (text->len > 0)
        memcpy(to, text->data, text->len);
    text->data = to;
    return to + text->len;
}

static struct run *run_new(struct store_port *p, struct store_search *s)
{
    const struct label *l = &s->label;
    struct run *r = calloc(1, sizeof(*r) + l->namespace_.len + l->operation.len + l->model.len);
    char *at;

    if (!r)
        abort(); /* a small allocation: texts were bounded when they were read */
    r->store = p->store;
    r->port = p;
    r->search = s;
    r->look_only = s->look_only;
    r->label = (struct label){
        .key = l->key, .namespace_ = l->namespace_, .operation = l->operation, .model = l->model};
    at = copy_text(r->texts, &r->label.namespace_);
    at = copy_text(at, &r->label.operation);
    (void)copy_text(at, &r->label.model);
    r->deletions = atomic_load(deletions_of(p->store, &l->key));
    r->fences = p->store->conf.fences ? fences_latest(p->store->conf.fences) : 0;
    list_push_back(&p->runs, &r->link);
    return r;
}

/* It is about to lie below, or about to lie there no more: nobody need be asked. */
static bool is_known(struct run *r)
{
    struct store *s = r->store;
    enum writes_know know = writes_look(s->writes, &r->label.key, &r->found);
    struct label label;

    if (know != WRITES_KNOW_ENTRY)
        return know == WRITES_KNOW_GONE;
    label = label_of(r->found.entry);
    r->found.hits++;
    if (r->found.entry->gone_ms <= clock_wall_ms() || store_holds_back(s, &label))
        entry_ref_release(&r->found);
    return true;
}

void store_search(struct store_port *p, struct store_search *s)
{
    struct run *r = run_new(p, s);

    s->own = r;
    s->found = (struct entry_ref){0};
    r->msg.on_msg = on_told;
    if (!p->closing && p->store->conf.lower_n > 0 && !is_known(r)) {
        ask_next(r);
        return;
    }
    loop_post(p->loop, &r->msg);
}

void store_search_cancel(struct store_search *s)
{
    struct run *r = s->own;

    if (!r)
        return;
    list_remove(&r->link);
    r->search = NULL;
    s->own = NULL;
}

/* -- for who waits -- */

/* One question; whoever comes last, the answer or the end of the waiting, frees it. */
struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done, left;
    struct loop_msg msg;
    struct store_port *port;
    struct store_search search;
    char texts[];
};

static void waiting_free(struct waiting *w)
{
    entry_ref_release(&w->search.found);
    (void)pthread_cond_destroy(&w->answered);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

static void on_answered(struct store_search *s)
{
    struct waiting *w = CONTAINER_OF(s, struct waiting, search);
    bool left;

    (void)pthread_mutex_lock(&w->lock);
    w->done = true;
    left = w->left;
    (void)pthread_cond_signal(&w->answered);
    (void)pthread_mutex_unlock(&w->lock);
    if (left)
        waiting_free(w);
}

static void on_asked_to_search(struct loop_msg *m)
{
    struct waiting *w = CONTAINER_OF(m, struct waiting, msg);

    store_search(w->port, &w->search);
}

static struct waiting *waiting_new(struct store *s, const struct label *l)
{
    struct waiting *w = calloc(1, sizeof(*w) + l->namespace_.len + l->operation.len + l->model.len);
    char *at;

    if (!w)
        abort(); /* small */
    (void)pthread_mutex_init(&w->lock, NULL);
    cond_init_monotonic(&w->answered);
    w->port = s->own;
    w->search = (struct store_search){.on_done = on_answered, .label = *l, .look_only = true};
    at = copy_text(w->texts, &w->search.label.namespace_);
    at = copy_text(at, &w->search.label.operation);
    (void)copy_text(at, &w->search.label.model);
    return w;
}

bool store_ask(struct store *s, const struct label *l, int64_t ms, struct entry_ref *out)
{
    struct timespec until = monotonic_in_ms(ms);
    struct waiting *w;
    int r = 0;
    bool done;

    *out = (struct entry_ref){0};
    if (s->conf.lower_n == 0)
        return false;
    w = waiting_new(s, l);
    w->msg.on_msg = on_asked_to_search;
    loop_post(s->loop, &w->msg);
    (void)pthread_mutex_lock(&w->lock);
    while (!w->done && r == 0)
        r = pthread_cond_timedwait(&w->answered, &w->lock, &until);
    done = w->done;
    w->left = true;
    (void)pthread_mutex_unlock(&w->lock);
    if (!done)
        return false;
    *out = w->search.found;
    w->search.found = (struct entry_ref){0};
    waiting_free(w);
    return out->entry != NULL;
}
