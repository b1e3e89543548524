/*
 * rule - what the operator says of some requests beyond the defaults, and what that comes to for one request:
 * its plan. SPEC sections 3, 6, 11; docs/rules.md tells operators.
 *
 * Rules are looked at in order. Of each thing that can be said, the first rule that matches and says it
 * decides; tags of all rules that match add up. Which rules match is one bit each, so that whoever knows the
 * bits of an equal request makes the plan without looking at any body.
 *
 * Beside the rules there are the operator's own operations: names for kinds of requests, found by the header
 * Refrain-Operation, by path or by model, with a lifetime and tags of their own.
 *
 * Pure: no clock, no allocation, no locks. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/policy/ask.h"
#include "refrain/policy/key.h"
#include "refrain/wire/dialect.h"

enum { RULES_MAX = 64 }; /* bits of one word */

struct rule_texts {
    const struct slice *at;
    size_t n;
};
struct rule_header {
    struct slice name, value; /* value: a glob; `*`: present */
};

/* A number above one and below the other, where these are given. */
struct rule_range {
    bool has_above, has_below;
    double above, below;
};

/* A truth that need not be said. */
enum rule_truth { RULE_UNSAID, RULE_NO, RULE_YES };

/* Which requests a rule is about: those for which all that is given holds. */
struct rule_match {
    struct rule_texts paths, models;   /* globs, of which one must match; none: any */
    struct rule_texts operations;      /* names, shipped or the operator's own */
    const struct rule_header *headers; /* all of them must match */
    size_t headers_n;
    enum rule_truth stream;
    struct rule_range temperature, characters, messages;
};

enum rule_cache {
    RULE_CACHE_UNSAID,
    RULE_CACHE_ON, /* says that no later rule shall switch it off */
    RULE_CACHE_OFF,
    RULE_CACHE_READ_ONLY,
    RULE_CACHE_WRITE_ONLY,
};

enum { RULE_TTL_UNSAID = 0, RULE_WINDOW_UNSAID = -1 };

struct rule {
    struct rule_match match;
    enum rule_cache cache;
    int64_t ttl_s;                                      /* or ASK_TTL_NONE, RULE_TTL_UNSAID */
    int64_t stale_while_revalidate_s, stale_if_error_s; /* or RULE_WINDOW_UNSAID */
    unsigned variants;                                  /* 0: not said */
    enum rule_truth server_tools;                       /* cache although tools run at the provider */
    enum rule_truth zero_usage;                         /* what is stored says that nothing was used */
    struct slice namespace_;                            /* empty: not said */
    const struct key_scope *scope;                      /* NULL: not said */
    struct rule_texts tags;
};

/* A kind of requests that the operator has named. */
struct own_operation {
    struct slice name;
    struct rule_texts paths, models; /* globs, of which one must match */
    enum operation op; /* whose bodies, streams and errors it has; OP_COUNT: its path's, else plain JSON */
    int64_t ttl_s;     /* or ASK_TTL_NONE, RULE_TTL_UNSAID */
    struct rule_texts tags;
};

/* All that configuration says; borrowed. */
struct rules {
    const struct rule *at;
    size_t n; /* at most RULES_MAX */
    const struct own_operation *own;
    size_t own_n;
    bool off_by_head; /* some rule is rule_is_off_by_head: without one nobody need ask */
};

/** The first operation that is so named, or whose paths or models have a glob for @text; NULL: none. */
const struct own_operation *own_operation_named(const struct rules *r, struct slice name);
const struct own_operation *own_operation_of_path(const struct rules *r, struct slice path);
const struct own_operation *own_operation_of_model(const struct rules *r, struct slice model);

/* What of a request a rule can ask for. Borrowed. */
struct rule_facts {
    struct slice path; /* as the client sent it, without query */
    enum operation op;
    const struct own_operation *own; /* NULL: none */
    struct slice model;
    bool stream, has_temperature;
    double temperature;
    size_t characters, messages; /* of the prompt */
    const struct fields *fields;
};

/** Which rules match, bit by bit. A request that gives no temperature has RULE_TEMPERATURE_DEFAULT where its
 * operation generates text, and none elsewhere. */
uint64_t rules_match(const struct rules *r, const struct rule_facts *facts);
#define RULE_TEMPERATURE_DEFAULT 1.0

/** True for a rule that switches the cache off and asks for nothing that only the body tells. */
bool rule_is_off_by_head(const struct rule *rule);
/** True when @facts, of which only path, op, own and fields are known yet, tell already that the cache is off
 * for the request: then its body need not be held. */
bool rules_are_off_by_head(const struct rules *r, const struct rule_facts *facts);

/* What all rules that match, and its operation, come to for one request. Borrows from the rules. */
struct plan {
    enum rule_cache cache; /* never UNSAID */
    int64_t ttl_s;         /* RULE_TTL_UNSAID: as it would be without rules */
    int64_t stale_while_revalidate_s, stale_if_error_s;
    unsigned variants; /* 0: not said */
    bool server_tools;
    enum rule_truth zero_usage;
    struct slice namespace_;
    const struct key_scope *scope; /* NULL: not said */
    const struct rules *rules;
    const struct own_operation *own;
    uint64_t matched;
};
void plan_make(const struct rules *r, uint64_t matched, const struct own_operation *own, struct plan *out);

/** Where the entry lies: what the request names, else what a rule does, else @fallback. */
struct slice plan_namespace(const struct plan *plan, const struct ask *ask, struct slice fallback);

/** Narrows what @ask may do to what @plan allows: a request may ask for less than a rule, not for more. */
void plan_bound(const struct plan *plan, struct ask *ask);

/** Writes the tags of request, operation and rules at @out, each once, comma-separated, those that no longer
 * fit into @cap left out. Returns the length. */
size_t plan_tags(const struct plan *plan, const struct ask *ask, char *out, size_t cap);
