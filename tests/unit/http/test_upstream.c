/* upstream: what goes out, byte for byte; what comes back, whole or named as torn; time, turns, pauses, ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_leave_byte_for_byte),
        cmocka_unit_test(answers_come_whole_or_are_named_as_torn),
        cmocka_unit_test(answers_come_the_same_in_single_bytes),
        cmocka_unit_test(a_head_has_ceilings),
    };

    return cmocka_run_group_tests_name("upstream", tests, NULL, NULL);
}
