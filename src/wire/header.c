/*
 * What a head says, field by field: each name's flags by one look-up, what Connection takes away, and the few
 * values that are read the same everywhere. Which name means what: header_rows.c; which bytes a name or a
 * value may hold: header_syntax.c.
 *
 * The table maps lower-cased names to flags by open addressing. A name is reduced to two 8-byte words, its
 * first and its last bytes, which may overlap: together with the length they are the whole of any name up to
 * 16 bytes, so most look-ups are one multiplication and two compares in one half cache line. Only names that
 * have no row are tried against the prefix rules, and only when some rule begins with their letter.
 */
#include "refrain/wire/header.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "header_rows.h"
#include "header_words.h"
#include "refrain/base/attr.h"

enum {
    CONNECTION_OPTIONS_MAX = 64, /* bounds the work one Connection field can ask for */
    LENGTH_DIGITS_MAX = 18,      /* any such number fits in int64_t */
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
    size_t n = header_rows_n + unkeyed.n + unstored.n;
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
    for (size_t i = 0; i < header_rows_n; i++)
        table_add(t, header_rows[i].name, header_rows[i].flags);
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
