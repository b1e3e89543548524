/*
 * Numbers as exact decimals: digits without zeros at either end, and where the point stands. Nothing is
 * rounded, so two texts come out alike if and only if their values are equal.
 */
#include <string.h>

#include "canon_priv.h"

enum {
    POINT_MAX = 21,           /* ECMAScript writes no longer a number plainly */
    POINT_MIN = -6,           /* nor more zeros behind the point */
    MAGNITUDE_MAX = 309,      /* of 0.ddd * 10^n: 1.79e308 is 0.179e309 */
    MAGNITUDE_MIN = -323,     /* 1e-324 is 0.1e-323 */
    EXPONENT_DIGITS_MAX = 15, /* more than any point position can make up for; fits int64_t with room */
    DIGITS_AT = 32,           /* digits are gathered this far behind @out, and only ever move towards it */
};

/* value = 0.digits * 10^point; no digits: zero */
struct decimal {
    bool negative;
    char *digits;
    size_t digits_n;
    int64_t point;
};

static struct slice without_leading_zeros(struct slice digits)
{
    while (digits.len > 0 && digits.data[0] == '0')
        digits = slice_skip(digits, 1);
    return digits;
}

/* Saturates: a longer exponent is out of range whatever the digits, as a text has fewer of these than 10^15.
 */
static int64_t exponent_value(const struct canon_number_text *number)
{
    struct slice digits = without_leading_zeros(number->exponent);
    int64_t value = 0;

    if (digits.len > EXPONENT_DIGITS_MAX)
        digits = SLICE_OF("999999999999999");
    for (size_t i = 0; i < digits.len; i++)
        value = value * 10 + (digits.data[i] - '0');
    return number->exponent_negative ? -value : value;
}

static struct decimal decimal_read(const struct canon_number_text *number, char *digits)
{
    struct slice whole = without_leading_zeros(number->integer), fraction = number->fraction;
    struct decimal d = {.negative = number->negative, .digits = digits};

    d.point = (int64_t)whole.len + exponent_value(number);
    if (whole.len == 0) {
        struct slice rest = without_leading_zeros(fraction);

        d.point -= (int64_t)(fraction.len - rest.len);
        fraction = rest;
    }
    memcpy(digits, whole.data, whole.len);
    if (fraction.len > 0)
        memcpy(digits + whole.len, fraction.data, fraction.len);
    d.digits_n = whole.len + fraction.len;
    while (d.digits_n > 0 && digits[d.digits_n - 1] == '0')
        d.digits_n--;
    return d;
}

static bool decimal_in_range(const struct decimal *d)
{
    static const struct slice largest = SLICE("17976931348623157"); /* DBL_MAX is a little more */
    size_t n = d->digits_n < largest.len ? d->digits_n : largest.len;
    int order;

    if (d->point < MAGNITUDE_MAX)
        return d->point >= MAGNITUDE_MIN;
    if (d->point > MAGNITUDE_MAX)
        return false;
    order = memcmp(d->digits, largest.data, n);
    return order < 0 || (order == 0 && d->digits_n <= largest.len);
}

/* Of an integer: does -2^63 .. 2^64 - 1 hold it? Zeros behind its digits need no look: the limits end in
 * none. */
static bool decimal_fits_64_bits(const struct decimal *d)
{
    struct slice limit = d->negative ? SLICE_OF("9223372036854775808") : SLICE_OF("18446744073709551615");

    if (d->point != (int64_t)limit.len)
        return d->point < (int64_t)limit.len;
    return memcmp(d->digits, limit.data, d->digits_n) <= 0;
}

static char *put_zeros(char *out, int64_t n)
{
    for (; n > 0; n--)
        *out++ = '0';
    return out;
}

/* The digits lie behind @out and move down, so the runs may overlap. */
static char *put_digits(char *out, const char *digits, size_t n)
{
    memmove(out, digits, n);
    return out + n;
}

static char *put_exponent(char *out, int64_t exponent)
{
    char reversed[20];
    size_t n = 0;
    uint64_t left = exponent < 0 ? (uint64_t)-exponent : (uint64_t)exponent;

    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    do {
        reversed[n++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    while (n > 0)
        *out++ = reversed[--n];
    return out;
}

static char *put_scientific(char *out, const struct decimal *d)
{
    *out++ = d->digits[0];
    if (d->digits_n > 1) {
        *out++ = '.';
        out = put_digits(out, d->digits + 1, d->digits_n - 1);
    }
    return put_exponent(out, d->point - 1);
}

/* ECMA-262, Number::toString, but an integer over 64 bits takes an exponent whatever its length. */
static char *put_decimal(char *out, const struct decimal *d)
{
    bool integer = d->point >= (int64_t)d->digits_n;

    if (d->negative)
        *out++ = '-';
    if (integer) {
        if (!decimal_fits_64_bits(d))
            return put_scientific(out, d);
        out = put_digits(out, d->digits, d->digits_n);
        return put_zeros(out, d->point - (int64_t)d->digits_n);
    }
    if (d->point > POINT_MAX || d->point <= POINT_MIN)
        return put_scientific(out, d);
    if (d->point > 0) {
        out = put_digits(out, d->digits, (size_t)d->point);
        *out++ = '.';
        return put_digits(out, d->digits + d->point, d->digits_n - (size_t)d->point);
    }
    *out++ = '0';
    *out++ = '.';
    out = put_zeros(out, -d->point);
    return put_digits(out, d->digits, d->digits_n);
}

enum canon_number canon_number_write(const struct canon_number_text *number, char *out, size_t *out_len)
{
    struct decimal d = decimal_read(number, out + DIGITS_AT);

    if (d.digits_n == 0) {
        out[0] = '0';
        *out_len = 1;
        return NUMBER_OK;
    }
    if (number->fraction.len == 0 && number->exponent.len == 0 && !decimal_fits_64_bits(&d))
        return NUMBER_OVER_64_BITS;
    if (!decimal_in_range(&d))
        return NUMBER_OUT_OF_RANGE;
    *out_len = (size_t)(put_decimal(out, &d) - out);
    return NUMBER_OK;
}

/* -- its parts -- */

static struct slice digits_at(const char *p, const char *end)
{
    return slice_make(p, (size_t)(canon_skip_digits(p, end) - p));
}

const char *canon_number_split(const char *p, const char *end, struct canon_number_text *out)
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
