/*
 * store_redis: what is Redis's own about the tier (names, expiry, who wins, other people's keys, rights);
 * what every tier must do is told by test_tiers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_server.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/store_redis.h"
#include "refrain/wire/dialect.h"

enum { GIVE_UP_MS = 20 * 1000 };

struct fixture {
    struct redis_server *server;
    struct loop *loop;
    struct tier *tier;
    struct tier_port *port;
    struct seal_keys *keys; /* NULL: none */
    unsigned notices;
    enum store_redis_notice_kind kind;
    enum redis_cause cause;
    bool up;
    char detail[256];
    const struct tier_op *awaited;
    bool came;
    struct loop_timer *give_up;
};

static void on_notice(void *arg, const struct store_redis_notice *n)
{
    struct fixture *f = arg;

    f->notices++;
    f->kind = n->kind;
    f->cause = n->cause;
    f->up = n->up;
    (void)snprintf(f->detail, sizeof(f->detail), "%s", n->detail);
}

static void on_give_up(void *arg)
{
    (void)arg;
    abort();
}

static void fixture_open(struct fixture *f, struct store_redis_conf conf)
{
    conf.redis.host = "127.0.0.1";
    conf.redis.port = (uint16_t)redis_server_port(f->server);
    conf.redis.timeout_ms = conf.redis.timeout_ms ? conf.redis.timeout_ms : 5000;
    conf.redis.connect_timeout_ms = 5000;
    conf.write_timeout_ms = 5000;
    conf.prefix = "refrain";
    conf.codec.keys = f->keys;
    conf.on_notice = on_notice;
    conf.arg = f;
    f->loop = loop_new();
    f->give_up = loop_timer_new(f->loop, on_give_up, NULL);
    f->tier = store_redis_new(&conf);
    assert_non_null(f->tier);
    f->port = f->tier->ops->open(f->tier, f->loop);
    assert_non_null(f->port);
}

static void fixture_init(struct fixture *f, const struct redis_server_conf *server)
{
    memset(f, 0, sizeof(*f));
    f->server = redis_server_new(server);
    fixture_open(f, (struct store_redis_conf){.redis.username = server ? server->user : NULL,
                                              .redis.password = server ? server->password : NULL});
}

static void fixture_close(struct fixture *f)
{
    f->tier->ops->close(f->port);
    tier_free(f->tier);
    loop_timer_free(f->give_up);
    loop_free(f->loop);
}

static void fixture_done(struct fixture *f)
{
    fixture_close(f);
    seal_keys_free(f->keys);
    redis_server_free(f->server);
}

static struct fixture *current; /* cmocka runs one test at a time */

static void on_done(struct tier_op *op)
{
    assert_ptr_equal(op, current->awaited);
    current->came = true;
    loop_stop(current->loop);
}

static enum tier_result await(struct fixture *f, struct tier_op *op)
{
    assert_false(f->came); /* never within the call */
    loop_timer_start(f->give_up, GIVE_UP_MS, 0);
    loop_run(f->loop);
    loop_timer_stop(f->give_up);
    assert_true(f->came);
    return op->result;
}

static void begin(struct fixture *f, struct tier_op *op)
{
    current = f;
    f->awaited = op;
    f->came = false;
    op->on_done = on_done;
}

/* -- entries -- */

struct sample {
    const char *namespace_, *operation, *model, *tags;
    uint8_t key;
    int64_t seq;
    const char *body;
    bool family;
};

static struct entry_parts parts_of(const struct sample *s, struct slice *body)
{
    *body = slice_str(s->body ? s->body : s->family ? "" : "{}"); /* a list of no variants */
    return (struct entry_parts){
        .head = {.id = {"0123456789abcdef0123456789abcdef"},
                 .key = {{s->key}},
                 .created_ms = 1700000000000 + s->key,
                 .expires_ms = INT64_MAX,
                 .gone_ms = INT64_MAX,
                 .max_expires_ms = INT64_MAX,
                 .started_seq = s->seq,
                 .status = s->family ? 0 : 200,
                 .flags = s->family ? ENTRY_VARY : 0,
                 .operation = OP_CHAT},
        .namespace_ = slice_str(s->namespace_ ? s->namespace_ : "default"),
        .model = slice_str(s->model ? s->model : "gpt-4o"),
        .tags = slice_str(s->tags ? s->tags : ""),
        .op_name = slice_str(s->operation ? s->operation : "chat"),
        .body = body,
        .body_n = 1,
    };
}

static struct label label_of_sample(const struct sample *s)
{
    struct slice body;
    struct entry_parts p = parts_of(s, &body);

    return (struct label){.key = p.head.key,
                          .namespace_ = p.namespace_,
                          .operation = p.op_name,
                          .model = p.model,
                          .tags = p.tags,
                          .created_ms = p.head.created_ms,
                          .started_seq = s->seq,
                          .family = s->family};
}

static struct blob *record_of(struct fixture *f, const struct sample *s)
{
    struct slice body;
    struct entry_parts p = parts_of(s, &body);
    struct entry *e = malloc(entry_packed_size(&p));
    const struct record_codec codec = {f->keys};
    struct blob *b = NULL;

    entry_pack(&p, e);
    assert_int_equal(record_pack(e, e->expires_ms, 1, &codec, &b), RECORD_OK);
    free(e);
    return b;
}

static enum tier_result put_blob(struct fixture *f, const struct sample *s, struct blob *b, bool only_newer,
                                 int64_t gone_ms)
{
    struct tier_put put = {.item = {label_of_sample(s), gone_ms}, .blob = b, .only_newer = only_newer};

    begin(f, &put.op);
    f->tier->ops->put(f->port, &put);
    return await(f, &put.op);
}

static enum tier_result put_sample(struct fixture *f, const struct sample *s, bool only_newer)
{
    struct blob *b = record_of(f, s);
    enum tier_result r = put_blob(f, s, b, only_newer, INT64_MAX);

    blob_unref(b);
    return r;
}

static enum tier_result get(struct fixture *f, const struct sample *s, struct blob **out)
{
    struct tier_get g = {.label = label_of_sample(s)};
    enum tier_result r;

    begin(f, &g.op);
    f->tier->ops->get(f->port, &g);
    r = await(f, &g.op);
    *out = g.blob;
    return r;
}

static enum tier_result remove_(struct fixture *f, const struct sample *s, const struct blob *only)
{
    struct tier_delete d = {.label = label_of_sample(s), .only = only};

    begin(f, &d.op);
    f->tier->ops->remove(f->port, &d);
    return await(f, &d.op);
}

static void assert_holds(struct fixture *f, const struct sample *s)
{
    struct blob *want = record_of(f, s), *is = NULL;

    assert_int_equal(get(f, s, &is), TIER_OK);
    if (f->keys) /* sealed anew each time: as long, at least */
        assert_int_equal(is->len, want->len);
    else
        assert_true(slice_eq(blob_slice(is), blob_slice(want)));
    blob_unref(is);
    blob_unref(want);
}

static const char *name_of(const struct sample *s)
{
    static char text[512];
    struct buf b = {text, 0, sizeof(text) - 1, sizeof(text) - 1};
    struct label l = label_of_sample(s);

    assert_int_equal(tier_name(&b, SLICE_OF("refrain"), &l), 0);
    text[b.len] = '\0';
    return text;
}

/* -- tests -- */

static void test_names_are_for_operators_and_expiry_is_redis_own(void **state)
{
    const struct sample s = {.key = 1, .model = "gpt 4o:mini"};
    struct fixture f;
    struct blob *b, *none = NULL;
    char *ttl;

    (void)state;
    fixture_init(&f, NULL);
    b = record_of(&f, &s);
    assert_int_equal(put_blob(&f, &s, b, false, clock_wall_ms() + 3600 * 1000), TIER_OK);
    assert_string_equal(name_of(&s), "refrain:default:chat:gpt_4o_mini:"
                                     "0100000000000000000000000000000000000000000000000000000000000000");
    ttl = redis_server_ask(f.server, "PTTL %s", name_of(&s));
    assert_in_range(atoll(ttl), 3500 * 1000, 3600 * 1000);
    free(ttl);
    assert_int_equal(put_blob(&f, &s, b, true, INT64_MAX), TIER_OK);
    assert_true(redis_server_says(f.server, "-1", "PTTL %s", name_of(&s)));
    assert_int_equal(put_blob(&f, &s, b, true, clock_wall_ms() + 3600 * 1000), TIER_OK);
    ttl = redis_server_ask(f.server, "PTTL %s", name_of(&s));
    assert_in_range(atoll(ttl), 3500 * 1000, 3600 * 1000);
    free(ttl);
    assert_int_equal(remove_(&f, &s, NULL), TIER_OK);
    assert_int_equal(put_blob(&f, &s, b, true, clock_wall_ms() - 1), TIER_OK); /* nothing to keep */
    assert_int_equal(get(&f, &s, &none), TIER_ABSENT);
    blob_unref(b);
    fixture_done(&f);
}

static void the_later_started_wins(struct fixture *f)
{
    const struct sample first = {.key = 1, .seq = 100, .body = "{\"n\":1}"};
    const struct sample second = {.key = 1, .seq = 200, .body = "{\"n\":22}"};

    assert_int_equal(put_sample(f, &first, true), TIER_OK);
    assert_holds(f, &first);
    assert_int_equal(put_sample(f, &second, true), TIER_OK);
    assert_holds(f, &second);
    assert_int_equal(put_sample(f, &first, true), TIER_OK);
    assert_holds(f, &second);
    assert_int_equal(put_sample(f, &first, false), TIER_OK);
    assert_holds(f, &first);
}

static void test_the_later_started_wins(void **state)
{
    struct fixture f;
    uint8_t key[SEAL_KEY_BYTES] = {7};

    (void)state;
    fixture_init(&f, NULL);
    the_later_started_wins(&f);
    fixture_done(&f);

    memset(&f, 0, sizeof(f)); /* the same where nobody but us can read how late it began */
    f.server = redis_server_new(NULL);
    f.keys = seal_keys_new();
    assert_int_equal(seal_keys_add(f.keys, key), 0);
    fixture_open(&f, (struct store_redis_conf){0});
    the_later_started_wins(&f);
    fixture_done(&f);
}

/* Whatever lies under our name, of whatever type, is no record: a miss, and put over. */
static void test_what_is_no_record_is_put_over(void **state)
{
    const struct sample s = {.key = 1, .seq = 1};
    static const char *const makes[] = {"SET %s rubbish", "LPUSH %s rubbish", "SADD %s rubbish"};
    struct fixture f;

    (void)state;
    fixture_init(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(makes); i++) {
        char command[600];
        struct blob *b = NULL;

        (void)snprintf(command, sizeof(command), "%.*s%s%s", (int)strcspn(makes[i], "%"), makes[i],
                       name_of(&s), strstr(makes[i], "%s") + 2);
        free(redis_server_ask(f.server, "DEL %s", name_of(&s)));
        free(redis_server_ask(f.server, "%s", command));
        assert_int_equal(get(&f, &s, &b), i == 0 ? TIER_OK : TIER_ABSENT);
        blob_unref(b);
        assert_int_equal(put_sample(&f, &s, true), TIER_OK);
        assert_holds(&f, &s);
    }
    assert_int_equal(f.notices, 1); /* it came up; nothing of this is an operator's business */
    fixture_done(&f);
}

static void test_only_what_was_meant_is_removed(void **state)
{
    const struct sample s = {.key = 1, .body = "{\"n\":1}"}, other = {.key = 1, .body = "{\"n\":2}"};
    struct fixture f;
    struct blob *b, *not_it;

    (void)state;
    fixture_init(&f, NULL);
    b = record_of(&f, &s);
    not_it = record_of(&f, &other);
    assert_int_equal(remove_(&f, &s, b), TIER_ABSENT);
    assert_int_equal(put_sample(&f, &s, false), TIER_OK);
    assert_int_equal(remove_(&f, &s, not_it), TIER_ABSENT);
    assert_holds(&f, &s);
    assert_int_equal(remove_(&f, &s, b), TIER_OK);
    assert_int_equal(remove_(&f, &s, NULL), TIER_ABSENT);
    free(redis_server_ask(f.server, "LPUSH %s x", name_of(&s)));
    assert_int_equal(remove_(&f, &s, b), TIER_ABSENT);
    blob_unref(b);
    blob_unref(not_it);
    fixture_done(&f);
}

static void test_what_is_too_large_is_refused(void **state)
{
    static char text[6000];
    const struct sample s = {.key = 1, .body = text}, small = {.key = 2};
    struct fixture f = {0};
    struct blob *b = NULL;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    fixture_init(&f, NULL);
    assert_int_equal(put_sample(&f, &s, false), TIER_OK);
    fixture_close(&f);

    fixture_open(&f, (struct store_redis_conf){.redis.bulk_bytes_max = 4000});
    assert_int_equal(put_sample(&f, &s, false), TIER_REFUSED);
    assert_int_equal(get(&f, &s, &b), TIER_REFUSED); /* another instance's, which takes larger ones */
    assert_int_equal(put_sample(&f, &small, false), TIER_OK);
    assert_holds(&f, &small);
    fixture_done(&f);
}

/* -- walks -- */

struct seen {
    unsigned items, families;
    char keys[1024]; /* the first byte of each, as "03 " */
    bool wants_blobs;
    struct fixture *fixture;
};
static struct seen seen;

static void on_item(struct tier_scan *scan, const struct tier_item *item, struct blob *blob)
{
    size_t at = strlen(seen.keys);

    assert_true(scan->wants_blobs == (blob != NULL));
    seen.items++;
    seen.families += item->label.family;
    (void)snprintf(seen.keys + at, sizeof(seen.keys) - at, "%02x ", item->label.key.bytes[0]);
}

static void walk(struct fixture *f, const struct selector *which, bool wants_blobs)
{
    struct buf cursor = BUF_INIT(256);
    unsigned pages = 0;

    memset(&seen, 0, sizeof(seen));
    do {
        struct tier_scan scan = {
            .which = which, .wants_blobs = wants_blobs, .page_max = 3, .cursor = &cursor, .on_item = on_item};

        begin(f, &scan.op);
        f->tier->ops->scan(f->port, &scan);
        assert_int_equal(await(f, &scan.op), TIER_OK);
        assert_true(++pages < 10000);
    } while (cursor.len > 0);
    buf_done(&cursor);
}

static uint64_t delete_if(struct fixture *f, const struct selector *which, bool dry_run)
{
    struct tier_delete_if d = {.which = which, .dry_run = dry_run};

    begin(f, &d.op);
    f->tier->ops->delete_if(f->port, &d);
    assert_int_equal(await(f, &d.op), TIER_OK);
    return d.matched;
}

static void fill(struct fixture *f)
{
    static const struct sample samples[] = {
        {.key = 1, .namespace_ = "a", .tags = "faq,en"},
        {.key = 2, .namespace_ = "a", .model = "gpt:4"},
        {.key = 3, .namespace_ = "b", .operation = "embedding", .tags = "en"},
        {.key = 4, .namespace_ = "b", .operation = "summarize"},
        {.key = 5, .namespace_ = "b", .model = "", .family = true},
    };

    for (size_t i = 0; i < ARRAY_LEN(samples); i++)
        assert_int_equal(put_sample(f, &samples[i], true), TIER_OK);
    free(redis_server_ask(f->server, "SET others:default:chat:gpt-4o:%064d x", 0));
    free(redis_server_ask(f->server, "SET refrain:events x"));
    free(redis_server_ask(f->server, "SET refrain:default:chat:gpt-4o:short x"));
    free(redis_server_ask(f->server, "SET refrainer:default:chat:gpt-4o:%064d x", 0));
    free(redis_server_ask(f->server, "LPUSH refrain:default:chat:gpt-4o:%064d x", 1));
}

static void test_walks_meet_what_is_ours_alone(void **state)
{
    const struct selector by_tag = {.tag = SLICE("en")}, by_namespace = {.namespace_ = SLICE("b")},
                          by_model = {.model = SLICE("gpt:*")}, all = {0},
                          by_pattern = {.pattern = SLICE("b:summarize:*")},
                          by_age = {.created_before_ms = 1700000000002},
                          by_id = {.id = SLICE("0123456789abcdef0123456789abcdef")},
                          by_no_id = {.id = SLICE("1123456789abcdef0123456789abcdef")};
    static const struct selector wild = {.namespace_ = SLICE("*")};
    struct fixture f;

    (void)state;
    fixture_init(&f, NULL);
    fill(&f);
    walk(&f, NULL, false);
    assert_int_equal(seen.items, 5);
    assert_int_equal(seen.families, 1);
    walk(&f, &by_tag, true);
    assert_int_equal(seen.items, 2);
    assert_non_null(strstr(seen.keys, "01 "));
    assert_non_null(strstr(seen.keys, "03 "));
    walk(&f, &by_model, false);
    assert_string_equal(seen.keys, "02 ");
    walk(&f, &by_age, false);
    assert_string_equal(seen.keys, "01 ");
    walk(&f, &by_pattern, false);
    assert_string_equal(seen.keys, "04 ");
    walk(&f, &wild, false); /* a name, no pattern */
    assert_string_equal(seen.keys, "");
    assert_int_equal(delete_if(&f, &by_namespace, true), 2); /* the third is no entry */
    assert_int_equal(delete_if(&f, &by_no_id, false), 0);
    walk(&f, &by_id, false);
    assert_int_equal(seen.items, 5);
    assert_int_equal(delete_if(&f, &by_namespace, false), 2);
    walk(&f, NULL, false);
    assert_int_equal(seen.items, 2);
    assert_int_equal(delete_if(&f, &all, false), 2);
    walk(&f, NULL, false);
    assert_int_equal(seen.items, 0);
    assert_true(redis_server_says(f.server, "5", "DBSIZE"));
    assert_int_equal(redis_server_calls(f.server, "keys"), 0);
    assert_int_equal(redis_server_calls(f.server, "flushdb"), 0);
    fixture_done(&f);
}

/* Sealed by a key we have not, or no record at all: still found by its name, so that it can be deleted. */
static void test_what_cannot_be_read_is_found_by_its_name(void **state)
{
    const struct selector by_namespace = {.namespace_ = SLICE("a")}, by_tag = {.tag = SLICE("faq")};
    const struct sample s = {.key = 1, .namespace_ = "a", .tags = "faq"};
    struct fixture f = {0};
    uint8_t key[SEAL_KEY_BYTES] = {7};

    (void)state;
    f.server = redis_server_new(NULL);
    f.keys = seal_keys_new();
    assert_int_equal(seal_keys_add(f.keys, key), 0);
    fixture_open(&f, (struct store_redis_conf){0});
    assert_int_equal(put_sample(&f, &s, true), TIER_OK);
    assert_int_equal(delete_if(&f, &by_tag, true), 1);
    fixture_close(&f);
    seal_keys_free(f.keys);
    f.keys = NULL;
    fixture_open(&f, (struct store_redis_conf){0});
    assert_int_equal(delete_if(&f, &by_tag, false), 0);
    assert_int_equal(delete_if(&f, &by_namespace, false), 1);
    fixture_done(&f);
}

static void test_thousands_are_walked(void **state)
{
    enum { N = 3000 };
    struct fixture f;
    struct selector all = {0};
    char script[512];

    (void)state;
    fixture_init(&f, NULL);
    (void)snprintf(script, sizeof(script),
                   "EVAL \"for i=1,%d do "
                   "redis.call('SET','refrain:a:chat:m:'..string.format('%%064x',i),'x') end\" 0",
                   N);
    free(redis_server_ask(f.server, "%s", script));
    walk(&f, NULL, false);
    if (seen.items < N)
        fail_msg("%u of %d", seen.items, N);
    assert_int_equal(delete_if(&f, &all, false), N);
    assert_true(redis_server_says(f.server, "0", "DBSIZE"));
    fixture_done(&f);
}

static void test_a_cursor_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {
        "x", ":", "1:", ":1", "1:x", "99999999999:0", "1:123456789012345678901234"};
    struct fixture f;

    (void)state;
    fixture_init(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf cursor = BUF_INIT(256);
        struct tier_scan scan = {.cursor = &cursor, .on_item = on_item};

        assert_int_equal(buf_add(&cursor, bad[i], strlen(bad[i])), 0);
        begin(&f, &scan.op);
        f.tier->ops->scan(f.port, &scan);
        if (await(&f, &scan.op) != TIER_REFUSED)
            fail_msg("%s", bad[i]);
        buf_done(&cursor);
    }
    fixture_done(&f);
}

/* -- trouble -- */

static void test_least_rights_are_enough(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, &(struct redis_server_conf){.user = "refrain", .password = "x"});
    the_later_started_wins(&f);
    walk(&f, NULL, true);
    assert_int_equal(seen.items, 1);
    assert_int_equal(f.notices, 1);
    fixture_done(&f);
}

static void test_a_refusal_is_told_once(void **state)
{
    const struct sample s = {.key = 1};
    struct fixture f;

    (void)state;
    fixture_init(&f, NULL);
    assert_int_equal(put_sample(&f, &s, false), TIER_OK);
    free(redis_server_ask(f.server, "CONFIG SET maxmemory 1"));
    for (int i = 0; i < 3; i++)
        assert_int_equal(put_sample(&f, &s, false), TIER_FULL);
    assert_int_equal(f.notices, 2);
    assert_int_equal(f.kind, STORE_REDIS_REFUSAL);
    assert_true(strncmp(f.detail, "OOM ", 4) == 0);
    assert_holds(&f, &s); /* reading goes on */
    fixture_done(&f);
}

static void test_state_is_told_once_for_each_change(void **state)
{
    const struct sample s = {.key = 1};
    struct tier_state is;
    struct fixture f;
    struct blob *b = NULL;

    (void)state;
    fixture_init(&f, NULL);
    f.tier->ops->state(f.tier, &is);
    assert_int_equal(is.health, TIER_IS_DOWN);
    assert_int_equal(get(&f, &s, &b), TIER_ABSENT); /* waits for the connection */
    f.tier->ops->state(f.tier, &is);
    assert_int_equal(is.health, TIER_UP);
    assert_true(f.notices == 1 && f.up);
    redis_server_kill(f.server);
    while (get(&f, &s, &b) != TIER_DOWN || f.cause != REDIS_UNREACHABLE)
        continue;
    for (int i = 0; i < 100; i++)
        assert_int_equal(get(&f, &s, &b), TIER_DOWN);
    assert_in_range(f.notices, 2, 3); /* closed, then unreachable; however often it is tried */
    f.tier->ops->state(f.tier, &is);
    assert_int_equal(is.health, TIER_IS_DOWN);
    assert_string_equal(is.why, redis_cause_text(REDIS_UNREACHABLE));
    redis_server_restart(f.server);
    while (get(&f, &s, &b) != TIER_ABSENT)
        continue;
    assert_true(f.up);
    fixture_done(&f);
}

static void test_closing_brings_everything_back(void **state)
{
    const struct sample s = {.key = 1};
    const struct selector all = {0};
    struct tier_get g = {.label = label_of_sample(&s)};
    struct tier_delete_if d = {.which = &all};
    struct fixture f;

    (void)state;
    fixture_init(&f, NULL);
    assert_int_equal(put_sample(&f, &s, true), TIER_OK);
    redis_server_freeze(f.server);
    begin(&f, &g.op);
    f.tier->ops->get(f.port, &g);
    f.tier->ops->close(f.port);
    assert_true(f.came);
    assert_int_equal(g.op.result, TIER_DOWN);
    redis_server_thaw(f.server);

    f.port = f.tier->ops->open(f.tier, f.loop);
    {
        struct tier_put gone = {.item = {label_of_sample(&s), 1}, .blob = blob_new(1)};

        begin(&f, &gone.op);
        f.tier->ops->put(f.port, &gone); /* its answer is on its way by a message */
        f.tier->ops->close(f.port);
        assert_true(f.came);
        blob_unref(gone.blob);
    }
    f.port = f.tier->ops->open(f.tier, f.loop);
    begin(&f, &d.op);
    f.tier->ops->delete_if(f.port, &d);
    fixture_done(&f);
    assert_true(f.came);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_for_operators_and_expiry_is_redis_own),
        cmocka_unit_test(test_the_later_started_wins),
        cmocka_unit_test(test_what_is_no_record_is_put_over),
        cmocka_unit_test(test_only_what_was_meant_is_removed),
        cmocka_unit_test(test_what_is_too_large_is_refused),
        cmocka_unit_test(test_walks_meet_what_is_ours_alone),
        cmocka_unit_test(test_what_cannot_be_read_is_found_by_its_name),
        cmocka_unit_test(test_thousands_are_walked),
        cmocka_unit_test(test_a_cursor_that_is_none_is_refused),
        cmocka_unit_test(test_least_rights_are_enough),
        cmocka_unit_test(test_a_refusal_is_told_once),
        cmocka_unit_test(test_state_is_told_once_for_each_change),
        cmocka_unit_test(test_closing_brings_everything_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
