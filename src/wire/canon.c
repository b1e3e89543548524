/*
 * One walk over the text writes the canonical text in the order of the input: white space gone, strings and
 * numbers in their one form. Where an object's members stand out of order, or some are to be left out, its
 * *shape* is kept: where its members lie in that text, already in the order they shall have. At the end the
 * text is copied out once, following the shapes. So every byte is moved twice whatever the nesting; rotating
 * members in place would move it once a level.
 *
 *   frames    the objects and arrays that are open, outermost first (at most CANON_DEPTH_MAX, no recursion)
 *   members   a stack: the members seen so far of every open object
 *   kept      the members of closed objects whose shape matters, object by object
 *   shapes    one an object, in the order they open; flat ones need nothing and are skipped
 *
 * Faults of two kinds: a *blemish* (duplicate member, number out of range …) is remembered, and the walk goes
 * on, since the facts are wanted all the same; a *stop* ends it, because what follows cannot be understood.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "canon_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/utf8.h"

enum {
    SLACK = 16,               /* always room for a whole word beyond what may be written */
    TEXT_BYTES_MAX = 1 << 30, /* offsets are 32 bits; numbers may grow */
    INSERTION_MAX = 24,       /* members up to which insertion beats a call to qsort */
    PLAIN_DIGITS_MAX = 18,    /* any integer this short is its own canonical form */
};

struct member {
    uint64_t
        prefix; /* first 8 bytes of the name, big-endian, padded with zeros: orders most pairs by itself */
    uint32_t start; /* of the name's quote */
    uint32_t end;   /* of the value; MEMBER_LEFT_OUT: not in the canonical form */
    uint32_t name_len;
    uint32_t shape; /* the first shape that may lie in the value */
};
enum { MEMBER_LEFT_OUT = 0 }; /* no member ends there */

struct shape {
    uint32_t start, end; /* braces included */
    uint32_t first, n;   /* in kept */
    uint32_t next;       /* the shape behind all those inside */
    bool flat;
};

/* How the value that comes next is to be treated. */
struct slot {
    struct slice
        path; /* dotted path of the object that holds it, with its dot, borrowed from a rule; NULL: no rule */
    enum canon_place place;
    bool ordered;
};

struct frame {
    struct slot self; /* of the object or array itself: path is that of its members */
    struct slot next; /* of the member or element being read */
    uint32_t members; /* where its own begin on the stack */
    uint32_t shape;
    uint32_t count;
    bool object, sorted, gaps; /* gaps: some member is left out */
    bool leave_out;            /* the member being read is ignored */
};

#define ARRAY_OF(type)                                                                                       \
    struct {                                                                                                 \
        type *at;                                                                                            \
        uint32_t n, cap;                                                                                     \
    }

struct canon {
    const char *p, *end;
    const struct canon_rules *rules;
    struct canon_facts *facts;
    struct canon_noted noted;
    struct buf text;
    ARRAY_OF(struct member) members, kept;
    ARRAY_OF(struct shape) shapes;
    const char *blemish; /* the first; NULL: none */
    const char *stop;
    bool full;
    unsigned depth;
    struct frame frames[CANON_DEPTH_MAX + 1]; /* [0] holds the whole value as its one element */
};

/* ---- faults ---- */

static void blemish(struct canon *c, const char *why)
{
    if (!c->blemish)
        c->blemish = why;
}

static bool stop(struct canon *c, const char *why)
{
    if (!c->stop)
        c->stop = why;
    return false;
}

static bool full(struct canon *c)
{
    c->full = true;
    return stop(c, "full");
}

/* ---- arrays ---- */

static bool array_grow(void **at, uint32_t *cap, uint32_t need, size_t size)
{
    uint32_t want = *cap ? *cap : 32;
    void *grown;

    if (need > CANON_MEMBERS_MAX)
        return false;
    while (want < need)
        want *= 2;
    grown = realloc(*at, want * size);
    if (!grown)
        return false;
    *at = grown;
    *cap = want;
    return true;
}

#define ARRAY_ROOM(a, extra)                                                                                 \
    ((a)->n + (extra) <= (a)->cap ||                                                                         \
     array_grow((void **)&(a)->at, &(a)->cap, (a)->n + (extra), sizeof(*(a)->at)))

/* ---- text ---- */

/*
 * Every token but a number writes no more than it reads. So with room for all that is left to read, nothing
 * else needs to check. A number makes that room anew, and more than it can grow by, before it is written.
 */
static bool text_room(struct canon *c, size_t extra)
{
    return buf_reserve(&c->text, (size_t)(c->end - c->p) + extra + SLACK) == 0 || full(c);
}

static inline void text_put(struct canon *c, char byte)
{
    c->text.data[c->text.len++] = byte;
}

static inline uint32_t text_at(const struct canon *c)
{
    return (uint32_t)c->text.len; /* TEXT_BYTES_MAX */
}

static inline void skip_space(struct canon *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t'))
        c->p++;
}

/* ---- strings ---- */

#define EACH_BYTE(b) (0x0101010101010101U * (b))

/* Bit 7 of the first byte, in memory order, that is a control, a quote, a backslash or not ASCII; 0 when none
 * is. Bits behind the first may be wrong, as borrows run that way. */
static inline uint64_t special_bytes(uint64_t word)
{
    uint64_t quote = word ^ EACH_BYTE('"'), backslash = word ^ EACH_BYTE('\\');

    return (word | (word - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) | (backslash - EACH_BYTE(1))) &
           EACH_BYTE(0x80);
}

/* Copies the plain bytes at the front of *@in; stops at the first that is special, or at the end. */
static inline void copy_plain(const char **in, const char *end, char **out)
{
    const char *p = *in;
    char *o = *out;

    while (end - p >= 8) {
        uint64_t word, special;

        memcpy(&word, p, 8);
        memcpy(o, &word, 8);
        special = special_bytes(le64toh(word));
        if (special) {
            int plain = __builtin_ctzll(special) / 8;

            *in = p + plain;
            *out = o + plain;
            return;
        }
        p += 8;
        o += 8;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' && *p != '\\')
        *o++ = *p++;
    *in = p;
    *out = o;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The four digits of \uXXXX at @p, or -1. */
static int32_t hex_four(const char *p, const char *end)
{
    int32_t value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);

        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The letter that stands behind a backslash for @code, 0 where it needs \u or no escape (RFC 8259 section 7).
 */
static char escape_letter(uint32_t code)
{
    switch (code) {
    case '"':
    case '\\':
        return (char)code;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static char *put_utf8(char *o, uint32_t code)
{
    if (code < 0x80) {
        *o++ = (char)code;
    } else if (code < 0x800) {
        *o++ = (char)(0xC0 | (code >> 6));
        *o++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *o++ = (char)(0xE0 | (code >> 12));
        *o++ = (char)(0x80 | ((code >> 6) & 0x3F));
        *o++ = (char)(0x80 | (code & 0x3F));
    } else {
        *o++ = (char)(0xF0 | (code >> 18));
        *o++ = (char)(0x80 | ((code >> 12) & 0x3F));
        *o++ = (char)(0x80 | ((code >> 6) & 0x3F));
        *o++ = (char)(0x80 | (code & 0x3F));
    }
    return o;
}

static char *put_escaped(char *o, uint32_t code)
{
    static const char digits[] = "0123456789abcdef";
    char letter = escape_letter(code);

    if (!letter && code >= 0x20)
        return put_utf8(o, code);
    *o++ = '\\';
    if (letter) {
        *o++ = letter;
        return o;
    }
    *o++ = 'u';
    *o++ = '0';
    *o++ = '0';
    *o++ = digits[code >> 4];
    *o++ = digits[code & 15];
    return o;
}

/* What a one-letter escape stands for; 0 when there is none such. */
static uint32_t unescape_letter(char letter)
{
    switch (letter) {
    case '"':
    case '\\':
    case '/':
        return (unsigned char)letter;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

/* \uXXXX or a pair of them, @p behind the first u. Returns what was read, NULL when it is no escape at all.
 */
static const char *read_unicode(struct canon *c, const char *p, uint32_t *out_code)
{
    int32_t high = hex_four(p, c->end), low;

    if (high < 0)
        return NULL;
    p += 4;
    *out_code = (uint32_t)high;
    if (high == 0)
        blemish(c, "NUL in a string");
    if (high < 0xD800 || high > 0xDFFF)
        return p;
    low = c->end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex_four(p + 2, c->end) : -1;
    if (high > 0xDBFF || low < 0xDC00 || low > 0xDFFF) {
        blemish(c, "lone surrogate");
        *out_code = '?';
        return p;
    }
    *out_code = 0x10000 + (((uint32_t)high - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    return p + 6;
}

/* The escape at @p, which is behind its backslash. Returns what is left, or NULL. */
static const char *copy_escape(struct canon *c, const char *p, char **out)
{
    uint32_t code;

    if (p == c->end)
        return NULL;
    if (*p == 'u') {
        p = read_unicode(c, p + 1, &code);
    } else {
        code = unescape_letter(*p++);
        if (code == 0)
            return NULL;
    }
    if (p)
        *out = put_escaped(*out, code);
    return p;
}

/* Runs of text that is not English are long: stay here while they last. */
static const char *copy_utf8(struct canon *c, const char *p, char **out)
{
    char *o = *out;

    while (p < c->end && (unsigned char)*p >= 0x80) {
        size_t n = utf8_len((const uint8_t *)p, (size_t)(c->end - p));

        if (n == 0) {
            blemish(c, "not UTF-8");
            n = 1;
        }
        for (size_t i = 0; i < n; i++)
            *o++ = *p++;
    }
    *out = o;
    return p;
}

/* Reads the string at c->p, its opening quote checked by the caller. @out gets its text as it stands in the
 * input. */
static bool read_string(struct canon *c, struct canon_value *out)
{
    const char *start = c->p + 1, *p = start;
    char *o = c->text.data + c->text.len;
    bool escaped = false;

    *o++ = '"';
    for (;;) {
        copy_plain(&p, c->end, &o);
        if (p == c->end)
            return stop(c, "string without end");
        if (*p == '"')
            break;
        if (*p == '\\') {
            escaped = true;
            p = copy_escape(c, p + 1, &o);
            if (!p)
                return stop(c, "bad escape");
        } else if ((unsigned char)*p < 0x20) {
            return stop(c, "control character in a string");
        } else {
            p = copy_utf8(c, p, &o);
        }
    }
    *o++ = '"';
    out->kind = KIND_STRING;
    out->text = slice_make(start, (size_t)(p - start));
    out->escaped = escaped;
    out->plain = slice_make(c->text.data + c->text.len + 1, (size_t)(o - c->text.data) - c->text.len - 2);
    c->text.len = (size_t)(o - c->text.data);
    c->p = p + 1;
    return true;
}

/* ---- numbers and literals ---- */

static inline const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static struct slice digits_at(const char *p, const char *end)
{
    return slice_make(p, (size_t)(skip_digits(p, end) - p));
}

/* RFC 8259 section 6. Returns the end of the number at @p, or NULL. */
static const char *split_number(const char *p, const char *end, struct canon_number_text *out)
{
    *out = (struct canon_number_text){.negative = *p == '-'};
    p += out->negative;
    out->integer = digits_at(p, end);
    if (out->integer.len == 0 || (out->integer.len > 1 && *p == '0'))
        return NULL;
    p += out->integer.len;
    if (p < end && *p == '.') {
        out->fraction = digits_at(p + 1, end);
        if (out->fraction.len == 0)
            return NULL;
        p += 1 + out->fraction.len;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        out->exponent_negative = p < end && *p == '-';
        p += p < end && (*p == '-' || *p == '+');
        out->exponent = digits_at(p, end);
        if (out->exponent.len == 0)
            return NULL;
        p += out->exponent.len;
    }
    return p;
}

static bool read_any_number(struct canon *c, struct canon_value *out)
{
    struct canon_number_text number;
    const char *end = split_number(c->p, c->end, &number);
    size_t written = 0;

    if (!end)
        return stop(c, "bad number");
    if (!text_room(c, CANON_NUMBER_EXTRA))
        return false;
    switch (canon_number_write(&number, c->text.data + c->text.len, &written)) {
    case NUMBER_OK:
        break;
    case NUMBER_OVER_64_BITS:
        blemish(c, "integer over 64 bits");
        break;
    case NUMBER_OUT_OF_RANGE:
        blemish(c, "number out of range");
        break;
    }
    *out = (struct canon_value){.kind = KIND_NUMBER, .text = slice_make(c->p, (size_t)(end - c->p))};
    c->text.len += written;
    c->p = end;
    return true;
}

static inline bool number_goes_on(const char *p, const char *end)
{
    return p < end && (*p == '.' || *p == 'e' || *p == 'E');
}

/* Most numbers are short plain integers: counts, seeds, tokens of an embedding's input. */
static bool read_number(struct canon *c, struct canon_value *out)
{
    const char *digits = c->p + (*c->p == '-'), *end = skip_digits(digits, c->end);
    size_t n = (size_t)(end - digits);

    if (n == 0 || n > PLAIN_DIGITS_MAX || *digits == '0' || number_goes_on(end, c->end))
        return read_any_number(c, out);
    *out = (struct canon_value){.kind = KIND_NUMBER, .text = slice_make(c->p, (size_t)(end - c->p))};
    memcpy(c->text.data + c->text.len, c->p, out->text.len);
    c->text.len += out->text.len;
    c->p = end;
    return true;
}

static bool read_literal(struct canon *c, struct slice literal, enum canon_kind kind, struct canon_value *out)
{
    if (!slice_starts(slice_make(c->p, (size_t)(c->end - c->p)), literal))
        return stop(c, "not JSON");
    *out = (struct canon_value){.kind = kind};
    memcpy(c->text.data + c->text.len, literal.data, literal.len);
    c->text.len += literal.len;
    c->p += literal.len;
    return true;
}

static bool read_scalar(struct canon *c, struct canon_value *out)
{
    switch (*c->p) {
    case '"':
        return read_string(c, out);
    case 't':
        return read_literal(c, SLICE_OF("true"), KIND_TRUE, out);
    case 'f':
        return read_literal(c, SLICE_OF("false"), KIND_FALSE, out);
    case 'n':
        return read_literal(c, SLICE_OF("null"), KIND_NULL, out);
    case '-':
        return read_number(c, out);
    default:
        return *c->p >= '0' && *c->p <= '9' ? read_number(c, out) : stop(c, "not JSON");
    }
}

/* ---- order of members ---- */

static uint64_t name_prefix(const char *name, size_t len)
{
    uint64_t word;

    memcpy(&word, name, 8); /* there is SLACK */
    word = be64toh(word);
    return len >= 8 ? word : len == 0 ? 0 : word & (UINT64_MAX << (64 - 8 * len));
}

/* By bytes, a name before what it begins. No name holds a NUL, so equal prefixes of short names are equal
 * names. */
static int member_order(const struct member *a, const struct member *b, const char *text)
{
    uint32_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order;

    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    order = n > 8 ? memcmp(text + a->start + 9, text + b->start + 9, n - 8) : 0;
    if (order != 0)
        return order;
    return (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

static int member_order_qsort(const void *a, const void *b, void *text)
{
    return member_order(a, b, text);
}

static void members_sort(struct member *at, uint32_t n, char *text)
{
    if (n > INSERTION_MAX) {
        qsort_r(at, n, sizeof(*at), member_order_qsort, text);
        return;
    }
    for (uint32_t i = 1; i < n; i++) {
        struct member moving = at[i];
        uint32_t to = i;

        for (; to > 0 && member_order(&moving, &at[to - 1], text) < 0; to--)
            at[to] = at[to - 1];
        at[to] = moving;
    }
}

/* Of sorted members. */
static bool members_repeat(const struct member *at, uint32_t n, const char *text)
{
    for (uint32_t i = 1; i < n; i++)
        if (member_order(&at[i - 1], &at[i], text) == 0)
            return true;
    return false;
}

/* ---- what the rules say of a member ---- */

/*
 * True when one of the rules names the member @name of the object at @path. *@deeper is set when one goes on
 * below it.
 */
static bool rules_name(const struct slice *rules, size_t n, struct slice path, struct slice name,
                       struct slice *deeper)
{
    bool named = false;

    for (size_t i = 0; i < n; i++) {
        size_t len = path.len + name.len;
        struct slice rule = rules[i];

        if (rule.len < len || memcmp(rule.data + path.len, name.data, name.len) != 0 ||
            memcmp(rule.data, path.data, path.len) != 0)
            continue;
        if (rule.len == len)
            named = true;
        else if (rule.data[len] == '.')
            *deeper = slice_make(rule.data, len + 1);
    }
    return named;
}

/* A name with a dot in it can't be told from a path: no rule reaches it. */
static void apply_rules(const struct canon *c, struct frame *f, struct slice name)
{
    const struct canon_rules *r = c->rules;
    struct slice deeper = {NULL, 0};

    f->leave_out = false;
    f->next.ordered = f->self.ordered;
    if (f->self.path.data && !memchr(name.data, '.', name.len)) {
        f->leave_out = rules_name(r->ignored, r->ignored_n, f->self.path, name, &deeper);
        f->next.ordered |= rules_name(r->ordered, r->ordered_n, f->self.path, name, &deeper);
    }
    f->next.path = deeper;
}

static bool is_stream_default(const struct canon *c, const struct frame *f, enum canon_kind kind)
{
    return c->rules->stream_default_dropped && f->next.place == PLACE_STREAM &&
           kind == (c->rules->stream_is_default ? KIND_TRUE : KIND_FALSE);
}

static bool is_left_out(const struct canon *c, const struct frame *f, enum canon_kind kind)
{
    if (f->leave_out)
        return true;
    if (f->self.place != PLACE_ROOT)
        return false;
    return (c->rules->drop_nulls && kind == KIND_NULL) || is_stream_default(c, f, kind);
}

/* ---- objects and arrays ---- */

static inline struct frame *top(struct canon *c)
{
    return &c->frames[c->depth];
}

/* The value of the top frame's slot has been read. */
static void value_done(struct canon *c, const struct canon_value *value)
{
    struct frame *f = top(c);

    if (f->next.place != PLACE_NONE)
        canon_note(c->facts, &c->noted, f->next.place, value);
    if (!f->object)
        return;
    if (is_left_out(c, f, value->kind)) {
        c->members.at[c->members.n - 1].end = MEMBER_LEFT_OUT;
        f->gaps = true;
    } else {
        c->members.at[c->members.n - 1].end = text_at(c);
    }
}

static bool open_value(struct canon *c)
{
    const struct slot *slot = &top(c)->next;
    bool object = *c->p == '{';
    struct frame *f;

    if (c->depth == CANON_DEPTH_MAX)
        return stop(c, "depth");
    f = &c->frames[++c->depth];
    f->self = *slot;
    f->next = (struct slot){.ordered = slot->ordered, .place = canon_place_element(slot->place)};
    f->members = c->members.n;
    f->shape = c->shapes.n;
    f->count = 0;
    f->object = object;
    f->sorted = true;
    f->gaps = false;
    if (object) {
        if (!ARRAY_ROOM(&c->shapes, 1))
            return full(c);
        c->shapes.at[c->shapes.n++] = (struct shape){.start = text_at(c)};
    }
    text_put(c, *c->p++);
    return true;
}

static bool read_value(struct canon *c)
{
    struct canon_value value = {.kind = KIND_NULL};

    skip_space(c);
    if (c->p == c->end)
        return stop(c, "cut short");
    if (*c->p == '{' || *c->p == '[')
        return open_value(c);
    if (!read_scalar(c, &value))
        return false;
    value_done(c, &value);
    return true;
}

/* An ordered object keeps its order, but is looked through for duplicates; the sorted copy is not kept. */
static bool close_ordered(struct canon *c, const struct member *own, uint32_t n)
{
    struct member *copy;

    if (!ARRAY_ROOM(&c->kept, n))
        return full(c);
    copy = c->kept.at + c->kept.n;
    memcpy(copy, own, n * sizeof(*own));
    members_sort(copy, n, c->text.data);
    if (members_repeat(copy, n, c->text.data))
        blemish(c, "duplicate member");
    return true;
}

/* Sorts the members where that is due, and keeps them where the text cannot stay as it is. */
static bool close_shape(struct canon *c, struct frame *f)
{
    struct member *own = c->members.at + f->members;
    uint32_t n = f->count;
    struct shape *s = &c->shapes.at[f->shape];

    if (!f->sorted && f->self.ordered && !close_ordered(c, own, n))
        return false;
    if (!f->sorted && !f->self.ordered) {
        members_sort(own, n, c->text.data);
        if (members_repeat(own, n, c->text.data))
            blemish(c, "duplicate member");
    }
    s->end = text_at(c);
    s->next = c->shapes.n;
    s->flat = !f->gaps && (f->sorted || f->self.ordered);
    if (s->flat) {
        if (c->shapes.n == f->shape + 1)
            c->shapes.n--; /* nothing inside needs it either */
        return true;
    }
    if (!ARRAY_ROOM(&c->kept, n))
        return full(c);
    s->first = c->kept.n;
    s->n = n;
    memcpy(c->kept.at + c->kept.n, own, n * sizeof(*own));
    c->kept.n += n;
    return true;
}

static bool close_value(struct canon *c)
{
    struct frame *f = top(c);
    struct canon_value value = {.kind = f->object ? KIND_OBJECT : KIND_ARRAY, .count = f->count};

    text_put(c, *c->p++);
    if (f->object && f->count > 0 && !close_shape(c, f))
        return false;
    if (f->object && f->count == 0)
        c->shapes.n--; /* nothing opened since */
    c->members.n = f->members;
    c->depth--;
    value_done(c, &value);
    return true;
}

/* Past the comma, if one is due. *@closed: the end of the object or array stands there instead. */
static bool next_item(struct canon *c, struct frame *f, char closing, bool *closed)
{
    *closed = false;
    skip_space(c);
    if (c->p == c->end)
        return stop(c, "cut short");
    if (*c->p == closing) {
        *closed = true;
        return close_value(c);
    }
    if (f->count > 0) {
        if (*c->p != ',')
            return stop(c, "not JSON");
        text_put(c, *c->p++);
        skip_space(c);
    }
    return true;
}

static bool read_name(struct canon *c, struct frame *f)
{
    uint32_t start = text_at(c);
    struct canon_value ignored;
    struct member *m;
    struct slice name;

    if (c->p == c->end || *c->p != '"')
        return stop(c, "not JSON");
    if (!read_string(c, &ignored))
        return false;
    if (!ARRAY_ROOM(&c->members, 1))
        return full(c);
    name = slice_make(c->text.data + start + 1, text_at(c) - start - 2);
    m = &c->members.at[c->members.n++];
    *m = (struct member){.start = start, .name_len = (uint32_t)name.len, .shape = c->shapes.n};
    m->prefix = name_prefix(name.data, name.len);
    if (f->count > 0 && member_order(m - 1, m, c->text.data) >= 0)
        f->sorted = false;
    f->count++;
    f->next.place = canon_place_member(c->rules, f->self.place, name);
    apply_rules(c, f, name);
    return true;
}

static bool read_member(struct canon *c, struct frame *f)
{
    bool closed;

    if (!next_item(c, f, '}', &closed) || closed)
        return !c->stop;
    if (!read_name(c, f))
        return false;
    skip_space(c);
    if (c->p == c->end || *c->p != ':')
        return stop(c, "not JSON");
    text_put(c, *c->p++);
    return read_value(c);
}

static bool read_element(struct canon *c, struct frame *f)
{
    bool closed;

    if (!next_item(c, f, ']', &closed) || closed)
        return !c->stop;
    f->count++;
    return read_value(c);
}

static void skip_bom(struct canon *c)
{
    if (c->end - c->p < 3 || memcmp(c->p, "\xEF\xBB\xBF", 3) != 0)
        return;
    blemish(c, "byte order mark");
    c->p += 3;
}

static void walk(struct canon *c)
{
    bool going;

    c->frames[0] = (struct frame){.next = {.path = SLICE(""), .place = PLACE_ROOT}};
    skip_bom(c);
    going = text_room(c, 0) && read_value(c);
    while (going && c->depth > 0)
        going = top(c)->object ? read_member(c, top(c)) : read_element(c, top(c));
    if (!going)
        return;
    skip_space(c);
    if (c->p < c->end)
        blemish(c, "trailing bytes");
}

/* ---- copying out ---- */

/* One object being copied: the run of text that is under way inside it, and its members still to come. */
struct level {
    uint32_t pos, end; /* the run */
    uint32_t shape;    /* the first shape that may lie in it */
    uint32_t member, members_end;
    bool comma;
};

static bool put_run(struct canon *c, struct buf *out, uint32_t pos, uint32_t end)
{
    size_t n = end - pos;

    if (LIKELY(n <= out->cap - out->len)) {
        memcpy(out->data + out->len, c->text.data + pos, n);
        out->len += n;
        return true;
    }
    return buf_add(out, c->text.data + pos, n) == 0 || full(c);
}

/* The first shape in the level's run that needs following, or NULL. */
static const struct shape *next_shape(const struct canon *c, struct level *l)
{
    while (l->shape < c->shapes.n && c->shapes.at[l->shape].start < l->end) {
        if (!c->shapes.at[l->shape].flat)
            return &c->shapes.at[l->shape];
        l->shape++;
    }
    return NULL;
}

/* Makes the next member of the level its run. False when there is none. */
static bool next_member(struct canon *c, struct buf *out, struct level *l)
{
    while (l->member < l->members_end) {
        const struct member *m = &c->kept.at[l->member++];

        if (m->end == MEMBER_LEFT_OUT)
            continue;
        if (l->comma && buf_add_byte(out, ',') < 0)
            return full(c);
        l->comma = true;
        l->pos = m->start;
        l->end = m->end;
        l->shape = m->shape;
        return true;
    }
    return false;
}

/* The braces travel with the text around them. */
static bool enter_shape(struct canon *c, struct buf *out, struct level *l, const struct shape *s)
{
    if (!put_run(c, out, l->pos, s->start + 1))
        return false;
    l->pos = s->end - 1;
    l->shape = s->next;
    l[1] = (struct level){.member = s->first, .members_end = s->first + s->n};
    return true;
}

static bool copy_out(struct canon *c, struct buf *out)
{
    struct level levels[CANON_DEPTH_MAX + 1], *l = levels;
    size_t room = out->max - out->len;

    if (buf_reserve(out, c->text.len < room ? c->text.len : room) < 0)
        return full(c);
    *l = (struct level){.end = text_at(c)};
    for (;;) {
        const struct shape *s = next_shape(c, l);

        if (s ? !enter_shape(c, out, l, s) : !put_run(c, out, l->pos, l->end))
            return false;
        if (s)
            l++;
        if (next_member(c, out, l))
            continue;
        if (c->full || l == levels)
            return !c->full;
        l--; /* whose run goes on behind the object */
    }
}

/* ---- the whole ---- */

static void canon_init(struct canon *c, struct slice json, const struct canon_rules *rules,
                       struct canon_facts *facts)
{
    *facts = (struct canon_facts){.stream = rules->stream_is_default};
    c->p = json.data;
    c->end = json.data + json.len;
    c->rules = rules;
    c->facts = facts;
    c->noted = (struct canon_noted){0};
    c->text = (struct buf)BUF_INIT(2 * json.len + 4096); /* numbers may grow, `1e9` for one */
    memset(&c->members, 0, sizeof(c->members));
    memset(&c->kept, 0, sizeof(c->kept));
    memset(&c->shapes, 0, sizeof(c->shapes));
    c->blemish = c->stop = NULL;
    c->full = false;
    c->depth = 0; /* frames are set as they open: clearing them all costs more than a short text */
}

static void canon_done(struct canon *c)
{
    buf_done(&c->text);
    free(c->members.at);
    free(c->kept.at);
    free(c->shapes.at);
}

static enum canon_verdict verdict(const struct canon *c, const char **out_why)
{
    if (c->full)
        return CANON_FULL;
    if (!c->blemish && !c->stop)
        return CANON_OK;
    if (out_why)
        *out_why = c->blemish ? c->blemish : c->stop;
    return CANON_EXACT;
}

enum canon_verdict canon_json(struct slice json, const struct canon_rules *rules, struct buf *out,
                              struct canon_facts *facts, const char **out_why)
{
    AUTO(canon_done) struct canon c;
    size_t before = out->len;

    canon_init(&c, json, rules, facts);
    if (json.len > TEXT_BYTES_MAX)
        return CANON_FULL;
    walk(&c);
    facts->whole = !c.stop;
    facts->stateful = c.noted.state || c.noted.server_tools;
    facts->only_server_tools = c.noted.server_tools && !c.noted.state;
    if (!c.stop && !c.blemish && !copy_out(&c, out))
        out->len = before;
    return verdict(&c, out_why);
}
