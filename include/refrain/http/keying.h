/*
 * keying - from a request to its name in the cache: where it goes, whether the cache has any business with
 * it, what of its body counts, and the key. One way for requests that are served (exchange) and for those
 * that are only asked about (explain), so that what is explained is what happens.
 *
 * Pure but for the key maker's own state; never logs. Threads: any, a key maker one at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/http/clients.h"
#include "refrain/http/site.h"
#include "refrain/policy/ask.h"
#include "refrain/policy/fresh.h"
#include "refrain/policy/key.h"
#include "refrain/policy/rule.h"
#include "refrain/store/store_mem.h"
#include "refrain/wire/canon.h"
#include "refrain/wire/dialect.h"

/* What is known of a request, in the order in which it becomes known. All borrowed. */
struct keying {
    const struct site *site;
    const struct site_route *route;
    enum operation op;
    const struct own_operation *own; /* NULL: none of the operator's own */
    struct slice method;
    struct slice raw_target;     /* as the client sent it */
    struct slice target;         /* raw, as upstream is to see it: keying_route's */
    const struct fields *fields; /* classified */
    const struct ask *ask;
    const struct client *client; /* who asks; NULL: there are none */
    bool has_body;
    int64_t content_length; /* -1: not given */
    /* once the body is there */
    struct slice body;
    enum canon_verdict canon;
    struct slice canonical; /* of CANON_OK */
    const struct canon_facts *facts;
    const struct plan *plan; /* what rules say */
    struct trace *trace;     /* gets the parts of the key; NULL: nobody asks */
    uint64_t *out_caller;    /* what keying_caller says, from keying_make; NULL: nobody asks */
};

/** The route of a raw target, and target and path (without query) as its upstream is to see them. false: no
 * route matches. */
bool keying_route(const struct site *s, struct slice raw_target, const struct site_route **out_route,
                  struct slice *out_target, struct slice *out_path);

/**
 * Finds @k's op, and own where the request's head tells it: by Refrain-Operation, else by path. SPEC
 * section 3. false: the request names an operation that there is none of; site's own_operations tells which
 * there are.
 */
bool keying_operation(struct keying *k);

/** True when all but who makes the call are to be told that nothing was used (docs/decisions/0024). */
bool keying_zeroes_usage(const struct site *s, const struct plan *plan, enum operation op);

/** Why the request passes by the cache, as far as its head tells: static text for Cache-Status. NULL: it does
 * not. */
const char *keying_head_bypass(const struct keying *k);

/** Adds to @facts what the path tells (Gemini's model, whether it streams); keying_operation comes before. */
void keying_path_facts(const struct keying *k, struct canon_facts *facts);

/**
 * Appends the body's canonical form, under the operation's rules, to @out, whose ceiling it sets; nothing for
 * `read`, whose body there is none. @facts as canon_json, and what the path says in place of the body: model,
 * stream. @out_why, when not NULL, gets a short static text on CANON_EXACT. For a body over 64 KiB this
 * belongs on the thread pool.
 */
enum canon_verdict keying_canonicalise(const struct keying *k, struct buf *out, struct canon_facts *facts,
                                       const char **out_why);

/** The plan of a request that @matched rules and @own concern, with the scope that holds for @client (may be
 * NULL). */
void keying_plan(const struct site *s, const struct client *client, uint64_t matched,
                 const struct own_operation *own, struct plan *out);

/** What of @ask wants leave where entries are shared, has it? As ask_check_leave, whose answer this is. */
bool keying_check_leave(const struct keying *k, struct ask *ask, const char **out_why);

/** Which rules match, once the body is there; finds own by the model where nothing has told it before. */
uint64_t keying_rules(struct keying *k);

/** As keying_head_bypass, for what only the body tells: it is not what the operation promises, or it changes
 * something upstream. */
const char *keying_body_bypass(const struct keying *k);

/** Whom the request shares answers with. */
const struct key_scope *keying_scope(const struct keying *k);

/** The namespace that the request's entry lies in. */
struct slice keying_namespace(const struct keying *k);

/** Has the trace of @k, if there is one, take the canonical body apart. For a body over 64 KiB this belongs
 * on the thread pool; before keying_make. */
void keying_trace_body(const struct keying *k);

/** The request's key. */
struct digest keying_make(struct key_maker *maker, const struct keying *k);

/** Names the credential that the request brings; 0: none (policy/key.h). From the head alone. */
uint64_t keying_caller(struct key_maker *maker, const struct keying *k);

/** What an entry that was found goes by. */
struct fresh_stored keying_stored(const struct entry_ref *ref);
