#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_priv.h"
#include "refrain/base/attr.h"

/* -- completing what is left out -- */

/* `upstream: URL` stands for upstreams.default.url, unless a stronger source gives that. */
static void complete_upstream(struct loading *l, struct node *tree)
{
    struct node *url = node_get(tree, SLICE_OF("upstream")),
                *named = node_find(tree, "upstreams.default.url");

    if (url && url->kind != NODE_NULL && (!named || named->origin.source <= url->origin.source))
        node_put(l->pool, tree, "upstreams.default.url", url);
}

static void add_route(struct loading *l, struct node *routes, const char *upstream, struct origin origin)
{
    struct node *route = node_new(l->pool, NODE_MAP, SLICE_OF(""), origin);

    node_add(l->pool, route, "path", node_new(l->pool, NODE_PLAIN, SLICE_OF("/"), origin));
    node_add(l->pool, route, "upstream", node_new(l->pool, NODE_PLAIN, slice_str(upstream), origin));
    node_add(l->pool, routes, NULL, route);
}

static bool leads_to_default(const struct node *routes)
{
    for (size_t i = 0; i < routes->n; i++) {
        const struct node *to = node_get(routes->members[i].node, SLICE_OF("upstream"));

        if (to && strcmp(to->text, "default") == 0)
            return true;
    }
    return false;
}

/* Routes that name no upstream lead to the only one; without routes, everything does. */
static void complete_routes(struct loading *l, struct node *tree)
{
    struct node *upstreams = node_get(tree, SLICE_OF("upstreams")),
                *routes = node_get(tree, SLICE_OF("routes"));
    struct node *url = node_get(tree, SLICE_OF("upstream"));

    if (!upstreams || upstreams->n == 0)
        return;
    if (!routes) {
        routes = node_new(l->pool, NODE_LIST, SLICE_OF(""), upstreams->origin);
        node_put(l->pool, tree, "routes", routes);
    }
    for (size_t i = 0; i < routes->n && upstreams->n == 1; i++)
        if (!node_get(routes->members[i].node, SLICE_OF("upstream")))
            node_add(l->pool, routes->members[i].node, "upstream",
                     node_new(l->pool, NODE_PLAIN, slice_str(upstreams->members[0].name), upstreams->origin));
    if (routes->n == 0 && upstreams->n == 1)
        add_route(l, routes, upstreams->members[0].name, upstreams->members[0].node->origin);
    else if (url && url->kind != NODE_NULL && !leads_to_default(routes))
        add_route(l, routes, "default", url->origin);
}

static void complete_state_dir(struct loading *l, struct node *tree)
{
    const char *given = env_get(l->sources, SLICE_OF("STATE_DIRECTORY")), *dir = "/var/lib/refrain";
    const char *xdg = env_get(l->sources, SLICE_OF("XDG_STATE_HOME")),
               *home = env_get(l->sources, SLICE_OF("HOME"));
    struct node *n = node_find(tree, "cache.state_dir");
    struct origin origin = {.source = SOURCE_BUILT_IN};

    if (n && n->kind != NODE_NULL)
        return;
    if (given && given[0]) {
        struct slice rest = slice_str(given);

        dir = pool_text(l->pool, slice_cut(&rest, ':')); /* systemd lists them all; the first is ours */
        origin = (struct origin){SOURCE_ENV, "STATE_DIRECTORY", 0};
    } else if (geteuid() != 0 && xdg && xdg[0] == '/') {
        dir = pool_printf(l->pool, "%s/refrain", xdg);
    } else if (geteuid() != 0 && home && home[0] == '/') {
        dir = pool_printf(l->pool, "%s/.local/state/refrain", home);
    }
    node_put(l->pool, tree, "cache.state_dir", node_new(l->pool, NODE_PLAIN, slice_str(dir), origin));
}

void config_complete(struct loading *l, struct node *tree)
{
    complete_upstream(l, tree);
    complete_routes(l, tree);
    complete_state_dir(l, tree);
}

/* -- loading -- */

static const char *const *copy_texts(struct pool *p, const char *const *texts)
{
    const char **copy;
    size_t n = 0;

    while (texts && texts[n])
        n++;
    copy = pool_alloc(p, (n + 1) * sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = pool_text(p, slice_str(texts[i]));
    return copy;
}

static void copy_sources(struct pool *p, const struct config_sources *from, struct config_sources *to)
{
    struct config_flag *flags = pool_alloc(p, (from->flags_n + 1) * sizeof(*flags));

    *to = *from;
    to->file = from->file ? pool_text(p, slice_str(from->file)) : NULL;
    to->env = copy_texts(p, from->env);
    for (size_t i = 0; i < from->flags_n; i++) {
        flags[i].name = pool_text(p, slice_str(from->flags[i].name));
        flags[i].text = pool_text(p, slice_str(from->flags[i].text));
        flags[i].shown = pool_text(p, slice_str(from->flags[i].shown));
    }
    to->flags = flags;
}

static struct node *lay(struct loading *l, struct node *under, struct node *over)
{
    if (!over)
        return under;
    config_check(l, over);
    return node_merge(l->pool, under, over);
}

/* Whichever source names a preset is laid over that preset. */
static struct node *lay_preset(struct loading *l, struct node *tree)
{
    const struct node *preset = node_get(tree, SLICE_OF("preset"));

    if (!preset || preset->kind == NODE_NULL)
        return tree;
    return node_merge(l->pool, tree_from_preset(l, preset->text), tree);
}

static void add_items(struct loading *l, struct node *to, const struct node *from)
{
    for (size_t i = 0; from && i < from->n; i++)
        node_add(l->pool, to, NULL, from->members[i].node);
}

/* The rows of pricing_file stand behind the configuration's own. */
static void lay_prices(struct loading *l, struct node *tree)
{
    const struct node *file = node_get(tree, SLICE_OF("pricing_file"));
    struct node *more, *all;

    if (!file || file->kind == NODE_NULL)
        return;
    more = tree_from_section_file(l, file->text, "pricing");
    if (!more)
        return;
    config_check(l, more);
    all = node_new(l->pool, NODE_LIST, SLICE_OF(""), more->origin);
    add_items(l, all, node_get(tree, SLICE_OF("pricing")));
    add_items(l, all, node_get(more, SLICE_OF("pricing")));
    node_put(l->pool, tree, "pricing", all);
}

static bool is_given(const struct node *tree, const char *path)
{
    const struct node *n = node_find(tree, path);

    return n && n->kind != NODE_NULL && (n->kind != NODE_MAP || n->n > 0);
}

static void add_shipped_operations(struct loading *l, struct node *tree)
{
    for (size_t i = 0; i < shipped_operations_n; i++) {
        const struct shipped_operation *o = &shipped_operations[i];

        node_put(l->pool, tree, pool_printf(l->pool, "operations.%s.ttl", o->name),
                 node_new(l->pool, NODE_PLAIN, slice_str(o->ttl), tree->origin));
    }
}

static void load(struct loading *l)
{
    const char *file = l->sources->file ? l->sources->file : env_get(l->sources, SLICE_OF("REFRAIN_CONFIG"));
    struct node *tree = node_new(l->pool, NODE_MAP, SLICE_OF(""), (struct origin){.source = SOURCE_BUILT_IN});

    add_shipped_operations(l, tree);
    if (file && file[0])
        tree = lay(l, tree, tree_from_file(l, file));
    tree = lay(l, tree, tree_from_env(l));
    tree = lay(l, tree, tree_from_flags(l));
    if (l->report->errors_n > 0 && !is_given(tree, "upstreams") && !is_given(tree, "upstream"))
        return; /* what a faulty source failed to say is not missed a second time */
    tree = lay_preset(l, tree);
    lay_prices(l, tree);
    config_complete(l, tree);
    config_bind(l, tree);
    config_judge(l);
}

int config_load(const struct config_sources *sources, struct config **out, struct config_report *report)
{
    struct pool pool = POOL_INIT;
    struct config *conf = pool_alloc(&pool, sizeof(*conf));
    struct config_origin *origin = pool_alloc(&pool, sizeof(*origin));
    struct loading l = {&origin->pool, &origin->sources, report, conf};

    conf->origin = origin;
    origin->pool = pool;
    copy_sources(&origin->pool, sources, &origin->sources);
    load(&l);
    if (report->errors_n > 0) {
        config_free(conf);
        return -EINVAL;
    }
    *out = conf;
    return 0;
}

int config_reload(const struct config *old, struct config **out, struct config_report *report)
{
    return config_load(&old->origin->sources, out, report);
}

void config_free(struct config *conf)
{
    struct pool pool;

    if (!conf)
        return;
    pool = conf->origin->pool; /* it holds itself */
    pool_done(&pool);
}

/* -- asking -- */

static const struct config_entry *entry_named(const struct config *conf, const char *name)
{
    for (size_t i = 0; i < conf->origin->entries_n; i++)
        if (strcmp(conf->origin->entries[i].name, name) == 0)
            return &conf->origin->entries[i];
    return NULL;
}

size_t config_diff_fixed(const struct config *old, const struct config *now,
                         void (*report)(void *arg, const char *name, const char *was, const char *is),
                         void *arg)
{
    size_t n = 0;

    for (size_t i = 0; i < old->origin->entries_n; i++) {
        const struct config_entry *was = &old->origin->entries[i], *is = entry_named(now, was->name);

        if (!(was->row->flags & OPTION_FIXED) || !is || strcmp(was->raw, is->raw) == 0)
            continue;
        report(arg, was->name, was->text, is->text);
        n++;
    }
    return n;
}

const struct operation_conf *config_operation(const struct config *conf, const char *name)
{
    for (size_t i = 0; i < conf->operations_n; i++)
        if (strcmp(conf->operations[i].name, name) == 0)
            return &conf->operations[i];
    return NULL;
}

int64_t config_ttl_s(const struct config *conf, const char *operation)
{
    for (size_t i = 0; i < conf->cache.ttl_n; i++)
        if (strcmp(conf->cache.ttl[i].name, operation) == 0)
            return conf->cache.ttl[i].ttl_s;
    return conf->cache.default_ttl_s;
}
