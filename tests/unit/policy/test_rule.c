/* rule: which rules match a request, what they come to, and what remains for the request to say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/policy/rule.h"

#define TEXTS(...)                                                                                           \
    {                                                                                                        \
        (const struct slice[]){__VA_ARGS__}, ARRAY_LEN(((const struct slice[]){__VA_ARGS__}))                \
    }
#define HEADERS(...)                                                                                         \
    .headers = (const struct rule_header[]){__VA_ARGS__},                                                    \
    .headers_n = ARRAY_LEN(((const struct rule_header[]){__VA_ARGS__}))

static const struct own_operation own_summarize = {.name = SLICE("summarize"), .op = OP_COUNT, .ttl_s = 7200};

static struct fields sent(void)
{
    struct fields f = {.n = 0};

    assert_int_equal(fields_add(&f, SLICE_OF("X-Plan"), SLICE_OF("gold-2")), 0);
    assert_int_equal(fields_add(&f, SLICE_OF("x-team"), SLICE_OF("red")), 0);
    assert_int_equal(fields_add(&f, SLICE_OF("X-Team"), SLICE_OF("blue ")), 0);
    return f;
}

/* A chat, streamed, at 0.7, of 1000 characters in 3 messages. */
static struct rule_facts a_chat(const struct fields *fields)
{
    return (struct rule_facts){
        .path = SLICE("/v1/chat/completions"),
        .op = OP_CHAT,
        .model = SLICE("gpt-4o-mini"),
        .stream = true,
        .has_temperature = true,
        .temperature = 0.7,
        .characters = 1000,
        .messages = 3,
        .fields = fields,
    };
}

static bool matches(const struct rule_match *m, const struct rule_facts *f)
{
    struct rule rule = {.match = *m};
    struct rules rules = {.at = &rule, .n = 1};

    return rules_match(&rules, f) == 1;
}

static void a_rule_matches_when_all_that_it_asks_holds(void **state)
{
    const struct {
        const char *why;
        struct rule_match match;
        bool want;
    } cases[] = {
        {"nothing asked", {.stream = RULE_UNSAID}, true},
        {"its path", {.paths = TEXTS(SLICE("/v1/*"))}, true},
        {"another path", {.paths = TEXTS(SLICE("/v2/*"))}, false},
        {"one of two models", {.models = TEXTS(SLICE("o3*"), SLICE("gpt-4o*"))}, true},
        {"neither model", {.models = TEXTS(SLICE("o3*"), SLICE("gpt-4o"))}, false},
        {"its operation", {.operations = TEXTS(SLICE("chat"))}, true},
        {"another operation", {.operations = TEXTS(SLICE("embedding"))}, false},
        {"streamed", {.stream = RULE_YES}, true},
        {"not streamed", {.stream = RULE_NO}, false},
        {"a header, any case", {HEADERS({SLICE("x-plan"), SLICE("gold*")})}, true},
        {"the second of two of a name", {HEADERS({SLICE("X-Team"), SLICE("blue")})}, true},
        {"a header that says otherwise", {HEADERS({SLICE("X-Plan"), SLICE("free")})}, false},
        {"a header that is there", {HEADERS({SLICE("X-Plan"), SLICE("*")})}, true},
        {"a header that is not", {HEADERS({SLICE("X-Other"), SLICE("*")})}, false},
        {"one of two headers is not enough",
         {HEADERS({SLICE("X-Plan"), SLICE("*")}, {SLICE("X-Other"), SLICE("*")})},
         false},
        {"warmer", {.temperature = {.has_above = true, .above = 0.5}}, true},
        {"above is not at", {.temperature = {.has_above = true, .above = 0.7}}, false},
        {"cooler", {.temperature = {.has_below = true, .below = 0.71}}, true},
        {"below is not at", {.temperature = {.has_below = true, .below = 0.7}}, false},
        {"longer", {.characters = {.has_above = true, .above = 999}}, true},
        {"above is not at, of characters", {.characters = {.has_above = true, .above = 1000}}, false},
        {"shorter", {.characters = {.has_below = true, .below = 1001}}, true},
        {"below is not at, of characters", {.characters = {.has_below = true, .below = 1000}}, false},
        {"more messages", {.messages = {.has_above = true, .above = 2}}, true},
        {"fewer messages", {.messages = {.has_below = true, .below = 3}}, false},
        {"one of two conditions is not enough", {.models = TEXTS(SLICE("gpt*")), .stream = RULE_NO}, false},
    };
    struct fields fields = sent();
    struct rule_facts facts = a_chat(&fields);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (matches(&cases[i].match, &facts) != cases[i].want)
            fail_msg("%s", cases[i].why);
}

static void a_temperature_not_given_is_the_apis(void **state)
{
    struct fields fields = sent();
    struct rule_facts facts = a_chat(&fields);
    struct rule_match warm = {.temperature = {.has_above = true, .above = 0.9}};
    struct rule_match cool = {.temperature = {.has_below = true, .below = 0.9}};

    (void)state;
    facts.has_temperature = false;
    facts.temperature = 0;
    assert_true(matches(&warm, &facts));
    assert_false(matches(&cool, &facts));
    facts.op = OP_EMBEDDING; /* generates nothing */
    assert_false(matches(&warm, &facts));
    assert_false(matches(&cool, &facts));
}

static void an_own_operation_matches_by_its_name_and_by_its_dialects(void **state)
{
    struct fields fields = sent();
    struct rule_facts facts = a_chat(&fields);
    struct rule_match named = {.operations = TEXTS(SLICE("summarize"))};
    struct rule_match chat = {.operations = TEXTS(SLICE("chat"))};

    (void)state;
    assert_false(matches(&named, &facts));
    facts.own = &own_summarize;
    assert_true(matches(&named, &facts));
    assert_true(matches(&chat, &facts));
}

static void the_head_may_tell_that_the_cache_is_off(void **state)
{
    const struct rule off_chat = {.match = {.operations = TEXTS(SLICE("chat"))}, .cache = RULE_CACHE_OFF},
                      off_other = {.match = {.paths = TEXTS(SLICE("/v2/*"))}, .cache = RULE_CACHE_OFF},
                      off_model = {.match = {.models = TEXTS(SLICE("o3"))}, .cache = RULE_CACHE_OFF},
                      on_stream = {.match = {.stream = RULE_YES}, .cache = RULE_CACHE_ON},
                      on_drafts = {.match = {.operations = TEXTS(SLICE("drafts"))}, .cache = RULE_CACHE_ON},
                      ttl_only = {.ttl_s = 60};
    const struct own_operation by_name = {.name = SLICE("drafts")},
                               by_model = {.name = SLICE("drafts"), .models = TEXTS(SLICE("draft*"))};
    const struct {
        const char *why;
        struct rule rules[3];
        size_t n;
        const struct own_operation *own;
        bool want;
    } cases[] = {
        {"a rule that the head decides", {off_chat}, 1, NULL, true},
        {"rules that say nothing of it are passed over", {ttl_only, off_chat}, 2, NULL, true},
        {"one that does not match is passed over", {off_other, off_chat}, 2, NULL, true},
        {"none that matches", {off_other, ttl_only}, 2, NULL, false},
        {"what the body tells is waited for", {off_model}, 1, NULL, false},
        {"an earlier one may yet keep it on", {on_stream, off_chat}, 2, NULL, false},
        {"the operation cannot turn out to be another", {on_drafts, off_chat}, 2, &by_name, true},
        {"the operation may turn out to be another", {on_drafts, off_chat}, 2, &by_model, false},
    };
    struct fields fields = sent();
    struct rule_facts head = {.path = SLICE("/v1/chat/completions"), .op = OP_CHAT, .fields = &fields};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rules r = {
            .at = cases[i].rules, .n = cases[i].n, .own = cases[i].own, .own_n = !!cases[i].own};

        if (rules_are_off_by_head(&r, &head) != cases[i].want)
            fail_msg("%s", cases[i].why);
    }
    assert_true(rule_is_off_by_head(&off_chat));
    assert_false(rule_is_off_by_head(&off_model));
    assert_false(rule_is_off_by_head(&on_stream));
}

static const struct key_scope scope_shared = {.mode = KEY_SCOPE_SHARED};

static const struct rule three[] = {
    {.ttl_s = 60,
     .stale_while_revalidate_s = RULE_WINDOW_UNSAID,
     .stale_if_error_s = 0,
     .tags = TEXTS(SLICE("a"), SLICE("b"))},
    {.cache = RULE_CACHE_READ_ONLY,
     .ttl_s = 120,
     .stale_while_revalidate_s = 30,
     .stale_if_error_s = 90,
     .variants = 4,
     .server_tools = RULE_NO,
     .zero_usage = RULE_YES,
     .namespace_ = SLICE("red"),
     .tags = TEXTS(SLICE("b"), SLICE("c"))},
    {.cache = RULE_CACHE_OFF,
     .stale_while_revalidate_s = 7,
     .stale_if_error_s = 7,
     .variants = 8,
     .server_tools = RULE_YES,
     .zero_usage = RULE_NO,
     .namespace_ = SLICE("blue"),
     .scope = &scope_shared},
};
static const struct rules rules_three = {.at = three, .n = ARRAY_LEN(three)};

static void the_first_that_says_a_thing_decides_it(void **state)
{
    struct plan p;

    (void)state;
    plan_make(&rules_three, 7, NULL, &p);
    assert_int_equal(p.ttl_s, 60);
    assert_int_equal(p.stale_while_revalidate_s, 30);
    assert_int_equal(p.stale_if_error_s, 0);
    assert_int_equal(p.cache, RULE_CACHE_READ_ONLY);
    assert_int_equal(p.variants, 4);
    assert_false(p.server_tools);
    assert_int_equal(p.zero_usage, RULE_YES);
    assert_true(slice_eq(p.namespace_, SLICE_OF("red")));
    assert_ptr_equal(p.scope, &scope_shared);

    plan_make(&rules_three, 4, NULL, &p);
    assert_int_equal(p.cache, RULE_CACHE_OFF);
    assert_int_equal(p.ttl_s, RULE_TTL_UNSAID);
    assert_true(p.server_tools);
    assert_int_equal(p.zero_usage, RULE_NO);

    plan_make(&rules_three, 0, NULL, &p);
    assert_int_equal(p.cache, RULE_CACHE_ON);
    assert_int_equal(p.stale_while_revalidate_s, RULE_WINDOW_UNSAID);
    assert_int_equal(p.stale_if_error_s, RULE_WINDOW_UNSAID);
    assert_int_equal(p.variants, 0);
    assert_int_equal(p.zero_usage, RULE_UNSAID);
    assert_null(p.scope);
}

static void a_rules_lifetime_goes_before_its_operations(void **state)
{
    struct plan p;

    (void)state;
    plan_make(&rules_three, 1, &own_summarize, &p);
    assert_int_equal(p.ttl_s, 60);
    plan_make(&rules_three, 4, &own_summarize, &p);
    assert_int_equal(p.ttl_s, 7200);
}

static void a_request_may_ask_for_less_than_a_rule_but_not_for_more(void **state)
{
    static const struct {
        const char *why;
        enum rule_cache cache;
        bool may_read, may_write;
    } cases[] = {
        {"on", RULE_CACHE_ON, true, true},
        {"read-only", RULE_CACHE_READ_ONLY, true, false},
        {"write-only", RULE_CACHE_WRITE_ONLY, false, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct plan p = {.cache = cases[i].cache, .variants = 3};
        struct ask all = {.may_read = true, .may_write = true}, none = {.variants = 2};

        plan_bound(&p, &all);
        plan_bound(&p, &none);
        if (all.may_read != cases[i].may_read || all.may_write != cases[i].may_write || none.may_read ||
            none.may_write)
            fail_msg("%s", cases[i].why);
        assert_int_equal(all.variants, 3);
        assert_int_equal(none.variants, 2);
    }
}

static void tags_add_up_each_once(void **state)
{
    struct own_operation own = {.tags = TEXTS(SLICE("own"), SLICE("a"))};
    struct ask ask = {.tags = {SLICE("mine"), SLICE("c")}, .tags_n = 2};
    char out[32];
    struct plan p;
    size_t n;

    (void)state;
    plan_make(&rules_three, 7, &own, &p);
    n = plan_tags(&p, &ask, out, sizeof(out));
    assert_true(slice_eq(slice_make(out, n), SLICE_OF("mine,c,own,a,b")));
    n = plan_tags(&p, &ask, out, 9); /* what does not fit is left out, what does is whole */
    assert_true(slice_eq(slice_make(out, n), SLICE_OF("mine,c,a")));
    p.matched = 0;
    p.own = NULL;
    ask.tags_n = 0;
    assert_int_equal(plan_tags(&p, &ask, out, sizeof(out)), 0);
}

static void own_operations_are_found_by_name_path_and_model(void **state)
{
    const struct own_operation own[] = {
        {.name = SLICE("first"), .paths = TEXTS(SLICE("/a/*")), .models = TEXTS(SLICE("m1"))},
        {.name = SLICE("second"), .paths = TEXTS(SLICE("/b"), SLICE("/a/b")), .models = TEXTS(SLICE("m*"))},
    };
    const struct rules r = {.own = own, .own_n = ARRAY_LEN(own)};

    (void)state;
    assert_ptr_equal(own_operation_named(&r, SLICE_OF("second")), &own[1]);
    assert_null(own_operation_named(&r, SLICE_OF("Second")));
    assert_ptr_equal(own_operation_of_path(&r, SLICE_OF("/a/b")), &own[0]);
    assert_ptr_equal(own_operation_of_path(&r, SLICE_OF("/b")), &own[1]);
    assert_null(own_operation_of_path(&r, SLICE_OF("/c")));
    assert_ptr_equal(own_operation_of_model(&r, SLICE_OF("m2")), &own[1]);
    assert_null(own_operation_of_model(&r, SLICE_OF("")));
}

static void as_many_rules_as_there_are_bits(void **state)
{
    static struct rule many[RULES_MAX];
    struct rules r = {.at = many, .n = RULES_MAX};
    struct fields fields = sent();
    struct rule_facts facts = a_chat(&fields);
    struct plan p;

    (void)state;
    for (size_t i = 0; i < RULES_MAX; i++)
        many[i] =
            (struct rule){.match = {.messages = {.has_above = true, .above = i == RULES_MAX - 1 ? 2 : 9}},
                          .ttl_s = (int64_t)i + 1};
    assert_true(rules_match(&r, &facts) == UINT64_C(1) << 63);
    plan_make(&r, UINT64_C(1) << 63, NULL, &p);
    assert_int_equal(p.ttl_s, RULES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_matches_when_all_that_it_asks_holds),
        cmocka_unit_test(a_temperature_not_given_is_the_apis),
        cmocka_unit_test(an_own_operation_matches_by_its_name_and_by_its_dialects),
        cmocka_unit_test(the_head_may_tell_that_the_cache_is_off),
        cmocka_unit_test(the_first_that_says_a_thing_decides_it),
        cmocka_unit_test(a_rules_lifetime_goes_before_its_operations),
        cmocka_unit_test(a_request_may_ask_for_less_than_a_rule_but_not_for_more),
        cmocka_unit_test(tags_add_up_each_once),
        cmocka_unit_test(own_operations_are_found_by_name_path_and_model),
        cmocka_unit_test(as_many_rules_as_there_are_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
