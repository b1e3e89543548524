#include "listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "refrain/base/address.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/log.h"
#include "refrain/base/tls.h"

enum { BACKLOG = 4096 };

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)close(fds[i]);
}

static const char *why_not_bound(int r)
{
    switch (r) {
    case -EADDRINUSE:
        return "something else listens there already";
    case -EADDRNOTAVAIL:
        return "this machine has no such address";
    case -EACCES:
        return "this user may not listen there";
    default:
        return "cannot bind";
    }
}

static int open_one(const struct address *a, bool share, const char **out_why)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, off = 0, r = 0;

    *out_why = "cannot make a socket";
    if (fd < 0)
        return -errno;
    if (a->any.sa_family != AF_UNIX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (share)
            (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
        if (a->any.sa_family == AF_INET6)
            (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, a->both ? &off : &on, sizeof(on));
    }
    if (bind(fd, &a->any, a->len) < 0 || listen(fd, BACKLOG) < 0)
        r = -errno;
    if (r < 0) {
        *out_why = why_not_bound(r);
        (void)close(fd);
        return r;
    }
    return fd;
}

/* With SO_REUSEPORT a second Refrain would quietly take half the connections of the first; so look before. */
static int check_free(const struct address *a, const char **out_why)
{
    int fd = open_one(a, false, out_why);

    if (fd < 0)
        return fd;
    (void)close(fd);
    return 0;
}

/* A socket file that nobody answers is left from a process that was killed. */
static void unlink_stale(const struct address *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;

    if (fd < 0)
        return;
    if (connect(fd, &a->any, a->len) < 0 && errno == ECONNREFUSED && stat(a->unix_.sun_path, &st) == 0 &&
        S_ISSOCK(st.st_mode))
        (void)unlink(a->unix_.sun_path);
    (void)close(fd);
}

static int open_unix(const struct address *a, int *out_fds, size_t n, const char **out_why)
{
    unlink_stale(a);
    out_fds[0] = open_one(a, false, out_why);
    if (out_fds[0] < 0)
        return out_fds[0];
    for (size_t i = 1; i < n; i++) {
        out_fds[i] = dup(out_fds[0]);
        if (out_fds[i] < 0) {
            int r = -errno;

            close_all(out_fds, i);
            return r;
        }
    }
    return 0;
}

static int open_tcp(struct address *a, int *out_fds, size_t n, const char **out_why)
{
    int r = check_free(a, out_why);

    for (size_t i = 0; r == 0 && i < n; i++) {
        out_fds[i] = open_one(a, true, out_why);
        if (out_fds[i] < 0) {
            r = out_fds[i];
            close_all(out_fds, i);
        } else if (i == 0 && getsockname(out_fds[0], &a->any, &a->len) < 0) {
            r = -errno;
            close_all(out_fds, 1);
        }
    }
    return r;
}

/* A machine, or a container, may have been given none. */
static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    (void)close(fd);
    return true;
}

int listener_open(const char *address, int *out_fds, size_t n, struct buf *out_where, const char **out_why)
{
    char anywhere[32];
    struct address a;
    int r;

    *out_why = "not an address";
    r = address_parse(slice_str(address), &a);
    if (r < 0)
        return r;
    if (a.both && !has_ipv6())
        (void)address_parse(
            slice_make(anywhere, (size_t)snprintf(anywhere, sizeof(anywhere), "0.0.0.0%s", address)), &a);
    r = a.any.sa_family == AF_UNIX ? open_unix(&a, out_fds, n, out_why) : open_tcp(&a, out_fds, n, out_why);
    if (r < 0)
        return r;
    return address_format(&a, out_where);
}

void listener_remove(const char *address)
{
    struct address a;

    if (address_parse(slice_str(address), &a) == 0 && a.any.sa_family == AF_UNIX)
        (void)unlink(a.unix_.sun_path); /* best effort: the next one takes over what is left behind */
}

int listener_secure(const struct tls_conf *conf, const char *name, struct tls **out)
{
    int64_t now_s = clock_wall_ms() / 1000;
    struct tls_fault fault = {.why = "out of memory"};
    struct tls_found found;
    int r;

    if (!conf->cert_file) {
        *out = NULL;
        return 0;
    }
    r = tls_load(conf, now_s, out, &found, &fault);
    if (r < 0)
        log_event(LOG_ERROR, "tls", LOG_STR("listener", name), LOG_STR("what", fault.why));
    else
        log_event(LOG_INFO, "tls", LOG_STR("listener", name), LOG_STR("certificate", conf->cert_file),
                  LOG_INT("expires_in_days", (found.expires_s - now_s) / (24 * 60 * 60)));
    return r;
}
