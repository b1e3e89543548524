/* redis against real servers: plain, unix socket, TLS, users; servers that freeze, die and come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_asking.h"
#include "redis_server.h"
#include "refrain/base/attr.h"

static struct redis_conf conf_of(struct redis_server *s)
{
    return (struct redis_conf){.host = "127.0.0.1",
                               .port = (uint16_t)redis_server_port(s),
                               .timeout_ms = 5000, /* what is late is its own tests' subject */
                               .connect_timeout_ms = 5000};
}

static void test_replies_of_each_kind(void **state)
{
    static const struct {
        const char *why, *line, *want;
    } cases[] = {
        {"status", "SET a one", "OK"},
        {"text", "GET a", "one"},
        {"nil", "GET none", "(nil)"},
        {"integer", "DEL a", "1"},
        {"array", "EVAL return{1,{'x',false},'y'} 0", "[1 [x (nil)] y]"},
        {"empty array", "LRANGE none 0 -1", "[]"},
        {"empty text", "EVAL return'' 0", ""},
        {"error", "LPUSH", "ERR wrong number of arguments for 'lpush' command"},
    };
    struct redis_server *s = redis_server_new(NULL);
    struct asking a;

    (void)state;
    asking_init(&a, conf_of(s));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = ask(&a, cases[i].line);

        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: %s", cases[i].why, got);
    }
    assert_int_equal(a.ups, 1);
    assert_true(redis_is_up(a.redis));
    asking_done(&a);
    redis_server_free(s);
}

/* Larger than what goes through the parser, and than what one read brings. */
static void test_large_texts_come_whole_and_can_be_kept(void **state)
{
    static const size_t sizes[] = {16383, 16384, 16385, 65536, 100000, 3 << 20};
    struct redis_server *s = redis_server_new(NULL);
    struct asking a;

    (void)state;
    asking_init(&a, conf_of(s));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct asked q = {.wants_blob = true};
        char line[128];

        (void)snprintf(line, sizeof(line), "EVAL return'A'..string.rep('x',%zu)..'Z' 0", sizes[i] - 2);
        asked_start(&q, &a, line);
        (void)asked_wait(&q);
        assert_non_null(q.taken);
        assert_int_equal(q.taken->len, sizes[i]);
        assert_true(q.taken->bytes[0] == 'A' && q.taken->bytes[sizes[i] - 1] == 'Z');
        for (size_t j = 1; j < sizes[i] - 1; j++)
            if (q.taken->bytes[j] != 'x')
                fail_msg("byte %zu of %zu", j, sizes[i]);
        blob_unref(q.taken);
    }
    asking_done(&a);
    redis_server_free(s);
}

/* Far more than any socket takes at once, in both directions, with small calls behind it. */
static void there_and_back(struct redis_server *s, struct redis_conf conf)
{
    static char text[8 << 20];
    const struct slice argv[] = {SLICE("SET"), SLICE("refrain:big"), {text, sizeof(text)}};
    struct asked set = {0}, small = {0}, get = {.wants_blob = true};
    struct asking a;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 31 + i / 4096);
    conf.timeout_ms = 15 * 1000;
    asking_init(&a, conf);
    asked_start(&set, &a, "PING"); /* the words are put in its place */
    (void)asked_wait(&set);
    set.times = 0;
    set.text[0] = '\0';
    set.call.argv = argv;
    set.call.argc = ARRAY_LEN(argv);
    redis_ask(a.redis, &set.call);
    asked_start(&get, &a, "GET refrain:big");
    asked_start(&small, &a, "GET refrain:none");
    assert_string_equal(asked_wait(&small), "(nil)");
    assert_string_equal(asked_wait(&set), "OK");
    assert_int_equal(get.times, 1);
    assert_int_equal(get.taken->len, sizeof(text));
    assert_memory_equal(get.taken->bytes, text, sizeof(text));
    blob_unref(get.taken);
    assert_int_equal(a.ups, 1);
    asking_done(&a);
    redis_server_free(s);
}

static void test_what_is_large_goes_and_comes_in_pieces(void **state)
{
    struct redis_server *plain = redis_server_new(NULL);
    struct redis_server *tls = redis_server_new(&(struct redis_server_conf){.tls = true});
    struct redis_conf conf = conf_of(tls);
    char ca[256], cert[256], key[256];

    (void)state;
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", redis_server_certificates(tls));
    (void)snprintf(cert, sizeof(cert), "%s/client.pem", redis_server_certificates(tls));
    (void)snprintf(key, sizeof(key), "%s/client.key", redis_server_certificates(tls));
    conf.tls = (struct redis_tls_conf){.on = true, .ca_file = ca, .cert_file = cert, .key_file = key};
    there_and_back(plain, conf_of(plain));
    there_and_back(tls, conf);
}

static void test_a_text_past_the_cap_costs_its_own_call_only(void **state)
{
    struct redis_server *s = redis_server_new(NULL);
    struct redis_conf conf = conf_of(s);
    struct asked before = {0}, big = {0}, after = {0};
    struct asking a;

    (void)state;
    conf.bulk_bytes_max = 100000;
    asking_init(&a, conf);
    asked_start(&before, &a, "ECHO one");
    asked_start(&big, &a, "EVAL return'A'..string.rep('x',100000) 0");
    asked_start(&after, &a, "ECHO two");
    assert_string_equal(asked_wait(&after), "two");
    assert_string_equal(before.text, "one");
    assert_int_equal(big.why, REDIS_TOO_LARGE);
    assert_int_equal(a.ups, 1);
    asking_done(&a);
    redis_server_free(s);
}

static void test_calls_are_pipelined_and_come_back_in_order(void **state)
{
    enum { N = 1000 };
    struct redis_server *s = redis_server_new(NULL);
    struct asked *q = calloc(N, sizeof(*q));
    struct asking a;

    (void)state;
    asking_init(&a, conf_of(s));
    for (int i = 0; i < N; i++) {
        char line[32];

        (void)snprintf(line, sizeof(line), "INCRBY n 1");
        asked_start(&q[i], &a, line);
    }
    assert_string_equal(asked_wait(&q[N - 1]), "1000");
    for (int i = 0; i < N; i++) {
        assert_int_equal(q[i].times, 1);
        assert_int_equal(atoi(q[i].text), i + 1);
    }
    free(q);
    asking_done(&a);
    redis_server_free(s);
}

static void test_ways_to_connect(void **state)
{
    static const struct {
        const char *why;
        struct redis_server_conf server;
        const char *username, *password, *ca, *cert, *server_name;
        bool verify_off, by_name;
        unsigned db;
        enum redis_cause want;
    } cases[] = {
        {.why = "a unix socket", .server = {.unix_socket = true}},
        {.why = "a unix socket with a password",
         .server = {.unix_socket = true, .password = "x"},
         .password = "x"},
        {.why = "a name", .by_name = true},
        {.why = "a database", .db = 3},
        {.why = "a database that there is not", .db = 99, .want = REDIS_NO_DB},
        {.why = "a password", .server = {.password = "x"}, .password = "x"},
        {.why = "none where one is wanted", .server = {.password = "x"}, .want = REDIS_NOAUTH},
        {.why = "a wrong one", .server = {.password = "x"}, .password = "y", .want = REDIS_WRONGPASS},
        {.why = "one that nobody wants", .password = "y", .want = REDIS_WRONGPASS},
        {.why = "a user of least rights",
         .server = {.user = "refrain", .password = "x"},
         .username = "refrain",
         .password = "x"},
        {.why = "another user",
         .server = {.user = "refrain", .password = "x"},
         .username = "someone",
         .password = "x",
         .want = REDIS_WRONGPASS},
        {.why = "TLS with a certificate of ours, by address",
         .server = {.tls = true},
         .ca = "ca.pem",
         .cert = "client"},
        {.why = "TLS by name", .server = {.tls = true}, .ca = "ca.pem", .cert = "client", .by_name = true},
        {.why = "TLS, another name in the certificate is expected, which is there",
         .server = {.tls = true},
         .ca = "ca.pem",
         .cert = "client",
         .server_name = "redis.test"},
        {.why = "TLS and a user",
         .server = {.tls = true, .user = "refrain", .password = "x"},
         .username = "refrain",
         .password = "x",
         .ca = "ca.pem",
         .cert = "client"},
        {.why = "TLS, the certificate is another's",
         .server = {.tls = true},
         .ca = "ca.pem",
         .cert = "client",
         .server_name = "other.test",
         .want = REDIS_TLS_REFUSED},
        {.why = "TLS, an authority that signed nothing",
         .server = {.tls = true},
         .ca = "stranger.pem",
         .cert = "client",
         .want = REDIS_TLS_REFUSED},
        {.why = "TLS, the system's authorities",
         .server = {.tls = true},
         .cert = "client",
         .want = REDIS_TLS_REFUSED},
        {.why = "TLS, taking any certificate", .server = {.tls = true}, .cert = "client", .verify_off = true},
        {.why = "TLS, no such file", .server = {.tls = true}, .ca = "none.pem", .want = REDIS_TLS_FILES},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct redis_server *s = redis_server_new(&cases[i].server);
        struct redis_conf conf = conf_of(s);
        char ca[256], cert[256], key[256];
        struct asking a;

        if (cases[i].server.unix_socket)
            conf.path = redis_server_path(s);
        if (cases[i].by_name)
            conf.host = "localhost";
        conf.username = cases[i].username;
        conf.password = cases[i].password;
        conf.db = cases[i].db;
        conf.tls.on = cases[i].server.tls;
        conf.tls.verify_off = cases[i].verify_off;
        conf.tls.server_name = cases[i].server_name;
        if (cases[i].ca) {
            (void)snprintf(ca, sizeof(ca), "%s/%s", redis_server_certificates(s), cases[i].ca);
            conf.tls.ca_file = ca;
        }
        if (cases[i].cert) {
            (void)snprintf(cert, sizeof(cert), "%s/%s.pem", redis_server_certificates(s), cases[i].cert);
            (void)snprintf(key, sizeof(key), "%s/%s.key", redis_server_certificates(s), cases[i].cert);
            conf.tls.cert_file = cert;
            conf.tls.key_file = key;
        }
        print_message("%s\n", cases[i].why);
        asking_init(&a, conf);
        if (cases[i].want == REDIS_FINE) {
            asking_run_until_up(&a);
            assert_string_equal(ask(&a, "SET refrain:a b"), "OK");
            assert_string_equal(ask(&a, "GET refrain:a"), "b");
        } else {
            asking_run_until_down(&a, 1);
            if (a.cause != cases[i].want)
                fail_msg("%s: %s (%s)", cases[i].why, redis_cause_text(a.cause), a.detail);
            assert_string_equal(ask(&a, "GET refrain:a"), "down");
        }
        asking_done(&a);
        redis_server_free(s);
    }
}

static void test_tls_without_our_certificate_is_refused(void **state)
{
    struct redis_server *s = redis_server_new(&(struct redis_server_conf){.tls = true});
    struct redis_conf conf = conf_of(s);
    struct asking a;
    char ca[256];

    (void)state;
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", redis_server_certificates(s));
    conf.tls = (struct redis_tls_conf){.on = true, .ca_file = ca};
    asking_init(&a, conf);
    asking_run_until_down(&a, 1);
    assert_int_equal(a.cause, REDIS_TLS_REFUSED);
    asking_done(&a);
    redis_server_free(s);
}

static void test_what_is_not_there_is_tried_again_until_it_is(void **state)
{
    struct redis_server *s = redis_server_new(NULL);
    struct asking a;

    (void)state;
    redis_server_kill(s);
    asking_init(&a, conf_of(s));
    asking_run_until_down(&a, 3);
    assert_int_equal(a.cause, REDIS_UNREACHABLE);
    assert_string_equal(ask(&a, "PING"), "down");
    redis_server_restart(s);
    asking_run_until_up(&a);
    assert_string_equal(ask(&a, "PING"), "PONG");
    redis_server_kill(s);
    asking_run_until_down(&a, a.downs + 2);
    redis_server_restart(s);
    asking_run_until_up(&a);
    assert_string_equal(ask(&a, "PING"), "PONG");
    asking_done(&a);
    redis_server_free(s);
}

static void test_a_frozen_server_is_late_and_then_away(void **state)
{
    struct redis_server *s = redis_server_new(NULL);
    struct redis_conf conf = conf_of(s);
    struct asked q = {0};
    struct asking a;

    (void)state;
    conf.connect_timeout_ms = 300;
    conf.timeout_ms = 20;
    asking_init(&a, conf);
    asking_run_until_up(&a);
    redis_server_freeze(s);
    q.call.deadline_ms = 20;
    asked_start(&q, &a, "INCR n");
    assert_string_equal(asked_wait(&q), "late");
    asking_run_until_down(&a, 1);
    assert_int_equal(a.cause, REDIS_SILENT);
    assert_string_equal(ask(&a, "GET n"), "down"); /* at once, not late */
    redis_server_thaw(s);
    asking_run_until_up(&a);
    assert_string_equal(ask(&a, "PING"), "PONG");
    asking_done(&a);
    redis_server_free(s);
}

/* The late reply is read and thrown away; it must not become the next call's. */
static void test_a_late_reply_is_nobody_elses(void **state)
{
    struct redis_server *s = redis_server_new(NULL);
    struct asked slow = {0}, next = {0};
    struct asking a;

    (void)state;
    asking_init(&a, conf_of(s));
    asking_run_until_up(&a);
    redis_server_freeze(s);
    slow.call.deadline_ms = 20;
    asked_start(&slow, &a, "ECHO slow");
    assert_string_equal(asked_wait(&slow), "late");
    next.call.deadline_ms = 15000;
    asked_start(&next, &a, "ECHO next");
    redis_server_thaw(s);
    assert_string_equal(asked_wait(&next), "next");
    assert_int_equal(slow.times, 1);
    assert_int_equal(a.ups, 1);
    asking_done(&a);
    redis_server_free(s);
}

static void test_queues_have_an_end(void **state)
{
    struct redis_server *s = redis_server_new(NULL);
    struct redis_conf conf = conf_of(s);
    struct asked q[12] = {0}, large = {0};
    struct asking a;

    (void)state;
    conf.queue_calls_max = 10;
    conf.queue_bytes_max = 1024;
    conf.cluster = REDIS_CLUSTER_OFF; /* all of the queue is ours */
    asking_init(&a, conf);
    asking_run_until_up(&a);
    for (size_t i = 0; i < ARRAY_LEN(q); i++)
        asked_start(&q[i], &a, "ECHO x");
    for (size_t i = 0; i < ARRAY_LEN(q); i++)
        assert_string_equal(asked_wait(&q[i]), i < 10 ? "x" : "busy");
    large.call.deadline_ms = 1000;
    {
        static char text[2000];
        struct slice argv[] = {SLICE("ECHO"), {text, sizeof(text)}};

        memset(text, 'x', sizeof(text));
        asked_start(&large, &a, "ECHO x");
        (void)asked_wait(&large);
        large.times = 0;
        large.text[0] = '\0';
        large.call.argv = argv;
        large.call.argc = 2;
        redis_ask(a.redis, &large.call);
        assert_string_equal(asked_wait(&large), "too_large");
    }
    asking_done(&a);
    redis_server_free(s);
}

static void test_freeing_brings_everything_back(void **state)
{
    struct redis_server *s = redis_server_new(NULL);
    struct asked sent = {0}, unsent = {0}, never = {0};
    struct asking a, b;

    (void)state;
    asking_init(&a, conf_of(s));
    asking_run_until_up(&a);
    redis_server_freeze(s);
    sent.call.deadline_ms = 15000;
    asked_start(&sent, &a, "ECHO one");
    {
        struct asked late = {.call.deadline_ms = 20};

        asked_start(&late, &a, "ECHO two"); /* when it is late the other has been sent */
        (void)asked_wait(&late);
    }
    asked_start(&unsent, &a, "ECHO three");
    asked_start(&never, &a, "ECHO four");
    redis_forget(&never.call);
    asking_done(&a);
    assert_string_equal(sent.text, "lost");
    assert_string_equal(unsent.text, "down");
    assert_int_equal(sent.times, 1);
    assert_int_equal(unsent.times, 1);
    assert_int_equal(never.times, 0);
    redis_server_thaw(s);

    asking_init(&b, conf_of(s)); /* before it is even connected */
    memset(&unsent, 0, sizeof(unsent));
    asked_start(&unsent, &b, "ECHO five");
    asking_done(&b);
    assert_string_equal(unsent.text, "down");
    redis_server_free(s);
}

/* -- channels -- */

struct listening {
    struct asking asking; /* who publishes */
    struct redis_sub *sub;
    bool up;
    unsigned ups, downs;
    char heard[256];
};

static void on_message(void *arg, struct slice channel, struct slice payload)
{
    struct listening *l = arg;
    size_t at = strlen(l->heard);

    (void)snprintf(l->heard + at, sizeof(l->heard) - at, "%.*s=%.*s ", (int)channel.len, channel.data,
                   (int)payload.len, payload.data);
}

static void on_sub_state(void *arg, const struct redis_state *state)
{
    struct listening *l = arg;

    l->up = state->up;
    if (state->up)
        l->ups++;
    else
        l->downs++;
}

static bool sub_is_up(void *arg)
{
    const struct listening *l = arg;

    return l->up;
}

static bool sub_is_down(void *arg)
{
    return !sub_is_up(arg);
}

static bool heard_end(void *arg)
{
    const struct listening *l = arg;

    return strstr(l->heard, "=end ") != NULL;
}

static void listening_init(struct listening *l, struct redis_server *s)
{
    static const struct slice channels[] = {SLICE("refrain:a"), SLICE("refrain:b")};
    struct redis_conf conf = conf_of(s);

    memset(l, 0, sizeof(*l));
    asking_init(&l->asking, conf);
    l->sub = redis_sub_new(l->asking.loop, &conf,
                           &(struct redis_sub_conf){channels, 2, on_message, on_sub_state, l});
    assert_non_null(l->sub);
    asking_run(&l->asking, sub_is_up, l);
    assert_true(redis_sub_is_up(l->sub));
}

static void listening_done(struct listening *l)
{
    redis_sub_free(l->sub);
    asking_done(&l->asking);
}

static void test_messages_are_heard(void **state)
{
    struct redis_server *s = redis_server_new(NULL);
    struct listening l;

    (void)state;
    listening_init(&l, s);
    assert_string_equal(ask(&l.asking, "PUBLISH refrain:a one"), "1");
    assert_string_equal(ask(&l.asking, "PUBLISH refrain:c two"), "0");
    assert_string_equal(ask(&l.asking, "PUBLISH refrain:b end"), "1");
    asking_run(&l.asking, heard_end, &l);
    assert_string_equal(l.heard, "refrain:a=one refrain:b=end ");
    listening_done(&l);
    redis_server_free(s);
}

static bool c_has_a_listener(void *arg)
{
    return redis_server_says(arg, "1", "PUBLISH refrain:c x");
}

static bool c_has_none(void *arg)
{
    return redis_server_says(arg, "0", "PUBLISH refrain:c x");
}

static void test_channels_come_and_go(void **state)
{
    struct redis_server *s = redis_server_new(NULL);
    struct listening l;

    (void)state;
    listening_init(&l, s);
    assert_int_equal(redis_sub_add(l.sub, SLICE_OF("refrain:c")), 0);
    assert_int_equal(redis_sub_add(l.sub, SLICE_OF("refrain:c")), 0);
    asking_run(&l.asking, c_has_a_listener, s);
    redis_sub_remove(l.sub, SLICE_OF("refrain:c"));
    assert_string_equal(ask(&l.asking, "PUBLISH refrain:c still"), "1");
    redis_sub_remove(l.sub, SLICE_OF("refrain:c"));
    asking_run(&l.asking, c_has_none, s);
    listening_done(&l);
    redis_server_free(s);
}

static void test_a_listener_comes_back_with_all_its_channels(void **state)
{
    struct redis_server *s = redis_server_new(NULL);
    struct listening l;

    (void)state;
    listening_init(&l, s);
    assert_int_equal(redis_sub_add(l.sub, SLICE_OF("refrain:c")), 0);
    redis_server_kill(s);
    asking_run(&l.asking, sub_is_down, &l);
    redis_server_restart(s);
    asking_run(&l.asking, sub_is_up, &l);
    assert_int_equal(l.ups, 2);
    asking_run_until_up(&l.asking);
    assert_string_equal(ask(&l.asking, "PUBLISH refrain:c end"), "1");
    asking_run(&l.asking, heard_end, &l);
    listening_done(&l);
    redis_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_of_each_kind),
        cmocka_unit_test(test_large_texts_come_whole_and_can_be_kept),
        cmocka_unit_test(test_what_is_large_goes_and_comes_in_pieces),
        cmocka_unit_test(test_a_text_past_the_cap_costs_its_own_call_only),
        cmocka_unit_test(test_calls_are_pipelined_and_come_back_in_order),
        cmocka_unit_test(test_ways_to_connect),
        cmocka_unit_test(test_tls_without_our_certificate_is_refused),
        cmocka_unit_test(test_what_is_not_there_is_tried_again_until_it_is),
        cmocka_unit_test(test_a_frozen_server_is_late_and_then_away),
        cmocka_unit_test(test_a_late_reply_is_nobody_elses),
        cmocka_unit_test(test_queues_have_an_end),
        cmocka_unit_test(test_freeing_brings_everything_back),
        cmocka_unit_test(test_messages_are_heard),
        cmocka_unit_test(test_channels_come_and_go),
        cmocka_unit_test(test_a_listener_comes_back_with_all_its_channels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
