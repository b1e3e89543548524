#include "refrain/wire/sfield.h"

/* Digits a number may have: RFC 9651 sections 3.3.1 and 3.3.2. */
enum { INTEGER_DIGITS_MAX = 15, WHOLE_DIGITS_MAX = 12, FRACTION_DIGITS_MAX = 3 };

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alpha(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_key_byte(char c)
{
    return is_lower(c) || is_digit(c) || is_one_of(c, "_-.*");
}

static bool is_token_byte(char c)
{
    return is_alpha(c) || is_digit(c) || is_one_of(c, "!#$%&'*+-.^_`|~:/");
}

static bool is_base64_byte(char c)
{
    return is_alpha(c) || is_digit(c) || is_one_of(c, "+/=");
}

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

/* The next byte; NUL at the end, which no field value holds and no rule lets pass. */
static char peek(const struct slice *s)
{
    return s->len > 0 ? s->data[0] : '\0';
}

static bool take(struct slice *s, char c)
{
    if (s->len == 0 || s->data[0] != c)
        return false;
    *s = slice_skip(*s, 1);
    return true;
}

/* Takes the bytes of a kind off the front. */
static struct slice take_while(struct slice *s, bool (*is)(char c))
{
    struct slice taken = {s->data, 0};

    while (taken.len < s->len && is(s->data[taken.len]))
        taken.len++;
    *s = slice_skip(*s, taken.len);
    return taken;
}

static bool is_space(char c)
{
    return c == ' ';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* -- bare items, section 4.2.3.1 -- */

static bool read_number(struct slice *s, struct sf_member *out)
{
    bool negative = take(s, '-');
    struct slice whole = take_while(s, is_digit), fraction;

    if (whole.len == 0)
        return false;
    if (take(s, '.')) {
        fraction = take_while(s, is_digit);
        out->type = SF_DECIMAL;
        return whole.len <= WHOLE_DIGITS_MAX && fraction.len > 0 && fraction.len <= FRACTION_DIGITS_MAX;
    }
    if (whole.len > INTEGER_DIGITS_MAX)
        return false;
    out->type = SF_INTEGER;
    out->number = 0;
    for (size_t i = 0; i < whole.len; i++)
        out->number = out->number * 10 + (whole.data[i] - '0');
    if (negative)
        out->number = -out->number;
    return true;
}

static bool read_string(struct slice *s, struct sf_member *out)
{
    size_t i = 1; /* behind the quote */

    while (i < s->len && s->data[i] != '"') {
        if (!is_printable(s->data[i]))
            return false;
        if (s->data[i] == '\\') {
            i++;
            if (i == s->len || !is_one_of(s->data[i], "\"\\"))
                return false;
        }
        i++;
    }
    if (i >= s->len)
        return false;
    out->type = SF_STRING;
    out->text = slice_make(s->data + 1, i - 1);
    *s = slice_skip(*s, i + 1);
    return true;
}

static bool read_token(struct slice *s, struct sf_member *out)
{
    out->type = SF_TOKEN;
    out->text = take_while(s, is_token_byte); /* its first byte is a letter or `*`: the caller has looked */
    return true;
}

static bool read_bytes(struct slice *s, struct sf_member *out)
{
    *s = slice_skip(*s, 1);
    (void)take_while(s, is_base64_byte);
    out->type = SF_BYTES;
    return take(s, ':');
}

static bool read_boolean(struct slice *s, struct sf_member *out)
{
    *s = slice_skip(*s, 1);
    out->type = SF_BOOLEAN;
    out->number = peek(s) == '1';
    return take(s, '1') || take(s, '0');
}

static bool read_date(struct slice *s, struct sf_member *out)
{
    *s = slice_skip(*s, 1);
    if (!read_number(s, out) || out->type != SF_INTEGER)
        return false;
    out->type = SF_DATE;
    return true;
}

static bool is_lower_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool read_display(struct slice *s, struct sf_member *out)
{
    *s = slice_skip(*s, 1);
    if (!take(s, '"'))
        return false;
    while (s->len > 0 && peek(s) != '"') {
        if (!is_printable(peek(s)))
            return false;
        if (take(s, '%')) {
            if (s->len < 2 || !is_lower_hex(s->data[0]) || !is_lower_hex(s->data[1]))
                return false;
            *s = slice_skip(*s, 1);
        }
        *s = slice_skip(*s, 1);
    }
    out->type = SF_DISPLAY;
    return take(s, '"');
}

static bool read_bare_item(struct slice *s, struct sf_member *out)
{
    char c = peek(s);

    if (c == '-' || is_digit(c))
        return read_number(s, out);
    if (is_alpha(c) || c == '*')
        return read_token(s, out);
    switch (c) {
    case '"':
        return read_string(s, out);
    case ':':
        return read_bytes(s, out);
    case '?':
        return read_boolean(s, out);
    case '@':
        return read_date(s, out);
    case '%':
        return read_display(s, out);
    default:
        return false;
    }
}

/* -- keys, parameters, inner lists -- */

static bool read_key(struct slice *s, struct slice *out)
{
    if (!is_lower(peek(s)) && peek(s) != '*')
        return false;
    *out = take_while(s, is_key_byte);
    return true;
}

/* Section 4.2.3.2; what they say is of no interest. */
static bool skip_parameters(struct slice *s)
{
    while (take(s, ';')) {
        struct sf_member ignored;

        (void)take_while(s, is_space);
        if (!read_key(s, &ignored.key))
            return false;
        if (take(s, '=') && !read_bare_item(s, &ignored))
            return false;
    }
    return true;
}

/* Section 4.2.1.2. */
static bool skip_inner_list(struct slice *s)
{
    *s = slice_skip(*s, 1);
    while (s->len > 0) {
        struct sf_member ignored;

        (void)take_while(s, is_space);
        if (take(s, ')'))
            return true;
        if (!read_bare_item(s, &ignored) || !skip_parameters(s))
            return false;
        if (peek(s) != ' ' && peek(s) != ')')
            return false;
    }
    return false;
}

/* -- members, section 4.2.2 -- */

static bool read_member(struct slice *s, struct sf_member *out)
{
    *out = (struct sf_member){.type = SF_BOOLEAN, .number = 1}; /* without a value it is true */
    if (!read_key(s, &out->key))
        return false;
    if (take(s, '=')) {
        out->number = 0;
        if (peek(s) == '(') {
            out->type = SF_INNER_LIST;
            if (!skip_inner_list(s))
                return false;
        } else if (!read_bare_item(s, out)) {
            return false;
        }
    }
    return skip_parameters(s);
}

/* Between members: a comma, with blanks around it; true also at the end. */
static bool skip_comma(struct slice *s)
{
    (void)take_while(s, is_blank);
    if (s->len == 0)
        return true;
    if (!take(s, ','))
        return false;
    (void)take_while(s, is_blank);
    return s->len > 0; /* a comma at the end is a fault */
}

/* Spaces, and only those, may stand at both ends (section 4.2). */
static void trim_spaces(struct slice *s)
{
    (void)take_while(s, is_space);
    while (s->len > 0 && s->data[s->len - 1] == ' ')
        s->len--;
}

bool sf_dict_next(struct sf_dict *d, struct sf_member *out)
{
    if (!d->begun) {
        trim_spaces(&d->rest);
        d->begun = true;
    }
    if (d->malformed || d->rest.len == 0)
        return false;
    d->malformed = !read_member(&d->rest, out) || !skip_comma(&d->rest);
    return !d->malformed;
}
