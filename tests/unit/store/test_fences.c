/* fences: what began before an invalidation is held back, however many have come since. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/store/fences.h"

static const struct label label = {
    .key = {{0xab, 0xcd}},
    .id = SLICE("0123456789abcdef0123456789abcdef"),
    .namespace_ = SLICE("team"),
    .operation = SLICE("chat"),
    .model = SLICE("gpt-4o"),
    .tags = SLICE("blue,red"),
    .target = 77,
    .created_ms = 1000,
};

static const struct {
    const char *why;
    struct selector which;
    bool means, may_mean; /* the entry; a flight that tells no tags yet */
} kinds[] = {
    {"all", {.id = SLICE("")}, true, true},
    {"its id", {.id = SLICE("0123456789abcdef0123456789abcdef")}, true, true},
    {"another id", {.id = SLICE("1123456789abcdef0123456789abcdef")}, false, true},
    {"its tag", {.tag = SLICE("red")}, true, true},
    {"another tag", {.tag = SLICE("green")}, false, true},
    {"its operation", {.operation = SLICE("chat")}, true, true},
    {"another operation", {.operation = SLICE("messages")}, false, false},
    {"its model", {.model = SLICE("gpt-4o")}, true, true},
    {"its model by a pattern", {.model = SLICE("gpt*")}, true, true},
    {"another model", {.model = SLICE("claude")}, false, false},
    {"its namespace", {.namespace_ = SLICE("team")}, true, true},
    {"another namespace", {.namespace_ = SLICE("other")}, false, false},
    {"its name", {.pattern = SLICE("team:*")}, true, true},
    {"another name", {.pattern = SLICE("other:*")}, false, false},
    {"its target", {.target = 77}, true, true},
    {"another target", {.target = 78}, false, false},
    {"it is as old", {.created_before_ms = 1001}, true, false},
    {"it is younger", {.created_before_ms = 1000}, false, false},
    {"tag and namespace", {.tag = SLICE("red"), .namespace_ = SLICE("team")}, true, true},
    {"tag, but another namespace", {.tag = SLICE("red"), .namespace_ = SLICE("other")}, false, false},
};

static void what_began_before_is_held_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct fences *f = fences_new();

        assert_non_null(f);
        assert_false(fences_hold_back(f, &label, 1));
        fences_add(f, &kinds[i].which, 100);
        if (fences_hold_back(f, &label, 99) != kinds[i].means ||
            fences_part_flight(f, &label, 99) != kinds[i].may_mean)
            fail_msg("%s: before", kinds[i].why);
        if (fences_hold_back(f, &label, 100) != kinds[i].means)
            fail_msg("%s: at that very time", kinds[i].why);
        if (fences_hold_back(f, &label, 101) || fences_part_flight(f, &label, 101))
            fail_msg("%s: after", kinds[i].why);
        assert_int_equal(fences_latest(f), 100);
        fences_free(f);
    }
}

/* As many others as are kept word for word, so that whatever came before is a sum by now. */
static void add_others(struct fences *f, int64_t from_seq, int n)
{
    char tag[32];

    for (int i = 0; i < n; i++) {
        (void)snprintf(tag, sizeof(tag), "other-%d", i);
        fences_add(f, &(struct selector){.tag = slice_str(tag), .namespace_ = SLICE("else")}, from_seq + i);
    }
}

static void what_grows_old_is_never_lost(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct fences *f = fences_new();

        fences_add(f, &kinds[i].which, 100);
        add_others(f, 200, 2 * FENCES_KEPT_MAX);
        assert_true(fences_kept(f) <= FENCES_KEPT_MAX);
        if (kinds[i].means && !fences_hold_back(f, &label, 99))
            fail_msg("%s: lost", kinds[i].why);
        if (kinds[i].may_mean && !fences_part_flight(f, &label, 99))
            fail_msg("%s: lost to flights", kinds[i].why);
        if (fences_hold_back(f, &label, 200 + 2 * FENCES_KEPT_MAX))
            fail_msg("%s: never ends", kinds[i].why);
        fences_free(f);
    }
}

static void the_same_again_takes_no_room(void **state)
{
    struct fences *f = fences_new();

    (void)state;
    for (int i = 0; i < 3 * FENCES_KEPT_MAX; i++)
        fences_add(f, &(struct selector){.tag = SLICE("red")}, 100 + i);
    fences_add(f, &(struct selector){.tag = SLICE("red")}, 50); /* replayed late */
    assert_int_equal(fences_kept(f), 1);
    assert_true(fences_hold_back(f, &label, 100 + 3 * FENCES_KEPT_MAX - 1));
    fences_free(f);
}

/* A stream of changes drives out nothing that an operator has said. */
static void targets_are_sums_from_the_start(void **state)
{
    struct fences *f = fences_new();

    (void)state;
    for (uint64_t i = 1; i < 2000; i++)
        fences_add(f, &(struct selector){.target = i * UINT64_C(0x9E3779B97F4A7C15)}, (int64_t)i);
    assert_int_equal(fences_kept(f), 0);
    fences_free(f);
}

static void order_of_coming_does_not_matter(void **state)
{
    struct fences *f = fences_new();

    (void)state;
    fences_add(f, &(struct selector){.tag = SLICE("green")}, 300);
    fences_add(f, &(struct selector){.tag = SLICE("red")}, 100);
    fences_add(f, &(struct selector){.tag = SLICE("black")}, 200);
    assert_true(fences_hold_back(f, &label, 99));
    assert_true(fences_hold_back(f, &label, 100));
    assert_false(fences_hold_back(f, &label, 101));
    fences_free(f);
}

static void texts_without_end_mean_more(void **state)
{
    static char long_tag[8192];
    struct fences *f = fences_new();

    (void)state;
    memset(long_tag, 'x', sizeof(long_tag));
    fences_add(f, &(struct selector){.tag = slice_make(long_tag, sizeof(long_tag))}, 100);
    assert_int_equal(fences_kept(f), 0);
    assert_true(fences_hold_back(
        f, &(struct label){.tags = slice_make(long_tag, sizeof(long_tag)), .created_ms = 1}, 99));
    fences_free(f);
}

static uint64_t draw(uint64_t *seed, uint64_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % below;
}

static struct slice one_of(uint64_t *seed, const struct slice *of, size_t n)
{
    size_t i = draw(seed, n + 1);

    return i == n ? (struct slice){NULL, 0} : of[i];
}

static struct selector any_selector(uint64_t *seed)
{
    static const struct slice tags[] = {SLICE("red"), SLICE("blue"), SLICE("green")};
    static const struct slice models[] = {SLICE("gpt-4o"), SLICE("gpt*"), SLICE("o3")};
    static const struct slice spaces[] = {SLICE("team"), SLICE("other")};
    static const struct slice patterns[] = {SLICE("team:*"), SLICE("other:chat:*"), SLICE("*:messages:*")};
    static const struct slice none[] = {SLICE("")};
    bool age = draw(seed, 8) == 0, target = draw(seed, 4) == 0;

    return (struct selector){
        .tag = one_of(seed, tags, draw(seed, 2) ? ARRAY_LEN(tags) : 0),
        .model = one_of(seed, models, draw(seed, 3) ? 0 : ARRAY_LEN(models)),
        .namespace_ = one_of(seed, spaces, draw(seed, 3) ? 0 : ARRAY_LEN(spaces)),
        .pattern = one_of(seed, patterns, draw(seed, 3) ? 0 : ARRAY_LEN(patterns)),
        .operation = one_of(seed, none, 0),
        .created_before_ms = age ? (int64_t)draw(seed, 100) + 1 : 0,
        .target = target ? draw(seed, 5) + 1 : 0,
    };
}

static struct label any_label(uint64_t *seed)
{
    static const struct slice tags[] = {SLICE("red"), SLICE("blue,green"), SLICE("red,green")};
    static const struct slice models[] = {SLICE("gpt-4o"), SLICE("gpt-4o-mini"), SLICE("o3")};
    static const struct slice spaces[] = {SLICE("team"), SLICE("other"), SLICE("third")};
    static const struct slice operations[] = {SLICE("chat"), SLICE("messages")};

    return (struct label){
        .tags = one_of(seed, tags, ARRAY_LEN(tags)),
        .model = models[draw(seed, ARRAY_LEN(models))],
        .namespace_ = spaces[draw(seed, ARRAY_LEN(spaces))],
        .operation = operations[draw(seed, ARRAY_LEN(operations))],
        .created_ms = (int64_t)draw(seed, 100),
        .target = draw(seed, 6),
    };
}

enum { CAME_MAX = 2000 };
static struct came {
    struct selector which;
    int64_t seq;
} came[CAME_MAX];

static bool is_meant(size_t n, const struct label *l, int64_t seq)
{
    for (size_t i = 0; i < n; i++)
        if (came[i].seq >= seq && selector_matches(&came[i].which, l))
            return true;
    return false;
}

/* Against a list of all that ever came, in any order: it may mean more, never less. */
static void whatever_comes_nothing_is_lost(void **state)
{
    uint64_t seed = 7;

    (void)state;
    for (int round = 0; round < 20; round++) {
        struct fences *f = fences_new();

        for (size_t n = 0; n < CAME_MAX; n++) {
            struct label l = any_label(&seed);
            int64_t seq = (int64_t)draw(&seed, 2 * CAME_MAX);

            came[n] = (struct came){any_selector(&seed), (int64_t)(n + draw(&seed, 50))};
            fences_add(f, &came[n].which, came[n].seq);
            if (is_meant(n + 1, &l, seq) && !fences_hold_back(f, &l, seq))
                fail_msg("round %d: lost at %zu", round, n);
            assert_false(fences_hold_back(f, &l, CAME_MAX + 50));
        }
        assert_true(fences_kept(f) <= FENCES_KEPT_MAX);
        fences_free(f);
    }
}

struct race {
    struct fences *f;
    atomic_long done; /* the newest that has been added */
};

static void *add_many(void *arg)
{
    struct race *r = arg;
    char tag[32];

    for (long i = 1; i <= 5000; i++) {
        (void)snprintf(tag, sizeof(tag), "t%ld", i);
        fences_add(r->f, &(struct selector){.tag = slice_str(tag)}, i);
        atomic_store(&r->done, i);
    }
    return NULL;
}

/* Returns its argument when a fence that stood was not seen. */
static void *look_often(void *arg)
{
    struct race *r = arg;
    char tag[32];
    long i;

    while ((i = atomic_load(&r->done)) < 5000) {
        struct label l = {.created_ms = 1};

        (void)snprintf(tag, sizeof(tag), "t%ld", i);
        l.tags = slice_str(tag);
        if (i > 0 && !fences_hold_back(r->f, &l, i - 1))
            return r;
    }
    return NULL;
}

static void a_fence_that_stands_is_seen_by_all(void **state)
{
    struct race r = {.f = fences_new()};
    pthread_t writer, readers[2];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(readers); i++)
        assert_int_equal(pthread_create(&readers[i], NULL, look_often, &r), 0);
    assert_int_equal(pthread_create(&writer, NULL, add_many, &r), 0);
    (void)pthread_join(writer, NULL);
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        void *wrong;

        (void)pthread_join(readers[i], &wrong);
        if (wrong)
            fail_msg("a fence that stood was not seen");
    }
    fences_free(r.f);
}

static void nothing_is_freed_twice(void **state)
{
    (void)state;
    fences_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_began_before_is_held_back),
        cmocka_unit_test(what_grows_old_is_never_lost),
        cmocka_unit_test(the_same_again_takes_no_room),
        cmocka_unit_test(targets_are_sums_from_the_start),
        cmocka_unit_test(order_of_coming_does_not_matter),
        cmocka_unit_test(texts_without_end_mean_more),
        cmocka_unit_test(whatever_comes_nothing_is_lost),
        cmocka_unit_test(a_fence_that_stands_is_seen_by_all),
        cmocka_unit_test(nothing_is_freed_twice),
    };

    return cmocka_run_group_tests_name("fences", tests, NULL, NULL);
}
