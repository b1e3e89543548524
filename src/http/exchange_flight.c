/*
 * exchange_flight - the flights of an exchange. JOIN finds one under its key or opens one, REFRESH opens one
 * that nobody reads, PASS one that nobody joins; LOOK waits until it can be seen what a flight brings, and
 * whether that is for this exchange. Who opens a flight has it produced (forward.c).
 */
#include "exchange_priv.h"
#include "refrain/base/clock.h"

void exchange_start_alone(struct exchange *x, bool streamed)
{
    struct keying k = exchange_keying(x);

    exchange_charge_client(x);
    if (x->refused)
        return;
    if (x->ask.only_if_cached) { /* RFC 9111 section 5.2.1.7, also where nothing is ever stored */
        exchange_refuse(x, ERR_ONLY_IF_CACHED, "not in the cache, and only-if-cached was asked");
        return;
    }
    if (x->caller == 0) /* its key was never made */
        x->caller = keying_caller(x->worker->keys, &k);
    if (!flight_open_alone(site_of(x)->flights, &x->reader))
        exchange_refuse(x, ERR_OVERLOADED, "out of memory");
    else
        forward_start(x, x->reader.flight, NULL, streamed ? FORWARD_STREAMED : FORWARD_WHOLE);
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
enum step step_refresh(struct exchange *x)
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
    return exchange_reply_entry(x);
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
        exchange_refuse(x, ERR_OVERLOADED, "out of memory");
        return exchange_reply_refusal(x);
    }
    offer_terms(x);
    forward_start(x, x->reader.flight, &x->key, FORWARD_WHOLE);
    return STEP_LOOK;
}

enum step step_join(struct exchange *x)
{
    const struct site *s = site_of(x);
    bool fresh = !x->ask.joins || !s->coalesce;

    if (below_asks_alone(x)) {
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
        exchange_start_alone(x, false);
        return x->refused ? exchange_reply_refusal(x) : STEP_LOOK;
    }
    switch (join(x, fresh)) {
    case FLIGHT_JOINED:
        x->outcome = OUT_COALESCED;
        x->collapsed = true;
        offer_terms(x);
        return STEP_LOOK;
    case FLIGHT_OPENED:
        if (found_meanwhile(x))
            return exchange_reply_entry(x);
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
        return exchange_reply_entry(x);
    exchange_refuse(x, ERR_OVERLOADED, "out of memory");
    return exchange_reply_refusal(x);
}

/* RFC 9110 section 6.5.1: no place for what says who asks, nor for what is about a connection or meant for
 * us.
 */
static void take_trailer(void *arg, struct slice name, struct slice value)
{
    const uint32_t unfit = HEADER_CREDENTIAL | HEADER_HOP | HEADER_FRAMING | HEADER_OURS | HEADER_PEER;
    struct exchange *x = arg;

    if ((header_flags(site_of(x)->headers, name) & unfit) == 0)
        upload_trailer(x->upload, name, value);
}

enum step step_pass(struct exchange *x)
{
    if (x->refused)
        return exchange_reply_refusal(x);
    x->body_whole = true;
    if (x->upload) {
        front_each_trailer(&x->req, take_trailer, x);
        upload_finish(x->upload);
    } else if (!flight_attached(&x->reader)) {
        exchange_start_alone(x, false);
        if (x->refused)
            return exchange_reply_refusal(x);
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

enum step step_look(struct exchange *x)
{
    const struct flight_head *head = NULL;

    x->next = STEP_LOOK;
    if (x->refused)
        return exchange_reply_refusal(x);
    if (below_is_asked(x)) {
        front_park(&x->req);
        return STEP_PARKED;
    }
    switch (flight_look(&x->reader, &head)) {
    case FLIGHT_READY:
        if (is_trouble(head) && lookup_instead(x, head->failed ? 0 : head->status)) {
            (void)flight_leave(&x->reader);
            return exchange_reply_entry(x);
        }
        if (is_trouble(head) && looks_for_help(x)) {
            front_park(&x->req);
            return STEP_PARKED;
        }
        exchange_drop_body(x);
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
