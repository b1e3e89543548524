/*
 * redis_scripted - a server of the Redis protocol that says what the test has told it to, on a port of
 * 127.0.0.1 and on the test's own loop. What it has no script for: PING is answered PONG, CLUSTER SLOTS that
 * it is no cluster, GET nothing, all else OK.
 */
#pragma once
#include <stdint.h>

#include "refrain/base/loop.h"

struct scripted_node;

/** Takes connections, which are answered once it is attached. */
struct scripted_node *scripted_node_new(void);
void scripted_node_attach(struct scripted_node *s, struct loop *l);
void scripted_node_free(struct scripted_node *s);
uint16_t scripted_node_port(const struct scripted_node *s);

/** Commands that begin with @command are answered with these bytes @times times, 0: always. What is said
 * first goes first; "" closes the connection. */
void scripted_node_say(struct scripted_node *s, const char *command, unsigned times, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/** Nothing that was said before holds any more. */
void scripted_node_forget(struct scripted_node *s);
/** How many commands beginning with @command it was asked. */
unsigned scripted_node_asked(const struct scripted_node *s, const char *command);
/** Ends every connection, and takes no more. */
void scripted_node_stop(struct scripted_node *s);
/** Ends every connection. */
void scripted_node_hang_up(struct scripted_node *s);
