#include "config_table_priv.h"

#include "refrain/base/attr.h"

#define ROOT(member) FIELD(struct config, member)

const char *const option_origin_schemes[] = {"https", "http", NULL};
static const char *const evictions[] = {"lru", "lfu", "fifo", "sieve", NULL};
static const char *const tiers_writes[] = {"through", "behind", NULL};
static const char *const on_abandons[] = {"cancel", "finish", NULL};
static const char *const ttl_modes[] = {"absolute", "sliding", NULL};
static const char *const tls_versions[] = {"1.2", "1.3", NULL};
static const char *const cluster_modes[] = {"auto", "on", "off", NULL};
static const char *const log_formats[] = {"json", "text", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const presets[] = {"none", "development", "production", "testing", NULL};

static const char *const usages[] = {"upstream", "zero", NULL};

_Static_assert(USAGE_UPSTREAM == 0 && USAGE_ZERO == 1, "the order of the choices");
_Static_assert(TTL_ABSOLUTE == 0 && TTL_SLIDING == 1, "the order of the choices");
_Static_assert(EVICT_LRU == 0 && EVICT_LFU == 1 && EVICT_FIFO == 2 && EVICT_SIEVE == 3,
               "the order of the choices");
_Static_assert(LOG_DEBUG == 0 && LOG_INFO == 1 && LOG_WARN == 2 && LOG_ERROR == 3,
               "the order of the choices");
_Static_assert(TLS_MIN_1_2 == 0 && TLS_MIN_1_3 == 1, "the order of the choices");
_Static_assert(TLS_1_2 == 0 && TLS_1_3 == 1, "the order of the choices");
_Static_assert(REDIS_CLUSTER_AUTO == 0 && REDIS_CLUSTER_ON == 1 && REDIS_CLUSTER_OFF == 2,
               "the order of the choices");
_Static_assert(LOG_JSON == 0 && LOG_TEXT == 1, "the order of the choices");
_Static_assert(TIERS_WRITE_THROUGH == 0 && TIERS_WRITE_BEHIND == 1, "the order of the choices");
_Static_assert(ABANDON_CANCEL == 0 && ABANDON_FINISH == 1, "the order of the choices");

/* clang-format off */
#define BREAKER_AT_TOP(name, type, fallback, low, high, member, text)                                        \
    {"breaker." name, OPTION_##type, 0, fallback, RANGE(low, high), ROOT(breaker.member), .help = text}

/* Of either listener. */
#define LISTENER_TLS(group, member)                                                                          \
    {group ".tls.cert", OPTION_PATH, 0, ROOT(member.tls.cert_file),                                          \
     .help = "Certificate to show (PEM), followed by those that lead from it to an authority: the listener " \
             "speaks TLS. It and the key are read anew at a reload. See docs/tls.md."},                      \
    {group ".tls.key", OPTION_PATH, 0, ROOT(member.tls.key_file),                                            \
     .help = "Its key (PEM), without a passphrase."},                                                        \
    {group ".tls.client_ca", OPTION_PATH, 0, ROOT(member.tls.client_ca_file),                                \
     .help = "Authorities (PEM) one of which must have signed the certificate that a client shows; without " \
             "this, none is asked for."},                                                                    \
    {group ".tls.min_version", OPTION_ENUM, 0, "1.2", .choices = tls_versions, ROOT(member.tls.version_min), \
     .help = "The oldest version of TLS taken."}
/* clang-format on */

static const struct option_row root_rows[] = {
    {"preset", OPTION_ENUM, .fallback = "none", .choices = presets, ROOT(preset),
     .help = "A set of values to begin with; every other source goes before it."},
    {"upstream", OPTION_URL, .choices = option_origin_schemes, ROOT(upstream),
     .help = "The short form for a single upstream: stands for `upstreams.default.url` and a route of "
             "everything to it."},
    {"pricing_file", OPTION_PATH, 0, NULL, ROOT(pricing_file),
     .help = "A YAML or JSON file of the same form as `pricing`, read anew on SIGHUP; its rows stand behind "
             "those. `config/pricing-2026-11.yaml` is one to begin with."},

    {"listen.address", OPTION_ADDRESS, OPTION_FIXED, "127.0.0.1:8080", ROOT(listen.address),
     .help = "Where clients connect. Port 0 takes a free one."},
    LISTENER_TLS("listen", listen),
    {"listen.workers", OPTION_COUNT, OPTION_FIXED, "auto", RANGE(1, 256), WORD("auto", 0),
     ROOT(listen.workers), .help = "Event loops, a thread each; `auto`: one a core."},
    {"listen.max_header_bytes", OPTION_BYTES, 0, "24KiB", RANGE(KIB, 28 * KIB), ROOT(listen.header_bytes_max),
     .help = "A larger head is answered 431."},
    {"listen.max_body_bytes", OPTION_BYTES, 0, "off", WORD("off", 0), ROOT(listen.body_bytes_max),
     .help = "A larger body is answered 413, before upstream hears of it."},
    {"listen.max_connections", OPTION_COUNT, OPTION_FIXED, "16384", RANGE(1, 1000000),
     ROOT(listen.connections_max), .help = "Client connections open at once; one more is answered 503."},
    {"listen.max_connections_per_address", OPTION_COUNT, OPTION_FIXED, "off", RANGE(1, 1000000),
     WORD("off", 0), ROOT(listen.connections_per_address_max),
     .help = "The same, of one client address; of IPv6, of one /64."},
    {"listen.max_buffered_bytes", OPTION_BYTES, OPTION_FIXED, "256MiB", RANGE(MIB, INT64_C(1) << 44),
     ROOT(listen.buffered_bytes_max),
     .help =
         "Bytes of request bodies and of answers under way held in memory, over all connections; then 503."},
    {"listen.header_timeout", OPTION_MS, 0, "10s", RANGE(SECOND, DAY), ROOT(listen.header_timeout_ms),
     .help = "Within which a request's head must be there, however slowly it drips."},
    {"listen.idle_timeout", OPTION_MS, 0, "75s", RANGE(SECOND, DAY), ROOT(listen.idle_timeout_ms),
     .help = "How long a connection may wait for its next request."},
    {"listen.slow_reader_timeout", OPTION_MS, 0, "60s", RANGE(SECOND, DAY),
     ROOT(listen.slow_reader_timeout_ms),
     .help = "How long a client may take none of the answer it is being sent."},
    {"listen.body_min_rate", OPTION_BYTES, 0, "1KiB", WORD("off", 0), ROOT(listen.body_bytes_min_rate),
     .help = "Bytes a second that a request body must come at on average, once `listen.body_grace` is over."},
    {"listen.body_grace", OPTION_MS, 0, "10s", RANGE(SECOND, DAY), ROOT(listen.body_grace_ms),
     .help = "How long a body may be slower than that at first."},
    {"listen.drain_timeout", OPTION_MS, 0, "30s", RANGE(SECOND, DAY), ROOT(listen.drain_timeout_ms),
     .help = "How long a shutdown waits for the requests under way."},

    {"admin.address", OPTION_ADDRESS, OPTION_FIXED, "127.0.0.1:9180", ROOT(admin.address),
     .help = "Where metrics, health and the API are. Beyond this machine it needs a token."},
    LISTENER_TLS("admin", admin),
    {"admin.token", OPTION_SECRET, OPTION_MASKED, ROOT(admin.token),
     .help =
         "Bearer token of the API; must be given where `admin.address` can be reached from other machines. "
         "Without one, it is made at first start: the file `admin.token` in `cache.state_dir`."},
    {"admin.hosts", OPTION_LIST, OPTION_ONE_OR_MANY, ROOT(admin.hosts),
     .help = "Names under which the API is asked, beside addresses and `localhost`; a request that comes "
             "under another one is refused."},
    {"admin.recent_requests", OPTION_COUNT, OPTION_FIXED, "512", RANGE(1, 65536), WORD("off", 0),
     ROOT(admin.recent_requests),
     .help =
         "How many recent requests are remembered, as sums that tell nothing of them, so that `explain` can "
         "say in what a request differs from the nearest one. About 1 KiB each."},

    {"cache.default_ttl", OPTION_SECONDS, 0, "1h", RANGE(1, YEAR_S), WORD("none", TTL_NONE),
     ROOT(cache.default_ttl_s), .env = "CACHE_TTL",
     .help = "Lifetime of what is stored, unless something closer says otherwise; `none`: no end."},
    {"cache.max_ttl", OPTION_SECONDS, 0, "365d", RANGE(1, YEAR_S), ROOT(cache.max_ttl_s),
     .help = "The longest lifetime a request may ask for."},
    {"cache.stale_while_revalidate", OPTION_SECONDS, 0, "off", RANGE(1, YEAR_S), WORD("off", 0),
     ROOT(cache.stale_while_revalidate_s),
     .help =
         "For so long past its lifetime an answer is served at once, while upstream is asked for a new one. "
         "On GET, upstream's own word goes first."},
    {"cache.stale_if_error", OPTION_SECONDS, 0, "off", RANGE(1, YEAR_S), WORD("off", 0),
     ROOT(cache.stale_if_error_s),
     .help = "For so long past its lifetime an answer is served in place of an error: upstream cannot be "
             "reached, takes too long, answers 5xx or 429. On GET, upstream's own word goes first."},
    {"cache.keep_stale", OPTION_SECONDS, 0, "1h", RANGE(1, YEAR_S), WORD("off", 0), ROOT(cache.keep_stale_s),
     .help =
         "How long past its lifetime an answer to GET with ETag or Last-Modified is kept, so that upstream "
         "need only say whether it has changed."},
    {"cache.ttl_mode", OPTION_ENUM, 0, "absolute", .choices = ttl_modes, ROOT(cache.ttl_mode),
     .help = "`sliding`: a hit makes an answer last its lifetime again, up to `cache.max_lifetime`. Not on "
             "GET, whose "
             "lifetime is upstream's word."},
    {"cache.max_lifetime", OPTION_SECONDS, 0, "7d", RANGE(1, YEAR_S), ROOT(cache.max_lifetime_s),
     .help = "Where lifetimes slide: how old an answer may become all the same."},
    {"cache.ttl_jitter", OPTION_COUNT, 0, "0", RANGE(0, 50), ROOT(cache.ttl_jitter_percent),
     .help = "Percent by which lifetimes are made longer or shorter at random, so that what came together "
             "does not "
             "end together. Not on GET."},
    {"cache.ttl", OPTION_LIFETIMES, 0, NULL, RANGE(1, YEAR_S), WORD("none", TTL_NONE),
     .offset = offsetof(struct config, cache.ttl), .size = sizeof(void *),
     .count_offset = offsetof(struct config, cache.ttl_n),
     .help = "Lifetime by operation: `cache.ttl.chat`, `cache.ttl.embedding` and so on."},
    {"cache.scope", OPTION_LIST, OPTION_ONE_OR_MANY, "credential", ROOT(cache.scope_headers),
     .help = "Who shares entries: `credential` (those with the same one), `shared` (everybody), or a list of "
             "the request "
             "headers that tell callers apart."},
    {"cache.secret", OPTION_SECRET, OPTION_MASKED | OPTION_FIXED, ROOT(cache.secret),
     .help = "Keys the credentials' digests; instances that share a store share it. Without one, it is made "
             "at first "
             "start in `cache.state_dir`."},
    {"cache.state_dir", OPTION_PATH, OPTION_FIXED, ROOT(cache.state_dir),
     .help = "Where what Refrain makes for itself is kept. By default what the service manager gives "
             "(`STATE_DIRECTORY`), else `/var/lib/refrain` for root, else `~/.local/state/refrain`."},
    {"cache.namespace", OPTION_NAME, 0, "default", ROOT(cache.namespace_),
     .help = "Namespace of requests that name none; namespaces share no entries."},
    {"cache.prefix", OPTION_NAME, OPTION_FIXED, "refrain", ROOT(cache.prefix),
     .help = "What keys begin with in stores that other programs use, too."},
    {"cache.respect_upstream_cache_control", OPTION_BOOL, 0, "false",
     ROOT(cache.respect_upstream_cache_control),
     .help = "Heed Cache-Control on answers to POST. Providers send `no-cache` on everything, so it is off."},
    {"cache.client_control", OPTION_BOOL, 0, "true", ROOT(cache.client_control),
     .help = "Heed what requests ask of the cache (`Refrain-*` headers, those of other gateways, "
             "Cache-Control)."},
    {"cache.allow_custom_keys", OPTION_BOOL, 0, "false", ROOT(cache.custom_keys),
     .help = "Heed `Refrain-Key` even where the scope is shared."},
    {"cache.allow_endless_ttl", OPTION_BOOL, 0, "false", ROOT(cache.endless_ttl),
     .help = "Heed `Refrain-TTL: none` even where the scope is shared."},
    {"cache.max_object_bytes", OPTION_BYTES, 0, "16MiB", RANGE(KIB, GIB), ROOT(cache.object_bytes_max),
     .help = "A larger answer flows on and is not stored."},
    {"cache.reauth", OPTION_MS, 0, "off", RANGE(SECOND, (int64_t)365 * DAY), WORD("off", 0),
     ROOT(cache.reauth_ms),
     .help =
         "Under `scope: credential`: how long ago upstream must last have accepted a credential for it to "
         "have hits. A 401 takes them away at once, whatever this says."},
    {"cache.max_variants", OPTION_COUNT, 0, "64", RANGE(1, 1024), ROOT(cache.variants_max),
     .help = "How many variants of one answer are kept that varies by what is not in its key (`Vary`)."},
    {"cache.usage_on_hit", OPTION_ENUM, 0, "upstream", .choices = usages, ROOT(cache.usage_on_hit),
     .help = "`zero`: an answer that upstream was not asked for says that no tokens were used, for those who "
             "bill from it. Who made the call is told upstream's own. See docs/savings.md."},

    {"key.max_body_bytes", OPTION_BYTES, 0, "32MiB", RANGE(KIB, GIB), ROOT(key.body_bytes_max),
     .help = "A larger request body is streamed on, past the cache."},
    {"key.ignore_fields", OPTION_LIST, 0, NULL, ROOT(key.ignore_fields),
     .help =
         "Fields of request bodies, by dotted path, that do not count in the key, beside those of the API."},
    {"key.ignore_headers", OPTION_LIST, OPTION_FIELDS, NULL, ROOT(key.ignore_headers),
     .help = "Request headers that do not count in the key, beside the shipped ones."},

    {"tiers.write", OPTION_ENUM, OPTION_FIXED, "through", .choices = tiers_writes, ROOT(tiers.write),
     .help = "When the tiers below memory hear of an answer: `through`, at once; `behind`, some time later, "
             "and of "
             "several to one request only the last. Clients wait for neither."},
    {"tiers.write_behind", OPTION_MS, OPTION_FIXED, "1s", RANGE(1, DAY), ROOT(tiers.write_behind_ms),
     .help = "How much later, with `write: behind`. What has not been written when the process is killed is "
             "lost."},
    {"tiers.write_queue_max_bytes", OPTION_BYTES, OPTION_FIXED, "64MiB", RANGE(MIB, INT64_C(1) << 40),
     ROOT(tiers.write_queue_bytes_max),
     .help = "What may wait to be written to the tiers below memory; past it answers are kept in memory "
             "alone, and "
             "counted (`refrain_writes_dropped_total`)."},
    {"tiers.memory.enabled", OPTION_BOOL, OPTION_FIXED, "true", ROOT(tiers.memory.enabled),
     .help = "Keep answers in memory."},
    {"tiers.memory.max_bytes", OPTION_BYTES, OPTION_FIXED, "500MiB", RANGE(4 * MIB, INT64_C(1) << 44),
     ROOT(tiers.memory.bytes_max), .help = "All that the tier holds, bookkeeping included."},
    {"tiers.memory.eviction", OPTION_ENUM, OPTION_FIXED, "lru", .choices = evictions,
     ROOT(tiers.memory.eviction),
     .help = "Who goes first when it is full: least recently used, least frequently used, oldest, or SIEVE."},
    {"tiers.memory.max_entries", OPTION_COUNT, OPTION_FIXED, "off", WORD("off", 0),
     ROOT(tiers.memory.entries_max), .help = "A bound on entries beside the one on bytes."},

    {"tiers.disk.path", OPTION_PATH, OPTION_FIXED, ROOT(tiers.disk.path),
     .help = "File in which answers outlive a restart: an SQLite database, made where there is none; its "
             "directory must be there, on a local disk. Not given: no such tier."},
    {"tiers.disk.max_bytes", OPTION_BYTES, OPTION_FIXED, "10GiB", RANGE(16 * MIB, INT64_C(1) << 44),
     ROOT(tiers.disk.bytes_max),
     .help =
         "All that file and log beside it may take on the disk; past it, what was longest not used goes."},
    {"tiers.disk.timeout", OPTION_MS, OPTION_FIXED, "50ms", RANGE(1, 10 * SECOND),
     ROOT(tiers.disk.timeout_ms), .help = "How long a request waits for the disk before it goes on without."},
    {"tiers.disk.queue_max_bytes", OPTION_BYTES, OPTION_FIXED, "32MiB", RANGE(MIB, INT64_C(1) << 40),
     ROOT(tiers.disk.queue_bytes_max),
     .help = "Answers that may wait for the disk to take them; past it they are not written."},
    {"tiers.redis.url", OPTION_TEXT, OPTION_FIXED | OPTION_USERINFO, ROOT(tiers.redis.url),
     .env = "REDIS_URL",
     .help =
         "Redis or Valkey, shared by several instances: `redis://[user:password@]host[:port][/db]`, "
         "`rediss://…` over TLS, `unix:///path`. Without one the tier is off. Of a cluster, any node. See "
         "docs/redis.md."},
    {"tiers.redis.username", OPTION_TEXT, OPTION_FIXED, ROOT(tiers.redis.username),
     .help = "User of an ACL; goes before the URL's."},
    {"tiers.redis.password", OPTION_SECRET, OPTION_MASKED | OPTION_FIXED, ROOT(tiers.redis.password),
     .env = "REDIS_AUTH", .help = "Goes before the URL's."},
    {"tiers.redis.ca_file", OPTION_PATH, OPTION_FIXED, ROOT(tiers.redis.ca_file), .env = "REDIS_TLS_CA",
     .help = "Authorities that its certificate may be signed by (PEM); by default the system's."},
    {"tiers.redis.cert", OPTION_PATH, OPTION_FIXED, ROOT(tiers.redis.cert_file), .env = "REDIS_TLS_CERT",
     .help = "Certificate to show (PEM)."},
    {"tiers.redis.key", OPTION_PATH, OPTION_FIXED, ROOT(tiers.redis.key_file), .env = "REDIS_TLS_KEY",
     .help = "Its key (PEM)."},
    {"tiers.redis.verify", OPTION_BOOL, OPTION_FIXED, "true", ROOT(tiers.redis.verify),
     .env = "REDIS_TLS_VERIFY", .help = "Whether its certificate must be good."},
    {"tiers.redis.server_name", OPTION_TEXT, OPTION_FIXED, ROOT(tiers.redis.server_name),
     .env = "REDIS_TLS_SERVER_NAME",
     .help = "Whose certificate is expected and asked for (SNI); by default the host's in the URL."},
    {"tiers.redis.min_tls", OPTION_ENUM, OPTION_FIXED, "1.2", .choices = tls_versions,
     ROOT(tiers.redis.tls_min), .env = "REDIS_TLS_MIN_VERSION", .help = "The oldest version of TLS taken."},
    {"tiers.redis.connect_timeout", OPTION_MS, OPTION_FIXED, "1s", RANGE(10, 60 * SECOND),
     ROOT(tiers.redis.connect_timeout_ms),
     .help = "Within which name, connection, TLS and password must be through. A server that says nothing "
             "for so long is held for dead."},
    {"tiers.redis.timeout", OPTION_MS, OPTION_FIXED, "50ms", RANGE(1, 10 * SECOND),
     ROOT(tiers.redis.timeout_ms),
     .help = "How long a request waits for it at most; then it is a miss, and counted."},
    {"tiers.redis.cluster", OPTION_ENUM, OPTION_FIXED, "auto", .choices = cluster_modes,
     ROOT(tiers.redis.cluster), .help = "Whether it is a Redis Cluster; `auto` asks it."},

    {"compression.threshold", OPTION_BYTES, OPTION_FIXED, "1000", RANGE(0, GIB), ROOT(compression.threshold),
     .env = "CACHE_COMPRESSION_THRESHOLD",
     .help =
         "Answers of at least so many bytes are kept gzip-coded on disk and in Redis, if that makes them "
         "smaller; clients that take gzip get those bytes, others the answer as it came. Not those to GET."},
    {"compression.level", OPTION_COUNT, OPTION_FIXED, "6", RANGE(1, 9), WORD("off", 0),
     ROOT(compression.level), .help = "From 1, fast, to 9, small."},
    {"compression.memory", OPTION_BOOL, 0, "false", ROOT(compression.memory),
     .help = "In memory, too: it holds more answers, and clients that do not take gzip wait a little for the "
             "first of each."},

    {"encryption.key", OPTION_SECRET, OPTION_MASKED, ROOT(encryption.key),
     .help = "Seals what lies on disk and in Redis, by AES-256-GCM: 32 bytes, as 64 hexadecimal digits or as "
             "base64. Several, with line ends or commas between them, make rotation: the first seals, all "
             "open. Without one nothing is sealed; with one, what is not sealed is not believed. See "
             "docs/encryption.md."},

    {"invalidation.strict", OPTION_BOOL, OPTION_FIXED, "false", ROOT(invalidation_strict),
     .help =
         "With Redis: while this instance cannot hear of what others invalidate, it serves nothing that is "
         "stored. Otherwise it serves on, and catches up."},

    {"coalescing.enabled", OPTION_BOOL, 0, "true", ROOT(coalescing.enabled),
     .help = "Let identical requests share one upstream call."},
    {"coalescing.on_abandon", OPTION_ENUM, 0, "cancel", .choices = on_abandons, ROOT(coalescing.on_abandon),
     .help = "When the last reader of a call leaves: `cancel` it, which saves tokens, or `finish` it, which "
             "fills the "
             "cache."},
    {"coalescing.flight_max_bytes", OPTION_BYTES, OPTION_FIXED, "32MiB", RANGE(64 * KIB, GIB),
     ROOT(coalescing.flight_bytes_max),
     .help = "Past it an answer under way takes no new reader and is held to the pace of its slowest."},
    {"coalescing.max_wait", OPTION_MS, 0, "off", RANGE(0, DAY), WORD("off", 0), ROOT(coalescing.max_wait_ms),
     .help = "How long requests wait for the head of a call that another has begun; then one of them begins "
             "a new one. `off`: until upstream's own deadlines end it for all."},
    {"coalescing.hit_for_miss", OPTION_MS, OPTION_FIXED, "10s", RANGE(0, DAY),
     ROOT(coalescing.hit_for_miss_ms),
     .help =
         "How long requests are not made to wait for each other after an answer that could not be shared."},
    {"coalescing.cluster", OPTION_BOOL, OPTION_FIXED, "false", ROOT(coalescing.cluster),
     .help =
         "Let identical requests at all instances that share `tiers.redis` share one upstream call, streams "
         "included."},
    {"coalescing.cluster_lease", OPTION_MS, OPTION_FIXED, "3s", RANGE(300, 60 * 1000),
     ROOT(coalescing.cluster_lease_ms),
     .help = "How long the other instances wait for one that has fallen silent in the middle of a call, "
             "before one "
             "of them takes over. The same at all instances."},

    BREAKER_OPTIONS(BREAKER_AT_TOP),

    {"validation.statuses", OPTION_LIST, OPTION_NUMBERS | OPTION_ONE_OR_MANY, "200", RANGE(200, 299),
     ROOT(validation.statuses),
     .help = "Statuses of answers to POST that may be stored; errors and 206 never are."},
    {"validation.finish_reasons", OPTION_LIFETIMES, 0, NULL, RANGE(1, YEAR_S), WORD("never", TTL_NEVER),
     .offset = offsetof(struct config, validation.finish_reasons), .size = sizeof(void *),
     .count_offset = offsetof(struct config, validation.finish_reasons_n),
     .help =
         "Lifetime by how an answer ended, or `never`: by the API's own word (`max_tokens`), or for all "
         "of a kind: `stop`, `length`, `content_filter`, `refusal`, `incomplete`, `error`. All but `stop` "
         "are `never` unless they stand here. A request or rule may shorten such a lifetime, not "
         "lengthen it."},

    {"redact.headers", OPTION_LIST, OPTION_FIELDS, NULL, ROOT(redact.headers),
     .help = "Headers of answers that are never stored, beside the shipped ones. Part of the key: what was "
             "stored with one is not found any more. Content-Type and Content-Encoding are stored all the "
             "same, as no body can be read without them."},
    {"redact.patterns", OPTION_LIST, OPTION_ONE_OR_MANY, NULL, ROOT(redact.patterns),
     .help =
         "Regular expressions (PCRE2): what of a text in the log matches one is written `[redacted]`. "
         "Prompts, "
         "answers and credentials are never in the log anyway; this is for what your own names, models and "
         "errors may hold."},

    {"monitoring.sample_every", OPTION_MS, OPTION_FIXED, "3600ms", RANGE(50, HOUR),
     ROOT(monitoring.sample_every_ms),
     .help = "How often counts and times are read for statistics; 1000 readings are kept, so 3600ms is an "
             "hour of them."},
    {"monitoring.slow_at_least", OPTION_MS, OPTION_FIXED, "1ms", RANGE(1, DAY),
     ROOT(monitoring.slow_at_least_ms),
     .help = "A request that took less is never told of as slow, however much quicker others were."},
    {"alerts.window", OPTION_MS, 0, "5m", RANGE(10, 3600 * SECOND), ROOT(alerts.window_ms),
     .help = "How far back shares, times and counts are looked at."},
    {"alerts.memory_warning", OPTION_DECIMAL, 0, "0.8", RANGE(1, 1000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_MEMORY][0]), .help = "Warns when so much of `tiers.memory.max_bytes` is taken."},
    {"alerts.memory_critical", OPTION_DECIMAL, 0, "0.95", RANGE(1, 1000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_MEMORY][1]), .help = "The same, critical."},
    {"alerts.key_time", OPTION_MS, 0, "100ms", RANGE(1, DAY), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_KEY_TIME][0]), .help = "Warns when making a key takes so long (p95)."},
    {"alerts.tier_time", OPTION_MS, 0, "50ms", RANGE(1, DAY), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_TIER_TIME][0]),
     .help = "Warns when a tier below memory takes so long to look for an answer (p95)."},
    {"alerts.invalidations_warning", OPTION_COUNT, 0, "50", RANGE(1, 1000000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_INVALIDATIONS][0]),
     .help = "Warns at so many invalidations in `alerts.invalidations_window`."},
    {"alerts.invalidations_critical", OPTION_COUNT, 0, "100", RANGE(1, 1000000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_INVALIDATIONS][1]), .help = "The same, critical."},
    {"alerts.invalidations_window", OPTION_MS, 0, "1h", RANGE(10, 3600 * SECOND),
     ROOT(alerts.invalidations_window_ms), .help = "How far back invalidations are counted."},
    {"alerts.hit_rate", OPTION_DECIMAL, 0, "0.5", RANGE(1, 1000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_HIT_RATE][0]),
     .help = "Warns when a smaller share of requests is answered from the cache."},
    {"alerts.hit_rate_requests", OPTION_COUNT, 0, "100", RANGE(1, 1000000), ROOT(alerts.requests_min),
     .help = "So many requests there must have been for that."},
    {"alerts.breaker_open", OPTION_MS, 0, "0s", RANGE(0, DAY), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_BREAKER_OPEN][0]),
     .help = "An error when a breaker of an upstream has been open for so long."},
    {"alerts.upstream_failures", OPTION_DECIMAL, 0, "0.25", RANGE(1, 1000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_UPSTREAM_FAILURES][0]),
     .help = "An error when such a share of at least 20 calls to upstream had no answer, or 5xx."},
    {"alerts.tier_down", OPTION_MS, 0, "0s", RANGE(0, DAY), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_TIER_DOWN][0]), .help = "Critical when a tier has been down for so long."},
    {"alerts.tier_degraded", OPTION_MS, 0, "0s", RANGE(0, DAY), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_TIER_DEGRADED][0]), .help = "Warns when a tier has answered in part for so long."},
    {"alerts.writes_dropped", OPTION_COUNT, 0, "1", RANGE(1, 1000000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_WRITES_DROPPED][0]),
     .help = "Warns at so many writes to tiers below memory that were given up."},
    {"alerts.records_unreadable", OPTION_COUNT, 0, "1", RANGE(1, 1000000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_RECORDS_UNREADABLE][0]),
     .help = "Warns at so many records on disk or in Redis that could not be used, of each cause."},
    {"alerts.instances_cut", OPTION_MS, 0, "0s", RANGE(0, DAY), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_INSTANCES_CUT][0]),
     .help = "An error when the invalidations of other instances have not been heard for so long."},
    {"alerts.connections_refused", OPTION_COUNT, 0, "1", RANGE(1, 1000000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_CONNECTIONS_REFUSED][0]),
     .help = "An error at so many client connections that were refused."},
    {"alerts.buffers", OPTION_DECIMAL, 0, "0.8", RANGE(1, 1000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_BUFFERS][0]),
     .help = "Warns when so much of `listen.max_buffered_bytes` is taken."},
    {"alerts.log_lines_dropped", OPTION_COUNT, 0, "1", RANGE(1, 1000000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_LOG_LINES_DROPPED][0]), .help = "Warns at so many log lines that were lost."},
    {"alerts.credentials_suspended", OPTION_COUNT, 0, "1", RANGE(1, 1000000), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_CREDENTIALS_SUSPENDED][0]),
     .help = "Tells when so many credentials have no hits, since upstream has refused them."},
    {"alerts.certificate_warning", OPTION_MS, 0, "14d", RANGE(1, INT64_C(3650) * DAY), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_CERTIFICATE][0]),
     .help = "Warns when the certificate of a listener expires in less than this."},
    {"alerts.certificate_error", OPTION_MS, 0, "3d", RANGE(1, INT64_C(3650) * DAY), WORD("off", ALERT_OFF),
     ROOT(alerts.at[ALERT_CERTIFICATE][1]), .help = "The same, an error; so is one that has expired."},

    {"log.format", OPTION_ENUM, 0, "json", .choices = log_formats, ROOT(log.conf.format),
     .help = "One JSON object a line, or text."},
    {"log.level", OPTION_ENUM, 0, "info", .choices = log_levels, ROOT(log.conf.level),
     .help = "What is logged at least."},
    {"log.requests", OPTION_BOOL, 0, "true", ROOT(log.requests), .help = "A line a request, at level info."},
    {"log.slow", OPTION_MS, 0, "off", RANGE(0, DAY), WORD("off", 0), ROOT(log.slow_ms),
     .help = "A request that takes longer has a line `slow_request` at level warn, too. Of what comes piece "
             "by piece "
             "the time to its first byte counts: how long a model talks is its own affair."},
    {"log.file", OPTION_PATH, 0, NULL, ROOT(log.conf.file),
     .help = "Appended to, and opened anew on SIGUSR1. Without it: standard error."},
};

static const struct option_section root_section = {
    SECTION_ROOT, "", root_rows, ARRAY_LEN(root_rows), 0, 0, 0, 0, NULL, false};

const struct option_section *const option_sections[OPTION_SECTIONS] = {
    &root_section,  &upstreams_section,   &clients_section,    &routes_section,
    &rules_section, &event_rules_section, &operations_section, &pricing_section,
};

const struct option_group option_groups[] = {
    {"listen", "The listener that clients connect to, and what they may ask of it."},
    {"admin", "The listener for operators: metrics, health, API."},
    {"clients",
     "Who may ask, where Refrain holds the credentials of upstreams: each with a token, a part of the "
     "cache, and limits. With any client here, who is none of them is answered 401. See "
     "docs/clients.md."},
    {"upstreams", "The APIs behind Refrain, by name."},
    {"routes",
     "Which path goes to which upstream; the first that matches is taken. With a single upstream none are "
     "needed."},
    {"cache", "What is stored, for how long, and for whom."},
    {"key", "What makes two requests the same."},
    {"rules", "What holds for some requests only. Of each thing the first rule that matches and says it "
              "decides; tags add up. "
              "See docs/rules.md."},
    {"event_rules", "What goes when something happened elsewhere: POST /api/v1/events. See docs/events.md."},
    {"operations",
     "Kinds of requests of your own, found by the header `Refrain-Operation`, by path or by model. "
     "`summarize` (2h), "
     "`sentiment` (1d), `key_points` (2h), `questions` (1h) and `qa` (30m) are there without being listed."},
    {"pricing",
     "What tokens cost, by model, so that saved money can be told: a list of rows, or a map of globs for "
     "models to their prices. The first row that matches is taken, those of `pricing_file` last; of a model "
     "without one only tokens are counted. See docs/savings.md."},
    {"tiers", "Where answers are kept."},
    {"compression", "What is made smaller before it is kept."},
    {"encryption", "What is sealed before it leaves the process for disk and Redis."},
    {"invalidation", "What becomes of stored answers that are out of date."},
    {"coalescing", "Identical requests in flight."},
    {"breaker", "What becomes of an upstream that is not well; here for all upstreams, below "
                "`upstreams.NAME.breaker` for one."},
    {"validation", "Which answers are good enough to be stored."},
    {"redact", "What is left out of what is stored, and of the log."},
    {"monitoring", "What is kept of counts and times, for statistics."},
    {"alerts", "When an operator is told that something wants looking at; each threshold can be `off`. See "
               "docs/alerts.md."},
    {"log", "One line an event."},
};
const size_t option_groups_n = ARRAY_LEN(option_groups);

const struct preset_row preset_rows[] = {
    {"development", "cache.default_ttl", "30m"},
    {"development", "cache.max_object_bytes", "8MiB"},
    {"development", "coalescing.flight_max_bytes", "8MiB"},
    {"development", "tiers.memory.max_bytes", "50MiB"},
    {"development", "compression.threshold", "2000"},
    {"development", "compression.level", "3"},
    {"production", "cache.default_ttl", "2h"},
    {"production", "tiers.memory.max_bytes", "500MiB"},
    {"production", "compression.threshold", "500"},
    {"production", "compression.level", "7"},
    {"testing", "cache.default_ttl", "5m"},
    {"testing", "cache.max_object_bytes", "2MiB"},
    {"testing", "coalescing.flight_max_bytes", "8MiB"},
    {"testing", "tiers.memory.max_bytes", "10MiB"},
    {"testing", "compression.threshold", "5000"},
    {"testing", "compression.level", "1"},
};
const size_t preset_rows_n = ARRAY_LEN(preset_rows);

const struct shipped_operation shipped_operations[] = {
    {"summarize", "2h"}, {"sentiment", "1d"}, {"key_points", "2h"}, {"questions", "1h"}, {"qa", "30m"},
};
const size_t shipped_operations_n = ARRAY_LEN(shipped_operations);
