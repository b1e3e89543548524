/*
 * Heads in a ring, one a request; their parts in another, one behind the other. A position in the ring of
 * parts only grows, so a head knows by it whether its parts have been written over. Heads are also chained by
 * key, newest first: a chain ends where the ring has come round.
 */
#include "refrain/http/recent.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "refrain/base/attr.h"

enum { PARTS_USUAL = 48 }; /* of one request: it sizes the ring */

struct head {
    struct digest key;
    uint64_t before; /* `added` when the one before it in its chain came; 0: there is none */
    uint64_t at;     /* of its first part */
    int64_t when_ms;
    const char *not_stored; /* static text */
    uint16_t head_n, leaves_n;
    uint8_t op;
};

struct recent {
    struct siphash_key secret;
    pthread_mutex_t lock; /* for what follows */
    struct head *heads;
    size_t heads_n;
    uint64_t *chains; /* heads_n of them: what `added` was when the newest of each came; 0: none has */
    uint64_t added;   /* requests, ever */
    struct trace_part *parts;
    size_t parts_n;
    uint64_t written; /* parts, ever */
};

struct recent *recent_new(size_t requests_max)
{
    struct recent *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    random_bytes(&r->secret, sizeof(r->secret));
    r->heads_n = requests_max > 0 ? requests_max : 1;
    r->parts_n = r->heads_n * PARTS_USUAL + TRACE_PARTS_MAX; /* the largest fits, whatever the size */
    r->heads = malloc(r->heads_n * sizeof(*r->heads));
    r->parts = malloc(r->parts_n * sizeof(*r->parts));
    r->chains = malloc(r->heads_n * sizeof(*r->chains));
    (void)pthread_mutex_init(&r->lock, NULL);
    if (!r->heads || !r->parts || !r->chains) {
        recent_free(r);
        return NULL;
    }
    memset(r->heads, 0, r->heads_n * sizeof(*r->heads)); /* now, so that it does not look like growth later */
    memset(r->parts, 0, r->parts_n * sizeof(*r->parts));
    memset(r->chains, 0, r->heads_n * sizeof(*r->chains));
    return r;
}

void recent_free(struct recent *r)
{
    if (!r)
        return;
    (void)pthread_mutex_destroy(&r->lock);
    free(r->heads);
    free(r->parts);
    free(r->chains);
    free(r);
}

const struct siphash_key *recent_secret(const struct recent *r)
{
    return &r->secret;
}

static void write_parts(struct recent *r, const struct trace_part *parts, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        r->parts[r->written++ % r->parts_n] = parts[i];
}

/* The bytes of a key are as good as random. */
static uint64_t *chain_of(struct recent *r, const struct digest *key)
{
    uint64_t bits;

    memcpy(&bits, key->bytes, sizeof(bits));
    return &r->chains[bits % r->heads_n];
}

void recent_add(struct recent *r, const struct trace *t, const struct digest *key, enum operation op,
                int64_t now_ms)
{
    uint64_t *chain = chain_of(r, key);
    struct head *h;

    (void)pthread_mutex_lock(&r->lock);
    h = &r->heads[r->added++ % r->heads_n];
    *h = (struct head){
        *key, *chain, r->written, now_ms, NULL, (uint16_t)t->head_n, (uint16_t)t->leaves_n, (uint8_t)op};
    *chain = r->added;
    write_parts(r, t->head, t->head_n);
    write_parts(r, t->leaves, t->leaves_n);
    (void)pthread_mutex_unlock(&r->lock);
}

static struct head *find_key(struct recent *r, const struct digest *key)
{
    uint64_t at = *chain_of(r, key);

    while (at > 0 && r->added - at < r->heads_n) {
        struct head *h = &r->heads[(at - 1) % r->heads_n];

        if (digest_eq(&h->key, key))
            return h;
        at = h->before;
    }
    return NULL;
}

void recent_settled(struct recent *r, const struct digest *key, const char *not_stored)
{
    struct head *h;

    (void)pthread_mutex_lock(&r->lock);
    h = find_key(r, key);
    if (h)
        h->not_stored = not_stored;
    (void)pthread_mutex_unlock(&r->lock);
}

/* -- holding one request against another -- */

struct kept {
    struct head head;
    struct trace_part parts[TRACE_PARTS_MAX];
};

enum { ANY_OPERATION = OP_COUNT };

/* The @back-th newest, if it is of @op and all there. *@out_more: there may be older ones. */
static bool copy_out(struct recent *r, uint64_t back, enum operation op, struct kept *out, bool *out_more)
{
    const struct head *h;
    bool there = false;

    (void)pthread_mutex_lock(&r->lock);
    *out_more = back < r->added && back < r->heads_n;
    if (*out_more) {
        h = &r->heads[(r->added - 1 - back) % r->heads_n];
        *out_more = r->written - h->at <= r->parts_n;
        there = *out_more && (op == (enum operation)ANY_OPERATION || h->op == op);
        if (there)
            out->head = *h;
        for (unsigned i = 0; there && i < (unsigned)h->head_n + h->leaves_n; i++)
            out->parts[i] = r->parts[(h->at + i) % r->parts_n];
    }
    (void)pthread_mutex_unlock(&r->lock);
    return there;
}

/* One of the two lists of a request's parts. */
struct list_of_parts {
    const struct trace_part *at;
    unsigned n;
};

static void note(struct recent_nearest *out, enum recent_how how, bool leaf, unsigned at, uint64_t name)
{
    out->differ++;
    if (out->n < RECENT_DIFFERENCES_MAX)
        out->at[out->n++] = (struct recent_difference){how, leaf, at, name};
}

static unsigned find_name(struct list_of_parts in, unsigned from, uint64_t name)
{
    while (from < in.n && in.at[from].name != name)
        from++;
    return from;
}

/* Both lists are in the order of the key, so what one has in between, the other lacks. Stops at @limit. */
static void compare(struct list_of_parts asked, struct list_of_parts other, bool leaf, unsigned limit,
                    struct recent_nearest *out)
{
    unsigned k = 0;

    for (unsigned i = 0; i < asked.n && out->differ < limit; i++) {
        unsigned same = find_name(other, k, asked.at[i].name);

        out->parts++;
        if (same == other.n) {
            note(out, RECENT_ONLY_ASKED, leaf, i, asked.at[i].name);
            continue;
        }
        for (; k < same; k++, out->parts++)
            note(out, RECENT_ONLY_OTHER, leaf, i, other.at[k].name);
        if (asked.at[i].value != other.at[k].value)
            note(out, RECENT_DIFFERS, leaf, i, asked.at[i].name);
        k++;
    }
    for (; k < other.n && out->differ < limit; k++, out->parts++)
        note(out, RECENT_ONLY_OTHER, leaf, asked.n, other.at[k].name);
}

static void hold_against(const struct trace *t, const struct kept *k, unsigned limit,
                         struct recent_nearest *out)
{
    *out = (struct recent_nearest){.key = k->head.key};
    compare((struct list_of_parts){t->head, t->head_n}, (struct list_of_parts){k->parts, k->head.head_n},
            false, limit, out);
    compare((struct list_of_parts){t->leaves, t->leaves_n},
            (struct list_of_parts){k->parts + k->head.head_n, k->head.leaves_n}, true, limit, out);
}

bool recent_find(struct recent *r, const struct trace *t, enum operation op, int64_t now_ms,
                 struct recent_nearest *out)
{
    struct kept *kept = malloc(sizeof(*kept));
    unsigned best = UINT32_MAX;
    bool more = kept != NULL;

    for (uint64_t back = 0; more && best > 0; back++) {
        struct recent_nearest found;

        if (!copy_out(r, back, op, kept, &more))
            continue;
        hold_against(t, kept, best, &found);
        if (found.differ >= best)
            continue;
        best = found.differ;
        *out = found;
        out->age_ms = now_ms - kept->head.when_ms;
        out->not_stored = kept->head.not_stored;
    }
    free(kept);
    return best < UINT32_MAX;
}

/* -- what alone tells requests apart -- */

static struct list_of_parts head_of(const struct kept *k)
{
    return (struct list_of_parts){k->parts, k->head.head_n};
}

static struct list_of_parts leaves_of(const struct kept *k)
{
    return (struct list_of_parts){k->parts + k->head.head_n, k->head.leaves_n};
}

/* False unless they are the same but for one part that both have; *@out_name is that part's. */
static bool differ_in_one(const struct kept *a, const struct kept *b, uint64_t *out_name)
{
    struct recent_nearest found = {0};

    if (a->head.op != b->head.op)
        return false;
    compare(head_of(a), head_of(b), false, 2, &found);
    compare(leaves_of(a), leaves_of(b), true, 2, &found);
    *out_name = found.at[0].name;
    return found.differ == 1 && found.at[0].how == RECENT_DIFFERS;
}

/* The newest come first. */
static unsigned copy_all(struct recent *r, struct kept *out)
{
    unsigned n = 0;
    bool more = true;

    for (uint64_t back = 0; more && back < RECENT_COMPARED_MAX; back++)
        n += copy_out(r, back, (enum operation)ANY_OPERATION, &out[n], &more);
    return n;
}

static void count_one(const struct kept *all, unsigned n, unsigned at, const uint64_t *names, unsigned *out_n,
                      size_t names_n)
{
    uint64_t seen = 0, name; /* bits by name */

    for (unsigned i = at + 1; i < n; i++) {
        if (!differ_in_one(&all[at], &all[i], &name))
            continue;
        for (size_t k = 0; k < names_n; k++)
            if (names[k] == name && !(seen & UINT64_C(1) << k)) {
                seen |= UINT64_C(1) << k;
                out_n[k]++;
            }
    }
}

unsigned recent_count_lone(struct recent *r, const uint64_t *names, unsigned *out_n, size_t n)
{
    struct kept *all = calloc(RECENT_COMPARED_MAX, sizeof(*all));
    unsigned found = 0;

    assert(n <= 64);
    memset(out_n, 0, n * sizeof(*out_n));
    if (all)
        found = copy_all(r, all);
    for (unsigned i = 0; i < found; i++)
        count_one(all, found, i, names, out_n, n);
    free(all);
    return found;
}
