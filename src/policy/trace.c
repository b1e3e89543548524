#include "refrain/policy/trace.h"

#include <assert.h>

#include "refrain/wire/jleaf.h"

static const char *const kind_names[TRACE_KIND_COUNT] = {
    [TRACE_NAMESPACE] = "namespace",
    [TRACE_SCOPE] = "scope",
    [TRACE_CREDENTIAL] = "credential",
    [TRACE_UPSTREAM] = "upstream",
    [TRACE_CONFIG] = "configuration",
    [TRACE_METHOD] = "method",
    [TRACE_TARGET] = "target",
    [TRACE_HEADER] = "header",
    [TRACE_OPERATION] = "operation",
    [TRACE_CUSTOM_KEY] = "custom key",
    [TRACE_CUSTOM_MEMBER] = "body",
    [TRACE_BODY] = "body",
    [TRACE_VARIANT] = "variant",
    [TRACE_LEAF] = "body",
    [TRACE_REST] = "body",
};

const char *trace_kind_name(enum trace_kind kind)
{
    return kind_names[kind];
}

void trace_begin(struct trace *t, const struct siphash_key *secret)
{
    t->secret = *secret;
    t->head_n = t->leaves_n = 0;
    t->rest = t->open = false;
}

/* -- sums -- */

static uint64_t sum_of(const struct siphash_key *secret, uint64_t seed, struct slice bytes)
{
    struct siphash s;

    siphash_begin(&s, secret);
    siphash_add(&s, slice_make(&seed, sizeof(seed)));
    siphash_add(&s, bytes);
    return siphash_end(&s);
}

/* Names of headers have no case. */
static uint64_t name_sum(const struct siphash_key *secret, enum trace_kind kind, struct slice name)
{
    char lower[32], first = (char)kind;
    struct siphash s;

    siphash_begin(&s, secret);
    siphash_add(&s, slice_make(&first, 1));
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];

        lower[i % sizeof(lower)] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        if ((i + 1) % sizeof(lower) == 0 || i + 1 == name.len)
            siphash_add(&s, slice_make(lower, i % sizeof(lower) + 1));
    }
    return siphash_end(&s);
}

uint64_t trace_kind_sum(const struct siphash_key *secret, enum trace_kind kind)
{
    return name_sum(secret, kind, SLICE_OF(""));
}

uint64_t trace_header_name(const struct siphash_key *secret, struct slice name)
{
    return name_sum(secret, TRACE_HEADER, name);
}

/* -- the head -- */

static void part_end(struct trace *t)
{
    if (t->open)
        t->head[t->head_n - 1].value = siphash_end(&t->sum);
    t->open = false;
}

void trace_part(struct trace *t, enum trace_kind kind, struct slice name)
{
    part_end(t);
    assert(t->head_n < TRACE_HEAD_MAX); /* a key has a part a field, and a dozen beside */
    t->head_kind[t->head_n] = (uint8_t)kind;
    t->head_name[t->head_n] = name;
    t->head[t->head_n++].name = name_sum(&t->secret, kind, name);
    siphash_begin(&t->sum, &t->secret);
    t->open = true;
}

void trace_add(struct trace *t, struct slice bytes)
{
    if (t->open)
        siphash_add(&t->sum, bytes);
}

void trace_end(struct trace *t)
{
    part_end(t);
}

/* -- the body -- */

/* A step's sum goes on from that of the path before it. */
static uint64_t step_sum(const struct siphash_key *secret, uint64_t before, const struct jleaf_step *step)
{
    if (step->name.data)
        return sum_of(secret, before, step->name);
    return sum_of(secret, before ^ 1, slice_make(&step->index, sizeof(step->index)));
}

enum { PATH_ROOT = 0x100 }; /* other than every kind */

uint64_t trace_member_name(const struct siphash_key *secret, struct slice name)
{
    return step_sum(secret, PATH_ROOT, &(struct jleaf_step){name, 0});
}

static void add_leaf(struct trace *t, uint64_t name, struct slice value)
{
    t->leaves[t->leaves_n++] = (struct trace_part){name, sum_of(&t->secret, TRACE_LEAF, value)};
}

void trace_body(struct trace *t, struct slice canonical)
{
    uint64_t path[JLEAF_DEPTH_MAX + 1] = {PATH_ROOT};
    struct jleaf w;

    jleaf_begin(&w, canonical);
    while (t->leaves_n < TRACE_LEAVES_MAX && jleaf_next(&w)) {
        for (unsigned i = w.changed; i < w.depth; i++)
            path[i + 1] = step_sum(&t->secret, path[i], &w.path[i]);
        add_leaf(t, path[w.depth], w.value);
    }
    t->rest = t->leaves_n == TRACE_LEAVES_MAX;
    if (t->rest)
        add_leaf(t, name_sum(&t->secret, TRACE_REST, SLICE_OF("")), slice_make(w.at, (size_t)(w.end - w.at)));
}
