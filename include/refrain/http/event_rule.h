/*
 * event_rule - what an event from outside (POST /api/v1/events) has go: rules of configuration, each a glob
 * over the event's type and lists of tags, patterns, models and operations, with `{field}` for what the
 * event's payload says. SPEC section 8, docs/events.md.
 *
 * What a payload says is a name, never more: in a pattern or a model's glob it may not hold a wildcard, or
 * anything else that means something there; nowhere may it be empty, so that "doc-{id}" cannot become "doc-"
 * nor a namespace all of them. An event that does so is refused as a whole, before anything is dropped.
 *
 * Pure. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"
#include "refrain/store/selector.h"

enum {
    EVENT_TYPE_BYTES = 128,
    EVENT_DROPS_MAX = 64,    /* invalidations by one event */
    EVENT_TEXT_BYTES = 512,  /* of one tag, pattern, … with its fields */
    EVENT_FIELD_BYTES = 256, /* what a field may say */
    EVENT_RULES_TEXT = 32 * 1024,
};

struct event_names {
    const struct slice *at;
    size_t n;
};

struct event_rule {
    struct event_names events; /* globs over the type */
    struct event_names tags, patterns, models, operations;
    struct slice namespace_; /* of all of these; alone: all of it. Empty: any */
    bool all;
};
struct event_rules {
    const struct event_rule *at;
    size_t n;
};

/* What is to go. */
struct event_drops {
    struct selector at[EVENT_DROPS_MAX]; /* their texts lie below */
    size_t n;
    size_t rules; /* so many matched */
    struct buf text;
};
struct event_fault {
    char where[EVENT_FIELD_BYTES]; /* "payload.id" */
    const char *expected;          /* static */
};

/** True when @type may be one: 1 to EVENT_TYPE_BYTES of [A-Za-z0-9._:/-]. */
bool event_type_ok(struct slice type);
/**
 * What an event of @type with this payload (JSON, an object; empty: none) has go by @rules. 0; -EINVAL, and
 * why is in @out_fault; -ENOMEM. @out is to be given back in any case.
 */
int event_rules_apply(const struct event_rules *rules, struct slice type, struct slice payload,
                      struct event_drops *out, struct event_fault *out_fault);
void event_drops_done(struct event_drops *d);
