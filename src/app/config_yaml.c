#include <yaml.h>

#include "config_priv.h"

/*
 * YAML by libyaml's document interface, which resolves aliases. A chain of aliases may stand for billions of
 * nodes, so nodes are counted as they are copied out, and depth is bounded.
 */
struct copying {
    struct loading *l;
    yaml_document_t *doc;
    struct origin origin; /* the file; line is set by each node */
    size_t nodes;
    bool failed;
};

static struct origin origin_at(const struct copying *c, const yaml_node_t *n)
{
    struct origin o = c->origin;

    if (o.source == SOURCE_FILE)
        o.line = (unsigned)n->start_mark.line + 1;
    return o;
}

static bool is_standard_tag(const yaml_node_t *n)
{
    return !n->tag || strncmp((const char *)n->tag, "tag:yaml.org,2002:", 18) == 0;
}

/* What YAML's core schema takes for nothing. */
static bool is_null(struct slice text)
{
    return text.len == 0 || slice_eq(text, SLICE_OF("~")) || slice_ieq(text, SLICE_OF("null"));
}

static struct node *copy_scalar(struct copying *c, const yaml_node_t *n)
{
    struct slice text = slice_make(n->data.scalar.value, n->data.scalar.length);
    bool plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    struct origin o = origin_at(c, n);
    enum node_kind kind = !plain ? NODE_TEXT : is_null(text) ? NODE_NULL : NODE_PLAIN;

    if (memchr(text.data, '\0', text.len)) {
        report_error(c->l->report, &o, NULL, "a text with a NUL byte in it");
        c->failed = true;
    }
    return node_new(c->l->pool, kind, kind == NODE_NULL ? SLICE_OF("") : text, o);
}

static struct node *copy(struct copying *c, int index, int depth);

static void copy_pairs(struct copying *c, const yaml_node_t *n, struct node *to, int depth)
{
    for (const yaml_node_pair_t *pair = n->data.mapping.pairs.start; pair < n->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *key = yaml_document_get_node(c->doc, pair->key);
        struct origin o = origin_at(c, key);
        struct node *value;
        const char *name;

        if (key->type != YAML_SCALAR_NODE) {
            report_error(c->l->report, &o, NULL, "expected a name, got a list or map");
            c->failed = true;
            continue;
        }
        name = (const char *)key->data.scalar.value;
        if (node_get(to, slice_str(name))) {
            report_error(c->l->report, &o, NULL, "%s is given twice", name);
            c->failed = true;
            continue;
        }
        value = copy(c, pair->value, depth + 1);
        if (!value)
            return;
        if (!node_is_scalar(value))
            value->origin = o; /* a group begins at its name, not at its first member */
        node_add(c->l->pool, to, name, value);
    }
}

static void copy_items(struct copying *c, const yaml_node_t *n, struct node *to, int depth)
{
    for (const yaml_node_item_t *item = n->data.sequence.items.start; item < n->data.sequence.items.top;
         item++) {
        struct node *value = copy(c, *item, depth + 1);

        if (!value)
            return;
        node_add(c->l->pool, to, NULL, value);
    }
}

/* NULL after telling why not. */
static struct node *copy(struct copying *c, int index, int depth)
{
    const yaml_node_t *n = yaml_document_get_node(c->doc, index);
    struct origin o = origin_at(c, n);
    struct node *out;

    if (depth > TREE_DEPTH_MAX || c->nodes >= TREE_NODES_MAX) {
        if (!c->failed)
            report_error(c->l->report, &o, NULL, "too deep or too large");
        c->failed = true;
        return NULL;
    }
    c->nodes++;
    if (!is_standard_tag(n)) {
        report_error(c->l->report, &o, NULL, "the tag %s means nothing here", (const char *)n->tag);
        c->failed = true;
    }
    if (n->type == YAML_SCALAR_NODE)
        return copy_scalar(c, n);
    out = node_new(c->l->pool, n->type == YAML_MAPPING_NODE ? NODE_MAP : NODE_LIST, SLICE_OF(""), o);
    if (n->type == YAML_MAPPING_NODE)
        copy_pairs(c, n, out, depth);
    else
        copy_items(c, n, out, depth);
    return out;
}

static void report_parser(struct loading *l, const yaml_parser_t *parser, struct origin origin)
{
    if (origin.source == SOURCE_FILE)
        origin.line = (unsigned)parser->problem_mark.line + 1;
    report_error(l->report, &origin, NULL, "not YAML: %s%s%s",
                 parser->problem ? parser->problem : "out of memory", parser->context ? " " : "",
                 parser->context ? parser->context : "");
}

static struct node *copy_document(struct loading *l, yaml_document_t *doc, struct origin origin)
{
    struct copying c = {.l = l, .doc = doc, .origin = origin};
    struct node *root;

    if (!yaml_document_get_root_node(doc)) /* an empty file sets nothing */
        return node_new(l->pool, NODE_MAP, SLICE_OF(""), origin);
    root = copy(&c, 1, 0);
    if (root && root->kind == NODE_NULL)
        root->kind = NODE_MAP;
    return c.failed ? NULL : root;
}

/* One document, and behind it nothing. */
static bool is_last(struct loading *l, yaml_parser_t *parser, struct origin origin)
{
    yaml_document_t doc;
    bool more;

    if (!yaml_parser_load(parser, &doc)) {
        report_parser(l, parser, origin);
        return false;
    }
    more = yaml_document_get_root_node(&doc) != NULL;
    yaml_document_delete(&doc);
    if (more)
        report_error(l->report, &origin, NULL, "more than one document in the file");
    return !more;
}

struct node *tree_from_yaml(struct loading *l, struct slice text, struct origin origin)
{
    struct node *root = NULL;
    yaml_parser_t parser;
    yaml_document_t doc;

    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.len);
    if (yaml_parser_load(&parser, &doc)) {
        root = copy_document(l, &doc, origin);
        if (root && root->n > 0 && !is_last(l, &parser, origin))
            root = NULL;
        yaml_document_delete(&doc);
    } else {
        report_parser(l, &parser, origin);
    }
    yaml_parser_delete(&parser);
    return root;
}
