/* upstream: what goes out, byte for byte; what comes back, whole or named as torn; time, turns, pauses, ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "asking.h"
#include "refrain/base/attr.h"
#include "scripted_server.h"

static struct server server; /* large: what it saw is kept inside */

#define EMPTY_OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

/* -- what goes out -- */

static void answer_one(struct server *s)
{
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    server_send(fd, EMPTY_OK);
    server_await_close(fd);
}

static const struct {
    const char *why, *prefix;
    struct upstream_request req;
    struct field fields[6];
    const char *add[3], *remove[3];
    const char *want; /* "%s" stands for the authority */
} requests[] = {
    {"a plain GET has Host and nothing of the library's own",
     "",
     {.method = "GET", .target = SLICE("/v1/models")},
     {{SLICE(""), SLICE("")}},
     .want = "GET /v1/models HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"path and query leave as given: dots, escapes, empty segments, odd bytes",
     "",
     {.method = "GET", .target = SLICE("//a/../b/./c%2f%2F%zz//?x=%20&y=[|]{}\"<>^`\\\xc3\xa9?#not")},
     {{SLICE(""), SLICE("")}},
     .want =
         "GET //a/../b/./c%%2f%%2F%%zz//?x=%%20&y=[|]{}\"<>^`\\\xc3\xa9?#not HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"a lone question mark stays",
     "",
     {.method = "GET", .target = SLICE("/?")},
     {{SLICE(""), SLICE("")}},
     .want = "GET /? HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"the prefix comes first, untouched",
     "/base/../%41",
     {.method = "GET", .target = SLICE("/x?y")},
     {{SLICE(""), SLICE("")}},
     .want = "GET /base/../%%41/x?y HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"the asterisk has no prefix",
     "/base",
     {.method = "OPTIONS", .target = SLICE("*")},
     {{SLICE(""), SLICE("")}},
     .want = "OPTIONS * HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"fields keep order, case and number; an empty value is a value",
     "",
     {.method = "GET", .target = SLICE("/"), .fields_n = 6},
     {{SLICE("x-B"), SLICE("2")},
      {SLICE("X-a"), SLICE("1")},
      {SLICE("x-b"), SLICE(" 3 \t")},
      {SLICE("X-Empty"), SLICE("")},
      {SLICE("User-Agent"), SLICE("me/1 (a: b; c)")},
      {SLICE("Accept"), SLICE("application/json")}},
     .want = "GET / HTTP/1.1\r\nHost: %s\r\nx-B: 2\r\nX-a: 1\r\nx-b: 3\r\nX-Empty:\r\n"
             "User-Agent: me/1 (a: b; c)\r\nAccept: application/json\r\n\r\n"},
    {"framing and Host are made here, whatever was left in",
     "",
     {.method = "GET", .target = SLICE("/"), .fields_n = 6},
     {{SLICE("host"), SLICE("evil")},
      {SLICE("Content-Length"), SLICE("7")},
      {SLICE("Transfer-encoding"), SLICE("chunked")},
      {SLICE("Expect"), SLICE("100-continue")},
      {SLICE("Connection"), SLICE("close")},
      {SLICE("Cookie"), SLICE("a=b")}},
     .want = "GET / HTTP/1.1\r\nHost: %s\r\nCookie: a=b\r\n\r\n"},
    {"a POST has its bytes and their number, and no type of the library's",
     "",
     {.method = "POST", .target = SLICE("/p"), .has_body = true, .body = SLICE("{\"a\":\"\\u00e9\"}\0\r\n")},
     {{SLICE(""), SLICE("")}},
     .want = "POST /p HTTP/1.1\r\nHost: %s\r\nContent-Length: 17\r\n\r\n{\"a\":\"\\u00e9\"}"},
    {"the client's type is kept",
     "",
     {.method = "POST", .target = SLICE("/p"), .fields_n = 1, .has_body = true, .body = SLICE("x")},
     {{SLICE("content-type"), SLICE("text/x")}},
     .want = "POST /p HTTP/1.1\r\nHost: %s\r\ncontent-type: text/x\r\nContent-Length: 1\r\n\r\nx"},
    {"a POST without a body says so",
     "",
     {.method = "POST", .target = SLICE("/p")},
     {{SLICE(""), SLICE("")}},
     .want = "POST /p HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n"},
    {"a GET may have a body",
     "",
     {.method = "GET", .target = SLICE("/"), .has_body = true, .body = SLICE("q")},
     {{SLICE(""), SLICE("")}},
     .want = "GET / HTTP/1.1\r\nHost: %s\r\nContent-Length: 1\r\n\r\nq"},
    {"PUT",
     "",
     {.method = "PUT", .target = SLICE("/"), .has_body = true, .body = SLICE("abc")},
     {{SLICE(""), SLICE("")}},
     .want = "PUT / HTTP/1.1\r\nHost: %s\r\nContent-Length: 3\r\n\r\nabc"},
    {"DELETE without a body has no length",
     "",
     {.method = "DELETE", .target = SLICE("/x")},
     {{SLICE(""), SLICE("")}},
     .want = "DELETE /x HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"a method nobody registered",
     "",
     {.method = "M-SEARCH", .target = SLICE("/x")},
     {{SLICE(""), SLICE("")}},
     .want = "M-SEARCH /x HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"HEAD",
     "",
     {.method = "HEAD", .target = SLICE("/x")},
     {{SLICE(""), SLICE("")}},
     .want = "HEAD /x HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"HEAD with a body",
     "",
     {.method = "HEAD", .target = SLICE("/x"), .has_body = true, .body = SLICE("abc")},
     {{SLICE(""), SLICE("")}},
     .want = "HEAD /x HTTP/1.1\r\nHost: %s\r\nContent-Length: 3\r\n\r\nabc"},
    {"the operator's fields replace and remove the client's",
     "",
     {.method = "GET", .target = SLICE("/"), .fields_n = 4},
     {{SLICE("authorization"), SLICE("Bearer client")},
      {SLICE("X-One"), SLICE("1")},
      {SLICE("X-Two"), SLICE("2")},
      {SLICE("AUTHORIZATION"), SLICE("again")}},
     .add = {"Authorization: Bearer ours", "X-New:  n "},
     .remove = {"x-two"},
     .want = "GET / HTTP/1.1\r\nHost: %s\r\nX-One: 1\r\nAuthorization: Bearer ours\r\nX-New: n\r\n\r\n"},
};

static void requests_leave_byte_for_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct asked a = {.req = requests[i].req};
        char url[128], want[1024];
        struct asker k;

        server_start(&server, answer_one, NULL);
        (void)snprintf(url, sizeof(url), "%s%s", server.url, requests[i].prefix);
        asker_init(&k, url);
        a.req.fields = requests[i].fields;
        k.conf.headers_add = requests[i].add;
        k.conf.headers_remove = requests[i].remove;
        ask(&k, &a);
        asker_run(&k);
        asker_done(&k);
        server_join(&server);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(want, sizeof(want), requests[i].want, server.url + strlen("http://"));
#pragma GCC diagnostic pop
        if (a.result != UPSTREAM_OK || a.ends != 1 || strcmp(server.saw, want) != 0)
            fail_msg("%s: %d %s\n--- saw\n%s\n--- want\n%s", requests[i].why, (int)a.result, a.why,
                     server.saw, want);
        asked_done(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_leave_byte_for_byte),
    };

    return cmocka_run_group_tests_name("upstream", tests, NULL, NULL);
}
