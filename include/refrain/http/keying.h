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
#include "refrain/http/site.h"
#include "refrain/policy/ask.h"
#include "refrain/policy/key.h"
#include "refrain/wire/canon.h"
#include "refrain/wire/dialect.h"

/* What is known of a request, in the order in which it becomes known. All borrowed. */
struct keying {
    const struct site *site;
    const struct site_route *route;
    enum operation op;
    struct slice method;
    struct slice target;         /* raw, as upstream is to see it: keying_route's */
    const struct fields *fields; /* classified */
    const struct ask *ask;
    bool has_body;
    int64_t content_length; /* -1: not given */
    /* once the body is there */
    struct slice body;
    enum canon_verdict canon;
    struct slice canonical; /* of CANON_OK */
    const struct canon_facts *facts;
};

/** The route of a raw target, and target and path (without query) as its upstream is to see them. false: no
 * route matches. */
bool keying_route(const struct site *s, struct slice raw_target, const struct site_route **out_route,
                  struct slice *out_target, struct slice *out_path);

/** Why the request passes by the cache, as far as its head tells: static text for Cache-Status. NULL: it does
 * not. */
const char *keying_head_bypass(const struct keying *k);

/**
 * Appends the body's canonical form, under the operation's rules, to @out, whose ceiling it sets; nothing for
 * `read`, whose body there is none. @facts as canon_json. @out_why, when not NULL, gets a short static text
 * on CANON_EXACT. For a body over 64 KiB this belongs on the thread pool.
 */
enum canon_verdict keying_canonicalise(const struct site *s, enum operation op, struct slice body,
                                       struct buf *out, struct canon_facts *facts, const char **out_why);

/** As keying_head_bypass, for what only the body tells: it is not what the operation promises, or it changes
 * something upstream. */
const char *keying_body_bypass(const struct keying *k);

/** The namespace that the request's entry lies in. */
struct slice keying_namespace(const struct keying *k);

/** The request's key. */
struct digest keying_make(struct key_maker *maker, const struct keying *k);
