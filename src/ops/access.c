#include "refrain/ops/access.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/digest.h"

enum { HOST_BYTES_MAX = 255 };

/* An IPv6 caller has a whole /64 to call from. */
struct source {
    int family;
    uint8_t bytes[8];
};

struct failures {
    struct source source;
    unsigned left;    /* more that it may have */
    int64_t since_ms; /* when `left` was last reckoned */
};

struct access {
    struct digest token; /* of it: a compare then tells nothing of its length either */
    char **hosts;
    size_t hosts_n;
    struct failures failures[ACCESS_ADDRESSES_MAX];
    size_t failures_n;
};

struct access *access_new(void)
{
    struct access *a = calloc(1, sizeof(*a));

    if (!a)
        abort();
    return a;
}

static void hosts_free(struct access *a)
{
    for (size_t i = 0; i < a->hosts_n; i++)
        free(a->hosts[i]);
    free(a->hosts);
    a->hosts = NULL;
    a->hosts_n = 0;
}

void access_free(struct access *a)
{
    if (!a)
        return;
    hosts_free(a);
    free(a);
}

void access_set(struct access *a, struct slice token, const struct slice *hosts, size_t hosts_n)
{
    a->token = sha256_of(token);
    hosts_free(a);
    a->hosts = calloc(hosts_n + 1, sizeof(*a->hosts));
    if (!a->hosts)
        abort();
    for (; a->hosts_n < hosts_n; a->hosts_n++) {
        a->hosts[a->hosts_n] = strndup(hosts[a->hosts_n].data, hosts[a->hosts_n].len);
        if (!a->hosts[a->hosts_n])
            abort();
    }
}

/* -- Host and Origin -- */

/* Without its port, brackets and the root's dot. */
static struct slice host_name(struct slice authority)
{
    const char *end;

    if (slice_starts(authority, SLICE_OF("["))) {
        end = memchr(authority.data, ']', authority.len);
        return end ? slice_make(authority.data + 1, (size_t)(end - authority.data) - 1) : authority;
    }
    authority = slice_cut(&authority, ':');
    if (slice_ends(authority, SLICE_OF(".")))
        authority.len--;
    return authority;
}

static bool is_address(struct slice name)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr any;

    if (name.len >= sizeof(text))
        return false;
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

/* A name that resolves to this machine is no proof: its owner may have pointed it here (DNS rebinding). */
static bool host_is_known(const struct access *a, struct slice authority)
{
    struct slice name = host_name(authority);

    if (name.len == 0 || name.len > HOST_BYTES_MAX)
        return false;
    if (is_address(name) || slice_ieq(name, SLICE_OF("localhost")))
        return true;
    for (size_t i = 0; i < a->hosts_n; i++)
        if (slice_ieq(name, slice_str(a->hosts[i])))
            return true;
    return false;
}

/* "null", and every scheme that is no web page's, is another site. */
static bool origin_is_ours(struct slice origin, struct slice authority)
{
    static const struct slice schemes[] = {SLICE("http://"), SLICE("https://")};

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (slice_starts(origin, schemes[i]))
            return slice_ieq(slice_skip(origin, schemes[i].len), authority);
    return false;
}

/* -- failures -- */

static struct source source_of(const struct sockaddr *peer)
{
    struct source s = {.family = peer->sa_family};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (peer->sa_family == AF_INET) {
        memcpy(&v4, peer, sizeof(v4));
        memcpy(s.bytes, &v4.sin_addr, 4);
    } else if (peer->sa_family == AF_INET6) {
        memcpy(&v6, peer, sizeof(v6));
        memcpy(s.bytes, &v6.sin6_addr, 8);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            memset(s.bytes, 0, sizeof(s.bytes));
            memcpy(s.bytes, v6.sin6_addr.s6_addr + 12, 4);
            s.family = AF_INET;
        }
    }
    return s;
}

static bool source_eq(const struct source *a, const struct source *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static struct failures *failures_find(struct access *a, const struct source *source)
{
    for (size_t i = 0; i < a->failures_n; i++)
        if (source_eq(&a->failures[i].source, source))
            return &a->failures[i];
    return NULL;
}

/* Gives back what time has healed. */
static void failures_reckon(struct failures *f, int64_t now_ms)
{
    int64_t healed = (now_ms - f->since_ms) / ACCESS_FAILURE_EVERY_MS;

    if (healed <= 0)
        return;
    f->left =
        healed >= ACCESS_FAILURES_MAX - (int64_t)f->left ? ACCESS_FAILURES_MAX : f->left + (unsigned)healed;
    f->since_ms += healed * ACCESS_FAILURE_EVERY_MS;
}

static bool is_barred(struct access *a, const struct source *source, int64_t now_ms, unsigned *out_retry_s)
{
    struct failures *f = failures_find(a, source);

    if (!f)
        return false;
    failures_reckon(f, now_ms);
    if (f->left > 0)
        return false;
    *out_retry_s = (ACCESS_FAILURE_EVERY_MS + 999) / 1000;
    return true;
}

static struct failures *failures_make(struct access *a, const struct source *source, int64_t now_ms)
{
    struct failures *f = &a->failures[0];

    if (a->failures_n < ACCESS_ADDRESSES_MAX)
        f = &a->failures[a->failures_n++];
    else
        for (size_t i = 1; i < a->failures_n; i++)
            if (a->failures[i].since_ms < f->since_ms)
                f = &a->failures[i];
    *f = (struct failures){*source, ACCESS_FAILURES_MAX, now_ms};
    return f;
}

static void note_failure(struct access *a, const struct source *source, int64_t now_ms)
{
    struct failures *f = failures_find(a, source);

    if (!f)
        f = failures_make(a, source, now_ms);
    if (f->left == ACCESS_FAILURES_MAX)
        f->since_ms = now_ms;
    if (f->left > 0)
        f->left--;
}

/* -- the token -- */

/* RFC 9110 section 11.1: the scheme in any case; RFC 6750 section 2.1. */
static bool read_bearer(const struct fields *fields, struct slice *out)
{
    const struct field *f = fields_find_id(fields, HEADER_AUTHORIZATION);
    struct slice rest, scheme;

    if (!f)
        return false;
    rest = slice_trim(f->value);
    scheme = slice_cut(&rest, ' ');
    *out = slice_trim(rest);
    return slice_ieq(scheme, SLICE_OF("bearer")) && out->len > 0;
}

static bool token_is_right(const struct access *a, struct slice token)
{
    struct digest given = sha256_of(token);

    return secret_eq(slice_make(given.bytes, sizeof(given.bytes)),
                     slice_make(a->token.bytes, sizeof(a->token.bytes)));
}

enum access_verdict access_judge(struct access *a, const struct fields *fields, const struct sockaddr *peer,
                                 int64_t now_ms, unsigned *out_retry_s)
{
    const struct field *host = fields_find_id(fields, HEADER_HOST);
    const struct field *origin = fields_find(fields, SLICE_OF("Origin"));
    const struct field *site = fields_find(fields, SLICE_OF("Sec-Fetch-Site"));
    struct source source = source_of(peer);
    struct slice token = {NULL, 0};

    if (!host || !host_is_known(a, host->value))
        return ACCESS_HOST;
    if (origin && !origin_is_ours(origin->value, host->value))
        return ACCESS_ORIGIN;
    if (site && !slice_ieq(site->value, SLICE_OF("same-origin")) && !slice_ieq(site->value, SLICE_OF("none")))
        return ACCESS_ORIGIN; /* a browser's own word, where a request carries no Origin */
    if (is_barred(a, &source, now_ms, out_retry_s))
        return ACCESS_TOO_MANY;
    if (!read_bearer(fields, &token))
        return ACCESS_NO_TOKEN;
    if (token_is_right(a, token))
        return ACCESS_GRANTED;
    note_failure(a, &source, now_ms);
    return ACCESS_WRONG_TOKEN;
}
