/*
 * progress - how far long work is, on standard error: a line that is written anew on a terminal, else a line
 * every few seconds; nothing at all for work that is soon done.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what;     /* "entries listed" */
    uint64_t total, done; /* total 0: not known, so there is no bar and no time left */
    int64_t begun_ms, told_ms;
    bool live, shown;
    bool uncounted; /* nobody tells how much is done: how long it takes so far is all there is to say */
};

void progress_begin(struct progress *p, const char *what, uint64_t total);
/** Of work that tells nothing until it is done: the same for how long it takes so far. */
void progress_begin_uncounted(struct progress *p, const char *what);
/** So much is done; of uncounted work 0. */
void progress_at(struct progress *p, uint64_t done);
/** Takes the line away, for something else to be printed. */
void progress_pause(struct progress *p);
/** Takes the line away for good. */
void progress_end(struct progress *p);
