/* /entries: what lies in the tiers, page by page. SPEC section 12. */
#include <stdlib.h>

#include "api.h"
#include "api_entry.h"
#include "api_selector.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/wire/jscan.h"

enum { LIMIT = 100, LIMIT_MAX = 1000 };

struct listing {
    struct api_call *call;
    struct api_selector said;
    struct inventory v;
    struct jout j;
    int64_t now_ms;
};

static void on_item(struct inventory *v, const struct inventory_item *item)
{
    struct listing *l = CONTAINER_OF(v, struct listing, v);

    api_entry_write_item(&l->j, item, l->call->parts.key_prefix, l->now_ms);
}

static void listing_free(struct listing *l)
{
    inventory_done(&l->v);
    api_selector_done(&l->said);
    free(l);
}

static void on_done(struct inventory *v)
{
    struct listing *l = CONTAINER_OF(v, struct listing, v);
    struct api_call *c = l->call;

    jout_end(&l->j);
    if (v->cursor.len > 0)
        jout_text(&l->j, "cursor", buf_slice(&v->cursor));
    else
        jout_null(&l->j, "cursor");
    api_entry_write_failed(&l->j, v->result);
    jout_end(&l->j);
    api_done(c, &l->j);
    api_finish(c);
    listing_free(l);
}

static bool fail(struct api_call *c, const char *where, const char *expected)
{
    api_fail(c, 400, "request_invalid", "the query is not what this path takes", where, expected);
    return false;
}

static bool read_limit(struct api_call *c, struct listing *l)
{
    struct api_query q;
    int64_t limit = LIMIT;

    if (api_query(c, "limit", &q))
        limit = jscan_count(jscan_root(q.value), -1);
    if (limit < 1 || limit > LIMIT_MAX)
        return fail(c, "query.limit", "a number from 1 to 1000");
    l->v.items_max = (uint64_t)limit;
    return true;
}

static bool read_tier(struct api_call *c, struct listing *l)
{
    struct api_query q;
    bool all = !api_query(c, "tier", &q), any = all;

    for (size_t i = 0; i < INVENTORY_TIERS; i++) {
        l->v.in[i] = all || slice_eq(q.value, slice_str(api_tier_names[i]));
        any |= l->v.in[i];
    }
    return any || fail(c, "query.tier", "memory, disk or redis");
}

static bool read_cursor(struct api_call *c, struct listing *l)
{
    struct api_query q;

    return !api_query(c, "cursor", &q) || inventory_resume(&l->v, q.value) ||
           fail(c, "query.cursor", "what the page before this one has told");
}

/* A filter by a name that is none would list everything, as if all of it were meant. */
static bool is_known(struct slice name)
{
    static const char *const names[] = {"id",        "pattern",    "tag",  "operation", "model",
                                        "namespace", "older_than", "tier", "limit",     "cursor"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(name, slice_str(names[i])))
            return true;
    return false;
}

static bool knows_all(struct api_call *c)
{
    struct slice query = c->query;

    while (query.data) {
        struct slice value = slice_cut(&query, '&'), name = slice_cut(&value, '=');

        if (name.len > 0 && !is_known(name))
            return fail(
                c, "query",
                "some of id, pattern, tag, operation, model, namespace, older_than, tier, limit, cursor");
    }
    return true;
}

void api_entries_list(struct api_call *c)
{
    struct listing *l = calloc(1, sizeof(*l));

    if (!l) {
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
        return;
    }
    l->call = c;
    l->now_ms = clock_wall_ms();
    if (!knows_all(c) || !api_selector_from_query(c, &l->said) || !read_limit(c, l) || !read_tier(c, l) ||
        !read_cursor(c, l)) {
        listing_free(l);
        return;
    }
    l->v.place = c->parts.tiers;
    l->v.which = l->said.which;
    l->v.loop = c->loop;
    l->v.on_item = on_item;
    l->v.on_done = on_done;
    l->j = jout_begin(c->out);
    jout_object(&l->j, NULL);
    jout_array(&l->j, "entries");
    api_later(c);
    inventory_start(&l->v);
}
