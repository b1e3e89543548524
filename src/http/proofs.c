#include "refrain/http/proofs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SHARDS = 64, SETS = 32, WAYS = 8 }; /* 16384 records */

struct record {
    uint64_t caller;
    int64_t at_ns; /* of the refusal, or when the last call began that succeeded */
    bool used, refused;
};

struct shard {
    pthread_mutex_t lock;
    struct record sets[SETS][WAYS];
};

struct proofs {
    atomic_uint_fast64_t refused_n;
    struct shard shards[SHARDS];
};

struct proofs *proofs_new(void)
{
    struct proofs *p = calloc(1, sizeof(*p));

    for (size_t i = 0; p && i < SHARDS; i++)
        (void)pthread_mutex_init(&p->shards[i].lock, NULL);
    return p;
}

void proofs_free(struct proofs *p)
{
    for (size_t i = 0; p && i < SHARDS; i++)
        (void)pthread_mutex_destroy(&p->shards[i].lock);
    free(p);
}

/* -- records; the shard's lock is held -- */

static struct shard *shard_of(struct proofs *p, uint64_t caller)
{
    return &p->shards[caller % SHARDS];
}

static struct record *set_of(struct shard *s, uint64_t caller)
{
    return s->sets[caller / SHARDS % SETS];
}

static struct record *find(struct shard *s, uint64_t caller)
{
    struct record *set = set_of(s, caller);

    for (int i = 0; i < WAYS; i++)
        if (set[i].used && set[i].caller == caller)
            return &set[i];
    return NULL;
}

static bool goes_before(const struct record *a, const struct record *b)
{
    if (a->used != b->used)
        return !a->used;
    if (a->refused != b->refused)
        return !a->refused;
    return a->at_ns < b->at_ns;
}

static struct record *find_or_make(struct proofs *p, struct shard *s, uint64_t caller)
{
    struct record *r = find(s, caller), *set = set_of(s, caller);

    if (r)
        return r;
    r = &set[0];
    for (int i = 1; i < WAYS; i++)
        if (goes_before(&set[i], r))
            r = &set[i];
    if (r->refused)
        atomic_fetch_sub(&p->refused_n, 1);
    *r = (struct record){.caller = caller, .at_ns = INT64_MIN, .used = true};
    return r;
}

/* -- what upstream says -- */

bool proofs_refused(struct proofs *p, uint64_t caller, int64_t now_ns)
{
    struct shard *s = shard_of(p, caller);
    struct record *r;
    bool news;

    (void)pthread_mutex_lock(&s->lock);
    r = find_or_make(p, s, caller);
    news = !r->refused;
    r->refused = true;
    r->at_ns = now_ns;
    if (news)
        atomic_fetch_add(&p->refused_n, 1);
    (void)pthread_mutex_unlock(&s->lock);
    return news;
}

/* Under the lock. */
static bool accept(struct proofs *p, struct record *r, int64_t began_ns)
{
    bool lifted = r->refused && began_ns >= r->at_ns;

    if (r->refused && !lifted)
        return false;
    if (lifted) {
        r->refused = false;
        atomic_fetch_sub(&p->refused_n, 1);
    }
    if (r->at_ns < began_ns)
        r->at_ns = began_ns;
    return lifted;
}

bool proofs_accepted(struct proofs *p, uint64_t caller, int64_t began_ns, bool remember)
{
    struct shard *s = shard_of(p, caller);
    struct record *r;
    bool lifted;

    if (!remember && atomic_load(&p->refused_n) == 0)
        return false;
    (void)pthread_mutex_lock(&s->lock);
    r = remember ? find_or_make(p, s, caller) : find(s, caller);
    lifted = r && accept(p, r, began_ns);
    (void)pthread_mutex_unlock(&s->lock);
    return lifted;
}

bool proofs_hold(struct proofs *p, uint64_t caller, int64_t age_max_ns, int64_t now_ns)
{
    struct shard *s = shard_of(p, caller);
    const struct record *r;
    bool hold;

    if (age_max_ns == 0 && atomic_load_explicit(&p->refused_n, memory_order_relaxed) == 0)
        return true;
    (void)pthread_mutex_lock(&s->lock);
    r = find(s, caller);
    if (!r)
        hold = age_max_ns == 0;
    else
        hold = !r->refused && (age_max_ns == 0 || now_ns - r->at_ns <= age_max_ns);
    (void)pthread_mutex_unlock(&s->lock);
    return hold;
}

uint64_t proofs_refused_n(const struct proofs *p)
{
    return atomic_load(&p->refused_n);
}
