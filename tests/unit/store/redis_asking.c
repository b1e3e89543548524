#include "redis_asking.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "refrain/base/clock.h"

enum { GIVE_UP_MS = 20 * 1000 };

static void on_state(void *arg, const struct redis_state *state)
{
    struct asking *a = arg;

    a->up = state->up;
    a->cause = state->cause;
    (void)snprintf(a->detail, sizeof(a->detail), "%s", state->detail);
    if (state->up)
        a->ups++;
    else
        a->downs++;
}

static void on_tick(void *arg)
{
    struct asking *a = arg;

    if (a->until(a->until_arg) || clock_mono_ms() > a->give_up_ms)
        loop_stop(a->loop);
}

void asking_init(struct asking *a, struct redis_conf conf)
{
    memset(a, 0, sizeof(*a));
    a->loop = loop_new();
    assert_non_null(a->loop);
    conf.on_state = on_state;
    conf.on_state_arg = a;
    a->redis = redis_new(a->loop, &conf);
    assert_non_null(a->redis);
    a->tick = loop_timer_new(a->loop, on_tick, a);
}

void asking_done(struct asking *a)
{
    redis_free(a->redis);
    loop_timer_free(a->tick);
    loop_free(a->loop);
}

void asking_run(struct asking *a, bool (*until)(void *arg), void *arg)
{
    a->until = until;
    a->until_arg = arg;
    a->give_up_ms = clock_mono_ms() + GIVE_UP_MS;
    loop_timer_start(a->tick, 0, 1);
    loop_run(a->loop);
    loop_timer_stop(a->tick);
    if (!until(arg))
        fail_msg("it did not become so in %d ms", GIVE_UP_MS);
}

static bool is_up(void *arg)
{
    const struct asking *a = arg;

    return a->up;
}

void asking_run_until_up(struct asking *a)
{
    asking_run(a, is_up, a);
}

struct downs {
    const struct asking *a;
    unsigned n;
};

static bool is_down(void *arg)
{
    const struct downs *d = arg;

    return !d->a->up && d->a->downs >= d->n;
}

void asking_run_until_down(struct asking *a, unsigned downs)
{
    struct downs d = {a, downs};

    asking_run(a, is_down, &d);
}

static void show(struct asked *q, const struct redis_reply *r)
{
    size_t at = strlen(q->text), room = sizeof(q->text) - at;

    switch (r->type) {
    case REDIS_NIL:
        (void)snprintf(q->text + at, room, "(nil)");
        break;
    case REDIS_INTEGER:
        (void)snprintf(q->text + at, room, "%lld", (long long)r->integer);
        break;
    case REDIS_ARRAY:
        (void)snprintf(q->text + at, room, "[");
        for (size_t i = 0; i < r->items_n; i++) {
            if (i > 0)
                (void)strncat(q->text, " ", sizeof(q->text) - strlen(q->text) - 1);
            show(q, r->items[i]);
        }
        (void)strncat(q->text, "]", sizeof(q->text) - strlen(q->text) - 1);
        break;
    default:
        (void)snprintf(q->text + at, room, "%.*s", (int)(r->text.len < room ? r->text.len : room),
                       r->text.data);
    }
}

static void on_reply(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct asked *q = CONTAINER_OF(call, struct asked, call);

    q->times++;
    q->why = why;
    assert_true((why == REDIS_REPLIED) == (reply != NULL));
    if (!reply) {
        (void)snprintf(q->text, sizeof(q->text), "%s", redis_why_name(why));
        return;
    }
    q->was_error = reply->type == REDIS_ERROR;
    if (reply->type == REDIS_TEXT)
        q->text_len = reply->text.len;
    if (q->wants_blob)
        q->taken = redis_reply_take(reply);
    show(q, reply);
}

void asked_start_at(struct asked *q, struct asking *a, uint32_t node, const char *line)
{
    struct slice rest;
    bool wants_blob = q->wants_blob;
    int64_t deadline_ms = q->call.deadline_ms;
    size_t n = 0;

    memset(q, 0, sizeof(*q));
    q->wants_blob = wants_blob;
    q->asking = a;
    (void)snprintf(q->line, sizeof(q->line), "%s", line);
    rest = slice_str(q->line);
    while (rest.data && n < ASKING_WORDS_MAX)
        q->argv[n++] = slice_cut(&rest, ' ');
    q->call.argv = q->argv;
    q->call.argc = n;
    q->call.node = node;
    q->call.key = n > 1 ? q->argv[1] : (struct slice){NULL, 0};
    q->call.on_reply = on_reply;
    q->call.deadline_ms = deadline_ms;
    redis_ask(a->redis, &q->call);
    assert_int_equal(q->times, 0); /* never within the call */
}

void asked_start(struct asked *q, struct asking *a, const char *line)
{
    asked_start_at(q, a, 0, line);
}

static bool came_back(void *arg)
{
    const struct asked *q = arg;

    return q->times > 0;
}

const char *asked_wait(struct asked *q)
{
    asking_run(q->asking, came_back, q);
    assert_int_equal(q->times, 1);
    return q->text;
}

const char *ask(struct asking *a, const char *line)
{
    static struct asked q;

    q.call.deadline_ms = 10 * 1000;
    asked_start(&q, a, line);
    return asked_wait(&q);
}
