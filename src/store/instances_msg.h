/*
 * instances_msg - what instances tell each other, as text: one JSON object of version 1, written and read.
 * What is read comes from whoever may write to Redis: it is bounded, judged as a whole, and means nothing
 * unless all of it is as it should be. Texts are percent-encoded, so that no JSON escape is ever needed.
 *
 *   {"v":1,"type":"CACHE_INVALIDATED","source":"5d0c8b1e7f3a9246","at":1795282714123,"ask":17,
 *    "which":{"tag":"red","operation":"chat"},"correlation":"…"}
 *   {"v":1,"type":"TARGET","source":"…","at":…,"sum":"00f1…"}     {"v":1,"type":"REFUSED", … as TARGET}
 *   {"v":1,"type":"ANSWER","source":"…","at":…,"ask":17,"matched":3,"memory":2,"disk":3,"seq":…,"sums":"…"}
 *
 * Pure. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/store/events.h"
#include "refrain/store/selector.h"

enum {
    MSG_SUMS_MAX = 4096,
    MSG_TEXTS_BYTES = 4096,                     /* all texts of one message, decoded */
    MSG_BYTES_MAX = 3 * MSG_TEXTS_BYTES + 1024, /* of one in a log */
    MSG_ANSWER_BYTES_MAX = MSG_BYTES_MAX + 16 * MSG_SUMS_MAX,
};

enum msg_kind { MSG_INVALIDATED, MSG_TARGET, MSG_REFUSED, MSG_ANSWER, MSG_KINDS };

struct instances_msg {
    enum msg_kind kind;
    char source[EVENT_SOURCE_BYTES + 1];
    int64_t at_ms; /* wall clock of who tells */
    /* INVALIDATED; texts lie below in what was read, anywhere in what is written */
    struct selector which;
    bool dry_run;
    struct slice correlation;
    uint64_t sum; /* TARGET, REFUSED */
    uint64_t ask; /* INVALIDATED: an answer is wanted, by this number; 0: none. ANSWER: to that */
    /* ANSWER */
    uint64_t matched, memory, disk;
    int64_t seq; /* of the fence there */
    bool at_least;
    struct slice sums; /* 16 hex digits each */
    char texts[MSG_TEXTS_BYTES];
};

/** Appends @m. Errors: as buf_reserve; -EMSGSIZE also when its texts are longer than is read. */
int instances_msg_write(const struct instances_msg *m, struct buf *out);
/** What @text says, which @out borrows of sums alone. false: it is none, or of another version; @out is
 * garbage then. */
bool instances_msg_read(struct slice text, struct instances_msg *out);

/** One of the sums. */
uint64_t instances_msg_sum(const struct instances_msg *m, size_t i);
static inline size_t instances_msg_sums_n(const struct instances_msg *m)
{
    return m->sums.len / 16;
}
/** Appends one sum to what becomes @m->sums. Errors: as buf_reserve. */
int instances_msg_add_sum(struct buf *sums, uint64_t sum);

/** 16 lower-case hex digits. false: it is something else. */
bool instances_read_sum(struct slice hex, uint64_t *out);
