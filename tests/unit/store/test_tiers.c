/*
 * What every tier below memory must do (tier.h), as one suite over all of them: memory behind the contract,
 * the same behind a breaker, SQLite, Redis, Redis over TLS with a client certificate and a user of least
 * rights, Redis Cluster. A case here is a promise to whoever asks tiers; what is one tier's own is told by
 * its own tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "redis_server.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/entry.h"
#include "refrain/store/record.h"
#include "refrain/store/store_disk.h"
#include "refrain/store/store_redis.h"
#include "refrain/store/tier_breaker.h"
#include "refrain/store/tier_mem.h"

enum {
    WATCHDOG_MS = 60 * 1000,
    ASK_MS = 30 * 1000, /* the machine may be slow */
    HOUR_MS = 3600 * 1000,
    LARGE = 3 << 20,
    MANY = 600,
    AT_ONCE = 50,
};

/* -- the places -- */

struct world {
    const struct place *place;
    struct tier *tier;
    struct tier_port *port;
    struct loop *loop;
    struct loop_timer *watchdog;
    int64_t now_ms;
    unsigned waits; /* for so many questions */
    /* the place's own */
    struct redis_server *server;
    struct redis_cluster *cluster;
    char folder[64], path[96];
};

struct place {
    const char *name;
    struct tier *(*make)(struct world *w);
    void (*unmake)(struct world *w);
    bool freezes; /* it can be made not to answer */
};

static const struct record_codec codec = {NULL};

static struct tier *make_memory(struct world *w)
{
    struct store_mem_conf conf = {64 << 20, 0, EVICT_LRU};

    (void)w;
    return tier_mem_new(&conf, "memory", TIER_MEMORY);
}

static struct tier *make_guarded(struct world *w)
{
    struct tier_breaker_conf conf = {.failures = 5, .open_ms = 1000, .open_ms_max = 30000};

    return tier_breaker_new(make_memory(w), &conf);
}

static void unmake_nothing(struct world *w)
{
    (void)w;
}

static struct tier *make_disk(struct world *w)
{
    struct store_disk_conf conf = {
        .bytes_max = 256 << 20, .timeout_ms = ASK_MS, .queue_bytes_max = 64 << 20, .path = w->path};

    (void)snprintf(w->folder, sizeof(w->folder), "/tmp/refrain-tiers-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    (void)snprintf(w->path, sizeof(w->path), "%s/cache.db", w->folder);
    return store_disk_new(&conf);
}

static void unmake_disk(struct world *w)
{
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    char path[128];

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", w->path, ends[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(w->folder), 0); /* it leaves nothing else behind */
}

static struct tier *redis_of(struct redis_server *server, const struct redis_server_conf *sc,
                             enum redis_cluster_mode mode)
{
    char ca[256], cert[256], key[256];
    struct store_redis_conf conf = {
        .redis = {.host = "127.0.0.1",
                  .port = (uint16_t)redis_server_port(server),
                  .username = sc->user,
                  .password = sc->password,
                  .connect_timeout_ms = ASK_MS,
                  .timeout_ms = ASK_MS,
                  .cluster = mode},
        .prefix = "refrain",
        .codec = codec,
        .write_timeout_ms = ASK_MS,
    };

    if (sc->tls) {
        const char *folder = redis_server_certificates(server);

        (void)snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
        (void)snprintf(cert, sizeof(cert), "%s/client.pem", folder);
        (void)snprintf(key, sizeof(key), "%s/client.key", folder);
        conf.redis.tls =
            (struct redis_tls_conf){.on = true, .ca_file = ca, .cert_file = cert, .key_file = key};
    }
    return store_redis_new(&conf);
}

static struct tier *make_redis_with(struct world *w, const struct redis_server_conf *sc)
{
    w->server = redis_server_new(sc);
    return redis_of(w->server, sc, REDIS_CLUSTER_OFF);
}

static struct tier *make_redis(struct world *w)
{
    return make_redis_with(w, &(struct redis_server_conf){0});
}

static struct tier *make_redis_tls(struct world *w)
{
    return make_redis_with(w,
                           &(struct redis_server_conf){.tls = true, .user = "cache", .password = "s3cret"});
}

static void unmake_redis(struct world *w)
{
    redis_server_free(w->server);
    w->server = NULL;
}

static struct tier *make_cluster(struct world *w)
{
    const struct redis_server_conf sc = {0};

    w->cluster = redis_cluster_new(NULL);
    return redis_of(redis_cluster_node(w->cluster, 0), &sc, REDIS_CLUSTER_ON);
}

static void unmake_cluster(struct world *w)
{
    redis_cluster_free(w->cluster);
    w->cluster = NULL;
}

static const struct place places[] = {
    {"memory", make_memory, unmake_nothing, false},
    {"memory behind a breaker", make_guarded, unmake_nothing, false},
    {"disk", make_disk, unmake_disk, false},
    {"redis", make_redis, unmake_redis, true},
    {"redis over TLS, with a client certificate and a user", make_redis_tls, unmake_redis, true},
    {"redis cluster", make_cluster, unmake_cluster, false},
};

/* -- asking -- */

static void on_watchdog(void *arg)
{
    const struct world *w = arg;

    fail_msg("%s: the loop ran for too long", w->place->name);
}

static struct world *world_new(const struct place *place)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->place = place;
    w->now_ms = clock_wall_ms();
    w->tier = place->make(w);
    assert_non_null(w->tier);
    w->loop = loop_new();
    w->watchdog = loop_timer_new(w->loop, on_watchdog, w);
    w->port = w->tier->ops->open(w->tier, w->loop);
    assert_non_null(w->port);
    return w;
}

static void world_free(struct world *w)
{
    w->tier->ops->close(w->port);
    loop_timer_free(w->watchdog);
    loop_free(w->loop);
    tier_free(w->tier);
    w->place->unmake(w);
    free(w);
}

static struct world *current;

static void on_done(struct tier_op *op)
{
    (void)op;
    assert_true(current->waits > 0);
    if (--current->waits == 0)
        loop_stop(current->loop);
}

static struct tier_op op_of(struct world *w)
{
    current = w;
    w->waits++;
    return (struct tier_op){.on_done = on_done, .deadline_ms = ASK_MS};
}

static void await_all(struct world *w)
{
    loop_timer_start(w->watchdog, WATCHDOG_MS, 0);
    while (w->waits > 0)
        loop_run(w->loop);
    loop_timer_stop(w->watchdog);
}

/* -- records -- */

/* Of each entry: what it is made of, by its number; the bodies differ. */
struct sample {
    unsigned n;
    const char *namespace_, *operation, *model, *tags;
    size_t body_len; /* 0: a few bytes */
    int64_t seq, created_ms, gone_ms;
    uint64_t target;
    bool family;
};

static struct digest key_of(unsigned n)
{
    return sha256_of(slice_make(&n, sizeof(n)));
}

static struct slice or_text(const char *given, const char *otherwise)
{
    return slice_str(given ? given : otherwise);
}

static void id_of(unsigned n, char out[ENTRY_ID_LEN])
{
    char text[ENTRY_ID_LEN + 1];

    (void)snprintf(text, sizeof(text), "%032x", n);
    memcpy(out, text, ENTRY_ID_LEN);
}

/* An entry on the heap, as its record and its label are made from one. */
static struct entry *entry_of(const struct world *w, const struct sample *s)
{
    size_t len = s->body_len ? s->body_len : s->family ? sizeof(struct entry_variant) : 32;
    char *body = malloc(len);
    struct slice piece = slice_make(body, len);
    struct entry_parts p = {
        .head = {.key = key_of(s->n),
                 .created_ms = s->created_ms ? s->created_ms : w->now_ms,
                 .started_seq = s->seq ? s->seq : 1000,
                 .target = s->target,
                 .status = s->family ? 0 : 200,
                 .flags = s->family ? ENTRY_VARY : 0},
        .namespace_ = or_text(s->namespace_, "default"),
        .op_name = or_text(s->operation, "chat"),
        .model = or_text(s->model, "gpt-4o"),
        .tags = or_text(s->tags, ""),
        .body = &piece,
        .body_n = 1,
    };
    struct entry *e;

    for (size_t i = 0; i < len; i++)
        body[i] = (char)(i * 31 + s->n + (size_t)s->seq); /* every byte there is */
    p.head.expires_ms = p.head.gone_ms = s->gone_ms ? s->gone_ms : w->now_ms + HOUR_MS;
    id_of(s->n, p.head.id);
    e = malloc(entry_packed_size(&p));
    assert_non_null(e);
    entry_pack(&p, e);
    free(body);
    return e;
}

static struct blob *record_of(const struct entry *e)
{
    struct blob *b = NULL;

    assert_int_equal(record_pack(e, e->expires_ms, 0, &codec, &b), RECORD_OK);
    return b;
}

/* -- one question at a time -- */

static enum tier_result put_blob(struct world *w, const struct entry *e, struct blob *b, bool only_newer)
{
    struct tier_put put = {
        .op = op_of(w), .item = {label_of(e), e->gone_ms}, .blob = b, .only_newer = only_newer};

    w->tier->ops->put(w->port, &put);
    await_all(w);
    return put.op.result;
}

static enum tier_result put_newer(struct world *w, const struct sample *s, bool only_newer)
{
    struct entry *e = entry_of(w, s);
    struct blob *b = record_of(e);
    enum tier_result r = put_blob(w, e, b, only_newer);

    blob_unref(b);
    free(e);
    return r;
}

static enum tier_result put(struct world *w, const struct sample *s)
{
    return put_newer(w, s, false);
}

static struct label label_for(const struct sample *s)
{
    return (struct label){.key = key_of(s->n),
                          .namespace_ = or_text(s->namespace_, "default"),
                          .operation = or_text(s->operation, "chat"),
                          .model = or_text(s->model, "gpt-4o")};
}

/* The bytes, the caller's; NULL: absent. */
static struct blob *get(struct world *w, const struct sample *s)
{
    struct tier_get g = {.op = op_of(w), .label = label_for(s)};

    w->tier->ops->get(w->port, &g);
    await_all(w);
    assert_int_equal(g.op.result, g.blob ? TIER_OK : TIER_ABSENT);
    return g.blob;
}

static bool is_there(struct world *w, const struct sample *s)
{
    struct blob *b = get(w, s);

    blob_unref(b);
    return b != NULL;
}

/* The record that @s makes is there, byte for byte. */
static bool is_there_as(struct world *w, const struct sample *s)
{
    struct entry *e = entry_of(w, s);
    struct blob *want = record_of(e), *b = get(w, s);
    bool same = b && slice_eq(blob_slice(b), blob_slice(want));

    blob_unref(b);
    blob_unref(want);
    free(e);
    return same;
}

static enum tier_result remove_only(struct world *w, const struct sample *s, const struct blob *only)
{
    struct tier_delete d = {.op = op_of(w), .label = label_for(s), .only = only};

    w->tier->ops->remove(w->port, &d);
    await_all(w);
    return d.op.result;
}

struct matches {
    struct tier_delete_if ask; /* first */
    unsigned told, families;
};

static void on_match(struct tier_delete_if *d, const struct label *l)
{
    struct matches *m = (struct matches *)d;

    m->told++;
    m->families += l->family ? 1 : 0;
}

static uint64_t delete_if(struct world *w, const struct selector *which, bool dry_run)
{
    struct matches m = {.ask = {.op = op_of(w), .which = which, .dry_run = dry_run, .on_match = on_match}};

    w->tier->ops->delete_if(w->port, &m.ask);
    await_all(w);
    assert_int_equal(m.ask.op.result, TIER_OK);
    assert_true(m.told - m.families >= m.ask.matched);
    return m.ask.matched;
}

static void clear(struct world *w)
{
    const struct selector all = {.pattern = {NULL, 0}};

    (void)delete_if(w, &all, false);
}

/* -- cases -- */

static void what_was_never_put_is_absent(struct world *w)
{
    assert_false(is_there(w, &(struct sample){.n = 1}));
    assert_int_equal(remove_only(w, &(struct sample){.n = 1}, NULL), TIER_ABSENT);
}

static void what_is_put_is_got_byte_for_byte(struct world *w)
{
    static const size_t sizes[] = {1, 1500, 8192, 65536, 100000, LARGE};

    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
        assert_int_equal(put(w, &(struct sample){.n = i, .body_len = sizes[i]}), TIER_OK);
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
        assert_true(is_there_as(w, &(struct sample){.n = i, .body_len = sizes[i]}));
}

static void the_last_put_is_what_is_there(struct world *w)
{
    assert_int_equal(put(w, &(struct sample){.n = 1, .body_len = 70000, .seq = 1}), TIER_OK);
    assert_int_equal(put(w, &(struct sample){.n = 1, .body_len = 10, .seq = 2}), TIER_OK);
    assert_true(is_there_as(w, &(struct sample){.n = 1, .body_len = 10, .seq = 2}));
}

static void who_began_later_wins_where_that_is_asked(struct world *w)
{
    static const struct {
        const char *why;
        bool only_newer;
        int64_t there, comes;
        bool replaces;
    } orders[] = {
        {"later", true, 5, 6, true},
        {"the same", true, 5, 5, true},
        {"earlier", true, 5, 4, false},
        {"earlier, and nobody asks", false, 5, 4, true},
    };

    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        struct sample there = {.n = i, .seq = orders[i].there, .body_len = 100};
        struct sample comes = {.n = i, .seq = orders[i].comes, .body_len = 200};

        assert_int_equal(put(w, &there), TIER_OK);
        assert_int_equal(put_newer(w, &comes, orders[i].only_newer), TIER_OK); /* as good as put */
        if (!is_there_as(w, orders[i].replaces ? &comes : &there))
            fail_msg("%s: %s", w->place->name, orders[i].why);
    }
}

static void what_is_removed_is_gone(struct world *w)
{
    const struct sample s = {.n = 1}, other = {.n = 2};

    assert_int_equal(put(w, &s), TIER_OK);
    assert_int_equal(put(w, &other), TIER_OK);
    assert_int_equal(remove_only(w, &s, NULL), TIER_OK);
    assert_false(is_there(w, &s));
    assert_int_equal(remove_only(w, &s, NULL), TIER_ABSENT);
    assert_true(is_there_as(w, &other));
}

static void only_these_bytes_are_removed(struct world *w)
{
    const struct sample was = {.n = 1, .seq = 1}, is = {.n = 1, .seq = 2};
    struct entry *e = entry_of(w, &was), *f = entry_of(w, &is);
    struct blob *old = record_of(e), *young = record_of(f);

    assert_int_equal(put(w, &is), TIER_OK);
    assert_int_equal(remove_only(w, &was, old), TIER_ABSENT);
    assert_true(is_there_as(w, &is));
    assert_int_equal(remove_only(w, &is, young), TIER_OK);
    assert_false(is_there(w, &is));
    blob_unref(old);
    blob_unref(young);
    free(e);
    free(f);
}

/* What a tier is handed it hands back, be it a record or not. */
static void bytes_are_bytes(struct world *w)
{
    const struct sample s = {.n = 1};
    struct entry *e = entry_of(w, &s);
    struct blob *odd = blob_new(512), *got;

    for (size_t i = 0; i < odd->len; i++)
        odd->bytes[i] = (char)(i % 4 == 0 ? '\r' : i % 4 == 1 ? '\n' : i % 4 == 2 ? '\0' : '$');
    assert_int_equal(put_blob(w, e, odd, false), TIER_OK);
    got = get(w, &s);
    assert_non_null(got);
    assert_true(slice_eq(blob_slice(got), blob_slice(odd)));
    assert_int_equal(remove_only(w, &s, odd), TIER_OK);
    blob_unref(got);
    blob_unref(odd);
    free(e);
}

static void lifetimes_end(struct world *w)
{
    const struct sample over = {.n = 1, .gone_ms = w->now_ms - 1000};
    const struct sample soon = {.n = 2, .gone_ms = clock_wall_ms() + 300};
    const struct sample never = {.n = 3, .gone_ms = INT64_MAX};
    int64_t until_ms = clock_mono_ms() + WATCHDOG_MS;

    (void)put(w, &over);
    assert_int_equal(put(w, &soon), TIER_OK);
    assert_int_equal(put(w, &never), TIER_OK);
    assert_false(is_there(w, &over));
    while (is_there(w, &soon))
        assert_true(clock_mono_ms() < until_ms);
    assert_true(clock_wall_ms() >= soon.gone_ms - 5); /* not before its time, but for a clock's grain */
    assert_true(is_there_as(w, &never));
}

static void any_name_will_do(struct world *w)
{
    static const struct {
        const char *namespace_, *operation, *model;
    } names[] = {
        {"default", "chat", ""},
        {"team.a-b_c", "own_operation", "models/gemini-2.0:streamed"},
        {"n", "embedding", "caf\xC3\xA9 with spaces\tand*globs?[x]"},
        {"n", "embedding", "{slot}"},
        {"n", "embedding",
         "a-model-with-a-name-that-is-longer-than-what-is-kept-of-names-in-keys-which-is-64"},
    };

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        struct sample s = {.n = i,
                           .namespace_ = names[i].namespace_,
                           .operation = names[i].operation,
                           .model = names[i].model};

        assert_int_equal(put(w, &s), TIER_OK);
        assert_true(is_there_as(w, &s));
        assert_int_equal(remove_only(w, &s, NULL), TIER_OK);
    }
}

/* Many at once, in both directions; each comes back once. */
static void many_at_a_time(struct world *w)
{
    struct tier_put puts[AT_ONCE];
    struct tier_get gets[AT_ONCE];
    struct entry *entries[AT_ONCE];
    struct blob *records[AT_ONCE];

    for (unsigned from = 0; from < MANY; from += AT_ONCE) {
        for (unsigned i = 0; i < AT_ONCE; i++) {
            entries[i] = entry_of(w, &(struct sample){.n = from + i, .body_len = 1000 + i});
            records[i] = record_of(entries[i]);
            puts[i] = (struct tier_put){
                .op = op_of(w), .item = {label_of(entries[i]), entries[i]->gone_ms}, .blob = records[i]};
            w->tier->ops->put(w->port, &puts[i]);
        }
        await_all(w);
        for (unsigned i = 0; i < AT_ONCE; i++) {
            assert_int_equal(puts[i].op.result, TIER_OK);
            gets[i] = (struct tier_get){.op = op_of(w), .label = label_of(entries[i])};
            w->tier->ops->get(w->port, &gets[i]);
        }
        await_all(w);
        for (unsigned i = 0; i < AT_ONCE; i++) {
            assert_int_equal(gets[i].op.result, TIER_OK);
            assert_true(slice_eq(blob_slice(gets[i].blob), blob_slice(records[i])));
            blob_unref(gets[i].blob);
            blob_unref(records[i]);
            free(entries[i]);
        }
    }
}

/* -- walks -- */

struct walk {
    struct tier_scan scan; /* first */
    struct world *world;
    struct buf cursor;
    unsigned pages, items, in_page;
    unsigned seen[MANY];
};

static void on_item(struct tier_scan *scan, const struct tier_item *item, struct blob *blob)
{
    struct walk *walk = (struct walk *)scan;
    char id[ENTRY_ID_LEN + 1] = "";
    unsigned n;

    assert_int_equal(item->label.id.len, ENTRY_ID_LEN);
    memcpy(id, item->label.id.data, ENTRY_ID_LEN);
    n = (unsigned)strtoul(id, NULL, 16);
    assert_true(n < MANY);
    walk->seen[n]++;
    walk->items++;
    walk->in_page++;
    {
        struct digest key = key_of(n);
        struct record_seen seen;

        assert_true(digest_eq(&item->label.key, &key));
        assert_true(slice_eq(item->label.tags, SLICE_OF("faq,en")));
        assert_true(slice_eq(item->label.operation, SLICE_OF("chat")));
        assert_true(slice_eq(item->label.namespace_, n % 2 ? SLICE_OF("odd") : SLICE_OF("even")));
        assert_int_equal(item->label.created_ms, walk->world->now_ms);
        assert_int_equal(item->label.started_seq, 1000 + n);
        assert_true(item->gone_ms > walk->world->now_ms);
        assert_int_equal(blob != NULL, scan->wants_blobs);
        if (!blob)
            return;
        assert_int_equal(record_read(blob_slice(blob), &key, &codec, &seen), RECORD_OK);
        entry_box_unref(seen.box);
    }
}

static void walk_all(struct world *w, struct walk *walk, const struct selector *which, bool wants_blobs,
                     size_t page)
{
    *walk = (struct walk){.world = w, .cursor = BUF_INIT(1 << 20)};
    do {
        walk->scan = (struct tier_scan){.op = op_of(w),
                                        .which = which,
                                        .wants_blobs = wants_blobs,
                                        .page_max = page,
                                        .cursor = &walk->cursor,
                                        .on_item = on_item};
        walk->in_page = 0;
        w->tier->ops->scan(w->port, &walk->scan);
        await_all(w);
        assert_int_equal(walk->scan.op.result, TIER_OK);
        walk->pages++;
        assert_true(walk->pages < 100000);
    } while (walk->cursor.len > 0);
    buf_done(&walk->cursor);
}

static void a_walk_sees_all(struct world *w)
{
    const struct selector odd = {.namespace_ = SLICE("odd")};
    struct walk *walk = malloc(sizeof(*walk));
    unsigned strangers = 0;

    assert_non_null(walk);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(put(w, &(struct sample){.n = i,
                                                 .tags = "faq,en",
                                                 .namespace_ = i % 2 ? "odd" : "even",
                                                 .seq = 1000 + i}),
                         TIER_OK);
    walk_all(w, walk, NULL, false, 50);
    for (unsigned i = 0; i < MANY; i++)
        assert_true(walk->seen[i] >= 1);
    assert_true(walk->pages > 2);
    walk_all(w, walk, &odd, true, 0);
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(i % 2 == 0 || walk->seen[i] >= 1);
        strangers += i % 2 == 0 && walk->seen[i] > 0;
    }
    assert_true(strangers == 0); /* all of them tell namespaces */
    clear(w);
    walk_all(w, walk, NULL, true, 50);
    assert_int_equal(walk->items, 0);
    free(walk);
}

static void what_is_there_all_the_time_is_seen(struct world *w)
{
    struct walk *walk = malloc(sizeof(*walk));

    assert_non_null(walk);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(put(w, &(struct sample){.n = i,
                                                 .tags = "faq,en",
                                                 .namespace_ = i % 2 ? "odd" : "even",
                                                 .seq = 1000 + i}),
                         TIER_OK);
    *walk = (struct walk){.world = w, .cursor = BUF_INIT(1 << 20)};
    for (unsigned at = 0; at == 0 || walk->cursor.len > 0; at++) {
        walk->scan =
            (struct tier_scan){.op = op_of(w), .page_max = 20, .cursor = &walk->cursor, .on_item = on_item};
        w->tier->ops->scan(w->port, &walk->scan);
        await_all(w);
        assert_int_equal(walk->scan.op.result, TIER_OK);
        if (2 * at + 1 < 300) { /* some come, some go */
            (void)remove_only(w, &(struct sample){.n = 2 * at + 1, .namespace_ = "odd"}, NULL);
            assert_int_equal(put(w, &(struct sample){.n = 300 + at % 300,
                                                     .tags = "faq,en",
                                                     .namespace_ = at % 2 ? "odd" : "even",
                                                     .seq = 1300 + at % 300}),
                             TIER_OK);
        }
    }
    for (unsigned i = 0; i < 300; i += 2)
        assert_true(walk->seen[i] >= 1);
    buf_done(&walk->cursor);
    free(walk);
}

/* -- deleting what matches -- */

static void fill_for_selectors(struct world *w)
{
    assert_int_equal(put(w, &(struct sample){.n = 0, .tags = "faq,en"}), TIER_OK);
    assert_int_equal(put(w, &(struct sample){.n = 1, .tags = "en", .namespace_ = "team"}), TIER_OK);
    assert_int_equal(put(w, &(struct sample){.n = 2, .operation = "embedding", .model = "ada"}), TIER_OK);
    assert_int_equal(put(w, &(struct sample){.n = 3, .model = "gpt-4o-mini"}), TIER_OK);
    assert_int_equal(put(w, &(struct sample){.n = 4, .created_ms = w->now_ms - HOUR_MS}), TIER_OK);
    assert_int_equal(put(w, &(struct sample){.n = 5,
                                             .operation = "read",
                                             .model = "",
                                             .target = UINT64_C(0xFEDCBA9876543210)}),
                     TIER_OK);
    assert_int_equal(put(w, &(struct sample){.n = 6, .family = true, .tags = "faq", .body_len = 40}),
                     TIER_OK);
}

static const char *const selector_namespaces[] = {"default", "team",    "default", "default",
                                                  "default", "default", "default"};
static const char *const selector_operations[] = {"chat", "chat", "embedding", "chat",
                                                  "chat", "read", "chat"};
static const char *const selector_models[] = {"gpt-4o", "gpt-4o", "ada",   "gpt-4o-mini",
                                              "gpt-4o", "",       "gpt-4o"};

static unsigned who_is_there(struct world *w)
{
    unsigned there = 0;

    for (unsigned i = 0; i < ARRAY_LEN(selector_models); i++)
        if (is_there(w, &(struct sample){.n = i,
                                         .namespace_ = selector_namespaces[i],
                                         .operation = selector_operations[i],
                                         .model = selector_models[i]}))
            there |= 1U << i;
    return there;
}

static void what_matches_is_deleted_and_nothing_else(struct world *w)
{
    const struct {
        const char *why;
        struct selector which;
        unsigned matched; /* numbers, as bits */
        unsigned entries; /* of them */
    } cases[] = {
        {"by id", {.id = SLICE("00000000000000000000000000000001")}, 1 << 1, 1},
        {"by tag", {.tag = SLICE("faq")}, 1 << 0 | 1 << 6, 1},
        {"by tag, whole ones", {.tag = SLICE("fa")}, 0, 0},
        {"by operation", {.operation = SLICE("embedding")}, 1 << 2, 1},
        {"by model", {.model = SLICE("gpt-4o-mini")}, 1 << 3, 1},
        {"by models", {.model = SLICE("gpt-4o*")}, 0x5B, 4},
        {"by namespace", {.namespace_ = SLICE("team")}, 1 << 1, 1},
        {"by pattern", {.pattern = SLICE("default:embedding:*")}, 1 << 2, 1},
        {"by a pattern for all", {.pattern = SLICE("*")}, 0x7F, 6},
        {"by age", {.created_before_ms = w->now_ms - HOUR_MS / 2}, 1 << 4, 1},
        {"by target", {.target = UINT64_C(0xFEDCBA9876543210)}, 1 << 5, 1},
        {"by two at once", {.tag = SLICE("en"), .namespace_ = SLICE("default")}, 1 << 0, 1},
        {"by two that never meet", {.tag = SLICE("faq"), .operation = SLICE("embedding")}, 0, 0},
        {"all", {.tag = {NULL, 0}}, 0x7F, 6},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t would, did;

        fill_for_selectors(w);
        assert_int_equal(who_is_there(w), 0x7F);
        would = delete_if(w, &cases[i].which, true);
        if (who_is_there(w) != 0x7F)
            fail_msg("%s, %s: a dry run has deleted something", w->place->name, cases[i].why);
        did = delete_if(w, &cases[i].which, false);
        if (would != cases[i].entries || did != cases[i].entries)
            fail_msg("%s, %s: would delete %u, has deleted %u, should have %u", w->place->name, cases[i].why,
                     (unsigned)would, (unsigned)did, cases[i].entries);
        if (who_is_there(w) != (0x7F & ~cases[i].matched))
            fail_msg("%s, %s: left is %x", w->place->name, cases[i].why, who_is_there(w));
    }
}

static void many_are_deleted_in_steps(struct world *w)
{
    const struct selector odd = {.namespace_ = SLICE("odd")}, all = {.tag = {NULL, 0}};

    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(put(w, &(struct sample){.n = i, .namespace_ = i % 3 ? "even" : "odd"}), TIER_OK);
    assert_int_equal(delete_if(w, &odd, false), MANY / 3);
    assert_int_equal(delete_if(w, &odd, false), 0);
    assert_int_equal(delete_if(w, &all, true), MANY - MANY / 3);
    assert_int_equal(delete_if(w, &all, false), MANY - MANY / 3);
}

/* -- what a tier tells -- */

static void it_tells_what_it_holds(struct world *w)
{
    struct tier_stats st = {0};
    struct tier_state state = {0};

    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(put(w, &(struct sample){.n = i, .body_len = 1000}), TIER_OK);
    w->tier->ops->stats(w->tier, &st);
    if (st.entries != UINT64_MAX)
        assert_int_equal(st.entries, 20);
    if (st.bytes != UINT64_MAX)
        assert_true(st.bytes >= 20 * 1000);
    assert_int_equal(st.errors[TIER_FAILED], 0);
    w->tier->ops->state(w->tier, &state);
    assert_int_equal(state.health, TIER_UP);
}

/* -- deadlines and ends -- */

static void who_does_not_answer_is_waited_for_no_longer_than_said(struct world *w)
{
    struct tier_get g = {.op = op_of(w), .label = label_for(&(struct sample){.n = 1})};
    int64_t before = clock_mono_ms();

    if (!w->place->freezes) {
        w->waits--;
        return;
    }
    redis_server_freeze(w->server);
    g.op.deadline_ms = 50;
    w->tier->ops->get(w->port, &g);
    await_all(w);
    assert_int_equal(g.op.result, TIER_LATE);
    assert_in_range(clock_mono_ms() - before, 45, 5000);
    redis_server_thaw(w->server);
    assert_int_equal(put(w, &(struct sample){.n = 1}), TIER_OK); /* and goes on */
    assert_true(is_there(w, &(struct sample){.n = 1}));
}

static void on_closed(struct tier_op *op)
{
    op->own = NULL;
    current->waits--;
}

static void closing_ends_what_is_under_way(struct world *w)
{
    struct tier_port *port = w->tier->ops->open(w->tier, w->loop);
    struct tier_get gets[AT_ONCE];
    struct tier_put puts[AT_ONCE];
    struct entry *e = entry_of(w, &(struct sample){.n = 1});
    struct blob *b = record_of(e);

    assert_non_null(port);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        gets[i] = (struct tier_get){.op = op_of(w), .label = label_of(e)};
        gets[i].op.on_done = on_closed;
        port->tier->ops->get(port, &gets[i]);
        puts[i] = (struct tier_put){.op = op_of(w), .item = {label_of(e), e->gone_ms}, .blob = b};
        puts[i].op.on_done = on_closed;
        port->tier->ops->put(port, &puts[i]);
    }
    port->tier->ops->close(port);
    assert_int_equal(w->waits, 0);
    for (unsigned i = 0; i < AT_ONCE; i++)
        blob_unref(gets[i].blob);
    blob_unref(b);
    free(e);
    assert_int_equal(put(w, &(struct sample){.n = 2}), TIER_OK); /* the other port is as it was */
}

/* -- several threads -- */

struct other {
    struct world world;
    pthread_t thread;
    unsigned from;
};

static _Thread_local struct world *own_world;

static void on_own_done(struct tier_op *op)
{
    (void)op;
    loop_stop(own_world->loop);
}

static bool round_trip(struct world *w, unsigned n)
{
    struct entry *e = entry_of(w, &(struct sample){.n = n, .body_len = 500});
    struct blob *b = record_of(e);
    struct tier_put put_op = {
        .op = {.on_done = on_own_done, .deadline_ms = ASK_MS}, .item = {label_of(e), e->gone_ms}, .blob = b};
    struct tier_get get_op = {.op = {.on_done = on_own_done, .deadline_ms = ASK_MS}, .label = label_of(e)};
    bool ok;

    w->tier->ops->put(w->port, &put_op);
    loop_run(w->loop);
    w->tier->ops->get(w->port, &get_op);
    loop_run(w->loop);
    ok = put_op.op.result == TIER_OK && get_op.blob && slice_eq(blob_slice(get_op.blob), blob_slice(b));
    blob_unref(get_op.blob);
    blob_unref(b);
    free(e);
    return ok;
}

static void *other_main(void *arg)
{
    struct other *o = arg;
    uintptr_t failed = 0;

    own_world = &o->world;
    for (unsigned i = 0; i < 100; i++)
        failed += round_trip(&o->world, o->from + i) ? 0 : 1;
    return (void *)failed;
}

static void each_thread_has_a_port(struct world *w)
{
    struct other others[3];

    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        struct other *o = &others[i];

        *o = (struct other){.world = {.tier = w->tier, .now_ms = w->now_ms}, .from = 1000 * i};
        o->world.loop = loop_new();
        o->world.port = w->tier->ops->open(w->tier, o->world.loop);
        assert_int_equal(pthread_create(&o->thread, NULL, other_main, o), 0);
    }
    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        void *failed = NULL;

        assert_int_equal(pthread_join(others[i].thread, &failed), 0);
        assert_null(failed);
        w->tier->ops->close(others[i].world.port);
        loop_free(others[i].world.loop);
    }
}

static const struct {
    const char *name;
    void (*run)(struct world *w);
} cases[] = {
    {"what was never put is absent", what_was_never_put_is_absent},
    {"what is put is got byte for byte", what_is_put_is_got_byte_for_byte},
    {"the last put is what is there", the_last_put_is_what_is_there},
    {"who began later wins where that is asked", who_began_later_wins_where_that_is_asked},
    {"what is removed is gone", what_is_removed_is_gone},
    {"only these bytes are removed", only_these_bytes_are_removed},
    {"bytes are bytes", bytes_are_bytes},
    {"lifetimes end", lifetimes_end},
    {"any name will do", any_name_will_do},
    {"many at a time", many_at_a_time},
    {"a walk sees all", a_walk_sees_all},
    {"what is there all the time is seen", what_is_there_all_the_time_is_seen},
    {"what matches is deleted, and nothing else", what_matches_is_deleted_and_nothing_else},
    {"many are deleted in steps", many_are_deleted_in_steps},
    {"it tells what it holds", it_tells_what_it_holds},
    {"who does not answer is waited for no longer than said",
     who_does_not_answer_is_waited_for_no_longer_than_said},
    {"closing ends what is under way", closing_ends_what_is_under_way},
    {"each thread has a port", each_thread_has_a_port},
};

static const struct place *chosen; /* of the program's argument */

static void every_promise_holds(void **state)
{
    struct world *w = world_new(chosen);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("%s: %s\n", chosen->name, cases[i].name);
        w->now_ms = clock_wall_ms();
        cases[i].run(w);
        clear(w);
    }
    world_free(w);
}

/* test_tiers [NAME]: one place, or all. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_promise_holds)};
    int failed = 0;

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        chosen = &places[i];
        if (argc < 2 || strcmp(argv[1], chosen->name) == 0)
            failed += cmocka_run_group_tests_name(chosen->name, tests, NULL, NULL);
    }
    return failed;
}
