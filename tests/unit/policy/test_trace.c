/* trace: as many parts as a key has; equal where requests are equal; nothing of their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/policy/key.h"
#include "refrain/policy/trace.h"

static const struct siphash_key secret = {{1, 2}}, another = {{1, 3}};
static struct header_table *table;

/* A request with a header or two, by default always the same. */
struct sample {
    const char *namespace_, *target, *authorization, *beta, *custom, *body;
    bool exact;
};
static const struct sample plain = {"default",
                                    "/v1/chat/completions",
                                    "Bearer sk-alice",
                                    "one",
                                    "",
                                    "{\"messages\":[{\"content\":\"hi\"}],\"model\":\"m\"}",
                                    false};

static struct trace *traced(const struct sample *s, const struct siphash_key *with, struct digest *out_key)
{
    struct trace *t = malloc(sizeof(*t));
    struct key_maker *maker = key_maker_new();
    struct key_scope scope = {.mode = KEY_SCOPE_CREDENTIAL, .secret = SLICE("secret")};
    struct fields fields = {.n = 0};
    struct key_request r = {
        .scope = &scope,
        .namespace_ = slice_str(s->namespace_),
        .upstream = SLICE("default"),
        .operation = SLICE("chat"),
        .method = SLICE("POST"),
        .target = slice_str(s->target),
        .fields = &fields,
        .custom_key = slice_str(s->custom),
        .body_kind = s->exact ? KEY_BODY_EXACT : KEY_BODY_CANONICAL,
        .body = slice_str(s->body),
        .trace = t,
    };
    struct digest untraced;

    assert_non_null(t);
    assert_int_equal(fields_add(&fields, SLICE_OF("User-Agent"), SLICE_OF("x")), 0);
    assert_int_equal(fields_add(&fields, SLICE_OF("Anthropic-Beta"), slice_str(s->beta)), 0);
    assert_int_equal(fields_add(&fields, SLICE_OF("Authorization"), slice_str(s->authorization)), 0);
    fields_classify(&fields, table);
    trace_begin(t, with);
    if (!s->exact)
        trace_body(t, r.body);
    *out_key = key_make(maker, &r);
    r.trace = NULL;
    untraced = key_make(maker, &r);
    assert_true(digest_eq(out_key, &untraced)); /* who looks changes nothing */
    key_maker_free(maker);
    return t;
}

/* The kind of the one part in which both differ; TRACE_KIND_COUNT: none, -1: more than one. */
static int difference(const struct trace *a, const struct trace *b)
{
    int kind = TRACE_KIND_COUNT, n = 0;

    if (a->head_n != b->head_n || a->leaves_n != b->leaves_n)
        return -1;
    for (unsigned i = 0; i < a->head_n; i++) {
        if (a->head[i].name != b->head[i].name)
            return -1;
        if (a->head[i].value != b->head[i].value) {
            kind = a->head_kind[i];
            n++;
        }
    }
    for (unsigned i = 0; i < a->leaves_n; i++) {
        if (a->leaves[i].name != b->leaves[i].name)
            return -1;
        if (a->leaves[i].value != b->leaves[i].value) {
            kind = TRACE_LEAF;
            n++;
        }
    }
    return n > 1 ? -1 : kind;
}

static void one_change_is_one_part(void **state)
{
    static const struct {
        const char *why;
        struct sample b;
        int want;
    } cases[] = {
        {"nothing",
         {"default", "/v1/chat/completions", "Bearer sk-alice", "one", "",
          "{\"messages\":[{\"content\":\"hi\"}],\"model\":\"m\"}", false},
         TRACE_KIND_COUNT},
        {"namespace",
         {"other", "/v1/chat/completions", "Bearer sk-alice", "one", "",
          "{\"messages\":[{\"content\":\"hi\"}],\"model\":\"m\"}", false},
         TRACE_NAMESPACE},
        {"credential",
         {"default", "/v1/chat/completions", "Bearer sk-bob", "one", "",
          "{\"messages\":[{\"content\":\"hi\"}],\"model\":\"m\"}", false},
         TRACE_CREDENTIAL},
        {"target",
         {"default", "/v1/chat/completions?x=1", "Bearer sk-alice", "one", "",
          "{\"messages\":[{\"content\":\"hi\"}],\"model\":\"m\"}", false},
         TRACE_TARGET},
        {"header",
         {"default", "/v1/chat/completions", "Bearer sk-alice", "two", "",
          "{\"messages\":[{\"content\":\"hi\"}],\"model\":\"m\"}", false},
         TRACE_HEADER},
        {"member",
         {"default", "/v1/chat/completions", "Bearer sk-alice", "one", "",
          "{\"messages\":[{\"content\":\"yo\"}],\"model\":\"m\"}", false},
         TRACE_LEAF},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct digest one, two;
        struct trace *a = traced(&plain, &secret, &one), *b = traced(&cases[i].b, &secret, &two);

        if (difference(a, b) != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].why, difference(a, b), cases[i].want);
        assert_true(digest_eq(&one, &two) == (cases[i].want == TRACE_KIND_COUNT));
        free(a);
        free(b);
    }
}

static void the_parts_are_those_of_the_key(void **state)
{
    static const uint8_t canonical[] = {TRACE_NAMESPACE, TRACE_SCOPE,      TRACE_CREDENTIAL, TRACE_UPSTREAM,
                                        TRACE_CONFIG,    TRACE_METHOD,     TRACE_TARGET,     TRACE_HEADER,
                                        TRACE_OPERATION, TRACE_CUSTOM_KEY, TRACE_VARIANT};
    struct sample exact = plain, custom = plain;
    struct digest key;
    struct trace *t = traced(&plain, &secret, &key);

    (void)state;
    assert_int_equal(t->head_n, sizeof(canonical));
    assert_memory_equal(t->head_kind, canonical, sizeof(canonical));
    assert_int_equal(t->leaves_n, 2);
    assert_true(slice_eq(t->head_name[7], SLICE_OF("Anthropic-Beta")));
    assert_int_equal(t->head[7].name, trace_header_name(&secret, SLICE_OF("anthropic-beta")));
    assert_int_equal(t->leaves[1].name, trace_member_name(&secret, SLICE_OF("model")));
    free(t);

    exact.exact = true;
    t = traced(&exact, &secret, &key);
    assert_int_equal(t->head_n, sizeof(canonical) + 1);
    assert_int_equal(t->head_kind[10], TRACE_BODY);
    free(t);

    custom.custom = "mine";
    t = traced(&custom, &secret, &key);
    assert_int_equal(t->head_n, sizeof(canonical) + 3);
    assert_int_equal(t->head_kind[10], TRACE_CUSTOM_MEMBER);
    free(t);
}

static void without_the_secret_nothing_is_told(void **state)
{
    struct digest key;
    struct trace *a = traced(&plain, &secret, &key), *b = traced(&plain, &another, &key);

    (void)state;
    for (unsigned i = 0; i < a->head_n; i++)
        assert_true(a->head[i].name != b->head[i].name && a->head[i].value != b->head[i].value);
    for (unsigned i = 0; i < a->leaves_n; i++)
        assert_true(a->leaves[i].name != b->leaves[i].name && a->leaves[i].value != b->leaves[i].value);
    free(a);
    free(b);
}

static struct trace *body_of(int leaves, int last)
{
    AUTO(buf_done) struct buf b = BUF_INIT(1 << 20);
    struct trace *t = malloc(sizeof(*t));
    int r = buf_addf(&b, "[");

    assert_non_null(t);
    for (int i = 0; i < leaves; i++)
        r |= buf_addf(&b, "%s%d", i > 0 ? "," : "", i + 1 < leaves ? i : last);
    assert_int_equal(r | buf_addf(&b, "]"), 0);
    trace_begin(t, &secret);
    trace_body(t, buf_slice(&b));
    return t;
}

static void a_long_body_ends_in_one_part(void **state)
{
    struct trace *a = body_of(TRACE_LEAVES_MAX * 10, 1), *b = body_of(TRACE_LEAVES_MAX * 10, 2);
    struct trace *c = body_of(TRACE_LEAVES_MAX - 1, 1);

    (void)state;
    assert_int_equal(a->leaves_n, TRACE_LEAVES_MAX + 1);
    assert_true(a->rest && b->rest && !c->rest);
    assert_memory_equal(a->leaves, b->leaves, TRACE_LEAVES_MAX * sizeof(a->leaves[0]));
    assert_int_equal(a->leaves[TRACE_LEAVES_MAX].name, b->leaves[TRACE_LEAVES_MAX].name);
    assert_true(a->leaves[TRACE_LEAVES_MAX].value != b->leaves[TRACE_LEAVES_MAX].value);
    assert_int_equal(c->leaves_n, TRACE_LEAVES_MAX - 1);
    free(a);
    free(b);
    free(c);
}

static void a_member_and_an_element_are_told_apart(void **state)
{
    struct trace a, b;

    (void)state;
    trace_begin(&a, &secret);
    trace_body(&a, SLICE_OF("{\"a\":{\"b\":1}}"));
    trace_begin(&b, &secret);
    trace_body(&b, SLICE_OF("{\"a.b\":1}"));
    assert_true(a.leaves[0].name != b.leaves[0].name);
    assert_int_equal(a.leaves[0].value, b.leaves[0].value);
    trace_begin(&b, &secret);
    trace_body(&b, SLICE_OF("{\"a\":[1]}"));
    assert_true(a.leaves[0].name != b.leaves[0].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_change_is_one_part),
        cmocka_unit_test(the_parts_are_those_of_the_key),
        cmocka_unit_test(without_the_secret_nothing_is_told),
        cmocka_unit_test(a_long_body_ends_in_one_part),
        cmocka_unit_test(a_member_and_an_element_are_told_apart),
    };
    int failed;

    table = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    header_table_free(table);
    return failed;
}
