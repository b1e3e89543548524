#include "api.h"

#include <stdio.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/hex.h"
#include "refrain/wire/header.h"

enum { SMALL_BODY = 16 * 1024, EVENT_BODY = 64 * 1024, REQUEST_BODY = 16 << 20 };

static const struct api_route routes[] = {
    {"GET", "", false, false, SMALL_BODY, api_index},
    {"GET", "/alerts", false, false, SMALL_BODY, api_alerts},
    {"GET", "/recommendations", false, false, SMALL_BODY, api_recommendations},
    {"GET", "/breakers", false, false, SMALL_BODY, api_breakers_list},
    {"POST", "/breakers/{}/{}", true, false, SMALL_BODY, api_breakers_command},
    {"GET", "/stats", false, false, SMALL_BODY, api_stats},
    {"GET", "/stats/history", false, false, SMALL_BODY, api_stats_history},
    {"GET", "/performance", false, false, SMALL_BODY, api_performance},
    {"GET", "/clients", false, false, SMALL_BODY, api_clients_list},
    {"GET", "/slow", false, false, SMALL_BODY, api_slow},
    {"GET", "/popular", false, false, SMALL_BODY, api_popular},
    {"GET", "/export", false, false, SMALL_BODY, api_export},
    {"GET", "/config", false, false, SMALL_BODY, api_config},
    {"GET", "/events", false, false, SMALL_BODY, api_events_stream},
    {"POST", "/events", true, false, EVENT_BODY, api_events_take},
    {"GET", "/instances", false, false, SMALL_BODY, api_instances_list},
    {"POST", "/explain", false, true, REQUEST_BODY, api_explain},
    {"POST", "/invalidate", true, false, SMALL_BODY, api_invalidate},
    {"GET", "/entries", false, false, SMALL_BODY, api_entries_list},
    {"GET", "/entries/{}", false, false, SMALL_BODY, api_entries_get},
    {"PUT", "/entries/{}", true, false, SMALL_BODY, api_entries_put},
    {"DELETE", "/entries/{}", true, false, SMALL_BODY, api_entries_delete},
    {"GET", "/namespaces", false, false, SMALL_BODY, api_namespaces},
};

/* What can be asked. */
void api_index(struct api_call *c)
{
    struct jout j = jout_begin(c->out);

    jout_object(&j, NULL);
    jout_array(&j, "routes");
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        jout_object(&j, NULL);
        jout_str(&j, "method", routes[i].method);
        jout_text(&j, "path", slice_str(routes[i].path[0] ? routes[i].path : "/"));
        jout_bool(&j, "mutates", routes[i].mutates);
        jout_end(&j);
    }
    jout_end(&j);
    jout_end(&j);
    api_done(c, &j);
}

/* -- answers -- */

void api_fail(struct api_call *c, unsigned status, const char *code, const char *message, const char *where,
              const char *expected)
{
    struct jout j = jout_begin(c->out);

    buf_clear(c->out);
    jout_object(&j, NULL);
    jout_object(&j, "error");
    jout_str(&j, "message", message);
    jout_str(&j, "type", "refrain_error");
    jout_str(&j, "code", code);
    if (where)
        jout_str(&j, "where", where);
    if (expected)
        jout_str(&j, "expected", expected);
    jout_end(&j);
    jout_end(&j);
    c->status = status;
    if (jout_done(&j) < 0 || buf_add_byte(c->out, '\n') < 0)
        buf_clear(c->out);
}

void api_done(struct api_call *c, const struct jout *j)
{
    if (jout_done(j) < 0 || buf_add_byte(c->out, '\n') < 0)
        api_fail(c, 500, "answer_too_large", "the answer is larger than any that is sent", NULL, NULL);
}

struct slice api_correlation(struct api_call *c)
{
    const struct field *f = fields_find(c->fields, SLICE_OF("x-request-id"));
    size_t n = f && header_name_ok(f->value) ? f->value.len : 0;

    if (n == 0 || n > sizeof(c->correlation))
        return (struct slice){NULL, 0};
    memcpy(c->correlation, f->value.data, n);
    return slice_make(c->correlation, n);
}

/* -- finding a route -- */

/* Percent-decodes @text into @out, which has API_ARG_BYTES_MAX. -1: too long, or badly coded. */
static int decode(struct slice text, char *out)
{
    int len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];

        if (byte == '%') {
            int coded = i + 2 < text.len ? hex_byte(text.data + i + 1) : -1;

            if (coded < 0)
                return -1;
            byte = (char)coded;
            i += 2;
        }
        if (len == API_ARG_BYTES_MAX || byte == '\0')
            return -1;
        out[len++] = byte;
    }
    return len;
}

/* A segment that is empty, too long, or badly coded is no argument. */
static bool take_argument(struct api_call *c, size_t n, struct slice segment)
{
    int len = decode(segment, c->arg_bytes[n]);

    c->args[n] = slice_make(c->arg_bytes[n], len > 0 ? (size_t)len : 0);
    return len > 0;
}

bool api_query(const struct api_call *c, const char *name, struct api_query *out)
{
    struct slice query = c->query;

    out->value = slice_make(out->bytes, 0);
    while (query.data) {
        struct slice value = slice_cut(&query, '&'), key = slice_cut(&value, '=');
        int len;

        if (!slice_eq(key, slice_str(name)))
            continue;
        len = decode(value, out->bytes);
        out->value.len = len > 0 ? (size_t)len : 0;
        return true;
    }
    return false;
}

static bool path_matches(struct api_call *c, const char *pattern, struct slice path)
{
    struct slice want = slice_str(pattern);
    size_t args = 0;

    while (want.data && path.data) {
        struct slice segment = slice_cut(&want, '/'), given = slice_cut(&path, '/');

        if (!slice_eq(segment, SLICE_OF("{}"))) {
            if (!slice_eq(segment, given))
                return false;
        } else if (!take_argument(c, args++, given)) {
            return false;
        }
    }
    return !want.data && !path.data;
}

static void allow_add(struct api_call *c, const char *method)
{
    size_t n = strlen(c->allow);

    (void)snprintf(c->allow + n, sizeof(c->allow) - n, "%s%s", n ? ", " : "", method);
}

static bool method_matches(const struct api_route *r, struct slice method)
{
    if (slice_eq(method, SLICE_OF("HEAD")))
        return strcmp(r->method, "GET") == 0;
    return slice_eq(method, slice_str(r->method));
}

bool api_find(struct api_call *c, struct slice method, struct slice path)
{
    struct slice below = slice_skip(path, strlen(API_ROOT));

    c->allow[0] = '\0';
    if (slice_eq(below, SLICE_OF("/")))
        below.len = 0;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!path_matches(c, routes[i].path, below))
            continue;
        if (method_matches(&routes[i], method)) {
            c->route = &routes[i];
            return true;
        }
        allow_add(c, routes[i].method);
        if (strcmp(routes[i].method, "GET") == 0)
            allow_add(c, "HEAD");
    }
    if (c->allow[0])
        api_fail(c, 405, "method_not_allowed", "this path takes other methods", "method", c->allow);
    else
        api_fail(c, 404, "not_found", "no such path", "path", "one of those that GET " API_ROOT " lists");
    return false;
}

bool api_number(struct api_call *c, const char *name, unsigned max, unsigned *out)
{
    struct api_query q;
    char expected[64], where[64];
    uint64_t n = 0;

    if (!api_query(c, name, &q))
        return true;
    for (size_t i = 0; i < q.value.len && n <= max; i++)
        n = q.value.data[i] >= '0' && q.value.data[i] <= '9' ? n * 10 + (uint64_t)(q.value.data[i] - '0')
                                                             : (uint64_t)max + 1;
    if (n >= 1 && n <= max) {
        *out = (unsigned)n;
        return true;
    }
    (void)snprintf(where, sizeof(where), "query.%s", name);
    (void)snprintf(expected, sizeof(expected), "a number from 1 to %u", max);
    api_fail(c, 400, "request_invalid", "that is not how many there can be", where, expected);
    return false;
}
