#include "revalidate.h"

#include <string.h>

/* The tag of an entry that had none is its id (SPEC section 6). */
static bool is_made_here(const struct entry *e, struct slice etag)
{
    return etag.len == ENTRY_ID_LEN + 2 && memcmp(etag.data + 1, e->id, ENTRY_ID_LEN) == 0;
}

void revalidate_tags(const struct entry *e, struct valid_tags *out)
{
    struct entry_field f = {0};

    *out = (struct valid_tags){0};
    while (entry_next_field(e, &f)) {
        struct slice name = slice_make(f.name, f.name_len), value = slice_make(f.value, f.value_len);

        if (slice_ieq(name, SLICE_OF("etag")))
            out->etag = value;
        else if (slice_ieq(name, SLICE_OF("last-modified")))
            out->last_modified = value;
        else if (slice_ieq(name, SLICE_OF("date")))
            out->date = value;
    }
}

unsigned revalidate_conditions(const struct entry *e, struct field out[REVALIDATE_FIELDS_MAX])
{
    struct valid_tags tags;
    unsigned n = 0;

    revalidate_tags(e, &tags);
    if (tags.etag.len > 0 && !is_made_here(e, tags.etag)) /* upstream knows nothing of ours */
        out[n++] = (struct field){SLICE("If-None-Match"), tags.etag, HEADER_IF_NONE_MATCH};
    if (tags.last_modified.len > 0)
        out[n++] = (struct field){SLICE("If-Modified-Since"), tags.last_modified, HEADER_IF_MODIFIED_SINCE};
    return n;
}

enum valid_description revalidate_describes(const struct entry *e, const struct flight_head *head)
{
    struct valid_tags answer, stored;

    if (flight_head_is_gzip(head) != ((e->flags & ENTRY_GZIP) != 0))
        return VALID_UNTOLD;

    valid_tags_read(&head->fields, &answer);
    revalidate_tags(e, &stored);
    if (is_made_here(e, stored.etag))
        stored.etag = (struct slice){NULL, 0};
    return valid_describes(&answer, head->body_len, &stored, e->body.len);
}

static bool is_among(const struct fields *fields, struct slice name)
{
    for (unsigned i = 0; i < fields->n; i++)
        if (slice_ieq(fields->at[i].name, name))
            return true;
    return false;
}

static void take_updates(const struct fields *from, struct fields *to)
{
    to->n = 0;
    for (unsigned i = 0; i < from->n; i++)
        if (valid_field_updates(&from->at[i]))
            to->at[to->n++] = from->at[i];
}

/* All lines of a field give way to those of the same name; Date does so even to none, as what is confirmed
 * now is as old as that. */
static bool take_stored(struct flight *f, const struct entry *e, const struct fields *updates,
                        const struct header_table *headers, struct fields *to)
{
    struct entry_field stored = {0};

    to->n = 0;
    while (entry_next_field(e, &stored)) {
        struct slice name = slice_make(stored.name, stored.name_len);
        struct slice value = slice_make(stored.value, stored.value_len);

        if (is_among(updates, name) || slice_ieq(name, SLICE_OF("date")))
            continue;
        name = flight_keep(f, name);
        value = flight_keep(f, value);
        if (!name.data || !value.data || fields_add(to, name, value) < 0)
            return false;
        to->at[to->n - 1].flags = header_flags(headers, name);
    }
    return true;
}

bool revalidate_merge(struct flight *f, const struct entry *e, const struct header_table *headers)
{
    struct flight_head *head = flight_head_edit(f);
    struct fields updates;

    take_updates(&head->fields, &updates);
    if (!take_stored(f, e, &updates, headers, &head->fields) || head->fields.n + updates.n > FIELDS_MAX)
        return false;
    memcpy(head->fields.at + head->fields.n, updates.at, updates.n * sizeof(updates.at[0]));
    head->fields.n = (uint16_t)(head->fields.n + updates.n);
    head->status = e->status;
    head->body_len = e->body.len;
    head->confirmed = true;
    return true;
}
