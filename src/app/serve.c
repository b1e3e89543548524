#include "serve.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "listener.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/base/process.h"
#include "refrain/http/limits.h"
#include "refrain/http/worker.h"
#include "refrain/ops/monitor.h"
#include "refrain/store/store_mem.h"
#include "serve_priv.h"
#include "watch.h"

enum {
    SWEEP_EVERY_MS = 100,
    SWEEP_BUDGET_US = 2000,
    YIELD_BY = 10, /* what the main thread is nicer than the others by: a tenth of a worker's weight */
};

/* -- signals -- */

static void on_all_drained(struct loop_msg *m)
{
    struct server *s = CONTAINER_OF(m, struct server, drained_msg);

    loop_stop(s->loop);
}

static void on_worker_drained(void *arg)
{
    struct server *s = arg;

    if (atomic_fetch_add(&s->drained, 1) + 1 == s->workers_n)
        loop_post(s->loop, &s->drained_msg);
}

static void on_deadline(void *arg)
{
    struct server *s = arg;

    log_event(LOG_WARN, "drain_cut_short", LOG_INT("connections", limits_connections(s->limits)));
    loop_stop(s->loop);
}

static void on_end_signal(void *arg, int signum)
{
    struct server *s = arg;

    if (s->draining) { /* asked twice: now */
        s->asked_twice = true;
        loop_stop(s->loop);
        return;
    }
    s->draining = true;
    log_event(LOG_INFO, "draining", LOG_STR("signal", signum == SIGTERM ? "SIGTERM" : "SIGINT"),
              LOG_INT("connections", limits_connections(s->limits)));
    listener_remove(s->begun_with->listen.address);
    s->drained_msg.on_msg = on_all_drained;
    for (size_t i = 0; i < s->workers_n; i++)
        worker_drain(s->workers[i], on_worker_drained, s);
    loop_timer_start(s->deadline, s->conf->listen.drain_timeout_ms, 0);
}

static void on_reload_signal(void *arg, int signum)
{
    (void)signum;
    serve_reload(arg);
}

static void on_log_signal(void *arg, int signum)
{
    (void)arg;
    (void)signum;
    serve_log_opened(log_reopen());
}

static int watch_signals(struct server *s)
{
    int r = loop_on_signal(s->loop, SIGTERM, on_end_signal, s);

    if (r == 0)
        r = loop_on_signal(s->loop, SIGINT, on_end_signal, s);
    if (r == 0)
        r = loop_on_signal(s->loop, SIGHUP, on_reload_signal, s);
    if (r == 0)
        r = loop_on_signal(s->loop, SIGUSR1, on_log_signal, s);
    return r;
}

/* Signals are the main thread's alone: @how is SIG_BLOCK or SIG_UNBLOCK, and threads inherit it. While parts
 * are taken down nobody listens for them any more; one that comes then, as from an impatient supervisor, must
 * not turn a clean end into a death by signal. */
static void set_signals(int how)
{
    sigset_t watched;

    (void)sigemptyset(&watched);
    (void)sigaddset(&watched, SIGTERM);
    (void)sigaddset(&watched, SIGINT);
    (void)sigaddset(&watched, SIGHUP);
    (void)sigaddset(&watched, SIGUSR1);
    (void)pthread_sigmask(how, &watched, NULL);
}

void serve_hold_signals(void)
{
    sigset_t held;

    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGHUP);
    (void)sigaddset(&held, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &held, NULL);
}

/* -- timers -- */

static void on_sweep(void *arg)
{
    struct server *s = arg;

    if (s->memory)
        (void)store_mem_sweep(s->memory, clock_wall_ms(), SWEEP_BUDGET_US);
    tiers_watch(s->store, &s->alerts, clock_mono_ms());
    serve_ledger_watch(s);
}

static void on_sample(void *arg)
{
    struct server *s = arg;

    monitor_sample(s->monitor, clock_wall_ms(), clock_mono_ms());
    watch_judge(s->watch, monitor_history(s->monitor), s->conf);
}

static void on_idle(void *arg)
{
    struct server *s = arg;

    admin_settle(s->admin);
    log_flush();
}

/* -- from start to end -- */

static void on_no_work(struct loop_work *w)
{
    (void)w;
}

/* Every other thread there will be: the workers, and the pool, which begins with its first work. Where they
 * want all the cores, who asks the admin listener waits, not who asks for answers; a core that is free is the
 * main thread's as ever. */
static int start_threads(struct server *s)
{
    int r = 0;

    set_signals(SIG_BLOCK);
    s->first_work = (struct loop_work){.on_work = on_no_work, .on_done = on_no_work};
    loop_work_start(s->loop, &s->first_work);
    for (size_t i = 0; r == 0 && i < s->workers_n; i++)
        r = worker_start(s->workers[i]);
    set_signals(SIG_UNBLOCK);
    process_thread_yield(YIELD_BY);
    return r;
}

static int start(struct server *s)
{
    AUTO(buf_done) struct buf proxy = BUF_INIT(256), admin = BUF_INIT(256);
    int r = serve_build(s, &proxy, &admin);

    if (r == 0)
        r = watch_signals(s);
    if (r < 0)
        return r;
    s->deadline = loop_timer_new(s->loop, on_deadline, s);
    s->sweep = loop_timer_new(s->loop, on_sweep, s);
    loop_timer_start(s->sweep, SWEEP_EVERY_MS, SWEEP_EVERY_MS);
    s->sample = loop_timer_new(s->loop, on_sample, s);
    loop_timer_start(s->sample, s->conf->monitoring.sample_every_ms, s->conf->monitoring.sample_every_ms);
    loop_on_idle(s->loop, on_idle, s);
    r = start_threads(s);
    if (r == 0)
        log_event(LOG_INFO, "listening", LOG_SLICE("proxy", buf_slice(&proxy)),
                  LOG_SLICE("admin", buf_slice(&admin)), LOG_INT("workers", s->workers_n),
                  LOG_STR("version", REFRAIN_VERSION));
    return r;
}

static void raise_descriptor_limit(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim); /* fewer connections then */
    }
}

int serve_run(const struct config *conf)
{
    struct server *s = calloc(1, sizeof(*s));
    int r = s ? log_open(&conf->log.conf) : -ENOMEM;

    if (!s)
        return 2;
    if (conf->redact.patterns.n > 0)
        serve_redact_begin(s, conf);
    s->conf = s->begun_with = conf;
    (void)signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    if (r < 0)
        serve_complain("log.file cannot be opened", conf->log.conf.file, r);
    else
        r = start(s);
    if (r == 0) {
        loop_run(s->loop);
        log_event(LOG_INFO, "stopped");
    }
    set_signals(SIG_BLOCK);
    serve_take_down(s);
    log_flush();
    serve_redact_end(s);
    log_close();
    free(s);
    return r < 0 ? 2 : 0;
}
