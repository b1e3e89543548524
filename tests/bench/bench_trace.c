/*
 * What remembering a request for `explain` adds to making its key: bench_trace. One line a body: ns for
 * canonical form and key, ns with the trace and its place in the ring; at the end, ns to find the nearest of
 * 512.
 */
#include <stdio.h>

#include "measure.h"
#include "refrain/base/attr.h"
#include "refrain/http/recent.h"
#include "refrain/policy/key.h"
#include "refrain/wire/canon.h"
#include "refrain/wire/dialect.h"

struct work {
    struct buf body, canonical;
    struct fields fields;
    struct key_scope scope;
    struct key_maker *maker;
    struct recent *recent;
    struct trace *trace;
    struct digest key;
};

static void body_make(struct work *w, size_t bytes, size_t messages)
{
    buf_clear(&w->body);
    must(buf_addf(&w->body, "{\"model\":\"gpt-4o\",\"temperature\":0.5,\"messages\":[") == 0);
    for (size_t i = 0; i < messages; i++) {
        must(buf_addf(&w->body, "%s{\"role\":\"user\",\"content\":\"", i > 0 ? "," : "") == 0);
        for (size_t n = 0; n < bytes / messages; n += 10)
            must(buf_addf(&w->body, "some text ") == 0);
        must(buf_addf(&w->body, "\"}") == 0);
    }
    must(buf_addf(&w->body, "]}") == 0);
}

static void make(struct work *w, struct trace *trace)
{
    struct canon_facts facts;
    struct key_request r = {
        .scope = &w->scope,
        .namespace_ = SLICE("default"),
        .upstream = SLICE("default"),
        .operation = SLICE("chat"),
        .method = SLICE("POST"),
        .target = SLICE("/v1/chat/completions"),
        .fields = &w->fields,
        .body_kind = KEY_BODY_CANONICAL,
        .trace = trace,
    };

    buf_clear(&w->canonical);
    must(canon_json(buf_slice(&w->body), &dialect_of(OP_CHAT)->canon, &w->canonical, &facts, NULL) ==
         CANON_OK);
    r.body = buf_slice(&w->canonical);
    if (trace)
        trace_body(trace, r.body);
    w->key = key_make(w->maker, &r);
}

static void without(struct work *w)
{
    make(w, NULL);
}

static void with(struct work *w)
{
    struct trace *trace = malloc(sizeof(*trace));

    must(trace != NULL);
    trace_begin(trace, recent_secret(w->recent));
    make(w, trace);
    recent_add(w->recent, trace, &w->key, OP_CHAT, 0);
    free(trace);
}

static void find(struct work *w)
{
    struct recent_nearest nearest;

    must(recent_find(w->recent, w->trace, OP_CHAT, 0, &nearest));
}

int main(void)
{
    static const struct {
        size_t bytes, messages;
    } bodies[] = {{1000, 2}, {1000, 20}, {16000, 2}, {16000, 20}, {60000, 2}, {60000, 200}};
    static const char *const headers[] = {"Accept", "Authorization", "Content-Type", "OpenAI-Organization",
                                          "User-Agent"};
    struct header_table *table =
        header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    struct work w = {.body = BUF_INIT(1 << 20), .canonical = BUF_INIT(1 << 20), .maker = key_maker_new()};

    w.recent = recent_new(512);
    w.trace = malloc(sizeof(*w.trace));
    must(table && w.recent && w.trace);
    w.scope = (struct key_scope){.mode = KEY_SCOPE_CREDENTIAL, .secret = SLICE("secret")};
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        must(fields_add(&w.fields, slice_str(headers[i]), SLICE_OF("application/json")) == 0);
    fields_classify(&w.fields, table);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        double before, after;

        body_make(&w, bodies[i].bytes, bodies[i].messages);
        before = measure(&w, without);
        after = measure(&w, with);
        (void)printf("%6zu B, %3zu messages: %8.0f ns, with a trace %8.0f ns\n", bodies[i].bytes,
                     bodies[i].messages, before, after);
    }
    trace_begin(w.trace, recent_secret(w.recent));
    make(&w, w.trace);
    w.trace->leaves[0].value++; /* no equal one: all are looked at */
    (void)printf("nearest of 512: %.0f ns\n", measure(&w, find));
    buf_done(&w.body);
    buf_done(&w.canonical);
    free(w.trace);
    recent_free(w.recent);
    key_maker_free(w.maker);
    header_table_free(table);
    return 0;
}
