/*
 * fetch - produces a flight: asks upstream once, for all its readers.
 *
 *   start ──► below memory ─┬─ found: the flight ends with it, everyone judges it for himself
 *                           └─ absent, or not asked:
 *   the other instances ─┬─ one of them asks: what it tells is the answer (fetch_fleet.c)
 *                        └─ this one does, or nobody can be heard:
 *             upstream ──head──► sort ─┬─ a stream: published at once, judged and stored at its end
 *                                      ├─ a whole answer: kept back; at its end judged, stored, published
 *                                      ├─ a 304 to what was asked about: the stored answer, brought up to
 *                                      │  date, stored anew and published with its bytes
 *                                      └─ not to be stored: published at once, flows through
 *
 * A fetch belongs to one loop and frees itself when upstream has said its last word, the verdict is in, and
 * no message of the flight is under way. Judging and storing are `keep`'s.
 *
 * Here it begins, feeds the flight, and ends. Beside it:
 *
 *   fetch_below.c  the tiers below memory, and the request that waits meanwhile
 *   fetch_fleet.c  the other instances
 *   fetch_head.c   what upstream's head comes to: who may have the answer, and what readers see of it
 *   fetch_news.c   what upstream's status tells besides: of targets, of credentials
 */
#include "refrain/http/fetch.h"

#include <errno.h>
#include <stdlib.h>

#include "fetch_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/recent.h"

bool fetch_is_storable(const struct fetch *x)
{
    return x->keep.reason == GATE_STORE;
}

void fetch_drop_about(struct fetch *x)
{
    if (x->about.entry)
        entry_ref_release(&x->about);
}

static void fetch_free(struct fetch *x)
{
    fetch_drop_about(x);
    fetch_drop_request(x);
    loop_timer_free(x->late);
    keep_done(&x->keep);
    if (x->upload) {
        upload_close(x->upload);
        upload_unref(x->upload);
    }
    limits_give_back(x->site->limits, x->body_charged);
    buf_done(&x->body);
    site_unref(x->site);
    free(x);
}

/* -- the end -- */

/* An answer to HEAD has nothing to store: that it is not is no news, unless it was to renew what is. */
static bool is_worth_storing(const struct fetch *x)
{
    return x->has_key && (!x->by_head || x->described);
}

void fetch_finish(struct fetch *x, enum flight_end how)
{
    struct flight *f = x->flight;

    if (x->keep.reason != GATE_STORE && is_worth_storing(x) && !x->led)
        metric_add1(x->counts, NOT_STORED, x->keep.reason, 1);
    if (is_worth_storing(x) && x->site->recent)
        recent_settled(x->site->recent, &x->keep.varying.common,
                       x->keep.reason == GATE_STORE ? NULL : gate_reason_name(x->keep.reason));
    fetch_tell_end(x, how);
    if (!x->led)
        flight_set_tokens(f, keep_tokens(&x->keep));
    x->flight = NULL;
    if (flight_end(f, how, x->keep.reason))
        fetch_free(x);
    /* otherwise on_flight_event is on its way, and frees it */
}

void fetch_fail(struct fetch *x, enum error_code code, const char *why, enum gate_reason reason)
{
    struct flight_head *head = flight_head_edit(x->flight);
    struct slice text = flight_keep(x->flight, slice_str(why));

    head->failed = true;
    head->error = code;
    head->error_text = text.data ? text.data : "";
    head->judged = true;
    keep_give_up(&x->keep, reason);
    head->reason = x->keep.reason;
    fetch_finish(x, FLIGHT_FAILED);
}

/* Upstream is not well, and is not to be asked. */
static void refuse(struct fetch *x, int64_t wait_ms)
{
    flight_head_edit(x->flight)->retry_after_s = (wait_ms + 999) / 1000;
    fetch_fail(x, ERR_CIRCUIT_OPEN, "upstream has been failing and is not asked for the moment",
               GATE_NO_ANSWER);
}

/* The verdict is in, and carried out: tell the readers. */
static void settle(struct fetch *x)
{
    if (x->keep.starved && x->reading) {
        fetch_finish(x, FLIGHT_CUT);
        return;
    }
    if (x->keep.starved) {
        fetch_fail(x, ERR_OVERLOADED, "too many bytes are waiting in the cache", GATE_MEMORY);
        return;
    }
    if (!x->reading) {
        struct flight_head *head = flight_head_edit(x->flight);

        head->judged = true;
        head->stored = x->keep.reason == GATE_STORE;
        head->reason = x->keep.reason;
        if (!x->described)
            head->body_len = (int64_t)flight_bytes(x->flight);
    }
    fetch_finish(x, FLIGHT_WHOLE);
}

static void on_settled(struct keep *k)
{
    settle(CONTAINER_OF(k, struct fetch, keep));
}

/* Ended without ever having been published: it was kept back, and cannot be stored after all. */
static void publish_late(struct fetch *x)
{
    if (x->reading)
        fetch_finish(x, FLIGHT_WHOLE);
    else
        settle(x);
}

void fetch_unstore_about(struct fetch *x)
{
    struct label label = label_of(x->about.entry);

    store_delete(x->site->store, &label);
}

/* What is known by the tag that was asked about is another thing upstream: what is stored is of no use, and
 * everyone starts over without it. */
static void start_over(struct fetch *x)
{
    fetch_unstore_about(x);
    fetch_finish(x, FLIGHT_IN_STORE);
}

static void ended_whole(struct fetch *x)
{
    if (x->lost) {
        start_over(x);
        return;
    }
    if (fetch_is_storable(x) && fetch_is_superseded(x))
        x->keep.reason = GATE_SUPERSEDED;
    if (x->described || flight_head(x->flight)->confirmed) {
        keep_confirm(&x->keep, x->about.entry, !x->described);
        return;
    }
    if (fetch_is_storable(x) && !flight_is_complete(x->flight))
        x->keep.reason = GATE_TOO_LARGE;
    if (fetch_is_storable(x))
        keep_settle(&x->keep);
    else
        publish_late(x);
}

/* -- readers -- */

void fetch_publish(struct fetch *x)
{
    x->reading = true;
    flight_publish(x->flight);
}

/* SDKs hang up at the terminal event; all is there then but the end of the chunks. */
static bool is_worth_finishing(const struct fetch *x)
{
    return fetch_is_storable(x) &&
           (x->unread || x->site->finish_abandoned || keep_has_whole_stream(&x->keep));
}

bool fetch_is_deserted(const struct fetch *x)
{
    return !is_worth_finishing(x) && !flight_is_read(x->flight);
}

/* Whether it is read elsewhere is for the other instances to say. */
static void give_up_unread(struct fetch *x)
{
    if (!flight_is_read(x->flight) && !fetch_ask_readers(x) && flight_close_abandoned(x->flight))
        upstream_cancel(x->call);
}

void fetch_pass_on(struct fetch *x, enum gate_reason reason)
{
    struct flight_head *head;

    x->keep.reason = reason;
    if (flight_is_alone(x->flight))
        flight_be_pipe(x->flight);
    if (x->reading)
        return;
    head = flight_head_edit(x->flight);
    head->judged = true;
    head->reason = reason;
    fetch_publish(x);
    give_up_unread(x); /* not for the store, and nobody else is there */
}

/* Those who wait longer than max_wait are not to depend on this call; its opener stays with it, and what
 * nobody waits for goes on for the store's sake, found by all so that it is not begun again. */
static void on_late(void *arg)
{
    struct fetch *x = arg;

    if (fetch_is_led(x)) {
        fetch_follow_late(x);
        return;
    }
    if (!x->call || (x->unread && !flight_is_read(x->flight)))
        return;
    loop_timer_stop(x->late);
    fetch_tell_off(x, RELAY_AGAIN);
    if (!flight_let_go(x->flight, FLIGHT_LET_LATE, clock_mono_ms()) && !is_worth_finishing(x))
        upstream_cancel(x->call);
}

void fetch_watch_lateness(struct fetch *x)
{
    if (!x->has_key || x->site->max_wait_ms <= 0)
        return;
    if (!x->late)
        x->late = loop_timer_new(x->loop, on_late, x);
    loop_timer_start(x->late, x->site->max_wait_ms, x->unread ? x->site->max_wait_ms : 0);
}

/* -- upstream's callbacks -- */

static const struct {
    enum error_code code;
    const char *text;
} failures[] = {
    [UPSTREAM_UNREACHABLE] = {ERR_UPSTREAM_UNREACHABLE, "upstream could not be reached"},
    [UPSTREAM_TIMEOUT] = {ERR_UPSTREAM_TIMEOUT, "upstream did not answer in time"},
    [UPSTREAM_PROTOCOL] = {ERR_UPSTREAM_PROTOCOL, "upstream did not answer in HTTP"},
    [UPSTREAM_CUT] = {ERR_UPSTREAM_PROTOCOL, "upstream's answer was cut short"},
    [UPSTREAM_CANCELLED] = {ERR_OVERLOADED, "the request was given up"},
    [UPSTREAM_OK] = {ERR_UPSTREAM_PROTOCOL, ""},
};

/* What speaks against storing an answer that did not come to its end. */
static enum gate_reason reason_of_failure(const struct fetch *x, enum upstream_result result)
{
    if (x->overloaded)
        return GATE_MEMORY;
    if (result == UPSTREAM_CANCELLED)
        return GATE_ABANDONED;
    return flight_head(x->flight)->status > 0 ? GATE_INCOMPLETE : GATE_NO_ANSWER;
}

/* The time that the whole would have taken, less that of the confirmation. */
static int64_t spared_ns(const struct fetch *x, int64_t took_ns)
{
    int64_t whole_ns;

    if (!x->about.entry || !flight_head(x->flight)->confirmed)
        return 0;
    whole_ns = (int64_t)x->about.entry->upstream_ms * 1000000;
    return whole_ns > took_ns ? whole_ns - took_ns : 0;
}

/* Upstream has said all that matters. */
static void note_answered(struct fetch *x)
{
    struct flight_times times = {.asked_ns = x->started_ns, .answered_ns = clock_mono_ns()};

    times.spared_ns = spared_ns(x, times.answered_ns - times.asked_ns);
    x->keep.answered_ns = times.answered_ns;
    flight_set_times(x->flight, &times);
}

static void on_end(void *arg, enum upstream_result result, const char *why)
{
    struct fetch *x = arg;

    if (x->late)
        loop_timer_stop(x->late);
    tries_end(&x->tries, result, why, x->first_byte_ns);
    note_answered(x);
    if (upstream_ends_by_close(x->call) && fetch_is_storable(x))
        x->keep.reason = GATE_BY_CLOSE;
    x->call = NULL;
    if (x->upload)
        upload_close(x->upload);
    if (x->refused_us) {
        fetch_fail(x, ERR_UPSTREAM_REFUSED_US, "upstream does not take the credential configured for it",
                   GATE_STATUS);
    } else if (result == UPSTREAM_OK) {
        ended_whole(x);
    } else if (x->reading) {
        keep_give_up(&x->keep, reason_of_failure(x, result));
        fetch_finish(x, FLIGHT_CUT); /* half an answer never ends cleanly */
    } else {
        fetch_fail(x, x->overloaded ? ERR_OVERLOADED : failures[result].code,
                   x->overloaded ? "too many bytes are waiting in the cache" : failures[result].text,
                   reason_of_failure(x, result));
    }
}

static bool on_body(void *arg, struct slice bytes)
{
    struct fetch *x = arg;
    bool at_end;
    int r;

    if (x->first_byte_ns == 0)
        x->first_byte_ns = clock_mono_ns();
    if (!flight_has_room(x->flight)) {
        x->paused = true;
        return false;
    }
    if (fetch_is_storable(x) && !x->reading &&
        flight_bytes(x->flight) + bytes.len > x->site->gate.object_bytes_max)
        fetch_pass_on(x, GATE_TOO_LARGE);
    at_end = keep_feed(&x->keep, bytes);
    r = flight_append(x->flight, bytes);
    if (at_end) {
        flight_set_tokens(x->flight, keep_tokens(&x->keep));
        note_answered(x);
        flight_mark_end(x->flight);
    }
    if (r < 0 && r != -EAGAIN) {
        x->overloaded = true;
        x->keep.reason = GATE_MEMORY;
        upstream_cancel(x->call);
    } else {
        fetch_tell_bytes(x, bytes);
    }
    return true;
}

static void on_trailers(void *arg, const struct fields *fields)
{
    fetch_take_trailers(arg, fields);
}

static int64_t on_tried(void *arg, const struct upstream_try *one)
{
    struct fetch *x = arg;
    int64_t wait_ms = tries_again(&x->tries, one);

    if (wait_ms >= 0)
        x->keep.asked_wall_ms =
            clock_wall_ms() + wait_ms; /* an answer's age counts from the try that brought it */
    return wait_ms;
}

static const struct upstream_events events = {fetch_on_head, on_body, on_trailers, on_end, on_tried};

/* -- the flight's and the upload's callbacks -- */

/* Everyone left before the search came back. */
static void give_up_below(struct fetch *x)
{
    fetch_drop_request(x);
    fetch_fail(x, ERR_OVERLOADED, "the request was given up", GATE_ABANDONED);
}

static void on_flight_event(struct flight_producer *p)
{
    struct fetch *x = CONTAINER_OF(p, struct fetch, producer);

    if (!x->flight) {
        fetch_free(x);
        return;
    }
    if (fetch_is_led(x)) {
        fetch_follow_on(x);
        return;
    }
    if (x->waiting) {
        if (!is_worth_finishing(x) && flight_close_abandoned(x->flight))
            give_up_below(x);
        return;
    }
    if (!x->call)
        return; /* upstream is done; the verdict is under way */
    if (x->paused && flight_has_room(x->flight)) {
        x->paused = false;
        upstream_resume(x->call);
    }
    if (!is_worth_finishing(x))
        give_up_unread(x);
}

static void on_upload_more(void *arg)
{
    struct fetch *x = arg;

    if (x->call)
        upstream_body_ready(x->call);
}

static int64_t read_upload(void *arg, char *buf, size_t cap)
{
    struct fetch *x = arg;

    return upload_take(x->upload, buf, cap);
}

static void read_upload_trailers(void *arg, void (*add)(void *add_arg, struct slice name, struct slice value),
                                 void *add_arg)
{
    struct fetch *x = arg;

    upload_trailers(x->upload, add, add_arg);
}

/* -- the beginning -- */

static void take_body(struct fetch *x, const struct fetch_spec *spec, struct upstream_request *req)
{
    req->has_body = spec->has_body;
    if (spec->upload) {
        x->upload = upload_ref(spec->upload);
        upload_on_more(x->upload, on_upload_more, x);
        req->body_len = spec->upload_len;
        req->read_body = read_upload;
        req->read_trailers = read_upload_trailers;
    } else if (spec->body) {
        x->body = *spec->body;
        x->body_charged = spec->body_charged;
        *spec->body = (struct buf){NULL, 0, 0, spec->body->max};
        req->body = buf_slice(&x->body);
        req->body_len = (int64_t)x->body.len;
    }
}

/* RFC 9111 section 3.5 knows of Authorization alone; to these APIs `x-api-key` and its like are the same, and
 * matter where callers are not parted by them already. */
static bool carries_authorization(const struct fetch_spec *spec)
{
    bool any = spec->scope->mode != KEY_SCOPE_CREDENTIAL;

    if (spec->upstream->conf.credential)
        return true;
    for (size_t i = 0; i < spec->fields_n; i++)
        if (field_id(&spec->fields[i]) == HEADER_AUTHORIZATION ||
            (any && (spec->fields[i].flags & HEADER_CREDENTIAL)))
            return true;
    return false;
}

static void begin_keeping(struct fetch *x, const struct fetch_spec *spec)
{
    x->keep = (struct keep){
        .flight = x->flight,
        .site = x->site,
        .loop = x->loop,
        .op = spec->op,
        .request_id = x->tries.request_id,
        .streamed = spec->streamed,
        .wants_json = spec->wants_json,
        .zero_usage = spec->zero_usage,
        .authorized = carries_authorization(spec),
        .route_ttl_s = spec->route_ttl_s,
        .heuristic = spec->heuristic,
        .finish_ttl_s = -1,
        .started_ns = x->started_ns,
        .asked_wall_ms = clock_wall_ms(),
        .scope = spec->scope,
        .read_only = spec->read_only,
        .breakers = spec->upstream->breakers,
        .reason = GATE_CLIENT,
        .on_settled = on_settled,
    };
    if (spec->about) {
        x->about = *spec->about;
        *spec->about = (struct entry_ref){0};
    }
    if (!spec->key)
        return;
    x->has_key = true;
    varying_begin(&x->keep.varying, x->site, spec->scope, spec->op, spec->key, spec->vary_id, spec->asked->at,
                  spec->asked->n);
    x->keep.reason = GATE_STORE;
    x->keep.namespace_ = flight_keep(x->flight, spec->namespace_);
    x->keep.model = flight_keep(x->flight, spec->model);
    if (spec->op == OP_READ)
        x->keep.target = changes_sum(&x->site->targets, slice_str(spec->upstream->conf.name), spec->target);
    x->keep.op_name = spec->op_name;
    x->keep.prompt = spec->prompt;
}

void fetch_ask_upstream(struct fetch *x, struct upstream_pool *pool, const struct upstream_request *req)
{
    struct flight_times times = {.asked_ns = clock_mono_ns()};
    int64_t wait_ms;

    x->started_ns = x->keep.started_ns = times.asked_ns;
    x->keep.asked_wall_ms = clock_wall_ms();
    flight_set_times(x->flight, &times);
    if (!tries_begin(&x->tries, &wait_ms)) {
        refuse(x, wait_ms);
        return;
    }
    fetch_watch_lateness(x);
    x->call = upstream_start(pool, &x->tries.upstream->conf, req, &events, x);
    if (!x->call) {
        tries_end(&x->tries, UPSTREAM_CANCELLED, "out of memory", 0);
        fetch_fail(x, ERR_OVERLOADED, "out of memory", GATE_MEMORY);
    }
}

static struct fetch *fetch_new(struct flight *f, const struct fetch_spec *spec)
{
    struct fetch *x = calloc(1, sizeof(*x));

    if (!x)
        abort(); /* a small fixed allocation */
    x->flight = f;
    x->producer = (struct flight_producer){.loop = spec->loop, .on_event = on_flight_event};
    x->loop = spec->loop;
    x->counts = spec->counts;
    x->site = site_ref(spec->site);
    x->unread = spec->unread;
    x->shows_ours = spec->upstream->conf.credential && !spec->anonymous;
    x->by_head = strcmp(spec->method, "HEAD") == 0;
    x->tries = (struct tries){
        .upstream = spec->upstream,
        .upstream_label = spec->upstream_label,
        .counts = spec->counts,
        .model = flight_keep(f, spec->model),
        .request_id = flight_keep(f, spec->request_id),
        .id = flight_id(f),
    };
    if (strcmp(spec->method, "OPTIONS") != 0) /* which servers answer before they look who asks */
        x->caller = spec->caller;
    if (!spec->key && method_is_unsafe(slice_str(spec->method))) /* a question to a model changes nothing */
        x->changes = flight_keep(f, spec->target);
    x->fleet = spec->fleet;
    x->started_ns = clock_mono_ns();
    begin_keeping(x, spec);
    return x;
}

void fetch_start(struct flight *f, const struct fetch_spec *spec)
{
    struct fetch *x = fetch_new(f, spec);
    struct upstream_request req = {.method = spec->method,
                                   .target = spec->target,
                                   .fields = spec->fields,
                                   .fields_n = spec->fields_n,
                                   .anonymous = spec->anonymous,
                                   .key_in_query = spec->key_in_query,
                                   .body_len = -1};

    take_body(x, spec, &req);
    flight_produce(f, &x->producer);
    if (!spec->look_below && !spec->fleet) {
        fetch_ask_upstream(x, spec->pool, &req);
        return;
    }
    fetch_wait(x, spec->pool, &req);
    if (spec->look_below)
        fetch_ask_below(x, spec);
    else
        fetch_elect(x);
}
