/* redis over several nodes: scripted ones for each redirection and for maps that make no sense, then a
 * cluster of six that moves slots and loses masters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_asking.h"
#include "redis_scripted.h"
#include "redis_server.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/redis_slots.h"

enum { NODES = 2, SLOT_OF_A = 15495 }; /* the slot of the name `a` */

/* Two scripted nodes, of which the first is the one that is configured. */
struct script {
    struct asking asking;
    struct scripted_node *node[NODES];
    unsigned port[NODES];
};

static void script_init(struct script *t, enum redis_cluster_mode mode)
{
    struct redis_conf conf = {
        .host = "127.0.0.1", .timeout_ms = 5000, .connect_timeout_ms = 5000, .cluster = mode};

    for (int i = 0; i < NODES; i++) {
        t->node[i] = scripted_node_new();
        t->port[i] = scripted_node_port(t->node[i]);
    }
    conf.port = (uint16_t)t->port[0];
    asking_init(&t->asking, conf);
    for (int i = 0; i < NODES; i++)
        scripted_node_attach(t->node[i], t->asking.loop);
}

static void script_done(struct script *t)
{
    redis_free(t->asking.redis);
    t->asking.redis = NULL;
    for (int i = 0; i < NODES; i++)
        scripted_node_free(t->node[i]);
    asking_done(&t->asking);
}

/* Slots up to @last are the first node's, the others the second's. */
static void say_map(struct script *t, struct scripted_node *who, int last)
{
    scripted_node_say(who, "CLUSTER SLOTS", 0,
                      "*2\r\n*3\r\n:0\r\n:%d\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$1\r\nx\r\n"
                      "*3\r\n:%d\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$1\r\ny\r\n",
                      last, t->port[0], last + 1, t->port[1]);
}

/* What they are is told by the first map. */
static bool knows_nodes(void *arg)
{
    const struct asking *a = arg;

    return a->ups > 0 && redis_knows_nodes(a->redis);
}

static void on_node(void *arg, uint32_t node, struct slice address)
{
    char *text = arg;
    const size_t at = strlen(text);

    (void)node;
    (void)snprintf(text + at, ASKING_TEXT_MAX - at, "%.*s ", (int)address.len, address.data);
}

static const char *nodes_of(struct asking *a)
{
    static char text[ASKING_TEXT_MAX];

    text[0] = 0;
    redis_each_node(a->redis, on_node, text);
    return text;
}

static unsigned count_nodes(struct asking *a)
{
    const char *text = nodes_of(a);
    unsigned n = 0;

    for (; *text; text++)
        n += *text == ' ';
    return n;
}

/* -- redirections -- */

static void test_moved_is_followed_and_remembered(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "GET a", 0, "-MOVED %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    scripted_node_say(t.node[1], "GET a", 0, "$3\r\none\r\n");
    scripted_node_say(t.node[0], "CLUSTER", 0, "-NOPERM\r\n");
    scripted_node_say(t.node[1], "CLUSTER", 0, "-NOPERM\r\n");
    for (int i = 0; i < 3; i++)
        assert_string_equal(ask(&t.asking, "GET a"), "one");
    assert_int_equal(scripted_node_asked(t.node[0], "GET"), 1);
    assert_int_equal(scripted_node_asked(t.node[1], "GET"), 3);
    script_done(&t);
}

static void test_moved_is_an_answer_where_clusters_are_off(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_OFF);
    scripted_node_say(t.node[0], "GET a", 0, "-MOVED %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    assert_memory_equal(ask(&t.asking, "GET a"), "MOVED", 5);
    assert_int_equal(scripted_node_asked(t.node[0], "CLUSTER"), 0);
    assert_int_equal(scripted_node_asked(t.node[1], ""), 0);
    script_done(&t);
}

static void test_moved_in_a_circle_ends(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "GET a", 0, "-MOVED %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    scripted_node_say(t.node[1], "GET a", 0, "-MOVED %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[0]);
    assert_memory_equal(ask(&t.asking, "GET a"), "MOVED", 5);
    assert_int_equal(scripted_node_asked(t.node[0], "GET") + scripted_node_asked(t.node[1], "GET"), 6);
    script_done(&t);
}

static void test_moved_to_where_nobody_is_comes_back_at_once(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "GET a", 0, "-MOVED %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    say_map(&t, t.node[0], SLOT_OF_A - 1);
    scripted_node_stop(t.node[1]);
    assert_string_equal(ask(&t.asking, "GET a"), "down");
    assert_string_equal(ask(&t.asking, "GET b"), "(nil)"); /* the other node's */
    script_done(&t);
}

static void test_redirections_that_make_no_sense_are_answers(void **state)
{
    static const char *const errors[] = {
        "MOVED",
        "MOVED 15495",
        "MOVED 15495 ?:1",
        "MOVED 99999 127.0.0.1:1",
        "ASK 15495 x",
        "MOVED 15495 /x:7001",
        "ASK 15495 127.0.0.1:0",
        "MOVED 1 127.0.0.1:6379", /* not its slot */
    };
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        scripted_node_say(t.node[0], "GET a", 1, "-%s\r\n", errors[i]);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        assert_string_equal(ask(&t.asking, "GET a"), errors[i]);
    script_done(&t);
}

static void test_ask_is_followed_once(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "GET a", 2, "-ASK %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    scripted_node_say(t.node[0], "GET a", 0, "$4\r\nhome\r\n");
    scripted_node_say(t.node[1], "GET a", 0, "$4\r\naway\r\n");
    assert_string_equal(ask(&t.asking, "GET a"), "away");
    assert_string_equal(ask(&t.asking, "GET a"), "away");
    assert_int_equal(scripted_node_asked(t.node[1], "ASKING"), 2);
    assert_string_equal(ask(&t.asking, "GET a"), "home");
    script_done(&t);
}

static void test_ask_to_a_dead_node_comes_back_at_once(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "GET a", 0, "-ASK %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    scripted_node_stop(t.node[1]);
    assert_string_equal(ask(&t.asking, "GET a"), "down");
    assert_in_range(scripted_node_asked(t.node[0], "GET a"), 1, 3);
    scripted_node_forget(t.node[0]);
    assert_string_equal(ask(&t.asking, "GET a"), "(nil)");
    script_done(&t);
}

static void test_try_again_is_tried_again_and_not_for_ever(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "MGET a", 2, "-TRYAGAIN not yet\r\n");
    scripted_node_say(t.node[0], "MGET a", 1, "+now\r\n");
    scripted_node_say(t.node[0], "MGET a", 0, "-TRYAGAIN never\r\n");
    assert_string_equal(ask(&t.asking, "MGET a"), "now");
    assert_string_equal(ask(&t.asking, "MGET a"), "TRYAGAIN never");
    assert_int_equal(scripted_node_asked(t.node[0], "MGET"), 3 + 6);
    script_done(&t);
}

/* What waits to be tried again may be late, be taken back, and come back with the client's end. */
static void test_what_waits_to_be_tried_again_can_be_taken_back(void **state)
{
    struct asked late = {.call.deadline_ms = 10}, forgotten = {0}, left = {0};
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "MGET", 0, "-TRYAGAIN never\r\n");
    asking_run_until_up(&t.asking);
    asked_start(&late, &t.asking, "MGET a");
    assert_string_equal(asked_wait(&late), late.was_error ? "TRYAGAIN never" : "late");
    asked_start(&forgotten, &t.asking, "MGET a");
    asked_start(&left, &t.asking, "MGET a");
    redis_forget(&forgotten.call);
    script_done(&t);
    assert_int_equal(forgotten.times, 0);
    assert_int_equal(left.times, 1);
}

static void test_a_cluster_that_is_down_is_not_waited_for(void **state)
{
    static const char *const errors[] = {"CLUSTERDOWN The cluster is down", "LOADING data",
                                         "MASTERDOWN Link with MASTER is down", "READONLY replica"};
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    say_map(&t, t.node[0], 16382);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        scripted_node_say(t.node[0], "GET a", 1, "-%s\r\n", errors[i]);
    asking_run(&t.asking, knows_nodes, &t.asking);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        assert_string_equal(ask(&t.asking, "GET a"), "down");
    assert_string_equal(ask(&t.asking, "GET a"), "(nil)");
    script_done(&t);
}

/* A server alone says such things to who asked: there is nobody else to go to. */
static void test_a_lone_servers_errors_are_answers(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "GET a", 0, "-LOADING data\r\n");
    asking_run(&t.asking, knows_nodes, &t.asking);
    assert_string_equal(ask(&t.asking, "GET a"), "LOADING data");
    script_done(&t);
}

/* The connection ends instead of an answer. */
static void test_reading_may_be_asked_twice_writing_not(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "GET a", 1, "-ASK %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    scripted_node_say(t.node[0], "SET a", 1, "-ASK %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    scripted_node_say(t.node[0], "GET a", 0, "$4\r\nhome\r\n");
    scripted_node_say(t.node[1], "GET a", 1, "%s", "");
    scripted_node_say(t.node[1], "SET a", 1, "%s", "");
    assert_string_equal(ask(&t.asking, "GET a"), "home");
    assert_int_equal(scripted_node_asked(t.node[1], "GET"), 1);
    do { /* until there is a connection to it once more */
        scripted_node_say(t.node[0], "MGET a", 1, "-ASK %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
        (void)ask(&t.asking, "MGET a");
    } while (scripted_node_asked(t.node[1], "MGET") == 0);
    assert_string_equal(ask(&t.asking, "SET a b"), "lost");
    assert_int_equal(scripted_node_asked(t.node[0], "SET"), 1);
    assert_int_equal(scripted_node_asked(t.node[1], "SET"), 1);
    script_done(&t);
}

/* -- maps -- */

static void test_the_map_says_where_to_go(void **state)
{
    struct script t;
    char want[ASKING_TEXT_MAX];

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    say_map(&t, t.node[0], SLOT_OF_A - 1);
    say_map(&t, t.node[1], SLOT_OF_A - 1);
    scripted_node_say(t.node[0], "GET", 0, "$5\r\nfirst\r\n");
    scripted_node_say(t.node[1], "GET", 0, "$6\r\nsecond\r\n");
    asking_run(&t.asking, knows_nodes, &t.asking);
    assert_string_equal(ask(&t.asking, "GET a"), "second");
    assert_string_equal(ask(&t.asking, "GET x{a}y"), "second");
    assert_string_equal(ask(&t.asking, "GET b"), "first");
    (void)snprintf(want, sizeof(want), "127.0.0.1:%u 127.0.0.1:%u ", t.port[0], t.port[1]);
    assert_string_equal(nodes_of(&t.asking), want);
    script_done(&t);
}

/* Whatever it says, the server that is configured goes on being asked. */
static void test_maps_that_make_no_sense_are_not_taken(void **state)
{
    static const char *const maps[] = {
        "*0\r\n",
        "+OK\r\n",
        ":5\r\n",
        "$-1\r\n",
        "*1\r\n*3\r\n:-1\r\n:5\r\n*2\r\n$1\r\nx\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nx\r\n:1\r\n",
        "*2\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\nx\r\n:1\r\n*3\r\n:5\r\n:6\r\n*2\r\n$1\r\ny\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$2\r\n/x\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\nx\r\n:99999\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        struct script t;

        script_init(&t, REDIS_CLUSTER_AUTO);
        scripted_node_say(t.node[0], "CLUSTER SLOTS", 0, "%s", maps[i]);
        scripted_node_say(t.node[0], "GET", 0, "$4\r\ngood\r\n");
        assert_string_equal(ask(&t.asking, "GET a"), "good");
        assert_string_equal(ask(&t.asking, "GET b"), "good");
        assert_int_equal(count_nodes(&t.asking), 1);
        script_done(&t);
    }
}

static void test_a_map_that_is_no_reply_ends_the_connection_only(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "CLUSTER SLOTS", 1, "*2147483647\r\n");
    say_map(&t, t.node[0], 16382);
    asking_run(&t.asking, knows_nodes, &t.asking);
    assert_string_equal(ask(&t.asking, "GET a"), "(nil)");
    assert_int_equal(t.asking.downs, 1);
    script_done(&t);
}

/* As some proxies do with what they do not know. */
static void test_a_server_that_hangs_up_on_it_is_alone(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "CLUSTER SLOTS", 0, "%s", "");
    asking_run(&t.asking, knows_nodes, &t.asking);
    assert_int_equal(scripted_node_asked(t.node[0], "CLUSTER"), 3);
    asking_run_until_up(&t.asking);
    assert_string_equal(ask(&t.asking, "GET a"), "(nil)");
    assert_int_equal(scripted_node_asked(t.node[0], "CLUSTER"), 3);
    script_done(&t);
}

static void test_a_slot_of_nobody_is_asked_of_anybody(void **state)
{
    struct script t;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    scripted_node_say(t.node[0], "CLUSTER SLOTS", 0,
                      "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n", t.port[0]);
    scripted_node_say(t.node[0], "GET a", 0, "-CLUSTERDOWN Hash slot not served\r\n");
    asking_run(&t.asking, knows_nodes, &t.asking);
    assert_string_equal(ask(&t.asking, "GET a"), "down");
    assert_true(t.asking.up); /* some calls can go */
    assert_int_equal(t.asking.cause, REDIS_REFUSING);
    script_done(&t);
}

static bool first_has_told_twice(void *arg)
{
    struct script *t = arg;

    return scripted_node_asked(t->node[0], "CLUSTER") + scripted_node_asked(t->node[1], "CLUSTER") >= 2;
}

static void test_many_redirections_read_the_map_once(void **state)
{
    enum { CALLS = 200 };
    static struct asked q[CALLS];
    struct script t;
    unsigned before;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    say_map(&t, t.node[0], 16382);
    say_map(&t, t.node[1], 16382);
    asking_run(&t.asking, knows_nodes, &t.asking);
    before = scripted_node_asked(t.node[0], "CLUSTER");
    assert_int_equal(before, 1);
    scripted_node_say(t.node[0], "GET a", 0, "-MOVED %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    for (int i = 0; i < CALLS; i++)
        asked_start(&q[i], &t.asking, "GET a");
    for (int i = 0; i < CALLS; i++)
        assert_string_equal(asked_wait(&q[i]), "(nil)");
    asking_run(&t.asking, first_has_told_twice, &t);
    assert_in_range(scripted_node_asked(t.node[0], "CLUSTER") + scripted_node_asked(t.node[1], "CLUSTER"), 2,
                    5);
    script_done(&t);
}

static bool second_has_all(void *arg)
{
    struct asking *a = arg;

    return count_nodes(a) == 1;
}

static void on_last_number(void *arg, uint32_t node, struct slice address)
{
    uint32_t *last = arg;

    (void)address;
    if (node > *last)
        *last = node;
}

static const char *ask_node(struct asking *a, uint32_t node, const char *line)
{
    static struct asked q;

    q.call.deadline_ms = 10 * 1000;
    asked_start_at(&q, a, node, line);
    return asked_wait(&q);
}

static void test_a_new_map_replaces_the_old_one(void **state)
{
    uint32_t number = 0, next_number = 0;
    struct script t;
    char want[ASKING_TEXT_MAX];

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    say_map(&t, t.node[0], 16382);
    asking_run(&t.asking, knows_nodes, &t.asking);
    assert_int_equal(count_nodes(&t.asking), 2);
    redis_each_node(t.asking.redis, on_last_number, &number);
    scripted_node_forget(t.node[0]);
    for (int i = 0; i < NODES; i++)
        scripted_node_say(t.node[i], "CLUSTER SLOTS", 0,
                          "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n", t.port[1]);
    scripted_node_say(t.node[0], "GET a", 0, "-MOVED %d 127.0.0.1:%u\r\n", SLOT_OF_A, t.port[1]);
    assert_string_equal(ask(&t.asking, "GET a"), "(nil)");
    asking_run(&t.asking, second_has_all, &t.asking);
    (void)snprintf(want, sizeof(want), "127.0.0.1:%u ", t.port[1]);
    assert_string_equal(nodes_of(&t.asking), want);
    assert_string_equal(ask(&t.asking, "GET b"), "(nil)");
    assert_int_equal(scripted_node_asked(t.node[1], "GET b"), 1);
    /* Who has walked over all nodes up to here comes by once more; who is in the middle of it is not
     * disturbed. */
    redis_each_node(t.asking.redis, on_last_number, &next_number);
    assert_true(next_number > number);
    assert_string_equal(ask_node(&t.asking, number, "SCAN 0"), "OK");
    assert_string_equal(ask_node(&t.asking, next_number, "SCAN 0"), "OK");
    assert_string_equal(ask_node(&t.asking, next_number + 1, "SCAN 0"), "down");
    assert_int_equal(scripted_node_asked(t.node[1], "SCAN"), 2);
    script_done(&t);
}

/* Redirections to ever new addresses do not add up without end: past the ceiling they are not followed. */
static void test_nodes_have_a_ceiling(void **state)
{
    struct script t;
    int followed = 0;

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    for (int i = 0; i < 600; i++) {
        scripted_node_forget(t.node[0]);
        scripted_node_say(t.node[0], "GET a", 0, "-ASK %d 127.0.%d.%d:%u\r\n", SLOT_OF_A, i / 200,
                          i % 200 + 2, t.port[1]);
        followed += strcmp(ask(&t.asking, "GET a"), "down") == 0;
    }
    assert_in_range(followed, REDIS_MASTERS_MAX, REDIS_MASTERS_MAX + 32);
    assert_string_equal(ask(&t.asking, "GET b"), "(nil)");
    script_done(&t);
}

static void test_a_lone_server_is_one_node(void **state)
{
    struct script t;
    char want[ASKING_TEXT_MAX];

    (void)state;
    script_init(&t, REDIS_CLUSTER_AUTO);
    asking_run(&t.asking, knows_nodes, &t.asking);
    (void)snprintf(want, sizeof(want), "127.0.0.1:%u ", t.port[0]);
    assert_string_equal(nodes_of(&t.asking), want);
    assert_string_equal(ask(&t.asking, "GET a"), "(nil)");
    assert_int_equal(scripted_node_asked(t.node[0], "CLUSTER"), 1);
    script_done(&t);
}

/* -- a real cluster -- */

enum { NAMES = 60 };

static struct redis_conf conf_of(struct redis_server *s)
{
    return (struct redis_conf){.host = "127.0.0.1",
                               .port = (uint16_t)redis_server_port(s),
                               .timeout_ms = 5000,
                               .connect_timeout_ms = 5000};
}

static void set_all(struct asking *a)
{
    char line[64];

    for (int i = 0; i < NAMES; i++) {
        (void)snprintf(line, sizeof(line), "SET refrain:%d v%d", i, i);
        assert_string_equal(ask(a, line), "OK");
    }
}

/* How many of them are there; those that are must be right. */
static int count_all(struct asking *a)
{
    char line[64], want[64];
    int n = 0;

    for (int i = 0; i < NAMES; i++) {
        const char *got;

        (void)snprintf(line, sizeof(line), "GET refrain:%d", i);
        (void)snprintf(want, sizeof(want), "v%d", i);
        got = ask(a, line);
        if (strcmp(got, want) == 0)
            n++;
        else if (strcmp(got, "down") != 0 && strcmp(got, "(nil)") != 0 && strcmp(got, "lost") != 0)
            fail_msg("%s: %s", line, got);
    }
    return n;
}

static void test_all_masters_are_used(void **state)
{
    struct redis_cluster *c = redis_cluster_new(NULL);
    struct asking a;

    (void)state;
    for (int i = 0; i < REDIS_CLUSTER_NODES; i += 4) { /* from a master, and from a replica */
        asking_init(&a, conf_of(redis_cluster_node(c, i)));
        set_all(&a);
        assert_int_equal(count_all(&a), NAMES);
        assert_true(redis_knows_nodes(a.redis));
        assert_int_equal(count_nodes(&a), 3);
        assert_true(a.up);
        asking_done(&a);
    }
    for (int i = 0; i < 3; i++)
        assert_false(redis_server_says(redis_cluster_node(c, i), "0", "DBSIZE"));
    redis_cluster_free(c);
}

static void test_slots_move_under_way(void **state)
{
    struct redis_cluster *c = redis_cluster_new(NULL);
    struct redis_server *source = redis_cluster_master_of(c, "{m}1"), *target = redis_cluster_node(c, 0);
    struct asking a;

    (void)state;
    if (target == source)
        target = redis_cluster_node(c, 1);
    asking_init(&a, conf_of(redis_cluster_node(c, 2)));
    assert_string_equal(ask(&a, "MSET {m}1 one {m}2 two"), "OK");
    redis_cluster_move_begin(c, "{m}1", target);
    redis_cluster_move_key(c, "{m}1", target);
    assert_string_equal(ask(&a, "GET {m}1"), "one"); /* by ASK */
    assert_string_equal(ask(&a, "GET {m}2"), "two"); /* still here */
    assert_string_equal(ask(&a, "SET {m}3 three"), "OK");
    assert_memory_equal(ask(&a, "MGET {m}1 {m}2"), "TRYAGAIN", 8);
    redis_cluster_move_end(c, "{m}1", target);
    assert_string_equal(ask(&a, "MGET {m}1 {m}2 {m}3"), "[one two three]"); /* by MOVED */
    asking_done(&a);
    redis_cluster_free(c);
}

static bool has_every_slot(void *arg)
{
    struct asking *a = arg;

    return a->up && a->cause == REDIS_FINE;
}

static void test_a_replica_stands_in(void **state)
{
    struct redis_cluster *c = redis_cluster_new(NULL);
    struct redis_server *dead = redis_cluster_master_of(c, "refrain:1");
    struct asking a;
    char want[64];
    int alive;
    int64_t began_ms;

    (void)state;
    asking_init(&a, conf_of(dead)); /* the one that is configured, moreover */
    set_all(&a);
    (void)redis_cluster_kill_master(c, "refrain:1");
    began_ms = clock_mono_ms();
    alive = count_all(&a);
    if (clock_mono_ms() - began_ms > 5000)
        fail_msg("calls waited for a node that is gone");
    asking_run(&a, has_every_slot, &a);
    assert_int_equal(count_all(&a), NAMES); /* the replica had all */
    assert_true(alive <= NAMES);
    (void)snprintf(want, sizeof(want), "127.0.0.1:%d ", redis_server_port(dead));
    assert_null(strstr(nodes_of(&a), want));
    redis_server_restart(dead);
    redis_cluster_settle(c);
    assert_int_equal(count_all(&a), NAMES);
    asking_done(&a);
    redis_cluster_free(c);
}

static void test_a_whole_cluster_goes_and_comes_back(void **state)
{
    struct redis_cluster *c = redis_cluster_new(NULL);
    struct asking a;

    (void)state;
    asking_init(&a, conf_of(redis_cluster_node(c, 0)));
    set_all(&a);
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        redis_server_kill(redis_cluster_node(c, i));
    (void)ask(&a, "GET refrain:1");
    asking_run_until_down(&a, 1);
    assert_int_equal(count_all(&a), 0);
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        redis_server_restart(redis_cluster_node(c, i));
    redis_cluster_settle(c);
    asking_run(&a, has_every_slot, &a);
    set_all(&a);
    assert_int_equal(count_all(&a), NAMES);
    asking_done(&a);
    redis_cluster_free(c);
}

static void test_a_cluster_behind_tls_with_users(void **state)
{
    struct redis_cluster *c =
        redis_cluster_new(&(struct redis_server_conf){.tls = true, .user = "refrain", .password = "secret"});
    struct redis_conf conf = conf_of(redis_cluster_node(c, 1));
    const char *folder = redis_server_certificates(redis_cluster_node(c, 1));
    char ca[256], cert[256], key[256];
    struct asking a;

    (void)state;
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    (void)snprintf(cert, sizeof(cert), "%s/client.pem", folder);
    (void)snprintf(key, sizeof(key), "%s/client.key", folder);
    conf.tls = (struct redis_tls_conf){.on = true, .ca_file = ca, .cert_file = cert, .key_file = key};
    conf.username = "refrain";
    conf.password = "secret";
    asking_init(&a, conf);
    set_all(&a);
    assert_int_equal(count_all(&a), NAMES);
    assert_int_equal(count_nodes(&a), 3);
    asking_done(&a);
    redis_cluster_free(c);
}

/* -- listening -- */

struct listening {
    unsigned ups, heard;
};

static void on_message(void *arg, struct slice channel, struct slice payload)
{
    struct listening *l = arg;

    (void)channel;
    (void)payload;
    l->heard++;
}

static void on_sub_state(void *arg, const struct redis_state *state)
{
    struct listening *l = arg;

    l->ups += state->up ? 1 : 0;
}

static bool is_listening(void *arg)
{
    const struct listening *l = arg;

    return l->ups == 1;
}

static bool is_listening_again(void *arg)
{
    const struct listening *l = arg;

    return l->ups == 2;
}

static bool has_heard(void *arg)
{
    const struct listening *l = arg;

    return l->heard > 0;
}

/* The node that it was told of dies, for good; what is published at another one, which has slot a, is heard.
 */
static void test_a_listener_goes_on_to_another_node(void **state)
{
    struct redis_cluster *c = redis_cluster_new(NULL);
    const struct slice channels[] = {SLICE("refrain:{a}news")};
    struct listening l = {0};
    const struct redis_sub_conf sub = {
        .channels = channels, .channels_n = 1, .on_message = on_message, .on_state = on_sub_state, .arg = &l};
    struct redis_conf conf = conf_of(redis_cluster_node(c, 0));
    struct redis_sub *s;
    struct asking a;

    (void)state;
    asking_init(&a, conf_of(redis_cluster_node(c, 1)));
    s = redis_sub_new(a.loop, &conf, &sub);
    assert_non_null(s);
    asking_run(&a, is_listening, &l);
    redis_server_kill(redis_cluster_node(c, 0));
    asking_run(&a, is_listening_again, &l);
    (void)ask(&a, "PUBLISH refrain:{a}news x");
    asking_run(&a, has_heard, &l);
    assert_int_equal(l.heard, 1);
    redis_sub_free(s);
    asking_done(&a);
    redis_cluster_free(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moved_is_followed_and_remembered),
        cmocka_unit_test(test_moved_is_an_answer_where_clusters_are_off),
        cmocka_unit_test(test_moved_in_a_circle_ends),
        cmocka_unit_test(test_moved_to_where_nobody_is_comes_back_at_once),
        cmocka_unit_test(test_redirections_that_make_no_sense_are_answers),
        cmocka_unit_test(test_ask_is_followed_once),
        cmocka_unit_test(test_ask_to_a_dead_node_comes_back_at_once),
        cmocka_unit_test(test_try_again_is_tried_again_and_not_for_ever),
        cmocka_unit_test(test_what_waits_to_be_tried_again_can_be_taken_back),
        cmocka_unit_test(test_a_cluster_that_is_down_is_not_waited_for),
        cmocka_unit_test(test_a_lone_servers_errors_are_answers),
        cmocka_unit_test(test_reading_may_be_asked_twice_writing_not),
        cmocka_unit_test(test_the_map_says_where_to_go),
        cmocka_unit_test(test_maps_that_make_no_sense_are_not_taken),
        cmocka_unit_test(test_a_map_that_is_no_reply_ends_the_connection_only),
        cmocka_unit_test(test_a_server_that_hangs_up_on_it_is_alone),
        cmocka_unit_test(test_a_slot_of_nobody_is_asked_of_anybody),
        cmocka_unit_test(test_many_redirections_read_the_map_once),
        cmocka_unit_test(test_a_new_map_replaces_the_old_one),
        cmocka_unit_test(test_nodes_have_a_ceiling),
        cmocka_unit_test(test_a_lone_server_is_one_node),
        cmocka_unit_test(test_all_masters_are_used),
        cmocka_unit_test(test_slots_move_under_way),
        cmocka_unit_test(test_a_replica_stands_in),
        cmocka_unit_test(test_a_whole_cluster_goes_and_comes_back),
        cmocka_unit_test(test_a_cluster_behind_tls_with_users),
        cmocka_unit_test(test_a_listener_goes_on_to_another_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
