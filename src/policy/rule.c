#include "refrain/policy/rule.h"

#include <string.h>

#include "refrain/base/glob.h"

/* -- the operator's own operations -- */

static bool one_matches(const struct rule_texts *globs, struct slice text)
{
    for (size_t i = 0; i < globs->n; i++)
        if (glob_matches(globs->at[i], text))
            return true;
    return false;
}

const struct own_operation *own_operation_named(const struct rules *r, struct slice name)
{
    for (size_t i = 0; i < r->own_n; i++)
        if (slice_eq(r->own[i].name, name))
            return &r->own[i];
    return NULL;
}

const struct own_operation *own_operation_of_path(const struct rules *r, struct slice path)
{
    for (size_t i = 0; i < r->own_n; i++)
        if (one_matches(&r->own[i].paths, path))
            return &r->own[i];
    return NULL;
}

const struct own_operation *own_operation_of_model(const struct rules *r, struct slice model)
{
    for (size_t i = 0; i < r->own_n; i++)
        if (one_matches(&r->own[i].models, model))
            return &r->own[i];
    return NULL;
}

/* -- matching -- */

static bool operation_matches(const struct rule_match *m, const struct rule_facts *f)
{
    if (m->operations.n == 0)
        return true;
    for (size_t i = 0; i < m->operations.n; i++)
        if (slice_eq(m->operations.at[i], slice_str(dialect_of(f->op)->name)) ||
            (f->own && slice_eq(m->operations.at[i], f->own->name)))
            return true;
    return false;
}

/* Of several fields of a name, one is enough. */
static bool header_matches(const struct rule_header *h, const struct fields *fields)
{
    for (size_t i = 0; i < fields->n; i++)
        if (slice_ieq(h->name, fields->at[i].name) && glob_matches(h->value, slice_trim(fields->at[i].value)))
            return true;
    return false;
}

static bool headers_match(const struct rule_match *m, const struct fields *fields)
{
    for (size_t i = 0; i < m->headers_n; i++)
        if (!header_matches(&m->headers[i], fields))
            return false;
    return true;
}

static bool is_within(const struct rule_range *r, double n)
{
    return (!r->has_above || n > r->above) && (!r->has_below || n < r->below);
}

static bool temperature_matches(const struct rule_match *m, const struct rule_facts *f)
{
    double temperature = f->has_temperature ? f->temperature : RULE_TEMPERATURE_DEFAULT;

    if (!m->temperature.has_above && !m->temperature.has_below)
        return true;
    if (!f->has_temperature && !dialect_of(f->op)->event)
        return false; /* embeddings and the like have none to speak of */
    return is_within(&m->temperature, temperature);
}

static bool head_matches(const struct rule_match *m, const struct rule_facts *f)
{
    if (m->paths.n > 0 && !one_matches(&m->paths, f->path))
        return false;
    return operation_matches(m, f) && headers_match(m, f->fields);
}

static bool body_matches(const struct rule_match *m, const struct rule_facts *f)
{
    if (m->stream != RULE_UNSAID && (m->stream == RULE_YES) != f->stream)
        return false;
    if (m->models.n > 0 && !one_matches(&m->models, f->model))
        return false;
    return temperature_matches(m, f) && is_within(&m->characters, (double)f->characters) &&
           is_within(&m->messages, (double)f->messages);
}

uint64_t rules_match(const struct rules *r, const struct rule_facts *facts)
{
    uint64_t matched = 0;

    for (size_t i = 0; i < r->n; i++)
        if (body_matches(&r->at[i].match, facts) && head_matches(&r->at[i].match, facts))
            matched |= UINT64_C(1) << i;
    return matched;
}

/* -- by the head alone -- */

static bool is_bounded(const struct rule_range *r)
{
    return r->has_above || r->has_below;
}

static bool asks_for_body(const struct rule_match *m)
{
    return m->models.n > 0 || m->stream != RULE_UNSAID || is_bounded(&m->temperature) ||
           is_bounded(&m->characters) || is_bounded(&m->messages);
}

bool rule_is_off_by_head(const struct rule *rule)
{
    return rule->cache == RULE_CACHE_OFF && !asks_for_body(&rule->match);
}

/* An operation may still be found by the model. */
static bool may_match_later(const struct rules *r, const struct rule_match *m, const struct rule_facts *f)
{
    if (m->operations.n == 0 || f->own)
        return false;
    for (size_t i = 0; i < r->own_n; i++)
        if (r->own[i].models.n > 0)
            return true;
    return false;
}

bool rules_are_off_by_head(const struct rules *r, const struct rule_facts *facts)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct rule *rule = &r->at[i];

        if (rule->cache == RULE_CACHE_UNSAID)
            continue;
        if (head_matches(&rule->match, facts))
            return rule_is_off_by_head(rule); /* the first to say it, or it may be */
        if (may_match_later(r, &rule->match, facts))
            return false;
    }
    return false;
}

/* -- what it comes to -- */

/* Takes from @rule what no rule before it has said. */
static void plan_take(struct plan *p, const struct rule *rule, enum rule_truth *server_tools)
{
    if (p->cache == RULE_CACHE_UNSAID)
        p->cache = rule->cache;
    if (p->ttl_s == RULE_TTL_UNSAID)
        p->ttl_s = rule->ttl_s;
    if (p->stale_while_revalidate_s == RULE_WINDOW_UNSAID)
        p->stale_while_revalidate_s = rule->stale_while_revalidate_s;
    if (p->stale_if_error_s == RULE_WINDOW_UNSAID)
        p->stale_if_error_s = rule->stale_if_error_s;
    if (p->variants == 0)
        p->variants = rule->variants;
    if (p->namespace_.len == 0)
        p->namespace_ = rule->namespace_;
    if (!p->scope)
        p->scope = rule->scope;
    if (p->zero_usage == RULE_UNSAID)
        p->zero_usage = rule->zero_usage;
    if (*server_tools == RULE_UNSAID)
        *server_tools = rule->server_tools;
}

void plan_make(const struct rules *r, uint64_t matched, const struct own_operation *own, struct plan *out)
{
    enum rule_truth server_tools = RULE_UNSAID;

    *out = (struct plan){
        .stale_while_revalidate_s = RULE_WINDOW_UNSAID,
        .stale_if_error_s = RULE_WINDOW_UNSAID,
        .rules = r,
        .own = own,
        .matched = matched,
    };
    for (uint64_t left = matched; left != 0; left &= left - 1)
        plan_take(out, &r->at[__builtin_ctzll(left)], &server_tools);
    if (out->cache == RULE_CACHE_UNSAID)
        out->cache = RULE_CACHE_ON;
    if (out->ttl_s == RULE_TTL_UNSAID && own)
        out->ttl_s = own->ttl_s;
    out->server_tools = server_tools == RULE_YES;
}

struct slice plan_namespace(const struct plan *plan, const struct ask *ask, struct slice fallback)
{
    if (ask->namespace_.len > 0)
        return ask->namespace_;
    return plan->namespace_.len > 0 ? plan->namespace_ : fallback;
}

void plan_bound(const struct plan *plan, struct ask *ask)
{
    if (plan->cache == RULE_CACHE_READ_ONLY)
        ask->may_write = false;
    if (plan->cache == RULE_CACHE_WRITE_ONLY)
        ask->may_read = false;
    if (ask->variants == 0)
        ask->variants = plan->variants;
}

/* -- tags -- */

struct tag_list {
    char *out;
    size_t len, cap;
};

static bool has_tag(const struct tag_list *list, struct slice tag)
{
    struct slice rest = slice_make(list->out, list->len);

    while (rest.data && rest.len > 0)
        if (slice_eq(slice_cut(&rest, ','), tag))
            return true;
    return false;
}

static void add_tag(struct tag_list *list, struct slice tag)
{
    size_t comma = list->len > 0 ? 1 : 0;

    if (list->len + comma + tag.len > list->cap || has_tag(list, tag))
        return;
    if (comma)
        list->out[list->len++] = ',';
    memcpy(list->out + list->len, tag.data, tag.len);
    list->len += tag.len;
}

static void add_tags(struct tag_list *list, const struct rule_texts *tags)
{
    for (size_t i = 0; i < tags->n; i++)
        add_tag(list, tags->at[i]);
}

size_t plan_tags(const struct plan *plan, const struct ask *ask, char *out, size_t cap)
{
    struct tag_list list = {out, 0, cap};
    struct rule_texts asked = {ask->tags, ask->tags_n};

    add_tags(&list, &asked);
    if (plan->own)
        add_tags(&list, &plan->own->tags);
    for (uint64_t left = plan->matched; left != 0; left &= left - 1)
        add_tags(&list, &plan->rules->at[__builtin_ctzll(left)].tags);
    return list.len;
}
