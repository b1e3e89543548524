#include "refrain/policy/lease.h"

enum {
    RENEWALS = 3,       /* in the time of one lease: two may get lost */
    PAUSE_FIRST_MS = 2, /* wake-ups may not have begun to come */
    PAUSE_MAX_MS = 500,
    PAUSES = 4, /* in the time of one lease, at least */
};

/* -- the leader -- */

void lease_lead_begin(struct lease_lead *l, const struct lease_conf *conf, int64_t asked_ms)
{
    *l = (struct lease_lead){.conf = *conf};
    lease_lead_heard(l, LEASE_CONFIRMED, 0, asked_ms, asked_ms);
}

void lease_lead_heard(struct lease_lead *l, enum lease_word word, unsigned followers, int64_t asked_ms,
                      int64_t now_ms)
{
    int64_t step_ms = l->conf.lease_ms / RENEWALS;

    switch (word) {
    case LEASE_CONFIRMED:
        l->followers = followers;
        if (asked_ms + l->conf.lease_ms > l->held_until_ms)
            l->held_until_ms = asked_ms + l->conf.lease_ms;
        l->renew_at_ms = asked_ms + step_ms;
        break;
    case LEASE_DENIED:
        l->lost = true;
        break;
    case LEASE_NO_WORD:
        l->renew_at_ms = now_ms + step_ms / RENEWALS;
        break;
    }
}

enum lease_standing lease_lead_standing(const struct lease_lead *l, int64_t now_ms)
{
    if (l->lost)
        return LEASE_LOST;
    return now_ms < l->held_until_ms ? LEASE_HELD : LEASE_DOUBTFUL;
}

int64_t lease_lead_renew_in_ms(const struct lease_lead *l, int64_t now_ms)
{
    return l->renew_at_ms > now_ms ? l->renew_at_ms - now_ms : 1;
}

uint64_t lease_lead_say(struct lease_lead *l, size_t bytes)
{
    l->bytes += bytes;
    l->kept_bytes += bytes;
    l->closed = l->bytes > l->conf.bytes_max;
    return ++l->seq;
}

/* Until it is closed all is kept, for newcomers; from then on the last bytes_max, for the slow, and as much
 * again while the next are counted. */
uint64_t lease_lead_keeps(struct lease_lead *l)
{
    uint64_t keeps = 0;

    if (l->kept_bytes <= l->conf.bytes_max)
        return 0;
    if (l->kept_from > 0)
        keeps = l->seq - l->kept_from;
    l->kept_from = l->seq;
    l->kept_bytes = 0;
    return keeps;
}

/* -- a follower -- */

static int64_t pause_max_ms(const struct lease_follow *f)
{
    return f->conf.lease_ms / PAUSES < PAUSE_MAX_MS ? f->conf.lease_ms / PAUSES : PAUSE_MAX_MS;
}

void lease_follow_begin(struct lease_follow *f, const struct lease_conf *conf, uint64_t fence, int64_t now_ms)
{
    f->conf = *conf;
    f->fence = fence;
    f->seq = 0;
    f->heard_ms = now_ms;
    f->pause_ms = PAUSE_FIRST_MS;
    f->elections++;
}

bool lease_follow_take(struct lease_follow *f, uint64_t fence, uint64_t seq)
{
    if (fence != f->fence || seq != f->seq + 1)
        return false;
    f->seq = seq;
    return true;
}

void lease_follow_deliver(struct lease_follow *f)
{
    f->begun = true;
}

enum lease_step lease_follow_looked(struct lease_follow *f, bool held, size_t messages, bool woken,
                                    int64_t now_ms)
{
    f->heard_ms = now_ms;
    if (messages > 0) {
        f->pause_ms = woken ? pause_max_ms(f) : PAUSE_FIRST_MS;
        return LEASE_ON;
    }
    if (!held && f->begun)
        return LEASE_CUT;
    if (!held)
        return f->elections < LEASE_ELECTIONS_MAX ? LEASE_ELECT : LEASE_ALONE;
    f->pause_ms = f->pause_ms * 2 < pause_max_ms(f) ? f->pause_ms * 2 : pause_max_ms(f);
    return LEASE_ON;
}

enum lease_step lease_follow_failed(struct lease_follow *f, bool gone, int64_t now_ms)
{
    bool too_long = now_ms - f->heard_ms >= f->conf.lease_ms;

    if (f->begun)
        return too_long ? LEASE_CUT : LEASE_ON;
    return gone || too_long ? LEASE_ALONE : LEASE_ON;
}

enum lease_step lease_follow_broken(const struct lease_follow *f)
{
    return f->begun ? LEASE_CUT : LEASE_ALONE;
}

int64_t lease_follow_pause_ms(const struct lease_follow *f)
{
    return f->pause_ms > 0 ? f->pause_ms : 1;
}
