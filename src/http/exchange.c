/*
 * exchange - the life of one request.
 *
 *   head in ──► sort ─┬─ passed: forwarded as it comes ─────────────────────────────► LOOK ──► reply
 *                     │                                                                 ▲
 *                     └─ cached: body collected ──► KEY ──► LOOKUP ──hit──► reply       │
 *                                                   │  ▲      │                         │
 *                                     memo miss ──► MAKE      └─miss─► JOIN ──► parked ─┘
 *
 * A stale entry that may be served while it is asked for again takes LOOKUP ──► REFRESH ──► reply. Where
 * tiers lie below memory the flight of JOIN asks them first; what they had leads back to LOOKUP, where
 * everyone judges it for himself. Who is not to open a flight asks them by BELOW.
 *
 * A hit never leaves the callback in which its last byte arrived: KEY by the memo, LOOKUP in the memory tier,
 * reply. Everything else parks and is run again by front_wake. Only exchange_run moves an exchange along.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "account.h"
#include "exchange_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/wire/gunzip.h"

enum {
    MAKE_INLINE_MAX = 64 * 1024, /* larger bodies are canonicalised on the thread pool */
    DRAIN_BYTES_MAX = 64 << 20,  /* of a refused body, read for the sake of a clean answer */
};

static void on_progress(struct flight_reader *reader);

/* -- making and ending -- */

static struct front_req *on_new(void *arg)
{
    struct worker *w = arg;
    struct list *link = list_pop_front(&w->spare);
    struct exchange *x = link ? CONTAINER_OF(link, struct exchange, link) : calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    if (link) {
        w->spare_n--;
        w->spare_bytes -= x->body.cap;
    }
    front_req_reset(&x->req);
    memset((char *)x + offsetof(struct exchange, view), 0, sizeof(*x) - offsetof(struct exchange, view));
    x->body.max = SIZE_MAX / 2; /* bounded by key.max_body_bytes as it grows */
    list_init(&x->link);
    x->worker = w;
    x->view = w->view;
    x->view->uses++;
    x->reader.loop = w->loop;
    x->content_length = -1;
    return &x->req;
}

static void view_leave(struct worker *w, struct site_view *view)
{
    if (--view->uses > 0 || view == w->view)
        return;
    site_view_free(view);
}

static void body_free(struct exchange *x)
{
    buf_done(&x->body);
    limits_give_back(x->worker->limits, x->body_charged);
    x->body_charged = 0;
}

/* Once the reply has begun nothing asks for the request's body again, and the client may send the next one.
 */
static void body_drop(struct exchange *x)
{
    if (x->body_charged == 0)
        return;
    limits_give_back(x->worker->limits, x->body_charged);
    x->body_charged = 0;
}

static void exchange_recycle(struct exchange *x)
{
    struct worker *w = x->worker;

    view_leave(w, x->view);
    free(x->trace);
    below_free(x);
    buf_done(&x->canonical); /* not before: the pool may have been writing it when the client left */
    body_drop(x);
    if (x->body.cap > BODY_BYTES_KEPT || w->spare_bytes + x->body.cap > BODIES_BYTES_KEPT)
        buf_done(&x->body);
    if (w->spare_n >= EXCHANGES_KEPT) {
        buf_done(&x->body);
        free(x);
        return;
    }
    buf_clear(&x->body);
    w->spare_n++;
    w->spare_bytes += x->body.cap;
    list_push_front(&w->spare, &x->link);
}

void exchange_free_spare(struct worker *w)
{
    struct list *link;

    while ((link = list_pop_front(&w->spare)) != NULL) {
        struct exchange *x = CONTAINER_OF(link, struct exchange, link);

        body_free(x);
        free(x);
    }
    w->spare_n = 0;
}

/* What the world still holds of it comes back by a callback; the last one recycles. */
static void exchange_maybe_recycle(struct exchange *x)
{
    if (x->ended && !x->waiting_for_work && !x->reader.posted)
        exchange_recycle(x);
}

/* Who proves nothing has no line of his own: those refused are told of together. */
static bool is_turned_away(const struct exchange *x)
{
    return x->stranger && x->refused;
}

static void draw_request_id(struct worker *w, char out[REQUEST_ID_MAX + 1])
{
    uint64_t half[2] = {w->id_prefix, w->id_next++};

    for (size_t i = 0; i < 32; i++)
        out[i] = "0123456789abcdef"[(half[i / 16] >> (60 - 4 * (i % 16))) & 15];
    out[32] = '\0';
}

/* Once for every request that had a head, so that the results add up to the requests. */
static void settle_account(const struct exchange *x, bool sent)
{
    struct account_to to = account_to_of(x->worker, x->view);
    struct account account;

    to.logs &= !is_turned_away(x);
    account_of(x, sent, &account);
    account_settle(&to, &account);
}

/* No answer of ours has begun: what it was to come to does not count any more. */
static void end_unanswered(struct exchange *x)
{
    x->outcome = OUT_ERROR;
    x->status = x->req.library_status;
    if (x->status > 0) { /* libmicrohttpd has made room for its answer where the request lay */
        x->ask.namespace_ = (struct slice){NULL, 0};
        x->req.fields.n = 0;
    }
    x->detail = x->status > 0 ? error_name(ERR_REQUEST_INVALID) : "client_gone"; /* its body was none, or … */
}

static const char *on_refusal(void *arg, unsigned status, enum error_code code)
{
    struct worker *w = arg;
    struct account_to to = account_to_of(w, w->view);
    struct account account;

    draw_request_id(w, w->refusal_id);
    account_of_refusal(w, status, code, &account);
    account_settle(&to, &account);
    return w->refusal_id;
}

/* What the answer has cost is the flight's to tell, and upstream says it at its end: so before it is left. */
static void note_cost(struct exchange *x)
{
    const char *id;

    if (!flight_attached(&x->reader))
        return;
    x->tokens = flight_tokens(&x->reader);
    x->times = flight_times(&x->reader);
    id = flight_stored_id(&x->reader);
    if (id)
        memcpy(x->stored_id, id, ENTRY_ID_LEN);
}

static void on_end(struct front_req *r, bool sent)
{
    struct exchange *x = exchange_of(r);

    note_cost(x);
    if (!r->replied)
        end_unanswered(x);
    if (r->head_done)
        settle_account(x, sent);
    if (x->running)
        client_end(x->limited);
    if (x->entry.entry) {
        entry_ref_release(&x->entry);
        x->entry.entry = NULL;
    }
    if (x->upload) {
        upload_on_room(x->upload, NULL, NULL);
        if (!x->body_whole)
            upload_abort(x->upload);
        upload_unref(x->upload);
        x->upload = NULL;
    }
    gunzip_free(x->gunzip);
    free(x->decode_bytes);
    free(x->usage);
    below_free(x);
    (void)flight_leave(&x->reader);
    x->ended = true;
    exchange_maybe_recycle(x);
}

static void on_gone(struct front_req *r)
{
    struct exchange *x = exchange_of(r);

    /* SDKs hang up at the terminal event, with all that they came for. */
    if (!r->replied || !flight_attached(&x->reader) || !flight_has_all(&x->reader)) {
        x->outcome = OUT_ERROR;
        x->detail = "client_gone";
    }
    note_cost(x);
    (void)flight_leave(&x->reader); /* at once: the last to leave lets upstream be spared */
}

/* -- sorting: what is to become of this request, from its head alone -- */

static void refuse(struct exchange *x, enum error_code code, const char *text)
{
    if (x->refused)
        return;
    x->refused = true;
    x->refusal = code;
    x->refusal_text = text;
}

static void refuse_by_limit(struct exchange *x, bool by_rate, int64_t now_ns, int64_t wait_ns)
{
    refuse(x, ERR_RATE_LIMITED,
           by_rate ? "this client's requests_per_minute are used up"
                   : "this client has as many requests under way as max_concurrent allows");
    x->retry_after_s = (wait_ns + 999999999) / 1000000000;
    if (client_limited(x->limited, x->worker->counter, by_rate, now_ns))
        log_event(LOG_WARN, "client_limited", LOG_SLICE("client", x->limited->conf.name),
                  LOG_STR("option", by_rate ? "requests_per_minute" : "max_concurrent"));
}

static void make_request_id(struct exchange *x)
{
    const struct field *given = fields_find_id(&x->req.fields, HEADER_X_REQUEST_ID);

    if (given && given->value.len > 0 && given->value.len <= REQUEST_ID_MAX && header_name_ok(given->value)) {
        memcpy(x->request_id, given->value.data, given->value.len);
        return;
    }
    draw_request_id(x->worker, x->request_id);
}

static bool take_route(struct exchange *x)
{
    return keying_route(site_of(x), x->req.target, &x->route, &x->target, &x->path);
}

static void take_length(struct exchange *x)
{
    x->content_length = fields_content_length(&x->req.fields); /* the guard has seen to its syntax */
    x->has_body = x->content_length >= 0 || fields_find_id(&x->req.fields, HEADER_TRANSFER_ENCODING);
    if (x->content_length < 0)
        return;
    if (site_of(x)->body_bytes_max > 0 && (uint64_t)x->content_length > site_of(x)->body_bytes_max)
        refuse(x, ERR_TOO_LARGE, "the body is larger than listen.max_body_bytes");
}

static void bypass(struct exchange *x, const char *why)
{
    x->manner = MANNER_PASSED;
    x->outcome = OUT_BYPASS;
    x->detail = why;
}

static struct keying keying_of(const struct exchange *x)
{
    return (struct keying){
        .site = site_of(x),
        .route = x->route,
        .op = x->op,
        .own = x->own,
        .method = x->req.method,
        .raw_target = x->req.target,
        .target = x->target,
        .fields = &x->req.fields,
        .ask = &x->ask,
        .client = x->client,
        .has_body = x->has_body,
        .content_length = x->content_length,
        .body = buf_slice(&x->body),
        .canon = x->canon,
        .canonical = buf_slice(&x->canonical),
        .facts = &x->facts,
        .plan = &x->plan,
        .trace = x->trace,
    };
}

static void read_controls(struct exchange *x)
{
    const char *why = "";

    if (!ask_read(&x->req.fields, &site_of(x)->ask, &x->ask, &why))
        refuse(x, ERR_REQUEST_INVALID, why);
    if (x->client && !admission_namespace(site_of(x)->roster, x->client, &x->ask, &why))
        refuse(x, ERR_REQUEST_INVALID, why);
    x->gzip = x->ask.gzip;
}

static void keep_model(struct exchange *x, struct slice model)
{
    size_t n = model.len < MODEL_SHOWN_MAX ? model.len : MODEL_SHOWN_MAX;

    if (n > 0)
        memcpy(x->model, model.data, n);
    x->model[n] = '\0';
}

/* By its head alone, so of its model no more is known than its path tells. */
static void bypass_by_head(struct exchange *x, const struct keying *k, const char *why)
{
    struct canon_facts told = {0};

    keying_path_facts(k, &told);
    keep_model(x, told.model);
    bypass(x, why);
}

static void choose_manner(struct exchange *x)
{
    struct keying k;
    const char *why;

    x->manner = MANNER_CACHED;
    k = keying_of(x);
    if (!keying_operation(&k))
        refuse(x, ERR_REQUEST_INVALID,
               x->stranger ? "Refrain-Operation names none that there is" : site_of(x)->own_operations);
    x->op = k.op;
    x->own = k.own;
    keying_plan(site_of(x), x->client, 0, x->own, &x->plan); /* until the body tells more */
    why = keying_head_bypass(&k);
    if (why)
        bypass_by_head(x, &k, why);
}

/* One more of its requests a minute; where hits are not to count, not before it is known to be none. */
static void charge_client(struct exchange *x)
{
    int64_t now_ns = clock_mono_ns(), wait_ns;

    if (!x->limited || x->charged)
        return;
    x->charged = client_take(x->limited, now_ns, &wait_ns);
    if (!x->charged)
        refuse_by_limit(x, true, now_ns, wait_ns);
}

static void start_alone(struct exchange *x, bool streamed)
{
    struct keying k = keying_of(x);

    charge_client(x);
    if (x->refused)
        return;
    if (x->ask.only_if_cached) { /* RFC 9111 section 5.2.1.7, also where nothing is ever stored */
        refuse(x, ERR_ONLY_IF_CACHED, "not in the cache, and only-if-cached was asked");
        return;
    }
    if (x->caller == 0) /* its key was never made */
        x->caller = keying_caller(x->worker->keys, &k);
    if (!flight_open_alone(site_of(x)->flights, &x->reader))
        refuse(x, ERR_OVERLOADED, "out of memory");
    else
        forward_start(x, x->reader.flight, NULL, streamed ? FORWARD_STREAMED : FORWARD_WHOLE);
}

/* -- who asks? -- */

/* No more than the API whose shape an error has; of whom nothing is known, nothing else is looked at. */
static void take_shape(struct exchange *x)
{
    struct keying k;

    if (!take_route(x))
        return;
    k = keying_of(x);
    (void)keying_operation(&k);
    x->op = k.op;
    x->own = k.own;
}

static void refuse_stranger(struct exchange *x, enum admission why)
{
    static const enum metric_unproven reasons[] = {[ADMISSION_MISSING] = UNPROVEN_MISSING,
                                                   [ADMISSION_UNKNOWN] = UNPROVEN_UNKNOWN,
                                                   [ADMISSION_SEVERAL] = UNPROVEN_SEVERAL};
    uint64_t told = clients_refused(site_of(x)->clients, x->started_ns);

    metric_add1(x->worker->counts, UNAUTHORIZED, reasons[why], 1);
    refuse(x, ERR_UNAUTHORIZED, admission_refusal(why));
    if (told > 0)
        log_event(LOG_WARN, "unauthorized", LOG_STR("id", x->request_id),
                  LOG_STR("why", admission_refusal(why)), LOG_INT("requests", told));
}

static void begin_as(struct exchange *x, const struct client *client)
{
    x->limited = client;
    x->running = client_begin(client);
    if (!x->running)
        refuse_by_limit(x, false, x->started_ns, 0);
    else if (client->conf.limit_hits)
        charge_client(x);
}

static void take_client(struct exchange *x)
{
    struct front_req *r = &x->req;
    bool has_query = memchr(r->target.data, '?', r->target.len) != NULL;
    struct admission_request request = {
        .method = r->method,
        .target = r->target,
        .target_bytes = r->target_long ? r->target_long : r->target_bytes,
        .fields = &r->fields,
        .has_body =
            fields_content_length(&r->fields) > 0 || fields_find_id(&r->fields, HEADER_TRANSFER_ENCODING),
    };
    enum admission admission;

    if (has_query)
        take_shape(x);
    request.key_in_query = has_query && dialect_of(x->op)->key_in_query;
    admission =
        admit(x->worker->admitter, site_of(x)->roster, x->view == x->worker->view, &request, &x->client);
    r->target = request.target;
    x->stranger = !x->client;
    if (x->client)
        begin_as(x, x->client);
    else if (admission == ADMISSION_PREFLIGHT)
        begin_as(x, roster_preflights(site_of(x)->roster));
    else
        refuse_stranger(x, admission);
    if (x->refused)
        take_shape(x);
}

static void on_head(struct front_req *r)
{
    struct exchange *x = exchange_of(r);
    const struct site *s = site_of(x);
    struct guard_verdict verdict;

    x->started_ns = clock_mono_ns();
    x->reader.on_progress = on_progress;
    fields_classify(&r->fields, s->headers);
    make_request_id(x);
    verdict = guard_request(r->version, r->method, r->target, &r->fields);
    if (r->head_too_large)
        refuse(x, ERR_HEADERS_TOO_LARGE,
               "the request's head is larger than listen.max_header_bytes, or has over 128 fields");
    else if (r->malformed)
        refuse(x, ERR_REQUEST_INVALID, r->malformed);
    else if (!verdict.ok)
        refuse(x, verdict.code, verdict.why);
    else if (s->roster)
        take_client(x);
    if (!x->refused && !take_route(x))
        refuse(x, ERR_NO_ROUTE, "no route matches this path");
    if (!x->refused)
        take_length(x);
    if (!x->refused) {
        read_controls(x);
        choose_manner(x);
    }
    if (x->refused) {
        r->close_after = true;
        answer_error(x, x->refusal, x->refusal_text);
        return;
    }
    if (forward_hops_left(x) == 0) {
        r->close_after = x->has_body;
        answer_options(x);
        return;
    }
    x->head_request = slice_eq(r->method, SLICE_OF("HEAD"));
    x->next = x->manner == MANNER_PASSED ? STEP_PASS : STEP_KEY;
    if (x->manner == MANNER_PASSED && x->has_body)
        start_alone(x, true); /* upstream hears the first bytes while the client sends the last */
}

/* -- the body -- */

/* What a request will come to counts against the allowance as soon as it is known. */
static bool charge(struct exchange *x, size_t bytes)
{
    if (bytes <= BODY_BYTES_UNCOUNTED || bytes <= x->body_charged)
        return true;
    if (!limits_take_bytes(x->worker->limits, bytes - x->body_charged))
        return false;
    x->body_charged = bytes;
    return true;
}

static int collect(struct exchange *x, struct slice bytes)
{
    size_t whole = x->content_length > 0 ? (size_t)x->content_length : x->body.len + bytes.len;
    int r;

    if (!charge(x, whole))
        return -ENOBUFS;
    r = x->content_length > 0 && x->body.len == 0 ? buf_reserve_exact(&x->body, whole) : 0;
    return r < 0 ? r : buf_add_slice(&x->body, bytes);
}

/* It has grown past what may be held: let it through after all. */
static void collected_too_much(struct exchange *x)
{
    bypass(x, "body-size");
    x->next = STEP_PASS;
    start_alone(x, true);
    buf_clear(&x->body);
}

static size_t on_body(struct front_req *r, struct slice bytes)
{
    struct exchange *x = exchange_of(r);
    const struct site *s = site_of(x);

    x->body_seen += bytes.len;
    if (s->body_bytes_max > 0 && x->body_seen > s->body_bytes_max) {
        refuse(x, ERR_TOO_LARGE, "the body is larger than listen.max_body_bytes");
        if (x->upload)
            upload_abort(x->upload);
    }
    if (x->refused) {
        if (x->body_seen > s->body_bytes_max + DRAIN_BYTES_MAX)
            front_abort(r);
        return bytes.len;
    }
    if (x->manner == MANNER_CACHED && x->body.len + bytes.len > s->key_body_bytes_max)
        collected_too_much(x);
    if (x->upload) {
        size_t taken = upload_push(x->upload, bytes);

        x->body_seen -= bytes.len - taken; /* they come again */
        if (taken < bytes.len)
            front_park(r);
        return taken;
    }
    if (!x->refused && collect(x, bytes) < 0)
        refuse(x, ERR_OVERLOADED, "too many bytes are waiting in the cache");
    return bytes.len;
}

/* -- the steps -- */

static enum step step_refused(struct exchange *x)
{
    x->req.close_after = true;
    answer_error(x, x->refusal, x->refusal_text);
    return STEP_DONE;
}

static enum step reply_entry(struct exchange *x)
{
    body_drop(x);
    answer_entry(x);
    return STEP_DONE;
}

/* The bytes that the key depends on, as they came: equal bytes, equal key. */
static void tag_make(struct exchange *x)
{
    struct memo_hasher *h = x->worker->hasher;

    memo_hash_begin(h);
    memo_hash_add(h, x->req.method);
    memo_hash_add(h, x->req.target);
    if (x->client) /* in place of its credential */
        memo_hash_add(h, slice_make(&x->client->number, sizeof(x->client->number)));
    memo_hash_add_fields(h, &x->req.fields, &site_of(x)->reads);
    memo_hash_add(h, buf_slice(&x->body));
    x->tag = memo_hash_end(h);
}

static void plan_take(struct exchange *x, uint64_t rules)
{
    keying_plan(site_of(x), x->client, rules, x->own, &x->plan);
    plan_bound(&x->plan, &x->ask);
}

/* What is to become of the request is known: whether the cache may have to do with it at all, and how. */
static enum step step_planned(struct exchange *x)
{
    struct keying k = keying_of(x);
    const char *why = "";

    if (!keying_check_leave(&k, &x->ask, &why)) {
        refuse(x, ERR_REQUEST_INVALID, why);
        return step_refused(x);
    }
    if (x->plan.cache == RULE_CACHE_OFF) {
        bypass(x, "rule");
        return STEP_PASS;
    }
    return STEP_LOOKUP;
}

/* A memo knows what keys and rules come to under the site that its worker now has. What began under one
 * before, and was read or canonicalised while it was replaced, neither asks it nor teaches it. */
static bool memo_is_of_site(const struct exchange *x)
{
    return x->view == x->worker->view;
}

static enum step step_key(struct exchange *x)
{
    const struct memo_value *known;

    if (x->refused)
        return step_refused(x);
    x->body_whole = true;
    tag_make(x);
    known = memo_is_of_site(x) ? memo_get(x->worker->memo, &x->tag) : NULL;
    metric_add(x->worker->counts, MEMO_HITS, known ? 1 : 0);
    metric_add(x->worker->counts, MEMO_MISSES, known ? 0 : 1);
    if (!known)
        return STEP_MAKE;
    x->key = x->common_key = x->base_key = known->key;
    x->caller = known->caller;
    if (known->own_operation > 0)
        x->own = &site_of(x)->rules.own[known->own_operation - 1];
    plan_take(x, known->rules);
    return step_planned(x);
}

static void canonicalise(struct exchange *x)
{
    struct keying k = keying_of(x);
    int64_t before = clock_mono_ns();

    x->canon = keying_canonicalise(&k, &x->canonical, &x->facts, NULL);
    k = keying_of(x);
    keying_trace_body(&k);
    x->key_ns = clock_mono_ns() - before;
}

static void count_key(struct exchange *x)
{
    metric_observe1(x->worker->counts, KEY, (unsigned)prompt_tier_of(x->facts.characters), x->key_ns);
    metric_time(x->worker->counts, KEY, x->key_ns);
}

static void on_make_work(struct loop_work *work)
{
    canonicalise(CONTAINER_OF(work, struct exchange, work));
}

static void on_make_done(struct loop_work *work)
{
    struct exchange *x = CONTAINER_OF(work, struct exchange, work);

    x->waiting_for_work = false;
    if (x->ended)
        exchange_maybe_recycle(x);
    else
        front_wake(&x->req);
}

/* What is asked again because upstream has to hear of it has been remembered the first time. */
static void trace_new(struct exchange *x)
{
    const struct recent *recent = site_of(x)->recent;

    x->trace = recent && !x->looked ? malloc(sizeof(*x->trace)) : NULL;
    if (x->trace)
        trace_begin(x->trace, recent_secret(recent));
}

static void remember(struct exchange *x)
{
    if (x->trace)
        recent_add(site_of(x)->recent, x->trace, &x->common_key, x->op, clock_mono_ms());
    free(x->trace);
    x->trace = NULL;
}

static enum step step_make(struct exchange *x)
{
    trace_new(x);
    if (x->body.len <= MAKE_INLINE_MAX) {
        canonicalise(x);
        return STEP_MADE;
    }
    x->waiting_for_work = true;
    x->work = (struct loop_work){.on_work = on_make_work, .on_done = on_make_done};
    loop_work_start(x->worker->loop, &x->work);
    x->next = STEP_MADE;
    front_park(&x->req);
    return STEP_PARKED;
}

static enum step step_made(struct exchange *x)
{
    struct memo_value value = {0};
    enum step planned;
    struct keying k;
    const char *why;

    if (x->waiting_for_work) { /* woken for another reason */
        front_park(&x->req);
        return STEP_PARKED;
    }
    count_key(x);
    keep_model(x, x->facts.model);
    x->streamed = x->facts.stream;
    k = keying_of(x);
    value.rules = keying_rules(&k);
    x->own = k.own;
    plan_take(x, value.rules);
    why = keying_body_bypass(&k);
    if (why && x->entry.entry)
        return reply_entry(x); /* there is nothing to refresh it by */
    if (why) {
        bypass(x, why);
        return STEP_PASS;
    }
    planned = step_planned(x); /* before the key: it may take out of the request what wants leave */
    if (x->refused)
        return planned;
    x->keyed = true;
    if (x->looked)
        return x->entry.entry ? STEP_REFRESH : STEP_JOIN;
    k.out_caller = &x->caller;
    x->key = x->common_key = x->base_key = value.key = keying_make(x->worker->keys, &k);
    remember(x);
    value.own_operation = x->own ? (uint16_t)(x->own - site_of(x)->rules.own + 1) : 0;
    value.caller = x->caller & KEY_CALLER_MAX;
    if (memo_is_of_site(x) && planned != STEP_PASS) /* which wants the model, for breakers and the log */
        memo_put(x->worker->memo, &x->tag, &value);
    return planned;
}

/* Without an answer from the store it is not to go upstream, or not as one that others may join. */
static bool looks_below_alone(const struct exchange *x)
{
    return (x->ask.only_if_cached || (x->ask.range.len > 0 && !x->head_request)) && below_may_ask(x);
}

static enum step step_below(struct exchange *x)
{
    if (!below_is_asked(x))
        return STEP_LOOKUP;
    x->next = STEP_BELOW;
    front_park(&x->req);
    return STEP_PARKED;
}

static enum step step_lookup(struct exchange *x)
{
    if (keeps_several(x) && !x->chosen)
        (void)choose_answer(x);
    x->looked = true;
    (void)lookup_entry(x);
    if (lookup_is_coded_otherwise(x)) {
        bypass(x, "no-transform");
        return STEP_PASS;
    }
    if (x->verdict == FRESH_SERVE_REFRESH && lookup_wants_refresh(x))
        return x->keyed ? STEP_REFRESH : STEP_MAKE;
    if (x->verdict != FRESH_ASK || lookup_while_shut(x))
        return reply_entry(x);
    if (looks_below_alone(x))
        return x->keyed ? STEP_JOIN : STEP_MAKE;
    if (x->ask.only_if_cached) {
        answer_error(x, ERR_ONLY_IF_CACHED, "not in the cache, and only-if-cached was asked");
        return STEP_DONE;
    }
    charge_client(x);
    if (x->refused)
        return step_refused(x);
    if (x->ask.range.len > 0 && !x->head_request) {
        bypass(x, "range"); /* only a stored whole can be cut here */
        return STEP_PASS;
    }
    return x->keyed ? STEP_JOIN : STEP_MAKE; /* the memo knows the key, but not what upstream must be asked */
}

/* Whoever finds no flight looks in the store once more before it asks: an entry appears before its flight
 * goes. */
static bool found_meanwhile(struct exchange *x)
{
    if (lookup_entry(x) == FRESH_ASK)
        return false;
    flight_give_up(&x->reader);
    return true;
}

/* false: nothing that comes for it may be stored. */
static bool terms_of(struct exchange *x, struct flight_terms *out)
{
    struct flight_terms terms = {.ttl_s = x->ask.ttl_s,
                                 .stale_while_revalidate_s = x->plan.stale_while_revalidate_s,
                                 .stale_if_error_s = x->plan.stale_if_error_s};

    if (!x->ask.may_write)
        return false;
    if (terms.stale_while_revalidate_s == RULE_WINDOW_UNSAID)
        terms.stale_while_revalidate_s = x->route->stale_while_revalidate_s;
    if (terms.stale_if_error_s == RULE_WINDOW_UNSAID)
        terms.stale_if_error_s = x->route->stale_if_error_s;
    /* On `read` a rule's lifetime is like a route's: upstream's own goes before it (forward_start). */
    if (terms.ttl_s == -1 && x->plan.ttl_s != RULE_TTL_UNSAID && x->op != OP_READ)
        terms.ttl_s = x->plan.ttl_s;
    terms.tags = slice_make(x->tags, plan_tags(&x->plan, &x->ask, x->tags, sizeof(x->tags)));
    *out = terms;
    return true;
}

static void offer_terms(struct exchange *x)
{
    struct flight_terms terms;

    if (terms_of(x, &terms))
        flight_offer(&x->reader, &terms);
}

/* The client is answered at once; what it set off goes on without it, one for all who come meanwhile. */
static enum step step_refresh(struct exchange *x)
{
    struct flight *f = flight_open_unread(site_of(x)->flights, &x->key, clock_mono_ms());
    struct flight_terms terms;

    if (f && lookup_is_fresh_by_now(x)) {
        flight_release(f, true);
    } else if (f) {
        if (terms_of(x, &terms))
            flight_offer_unread(f, &terms);
        forward_start(x, f, &x->key, FORWARD_UNREAD);
        flight_release(f, false);
    }
    return reply_entry(x);
}

/* What is on its way under @key was asked for before a change, or an invalidation. */
static bool flight_is_outdated(const struct exchange *x, const struct digest *key)
{
    int64_t since = flight_open_since(site_of(x)->flights, key);

    return since > 0 && lookup_flight_is_outdated(x, key, since);
}

static enum flight_joined join(struct exchange *x, bool fresh)
{
    struct flights *flights = site_of(x)->flights;

    if (!fresh && !digest_eq(&x->key, &x->common_key) && !flight_is_outdated(x, &x->common_key) &&
        flight_join_variant(flights, &x->common_key, &x->key, &x->reader))
        return FLIGHT_JOINED;
    fresh = fresh || flight_is_outdated(x, &x->key);
    return flight_join(flights, &x->key, fresh, clock_mono_ms(), &x->reader);
}

/* For one reader: answers to this key have been for one each, of late, or it is about HEAD. */
static enum step step_join_alone(struct exchange *x)
{
    if (!flight_open_apart(site_of(x)->flights, &x->reader)) {
        refuse(x, ERR_OVERLOADED, "out of memory");
        return step_refused(x);
    }
    offer_terms(x);
    forward_start(x, x->reader.flight, &x->key, FORWARD_WHOLE);
    return STEP_LOOK;
}

static enum step step_join(struct exchange *x)
{
    const struct site *s = site_of(x);
    bool fresh = !x->ask.joins || !s->coalesce;

    if (looks_below_alone(x)) {
        below_start(x);
        return STEP_BELOW;
    }
    if (keeps_several(x) && !x->chosen) { /* once more: while its body was read others may have come */
        x->chosen = true;
        if (x->ask.joins && choose_answer(x))
            return STEP_LOOKUP;
    }
    x->outcome = OUT_MISS;
    x->collapsed = false;
    if (x->head_request) /* its answer has no body to store, but news of what is stored */
        return step_join_alone(x);
    if (!x->ask.may_share) {
        start_alone(x, false);
        return x->refused ? step_refused(x) : STEP_LOOK;
    }
    switch (join(x, fresh)) {
    case FLIGHT_JOINED:
        x->outcome = OUT_COALESCED;
        x->collapsed = true;
        offer_terms(x);
        return STEP_LOOK;
    case FLIGHT_OPENED:
        if (found_meanwhile(x))
            return reply_entry(x);
        offer_terms(x);
        forward_start(x, x->reader.flight, &x->key, FORWARD_WHOLE);
        return STEP_LOOK;
    case FLIGHT_MARKED:
        x->detail = "hit-for-miss";
        return step_join_alone(x);
    case FLIGHT_NO_MEMORY:
        break;
    }
    if (lookup_instead(x, 0))
        return reply_entry(x);
    refuse(x, ERR_OVERLOADED, "out of memory");
    return step_refused(x);
}

/* RFC 9110 section 6.5.1: no place for what says who asks. */
static void take_trailer(void *arg, struct slice name, struct slice value)
{
    struct exchange *x = arg;

    if ((header_flags(site_of(x)->headers, name) & HEADER_CREDENTIAL) == 0)
        upload_trailer(x->upload, name, value);
}

static enum step step_pass(struct exchange *x)
{
    if (x->refused)
        return step_refused(x);
    x->body_whole = true;
    if (x->upload) {
        front_each_trailer(&x->req, take_trailer, x);
        upload_finish(x->upload);
    } else if (!flight_attached(&x->reader)) {
        start_alone(x, false);
        if (x->refused)
            return step_refused(x);
    }
    return STEP_LOOK;
}

/* The answer that is coming varies: is it this one's? Else it looks for its own, under its own key. */
static bool stays_with_variant(struct exchange *x)
{
    const struct flight_split *split = flight_split_of(&x->reader);
    struct digest own = vary_key(x->worker->variant_keys, &x->common_key, split->id, split->names,
                                 x->req.fields.at, x->req.fields.n, scope_of(x));

    if (digest_eq(&own, &split->key)) {
        flight_stay(&x->reader);
        offer_terms(x);
        return true;
    }
    x->detail = NULL;
    x->key = own;
    memcpy(x->vary_id, split->id.data, sizeof(x->vary_id));
    x->has_vary_id = true;
    (void)flight_leave(&x->reader);
    return false;
}

/* A stale answer that may stand in for upstream's trouble may be below, and not have been asked for yet. */
static bool looks_for_help(struct exchange *x)
{
    if (x->manner != MANNER_CACHED || !below_may_ask(x))
        return false;
    below_start(x);
    return true;
}

/* Upstream is sick, or cannot be asked. */
static bool is_trouble(const struct flight_head *head)
{
    return head->failed || head->status >= 500 || head->status == 429;
}

static enum step step_look(struct exchange *x)
{
    const struct flight_head *head = NULL;

    x->next = STEP_LOOK;
    if (x->refused)
        return step_refused(x);
    if (below_is_asked(x)) {
        front_park(&x->req);
        return STEP_PARKED;
    }
    switch (flight_look(&x->reader, &head)) {
    case FLIGHT_READY:
        if (is_trouble(head) && lookup_instead(x, head->failed ? 0 : head->status)) {
            (void)flight_leave(&x->reader);
            return reply_entry(x);
        }
        if (is_trouble(head) && looks_for_help(x)) {
            front_park(&x->req);
            return STEP_PARKED;
        }
        body_drop(x);
        answer_flight(x, head);
        return STEP_DONE;
    case FLIGHT_BELOW:
        below_take(x);
        x->asked_upstream = false;
        return STEP_LOOKUP;
    case FLIGHT_VARIES:
        return stays_with_variant(x) ? STEP_LOOK : STEP_LOOKUP;
    case FLIGHT_RETRY:
        x->detail = NULL;
        x->key = x->common_key;
        x->chosen = false;
        return STEP_LOOKUP;
    case FLIGHT_WAIT:
        break;
    }
    front_park(&x->req);
    return STEP_PARKED;
}

static enum step (*const steps[])(struct exchange *x) = {
    [STEP_KEY] = step_key,       [STEP_MAKE] = step_make,       [STEP_MADE] = step_made,
    [STEP_LOOKUP] = step_lookup, [STEP_REFRESH] = step_refresh, [STEP_JOIN] = step_join,
    [STEP_BELOW] = step_below,   [STEP_PASS] = step_pass,       [STEP_LOOK] = step_look,
};

static void on_run(struct front_req *r)
{
    struct exchange *x = exchange_of(r);
    enum step step = x->next;

    while (step < STEP_PARKED)
        step = steps[step](x);
}

static void on_progress(struct flight_reader *reader)
{
    struct exchange *x = CONTAINER_OF(reader, struct exchange, reader);

    if (x->ended)
        exchange_maybe_recycle(x);
    else
        front_wake(&x->req);
}

const struct front_handler exchange_handler = {
    .on_new = on_new,
    .on_head = on_head,
    .on_body = on_body,
    .on_run = on_run,
    .on_gone = on_gone,
    .on_end = on_end,
    .on_refusal = on_refusal,
};
