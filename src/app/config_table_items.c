#include "config_table_priv.h"
#include "refrain/base/attr.h"
#include "refrain/http/clients.h"

/* The options of what there may be several of: upstreams, routes, rules and the like. */

#define UPSTREAM(member)   FIELD(struct upstream_section, conf.member)
#define RETRY(member)      FIELD(struct upstream_section, member)
#define ROUTE(member)      FIELD(struct route_conf, member)
#define RULE(member)       FIELD(struct rule_conf, member)
#define EVENT_RULE(member) FIELD(struct event_rule_conf, member)
#define CLIENT(member)     FIELD(struct client_section, member)
#define OPERATION(member)  FIELD(struct operation_conf, member)
#define PRICE(member)      FIELD(struct price_conf, member)

static const char *const proxy_schemes[] = {"http", "https", "socks5", "socks5h", NULL};
static const char *const control_headers[] = {"strip", "pass", NULL};
static const char *const credential_headers[] = {"authorization", "x-api-key", "api-key", "x-goog-api-key",
                                                 NULL};
static const char *const prompt_sizes[] = {"any", "small", "medium", "large", "xlarge", NULL};
static const char *const rule_usages[] = {"unset", "upstream", "zero", NULL};
static const char *const rule_caches[] = {"unset", "on", "off", "read-only", "write-only", NULL};

_Static_assert(CACHE_UNSAID == 0 && CACHE_ON == 1 && CACHE_OFF == 2 && CACHE_READ_ONLY == 3 &&
                   CACHE_WRITE_ONLY == 4,
               "the order of the choices");
_Static_assert(RULE_USAGE_UNSAID == 0 && RULE_USAGE_UPSTREAM == 1 && RULE_USAGE_ZERO == 2,
               "the order of the choices");
_Static_assert(CONTROLS_STRIP == 0 && CONTROLS_PASS == 1, "the order of the choices");
_Static_assert(SENT_AS_BEARER == 0 && SENT_AS_X_API_KEY == 1 && SENT_AS_API_KEY == 2 &&
                   SENT_AS_X_GOOG_API_KEY == 3,
               "the order of the choices");

/* clang-format off */
#define BREAKER_OF_ONE(name, type, fallback, low, high, member, text)                                        \
    {"breaker." name, OPTION_##type, 0, fallback, RANGE(low, high), .inherits = "breaker." name,             \
     FIELD(struct upstream_section, breaker.member), .help = text}
/* clang-format on */

static const struct option_row upstream_rows[] = {
    {"url", OPTION_URL, OPTION_REQUIRED, .choices = option_origin_schemes, UPSTREAM(url),
     .help = "Where it is; a path is put before every request's own."},
    {"connect_timeout", OPTION_MS, 0, "5s", RANGE(1, DAY), UPSTREAM(connect_timeout_ms),
     .help = "To resolve, connect and agree on TLS."},
    {"first_byte_timeout", OPTION_MS, 0, "600s", RANGE(1, DAY), UPSTREAM(first_byte_timeout_ms),
     .help = "From the request's last byte to the answer's first: reasoning models are slow."},
    {"idle_timeout", OPTION_MS, 0, "300s", RANGE(1, DAY), UPSTREAM(idle_timeout_ms),
     .help = "Between bytes of the answer."},
    {"total_timeout", OPTION_MS, 0, "1h", RANGE(1, (int64_t)7 * DAY), UPSTREAM(total_timeout_ms),
     .help = "Of the whole call."},
    {"ca_file", OPTION_PATH, 0, NULL, UPSTREAM(ca_file),
     .help = "Whom to trust (PEM), instead of the system's list."},
    {"cert", OPTION_PATH, 0, NULL, UPSTREAM(cert_file), .help = "Certificate to show (PEM)."},
    {"key", OPTION_PATH, 0, NULL, UPSTREAM(key_file), .help = "Its key (PEM)."},
    {"proxy", OPTION_URL, OPTION_MASKED, .choices = proxy_schemes, UPSTREAM(proxy),
     .help = "The way out; the environment's proxy is never taken."},
    {"http2", OPTION_BOOL, 0, "true", UPSTREAM(http2), .help = "Offer HTTP/2 over TLS."},
    {"max_concurrent", OPTION_COUNT, 0, "off", RANGE(1, 1000000), WORD("off", 0), UPSTREAM(max_concurrent),
     .help = "Calls at once, of each worker; further ones wait their turn."},
    {"credential", OPTION_SECRET, OPTION_MASKED, FIELD(struct upstream_section, credential),
     .help = "What Refrain itself proves who it is with: its API key. Goes in place of every credential that "
             "requests bring, which then are those of `clients`. Read anew on SIGHUP. See docs/clients.md."},
    {"credential_header", OPTION_ENUM, 0, "authorization", .choices = credential_headers,
     FIELD(struct upstream_section, credential_header),
     .help =
         "Where the upstream looks for it: `authorization` is `Authorization: Bearer …` (OpenAI and most), "
         "`x-api-key` is Anthropic's, `api-key` Azure's, `x-goog-api-key` Google's."},
    {"control_headers", OPTION_ENUM, 0, "strip", .choices = control_headers,
     FIELD(struct upstream_section, control_headers),
     .help = "`pass`: headers by which requests steer another gateway's cache (`cf-aig-*`, "
             "`Helicone-Cache-*` and so "
             "on) go on to this upstream, because it is that gateway; Refrain heeds them all the same. "
             "`Refrain-*` "
             "never goes on."},
    {"headers.add", OPTION_HEADERS, OPTION_MASKED, UPSTREAM(headers_add),
     .help = "Headers to set on what is forwarded, replacing the client's: `{Name: value}`."},
    {"headers.remove", OPTION_NAMES, OPTION_FIELDS, UPSTREAM(headers_remove),
     .help = "Headers of the client's to leave out."},
    BREAKER_OPTIONS(BREAKER_OF_ONE),
    {"retries.max", OPTION_COUNT, 0, "1", RANGE(0, 10), RETRY(retry.max),
     .help = "How often a request is sent once more, when nothing of an answer has been passed on."},
    {"retries.retry_on", OPTION_LIST, OPTION_ONE_OR_MANY, "connect", RETRY(retry_on),
     .help =
         "After what: `connect` (no byte of it was sent), `reset` (sent, and the connection ended without an "
         "answer), `timeout` (sent, and no answer in time), `429`, `502`, `503`, `504`. All but `connect` "
         "may "
         "be billed twice, and SDKs ask again by themselves. Bodies that are streamed through are sent "
         "once."},
    {"retries.budget", OPTION_DECIMAL, 0, "0.1", RANGE(0, 1000), RETRY(retry.budget_permille),
     .help = "The share of requests that may be sent once more, beside one a second, so that retries never "
             "multiply a storm."},
    {"retries.backoff", OPTION_MS, 0, "100ms", RANGE(1, DAY), RETRY(retry.backoff_ms),
     .help = "The wait before the first further try, less up to a half by chance; it doubles with each."},
    {"retries.max_backoff", OPTION_MS, 0, "10s", RANGE(1, DAY), RETRY(retry.backoff_ms_max),
     .help = "The longest wait. Upstream's Retry-After is obeyed up to it; an answer that asks for more is "
             "passed "
             "on."},
};

const struct option_section upstreams_section = {SECTION_NAMED,
                                                 "upstreams",
                                                 upstream_rows,
                                                 ARRAY_LEN(upstream_rows),
                                                 sizeof(struct upstream_section),
                                                 offsetof(struct config, upstreams),
                                                 offsetof(struct config, upstreams_n),
                                                 offsetof(struct upstream_section, conf.name),
                                                 NULL,
                                                 false};

static const struct option_row route_rows[] = {
    {"path", OPTION_PREFIX, OPTION_REQUIRED, ROUTE(path), .help = "What a request's path begins with."},
    {"upstream", OPTION_NAME, 0, NULL, ROUTE(upstream),
     .help = "Name of the upstream; the only one, when there is one."},
    {"strip_prefix", OPTION_BOOL, 0, "false", ROUTE(strip_prefix),
     .help = "Take `path` off before the request goes on."},
    {"ttl", OPTION_SECONDS, 0, "off", RANGE(1, YEAR_S), WORD("off", 0), ROUTE(ttl_s),
     .help = "Lifetime of answers to GET that tell none of their own."},
    {"heuristic", OPTION_BOOL, 0, "false", ROUTE(heuristic),
     .help =
         "Give answers to GET that tell no lifetime, and have Last-Modified, a tenth of the time since then; "
         "a day at most."},
    {"stale_while_revalidate", OPTION_SECONDS, 0, "inherit", RANGE(0, YEAR_S), WORD("inherit", STALE_INHERIT),
     ROUTE(stale_while_revalidate_s), .help = "Of this route, in place of `cache.stale_while_revalidate`."},
    {"stale_if_error", OPTION_SECONDS, 0, "inherit", RANGE(0, YEAR_S), WORD("inherit", STALE_INHERIT),
     ROUTE(stale_if_error_s), .help = "Of this route, in place of `cache.stale_if_error`."},
};

const struct option_section routes_section = {SECTION_LIST,
                                              "routes",
                                              route_rows,
                                              ARRAY_LEN(route_rows),
                                              sizeof(struct route_conf),
                                              offsetof(struct config, routes),
                                              offsetof(struct config, routes_n),
                                              0,
                                              NULL,
                                              false};

#define GLOBS OPTION_LIST, OPTION_ONE_OR_MANY, NULL

static const struct option_row rule_rows[] = {
    {"match.path", GLOBS, RULE(match.paths),
     .help = "Globs for the request's path, as the client sent it, without query: `/v1/*`. `*` is any text, "
             "`?` any "
             "one byte; one of several must match."},
    {"match.model", GLOBS, RULE(match.models), .help = "Globs for the model: `gpt-4o*`."},
    {"match.operation", GLOBS, RULE(match.operations),
     .help = "Operations, shipped ones or those under `operations`."},
    {"match.header", OPTION_HEADERS, 0, NULL, RULE(match.headers),
     .help = "Globs for request headers, `{X-Plan: gold*}`; all of them must match. `*`: it is there."},
    {"match.stream", OPTION_MAYBE, 0, "any", WORD("any", MAYBE_UNSAID), RULE(match.stream),
     .help = "Whether the request asks for a stream."},
    {"match.temperature_above", OPTION_DECIMAL, 0, "any", RANGE(0, 1000 * 1000), WORD("any", RANGE_ANY),
     RULE(match.temperature_above),
     .help = "A request that gives no temperature has 1, which is what the APIs take then; embeddings and "
             "the like "
             "have none."},
    {"match.temperature_below", OPTION_DECIMAL, 0, "any", RANGE(0, 1000 * 1000), WORD("any", RANGE_ANY),
     RULE(match.temperature_below), .help = "The same, from the other side."},
    {"match.prompt", OPTION_ENUM, 0, "any", .choices = prompt_sizes, RULE(match.prompt),
     .help =
         "Size of the prompt: `small` is under 500 characters, `medium` under 5000, `large` under 50000."},
    {"match.prompt_above", OPTION_COUNT, 0, "any", WORD("any", RANGE_ANY), RULE(match.prompt_above),
     .help = "Characters of the prompt."},
    {"match.prompt_below", OPTION_COUNT, 0, "any", WORD("any", RANGE_ANY), RULE(match.prompt_below),
     .help = "Characters of the prompt."},
    {"match.messages_above", OPTION_COUNT, 0, "any", WORD("any", RANGE_ANY), RULE(match.messages_above),
     .help = "Number of messages."},
    {"match.messages_below", OPTION_COUNT, 0, "any", WORD("any", RANGE_ANY), RULE(match.messages_below),
     .help = "Number of messages."},
    {"cache", OPTION_ENUM, 0, "unset", .choices = rule_caches, RULE(cache),
     .help = "`off`: the request passes by the cache; `read-only`: its answer is not stored; `write-only`: "
             "it is not "
             "answered from the store. A request may ask for less, never for more."},
    {"ttl", OPTION_SECONDS, OPTION_UNSAID, NULL, RANGE(1, YEAR_S), WORD("none", TTL_NONE), RULE(ttl_s),
     .help = "Lifetime; `none`: no end. On GET, where the answer tells none of its own."},
    {"tags", OPTION_LIST, OPTION_ONE_OR_MANY, NULL, RULE(tags),
     .help = "Tags of what is stored, beside those of the request; tags of all rules that match add up."},
    {"namespace", OPTION_NAME, 0, NULL, RULE(namespace_), .help = "Namespace, where the request names none."},
    {"scope", OPTION_LIST, OPTION_ONE_OR_MANY, NULL, RULE(scope_headers),
     .help = "Who shares these entries, in place of `cache.scope`."},
    {"variants", OPTION_COUNT, OPTION_UNSAID, NULL, RANGE(1, 64), RULE(variants),
     .help = "Keep up to so many different answers and pick one at random."},
    {"stale_while_revalidate", OPTION_SECONDS, 0, "unset", RANGE(0, YEAR_S), WORD("unset", RANGE_ANY),
     RULE(stale_while_revalidate_s),
     .help = "How long behind its lifetime an answer is given while a new one is asked for."},
    {"stale_if_error", OPTION_SECONDS, 0, "unset", RANGE(0, YEAR_S), WORD("unset", RANGE_ANY),
     RULE(stale_if_error_s), .help = "How long behind its lifetime an answer is given when upstream fails."},
    {"usage_on_hit", OPTION_ENUM, 0, "unset", .choices = rule_usages, RULE(usage_on_hit),
     .help = "In place of `cache.usage_on_hit`."},
    {"server_tools", OPTION_MAYBE, 0, "unset", WORD("unset", MAYBE_UNSAID), RULE(server_tools),
     .help =
         "Cache requests with tools that run at the provider, such as web search; by default they pass by."},
};

const struct option_section rules_section = {SECTION_LIST,
                                             "rules",
                                             rule_rows,
                                             ARRAY_LEN(rule_rows),
                                             sizeof(struct rule_conf),
                                             offsetof(struct config, rules),
                                             offsetof(struct config, rules_n),
                                             0,
                                             NULL,
                                             false};

static const struct option_row event_rule_rows[] = {
    {"event", OPTION_LIST, OPTION_ONE_OR_MANY | OPTION_REQUIRED, NULL, EVENT_RULE(events),
     .help = "Globs for the event's type: `document.*`."},
    {"tags", OPTION_LIST, OPTION_ONE_OR_MANY, NULL, EVENT_RULE(tags),
     .help = "Tags whose entries go; `{field}` stands for what the event's payload says: `doc-{id}`."},
    {"patterns", OPTION_LIST, OPTION_ONE_OR_MANY, NULL, EVENT_RULE(patterns),
     .help =
         "Globs over NAMESPACE:OPERATION:MODEL:HEX. What a field says may hold no wildcard and no colon."},
    {"models", OPTION_LIST, OPTION_ONE_OR_MANY, NULL, EVENT_RULE(models),
     .help = "Globs for models whose entries go. What a field says may hold no wildcard."},
    {"operations", OPTION_LIST, OPTION_ONE_OR_MANY, NULL, EVENT_RULE(operations),
     .help = "Operations whose entries go."},
    {"namespace", OPTION_TEXT, 0, NULL, EVENT_RULE(namespace_),
     .help = "Namespace that all of these are meant in; alone, all that is in it goes."},
    {"all", OPTION_BOOL, 0, "false", EVENT_RULE(all), .help = "Everything goes."},
};

const struct option_section event_rules_section = {SECTION_LIST,
                                                   "event_rules",
                                                   event_rule_rows,
                                                   ARRAY_LEN(event_rule_rows),
                                                   sizeof(struct event_rule_conf),
                                                   offsetof(struct config, event_rules),
                                                   offsetof(struct config, event_rules_n),
                                                   0,
                                                   NULL,
                                                   false};

static const struct option_row client_rows[] = {
    {"token_sha256", OPTION_LIST, OPTION_ONE_OR_MANY | OPTION_REQUIRED | OPTION_MASKED, NULL,
     CLIENT(token_sha256),
     .help = "SHA-256 of its token, as 64 hexadecimal digits; several while one takes over from another. "
             "`refrain clients new NAME` makes a token and this."},
    {"scope", OPTION_NAME, 0, NULL, CLIENT(scope),
     .help =
         "Whom it shares answers with: those of the same name here. By default nobody, unless `cache.scope` "
         "or a rule says `shared`; `shared`: all that are shared."},
    {"namespace", OPTION_NAME, 0, NULL, CLIENT(namespace_),
     .help =
         "Namespace that all its entries lie in, whatever requests and rules say; no client without it may "
         "name it."},
    {"requests_per_minute", OPTION_COUNT, 0, "off", RANGE(1, CLIENT_RATE_MAX), WORD("off", 0),
     CLIENT(requests_per_minute),
     .help = "More are answered 429. A minute's may come at once. Of this instance, not of all."},
    {"max_concurrent", OPTION_COUNT, 0, "off", RANGE(1, 1000000), WORD("off", 0), CLIENT(max_concurrent),
     .help = "Requests under way at the same time; one more is answered 429. Of this instance, not of all."},
    {"limit_hits", OPTION_BOOL, 0, "true", CLIENT(limit_hits),
     .help = "Whether what is answered from the store counts in `requests_per_minute`, too."},
};

const struct option_section clients_section = {SECTION_NAMED,
                                               "clients",
                                               client_rows,
                                               ARRAY_LEN(client_rows),
                                               sizeof(struct client_section),
                                               offsetof(struct config, clients),
                                               offsetof(struct config, clients_n),
                                               offsetof(struct client_section, name),
                                               NULL,
                                               true};

static const struct option_row operation_rows[] = {
    {"path", GLOBS, OPERATION(paths),
     .help =
         "Globs for the path of POST requests that are of this kind, as the client sends it, without query."},
    {"model", GLOBS, OPERATION(models), .help = "Globs for the model of requests that are of this kind."},
    {"dialect", OPTION_NAME, 0, NULL, OPERATION(dialect),
     .help = "Shipped operation whose bodies, streams and errors it has. By default what its path is known "
             "for, else "
             "plain JSON, of which nothing is dropped, defaulted or ignored."},
    {"ttl", OPTION_SECONDS, OPTION_UNSAID, NULL, RANGE(1, YEAR_S), WORD("none", TTL_NONE), OPERATION(ttl_s),
     .help = "Lifetime; `none`: no end."},
    {"tags", OPTION_LIST, OPTION_ONE_OR_MANY, NULL, OPERATION(tags), .help = "Tags of what is stored."},
};

const struct option_section operations_section = {SECTION_NAMED,
                                                  "operations",
                                                  operation_rows,
                                                  ARRAY_LEN(operation_rows),
                                                  sizeof(struct operation_conf),
                                                  offsetof(struct config, operations),
                                                  offsetof(struct config, operations_n),
                                                  offsetof(struct operation_conf, name),
                                                  NULL,
                                                  false};

/* A million dollars a million tokens, in 1e-12 dollars a token. */
#define PRICE_MAX INT64_C(1000000000000)

static const struct option_row price_rows[] = {
    {"model", OPTION_LIST, OPTION_ONE_OR_MANY | OPTION_REQUIRED, NULL, PRICE(models),
     .help = "Globs for the model, as requests name it: `gpt-4o*`. Where `pricing` is written as a map, its "
             "names."},
    {"input", OPTION_DOLLARS, OPTION_REQUIRED, NULL, RANGE(0, PRICE_MAX), PRICE(in_pico),
     .help = "Dollars for a million tokens of input."},
    {"cached_input", OPTION_DOLLARS, 0, "input", RANGE(0, PRICE_MAX), WORD("input", PRICE_OF_INPUT),
     PRICE(cached_pico),
     .help = "Dollars for a million tokens of input that upstream had in its own prompt cache; `input`: as "
             "the rest."},
    {"cache_write", OPTION_DOLLARS, 0, "input", RANGE(0, PRICE_MAX), WORD("input", PRICE_OF_INPUT),
     PRICE(write_pico),
     .help = "Dollars for a million tokens of input that upstream wrote into it, where it charges for that "
             "(Anthropic)."},
    {"output", OPTION_DOLLARS, 0, "0", RANGE(0, PRICE_MAX), PRICE(out_pico),
     .help = "Dollars for a million tokens of output."},
};

const struct option_section pricing_section = {SECTION_LIST,
                                               "pricing",
                                               price_rows,
                                               ARRAY_LEN(price_rows),
                                               sizeof(struct price_conf),
                                               offsetof(struct config, pricing),
                                               offsetof(struct config, pricing_n),
                                               0,
                                               "model",
                                               false};
