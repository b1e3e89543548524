/*
 * guard - refuses a request whose framing or target could be read in two ways, before anything else sees it.
 * RFC 9112 sections 3, 5, 6 and SPEC section 2. Pure; allocates nothing.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "refrain/base/slice.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"

enum guard_version { GUARD_HTTP_10, GUARD_HTTP_11 };

struct guard_verdict {
    bool ok;
    enum error_code code; /* when not ok */
    const char *why;      /* static text that says what was expected */
};

/**
 * Judges a request head. @fields are classified. @target is the raw request target.
 * Order of tests is part of the contract: method (405), target, fields, framing, Host (400), Expect (417),
 * Upgrade (501).
 */
struct guard_verdict guard_request(enum guard_version version, struct slice method, struct slice target,
                                   const struct fields *fields);

/** True when @host may stand in Host (RFC 9110 section 7.2: uri-host [":" port]); empty is allowed. */
bool guard_host_ok(struct slice host);
