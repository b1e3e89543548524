#include "option.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "refrain/base/address.h"
#include "refrain/base/attr.h"
#include "refrain/wire/header.h"

struct unit {
    const char *name;
    int64_t size;
};

/* From large to small: the first that divides a number is the one it is shown in. */
static const struct unit byte_units[] = {
    {"TiB", INT64_C(1) << 40},
    {"GiB", 1 << 30},
    {"MiB", 1 << 20},
    {"KiB", 1 << 10},
    {"T", INT64_C(1) << 40},
    {"G", 1 << 30},
    {"M", 1 << 20},
    {"K", 1 << 10},
    {"TB", 1000000000000},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"KB", 1000},
    {"B", 1},
};
static const struct unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

bool option_is_number(const struct option_row *row)
{
    return row->type <= OPTION_ENUM;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_len(struct slice s)
{
    size_t n = 0;

    while (n < s.len && is_digit(s.data[n]))
        n++;
    return n;
}

/* Digits alone; false past what an int64_t holds. */
static bool parse_digits(struct slice s, int64_t *out)
{
    int64_t n = 0;

    if (s.len == 0 || digits_len(s) != s.len)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, s.data[i] - '0', &n))
            return false;
    *out = n;
    return true;
}

enum { DECIMAL_PLACES = 3, DOLLAR_PLACES = 6 };

static int64_t ten_to(size_t n)
{
    int64_t power = 1;

    for (; n > 0; n--)
        power *= 10;
    return power;
}

/* "0.5", "1", "1.25": at most @places_max places, in units of the last of them. */
static bool parse_decimal(struct slice s, size_t places_max, int64_t *out)
{
    struct slice places = s, whole = slice_cut(&places, '.');
    int64_t number, part = 0;

    if (!parse_digits(whole, &number) || __builtin_mul_overflow(number, ten_to(places_max), &number))
        return false;
    if (places.data && (places.len > places_max || !parse_digits(places, &part)))
        return false;
    part *= ten_to(places_max - places.len);
    return !__builtin_add_overflow(number, part, out);
}

static bool unit_size(const struct unit *units, size_t units_n, struct slice name, int64_t *out)
{
    for (size_t i = 0; i < units_n; i++)
        if (slice_eq(name, slice_str(units[i].name))) {
            *out = units[i].size;
            return true;
        }
    return false;
}

static bool parse_bytes(struct slice s, int64_t *out)
{
    size_t digits = digits_len(s);
    int64_t number, size = 1;

    if (!parse_digits(slice_make(s.data, digits), &number))
        return false;
    if (digits < s.len && !unit_size(byte_units, ARRAY_LEN(byte_units), slice_skip(s, digits), &size))
        return false;
    return !__builtin_mul_overflow(number, size, out);
}

/* "90" (seconds), "1h30m", "250ms": in milliseconds. */
static bool parse_time(struct slice s, int64_t *out)
{
    int64_t total = 0, number, size;

    if (parse_digits(s, &number))
        return !__builtin_mul_overflow(number, 1000, out);
    if (s.len == 0)
        return false;
    while (s.len > 0) {
        size_t digits = digits_len(s), letters = digits;

        while (letters < s.len && !is_digit(s.data[letters]))
            letters++;
        if (!parse_digits(slice_make(s.data, digits), &number) ||
            !unit_size(time_units, ARRAY_LEN(time_units), slice_make(s.data + digits, letters - digits),
                       &size) ||
            __builtin_mul_overflow(number, size, &number) || __builtin_add_overflow(total, number, &total))
            return false;
        s = slice_skip(s, letters);
    }
    *out = total;
    return true;
}

static bool parse_bool(struct slice s, int64_t *out)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        bool is_yes = slice_ieq(s, slice_str(yes[i]));

        if (is_yes || slice_ieq(s, slice_str(no[i]))) {
            *out = is_yes;
            return true;
        }
    }
    return false;
}

/* enum maybe, whose `any` is the row's word */
static bool parse_maybe(struct slice s, int64_t *out)
{
    int64_t yes;

    if (!parse_bool(s, &yes))
        return false;
    *out = yes ? MAYBE_YES : MAYBE_NO;
    return true;
}

static bool parse_choice(const struct option_row *row, struct slice s, int64_t *out)
{
    for (int64_t i = 0; row->choices[i]; i++)
        if (slice_eq(s, slice_str(row->choices[i]))) {
            *out = i;
            return true;
        }
    return false;
}

static bool in_range(const struct option_row *row, int64_t n)
{
    if (row->min == 0 && row->max == 0)
        return n >= 0 && (row->size > sizeof(unsigned) || n <= UINT_MAX);
    return n >= row->min && n <= row->max;
}

bool option_parse(const struct option_row *row, struct slice text, int64_t *out)
{
    bool ok = false;
    int64_t n = 0;

    if (row->word && slice_eq(text, slice_str(row->word))) {
        *out = row->word_value;
        return true;
    }
    switch (row->type) {
    case OPTION_BOOL:
        return parse_bool(text, out);
    case OPTION_ENUM:
        return parse_choice(row, text, out);
    case OPTION_MAYBE:
        return parse_maybe(text, out);
    case OPTION_COUNT:
        ok = parse_digits(text, &n);
        break;
    case OPTION_BYTES:
        ok = parse_bytes(text, &n);
        break;
    case OPTION_MS:
        ok = parse_time(text, &n);
        break;
    case OPTION_DECIMAL:
        ok = parse_decimal(text, DECIMAL_PLACES, &n);
        break;
    case OPTION_DOLLARS:
        ok = parse_decimal(text, DOLLAR_PLACES, &n);
        break;
    case OPTION_SECONDS:
    case OPTION_LIFETIMES:
        ok = parse_time(text, &n) && n % 1000 == 0;
        n /= 1000;
        break;
    default:
        break;
    }
    if (!ok || !in_range(row, n))
        return false;
    *out = n;
    return true;
}

static bool has_space_or_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] <= ' ' || s.data[i] == 0x7F)
            return true;
    return false;
}

/* Enough to refuse what is plainly no origin; libcurl has the last word. Credentials have their own places.
 */
static bool url_ok(const struct option_row *row, struct slice s)
{
    struct slice authority;

    if (has_space_or_control(s) || (s.len > 0 && (memchr(s.data, '?', s.len) || memchr(s.data, '#', s.len))))
        return false;
    for (int i = 0; row->choices[i]; i++) {
        struct slice scheme = slice_str(row->choices[i]);

        if (!slice_starts(s, scheme) || !slice_starts(slice_skip(s, scheme.len), SLICE_OF("://")))
            continue;
        authority = slice_skip(s, scheme.len + 3);
        authority = slice_cut(&authority, '/');
        if (!(row->flags & OPTION_MASKED) && authority.len > 0 && memchr(authority.data, '@', authority.len))
            return false;
        return authority.len > 0 && authority.data[0] != ':';
    }
    return false;
}

static bool name_ok(struct slice s)
{
    if (s.len == 0 || s.len > 64)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];

        if (!is_digit(c) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static bool list_text_ok(const struct option_row *row, struct slice text)
{
    int64_t number;

    if (row->flags & OPTION_NUMBERS)
        return parse_digits(text, &number) && in_range(row, number);
    return row->flags & OPTION_FIELDS ? header_name_ok(text) : text.len > 0;
}

bool option_text_ok(const struct option_row *row, struct slice text)
{
    struct address address;

    switch (row->type) {
    case OPTION_NAME:
        return name_ok(text);
    case OPTION_LIST:
    case OPTION_NAMES:
        return list_text_ok(row, text);
    case OPTION_HEADERS:
        return header_value_ok(text);
    case OPTION_PREFIX:
        return text.len > 0 && text.data[0] == '/' && !has_space_or_control(text) &&
               !memchr(text.data, '?', text.len) && !memchr(text.data, '#', text.len);
    case OPTION_URL:
        return url_ok(row, text);
    case OPTION_ADDRESS:
        return address_parse(text, &address) == 0;
    default:
        return text.len > 0;
    }
}

/* @out has room by its contract; a cut message would still be a message. */
static void say(struct buf *out, const char *text)
{
    (void)!buf_add_slice(out, slice_str(text));
}

/* "unset" is what an option is that is not given; nobody need write it. */
static bool is_offered(const char *word)
{
    return strcmp(word, "unset") != 0;
}

static void say_choices(const struct option_row *row, struct buf *out, const char *last)
{
    const char *const *first = row->choices;

    while (*first && !is_offered(*first))
        first++;
    for (const char *const *at = first; *at; at++) {
        if (at > first)
            say(out, at[1] ? ", " : last);
        say(out, *at);
    }
}

static void say_range(const struct option_row *row, struct buf *out)
{
    if (row->min == 0 && row->max == 0)
        return;
    say(out, " from ");
    option_format(row, row->min, out);
    say(out, " to ");
    option_format(row, row->max, out);
}

static void say_number(const struct option_row *row, struct buf *out, const char *what)
{
    say(out, what);
    say_range(row, out);
    if (row->word && is_offered(row->word)) {
        say(out, ", or ");
        say(out, row->word);
    }
}

void option_expected(const struct option_row *row, struct buf *out)
{
    switch (row->type) {
    case OPTION_BOOL:
        return say(out, "true or false");
    case OPTION_MAYBE:
        return say_number(row, out, row->word && is_offered(row->word) ? "true, false" : "true or false");
    case OPTION_COUNT:
        return say_number(row, out, "a whole number");
    case OPTION_BYTES:
        return say_number(row, out, "a size such as 500MiB");
    case OPTION_MS:
        return say_number(row, out, "a time such as 250ms, 5s or 1h");
    case OPTION_DECIMAL:
        return say_number(row, out, "a number such as 0.5");
    case OPTION_DOLLARS:
        return say_number(row, out, "dollars such as 0.15");
    case OPTION_SECONDS:
        return say_number(row, out, "a time such as 90s, 2h or 7d");
    case OPTION_ENUM:
        say(out, "one of ");
        return say_choices(row, out, " and ");
    case OPTION_PATH:
        return say(out, "a path");
    case OPTION_NAME:
        return say(out, "up to 64 letters, digits, dots, underscores and dashes");
    case OPTION_PREFIX:
        return say(out, "the beginning of a path, such as /openai/");
    case OPTION_URL:
        say(out, "a URL such as ");
        say(out, row->choices[0]);
        say(out, "://host[:port][/path], by ");
        return say_choices(row, out, " or ");
    case OPTION_ADDRESS:
        return say(out, "an address such as 127.0.0.1:8080, [::1]:8080, :8080 or unix:/run/refrain.sock");
    case OPTION_LIST:
    case OPTION_NAMES:
        say(out, row->flags & OPTION_ONE_OR_MANY ? "a text or a list of " : "a list of ");
        if (row->flags & OPTION_NUMBERS)
            return say_number(row, out, "numbers");
        return say(out, row->flags & OPTION_FIELDS ? "header names" : "texts");
    case OPTION_HEADERS:
        return say(out, "a map of header names to values");
    case OPTION_LIFETIMES:
        return say_number(row, out, "a map of names to times such as 90s, 2h or 7d");
    case OPTION_TEXT:
    case OPTION_SECRET:
        return say(out, "a text");
    }
}

static void format_unit(const struct unit *units, size_t units_n, int64_t number, struct buf *out)
{
    for (size_t i = 0; i < units_n; i++)
        if (number != 0 && number % units[i].size == 0) {
            (void)!buf_addf(out, "%lld%s", (long long)(number / units[i].size), units[i].name);
            return;
        }
    say(out, "0");
}

static void format_decimal(int64_t number, size_t places, struct buf *out)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%lld.%0*lld", (long long)(number / ten_to(places)), (int)places,
                     (long long)(number % ten_to(places)));

    while (text[n - 1] == '0')
        n--;
    (void)!buf_add(out, text, (size_t)(text[n - 1] == '.' ? n - 1 : n));
}

void option_format(const struct option_row *row, int64_t number, struct buf *out)
{
    if (row->word && number == row->word_value)
        return say(out, row->word);
    switch (row->type) {
    case OPTION_BOOL:
        return say(out, number ? "true" : "false");
    case OPTION_MAYBE:
        return say(out, number == MAYBE_YES ? "true" : "false");
    case OPTION_ENUM:
        return say(out, row->choices[number]);
    case OPTION_BYTES:
        return format_unit(byte_units, ARRAY_LEN(byte_units), number, out);
    case OPTION_MS:
        return format_unit(time_units, ARRAY_LEN(time_units), number, out);
    case OPTION_DECIMAL:
        return format_decimal(number, DECIMAL_PLACES, out);
    case OPTION_DOLLARS:
        return format_decimal(number, DOLLAR_PLACES, out);
    case OPTION_SECONDS:
    case OPTION_LIFETIMES:
        return format_unit(time_units, ARRAY_LEN(time_units), number * 1000, out);
    default:
        (void)!buf_addf(out, "%lld", (long long)number);
    }
}

enum { NEAR_MAX = 40 };

unsigned text_distance(struct slice a, struct slice b)
{
    unsigned d[NEAR_MAX + 1][NEAR_MAX + 1];

    if (a.len > NEAR_MAX || b.len > NEAR_MAX)
        return UINT_MAX;
    for (unsigned i = 0; i <= a.len; i++)
        d[i][0] = i;
    for (unsigned j = 0; j <= b.len; j++)
        d[0][j] = j;
    for (unsigned i = 1; i <= a.len; i++)
        for (unsigned j = 1; j <= b.len; j++) {
            unsigned best = d[i - 1][j - 1] + (a.data[i - 1] != b.data[j - 1]);

            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[a.len][b.len];
}

bool text_is_near(struct slice a, struct slice b, unsigned *out_distance)
{
    unsigned distance = text_distance(a, b);

    if (distance > 1 + (a.len < b.len ? a.len : b.len) / 4)
        return false;
    *out_distance = distance;
    return true;
}
