#include "select.h"

#include "refrain/policy/range.h"

static bool part_is_asked(const struct select_from *from)
{
    struct valid_tags tags = from->tags;

    if (from->ask->range.len == 0 || !from->has_parts)
        return false;
    if (from->decoded)
        tags.etag = (struct slice){NULL, 0};
    return !from->ask->if_range.data || valid_range_holds(from->ask->if_range, &tags, from->now_s);
}

struct selection select_of(const struct select_from *from)
{
    const struct ask *a = from->ask;
    struct selection s = {.what = SELECT_ALL};

    if ((a->if_none_match.data || a->if_modified_since.data) &&
        valid_not_modified(from->asked, &from->tags, from->now_s)) {
        s.what = SELECT_UNCHANGED;
        return s;
    }
    if (!part_is_asked(from))
        return s;
    switch (range_read(a->range, from->length, &s.first, &s.last)) {
    case RANGE_PART:
        s.what = SELECT_PART;
        break;
    case RANGE_NONE:
        s.what = SELECT_NO_PART;
        break;
    case RANGE_WHOLE:
    case RANGE_SEVERAL:
        break;
    }
    return s;
}

bool select_keeps_field(struct slice name, bool has_etag)
{
    static const struct slice content = SLICE("content-");

    if (slice_ieq(name, SLICE_OF("last-modified")))
        return !has_etag;
    return name.len < content.len || !slice_ieq(slice_make(name.data, content.len), content) ||
           slice_ieq(name, SLICE_OF("content-location")) ||
           slice_ieq(name, SLICE_OF("content-security-policy"));
}
