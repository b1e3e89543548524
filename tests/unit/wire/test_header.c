/* header: what each name means, whatever its case, and which fields a Connection field may take away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "refrain/base/attr.h"
#include "refrain/wire/header.h"

static const struct header_names none = {NULL, 0};

static int make_table(void **state)
{
    *state = header_table_new(none, none);
    return *state ? 0 : -1;
}

static int free_table(void **state)
{
    header_table_free(*state);
    return 0;
}

static void every_name_has_its_meaning(void **state)
{
    static const struct {
        const char *why;
        struct slice name;
        uint32_t has, lacks; /* flags; an id is compared when either has one */
    } cases[] = {
        {"hop-by-hop, RFC 9110 section 7.6.1", SLICE("Connection"), HEADER_CONNECTION | HEADER_HOP,
         HEADER_UNKEYED},
        {"any case", SLICE("cONNECTION"), HEADER_CONNECTION | HEADER_HOP, 0},
        {"two bytes", SLICE("TE"), HEADER_TE | HEADER_HOP, 0},
        {"long", SLICE("Transfer-Encoding"), HEADER_TRANSFER_ENCODING | HEADER_HOP | HEADER_FRAMING, 0},
        {"framing", SLICE("Content-Length"), HEADER_CONTENT_LENGTH | HEADER_FRAMING | HEADER_UNSTORED,
         HEADER_HOP},
        {"Host is upstream's", SLICE("Host"), HEADER_HOST | HEADER_FRAMING, 0},
        {"credential", SLICE("AUTHORIZATION"), HEADER_AUTHORIZATION | HEADER_CREDENTIAL | HEADER_UNSTORED,
         HEADER_UNKEYED},
        {"credential for the proxy", SLICE("proxy-authorization"), HEADER_CREDENTIAL | HEADER_HOP, 0},
        {"Anthropic's", SLICE("x-api-key"), HEADER_X_API_KEY | HEADER_CREDENTIAL, 0},
        {"Azure's", SLICE("api-key"), HEADER_API_KEY | HEADER_CREDENTIAL, 0},
        {"Google's", SLICE("x-goog-api-key"), HEADER_X_GOOG_API_KEY | HEADER_CREDENTIAL, 0},
        {"a cookie is content", SLICE("Cookie"), 0, UINT32_MAX},
        {"answers go by language", SLICE("Accept-Language"), 0, UINT32_MAX},
        {"grants go by origin", SLICE("Origin"), 0, UINT32_MAX},
        {"API versions are content", SLICE("anthropic-version"), 0, UINT32_MAX},
        {"beta switches are content", SLICE("OpenAI-Beta"), 0, UINT32_MAX},
        {"links are built from it", SLICE("X-Forwarded-Host"), 0, UINT32_MAX},
        {"which may say the same", SLICE("Forwarded"), 0, UINT32_MAX},
        {"redirects are built from it", SLICE("CF-Visitor"), 0, UINT32_MAX},
        {"answers go by country", SLICE("CF-IPCountry"), 0, UINT32_MAX},
        {"who asks", SLICE("X-Forwarded-For"), HEADER_UNKEYED, HEADER_HOP},
        {"program", SLICE("User-Agent"), HEADER_UNKEYED, 0},
        {"prefix", SLICE("X-Stainless-Poll-Helper"), HEADER_UNKEYED, 0},
        {"a row of what a prefix covers", SLICE("X-Stainless-Retry-Count"), HEADER_UNKEYED, 0},
        {"prefix alone", SLICE("x-stainless-"), HEADER_UNKEYED, 0},
        {"less than the prefix", SLICE("x-stainless"), 0, UINT32_MAX},
        {"a short prefix", SLICE("x-b3-a"), HEADER_UNKEYED, 0},
        {"a prefix and a name shorter than a word", SLICE("x-b3-"), HEADER_UNKEYED, 0},
        {"a prefix in the middle", SLICE("my-x-stainless-lang"), 0, UINT32_MAX},
        {"tracing", SLICE("traceparent"), HEADER_UNKEYED, 0},
        {"attempt", SLICE("Idempotency-Key"), HEADER_UNKEYED, 0},
        {"request id, both ways", SLICE("X-Request-Id"),
         HEADER_X_REQUEST_ID | HEADER_UNKEYED | HEADER_UNSTORED, 0},
        {"ours", SLICE("Refrain-TTL"), HEADER_REFRAIN_TTL | HEADER_OURS | HEADER_CONTROL, HEADER_PEER},
        {"ours, whatever comes behind", SLICE("Refrain-Whatever"), HEADER_OURS | HEADER_UNSTORED, 0},
        {"a peer's", SLICE("cf-aig-skip-cache"), HEADER_CF_AIG_SKIP_CACHE | HEADER_PEER | HEADER_CONTROL,
         HEADER_OURS},
        {"control", SLICE("Cache-Control"), HEADER_CACHE_CONTROL | HEADER_CONTROL | HEADER_UNKEYED, 0},
        {"a part is cut from the whole, or asked for past the cache", SLICE("Range"),
         HEADER_RANGE | HEADER_CONTROL | HEADER_UNKEYED, 0},
        {"never stored", SLICE("Set-Cookie"), HEADER_SET_COOKIE | HEADER_UNSTORED, 0},
        {"per caller", SLICE("x-ratelimit-remaining-tokens"), HEADER_UNSTORED, HEADER_UNKEYED},
        {"per caller", SLICE("anthropic-ratelimit-requests-limit"), HEADER_UNSTORED, 0},
        {"a token for one caller", SLICE("X-Auth-Token"), HEADER_UNSTORED, HEADER_UNKEYED},
        {"Azure's id of a request", SLICE("apim-request-id"), HEADER_UNSTORED, 0},
        {"Google's", SLICE("X-Goog-Request-Id"), HEADER_UNSTORED, 0},
        {"time that upstream took", SLICE("openai-processing-ms"), HEADER_UNSTORED, 0},
        {"who pays", SLICE("OpenAI-Organization"), HEADER_UNSTORED, 0},
        {"what is left of a quota", SLICE("x-goog-quota-user-remaining"), HEADER_UNSTORED, 0},
        {"Mistral's", SLICE("x-ratelimitbysize-remaining-minute"), HEADER_UNSTORED, 0},
        {"which model it was, is stored", SLICE("openai-model"), 0, HEADER_UNSTORED},
        {"which version of the API, too", SLICE("openai-version"), 0, HEADER_UNSTORED},
        {"what it cost, too", SLICE("x-amzn-bedrock-input-token-count"), 0, HEADER_UNSTORED},
        {"Date is stored", SLICE("Date"), HEADER_DATE, HEADER_UNSTORED},
        {"Age is made anew", SLICE("Age"), HEADER_AGE | HEADER_UNSTORED, 0},
        {"unknown", SLICE("X-Foo"), 0, UINT32_MAX},
        {"empty", SLICE(""), 0, UINT32_MAX},
        {"a byte off at the end", SLICE("Content-Lengtg"), 0, UINT32_MAX},
        {"a byte off in the middle", SLICE("x-portkey-cachX-force-refresh"), 0, UINT32_MAX},
        {"case folds letters alone: CR is no dash", SLICE("user\ragent"), 0, UINT32_MAX},
        {"case folds letters alone: @ is no `", SLICE("@"), 0, UINT32_MAX},
        {"a letter with the high bit is no letter", SLICE("\xC8ost"), 0, UINT32_MAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t got = header_flags(*state, cases[i].name);
        uint32_t ids = (uint32_t)HEADER_ID_MASK;

        if ((got & ~ids & cases[i].has) != (cases[i].has & ~ids) || (got & cases[i].lacks) != 0 ||
            (cases[i].has & ids && (got & ids) != (cases[i].has & ids)))
            fail_msg("%s: %.*s has 0x%x", cases[i].why, (int)cases[i].name.len, cases[i].name.data, got);
    }
}

static void a_name_is_found_whole_or_not_at_all(void **state)
{
    static const char name[] = "x-envoy-upstream-service-time";
    char copy[sizeof(name)];

    assert_true(header_flags(*state, slice_str(name)) & HEADER_UNSTORED);
    for (size_t at = 0; at < sizeof(name) - 1; at++) {
        memcpy(copy, name, sizeof(name));
        copy[at] = '_';
        assert_int_equal(header_flags(*state, slice_str(copy)), 0);
        assert_int_equal(header_flags(*state, slice_make(name, at)), 0);
    }
}

static void an_operator_adds_names_and_prefixes(void **state)
{
    static const struct slice unkeyed[] = {
        SLICE("X-Team"),        SLICE(" x-acme-* "), SLICE("Set-Cookie"),         SLICE(""),
        SLICE("Authorization"), SLICE("*"),          SLICE("X-Ratelimit-Mine-*"),
    };
    static const struct slice unstored[] = {SLICE("X-Acme-Node"), SLICE("x-team"), SLICE("content-*"),
                                            SLICE("Content-Type")};
    struct header_table *t = header_table_new((struct header_names){unkeyed, ARRAY_LEN(unkeyed)},
                                              (struct header_names){unstored, ARRAY_LEN(unstored)});

    (void)state;
    assert_non_null(t);
    assert_int_equal(header_flags(t, SLICE_OF("x-TEAM")), HEADER_UNKEYED | HEADER_UNSTORED);
    assert_int_equal(header_flags(t, SLICE_OF("X-ACME-Trace")), HEADER_UNKEYED);
    assert_int_equal(header_flags(t, SLICE_OF("x-acme-node")), HEADER_UNKEYED | HEADER_UNSTORED);
    assert_int_equal(header_flags(t, SLICE_OF("set-cookie")),
                     HEADER_SET_COOKIE | HEADER_UNSTORED | HEADER_UNKEYED);
    assert_true(header_flags(t, SLICE_OF("authorization")) & HEADER_CREDENTIAL);
    assert_int_equal(header_flags(t, SLICE_OF("x-ratelimit-mine-1")), HEADER_UNKEYED | HEADER_UNSTORED);
    assert_int_equal(header_flags(t, SLICE_OF("accept-language")),
                     0); /* a lone `*` is a name, not everything */
    assert_int_equal(header_flags(t, SLICE_OF("content-language")), HEADER_UNSTORED);
    assert_int_equal(header_flags(t, SLICE_OF("content-encoding")), HEADER_CONTENT_ENCODING);
    assert_int_equal(header_flags(t, SLICE_OF("content-type")), HEADER_CONTENT_TYPE);
    header_table_free(t);
    header_table_free(NULL);
}

static void many_names_are_all_found(void **state)
{
    enum { N = 3000 };
    static char text[N][24];
    static struct slice names[N];
    struct header_table *t;

    (void)state;
    for (int i = 0; i < N; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "x-own-%d", i * 7919);
        names[i] = slice_str(text[i]);
    }
    t = header_table_new((struct header_names){names, N}, none);
    assert_non_null(t);
    for (int i = 0; i < N; i++)
        assert_int_equal(header_flags(t, names[i]), HEADER_UNKEYED);
    header_table_free(t);
}

static void connection_takes_only_what_tells_nothing_apart(void **state)
{
    static const struct {
        const char *why;
        struct slice connection, name;
        bool request_hop, response_hop;
    } cases[] = {
        {"a tracing field may go", SLICE("close, traceparent"), SLICE("TraceParent"), true, true},
        {"a credential stays", SLICE("Authorization"), SLICE("Authorization"), false, false},
        {"a keyed field stays", SLICE("X-Foo, x-bar"), SLICE("X-Bar"), false, true},
        {"a control stays", SLICE("cache-control"), SLICE("Cache-Control"), false, false},
        {"content type stays", SLICE("content-type"), SLICE("Content-Type"), false, false},
        {"list syntax, RFC 9110 section 5.6.1", SLICE(",, \tb3 ,"), SLICE("b3"), true, true},
        {"not listed", SLICE("keep-alive"), SLICE("b3"), false, false},
        {"no part of a name", SLICE("trace"), SLICE("traceparent"), false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fields f = {.n = 0};

        assert_int_equal(fields_add(&f, cases[i].name, SLICE_OF("v")), 0);
        assert_int_equal(fields_add(&f, SLICE_OF("Connection"), cases[i].connection), 0);
        fields_classify(&f, *state);
        if (((f.at[0].flags & HEADER_HOP) != 0) != cases[i].request_hop)
            fail_msg("request: %s", cases[i].why);
        fields_classify_response(&f, *state);
        if (((f.at[0].flags & HEADER_HOP) != 0) != cases[i].response_hop)
            fail_msg("response: %s", cases[i].why);
    }
}

static void the_options_of_a_connection_field_are_bounded(void **state)
{
    static const char list[] = "x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,"
                               "x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,b3,dnt";
    struct fields f = {.n = 0};

    assert_int_equal(fields_add(&f, SLICE_OF("b3"), SLICE_OF("1")), 0);
    assert_int_equal(fields_add(&f, SLICE_OF("dnt"), SLICE_OF("1")), 0);
    assert_int_equal(fields_add(&f, SLICE_OF("Connection"), slice_str(list)), 0);
    fields_classify(&f, *state);
    assert_true(f.at[0].flags & HEADER_HOP); /* the 64th */
    assert_false(f.at[1].flags & HEADER_HOP);
}

static void keyed_is_what_the_deny_list_leaves(void **state)
{
    static const struct {
        struct slice name;
        bool keyed;
    } cases[] = {
        {SLICE("X-Anything"), true},     {SLICE("OpenAI-Organization"), true},
        {SLICE("Content-Type"), true},   {SLICE("Cookie"), true},
        {SLICE("User-Agent"), false},    {SLICE("Authorization"), false},
        {SLICE("Connection"), false},    {SLICE("Content-Length"), false},
        {SLICE("Refrain-Tags"), false},  {SLICE("x-bt-use-cache"), false},
        {SLICE("Cache-Control"), false}, {SLICE("If-Match"), true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct field f = {cases[i].name, SLICE("v"), header_flags(*state, cases[i].name)};

        if (field_is_keyed(&f) != cases[i].keyed)
            fail_msg("%s", cases[i].name.data);
    }
}

static void fields_hold_so_many_and_are_found_in_order(void **state)
{
    static struct fields f;

    f.n = 0;
    for (int i = 0; i < FIELDS_MAX; i++)
        assert_int_equal(fields_add(&f, SLICE_OF("Accept"), i == 1 ? SLICE_OF("b") : SLICE_OF("a")), 0);
    assert_int_equal(fields_add(&f, SLICE_OF("Accept"), SLICE_OF("c")), -EMSGSIZE);
    assert_int_equal(f.n, FIELDS_MAX);
    fields_classify(&f, *state);
    assert_ptr_equal(fields_find(&f, SLICE_OF("ACCEPT")), &f.at[0]);
    assert_ptr_equal(fields_find_id(&f, HEADER_ACCEPT), &f.at[0]);
    assert_null(fields_find(&f, SLICE_OF("Age")));
    assert_null(fields_find_id(&f, HEADER_AGE));
}

static void tokens_are_found_in_lists(void **state)
{
    static const struct {
        struct slice value, token;
        bool want;
    } cases[] = {
        {SLICE("close"), SLICE("close"), true},
        {SLICE("keep-alive, Close"), SLICE("close"), true},
        {SLICE("keep-alive,\tclose ,"), SLICE("close"), true},
        {SLICE("closed"), SLICE("close"), false},
        {SLICE("clos e"), SLICE("close"), false},
        {SLICE(""), SLICE("close"), false},
        {SLICE(",,"), SLICE(""), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (value_has_token(cases[i].value, cases[i].token) != cases[i].want)
            fail_msg("%s in %s", cases[i].token.data, cases[i].value.data);
}

/* RFC 9110 section 5.6.2: every byte value, at every place of every length around the width of a register. */
static void names_are_tokens(void **state)
{
    static const char tchars[] =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char name[35];

    (void)state;
    assert_false(header_name_ok(SLICE_OF("")));
    for (size_t len = 1; len <= sizeof(name); len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(name, at % 2 ? 'Z' : 'a', sizeof(name));
                name[at] = (char)c;
                if (header_name_ok(slice_make(name, len)) != (c != 0 && strchr(tchars, (int)c) != NULL))
                    fail_msg("byte 0x%02x at %zu of %zu", c, at, len);
            }
        }
    }
}

/* RFC 9110 section 5.5: every byte value, at every place of every length around the width of a word. */
static void values_hold_no_control_bytes(void **state)
{
    char value[20];

    (void)state;
    assert_true(header_value_ok(SLICE_OF("")));
    for (size_t len = 1; len <= sizeof(value); len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(value, at % 2 ? '\xFF' : 'v', sizeof(value));
                value[at] = (char)c;
                if (header_value_ok(slice_make(value, len)) != (c == '\t' || (c >= 0x20 && c != 0x7F)))
                    fail_msg("byte 0x%02x at %zu of %zu", c, at, len);
            }
        }
    }
}

/* RFC 9110 sections 12.5.3 and 12.4.2. */
static void gzip_is_accepted_where_it_is_offered(void **state)
{
    static const struct {
        struct slice value;
        bool want;
    } cases[] = {
        {SLICE("gzip"), true},
        {SLICE("gzip, deflate"), true},
        {SLICE("br;q=1.0, GZip;q=0.8, *;q=0.1"), true},
        {SLICE("x-gzip"), true},
        {SLICE("*"), true},
        {SLICE("gzip;q=0"), false},
        {SLICE("gzip; q=0.000"), false},
        {SLICE("gzip;q=0.001"), true},
        {SLICE("gzip;q=0, *"), false},
        {SLICE("*, gzip;q=0"), false},
        {SLICE("*;q=0"), false},
        {SLICE("*;q=0, gzip"), true},
        {SLICE("identity"), false},
        {SLICE("gzipped"), false},
        {SLICE(""), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (accepts_gzip(cases[i].value) != cases[i].want)
            fail_msg("%s", cases[i].value.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_has_its_meaning),
        cmocka_unit_test(a_name_is_found_whole_or_not_at_all),
        cmocka_unit_test(an_operator_adds_names_and_prefixes),
        cmocka_unit_test(many_names_are_all_found),
        cmocka_unit_test(connection_takes_only_what_tells_nothing_apart),
        cmocka_unit_test(the_options_of_a_connection_field_are_bounded),
        cmocka_unit_test(keyed_is_what_the_deny_list_leaves),
        cmocka_unit_test(fields_hold_so_many_and_are_found_in_order),
        cmocka_unit_test(tokens_are_found_in_lists),
        cmocka_unit_test(names_are_tokens),
        cmocka_unit_test(values_hold_no_control_bytes),
        cmocka_unit_test(gzip_is_accepted_where_it_is_offered),
    };

    return cmocka_run_group_tests_name("header", tests, make_table, free_table);
}
