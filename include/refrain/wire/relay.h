/*
 * relay - what the leader of a cluster flight tells its followers on other instances, message by message:
 *
 *   stamp | head        once others may have the answer: status, fields, whom it is told apart by
 *   stamp | data …      bytes of the body, as they came
 *   stamp | end         how it ended and what became of it, or why there is nothing to follow
 *
 * The stamp says whose message it is and which in turn, so that nothing is taken that belongs to another
 * flight or stands in another place. What follows it may be sealed, with the stamp's bytes as what is bound
 * to it. Heads and ends are runs of tag, length, bytes; tags that are not known are skipped, so a later
 * version may say more. Bytes are kept exactly as they are: a field's value may be no UTF-8.
 *
 * Everything read here comes from outside: false is all that may come of it. Pure: no I/O, no allocation but
 * in the caller's buf. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/digest.h"
#include "refrain/base/slice.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"

enum { RELAY_STAMP_BYTES = 52, RELAY_ID_LEN = 32 };

enum relay_kind { RELAY_HEAD = 1, RELAY_DATA, RELAY_END };

struct relay_stamp {
    enum relay_kind kind;
    bool sealed;       /* what follows is */
    struct digest key; /* of the flight */
    uint64_t fence;    /* the leader's: of two leaders of one key the later has the greater */
    uint64_t seq;      /* 1 for the first message of a leader, then one more each */
};
/** Writes RELAY_STAMP_BYTES at @out. */
void relay_stamp_write(const struct relay_stamp *stamp, char *out);
/** Reads the stamp of @message; what follows it is left to slice_skip. false: it is none. */
bool relay_stamp_read(struct slice message, struct relay_stamp *out);

/* The head of an answer, as it would be stored. When read, its slices borrow from what was read. */
struct relay_head {
    unsigned status;
    bool stream;         /* sent as it comes */
    bool confirmed;      /* upstream has said 304, and this is what was stored, brought up to date */
    int64_t body_len;    /* -1: not known */
    int64_t came_ms;     /* wall clock: when it came to the leader; 0: not told */
    struct slice id;     /* RELAY_ID_LEN hex digits: the entry's id to be */
    struct slice reason; /* it will not be stored, for this; empty: that is not known yet */
    /* it varies: whom it is for, and under which key; empty names: it is for all */
    struct slice vary_names, vary_id;
    struct digest vary_key;
    struct fields fields; /* not classified */
};
/** Appends it. Errors: as buf_reserve. */
ATTR_MUST_USE int relay_head_write(struct buf *out, const struct relay_head *head);
/** false: it is none, or holds what no head may. */
bool relay_head_read(struct slice bytes, struct relay_head *out);

enum relay_how {
    RELAY_WHOLE = 1,   /* every byte was told */
    RELAY_CUT,         /* it ended in the middle */
    RELAY_FAILED,      /* there is no answer but this error */
    RELAY_UNSHAREABLE, /* nobody else may have it, nor will the next: ask for yourselves, all at once */
    RELAY_ALONE,       /* nobody else may have this one */
    RELAY_AGAIN,       /* the leader gives up its place: one of the others takes it */
};
struct relay_end {
    enum relay_how how;
    bool stored;                                /* it is in the store, or on its way there */
    struct slice reason;                        /* why not */
    uint64_t bytes;                             /* of the body, all in all, … */
    struct digest sum;                          /* … and their SHA-256 */
    uint64_t tokens_in, tokens_out;             /* what it cost, by upstream's own word; 0: not told */
    uint64_t tokens_cached, tokens_cache_write; /* of tokens_in: from its prompt cache, and into it */
    enum error_code error;
    struct slice error_text;
    int64_t retry_after_s;
    struct fields trailers;
};
ATTR_MUST_USE int relay_end_write(struct buf *out, const struct relay_end *end);
bool relay_end_read(struct slice bytes, struct relay_end *out);
