#include "refrain/http/site.h"

void site_unref(struct site *s)
{
    if (s && atomic_fetch_sub(&s->refs, 1) == 1)
        s->owner_free(s->owner);
}

const struct site_route *site_route_of(const struct site *s, struct slice path)
{
    for (size_t i = 0; i < s->routes_n; i++)
        if (slice_starts(path, s->routes[i].prefix))
            return &s->routes[i];
    return NULL;
}
