#include "refrain/base/jout.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

struct jout jout_begin(struct buf *out)
{
    return (struct jout){.out = out, .array = {true}};
}

int jout_done(const struct jout *j)
{
    assert(j->depth == 0);
    return j->failed;
}

static void keep(struct jout *j, int r)
{
    if (r < 0 && j->failed == 0)
        j->failed = r;
}

/* What stands before a value: a comma where one is due, and the member's name. */
static bool before(struct jout *j, const char *name)
{
    if (j->failed < 0)
        return false;
    assert(j->array[j->depth] == (name == NULL));
    if (j->filled[j->depth])
        keep(j, buf_add_byte(j->out, ','));
    j->filled[j->depth] = true;
    if (name && j->failed == 0)
        keep(j, buf_add_json(j->out, slice_str(name)));
    if (name && j->failed == 0)
        keep(j, buf_add_byte(j->out, ':'));
    return j->failed == 0;
}

static void open_level(struct jout *j, const char *name, bool array)
{
    if (before(j, name))
        keep(j, buf_add_byte(j->out, array ? '[' : '{'));
    assert(j->depth < JOUT_DEPTH_MAX);
    j->depth++;
    j->array[j->depth] = array;
    j->filled[j->depth] = false;
}

void jout_object(struct jout *j, const char *name)
{
    open_level(j, name, false);
}

void jout_array(struct jout *j, const char *name)
{
    open_level(j, name, true);
}

void jout_end(struct jout *j)
{
    assert(j->depth > 0);
    if (j->failed == 0)
        keep(j, buf_add_byte(j->out, j->array[j->depth] ? ']' : '}'));
    j->depth--;
}

void jout_text(struct jout *j, const char *name, struct slice text)
{
    if (before(j, name))
        keep(j, buf_add_json(j->out, text));
}

void jout_str(struct jout *j, const char *name, const char *text)
{
    if (text)
        jout_text(j, name, slice_str(text));
    else
        jout_null(j, name);
}

void jout_int(struct jout *j, const char *name, int64_t number)
{
    if (before(j, name))
        keep(j, buf_addf(j->out, "%" PRId64, number));
}

void jout_milli(struct jout *j, const char *name, int64_t number)
{
    uint64_t size = number < 0 ? -(uint64_t)number : (uint64_t)number;

    if (before(j, name))
        keep(j, buf_addf(j->out, "%s%" PRIu64 ".%03u", number < 0 ? "-" : "", size / 1000,
                         (unsigned)(size % 1000)));
}

void jout_nano(struct jout *j, const char *name, int64_t number)
{
    uint64_t size = number < 0 ? -(uint64_t)number : (uint64_t)number;
    unsigned places = 9, part = (unsigned)(size % 1000000000);

    if (!before(j, name))
        return;
    while (part > 0 && part % 10 == 0) {
        part /= 10;
        places--;
    }
    keep(j, buf_addf(j->out, "%s%" PRIu64, number < 0 ? "-" : "", size / 1000000000));
    if (part > 0 && j->failed == 0)
        keep(j, buf_addf(j->out, ".%0*u", (int)places, part));
}

void jout_time(struct jout *j, const char *name, int64_t at_ms)
{
    time_t seconds = (time_t)(at_ms / 1000);
    char text[64];
    struct tm tm;
    size_t n;

    (void)gmtime_r(&seconds, &tm);
    n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(at_ms % 1000));
    jout_str(j, name, text);
}

void jout_bool(struct jout *j, const char *name, bool truth)
{
    if (before(j, name))
        keep(j, buf_add_slice(j->out, truth ? SLICE_OF("true") : SLICE_OF("false")));
}

void jout_null(struct jout *j, const char *name)
{
    if (before(j, name))
        keep(j, buf_add_slice(j->out, SLICE_OF("null")));
}
