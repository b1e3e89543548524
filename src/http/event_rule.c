#include "refrain/http/event_rule.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/glob.h"
#include "refrain/wire/jscan.h"
#include "refrain/wire/template.h"

/* What a list of a rule is about, and what may stand for a field there. */
enum list_kind { LIST_TAGS, LIST_PATTERNS, LIST_MODELS, LIST_OPERATIONS, LIST_NAMESPACE };

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("._/-", c));
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7F;
}

/* In names of entries nothing else occurs, so a pattern can ask for nothing else; and a colon parts them. */
static bool may_stand_in_pattern(char c)
{
    return is_name_byte(c);
}

static bool may_stand_in_glob(char c)
{
    return c != '*' && c != '?' && !is_control(c);
}

static bool may_stand_in_name(char c)
{
    return c != ',' && !is_control(c);
}

static const struct list_row {
    bool (*may_stand)(char c);
    const char *expected;
    size_t at; /* of the text in a selector */
} rows[] = {
    [LIST_TAGS] = {may_stand_in_name, "a text or number, not empty, without commas",
                   offsetof(struct selector, tag)},
    [LIST_PATTERNS] = {may_stand_in_pattern,
                       "a text or number, not empty, of letters, digits, '.', '_', '/', '-'",
                       offsetof(struct selector, pattern)},
    [LIST_MODELS] = {may_stand_in_glob, "a text or number, not empty, without '*' and '?'",
                     offsetof(struct selector, model)},
    [LIST_OPERATIONS] = {may_stand_in_name, "a text or number, not empty, without commas",
                         offsetof(struct selector, operation)},
    [LIST_NAMESPACE] = {may_stand_in_name, "a text or number, not empty, without commas",
                        offsetof(struct selector, namespace_)},
};

bool event_type_ok(struct slice type)
{
    for (size_t i = 0; i < type.len; i++)
        if (!is_name_byte(type.data[i]) && type.data[i] != ':')
            return false;
    return type.len > 0 && type.len <= EVENT_TYPE_BYTES;
}

/* -- filling in -- */

struct filling {
    struct slice payload;
    struct event_drops *out;
    struct event_fault *fault;
};

static int fail(struct filling *f, struct slice field, const char *expected)
{
    (void)snprintf(f->fault->where, sizeof(f->fault->where), "payload%s%.*s", field.len > 0 ? "." : "",
                   (int)(field.len < 200 ? field.len : 200), field.data ? field.data : "");
    f->fault->expected = expected;
    return -EINVAL;
}

/* `a.b` of {"a": {"b": …}}; a member whose own name has the dot goes before. */
static struct jscan_value find_field(struct slice payload, struct slice name)
{
    struct jscan_value at = jscan_root(payload), whole = jscan_get(at, name);

    if (whole.kind != JSCAN_ABSENT)
        return whole;
    while (name.data)
        at = jscan_get(at, slice_cut(&name, '.'));
    return at;
}

static int add_field(struct filling *f, struct slice name, const struct list_row *row)
{
    struct jscan_value v = find_field(f->payload, name);
    struct buf *text = &f->out->text;
    size_t before = text->len;
    int r;

    if (v.kind != JSCAN_STRING && v.kind != JSCAN_NUMBER && v.kind != JSCAN_BOOL)
        return fail(f, name, row->expected);
    if (v.text.len > EVENT_FIELD_BYTES * 6)
        return fail(f, name, row->expected);
    r = v.kind == JSCAN_STRING ? jscan_decode(v.text, text) : buf_add_slice(text, v.text);
    if (r == -EBADMSG || text->len == before || text->len - before > EVENT_FIELD_BYTES)
        return fail(f, name, row->expected);
    for (size_t i = before; r == 0 && i < text->len; i++)
        if (!row->may_stand(text->data[i]))
            return fail(f, name, row->expected);
    return r;
}

static int fill(struct filling *f, struct slice template, enum list_kind kind, struct slice *out)
{
    struct buf *text = &f->out->text;
    size_t before = text->len;
    struct slice piece;
    bool field, bad;
    int r = 0;

    while (r == 0 && template_next(&template, &piece, &field, &bad))
        r = field ? add_field(f, piece, &rows[kind]) : buf_add_slice(text, piece);
    if (r == 0 && text->len - before > EVENT_TEXT_BYTES)
        r = -EMSGSIZE;
    if (r == 0)
        *out = slice_make(text->data + before, text->len - before);
    return r == -EMSGSIZE ? fail(f, (struct slice){NULL, 0}, "less text in all") : r;
}

static struct selector *add_drop(struct filling *f, struct slice namespace_)
{
    struct selector *s = &f->out->at[f->out->n];

    if (f->out->n == EVENT_DROPS_MAX)
        return NULL;
    f->out->n++;
    *s = (struct selector){.namespace_ = namespace_};
    return s;
}

static int apply_list(struct filling *f, const struct event_names *list, enum list_kind kind,
                      struct slice namespace_)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < list->n; i++) {
        struct selector *s = add_drop(f, namespace_);

        if (!s)
            return fail(f, (struct slice){NULL, 0}, "an event that rules make fewer invalidations of");
        r = fill(f, list->at[i], kind, (struct slice *)(void *)((char *)s + rows[kind].at));
    }
    return r;
}

static int apply_rule(struct filling *f, const struct event_rule *rule)
{
    struct slice namespace_ = {NULL, 0};
    size_t before = f->out->n;
    int r = rule->namespace_.len > 0 ? fill(f, rule->namespace_, LIST_NAMESPACE, &namespace_) : 0;

    if (r == 0)
        r = apply_list(f, &rule->tags, LIST_TAGS, namespace_);
    if (r == 0)
        r = apply_list(f, &rule->patterns, LIST_PATTERNS, namespace_);
    if (r == 0)
        r = apply_list(f, &rule->models, LIST_MODELS, namespace_);
    if (r == 0)
        r = apply_list(f, &rule->operations, LIST_OPERATIONS, namespace_);
    if (r == 0 && f->out->n == before && (rule->all || namespace_.len > 0) && !add_drop(f, namespace_))
        r = fail(f, (struct slice){NULL, 0}, "an event that rules make fewer invalidations of");
    return r;
}

static bool rule_is_for(const struct event_rule *rule, struct slice type)
{
    for (size_t i = 0; i < rule->events.n; i++)
        if (glob_matches(rule->events.at[i], type))
            return true;
    return false;
}

int event_rules_apply(const struct event_rules *rules, struct slice type, struct slice payload,
                      struct event_drops *out, struct event_fault *out_fault)
{
    struct filling f = {payload, out, out_fault};
    int r;

    memset(out, 0, sizeof(*out));
    out->text.max = EVENT_RULES_TEXT;
    r = buf_reserve_exact(&out->text, EVENT_RULES_TEXT); /* so that it never moves */
    for (size_t i = 0; r == 0 && i < rules->n; i++)
        if (rule_is_for(&rules->at[i], type)) {
            out->rules++;
            r = apply_rule(&f, &rules->at[i]);
        }
    return r;
}

void event_drops_done(struct event_drops *d)
{
    buf_done(&d->text);
}
