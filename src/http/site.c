#include "refrain/http/site.h"

void site_unref(struct site *s)
{
    if (s && atomic_fetch_sub(&s->refs, 1) == 1)
        s->owner_free(s->owner);
}

/* A prefix that is taken off ends with a segment: what is left begins with a slash, or it would run into the
 * upstream's host or path. */
static bool route_matches(const struct site_route *r, struct slice path)
{
    size_t n = r->prefix.len;

    if (!slice_starts(path, r->prefix))
        return false;
    return !r->strip_prefix || n < 2 || r->prefix.data[n - 1] == '/' || (path.len > n && path.data[n] == '/');
}

const struct site_route *site_route_of(const struct site *s, struct slice path)
{
    for (size_t i = 0; i < s->routes_n; i++)
        if (route_matches(&s->routes[i], path))
            return &s->routes[i];
    return NULL;
}
