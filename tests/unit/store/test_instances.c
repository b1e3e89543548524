/* instances: what is invalidated at one is gone at the others, whatever Redis does meanwhile. Real servers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_server.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/instances.h"
#include "refrain/store/store_disk.h"
#include "refrain/store/store_mem.h"

enum { GIVE_UP_MS = 30000, TICK_MS = 2, FLUSH_MS = 1000 };

/* Where an instance keeps what a disk tier would, over its restarts. */
struct fake_disk {
    struct tier tier;
    struct tier_port port;
    char values[2][DISK_META_VALUE_MAX + 1];
    atomic_bool kept[2];
};

/* One instance, as far as this goes. */
struct side {
    struct fences *fences;
    struct store_mem *memory;
    struct invalidator *v;
    struct events *events;
    struct instances *in;
    int64_t behind_us; /* its clock */
    atomic_int_fast64_t passed;
    atomic_uint refused, notices[INSTANCES_NOTICE_FOREIGN + 1];
    struct fake_disk *disk;
};

static struct loop *loop;
static struct redis_server *server;

/* -- waiting -- */

struct wait {
    bool (*ready)(void *arg);
    void *arg;
    int64_t give_up_ms;
};

static void on_tick(void *arg)
{
    struct wait *w = arg;

    if (w->ready(w->arg) || clock_mono_ms() > w->give_up_ms)
        loop_stop(loop);
}

static void until(bool (*ready)(void *arg), void *arg)
{
    struct wait w = {ready, arg, clock_mono_ms() + GIVE_UP_MS};
    struct loop_timer *tick = loop_timer_new(loop, on_tick, &w);

    loop_timer_start(tick, 0, TICK_MS);
    loop_run(loop);
    loop_timer_free(tick);
    assert_true(ready(arg));
}

static bool is_linked(void *arg)
{
    const struct side *s = arg;
    struct instances_stats st;

    instances_stats(s->in, &st);
    return st.link == INSTANCES_LINKED;
}

static bool is_cut(void *arg)
{
    const struct side *s = arg;
    struct instances_stats st;

    instances_stats(s->in, &st);
    return st.link == INSTANCES_CUT;
}

static bool sees_another(void *arg)
{
    const struct side *s = arg;
    struct instances_stats st;

    instances_stats(s->in, &st);
    return st.link == INSTANCES_LINKED && st.seen_n >= 2;
}

static bool is_empty(void *arg)
{
    const struct side *s = arg;
    struct store_mem_stats st;

    store_mem_stats(s->memory, &st);
    return st.entries == 0;
}

/* -- a disk that only remembers -- */

static struct tier_port *disk_open(struct tier *t, struct loop *l)
{
    struct fake_disk *d = CONTAINER_OF(t, struct fake_disk, tier);

    d->port = (struct tier_port){t, l};
    return &d->port;
}

static void disk_close(struct tier_port *p)
{
    (void)p;
}

static const struct tier_ops disk_ops = {
    .name = "fake", .kind = TIER_DISK, .open = disk_open, .close = disk_close};

static char *disk_value(struct tier_port *p, struct slice name)
{
    struct fake_disk *d = CONTAINER_OF(p, struct fake_disk, port);

    return d->values[slice_eq(name, SLICE_OF("events.log")) ? 0 : 1];
}

static void disk_get(struct tier_port *p, struct store_disk_meta *m)
{
    const char *value = disk_value(p, m->name);

    if (!value[0]) {
        tier_answer(p, &m->op, TIER_ABSENT);
        return;
    }
    m->blob = blob_new(strlen(value));
    memcpy(m->blob->bytes, value, strlen(value));
    tier_answer(p, &m->op, TIER_OK);
}

static void disk_put(struct tier_port *p, struct store_disk_meta *m)
{
    struct fake_disk *d = CONTAINER_OF(p, struct fake_disk, port);

    memcpy(disk_value(p, m->name), m->value.data, m->value.len);
    disk_value(p, m->name)[m->value.len] = '\0';
    atomic_store(&d->kept[slice_eq(m->name, SLICE_OF("events.log")) ? 0 : 1], true);
    tier_answer(p, &m->op, TIER_OK);
}

/* -- instances -- */

/* NULL: of whose clock is right. */
static int64_t now_seq(void *arg)
{
    const struct side *s = arg;
    int64_t now = clock_wall_ms() * 1000 - (s ? s->behind_us : 0);
    int64_t passed = s ? atomic_load(&s->passed) : 0;

    return passed >= now ? passed + 1 : now;
}

static void pass_seq(void *arg, int64_t seq)
{
    struct side *s = arg;

    if (seq > atomic_load(&s->passed))
        atomic_store(&s->passed, seq);
}

static void on_refused(void *arg, uint64_t caller)
{
    struct side *s = arg;

    assert_int_equal(caller, 0xCA11E5);
    atomic_fetch_add(&s->refused, 1);
}

static void on_notice(void *arg, const struct instances_notice *n)
{
    struct side *s = arg;

    atomic_fetch_add(&s->notices[n->kind], 1);
}

static void side_init(struct side *s)
{
    struct store_mem_conf memory = {16 << 20, 0, EVICT_LRU};
    struct invalidator_conf v = {0};
    char id[EVENT_SOURCE_BYTES + 1];

    memset(s, 0, sizeof(*s));
    events_source_make(id);
    s->events = events_new(slice_str(id));
    s->fences = v.fences = fences_new();
    s->memory = v.memory = store_mem_new(&memory);
    s->v = invalidator_new(&v);
}

static void side_connect(struct side *s, const struct redis_conf *redis, bool strict)
{
    struct instances_conf conf = {
        .redis = *redis,
        .prefix = SLICE("refrain"),
        .name = "host \"one\"",
        .events = s->events,
        .invalidator = s->v,
        .fences = s->fences,
        .disk = s->disk ? &s->disk->tier : NULL,
        .meta_get = disk_get,
        .meta_put = disk_put,
        .strict = strict,
        .seq = now_seq,
        .pass = pass_seq,
        .on_refused = on_refused,
        .on_notice = on_notice,
        .arg = s,
    };

    s->in = instances_new(&conf);
    assert_non_null(s->in);
}

static void side_done(struct side *s)
{
    invalidator_stop(s->v);
    instances_free(s->in, FLUSH_MS);
    invalidator_free(s->v);
    store_mem_free(s->memory);
    fences_free(s->fences);
    events_free(s->events);
}

static struct redis_conf redis_of(struct redis_server *r)
{
    return (struct redis_conf){.host = "127.0.0.1", .port = (uint16_t)redis_server_port(r)};
}

static struct side a, b;

static void two_linked(const struct redis_conf *redis)
{
    side_init(&a);
    side_init(&b);
    side_connect(&a, redis, false);
    side_connect(&b, redis, false);
    until(sees_another, &a);
    until(sees_another, &b);
}

static void two_done(void)
{
    side_done(&a);
    side_done(&b);
}

/* -- entries -- */

static void put(struct side *s, unsigned n, const char *tag)
{
    struct slice body = SLICE("x");
    struct entry_parts p = {
        .head = {.created_ms = clock_wall_ms(),
                 .expires_ms = INT64_MAX,
                 .gone_ms = INT64_MAX,
                 .started_seq = now_seq(NULL)},
        .namespace_ = SLICE("default"),
        .op_name = SLICE("chat"),
        .model = SLICE("gpt"),
        .tags = slice_str(tag),
        .body = &body,
        .body_n = 1,
    };

    memcpy(p.head.key.bytes + 1, &n, sizeof(n));
    memset(p.head.id, 'a', ENTRY_ID_LEN);
    assert_int_equal(store_mem_put(s->memory, &p, clock_wall_ms(), NULL), 0);
}

static uint64_t held(const struct side *s)
{
    struct store_mem_stats st;

    store_mem_stats(s->memory, &st);
    return st.entries;
}

/* -- invalidations -- */

static bool came_back;

static void on_done(struct instances_invalidation *x)
{
    (void)x;
    came_back = true;
}

static bool has_come_back(void *arg)
{
    (void)arg;
    return came_back;
}

static struct instances_invalidation *invalidate(struct side *s, const char *tag, bool dry_run)
{
    static struct instances_invalidation x;

    memset(&x, 0, sizeof(x));
    x.own.which.tag = slice_str(tag);
    x.own.seq = now_seq(NULL);
    x.own.dry_run = dry_run;
    x.own.loop = loop;
    x.on_done = on_done;
    x.correlation = SLICE_OF("mine-1");
    came_back = false;
    instances_invalidate(s->in, s->v, s->events, &x);
    assert_false(came_back);
    until(has_come_back, NULL);
    return &x;
}

static void fill(void)
{
    put(&a, 1, "red");
    put(&a, 2, "red,blue");
    put(&b, 2, "blue,red");
    put(&b, 3, "red");
    put(&b, 4, "green");
}

static void counts_are_true(const struct redis_conf *redis)
{
    const struct instances_invalidation *x;

    two_linked(redis);
    fill();
    x = invalidate(&a, "red", true);
    assert_int_equal(x->telling, INSTANCES_TOLD);
    assert_int_equal(x->matched, 3);
    assert_int_equal(held(&a) + held(&b), 5);
    x = invalidate(&a, "red", false);
    assert_int_equal(x->telling, INSTANCES_TOLD);
    assert_int_equal(x->matched, 3); /* distinct, though four were deleted */
    assert_false(x->at_least);
    assert_int_equal(x->own.tiers[TIER_MEMORY].matched, 2);
    assert_int_equal(x->others_n, 1);
    assert_true(x->others[0].heard);
    assert_string_equal(x->others[0].id, events_source(b.events));
    assert_string_equal(x->others[0].name, "hostone");
    assert_int_equal(x->others[0].matched, 2);
    assert_int_equal(x->others[0].memory, 2);
    assert_int_equal(held(&a), 0);
    assert_int_equal(held(&b), 1); /* gone by the time that it is told */
    assert_true(fences_latest(b.fences) >= x->own.seq);
    x = invalidate(&b, "green", false); /* and the other way round */
    assert_int_equal(x->matched, 1);
    assert_int_equal(x->others[0].matched, 0);
    two_done();
}

static void one_tells_the_other(void **state)
{
    const struct redis_conf redis = redis_of(server);

    (void)state;
    counts_are_true(&redis);
}

static void with_least_rights(void **state)
{
    const struct redis_server_conf conf = {.user = "refrain", .password = "secret"};
    struct redis_server *strict = redis_server_new(&conf);
    struct redis_conf redis = redis_of(strict);

    (void)state;
    redis.username = "refrain";
    redis.password = "secret";
    counts_are_true(&redis);
    redis_server_free(strict);
}

static void in_a_cluster(void **state)
{
    struct redis_cluster *cluster = redis_cluster_new(NULL);
    struct redis_conf redis = redis_of(redis_cluster_node(cluster, 0));

    (void)state;
    redis.cluster = REDIS_CLUSTER_ON;
    counts_are_true(&redis);
    redis_cluster_free(cluster);
}

static struct event event_of(struct events *e)
{
    static struct events_listener l;
    struct event event;
    uint64_t lost;

    l = (struct events_listener){.loop = loop};
    assert_true(events_listen(e, &l, 1U << EVENT_CACHE_INVALIDATED, 0));
    l.at[EVENT_CACHE_INVALIDATED] = 0; /* all that is remembered */
    assert_true(events_next(&l, &event, &lost));
    (void)events_leave(&l);
    return event;
}

static void both_publish_it(void **state)
{
    const struct redis_conf redis = redis_of(server);
    struct event here, there;

    (void)state;
    two_linked(&redis);
    fill();
    (void)invalidate(&a, "red", false);
    here = event_of(a.events);
    there = event_of(b.events);
    assert_string_equal(here.source, events_source(a.events));
    assert_string_equal(there.source, events_source(a.events));
    assert_string_equal(there.correlation, "mine-1");
    here.payload[here.payload_len] = there.payload[there.payload_len] = '\0';
    assert_string_equal(here.payload,
                        "{\"kind\":\"tag\",\"tag\":\"red\",\"matched\":3,\"tiers\":{\"memory\":2}}");
    assert_string_equal(there.payload,
                        "{\"kind\":\"tag\",\"tag\":\"red\",\"matched\":2,\"tiers\":{\"memory\":2}}");
    two_done();
}

static void alone_it_works_as_well(void **state)
{
    const struct instances_invalidation *x;

    (void)state;
    side_init(&a);
    put(&a, 1, "red");
    x = invalidate(&a, "red", false);
    assert_int_equal(x->telling, INSTANCES_ALONE);
    assert_int_equal(x->matched, 1);
    assert_true(instances_may_serve(NULL));
    instances_note_target(NULL, 1);
    instances_note_refused(NULL, 1);
    instances_wait(NULL, 1);
    side_done(&a);
}

static void what_cannot_be_told_is_told_later(void **state)
{
    const struct redis_conf redis = redis_of(server);
    const struct instances_invalidation *x;

    (void)state;
    two_linked(&redis);
    fill();
    redis_server_freeze(server);
    x = invalidate(&a, "red", false);
    assert_int_equal(x->telling, INSTANCES_LATER);
    assert_int_equal(x->matched, 2);
    assert_int_equal(x->others_n, 1);
    assert_false(x->others[0].heard);
    assert_int_equal(held(&b), 3);
    until(is_cut, &a);
    until(is_cut, &b);
    put(&b, 5, "red");
    redis_server_thaw(server);
    until(is_linked, &a);
    until(is_linked, &b);
    (void)invalidate(&a, "green", false);
    until(is_empty, &b);
    assert_int_equal(b.notices[INSTANCES_NOTICE_GAP], 0);
    two_done();
}

static bool has_gap(void *arg)
{
    struct side *s = arg;

    return atomic_load(&s->notices[INSTANCES_NOTICE_GAP]) > 0;
}

static void a_log_that_is_lost_costs_the_memory(void **state)
{
    const struct redis_conf redis = redis_of(server);

    (void)state;
    two_linked(&redis);
    (void)invalidate(&a, "something", false);
    fill();
    free(redis_server_ask(server, "DEL refrain:{events}:log"));
    until(has_gap, &b); /* told of once the memory is empty */
    until(has_gap, &a);
    assert_true(is_empty(&b) && is_empty(&a));
    assert_int_equal(b.notices[INSTANCES_NOTICE_GAP], 1);
    fill();
    assert_int_equal(invalidate(&a, "red", false)->matched, 3); /* the new log is as good */
    two_done();
}

static void a_log_that_was_trimmed_too(void **state)
{
    const struct redis_conf redis = redis_of(server);

    (void)state;
    two_linked(&redis);
    (void)invalidate(&a, "something", false);
    fill();
    redis_server_freeze(server);
    until(is_cut, &a);
    until(is_cut, &b);
    redis_server_kill(server);
    redis_server_restart(server);
    free(redis_server_ask(server, "XADD refrain:{events}:log * g 0123456789abcdef n 70 m nonsense"));
    until(has_gap, &a);
    until(has_gap, &b);
    until(is_empty, &a);
    until(is_empty, &b);
    until(is_linked, &b);
    two_done();
}

static void notes_are_told(void **state)
{
    const struct redis_conf redis = redis_of(server);
    const struct label get = {.operation = SLICE("read"), .target = 0xF00, .started_seq = 1};

    (void)state;
    two_linked(&redis);
    assert_false(fences_hold_back(b.fences, &get, get.started_seq));
    instances_note_target(a.in, 0xF00);
    instances_note_refused(a.in, 0xCA11E5);
    for (int i = 0; i < GIVE_UP_MS && atomic_load(&b.refused) == 0; i++)
        (void)invalidate(&a, "nothing", false);
    assert_int_equal(b.refused, 1);
    assert_int_equal(a.refused, 0);
    assert_true(fences_hold_back(b.fences, &get, get.started_seq));
    two_done();
}

static bool has_refused(void *arg)
{
    struct side *s = arg;

    return atomic_load(&s->refused) > 0;
}

/* What the one has fetched right before, the other has from Redis; its own clock is behind. */
static void a_change_holds_where_the_clock_is_behind(void **state)
{
    const struct redis_conf redis = redis_of(server);
    const struct label get = {.operation = SLICE("read"), .target = 0xF00, .started_seq = now_seq(NULL)};

    (void)state;
    side_init(&a);
    side_init(&b);
    b.behind_us = 10 * 1000 * 1000;
    side_connect(&a, &redis, false);
    side_connect(&b, &redis, false);
    until(sees_another, &a);
    until(sees_another, &b);
    instances_note_target(a.in, 0xF00);
    instances_note_refused(a.in, 0xCA11E5); /* behind it in the same log */
    until(has_refused, &b);
    assert_true(fences_hold_back(b.fences, &get, get.started_seq));
    two_done();
}

static bool holds_back(const struct side *s, uint64_t target, int64_t seq)
{
    const struct label get = {
        .operation = SLICE("read"), .target = target, .started_seq = seq, .created_ms = seq / 1000};

    return fences_hold_back(s->fences, &get, seq);
}

/* What it says of what lies in Redis, which nobody has deleted. */
static void what_was_told_before_its_time_is_read(void **state)
{
    enum { MANY = 300, HOUR_MS = 3600 * 1000 };
    const struct redis_conf redis = redis_of(server);
    const struct label red = {.tags = SLICE("red"), .started_seq = 1};
    int64_t now = now_seq(NULL);

    (void)state;
    side_init(&a);
    side_connect(&a, &redis, false);
    until(is_linked, &a);
    (void)invalidate(&a, "red", false);
    for (uint64_t i = 1; i <= MANY; i++) /* more than come at once */
        instances_note_target(a.in, i);
    instances_note_refused(a.in, 0xCA11E5);
    side_done(&a);
    side_init(&b);
    side_connect(&b, &redis, false);
    until(is_linked, &b);
    assert_true(fences_hold_back(b.fences, &red, red.started_seq));
    for (uint64_t i = 1; i <= MANY; i++)
        assert_true(holds_back(&b, i, now));
    assert_false(holds_back(&b, MANY + 1, now));
    assert_false(holds_back(&b, MANY, now + (int64_t)HOUR_MS * 1000)); /* had anew since */
    assert_int_equal(b.refused, 1);
    side_done(&b);
    free(redis_server_ask(server, "XTRIM refrain:{events}:notes MAXLEN 1"));
    side_init(&a);
    side_connect(&a, &redis, false);
    until(is_linked, &a);
    assert_true(holds_back(&a, MANY + 1, now)); /* it may have been among those that are not there any more */
    assert_false(holds_back(&a, MANY + 1, now + (int64_t)HOUR_MS * 1000));
    side_done(&a);
}

static void strictly_nothing_is_served_while_cut(void **state)
{
    const struct redis_conf redis = redis_of(server);

    (void)state;
    side_init(&a);
    side_connect(&a, &redis, true);
    instances_wait(a.in, GIVE_UP_MS);
    until(is_linked, &a);
    assert_true(instances_may_serve(a.in));
    redis_server_freeze(server);
    until(is_cut, &a);
    assert_false(instances_may_serve(a.in));
    redis_server_thaw(server);
    until(is_linked, &a);
    assert_true(instances_may_serve(a.in));
    side_done(&a);
}

static bool knows_foreign(void *arg)
{
    struct side *s = arg;
    struct instances_stats st;

    instances_stats(s->in, &st);
    return st.foreign >= 2;
}

static void garbage_does_no_harm(void **state)
{
    const struct redis_conf redis = redis_of(server);

    (void)state;
    two_linked(&redis);
    free(redis_server_ask(server, "PUBLISH refrain:events nonsense"));
    free(redis_server_ask(server, "PUBLISH refrain:events:%s 17", events_source(a.events)));
    free(redis_server_ask(server, "PUBLISH refrain:events:%s nonsense", events_source(a.events)));
    free(redis_server_ask(server, "HSET refrain:{events}:instances me nonsense"));
    free(redis_server_ask(server, "XADD refrain:{events}:notes * g 1 n 2"));
    until(knows_foreign, &a);
    until(is_linked, &a);
    fill();
    assert_int_equal(invalidate(&a, "red", false)->matched, 3);
    instances_note_refused(a.in, 0xCA11E5);
    for (int i = 0; i < GIVE_UP_MS && atomic_load(&b.refused) == 0; i++)
        (void)invalidate(&a, "nothing", false);
    assert_int_equal(b.refused, 1);
    two_done();
}

static bool has_kept(void *arg)
{
    struct fake_disk *d = arg;

    return atomic_load(&d->kept[0]) && atomic_load(&d->kept[1]);
}

static void what_was_missed_while_down_is_caught_up(void **state)
{
    static struct fake_disk disk = {.tier = {&disk_ops}};
    const struct redis_conf redis = redis_of(server);

    (void)state;
    side_init(&b);
    b.disk = &disk;
    side_connect(&b, &redis, false);
    until(has_kept, &disk);
    side_done(&b);

    side_init(&a);
    side_connect(&a, &redis, false);
    until(is_linked, &a);
    (void)invalidate(&a, "red", false);

    side_init(&b); /* what its disk holds stands in its memory here: it is up before the log is read */
    b.disk = &disk;
    fill();
    side_connect(&b, &redis, false);
    instances_wait(b.in, GIVE_UP_MS);
    until(is_linked, &b);
    for (int i = 0; i < GIVE_UP_MS && held(&b) > 1; i++)
        (void)invalidate(&a, "nothing", false);
    assert_int_equal(held(&b), 1); /* green */
    assert_int_equal(b.notices[INSTANCES_NOTICE_GAP], 0);
    two_done();
}

static void where_it_is_not_known_all_goes(void **state)
{
    static const char *const values[] = {"", "nonsense", "1 0123456789abcdef 5 17-0"};
    const struct redis_conf redis = redis_of(server);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct fake_disk disk = {.tier = {&disk_ops}};

        (void)snprintf(disk.values[0], sizeof(disk.values[0]), "%s", values[i]);
        side_init(&a);
        side_connect(&a, &redis, false);
        until(is_linked, &a);
        (void)invalidate(&a, "something", false);
        side_init(&b);
        b.disk = &disk;
        fill();
        side_connect(&b, &redis, false);
        until(is_empty, &b);
        until(is_linked, &b);
        until(has_kept, &disk);
        two_done();
    }
}

static void too_many_to_keep_are_told_in_one_word(void **state)
{
    const struct redis_conf redis = redis_of(server);

    (void)state;
    two_linked(&redis);
    redis_server_freeze(server);
    until(is_cut, &a);
    put(&b, 9, "untouched");
    for (unsigned i = 0; i < 5000; i++)
        instances_note_target(a.in, 1000 + i);
    redis_server_thaw(server);
    until(is_linked, &a);
    until(is_linked, &b);
    for (int i = 0; i < GIVE_UP_MS && fences_latest(b.fences) == 0; i++)
        (void)invalidate(&a, "nothing", true);
    assert_int_equal(held(&b), 1); /* it is no GET */
    two_done();
}

static int server_start(void **state)
{
    (void)state;
    loop = loop_new();
    server = redis_server_new(NULL);
    return 0;
}

static int server_end(void **state)
{
    (void)state;
    redis_server_free(server);
    loop_free(loop);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, server_start, server_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_tells_the_other),
        TEST(with_least_rights),
        TEST(in_a_cluster),
        TEST(both_publish_it),
        TEST(alone_it_works_as_well),
        TEST(what_cannot_be_told_is_told_later),
        TEST(a_log_that_is_lost_costs_the_memory),
        TEST(a_log_that_was_trimmed_too),
        TEST(notes_are_told),
        TEST(a_change_holds_where_the_clock_is_behind),
        TEST(what_was_told_before_its_time_is_read),
        TEST(strictly_nothing_is_served_while_cut),
        TEST(garbage_does_no_harm),
        TEST(what_was_missed_while_down_is_caught_up),
        TEST(where_it_is_not_known_all_goes),
        TEST(too_many_to_keep_are_told_in_one_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
