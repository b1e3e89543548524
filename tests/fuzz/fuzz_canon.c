/*
 * canon against itself and against jansson. For every text:
 * - a canonical form is canonical again, and says the same of the request;
 * - jansson reads text and form alike, and refuses what canon refuses, but for what is known to differ;
 * - the text written in other ways, members turned round, has the same form;
 * - rules change what is left out, never what is refused.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/wire/canon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define HOLDS(what)                                                                                          \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            fprintf(stderr, "does not hold: %s\n", #what);                                                   \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

enum { OUT_MAX = 1 << 24, DUMP = JSON_ENCODE_ANY };

static const struct slice ignored[] = {SLICE("user"), SLICE("a.b"), SLICE("a.c.d")};
static const struct slice ordered[] = {SLICE("tools"), SLICE("text.format")};
static const struct canon_rules plain = {0};
static const struct canon_rules chat = {ignored, ARRAY_LEN(ignored), ordered, ARRAY_LEN(ordered), true, false,
                                        true};

struct result {
    enum canon_verdict verdict;
    struct buf out;
    struct canon_facts facts;
    const char *why;
};

static void result_done(struct result *r)
{
    buf_done(&r->out);
}

static struct result canon(struct slice json, const struct canon_rules *rules)
{
    struct result r = {.out = BUF_INIT(OUT_MAX), .why = "none"};

    r.verdict = canon_json(json, rules, &r.out, &r.facts, &r.why);
    HOLDS(r.verdict == CANON_OK || r.out.len == 0);
    HOLDS(r.verdict != CANON_OK || r.facts.whole);
    return r;
}

static bool same_facts(const struct canon_facts *a, const struct canon_facts *b)
{
    return a->stream == b->stream && a->stateful == b->stateful && a->has_temperature == b->has_temperature &&
           a->messages == b->messages && a->wants_json == b->wants_json && slice_eq(a->model, b->model);
}

static void assert_same_form(const struct buf *form, struct slice json, const struct canon_rules *rules)
{
    AUTO(result_done) struct result r = canon(json, rules);

    HOLDS(r.verdict == CANON_OK);
    HOLDS(slice_eq(buf_slice(&r.out), buf_slice(form)));
}

/* ---- against jansson ---- */

static void value_done(json_t **value)
{
    json_decref(*value);
}

static json_t *load(struct slice json, bool *out_of_its_range)
{
    json_error_t error;
    json_t *value = json_loadb(json.data, json.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

    *out_of_its_range = !value && json_error_code(&error) == json_error_numeric_overflow;
    return value;
}

static bool numbers_equal(const json_t *a, const json_t *b)
{
    double x = json_number_value(a), y = json_number_value(b);

    if (json_is_integer(a) && json_is_integer(b))
        return json_integer_value(a) == json_integer_value(b);
    return !(x < y) && !(x > y);
}

static bool values_equal(json_t *a, json_t *b);

static bool objects_equal(json_t *a, json_t *b)
{
    const char *name;
    json_t *value;

    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach(a, name, value)
    {
        if (!values_equal(value, json_object_get(b, name)))
            return false;
    }
    return true;
}

static bool arrays_equal(const json_t *a, const json_t *b)
{
    if (json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        if (!values_equal(json_array_get(a, i), json_array_get(b, i)))
            return false;
    return true;
}

/* Like json_equal, but `1` and `1.0` are one number. */
static bool values_equal(json_t *a, json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return numbers_equal(a, b);
    if (json_is_object(a) && json_is_object(b))
        return objects_equal(a, b);
    if (json_is_array(a) && json_is_array(b))
        return arrays_equal(a, b);
    return json_equal(a, b);
}

/* ---- other ways to write the same ---- */

static bool has_real(json_t *value)
{
    const char *name;
    json_t *inner;
    size_t i;

    if (json_is_object(value)) {
        json_object_foreach(value, name, inner)
        {
            if (has_real(inner))
                return true;
        }
    }
    json_array_foreach(value, i, inner)
    {
        if (has_real(inner))
            return true;
    }
    return json_is_real(value);
}

/* A copy with the members of every object in the opposite order. */
static json_t *turned(json_t *value)
{
    json_t *copy, *inner;
    const char *name;
    size_t i;

    if (json_is_array(value)) {
        copy = json_array();
        json_array_foreach(value, i, inner) HOLDS(json_array_append_new(copy, turned(inner)) == 0);
        return copy;
    }
    if (!json_is_object(value))
        return json_incref(value);
    copy = json_object();
    json_object_foreach(value, name, inner)
    {
        json_t *first = json_object();

        HOLDS(json_object_set_new(first, name, turned(inner)) == 0);
        HOLDS(json_object_update(first, copy) == 0);
        json_decref(copy);
        copy = first;
    }
    return copy;
}

static void assert_same_form_dumped(const struct buf *form, json_t *value, size_t flags)
{
    char *text = json_dumps(value, DUMP | flags);

    HOLDS(text);
    assert_same_form(form, slice_str(text), &plain);
    free(text);
}

static void assert_same_form_rewritten(const struct buf *form, json_t *value)
{
    AUTO(value_done) json_t *other = turned(value);

    assert_same_form_dumped(form, value, JSON_SORT_KEYS | JSON_INDENT(2));
    assert_same_form_dumped(form, value, JSON_ENSURE_ASCII | JSON_ESCAPE_SLASH);
    assert_same_form_dumped(form, other, JSON_COMPACT);
    assert_same_form_dumped(form, other, JSON_INDENT(1) | JSON_ENSURE_ASCII);
}

/* ---- the properties ---- */

/* Turning objects round costs the square of their members. */
enum { REWRITTEN_MAX = 4096 };

static void check_form(struct slice json, const struct result *r)
{
    bool text_out, form_out;
    AUTO(value_done) json_t *text = load(json, &text_out);
    AUTO(value_done) json_t *form = load(buf_slice(&r->out), &form_out);
    AUTO(result_done) struct result again = canon(buf_slice(&r->out), &plain);

    HOLDS(again.verdict == CANON_OK && slice_eq(buf_slice(&again.out), buf_slice(&r->out)));
    if (!memchr(json.data, '\\', json.len)) /* names with escapes are judged with suspicion */
        HOLDS(same_facts(&r->facts, &again.facts));
    HOLDS((text || text_out) && (form || form_out)); /* 2^63 and up is beyond jansson */
    if (!text || !form)
        return;
    HOLDS(values_equal(text, form));
    if (json.len <= REWRITTEN_MAX && !has_real(text))
        assert_same_form_rewritten(&r->out, text);
}

/* jansson goes deeper, rounds tiny numbers to 0, and loses a raw NUL that ends a number. */
static bool is_known_to_differ(struct slice json, const char *why)
{
    return strcmp(why, "depth") == 0 || strcmp(why, "number out of range") == 0 ||
           memchr(json.data, 0, json.len);
}

static void check_refusal(struct slice json, const struct result *r)
{
    bool out_of_its_range;
    AUTO(value_done) json_t *text = load(json, &out_of_its_range);

    HOLDS(!text || is_known_to_differ(json, r->why));
}

static void check_rules(struct slice json, const struct result *r)
{
    AUTO(result_done) struct result ruled = canon(json, &chat);

    HOLDS(ruled.verdict == r->verdict && strcmp(ruled.why, r->why) == 0);
    HOLDS(same_facts(&ruled.facts, &r->facts));
    HOLDS(ruled.out.len <= r->out.len);
    if (ruled.verdict == CANON_OK)
        assert_same_form(&ruled.out, buf_slice(&ruled.out), &chat);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice json = slice_make(data, len);
    AUTO(result_done) struct result r = canon(json, &plain);

    check_rules(json, &r);
    if (r.verdict == CANON_OK)
        check_form(json, &r);
    if (r.verdict == CANON_EXACT)
        check_refusal(json, &r);
    return 0;
}
