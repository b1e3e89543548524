/* redis_server: the servers that other tests lean on start, die, come back, and replace a master that is
 * gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "redis_server.h"

static const struct {
    const char *why, *url;
    struct redis_server_conf conf;
} shapes[] = {
    {"plain", "redis://127.0.0.1:", {0}},
    {"unix socket", "unix:/tmp/", {.unix_socket = true}},
    {"password", "redis://127.0.0.1:", {.password = "secret"}},
    {"TLS and a user of few rights",
     "rediss://127.0.0.1:",
     {.tls = true, .user = "refrain", .password = "s"}},
};

static void test_a_server_dies_and_comes_back_where_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct redis_server *s = redis_server_new(&shapes[i].conf);
        char *url = strdup(redis_server_url(s));

        if (strncmp(url, shapes[i].url, strlen(shapes[i].url)) != 0)
            fail_msg("%s: its URL is %s", shapes[i].why, url);
        assert_true(redis_server_says(s, "OK", "SET refrain:a b"));
        redis_server_freeze(s);
        redis_server_thaw(s);
        assert_true(redis_server_says(s, "b", "GET refrain:a"));
        assert_int_equal(redis_server_calls(s, "get"), 1);
        assert_int_equal(redis_server_calls(s, "keys"), 0);
        redis_server_kill(s);
        assert_false(redis_server_is_alive(s));
        redis_server_restart(s);
        assert_true(redis_server_says(s, "0", "DBSIZE"));
        assert_string_equal(redis_server_url(s), url);
        free(url);
        redis_server_free(s);
    }
}

static void test_what_openssl_made_is_there(void **state)
{
    struct redis_server *s = redis_server_new(&(struct redis_server_conf){.tls = true});
    static const char *const files[] = {"ca.pem", "client.pem", "client.key", "stranger.pem", "server.pem"};

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char name[256];

        (void)snprintf(name, sizeof(name), "%s/%s", redis_server_certificates(s), files[i]);
        assert_int_equal(access(name, R_OK), 0);
    }
    redis_server_free(s);
}

static void test_a_cluster_moves_slots_and_replaces_masters(void **state)
{
    struct redis_cluster *c = redis_cluster_new(NULL);
    struct redis_server *source = redis_cluster_master_of(c, "{m}1");
    struct redis_server *target = redis_cluster_node(c, source == redis_cluster_node(c, 0) ? 1 : 0);
    struct redis_server *heir;
    char *answer;

    (void)state;
    assert_true(redis_server_says(source, "OK", "SET {m}1 one"));
    assert_true(redis_server_says(source, "OK", "SET {m}2 two"));
    redis_cluster_move_begin(c, "{m}1", target);
    redis_cluster_move_key(c, "{m}1", target);
    answer = redis_server_ask(source, "GET {m}1");
    assert_memory_equal(answer, "-ASK ", 5);
    free(answer);
    redis_cluster_move_end(c, "{m}1", target);
    assert_ptr_equal(redis_cluster_master_of(c, "{m}1"), target);
    assert_true(redis_server_says(target, "two", "GET {m}2"));

    heir = redis_cluster_kill_master(c, "{m}1");
    assert_true(redis_server_says(heir, "two", "GET {m}2"));
    redis_server_restart(target);
    redis_cluster_settle(c);
    assert_ptr_equal(redis_cluster_master_of(c, "{m}1"), heir);
    redis_cluster_free(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_dies_and_comes_back_where_it_was),
        cmocka_unit_test(test_what_openssl_made_is_there),
        cmocka_unit_test(test_a_cluster_moves_slots_and_replaces_masters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
