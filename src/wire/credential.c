#include "refrain/wire/credential.h"
#include "refrain/base/hex.h"

#include <string.h>

/* RFC 7235 section 2.1: the scheme ignores case, spaces stand behind it. */
static struct slice without_scheme(struct slice value)
{
    static const struct slice bearer = SLICE("Bearer");
    struct slice rest;

    if (value.len < bearer.len || !slice_ieq(slice_make(value.data, bearer.len), bearer))
        return value;
    rest = slice_skip(value, bearer.len);
    if (rest.len > 0 && rest.data[0] != ' ' && rest.data[0] != '\t')
        return value;
    return slice_trim(rest);
}

/* Proxy-Authorization is for this hop alone, and no SDK's place for a key. */
static bool is_credential(const struct field *f)
{
    return (f->flags & (HEADER_CREDENTIAL | HEADER_HOP)) == HEADER_CREDENTIAL;
}

enum credential_found credential_of_fields(const struct fields *fields, struct slice *out)
{
    struct slice found = {NULL, 0};

    for (unsigned i = 0; i < fields->n; i++) {
        const struct field *f = &fields->at[i];
        struct slice value;

        if (!is_credential(f))
            continue;
        value = slice_trim(f->value);
        if (field_id(f) == HEADER_AUTHORIZATION)
            value = without_scheme(value);
        if (value.len == 0)
            continue;
        if (found.len > 0 && !slice_eq(found, value))
            return CREDENTIAL_SEVERAL;
        found = value;
    }
    if (found.len == 0)
        return CREDENTIAL_NONE;
    *out = found;
    return CREDENTIAL_ONE;
}

/* -- `?key=` -- */

/* One byte of a query's text, decoded; *@text moves on. What is badly coded stands for itself. */
static char next_byte(struct slice *text)
{
    char byte = text->data[0];
    int coded = byte == '%' && text->len > 2 ? hex_byte(text->data + 1) : -1;

    *text = slice_skip(*text, coded >= 0 ? 3 : 1);
    if (coded >= 0)
        return (char)coded;
    return byte == '+' ? ' ' : byte;
}

/* Decodes @text at @out; @text itself where that has no room for it. */
static struct slice decode(struct slice text, char *out, size_t cap)
{
    struct slice rest = text;
    size_t n = 0;

    while (rest.len > 0) {
        if (n == cap)
            return text;
        out[n++] = next_byte(&rest);
    }
    return slice_make(out, n);
}

static bool is_key(struct slice parameter, struct slice *out_value)
{
    char bytes[sizeof("key") - 1];
    struct slice value = parameter, name = slice_cut(&value, '=');

    *out_value = value;
    return value.data && slice_eq(decode(name, bytes, sizeof(bytes)), SLICE_OF("key"));
}

/* What stands behind the first `?`; no data where there is none. */
static struct slice query_of(struct slice target)
{
    struct slice query = target;

    (void)slice_cut(&query, '?');
    return query;
}

struct credential_keys credential_keys_of(struct slice target)
{
    return (struct credential_keys){.rest = query_of(target)};
}

bool credential_keys_next(struct credential_keys *k)
{
    struct slice value;

    while (k->rest.data) {
        if (!is_key(slice_cut(&k->rest, '&'), &value) || value.len == 0)
            continue;
        k->value = decode(value, k->bytes, sizeof(k->bytes));
        return true;
    }
    return false;
}

/* -- taking it out -- */

void credential_strip_fields(struct fields *fields)
{
    uint16_t kept = 0;

    while (kept < fields->n && (fields->at[kept].flags & HEADER_CREDENTIAL) == 0)
        kept++; /* so far they stay where they are */
    for (uint16_t i = kept; i < fields->n; i++)
        if ((fields->at[i].flags & HEADER_CREDENTIAL) == 0)
            fields->at[kept++] = fields->at[i];
    fields->n = kept;
}

/* @value: NULL for any. */
static bool is_key_of(struct slice parameter, const struct slice *value)
{
    char bytes[CREDENTIAL_BYTES_MAX];
    struct slice given;

    if (!value)
        return is_key(parameter, &given) || slice_eq(parameter, SLICE_OF("key"));
    return is_key(parameter, &given) && slice_eq(decode(given, bytes, sizeof(bytes)), *value);
}

static struct slice strip(struct slice target, const struct slice *value, char *out)
{
    struct slice query = query_of(target);
    size_t n = query.data ? (size_t)(query.data - target.data) - 1 : target.len;
    char before = '?';

    memmove(out, target.data, n);
    while (query.data) {
        struct slice parameter = slice_cut(&query, '&');

        if (is_key_of(parameter, value))
            continue;
        out[n++] = before; /* never past where the parameter was read from: one stood before it, too */
        memmove(out + n, parameter.data, parameter.len);
        n += parameter.len;
        before = '&';
    }
    return slice_make(out, n);
}

struct slice credential_strip_keys(struct slice target, struct slice value, char *out)
{
    return strip(target, &value, out);
}

struct slice credential_strip_every_key(struct slice target, char *out)
{
    return strip(target, NULL, out);
}
