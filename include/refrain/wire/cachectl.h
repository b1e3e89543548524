/*
 * cachectl - Cache-Control of requests and responses as plain values. RFC 9111 section 5.2, RFC 5861, RFC
 * 8246, RFC 9213. Unknown directives are ignored. A delta given twice takes its first value in a response
 * (section 4.2.1), its strictest in a request; one that does not parse counts as 0 in a response, and as not
 * there in a request.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

enum { CC_ABSENT = -1 }; /* of a delta; larger than 2^31 reads as 2^31 */

struct cachectl {
    bool no_cache, no_store, no_transform, only_if_cached; /* either side */
    bool is_private, is_public, must_revalidate, proxy_revalidate, must_understand, immutable;
    bool no_cache_fields, private_fields; /* beside no_cache, is_private: only the fields named are meant */
    bool max_stale_any;                   /* max-stale without a value */
    int64_t max_age_s, s_maxage_s, min_fresh_s, max_stale_s; /* CC_ABSENT */
    int64_t stale_while_revalidate_s, stale_if_error_s;      /* CC_ABSENT */
};
void cachectl_init(struct cachectl *c);
/** Adds one field value; call for each Cache-Control field in order. */
void cachectl_parse_request(struct cachectl *c, struct slice value);
void cachectl_parse_response(struct cachectl *c, struct slice value);

/** True when a response's field value has `private` or `no-cache` name this field: then the field is not for
 * a shared store, whatever becomes of the rest (RFC 9111 sections 5.2.2.4 and 5.2.2.7). */
bool cachectl_withholds(struct slice value, struct slice field_name);

/**
 * Reads what a response (classified) says in the target field @id, such as CDN-Cache-Control: all lines of
 * it, one structured field (RFC 9213 section 2.1). A directive whose value is of another type than it takes
 * is as if not given; of one given twice the last counts, as in every dictionary.
 * true when it says anything, so that Cache-Control is not to be heeded. false, and @out untouched, when
 * there is none, or it is empty, or it is malformed anywhere (section 2.2).
 */
bool cachectl_read_targeted(const struct fields *fields, enum header_id id, struct cachectl *out);
