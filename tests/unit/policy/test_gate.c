/* gate: what may be stored, and what may be given to others. SPEC sections 5 and 7; RFC 9111 sections 3
 * and 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "given.h"
#include "refrain/base/attr.h"
#include "refrain/policy/gate.h"

enum { NOW_S = 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT */

static const struct key_scope scope = {.mode = KEY_SCOPE_CREDENTIAL, .secret = SLICE("secret")};
static struct fields fields;

static void fill(const struct given *given)
{
    given_fill(&fields, given);
    fields_classify_response(&fields, table);
}

static const struct tally_result good = {.tokens_in = -1, .tokens_out = -1};

static struct gate_conf plain_conf(void)
{
    return (struct gate_conf){.object_bytes_max = 1000, .headers = table, .scope = &scope};
}

#define JSON                                                                                                 \
    {                                                                                                        \
        "Content-Type", "application/json"                                                                   \
    }
#define SSE                                                                                                  \
    {                                                                                                        \
        "Content-Type", "text/event-stream; charset=utf-8"                                                   \
    }

static void an_answer_passes_or_has_a_reason(void **state)
{
    static const struct {
        const char *why;
        struct gate_answer a; /* fields are filled in */
        struct given given[GIVEN_MAX];
        enum gate_reason want;
    } cases[] = {
        {"a whole answer", {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good}, {JSON}, GATE_STORE},
        {"another JSON type",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {{"content-type", "Application/Problem+JSON ; a=b"}},
         GATE_STORE},
        {"an error", {.op = OP_CHAT, .status = 400, .whole = true, .tally = &good}, {JSON}, GATE_STATUS},
        {"a success that is none",
         {.op = OP_CHAT, .status = 206, .whole = true, .tally = &good},
         {JSON},
         GATE_STATUS},
        {"accepted only", {.op = OP_CHAT, .status = 202, .whole = true, .tally = &good}, {JSON}, GATE_STATUS},
        {"a coding that was not asked for",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Content-Encoding", "br"}},
         GATE_CODING},
        {"two codings",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Content-Encoding", "gzip, gzip"}},
         GATE_CODING},
        {"two codings, a line each",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Content-Encoding", "gzip"}, {"Content-Encoding", "gzip"}},
         GATE_CODING},
        {"the one that was",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Content-Encoding", "GZIP"}},
         GATE_STORE},
        {"read is not looked into",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1"}, {"Content-Encoding", "br"}},
         GATE_STORE},
        {"cut short",
         {.op = OP_CHAT, .status = 200, .whole = false, .tally = &good},
         {JSON},
         GATE_INCOMPLETE},
        {"a page",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {{"Content-Type", "text/html"}},
         GATE_CONTENT_TYPE},
        {"no type",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {{NULL, NULL}},
         GATE_CONTENT_TYPE},
        {"as large as allowed",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good, .body_bytes = 1000},
         {JSON},
         GATE_STORE},
        {"too large",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good, .body_bytes = 1001},
         {JSON},
         GATE_TOO_LARGE},
        {"a cookie is left out, not a reason",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Set-Cookie", "a=b"}},
         GATE_STORE},
        {"upstream's Cache-Control is ignored",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Cache-Control", "no-store, private"}},
         GATE_STORE},

        {"a stream", {.op = OP_CHAT, .streamed = true, .status = 200, .whole = true}, {SSE}, GATE_STORE},
        {"a stream without its end",
         {.op = OP_CHAT, .streamed = true, .status = 200},
         {SSE},
         GATE_INCOMPLETE},
        {"JSON for a stream",
         {.op = OP_CHAT, .streamed = true, .status = 200, .whole = true, .tally = &good},
         {JSON},
         GATE_CONTENT_TYPE},
        {"a stream for JSON", {.op = OP_CHAT, .status = 200, .whole = true}, {SSE}, GATE_CONTENT_TYPE},
        {"an operation without streams, asked for one",
         {.op = OP_EMBEDDING, .streamed = true, .status = 200, .whole = true, .tally = &good},
         {JSON},
         GATE_STORE},

        {"varies on what is keyed",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Vary", "Origin, X-Foo"}},
         GATE_STORE},
        {"on the coding",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Vary", "Accept-Encoding"}},
         GATE_STORE},
        {"on a credential that is in the scope",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Vary", "Authorization"}},
         GATE_STORE},
        {"on what is not",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Vary", "Origin"}, {"Vary", "a,, User-Agent"}},
         GATE_STORE},
        {"on what only `read` has in its key",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Vary", "Accept"}},
         GATE_STORE},
        {"read has it",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1"}, {"Vary", "Accept"}},
         GATE_STORE},
        {"on everything",
         {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good},
         {JSON, {"Vary", "a, *"}},
         GATE_VARY},

        {"read, section 5.2.2.1",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1"}},
         GATE_STORE},
        {"read, any type",
         {.op = OP_READ, .status = 200, .whole = true},
         {JSON, {"Cache-Control", "max-age=1"}},
         GATE_STORE},
        {"read, nothing says how long",
         {.op = OP_READ, .status = 200, .whole = true},
         {JSON},
         GATE_NO_LIFETIME},
        {"read, stale at once",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=0"}},
         GATE_NO_LIFETIME},
        {"read, no-store",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1"}, {"Cache-Control", "no-store"}},
         GATE_CACHE_CONTROL},
        {"read, no-store that need not be obeyed",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1, no-store, must-understand"}},
         GATE_STORE},
        {"read, private",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1, private"}},
         GATE_CACHE_CONTROL},
        {"read, private fields",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1, private=\"x\""}},
         GATE_STORE},
        {"read, private as a whole beside private fields",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1, private=\"x\", private"}},
         GATE_CACHE_CONTROL},
        {"read, no-cache fields",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1, no-cache=\"x\""}},
         GATE_STORE},
        {"read, no-cache that upstream can be asked about",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "no-cache"}, {"ETag", "\"a\""}},
         GATE_STORE},
        {"read, stale at once, but upstream can be asked",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=0"}, {"Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"}},
         GATE_STORE},
        {"read, nothing says how long, though upstream can be asked",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"ETag", "\"a\""}},
         GATE_NO_LIFETIME},
        {"read, stale at once, but good while it is refreshed",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=0, stale-while-revalidate=5"}},
         GATE_STORE},
        {"read, older than its lifetime when it comes",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=60"}, {"Age", "60"}},
         GATE_NO_LIFETIME},
        {"read, older than its lifetime by what Date says",
         {.op = OP_READ, .status = 200, .whole = true, .came_ms = INT64_C(1000) * NOW_S},
         {{"Cache-Control", "max-age=60"}, {"Date", "Sun, 06 Nov 1994 08:48:37 GMT"}},
         GATE_NO_LIFETIME},
        {"read, no-cache",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1, no-cache"}},
         GATE_CACHE_CONTROL},
        {"read, a cookie",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1"}, {"Set-Cookie", "a=b"}},
         GATE_SET_COOKIE},
        {"read, Expires",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Date", "Sun, 06 Nov 1994 08:49:37 GMT"}, {"Expires", "Sun, 06 Nov 1994 08:49:38 GMT"}},
         GATE_STORE},
        {"read, expired",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Date", "Sun, 06 Nov 1994 08:49:37 GMT"}, {"Expires", "Sun, 06 Nov 1994 08:49:37 GMT"}},
         GATE_NO_LIFETIME},
        {"read, Expires: 0",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Expires", "0"}},
         GATE_NO_LIFETIME},
        {"read, RFC 9213",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "no-store"}, {"CDN-Cache-Control", "max-age=1"}},
         GATE_STORE},
        {"read, RFC 9213, the other way",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1"}, {"CDN-Cache-Control", "no-store"}},
         GATE_CACHE_CONTROL},
        {"read, RFC 9213, empty",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Cache-Control", "max-age=1"}, {"CDN-Cache-Control", " "}},
         GATE_STORE},
        {"read, RFC 9213, Expires gives way",
         {.op = OP_READ, .status = 200, .whole = true},
         {{"Expires", "Fri, 31 Dec 9999 23:59:59 GMT"}, {"CDN-Cache-Control", "public"}},
         GATE_NO_LIFETIME},
        {"read, section 3.5",
         {.op = OP_READ, .status = 200, .whole = true, .authorized = true},
         {{"Cache-Control", "max-age=1"}},
         GATE_CACHE_CONTROL},
        {"read, section 3.5, s-maxage",
         {.op = OP_READ, .status = 200, .whole = true, .authorized = true},
         {{"Cache-Control", "s-maxage=1"}},
         GATE_STORE},
        {"read, section 3.5, public",
         {.op = OP_READ, .status = 200, .whole = true, .authorized = true},
         {{"Cache-Control", "max-age=1, public"}},
         GATE_STORE},
        {"read, section 3.5, must-revalidate",
         {.op = OP_READ, .status = 200, .whole = true, .authorized = true},
         {{"Cache-Control", "max-age=1, must-revalidate"}},
         GATE_STORE},
        {"read, a redirect",
         {.op = OP_READ, .status = 302, .whole = true},
         {{"Cache-Control", "max-age=1"}},
         GATE_STORE},
        {"read, part",
         {.op = OP_READ, .status = 206, .whole = true},
         {{"Cache-Control", "max-age=1"}},
         GATE_STATUS},
        {"read, not found",
         {.op = OP_READ, .status = 404, .whole = true},
         {{"Cache-Control", "max-age=1"}},
         GATE_STATUS},
        {"read, not modified",
         {.op = OP_READ, .status = 304, .whole = true},
         {{"Cache-Control", "max-age=1"}},
         GATE_STATUS},
        {"read, cut short",
         {.op = OP_READ, .status = 200},
         {{"Cache-Control", "max-age=1"}},
         GATE_INCOMPLETE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gate_answer a = cases[i].a;
        struct gate_conf conf = plain_conf();
        enum gate_reason got;

        fill(cases[i].given);
        a.fields = &fields;
        got = gate_judge(&a, &conf);
        if (got != cases[i].want)
            fail_msg("%s: %s, not %s", cases[i].why, gate_reason_name(got), gate_reason_name(cases[i].want));
    }
}

static void a_head_alone_says_what_a_head_can(void **state)
{
    static const struct given json[GIVEN_MAX] = {JSON}, html[GIVEN_MAX] = {{"Content-Type", "text/html"}};
    struct gate_answer a = {.op = OP_CHAT, .status = 200, .fields = &fields};
    struct gate_conf conf = plain_conf();

    (void)state;
    fill(json);
    assert_int_equal(gate_head(&a, &conf), GATE_STORE); /* so far: nothing is known of the body */
    a.body_bytes = 1001;
    assert_int_equal(gate_head(&a, &conf), GATE_TOO_LARGE);
    fill(html);
    assert_int_equal(gate_head(&a, &conf), GATE_CONTENT_TYPE);
}

static void a_routes_lifetime_stands_in_where_there_is_none(void **state)
{
    static const struct {
        const char *why;
        unsigned status;
        bool authorized;
        struct given given[GIVEN_MAX];
        enum gate_reason want;
    } cases[] = {
        {"no freshness of its own", 200, false, {JSON}, GATE_STORE},
        {"the operator's word covers section 3.5", 200, true, {JSON}, GATE_STORE},
        {"no-store stands", 200, false, {{"Cache-Control", "no-store"}}, GATE_CACHE_CONTROL},
        {"private stands", 200, false, {{"Cache-Control", "private"}}, GATE_CACHE_CONTROL},
        {"stale at once stands", 200, false, {{"Cache-Control", "max-age=0"}}, GATE_NO_LIFETIME},
        {"not for a redirect of the moment", 302, false, {JSON}, GATE_NO_LIFETIME},
        {"a lasting one", 301, false, {JSON}, GATE_STORE},
        {"not for an error", 404, false, {JSON}, GATE_STATUS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gate_answer a = {.op = OP_READ,
                                .status = cases[i].status,
                                .authorized = cases[i].authorized,
                                .whole = true,
                                .fields = &fields};
        struct gate_conf conf = plain_conf();

        conf.route_ttl_s = 60;
        fill(cases[i].given);
        if (gate_judge(&a, &conf) != cases[i].want)
            fail_msg("%s: %s", cases[i].why, gate_reason_name(gate_judge(&a, &conf)));
    }
}

static void upstream_is_listened_to_when_told_so(void **state)
{
    static const struct {
        struct given given[GIVEN_MAX];
        enum gate_reason want;
    } cases[] = {
        {{JSON}, GATE_STORE},
        {{JSON, {"Cache-Control", "max-age=60"}}, GATE_STORE},
        {{JSON, {"Cache-Control", "no-store"}}, GATE_CACHE_CONTROL},
        {{JSON, {"Cache-Control", "private"}}, GATE_CACHE_CONTROL},
        {{JSON, {"Cache-Control", "no-cache"}}, GATE_CACHE_CONTROL},
        {{JSON, {"Cache-Control", "max-age=0"}}, GATE_CACHE_CONTROL},
        {{JSON, {"Expires", "0"}}, GATE_CACHE_CONTROL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gate_answer a = {
            .op = OP_CHAT, .status = 200, .whole = true, .tally = &good, .fields = &fields};
        struct gate_conf conf = plain_conf();

        conf.respect_upstream_cache_control = true;
        fill(cases[i].given);
        assert_int_equal(gate_judge(&a, &conf), cases[i].want);
        assert_int_equal(gate_shareable(&a, &conf), cases[i].want == GATE_STORE);
    }
}

static void vary_refuses_what_cannot_be_told_apart(void **state)
{
    static const struct key_scope shared = {.mode = KEY_SCOPE_SHARED, .secret = SLICE("secret")},
                                  bare = {.mode = KEY_SCOPE_SHARED};
    static const struct given by_key[GIVEN_MAX] = {JSON, {"Vary", "x-api-key"}};
    struct gate_answer a = {.op = OP_CHAT, .status = 200, .whole = true, .tally = &good, .fields = &fields};
    struct gate_conf conf = plain_conf();

    (void)state;
    fill(by_key);
    assert_int_equal(gate_judge(&a, &conf), GATE_STORE); /* the scope has it in the key */
    conf.scope = &shared;
    assert_int_equal(gate_judge(&a, &conf), GATE_STORE); /* a variant each */
    conf.scope = &bare;
    assert_int_equal(gate_judge(&a, &conf), GATE_VARY); /* nothing to hide a credential by */
    assert_false(gate_shareable(&a, &conf));
}

/* SPEC section 7. */
static void others_may_have_it_or_not(void **state)
{
    static const struct {
        const char *why;
        enum operation op;
        unsigned status;
        struct given given[GIVEN_MAX];
        bool want;
    } cases[] = {
        {"an answer", OP_CHAT, 200, {JSON}, true},
        {"whatever upstream says",
         OP_CHAT,
         200,
         {JSON, {"Cache-Control", "no-cache, no-store, private"}},
         true},
        {"a cookie is not passed on", OP_CHAT, 200, {JSON, {"Set-Cookie", "a"}}, true},
        {"bad request", OP_CHAT, 400, {JSON}, true},
        {"rate limit", OP_CHAT, 429, {JSON}, true},
        {"sick", OP_CHAT, 503, {JSON, {"Vary", "*"}}, true},
        {"varies by what is not in the key", OP_CHAT, 200, {JSON, {"Vary", "User-Agent"}}, true},
        {"varies by all", OP_CHAT, 200, {JSON, {"Vary", "User-Agent, *"}}, false},
        {"read", OP_READ, 200, {{"Cache-Control", "max-age=5"}}, true},
        {"read, nothing says how long", OP_READ, 200, {JSON}, false},
        {"read, private", OP_READ, 200, {{"Cache-Control", "private, max-age=5"}}, false},
        {"read, no-store", OP_READ, 200, {{"Cache-Control", "no-store"}}, false},
        {"read, no-cache", OP_READ, 200, {{"Cache-Control", "no-cache"}}, false},
        {"read, stored, but asked about each time",
         OP_READ,
         200,
         {{"Cache-Control", "no-cache"}, {"ETag", "\"a\""}},
         false},
        {"read, stale at once", OP_READ, 200, {{"Cache-Control", "max-age=0"}, {"ETag", "\"a\""}}, false},
        {"read, stale at once, but good while it is refreshed",
         OP_READ,
         200,
         {{"Cache-Control", "max-age=0, stale-while-revalidate=5"}},
         true},
        {"read, a cookie", OP_READ, 200, {{"Cache-Control", "max-age=5"}, {"Set-Cookie", "a"}}, false},
        {"read, not found", OP_READ, 404, {JSON}, false},
        {"read, not found for a while", OP_READ, 404, {{"Cache-Control", "max-age=5"}}, true},
        {"read, rate limit", OP_READ, 429, {{"Cache-Control", "no-store"}}, true},
        {"read, sick", OP_READ, 502, {{"Cache-Control", "no-store"}}, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gate_answer a = {.op = cases[i].op, .status = cases[i].status, .fields = &fields};
        struct gate_conf conf = plain_conf();

        fill(cases[i].given);
        if (gate_shareable(&a, &conf) != cases[i].want)
            fail_msg("%s", cases[i].why);
    }
}

static void a_route_may_have_the_lifetime_guessed(void **state)
{
    static const struct {
        const char *why;
        unsigned status;
        struct given given[GIVEN_MAX];
        enum gate_reason want;
    } cases[] = {
        {"by Last-Modified", 200, {{"Last-Modified", "Sun, 06 Nov 1994 08:00:00 GMT"}}, GATE_STORE},
        {"nothing to go by", 200, {JSON}, GATE_NO_LIFETIME},
        {"upstream's own word stands",
         200,
         {{"Last-Modified", "Sun, 06 Nov 1994 08:00:00 GMT"}, {"Cache-Control", "no-store"}},
         GATE_CACHE_CONTROL},
        {"not for a redirect of the moment",
         302,
         {{"Last-Modified", "Sun, 06 Nov 1994 08:00:00 GMT"}},
         GATE_NO_LIFETIME},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gate_answer a = {.op = OP_READ,
                                .status = cases[i].status,
                                .whole = true,
                                .came_ms = INT64_C(1000) * NOW_S,
                                .fields = &fields};
        struct gate_conf conf = plain_conf();

        conf.heuristic = true;
        fill(cases[i].given);
        if (gate_judge(&a, &conf) != cases[i].want)
            fail_msg("%s: %s", cases[i].why, gate_reason_name(gate_judge(&a, &conf)));
    }
}

#define FINISH(k, t) .finishes = {{FINISH_##k, SLICE(t)}}, .finishes_n = 1

static void an_answer_is_judged_by_what_it_adds_up_to(void **state)
{
    static const struct {
        const char *why;
        bool whole;
        struct tally_result sum;
        enum gate_reason want;
    } cases[] = {
        {"good", true, {.fault = TALLY_GOOD}, GATE_STORE},
        {"good, its end told", true, {FINISH(GOOD, "stop")}, GATE_STORE},
        {"cut", false, {.fault = TALLY_GOOD}, GATE_INCOMPLETE},
        {"no JSON", true, {.fault = TALLY_NOT_JSON}, GATE_JSON},
        {"cut in the middle of its JSON", false, {.fault = TALLY_NOT_JSON}, GATE_INCOMPLETE},
        {"an error inside", true, {.fault = TALLY_ERROR_INSIDE}, GATE_ERROR_INSIDE},
        {"an error, and then cut", false, {.fault = TALLY_ERROR_INSIDE}, GATE_ERROR_INSIDE},
        {"nothing in it", true, {.fault = TALLY_NO_PAYLOAD}, GATE_PAYLOAD},
        {"arguments", true, {.fault = TALLY_ARGUMENTS}, GATE_TOOL_ARGUMENTS},
        {"prose for JSON", true, {.fault = TALLY_WANTED_JSON}, GATE_WANTED_JSON},
        {"too much to follow", true, {.fault = TALLY_MEMORY}, GATE_MEMORY},
        {"a choice that says nothing", true, {.empty = true}, GATE_EMPTY},
        {"length", true, {FINISH(LENGTH, "max_tokens")}, GATE_FINISH_REASON},
        {"refusal", true, {FINISH(REFUSAL, "refusal")}, GATE_FINISH_REASON},
        {"filter", true, {FINISH(FILTER, "SAFETY")}, GATE_FINISH_REASON},
        {"incomplete", true, {FINISH(INCOMPLETE, "incomplete")}, GATE_FINISH_REASON},
        {"error", true, {FINISH(ERROR, "error")}, GATE_FINISH_REASON},
        {"one of two choices",
         true,
         {.finishes = {{FINISH_LENGTH, SLICE("length")}, {FINISH_GOOD, SLICE("stop")}}, .finishes_n = 2},
         GATE_FINISH_REASON},
        {"cut off by length, and so no JSON",
         true,
         {.fault = TALLY_WANTED_JSON, FINISH(LENGTH, "length")},
         GATE_FINISH_REASON},
        {"filtered, and so nothing in it",
         true,
         {.fault = TALLY_NO_PAYLOAD, FINISH(FILTER, "SAFETY")},
         GATE_FINISH_REASON},
        {"filtered, and so it says nothing",
         true,
         {.empty = true, FINISH(FILTER, "content_filter")},
         GATE_FINISH_REASON},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (int streamed = 0; streamed < 2; streamed++) {
            static const struct given json[GIVEN_MAX] = {JSON}, sse[GIVEN_MAX] = {SSE};
            struct tally_result sum = cases[i].sum;
            struct gate_answer a = {.op = OP_CHAT,
                                    .streamed = streamed,
                                    .status = 200,
                                    .whole = cases[i].whole,
                                    .tally = &sum,
                                    .fields = &fields};
            struct gate_conf conf = plain_conf();
            enum gate_reason got;

            sum.finished = true;
            fill(streamed ? sse : json);
            got = gate_judge(&a, &conf);
            if (got != cases[i].want)
                fail_msg("%s: %s, not %s", cases[i].why, gate_reason_name(got),
                         gate_reason_name(cases[i].want));
        }
}

/* A stream says of each choice how it ended, a whole answer has ended with its last byte. */
static void a_stream_that_does_not_say_how_it_ended_was_broken_off(void **state)
{
    static const struct {
        const char *why;
        enum operation op;
        bool streamed;
        enum tally_fault fault;
        enum gate_reason want;
    } cases[] = {
        {"chat", OP_CHAT, true, TALLY_GOOD, GATE_FINISH_REASON},
        {"completion", OP_COMPLETION, true, TALLY_GOOD, GATE_FINISH_REASON},
        {"messages", OP_MESSAGES, true, TALLY_GOOD, GATE_FINISH_REASON},
        {"responses have an event of their own for it", OP_RESPONSES, true, TALLY_GOOD, GATE_STORE},
        {"nothing came at all", OP_CHAT, true, TALLY_NO_PAYLOAD, GATE_PAYLOAD},
        {"a whole answer", OP_CHAT, false, TALLY_GOOD, GATE_STORE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static const struct given json[GIVEN_MAX] = {JSON}, sse[GIVEN_MAX] = {SSE};
        struct tally_result sum = {.fault = cases[i].fault};
        struct gate_answer a = {.op = cases[i].op,
                                .streamed = cases[i].streamed,
                                .status = 200,
                                .whole = true,
                                .tally = &sum,
                                .fields = &fields};
        struct gate_conf conf = plain_conf();

        fill(cases[i].streamed ? sse : json);
        if (gate_judge(&a, &conf) != cases[i].want)
            fail_msg("%s: %s", cases[i].why, gate_reason_name(gate_judge(&a, &conf)));
    }
}

static void an_end_may_have_a_lifetime_of_its_own(void **state)
{
    static const struct gate_finish finishes[] = {
        {SLICE("length"), 60}, {SLICE("max_tokens"), 30}, {SLICE("Tool_Calls"), GATE_TTL_NEVER},
        {SLICE("stop"), 7200}, {SLICE("pause"), 10},
    };
    static const struct {
        const char *why;
        struct tally_result sum;
        int64_t want;
    } cases[] = {
        {"nothing told of the end", {.fault = TALLY_GOOD}, -1},
        {"by its word, which is the kind's name, too", {FINISH(LENGTH, "length")}, 60},
        {"by its word before its kind", {FINISH(LENGTH, "MAX_TOKENS")}, 30},
        {"by its kind", {FINISH(LENGTH, "model_length")}, 60},
        {"a good end may be never", {FINISH(GOOD, "tool_calls")}, GATE_TTL_NEVER},
        {"a good one by its kind", {FINISH(GOOD, "end_turn")}, 7200},
        {"shipped", {FINISH(FILTER, "content_filter")}, GATE_TTL_NEVER},
        {"the shortest of two",
         {.finishes = {{FINISH_GOOD, SLICE("stop")}, {FINISH_GOOD, SLICE("pause")}}, .finishes_n = 2},
         10},
        {"never, of two",
         {.finishes = {{FINISH_GOOD, SLICE("stop")}, {FINISH_GOOD, SLICE("tool_calls")}}, .finishes_n = 2},
         GATE_TTL_NEVER},
    };
    struct gate_conf conf = plain_conf();
    struct gate_answer a = {.op = OP_CHAT, .tally = &good};

    (void)state;
    assert_int_equal(gate_finish_ttl_s(&a, &conf), -1);
    conf.finishes = finishes;
    conf.finishes_n = ARRAY_LEN(finishes);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        a.tally = &cases[i].sum;
        if (gate_finish_ttl_s(&a, &conf) != cases[i].want)
            fail_msg("%s: %lld", cases[i].why, (long long)gate_finish_ttl_s(&a, &conf));
    }
    a.tally = NULL;
    assert_int_equal(gate_finish_ttl_s(&a, &conf), -1);
}

static void statuses_are_the_operators_but_for_what_is_no_answer(void **state)
{
    static const struct slice listed[] = {SLICE("200"), SLICE("201"), SLICE("206"), SLICE("404"),
                                          SLICE("500")};
    static const struct {
        unsigned status;
        bool shipped, as_listed;
    } cases[] = {
        {200, true, true},   {201, false, true},   {202, false, false}, {204, false, false},
        {206, false, false}, {301, false, false},  {404, false, false}, {429, false, false},
        {500, false, false}, {1200, false, false},
    };
    static const struct given json[GIVEN_MAX] = {JSON};

    (void)state;
    fill(json);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gate_answer a = {
            .op = OP_CHAT, .status = cases[i].status, .whole = true, .tally = &good, .fields = &fields};
        struct gate_conf conf = plain_conf();

        assert_int_equal(gate_judge(&a, &conf), cases[i].shipped ? GATE_STORE : GATE_STATUS);
        conf.statuses = listed;
        conf.statuses_n = ARRAY_LEN(listed);
        assert_int_equal(gate_judge(&a, &conf), cases[i].as_listed ? GATE_STORE : GATE_STATUS);
        conf.statuses_n = 0;
        assert_int_equal(gate_judge(&a, &conf), GATE_STATUS);
    }
}

/* SPEC section 9. */
static void only_what_tells_of_upstreams_health_is_broken(void **state)
{
    static const enum gate_reason broken[] = {GATE_INCOMPLETE, GATE_ERROR_INSIDE, GATE_CONTENT_TYPE,
                                              GATE_JSON, GATE_PAYLOAD};

    (void)state;
    for (enum gate_reason r = 0; r < GATE_REASON_COUNT; r++) {
        bool want = false;

        for (size_t i = 0; i < ARRAY_LEN(broken); i++)
            want |= broken[i] == r;
        if (gate_reason_is_broken(r) != want)
            fail_msg("%s", gate_reason_name(r));
    }
}

static void every_reason_has_a_name(void **state)
{
    (void)state;
    for (enum gate_reason r = 0; r < GATE_REASON_COUNT; r++)
        assert_true(gate_reason_name(r) && *gate_reason_name(r));
}

/* docs/not-stored.md: a line a reason. */
static void every_reason_is_explained(void **state)
{
    static char page[64 * 1024];
    char line[64];
    FILE *f = fopen(NOT_STORED_PAGE, "r");
    size_t n;

    (void)state;
    assert_non_null(f);
    n = fread(page, 1, sizeof(page) - 1, f);
    page[n] = '\0';
    (void)fclose(f);
    for (enum gate_reason r = 0; r < GATE_REASON_COUNT; r++) {
        (void)snprintf(line, sizeof(line), "\n| `%s` | %s", gate_reason_name(r),
                       gate_reason_is_broken(r) ? "yes | " : "| ");
        if (!strstr(page, line))
            fail_msg("%s", gate_reason_name(r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_passes_or_has_a_reason),
        cmocka_unit_test(a_head_alone_says_what_a_head_can),
        cmocka_unit_test(a_routes_lifetime_stands_in_where_there_is_none),
        cmocka_unit_test(upstream_is_listened_to_when_told_so),
        cmocka_unit_test(vary_refuses_what_cannot_be_told_apart),
        cmocka_unit_test(others_may_have_it_or_not),
        cmocka_unit_test(a_route_may_have_the_lifetime_guessed),
        cmocka_unit_test(an_answer_is_judged_by_what_it_adds_up_to),
        cmocka_unit_test(a_stream_that_does_not_say_how_it_ended_was_broken_off),
        cmocka_unit_test(an_end_may_have_a_lifetime_of_its_own),
        cmocka_unit_test(statuses_are_the_operators_but_for_what_is_no_answer),
        cmocka_unit_test(only_what_tells_of_upstreams_health_is_broken),
        cmocka_unit_test(every_reason_has_a_name),
        cmocka_unit_test(every_reason_is_explained),
    };

    return cmocka_run_group_tests_name("gate", tests, make_table, free_table);
}
