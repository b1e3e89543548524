#include <jansson.h>

#include "config_priv.h"

/*
 * JSON by jansson, which judges the text and decodes it but does not say where a value stood. It keeps
 * members in order and refuses duplicates, so a walk over its tree meets values in the order of the text; a
 * cursor that skips from token to token goes along and knows the lines.
 */
struct walking {
    struct loading *l;
    struct origin origin;
    const char *at; /* the text is valid JSON: no end is ever run past */
    unsigned line;
    size_t nodes;
};

/* To the next byte that is neither white space nor punctuation between values. */
static void skip_between(struct walking *w)
{
    while (*w->at == ' ' || *w->at == '\t' || *w->at == '\r' || *w->at == '\n' || *w->at == ',' ||
           *w->at == ':') {
        w->line += *w->at == '\n';
        w->at++;
    }
}

static void skip_string(struct walking *w)
{
    w->at++;
    while (*w->at != '"')
        w->at += *w->at == '\\' ? 2 : 1;
    w->at++;
}

static void skip_scalar(struct walking *w)
{
    if (*w->at == '"')
        return skip_string(w);
    while (*w->at && !strchr(" \t\r\n,]}", *w->at))
        w->at++;
}

static struct node *walk(struct walking *w, json_t *value, int depth);

static bool walk_members(struct walking *w, json_t *value, struct node *to, int depth)
{
    const char *name;
    json_t *child;

    json_object_foreach(value, name, child)
    {
        struct node *n;

        skip_between(w);
        skip_string(w); /* the name */
        n = walk(w, child, depth + 1);
        if (!n)
            return false;
        node_add(w->l->pool, to, name, n);
    }
    return true;
}

static bool walk_items(struct walking *w, json_t *value, struct node *to, int depth)
{
    json_t *child;
    size_t i;

    json_array_foreach(value, i, child)
    {
        struct node *n = walk(w, child, depth + 1);

        if (!n)
            return false;
        node_add(w->l->pool, to, NULL, n);
    }
    return true;
}

static struct node *walk_scalar(struct walking *w, json_t *value, struct origin o)
{
    const char *start = w->at;

    skip_scalar(w);
    if (json_is_string(value))
        return node_new(w->l->pool, NODE_TEXT,
                        slice_make(json_string_value(value), json_string_length(value)), o);
    if (json_is_null(value))
        return node_new(w->l->pool, NODE_NULL, SLICE_OF(""), o);
    return node_new(w->l->pool, json_is_boolean(value) ? NODE_BOOL : NODE_NUMBER,
                    slice_make(start, (size_t)(w->at - start)), o);
}

/* NULL after telling why not. */
static struct node *walk(struct walking *w, json_t *value, int depth)
{
    struct origin o = w->origin;
    struct node *out;

    skip_between(w);
    o.line = w->line;
    if (depth > TREE_DEPTH_MAX || w->nodes >= (w->l->nodes_max ? w->l->nodes_max : TREE_NODES_MAX)) {
        report_error(w->l->report, &o, NULL, "too deep or too large");
        return NULL;
    }
    w->nodes++;
    if (!json_is_object(value) && !json_is_array(value))
        return walk_scalar(w, value, o);
    out = node_new(w->l->pool, json_is_object(value) ? NODE_MAP : NODE_LIST, SLICE_OF(""), o);
    w->at++; /* its bracket */
    if (json_is_object(value) ? !walk_members(w, value, out, depth) : !walk_items(w, value, out, depth))
        return NULL;
    skip_between(w);
    w->at++; /* and the closing one */
    return out;
}

struct node *tree_from_json(struct loading *l, struct slice text, struct origin origin)
{
    struct walking w = {.l = l, .origin = origin, .at = text.data, .line = 1};
    json_error_t error;
    json_t *value = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    struct node *root;

    if (!value) {
        origin.line = error.line > 0 ? (unsigned)error.line : 0;
        report_error(l->report, &origin, NULL, "not JSON: %s", error.text);
        return NULL;
    }
    root = walk(&w, value, 0);
    json_decref(value);
    return root;
}
