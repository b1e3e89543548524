#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_priv.h"
#include "refrain/base/attr.h"

/* The sources that are lists of names and texts (environment, flags, presets), and reading files. */

const char *env_get(const struct config_sources *s, struct slice name)
{
    for (const char *const *e = s->env; e && *e; e++) {
        struct slice rest = slice_str(*e);

        if (slice_eq(slice_cut(&rest, '='), name) && rest.data)
            return rest.data;
    }
    return NULL;
}

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

int file_read(struct pool *pool, const char *path, size_t max, struct slice *out)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(buf_done) struct buf text = BUF_INIT(max + 1);
    char block[4096];
    ssize_t n;

    if (fd < 0)
        return -errno;
    while ((n = read(fd, block, sizeof(block))) > 0)
        if (buf_add(&text, block, (size_t)n) < 0)
            return -EFBIG;
    if (n < 0)
        return -errno;
    if (text.len > max)
        return -EFBIG;
    *out = slice_make(pool_text(pool, buf_slice(&text)), text.len);
    return 0;
}

/* -- ${VAR} -- */

/* "${NAME}" or "${NAME:-text}" at the front of @rest: appends what it stands for and moves on. */
static bool expand_one(struct loading *l, const struct node *n, struct slice *rest, struct buf *out)
{
    struct slice name = slice_skip(*rest, 2), fallback;
    const char *end = memchr(name.data, '}', name.len), *value;

    if (!end) {
        report_error(l->report, &n->origin, NULL, "a ${ without its }");
        return false;
    }
    fallback = slice_make(name.data, (size_t)(end - name.data));
    *rest = slice_make(end + 1, rest->len - (size_t)(end + 1 - rest->data));
    name = slice_cut(&fallback, ':');
    value = env_get(l->sources, name);
    if (!value && fallback.data && fallback.len > 0 && fallback.data[0] == '-')
        return buf_add_slice(out, slice_skip(fallback, 1)) == 0;
    if (!value) {
        report_error(l->report, &n->origin, NULL, "${%.*s}: no such variable in the environment",
                     (int)name.len, name.data);
        return false;
    }
    return buf_add_slice(out, slice_str(value)) == 0;
}

static void expand_scalar(struct loading *l, struct node *n)
{
    AUTO(buf_done) struct buf out = BUF_INIT(1 << 20);
    struct slice rest = slice_str(n->text);
    bool ok = true;

    if (!strstr(n->text, "${"))
        return;
    while (ok && rest.len > 0) {
        if (slice_starts(rest, SLICE_OF("$${"))) { /* a dollar that is meant */
            ok = buf_add(&out, "${", 2) == 0;
            rest = slice_skip(rest, 3);
        } else if (slice_starts(rest, SLICE_OF("${"))) {
            ok = expand_one(l, n, &rest, &out);
        } else {
            ok = buf_add_byte(&out, rest.data[0]) == 0;
            rest = slice_skip(rest, 1);
        }
    }
    n->text = pool_text(l->pool, buf_slice(&out));
    n->kind = NODE_PLAIN; /* quotes were there for the braces */
    n->told = !ok;
}

static void expand(struct loading *l, struct node *n)
{
    if (node_is_scalar(n))
        expand_scalar(l, n);
    for (size_t i = 0; i < n->n; i++)
        expand(l, n->members[i].node);
}

static struct node *tree_of_any_kind(struct loading *l, const char *file)
{
    struct origin origin = {SOURCE_FILE, pool_text(l->pool, slice_str(file)), 0};
    struct slice text = {NULL, 0}, name = slice_str(file);
    struct node *root;
    int r = file_read(l->pool, file, TREE_FILE_BYTES_MAX, &text);

    if (r < 0) {
        report_error(l->report, &origin, NULL, "cannot read it: %s", strerror(-r));
        return NULL;
    }
    root = slice_ends(name, SLICE_OF(".json")) ? tree_from_json(l, text, origin)
                                               : tree_from_yaml(l, text, origin);
    if (root)
        expand(l, root);
    return root;
}

struct node *tree_from_file(struct loading *l, const char *file)
{
    struct node *root = tree_of_any_kind(l, file);

    if (!root || root->kind == NODE_MAP)
        return root;
    report_error(l->report, &root->origin, NULL, "expected a map of options, such as `listen: {address: …}`");
    return NULL;
}

struct node *tree_from_section_file(struct loading *l, const char *file, const char *section)
{
    struct node *root = tree_of_any_kind(l, file), *tree;

    if (!root)
        return NULL;
    tree = node_new(l->pool, NODE_MAP, SLICE_OF(""), root->origin);
    node_add(l->pool, tree, section, root);
    return tree;
}

/* -- names and texts -- */

/* True when @path is where a list, a map or a group stands, so that its text may be written in brackets. */
static bool takes_brackets(const char *path)
{
    struct slice rest = slice_str(path), top = slice_cut(&rest, '.');
    const struct option_section *s = section_find(top.len < 64 ? strndupa(top.data, top.len) : "");
    const struct option_row *row;
    bool is_file;

    if (s && rest.data && s->kind == SECTION_NAMED)
        (void)slice_cut(&rest, '.');
    if (s && !rest.data)
        return true;
    row = row_find(s ? s : option_sections[0], s ? rest.data : path, &is_file);
    return !row || (row->type >= OPTION_LIST && row->type != OPTION_SECRET);
}

static void put_text(struct loading *l, struct node *root, const char *path, const char *text,
                     struct origin origin)
{
    struct node *leaf = NULL;

    if ((text[0] == '[' || text[0] == '{') && takes_brackets(path)) {
        leaf = tree_from_yaml(l, slice_str(text), origin);
        if (!leaf)
            return; /* told */
    }
    if (!leaf)
        leaf = node_new(l->pool, NODE_PLAIN, slice_str(text), origin);
    node_put(l->pool, root, path, leaf);
}

/* REFRAIN_TIERS__MEMORY__MAX_BYTES is tiers.memory.max_bytes. */
static char *path_of_env(struct pool *pool, struct slice name)
{
    char *path = pool_text(pool, name), *to = path;

    for (const char *from = path; *from; from++) {
        if (from[0] == '_' && from[1] == '_') {
            *to++ = '.';
            from++;
        } else {
            *to++ = (char)tolower((unsigned char)*from);
        }
    }
    *to = '\0';
    return path;
}

static void put_env(struct loading *l, struct node *root, struct slice name, const char *text)
{
    struct slice tail = slice_skip(name, strlen("REFRAIN_"));
    struct origin origin = {SOURCE_ENV, pool_text(l->pool, name), 0};
    const char *path = path_of_env(l->pool, tail);
    bool is_file;

    /* Names of one part that are no option belong to somebody else (container linkers make such): not ours to
     * judge. */
    if (strchr(path, '.') || row_find(option_sections[0], path, &is_file))
        put_text(l, root, path, text, origin);
}

/* The customary names, weaker than our own for the same option. One that is there and empty, as compose files
 * pass on what is not set, says nothing. */
static void put_env_aliases(struct loading *l, struct node *root)
{
    const struct option_section *s = option_sections[0];

    for (size_t i = 0; i < s->rows_n; i++) {
        const char *text = s->rows[i].env ? env_get(l->sources, slice_str(s->rows[i].env)) : NULL;
        struct origin origin = {SOURCE_ENV, s->rows[i].env, 0};

        if (text && text[0])
            put_text(l, root, s->rows[i].name, text, origin);
    }
}

struct node *tree_from_env(struct loading *l)
{
    struct node *root = node_new(l->pool, NODE_MAP, SLICE_OF(""), (struct origin){.source = SOURCE_ENV});

    put_env_aliases(l, root);
    for (const char *const *e = l->sources->env; e && *e; e++) {
        struct slice rest = slice_str(*e), name = slice_cut(&rest, '=');

        if (rest.data && slice_starts(name, SLICE_OF("REFRAIN_")))
            put_env(l, root, name, rest.data);
    }
    return root;
}

struct node *tree_from_flags(struct loading *l)
{
    struct node *root = node_new(l->pool, NODE_MAP, SLICE_OF(""), (struct origin){.source = SOURCE_FLAG});

    for (size_t i = 0; i < l->sources->flags_n; i++) {
        const struct config_flag *f = &l->sources->flags[i];
        struct origin origin = {SOURCE_FLAG, pool_text(l->pool, slice_str(f->shown)), 0};

        put_text(l, root, f->name, f->text, origin);
    }
    return root;
}

struct node *tree_from_preset(struct loading *l, const char *preset)
{
    struct origin origin = {SOURCE_PRESET, pool_text(l->pool, slice_str(preset)), 0};
    struct node *root = node_new(l->pool, NODE_MAP, SLICE_OF(""), origin);

    for (size_t i = 0; i < preset_rows_n; i++)
        if (strcmp(preset_rows[i].preset, preset) == 0)
            node_put(l->pool, root, preset_rows[i].name,
                     node_new(l->pool, NODE_PLAIN, slice_str(preset_rows[i].text), origin));
    return root;
}
