/* fleet: several instances' parts in one flight, over a real Redis. */
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
#include "refrain/http/fleet.h"
#include "refrain/store/redis.h"
#include "refrain/store/seal.h"

#define ID    "0123456789abcdef0123456789abcdef"
#define LEASE "refrain:{flight:ab01020300000000000000000000000000000000000000000000000000000000}:lease"

enum { LEASE_MS = 600, PATIENCE_MS = 20000, INSTANCES = 3, PARTS = 8, SEEN_MAX = 256 };

struct bed;

/* One flight's part, and what it has seen, a word each: "leads", "head", "data:…", "end", … */
struct part {
    struct bed *bed;
    struct fleet_member *m;
    char seen[SEEN_MAX];
    uint64_t bytes;
    int64_t fence;
    enum relay_how how;
    bool stored, deserted;
};

struct bed {
    struct redis_server *server;
    struct redis_conf redis;
    struct limits *limits;
    struct loop *loop;
    struct metrics *metrics;
    struct metric_block *counts;
    struct fleet_conf conf[INSTANCES];
    struct fleet_port *ports[INSTANCES];
    struct part parts[PARTS];
    size_t parts_n;
    bool (*until)(struct bed *b);
    struct loop_timer *tick;
    int64_t give_up_ms;
};

static struct digest key = {{0xAB, 1, 2, 3}};

/* -- what is seen -- */

static void see(struct part *p, const char *what, struct slice more)
{
    size_t len = strlen(p->seen);

    (void)snprintf(p->seen + len, SEEN_MAX - len, "%s%s%.*s", len > 0 ? " " : "", what, (int)more.len,
                   more.data ? more.data : "");
}

static void on_turn(void *arg, enum fleet_turn turn, int64_t fence)
{
    static const char *const words[] = {"leads", "follows", "alone", "cut", "resigned"};
    struct part *p = arg;

    see(p, words[turn], (struct slice){NULL, 0});
    if (turn != FLEET_LEADS && turn != FLEET_FOLLOWS)
        p->m = NULL;
    p->fence = fence;
}

static bool is_deserted(void *arg)
{
    return ((struct part *)arg)->deserted;
}

static void on_part_head(void *arg, const struct relay_head *head)
{
    struct part *p = arg;

    assert_true(slice_eq(head->id, SLICE_OF(ID)));
    see(p, "head:", head->fields.n > 0 ? head->fields.at[0].value : SLICE_OF("-"));
}

static void on_part_data(void *arg, struct slice bytes)
{
    struct part *p = arg;

    p->bytes += bytes.len;
    if (bytes.len < 20)
        see(p, "data:", bytes);
}

static void on_part_end(void *arg, const struct relay_end *end)
{
    struct part *p = arg;

    see(p, "end", (struct slice){NULL, 0});
    p->how = end->how;
    p->stored = end->stored;
    p->m = NULL;
}

static const struct fleet_events events = {on_turn, is_deserted, on_part_head, on_part_data, on_part_end};

/* -- the bed -- */

static void bed_init(struct bed *b)
{
    static const struct limits_conf limits = {10, 0, 64 << 20};

    *b = (struct bed){.server = redis_server_new(NULL)};
    b->redis = (struct redis_conf){.host = "127.0.0.1",
                                   .port = (uint16_t)redis_server_port(b->server),
                                   .timeout_ms = 5000,
                                   .connect_timeout_ms = 5000};
    b->limits = limits_new(&limits);
    b->loop = loop_new();
    b->metrics = metrics_new();
    b->counts = metrics_block(b->metrics);
    for (size_t i = 0; i < INSTANCES; i++) {
        b->conf[i] = (struct fleet_conf){.redis = &b->redis,
                                         .prefix = SLICE("refrain"),
                                         .lease_ms = LEASE_MS,
                                         .bytes_max = 1 << 20,
                                         .limits = b->limits};
        b->ports[i] = fleet_port_new(b->loop, &b->conf[i], b->counts);
        assert_non_null(b->ports[i]);
    }
}

static void bed_done(struct bed *b)
{
    for (size_t i = 0; i < INSTANCES; i++)
        fleet_port_free(b->ports[i]);
    for (size_t i = 0; i < b->parts_n; i++)
        if (b->parts[i].m)
            fleet_tell_end(b->parts[i].m, &(struct relay_end){.how = RELAY_AGAIN}, 0);
    loop_free(b->loop);
    assert_int_equal(limits_buffered_bytes(b->limits), 0);
    limits_free(b->limits);
    metrics_free(b->metrics);
    redis_server_free(b->server);
}

static void on_tick(void *arg)
{
    struct bed *b = arg;

    if (b->until(b) || clock_mono_ms() > b->give_up_ms)
        loop_stop(b->loop);
}

static void run_until(struct bed *b, bool (*until)(struct bed *b))
{
    b->until = until;
    b->give_up_ms = clock_mono_ms() + PATIENCE_MS;
    b->tick = loop_timer_new(b->loop, on_tick, b);
    loop_timer_start(b->tick, 0, 1);
    loop_run(b->loop);
    loop_timer_free(b->tick);
    if (!until(b))
        for (size_t i = 0; i < b->parts_n; i++)
            print_message("part %zu saw: %s\n", i, b->parts[i].seen);
    assert_true(until(b));
}

static struct part *join_as(struct bed *b, size_t instance, int64_t seq)
{
    struct part *p = &b->parts[b->parts_n++];

    assert_true(b->parts_n <= PARTS);
    *p = (struct part){.bed = b};
    p->m = fleet_join(b->ports[instance], &key, seq, 0, &events, p);
    return p;
}

static bool all_turned(struct bed *b)
{
    for (size_t i = 0; i < b->parts_n; i++)
        if (b->parts[i].seen[0] == '\0')
            return false;
    return true;
}

static struct part *join(struct bed *b, size_t instance)
{
    struct part *p = join_as(b, instance, 1000 + (int64_t)b->parts_n);

    run_until(b, all_turned);
    return p;
}

/* None of them is with the fleet any more. */
static bool all_gone(struct bed *b)
{
    for (size_t i = 0; i < b->parts_n; i++)
        if (b->parts[i].m)
            return false;
    return true;
}

static bool nothing_left(struct bed *b)
{
    return redis_server_says(b->server, "0", "DBSIZE");
}

static bool nobody_leads(struct bed *b)
{
    return redis_server_says(b->server, "0", "EXISTS %s", LEASE);
}

static void tell_head(struct part *p, const char *type)
{
    struct relay_head head = {.status = 200, .stream = true, .body_len = -1, .id = SLICE(ID)};

    assert_int_equal(fields_add(&head.fields, SLICE_OF("Content-Type"), slice_str(type)), 0);
    fleet_tell_head(p->m, &head);
}

static void tell_end(struct part *p, enum relay_how how, int64_t linger_ms)
{
    struct relay_end end = {.how = how, .stored = how == RELAY_WHOLE};

    fleet_tell_end(p->m, &end, linger_ms);
    p->m = NULL;
}

static void sees(const struct part *p, const char *want)
{
    if (strcmp(p->seen, want) != 0)
        fail_msg("saw \"%s\", not \"%s\"", p->seen, want);
}

/* -- the tests -- */

static void one_leads_and_the_others_get_its_bytes(void **state)
{
    struct part *leader, *near, *far;
    struct bed b;

    (void)state;
    bed_init(&b);
    leader = join(&b, 0);
    near = join(&b, 1);
    sees(leader, "leads");
    sees(near, "follows");
    assert_true(near->fence == leader->fence && leader->fence >= 1000);
    tell_head(leader, "text/x");
    fleet_tell(leader->m, SLICE_OF("A"));
    run_until(&b, all_turned);
    far = join(&b, 2); /* from the first byte, whenever it comes */
    fleet_tell(leader->m, SLICE_OF("BC"));
    tell_end(leader, RELAY_WHOLE, 0);
    run_until(&b, all_gone);
    assert_true(near->bytes == 3 && far->bytes == 3 && near->how == RELAY_WHOLE && near->stored);
    assert_true(strncmp(near->seen, "follows head:text/x data:A", 26) == 0);
    assert_true(strncmp(far->seen, "follows head:text/x data:A", 26) == 0);
    run_until(&b, nothing_left);
    bed_done(&b);
}

static void what_is_told_at_once_goes_in_one_command(void **state)
{
    unsigned long before;
    struct part *leader, *follower;
    struct bed b;

    (void)state;
    bed_init(&b);
    leader = join(&b, 0);
    before = redis_server_calls(b.server, "eval");
    tell_head(leader, "text/x");
    for (int i = 0; i < 100; i++)
        fleet_tell(leader->m, SLICE_OF("token "));
    tell_end(leader, RELAY_WHOLE, 2000);
    follower = join(&b, 1);
    run_until(&b, all_gone);
    assert_int_equal(follower->bytes, 600);
    assert_true(redis_server_calls(b.server, "eval") - before <= 5); /* head, the rest, election, two looks */
    bed_done(&b);
}

static void who_comes_after_the_end_reads_it_while_it_lingers(void **state)
{
    struct part *leader, *late, *later;
    struct bed b;

    (void)state;
    bed_init(&b);
    leader = join(&b, 0);
    tell_head(leader, "text/x");
    fleet_tell(leader->m, SLICE_OF("A"));
    tell_end(leader, RELAY_WHOLE, 5000);
    late = join(&b, 1);
    run_until(&b, all_gone);
    sees(late, "follows head:text/x data:A end");
    assert_true(redis_server_says(b.server, "OK", "FLUSHALL")); /* its time is over */
    later = join(&b, 1);
    sees(later, "leads");
    tell_end(later, RELAY_FAILED, 5000);
    bed_done(&b);
}

static void what_failed_is_for_those_who_wait_alone(void **state)
{
    struct part *leader, *follower, *next;
    struct bed b;

    (void)state;
    bed_init(&b);
    leader = join(&b, 0);
    follower = join(&b, 1);
    tell_end(leader, RELAY_FAILED, 0);
    run_until(&b, all_gone);
    sees(follower, "follows end");
    assert_int_equal(follower->how, RELAY_FAILED);
    next = join(&b, 1);
    sees(next, "leads");
    bed_done(&b);
}

static bool one_leads_anew(struct bed *b)
{
    return strstr(b->parts[1].seen, "leads") || strstr(b->parts[2].seen, "leads");
}

static bool the_other_follows_anew(struct bed *b)
{
    return strcmp(b->parts[1].seen, "follows follows") == 0 ||
           strcmp(b->parts[2].seen, "follows follows") == 0;
}

static void a_leader_that_dies_before_a_byte_is_succeeded_by_one(void **state)
{
    int64_t fence;
    struct bed b;

    (void)state;
    bed_init(&b);
    fence = join(&b, 0)->fence;
    (void)join(&b, 1);
    (void)join(&b, 2);
    tell_head(&b.parts[0], "text/x");
    fleet_port_free(b.ports[0]); /* not a word from here on */
    b.ports[0] = NULL;
    run_until(&b, one_leads_anew);
    run_until(&b, the_other_follows_anew);
    assert_true(b.parts[1].fence > fence && b.parts[1].fence == b.parts[2].fence);
    bed_done(&b);
}

static bool both_have_begun(struct bed *b)
{
    return b->parts[1].bytes > 0 && b->parts[2].bytes > 0;
}

static bool both_are_gone(struct bed *b)
{
    return !b->parts[1].m && !b->parts[2].m;
}

static void a_leader_that_dies_in_the_middle_cuts_who_has_begun(void **state)
{
    struct bed b;

    (void)state;
    bed_init(&b);
    (void)join(&b, 0);
    (void)join(&b, 1);
    (void)join(&b, 2);
    tell_head(&b.parts[0], "text/x");
    fleet_tell(b.parts[0].m, SLICE_OF("A"));
    run_until(&b, both_have_begun);
    fleet_delivered(b.parts[1].m);
    fleet_delivered(b.parts[2].m);
    fleet_port_free(b.ports[0]);
    b.ports[0] = NULL;
    run_until(&b, both_are_gone);
    sees(&b.parts[1], "follows head:text/x data:A cut");
    sees(&b.parts[2], "follows head:text/x data:A cut");
    bed_done(&b);
}

static bool the_first_has_lost(struct bed *b)
{
    return fleet_is_lost(b->parts[0].m);
}

static void a_leader_that_comes_back_finds_another_in_its_place(void **state)
{
    struct part *frozen, *leader, *follower;
    struct bed b;

    (void)state;
    bed_init(&b);
    frozen = join(&b, 0);
    assert_true(redis_server_says(b.server, "1", "DEL %s", LEASE));
    leader = join(&b, 1);
    sees(leader, "leads");
    assert_true(leader->fence > frozen->fence);
    follower = join(&b, 2);
    tell_head(frozen, "text/old");
    fleet_tell(frozen->m, SLICE_OF("OLD"));
    run_until(&b, the_first_has_lost);
    tell_head(leader, "text/new");
    fleet_tell(leader->m, SLICE_OF("NEW"));
    tell_end(leader, RELAY_WHOLE, 0);
    tell_end(frozen, RELAY_WHOLE, 1000);
    run_until(&b, all_gone);
    assert_int_equal(follower->bytes, 3);
    assert_null(strstr(follower->seen, "old"));
    run_until(&b, nothing_left);
    bed_done(&b);
}

static void a_fence_is_greater_than_any_before_whatever_the_clocks_say(void **state)
{
    struct part *ahead, *behind;
    struct bed b;

    (void)state;
    bed_init(&b);
    ahead = join_as(&b, 0, 1800000000000000);
    run_until(&b, all_turned);
    tell_end(ahead, RELAY_FAILED, 0);
    run_until(&b, nobody_leads);
    behind = join_as(&b, 1, 1700000000000000);
    run_until(&b, all_turned);
    sees(behind, "leads");
    assert_true(behind->fence == 1800000000000001);
    bed_done(&b);
}

static void a_redis_that_does_not_answer_leaves_everyone_alone(void **state)
{
    struct part *p;
    struct bed b;

    (void)state;
    bed_init(&b);
    (void)join(&b, 0);
    for (size_t i = 0; i < INSTANCES; i++)
        fleet_port_free(b.ports[i]);
    b.redis.timeout_ms = 50;
    for (size_t i = 0; i < INSTANCES; i++)
        b.ports[i] = fleet_port_new(b.loop, &b.conf[i], b.counts);
    redis_server_freeze(b.server);
    for (int i = 0; i < 3; i++) {
        p = join(&b, 1);
        sees(p, "alone");
    }
    p = join_as(&b, 1, 1); /* by now it is not even asked */
    assert_null(p->m);
    b.parts_n--;
    redis_server_thaw(b.server);
    bed_done(&b);
}

static bool the_second_is_gone(struct bed *b)
{
    return !b->parts[1].m;
}

static void what_is_no_message_is_never_an_answer(void **state)
{
    struct part *leader, *follower;
    char *keys;
    struct bed b;

    (void)state;
    bed_init(&b);
    leader = join(&b, 0);
    tell_head(leader, "text/x");
    follower = join(&b, 1);
    keys = redis_server_ask(b.server, "KEYS refrain:*:chunks:*");
    keys[strcspn(keys, "\n")] = '\0';
    assert_true(redis_server_says(b.server, "0-7", "XADD %s 0-7 m whatever", keys));
    fleet_tell(leader->m, SLICE_OF("A")); /* its number is taken */
    run_until(&b, the_second_is_gone);
    assert_non_null(strstr(follower->seen, "alone"));
    assert_int_equal(follower->bytes, 0);
    free(keys);
    bed_done(&b);
}

static bool the_second_resigned(struct bed *b)
{
    return strstr(b->parts[0].seen, "resigned") != NULL;
}

static void a_deserted_leader_goes_on_while_it_is_followed(void **state)
{
    struct part *leader, *follower;
    struct bed b;

    (void)state;
    bed_init(&b);
    leader = join(&b, 0);
    follower = join(&b, 1);
    tell_head(leader, "text/x");
    leader->deserted = true;
    fleet_desert(leader->m);
    fleet_tell(leader->m, SLICE_OF("A"));
    run_until(&b, all_turned);
    while (follower->bytes == 0)
        run_until(&b, all_turned);
    assert_non_null(leader->m);
    fleet_leave(follower->m);
    follower->m = NULL;
    run_until(&b, the_second_resigned);
    run_until(&b, nothing_left);
    bed_done(&b);
}

static void every_key_has_a_lifetime_from_the_start(void **state)
{
    struct part *leader;
    struct bed b;

    (void)state;
    bed_init(&b);
    leader = join(&b, 0);
    (void)join(&b, 1);
    tell_head(leader, "text/x");
    fleet_tell(leader->m, SLICE_OF("A"));
    run_until(&b, all_turned);
    assert_true(redis_server_says(b.server, "0", "EVAL \"%s\" 0",
                                  "local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do "
                                  "if redis.call('PTTL', k) < 0 then n = n + 1 end end return n"));
    assert_true(redis_server_says(b.server, "4", "DBSIZE")); /* and all of them are there */
    tell_end(leader, RELAY_CUT, 0);
    run_until(&b, all_gone);
    run_until(&b, nothing_left);
    bed_done(&b);
}

static void keys_of(struct bed *b, struct seal_keys *k[INSTANCES])
{
    static const uint8_t ours[SEAL_KEY_BYTES] = {1}, theirs[SEAL_KEY_BYTES] = {2};

    for (size_t i = 0; i < INSTANCES; i++) {
        k[i] = seal_keys_new();
        assert_int_equal(seal_keys_add(k[i], i == 2 ? theirs : ours), 0);
        b->conf[i].keys = k[i];
    }
}

static void what_is_sealed_is_read_by_who_has_the_key(void **state)
{
    struct part *leader, *knows, *stranger;
    struct seal_keys *k[INSTANCES];
    struct bed b;

    (void)state;
    bed_init(&b);
    keys_of(&b, k);
    leader = join(&b, 0);
    tell_head(leader, "text/plainly");
    fleet_tell(leader->m, SLICE_OF("A"));
    knows = join(&b, 1);
    stranger = join(&b, 2);
    tell_end(leader, RELAY_WHOLE, 2000);
    run_until(&b, all_gone);
    sees(knows, "follows head:text/plainly data:A end");
    assert_int_equal(stranger->bytes, 0);
    sees(stranger, "follows alone");
    assert_true(redis_server_says(b.server, "3 0", "EVAL \"%s\" 0",
                                  "local n, clear = 0, 0 "
                                  "for _, e in ipairs(redis.call('XRANGE', "
                                  "redis.call('KEYS', '*:chunks:*')[1], '-', '+')) do n = n + 1 "
                                  "if string.find(e[2][2], 'plainly') then clear = clear + 1 end end "
                                  "return n .. ' ' .. clear"));
    bed_done(&b);
    for (size_t i = 0; i < INSTANCES; i++)
        seal_keys_free(k[i]);
}

enum { PIECE = 256 * 1024, PIECES = 20 };

static bool the_second_is_up_to_date(struct bed *b)
{
    return b->parts[1].bytes == b->parts[0].bytes;
}

static void what_outgrows_the_bound_is_read_on_but_joined_no_more(void **state)
{
    struct part *leader, *follower, *late;
    char *piece = calloc(1, PIECE);
    struct bed b;

    (void)state;
    bed_init(&b);
    leader = join(&b, 0);
    tell_head(leader, "text/x");
    follower = join(&b, 1);
    for (int i = 0; i < PIECES; i++) {
        fleet_tell(leader->m, slice_make(piece, PIECE));
        leader->bytes += PIECE;
        run_until(&b, the_second_is_up_to_date);
    }
    assert_true(redis_server_says(b.server, "1", "EVAL \"%s\" 0",
                                  "local bytes = 0 for _, e in ipairs(redis.call('XRANGE', "
                                  "redis.call('KEYS', '*:chunks:*')[1], '-', '+')) do "
                                  "bytes = bytes + #e[2][2] end "
                                  "return bytes <= 2 * 1100000 and 1 or 0"));
    late = join(&b, 2);
    sees(late, "alone");
    tell_end(leader, RELAY_WHOLE, 5000);
    run_until(&b, all_gone);
    assert_int_equal(follower->how, RELAY_WHOLE);
    free(piece);
    bed_done(&b);
}

static void who_lags_behind_what_is_kept_has_no_part_of_it(void **state)
{
    struct part *leader, *follower;
    char *piece = calloc(1, PIECE);
    struct bed b;

    (void)state;
    bed_init(&b);
    leader = join(&b, 0);
    tell_head(leader, "text/x");
    follower = join(&b, 1);
    fleet_pause(follower->m);
    for (int i = 0; i < PIECES; i++)
        fleet_tell(leader->m, slice_make(piece, PIECE));
    tell_end(leader, RELAY_WHOLE, 0);
    run_until(&b, nobody_leads);
    fleet_resume(follower->m);
    run_until(&b, all_gone);
    assert_null(strstr(follower->seen, "end"));
    free(piece);
    bed_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_leads_and_the_others_get_its_bytes),
        cmocka_unit_test(what_is_told_at_once_goes_in_one_command),
        cmocka_unit_test(who_comes_after_the_end_reads_it_while_it_lingers),
        cmocka_unit_test(what_failed_is_for_those_who_wait_alone),
        cmocka_unit_test(a_leader_that_dies_before_a_byte_is_succeeded_by_one),
        cmocka_unit_test(a_leader_that_dies_in_the_middle_cuts_who_has_begun),
        cmocka_unit_test(a_leader_that_comes_back_finds_another_in_its_place),
        cmocka_unit_test(a_fence_is_greater_than_any_before_whatever_the_clocks_say),
        cmocka_unit_test(a_redis_that_does_not_answer_leaves_everyone_alone),
        cmocka_unit_test(what_is_no_message_is_never_an_answer),
        cmocka_unit_test(a_deserted_leader_goes_on_while_it_is_followed),
        cmocka_unit_test(every_key_has_a_lifetime_from_the_start),
        cmocka_unit_test(what_is_sealed_is_read_by_who_has_the_key),
        cmocka_unit_test(what_outgrows_the_bound_is_read_on_but_joined_no_more),
        cmocka_unit_test(who_lags_behind_what_is_kept_has_no_part_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
