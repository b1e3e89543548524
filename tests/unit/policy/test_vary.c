/* vary: which names split an answer's requests, and which requests then meet. RFC 9111 section 4.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "given.h"
#include "refrain/base/attr.h"
#include "refrain/policy/vary.h"

static const struct slice scope_names[] = {SLICE("X-Team"), SLICE("user-agent")};
static const struct key_scope credential = {.mode = KEY_SCOPE_CREDENTIAL, .secret = SLICE("secret")},
                              shared = {.mode = KEY_SCOPE_SHARED, .secret = SLICE("secret")},
                              shared_bare = {.mode = KEY_SCOPE_SHARED},
                              listed = {KEY_SCOPE_HEADERS, scope_names, ARRAY_LEN(scope_names),
                                        SLICE("secret")};

/* ---- lists ---- */

static const struct {
    const char *why;
    struct given given[GIVEN_MAX];
    const struct key_scope *scope;
    bool accept_counts;
    enum vary_verdict want;
    const char *list;
} lists[] = {
    {"no Vary", {{"Content-Type", "a/b"}}, &credential, false, VARY_NONE, ""},
    {"an empty one", {{"Vary", " , ,"}}, &credential, false, VARY_NONE, ""},
    {"in the key already", {{"Vary", "Origin, X-Unknown, Cookie"}}, &credential, false, VARY_NONE, ""},
    {"replaced on the way", {{"Vary", "Accept-Encoding"}}, &credential, false, VARY_NONE, ""},
    {"never forwarded",
     {{"Vary", "Connection, Host, TE, Content-Length, Refrain-Cache, If-None-Match"}},
     &credential,
     false,
     VARY_NONE,
     ""},
    {"left out of the key", {{"Vary", "User-Agent"}}, &credential, false, VARY_SPLIT, "user-agent"},
    {"among others",
     {{"vary", "origin, Accept-Encoding,USER-AGENT"}},
     &credential,
     false,
     VARY_SPLIT,
     "user-agent"},
    {"sorted, none twice, over several fields",
     {{"Vary", "X-Real-IP,user-agent"}, {"Date", "x"}, {"Vary", "User-Agent ,DNT"}},
     &credential,
     false,
     VARY_SPLIT,
     "dnt, user-agent, x-real-ip"},
    {"a prefix's", {{"Vary", "X-Stainless-OS"}}, &credential, false, VARY_SPLIT, "x-stainless-os"},
    {"Accept where the key leaves it out", {{"Vary", "Accept"}}, &credential, false, VARY_SPLIT, "accept"},
    {"Accept where it counts", {{"Vary", "Accept"}}, &credential, true, VARY_NONE, ""},
    {"a credential that is the scope", {{"Vary", "Authorization"}}, &credential, false, VARY_NONE, ""},
    {"a credential that is not", {{"Vary", "Authorization"}}, &shared, false, VARY_SPLIT, "authorization"},
    {"a credential, and nothing to hide it by", {{"Vary", "x-api-key"}}, &shared_bare, false, VARY_NEVER, ""},
    {"a proxy's credential stays with the proxy",
     {{"Vary", "Proxy-Authorization"}},
     &shared_bare,
     false,
     VARY_NONE,
     ""},
    {"the scope lists it", {{"Vary", "x-team, User-Agent"}}, &listed, false, VARY_NONE, ""},
    {"the scope lists another", {{"Vary", "DNT, api-key"}}, &listed, false, VARY_SPLIT, "api-key, dnt"},
    {"everything", {{"Vary", "*"}}, &credential, false, VARY_NEVER, ""},
    {"everything, among others",
     {{"Vary", "Origin"}, {"Vary", "User-Agent, *"}},
     &shared,
     false,
     VARY_NEVER,
     ""},
    {"an id of each request", {{"Vary", "X-Request-Id"}}, &credential, false, VARY_NEVER, ""},
    {"no name", {{"Vary", "User Agent"}}, &credential, false, VARY_NEVER, ""},
    {"as many as are followed",
     {{"Vary", "x-b3-a,x-b3-b,x-b3-c,x-b3-d,x-b3-e,x-b3-f,x-b3-g,x-b3-h"},
      {"Vary", "x-b3-i,x-b3-j,x-b3-k,x-b3-l,x-b3-m,x-b3-n,x-b3-o,x-b3-p"}},
     &credential,
     false,
     VARY_SPLIT,
     "x-b3-a, x-b3-b, x-b3-c, x-b3-d, x-b3-e, x-b3-f, x-b3-g, x-b3-h, x-b3-i, x-b3-j, x-b3-k, x-b3-l, "
     "x-b3-m, x-b3-n, x-b3-o, x-b3-p"},
    {"one more",
     {{"Vary", "x-b3-a,x-b3-b,x-b3-c,x-b3-d,x-b3-e,x-b3-f,x-b3-g,x-b3-h"},
      {"Vary", "x-b3-i,x-b3-j,x-b3-k,x-b3-l,x-b3-m,x-b3-n,x-b3-o,x-b3-p,x-b3-q"}},
     &credential,
     false,
     VARY_NEVER,
     ""},
};

static void names_split_or_do_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct vary_terms terms = {table, lists[i].scope, lists[i].accept_counts};
        struct vary_list list = {.len = 0};
        struct fields fields;
        enum vary_verdict verdict;

        given_fill(&fields, lists[i].given);
        fields_classify_response(&fields, table);
        verdict = vary_read(&fields, &terms, &list);
        if (verdict != lists[i].want || !slice_eq(slice_make(list.text, list.len), slice_str(lists[i].list)))
            fail_msg("%s: verdict %d, list \"%.*s\"", lists[i].why, verdict, (int)list.len, list.text);
    }
}

static void a_list_longer_than_is_followed_is_never_shared(void **state)
{
    struct vary_terms terms = {table, &credential, false};
    struct vary_list list = {.len = 0};
    char value[VARY_BYTES_MAX + 8] = "x-b3-";
    struct fields fields = {.n = 0};

    (void)state;
    memset(value + 5, 'a', VARY_BYTES_MAX - 5);
    assert_int_equal(fields_add(&fields, SLICE_OF("Vary"), slice_str(value)), 0);
    fields_classify_response(&fields, table);
    assert_int_equal(vary_read(&fields, &terms, &list), VARY_SPLIT);
    assert_int_equal(list.len, VARY_BYTES_MAX);
    value[VARY_BYTES_MAX] = 'a';
    fields.at[0].value = slice_str(value);
    assert_int_equal(vary_read(&fields, &terms, &list), VARY_NEVER);
}

/* ---- keys ---- */

struct side {
    const char *names;
    struct given given[GIVEN_MAX];
};

static const struct {
    const char *why;
    struct side a, b;
    bool same;
} pairs[] = {
    {"the same value", {"user-agent", {{"User-Agent", "x"}}}, {"user-agent", {{"user-agent", "x"}}}, true},
    {"white space around it", {"dnt", {{"DNT", "1"}}}, {"dnt", {{"DNT", " 1\t"}}}, true},
    {"another value", {"dnt", {{"DNT", "1"}}}, {"dnt", {{"DNT", "0"}}}, false},
    {"values keep their case", {"dnt", {{"DNT", "a"}}}, {"dnt", {{"DNT", "A"}}}, false},
    {"a field not listed", {"dnt", {{"From", "a"}}}, {"dnt", {{"From", "b"}}}, true},
    {"absent and empty differ", {"dnt", {{"From", "a"}}}, {"dnt", {{"DNT", ""}}}, false},
    {"both absent", {"dnt, from", {{"Via", "a"}}}, {"dnt, from", {{"Via", "b"}}}, true},
    {"a value under another name", {"dnt, from", {{"DNT", "1"}}}, {"dnt, from", {{"From", "1"}}}, false},
    {"another list", {"dnt", {{"DNT", "1"}}}, {"dnt, from", {{"DNT", "1"}}}, false},
    {"a list's white space",
     {"accept", {{"Accept", "a/b , c/d"}}},
     {"accept", {{"Accept", "a/b,c/d"}}},
     true},
    {"a list over several lines",
     {"accept", {{"Accept", "a/b"}, {"Accept", ", c/d"}}},
     {"accept", {{"Accept", "a/b,c/d"}}},
     true},
    {"a list's order counts", {"accept", {{"Accept", "a,b"}}}, {"accept", {{"Accept", "b,a"}}}, false},
    {"a comma in quotes parts nothing",
     {"accept", {{"Accept", "a;b=\"c,d\""}}},
     {"accept", {{"Accept", "a;b=\"c, d\""}}},
     false},
    {"an empty list is there", {"accept", {{"Accept", ","}}}, {"accept", {{"Via", "a"}}}, false},
    {"no list: white space inside counts",
     {"user-agent", {{"User-Agent", "a (b,c)"}}},
     {"user-agent", {{"User-Agent", "a (b, c)"}}},
     false},
    {"two lines are not one",
     {"user-agent", {{"User-Agent", "a"}, {"User-Agent", "b"}}},
     {"user-agent", {{"User-Agent", "ab"}}},
     false},
    {"what Connection took away was not sent",
     {"dnt", {{"Connection", "dnt"}, {"DNT", "1"}}},
     {"dnt", {{"Via", "a"}}},
     true},
    {"credentials that share a long prefix",
     {"authorization", {{"Authorization", "Bearer sk-0123456789abcdef0123456789abcdef-A"}}},
     {"authorization", {{"Authorization", "Bearer sk-0123456789abcdef0123456789abcdef-B"}}},
     false},
    {"no credential and an empty one",
     {"authorization", {{"Via", "a"}}},
     {"authorization", {{"Authorization", ""}}},
     false},
};

static struct digest key_of(struct sha256 *hash, const struct side *side, const struct key_scope *scope,
                            const char *id)
{
    static const struct digest common = {{1, 2, 3}};
    struct fields fields;

    given_fill(&fields, side->given);
    fields_classify(&fields, table);
    return vary_key(hash, &common, slice_str(id), slice_str(side->names), fields.at, fields.n, scope);
}

static void requests_meet_when_what_is_listed_is_the_same(void **state)
{
    struct sha256 *hash = sha256_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct digest a = key_of(hash, &pairs[i].a, &shared, "id"),
                      b = key_of(hash, &pairs[i].b, &shared, "id");

        if (digest_eq(&a, &b) != pairs[i].same)
            fail_msg("%s", pairs[i].why);
    }
    sha256_free(hash);
}

static void families_secrets_and_common_keys_keep_variants_apart(void **state)
{
    static const struct side side = {"authorization", {{"Authorization", "Bearer a"}}};
    static const struct key_scope other_secret = {.mode = KEY_SCOPE_SHARED, .secret = SLICE("another")};
    static const struct digest other_common = {{9}};
    struct sha256 *hash = sha256_new();
    struct digest first = key_of(hash, &side, &shared, "id"), family = key_of(hash, &side, &shared, "di"),
                  secret = key_of(hash, &side, &other_secret, "id"),
                  bare = key_of(hash, &side, &shared_bare, "id"), common;
    struct fields fields;

    (void)state;
    given_fill(&fields, side.given);
    fields_classify(&fields, table);
    common = vary_key(hash, &other_common, SLICE_OF("id"), SLICE_OF("authorization"), fields.at, fields.n,
                      &shared);
    assert_false(digest_eq(&first, &family));
    assert_false(digest_eq(&first, &secret));
    assert_false(digest_eq(&first, &bare)); /* a credential without a secret is not even summed */
    assert_false(digest_eq(&first, &common));
    sha256_free(hash);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_split_or_do_not),
        cmocka_unit_test(a_list_longer_than_is_followed_is_never_shared),
        cmocka_unit_test(requests_meet_when_what_is_listed_is_the_same),
        cmocka_unit_test(families_secrets_and_common_keys_keep_variants_apart),
    };

    return cmocka_run_group_tests_name("vary", tests, make_table, free_table);
}
