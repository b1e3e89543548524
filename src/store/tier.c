#include "refrain/store/tier.h"

#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/wire/keytext.h"

static const char *const result_names[TIER_RESULTS] = {
    [TIER_OK] = "ok",     [TIER_ABSENT] = "absent", [TIER_LATE] = "late",       [TIER_BUSY] = "busy",
    [TIER_DOWN] = "down", [TIER_FULL] = "full",     [TIER_REFUSED] = "refused", [TIER_FAILED] = "failed",
};

const char *tier_result_name(enum tier_result r)
{
    return result_names[r];
}

static void on_answer(struct loop_msg *m)
{
    struct tier_op *op = CONTAINER_OF(m, struct tier_op, msg);

    op->on_done(op);
}

void tier_answer(struct tier_port *p, struct tier_op *op, enum tier_result r)
{
    op->result = r;
    op->msg.on_msg = on_answer;
    loop_post(p->loop, &op->msg);
}

/* -- replies -- */

/* Outlives its port by the message that is under way. Questions are chained by their `own`. */
struct tier_replies {
    struct loop_msg msg;
    struct loop *loop;
    struct tier_op *first, *last;
    bool posted, ended;
};

static void deliver(struct tier_replies *r)
{
    struct tier_op *op = r->first;

    r->first = NULL; /* what these lead to has a message of its own */
    while (op) {
        struct tier_op *next = op->own; /* on_done may free it */

        op->on_done(op);
        op = next;
    }
}

static void on_replies(struct loop_msg *m)
{
    struct tier_replies *r = CONTAINER_OF(m, struct tier_replies, msg);

    r->posted = false;
    if (r->ended)
        free(r);
    else
        deliver(r);
}

struct tier_replies *tier_replies_new(struct loop *l)
{
    struct tier_replies *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->loop = l;
    r->msg.on_msg = on_replies;
    return r;
}

void tier_reply(struct tier_replies *r, struct tier_op *op, enum tier_result result)
{
    op->result = result;
    op->own = NULL;
    if (r->first)
        r->last->own = op;
    else
        r->first = op;
    r->last = op;
    if (r->posted)
        return;
    r->posted = true;
    loop_post(r->loop, &r->msg);
}

void tier_replies_end(struct tier_replies *r)
{
    if (!r)
        return;
    while (r->first)
        deliver(r);
    r->ended = true;
    if (!r->posted)
        free(r);
}

int tier_name(struct buf *out, struct slice prefix, const struct label *l)
{
    return keytext_add(out, prefix, l->namespace_, l->operation, l->model, &l->key);
}
