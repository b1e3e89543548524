#include "refrain/store/redis_url.h"

#include <errno.h>

#include "refrain/base/attr.h"
#include "refrain/base/hex.h"

enum { DB_MAX = 1 << 20 };

static const struct {
    struct slice scheme;
    bool tls, is_unix;
} schemes[] = {
    {SLICE("redis://"), false, false},  {SLICE("rediss://"), true, false}, {SLICE("valkey://"), false, false},
    {SLICE("valkeys://"), true, false}, {SLICE("unix://"), false, true},   {SLICE("unix:"), false, true},
};

/* NUL-terminated; neither longer than @cap nor with a NUL inside. */
static bool decode(struct slice from, char *to, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < from.len; i++) {
        char c = from.data[i];

        if (c == '%') {
            int byte = i + 2 < from.len ? hex_byte(from.data + i + 1) : -1;

            if (byte < 0)
                return false;
            c = (char)byte;
            i += 2;
        }
        if (c == '\0' || n + 1 >= cap)
            return false;
        to[n++] = c;
    }
    to[n] = '\0';
    return true;
}

static bool parse_number(struct slice text, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;

    if (text.len == 0 || text.len > 9)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (unsigned)(text.data[i] - '0');
    }
    *out = n;
    return n <= max;
}

static const char *parse_user(struct slice user, struct redis_url *u)
{
    struct slice name = slice_cut(&user, ':');

    u->has_username = name.len > 0;
    u->has_password = user.data != NULL;
    if (!decode(name, u->username, sizeof(u->username)))
        return "the user in it is too long, or has a % that is not followed by two hexadecimal digits";
    if (!decode(user, u->password, sizeof(u->password)))
        return "the password in it is too long, or has a % that is not followed by two hexadecimal digits";
    return NULL;
}

/* Up to the last @: none can stand behind it. */
static const char *take_user(struct slice *rest, struct redis_url *u)
{
    const char *at = rest->len > 0 ? memrchr(rest->data, '@', rest->len) : NULL;
    struct slice user = *rest;

    if (!at)
        return NULL;
    user.len = (size_t)(at - rest->data);
    *rest = slice_skip(*rest, user.len + 1);
    return parse_user(user, u);
}

static const char *parse_db(struct slice text, struct redis_url *u)
{
    uint64_t db;

    if (!parse_number(text, DB_MAX, &db))
        return "the database in it is no number";
    u->db = (unsigned)db;
    u->has_db = true;
    return NULL;
}

static const char *parse_port(struct slice text, struct redis_url *u)
{
    uint64_t port;

    if (!parse_number(text, 65535, &port) || port == 0)
        return "the port in it is no number from 1 to 65535";
    u->port = (uint16_t)port;
    return NULL;
}

static bool is_host_char(char c, bool bracketed)
{
    if (bracketed)
        return hex_digit(c) >= 0 || c == ':' || c == '.';
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '.' ||
           c == '_';
}

static const char *take_host(struct slice *rest, struct redis_url *u)
{
    bool bracketed = rest->len > 0 && rest->data[0] == '[';
    struct slice host;

    if (bracketed) {
        *rest = slice_skip(*rest, 1);
        host = slice_cut(rest, ']');
        if (!rest->data || (rest->len > 0 && rest->data[0] != ':'))
            return "the address in it has no ], or something other than a port behind it";
        *rest = rest->len > 0 ? slice_skip(*rest, 1) : (struct slice){NULL, 0};
    } else {
        host = slice_cut(rest, ':');
    }
    if (host.len == 0)
        return "there is no host in it";
    if (bracketed && !memchr(host.data, ':', host.len))
        return "what stands in its [] is no IPv6 address";
    if (host.len >= sizeof(u->host))
        return "the host in it is too long";
    for (size_t i = 0; i < host.len; i++)
        if (!is_host_char(host.data[i], bracketed))
            return "the host in it has a sign that no host has; an @, : or / in a password is written as "
                   "%40, "
                   "%3A or %2F";
    memcpy(u->host, host.data, host.len);
    return NULL;
}

static const char *parse_network(struct slice rest, struct redis_url *u)
{
    struct slice authority = slice_cut(&rest, '/');
    const char *what = take_user(&authority, u);

    if (!what)
        what = take_host(&authority, u);
    if (!what && authority.data)
        what = parse_port(authority, u);
    if (!what && rest.len > 0)
        what = parse_db(rest, u);
    return what;
}

static const char *parse_unix(struct slice rest, struct redis_url *u)
{
    struct slice path = slice_cut(&rest, '?'), user = slice_cut(&path, '/');
    const char *what = NULL;

    if (!path.data)
        return "there is no path in it, such as unix:///run/redis/redis.sock";
    if (user.len > 0 && user.data[user.len - 1] != '@')
        return "its path does not begin with a /: three of them follow unix:";
    if (user.len > 0)
        what = take_user(&user, u);
    path = slice_make(path.data - 1, path.len + 1);
    if (!what && (path.len < 2 || !decode(path, u->path, sizeof(u->path))))
        what =
            "its path is missing, too long for a socket (107 bytes), or has a % that is not followed by two "
            "hexadecimal digits";
    if (!what && rest.data)
        what = slice_starts(rest, SLICE_OF("db=")) ? parse_db(slice_skip(rest, 3), u)
                                                   : "behind its ? only db=N is known";
    return what;
}

int redis_url_parse(struct slice text, struct redis_url *out, const char **out_what)
{
    struct redis_url u = {0};

    *out_what = "expected redis://, rediss:// or unix:// at its beginning";
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (!slice_starts(text, schemes[i].scheme))
            continue;
        text = slice_skip(text, schemes[i].scheme.len);
        u.tls = schemes[i].tls;
        *out_what = schemes[i].is_unix ? parse_unix(text, &u) : parse_network(text, &u);
        break;
    }
    if (*out_what)
        return -EINVAL;
    *out = u;
    return 0;
}
