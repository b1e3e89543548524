/*
 * store_redis - the Redis tier: records as values of keys that operators can read, shared by all instances
 * that use the same prefix; one server or a cluster (redis.h). SPEC section 8, docs/redis.md.
 *
 *   get     GET            put     SET … PX, not over a record that began later (compare and set, in a
 * script) remove  UNLINK, or compare and UNLINK in a script        walks   SCAN … MATCH PREFIX:*, GETRANGE,
 * UNLINK
 *
 * Every command names one key, or none, so a cluster takes them all. Expiry is Redis's own. Never KEYS, never
 * FLUSHDB: the database may be others', too.
 */
#pragma once
#include <stdint.h>

#include "refrain/store/record.h"
#include "refrain/store/redis.h"
#include "refrain/store/tier.h"

enum store_redis_notice_kind {
    STORE_REDIS_STATE,   /* some connection is up, or none is any more, or none is for another cause */
    STORE_REDIS_REFUSAL, /* connected, but a command is refused: rights, memory, read-only … */
};
/* What an operator should hear of: once for each change, not for each question. */
struct store_redis_notice {
    enum store_redis_notice_kind kind;
    bool up;
    enum redis_cause cause; /* with redis_cause_text and redis_cause_advice */
    const char *detail;     /* in the server's or the system's words; during the call */
};

struct store_redis_conf {
    struct redis_conf redis;   /* its on_state is not used */
    const char *prefix;        /* of every key */
    struct record_codec codec; /* to read labels from records: its keys outlive the tier */
    int64_t
        write_timeout_ms; /* of a put or remove that names no deadline; 0: 1000. Of a get: redis.timeout_ms */
    /* Called on the thread of some port, which holds nothing meanwhile; may be NULL. */
    void (*on_notice)(void *arg, const struct store_redis_notice *n);
    void *arg;
};

/** The tier; each port of it has a connection of its own. @conf is copied. NULL when out of memory. */
struct tier *store_redis_new(const struct store_redis_conf *conf);
