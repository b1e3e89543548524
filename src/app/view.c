#include "view.h"

#include <string.h>

#include "config_tree.h"
#include "pool.h"
#include "refrain/base/attr.h"
#include "remote.h"
#include "text.h"

enum { BAR_WIDTH = 16 };

static struct short_text in_form(enum form form, double value)
{
    switch (form) {
    case FORM_BYTES:
        return text_of_bytes(value);
    case FORM_SECONDS:
        return text_of_seconds(value);
    case FORM_RATIO:
        return text_of_ratio(value);
    case FORM_DOLLARS:
        return text_of_dollars(value);
    default:
        return text_of_count(value);
    }
}

static bool is_number(enum form form)
{
    return form != FORM_TEXT && form != FORM_TITLE && form != FORM_WORDS;
}

static void join(const struct node *list, char *out, size_t cap)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; list && i < list->n && len < cap; i++)
        len += (size_t)snprintf(out + len, cap - len, "%s%s", i > 0 ? " " : "",
                                node_is_scalar(list->members[i].node) ? list->members[i].node->text : "");
}

static void draw_bar(const struct term *term, double ratio, char *out, size_t cap)
{
    char bar[BAR_WIDTH * 4];

    term_bar(term, ratio, BAR_WIDTH, bar, sizeof(bar));
    (void)snprintf(out, cap, "%s %6s", bar, text_of_ratio(ratio).text);
}

void view_format(const struct node *item, const struct view_column *c, const struct term *term, char *out,
                 size_t cap)
{
    const char *text = remote_text(item, c->path, NULL);
    double value;

    if (c->form == FORM_WORDS)
        join(item ? node_find(item, c->path) : NULL, out, cap);
    else if (!text)
        (void)snprintf(out, cap, "%s", c->below || !term->live ? "" : c->otherwise ? c->otherwise : "-");
    else if (!term->live || !is_number(c->form) || !remote_number(item, c->path, &value))
        (void)snprintf(out, cap, "%s", !text[0] && c->empty ? c->empty : text);
    else if (c->form == FORM_BAR)
        draw_bar(term, value, out, cap);
    else
        (void)snprintf(out, cap, "%s", in_form(c->form, value).text);
}

struct table *view_table(const struct view *v, const struct term *term)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    struct table_column *columns = pool_alloc(&pool, v->n * sizeof(*columns));

    for (size_t i = 0; i < v->n; i++) {
        const struct view_column *c = &v->columns[i];

        columns[i] =
            (struct table_column){c->title, c->path, is_number(c->form), c->shrinks, c->below, c->drop};
    }
    return table_new(term, columns, v->n);
}

void view_add(const struct view *v, struct table *t, const struct term *term, const struct node *item,
              const char *name)
{
    char text[2048];

    for (size_t i = 0; i < v->n; i++) {
        view_format(item, &v->columns[i], term, text, sizeof(text));
        table_add(t, i == 0 && name ? name : text,
                  v->columns[i].form == FORM_TITLE && v->tone ? v->tone(item) : TONE_PLAIN);
    }
}
