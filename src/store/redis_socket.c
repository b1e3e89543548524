#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/un.h>

#include "redis_priv.h"

int redis_socket_address_unix(const char *path, struct redis_address *out)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(un.sun_path))
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, strlen(path));
    *out = (struct redis_address){.len = sizeof(un)};
    memcpy(&out->storage, &un, sizeof(un));
    return 0;
}

/* What cannot be set makes it slower to notice a dead peer, no more. */
static void set_options(int fd, int family)
{
    const int on = 1, idle_s = 15, interval_s = 5, probes = 3;

    if (family == AF_UNIX)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

int redis_socket_connect(const struct redis_address *a, int *out_fd)
{
    int family = a->storage.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    *out_fd = fd;
    set_options(fd, family);
    return connect(fd, (const struct sockaddr *)&a->storage, a->len) < 0 ? -errno : 0;
}

int redis_socket_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    return -error;
}
