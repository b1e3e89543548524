/*
 * coding - gzip, whole bodies at a time (RFC 1952; content coding of RFC 9110 section 8.4.1.3). Over zlib.
 * Piece by piece: wire/gunzip.h. Pure: no locks; CPU work that for large bodies belongs on the thread pool.
 */
#pragma once
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

/**
 * Appends what @gzip decodes to. The ceiling of @out is what a bomb runs into.
 * Errors, nothing being appended then: -EBADMSG, it is not one intact gzip body: damaged, cut short, or with
 * anything behind its last member; -EMSGSIZE, over the ceiling; -ENOMEM.
 */
ATTR_MUST_USE int gzip_unpack(struct slice gzip, struct buf *out);

/**
 * Appends @plain as one gzip member; the same bytes for the same input, level and zlib. @level: 1 (fast) to 9
 * (small). Errors, nothing being appended then: -EMSGSIZE, over the ceiling of @out; -ENOMEM.
 */
ATTR_MUST_USE int gzip_pack(struct slice plain, int level, struct buf *out);
