#include "store_mem_log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ALONE_PART = 8, /* larger than an eighth of a segment lies alone: ends of segments waste little … */
    ALONE_MIN = 16 << 10, /* … but not where rounding it up to pages would waste more */
    SPARES_KEPT = 4,      /* segments kept for the next puts instead of being unmapped and faulted in again */
    PICK_SPAN = 4096,     /* segments looked at in one search for a sparse one */
    HUGE_PAGE = 2 << 20,
};

static void *map_bytes(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/*
 * A record of megabytes begins where a huge page can: it is written at once, and a fault a page would take
 * longer than the copy. Segments that fill slowly do without: hits among a million entries would cost a fifth
 * less, but a put that comes to a new segment was seen to wait 5 ms for its 2 MiB.
 */
static void *map_huge(size_t bytes)
{
    uint8_t *p = map_bytes(bytes + HUGE_PAGE);
    size_t before;

    if (!p)
        return NULL;
    before = -(uintptr_t)p & (HUGE_PAGE - 1);
    if (before > 0)
        (void)munmap(p, before);
    (void)munmap(p + before + bytes, HUGE_PAGE - before);
    (void)madvise(p + before, bytes, MADV_HUGEPAGE); /* a kernel without them does without */
    return p + before;
}

static size_t page_up(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (bytes + page - 1) & ~(page - 1);
}

/* -- lists through segment.next, under the lock -- */

static void push(struct log *l, uint32_t *list, uint32_t seg)
{
    l->segs[seg].next = *list;
    *list = seg;
}

static uint32_t pop(struct log *l, uint32_t *list)
{
    uint32_t seg = *list;

    if (seg != LOG_NONE)
        *list = l->segs[seg].next;
    return seg;
}

/* -- start and end -- */

int log_init(struct log *l, size_t segment_bytes, size_t mapped_max)
{
    size_t alone = segment_bytes / ALONE_PART > ALONE_MIN ? segment_bytes / ALONE_PART : ALONE_MIN;
    size_t cap = mapped_max / segment_bytes + mapped_max / alone + 16;

    memset(l, 0, sizeof(*l));
    assert(segment_bytes / LOG_UNIT <= 1U << LOG_AT_BITS);
    if (cap > 1U << LOG_SEG_BITS)
        return -ENOMEM;
    l->segs = map_bytes(cap * sizeof(*l->segs));
    if (!l->segs)
        return -ENOMEM;
    (void)pthread_mutex_init(&l->lock, NULL);
    l->segs_cap = (uint32_t)cap;
    l->segment_bytes = segment_bytes;
    l->alone_bytes = alone;
    l->mapped_max = mapped_max;
    l->slots = l->spare = l->zombies = LOG_NONE;
    l->dead = LOG_NONE;
    for (size_t i = 0; i < LOG_OPEN; i++)
        l->open[i] = LOG_NONE;
    return 0;
}

void log_done(struct log *l)
{
    if (!l->segs)
        return;
    for (uint32_t i = 0; i < l->segs_n; i++)
        if (l->segs[i].base)
            (void)munmap(l->segs[i].base, l->segs[i].size);
    (void)munmap(l->segs, l->segs_cap * sizeof(*l->segs));
    (void)pthread_mutex_destroy(&l->lock);
    l->segs = NULL;
}

/* -- memory of a segment -- */

static size_t taken(struct log *l)
{
    return atomic_load_explicit(&l->mapped, memory_order_relaxed) +
           atomic_load_explicit(&l->table_bytes, memory_order_relaxed);
}

/* What may still be put to use, spare segments included. */
static size_t room(struct log *l)
{
    size_t busy = taken(l) - l->spare_n * l->segment_bytes;

    return busy < l->mapped_max ? l->mapped_max - busy : 0;
}

/* New records always leave one segment's worth, for without it compaction could not begin. */
static bool has_room(struct log *l, size_t bytes, enum log_use use)
{
    return room(l) >= bytes + (use == LOG_NEW ? l->segment_bytes : 0);
}

size_t log_room(struct log *l)
{
    size_t n;

    (void)pthread_mutex_lock(&l->lock);
    n = room(l);
    (void)pthread_mutex_unlock(&l->lock);
    return n > l->segment_bytes ? n - l->segment_bytes : 0;
}

static void segment_unmap(struct log *l, uint32_t seg)
{
    struct segment *s = &l->segs[seg];

    (void)munmap(s->base, s->size);
    atomic_fetch_sub_explicit(&l->mapped, s->size, memory_order_relaxed);
    s->base = NULL;
    s->state = SEGMENT_NONE;
    push(l, &l->slots, seg);
}

static void spares_unmap(struct log *l, uint32_t keep)
{
    while (l->spare_n > keep) {
        segment_unmap(l, pop(l, &l->spare));
        l->spare_n--;
    }
}

static uint32_t slot_take(struct log *l)
{
    uint32_t seg = pop(l, &l->slots);

    if (seg == LOG_NONE && l->segs_n < l->segs_cap)
        seg = l->segs_n++;
    return seg;
}

static int segment_map(struct log *l, size_t size, uint32_t *out)
{
    uint32_t seg = slot_take(l);
    uint8_t *base;

    if (seg == LOG_NONE)
        return -EAGAIN;
    base = size > l->segment_bytes && size >= HUGE_PAGE ? map_huge(size) : map_bytes(size);
    if (!base) {
        push(l, &l->slots, seg);
        return -ENOMEM;
    }
    atomic_fetch_add_explicit(&l->mapped, size, memory_order_relaxed);
    l->segs[seg].base = base;
    l->segs[seg].size = size;
    *out = seg;
    return 0;
}

static void segment_begin(struct log *l, uint32_t seg, bool alone)
{
    struct segment *s = &l->segs[seg];

    s->used = 0;
    s->alone = alone;
    s->state = SEGMENT_OPEN;
    atomic_store_explicit(&s->live, LOG_HOLD, memory_order_relaxed);
    atomic_store_explicit(&s->pins, 0, memory_order_relaxed);
}

static void segment_close(struct log *l, uint32_t seg)
{
    l->segs[seg].state = SEGMENT_CLOSED;
    log_drop(l, seg, LOG_HOLD);
}

/* -- reserving -- */

static struct place segment_append(struct log *l, uint32_t seg, size_t bytes)
{
    struct segment *s = &l->segs[seg];
    struct place p = {seg, (uint32_t)(s->used / LOG_UNIT)};

    s->used += bytes;
    atomic_fetch_add_explicit(&s->live, bytes, memory_order_relaxed);
    segment_pin(s);
    return p;
}

static size_t open_left(const struct log *l, size_t i)
{
    const struct segment *s = &l->segs[l->open[i]];

    return l->open[i] == LOG_NONE ? 0 : s->size - s->used;
}

static bool append_to_open(struct log *l, size_t bytes, size_t from, size_t to, struct place *out)
{
    for (size_t i = from; i < to; i++) {
        if (open_left(l, i) < bytes)
            continue;
        *out = segment_append(l, l->open[i], bytes);
        return true;
    }
    return false;
}

static int segment_take(struct log *l, enum log_use use, uint32_t *out)
{
    if (!has_room(l, l->segment_bytes, use))
        return -EAGAIN;
    *out = pop(l, &l->spare);
    if (*out == LOG_NONE)
        return segment_map(l, l->segment_bytes, out);
    l->spare_n--;
    return 0;
}

/* The fullest of the open segments gives way to a new one. */
static int open_new(struct log *l, size_t from, size_t to, enum log_use use)
{
    size_t fullest = from;
    uint32_t seg;
    int r = segment_take(l, use, &seg);

    if (r < 0)
        return r;
    for (size_t i = from + 1; i < to; i++)
        if (open_left(l, i) < open_left(l, fullest))
            fullest = i;
    if (l->open[fullest] != LOG_NONE)
        segment_close(l, l->open[fullest]);
    segment_begin(l, seg, false);
    l->open[fullest] = seg;
    return 0;
}

static int reserve_shared(struct log *l, size_t bytes, enum log_use use, struct place *out)
{
    size_t from = use == LOG_NEW ? 0 : LOG_OPEN_NEW;
    size_t to = use == LOG_NEW ? LOG_OPEN_NEW : LOG_OPEN;
    int r;

    if (append_to_open(l, bytes, from, to, out))
        return 0;
    r = open_new(l, from, to, use);
    if (r == -EAGAIN) /* better in the wrong company than not at all */
        return append_to_open(l, bytes, 0, LOG_OPEN, out) ? 0 : r;
    return r < 0 ? r : append_to_open(l, bytes, from, to, out) ? 0 : -EAGAIN;
}

static int reserve_alone(struct log *l, size_t bytes, enum log_use use, struct place *out)
{
    size_t size = page_up(bytes);
    uint32_t seg;
    int r;

    if (!has_room(l, size, use))
        return -EAGAIN;
    while (taken(l) + size > l->mapped_max && l->spare_n > 0)
        spares_unmap(l, l->spare_n - 1);
    r = segment_map(l, size, &seg);
    if (r < 0)
        return r;
    segment_begin(l, seg, true);
    *out = segment_append(l, seg, bytes);
    segment_close(l, seg);
    return 0;
}

/* Every page of it is about to be written: one call costs a third of as many faults. */
static void populate(const struct segment *s)
{
    (void)madvise(s->base, s->size, MADV_POPULATE_WRITE); /* a kernel before 5.14 faults them in one by one */
}

int log_reserve(struct log *l, size_t bytes, enum log_use use, struct place *out)
{
    int r;

    assert(bytes > 0 && bytes % LOG_UNIT == 0);
    (void)pthread_mutex_lock(&l->lock);
    if (bytes > l->alone_bytes)
        r = reserve_alone(l, bytes, use, out);
    else
        r = reserve_shared(l, bytes, use, out);
    (void)pthread_mutex_unlock(&l->lock);
    if (r == 0 && l->segs[out->seg].alone)
        populate(&l->segs[out->seg]);
    return r;
}

/* -- dying -- */

/* Only ever pushed to and taken whole, so a stale head cannot be mistaken for a fresh one. */
static void dead_push(struct log *l, uint32_t seg)
{
    uint32_t head = atomic_load_explicit(&l->dead, memory_order_relaxed);

    do
        l->segs[seg].next = head;
    while (!atomic_compare_exchange_weak_explicit(&l->dead, &head, seg, memory_order_release,
                                                  memory_order_relaxed));
}

void log_drop(struct log *l, uint32_t seg, uint64_t bytes)
{
    uint64_t before = atomic_fetch_sub_explicit(&l->segs[seg].live, bytes, memory_order_acq_rel);

    assert(before >= bytes);
    if (before == bytes)
        dead_push(l, seg);
}

/* Moves what is dead and unpinned from @list to @out_free, the rest stays in zombies. */
static void sort_dead(struct log *l, uint32_t list, uint32_t *out_free)
{
    uint32_t next;

    for (uint32_t seg = list; seg != LOG_NONE; seg = next) {
        struct segment *s = &l->segs[seg];

        next = s->next;
        if (s->state != SEGMENT_DEAD) {
            s->state = SEGMENT_DEAD;
            atomic_fetch_add_explicit(&l->zombie_bytes, s->size, memory_order_relaxed);
        }
        if (atomic_load_explicit(&s->pins, memory_order_acquire) > 0) {
            push(l, &l->zombies, seg);
            continue;
        }
        atomic_fetch_sub_explicit(&l->zombie_bytes, s->size, memory_order_relaxed);
        push(l, out_free, seg);
    }
}

static void keep_spares(struct log *l, uint32_t *free_list)
{
    uint32_t rest = LOG_NONE, seg;

    while ((seg = pop(l, free_list)) != LOG_NONE) {
        if (l->segs[seg].alone || l->spare_n >= SPARES_KEPT) {
            push(l, &rest, seg);
            continue;
        }
        l->segs[seg].state = SEGMENT_SPARE;
        push(l, &l->spare, seg);
        l->spare_n++;
    }
    *free_list = rest;
}

/* Unmapping takes long enough (the kernel frees page by page) to be done without the lock. */
static void unmap_list(struct log *l, uint32_t list)
{
    uint32_t next;

    for (uint32_t seg = list; seg != LOG_NONE; seg = next) {
        struct segment *s = &l->segs[seg];

        next = s->next;
        (void)munmap(s->base, s->size);
        (void)pthread_mutex_lock(&l->lock);
        atomic_fetch_sub_explicit(&l->mapped, s->size, memory_order_relaxed);
        s->base = NULL;
        s->state = SEGMENT_NONE;
        push(l, &l->slots, seg);
        (void)pthread_mutex_unlock(&l->lock);
    }
}

bool log_reap(struct log *l)
{
    uint32_t free_list = LOG_NONE, zombies;
    bool any;

    (void)pthread_mutex_lock(&l->lock);
    zombies = l->zombies;
    l->zombies = LOG_NONE;
    sort_dead(l, zombies, &free_list);
    sort_dead(l, atomic_exchange_explicit(&l->dead, LOG_NONE, memory_order_acquire), &free_list);
    any = free_list != LOG_NONE;
    keep_spares(l, &free_list);
    (void)pthread_mutex_unlock(&l->lock);
    unmap_list(l, free_list);
    return any;
}

static void close_empty(struct log *l)
{
    for (size_t i = 0; i < LOG_OPEN; i++) {
        uint32_t seg = l->open[i];

        if (seg == LOG_NONE || atomic_load_explicit(&l->segs[seg].live, memory_order_relaxed) != LOG_HOLD)
            continue;
        l->open[i] = LOG_NONE;
        segment_close(l, seg);
    }
}

void log_trim(struct log *l)
{
    (void)pthread_mutex_lock(&l->lock);
    close_empty(l);
    (void)pthread_mutex_unlock(&l->lock);
    (void)log_reap(l);
    (void)pthread_mutex_lock(&l->lock);
    spares_unmap(l, 0);
    (void)pthread_mutex_unlock(&l->lock);
}

/* -- choosing what to compact -- */

static bool is_candidate(const struct segment *s)
{
    /* A pinned one would not come free now. Acquire: a writer that has unpinned has finished its bytes. */
    return s->state == SEGMENT_CLOSED && !s->alone &&
           atomic_load_explicit(&s->pins, memory_order_acquire) == 0;
}

static uint32_t sparsest(struct log *l, size_t dead_min)
{
    uint32_t best = LOG_NONE, n = l->segs_n < PICK_SPAN ? l->segs_n : PICK_SPAN;
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t seg = l->pick_at++ % l->segs_n;
        uint64_t live = atomic_load_explicit(&l->segs[seg].live, memory_order_relaxed);

        if (live == 0 || live >= least || !is_candidate(&l->segs[seg]) || live + dead_min > l->segs[seg].used)
            continue;
        best = seg;
        least = live;
    }
    return best;
}

/* A segment that died since it was looked at is on the dead stack, and must not be held. */
static bool hold_if_alive(struct segment *s)
{
    uint64_t live = atomic_load_explicit(&s->live, memory_order_relaxed);

    while (live > 0)
        if (atomic_compare_exchange_weak_explicit(&s->live, &live, live + LOG_HOLD, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return true;
    return false;
}

uint32_t log_pick_sparse(struct log *l, size_t dead_min)
{
    uint32_t seg;

    (void)pthread_mutex_lock(&l->lock);
    seg = sparsest(l, dead_min);
    if (seg != LOG_NONE && !hold_if_alive(&l->segs[seg]))
        seg = LOG_NONE;
    (void)pthread_mutex_unlock(&l->lock);
    return seg;
}
