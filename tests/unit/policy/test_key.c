/*
 * key: the same request, however written, has one key; requests that differ in anything that counts have
 * different ones. key_vectors.json holds requests and their keys, so that a change of format is noticed.
 * Where one is meant, raise KEY_FORMAT and write them anew: `test_key --write
 * tests/unit/policy/key_vectors.json`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>

#include "refrain/policy/key.h"
#include "refrain/wire/dialect.h"

enum { BODY_MAX = 1 << 20, LISTED_MAX = 4 };

/* A request as a test writes it, and all that its key borrows from. */
struct request {
    struct key_request key;
    struct key_scope scope;
    struct slice listed[LISTED_MAX];
    struct fields fields;
    enum operation op;
    struct buf canonical;
};

struct context {
    struct key_maker *maker;
    struct header_table *headers;
};

static int setup(void **state)
{
    struct context *c = calloc(1, sizeof(*c));
    static const struct slice unkeyed[] = {SLICE("x-ignored")};

    assert_non_null(c);
    c->maker = key_maker_new();
    c->headers = header_table_new((struct header_names){unkeyed, 1}, (struct header_names){NULL, 0});
    assert_non_null(c->headers);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct context *c = *state;

    key_maker_free(c->maker);
    header_table_free(c->headers);
    free(c);
    return 0;
}

static void add_field(struct request *r, const char *name, const char *value)
{
    assert_int_equal(fields_add(&r->fields, slice_str(name), slice_str(value)), 0);
}

static void request_init(struct request *r)
{
    *r = (struct request){.op = OP_CHAT, .canonical = BUF_INIT(BODY_MAX)};
    r->scope = (struct key_scope){.mode = KEY_SCOPE_CREDENTIAL, .secret = SLICE("the server's secret")};
    r->key = (struct key_request){
        .scope = &r->scope,
        .namespace_ = SLICE("default"),
        .upstream = SLICE("openai"),
        .method = SLICE("POST"),
        .target = SLICE("/v1/chat/completions"),
        .fields = &r->fields,
        .body = SLICE("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"),
    };
}

static void request_done(struct request *r)
{
    buf_done(&r->canonical);
}

/* Does what the cache does: the body's canonical form where it has one, and the fields' meanings. */
static struct digest make(struct context *c, struct request *r)
{
    struct key_request key = r->key;
    struct canon_facts facts;

    fields_classify(&r->fields, c->headers);
    buf_clear(&r->canonical);
    key.operation = slice_str(dialect_of(r->op)->name);
    key.accept_counts |= dialect_of(r->op)->accept_counts;
    if (r->op != OP_READ &&
        canon_json(key.body, &dialect_of(r->op)->canon, &r->canonical, &facts, NULL) == CANON_OK) {
        key.body_kind = KEY_BODY_CANONICAL;
        key.body = buf_slice(&r->canonical);
    }
    return key_make(c->maker, &key);
}

/* ---- golden vectors ---- */

static struct slice text_of(json_t *vector, const char *name, const char *otherwise)
{
    json_t *value = json_object_get(vector, name);

    return value ? slice_make(json_string_value(value), json_string_length(value)) : slice_str(otherwise);
}

static void read_scope(struct request *r, json_t *scope)
{
    json_t *name;
    size_t i;

    if (json_is_string(scope))
        r->scope.mode = KEY_SCOPE_SHARED;
    if (!json_is_array(scope))
        return;
    r->scope.mode = KEY_SCOPE_HEADERS;
    r->scope.headers = r->listed;
    r->scope.headers_n = json_array_size(scope);
    assert_true(r->scope.headers_n <= LISTED_MAX);
    json_array_foreach(scope, i, name) r->listed[i] = slice_str(json_string_value(name));
}

/* The row that takes the target, where it is one of the operation's. */
static enum operation operation_of(json_t *vector)
{
    struct slice target = text_of(vector, "target", "");
    enum operation named = operation_by_name(text_of(vector, "operation", ""));
    enum operation found = operation_find(text_of(vector, "method", ""), slice_cut(&target, '?'));

    return named != OP_COUNT && operation_kind(found) == named ? found : named;
}

static void read_vector(struct request *r, json_t *vector)
{
    json_t *field;
    size_t i;

    request_init(r);
    read_scope(r, json_object_get(vector, "scope"));
    r->scope.secret = text_of(vector, "secret", "the server's secret");
    r->op = operation_of(vector);
    assert_true(r->op < OP_COUNT);
    r->key.client = text_of(vector, "client", "");
    r->key.namespace_ = text_of(vector, "namespace", "default");
    r->key.upstream = text_of(vector, "upstream", "openai");
    r->key.config = text_of(vector, "config", "");
    r->key.method = text_of(vector, "method", "");
    r->key.target = text_of(vector, "target", "");
    r->key.custom_key = text_of(vector, "custom_key", "");
    r->key.body = text_of(vector, "body", "");
    r->key.key_in_query = json_is_true(json_object_get(vector, "key_in_query"));
    r->key.variant = (unsigned)json_integer_value(json_object_get(vector, "variant"));
    json_array_foreach(json_object_get(vector, "headers"), i, field) add_field(
        r, json_string_value(json_array_get(field, 0)), json_string_value(json_array_get(field, 1)));
}

static void vector_key(struct context *c, json_t *vector, char hex[DIGEST_HEX_LEN + 1])
{
    AUTO(request_done) struct request r;
    struct digest key;

    read_vector(&r, vector);
    key = make(c, &r);
    digest_hex(&key, hex);
}

static void the_vectors_keep_their_keys(void **state)
{
    json_t *vectors = json_load_file(KEY_VECTORS, 0, NULL), *vector;
    char hex[DIGEST_HEX_LEN + 1];
    size_t i;

    assert_true(json_array_size(vectors) >= 40);
    json_array_foreach(vectors, i, vector)
    {
        const char *want = json_string_value(json_object_get(vector, "key"));

        vector_key(*state, vector, hex);
        if (!want || strcmp(want, hex) != 0)
            fail_msg("%s: the key is %s now", json_string_value(json_object_get(vector, "why")), hex);
    }
    json_decref(vectors);
}

static int write_vectors(const char *path)
{
    json_t *vectors = json_load_file(path, 0, NULL), *vector;
    char hex[DIGEST_HEX_LEN + 1];
    void *state;
    size_t i;
    int r;

    setup(&state);
    json_array_foreach(vectors, i, vector)
    {
        vector_key(state, vector, hex);
        json_object_set_new(vector, "key", json_string(hex));
    }
    r = json_dump_file(vectors, path, JSON_INDENT(1));
    json_decref(vectors);
    teardown(&state);
    return r < 0;
}

/* ---- what counts and what does not ---- */

static void rich_request(struct request *r)
{
    request_init(r);
    add_field(r, "Host", "h");
    add_field(r, "Authorization", "Bearer sk-1");
    add_field(r, "Content-Type", "application/json");
    add_field(r, "Accept", "application/json");
    add_field(r, "X-Custom", "one");
    add_field(r, "X-Twice", "a");
    add_field(r, "X-Twice", "b");
    add_field(r, "User-Agent", "ua");
}

static void set_field(struct request *r, const char *name, const char *value)
{
    for (size_t i = 0; i < r->fields.n; i++)
        if (slice_ieq(r->fields.at[i].name, slice_str(name))) {
            r->fields.at[i].value = slice_str(value);
            return;
        }
    add_field(r, name, value);
}

static void drop_field(struct request *r, const char *name)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->fields.n; i++)
        if (!slice_ieq(r->fields.at[i].name, slice_str(name)))
            r->fields.at[kept++] = r->fields.at[i];
    r->fields.n = (uint16_t)kept;
}

static void turn_fields(struct request *r)
{
    struct field twice = r->fields.at[5];

    for (size_t i = 0; i < r->fields.n / 2; i++) {
        struct field f = r->fields.at[i];

        r->fields.at[i] = r->fields.at[r->fields.n - 1U - i];
        r->fields.at[r->fields.n - 1U - i] = f;
    }
    assert_true(slice_ieq(twice.name, SLICE_OF("x-twice")));
    twice = r->fields.at[1]; /* all but those of one name among themselves */
    r->fields.at[1] = r->fields.at[2];
    r->fields.at[2] = twice;
}

#define CHANGE(name) static void name(struct request *r)

CHANGE(other_namespace)
{
    r->key.namespace_ = SLICE_OF("other");
}
CHANGE(other_upstream)
{
    r->key.upstream = SLICE_OF("other");
}
CHANGE(other_config)
{
    r->key.config = SLICE_OF("c");
}
CHANGE(other_method)
{
    r->key.method = SLICE_OF("PUT");
}
CHANGE(other_path)
{
    r->key.target = SLICE_OF("/v1/chat/completions/");
}
CHANGE(other_path_case)
{
    r->key.target = SLICE_OF("/V1/chat/completions");
}
CHANGE(added_query)
{
    r->key.target = SLICE_OF("/v1/chat/completions?");
}
CHANGE(added_parameter)
{
    r->key.target = SLICE_OF("/v1/chat/completions?key=1");
}
CHANGE(other_operation)
{
    r->op = OP_COMPLETION;
}
CHANGE(custom)
{
    r->key.custom_key = SLICE_OF("c");
}
CHANGE(other_variant)
{
    r->key.variant = 1;
}
CHANGE(far_variant)
{
    r->key.variant = 256;
}
CHANGE(other_secret)
{
    r->scope.secret = SLICE_OF("s");
}
CHANGE(scope_shared)
{
    r->scope.mode = KEY_SCOPE_SHARED;
}
CHANGE(scope_headers)
{
    r->scope.mode = KEY_SCOPE_HEADERS;
}
CHANGE(by_client)
{
    r->key.client = SLICE_OF("client");
}
CHANGE(other_credential)
{
    set_field(r, "authorization", "Bearer sk-2");
}
CHANGE(credential_case)
{
    set_field(r, "authorization", "bearer sk-1");
}
CHANGE(no_credential)
{
    drop_field(r, "authorization");
}
CHANGE(more_credentials)
{
    add_field(r, "api-key", "k");
}
CHANGE(google_credential)
{
    add_field(r, "x-goog-api-key", "k");
}
CHANGE(other_type)
{
    set_field(r, "content-type", "text/plain");
}
CHANGE(no_type)
{
    drop_field(r, "content-type");
}
CHANGE(other_charset)
{
    set_field(r, "content-type", "application/json; charset=latin1");
}
CHANGE(quoted_type)
{
    set_field(r, "content-type", "application/json;a=\"x;charset=utf-8;y\"");
}
CHANGE(quoted_type_without)
{
    set_field(r, "content-type", "application/json;a=\"x;y\"");
}
CHANGE(other_field)
{
    set_field(r, "x-custom", "two");
}
CHANGE(no_field)
{
    drop_field(r, "x-custom");
}
CHANGE(empty_field)
{
    set_field(r, "x-custom", "");
}
CHANGE(added_field)
{
    add_field(r, "OpenAI-Organization", "org");
}
CHANGE(added_cookie)
{
    add_field(r, "Cookie", "a=b");
}
CHANGE(added_language)
{
    add_field(r, "Accept-Language", "de");
}
CHANGE(added_condition)
{
    add_field(r, "If-Match", "\"a\"");
}
CHANGE(added_range)
{
    add_field(r, "Range", "bytes=0-1");
}
CHANGE(field_once_more)
{
    add_field(r, "X-Custom", "one");
}
CHANGE(field_moved)
{
    set_field(r, "x-custom", "onea"), set_field(r, "x-twice", "");
}
CHANGE(field_unlisted)
{
    add_field(r, "Connection", "x-custom");
}
CHANGE(body_text)
{
    r->key.body = SLICE_OF("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hullo\"}]}");
}
CHANGE(body_empty)
{
    r->key.body = SLICE_OF("");
}
CHANGE(body_exact)
{
    r->key.body = SLICE_OF("{\"model\":\"m\",\"model\":\"m\"}");
}
CHANGE(body_exact_space)
{
    r->key.body = SLICE_OF("{\"model\":\"m\", \"model\":\"m\"}");
}
CHANGE(body_exact_text)
{
    r->key.body = SLICE_OF("{\"messages\":[{\"content\":\"Hello\",\"role\":\"user\"}],\"model\":\"m\"}\n\1");
}

static void every_part_counts(void **state)
{
    static const struct {
        const char *why;
        void (*change)(struct request *r);
    } changes[] = {
        {"nothing", NULL},
        {"namespace", other_namespace},
        {"upstream", other_upstream},
        {"what configuration changes", other_config},
        {"method", other_method},
        {"path", other_path},
        {"case of the path", other_path_case},
        {"an empty query", added_query},
        {"a key in the query", added_parameter},
        {"operation", other_operation},
        {"a custom key", custom},
        {"variant", other_variant},
        {"variant 256", far_variant},
        {"secret", other_secret},
        {"shared scope", scope_shared},
        {"scope of fields", scope_headers},
        {"client", by_client},
        {"credential", other_credential},
        {"case of the credential", credential_case},
        {"no credential", no_credential},
        {"a second credential", more_credentials},
        {"Google's credential", google_credential},
        {"content type", other_type},
        {"no content type", no_type},
        {"charset", other_charset},
        {"quoted parameter", quoted_type},
        {"quoted parameter, part of it", quoted_type_without},
        {"a field's value", other_field},
        {"a field less", no_field},
        {"a field emptied", empty_field},
        {"a field more", added_field},
        {"a cookie", added_cookie},
        {"a language", added_language},
        {"a condition for upstream", added_condition},
        {"a field twice", field_once_more},
        {"bytes that move from one field to the next", field_moved},
        {"a text in the body", body_text},
        {"no body", body_empty},
        {"a body without canonical form", body_exact},
        {"and another", body_exact_space},
        {"the canonical bytes, but exact", body_exact_text},
    };
    struct digest keys[ARRAY_LEN(changes)];

    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        AUTO(request_done) struct request r;

        rich_request(&r);
        if (changes[i].change)
            changes[i].change(&r);
        keys[i] = make(*state, &r);
        for (size_t j = 0; j < i; j++)
            if (digest_eq(&keys[i], &keys[j]))
                fail_msg("%s and %s have one key", changes[i].why, changes[j].why);
    }
}

CHANGE(other_agent)
{
    set_field(r, "user-agent", "other");
}
CHANGE(no_agent)
{
    drop_field(r, "user-agent");
}
CHANGE(other_host)
{
    set_field(r, "host", "other");
}
CHANGE(other_accept)
{
    set_field(r, "accept", "*/*");
}
CHANGE(added_encoding)
{
    add_field(r, "Accept-Encoding", "gzip");
}
CHANGE(added_length)
{
    add_field(r, "Content-Length", "7");
}
CHANGE(added_noise)
{
    add_field(r, "X-Stainless-Retry-Count", "2");
    add_field(r, "traceparent", "00-1");
    add_field(r, "Idempotency-Key", "i");
    add_field(r, "X-Forwarded-For", "::1");
    add_field(r, "X-Ignored", "by configuration");
}
CHANGE(added_controls)
{
    add_field(r, "Cache-Control", "max-age=0");
    add_field(r, "Refrain-TTL", "1h");
    add_field(r, "If-None-Match", "\"a\"");
    add_field(r, "cf-aig-cache-ttl", "5");
}
CHANGE(added_hop)
{
    add_field(r, "Keep-Alive", "timeout=5"), add_field(r, "Connection", "keep-alive");
}
CHANGE(proxy_credential)
{
    add_field(r, "Proxy-Authorization", "Basic x");
}
CHANGE(type_case)
{
    set_field(r, "content-type", " Application/JSON ");
}
CHANGE(type_charset)
{
    set_field(r, "content-type", "application/json;charset=UTF-8");
}
CHANGE(type_charset_spaced)
{
    set_field(r, "content-type", "application/json ; Charset = utf-8 ;");
}
CHANGE(field_space)
{
    set_field(r, "x-custom", " one\t");
}
CHANGE(name_case)
{
    drop_field(r, "x-custom");
    add_field(r, "x-CUSTOM", "one");
}
CHANGE(body_order)
{
    r->key.body =
        SLICE_OF("{\"messages\": [{\"content\":\"Hell\\u006f\",\"role\":\"user\"}], \"model\":\"m\"}");
}
CHANGE(body_defaults)
{
    r->key.body = SLICE_OF("{\"user\":\"u\",\"model\":\"m\",\"stop\":null,\"stream\":false,\"messages\":[{"
                           "\"role\":\"user\",\"content\":\"Hello\"}]}");
}

static void what_says_nothing_does_not_count(void **state)
{
    static const struct {
        const char *why;
        void (*change)(struct request *r);
    } changes[] = {
        {"user agent", other_agent},
        {"no user agent", no_agent},
        {"host", other_host},
        {"accept of a POST", other_accept},
        {"accept-encoding", added_encoding},
        {"a range", added_range},
        {"framing", added_length},
        {"noise", added_noise},
        {"controls", added_controls},
        {"hop by hop", added_hop},
        {"a credential for a proxy", proxy_credential},
        {"a keyed field that Connection lists", field_unlisted},
        {"case of the content type", type_case},
        {"charset UTF-8", type_charset},
        {"charset UTF-8, spaced", type_charset_spaced},
        {"space around a value", field_space},
        {"case of a name", name_case},
        {"order of fields", turn_fields},
        {"order of members", body_order},
        {"defaults and ignored members", body_defaults},
    };
    AUTO(request_done) struct request plain;
    struct digest want;

    rich_request(&plain);
    want = make(*state, &plain);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        AUTO(request_done) struct request r;
        struct digest key;

        rich_request(&r);
        changes[i].change(&r);
        key = make(*state, &r);
        if (!digest_eq(&key, &want))
            fail_msg("%s changed the key", changes[i].why);
    }
}

static void shared_scope_leaves_credentials_out_and_nothing_else(void **state)
{
    AUTO(request_done) struct request a, b;
    struct digest one, two;

    rich_request(&a);
    rich_request(&b);
    a.scope.mode = b.scope.mode = KEY_SCOPE_SHARED;
    set_field(&b, "authorization", "Bearer sk-2");
    b.scope.secret = SLICE_OF("another");
    b.key.client = SLICE_OF("a client");
    one = make(*state, &a);
    two = make(*state, &b);
    assert_true(digest_eq(&one, &two));
    set_field(&b, "x-custom", "two");
    two = make(*state, &b);
    assert_false(digest_eq(&one, &two));
}

/* ---- callers ---- */

static uint64_t caller(struct context *c, struct request *r)
{
    uint64_t by_key = 1, alone;

    r->key.out_caller = &by_key;
    (void)make(c, r);
    alone = key_caller(c->maker, &r->key);
    assert_true(alone == by_key); /* with the key, or without one */
    assert_true(alone <= KEY_CALLER_MAX);
    return alone;
}

static void a_caller_is_a_credential_at_an_upstream(void **state)
{
    AUTO(request_done) struct request a, b;
    uint64_t alice;

    request_init(&a);
    request_init(&b);
    assert_true(caller(*state, &a) == 0); /* nothing that could be revoked */
    add_field(&a, "Authorization", "Bearer alice");
    add_field(&b, "Authorization", "Bearer alice");
    alice = caller(*state, &a);
    assert_true(alice != 0);
    b.key.target = SLICE_OF("/v1/models");
    b.key.namespace_ = SLICE_OF("other");
    b.key.body = SLICE_OF("{}");
    assert_true(caller(*state, &b) == alice); /* whatever is asked for */
    b.key.upstream = SLICE_OF("anthropic");
    assert_true(caller(*state, &b) != alice);
    b.key.upstream = a.key.upstream;
    add_field(&b, "x-api-key", "more");
    assert_true(caller(*state, &b) != alice);
    a.scope.secret = SLICE_OF("another");
    assert_true(caller(*state, &a) != alice);
}

static void nobody_is_a_caller_where_answers_do_not_belong_to_credentials(void **state)
{
    static const struct slice listed[] = {SLICE("Authorization")};
    AUTO(request_done) struct request r;

    request_init(&r);
    add_field(&r, "Authorization", "Bearer alice");
    r.scope.mode = KEY_SCOPE_SHARED;
    assert_true(caller(*state, &r) == 0);
    r.scope.mode = KEY_SCOPE_HEADERS;
    r.scope.headers = listed;
    r.scope.headers_n = ARRAY_LEN(listed);
    assert_true(caller(*state, &r) == 0);
    r.scope.mode = KEY_SCOPE_CREDENTIAL;
    r.key.client = SLICE_OF("a client");
    assert_true(caller(*state, &r) == 0);
    r.key.client = SLICE_OF("");
    r.fields.n = 0;
    r.key.target = SLICE_OF("/v1/models?key=alice");
    assert_true(caller(*state, &r) != 0);
    r.fields.n = 0;
    r.key.target = SLICE_OF("/v1/models?monkey=alice");
    assert_true(caller(*state, &r) == 0);
}

static void a_list_of_fields_is_all_of_the_scope(void **state)
{
    static const struct slice listed[] = {SLICE("Authorization"), SLICE("?key")};
    AUTO(request_done) struct request a, b;
    struct digest one, two;

    rich_request(&a);
    rich_request(&b);
    a.scope.mode = b.scope.mode = KEY_SCOPE_HEADERS;
    a.scope.headers = b.scope.headers = listed;
    a.scope.headers_n = b.scope.headers_n = ARRAY_LEN(listed);
    a.key.key_in_query = b.key.key_in_query = true;
    add_field(&b, "api-key", "not listed");
    one = make(*state, &a);
    two = make(*state, &b);
    assert_true(digest_eq(&one, &two));
    b.key.target = SLICE_OF("/v1/chat/completions?key=1");
    two = make(*state, &b);
    assert_false(digest_eq(&one, &two));
    a.key.target = SLICE_OF("/v1/chat/completions?key=2");
    one = make(*state, &a);
    assert_false(digest_eq(&one, &two));
}

static void a_client_is_its_name(void **state)
{
    AUTO(request_done) struct request a, b;
    struct digest one, two;

    rich_request(&a);
    rich_request(&b);
    a.key.client = b.key.client = SLICE_OF("team");
    set_field(&b, "authorization", "Bearer another token of the team's");
    one = make(*state, &a);
    two = make(*state, &b);
    assert_true(digest_eq(&one, &two));
    b.key.client = SLICE_OF("other");
    two = make(*state, &b);
    assert_false(digest_eq(&one, &two));
}

static void accept_counts_where_it_may_select_a_format(void **state)
{
    static const struct {
        enum operation op;
        bool counts;
    } cases[] = {{OP_READ, true},  {OP_PLAIN, true},     {OP_SPEECH, true},
                 {OP_CHAT, false}, {OP_MESSAGES, false}, {OP_EMBEDDING, false}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(request_done) struct request a, b;
        struct digest one, two;

        rich_request(&a);
        rich_request(&b);
        a.op = b.op = cases[i].op;
        set_field(&b, "accept", "text/html");
        one = make(*state, &a);
        two = make(*state, &b);
        if (digest_eq(&one, &two) == cases[i].counts)
            fail_msg("%s", dialect_of(cases[i].op)->name);
    }
}

static void a_custom_key_stands_for_the_prompt_alone(void **state)
{
    static const struct {
        const char *why, *a, *b;
        bool same;
    } cases[] = {
        {"prompt", "{\"model\":\"m\",\"messages\":[1]}", "{\"model\":\"m\",\"messages\":[2],\"n\":3}", true},
        {"model", "{\"model\":\"m\"}", "{\"model\":\"n\"}", false},
        {"no model", "{\"model\":\"m\"}", "{}", false},
        {"model of another kind", "{\"model\":\"1\"}", "{\"model\":1}", false},
        {"stream", "{\"stream\":true}", "{}", false},
        {"stream at its default", "{\"stream\":false}", "{}", true},
        {"stream options", "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         "{\"stream\":true}", false},
        {"order of stream options", "{\"stream_options\":{\"b\":1,\"a\":2}}",
         "{\"stream_options\":{\"a\":2,\"b\":1}}", true},
        {"no canonical form", "{\"a\":1,\"a\":1}", "{\"a\":1,\"a\":2}", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(request_done) struct request a, b;
        struct digest one, two;

        rich_request(&a);
        rich_request(&b);
        a.key.custom_key = b.key.custom_key = SLICE_OF("mine");
        a.key.body = slice_str(cases[i].a);
        b.key.body = slice_str(cases[i].b);
        one = make(*state, &a);
        two = make(*state, &b);
        if (digest_eq(&one, &two) != cases[i].same)
            fail_msg("%s", cases[i].why);
        set_field(&b, "authorization", "Bearer sk-2");
        b.key.body = a.key.body;
        two = make(*state, &b);
        if (digest_eq(&one, &two))
            fail_msg("%s: the credential no longer counts", cases[i].why);
    }
}

static void long_fields_count_to_their_last_byte(void **state)
{
    static const size_t lengths[] = {1, 900, 1023, 1024, 1025, 3000};
    static char value[3001];

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        AUTO(request_done) struct request a, b;
        struct digest one, two;

        memset(value, 'v', sizeof(value));
        value[lengths[i]] = '\0';
        rich_request(&a);
        rich_request(&b);
        set_field(&a, "x-custom", value);
        one = make(*state, &a);
        value[lengths[i] - 1] = 'w';
        set_field(&b, "x-custom", value);
        two = make(*state, &b);
        assert_false(digest_eq(&one, &two));
    }
}

/* ---- every member of every dialect's body ---- */

static const struct {
    enum operation op;
    const char *body;
} bodies[] = {
    {OP_CHAT,
     "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":"
     "[{\"type\":\"text\",\"text\":\"t\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\",\"detail\":"
     "\"low\"}}],"
     "\"name\":\"n\"}],\"temperature\":0.5,\"top_p\":0.9,\"n\":2,\"stop\":[\"a\",\"b\"],\"seed\":7,"
     "\"logprobs\":true,"
     "\"logit_bias\":{\"50256\":-100},\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
     "\"parameters\":"
     "{\"type\":\"object\",\"properties\":{\"q\":{\"type\":\"string\"}}}}}],\"tool_choice\":\"auto\","
     "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{\"a\":1}}},"
     "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":9,\"reasoning_effort\":"
     "\"low\"}"},
    {OP_COMPLETION, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"suffix\":\"s\",\"max_tokens\":5,\"echo\":"
                    "true,\"best_of\":2}"},
    {OP_RESPONSES,
     "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"t\"}]}]"
     ","
     "\"instructions\":\"i\",\"reasoning\":{\"effort\":\"low\"},\"text\":{\"format\":{\"type\":\"text\"},"
     "\"verbosity\":\"low\"},\"previous_response_id\":\"r\",\"include\":[\"x\"],\"truncation\":\"auto\"}"},
    {OP_MESSAGES,
     "{\"model\":\"m\",\"max_tokens\":5,\"system\":[{\"type\":\"text\",\"text\":\"s\",\"cache_control\":"
     "{\"type\":\"ephemeral\"}}],\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],\"thinking\":{\"type\":"
     "\"enabled\",\"budget_tokens\":1024},\"tools\":[{\"name\":\"n\",\"input_schema\":{\"type\":\"object\"}}]"
     ","
     "\"stop_sequences\":[\"x\"],\"top_k\":3}"},
    {OP_EMBEDDING,
     "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"encoding_format\":\"float\",\"dimensions\":256}"},
};

struct walk {
    struct context *c;
    enum operation op;
    json_t *root;
    struct digest *seen;
    size_t seen_n;
};
enum { SEEN_MAX = 2000 };

static struct digest key_of(struct walk *w, size_t flags)
{
    AUTO(request_done) struct request r;
    char *body = json_dumps(w->root, flags);
    struct digest key;

    rich_request(&r);
    r.op = w->op;
    r.key.body = slice_str(body);
    key = make(w->c, &r);
    free(body);
    return key;
}

/* The body as it stands now must have a key that none had before. */
static void assert_new(struct walk *w, const char *what)
{
    struct digest key = key_of(w, JSON_COMPACT);

    for (size_t i = 0; i < w->seen_n; i++)
        if (digest_eq(&key, &w->seen[i]))
            fail_msg("%s: %s does not count", dialect_of(w->op)->name, what);
    assert_true(w->seen_n < SEEN_MAX);
    w->seen[w->seen_n++] = key;
}

static void change_all(struct walk *w, json_t *value);

static void change_leaf(struct walk *w, json_t *value, const char *what)
{
    if (json_is_string(value)) {
        char *before = strdup(json_string_value(value));

        for (int i = 0; i < 2; i++) {
            json_string_set(value, i ? "changed" : "");
            assert_new(w, what);
        }
        json_string_set(value, before);
        free(before);
    } else if (json_is_integer(value)) {
        json_integer_set(value, json_integer_value(value) + 1);
        assert_new(w, what);
        json_integer_set(value, json_integer_value(value) - 1);
    } else if (json_is_real(value)) {
        json_real_set(value, json_real_value(value) + 0.25);
        assert_new(w, what);
        json_real_set(value, json_real_value(value) - 0.25);
    }
}

/* Replaces, removes and renames it; what is put in its place is unlike anything else. */
static void change_member(struct walk *w, json_t *object, const char *name)
{
    json_t *value = json_incref(json_object_get(object, name));
    char other[64];

    (void)snprintf(other, sizeof(other), "%s of %p", name, (void *)value);
    change_leaf(w, value, name);
    change_all(w, value);
    json_object_set_new(object, name, json_string(other));
    assert_new(w, name);
    json_object_del(object, name);
    assert_new(w, name);
    json_object_set(object, other, value);
    assert_new(w, name);
    json_object_del(object, other);
    json_object_set_new(object, name, value);
}

/* Members change their places on the way, so their names are gathered first. */
static void change_object(struct walk *w, json_t *object)
{
    json_t *names = json_array(), *value, *text;
    const char *name;
    size_t i;

    json_object_foreach(object, name, value) json_array_append_new(names, json_string(name));
    json_array_foreach(names, i, text) change_member(w, object, json_string_value(text));
    json_decref(names);
}

static void change_array(struct walk *w, json_t *array)
{
    json_t *value;
    size_t i;

    json_array_foreach(array, i, value)
    {
        change_leaf(w, value, "an element");
        change_all(w, value);
    }
    json_array_append_new(array, json_null());
    assert_new(w, "an element more");
    json_array_remove(array, json_array_size(array) - 1);
}

static void change_all(struct walk *w, json_t *value)
{
    if (json_is_object(value))
        change_object(w, value);
    else if (json_is_array(value))
        change_array(w, value);
}

static void every_member_of_every_dialect_counts(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct walk w = {.c = *state, .op = bodies[i].op, .root = json_loads(bodies[i].body, 0, NULL)};

        assert_non_null(w.root);
        w.seen = calloc(SEEN_MAX, sizeof(*w.seen));
        assert_new(&w, "nothing");
        change_all(&w, w.root);
        assert_true(w.seen_n > 10);
        json_decref(w.root);
        free(w.seen);
    }
}

static void writing_alone_never_counts(void **state)
{
    static const size_t ways[] = {JSON_COMPACT, JSON_INDENT(2), JSON_ENSURE_ASCII | JSON_ESCAPE_SLASH,
                                  JSON_INDENT(7)};

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct walk w = {.c = *state, .op = bodies[i].op, .root = json_loads(bodies[i].body, 0, NULL)};
        struct digest want = key_of(&w, 0);
        json_t *turned = json_object();

        for (size_t way = 0; way < ARRAY_LEN(ways); way++) {
            struct digest key = key_of(&w, ways[way]);

            assert_true(digest_eq(&key, &want));
        }
        while (json_object_size(w.root) >
               0) { /* the last member first: top-level order alone, schemas keep theirs */
            const char *name = NULL, *last = NULL;
            json_t *value;

            json_object_foreach(w.root, name, value) last = name;
            json_object_set(turned, last, json_object_get(w.root, last));
            json_object_del(w.root, last);
        }
        json_decref(w.root);
        w.root = turned;
        assert_true(digest_eq(&want, &(struct digest[]){key_of(&w, 0)}[0]));
        json_object_set_new(w.root, "metadata", json_pack("{s:i}", "x", 1));
        /* ignored by each of them but the one whose answers repeat it */
        assert_int_equal(digest_eq(&want, &(struct digest[]){key_of(&w, 0)}[0]), w.op != OP_RESPONSES);
        json_decref(w.root);
    }
}

/* ---- tiers ---- */

static void prompts_have_tiers(void **state)
{
    static const struct {
        size_t characters;
        const char *want;
    } cases[] = {{0, "small"},    {499, "small"},   {500, "medium"},   {4999, "medium"},
                 {5000, "large"}, {49999, "large"}, {50000, "xlarge"}, {SIZE_MAX, "xlarge"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(prompt_tier_name(prompt_tier_of(cases[i].characters)), cases[i].want);
}

static void variants_have_keys_of_their_own_made_from_the_base(void **state)
{
    struct key_maker *m = key_maker_new();
    struct digest base = {{1}}, other = {{2}}, keys[64];

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        keys[i] = key_of_variant(m, &base, i + 1);
        assert_false(digest_eq(&keys[i], &base));
        for (unsigned k = 0; k < i; k++)
            assert_false(digest_eq(&keys[i], &keys[k]));
    }
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        struct digest again = key_of_variant(m, &base, i + 1), theirs = key_of_variant(m, &other, i + 1);

        assert_true(digest_eq(&again, &keys[i]));
        assert_false(digest_eq(&theirs, &keys[i]));
    }
    key_maker_free(m);
}

static void tiers_are_ranges(void **state)
{
    size_t from, to, end = 0;

    (void)state;
    for (enum prompt_tier t = 0; t < PROMPT_TIER_COUNT; t++) {
        prompt_tier_range(t, &from, &to);
        assert_int_equal(from, end); /* without a gap */
        assert_int_equal(prompt_tier_of(from), t);
        assert_int_equal(prompt_tier_of(to - 1), t);
        end = to;
    }
    assert_true(end == SIZE_MAX);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_have_keys_of_their_own_made_from_the_base),
        cmocka_unit_test(tiers_are_ranges),
        cmocka_unit_test(the_vectors_keep_their_keys),
        cmocka_unit_test(every_part_counts),
        cmocka_unit_test(what_says_nothing_does_not_count),
        cmocka_unit_test(a_caller_is_a_credential_at_an_upstream),
        cmocka_unit_test(nobody_is_a_caller_where_answers_do_not_belong_to_credentials),
        cmocka_unit_test(shared_scope_leaves_credentials_out_and_nothing_else),
        cmocka_unit_test(a_list_of_fields_is_all_of_the_scope),
        cmocka_unit_test(a_client_is_its_name),
        cmocka_unit_test(accept_counts_where_it_may_select_a_format),
        cmocka_unit_test(a_custom_key_stands_for_the_prompt_alone),
        cmocka_unit_test(long_fields_count_to_their_last_byte),
        cmocka_unit_test(every_member_of_every_dialect_counts),
        cmocka_unit_test(writing_alone_never_counts),
        cmocka_unit_test(prompts_have_tiers),
    };

    if (argc == 3 && strcmp(argv[1], "--write") == 0)
        return write_vectors(argv[2]);
    return cmocka_run_group_tests_name("key", tests, setup, teardown);
}
