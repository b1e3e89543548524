#include "refrain/wire/usage.h"

#include <assert.h>
#include <string.h>

#include "refrain/base/attr.h"

enum { LINE_FIELD, LINE_DATA, LINE_OTHER };

static const char data_field[] = "data:";
static const char bom[] = "\xEF\xBB\xBF";

void usage_zero_init(struct usage_zero *z, const struct dialect *dialect, enum stream_format format)
{
    *z = (struct usage_zero){.dialect = dialect, .format = format};
    z->off = !dialect->usages[0].member.data || format == STREAM_BYTES ||
             (format == STREAM_NONE && !dialect->json);
}

/* -- JSON -- */

static bool is_watched(const struct usage_zero *z)
{
    return z->depth > z->base && z->depth <= USAGE_DEPTH_MAX && z->is_object[z->depth] &&
           z->open[z->depth] != 0;
}

/* A member's name has been read: is its value usage, or may usage stand in it? */
static void end_name(struct usage_zero *z)
{
    struct slice name = slice_make(z->name, z->name_len);

    z->led = 0;
    z->wanted = false;
    for (unsigned i = 0; z->name_len < sizeof(z->name) && i < DIALECT_USAGES_MAX; i++) {
        const struct dialect_usage *u = &z->dialect->usages[i];
        bool at_top = z->depth == z->base + 1;

        if (!u->member.data || (z->open[z->depth] >> i & 1) == 0)
            continue;
        if (at_top && u->in.len > 0) {
            if (slice_eq(name, u->in))
                z->led |= (uint8_t)(1U << i);
        } else if (slice_eq(name, u->member)) {
            z->wanted = true;
        }
    }
}

static void enter(struct usage_zero *z, bool object)
{
    uint8_t open = z->led;

    if (z->depth == 0)
        z->base = object ? 0 : 1; /* of a list, each element is an answer */
    if (z->depth < UINT32_MAX)
        z->depth++;
    if (z->wanted && z->zeroing == 0)
        z->zeroing = z->depth;
    if (z->depth == z->base + 1)
        open = (uint8_t)((1U << DIALECT_USAGES_MAX) - 1);
    if (z->depth <= USAGE_DEPTH_MAX) {
        z->is_object[z->depth] = object;
        z->open[z->depth] = open;
    }
    z->led = 0;
    z->wanted = false;
    z->wants_name = object;
}

static void leave(struct usage_zero *z)
{
    if (z->zeroing == z->depth)
        z->zeroing = 0;
    if (z->depth > 0)
        z->depth--;
    z->led = 0;
    z->wanted = z->wants_name = false;
}

/* Bytes of a string up to its end, or to the end of what there is. */
static size_t string_bytes(struct usage_zero *z, const char *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (z->escaped) {
            z->escaped = false;
        } else if (at[i] == '\\') {
            z->escaped = true;
        } else if (at[i] == '"') {
            z->in_string = false;
            if (z->in_name)
                end_name(z);
            return i + 1;
        }
        if (!z->in_name)
            continue;
        if (z->name_len < sizeof(z->name))
            z->name[z->name_len] = at[i];
        z->name_len++;
    }
    return n;
}

static bool is_of_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

static void json_byte(struct usage_zero *z, char *at)
{
    if (z->in_number && is_of_number(*at)) {
        *at = ' ';
        return;
    }
    z->in_number = false;
    switch (*at) {
    case '"':
        z->in_string = true;
        z->in_name = z->wants_name && is_watched(z);
        z->wants_name = false;
        z->name_len = 0;
        break;
    case '{':
    case '[':
        enter(z, *at == '{');
        break;
    case '}':
    case ']':
        leave(z);
        break;
    case ',':
        z->led = 0;
        z->wanted = false;
        z->wants_name = true; /* in an array, is_watched says no */
        break;
    case '-':
    case '0' ... '9':
        if (z->zeroing == 0 && !z->wanted)
            break;
        *at = '0';
        z->in_number = true;
        break;
    default:
        break;
    }
}

static void json_bytes(struct usage_zero *z, char *at, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (z->in_string)
            i += string_bytes(z, at + i, n - i);
        else
            json_byte(z, at + i++);
    }
}

/* Whatever was broken, the next answer or event begins anew. */
static void json_restart(struct usage_zero *z)
{
    z->in_string = z->escaped = z->in_name = z->in_number = z->wants_name = z->wanted = false;
    z->led = 0;
    z->depth = z->base = z->zeroing = 0;
}

/* -- lines -- */

static bool ends_line(char c)
{
    return c == '\n' || c == '\r';
}

/* WHATWG HTML, section 9.2.6: a blank line ends the event. */
static void end_line(struct usage_zero *z, char c)
{
    bool blank = z->line == LINE_FIELD && z->matched == 0;

    if (c == '\n' && z->cr) {
        z->cr = false;
        return;
    }
    z->cr = c == '\r';
    if (blank || z->format == STREAM_NDJSON)
        json_restart(z);
    z->in_number = false;
    z->line = LINE_FIELD;
    z->matched = 0;
}

static size_t line_len(const char *at, size_t n)
{
    size_t i = 0;

    while (i < n && !ends_line(at[i]))
        i++;
    return i;
}

/* A byte of a line of which it is not known yet whether it is data. */
static void field_byte(struct usage_zero *z, char c)
{
    if (z->bom < 3 && c == bom[z->bom]) {
        z->bom++;
        return;
    }
    z->bom = 3;
    if (c != data_field[z->matched])
        z->line = LINE_OTHER;
    else if (++z->matched == sizeof(data_field) - 1)
        z->line = LINE_DATA;
}

static void sse_bytes(struct usage_zero *z, char *at, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (ends_line(at[i])) {
            end_line(z, at[i++]);
            continue;
        }
        z->cr = false;
        if (z->line == LINE_FIELD) {
            field_byte(z, at[i++]);
        } else {
            size_t len = line_len(at + i, n - i);

            if (z->line == LINE_DATA)
                json_bytes(z, at + i, len);
            i += len;
        }
    }
}

static void ndjson_bytes(struct usage_zero *z, char *at, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = line_len(at + i, n - i);

        json_bytes(z, at + i, len);
        i += len;
        if (i < n)
            end_line(z, at[i++]);
    }
}

void usage_zero(struct usage_zero *z, char *bytes, size_t n)
{
    if (z->off)
        return;
    if (z->format == STREAM_SSE)
        sse_bytes(z, bytes, n);
    else if (z->format == STREAM_NDJSON)
        ndjson_bytes(z, bytes, n);
    else
        json_bytes(z, bytes, n);
}
