/* varying: variants lie behind a marker, as many as may be, for as long as any of them is of use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "refrain/http/varying.h"

enum { NOW_MS = 1000, VARIANTS_MAX = 3 };

struct stage {
    struct site site;
    struct header_table *headers;
    struct sha256 *hash;
    struct digest common;
    int64_t seq;
};

static int set_up(void **state)
{
    static const struct store_mem_conf conf = {.bytes_max = 4 << 20, .eviction = EVICT_LRU};
    struct stage *s = calloc(1, sizeof(*s));

    s->headers = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    s->site.headers = s->headers;
    s->site.scope = (struct key_scope){.mode = KEY_SCOPE_CREDENTIAL, .secret = SLICE("secret")};
    s->site.variants_max = VARIANTS_MAX;
    s->site.memory = store_mem_new(&conf);
    s->site.store = store_new(&(struct store_conf){.memory = s->site.memory});
    s->hash = sha256_new();
    s->common.bytes[0] = 9;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *s = *state;

    store_free(s->site.store, 0);
    store_mem_free(s->site.memory);
    header_table_free(s->headers);
    sha256_free(s->hash);
    free(s);
    return 0;
}

/* -- actors -- */

static void ask_as(struct stage *s, const char *agent, struct fields *out)
{
    out->n = 0;
    assert_int_equal(fields_add(out, SLICE_OF("User-Agent"), slice_str(agent)), 0);
    fields_classify(out, s->headers);
}

static void begin(struct stage *s, struct varying *v, const char *agent, struct slice id)
{
    struct fields asked;

    *v = (struct varying){.has_id = false};
    ask_as(s, agent, &asked);
    varying_begin(v, &s->site, &s->site.scope, OP_CHAT, &s->common, id, asked.at, asked.n);
}

/* The head of an answer that varies by @vary comes; empty: by nothing. */
static bool head(struct stage *s, struct varying *v, const char *vary, struct flight_split *out)
{
    struct fields answer = {.n = 0};

    assert_int_equal(fields_add(&answer, SLICE_OF("Vary"), slice_str(vary)), 0);
    fields_classify_response(&answer, s->headers);
    return varying_head(v, &s->site, OP_CHAT, &answer, NOW_MS, out);
}

struct said {
    const char *agent, *vary;
    int64_t gone_ms, sliding_ms, max_expires_ms, seq; /* 0: the usual */
};

static int keep_it(struct stage *s, struct varying *v, const struct said *said)
{
    struct slice body = slice_str(said->agent);
    struct entry_parts parts = {
        .head = {.expires_ms = said->gone_ms ? said->gone_ms : NOW_MS + 100,
                 .sliding_ms = said->sliding_ms,
                 .max_expires_ms = said->max_expires_ms,
                 .started_seq = said->seq ? said->seq : ++s->seq},
        .body = &body,
        .body_n = 1,
    };

    parts.head.gone_ms = parts.head.expires_ms;
    return varying_put(v, &s->site, &parts, NOW_MS);
}

/* A whole fetch on behalf of @said.agent. */
static int fetched(struct stage *s, struct said said)
{
    struct flight_split split;
    struct varying v;
    int r;

    begin(s, &v, said.agent, (struct slice){NULL, 0});
    (void)head(s, &v, said.vary, &split);
    r = keep_it(s, &v, &said);
    varying_done(&v);
    return r;
}

/* What the store has for @agent at @now_ms, found as a request finds it. */
static bool has(struct stage *s, const char *agent, int64_t now_ms)
{
    struct entry_ref ref;
    struct fields asked;
    struct digest key;
    bool own;

    ask_as(s, agent, &asked);
    if (!store_mem_peek(s->site.memory, &s->common, now_ms, &ref))
        return false;
    if (ref.entry->flags & ENTRY_VARY) {
        key = varying_key(s->hash, ref.entry, asked.at, asked.n, &s->site.scope);
        store_mem_release(&ref);
        if (!store_mem_peek(s->site.memory, &key, now_ms, &ref))
            return false;
    }
    own = slice_eq(entry_slice(ref.entry, ref.entry->body), slice_str(agent));
    store_mem_release(&ref);
    return own;
}

static uint64_t entries(const struct stage *s)
{
    struct store_mem_stats stats;

    store_mem_stats(s->site.memory, &stats);
    return stats.entries;
}

/* -- the tests -- */

static void variants_lie_behind_a_marker(void **state)
{
    struct stage *s = *state;

    assert_int_equal(fetched(s, (struct said){"a", "User-Agent"}), 0);
    assert_int_equal(fetched(s, (struct said){"b", "Origin, user-agent"}), 0);
    assert_int_equal(fetched(s, (struct said){"a", "User-Agent"}), 0); /* once more */
    assert_true(has(s, "a", NOW_MS));
    assert_true(has(s, "b", NOW_MS));
    assert_false(has(s, "c", NOW_MS));
    assert_int_equal(entries(s), 3);
}

static void there_are_as_many_as_may_be(void **state)
{
    struct stage *s = *state;
    struct fields asked;
    struct entry_ref ref;
    struct digest key;

    assert_int_equal(fetched(s, (struct said){"a", "User-Agent"}), 0);
    assert_int_equal(fetched(s, (struct said){"b", "User-Agent"}), 0);
    assert_int_equal(fetched(s, (struct said){"c", "User-Agent"}), 0);
    assert_int_equal(fetched(s, (struct said){"d", "User-Agent"}), -ENOSPC);
    assert_int_equal(fetched(s, (struct said){"b", "User-Agent"}), 0); /* one of them may be renewed */
    assert_false(has(s, "d", NOW_MS));

    ask_as(s, "a", &asked);
    assert_true(store_mem_peek(s->site.memory, &s->common, NOW_MS, &ref));
    key = varying_key(s->hash, ref.entry, asked.at, asked.n, &s->site.scope);
    store_mem_release(&ref);
    assert_true(store_mem_delete(s->site.memory, &key)); /* as eviction does */
    assert_int_equal(fetched(s, (struct said){"d", "User-Agent"}), 0);
    assert_true(has(s, "b", NOW_MS));
    assert_true(has(s, "c", NOW_MS));
    assert_true(has(s, "d", NOW_MS));
}

static void what_has_expired_makes_room(void **state)
{
    struct stage *s = *state;

    assert_int_equal(fetched(s, (struct said){"a", "User-Agent", .gone_ms = NOW_MS}), 0);
    for (const char *agents[] = {"b", "c", "d"}, **it = agents; it < agents + 3; it++)
        assert_int_equal(fetched(s, (struct said){*it, "User-Agent"}), 0);
    assert_true(has(s, "d", NOW_MS));
}

static void the_marker_lasts_as_long_as_any_of_them(void **state)
{
    struct stage *s = *state;

    assert_int_equal(fetched(s, (struct said){"long", "User-Agent", .gone_ms = NOW_MS + 500}), 0);
    assert_int_equal(fetched(s, (struct said){"short", "User-Agent", .gone_ms = NOW_MS + 5}), 0);
    assert_true(has(s, "long", NOW_MS + 499));
    assert_false(has(s, "short", NOW_MS + 5));
    assert_false(has(s, "long", NOW_MS + 500));
}

static void the_marker_outlasts_what_hits_move_on(void **state)
{
    struct stage *s = *state;
    struct entry_ref ref;

    assert_int_equal(fetched(s, (struct said){"a", "User-Agent", .gone_ms = NOW_MS + 10, .sliding_ms = 10,
                                              .max_expires_ms = NOW_MS + 90}),
                     0);
    assert_true(store_mem_peek(s->site.memory, &s->common, NOW_MS + 89, &ref));
    store_mem_release(&ref);
    assert_false(store_mem_peek(s->site.memory, &s->common, NOW_MS + 90, &ref));
}

static void with_its_marker_a_family_is_gone_for_good(void **state)
{
    struct stage *s = *state;

    assert_int_equal(fetched(s, (struct said){"a", "User-Agent"}), 0);
    assert_int_equal(fetched(s, (struct said){"b", "User-Agent"}), 0);
    assert_true(store_mem_delete(s->site.memory, &s->common)); /* an invalidation */
    assert_int_equal(fetched(s, (struct said){"b", "User-Agent"}), 0);
    assert_true(has(s, "b", NOW_MS));
    assert_false(has(s, "a", NOW_MS)); /* though it may still lie there */
}

static void other_names_begin_another_family(void **state)
{
    struct stage *s = *state;

    assert_int_equal(fetched(s, (struct said){"a", "User-Agent"}), 0);
    assert_int_equal(fetched(s, (struct said){"b", "User-Agent, DNT"}), 0);
    assert_false(has(s, "a", NOW_MS));
    assert_true(has(s, "b", NOW_MS));
    assert_int_equal(entries(s), 2); /* the others' room is given back */
}

static void what_does_not_vary_takes_the_place_of_all(void **state)
{
    struct stage *s = *state;

    assert_int_equal(fetched(s, (struct said){"a", "User-Agent"}), 0);
    assert_int_equal(fetched(s, (struct said){"b", "User-Agent"}), 0);
    assert_int_equal(fetched(s, (struct said){"c", ""}), 0);
    assert_true(has(s, "c", NOW_MS));
    assert_int_equal(entries(s), 1);
}

static void what_was_asked_for_earlier_takes_nobodys_place(void **state)
{
    struct stage *s = *state;

    assert_int_equal(fetched(s, (struct said){"new", "", .seq = 50}), 0);
    assert_int_equal(fetched(s, (struct said){"old", "User-Agent", .seq = 40}), 0);
    assert_true(has(s, "new", NOW_MS));
    assert_int_equal(fetched(s, (struct said){"a", "User-Agent", .seq = 60}), 0);
    assert_int_equal(fetched(s, (struct said){"old", "", .seq = 55}), -EEXIST);
    assert_int_equal(fetched(s, (struct said){"old", "DNT", .seq = 55}), -EEXIST);
    assert_true(has(s, "a", NOW_MS));
    assert_int_equal(fetched(s, (struct said){"b", "User-Agent", .seq = 55}), 0); /* it is one of them */
    assert_true(has(s, "a", NOW_MS));
    assert_true(has(s, "b", NOW_MS));
}

static void those_told_apart_go_on_in_one_family(void **state)
{
    struct stage *s = *state;
    struct flight_split first, second;
    struct varying a, b;

    begin(s, &a, "a", (struct slice){NULL, 0});
    assert_true(head(s, &a, "User-Agent", &first));
    begin(s, &b, "b", first.id); /* sent away from a's flight, before anything is stored */
    assert_true(head(s, &b, "User-Agent", &second));
    assert_true(slice_eq(first.id, second.id));
    assert_false(digest_eq(&first.key, &second.key));
    assert_int_equal(keep_it(s, &b, &(struct said){"b", ""}), 0);
    assert_int_equal(keep_it(s, &a, &(struct said){"a", ""}), 0);
    assert_true(has(s, "a", NOW_MS));
    assert_true(has(s, "b", NOW_MS));
    varying_done(&a);
    varying_done(&b);
}

static void two_that_began_a_family_each_end_in_one(void **state)
{
    struct stage *s = *state;
    struct flight_split first, second;
    struct varying a, b;

    begin(s, &a, "a", (struct slice){NULL, 0});
    begin(s, &b, "b", (struct slice){NULL, 0});
    assert_true(head(s, &a, "User-Agent", &first));
    assert_true(head(s, &b, "User-Agent", &second));
    assert_false(slice_eq(first.id, second.id));
    assert_int_equal(keep_it(s, &a, &(struct said){"a", ""}), 0);
    assert_int_equal(keep_it(s, &b, &(struct said){"b", ""}), 0);
    assert_true(has(s, "a", NOW_MS));
    assert_true(has(s, "b", NOW_MS));
    varying_done(&a);
    varying_done(&b);
}

static void what_names_nothing_outside_the_key_does_not_split(void **state)
{
    struct stage *s = *state;
    struct flight_split split;
    struct varying v;

    begin(s, &v, "a", (struct slice){NULL, 0});
    assert_false(head(s, &v, "Origin, Accept-Encoding, Authorization", &split));
    varying_done(&v);
}

static void what_another_instance_tells_is_for_its_own_variant(void **state)
{
    struct stage *s = *state;
    struct varying leader, same, other;
    struct flight_split told, heard;

    begin(s, &leader, "curl", (struct slice){NULL, 0});
    assert_true(head(s, &leader, "User-Agent", &told));
    begin(s, &same, "curl", (struct slice){NULL, 0});
    assert_true(varying_told(&same, told.names, told.id, &told.key, &heard));
    assert_true(digest_eq(&heard.key, &told.key) && slice_eq(heard.names, told.names));
    begin(s, &other, "phone", (struct slice){NULL, 0});
    assert_false(varying_told(&other, told.names, told.id, &told.key, &heard));
    assert_false(varying_told(&other, (struct slice){NULL, 0}, told.id, &told.key, &heard));
    assert_false(varying_told(&other, told.names, SLICE_OF("short"), &told.key, &heard));
    varying_done(&leader);
    varying_done(&same);
    varying_done(&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(variants_lie_behind_a_marker),
        TEST(there_are_as_many_as_may_be),
        TEST(what_has_expired_makes_room),
        TEST(the_marker_lasts_as_long_as_any_of_them),
        TEST(the_marker_outlasts_what_hits_move_on),
        TEST(with_its_marker_a_family_is_gone_for_good),
        TEST(other_names_begin_another_family),
        TEST(what_does_not_vary_takes_the_place_of_all),
        TEST(what_was_asked_for_earlier_takes_nobodys_place),
        TEST(those_told_apart_go_on_in_one_family),
        TEST(two_that_began_a_family_each_end_in_one),
        TEST(what_names_nothing_outside_the_key_does_not_split),
        TEST(what_another_instance_tells_is_for_its_own_variant),
    };

    return cmocka_run_group_tests_name("varying", tests, NULL, NULL);
}
