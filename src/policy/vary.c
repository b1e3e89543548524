#include "refrain/policy/vary.h"

#include <string.h>

#include "refrain/base/attr.h"

/* One a field, in the order they are written. No key of a request begins like this: that one's first tag is
 * its format. */
enum tag {
    TAG_VARIANT_OF = 65,
    TAG_ID,
    TAG_NAME,
    TAG_VALUE,
    TAG_CREDENTIAL,
};

/* ---- what Vary names ---- */

struct names {
    size_t n;
    struct slice at[VARY_NAMES_MAX];
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static int name_order(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;

    for (size_t i = 0; i < n; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return lower(a.data[i]) - lower(b.data[i]);
    return (a.len > b.len) - (a.len < b.len);
}

/* Keeps @names sorted. false: there are too many. */
static bool names_add(struct names *names, struct slice name)
{
    size_t at = names->n;

    for (size_t i = 0; i < names->n; i++)
        if (slice_ieq(names->at[i], name))
            return true;
    if (names->n == VARY_NAMES_MAX)
        return false;
    for (; at > 0 && name_order(name, names->at[at - 1]) < 0; at--)
        names->at[at] = names->at[at - 1];
    names->at[at] = name;
    names->n++;
    return true;
}

static bool scope_lists(const struct key_scope *scope, struct slice name)
{
    for (size_t i = 0; scope->mode == KEY_SCOPE_HEADERS && i < scope->headers_n; i++)
        if (slice_ieq(scope->headers[i], name))
            return true;
    return false;
}

/* Requests may differ in it, but upstream is not shown how: it is left out, or written anew, on the way. */
static bool is_hidden_from_upstream(uint32_t flags)
{
    if (flags & (HEADER_HOP | HEADER_FRAMING | HEADER_OURS))
        return true;
    switch (flags & HEADER_ID_MASK) {
    case HEADER_ACCEPT_ENCODING: /* one coding for all; what is stored is turned into the client's */
    case HEADER_IF_NONE_MATCH:   /* conditions of clients are answered here */
    case HEADER_IF_MODIFIED_SINCE:
        return true;
    default:
        return false;
    }
}

static enum vary_verdict judge_flags(uint32_t flags, struct slice name, const struct vary_terms *terms)
{
    if ((flags & HEADER_ID_MASK) == HEADER_X_REQUEST_ID)
        return VARY_NEVER; /* each request that upstream sees has another */
    if (is_hidden_from_upstream(flags) || scope_lists(terms->scope, name))
        return VARY_NONE;
    if (flags & HEADER_CREDENTIAL) {
        if (terms->scope->mode == KEY_SCOPE_CREDENTIAL)
            return VARY_NONE;
        return terms->scope->secret.len > 0 ? VARY_SPLIT : VARY_NEVER;
    }
    if ((flags & HEADER_ID_MASK) == HEADER_ACCEPT)
        return terms->accept_counts ? VARY_NONE : VARY_SPLIT;
    return flags & HEADER_UNKEYED ? VARY_SPLIT : VARY_NONE;
}

static enum vary_verdict judge_name(struct slice name, const struct vary_terms *terms)
{
    if (!header_name_ok(name) || slice_eq(name, SLICE_OF("*")))
        return VARY_NEVER;
    return judge_flags(header_flags(terms->headers, name), name, terms);
}

bool vary_may_name(const struct field *f, const struct vary_terms *terms)
{
    return judge_flags(f->flags, f->name, terms) == VARY_SPLIT;
}

static enum vary_verdict read_value(struct slice value, const struct vary_terms *terms, struct names *names)
{
    enum vary_verdict all = VARY_NONE;

    while (value.data) {
        struct slice name = slice_trim(slice_cut(&value, ','));
        enum vary_verdict one = name.len > 0 ? judge_name(name, terms) : VARY_NONE;

        if (one == VARY_NEVER || (one == VARY_SPLIT && !names_add(names, name)))
            return VARY_NEVER;
        all = one > all ? one : all;
    }
    return all;
}

/* false: it does not fit. */
static bool write_list(const struct names *names, struct vary_list *out)
{
    size_t len = 0;

    for (size_t i = 0; i < names->n; i++)
        len += names->at[i].len + (i > 0 ? 2 : 0);
    if (len > VARY_BYTES_MAX)
        return false;
    out->len = 0;
    for (size_t i = 0; i < names->n; i++) {
        if (i > 0) {
            out->text[out->len++] = ',';
            out->text[out->len++] = ' ';
        }
        for (size_t k = 0; k < names->at[i].len; k++)
            out->text[out->len++] = lower(names->at[i].data[k]);
    }
    return true;
}

enum vary_verdict vary_read(const struct fields *fields, const struct vary_terms *terms,
                            struct vary_list *out)
{
    enum vary_verdict all = VARY_NONE, one;
    struct names names = {.n = 0};

    for (unsigned i = 0; i < fields->n; i++) {
        if (field_id(&fields->at[i]) != HEADER_VARY)
            continue;
        one = read_value(fields->at[i].value, terms, &names);
        all = one > all ? one : all;
    }
    return all == VARY_SPLIT && !write_list(&names, out) ? VARY_NEVER : all;
}

/* ---- the key of a variant ---- */

/* Fields whose value is a list of elements that white space may surround (RFC 9110 section 5.6.1). Of a field
 * not listed here two spellings of one value are two variants: that costs a miss, never a wrong answer. */
static bool is_list(struct slice name)
{
    static const struct slice lists[] = {
        SLICE("accept"),        SLICE("accept-charset"), SLICE("accept-language"),
        SLICE("cache-control"), SLICE("pragma"),         SLICE("x-forwarded-for"),
    };

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (slice_eq(name, lists[i]))
            return true;
    return false;
}

/* A comma in quotes parts nothing. */
static bool has_quotes(struct slice value)
{
    return value.len > 0 && memchr(value.data, '"', value.len);
}

static void add_elements(struct sha256 *hash, struct slice value)
{
    while (value.data) {
        struct slice element = slice_trim(slice_cut(&value, ','));

        if (element.len > 0)
            sha256_add_field(hash, TAG_VALUE, element);
    }
}

/* Without a secret no answer varies by a credential (vary_read); a list that says so all the same was made
 * elsewhere, and no key that was made there is met. */
static void add_credential(struct sha256 *hash, struct slice value, struct slice secret)
{
    struct digest sum;

    if (secret.len == 0) {
        sha256_add_field(hash, TAG_CREDENTIAL, SLICE_OF(""));
        return;
    }
    sum = hmac_sha256(secret, value);
    sha256_add_field(hash, TAG_CREDENTIAL, slice_make(sum.bytes, sizeof(sum.bytes)));
}

static void add_value(struct sha256 *hash, struct slice name, const struct field *f,
                      const struct key_scope *scope)
{
    struct slice value = slice_trim(f->value);

    if (f->flags & HEADER_CREDENTIAL)
        add_credential(hash, value, scope->secret);
    else if (is_list(name) && !has_quotes(value))
        add_elements(hash, value);
    else
        sha256_add_field(hash, TAG_VALUE, value);
}

static void add_name(struct sha256 *hash, struct slice name, const struct field *at, size_t n,
                     const struct key_scope *scope)
{
    bool present = false;

    sha256_add_field(hash, TAG_NAME, name);
    for (size_t i = 0; i < n; i++)
        if (slice_ieq(at[i].name, name) && (at[i].flags & HEADER_HOP) == 0) {
            if (!present)
                sha256_add_field(hash, TAG_NAME, SLICE_OF("")); /* it is there, be it empty */
            present = true;
            add_value(hash, name, &at[i], scope);
        }
}

struct digest vary_key(struct sha256 *hash, const struct digest *common, struct slice id, struct slice names,
                       const struct field *at, size_t n, const struct key_scope *scope)
{
    sha256_begin(hash);
    sha256_add_field(hash, TAG_VARIANT_OF, slice_make(common->bytes, sizeof(common->bytes)));
    sha256_add_field(hash, TAG_ID, id);
    while (names.data) {
        struct slice name = slice_trim(slice_cut(&names, ','));

        if (name.len > 0)
            add_name(hash, name, at, n, scope);
    }
    return sha256_end(hash);
}
