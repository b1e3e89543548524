/* upstream: what goes out, byte for byte; what comes back, whole or named as torn; time, turns, pauses, ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "asking.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
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
    const char *want; /* "%s" stands for the authority, once */
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
     .want = "GET //a/../b/./c%2f%2F%zz//?x=%20&y=[|]{}\"<>^`\\\xc3\xa9?#not HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"a lone question mark stays",
     "",
     {.method = "GET", .target = SLICE("/?")},
     {{SLICE(""), SLICE("")}},
     .want = "GET /? HTTP/1.1\r\nHost: %s\r\n\r\n"},
    {"the prefix comes first, untouched",
     "/base/../%41",
     {.method = "GET", .target = SLICE("/x?y")},
     {{SLICE(""), SLICE("")}},
     .want = "GET /base/../%41/x?y HTTP/1.1\r\nHost: %s\r\n\r\n"},
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

/* @text with the authority at its "%s". */
static void fill_in(struct buf *out, const char *text, const char *authority)
{
    const char *gap = strstr(text, "%s");

    assert_non_null(gap);
    assert_int_equal(buf_add(out, text, (size_t)(gap - text)), 0);
    assert_int_equal(buf_add_slice(out, slice_str(authority)), 0);
    assert_int_equal(buf_add_slice(out, slice_str(gap + 2)), 0);
}

static void requests_leave_byte_for_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct asked a = {.req = requests[i].req};
        AUTO(buf_done) struct buf want = BUF_INIT(4096);
        char url[128];
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
        fill_in(&want, requests[i].want, server.url + strlen("http://"));
        if (a.result != UPSTREAM_OK || a.ends != 1 || strcmp(server.saw, text_of(&want)) != 0)
            fail_msg("%s: %d %s\n--- saw\n%s\n--- want\n%s", requests[i].why, (int)a.result, a.why,
                     server.saw, want);
        asked_done(&a);
    }
}

/* -- what comes back -- */

static const char long_name[] = "x-0123456789012345678901234567890123456789: ";

static const struct {
    const char *why, *method, *bytes; /* sent, then closed */
    enum upstream_result want;
    unsigned status;
    const char *fields, *body, *trailers;
    bool by_close, reset;
} answers[] = {
    {"a length met", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A:  b \r\nx-a:\r\n\r\nabc",
     UPSTREAM_OK, 200, "Content-Length: 3\nX-A: b\nx-a: \n", "abc"},
    {"chunks ended", "POST",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", UPSTREAM_OK,
     200, "Transfer-Encoding: chunked\n", "abc"},
    {"trailers come last, all at once", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-One: 1\r\nX-Two:2\r\n\r\n",
     UPSTREAM_OK, 200, "Transfer-Encoding: chunked\n", "a", .trailers = "X-One: 1\nX-Two: 2\n"},
    {"interim answers are dropped, and their fields with them", "GET",
     "HTTP/1.1 100 Continue\r\nX: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: "
     "9\r\n\r\n"
     "HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
     UPSTREAM_OK, 201, "Content-Length: 1\n", "x"},
    {"no reason phrase", "GET", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", UPSTREAM_OK, 404,
     "Content-Length: 0\n", ""},
    {"204 has no body", "GET", "HTTP/1.1 204 No Content\r\n\r\n", UPSTREAM_OK, 204, "", ""},
    {"304 has no body, whatever its length says", "GET", "HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
     UPSTREAM_OK, 304, "Content-Length: 9\n", ""},
    {"HEAD has no body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", UPSTREAM_OK, 200,
     "Content-Length: 9\n", ""},
    {"HEAD of a chunked thing", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", UPSTREAM_OK,
     200, "Transfer-Encoding: chunked\n", ""},
    {"a redirect is an answer like any other", "GET",
     "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\nno", UPSTREAM_OK, 302,
     "Location: http://127.0.0.1:1/\nContent-Length: 2\n", "no"},
    {"401 is an answer like any other", "POST",
     "HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nno", UPSTREAM_OK, 401,
     "WWW-Authenticate: Basic realm=x\nContent-Length: 2\n", "no"},
    {"gzip is not unpacked", "GET",
     "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8bxx", UPSTREAM_OK, 200,
     "Content-Encoding: gzip\nContent-Length: 4\n", "\x1f\x8bxx"},
    {"HTTP/1.0 ends by close, which proves nothing", "GET", "HTTP/1.0 200 OK\r\nX: y\r\n\r\nall?",
     UPSTREAM_OK, 200, "X: y\n", "all?", .by_close = true},
    {"so may HTTP/1.1", "GET", "HTTP/1.1 200 OK\r\n\r\nall?", UPSTREAM_OK, 200, "", "all?", .by_close = true},
    {"a reset is no such end", "GET", "HTTP/1.1 200 OK\r\n\r\nall?", UPSTREAM_CUT, 200, "", NULL,
     .by_close = true, .reset = true},
    {"HTTP/1.0 with a length", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", UPSTREAM_OK, 200,
     "Content-Length: 2\n", "ab"},
    {"bytes past the length are nobody's", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabcd",
     UPSTREAM_OK, 200, "Content-Length: 2\n", "ab"},

    {"cut in the body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", UPSTREAM_CUT, 200,
     "Content-Length: 4\n", "abc"},
    {"cut before the body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", UPSTREAM_CUT, 200,
     "Content-Length: 4\n", ""},
    {"reset in the body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", UPSTREAM_CUT, 200,
     "Content-Length: 4\n", NULL, .reset = true},
    {"cut in a chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", UPSTREAM_CUT,
     200, "Transfer-Encoding: chunked\n", "ab"},
    {"cut between chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
     UPSTREAM_CUT, 200, "Transfer-Encoding: chunked\n", "ab"},
    {"cut before the last empty line", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n", UPSTREAM_CUT, 200,
     "Transfer-Encoding: chunked\n", "ab"},
    {"cut in the trailers", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n", UPSTREAM_CUT, 200,
     "Transfer-Encoding: chunked\n", "a"},
    {"a chunk of no size", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n", UPSTREAM_CUT, 200,
     "Transfer-Encoding: chunked\n", ""},
    {"a chunk longer than its size", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", UPSTREAM_CUT, 200,
     "Transfer-Encoding: chunked\n", NULL},
    {"a malformed trailer", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX y\r\n\r\n", UPSTREAM_CUT, 200,
     "Transfer-Encoding: chunked\n", "a"},

    {"nothing at all", "GET", "", UPSTREAM_PROTOCOL},
    {"nothing but a reset", "POST", "", UPSTREAM_PROTOCOL, .reset = true},
    {"half a status line", "GET", "HTTP/1.1 20", UPSTREAM_PROTOCOL},
    {"a head without its end", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", UPSTREAM_PROTOCOL},
    {"nothing after an interim answer", "GET", "HTTP/1.1 100 Continue\r\n\r\n", UPSTREAM_PROTOCOL},
    {"HTTP/0.9", "GET", "hello\r\n", UPSTREAM_PROTOCOL},
    {"another protocol", "GET", "SSH-2.0-OpenSSH_9.2\r\n\r\n", UPSTREAM_PROTOCOL},
    {"another version", "GET", "HTTP/4.0 200 OK\r\nContent-Length: 0\r\n\r\n", UPSTREAM_PROTOCOL},
    {"HTTP/2 in clear text unasked", "GET", "HTTP/2 200\r\nContent-Length: 0\r\n\r\n", UPSTREAM_PROTOCOL},
    {"a status of four digits", "GET", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", UPSTREAM_PROTOCOL},
    {"a status of two digits", "GET", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", UPSTREAM_PROTOCOL},
    {"a protocol switch nobody asked for", "GET",
     "HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello", UPSTREAM_PROTOCOL},
    {"two lengths that differ", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
     UPSTREAM_PROTOCOL},
    {"two lengths that agree", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\na",
     UPSTREAM_PROTOCOL},
    {"a list of lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", UPSTREAM_PROTOCOL},
    {"a signed length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", UPSTREAM_PROTOCOL},
    {"a negative length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na", UPSTREAM_PROTOCOL},
    {"an empty length", "GET", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\na", UPSTREAM_PROTOCOL},
    {"a length past 64 bits", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 92233720368547758080\r\n\r\na",
     UPSTREAM_PROTOCOL},
    {"length, then chunks", "GET",
     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
     UPSTREAM_PROTOCOL},
    {"chunks, then length", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n",
     UPSTREAM_PROTOCOL},
    {"chunked twice", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     UPSTREAM_PROTOCOL},
    {"a transfer coding beside chunked", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", UPSTREAM_PROTOCOL},
    {"an unknown transfer coding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nabc",
     UPSTREAM_PROTOCOL},
    {"identity as a transfer coding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc",
     UPSTREAM_PROTOCOL},
    {"chunks in HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
     UPSTREAM_PROTOCOL},
    {"space before the colon", "GET", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na", UPSTREAM_PROTOCOL},
    {"a folded line", "GET", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", UPSTREAM_PROTOCOL},
    {"a line without a colon", "GET", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n", UPSTREAM_PROTOCOL},
    {"a line without a name", "GET", "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
     UPSTREAM_PROTOCOL},
    {"a control byte in a value", "GET", "HTTP/1.1 200 OK\r\nX: a\x01\r\nContent-Length: 0\r\n\r\n",
     UPSTREAM_PROTOCOL},
    {"a bare CR in a value", "GET", "HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 0\r\n\r\n",
     UPSTREAM_PROTOCOL},
};

static void answer_as_told(struct server *s)
{
    const char *const *told = s->arg;
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    server_send(fd, told[0]);
    if (told[1]) {
        server_wait_gate(s, 0); /* the head is to be seen before the reset takes what is unread */
        server_reset(fd);
    } else {
        close(fd);
    }
}

static void open_reset_gate(struct asked *a)
{
    (void)a;
    server_open_gate(&server, 0);
}

static void judge_answer(size_t i, struct asked *a)
{
    bool want_head = answers[i].want == UPSTREAM_OK || answers[i].want == UPSTREAM_CUT;
    const char *trailers = answers[i].trailers ? answers[i].trailers : "";

    if (a->result != answers[i].want || a->ends != 1 || a->heads != (want_head ? 1 : 0) ||
        a->status != answers[i].status || a->by_close != answers[i].by_close ||
        (want_head && strcmp(text_of(&a->fields), answers[i].fields) != 0) ||
        (want_head && answers[i].body && strcmp(text_of(&a->body), answers[i].body) != 0) ||
        strcmp(text_of(&a->trailers), trailers) != 0 || a->trailer_blocks != (*trailers ? 1 : 0) ||
        (a->result == UPSTREAM_OK) != (a->why[0] == '\0'))
        fail_msg("%s: result %d (%s), %u heads, status %u, by close %d\n%s\n%s\n%s", answers[i].why,
                 (int)a->result, a->why, a->heads, a->status, (int)a->by_close, text_of(&a->fields),
                 text_of(&a->body), text_of(&a->trailers));
}

static void answers_come_whole_or_are_named_as_torn(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct asked a = {.req = {.method = answers[i].method, .target = SLICE("/")},
                          .at_head = open_reset_gate};
        const char *told[] = {answers[i].bytes, answers[i].reset ? "reset" : NULL};
        struct asker k;

        server_start(&server, answer_as_told, told);
        if (answers[i].want == UPSTREAM_PROTOCOL)
            server_open_gate(&server, 0);
        asker_init(&k, server.url);
        ask(&k, &a);
        asker_run(&k);
        asker_done(&k);
        server_join(&server);
        judge_answer(i, &a);
        asked_done(&a);
    }
}

static void answer_in_single_bytes(struct server *s)
{
    const char *told = s->arg;
    int fd = server_accept(s), one = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)server_read_request(s, fd);
    for (; *told; told++)
        server_send_bytes(fd, slice_make(told, 1));
    close(fd);
}

static void answers_come_the_same_in_single_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct asked a = {.req = {.method = answers[i].method, .target = SLICE("/")}};
        char *told;
        struct asker k;

        if (answers[i].reset || answers[i].want == UPSTREAM_PROTOCOL)
            continue; /* what is refused, is refused at some byte before the server is done */
        told = strdup(answers[i].bytes);
        server_start(&server, answer_in_single_bytes, told);
        asker_init(&k, server.url);
        ask(&k, &a);
        asker_run(&k);
        asker_done(&k);
        server_join(&server);
        judge_answer(i, &a);
        asked_done(&a);
        free(told);
    }
}

/* -- ceilings -- */

static void answer_with_a_large_head(struct server *s)
{
    const size_t *lines = s->arg;
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    server_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
    for (size_t i = 0; i < lines[0]; i++) {
        server_send(fd, long_name);
        for (size_t n = 0; n < lines[1]; n++)
            server_send(fd, "0123456789");
        server_send(fd, "\r\n");
    }
    server_send(fd, "\r\n");
    server_await_close(fd);
}

static const struct {
    const char *why;
    size_t lines[2]; /* how many, tens of bytes in each */
    enum upstream_result want;
} heads[] = {
    {"127 and the length are the most fields", {127, 1}, UPSTREAM_OK},
    {"one more is one too many", {128, 1}, UPSTREAM_PROTOCOL},
    {"60 KiB of header", {10, 610}, UPSTREAM_OK},
    {"over 64 KiB of header", {10, 655}, UPSTREAM_PROTOCOL},
    {"one line over 64 KiB", {1, 7000}, UPSTREAM_PROTOCOL},
};

static void a_head_has_ceilings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct asked a = GET("/");
        size_t lines[2] = {heads[i].lines[0], heads[i].lines[1]};
        struct asker k;

        server_start(&server, answer_with_a_large_head, lines);
        asker_init(&k, server.url);
        ask(&k, &a);
        asker_run(&k);
        asker_done(&k);
        server_join(&server);
        if (a.result != heads[i].want)
            fail_msg("%s: %d %s", heads[i].why, (int)a.result, a.why);
        asked_done(&a);
    }
}

/* -- connections -- */

static void answer_on_one_connection(struct server *s)
{
    int fd = server_accept(s);

    while (server_read_request(s, fd))
        server_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    close(fd);
}

static void a_connection_serves_again(void **state)
{
    struct asked a[] = {GET("/1"), POST("/2", "x"), GET("/3"), POST("/4", "")};
    struct asker k;

    (void)state;
    server_start(&server, answer_on_one_connection, NULL);
    asker_init(&k, server.url);
    ask_in_turn(&k, a, ARRAY_LEN(a));
    asker_done(&k);
    server_join(&server);
    assert_int_equal(server.accepted, 1);
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        assert_int_equal(a[i].result, UPSTREAM_OK);
        assert_string_equal(text_of(&a[i].body), "ok");
        asked_done(&a[i]);
    }
}

static size_t count_of(const char *text, const char *word)
{
    size_t n = 0;

    for (; (text = strstr(text, word)) != NULL; text++)
        n++;
    return n;
}

/* What the far end does with a connection once it is pooled, or has carried the second request: */
enum spoil { CLOSE_POOLED, WRITE_TO_POOLED, CLOSE_UNANSWERED, CUT_ANSWER };

static const struct {
    const char *why, *method;
    enum spoil spoil;
    enum upstream_result want;
    size_t times_seen;
} spoils[] = {
    {"closed while pooled: never written to", "POST", CLOSE_POOLED, UPSTREAM_OK, 1},
    {"bytes nobody asked for are nobody's answer", "POST", WRITE_TO_POOLED, UPSTREAM_OK, 1},
    {"a POST that may have been acted on goes once", "POST", CLOSE_UNANSWERED, UPSTREAM_PROTOCOL, 1},
    {"so does any method not known to be safe", "M-SEARCH", CLOSE_UNANSWERED, UPSTREAM_PROTOCOL, 1},
    {"a safe method goes again", "GET", CLOSE_UNANSWERED, UPSTREAM_OK, 2},
    {"but not once an answer has begun", "GET", CUT_ANSWER, UPSTREAM_PROTOCOL, 1},
};

static void spoil_the_first_connection(struct server *s)
{
    enum spoil spoil = *(const enum spoil *)s->arg;
    int fd = server_accept(s), second;

    (void)server_read_request(s, fd);
    server_send(fd, EMPTY_OK);
    server_wait_gate(s, 0);
    if (spoil == WRITE_TO_POOLED)
        server_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    if (spoil == CLOSE_UNANSWERED || spoil == CUT_ANSWER)
        server_open_gate(s, 1);
    if (spoil == CLOSE_UNANSWERED || spoil == CUT_ANSWER)
        (void)server_read_request(s, fd);
    if (spoil == CUT_ANSWER)
        server_send(fd, "HTTP/1.1 200 OK\r\n");
    if (spoil != WRITE_TO_POOLED)
        close(fd);
    server_open_gate(s, 1);
    second = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    if (second >= 0 && server_read_request(s, second))
        server_send(second, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
    if (second >= 0)
        server_await_close(second);
    if (spoil == WRITE_TO_POOLED)
        close(fd);
}

static void ask_on_spoilt(void *arg)
{
    struct asked *a = arg;

    server_open_gate(&server, 0);
    server_wait_gate(&server, 1);
    ask(a->by, a);
}

/* The connection is pooled only behind the end of the call, so what comes next comes from the loop. */
static void ask_on_spoilt_later(struct asked *a)
{
    struct asked *next = a->arg;

    next->by = a->by;
    asker_later(a->by, 0, ask_on_spoilt, next);
}

static void stop_listening(struct asked *a)
{
    (void)a;
    (void)shutdown(server.listener, SHUT_RDWR);
}

static void a_spoilt_connection_costs_no_second_request(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(spoils); i++) {
        struct asked a[] = {GET("/1"), GET("/second")};
        enum spoil spoil = spoils[i].spoil;
        struct asker k;

        server_start(&server, spoil_the_first_connection, &spoil);
        asker_init(&k, server.url);
        a[0].at_end = ask_on_spoilt_later;
        a[0].arg = &a[1];
        a[1].req.method = spoils[i].method;
        a[1].req.has_body = strcmp(spoils[i].method, "POST") == 0;
        a[1].req.body = SLICE_OF("x");
        a[1].at_end = stop_listening;
        ask(&k, &a[0]);
        asker_run(&k);
        asker_done(&k);
        server_join(&server);
        if (a[1].result != spoils[i].want || count_of(server.saw, " /second ") != spoils[i].times_seen ||
            (a[1].result == UPSTREAM_OK && strcmp(text_of(&a[1].body), "good") != 0))
            fail_msg("%s: %d (%s), saw %s", spoils[i].why, (int)a[1].result, a[1].why, server.saw);
        asked_done(&a[0]);
        asked_done(&a[1]);
    }
}

static void nobody_listening_is_unreachable(void **state)
{
    struct asked a[] = {POST("/", "x"), GET("/")};
    struct asker k;

    (void)state;
    asker_init(&k, "http://127.0.0.1:1");
    ask_in_turn(&k, a, 1);
    asker_done(&k);
    assert_int_equal(a[0].result, UPSTREAM_UNREACHABLE);
    asker_init(&k, "http://name.invalid");
    ask_in_turn(&k, &a[1], 1);
    asker_done(&k);
    assert_int_equal(a[1].result, UPSTREAM_UNREACHABLE);
    asked_done(&a[0]);
    asked_done(&a[1]);
}

static void bytes_that_would_break_the_request_are_refused(void **state)
{
    static const struct field breaking = {SLICE("X"), SLICE("a\r\nY: b")},
                              no_name = {SLICE("X Y"), SLICE("a")};
    struct asked a[] = {
        {.req = {.method = "GET", .target = SLICE("/ HTTP/1.1\r\nX: y")}},
        {.req = {.method = "GET /x", .target = SLICE("/")}},
        {.req = {.method = "", .target = SLICE("/")}},
        {.req = {.method = "GET", .target = SLICE("")}},
        {.req = {.method = "GET", .target = SLICE("/"), .fields = &breaking, .fields_n = 1}},
        {.req = {.method = "GET", .target = SLICE("/"), .fields = &no_name, .fields_n = 1}},
    };
    struct asker k;

    (void)state;
    asker_init(&k, "http://127.0.0.1:1");
    ask_in_turn(&k, a, ARRAY_LEN(a));
    asker_done(&k);
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        assert_int_equal(a[i].result, UPSTREAM_PROTOCOL);
        assert_int_equal(a[i].ends, 1);
        asked_done(&a[i]);
    }
}

/* -- proxies -- */

static void refuse_one(struct server *s)
{
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    server_send(fd, "HTTP/1.1 403 Forbidden\r\nX-Of: the proxy\r\nContent-Length: 0\r\n\r\n");
    server_await_close(fd);
}

static const struct {
    const char *why, *url, *target;
    void (*script)(struct server *s);
    enum upstream_result want;
    const char *saw;
} proxied[] = {
    {"a proxy gets the whole URL, unaltered", "http://origin.test:81/base/..", "/%2f//?", answer_one,
     UPSTREAM_OK,
     "GET http://origin.test:81/base/../%2f//? HTTP/1.1\r\nHost: origin.test:81\r\nAuthorization: "
     "secret\r\n\r\n"},
    {"the asterisk goes without a path", "http://origin.test/base", "*", answer_one, UPSTREAM_OK,
     "GET http://origin.test HTTP/1.1\r\nHost: origin.test\r\nAuthorization: secret\r\n\r\n"},
    {"a tunnel's proxy sees nothing of the request, and its refusal is no answer", "https://origin.test",
     "/x", refuse_one, UPSTREAM_UNREACHABLE,
     "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\nProxy-Connection: Keep-Alive\r\n\r\n"},
};

static void a_proxy_is_asked_as_configured(void **state)
{
    static const struct field secret = {SLICE("Authorization"), SLICE("secret")};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(proxied); i++) {
        struct asked a = {.req = {.method = "GET", .fields = &secret, .fields_n = 1}};
        struct asker k;

        server_start(&server, proxied[i].script, NULL);
        asker_init(&k, proxied[i].url);
        k.conf.proxy = server.url;
        a.req.target = slice_str(proxied[i].target);
        (void)setenv("no_proxy", "*", 1); /* the environment has no say */
        ask_in_turn(&k, &a, 1);
        (void)unsetenv("no_proxy");
        asker_done(&k);
        server_join(&server);
        if (a.result != proxied[i].want || a.heads != (a.result == UPSTREAM_OK ? 1 : 0) ||
            strcmp(server.saw, proxied[i].saw) != 0)
            fail_msg("%s: %d (%s), saw %s", proxied[i].why, (int)a.result, a.why, server.saw);
        asked_done(&a);
    }
}

static void the_environment_names_no_proxy(void **state)
{
    struct asked a = GET("/");
    struct asker k;

    (void)state;
    server_start(&server, answer_one, NULL);
    asker_init(&k, server.url);
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1);
    (void)setenv("all_proxy", "http://127.0.0.1:1", 1);
    ask_in_turn(&k, &a, 1);
    (void)unsetenv("http_proxy");
    (void)unsetenv("all_proxy");
    asker_done(&k);
    server_join(&server);
    assert_int_equal(a.result, UPSTREAM_OK);
    asked_done(&a);
}

/* -- time -- */

/* A listener whose queue is full: connections to it neither succeed nor fail. */
struct full {
    int listener, queued[8];
    char url[64];
};

static void full_open(struct full *f)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    f->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(f->listener, 0), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u", ntohs(at.sin_port));
    for (size_t i = 0; i < ARRAY_LEN(f->queued); i++) {
        f->queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(f->queued[i], (struct sockaddr *)&at, sizeof(at));
    }
}

static void full_close(struct full *f)
{
    for (size_t i = 0; i < ARRAY_LEN(f->queued); i++)
        close(f->queued[i]);
    close(f->listener);
}

enum { SOON_MS = 60 };

static void judge_time(struct asked *a, const char *why)
{
    int64_t took = a->ended_ms - a->started_ms;

    if (a->result != UPSTREAM_TIMEOUT || strcmp(a->why, why) != 0 || took < SOON_MS - 2 ||
        took > SOON_MS + 5000)
        fail_msg("%s: %d (%s) after %d ms", why, (int)a->result, a->why, (int)took);
    print_message("%s of %d ms: ended after %d ms\n", why, SOON_MS, (int)took);
    asked_done(a);
}

static void connecting_is_timed(void **state)
{
    struct asked a = GET("/");
    struct full f;
    struct asker k;

    (void)state;
    full_open(&f);
    asker_init(&k, f.url);
    k.conf.connect_timeout_ms = SOON_MS;
    ask_in_turn(&k, &a, 1);
    asker_done(&k);
    full_close(&f);
    judge_time(&a, "connect timeout");
}

static void read_and_wait(struct server *s)
{
    const char *begin = s->arg;
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    server_send(fd, begin);
    server_await_close(fd);
}

static const struct {
    const char *begin, *why;
    size_t limit; /* offset in struct upstream_conf */
} silences[] = {
    {"", "first byte timeout", offsetof(struct upstream_conf, first_byte_timeout_ms)},
    {"", "total timeout", offsetof(struct upstream_conf, total_timeout_ms)},
    {"HTTP/1.1 200 OK\r\n", "idle timeout", offsetof(struct upstream_conf, idle_timeout_ms)},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na", "idle timeout",
     offsetof(struct upstream_conf, idle_timeout_ms)},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na", "total timeout",
     offsetof(struct upstream_conf, total_timeout_ms)},
};

static void silence_is_timed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(silences); i++) {
        struct asked a = POST("/", "x");
        struct asker k;

        server_start(&server, read_and_wait, (void *)(uintptr_t)silences[i].begin);
        asker_init(&k, server.url);
        memcpy((char *)&k.conf + silences[i].limit, &(int64_t){SOON_MS}, sizeof(int64_t));
        ask_in_turn(&k, &a, 1);
        asker_done(&k);
        server_join(&server);
        judge_time(&a, silences[i].why);
    }
}

static void read_a_little_and_wait(struct server *s)
{
    int fd = server_accept(s);

    (void)server_read(s, fd, 100);
    server_wait_gate(s, 0);
    close(fd);
}

static void open_gate_0(struct asked *a)
{
    (void)a;
    server_open_gate(&server, 0);
}

static void a_request_nobody_reads_is_timed(void **state)
{
    static char large[32 << 20];
    struct asked a = {
        .req = {.method = "POST", .target = SLICE("/"), .has_body = true, .body = {large, sizeof(large)}},
        .at_end = open_gate_0};
    struct asker k;

    (void)state;
    server_start(&server, read_a_little_and_wait, NULL);
    asker_init(&k, server.url);
    k.conf.first_byte_timeout_ms = 1; /* counts from the last byte, which never leaves */
    k.conf.idle_timeout_ms = SOON_MS;
    ask_in_turn(&k, &a, 1);
    asker_done(&k);
    server_join(&server);
    judge_time(&a, "upstream does not read the request");
}

static void drip(struct server *s)
{
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    server_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
    for (int i = 0; i < 8; i++) {
        usleep(SOON_MS / 3 * 1000); /* what is tried is time itself */
        server_send(fd, "x");
    }
    server_await_close(fd);
}

static void a_slow_answer_is_not_idle(void **state)
{
    struct asked a = GET("/");
    struct asker k;

    (void)state;
    server_start(&server, drip, NULL);
    asker_init(&k, server.url);
    k.conf.idle_timeout_ms = 10 * SOON_MS;
    k.conf.first_byte_timeout_ms = 10 * SOON_MS;
    ask_in_turn(&k, &a, 1);
    asker_done(&k);
    server_join(&server);
    assert_int_equal(a.result, UPSTREAM_OK);
    asked_done(&a);
}

/* -- pauses -- */

static void resume(void *arg)
{
    struct asked *a = arg;

    upstream_resume(a->call);
}

static bool refuse_every_other_time(struct asked *a, struct slice bytes)
{
    size_t *times = a->arg;

    (void)bytes;
    if (++*times % 2 == 0)
        return true;
    asker_later(a->by, *times < 8 ? 2 * SOON_MS : 0, resume, a);
    return false;
}

static char pattern[300000];

static void answer_with_the_pattern(struct server *s)
{
    int fd = server_accept(s);

    (void)server_read_request(s, fd);
    if (s->arg) {
        server_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
        server_send_bytes(fd, slice_make(pattern, sizeof(pattern)));
    } else {
        server_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (size_t at = 0; at < sizeof(pattern); at += 1000) {
            server_send(fd, "3e8\r\n");
            server_send_bytes(fd, slice_make(pattern + at, 1000));
            server_send(fd, "\r\n");
        }
        server_send(fd, "0\r\nX-Last: yes\r\n\r\n");
    }
    server_await_close(fd);
}

static void make_pattern(void)
{
    uint32_t x = 1;

    for (size_t i = 0; i < sizeof(pattern); i++) {
        x = x * 1664525U + 1013904223U;
        pattern[i] = (char)(x >> 24);
    }
}

static void refused_bytes_come_again_and_waiting_is_not_idle(void **state)
{
    (void)state;
    make_pattern();
    for (size_t with_length = 0; with_length < 2; with_length++) {
        size_t times = 0;
        struct asked a = {.req = {.method = "GET", .target = SLICE("/")},
                          .at_body = refuse_every_other_time,
                          .arg = &times};
        struct asker k;

        server_start(&server, answer_with_the_pattern, with_length ? pattern : NULL);
        asker_init(&k, server.url);
        k.conf.idle_timeout_ms = SOON_MS;
        ask_in_turn(&k, &a, 1);
        asker_done(&k);
        server_join(&server);
        if (a.result != UPSTREAM_OK)
            fail_msg("%d (%s) after %zu bytes", (int)a.result, a.why, a.body.len);
        assert_int_equal(a.body.len, sizeof(pattern));
        assert_memory_equal(a.body.data, pattern, sizeof(pattern));
        assert_string_equal(text_of(&a.trailers), with_length ? "" : "X-Last: yes\n");
        asked_done(&a);
    }
}

static bool resume_at_once(struct asked *a, struct slice bytes)
{
    size_t *times = a->arg;

    (void)bytes;
    if (++*times % 2 == 0)
        return true;
    upstream_resume(a->call); /* before the refusal itself */
    return false;
}

static void a_resume_from_inside_the_refusal_is_not_lost(void **state)
{
    size_t times = 0;
    struct asked a = {
        .req = {.method = "GET", .target = SLICE("/")}, .at_body = resume_at_once, .arg = &times};
    struct asker k;

    (void)state;
    make_pattern();
    server_start(&server, answer_with_the_pattern, NULL);
    asker_init(&k, server.url);
    ask_in_turn(&k, &a, 1);
    asker_done(&k);
    server_join(&server);
    assert_int_equal(a.result, UPSTREAM_OK);
    assert_int_equal(a.body.len, sizeof(pattern));
    assert_memory_equal(a.body.data, pattern, sizeof(pattern));
    asked_done(&a);
}

/* -- ends -- */

static void cancel(void *arg)
{
    struct asked *a = arg;
    unsigned before = a->ends;

    upstream_cancel(a->call);
    assert_int_equal(a->ends, before); /* not from inside */
}

static void cancel_in_head(struct asked *a)
{
    cancel(a);
}

static bool cancel_in_body(struct asked *a, struct slice bytes)
{
    (void)bytes;
    assert_int_equal(a->body.len, 0); /* nothing comes after it */
    cancel(a);
    return true;
}

static bool pause_and_cancel(struct asked *a, struct slice bytes)
{
    (void)bytes;
    asker_later(a->by, 0, cancel, a);
    return false;
}

static void cancel_in_end(struct asked *a)
{
    upstream_cancel(a->call); /* of no use, and of no harm */
}

static void judge_cancelled(struct asked *a, unsigned heads_n)
{
    assert_int_equal(a->result, UPSTREAM_CANCELLED);
    assert_int_equal(a->ends, 1);
    assert_int_equal(a->heads, heads_n);
    asked_done(a);
}

static void a_call_can_be_cancelled_at_every_stage(void **state)
{
    static const char *const beginnings[] = {"", "", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
                                             "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
                                             "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"};

    (void)state;
    for (size_t stage = 0; stage < ARRAY_LEN(beginnings); stage++) {
        struct asked a = POST("/", "x");
        struct asker k;

        server_start(&server, read_and_wait, (void *)(uintptr_t)beginnings[stage]);
        asker_init(&k, server.url);
        a.at_end = cancel_in_end;
        if (stage == 2)
            a.at_head = cancel_in_head;
        if (stage == 3)
            a.at_body = cancel_in_body;
        if (stage == 4)
            a.at_body = pause_and_cancel;
        ask(&k, &a);
        if (stage == 0)
            cancel(&a);
        if (stage == 1)
            asker_later(&k, SOON_MS, cancel, &a);
        asker_run(&k);
        asker_done(&k);
        if (stage == 0) { /* the server never heard of it */
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            struct sockaddr_in at = {.sin_family = AF_INET,
                                     .sin_port = htons(server.port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

            assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
            close(fd);
        }
        server_join(&server);
        judge_cancelled(&a, stage >= 2 ? 1 : 0);
    }
}

static void a_call_can_be_cancelled_while_connecting(void **state)
{
    struct asked a = GET("/");
    struct full f;
    struct asker k;

    (void)state;
    full_open(&f);
    asker_init(&k, f.url);
    ask(&k, &a);
    asker_later(&k, SOON_MS, cancel, &a);
    asker_run(&k);
    asker_done(&k);
    full_close(&f);
    judge_cancelled(&a, 0);
}

static void freeing_the_pool_ends_every_call(void **state)
{
    struct asked a[3] = {GET("/"), GET("/"), GET("/")};
    struct full f;
    struct asker k;

    (void)state;
    full_open(&f);
    asker_init(&k, f.url);
    k.conf.max_concurrent = 1;
    ask(&k, &a[0]); /* will connect */
    ask(&k, &a[1]); /* will wait its turn */
    asker_later(&k, SOON_MS, (void (*)(void *))loop_stop, k.loop);
    asker_run(&k);
    ask(&k, &a[2]); /* not even that */
    assert_int_equal(upstream_pool_active(k.pool), 3);
    asker_done(&k);
    full_close(&f);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        judge_cancelled(&a[i], 0);
}

/* -- turns -- */

static void answer_and_note_overlap(struct server *s)
{
    int fd = server_accept(s);

    while (server_read_request(s, fd)) {
        struct pollfd more[2] = {{.fd = s->listener, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

        if (poll(more, 2, 20) > 0) /* a second request while the first has no answer */
            *(bool *)s->arg = true;
        server_send(fd, EMPTY_OK);
    }
    close(fd);
}

static void calls_over_the_bound_wait_their_turn(void **state)
{
    struct asked a[] = {GET("/1"), GET("/2"), GET("/3"), GET("/4")};
    bool overlap = false;
    struct asker k;

    (void)state;
    server_start(&server, answer_and_note_overlap, &overlap);
    asker_init(&k, server.url);
    k.conf.max_concurrent = 1;
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        ask(&k, &a[i]);
    assert_int_equal(upstream_pool_active(k.pool), 4);
    cancel(&a[2]);
    asker_run(&k);
    assert_int_equal(upstream_pool_active(k.pool), 0);
    asker_done(&k);
    server_join(&server);
    assert_false(overlap);
    assert_int_equal(server.accepted, 1);
    assert_null(strstr(server.saw, "/3"));
    assert_true(strstr(server.saw, "/1") < strstr(server.saw, "/2"));
    assert_true(strstr(server.saw, "/2") < strstr(server.saw, "/4"));
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        assert_int_equal(a[i].result, i == 2 ? UPSTREAM_CANCELLED : UPSTREAM_OK);
        asked_done(&a[i]);
    }
}

/* -- streamed bodies -- */

struct pieces {
    const char *const *next; /* NULL pauses once, "" ends, "!" fails */
    struct asked *of;
    unsigned waits;
};

static void body_is_ready(void *arg)
{
    struct pieces *p = arg;

    upstream_body_ready(p->of->call);
}

static int64_t read_piece(void *arg, char *buf, size_t cap)
{
    struct asked *a = arg;
    struct pieces *p = a->arg;
    const char *piece = *p->next++;
    size_t len;

    if (!piece) {
        p->waits++;
        asker_later(a->by, SOON_MS, body_is_ready, p);
        return -EAGAIN;
    }
    if (*piece == '!')
        return -ECONNRESET;
    len = strlen(piece);
    assert_true(len <= cap);
    memcpy(buf, piece, len);
    if (len == 0)
        p->next--; /* stays at the end, however often it is asked */
    return (int64_t)len;
}

static void tell_trailers(void *arg, void (*add)(void *add_arg, struct slice name, struct slice value),
                          void *add_arg)
{
    (void)arg;
    add(add_arg, SLICE_OF("X-Sum"), SLICE_OF("42"));
    add(add_arg, SLICE_OF("X-Bad"), SLICE_OF("a\r\nInjected: b"));
}

static const struct {
    const char *why;
    const char *pieces[6];
    int64_t len;
    bool trailers;
    enum upstream_result want;
    const char *body; /* as it must have arrived, behind the head */
} streams[] = {
    {"a known length", {"abc", "def", ""}, 6, false, UPSTREAM_OK, "Content-Length: 6\r\n\r\nabcdef"},
    {"a known length with waits",
     {NULL, "abc", NULL, "def", ""},
     6,
     false,
     UPSTREAM_OK,
     "Content-Length: 6\r\n\r\nabcdef"},
    {"an unknown length",
     {"abc", ""},
     -1,
     false,
     UPSTREAM_OK,
     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
    {"an unknown length with waits",
     {"abc", NULL, "de", NULL, ""},
     -1,
     false,
     UPSTREAM_OK,
     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
    {"trailers",
     {"abc", ""},
     -1,
     true,
     UPSTREAM_OK,
     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n"},
    {"nothing, known", {""}, 0, false, UPSTREAM_OK, "Content-Length: 0\r\n\r\n"},
    {"nothing, unknown", {""}, -1, false, UPSTREAM_OK, "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {"an end before the announced length", {"abc", ""}, 6, false, UPSTREAM_CANCELLED, NULL},
    {"a failure of the client's", {"abc", NULL, "!"}, -1, false, UPSTREAM_CANCELLED, NULL},
};

static void bodies_are_streamed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct pieces pieces = {.next = streams[i].pieces};
        struct asked a = {.req = {.method = "POST",
                                  .target = SLICE("/"),
                                  .has_body = true,
                                  .body_len = streams[i].len,
                                  .read_body = read_piece,
                                  .read_trailers = streams[i].trailers ? tell_trailers : NULL},
                          .arg = &pieces};
        struct asker k;

        pieces.of = &a;
        server_start(&server, answer_one, NULL);
        asker_init(&k, server.url);
        k.conf.idle_timeout_ms = k.conf.first_byte_timeout_ms =
            SOON_MS / 2 + 500; /* our client's waits do not count */
        ask_in_turn(&k, &a, 1);
        asker_done(&k);
        server_join(&server);
        if (a.result != streams[i].want || a.ends != 1 ||
            (streams[i].body &&
             (strlen(server.saw) < strlen(streams[i].body) ||
              strcmp(server.saw + server.saw_len - strlen(streams[i].body), streams[i].body) != 0)))
            fail_msg("%s: %d (%s), saw %s", streams[i].why, (int)a.result, a.why, server.saw);
        asked_done(&a);
    }
}

static const char *const early[] = {
    "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",
    "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
};

static void answer_before_the_body(struct server *s)
{
    const char *told = s->arg;
    int fd = server_accept(s);

    (void)server_read(s, fd, 20);
    server_send(fd, told);
    server_wait_gate(s, 0);
    server_reset(fd);
}

static int64_t never_ready(void *arg, char *buf, size_t cap)
{
    (void)arg;
    (void)buf;
    (void)cap;
    return -EAGAIN;
}

/* Upstream may answer without having read everything; the client is told, whether or not it has more to send.
 */
static void an_answer_before_the_end_of_the_body_counts(void **state)
{
    static char large[32 << 20];

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(early); i++) {
        struct asked a = {
            .req = {.method = "POST", .target = SLICE("/"), .has_body = true, .body = {large, sizeof(large)}},
            .at_end = open_gate_0};
        struct asker k;

        if (i % 2) {
            a.req.read_body = never_ready;
            a.req.body_len = 100;
        }
        server_start(&server, answer_before_the_body, (void *)(uintptr_t)early[i / 2]);
        asker_init(&k, server.url);
        k.conf.total_timeout_ms = 2000;
        ask_in_turn(&k, &a, 1);
        asker_done(&k);
        server_join(&server);
        if (a.result != UPSTREAM_OK || strcmp(text_of(&a.body), "no") != 0)
            fail_msg("%zu: %d (%s), %s", i, (int)a.result, a.why, text_of(&a.body));
        asked_done(&a);
    }
}

/* -- how long it takes -- */

enum { ROUNDS = 2000 };

struct timing {
    struct asked a;
    int64_t took_ns[ROUNDS];
    size_t n;
};

static void answer_again(struct server *s)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
        "0123456789abcdef";
    char got[4096];
    int fd = server_accept(s);

    while (recv(fd, got, sizeof(got), 0) > 0)
        server_send_bytes(fd, slice_make(answer, sizeof(answer) - 1));
    close(fd);
}

static void ask_another_time(struct asked *a)
{
    struct timing *t = CONTAINER_OF(a, struct timing, a);

    t->took_ns[t->n++] += clock_mono_ns();
    if (t->n == ROUNDS)
        return;
    a->body.len = a->fields.len = a->ends = 0;
    t->took_ns[t->n] = -clock_mono_ns();
    ask(a->by, a);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int64_t ask_bare(const char *request, size_t len)
{
    static int64_t took_ns[ROUNDS];
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(server.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char got[4096];

    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    for (size_t i = 0; i < ROUNDS; i++) {
        took_ns[i] = -clock_mono_ns();
        assert_int_equal(send(fd, request, len, 0), (ssize_t)len);
        assert_true(recv(fd, got, sizeof(got), 0) > 0);
        took_ns[i] += clock_mono_ns();
    }
    close(fd);
    qsort(took_ns, ROUNDS, sizeof(took_ns[0]), by_size);
    return took_ns[ROUNDS / 2];
}

/* No bound is asserted: the figure is for whoever reads the log. */
static void a_call_takes_this_long(void **state)
{
    static const struct field fields[] = {
        {SLICE("Authorization"), SLICE("Bearer 0123456789")},
        {SLICE("Content-Type"), SLICE("application/json")},
        {SLICE("Accept"), SLICE("application/json")},
        {SLICE("User-Agent"), SLICE("OpenAI/Python 1.0")},
        {SLICE("X-Request-Id"), SLICE("0123456789abcdef")},
        {SLICE("Via"), SLICE("1.1 refrain")},
    };
    static struct timing t;
    static char body[1024], request[2048];
    struct asker k;
    int64_t bare;
    int len;

    (void)state;
    memset(body, 'x', sizeof(body));
    len = snprintf(request, sizeof(request),
                   "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n%s"
                   "Content-Length: 1024\r\n\r\n%.1024s",
                   "X-Padding: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n",
                   body);
    server_start(&server, answer_again, NULL);
    bare = ask_bare(request, (size_t)len);
    server_join(&server);

    t.a = (struct asked){.req = {.method = "POST",
                                 .target = SLICE("/v1/chat/completions"),
                                 .fields = fields,
                                 .fields_n = ARRAY_LEN(fields),
                                 .has_body = true,
                                 .body = {body, sizeof(body)}},
                         .at_end = ask_another_time};
    server_start(&server, answer_again, NULL);
    asker_init(&k, server.url);
    t.took_ns[0] = -clock_mono_ns();
    ask_in_turn(&k, &t.a, 1);
    asker_done(&k);
    server_join(&server);
    assert_int_equal(t.n, ROUNDS);
    qsort(t.took_ns, ROUNDS, sizeof(t.took_ns[0]), by_size);
    print_message("1 KB POST over loopback, kept connection: p50 %.1f us, p99 %.1f us; send and recv alone: "
                  "p50 %.1f us\n",
                  (double)t.took_ns[ROUNDS / 2] / 1e3, (double)t.took_ns[ROUNDS * 99 / 100] / 1e3,
                  (double)bare / 1e3);
    asked_done(&t.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_leave_byte_for_byte),
        cmocka_unit_test(answers_come_whole_or_are_named_as_torn),
        cmocka_unit_test(answers_come_the_same_in_single_bytes),
        cmocka_unit_test(a_head_has_ceilings),
        cmocka_unit_test(a_connection_serves_again),
        cmocka_unit_test(a_spoilt_connection_costs_no_second_request),
        cmocka_unit_test(nobody_listening_is_unreachable),
        cmocka_unit_test(bytes_that_would_break_the_request_are_refused),
        cmocka_unit_test(a_proxy_is_asked_as_configured),
        cmocka_unit_test(the_environment_names_no_proxy),
        cmocka_unit_test(connecting_is_timed),
        cmocka_unit_test(silence_is_timed),
        cmocka_unit_test(a_request_nobody_reads_is_timed),
        cmocka_unit_test(a_slow_answer_is_not_idle),
        cmocka_unit_test(refused_bytes_come_again_and_waiting_is_not_idle),
        cmocka_unit_test(a_resume_from_inside_the_refusal_is_not_lost),
        cmocka_unit_test(a_call_can_be_cancelled_at_every_stage),
        cmocka_unit_test(a_call_can_be_cancelled_while_connecting),
        cmocka_unit_test(freeing_the_pool_ends_every_call),
        cmocka_unit_test(calls_over_the_bound_wait_their_turn),
        cmocka_unit_test(bodies_are_streamed),
        cmocka_unit_test(an_answer_before_the_end_of_the_body_counts),
        cmocka_unit_test(a_call_takes_this_long),
    };

    return cmocka_run_group_tests_name("upstream", tests, NULL, NULL);
}
