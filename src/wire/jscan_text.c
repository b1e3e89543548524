/* The grammar of RFC 8259 as a machine that takes one byte at a time, for text that never lies in one piece.
 */
#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"

enum state {
    AT_VALUE,
    AT_ELEMENT, /* behind `[`: a value, or its end */
    AT_NAME,
    AT_MEMBER, /* behind `{`: a name, or its end */
    AT_COLON,
    BEHIND, /* a value: a comma, an end, or at depth 0 nothing more */
    IN_STRING,
    IN_NAME,
    ESCAPED, /* behind a backslash, in either */
    ESCAPED_NAME,
    IN_HEX, /* `rest` digits are to come */
    IN_HEX_NAME,
    IN_WORD,
    MINUS,
    ZERO,
    DIGITS,
    POINT,
    FRACTION,
    EXPONENT,
    EXPONENT_SIGN,
    EXPONENT_DIGITS,
    BROKEN,
};

/* What is still to come of a word lies at the end of one of these, `rest` counting from its start. */
static const char words[] = "true false null ";
enum { WORD_TRUE = 0, WORD_FALSE = 5, WORD_NULL = 11 };

void jscan_text_init(struct jscan_text *t)
{
    *t = (struct jscan_text){.state = AT_VALUE};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool in_object(const struct jscan_text *t)
{
    unsigned at = t->depth - 1U;

    return t->objects[at / 64] >> (at % 64) & 1;
}

static enum state open(struct jscan_text *t, bool object)
{
    uint64_t bit = UINT64_C(1) << (t->depth % 64);

    if (t->depth >= JSCAN_DEPTH_MAX)
        return BROKEN;
    if (object)
        t->objects[t->depth / 64] |= bit;
    else
        t->objects[t->depth / 64] &= ~bit;
    t->depth++;
    return object ? AT_MEMBER : AT_ELEMENT;
}

static enum state close(struct jscan_text *t, bool object)
{
    if (t->depth == 0 || in_object(t) != object)
        return BROKEN;
    t->depth--;
    return BEHIND;
}

static enum state begin_word(struct jscan_text *t, unsigned word)
{
    t->rest = (uint8_t)(word + 1);
    return IN_WORD;
}

static enum state begin_value(struct jscan_text *t, char c)
{
    switch (c) {
    case '"':
        return IN_STRING;
    case '{':
        return open(t, true);
    case '[':
        return open(t, false);
    case 't':
        return begin_word(t, WORD_TRUE);
    case 'f':
        return begin_word(t, WORD_FALSE);
    case 'n':
        return begin_word(t, WORD_NULL);
    case '-':
        return MINUS;
    case '0':
        return ZERO;
    default:
        return is_digit(c) ? DIGITS : BROKEN;
    }
}

static enum state behind_value(struct jscan_text *t, char c)
{
    if (is_space(c))
        return BEHIND;
    if (c == '}' || c == ']')
        return close(t, c == '}');
    if (c != ',' || t->depth == 0)
        return BROKEN;
    return in_object(t) ? AT_NAME : AT_VALUE;
}

static enum state in_string(enum state now, char c)
{
    if (c == '"')
        return now == IN_NAME ? AT_COLON : BEHIND;
    if (c == '\\')
        return now == IN_NAME ? ESCAPED_NAME : ESCAPED;
    return (unsigned char)c < 0x20 ? BROKEN : now;
}

static enum state escaped(struct jscan_text *t, enum state now, char c)
{
    if (c == 'u') {
        t->rest = 4;
        return now == ESCAPED_NAME ? IN_HEX_NAME : IN_HEX;
    }
    if (c == '\0' || !strchr("\"\\/bfnrt", c))
        return BROKEN;
    return now == ESCAPED_NAME ? IN_NAME : IN_STRING;
}

static enum state in_hex(struct jscan_text *t, enum state now, char c)
{
    if (!is_hex(c))
        return BROKEN;
    if (--t->rest > 0)
        return now;
    return now == IN_HEX_NAME ? IN_NAME : IN_STRING;
}

static enum state in_word(struct jscan_text *t, char c)
{
    if (c != words[t->rest])
        return BROKEN;
    t->rest++;
    return words[t->rest] == ' ' ? BEHIND : IN_WORD;
}

static bool is_exponent(char c)
{
    return c == 'e' || c == 'E';
}

/* Of states in which a number may end; elsewhere `c` must go on with it. */
static enum state in_number(struct jscan_text *t, enum state now, char c)
{
    if (is_digit(c) && now != ZERO)
        return now;
    if (c == '.' && (now == ZERO || now == DIGITS))
        return POINT;
    if (is_exponent(c) && now != EXPONENT_DIGITS)
        return EXPONENT;
    return behind_value(t, c);
}

static enum state step(struct jscan_text *t, enum state now, char c)
{
    switch (now) {
    case IN_STRING:
    case IN_NAME:
        return in_string(now, c);
    case ESCAPED:
    case ESCAPED_NAME:
        return escaped(t, now, c);
    case IN_HEX:
    case IN_HEX_NAME:
        return in_hex(t, now, c);
    case IN_WORD:
        return in_word(t, c);
    case BEHIND:
        return behind_value(t, c);
    case ZERO:
    case DIGITS:
    case FRACTION:
    case EXPONENT_DIGITS:
        return in_number(t, now, c);
    case MINUS:
        return c == '0' ? ZERO : is_digit(c) ? DIGITS : BROKEN;
    case POINT:
        return is_digit(c) ? FRACTION : BROKEN;
    case EXPONENT:
        if (c == '+' || c == '-')
            return EXPONENT_SIGN;
        return is_digit(c) ? EXPONENT_DIGITS : BROKEN;
    case EXPONENT_SIGN:
        return is_digit(c) ? EXPONENT_DIGITS : BROKEN;
    case BROKEN:
        return BROKEN;
    default:
        break;
    }
    if (is_space(c))
        return now;
    switch (now) {
    case AT_ELEMENT:
        return c == ']' ? close(t, false) : begin_value(t, c);
    case AT_MEMBER:
        if (c == '}')
            return close(t, true);
        return c == '"' ? IN_NAME : BROKEN;
    case AT_NAME:
        return c == '"' ? IN_NAME : BROKEN;
    case AT_COLON:
        return c == ':' ? AT_VALUE : BROKEN;
    default:
        return begin_value(t, c);
    }
}

static void take_byte(struct jscan_text *t, char c)
{
    t->some |= !is_space(c);
    t->state = (uint8_t)step(t, (enum state)t->state, c);
}

void jscan_text_feed(struct jscan_text *t, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        take_byte(t, bytes.data[i]);
}

static unsigned hex_value(char c)
{
    return (unsigned)(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* Behind the backslash; returns how many bytes it took. What is not ASCII is good inside a string and wrong
 * outside of one, whichever it is, and half a surrogate pair is no worse. */
static size_t take_escape(struct jscan_text *t, struct slice s)
{
    static const char plain[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const char *at = s.len > 0 && s.data[0] != '\0' ? strchr(plain, s.data[0]) : NULL;
    unsigned unit = 0;

    if (s.len == 0)
        return 0;
    if (s.data[0] != 'u') {
        take_byte(t, at ? meant[at - plain] : s.data[0]);
        return 1;
    }
    for (size_t i = 1; i < 5 && i < s.len; i++)
        unit = unit * 16 + hex_value(s.data[i]);
    take_byte(t, unit < 0x80 ? (char)unit : (char)0x80);
    return s.len < 5 ? s.len : 5;
}

void jscan_text_feed_string(struct jscan_text *t, struct slice string)
{
    while (string.len > 0) {
        const char *slash = memchr(string.data, '\\', string.len);
        size_t n = slash ? (size_t)(slash - string.data) : string.len;

        jscan_text_feed(t, slice_make(string.data, n));
        string = slice_skip(string, slash ? n + 1 : n);
        if (slash)
            string = slice_skip(string, take_escape(t, string));
    }
}

bool jscan_text_valid(const struct jscan_text *t)
{
    return t->depth == 0 && (t->state == BEHIND || t->state == ZERO || t->state == DIGITS ||
                             t->state == FRACTION || t->state == EXPONENT_DIGITS);
}
