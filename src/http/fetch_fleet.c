/*
 * The other instances' part in a fetch. Who leads asks upstream as ever, and tells what its readers get; who
 * follows feeds its flight from what it is told, and keeps the request at hand, in case it must ask after
 * all:
 *
 *   elect ─┬─ leads: ask upstream, tell
 *          ├─ follows ─┬─ head, bytes, end: the flight's
 *          │           ├─ not for others: ask upstream, all at once
 *          │           ├─ the leader is gone before anything was published: rewind, elect
 *          │           └─ … after that: cut
 *          └─ alone: ask upstream
 */
#include <assert.h>
#include <errno.h>

#include "fetch_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/store/fences.h"

bool fetch_is_led(const struct fetch *x)
{
    return x->led;
}

/* -- going on without them -- */

static void ask_alone(struct fetch *x)
{
    x->led = false;
    x->member = NULL;
    flight_rewind(x->flight);
    fetch_ask_waiting(x);
}

static void leave_for_upstream(struct fetch *x)
{
    fleet_leave(x->member);
    ask_alone(x);
}

/* An answer of another instance's ends here, unfinished. */
static void break_off(struct fetch *x, enum error_code code, const char *why, enum gate_reason reason)
{
    x->keep.reason = reason;
    fetch_drop_request(x);
    if (x->reading)
        fetch_finish(x, FLIGHT_CUT);
    else
        fetch_fail(x, code, why, reason);
}

static void give_up(struct fetch *x)
{
    break_off(x, ERR_OVERLOADED, "the request was given up", GATE_ABANDONED);
}

/* -- what a follower is told -- */

/* Two heads of one flight that vary by other things would tell its readers apart wrongly. */
static bool take_variant(struct fetch *x, const struct relay_head *told)
{
    const struct flight_split *before = flight_varies_by(x->flight);
    struct flight_split split;

    if (told->vary_names.len == 0)
        return true;
    if (!varying_told(&x->keep.varying, told->vary_names, told->vary_id, &told->vary_key, &split))
        return false;
    if (before)
        return digest_eq(&before->key, &split.key) && slice_eq(before->names, split.names);
    return flight_vary(x->flight, &split);
}

static enum gate_reason reason_of(struct slice name)
{
    for (int r = GATE_STORE + 1; r < GATE_REASON_COUNT; r++)
        if (slice_eq(name, slice_str(gate_reason_name((enum gate_reason)r))))
            return (enum gate_reason)r;
    return GATE_RULE; /* of a version to come */
}

static void publish(struct fetch *x)
{
    fetch_drop_request(x);
    fleet_delivered(x->member);
    fetch_publish(x);
}

/* As pass_on of who leads: it is known that it will not be stored. */
static void pass_on(struct fetch *x, enum gate_reason reason)
{
    struct flight_head *head = flight_head_edit(x->flight);

    x->keep.reason = reason;
    head->judged = true;
    head->reason = reason;
    publish(x);
}

static void on_head(void *arg, const struct relay_head *told)
{
    struct fetch *x = arg;
    struct flight_head *head = flight_head_edit(x->flight);

    if (x->late)
        loop_timer_stop(x->late);
    if (!take_variant(x, told)) {
        leave_for_upstream(x);
        return;
    }
    head->status = told->status;
    head->stream = told->stream;
    head->confirmed = told->confirmed;
    head->body_len = told->body_len;
    head->came_ms = told->came_ms;
    head->relayed = true;
    if (!fetch_take_fields(x, &told->fields)) {
        break_off(x, ERR_OVERLOADED, "out of memory", GATE_MEMORY);
        return;
    }
    fetch_drop_hop_fields(&head->fields); /* whatever it says */
    flight_adopt_id(x->flight, told->id);
    if (told->reason.len > 0)
        pass_on(x, reason_of(told->reason));
    else if (told->stream)
        publish(x);
}

/* Who leads has said how long it is, and this is longer. */
static bool is_too_long(const struct fetch *x, size_t more)
{
    const struct flight_head *head = flight_head(x->flight);

    return head->body_len >= 0 && flight_bytes(x->flight) + more > (uint64_t)head->body_len;
}

static void on_data(void *arg, struct slice bytes)
{
    struct fetch *x = arg;
    int r;

    if (is_too_long(x, bytes.len)) {
        break_off(x, ERR_UPSTREAM_PROTOCOL, "upstream's answer was cut short", GATE_INCOMPLETE);
        return;
    }
    if (!x->reading && flight_bytes(x->flight) + bytes.len > x->site->gate.object_bytes_max)
        pass_on(x, GATE_TOO_LARGE);
    r = flight_append(x->flight, bytes);
    if (r == -EAGAIN) {
        x->paused = true;
        fleet_pause(x->member);
    } else if (r < 0) {
        break_off(x, ERR_OVERLOADED, "too many bytes are waiting in the cache", GATE_MEMORY);
    }
}

static void take_whole(struct fetch *x, const struct relay_end *end)
{
    int64_t bytes = (int64_t)flight_bytes(x->flight), promised = flight_head(x->flight)->body_len;

    if (promised >= 0 && bytes != promised) {
        break_off(x, ERR_UPSTREAM_PROTOCOL, "upstream's answer was cut short", GATE_INCOMPLETE);
        return;
    }
    if (x->keep.reason == GATE_STORE && !end->stored)
        x->keep.reason = reason_of(end->reason);
    if (!x->reading) {
        struct flight_head *head = flight_head_edit(x->flight);

        head->judged = true;
        head->stored = end->stored;
        head->reason = x->keep.reason;
        head->body_len = bytes;
    }
    fetch_take_trailers(x, &end->trailers);
    flight_set_tokens(x->flight, (struct flight_tokens){.in = end->tokens_in,
                                                        .out = end->tokens_out,
                                                        .cached = end->tokens_cached,
                                                        .written = end->tokens_cache_write});
    fetch_drop_request(x);
    fetch_finish(x, FLIGHT_WHOLE);
}

static void take_failure(struct fetch *x, const struct relay_end *end)
{
    struct slice text = flight_keep(x->flight, end->error_text);

    if (!x->reading)
        flight_head_edit(x->flight)->retry_after_s = end->retry_after_s;
    break_off(x, end->error, text.len > 0 ? text.data : "upstream's answer was cut short",
              reason_of(end->reason));
}

/* Every reader asks for himself, at once, as do those who come soon. */
static void part_ways(struct fetch *x)
{
    if (flight_let_go(x->flight, FLIGHT_LET_KEPT, clock_mono_ms()) || x->unread)
        ask_alone(x);
    else
        give_up(x);
}

static void on_end(void *arg, const struct relay_end *end)
{
    struct fetch *x = arg;

    x->member = NULL;
    switch (end->how) {
    case RELAY_WHOLE:
        take_whole(x, end);
        break;
    case RELAY_FAILED:
    case RELAY_CUT:
        take_failure(x, end);
        break;
    case RELAY_UNSHAREABLE:
        if (x->reading)
            give_up(x);
        else
            part_ways(x);
        break;
    case RELAY_ALONE:
    case RELAY_AGAIN:
        if (x->reading)
            give_up(x);
        else
            ask_alone(x);
        break;
    }
}

/* -- whose turn it is -- */

/* What lies here already was brought by that leader, or by a later one, and is not good enough. */
static bool is_known(const struct fetch *x, int64_t fence)
{
    return x->waiting->known_seq >= fence || (x->about.entry && x->about.entry->started_seq >= fence);
}

/* What the leader brings was asked for before an invalidation that may mean it. */
static bool is_outdated(const struct fetch *x, int64_t fence)
{
    struct label label = {.key = *flight_key(x->flight),
                          .namespace_ = x->keep.namespace_,
                          .operation = x->keep.op_name,
                          .model = x->keep.model,
                          .target = x->keep.target};

    return fences_latest(x->site->fences) >= fence && fences_part_flight(x->site->fences, &label, fence);
}

static void lead(struct fetch *x, int64_t fence)
{
    if (x->followed)
        log_event(LOG_INFO, "cluster_flight_taken_over", LOG_STR("flight", flight_id(x->flight)));
    x->led = false;
    flight_raise_seq(x->flight, fence); /* later-started wins, whatever the clocks of two instances say */
    flight_rewind(x->flight);
    fetch_ask_waiting(x);
}

static void follow(struct fetch *x, int64_t fence)
{
    if (is_known(x, fence) || is_outdated(x, fence)) {
        leave_for_upstream(x);
        return;
    }
    x->followed = true;
    flight_rewind(x->flight);
    fetch_watch_lateness(x);
}

static void resigned(struct fetch *x)
{
    x->member = NULL;
    if (x->call && fetch_is_deserted(x) && flight_close_abandoned(x->flight))
        upstream_cancel(x->call);
}

static void on_turn(void *arg, enum fleet_turn turn, int64_t fence)
{
    struct fetch *x = arg;

    switch (turn) {
    case FLEET_LEADS:
        lead(x, fence);
        break;
    case FLEET_FOLLOWS:
        follow(x, fence);
        break;
    case FLEET_ALONE:
        ask_alone(x);
        break;
    case FLEET_CUT:
        x->member = NULL;
        log_event(LOG_WARN, "cluster_flight_cut", LOG_STR("flight", flight_id(x->flight)));
        break_off(x, ERR_UPSTREAM_PROTOCOL, "upstream's answer was cut short", GATE_INCOMPLETE);
        break;
    case FLEET_RESIGNED:
        resigned(x);
        break;
    }
}

static bool is_deserted(void *arg)
{
    const struct fetch *x = arg;

    return x->call && fetch_is_deserted(x);
}

static const struct fleet_events events = {on_turn, is_deserted, on_head, on_data, on_end};

void fetch_elect(struct fetch *x)
{
    x->member = fleet_join(x->fleet, flight_key(x->flight), flight_seq(x->flight),
                           (clock_mono_ns() - x->started_ns) / 1000000, &events, x);
    x->led = x->member != NULL;
    if (!x->member)
        fetch_ask_waiting(x);
}

void fetch_follow_on(struct fetch *x)
{
    if (x->paused && flight_has_room(x->flight)) {
        x->paused = false;
        fleet_resume(x->member);
    }
    if (x->unread || !flight_close_abandoned(x->flight))
        return;
    fleet_leave(x->member);
    x->member = NULL;
    give_up(x);
}

void fetch_follow_late(struct fetch *x)
{
    if (x->unread && !flight_is_read(x->flight))
        return;
    loop_timer_stop(x->late);
    if (flight_let_go(x->flight, FLIGHT_LET_LATE, clock_mono_ms()) || x->unread) {
        leave_for_upstream(x);
        return;
    }
    fleet_leave(x->member);
    x->member = NULL;
    give_up(x);
}

/* -- what a leader tells -- */

/* As it would be stored: nothing of it is about one caller. */
static void fields_to_tell(const struct flight_head *head, struct fields *out)
{
    for (size_t i = 0; i < head->fields.n; i++) {
        const struct field *f = &head->fields.at[i];

        if ((f->flags & HEADER_UNSTORED) == 0 || flight_field_is_advice(head->status, f))
            out->at[out->n++] = *f;
    }
}

void fetch_tell_head(struct fetch *x)
{
    const struct flight_head *head = flight_head(x->flight);
    const struct flight_split *split = flight_varies_by(x->flight);
    struct relay_head told = {.status = head->status,
                              .stream = head->stream,
                              .confirmed = head->confirmed,
                              .body_len = head->confirmed ? -1 : head->body_len,
                              .came_ms = x->keep.head_wall_ms,
                              .id = slice_str(flight_id(x->flight))};

    if (!x->member)
        return;
    if (x->keep.reason != GATE_STORE)
        told.reason = slice_str(gate_reason_name(x->keep.reason));
    if (split) {
        told.vary_names = split->names;
        told.vary_id = split->id;
        told.vary_key = split->key;
    }
    fields_to_tell(head, &told.fields);
    x->head_told = true;
    fleet_tell_head(x->member, &told);
}

void fetch_tell_bytes(struct fetch *x, struct slice bytes)
{
    if (x->member)
        fleet_tell(x->member, bytes);
}

static void tell_end(struct fetch *x, const struct relay_end *end, int64_t linger_ms)
{
    struct fleet_member *m = x->member;

    x->member = NULL;
    fleet_tell_end(m, end, linger_ms);
}

void fetch_tell_off(struct fetch *x, enum relay_how how)
{
    struct relay_end end = {.how = how};

    if (x->member)
        tell_end(x, &end, 0);
}

/* A failure of upstream's is shared. What is this instance's alone is not: the others may fare better. */
static enum relay_how how_failed(const struct fetch *x)
{
    switch (flight_head(x->flight)->error) {
    case ERR_OVERLOADED:
    case ERR_UPSTREAM_REFUSED_US: /* others may have been given a new credential already */
        return RELAY_AGAIN;
    case ERR_CIRCUIT_OPEN:
        return RELAY_ALONE;
    default:
        return RELAY_FAILED;
    }
}

static enum relay_how how_of(const struct fetch *x, enum flight_end how)
{
    switch (how) {
    case FLIGHT_WHOLE:
        return x->head_told ? RELAY_WHOLE : RELAY_AGAIN;
    case FLIGHT_CUT:
        return RELAY_CUT;
    case FLIGHT_FAILED:
        return how_failed(x);
    case FLIGHT_IN_STORE:
    case FLIGHT_FOUND:
        break;
    }
    return RELAY_AGAIN;
}

static int64_t linger_ms(const struct fetch *x, const struct relay_end *end)
{
    int64_t left_ms = end->stored ? x->keep.fresh_until_ms - clock_wall_ms() : 0;

    return left_ms / 2 < FETCH_LINGER_MS ? left_ms / 2
                                         : FETCH_LINGER_MS; /* Redis may be late to hear of it */
}

void fetch_tell_end(struct fetch *x, enum flight_end how)
{
    const struct flight_head *head = flight_head(x->flight);
    const struct fields *trailers;
    struct relay_end end = {.how = how_of(x, how),
                            .stored = how == FLIGHT_WHOLE && x->keep.reason == GATE_STORE,
                            .error = head->error,
                            .error_text = slice_str(head->error_text),
                            .retry_after_s = head->retry_after_s};
    struct flight_tokens tokens = keep_tokens(&x->keep);

    if (!x->member)
        return;
    if (x->led) {
        fleet_leave(x->member);
        x->member = NULL;
        return;
    }
    if (x->keep.reason != GATE_STORE)
        end.reason = slice_str(gate_reason_name(x->keep.reason));
    if (how == FLIGHT_WHOLE && head->confirmed) /* upstream has not sent it again */
        fleet_tell(x->member, entry_slice(x->about.entry, x->about.entry->body));
    trailers = flight_trailers_so_far(x->flight);
    if (trailers)
        end.trailers = *trailers;
    end.tokens_in = tokens.in;
    end.tokens_out = tokens.out;
    end.tokens_cached = tokens.cached;
    end.tokens_cache_write = tokens.written;
    tell_end(x, &end, linger_ms(x, &end));
}

bool fetch_ask_readers(struct fetch *x)
{
    if (!x->member)
        return false;
    fleet_desert(x->member);
    return true;
}

bool fetch_is_superseded(const struct fetch *x)
{
    if (!x->member || !fleet_is_lost(x->member))
        return false;
    log_event(LOG_WARN, "cluster_flight_superseded", LOG_STR("flight", flight_id(x->flight)));
    return true;
}
