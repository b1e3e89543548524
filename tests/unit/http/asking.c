#include "asking.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/clock.h"

static void on_watchdog(void *arg)
{
    (void)arg;
    fprintf(stderr, "the calls do not end\n");
    abort();
}

void asker_init(struct asker *k, const char *url)
{
    *k = (struct asker){.loop = loop_new()};
    k->pool = upstream_pool_new(k->loop);
    assert(k->pool);
    k->conf = (struct upstream_conf){
        .name = "test",
        .url = url,
        .connect_timeout_ms = 20000,
        .first_byte_timeout_ms = 20000,
        .idle_timeout_ms = 20000,
        .total_timeout_ms = 20000,
    };
    k->watchdog = loop_timer_new(k->loop, on_watchdog, k);
    loop_timer_start(k->watchdog, 30000, 0);
}

void asker_done(struct asker *k)
{
    upstream_pool_free(k->pool);
    loop_timer_free(k->watchdog);
    loop_free(k->loop);
}

static void settle(struct asker *k)
{
    if (--k->pending == 0)
        loop_stop(k->loop);
}

struct later {
    struct asker *k;
    struct loop_timer *timer;
    void (*fn)(void *arg);
    void *arg;
};

static void on_later(void *arg)
{
    struct later *l = arg;

    l->fn(l->arg);
    settle(l->k);
    loop_timer_free(l->timer);
    free(l);
}

void asker_later(struct asker *k, int64_t ms, void (*fn)(void *arg), void *arg)
{
    struct later *l = calloc(1, sizeof(*l));

    assert(l);
    *l = (struct later){k, loop_timer_new(k->loop, on_later, l), fn, arg};
    k->pending++;
    loop_timer_start(l->timer, ms, 0);
}

static void keep_fields(struct buf *out, const struct fields *fields)
{
    for (uint16_t i = 0; i < fields->n; i++) {
        const struct field *f = &fields->at[i];
        int r =
            buf_addf(out, "%.*s: %.*s\n", (int)f->name.len, f->name.data, (int)f->value.len, f->value.data);

        assert(r == 0);
    }
}

static void on_head(void *arg, unsigned status, const struct fields *fields)
{
    struct asked *a = arg;

    a->heads++;
    a->status = status;
    keep_fields(&a->fields, fields);
    a->by_close = upstream_ends_by_close(a->call);
    if (a->at_head)
        a->at_head(a);
}

static bool on_body(void *arg, struct slice bytes)
{
    struct asked *a = arg;

    if (a->at_body && !a->at_body(a, bytes))
        return false;
    return buf_add_slice(&a->body, bytes) == 0;
}

static void on_trailers(void *arg, const struct fields *fields)
{
    struct asked *a = arg;

    a->trailer_blocks++;
    keep_fields(&a->trailers, fields);
}

static void on_end(void *arg, enum upstream_result result, const char *why)
{
    struct asked *a = arg;

    a->ends++;
    a->result = result;
    a->ended_ms = loop_now_ms(a->by->loop);
    (void)snprintf(a->why, sizeof(a->why), "%s", why);
    if (a->at_end)
        a->at_end(a);
    settle(a->by);
}

static int64_t on_tried(void *arg, const struct upstream_try *t)
{
    struct asked *a = arg;

    return a->at_try(a, t);
}

void ask(struct asker *k, struct asked *a)
{
    struct upstream_events events = {on_head, on_body, on_trailers, on_end, a->at_try ? on_tried : NULL};

    a->by = k;
    a->fields.max = a->body.max = a->trailers.max = 64U << 20;
    a->started_ms =
        loop_now_ms(k->loop); /* deadlines are kept by the loop's clock, which stands still within a turn */
    k->pending++;
    a->call = upstream_start(k->pool, &k->conf, &a->req, &events, a);
    assert(a->call && a->ends == 0);
}

void asker_run(struct asker *k)
{
    loop_run(k->loop);
}

static void ask_next(struct asked *a)
{
    struct asked *next = a->arg;

    if (next)
        ask(a->by, next);
}

void ask_in_turn(struct asker *k, struct asked *a, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        a[i].at_end = ask_next;
        a[i].arg = &a[i + 1];
    }
    ask(k, &a[0]);
    asker_run(k);
}

void asked_done(struct asked *a)
{
    buf_done(&a->fields);
    buf_done(&a->body);
    buf_done(&a->trailers);
}

const char *text_of(struct buf *b)
{
    int r = buf_add_byte(b, '\0');

    assert(r == 0);
    b->len--;
    return b->data;
}
