/*
 * redis_asking - asks Redis in tests: a loop in the test's own thread, run until something is so. What never
 * becomes so fails the test that waits for it.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/loop.h"
#include "refrain/store/redis.h"

enum { ASKING_WORDS_MAX = 16, ASKING_TEXT_MAX = 256 };

/* One call and what came back. */
struct asked {
    struct redis_call call;
    struct slice argv[ASKING_WORDS_MAX];
    char line[ASKING_TEXT_MAX];
    struct asking *asking;
    unsigned times; /* it came back */
    enum redis_why why;
    char text[ASKING_TEXT_MAX]; /* of the reply; arrays as [a b], nil as (nil), integers as digits */
    size_t text_len;            /* of a TEXT, however long */
    bool was_error;
    struct blob *taken; /* where wants_blob */
    bool wants_blob;
};

struct asking {
    struct loop *loop;
    struct redis *redis;
    bool up;
    unsigned ups, downs; /* told by on_state */
    enum redis_cause cause;
    char detail[ASKING_TEXT_MAX];
    bool (*until)(void *arg);
    void *until_arg;
    struct loop_timer *tick;
    int64_t give_up_ms;
};

/** @conf: on_state is filled in. */
void asking_init(struct asking *a, struct redis_conf conf);
void asking_done(struct asking *a);
/** Runs the loop until @until says so; fails the test after 20 s. */
void asking_run(struct asking *a, bool (*until)(void *arg), void *arg);
void asking_run_until_up(struct asking *a);
/** Until it has been told that it is not up, @downs times in all. */
void asking_run_until_down(struct asking *a, unsigned downs);

/** Asks words separated by spaces. */
void asked_start(struct asked *q, struct asking *a, const char *line);
/** The same of the node that redis_each_node has told by this number. */
void asked_start_at(struct asked *q, struct asking *a, uint32_t node, const char *line);
/** Waits for it, and returns the text of the reply, or of why there is none. */
const char *asked_wait(struct asked *q);
/** Both, for one that is not needed any longer. The text lives until the next such call. */
const char *ask(struct asking *a, const char *line);
