#include "config_show.h"

#include <stdio.h>
#include <string.h>

#include "config_priv.h"
#include "refrain/base/attr.h"

/* Writes on until something fails, and remembers that it did: long texts are many small writes. */
struct writer {
    struct buf *out;
    int r;
};

static void put(struct writer *w, const char *text)
{
    if (w->r == 0)
        w->r = buf_add_slice(w->out, slice_str(text));
}

static void put_json(struct writer *w, const char *text)
{
    if (w->r == 0)
        w->r = buf_add_json(w->out, slice_str(text));
}

static void putf(struct writer *w, const char *fmt, ...) ATTR_PRINTF(2, 3);
static void putf(struct writer *w, const char *fmt, ...)
{
    char text[2048];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    put(w, text);
}

/* -- one configuration -- */

static void show_line(struct writer *w, const struct config_entry *e)
{
    char where[512], left[512];

    origin_print(&e->origin, where, sizeof(where));
    (void)snprintf(left, sizeof(left), "%s: %s", e->name, e->text[0] ? e->text : "~");
    putf(w, "%-60s # %s\n", left, where);
}

static void show_member(struct writer *w, const struct config_entry *e, bool first)
{
    char where[512];

    origin_print(&e->origin, where, sizeof(where));
    put(w, first ? "{\n  " : ",\n  ");
    put_json(w, e->name);
    put(w, ": {\"value\": ");
    if (e->text[0])
        put_json(w, e->text);
    else
        put(w, "null");
    put(w, ", \"source\": ");
    put_json(w, where);
    put(w, "}");
}

int config_show(const struct config *conf, bool json, bool changed_only, struct buf *out)
{
    struct writer w = {out, 0};
    bool first = true;

    for (size_t i = 0; i < conf->origin->entries_n; i++) {
        const struct config_entry *e = &conf->origin->entries[i];

        if (changed_only && e->origin.source == SOURCE_BUILT_IN)
            continue;
        if (json)
            show_member(&w, e, first);
        else
            show_line(&w, e);
        first = false;
    }
    if (json)
        put(&w, first ? "{}\n" : "\n}\n");
    return w.r;
}

int config_show_report(const struct config_report *report, bool json, struct buf *out)
{
    struct writer w = {out, 0};

    if (json)
        putf(&w, "{\"ok\": %s, \"faults\": [", report->errors_n == 0 ? "true" : "false");
    for (size_t i = 0; i < report->n; i++) {
        const char *severity = report->faults[i].warning ? "warning" : "error";

        if (!json) {
            putf(&w, "%s: ", severity);
            put(&w, report->faults[i].text);
            put(&w, "\n");
            continue;
        }
        putf(&w, "%s{\"severity\": \"%s\", \"text\": ", i ? ", " : "", severity);
        put_json(&w, report->faults[i].text);
        put(&w, "}");
    }
    if (json)
        put(&w, "]}\n");
    return w.r;
}

/* -- the table -- */

/* "upstreams.NAME.url", "routes[].path" */
static void full_name(const struct option_section *s, const struct option_row *row, char *out, size_t cap)
{
    const char *file = row->type == OPTION_SECRET ? "[_file]" : "";
    size_t n = (size_t)snprintf(out, cap,
                                s->kind == SECTION_ROOT    ? "%s%s"
                                : s->kind == SECTION_NAMED ? "%s.NAME.%s"
                                                           : "%s[].%s",
                                s->name, row->name);

    if (n < cap)
        (void)snprintf(out + n, cap - n, "%s", file);
}

static const char *type_name(const struct option_row *row)
{
    static const char *const names[] = {
        [OPTION_BOOL] = "true or false", [OPTION_COUNT] = "number",
        [OPTION_BYTES] = "size",         [OPTION_MS] = "time",
        [OPTION_SECONDS] = "time",       [OPTION_DECIMAL] = "number",
        [OPTION_DOLLARS] = "dollars",    [OPTION_MAYBE] = "true or false",
        [OPTION_ENUM] = "choice",        [OPTION_TEXT] = "text",
        [OPTION_PATH] = "path",          [OPTION_NAME] = "name",
        [OPTION_PREFIX] = "path prefix", [OPTION_URL] = "URL",
        [OPTION_ADDRESS] = "address",    [OPTION_LIST] = "list",
        [OPTION_NAMES] = "list",         [OPTION_HEADERS] = "map",
        [OPTION_SECRET] = "secret",      [OPTION_LIFETIMES] = "map",
    };

    return names[row->type];
}

int config_show_options(struct buf *out)
{
    struct writer w = {out, 0};
    char name[128];

    for (size_t s = 0; s < OPTION_SECTIONS; s++)
        for (size_t i = 0; i < option_sections[s]->rows_n; i++) {
            const struct option_row *row = &option_sections[s]->rows[i];

            full_name(option_sections[s], row, name, sizeof(name));
            putf(&w, "  %-48s %-14s %s\n", name, type_name(row), row->fallback ? row->fallback : "");
        }
    return w.r;
}

/* -- docs/configuration.md -- */

static const char reference_head[] =
    "# Configuration\n\n"
    "<!-- Made by `refrain config reference` from the option tables in src/app/config_table*.c; not edited "
    "by hand. -->\n\n"
    "Every option can be given in four places. What stands further left goes before what stands further "
    "right:\n\n"
    "| flag | environment | file | preset |\n|---|---|---|---|\n"
    "| `--set tiers.memory.max_bytes=1GiB` | `REFRAIN_TIERS__MEMORY__MAX_BYTES=1GiB` | "
    "`tiers: {memory: {max_bytes: 1GiB}}` | `preset: production` |\n\n"
    "- The file is YAML, or JSON when its name ends in `.json`; `--config FILE` names it, or "
    "`REFRAIN_CONFIG` in the "
    "environment. `config/refrain.yaml` is one to begin with, `config/refrain.schema.json` its schema.\n"
    "- `--upstream URL`, `--listen ADDRESS`, `--admin ADDRESS` and `--preset NAME` are short for `--set "
    "upstream=…`, "
    "`listen.address`, `admin.address` and `preset`.\n"
    "- `--upstream URL` alone is enough: it makes an upstream and a route named `default`, which "
    "`--set upstreams.default.first_byte_timeout=3s` reaches.\n"
    "- `${NAME}` in a file's values stands for that variable of the environment, `${NAME:-text}` for the "
    "text where there "
    "is none; `$${` is a `${` that is meant. A secret may lie in a file of its own: `token_file` instead of "
    "`token`.\n"
    "- Sizes: `512KiB`, `500MiB`, `1GiB` (1024), `1MB` (1000), or bytes. Times: `250ms`, `90s`, `5m`, "
    "`1h30m`, `7d`, or "
    "seconds. In flags and the environment a list is written `a,b,c`, or in brackets as in YAML, like maps.\n"
    "- A name that is no option, a value of the wrong type or out of range is refused, all of them at once, "
    "with the place "
    "and what was expected. `refrain config check` does just that; `refrain config show` prints every value "
    "in force "
    "and where it comes from, with credentials masked.\n"
    "- SIGHUP reads everything again. What cannot change while running is marked *start*; the rest does, "
    "without dropping "
    "a connection or an entry.\n";

/* Help holds Markdown, but a bar would end the table's cell. */
static void put_cell(struct writer *w, const char *text)
{
    for (const char *at = text; *at; at++) {
        char two[3] = {'\\', *at, '\0'};

        put(w, *at == '|' ? two : two + 1);
    }
}

static void put_limits(struct writer *w, const struct option_row *row)
{
    AUTO(buf_done) struct buf limits = BUF_INIT(400);
    struct option_row bare = *row;

    bare.word = NULL;
    if (row->type == OPTION_URL)
        put(w, "URL by ");
    if (row->type == OPTION_ENUM || row->type == OPTION_URL) {

        for (int i = 0; row->choices[i]; i++)
            putf(w, "%s`%s`", i ? ", " : "", row->choices[i]);
        return;
    }
    put(w, type_name(row));
    if (row->min != row->max) {
        option_format(&bare, row->min, &limits);
        (void)!buf_add(&limits, " to ", 4);
        option_format(&bare, row->max, &limits);
        putf(w, ", %.*s", (int)limits.len, limits.data);
    }
    if (row->word)
        putf(w, ", or `%s`", row->word);
}

static void put_row(struct writer *w, const struct option_section *s, const struct option_row *row)
{
    char name[128];

    full_name(s, row, name, sizeof(name));
    putf(w, "| `%s` | ", name);
    put_limits(w, row);
    put(w, " | ");
    if (row->fallback)
        putf(w, "`%s`", row->fallback);
    put(w, row->flags & OPTION_REQUIRED ? "required | " : " | ");
    put(w, row->flags & OPTION_FIXED ? "start | " : "reload | ");
    put_cell(w, row->help);
    if (row->env)
        putf(w, " Also `%s` in the environment.", row->env);
    put(w, " |\n");
}

static bool in_group(const struct option_section *s, const struct option_row *row, const char *group)
{
    size_t len = strlen(group);

    if (s->kind != SECTION_ROOT)
        return strcmp(s->name, group) == 0;
    if (len == 0)
        return !strchr(row->name, '.');
    return strncmp(row->name, group, len) == 0 && row->name[len] == '.';
}

static void put_group(struct writer *w, const char *group, const char *help)
{
    if (group[0])
        putf(w, "\n## %s\n\n%s\n\n", group, help);
    else
        put(w, "\n## At the top\n\n");
    put(w, "| option | type | default | change | |\n|---|---|---|---|---|\n");
    for (size_t s = 0; s < OPTION_SECTIONS; s++)
        for (size_t i = 0; i < option_sections[s]->rows_n; i++)
            if (in_group(option_sections[s], &option_sections[s]->rows[i], group))
                put_row(w, option_sections[s], &option_sections[s]->rows[i]);
}

int config_show_reference(struct buf *out)
{
    struct writer w = {out, 0};

    put(&w, reference_head);
    put_group(&w, "", "");
    for (size_t i = 0; i < option_groups_n; i++)
        put_group(&w, option_groups[i].name, option_groups[i].help);
    put(&w, "\n## Presets\n\n| preset | option | value |\n|---|---|---|\n");
    for (size_t i = 0; i < preset_rows_n; i++)
        putf(&w, "| `%s` | `%s` | `%s` |\n", preset_rows[i].preset, preset_rows[i].name, preset_rows[i].text);
    return w.r;
}

/* -- JSON schema -- */

static void put_choices(struct writer *w, const struct option_row *row)
{
    put(w, "\"enum\": [");
    for (int i = 0; row->choices[i]; i++)
        putf(w, "%s\"%s\"", i ? ", " : "", row->choices[i]);
    put(w, "]");
}

static void put_scalar_type(struct writer *w, const struct option_row *row)
{
    switch (row->type) {
    case OPTION_BOOL:
        put(w, "\"type\": \"boolean\"");
        break;
    case OPTION_MAYBE:
        putf(w, "\"anyOf\": [{\"type\": \"boolean\"}, {\"const\": \"%s\"}]", row->word);
        break;
    case OPTION_COUNT:
        if (row->word)
            putf(w, "\"anyOf\": [{\"type\": \"integer\"}, {\"const\": \"%s\"}]", row->word);
        else
            put(w, "\"type\": \"integer\"");
        break;
    case OPTION_DECIMAL:
    case OPTION_DOLLARS:
        if (row->word)
            putf(w, "\"anyOf\": [{\"type\": \"number\"}, {\"const\": \"%s\"}]", row->word);
        else
            put(w, "\"type\": \"number\"");
        break;
    case OPTION_BYTES:
    case OPTION_MS:
    case OPTION_SECONDS:
    case OPTION_LIFETIMES:
        put(w, "\"type\": [\"string\", \"integer\"]");
        break;
    case OPTION_ENUM:
        put_choices(w, row);
        break;
    default:
        put(w, "\"type\": \"string\"");
    }
}

static void put_type(struct writer *w, const struct option_row *row)
{
    const char *item = row->flags & OPTION_NUMBERS ? "integer" : "string";

    switch (row->type) {
    case OPTION_LIST:
    case OPTION_NAMES:
        if (row->flags & OPTION_ONE_OR_MANY)
            putf(w, "\"type\": [\"%s\", \"array\"], \"items\": {\"type\": \"%s\"}", item, item);
        else
            putf(w, "\"type\": \"array\", \"items\": {\"type\": \"%s\"}", item);
        break;
    case OPTION_HEADERS:
    case OPTION_LIFETIMES:
        put(w, "\"type\": \"object\", \"additionalProperties\": {");
        put_scalar_type(w, row);
        put(w, "}");
        break;
    default:
        put_scalar_type(w, row);
    }
}

/* As the type has it: a truth and a number without quotes, but a word in them. */
static void put_default(struct writer *w, const struct option_row *row)
{
    bool bare = row->type == OPTION_BOOL || row->flags & OPTION_NUMBERS ||
                ((row->type == OPTION_COUNT || row->type == OPTION_DECIMAL || row->type == OPTION_DOLLARS) &&
                 strspn(row->fallback, "0123456789"));

    put(w, ", \"default\": ");
    if (bare)
        put(w, row->fallback);
    else
        put_json(w, row->fallback);
}

static void put_property(struct writer *w, const char *name, const struct option_row *row, int depth)
{
    putf(w, "%*s\"%s\": {", depth * 2, "", name);
    put_type(w, row);
    put(w, ", \"description\": ");
    put_json(w, row->help);
    if (row->fallback)
        put_default(w, row);
    put(w, "}");
}

/* The properties below @group: its own rows, and groups, each where its first row stands. */
static void put_properties(struct writer *w, const struct option_section *s, const char *group, int depth)
{
    size_t skip = strlen(group);
    char last[64] = "", below[128];
    bool first = true;

    for (size_t i = 0; i < s->rows_n; i++) {
        const struct option_row *row = &s->rows[i];
        const char *name = row->name + skip, *dot;

        if (strncmp(row->name, group, skip) != 0)
            continue;
        dot = strchr(name, '.');
        if (dot && strncmp(last, name, (size_t)(dot - name)) == 0 && last[dot - name] == '\0')
            continue; /* its group is there */
        put(w, first ? "" : ",\n");
        first = false;
        if (!dot) {
            put_property(w, name, row, depth);
            if (row->type == OPTION_SECRET)
                putf(w,
                     ",\n%*s\"%s_file\": {\"type\": \"string\", \"description\": \"The file that it lies "
                     "in.\"}",
                     depth * 2, "", name);
            continue;
        }
        (void)snprintf(last, sizeof(last), "%.*s", (int)(dot - name), name);
        (void)snprintf(below, sizeof(below), "%s%s.", group, last);
        putf(w, "%*s\"%s\": {\"type\": \"object\", \"additionalProperties\": false, \"properties\": {\n",
             depth * 2, "", last);
        put_properties(w, s, below, depth + 1);
        put(w, "}}");
    }
}

/* The items of a list, or of a map by @name: there, an item's own key need not be said. */
static void put_items(struct writer *w, const struct option_section *s, const char *name, bool keyed)
{
    bool any = false;

    putf(w, "\"%s\": {\"type\": \"object\", \"additionalProperties\": false", name);
    for (size_t i = 0; i < s->rows_n; i++)
        if (s->rows[i].flags & OPTION_REQUIRED && !(keyed && strcmp(s->rows[i].name, s->key) == 0)) {
            putf(w, any ? ", \"%s\"" : ", \"required\": [\"%s\"", s->rows[i].name);
            any = true;
        }
    put(w, any ? "], \"properties\": {\n" : ", \"properties\": {\n");
    put_properties(w, s, "", 2);
    put(w, "}}");
}

static void put_section(struct writer *w, const struct option_section *s)
{
    bool named = s->kind == SECTION_NAMED;

    putf(w, ",\n  \"%s\": {\"type\": %s, ", s->name,
         named    ? "\"object\""
         : s->key ? "[\"array\", \"object\"]"
                  : "\"array\"");
    put_items(w, s, named ? "additionalProperties" : "items", false);
    if (s->key) {
        put(w, ", ");
        put_items(w, s, "additionalProperties", true);
    }
    put(w, "}");
}

int config_show_schema(struct buf *out)
{
    struct writer w = {out, 0};

    put(&w,
        "{\n\"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
        "\"title\": \"Configuration of Refrain\",\n\"type\": \"object\",\n\"additionalProperties\": false,\n"
        "\"properties\": {\n");
    put_properties(&w, option_sections[0], "", 1);
    for (size_t i = 1; i < OPTION_SECTIONS; i++)
        put_section(&w, option_sections[i]);
    put(&w, "\n}}\n");
    return w.r;
}
