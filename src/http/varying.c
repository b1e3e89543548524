#include "refrain/http/varying.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"

static struct vary_terms terms_of(const struct site *site, const struct key_scope *scope, enum operation op)
{
    return (struct vary_terms){site->headers, scope, dialect_of(op)->accept_counts};
}

/* -- what the request says -- */

static char *copy_text(char *to, struct slice *text)
{
    if (text->len > 0)
        memcpy(to, text->data, text->len);
    text->data = to;
    return to + text->len;
}

void varying_begin(struct varying *v, const struct site *site, const struct key_scope *scope,
                   enum operation op, const struct digest *common, struct slice id, const struct field *at,
                   size_t n)
{
    struct vary_terms terms = terms_of(site, scope, op);
    size_t bytes = 0;
    char *text;

    v->scope = scope;
    v->common = *common;
    v->has_id = id.len == VARY_ID_LEN;
    if (v->has_id)
        memcpy(v->id, id.data, VARY_ID_LEN);
    for (size_t i = 0; i < n; i++)
        if (vary_may_name(&at[i], &terms))
            bytes += sizeof(*at) + at[i].name.len + at[i].value.len;
    v->said = malloc(bytes + 1);
    if (!v->said)
        abort(); /* bounded by listen.max_header_bytes */
    for (size_t i = 0; i < n; i++)
        if (vary_may_name(&at[i], &terms))
            v->said[v->said_n++] = at[i];
    text = (char *)(v->said + v->said_n);
    for (size_t i = 0; i < v->said_n; i++)
        text = copy_text(copy_text(text, &v->said[i].name), &v->said[i].value);
}

void varying_done(struct varying *v)
{
    free(v->said);
}

/* -- markers -- */

/* A marker as it was when looked at. */
struct marker {
    bool there;
    char id[VARY_ID_LEN];
    int64_t started_seq;
    bool same_names;
    struct entry_variant *variants; /* those not gone; room for one more */
    size_t n;
};

_Static_assert((int)VARY_ID_LEN == (int)ENTRY_ID_LEN, "a family is named by its marker's id");

static struct slice names_of(const struct entry *marker)
{
    struct entry_field f = {0};

    return entry_next_field(marker, &f) ? slice_make(f.value, f.value_len) : (struct slice){NULL, 0};
}

static void copy_variants(struct marker *m, struct slice body, int64_t now_ms)
{
    struct entry_variant one;

    m->variants = malloc(body.len + sizeof(one));
    if (!m->variants)
        abort(); /* bounded by cache.max_variants */
    for (; body.len >= sizeof(one); body = slice_skip(body, sizeof(one))) {
        memcpy(&one, body.data, sizeof(one));
        if (one.gone_ms > now_ms)
            m->variants[m->n++] = one;
    }
}

static void marker_read(struct marker *m, const struct varying *v, struct store_mem *memory, int64_t now_ms)
{
    struct entry_ref ref;

    *m = (struct marker){.there = false};
    if (!memory || !store_mem_peek(memory, &v->common, now_ms, &ref))
        return;
    if (ref.entry->flags & ENTRY_VARY) {
        m->there = true;
        memcpy(m->id, ref.entry->id, VARY_ID_LEN);
        m->started_seq = ref.entry->started_seq;
        m->same_names = slice_eq(names_of(ref.entry), slice_make(v->names.text, v->names.len));
        copy_variants(m, entry_slice(ref.entry, ref.entry->body), now_ms);
    }
    entry_ref_release(&ref);
}

static void marker_done(struct marker *m)
{
    free(m->variants);
}

struct digest varying_key(struct sha256 *hash, const struct entry *marker, const struct field *at, size_t n,
                          const struct key_scope *scope)
{
    return vary_key(hash, &marker->key, slice_make(marker->id, VARY_ID_LEN), names_of(marker), at, n, scope);
}

/* -- the head -- */

static void make_key(struct varying *v)
{
    struct sha256 *hash = sha256_new();

    v->key = vary_key(hash, &v->common, slice_make(v->id, VARY_ID_LEN),
                      slice_make(v->names.text, v->names.len), v->said, v->said_n, v->scope);
    sha256_free(hash);
}

static void take_id(struct varying *v, const char *id)
{
    memcpy(v->id, id, VARY_ID_LEN);
    v->has_id = true;
}

static void draw_id(struct varying *v)
{
    uint8_t bytes[VARY_ID_LEN / 2];

    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < VARY_ID_LEN; i++)
        v->id[i] = "0123456789abcdef"[(bytes[i / 2] >> (i % 2 ? 0 : 4)) & 15];
    v->has_id = true;
}

bool varying_head(struct varying *v, const struct site *site, enum operation op, const struct fields *answer,
                  int64_t now_ms, struct flight_split *out)
{
    struct vary_terms terms = terms_of(site, v->scope, op);
    struct marker m;

    v->split = vary_read(answer, &terms, &v->names) == VARY_SPLIT;
    if (!v->split)
        return false;
    marker_read(&m, v, site->memory, now_ms);
    if (m.there && m.same_names)
        take_id(v, m.id);
    else if (!v->has_id)
        draw_id(v);
    marker_done(&m);
    make_key(v);
    *out = (struct flight_split){slice_make(v->names.text, v->names.len), slice_make(v->id, VARY_ID_LEN),
                                 v->key};
    return true;
}

bool varying_told(struct varying *v, struct slice names, struct slice id, const struct digest *key,
                  struct flight_split *out)
{
    if (names.len == 0 || names.len > sizeof(v->names.text) || id.len != VARY_ID_LEN)
        return false;
    memcpy(v->names.text, names.data, names.len);
    v->names.len = names.len;
    take_id(v, id.data);
    make_key(v);
    v->split = digest_eq(&v->key, key);
    *out = (struct flight_split){slice_make(v->names.text, v->names.len), slice_make(v->id, VARY_ID_LEN),
                                 v->key};
    return v->split;
}

/* -- the store -- */

/* The names are others now, or there are none: nothing leads to these any more. */
static void drop_variants(const struct marker *m, const struct entry_parts *of, struct store *store)
{
    struct label label = {.namespace_ = of->namespace_, .operation = of->op_name, .model = of->model};

    for (size_t i = 0; i < m->n; i++) {
        label.key = m->variants[i].key;
        store_delete(store, &label);
    }
}

static void drop_evicted(struct marker *m, struct store_mem *memory, int64_t now_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n; i++) {
        struct entry_ref ref;

        if (!store_mem_peek(memory, &m->variants[i].key, now_ms, &ref))
            continue;
        entry_ref_release(&ref);
        m->variants[kept++] = m->variants[i];
    }
    m->n = kept;
}

/* The list's place for a variant, new or as before; NULL: there are as many as there may be. */
static struct entry_variant *place_for(struct marker *m, const struct digest *key, const struct site *site,
                                       int64_t now_ms)
{
    for (size_t i = 0; i < m->n; i++)
        if (digest_eq(&m->variants[i].key, key))
            return &m->variants[i];
    if (m->n >= site->variants_max)
        drop_evicted(m, site->memory, now_ms);
    if (m->n >= site->variants_max)
        return NULL;
    m->variants[m->n].key = *key;
    return &m->variants[m->n++];
}

static int marker_put(const struct varying *v, const struct marker *m, const struct entry_parts *variant,
                      struct store *store, int64_t now_ms)
{
    struct field names = {SLICE("vary"), slice_make(v->names.text, v->names.len), 0};
    struct slice list = slice_make(m->variants, m->n * sizeof(*m->variants));
    struct entry_parts parts = {
        .head = {.key = v->common,
                 .created_ms = variant->head.created_ms,
                 .started_seq = variant->head.started_seq,
                 .target = variant->head.target,
                 .flags = ENTRY_VARY,
                 .operation = variant->head.operation},
        .namespace_ = variant->namespace_,
        .model = variant->model,
        .op_name = variant->op_name,
        .fields = &names,
        .fields_n = 1,
        .body = &list,
        .body_n = 1,
    };
    int r;

    memcpy(parts.head.id, v->id, VARY_ID_LEN);
    if (m->there && m->started_seq > parts.head.started_seq)
        parts.head.started_seq = m->started_seq;
    for (size_t i = 0; i < m->n; i++)
        if (m->variants[i].gone_ms > parts.head.gone_ms)
            parts.head.gone_ms = m->variants[i].gone_ms;
    parts.head.expires_ms = parts.head.gone_ms;
    r = store_put(store, &parts, now_ms, NULL);
    return r == -EEXIST ? 0 : r; /* put by another meanwhile, or in place of the whole family: as good */
}

/* When it is of no use any more at the latest: hits may move that on. */
static int64_t last_ms(const struct entry *e)
{
    return e->sliding_ms > 0 && e->max_expires_ms > e->gone_ms ? e->max_expires_ms : e->gone_ms;
}

static int put_variant(struct varying *v, struct marker *m, const struct site *site,
                       struct entry_parts *parts, int64_t now_ms)
{
    struct entry_variant *place = place_for(m, &v->key, site, now_ms);
    int r;

    if (!place)
        return -ENOSPC;
    place->gone_ms = last_ms(&parts->head);
    parts->head.key = v->key;
    r = store_put(site->store, parts, now_ms, NULL);
    if (r < 0 && r != -EEXIST)
        return r;
    return marker_put(v, m, parts, site->store, now_ms);
}

/* What goes on with the variants that the marker knows, or puts others, or one answer for all, in their
 * place. */
static int put_by_marker(struct varying *v, struct marker *m, const struct site *site,
                         struct entry_parts *parts, int64_t now_ms)
{
    bool goes_on = v->split && m->there && m->same_names;

    if (m->there && !goes_on && m->started_seq > parts->head.started_seq)
        return -EEXIST;
    if (m->there && !goes_on) {
        drop_variants(m, parts, site->store);
        m->n = 0;
    }
    if (goes_on && memcmp(m->id, v->id, VARY_ID_LEN) != 0) {
        take_id(v, m->id); /* another family has begun meanwhile */
        make_key(v);
    }
    parts->head.key = v->common;
    return v->split ? put_variant(v, m, site, parts, now_ms) : store_put(site->store, parts, now_ms, NULL);
}

int varying_put(struct varying *v, const struct site *site, struct entry_parts *parts, int64_t now_ms)
{
    struct marker m;
    int r;

    if (v->split && !site->memory)
        return -ENOSPC;
    marker_read(&m, v, site->memory, now_ms);
    if (v->split && !m.there)
        copy_variants(&m, (struct slice){NULL, 0}, now_ms);
    r = put_by_marker(v, &m, site, parts, now_ms);
    marker_done(&m);
    return r;
}
