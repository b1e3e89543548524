#include "refrain/policy/lifetime.h"

static int64_t at_most(int64_t s, int64_t max_s)
{
    return s > max_s ? max_s : s;
}

static int64_t chosen_s(const struct lifetime_conf *conf, const struct lifetime_says *says)
{
    int64_t otherwise_s = says->read ? at_most(says->otherwise_s, conf->max_s) : says->otherwise_s;

    if (says->terms_s == LIFETIME_UNSAID || (says->promised && says->terms_s == LIFETIME_NONE))
        return otherwise_s;
    return says->promised ? at_most(says->terms_s, otherwise_s) : says->terms_s;
}

/* What request or rules say may be less than its end's lifetime, what holds for everything may not be more.
 */
static int64_t ended_s(const struct lifetime_says *says, int64_t s)
{
    if (says->finish_s == LIFETIME_UNSAID)
        return s;
    return says->terms_s >= 0 && s < says->finish_s ? s : says->finish_s;
}

/* From as many percent less to as many more, a second at the least. */
static int64_t with_jitter(const struct lifetime_conf *conf, uint64_t dice, int64_t ms)
{
    int64_t span = ms / 100 * (int64_t)conf->jitter_percent, jittered;

    if (span == 0)
        return ms;
    jittered = ms - span + (int64_t)(dice % (uint64_t)(2 * span + 1));
    if (jittered > conf->max_s * 1000 && jittered > ms)
        jittered = ms; /* never past the longest there is because of dice */
    return jittered < 1000 ? 1000 : jittered;
}

void lifetime_choose(const struct lifetime_conf *conf, const struct lifetime_says *says, struct lifetime *out)
{
    int64_t s = ended_s(says, chosen_s(conf, says));

    *out = (struct lifetime){.fresh_ms = s == LIFETIME_NONE ? INT64_MAX : s * 1000};
    if (s == LIFETIME_NONE || says->read)
        return;
    out->fresh_ms = with_jitter(conf, says->dice, out->fresh_ms);
    if (!conf->sliding ||
        says->finish_s != LIFETIME_UNSAID) /* a poor answer is not kept alive by being used */
        return;
    out->max_ms = conf->max_lifetime_s * 1000;
    out->fresh_ms = at_most(out->fresh_ms, out->max_ms);
    out->sliding_ms = out->fresh_ms;
}
