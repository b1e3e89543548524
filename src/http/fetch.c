#include "refrain/http/fetch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "fetch_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/http/recent.h"
#include "refrain/store/instances.h"
#include "refrain/wire/httpdate.h"
#include "revalidate.h"

/*
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
 */

/* It has a key, and nothing has spoken against storing yet. */
static bool is_storable(const struct fetch *x)
{
    return x->keep.reason == GATE_STORE;
}

static void about_drop(struct fetch *x)
{
    if (x->about.entry)
        entry_ref_release(&x->about);
}

void fetch_drop_request(struct fetch *x)
{
    if (x->below)
        store_search_cancel(&x->below->search);
    free(x->below);
    x->below = NULL;
}

static void fetch_free(struct fetch *x)
{
    about_drop(x);
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

/* In every tier. */
static void drop_about_in_store(struct fetch *x)
{
    struct label label = label_of(x->about.entry);

    store_delete(x->site->store, &label);
}

/* What is known by the tag that was asked about is another thing upstream: what is stored is of no use, and
 * everyone starts over without it. */
static void start_over(struct fetch *x)
{
    drop_about_in_store(x);
    fetch_finish(x, FLIGHT_IN_STORE);
}

static void ended_whole(struct fetch *x)
{
    if (x->lost) {
        start_over(x);
        return;
    }
    if (is_storable(x) && fetch_is_superseded(x))
        x->keep.reason = GATE_SUPERSEDED;
    if (x->described || flight_head(x->flight)->confirmed) {
        keep_confirm(&x->keep, x->about.entry, !x->described);
        return;
    }
    if (is_storable(x) && !flight_is_complete(x->flight))
        x->keep.reason = GATE_TOO_LARGE;
    if (is_storable(x))
        keep_settle(&x->keep);
    else
        publish_late(x);
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
    if (upstream_ends_by_close(x->call) && is_storable(x))
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

void fetch_publish(struct fetch *x)
{
    x->reading = true;
    flight_publish(x->flight);
}

/* Whether it is read elsewhere is for the other instances to say. */
static void give_up_unread(struct fetch *x)
{
    if (!flight_is_read(x->flight) && !fetch_ask_readers(x) && flight_close_abandoned(x->flight))
        upstream_cancel(x->call);
}

/* From here on it is known that the answer will not be stored, so there is no reason to hold it back. */
static void pass_on(struct fetch *x, enum gate_reason reason)
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

static bool head_copy(struct fetch *x, struct flight_head *head, const struct fields *fields)
{
    for (size_t i = 0; i < fields->n; i++) {
        struct slice name = flight_keep(x->flight, fields->at[i].name);
        struct slice value = flight_keep(x->flight, fields->at[i].value);

        if (!name.data || !value.data || fields_add(&head->fields, name, value) < 0)
            return false;
    }
    fields_classify_response(&head->fields, x->site->headers);
    fresh_withhold(&head->fields);
    return true;
}

/* What we say ourselves in upstream's place: which cache answered and, where the tag is the entry's id, the
 * tag. */
static bool is_said_by_us(const struct fetch *x, const struct field *f)
{
    if (slice_ieq(f->name, SLICE_OF("X-Cache")) || slice_ieq(f->name, SLICE_OF("X-Cache-Hits")))
        return true;
    return x->has_key && x->keep.op != OP_READ && field_id(f) == HEADER_ETAG;
}

static void drop_fields_of_the_hop(const struct fetch *x, struct fields *f)
{
    uint16_t kept = 0;

    for (uint16_t i = 0; i < f->n; i++)
        if ((f->at[i].flags & (HEADER_HOP | HEADER_FRAMING | HEADER_OURS)) == 0 &&
            !is_said_by_us(x, &f->at[i]))
            f->at[kept++] = f->at[i];
    f->n = kept;
}

/* RFC 9110 section 6.6.1: who receives an answer without Date adds when it came. */
static void add_date(struct fetch *x, struct flight_head *head)
{
    char date[HTTPDATE_LEN + 1];
    struct slice kept;

    if (fields_find_id(&head->fields, HEADER_DATE))
        return;
    httpdate_write(x->keep.head_wall_ms / 1000, date);
    kept = flight_keep(x->flight, slice_str(date));
    if (kept.data && fields_add(&head->fields, SLICE_OF("Date"), kept) == 0)
        head->fields.at[head->fields.n - 1].flags = HEADER_DATE;
}

/* RFC 9111 section 4.4. */
static void note_change(const struct fetch *x, unsigned status, const struct fields *fields)
{
    const struct upstream_conf *upstream = &x->tries.upstream->conf;
    struct changes_place place = {slice_str(upstream->name), slice_str(upstream->url), x->changes};
    uint64_t changed[CHANGES_MAX];
    size_t n;

    if (x->changes.len == 0 || status < 200 || status >= 400)
        return;
    n = changes_of(&x->site->targets, &place, fields, changed);
    for (size_t i = 0; i < n; i++) {
        invalidate_target(x->site->invalidator, changed[i], flights_seq(x->site->flights));
        instances_note_target(x->site->instances, changed[i]);
    }
}

/* A redirect may lead to a login. */
static bool is_success(unsigned status)
{
    return status / 100 == 2 || status == 304;
}

/* 403 is about what was asked for, not about who asked. */
static void note_proof(const struct fetch *x, unsigned status)
{
    struct proofs *proofs = x->site->proofs;
    const char *news = NULL;

    if (x->caller == 0)
        return;
    if (status == 401 && proofs_refused(proofs, x->caller, clock_mono_ns())) {
        news = "credential_suspended";
        instances_note_refused(x->site->instances, x->caller); /* it has hits at others, too */
    } else if (is_success(status) &&
               proofs_accepted(proofs, x->caller, x->started_ns, x->site->reauth_ns > 0))
        news = "credential_restored";
    if (news)
        log_event(LOG_INFO, news, LOG_STR("upstream", x->tries.upstream->conf.name),
                  LOG_STR("flight", flight_id(x->flight)));
}

/* Nobody here but the operator can do anything about it, and what upstream says of a key may quote it: a 401
 * that is about our own credential is not passed on. false: it is one. */
static bool takes_ours(struct fetch *x, unsigned status)
{
    const struct site_upstream *u = x->tries.upstream;
    bool before;

    if (!x->shows_ours || (status != 401 && !is_success(status)))
        return true;
    before = atomic_load_explicit(u->refused_us, memory_order_relaxed);
    if (before != (status == 401) && atomic_exchange(u->refused_us, status == 401) == before)
        log_event(status == 401 ? LOG_ERROR : LOG_INFO,
                  status == 401 ? "upstream_credential_refused" : "upstream_credential_accepted",
                  LOG_STR("upstream", u->conf.name),
                  LOG_STR("what_to_do", status == 401 ? "mend upstreams.NAME.credential and reload" : NULL));
    x->refused_us = status == 401;
    return !x->refused_us;
}

static void add_tag(struct fetch *x, struct flight_head *head)
{
    char tag[ENTRY_ID_LEN + 3] = "\"";
    struct slice kept;

    memcpy(tag + 1, flight_id(x->flight), ENTRY_ID_LEN);
    memcpy(tag + 1 + ENTRY_ID_LEN, "\"", 2);
    kept = flight_keep(x->flight, slice_str(tag));
    if (kept.data && fields_add(&head->fields, SLICE_OF("ETag"), kept) == 0)
        head->fields.at[head->fields.n - 1].flags = HEADER_ETAG;
}

/* May others have what this one is about to get? false: the call was given up. */
static bool keep_company(struct fetch *x, unsigned status, bool unshareable)
{
    bool unproven = x->keep.scope->mode != KEY_SCOPE_CREDENTIAL && (status == 401 || status == 403);
    bool kept = unshareable && is_storable(x);

    if (!unshareable && !unproven)
        return true;
    fetch_tell_off(x, unshareable ? RELAY_UNSHAREABLE : RELAY_ALONE);
    if (flight_let_go(x->flight,
                      kept          ? FLIGHT_LET_KEPT
                      : unshareable ? FLIGHT_LET_UNSHAREABLE
                                    : FLIGHT_LET_ONCE,
                      clock_mono_ms()))
        return true;
    if (x->unread && kept)
        return true;
    upstream_cancel(x->call);
    return false;
}

/* Those whom Vary tells from the opener go their own way. An error of a sick upstream is for all, whatever it
 * says it varies by: they would only make it sicker (SPEC section 7). false: the call was given up. */
static bool tell_apart(struct fetch *x, unsigned status)
{
    const struct flight_split *before = flight_varies_by(x->flight);
    struct flight_split split;

    if (status >= 500 || status == 429 ||
        !varying_head(&x->keep.varying, x->site, x->keep.op, &flight_head(x->flight)->fields,
                      x->keep.head_wall_ms, &split))
        return true;
    /* Readers were told by what another instance said, which then was gone. */
    if (before && digest_eq(&before->key, &split.key) && slice_eq(before->names, split.names))
        return true;
    if (before ? flight_let_go(x->flight, FLIGHT_LET_ONCE, clock_mono_ms()) : flight_vary(x->flight, &split))
        return true;
    x->overloaded = !before;
    upstream_cancel(x->call);
    return false;
}

/* SDKs hang up at the terminal event; all is there then but the end of the chunks. */
static bool worth_finishing(const struct fetch *x)
{
    return is_storable(x) && (x->unread || x->site->finish_abandoned || keep_has_whole_stream(&x->keep));
}

bool fetch_is_deserted(const struct fetch *x)
{
    return !worth_finishing(x) && !flight_is_read(x->flight);
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
    if (!flight_let_go(x->flight, FLIGHT_LET_LATE, clock_mono_ms()) && !worth_finishing(x))
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

/* The stored head becomes the flight's, brought up to date by what has come. false: memory ran out. */
static bool merge(struct fetch *x)
{
    x->overloaded = !revalidate_merge(x->flight, x->about.entry, x->site->headers);
    if (x->overloaded)
        upstream_cancel(x->call);
    return !x->overloaded;
}

/* What upstream says to HEAD of what is stored as GET's: brings it up to date, or tells that it is no more
 * (RFC 9111 section 4.3.5). */
static bool take_description(struct fetch *x, unsigned status)
{
    struct flight_head *head = flight_head_edit(x->flight);
    int64_t length = head->body_len;
    enum valid_description told =
        status == x->about.entry->status ? revalidate_describes(x->about.entry, head) : VALID_UNTOLD;
    bool ok;

    x->described = told == VALID_DESCRIBES;
    if (x->described) {
        ok = merge(x);
        head->confirmed = false; /* it is upstream's answer all the same */
        head->body_len = length;
        return ok;
    }
    if (told == VALID_DIFFERS)
        drop_about_in_store(x);
    about_drop(x);
    keep_give_up(&x->keep, GATE_CLIENT); /* there is no body to store */
    return true;
}

/* Upstream has answered what it was asked about. false: nothing can come of it. */
static bool take_answer(struct fetch *x, unsigned status)
{
    struct valid_tags answer, stored;

    if (!x->about.entry)
        return true;
    if (x->by_head)
        return take_description(x, status);
    if (status != 304) {
        about_drop(x);
        return true;
    }
    valid_tags_read(&flight_head(x->flight)->fields, &answer);
    revalidate_tags(x->about.entry, &stored);
    x->lost = !valid_confirms(&answer, &stored);
    if (x->lost)
        return false;
    return merge(x);
}

/* Who is alone is asked nothing about variants; but what is stored for him may be one. */
static void keep_apart(struct fetch *x)
{
    struct flight_split split;

    if (is_storable(x))
        (void)varying_head(&x->keep.varying, x->site, x->keep.op, &flight_head(x->flight)->fields,
                           x->keep.head_wall_ms, &split);
}

/* false: nothing more can come of it. */
static bool take_head(struct fetch *x, unsigned status, const struct fields *fields)
{
    struct flight_head *head = flight_head_edit(x->flight);

    x->keep.head_wall_ms = clock_wall_ms();
    if (x->late)
        loop_timer_stop(x->late);
    head->status = status;
    tries_head(&x->tries, status);
    if (!takes_ours(x, status)) {
        upstream_cancel(x->call);
        return false;
    }
    note_proof(x, status);
    if (!head_copy(x, head, fields)) {
        x->overloaded = true;
        upstream_cancel(x->call);
        return false;
    }
    note_change(x, status, &head->fields);
    head->body_len = fields_content_length(&head->fields);
    return take_answer(x, status);
}

static void on_head(void *arg, unsigned status, const struct fields *fields)
{
    struct fetch *x = arg;
    struct flight_head *head = flight_head_edit(x->flight);
    bool alone = flight_is_alone(x->flight), storable, unshareable, stream;
    enum gate_reason reason;

    if (!take_head(x, status, fields))
        return;
    storable = is_storable(x);
    reason = keep_head(&x->keep, head->body_len);
    unshareable = !alone && !keep_is_shareable(&x->keep);
    if (alone)
        keep_apart(x);
    else if (!(keep_company(x, head->status, unshareable) && tell_apart(x, head->status)))
        return;
    stream = storable && !unshareable && keep_is_stream(&x->keep);
    drop_fields_of_the_hop(x, &head->fields);
    add_date(x, head);
    if (keep_makes_tag(&x->keep))
        add_tag(x, head);
    if (stream) {
        head->stream = true;
        keep_follow(&x->keep);
    }
    fetch_tell_head(x);
    if (reason != GATE_STORE)
        pass_on(x, reason);
    else if (stream)
        fetch_publish(x);
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
    if (is_storable(x) && !x->reading && flight_bytes(x->flight) + bytes.len > x->site->gate.object_bytes_max)
        pass_on(x, GATE_TOO_LARGE);
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
    struct fetch *x = arg;
    struct fields *to = flight_trailers_edit(x->flight);

    for (size_t i = 0; to && i < fields->n; i++) {
        struct slice name = flight_keep(x->flight, fields->at[i].name);
        struct slice value = flight_keep(x->flight, fields->at[i].value);

        if (name.data && value.data && header_flags(x->site->headers, name) == 0)
            (void)fields_add(to, name, value);
    }
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

static const struct upstream_events events = {on_head, on_body, on_trailers, on_end, on_tried};

/* -- below memory -- */

/* Everyone left before the search came back. */
static void give_up_below(struct fetch *x)
{
    fetch_drop_request(x);
    fetch_fail(x, ERR_OVERLOADED, "the request was given up", GATE_ABANDONED);
}

/* -- the flight's and the upload's callbacks -- */

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
    if (x->below) {
        if (!worth_finishing(x) && flight_close_abandoned(x->flight))
            give_up_below(x);
        return;
    }
    if (!x->call)
        return; /* upstream is done; the verdict is under way */
    if (x->paused && flight_has_room(x->flight)) {
        x->paused = false;
        upstream_resume(x->call);
    }
    if (!worth_finishing(x))
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

/* -- upstream, at once or after the tiers below memory -- */

static void ask_upstream(struct fetch *x, struct upstream_pool *pool, const struct upstream_request *req)
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

void fetch_ask_waiting(struct fetch *x)
{
    struct below *b = x->below;

    x->below = NULL;
    ask_upstream(x, b->pool, &b->request);
    free(b);
}

/* Memory may have the same, or a younger one: that has been judged. */
static bool is_news(const struct below *b)
{
    const struct entry_ref *found = &b->search.found;

    if (found->entry->started_seq != b->known_seq)
        return found->entry->started_seq > b->known_seq;
    return found->expires_ms > b->known_expires_ms;
}

/* What nobody reads is for the store, which has it by now; stale, it is what was to be asked for again. */
static bool ends_with_found(const struct fetch *x)
{
    const struct entry_ref *found = &x->below->search.found;

    return found->entry && is_news(x->below) && (!x->unread || clock_wall_ms() < found->expires_ms);
}

static void on_searched(struct store_search *s)
{
    struct below *b = CONTAINER_OF(s, struct below, search);
    struct fetch *x = b->fetch;

    if (ends_with_found(x)) {
        flight_set_found(x->flight, &s->found, &x->body, x->body_charged);
        x->body_charged = 0;
        fetch_drop_request(x);
        fetch_finish(x, FLIGHT_FOUND);
        return;
    }
    entry_ref_release(&s->found);
    if (x->fleet)
        fetch_elect(x);
    else
        fetch_ask_waiting(x);
}

static char *copy_text(char *to, struct slice *text)
{
    if (text->len > 0)
        memcpy(to, text->data, text->len);
    text->data = to;
    to[text->len] = '\0';
    return to + text->len + 1;
}

/* With its fields, method and target; the body is the fetch's already. */
static struct below *below_new(struct fetch *x, struct upstream_pool *pool,
                               const struct upstream_request *req)
{
    size_t bytes = strlen(req->method) + req->target.len + 2;
    struct slice method = slice_str(req->method);
    struct below *b;
    char *at;

    for (size_t i = 0; i < req->fields_n; i++)
        bytes += sizeof(*req->fields) + req->fields[i].name.len + req->fields[i].value.len + 2;
    b = calloc(1, sizeof(*b) + bytes);
    if (!b)
        abort(); /* bounded by listen.max_header_bytes */
    b->fetch = x;
    b->pool = pool;
    b->request = *req;
    b->fields = (struct field *)(b + 1);
    b->request.fields = b->fields;
    at = (char *)(b->fields + req->fields_n);
    at = copy_text(at, &method);
    b->request.method = method.data;
    at = copy_text(at, &b->request.target);
    for (size_t i = 0; i < req->fields_n; i++) {
        b->fields[i] = req->fields[i];
        at = copy_text(copy_text(at, &b->fields[i].name), &b->fields[i].value);
    }
    return b;
}

static void note_known(struct fetch *x, const struct digest *key)
{
    struct entry_ref known;

    if (!x->site->memory || !store_mem_peek(x->site->memory, key, clock_wall_ms(), &known))
        return;
    x->below->known_seq = known.entry->started_seq;
    x->below->known_expires_ms = known.expires_ms;
    entry_ref_release(&known);
}

static void ask_below(struct fetch *x, const struct fetch_spec *spec)
{
    struct store_search *s;

    note_known(x, spec->look_below);
    s = &x->below->search;
    s->on_done = on_searched;
    s->label = (struct label){.key = *spec->look_below,
                              .namespace_ = spec->namespace_,
                              .operation = spec->op_name,
                              .model = spec->model};
    store_search(spec->below, s);
}

void fetch_start(struct flight *f, const struct fetch_spec *spec)
{
    struct fetch *x = calloc(1, sizeof(*x));
    struct upstream_request req = {.method = spec->method,
                                   .target = spec->target,
                                   .fields = spec->fields,
                                   .fields_n = spec->fields_n,
                                   .anonymous = spec->anonymous,
                                   .key_in_query = spec->key_in_query,
                                   .body_len = -1};

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
    x->started_ns = clock_mono_ns();
    begin_keeping(x, spec);
    take_body(x, spec, &req);
    x->fleet = spec->fleet;
    flight_produce(f, &x->producer);
    if (!spec->look_below && !spec->fleet) {
        ask_upstream(x, spec->pool, &req);
        return;
    }
    x->below = below_new(x, spec->pool, &req);
    if (spec->look_below)
        ask_below(x, spec);
    else
        fetch_elect(x);
}
