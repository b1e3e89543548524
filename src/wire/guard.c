#include "refrain/wire/guard.h"

#include <arpa/inet.h>

#include "refrain/base/attr.h"

enum {
    IPV6_TEXT_MAX = 45, /* RFC 4291: the longest form, with an embedded IPv4 address */
    PORT_MAX = 65535,
};

static const struct guard_verdict passed = {.ok = true};

static struct guard_verdict refuse(enum error_code code, const char *why)
{
    return (struct guard_verdict){false, code, why};
}

static struct guard_verdict bad(const char *why)
{
    return refuse(ERR_REQUEST_INVALID, why);
}

static struct guard_verdict judge_method(struct slice method)
{
    if (!header_name_ok(method)) /* a method is a token as well: RFC 9110 section 9.1 */
        return bad("the method is not a token");
    if (slice_eq(method, SLICE_OF("CONNECT")) || slice_eq(method, SLICE_OF("TRACE")))
        return refuse(ERR_METHOD_NOT_ALLOWED, "CONNECT and TRACE are not served here");
    return passed;
}

static bool is_target_byte(unsigned char c)
{
    return c > ' ' && c != 0x7F && c != '#';
}

/* RFC 9112 section 3.2. Only origin-form means the same to every server on the way; `//x` reads as an
 * authority to some. */
static struct guard_verdict judge_target(struct slice method, struct slice target)
{
    bool ok = true;

    if (slice_eq(target, SLICE_OF("*")))
        return slice_eq(method, SLICE_OF("OPTIONS")) ? passed : bad("the target `*` is for OPTIONS alone");
    if (target.len == 0 || target.data[0] != '/')
        return bad("the request target must begin with `/` (origin-form)");
    if (target.len > 1 && target.data[1] == '/')
        return bad("the request target must not begin with `//`");
    for (size_t i = 0; i < target.len; i++)
        ok &= is_target_byte((unsigned char)target.data[i]);
    return ok ? passed : bad("the request target holds a space, a control byte or `#`");
}

static struct guard_verdict judge_fields(const struct fields *f)
{
    if (!fields_names_ok(f))
        return bad("a header name is not a token, or a header line is folded");
    if (!fields_values_ok(f))
        return bad("a header value holds a control byte");
    return passed;
}

/* What the head holds of the fields that decide anything here; gathered in one pass. */
struct census {
    const struct field *length, *coding, *host, *upgrade;
    unsigned lengths, codings, hosts;
    bool expects_other;      /* an Expect that is not 100-continue */
    bool connection_upgrade; /* Connection lists upgrade */
    bool websocket;          /* Upgrade lists websocket */
};

/* RFC 9110 section 7.8: a list of protocol-name ["/" version]. */
static bool upgrade_to_websocket(struct slice value)
{
    while (value.data) {
        struct slice protocol = slice_trim(slice_cut(&value, ','));

        if (slice_ieq(slice_cut(&protocol, '/'), SLICE_OF("websocket")))
            return true;
    }
    return false;
}

static void count_field(struct census *c, const struct field *f)
{
    switch (field_id(f)) {
    case HEADER_CONTENT_LENGTH:
        c->length = f;
        c->lengths++;
        break;
    case HEADER_TRANSFER_ENCODING:
        c->coding = f;
        c->codings++;
        break;
    case HEADER_HOST:
        c->host = f;
        c->hosts++;
        break;
    case HEADER_EXPECT:
        c->expects_other |= !slice_ieq(slice_trim(f->value), SLICE_OF("100-continue"));
        break;
    case HEADER_CONNECTION:
        c->connection_upgrade |= value_has_token(f->value, SLICE_OF("upgrade"));
        break;
    case HEADER_UPGRADE:
        c->websocket |= upgrade_to_websocket(f->value);
        break;
    default:
        break;
    }
}

static struct census take_census(const struct fields *f)
{
    struct census c = {0};

    for (unsigned i = 0; i < f->n; i++)
        count_field(&c, &f->at[i]);
    return c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 9112 section 6.3 lets a server mend some of these; a proxy that mends is how requests are smuggled. */
static struct guard_verdict judge_framing(enum guard_version version, const struct census *c)
{
    if (c->lengths > 1)
        return bad("more than one Content-Length");
    if (c->codings > 1)
        return bad("more than one Transfer-Encoding");
    if (c->lengths && c->codings)
        return bad("both Content-Length and Transfer-Encoding");
    if (c->codings && version == GUARD_HTTP_10)
        return bad("Transfer-Encoding in HTTP/1.0");
    if (c->codings && !slice_ieq(slice_trim(c->coding->value), SLICE_OF("chunked")))
        return bad("Transfer-Encoding must be `chunked`");
    if (c->lengths && value_content_length(c->length->value) < 0)
        return bad("Content-Length must be plain digits");
    return passed;
}

static struct guard_verdict judge_host(enum guard_version version, const struct census *c)
{
    if (c->hosts > 1)
        return bad("more than one Host");
    if (c->hosts == 0)
        return version == GUARD_HTTP_10 ? passed : bad("HTTP/1.1 wants a Host header");
    return guard_host_ok(slice_trim(c->host->value))
               ? passed
               : bad("Host must be a name or address with an optional port");
}

struct guard_verdict guard_request(enum guard_version version, struct slice method, struct slice target,
                                   const struct fields *fields)
{
    struct guard_verdict v = judge_method(method);
    struct census c;

    if (v.ok)
        v = judge_target(method, target);
    if (v.ok)
        v = judge_fields(fields);
    if (!v.ok)
        return v;
    c = take_census(fields);
    v = judge_framing(version, &c);
    if (v.ok)
        v = judge_host(version, &c);
    if (v.ok && c.expects_other)
        return refuse(ERR_EXPECT, "the only expectation known is 100-continue");
    /* Any other Upgrade is an offer that may be left unanswered (RFC 9110 section 7.8); a WebSocket client
     * waits for it. HTTP/1.0 has no Upgrade. */
    if (v.ok && c.websocket && c.connection_upgrade && version == GUARD_HTTP_11)
        return refuse(ERR_NOT_IMPLEMENTED, "WebSocket is not supported");
    return v;
}

static bool is_hex(char c)
{
    return is_digit(c) || ((unsigned char)(c | 0x20) >= 'a' && (unsigned char)(c | 0x20) <= 'f');
}

/* RFC 3986 sections 2.2 and 2.3: unreserved and sub-delims. */
static const bool is_name_byte[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['-'] = true, ['.'] = true,
    ['_'] = true,         ['~'] = true,         ['!'] = true,         ['$'] = true, ['&'] = true,
    ['\''] = true,        ['('] = true,         [')'] = true,         ['*'] = true, ['+'] = true,
    [','] = true,         [';'] = true,         ['='] = true,
};

/* RFC 3986 section 3.2.2: reg-name, of which an IPv4 address is one. */
static bool reg_name_ok(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (is_name_byte[(unsigned char)s.data[i]])
            continue;
        if (s.data[i] != '%' || s.len - i < 3 || !is_hex(s.data[i + 1]) || !is_hex(s.data[i + 2]))
            return false;
        i += 2;
    }
    return true;
}

/* RFC 3986 section 3.2.2: "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ). */
static bool ip_future_ok(struct slice s)
{
    size_t i = 1;

    while (i < s.len && is_hex(s.data[i]))
        i++;
    if (i == 1 || i + 1 >= s.len || s.data[i] != '.')
        return false;
    for (i++; i < s.len; i++)
        if (!is_name_byte[(unsigned char)s.data[i]] && s.data[i] != ':')
            return false;
    return true;
}

/* What stands between the brackets. */
static bool ip_literal_ok(struct slice s)
{
    char text[IPV6_TEXT_MAX + 1];
    struct in6_addr addr;

    if (s.len > 0 && (s.data[0] == 'v' || s.data[0] == 'V'))
        return ip_future_ok(s);
    if (s.len > IPV6_TEXT_MAX || memchr(s.data, '\0', s.len))
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    return inet_pton(AF_INET6, text, &addr) == 1;
}

/* RFC 3986 section 3.2.3: any number of digits, none included; the number itself must be a port. */
static bool port_ok(struct slice s)
{
    unsigned port = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.data[i]))
            return false;
        port = port * 10 + (unsigned)(s.data[i] - '0');
        if (port > PORT_MAX)
            return false;
    }
    return true;
}

bool guard_host_ok(struct slice host)
{
    struct slice name;

    if (host.len > 0 && host.data[0] == '[') {
        struct slice inside = slice_skip(host, 1);

        name = slice_cut(&inside, ']');
        if (!inside.data || !ip_literal_ok(name))
            return false;
        if (inside.len == 0)
            return true;
        return inside.data[0] == ':' && port_ok(slice_skip(inside, 1));
    }
    name = slice_cut(&host, ':');
    return reg_name_ok(name) && port_ok(host);
}
