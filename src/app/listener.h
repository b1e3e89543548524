/*
 * listener - opens listening sockets where the configuration says.
 */
#pragma once
#include <stddef.h>

#include "refrain/base/buf.h"

struct tls;
struct tls_conf; /* base/tls.h */

/**
 * Opens @n non-blocking listening sockets on one address, written as address_parse takes it: TCP ones share
 * the port by SO_REUSEPORT, one a worker; a unix socket is one, handed out @n times. Port 0 is chosen by the
 * system, once for all.
 * @out_where gets the address in the end. Errors: negative errno, with *@out_why saying what failed; nothing
 * stays open.
 */
int listener_open(const char *address, int *out_fds, size_t n, struct buf *out_where, const char **out_why);

/** Takes a unix socket that was opened here out of the file system; nothing for other addresses. To be called
 * while it still listens: afterwards another process may have made its own there. */
void listener_remove(const char *address);

/**
 * What @conf, the TLS options of the listener @name, says of new connections; *@out is yours, NULL where it
 * says none. Tells the log what was read, or what is wrong: then -EINVAL or -ENOMEM, and @out is untouched.
 */
int listener_secure(const struct tls_conf *conf, const char *name, struct tls **out);
