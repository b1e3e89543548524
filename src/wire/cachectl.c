#include "refrain/wire/cachectl.h"

#include <stddef.h>

#include "refrain/base/attr.h"
#include "refrain/wire/sfield.h"

/* Deltas larger than this count as this (RFC 9111 section 1.2.2). */
static const int64_t delta_max_s = INT64_C(1) << 31;

/* One element of the list: a name and, when has_argument, what stood behind the `=`. */
struct directive {
    struct slice name;
    struct slice argument; /* without the quotes; escapes are left in, for no directive known has any */
    bool has_argument;
};

void cachectl_init(struct cachectl *c)
{
    *c = (struct cachectl){
        .max_age_s = CC_ABSENT,
        .s_maxage_s = CC_ABSENT,
        .min_fresh_s = CC_ABSENT,
        .max_stale_s = CC_ABSENT,
        .stale_while_revalidate_s = CC_ABSENT,
        .stale_if_error_s = CC_ABSENT,
    };
}

/* The list being read. A quote that is never closed is an ordinary byte, and so is every one behind it:
 * otherwise it could hide a `no-store`. */
struct list {
    struct slice rest;
    bool quotes_are_bytes;
};

/* Length of the quoted-string that @s begins with, quotes included; 0 when it is not closed. RFC 9110
 * section 5.6.4. */
static size_t quoted_len(struct slice s)
{
    for (size_t i = 1; i < s.len; i++) {
        if (s.data[i] == '\\')
            i++;
        else if (s.data[i] == '"')
            return i + 1;
    }
    return 0;
}

/* Where the list's next element ends: at a comma outside quotes. */
static size_t element_len(struct list *l)
{
    size_t i = 0;

    while (i < l->rest.len && l->rest.data[i] != ',') {
        size_t quoted = 0;

        if (l->rest.data[i] == '"' && !l->quotes_are_bytes) {
            quoted = quoted_len(slice_skip(l->rest, i));
            l->quotes_are_bytes = quoted == 0;
        }
        i += quoted ? quoted : 1;
    }
    return i;
}

static struct slice unquote(struct slice s)
{
    if (s.len >= 2 && s.data[0] == '"' && quoted_len(s) == s.len)
        return slice_make(s.data + 1, s.len - 2);
    return s;
}

/* Takes the next element off the front of the list; false at the end. Empty elements come as an empty name.
 */
static bool next_directive(struct list *l, struct directive *out)
{
    struct slice element;
    size_t len;

    if (l->rest.len == 0)
        return false;
    len = element_len(l);
    element = slice_trim(slice_make(l->rest.data, len));
    l->rest = slice_skip(l->rest, len + 1);
    out->name = slice_trim(slice_cut(&element, '='));
    out->has_argument = element.data != NULL;
    out->argument = out->has_argument ? unquote(slice_trim(element)) : element;
    return true;
}

/* RFC 9111 section 1.2.2: digits alone. CC_ABSENT when it is anything else. */
static int64_t delta_of(const struct directive *d)
{
    int64_t s = 0;

    if (!d->has_argument || d->argument.len == 0)
        return CC_ABSENT;
    for (size_t i = 0; i < d->argument.len; i++) {
        char c = d->argument.data[i];

        if (c < '0' || c > '9')
            return CC_ABSENT;
        s = s * 10 + (c - '0');
        if (s > delta_max_s)
            s = delta_max_s;
    }
    return s;
}

/* RFC 9111 section 4.2.1: the first of several counts, and one that makes no sense makes the response stale.
 */
static void set_response_delta(int64_t *at, const struct directive *d)
{
    int64_t s = delta_of(d);

    if (*at == CC_ABSENT)
        *at = s == CC_ABSENT ? 0 : s;
}

/* The smaller of several: the request is content with less. */
static void set_request_delta(int64_t *at, const struct directive *d)
{
    int64_t s = delta_of(d);

    if (s != CC_ABSENT && (*at == CC_ABSENT || s < *at))
        *at = s;
}

/* Of several min-fresh the larger one is the stricter. */
static void set_min_fresh(struct cachectl *c, const struct directive *d)
{
    int64_t s = delta_of(d);

    if (s > c->min_fresh_s)
        c->min_fresh_s = s;
}

static void set_max_stale(struct cachectl *c, const struct directive *d)
{
    if (!d->has_argument)
        c->max_stale_any = true;
    else
        set_request_delta(&c->max_stale_s, d);
}

/* RFC 9111 sections 5.2.2.4 and 5.2.2.7: with an argument only the fields named are meant. Without one, given
 * anywhere, the whole response is. */
static void set_qualified(bool *on, bool *fields, const struct directive *d)
{
    bool names = d->has_argument && d->argument.len > 0;

    if (!names)
        *fields = false;
    else if (!*on)
        *fields = true;
    *on = true;
}

static void parse_request_directive(struct cachectl *c, const struct directive *d)
{
    if (slice_ieq(d->name, SLICE_OF("max-age")))
        set_request_delta(&c->max_age_s, d);
    else if (slice_ieq(d->name, SLICE_OF("max-stale")))
        set_max_stale(c, d);
    else if (slice_ieq(d->name, SLICE_OF("min-fresh")))
        set_min_fresh(c, d);
    else if (slice_ieq(d->name, SLICE_OF("no-cache")))
        c->no_cache = true;
    else if (slice_ieq(d->name, SLICE_OF("stale-if-error"))) /* RFC 5861 section 4 */
        set_request_delta(&c->stale_if_error_s, d);
    else if (slice_ieq(d->name, SLICE_OF("only-if-cached")))
        c->only_if_cached = true;
}

static void parse_response_directive(struct cachectl *c, const struct directive *d)
{
    if (slice_ieq(d->name, SLICE_OF("max-age")))
        set_response_delta(&c->max_age_s, d);
    else if (slice_ieq(d->name, SLICE_OF("s-maxage")))
        set_response_delta(&c->s_maxage_s, d);
    else if (slice_ieq(d->name, SLICE_OF("no-cache")))
        set_qualified(&c->no_cache, &c->no_cache_fields, d);
    else if (slice_ieq(d->name, SLICE_OF("private")))
        set_qualified(&c->is_private, &c->private_fields, d);
    else if (slice_ieq(d->name, SLICE_OF("public")))
        c->is_public = true;
    else if (slice_ieq(d->name, SLICE_OF("must-revalidate")))
        c->must_revalidate = true;
    else if (slice_ieq(d->name, SLICE_OF("proxy-revalidate")))
        c->proxy_revalidate = true;
    else if (slice_ieq(d->name, SLICE_OF("must-understand")))
        c->must_understand = true;
    else if (slice_ieq(d->name, SLICE_OF("stale-while-revalidate"))) /* RFC 5861 section 3 */
        set_response_delta(&c->stale_while_revalidate_s, d);
    else if (slice_ieq(d->name, SLICE_OF("stale-if-error")))
        set_response_delta(&c->stale_if_error_s, d);
    else if (slice_ieq(d->name, SLICE_OF("immutable"))) /* RFC 8246 */
        c->immutable = true;
}

static void parse(struct cachectl *c, struct slice value,
                  void (*one)(struct cachectl *c, const struct directive *d))
{
    struct list l = {value, false};
    struct directive d;

    while (next_directive(&l, &d)) {
        if (slice_ieq(d.name, SLICE_OF("no-store")))
            c->no_store = true;
        else if (slice_ieq(d.name, SLICE_OF("no-transform")))
            c->no_transform = true;
        else
            one(c, &d);
    }
}

void cachectl_parse_request(struct cachectl *c, struct slice value)
{
    parse(c, value, parse_request_directive);
}

void cachectl_parse_response(struct cachectl *c, struct slice value)
{
    parse(c, value, parse_response_directive);
}

static bool names_fields(const struct directive *d)
{
    return d->has_argument &&
           (slice_ieq(d->name, SLICE_OF("private")) || slice_ieq(d->name, SLICE_OF("no-cache")));
}

bool cachectl_withholds(struct slice value, struct slice field_name)
{
    struct list l = {value, false};
    struct directive d;

    while (next_directive(&l, &d)) {
        struct slice names = names_fields(&d) ? d.argument : (struct slice){NULL, 0};

        while (names.data)
            if (slice_ieq(slice_trim(slice_cut(&names, ',')), field_name))
                return true;
    }
    return false;
}

/* --- target fields --- */

/* What a directive takes, and where it is kept. */
enum takes {
    TAKES_NOTHING, /* so it is the boolean true */
    TAKES_DELTA,
    TAKES_FIELDS, /* nothing, or names of fields */
};

struct target_row {
    struct slice name;
    enum takes takes;
    size_t at; /* in struct cachectl: a bool or an int64_t */
    size_t fields_at;
};

#define AT(member) offsetof(struct cachectl, member)
static const struct target_row target_rows[] = {
    {SLICE("max-age"), TAKES_DELTA, AT(max_age_s), 0},
    {SLICE("s-maxage"), TAKES_DELTA, AT(s_maxage_s), 0},
    {SLICE("stale-while-revalidate"), TAKES_DELTA, AT(stale_while_revalidate_s), 0},
    {SLICE("stale-if-error"), TAKES_DELTA, AT(stale_if_error_s), 0},
    {SLICE("no-store"), TAKES_NOTHING, AT(no_store), 0},
    {SLICE("no-transform"), TAKES_NOTHING, AT(no_transform), 0},
    {SLICE("public"), TAKES_NOTHING, AT(is_public), 0},
    {SLICE("must-revalidate"), TAKES_NOTHING, AT(must_revalidate), 0},
    {SLICE("proxy-revalidate"), TAKES_NOTHING, AT(proxy_revalidate), 0},
    {SLICE("must-understand"), TAKES_NOTHING, AT(must_understand), 0},
    {SLICE("immutable"), TAKES_NOTHING, AT(immutable), 0},
    {SLICE("no-cache"), TAKES_FIELDS, AT(no_cache), AT(no_cache_fields)},
    {SLICE("private"), TAKES_FIELDS, AT(is_private), AT(private_fields)},
};
#undef AT

static void set_target(struct cachectl *c, const struct target_row *row, const struct sf_member *m)
{
    bool is_true = m->type == SF_BOOLEAN && m->number == 1;
    bool named = row->takes == TAKES_FIELDS && (m->type == SF_STRING || m->type == SF_TOKEN);
    void *at = (char *)c + row->at;

    if (row->takes == TAKES_DELTA) {
        int64_t s = m->type == SF_INTEGER && m->number >= 0 ? m->number : CC_ABSENT;

        *(int64_t *)at = s > delta_max_s ? delta_max_s : s;
        return;
    }
    *(bool *)at = is_true || named;
    if (row->takes == TAKES_FIELDS)
        *(bool *)((char *)c + row->fields_at) = named && m->text.len > 0;
}

static void parse_target_member(struct cachectl *c, const struct sf_member *m)
{
    for (size_t i = 0; i < ARRAY_LEN(target_rows); i++)
        if (slice_eq(m->key, target_rows[i].name))
            set_target(c, &target_rows[i], m);
}

bool cachectl_read_targeted(const struct fields *fields, enum header_id id, struct cachectl *out)
{
    struct cachectl c;
    bool any = false;

    cachectl_init(&c);
    for (unsigned i = 0; i < fields->n; i++) {
        struct sf_member member;
        struct sf_dict dict;

        if (field_id(&fields->at[i]) != id)
            continue;
        sf_dict_init(&dict, fields->at[i].value);
        while (sf_dict_next(&dict, &member)) {
            parse_target_member(&c, &member);
            any = true;
        }
        if (dict.malformed)
            return false;
    }
    if (any)
        *out = c;
    return any;
}
