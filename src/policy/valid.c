#include "refrain/policy/valid.h"

#include "refrain/policy/ask.h"
#include "refrain/wire/httpdate.h"

static struct slice value_of(const struct fields *fields, enum header_id id)
{
    const struct field *f = fields_find_id(fields, id);

    return f ? slice_trim(f->value) : (struct slice){NULL, 0};
}

void valid_tags_read(const struct fields *fields, struct valid_tags *out)
{
    out->etag = value_of(fields, HEADER_ETAG);
    out->last_modified = value_of(fields, HEADER_LAST_MODIFIED);
    out->date = value_of(fields, HEADER_DATE);
}

static bool is_weak(struct slice etag)
{
    return slice_starts(etag, SLICE_OF("W/"));
}

/* Lines of the field are one list (RFC 9110 section 5.3). */
static bool any_matches(const struct fields *asked, struct slice etag, bool *out_any)
{
    for (unsigned i = 0; i < asked->n; i++) {
        if (field_id(&asked->at[i]) != HEADER_IF_NONE_MATCH)
            continue;
        *out_any = true;
        if (etag_list_matches(asked->at[i].value, etag))
            return true;
    }
    return false;
}

static bool modified_since(struct slice since, const struct valid_tags *tags, int64_t now_s)
{
    struct slice modified = tags->last_modified.len > 0 ? tags->last_modified : tags->date;
    int64_t since_s, modified_s;

    if (!httpdate_parse(since, now_s, &since_s) || !httpdate_parse(modified, now_s, &modified_s))
        return true;
    return modified_s > since_s;
}

bool valid_not_modified(const struct fields *asked, const struct valid_tags *tags, int64_t now_s)
{
    bool any = false;
    struct slice since;

    if (any_matches(asked, tags->etag, &any))
        return true;
    since = value_of(asked, HEADER_IF_MODIFIED_SINCE);
    return !any && since.len > 0 && !modified_since(since, tags, now_s);
}

static bool date_is_strong(const struct valid_tags *tags, int64_t now_s)
{
    int64_t modified_s, date_s;

    return httpdate_parse(tags->last_modified, now_s, &modified_s) &&
           httpdate_parse(tags->date, now_s, &date_s) && date_s - modified_s >= 1;
}

bool valid_range_holds(struct slice if_range, const struct valid_tags *tags, int64_t now_s)
{
    int64_t asked_s, modified_s;

    if (if_range.len > 0 && if_range.data[0] == '"')
        return slice_eq(if_range, tags->etag);
    if (is_weak(if_range))
        return false;
    return httpdate_parse(if_range, now_s, &asked_s) &&
           httpdate_parse(tags->last_modified, now_s, &modified_s) && asked_s == modified_s &&
           date_is_strong(tags, now_s);
}

static struct slice opaque_of(struct slice etag)
{
    return is_weak(etag) ? slice_skip(etag, 2) : etag;
}

/* A strong tag stands for these very bytes, and must be the stored one; a weak one need but mean the same. */
static bool etags_agree(struct slice answer, struct slice stored)
{
    return is_weak(answer) ? slice_eq(opaque_of(answer), opaque_of(stored)) : slice_eq(answer, stored);
}

bool valid_confirms(const struct valid_tags *answer, const struct valid_tags *stored)
{
    if (answer->etag.len > 0 && stored->etag.len > 0)
        return etags_agree(answer->etag, stored->etag);
    return answer->last_modified.len == 0 || stored->last_modified.len == 0 ||
           slice_eq(answer->last_modified, stored->last_modified);
}

bool valid_field_updates(const struct field *f)
{
    if (f->flags & (HEADER_HOP | HEADER_FRAMING | HEADER_OURS))
        return false;
    switch (field_id(f)) {
    case HEADER_CONTENT_ENCODING:
    case HEADER_CONTENT_RANGE:
    case HEADER_CONTENT_TYPE:
    case HEADER_ETAG: /* it agrees, but may be the weaker form */
        return false;
    default:
        return true;
    }
}

enum valid_description valid_describes(const struct valid_tags *answer, int64_t answer_length,
                                       const struct valid_tags *stored, int64_t stored_length)
{
    bool etag_differs =
        (answer->etag.len > 0 || stored->etag.len > 0) && !etags_agree(answer->etag, stored->etag);

    if (etag_differs || !slice_eq(answer->last_modified, stored->last_modified))
        return VALID_DIFFERS;
    if (answer_length >= 0 && stored_length >= 0 && answer_length != stored_length)
        return VALID_DIFFERS;
    return stored->etag.len > 0 || stored->last_modified.len > 0 ? VALID_DESCRIBES : VALID_UNTOLD;
}
