/* store_mem, threads: whatever others do meanwhile, every byte read is the one its key says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "refrain/store/store_mem.h"

enum {
    THREADS = 4,
    STEPS = 15000,
    KEYS = 3000,
    BODY_MAX = 80000,
    HELD = 8, /* references a thread keeps while it goes on */
    LIMIT = 8 << 20,
};

struct shared {
    struct store_mem *m;
    _Atomic int64_t seq;
    _Atomic unsigned wrong;
};

struct worker {
    struct shared *shared;
    unsigned seed;
    struct entry_ref held[HELD];
    char body[BODY_MAX];
};

static struct digest key_of(uint32_t n)
{
    return sha256_of(slice_make(&n, sizeof(n)));
}

/* Length and filling of a body follow from its key and its version. */
static size_t body_len(const struct digest *key, int64_t version)
{
    return (size_t)(key->bytes[0] % 8 ? key->bytes[1] * 8 + version % 8
                                      : key->bytes[1] * 300 + version % 100);
}

static char filling(const struct digest *key, int64_t version)
{
    return (char)(key->bytes[2] + version);
}

static bool is_as_its_key_says(const struct entry *e)
{
    struct slice body = entry_slice(e, e->body);

    if (body.len != body_len(&e->key, e->started_seq))
        return false;
    return body.len == 0 || (body.data[0] == filling(&e->key, e->started_seq) &&
                             memcmp(body.data, body.data + 1, body.len - 1) == 0); /* all the same byte */
}

static void check(struct worker *w, const struct entry *e)
{
    if (!is_as_its_key_says(e))
        atomic_fetch_add(&w->shared->wrong, 1);
}

/* What was held before is judged once more before it is let go: it must not have changed under the reader. */
static void hold(struct worker *w, struct entry_ref ref)
{
    struct entry_ref *slot = &w->held[(unsigned)rand_r(&w->seed) % HELD];

    check(w, ref.entry);
    if (slot->entry) {
        check(w, slot->entry);
        store_mem_release(slot);
    }
    *slot = ref;
}

static void step_put(struct worker *w, const struct digest *key, int64_t now_ms)
{
    int64_t version = atomic_fetch_add(&w->shared->seq, 1);
    struct slice body = {w->body, body_len(key, version)};
    struct entry_parts p = {
        .head = {.key = *key,
                 .expires_ms = now_ms + 50,
                 .gone_ms = now_ms + 100,
                 .started_seq = version,
                 .sliding_ms = version % 2 ? 50 : 0,
                 .max_expires_ms = now_ms + 200},
        .body = &body,
        .body_n = 1,
    };
    struct entry_ref ref;
    int r;

    memset(w->body, filling(key, version), body.len);
    r = store_mem_put(w->shared->m, &p, now_ms, &ref);
    if (r == 0)
        hold(w, ref);
    else if (r != -EEXIST && r != -ENOMEM)
        atomic_fetch_add(&w->shared->wrong, 1);
}

static void step_get(struct worker *w, const struct digest *key, int64_t now_ms)
{
    struct entry_ref ref;

    if (!store_mem_get(w->shared->m, key, now_ms, &ref))
        return;
    if (!digest_eq(&ref.entry->key, key))
        atomic_fetch_add(&w->shared->wrong, 1);
    hold(w, ref);
}

static bool one_in_256(void *arg, const struct entry *e)
{
    return e->key.bytes[3] == *(uint8_t *)arg;
}

static void step_other(struct worker *w, const struct digest *key, int64_t now_ms)
{
    struct store_mem_stats s;
    uint8_t which = (uint8_t)rand_r(&w->seed);

    switch (rand_r(&w->seed) % 4) {
    case 0:
        (void)store_mem_delete_if(w->shared->m, one_in_256, &which);
        break;
    case 1:
        store_mem_stats(w->shared->m, &s);
        break;
    case 2:
        (void)store_mem_sweep(w->shared->m, now_ms, 50);
        break;
    default:
        (void)store_mem_delete(w->shared->m, key);
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;

    for (int64_t i = 0; i < STEPS; i++) {
        struct digest key = key_of((uint32_t)rand_r(&w->seed) % KEYS);
        int what = rand_r(&w->seed) % 100;

        if (what < 40)
            step_put(w, &key, i / 20);
        else if (what < 97)
            step_get(w, &key, i / 20);
        else
            step_other(w, &key, i / 20);
    }
    for (int i = 0; i < HELD; i++)
        if (w->held[i].entry)
            store_mem_release(&w->held[i]);
    return NULL;
}

static void every_byte_read_is_what_its_key_says(void **state)
{
    static const enum eviction all[] = {EVICT_LRU, EVICT_LFU, EVICT_FIFO, EVICT_SIEVE};

    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(all); e++) {
        struct store_mem_conf conf = {LIMIT, 0, all[e]};
        struct shared shared = {.m = store_mem_new(&conf)};
        static struct worker workers[THREADS];
        pthread_t threads[THREADS];
        struct store_mem_stats empty, s;

        assert_non_null(shared.m);
        store_mem_stats(shared.m, &empty);
        for (unsigned t = 0; t < THREADS; t++) {
            workers[t] = (struct worker){.shared = &shared, .seed = t + 1};
            assert_int_equal(pthread_create(&threads[t], NULL, work, &workers[t]), 0);
        }
        for (int t = 0; t < THREADS; t++)
            (void)pthread_join(threads[t], NULL);
        assert_int_equal(shared.wrong, 0);
        store_mem_stats(shared.m, &s);
        assert_true(s.compactions > 0);
        assert_true(s.evicted_space > 0);
        assert_true(s.bytes <= LIMIT);
        (void)store_mem_delete_if(shared.m, NULL, NULL);
        store_mem_stats(shared.m, &s);
        assert_int_equal(s.entries, 0);
        assert_int_equal(s.bytes, empty.bytes);
        store_mem_free(shared.m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_read_is_what_its_key_says),
    };

    return cmocka_run_group_tests_name("store_mem_threads", tests, NULL, NULL);
}
