/*
 * The write queue: what the lower tiers shall have, key by key, until they have it.
 *
 *   any thread ──► waiting (one a key, the last word wins) ──► under way (one a key) ──► gone
 *
 * Of one key only one write is under way, so that what was said last is what is written last; while it is,
 * the next word waits. Bounded by bytes, of what is under way, too: a tier that is slow or away costs memory
 * up to that, then writes are lost, and counted. Nobody ever waits for it.
 *
 * A deletion that a tier could not make is not lost: it is owed (owed.h), what lies there is not found
 * meanwhile, and it is made once the tier is back, unless something newer has been written there first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/list.h"
#include "store_priv.h"

enum {
    BUCKETS = 1024,
    UNDER_WAY_MAX = 64,
    SHRINK_INLINE_MAX = 4096,
    OWED_AT_ONCE = 32,
    OWED_MS = 100,          /* how often it is looked whether a tier that owes something is back */
    LABEL_BYTES_MAX = 1024, /* of a name: what is longer was cut when it was stored */
};

enum kind {
    WRITE_ENTRY,   /* this shall be there */
    WRITE_NOTHING, /* nothing shall be there */
    WRITE_COPY,    /* a lower one has this, those above shall, too */
    WRITE_SCRUB,   /* this is rubbish */
    WRITE_OWED,    /* as NOTHING, from before: whatever is said of the key since counts more */
};

struct write;
/* One question to one tier. */
struct asked {
    union {
        struct tier_op op; /* each has it first */
        struct tier_put put;
        struct tier_delete remove;
    };
    int64_t put_ns; /* of an entry: when it was asked for; else 0 */
    struct write *write;
};

struct write {
    struct list bucket, link; /* by key; in order of their coming. Under the lock */
    struct store *store;
    enum kind kind;
    unsigned tiers;       /* bits */
    bool clears;          /* it has taken the place of a deletion: whatever lies there goes */
    struct label label;   /* borrows from the box, or from texts */
    struct entry_ref ref; /* always boxed; of ENTRY and COPY */
    struct blob *blob;    /* of COPY and SCRUB; of ENTRY once it is packed */
    size_t bytes;
    int64_t due_ms; /* monotonic */
    /* the store thread's, once it is under way */
    struct loop_work work;
    enum record_result packed;
    unsigned waits_for;
    struct asked asked[STORE_LOWER_MAX];
    char texts[];
};

struct writes {
    struct store *store;
    pthread_mutex_t lock;
    pthread_cond_t empty;
    struct list queue; /* waiting, in order */
    struct list waiting[BUCKETS], under_way[BUCKETS];
    size_t bytes;
    uint64_t n;
    unsigned under_way_n;
    bool posted, hurried, stopped;
    struct loop_msg msg;
    struct loop_timer *timer; /* the store thread's */
    struct loop_timer *owed_timer;
};

static void pump(struct writes *w);
static void on_owed_due(void *arg);

/* -- start and end -- */

static void on_due(void *arg)
{
    pump(arg);
}

struct writes *writes_new(struct store *s)
{
    struct writes *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->store = s;
    (void)pthread_mutex_init(&w->lock, NULL);
    cond_init_monotonic(&w->empty);
    list_init(&w->queue);
    for (size_t i = 0; i < BUCKETS; i++) {
        list_init(&w->waiting[i]);
        list_init(&w->under_way[i]);
    }
    w->timer = loop_timer_new(s->loop, on_due, w);
    w->owed_timer = loop_timer_new(s->loop, on_owed_due, w);
    loop_timer_start(w->owed_timer, OWED_MS, OWED_MS);
    return w;
}

static void write_drop(struct write *one)
{
    count_one(&one->store->dropped);
    if (one->kind == WRITE_NOTHING)
        owed_add(one->store->owed, &one->label, one->tiers);
}

static void write_free(struct write *one)
{
    entry_ref_release(&one->ref);
    blob_unref(one->blob);
    free(one);
}

void writes_free(struct writes *w)
{
    struct list *link;

    if (!w)
        return;
    while ((link = list_pop_front(&w->queue)) != NULL) {
        write_drop(CONTAINER_OF(link, struct write, link));
        write_free(CONTAINER_OF(link, struct write, link));
    }
    (void)pthread_cond_destroy(&w->empty);
    (void)pthread_mutex_destroy(&w->lock);
    free(w); /* the timer went with its loop */
}

void writes_stop(struct writes *w)
{
    (void)pthread_mutex_lock(&w->lock);
    w->stopped = true;
    (void)pthread_mutex_unlock(&w->lock);
}

/* -- under the lock -- */

static struct list *bucket_of(struct list *buckets, const struct digest *key)
{
    return &buckets[(size_t)(key->bytes[2] | key->bytes[3] << 8) % BUCKETS];
}

static struct write *find(struct list *buckets, const struct digest *key)
{
    LIST_FOR(it, bucket_of(buckets, key))
    {
        struct write *one = CONTAINER_OF(it, struct write, bucket);

        if (digest_eq(&one->label.key, key))
            return one;
    }
    return NULL;
}

static void leave(struct writes *w, struct write *one)
{
    list_remove(&one->bucket);
    list_remove(&one->link);
    w->bytes -= one->bytes;
    w->n--;
}

static void enter(struct writes *w, struct write *one)
{
    list_push_back(bucket_of(w->waiting, &one->label.key), &one->bucket);
    w->bytes += one->bytes;
    w->n++;
}

static bool is_word(const struct write *one)
{
    return one->kind == WRITE_ENTRY || one->kind == WRITE_NOTHING;
}

/* An older fetch has ended after a younger one. */
static bool is_outdated_by(const struct write *one, const struct write *there)
{
    return one->kind == WRITE_ENTRY && there && there->kind == WRITE_ENTRY &&
           one->label.started_seq < there->label.started_seq;
}

static bool has_room(const struct writes *w, const struct write *one, const struct write *instead_of)
{
    size_t bytes = w->bytes - (instead_of ? instead_of->bytes : 0) + one->bytes;
    size_t max = w->store->conf.write_queue_bytes_max;

    return bytes <= (one->kind == WRITE_NOTHING ? 2 * max : max); /* what is deleted matters more */
}

enum entered { ENTERED, ENTERED_NOT, ENTERED_DROPPED };

/* Takes the place of what waits under the key; what is only of use (a copy, a scrubbing) gives way. */
static enum entered try_enter(struct writes *w, struct write *one, struct write **out_replaced)
{
    struct write *there = find(w->waiting, &one->label.key);
    struct write *running = find(w->under_way, &one->label.key);

    if (is_outdated_by(one, there) || is_outdated_by(one, running))
        return ENTERED_NOT;
    if (!is_word(one) && (there || running))
        return ENTERED_NOT;
    if (!has_room(w, one, there) && !(one->kind == WRITE_NOTHING && there))
        return ENTERED_DROPPED;
    if (there) {
        one->due_ms = there->due_ms < one->due_ms ? there->due_ms : one->due_ms;
        one->clears = there->kind == WRITE_NOTHING || there->clears;
        list_push_back(&there->link, &one->link); /* before it, so in its place */
        leave(w, there);
        *out_replaced = there;
    } else {
        list_push_back(&w->queue, &one->link);
    }
    enter(w, one);
    return ENTERED;
}

/* -- from any thread -- */

static void on_posted(struct loop_msg *m)
{
    struct writes *w = CONTAINER_OF(m, struct writes, msg);

    (void)pthread_mutex_lock(&w->lock);
    w->posted = false;
    (void)pthread_mutex_unlock(&w->lock);
    pump(w);
}

/* Under the lock. */
static void post(struct writes *w)
{
    if (w->posted || w->stopped)
        return;
    w->posted = true;
    w->msg.on_msg = on_posted;
    loop_post(w->store->loop, &w->msg);
}

static void submit(struct writes *w, struct write *one)
{
    struct write *replaced = NULL;
    enum entered r;

    one->due_ms = clock_mono_ms() + w->store->conf.write_behind_ms;
    (void)pthread_mutex_lock(&w->lock);
    r = try_enter(w, one, &replaced);
    if (r == ENTERED && !replaced)
        post(w);
    (void)pthread_mutex_unlock(&w->lock);
    if (replaced)
        write_free(replaced);
    if (r == ENTERED_DROPPED)
        write_drop(one);
    if (r != ENTERED)
        write_free(one);
}

static char *copy_text(char *to, struct slice *text)
{
    if (text->len > 0)
        memcpy(to, text->data, text->len);
    text->data = to;
    return to + text->len;
}

/* With the label's texts copied where @own. NULL when out of memory, or when it is the label of nothing we
 * store. */
static struct write *write_new(struct writes *w, enum kind kind, const struct label *l, bool own)
{
    size_t bytes = own ? l->namespace_.len + l->operation.len + l->model.len : 0;
    struct write *one = bytes <= LABEL_BYTES_MAX ? calloc(1, sizeof(*one) + bytes) : NULL;
    char *at;

    if (!one) {
        count_one(&w->store->dropped);
        return NULL;
    }
    list_init(&one->bucket);
    list_init(&one->link);
    one->store = w->store;
    one->kind = kind;
    one->tiers = (1U << w->store->conf.lower_n) - 1;
    one->label = *l;
    one->bytes = sizeof(*one) + bytes;
    if (!own)
        return one;
    one->label.id = one->label.tags = (struct slice){NULL, 0};
    at = copy_text(one->texts, &one->label.namespace_);
    at = copy_text(at, &one->label.operation);
    (void)copy_text(at, &one->label.model);
    return one;
}

void writes_entry(struct writes *w, const struct entry_ref *ref)
{
    struct label label = label_of(ref->entry);
    struct write *one = write_new(w, WRITE_ENTRY, &label, false);

    if (!one)
        return;
    one->ref = entry_ref_again(ref);
    one->bytes += ref->box->len;
    submit(w, one);
}

void writes_nothing(struct writes *w, const struct label *l)
{
    struct write *one = write_new(w, WRITE_NOTHING, l, true);

    if (one)
        submit(w, one);
}

/* On the store thread. */
static void writes_owed(struct writes *w, const struct label *l, unsigned tiers)
{
    struct write *one = write_new(w, WRITE_OWED, l, true);

    if (!one)
        return;
    one->tiers = tiers;
    submit(w, one);
}

void writes_copy(struct writes *w, struct entry_box *box, struct blob *blob, size_t below)
{
    struct label label = label_of(entry_box_entry(box));
    struct write *one = write_new(w, WRITE_COPY, &label, false);

    if (!one)
        return;
    one->ref = entry_ref_of_box(box, TIER_MEMORY);
    one->blob = blob_ref(blob);
    one->tiers = (1U << below) - 1;
    one->bytes += box->len + blob->len;
    submit(w, one);
}

void writes_scrub(struct writes *w, const struct label *l, struct blob *blob, size_t at)
{
    struct write *one = write_new(w, WRITE_SCRUB, l, true);

    if (!one)
        return;
    one->blob = blob_ref(blob);
    one->tiers = 1U << at;
    one->bytes += blob->len;
    submit(w, one);
}

enum writes_know writes_look(struct writes *w, const struct digest *key, struct entry_ref *out)
{
    enum writes_know know = WRITES_KNOW_NOTHING;
    const struct write *one;

    (void)pthread_mutex_lock(&w->lock);
    one = find(w->waiting, key);
    if (!one || !is_word(one))
        one = find(w->under_way, key);
    if (one && one->kind == WRITE_NOTHING) {
        know = WRITES_KNOW_GONE;
    } else if (one && one->kind == WRITE_ENTRY) {
        *out = entry_ref_again(&one->ref);
        know = WRITES_KNOW_ENTRY;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return know;
}

void writes_stats(struct writes *w, struct store_stats *out)
{
    (void)pthread_mutex_lock(&w->lock);
    out->queue_bytes = w->bytes;
    out->queue_entries = w->n;
    (void)pthread_mutex_unlock(&w->lock);
}

bool writes_flush(struct writes *w, int64_t ms)
{
    struct timespec until = monotonic_in_ms(ms);
    int r = 0;
    bool empty;

    (void)pthread_mutex_lock(&w->lock);
    w->hurried = true;
    post(w);
    while (w->n > 0 && r == 0)
        r = pthread_cond_timedwait(&w->empty, &w->lock, &until);
    w->hurried = false;
    empty = w->n == 0;
    (void)pthread_mutex_unlock(&w->lock);
    return empty;
}

/* -- on the store thread -- */

static void write_end(struct write *one)
{
    struct writes *w = one->store->writes;

    (void)pthread_mutex_lock(&w->lock);
    leave(w, one);
    w->under_way_n--;
    if (w->n == 0)
        (void)pthread_cond_broadcast(&w->empty);
    else
        post(w); /* there is room for another, and perhaps a word about this key has waited */
    (void)pthread_mutex_unlock(&w->lock);
    write_free(one);
}

/* It was written while it was invalidated. */
static void undo_if_fenced(struct write *one)
{
    if ((one->kind == WRITE_ENTRY || one->kind == WRITE_COPY) && store_holds_back(one->store, &one->label))
        writes_nothing(one->store->writes, &one->label);
}

/* What is there now is what was said last, or nothing: whatever was to be deleted is gone. */
static void settle(struct write *one, unsigned tier, bool made)
{
    struct owed *owed = one->store->owed;

    if (one->kind == WRITE_SCRUB)
        return;
    if (made && one->kind == WRITE_ENTRY)
        owed_done(owed, &one->label.key, tier, one->label.started_seq);
    else if (made && one->kind != WRITE_COPY)
        owed_done(owed, &one->label.key, tier, INT64_MAX);
    else if (one->kind == WRITE_NOTHING)
        owed_add(owed, &one->label, tier);
    if (!made && one->kind != WRITE_OWED)
        count_one(&one->store->dropped);
}

static void on_asked(struct tier_op *op)
{
    struct asked *a = CONTAINER_OF(op, struct asked, op);
    struct write *one = a->write;

    if (a->put_ns > 0 && one->store->conf.counts)
        metric_time1(one->store->conf.counts, TIER_PUT, one->store->conf.lower[a - one->asked]->ops->kind,
                     clock_mono_ns() - a->put_ns);
    settle(one, 1U << (a - one->asked), op->result == TIER_OK || op->result == TIER_ABSENT);
    if (--one->waits_for > 0)
        return;
    undo_if_fenced(one);
    write_end(one);
}

/* When the lower tiers may drop it, sliding included. */
static int64_t gone_ms_of(const struct write *one)
{
    const struct entry *e = one->ref.entry;
    int64_t more = one->ref.expires_ms - e->expires_ms, gone;

    if (e->gone_ms == INT64_MAX || more <= 0)
        return e->gone_ms;
    return __builtin_add_overflow(e->gone_ms, more, &gone) ? INT64_MAX : gone;
}

static void ask(struct write *one, size_t i)
{
    struct tier_port *p = one->store->ports[i];
    struct asked *a = &one->asked[i];

    a->write = one;
    a->put_ns = 0;
    if (one->kind == WRITE_ENTRY || one->kind == WRITE_COPY) {
        a->put = (struct tier_put){.op = {.on_done = on_asked},
                                   .item = {one->label, gone_ms_of(one)},
                                   .blob = one->blob,
                                   .only_newer = !one->clears};
        a->put_ns = clock_mono_ns();
        p->tier->ops->put(p, &a->put);
    } else {
        a->remove = (struct tier_delete){.op = {.on_done = on_asked},
                                         .label = one->label,
                                         .only = one->kind == WRITE_SCRUB ? one->blob : NULL};
        p->tier->ops->remove(p, &a->remove);
    }
}

static bool is_stopped(struct writes *w)
{
    bool stopped;

    (void)pthread_mutex_lock(&w->lock);
    stopped = w->stopped;
    (void)pthread_mutex_unlock(&w->lock);
    return stopped;
}

/* To every tier it is meant for, at once: a slow one holds up no other but for the same key. */
static void ask_all(struct write *one)
{
    size_t n = one->store->conf.lower_n;

    if (is_stopped(one->store->writes)) { /* the ports are closed, or about to be */
        write_drop(one);
        write_end(one);
        return;
    }
    one->waits_for = (unsigned)__builtin_popcount(one->tiers);
    for (size_t i = 0; i < n; i++)
        if (one->tiers & 1U << i)
            ask(one, i);
}

static void pack(struct write *one)
{
    struct store *s = one->store;
    const struct entry *e = one->ref.entry;
    struct entry_box *small = shrink_entry(e, &s->conf.shrink);

    if (small) {
        store_note_shrunk(s, e->body.len, entry_box_entry(small)->body.len);
        e = entry_box_entry(small);
    }
    one->packed = record_pack(e, one->ref.expires_ms, one->ref.hits, &s->conf.codec, &one->blob);
    entry_box_unref(small);
}

/* What takes its time belongs on the pool: sums and seals take a nanosecond a byte, gzip thirty. */
static bool is_quickly_packed(const struct write *one)
{
    size_t max = one->store->conf.shrink.level > 0 ? SHRINK_INLINE_MAX : CPU_INLINE_MAX;

    return one->ref.entry->bytes <= max;
}

static void on_pack_work(struct loop_work *work)
{
    pack(CONTAINER_OF(work, struct write, work));
}

static void packed(struct write *one)
{
    if (one->packed == RECORD_OK) {
        ask_all(one);
        return;
    }
    count_one(&one->store->dropped);
    write_end(one);
}

static void on_pack_done(struct loop_work *work)
{
    packed(CONTAINER_OF(work, struct write, work));
}

static void begin(struct write *one)
{
    if (one->kind == WRITE_ENTRY && store_holds_back(one->store, &one->label)) {
        one->kind = WRITE_NOTHING; /* whatever lies there is older still */
        ask_all(one);
    } else if (one->kind != WRITE_ENTRY) {
        ask_all(one);
    } else if (!is_quickly_packed(one)) {
        one->work = (struct loop_work){.on_work = on_pack_work, .on_done = on_pack_done};
        loop_work_start(one->store->loop, &one->work);
    } else {
        pack(one);
        packed(one);
    }
}

/* The next one that may begin, now under way; NULL: none. *@out_wait_ms: until there is one, -1: not known.
 */
static struct write *next(struct writes *w, int64_t now_ms, int64_t *out_wait_ms)
{
    *out_wait_ms = -1;
    if (w->stopped || w->under_way_n >= UNDER_WAY_MAX)
        return NULL;
    LIST_FOR(it, &w->queue)
    {
        struct write *one = CONTAINER_OF(it, struct write, link);

        if (!w->hurried && one->due_ms > now_ms) {
            *out_wait_ms = one->due_ms - now_ms;
            return NULL;
        }
        if (find(w->under_way, &one->label.key))
            continue;
        list_remove(&one->link);
        list_remove(&one->bucket);
        list_push_back(bucket_of(w->under_way, &one->label.key), &one->bucket);
        w->under_way_n++;
        return one;
    }
    return NULL;
}

static void pump(struct writes *w)
{
    int64_t wait_ms;
    struct write *one;

    do {
        (void)pthread_mutex_lock(&w->lock);
        one = next(w, clock_mono_ms(), &wait_ms);
        (void)pthread_mutex_unlock(&w->lock);
        if (one)
            begin(one);
    } while (one);
    if (wait_ms >= 0)
        loop_timer_start(w->timer, wait_ms, 0);
}

/* -- what is owed; on the store thread -- */

static bool is_back(struct tier *t)
{
    struct tier_state state = {0};

    t->ops->state(t, &state);
    return state.health != TIER_IS_DOWN;
}

static void make_owed(struct writes *w, size_t at)
{
    struct owed_one one;

    for (unsigned i = 0; i < OWED_AT_ONCE && owed_next(w->store->owed, at, &one); i++)
        writes_owed(w, &one.label, 1U << at);
}

static void on_owed_due(void *arg)
{
    struct writes *w = arg;
    struct store *s = w->store;

    for (size_t i = 0; i < s->conf.lower_n && !is_stopped(w); i++)
        if (owed_any(s->owed, i) && is_back(s->conf.lower[i])) {
            owed_clear_old(s->owed, i, s->ports[i]);
            make_owed(w, i);
        }
    owed_keep(s->owed);
}
