/* loop: messages arrive once and in order, work comes back, a hang-up is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "refrain/base/attr.h"
#include "refrain/base/loop.h"

enum { POSTERS = 4, EACH = 2000 };

struct counted {
    struct loop_msg msg;
    struct tally *tally;
    int poster, number;
};

struct tally {
    struct loop *loop;
    int seen, next[POSTERS];
    struct counted messages[POSTERS][EACH];
};

static void on_counted(struct loop_msg *m)
{
    struct counted *c = CONTAINER_OF(m, struct counted, msg);
    struct tally *t = c->tally;

    assert_int_equal(c->number, t->next[c->poster]);
    t->next[c->poster]++;
    if (++t->seen == POSTERS * EACH)
        loop_stop(t->loop);
}

static void *post_all(void *arg)
{
    struct counted *mine = arg;

    for (int i = 0; i < EACH; i++)
        loop_post(mine->tally->loop, &mine[i].msg);
    return NULL;
}

static void messages_of_each_thread_arrive_once_and_in_order(void **state)
{
    static struct tally t;
    pthread_t threads[POSTERS];

    (void)state;
    t.loop = loop_new();
    for (int p = 0; p < POSTERS; p++) {
        for (int i = 0; i < EACH; i++)
            t.messages[p][i] = (struct counted){{NULL, on_counted}, &t, p, i};
        assert_int_equal(pthread_create(&threads[p], NULL, post_all, t.messages[p]), 0);
    }
    loop_run(t.loop);
    for (int p = 0; p < POSTERS; p++)
        assert_int_equal(pthread_join(threads[p], NULL), 0);
    assert_int_equal(t.seen, POSTERS * EACH);
    loop_free(t.loop);
}

struct job {
    struct loop_work work;
    struct loop *loop;
    int value;
};

static void on_work(struct loop_work *w)
{
    CONTAINER_OF(w, struct job, work)->value = 41;
}

static void on_work_done(struct loop_work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);

    j->value++;
    loop_stop(j->loop);
}

static void work_runs_and_comes_back(void **state)
{
    struct job j = {.work = {.on_work = on_work, .on_done = on_work_done}, .loop = loop_new()};

    (void)state;
    loop_work_start(j.loop, &j.work);
    loop_run(j.loop);
    assert_int_equal(j.value, 42);
    loop_free(j.loop);
}

struct ends {
    struct loop *loop;
    int events, ticks;
};

static void on_fd(void *arg, int events)
{
    struct ends *e = arg;

    e->events = events;
    loop_stop(e->loop);
}

static void a_hang_up_is_seen_without_reading(void **state)
{
    struct ends e = {.loop = loop_new()};
    int pair[2];
    struct loop_fd *w;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    w = loop_fd_new(e.loop, pair[0], on_fd, &e);
    assert_non_null(w);
    loop_fd_watch(w, LOOP_HANGUP);
    close(pair[1]);
    loop_run(e.loop);
    assert_int_equal(e.events, LOOP_HANGUP);
    loop_fd_free(w);
    loop_free(e.loop);
    close(pair[0]);
}

static void on_tick(void *arg)
{
    struct ends *e = arg;

    if (++e->ticks == 3)
        loop_stop(e->loop);
}

static void a_timer_repeats_until_stopped(void **state)
{
    struct ends e = {.loop = loop_new()};
    struct loop_timer *t = loop_timer_new(e.loop, on_tick, &e);

    (void)state;
    loop_timer_start(t, 0, 1);
    assert_true(loop_timer_active(t));
    loop_run(e.loop);
    loop_timer_stop(t);
    assert_false(loop_timer_active(t));
    assert_int_equal(e.ticks, 3);
    loop_timer_free(t);
    loop_free(e.loop);
}

struct spinner {
    struct ends ends;
    struct loop_timer *t;
};

static void on_spin(void *arg)
{
    struct spinner *s = arg;

    if (++s->ends.ticks < 1000)
        loop_timer_start(s->t, 0, 0);
    else
        loop_stop(s->ends.loop);
}

static void a_timer_that_starts_itself_again_holds_up_nobody(void **state)
{
    struct spinner s = {.ends.loop = loop_new()};
    int pair[2];
    struct loop_fd *w;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    s.t = loop_timer_new(s.ends.loop, on_spin, &s);
    w = loop_fd_new(s.ends.loop, pair[0], on_fd, &s.ends);
    loop_fd_watch(w, LOOP_HANGUP);
    loop_timer_start(s.t, 0, 0);
    close(pair[1]);
    loop_run(s.ends.loop);
    assert_int_equal(s.ends.events, LOOP_HANGUP);
    assert_true(s.ends.ticks < 10);
    loop_fd_free(w);
    loop_timer_free(s.t);
    loop_free(s.ends.loop);
    close(pair[0]);
}

struct asked {
    struct ends ends;
    struct loop_soon soon, other;
    struct loop_timer *t;
    int again; /* asks for itself so often */
};

static void on_soon(struct loop_soon *s)
{
    struct asked *a = CONTAINER_OF(s, struct asked, soon);

    a->ends.ticks++;
    if (a->again-- > 0)
        loop_soon(a->ends.loop, s);
}

static void on_never(struct loop_soon *s)
{
    (void)s;
    fail_msg("was taken back");
}

static void on_ask(void *arg)
{
    struct asked *a = arg;

    loop_soon(a->ends.loop, &a->other);
    loop_soon(a->ends.loop, &a->soon);
    loop_soon(a->ends.loop, &a->soon);
    loop_soon_cancel(&a->other);
    assert_int_equal(a->ends.ticks, 0); /* not from inside the call */
}

/* The timer asks, and the next thing that the loop does is the descriptor, which ends it. */
static int asked_before_the_loop_waited(int again)
{
    struct asked a = {
        .ends.loop = loop_new(), .soon.on_soon = on_soon, .other.on_soon = on_never, .again = again};
    int pair[2];
    struct loop_fd *w;

    list_init(&a.soon.link);
    list_init(&a.other.link);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    a.t = loop_timer_new(a.ends.loop, on_ask, &a);
    w = loop_fd_new(a.ends.loop, pair[0], on_fd, &a.ends);
    loop_fd_watch(w, LOOP_HANGUP);
    loop_timer_start(a.t, 0, 0);
    close(pair[1]);
    loop_run(a.ends.loop);
    assert_int_equal(a.ends.events, LOOP_HANGUP);
    loop_soon_cancel(&a.soon);
    loop_fd_free(w);
    loop_timer_free(a.t);
    loop_free(a.ends.loop);
    close(pair[0]);
    return a.ends.ticks;
}

static void what_is_asked_for_soon_is_done_once_before_the_loop_waits(void **state)
{
    (void)state;
    assert_int_equal(asked_before_the_loop_waited(0), 1);
}

static void what_asks_for_itself_again_holds_up_nobody(void **state)
{
    (void)state;
    assert_in_range(asked_before_the_loop_waited(1000), 2, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_each_thread_arrive_once_and_in_order),
        cmocka_unit_test(work_runs_and_comes_back),
        cmocka_unit_test(a_hang_up_is_seen_without_reading),
        cmocka_unit_test(a_timer_repeats_until_stopped),
        cmocka_unit_test(a_timer_that_starts_itself_again_holds_up_nobody),
        cmocka_unit_test(what_is_asked_for_soon_is_done_once_before_the_loop_waits),
        cmocka_unit_test(what_asks_for_itself_again_holds_up_nobody),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
