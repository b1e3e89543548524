/*
 * vary - what an answer's Vary adds to a request's key. RFC 9111 section 4.1, RFC 9110 section 12.5.5; SPEC
 * section 4.
 *
 * Most fields that Vary can name are in the key already, or never reach upstream as the client wrote them;
 * such names split nothing. Of the others a list is made, and a request's values of that list, with the key
 * that all the variants have in common, make the variant's own key.
 *
 * Pure: no clock, no locks, no allocation but OpenSSL's where a credential is among the names.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/base/slice.h"
#include "refrain/policy/key.h"
#include "refrain/wire/header.h"

enum {
    VARY_NAMES_MAX = 16,
    VARY_BYTES_MAX = 512, /* of a list as text */
    VARY_ID_LEN = 32
};

enum vary_verdict {
    VARY_NONE,  /* requests with one key get one answer */
    VARY_SPLIT, /* those that differ in the fields listed do not */
    VARY_NEVER, /* no two requests are known to get the same: `*`, more names than are followed, an id that is
                 * made for each request, or a credential without a secret to hide it by */
};

/* Lower case, sorted, none twice: "accept, user-agent". */
struct vary_list {
    size_t len;
    char text[VARY_BYTES_MAX];
};

/* What is in the key. Borrowed. */
struct vary_terms {
    const struct header_table *headers;
    const struct key_scope *scope;
    bool accept_counts; /* as in struct key_request */
};

/** Reads every Vary of an answer's classified @fields. @out is written on VARY_SPLIT alone. Threads: any. */
enum vary_verdict vary_read(const struct fields *fields, const struct vary_terms *terms,
                            struct vary_list *out);

/** True when a list may hold the name of this classified field of a request. Threads: any. */
bool vary_may_name(const struct field *f, const struct vary_terms *terms);

/**
 * The key of the variant that a request with these @n classified fields gets: @common is the key without
 * Vary,
 * @names a list's text, @id (VARY_ID_LEN bytes) tells this family of variants from those that had the same
 * key before it. Fields that do not go on to upstream count as absent; absent differs from empty. Lines of
 * one name count one after another; where the field is known to be a list, its elements do, so that it does
 * not matter how they are spread over lines. Values are not understood any further. A credential goes in as a
 * sum under @scope's secret.
 */
struct digest vary_key(struct sha256 *hash, const struct digest *common, struct slice id, struct slice names,
                       const struct field *at, size_t n, const struct key_scope *scope);
