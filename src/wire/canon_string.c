/*
 * One string of JSON in its one form: escaped where it must be (RFC 8259 section 7) and nowhere else, the
 * rest as UTF-8. Text is copied eight bytes at a time as long as nothing among them needs a look.
 */
#include <endian.h>
#include <string.h>

#include "canon_priv.h"
#include "refrain/base/hex.h"
#include "refrain/base/jescape.h"
#include "refrain/base/utf8.h"

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

static char *put_escaped(char *o, uint32_t code)
{
    static const char digits[] = "0123456789abcdef";
    char letter = jescape_letter(code);

    if (!letter && code >= 0x20)
        return o + utf8_put(o, code);
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

/* \uXXXX or a pair of them, @p behind the first u. Returns what was read, NULL when it is no escape at all.
 */
static const char *read_unicode(const char *p, const char *end, uint32_t *out_code,
                                struct canon_faults *faults)
{
    int32_t high = hex_four(p, end), low;

    if (high < 0)
        return NULL;
    p += 4;
    *out_code = (uint32_t)high;
    if (high == 0)
        canon_blemish(faults, "NUL in a string");
    if (high < 0xD800 || high > 0xDFFF)
        return p;
    low = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex_four(p + 2, end) : -1;
    if (high > 0xDBFF || low < 0xDC00 || low > 0xDFFF) {
        canon_blemish(faults, "lone surrogate");
        *out_code = '?';
        return p;
    }
    *out_code = 0x10000 + (((uint32_t)high - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    return p + 6;
}

/* The escape at @p, which is behind its backslash. Returns what is left, or NULL. */
static const char *copy_escape(const char *p, const char *end, char **out, struct canon_faults *faults)
{
    uint32_t code;

    if (p == end)
        return NULL;
    if (*p == 'u') {
        p = read_unicode(p + 1, end, &code, faults);
    } else {
        code = (unsigned char)jescape_meant(*p++);
        if (code == 0)
            return NULL;
    }
    if (p)
        *out = put_escaped(*out, code);
    return p;
}

/* Runs of text that is not English are long: stay here while they last. */
static const char *copy_utf8(const char *p, const char *end, char **out, struct canon_faults *faults)
{
    char *o = *out;

    while (p < end && (unsigned char)*p >= 0x80) {
        size_t n = utf8_len((const uint8_t *)p, (size_t)(end - p));

        if (n == 0) {
            canon_blemish(faults, "not UTF-8");
            n = 1;
        }
        for (size_t i = 0; i < n; i++)
            *o++ = *p++;
    }
    *out = o;
    return p;
}

bool canon_string_read(const char **in, const char *end, char **out, struct canon_value *value,
                       struct canon_faults *faults)
{
    const char *start = *in + 1, *p = start;
    char *o = *out;
    bool escaped = false;

    *o++ = '"';
    for (;;) {
        copy_plain(&p, end, &o);
        if (p == end)
            return canon_stop(faults, "string without end");
        if (*p == '"')
            break;
        if (*p == '\\') {
            escaped = true;
            p = copy_escape(p + 1, end, &o, faults);
            if (!p)
                return canon_stop(faults, "bad escape");
        } else if ((unsigned char)*p < 0x20) {
            return canon_stop(faults, "control character in a string");
        } else {
            p = copy_utf8(p, end, &o, faults);
        }
    }
    *o++ = '"';
    value->kind = KIND_STRING;
    value->text = slice_make(start, (size_t)(p - start));
    value->escaped = escaped;
    value->plain = slice_make(*out + 1, (size_t)(o - *out) - 2);
    *out = o;
    *in = p + 1;
    return true;
}
