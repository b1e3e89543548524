#include "refrain/store/tier_mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"

/*
 * A record lies as the body of an entry that has its label, so that its bytes come back as they were. Every
 * question is carried out where it is asked; only its end comes by a message.
 */
enum { SCAN_PAGE = 256 };

struct tier_mem {
    struct tier tier; /* first */
    struct tier_ops ops;
    struct store_mem *memory;
};

struct mem_port {
    struct tier_port port; /* first */
    struct tier_replies *replies;
};

static struct store_mem *memory_of(const struct tier_port *p)
{
    return ((struct tier_mem *)p->tier)->memory;
}

static void answer(struct tier_port *p, struct tier_op *op, enum tier_result r)
{
    tier_reply(((struct mem_port *)p)->replies, op, r);
}

static struct tier_port *mem_open(struct tier *t, struct loop *l)
{
    struct mem_port *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->port = (struct tier_port){t, l};
    p->replies = tier_replies_new(l);
    if (p->replies)
        return &p->port;
    free(p);
    return NULL;
}

static void mem_close(struct tier_port *p)
{
    tier_replies_end(((struct mem_port *)p)->replies);
    free(p);
}

/* -- one record -- */

static struct blob *blob_of(const struct entry *e)
{
    struct slice body = entry_slice(e, e->body);
    struct blob *b = blob_new(body.len);

    if (b && body.len > 0)
        memcpy(b->bytes, body.data, body.len);
    return b;
}

static void mem_get(struct tier_port *p, struct tier_get *g)
{
    struct entry_ref ref;

    if (!store_mem_get(memory_of(p), &g->label.key, clock_wall_ms(), &ref)) {
        answer(p, &g->op, TIER_ABSENT);
        return;
    }
    g->blob = blob_of(ref.entry);
    g->gone_ms = ref.entry->gone_ms;
    entry_ref_release(&ref);
    answer(p, &g->op, g->blob ? TIER_OK : TIER_FAILED);
}

static struct entry_parts parts_of(const struct tier_item *item, const struct slice *record)
{
    const struct label *l = &item->label;
    struct entry_parts parts = {
        .head = {.key = l->key,
                 .created_ms = l->created_ms,
                 .expires_ms = item->gone_ms,
                 .gone_ms = item->gone_ms,
                 .started_seq = l->started_seq,
                 .target = l->target,
                 .flags = l->family ? ENTRY_VARY : 0},
        .namespace_ = l->namespace_,
        .model = l->model,
        .tags = l->tags,
        .op_name = l->operation,
        .body = record,
        .body_n = 1,
    };

    if (l->id.len == ENTRY_ID_LEN)
        memcpy(parts.head.id, l->id.data, ENTRY_ID_LEN);
    return parts;
}

static enum tier_result result_of(int r)
{
    switch (r) {
    case 0:
    case -EEXIST: /* a later one is there: as good as done */
        return TIER_OK;
    case -EMSGSIZE:
        return TIER_REFUSED;
    case -ENOMEM:
        return TIER_FULL;
    default:
        return TIER_FAILED;
    }
}

static void mem_put(struct tier_port *p, struct tier_put *put)
{
    struct slice record = blob_slice(put->blob);
    struct entry_parts parts = parts_of(&put->item, &record);

    if (!put->only_newer)
        (void)store_mem_delete(memory_of(p), &put->item.label.key);
    answer(p, &put->op, result_of(store_mem_put(memory_of(p), &parts, clock_wall_ms(), NULL)));
}

static bool is_the_same(struct store_mem *m, const struct digest *key, const struct blob *only)
{
    struct entry_ref ref;
    bool same;

    if (!only)
        return true;
    if (!store_mem_peek(m, key, clock_wall_ms(), &ref))
        return false;
    same = slice_eq(entry_slice(ref.entry, ref.entry->body), blob_slice(only));
    entry_ref_release(&ref);
    return same;
}

static void mem_remove(struct tier_port *p, struct tier_delete *d)
{
    struct store_mem *m = memory_of(p);
    bool gone = is_the_same(m, &d->label.key, d->only) && store_mem_delete(m, &d->label.key);

    answer(p, &d->op, gone ? TIER_OK : TIER_ABSENT);
}

/* -- all of them -- */

/* What a walk gathers, by key: whoever walks may not call back into the tier. */
struct gathered {
    struct digest key;
    bool family;
};

struct gathering {
    const struct selector *which;
    struct digest after; /* only what comes behind it, … */
    bool has_after;      /* … where that is said */
    bool drop, failed;
    struct buf found;
};

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest)); /* the key comes first */
}

static bool gather(void *arg, const struct entry *e)
{
    struct gathering *g = arg;
    struct label label = label_of(e);
    struct gathered one = {e->key, label.family};

    if (g->has_after && compare(&e->key, &g->after) <= 0)
        return false;
    if (e->gone_ms <= clock_wall_ms() || (g->which && !selector_matches(g->which, &label)))
        return false;
    g->failed |= buf_add(&g->found, &one, sizeof(one)) < 0;
    return g->drop && !g->failed;
}

/* Sorted; returns how many. */
static size_t gather_all(struct store_mem *m, struct gathering *g, const struct gathered **out)
{
    size_t n;

    (void)store_mem_delete_if(m, gather, g);
    n = g->found.len / sizeof(struct gathered);
    if (n > 0)
        qsort(g->found.data, n, sizeof(struct gathered), compare);
    *out = (const struct gathered *)(const void *)g->found.data;
    return n;
}

static void tell_item(struct tier_port *p, struct tier_scan *s, const struct digest *key)
{
    struct tier_item item;
    struct entry_ref ref;
    struct blob *blob;

    if (!store_mem_peek(memory_of(p), key, clock_wall_ms(), &ref))
        return;
    item = (struct tier_item){label_of(ref.entry), ref.entry->gone_ms};
    blob = s->wants_blobs ? blob_of(ref.entry) : NULL;
    s->on_item(s, &item, blob);
    blob_unref(blob);
    entry_ref_release(&ref);
}

static void mem_scan(struct tier_port *p, struct tier_scan *s)
{
    struct gathering g = {.which = s->which, .found = BUF_INIT(SIZE_MAX / 2)};
    size_t page = s->page_max > 0 ? s->page_max : SCAN_PAGE, n;
    const struct gathered *found;

    g.has_after = s->cursor->len == sizeof(g.after);
    if (g.has_after)
        memcpy(&g.after, s->cursor->data, sizeof(g.after));
    n = gather_all(memory_of(p), &g, &found);
    for (size_t i = 0; i < n && i < page; i++)
        tell_item(p, s, &found[i].key);
    buf_clear(s->cursor);
    if (n > page)
        g.failed |= buf_add(s->cursor, &found[page - 1].key, sizeof(found->key)) < 0;
    buf_done(&g.found);
    answer(p, &s->op, g.failed ? TIER_FAILED : TIER_OK);
}

static void mem_delete_if(struct tier_port *p, struct tier_delete_if *d)
{
    struct gathering g = {.which = d->which, .drop = !d->dry_run, .found = BUF_INIT(SIZE_MAX / 2)};
    const struct gathered *found;
    size_t n = gather_all(memory_of(p), &g, &found);

    d->matched = 0;
    for (size_t i = 0; i < n; i++) {
        const struct label label = {.key = found[i].key, .family = found[i].family};

        d->matched += label.family ? 0 : 1;
        if (d->on_match)
            d->on_match(d, &label);
    }
    buf_done(&g.found);
    answer(p, &d->op, g.failed ? TIER_FAILED : TIER_OK);
}

/* -- what is told -- */

static void mem_stats(struct tier *t, struct tier_stats *out)
{
    struct store_mem_stats st;

    store_mem_stats(((struct tier_mem *)t)->memory, &st);
    *out = (struct tier_stats){
        .entries = st.entries,
        .bytes = st.bytes,
        .bytes_max = st.bytes_max,
        .evicted_space = st.evicted_space,
        .evicted_count = st.evicted_count,
        .expired = st.expired,
        .replaced = st.replaced,
    };
}

static void mem_state(struct tier *t, struct tier_state *out)
{
    (void)t;
    *out = (struct tier_state){.health = TIER_UP};
}

static void mem_free(struct tier *t)
{
    struct tier_mem *m = (struct tier_mem *)t;

    store_mem_free(m->memory);
    free(m);
}

struct tier *tier_mem_new(const struct store_mem_conf *conf, const char *name, enum metric_tier kind)
{
    struct tier_mem *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->ops = (struct tier_ops){
        .name = name,
        .kind = kind,
        .open = mem_open,
        .close = mem_close,
        .get = mem_get,
        .put = mem_put,
        .remove = mem_remove,
        .scan = mem_scan,
        .delete_if = mem_delete_if,
        .stats = mem_stats,
        .state = mem_state,
        .free = mem_free,
    };
    m->tier.ops = &m->ops;
    m->memory = store_mem_new(conf);
    if (m->memory)
        return &m->tier;
    free(m);
    return NULL;
}
