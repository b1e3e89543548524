#include "refrain/wire/traceparent.h"

/* version "-" trace-id "-" parent-id "-" flags, and of later versions perhaps "-" and more */
enum {
    VERSION_AT = 0,
    VERSION_LEN = 2,
    TRACE_AT = 3,
    PARENT_AT = 36,
    PARENT_LEN = 16,
    FLAGS_AT = 53,
    FLAGS_LEN = 2,
    LEN = 55,
};

static bool is_hex(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.data[i] >= '0' && s.data[i] <= '9') || (s.data[i] >= 'a' && s.data[i] <= 'f')))
            return false;
    return true;
}

/* All zeros stand for none. */
static bool is_id(struct slice s)
{
    bool any = false;

    for (size_t i = 0; i < s.len; i++)
        any |= s.data[i] != '0';
    return any && is_hex(s);
}

static bool is_version(struct slice version, struct slice rest)
{
    if (!is_hex(version) || slice_eq(version, SLICE_OF("ff")))
        return false;
    if (slice_eq(version, SLICE_OF("00")))
        return rest.len == 0;
    return rest.len == 0 || rest.data[0] == '-';
}

bool traceparent_read(struct slice value, struct slice *out_trace_id)
{
    struct slice trace;

    if (value.len < LEN)
        return false;
    trace = slice_make(value.data + TRACE_AT, TRACE_ID_LEN);
    if (value.data[TRACE_AT - 1] != '-' || value.data[PARENT_AT - 1] != '-' ||
        value.data[FLAGS_AT - 1] != '-' ||
        !is_version(slice_make(value.data + VERSION_AT, VERSION_LEN), slice_skip(value, LEN)) ||
        !is_id(trace) || !is_id(slice_make(value.data + PARENT_AT, PARENT_LEN)) ||
        !is_hex(slice_make(value.data + FLAGS_AT, FLAGS_LEN)))
        return false;
    *out_trace_id = trace;
    return true;
}
