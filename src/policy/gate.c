#include "refrain/policy/gate.h"

#include "refrain/base/attr.h"
#include "refrain/policy/vary.h"

/* Broken: it tells that upstream is not well (SPEC section 9), whoever asked and whatever was asked. */
static const struct {
    const char *name;
    bool broken;
} reasons[GATE_REASON_COUNT] = {
    [GATE_STORE] = {"stored", false},
    [GATE_STATUS] = {"status", false},
    [GATE_NO_ANSWER] = {"no_answer", false},
    [GATE_INCOMPLETE] = {"incomplete", true},
    [GATE_BY_CLOSE] = {"by_close", false},
    [GATE_ABANDONED] = {"abandoned", false},
    [GATE_ERROR_INSIDE] = {"error_inside", true},
    [GATE_CONTENT_TYPE] = {"content_type", true},
    [GATE_CODING] = {"coding", false},
    [GATE_JSON] = {"json", true},
    [GATE_PAYLOAD] = {"payload", true},
    [GATE_FINISH_REASON] = {"finish_reason", false},
    [GATE_TOOL_ARGUMENTS] = {"tool_arguments", false},
    [GATE_WANTED_JSON] = {"wanted_json", false},
    [GATE_EMPTY] = {"empty", false},
    [GATE_TOO_LARGE] = {"too_large", false},
    [GATE_SET_COOKIE] = {"set_cookie", false},
    [GATE_CACHE_CONTROL] = {"cache_control", false},
    [GATE_NO_LIFETIME] = {"no_lifetime", false},
    [GATE_VARY] = {"vary", false},
    [GATE_RULE] = {"rule", false},
    [GATE_CLIENT] = {"client", false},
    [GATE_MEMORY] = {"memory", false},
    [GATE_BREAKER] = {"breaker", false},
    [GATE_INVALIDATED] = {"invalidated", false},
    [GATE_SUPERSEDED] = {"superseded", false},
};

const char *gate_reason_name(enum gate_reason r)
{
    return reasons[r].name;
}

bool gate_reason_is_broken(enum gate_reason r)
{
    return reasons[r].broken;
}

/* --- status --- */

/* Whatever an operator lists: an error is no answer, and 206 is a part of one (SPEC section 5, line 1). */
static bool status_is_listed(unsigned status, const struct gate_conf *conf)
{
    char digits[3] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10)};

    if (status < 200 || status > 299 || status == 206)
        return false;
    for (size_t i = 0; i < conf->statuses_n; i++)
        if (slice_eq(conf->statuses[i], slice_make(digits, sizeof(digits))))
            return true;
    return !conf->statuses && status == 200;
}

static bool status_ok(const struct gate_answer *a, const struct gate_conf *conf)
{
    if (a->op != OP_READ)
        return status_is_listed(a->status, conf);
    return fresh_status_has_default(a->status) || a->status == 302 || a->status == 303 || a->status == 307;
}

/* --- content type --- */

static struct slice media_type(const struct fields *fields)
{
    const struct field *f = fields_find_id(fields, HEADER_CONTENT_TYPE);
    struct slice type = f ? f->value : (struct slice){NULL, 0};

    return f ? slice_trim(slice_cut(&type, ';')) : type;
}

enum stream_format gate_stream_format(const struct gate_answer *a)
{
    return a->streamed ? dialect_stream_format(dialect_of(a->op), media_type(a->fields)) : STREAM_NONE;
}

static bool content_type_ok(const struct gate_answer *a)
{
    const struct dialect *d = dialect_of(a->op);

    if (a->streamed && d->streams != 0)
        return gate_stream_format(a) != STREAM_NONE;
    return dialect_takes_type(d, media_type(a->fields));
}

/* What is not gzip cannot be looked into. A plain `read` is not looked into anyway. */
static bool coding_ok(const struct gate_answer *a)
{
    const struct field *coding = fields_only_id(a->fields, HEADER_CONTENT_ENCODING);

    if (a->op == OP_READ || !fields_find_id(a->fields, HEADER_CONTENT_ENCODING))
        return true;
    return coding &&
           (slice_ieq(coding->value, SLICE_OF("gzip")) || slice_ieq(coding->value, SLICE_OF("x-gzip")) ||
            slice_ieq(coding->value, SLICE_OF("identity")));
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
static bool word_forbids(const struct gate_answer *a, const struct fresh_word *w,
                         const struct gate_conf *conf)
{
    bool understood = w->cc.must_understand && status_ok(a, conf);

    return (w->cc.no_store && !understood) || (w->cc.is_private && !w->cc.private_fields);
}

/* RFC 9111 section 3.5. A route's lifetime is the operator's own word for it. */
static bool authorization_forbids(const struct gate_answer *a, const struct fresh_word *w,
                                  const struct gate_conf *conf)
{
    return a->authorized && conf->route_ttl_s <= 0 && !w->cc.is_public && !w->cc.must_revalidate &&
           w->cc.s_maxage_s == CC_ABSENT;
}

/* As a shared cache, on `read`. @out_unasked: it may answer others without upstream being asked, while it is
 * fresh, and while it is being refreshed. What may not is stored where asking costs less than fetching, or
 * where it is to stand in for errors. */
static enum gate_reason judge_read(const struct gate_answer *a, const struct gate_conf *conf,
                                   bool *out_unasked)
{
    struct fresh_windows windows = {0};
    struct fresh_life life;

    gate_life(a, conf, &life);
    fresh_windows_obey(&life.word, &windows);
    *out_unasked = !life.must_ask && life.left_s + windows.while_revalidate_s > 0;
    if (fields_find_id(a->fields, HEADER_SET_COOKIE) && !a->confirmed)
        return GATE_SET_COOKIE;
    if (word_forbids(a, &life.word, conf) || authorization_forbids(a, &life.word, conf))
        return GATE_CACHE_CONTROL;
    if (!life.known)
        return GATE_NO_LIFETIME;
    if (*out_unasked || life.validator || life.left_s + windows.if_error_s > 0)
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
    if (word_forbids(a, &w, conf) || (w.cc.no_cache && !w.cc.no_cache_fields) ||
        fresh_lifetime_s(a->fields, &w, a->came_ms / 1000) == 0)
        return GATE_CACHE_CONTROL;
    return GATE_STORE;
}

/* --- Vary --- */

/* RFC 9111 section 4.1. What varies on fields that are not in the key is kept as variants. */
static bool vary_ok(const struct gate_answer *a, const struct gate_conf *conf)
{
    struct vary_terms terms = {conf->headers, conf->scope, dialect_of(a->op)->accept_counts};
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

    if (!status_ok(a, conf))
        return GATE_STATUS;
    if (!content_type_ok(a))
        return GATE_CONTENT_TYPE;
    if (!coding_ok(a))
        return GATE_CODING;
    r = judge_cache_control(a, conf, &unasked);
    if (r != GATE_STORE)
        return r;
    if (!vary_ok(a, conf))
        return GATE_VARY;
    return a->body_bytes > conf->object_bytes_max ? GATE_TOO_LARGE : GATE_STORE;
}

/* How long an answer of that end is kept: by the API's own word, else by its kind, else as is shipped. */
static int64_t ttl_of_finish(const struct tally_finish *f, const struct gate_conf *conf)
{
    const char *kind = finish_kind_name(f->kind);

    for (size_t i = 0; i < conf->finishes_n; i++)
        if (slice_ieq(conf->finishes[i].reason, f->text))
            return conf->finishes[i].ttl_s;
    for (size_t i = 0; i < conf->finishes_n; i++)
        if (slice_ieq(conf->finishes[i].reason, slice_str(kind)))
            return conf->finishes[i].ttl_s;
    return f->kind > FINISH_GOOD ? GATE_TTL_NEVER : -1;
}

int64_t gate_finish_ttl_s(const struct gate_answer *a, const struct gate_conf *conf)
{
    int64_t shortest_s = -1;

    for (size_t i = 0; a->tally && i < a->tally->finishes_n; i++) {
        int64_t ttl_s = ttl_of_finish(&a->tally->finishes[i], conf);

        if (ttl_s == GATE_TTL_NEVER)
            return ttl_s;
        if (ttl_s >= 0 && (shortest_s < 0 || ttl_s < shortest_s))
            shortest_s = ttl_s;
    }
    return shortest_s;
}

/* Seen of servers in between that lost theirs: they end the stream properly, in the middle of a sentence. */
static bool is_unfinished(const struct gate_answer *a)
{
    return a->streamed && dialect_of(a->op)->stream_tells_end && !a->tally->finished;
}

/* What the answer adds up to. How it ended comes before what it lacks: a cut-off answer's JSON is cut off, a
 * filtered one's content is missing, and neither tells anything of upstream's health. */
static enum gate_reason judge_tally(const struct gate_answer *a, const struct gate_conf *conf)
{
    static const enum gate_reason of_fault[TALLY_FAULT_COUNT] = {
        [TALLY_GOOD] = GATE_STORE,
        [TALLY_ERROR_INSIDE] = GATE_ERROR_INSIDE,
        [TALLY_MEMORY] = GATE_MEMORY,
        [TALLY_NOT_JSON] = GATE_JSON,
        [TALLY_NO_PAYLOAD] = GATE_PAYLOAD,
        [TALLY_ARGUMENTS] = GATE_TOOL_ARGUMENTS,
        [TALLY_WANTED_JSON] = GATE_WANTED_JSON,
    };
    enum tally_fault fault = a->tally->fault;

    if (fault == TALLY_ERROR_INSIDE || fault == TALLY_MEMORY)
        return of_fault[fault];
    if (!a->whole)
        return GATE_INCOMPLETE;
    if (fault != TALLY_NOT_JSON && gate_finish_ttl_s(a, conf) == GATE_TTL_NEVER)
        return GATE_FINISH_REASON;
    if (fault == TALLY_GOOD && is_unfinished(a))
        return GATE_FINISH_REASON;
    return fault == TALLY_GOOD && a->tally->empty ? GATE_EMPTY : of_fault[fault];
}

enum gate_reason gate_judge(const struct gate_answer *a, const struct gate_conf *conf)
{
    enum gate_reason r = gate_head(a, conf);

    if (r != GATE_STORE)
        return r;
    if (a->tally)
        return judge_tally(a, conf);
    return a->whole ? GATE_STORE : GATE_INCOMPLETE;
}
