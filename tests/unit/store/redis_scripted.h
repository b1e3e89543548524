/*
 * redis_scripted - a server of the Redis protocol that says what the test has told it to, on a port of
 * 127.0.0.1 and on the test's own loop. What it has no script for: PING is answered PONG, CLUSTER SLOTS that
 * it is no cluster, GET nothing, all else OK.
 */
#pragma once
#include <stdint.h>

#include "refrain/base/loop.h"

struct scripted;

/** Takes connections, which are answered once it is attached. */
struct scripted *scripted_new(void);
void scripted_attach(struct scripted *s, struct loop *l);
void scripted_free(struct scripted *s);
uint16_t scripted_port(const struct scripted *s);

/** Commands that begin with @command are answered with these bytes @times times, 0: always. What is said
 * first goes first; "" closes the connection. */
void scripted_say(struct scripted *s, const char *command, unsigned times, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/** Nothing that was said before holds any more. */
void scripted_forget(struct scripted *s);
/** How many commands beginning with @command it was asked. */
unsigned scripted_asked(const struct scripted *s, const char *command);
/** Ends every connection, and takes no more. */
void scripted_stop(struct scripted *s);
/** Ends every connection. */
void scripted_hang_up(struct scripted *s);
