/*
 * api_selector - which entries a call means: the members of a JSON body, or the parameters of a query.
 */
#pragma once
#include <stdbool.h>

#include "api.h"
#include "refrain/base/buf.h"
#include "refrain/store/selector.h"

struct api_selector {
    struct selector which; /* its texts lie in text, or are the call's */
    struct buf text;
    bool any; /* something is given */
    bool all; /* "all": true */
    bool dry_run;
};
void api_selector_done(struct api_selector *s);

/** A whole JSON object: selectors, "all", "dry_run". What is meant must be said; false after api_fail. */
bool api_selector_from_body(struct api_call *c, struct api_selector *out);
/** The parameters of the same names; none means all. Others are the caller's. false after api_fail. */
bool api_selector_from_query(struct api_call *c, struct api_selector *out);

/** May this be an entry's id? */
bool api_selector_is_id(struct slice text);
/** A pattern without the prefix that keys have in Redis. */
struct slice api_selector_pattern(struct slice prefix, struct slice pattern);
