#include "refrain/wire/dialect.h"

#include "dialect_priv.h"
#include "refrain/base/attr.h"

#define DIALECT_ROW(id, row) [id] = &dialect_##row,
static const struct dialect *const dialects[OP_COUNT] = {DIALECT_ROWS(DIALECT_ROW)};
#undef DIALECT_ROW

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
    [ERR_RATE_LIMITED] = {429, "rate_limited"},
    [ERR_UPSTREAM_UNREACHABLE] = {502, "upstream_unreachable"},
    [ERR_UPSTREAM_PROTOCOL] = {502, "upstream_protocol_error"},
    [ERR_UPSTREAM_REFUSED_US] = {502, "upstream_unauthorized"},
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

/* @path behind its prefix is @rest. A verb has a name before it. */
static bool pattern_takes(struct slice pattern, struct slice path, struct slice rest)
{
    if (pattern.data[0] != ':')
        return slice_eq(rest, pattern);
    return path.len > pattern.len && path.data[0] == '/' && slice_ends(path, pattern) &&
           path.data[path.len - pattern.len - 1] != '/';
}

static const struct dialect_path *find_path(const struct dialect *d, struct slice path, struct slice rest)
{
    for (unsigned i = 0; i < DIALECT_PATHS_MAX && d->paths[i].pattern.len > 0; i++)
        if (pattern_takes(d->paths[i].pattern, path, rest))
            return &d->paths[i];
    return NULL;
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
        if (find_path(dialects[op], path, rest))
            return op;
    return OP_PASS;
}

/* `…/NAME:verb` */
static struct slice model_of(struct slice path)
{
    struct slice last = path;

    while (path.data)
        last = slice_cut(&path, '/');
    return slice_cut(&last, ':');
}

void operation_path_facts(enum operation op, struct slice path, struct canon_facts *facts)
{
    const struct dialect *d = dialects[op];
    const struct dialect_path *p = find_path(d, path, skip_prefix(path));

    if (p && p->stream != STREAM_BY_BODY)
        facts->stream = p->stream == STREAM_ALWAYS;
    if (p && d->model_in_path)
        facts->model = model_of(path);
}

enum operation operation_kind(enum operation op)
{
    return operation_by_name(slice_str(dialects[op]->name));
}

static bool is_json_type(struct slice type)
{
    static const struct slice suffix = SLICE("+json");

    if (slice_ieq(type, SLICE_OF("application/json")))
        return true;
    return type.len > suffix.len && slice_ieq(slice_skip(type, type.len - suffix.len), suffix);
}

static bool is_sound_type(struct slice type)
{
    static const struct slice audio = SLICE("audio/");

    return type.len > audio.len && slice_ieq(slice_make(type.data, audio.len), audio);
}

static enum stream_format format_of(struct slice type)
{
    static const struct slice lines[] = {SLICE("application/x-ndjson"), SLICE("application/ndjson"),
                                         SLICE("application/jsonl"), SLICE("application/x-jsonlines")};

    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (slice_ieq(type, lines[i]))
            return STREAM_NDJSON;
    if (slice_ieq(type, SLICE_OF("text/event-stream")))
        return STREAM_SSE;
    if (is_json_type(type))
        return STREAM_JSON_ARRAY;
    return is_sound_type(type) ? STREAM_BYTES : STREAM_NONE;
}

enum stream_format dialect_stream_format(const struct dialect *d, struct slice media_type)
{
    enum stream_format format = format_of(media_type);

    return d->streams & STREAMS(format) ? format : STREAM_NONE;
}

bool dialect_takes_type(const struct dialect *d, struct slice media_type)
{
    return !d->json || is_json_type(media_type);
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
        SLICE("responses"),      SLICE("conversations"), SLICE("files"),         SLICE("batches"),
        SLICE("uploads"),        SLICE("threads"),       SLICE("vector_stores"), SLICE("videos"),
        SLICE("jobs"),           SLICE("assistants"),    SLICE("containers"),    SLICE("evals"),
        SLICE("cachedContents"),
    };

    while (path.data) {
        struct slice segment = slice_cut(&path, '/');

        for (size_t i = 0; i < ARRAY_LEN(live); i++)
            if (slice_eq(segment, live[i]))
                return true;
    }
    return false;
}
