#include "refrain/base/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "refrain/base/attr.h"

/*
 * Handles are closed in two steps in libuv: uv_close, then a callback in a later iteration that may free the
 * memory. Every object here therefore frees itself from its close callback; to the caller it is gone at once.
 */
enum { TURNS_MAX = 16 }; /* of messages and hook, before anything else is looked at again */

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t prepare;
    void (*on_prepare)(void *arg);
    void *prepare_arg;
    _Atomic(struct loop_msg *) posted; /* newest first; taken whole */
    struct list soon;                  /* loop_soon.link */
    atomic_bool stopping;
    atomic_uintptr_t runner; /* who runs it, 0 when nobody does */
    bool in_timer;
    struct list
        due; /* timers of no delay, started by a timer: they fire once descriptors have had their turn */
};

struct loop_timer {
    uv_timer_t uv;
    struct loop *loop;
    struct list due; /* in loop->due */
    int64_t repeat_ms;
    void (*on_timer)(void *arg);
    void *arg;
};

struct loop_fd {
    uv_poll_t uv;
    void (*on_fd)(void *arg, int events);
    void *arg;
    int events;
};

struct signal_watch {
    uv_signal_t uv;
    void (*on_signal)(void *arg, int signum);
    void *arg;
};

static void must(int r)
{
    if (UNLIKELY(r < 0))
        abort(); /* out of memory in a fixed small allocation, or a bug of ours */
}

static void run_messages(struct loop *l)
{
    struct loop_msg *newest = atomic_exchange(&l->posted, NULL), *oldest = NULL;

    while (newest) {
        struct loop_msg *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct loop_msg *next = oldest->next; /* the callback may free or post it again */

        oldest->on_msg(oldest);
        oldest = next;
    }
}

static void run_soon(struct loop *l)
{
    struct list batch;
    struct list *link;

    list_init(&batch);
    list_splice_back(&batch, &l->soon); /* what is asked for meanwhile waits for the next turn */
    while ((link = list_pop_front(&batch)) != NULL) {
        struct loop_soon *s = CONTAINER_OF(link, struct loop_soon, link);

        s->on_soon(s);
    }
}

static bool has_more(const struct loop *l)
{
    return atomic_load(&l->posted) || !list_empty(&l->soon);
}

/* Any address of a thread's own tells it from all others that live. */
static uintptr_t this_thread(void)
{
    static _Thread_local char self;

    return (uintptr_t)&self;
}

static void on_uv_timer(uv_timer_t *uv)
{
    struct loop_timer *t = uv->data;
    struct loop *l = t->loop; /* the callback may free the timer */

    l->in_timer = true;
    t->on_timer(t->arg);
    l->in_timer = false;
}

static void start_due(struct loop *l)
{
    struct list *link;

    while ((link = list_pop_front(&l->due)) != NULL) {
        struct loop_timer *t = CONTAINER_OF(link, struct loop_timer, due);

        must(uv_timer_start(&t->uv, on_uv_timer, 0, (uint64_t)t->repeat_ms));
    }
}

/*
 * Before each wait: what the loop's own thread has posted or asked for, then the hook, until neither leaves
 * anything for the other. So a message to oneself costs no system call, and what the hook leads to need not
 * wait for another turn.
 */
static void on_uv_prepare(uv_prepare_t *uv)
{
    struct loop *l = uv->data;
    int turns = 0;

    start_due(l);
    do {
        run_messages(l);
        run_soon(l);
        if (l->on_prepare)
            l->on_prepare(l->prepare_arg);
    } while (has_more(l) && ++turns < TURNS_MAX);
    if (has_more(l))
        must(uv_async_send(&l->wake)); /* descriptors and timers get their turn first */
}

static void on_wake(uv_async_t *wake)
{
    struct loop *l = wake->data;

    run_messages(l);
    if (atomic_load(&l->stopping))
        uv_stop(&l->uv);
}

struct loop *loop_new(void)
{
    struct loop *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    if (uv_loop_init(&l->uv) < 0) {
        free(l);
        return NULL;
    }
    list_init(&l->due);
    list_init(&l->soon);
    must(uv_async_init(&l->uv, &l->wake, on_wake));
    l->wake.data = l;
    must(uv_prepare_init(&l->uv, &l->prepare));
    l->prepare.data = l;
    must(uv_prepare_start(&l->prepare, on_uv_prepare));
    return l;
}

static void free_handle(uv_handle_t *handle)
{
    free(handle); /* the handle is the first member of its object */
}

static void close_left(uv_handle_t *handle, void *arg)
{
    struct loop *l = arg;

    if (uv_is_closing(handle))
        return;
    if (handle == (uv_handle_t *)&l->wake || handle == (uv_handle_t *)&l->prepare)
        uv_close(handle, NULL);
    else
        uv_close(handle, free_handle);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    while (atomic_load(&l->posted))
        run_messages(l);
    uv_walk(&l->uv, close_left, l);
    while (uv_loop_close(&l->uv) == UV_EBUSY)
        (void)uv_run(&l->uv, UV_RUN_ONCE);
    free(l);
}

void loop_run(struct loop *l)
{
    atomic_store(&l->runner, this_thread());
    while (!atomic_exchange(&l->stopping, false)) /* taken back, so that it may run again */
        (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    atomic_store(&l->runner, 0);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stopping, true);
    must(uv_async_send(&l->wake));
}

int64_t loop_now_ms(const struct loop *l)
{
    return (int64_t)uv_now(&l->uv);
}

void loop_post(struct loop *l, struct loop_msg *m)
{
    struct loop_msg *head = atomic_load_explicit(&l->posted, memory_order_relaxed);

    do
        m->next = head;
    while (!atomic_compare_exchange_weak(&l->posted, &head, m));
    /*
     * The loop's own thread takes the queue before it waits. A queue that was not empty may have been begun
     * by it, so another thread cannot rely on somebody having woken the loop; to wake it twice costs little.
     */
    if (atomic_load(&l->runner) != this_thread())
        must(uv_async_send(&l->wake));
}

void loop_soon(struct loop *l, struct loop_soon *s)
{
    if (list_empty(&s->link))
        list_push_back(&l->soon, &s->link);
}

void loop_soon_cancel(struct loop_soon *s)
{
    list_remove(&s->link);
}

struct loop_timer *loop_timer_new(struct loop *l, void (*on_timer)(void *arg), void *arg)
{
    struct loop_timer *t = calloc(1, sizeof(*t));

    must(t ? uv_timer_init(&l->uv, &t->uv) : -ENOMEM);
    t->uv.data = t;
    t->loop = l;
    list_init(&t->due);
    t->on_timer = on_timer;
    t->arg = arg;
    return t;
}

void loop_timer_start(struct loop_timer *t, int64_t delay_ms, int64_t repeat_ms)
{
    assert(delay_ms >= 0 && repeat_ms >= 0);
    list_remove(&t->due);
    t->repeat_ms = repeat_ms;
    /* Before 1.45 libuv runs it in the same pass, so that one which starts itself again holds up all else. */
    if (delay_ms == 0 && t->loop->in_timer) {
        must(uv_timer_stop(&t->uv));
        list_push_back(&t->loop->due, &t->due);
        return;
    }
    must(uv_timer_start(&t->uv, on_uv_timer, (uint64_t)delay_ms, (uint64_t)repeat_ms));
}

void loop_timer_stop(struct loop_timer *t)
{
    list_remove(&t->due);
    must(uv_timer_stop(&t->uv));
}

bool loop_timer_active(const struct loop_timer *t)
{
    return !list_empty(&t->due) || uv_is_active((const uv_handle_t *)&t->uv) != 0;
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    list_remove(&t->due);
    must(uv_timer_stop(&t->uv));
    uv_close((uv_handle_t *)&t->uv, free_handle);
}

static void on_uv_poll(uv_poll_t *uv, int status, int events)
{
    struct loop_fd *w = uv->data;
    int got = 0;

    if (status < 0) {
        got = w->events;
    } else {
        if (events & (UV_READABLE | UV_PRIORITIZED))
            got |= LOOP_READ;
        if (events & UV_WRITABLE)
            got |= LOOP_WRITE;
        if (events & UV_DISCONNECT)
            got |= LOOP_HANGUP;
    }
    got &= w->events;
    if (got)
        w->on_fd(w->arg, got);
}

struct loop_fd *loop_fd_new(struct loop *l, int fd, void (*on_fd)(void *arg, int events), void *arg)
{
    struct loop_fd *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    if (uv_poll_init(&l->uv, &w->uv, fd) < 0) {
        free(w);
        return NULL;
    }
    w->uv.data = w;
    w->on_fd = on_fd;
    w->arg = arg;
    return w;
}

void loop_fd_watch(struct loop_fd *w, int events)
{
    int uv = 0;

    if (w->events == events)
        return;
    w->events = events;
    if (events & LOOP_READ)
        uv |= UV_READABLE;
    if (events & LOOP_WRITE)
        uv |= UV_WRITABLE;
    if (events & LOOP_HANGUP)
        uv |= UV_DISCONNECT;
    must(uv ? uv_poll_start(&w->uv, uv, on_uv_poll) : uv_poll_stop(&w->uv));
}

void loop_fd_free(struct loop_fd *w)
{
    if (!w)
        return;
    must(uv_poll_stop(&w->uv));
    uv_close((uv_handle_t *)&w->uv, free_handle);
}

static void on_pool(uv_work_t *req)
{
    struct loop_work *w = req->data;

    w->on_work(w);
}

static void on_pool_done(uv_work_t *req, int status)
{
    struct loop_work *w = req->data;

    (void)status; /* nothing cancels work */
    free(req);
    w->handle = NULL;
    w->on_done(w);
}

void loop_work_start(struct loop *l, struct loop_work *w)
{
    uv_work_t *req = calloc(1, sizeof(*req));

    must(req ? 0 : -ENOMEM);
    req->data = w;
    w->loop = l;
    w->handle = req;
    must(uv_queue_work(&l->uv, req, on_pool, on_pool_done));
}

static void on_uv_signal(uv_signal_t *uv, int signum)
{
    struct signal_watch *s = uv->data;

    s->on_signal(s->arg, signum);
}

int loop_on_signal(struct loop *l, int signum, void (*on_signal)(void *arg, int signum), void *arg)
{
    struct signal_watch *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    must(uv_signal_init(&l->uv, &s->uv));
    s->uv.data = s;
    s->on_signal = on_signal;
    s->arg = arg;
    r = uv_signal_start(&s->uv, on_uv_signal, signum);
    if (r < 0)
        uv_close((uv_handle_t *)&s->uv, free_handle);
    return r; /* libuv's errors are negative errnos on Linux */
}

void loop_on_idle(struct loop *l, void (*on_prepare)(void *arg), void *arg)
{
    assert(!l->on_prepare);
    l->on_prepare = on_prepare;
    l->prepare_arg = arg;
}
