#include "api_selector.h"

#include <stddef.h>
#include <stdio.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/changes.h"
#include "refrain/http/site.h"
#include "refrain/policy/ask.h"
#include "refrain/store/entry.h"
#include "refrain/wire/jscan.h"

enum { TEXT_BYTES_MAX = 4096, WHERE_BYTES = 128 };

#define MEANT "id, pattern, tag, operation, model, namespace, older_than, target, all"

/* -- the parts of a selector that are texts -- */

bool api_selector_is_id(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!((text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f')))
            return false;
    return text.len == ENTRY_ID_LEN;
}

static bool is_name(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7F)
            return false;
    return text.len > 0;
}

static const struct part {
    const char *name;
    size_t at; /* of the slice in a selector */
    size_t bytes_max;
    bool (*is_good)(struct slice text);
    const char *expected;
} parts[] = {
    {"id", offsetof(struct selector, id), ENTRY_ID_LEN, api_selector_is_id,
     "32 hex digits, as Refrain-Entry tells them"},
    {"pattern", offsetof(struct selector, pattern), 512, is_name,
     "a pattern over NAMESPACE:OPERATION:MODEL:HEX, such as default:chat:gpt-4o*"},
    {"tag", offsetof(struct selector, tag), 64, ask_tag_ok,
     "one tag, whole: 1 to 64 of A-Z a-z 0-9 . _ - : / @ + ="},
    {"operation", offsetof(struct selector, operation), 64, is_name, "one operation, such as chat"},
    {"model", offsetof(struct selector, model), 256, is_name, "a model, or a pattern such as gpt-4o*"},
    {"namespace", offsetof(struct selector, namespace_), 64, is_name, "one namespace, whole"},
};

static const struct part *part_named(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (slice_eq(name, slice_str(parts[i].name)))
            return &parts[i];
    return NULL;
}

static bool fail(struct api_call *c, const char *in, struct slice name, const char *expected)
{
    char where[WHERE_BYTES];

    (void)snprintf(where, sizeof(where), "%s%s%.*s", in, name.len > 0 ? "." : "",
                   (int)(name.len < 64 ? name.len : 64), name.data ? name.data : "");
    api_fail(c, 400, "request_invalid", "this does not say which entries are meant", where, expected);
    return false;
}

struct slice api_selector_pattern(struct slice prefix, struct slice pattern)
{
    if (prefix.len > 0 && slice_starts(pattern, prefix) && pattern.len > prefix.len &&
        pattern.data[prefix.len] == ':')
        return slice_skip(pattern, prefix.len + 1);
    return pattern;
}

/* @text lies where the selector may point to it. */
static bool take_part(struct api_call *c, const char *in, const struct part *p, struct slice text,
                      struct api_selector *out)
{
    if (text.len > p->bytes_max || !p->is_good(text))
        return fail(c, in, slice_str(p->name), p->expected);
    *(struct slice *)(void *)((char *)&out->which + p->at) = text;
    out->any = true;
    if (out->which.pattern.len > 0)
        out->which.pattern = api_selector_pattern(c->parts.key_prefix, out->which.pattern);
    if (p->at == offsetof(struct selector, pattern) && out->which.pattern.len == 0)
        return fail(c, in, slice_str(p->name), p->expected);
    return true;
}

static bool take_age(struct api_call *c, const char *in, int64_t seconds, struct api_selector *out)
{
    if (seconds < 1)
        return fail(c, in, SLICE_OF("older_than"), "seconds, or such as \"10m\", \"2h\", \"7d\"");
    out->which.created_before_ms = clock_wall_ms() - seconds * 1000;
    out->any = true;
    return true;
}

static int64_t age_of_text(struct slice text)
{
    int64_t s = ask_parse_ttl(text);

    return s == ASK_TTL_NONE ? -1 : s;
}

/* -- a body -- */

/* Into out->text, where it stays. */
static bool decode(struct api_selector *out, struct slice string, struct slice *text)
{
    size_t before = out->text.len;

    if (jscan_decode(string, &out->text) < 0)
        return false;
    *text = slice_make(out->text.data + before, out->text.len - before);
    return true;
}

static bool read_text(struct api_call *c, const struct part *p, struct jscan_value value,
                      struct api_selector *out)
{
    struct slice text;

    if (value.kind != JSCAN_STRING || !decode(out, value.text, &text))
        return fail(c, "body", slice_str(p->name), p->expected);
    return take_part(c, "body", p, text, out);
}

static bool read_truth(struct api_call *c, struct slice name, struct jscan_value value, bool *out)
{
    *out = value.kind == JSCAN_BOOL && value.text.data[0] == 't';
    return value.kind == JSCAN_BOOL || fail(c, "body", name, "true or false");
}

/* A GET's target at an upstream, which may be left out where there is but one. */
static bool read_target(struct api_call *c, struct jscan_value target, struct jscan_value upstream,
                        struct api_selector *out)
{
    const struct site *s = c->site;
    struct slice path, name = {NULL, 0};
    size_t at = 0;

    if (target.kind != JSCAN_STRING || !decode(out, target.text, &path) || path.len == 0 ||
        path.data[0] != '/')
        return fail(c, "body", SLICE_OF("target"), "a path and query, as upstream is asked for it");
    if (upstream.kind == JSCAN_STRING && !decode(out, upstream.text, &name))
        return fail(c, "body", SLICE_OF("upstream"), "the name of an upstream");
    while (name.len > 0 && at < s->upstreams_n && !slice_eq(name, slice_str(s->upstreams[at].conf.name)))
        at++;
    if (at == s->upstreams_n || (name.len == 0 && s->upstreams_n != 1))
        return fail(c, "body", SLICE_OF("upstream"), "the name of an upstream");
    out->which.target = changes_sum(&s->targets, slice_str(s->upstreams[at].conf.name), path);
    out->any = true;
    return true;
}

static bool read_age(struct api_call *c, struct jscan_value value, struct api_selector *out)
{
    struct slice text;
    int64_t s = jscan_count(value, -1);

    if (value.kind == JSCAN_STRING && decode(out, value.text, &text))
        s = age_of_text(text);
    return take_age(c, "body", s < INT64_C(1) << 33 ? s : -1, out);
}

static bool read_member(struct api_call *c, struct jscan_value body, const struct jscan_item *member,
                        struct api_selector *out)
{
    const struct part *p = part_named(member->name);

    if (p)
        return read_text(c, p, member->value, out);
    if (slice_eq(member->name, SLICE_OF("older_than")))
        return read_age(c, member->value, out);
    if (slice_eq(member->name, SLICE_OF("all")))
        return read_truth(c, member->name, member->value, &out->all);
    if (slice_eq(member->name, SLICE_OF("dry_run")))
        return read_truth(c, member->name, member->value, &out->dry_run);
    if (slice_eq(member->name, SLICE_OF("target")))
        return read_target(c, member->value, jscan_get(body, SLICE_OF("upstream")), out);
    if (slice_eq(member->name, SLICE_OF("upstream")) &&
        jscan_get(body, SLICE_OF("target")).kind != JSCAN_ABSENT)
        return true;
    return fail(c, "body", member->name, "one of " MEANT ", dry_run");
}

/* The first of a name is not the last: who writes it twice may mean either. */
static bool is_repeated(struct jscan_value body, const struct jscan_item *member)
{
    return jscan_get(body, member->name).text.data != member->value.text.data;
}

bool api_selector_from_body(struct api_call *c, struct api_selector *out)
{
    struct jscan_value body = jscan_root(c->body);
    struct jscan_walk w = jscan_walk(body);
    struct jscan_item member;

    *out = (struct api_selector){.text = BUF_INIT(TEXT_BYTES_MAX)};
    if (!jscan_valid(c->body) || body.kind != JSCAN_OBJECT)
        return fail(c, "body", (struct slice){NULL, 0}, "a JSON object, such as {\"tag\": \"news\"}");
    if (buf_reserve_exact(&out->text, TEXT_BYTES_MAX) < 0) { /* so that it never moves */
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
        return false;
    }
    while (jscan_next(&w, &member)) {
        if (is_repeated(body, &member))
            return fail(c, "body", member.name, "each member once");
        if (!read_member(c, body, &member, out))
            return false;
    }
    if (out->any == out->all)
        return fail(c, "body", out->all ? SLICE_OF("all") : (struct slice){NULL, 0},
                    out->all ? "nothing beside it: what is given narrows down"
                             : "at least one of " MEANT "; for everything, \"all\": true");
    return true;
}

/* -- a query -- */

static bool keep(struct api_selector *out, struct slice *text)
{
    size_t before = out->text.len;

    if (buf_add_slice(&out->text, *text) < 0)
        return false;
    *text = slice_make(out->text.data + before, text->len);
    return true;
}

bool api_selector_from_query(struct api_call *c, struct api_selector *out)
{
    struct api_query q;

    *out = (struct api_selector){.text = BUF_INIT(TEXT_BYTES_MAX)};
    if (buf_reserve_exact(&out->text, TEXT_BYTES_MAX) < 0) {
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (api_query(c, parts[i].name, &q) &&
            (!keep(out, &q.value) || !take_part(c, "query", &parts[i], q.value, out)))
            return false;
    return !api_query(c, "older_than", &q) || take_age(c, "query", age_of_text(q.value), out);
}

void api_selector_done(struct api_selector *s)
{
    buf_done(&s->text);
}
