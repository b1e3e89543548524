#include "refrain/base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

static int parse_unix(struct slice path, struct address *out)
{
    struct address a = {.unix_ = {.sun_family = AF_UNIX}, .len = sizeof(struct sockaddr_un)};

    if (path.len == 0 || path.data[0] != '/' || path.len >= sizeof(a.unix_.sun_path) ||
        memchr(path.data, '\0', path.len))
        return -EINVAL;
    memcpy(a.unix_.sun_path, path.data, path.len);
    *out = a;
    return 0;
}

static int parse_port(struct slice text, in_port_t *out)
{
    unsigned port = 0;

    if (text.len == 0 || text.len > 5)
        return -EINVAL;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -EINVAL;
        port = port * 10 + (unsigned)(text.data[i] - '0');
    }
    if (port > 65535)
        return -EINVAL;
    *out = htons((in_port_t)port);
    return 0;
}

static int parse_ipv4(const char *host, in_port_t port, struct address *out)
{
    struct address a = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (struct sockaddr_in *)&a.storage;

    in->sin_family = AF_INET;
    in->sin_port = port;
    if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
        return -EINVAL;
    *out = a;
    return 0;
}

static int parse_ipv6(const char *host, in_port_t port, struct address *out)
{
    struct address a = {.len = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a.storage;

    in->sin6_family = AF_INET6;
    in->sin6_port = port;
    if (inet_pton(AF_INET6, host, &in->sin6_addr) != 1)
        return -EINVAL;
    *out = a;
    return 0;
}

int address_parse(struct slice text, struct address *out)
{
    const char *colon = text.data && text.len > 0 ? memrchr(text.data, ':', text.len) : NULL;
    char host[INET6_ADDRSTRLEN + 2];
    struct slice name;
    in_port_t port;

    if (slice_starts(text, SLICE_OF("unix:")))
        return parse_unix(slice_skip(text, 5), out);
    if (!colon || parse_port(slice_skip(text, (size_t)(colon - text.data) + 1), &port) < 0)
        return -EINVAL;
    name = slice_make(text.data, (size_t)(colon - text.data));
    if (name.len == 0) {
        (void)parse_ipv6("::", port, out);
        out->both = true;
        return 0;
    }
    if (slice_eq(name, SLICE_OF("localhost")))
        return parse_ipv4("127.0.0.1", port, out);
    if (name.len >= sizeof(host))
        return -EINVAL;
    memcpy(host, name.data, name.len);
    host[name.len] = '\0';
    if (host[0] != '[')
        return parse_ipv4(host, port, out);
    if (host[name.len - 1] != ']')
        return -EINVAL;
    host[name.len - 1] = '\0';
    return parse_ipv6(host + 1, port, out);
}

bool address_is_local(const struct address *a)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->storage;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->storage;

    switch (a->any.sa_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    default:
        return false;
    }
}

int address_format(const struct address *a, struct buf *out)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->storage;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->storage;
    char host[INET6_ADDRSTRLEN];

    switch (a->any.sa_family) {
    case AF_UNIX:
        return buf_addf(out, "unix:%s", a->unix_.sun_path);
    case AF_INET:
        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        return buf_addf(out, "%s:%u", host, ntohs(in->sin_port));
    case AF_INET6:
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        return buf_addf(out, "[%s]:%u", host, ntohs(in6->sin6_port));
    default:
        return buf_addf(out, "family %d", a->any.sa_family);
    }
}
