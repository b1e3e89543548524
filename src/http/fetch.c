#include "refrain/http/fetch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/wire/coding.h"
#include "refrain/wire/httpdate.h"
#include "refrain/wire/sse.h"

/*
 *   start ──► upstream ──head──► sort ─┬─ a stream: published at once ─────────────► bytes ──► end: judge,
 * store ├─ a whole answer: kept back until its end ──► judge, store, publish └─ not to be stored: published
 * at once, flows through
 *
 * A fetch belongs to one loop and frees itself when upstream has said its last word, the verdict is in, and
 * no message of the flight is under way. Bodies over JUDGE_INLINE_MAX are judged on the thread pool, so that
 * no answer holds a loop.
 */
enum {
    JUDGE_INLINE_MAX = 64 * 1024,
    UNPACK_RATIO_MAX = 64, /* a gzip body that grows more than this is no answer of a model */
};

struct fetch {
    struct flight *flight; /* NULL once ended */
    struct flight_producer producer;
    struct upstream_call *call; /* NULL once ended */
    struct loop_timer *late;    /* until the head comes; NULL when nobody waits with it */
    struct loop *loop;
    struct metric_block *counts;
    unsigned upstream_label;
    struct site *site;
    const struct site_upstream *upstream;
    const struct dialect *dialect;
    enum operation op;
    bool streamed;
    bool authorized; /* the request carries Authorization */
    bool has_key;
    bool storable; /* it has a key, and nothing has spoken against storing yet */
    bool paused, overloaded, let_go, reading;
    struct digest key;
    struct slice namespace_, model; /* kept by the flight */
    int64_t route_ttl_s;
    struct buf body;
    size_t body_charged;
    struct upload *upload;
    int64_t started_ns, first_byte_ns;
    int64_t head_wall_ms;
    int64_t content_length; /* -1: none given */
    struct stream_judge judge;
    bool judging;
    struct loop_work work;
    struct buf joined, plain; /* the body in one piece, and decoded */
    enum gate_reason reason;
};

static void fetch_free(struct fetch *x)
{
    loop_timer_free(x->late);
    if (x->judging)
        stream_judge_done(&x->judge);
    if (x->upload) {
        upload_close(x->upload);
        upload_unref(x->upload);
    }
    limits_give_back(x->site->limits, x->body_charged);
    buf_done(&x->body);
    buf_done(&x->joined);
    buf_done(&x->plain);
    site_unref(x->site);
    free(x);
}

/* -- the end -- */

static void finish(struct fetch *x, enum flight_end how)
{
    struct flight *f = x->flight;

    if (x->reason != GATE_STORE && x->has_key)
        metric_add1(x->counts, NOT_STORED, x->reason, 1);

    x->flight = NULL;
    if (flight_end(f, how, x->reason))
        fetch_free(x);
    /* otherwise on_flight_event is on its way, and frees it */
}

static void fail(struct fetch *x, enum error_code code, const char *why)
{
    struct flight_head *head = flight_head_edit(x->flight);
    struct slice text = flight_keep(x->flight, slice_str(why));

    head->failed = true;
    head->error = code;
    head->error_text = text.data ? text.data : "";
    head->judged = true;
    head->reason = x->reason = GATE_INCOMPLETE;
    finish(x, FLIGHT_FAILED);
}

/* -- storing -- */

static int64_t lifetime_s(const struct fetch *x, const struct flight_terms *terms,
                          const struct gate_answer *a)
{
    int64_t ttl_s = terms->ttl_s;

    if (ttl_s == ASK_TTL_NONE)
        return ttl_s;
    if (ttl_s < 0 && x->op == OP_READ) {
        ttl_s = gate_lifetime_s(a, x->head_wall_ms);
        if (ttl_s < 0)
            ttl_s = x->route_ttl_s;
    } else if (ttl_s < 0) {
        ttl_s = x->site->ttl_s[x->op];
    }
    return ttl_s > x->site->ttl_max_s ? x->site->ttl_max_s : ttl_s;
}

static uint32_t age_of(const struct flight_head *head)
{
    const struct field *age = fields_find_id(&head->fields, HEADER_AGE);
    int64_t age_s = 0;

    if (!age)
        return 0;
    for (size_t i = 0; i < age->value.len && age->value.data[i] >= '0' && age->value.data[i] <= '9'; i++) {
        age_s = age_s * 10 + (age->value.data[i] - '0');
        if (age_s > INT32_MAX)
            return INT32_MAX; /* RFC 9111 section 1.2.2 */
    }
    return (uint32_t)age_s;
}

/* The tag of an entry: upstream's own on `read`, the drawn id on the rest (SPEC section 6). */
static struct slice etag_of(const struct fetch *x, const struct flight_head *head)
{
    const struct field *etag = x->op == OP_READ ? fields_find_id(&head->fields, HEADER_ETAG) : NULL;

    return etag ? etag->value : (struct slice){NULL, 0};
}

static enum gate_reason put(struct fetch *x, const struct flight_head *head, const struct flight_terms *terms,
                            int64_t ttl_s)
{
    size_t n = flight_pieces(x->flight, NULL, 0), kept = 0;
    struct slice *pieces = calloc(n + 1, sizeof(*pieces));
    struct field *fields = calloc(FIELDS_MAX, sizeof(*fields));
    struct entry_parts parts = {.namespace_ = x->namespace_, .model = x->model, .etag = etag_of(x, head)};
    bool gzip = x->plain.len > 0;
    int r = -ENOMEM;

    if (pieces && fields) {
        for (size_t i = 0; i < head->fields.n; i++)
            if ((head->fields.at[i].flags & HEADER_UNSTORED) == 0)
                fields[kept++] = head->fields.at[i];
        (void)flight_pieces(x->flight, pieces, n);
        parts.head = (struct entry){
            .key = x->key,
            .created_ms = x->head_wall_ms,
            .expires_ms = ttl_s == ASK_TTL_NONE ? INT64_MAX : x->head_wall_ms + ttl_s * 1000,
            .started_seq = flight_seq(x->flight),
            .initial_age_s = x->op == OP_READ ? age_of(head) : 0,
            .upstream_ms = (uint32_t)((clock_mono_ns() - x->started_ns) / 1000000),
            .status = (uint16_t)head->status,
            .flags = (uint16_t)((head->stream ? ENTRY_STREAM : 0) | (gzip ? ENTRY_GZIP : 0)),
            .operation = (uint8_t)x->op,
        };
        if (x->op == OP_READ && ttl_s != ASK_TTL_NONE)
            parts.head.expires_ms -= (int64_t)parts.head.initial_age_s * 1000;
        parts.head.gone_ms = parts.head.expires_ms;
        memcpy(parts.head.id, flight_id(x->flight), ENTRY_ID_LEN);
        parts.tags = terms->tags;
        parts.fields = fields;
        parts.fields_n = kept;
        parts.body = pieces;
        parts.body_n = n;
        r = store_mem_put(x->site->memory, &parts, clock_wall_ms(), NULL);
    }
    free(pieces);
    free(fields);
    if (r == -EMSGSIZE)
        return GATE_TOO_LARGE;
    return r == 0 || r == -EEXIST ? GATE_STORE
                                  : GATE_MEMORY; /* a later one is there already: as good as stored */
}

static struct gate_answer answer_of(struct fetch *x, bool whole)
{
    const struct flight_head *head = flight_head(x->flight);

    return (struct gate_answer){
        .op = x->op,
        .streamed = x->streamed,
        .whole = whole && (!x->judging || stream_judge_whole(&x->judge)),
        .stream_error = x->judging && x->judge.seen_error,
        .stream_unfit = x->judging && x->judge.seen_unfit,
        .authorized = x->authorized,
        .status = head->status,
        .fields = &head->fields,
        .body = x->plain.len > 0 ? buf_slice(&x->plain) : buf_slice(&x->joined),
        .body_bytes = flight_bytes(x->flight),
    };
}

static struct gate_conf gate_of(const struct fetch *x)
{
    struct gate_conf conf = x->site->gate;

    conf.headers = x->site->headers;
    conf.shared_scope = x->site->scope.mode != KEY_SCOPE_CREDENTIAL;
    conf.route_ttl_s = x->route_ttl_s;
    return conf;
}

/* Stores what the gate let through, if anyone who asked may write. */
static void store(struct fetch *x)
{
    struct gate_answer a = answer_of(x, true);
    struct flight_terms terms;

    if (x->reason == GATE_STORE && !x->site->memory)
        x->reason = GATE_RULE;
    if (x->reason == GATE_STORE && !flight_get_terms(x->flight, &terms))
        x->reason = GATE_CLIENT;
    if (x->reason == GATE_STORE)
        x->reason = put(x, flight_head(x->flight), &terms, lifetime_s(x, &terms, &a));
}

/* The verdict is in, and carried out: tell the readers. */
static void settle(struct fetch *x)
{
    if (!x->reading) {
        struct flight_head *head = flight_head_edit(x->flight);

        head->judged = true;
        head->stored = x->reason == GATE_STORE;
        head->reason = x->reason;
        head->body_len = (int64_t)flight_bytes(x->flight);
    }
    finish(x, FLIGHT_WHOLE);
}

/* In one piece, and decoded; whatever fails here speaks against storing. Runs on the pool for large ones. */
static enum gate_reason join_and_judge(struct fetch *x)
{
    size_t n = flight_pieces(x->flight, NULL, 0);
    struct slice *pieces = calloc(n + 1, sizeof(*pieces));
    struct gate_conf conf = gate_of(x);
    struct gate_answer a;
    int r = pieces ? 0 : -ENOMEM;

    if (pieces)
        (void)flight_pieces(x->flight, pieces, n);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = buf_add_slice(&x->joined, pieces[i]);
    free(pieces);
    if (r < 0)
        return GATE_MEMORY;
    if (flight_head_is_gzip(flight_head(x->flight))) {
        r = gzip_unpack(buf_slice(&x->joined), &x->plain);
        if (r < 0)
            return r == -EMSGSIZE ? GATE_TOO_LARGE : r == -ENOMEM ? GATE_MEMORY : GATE_INCOMPLETE;
    }
    a = answer_of(x, true);
    return gate_judge(&a, &conf);
}

static void on_judge_work(struct loop_work *w)
{
    struct fetch *x = CONTAINER_OF(w, struct fetch, work);

    x->reason = join_and_judge(x);
    store(x); /* packing a large answer takes its time, too */
}

static void on_judge_done(struct loop_work *w)
{
    settle(CONTAINER_OF(w, struct fetch, work));
}

static void judge_whole(struct fetch *x)
{
    uint64_t bytes = flight_bytes(x->flight);

    x->joined.max = bytes;
    x->plain.max = x->site->gate.object_bytes_max < bytes * UNPACK_RATIO_MAX ? x->site->gate.object_bytes_max
                                                                             : bytes * UNPACK_RATIO_MAX;
    if (bytes > JUDGE_INLINE_MAX) {
        x->work = (struct loop_work){.on_work = on_judge_work, .on_done = on_judge_done};
        loop_work_start(x->loop, &x->work);
        return;
    }
    x->reason = join_and_judge(x);
    store(x);
    settle(x);
}

static void on_store_work(struct loop_work *w)
{
    store(CONTAINER_OF(w, struct fetch, work));
}

static void judge_stream(struct fetch *x)
{
    struct gate_answer a = answer_of(x, true);
    struct gate_conf conf = gate_of(x);

    x->reason = x->judge.failed ? GATE_MEMORY : gate_judge(&a, &conf);
    if (flight_bytes(x->flight) > JUDGE_INLINE_MAX) {
        x->work = (struct loop_work){.on_work = on_store_work, .on_done = on_judge_done};
        loop_work_start(x->loop, &x->work);
        return;
    }
    store(x);
    settle(x);
}

/* Ended without ever having been published: it was kept back, and cannot be stored after all. */
static void publish_late(struct fetch *x)
{
    if (x->reading)
        finish(x, FLIGHT_WHOLE);
    else
        settle(x);
}

static void ended_whole(struct fetch *x)
{
    if (x->storable && !flight_is_complete(x->flight)) {
        x->storable = false;
        x->reason = GATE_TOO_LARGE;
    }
    if (!x->storable)
        publish_late(x);
    else if (x->judging)
        judge_stream(x);
    else
        judge_whole(x);
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

static const unsigned result_codes[] = {
    [UPSTREAM_OK] = CODE_OTHER,        [UPSTREAM_UNREACHABLE] = CODE_UNREACHABLE,
    [UPSTREAM_TIMEOUT] = CODE_TIMEOUT, [UPSTREAM_PROTOCOL] = CODE_PROTOCOL,
    [UPSTREAM_CUT] = CODE_CUT,         [UPSTREAM_CANCELLED] = CODE_CANCELLED,
};

static void count_call(struct fetch *x, enum upstream_result result, const char *why)
{
    int64_t took_ns = clock_mono_ns() - x->started_ns;
    const struct flight_head *head = flight_head(x->flight);

    metric_add2(x->counts, UPSTREAM_REQUESTS, x->upstream_label,
                result == UPSTREAM_OK ? metric_code(head->status) : result_codes[result], 1);
    metric_observe(x->counts, UPSTREAM_DURATION, took_ns);
    if (x->first_byte_ns)
        metric_observe(x->counts, UPSTREAM_FIRST_BYTE, x->first_byte_ns - x->started_ns);
    if (result != UPSTREAM_OK && result != UPSTREAM_CANCELLED)
        log_event(LOG_WARN, "upstream_failed", LOG_STR("upstream", x->upstream->conf.name),
                  LOG_STR("why", why), LOG_STR("flight", flight_id(x->flight)), LOG_DUR("took_ms", took_ns));
}

static void on_end(void *arg, enum upstream_result result, const char *why)
{
    struct fetch *x = arg;

    if (x->late)
        loop_timer_stop(x->late);
    count_call(x, result, why);
    if (upstream_ends_by_close(x->call) && x->storable) {
        x->storable = false; /* nothing proves that it came whole */
        x->reason = GATE_INCOMPLETE;
    }
    x->call = NULL;
    if (x->upload)
        upload_close(x->upload);
    if (result == UPSTREAM_OK) {
        ended_whole(x);
    } else if (x->reading) {
        x->reason = x->reason == GATE_STORE ? GATE_INCOMPLETE : x->reason;
        finish(x, FLIGHT_CUT); /* half an answer never ends cleanly */
    } else {
        fail(x, x->overloaded ? ERR_OVERLOADED : failures[result].code,
             x->overloaded ? "too many bytes are waiting in the cache" : failures[result].text);
    }
}

static void publish(struct fetch *x)
{
    x->reading = true;
    flight_publish(x->flight);
}

/* From here on it is known that the answer will not be stored, so there is no reason to hold it back. */
static void pass_on(struct fetch *x, enum gate_reason reason)
{
    struct flight_head *head;

    x->storable = false;
    x->reason = reason;
    if (x->reading)
        return;
    head = flight_head_edit(x->flight);
    head->judged = true;
    head->reason = reason;
    publish(x);
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
    return true;
}

static int64_t content_length_of(const struct fields *fields)
{
    const struct field *f = fields_find_id(fields, HEADER_CONTENT_LENGTH);
    int64_t n = 0;

    if (!f || f->value.len == 0 || f->value.len > 18)
        return -1;
    for (size_t i = 0; i < f->value.len; i++) {
        if (f->value.data[i] < '0' || f->value.data[i] > '9')
            return -1;
        n = n * 10 + (f->value.data[i] - '0');
    }
    return n;
}

/* What we say ourselves in upstream's place: which cache answered and, where the tag is the entry's id, the
 * tag. */
static bool is_said_by_us(const struct fetch *x, const struct field *f)
{
    if (slice_ieq(f->name, SLICE_OF("X-Cache")) || slice_ieq(f->name, SLICE_OF("X-Cache-Hits")))
        return true;
    return x->has_key && x->op != OP_READ && field_id(f) == HEADER_ETAG;
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
    httpdate_write(x->head_wall_ms / 1000, date);
    kept = flight_keep(x->flight, slice_str(date));
    if (kept.data && fields_add(&head->fields, SLICE_OF("Date"), kept) == 0)
        head->fields.at[head->fields.n - 1].flags = HEADER_DATE;
}

static bool is_stream(const struct fetch *x, const struct flight_head *head)
{
    const struct field *type = fields_find_id(&head->fields, HEADER_CONTENT_TYPE);

    return x->storable && x->streamed && x->dialect->stream != STREAM_NONE && head->status == 200 && type &&
           (slice_starts(type->value, SLICE_OF("text/event-stream")) ||
            slice_starts(type->value, SLICE_OF("application/x-ndjson")));
}

/* May others have what this one is about to get? false: the call was given up. */
static bool keep_company(struct fetch *x, const struct gate_answer *a, const struct gate_conf *conf)
{
    bool unshareable = !gate_shareable(a, conf);
    bool unproven = x->site->scope.mode == KEY_SCOPE_SHARED && (a->status == 401 || a->status == 403);

    if (!unshareable && !unproven)
        return true;
    x->let_go = true;
    x->storable = false;
    x->reason = unproven ? GATE_STATUS : GATE_CACHE_CONTROL;
    if (flight_let_go(x->flight, unshareable ? FLIGHT_LET_UNSHAREABLE : FLIGHT_LET_ONCE, clock_mono_ms()))
        return true;
    upstream_cancel(x->call);
    return false;
}

/* Those who wait longer than max_wait are not to depend on this call; its opener stays with it. */
static void on_late(void *arg)
{
    struct fetch *x = arg;

    if (x->call && !flight_let_go(x->flight, FLIGHT_LET_LATE, clock_mono_ms()))
        upstream_cancel(x->call);
}

static void watch_lateness(struct fetch *x)
{
    if (!x->has_key || x->site->max_wait_ms <= 0)
        return;
    x->late = loop_timer_new(x->loop, on_late, x);
    loop_timer_start(x->late, x->site->max_wait_ms, 0);
}

static void on_head(void *arg, unsigned status, const struct fields *fields)
{
    struct fetch *x = arg;
    struct flight_head *head = flight_head_edit(x->flight);
    struct gate_conf conf = gate_of(x);
    struct gate_answer a;
    enum gate_reason reason;

    x->head_wall_ms = clock_wall_ms();
    if (x->late)
        loop_timer_stop(x->late);
    head->status = status;
    if (!head_copy(x, head, fields)) {
        x->overloaded = true;
        upstream_cancel(x->call);
        return;
    }
    head->body_len = x->content_length = content_length_of(&head->fields);
    a = answer_of(x, true);
    a.body_bytes = x->content_length > 0 ? (uint64_t)x->content_length : 0;
    if (!flight_is_alone(x->flight) && !keep_company(x, &a, &conf))
        return;
    reason = x->storable ? gate_head(&a, &conf) : x->reason;
    drop_fields_of_the_hop(x, &head->fields);
    add_date(x, head);
    if (is_stream(x, head)) {
        stream_judge_init(&x->judge, x->dialect);
        x->judging = head->stream = true;
        x->storable = reason == GATE_STORE;
        x->reason = reason;
        publish(x);
    } else if (reason != GATE_STORE || !x->storable) {
        pass_on(x, reason);
    }
}

static bool on_body(void *arg, struct slice bytes)
{
    struct fetch *x = arg;
    int r;

    if (x->first_byte_ns == 0)
        x->first_byte_ns = clock_mono_ns();
    if (!flight_has_room(x->flight)) {
        x->paused = true;
        return false;
    }
    if (x->storable && !x->reading && flight_bytes(x->flight) + bytes.len > x->site->gate.object_bytes_max)
        pass_on(x, GATE_TOO_LARGE);
    if (x->judging)
        stream_judge_feed(&x->judge, bytes);
    r = flight_append(x->flight, bytes);
    if (x->judging && x->judge.seen_last)
        flight_mark_end(x->flight);
    if (r < 0 && r != -EAGAIN) {
        x->overloaded = true;
        x->reason = GATE_MEMORY;
        upstream_cancel(x->call);
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

static const struct upstream_events events = {on_head, on_body, on_trailers, on_end};

/* -- the flight's and the upload's callbacks -- */

/* SDKs hang up at the terminal event; all is there then but the end of the chunks. */
static bool worth_finishing(const struct fetch *x)
{
    return x->storable && (x->site->finish_abandoned || (x->judging && stream_judge_whole(&x->judge)));
}

static void on_flight_event(struct flight_producer *p)
{
    struct fetch *x = CONTAINER_OF(p, struct fetch, producer);

    if (!x->flight) {
        fetch_free(x);
        return;
    }
    if (!x->call)
        return; /* upstream is done; the verdict is under way */
    if (x->paused && flight_has_room(x->flight)) {
        x->paused = false;
        upstream_resume(x->call);
    }
    if (!worth_finishing(x) && flight_close_abandoned(x->flight))
        upstream_cancel(x->call);
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

static bool carries_authorization(const struct fetch_spec *spec)
{
    for (size_t i = 0; i < spec->fields_n; i++)
        if (field_id(&spec->fields[i]) == HEADER_AUTHORIZATION)
            return true;
    return false;
}

void fetch_start(struct flight *f, const struct fetch_spec *spec)
{
    struct fetch *x = calloc(1, sizeof(*x));
    struct upstream_request req = {.method = spec->method,
                                   .target = spec->target,
                                   .fields = spec->fields,
                                   .fields_n = spec->fields_n,
                                   .body_len = -1};

    if (!x)
        abort(); /* a small fixed allocation */
    x->flight = f;
    x->producer = (struct flight_producer){.loop = spec->loop, .on_event = on_flight_event};
    x->loop = spec->loop;
    x->counts = spec->counts;
    x->upstream_label = spec->upstream_label;
    x->site = site_ref(spec->site);
    x->upstream = spec->upstream;
    x->dialect = dialect_of(spec->op);
    x->op = spec->op;
    x->streamed = spec->streamed;
    x->authorized = carries_authorization(spec);
    x->route_ttl_s = spec->route_ttl_s;
    x->content_length = -1;
    x->reason = GATE_CLIENT;
    if (spec->key) {
        x->key = *spec->key;
        x->has_key = x->storable = true;
        x->reason = GATE_STORE;
        x->namespace_ = flight_keep(f, spec->namespace_);
        x->model = flight_keep(f, spec->model);
    }
    take_body(x, spec, &req);
    flight_produce(f, &x->producer);
    watch_lateness(x);
    x->started_ns = clock_mono_ns();
    x->call = upstream_start(spec->pool, &spec->upstream->conf, &req, &events, x);
    if (!x->call)
        fail(x, ERR_OVERLOADED, "out of memory");
}
