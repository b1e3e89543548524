/*
 * redis_greeting - what a connection says first: who it is, its name, its database, and a PING. All in one
 * go: it costs one round trip. And what the answers mean for whether it may go on.
 */
#pragma once
#include "redis_priv.h"
#include "refrain/base/buf.h"

enum redis_greeting_step { GREET_AUTH, GREET_NAME, GREET_SELECT, GREET_PING, GREETINGS };

struct redis_greeting {
    struct buf bytes; /* a password among them */
    size_t written;
    enum redis_greeting_step steps[GREETINGS];
    size_t steps_n, answered_n;
};

void redis_greeting_init(struct redis_greeting *g);
/** Leaves nothing of it in memory. */
void redis_greeting_done(struct redis_greeting *g);
/** Begins anew. Errors: -ENOMEM, -EMSGSIZE. */
int redis_greeting_make(struct redis_greeting *g, const struct redis_conf *conf);
/** What is still to be written. */
struct iovec redis_greeting_unsent(const struct redis_greeting *g);
/** The next answer; NULL: one that was too large. REDIS_FINE: on; REDIS_CONFUSED: no answer to what was
 * asked; else why the server does not let us in, with its reason in @r. */
enum redis_cause redis_greeting_judge(struct redis_greeting *g, const struct redis_reply *r);
bool redis_greeting_is_over(const struct redis_greeting *g);
