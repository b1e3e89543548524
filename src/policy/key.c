#include "refrain/policy/key.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"

/* One a field, in the order they are written. A number once given keeps its meaning. */
enum tag {
    TAG_FORMAT = 1,
    TAG_NAMESPACE,
    TAG_SCOPE_KIND,
    TAG_SCOPE,
    TAG_UPSTREAM,
    TAG_CONFIG,
    TAG_METHOD,
    TAG_TARGET,
    TAG_HEADER_NAME,
    TAG_HEADER_VALUE,
    TAG_OPERATION,
    TAG_CUSTOM,
    TAG_CUSTOM_MEMBER,
    TAG_BODY_EXACT,
    TAG_BODY_CANONICAL,
    TAG_VARIANT,
    TAG_BASE,
};

enum { GATHER_MAX = 1024 };

/* A hash update costs more than a short field: they are gathered, and long ones go straight through. */
struct key_maker {
    struct sha256 *hash;
    struct trace *trace; /* gets every part; NULL: nobody asks */
    size_t gathered;
    char gather[GATHER_MAX];
};

struct key_maker *key_maker_new(void)
{
    struct key_maker *m = calloc(1, sizeof(*m));

    if (!m)
        abort();
    m->hash = sha256_new();
    return m;
}

void key_maker_free(struct key_maker *m)
{
    if (!m)
        return;
    sha256_free(m->hash);
    free(m);
}

/* ---- writing fields ---- */

static void begin(struct key_maker *m)
{
    sha256_begin(m->hash);
    m->gathered = 0;
}

static void flush(struct key_maker *m)
{
    sha256_add(m->hash, slice_make(m->gather, m->gathered));
    m->gathered = 0;
}

static struct digest end(struct key_maker *m)
{
    flush(m);
    return sha256_end(m->hash);
}

static void put_bytes(struct key_maker *m, struct slice bytes)
{
    if (m->trace)
        trace_add(m->trace, bytes);
    if (bytes.len > GATHER_MAX - m->gathered)
        flush(m);
    if (bytes.len > GATHER_MAX) {
        sha256_add(m->hash, bytes);
        return;
    }
    if (bytes.len > 0)
        memcpy(m->gather + m->gathered, bytes.data, bytes.len);
    m->gathered += bytes.len;
}

/* Tag byte and 64-bit little-endian length, as sha256_add_field has it. */
static void put_head(struct key_maker *m, enum tag tag, size_t len)
{
    uint8_t head[9] = {(uint8_t)tag};

    for (int i = 0; i < 8; i++)
        head[1 + i] = (uint8_t)((uint64_t)len >> (8 * i));
    put_bytes(m, slice_make(head, sizeof(head)));
}

static void put_field(struct key_maker *m, enum tag tag, struct slice bytes)
{
    put_head(m, tag, bytes.len);
    put_bytes(m, bytes);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static void put_lower(struct key_maker *m, struct slice text)
{
    char part[64];
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        part[n++] = lower(text.data[i]);
        if (n == sizeof(part) || i + 1 == text.len) {
            put_bytes(m, slice_make(part, n));
            n = 0;
        }
    }
}

static void put_field_lower(struct key_maker *m, enum tag tag, struct slice text)
{
    put_head(m, tag, text.len);
    put_lower(m, text);
}

/* ---- telling the trace what comes next ---- */

static void part_named(struct key_maker *m, enum trace_kind kind, struct slice name)
{
    if (m->trace)
        trace_part(m->trace, kind, name);
}

static void part(struct key_maker *m, enum trace_kind kind)
{
    part_named(m, kind, SLICE_OF(""));
}

/* What follows is in the trace in another form. */
static void part_none(struct key_maker *m)
{
    if (m->trace)
        trace_end(m->trace);
}

/* ---- `?key=` ---- */

static struct slice query_of(struct slice target)
{
    const char *mark = target.len > 0 ? memchr(target.data, '?', target.len) : NULL;

    return mark ? slice_skip(target, (size_t)(mark - target.data) + 1) : (struct slice){NULL, 0};
}

static bool is_key_parameter(struct slice parameter, struct slice *out_value)
{
    if (!slice_starts(parameter, SLICE_OF("key=")))
        return false;
    *out_value = slice_skip(parameter, 4);
    return true;
}

/* Path and query without its `key` parameters; their place among the others does not count. */
static void put_target_without_key(struct key_maker *m, struct slice target)
{
    struct slice query = query_of(target), parameter, value;
    struct slice path = slice_make(target.data, target.len - query.len);
    size_t len = path.len;

    for (struct slice rest = query; rest.data;) {
        parameter = slice_cut(&rest, '&');
        if (!is_key_parameter(parameter, &value))
            len += parameter.len + 1;
    }
    put_head(m, TAG_TARGET, len);
    put_bytes(m, path);
    for (struct slice rest = query; rest.data;) {
        parameter = slice_cut(&rest, '&');
        if (is_key_parameter(parameter, &value))
            continue;
        put_bytes(m, parameter);
        put_bytes(m, SLICE_OF("&"));
    }
}

static void put_target(struct key_maker *m, const struct key_request *r)
{
    if (r->key_in_query)
        put_target_without_key(m, r->target);
    else
        put_field(m, TAG_TARGET, r->target);
}

/* ---- header fields ---- */

/*
 * Fields by name, those of one name as they came: senders and proxies turn names round, while the order of
 * one name's values has a meaning (RFC 9110 section 5.3).
 */
struct sorted {
    size_t n;
    const struct field *at[FIELDS_MAX];
};

static int name_order(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;

    for (size_t i = 0; i < n; i++) {
        unsigned char x = (unsigned char)lower(a.data[i]), y = (unsigned char)lower(b.data[i]);

        if (x != y)
            return x < y ? -1 : 1;
    }
    return (a.len > b.len) - (a.len < b.len);
}

static void sorted_add(struct sorted *s, const struct field *f)
{
    size_t at = s->n++;

    for (; at > 0 && name_order(f->name, s->at[at - 1]->name) < 0; at--)
        s->at[at] = s->at[at - 1];
    s->at[at] = f;
}

static bool counts_as_content(const struct key_request *r, const struct field *f)
{
    if (field_id(f) == HEADER_CF_AIG_CACHE_KEY && r->controls_go_on)
        return true; /* heeded here or not, that gateway's answer is to its key, whatever the prompt */
    if (!field_is_keyed(f))
        return false;
    return field_id(f) != HEADER_ACCEPT || r->accept_counts;
}

static bool is_utf8_charset(struct slice parameter)
{
    struct slice value = parameter, name = slice_cut(&value, '=');

    return value.data && slice_ieq(slice_trim(name), SLICE_OF("charset")) &&
           (slice_ieq(slice_trim(value), SLICE_OF("utf-8")) ||
            slice_ieq(slice_trim(value), SLICE_OF("utf8")));
}

/* The next parameter that counts; empty when there is none left. *@rest moves on. */
static struct slice next_parameter(struct slice *rest)
{
    while (rest->data) {
        struct slice part = slice_trim(slice_cut(rest, ';'));

        if (part.len > 0 && !is_utf8_charset(part))
            return part;
    }
    return (struct slice){NULL, 0};
}

/*
 * Type and subtype ignore case (RFC 9110 section 8.3.1), and a charset that JSON has anyway says nothing. Any
 * other parameter may change how the body is read: it stays, as it is written. So does a value with quotes in
 * it, where a semicolon need not be one.
 */
static void put_content_type(struct key_maker *m, struct slice value)
{
    struct slice parameters = value, type = slice_trim(slice_cut(&parameters, ';')), part;
    size_t len = type.len;

    if (value.len > 0 && memchr(value.data, '"', value.len)) {
        put_field(m, TAG_HEADER_VALUE, slice_trim(value));
        return;
    }
    for (struct slice rest = parameters; (part = next_parameter(&rest)).len > 0;)
        len += 1 + part.len;
    put_head(m, TAG_HEADER_VALUE, len);
    put_lower(m, type);
    for (struct slice rest = parameters; (part = next_parameter(&rest)).len > 0;) {
        put_bytes(m, SLICE_OF(";"));
        put_bytes(m, part);
    }
}

static void put_header(struct key_maker *m, const struct field *f)
{
    part_named(m, TRACE_HEADER, f->name);
    put_field_lower(m, TAG_HEADER_NAME, f->name);
    if (field_id(f) == HEADER_CONTENT_TYPE)
        put_content_type(m, f->value);
    else
        put_field(m, TAG_HEADER_VALUE, slice_trim(f->value));
}

static void put_headers(struct key_maker *m, const struct key_request *r)
{
    struct sorted keyed = {.n = 0};

    for (size_t i = 0; i < r->fields->n; i++)
        if (counts_as_content(r, &r->fields->at[i]))
            sorted_add(&keyed, &r->fields->at[i]);
    for (size_t i = 0; i < keyed.n; i++)
        put_header(m, keyed.at[i]);
}

/* ---- scope ---- */

static void put_proof(struct key_maker *m, struct slice name, struct slice value)
{
    put_field_lower(m, TAG_HEADER_NAME, name);
    put_field(m, TAG_HEADER_VALUE, slice_trim(value));
}

static void put_query_proofs(struct key_maker *m, struct slice target)
{
    struct slice value;

    for (struct slice rest = query_of(target); rest.data;)
        if (is_key_parameter(slice_cut(&rest, '&'), &value))
            put_proof(m, SLICE_OF("?key"), value);
}

/* A credential that is not forwarded (Proxy-Authorization) proves nothing to upstream. */
static void put_credentials(struct key_maker *m, const struct key_request *r)
{
    struct sorted credentials = {.n = 0};

    for (size_t i = 0; i < r->fields->n; i++)
        if ((r->fields->at[i].flags & (HEADER_CREDENTIAL | HEADER_HOP)) == HEADER_CREDENTIAL)
            sorted_add(&credentials, &r->fields->at[i]);
    for (size_t i = 0; i < credentials.n; i++)
        put_proof(m, credentials.at[i]->name, credentials.at[i]->value);
    put_query_proofs(m, r->target);
}

static void put_listed(struct key_maker *m, const struct key_request *r, struct slice name)
{
    if (slice_ieq(name, SLICE_OF("?key"))) {
        put_query_proofs(m, r->target);
        return;
    }
    for (size_t i = 0; i < r->fields->n; i++)
        if (slice_ieq(r->fields->at[i].name, name))
            put_proof(m, name, r->fields->at[i].value);
}

static bool scope_is_client(const struct key_request *r)
{
    return r->scope->mode != KEY_SCOPE_SHARED && r->client.len > 0;
}

/* HMAC over the sum of the fields is HMAC over the fields, without a place to gather them in. A client stands
 * for its credential, not for what else tells callers apart. */
static struct digest scope_sum(struct key_maker *m, const struct key_request *r)
{
    struct digest sum;

    begin(m);
    if (scope_is_client(r))
        put_field(m, TAG_SCOPE, r->client);
    else if (r->scope->mode == KEY_SCOPE_CREDENTIAL)
        put_credentials(m, r);
    for (size_t i = 0; r->scope->mode == KEY_SCOPE_HEADERS && i < r->scope->headers_n; i++)
        put_listed(m, r, r->scope->headers[i]);
    sum = end(m);
    return sha256_hmac(m->hash, r->scope->secret, slice_make(sum.bytes, sizeof(sum.bytes)));
}

static void put_scope(struct key_maker *m, const struct key_request *r, const struct digest *sum)
{
    static const struct slice names[] = {
        [KEY_SCOPE_CREDENTIAL] = SLICE("credential"),
        [KEY_SCOPE_SHARED] = SLICE("shared"),
        [KEY_SCOPE_HEADERS] = SLICE("headers"),
    };

    part(m, TRACE_SCOPE);
    put_field(m, TAG_SCOPE_KIND, scope_is_client(r) ? SLICE_OF("client") : names[r->scope->mode]);
    part(m, TRACE_CREDENTIAL);
    if (r->scope->mode != KEY_SCOPE_SHARED)
        put_field(m, TAG_SCOPE, slice_make(sum->bytes, sizeof(sum->bytes)));
    else
        put_field(m, TAG_SCOPE, SLICE_OF(""));
}

/* ---- callers ---- */

static bool brings_credential(const struct key_request *r)
{
    struct slice value;

    for (size_t i = 0; i < r->fields->n; i++)
        if ((r->fields->at[i].flags & (HEADER_CREDENTIAL | HEADER_HOP)) == HEADER_CREDENTIAL)
            return true;
    for (struct slice rest = query_of(r->target); rest.data;)
        if (is_key_parameter(slice_cut(&rest, '&'), &value))
            return true;
    return false;
}

static bool has_caller(const struct key_request *r)
{
    return r->scope->mode == KEY_SCOPE_CREDENTIAL && r->client.len == 0 && !r->credential_is_ours &&
           brings_credential(r);
}

/* A credential is known to one upstream, and unknown to another. */
static uint64_t caller_of(struct key_maker *m, const struct key_request *r, const struct digest *scope)
{
    struct digest sum;
    uint64_t caller;

    begin(m);
    put_field(m, TAG_SCOPE, slice_make(scope->bytes, sizeof(scope->bytes)));
    put_field(m, TAG_UPSTREAM, r->upstream);
    sum = end(m);
    memcpy(&caller, sum.bytes, sizeof(caller));
    caller &= KEY_CALLER_MAX;
    return caller == 0 ? 1 : caller;
}

uint64_t key_caller(struct key_maker *m, const struct key_request *r)
{
    struct digest scope;

    if (!has_caller(r))
        return 0;
    scope = scope_sum(m, r);
    return caller_of(m, r, &scope);
}

/* ---- body ---- */

/* A member of the canonical body that counts beside a custom key; absent, null and "null" differ by their
 * kind. */
static void put_custom_member(struct key_maker *m, struct slice body, struct slice name)
{
    struct slice value = {NULL, 0};
    char kind = (char)('0' + jscan_member(body, name, &value));

    part_named(m, TRACE_CUSTOM_MEMBER, name);
    put_head(m, TAG_CUSTOM_MEMBER, 1 + value.len);
    put_bytes(m, slice_make(&kind, 1));
    put_bytes(m, value);
}

static void put_body(struct key_maker *m, const struct key_request *r)
{
    static const struct slice members[] = {SLICE("model"), SLICE("stream"), SLICE("stream_options")};

    part(m, TRACE_CUSTOM_KEY);
    put_field(m, TAG_CUSTOM, r->custom_key);
    if (r->body_kind == KEY_BODY_EXACT) {
        part(m, TRACE_BODY);
        put_field(m, TAG_BODY_EXACT, r->body);
        return;
    }
    part_none(m); /* trace_body has its leaves */
    if (r->custom_key.len == 0)
        put_field(m, TAG_BODY_CANONICAL, r->body);
    else
        for (size_t i = 0; i < ARRAY_LEN(members); i++)
            put_custom_member(m, r->body, members[i]);
}

static void put_variant(struct key_maker *m, unsigned variant)
{
    uint8_t bytes[4];

    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(variant >> (8 * i));
    put_field(m, TAG_VARIANT, slice_make(bytes, sizeof(bytes)));
}

struct digest key_make(struct key_maker *m, const struct key_request *r)
{
    struct digest sum = {{0}};

    if (r->scope->mode != KEY_SCOPE_SHARED) /* first: it uses the same hash */
        sum = scope_sum(m, r);
    if (r->out_caller)
        *r->out_caller = has_caller(r) ? caller_of(m, r, &sum) : 0;
    begin(m);
    put_field(m, TAG_FORMAT, SLICE_OF(KEY_FORMAT));
    m->trace = r->trace; /* not before: the scope's own sum is made by the same hands */
    part(m, TRACE_NAMESPACE);
    put_field(m, TAG_NAMESPACE, r->namespace_);
    put_scope(m, r, &sum);
    part(m, TRACE_UPSTREAM);
    put_field(m, TAG_UPSTREAM, r->upstream);
    part(m, TRACE_CONFIG);
    put_field(m, TAG_CONFIG, r->config);
    part(m, TRACE_METHOD);
    put_field(m, TAG_METHOD, r->method);
    part(m, TRACE_TARGET);
    put_target(m, r);
    put_headers(m, r);
    part(m, TRACE_OPERATION);
    put_field(m, TAG_OPERATION, r->operation);
    put_body(m, r);
    part(m, TRACE_VARIANT);
    put_variant(m, r->variant);
    part_none(m);
    m->trace = NULL;
    return end(m);
}

struct digest key_of_variant(struct key_maker *m, const struct digest *base, unsigned number)
{
    begin(m);
    put_field(m, TAG_FORMAT, SLICE_OF(KEY_FORMAT));
    put_field(m, TAG_BASE, slice_make(base->bytes, sizeof(base->bytes)));
    put_variant(m, number);
    return end(m);
}
