#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config_priv.h"
#include "refrain/base/attr.h"
#include "refrain/wire/header.h"

/*
 * A tree against the option table. What does not fit is reported and taken out (a value of a known option
 * becomes nothing), so that what follows meets only values that parse; a list written as one text becomes a
 * list.
 */

/* Where a walk is: inside which section's item, below which group. */
struct place {
    const struct option_section *section;
    const char *group; /* dotted, within the section; "" at its top */
    const char *shown; /* the same for people, from the very top */
};

const struct option_section *section_find(const char *name)
{
    for (size_t i = 1; i < OPTION_SECTIONS; i++)
        if (strcmp(option_sections[i]->name, name) == 0)
            return option_sections[i];
    return NULL;
}

static bool is_file_of(const struct option_row *row, const char *path)
{
    size_t len = strlen(row->name);

    return row->type == OPTION_SECRET && strncmp(path, row->name, len) == 0 &&
           strcmp(path + len, "_file") == 0;
}

const struct option_row *row_find(const struct option_section *s, const char *path, bool *out_is_file)
{
    for (size_t i = 0; i < s->rows_n; i++) {
        *out_is_file = is_file_of(&s->rows[i], path);
        if (*out_is_file || strcmp(s->rows[i].name, path) == 0)
            return &s->rows[i];
    }
    return NULL;
}

static const char *join(struct pool *p, const char *group, const char *name)
{
    return group[0] ? pool_printf(p, "%s.%s", group, name) : name;
}

/* What stands behind @group in a row's name: "memory.max_bytes" behind "tiers"; NULL when the row is
 * elsewhere. */
static const char *behind(const char *group, const char *row_name)
{
    size_t len = strlen(group);

    if (len == 0)
        return row_name;
    return strncmp(row_name, group, len) == 0 && row_name[len] == '.' ? row_name + len + 1 : NULL;
}

static bool is_group(const struct option_section *s, const char *path)
{
    for (size_t i = 0; i < s->rows_n; i++)
        if (behind(path, s->rows[i].name))
            return true;
    return false;
}

/* -- what may have been meant -- */

struct nearest {
    const char *name;
    char held[96];
    unsigned distance;
};

static void consider(struct nearest *best, struct slice wrote, struct slice candidate)
{
    unsigned distance;

    if (candidate.len >= sizeof(best->held) || !text_is_near(wrote, candidate, &distance) ||
        distance >= best->distance)
        return;
    memcpy(best->held, candidate.data, candidate.len);
    best->held[candidate.len] = '\0';
    best->name = best->held;
    best->distance = distance;
}

/* Names that could stand where @name does. */
static void consider_siblings(struct nearest *best, const struct place *at, struct slice wrote)
{
    char file[80];

    for (size_t i = 0; i < at->section->rows_n; i++) {
        const struct option_row *row = &at->section->rows[i];
        const char *rest = behind(at->group, row->name);
        struct slice tail = slice_str(rest);

        if (!rest)
            continue;
        consider(best, wrote, slice_cut(&tail, '.'));
        if (row->type != OPTION_SECRET || tail.data)
            continue;
        (void)snprintf(file, sizeof(file), "%s_file", rest);
        consider(best, wrote, slice_str(file));
    }
    if (at->section->kind == SECTION_ROOT && !at->group[0])
        for (size_t i = 1; i < OPTION_SECTIONS; i++)
            consider(best, wrote, slice_str(option_sections[i]->name));
}

/* The right name in the wrong place: the whole name of an option that ends in it. */
static const char *elsewhere(struct pool *p, const char *name)
{
    for (size_t s = 0; s < OPTION_SECTIONS; s++)
        for (size_t i = 0; i < option_sections[s]->rows_n; i++) {
            const struct option_row *row = &option_sections[s]->rows[i];
            const char *last = strrchr(row->name, '.');

            if (!last || strcmp(last + 1, name) != 0)
                continue;
            return s == 0
                       ? row->name
                       : pool_printf(p, option_sections[s]->kind == SECTION_NAMED ? "%s.NAME.%s" : "%s[].%s",
                                     option_sections[s]->name, row->name);
        }
    return NULL;
}

static void report_unknown(struct loading *l, const struct place *at, const char *name, const struct node *n)
{
    const char *shown = join(l->pool, at->shown, name), *meant;
    struct nearest best = {.distance = UINT_MAX};

    consider_siblings(&best, at, slice_str(name));
    meant = best.name ? best.name : elsewhere(l->pool, name);
    report_error(l->report, &n->origin, shown, "no such option%s%s%s", meant ? "; did you mean " : "",
                 meant ? meant : "", meant ? "?" : "");
}

/* -- values -- */

static void describe(const struct option_row *row, const struct node *n, char *out, size_t cap)
{
    static const char *const kinds[] = {
        [NODE_NULL] = "nothing", [NODE_LIST] = "a list", [NODE_MAP] = "a map"};
    bool secret = row->flags & (OPTION_MASKED | OPTION_USERINFO);

    if (!node_is_scalar(n))
        (void)snprintf(out, cap, "%s", kinds[n->kind]);
    else if (!n->text[0])
        (void)snprintf(out, cap, "an empty one");
    else if (secret)
        (void)snprintf(out, cap, "something else");
    else
        (void)snprintf(out, cap, n->kind == NODE_TEXT ? "the text \"%.60s\"" : "%.60s", n->text);
}

static bool refuse(struct loading *l, const struct option_row *row, const char *shown, const struct node *n)
{
    AUTO(buf_done) struct buf expected = BUF_INIT(400);
    char got[100];

    if (n->told)
        return false;
    option_expected(row, &expected);
    describe(row, n, got, sizeof(got));
    report_error(l->report, &n->origin, shown, "expected %.*s, got %s", (int)expected.len, expected.data,
                 got);
    return false;
}

/* Quotes make a text, which is no number; but sizes and times are written as texts in JSON. */
static bool kind_fits(const struct option_row *row, enum node_kind kind)
{
    if (row->type == OPTION_BOOL)
        return kind == NODE_PLAIN || kind == NODE_BOOL;
    if (row->type == OPTION_MAYBE)
        return kind == NODE_PLAIN || kind == NODE_BOOL || kind == NODE_TEXT;
    if (row->type == OPTION_COUNT || row->type == OPTION_DECIMAL || row->type == OPTION_DOLLARS)
        return kind == NODE_PLAIN || kind == NODE_NUMBER || (kind == NODE_TEXT && row->word);
    if (option_is_number(row) || row->type == OPTION_LIFETIMES)
        return kind == NODE_PLAIN || kind == NODE_NUMBER || kind == NODE_TEXT;
    return kind == NODE_PLAIN || kind == NODE_TEXT;
}

static bool scalar_ok(const struct option_row *row, const struct node *n)
{
    struct slice text = slice_str(n->text);
    bool quoted_count = row->type == OPTION_COUNT && n->kind == NODE_TEXT;
    int64_t number;

    if (n->told || !node_is_scalar(n) || !kind_fits(row, n->kind))
        return false;
    if (quoted_count)
        return slice_eq(text, slice_str(row->word));
    if (option_is_number(row) || row->type == OPTION_LIFETIMES)
        return option_parse(row, text, &number);
    return option_text_ok(row, text);
}

/* "a, b" of a flag or the environment, and a single text where that is allowed, become lists. */
static void make_list(struct loading *l, const struct option_row *row, struct node *n)
{
    bool many = n->origin.source == SOURCE_ENV || n->origin.source == SOURCE_FLAG;
    struct slice rest = slice_str(n->text);

    if (!node_is_scalar(n) || !(many || row->flags & OPTION_ONE_OR_MANY))
        return;
    n->kind = NODE_LIST;
    while (rest.data && rest.len > 0) {
        struct slice part = many ? slice_trim(slice_cut(&rest, ',')) : rest;

        if (!many)
            rest.data = NULL;
        node_add(l->pool, n, NULL, node_new(l->pool, NODE_PLAIN, part, n->origin));
    }
}

static bool check_list(struct loading *l, const struct option_row *row, const char *shown, struct node *n)
{
    bool ok = true;

    make_list(l, row, n);
    if (n->kind != NODE_LIST)
        return refuse(l, row, shown, n);
    for (size_t i = 0; i < n->n; i++)
        if (!scalar_ok(row, n->members[i].node))
            ok = refuse(l, row, shown, n->members[i].node);
    return ok;
}

static bool check_pairs(struct loading *l, const struct option_row *row, const char *shown, struct node *n)
{
    bool ok = true;

    if (n->kind != NODE_MAP)
        return refuse(l, row, shown, n);
    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];
        const char *member_shown = join(l->pool, shown, m->name);

        if (row->type == OPTION_HEADERS && !header_name_ok(slice_str(m->name))) {
            report_error(l->report, &m->node->origin, member_shown, "no name of a header");
            ok = false;
        } else if (!scalar_ok(row, m->node)) {
            ok = refuse(l, row, member_shown, m->node);
        }
    }
    return ok;
}

static bool check_value(struct loading *l, const struct option_row *row, bool is_file, const char *shown,
                        struct node *n)
{
    static const struct option_row file_row = {.type = OPTION_PATH};

    if (is_file)
        row = &file_row;
    switch (row->type) {
    case OPTION_LIST:
    case OPTION_NAMES:
        return check_list(l, row, shown, n);
    case OPTION_HEADERS:
    case OPTION_LIFETIMES:
        return check_pairs(l, row, shown, n);
    default:
        return scalar_ok(row, n) || refuse(l, row, shown, n);
    }
}

/* -- the walk -- */

static void check_map(struct loading *l, const struct place *at, struct node *map);

static bool expect_map(struct loading *l, const char *shown, const struct node *n, const char *what)
{
    if (n->kind == NODE_MAP)
        return true;
    if (n->kind != NODE_NULL) /* `tiers:` and nothing behind it: fine, and nothing to keep */
        report_error(l->report, &n->origin, shown, "expected %s, got %s", what,
                     n->kind == NODE_LIST ? "a list" : "a value");
    return false;
}

static void check_item(struct loading *l, const struct option_section *s, const char *shown,
                       struct node *item)
{
    struct place at = {s, "", shown};

    check_map(l, &at, item);
}

static bool check_named(struct loading *l, const struct option_section *s, struct node *n)
{
    static const struct option_row name_row = {.type = OPTION_NAME};
    size_t kept = 0;

    if (s->never_empty && n->n == 0 && (n->kind == NODE_NULL || n->kind == NODE_MAP))
        report_error(
            l->report, &n->origin, s->name,
            "there is nothing in it, which is as if it were not there; leave it out if that is meant");
    if (!expect_map(l, s->name, n, "a map of names to their options"))
        return false;
    for (size_t i = 0; i < n->n; i++) {
        const char *shown = join(l->pool, s->name, n->members[i].name);
        struct node *item = n->members[i].node;

        if (!option_text_ok(&name_row, slice_str(n->members[i].name)))
            report_error(l->report, &item->origin, shown,
                         "a name is up to 64 letters, digits, dots, underscores and "
                         "dashes");
        else if (s->never_empty && item->kind == NODE_NULL)
            report_error(l->report, &item->origin, shown, "expected a map of options, got nothing");
        else if (expect_map(l, shown, item, "a map of options")) {
            check_item(l, s, shown, item);
            n->members[kept++] = n->members[i];
        }
    }
    n->n = kept;
    return true;
}

/* A member of a map that stands for a list: its name becomes an option of the item. */
static void take_name(struct loading *l, const struct option_section *s, const char *shown, struct member *m)
{
    if (node_get(m->node, slice_str(s->key)))
        report_error(l->report, &m->node->origin, shown, "its name in the map is its %s; not both", s->key);
    else
        node_add(l->pool, m->node, s->key, node_new(l->pool, NODE_TEXT, slice_str(m->name), m->node->origin));
    m->name = NULL;
}

static bool check_items(struct loading *l, const struct option_section *s, struct node *n)
{
    bool is_map = s->key && n->kind == NODE_MAP;
    size_t kept = 0;

    if (n->kind == NODE_NULL)
        return false;
    if (n->kind != NODE_LIST && !is_map) {
        report_error(l->report, &n->origin, s->name, "expected a list%s, got %s", s->key ? " or a map" : "",
                     n->kind == NODE_MAP ? "a map" : "a value");
        return false;
    }
    n->kind = NODE_LIST;
    for (size_t i = 0; i < n->n; i++) {
        const char *shown =
            is_map ? join(l->pool, s->name, n->members[i].name) : pool_printf(l->pool, "%s[%zu]", s->name, i);
        struct node *item = n->members[i].node;

        if (item->kind != NODE_MAP) {
            report_error(l->report, &item->origin, shown, "expected a map of options, got %s",
                         item->kind == NODE_NULL   ? "nothing"
                         : item->kind == NODE_LIST ? "a list"
                                                   : "a value");
            continue;
        }
        if (is_map)
            take_name(l, s, shown, &n->members[i]);
        check_item(l, s, shown, item);
        n->members[kept++] = n->members[i];
    }
    n->n = kept;
    return true;
}

/* True when the member may stay. */
static bool check_member(struct loading *l, const struct place *at, const struct member *m)
{
    const char *path = join(l->pool, at->group, m->name), *shown = join(l->pool, at->shown, m->name);
    bool is_top = at->section->kind == SECTION_ROOT && !at->group[0], is_file;
    const struct option_section *s = is_top ? section_find(m->name) : NULL;
    const struct option_row *row = row_find(at->section, path, &is_file);
    struct place below = {at->section, path, shown};

    if (s)
        return s->kind == SECTION_NAMED ? check_named(l, s, m->node) : check_items(l, s, m->node);
    if (row) {
        if (!check_value(l, row, is_file, shown, m->node)) /* stays as nothing: given, so not also missed */
            *m->node = (struct node){.kind = NODE_NULL, .text = "", .origin = m->node->origin};
        return true;
    }
    if (!is_group(at->section, path)) {
        report_unknown(l, at, m->name, m->node);
        return false;
    }
    if (!expect_map(l, shown, m->node, "a map of options"))
        return false;
    check_map(l, &below, m->node);
    return true;
}

static void check_map(struct loading *l, const struct place *at, struct node *map)
{
    size_t kept = 0;

    for (size_t i = 0; i < map->n; i++)
        if (check_member(l, at, &map->members[i]))
            map->members[kept++] = map->members[i];
    map->n = kept;
}

void config_check(struct loading *l, struct node *tree)
{
    struct place top = {option_sections[0], "", ""};

    check_map(l, &top, tree);
}
