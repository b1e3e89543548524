#include "keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recode.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/wire/coding.h"
#include "refrain/wire/tally.h"
#include "refrain/wire/usage.h"
#include "telling.h"

enum {
    JUDGE_INLINE_MAX = 64 * 1024,
    UNPACK_RATIO = 8,                 /* what JSON is expected to grow by */
    UNPACK_RATIO_MAX = 64,            /* a gzip body that grows more than this is no answer of a model */
    STREAM_UNPACKED_FREE = 1 << 20,   /* what a stream may decode to before that is asked */
    EVENT_BYTES_UNCOUNTED = 64 << 10, /* of a stream, held to be judged, not held against the allowance */
};

void keep_done(struct keep *k)
{
    if (k->following)
        stream_judge_done(&k->judge);
    limits_give_back(k->site->limits, k->judge_charged);
    varying_done(&k->varying);
    gunzip_free(k->gunzip);
    buf_done(&k->joined);
    buf_done(&k->plain);
}

/* -- what the gate is asked -- */

static struct gate_answer answer_of(const struct keep *k)
{
    const struct flight_head *head = flight_head(k->flight);

    return (struct gate_answer){
        .op = k->op,
        .streamed = k->streamed,
        .whole = true,
        .authorized = k->authorized,
        .confirmed = head->confirmed,
        .status = head->status,
        .asked_ms = k->asked_wall_ms,
        .came_ms = k->head_wall_ms,
        .fields = &head->fields,
        .body_bytes = flight_bytes(k->flight),
    };
}

static struct gate_conf gate_of(const struct keep *k)
{
    struct gate_conf conf = k->site->gate;

    conf.headers = k->site->headers;
    conf.scope = k->scope;
    conf.route_ttl_s = k->route_ttl_s;
    conf.heuristic = k->heuristic;
    return conf;
}

/* The validation breaker is told what the gate has found, good or broken, and has a say of its own. Before
 * storing is tried: whether anything is written tells nothing of upstream. */
static void weigh(struct keep *k)
{
    bool broken = gate_reason_is_broken(k->reason), trusted;

    if (k->reason != GATE_STORE && !broken)
        return;
    trusted = breakers_judged(k->breakers, broken, gate_reason_name(k->reason), clock_mono_ms());
    if (!broken && !trusted)
        k->reason = GATE_BREAKER;
}

/* -- the head, and what follows it -- */

bool keep_is_shareable(const struct keep *k)
{
    struct gate_answer a = answer_of(k);
    struct gate_conf conf = gate_of(k);

    return gate_shareable(&a, &conf);
}

enum gate_reason keep_head(struct keep *k, int64_t content_length)
{
    struct gate_answer a = answer_of(k);
    struct gate_conf conf = gate_of(k);

    a.body_bytes = content_length > 0 ? (uint64_t)content_length : 0;
    if (k->reason != GATE_STORE)
        return k->reason;
    k->reason = gate_head(&a, &conf);
    if (k->reason != GATE_STORE)
        weigh(k);
    else if (!breakers_may_store(k->breakers, clock_mono_ms()))
        k->reason = GATE_BREAKER;
    return k->reason;
}

bool keep_makes_tag(const struct keep *k)
{
    struct gate_answer a = answer_of(k);
    struct gate_conf conf = gate_of(k);
    struct fresh_life life;

    if (k->op != OP_READ || k->reason != GATE_STORE)
        return false;
    gate_life(&a, &conf, &life);
    return life.given && !life.validator;
}

/* The format that the answer streams in; STREAM_NONE: it does not. */
static enum stream_format stream_format(const struct keep *k)
{
    struct gate_answer a = answer_of(k);

    return a.status / 100 == 2 ? gate_stream_format(&a) : STREAM_NONE;
}

bool keep_is_stream(const struct keep *k)
{
    return stream_format(k) != STREAM_NONE;
}

void keep_follow(struct keep *k)
{
    stream_judge_init(&k->judge, dialect_of(k->op), stream_format(k), k->wants_json);
    k->following = true;
    if (!flight_head_is_gzip(flight_head(k->flight)))
        return;
    k->gunzip = gunzip_new(); /* it was not asked for, and yet servers and what stands before them do it */
    k->judge.failed = !k->gunzip;
}

/* Follows what the bytes decode to, as long as that grows as an answer of a model may. */
static void feed_coded(struct keep *k, struct slice bytes)
{
    char plain[16 * 1024];
    int64_t n = 1;

    k->coded_bytes += bytes.len;
    while (n > 0 && !k->damaged && !k->swollen) {
        n = gunzip_next(k->gunzip, &bytes, plain, sizeof(plain));
        if (n > 0)
            stream_judge_feed(&k->judge, slice_make(plain, (size_t)n));
        k->damaged = n < 0;
        k->plain_bytes += n > 0 ? (uint64_t)n : 0;
        k->swollen =
            k->plain_bytes > k->site->gate.object_bytes_max ||
            (k->plain_bytes > STREAM_UNPACKED_FREE && k->plain_bytes / UNPACK_RATIO_MAX > k->coded_bytes);
    }
}

/* An event is held until its last byte is in. Where there is no room for that, the stream flows on unjudged.
 */
static void charge_judge(struct keep *k)
{
    size_t held = stream_judge_held(&k->judge);

    if (held <= EVENT_BYTES_UNCOUNTED || held <= k->judge_charged)
        return;
    if (limits_take_spare_bytes(k->site->limits, held - k->judge_charged))
        k->judge_charged = held;
    else
        stream_judge_give_up(&k->judge);
}

bool keep_feed(struct keep *k, struct slice bytes)
{
    if (!k->following)
        return false;
    if (k->gunzip)
        feed_coded(k, bytes);
    else
        stream_judge_feed(&k->judge, bytes);
    charge_judge(k);
    return stream_judge_ended(&k->judge);
}

/* So far; of an API whose streams end with their message more may come. */
static bool stream_is_whole(const struct keep *k)
{
    return k->following && stream_judge_whole(&k->judge) &&
           (!k->gunzip || (!k->damaged && gunzip_is_whole(k->gunzip)));
}

bool keep_has_whole_stream(const struct keep *k)
{
    return stream_is_whole(k) && stream_judge_ended(&k->judge);
}

/* -- what it cost -- */

static uint64_t count_of(int64_t told)
{
    return told < 0 ? 0 : told < UINT32_MAX ? (uint64_t)told : UINT32_MAX; /* an entry holds no more */
}

static struct flight_tokens tokens_of(const struct tally *t)
{
    return (struct flight_tokens){
        .in = count_of(t->tokens_in),
        .out = count_of(t->tokens_out),
        .cached = count_of(t->tokens_cached),
        .written = count_of(t->tokens_cache_write),
    };
}

struct flight_tokens keep_tokens(const struct keep *k)
{
    return k->following ? tokens_of(&k->judge.tally) : k->tokens;
}

/* -- storing -- */

static int64_t later_ms(int64_t ms, int64_t by_ms)
{
    return ms == INT64_MAX || by_ms == INT64_MAX ? INT64_MAX : ms + by_ms;
}

/* Of the flight's id, which was drawn. */
static uint64_t dice_of(const struct keep *k)
{
    uint64_t dice;

    memcpy(&dice, flight_id(k->flight), sizeof(dice));
    dice *= UINT64_C(0x9E3779B97F4A7C15); /* from hex digits to bits that are evenly spread */
    return dice ^ dice >> 32;
}

/* On `read`, and where upstream is listened to, its own word closes windows and opens others. */
static struct fresh_windows windows_of(const struct keep *k, const struct flight_terms *terms,
                                       const struct fresh_word *word)
{
    struct fresh_windows w = {terms->stale_while_revalidate_s, terms->stale_if_error_s, false};

    if (k->op == OP_READ || k->site->gate.respect_upstream_cache_control)
        fresh_windows_obey(word, &w);
    return w;
}

/* How long the entry is of use once it is stale. */
static int64_t kept_s(const struct keep *k, const struct fresh_windows *w, bool validator)
{
    int64_t s = w->while_revalidate_s > w->if_error_s ? w->while_revalidate_s : w->if_error_s;

    return validator && s < k->site->keep_stale_s ? k->site->keep_stale_s : s;
}

/* Fills in how old it came, and until when it is good for what. */
static void set_times(const struct keep *k, const struct flight_terms *terms, struct entry *e)
{
    struct gate_answer a = answer_of(k);
    struct gate_conf conf = gate_of(k);
    struct fresh_windows windows;
    struct fresh_life life;
    struct lifetime_says says = {
        .terms_s = terms->ttl_s, .finish_s = k->finish_ttl_s, .read = k->op == OP_READ, .dice = dice_of(k)};
    struct lifetime lifetime;

    gate_life(&a, &conf, &life);
    says.otherwise_s = k->op == OP_READ ? life.left_s : k->site->ttl_s[k->op];
    says.promised = k->op == OP_READ && !life.given;
    lifetime_choose(&k->site->lifetime, &says, &lifetime);
    windows = windows_of(k, terms, &life.word);
    e->created_ms = k->head_wall_ms;
    e->initial_age_s = k->op == OP_READ ? (uint32_t)life.age_s : 0;
    e->expires_ms = later_ms(k->head_wall_ms, lifetime.fresh_ms);
    e->gone_ms = later_ms(e->expires_ms > e->created_ms ? e->expires_ms : e->created_ms,
                          kept_s(k, &windows, k->op == OP_READ && life.validator) * 1000);
    e->sliding_ms = lifetime.sliding_ms;
    e->max_expires_ms = lifetime.sliding_ms > 0 ? later_ms(k->head_wall_ms, lifetime.max_ms) : 0;
    e->while_revalidate_s = (uint32_t)windows.while_revalidate_s;
    e->if_error_s = (uint32_t)windows.if_error_s;
    e->flags |= windows.must_revalidate ? ENTRY_MUST_REVALIDATE : 0;
}

/* The tag of an entry: upstream's own on `read`, the drawn id on the rest (SPEC section 6). */
static struct slice etag_of(const struct keep *k, const struct flight_head *head)
{
    const struct field *etag = k->op == OP_READ ? fields_find_id(&head->fields, HEADER_ETAG) : NULL;

    return etag ? etag->value : (struct slice){NULL, 0};
}

/* What a hit saves is what the whole took, not its confirmation. */
static uint32_t upstream_ms(const struct keep *k)
{
    return k->about ? k->about->upstream_ms : (uint32_t)((k->answered_ns - k->started_ns) / 1000000);
}

/* What is altered is decoded, too. */
static bool is_stored(const struct keep *k, const struct field *f)
{
    if (k->altered && (field_id(f) == HEADER_CONTENT_ENCODING || flight_field_is_of_bytes(f)))
        return false;
    return (f->flags & HEADER_UNSTORED) == 0;
}

static enum gate_reason put(struct keep *k, const struct flight_head *head, const struct flight_terms *terms)
{
    size_t n = k->about || k->altered ? 1 : flight_pieces(k->flight, NULL, 0), kept = 0;
    bool gzip = flight_head_is_gzip(head) && !k->altered;
    struct flight_tokens tokens = keep_tokens(k);
    struct slice *pieces = calloc(n + 1, sizeof(*pieces));
    struct field *fields = calloc(FIELDS_MAX, sizeof(*fields));
    struct entry_parts parts = {
        .namespace_ = k->namespace_, .model = k->model, .op_name = k->op_name, .etag = etag_of(k, head)};
    int r = -ENOMEM;

    if (pieces && fields) {
        for (size_t i = 0; i < head->fields.n; i++)
            if (is_stored(k, &head->fields.at[i]))
                fields[kept++] = head->fields.at[i];
        if (k->about)
            pieces[0] = entry_slice(k->about, k->about->body);
        else if (k->altered)
            pieces[0] = buf_slice(flight_head_is_gzip(head) ? &k->plain : &k->joined);
        else
            (void)flight_pieces(k->flight, pieces, n);
        parts.head = (struct entry){
            .started_seq = flight_seq(k->flight),
            .target = k->target,
            .upstream_ms = upstream_ms(k),
            .tokens_in = (uint32_t)tokens.in,
            .tokens_out = (uint32_t)tokens.out,
            .tokens_cached = (uint32_t)tokens.cached,
            .tokens_cache_write = (uint32_t)tokens.written,
            .status = (uint16_t)head->status,
            .flags = (uint16_t)((head->stream ? ENTRY_STREAM : 0) | (gzip ? ENTRY_GZIP : 0)),
            .operation = (uint8_t)operation_kind(k->op),
            .prompt = (uint8_t)(k->op == OP_READ ? 0 : k->prompt + 1),
        };
        set_times(k, terms, &parts.head);
        k->fresh_until_ms = parts.head.expires_ms;
        memcpy(parts.head.id, flight_id(k->flight), ENTRY_ID_LEN);
        parts.tags = terms->tags;
        if (k->about && parts.tags.len == 0)
            parts.tags = entry_slice(k->about, k->about->tags);
        parts.fields = fields;
        parts.fields_n = kept;
        parts.body = pieces;
        parts.body_n = n;
        r = varying_put(&k->varying, k->site, &parts, clock_wall_ms());
        if (r == 0)
            telling_stored(k->site->events, &parts, k->request_id);
    }
    free(pieces);
    free(fields);
    if (r == -EMSGSIZE)
        return GATE_TOO_LARGE;
    if (r == -ENOSPC)
        return GATE_VARY;
    if (r == -ECANCELED)
        return GATE_INVALIDATED;
    return r == 0 || r == -EEXIST ? GATE_STORE
                                  : GATE_MEMORY; /* a later one is there already: as good as stored */
}

/* Stores what the gate let through, if anyone who asked may write. */
static void store(struct keep *k)
{
    struct flight_terms terms;

    if (!k->about) /* what upstream merely confirms tells nothing of its answers */
        weigh(k);
    if (k->reason == GATE_STORE && !store_keeps(k->site->store))
        k->reason = GATE_RULE;
    if (k->reason == GATE_STORE && !flight_get_terms(k->flight, &terms))
        k->reason = k->read_only ? GATE_RULE : GATE_CLIENT;
    if (k->reason == GATE_STORE)
        k->reason = put(k, flight_head(k->flight), &terms);
}

/* -- the verdict -- */

/* The gate's word on what @t adds up to, NULL where nothing is added up; what storing needs of that is
 * noted. */
static enum gate_reason judge(struct keep *k, const struct tally *t, bool whole)
{
    struct gate_conf conf = gate_of(k);
    struct gate_answer a = answer_of(k);
    struct tally_result sum;

    a.whole = whole;
    if (!t)
        return gate_judge(&a, &conf);
    tally_result(t, &sum);
    a.tally = &sum;
    k->finish_ttl_s = gate_finish_ttl_s(&a, &conf);
    k->tokens = tokens_of(t);
    return gate_judge(&a, &conf);
}

static enum gate_reason judge_body(struct keep *k, struct slice body)
{
    struct tally tally;
    enum gate_reason reason;

    if (k->op == OP_READ)
        return judge(k, NULL, true);
    tally_init(&tally, dialect_of(k->op), k->wants_json);
    tally_whole(&tally, body);
    reason = judge(k, &tally, true);
    tally_done(&tally);
    return reason;
}

/* In one piece, and decoded; whatever fails here speaks against storing. Runs on the pool for large ones. */
static enum gate_reason join(struct keep *k, struct buf **out)
{
    bool gzip = flight_head_is_gzip(flight_head(k->flight));
    size_t n = flight_pieces(k->flight, NULL, 0);
    struct slice *pieces = calloc(n + 1, sizeof(*pieces));
    int r = pieces ? 0 : -ENOMEM;
    uint64_t bytes = flight_bytes(k->flight);

    k->joined.max = bytes;
    k->plain.max = k->site->gate.object_bytes_max < bytes * UNPACK_RATIO_MAX ? k->site->gate.object_bytes_max
                                                                             : bytes * UNPACK_RATIO_MAX;

    if (pieces)
        (void)flight_pieces(k->flight, pieces, n);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = buf_add_slice(&k->joined, pieces[i]);
    free(pieces);
    if (r < 0)
        return GATE_MEMORY;
    if (gzip) {
        r = gzip_unpack(buf_slice(&k->joined), &k->plain);
        if (r < 0)
            return r == -EMSGSIZE ? GATE_TOO_LARGE : r == -ENOMEM ? GATE_MEMORY : GATE_INCOMPLETE;
    }
    *out = gzip ? &k->plain : &k->joined;
    return GATE_STORE;
}

/* What is stored says that nothing was used. Who made the call, and reads what came, is told otherwise, so it
 * is a copy. */
static enum gate_reason zero_usage(struct keep *k, struct buf *body)
{
    enum gate_reason reason = body ? GATE_STORE : join(k, &body);
    struct usage_zero z;

    if (reason != GATE_STORE)
        return reason;
    usage_zero_init(&z, dialect_of(k->op), k->following ? stream_format(k) : STREAM_NONE);
    usage_zero(&z, body->data, body->len);
    k->altered = true;
    return GATE_STORE;
}

static enum gate_reason join_and_judge(struct keep *k)
{
    struct buf *body = NULL;
    enum gate_reason reason = join(k, &body);

    if (reason == GATE_STORE)
        reason = judge_body(k, buf_slice(body));
    if (reason == GATE_STORE && k->zero_usage)
        reason = zero_usage(k, body);
    return reason;
}

static void on_judge_work(struct loop_work *w)
{
    struct keep *k = CONTAINER_OF(w, struct keep, work);

    k->reason = join_and_judge(k);
    store(k); /* packing a large answer takes its time, too */
}

static void settled(struct keep *k)
{
    if (k->reason == GATE_STORE)
        recode_shrunk(k->site, k->loop, k->varying.split ? &k->varying.key : &k->varying.common);
    k->on_settled(k);
}

static void on_judge_done(struct loop_work *w)
{
    settled(CONTAINER_OF(w, struct keep, work));
}

/* What is to be looked at, about. */
static uint64_t work_bytes(const struct keep *k)
{
    return flight_bytes(k->flight) * (flight_head_is_gzip(flight_head(k->flight)) ? UNPACK_RATIO : 1);
}

static void judge_whole(struct keep *k)
{
    if (work_bytes(k) > JUDGE_INLINE_MAX) {
        k->work = (struct loop_work){.on_work = on_judge_work, .on_done = on_judge_done};
        loop_work_start(k->loop, &k->work);
        return;
    }
    k->reason = join_and_judge(k);
    store(k);
    settled(k);
}

static void store_stream(struct keep *k)
{
    if (k->reason == GATE_STORE && k->zero_usage)
        k->reason = zero_usage(k, NULL);
    store(k);
}

static void on_store_work(struct loop_work *w)
{
    store_stream(CONTAINER_OF(w, struct keep, work));
}

static void judge_stream(struct keep *k)
{
    if (k->swollen)
        k->reason = GATE_TOO_LARGE;
    else if (k->judge.failed)
        k->reason = GATE_MEMORY;
    else
        k->reason = judge(k, &k->judge.tally, stream_is_whole(k));
    if (work_bytes(k) > JUDGE_INLINE_MAX) {
        k->work = (struct loop_work){.on_work = on_store_work, .on_done = on_judge_done};
        loop_work_start(k->loop, &k->work);
        return;
    }
    store_stream(k);
    settled(k);
}

void keep_give_up(struct keep *k, enum gate_reason reason)
{
    if (k->reason != GATE_STORE)
        return;
    k->reason = reason;
    weigh(k);
}

void keep_settle(struct keep *k)
{
    if (k->following)
        judge_stream(k);
    else
        judge_whole(k);
}

/* -- what upstream has confirmed -- */

static void fill_and_store(struct keep *k)
{
    int r = k->to_readers ? flight_append(k->flight, entry_slice(k->about, k->about->body)) : 0;

    k->starved = r < 0 && r != -EAGAIN;
    if (k->reason == GATE_STORE && !k->starved)
        store(k);
}

static void on_confirm_work(struct loop_work *w)
{
    fill_and_store(CONTAINER_OF(w, struct keep, work));
}

void keep_confirm(struct keep *k, const struct entry *e, bool to_readers)
{
    k->about = e;
    k->to_readers = to_readers;
    if (e->body.len > JUDGE_INLINE_MAX) {
        k->work = (struct loop_work){.on_work = on_confirm_work, .on_done = on_judge_done};
        loop_work_start(k->loop, &k->work);
        return;
    }
    fill_and_store(k);
    settled(k);
}
