#include "refrain/wire/jleaf.h"

void jleaf_begin(struct jleaf *w, struct slice text)
{
    *w = (struct jleaf){.at = text.data, .value_next = true};
    w->end = text.len ? text.data + text.len : text.data;
}

/* Behind the string whose opening quote is at @p; NULL when it does not end. */
static const char *skip_string(const char *p, const char *end)
{
    p++;
    while (p < end) {
        const char *quote = memchr(p, '"', (size_t)(end - p)), *back;

        if (!quote)
            return NULL;
        for (back = quote; back > p && back[-1] == '\\'; back--)
            ;
        if ((quote - back) % 2 == 0)
            return quote + 1;
        p = quote + 1; /* escaped: what is before it has been seen */
    }
    return NULL;
}

static bool is_opening(char c)
{
    return c == '{' || c == '[';
}

static bool is_closing(char c)
{
    return c == '}' || c == ']';
}

static const char *skip_container(const char *p, const char *end)
{
    size_t depth = 0;

    do {
        if (*p == '"') {
            p = skip_string(p, end);
            if (!p)
                return NULL;
            continue;
        }
        depth += is_opening(*p);
        depth -= is_closing(*p);
        p++;
    } while (depth > 0 && p < end);
    return depth > 0 ? NULL : p;
}

static const char *skip_scalar(const char *p, const char *end)
{
    const char *start = p;

    while (p < end && *p != ',' && !is_closing(*p))
        p++;
    return p > start ? p : NULL;
}

static const char *skip_value(const char *p, const char *end)
{
    if (*p == '"')
        return skip_string(p, end);
    return is_opening(*p) ? skip_container(p, end) : skip_scalar(p, end);
}

static void change(struct jleaf *w, unsigned step)
{
    if (step < w->changed)
        w->changed = step;
}

/* The name of the next member, and its colon. */
static bool read_name(struct jleaf *w, struct jleaf_step *step)
{
    const char *start = w->at, *behind;

    if (start == w->end || *start != '"')
        return false;
    behind = skip_string(start, w->end);
    if (!behind || behind == w->end || *behind != ':')
        return false;
    step->name = slice_make(start + 1, (size_t)(behind - start) - 2);
    w->at = behind + 1;
    return true;
}

static bool open_container(struct jleaf *w)
{
    struct jleaf_step *step = &w->path[w->depth];
    bool object = *w->at == '{';

    *step = (struct jleaf_step){{NULL, 0}, 0};
    w->at++;
    change(w, w->depth);
    w->depth++;
    return !object || read_name(w, step);
}

static bool next_item(struct jleaf *w)
{
    struct jleaf_step *step = &w->path[w->depth - 1];

    w->at++; /* the comma */
    change(w, w->depth - 1);
    w->value_next = true;
    if (step->name.data)
        return read_name(w, step);
    step->index++;
    return true;
}

static bool take_leaf(struct jleaf *w)
{
    const char *behind = skip_value(w->at, w->end);

    if (!behind)
        return false;
    w->value = slice_make(w->at, (size_t)(behind - w->at));
    w->at = behind;
    w->value_next = false;
    return true;
}

static bool opens_more(const struct jleaf *w)
{
    return w->depth < JLEAF_DEPTH_MAX && is_opening(*w->at) && w->end - w->at > 1 && !is_closing(w->at[1]);
}

bool jleaf_next(struct jleaf *w)
{
    w->changed = w->value.data ? JLEAF_DEPTH_MAX : 0;
    while (w->at < w->end) {
        if (w->value_next && !opens_more(w))
            return take_leaf(w);
        if (!w->value_next && w->depth > 0 && is_closing(*w->at)) {
            w->at++;
            w->depth--;
            continue;
        }
        if (!(w->value_next ? open_container(w) : w->depth > 0 && *w->at == ',' && next_item(w)))
            return false;
    }
    return false;
}

int jleaf_path(const struct jleaf *w, struct buf *out)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < w->depth; i++) {
        const struct jleaf_step *step = &w->path[i];

        if (!step->name.data)
            r = buf_addf(out, "[%u]", step->index);
        else
            r = i > 0 ? buf_add_byte(out, '.') : 0;
        if (r == 0 && step->name.data)
            r = buf_add_slice(out, step->name);
    }
    return r;
}
