/*
 * breaker - is this upstream well? Two state machines, SPEC section 9; both go
 *
 *     closed ──► open ──(its time over)──► half-open ──the probe does well──► closed
 *                  ▲                           │
 *                  └────the probe does not─────┘
 *
 * The validation breaker weighs finished answers: while it is open nothing of the upstream is stored. Its
 * probe is the first answer judged once its time is over: asking and telling are one step, so a probe cannot
 * get lost, and whether anything is written plays no part in its recovery.
 *
 * The availability breaker weighs calls: while it is open the caller may serve what is stale, or refuse. Its
 * probe is one call, which either tells how it went or gives the probe back.
 *
 * Half-open is no stored state but what "open" is called once its time is over: reading never changes
 * anything. Pure: no clock (@now_ms is monotonic), no locks, no allocation.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN }; /* the numbers of /metrics */

/* What a verdict or a call brought about. */
enum breaker_change {
    BREAKER_SAME,
    BREAKER_OPENED,    /* from closed */
    BREAKER_REOPENED,  /* the probe did not do well */
    BREAKER_RECOVERED, /* the probe did well */
};

enum { BREAKER_LEVEL_MAX = 10 };

/* What both have in common. All zero: closed since the clock began. */
struct breaker_latch {
    bool open, held;  /* held: open until an operator says otherwise */
    int64_t since_ms; /* the last change of @open */
    int64_t until_ms; /* half-open from here on */
};

/** The state at @now_ms. @out_since_ms (may be NULL): since when. Changes nothing. */
enum breaker_state breaker_state_at(const struct breaker_latch *l, int64_t now_ms, int64_t *out_since_ms);

/* -- validation -- */

struct breaker_validation_conf {
    unsigned failures;   /* net: a good answer takes one off */
    int64_t open_for_ms; /* times the level */
};
struct breaker_validation {
    struct breaker_latch latch;
    unsigned net;   /* broken answers less good ones, never below 0 */
    unsigned level; /* 0 before it first opens; grows with each probe that fails, up to BREAKER_LEVEL_MAX */
};

/** An answer was judged broken, or good. Counts while closed, decides while half-open, is ignored while
 * open. */
enum breaker_change breaker_validation_judge(struct breaker_validation *v,
                                             const struct breaker_validation_conf *conf, bool broken,
                                             int64_t now_ms);

/* -- availability -- */

enum { BREAKER_SLICES = 10 }; /* a window slides in tenths */

struct breaker_availability_conf {
    unsigned ratio_permille; /* of failed calls, at least */
    unsigned samples;        /* fewer tell nothing */
    int64_t window_ms;
    int64_t open_for_ms;
    bool fail_fast; /* for whoever asks; the machine itself does not look at it */
};
struct breaker_slice {
    unsigned calls, failed;
};
struct breaker_availability {
    struct breaker_latch latch;
    struct breaker_slice slices[BREAKER_SLICES];
    int64_t newest;      /* number of the newest slice: time divided by a slice's length */
    unsigned epoch;      /* counts openings and closings, so that a probe of an earlier one is known */
    bool probing;        /* a probe is under way, … */
    int64_t probe_at_ms; /* … since then */
};

/* How a call may go on. */
enum breaker_way {
    BREAKER_FREE,  /* closed */
    BREAKER_PROBE, /* it is the probe */
    BREAKER_SHUT,  /* open, or half-open and the probe is another call */
};

/** What breaker_availability_admit would say. Changes nothing. */
enum breaker_way breaker_availability_look(const struct breaker_availability *a,
                                           const struct breaker_availability_conf *conf, int64_t now_ms);
/**
 * A call is about to begin. On BREAKER_PROBE it is the probe, and must end in breaker_availability_probed or
 * breaker_availability_give_back with the @out_epoch given here. A probe without an answer for a minute (or
 * open_for, if longer) gets company, so that one slow answer does not keep an upstream that is well again
 * shut.
 */
enum breaker_way breaker_availability_admit(struct breaker_availability *a,
                                            const struct breaker_availability_conf *conf, int64_t now_ms,
                                            unsigned *out_epoch);
/** The probe of @epoch has an answer. */
enum breaker_change breaker_availability_probed(struct breaker_availability *a,
                                                const struct breaker_availability_conf *conf, unsigned epoch,
                                                bool failed, int64_t now_ms);
/** The probe of @epoch ended without telling anything: its client left. Another may be sent. */
void breaker_availability_give_back(struct breaker_availability *a, unsigned epoch);
/** A call that was no probe has ended. Counts while closed. */
enum breaker_change breaker_availability_sample(struct breaker_availability *a,
                                                const struct breaker_availability_conf *conf, bool failed,
                                                int64_t now_ms);
/** Calls in the window and how many of them failed. Changes nothing. */
struct breaker_slice breaker_availability_window(const struct breaker_availability *a,
                                                 const struct breaker_availability_conf *conf,
                                                 int64_t now_ms);
/** Milliseconds until a probe may be sent, at least 1 while it is shut; 0 when nothing is in the way. */
int64_t breaker_availability_wait_ms(const struct breaker_availability *a,
                                     const struct breaker_availability_conf *conf, int64_t now_ms);
/** True when it holds nothing worth keeping: closed, and no call in its window. */
bool breaker_availability_is_idle(const struct breaker_availability *a,
                                  const struct breaker_availability_conf *conf, int64_t now_ms);

/* -- by hand -- */

enum breaker_command {
    BREAKER_FORCE_OPEN,  /* open until another command */
    BREAKER_FORCE_CLOSE, /* closed, with nothing counted; opens again as it would have (a level stays) */
    BREAKER_RESET,       /* as new */
};

void breaker_validation_command(struct breaker_validation *v, enum breaker_command command, int64_t now_ms);
void breaker_availability_command(struct breaker_availability *a, enum breaker_command command,
                                  int64_t now_ms);
