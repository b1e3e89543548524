/*
 * redis against servers that are hostile, confused or just not Redis: each call comes back exactly once, by
 * its deadline, with what is its own or with nothing; and the client finds its way back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "redis_asking.h"
#include "redis_scripted.h"
#include "refrain/base/attr.h"

enum { TIMEOUT_MS = 10 * 1000 }; /* of what is not to be late */

static struct redis_conf conf_of(uint16_t port)
{
    return (struct redis_conf){.host = "127.0.0.1",
                               .port = port,
                               .timeout_ms = TIMEOUT_MS,
                               .connect_timeout_ms = TIMEOUT_MS,
                               .bulk_bytes_max = 1 << 20,
                               .reply_bytes_max = 1 << 20,
                               .elements_max = 1000,
                               .cluster = REDIS_CLUSTER_OFF};
}

/* -- what is said to a GET, with one before it that was answered and one behind it; what was lost is asked
 * anew, in vain -- */

static const struct {
    const char *why, *say;
    const char *want, *want_behind; /* texts of replies, or why there is none */
    enum redis_cause cause;         /* REDIS_FINE: the connection stays */
} answers[] = {
    {"a text", "$2\r\nhi\r\n", "hi", "(nil)", REDIS_FINE},
    {"an error", "-ERR no\r\n", "ERR no", "(nil)", REDIS_FINE},
    {"a status where a text belongs", "+hi\r\n", "hi", "(nil)", REDIS_FINE},
    {"an array where a text belongs", "*1\r\n:1\r\n", "[1]", "(nil)", REDIS_FINE},
    {"it is reading its data", "-LOADING Redis is loading the dataset in memory\r\n",
     "LOADING Redis is loading the dataset in memory", "(nil)", REDIS_FINE},
    {"a text of another length than it says", "$2\r\nhello\r\n", "down", "down", REDIS_CONFUSED},
    {"a length that is none", "$x\r\n", "down", "down", REDIS_CONFUSED},
    {"a count to fill all memory", "*2147483647\r\n", "down", "down", REDIS_CONFUSED},
    {"a count just past what is allowed", "*1001\r\n", "down", "down", REDIS_CONFUSED},
    {"a length that nobody has", "$999999999999\r\n", "down", "down", REDIS_CONFUSED},
    {"deeper than allowed", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "down", "down",
     REDIS_CONFUSED},
    {"HTTP", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "down", "down", REDIS_CONFUSED},
    {"RESP3", "_\r\n", "down", "down", REDIS_CONFUSED},
    {"closes instead", "", "down", "down", REDIS_CLOSED},
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct scripted_node *s = scripted_node_new();
        struct asked before = {0}, it = {0}, behind = {0};
        struct asking a;

        asking_init(&a, conf_of(scripted_node_port(s)));
        scripted_node_attach(s, a.loop);
        scripted_node_say(s, "GET it", 1, "%s", answers[i].say);
        asking_run_until_up(&a);
        asked_start(&before, &a, "GET before");
        asked_start(&it, &a, "GET it");
        asked_start(&behind, &a, "GET behind");
        assert_string_equal(asked_wait(&before), "(nil)");
        if (strcmp(asked_wait(&it), answers[i].want) != 0)
            fail_msg("%s: %s", answers[i].why, it.text);
        if (strcmp(asked_wait(&behind), answers[i].want_behind) != 0)
            fail_msg("%s: behind it %s", answers[i].why, behind.text);
        if (answers[i].cause != REDIS_FINE) {
            if (a.downs != 1 || a.cause != answers[i].cause)
                fail_msg("%s: %u times down, %s", answers[i].why, a.downs, redis_cause_text(a.cause));
            asking_run_until_up(&a); /* it has nothing more to say than it had */
        }
        assert_string_equal(ask(&a, "GET again"), "(nil)");
        assert_true(it.times == 1 && behind.times == 1 && before.times == 1);
        scripted_node_free(s);
        asking_done(&a);
    }
}

/* The reply that nobody asked for must not become that of the next who asks. */
static void test_a_reply_nobody_asked_for_is_nobodys(void **state)
{
    struct scripted_node *s = scripted_node_new();
    struct asked first = {0}, next = {0};
    struct asking a;

    (void)state;
    asking_init(&a, conf_of(scripted_node_port(s)));
    scripted_node_attach(s, a.loop);
    scripted_node_say(s, "GET first", 1, "$3\r\none\r\n$6\r\nothers\r\n");
    asking_run_until_up(&a);
    asked_start(&first, &a, "GET first");
    assert_string_equal(asked_wait(&first), "one");
    asking_run_until_down(&a, 1);
    assert_int_equal(a.cause, REDIS_CONFUSED);
    asking_run_until_up(&a);
    asked_start(&next, &a, "GET next");
    assert_string_equal(asked_wait(&next), "(nil)");
    scripted_node_free(s);
    asking_done(&a);
}

/* -- the greeting -- */

static const struct {
    const char *why, *to, *say;
    enum redis_cause cause;
} greetings[] = {
    {"wants a password", "CLIENT SETNAME", "-NOAUTH Authentication required.\r\n", REDIS_NOAUTH},
    {"takes none of ours", "AUTH", "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
     REDIS_WRONGPASS},
    {"is reading its data", "PING", "-LOADING Redis is loading the dataset in memory\r\n", REDIS_LOADING},
    {"is full", "AUTH", "-ERR max number of clients reached\r\n", REDIS_REFUSING},
    {"is protected", "AUTH", "-DENIED Redis is running in protected mode\r\n", REDIS_REFUSING},
    {"has no such database", "SELECT", "-ERR DB index is out of range\r\n", REDIS_NO_DB},
    {"answers PING with something else", "PING", "+GNOP\r\n", REDIS_CONFUSED},
    {"answers AUTH with a number", "AUTH", ":1\r\n", REDIS_CONFUSED},
    {"is a web server", "AUTH", "HTTP/1.1 400 Bad Request\r\n\r\n", REDIS_CONFUSED},
    {"sends a text larger than allowed", "PING", "$1048577\r\n", REDIS_FINE}, /* see below */
    {"closes at once", "AUTH", "", REDIS_CLOSED},
    {"fails in a way of its own", "PING", "-ERR something\r\n", REDIS_REFUSING},
};

static void test_greetings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(greetings); i++) {
        struct scripted_node *s = scripted_node_new();
        struct redis_conf conf = conf_of(scripted_node_port(s));
        enum redis_cause want = greetings[i].cause == REDIS_FINE ? REDIS_CONNECT_LATE : greetings[i].cause;
        struct asked waiting = {0};
        struct asking a;

        conf.password = "x";
        conf.db = 1;
        if (want == REDIS_CONNECT_LATE)
            conf.connect_timeout_ms = 200; /* it never comes, and is not waited for */
        asking_init(&a, conf);
        scripted_node_attach(s, a.loop);
        scripted_node_say(s, greetings[i].to, 1, "%s", greetings[i].say);
        asked_start(&waiting, &a, "GET x");
        assert_string_equal(asked_wait(&waiting), "down");
        if (a.cause != want || a.downs != 1)
            fail_msg("%s: %s (%s)", greetings[i].why, redis_cause_text(a.cause), a.detail);
        asking_run_until_up(&a); /* the next time it is well */
        assert_string_equal(ask(&a, "GET x"), "(nil)");
        scripted_node_free(s);
        asking_done(&a);
    }
}

/* One that may not be asked for PING or given a name, but lets us in. */
static void test_few_rights_are_no_refusal(void **state)
{
    struct scripted_node *s = scripted_node_new();
    struct asking a;

    (void)state;
    asking_init(&a, conf_of(scripted_node_port(s)));
    scripted_node_attach(s, a.loop);
    scripted_node_say(s, "CLIENT", 0, "-NOPERM this user has no permissions\r\n");
    scripted_node_say(s, "PING", 0, "-NOPERM this user has no permissions\r\n");
    asking_run_until_up(&a);
    assert_int_equal(a.downs, 0);
    scripted_node_free(s);
    asking_done(&a);
}

/* Takes connections and never says a word. */
static void test_a_silent_server(void **state)
{
    struct scripted_node *s = scripted_node_new();
    struct redis_conf conf = conf_of(scripted_node_port(s));
    struct asked late = {0}, down = {0};
    struct asking a;

    (void)state;
    conf.connect_timeout_ms = 150;
    asking_init(&a, conf);
    late.call.deadline_ms = 20;
    asked_start(&late, &a, "GET x");
    asked_start(&down, &a, "GET y");
    assert_string_equal(asked_wait(&late), "late");
    assert_string_equal(asked_wait(&down), "down");
    assert_int_equal(a.cause, REDIS_CONNECT_LATE);
    assert_string_equal(ask(&a, "GET z"), "down");
    scripted_node_free(s);
    asking_done(&a);
}

/* A server that closes after each greeting is not asked in a tight circle. */
static void test_one_that_closes_again_and_again_is_left_alone_for_longer(void **state)
{
    struct scripted_node *s = scripted_node_new();
    struct asking a;
    int64_t began;

    (void)state;
    asking_init(&a, conf_of(scripted_node_port(s)));
    scripted_node_attach(s, a.loop);
    scripted_node_say(s, "PING", 0, "%s", "");
    asking_run_until_down(&a, 1);
    began = loop_now_ms(a.loop);
    asking_run_until_down(&a, 6);
    assert_true(loop_now_ms(a.loop) - began >=
                12 + 25 + 50 + 100 + 200); /* rests double, less half by chance */
    assert_true(scripted_node_asked(s, "PING") <= 7);
    scripted_node_free(s);
    asking_done(&a);
}

/* -- one that drips -- */

struct drip {
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_bool cut;
};

/* Greets, and then sends a reply that never ends, byte by byte. */
static void *run_drip(void *arg)
{
    static const char greeting[] = "+OK\r\n+PONG\r\n", head[] = "$1000000\r\n";
    struct drip *d = arg;
    char in[4096];
    int fd = accept(d->listener, NULL, NULL);

    (void)!recv(fd, in, sizeof(in), 0);
    (void)!send(fd, greeting, sizeof(greeting) - 1, MSG_NOSIGNAL);
    (void)!recv(fd, in, sizeof(in), 0);
    (void)!send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL);
    while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
        (void)usleep(5000);
    atomic_store(&d->cut, true);
    (void)close(fd);
    return NULL;
}

static void drip_start(struct drip *d)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    atomic_init(&d->cut, false);
    d->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(d->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(d->listener, 1), 0);
    assert_int_equal(getsockname(d->listener, (struct sockaddr *)&a, &len), 0);
    d->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&d->thread, NULL, run_drip, d), 0);
}

static bool was_cut(void *arg)
{
    struct drip *d = arg;

    return atomic_load(&d->cut);
}

/* It is never silent for long, and still does not hold a connection for ever. */
static void test_a_drip_is_cut(void **state)
{
    struct asked late = {0}, behind = {0};
    struct redis_conf conf;
    struct asking a;
    struct drip d;

    (void)state;
    drip_start(&d);
    conf = conf_of(d.port);
    conf.connect_timeout_ms = 100;
    asking_init(&a, conf);
    asking_run_until_up(&a);
    late.call.deadline_ms = 30;
    asked_start(&late, &a, "GET x");
    behind.call.deadline_ms = 15 * 1000;
    asked_start(&behind, &a, "GET y");
    assert_string_equal(asked_wait(&late), "late");
    assert_string_equal(asked_wait(&behind), "down");
    assert_int_equal(a.cause, REDIS_SILENT);
    asking_run(&a, was_cut, &d);
    asking_done(&a);
    (void)pthread_join(d.thread, NULL);
    (void)close(d.listener);
}

/* -- channels -- */

static unsigned messages, sub_ups, sub_downs;

static void on_message(void *arg, struct slice channel, struct slice payload)
{
    (void)arg;
    (void)channel;
    (void)payload;
    messages++;
}

static void on_sub_state(void *arg, const struct redis_state *state)
{
    (void)arg;
    sub_ups += state->up;
    sub_downs += !state->up;
}

static bool sub_went_up_twice(void *arg)
{
    (void)arg;
    return sub_ups >= 2;
}

static const char *const pushes[] = {
    ":1\r\n",
    "+OK\r\n",
    "*0\r\n",
    "*1\r\n:1\r\n",
    "*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n",
    "*2\r\n$7\r\nmessage\r\n$1\r\nx\r\n",
    "*3\r\n$8\r\nwhatever\r\n$1\r\nx\r\n$1\r\ny\r\n",
    "$-1\r\n",
};

/* What is no message is passed over, one that breaks the protocol or is an error makes it connect anew. */
static void test_odd_pushes(void **state)
{
    static const struct slice channels[] = {SLICE("refrain:a")};
    struct scripted_node *s = scripted_node_new();
    struct redis_conf conf = conf_of(scripted_node_port(s));
    struct redis_sub *sub;
    struct asking a;
    char odd[1024] = "";

    (void)state;
    messages = sub_ups = sub_downs = 0;
    for (size_t i = 0; i < ARRAY_LEN(pushes); i++)
        (void)strncat(odd, pushes[i], sizeof(odd) - strlen(odd) - 1);
    scripted_node_say(s, "SUBSCRIBE", 1,
                      "*3\r\n$9\r\nsubscribe\r\n$9\r\nrefrain:a\r\n:1\r\n%s"
                      "*3\r\n$7\r\nmessage\r\n$9\r\nrefrain:a\r\n$2\r\nhi\r\n-ERR no more\r\n",
                      odd);
    scripted_node_say(s, "SUBSCRIBE", 1, "*3\r\n$9\r\nsubscribe\r\n$9\r\nrefrain:a\r\n:1\r\n");
    asking_init(&a, conf);
    scripted_node_attach(s, a.loop);
    sub = redis_sub_new(a.loop, &conf, &(struct redis_sub_conf){channels, 1, on_message, on_sub_state, NULL});
    asking_run(&a, sub_went_up_twice, NULL);
    assert_int_equal(messages, 1);
    assert_int_equal(sub_downs, 1);
    redis_sub_free(sub);
    scripted_node_free(s);
    asking_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_reply_nobody_asked_for_is_nobodys),
        cmocka_unit_test(test_greetings),
        cmocka_unit_test(test_few_rights_are_no_refusal),
        cmocka_unit_test(test_a_silent_server),
        cmocka_unit_test(test_one_that_closes_again_and_again_is_left_alone_for_longer),
        cmocka_unit_test(test_a_drip_is_cut),
        cmocka_unit_test(test_odd_pushes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
