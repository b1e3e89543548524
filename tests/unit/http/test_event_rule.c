/* event_rule: what an event has go, and that what it says is never more than a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/http/event_rule.h"
#include "refrain/wire/template.h"

#define LIST(...)                                                                                            \
    {                                                                                                        \
        (const struct slice[]){__VA_ARGS__},                                                                 \
            sizeof((const struct slice[]){__VA_ARGS__}) / sizeof(struct slice)                               \
    }

static const struct event_rule given[] = {
    {.events = LIST(SLICE("doc.*")), .tags = LIST(SLICE("doc-{id}"), SLICE("all-docs"))},
    {.events = LIST(SLICE("doc.removed"), SLICE("tenant.gone")), .namespace_ = SLICE("team-{tenant.name}")},
    {.events = LIST(SLICE("model.*")), .patterns = LIST(SLICE("{ns}:chat:{model}*:*"))},
    {.events = LIST(SLICE("models.*")),
     .models = LIST(SLICE("{model}-*")),
     .operations = LIST(SLICE("{op}"))},
    {.events = LIST(SLICE("everything")), .all = true},
    {.events = LIST(SLICE("both")), .tags = LIST(SLICE("a")), .namespace_ = SLICE("n")},
};
static const struct event_rules rules = {given, sizeof(given) / sizeof(given[0])};

/* "tag=doc-7 tag=all-docs" */
static void show(const struct event_drops *d, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < d->n; i++) {
        const struct selector *s = &d->at[i];
        const struct {
            const char *name;
            struct slice text;
        } texts[] = {{"tag", s->tag},
                     {"pattern", s->pattern},
                     {"model", s->model},
                     {"operation", s->operation},
                     {"namespace", s->namespace_}};

        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "", selector_is_all(s) ? "all" : "");
        for (size_t k = 0; k < ARRAY_LEN(texts); k++)
            if (texts[k].text.len > 0)
                n += (size_t)snprintf(out + n, size - n, "%s=%.*s;", texts[k].name, (int)texts[k].text.len,
                                      texts[k].text.data);
    }
}

static void fields_are_filled_in(void **state)
{
    static const struct {
        const char *why, *type, *payload, *want;
    } cases[] = {
        {"nothing is for it", "other", "{}", ""},
        {"a number", "doc.updated", "{\"id\":7}", "tag=doc-7;, tag=all-docs;"},
        {"a text with escapes", "doc.updated", "{\"id\":\"a\\u00e4 \\\"b\\\"\"}",
         "tag=doc-a\xC3\xA4 \"b\";, tag=all-docs;"},
        {"a wildcard in a tag is a letter like any other", "doc.updated", "{\"id\":\"*\"}",
         "tag=doc-*;, tag=all-docs;"},
        {"two rules, a field in a field", "doc.removed", "{\"id\":true,\"tenant\":{\"name\":\"x\"}}",
         "tag=doc-true;, tag=all-docs;, namespace=team-x;"},
        {"a member with a dot in its name", "tenant.gone", "{\"tenant.name\":\"y\"}", "namespace=team-y;"},
        {"a pattern", "model.new", "{\"ns\":\"default\",\"model\":\"org/gpt-4o\"}",
         "pattern=default:chat:org/gpt-4o*:*;"},
        {"a model and an operation", "models.new", "{\"model\":\"gpt:4\",\"op\":\"chat\"}",
         "model=gpt:4-*;, operation=chat;"},
        {"all", "everything", "", "all"},
        {"a tag of a namespace", "both", "", "tag=a;namespace=n;"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(event_drops_done) struct event_drops d;
        struct event_fault fault;
        char shown[512];

        if (event_rules_apply(&rules, slice_str(cases[i].type), slice_str(cases[i].payload), &d, &fault) < 0)
            fail_msg("%s: refused: %s", cases[i].why, fault.where);
        show(&d, shown, sizeof(shown));
        if (strcmp(shown, cases[i].want) != 0)
            fail_msg("%s: %s", cases[i].why, shown);
    }
}

static void what_is_no_name_is_refused(void **state)
{
    static const struct {
        const char *why, *type, *payload, *where;
    } cases[] = {
        {"no such field", "doc.updated", "{}", "payload.id"},
        {"no payload", "doc.updated", "", "payload.id"},
        {"an empty text", "doc.updated", "{\"id\":\"\"}", "payload.id"},
        {"null", "doc.updated", "{\"id\":null}", "payload.id"},
        {"a list", "doc.updated", "{\"id\":[1]}", "payload.id"},
        {"a control byte", "doc.updated", "{\"id\":\"a\\u0001\"}", "payload.id"},
        {"a comma", "doc.updated", "{\"id\":\"a,b\"}", "payload.id"},
        {"an empty namespace would be any", "tenant.gone", "{\"tenant\":{\"name\":\"\"}}",
         "payload.tenant.name"},
        {"a wildcard in a pattern", "model.new", "{\"ns\":\"*\",\"model\":\"m\"}", "payload.ns"},
        {"one byte of any", "model.new", "{\"ns\":\"a?\",\"model\":\"m\"}", "payload.ns"},
        {"a colon, which parts names", "model.new", "{\"ns\":\"a:b\",\"model\":\"m\"}", "payload.ns"},
        {"a wildcard written as an escape", "model.new", "{\"ns\":\"\\u002a\",\"model\":\"m\"}",
         "payload.ns"},
        {"a wildcard in a model", "models.new", "{\"model\":\"*\",\"op\":\"chat\"}", "payload.model"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(event_drops_done) struct event_drops d;
        struct event_fault fault;

        if (event_rules_apply(&rules, slice_str(cases[i].type), slice_str(cases[i].payload), &d, &fault) !=
            -EINVAL)
            fail_msg("%s: taken", cases[i].why);
        if (strcmp(fault.where, cases[i].where) != 0)
            fail_msg("%s: %s", cases[i].why, fault.where);
        assert_non_null(fault.expected);
    }
}

static void bounds_hold(void **state)
{
    static struct slice many[EVENT_DROPS_MAX + 1];
    struct event_rule rule = {.events = LIST(SLICE("*")), .tags = {many, EVENT_DROPS_MAX}};
    const struct event_rules one = {&rule, 1};
    char payload[EVENT_FIELD_BYTES + 32];

    (void)state;
    for (size_t i = 0; i <= EVENT_DROPS_MAX; i++)
        many[i] = SLICE_OF("{id}");
    for (size_t extra = 0; extra < 2; extra++) {
        AUTO(event_drops_done) struct event_drops d;
        struct event_fault fault;

        rule.tags.n = EVENT_DROPS_MAX + extra;
        assert_int_equal(event_rules_apply(&one, SLICE_OF("x"), SLICE_OF("{\"id\":1}"), &d, &fault),
                         extra ? -EINVAL : 0);
    }
    rule.tags.n = 1;
    for (int extra = 0; extra < 2; extra++) {
        AUTO(event_drops_done) struct event_drops d;
        struct event_fault fault;

        (void)snprintf(payload, sizeof(payload), "{\"id\":\"%0*d\"}", EVENT_FIELD_BYTES + extra, 7);
        assert_int_equal(event_rules_apply(&one, SLICE_OF("x"), slice_str(payload), &d, &fault),
                         extra ? -EINVAL : 0);
    }
}

static void what_is_filled_in_is_bounded(void **state)
{
    const struct event_rule rule = {.events = LIST(SLICE("*")), .tags = LIST(SLICE("{a}{a}{a}"))};
    const struct event_rules one = {&rule, 1};
    AUTO(event_drops_done) struct event_drops d;
    struct event_fault fault;
    char payload[EVENT_FIELD_BYTES + 32];

    (void)state;
    (void)snprintf(payload, sizeof(payload), "{\"a\":\"%0*d\"}", EVENT_FIELD_BYTES, 7);
    assert_int_equal(event_rules_apply(&one, SLICE_OF("x"), slice_str(payload), &d, &fault), -EINVAL);
    assert_string_equal(fault.where, "payload");
}

static void templates_are_judged(void **state)
{
    static const struct {
        const char *text;
        bool pattern, good;
    } cases[] = {
        {"doc-{id}", false, true},   {"{a.b}-{c}", false, true}, {"", false, false},
        {"doc-{", false, false},     {"doc-}", false, false},    {"doc-{}", false, false},
        {"doc-{a b}", false, false}, {"a,b", false, false},      {"a:b:*", true, true},
        {"{x}:*", true, true},       {"a b", true, false},       {"a{{b}}", true, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if ((template_fault(slice_str(cases[i].text), cases[i].pattern) == NULL) != cases[i].good)
            fail_msg("%s", cases[i].text);
    assert_true(event_type_ok(SLICE_OF("com.example:doc/updated_v1-x")));
    assert_false(event_type_ok(SLICE_OF("a b")));
    assert_false(event_type_ok(SLICE_OF("")));
    assert_false(event_type_ok(SLICE_OF("*")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_filled_in), cmocka_unit_test(what_is_no_name_is_refused),
        cmocka_unit_test(bounds_hold),          cmocka_unit_test(what_is_filled_in_is_bounded),
        cmocka_unit_test(templates_are_judged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
