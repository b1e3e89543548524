/*
 * A set-associative table: a tag names a set of 8 ways, and lives in any of them. One cache line of a set
 * holds what is looked through, a line a way holds the rest: a look-up reads two lines, a set is 9. The
 * oldest way makes room.
 */
#include "refrain/http/memo.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "refrain/base/attr.h"

enum {
    WAYS = 8,
    PAGE_BYTES = 4096,   /* the least a page can be: larger ones count several times, never too little */
    GATHER_BYTES = 4096, /* headers and a small body: one sum in all */
    DIRECT_BYTES = 2048, /* a longer part is not worth a copy */
};

struct way {
    struct gmac_tag tag;
    struct memo_value value;
};

struct set {
    uint32_t mark[WAYS]; /* part of the tag */
    uint32_t used[WAYS]; /* when, by memo.now; 0: empty */
    struct way ways[WAYS];
};

_Static_assert(sizeof(struct way) == 64 && sizeof(struct set) == (size_t)9 * 64, "lines of a cache");

struct memo {
    struct set *sets; /* mapped: zero, and not there, until written to */
    size_t sets_n;
    uint32_t
        now; /* a use is a tick; never 0. Wraps: who then looks younger than he is stays longer, no harm */
    size_t pages_touched;
    uint8_t *touched; /* a bit a page */
};

static size_t memo_span(const struct memo *m)
{
    return m->sets_n * sizeof(struct set);
}

static size_t touched_bytes(const struct memo *m)
{
    return memo_span(m) / PAGE_BYTES / 8 + 1;
}

struct memo *memo_new(size_t bytes_max)
{
    struct memo *m = calloc(1, sizeof(*m));
    void *map;

    if (!m)
        return NULL;
    m->now = 1;
    m->sets_n = bytes_max > sizeof(struct set) ? bytes_max / sizeof(struct set) : 1;
    m->touched = calloc(touched_bytes(m), 1);
    map =
        mmap(NULL, memo_span(m), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    m->sets = map == MAP_FAILED ? NULL : map;
    if (!m->touched || !m->sets) {
        memo_free(m);
        return NULL;
    }
    (void)madvise(map, memo_span(m), MADV_NOHUGEPAGE); /* a hint: a huge page would be held for one entry */
    return m;
}

void memo_free(struct memo *m)
{
    if (!m)
        return;
    if (m->sets)
        (void)munmap(m->sets, memo_span(m));
    free(m->touched);
    free(m);
}

/* Multiplying spreads any number of sets evenly, without a division. */
static struct set *set_of(const struct memo *m, const struct gmac_tag *tag)
{
    return &m->sets[(size_t)(((unsigned __int128)tag->half[1] * m->sets_n) >> 64)];
}

static uint32_t mark_of(const struct gmac_tag *tag)
{
    return (uint32_t)tag->half[0];
}

static bool tag_eq(const struct gmac_tag *a, const struct gmac_tag *b)
{
    return a->half[0] == b->half[0] && a->half[1] == b->half[1];
}

static uint32_t tick(struct memo *m)
{
    m->now += m->now == UINT32_MAX ? 2 : 1;
    return m->now;
}

/* The way that holds @tag, or -1. */
static int way_of(const struct set *s, const struct gmac_tag *tag)
{
    uint32_t mark = mark_of(tag);

    for (int i = 0; i < WAYS; i++)
        if (s->mark[i] == mark && s->used[i] != 0 && tag_eq(&s->ways[i].tag, tag))
            return i;
    return -1;
}

const struct memo_value *memo_get(struct memo *m, const struct gmac_tag *tag)
{
    struct set *s = set_of(m, tag);
    int way = way_of(s, tag);

    if (way < 0)
        return NULL;
    s->used[way] = tick(m);
    return &s->ways[way].value;
}

/* An empty way if there is one, else the one whose last use is longest ago. */
static int oldest_way(const struct memo *m, const struct set *s)
{
    int oldest = 0;

    for (int i = 0; i < WAYS; i++) {
        if (s->used[i] == 0)
            return i;
        if (m->now - s->used[i] > m->now - s->used[oldest])
            oldest = i;
    }
    return oldest;
}

static void touch(struct memo *m, const void *at)
{
    size_t page = (size_t)((const char *)at - (const char *)m->sets) / PAGE_BYTES;
    uint8_t bit = (uint8_t)(1U << (page % 8));

    if (m->touched[page / 8] & bit)
        return;
    m->touched[page / 8] |= bit;
    m->pages_touched++;
}

void memo_put(struct memo *m, const struct gmac_tag *tag, const struct memo_value *value)
{
    struct set *s = set_of(m, tag);
    int way = way_of(s, tag);

    if (way < 0)
        way = oldest_way(m, s);
    touch(m, s);
    touch(m, &s->ways[way]);
    s->mark[way] = mark_of(tag);
    s->used[way] = tick(m);
    s->ways[way].tag = *tag;
    s->ways[way].value = *value;
}

void memo_clear(struct memo *m)
{
    if (madvise(m->sets, memo_span(m), MADV_DONTNEED) != 0)
        memset(m->sets, 0, memo_span(m)); /* locked memory can't be given back */
    memset(m->touched, 0, touched_bytes(m));
    m->pages_touched = 0;
}

size_t memo_bytes(const struct memo *m)
{
    return m->pages_touched * PAGE_BYTES;
}

/* ---- tags ---- */

struct memo_hasher {
    struct gmac *gmac;
    bool begun; /* what did not fit with the rest is summed already */
    size_t gathered;
    char gather[GATHER_BYTES];
};

struct memo_hasher *memo_hasher_new(const uint8_t key[16])
{
    struct memo_hasher *h = calloc(1, sizeof(*h));

    if (!h)
        abort();
    h->gmac = gmac_new(key);
    return h;
}

void memo_hasher_free(struct memo_hasher *h)
{
    if (!h)
        return;
    gmac_free(h->gmac);
    free(h);
}

static void flush(struct memo_hasher *h)
{
    if (!h->begun)
        gmac_begin(h->gmac);
    h->begun = true;
    gmac_add(h->gmac, slice_make(h->gather, h->gathered));
    h->gathered = 0;
}

void memo_hash_begin(struct memo_hasher *h)
{
    h->begun = false;
    h->gathered = 0;
}

/* Names and values are mostly this short; two copies that may overlap beat a call. */
static inline void copy_short(char *to, const char *from, size_t len)
{
    uint64_t first, last;

    if (len >= 8 && len <= 16) {
        memcpy(&first, from, 8);
        memcpy(&last, from + len - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + len - 8, &last, 8);
    } else if (len > 0) {
        memcpy(to, from, len);
    }
}

void memo_hash_add(struct memo_hasher *h, struct slice part)
{
    uint64_t len = part.len;
    bool direct = part.len > DIRECT_BYTES;

    if (GATHER_BYTES - h->gathered < sizeof(len) + (direct ? 0 : part.len))
        flush(h);
    memcpy(h->gather + h->gathered, &len, sizeof(len));
    h->gathered += sizeof(len);
    if (direct) {
        flush(h);
        gmac_add(h->gmac, part);
    } else {
        copy_short(h->gather + h->gathered, part.data, part.len);
        h->gathered += part.len;
    }
}

void memo_hash_add_fields(struct memo_hasher *h, const struct fields *fields, const struct key_scope *scope)
{
    uint64_t n = 0;

    for (size_t i = 0; i < fields->n; i++) {
        if (!key_reads_field(scope, &fields->at[i]))
            continue;
        memo_hash_add(h, fields->at[i].name);
        memo_hash_add(h, fields->at[i].value);
        n++;
    }
    memo_hash_add(h, slice_make(&n, sizeof(n))); /* where they end */
}

struct gmac_tag memo_hash_end(struct memo_hasher *h)
{
    if (!h->begun)
        return gmac_of(h->gmac, slice_make(h->gather, h->gathered));
    flush(h);
    return gmac_end(h->gmac);
}
