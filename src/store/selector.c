#include "refrain/store/selector.h"

#include <errno.h>
#include <stdlib.h>

#include "refrain/base/glob.h"
#include "refrain/store/entry.h"
#include "refrain/wire/keytext.h"

enum { NAME_BYTES_MAX = 1024 };

struct label label_of(const struct entry *e)
{
    return (struct label){
        .key = e->key,
        .id = slice_make(e->id, ENTRY_ID_LEN),
        .namespace_ = entry_slice(e, e->namespace_),
        .operation = entry_slice(e, e->op_name),
        .model = entry_slice(e, e->model),
        .tags = entry_slice(e, e->tags),
        .target = e->target,
        .created_ms = e->created_ms,
        .started_seq = e->started_seq,
        .family = (e->flags & ENTRY_VARY) != 0,
    };
}

static bool has_tag(struct slice tags, struct slice tag)
{
    while (tags.len > 0)
        if (slice_eq(slice_cut(&tags, ','), tag))
            return true;
    return false;
}

static bool matches_or_unsaid(struct slice wanted, struct slice is)
{
    return wanted.len == 0 || slice_eq(wanted, is);
}

/* On the stack: a name is short, and what is longer is no name of ours. */
static bool name_matches(struct slice pattern, const struct label *l)
{
    char bytes[NAME_BYTES_MAX];
    struct buf name = {bytes, 0, sizeof(bytes), sizeof(bytes)};

    return keytext_add(&name, (struct slice){NULL, 0}, l->namespace_, l->operation, l->model, &l->key) == 0 &&
           glob_matches(pattern, buf_slice(&name));
}

bool selector_matches(const struct selector *s, const struct label *l)
{
    return matches_or_unsaid(s->id, l->id) && matches_or_unsaid(s->operation, l->operation) &&
           matches_or_unsaid(s->namespace_, l->namespace_) && (s->target == 0 || s->target == l->target) &&
           (s->created_before_ms == 0 || l->created_ms < s->created_before_ms) &&
           (s->model.len == 0 || glob_matches(s->model, l->model)) &&
           (s->tag.len == 0 || has_tag(l->tags, s->tag)) &&
           (s->pattern.len == 0 || name_matches(s->pattern, l));
}

bool selector_eq(const struct selector *a, const struct selector *b)
{
    return slice_eq(a->id, b->id) && slice_eq(a->pattern, b->pattern) && slice_eq(a->tag, b->tag) &&
           slice_eq(a->operation, b->operation) && slice_eq(a->model, b->model) &&
           slice_eq(a->namespace_, b->namespace_) && a->created_before_ms == b->created_before_ms &&
           a->target == b->target;
}

static char *copy_text(char *to, struct slice *text)
{
    if (text->len > 0)
        memcpy(to, text->data, text->len);
    text->data = to;
    return to + text->len;
}

int selector_copy(const struct selector *s, struct selector *out, char **out_own)
{
    char *at = malloc(s->id.len + s->pattern.len + s->tag.len + s->operation.len + s->model.len +
                      s->namespace_.len + 1);

    if (!at)
        return -ENOMEM;
    *out = *s;
    *out_own = at;
    at = copy_text(at, &out->id);
    at = copy_text(at, &out->pattern);
    at = copy_text(at, &out->tag);
    at = copy_text(at, &out->operation);
    at = copy_text(at, &out->model);
    (void)copy_text(at, &out->namespace_);
    return 0;
}

bool selector_is_all(const struct selector *s)
{
    return s->id.len == 0 && s->pattern.len == 0 && s->tag.len == 0 && s->operation.len == 0 &&
           s->model.len == 0 && s->namespace_.len == 0 && s->created_before_ms == 0 && s->target == 0;
}
