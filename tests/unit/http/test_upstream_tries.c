/* upstream, tries: a call is sent again as its owner says, whole and from the beginning, and ends once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "asking.h"
#include "refrain/base/attr.h"
#include "scripted_server.h"

static struct server server;

/* What the owner was told of each try, and how often it wants another. */
struct judge {
    unsigned again; /* so many further tries */
    int64_t wait_ms;
    unsigned tries;
    struct upstream_try last;
    unsigned fields_n;
    void (*at_try)(struct asked *a);
};

static int64_t judge_try(struct asked *a, const struct upstream_try *t)
{
    struct judge *j = a->arg;

    assert_int_equal(a->heads + a->ends, 0); /* nothing was said yet */
    j->tries++;
    j->last = *t;
    j->fields_n = t->fields ? t->fields->n : 0;
    assert_int_equal(t->n, j->tries);
    if (j->at_try)
        j->at_try(a);
    return j->tries <= j->again ? j->wait_ms : -1;
}

static void run(struct asker *k, struct asked *a)
{
    ask(k, a);
    asker_run(k);
    assert_int_equal(a->ends, 1);
    assert_int_equal(upstream_pool_active(k->pool), 0);
    asker_done(k);
}

/* -- an answer is not wanted -- */

static void busy_then_well(struct server *s)
{
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    server_send(fd, "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy");
    server_await_close(fd);
    fd = server_accept(s);
    (void)server_read_request(s, fd);
    server_send(fd, "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 4\r\n\r\nwell");
    server_await_close(fd);
}

static void an_answer_is_taken_back_and_the_request_sent_again(void **state)
{
    struct judge j = {.again = 1, .wait_ms = 5};
    struct asked a = POST("/x", "body");
    struct asker k;

    (void)state;
    server_start(&server, busy_then_well, NULL);
    asker_init(&k, server.url);
    a.at_try = judge_try;
    a.arg = &j;
    run(&k, &a);
    server_join(&server);
    assert_int_equal(a.result, UPSTREAM_OK);
    assert_int_equal(a.heads, 1);
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(&a.fields), "X-A: b\nContent-Length: 4\n");
    assert_string_equal(text_of(&a.body), "well");
    assert_int_equal(j.tries, 2); /* the good one is told of, too */
    assert_int_equal(j.last.status, 200);
    assert_true(j.last.sent);
    assert_int_equal(server.saw_len % 2, 0);
    assert_memory_equal(server.saw, server.saw + server.saw_len / 2, server.saw_len / 2); /* the same bytes */
    asked_done(&a);
}

static void the_last_answer_is_told(void **state)
{
    struct judge j = {.again = 0};
    struct asked a = POST("/x", "body");
    struct asker k;

    (void)state;
    server_start(&server, busy_then_well, NULL);
    asker_init(&k, server.url);
    a.at_try = judge_try;
    a.arg = &j;
    ask(&k, &a);
    asker_run(&k);
    assert_int_equal(a.status, 503);
    assert_string_equal(text_of(&a.body), "busy");
    assert_int_equal(j.fields_n, 2);
    asked_done(&a);
    asker_done(&k);
    asker_init(&k, server.url); /* the server's script goes on */
    a = (struct asked)POST("/x", "body");
    run(&k, &a);
    assert_int_equal(a.status, 200);
    server_join(&server);
    asked_done(&a);
}

/* -- nothing came -- */

static void reset_then_well(struct server *s)
{
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    server_reset(fd);
    fd = server_accept(s);
    (void)server_read_request(s, fd);
    server_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell");
    server_await_close(fd);
}

static void a_reset_connection_is_told_of(void **state)
{
    struct judge j = {.again = 1, .wait_ms = 0};
    struct asked a = POST("/x", "body");
    struct asker k;

    (void)state;
    server_start(&server, reset_then_well, NULL);
    asker_init(&k, server.url);
    a.at_try = judge_try;
    a.arg = &j;
    run(&k, &a);
    server_join(&server);
    assert_int_equal(a.status, 200);
    assert_int_equal(j.tries, 2);
    asked_done(&a);
}

static void nobody_listening_was_sent_nothing(void **state)
{
    struct judge j = {.again = 2, .wait_ms = 1};
    struct asked a = POST("/x", "body");
    struct asker k;

    (void)state;
    asker_init(&k, "http://127.0.0.1:1");
    a.at_try = judge_try;
    a.arg = &j;
    run(&k, &a);
    assert_int_equal(a.result, UPSTREAM_UNREACHABLE);
    assert_int_equal(j.tries, 3);
    assert_false(j.last.sent);
    assert_int_equal(j.last.result, UPSTREAM_UNREACHABLE);
    assert_null(j.last.fields);
    asked_done(&a);
}

static void silent(struct server *s)
{
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    server_await_close(fd);
    fd = server_accept(s);
    (void)server_read_request(s, fd);
    server_await_close(fd);
}

static void silence_is_told_of(void **state)
{
    struct judge j = {.again = 1, .wait_ms = 0};
    struct asked a = POST("/x", "body");
    struct asker k;

    (void)state;
    server_start(&server, silent, NULL);
    asker_init(&k, server.url);
    k.conf.first_byte_timeout_ms = 20;
    a.at_try = judge_try;
    a.arg = &j;
    run(&k, &a);
    server_join(&server);
    assert_int_equal(a.result, UPSTREAM_TIMEOUT);
    assert_int_equal(j.tries, 2);
    assert_true(j.last.sent);
    asked_done(&a);
}

/* -- bounds -- */

static void the_total_timeout_runs_on(void **state)
{
    struct judge j = {.again = 1000000, .wait_ms = 10};
    struct asked a = POST("/x", "body");
    struct asker k;

    (void)state;
    asker_init(&k, "http://127.0.0.1:1");
    k.conf.total_timeout_ms = 100;
    a.at_try = judge_try;
    a.arg = &j;
    run(&k, &a);
    assert_in_range(j.tries, 1, 11);
    assert_true(a.ended_ms - a.started_ms >= 90);
    asked_done(&a);
}

static void it_runs_on_while_waiting(void **state)
{
    struct judge j = {.again = 1, .wait_ms = 3600000};
    struct asked a = POST("/x", "body");
    struct asker k;

    (void)state;
    asker_init(&k, "http://127.0.0.1:1");
    k.conf.total_timeout_ms = 50;
    a.at_try = judge_try;
    a.arg = &j;
    run(&k, &a);
    assert_int_equal(a.result, UPSTREAM_TIMEOUT);
    assert_string_equal(a.why, "total timeout");
    assert_int_equal(j.tries, 1);
    asked_done(&a);
}

static void cancel(void *arg)
{
    struct asked *a = arg;

    upstream_cancel(a->call);
}

static void cancel_soon(struct asked *a)
{
    asker_later(a->by, 5, cancel, a);
}

static void a_call_can_be_cancelled_between_tries(void **state)
{
    struct judge j = {.again = 1, .wait_ms = 3600000, .at_try = cancel_soon};
    struct asked a = POST("/x", "body");
    struct asker k;

    (void)state;
    asker_init(&k, "http://127.0.0.1:1");
    a.at_try = judge_try;
    a.arg = &j;
    run(&k, &a);
    assert_int_equal(a.result, UPSTREAM_CANCELLED);
    assert_int_equal(j.tries, 1);
    asked_done(&a);
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void stop_soon(struct asked *a)
{
    asker_later(a->by, 5, stop, a->by->loop);
}

static void freeing_the_pool_ends_a_call_between_tries(void **state)
{
    struct judge j = {.again = 1, .wait_ms = 3600000, .at_try = stop_soon};
    struct asked a = POST("/x", "body");
    struct asker k;

    (void)state;
    asker_init(&k, "http://127.0.0.1:1");
    a.at_try = judge_try;
    a.arg = &j;
    ask(&k, &a);
    asker_run(&k);
    assert_int_equal(a.ends, 0);
    asker_done(&k);
    assert_int_equal(a.ends, 1);
    assert_int_equal(a.result, UPSTREAM_CANCELLED);
    asked_done(&a);
}

static int64_t read_nothing(void *arg, char *buf, size_t cap)
{
    (void)arg;
    (void)buf;
    (void)cap;
    return 0;
}

static void a_streamed_body_is_sent_once(void **state)
{
    struct judge j = {.again = 1};
    struct asked a = POST("/x", "");
    struct asker k;

    (void)state;
    asker_init(&k, "http://127.0.0.1:1");
    a.req.read_body = read_nothing;
    a.req.body_len = -1;
    a.at_try = judge_try;
    a.arg = &j;
    run(&k, &a);
    assert_int_equal(a.result, UPSTREAM_UNREACHABLE);
    assert_int_equal(j.tries, 0);
    asked_done(&a);
}

/* Between two tries a call leaves its place to others. */
static void turns_are_taken_meanwhile(void **state)
{
    struct judge j = {.again = 1, .wait_ms = 30}, k_judge = {.again = 0};
    struct asked a = POST("/a", "body"), b = POST("/b", "body");
    struct asker k;

    (void)state;
    asker_init(&k, "http://127.0.0.1:1");
    k.conf.max_concurrent = 1;
    a.at_try = b.at_try = judge_try;
    a.arg = &j;
    b.arg = &k_judge;
    ask(&k, &a);
    ask(&k, &b);
    asker_run(&k);
    assert_int_equal(j.tries, 2);
    assert_int_equal(k_judge.tries, 1);
    assert_true(b.ended_ms < a.ended_ms);
    asker_done(&k);
    asked_done(&a);
    asked_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_taken_back_and_the_request_sent_again),
        cmocka_unit_test(the_last_answer_is_told),
        cmocka_unit_test(a_reset_connection_is_told_of),
        cmocka_unit_test(nobody_listening_was_sent_nothing),
        cmocka_unit_test(silence_is_told_of),
        cmocka_unit_test(the_total_timeout_runs_on),
        cmocka_unit_test(it_runs_on_while_waiting),
        cmocka_unit_test(a_call_can_be_cancelled_between_tries),
        cmocka_unit_test(freeing_the_pool_ends_a_call_between_tries),
        cmocka_unit_test(a_streamed_body_is_sent_once),
        cmocka_unit_test(turns_are_taken_meanwhile),
    };

    return cmocka_run_group_tests_name("upstream_tries", tests, NULL, NULL);
}
