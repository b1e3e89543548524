/* memo: what was put is found under its whole tag until others push it out, and parts of a request cannot run
 * together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "refrain/http/memo.h"

enum { SET_BYTES = 576, WAYS = 8 };

static struct memo_value value_of(uint32_t n)
{
    struct memo_value v;

    memset(&v, 0, sizeof(v)); /* padding, too: they are compared whole */
    v.rules = UINT64_MAX - n;
    v.own_operation = (uint16_t)(n + 1);
    memset(v.key.bytes, (int)n, sizeof(v.key.bytes));
    return v;
}

static bool holds(struct memo *m, struct gmac_tag tag, uint32_t n)
{
    const struct memo_value *found = memo_get(m, &tag);
    struct memo_value want = value_of(n);

    return found && memcmp(found, &want, sizeof(want)) == 0;
}

static void put(struct memo *m, struct gmac_tag tag, uint32_t n)
{
    struct memo_value v = value_of(n);

    memo_put(m, &tag, &v);
}

static struct gmac_tag tag_n(uint32_t n)
{
    return (struct gmac_tag){{n, 0}};
}

static void what_was_put_is_found(void **state)
{
    struct memo *m = memo_new(1 << 20);

    (void)state;
    assert_null(memo_get(m, &(struct gmac_tag){{1, 2}}));
    put(m, (struct gmac_tag){{1, 2}}, 5);
    assert_true(holds(m, (struct gmac_tag){{1, 2}}, 5));
    put(m, (struct gmac_tag){{1, 2}}, 6);
    assert_true(holds(m, (struct gmac_tag){{1, 2}}, 6));
    memo_free(m);
}

static void the_whole_tag_counts(void **state)
{
    static const struct {
        const char *why;
        struct gmac_tag tag;
    } others[] = {
        {"first half, low end", {{0x1111111111111110, 0x2222222222222222}}},
        {"first half, high end", {{0x0111111111111111, 0x2222222222222222}}},
        {"second half, low end", {{0x1111111111111111, 0x2222222222222223}}},
        {"second half, high end", {{0x1111111111111111, 0xA222222222222222}}},
        {"halves changed over", {{0x2222222222222222, 0x1111111111111111}}},
        {"nothing", {{0, 0}}},
    };
    struct memo *m = memo_new(1); /* one set for all */

    (void)state;
    put(m, (struct gmac_tag){{0x1111111111111111, 0x2222222222222222}}, 1);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (memo_get(m, &others[i].tag))
            fail_msg("%s", others[i].why);
    put(m, (struct gmac_tag){{0, 0}}, 2); /* a tag like any other */
    assert_true(holds(m, (struct gmac_tag){{0, 0}}, 2));
    memo_free(m);
}

static void the_longest_unused_makes_room(void **state)
{
    struct memo *m = memo_new(SET_BYTES);

    (void)state;
    for (uint32_t i = 0; i < WAYS; i++)
        put(m, tag_n(i), i);
    for (uint32_t i = 0; i < WAYS; i++)
        assert_true(holds(m, tag_n(i), i));
    assert_true(holds(m, tag_n(0), 0)); /* used once more: 1 is the oldest now */
    put(m, tag_n(100), 100);
    assert_null(memo_get(m, &(struct gmac_tag){{1, 0}}));
    assert_true(holds(m, tag_n(0), 0));
    assert_true(holds(m, tag_n(100), 100));
    put(m, tag_n(2), 200); /* there: nobody has to go */
    for (uint32_t i = 3; i < WAYS; i++)
        assert_true(holds(m, tag_n(i), i));
    memo_free(m);
}

static void memory_is_bounded_and_taken_as_it_fills(void **state)
{
    enum { BYTES = 100 * SET_BYTES };
    struct memo *m = memo_new(BYTES);
    struct gmac_tag tag;
    unsigned found = 0;

    (void)state;
    assert_int_equal(memo_bytes(m), 0);
    put(m, tag_n(1), 1);
    assert_in_range(memo_bytes(m), 1, 2 * 4096);
    for (uint32_t i = 0; i < 100000; i++) {
        random_bytes(&tag, sizeof(tag));
        put(m, tag, i);
        found += holds(m, tag, i);
    }
    assert_int_equal(found, 100000);
    assert_in_range(memo_bytes(m), 13 * 4096, BYTES + 4096);
    memo_clear(m);
    assert_int_equal(memo_bytes(m), 0);
    assert_null(memo_get(m, &tag));
    put(m, tag, 7);
    assert_true(holds(m, tag, 7));
    memo_free(m);
    memo_free(NULL);
}

/* Tags are spread by their second half: a table half full loses next to nothing. */
static void sets_are_used_evenly(void **state)
{
    enum { SETS = 1000, TAGS = SETS * WAYS / 2 };
    struct memo *m = memo_new(SETS * SET_BYTES);
    struct gmac_tag *tags = calloc(TAGS, sizeof(*tags));
    unsigned lost = 0;

    (void)state;
    random_bytes(tags, TAGS * sizeof(*tags));
    for (uint32_t i = 0; i < TAGS; i++)
        put(m, tags[i], i);
    for (uint32_t i = 0; i < TAGS; i++)
        lost += !holds(m, tags[i], i);
    assert_in_range(lost, 0, TAGS / 20);
    free(tags);
    memo_free(m);
}

/* ---- tags ---- */

static struct gmac_tag tag_of(struct memo_hasher *h, const struct slice *parts, size_t n)
{
    memo_hash_begin(h);
    for (size_t i = 0; i < n; i++)
        memo_hash_add(h, parts[i]);
    return memo_hash_end(h);
}

static bool same(struct gmac_tag a, struct gmac_tag b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static void parts_cannot_run_together(void **state)
{
    static const struct slice lists[][3] = {
        {SLICE("ab"), SLICE("c"), SLICE("")},   {SLICE("a"), SLICE("bc"), SLICE("")},
        {SLICE(""), SLICE("ab"), SLICE("c")},   {SLICE("abc"), SLICE(""), SLICE("")},
        {SLICE("ab"), SLICE("c"), SLICE("\0")},
    };
    struct memo_hasher *h = memo_hasher_new((const uint8_t[16]){1});

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        assert_true(same(tag_of(h, lists[i], 3), tag_of(h, lists[i], 3)));
        assert_false(same(tag_of(h, lists[i], 3), tag_of(h, lists[i], 2)));
        for (size_t j = 0; j < i; j++)
            assert_false(same(tag_of(h, lists[i], 3), tag_of(h, lists[j], 3)));
    }
    memo_hasher_free(h);
    memo_hasher_free(NULL);
}

/* Around the sizes at which parts are gathered, flushed and passed through, every byte of every part counts.
 */
static void every_byte_counts(void **state)
{
    static const size_t sizes[] = {1,    7,    8,    9,    15,   16,   17,   500,
                                   2039, 2047, 2048, 2049, 4087, 4088, 4096, 10000};
    static char bytes[10000], changed[10000];
    struct memo_hasher *h = memo_hasher_new((const uint8_t[16]){2});

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++) {
            struct slice parts[] = {{bytes, sizes[i]}, {bytes, sizes[j]}, SLICE("end")};
            struct gmac_tag plain = tag_of(h, parts, 3);
            size_t at[] = {0, sizes[j] / 2, sizes[j] - 1};

            for (size_t k = 0; k < ARRAY_LEN(at); k++) {
                memcpy(changed, bytes, sizeof(bytes));
                changed[at[k]] = 'y';
                parts[1].data = changed;
                assert_false(same(plain, tag_of(h, parts, 3)));
            }
            parts[1].data = bytes;
            assert_true(same(plain, tag_of(h, parts, 3)));
        }
    memo_hasher_free(h);
}

static struct gmac_tag fields_tag(struct memo_hasher *h, const struct key_scope *scope, const char *name,
                                  const char *value)
{
    static const struct slice ignored[] = {SLICE("x-api-*"), SLICE("x-ignored")};
    struct header_table *table =
        header_table_new((struct header_names){ignored, ARRAY_LEN(ignored)}, (struct header_names){0});
    struct fields fields = {0};

    assert_non_null(table);
    assert_int_equal(fields_add(&fields, SLICE_OF("Content-Type"), SLICE_OF("application/json")), 0);
    if (name)
        assert_int_equal(fields_add(&fields, slice_str(name), slice_str(value)), 0);
    fields_classify(&fields, table);
    header_table_free(table);
    memo_hash_begin(h);
    memo_hash_add_fields(h, &fields, scope);
    memo_hash_add(h, SLICE_OF("body"));
    return memo_hash_end(h);
}

static void fields_that_a_key_reads_are_in_the_tag(void **state)
{
    static const struct {
        const char *why, *name;
        bool counts;
    } cases[] = {
        {"content", "X-Custom", true},
        {"a credential", "Authorization", true},
        {"a credential that configuration ignores as content", "x-api-key", true},
        {"what configuration ignores", "X-Ignored", false},
        {"a credential of this hop", "Proxy-Authorization", false},
        {"a namespace", "Refrain-Namespace", true},
        {"a custom key", "Refrain-Key", true},
        {"another gateway's", "cf-aig-cache-key", true},
        {"how many answers to keep", "Refrain-Variants", true},
        {"who calls", "User-Agent", false},
        {"a request id", "X-Request-Id", false},
        {"framing", "Content-Length", false},
        {"hop by hop", "Keep-Alive", false},
        {"noise, but in the scope", "X-Forwarded-For", true},
    };
    static const struct slice listed[] = {SLICE("x-forwarded-for")};
    static const struct key_scope plain = {.mode = KEY_SCOPE_CREDENTIAL};
    static const struct key_scope by_fields = {.mode = KEY_SCOPE_HEADERS, .headers = listed, .headers_n = 1};
    struct memo_hasher *h = memo_hasher_new((const uint8_t[16]){3});

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gmac_tag without = fields_tag(h, &by_fields, NULL, NULL);
        struct gmac_tag one = fields_tag(h, &by_fields, cases[i].name, "one");
        struct gmac_tag two = fields_tag(h, &by_fields, cases[i].name, "two");

        if (same(one, two) == cases[i].counts || same(one, without) == cases[i].counts)
            fail_msg("%s", cases[i].why);
    }
    assert_true(same(fields_tag(h, &plain, "X-Forwarded-For", "1"), fields_tag(h, &plain, NULL, NULL)));
    memo_hasher_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found),
        cmocka_unit_test(the_whole_tag_counts),
        cmocka_unit_test(the_longest_unused_makes_room),
        cmocka_unit_test(memory_is_bounded_and_taken_as_it_fills),
        cmocka_unit_test(sets_are_used_evenly),
        cmocka_unit_test(parts_cannot_run_together),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(fields_that_a_key_reads_are_in_the_tag),
    };

    return cmocka_run_group_tests_name("memo", tests, NULL, NULL);
}
