/*
 * instances_priv - what the files of `instances` share. All of it belongs to the instances' thread, but for
 * what says otherwise.
 *
 * Keys, all of one slot:
 *   PREFIX:{events}:log        invalidations, numbered
 *   PREFIX:{events}:notes      changed targets and refused credentials, numbered: so many that they would
 * push invalidations out PREFIX:{events}:instances  who is there: a hash, id to "LAST-HEARD {…}" Channels:
 * PREFIX:events wakes, PREFIX:events:ID brings answers to one instance.
 *
 * An entry of a log has the fields g (which numbering: drawn anew where there was no log), n (the next
 * number) and m (the message). So a reader who knows g and n of the last one it has read sees what it has
 * missed, whatever became of the log: trimmed, expired, flushed, rolled back by a failover.
 */
#pragma once
#include <pthread.h>

#include "instances_msg.h"
#include "keyset.h"
#include "refrain/base/metrics.h"
#include "refrain/store/instances.h"
#include "refrain/store/store_disk.h"

enum {
    BEAT_MS = 1000,
    BEAT_LATE_MS = 3500,      /* without an answer for so long, it is cut off */
    OTHER_LATELY_MS = 5000,   /* who was heard of within this is waited for */
    OTHER_FORGET_MS = 600000, /* who was not within this, nor has said goodbye, is forgotten */
    CALL_MS = 1000,
    KEYS_TTL_MS = 7 * 24 * 3600 * 1000, /* behind the last instance's last beat */
    LOG_ENTRIES_MAX = 10000,
    SKEW_LOOKS = 4, /* in a row: one alone may be a message that Redis was late to take */
    SKEW_MS = 500,  /* more than this apart is told */

    POSITION_BYTES = 128,
    STREAM_ID_BYTES = 40,
    NUMBERING_BYTES = 16,
    KEY_BYTES = 256,
};

enum { LOG_MAIN, LOG_NOTES, LOGS };

/* Where one is in a log. */
struct position {
    char numbering[NUMBERING_BYTES + 1]; /* "": there was no log */
    uint64_t n;
    char id[STREAM_ID_BYTES + 1]; /* "0-0": there was none */
};

struct instances_log {
    struct instances *in;
    const char *name;
    char key[KEY_BYTES];
    struct selector lost; /* what goes where something was missed */
    unsigned waiting_max; /* messages */
    /* reading */
    struct position at;
    bool known;     /* @at is */
    bool lost_some; /* something was missed: @lost goes once the new place is known */
    bool joins;     /* the same, if there is a log at all: it has never been read here */
    bool caught_up; /* read to the end since the link came up */
    bool past_read; /* so were the entries from before this instance's time, as far as there are any */
    char past[STREAM_ID_BYTES + 1]; /* where that has got to */
    bool reading, again;
    unsigned behind; /* messages read since it was last at the end */
    struct redis_call read;
    struct slice read_argv[6];
    char from[STREAM_ID_BYTES + 1];
    /* telling */
    struct list waiting; /* struct outgoing */
    unsigned waiting_n, sent_n;
    struct redis_call append;
    struct slice append_argv[64];
    char numbering[NUMBERING_BYTES + 1];
    bool appending;
    /* beside the disk */
    unsigned unfinished; /* being applied */
    bool moved;          /* @at is not what is kept */
    struct store_disk_meta meta;
    char meta_name[32], meta_value[POSITION_BYTES];
    unsigned beats;
    bool meta_busy, meta_tried;
    bool meta_known; /* where this instance had got to, or that it never was anywhere */
};

struct instances {
    struct instances_gate gate; /* first; any thread */
    struct instances_conf conf;
    char prefix[KEY_BYTES / 2], name[INSTANCE_NAME_BYTES + 1];
    char id[EVENT_SOURCE_BYTES + 1];
    int64_t since_ms;
    /* any thread */
    pthread_mutex_t lock; /* a leaf: notes, stats, settled */
    pthread_cond_t changed;
    bool settled;
    struct instances_stats stats;
    struct list notes; /* struct outgoing, handed over by other threads */
    unsigned notes_n;
    bool notes_posted, notes_lost;
    struct loop_msg notes_msg, begin_msg, stop_msg;
    pthread_t thread;
    bool started;
    /* the thread's */
    struct loop *loop;
    struct redis *redis;
    struct redis_sub *sub;
    struct tier_port *disk;
    char wake_channel[KEY_BYTES], answer_channel[KEY_BYTES];
    struct instances_log logs[LOGS];
    struct loop_timer *beat_timer, *due_timer, *flush_timer;
    struct redis_call beat;
    struct slice beat_argv[12];
    char beat_key[KEY_BYTES], beat_text[512], beat_forget[24], beat_ttl[24];
    bool beating, stopping, foreign_told, refused_told;
    bool unkept;     /* the ledger does not say what waits to be told */
    bool keeping;    /* it says something */
    int64_t beat_ms; /* loop time of the last answer; 0: none yet */
    int64_t flush_until_ms;
    struct instance_seen seen[INSTANCES_OTHERS_MAX + 1];
    size_t seen_n;
    int64_t seen_at_ms;      /* loop time of when that was true */
    int64_t seen_at_mono_ms; /* the same, by the clock of all threads */
    struct list asked;       /* struct instances_invalidation, waiting for answers */
    uint64_t asks;
    enum instances_link link;
    int64_t link_since_ms;
    const char *why;
    uint64_t told, heard, foreign, cuts, gaps;
};

/* A message to be told. */
struct outgoing {
    struct list link;
    struct instances_invalidation *asker; /* NULL: nobody waits */
    uint64_t target;                      /* of a note that tells of one; 0: another */
    size_t len;
    char text[];
};

/* -- instances.c -- */

/** Looks at whether it is linked, and tells who asks. */
void instances_look(struct instances *in);
void instances_notice(struct instances *in, const struct instances_notice *n);
/** Something came that is not of ours, or not as it should be. */
void instances_foreign(struct instances *in);
/** Redis has answered, and will not: an error. Told once, until something goes again. */
void instances_refused(struct instances *in, const struct redis_reply *reply);
bool instances_is_ready(const struct instances *in);
/** Another instance counts up to @seq: what begins here afterwards is later, though this clock be behind. A
 * number from far in the future is none. */
static inline bool instances_pass(const struct instances *in, int64_t seq)
{
    if (seq >= in->conf.seq(in->conf.arg) + FENCES_AHEAD_MAX_US)
        return false;
    if (in->conf.pass)
        in->conf.pass(in->conf.arg, seq);
    return true;
}
/** Now, as fences count. */
static inline int64_t instances_seq(const struct instances *in)
{
    return in->conf.seq(in->conf.arg);
}
int instances_key(char out[KEY_BYTES], const char *prefix, const char *name);

/* -- instances_log.c -- */

void instances_log_init(struct instances_log *log, struct instances *in, const char *name);
/** Nothing is on its way any more. */
void instances_log_done(struct instances_log *log);
/** Reads on, if it can be. */
void instances_log_read(struct instances_log *log);
/** Tells what waits, if it can be. */
void instances_log_tell(struct instances_log *log);
/** Takes @o over, which may be NULL (no memory): then, as when too many wait, all is told to be gone. */
void instances_log_add(struct instances_log *log, struct outgoing *o);
/** Keeps the place beside the disk, or finds out what is kept. */
void instances_log_keep(struct instances_log *log);
/** NULL when out of memory, or too long. */
struct outgoing *instances_outgoing(const struct instances_msg *m);

/* -- instances_ask.c -- */

/** On the instances' thread: @x is to be told to others. */
void instances_ask_begin(struct instances *in, struct instances_invalidation *x);
/** It stands in the log. */
void instances_ask_told(struct instances_invalidation *x);
/** The text of an answer has come. */
void instances_ask_heard(struct instances *in, struct slice text);
void instances_ask_overdue(struct instances *in, bool all);

/* -- instances_keep.c -- */

/** What waits to be told stands in the ledger when it returns. */
void instances_keep(struct instances *in);
/** What a former process could not tell waits to be told. At the start. */
void instances_keep_begin(struct instances *in);

/* -- instances_apply.c -- */

/** Does what another instance has told in @log, as entry of @text. @late: it is being caught up on. false: it
 * could not be read. */
bool instances_apply(struct instances_log *log, struct slice text, bool late);
/** Notes what was told before this instance's time, as an entry of @text: what lies in Redis
 * may be meant. @begins_late: there was more before it, which is not there any more. */
void instances_apply_past(const struct instances_log *log, struct slice text, bool begins_late);
/** Drops what may have been invalidated without our having heard of it. */
void instances_apply_lost(struct instances_log *log);
/** Publishes a CACHE_INVALIDATED of what was done here. */
void instances_event(struct events *e, const struct invalidation *inv, const struct instances_invalidation *x,
                     struct slice source, int64_t at_ms, struct slice correlation, const char *reason);
