#include "refrain/wire/jscan.h"

#include <endian.h>
#include <stdint.h>

#include "refrain/base/utf8.h"

struct scan {
    const char *at, *end;
};

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

static bool at_byte(const struct scan *s, char c)
{
    return s->at < s->end && *s->at == c;
}

static bool take_byte(struct scan *s, char c)
{
    if (!at_byte(s, c))
        return false;
    s->at++;
    return true;
}

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

/* --- strings --- */

/* The high bit of each of eight bytes that is a quote, a backslash, a control or not ASCII. Right up to the
 * first of them: behind it a borrow may set others. */
static uint64_t specials(uint64_t w)
{
    uint64_t quote = w ^ EACH_BYTE('"');
    uint64_t slash = w ^ EACH_BYTE('\\');
    uint64_t hit = (w - EACH_BYTE(0x20)) | (quote - EACH_BYTE(0x01)) | (slash - EACH_BYTE(0x01)) | w;

    return hit & EACH_BYTE(0x80);
}

static void skip_plain(struct scan *s)
{
    uint64_t w;

    while (s->end - s->at >= 8) {
        memcpy(&w, s->at, sizeof(w));
        w = specials(le64toh(w));
        if (w) {
            s->at += __builtin_ctzll(w) / 8;
            return;
        }
        s->at += 8;
    }
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool take_escape(struct scan *s) /* behind the backslash */
{
    char c;

    if (s->at >= s->end)
        return false;
    c = *s->at++;
    if (c != 'u')
        return c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
    if (s->end - s->at < 4)
        return false;
    for (int i = 0; i < 4; i++)
        if (!is_hex(*s->at++))
            return false;
    return true;
}

static bool take_utf8(struct scan *s)
{
    size_t n = utf8_len((const uint8_t *)s->at, (size_t)(s->end - s->at));

    s->at += n;
    return n > 0;
}

static bool take_string(struct scan *s)
{
    if (!take_byte(s, '"'))
        return false;
    for (;;) {
        unsigned char c;

        skip_plain(s);
        if (s->at >= s->end)
            return false;
        c = (unsigned char)*s->at;
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c < 0x20)
            return false;
        if (c == '\\') {
            s->at++;
            if (!take_escape(s))
                return false;
        } else if (c >= 0x80) {
            if (!take_utf8(s))
                return false;
        } else {
            s->at++;
        }
    }
}

/* --- numbers and names --- */

static bool take_digits(struct scan *s)
{
    const char *from = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > from;
}

static bool take_number(struct scan *s)
{
    (void)take_byte(s, '-');
    if (!take_byte(s, '0') && !take_digits(s))
        return false;
    if (take_byte(s, '.') && !take_digits(s))
        return false;
    if (take_byte(s, 'e') || take_byte(s, 'E')) {
        if (!take_byte(s, '+'))
            (void)take_byte(s, '-');
        return take_digits(s);
    }
    return true;
}

static bool take_word(struct scan *s, struct slice word)
{
    if (!slice_starts(slice_make(s->at, (size_t)(s->end - s->at)), word))
        return false;
    s->at += word.len;
    return true;
}

static bool take_scalar(struct scan *s)
{
    if (s->at >= s->end)
        return false;
    switch (*s->at) {
    case '"':
        return take_string(s);
    case 't':
        return take_word(s, SLICE_OF("true"));
    case 'f':
        return take_word(s, SLICE_OF("false"));
    case 'n':
        return take_word(s, SLICE_OF("null"));
    default:
        return take_number(s);
    }
}

/* --- the whole text --- */

/* What is open, one bit a level: an object or an array. A loop, so that depth costs no stack. */
struct nesting {
    uint64_t objects[JSCAN_DEPTH_MAX / 64];
    unsigned depth;
};

static bool nesting_open(struct nesting *n, bool object)
{
    uint64_t bit;

    if (n->depth >= JSCAN_DEPTH_MAX)
        return false;
    bit = UINT64_C(1) << (n->depth % 64);
    if (object)
        n->objects[n->depth / 64] |= bit;
    else
        n->objects[n->depth / 64] &= ~bit;
    n->depth++;
    return true;
}

static bool nesting_is_object(const struct nesting *n)
{
    unsigned at = n->depth - 1;

    return n->objects[at / 64] >> (at % 64) & 1;
}

static bool take_member_name(struct scan *s)
{
    skip_space(s);
    if (!take_string(s))
        return false;
    skip_space(s);
    return take_byte(s, ':');
}

/* Behind a value: closes what ends here and steps over a comma. false: a fault. *@out_more: another value
 * follows. */
static bool take_after_value(struct scan *s, struct nesting *n, bool *out_more)
{
    while (n->depth > 0) {
        bool object = nesting_is_object(n);

        skip_space(s);
        if (take_byte(s, ',')) {
            *out_more = true;
            return !object || take_member_name(s);
        }
        if (!take_byte(s, object ? '}' : ']'))
            return false;
        n->depth--;
    }
    *out_more = false;
    return true;
}

/* Opens arrays and objects down to the next scalar, or to one that is empty and is closed at once. */
static bool take_value_start(struct scan *s, struct nesting *n)
{
    for (;;) {
        bool object;

        skip_space(s);
        object = at_byte(s, '{');
        if (!object && !at_byte(s, '['))
            return take_scalar(s);
        s->at++;
        if (!nesting_open(n, object))
            return false;
        skip_space(s);
        if (take_byte(s, object ? '}' : ']')) {
            n->depth--;
            return true;
        }
        if (object && !take_member_name(s))
            return false;
    }
}

/* Nothing may be added to the NULL of an empty text. */
static struct scan scan_of(struct slice text)
{
    return (struct scan){text.data, text.len ? text.data + text.len : text.data};
}

bool jscan_valid(struct slice text)
{
    struct scan s = scan_of(text);
    struct nesting n = {.depth = 0};
    bool more = true;

    while (more)
        if (!take_value_start(&s, &n) || !take_after_value(&s, &n, &more))
            return false;
    skip_space(&s);
    return s.at == s.end;
}

/* --- one member --- */

/* Like take_string, for text whose faults are not our business here: steps behind the closing quote, or to
 * the end. Walks skip the same text more than once, so the search for a quote is the C library's. */
static void skip_string(struct scan *s)
{
    const char *from = ++s->at, *quote;

    while ((quote = memchr(s->at, '"', (size_t)(s->end - s->at))) != NULL) {
        const char *escape = quote;

        while (escape > from && escape[-1] == '\\')
            escape--;
        s->at = quote + 1;
        if ((quote - escape) % 2 == 0)
            return;
    }
    s->at = s->end;
}

static void skip_nested(struct scan *s)
{
    size_t depth = 0;

    while (s->at < s->end) {
        char c = *s->at;

        if (c == '"') {
            skip_string(s);
            continue;
        }
        s->at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return;
    }
}

static void skip_value(struct scan *s)
{
    if (at_byte(s, '"'))
        skip_string(s);
    else if (at_byte(s, '{') || at_byte(s, '['))
        skip_nested(s);
    else
        while (s->at < s->end && *s->at != ',' && *s->at != '}' && *s->at != ']' && *s->at != ' ' &&
               *s->at != '\n' && *s->at != '\r' && *s->at != '\t')
            s->at++;
}

static enum jscan_kind kind_of(char c)
{
    switch (c) {
    case '"':
        return JSCAN_STRING;
    case '{':
        return JSCAN_OBJECT;
    case '[':
        return JSCAN_ARRAY;
    case 'n':
        return JSCAN_NULL;
    case 't':
    case 'f':
        return JSCAN_BOOL;
    default:
        return JSCAN_NUMBER;
    }
}

static struct slice string_text(const char *from, const char *to)
{
    bool closed = to - from > 1 && to[-1] == '"';

    return slice_make(from + 1, (size_t)(to - from) - 1 - (closed ? 1 : 0));
}

/* Steps over `"name" : ` and returns the name; its data is NULL when there is no further member. */
static struct slice next_name(struct scan *s)
{
    static const struct slice none = {NULL, 0};
    struct slice name;
    const char *from;

    skip_space(s);
    if (!at_byte(s, '"'))
        return none;
    from = s->at;
    skip_string(s);
    name = string_text(from, s->at);
    skip_space(s);
    if (!take_byte(s, ':'))
        return none;
    skip_space(s);
    return s->at < s->end ? name : none;
}

static struct jscan_value take_skipped(struct scan *s)
{
    const char *from = s->at;
    enum jscan_kind kind = kind_of(*from);

    skip_value(s);
    if (kind == JSCAN_STRING)
        return (struct jscan_value){kind, string_text(from, s->at)};
    return (struct jscan_value){kind, slice_make(from, (size_t)(s->at - from))};
}

struct jscan_value jscan_root(struct slice text)
{
    struct scan s = scan_of(text);

    skip_space(&s);
    return s.at < s.end ? take_skipped(&s) : (struct jscan_value){JSCAN_ABSENT, {NULL, 0}};
}

struct jscan_walk jscan_walk(struct jscan_value value)
{
    struct jscan_walk w = {NULL, NULL, value.kind == JSCAN_OBJECT};

    if ((value.kind != JSCAN_OBJECT && value.kind != JSCAN_ARRAY) || value.text.len < 2)
        return w;
    w.at = value.text.data + 1;
    w.end = value.text.data + value.text.len;
    return w;
}

bool jscan_next(struct jscan_walk *w, struct jscan_item *out)
{
    struct scan s = {w->at, w->end};
    struct slice name = {NULL, 0};

    skip_space(&s);
    if (w->object)
        name = next_name(&s);
    if ((w->object && !name.data) || s.at >= s.end || *s.at == ']' || *s.at == '}') {
        w->at = w->end;
        return false;
    }
    out->name = name;
    out->value = take_skipped(&s);
    skip_space(&s);
    w->at = take_byte(&s, ',') ? s.at : s.end;
    return true;
}

struct jscan_value jscan_get(struct jscan_value object, struct slice name)
{
    struct jscan_walk w = jscan_walk(object);
    struct jscan_item item;

    while (w.object && jscan_next(&w, &item))
        if (slice_eq(item.name, name))
            return item.value;
    return (struct jscan_value){JSCAN_ABSENT, {NULL, 0}};
}

enum jscan_kind jscan_member(struct slice text, struct slice name, struct slice *out_value)
{
    struct jscan_walk w = {text.data, text.len ? text.data + text.len : text.data, true};
    struct scan s = scan_of(text);
    struct jscan_item item;

    skip_space(&s);
    if (!take_byte(&s, '{'))
        return JSCAN_ABSENT;
    w.at = s.at;
    while (jscan_next(&w, &item)) {
        if (!slice_eq(item.name, name))
            continue;
        if (out_value)
            *out_value = item.value.text;
        return item.value.kind;
    }
    return JSCAN_ABSENT;
}

bool jscan_is_empty(struct jscan_value value)
{
    struct jscan_walk w = jscan_walk(value);
    struct jscan_item item;

    switch (value.kind) {
    case JSCAN_ABSENT:
    case JSCAN_NULL:
        return true;
    case JSCAN_STRING:
        return value.text.len == 0;
    case JSCAN_ARRAY:
    case JSCAN_OBJECT:
        return !jscan_next(&w, &item);
    default:
        return false;
    }
}

bool jscan_is(struct jscan_value value, struct slice string)
{
    return value.kind == JSCAN_STRING && slice_eq(value.text, string);
}

int64_t jscan_count(struct jscan_value value, int64_t otherwise)
{
    int64_t n = 0;

    if (value.kind != JSCAN_NUMBER || value.text.len == 0 || value.text.len > 16)
        return otherwise;
    for (size_t i = 0; i < value.text.len; i++) {
        if (value.text.data[i] < '0' || value.text.data[i] > '9')
            return otherwise;
        n = n * 10 + (value.text.data[i] - '0');
    }
    return n <= INT64_C(1) << 53 ? n : otherwise;
}
