/* reqtext: both ways to write a request down say the same, and what is none is told what was expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/reqtext.h"

static void reads_what_people_write(void **state)
{
    static const struct {
        const char *why;
        struct slice text;
        const char *method, *target, *body; /* body NULL: none */
        const char *field, *value;          /* the first field; NULL: none */
    } cases[] = {
        {"a path alone", SLICE("{\"path\":\"/v1/models\"}"), "GET", "/v1/models", NULL, NULL, NULL},
        {"a body makes it POST", SLICE(" {\"target\":\"/a\",\"body\":{ \"x\" : 1.0 }}\n"), "POST", "/a",
         "{ \"x\" : 1.0 }", "Content-Type", "application/json"},
        {"a URL's path", SLICE("{\"url\":\"https://api.example:1/v1/x?a=b\"}"), "GET", "/v1/x?a=b", NULL,
         NULL, NULL},
        {"a URL without a path", SLICE("{\"url\":\"http://api.example\"}"), "GET", "/", NULL, NULL, NULL},
        {"a body in a string", SLICE("{\"url\":\"/\",\"body\":\"{\\\"a\\\":\\u0031}\"}"), "POST", "/",
         "{\"a\":1}", NULL, NULL},
        {"an empty body", SLICE("{\"url\":\"/\",\"body\":\"\"}"), "POST", "/", "", NULL, NULL},
        {"no body", SLICE("{\"url\":\"/\",\"body\":null}"), "GET", "/", NULL, NULL, NULL},
        {"its own type", SLICE("{\"url\":\"/\",\"body\":[],\"headers\":{\"content-type\":\"a/b\"}}"), "POST",
         "/", "[]", "content-type", "a/b"},
        {"headers as pairs", SLICE("{\"url\":\"/\",\"headers\":[[\"A\",\" b\\u00e9 \"]]}"), "GET", "/", NULL,
         "A", "b\xC3\xA9"},
        {"an escaped method", SLICE("{\"url\":\"/\",\"method\":\"P\\u0055T\"}"), "PUT", "/", NULL, NULL,
         NULL},
        {"as text", SLICE("POST /a?b HTTP/1.1\r\nA:  b \r\n\r\nbody"), "POST", "/a?b", "body", "A", "b"},
        {"as text with LF", SLICE("POST /a HTTP/1.1\nA: b\n\nbody\n"), "POST", "/a", "body\n", "A", "b"},
        {"no version", SLICE("GET /a"), "GET", "/a", NULL, NULL, NULL},
        {"the length says where it ends", SLICE("POST /a HTTP/1.1\nContent-Length: 4\n\nbody\n"), "POST",
         "/a", "body", "Content-Length", "4"},
        {"a length that is too much", SLICE("POST /a HTTP/1.1\nContent-Length: 9\n\nbody"), "POST", "/a",
         "body", "Content-Length", "9"},
        {"an absolute target", SLICE("GET http://host/a HTTP/1.1\n\n"), "GET", "/a", NULL, NULL, NULL},
        {"all of the server", SLICE("OPTIONS * HTTP/1.1\n\n"), "OPTIONS", "*", NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reqtext_fault fault = {NULL, NULL};
        AUTO(reqtext_done) struct reqtext r;

        if (!reqtext_read(cases[i].text, &r, &fault))
            fail_msg("%s: %s: %s", cases[i].why, fault.where, fault.expected);
        if (!slice_eq(r.method, slice_str(cases[i].method)) ||
            !slice_eq(r.target, slice_str(cases[i].target)))
            fail_msg("%s: %.*s %.*s", cases[i].why, (int)r.method.len, r.method.data, (int)r.target.len,
                     r.target.data);
        if (r.has_body != (cases[i].body != NULL) || !slice_eq(r.body, slice_str(cases[i].body)))
            fail_msg("%s: body %d %.*s", cases[i].why, r.has_body, (int)r.body.len, r.body.data);
        if (r.fields.n != (cases[i].field != NULL))
            fail_msg("%s: %u fields", cases[i].why, r.fields.n);
        if (cases[i].field && (!slice_eq(r.fields.at[0].name, slice_str(cases[i].field)) ||
                               !slice_eq(r.fields.at[0].value, slice_str(cases[i].value))))
            fail_msg("%s: field", cases[i].why);
    }
}

static void says_what_was_expected(void **state)
{
    static const struct {
        struct slice text;
        const char *where;
    } cases[] = {
        {SLICE(""), "the request"},
        {SLICE(" \n"), "the request"},
        {SLICE("{"), "the request"},
        {SLICE("{} {}"), "the request"},
        {SLICE("{}"), "url"},
        {SLICE("{\"url\":\"v1\"}"), "url"},
        {SLICE("{\"url\":1}"), "url"},
        {SLICE("{\"url\":\"/a b\"}"), "url"},
        {SLICE("{\"url\":\"/a\\u0000\"}"), "url"},
        {SLICE("{\"url\":\"/a#b\"}"), "url"},
        {SLICE("{\"url\":\"/\",\"method\":\"\"}"), "method"},
        {SLICE("{\"url\":\"/\",\"methods\":\"GET\"}"), "a member that is not known"},
        {SLICE("{\"url\":\"/\",\"headers\":1}"), "headers"},
        {SLICE("{\"url\":\"/\",\"headers\":{\"a\":1}}"), "headers"},
        {SLICE("{\"url\":\"/\",\"headers\":{\"a\":[\"b\",1]}}"), "headers"},
        {SLICE("{\"url\":\"/\",\"headers\":[[\"a\"]]}"), "headers"},
        {SLICE("{\"url\":\"/\",\"headers\":[[\"a\",\"b\",\"c\"]]}"), "headers"},
        {SLICE("{\"url\":\"/\",\"headers\":{\"a\":\"b\\r\\nc: d\"}}"), "headers"},
        {SLICE("{\"url\":\"/\",\"body\":\"\\ud800\"}"), "body"},
        {SLICE("hello"), "the first line"},
        {SLICE("GET /a FTP/1"), "the first line"},
        {SLICE("GET a HTTP/1.1\n\n"), "url"},
        {SLICE("GET / HTTP/1.1\nA\n\n"), "headers"},
        {SLICE("GET / HTTP/1.1\nA: b\n folded\n\n"), "headers"},
        {SLICE("GET / HTTP/1.1\nA : b\n\n"), "headers"},
        {SLICE("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0"), "headers"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reqtext_fault fault = {NULL, NULL};
        struct reqtext r;

        if (reqtext_read(cases[i].text, &r, &fault))
            fail_msg("taken: %.*s", (int)cases[i].text.len, cases[i].text.data);
        if (strcmp(fault.where, cases[i].where) != 0 || !fault.expected)
            fail_msg("%.*s: it was said to be %s", (int)cases[i].text.len, cases[i].text.data, fault.where);
        assert_int_equal(r.fields.n, 0);
    }
}

static void many_headers_are_too_many(void **state)
{
    AUTO(buf_done) struct buf text = BUF_INIT(1 << 16);
    struct reqtext_fault fault;
    struct reqtext r;
    int failed = buf_addf(&text, "GET / HTTP/1.1\n");

    (void)state;
    for (int i = 0; i < FIELDS_MAX; i++)
        failed |= buf_addf(&text, "a: b\n");
    assert_int_equal(failed, 0);
    assert_true(reqtext_read(buf_slice(&text), &r, &fault));
    reqtext_done(&r);
    assert_int_equal(buf_addf(&text, "a: b\n"), 0);
    assert_false(reqtext_read(buf_slice(&text), &r, &fault));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_people_write),
        cmocka_unit_test(says_what_was_expected),
        cmocka_unit_test(many_headers_are_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
