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
 * reply. Everything else parks and is run again by front_wake. Only on_run moves an exchange along.
 *
 * Here it is made, run and ended. The rest, in the order in which a request comes by it:
 *
 *   exchange_head.c    sort: what is to become of it, from its head alone
 *   exchange_client.c  who asks, and may he, now?
 *   exchange_body.c    its body, collected or handed on
 *   exchange_key.c     KEY, MAKE, MADE: which request is it?
 *   exchange_store.c   LOOKUP, BELOW: will what is stored do, and if not, where to?
 *   exchange_flight.c  JOIN, REFRESH, PASS, LOOK: the flights that it opens, joins and waits for
 *   answer.c           replies
 *
 * and what these ask: lookup.c (the store), below.c (the tiers below memory), choosing.c (which of several
 * answers), forward.c (what goes on to upstream).
 */
#include <endian.h>
#include <stddef.h>
#include <stdlib.h>

#include "account.h"
#include "exchange_priv.h"
#include "refrain/wire/gunzip.h"

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
    x->reader.on_progress = on_progress;
    x->content_length = -1;
    return &x->req;
}

static void view_leave(struct worker *w, struct site_view *view)
{
    if (--view->uses > 0 || view == w->view)
        return;
    site_view_free(view);
}

static void exchange_recycle(struct exchange *x)
{
    struct worker *w = x->worker;

    view_leave(w, x->view);
    free(x->trace);
    below_free(x);
    buf_done(&x->canonical); /* not before: the pool may have been writing it when the client left */
    exchange_drop_body(x);
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

        buf_done(&x->body);
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

/* Eight digits at once: a byte for each, spread from the lowest, then those past 9 raised to letters. */
static void hex8(uint32_t n, char out[8])
{
    uint64_t x = n, past_nine;

    x = (x | x << 16) & UINT64_C(0x0000FFFF0000FFFF);
    x = (x | x << 8) & UINT64_C(0x00FF00FF00FF00FF);
    x = (x | x << 4) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    past_nine = (x + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
    x = htobe64(x + UINT64_C(0x3030303030303030) + past_nine * ('a' - '0' - 10));
    memcpy(out, &x, sizeof(x));
}

void exchange_draw_id(struct worker *w, char out[REQUEST_ID_MAX + 1])
{
    uint64_t next = w->id_next++;

    hex8((uint32_t)(w->id_prefix >> 32), out);
    hex8((uint32_t)w->id_prefix, out + 8);
    hex8((uint32_t)(next >> 32), out + 16);
    hex8((uint32_t)next, out + 24);
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

    exchange_draw_id(w, w->refusal_id);
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

/* A body that has not come whole is not to look so to upstream. */
static void upload_leave(struct exchange *x)
{
    if (!x->upload)
        return;
    upload_on_room(x->upload, NULL, NULL);
    if (!x->body_whole)
        upload_abort(x->upload);
    upload_unref(x->upload);
    x->upload = NULL;
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
    upload_leave(x);
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

/* -- running -- */

enum step exchange_reply_refusal(struct exchange *x)
{
    x->req.close_after = true;
    answer_error(x, x->refusal, x->refusal_text);
    return STEP_DONE;
}

enum step exchange_reply_entry(struct exchange *x)
{
    exchange_drop_body(x);
    answer_entry(x);
    return STEP_DONE;
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

void exchange_resume(struct exchange *x)
{
    if (x->ended)
        exchange_maybe_recycle(x);
    else
        front_wake(&x->req);
}

static void on_progress(struct flight_reader *reader)
{
    exchange_resume(CONTAINER_OF(reader, struct exchange, reader));
}

const struct front_handler exchange_handler = {
    .on_new = on_new,
    .on_head = exchange_on_head,
    .on_body = exchange_on_body,
    .on_run = on_run,
    .on_gone = on_gone,
    .on_end = on_end,
    .on_refusal = on_refusal,
};
