/*
 * redis_url - where a Redis server is, as operators write it:
 *
 *   redis://[user[:password]@]host[:port][/db]     rediss://… the same over TLS
 *   unix:///path[?db=N]     unix://[user[:password]@]/path     unix:/path
 *
 * `valkey` and `valkeys` stand for the first two. User and password are percent-encoded where they hold signs
 * that have a meaning here. Pure. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"

struct redis_url {
    bool tls;
    char host[256]; /* without the brackets of an IPv6 address; "" with a path */
    uint16_t port;  /* 0: not said */
    char path[108]; /* of a unix socket; "": none */
    bool has_username, has_password, has_db;
    char username[256], password[512];
    unsigned db;
};

/** Errors: -EINVAL with *@out_what, static text that says what of it is wrong without showing any of it; @out
 * is untouched then. */
int redis_url_parse(struct slice text, struct redis_url *out, const char **out_what);
