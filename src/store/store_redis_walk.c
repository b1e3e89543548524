/*
 * Walks over all keys of ours: a page of them for a listing, or all that match, to be deleted.
 *
 *   SCAN of one node ─► its keys ─► each: is it ours, may it match? ─► GETRANGE of its label ─► on_item,
 * UNLINK ▲                                                                                        │ └── until
 * its cursor is 0, then the next node; a few keys are under way at once ◄────────┘
 *
 * A node is known by a number that only grows (redis_each_node), so one that comes in the middle of a walk is
 * met at its end. A reply to SCAN names keys that lie in blobs, which are kept until their turn is over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/hex.h"
#include "store_redis_priv.h"

enum {
    PAGE_TIMEOUT_MS = 5 * 1000,
    WALK_TIMEOUT_MS = 60 * 1000,
    STEP_TIMEOUT_MS = 2 * 1000, /* one command: a walk may take long, a server that says nothing may not */
    KEYS_AT_ONCE = 250,         /* COUNT of a SCAN */
    PAGE_MAX = 1000,
    SCANS_A_PAGE = 64, /* that bring nothing: then an empty page is told, so that who asks may stop */
    UNDER_WAY_MAX = 64,
    WAITS_MAX = 5, /* round trips until it must be known which nodes there are */
    PATTERN_MAX = 2048,
};

struct walk;

struct key {
    struct walk *walk;
    struct redis_call call;
    struct slice argv[4];
    char number[24];
    struct blob *name; /* the key itself; NULL: over */
    struct label label;
    enum { KEY_LOOK, KEY_READ, KEY_UNLINK } step;
};

struct walk {
    struct rt_ask ask;      /* first */
    struct tier_scan *scan; /* one of these two */
    struct tier_delete_if *delete_if;
    const struct selector *which; /* NULL: all */
    bool by_name;                 /* a name tells whether it matches, so that no other need be looked at */
    bool started;                 /* a node has been chosen */
    uint32_t node;
    char cursor[24];
    struct buf pattern;
    char count[24];
    size_t scans_n, found_n;
    unsigned waits;
    struct key *keys; /* of the SCAN that came last */
    size_t keys_n, next, under_way;
    enum tier_result failed; /* TIER_OK: nothing has */
};

/* -- patterns of SCAN -- */

static int add_escaped(struct buf *out, struct slice text)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < text.len; i++) {
        if (strchr("*?[]\\^", text.data[i]))
            r = buf_add_byte(out, '\\');
        if (r == 0)
            r = buf_add_byte(out, text.data[i]);
    }
    return r;
}

/* A name shows these as they are: keytext. */
static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
              c == '_' || c == '/' || c == '-'))
            return false;
    }
    return true;
}

static int add_part(struct buf *out, struct slice wanted)
{
    int r = buf_add_byte(out, ':');

    if (r < 0)
        return r;
    return wanted.len > 0 && is_plain(wanted) ? add_escaped(out, wanted) : buf_add_byte(out, '*');
}

/* The server need not tell of what cannot match. */
static int make_pattern(struct walk *w)
{
    const struct selector any = {0}, *which = w->which ? w->which : &any;
    struct slice prefix = slice_str(rt_tier_of(w->ask.port)->prefix);
    int r = add_escaped(&w->pattern, prefix);

    if (r == 0)
        r = add_part(&w->pattern, which->namespace_);
    if (r == 0)
        r = add_part(&w->pattern, which->operation);
    if (r == 0)
        r = buf_add(&w->pattern, ":*", 2);
    return r;
}

/* What it takes to know whether an entry matches: a model's name is cut short and altered in a key. */
static bool is_told_by_name(const struct selector *s)
{
    return s->id.len == 0 && s->tag.len == 0 && s->model.len == 0 && s->created_before_ms == 0 &&
           s->target == 0 && is_plain(s->namespace_) && is_plain(s->operation);
}

/* -- names -- */

static bool parse_key(struct slice hex, struct digest *out)
{
    if (hex.len != DIGEST_HEX_LEN)
        return false;
    for (size_t i = 0; i < sizeof(out->bytes); i++) {
        int byte = hex_byte_lower(hex.data + 2 * i);

        if (byte < 0)
            return false;
        out->bytes[i] = (uint8_t)byte;
    }
    return true;
}

/* PREFIX:NAMESPACE:OPERATION:MODEL:HEX; all else that begins like that is something else's. */
static bool parse_name(struct slice name, struct slice prefix, struct label *out)
{
    struct slice rest = slice_skip(name, prefix.len + 1);
    struct label l = {0};

    if (!slice_starts(name, prefix) || name.len <= prefix.len || name.data[prefix.len] != ':')
        return false;
    l.namespace_ = slice_cut(&rest, ':');
    l.operation = slice_cut(&rest, ':');
    l.model = slice_cut(&rest, ':');
    if (!rest.data || !parse_key(rest, &l.key))
        return false;
    *out = l;
    return true;
}

static bool matches(const struct walk *w, const struct label *l)
{
    return !w->which || selector_matches(w->which, l);
}

/* -- the end -- */

static void free_walk(struct rt_ask *a)
{
    struct walk *w = (struct walk *)a;

    for (size_t i = 0; i < w->keys_n; i++)
        blob_unref(w->keys[i].name);
    free(w->keys);
    buf_done(&w->pattern);
}

static void end_page(struct walk *w, bool is_last)
{
    struct buf *cursor = w->scan->cursor;

    buf_clear(cursor);
    if (!is_last && buf_addf(cursor, "%u:%s", w->node, w->cursor) < 0)
        w->failed = TIER_FAILED;
}

static void end_walk(struct walk *w, bool is_last)
{
    if (w->scan && w->failed == TIER_OK)
        end_page(w, is_last);
    rt_ask_end(&w->ask, w->failed);
}

static void fail(struct walk *w, enum tier_result r)
{
    if (w->failed == TIER_OK)
        w->failed = r;
}

/* -- from node to node -- */

struct next_node {
    uint32_t after, found; /* 0: none */
};

static void on_node(void *arg, uint32_t node, struct slice address)
{
    struct next_node *n = arg;

    (void)address;
    if (node > n->after && (n->found == 0 || node < n->found))
        n->found = node;
}

/* False: there is none, or it is not known any more which there are. */
static bool go_to_next_node(struct walk *w)
{
    struct next_node n = {.after = w->started ? w->node : 0};

    if (!redis_knows_nodes(w->ask.port->redis))
        fail(w, TIER_DOWN);
    redis_each_node(w->ask.port->redis, on_node, &n);
    if (n.found == 0)
        return false;
    w->started = true;
    w->node = n.found;
    (void)snprintf(w->cursor, sizeof(w->cursor), "0");
    return true;
}

/* -- keys -- */

static void go_on(struct walk *w);
static void scan_more(struct walk *w);

static void key_over(struct key *k)
{
    struct walk *w = k->walk;

    blob_unref(k->name);
    k->name = NULL;
    w->under_way--;
}

static void on_key(struct redis_call *call, const struct redis_reply *reply, enum redis_why why);

static void key_ask(struct key *k, size_t argc)
{
    struct walk *w = k->walk;

    k->argv[1] = blob_slice(k->name);
    k->call = (struct redis_call){.argv = k->argv,
                                  .argc = argc,
                                  .key = blob_slice(k->name),
                                  .deadline_ms = rt_left_ms(&w->ask),
                                  .on_reply = on_key};
    redis_ask(w->ask.port->redis, &k->call);
}

static void key_look(struct key *k, size_t bytes)
{
    (void)snprintf(k->number, sizeof(k->number), "%zu", bytes - 1);
    k->step = KEY_LOOK;
    k->argv[0] = SLICE_OF("GETRANGE");
    k->argv[2] = SLICE_OF("0");
    k->argv[3] = slice_str(k->number);
    key_ask(k, 4);
}

static void key_read(struct key *k)
{
    k->step = KEY_READ;
    k->argv[0] = SLICE_OF("GET");
    key_ask(k, 2);
}

static void key_matched(struct key *k)
{
    struct tier_delete_if *d = k->walk->delete_if;

    d->matched += k->label.family ? 0 : 1;
    if (d->on_match)
        d->on_match(d, &k->label);
    key_over(k);
}

static void key_drop(struct key *k)
{
    if (k->walk->delete_if->dry_run) {
        key_matched(k);
        return;
    }
    k->step = KEY_UNLINK;
    k->argv[0] = SLICE_OF("UNLINK");
    key_ask(k, 2);
}

/* What is there has been told of; its texts live as long as this call. */
static void key_told(struct key *k, const struct tier_item *item, struct blob *blob)
{
    struct walk *w = k->walk;

    if (!matches(w, &item->label)) {
        key_over(k);
    } else if (w->delete_if) {
        k->label.family = item->label.family;
        key_drop(k);
    } else {
        w->found_n++;
        w->scan->on_item(w->scan, item, blob);
        key_over(k);
    }
}

/* What is not to be read has its name, by which operators can still have it deleted. */
static void key_looked(struct key *k, const struct redis_reply *reply)
{
    const struct record_codec *codec = &rt_tier_of(k->walk->ask.port)->codec;
    struct blob *blob = k->walk->scan && k->walk->scan->wants_blobs ? reply->blob : NULL;
    struct tier_item item = {.label = k->label, .gone_ms = INT64_MAX};
    struct record_seen seen = {0};
    size_t wanted = 0;
    enum record_result r = record_look(reply->text, &k->label.key, codec, &seen, &wanted);

    if (r == RECORD_SHORT && k->step == KEY_LOOK && reply->text.len == RT_LOOK_BYTES) {
        key_look(k, wanted);
        return;
    }
    if (r == RECORD_OK) {
        item.label = label_of(entry_box_entry(seen.box));
        item.gone_ms = entry_box_entry(seen.box)->gone_ms;
    }
    key_told(k, &item, blob);
    entry_box_unref(seen.box);
}

static void on_key_reply(struct key *k, const struct redis_reply *reply, enum redis_why why)
{
    struct walk *w = k->walk;

    if (rt_is_wrong_type(reply) || (reply && reply->type == REDIS_NIL)) {
        key_over(k); /* not ours, or gone */
    } else if (reply && reply->type == REDIS_TEXT && k->step != KEY_UNLINK) {
        if (reply->text.len == 0)
            key_over(k); /* gone */
        else
            key_looked(k, reply);
    } else if (reply && reply->type == REDIS_INTEGER && k->step == KEY_UNLINK) {
        if (reply->integer > 0)
            key_matched(k);
        else
            key_over(k);
    } else if (why == REDIS_TOO_LARGE) {
        key_over(k); /* larger than we take: it is not ours */
    } else {
        fail(w, rt_result_of(w->ask.port, reply, why));
        key_over(k);
    }
}

static void on_key(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct key *k = CONTAINER_OF(call, struct key, call);
    struct walk *w = k->walk; /* the walk goes on, and may end, afterwards */

    on_key_reply(k, reply, why);
    go_on(w);
}

static void start_key(struct key *k)
{
    struct walk *w = k->walk;
    bool may_match = parse_name(blob_slice(k->name), slice_str(rt_tier_of(w->ask.port)->prefix), &k->label);

    w->under_way++;
    if (!may_match || (w->by_name && !matches(w, &k->label)))
        key_over(k);
    else if (w->scan && w->scan->wants_blobs)
        key_read(k);
    else
        key_look(k, RT_LOOK_BYTES);
}

/* -- pages -- */

static bool page_is_full(const struct walk *w)
{
    return w->scan && (w->found_n > 0 || w->scans_n >= SCANS_A_PAGE);
}

static void go_on(struct walk *w)
{
    while (w->failed == TIER_OK && !w->ask.port->closing && w->next < w->keys_n &&
           w->under_way < UNDER_WAY_MAX)
        start_key(&w->keys[w->next++]);
    if (w->under_way > 0)
        return;
    if (w->ask.port->closing)
        fail(w, TIER_DOWN);
    if (w->failed != TIER_OK)
        end_walk(w, false);
    else
        scan_more(w);
}

static void drop_keys(struct walk *w)
{
    for (size_t i = 0; i < w->keys_n; i++)
        blob_unref(w->keys[i].name);
    free(w->keys);
    w->keys = NULL;
    w->keys_n = w->next = 0;
}

static bool take_keys(struct walk *w, const struct redis_reply *names)
{
    w->keys = calloc(names->items_n + 1, sizeof(*w->keys));
    if (!w->keys)
        return false;
    for (size_t i = 0; i < names->items_n; i++) {
        const struct redis_reply *name = redis_reply_item(names, i, REDIS_TEXT);

        if (!name)
            continue;
        w->keys[w->keys_n].walk = w;
        w->keys[w->keys_n++].name = redis_reply_take(name);
    }
    return true;
}

static bool take_cursor(struct walk *w, struct slice cursor)
{
    if (cursor.len == 0 || cursor.len >= sizeof(w->cursor))
        return false;
    for (size_t i = 0; i < cursor.len; i++)
        if (cursor.data[i] < '0' || cursor.data[i] > '9')
            return false;
    memcpy(w->cursor, cursor.data, cursor.len);
    w->cursor[cursor.len] = '\0';
    return true;
}

static void on_scanned(struct rt_ask *a, const struct redis_reply *reply, enum redis_why why)
{
    struct walk *w = (struct walk *)a;
    const struct redis_reply *cursor = redis_reply_item(reply, 0, REDIS_TEXT);
    const struct redis_reply *names = redis_reply_item(reply, 1, REDIS_ARRAY);

    if (!cursor || !names)
        fail(w, rt_result_of(a->port, reply, why));
    else if (!take_cursor(w, cursor->text) || !take_keys(w, names))
        fail(w, TIER_FAILED);
    go_on(w);
}

static void send_scan(struct walk *w)
{
    struct rt_ask *a = &w->ask;

    w->scans_n++;
    a->argv[0] = SLICE_OF("SCAN");
    a->argv[1] = slice_str(w->cursor);
    a->argv[2] = SLICE_OF("MATCH");
    a->argv[3] = buf_slice(&w->pattern);
    a->argv[4] = SLICE_OF("COUNT");
    a->argv[5] = slice_str(w->count);
    a->argc = 6;
    a->call.node = w->node;
    a->on_reply = on_scanned;
    rt_ask_send(a, (struct slice){NULL, 0});
}

/* All keys of the last SCAN are over. */
static void scan_more(struct walk *w)
{
    bool node_is_over = w->scans_n > 0 && strcmp(w->cursor, "0") == 0;

    drop_keys(w);
    if (node_is_over && !go_to_next_node(w)) {
        end_walk(w, true);
        return;
    }
    if (page_is_full(w))
        end_walk(w, false);
    else
        send_scan(w);
}

/* "NODE:CURSOR", as end_page wrote it. */
static bool begin_at(struct walk *w, struct slice at)
{
    struct slice node = slice_cut(&at, ':');
    uint64_t number = 0;

    for (size_t i = 0; i < node.len && i < 10; i++) {
        if (node.data[i] < '0' || node.data[i] > '9')
            return false;
        number = number * 10 + (unsigned)(node.data[i] - '0');
    }
    if (node.len == 0 || node.len > 10 || number > UINT32_MAX || !at.data)
        return false;
    w->started = true;
    w->node = (uint32_t)number;
    return take_cursor(w, at);
}

static struct walk *walk_new(struct tier_port *p, struct tier_op *op, const struct selector *which,
                             int64_t timeout_ms, size_t count)
{
    struct walk *w = rt_ask_new(p, op, sizeof(*w), timeout_ms);

    if (!w)
        return NULL;
    w->ask.on_free = free_walk;
    w->ask.step_ms = STEP_TIMEOUT_MS;
    w->which = which;
    w->by_name = !which || is_told_by_name(which);
    w->pattern = (struct buf)BUF_INIT(PATTERN_MAX);
    w->failed = TIER_OK;
    (void)snprintf(w->count, sizeof(w->count), "%zu", count);
    return w;
}

static void wait_for_nodes(struct walk *w);

/* At first it is not known yet which nodes there are: that comes with the first replies. */
static void choose_node(struct walk *w)
{
    if (w->started || (redis_knows_nodes(w->ask.port->redis) && go_to_next_node(w))) {
        send_scan(w);
    } else if (w->waits++ < WAITS_MAX) {
        wait_for_nodes(w);
    } else {
        fail(w, TIER_DOWN);
        end_walk(w, false);
    }
}

static void on_waited(struct rt_ask *a, const struct redis_reply *reply, enum redis_why why)
{
    struct walk *w = (struct walk *)a;

    if (reply) {
        choose_node(w);
        return;
    }
    fail(w, rt_result_of(a->port, reply, why));
    end_walk(w, false);
}

static void wait_for_nodes(struct walk *w)
{
    struct rt_ask *a = &w->ask;

    a->argv[0] = SLICE_OF("PING");
    a->argc = 1;
    a->on_reply = on_waited;
    rt_ask_send(a, (struct slice){NULL, 0});
}

static void begin(struct walk *w)
{
    if (make_pattern(w) < 0)
        rt_ask_end_later(&w->ask, TIER_REFUSED);
    else if (w->started || redis_knows_nodes(w->ask.port->redis))
        choose_node(w);
    else
        wait_for_nodes(w);
}

void rt_scan(struct tier_port *p, struct tier_scan *s)
{
    size_t count = s->page_max == 0 ? KEYS_AT_ONCE : s->page_max < PAGE_MAX ? s->page_max : PAGE_MAX;
    struct walk *w = walk_new(p, &s->op, s->which, PAGE_TIMEOUT_MS, count);

    if (!w)
        return;
    w->scan = s;
    if (s->cursor->len > 0 && !begin_at(w, buf_slice(s->cursor)))
        rt_ask_end_later(&w->ask, TIER_REFUSED);
    else
        begin(w);
}

void rt_delete_if(struct tier_port *p, struct tier_delete_if *d)
{
    struct walk *w = walk_new(p, &d->op, d->which, WALK_TIMEOUT_MS, KEYS_AT_ONCE);

    d->matched = 0;
    if (!w)
        return;
    w->delete_if = d;
    begin(w);
}
