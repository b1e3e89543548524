/*
 * exchange_store - LOOKUP: will what is stored do, and if not, where to? BELOW waits where the tiers below
 * memory are asked for this exchange alone.
 */
#include "exchange_priv.h"

enum step step_below(struct exchange *x)
{
    if (!below_is_asked(x))
        return STEP_LOOKUP;
    x->next = STEP_BELOW;
    front_park(&x->req);
    return STEP_PARKED;
}

enum step step_lookup(struct exchange *x)
{
    if (keeps_several(x) && !x->chosen)
        (void)choose_answer(x);
    x->looked = true;
    (void)lookup_entry(x);
    if (lookup_is_coded_otherwise(x)) {
        exchange_bypass(x, "no-transform");
        return STEP_PASS;
    }
    if (x->verdict == FRESH_SERVE_REFRESH && lookup_wants_refresh(x))
        return x->keyed ? STEP_REFRESH : STEP_MAKE;
    if (x->verdict != FRESH_ASK || lookup_while_shut(x))
        return exchange_reply_entry(x);
    if (below_asks_alone(x))
        return x->keyed ? STEP_JOIN : STEP_MAKE;
    if (x->ask.only_if_cached) {
        answer_error(x, ERR_ONLY_IF_CACHED, "not in the cache, and only-if-cached was asked");
        return STEP_DONE;
    }
    exchange_charge_client(x);
    if (x->refused)
        return exchange_reply_refusal(x);
    if (x->ask.range.len > 0 && !x->head_request) {
        exchange_bypass(x, "range"); /* only a stored whole can be cut here */
        return STEP_PASS;
    }
    return x->keyed ? STEP_JOIN : STEP_MAKE; /* the memo knows the key, but not what upstream must be asked */
}
