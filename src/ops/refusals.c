#include "refusals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"

enum { KINDS_MAX = 8 }; /* each may need a place for "others" */

struct told {
    const char *kind;
    char from[REFUSALS_FROM_BYTES];
    uint64_t times; /* since it was told */
    int64_t since_ms, quiet_ms;
};

struct refusals {
    struct told at[REFUSALS_MAX + KINDS_MAX];
    size_t n;
};

struct refusals *refusals_new(void)
{
    struct refusals *r = calloc(1, sizeof(*r));

    if (!r)
        abort();
    return r;
}

void refusals_free(struct refusals *r)
{
    free(r);
}

static struct told *find(struct refusals *r, const char *kind, const char *from)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->at[i].kind, kind) == 0 && strcmp(r->at[i].from, from) == 0)
            return &r->at[i];
    return NULL;
}

bool refusals_note(struct refusals *r, const char *kind, const char *from, int64_t now_ms)
{
    struct told *t = find(r, kind, from);

    if (!t && r->n >= REFUSALS_MAX)
        t = find(r, kind, from = "others");
    if (t) {
        t->times++;
        return false;
    }
    if (r->n == ARRAY_LEN(r->at))
        return false;
    t = &r->at[r->n++];
    *t = (struct told){.kind = kind, .since_ms = now_ms, .quiet_ms = REFUSALS_FIRST_MS};
    (void)snprintf(t->from, sizeof(t->from), "%s", from);
    return true;
}

void refusals_tell(struct refusals *r, int64_t now_ms, bool all,
                   void (*tell)(const char *kind, const char *from, uint64_t times, int64_t seconds))
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n; i++) {
        struct told *t = &r->at[i];
        int64_t past_ms = now_ms - t->since_ms;

        if (all || past_ms >= t->quiet_ms) {
            if (t->times == 0)
                continue; /* it has stopped */
            tell(t->kind, t->from, t->times, (past_ms + 999) / 1000);
            t->times = 0;
            t->since_ms = now_ms;
            t->quiet_ms = REFUSALS_NEXT_MS;
        }
        r->at[kept++] = *t;
    }
    r->n = kept;
}
