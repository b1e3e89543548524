#include "refrain/store/tier.h"

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

int tier_name(struct buf *out, struct slice prefix, const struct label *l)
{
    return keytext_add(out, prefix, l->namespace_, l->operation, l->model, &l->key);
}
