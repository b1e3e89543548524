/* selector: everything that is given must match, and nothing that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/store/selector.h"

static const struct label label = {
    .key = {{0xab, 0xcd}},
    .id = SLICE("0123456789abcdef0123456789abcdef"),
    .namespace_ = SLICE("team"),
    .operation = SLICE("chat"),
    .model = SLICE("gpt-4o:mini"),
    .tags = SLICE("blue,night blue,red"),
    .target = 77,
    .created_ms = 1000,
};

static const struct {
    const char *why;
    struct selector which;
    bool want;
} cases[] = {
    {"nothing given means all", {.id = SLICE("")}, true},
    {"its id", {.id = SLICE("0123456789abcdef0123456789abcdef")}, true},
    {"an id is no prefix", {.id = SLICE("0123456789abcdef")}, false},
    {"its first tag", {.tag = SLICE("blue")}, true},
    {"its last tag", {.tag = SLICE("red")}, true},
    {"a tag with a space in it", {.tag = SLICE("night blue")}, true},
    {"a tag is whole", {.tag = SLICE("night")}, false},
    {"a tag is no pattern", {.tag = SLICE("*")}, false},
    {"its operation", {.operation = SLICE("chat")}, true},
    {"an operation is whole", {.operation = SLICE("cha")}, false},
    {"a model is a pattern", {.model = SLICE("gpt-4o*")}, true},
    {"another model", {.model = SLICE("claude*")}, false},
    {"its namespace", {.namespace_ = SLICE("team")}, true},
    {"another namespace", {.namespace_ = SLICE("teams")}, false},
    {"its target", {.target = 77}, true},
    {"another target", {.target = 78}, false},
    {"created before", {.created_before_ms = 1001}, true},
    {"created at that very time", {.created_before_ms = 1000}, false},
    {"its name", {.pattern = SLICE("team:chat:gpt-4o_mini:abcd*")}, true},
    {"a name's colon is one of ours", {.pattern = SLICE("team:chat:gpt-4o:mini:*")}, false},
    {"part of a name", {.pattern = SLICE("*:chat:*")}, true},
    {"a name is matched as a whole", {.pattern = SLICE("team:chat")}, false},
    {"both given, both true", {.tag = SLICE("red"), .namespace_ = SLICE("team")}, true},
    {"both given, one true", {.tag = SLICE("red"), .namespace_ = SLICE("other")}, false},
};

static void what_is_given_must_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (selector_matches(&cases[i].which, &label) != cases[i].want)
            fail_msg("%s", cases[i].why);
}

static void all_is_nothing_given(void **state)
{
    (void)state;
    assert_true(selector_is_all(&(struct selector){0}));
    for (size_t i = 1; i < ARRAY_LEN(cases); i++)
        if (selector_is_all(&cases[i].which))
            fail_msg("%s", cases[i].why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_must_match),
        cmocka_unit_test(all_is_nothing_given),
    };

    return cmocka_run_group_tests_name("selector", tests, NULL, NULL);
}
