#include "owed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ledger_line.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/clock.h"
#include "refrain/base/hex.h"
#include "refrain/base/list.h"

enum {
    TIERS_MAX = 8 * sizeof(unsigned),
    BUCKETS = 1024,
    AGAIN_MS = 1000,
    CLEAR_MS = 50 * 1000,
    LEDGER_BYTES_MAX = 32 * 1024 * 1024,
    KEY_DIGITS = 2 * sizeof(struct digest),
};

struct one {
    struct list bucket, link;
    struct label label;
    unsigned tiers;
    int64_t seq;      /* wall clock in microseconds: when it was deleted */
    int64_t asked_ms; /* monotonic */
    char texts[];
};

/* All of a tier from before. */
struct old {
    struct owed *owed;
    atomic_int_fast64_t seq; /* 0: nothing */
    struct tier_delete_if ask;
    struct selector which;
    int64_t asked_seq, asked_ms;
    bool busy;
};

struct owed {
    struct ledger *ledger;
    size_t lower_n;
    const char *names[TIERS_MAX];
    pthread_mutex_t lock;
    struct list buckets[BUCKETS], all; /* the longest not asked first */
    unsigned n_of[TIERS_MAX];
    atomic_uint n;
    struct old old[TIERS_MAX];
    bool changed;
    struct buf unknown; /* lines of the ledger about tiers that are not there now */
};

static int64_t now_seq(void)
{
    return clock_wall_ms() * 1000 + 999;
}

/* -- the table; under the lock -- */

static struct list *bucket_of(struct owed *o, const struct digest *key)
{
    return &o->buckets[(size_t)(key->bytes[6] | key->bytes[7] << 8) % BUCKETS];
}

static struct one *find(struct owed *o, const struct digest *key)
{
    LIST_FOR(it, bucket_of(o, key))
    {
        struct one *one = CONTAINER_OF(it, struct one, bucket);

        if (digest_eq(&one->label.key, key))
            return one;
    }
    return NULL;
}

static void clear(struct owed *o, struct one *one, unsigned tiers)
{
    for (size_t i = 0; i < o->lower_n; i++)
        o->n_of[i] -= (one->tiers & tiers & 1U << i) != 0;
    o->changed = o->changed || (one->tiers & tiers) != 0;
    one->tiers &= ~tiers;
    if (one->tiers != 0)
        return;
    list_remove(&one->bucket);
    list_remove(&one->link);
    atomic_fetch_sub(&o->n, 1);
    free(one);
}

/* Too many to be kept apart. */
static void give_up(struct owed *o, size_t at, int64_t seq)
{
    LIST_FOR_SAFE(it, &o->all)
    {
        struct one *one = CONTAINER_OF(it, struct one, link);

        if (one->tiers & 1U << at) {
            seq = one->seq > seq ? one->seq : seq;
            clear(o, one, 1U << at);
        }
    }
    if (atomic_load(&o->old[at].seq) < seq)
        atomic_store(&o->old[at].seq, seq);
    o->changed = true;
}

static char *copy_text(char *to, struct slice *text)
{
    if (text->len > 0)
        memcpy(to, text->data, text->len);
    text->data = to;
    return to + text->len;
}

static void copy_label(struct label *out, const struct label *l, char *texts)
{
    *out = (struct label){
        .key = l->key, .namespace_ = l->namespace_, .operation = l->operation, .model = l->model};
    texts = copy_text(texts, &out->namespace_);
    texts = copy_text(texts, &out->operation);
    (void)copy_text(texts, &out->model);
}

static struct one *make(struct owed *o, const struct label *l)
{
    size_t bytes = l->namespace_.len + l->operation.len + l->model.len;
    struct one *one = bytes <= OWED_TEXT_BYTES ? calloc(1, sizeof(*one) + bytes) : NULL;

    if (!one)
        return NULL;
    copy_label(&one->label, l, one->texts);
    list_push_back(bucket_of(o, &l->key), &one->bucket);
    list_push_back(&o->all, &one->link);
    atomic_fetch_add(&o->n, 1);
    return one;
}

static void add_to(struct owed *o, const struct label *l, size_t at, int64_t seq)
{
    struct one *one = find(o, &l->key);

    if (!one || !(one->tiers & 1U << at)) {
        if (o->n_of[at] == OWED_MAX || (!one && !(one = make(o, l)))) {
            give_up(o, at, seq);
            return;
        }
        one->tiers |= 1U << at;
        o->n_of[at]++;
    }
    one->seq = one->seq > seq ? one->seq : seq;
    o->changed = true;
}

/* -- the ledger -- */

static bool read_key(struct slice hex, struct digest *out)
{
    for (size_t i = 0; hex.len == KEY_DIGITS && i < sizeof(*out); i++) {
        int byte = hex_byte_lower(hex.data + 2 * i);

        if (byte < 0)
            return false;
        out->bytes[i] = (unsigned char)byte;
    }
    return hex.len == KEY_DIGITS;
}

static void on_line(void *arg, struct slice line)
{
    struct owed *o = arg;
    struct instances_msg m;
    struct slice tier;
    struct label l;
    size_t at = 0;
    int64_t seq;

    if (!ledger_line_read(line, &tier, &seq, &m)) {
        ledger_odd(o->ledger);
        return;
    }
    while (at < o->lower_n && !slice_eq(tier, slice_str(o->names[at])))
        at++;
    l = (struct label){
        .namespace_ = m.which.namespace_, .operation = m.which.operation, .model = m.which.model};
    if (at == o->lower_n) { /* it may come back one day */
        if (buf_add_slice(&o->unknown, line) < 0 || buf_add_byte(&o->unknown, '\n') < 0)
            ledger_odd(o->ledger);
    } else if (read_key(m.which.id, &l.key)) {
        add_to(o, &l, at, seq);
    } else {
        give_up(o, at, seq);
    }
}

/* Under the lock. */
static int compose(struct owed *o, struct buf *out)
{
    int r = buf_add_slice(out, buf_slice(&o->unknown));

    for (size_t i = 0; r == 0 && i < o->lower_n; i++) {
        int64_t seq = atomic_load(&o->old[i].seq);
        struct selector which = {.created_before_ms = seq / 1000 + 1};

        if (seq > 0)
            r = ledger_line_add(out, o->names[i], seq, &which);
    }
    LIST_FOR(it, &o->all)
    {
        const struct one *one = CONTAINER_OF(it, struct one, link);
        const struct label *l = &one->label;
        char hex[DIGEST_HEX_LEN + 1];
        struct selector which = {.namespace_ = l->namespace_, .operation = l->operation, .model = l->model};

        digest_hex(&l->key, hex);
        which.id = slice_str(hex);
        for (size_t i = 0; r == 0 && i < o->lower_n; i++)
            if (one->tiers & 1U << i)
                r = ledger_line_add(out, o->names[i], one->seq, &which);
    }
    return r;
}

void owed_keep(struct owed *o)
{
    AUTO(buf_done) struct buf lines = BUF_INIT(LEDGER_BYTES_MAX);
    bool changed;

    (void)pthread_mutex_lock(&o->lock);
    changed = o->changed && o->ledger;
    o->changed = changed && compose(o, &lines) < 0; /* out of memory: the next time */
    changed = changed && !o->changed;
    (void)pthread_mutex_unlock(&o->lock);
    if (!changed)
        return;
    ledger_set(o->ledger, LEDGER_DELETIONS, buf_slice(&lines));
    if (ledger_write(o->ledger) == 0)
        return;
    (void)pthread_mutex_lock(&o->lock);
    o->changed = true;
    (void)pthread_mutex_unlock(&o->lock);
}

/* -- beginning and ending -- */

struct owed *owed_new(struct ledger *l, struct tier *const *lower, size_t lower_n)
{
    struct owed *o = calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    (void)pthread_mutex_init(&o->lock, NULL);
    o->ledger = l;
    o->lower_n = lower_n;
    o->unknown.max = LEDGER_BYTES_MAX;
    list_init(&o->all);
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&o->buckets[i]);
    for (size_t i = 0; i < lower_n; i++) {
        o->names[i] = lower[i]->ops->name;
        o->old[i].owed = o;
    }
    ledger_read(l, LEDGER_DELETIONS, on_line, o);
    return o;
}

void owed_free(struct owed *o)
{
    struct list *link;

    if (!o)
        return;
    owed_keep(o);
    while ((link = list_pop_front(&o->all)) != NULL)
        free(CONTAINER_OF(link, struct one, link));
    buf_done(&o->unknown);
    (void)pthread_mutex_destroy(&o->lock);
    free(o);
}

/* -- what is said -- */

void owed_add(struct owed *o, const struct label *l, unsigned tiers)
{
    int64_t seq = now_seq();

    (void)pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < o->lower_n; i++)
        if (tiers & 1U << i)
            add_to(o, l, i, seq);
    (void)pthread_mutex_unlock(&o->lock);
}

void owed_done(struct owed *o, const struct digest *key, unsigned tiers, int64_t seq)
{
    struct one *one;

    if (LIKELY(atomic_load(&o->n) == 0))
        return;
    (void)pthread_mutex_lock(&o->lock);
    one = find(o, key);
    if (one && one->seq <= seq)
        clear(o, one, tiers);
    (void)pthread_mutex_unlock(&o->lock);
}

bool owed_has(struct owed *o, const struct digest *key, size_t at)
{
    const struct one *one;
    bool has;

    if (LIKELY(atomic_load(&o->n) == 0))
        return false;
    (void)pthread_mutex_lock(&o->lock);
    one = find(o, key);
    has = one && (one->tiers & 1U << at) != 0;
    (void)pthread_mutex_unlock(&o->lock);
    return has;
}

bool owed_means(const struct owed *o, size_t at, int64_t seq)
{
    return atomic_load(&o->old[at].seq) > seq;
}

/* -- making up for it -- */

bool owed_next(struct owed *o, size_t at, struct owed_one *out)
{
    int64_t now_ms = clock_mono_ms();
    bool found = false;

    (void)pthread_mutex_lock(&o->lock);
    LIST_FOR(it, &o->all)
    {
        struct one *one = CONTAINER_OF(it, struct one, link);

        if (!(one->tiers & 1U << at) || (one->asked_ms > 0 && one->asked_ms + AGAIN_MS > now_ms))
            continue;
        one->asked_ms = now_ms;
        copy_label(&out->label, &one->label, out->texts);
        list_remove(&one->link);
        list_push_back(&o->all, &one->link);
        found = true;
        break;
    }
    (void)pthread_mutex_unlock(&o->lock);
    return found;
}

static void on_cleared(struct tier_op *op)
{
    struct tier_delete_if *ask = CONTAINER_OF(op, struct tier_delete_if, op);
    struct old *old = CONTAINER_OF(ask, struct old, ask);
    int_fast64_t asked = old->asked_seq;

    old->busy = false;
    if (op->result != TIER_OK || !atomic_compare_exchange_strong(&old->seq, &asked, 0))
        return; /* once more */
    (void)pthread_mutex_lock(&old->owed->lock);
    old->owed->changed = true;
    (void)pthread_mutex_unlock(&old->owed->lock);
}

void owed_clear_old(struct owed *o, size_t at, struct tier_port *p)
{
    struct old *old = &o->old[at];
    int64_t now_ms = clock_mono_ms();

    if (old->busy || atomic_load(&old->seq) == 0 || (old->asked_ms > 0 && old->asked_ms + AGAIN_MS > now_ms))
        return;
    old->busy = true;
    old->asked_ms = now_ms;
    old->asked_seq = atomic_load(&old->seq);
    old->which = (struct selector){.created_before_ms = old->asked_seq / 1000 + 1};
    old->ask =
        (struct tier_delete_if){.op = {.on_done = on_cleared, .deadline_ms = CLEAR_MS}, .which = &old->which};
    p->tier->ops->delete_if(p, &old->ask);
}

bool owed_any(struct owed *o, size_t at)
{
    bool any = atomic_load(&o->old[at].seq) > 0;

    if (any || LIKELY(atomic_load(&o->n) == 0))
        return any;
    (void)pthread_mutex_lock(&o->lock);
    any = o->n_of[at] > 0;
    (void)pthread_mutex_unlock(&o->lock);
    return any;
}
