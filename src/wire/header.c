/*
 * The table maps lower-cased names to flags by open addressing. A name is reduced to two 8-byte words, its
 * first and its last bytes, which may overlap: together with the length they are the whole of any name up to
 * 16 bytes, so most look-ups are one multiplication and two compares in one half cache line. Only names that
 * have no row are tried against the prefix rules, and only when some rule begins with their letter.
 */
#include "refrain/wire/header.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "refrain/base/attr.h"

enum {
    CONNECTION_OPTIONS_MAX = 64, /* bounds the work one Connection field can ask for */
    LENGTH_DIGITS_MAX = 18,      /* any such number fits in int64_t */
};

struct row {
    struct slice name; /* lower case; a trailing `*` makes it a prefix */
    uint32_t flags;
};

#define UNKEYED  HEADER_UNKEYED
#define UNSTORED HEADER_UNSTORED
#define ASKS     (HEADER_CONTROL | HEADER_UNKEYED)
#define OURS     (HEADER_OURS | HEADER_CONTROL | HEADER_UNKEYED)
#define PEER     (HEADER_PEER | HEADER_CONTROL | HEADER_UNKEYED)

static const struct row shipped[] = {
    /* Hop-by-hop and framing: RFC 9110 section 7.6.1, RFC 9112 section 6. */
    {SLICE("connection"), HEADER_CONNECTION | HEADER_HOP | UNSTORED},
    {SLICE("keep-alive"), HEADER_HOP | UNSTORED},
    {SLICE("proxy-connection"), HEADER_HOP | UNSTORED},
    {SLICE("proxy-authenticate"), HEADER_HOP | UNSTORED},
    {SLICE("proxy-authentication-info"), HEADER_HOP | UNSTORED},
    {SLICE("proxy-authorization"), HEADER_HOP | HEADER_CREDENTIAL | UNSTORED},
    {SLICE("http2-settings"), HEADER_HOP | UNSTORED},
    {SLICE("te"), HEADER_TE | HEADER_HOP | UNSTORED},
    {SLICE("trailer"), HEADER_TRAILER | HEADER_HOP | UNSTORED},
    {SLICE("transfer-encoding"), HEADER_TRANSFER_ENCODING | HEADER_HOP | HEADER_FRAMING | UNSTORED},
    {SLICE("upgrade"), HEADER_UPGRADE | HEADER_HOP | UNSTORED},
    {SLICE("content-length"), HEADER_CONTENT_LENGTH | HEADER_FRAMING | UNSTORED},
    {SLICE("host"), HEADER_HOST | HEADER_FRAMING},
    {SLICE("expect"), HEADER_EXPECT | HEADER_FRAMING},

    /* Content and negotiation that code asks for; keyed. */
    {SLICE("accept"), HEADER_ACCEPT},
    {SLICE("content-encoding"), HEADER_CONTENT_ENCODING},
    {SLICE("content-range"), HEADER_CONTENT_RANGE},
    {SLICE("content-type"), HEADER_CONTENT_TYPE},
    {SLICE("etag"), HEADER_ETAG},
    {SLICE("expires"), HEADER_EXPIRES},
    {SLICE("last-modified"), HEADER_LAST_MODIFIED},
    {SLICE("location"), HEADER_LOCATION},
    {SLICE("vary"), HEADER_VARY},
    {SLICE("cdn-cache-control"), HEADER_CDN_CACHE_CONTROL},
    {SLICE("accept-encoding"), HEADER_ACCEPT_ENCODING | UNKEYED},
    {SLICE("date"), HEADER_DATE | UNKEYED},
    {SLICE("age"), HEADER_AGE | UNSTORED},

    /* What a request asks of a cache. Those that only upstream can judge are keyed: then their answer (412)
     * is neither stored under nor shared with the plain request's. A request for a part is answered from the
     * whole, or goes past the cache. */
    {SLICE("cache-control"), HEADER_CACHE_CONTROL | ASKS},
    {SLICE("pragma"), HEADER_PRAGMA | ASKS},
    {SLICE("if-none-match"), HEADER_IF_NONE_MATCH | ASKS},
    {SLICE("if-modified-since"), HEADER_IF_MODIFIED_SINCE | ASKS},
    {SLICE("if-match"), HEADER_IF_MATCH | HEADER_CONTROL},
    {SLICE("if-unmodified-since"), HEADER_IF_UNMODIFIED_SINCE | HEADER_CONTROL},
    {SLICE("if-range"), HEADER_IF_RANGE | ASKS},
    {SLICE("range"), HEADER_RANGE | ASKS},
    {SLICE("refrain-cache"), HEADER_REFRAIN_CACHE | OURS},
    {SLICE("refrain-key"), HEADER_REFRAIN_KEY | OURS},
    {SLICE("refrain-namespace"), HEADER_REFRAIN_NAMESPACE | OURS},
    {SLICE("refrain-operation"), HEADER_REFRAIN_OPERATION | OURS},
    {SLICE("refrain-tags"), HEADER_REFRAIN_TAGS | OURS},
    {SLICE("refrain-ttl"), HEADER_REFRAIN_TTL | OURS},
    {SLICE("refrain-variants"), HEADER_REFRAIN_VARIANTS | OURS},
    {SLICE("refrain-*"), OURS | UNSTORED},
    {SLICE("cf-aig-skip-cache"), HEADER_CF_AIG_SKIP_CACHE | PEER},
    {SLICE("cf-aig-cache-ttl"), HEADER_CF_AIG_CACHE_TTL | PEER},
    {SLICE("cf-aig-cache-key"), HEADER_CF_AIG_CACHE_KEY | PEER},
    {SLICE("helicone-cache-enabled"), HEADER_HELICONE_CACHE_ENABLED | PEER},
    {SLICE("helicone-cache-seed"), HEADER_HELICONE_CACHE_SEED | PEER},
    {SLICE("helicone-cache-bucket-max-size"), HEADER_HELICONE_CACHE_BUCKET_MAX_SIZE | PEER},
    {SLICE("x-portkey-cache-force-refresh"), HEADER_PORTKEY_CACHE_FORCE_REFRESH | PEER},
    {SLICE("x-portkey-cache-namespace"), HEADER_PORTKEY_CACHE_NAMESPACE | PEER},
    {SLICE("x-openrouter-cache"), HEADER_OPENROUTER_CACHE | PEER},
    {SLICE("x-openrouter-cache-clear"), HEADER_OPENROUTER_CACHE_CLEAR | PEER},
    {SLICE("x-openrouter-cache-ttl"), HEADER_OPENROUTER_CACHE_TTL | PEER},
    {SLICE("x-bt-use-cache"), HEADER_BT_USE_CACHE | PEER},
    {SLICE("x-bt-cache-ttl"), HEADER_BT_CACHE_TTL | PEER},

    /* Credentials. Cookie is not one of them: it is keyed as content, so it parts callers just the same. */
    {SLICE("authorization"), HEADER_AUTHORIZATION | HEADER_CREDENTIAL | UNSTORED},
    {SLICE("x-api-key"), HEADER_X_API_KEY | HEADER_CREDENTIAL | UNSTORED},
    {SLICE("api-key"), HEADER_API_KEY | HEADER_CREDENTIAL | UNSTORED},
    {SLICE("x-goog-api-key"), HEADER_X_GOOG_API_KEY | HEADER_CREDENTIAL | UNSTORED},

    /* Who calls, by which program and in which attempt; the answer does not depend on it. */
    {SLICE("user-agent"), UNKEYED},
    {SLICE("x-stainless-*"), UNKEYED},
    /* With every request of the OpenAI and Anthropic SDKs: spared the walk along the prefixes. */
    {SLICE("x-stainless-arch"), UNKEYED},
    {SLICE("x-stainless-async"), UNKEYED},
    {SLICE("x-stainless-lang"), UNKEYED},
    {SLICE("x-stainless-os"), UNKEYED},
    {SLICE("x-stainless-package-version"), UNKEYED},
    {SLICE("x-stainless-read-timeout"), UNKEYED},
    {SLICE("x-stainless-retry-count"), UNKEYED},
    {SLICE("x-stainless-runtime"), UNKEYED},
    {SLICE("x-stainless-runtime-version"), UNKEYED},
    {SLICE("x-stainless-timeout"), UNKEYED},
    {SLICE("x-goog-api-client"), UNKEYED},
    {SLICE("x-ms-useragent"), UNKEYED},
    {SLICE("idempotency-key"), UNKEYED | UNSTORED},
    {SLICE("x-idempotency-key"), UNKEYED | UNSTORED},
    {SLICE("from"), UNKEYED},

    /* Ids of requests, and tracing: W3C, B3, AWS, Google, Datadog, Sentry, Uber, Azure. */
    {SLICE("x-request-id"), HEADER_X_REQUEST_ID | UNKEYED | UNSTORED},
    {SLICE("request-id"), UNKEYED | UNSTORED},
    {SLICE("x-correlation-id"), UNKEYED | UNSTORED},
    {SLICE("correlation-id"), UNKEYED | UNSTORED},
    {SLICE("x-client-request-id"), UNKEYED | UNSTORED},
    {SLICE("x-ms-client-request-id"), UNKEYED | UNSTORED},
    {SLICE("x-trace-id"), UNKEYED | UNSTORED},
    {SLICE("traceparent"), UNKEYED | UNSTORED},
    {SLICE("tracestate"), UNKEYED | UNSTORED},
    {SLICE("traceresponse"), UNKEYED | UNSTORED},
    {SLICE("baggage"), UNKEYED | UNSTORED},
    {SLICE("b3"), UNKEYED | UNSTORED},
    {SLICE("x-b3-*"), UNKEYED | UNSTORED},
    {SLICE("x-amzn-trace-id"), UNKEYED | UNSTORED},
    {SLICE("x-cloud-trace-context"), UNKEYED | UNSTORED},
    {SLICE("grpc-trace-bin"), UNKEYED | UNSTORED},
    {SLICE("sentry-trace"), UNKEYED | UNSTORED},
    {SLICE("x-datadog-*"), UNKEYED | UNSTORED},
    {SLICE("uber-trace-id"), UNKEYED | UNSTORED},

    /* Marks of the proxies on the way that differ from client to client, and say nothing but who that is.
     * X-Forwarded-Host, -Proto, -Port and -Prefix, Forwarded, which may say as much, and CF-Visitor are
     * missing on purpose: origins build links and redirects from them, and left out of the key they would let
     * one caller plant such a link in everyone's answer. So is CF-IPCountry: answers may go by it. */
    {SLICE("x-forwarded-for"), UNKEYED},
    {SLICE("x-real-ip"), UNKEYED},
    {SLICE("x-client-ip"), UNKEYED},
    {SLICE("x-cluster-client-ip"), UNKEYED},
    {SLICE("x-envoy-external-address"), UNKEYED},
    {SLICE("true-client-ip"), UNKEYED},
    {SLICE("fastly-client-ip"), UNKEYED},
    {SLICE("cf-connecting-ip"), UNKEYED},
    {SLICE("cf-connecting-ipv6"), UNKEYED},
    {SLICE("cdn-loop"), UNKEYED},
    {SLICE("via"), HEADER_VIA | UNKEYED},

    /* Browser noise. Accept-Language, Origin and Referer are keyed: answers and grants may go by them. */
    {SLICE("sec-fetch-*"), UNKEYED},
    {SLICE("sec-ch-ua"), UNKEYED},
    {SLICE("sec-ch-ua-*"), UNKEYED},
    {SLICE("sec-gpc"), UNKEYED},
    {SLICE("dnt"), UNKEYED},
    {SLICE("priority"), UNKEYED},
    {SLICE("upgrade-insecure-requests"), UNKEYED},

    /* Of responses: made for one caller. */
    {SLICE("set-cookie"), HEADER_SET_COOKIE | UNSTORED},
    {SLICE("set-cookie2"), UNSTORED},
    {SLICE("set-authorization"), UNSTORED},
    {SLICE("authentication-info"), UNSTORED},
    {SLICE("www-authenticate"), UNSTORED},
    {SLICE("x-auth-token"), UNSTORED},
    {SLICE("x-access-token"), UNSTORED},
    {SLICE("x-refresh-token"), UNSTORED},
    {SLICE("x-session-token"), UNSTORED},
    {SLICE("x-subject-token"), UNSTORED},
    {SLICE("x-csrf-token"), UNSTORED},
    {SLICE("x-xsrf-token"), UNSTORED},
    {SLICE("x-amz-security-token"), UNSTORED},
    {SLICE("x-goog-iam-authorization-token"), UNSTORED},
    {SLICE("clear-site-data"), UNSTORED},
    {SLICE("anthropic-organization-id"), UNSTORED},
    {SLICE("anthropic-workspace-id"), UNSTORED},
    {SLICE("openai-organization"), UNSTORED},
    {SLICE("openai-project"), UNSTORED},

    /* What a caller has left, and when to come again: OpenAI, Anthropic, Azure, Google, Cohere, Mistral, and
     * the draft that others follow. */
    {SLICE("retry-after"), HEADER_RETRY_AFTER | UNSTORED},
    {SLICE("retry-after-ms"), UNSTORED},
    {SLICE("x-ms-retry-after-ms"), UNSTORED},
    {SLICE("x-should-retry"), UNSTORED},
    {SLICE("ratelimit"), UNSTORED},
    {SLICE("ratelimit-*"), UNSTORED},
    {SLICE("ratelimitbysize-*"), UNSTORED},
    {SLICE("x-ratelimit-*"), UNSTORED},
    {SLICE("x-ratelimitbysize-*"), UNSTORED},
    {SLICE("x-rate-limit-*"), UNSTORED},
    {SLICE("x-goog-quota-*"), UNSTORED},
    {SLICE("anthropic-ratelimit-*"), UNSTORED},
    {SLICE("anthropic-priority-*"), UNSTORED},
    {SLICE("anthropic-fast-*"), UNSTORED},
    {SLICE("x-trial-endpoint-call-*"), UNSTORED},
    {SLICE("x-endpoint-monthly-call-limit"), UNSTORED},

    /* Which request it was, and who on the way had it. */
    {SLICE("x-ms-request-id"), UNSTORED},
    {SLICE("x-ms-correlation-request-id"), UNSTORED},
    {SLICE("x-ms-operation-id"), UNSTORED},
    {SLICE("apim-request-id"), UNSTORED},
    {SLICE("azureml-model-session"), UNSTORED},
    {SLICE("x-azure-ref"), UNSTORED},
    {SLICE("x-amz-request-id"), UNSTORED},
    {SLICE("x-amz-id-2"), UNSTORED},
    {SLICE("x-amz-cf-id"), UNKEYED | UNSTORED},
    {SLICE("x-amz-cf-pop"), UNSTORED},
    {SLICE("x-amz-apigw-id"), UNSTORED},
    {SLICE("x-amzn-requestid"), UNSTORED},
    {SLICE("x-goog-request-id"), UNSTORED},
    {SLICE("x-guploader-uploadid"), UNSTORED},
    {SLICE("x-ds-trace-id"), UNSTORED},
    {SLICE("x-debug-trace-id"), UNSTORED},
    {SLICE("mistral-correlation-id"), UNSTORED},
    {SLICE("x-generation-id"), UNSTORED},
    {SLICE("cf-ray"), UNKEYED | UNSTORED},
    {SLICE("cf-aig-log-id"), UNSTORED},
    {SLICE("cf-aig-event-id"), UNSTORED},
    {SLICE("cf-aig-step"), UNSTORED},
    {SLICE("cf-aig-cache-status"), UNSTORED},
    {SLICE("helicone-id"), UNSTORED},
    {SLICE("helicone-cache"), UNSTORED},
    {SLICE("x-portkey-trace-id"), UNSTORED},
    {SLICE("x-portkey-cache-status"), UNSTORED},
    {SLICE("x-litellm-*"), UNSTORED},
    {SLICE("x-kong-request-id"), UNSTORED},
    {SLICE("x-vercel-id"), UNKEYED | UNSTORED},
    {SLICE("fly-request-id"), UNSTORED},
    {SLICE("rndr-id"), UNSTORED},
    {SLICE("x-railway-request-id"), UNSTORED},
    {SLICE("x-served-by"), UNSTORED},
    {SLICE("idempotency-replayed"), UNSTORED},

    /* How long it took upstream, which a hit does not. */
    {SLICE("openai-processing-ms"), UNSTORED},
    {SLICE("x-envoy-upstream-service-time"), UNSTORED},
    {SLICE("x-kong-proxy-latency"), UNSTORED},
    {SLICE("x-kong-upstream-latency"), UNSTORED},
    {SLICE("x-amzn-bedrock-invocation-latency"), UNSTORED},
    {SLICE("x-metrics-e2e-ms"), UNSTORED},
    {SLICE("x-metrics-ttft-ms"), UNSTORED},
    {SLICE("x-compute-time"), UNSTORED},
    {SLICE("x-total-time"), UNSTORED},
    {SLICE("x-queue-time"), UNSTORED},
    {SLICE("x-validation-time"), UNSTORED},
    {SLICE("x-inference-time"), UNSTORED},
    {SLICE("x-time-per-token"), UNSTORED},
    {SLICE("x-runtime"), UNSTORED},
    {SLICE("x-response-time"), UNSTORED},
    {SLICE("x-timer"), UNSTORED},
    {SLICE("server-timing"), UNSTORED},

    /* Of the connection to upstream's own edge, and of caches before ours. */
    {SLICE("alt-svc"), UNSTORED},
    {SLICE("report-to"), UNSTORED},
    {SLICE("nel"), UNSTORED},
    {SLICE("cf-cache-status"), UNSTORED},
    {SLICE("x-vercel-cache"), UNSTORED},
    {SLICE("x-proxy-cache"), UNSTORED},
    {SLICE("x-varnish"), UNSTORED},
    {SLICE("x-cache"), UNSTORED},
    {SLICE("x-cache-hits"), UNSTORED},
    {SLICE("x-cache-lookup"), UNSTORED},
};

/* First and last bytes of a name, lower case; with the length, all of a name up to 16 bytes. */
struct ends {
    uint64_t first, last;
};

struct slot {
    struct ends ends;
    const char *name; /* NULL: free */
    uint32_t len;
    uint32_t flags;
};

struct prefix {
    uint64_t word, mask; /* its first 8 bytes */
    struct slice text;
    uint32_t flags;
};

struct header_table {
    struct slot *slots;
    struct prefix *prefixes;
    size_t prefixes_n;
    char *names; /* the operator's, lower case */
    uint32_t mask;
    uint32_t len_max;
    uint32_t prefix_letters; /* bit per first letter */
};

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

static inline uint64_t load64(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof(w));
    return w;
}

static inline uint64_t load32(const char *p)
{
    uint32_t w;

    memcpy(&w, p, sizeof(w));
    return w;
}

/* A-Z to a-z in each of eight bytes, every other byte as it was. */
static inline uint64_t lower64(uint64_t w)
{
    uint64_t seven = w & EACH_BYTE(0x7F);
    uint64_t from_a = seven + EACH_BYTE(0x80 - 'A');
    uint64_t past_z = seven + EACH_BYTE(0x7F - 'Z');

    return w | (((from_a ^ past_z) & ~w & EACH_BYTE(0x80)) >> 2);
}

static inline struct ends name_ends(const char *p, size_t len)
{
    struct ends e = {0, 0};

    if (LIKELY(len >= 8)) {
        e.first = lower64(load64(p));
        e.last = lower64(load64(p + len - 8));
    } else if (len >= 4) {
        e.first = lower64(load32(p));
        e.last = lower64(load32(p + len - 4));
    } else if (len > 0) {
        e.first = lower64((uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[len / 2] << 8 |
                          (uint64_t)(unsigned char)p[len - 1] << 16);
    }
    return e;
}

static inline uint32_t ends_hash(struct ends e, size_t len)
{
    uint64_t h = (e.first ^ (e.last << 29 | e.last >> 35) ^ len) * UINT64_C(0x9E3779B97F4A7C15);

    return (uint32_t)(h >> 40);
}

/* What lies between the ends of a name longer than 16 bytes; @lower is lower case already. */
static bool middle_eq(const char *name, const char *lower, size_t len)
{
    size_t at = 8;

    for (; at + 8 < len - 8; at += 8)
        if (lower64(load64(name + at)) != load64(lower + at))
            return false;
    return lower64(load64(name + len - 16)) == load64(lower + len - 16);
}

static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool starts_with_lower(struct slice name, struct slice lower)
{
    if (name.len < lower.len)
        return false;
    for (size_t i = 0; i < lower.len; i++)
        if (to_lower(name.data[i]) != lower.data[i])
            return false;
    return true;
}

static uint32_t prefix_flags(const struct header_table *t, struct slice name, uint64_t first)
{
    for (size_t i = 0; i < t->prefixes_n; i++) {
        const struct prefix *p = &t->prefixes[i];

        if (name.len >= 8 && ((first ^ p->word) & p->mask) != 0)
            continue;
        if (starts_with_lower(name, p->text))
            return p->flags;
    }
    return 0;
}

uint32_t header_flags(const struct header_table *t, struct slice name)
{
    struct ends e;
    char letter;

    if (UNLIKELY(name.len == 0))
        return 0;
    e = name_ends(name.data, name.len);
    if (LIKELY(name.len <= t->len_max)) {
        for (uint32_t i = ends_hash(e, name.len) & t->mask; t->slots[i].name; i = (i + 1) & t->mask) {
            const struct slot *s = &t->slots[i];

            if (s->ends.first == e.first && s->ends.last == e.last && s->len == name.len &&
                (name.len <= 16 || middle_eq(name.data, s->name, name.len)))
                return s->flags;
        }
    }
    letter = to_lower(name.data[0]);
    if (!is_letter(letter) || !(t->prefix_letters >> (letter - 'a') & 1))
        return 0;
    return prefix_flags(t, name, e.first);
}

static void table_add_name(struct header_table *t, struct slice name, uint32_t flags)
{
    struct ends e = name_ends(name.data, name.len);
    uint32_t i = ends_hash(e, name.len) & t->mask;

    for (; t->slots[i].name; i = (i + 1) & t->mask) {
        if (t->slots[i].len == name.len && memcmp(t->slots[i].name, name.data, name.len) == 0) {
            t->slots[i].flags |= flags;
            return;
        }
    }
    t->slots[i] = (struct slot){e, name.data, (uint32_t)name.len, flags};
    if (name.len > t->len_max)
        t->len_max = (uint32_t)name.len;
}

static void table_add_prefix(struct header_table *t, struct slice text, uint32_t flags)
{
    struct prefix *p = &t->prefixes[t->prefixes_n++];
    size_t n = text.len < 8 ? text.len : 8;

    *p = (struct prefix){.text = text, .flags = flags};
    memcpy(&p->word, text.data, n);
    memset(&p->mask, 0xFF, n);
    if (is_letter(text.data[0]))
        t->prefix_letters |= 1U << (text.data[0] - 'a');
}

/* @name is lower case and outlives the table. Names that no field can have are left out. */
static void table_add(struct header_table *t, struct slice name, uint32_t flags)
{
    if (name.len > 1 && name.data[name.len - 1] == '*')
        table_add_prefix(t, (struct slice){name.data, name.len - 1}, flags);
    else if (name.len > 0)
        table_add_name(t, name, flags);
}

static char *table_add_own(struct header_table *t, struct header_names list, uint32_t flags, char *space)
{
    for (size_t i = 0; i < list.n; i++) {
        struct slice name = slice_trim(list.at[i]);

        for (size_t k = 0; k < name.len; k++)
            space[k] = to_lower(name.data[k]);
        table_add(t, slice_make(space, name.len), flags);
        space += name.len;
    }
    return space;
}

/* A name may be covered by a shipped row and by prefixes, the operator's too: the row of the longer match is
 * found first and must then know all that the shorter ones say. */
static void table_merge_prefixes(struct header_table *t)
{
    for (uint32_t i = 0; i <= t->mask; i++)
        for (size_t k = 0; t->slots[i].name && k < t->prefixes_n; k++)
            if (starts_with_lower(slice_make(t->slots[i].name, t->slots[i].len), t->prefixes[k].text))
                t->slots[i].flags |= t->prefixes[k].flags & ~(uint32_t)HEADER_ID_MASK;
    for (size_t i = 0; i < t->prefixes_n; i++)
        for (size_t k = 0; k < t->prefixes_n; k++)
            if (starts_with_lower(t->prefixes[i].text, t->prefixes[k].text))
                t->prefixes[i].flags |= t->prefixes[k].flags;
}

/* No body can be read without these, so they are stored with it, whatever an operator's prefix takes in. */
static void table_keep_meaning(struct header_table *t)
{
    for (uint32_t i = 0; i <= t->mask; i++) {
        uint32_t id = t->slots[i].flags & HEADER_ID_MASK;

        if (id == HEADER_CONTENT_ENCODING || id == HEADER_CONTENT_TYPE)
            t->slots[i].flags &= ~(uint32_t)HEADER_UNSTORED;
    }
}

static int longer_first(const void *a, const void *b)
{
    size_t x = ((const struct prefix *)a)->text.len, y = ((const struct prefix *)b)->text.len;

    return (x < y) - (x > y);
}

static size_t names_bytes(struct header_names list)
{
    size_t sum = 0;

    for (size_t i = 0; i < list.n; i++)
        sum += list.at[i].len;
    return sum;
}

struct header_table *header_table_new(struct header_names unkeyed, struct header_names unstored)
{
    size_t n = ARRAY_LEN(shipped) + unkeyed.n + unstored.n;
    struct header_table *t = calloc(1, sizeof(*t));
    uint32_t slots_n = 64;
    char *space;

    if (!t)
        return NULL;
    while (slots_n < n * 3)
        slots_n *= 2;
    t->mask = slots_n - 1;
    t->slots = calloc(slots_n, sizeof(*t->slots));
    t->prefixes = calloc(n, sizeof(*t->prefixes));
    t->names = malloc(names_bytes(unkeyed) + names_bytes(unstored) + 1);
    if (!t->slots || !t->prefixes || !t->names) {
        header_table_free(t);
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(shipped); i++)
        table_add(t, shipped[i].name, shipped[i].flags);
    space = table_add_own(t, unkeyed, HEADER_UNKEYED, t->names);
    (void)table_add_own(t, unstored, HEADER_UNSTORED, space);
    qsort(t->prefixes, t->prefixes_n, sizeof(*t->prefixes), longer_first);
    table_merge_prefixes(t);
    table_keep_meaning(t);
    return t;
}

void header_table_free(struct header_table *t)
{
    if (!t)
        return;
    free(t->slots);
    free(t->prefixes);
    free(t->names);
    free(t);
}

/* Connection must not be a way to take from a request what tells it apart: `Connection: Authorization` would
 * otherwise have upstream answer somebody else's question. */
static bool request_field_may_go(const struct field *f)
{
    return (f->flags & HEADER_UNKEYED) != 0 && (f->flags & (HEADER_CREDENTIAL | HEADER_CONTROL)) == 0;
}

static bool response_field_may_go(const struct field *f)
{
    return field_id(f) == HEADER_OTHER && (f->flags & HEADER_CREDENTIAL) == 0;
}

static void drop_option(struct fields *f, struct slice option, bool (*may_go)(const struct field *f))
{
    for (unsigned i = 0; i < f->n; i++)
        if (slice_ieq(f->at[i].name, option) && may_go(&f->at[i]))
            f->at[i].flags |= HEADER_HOP;
}

static void apply_connection(struct fields *f, bool (*may_go)(const struct field *f))
{
    unsigned left = CONNECTION_OPTIONS_MAX;

    for (unsigned i = 0; i < f->n; i++) {
        struct slice rest = f->at[i].value;

        if (field_id(&f->at[i]) != HEADER_CONNECTION)
            continue;
        while (rest.data && left > 0) {
            struct slice option = slice_trim(slice_cut(&rest, ','));

            left--;
            if (option.len > 0 && !slice_ieq(option, SLICE_OF("keep-alive")) &&
                !slice_ieq(option, SLICE_OF("close")))
                drop_option(f, option, may_go);
        }
    }
}

static void classify(struct fields *f, const struct header_table *t, bool (*may_go)(const struct field *f))
{
    bool connection = false;

    for (unsigned i = 0; i < f->n; i++) {
        f->at[i].flags = header_flags(t, f->at[i].name);
        connection |= field_id(&f->at[i]) == HEADER_CONNECTION;
    }
    if (connection)
        apply_connection(f, may_go);
}

void fields_classify(struct fields *f, const struct header_table *t)
{
    classify(f, t, request_field_may_go);
}

void fields_classify_response(struct fields *f, const struct header_table *t)
{
    classify(f, t, response_field_may_go);
}

int fields_add(struct fields *f, struct slice name, struct slice value)
{
    if (f->n >= FIELDS_MAX)
        return -EMSGSIZE;
    f->at[f->n++] = (struct field){name, value, 0};
    return 0;
}

const struct field *fields_find(const struct fields *f, struct slice name)
{
    for (unsigned i = 0; i < f->n; i++)
        if (slice_ieq(f->at[i].name, name))
            return &f->at[i];
    return NULL;
}

const struct field *fields_find_id(const struct fields *f, enum header_id id)
{
    assert(id != HEADER_OTHER);
    for (unsigned i = 0; i < f->n; i++)
        if (field_id(&f->at[i]) == id)
            return &f->at[i];
    return NULL;
}

const struct field *fields_only_id(const struct fields *f, enum header_id id)
{
    const struct field *first = fields_find_id(f, id);

    for (unsigned i = 0; first && i < f->n; i++)
        if (field_id(&f->at[i]) == id && &f->at[i] != first)
            return NULL;
    return first;
}

int64_t value_content_length(struct slice value)
{
    int64_t n = 0;

    value = slice_trim(value);
    if (value.len == 0 || value.len > LENGTH_DIGITS_MAX)
        return -1;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return -1;
        n = n * 10 + (value.data[i] - '0');
    }
    return n;
}

int64_t fields_content_length(const struct fields *f)
{
    const struct field *length = fields_find_id(f, HEADER_CONTENT_LENGTH);

    return length ? value_content_length(length->value) : -1;
}

bool value_has_token(struct slice value, struct slice token)
{
    while (value.data)
        if (slice_ieq(slice_trim(slice_cut(&value, ',')), token))
            return token.len > 0;
    return false;
}

/* RFC 9110 section 5.6.2: tchar. */
static const bool is_tchar[256] = {
    ['!'] = true,         ['#'] = true,         ['$'] = true,         ['%'] = true, ['&'] = true,
    ['\''] = true,        ['*'] = true,         ['+'] = true,         ['-'] = true, ['.'] = true,
    ['^'] = true,         ['_'] = true,         ['`'] = true,         ['|'] = true, ['~'] = true,
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

static bool tchars_ok(struct slice s)
{
    bool ok = s.len > 0;

    for (size_t i = 0; i < s.len; i++)
        ok &= is_tchar[(unsigned char)s.data[i]];
    return ok;
}

/* Sixteen bytes in one register, where the machine has such. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));

static inline bytes16 load16(const void *p)
{
    bytes16 b;

    memcpy(&b, p, sizeof(b));
    return b;
}

static inline bool any16(bytes16 b)
{
    uint64_t halves[2];

    memcpy(halves, &b, sizeof(halves));
    return (halves[0] | halves[1]) != 0;
}

/* Not 0 in each byte that is no letter, digit or hyphen: names are of these but for curiosities. */
static inline bytes16 curious_bytes16(bytes16 b)
{
    return (bytes16)(((b | 0x20) - 'a' > 'z' - 'a') & (b - '0' > 9) & (b != '-'));
}

/* The last bytes are read once more, together with those before them, rather than one by one. */
static inline bool name_ok(struct slice name)
{
    bytes16 curious = {0};

    if (name.len < 8)
        return tchars_ok(name);
    if (name.len < 16) {
        uint64_t ends[2] = {load64(name.data), load64(name.data + name.len - 8)};

        return !any16(curious_bytes16(load16(ends))) || tchars_ok(name);
    }
    for (size_t at = 0; at + 16 < name.len; at += 16)
        curious |= curious_bytes16(load16(name.data + at));
    curious |= curious_bytes16(load16(name.data + name.len - 16));
    return !any16(curious) || tchars_ok(name);
}

bool header_name_ok(struct slice name)
{
    return name_ok(name);
}

/* Not 0 in each byte that may not stand in a value. */
static inline bytes16 bad_bytes16(bytes16 b)
{
    return (bytes16)(((b < 0x20) & (b != '\t')) | (b == 0x7F));
}

/* The high bit of each byte that may not stand in a value. */
static inline uint64_t bad_bytes8(uint64_t w)
{
    uint64_t seven = w & EACH_BYTE(0x7F);
    uint64_t printable = seven + EACH_BYTE(0x60); /* 0x20 and up */
    uint64_t delete = seven + EACH_BYTE(0x01);    /* 0x7F */
    uint64_t not_tab = (seven ^ EACH_BYTE('\t')) + EACH_BYTE(0x7F);

    return ((~printable & not_tab) | delete) & ~w & EACH_BYTE(0x80);
}

/* The last bytes are read twice here, too. */
static inline bool value_ok(struct slice v)
{
    bytes16 bad = {0};

    if (v.len >= 16) {
        for (size_t at = 0; at + 16 < v.len; at += 16)
            bad |= bad_bytes16(load16(v.data + at));
        bad |= bad_bytes16(load16(v.data + v.len - 16));
        return !any16(bad);
    }
    if (v.len >= 8)
        return (bad_bytes8(load64(v.data)) | bad_bytes8(load64(v.data + v.len - 8))) == 0;
    if (v.len >= 4)
        return bad_bytes8(load32(v.data) | load32(v.data + v.len - 4) << 32) == 0;
    for (size_t i = 0; i < v.len; i++)
        if (bad_bytes8((unsigned char)v.data[i] | EACH_BYTE(' ') << 8) != 0)
            return false;
    return true;
}

bool header_value_ok(struct slice value)
{
    return value_ok(value);
}

bool fields_names_ok(const struct fields *f)
{
    bool ok = true;

    for (unsigned i = 0; i < f->n; i++)
        ok &= name_ok(f->at[i].name);
    return ok;
}

bool fields_values_ok(const struct fields *f)
{
    bool ok = true;

    for (unsigned i = 0; i < f->n; i++)
        ok &= value_ok(f->at[i].value);
    return ok;
}

/* RFC 9110 section 12.4.2: "0", "0." and up to three zeros mean "not acceptable". What is no weight counts
 * as 1. */
static bool weight_is_zero(struct slice params)
{
    while (params.data) {
        struct slice param = slice_trim(slice_cut(&params, ';'));
        struct slice name = slice_trim(slice_cut(&param, '='));
        struct slice value = param.data ? slice_trim(param) : SLICE_OF("1");

        if (!slice_ieq(name, SLICE_OF("q")) || value.len == 0 || value.data[0] != '0')
            continue;
        for (size_t i = 1; i < value.len; i++)
            if (value.data[i] != '0' && value.data[i] != '.')
                return false;
        return true;
    }
    return false;
}

bool accepts_gzip(struct slice accept_encoding)
{
    bool any = false;

    while (accept_encoding.data) {
        struct slice params = slice_cut(&accept_encoding, ',');
        struct slice coding = slice_trim(slice_cut(&params, ';'));

        /* RFC 9110 section 8.4.1.3: x-gzip is the same coding. */
        if (slice_ieq(coding, SLICE_OF("gzip")) || slice_ieq(coding, SLICE_OF("x-gzip")))
            return !weight_is_zero(params);
        if (slice_eq(coding, SLICE_OF("*")))
            any = !weight_is_zero(params);
    }
    return any;
}
