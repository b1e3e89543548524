/*
 * site_build_priv - a site while it is built, and what the files that build it say to each other.
 */
#pragma once
#include <stdatomic.h>

#include "config.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "site_build.h"

/* The site and all that it points at, freed together. */
struct build {
    struct site site;
    struct header_table *headers;
    struct site_route *routes;
    struct site_upstream *upstreams;
    struct rule *rules;
    struct rule_header *rule_headers; /* of all rules */
    struct key_scope *scopes;         /* one a rule */
    struct event_rule *event_rules;
    struct roster *roster;
    atomic_bool *refused_us; /* one an upstream */
    struct own_operation *own;
    struct price *prices;
    struct slice *reads; /* names of headers */
    struct buf own_names;
    struct slice *ignored[OP_COUNT]; /* of canon rules: the dialect's and the operator's */
    struct gate_finish *finishes;
    struct config *conf; /* what all of it points into, where it is the site's own; NULL: somebody else's */
};

/** Rules, what they read of requests, and whose entries they share. False: out of memory, as of all of these;
 * what there is goes with @b. */
ATTR_MUST_USE bool site_build_rules(struct build *b, const struct config *conf,
                                    const struct site_parts *parts);
/** The operator's own operations, and the text that names them. */
ATTR_MUST_USE bool site_build_own_operations(struct build *b, const struct config *conf);
/** What events from outside have go. */
ATTR_MUST_USE bool site_build_event_rules(struct build *b, const struct config *conf);
/** Who shares entries: the @scope, where it is SCOPE_HEADERS that of @headers. */
struct key_scope site_build_scope(enum cache_scope scope, const struct text_list *headers,
                                  const struct site_parts *parts);
