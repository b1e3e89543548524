/*
 * keep - what is done with the answer of a flight for the cache's sake: it is judged, and stored where the
 * gate lets it through. SPEC section 5. The bytes themselves are the flight's; who asks upstream is `fetch`.
 *
 *   head ──► keep_head ─┬─ a stream: keep_follow, keep_feed ──┐
 *                       └─ a whole answer                     ├─► keep_settle ──► on_settled
 *                                                             ┘
 * Threads: one worker's loop. Large bodies are judged and packed on the thread pool, so that no answer holds
 * a loop; nobody else touches the keep meanwhile.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/loop.h"
#include "refrain/http/flight.h"
#include "refrain/http/site.h"
#include "refrain/http/varying.h"
#include "refrain/policy/gate.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/gunzip.h"
#include "refrain/wire/prompt.h"
#include "refrain/wire/sse.h"

struct keep {
    /* filled in by the owner before keep_head */
    struct flight *flight; /* valid until the owner ends it */
    struct site *site;
    struct loop *loop;
    struct slice request_id; /* kept by the flight */
    enum operation op;
    bool streamed;                  /* the request asks for a stream */
    bool wants_json;                /* and for JSON as the answer's text */
    bool zero_usage;                /* what is stored says that nothing was used */
    bool authorized;                /* the request carries Authorization */
    struct varying varying;         /* begun where there is a key */
    struct slice namespace_, model; /* kept by the flight */
    struct slice op_name;           /* the operation's; the site's */
    enum prompt_tier prompt;
    uint64_t target;               /* of a GET: changes_sum */
    const struct key_scope *scope; /* the site's */
    bool read_only;                /* a rule has it that who asked first may not write */
    struct breakers_upstream *breakers;
    int64_t route_ttl_s;
    bool heuristic;
    int64_t started_ns, answered_ns;       /* monotonic: when upstream was asked, and had said all */
    int64_t asked_wall_ms, head_wall_ms;   /* the same by the wall, and when its head came */
    enum gate_reason reason;               /* GATE_STORE: nothing has spoken against storing yet */
    void (*on_settled)(struct keep *keep); /* once for keep_settle: @reason is the verdict, carried out */
    /* its own */
    bool starved;              /* keep_confirm found no memory for the bytes */
    const struct entry *about; /* of keep_confirm, … */
    bool to_readers;           /* … as this */
    bool following;
    struct stream_judge judge;
    size_t judge_charged;              /* of what it holds, taken from the allowance */
    struct gunzip *gunzip;             /* of a stream that comes gzip-coded; NULL otherwise */
    uint64_t coded_bytes, plain_bytes; /* how much of it came, and what that has decoded to */
    bool damaged, swollen;             /* it is no gzip; it grows like a bomb */
    struct loop_work work;
    struct buf joined, plain;    /* the body in one piece, and decoded */
    bool altered;                /* one of them is stored in place of what came */
    int64_t fresh_until_ms;      /* of what was stored, by the wall clock */
    int64_t finish_ttl_s;        /* gate_finish_ttl_s of what it adds up to */
    struct flight_tokens tokens; /* of a whole answer */
};

/** Frees what it made. Not before on_settled, where keep_settle was called. */
void keep_done(struct keep *k);

/** False when others than who asked may not have an answer with this head (SPEC section 7). */
bool keep_is_shareable(const struct keep *k);
/** Judges the flight's head, hop-by-hop fields included; @content_length is -1 where none is given. Returns
 * the reason, which stays as it is when storing was ruled out before. */
enum gate_reason keep_head(struct keep *k, int64_t content_length);
/** True when the answer is to be stored by the operator's word alone, and has nothing to be known by: then
 * its id is its tag (SPEC section 6). After keep_head. */
bool keep_makes_tag(const struct keep *k);
/** True when the head begins a stream of the dialect's kind. */
bool keep_is_stream(const struct keep *k);

/** From here on the answer is judged event by event. The keep must not be moved. */
void keep_follow(struct keep *k);
/** The next bytes of the body. Returns true when the terminal event is in. */
bool keep_feed(struct keep *k, struct slice bytes);
/** True when what is followed is one whole answer already, whatever still comes on the wire. */
bool keep_has_whole_stream(const struct keep *k);

/** What the answer has cost, as far as it has been judged, or has come where it is followed. */
struct flight_tokens keep_tokens(const struct keep *k);

/** The message has not ended as it should, or never began: it is not stored, for @reason unless there was one
 * before. */
void keep_give_up(struct keep *k, enum gate_reason reason);
/** Upstream has confirmed @e, whose head, brought up to date, is the flight's: gives its body to the readers,
 * if they are to have it (@to_readers), and stores it anew, if that was not ruled out. @e is held by the
 * owner until on_settled, which comes as for keep_settle. */
void keep_confirm(struct keep *k, const struct entry *e, bool to_readers);
/** The message has ended as it should: judges the answer and stores it. on_settled comes within the call for
 * small answers, later for large ones. */
void keep_settle(struct keep *k);
