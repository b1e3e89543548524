#include "config_tree.h"

#include <stdint.h>
#include <string.h>

#include "refrain/base/buf.h"

struct node *node_new(struct pool *p, enum node_kind kind, struct slice text, struct origin origin)
{
    struct node *n = pool_alloc(p, sizeof(*n));

    n->kind = kind;
    n->text = pool_text(p, text);
    n->origin = origin;
    return n;
}

bool node_is_scalar(const struct node *n)
{
    return n->kind >= NODE_PLAIN && n->kind <= NODE_BOOL;
}

void node_add(struct pool *p, struct node *to, const char *name, struct node *child)
{
    if (to->n == to->cap) {
        size_t cap = to->cap ? to->cap * 2 : 4;
        struct member *members = pool_alloc(p, cap * sizeof(*members));

        if (to->n > 0)
            memcpy(members, to->members, to->n * sizeof(*members));
        to->members = members;
        to->cap = cap;
    }
    to->members[to->n].name = name ? pool_text(p, slice_str(name)) : NULL;
    to->members[to->n].node = child;
    to->n++;
}

static struct member *member_of(const struct node *map, struct slice name)
{
    if (!map || map->kind != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (slice_eq(slice_str(map->members[i].name), name))
            return &map->members[i];
    return NULL;
}

struct node *node_get(const struct node *map, struct slice name)
{
    struct member *m = member_of(map, name);

    return m ? m->node : NULL;
}

struct node *node_find(const struct node *map, const char *path)
{
    struct slice rest = slice_str(path);
    struct node *n = (struct node *)map;

    while (n && rest.len > 0)
        n = node_get(n, slice_cut(&rest, '.'));
    return n;
}

void node_put(struct pool *p, struct node *map, const char *path, struct node *leaf)
{
    struct slice rest = slice_str(path), name = slice_cut(&rest, '.');

    while (rest.data) {
        struct member *m = member_of(map, name);

        if (!m || m->node->kind != NODE_MAP) {
            struct node *between = node_new(p, NODE_MAP, SLICE_OF(""), leaf->origin);

            if (m)
                m->node = between;
            else
                node_add(p, map, pool_text(p, name), between);
            m = member_of(map, name);
        }
        map = m->node;
        name = slice_cut(&rest, '.');
    }
    struct member *last = member_of(map, name);

    if (last)
        last->node = leaf;
    else
        node_add(p, map, pool_text(p, name), leaf);
}

struct node *node_merge(struct pool *p, struct node *under, struct node *over)
{
    struct node *out;

    if (under && over && over->kind == NODE_NULL)
        return under; /* `tiers:` with nothing behind it takes nothing away */
    if (!under || under->kind != NODE_MAP || !over || over->kind != NODE_MAP)
        return over ? over : under;
    out = node_new(p, NODE_MAP, SLICE_OF(""), over->origin);
    for (size_t i = 0; i < under->n; i++) {
        const struct member *m = &under->members[i];

        node_add(p, out, m->name, node_merge(p, m->node, node_get(over, slice_str(m->name))));
    }
    for (size_t i = 0; i < over->n; i++)
        if (!member_of(under, slice_str(over->members[i].name)))
            node_add(p, out, over->members[i].name, over->members[i].node);
    return out;
}

static int write_members(const struct node *n, struct buf *out)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n->n; i++) {
        if (i > 0)
            r = buf_add_byte(out, ',');
        if (r == 0 && n->kind == NODE_MAP)
            r = buf_add_json(out, slice_str(n->members[i].name));
        if (r == 0 && n->kind == NODE_MAP)
            r = buf_add_byte(out, ':');
        if (r == 0)
            r = node_write_json(n->members[i].node, out);
    }
    return r;
}

int node_write_json(const struct node *n, struct buf *out)
{
    bool map = n->kind == NODE_MAP;
    int r;

    switch (n->kind) {
    case NODE_NULL:
        return buf_add_slice(out, SLICE_OF("null"));
    case NODE_NUMBER:
    case NODE_BOOL:
        return buf_add_slice(out, slice_str(n->text));
    case NODE_PLAIN:
    case NODE_TEXT:
        return buf_add_json(out, slice_str(n->text));
    case NODE_LIST:
    case NODE_MAP:
        break;
    }
    r = buf_add_byte(out, map ? '{' : '[');
    if (r == 0)
        r = write_members(n, out);
    return r == 0 ? buf_add_byte(out, map ? '}' : ']') : r;
}
