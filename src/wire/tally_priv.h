/*
 * What a dialect tells the tally as it reads an answer. A choice, and each of its tool calls, is a part;
 * parts of a stream stay open until its end, those of a whole answer are settled as they are read.
 */
#pragma once
#include "refrain/wire/jscan.h"
#include "refrain/wire/tally.h"

struct tally_part {
    uint64_t id;            /* of a call: a digest of its own id; 0: none */
    uint32_t choice, index; /* TALLY_CHOICE: the choice itself */
    bool said;              /* something */
    bool finished;          /* a choice of which nothing more is expected; for dialects that ask */
    bool has_text, refused, calls;
    bool is_json;           /* its text is to be JSON; of others nothing is followed */
    struct jscan_text text; /* of a call: its arguments */
};
#define TALLY_CHOICE UINT32_MAX

void tally_fault(struct tally *t, enum tally_fault fault);
/** Something of what the API promises is there. */
void tally_payload(struct tally *t);
/** A reason, as the answer has it; null and "" say nothing. */
void tally_finish(struct tally *t, struct jscan_value reason);
/** The same of one choice, which is finished then if it has begun. */
void tally_finish_choice(struct tally *t, uint32_t choice, struct jscan_value reason);
void tally_finish_as(struct tally *t, enum finish_kind kind, struct slice text);
/** Later counts replace earlier ones; -1 leaves what was told. */
void tally_tokens(struct tally *t, int64_t in, int64_t out);
/** The same of the input that upstream had in its prompt cache, and of what it wrote there. */
void tally_tokens_cached(struct tally *t, int64_t cached, int64_t written);

/* Parts; NULL when too many, which is noted. */
struct tally_part *tally_choice(struct tally *t, uint32_t choice);
struct tally_part *tally_call(struct tally *t, uint32_t choice, uint32_t index);
/** As tally_call, but opens another call where @id differs from the last one's of that index. */
struct tally_part *tally_call_new(struct tally *t, uint32_t choice, uint32_t index, struct slice id);
/** Text of a choice, or arguments of a call: a string adds to them; of any other kind it says no more than
 * that it is there. */
void tally_add(struct tally_part *part, struct jscan_value text);
/** Begins a choice's text anew: of several messages in one answer the last is the answer. */
void tally_restart(struct tally_part *choice);
/** Marks that something was said which is neither text nor a call. */
void tally_say(struct tally_part *choice);
/** Arguments of a call that came in one piece: a string, or the JSON itself. */
void tally_arguments(struct tally *t, struct tally_part *choice, struct jscan_value arguments);
/** A refusal in words. */
void tally_refuse(struct tally *t, struct tally_part *choice);
/** True when there is a choice and every one is finished. */
bool tally_is_finished(const struct tally *t);
/** Judges the parts that are open, and closes them. */
void tally_settle(struct tally *t);
