/*
 * limits - what all workers together may hold: connections, connections of one address, buffered bytes.
 * Threads: every function, from any thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct limits_conf {
    unsigned connections_max;
    unsigned connections_per_address_max; /* 0: no bound; addresses of unix sockets are not counted */
    size_t buffered_bytes_max;            /* request bodies, flights, events to be judged together */
};

struct limits;
struct limits *limits_new(const struct limits_conf *conf);
void limits_free(struct limits *l);

enum limits_verdict { LIMITS_OK, LIMITS_FULL, LIMITS_ADDRESS_FULL };
/** Counts a new connection from @addr, unless that is one too many. Pair with limits_leave. */
enum limits_verdict limits_enter(struct limits *l, const struct sockaddr *addr);
void limits_leave(struct limits *l, const struct sockaddr *addr);

/** Takes @n bytes of the buffer allowance. false: it is spent, and nothing was taken. Pair with
 * limits_give_back. */
bool limits_take_bytes(struct limits *l, size_t n);
/** The same for what can be done without: it leaves half of the allowance to what cannot. */
bool limits_take_spare_bytes(struct limits *l, size_t n);
void limits_give_back(struct limits *l, size_t n);

unsigned limits_connections(const struct limits *l);
/** How often limits_enter said LIMITS_OK, and how often not. */
uint64_t limits_accepted(const struct limits *l);
uint64_t limits_refused(const struct limits *l);
size_t limits_buffered_bytes(const struct limits *l);
