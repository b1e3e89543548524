#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "config_priv.h"
#include "refrain/base/address.h"
#include "refrain/base/attr.h"
#include "refrain/wire/header.h"

/* Upstreams, what they are shown as proof who asks, and the routes that lead to them. */

bool config_url_is_exposed(const char *url)
{
    static const char *const near[] = {"localhost", "127.", "10.", "192.168.", "[::1]"};
    struct slice rest = slice_str(url), host;

    if (!slice_starts(rest, SLICE_OF("http://")))
        return false;
    rest = slice_skip(rest, 7);
    host = slice_cut(&rest, '/');
    for (size_t i = 0; i < ARRAY_LEN(near); i++)
        if (slice_starts(host, slice_str(near[i])))
            return false;
    return memchr(host.data, '.', host.len) != NULL; /* a single name is a neighbour's */
}

static bool is_routed(const struct config *c, size_t upstream)
{
    for (size_t i = 0; i < c->routes_n; i++)
        if (c->routes[i].upstream && strcmp(c->routes[i].upstream, c->upstreams[upstream].conf.name) == 0)
            return true;
    return false;
}

/* The URL as struct upstream_conf wants it. */
static void trim_url(struct loading *l, struct upstream_conf *u)
{
    struct slice url = slice_str(u->url);

    while (url.len > 0 && url.data[url.len - 1] == '/')
        url.len--;
    if (u->url)
        u->url = pool_text(l->pool, url);
}

static void judge_upstream(struct loading *l, size_t i)
{
    const struct upstream_conf *u = &l->conf->upstreams[i].conf;
    const char *base = pool_printf(l->pool, "upstreams.%s", u->name);
    const char *first_byte = pool_printf(l->pool, "%s.first_byte_timeout", base);
    const char *url = pool_printf(l->pool, "%s.url", base), *cert = pool_printf(l->pool, "%s.cert", base);

    if (!u->url)
        return;
    if (config_url_is_exposed(u->url))
        judge_warn(l, url, "without TLS, prompts and credentials can be read on the way");
    judge_file(l, pool_printf(l->pool, "%s.ca_file", base), u->ca_file);
    judge_file(l, cert, u->cert_file);
    judge_file(l, pool_printf(l->pool, "%s.key", base), u->key_file);
    if (!u->cert_file != !u->key_file)
        judge_fail(l, cert, "a certificate and its key are given together, or neither");
    if (u->first_byte_timeout_ms > u->total_timeout_ms &&
        judge_origin(l, first_byte)->source != SOURCE_BUILT_IN)
        judge_warn(l, first_byte, "longer than total_timeout, so never reached");
    if (!is_routed(l->conf, i))
        judge_warn(l, url, "no route leads to this upstream");
}

static void judge_backoff(struct loading *l, const struct upstream_section *u)
{
    const char *name = pool_printf(l->pool, "upstreams.%s.retries.backoff", u->conf.name);

    if (u->retry.backoff_ms > u->retry.backoff_ms_max)
        judge_warn(l, name, "longer than max_backoff, which is how long the wait is then");
}

static void judge_retries(struct loading *l, struct upstream_section *u)
{
    const char *name = pool_printf(l->pool, "upstreams.%s.retries.retry_on", u->conf.name);

    judge_backoff(l, u);
    for (size_t i = 0; i < u->retry_on.n; i++) {
        enum retry_cause cause = retry_cause_by_name(u->retry_on.at[i]);

        if (cause == RETRY_NONE)
            report_error(l->report, judge_origin(l, name), name,
                         "expected connect, reset, timeout, 429, 502, 503 or 504, got %s",
                         u->retry_on.at[i].data);
        else
            u->retry.on |= 1U << cause;
    }
}

/* -- credentials -- */

static const char *const credential_prefixes[] = {
    [SENT_AS_BEARER] = "Authorization: Bearer ",
    [SENT_AS_X_API_KEY] = "x-api-key: ",
    [SENT_AS_API_KEY] = "api-key: ",
    [SENT_AS_X_GOOG_API_KEY] = "x-goog-api-key: ",
};

/* Providers that are known to look in one place alone. */
static void judge_credential_header(struct loading *l, const struct upstream_section *u, const char *name)
{
    static const struct {
        const char *host, *what;
        unsigned header;
    } known[] = {
        {"://api.anthropic.com", "Anthropic looks for an API key in x-api-key", SENT_AS_X_API_KEY},
        {".openai.azure.com", "Azure OpenAI looks for an API key in api-key", SENT_AS_API_KEY},
        {"://generativelanguage.googleapis.com", "Google looks for an API key in x-goog-api-key",
         SENT_AS_X_GOOG_API_KEY},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strstr(u->conf.url, known[i].host) && u->credential_header != known[i].header)
            judge_warn(l, name, known[i].what);
}

/* headers.add of the same name would send two. */
static bool adds_the_same(const struct upstream_conf *u)
{
    size_t len = strcspn(u->credential, ":") + 1;

    for (const char *const *at = u->headers_add; at && *at; at++)
        if (strncasecmp(*at, u->credential, len) == 0)
            return true;
    return false;
}

static void judge_credential_text(struct loading *l, const struct upstream_section *u, const char *name)
{
    const char *text = u->credential.text;

    if (!header_value_ok(slice_str(text)) || strpbrk(text, " \t"))
        judge_fail(l, name, "expected a key alone: no spaces, no `Bearer`, no control characters");
}

static void judge_credential(struct loading *l, struct upstream_section *u)
{
    const char *name = pool_printf(l->pool, "upstreams.%s.credential", u->conf.name);
    struct address listen;

    if (!u->credential.text || !u->conf.url)
        return;
    judge_credential_text(l, u, name);
    judge_credential_header(l, u, pool_printf(l->pool, "%s_header", name));
    u->conf.credential =
        pool_printf(l->pool, "%s%s", credential_prefixes[u->credential_header], u->credential.text);
    if (adds_the_same(&u->conf))
        judge_fail(l, name, "headers.add of this upstream has the same header; one of them");
    if (l->conf->clients_n > 0 || address_parse(slice_str(l->conf->listen.address), &listen) < 0)
        return;
    if (!address_is_local(&listen))
        judge_fail(l, name, "whoever reaches the listener would ask at its cost; say in `clients` who may");
    else
        judge_warn(l, name, "whoever reaches the listener asks at its cost; say in `clients` who may");
}

/* Behind clients nobody else's credential is left to show. A model on the same machine wants none. */
static void judge_uncredited(struct loading *l, const struct upstream_section *u)
{
    const struct config *c = l->conf;

    if (c->clients_n == 0 || u->credential.text || u->conf.headers_add || !u->conf.url ||
        (slice_starts(slice_str(u->conf.url), SLICE_OF("http://")) && !config_url_is_exposed(u->conf.url)))
        return;
    judge_warn(
        l, pool_printf(l->pool, "upstreams.%s.url", u->conf.name),
        "there are clients, whose tokens do not go on, and no credential for this upstream: it is shown "
        "none");
}

/* -- routes -- */

static void judge_route_order(struct loading *l, size_t i)
{
    const struct route_conf *r = &l->conf->routes[i];
    const char *name = pool_printf(l->pool, "routes[%zu].path", i);

    for (size_t before = 0; before < i; before++) {
        const struct route_conf *b = &l->conf->routes[before];

        if (b->path && slice_starts(slice_str(r->path), slice_str(b->path))) {
            report_warning(l->report, judge_origin(l, name), name, "never reached: the route %s comes first",
                           b->path);
            return;
        }
    }
}

static struct judge_guess nearest_upstream(const struct config *c, const char *wrote)
{
    struct judge_guess guess = {NULL, 0};

    for (size_t i = 0; i < c->upstreams_n; i++)
        judge_nearest(wrote, c->upstreams[i].conf.name, &guess);
    return guess;
}

static void judge_route(struct loading *l, size_t i)
{
    const char *name = pool_printf(l->pool, "routes[%zu].upstream", i);
    struct route_conf *r = &l->conf->routes[i];
    struct judge_guess guess;

    if (r->path)
        judge_route_order(l, i);
    if (!r->upstream) {
        report_error(l->report, judge_origin(l, pool_printf(l->pool, "routes[%zu].path", i)), name,
                     "must be given where there is not exactly one upstream");
        return;
    }
    for (r->upstream_at = 0; r->upstream_at < l->conf->upstreams_n; r->upstream_at++)
        if (strcmp(l->conf->upstreams[r->upstream_at].conf.name, r->upstream) == 0)
            return;
    guess = nearest_upstream(l->conf, r->upstream);
    judge_unknown(l, name, "upstream", r->upstream, &guess);
}

/* -- all of it -- */

void config_judge_upstreams(struct loading *l)
{
    struct config *c = l->conf;
    const struct origin file = {.source = SOURCE_FILE, .where = l->sources->file};
    const struct origin *missing = file.where ? &file : NULL; /* where it would stand */

    for (size_t i = 0; i < c->upstreams_n; i++) {
        trim_url(l, &c->upstreams[i].conf);
        judge_upstream(l, i);
        judge_retries(l, &c->upstreams[i]);
        judge_credential(l, &c->upstreams[i]);
        judge_uncredited(l, &c->upstreams[i]);
    }
    for (size_t i = 0; i < c->routes_n; i++)
        judge_route(l, i);
    if (c->upstreams_n == 0 && !l->sources->upstream_optional)
        report_error(l->report, missing, "upstreams",
                     "there is none; give --upstream URL, or upstreams in a file");
    else if (c->routes_n == 0 && c->upstreams_n > 0)
        report_error(l->report, missing, "routes",
                     "there is none; with more than one upstream, say which path goes where");
}
