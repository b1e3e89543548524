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

enum gate_reason {
    GATE_STORE,        /* it may */
    GATE_STATUS,       /* not 200, or not cacheable on GET */
    GATE_INCOMPLETE,   /* cut short: length, chunks, gzip, or a stream without its terminal event */
    GATE_ERROR_INSIDE, /* a 200 whose JSON or stream carries an error */
    GATE_CONTENT_TYPE,
    GATE_JSON, /* does not parse */
    GATE_TOO_LARGE,
    GATE_SET_COOKIE,    /* on `read` */
    GATE_CACHE_CONTROL, /* RFC 9111 forbids, on `read` or with respect_upstream_cache_control */
    GATE_NO_LIFETIME,   /* nothing says how long, on `read` */
    GATE_VARY,          /* varies on what cannot be told, or has as many variants as may be */
    GATE_FINISH_REASON, /* the API itself calls the answer incomplete */
    GATE_RULE,          /* configuration says not to */
    GATE_CLIENT,        /* the request did not allow it */
    GATE_MEMORY,        /* no room to judge or keep it */
    GATE_REASON_COUNT
};
/** As in "finish_reason", for Cache-Status and not_stored_total. */
const char *gate_reason_name(enum gate_reason r);

struct gate_answer {
    enum operation op;
    bool streamed;     /* the request asked for a stream */
    bool whole;        /* message complete on the wire; for streams also stream_judge_whole() */
    bool stream_error; /* stream_judge saw an error event */
    bool stream_unfit; /* stream_judge saw an end that the API itself calls incomplete */
    bool authorized;   /* the request carried Authorization: on `read`, RFC 9111 section 3.5 */
    unsigned status;
    int64_t asked_ms, came_ms;   /* wall clock: when upstream was asked, and when its head came */
    const struct fields *fields; /* of the response, classified */
    struct slice body;           /* identity-coded; empty for streams, which the judge has followed */
    uint64_t body_bytes;
};
struct gate_conf {
    uint64_t object_bytes_max;
    const struct header_table *headers; /* these two tell what Vary names; needed where there is a Vary */
    const struct key_scope *scope;
    bool respect_upstream_cache_control;
    int64_t
        route_ttl_s; /* on `read`: what a route gives answers without freshness of their own; 0: nothing */
    bool heuristic;  /* on `read`: a route has the lifetime guessed where nothing says it */
};

/** From the head alone: GATE_STORE means "so far". Tells a flight early that its answer can't be kept. */
enum gate_reason gate_head(const struct gate_answer *a, const struct gate_conf *conf);
/** False when RFC 9111 or Vary forbids giving this answer to anyone but who asked (SPEC section 7). */
bool gate_shareable(const struct gate_answer *a, const struct gate_conf *conf);
/** The verdict on a finished answer. */
enum gate_reason gate_judge(const struct gate_answer *a, const struct gate_conf *conf);

/** The lifetime of an answer on `read`, as the gate sees it. */
void gate_life(const struct gate_answer *a, const struct gate_conf *conf, struct fresh_life *out);
