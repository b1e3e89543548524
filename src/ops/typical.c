#include "typical.h"

#include <stdlib.h>

#include "refrain/base/buf.h"
#include "refrain/base/sketch.h"
#include "refrain/http/slow.h"

enum { PACKED_BYTES_MAX = 16 * 1024 /* well over what a sketch can pack to */ };
static const double typical_part = 0.8;

/* A sketch as it was at the last two turns, packed; empty: it was not there yet. */
struct copies {
    struct buf older, newer;
};

struct typical {
    struct metrics *metrics;
    struct slow *slow;
    int64_t turned_ms;
    struct copies of[2][LABEL_MAX_OPERATION][LABEL_MAX_RESULT]; /* of streams: the second */
};

struct typical *typical_new(struct metrics *metrics, struct slow *slow, int64_t mono_ms)
{
    struct typical *t = calloc(1, sizeof(*t));

    if (!t)
        abort();
    t->metrics = metrics;
    t->slow = slow;
    t->turned_ms = mono_ms;
    return t;
}

static void copies_done(struct copies *c)
{
    buf_done(&c->older);
    buf_done(&c->newer);
}

void typical_free(struct typical *t)
{
    if (!t)
        return;
    for (unsigned op = 0; op < LABEL_MAX_OPERATION; op++)
        for (unsigned result = 0; result < LABEL_MAX_RESULT; result++) {
            copies_done(&t->of[false][op][result]);
            copies_done(&t->of[true][op][result]);
        }
    free(t);
}

static void turn(struct copies *c, const struct sketch *now)
{
    buf_done(&c->older);
    c->older = c->newer;
    c->newer = (struct buf)BUF_INIT(PACKED_BYTES_MAX);
    (void)!sketch_pack(now, &c->newer);
}

static void tell(struct typical *t, bool streamed, unsigned op, unsigned result, bool turns)
{
    unsigned slot = streamed ? TIME_SLOT(STREAM, op, result) : TIME_SLOT(REQUEST, op, result);
    struct copies *c = &t->of[streamed][op][result];

    if (!metrics_slot_is_timed(t->metrics, slot))
        return;

    struct sketch now = {0}, before = {0}, lately;

    (void)metrics_slot_times(t->metrics, slot, &now);
    sketch_merge_packed(&before, buf_slice(&c->older));
    sketch_since(&lately, &now, &before);
    if (sketch_count(&lately) >= TYPICAL_OF)
        slow_set_typical(t->slow, streamed, op, result, sketch_mean_of_lowest_ns(&lately, typical_part));
    if (turns)
        turn(c, &now);
}

void typical_tell(struct typical *t, int64_t mono_ms)
{
    bool turns = mono_ms - t->turned_ms >= TYPICAL_TURN_MS;

    for (unsigned op = 0; op < LABEL_MAX_OPERATION; op++)
        for (unsigned result = 0; result < LABEL_MAX_RESULT; result++) {
            tell(t, false, op, result, turns);
            tell(t, true, op, result, turns);
        }
    if (turns)
        t->turned_ms = mono_ms;
}
