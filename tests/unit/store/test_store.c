/*
 * store: what is put is found in whatever tier, with what is left of its lifetime; what is odd, late, deleted
 * or invalidated is a miss; and no tier, however it behaves, holds anybody up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/fences.h"
#include "refrain/store/store.h"
#include "scripted_tier.h"

enum {
    WATCHDOG_MS = 20000,
    FLUSH_MS = 20000,
    HOUR_MS = 3600 * 1000,
    QUEUE_BYTES = 1 << 20,
    LARGE = 200 * 1024, /* packed and read on the thread pool */
};

struct world {
    struct loop *loop;
    struct loop_timer *watchdog;
    struct store_mem *memory;
    struct fences *fences;
    struct scripted *disk, *redis;
    struct store *store;
    struct store_port *port;
    int64_t now_ms;
    char *body; /* of what is put next; NULL: a small one */
    size_t body_len;
};

struct setup {
    bool no_memory, one_tier;
    int64_t write_behind_ms;
    size_t queue_bytes; /* 0: QUEUE_BYTES */
    size_t memory_bytes;
};

static void on_watchdog(void *arg)
{
    (void)arg;
    fail_msg("the loop ran for too long");
}

static struct world *world_new(const struct setup *setup)
{
    struct world *w = calloc(1, sizeof(*w));
    struct store_mem_conf memory = {setup->memory_bytes ? setup->memory_bytes : 32 << 20, 0, EVICT_LRU};
    struct store_conf conf = {.write_behind_ms = setup->write_behind_ms,
                              .write_queue_bytes_max = setup->queue_bytes ? setup->queue_bytes : QUEUE_BYTES};

    assert_non_null(w);
    w->now_ms = clock_wall_ms();
    w->loop = loop_new();
    w->watchdog = loop_timer_new(w->loop, on_watchdog, w);
    w->fences = conf.fences = fences_new();
    if (!setup->no_memory)
        w->memory = conf.memory = store_mem_new(&memory);
    conf.lower[conf.lower_n++] = scripted_new("disk", TIER_DISK, &w->disk);
    if (!setup->one_tier)
        conf.lower[conf.lower_n++] = scripted_new("redis", TIER_REDIS, &w->redis);
    w->store = store_new(&conf);
    assert_non_null(w->store);
    w->port = store_port_new(w->store, w->loop, NULL);
    assert_non_null(w->port);
    return w;
}

static void world_free(struct world *w)
{
    store_port_free(w->port);
    store_free(w->store, 0);
    store_mem_free(w->memory);
    fences_free(w->fences);
    loop_timer_free(w->watchdog);
    loop_free(w->loop);
    free(w->body);
    free(w);
}

static struct digest key_of(unsigned n)
{
    char text[16];

    return sha256_of(slice_make(text, (size_t)snprintf(text, sizeof(text), "%u", n)));
}

static struct label label_for(unsigned n)
{
    return (struct label){.key = key_of(n),
                          .namespace_ = SLICE("default"),
                          .operation = SLICE("chat"),
                          .model = SLICE("gpt-4o")};
}

static struct entry_parts parts_for(struct world *w, unsigned n, int64_t seq, struct slice *body)
{
    *body = w->body ? slice_make(w->body, w->body_len) : SLICE_OF("an answer");
    return (struct entry_parts){
        .head = {.key = key_of(n),
                 .id = {"0123456789abcdef0123456789abcdef"},
                 .created_ms = w->now_ms,
                 .expires_ms = w->now_ms + HOUR_MS,
                 .gone_ms = w->now_ms + 2 * HOUR_MS,
                 .started_seq = seq,
                 .status = 200},
        .namespace_ = SLICE("default"),
        .op_name = SLICE("chat"),
        .model = SLICE("gpt-4o"),
        .tags = SLICE("faq"),
        .body = body,
        .body_n = 1,
    };
}

static int put(struct world *w, unsigned n, int64_t seq)
{
    struct slice body;
    struct entry_parts parts = parts_for(w, n, seq, &body);

    return store_put(w->store, &parts, w->now_ms, NULL);
}

static void flush(struct world *w)
{
    assert_true(store_flush(w->store, FLUSH_MS));
}

/* -- asking -- */

struct asking {
    struct store_search search; /* first */
    struct world *world;
    bool done;
};

static void on_done(struct store_search *s)
{
    struct asking *a = (struct asking *)s;

    assert_false(a->done);
    a->done = true;
    loop_stop(a->world->loop);
}

static void ask_begin(struct world *w, unsigned n, struct asking *a)
{
    *a = (struct asking){.search = {.on_done = on_done, .label = label_for(n)}, .world = w};
    store_search(w->port, &a->search);
    assert_false(a->done); /* never within the call */
}

static void ask_end(struct asking *a)
{
    loop_timer_start(a->world->watchdog, WATCHDOG_MS, 0);
    while (!a->done)
        loop_run(a->world->loop);
    loop_timer_stop(a->world->watchdog);
}

/* Which tier has it: -1 none. */
static int ask(struct world *w, unsigned n)
{
    struct asking a;
    int tier;

    ask_begin(w, n, &a);
    ask_end(&a);
    tier = a.search.found.entry ? (int)a.search.found.tier : -1;
    entry_ref_release(&a.search.found);
    return tier;
}

static bool memory_has(struct world *w, unsigned n)
{
    struct digest key = key_of(n);
    struct entry_ref ref;

    if (!store_mem_peek(w->memory, &key, clock_wall_ms(), &ref))
        return false;
    entry_ref_release(&ref);
    return true;
}

static void forget(struct world *w, unsigned n)
{
    struct digest key = key_of(n);

    assert_true(store_mem_delete(w->memory, &key));
}

static bool lies_in(struct scripted *s, unsigned n)
{
    struct digest key = key_of(n);
    struct blob *b = scripted_peek(s, &key);

    blob_unref(b);
    return b != NULL;
}

static struct store_stats stats_of(struct world *w)
{
    struct store_stats st;

    store_stats(w->store, &st);
    return st;
}

/* -- put and found -- */

static void what_is_put_lies_in_every_tier(void **state)
{
    static const size_t sizes[] = {0, LARGE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct world *w = world_new(&(struct setup){0});

        w->body_len = sizes[i];
        w->body = sizes[i] ? calloc(1, sizes[i]) : NULL;
        assert_int_equal(put(w, 1, 10), 0);
        assert_true(memory_has(w, 1));
        flush(w);
        assert_true(lies_in(w->disk, 1));
        assert_true(lies_in(w->redis, 1));
        forget(w, 1);
        assert_int_equal(ask(w, 1), TIER_DISK);
        assert_true(memory_has(w, 1));
        assert_int_equal(stats_of(w).promoted, 1);
        world_free(w);
    }
}

static void what_lies_low_is_promoted_with_what_is_left_of_its_lifetime(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    struct digest key = key_of(1);
    struct scripted_counts counts;
    struct entry_ref ref;
    struct blob *b;

    (void)state;
    assert_int_equal(put(w, 1, 10), 0);
    flush(w);
    b = scripted_peek(w->redis, &key);
    forget(w, 1);
    store_delete(w->store, &(struct label){.key = key_of(1)});
    flush(w);
    scripted_plant(w->redis, &key, b);
    assert_int_equal(ask(w, 1), TIER_REDIS);
    flush(w);
    assert_true(lies_in(w->disk, 1)); /* the same bytes */
    assert_true(store_mem_peek(w->memory, &key, clock_wall_ms(), &ref));
    assert_int_equal(ref.expires_ms, w->now_ms + HOUR_MS);
    assert_int_equal(ref.entry->gone_ms, w->now_ms + 2 * HOUR_MS);
    entry_ref_release(&ref);
    forget(w, 1);
    scripted_counts(w->redis, &counts);
    assert_int_equal(ask(w, 1), TIER_DISK);
    scripted_counts(w->redis, &counts);
    assert_int_equal(counts.gets, 1); /* the one before: who is below need not be asked */
    blob_unref(b);
    world_free(w);
}

static void younger_in_memory_stays(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    struct digest key = key_of(1);
    struct asking a;
    struct entry_ref ref;

    (void)state;
    assert_int_equal(put(w, 1, 10), 0);
    flush(w);
    forget(w, 1);
    scripted_hold(w->disk);
    ask_begin(w, 1, &a);
    assert_int_equal(put(w, 1, 20), 0);
    scripted_let_go(w->disk);
    ask_end(&a);
    entry_ref_release(&a.search.found);
    assert_true(store_mem_peek(w->memory, &key, clock_wall_ms(), &ref));
    assert_int_equal(ref.entry->started_seq, 20);
    entry_ref_release(&ref);
    world_free(w);
}

static void memory_may_be_off(void **state)
{
    struct world *w = world_new(&(struct setup){.no_memory = true});

    (void)state;
    scripted_hold(w->disk);
    assert_int_equal(put(w, 1, 10), 0);
    assert_int_equal(ask(w, 1), TIER_DISK); /* it is on its way */
    scripted_let_go(w->disk);
    flush(w);
    assert_int_equal(ask(w, 1), TIER_DISK);
    world_free(w);
}

static void what_memory_has_no_room_for_is_kept_below(void **state)
{
    struct world *w = world_new(&(struct setup){.memory_bytes = 4 << 20, .queue_bytes = 64 << 20});

    (void)state;
    w->body_len = 3 << 20;
    w->body = calloc(1, w->body_len);
    assert_int_equal(put(w, 1, 10), 0);
    assert_false(memory_has(w, 1));
    flush(w);
    assert_int_equal(ask(w, 1), TIER_DISK);
    assert_false(memory_has(w, 1));
    world_free(w);
}

static void only_looking_changes_nothing(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    struct asking a = {.search = {.on_done = on_done, .label = label_for(1), .look_only = true}, .world = w};

    (void)state;
    assert_int_equal(put(w, 1, 10), 0);
    flush(w);
    forget(w, 1);
    store_search(w->port, &a.search);
    ask_end(&a);
    assert_non_null(a.search.found.entry);
    entry_ref_release(&a.search.found);
    assert_false(memory_has(w, 1));
    world_free(w);
}

static void a_hit_that_slides_is_told_below(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    struct digest key = key_of(1);
    struct slice body;
    struct entry_parts parts = parts_for(w, 1, 10, &body);
    struct entry_ref ref;
    struct asking a;

    (void)state;
    parts.head.sliding_ms = HOUR_MS;
    parts.head.max_expires_ms = w->now_ms + 10 * HOUR_MS;
    assert_int_equal(store_put(w->store, &parts, w->now_ms, NULL), 0);
    flush(w);
    assert_true(store_mem_get(w->memory, &key, w->now_ms + 1, &ref));
    entry_ref_release(&ref); /* perhaps the end of a tenth, perhaps not */
    assert_true(store_mem_get(w->memory, &key, w->now_ms + HOUR_MS / 2, &ref));
    assert_true(ref.slid_far);
    store_extend(w->store, &ref);
    entry_ref_release(&ref);
    flush(w);
    forget(w, 1);
    ask_begin(w, 1, &a);
    ask_end(&a);
    assert_int_equal(a.search.found.expires_ms, w->now_ms + HOUR_MS / 2 + HOUR_MS);
    assert_int_equal(a.search.found.entry->max_expires_ms, w->now_ms + 10 * HOUR_MS);
    assert_int_equal(a.search.found.entry->gone_ms, w->now_ms + HOUR_MS / 2 + 2 * HOUR_MS);
    entry_ref_release(&a.search.found);
    world_free(w);
}

static void a_tenth_of_the_lifetime_is_told_once(void **state)
{
    struct entry e = {.sliding_ms = HOUR_MS, .max_expires_ms = INT64_MAX};
    int64_t expires = 1000 * (int64_t)HOUR_MS, told = 0;

    (void)state;
    for (int64_t now = expires - HOUR_MS + 1, end = now + HOUR_MS; now < end; now += 1000) {
        int64_t to = entry_slid_expires_ms(&e, expires, now);

        told += entry_slid_far(&e, expires, to);
        expires = to;
    }
    assert_in_range(told, 9, 10); /* in one lifetime, however many hits */
}

/* -- what is odd -- */

static struct blob *blob_of(const void *bytes, size_t len)
{
    struct blob *b = blob_new(len);

    memcpy(b->bytes, bytes, len);
    return b;
}

static void what_is_odd_is_deleted_counted_and_a_miss(void **state)
{
    enum { JUNK, EMPTY, CUT, FLIPPED, SOMEBODY_ELSES };
    static const struct {
        const char *why;
        int how;
    } cases[] = {
        {"bytes that are no record", JUNK},
        {"nothing at all", EMPTY},
        {"half a record", CUT},
        {"a bit that is another", FLIPPED},
        {"another key's record", SOMEBODY_ELSES},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world *w = world_new(&(struct setup){0});
        struct digest one = key_of(1), two = key_of(2);
        struct blob *good, *bad;

        assert_int_equal(put(w, 1, 10), 0);
        assert_int_equal(put(w, 2, 11), 0);
        flush(w);
        good = scripted_peek(w->disk, cases[i].how == SOMEBODY_ELSES ? &two : &one);
        bad = cases[i].how == JUNK    ? blob_of("{\"pickle\": true}", 16)
              : cases[i].how == EMPTY ? blob_of("", 0)
              : cases[i].how == CUT   ? blob_of(good->bytes, good->len / 2)
                                      : blob_of(good->bytes, good->len);
        if (cases[i].how == FLIPPED)
            bad->bytes[bad->len - 3] ^= 4;
        scripted_plant(w->disk, &one, bad);
        forget(w, 1);
        if (ask(w, 1) != TIER_REDIS) /* which has the good one */
            fail_msg("%s: not found further down", cases[i].why);
        flush(w);
        if (stats_of(w).corrupt != 1)
            fail_msg("%s: not counted", cases[i].why);
        forget(w, 1);
        if (ask(w, 1) == -1)
            fail_msg("%s: what is good is gone, too", cases[i].why);
        blob_unref(good);
        blob_unref(bad);
        world_free(w);
    }
}

static void only_the_odd_bytes_are_deleted(void **state)
{
    struct world *w = world_new(&(struct setup){.one_tier = true});
    struct digest key = key_of(1);
    struct blob *good, *bad = blob_of("rubbish", 7);
    struct asking a;

    (void)state;
    assert_int_equal(put(w, 1, 10), 0);
    flush(w);
    good = scripted_peek(w->disk, &key);
    forget(w, 1);
    scripted_plant(w->disk, &key, bad);
    ask_begin(w, 1, &a);
    ask_end(&a);
    assert_null(a.search.found.entry);
    scripted_plant(w->disk, &key, good); /* somebody else has written it meanwhile */
    flush(w);
    assert_int_equal(ask(w, 1), lies_in(w->disk, 1) ? TIER_DISK : -1);
    blob_unref(good);
    blob_unref(bad);
    world_free(w);
}

static void what_is_gone_is_a_miss(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    struct slice body;
    struct entry_parts parts = parts_for(w, 1, 10, &body);

    (void)state;
    parts.head.created_ms -= 10 * HOUR_MS;
    parts.head.expires_ms = parts.head.gone_ms = w->now_ms - 1;
    assert_int_equal(store_put(w->store, &parts, w->now_ms - 5 * HOUR_MS, NULL), 0);
    assert_int_equal(ask(w, 1), -1);
    flush(w);
    assert_int_equal(ask(w, 1), -1);
    assert_int_equal(stats_of(w).corrupt, 0);
    world_free(w);
}

static void a_tier_that_fails_is_passed_over(void **state)
{
    static const enum tier_result results[] = {TIER_LATE,    TIER_BUSY,   TIER_DOWN,  TIER_FULL,
                                               TIER_REFUSED, TIER_FAILED, TIER_ABSENT};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        struct world *w = world_new(&(struct setup){0});

        assert_int_equal(put(w, 1, 10), 0);
        flush(w);
        forget(w, 1);
        scripted_answers(w->disk, results[i]);
        assert_int_equal(ask(w, 1), TIER_REDIS);
        forget(w, 1);
        scripted_answers(w->redis, results[i]);
        assert_int_equal(ask(w, 1), -1);
        assert_int_equal(put(w, 2, 11), 0); /* nobody hears of it */
        flush(w);
        assert_true(stats_of(w).dropped >= 1 || results[i] == TIER_ABSENT);
        world_free(w);
    }
}

/* -- deleted, invalidated -- */

static void what_is_deleted_is_not_found_again(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    struct label label = label_for(1);

    (void)state;
    assert_int_equal(put(w, 1, 10), 0);
    flush(w);
    scripted_hold(w->disk);
    store_delete(w->store, &label);
    assert_false(memory_has(w, 1));
    assert_int_equal(ask(w, 1), -1); /* though it lies there still */
    assert_true(lies_in(w->disk, 1));
    scripted_let_go(w->disk);
    flush(w);
    assert_false(lies_in(w->disk, 1));
    assert_false(lies_in(w->redis, 1));
    world_free(w);
}

static void a_search_under_way_does_not_bring_back_what_is_deleted(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    struct label label = label_for(1);
    struct asking a;

    (void)state;
    assert_int_equal(put(w, 1, 10), 0);
    flush(w);
    forget(w, 1);
    scripted_hold(w->disk);
    ask_begin(w, 1, &a);
    scripted_wait_held(w->disk, 1);
    store_delete(w->store, &label);
    scripted_let_go(w->disk);
    ask_end(&a);
    assert_null(a.search.found.entry);
    assert_false(memory_has(w, 1));
    world_free(w);
}

/* Another instance has stored it, whose clock is ahead. */
static void what_was_being_read_when_it_was_invalidated_is_refused(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    const struct selector faq = {.tag = SLICE("faq")}, other = {.tag = SLICE("other")};
    struct asking a;

    (void)state;
    fences_add(w->fences, &faq, 5);
    assert_int_equal(put(w, 1, 1000), 0);
    flush(w);
    forget(w, 1);
    scripted_hold(w->disk);
    ask_begin(w, 1, &a);
    scripted_wait_held(w->disk, 1);
    fences_add(w->fences, &faq, 20);
    scripted_let_go(w->disk);
    ask_end(&a);
    assert_null(a.search.found.entry);
    assert_false(memory_has(w, 1));
    assert_true(lies_in(w->disk, 1)); /* which whoever was told deletes */
    scripted_hold(w->disk);
    ask_begin(w, 1, &a);
    scripted_wait_held(w->disk, 1);
    fences_add(w->fences, &other, 30);
    scripted_let_go(w->disk);
    ask_end(&a);
    assert_non_null(a.search.found.entry); /* another was meant */
    entry_ref_release(&a.search.found);
    world_free(w);
}

static void what_began_before_an_invalidation_is_refused(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    const struct selector faq = {.tag = SLICE("faq")};
    struct asking a;

    (void)state;
    assert_int_equal(put(w, 1, 10), 0);
    flush(w);
    forget(w, 1);
    scripted_hold(w->disk);
    ask_begin(w, 1, &a);
    assert_int_equal(put(w, 2, 12), 0);
    scripted_wait_held(w->disk, 2);
    fences_add(w->fences, &faq, 20);
    scripted_let_go(w->disk);
    ask_end(&a);
    assert_null(a.search.found.entry); /* found, but from before */
    assert_false(memory_has(w, 1));
    assert_int_equal(put(w, 3, 15), -ECANCELED);
    assert_false(memory_has(w, 3));
    flush(w);
    assert_false(lies_in(w->disk, 1));
    assert_false(lies_in(w->disk, 2)); /* it was on its way */
    assert_false(lies_in(w->redis, 3));
    assert_int_equal(put(w, 4, 21), 0); /* began after it */
    flush(w);
    assert_true(lies_in(w->disk, 4));
    world_free(w);
}

/* -- the write queue -- */

static void a_full_queue_drops_and_counts(void **state)
{
    struct world *w = world_new(&(struct setup){.queue_bytes = 64 * 1024});
    struct store_stats st;

    (void)state;
    w->body_len = 10 * 1024;
    w->body = calloc(1, w->body_len);
    scripted_hold(w->disk);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(put(w, i, 10 + i), 0); /* nobody waits, and memory has it */
    st = stats_of(w);
    assert_in_range(st.queue_bytes, 1, 64 * 1024);
    assert_in_range(st.dropped, 10, 19);
    assert_int_equal(st.queue_entries + st.dropped, 20);
    scripted_let_go(w->disk);
    flush(w);
    st = stats_of(w);
    assert_int_equal(st.queue_bytes, 0);
    assert_int_equal(st.queue_entries, 0);
    for (unsigned i = 0; i < 20; i++)
        assert_true(memory_has(w, i));
    world_free(w);
}

static void of_one_key_the_last_word_is_written(void **state)
{
    struct world *w = world_new(&(struct setup){.one_tier = true});
    struct scripted_counts counts;
    struct label label = label_for(1);
    struct asking a;

    (void)state;
    scripted_hold(w->disk);
    assert_int_equal(put(w, 1, 10), 0);
    scripted_wait_held(w->disk, 1);
    for (int64_t seq = 11; seq < 50; seq++)
        assert_int_equal(put(w, 1, seq), 0);
    assert_int_equal(stats_of(w).queue_entries, 2); /* one under way, one waits */
    ask_begin(w, 1, &a);
    ask_end(&a);
    assert_int_equal(a.search.found.entry->started_seq, 49);
    entry_ref_release(&a.search.found);
    scripted_let_go(w->disk);
    flush(w);
    scripted_counts(w->disk, &counts);
    assert_int_equal(counts.stored, 2);
    forget(w, 1);
    ask_begin(w, 1, &a);
    ask_end(&a);
    assert_int_equal(a.search.found.entry->started_seq, 49);
    entry_ref_release(&a.search.found);
    scripted_hold(w->disk);
    assert_int_equal(put(w, 1, 60), 0);
    scripted_wait_held(w->disk, 1);
    store_delete(w->store, &label);
    scripted_let_go(w->disk);
    flush(w);
    assert_false(lies_in(w->disk, 1)); /* deleted after it was written, not before */
    world_free(w);
}

static void wait_gone(struct scripted *s, unsigned n)
{
    int64_t until_ms = clock_mono_ms() + WATCHDOG_MS;

    while (lies_in(s, n)) {
        assert_true(clock_mono_ms() < until_ms);
        (void)nanosleep(&(struct timespec){0, 1000 * 1000}, NULL);
    }
}

static void a_deletion_that_a_tier_could_not_make_is_made_later(void **state)
{
    struct world *w = world_new(&(struct setup){.one_tier = true});
    struct label label = label_for(1);

    (void)state;
    assert_int_equal(put(w, 1, 10), 0);
    flush(w);
    scripted_answers(w->disk, TIER_DOWN);
    store_delete(w->store, &label);
    flush(w);
    assert_true(lies_in(w->disk, 1));
    assert_int_equal(ask(w, 1), -1);
    scripted_answers(w->disk, TIER_OK); /* it is back, and has it still */
    assert_int_equal(ask(w, 1), -1);
    wait_gone(w->disk, 1);
    assert_int_equal(put(w, 1, clock_wall_ms() * 2000), 0);
    flush(w);
    forget(w, 1);
    assert_int_equal(ask(w, 1), TIER_DISK); /* what is new is found */
    world_free(w);
}

static void who_writes_behind_writes_the_last_alone(void **state)
{
    struct world *w = world_new(&(struct setup){.write_behind_ms = 3600 * 1000, .one_tier = true});
    struct scripted_counts counts;

    (void)state;
    for (int64_t seq = 10; seq < 50; seq++)
        assert_int_equal(put(w, 1, seq), 0);
    scripted_counts(w->disk, &counts);
    assert_int_equal(counts.puts, 0);
    forget(w, 1);
    assert_int_equal(ask(w, 1), TIER_DISK); /* as good as there */
    flush(w);
    scripted_counts(w->disk, &counts);
    assert_int_equal(counts.puts, 1);
    world_free(w);
}

static void what_was_deleted_does_not_outlive_an_older_answer(void **state)
{
    struct world *w = world_new(&(struct setup){.write_behind_ms = 3600 * 1000, .one_tier = true});
    struct label label = label_for(1);
    struct asking a;

    (void)state;
    assert_int_equal(put(w, 1, 20), 0);
    flush(w);
    store_delete(w->store, &label);
    assert_int_equal(put(w, 1, 10), 0); /* begun before, ended after */
    assert_int_equal(put(w, 1, 11), 0);
    flush(w);
    forget(w, 1);
    ask_begin(w, 1, &a);
    ask_end(&a);
    assert_int_equal(a.search.found.entry->started_seq, 11);
    entry_ref_release(&a.search.found);
    world_free(w);
}

/* A tier goes with its store, so another one tells what it was asked. */
static atomic_uint stored_at_end;

static void (*scripted_put)(struct tier_port *p, struct tier_put *put);

static void put_counted(struct tier_port *p, struct tier_put *put)
{
    atomic_fetch_add(&stored_at_end, 1);
    scripted_put(p, put);
}

static void the_end_writes_what_waits(void **state)
{
    struct world *w = world_new(&(struct setup){.write_behind_ms = 3600 * 1000, .one_tier = true});
    struct tier *t = store_lower(w->store, 0);
    struct tier_ops ops = *t->ops;

    (void)state;
    scripted_put = ops.put;
    ops.put = put_counted;
    t->ops = &ops;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(put(w, i, 10 + i), 0);
    assert_int_equal(atomic_load(&stored_at_end), 0);
    store_port_free(w->port);
    store_free(w->store, FLUSH_MS);
    assert_int_equal(atomic_load(&stored_at_end), 100);
    w->port = NULL;
    w->store = NULL;
    world_free(w);
}

static void a_tier_that_hangs_does_not_hold_up_the_end(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    int64_t before = clock_mono_ms();

    (void)state;
    scripted_hold(w->disk);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(put(w, i, 10 + i), 0);
    store_port_free(w->port);
    store_free(w->store, 50);
    assert_in_range(clock_mono_ms() - before, 0, 5000);
    w->port = NULL;
    w->store = NULL;
    world_free(w);
}

static void the_older_of_two_does_not_replace_the_younger(void **state)
{
    struct world *w = world_new(&(struct setup){.no_memory = true, .one_tier = true});
    struct asking a;

    (void)state;
    scripted_hold(w->disk);
    assert_int_equal(put(w, 1, 20), 0);
    assert_int_equal(put(w, 1, 10), 0);
    scripted_let_go(w->disk);
    flush(w);
    ask_begin(w, 1, &a);
    ask_end(&a);
    assert_int_equal(a.search.found.entry->started_seq, 20);
    entry_ref_release(&a.search.found);
    world_free(w);
}

/* -- tiers that are down -- */

static void a_tier_that_is_down_is_asked_though_nobody_asks(void **state)
{
    struct world *w = world_new(&(struct setup){0});

    (void)state;
    scripted_hold(w->redis);
    scripted_is(w->redis, TIER_IS_DOWN);
    scripted_wait_held(w->redis, 1);
    scripted_is(w->redis, TIER_UP);
    scripted_let_go(w->redis);
    world_free(w);
}

/* -- ends in the middle -- */

static void a_search_can_be_given_up(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    struct asking a, b;

    (void)state;
    w->body_len = LARGE;
    w->body = calloc(1, w->body_len);
    assert_int_equal(put(w, 1, 10), 0);
    flush(w);
    forget(w, 1);
    scripted_hold(w->disk);
    ask_begin(w, 1, &a);
    store_search_cancel(&a.search);
    store_search_cancel(&a.search);
    ask_begin(w, 2, &b);
    scripted_let_go(w->disk);
    ask_end(&b);
    assert_false(a.done);
    world_free(w);
}

static void ports_close_with_searches_under_way(void **state)
{
    struct world *w = world_new(&(struct setup){0});
    struct asking a[3];

    (void)state;
    w->body_len = LARGE;
    w->body = calloc(1, w->body_len);
    assert_int_equal(put(w, 2, 10), 0);
    flush(w);
    forget(w, 2);
    scripted_hold(w->disk);
    for (unsigned i = 0; i < ARRAY_LEN(a); i++)
        ask_begin(w, i, &a[i]);
    store_port_free(w->port);
    w->port = NULL;
    for (unsigned i = 0; i < ARRAY_LEN(a); i++) {
        assert_true(a[i].done);
        assert_null(a[i].search.found.entry);
    }
    world_free(w);
}

static void without_lower_tiers_memory_is_all(void **state)
{
    struct store_mem_conf memory = {32 << 20, 0, EVICT_LRU};
    struct world w = {.now_ms = clock_wall_ms(), .memory = store_mem_new(&memory)};
    struct store_conf conf = {.memory = w.memory};
    struct label label = label_for(1);
    struct store_stats st;

    (void)state;
    w.store = store_new(&conf);
    assert_false(store_has_lower(w.store));
    assert_true(store_keeps(w.store));
    assert_null(store_loop(w.store));
    assert_int_equal(put(&w, 1, 10), 0);
    assert_int_equal(put(&w, 1, 9), -EEXIST);
    store_delete(w.store, &label);
    assert_false(memory_has(&w, 1));
    store_stats(w.store, &st);
    assert_true(store_flush(w.store, 0));
    store_free(w.store, 0);
    store_mem_free(w.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_lies_in_every_tier),
        cmocka_unit_test(what_lies_low_is_promoted_with_what_is_left_of_its_lifetime),
        cmocka_unit_test(younger_in_memory_stays),
        cmocka_unit_test(memory_may_be_off),
        cmocka_unit_test(what_memory_has_no_room_for_is_kept_below),
        cmocka_unit_test(only_looking_changes_nothing),
        cmocka_unit_test(a_hit_that_slides_is_told_below),
        cmocka_unit_test(a_tenth_of_the_lifetime_is_told_once),
        cmocka_unit_test(what_is_odd_is_deleted_counted_and_a_miss),
        cmocka_unit_test(only_the_odd_bytes_are_deleted),
        cmocka_unit_test(what_is_gone_is_a_miss),
        cmocka_unit_test(a_tier_that_fails_is_passed_over),
        cmocka_unit_test(what_is_deleted_is_not_found_again),
        cmocka_unit_test(a_search_under_way_does_not_bring_back_what_is_deleted),
        cmocka_unit_test(what_was_being_read_when_it_was_invalidated_is_refused),
        cmocka_unit_test(what_began_before_an_invalidation_is_refused),
        cmocka_unit_test(a_full_queue_drops_and_counts),
        cmocka_unit_test(of_one_key_the_last_word_is_written),
        cmocka_unit_test(a_deletion_that_a_tier_could_not_make_is_made_later),
        cmocka_unit_test(who_writes_behind_writes_the_last_alone),
        cmocka_unit_test(what_was_deleted_does_not_outlive_an_older_answer),
        cmocka_unit_test(the_end_writes_what_waits),
        cmocka_unit_test(a_tier_that_hangs_does_not_hold_up_the_end),
        cmocka_unit_test(the_older_of_two_does_not_replace_the_younger),
        cmocka_unit_test(a_tier_that_is_down_is_asked_though_nobody_asks),
        cmocka_unit_test(a_search_can_be_given_up),
        cmocka_unit_test(ports_close_with_searches_under_way),
        cmocka_unit_test(without_lower_tiers_memory_is_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
