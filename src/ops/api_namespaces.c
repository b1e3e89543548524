/* /namespaces: which there are, and how many entries of each lie in each tier. SPEC section 12. */
#include <stdio.h>
#include <stdlib.h>

#include "api.h"
#include "api_entry.h"
#include "refrain/base/attr.h"

enum { NAMES_MAX = 1024, SLOTS = 4096 /* a power of two, well over it */, NAME_BYTES = 64 };

struct space {
    char name[NAME_BYTES + 1];
    uint64_t entries[INVENTORY_TIERS];
};

struct counting {
    struct api_call *call;
    struct inventory v;
    uint16_t slots[SLOTS]; /* index into spaces, and one more; 0: empty */
    struct space spaces[NAMES_MAX];
    struct space rest; /* of names past that many */
    size_t n;
};

static size_t hash(struct slice name)
{
    uint32_t h = UINT32_C(0x811C9DC5); /* FNV-1a */

    for (size_t i = 0; i < name.len; i++)
        h = (h ^ (unsigned char)name.data[i]) * UINT32_C(0x01000193);
    return h;
}

static struct space *space_of(struct counting *c, struct slice name)
{
    size_t at = hash(name) & (SLOTS - 1);
    struct space *s;

    while (c->slots[at] != 0) {
        s = &c->spaces[c->slots[at] - 1];
        if (slice_eq(slice_str(s->name), name))
            return s;
        at = (at + 1) & (SLOTS - 1);
    }
    if (c->n == NAMES_MAX || name.len > NAME_BYTES)
        return &c->rest;
    s = &c->spaces[c->n++];
    (void)snprintf(s->name, sizeof(s->name), "%.*s", (int)name.len, name.len > 0 ? name.data : "");
    c->slots[at] = (uint16_t)c->n;
    return s;
}

static void on_item(struct inventory *v, const struct inventory_item *item)
{
    struct counting *c = CONTAINER_OF(v, struct counting, v);

    space_of(c, item->label.namespace_)->entries[item->tier]++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct space *)a)->name, ((const struct space *)b)->name);
}

static void write_counts(struct jout *j, const struct counting *c, const struct space *s)
{
    for (size_t i = 0; i < INVENTORY_TIERS; i++)
        if (c->v.in[i])
            jout_int(j, api_tier_names[i], (int64_t)s->entries[i]);
}

static bool is_empty(const struct space *s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < INVENTORY_TIERS; i++)
        sum += s->entries[i];
    return sum == 0;
}

static void on_done(struct inventory *v)
{
    struct counting *c = CONTAINER_OF(v, struct counting, v);
    struct jout j = jout_begin(c->call->out);

    qsort(c->spaces, c->n, sizeof(c->spaces[0]), by_name);
    jout_object(&j, NULL);
    jout_array(&j, "namespaces");
    for (size_t i = 0; i < c->n; i++) {
        jout_object(&j, NULL);
        jout_str(&j, "namespace", c->spaces[i].name);
        jout_object(&j, "entries");
        write_counts(&j, c, &c->spaces[i]);
        jout_end(&j);
        jout_end(&j);
    }
    jout_end(&j);
    if (!is_empty(&c->rest)) {
        jout_object(&j, "others");
        write_counts(&j, c, &c->rest);
        jout_end(&j);
    }
    api_entry_write_failed(&j, v->result);
    jout_end(&j);
    api_done(c->call, &j);
    api_finish(c->call);
    inventory_done(v);
    free(c);
}

void api_namespaces(struct api_call *call)
{
    struct counting *c = calloc(1, sizeof(*c));
    struct inventory_place *tiers = call->parts.tiers;

    if (!c) {
        api_fail(call, 503, "overloaded", "out of memory", NULL, NULL);
        return;
    }
    c->call = call;
    c->v = (struct inventory){
        .place = tiers, .twice = true, .on_item = on_item, .loop = call->loop, .on_done = on_done};
    c->v.in[TIER_MEMORY] = tiers->memory != NULL;
    for (size_t i = 0; i < tiers->lower_n; i++)
        c->v.in[tiers->lower[i]->tier->ops->kind] = true;
    api_later(call);
    inventory_start(&c->v);
}
