#include <assert.h>
#include <string.h>

#include "config_priv.h"
#include "refrain/policy/ask.h"
#include "refrain/policy/rule.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/template.h"

/* Rules, operations of the operator's own, and what events from outside have go. */

static bool is_own_operation(const struct config *c, const char *name)
{
    return config_operation(c, name) != NULL;
}

static bool is_shipped_operation(const char *name)
{
    enum operation op = operation_by_name(slice_str(name));

    return op != OP_COUNT && op != OP_PASS;
}

/* The operation that may have been meant. */
static struct judge_guess nearest_operation(const struct config *c, const char *wrote, bool own)
{
    struct judge_guess guess = {NULL, 0};

    for (enum operation op = 0; op < OP_COUNT; op++)
        if (op != OP_PASS)
            judge_nearest(wrote, dialect_of(op)->name, &guess);
    for (size_t i = 0; own && i < c->operations_n; i++)
        judge_nearest(wrote, c->operations[i].name, &guess);
    return guess;
}

static void no_such_operation(struct loading *l, const char *name, const char *wrote, bool own)
{
    struct judge_guess guess = nearest_operation(l->conf, wrote, own);

    judge_unknown(l, name, "operation", wrote, &guess);
}

static void judge_tags(struct loading *l, const char *name, const struct text_list *tags)
{
    if (tags->n > ASK_TAGS_MAX)
        report_error(l->report, judge_origin(l, name), name, "at most %d tags, got %zu", ASK_TAGS_MAX,
                     tags->n);
    for (size_t i = 0; i < tags->n; i++)
        if (!ask_tag_ok(tags->at[i]))
            report_error(l->report, judge_origin(l, name), name,
                         "a tag is 1 to 64 of: A-Z a-z 0-9 . _ - : / @ + =, got %s", tags->at[i].data);
}

static void judge_range(struct loading *l, const char *name, int64_t above, int64_t below)
{
    if (above != RANGE_ANY && below != RANGE_ANY && above >= below)
        judge_warn(l, name, "nothing is above the one and below the other: the rule never matches");
}

/* Globs are held against a path, which begins with a slash. */
static void judge_paths(struct loading *l, const char *name, const struct text_list *globs)
{
    for (size_t i = 0; i < globs->n; i++)
        if (globs->at[i].len == 0 || !strchr("/*?", globs->at[i].data[0]))
            report_warning(l->report, judge_origin(l, name), name,
                           "%s matches nothing, since a path begins with /", globs->at[i].data);
}

static bool says_something(const struct rule_conf *r)
{
    return r->cache != CACHE_UNSAID || r->ttl_s != 0 || r->tags.n > 0 || r->namespace_ || r->scope_given ||
           r->variants > 0 || r->stale_while_revalidate_s != RANGE_ANY || r->stale_if_error_s != RANGE_ANY ||
           r->server_tools != MAYBE_UNSAID || r->usage_on_hit != RULE_USAGE_UNSAID;
}

/* Where an item of a section begins. */
static const struct origin *origin_of_item(const struct loading *l, const char *prefix)
{
    const struct item_origin *item = l->items;

    while (item && strcmp(item->prefix, prefix) != 0)
        item = item->next;
    assert(item);
    return &item->origin;
}

static void judge_rule(struct loading *l, size_t i)
{
    struct rule_conf *r = &l->conf->rules[i];
    const char *base = pool_printf(l->pool, "rules[%zu]", i);
    const char *operation = pool_printf(l->pool, "%s.match.operation", base);

    for (size_t k = 0; k < r->match.operations.n; k++)
        if (!is_shipped_operation(r->match.operations.at[k].data) &&
            !is_own_operation(l->conf, r->match.operations.at[k].data))
            no_such_operation(l, operation, r->match.operations.at[k].data, true);
    r->scope_given = r->scope_headers.n > 0;
    if (r->scope_given)
        r->scope = judge_scope(l, pool_printf(l->pool, "%s.scope", base), &r->scope_headers);
    judge_tags(l, pool_printf(l->pool, "%s.tags", base), &r->tags);
    judge_paths(l, pool_printf(l->pool, "%s.match.path", base), &r->match.paths);
    judge_range(l, pool_printf(l->pool, "%s.match.temperature_below", base), r->match.temperature_above,
                r->match.temperature_below);
    judge_range(l, pool_printf(l->pool, "%s.match.prompt_below", base), r->match.prompt_above,
                r->match.prompt_below);
    judge_range(l, pool_printf(l->pool, "%s.match.messages_below", base), r->match.messages_above,
                r->match.messages_below);
    if (!says_something(r) && l->report->errors_n == 0) /* else it may be what was refused */
        report_warning(l->report, origin_of_item(l, pool_printf(l->pool, "%s.", base)), base,
                       "the rule says nothing of the requests that it matches");
}

static void judge_operation(struct loading *l, size_t i)
{
    const struct operation_conf *o = &l->conf->operations[i];
    const char *base = pool_printf(l->pool, "operations.%s", o->name);
    const char *dialect = pool_printf(l->pool, "%s.dialect", base);

    if (is_shipped_operation(o->name))
        judge_fail(
            l, pool_printf(l->pool, "%s.ttl", base),
            "this operation is a shipped one; its lifetime is set by cache.ttl, anything else by rules");
    if (o->dialect && (!is_shipped_operation(o->dialect) || strcmp(o->dialect, "read") == 0))
        no_such_operation(l, dialect, o->dialect, false);
    judge_paths(l, pool_printf(l->pool, "%s.path", base), &o->paths);
    judge_tags(l, pool_printf(l->pool, "%s.tags", base), &o->tags);
}

/* -- events from outside -- */

static void judge_templates(struct loading *l, const char *name, const struct text_list *list, bool pattern)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *fault = template_fault(list->at[i], pattern);

        if (fault)
            report_error(l->report, judge_origin(l, name), name, "%s: %s", list->at[i].data, fault);
    }
}

/* A pattern without its last part, HEX, matches nothing. */
static void judge_event_patterns(struct loading *l, const char *name, const struct text_list *list)
{
    judge_templates(l, name, list, true);
    for (size_t i = 0; i < list->n; i++)
        if (list->at[i].len > 0 && !memchr(list->at[i].data, '*', list->at[i].len))
            report_warning(l->report, judge_origin(l, name), name,
                           "%s matches one entry at most: names end in 64 hex digits", list->at[i].data);
}

static void judge_event_rule(struct loading *l, size_t i)
{
    const struct event_rule_conf *r = &l->conf->event_rules[i];
    const char *base = pool_printf(l->pool, "event_rules[%zu]", i);
    const char *event = pool_printf(l->pool, "%s.event", base), *all = pool_printf(l->pool, "%s.all", base);
    const struct slice namespace_ = slice_str(r->namespace_);
    const struct text_list alone = {&namespace_, r->namespace_ != NULL};
    size_t listed = r->tags.n + r->patterns.n + r->models.n + r->operations.n;

    for (size_t k = 0; k < r->events.n; k++)
        if (r->events.at[k].len == 0 || strpbrk(r->events.at[k].data, " \t{},\""))
            report_error(l->report, judge_origin(l, event), event, "%s: no event has such a type",
                         r->events.at[k].data);
    judge_templates(l, pool_printf(l->pool, "%s.tags", base), &r->tags, false);
    judge_event_patterns(l, pool_printf(l->pool, "%s.patterns", base), &r->patterns);
    judge_templates(l, pool_printf(l->pool, "%s.models", base), &r->models, false);
    judge_templates(l, pool_printf(l->pool, "%s.operations", base), &r->operations, false);
    judge_templates(l, pool_printf(l->pool, "%s.namespace", base), &alone, false);
    if (r->all && (listed > 0 || r->namespace_))
        judge_warn(l, all, "what is listed beside it narrows it down: it has no effect");
    if (!r->all && listed == 0 && !r->namespace_ && l->report->errors_n == 0)
        judge_warn(l, event, "the rule has nothing go");
}

/* -- all of it -- */

void config_judge_rules(struct loading *l)
{
    const struct config *c = l->conf;

    if (c->rules_n > RULES_MAX)
        report_error(l->report, judge_origin(l, pool_printf(l->pool, "rules[%d].cache", RULES_MAX)), "rules",
                     "at most %d, got %zu", RULES_MAX, c->rules_n);
    for (size_t i = 0; i < c->rules_n; i++)
        judge_rule(l, i);
    for (size_t i = 0; i < c->operations_n; i++)
        judge_operation(l, i);
    for (size_t i = 0; i < c->event_rules_n; i++)
        judge_event_rule(l, i);
}
