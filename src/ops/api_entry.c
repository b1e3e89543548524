/* /entries/{id}: one entry, wherever it lies: what is known of it, its answer, another lifetime or other
 * tags. */
#include "api_entry.h"

#include <errno.h>
#include <stdlib.h>

#include "api.h"
#include "api_selector.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/site.h"
#include "refrain/policy/ask.h"
#include "refrain/store/store.h"
#include "refrain/wire/header.h"
#include "refrain/wire/jscan.h"
#include "refrain/wire/keytext.h"
#include "refrain/wire/prompt.h"

const char *const api_tier_names[INVENTORY_TIERS] = {"memory", "disk", "redis"};

/* -- as JSON -- */

static void write_name(struct jout *j, struct slice prefix, const struct label *l)
{
    char bytes[512];
    struct buf name = {bytes, 0, sizeof(bytes), sizeof(bytes)};

    if (keytext_add(&name, prefix, l->namespace_, l->operation, l->model, &l->key) == 0)
        jout_text(j, "name", buf_slice(&name));
}

static void write_tags(struct jout *j, struct slice tags)
{
    jout_array(j, "tags");
    while (tags.len > 0)
        jout_text(j, NULL, slice_cut(&tags, ','));
    jout_end(j);
}

static void write_label(struct jout *j, const struct label *l, struct slice prefix, int64_t now_ms)
{
    char hex[DIGEST_HEX_LEN + 1];

    digest_hex(&l->key, hex);
    jout_text(j, "id", l->id);
    jout_str(j, "key", hex);
    write_name(j, prefix, l);
    jout_text(j, "namespace", l->namespace_);
    jout_text(j, "operation", l->operation);
    jout_text(j, "model", l->model);
    write_tags(j, l->tags);
    jout_milli(j, "age_s", now_ms > l->created_ms ? now_ms - l->created_ms : 0);
}

/* null: for ever. */
static void write_left(struct jout *j, const char *name, int64_t at_ms, int64_t now_ms)
{
    if (at_ms == INT64_MAX)
        jout_null(j, name);
    else
        jout_milli(j, name, at_ms - now_ms);
}

/* What only the entry itself tells. */
static void write_facts(struct jout *j, const struct entry *e, int64_t expires_ms, uint64_t hits,
                        int64_t now_ms)
{
    write_left(j, "ttl_s", expires_ms, now_ms);
    jout_int(j, "status", e->status);
    jout_int(j, "bytes", e->bytes);
    jout_int(j, "body_bytes", e->body.len);
    jout_bool(j, "stream", (e->flags & ENTRY_STREAM) != 0);
    jout_bool(j, "gzip", (e->flags & ENTRY_GZIP) != 0);
    jout_int(j, "hits", (int64_t)hits);
    jout_int(j, "tokens_in", e->tokens_in);
    jout_int(j, "tokens_out", e->tokens_out);
    jout_int(j, "tokens_cached", e->tokens_cached);
    jout_int(j, "tokens_cache_write", e->tokens_cache_write);
    jout_milli(j, "upstream_s", e->upstream_ms);
    jout_str(j, "prompt", e->prompt > 0 ? prompt_tier_name((enum prompt_tier)(e->prompt - 1)) : NULL);
}

void api_entry_write_item(struct jout *j, const struct inventory_item *item, struct slice prefix,
                          int64_t now_ms)
{
    jout_object(j, NULL);
    write_label(j, &item->label, prefix, now_ms);
    jout_str(j, "tier", api_tier_names[item->tier]);
    write_left(j, "gone_s", item->gone_ms, now_ms);
    if (item->seen)
        write_facts(j, item->seen->entry, item->seen->expires_ms, item->seen->hits, now_ms);
    jout_end(j);
}

void api_entry_write_failed(struct jout *j, const enum tier_result result[INVENTORY_TIERS])
{
    jout_object(j, "not_read");
    for (size_t i = 0; i < INVENTORY_TIERS; i++)
        if (result[i] != TIER_OK)
            jout_str(j, api_tier_names[i], tier_result_name(result[i]));
    jout_end(j);
}

/* -- finding one -- */

struct finding {
    struct api_call *call;
    void (*on_found)(struct finding *f); /* f->ref holds the entry */
    struct inventory v;
    struct store_search search;
    bool in[INVENTORY_TIERS];
    int64_t gone_ms[INVENTORY_TIERS];
    bool found;
    struct label label; /* texts below */
    char text[1024];
    struct entry_ref ref;
    /* of a change */
    int64_t ttl_s; /* -1: as it is */
    bool has_tags;
    char tags[ASK_TAGS_MAX * 65];
};

static void finding_end(struct finding *f)
{
    api_finish(f->call);
    entry_ref_release(&f->ref);
    inventory_done(&f->v);
    free(f);
}

static void not_found(struct finding *f)
{
    api_fail(f->call, 404, "not_found", "there is no entry of this id", "path", NULL);
    finding_end(f);
}

static void on_searched(struct store_search *s)
{
    struct finding *f = CONTAINER_OF(s, struct finding, search);

    f->ref = s->found;
    if (!f->ref.entry || memcmp(f->ref.entry->id, f->v.which.id.data, ENTRY_ID_LEN) != 0)
        not_found(f); /* gone, or another one is there by now */
    else
        f->on_found(f);
}

static bool find_in_memory(struct finding *f)
{
    struct store_mem *m = f->call->parts.tiers->memory;

    if (!f->in[TIER_MEMORY] || !store_mem_peek(m, &f->label.key, clock_wall_ms(), &f->ref))
        return false;
    if (memcmp(f->ref.entry->id, f->v.which.id.data, ENTRY_ID_LEN) == 0)
        return true;
    entry_ref_release(&f->ref);
    f->ref.entry = NULL;
    return false;
}

static void on_looked(struct inventory *v)
{
    struct finding *f = CONTAINER_OF(v, struct finding, v);

    if (f->call->gone || !f->found) {
        not_found(f);
    } else if (find_in_memory(f)) {
        f->on_found(f);
    } else {
        f->search = (struct store_search){.on_done = on_searched, .label = f->label, .look_only = true};
        store_search(f->call->parts.store, &f->search);
    }
}

static struct slice keep_text(char **at, const char *end, struct slice text)
{
    struct slice kept = {*at, text.len < (size_t)(end - *at) ? text.len : (size_t)(end - *at)};

    if (kept.len > 0)
        memcpy(*at, text.data, kept.len);
    *at += kept.len;
    return kept;
}

static void on_item(struct inventory *v, const struct inventory_item *item)
{
    struct finding *f = CONTAINER_OF(v, struct finding, v);
    char *at = f->text;
    const char *end = f->text + sizeof(f->text);

    f->in[item->tier] = true;
    f->gone_ms[item->tier] = item->gone_ms;
    if (f->found)
        return;
    f->found = true;
    f->label = (struct label){.key = item->label.key};
    f->label.namespace_ = keep_text(&at, end, item->label.namespace_);
    f->label.operation = keep_text(&at, end, item->label.operation);
    f->label.model = keep_text(&at, end, item->label.model);
}

static struct finding *finding_new(struct api_call *c, void (*on_found)(struct finding *f))
{
    struct finding *f = calloc(1, sizeof(*f));

    if (!f) {
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
        return NULL;
    }
    f->call = c;
    f->on_found = on_found;
    f->ttl_s = -1;
    return f;
}

static void find(struct finding *f)
{
    struct api_call *c = f->call;

    f->v = (struct inventory){
        .place = c->parts.tiers,
        .which = {.id = c->args[0]},
        .in = {true, true, true},
        .twice = true,
        .loop = c->loop,
        .on_item = on_item,
        .on_done = on_looked,
    };
    api_later(c);
    inventory_start(&f->v);
}

bool api_entry_id_is_good(struct api_call *c)
{
    if (api_selector_is_id(c->args[0]))
        return true;
    api_fail(c, 404, "not_found", "there is no entry of this id", "path",
             "32 hex digits, as Refrain-Entry tells them");
    return false;
}

/* -- showing it -- */

static void write_places(struct jout *j, const struct finding *f, int64_t now_ms)
{
    jout_array(j, "tiers");
    for (size_t i = 0; i < INVENTORY_TIERS; i++) {
        if (!f->in[i])
            continue;
        jout_object(j, NULL);
        jout_str(j, "tier", api_tier_names[i]);
        write_left(j, "gone_s", f->gone_ms[i], now_ms);
        jout_end(j);
    }
    jout_end(j);
}

static void show(struct finding *f)
{
    struct jout j = jout_begin(f->call->out);
    struct label l = label_of(f->ref.entry);
    int64_t now_ms = clock_wall_ms();

    jout_object(&j, NULL);
    write_label(&j, &l, f->call->parts.key_prefix, now_ms);
    write_facts(&j, f->ref.entry, f->ref.expires_ms, f->ref.hits, now_ms);
    write_places(&j, f, now_ms);
    api_entry_write_failed(&j, f->v.result);
    jout_end(&j);
    api_done(f->call, &j);
    finding_end(f);
}

static const char *type_of(const struct entry *e)
{
    struct entry_field f = {0};

    while (entry_next_field(e, &f))
        if (slice_ieq(slice_make(f.name, f.name_len), SLICE_OF("content-type")))
            return f.value;
    return "application/octet-stream";
}

/* Types that are told as they are; another one is just bytes. What stands in the answer must outlive it. */
static const char *static_type(const char *type)
{
    static const char *const known[] = {"application/json", "text/event-stream", "application/x-ndjson",
                                        "text/plain", "audio/mpeg"};
    struct slice rest = slice_str(type), media = slice_trim(slice_cut(&rest, ';'));

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (slice_ieq(media, slice_str(known[i])))
            return known[i];
    return "application/octet-stream";
}

static void show_body(struct finding *f)
{
    const struct entry *e = f->ref.entry;

    if (buf_add_slice(f->call->out, entry_slice(e, e->body)) < 0) {
        api_fail(f->call, 500, "answer_too_large", "the answer is larger than any that is sent", NULL, NULL);
    } else {
        f->call->type = static_type(type_of(e));
        f->call->coding = e->flags & ENTRY_GZIP ? "gzip" : NULL;
    }
    finding_end(f);
}

void api_entries_get(struct api_call *c)
{
    struct api_query q;
    bool body = api_query(c, "body", &q) && slice_eq(q.value, SLICE_OF("1"));
    struct finding *f = api_entry_id_is_good(c) ? finding_new(c, body ? show_body : show) : NULL;

    if (f)
        find(f);
}

/* -- changing it -- */

static int64_t later_ms(int64_t ms, int64_t by_ms)
{
    int64_t sum;

    return __builtin_add_overflow(ms, by_ms, &sum) ? INT64_MAX : sum;
}

/* How long it may be of use once it is stale stays what it is. */
static void set_lifetime(struct entry *head, int64_t ttl_s, int64_t max_s)
{
    int64_t stale_ms =
        head->gone_ms == INT64_MAX || head->expires_ms == INT64_MAX ? 0 : head->gone_ms - head->expires_ms;

    if (max_s > 0 && (ttl_s == ASK_TTL_NONE || ttl_s > max_s))
        ttl_s = max_s;
    head->expires_ms = ttl_s == ASK_TTL_NONE ? INT64_MAX : clock_wall_ms() + ttl_s * 1000;
    head->gone_ms = later_ms(head->expires_ms, stale_ms);
    head->sliding_ms = 0; /* this long, and no longer */
    head->max_expires_ms = 0;
}

/* Puts the entry again, as another of the same fetch. */
static int put_changed(const struct finding *f)
{
    const struct entry *e = f->ref.entry;
    struct slice body = entry_slice(e, e->body);
    struct field *fields = calloc((size_t)e->fields_n + 1, sizeof(*fields));
    struct entry_field at = {0};
    struct entry_parts parts = {
        .head = *e,
        .namespace_ = entry_slice(e, e->namespace_),
        .model = entry_slice(e, e->model),
        .op_name = entry_slice(e, e->op_name),
        .etag = entry_slice(e, e->etag),
        .tags = f->has_tags ? slice_str(f->tags) : entry_slice(e, e->tags),
        .fields = fields,
        .body = &body,
        .body_n = 1,
        .plain = entry_slice(e, e->plain),
    };
    int r;

    if (!fields)
        return -ENOMEM;
    while (entry_next_field(e, &at))
        fields[parts.fields_n++] = (struct field){.name = slice_make(at.name, at.name_len),
                                                  .value = slice_make(at.value, at.value_len)};
    parts.head.expires_ms = f->ref.expires_ms;
    parts.head.gone_ms =
        later_ms(e->gone_ms, f->ref.expires_ms == INT64_MAX ? 0 : f->ref.expires_ms - e->expires_ms);
    if (f->ttl_s != -1)
        set_lifetime(&parts.head, f->ttl_s, f->call->site->ttl_max_s);
    r = store_put(f->call->site->store, &parts, clock_wall_ms(), NULL);
    free(fields);
    return r;
}

static void change(struct finding *f)
{
    struct jout j = jout_begin(f->call->out);
    int r = f->call->gone ? -ECANCELED : put_changed(f);

    if (r == 0) {
        jout_object(&j, NULL);
        jout_text(&j, "id", f->v.which.id);
        jout_bool(&j, "changed", true);
        jout_end(&j);
        api_done(f->call, &j);
    } else if (r == -EEXIST || r == -ECANCELED) {
        api_fail(f->call, 409, "conflict", "another answer is there by now, or it was invalidated", NULL,
                 NULL);
    } else {
        api_fail(f->call, 503, "cache_full", "there is no room to store it anew", NULL, NULL);
    }
    finding_end(f);
}

static bool fail(struct api_call *c, const char *where, const char *expected)
{
    api_fail(c, 400, "request_invalid", "this is no change of an entry", where, expected);
    return false;
}

static bool read_ttl(struct finding *f, struct jscan_value value)
{
    int64_t s = jscan_count(value, -1);

    if (value.kind == JSCAN_STRING)
        s = ask_parse_ttl(value.text);
    if (s < 1 && s != ASK_TTL_NONE)
        return fail(f->call, "body.ttl", "seconds, or such as \"10m\", \"2h\", \"7d\", \"none\"");
    f->ttl_s = s;
    return s <= INT64_C(366) * 24 * 3600 || fail(f->call, "body.ttl", "at most a year");
}

static bool read_tags(struct finding *f, struct jscan_value value)
{
    struct jscan_walk w = jscan_walk(value);
    struct jscan_item tag;
    struct buf out = {f->tags, 0, sizeof(f->tags), sizeof(f->tags)};
    int r = 0;

    f->has_tags = true;
    while (r == 0 && jscan_next(&w, &tag)) {
        if (tag.value.kind != JSCAN_STRING || !ask_tag_ok(tag.value.text))
            return fail(f->call, "body.tags", "names, each 1 to 64 of: A-Z a-z 0-9 . _ - : / @ + =");
        r = out.len > 0 ? buf_add_byte(&out, ',') : 0;
        if (r == 0)
            r = buf_add_slice(&out, tag.value.text);
    }
    if (r == 0)
        r = buf_add_byte(&out, '\0');
    return (r == 0 && value.kind == JSCAN_ARRAY) || fail(f->call, "body.tags", "a list of at most 16 names");
}

static bool read_change(struct finding *f)
{
    struct jscan_value body = jscan_root(f->call->body);
    struct jscan_walk w = jscan_walk(body);
    struct jscan_item member;

    if (!jscan_valid(f->call->body) || body.kind != JSCAN_OBJECT)
        return fail(f->call, "body", "a JSON object with ttl, tags, or both");
    while (jscan_next(&w, &member)) {
        bool ok = slice_eq(member.name, SLICE_OF("ttl"))    ? read_ttl(f, member.value)
                  : slice_eq(member.name, SLICE_OF("tags")) ? read_tags(f, member.value)
                                                            : fail(f->call, "body", "ttl and tags alone");

        if (!ok)
            return false;
    }
    return f->ttl_s != -1 || f->has_tags || fail(f->call, "body", "ttl, tags, or both");
}

void api_entries_put(struct api_call *c)
{
    struct finding *f = api_entry_id_is_good(c) ? finding_new(c, change) : NULL;

    if (!f)
        return;
    if (read_change(f))
        find(f);
    else
        free(f);
}
