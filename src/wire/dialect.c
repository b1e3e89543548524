#include "refrain/wire/dialect.h"

#include "dialect_priv.h"
#include "refrain/base/attr.h"

static const struct dialect *const dialects[OP_COUNT] = {
    [OP_PASS] = &dialect_pass,
    [OP_CHAT] = &dialect_chat,
    [OP_COMPLETION] = &dialect_completion,
    [OP_RESPONSES] = &dialect_responses,
    [OP_MESSAGES] = &dialect_messages,
    [OP_EMBEDDING] = &dialect_embedding,
    [OP_READ] = &dialect_read,
    [OP_PLAIN] = &dialect_plain,
};

static const struct {
    unsigned status;
    const char *name;
} errors[ERR_COUNT] = {
    [ERR_REQUEST_INVALID] = {400, "request_invalid"},
    [ERR_UNAUTHORIZED] = {401, "unauthorized"},
    [ERR_NO_ROUTE] = {404, "no_route"},
    [ERR_METHOD_NOT_ALLOWED] = {405, "method_not_allowed"},
    [ERR_TOO_LARGE] = {413, "too_large"},
    [ERR_EXPECT] = {417, "expectation_failed"},
    [ERR_HEADERS_TOO_LARGE] = {431, "headers_too_large"},
    [ERR_NOT_IMPLEMENTED] = {501, "not_implemented"},
    [ERR_UPSTREAM_UNREACHABLE] = {502, "upstream_unreachable"},
    [ERR_UPSTREAM_PROTOCOL] = {502, "upstream_protocol_error"},
    [ERR_UPSTREAM_TIMEOUT] = {504, "upstream_timeout"},
    [ERR_ONLY_IF_CACHED] = {504, "only_if_cached_miss"},
    [ERR_CIRCUIT_OPEN] = {503, "circuit_open"},
    [ERR_OVERLOADED] = {503, "overloaded"},
};

unsigned error_status(enum error_code code)
{
    return errors[code].status;
}

const char *error_name(enum error_code code)
{
    return errors[code].name;
}

const struct dialect *dialect_of(enum operation op)
{
    return dialects[op];
}

static size_t count_digits(struct slice s)
{
    size_t n = 0;

    while (n < s.len && s.data[n] >= '0' && s.data[n] <= '9')
        n++;
    return n;
}

/* Steps over "/v1", "/v2", "/v1beta", "/v1alpha2"; leaves @path as it is when it does not begin so. */
static struct slice skip_version(struct slice path)
{
    struct slice rest = slice_skip(path, 2);
    size_t digits = count_digits(rest);

    if (!slice_starts(path, SLICE_OF("/v")) || digits == 0)
        return path;
    rest = slice_skip(rest, digits);
    if (slice_starts(rest, SLICE_OF("beta")) || slice_starts(rest, SLICE_OF("alpha"))) {
        rest = slice_skip(rest, rest.data[0] == 'b' ? 4 : 5);
        rest = slice_skip(rest, count_digits(rest));
    }
    return rest.len > 0 && rest.data[0] == '/' ? rest : path;
}

/* SPEC section 3: what may stand before an operation's path. Empty when a prefix is there but nothing behind
 * it. */
static struct slice skip_prefix(struct slice path)
{
    static const struct slice azure = SLICE("/openai/deployments/"), openai = SLICE("/openai");
    struct slice rest, behind;

    if (slice_starts(path, azure)) {
        rest = slice_skip(path, azure.len);
        while (rest.len > 0 && rest.data[0] != '/')
            rest = slice_skip(rest, 1);
        return rest.data == path.data + azure.len ? path : rest; /* a deployment has a name */
    }
    if (slice_starts(path, openai)) {
        rest = slice_skip(path, openai.len);
        behind = skip_version(rest);
        return behind.data == rest.data ? path : behind;
    }
    return skip_version(path);
}

/* @pattern has at most one `*`, for one or more bytes other than `/`. */
static bool path_matches(struct slice path, struct slice pattern)
{
    struct slice tail = pattern;
    struct slice head = slice_cut(&tail, '*');
    struct slice middle;

    if (LIKELY(!tail.data))
        return slice_eq(path, pattern);
    if (path.len <= head.len + tail.len || !slice_starts(path, head) || !slice_ends(path, tail))
        return false;
    middle = slice_make(path.data + head.len, path.len - head.len - tail.len);
    return memchr(middle.data, '/', middle.len) == NULL;
}

static bool dialect_takes(const struct dialect *d, struct slice path)
{
    for (unsigned i = 0; i < DIALECT_PATHS_MAX && d->paths[i].len > 0; i++)
        if (path_matches(path, d->paths[i]))
            return true;
    return false;
}

enum operation operation_find(struct slice method, struct slice path)
{
    struct slice rest;

    if (slice_eq(method, SLICE_OF("GET")) || slice_eq(method, SLICE_OF("HEAD")))
        return OP_READ;
    if (!slice_eq(method, SLICE_OF("POST")))
        return OP_PASS;
    rest = skip_prefix(path);
    for (enum operation op = 0; op < OP_COUNT; op++)
        if (dialect_takes(dialects[op], rest))
            return op;
    return OP_PASS;
}

enum operation operation_by_name(struct slice name)
{
    for (enum operation op = 0; op < OP_COUNT; op++)
        if (slice_eq(name, slice_str(dialects[op]->name)))
            return op;
    return OP_COUNT;
}

bool operation_read_is_live(struct slice path)
{
    static const struct slice live[] = {
        SLICE("responses"), SLICE("conversations"), SLICE("files"),  SLICE("batches"), SLICE("uploads"),
        SLICE("threads"),   SLICE("vector_stores"), SLICE("videos"), SLICE("jobs"),
    };

    while (path.data) {
        struct slice segment = slice_cut(&path, '/');

        for (size_t i = 0; i < ARRAY_LEN(live); i++)
            if (slice_eq(segment, live[i]))
                return true;
    }
    return false;
}
