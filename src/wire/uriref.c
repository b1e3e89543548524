#include "refrain/wire/uriref.h"

struct parts {
    struct slice scheme, authority; /* data is NULL where the reference has none */
    struct slice path, query;       /* the query with its `?` */
};

/* The first byte of @s that is in @set; its length where there is none. */
static size_t span_until(struct slice s, const char *set)
{
    size_t i = 0;

    while (i < s.len && (s.data[i] == '\0' || !strchr(set, s.data[i])))
        i++;
    return i;
}

static struct slice head_of(struct slice s, size_t n)
{
    return slice_make(s.data, n);
}

/* RFC 3986 appendix B; the fragment is dropped. */
static struct parts split(struct slice s)
{
    struct parts p = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    size_t n;

    s = head_of(s, span_until(s, "#"));
    n = span_until(s, ":/?");
    if (n > 0 && n < s.len && s.data[n] == ':') {
        p.scheme = head_of(s, n);
        s = slice_skip(s, n + 1);
    }
    if (slice_starts(s, SLICE_OF("//"))) {
        s = slice_skip(s, 2);
        n = span_until(s, "/?");
        p.authority = head_of(s, n);
        s = slice_skip(s, n);
    }
    n = span_until(s, "?");
    p.path = head_of(s, n);
    p.query = slice_skip(s, n);
    return p;
}

/* Without the port that goes without saying. */
static struct slice plain_authority(struct slice scheme, struct slice authority)
{
    struct slice port = slice_ieq(scheme, SLICE_OF("https")) ? SLICE_OF(":443") : SLICE_OF(":80");

    if (slice_ends(authority, port))
        authority.len -= port.len;
    else if (slice_ends(authority, SLICE_OF(":")))
        authority.len--;
    return authority;
}

static bool same_origin(const struct parts *base, const struct parts *ref)
{
    if (ref->scheme.data && (!slice_ieq(ref->scheme, base->scheme) || !ref->authority.data))
        return false;
    return !ref->authority.data || slice_ieq(plain_authority(base->scheme, ref->authority),
                                             plain_authority(base->scheme, base->authority));
}

/* RFC 3986 section 5.2.4, in place. @path begins with a slash. */
static size_t remove_dots(char *path, size_t len)
{
    size_t to = 0, at = 0;

    while (at < len) { /* at a slash */
        struct slice segment = slice_make(path + at + 1, len - at - 1);
        bool last;

        segment.len = span_until(segment, "/");
        last = at + 1 + segment.len == len;
        at += 1 + segment.len;
        if (slice_eq(segment, SLICE_OF(".."))) {
            while (to > 0 && path[--to] != '/')
                ;
        } else if (!slice_eq(segment, SLICE_OF("."))) {
            path[to++] = '/';
            memmove(path + to, segment.data, segment.len);
            to += segment.len;
            continue;
        }
        if (last)
            path[to++] = '/';
    }
    return to;
}

/* The path that a relative one is put behind: up to the last slash (RFC 3986 section 5.2.3). */
static struct slice directory_of(struct slice path)
{
    while (path.len > 0 && path.data[path.len - 1] != '/')
        path.len--;
    return path;
}

static int put_path(struct buf *out, struct slice prefix, const struct parts *target, const struct parts *ref)
{
    bool own = ref->authority.data || slice_starts(ref->path, SLICE_OF("/"));
    bool same = !own && ref->path.len == 0;
    struct slice directory = same ? target->path : directory_of(target->path);
    int r = own ? 0 : buf_add_slice(out, prefix);

    if (r == 0 && !own)
        r = buf_add_slice(out, directory);
    if (r == 0 && !same)
        r = buf_add_slice(out, ref->path);
    if (r == 0 && out->len == 0)
        r = buf_add_byte(out, '/');
    return r;
}

/* What stands before every target goes; false where it does not stand there. */
static bool take_off(struct buf *out, struct slice prefix)
{
    struct slice path = buf_slice(out);

    if (prefix.len == 0)
        return true;
    if (!slice_starts(path, prefix) || path.len == prefix.len || path.data[prefix.len] != '/')
        return false;
    memmove(out->data, out->data + prefix.len, out->len - prefix.len);
    out->len -= prefix.len;
    return true;
}

bool uriref_target(struct slice url, struct slice target, struct slice ref, struct buf *out)
{
    struct parts base = split(url), asked = {.path = target}, named = split(slice_trim(ref));
    size_t n = span_until(target, "?");

    asked.path = head_of(target, n);
    asked.query = slice_skip(target, n);
    buf_clear(out);
    if (!same_origin(&base, &named) || put_path(out, base.path, &asked, &named) < 0)
        return false;
    if (out->data[0] != '/')
        return false;
    out->len = remove_dots(out->data, out->len);
    if (!take_off(out, base.path))
        return false;
    if (named.query.len == 0 && named.path.len == 0 && !named.authority.data)
        named.query = asked.query;
    return buf_add_slice(out, named.query) == 0;
}
