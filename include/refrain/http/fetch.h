/*
 * fetch - produces a flight: asks upstream once, hands its bytes to the readers as they come, judges the
 * answer at its end and stores it. SPEC sections 5 and 7.
 *
 * Threads: everything on one worker's loop; the readers may be anywhere.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/digest.h"
#include "refrain/base/metrics.h"
#include "refrain/http/flight.h"
#include "refrain/http/site.h"
#include "refrain/http/upload.h"
#include "refrain/http/upstream.h"
#include "refrain/wire/prompt.h"

struct fleet_port; /* fleet.h */

/* What is stored is told to other instances' newcomers so long, until it lies in Redis for certain. */
enum { FETCH_LINGER_MS = 5000 };

/* What is asked. Borrowed for the call, unless it says otherwise. */
struct fetch_spec {
    struct loop *loop;
    struct upstream_pool *pool;
    struct metric_block *counts; /* the worker's */
    struct site *site;           /* a reference is taken */
    const struct site_upstream *upstream;
    unsigned upstream_label;
    struct slice request_id; /* of the request that has it asked, for the log and events */
    enum operation op;
    bool streamed;            /* the request asks for a stream */
    struct entry_ref *about;  /* what @fields ask upstream about: moved into the fetch; NULL: nothing */
    bool unread;              /* for the store: goes on without a reader as long as it may be stored */
    bool wants_json;          /* and for JSON as the answer's text */
    bool zero_usage;          /* what is stored says that nothing was used */
    const struct digest *key; /* without Vary; NULL: not to be stored */
    struct store_port *below; /* the worker's; NULL: there are no tiers below memory */
    const struct digest *look_below; /* they are asked for this first; NULL: they are not */
    struct fleet_port *fleet;        /* the worker's: other instances are asked then; NULL: they are not */
    const struct fields *asked;      /* of the client's request, classified: what an answer may vary by */
    uint64_t caller;                 /* key_caller's: of whom upstream's status tells */
    struct slice vary_id; /* what flight_split named where the request was sent away from, or empty */
    struct slice namespace_, model;
    struct slice op_name; /* of the operation: the operator's own, or its dialect's; as long as the site */
    enum prompt_tier prompt;
    const struct key_scope *scope; /* as long as the site */
    bool anonymous;                /* nobody in particular asks: upstream is not shown our credential */
    bool key_in_query;             /* `?key=` proves who asks, as a credential in the head does */
    bool read_only;                /* by a rule: where nobody else may write, that is why */
    int64_t route_ttl_s;
    bool heuristic;     /* on `read`: lifetimes may be guessed */
    const char *method; /* NUL-terminated */
    struct slice target;
    const struct field *fields;
    size_t fields_n;
    bool has_body;
    struct buf
        *body; /* whole body: moved into the fetch, its allowance (limits_take_bytes of its cap) with it */
    size_t body_charged;
    struct upload *upload; /* streamed body: a reference is taken */
    int64_t upload_len;    /* -1: not known */
};

/** Starts. When it cannot, the flight ends with an error as its answer. */
void fetch_start(struct flight *f, const struct fetch_spec *spec);
