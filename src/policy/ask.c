#include "refrain/policy/ask.h"

#include <assert.h>

#include "refrain/base/attr.h"

static const int64_t year_s = INT64_C(365) * 24 * 3600;

/* What Refrain-Cache and its peers can say, the stricter the later. */
enum mode { MODE_ON, MODE_READ_ONLY, MODE_WRITE_ONLY, MODE_REFRESH, MODE_OFF };

/* One reading of one request. */
struct reading {
    const struct ask_conf *conf;
    struct ask *ask;
    enum mode mode;
    bool cache_control, pragma; /* a Cache-Control field came; Pragma says no-cache */
    bool ours;                  /* some Refrain-* field came */
    uint64_t given;             /* Refrain-* fields that came, bit per id */
    const char *why;            /* what is wrong with one of them */
};

static_assert(HEADER_ID_COUNT <= 64, "ids are bits of one word");

/* --- values --- */

/* Plain digits; -1 when it is anything else or over @max. */
static int64_t number_of(struct slice s, int64_t max)
{
    int64_t n = 0;

    if (s.len == 0)
        return -1;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return -1;
        n = n * 10 + (s.data[i] - '0');
        if (n > max)
            return -1;
    }
    return n;
}

/* Seconds in one of the unit a lifetime ends with; 0 when it ends with none. */
static int64_t unit_of(char c)
{
    switch (c) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return INT64_C(24) * 3600;
    default:
        return 0;
    }
}

int64_t ask_parse_ttl(struct slice text)
{
    int64_t unit = 0, n;

    text = slice_trim(text);
    if (slice_ieq(text, SLICE_OF("none")))
        return ASK_TTL_NONE;
    if (text.len > 0)
        unit = unit_of(text.data[text.len - 1]);
    if (unit > 0)
        text.len--;
    else
        unit = 1;
    n = number_of(text, year_s);
    if (n < 1 || n > year_s / unit)
        return -1;
    return n * unit;
}

static bool is_name_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
}

/* [A-Za-z0-9._-] and @also, 1 to ASK_NAME_MAX bytes. */
static bool name_ok(struct slice s, const char *also)
{
    if (s.len == 0 || s.len > ASK_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_name_byte(s.data[i]) && (s.data[i] == '\0' || !strchr(also, s.data[i])))
            return false;
    return true;
}

bool ask_tag_ok(struct slice tag)
{
    return name_ok(tag, ":/@+=");
}

static int64_t capped(const struct ask_conf *conf, int64_t ttl_s)
{
    bool over = ttl_s == ASK_TTL_NONE || ttl_s > conf->ttl_max_s;

    return conf->ttl_max_s > 0 && over ? conf->ttl_max_s : ttl_s;
}

static void be_stricter(struct reading *r, enum mode mode)
{
    if (mode > r->mode)
        r->mode = mode;
}

/* --- peers --- */

static bool is_true(struct slice value)
{
    return slice_ieq(value, SLICE_OF("true"));
}

static bool is_false(struct slice value)
{
    return slice_ieq(value, SLICE_OF("false"));
}

static void peer_ttl(struct reading *r, struct slice value)
{
    int64_t s = number_of(value, year_s);

    if (s >= 1)
        r->ask->ttl_s = capped(r->conf, s);
}

static void peer_namespace(struct reading *r, struct slice value)
{
    if (name_ok(value, ""))
        r->ask->namespace_ = value;
}

static void peer_custom_key(struct reading *r, struct slice value)
{
    if (value.len > 0 && value.len <= ASK_KEY_MAX)
        r->ask->custom_key = value;
}

static void peer_variants(struct reading *r, struct slice value)
{
    int64_t n = number_of(value, ASK_VARIANTS_MAX);

    if (n >= 1)
        r->ask->variants = (unsigned)n;
}

static void read_peer(struct reading *r, const struct field *f)
{
    struct slice value = slice_trim(f->value);

    switch (field_id(f)) {
    case HEADER_CF_AIG_SKIP_CACHE: /* Cloudflare AI Gateway */
        if (is_true(value))
            be_stricter(r, MODE_OFF);
        break;
    case HEADER_HELICONE_CACHE_ENABLED:
    case HEADER_OPENROUTER_CACHE:
        if (is_false(value))
            be_stricter(r, MODE_OFF);
        break;
    case HEADER_BT_USE_CACHE: /* Braintrust: auto, always, never */
        if (slice_ieq(value, SLICE_OF("never")))
            be_stricter(r, MODE_OFF);
        break;
    case HEADER_PORTKEY_CACHE_FORCE_REFRESH:
    case HEADER_OPENROUTER_CACHE_CLEAR:
        if (is_true(value))
            be_stricter(r, MODE_REFRESH);
        break;
    case HEADER_CF_AIG_CACHE_TTL:
    case HEADER_OPENROUTER_CACHE_TTL:
    case HEADER_BT_CACHE_TTL:
        peer_ttl(r, value);
        break;
    case HEADER_PORTKEY_CACHE_NAMESPACE:
    case HEADER_HELICONE_CACHE_SEED:
        peer_namespace(r, value);
        break;
    case HEADER_CF_AIG_CACHE_KEY:
        peer_custom_key(r, value);
        break;
    case HEADER_HELICONE_CACHE_BUCKET_MAX_SIZE:
        peer_variants(r, value);
        break;
    default:
        break;
    }
}

/* --- ours --- */

static const char *own_cache(struct reading *r, struct slice value)
{
    static const struct {
        struct slice word;
        enum mode mode;
    } words[] = {
        {SLICE("on"), MODE_ON},
        {SLICE("read-only"), MODE_READ_ONLY},
        {SLICE("write-only"), MODE_WRITE_ONLY},
        {SLICE("refresh"), MODE_REFRESH},
        {SLICE("off"), MODE_OFF},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (slice_ieq(value, words[i].word)) {
            r->mode = words[i].mode;
            return NULL;
        }
    }
    return "Refrain-Cache must be one of: on, off, refresh, read-only, write-only";
}

static const char *own_ttl(struct reading *r, struct slice value)
{
    int64_t s = ask_parse_ttl(value);

    if (s == -1)
        return "Refrain-TTL must be seconds, or a number with s, m, h or d, from 1 s to 1 year, or none";
    r->ask->ttl_none = s == ASK_TTL_NONE;
    r->ask->ttl_s = capped(r->conf, s);
    return NULL;
}

static const char *own_namespace(struct reading *r, struct slice value)
{
    if (!name_ok(value, ""))
        return "Refrain-Namespace must be 1 to 64 of: A-Z a-z 0-9 . _ -";
    r->ask->namespace_ = value;
    r->ask->own_namespace = true;
    return NULL;
}

static const char *own_key(struct reading *r, struct slice value)
{
    if (value.len == 0 || value.len > ASK_KEY_MAX)
        return "Refrain-Key must be 1 to 1024 bytes";
    r->ask->custom_key = value;
    r->ask->own_key = true;
    return NULL;
}

static const char *own_operation(struct reading *r, struct slice value)
{
    if (!name_ok(value, ""))
        return "Refrain-Operation must be 1 to 64 of: A-Z a-z 0-9 . _ -";
    r->ask->operation = value;
    return NULL;
}

static const char *own_variants(struct reading *r, struct slice value)
{
    int64_t n = number_of(value, ASK_VARIANTS_MAX);

    if (n < 1)
        return "Refrain-Variants must be a number from 1 to 64";
    r->ask->variants = (unsigned)n;
    return NULL;
}

static bool has_tag(const struct ask *a, struct slice tag)
{
    for (unsigned i = 0; i < a->tags_n; i++)
        if (slice_eq(a->tags[i], tag))
            return true;
    return false;
}

static const char *own_tags(struct reading *r, struct slice value)
{
    while (value.data) {
        struct slice tag = slice_trim(slice_cut(&value, ','));

        if (tag.len == 0 || has_tag(r->ask, tag))
            continue; /* RFC 9110 section 5.6.1.2: empty elements are passed over */
        if (!ask_tag_ok(tag))
            return "Refrain-Tags must be a list of names, each 1 to 64 of: A-Z a-z 0-9 . _ - : / @ + =";
        if (r->ask->tags_n == ASK_TAGS_MAX)
            return "Refrain-Tags must be at most 16 names";
        r->ask->tags[r->ask->tags_n++] = tag;
    }
    return NULL;
}

static const char *read_own(struct reading *r, const struct field *f)
{
    struct slice value = slice_trim(f->value);

    switch (field_id(f)) {
    case HEADER_REFRAIN_CACHE:
        return own_cache(r, value);
    case HEADER_REFRAIN_TTL:
        return own_ttl(r, value);
    case HEADER_REFRAIN_NAMESPACE:
        return own_namespace(r, value);
    case HEADER_REFRAIN_KEY:
        return own_key(r, value);
    case HEADER_REFRAIN_OPERATION:
        return own_operation(r, value);
    case HEADER_REFRAIN_VARIANTS:
        return own_variants(r, value);
    case HEADER_REFRAIN_TAGS:
        return own_tags(r, value);
    default:
        return NULL;
    }
}

/* Behind the peers', so that ours have the last word. A second field of a name, unless it is a list, would
 * leave it to chance which one counts. */
static const char *read_all_own(struct reading *r, const struct fields *fields)
{
    for (unsigned i = 0; i < fields->n; i++) {
        const struct field *f = &fields->at[i];
        uint64_t bit = UINT64_C(1) << field_id(f);
        const char *why;

        if ((f->flags & HEADER_OURS) == 0 || field_id(f) == HEADER_OTHER)
            continue;
        if (r->given & bit && field_id(f) != HEADER_REFRAIN_TAGS)
            return "a Refrain-* header that is not a list was given twice";
        r->given |= bit;
        why = read_own(r, f);
        if (why)
            return why;
    }
    return NULL;
}

/* --- the standard's --- */

static void set_once(struct slice *at, struct slice value)
{
    if (!at->data)
        *at = value;
}

static void read_field(struct reading *r, const struct field *f)
{
    struct ask *a = r->ask;

    switch (field_id(f)) {
    case HEADER_ACCEPT_ENCODING:
        a->gzip |= accepts_gzip(f->value);
        break;
    case HEADER_CACHE_CONTROL:
        r->cache_control = true;
        cachectl_parse_request(&a->cc, f->value);
        break;
    case HEADER_PRAGMA:
        r->pragma |= value_has_token(f->value, SLICE_OF("no-cache"));
        break;
    case HEADER_IF_NONE_MATCH:
        set_once(&a->if_none_match, slice_trim(f->value));
        break;
    case HEADER_IF_MODIFIED_SINCE:
        set_once(&a->if_modified_since, slice_trim(f->value));
        break;
    case HEADER_RANGE:
        set_once(&a->range, slice_trim(f->value));
        break;
    case HEADER_IF_RANGE:
        set_once(&a->if_range, slice_trim(f->value));
        break;
    default:
        if (f->flags & HEADER_PEER && r->conf->client_control)
            read_peer(r, f);
        r->ours |= (f->flags & HEADER_OURS) != 0;
        break;
    }
}

static void settle_standard(struct reading *r)
{
    struct ask *a = r->ask;

    a->no_transform = a->cc.no_transform;
    if (!r->conf->client_control)
        cachectl_init(&a->cc);
    else if (r->pragma && !r->cache_control)
        a->cc.no_cache = true; /* RFC 9111 section 5.4 */
    a->only_if_cached = a->cc.only_if_cached;
    if (a->if_none_match.data)
        a->if_modified_since = (struct slice){NULL, 0}; /* RFC 9110 section 13.1.3 */
}

/* --- what it comes to --- */

static void settle(struct reading *r)
{
    struct ask *a = r->ask;
    bool refresh = r->mode == MODE_REFRESH || a->cc.no_cache;

    a->bypass = r->mode == MODE_OFF || a->cc.no_store;
    if (a->bypass)
        a->bypass_reason = a->cc.no_store ? "no-store" : "off";
    a->may_read = !a->bypass && !refresh && r->mode != MODE_WRITE_ONLY;
    a->may_write = !a->bypass && r->mode != MODE_READ_ONLY;
    a->may_share = !a->bypass;
    a->joins = !a->bypass && !refresh && !ask_wants_identity(a); /* what is on its way may be coded */
}

bool ask_read(const struct fields *fields, const struct ask_conf *conf, struct ask *out, const char **out_why)
{
    struct reading r = {.conf = conf, .ask = out, .mode = MODE_ON};

    *out = (struct ask){.ttl_s = -1};
    cachectl_init(&out->cc);
    for (unsigned i = 0; i < fields->n; i++)
        if (fields->at[i].flags & HEADER_CONTROL || field_id(&fields->at[i]) == HEADER_ACCEPT_ENCODING)
            read_field(&r, &fields->at[i]);
    if (r.ours && conf->client_control)
        r.why = read_all_own(&r, fields);
    if (r.why) {
        *out_why = r.why;
        return false;
    }
    settle_standard(&r);
    settle(&r);
    return true;
}

bool ask_check_leave(struct ask *ask, const struct ask_conf *conf, bool shared_scope, const char **out_why)
{
    if (!shared_scope)
        return true;
    if (ask->ttl_none && !conf->allow_ttl_none) {
        *out_why = "Refrain-TTL: none is not allowed here";
        return false;
    }
    if (ask->custom_key.len == 0 || conf->allow_custom_key)
        return true;
    if (ask->own_key) {
        *out_why = "Refrain-Key is not allowed here";
        return false;
    }
    ask->custom_key = (struct slice){NULL, 0};
    return true;
}

/* --- entity tags --- */

/* Without the W/ that makes it weak. */
static struct slice opaque_of(struct slice etag)
{
    return slice_starts(etag, SLICE_OF("W/")) ? slice_skip(etag, 2) : etag;
}

/* Length of the quoted tag that @s begins with, 0 when there is none. Commas may stand inside; nothing is
 * escaped. RFC 9110 section 8.8.3. */
static size_t opaque_len(struct slice s)
{
    const char *end;

    if (s.len < 2 || s.data[0] != '"')
        return 0;
    end = memchr(s.data + 1, '"', s.len - 1);
    return end ? (size_t)(end - s.data) + 1 : 0;
}

bool etag_list_matches(struct slice if_none_match, struct slice etag)
{
    struct slice rest = slice_trim(if_none_match);

    etag = opaque_of(etag);
    if (slice_eq(rest, SLICE_OF("*")))
        return true;
    while (rest.len > 0) {
        struct slice tag = opaque_of(rest);
        size_t len = opaque_len(tag);

        if (len > 0 && slice_eq(slice_make(tag.data, len), etag))
            return true;
        if (len > 0)
            rest = slice_skip(tag, len);
        (void)slice_cut(&rest, ',');
        rest = slice_trim(rest);
    }
    return false;
}
