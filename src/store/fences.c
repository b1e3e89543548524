#include "refrain/store/fences.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/digest.h"
#include "refrain/base/siphash.h"

enum {
    PLACES = 16 * 1024, /* of sums; 128 KiB for targets, and as many for the rest */
    TEXT_BYTES_MAX = 2048,
};

/* What a sum is of. */
enum kind { OF_ID, OF_TAG, OF_OPERATION, OF_MODEL, OF_NAMESPACE, KINDS };

/* One invalidation, word for word. */
struct fence {
    struct selector which; /* its texts lie in own */
    char *own;
    int64_t seq;
};

struct sums {
    atomic_int_fast64_t latest; /* of all places */
    atomic_int_fast64_t at[PLACES];
};

struct fences {
    atomic_int_fast64_t latest;  /* of all */
    atomic_int_fast64_t all;     /* everything from before this is meant */
    atomic_int_fast64_t aged;    /* everything from before this and created before aged_ms */
    atomic_int_fast64_t aged_ms; /* wall clock */
    atomic_int_fast64_t untold;  /* the newest sum of what no flight tells yet: ids and tags */
    struct siphash_key secret;   /* tags come from clients */
    struct sums targets, sums;
    pthread_rwlock_t lock;              /* of kept, alone */
    struct fence kept[FENCES_KEPT_MAX]; /* the newest first */
    unsigned kept_n;
};

static void raise_to(atomic_int_fast64_t *at, int_fast64_t to)
{
    int_fast64_t now = atomic_load(at);

    while (now < to && !atomic_compare_exchange_weak(at, &now, to))
        ;
}

static int_fast64_t at_of(const atomic_int_fast64_t *at)
{
    return atomic_load_explicit(at, memory_order_acquire);
}

struct fences *fences_new(void)
{
    struct fences *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    random_bytes(&f->secret, sizeof(f->secret));
    (void)pthread_rwlock_init(&f->lock, NULL);
    return f;
}

void fences_free(struct fences *f)
{
    if (!f)
        return;
    for (unsigned i = 0; i < f->kept_n; i++)
        free(f->kept[i].own);
    (void)pthread_rwlock_destroy(&f->lock);
    free(f);
}

/* -- sums -- */

static size_t place_of(const struct fences *f, enum kind kind, struct slice text)
{
    char byte = (char)kind;
    struct siphash s;

    siphash_begin(&s, &f->secret);
    siphash_add(&s, slice_make(&byte, 1));
    siphash_add(&s, text);
    return (size_t)(siphash_end(&s) % PLACES);
}

static size_t place_of_target(uint64_t target)
{
    return (size_t)((target ^ target >> 32) % PLACES); /* a secret's sum already */
}

static void sums_raise(struct sums *s, size_t place, int64_t seq)
{
    raise_to(&s->at[place], seq);
    raise_to(&s->latest, seq);
}

static bool sums_tell(const struct fences *f, enum kind kind, struct slice text, int64_t seq)
{
    return text.len > 0 && at_of(&f->sums.at[place_of(f, kind, text)]) >= seq;
}

static bool any_tag_tells(const struct fences *f, struct slice tags, int64_t seq)
{
    while (tags.len > 0)
        if (sums_tell(f, OF_TAG, slice_cut(&tags, ','), seq))
            return true;
    return false;
}

bool fences_any_target_since(const struct fences *f, int64_t seq)
{
    return at_of(&f->targets.latest) >= seq;
}

bool fences_target_since(const struct fences *f, uint64_t target, int64_t seq)
{
    return fences_any_target_since(f, seq) && at_of(&f->targets.at[place_of_target(target)]) >= seq;
}

static bool target_tells(const struct fences *f, const struct label *l, int64_t seq)
{
    return l->target != 0 && fences_target_since(f, l->target, seq);
}

static bool plain_sums_tell(const struct fences *f, const struct label *l, int64_t seq)
{
    return sums_tell(f, OF_OPERATION, l->operation, seq) || sums_tell(f, OF_MODEL, l->model, seq) ||
           sums_tell(f, OF_NAMESPACE, l->namespace_, seq);
}

/* -- growing old -- */

static bool has_wildcard(struct slice text)
{
    return memchr(text.data, '*', text.len) || memchr(text.data, '?', text.len);
}

/* The part of a pattern before its first colon, which is a namespace, where it says one. */
static struct slice namespace_of(struct slice pattern)
{
    struct slice rest = pattern, first = slice_cut(&rest, ':');

    return rest.data && first.len > 0 && !has_wildcard(first) ? first : (struct slice){NULL, 0};
}

/* One thing that everything it means has in common, the rarest first; empty: there is none. */
static struct slice common_of(const struct selector *s, enum kind *out_kind)
{
    const struct {
        enum kind kind;
        struct slice text;
    } said[] = {
        {OF_ID, s->id},
        {OF_TAG, s->tag},
        {OF_MODEL, s->model.len > 0 && !has_wildcard(s->model) ? s->model : (struct slice){NULL, 0}},
        {OF_NAMESPACE, s->namespace_},
        {OF_NAMESPACE, s->pattern.len > 0 ? namespace_of(s->pattern) : (struct slice){NULL, 0}},
        {OF_OPERATION, s->operation},
    };

    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        if (said[i].text.len > 0) {
            *out_kind = said[i].kind;
            return said[i].text;
        }
    return (struct slice){NULL, 0};
}

/* Keeps what @s means in fixed room; what it comes to may be more, never less. */
static void sum_up(struct fences *f, const struct selector *s, int64_t seq)
{
    enum kind kind = KINDS;
    struct slice common = common_of(s, &kind);

    if (s->target != 0) {
        sums_raise(&f->targets, place_of_target(s->target), seq);
    } else if (common.len > 0) {
        sums_raise(&f->sums, place_of(f, kind, common), seq);
        if (kind == OF_ID || kind == OF_TAG)
            raise_to(&f->untold, seq);
    } else if (s->created_before_ms > 0) {
        raise_to(&f->aged_ms, s->created_before_ms);
        raise_to(&f->aged, seq);
    } else {
        raise_to(&f->all, seq);
    }
}

/* -- adding -- */

/* false: it cannot be kept word for word. */
static bool fence_make(struct fence *out, const struct selector *which, int64_t seq)
{
    size_t bytes = which->id.len + which->pattern.len + which->tag.len + which->operation.len +
                   which->model.len + which->namespace_.len;

    out->seq = seq;
    return bytes <= TEXT_BYTES_MAX && selector_copy(which, &out->which, &out->own) == 0;
}

/* Under the lock. What stands at @i goes, those behind move up. */
static void kept_remove(struct fences *f, unsigned i)
{
    free(f->kept[i].own);
    memmove(&f->kept[i], &f->kept[i + 1], (f->kept_n - i - 1) * sizeof(f->kept[0]));
    f->kept_n--;
}

/* Under the lock. False: the same is there, and not older. */
static bool kept_drop_same(struct fences *f, const struct fence *new)
{
    for (unsigned i = 0; i < f->kept_n; i++) {
        if (!selector_eq(&f->kept[i].which, &new->which))
            continue;
        if (f->kept[i].seq >= new->seq)
            return false;
        kept_remove(f, i);
        break;
    }
    return true;
}

/* Under the lock. */
static void kept_drop_oldest(struct fences *f)
{
    const struct fence *oldest = &f->kept[f->kept_n - 1];

    sum_up(f, &oldest->which, oldest->seq);
    kept_remove(f, f->kept_n - 1);
}

/* Under the lock. */
static void kept_insert(struct fences *f, const struct fence *new)
{
    unsigned i = f->kept_n;

    while (i > 0 && f->kept[i - 1].seq < new->seq) {
        f->kept[i] = f->kept[i - 1];
        i--;
    }
    f->kept[i] = *new;
    f->kept_n++;
}

static void keep(struct fences *f, struct fence *new)
{
    (void)pthread_rwlock_wrlock(&f->lock);
    if (!kept_drop_same(f, new)) {
        free(new->own);
    } else {
        if (f->kept_n == FENCES_KEPT_MAX)
            kept_drop_oldest(f);
        kept_insert(f, new);
    }
    (void)pthread_rwlock_unlock(&f->lock);
}

/* Changed targets are many, and a sum says all there is to say of one. */
static bool is_target_alone(const struct selector *s)
{
    struct selector rest = *s;

    rest.target = 0;
    return s->target != 0 && selector_is_all(&rest);
}

void fences_add(struct fences *f, const struct selector *which, int64_t seq)
{
    struct fence new;

    if (is_target_alone(which) || selector_is_all(which) || !fence_make(&new, which, seq))
        sum_up(f, which, seq);
    else
        keep(f, &new);
    raise_to(&f->latest, seq); /* last: who sees it finds the rest */
}

/* -- looking -- */

static bool any_kept_means(const struct fences *f, const struct label *l, int64_t seq)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&f->lock;
    bool found = false;

    (void)pthread_rwlock_rdlock(lock);
    for (unsigned i = 0; !found && i < f->kept_n && f->kept[i].seq >= seq; i++)
        found = selector_matches(&f->kept[i].which, l);
    (void)pthread_rwlock_unlock(lock);
    return found;
}

/* What is kept comes first: what grows old goes from there to the sums, and is looked for in that order. */
bool fences_hold_back(const struct fences *f, const struct label *l, int64_t seq)
{
    if (LIKELY(at_of(&f->latest) < seq))
        return false;
    if (any_kept_means(f, l, seq) || target_tells(f, l, seq) || at_of(&f->all) >= seq)
        return true;
    if (at_of(&f->aged) >= seq && l->created_ms < at_of(&f->aged_ms))
        return true;
    return at_of(&f->sums.latest) >= seq &&
           (sums_tell(f, OF_ID, l->id, seq) || any_tag_tells(f, l->tags, seq) || plain_sums_tell(f, l, seq));
}

/* May it mean an answer that is still to come, whose tags and id nobody knows? */
static bool may_mean(const struct selector *s, const struct label *l)
{
    struct selector known = *s;

    if (s->created_before_ms > 0)
        return false;
    known.id.len = 0;
    known.tag.len = 0;
    return selector_matches(&known, l);
}

static bool any_kept_may_mean(const struct fences *f, const struct label *l, int64_t seq)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&f->lock;
    bool found = false;

    (void)pthread_rwlock_rdlock(lock);
    for (unsigned i = 0; !found && i < f->kept_n && f->kept[i].seq >= seq; i++)
        found = may_mean(&f->kept[i].which, l);
    (void)pthread_rwlock_unlock(lock);
    return found;
}

bool fences_part_flight(const struct fences *f, const struct label *l, int64_t seq)
{
    if (LIKELY(at_of(&f->latest) < seq))
        return false;
    if (any_kept_may_mean(f, l, seq) || target_tells(f, l, seq) || at_of(&f->all) >= seq ||
        at_of(&f->untold) >= seq)
        return true;
    return at_of(&f->sums.latest) >= seq && plain_sums_tell(f, l, seq);
}

int64_t fences_latest(const struct fences *f)
{
    return at_of(&f->latest);
}

unsigned fences_kept(const struct fences *f)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&f->lock;
    unsigned n;

    (void)pthread_rwlock_rdlock(lock);
    n = f->kept_n;
    (void)pthread_rwlock_unlock(lock);
    return n;
}
