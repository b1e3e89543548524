/*
 * lease - which of several instances asks upstream, for how long the others believe that it does, and what
 * becomes of each when one of them, or Redis, falls silent. SPEC section 7, last item; decisions/0022.
 *
 *   leader:    asked for ──► held ──(renewed in time)──► held … ──► ended
 *                              │ no word                  │ another has it
 *                              ▼                          ▼
 *                           doubtful ──(word)──► held    lost: it goes on for its own readers alone
 *
 *   follower:  on ──► on … ──► ended
 *               │ the leader is gone, or cannot be heard
 *               ├─ nothing was delivered yet ──► elect (another one leads), or alone
 *               └─ something was ──► cut: half an answer never ends cleanly
 *
 * A lease is counted from when its leader asked for it, so the leader doubts before anybody else may believe
 * it gone. Pure: time is an argument (monotonic ms), no I/O, no allocation.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lease_conf {
    int64_t lease_ms;   /* how long a leader is believed without a word */
    uint64_t bytes_max; /* of an answer, before newcomers are not taken any more */
};

/* -- the leader -- */

struct lease_lead {
    struct lease_conf conf;
    int64_t held_until_ms, renew_at_ms;
    bool lost;
    unsigned followers;  /* as last heard */
    uint64_t seq;        /* of the last message */
    uint64_t bytes;      /* told, all in all */
    bool closed;         /* newcomers are not taken */
    uint64_t kept_from;  /* seq: with what came before it goes what … */
    uint64_t kept_bytes; /* … has grown to bytes_max since */
};
/** The lease that was asked for at @asked_ms is held. */
void lease_lead_begin(struct lease_lead *l, const struct lease_conf *conf, int64_t asked_ms);

enum lease_word {
    LEASE_CONFIRMED,
    LEASE_DENIED,  /* it has run out, or is another's */
    LEASE_NO_WORD, /* no answer, or none that makes sense */
};
/** What came of a question that was sent at @asked_ms. */
void lease_lead_heard(struct lease_lead *l, enum lease_word word, unsigned followers, int64_t asked_ms,
                      int64_t now_ms);

enum lease_standing {
    LEASE_HELD,
    LEASE_DOUBTFUL, /* nothing was heard for so long that another may lead by now */
    LEASE_LOST,     /* another does */
};
enum lease_standing lease_lead_standing(const struct lease_lead *l, int64_t now_ms);
/** When to ask for it again: from now, at least 1. */
int64_t lease_lead_renew_in_ms(const struct lease_lead *l, int64_t now_ms);

/** Another @bytes go out as one message. Returns its seq. */
uint64_t lease_lead_say(struct lease_lead *l, size_t bytes);
/** How many of the newest messages Redis must go on keeping, so that it holds no more than twice bytes_max of
 * them; 0: all. Ask once behind each lease_lead_say. */
uint64_t lease_lead_keeps(struct lease_lead *l);

/* -- a follower -- */

enum { LEASE_ELECTIONS_MAX = 4 }; /* that one flight takes part in */

struct lease_follow {
    struct lease_conf conf;
    uint64_t fence; /* of the leader that is followed */
    uint64_t seq;   /* of the last message taken */
    int64_t heard_ms;
    int64_t pause_ms; /* before it looks without being woken */
    unsigned elections;
    bool begun;
};
/** All zero before the first election; @fence is the leader's that is followed from here on. */
void lease_follow_begin(struct lease_follow *f, const struct lease_conf *conf, uint64_t fence,
                        int64_t now_ms);
/** A message says it comes from leader @fence, as number @seq. false: it is not the next one. */
bool lease_follow_take(struct lease_follow *f, uint64_t fence, uint64_t seq);
/** Something has been delivered to a reader, which cannot be taken back. */
void lease_follow_deliver(struct lease_follow *f);

enum lease_step {
    LEASE_ON,    /* go on, in lease_follow_pause_ms at the latest */
    LEASE_ELECT, /* nobody leads: stand for it, or follow who does */
    LEASE_ALONE, /* ask upstream without the others */
    LEASE_CUT,   /* end here, broken */
};
/** It has looked: is the lease still its leader's, as of before the messages were read; how many came; was it
 * woken to look. An end among them is the caller's to see first. */
enum lease_step lease_follow_looked(struct lease_follow *f, bool held, size_t messages, bool woken,
                                    int64_t now_ms);
/** It could not look. @gone: there is no connection, so that waiting is of no use. */
enum lease_step lease_follow_failed(struct lease_follow *f, bool gone, int64_t now_ms);
/** What it read cannot be: damaged, out of turn, or of another flight. */
enum lease_step lease_follow_broken(const struct lease_follow *f);
int64_t lease_follow_pause_ms(const struct lease_follow *f);
