/* config: who goes before whom, what the short forms stand for, and what exactly is said of what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "config_show.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"

/* Each test runs in a directory of its own, so that files have short names in messages. */
static int enter(void **state)
{
    static char dir[32];

    strcpy(dir, "/tmp/test_config_XXXXXX");
    *state = mkdtemp(dir);
    return *state ? chdir(dir) : -1;
}

static int leave(void **state)
{
    char command[64];

    (void)snprintf(command, sizeof(command), "rm -r %s", (const char *)*state);
    return chdir("/") < 0 || system(command) != 0; /* NOLINT(cert-env33-c): a name that we made */
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "we");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(name, 0600), 0);
}

#define ENV(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define FLAGS(...)                                                                                           \
    .flags = (struct config_flag[]){__VA_ARGS__}, .flags_n = ARRAY_LEN(((struct config_flag[]){__VA_ARGS__}))
#define SET(name, text)                                                                                      \
    {                                                                                                        \
        name, text, "--set " name                                                                            \
    }

static struct config *good(struct config_sources sources)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;
    struct config *conf = NULL;

    if (config_load(&sources, &conf, &report) != 0)
        fail_msg("refused: %s", report.faults[0].text);
    return conf;
}

static void free_config(struct config **conf)
{
    config_free(*conf);
}

static void done_text(char **text)
{
    free(*text);
}

/* All that is said, a line each, warnings marked. The caller frees it. */
static char *said(struct config_sources sources)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;
    struct buf out = BUF_INIT(1 << 20);
    struct config *conf = NULL;
    int r = config_load(&sources, &conf, &report);

    assert_int_equal(r, report.errors_n > 0 ? -EINVAL : 0);
    config_free(conf);
    for (size_t i = 0; i < report.n; i++)
        assert_int_equal(
            buf_addf(&out, "%s%s\n", report.faults[i].warning ? "W " : "", report.faults[i].text), 0);
    assert_int_equal(buf_add_byte(&out, '\0'), 0);
    return out.data;
}

static void one_url_is_enough(void **state)
{
    AUTO(free_config)
    struct config *c =
        good((struct config_sources){FLAGS({"upstream", "https://api.openai.com/", "--upstream"},
                                           SET("upstreams.default.first_byte_timeout", "3s"))});

    (void)state;
    assert_int_equal(c->upstreams_n, 1);
    assert_string_equal(c->upstreams[0].conf.name, "default");
    assert_string_equal(c->upstreams[0].conf.url,
                        "https://api.openai.com"); /* as struct upstream_conf wants it */
    assert_int_equal(c->upstreams[0].conf.first_byte_timeout_ms, 3000);
    assert_int_equal(c->upstreams[0].conf.connect_timeout_ms, 5000);
    assert_int_equal(c->upstreams[0].conf.idle_timeout_ms, 300000);
    assert_int_equal(c->upstreams[0].conf.total_timeout_ms, 3600000);
    assert_true(c->upstreams[0].conf.http2);
    assert_null(c->upstreams[0].conf.headers_add);
    assert_int_equal(c->routes_n, 1);
    assert_string_equal(c->routes[0].path, "/");
    assert_string_equal(c->routes[0].upstream, "default");
    assert_string_equal(c->listen.address, "127.0.0.1:8080");
    assert_int_equal(c->listen.workers, 0);
    assert_int_equal(c->listen.header_bytes_max, 24 << 10);
    assert_int_equal(c->tiers.memory.bytes_max, 500 << 20);
    assert_int_equal(c->cache.scope, SCOPE_CREDENTIAL);
    assert_int_equal(c->cache.scope_headers.n, 0);
    assert_int_equal(c->cache.default_ttl_s, 3600);
    assert_int_equal(c->log.conf.level, LOG_INFO);
    assert_int_equal(c->log.conf.format, LOG_JSON);
}

static const char full_yaml[] =
    "# everything there is\n"
    "listen: {address: '[::1]:9000', workers: 3, max_body_bytes: 1MiB, max_connections_per_address: 10}\n"
    "admin: {address: 127.0.0.1:9181, token_file: token}\n"
    "upstreams:\n"
    "  openai:\n"
    "    url: https://api.openai.com/v1\n"
    "    max_concurrent: 64\n"
    "    http2: no\n"
    "    headers:\n"
    "      add: {Authorization: \"Bearer ${OPENAI_KEY}\", X-Cost: '$${x}'}\n"
    "      remove: [Cookie, X-Debug]\n"
    "  anthropic: {url: https://api.anthropic.com, proxy: 'socks5h://me:secret@127.0.0.1:1080'}\n"
    "routes:\n"
    "  - {path: /anthropic/, upstream: anthropic, strip_prefix: true}\n"
    "  - path: /\n"
    "    upstream: openai\n"
    "    ttl: 5m\n"
    "cache:\n"
    "  default_ttl: none\n"
    "  ttl: {chat: 10m, embedding: 30d}\n"
    "  scope: [X-Team, X-User]\n"
    "  state_dir: \"${STATE:-/tmp/state}\"\n"
    "key: {ignore_fields: [metadata.trace, seed]}\n"
    "tiers: {memory: {max_bytes: 64MiB, eviction: sieve, max_entries: 1000}}\n"
    "coalescing: {on_abandon: finish}\n"
    "redact:\n"
    "  headers: [X-Billing]\n"
    "log: {format: text, level: debug, requests: off, file: refrain.log}\n";

static void a_file_sets_everything(void **state)
{
    write_file("c.yaml", full_yaml);
    write_file("token", "  0123456789abcdef\n");
    AUTO(free_config)
    struct config *c = good((struct config_sources){.file = "c.yaml", .env = ENV("OPENAI_KEY=sk-1")});

    (void)state;
    assert_string_equal(c->listen.address, "[::1]:9000");
    assert_int_equal(c->listen.workers, 3);
    assert_int_equal(c->listen.body_bytes_max, 1 << 20);
    assert_int_equal(c->listen.connections_per_address_max, 10);
    assert_string_equal(c->admin.token.text, "0123456789abcdef");
    assert_string_equal(c->admin.token.file, "token");
    assert_int_equal(c->upstreams_n, 2);
    assert_string_equal(c->upstreams[0].conf.name, "openai");
    assert_int_equal(c->upstreams[0].conf.max_concurrent, 64);
    assert_false(c->upstreams[0].conf.http2);
    assert_string_equal(c->upstreams[0].conf.headers_add[0], "Authorization: Bearer sk-1");
    assert_string_equal(c->upstreams[0].conf.headers_add[1], "X-Cost: ${x}");
    assert_null(c->upstreams[0].conf.headers_add[2]);
    assert_string_equal(c->upstreams[0].conf.headers_remove[1], "X-Debug");
    assert_null(c->upstreams[0].conf.headers_remove[2]);
    assert_string_equal(c->upstreams[1].conf.proxy, "socks5h://me:secret@127.0.0.1:1080");
    assert_int_equal(c->routes_n, 2);
    assert_string_equal(c->routes[0].path, "/anthropic/");
    assert_int_equal(c->routes[0].upstream_at, 1);
    assert_true(c->routes[0].strip_prefix);
    assert_int_equal(c->routes[1].upstream_at, 0);
    assert_int_equal(c->routes[1].ttl_s, 300);
    assert_int_equal(c->cache.default_ttl_s, TTL_NONE);
    assert_int_equal(config_ttl_s(c, "chat"), 600);
    assert_int_equal(config_ttl_s(c, "embedding"), 30 * 86400);
    assert_int_equal(config_ttl_s(c, "messages"), TTL_NONE);
    assert_int_equal(c->cache.scope, SCOPE_HEADERS);
    assert_int_equal(c->cache.scope_headers.n, 2);
    assert_string_equal(c->cache.scope_headers.at[1].data, "X-User");
    assert_string_equal(c->cache.state_dir, "/tmp/state");
    assert_string_equal(c->key.ignore_fields.at[0].data, "metadata.trace");
    assert_int_equal(c->tiers.memory.eviction, EVICT_SIEVE);
    assert_int_equal(c->tiers.memory.entries_max, 1000);
    assert_int_equal(c->coalescing.on_abandon, ABANDON_FINISH);
    assert_string_equal(c->redact.headers.at[0].data, "X-Billing");
    assert_int_equal(c->log.conf.format, LOG_TEXT);
    assert_int_equal(c->log.conf.level, LOG_DEBUG);
    assert_false(c->log.requests);
    assert_string_equal(c->log.conf.file, "refrain.log");
}

static void json_is_the_same_schema(void **state)
{
    write_file("c.json",
               "{\n \"upstreams\": {\"a\": {\"url\": \"http://127.0.0.1:1\", \"headers\": {\"add\": {\"X\": "
               "\"\\u00e9 \\\"q\\\"\"}}}},\n"
               " \"listen\": {\"workers\": 2, \"max_body_bytes\": 1000, \"idle_timeout\": \"5s\"},\n"
               " \"log\": {\"requests\": false}, \"key\": {\"ignore_fields\": [\"a\", \"b\"]}}\n");
    AUTO(free_config) struct config *c = good((struct config_sources){.file = "c.json"});

    (void)state;
    assert_int_equal(c->listen.workers, 2);
    assert_int_equal(c->listen.body_bytes_max, 1000);
    assert_int_equal(c->listen.idle_timeout_ms, 5000);
    assert_false(c->log.requests);
    assert_int_equal(c->key.ignore_fields.n, 2);
    assert_string_equal(c->upstreams[0].conf.headers_add[0], "X: \xC3\xA9 \"q\"");
    assert_string_equal(c->routes[0].upstream, "a"); /* the only one gets everything */
}

static void each_source_goes_before_the_next(void **state)
{
    static const struct {
        const char *why, *file, *env, *flag;
        int64_t want;
    } cases[] = {
        {"built-in", "", NULL, NULL, 3600},
        {"preset before built-in", "preset: production\n", NULL, NULL, 7200},
        {"file before preset", "preset: production\ncache: {default_ttl: 1m}\n", NULL, NULL, 60},
        {"environment before file", "cache: {default_ttl: 1m}\n", "REFRAIN_CACHE__DEFAULT_TTL=2m", NULL, 120},
        {"the customary name, too", "cache: {default_ttl: 1m}\n", "CACHE_TTL=900", NULL, 900},
        {"there and empty: not given", "cache: {default_ttl: 1m}\n", "CACHE_TTL=", NULL, 60},
        {"flag before environment", "", "REFRAIN_CACHE__DEFAULT_TTL=2m", "3m", 180},
        {"a preset by environment", "", "REFRAIN_PRESET=testing", NULL, 300},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_flag flags[] = {{"upstream", "http://127.0.0.1:1", "--upstream"},
                                      {"cache.default_ttl", cases[i].flag, "--set cache.default_ttl"}};

        write_file("c.yaml", cases[i].file);
        AUTO(free_config)
        struct config *c = good((struct config_sources){
            .file = "c.yaml", .env = ENV(cases[i].env), .flags = flags, .flags_n = cases[i].flag ? 2 : 1});

        if (c->cache.default_ttl_s != cases[i].want)
            fail_msg("%s: got %lld", cases[i].why, (long long)c->cache.default_ttl_s);
    }
}

static void our_own_name_goes_before_the_customary_one(void **state)
{
    AUTO(free_config)
    struct config *c = good((struct config_sources){
        .env = ENV("REFRAIN_UPSTREAM=http://127.0.0.1:1", "REFRAIN_CACHE__DEFAULT_TTL=2m", "CACHE_TTL=900")});

    (void)state;
    assert_int_equal(c->cache.default_ttl_s, 120);
}

static void lists_and_maps_have_forms_for_one_line(void **state)
{
    AUTO(free_config)
    struct config *c = good((struct config_sources){
        .env = ENV("REFRAIN_UPSTREAMS__A__URL=http://127.0.0.1:1", "REFRAIN_KEY__IGNORE_FIELDS=a, b.c"),
        FLAGS(SET("routes", "[{path: /x/, upstream: a}, {path: /}]"), SET("redact.headers", "[X-A, X-B]"),
              SET("upstreams.a.headers.add", "{X-C: '1'}"), SET("upstreams.a.headers.add.X-D", "2"),
              SET("cache.ttl.chat", "5m"), SET("cache.scope", "X-Team,X-User"))});

    (void)state;
    assert_int_equal(c->routes_n, 2);
    assert_string_equal(c->routes[0].path, "/x/");
    assert_string_equal(c->routes[1].upstream, "a");
    assert_int_equal(c->redact.headers.n, 2);
    assert_int_equal(c->key.ignore_fields.n, 2);
    assert_string_equal(c->key.ignore_fields.at[1].data, "b.c");
    assert_string_equal(c->upstreams[0].conf.headers_add[0], "X-C: 1");
    assert_string_equal(c->upstreams[0].conf.headers_add[1], "X-D: 2");
    assert_int_equal(config_ttl_s(c, "chat"), 300);
    assert_int_equal(c->cache.scope_headers.n, 2);
}

static void the_one_upstream_form_joins_others(void **state)
{
    write_file("c.yaml", "upstreams: {b: {url: http://127.0.0.1:2}, default: {url: http://127.0.0.1:3}}\n"
                         "routes: [{path: /b/, upstream: b}]\n");
    AUTO(free_config)
    struct config *c = good(
        (struct config_sources){.file = "c.yaml", FLAGS({"upstream", "http://127.0.0.1:1", "--upstream"})});

    (void)state;
    assert_int_equal(c->upstreams_n, 2);
    assert_string_equal(c->upstreams[1].conf.url, "http://127.0.0.1:1"); /* a flag before a file */
    assert_int_equal(c->routes_n, 2);
    assert_string_equal(c->routes[1].upstream, "default");
}

static void foreign_names_in_the_environment_are_left_alone(void **state)
{
    AUTO(free_config)
    struct config *c =
        good((struct config_sources){.env = ENV("REFRAIN_UPSTREAM=http://127.0.0.1:1",
                                                "REFRAIN_PORT=tcp://10.0.0.1:80", "REFRAIN_BIN=x", "X=1")});

    (void)state;
    assert_non_null(c);
}

static void the_file_may_be_named_in_the_environment(void **state)
{
    write_file("named.yaml", "upstream: http://127.0.0.1:1\nlisten: {workers: 5}\n");
    AUTO(free_config)
    struct config *c = good((struct config_sources){.env = ENV("REFRAIN_CONFIG=named.yaml")});

    (void)state;
    assert_int_equal(c->listen.workers, 5);
}

#define UP "upstream: http://127.0.0.1:1\n"

/* What is said, exactly. */
static void rules_and_operations_are_read(void **state)
{
    write_file("c.yaml",
               UP "rules:\n"
                  "  - {match: {operation: chat, temperature_above: 1.0}, cache: off}\n"
                  "  - match: {path: [/a*, /b], model: gpt*, header: {X-Plan: 'gold: *'}, stream: yes}\n"
                  "    ttl: none\n"
                  "    scope: shared\n"
                  "    stale_if_error: 1d\n"
                  "    tags: [a, b]\n"
                  "operations:\n"
                  "  summarize: {tags: s}\n"
                  "  mine: {path: /mine, dialect: messages, ttl: 5m}\n");
    AUTO(free_config) struct config *c = good((struct config_sources){.file = "c.yaml"});
    const struct rule_conf *r = c->rules;

    (void)state;
    assert_int_equal(c->rules_n, 2);
    assert_string_equal(r[0].match.operations.at[0].data, "chat");
    assert_int_equal(r[0].match.temperature_above, 1000);
    assert_int_equal(r[0].match.temperature_below, RANGE_ANY);
    assert_int_equal(r[0].match.stream, MAYBE_UNSAID);
    assert_int_equal(r[0].cache, CACHE_OFF);
    assert_int_equal(r[0].ttl_s, 0);
    assert_int_equal(r[0].stale_if_error_s, RANGE_ANY);
    assert_false(r[0].scope_given);
    assert_int_equal(r[1].match.paths.n, 2);
    assert_string_equal(r[1].match.models.at[0].data, "gpt*");
    assert_string_equal(r[1].match.headers[0], "X-Plan: gold: *");
    assert_int_equal(r[1].match.stream, MAYBE_YES);
    assert_int_equal(r[1].cache, CACHE_UNSAID);
    assert_int_equal(r[1].ttl_s, TTL_NONE);
    assert_true(r[1].scope_given && r[1].scope == SCOPE_SHARED);
    assert_int_equal(r[1].stale_if_error_s, 86400);
    assert_int_equal(r[1].tags.n, 2);
    assert_int_equal(config_operation(c, "summarize")->ttl_s, 7200); /* as shipped, with what is added */
    assert_int_equal(config_operation(c, "summarize")->tags.n, 1);
    assert_int_equal(config_operation(c, "sentiment")->ttl_s, 86400);
    assert_int_equal(config_operation(c, "qa")->ttl_s, 1800);
    assert_string_equal(config_operation(c, "mine")->dialect, "messages");
    assert_null(config_operation(c, "chat"));
}

static void faults_say_where_what_and_what_was_expected(void **state)
{
    static const struct {
        const char *why, *file, *text, *want;
    } cases[] = {
        {"a slip in a name", "c.yaml", UP "tiers:\n  memory:\n    max_byts: 1GiB\n",
         "c.yaml:4: tiers.memory.max_byts: no such option; did you mean max_bytes?\n"},
        {"instances that could not find each other", "c.yaml", UP "coalescing: {cluster: true}\n",
         "c.yaml:2: coalescing.cluster: instances find each other by Redis: tiers.redis.url\n"},
        {"a slip in a group", "c.yaml", UP "lsiten: {workers: 1}\n",
         "c.yaml:2: lsiten: no such option; did you mean listen?\n"},
        {"the right name in the wrong place", "c.yaml", UP "cache: {eviction: lru}\n",
         "c.yaml:2: cache.eviction: no such option; did you mean tiers.memory.eviction?\n"},
        {"a slip in what a rule matches", "c.yaml", UP "rules:\n  - {match: {modle: gpt*}, ttl: 1h}\n",
         "c.yaml:3: rules[0].match.modle: no such option; did you mean model?\n"},
        {"a match outside of it", "c.yaml", UP "rules: [{model: gpt*, ttl: 1h}]\n",
         "c.yaml:2: rules[0].model: no such option; did you mean rules[].match.model?\n"},
        {"an operation that there is none of", "c.yaml",
         UP "rules: [{match: {operation: [chta, sumarize]}, ttl: 1h}]\n",
         "c.yaml:2: rules[0].match.operation: no operation is named chta; did you mean chat?\n"
         "c.yaml:2: rules[0].match.operation: no operation is named sumarize; did you mean summarize?\n"},
        {"a dialect that there is none of", "c.yaml", UP "operations: {mine: {dialect: mesages}}\n",
         "c.yaml:2: operations.mine.dialect: no operation is named mesages; did you mean messages?\n"},
        {"a name that is taken", "c.yaml", UP "operations: {chat: {ttl: 1h}}\n",
         "c.yaml:2: operations.chat.ttl: this operation is a shipped one; its lifetime is set by cache.ttl, "
         "anything else by rules\n"},
        {"no truth", "c.yaml", UP "rules: [{match: {stream: maybe}, ttl: 1h}]\n",
         "c.yaml:2: rules[0].match.stream: expected true, false, or any, got maybe\n"},
        {"no tag", "c.yaml", UP "rules: [{tags: [a b]}]\n",
         "c.yaml:2: rules[0].tags: a tag is 1 to 64 of: A-Z a-z 0-9 . _ - : / @ + =, got a b\n"},
        {"a lifetime of over a year", "c.yaml", UP "rules: [{ttl: 400d}]\n",
         "c.yaml:2: rules[0].ttl: expected a time such as 90s, 2h or 7d from 1s to 365d, or none, got "
         "400d\n"},
        {"a scope that is no scope", "c.yaml", UP "rules: [{scope: [shared, X-A]}]\n",
         "c.yaml:2: rules[0].scope: expected credential, shared or a list of header names, got shared\n"},
        {"a key too short", "c.yaml", UP "encryption: {key: 0123456789abcdef}\n",
         "c.yaml:2: encryption.key: in line 1: expected keys of 32 bytes, as 64 hexadecimal digits or as "
         "base64; `openssl rand -hex 32` makes one\n"},
        {"no regular expression", "c.yaml", UP "redact: {patterns: ['good', 'cust(']}\n",
         "c.yaml:2: redact.patterns: cust(: no regular expression: behind 5 bytes, missing closing "
         "parenthesis\n"},
        {"a pattern for everything", "c.yaml", UP "redact: {patterns: 'x*'}\n",
         "c.yaml:2: redact.patterns: x*: no regular expression: behind 0 bytes, it matches the empty text\n"},
        {"a key of comments", "c.yaml", UP "encryption: {key: '# none'}\n",
         "c.yaml:2: encryption.key: there is no key in it\n"},
        {"a level that there is none of", "c.yaml", UP "compression: {level: 10}\n",
         "c.yaml:2: compression.level: expected a whole number from 1 to 9, or off, got 10\n"},
        {"a scope that nearly is one", "c.yaml", UP "cache: {scope: credentials}\n",
         "c.yaml:2: cache.scope: credentials would be the header that tells callers apart; did you mean "
         "credential?\n"},
        {"a scope in another case", "c.yaml", UP "rules: [{scope: Shared}]\n",
         "c.yaml:2: rules[0].scope: Shared would be the header that tells callers apart; did you mean "
         "shared?\n"},
        {"a path without its slash", "c.yaml",
         UP "rules: [{match: {path: [v1/x, '*/y', /z]}, ttl: 1h}]\noperations: {mine: {path: v1/mine}}\n",
         "W c.yaml:2: rules[0].match.path: v1/x matches nothing, since a path begins with /\n"
         "W c.yaml:3: operations.mine.path: v1/mine matches nothing, since a path begins with /\n"},
        {"a rule that says nothing", "c.yaml", UP "rules: [{match: {operation: chat}}]\n",
         "W c.yaml:2: rules[0]: the rule says nothing of the requests that it matches\n"},
        {"a rule that never matches", "c.yaml",
         UP "rules: [{match: {prompt_above: 9, prompt_below: 9}, ttl: 1h}]\n",
         "W c.yaml:2: rules[0].match.prompt_below: nothing is above the one and below the other: the rule "
         "never "
         "matches\n"},
        {"a name like no other", "c.yaml", UP "cache: {zzzzzz: 1}\n",
         "c.yaml:2: cache.zzzzzz: no such option\n"},
        {"a slip in an upstream's option", "c.yaml",
         "upstreams:\n  a: {url: http://127.0.0.1:1, conect_timeout: 1s}\n",
         "c.yaml:2: upstreams.a.conect_timeout: no such option; did you mean connect_timeout?\n"},
        {"a slip in a secret's file", "c.yaml", UP "admin: {token_fil: x}\n",
         "c.yaml:2: admin.token_fil: no such option; did you mean token_file?\n"},
        {"not a size", "c.yaml", UP "tiers: {memory: {max_bytes: lots}}\n",
         "c.yaml:2: tiers.memory.max_bytes: expected a size such as 500MiB from 4MiB to 16TiB, got lots\n"},
        {"out of range", "c.yaml", UP "listen: {workers: 1000}\n",
         "c.yaml:2: listen.workers: expected a whole number from 1 to 256, or auto, got 1000\n"},
        {"a number in quotes", "c.yaml", UP "listen: {workers: '3'}\n",
         "c.yaml:2: listen.workers: expected a whole number from 1 to 256, or auto, got the text \"3\"\n"},
        {"a truth in quotes", "c.yaml", UP "log: {requests: \"true\"}\n",
         "c.yaml:2: log.requests: expected true or false, got the text \"true\"\n"},
        {"not a time", "c.yaml", UP "listen: {idle_timeout: soon}\n",
         "c.yaml:2: listen.idle_timeout: expected a time such as 250ms, 5s or 1h from 1s to 1d, got soon\n"},
        {"not a lifetime", "c.yaml", UP "cache: {ttl: {chat: 1500ms}}\n",
         "c.yaml:2: cache.ttl.chat: expected a map of names to times such as 90s, 2h or 7d from 1s to "
         "365d, or none, "
         "got 1500ms\n"},
        {"not a choice", "c.yaml", UP "tiers: {memory: {eviction: random}}\n",
         "c.yaml:2: tiers.memory.eviction: expected one of lru, lfu, fifo and sieve, got random\n"},
        {"not a choice of a rule, which need not say that it leaves one", "c.yaml",
         UP "rules: [{cache: never}]\n",
         "c.yaml:2: rules[0].cache: expected one of on, off, read-only and write-only, got never\n"},
        {"not a time of a rule", "c.yaml", UP "rules: [{stale_if_error: soon}]\n",
         "c.yaml:2: rules[0].stale_if_error: expected a time such as 90s, 2h or 7d from 0 to 365d, got "
         "soon\n"},
        {"not a truth of a rule", "c.yaml", UP "rules: [{server_tools: maybe}]\n",
         "c.yaml:2: rules[0].server_tools: expected true or false, got maybe\n"},
        {"a client without its token is told once", "c.yaml", UP "clients: {bob: {}}\n",
         "c.yaml:2: clients.bob.token_sha256: must be given, and is not\n"},
        {"not an address", "c.yaml", UP "listen: {address: localhost}\n",
         "c.yaml:2: listen.address: expected an address such as 127.0.0.1:8080, [::1]:8080, :8080 or "
         "unix:/run/refrain.sock, got localhost\n"},
        {"not a URL", "c.yaml", "upstream: api.openai.com\n",
         "c.yaml:1: upstream: expected a URL such as https://host[:port][/path], by https or http, got "
         "api.openai.com\n"},
        {"a list for a value", "c.yaml", UP "log: {level: [info]}\n",
         "c.yaml:2: log.level: expected one of debug, info, warn and error, got a list\n"},
        {"a value for a list", "c.yaml", UP "key: {ignore_fields: seed}\n",
         "c.yaml:2: key.ignore_fields: expected a list of texts, got seed\n"},
        {"no header name", "c.yaml", UP "redact: {headers: [X-A, \"X B\"]}\n",
         "c.yaml:2: redact.headers: expected a list of header names, got the text \"X B\"\n"},
        {"a value for a group", "c.yaml", UP "tiers: 5\n",
         "c.yaml:2: tiers: expected a map of options, got a value\n"},
        {"a list for a group", "c.yaml", UP "tiers: []\n",
         "c.yaml:2: tiers: expected a map of options, got a list\n"},
        {"a map for routes", "c.yaml", UP "routes: {a: 1}\n",
         "c.yaml:2: routes: expected a list, got a map\n"},
        {"a text for a route", "c.yaml", UP "routes:\n  - /x\n",
         "c.yaml:3: routes[0]: expected a map of options, got a value\n"},
        {"nothing for a value", "c.yaml", UP "listen:\n  workers:\n",
         "c.yaml:3: listen.workers: expected a whole number from 1 to 256, or auto, got nothing\n"},
        {"a name that cannot be one", "c.yaml", "upstreams: {\"a b\": {url: http://127.0.0.1:1}}\n",
         "c.yaml:1: upstreams.a b: a name is up to 64 letters, digits, dots, underscores and dashes\n"},
        {"an upstream without its URL", "c.yaml", "upstreams:\n  a:\n    http2: false\n",
         "c.yaml:2: upstreams.a.url: must be given, and is not\n"},
        {"an upstream with a bad URL is told once", "c.yaml", "upstreams:\n  a:\n    url: x\n",
         "c.yaml:3: upstreams.a.url: expected a URL such as https://host[:port][/path], by https or http, "
         "got x\n"},
        {"a credential is not repeated", "c.yaml",
         "upstreams: {a: {url: http://127.0.0.1:1, proxy: me:secret}}\n",
         "c.yaml:1: upstreams.a.proxy: expected a URL such as http://host[:port][/path], by http, https, "
         "socks5 or socks5h, "
         "got something else\n"},
        {"a route to nowhere", "c.yaml",
         "upstreams: {openai: {url: http://127.0.0.1:1}}\nroutes:\n- {path: /, upstream: opnai}\n",
         "W c.yaml:1: upstreams.openai.url: no route leads to this upstream\n"
         "c.yaml:3: routes[0].upstream: no upstream is named opnai; did you mean openai?\n"},
        {"a route that does not say where", "c.yaml",
         "upstreams: {a: {url: http://127.0.0.1:1}, b: {url: http://127.0.0.1:2}}\nroutes:\n- {path: /}\n",
         "W c.yaml:1: upstreams.a.url: no route leads to this upstream\n"
         "W c.yaml:1: upstreams.b.url: no route leads to this upstream\n"
         "c.yaml:3: routes[0].upstream: must be given where there is not exactly one upstream\n"},
        {"several upstreams and no route", "c.yaml",
         "upstreams: {a: {url: http://127.0.0.1:1}, b: {url: http://127.0.0.1:2}}\n",
         "W c.yaml:1: upstreams.a.url: no route leads to this upstream\n"
         "W c.yaml:1: upstreams.b.url: no route leads to this upstream\n"
         "c.yaml: routes: there is none; with more than one upstream, say which path goes where\n"},
        {"admin open to others", "c.yaml", UP "admin: {address: 0.0.0.0:9180}\n",
         "c.yaml:2: admin.address: reachable from other machines, so admin.token or admin.token_file must be "
         "given\n"},
        {"admin open to others without TLS", "c.yaml",
         UP "admin: {address: \"0.0.0.0:9180\", token: 0123456789abcdef}\n",
         "W c.yaml:2: admin.address: without admin.tls, its token can be read on the way from other "
         "machines\n"},
        {"a certificate without its key", "c.yaml", UP "listen: {tls: {cert: a.pem}}\n",
         "c.yaml:2: listen.tls.key: must be given, too: a certificate and its key belong together\n"},
        {"a certificate that is not there", "c.yaml", UP "listen: {tls: {cert: nowhere, key: nowhere}}\n",
         "c.yaml:2: listen.tls.cert: nowhere: No such file or directory\n"},
        {"clients asked for certificates without TLS", "c.yaml", UP "admin: {tls: {client_ca: a.pem}}\n",
         "c.yaml:2: admin.tls.client_ca: needs admin.tls.cert and admin.tls.key: without TLS nobody is "
         "asked\n"},
        {"one address for both", "c.yaml", UP "admin: {address: 127.0.0.1:8080}\n",
         "c.yaml:2: admin.address: the same as listen.address; they need one each\n"},
        {"a part as an answer", "c.yaml", UP "validation: {statuses: [200, 206]}\n",
         "c.yaml:2: validation.statuses: 206 is a part of an answer, which is never stored\n"},
        {"an error as an answer", "c.yaml", UP "validation: {statuses: [200, 404]}\n",
         "c.yaml:2: validation.statuses: expected a text or a list of numbers from 200 to 299, got 404\n"},
        {"a certificate without its key", "c.yaml", "upstreams: {a: {url: https://x.test, cert: c.pem}}\n",
         "W c.yaml:1: upstreams.a.cert: c.pem cannot be read here\n"
         "c.yaml:1: upstreams.a.cert: a certificate and its key are given together, or neither\n"},
        {"a bundle of certificates that is not there", "c.yaml",
         "upstreams: {a: {url: https://x.test, ca_file: /nowhere/ca.pem}}\n",
         "W c.yaml:1: upstreams.a.ca_file: /nowhere/ca.pem cannot be read here\n"},
        {"a scope of words and headers", "c.yaml", UP "cache: {scope: [shared, X-Team]}\n",
         "c.yaml:2: cache.scope: expected credential, shared or a list of header names, got shared\n"},
        {"a secret's file that is not there", "c.yaml", UP "admin: {token_file: nowhere}\n",
         "c.yaml:2: admin.token_file: cannot read nowhere: No such file or directory\n"},
        {"a variable that is not set", "c.yaml", "upstream: ${NOT_SET}\n",
         "c.yaml:1: ${NOT_SET}: no such variable in the environment\n"},
        {"nothing at all", "c.yaml", "",
         "c.yaml: upstreams: there is none; give --upstream URL, or upstreams in a file\n"},
        {"given twice", "c.yaml", UP "log: {level: info}\nlog: {level: warn}\n",
         "c.yaml:3: log is given twice\n"},
        {"not YAML", "c.yaml", "listen: {address: 1\nadmin: ]\n",
         "c.yaml:2: not YAML: did not find expected ',' or '}' while parsing a flow mapping\n"},
        {"a tab", "c.yaml", "listen:\n\taddress: x\n",
         "c.yaml:2: not YAML: found character that cannot start any token while scanning for the next "
         "token\n"},
        {"two documents", "c.yaml", UP "---\n" UP, "c.yaml: more than one document in the file\n"},
        {"a tag", "c.yaml", "upstream: !env X\n", "c.yaml:1: the tag !env means nothing here\n"},
        {"a list at the top", "c.yaml", "- a\n",
         "c.yaml:1: expected a map of options, such as `listen: {address: …}`\n"},
        {"not JSON", "c.json", "{\n  \"listen\": {,}\n}\n",
         "c.json:2: not JSON: string or '}' expected near ','\n"},
        {"JSON: a line", "c.json",
         "{\n  \"upstream\": \"http://127.0.0.1:1\",\n  \"log\": {\n    \"level\": \"loud\",\n    "
         "\"requests\": \"yes\"\n  },\n"
         "  \"cache\":\n    {\"max_ttl\": true, \"x\\\"\": [1, {}], \"prefix\": 5}}\n",
         "c.json:4: log.level: expected one of debug, info, warn and error, got the text \"loud\"\n"
         "c.json:5: log.requests: expected true or false, got the text \"yes\"\n"
         "c.json:8: cache.max_ttl: expected a time such as 90s, 2h or 7d from 1s to 365d, got true\n"
         "c.json:8: cache.x\": no such option\n"
         "c.json:8: cache.prefix: expected up to 64 letters, digits, dots, underscores and dashes, got 5\n"},
        {"JSON: a duplicate", "c.json", "{\"log\": {},\n \"log\": {}}",
         "c.json:2: not JSON: duplicate object key near '\"log\"'\n"},
        {"what is tried again", "c.yaml",
         UP "upstreams:\n  default:\n    retries: {retry_on: [connect, 418], budget: 1.5}\n",
         "c.yaml:4: upstreams.default.retries.budget: expected a number such as 0.5 from 0 to 1, got 1.5\n"
         "c.yaml:4: upstreams.default.retries.retry_on: expected connect, reset, timeout, 429, 502, 503 or "
         "504, "
         "got 418\n"},
        {"prices as a list", "c.yaml",
         UP "pricing:\n  - {model: [a, b], input: 1}\n  - 5\n  - {input: 0.1234567}\n",
         "c.yaml:4: pricing[1]: expected a map of options, got a value\n"
         "c.yaml:5: pricing[2].input: expected dollars such as 0.15 from 0 to 1000000, got 0.1234567\n"
         "c.yaml:5: pricing[1].model: must be given, and is not\n"},
        {"prices as a map", "c.yaml",
         UP "pricing:\n  a: {inptu: 1}\n  b: 2\n  c:\n    model: d\n    input: -1\n",
         "c.yaml:3: pricing.a.inptu: no such option; did you mean input?\n"
         "c.yaml:4: pricing.b: expected a map of options, got a value\n"
         "c.yaml:5: pricing.c: its name in the map is its model; not both\n"
         "c.yaml:7: pricing.c.input: expected dollars such as 0.15 from 0 to 1000000, got -1\n"
         "c.yaml:3: pricing[0].input: must be given, and is not\n"},
        {"prices of another kind", "c.yaml", UP "pricing: 5\n",
         "c.yaml:2: pricing: expected a list or a map, got a value\n"},
        {"no file of prices", "c.yaml", UP "pricing_file: nowhere.yaml\n",
         "nowhere.yaml: cannot read it: No such file or directory\n"},
        {"no file", "absent.yaml", NULL, "absent.yaml: cannot read it: No such file or directory\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].text)
            write_file(cases[i].file, cases[i].text);
        AUTO(done_text) char *got = said((struct config_sources){.file = cases[i].file});

        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: said\n%swanted\n%s", cases[i].why, got, cases[i].want);
    }
}

static void upstreams_inherit_what_stands_at_the_top(void **state)
{
    write_file("c.yaml",
               "breaker: {validation: {failures: 3}, availability: {ratio: 0.25, fail_fast: true}}\n"
               "upstreams:\n"
               "  one: {url: 'http://127.0.0.1:1'}\n"
               "  two: {url: 'http://127.0.0.1:2', breaker: {validation: {failures: 7}}}\n"
               "routes: [{path: /two/, upstream: two}, {path: /, upstream: one}]\n");
    AUTO(free_config)
    struct config *c = good((struct config_sources){
        .file = "c.yaml", FLAGS(SET("upstreams.two.breaker.availability.fail_fast", "false"))});

    (void)state;
    assert_int_equal(c->upstreams[0].breaker.validation.failures, 3);
    assert_int_equal(c->upstreams[0].breaker.validation.open_for_ms, 300000);
    assert_int_equal(c->upstreams[0].breaker.availability.ratio_permille, 250);
    assert_true(c->upstreams[0].breaker.availability.fail_fast);
    assert_int_equal(c->upstreams[1].breaker.validation.failures, 7);
    assert_int_equal(c->upstreams[1].breaker.availability.ratio_permille, 250);
    assert_false(c->upstreams[1].breaker.availability.fail_fast);
    assert_int_equal(c->upstreams[1].breaker.availability.samples, 20);
    assert_int_equal(c->upstreams[0].retry.max, 1);
    assert_int_equal(c->upstreams[0].retry.on, 1 << RETRY_CONNECT);
}

static void compression_and_keys_come_from_where_they_may(void **state)
{
    AUTO(free_config)
    struct config *none = good((struct config_sources){FLAGS(SET("upstream", "http://127.0.0.1:1"))});
    AUTO(free_config)
    struct config *given = good((struct config_sources){
        .env = ENV("CACHE_COMPRESSION_THRESHOLD=2048",
                   "REFRAIN_ENCRYPTION__KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        FLAGS(SET("upstream", "http://127.0.0.1:1"), SET("compression.level", "off"))});
    AUTO(free_config)
    struct config *preset = good(
        (struct config_sources){FLAGS(SET("upstream", "http://127.0.0.1:1"), SET("preset", "production"))});

    (void)state;
    assert_int_equal(none->compression.threshold, 1000);
    assert_int_equal(none->compression.level, 6);
    assert_false(none->compression.memory);
    assert_null(none->encryption.key.text);
    assert_int_equal(given->compression.threshold, 2048);
    assert_int_equal(given->compression.level, 0);
    assert_non_null(given->encryption.key.text);
    assert_int_equal(preset->compression.threshold, 500);
    assert_int_equal(preset->compression.level, 7);
}

static void every_fault_of_every_source_is_told_in_one_go(void **state)
{
    write_file("c.yaml", "listen: {workers: many}\nupstream: http://127.0.0.1:1\n");
    AUTO(done_text)
    char *got = said((struct config_sources){
        .file = "c.yaml",
        .env = ENV("REFRAIN_LOG__LEVEL=loud", "REFRAIN_LOG__LEVLE=info"),
        FLAGS(SET("listen.workers", "2"), SET("nothing.like.it", "1"), SET("cache.ttl", "x"))});

    (void)state;
    assert_string_equal(
        got,
        "c.yaml:1: listen.workers: expected a whole number from 1 to 256, or auto, got many\n"
        "environment REFRAIN_LOG__LEVEL: log.level: expected one of debug, info, warn and error, got loud\n"
        "environment REFRAIN_LOG__LEVLE: log.levle: no such option; did you mean level?\n"
        "--set nothing.like.it: nothing: no such option\n"
        "--set cache.ttl: expected a map of names to times such as 90s, 2h or 7d from 1s to 365d, or "
        "none, got "
        "x\n");
}

static void what_is_unwise_is_a_warning(void **state)
{
    static const struct {
        const char *why, *text, *want;
    } cases[] = {
        {"a route behind one that takes all",
         "upstream: http://127.0.0.1:1\nroutes:\n- {path: /, upstream: default}\n- {path: /x/, upstream: "
         "default}\n",
         "W c.yaml:4: routes[1].path: never reached: the route / comes first\n"},
        {"a lifetime for nothing", UP "cache: {ttl: {chatt: 1h}}\n",
         "W c.yaml:2: cache.ttl: chatt is no operation that is known, so nothing has this lifetime\n"},
        {"a slip in how answers end", UP "validation: {finish_reasons: {lenght: 5m}}\n",
         "W c.yaml:2: validation.finish_reasons: no answer is known to end by lenght; did you mean "
         "length?\n"},
        {"ways to end, of a kind, of an API, and new",
         UP "validation: {finish_reasons: {Length: 5m, max_tokens: 1m, tool_calls: never, brand_new: 1h}}\n",
         ""},
        {"no status is good", UP "validation: {statuses: []}\n",
         "W c.yaml:2: validation.statuses: an empty list: no answer to POST is ever stored\n"},
        {"prompts in the open", "upstream: http://api.example.com\n",
         "W c.yaml:1: upstreams.default.url: without TLS, prompts and credentials can be read on the way\n"},
        {"a neighbour by one name", "upstream: http://vllm:8000\n", ""},
        {"open and shared", UP "listen: {address: ':8080'}\ncache: {scope: shared}\n",
         "W c.yaml:3: cache.scope: whoever reaches the listener is given stored answers, whatever credential "
         "they bring\n"},
        {"a token to be guessed", UP "admin: {token: hunter2}\n",
         "W c.yaml:2: admin.token: shorter than 16 characters: easily guessed\n"},
        {"an order of timeouts",
         "upstreams: {a: {url: http://127.0.0.1:1, total_timeout: 10s, first_byte_timeout: 20s}}\n",
         "W c.yaml:1: upstreams.a.first_byte_timeout: longer than total_timeout, so never reached\n"},
        {"nothing left to do", UP "tiers: {memory: {enabled: false}}\ncoalescing: {enabled: false}\n",
         "W c.yaml:2: tiers.memory.enabled: no tier and no coalescing: nothing is left for Refrain to do\n"},
        {"nowhere to store", UP "tiers: {memory: {enabled: false}}\n",
         "W c.yaml:2: tiers.memory.enabled: no tier is left: nothing is stored\n"},
        {"no directory for the disk tier", UP "tiers: {disk: {path: /nonexistent/cache.db}}\n",
         "W c.yaml:2: tiers.disk.path: /nonexistent/: No such file or directory\n"},
        {"a directory for its file", UP "tiers: {disk: {path: /}}\n",
         "W c.yaml:2: tiers.disk.path: a directory; expected the name of a file, such as cache.db in it\n"},
        {"a file wherever one happens to be", UP "tiers: {disk: {path: cache.db}}\n",
         "W c.yaml:2: tiers.disk.path: not from the root on: it lies where Refrain happens to be started\n"},
        {"what is asked is left out of the key", UP "key: {ignore_fields: [temperature, messages]}\n",
         "W c.yaml:2: key.ignore_fields: messages is what is asked: requests that differ in it alone would "
         "be given each other's answers\n"},
        {"members that only settings have", UP "key: {ignore_fields: [request_id, metadata.trace]}\n", ""},
        {"a rule without a word", UP "rules:\n- {match: {model: x}, cache: off}\n- {}\n",
         "W c.yaml:4: rules[1]: the rule says nothing of the requests that it matches\n"},
        {"waits that never grow",
         "upstreams: {a: {url: http://127.0.0.1:1, retries: {backoff: 5s, max_backoff: 1s}}}\n",
         "W c.yaml:1: upstreams.a.retries.backoff: longer than max_backoff, which is how long the wait is "
         "then\n"},
        {"large answers, small tier", UP "tiers: {memory: {max_bytes: 32MiB}}\n",
         "W built-in: cache.max_object_bytes: more than a quarter of tiers.memory.max_bytes: single answers "
         "push out all "
         "others\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        write_file("c.yaml", cases[i].text);
        AUTO(done_text) char *got = said((struct config_sources){.file = "c.yaml"});

        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: said\n%swanted\n%s", cases[i].why, got, cases[i].want);
    }
}

static void a_readable_secret_is_warned_of(void **state)
{
    write_file("token", "0123456789abcdef");
    assert_int_equal(chmod("token", 0644), 0);
    write_file("c.yaml", UP "admin: {token_file: token}\n");
    AUTO(done_text) char *got = said((struct config_sources){.file = "c.yaml"});

    (void)state;
    assert_string_equal(got, "W c.yaml:2: admin.token_file: token can be read by everybody; chmod 0600 it\n");
}

/* Aliases that would stand for 10^9 nodes, and nesting without end. */
static void a_hostile_file_ends_quickly(void **state)
{
    char deep[2100];
    AUTO(done_text) char *bomb = NULL;
    AUTO(done_text) char *nested = NULL;

    (void)state;
    write_file("c.yaml", "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                         "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                         "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n");
    bomb = said((struct config_sources){.file = "c.yaml"});
    assert_non_null(strstr(bomb, "too deep or too large\n"));

    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    deep[2000] = '\0';
    write_file("c.json", deep);
    nested = said((struct config_sources){.file = "c.json"});
    assert_string_equal(nested, "c.json:1: too deep or too large\n");
}

/* -- prices -- */

static void add_prices(struct buf *out, const char *model, const struct price_conf *p)
{
    assert_int_equal(
        buf_addf(out, "%s=%llu/%llu", model, (unsigned long long)p->in_pico, (unsigned long long)p->out_pico),
        0);
    if (p->cached_pico != PRICE_OF_INPUT)
        assert_int_equal(buf_addf(out, ",%lld", (long long)p->cached_pico), 0);
    if (p->write_pico != PRICE_OF_INPUT)
        assert_int_equal(buf_addf(out, ",%lld", (long long)p->write_pico), 0);
    assert_int_equal(buf_addf(out, " "), 0);
}

static void prices_are_a_list_or_a_map_and_those_of_the_file_come_last(void **state)
{
    static const struct {
        const char *why, *text, *file, *models;
    } cases[] = {
        {"a list", "pricing: [{model: [a*, b], input: 1, output: 2}, {model: c, input: 3}]\n", NULL,
         "a*=1000000/2000000 b=1000000/2000000 c=3000000/0 "},
        {"with what upstream had cached, and what it wrote",
         "pricing: {a: {input: 3, cached_input: 0.3, cache_write: 3.75}, b: {input: 1, cached_input: 0}, "
         "c: {input: 1, cached_input: input}}\n",
         NULL, "a=3000000/0,300000,3750000 b=1000000/0,0 c=1000000/0 "},
        {"a map", "pricing: {gpt-4.1: {input: 2, output: 8}, \"*\": {input: 0.02}}\n", NULL,
         "gpt-4.1=2000000/8000000 *=20000/0 "},
        {"a file that is a map", "pricing_file: p.yaml\n", "x: {input: 5}\n", "x=5000000/0 "},
        {"a file that is a list", "pricing_file: p.yaml\n", "- {model: x, input: 5}\n", "x=5000000/0 "},
        {"one's own rows first", "pricing_file: p.yaml\npricing: {y: {input: 1}}\n", "x: {input: 5}\n",
         "y=1000000/0 x=5000000/0 "},
        {"a file that is empty", "pricing_file: p.yaml\npricing: {y: {input: 1}}\n", "# nothing\n",
         "y=1000000/0 "},
        {"nothing at all", "pricing:\n", NULL, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf models = BUF_INIT(1000);
        char text[500];

        (void)snprintf(text, sizeof(text), "%s%s", UP, cases[i].text);
        write_file("c.yaml", text);
        if (cases[i].file)
            write_file("p.yaml", cases[i].file);
        AUTO(free_config) struct config *c = good((struct config_sources){.file = "c.yaml"});
        for (size_t k = 0; k < c->pricing_n; k++)
            for (size_t m = 0; m < c->pricing[k].models.n; m++)
                add_prices(&models, c->pricing[k].models.at[m].data, &c->pricing[k]);
        assert_int_equal(buf_add_byte(&models, '\0'), 0);
        if (strcmp(models.data, cases[i].models) != 0)
            fail_msg("%s: %s", cases[i].why, models.data);
        buf_done(&models);
    }
}

static void faults_of_the_price_file_say_its_name_and_line(void **state)
{
    write_file("c.yaml", UP "pricing_file: p.yaml\n");
    write_file("p.yaml", "a: {input: 1}\nb:\n  inptu: 2\n");
    AUTO(done_text) char *slip = said((struct config_sources){.file = "c.yaml"});
    write_file("p.json", "[{\"model\": \"a\",\n \"input\": \"much\"}]");
    AUTO(done_text)
    char *kind = said((struct config_sources){.file = "c.yaml", FLAGS(SET("pricing_file", "p.json"))});

    (void)state;
    assert_string_equal(slip, "p.yaml:3: pricing.b.inptu: no such option; did you mean input?\n"
                              "p.yaml:2: pricing[1].input: must be given, and is not\n");
    assert_string_equal(kind, "p.json:2: pricing[0].input: expected dollars such as 0.15 from 0 to 1000000, "
                              "got the text \"much\"\n");
}

static void there_is_an_end_to_prices(void **state)
{
    struct buf text = BUF_INIT(1 << 20);

    (void)state;
    write_file("c.yaml", UP "pricing_file: p.yaml\n");
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(buf_addf(&text, "m%u: {input: 1}\n", i), 0);
    assert_int_equal(buf_add_byte(&text, '\0'), 0);
    write_file("p.yaml", text.data);
    AUTO(free_config) struct config *c = good((struct config_sources){.file = "c.yaml"});
    assert_int_equal(c->pricing_n, 1000);

    text.len--;
    assert_int_equal(buf_addf(&text, "one-more: {input: 1}\n"), 0);
    assert_int_equal(buf_add_byte(&text, '\0'), 0);
    write_file("p.yaml", text.data);
    AUTO(done_text) char *got = said((struct config_sources){.file = "c.yaml"});
    assert_string_equal(got, "p.yaml:1: pricing: at most 1000 models, got 1001\n");
    buf_done(&text);
}

static void a_reload_reads_the_prices_again(void **state)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;

    (void)state;
    write_file("c.yaml", UP "pricing_file: p.yaml\n");
    write_file("p.yaml", "a: {input: 1}\n");
    AUTO(free_config) struct config *was = good((struct config_sources){.file = "c.yaml"});
    AUTO(free_config) struct config *is = NULL;
    write_file("p.yaml", "a: {input: 2}\n");
    assert_int_equal(config_reload(was, &is, &report), 0);
    assert_int_equal(was->pricing[0].in_pico, 1000000);
    assert_int_equal(is->pricing[0].in_pico, 2000000);
}

static char *shown(const struct config *conf, bool json, bool changed)
{
    struct buf out = BUF_INIT(1 << 20);

    assert_int_equal(config_show(conf, json, changed, &out), 0);
    assert_int_equal(buf_add_byte(&out, '\0'), 0);
    return out.data;
}

static void show_tells_values_and_sources_but_no_secret(void **state)
{
    write_file("c.yaml", full_yaml);
    write_file("token", "0123456789abcdef\n");
    AUTO(free_config)
    struct config *c = good((struct config_sources){
        .file = "c.yaml", .env = ENV("OPENAI_KEY=sk-1", "CACHE_TTL=60"), FLAGS(SET("log.level", "warn"))});
    AUTO(done_text) char *all = shown(c, false, false);
    AUTO(done_text) char *json = shown(c, true, false);
    AUTO(done_text) char *changed = shown(c, false, true);

    (void)state;
    assert_non_null(
        strstr(all, "log.level: warn                                              # --set log.level\n"));
    assert_non_null(strstr(
        all, "cache.default_ttl: 1m                                        # environment CACHE_TTL\n"));
    assert_non_null(strstr(all, "listen.workers: 3                                            # c.yaml:2\n"));
    assert_non_null(strstr(all, "listen.idle_timeout: 75s                                     # built-in\n"));
    assert_non_null(
        strstr(all, "upstreams.openai.headers.add: ***                            # c.yaml:10\n"));
    assert_non_null(strstr(all, "upstreams.anthropic.proxy: ***"));
    assert_non_null(strstr(all, "admin.token: ***"));
    assert_non_null(strstr(all, "admin.token_file: token "));
    assert_non_null(strstr(all, "routes[0].path: /anthropic/"));
    assert_non_null(strstr(json, "\"listen.workers\": {\"value\": \"3\", \"source\": \"c.yaml:2\"}"));
    assert_null(strstr(all, "sk-1"));
    assert_null(strstr(all, "secret@"));
    assert_null(strstr(all, "0123456789abcdef"));
    assert_null(strstr(json, "sk-1"));
    assert_null(strstr(changed, "built-in"));
    assert_non_null(strstr(changed, "listen.workers"));
}

struct changes {
    size_t n;
    char text[1000];
};

static void on_change(void *arg, const char *name, const char *was, const char *is)
{
    struct changes *c = arg;
    size_t len = strlen(c->text);

    (void)snprintf(c->text + len, sizeof(c->text) - len, "%s: %s to %s\n", name, was, is);
    c->n++;
}

static void a_reload_reads_the_file_again_and_names_what_is_fixed(void **state)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;
    AUTO(free_config) struct config *now = NULL;
    struct changes changes = {0};

    (void)state;
    write_file("c.yaml", UP "listen: {workers: 1}\ncache: {default_ttl: 1m, secret: aaaa}\n");
    AUTO(free_config)
    struct config *old = good((struct config_sources){
        .file = "c.yaml", .env = ENV("REFRAIN_LOG__LEVEL=warn"), FLAGS(SET("listen.idle_timeout", "9s"))});

    write_file("c.yaml", UP "listen: {workers: 2}\ncache: {default_ttl: 2m, secret: bbbb}\n");
    assert_int_equal(config_reload(old, &now, &report), 0);
    assert_int_equal(now->cache.default_ttl_s, 120);
    assert_int_equal(now->log.conf.level, LOG_WARN);
    assert_int_equal(now->listen.idle_timeout_ms, 9000);
    assert_int_equal(config_diff_fixed(old, now, on_change, &changes), 2);
    assert_string_equal(changes.text, "listen.workers: 1 to 2\ncache.secret: *** to ***\n");

    write_file("c.yaml", "listen: {workers: x}\n");
    assert_int_equal(config_reload(old, &(struct config *){NULL}, &report), -EINVAL);
    assert_true(report.errors_n > 0);
}

static void without_an_upstream_it_can_still_be_shown(void **state)
{
    AUTO(free_config) struct config *c = good((struct config_sources){.upstream_optional = true});

    (void)state;
    assert_int_equal(c->upstreams_n, 0);
    assert_int_equal(c->routes_n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_url_is_enough, enter, leave),
        cmocka_unit_test_setup_teardown(a_file_sets_everything, enter, leave),
        cmocka_unit_test_setup_teardown(json_is_the_same_schema, enter, leave),
        cmocka_unit_test_setup_teardown(upstreams_inherit_what_stands_at_the_top, enter, leave),
        cmocka_unit_test_setup_teardown(each_source_goes_before_the_next, enter, leave),
        cmocka_unit_test(our_own_name_goes_before_the_customary_one),
        cmocka_unit_test_setup_teardown(lists_and_maps_have_forms_for_one_line, enter, leave),
        cmocka_unit_test_setup_teardown(the_one_upstream_form_joins_others, enter, leave),
        cmocka_unit_test(foreign_names_in_the_environment_are_left_alone),
        cmocka_unit_test_setup_teardown(the_file_may_be_named_in_the_environment, enter, leave),
        cmocka_unit_test_setup_teardown(rules_and_operations_are_read, enter, leave),
        cmocka_unit_test_setup_teardown(compression_and_keys_come_from_where_they_may, enter, leave),
        cmocka_unit_test_setup_teardown(faults_say_where_what_and_what_was_expected, enter, leave),
        cmocka_unit_test_setup_teardown(every_fault_of_every_source_is_told_in_one_go, enter, leave),
        cmocka_unit_test_setup_teardown(what_is_unwise_is_a_warning, enter, leave),
        cmocka_unit_test_setup_teardown(a_readable_secret_is_warned_of, enter, leave),
        cmocka_unit_test_setup_teardown(a_hostile_file_ends_quickly, enter, leave),
        cmocka_unit_test_setup_teardown(prices_are_a_list_or_a_map_and_those_of_the_file_come_last, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(faults_of_the_price_file_say_its_name_and_line, enter, leave),
        cmocka_unit_test_setup_teardown(there_is_an_end_to_prices, enter, leave),
        cmocka_unit_test_setup_teardown(a_reload_reads_the_prices_again, enter, leave),
        cmocka_unit_test_setup_teardown(show_tells_values_and_sources_but_no_secret, enter, leave),
        cmocka_unit_test_setup_teardown(a_reload_reads_the_file_again_and_names_what_is_fixed, enter, leave),
        cmocka_unit_test(without_an_upstream_it_can_still_be_shown),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
