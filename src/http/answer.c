/* Replies: a stored entry, what a flight brings, or an error of ours; each with what the cache has to say
 * about it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "exchange_priv.h"
#include "recode.h"
#include "refrain/base/clock.h"
#include "refrain/wire/gunzip.h"
#include "refrain/wire/httpdate.h"
#include "revalidate.h"
#include "select.h"

enum { GUNZIP_IN_BYTES = 4096 };

static const char *const outcome_words[] = {
    [OUT_HIT] = "HIT",    [OUT_STALE] = "STALE",         [OUT_REVALIDATED] = "REVALIDATED",
    [OUT_MISS] = "MISS",  [OUT_COALESCED] = "COALESCED", [OUT_BYPASS] = "BYPASS",
    [OUT_ERROR] = "MISS",
};

/* -- small texts, without the cost of printf on the way of a hit -- */

struct text {
    char bytes[192];
    size_t len;
};

static void text_add(struct text *t, const char *s)
{
    size_t n = strlen(s);

    if (n > sizeof(t->bytes) - 1 - t->len)
        n = sizeof(t->bytes) - 1 - t->len;
    memcpy(t->bytes + t->len, s, n);
    t->len += n;
    t->bytes[t->len] = '\0';
}

static void text_add_number(struct text *t, uint64_t n)
{
    char digits[21];
    size_t at = sizeof(digits) - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    text_add(t, digits + at);
}

static void field_number(struct exchange *x, const char *name, uint64_t n)
{
    struct text t = {.len = 0};

    text_add_number(&t, n);
    front_reply_field(&x->req, name, t.bytes);
}

/* The quoted id, as entity tag; a gzip body is another representation (RFC 9110 section 8.8.3.3). */
static struct text own_etag(const char *id, bool gzip)
{
    struct text t = {.len = 0};

    t.bytes[0] = '"';
    memcpy(t.bytes + 1, id, ENTRY_ID_LEN);
    t.len = 1 + ENTRY_ID_LEN;
    text_add(&t, gzip ? "-gz\"" : "\"");
    return t;
}

/* -- what every reply says -- */

/* RFC 9211 section 2.2. */
static const char *forwarded_word(const struct exchange *x)
{
    static const char *const words[] = {
        [FOR_MISS] = "miss",
        [FOR_VARY_MISS] = "vary-miss",
        [FOR_STALE] = "stale",
        [FOR_REQUEST] = "request",
    };

    if (x->manner == MANNER_CACHED)
        return words[x->forwarded_for];
    if (x->op == OP_PASS && !slice_eq(x->req.method, SLICE_OF("GET")) && !x->head_request)
        return "method";
    return "bypass";
}

static void text_add_forwarded(struct text *t, const struct exchange *x)
{
    text_add(t, "refrain; fwd=");
    text_add(t, forwarded_word(x));
}

static void common_fields(struct exchange *x, const char *cache_status)
{
    front_reply_field(&x->req, "Cache-Status", cache_status);
    front_reply_field(&x->req, "X-Cache", outcome_words[x->outcome]);
    front_reply_field(&x->req, "Refrain-Request-Id", x->request_id);
}

/* The API's own name for a request id: SDKs show it in their errors. */
static void own_request_id(struct exchange *x)
{
    const char *name = dialect_of(x->op)->request_id_header;

    if (name)
        front_reply_field(&x->req, name, x->request_id);
}

/* -- decoding for a client that does not take gzip -- */

static int64_t read_decoded(struct exchange *x, int64_t (*read)(struct exchange *x, char *buf, size_t cap),
                            char *buf, size_t cap)
{
    for (;;) {
        int64_t n = gunzip_next(x->gunzip, &x->body_part, buf, cap);

        if (n < 0)
            return FRONT_ABORT;
        if (n > 0)
            return n;
        n = read(x, x->decode_bytes, GUNZIP_IN_BYTES);
        if (n <= 0)
            return n;
        x->body_part = slice_make(x->decode_bytes, (size_t)n);
    }
}

static bool decoding_begin(struct exchange *x)
{
    x->gunzip = gunzip_new();
    x->decode_bytes = x->gunzip ? malloc(GUNZIP_IN_BYTES) : NULL;
    return x->decode_bytes != NULL;
}

/* -- a hit -- */

static int64_t no_more(struct exchange *x, char *buf, size_t cap)
{
    (void)x;
    (void)buf;
    (void)cap;
    return FRONT_END;
}

static int64_t read_entry_decoded(struct front_req *r, char *buf, size_t cap)
{
    int64_t n = read_decoded(exchange_of(r), no_more, buf, cap);

    exchange_of(r)->bytes_sent += n > 0 ? (uint64_t)n : 0;
    return n;
}

/* The stored bytes as this client takes them; false: they must be decoded on the way. */
static bool entry_bytes(const struct entry *e, bool gzip, struct slice *out)
{
    bool coded = (e->flags & ENTRY_GZIP) != 0;

    *out = entry_slice(e, coded && !gzip ? e->plain : e->body);
    return !coded || gzip || e->plain.len > 0;
}

static void entry_body(struct exchange *x, bool gzip, const struct selection *s)
{
    const struct entry *e = x->entry.entry;
    struct slice body;

    if (s->what == SELECT_UNCHANGED || s->what == SELECT_NO_PART) {
        front_reply_bytes(&x->req, (struct slice){NULL, 0}, NULL, NULL);
        return;
    }
    if (!entry_bytes(e, gzip, &body)) {
        body = entry_slice(e, e->body);
        recode_with_identity(x->view->site, x->worker->loop, &e->key);
        if (decoding_begin(x)) {
            x->body_part = body;
            front_reply_stream(&x->req, -1, read_entry_decoded);
            return;
        }
    }
    if (s->what == SELECT_PART)
        body = slice_make(body.data + s->first, (size_t)(s->last - s->first + 1));
    x->bytes_sent = body.len;
    front_reply_bytes(&x->req, body, NULL, NULL); /* the entry is held until on_end */
}

/* Decoded, the bytes are others than the tag stands for, though they mean the same (RFC 9110 section
 * 8.8.3.3). */
static void field_etag(struct exchange *x, const char *value, bool decoded)
{
    struct text t = {.len = 0};

    if (!decoded || strncmp(value, "W/", 2) == 0) {
        front_reply_field(&x->req, "ETag", value);
        return;
    }
    if (strlen(value) + 3 > sizeof(t.bytes))
        return;
    text_add(&t, "W/");
    text_add(&t, value);
    front_reply_field(&x->req, "ETag", t.bytes);
}

static void entry_own_fields(struct exchange *x, bool gzip, const struct selection *s)
{
    const struct entry *e = x->entry.entry;
    bool coded = (e->flags & ENTRY_GZIP) != 0,
         none = s->what == SELECT_UNCHANGED || s->what == SELECT_NO_PART;
    struct entry_field f = {0};

    while (entry_next_field(e, &f)) {
        if (none && !select_keeps_field(slice_make(f.name, f.name_len), e->etag.len > 0))
            continue;
        if (coded && !gzip && f.name_len == 16 && strcasecmp(f.name, "content-encoding") == 0)
            continue;
        if (coded && !gzip && f.name_len == 4 && strcasecmp(f.name, "etag") == 0)
            field_etag(x, f.value, true);
        else
            front_reply_field(&x->req, f.name, f.value);
    }
    if (coded)
        front_reply_field(&x->req, "Vary", "Accept-Encoding");
}

/* On POST, an extension of ours: the id stands for the answer, in either coding (SPEC section 6). */
static bool own_tag_matches(const struct exchange *x)
{
    const struct entry *e = x->entry.entry;
    struct text id = own_etag(e->id, false), gz = own_etag(e->id, true);

    return x->ask.if_none_match.len > 0 &&
           (etag_list_matches(x->ask.if_none_match, slice_make(id.bytes, id.len)) ||
            etag_list_matches(x->ask.if_none_match, slice_make(gz.bytes, gz.len)));
}

static struct selection entry_select(const struct exchange *x, bool gzip)
{
    const struct ask *a = &x->ask;
    const struct entry *e = x->entry.entry;
    struct selection all = {.what = SELECT_ALL};
    struct select_from from;
    struct slice body;

    if (!a->if_none_match.data && !a->if_modified_since.data && !a->range.data)
        return all; /* nearly always */
    if (x->op != OP_READ) {
        all.what = own_tag_matches(x) ? SELECT_UNCHANGED : SELECT_ALL;
        return all;
    }
    if (e->status != 200)
        return all;
    from = (struct select_from){.ask = a, .asked = &x->req.fields, .now_s = x->judged_ms / 1000};
    revalidate_tags(e, &from.tags);
    from.has_parts = entry_bytes(e, gzip, &body) && !x->head_request;
    from.length = body.len;
    from.decoded = (e->flags & ENTRY_GZIP) && !gzip;
    return select_of(&from);
}

/* RFC 9211 sections 2.1 to 2.3: a hit was not forwarded; ttl is negative where the answer is stale. */
static void entry_status_text(const struct exchange *x, int64_t now_ms, struct text *t)
{
    int64_t left_ms = x->entry.expires_ms - now_ms;

    text_add(t, x->instead ? "refrain; fwd=stale" : "refrain; hit");
    if (x->error_status) {
        text_add(t, "; fwd-status=");
        text_add_number(t, x->error_status);
    }
    if (x->entry.expires_ms != INT64_MAX) {
        text_add(t, left_ms > -1000 ? "; ttl=" : "; ttl=-");
        text_add_number(t, (uint64_t)(left_ms < 0 ? -left_ms : left_ms) / 1000);
    }
    text_add(t, "; detail=");
    text_add(t, x->instead ? "stale-if-error" : exchange_tier(x));
}

static void entry_cache_fields(struct exchange *x, bool gzip)
{
    const struct entry *e = x->entry.entry;
    int64_t now_ms = x->judged_ms; /* it has the age that it was found fresh at */
    int64_t age_s =
        (int64_t)e->initial_age_s + (now_ms > e->created_ms ? (now_ms - e->created_ms) / 1000 : 0);
    struct text status = {.len = 0}, id = {.len = 0};

    entry_status_text(x, now_ms, &status);
    common_fields(x, status.bytes);
    field_number(x, "Age", (uint64_t)age_s);
    if (e->operation != OP_READ) {
        struct text etag = own_etag(e->id, gzip);

        front_reply_field(&x->req, "ETag", etag.bytes);
    }
    field_number(x, "X-Cache-Hits", x->entry.hits);
    memcpy(id.bytes, e->id, ENTRY_ID_LEN);
    id.bytes[ENTRY_ID_LEN] = '\0';
    front_reply_field(&x->req, "Refrain-Entry", id.bytes);
    own_request_id(x);
}

/* RFC 9110 section 14.4. */
static void content_range(struct exchange *x, bool gzip, const struct selection *s)
{
    struct text t = {.len = 0};
    struct slice body;

    (void)entry_bytes(x->entry.entry, gzip, &body);
    text_add(&t, "bytes ");
    if (s->what == SELECT_PART) {
        text_add_number(&t, s->first);
        text_add(&t, "-");
        text_add_number(&t, s->last);
    } else {
        text_add(&t, "*");
    }
    text_add(&t, "/");
    text_add_number(&t, body.len);
    front_reply_field(&x->req, "Content-Range", t.bytes);
}

static unsigned status_of(const struct selection *s, unsigned whole)
{
    static const unsigned statuses[] = {
        [SELECT_UNCHANGED] = 304, [SELECT_PART] = 206, [SELECT_NO_PART] = 416};

    return s->what == SELECT_ALL ? whole : statuses[s->what];
}

void answer_entry(struct exchange *x)
{
    const struct entry *e = x->entry.entry;
    bool gzip = (e->flags & ENTRY_GZIP) && x->gzip && !(x->ask.no_transform && (e->flags & ENTRY_SHRUNK));
    struct selection s = entry_select(x, gzip);

    x->outcome = x->verdict == FRESH_SERVE ? OUT_HIT : OUT_STALE;
    x->detail = x->instead ? "stale-if-error" : exchange_tier(x);
    x->status = status_of(&s, e->status);
    entry_body(x, gzip, &s);
    entry_own_fields(x, gzip, &s);
    if (s.what == SELECT_PART || s.what == SELECT_NO_PART)
        content_range(x, gzip, &s);
    entry_cache_fields(x, gzip);
    front_reply_send(&x->req, x->status);
}

/* -- what a flight brings -- */

static int64_t read_flight(struct exchange *x, char *buf, size_t cap)
{
    int64_t n = flight_read(&x->reader, buf, cap);

    switch (n) {
    case FLIGHT_READ_WAIT:
        return FRONT_WAIT;
    case FLIGHT_READ_END:
        return FRONT_END;
    case FLIGHT_READ_CUT:
        x->outcome = OUT_ERROR;
        x->detail = "cut";
        return FRONT_ABORT;
    default:
        return n;
    }
}

static void verdict_trailer(struct exchange *x)
{
    enum gate_reason verdict = flight_verdict(&x->reader);
    struct text t = {.len = 0};

    text_add_forwarded(&t, x);
    if (x->collapsed)
        text_add(&t, "; collapsed");
    text_add(&t, verdict == GATE_STORE ? "; stored" : "; detail=not-stored:");
    if (verdict != GATE_STORE)
        text_add(&t, gate_reason_name(verdict));
    front_reply_trailer(&x->req, "Cache-Status", t.bytes);
}

static void trailers(struct exchange *x)
{
    const struct fields *upstream = flight_trailers(&x->reader);

    for (size_t i = 0; upstream && i < upstream->n; i++)
        if (!x->usage || !flight_field_is_of_bytes(&upstream->at[i]))
            front_reply_trailer(&x->req, upstream->at[i].name.data, upstream->at[i].value.data);
    if (x->verdict_in_trailer)
        verdict_trailer(x);
}

static int64_t count_sent(struct exchange *x, char *buf, int64_t n)
{
    if (n > 0 && x->bytes_sent == 0)
        x->first_byte_ns = clock_mono_ns();
    if (n > 0 && x->usage)
        usage_zero(x->usage, buf, (size_t)n);
    if (n > 0)
        x->bytes_sent += (uint64_t)n;
    if (n != FRONT_END)
        return n;
    trailers(x);
    if (x->outcome != OUT_BYPASS && flight_verdict(&x->reader) != GATE_STORE)
        x->detail =
            gate_reason_name(flight_verdict(&x->reader)); /* for the log: a stream's head could not tell */
    return n;
}

static int64_t read_flight_as_is(struct front_req *r, char *buf, size_t cap)
{
    return count_sent(exchange_of(r), buf, read_flight(exchange_of(r), buf, cap));
}

static int64_t read_flight_decoded(struct front_req *r, char *buf, size_t cap)
{
    return count_sent(exchange_of(r), buf, read_decoded(exchange_of(r), read_flight, buf, cap));
}

/* Another one's request has brought it: here, or on another instance. */
static bool is_second_hand(const struct exchange *x, const struct flight_head *head)
{
    return !x->reader.opener || head->relayed;
}

/* The opener gets upstream's head as it came; a follower gets it as it would be stored: nothing of it is
 * about him. */
static void head_fields(struct exchange *x, const struct flight_head *head, bool decode, bool unchanged)
{
    bool has_etag = fields_find_id(&head->fields, HEADER_ETAG) != NULL;

    for (size_t i = 0; i < head->fields.n; i++) {
        const struct field *f = &head->fields.at[i];

        if (is_second_hand(x, head) && (f->flags & HEADER_UNSTORED) &&
            !flight_field_is_advice(head->status, f))
            continue;
        if (decode && field_id(f) == HEADER_CONTENT_ENCODING)
            continue;
        if (x->usage && flight_field_is_of_bytes(f))
            continue;
        if (unchanged && !select_keeps_field(f->name, has_etag))
            continue;
        if (field_id(f) == HEADER_ETAG)
            field_etag(x, f->value.data, decode);
        else
            front_reply_field(&x->req, f->name.data, f->value.data);
    }
    if (x->manner == MANNER_CACHED && flight_head_is_gzip(head))
        front_reply_field(&x->req, "Vary", "Accept-Encoding");
}

static void flight_status_text(const struct exchange *x, const struct flight_head *head, struct text *t)
{
    text_add_forwarded(t, x);
    if (x->outcome == OUT_BYPASS) {
        if (x->detail) {
            text_add(t, "; detail=");
            text_add(t, x->detail);
        }
        return;
    }
    if (head->confirmed)
        text_add(t, "; fwd-status=304");
    if (x->collapsed)
        text_add(t, "; collapsed");
    if (head->judged && head->stored) {
        text_add(t, "; stored");
    } else if (head->judged && !x->unproven) {
        text_add(t, "; detail=not-stored:");
        text_add(t, gate_reason_name(head->reason));
    }
    if (x->unproven)
        text_add(t, "; detail=reauth");
    else if (x->cut_off && !(head->judged && !head->stored))
        text_add(t, "; detail=cut-off");
}

/* What upstream made for this very request is new; on `read` it may come from a cache itself. */
static int64_t follower_age_s(const struct exchange *x, const struct flight_head *head)
{
    int64_t now_ms = clock_wall_ms(), here_ms = head->came_ms > 0 ? now_ms - head->came_ms : 0;

    if (x->op != OP_READ)
        return 0;
    return fresh_initial_age_s(&head->fields, now_ms, now_ms) + (here_ms > 0 ? here_ms / 1000 : 0);
}

/* The bytes that are stored have been altered: what stands for them does not stand for those that who made
 * the call is given. */
static bool has_other_bytes(const struct exchange *x)
{
    return !x->usage && keying_zeroes_usage(site_of(x), &x->plan, x->op);
}

static void flight_cache_fields(struct exchange *x, const struct flight_head *head, bool decode)
{
    struct text status = {.len = 0};

    flight_status_text(x, head, &status);
    common_fields(x, status.bytes);
    if (x->outcome == OUT_BYPASS)
        return;
    field_number(x, "X-Cache-Hits", 0);
    if (is_second_hand(x, head))
        field_number(x, "Age", (uint64_t)follower_age_s(x, head));
    if (x->op != OP_READ && (head->stored || head->stream) && !has_other_bytes(x)) {
        struct text etag =
            own_etag(flight_id(x->reader.flight), flight_head_is_gzip(head) && x->gzip && !decode);

        front_reply_field(&x->req, "ETag", etag.bytes);
    }
    if (head->stored)
        front_reply_field(&x->req, "Refrain-Entry", flight_id(x->reader.flight));
    if (is_second_hand(x, head))
        own_request_id(x);
    if (x->verdict_in_trailer)
        front_reply_field(&x->req, "Trailer", "Cache-Status");
}

static bool wants_trailers(const struct exchange *x)
{
    const struct field *te = fields_find_id(&x->req.fields, HEADER_TE);

    return te && value_has_token(te->value, SLICE_OF("trailers"));
}

static void flight_body(struct exchange *x, const struct flight_head *head, bool decode)
{
    struct slice whole;

    if (head->status == 304 && head->body_len < 0) { /* libmicrohttpd would end its chunks after this head */
        front_reply_bytes(&x->req, (struct slice){NULL, 0}, NULL, NULL);
    } else if (!decode && !x->usage && !head->stream && !x->head_request &&
               flight_in_one_piece(&x->reader, &whole)) {
        x->bytes_sent = whole.len;
        front_reply_bytes(&x->req, whole, NULL, NULL); /* head and body in one send; read until on_end */
    } else {
        front_reply_stream(&x->req, decode || x->verdict_in_trailer ? -1 : head->body_len,
                           x->gunzip ? read_flight_decoded : read_flight_as_is);
    }
}

/* A client that has what has just come is told so (RFC 9111 section 4.3.2). */
static bool flight_unchanged(const struct exchange *x, const struct flight_head *head, bool decode)
{
    struct select_from from = {
        .ask = &x->ask, .asked = &x->req.fields, .decoded = decode, .now_s = clock_wall_ms() / 1000};

    if (x->manner != MANNER_CACHED || x->op != OP_READ || head->status != 200)
        return false;
    valid_tags_read(&head->fields, &from.tags);
    return select_of(&from).what == SELECT_UNCHANGED;
}

/* Who is given what another one has paid for is told that it has cost nothing, as later ones are from the
 * store. What is coded in a way that was not asked for cannot be looked into. */
static void zero_usage(struct exchange *x, const struct flight_head *head)
{
    struct gate_answer answer = {
        .op = x->op, .streamed = x->streamed, .status = head->status, .fields = &head->fields};
    const struct field *coding = fields_find_id(&head->fields, HEADER_CONTENT_ENCODING);

    if (!is_second_hand(x, head) || x->manner != MANNER_CACHED || head->status / 100 != 2 ||
        !keying_zeroes_usage(site_of(x), &x->plan, x->op) ||
        (coding && !flight_head_is_gzip(head) && !slice_ieq(coding->value, SLICE_OF("identity"))))
        return;
    x->usage = malloc(sizeof(*x->usage));
    if (!x->usage)
        abort(); /* a small fixed allocation */
    usage_zero_init(x->usage, dialect_of(x->op), gate_stream_format(&answer));
}

void answer_flight(struct exchange *x, const struct flight_head *head)
{
    bool decode, unchanged;

    if (head->failed) {
        x->retry_after_s = head->retry_after_s;
        x->asked_upstream &= head->error != ERR_CIRCUIT_OPEN;
        answer_error(x, head->error, head->error_text);
        return;
    }
    zero_usage(x, head);
    decode = x->manner == MANNER_CACHED && flight_head_is_gzip(head) && (!x->gzip || x->usage);
    unchanged = flight_unchanged(x, head, decode);
    x->status = unchanged ? 304 : head->status;
    x->streamed |= head->stream;
    if (head->relayed) {
        x->collapsed = true;
        x->outcome = OUT_COALESCED;
    }
    if (head->confirmed)
        x->outcome = OUT_REVALIDATED;
    x->verdict_in_trailer = head->stream && !head->judged && wants_trailers(x);
    if (x->outcome != OUT_BYPASS && head->judged && !head->stored && !x->unproven)
        x->detail = gate_reason_name(head->reason);
    if (decode && !unchanged && !x->head_request && !decoding_begin(x)) {
        decode = false;
        free(x->usage); /* coded bytes are not looked into */
        x->usage = NULL;
    }
    if (unchanged)
        front_reply_bytes(&x->req, (struct slice){NULL, 0}, NULL, NULL);
    else
        flight_body(x, head, decode);
    head_fields(x, head, decode, unchanged);
    flight_cache_fields(x, head, decode);
    front_reply_send(&x->req, x->status);
}

/* -- what is ours to say -- */

static const char methods[] = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"; /* any other passes, too */

static void date_of_now(struct exchange *x)
{
    char date[HTTPDATE_LEN + 1];

    httpdate_write(clock_wall_ms() / 1000, date);
    front_reply_field(&x->req, "Date", date);
}

void answer_options(struct exchange *x)
{
    x->outcome = OUT_BYPASS;
    x->detail = "max-forwards";
    x->status = 200;
    front_reply_bytes(&x->req, (struct slice){NULL, 0}, NULL, NULL);
    date_of_now(x);
    front_reply_field(&x->req, "Allow", methods);
    common_fields(x, "refrain; detail=max-forwards");
    front_reply_send(&x->req, x->status);
}

/* -- an error of ours -- */

/* What asking again cannot mend; SDKs would ask again on their own. */
static bool is_final(enum error_code code)
{
    return (error_status(code) < 500 && code != ERR_RATE_LIMITED) || code == ERR_NOT_IMPLEMENTED ||
           code == ERR_ONLY_IF_CACHED || code == ERR_UPSTREAM_REFUSED_US;
}

void answer_error(struct exchange *x, enum error_code code, const char *text)
{
    unsigned status = error_status(code);
    struct text cache_status = {.len = 0};
    struct front_req *r = &x->req;

    x->canonical.max = 16 * 1024; /* its other use is over */
    buf_clear(&x->canonical);
    if (dialect_of(x->op)->error(&x->canonical, status, error_name(code), slice_str(text)) < 0)
        buf_clear(&x->canonical); /* an empty body says less, but the status stands */
    x->outcome = OUT_ERROR;
    x->detail = error_name(code);
    x->status = status;
    x->bytes_sent = x->canonical.len;
    if (x->asked_upstream)
        text_add_forwarded(&cache_status, x);
    else
        text_add(&cache_status, "refrain"); /* neither a hit nor forwarded */
    text_add(&cache_status, "; detail=");
    text_add(&cache_status, x->detail);
    front_reply_bytes(r, buf_slice(&x->canonical), NULL, NULL);
    date_of_now(x);
    front_reply_field(r, "Content-Type", "application/json");
    common_fields(x, cache_status.bytes);
    if (is_final(code))
        front_reply_field(r, "x-should-retry", "false");
    if (code == ERR_METHOD_NOT_ALLOWED) /* RFC 9110 section 15.5.6 */
        front_reply_field(r, "Allow", methods);
    if (code == ERR_UNAUTHORIZED) /* RFC 9110 section 15.5.2, RFC 6750 section 3 */
        front_reply_field(r, "WWW-Authenticate", "Bearer realm=\"refrain\"");
    if (code == ERR_OVERLOADED || code == ERR_CIRCUIT_OPEN || code == ERR_RATE_LIMITED)
        field_number(x, "Retry-After", x->retry_after_s > 0 ? (uint64_t)x->retry_after_s : 1);
    own_request_id(x);
    front_reply_send(r, status);
}
