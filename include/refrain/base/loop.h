/*
 * loop - one libuv event loop: what a worker runs on. Timers, file descriptors, messages from other threads,
 * CPU work on the thread pool, signals. Hides libuv: no other header names it.
 *
 * Everything but loop_post and loop_stop is for the thread that runs the loop. A callback never fires before
 * the call that registered it returns.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/list.h"

struct loop;

/** A new loop, not yet running. NULL when the system is out of descriptors or memory. */
struct loop *loop_new(void);
/** Ends a loop that is not running: closes every timer and watcher left, runs messages still queued. NULL is
 * fine. */
void loop_free(struct loop *l);
/** Runs until loop_stop. */
void loop_run(struct loop *l);
/** Makes loop_run return after the callbacks under way. Threads: any. */
void loop_stop(struct loop *l);

/** Monotonic milliseconds, read once an iteration: free to call. */
int64_t loop_now_ms(const struct loop *l);

/* -- messages: the one way in from another thread -- */

/* Lies inside the object it concerns; may be posted again only once its callback has begun. */
struct loop_msg {
    struct loop_msg *next;
    void (*on_msg)(struct loop_msg *m);
};
/** Has @m->on_msg called on the loop's thread, in the order posted. Threads: any. Never blocks, never fails.
 */
void loop_post(struct loop *l, struct loop_msg *m);

/* -- what is to be done before the loop waits -- */

/* Lies inside the object it concerns; list_init(&link) before its first use. */
struct loop_soon {
    struct list link;
    void (*on_soon)(struct loop_soon *s);
};
/** Has @s->on_soon called once, from no other callback and before the loop waits for events again: no system
 * call, as a timer of no delay would take. What is asked for already stays as it is. Not called by a loop
 * that is freed. */
void loop_soon(struct loop *l, struct loop_soon *s);
/** Takes it back; where nothing is asked for, nothing happens. */
void loop_soon_cancel(struct loop_soon *s);

/* -- timers -- */

struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, void (*on_timer)(void *arg), void *arg);
/** Fires once after @delay_ms, then every @repeat_ms unless that is 0. Restarts a running timer. One that
 * starts itself again without a delay lets everything else have its turn in between. */
void loop_timer_start(struct loop_timer *t, int64_t delay_ms, int64_t repeat_ms);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_active(const struct loop_timer *t);
/** Stops it and frees it; its callback does not fire again. NULL is fine. */
void loop_timer_free(struct loop_timer *t);

/* -- descriptors -- */

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 };
struct loop_fd;
/** Watches @fd, which stays the caller's and must outlive the watch. NULL when the kernel refuses the
 * descriptor. */
struct loop_fd *loop_fd_new(struct loop *l, int fd, void (*on_fd)(void *arg, int events), void *arg);
/** Sets what is watched for (level triggered); 0 pauses. An error on the descriptor is reported as all of
 * @events. */
void loop_fd_watch(struct loop_fd *w, int events);
/** Ends the watch; its callback does not fire again. NULL is fine. */
void loop_fd_free(struct loop_fd *w);

/* -- work that would hold the loop -- */

/* Lies inside the object it concerns. on_work runs on the pool, then on_done on the loop; both exactly once.
 */
struct loop_work {
    void (*on_work)(struct loop_work *w);
    void (*on_done)(struct loop_work *w);
    struct loop *loop; /* set by loop_work_start */
    void *handle;
};
void loop_work_start(struct loop *l, struct loop_work *w);

/* -- signals -- */

/** Calls back on each @signum for as long as the loop lives. 0, or a negative errno. */
int loop_on_signal(struct loop *l, int signum, void (*on_signal)(void *arg, int signum), void *arg);

/** Calls back once before each wait for events; at most one such hook. For batching what an iteration
 * gathered. */
void loop_on_idle(struct loop *l, void (*on_prepare)(void *arg), void *arg);
