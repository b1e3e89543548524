#include "refrain/http/keying.h"

#include <string.h>

bool keying_route(const struct site *s, struct slice raw_target, const struct site_route **out_route,
                  struct slice *out_target, struct slice *out_path)
{
    const struct site_route *route =
        site_route_of(s, slice_eq(raw_target, SLICE_OF("*")) ? SLICE_OF("/") : raw_target);
    struct slice target = raw_target;

    if (!route)
        return false;
    if (route->strip_prefix && route->prefix.len > 1) {
        size_t cut = route->prefix.len;

        if (route->prefix.data[cut - 1] == '/')
            cut--; /* the path keeps its slash */
        target = slice_skip(target, cut);
    }
    *out_route = route;
    *out_target = target;
    *out_path = slice_cut(&target, '?');
    return true;
}

/* Fields of a `read` that ask for less than the whole, or for it on a condition that only upstream can judge.
 */
static bool asks_for_part(const struct fields *fields)
{
    return fields_find_id(fields, HEADER_RANGE) || fields_find_id(fields, HEADER_IF_RANGE) ||
           fields_find_id(fields, HEADER_IF_MATCH) || fields_find_id(fields, HEADER_IF_UNMODIFIED_SINCE);
}

const char *keying_head_bypass(const struct keying *k)
{
    const struct site *s = k->site;

    if (k->op == OP_PASS)
        return "operation";
    if (k->ask->bypass)
        return k->ask->bypass_reason;
    if (!s->memory && !s->coalesce)
        return "no-tier";
    if (k->op == OP_READ && k->has_body && k->content_length != 0)
        return "body"; /* a GET with a body: no one agrees on what it means */
    if (k->op == OP_READ && asks_for_part(k->fields))
        return "condition";
    if (k->content_length > 0 && (uint64_t)k->content_length > s->key_body_bytes_max)
        return "body-size";
    return NULL;
}

enum canon_verdict keying_canonicalise(const struct site *s, enum operation op, struct slice body,
                                       struct buf *out, struct canon_facts *facts, const char **out_why)
{
    out->max = body.len * 6 + 1024;
    if (op == OP_READ)
        return CANON_OK;
    return canon_json(body, &s->canon[op], out, facts, out_why);
}

const char *keying_body_bypass(const struct keying *k)
{
    if (k->op == OP_READ)
        return NULL;
    if (k->canon == CANON_FULL || !k->facts->whole)
        return "key";
    if (k->facts->stateful)
        return "stateful";
    for (size_t i = 0; i < k->body.len; i++)
        if (!strchr(" \t\r\n", k->body.data[i]))
            return k->body.data[i] == '{' ? NULL : "shape";
    return "shape";
}

struct slice keying_namespace(const struct keying *k)
{
    return k->ask->namespace_.len ? k->ask->namespace_ : k->site->namespace_;
}

struct digest keying_make(struct key_maker *maker, const struct keying *k)
{
    const struct site_upstream *upstream = &k->site->upstreams[k->route->upstream];
    bool canonical = k->canon == CANON_OK && k->op != OP_READ;
    bool head = slice_eq(k->method, SLICE_OF("HEAD"));
    struct key_request r = {
        .scope = &k->site->scope,
        .namespace_ = keying_namespace(k),
        .upstream = slice_str(upstream->conf.name),
        .config = slice_make(upstream->alters.bytes, sizeof(upstream->alters.bytes)),
        .operation = slice_str(dialect_of(k->op)->name),
        .method = head ? SLICE_OF("GET") : k->method, /* HEAD is answered from GET's entry */
        .target = k->target,
        .fields = k->fields,
        .custom_key = k->ask->custom_key,
        .body_kind = canonical ? KEY_BODY_CANONICAL : KEY_BODY_EXACT,
        .body = canonical ? k->canonical : k->body,
        .accept_counts = k->op == OP_READ,
    };

    return key_make(maker, &r);
}
