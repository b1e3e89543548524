#include "popular.h"

#include <stdlib.h>

#include "refrain/store/store_mem.h"

/* While it is being found, a heap: at [0] is the least popular of those that have a place. */

static void swap(struct popular_entry *a, struct popular_entry *b)
{
    struct popular_entry was = *a;

    *a = *b;
    *b = was;
}

static void sink(struct popular *p)
{
    size_t at = 0, child;

    while ((child = 2 * at + 1) < p->n) {
        if (child + 1 < p->n && p->at[child + 1].hits < p->at[child].hits)
            child++;
        if (p->at[at].hits <= p->at[child].hits)
            return;
        swap(&p->at[at], &p->at[child]);
        at = child;
    }
}

static void rise(struct popular *p, size_t at)
{
    while (at > 0 && p->at[at].hits < p->at[(at - 1) / 2].hits) {
        swap(&p->at[at], &p->at[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void see(void *arg, const struct store_mem_seen *seen)
{
    struct popular *p = arg;
    struct popular_entry one = {seen->hits, seen->entry->key};

    if (seen->hits == 0 || seen->entry->flags & ENTRY_VARY)
        return;
    if (p->n < p->max) {
        p->at[p->n] = one;
        rise(p, p->n++);
    } else if (one.hits > p->at[0].hits) {
        p->at[0] = one;
        sink(p);
    }
}

static int by_hits(const void *a, const void *b)
{
    uint64_t x = ((const struct popular_entry *)a)->hits, y = ((const struct popular_entry *)b)->hits;

    return (x < y) - (x > y);
}

void popular_find(struct popular *p, struct store_mem *memory)
{
    struct store_mem_walk walk = {0};

    p->n = 0;
    while (memory && p->max > 0 && store_mem_walk(memory, &walk, see, p))
        ;
    qsort(p->at, p->n, sizeof(p->at[0]), by_hits);
}
