#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "config_priv.h"
#include "refrain/base/attr.h"

/*
 * From a checked tree to struct config, row by row: each row's field is set from the tree or from its own
 * default, and an entry remembers what it is and where that came from.
 */

enum { SECRET_BYTES_MAX = 64 << 10 };

/* One struct being filled: its rows, its bytes, its node in the tree, what its options' names begin with. */
struct target {
    const struct option_section *section;
    char *base;
    const struct node *node, *root;
    const char *prefix;   /* "upstreams.openai." */
    struct origin origin; /* of the item */
};

/* What of a value may be shown. */
static const char *shown(struct loading *l, const struct option_row *row, const char *raw)
{
    const char *scheme = strstr(raw, "://"), *at = strrchr(raw, '@');

    if (row->flags & OPTION_MASKED)
        return raw[0] ? "***" : raw;
    if (!(row->flags & OPTION_USERINFO) || !at)
        return raw;
    return scheme && scheme < at ? pool_printf(l->pool, "%.*s***%s", (int)(scheme + 3 - raw), raw, at)
                                 : "***";
}

static void entry_add(struct loading *l, const struct target *t, const struct option_row *row,
                      const char *suffix, const char *raw, struct origin origin)
{
    struct config_origin *o = l->conf->origin;
    struct config_entry e = {.row = row, .raw = raw, .origin = origin};

    if (o->entries_n == o->entries_cap) {
        size_t cap = o->entries_cap ? o->entries_cap * 2 : 128;
        struct config_entry *entries = pool_alloc(l->pool, cap * sizeof(*entries));

        if (o->entries_n > 0)
            memcpy(entries, o->entries, o->entries_n * sizeof(*entries));
        o->entries = entries;
        o->entries_cap = cap;
    }
    e.name = pool_printf(l->pool, "%s%s%s", t->prefix, row->name, suffix);
    e.text = suffix[0] ? raw : shown(l, row, raw);
    o->entries[o->entries_n++] = e;
}

/* -- setting a field -- */

static void store_number(const struct option_row *row, char *field, int64_t number)
{
    switch (row->type) {
    case OPTION_BOOL:
        *(bool *)field = number != 0;
        break;
    case OPTION_MS:
    case OPTION_SECONDS:
        *(int64_t *)(void *)field = number;
        break;
    default:
        if (row->size == sizeof(uint64_t))
            *(uint64_t *)(void *)field = (uint64_t)number;
        else
            *(unsigned *)(void *)field = (unsigned)number;
    }
}

/* @text is the node's, or the row's default: both parse, the one checked, the other by a test. */
static const char *bind_number(struct loading *l, const struct option_row *row, char *field, const char *text)
{
    AUTO(buf_done) struct buf shown = BUF_INIT(100);
    int64_t number = 0;
    bool ok = !text || option_parse(row, slice_str(text), &number);

    assert(ok);
    store_number(row, field, number);
    if (!text)
        return "";
    option_format(row, number, &shown);
    return pool_text(l->pool, buf_slice(&shown));
}

static const char *bind_text(struct loading *l, char *field, const char *text)
{
    const char *kept = text ? pool_text(l->pool, slice_str(text)) : NULL;

    *(const char **)(void *)field = kept;
    return kept ? kept : "";
}

/* "[a, b]" */
static const char *show_list(struct loading *l, const struct node *n)
{
    const char *shown = "";

    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];

        shown = pool_printf(l->pool, "%s%s%s%s%s", shown, i ? ", " : "", m->name ? m->name : "",
                            m->name ? ": " : "", m->node->text);
    }
    return pool_printf(l->pool, n->kind == NODE_MAP ? "{%s}" : "[%s]", shown);
}

/* A default list has one member. */
static struct node *list_of(struct loading *l, const char *text)
{
    struct origin built_in = {.source = SOURCE_BUILT_IN};
    struct node *n = node_new(l->pool, NODE_LIST, SLICE_OF(""), built_in);

    if (text)
        node_add(l->pool, n, NULL, node_new(l->pool, NODE_PLAIN, slice_str(text), built_in));
    return n;
}

static const char *bind_list(struct loading *l, char *field, const struct node *n)
{
    struct text_list *list = (struct text_list *)(void *)field;
    struct slice *at = pool_alloc(l->pool, (n->n + 1) * sizeof(*at));

    for (size_t i = 0; i < n->n; i++) {
        struct slice text = slice_str(n->members[i].node->text);

        at[i] = slice_make(pool_text(l->pool, text), text.len);
    }
    list->at = at;
    list->n = n->n;
    return n->n > 0 ? show_list(l, n) : "";
}

/* NULL for an empty list, as struct upstream_conf has it. */
static const char *bind_names(struct loading *l, const struct option_row *row, char *field,
                              const struct node *n)
{
    const char **at = pool_alloc(l->pool, (n->n + 1) * sizeof(*at));

    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];

        at[i] = row->type == OPTION_HEADERS ? pool_printf(l->pool, "%s: %s", m->name, m->node->text)
                                            : pool_text(l->pool, slice_str(m->node->text));
    }
    *(const char *const **)(void *)field = n->n > 0 ? at : NULL;
    return n->n > 0 ? show_list(l, n) : "";
}

static const char *bind_lifetimes(struct loading *l, const struct option_row *row, const struct target *t,
                                  const struct node *n)
{
    struct named_ttl *at = pool_alloc(l->pool, (n->n + 1) * sizeof(*at));

    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];
        bool ok = option_parse(row, slice_str(m->node->text), &at[i].ttl_s);

        assert(ok);
        at[i].name = pool_text(l->pool, slice_str(m->name));
    }
    *(struct named_ttl **)(void *)(t->base + row->offset) = at;
    *(size_t *)(void *)(t->base + row->count_offset) = n->n;
    return n->n > 0 ? show_list(l, n) : "";
}

/* -- secrets -- */

static struct slice trim_all(struct slice s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.data[0]))
        s = slice_skip(s, 1);
    while (s.len > 0 && strchr(" \t\r\n", s.data[s.len - 1]))
        s.len--;
    return s;
}

static const char *secret_read(struct loading *l, const struct target *t, const struct option_row *row,
                               const struct node *file)
{
    const char *name = pool_printf(l->pool, "%s%s_file", t->prefix, row->name);
    struct slice text;
    struct stat st;
    int r = file_read(l->pool, file->text, SECRET_BYTES_MAX, &text);

    if (r < 0) {
        report_error(l->report, &file->origin, name, "cannot read %s: %s", file->text, strerror(-r));
        return NULL;
    }
    if (stat(file->text, &st) == 0 && (st.st_mode & 007))
        report_warning(l->report, &file->origin, name, "%s can be read by everybody; chmod 0600 it",
                       file->text);
    text = trim_all(text);
    if (text.len == 0 || memchr(text.data, '\0', text.len)) {
        report_error(l->report, &file->origin, name, "no secret in %s: %s", file->text,
                     text.len == 0 ? "it is empty" : "it holds a NUL byte");
        return NULL;
    }
    return pool_text(l->pool, text);
}

static void bind_secret(struct loading *l, const struct target *t, const struct option_row *row,
                        const struct node *n)
{
    const struct node *file = node_find(t->node, pool_printf(l->pool, "%s_file", row->name));
    struct secret_conf *secret = (struct secret_conf *)(void *)(t->base + row->offset);
    struct origin origin = {.source = SOURCE_BUILT_IN};

    if (n && n->kind == NODE_NULL)
        n = NULL;
    if (file && file->kind == NODE_NULL)
        file = NULL;
    if (n && file && n->origin.source == file->origin.source)
        report_error(l->report, &n->origin, pool_printf(l->pool, "%s%s", t->prefix, row->name),
                     "given as a text and as a file; one of them");
    if (n && file && n->origin.source > file->origin.source)
        file = NULL;
    if (file) {
        secret->file = pool_text(l->pool, slice_str(file->text));
        secret->text = secret_read(l, t, row, file);
        origin = file->origin;
    } else if (n) {
        secret->text = pool_text(l->pool, slice_str(n->text));
        origin = n->origin;
    }
    entry_add(l, t, row, "", secret->text ? secret->text : "", origin);
    entry_add(l, t, row, "_file", secret->file ? secret->file : "", origin);
}

/* -- rows and items -- */

static const char *bind_value(struct loading *l, const struct target *t, const struct option_row *row,
                              const struct node *n)
{
    char *field = t->base + row->offset;
    const char *text = n ? n->text : row->fallback;

    if (option_is_number(row))
        return bind_number(l, row, field, text);
    switch (row->type) {
    case OPTION_LIST:
        return bind_list(l, field, n ? n : list_of(l, row->fallback));
    case OPTION_NAMES:
    case OPTION_HEADERS:
        return bind_names(l, row, field, n ? n : list_of(l, row->fallback));
    case OPTION_LIFETIMES:
        return bind_lifetimes(l, row, t, n ? n : list_of(l, NULL));
    default:
        return bind_text(l, field, text);
    }
}

static void bind_row(struct loading *l, const struct target *t, const struct option_row *row)
{
    const struct node *n = node_find(t->node, row->name);
    struct origin origin = {.source = SOURCE_BUILT_IN};

    if (!n && row->inherits)
        n = node_find(t->root, row->inherits);
    if (row->type == OPTION_SECRET)
        return bind_secret(l, t, row, n);
    if (!n && row->flags & OPTION_REQUIRED)
        report_error(l->report, &t->origin, pool_printf(l->pool, "%s%s", t->prefix, row->name),
                     "must be given, and is not");
    if (n && n->kind == NODE_NULL)
        n = NULL; /* told already */
    if (n)
        origin = n->origin;
    entry_add(l, t, row, "", bind_value(l, t, row, n), origin);
}

static void bind_rows(struct loading *l, const struct target *t)
{
    for (size_t i = 0; i < t->section->rows_n; i++)
        bind_row(l, t, &t->section->rows[i]);
}

static void keep_item_origin(struct loading *l, const struct target *t)
{
    struct item_origin *item = pool_alloc(l->pool, sizeof(*item));

    *item = (struct item_origin){t->prefix, t->origin, l->items};
    l->items = item;
}

static void bind_section(struct loading *l, const struct option_section *s, const struct node *tree)
{
    const struct node *n = node_get(tree, slice_str(s->name));
    size_t count = n ? n->n : 0;
    char *items = pool_alloc(l->pool, (count + 1) * s->item_size), *conf = (char *)l->conf;

    for (size_t i = 0; i < count; i++) {
        const struct member *m = &n->members[i];
        struct target t = {s, items + i * s->item_size, m->node, tree, "", m->node->origin};

        if (s->kind == SECTION_NAMED) {
            t.prefix = pool_printf(l->pool, "%s.%s.", s->name, m->name);
            *(const char **)(void *)(t.base + s->name_offset) = pool_text(l->pool, slice_str(m->name));
        } else {
            t.prefix = pool_printf(l->pool, "%s[%zu].", s->name, i);
        }
        keep_item_origin(l, &t);
        bind_rows(l, &t);
    }
    *(void **)(void *)(conf + s->items_offset) = items;
    *(size_t *)(void *)(conf + s->count_offset) = count;
}

void config_bind(struct loading *l, const struct node *tree)
{
    struct target root = {option_sections[0], (char *)l->conf, tree, tree, "", {.source = SOURCE_BUILT_IN}};

    bind_rows(l, &root);
    for (size_t i = 1; i < OPTION_SECTIONS; i++)
        bind_section(l, option_sections[i], tree);
}

const struct config_entry *entry_of(const struct config *conf, const char *name)
{
    const struct config_origin *o = conf->origin;

    for (size_t i = 0; i < o->entries_n; i++)
        if (strcmp(o->entries[i].name, name) == 0)
            return &o->entries[i];
    assert(!"an option of that name");
    return NULL;
}
