#include <stdlib.h>
#include <string.h>

#include "site_build_priv.h"

/* What configuration says of some requests: rules, the operator's own operations, what events have go. */

static struct rule_texts texts_of(const struct text_list *list)
{
    return (struct rule_texts){list->at, list->n};
}

static enum rule_truth truth_of(enum maybe said)
{
    return said == MAYBE_UNSAID ? RULE_UNSAID : said == MAYBE_YES ? RULE_YES : RULE_NO;
}

static struct rule_range range_of(int64_t above, int64_t below, double unit)
{
    return (struct rule_range){above != RANGE_ANY, below != RANGE_ANY, (double)above / unit,
                               (double)below / unit};
}

/* A size by its name is a range of characters; a range that is given as well narrows it. */
static struct rule_range characters_of(const struct rule_conf *r)
{
    struct rule_range range = range_of(r->match.prompt_above, r->match.prompt_below, 1);
    size_t from, to;

    if (r->match.prompt == 0)
        return range;
    prompt_tier_range((enum prompt_tier)(r->match.prompt - 1), &from, &to);
    if (from > 0 && (!range.has_above || range.above < (double)from - 1)) {
        range.has_above = true;
        range.above = (double)from - 1;
    }
    if (to < SIZE_MAX && (!range.has_below || range.below > (double)to)) {
        range.has_below = true;
        range.below = (double)to;
    }
    return range;
}

static const enum rule_cache rule_caches[] = {
    [CACHE_UNSAID] = RULE_CACHE_UNSAID,
    [CACHE_ON] = RULE_CACHE_ON,
    [CACHE_OFF] = RULE_CACHE_OFF,
    [CACHE_READ_ONLY] = RULE_CACHE_READ_ONLY,
    [CACHE_WRITE_ONLY] = RULE_CACHE_WRITE_ONLY,
};

static const enum rule_truth usage_truths[] = {
    [RULE_USAGE_UNSAID] = RULE_UNSAID,
    [RULE_USAGE_UPSTREAM] = RULE_NO,
    [RULE_USAGE_ZERO] = RULE_YES,
};

static struct rule rule_of(const struct rule_conf *r)
{
    return (struct rule){
        .match =
            {
                .paths = texts_of(&r->match.paths),
                .models = texts_of(&r->match.models),
                .operations = texts_of(&r->match.operations),
                .stream = truth_of(r->match.stream),
                .temperature = range_of(r->match.temperature_above, r->match.temperature_below, 1e3),
                .characters = characters_of(r),
                .messages = range_of(r->match.messages_above, r->match.messages_below, 1),
            },
        .cache = rule_caches[r->cache],
        .ttl_s = r->ttl_s == TTL_NONE ? ASK_TTL_NONE : r->ttl_s,
        .stale_while_revalidate_s = r->stale_while_revalidate_s,
        .stale_if_error_s = r->stale_if_error_s,
        .variants = r->variants,
        .server_tools = truth_of(r->server_tools),
        .zero_usage = usage_truths[r->usage_on_hit],
        .namespace_ = slice_str(r->namespace_),
        .tags = texts_of(&r->tags),
    };
}

static size_t count_names(const char *const *names)
{
    size_t n = 0;

    while (names && names[n])
        n++;
    return n;
}

/* "Name: glob", as configuration keeps it. */
static struct rule_header header_of(const char *text)
{
    struct slice value = slice_str(text), name = slice_cut(&value, ':');

    return (struct rule_header){name, slice_trim(value)};
}

static void build_match_headers(struct build *b, struct rule *rule, const struct rule_conf *conf, size_t *at)
{
    size_t n = count_names(conf->match.headers);

    rule->match.headers = b->rule_headers + *at;
    rule->match.headers_n = n;
    for (size_t i = 0; i < n; i++)
        b->rule_headers[*at + i] = header_of(conf->match.headers[i]);
    *at += n;
}

/* Every header that some scope or rule reads, for the memo. */
static bool build_reads(struct build *b, const struct config *conf, size_t headers_n)
{
    size_t n = headers_n + conf->cache.scope_headers.n;

    for (size_t i = 0; i < conf->rules_n; i++)
        n += conf->rules[i].scope_headers.n;
    b->reads = calloc(n + 1, sizeof(*b->reads));
    if (!b->reads)
        return false;
    n = 0;
    for (size_t i = 0; i < headers_n; i++)
        b->reads[n++] = b->rule_headers[i].name;
    for (size_t i = 0; i < conf->cache.scope_headers.n; i++)
        b->reads[n++] = conf->cache.scope_headers.at[i];
    for (size_t i = 0; i < conf->rules_n; i++)
        for (size_t k = 0; k < conf->rules[i].scope_headers.n; k++)
            b->reads[n++] = conf->rules[i].scope_headers.at[k];
    b->site.reads = (struct key_scope){.mode = KEY_SCOPE_HEADERS, .headers = b->reads, .headers_n = n};
    return true;
}

bool site_build_rules(struct build *b, const struct config *conf, const struct site_parts *parts)
{
    size_t headers_n = 0;

    for (size_t i = 0; i < conf->rules_n; i++)
        headers_n += count_names(conf->rules[i].match.headers);
    b->rules = calloc(conf->rules_n + 1, sizeof(*b->rules));
    b->scopes = calloc(conf->rules_n + 1, sizeof(*b->scopes));
    b->rule_headers = calloc(headers_n + 1, sizeof(*b->rule_headers));
    if (!b->rules || !b->scopes || !b->rule_headers)
        return false;
    headers_n = 0;
    for (size_t i = 0; i < conf->rules_n; i++) {
        const struct rule_conf *r = &conf->rules[i];

        b->rules[i] = rule_of(r);
        build_match_headers(b, &b->rules[i], r, &headers_n);
        b->scopes[i] = site_build_scope(r->scope, &r->scope_headers, parts);
        b->rules[i].scope = r->scope_given ? &b->scopes[i] : NULL;
        b->site.rules.off_by_head |= rule_is_off_by_head(&b->rules[i]);
    }
    b->site.rules.at = b->rules;
    b->site.rules.n = conf->rules_n;
    return build_reads(b, conf, headers_n);
}

/* -- what events from outside have go -- */

static struct event_names event_names_of(const struct text_list *list)
{
    return (struct event_names){list->at, list->n};
}

bool site_build_event_rules(struct build *b, const struct config *conf)
{
    b->event_rules = calloc(conf->event_rules_n + 1, sizeof(*b->event_rules));
    if (!b->event_rules)
        return false;
    for (size_t i = 0; i < conf->event_rules_n; i++) {
        const struct event_rule_conf *r = &conf->event_rules[i];

        b->event_rules[i] = (struct event_rule){
            .events = event_names_of(&r->events),
            .tags = event_names_of(&r->tags),
            .patterns = event_names_of(&r->patterns),
            .models = event_names_of(&r->models),
            .operations = event_names_of(&r->operations),
            .namespace_ = slice_str(r->namespace_),
            .all = r->all,
        };
    }
    b->site.event_rules = (struct event_rules){b->event_rules, conf->event_rules_n};
    return true;
}

/* -- the operator's own operations -- */

/* A lifetime under cache.ttl goes before the operation's own, which may be a shipped one. */
static int64_t own_ttl_s(const struct config *conf, const struct operation_conf *o)
{
    for (size_t i = 0; i < conf->cache.ttl_n; i++)
        if (strcmp(conf->cache.ttl[i].name, o->name) == 0)
            return conf->cache.ttl[i].ttl_s;
    return o->ttl_s;
}

bool site_build_own_operations(struct build *b, const struct config *conf)
{
    int r = buf_addf(&b->own_names, "Refrain-Operation must be one of: ");

    b->own = calloc(conf->operations_n + 1, sizeof(*b->own));
    if (!b->own)
        return false;
    for (size_t i = 0; i < conf->operations_n; i++) {
        const struct operation_conf *o = &conf->operations[i];

        b->own[i] = (struct own_operation){
            .name = slice_str(o->name),
            .paths = texts_of(&o->paths),
            .models = texts_of(&o->models),
            .op = o->dialect ? operation_by_name(slice_str(o->dialect)) : OP_COUNT,
            .ttl_s = own_ttl_s(conf, o),
            .tags = texts_of(&o->tags),
        };
        if (r == 0)
            r = buf_addf(&b->own_names, "%s%s", i > 0 ? ", " : "", o->name);
    }
    if (r == 0)
        r = buf_add_byte(&b->own_names, '\0');
    b->site.rules.own = b->own;
    b->site.rules.own_n = conf->operations_n;
    b->site.own_operations = b->own_names.data;
    return r == 0;
}
