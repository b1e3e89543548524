/*
 * address - where a listener listens, as operators write it: 127.0.0.1:8080, [::1]:8080, :8080 (every
 * address), localhost:8080, unix:/run/refrain.sock. Numbers only: nothing is resolved, so nothing can wait.
 */
#pragma once
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
        struct sockaddr_un unix_;
    };
    socklen_t len;
    bool both; /* an IPv6 one that IPv4 callers may come to, too */
};

/** Errors: -EINVAL when @text is none of the above, or a unix path is too long; @out untouched. Threads: any.
 */
int address_parse(struct slice text, struct address *out);

/** Only this machine can reach it: 127.0.0.0/8, ::1, a unix socket. */
bool address_is_local(const struct address *a);

/** Appends the form that address_parse takes. Errors: as buf_reserve. */
int address_format(const struct address *a, struct buf *out);
