#include "refrain/policy/gate.h"

#include "refrain/base/attr.h"
#include "refrain/policy/vary.h"
#include "refrain/wire/jscan.h"

static const char *const reason_names[GATE_REASON_COUNT] = {
    [GATE_STORE] = "stored",
    [GATE_STATUS] = "status",
    [GATE_INCOMPLETE] = "incomplete",
    [GATE_ERROR_INSIDE] = "error_inside",
    [GATE_CONTENT_TYPE] = "content_type",
    [GATE_JSON] = "json",
    [GATE_TOO_LARGE] = "too_large",
    [GATE_SET_COOKIE] = "set_cookie",
    [GATE_CACHE_CONTROL] = "cache_control",
    [GATE_NO_LIFETIME] = "no_lifetime",
    [GATE_VARY] = "vary",
    [GATE_FINISH_REASON] = "finish_reason",
    [GATE_RULE] = "rule",
    [GATE_CLIENT] = "client",
    [GATE_MEMORY] = "memory",
};

const char *gate_reason_name(enum gate_reason r)
{
    return reason_names[r];
}

/* --- status --- */

static bool status_ok(const struct gate_answer *a)
{
    if (a->op != OP_READ)
        return a->status == 200;
    return fresh_status_has_default(a->status) || a->status == 302 || a->status == 303 || a->status == 307;
}

/* --- content type --- */

static struct slice media_type(const struct fields *fields)
{
    const struct field *f = fields_find_id(fields, HEADER_CONTENT_TYPE);
    struct slice type = f ? f->value : (struct slice){NULL, 0};

    return f ? slice_trim(slice_cut(&type, ';')) : type;
}

static bool is_json_type(struct slice type)
{
    static const struct slice suffix = SLICE("+json");

    if (slice_ieq(type, SLICE_OF("application/json")))
        return true;
    return type.len > suffix.len && slice_ieq(slice_skip(type, type.len - suffix.len), suffix);
}

static bool is_stream_type(struct slice type, enum stream_format format)
{
    if (format == STREAM_SSE)
        return slice_ieq(type, SLICE_OF("text/event-stream"));
    return slice_ieq(type, SLICE_OF("application/x-ndjson")) ||
           slice_ieq(type, SLICE_OF("application/ndjson")) || slice_ieq(type, SLICE_OF("application/jsonl"));
}

static bool content_type_ok(const struct gate_answer *a)
{
    const struct dialect *d = dialect_of(a->op);

    if (a->streamed && d->stream != STREAM_NONE)
        return is_stream_type(media_type(a->fields), d->stream);
    return !d->json || is_json_type(media_type(a->fields));
}

/* --- Cache-Control --- */

void gate_life(const struct gate_answer *a, const struct gate_conf *conf, struct fresh_life *out)
{
    const struct fresh_arrival arrival = {
        .fields = a->fields,
        .status = a->status,
        .asked_ms = a->asked_ms,
        .came_ms = a->came_ms,
        .given_ttl_s = conf->route_ttl_s,
        .heuristic = conf->heuristic,
    };

    fresh_life_read(&arrival, out);
}

/* RFC 9111 section 3: what a shared cache must not store. What `private` or `no-cache` name is left out of
 * what is stored, and the rest may be (sections 5.2.2.4 and 5.2.2.7). A cache that knows the status need not
 * obey a no-store that comes with must-understand (5.2.2.3). */
static bool word_forbids(const struct gate_answer *a, const struct fresh_word *w)
{
    bool understood = w->cc.must_understand && status_ok(a);

    return (w->cc.no_store && !understood) || (w->cc.is_private && !w->cc.private_fields);
}

/* RFC 9111 section 3.5. A route's lifetime is the operator's own word for it. */
static bool authorization_forbids(const struct gate_answer *a, const struct fresh_word *w,
                                  const struct gate_conf *conf)
{
    return a->authorized && conf->route_ttl_s <= 0 && !w->cc.is_public && !w->cc.must_revalidate &&
           w->cc.s_maxage_s == CC_ABSENT;
}

/* It may answer others without upstream being asked: while it is fresh, and while it is being refreshed. */
static bool is_good_unasked(const struct fresh_life *life)
{
    struct fresh_windows windows = {0};

    fresh_windows_obey(&life->word, &windows);
    return !life->must_ask && life->left_s + windows.while_revalidate_s > 0;
}

/* As a shared cache, on `read`. What is never good unasked is stored only where asking costs less than
 * fetching. */
static enum gate_reason judge_read(const struct gate_answer *a, const struct gate_conf *conf,
                                   bool *out_unasked)
{
    struct fresh_life life;

    gate_life(a, conf, &life);
    *out_unasked = is_good_unasked(&life);
    if (fields_find_id(a->fields, HEADER_SET_COOKIE))
        return GATE_SET_COOKIE;
    if (word_forbids(a, &life.word) || authorization_forbids(a, &life.word, conf))
        return GATE_CACHE_CONTROL;
    if (!life.known)
        return GATE_NO_LIFETIME;
    if (*out_unasked || life.validator)
        return GATE_STORE;
    return life.must_ask ? GATE_CACHE_CONTROL : GATE_NO_LIFETIME;
}

/* The other operations: the operator's lifetimes rule, unless upstream is to be listened to. @out_unasked:
 * what is stored may answer others as it is. */
static enum gate_reason judge_cache_control(const struct gate_answer *a, const struct gate_conf *conf,
                                            bool *out_unasked)
{
    struct fresh_word w;

    *out_unasked = true;
    if (a->op == OP_READ)
        return judge_read(a, conf, out_unasked);
    if (!conf->respect_upstream_cache_control)
        return GATE_STORE;
    fresh_word_read(a->fields, &w);
    if (word_forbids(a, &w) || (w.cc.no_cache && !w.cc.no_cache_fields) ||
        fresh_lifetime_s(a->fields, &w, a->came_ms / 1000) == 0)
        return GATE_CACHE_CONTROL;
    return GATE_STORE;
}

/* --- Vary --- */

/* RFC 9111 section 4.1. What varies on fields that are not in the key is kept as variants. */
static bool vary_ok(const struct gate_answer *a, const struct gate_conf *conf)
{
    struct vary_terms terms = {conf->headers, conf->scope, a->op == OP_READ};
    struct vary_list list;

    return vary_read(a->fields, &terms, &list) != VARY_NEVER;
}

/* --- verdicts --- */

bool gate_shareable(const struct gate_answer *a, const struct gate_conf *conf)
{
    bool unasked;

    if (a->status >= 500 || a->status == 429)
        return true; /* a stampede onto a sick upstream helps nobody (SPEC section 7) */
    return vary_ok(a, conf) && judge_cache_control(a, conf, &unasked) == GATE_STORE && unasked;
}

enum gate_reason gate_head(const struct gate_answer *a, const struct gate_conf *conf)
{
    enum gate_reason r;
    bool unasked;

    if (!status_ok(a))
        return GATE_STATUS;
    if (!content_type_ok(a))
        return GATE_CONTENT_TYPE;
    r = judge_cache_control(a, conf, &unasked);
    if (r != GATE_STORE)
        return r;
    if (!vary_ok(a, conf))
        return GATE_VARY;
    return a->body_bytes > conf->object_bytes_max ? GATE_TOO_LARGE : GATE_STORE;
}

static enum gate_reason judge_json(struct slice body)
{
    if (!jscan_valid(body))
        return GATE_JSON;
    return jscan_member(body, SLICE_OF("error"), NULL) > JSCAN_NULL ? GATE_ERROR_INSIDE : GATE_STORE;
}

enum gate_reason gate_judge(const struct gate_answer *a, const struct gate_conf *conf)
{
    enum gate_reason r = gate_head(a, conf);

    if (r != GATE_STORE)
        return r;
    if (a->stream_error)
        return GATE_ERROR_INSIDE;
    if (a->stream_unfit)
        return GATE_FINISH_REASON;
    if (!a->whole)
        return GATE_INCOMPLETE;
    if (dialect_of(a->op)->json && !a->streamed)
        return judge_json(a->body);
    return GATE_STORE;
}
