#include "upstream_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum {
    SPARE_MAX = 64,             /* calls kept for reuse, with their easy handles */
    IDLE_CONNECTIONS_MAX = 256, /* of one pool, over all origins */
    NUDGE_MS = 100,
    RESTARTS_MAX = 8, /* pooled connections found dead in a row before a call gives up */
};

static void pool_go_on(struct upstream_pool *p);

/* -- asking -- */

static void ask_turn(struct upstream_call *c)
{
    if (list_empty(&c->todo))
        list_push_back(&c->pool->starting, &c->todo);
    loop_soon(c->pool->loop, &c->pool->start);
}

static void ask_tick(struct upstream_call *c)
{
    struct upstream_pool *p = c->pool;

    if (list_empty(&c->todo))
        list_push_back(&p->todo, &c->todo);
    if (!loop_timer_active(p->tick))
        loop_timer_start(p->tick, 0, 0);
}

void call_judge(struct upstream_call *c, enum upstream_result verdict, const char *why)
{
    if (c->is_judged)
        return;
    c->is_judged = true;
    c->verdict = verdict;
    c->why = why;
}

static void ask_end(struct upstream_call *c, enum upstream_result verdict, const char *why)
{
    call_judge(c, verdict, why);
    c->want_end = true;
    ask_tick(c);
}

/* -- time -- */

static int64_t after(int64_t from, int64_t limit_ms)
{
    return limit_ms > 0 ? from + limit_ms : INT64_MAX;
}

/* When this call's present stage runs out of time; *@why says of what. INT64_MAX: never. */
static int64_t deadline_of(const struct upstream_call *c, const char **why)
{
    const struct upstream_conf *conf = c->origin->conf;
    int64_t total = after(c->started, conf->total_timeout_ms), stage = INT64_MAX;

    switch (c->stage) {
    case CALL_CONNECTING:
        stage = after(c->mark, conf->connect_timeout_ms);
        *why = "connect timeout";
        break;
    case CALL_SENDING: /* while our own client has nothing to send, upstream is not to blame */
        stage = c->send_paused ? INT64_MAX : after(c->mark, conf->idle_timeout_ms);
        *why = "upstream does not read the request";
        break;
    case CALL_WAITING_ANSWER:
        stage = after(c->mark, conf->first_byte_timeout_ms);
        *why = "first byte timeout";
        break;
    case CALL_ANSWERING: /* nor while nobody takes the bytes */
        stage = c->recv_paused ? INT64_MAX : after(c->mark, conf->idle_timeout_ms);
        *why = "idle timeout";
        break;
    case CALL_BACKING_OFF: /* never reached: the timer takes it up then */
    case CALL_WAITING_TURN:
    case CALL_ENDED:
        break;
    }
    if (total <= stage) {
        *why = "total timeout";
        return total;
    }
    return stage;
}

/* Seen with 8.14.1, one upload in a hundred: a stream that waited for window on a shared HTTP/2 connection is
 * not taken up again once there is some. So one that makes no progress is nudged: told to go on, though it
 * was not paused. */
static bool may_need_nudge(const struct upstream_call *c)
{
    return c->stage == CALL_SENDING && !c->send_paused && c->head.may_be_http2 && c->pool->multiplexes;
}

static int set_pauses(struct upstream_call *c)
{
    int held = (c->recv_paused ? CURLPAUSE_RECV : 0) | (c->send_paused ? CURLPAUSE_SEND : 0);

    return curl_easy_pause(c->easy, held) == CURLE_OK ? 0 : -EIO;
}

/* Arms the timer for the deadline. One that moved on meanwhile is left: the timer looks again when it fires.
 */
static void watch_time(struct upstream_call *c)
{
    const char *why;
    int64_t until = deadline_of(c, &why), now = loop_now_ms(c->pool->loop);

    if (c->stage == CALL_BACKING_OFF && until > c->again_at)
        until = c->again_at;
    if (may_need_nudge(c) && until > now + NUDGE_MS)
        until = now + NUDGE_MS;
    if (until == INT64_MAX || (c->armed_until && c->armed_until <= until))
        return;
    c->armed_until = until;
    loop_timer_start(c->timer, until > now ? until - now : 0, 0);
}

void call_take_a_breath(struct upstream_call *c)
{
    c->recv_paused = c->want_resume = true;
    ask_tick(c);
}

void call_enter(struct upstream_call *c, enum call_stage stage)
{
    c->stage = stage;
    call_touch(c);
    watch_time(c);
}

void call_touch(struct upstream_call *c)
{
    c->mark = loop_now_ms(c->pool->loop);
}

/* To the end of those who wait for their turn. */
static void call_queue(struct upstream_call *c)
{
    list_remove(&c->link);
    call_enter(c, CALL_WAITING_TURN);
    ask_turn(c);
}

static void on_call_timer(void *arg)
{
    struct upstream_call *c = arg;
    struct upstream_pool *p = c->pool;
    const char *why = "";

    c->armed_until = 0;
    if (deadline_of(c, &why) <= loop_now_ms(p->loop)) {
        ask_end(c, UPSTREAM_TIMEOUT, why);
        return;
    }
    if (c->stage == CALL_BACKING_OFF && c->again_at <= loop_now_ms(p->loop))
        call_queue(c);
    watch_time(c);
    if (may_need_nudge(c) && c->mark + NUDGE_MS <= loop_now_ms(p->loop)) {
        (void)set_pauses(c);
        pool_go_on(p); /* may end the call */
    }
}

/* -- origins -- */

/* "scheme://authority/prefix" → "/prefix" */
static struct slice path_of_url(const char *url)
{
    const char *authority = strstr(url, "://"), *path;

    path = strchr(authority ? authority + 3 : url, '/');
    return slice_str(path);
}

static bool is_scheme(const char *url, const char *scheme)
{
    return url && strncasecmp(url, scheme, strlen(scheme)) == 0;
}

static bool is_http_proxy(const char *proxy)
{
    return proxy && *proxy && (!strstr(proxy, "://") || is_scheme(proxy, "http"));
}

static struct origin *origin_ref(struct upstream_pool *p, const struct upstream_conf *conf)
{
    struct origin *o;

    LIST_FOR(it, &p->origins)
    {
        o = CONTAINER_OF(it, struct origin, link);
        if (o->conf == conf) {
            o->calls++;
            return o;
        }
    }
    o = calloc(1, sizeof(*o));
    if (!o)
        return NULL;
    o->conf = conf;
    o->prefix = path_of_url(conf->url);
    o->is_tls = is_scheme(conf->url, "https:");
    o->is_clear = !o->is_tls && !is_scheme(conf->proxy, "https:");
    o->absolute_target = !o->is_tls && is_http_proxy(conf->proxy);
    o->calls = 1;
    list_init(&o->waiting);
    list_push_back(&p->origins, &o->link);
    return o;
}

/* The configuration lives only as long as its calls: nothing of it is kept beyond them. */
static void origin_unref(struct origin *o)
{
    if (--o->calls > 0)
        return;
    list_remove(&o->link);
    free(o);
}

static bool origin_has_room(const struct origin *o)
{
    return o->conf->max_concurrent == 0 || o->running < o->conf->max_concurrent;
}

/* -- the life of a call -- */

static void call_free(struct upstream_call *c)
{
    if (!c)
        return;
    list_remove(&c->link);
    list_remove(&c->todo);
    loop_timer_free(c->timer);
    curl_easy_cleanup(c->easy);
    answer_head_done(&c->head);
    free(c->text);
    free(c->nodes);
    free(c);
}

static struct upstream_call *call_new(struct upstream_pool *p)
{
    struct upstream_call *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    list_init(&c->link);
    list_init(&c->todo);
    c->pool = p;
    answer_head_init(&c->head);
    c->timer = loop_timer_new(p->loop, on_call_timer, c);
    c->easy = curl_easy_init();
    if (!c->easy) {
        call_free(c);
        return NULL;
    }
    return c;
}

/* A call of an earlier request keeps what is dear to make: easy handle, timer, memory. All else is as new. */
static void call_clear(struct upstream_call *c)
{
    struct upstream_call kept = *c;

    memset(c, 0, offsetof(struct upstream_call, head));
    memset(&c->recv_paused, 0, sizeof(*c) - offsetof(struct upstream_call, recv_paused));
    list_init(&c->link);
    list_init(&c->todo);
    c->pool = kept.pool;
    c->easy = kept.easy;
    c->timer = kept.timer;
    c->text = kept.text;
    c->text_cap = kept.text_cap;
    c->nodes = kept.nodes;
    c->nodes_cap = kept.nodes_cap;
}

static struct upstream_call *call_take(struct upstream_pool *p)
{
    struct list *link = list_pop_front(&p->spare);

    if (!link)
        return call_new(p);
    p->spare_n--;
    return CONTAINER_OF(link, struct upstream_call, link);
}

/*
 * libcurl 7.88's curl_easy_reset forgets that a handle has sent trailers: the next chunked upload on it
 * leaves no room for its chunk sizes and writes them before its buffer. Such a handle is not used again.
 */
static bool was_chunked_upload(const struct upstream_call *c)
{
    return c->streamed && c->body_len < 0;
}

static void call_put_back(struct upstream_call *c)
{
    struct upstream_pool *p = c->pool;

    if (p->spare_n >= SPARE_MAX || p->is_closing || was_chunked_upload(c)) {
        call_free(c);
        return;
    }
    curl_easy_reset(c->easy);
    call_clear(c);
    list_push_front(&p->spare, &c->link); /* the one last used is the one in the CPU's cache */
    p->spare_n++;
}

static void origin_call_next(struct origin *o)
{
    if (!list_empty(&o->waiting) && origin_has_room(o))
        ask_turn(CONTAINER_OF(o->waiting.next, struct upstream_call, link));
}

static void call_begin(struct upstream_call *c)
{
    struct upstream_pool *p = c->pool;

    list_remove(&c->link);
    list_push_back(&p->running, &c->link);
    c->origin->running++;
    origin_call_next(c->origin);
    if (call_set_up(c) < 0 || curl_multi_add_handle(p->multi, c->easy) != CURLM_OK) {
        call_enter(c, CALL_CONNECTING);
        ask_end(c, UPSTREAM_UNREACHABLE, "no memory for the call");
        return;
    }
    c->in_multi = true;
    call_enter(c, CALL_CONNECTING);
}

static void leave_multi(struct upstream_call *c)
{
    if (c->in_multi)
        (void)curl_multi_remove_handle(c->pool->multi, c->easy);
    c->in_multi = false;
}

static bool is_running(const struct upstream_call *c)
{
    return c->stage != CALL_WAITING_TURN && c->stage != CALL_BACKING_OFF;
}

/* Takes the call out of everything, lets the next one have its turn, and tells the caller: the one place that
 * does. */
static void call_end(struct upstream_call *c, enum upstream_result result, const char *why)
{
    struct upstream_pool *p = c->pool;
    struct origin *o = c->origin;

    leave_multi(c);
    loop_timer_stop(c->timer);
    list_remove(&c->link);
    list_remove(&c->todo);
    if (is_running(c))
        o->running--;
    c->stage = CALL_ENDED;
    if (!p->is_closing)
        origin_call_next(o);
    p->active--;
    c->events.on_end(c->arg, result, result == UPSTREAM_OK ? "" : why);
    origin_unref(o);
    call_put_back(c);
}

/* -- one more try -- */

bool call_wants_again(struct upstream_call *c, enum upstream_result result, const char *why,
                      const struct fields *fields)
{
    unsigned status = result == UPSTREAM_OK ? c->head.status : 0;
    struct upstream_try t = {++c->tries, c->attempts > 0, result, status, fields, why};
    int64_t now = loop_now_ms(c->pool->loop), wait_ms;

    if (!c->events.on_tried || c->streamed || c->cancelled || c->pool->is_closing)
        return false;
    wait_ms = c->events.on_tried(c->arg, &t);
    c->wants_again = wait_ms >= 0;
    c->again_at = now + wait_ms;
    return c->wants_again;
}

/* What a try leaves behind is undone; the request, and the time it has had, stay. */
static void call_back_off(struct upstream_call *c)
{
    struct origin *o = c->origin;

    leave_multi(c);
    list_remove(&c->link);
    list_remove(&c->todo);
    if (is_running(c))
        o->running--;
    origin_call_next(o);
    list_push_back(&c->pool->running, &c->link); /* where whoever closes the pool finds it */
    c->wants_again = c->want_resume = c->want_send = c->want_end = false;
    c->recv_paused = c->send_paused = c->opened_socket = c->is_stale = c->is_judged = false;
    c->attempts = c->restarts = 0;
    c->body_read = c->body_got = c->sent = 0;
    c->error[0] = '\0';
    answer_head_begin(&c->head, c->head.may_be_http2);
    call_enter(c, CALL_BACKING_OFF);
}

/* A try that did not get as far as a head. */
static void call_came_to_nothing(struct upstream_call *c, enum upstream_result result, const char *why)
{
    bool may_go_on = result != UPSTREAM_OK && result != UPSTREAM_CANCELLED && !c->head_told &&
                     after(c->started, c->origin->conf->total_timeout_ms) > loop_now_ms(c->pool->loop);

    if (may_go_on && call_wants_again(c, result, why, NULL))
        call_back_off(c);
    else
        call_end(c, result, why);
}

/* -- what was asked -- */

static void take_turn(struct upstream_call *c)
{
    struct origin *o = c->origin;

    if (list_empty(&c->link))
        list_push_back(&o->waiting, &c->link);
    if (origin_has_room(o) && o->waiting.next == &c->link) /* first come, first served */
        call_begin(c);
}

/* Lifting a pause hands over, from inside this call, the bytes that were held back. */
static void lift_pauses(struct upstream_call *c)
{
    bool lift = (c->want_resume && c->recv_paused) || (c->want_send && c->send_paused);

    if (c->want_resume)
        c->recv_paused = false;
    if (c->want_send)
        c->send_paused = false;
    c->want_resume = c->want_send = false;
    if (!lift || !c->in_multi)
        return;
    call_touch(c);
    if (set_pauses(c) < 0)
        ask_end(c, c->head.complete ? UPSTREAM_CUT : UPSTREAM_PROTOCOL, "the transfer could not go on");
    watch_time(c);
}

static void do_asked(struct upstream_call *c)
{
    if (c->want_end)
        call_came_to_nothing(c, c->verdict, c->why);
    else if (c->stage == CALL_WAITING_TURN)
        take_turn(c);
    else
        lift_pauses(c);
}

static void do_all_asked(struct upstream_pool *p, struct list *asked)
{
    struct list batch;
    struct list *link;

    p->turns++;
    list_init(&batch);
    list_splice_back(&batch, asked); /* what is asked meanwhile waits for the next time */
    while ((link = list_pop_front(&batch)) != NULL)
        do_asked(CONTAINER_OF(link, struct upstream_call, todo));
    pool_go_on(p);
}

static void on_start(struct loop_soon *s)
{
    struct upstream_pool *p = CONTAINER_OF(s, struct upstream_pool, start);

    do_all_asked(p, &p->starting);
}

static void on_tick(void *arg)
{
    struct upstream_pool *p = arg;

    do_all_asked(p, &p->todo);
}

/* -- the library's side -- */

/* A pooled connection turned out dead before a byte was written: the call begins again on another. */
static bool call_restart(struct upstream_call *c)
{
    if (!c->is_stale || c->is_judged || ++c->restarts > RESTARTS_MAX)
        return false;
    leave_multi(c);
    c->is_stale = c->opened_socket = false;
    c->attempts = 0;
    c->error[0] = '\0';
    if (curl_multi_add_handle(c->pool->multi, c->easy) != CURLM_OK)
        return false;
    c->in_multi = true;
    return true;
}

static void collect_finished(struct upstream_pool *p)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(p->multi, &left)) != NULL) {
        CURLcode code = msg->data.result;
        struct upstream_call *c = NULL;
        enum upstream_result result;
        const char *why = "";

        (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &c);
        if (call_restart(c))
            continue;
        if (c->wants_again && !c->cancelled) {
            call_back_off(c);
            continue;
        }
        result = call_result(c, code, &why);
        call_came_to_nothing(c, result, why);
    }
}

/* Lets the library do what is due. */
static void pool_go_on(struct upstream_pool *p)
{
    int running;

    p->turns++;
    (void)curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect_finished(p);
}

static void on_curl_timer(void *arg)
{
    pool_go_on(arg);
}

static int set_curl_timer(CURLM *multi, long ms, void *arg)
{
    struct upstream_pool *p = arg;

    (void)multi;
    if (ms < 0)
        loop_timer_stop(p->curl_timer);
    else
        loop_timer_start(p->curl_timer, ms, 0);
    return 0;
}

void pool_on_ready(struct upstream_pool *p, int fd, int events)
{
    int mask = ((events & LOOP_READ) ? CURL_CSELECT_IN : 0) | ((events & LOOP_WRITE) ? CURL_CSELECT_OUT : 0);
    int running;

    p->turns++;
    (void)curl_multi_socket_action(p->multi, fd, mask, &running);
    collect_finished(p);
}

/* -- public -- */

/* Before 8.1.0 one paused HTTP/2 stream stalled all others of its connection once its 16 KiB were full, and
 * at times for ever: one slow client would have held up everybody. There each call has its connection for
 * itself while it runs. */
static bool can_multiplex(void)
{
    return curl_version_info(CURLVERSION_NOW)->version_num >= 0x080100;
}

struct upstream_pool *upstream_pool_new(struct loop *l)
{
    struct upstream_pool *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    list_init(&p->origins);
    list_init(&p->running);
    list_init(&p->starting);
    list_init(&p->todo);
    list_init(&p->spare);
    list_init(&p->connections);
    list_init(&p->start.link);
    p->start.on_soon = on_start;
    p->loop = l;
    p->multi = curl_multi_init();
    p->curl_timer = loop_timer_new(l, on_curl_timer, p);
    p->tick = loop_timer_new(l, on_tick, p);
    if (!p->multi) {
        upstream_pool_free(p);
        return NULL;
    }
    p->multiplexes = can_multiplex();
    (void)curl_multi_setopt(p->multi, CURLMOPT_PIPELINING,
                            (long)(p->multiplexes ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING));
    (void)curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, pool_on_socket);
    (void)curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    (void)curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, set_curl_timer);
    (void)curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    (void)curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS_MAX);
    return p;
}

static void cancel_all(struct upstream_pool *p)
{
    list_splice_back(&p->todo, &p->starting);
    LIST_FOR_SAFE(at, &p->todo)
    { /* those that had not yet been given a place */
        struct upstream_call *c = CONTAINER_OF(at, struct upstream_call, todo);

        if (list_empty(&c->link))
            list_push_back(&p->running, &c->link);
    }
    while (!list_empty(&p->origins)) {
        struct origin *o = CONTAINER_OF(p->origins.next, struct origin, link);

        list_splice_back(&p->running, &o->waiting);
        list_remove(&o->link); /* its last call frees it */
    }
    while (!list_empty(&p->running)) {
        struct upstream_call *c = CONTAINER_OF(p->running.next, struct upstream_call, link);

        call_judge(c, UPSTREAM_CANCELLED, "shutting down");
        call_end(c, c->verdict, c->why);
    }
}

void upstream_pool_free(struct upstream_pool *p)
{
    if (!p)
        return;
    p->is_closing = true;
    cancel_all(p);
    while (!list_empty(&p->spare))
        call_free(CONTAINER_OF(p->spare.next, struct upstream_call, link));
    (void)curl_multi_cleanup(p->multi); /* closes the pooled connections, through pool_on_socket_close */
    pool_socks_done(p);
    loop_soon_cancel(&p->start);
    loop_timer_free(p->curl_timer);
    loop_timer_free(p->tick);
    free(p);
}

struct upstream_call *upstream_start(struct upstream_pool *p, const struct upstream_conf *conf,
                                     const struct upstream_request *req, const struct upstream_events *events,
                                     void *arg)
{
    struct upstream_call *c = p->is_closing ? NULL : call_take(p);
    int r;

    if (!c)
        return NULL;
    c->origin = origin_ref(p, conf);
    r = c->origin ? call_take_request(c, req) : -ENOMEM;
    if (r == -ENOMEM) {
        if (c->origin)
            origin_unref(c->origin);
        c->origin = NULL;
        call_put_back(c);
        return NULL;
    }
    c->events = *events;
    c->arg = arg;
    p->active++;
    c->started = loop_now_ms(p->loop);
    call_enter(c, CALL_WAITING_TURN);
    if (r < 0)
        ask_end(c, UPSTREAM_PROTOCOL, "the request holds bytes that may not be sent");
    else
        ask_turn(c);
    return c;
}

void upstream_cancel(struct upstream_call *c)
{
    c->cancelled = true;
    if (c->stage != CALL_ENDED)
        ask_end(c, UPSTREAM_CANCELLED, "cancelled");
}

void upstream_resume(struct upstream_call *c)
{
    c->want_resume = true;
    if (c->stage != CALL_ENDED)
        ask_tick(c);
}

void upstream_body_ready(struct upstream_call *c)
{
    c->want_send = true;
    if (c->stage != CALL_ENDED)
        ask_tick(c);
}

size_t upstream_pool_active(const struct upstream_pool *p)
{
    return p->active;
}

bool upstream_ends_by_close(const struct upstream_call *c)
{
    return c->head.complete && answer_head_ends_by_close(&c->head, c->is_head);
}
