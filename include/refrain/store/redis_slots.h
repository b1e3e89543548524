/*
 * redis_slots - which node of a cluster has a key: slots of names, the map that CLUSTER SLOTS tells, and the
 * redirections by which a node says that another one has it. Bytes in, values out, no I/O. Follows the Redis
 * Cluster specification, in the form that Redis 6 and later and Valkey all speak (CLUSTER SHARDS came with
 * 7).
 *
 * What is read may come from a server that is confused, or not one at all: a map is taken whole or not at
 * all, and only addresses that look like some are.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"

struct redis_reply; /* store/redis.h */
struct redis_conf;

enum {
    REDIS_SLOTS = 16384,
    REDIS_MASTERS_MAX = 512, /* of one cluster; Redis itself advises against more than 1000 nodes */
    REDIS_HOST_MAX = 255,
    REDIS_NOBODY = UINT16_MAX, /* who serves a slot that nobody does */
};

/** The slot of a name: CRC16 (XMODEM) of what stands between its first `{` and the next `}`, unless that is
 * nothing; of all of it otherwise. */
uint16_t redis_slot_of(struct slice key);

struct redis_endpoint {
    char host[REDIS_HOST_MAX + 1];
    uint16_t port;
};
/** The one that is configured; a unix socket's is that of no node: port 0. */
void redis_endpoint_of(const struct redis_conf *conf, struct redis_endpoint *out);
bool redis_endpoint_eq(const struct redis_endpoint *a, const struct redis_endpoint *b);

struct redis_map {
    struct redis_endpoint masters[REDIS_MASTERS_MAX];
    uint16_t masters_n;
    uint16_t owner[REDIS_SLOTS]; /* index of masters, or REDIS_NOBODY */
    uint16_t served_n;           /* slots that have an owner */
};
/**
 * Reads the answer to CLUSTER SLOTS into @out. @asked: whom it was asked of; a node that does not know by
 * what address it is reached is reached by that one, at its own port. Errors: -EPROTO not such an answer:
 * another shape, slots out of range or told twice, an address that is none; -E2BIG more than
 * REDIS_MASTERS_MAX masters; -ENODATA no slot has anybody. @out is then of no use.
 */
int redis_map_read(struct redis_map *out, const struct redis_reply *reply,
                   const struct redis_endpoint *asked);

enum redis_redirect_kind {
    REDIS_STAYS, /* no redirection, or none that makes sense */
    REDIS_MOVED, /* from now on, that node has the slot */
    REDIS_ASK,   /* this once: the slot is on its way there */
};
struct redis_redirect {
    uint16_t slot;
    struct redis_endpoint to;
};
/** Reads an error's text: "MOVED 3999 127.0.0.1:6381". @out is written unless REDIS_STAYS. @asked: as above.
 */
enum redis_redirect_kind redis_redirect_read(struct redis_redirect *out, struct slice error,
                                             const struct redis_endpoint *asked);
