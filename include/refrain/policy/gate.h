/*
 * gate - may this answer be stored? SPEC section 5. Every refusal has a reason; reasons are one table.
 * Pure: no clock, no locks. Judging a body over 64 KiB belongs on the thread pool.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/policy/fresh.h"
#include "refrain/policy/key.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"
#include "refrain/wire/tally.h"

enum gate_reason {
    GATE_STORE,        /* it may */
    GATE_STATUS,       /* not in validation.statuses, or not cacheable on GET */
    GATE_NO_ANSWER,    /* upstream gave none */
    GATE_INCOMPLETE,   /* cut short: length, chunks, gzip, or a stream without its terminal event */
    GATE_BY_CLOSE,     /* ended by the end of the connection: nothing proves that it came whole */
    GATE_ABANDONED,    /* everyone left before it had ended */
    GATE_ERROR_INSIDE, /* a 200 whose JSON or stream carries an error */
    GATE_CONTENT_TYPE,
    GATE_CODING,         /* a content coding that is not understood, so nothing can be judged */
    GATE_JSON,           /* does not parse */
    GATE_PAYLOAD,        /* what the API promises is missing, or there is nothing in it */
    GATE_FINISH_REASON,  /* ended in a way that validation.finish_reasons calls `never` */
    GATE_TOOL_ARGUMENTS, /* a tool call's arguments do not parse */
    GATE_WANTED_JSON,    /* JSON was asked for, and the text is none */
    GATE_EMPTY,          /* well-formed, and a choice of it says nothing */
    GATE_TOO_LARGE,
    GATE_SET_COOKIE,    /* on `read` */
    GATE_CACHE_CONTROL, /* RFC 9111 forbids, on `read` or with respect_upstream_cache_control */
    GATE_NO_LIFETIME,   /* nothing says how long, on `read` */
    GATE_VARY,          /* varies on what cannot be told, or has as many variants as may be */
    GATE_RULE,          /* configuration says not to */
    GATE_CLIENT,        /* the request did not allow it */
    GATE_MEMORY,        /* no room to judge or keep it */
    GATE_BREAKER,       /* so many of upstream's answers were broken that none is trusted (SPEC section 9) */
    GATE_INVALIDATED,   /* it was asked for before an invalidation that means it */
    GATE_SUPERSEDED,    /* another instance has taken over a cluster flight that this one led */
    GATE_REASON_COUNT
};
/** As in "finish_reason", for Cache-Status and not_stored_total. */
const char *gate_reason_name(enum gate_reason r);
/**
 * True when such an answer tells that upstream is not well: the validation breaker counts it (SPEC section
 * 9). Never for a status, a policy, how a model ended, what a client's own tools or schema brought about, or
 * a client that hung up.
 */
bool gate_reason_is_broken(enum gate_reason r);

struct gate_answer {
    enum operation op;
    bool streamed;   /* the request asked for a stream */
    bool whole;      /* message complete on the wire; for streams also stream_judge_whole() */
    bool authorized; /* the request carried Authorization: on `read`, RFC 9111 section 3.5 */
    bool confirmed;  /* upstream said 304 to what was stored; then a cookie is about that word alone, and no
                      * reason against storing the rest again */
    unsigned status;
    int64_t asked_ms, came_ms;        /* wall clock: when upstream was asked, and when its head came */
    const struct fields *fields;      /* of the response, classified */
    const struct tally_result *tally; /* what it adds up to; NULL where there is nothing to add up */
    uint64_t body_bytes;
};

enum { GATE_TTL_NEVER = -3 }; /* a lifetime of what is not to be stored; ASK_TTL_NONE and -1 are taken */

/* How long an answer that ended so is kept. */
struct gate_finish {
    struct slice reason; /* the API's own word, or the name of a kind (finish_kind_name); any case */
    int64_t ttl_s;       /* GATE_TTL_NEVER */
};
struct gate_conf {
    uint64_t object_bytes_max;
    const struct header_table *headers; /* these two tell what Vary names; needed where there is a Vary */
    const struct key_scope *scope;
    const struct slice *statuses; /* three digits each: that may be stored on POST; NULL: 200 */
    size_t statuses_n;
    const struct gate_finish *finishes; /* before what is shipped: all kinds but FINISH_GOOD never stored */
    size_t finishes_n;
    bool respect_upstream_cache_control;
    int64_t
        route_ttl_s; /* on `read`: what a route gives answers without freshness of their own; 0: nothing */
    bool heuristic;  /* on `read`: a route has the lifetime guessed where nothing says it */
};

/** How the answer to a request for a stream comes, by its Content-Type; STREAM_NONE: not as a stream. */
enum stream_format gate_stream_format(const struct gate_answer *a);
/** From the head alone: GATE_STORE means "so far". Tells a flight early that its answer can't be kept. */
enum gate_reason gate_head(const struct gate_answer *a, const struct gate_conf *conf);
/** False when RFC 9111 or Vary forbids giving this answer to anyone but who asked (SPEC section 7). */
bool gate_shareable(const struct gate_answer *a, const struct gate_conf *conf);
/** The verdict on a finished answer. */
enum gate_reason gate_judge(const struct gate_answer *a, const struct gate_conf *conf);

/** The lifetime of an answer on `read`, as the gate sees it. */
void gate_life(const struct gate_answer *a, const struct gate_conf *conf, struct fresh_life *out);
/** Lifetime of an answer by how it ended, the shortest of its choices; -1 where nothing is said of that. */
int64_t gate_finish_ttl_s(const struct gate_answer *a, const struct gate_conf *conf);
