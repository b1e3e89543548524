/*
 * range and valid against themselves. The input is a Range value, an If-Range or tag, and a stored tag,
 * parted by line feeds. A part lies inside the whole; the same part asked for in plain numbers is the same;
 * of several ranges none is taken. A tag that holds for a part also spares the whole.
 */
#include <stdio.h>

#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/policy/range.h"
#include "refrain/policy/valid.h"

static void check_range(struct slice value, uint64_t length)
{
    uint64_t first = 0, last = 0, again_first = 0, again_last = 0;
    enum range_verdict got = range_read(value, length, &first, &last);
    char plain[64];

    if (got != RANGE_PART)
        return;
    HOLDS(first <= last && last < length);
    (void)snprintf(plain, sizeof(plain), "bytes=%llu-%llu", (unsigned long long)first,
                   (unsigned long long)last);
    HOLDS(range_read(slice_str(plain), length, &again_first, &again_last) == RANGE_PART);
    HOLDS(again_first == first && again_last == last);
}

/* One strong tag, and nothing beside it. */
static bool is_one_tag(struct slice s)
{
    return s.len >= 2 && s.data[0] == '"' && memchr(s.data + 1, '"', s.len - 1) == s.data + s.len - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint64_t lengths[] = {0, 1, 10, UINT64_MAX};
    struct slice rest = slice_make(data, len), value = slice_cut(&rest, '\n'), asked = slice_cut(&rest, '\n');
    struct valid_tags tags = {.etag = rest};
    struct fields fields = {.n = 1};

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        check_range(value, lengths[i]);
    fields.at[0] = (struct field){SLICE("If-None-Match"), asked, HEADER_IF_NONE_MATCH};
    if (is_one_tag(asked) && valid_range_holds(asked, &tags, 0))
        HOLDS(valid_not_modified(&fields, &tags, 0));
    return 0;
}
