/*
 * tally - what an answer adds up to, whole or streamed: is its payload there, do its tool calls and the JSON
 * it was asked for parse, how did it end, what did it cost. SPEC section 5, lines 3 and 4; the gate judges by
 * it.
 *
 * Fed the whole body once, or event by event; the same answer gives the same result either way. It looks for
 * what a dialect knows and passes over the rest: an unknown member is never a fault, and neither is a number
 * of any size, `\u0000`, or a name given twice. Text and arguments that come in pieces are judged as they
 * come, not kept.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/wire/dialect.h"

/* The most of a stream's choices and tool calls that are followed; more is TALLY_MEMORY. */
enum { TALLY_PARTS_MAX = 1024 };
/* Different finish reasons in one answer; more is TALLY_MEMORY. */
enum { TALLY_FINISHES_MAX = 8, TALLY_FINISH_TEXT_MAX = 48 };

/* Of several the first here is told. */
enum tally_fault {
    TALLY_GOOD,
    TALLY_ERROR_INSIDE, /* an error in place of an answer, or in the middle of one */
    TALLY_MEMORY,       /* too much to be followed, or no memory: nothing is said against the answer */
    TALLY_NOT_JSON,     /* the body, or an event, is no JSON */
    TALLY_NO_PAYLOAD, /* what the API promises is missing or empty: `choices`, `content`, `data`, a vector …
                       */
    TALLY_ARGUMENTS,  /* a tool call's arguments are no JSON; the model's doing or the client's tool's */
    TALLY_WANTED_JSON, /* the request asked for JSON and the text is none; the model's doing, too */
    TALLY_FAULT_COUNT
};

/** As configuration names it: "", "stop", "length", "refusal", "content_filter", "incomplete", "error". */
const char *finish_kind_name(enum finish_kind kind);

struct tally_finish {
    enum finish_kind kind;
    struct slice text; /* as upstream wrote it, its first TALLY_FINISH_TEXT_MAX bytes; kept by the tally */
};

struct tally_result {
    enum tally_fault fault;
    /* Every different reason that a choice ended for, the worst first; none: not told. */
    struct tally_finish finishes[TALLY_FINISHES_MAX];
    size_t finishes_n;
    /* Well-formed, but one of its choices says nothing at all: no text, no tool call, nothing. An answer may
     * rightly be empty, so this is no fault. */
    bool empty;
    bool finished;                 /* of a stream: there is a choice, and it was said of each how it ended */
    int64_t tokens_in, tokens_out; /* -1: not told */
    /* Of tokens_in, what upstream had in its prompt cache, and what it wrote there; -1: not told. */
    int64_t tokens_cached, tokens_cache_write;
};

struct tally_part; /* a choice's text, or one tool call's arguments, as far as they have come */

struct tally {
    const struct dialect *dialect;
    bool wants_json;
    uint32_t faults; /* 1 << enum tally_fault */
    bool has_payload, is_empty;
    struct tally_part *parts;
    size_t parts_n, parts_cap, last;
    struct {
        enum finish_kind kind;
        size_t len;
        char text[TALLY_FINISH_TEXT_MAX];
    } finishes[TALLY_FINISHES_MAX];
    size_t finishes_n;
    int64_t tokens_in, tokens_out, tokens_cached, tokens_cache_write;
};

/** @wants_json: the request asked for JSON (canon_facts). Owned by one thread at a time; must not be moved
 * while a result of it is in use. */
void tally_init(struct tally *t, const struct dialect *dialect, bool wants_json);
void tally_done(struct tally *t);

/** The whole answer, decoded to identity. Large ones belong on the thread pool; about 1 ns a byte. */
void tally_whole(struct tally *t, struct slice body);
/** The next event of a stream, as sse_reader gives it; tells what it means for the stream. */
enum event_meaning tally_event(struct tally *t, struct slice event, struct slice data);
/** Bytes of a stream that has no events came. */
void tally_bytes(struct tally *t);
/** What an event could not be looked at for its size, or what else was lost: TALLY_MEMORY. */
void tally_lost(struct tally *t);

/** What has come adds up to this. Ask once, at the end. */
void tally_result(const struct tally *t, struct tally_result *out);
